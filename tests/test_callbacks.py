"""Attacks during training: the metrics, where they are logged, and which direction is better."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from tiny_models import tiny_model, tiny_tokenizer
from transformers import (
    DataCollatorWithPadding,
    Trainer,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from hf_bat import (
    Attack,
    BalancedTrainer,
    BalancedTrainingArguments,
    HfBatError,
    RobustnessCallback,
    SubstitutionTable,
)
from hf_bat.attack.rows import read_examples
from hf_bat.callbacks import RobustnessMeter, drop_missing_metrics
from hf_bat.canonicalize import Canonicalizer
from hf_bat.data import prepare_dataset
from hf_bat.metrics.functional import robustness_score
from hf_bat.tasks import user_task

ANTONYMS = SubstitutionTable({"big": ["small"], "hot": ["cold"], "up": ["down"]})
SYNONYMS = SubstitutionTable({"big": ["large"], "dog": ["hound"], "cat": ["kitty"]})
KEYS = ("asr", "asr_confident", "keep_rate", "asr_attackable", "attackable")


def rows(n=24):
    animals, sizes = ("dog", "cat"), ("big", "small", "hot")
    return [
        {
            "premise": f"A {sizes[i % 3]} {animals[i % 2]} ran up the hill.",
            "hypothesis": f"The {animals[(i // 2) % 2]} was {sizes[(i // 3) % 3]}.",
            "label": i % 3,
        }
        for i in range(n)
    ]


def varied_model():
    """Return an untrained model with predictions that differ between rows."""
    model, tokenizer = tiny_model("bert"), tiny_tokenizer()
    texts = [[row[column] for row in rows()] for column in ("premise", "hypothesis")]
    with torch.no_grad():
        logits = model(**tokenizer(*texts, padding=True, return_tensors="pt")).logits
        model.classifier.bias -= logits.mean(0)
    return model


def accuracy(prediction):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def trainer_with(tmp_path, **options):
    defaults = {"attacks": ["antonym", "synonym"], "report_to": "none", "use_cpu": True}
    evaluated = options.pop("eval_dataset", None) or rows()
    args = BalancedTrainingArguments(str(tmp_path), **{**defaults, **options})
    return BalancedTrainer(
        model=varied_model(),
        args=args,
        train_dataset=rows(),
        eval_dataset=evaluated,
        processing_class=tiny_tokenizer(),
        compute_metrics=accuracy,
        task="snli",
        synonyms=SYNONYMS,
        antonyms=ANTONYMS,
    )


def test_a_defended_model_has_the_length_and_precision_of_a_plain_one():
    canonicalizer = Canonicalizer(SubstitutionTable({"unseen": ["unknown"]}))  # rewrites no row
    options = {"dtype": "bfloat16", "max_length": 8, "antonyms": ANTONYMS, "skip_labels": ()}
    plain, defended = (
        RobustnessMeter(["antonym"], "snli", tiny_tokenizer(), canonicalizer=defence, **options)
        for defence in (None, canonicalizer)
    )
    figures = plain.measure(varied_model(), rows())
    assert defended.measure(varied_model(), rows()) == figures and figures["eval_antonym_asr"] > 0
    assert defended.reports["antonym"]["antonym"]["edits_beyond_cut"] > 0


def test_evaluate_reports_what_the_attacks_report(tmp_path):
    trainer = trainer_with(tmp_path, max_attack_samples=18)
    metrics = trainer.evaluate()
    for name, table in (("antonym", {"antonyms": ANTONYMS}), ("synonym", {"synonyms": SYNONYMS})):
        attack = Attack(
            name, trainer.model, trainer.processing_class, "snli", max_length=128, **table
        )
        summary = attack.run(rows(), max_samples=18)[name]
        assert summary["rows"] == 18
        for key in KEYS:
            # For a fickle attack, a high keep rate is good, but evaluations only report `asr`.
            shown = None if (name, key) == ("synonym", "keep_rate") else summary.get(key)
            assert metrics.get(f"eval_{name}_{key}") == shown
    expected = robustness_score(
        metrics["eval_accuracy"], metrics["eval_synonym_asr"], metrics["eval_antonym_asr"]
    )
    assert metrics["eval_robustness"] == pytest.approx(expected)
    assert trainer.meter.reports["antonym"]["antonym"]["rows"] == 18
    assert trainer.model.training is False


def test_prediction_is_not_attacked_and_a_prefix_is_kept(tmp_path):
    trainer = trainer_with(tmp_path)
    assert not any("asr" in key for key in trainer.predict(rows()).metrics)
    metrics = trainer.evaluate(metric_key_prefix="dev")
    assert "dev_antonym_asr" in metrics and "eval_antonym_asr" not in metrics


def test_metrics_reach_the_log_history_and_tensorboard(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = trainer_with(
        tmp_path, report_to="tensorboard", eval_strategy="epoch", num_train_epochs=1
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "eval_antonym_asr" in entry]
    assert len(logged) == 1
    files = [p for p in tmp_path.rglob("events.out*")]
    tags: set[str] = set()
    for file in files:
        events = reader.EventAccumulator(str(file))
        events.Reload()
        tags |= set(events.Tags()["scalars"])
    assert {"eval/antonym_asr", "eval/synonym_asr", "eval/robustness"} <= tags


@pytest.mark.parametrize(
    ("metric", "best"), [("eval_antonym_asr", min), ("antonym_asr", min), ("eval_robustness", max)]
)
def test_the_best_model_has_the_lowest_rate(tmp_path, monkeypatch, metric, best):
    trainer = trainer_with(
        tmp_path,
        eval_strategy="epoch",
        save_strategy="epoch",
        num_train_epochs=3,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
    )
    values = iter([0.5, 0.3, 0.8])

    def measure(model, rows, prefix="eval", accuracy=None):
        value = next(values)
        return {f"{prefix}_antonym_asr": value, f"{prefix}_robustness": value}

    monkeypatch.setattr(trainer.meter, "measure", measure)
    trainer.train()
    assert trainer.state.best_metric == best([0.5, 0.3, 0.8])


@pytest.mark.parametrize(("when", "attacked"), [("eval", 5), ("epoch", 3), ("end", 1)])
def test_when_attacks_run(tmp_path, monkeypatch, when, attacked):
    trainer = trainer_with(
        tmp_path,
        attack_every=when,
        eval_strategy="steps",
        eval_steps=3,
        max_steps=12,
        per_device_train_batch_size=4,
        attacks=["antonym"],
    )
    monkeypatch.setattr(trainer.meter, "measure", lambda *_: {"eval_antonym_asr": 0.5})
    trainer.train()
    trainer.evaluate()
    evaluations = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(evaluations) == 5
    assert sum("eval_antonym_asr" in entry for entry in evaluations) == attacked


def test_a_rate_over_nothing_is_left_out(tmp_path):
    trainer = trainer_with(tmp_path, attacks=["antonym", "synonym"])
    neutral = [{**row, "label": 1} for row in rows()]
    metrics = trainer.evaluate(neutral)
    assert "eval_antonym_asr" not in metrics and "eval_robustness" not in metrics
    assert None not in metrics.values()


def test_a_best_metric_over_nothing_does_not_stop_the_run(tmp_path, caplog):
    trainer = trainer_with(
        tmp_path,
        eval_strategy="epoch",
        save_strategy="epoch",
        num_train_epochs=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_antonym_asr",
    )
    trainer.eval_dataset = trainer.eval_dataset.filter(lambda row: row["label"] == 1)
    trainer.train()
    assert "eval_antonym_asr is a rate over nothing" in caplog.text
    assert trainer.state.best_model_checkpoint is None
    measured = trainer.evaluate()
    assert np.isnan(measured["eval_antonym_asr"])  # for the Trainer; nothing that is kept has it
    assert "eval_antonym_asr" not in drop_missing_metrics(measured)
    trainer.create_model_card()
    assert "nan" not in (tmp_path / "README.md").read_text()


def test_the_callback_does_the_same_for_a_plain_trainer(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenized = Dataset.from_list(rows()).map(
        lambda row: tokenizer(row["premise"], row["hypothesis"]), load_from_cache_file=False
    )
    callback = RobustnessCallback(
        rows(), "snli", ["antonym", "synonym"], synonyms=SYNONYMS, antonyms=ANTONYMS
    )
    args = TrainingArguments(
        str(tmp_path),
        report_to="none",
        use_cpu=True,
        num_train_epochs=2,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="eval_antonym_asr",
        greater_is_better=False,
    )
    trainer = Trainer(
        model=varied_model(),
        args=args,
        train_dataset=tokenized,
        eval_dataset=tokenized,
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
        callbacks=[callback],
    )
    trainer.train()
    rates = [e["eval_antonym_asr"] for e in trainer.state.log_history if "eval_antonym_asr" in e]
    assert len(rates) == 2 and trainer.state.best_metric == min(rates)
    metrics = trainer.evaluate()
    attack = Attack("antonym", trainer.model, tokenizer, "snli", antonyms=ANTONYMS)
    assert metrics["eval_antonym_asr"] == attack.run(rows())["antonym"]["asr"]
    assert np.isfinite(metrics["eval_robustness"])


def test_the_callback_attacks_once_for_several_evaluation_sets(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenized = Dataset.from_list(rows()).map(
        lambda row: tokenizer(row["premise"], row["hypothesis"]), load_from_cache_file=False
    )
    callback = RobustnessCallback(rows(), "snli", ["antonym"], antonyms=ANTONYMS)
    trainer = Trainer(
        model=varied_model(),
        args=TrainingArguments(str(tmp_path), report_to="none", use_cpu=True),
        eval_dataset={name: tokenized for name in ("a", "b", "c")},
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[callback],
    )
    calls = []
    measure = RobustnessMeter.measure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            RobustnessMeter, "measure", lambda *a, **k: calls.append(1) or measure(*a, **k)
        )
        first = trainer.evaluate()
        assert len(calls) == 1
        torch.nn.init.zeros_(trainer.model.classifier.weight)  # another model, at the same step
        second = trainer.evaluate()
        assert len(calls) == 2
    assert first["eval_antonym_asr"] < 1.0 == second["eval_antonym_asr"]
    assert all(
        "eval_antonym_asr" in entry for entry in trainer.state.log_history if "eval_b_loss" in entry
    )


def test_the_combined_score_of_the_callback_uses_the_accuracy_of_each_evaluation(tmp_path):
    model, args = varied_model(), TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    attacks = ["antonym", "synonym"]
    callback = RobustnessCallback(
        rows(), "snli", attacks, antonyms=ANTONYMS, synonyms=SYNONYMS, tokenizer=tiny_tokenizer()
    )
    for accuracy in (0.9, 0.3):
        metrics = {"eval_accuracy": accuracy}
        callback.on_evaluate(args, TrainerState(), TrainerControl(), metrics=metrics, model=model)
        rates = metrics["eval_synonym_asr"], metrics["eval_antonym_asr"]
        assert metrics["eval_robustness"] == robustness_score(accuracy, *rates)


def test_the_best_model_by_an_attack_on_one_of_several_evaluation_sets(tmp_path):
    trainer = trainer_with(
        tmp_path,
        attacks=["antonym"],
        eval_dataset={"few": rows()[:4], "all": rows()},
        metric_for_best_model="eval_all_antonym_asr",
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        num_train_epochs=2,
    )
    trainer.train()
    rates = [e["eval_all_antonym_asr"] for e in trainer.state.log_history if "eval_all_loss" in e]
    assert len(rates) == 2 and trainer.state.best_metric == min(rates)


def test_prepared_rows_of_a_label_column_of_another_name_keep_their_labels():
    task = user_task(("a", "b"), ("no", "yes"), label_column="gold")
    model = tiny_model("bert", num_labels=2)
    model.config.id2label, model.config.label2id = {0: "yes", 1: "no"}, {"yes": 0, "no": 1}
    raw = [{"a": "Up.", "b": "It is hot.", "gold": i % 2} for i in range(4)]
    prepared = prepare_dataset(raw, task, model.config, "evaluation set")
    labels = [e.label for e in read_examples(prepared, task, model.config)]
    assert labels == [e.label for e in read_examples(raw, task, model.config)] == [1, 0, 1, 0]


def test_a_label_column_beside_the_one_that_the_task_names_is_no_label():
    task = user_task(("a", "b"), ("no", "yes"), label_column="gold")
    raw = [{"a": "Up.", "b": "It is hot.", "gold": i % 2, "label": 1 - i % 2} for i in range(4)]
    assert [e.label for e in read_examples(raw, task, None)] == [0, 1, 0, 1]
    without = [{k: v for k, v in row.items() if k != "gold"} for row in raw]
    with pytest.raises(HfBatError, match="no row has the label column 'gold'"):
        read_examples(without, task, None)


def test_the_fickle_attacks_are_those_whose_goal_is_to_flip():
    from hf_bat.attack.figures import has_obstinate
    from hf_bat.attack.recipes import RECIPES, get_recipe

    for name in RECIPES:
        recipe = get_recipe(name, mlm_model="m")
        assert has_obstinate([name]) == (recipe.goal.kind == "obstinate"), name


def test_a_callback_with_its_trainer_reaches_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tokenizer, task = tiny_tokenizer(), user_task(["premise", "hypothesis"], ["e", "n", "c"])
    encoded = [
        {**tokenizer(row["premise"], row["hypothesis"]), "labels": row["label"]} for row in rows()
    ]
    args = TrainingArguments(
        tmp_path / "out", max_steps=2, eval_strategy="steps", eval_steps=1, use_cpu=True,
        report_to="tensorboard", disable_tqdm=True, metric_for_best_model="antonym_asr",
        greater_is_better=False, save_strategy="best",
    )  # fmt: skip
    trainer = Trainer(
        varied_model(), args, DataCollatorWithPadding(tokenizer), Dataset.from_list(encoded),
        Dataset.from_list(encoded), tokenizer,
    )  # fmt: skip
    callback = RobustnessCallback(rows(), task, ["antonym"], trainer=trainer, antonyms=ANTONYMS)
    trainer.add_callback(callback)
    trainer.train()
    [folder] = {path.parent for path in (tmp_path / "out").rglob("events.out.tfevents*")}
    events = EventAccumulator(str(folder)).Reload().Scalars("eval/antonym_asr")
    logged = [entry for entry in trainer.state.log_history if "eval_antonym_asr" in entry]
    assert [event.step for event in events] == [1, 2] == [entry["step"] for entry in logged]
    assert [event.value for event in events] == pytest.approx(
        [entry["eval_antonym_asr"] for entry in logged]
    )
    assert trainer.state.best_metric == min(entry["eval_antonym_asr"] for entry in logged)
