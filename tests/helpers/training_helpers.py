"""Shared helpers for tests of training: generated rows, small tables and tiny trainers."""

from __future__ import annotations

import random
from typing import Any

import torch
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat import BalancedTrainer, BalancedTrainingArguments, SubstitutionTable, get_task
from hf_bat.methods import get_method

SYNONYMS = SubstitutionTable(
    {
        "big": ["large", "fat"],
        "small": ["little", "tiny"],
        "happy": ["glad"],
        "fast": ["quick", "rapid"],
        "dog": ["hound", "puppy"],
        "man": ["guy"],
    }
)
ANTONYMS = SubstitutionTable(
    {
        "big": ["small", "little"],
        "hot": ["cold"],
        "happy": ["sad"],
        "open": ["closed"],
        "outside": ["inside"],
    }
)
# These are not synonyms, because an attack could not fool a model with random weights otherwise.
SUBSTITUTES = SubstitutionTable(
    {
        "big": ["large", "huge", "small", "tiny"],
        "small": ["big", "large", "tiny"],
        "happy": ["glad", "sad", "big"],
        "man": ["guy", "boy", "child", "girl"],
        "woman": ["girl", "man", "dog"],
        "boy": ["man", "child", "dog"],
        "child": ["man", "boy", "dog"],
        "dog": ["hound", "puppy", "cat"],
        "house": ["home", "door", "hat"],
        "door": ["house", "hat"],
        "sun": ["house", "door"],
        "hat": ["house", "door"],
    }
)
_SUBJECTS = ("A man", "The big dog", "A woman", "Two girls", "The small child", "A happy boy")
_VERBS = ("is sleeping", "is walking outside", "runs fast", "eats in the hot sun", "sings", "waits")
METHODS = ("normal", "safer", "pairwise", "triplet", "likelihood", "counterfactual")


def made_rows(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return rows that allow fickle edits, obstinate edits, both, or neither."""
    rng = random.Random(seed)

    def sentence() -> str:
        ending = rng.choice(("", " and the door is open", " near a house", " with a big hat"))
        return f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)}{ending}."

    return [
        {"premise": sentence(), "hypothesis": sentence(), "label": rng.randrange(3), "idx": i}
        for i in range(n)
    ]


def tokenizer_for_made_rows(**options: Any) -> Any:
    """Return a tokenizer with a piece for every word in the generated rows and tables."""
    words = [*_SUBJECTS, *_VERBS, "and the door is open near a house with hat"]
    words += [word for table in (SYNONYMS, ANTONYMS) for item in table.items() for word in item[1]]
    return tiny_tokenizer(words, **options)


def make_arguments(folder: Any, **options: Any) -> BalancedTrainingArguments:
    """Return arguments for short runs on the CPU that log every step and save nothing."""
    defaults: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 3,
    }
    if (
        options.get("method") in METHODS
        and "weight_warmup_steps" in get_method(options["method"]).options
    ):
        # The tests check losses of a few steps at full weight.
        defaults["weight_warmup_steps"] = 0.0
    return BalancedTrainingArguments(str(folder), **{**defaults, **options})


def make_trainer(
    folder: Any,
    rows: Any = None,
    *,
    model: Any = None,
    tokenizer: Any = None,
    trainer_class: type[BalancedTrainer] = BalancedTrainer,
    trainer_options: dict[str, Any] | None = None,
    **options: Any,
) -> BalancedTrainer:
    """Return a trainer for a tiny BERT without dropout; `options` are training arguments."""
    tables = {"synonyms": SYNONYMS, "antonyms": ANTONYMS, "task": get_task("snli")}
    chosen = {**tables, **(trainer_options or {})}
    if "model_init" not in chosen:
        chosen["model"] = tiny_model("bert") if model is None else model
    return trainer_class(
        args=make_arguments(folder, **options),
        train_dataset=rows,
        processing_class=tokenizer or tokenizer_for_made_rows(),
        **chosen,
    )


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of a model's weights."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Return the largest difference between the weights of two models."""
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


def logged(trainer: BalancedTrainer, key: str) -> list[float]:
    """Return one value from each training log, in order."""
    return [entry[key] for entry in trainer.state.log_history if key in entry]
