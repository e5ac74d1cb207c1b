"""The features of the Trainer still work: search, LoRA, checkpointing, bf16, compile and workers."""

import logging

import numpy as np
import pytest
import torch
from tiny_models import tiny_model
from training_helpers import (
    SYNONYMS,
    largest_difference,
    logged,
    made_rows,
    make_trainer,
    tokenizer_for_made_rows,
    weights_of,
)

from hf_bat import BalancedTrainer, BalancedTrainingArguments, HfBatError, SubstitutionTable

OPPOSITE_SYNONYMS = SubstitutionTable({**dict(SYNONYMS.items()), "hot": ["warm", "cold"]})
SGD = {"optim": "sgd", "learning_rate": 0.1}


def accuracy(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def trained(folder, method="triplet", **options):
    trainer = make_trainer(folder, made_rows(16), method=method, **{**SGD, **options})
    trainer.train()
    return trainer


def test_a_search_reads_its_weights_when_the_loss_is_computed(tmp_path):
    pytest.importorskip("optuna", reason='needs pip install "hf_bat[search]"')
    space = {"contrastive_weight": [0.0, 2.0], "margin": [0.5, 1.5]}
    trainer = make_trainer(
        tmp_path,
        made_rows(8),
        method="triplet",
        max_steps=1,
        per_device_train_batch_size=8,
        eval_strategy="steps",
        trainer_options={
            "model_init": lambda: tiny_model("bert"),
            "eval_dataset": made_rows(8, seed=1),
            "compute_metrics": accuracy,
        },
    )
    seen = []
    log = trainer.log

    def watch(logs, *args):
        log(logs, *args)
        if "loss" in logs:
            entry = trainer.state.log_history[-1]
            seen.append((trainer.args.contrastive_weight, trainer.args.margin, entry))

    trainer.log = watch
    import optuna

    best = trainer.hyperparameter_search(
        lambda trial: {name: trial.suggest_categorical(name, v) for name, v in space.items()},
        n_trials=4,
        backend="optuna",
        sampler=optuna.samplers.GridSampler(space),
    )
    assert 0 <= best.objective <= 1, "the default objective is accuracy, not a sum of all metrics"
    assert {entry[:2] for entry in seen} == {(w, m) for w in (0.0, 2.0) for m in (0.5, 1.5)}
    for weight, _, entry in seen:
        assert entry["loss"] == pytest.approx(
            entry["loss_ce"] + weight * entry["loss_triplet"], abs=1e-5
        )
    by_margin = {margin: entry["loss_triplet"] for _, margin, entry in seen}
    assert by_margin[1.5] > by_margin[0.5] + 0.3


def test_each_trial_of_a_search_starts_from_the_users_own_options(tmp_path):
    optuna = pytest.importorskip("optuna", reason='needs pip install "hf_bat[search]"')
    trainer = make_trainer(
        tmp_path, made_rows(8), method="triplet", margin=0.7, max_steps=1, eval_strategy="steps",
        trainer_options={
            "model_init": lambda: tiny_model("bert"),
            "eval_dataset": made_rows(4, seed=1),
            "compute_metrics": accuracy,
        },
    )  # fmt: skip
    seen = []

    def space(trial):
        method = trial.suggest_categorical("method", ["triplet", "pairwise", "likelihood"])
        if method == "pairwise":
            return {"method": method, "alpha": trial.suggest_categorical("alpha", [0.5])}
        return {"method": method}

    log = trainer.log

    def watch(logs, *args):
        log(logs, *args)
        if "loss" in logs:
            a = trainer.args
            seen.append((a.method, a.alpha, a.beta, a.contrastive_weight, a.margin))

    trainer.log = watch
    grid = {"method": ["pairwise", "triplet", "likelihood"], "alpha": [0.5]}
    sampler = optuna.samplers.GridSampler(grid, seed=1)
    trainer.hyperparameter_search(space, n_trials=3, backend="optuna", sampler=sampler)
    assert sorted(seen, key=str) == [
        ("likelihood", 1.0, 1.0, 0.0, 0.7),
        ("pairwise", 0.5, 1.2, None, 0.7),
        ("triplet", None, None, 1.0, 0.7),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"label_filter": "only"},
        {"obstinate_edits": ["negation"]},
        {"casing": "authors"},
        {"exclude_stopwords": False},
        {"drop_antonyms_from_synonyms": False},
    ],
)
def test_a_trial_that_sets_options_of_the_perturbations_draws_with_them(tmp_path, changes):
    def described(trainer):
        trainer.get_train_dataloader()
        sampler = trainer.data_collator.sampler
        return [one.describe() for one in (sampler.fickle, sampler.obstinate)]

    trainer = make_trainer(
        tmp_path, made_rows(4), method="pairwise", trainer_options={"synonyms": OPPOSITE_SYNONYMS}
    )
    before = described(trainer)
    kept = trainer.perturbations
    assert before == described(trainer) and trainer.perturbations is kept
    for name, value in changes.items():
        setattr(trainer.args, name, value)
    whole = make_trainer(
        tmp_path, made_rows(4), method="pairwise",
        trainer_options={"synonyms": OPPOSITE_SYNONYMS}, **changes,
    )  # fmt: skip
    assert described(trainer) == described(whole) != before


