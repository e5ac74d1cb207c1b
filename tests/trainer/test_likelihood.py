"""Method "likelihood": its loss, draws and options, and the error for a loss that is not finite."""

import json

import pytest
import torch
import torch.nn.functional as F
from tiny_models import tiny_model
from training_helpers import logged, made_rows, make_arguments, make_trainer

from hf_bat import HfBatError
from hf_bat.losses import likelihood_terms, log_likelihood
from hf_bat.perturbations import LabelValidity

TOUCHED = [  # the other sentence contains the swapped word
    {"premise": "The big dog waits fast.", "hypothesis": "A big dog.", "label": 0, "idx": 0},
    {"premise": "It is cold.", "hypothesis": "The man is in the hot sun.", "label": 2, "idx": 1},
]
UNTOUCHED = [
    {"premise": "A happy man sings fast.", "hypothesis": "It waits.", "label": 2, "idx": 2},
    {"premise": "Two girls sing outside.", "hypothesis": "It waits.", "label": 0, "idx": 3},
]
NEUTRAL = [{"premise": "It is hot.", "hypothesis": "A hot sun.", "label": 1, "idx": 4}]


def label_log_probability(model, tokenizer, texts, label):
    return model(**tokenizer(*texts, return_tensors="pt")).logits.log_softmax(-1)[0, label]


@pytest.mark.parametrize("label_filter", [None, "off", "only"])
def test_the_first_loss_is_the_formula_row_by_row(tmp_path, label_filter):
    rows = TOUCHED + UNTOUCHED + NEUTRAL
    trainer = make_trainer(
        tmp_path, rows, method="likelihood", per_device_train_batch_size=5, max_steps=1,
        alpha=0.5, beta=2.0, margin=0.8, label_filter=label_filter,
        **({"other_margin": 0.1, "other_limit": 0.1} if label_filter is None else {}),
    )  # fmt: skip
    model, tokenizer = tiny_model("bert"), trainer.processing_class
    anchors, fickle, obstinate, drops = [], [], [], []
    with torch.no_grad():
        for row in rows:
            texts, label = (row["premise"], row["hypothesis"]), row["label"]
            anchor = label_log_probability(model, tokenizer, texts, label)
            anchors.append(-anchor)
            drawn = trainer.data_collator.sampler.draw(row, 0)
            if drawn["fickle"][0]:
                fickle.append(-label_log_probability(model, tokenizer, drawn["fickle"][0], label))
            version = drawn["obstinate"][0]
            assert (version is None) == (
                label == 1 or (label_filter == "only" and row in UNTOUCHED)
            ), row
            if version:
                found = label_log_probability(model, tokenizer, version, label)
                stays = row in UNTOUCHED and label_filter is None
                # An edit that keeps the label should lower the log-probability by exactly 0.1.
                term = abs(0.1 + found - anchor) if stays else max(0.0, 0.8 + found - anchor)
                obstinate.append(term)
                drops.append(anchor - found)
    assert len(fickle) > 1 and len(obstinate) == (2 if label_filter == "only" else 4)
    means = [float(torch.tensor(values).mean()) for values in (anchors, fickle, obstinate, drops)]
    trainer.train()
    logs = trainer.state.log_history[0]
    names = ("loss_ce", "loss_ce_fickle", "loss_obstinate", "label_drop")
    assert [logs[name] for name in names] == pytest.approx(means, abs=2e-5)
    assert logs["loss"] == pytest.approx(means[0] + 0.5 * means[1] + 2.0 * means[2], abs=2e-5)
    assert "fickle_distance" not in logs


def test_a_triplet_term_beside_it(tmp_path):
    rows = made_rows(12, seed=2)
    options = {"method": "likelihood", "per_device_train_batch_size": 12, "max_steps": 1}
    with_triplet = make_trainer(tmp_path, rows, contrastive_weight=1.5, **options)
    triplet = make_trainer(
        tmp_path, rows, label_filter="prefer", **{**options, "method": "triplet"}
    )
    for trainer in (with_triplet, triplet):
        trainer.train()
    ours, theirs = (trainer.state.log_history[0] for trainer in (with_triplet, triplet))
    assert ours["loss_triplet"] == pytest.approx(theirs["loss_triplet"], abs=1e-5)
    expected = ours["loss_ce"] + ours["loss_ce_fickle"] + ours["loss_obstinate"]
    assert ours["loss"] == pytest.approx(expected + 1.5 * ours["loss_triplet"], abs=1e-5)


def test_training_lowers_the_label_on_obstinate_versions_alone(tmp_path):
    trainer = make_trainer(
        tmp_path, TOUCHED, method="likelihood", num_train_epochs=60, learning_rate=5e-3
    )
    trainer.train()
    drops = logged(trainer, "label_drop")
    assert drops[-1] > 0.8 > drops[0]
    assert logged(trainer, "loss_ce_fickle")[-1] < logged(trainer, "loss_ce_fickle")[0]


