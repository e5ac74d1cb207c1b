"""Evaluation and prediction: unperturbed rows, only logits, and one prediction per row."""

import json

import numpy as np
import pytest
import torch
from tiny_models import tiny_model
from training_helpers import ANTONYMS, SYNONYMS, made_rows, make_trainer, weights_of

from hf_bat import HfBatError, SubstitutionTable, metrics
from hf_bat.callbacks import robustness_objective
from hf_bat.tasks import user_task


def compute_accuracy(prediction):
    assert isinstance(prediction.predictions, np.ndarray), "logits alone"
    labels = prediction.predictions.argmax(-1)
    return {"accuracy": float((labels == prediction.label_ids).mean())}


def logits_by_hand(trainer, rows):
    model = tiny_model("bert").eval()
    model.load_state_dict(trainer.model.state_dict())
    with torch.no_grad():
        return torch.cat(
            [
                model(
                    **trainer.processing_class(
                        [row["premise"] or ""], [row["hypothesis"] or ""], return_tensors="pt"
                    )
                ).logits
                for row in rows
            ]
        )


@pytest.mark.parametrize("method", ["normal", "safer", "triplet"])
def test_evaluation_is_of_the_unperturbed_rows(tmp_path, method):
    rows = made_rows(13, seed=1)
    options = {"compute_metrics": compute_accuracy}
    trainer = make_trainer(
        tmp_path, made_rows(8), method=method, trainer_options=options, max_steps=2
    )
    trainer.train()
    found = trainer.evaluate(rows)
    logits, labels = logits_by_hand(trainer, rows), torch.tensor([row["label"] for row in rows])
    expected = torch.nn.functional.cross_entropy(logits, labels).item()
    assert found["eval_loss"] == pytest.approx(expected, abs=1e-5)
    assert found["eval_accuracy"] == (logits.argmax(-1) == labels).double().mean().item()
    assert not [key for key in found if "distance" in key]


def test_a_task_gives_accuracy_without_compute_metrics(tmp_path):
    rows = made_rows(13, seed=1)
    trainer = make_trainer(tmp_path, made_rows(8), method="normal")
    labels = torch.tensor([row["label"] for row in rows])
    right = logits_by_hand(trainer, rows).argmax(-1) == labels
    assert trainer.evaluate(rows)["eval_accuracy"] == pytest.approx(right.double().mean().item())
    own = {"compute_metrics": lambda _: {"mine": 1.0}}
    trainer = make_trainer(tmp_path, made_rows(8), method="normal", trainer_options=own)
    metrics = trainer.evaluate(rows)
    assert metrics["eval_mine"] == 1.0 and "eval_accuracy" not in metrics


def test_prediction_answers_each_row_though_labels_and_texts_are_missing(tmp_path):
    rows = made_rows(9, seed=1)
    rows[2]["label"], rows[4]["premise"], rows[5]["hypothesis"] = -1, "", None
    trainer = make_trainer(tmp_path, method="triplet", per_device_eval_batch_size=4)
    output = trainer.predict(rows)
    assert isinstance(output.predictions, np.ndarray) and output.predictions.shape == (9, 3)
    assert output.label_ids is None
    assert np.allclose(output.predictions, logits_by_hand(trainer, rows), atol=1e-5)
    labelled = trainer.predict(made_rows(5))
    assert labelled.label_ids.tolist() == [row["label"] for row in made_rows(5)]
    assert "test_loss" in labelled.metrics
    without = [{key: row[key] for key in ("premise", "hypothesis")} for row in rows]
    assert trainer.predict(without).predictions.shape == (9, 3)


def test_labels_are_in_the_models_order_and_dropped_rows_are_not_counted(tmp_path):
    model = tiny_model("bert")
    model.config.id2label = {0: "contradiction", 1: "entailment", 2: "neutral"}
    model.config.label2id = {"contradiction": 0, "entailment": 1, "neutral": 2}
    rows = [{"premise": "A man.", "hypothesis": "Waits.", "label": i} for i in (0, 1, 2, -1)]
    options = {"compute_metrics": lambda p: {"labels": p.label_ids.tolist()}}
    trainer = make_trainer(tmp_path, model=model, trainer_options=options)
    assert trainer.evaluate(rows)["eval_labels"] == [1, 2, 0]
    named = [{**row, "label": name} for row, name in zip(rows, ("neutral", "entailment"))]  # noqa: B905
    assert trainer.evaluate(named)["eval_labels"] == [2, 1]


