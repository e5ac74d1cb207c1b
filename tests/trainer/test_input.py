"""Invalid training inputs raise a one-line error that explains what to do, before training starts."""

import copy
import json
import math
import pickle

import datasets
import pytest
import torch
from tiny_models import tiny_model
from training_helpers import made_rows, make_arguments, make_trainer, tokenizer_for_made_rows

from hf_bat import BalancedTrainer, HfBatError
from hf_bat.tasks import user_task


def test_another_method_has_its_own_defaults_and_keeps_the_users_weights(tmp_path):
    given = make_arguments(tmp_path, method="triplet", margin=0.5)
    assert json.loads(given.to_json_string())["contrastive_weight"] == 1.0
    for args in (copy.deepcopy(given), pickle.loads(pickle.dumps(given))):
        args.method = "pairwise"
        args.check_method()
        weights = (args.alpha, args.beta, args.margin, args.contrastive_weight)
        assert weights == (1.0, 1.2, 0.5, None)
        args.beta = 1.3  # a choice now
        args.method = "likelihood"
        args.check_method()
        assert (args.beta, args.margin, args.label_filter) == (1.3, 0.5, "prefer")
        args.method = "triplet"
        with pytest.raises(HfBatError, match="beta=1.3"):
            args.check_method()


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


@pytest.mark.parametrize("kind", ["torch", "numpy", "pandas"])
@pytest.mark.parametrize("numbered", [True, False])
def test_the_format_of_a_data_set_changes_nothing(tmp_path, kind, numbered):
    """Tensor labels are never in a set of numbers, so neutral rows got obstinate versions."""
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
    """Labels cannot be looked up separately, because the transform also needs the text."""
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