@pytest.mark.parametrize(
    ("name", "value"),
    [("canonicalize", True), ("drop_antonyms_from_synonyms", False), ("casing", "authors")],
)
def test_a_trial_cannot_change_the_preprocessing_defence(tmp_path, name, value):
    defended = name != "canonicalize"
    trainer = make_trainer(tmp_path, made_rows(4), method="normal", canonicalize=defended)
    assert getattr(trainer.args, name) != value
    setattr(trainer.args, name, value)
    with pytest.raises(HfBatError, match="canonicalize"):
        trainer.get_train_dataloader()


def test_a_model_init_is_made_fit_for_the_task_each_time(tmp_path):
    def make_model():
        model = tiny_model("gpt2")
        model.config.pad_token_id = None
        return model

    tokenizer = tokenizer_for_made_rows()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    trainer = make_trainer(
        tmp_path, made_rows(8), method="safer", tokenizer=tokenizer, max_steps=1,
        trainer_options={"model_init": make_model},
    )  # fmt: skip
    trainer.model = trainer.call_model_init()
    assert trainer.model.config.pad_token_id == 0
    assert trainer.model.config.id2label[0] == "entailment"
    trainer.train()
    assert np.isfinite(logged(trainer, "loss")).all()


@pytest.mark.parametrize("pooling", ["cls", "head_input"])
def test_lora_trains_the_adapter_and_the_head_alone(tmp_path, pooling):
    peft = pytest.importorskip("peft", reason='needs pip install "hf_bat[peft]"')
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    model = peft.get_peft_model(tiny_model("bert"), config)
    before = weights_of(model)
    trainer = trained(tmp_path, model=model, pooling=pooling, max_steps=4)
    changed = {
        name for name, value in weights_of(model).items() if not torch.equal(value, before[name])
    }
    assert changed and all("lora_" in name or "modules_to_save" in name for name in changed)
    assert any("lora_A" in name for name in changed)
    assert any("classifier" in name for name in changed)
    assert logged(trainer, "obstinate_distance")[0] > 0
    trainer.save_model(str(tmp_path / "adapter"))
    again = peft.PeftModel.from_pretrained(tiny_model("bert"), tmp_path / "adapter").eval()
    batch = trainer.processing_class(["A man."], ["Waits."], return_tensors="pt")
    with torch.no_grad():
        expected = trainer.predict([{"premise": "A man.", "hypothesis": "Waits."}]).predictions
        assert np.allclose(again(**batch).logits, expected, atol=1e-5)


def test_lora_that_leaves_a_part_of_the_head_frozen_is_warned_of(tmp_path, caplog):
    peft = pytest.importorskip("peft", reason='needs pip install "hf_bat[peft]"')

    def made(**options):
        config = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query_proj"], **options)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "hf_bat"):
            make_trainer(tmp_path, model=peft.get_peft_model(tiny_model("deberta-v2"), config))
        return caplog.text

    assert "pooler is frozen and untrained; add modules_to_save=['pooler']" in made()
    assert "frozen" not in made(modules_to_save=["pooler", "classifier"])


@pytest.mark.parametrize("pooling", ["mean", "head_input"])
def test_gradient_checkpointing_changes_nothing(tmp_path, pooling):
    plain = trained(tmp_path, pooling=pooling)
    # Newer versions of transformers have a different name for it.
    fields = BalancedTrainingArguments.__dataclass_fields__
    new, old = "activation_checkpointing", "gradient_checkpointing"
    option = new if new in fields else old
    checkpointed = trained(tmp_path, pooling=pooling, **{option: True})
    assert checkpointed.model.is_gradient_checkpointing
    assert largest_difference(weights_of(plain.model), weights_of(checkpointed.model)) < 1e-6