def test_a_model_without_label_names_is_given_the_tasks(tmp_path):
    trainer = make_trainer(tmp_path, made_rows(4))
    assert trainer.model.config.id2label == {0: "entailment", 1: "neutral", 2: "contradiction"}
    assert trainer.model.config.label2id["contradiction"] == 2


def test_a_dict_of_evaluation_sets(tmp_path):
    sets = {"one": made_rows(6, seed=1), "two": made_rows(4, seed=2)}
    options = {"eval_dataset": sets, "compute_metrics": compute_accuracy}
    trainer = make_trainer(tmp_path, trainer_options=options, eval_distances=True)
    for found in (trainer.evaluate(), trainer.evaluate(sets)):
        for name, rows in sets.items():
            logits = logits_by_hand(trainer, rows)
            labels = torch.tensor([row["label"] for row in rows])
            expected = torch.nn.functional.cross_entropy(logits, labels).item()
            assert found[f"eval_{name}_loss"] == pytest.approx(expected, abs=1e-5)
            assert f"eval_{name}_accuracy" in found
            assert f"eval_{name}_fickle_valid" in found


@pytest.mark.parametrize("method", ["normal", "triplet"])
def test_distances_when_evaluating_are_those_of_each_rows_draws(tmp_path, method):
    rows = made_rows(14, seed=6)
    options = {"num_fickle": 2, "clean_epochs": 3} if method == "triplet" else {}
    trainer = make_trainer(
        tmp_path, method=method, eval_distances=True, per_device_eval_batch_size=4, **options
    )
    found = trainer.evaluate(rows)
    sampler = trainer._make_collator(
        fickle=trainer.perturbations[0],
        obstinate=trainer.perturbations[1],
        num_fickle=1,
    ).sampler
    model, tokenizer = tiny_model("bert").eval(), trainer.processing_class

    def vector(texts):
        with torch.no_grad():
            outputs = model(**tokenizer(*texts, return_tensors="pt"), output_hidden_states=True)
        return outputs.hidden_states[-1][0, 0]

    for kind in ("fickle", "obstinate"):
        distances = []
        for row in rows:
            version = sampler.draw(row, 0)[kind][0]
            if version is not None:
                a, b = vector(sampler.texts(row)), vector(version)
                distances.append(1 - torch.cosine_similarity(a, b, dim=0).item())
        assert 2 < len(distances) < 14
        assert found[f"eval_{kind}_distance"] == pytest.approx(np.mean(distances), abs=1e-5)
        assert found[f"eval_{kind}_valid"] == pytest.approx(len(distances) / 14)
    again = trainer.evaluate(rows)
    assert again["eval_fickle_distance"] == found["eval_fickle_distance"]
    assert not [k for k in trainer.predict(rows).metrics if "distance" in k]


def test_evaluation_without_training_leaves_the_weights_and_needs_no_training_set(tmp_path):
    trainer = make_trainer(tmp_path, method="pairwise", eval_distances=True)
    before = weights_of(trainer.model)
    found = trainer.evaluate(made_rows(5))
    assert found["eval_loss"] > 0 and found["eval_obstinate_distance"] > 0
    assert all(
        torch.equal(before[name], value) for name, value in weights_of(trainer.model).items()
    )
    with pytest.raises(ValueError, match="train_dataset"):
        trainer.train()


def test_the_best_model_is_loaded_at_the_end(tmp_path):
    options = {"eval_dataset": made_rows(12, seed=1), "compute_metrics": compute_accuracy}
    trainer = make_trainer(
        tmp_path, made_rows(12), method="triplet", trainer_options=options, num_train_epochs=4,
        learning_rate=5e-3, eval_strategy="epoch", save_strategy="epoch", eval_distances=True,
        load_best_model_at_end=True, metric_for_best_model="eval_obstinate_distance",
        greater_is_better=True,
    )  # fmt: skip
    trainer.train()
    key = "eval_obstinate_distance"
    values = [entry[key] for entry in trainer.state.log_history if key in entry]
    assert len(values) == 4 and trainer.state.best_metric == max(values)
    assert trainer.evaluate()[key] == pytest.approx(max(values), abs=1e-6)