def test_terms_against_worked_numbers():
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0]], requires_grad=True)
    found = log_likelihood(logits, torch.tensor([0, 0]))
    assert found.tolist() == pytest.approx([-0.693147, -0.126928], abs=1e-6)
    # The second input is the obstinate version of the first and increases the log-probability by 0.566219.
    terms = likelihood_terms(found[:1], found[1:], torch.tensor([0.0]))
    assert terms.tolist() == pytest.approx([0.566219], abs=1e-6)
    (gradient,) = torch.autograd.grad(terms.sum(), logits)
    # d log p(0) / d logit 0 is 1 - p(0).
    assert gradient[:, 0].tolist() == pytest.approx([-0.5, 1 - 0.880797], abs=1e-5)
    assert likelihood_terms(found[1:], found[:1], 0.5).tolist() == [0.0]


def test_a_term_is_zero_between_its_margin_and_its_limit():
    anchor, drops = torch.zeros(5), torch.tensor([-0.5, 0.25, 0.5, 1.0, 3.0])
    terms = likelihood_terms(anchor, -drops, 0.25, torch.tensor([1.0] * 4 + [float("inf")]))
    assert terms.tolist() == [0.75, 0.0, 0.0, 0.0, 0.0]
    obstinate = (-drops).requires_grad_()
    likelihood_terms(anchor, obstinate, 0.25, 0.75).sum().backward()
    assert obstinate.grad.tolist() == [1.0, 0.0, 0.0, -1.0, -1.0]


def test_terms_are_float32_inside_autocast_and_finite_for_the_surest_model():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = torch.tensor([[90.0, -90.0]], dtype=torch.bfloat16, requires_grad=True)
        found = log_likelihood(logits, torch.tensor([1]))
        terms = likelihood_terms(found, found, 1.0)
    assert found.dtype == terms.dtype == torch.float32
    assert found.item() == -180.0 and terms.item() == 1.0
    terms.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_no_valid_version_leaves_the_cross_entropy(tmp_path):
    rows = [{"premise": "Two girls.", "hypothesis": "It waits.", "label": i % 3} for i in range(4)]
    trainer = make_trainer(tmp_path, rows, method="likelihood", max_steps=1)
    trainer.train()
    logs = trainer.state.log_history[0]
    assert logs["loss"] == pytest.approx(logs["loss_ce"], abs=1e-6)


def test_real_rows_draw_what_the_filter_prefers(tmp_path, shared_rows):
    rows = shared_rows("snli/train.jsonl.gz", 200)
    trainer = make_trainer(
        tmp_path, rows, method="likelihood", trainer_options={"synonyms": None, "antonyms": None}
    )
    validity, (_, preferring) = LabelValidity(), trainer.perturbations
    names = ("entailment", "neutral", "contradiction")
    batch = trainer.data_collator(list(trainer.train_dataset))
    passes = batch["obstinate_passes"][:, 0]
    for row, passed, valid in zip(
        trainer.train_dataset, passes.tolist(), batch["obstinate_mask"][:, 0].tolist(), strict=True
    ):
        texts = (row["premise"], row["hypothesis"])
        edits = preferring.candidates(texts) if row["label"] != 1 else []
        assert valid == bool(edits)
        assert passed == any(validity.passing(texts, edits, names[row["label"]]))
    assert 0.1 < passes.float().mean() < 0.9


def test_what_is_saved_names_the_filter(tmp_path):
    trainer = make_trainer(tmp_path, made_rows(4), method="likelihood")
    assert set(trainer.save_perturbations(tmp_path)) == {"synonyms", "antonyms"}
    described = json.loads((tmp_path / "perturbations.json").read_text())
    assert described["obstinate"]["label_filter"]["filter"] == "label_validity"
    assert described["obstinate"]["label_filter_use"] == "prefer"


def test_the_limit_is_never_below_a_margin_that_is_given_alone(tmp_path):
    found = [
        make_arguments(tmp_path, method="likelihood", other_margin=m) for m in (None, 0.1, 0.9)
    ]
    assert [(a.other_margin, a.other_limit) for a in found] == [(0.15, 0.4), (0.1, 0.4), (0.9, 0.9)]
    off = make_arguments(tmp_path, method="likelihood", label_filter="off")
    off.check_method()  # as at the start of training
    assert off.other_margin is None and off.other_limit is None


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_the_checkpoint(tmp_path):
    rows = made_rows(16)
    trainer = make_trainer(
        tmp_path, rows, method="triplet", save_strategy="steps", save_steps=2, num_train_epochs=1
    )
    model, calls = trainer.model, []

    def poison(module, args, output):
        calls.append(len(output.logits))
        if len(calls) == 3:
            output.logits[1] = float("nan")
        return output

    model.register_forward_hook(poison)
    with pytest.raises(HfBatError) as raised:
        trainer.train()
    message = str(raised.value)
    assert "step 3" in message and "loss_ce nan" in message
    assert "loss_triplet" in message and "\n" not in message
    kept = tmp_path / "checkpoint-2"
    assert kept.is_dir() and not (tmp_path / "checkpoint-3").exists()
    weights = F.softmax(tiny_model("bert").from_pretrained(kept).classifier.weight, -1)
    assert torch.isfinite(weights).all()
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
