"""What cannot be trained is refused before anything is trained, in one line that says what to do."""

import copy
import json
import math
import pickle

import datasets
import pytest
import torch
from tiny_models import tiny_model, tiny_tokenizer
from training_helpers import made_rows, make_arguments, make_trainer, tokenizer_for_made_rows

from hf_bat import BalancedTrainer, BalancedTrainingArguments, HfBatError, get_task
from hf_bat.tasks import user_task

INF, NAN = float("inf"), float("nan")


def model_with(**changes):
    model = tiny_model("bert", num_labels=changes.pop("num_labels", 3))
    for name, value in changes.items():
        setattr(model.config, name, value)
    return model


def without_padding():
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    return tokenizer


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "tripplet"}, "unknown method 'tripplet'; known: normal, safer, a2t, pairwise"),
        ({"margin": 0.5}, "margin=0.5 does not apply to method='normal'; .* pairwise and triplet"),
        (
            {"method": "pairwise", "contrastive_weight": 1.0},
            "contrastive_weight=1.0 does not apply",
        ),
        ({"method": "triplet", "alpha": 1.0}, "alpha=1.0 does not apply to method='triplet'"),
        ({"method": "triplet", "margin": -1.0}, "margin must not be negative; got -1.0"),
        ({"method": "triplet", "distance": "l2"}, "unknown distance 'l2'; known: cosine, eucl"),
        ({"method": "triplet", "pooling": "first"}, "unknown pooling 'first'; known: cls, mean"),
        ({"method": "triplet", "mask": "none"}, "unknown mask 'none'; known: paper, authors"),
        ({"method": "pairwise", "mask": "authors"}, "mask=authors does not apply to .*'pairwise'"),
        ({"pooling": "mean"}, "pooling=mean does not apply to method='normal'"),
        ({"method": "safer", "num_fickle": 2}, "num_fickle=2 does not apply to method='safer'"),
        ({"method": "triplet", "num_fickle": 0}, "num_fickle must be at least 1; got 0"),
        ({"clean_epochs": 1}, "clean_epochs=1 does not apply to method='normal'"),
        ({"method": "safer", "clean_epochs": -1}, "clean_epochs must be at least 0"),
        ({"method": "triplet", "weight_warmup_steps": -2}, "weight_warmup_steps must not be neg"),
        ({"max_seq_length": 2}, "max_seq_length must be at least 4; got 2"),
        ({"casing": "lower"}, "unknown casing 'lower'; known: keep, authors"),
        ({"class_weights": [1.0, -1.0]}, "class_weights must be finite, not negative nor all zero"),
        ({"class_weights": [0.0, 0.0]}, "class_weights must be finite, not negative nor all zero"),
        ({"class_weights": [1.0, INF]}, "class_weights must be finite"),
        ({"class_weights": "balanced"}, "class_weights must be a number for each label"),
        ({"class_weights": [1.0, NAN]}, "class_weights must be finite"),
        (
            {"method": "triplet", "weight_warmup_steps": NAN},
            "steps must be a finite number; got nan",
        ),
        (
            {"method": "triplet", "weight_warmup_steps": INF},
            "steps must be a finite number; got inf",
        ),
        ({"method": "triplet", "margin": INF}, "margin must be a finite number; got inf"),
        ({"method": "pairwise", "alpha": NAN}, "alpha must be a finite number; got nan"),
        ({"method": "likelihood", "other_limit": NAN}, "other_limit must be a finite number"),
        ({"learning_rate": NAN}, "learning_rate must be a finite number; got nan"),
        ({"learning_rate": -1e-4}, "learning_rate must not be negative; got -0.0001"),
        ({"label_smoothing_factor": 2.0}, "smoothing_factor must be between 0 and 1; got 2.0"),
        ({"label_smoothing_factor": NAN}, "smoothing_factor must be between 0 and 1; got nan"),
    ],
)
def test_arguments_that_do_not_fit_each_other(tmp_path, options, message):
    with pytest.raises(HfBatError, match=message) as error:
        BalancedTrainingArguments(str(tmp_path / "out"), report_to="none", **options)
    one_line(error)
    assert not (tmp_path / "out").exists()


def test_another_method_has_its_own_defaults_and_keeps_the_users_weights(tmp_path):
    given = make_arguments(tmp_path, method="triplet", margin=0.5)
    assert json.loads(given.to_json_string())["contrastive_weight"] == 1.0
    for args in (copy.deepcopy(given), pickle.loads(pickle.dumps(given))):
        args.method = "pairwise"
        args.check_method()
        weights = (args.alpha, args.beta, args.margin, args.contrastive_weight)
        assert weights == (1.0, 1.2, 0.5, None)
        args.beta = 1.2  # the default's value, and now a choice
        args.method = "likelihood"
        args.check_method()
        assert (args.beta, args.margin, args.label_filter) == (1.2, 0.5, "prefer")
        args.method = "triplet"
        with pytest.raises(HfBatError, match="beta=1.2 does not apply to method='triplet'"):
            args.check_method()