def test_preview_marks_the_words_that_the_first_perturbed_epoch_changes(tmp_path):
    rows = [
        {"premise": "A hot sun.", "hypothesis": "It waits.", "label": 0, "idx": 4},
        {"premise": "A hot sun.", "hypothesis": "It waits.", "label": 1, "idx": 5},
        {"premise": "Two girls.", "hypothesis": "It waits.", "label": 2, "idx": 6},
    ]
    trainer = make_trainer(tmp_path, rows, method="triplet", clean_epochs=2)
    preview = trainer.preview(2)
    assert "row 4 (entailment)" in str(preview) and "row 6" not in str(preview)
    assert "A [hot -> cold] sun." in str(preview)
    assert str(preview).splitlines()[-1] == (
        "2 of 3 rows shown; rows with a valid draw: fickle 0.0 %, obstinate 33.3 %"
    )
    assert trainer.preview(1, made_rows(5, seed=2)).total == 5
    drawn = trainer.preview(3).to_dict()["rows"]
    sampler = trainer.data_collator.sampler
    for row in drawn:
        source = {**rows[row["idx"] - 4]}
        assert row["obstinate"] == sampler.draw(source, 2)["obstinate"]
    with pytest.raises(HfBatError, match="nothing to preview"):
        make_trainer(tmp_path, method="triplet").preview()


def test_preview_of_normal_training_shows_what_the_tables_would_draw(tmp_path):
    text = str(make_trainer(tmp_path, made_rows(20), method="normal").preview(20))
    assert "->" in text and "fickle" in text and "obstinate" in text


def test_preview_of_safer_shows_fickle_versions_alone(tmp_path):
    preview = make_trainer(tmp_path, made_rows(20), method="safer").preview(20)
    assert set(preview.shares) == {"fickle"}
    assert "->" in str(preview) and "obstinate" not in str(preview)


@pytest.mark.parametrize(
    ("method", "names"),
    [("normal", []), ("safer", ["synonyms"]), ("triplet", ["synonyms", "antonyms"])],
)
def test_the_tables_that_were_used_are_written_and_read_back(tmp_path, method, names):
    trainer = make_trainer(tmp_path, made_rows(4), method=method)
    written = trainer.save_perturbations(tmp_path)
    assert sorted(written) == sorted(names)
    described = json.loads((tmp_path / "perturbations.json").read_text())
    assert described["method"] == method
    for name, table in (("synonyms", SYNONYMS.minus(ANTONYMS)), ("antonyms", ANTONYMS)):
        path = tmp_path / f"{name}.json.gz"
        assert path.exists() == (name in names)
        if name in names:
            kind = {"synonyms": "fickle", "antonyms": "obstinate"}[name]
            loaded = SubstitutionTable.load(path)
            assert dict(loaded) == dict(table)
            assert loaded.fingerprint == written[name] == described[kind]["table"]


def test_the_objective_of_a_search():
    assert robustness_objective({"eval_accuracy": 0.5, "eval_robustness": 0.25}) == 0.25
    with pytest.raises(HfBatError, match="eval_robustness"):
        robustness_objective({"eval_loss": 0.5})


def test_the_packaged_accuracy_agrees(tmp_path):
    metric = metrics.load("accuracy")
    options = {
        "compute_metrics": lambda p: metric.compute(
            predictions=p.predictions.argmax(-1), references=p.label_ids
        )
    }
    rows = made_rows(13, seed=1)
    trainer = make_trainer(tmp_path, trainer_options=options)
    expected = (
        logits_by_hand(trainer, rows).argmax(-1).numpy() == [r["label"] for r in rows]
    ).mean()
    assert trainer.evaluate(rows)["eval_accuracy"] == pytest.approx(expected)


def test_distances_of_a_task_whose_label_column_has_another_name(tmp_path):
    names = ("entailment", "neutral", "contradiction")
    task = user_task(("premise", "hypothesis"), names, ("neutral",), label_column="verdict")
    rows = [
        {"verdict": row["label"], **{k: v for k, v in row.items() if k != "label"}}
        for row in made_rows(6)
    ]
    trainer = make_trainer(
        tmp_path, rows, trainer_options={"task": task, "eval_dataset": rows}, eval_distances=True
    )
    once = trainer.evaluate()
    assert "eval_fickle_valid" in once
    again = trainer.evaluate(trainer.eval_dataset)  # prepared rows: the labels are the model's
    assert again["eval_loss"] == pytest.approx(once["eval_loss"])
