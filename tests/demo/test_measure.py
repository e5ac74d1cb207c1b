"""The figures of the demo compared with a plain count over all swaps and draws."""

import numpy as np
import pytest

from hf_bat.attack import CallableModel
from hf_bat.demo import demo_rows
from hf_bat.demo.compare import SYNONYM_DRAWS, measure
from hf_bat.perturbations import LabelValidity, build_perturbations

NEUTRAL = 1


def classify(pair):
    """Predict from the letters of the texts, so a swap changes some predictions."""
    return sum(map(ord, "".join(pair))) % 3


def predict(pairs):
    return np.eye(3)[[classify(pair) for pair in pairs]]


@pytest.fixture(scope="module")
def figures():
    return measure(CallableModel(predict), seed=5)


@pytest.fixture(scope="module")
def correct():
    """Return the position and texts of the rows that the model classifies correctly, by label."""
    rows = demo_rows("validation")
    pairs = [(row["premise"], row["hypothesis"]) for row in rows]
    return [
        (place, pair, row["label"])
        for place, (pair, row) in enumerate(zip(pairs, rows, strict=True))
        if classify(pair) == row["label"]
    ]


def test_antonym_figures_count_rows_and_swaps(figures, correct):
    _, obstinate = build_perturbations()
    attempted = [(pair, label) for _, pair, label in correct if label != NEUTRAL]
    kept = [
        [classify(edit.texts) == label for edit in obstinate.candidates(pair)]
        for pair, label in attempted
    ]
    names = ("entailment", "neutral", "contradiction")
    harmless = [
        classify(edit.texts) == label
        for pair, label in attempted
        for edit in obstinate.candidates(pair)
        if not LabelValidity().changes_label(pair, edit, names[label])
    ]
    succeeded, attackable = sum(map(any, kept)), sum(map(bool, kept))
    swaps = sum(kept, [])
    assert 0 < succeeded < attackable <= len(attempted) < len(correct)
    assert figures["accuracy"] == len(correct) / 600
    assert figures["antonym"] == {
        "rows": 600,
        "attempted": len(attempted),
        "skipped": 600 - len(attempted),
        "succeeded": succeeded,
        "failed": len(attempted) - succeeded,
        "attackable": attackable,
        "queries": len(swaps),
        "asr": succeeded / len(attempted),
        "asr_attackable": succeeded / attackable,
        "keep_rate": sum(swaps) / len(swaps),
        "jumpiness": harmless.count(False) / len(harmless),
    }
    assert 0 < len(harmless) < len(swaps)


def test_synonym_figures_count_draws(figures, correct):
    fickle, _ = build_perturbations("wordnet")
    flips = []
    for place, pair, label in correct:
        rng = np.random.default_rng([5, place])
        samples = [fickle.sample(pair, rng) for _ in range(SYNONYM_DRAWS)]
        flips += [classify(sample) != label for sample in samples if sample is not None]
    assert figures["synonym"] == {
        "attempted": len(correct),
        "draws": len(flips),
        "flips": sum(flips),
        "flip_rate": sum(flips) / len(flips),
    }
    assert 0 < sum(flips) < len(flips)