NO_TASK = {"task": None, "synonyms": None, "antonyms": None}
TOKENISED = [{"input_ids": [2, 9, 3], "attention_mask": [1, 1, 1], "label": 0}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "triplet", "trainer_options": NO_TASK}, "perturbs raw text: give task="),
        ({"trainer_options": {**NO_TASK, "eval_dataset": []}, "eval_distances": True},
         "eval_distances perturbs raw text: give task="),
        ({"trainer_options": {"task": "snlii"}}, "unknown task 'snlii' .did you mean 'snli'"),
        ({"trainer_options": {"processing_class": None}}, "give the tokenizer as processing_class"),
        ({"trainer_options": {"data_collator": lambda rows: rows}},
         "data_collator must be a PerturbationCollator; got function"),
        ({"tokenizer": without_padding()}, "no padding token; set one, e.g."),
        ({"model": model_with(num_labels=1)}, "1-output head; hf_bat trains single-label"),
        ({"model": model_with(problem_type="regression")}, "regression head"),
        ({"model": model_with(problem_type="multi_label_classification")}, "multi_label_classif"),
        ({"model": model_with(num_labels=2)}, "the model has 2 labels and the data 3"),
        ({"class_weights": [1.0, 2.0]}, "class_weights has 2 values and the model 3 labels"),
        ({"class_weights": [1.0, 1.0, 1.0],
          "trainer_options": {"compute_loss_func": lambda *a, **k: 0}}, "compute_loss_func replaces"),
        ({"label_smoothing_factor": 0.1,
          "trainer_options": {"compute_loss_func": lambda *a, **k: 0}}, "compute_loss_func replaces"),
        ({"rows": []}, "the training set has no rows|no usable row|no column"),
        ({"rows": [{**made_rows(1)[0], "label": -1}]}, "training set has no usable row .of 1."),
        ({"rows": TOKENISED}, "tokenized"),
        ({"rows": [{**row, "idx": 7} for row in made_rows(2)]}, "idx 7"),
        ({"rows": [{**made_rows(1)[0], "label": 3}]}, "label 3 in row 0 .* is out of range 0..2"),
        ({"rows": [{"premise": "A.", "label": 0}]}, "training set has no column 'hypothesis'"),
        ({"trainer_options": {"eval_dataset": {"dev": TOKENISED}}}, "evaluation set 'dev' is alread"),
        ({"method": "triplet", "trainer_options": {"synonyms": "/nowhere/table.json"}},
         "table not found: /nowhere/table.json"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_when_the_trainer_is_made(tmp_path, options, message):
    rows = options.get("rows", made_rows(4))
    options = {key: value for key, value in options.items() if key != "rows"}
    if options.get("trainer_options", {}).get("processing_class", 0) is None:
        with pytest.raises(HfBatError, match=message) as error:
            BalancedTrainer(tiny_model("bert"), make_arguments(tmp_path / "out"), task="snli")
    else:
        with pytest.raises(HfBatError, match=message) as error:
            make_trainer(tmp_path / "out", rows, **options)
    one_line(error)
    assert not list((tmp_path / "out").rglob("*")), "nothing half-written"


class Boom:
    def __reduce__(self):
        return (print, ("ran",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps({"format": "hf_bat.substitution_table", "version": 99, "words": {}}).encode(),
         "format version 99, and this hf_bat reads up to"),
        (pickle.dumps({"a": Boom()}), "refused: the pickle asks for builtins.print; nothing"),
        (b"{not json", "not valid JSON"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read_is_refused(tmp_path, capsys, content, message):
    path = tmp_path / "table.json"
    path.write_bytes(content)
    with pytest.raises(HfBatError, match=message) as error:
        make_trainer(
            tmp_path, made_rows(4), method="triplet", trainer_options={"antonyms": str(path)}
        )
    assert str(path) in one_line(error)
    assert "ran" not in capsys.readouterr().out


def test_arguments_of_another_kind_are_refused(tmp_path):
    from transformers import TrainingArguments

    with pytest.raises(HfBatError, match="must be BalancedTrainingArguments; got TrainingArg"):
        BalancedTrainer(tiny_model("bert"), TrainingArguments(str(tmp_path)), task=get_task("snli"))


def test_a_weight_set_later_is_checked_when_training_starts(tmp_path):
    trainer = make_trainer(tmp_path, made_rows(4), method="pairwise")
    trainer.args.margin = -0.5
    with pytest.raises(HfBatError, match="margin must not be negative"):
        trainer.train()


def test_a_method_chosen_later_takes_its_default_weights(tmp_path):
    trainer = make_trainer(tmp_path, made_rows(4), method="normal", max_steps=1)
    trainer.args.method = "triplet"
    trainer.train()
    assert (trainer.args.margin, trainer.args.contrastive_weight) == (1.0, 1.0)
    assert "loss_triplet" in trainer.state.log_history[0]


def test_absent_row_numbers_are_the_rows_own(tmp_path):
    rows = [{key: row[key] for key in row if key != "idx"} for row in made_rows(5)]
    rows[1]["label"] = -1
    trainer = make_trainer(tmp_path, rows, tokenizer=tokenizer_for_made_rows(), method="safer")
    assert trainer.train_dataset["idx"][:] == [0, 2, 3, 4]


@pytest.mark.parametrize("label", [-1, -100, 3])
def test_tokenised_rows_whose_label_is_no_class_are_named(tmp_path, label):
    rows = [
        {"input_ids": [1, 2], "label": 0, "idx": 5},
        {"input_ids": [1], "label": label, "idx": 7},
    ]
    trainer = BalancedTrainer(
        model=tiny_model("bert"),
        args=make_arguments(tmp_path, method="normal", max_steps=1, remove_unused_columns=False),
        train_dataset=rows,
        processing_class=tokenizer_for_made_rows(),
    )
    with pytest.raises(
        HfBatError, match=f"label {label} of row 7 is none of the model's 0..2"
    ) as e:
        trainer.train()
    assert one_line(e)


@pytest.mark.parametrize("kind", ["torch", "numpy", "pandas"])
@pytest.mark.parametrize("numbered", [True, False])
def test_the_format_of_a_data_set_changes_nothing(tmp_path, kind, numbered):
    """Labels that are tensors are in no set of numbers: neutral rows got obstinate versions."""
    rows = made_rows(24)
    if not numbered:
        rows = [{key: row[key] for key in row if key != "idx"} for row in rows]
    plain = datasets.Dataset.from_list(rows)
    batches = []
    for data in (plain, plain.with_format(kind)):
        trainer = make_trainer(tmp_path, data, method="pairwise")
        batches.append(trainer.data_collator(list(trainer.train_dataset)))
    assert batches[0].keys() == batches[1].keys()
    for key, value in batches[0].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(batches[1][key])), key
    neutral = batches[1]["labels"] == 1
    assert not batches[1]["obstinate_mask"][neutral].any()


def test_prediction_answers_tokenised_rows_without_a_label(tmp_path):
    rows = [{"input_ids": [1, 2], "label": -100}, {"input_ids": [1], "label": -100}]
    trainer = BalancedTrainer(
        model=tiny_model("bert"),
        args=make_arguments(tmp_path, method="normal"),
        processing_class=tokenizer_for_made_rows(),
    )
    assert trainer.predict(rows).predictions.shape == (2, 3)


@pytest.mark.parametrize("weights", [[1.0, 0.0, 0.0], [1.0, 5.0, 0.2]])
def test_the_evaluation_loss_with_class_weights_is_that_of_all_rows(tmp_path, weights):
    rows, losses = made_rows(24), []
    for size in (2, 7, 24):
        trainer = make_trainer(
            tmp_path, rows, class_weights=weights, per_device_eval_batch_size=size
        )
        losses.append(trainer.evaluate(rows)["eval_loss"])
        found = trainer.predict(rows)
    logits, labels = map(torch.as_tensor, (found.predictions, found.label_ids))
    expected = torch.nn.functional.cross_entropy(logits, labels, torch.tensor(weights)).item()
    assert losses == pytest.approx([expected] * 3, abs=1e-5)


@pytest.mark.parametrize("names", [("no", "yes"), ()])
@pytest.mark.parametrize("method", ["normal", "a2t"])
def test_training_evaluation_and_attacks_go_by_the_declared_label_column(tmp_path, names, method):
    task = user_task(("premise", "hypothesis"), names, label_column="gold")
    gold = datasets.ClassLabel(names=["no", "yes"])
    rows = datasets.Dataset.from_list(
        [row | {"gold": row["idx"] % 2, "label": "other"} for row in made_rows(8)]
    ).cast_column("gold", gold)
    trainer = make_trainer(
        tmp_path,
        rows,
        model=tiny_model("bert", num_labels=2),
        trainer_options={"task": task, "eval_dataset": rows},
        method=method,
        attacks=["antonym"],
        num_train_epochs=2,
    )
    trainer.train()
    seen = [batch["labels"] for batch in trainer.get_eval_dataloader()]
    assert torch.cat(seen).tolist() == [0, 1] * 4
    trainer.evaluate()
    attacked = trainer.meter.reports["antonym"].rows["antonym"]
    assert [row["label"] for row in attacked] == [0, 1] * 4
    assert trainer.predict(rows).label_ids.tolist() == [0, 1] * 4


def test_rows_that_are_tokenised_on_the_fly_are_evaluated_with_class_weights(tmp_path):
    """Their labels cannot be looked up by a column of its own: the transform needs the text too."""
    tokenizer = tokenizer_for_made_rows()

    def tokenised(rows):
        texts = rows["premise"], rows["hypothesis"]
        return {**tokenizer(*texts, padding="max_length", max_length=32), "labels": rows["label"]}

    rows = datasets.Dataset.from_list(made_rows(8)).with_transform(tokenised)
    trainer = BalancedTrainer(
        model=tiny_model("bert"),
        args=make_arguments(
            tmp_path, method="normal", class_weights=[1.0, 2.0, 3.0], remove_unused_columns=False
        ),
        processing_class=tokenizer,
    )
    assert math.isfinite(trainer.evaluate(rows)["eval_loss"])