class InDeepSpeed(BalancedTrainer):
    """A trainer that behaves as if it ran in DeepSpeed, which the tests do not install."""

    def create_accelerator_and_postprocess(self):
        super().create_accelerator_and_postprocess()
        self.is_deepspeed_enabled = True


def test_deepspeed_refuses_what_needs_the_whole_model_and_keeps_its_gradients(tmp_path, caplog):
    def make(**options):
        return make_trainer(tmp_path, made_rows(4), trainer_class=InDeepSpeed, **options)

    for options in ({"attacks": ["antonym"]}, {"method": "a2t"}):
        with pytest.raises(HfBatError, match="DeepSpeed"):
            make(**options)
    trainer = make(method="triplet", bf16=False, model=tiny_model("bert").to(torch.bfloat16))
    # DeepSpeed keeps the weights in float32, and clips and checks gradients before Trainer can.
    trainer.get_train_dataloader()
    assert "dtype=torch.float32" not in caplog.text
    trainer.check_gradient(torch.tensor(float("nan")))
    assert trainer.accelerator.gradient_accumulation_steps == 1


def test_bf16_autocast_is_near_full_precision(tmp_path):
    full = trained(tmp_path, max_steps=3)
    half = trained(tmp_path, max_steps=3, bf16=True)
    for key in ("loss", "loss_triplet", "obstinate_distance"):
        assert logged(half, key) == pytest.approx(logged(full, key), abs=0.05)
        assert logged(half, key) != logged(full, key), "autocast must be on"
    assert all(value.dtype == torch.float32 for value in half.model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["cls", "head_input"])
def test_torch_compile_changes_nothing(tmp_path, pooling):
    plain = trained(tmp_path, pooling=pooling, max_steps=3)
    torch.compiler.reset()
    compiled = trained(
        tmp_path, pooling=pooling, max_steps=3, torch_compile=True,
        torch_compile_backend="aot_eager",
    )  # fmt: skip
    assert hasattr(compiled.model_wrapped, "_orig_mod") or compiled.accelerator.state.dynamo_plugin
    ours, theirs = weights_of(compiled.model), weights_of(plain.model)
    assert largest_difference(ours, theirs) < 1e-5
    assert logged(compiled, "loss") == pytest.approx(logged(plain, "loss"), abs=1e-5)
    assert compiled.evaluate(made_rows(5))["eval_loss"] == pytest.approx(
        plain.evaluate(made_rows(5))["eval_loss"], abs=1e-5
    )


def test_rows_are_grouped_by_length(tmp_path):
    rows = [
        {"premise": "A man " * (1 + i % 8), "hypothesis": "Waits.", "label": i % 3}
        for i in range(64)
    ]
    spreads = {}
    for strategy in ("random", "group_by_length"):
        trainer = make_trainer(
            tmp_path, rows, method="triplet", train_sampling_strategy=strategy, max_steps=2
        )
        spreads[strategy] = np.mean(
            [
                np.ptp(batch["attention_mask"].sum(-1).numpy())
                for batch in trainer.get_train_dataloader()
            ]
        )
        trainer.train()
    assert spreads["group_by_length"] < spreads["random"] / 2


def test_workers_train_as_the_main_process_does(tmp_path):
    alone = trained(tmp_path)
    helped = trained(tmp_path, dataloader_num_workers=2)
    assert largest_difference(weights_of(alone.model), weights_of(helped.model)) == 0


def test_a_run_does_not_log_what_an_earlier_one_left_over(tmp_path):
    trainer = make_trainer(
        tmp_path, made_rows(16), method="triplet", logging_steps=3, learning_rate=0.0, optim="sgd"
    )
    trainer.args.max_steps = 4
    trainer.train()
    first = logged(trainer, "loss_ce")
    trainer.train()
    assert logged(trainer, "loss_ce") == first


def test_the_fast_and_the_slow_collator_options_reach_the_batches(tmp_path):
    trainer = make_trainer(tmp_path, made_rows(8), method="triplet", max_seq_length=8)
    batch = next(iter(trainer.get_train_dataloader()))
    for prefix in ("", "fickle_", "obstinate_"):
        assert batch[f"{prefix}input_ids"].shape[-1] <= 8
