"""Loaders and collators that users pass, replace or inspect during training."""

import pytest
import torch
from tiny_models import tiny_model
from training_helpers import ANTONYMS, SYNONYMS, made_rows, make_trainer, tokenizer_for_made_rows
from transformers import TrainerCallback

from hf_bat import PerturbationCollator
from hf_bat.perturbations import AntonymPerturbation, LabelValidity, SynonymPerturbation

COLUMNS = ("premise", "hypothesis")
FICKLE, OBSTINATE = SynonymPerturbation(SYNONYMS), AntonymPerturbation(ANTONYMS)
BOTH = {"fickle": FICKLE, "obstinate": OBSTINATE}


def collator_with(**options):
    return PerturbationCollator(tokenizer_for_made_rows(), COLUMNS, **options)


class Peek(TrainerCallback):
    """Inspects a training batch in the middle of each epoch, like a logging callback."""

    trainer = None

    def on_step_end(self, args, state, control, **kwargs):
        next(iter(self.trainer.get_train_dataloader()))


def fickle_inputs_of_epochs(folder, monkeypatch, peek):
    trainer = make_trainer(
        folder, made_rows(8), method="triplet", num_train_epochs=3, per_device_train_batch_size=8
    )
    seen = []
    compute = trainer.compute_loss

    def noted(model, inputs, *args, **kwargs):
        seen.append(inputs["fickle_input_ids"].clone())
        return compute(model, inputs, *args, **kwargs)

    monkeypatch.setattr(trainer, "compute_loss", noted)
    if peek:
        callback = Peek()
        callback.trainer = trainer
        trainer.add_callback(callback)
    epochs = []
    monkeypatch.setattr(
        PerturbationCollator, "set_epoch",
        lambda self, epoch: (epochs.append(epoch), self._epoch.fill_(epoch)),
    )  # fmt: skip
    trainer.train()
    assert epochs == [0, 1, 2]
    return seen


def test_a_look_at_the_training_loader_leaves_the_draws_of_later_epochs_alone(
    tmp_path, monkeypatch
):
    alone = fickle_inputs_of_epochs(tmp_path / "a", monkeypatch, peek=False)
    with pytest.MonkeyPatch.context() as patch:
        looked_at = fickle_inputs_of_epochs(tmp_path / "b", patch, peek=True)
    texts = [{tuple(row.flatten().tolist()) for row in batch} for batch in alone]
    assert texts[0] != texts[1]  # epochs differ
    assert texts == [{tuple(row.flatten().tolist()) for row in batch} for batch in looked_at]


def test_workers_that_stay_evaluate_the_rows_they_are_given(tmp_path):
    trainer = make_trainer(
        tmp_path, dataloader_num_workers=1, dataloader_persistent_workers=True,
        trainer_options={"eval_dataset": made_rows(8)},
    )  # fmt: skip
    sizes = [
        len(trainer.get_eval_dataloader(rows).dataset)
        for rows in (None, made_rows(3), None, made_rows(5))
    ]
    assert sizes == [8, 3, 8, 5]
    own = trainer.eval_dataset
    assert trainer.get_eval_dataloader(own) is trainer.get_eval_dataloader(own)  # workers remain


def test_data_sets_that_are_put_in_later_are_prepared_too(tmp_path):
    named = [{**row, "label": ("entailment", "neutral", "contradiction")[row["label"]]}
             for row in made_rows(6)]  # fmt: skip
    trainer = make_trainer(tmp_path, made_rows(4))
    trainer.train_dataset = named
    trainer.eval_dataset = {"a": named, "b": named[:2]}
    expected = torch.tensor([row["label"] for row in made_rows(6)])
    batches = list(trainer.get_train_dataloader())
    assert sorted(torch.cat([b["labels"] for b in batches]).tolist()) == sorted(expected.tolist())
    (batch,) = trainer.get_eval_dataloader("a")
    assert batch["labels"].tolist() == expected.tolist()
    assert {"eval_a_loss", "eval_b_loss"} <= trainer.evaluate().keys()


@pytest.mark.parametrize(
    ("options", "drawn"),
    [
        ({"method": "triplet", "num_fickle": 2}, {**BOTH, "num_fickle": 2}),
        ({"method": "likelihood"}, {**BOTH, "validity": LabelValidity()}),
        ({"method": "likelihood", "label_filter": "off"}, BOTH),
        ({"method": "safer"}, {"fickle": FICKLE, "perturb_anchor": True}),
    ],
)
def test_a_collator_that_fits_is_trained_and_previewed_with(tmp_path, options, drawn):
    own = collator_with(seed=7, **drawn)
    trainer = make_trainer(
        tmp_path, made_rows(4), trainer_options={"data_collator": own}, max_steps=1, **options
    )
    trainer.train()
    assert trainer.data_collator is own
    for row in trainer.preview(4).rows:
        assert row["fickle"] == own.sampler.draw(made_rows(4)[row["idx"]], 0)["fickle"]


def test_normal_training_with_a_collator_that_perturbs_sees_the_anchors_alone(tmp_path):
    weights = []
    for number, own in enumerate((None, collator_with(**BOTH))):
        torch.manual_seed(0)
        trainer = make_trainer(
            tmp_path / str(number), made_rows(8), model=tiny_model("bert"), max_steps=2,
            trainer_options={"data_collator": own},
        )  # fmt: skip
        sizes = []
        trainer.model.register_forward_pre_hook(
            lambda module, args, inputs, sizes=sizes: sizes.append(len(inputs["input_ids"])),
            with_kwargs=True,
        )
        trainer.train()
        weights.append((sizes, trainer.model.classifier.weight.detach().clone()))
    assert weights[0][0] == weights[1][0]
    assert torch.equal(weights[0][1], weights[1][1])
