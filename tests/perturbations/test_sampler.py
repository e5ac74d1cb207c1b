"""The sampler: draws of any perturbation class only depend on the seed, the epoch and the row."""

import collections
import hashlib
import json

import pytest

from hf_bat.perturbations import (
    OBSTINATE_EDITS,
    Edit,
    Perturbation,
    PerturbationSampler,
    build_obstinate,
    build_perturbations,
)
from hf_bat.perturbations.sampler import DrawSource

PAIRS = [
    ("Two young men walk in the hot summer sun.", "A man isn't outside."),
    ("The big red dog doesn't eat his old food!", "A black cat goes home at 10 pm, slowly."),
    ("A woman in a white shirt is playing the guitar.", "No girl plays the first drum."),
    ("A tall man by day.", "A person."),
]


class Shout(Perturbation):
    """A custom perturbation."""

    name, kind = "shout", "obstinate"

    def candidates(self, texts):
        return [Edit(0, 0, texts[0], texts[0].upper(), (texts[0].upper(),))]

    def sample(self, texts, rng):
        return self.candidates(texts)[0].texts

    def describe(self):
        return {"perturbation": self.name}


class ShoutAtToxic(Shout):
    def sample_for_label(self, texts, rng, label_name):
        return self.sample(texts, rng) if label_name == "toxic" else None


def draw(perturbation, label):
    names = ("fine", "toxic")
    sampler = PerturbationSampler(("text",), obstinate=perturbation, label_names=names)
    return sampler.draw({"text": "run!", "idx": 0, "label": label}, epoch=0)["obstinate"]


def test_perturbation_may_use_the_name_of_the_label():
    assert draw(Shout(), 0) == draw(Shout(), 1) == [("RUN!",)]
    assert draw(ShoutAtToxic(), 0) == [None]
    assert draw(ShoutAtToxic(), 1) == [("RUN!",)]


def test_draw_depends_on_seed_epoch_idx_and_stream_only():
    keys = [(s, e, i, k) for s in range(3) for e in range(3) for i in range(3) for k in range(3)]
    values = {key: DrawSource(*key).random() for key in keys}
    assert len(set(values.values())) == len(keys)
    assert values == {key: DrawSource(*key).random() for key in reversed(keys)}
    # Draws must be the same on other machines and in other versions.
    assert DrawSource(42, 1, 7, 0).random() == 0.9815871485043317


def test_real_rows_get_valid_draws_from_the_bundled_lexicon(shared_rows):
    rows = shared_rows("snli/validation.jsonl.gz", 1000)
    fickle, obstinate = build_perturbations()
    sampler = PerturbationSampler(
        ("premise", "hypothesis"), fickle, obstinate, skipped_labels={1}, num_obstinate=2
    )
    valid = collections.Counter()
    for row in rows:
        drawn = sampler.draw(row, epoch=0)
        assert drawn == sampler.draw(row, epoch=0)
        assert len(drawn["obstinate"]) == 2
        if row["label"] == 1:
            assert drawn["obstinate"] == [None, None]
        for kind, versions in drawn.items():
            valid[kind] += versions[0] is not None
            for version in versions:
                assert version is None or version != sampler.texts(row)
    assert valid["fickle"] > 600 and valid["obstinate"] > 600
    fresh = [sampler.draw(row, 0) != sampler.draw(row, 1) for row in rows]
    assert sum(fresh) > 600


@pytest.mark.parametrize(
    ("label_filter", "fit_grammar", "digest"),
    [
        ("off", False, "6116e69e2560c120"),
        ("only", False, "967a26201d858629"),
        ("prefer", False, "543892f3a5ab1ccd"),
        ("off", True, "5e9e536928dbb874"),
    ],
)
def test_draws_of_a_seed_are_frozen(label_filter, fit_grammar, digest):
    """Later versions must draw the same, because finished runs are compared with new ones."""
    fickle, antonym = build_perturbations("wordnet", fit_grammar=fit_grammar)
    obstinate = build_obstinate(antonym, OBSTINATE_EDITS, label_filter)
    names = ("entailment", "neutral", "contradiction")
    sampler = PerturbationSampler(
        ("premise", "hypothesis"), fickle, obstinate, num_obstinate=3, seed=42, label_names=names
    )
    rows = [
        {"premise": premise, "hypothesis": hypothesis, "label": idx % 3, "idx": idx}
        for idx, (premise, hypothesis) in enumerate(PAIRS)
    ]
    drawn = [sampler.draw(row, epoch) for row in rows for epoch in range(20)]
    assert hashlib.sha256(json.dumps(drawn).encode()).hexdigest()[:16] == digest
