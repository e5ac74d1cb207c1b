"""The demo's two measures, on classifiers whose behaviour is known."""

import numpy as np
import pytest

from hf_bat.demo.swaps import antonym_swaps, rate, synonym_draws
from hf_bat.perturbations import AntonymPerturbation, SynonymPerturbation

ANTONYMS = AntonymPerturbation({"hot": ["cold"], "tall": ["short"], "big": ["small", "little"]})
INPUTS = [
    ("A hot day.", "A day."),  # one swap
    ("A tall man.", "A big man."),  # three swaps
    ("A dog.", "A cat."),  # none
    ("A big dog.", "A dog."),  # neutral: skipped
    ("A hot tea.", "A tea."),  # misclassified: skipped
]
LABELS = np.array([0, 2, 0, 1, 0])
PREDICTED = np.array([0, 2, 0, 1, 2])


def test_antonym_swaps_by_hand():
    def classify(inputs):
        # "cold" turns the first row; of the second row's three swaps only "little" turns it.
        return np.array([1 if {"cold", "little"} & set(" ".join(t).split()) else 2 for t in inputs])

    found = antonym_swaps(ANTONYMS, INPUTS, LABELS, PREDICTED, [1], classify)
    assert found == {
        "rows": 5,
        "attempted": 3,
        "skipped": 2,
        "attackable": 2,
        "succeeded": 1,
        "failed": 2,
        "queries": 4,
        "asr": 1 / 3,
        "asr_attackable": 1 / 2,
        "keep_rate": 2 / 4,
    }


@pytest.mark.parametrize(("answer", "succeeded"), [("original", 2), ("other", 0)])
def test_answers_that_never_or_always_change(answer, succeeded):
    def classify(inputs):
        original = np.array([2 if "man" in " ".join(texts) else 0 for texts in inputs])
        return original if answer == "original" else np.ones_like(original)

    found = antonym_swaps(ANTONYMS, INPUTS, LABELS, PREDICTED, [1], classify)
    assert found["succeeded"] == succeeded and found["keep_rate"] == succeeded / 2


def test_nothing_to_attack_gives_no_rate():
    empty = AntonymPerturbation({})
    found = antonym_swaps(
        empty, INPUTS[:1], LABELS[:1], PREDICTED[:1], [], lambda inputs: np.zeros(len(inputs))
    )
    assert (found["asr"], found["asr_attackable"], found["keep_rate"]) == (0.0, None, None)
    assert rate(0, 0) is None and rate(1, 4) == 0.25


def test_synonym_draws_flip_for_the_word_that_matters():
    synonyms = SynonymPerturbation({"big": ["large"]})
    inputs = [("A big dog.", "A dog."), ("A dog.", "A dog.")]
    labels = np.array([0, 0])

    def classify(texts):
        return np.array([2 if "large" in pair[0] else 0 for pair in texts])

    found = synonym_draws(synonyms, inputs, labels, labels, 20, 0, classify)
    # A draw that keeps "big" is no valid draw, so every valid one says "large" and flips.
    assert found["attempted"] == 2
    assert 0 < found["draws"] <= 20 and found["flips"] == found["draws"]
    assert found["flip_rate"] == 1.0
    again = synonym_draws(synonyms, inputs, labels, labels, 20, 0, classify)
    assert again == found
