"""Runs that end within the clean epochs: an error for too few epochs, a warning for too few steps."""

import logging

import pytest
from training_helpers import (
    ANTONYMS,
    SUBSTITUTES,
    SYNONYMS,
    made_rows,
    make_trainer,
    tokenizer_for_made_rows,
    weights_of,
)

from hf_bat import AntonymPerturbation, HfBatError, PerturbationCollator, SynonymPerturbation

WARNING = "max_steps=2 ends within clean_epochs=1"


def make(folder, **options):
    """Return a trainer with four steps per epoch."""
    return make_trainer(folder, made_rows(16), **options)


def own_collator(clean_epochs):
    return PerturbationCollator(
        tokenizer_for_made_rows(), ("premise", "hypothesis"), SynonymPerturbation(SYNONYMS),
        AntonymPerturbation(ANTONYMS), clean_epochs=clean_epochs, max_length=128,
    )  # fmt: skip


def test_what_is_recorded_is_of_the_users_own_collator(tmp_path):
    """The record has the collator's tables instead of the trainer's, and its draws are measured."""
    own = {"data_collator": own_collator(0), "synonyms": None, "antonyms": None}
    trainer = make(tmp_path, method="triplet", max_steps=1, trainer_options=own)
    trainer.train()
    saved = trainer.save_perturbations(tmp_path)
    assert saved == {"synonyms": SYNONYMS.fingerprint, "antonyms": ANTONYMS.fingerprint}
    trainer.create_model_card()
    assert SYNONYMS.fingerprint[:8] in (tmp_path / "README.md").read_text("utf-8")
    given = make(tmp_path, model=trainer.model, method="triplet", max_steps=1)
    expected = given.perturbation_distances(made_rows(16))
    assert trainer.perturbation_distances(made_rows(16)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "a2t", "num_train_epochs": 1},  # one clean epoch is the default
        {"method": "triplet", "clean_epochs": 2, "num_train_epochs": 2},
        {"method": "safer", "clean_epochs": 1, "num_train_epochs": 0.5},
        # The warm-up steps are after the clean epochs.
        {"method": "pairwise", "clean_epochs": 3, "weight_warmup_steps": 0.5},
    ],
)
def test_epochs_that_are_all_clean_are_refused(tmp_path, options):
    trainer = make(tmp_path, **options)
    before = weights_of(trainer.model)
    with pytest.raises(HfBatError) as caught:
        trainer.train()
    assert "clean_epochs" in str(caught.value) and "\n" not in str(caught.value)
    assert trainer.state.global_step == 0
    assert all(before[name].equal(value) for name, value in weights_of(trainer.model).items())


def test_those_of_a_users_own_collator_are_refused_too(tmp_path):
    options = {"trainer_options": {"data_collator": own_collator(1)}, "method": "triplet"}
    with pytest.raises(HfBatError, match="clean_epochs=1"):
        make(tmp_path, **options, num_train_epochs=1).train()
    trainer = make(tmp_path, **options, num_train_epochs=2)
    trainer.train()
    assert ["loss_triplet" in entry for entry in trainer.state.log_history[:8]] == [False] * 4 + [
        True
    ] * 4


def test_max_steps_that_cuts_a_run_short_is_warned_of(tmp_path, caplog):
    trainer = make(tmp_path, method="triplet", clean_epochs=1, max_steps=2)
    trainer.train()
    assert [r.levelno for r in caplog.records if WARNING in r.message] == [logging.WARNING]
    assert trainer.state.global_step == 2
    # These steps may be more epochs than num_train_epochs, which is ignored in this case.
    caplog.clear()
    longer = make(tmp_path, method="triplet", clean_epochs=1, max_steps=5, num_train_epochs=1)
    longer.train()
    assert "ends within" not in caplog.text
    logs = longer.state.log_history[:5]
    assert ["loss_triplet" in entry for entry in logs] == [False] * 4 + [True]


@pytest.mark.parametrize(
    "options",
    [
        {"method": "triplet", "clean_epochs": 1, "num_train_epochs": 1.25},
        {"method": "triplet", "num_train_epochs": 1},
        {"method": "normal", "num_train_epochs": 1},
        # Nothing is trained, so the original model is evaluated.
        {"method": "a2t", "num_train_epochs": 0},
    ],
)
def test_any_other_run_trains_without_a_word(tmp_path, caplog, options):
    make(tmp_path, **options).train()
    assert "ends within" not in caplog.text


def test_a_run_that_resumes_counts_all_its_epochs(tmp_path, caplog):
    options = {"method": "triplet", "clean_epochs": 1, "save_strategy": "steps", "save_steps": 4}
    make(tmp_path, **options, num_train_epochs=2).train()
    checkpoint = str(tmp_path / "checkpoint-4")
    with pytest.raises(HfBatError, match="clean_epochs=1"):
        make(tmp_path, **options, num_train_epochs=1).train(resume_from_checkpoint=checkpoint)
    # Only the last epoch is left, and it is a perturbed epoch.
    resumed = make(tmp_path, **options, num_train_epochs=2)
    resumed.train(resume_from_checkpoint=checkpoint)
    assert resumed.state.global_step == 8 and "ends within" not in caplog.text
    assert "loss_triplet" in resumed.state.log_history[7]


def test_an_evaluation_needs_no_epochs(tmp_path):
    trainer = make(
        tmp_path, method="a2t", num_train_epochs=1, trainer_options={"synonyms": SUBSTITUTES}
    )
    assert trainer.evaluate(made_rows(4))["eval_loss"] > 0
