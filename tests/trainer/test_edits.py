"""Training with obstinate edits other than antonyms, and with the preprocessing defense."""

import json
import logging
from dataclasses import replace

import pytest
import torch
from training_helpers import (
    ANTONYMS,
    SYNONYMS,
    made_rows,
    make_trainer,
    tokenizer_for_made_rows,
)

from hf_bat import HfBatError, PerturbationCollator, get_task
from hf_bat.canonicalize import Canonicalizer
from hf_bat.lexicon import (
    SubstitutionTable,
    default_sisters,
    default_synonyms,
    wordnet_synonyms,
)
from hf_bat.perturbations import build_perturbations
from hf_bat.saved_perturbations import load_canonicalizer, read_defense

CANONICAL = Canonicalizer(SYNONYMS.minus(ANTONYMS))
FILTER_KEYS = ("valid_keep_rate", "invalid_keep_rate")


def test_several_kinds_of_obstinate_edits_are_drawn_and_recorded(tmp_path):
    edits = ["antonym", "negation", "sister", "number"]
    trainer = make_trainer(tmp_path, made_rows(40), method="triplet", obstinate_edits=edits)
    obstinate = trainer.data_collator.sampler.obstinate
    assert [one.name for one in obstinate.perturbations] == edits
    texts = " ".join(
        row["obstinate"][0][0] for row in trainer.preview(40).rows if row["obstinate"][0]
    )
    assert "n't" in texts and "Three girls" in texts
    trainer.train()
    written = trainer.save_perturbations(tmp_path)
    assert set(written) == {"synonyms", "antonyms", "sisters"}
    assert SubstitutionTable.load(tmp_path / "sisters.json.gz").fingerprint == written["sisters"]
    assert written["sisters"] == default_sisters().fingerprint
    described = json.loads((tmp_path / "perturbations.json").read_text())["obstinate"]
    assert [one["perturbation"] for one in described["of"]] == edits


@pytest.mark.parametrize("use", ["only", "prefer"])
def test_the_label_filter_is_over_all_kinds(tmp_path, use):
    trainer = make_trainer(
        tmp_path, made_rows(8), method="likelihood", obstinate_edits=["antonym", "number"],
        label_filter=use,
    )  # fmt: skip
    batch = trainer.data_collator([{**row} for row in made_rows(8)])
    assert batch["obstinate_passes"].shape == batch["obstinate_mask"].shape
    if use == "only":
        assert torch.equal(batch["obstinate_passes"], batch["obstinate_mask"])


def test_the_defence_is_applied_to_every_input(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        trainer = make_trainer(
            tmp_path,
            made_rows(12),
            method="pairwise",
            canonicalize=True,
            trainer_options={"eval_dataset": made_rows(5)},
        )
        batch = trainer.data_collator([{**row} for row in made_rows(12)])
    assert "canonicalize" in caplog.text
    read = {
        text
        for key in ("input_ids", "obstinate_input_ids")
        for text in trainer.processing_class.batch_decode(batch[key].flatten(0, -2))
    }
    words = set(" ".join(read).split())
    replaced = {word for word, best in CANONICAL.representatives.items() if word != best}
    assert replaced and not words & replaced
    assert not batch["fickle_mask"].any() and batch["obstinate_mask"].any()
    trainer.train()
    clean = next(iter(trainer.get_eval_dataloader()))
    assert (
        not set(" ".join(trainer.processing_class.batch_decode(clean["input_ids"])).split())
        & replaced
    )


def test_evaluation_attacks_behind_the_defence_and_the_model_records_it(tmp_path):
    trainer = make_trainer(
        tmp_path, made_rows(4), method="normal", canonicalize=True, attacks=["synonym", "antonym"],
        attack_label_filter=True,
        # The untrained model predicts neutral for all rows, which the task would skip.
        trainer_options={"task": replace(get_task("snli"), skipped_labels=())},
    )  # fmt: skip
    metrics = trainer.evaluate(made_rows(40, seed=3))
    assert metrics["eval_synonym_asr"] == 0.0
    assert all(f"eval_antonym_{key}" in metrics for key in FILTER_KEYS)
    about = trainer.meter.reports["antonym"].about
    assert about["preprocessing_defence"]["fingerprint"] == CANONICAL.fingerprint
    written = trainer.save_perturbations(tmp_path)
    assert set(written) == {"canonical"}
    assert read_defense(tmp_path) == CANONICAL.describe()
    assert load_canonicalizer(tmp_path).fingerprint == CANONICAL.fingerprint


def test_without_a_table_the_defence_is_over_wordnet_and_attacks_are_not(tmp_path):
    trainer = make_trainer(
        tmp_path, made_rows(4), method="safer", canonicalize=True, attacks=["synonym"],
        trainer_options={"synonyms": None, "antonyms": None},
    )  # fmt: skip
    fickle, _ = trainer.perturbations
    assert trainer.canonicalizer.table is fickle.table
    assert fickle.table.fingerprint == wordnet_synonyms().fingerprint
    [recipe] = trainer.meter.recipes
    assert recipe.perturbation.table is default_synonyms()


def test_every_saved_model_says_that_it_has_the_defence(tmp_path):
    options = {"method": "normal", "save_strategy": "steps", "save_steps": 1, "max_steps": 1}
    trainer = make_trainer(tmp_path / "out", made_rows(4), canonicalize=True, **options)
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    for folder in (tmp_path / "out" / "checkpoint-1", tmp_path / "model"):
        assert load_canonicalizer(folder).fingerprint == CANONICAL.fingerprint
    plain = make_trainer(tmp_path / "plain", method="normal")
    plain.save_model()
    assert read_defense(tmp_path / "plain") is None


def own_collator(canonicalizer):
    columns = ("premise", "hypothesis")
    return PerturbationCollator(tokenizer_for_made_rows(), columns, canonicalizer=canonicalizer)


@pytest.mark.parametrize(
    ("canonicalize", "own"),
    [
        (False, CANONICAL),
        (True, None),
        (True, Canonicalizer({"dog": ["hound"]})),
        # A function that rewrites texts has no fingerprint to disclose.
        (False, str.lower),
        (True, str.lower),
    ],
)
@pytest.mark.parametrize("has_task", [True, False])
def test_a_collator_with_another_defense_than_attacks_is_refused(
    tmp_path, canonicalize, own, has_task
):
    options = {} if has_task else dict.fromkeys(("task", "synonyms", "antonyms"))
    options["data_collator"] = own_collator(own)
    with pytest.raises(HfBatError, match="canonicalize") as caught:
        make_trainer(tmp_path, None, canonicalize=canonicalize, trainer_options=options)
    assert "\n" not in str(caught.value)


def test_a_collator_with_the_trainers_own_defence_trains_and_discloses_it(tmp_path):
    # Of the same tables, as the message says.
    same = Canonicalizer(build_perturbations(SYNONYMS, ANTONYMS)[0].table)
    own, task = own_collator(same), replace(get_task("snli"), skipped_labels=())
    trainer = make_trainer(
        tmp_path, made_rows(4), method="normal", canonicalize=True, max_steps=1,
        attacks=["synonym"], trainer_options={"data_collator": own, "task": task},
    )  # fmt: skip
    trainer.train()
    assert trainer.data_collator is own
    assert trainer.evaluate(made_rows(40, seed=3))["eval_synonym_asr"] == 0.0
    trainer.save_model()
    assert read_defense(tmp_path) == CANONICAL.describe()
