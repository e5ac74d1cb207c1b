"""The smoothing distribution, its overlaps, and the smoothed classifier as a model."""

import itertools
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from certificate_helpers import (
    SENTENCES,
    TABLE,
    HashedClassifier,
    compute_exact_quality,
    count_edited_words,
    options,
    support,
)

from hf_bat import Attack, SubstitutionTable, SynonymPerturbation
from hf_bat.attack import CallableModel
from hf_bat.certificate.smoothing import SmoothedClassifier, Smoothing

SMOOTHING = Smoothing(TABLE)


@pytest.mark.parametrize("texts", SENTENCES)
def test_draws_are_uniform_over_the_support(texts):
    drawn = Counter(SMOOTHING.draw(texts, 20_000))
    possible = support(TABLE, texts)
    assert set(drawn) <= set(possible) and len(set(possible)) == len(possible)
    expected = 20_000 / len(possible)
    statistic = sum((drawn[other] - expected) ** 2 / expected for other in possible)
    freedom = len(possible) - 1
    assert statistic <= freedom + 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("texts", SENTENCES)
@pytest.mark.parametrize("radius", [None, 0, 1, 2])
def test_quality_is_exact_and_bounds_the_distance_of_every_edit(texts, radius):
    exact = compute_exact_quality(TABLE, texts, radius)
    assert SMOOTHING.compute_quality(texts, radius) == pytest.approx(float(exact), abs=1e-12)
    here = Counter(support(TABLE, texts))
    for edited in here:
        if radius is not None and count_edited_words(texts, edited) > radius:
            continue
        there = Counter(support(TABLE, edited))
        common = sum(
            min(Fraction(here[s], here.total()), Fraction(there[s], there.total())) for s in here
        )
        assert common >= exact


@pytest.mark.parametrize("casing", ["keep", "authors"])
@pytest.mark.parametrize("seed", range(12))
def test_quality_bounds_every_edit_of_random_tables_with_capitals(casing, seed):
    """With the casing "authors", edits find the set of "US", but draws do not."""
    rng = random.Random(seed)
    words = ["US", "us", "Dog", "dog", "I", "big", "hot dog", "it's", "won", "straße", "ß"]
    for _ in range(15):
        keys = rng.sample(words, rng.randint(2, 8))
        table = {key: rng.sample([w for w in words if w != key], rng.randint(1, 4)) for key in keys}
        smoothing = Smoothing(SynonymPerturbation(table, exclude_stopwords=False, casing=casing))

        def drawn(tokens, smoothing=smoothing):
            text = " ".join(smoothing.uncase(tuple(tokens)))
            sets = (smoothing.list_choices(token) for token in text.split())
            return Counter(" ".join(choice) for choice in itertools.product(*sets))

        tokens = rng.choices(["US", "us.", "Us", "Dog.", "dog", "DOG", "I", "big,", "it's"], k=2)
        edits = [
            [t, *(e.texts[0] for e in smoothing.perturbation.candidates((t,)))] for t in tokens
        ]
        here = drawn(tokens)
        for edited in itertools.product(*edits):
            there = drawn(edited)
            common = sum(
                min(Fraction(here[s], here.total()), Fraction(there[s], there.total()))
                for s in here
            )
            for radius in (None, 1):
                if radius is None or sum(a != b for a, b in zip(tokens, edited, strict=True)) <= 1:
                    assert smoothing.compute_quality(
                        (" ".join(tokens),), radius
                    ) <= common + Fraction(1, 10**12)


def test_choices_keep_case_and_mark():
    for token in ("a1", "A1.", "b4", "z", "."):
        assert list(SMOOTHING.list_choices(token)) == options(TABLE, token)


def test_draws_depend_only_on_seed_text_number_and_purpose():
    texts = ("c1 b1 a1", "c2 b4")
    whole = SMOOTHING.draw(texts, 50)
    assert whole == SMOOTHING.draw(texts, 20) + SMOOTHING.draw(texts, 30, first=20)
    assert whole == Smoothing(TABLE).draw(texts, 50)
    others = [
        Smoothing(TABLE, seed=1).draw(texts, 50),
        SMOOTHING.draw(texts, 50, purpose=1),
        SMOOTHING.draw(("c1 b1 a1 ", "c2 b4"), 50),
    ]
    assert all(other != whole for other in others)


def test_stop_words_and_casing_follow_the_perturbation():
    table = {"about": ["around"], "around": ["about"], "dog": ["hound"]}
    assert Smoothing(table).list_choices("about") == ("about", "around")
    without = Smoothing(SynonymPerturbation(SubstitutionTable(table)))
    assert without.list_choices("about") == ("about",) and without.compute_overlap("about") == 1.0
    lower = Smoothing(SynonymPerturbation(SubstitutionTable(table), casing="authors"))
    assert lower.list_choices("Dog.") == ("dog.", "hound.")
    assert set(lower.draw(("The Dog.",), 50)) == {("the dog.",), ("the hound.",)}


def test_unusual_replacements_are_not_assumed_safe():
    phrase = Smoothing({"dog": ["hot dog"], "cat": ["tom"], "tom": ["cat"]})
    assert phrase.compute_overlap("dog") == 0.0 and phrase.compute_overlap("cat") == 1.0
    # The look-up of "u.s." removes the last period, so the word is not in the table.
    marked = Smoothing({"america": ["u.s."], "u.s.": ["america"]})
    assert marked.list_choices("u.s.") == ("u.s.",) and marked.compute_overlap("america") == 0.5


@pytest.mark.parametrize("task", ["snli", "mnli"])
def test_nearly_all_sets_of_the_authors_tables_agree(shared, task):
    table = SubstitutionTable.load(
        shared / "lexicons" / f"{task}_perturbation_constraint_pca0.8_100.pkl"
    )
    smoothing = Smoothing(table)
    words = list(table)[::50]
    overlaps = [smoothing.compute_overlap(word) for word in words]
    # Sets that are complete components are identical, but the 100 nearest words of a larger one may differ.
    assert np.mean([q == 1.0 for q in overlaps]) > (0.95 if task == "snli" else 0.7)
    assert all(0 <= q <= 1 for q in overlaps)


def test_probabilities_are_shares_of_votes():
    model = HashedClassifier(0.6)
    smoothed = SmoothedClassifier(model, TABLE, samples=4000)
    found = smoothed.probabilities(SENTENCES)
    exact = [float(model.probability(TABLE, texts)) for texts in SENTENCES]
    assert found[:, 1] == pytest.approx(exact, abs=0.03)
    assert found.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(found * 4000, np.round(found * 4000))


def test_votes_do_not_depend_on_batches():
    model = CallableModel(HashedClassifier(0.6), name="hashed")
    one = SmoothedClassifier(model, TABLE, 50, batch_size=1).probabilities(SENTENCES)
    other = SmoothedClassifier(model, TABLE, 50, batch_size=64)
    for texts, shares in zip(SENTENCES, one, strict=True):
        assert np.array_equal(other.probabilities([texts])[0], shares)


def test_name_and_identity_describe_the_smoothing():
    def made(table=TABLE, name="hashed", **options):
        model = CallableModel(HashedClassifier(0.6), name=name)
        return SmoothedClassifier(model, table, **options)

    assert made().identity == made().identity
    others = [made(samples=7), made(seed=1), made(name="x"), made({"a1": ["a2"]})]
    assert len({made().identity, *(other.identity for other in others)}) == 5
    assert made().inner.identity != made().identity
    assert "smoothed" in made().name


def test_smoothed_classifier_can_be_attacked():
    rows = [
        {"question1": f"{one} hot day", "question2": f"big {other}", "label": 1, "idx": idx}
        for idx, (one, other) in enumerate(SENTENCES * 2)
    ]
    antonyms = {"hot": ["cold", "cool"], "big": ["small"]}

    def attacked(batch_size, order=1):
        model = SmoothedClassifier(CallableModel(HashedClassifier(0.8), "h"), TABLE, 40, seed=3)
        attack = Attack("antonym", model, task="qqp", antonyms=antonyms, batch_size=batch_size)
        return attack.run(rows[::order])

    report = attacked(32)
    assert report["antonym"]["attempted"] > 0 and report["antonym"]["candidates"] > 0
    about = report.to_dict()
    assert about["smoothed"]["samples"] == 40 and "smoothed" in about["model"]
    assert about["smoothed"]["smoothing"]["table"] == SubstitutionTable(TABLE).fingerprint
    again = attacked(1, order=-1)
    assert again.rows["antonym"][::-1] == report.rows["antonym"]
