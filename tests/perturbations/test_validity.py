"""The label filter: which edits pass, as candidates and as drawn versions."""

import pickle
import random

import pytest

from hf_bat.demo import demo_rows
from hf_bat.lexicon import wordnet_synonyms
from hf_bat.perturbations import (
    AntonymPerturbation,
    FilteredPerturbation,
    LabelValidity,
    NegationPerturbation,
    PerturbationSampler,
    SisterPerturbation,
    build_perturbations,
)
from hf_bat.perturbations.validity import get_inference_names

VALIDITY = LabelValidity({"kid": ("child",), "child": ("kid",)})
SWAP = AntonymPerturbation(
    {
        "hot": ("cold",),
        "cold": ("hot",),
        "child": ("adult",),
        "walks": ("stands",),
        "white": ("black",),
    }
)
PAIRS = [
    ("A hot day by the sea.", "It is a hot day, no doubt."),
    ("Two children walk; a man doesn't.", "The kid isn't walking, she stands."),
    ("No dogs run. It's cold!", "The dog is running, and it's not hot."),
    ("", "A man."),
]


def verdicts(perturbation, texts):
    return {
        (edit.sentence, edit.original, edit.replacement): VALIDITY.changes_label(texts, edit)
        for edit in perturbation.candidates(texts)
    }


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("A hot day.", "A day."), {(0, "hot", "cold"): False}),
        (("A hot day.", "HOT!"), {(0, "hot", "cold"): True, (1, "HOT", "COLD"): True}),
        (("A child.", "Some kids."), {(0, "child", "adult"): True}),
        (("He walks.", "They are walking."), {(0, "walks", "stands"): True}),
        # A contradiction that the swap undoes.
        (("Hot tea.", "It is cold."), {(0, "Hot", "Cold"): True, (1, "cold", "hot"): True}),
        # A word that occurs twice in the sentence does not pass.
        (
            ("A white shirt, a white hat.", "A white hat."),
            {(0, "white", "black"): False, (1, "white", "black"): True},
        ),
        (("A white shirt, a black hat.", "A black hat."), {(0, "white", "black"): False}),
    ],
)
def test_swap_passes_if_the_other_sentence_has_one_of_its_words(texts, expected):
    assert verdicts(SWAP, texts) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("A dog runs.", "A dog is running."), True),
        (("A dog runs.", "A dog sleeps."), False),
        (("A dog is running.", "A dog ran."), True),
        (("A dog is asleep.", "A dog is outside."), False),
        (("A dog isn't asleep.", "It is asleep."), True),
        (("No dogs.", "Two dogs."), True),
        (("No dogs.", "Two cats."), False),
    ],
)
def test_negation_passes_if_the_other_sentence_has_the_negated_word(texts, expected):
    passes = verdicts(NegationPerturbation(), texts)
    first = next(passed for (sentence, _, _), passed in passes.items() if sentence == 0)
    assert first is expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        # premise: hot, child; hypothesis: cold, walks
        (None, [True, True, True, False]),
        ("entailment", [False, True, True, True]),  # every word of a hypothesis is implied
        ("contradiction", [True, False, True, False]),  # the swap undoes hot/cold
        ("duplicate", [True, True, True, False]),
    ],
)
def test_name_of_the_label_sharpens_the_test(label, expected):
    texts = ("A hot child.", "The cold kid walks.")
    edits = {edit.original: edit for edit in SWAP.candidates(texts)}
    words = ("hot", "child", "cold", "walks")
    assert [VALIDITY.changes_label(texts, edits[word], label) for word in words] == expected
    versions = [edits[word].texts for word in words]
    assert [VALIDITY.changes_label_of(texts, v, label) for v in versions] == expected


def test_draws_use_the_label():
    texts = ("A hot child.", "The cold kid.")
    valid = FilteredPerturbation(SWAP, VALIDITY)
    columns, names = ("premise", "hypothesis"), ("entailment", "neutral", "contradiction")
    sampler = PerturbationSampler(columns, obstinate=valid, num_obstinate=50, label_names=names)
    row = dict(zip(columns, texts, strict=True))
    drawn = {
        label: set(sampler.draw({**row, "label": label, "idx": 0}, 0)["obstinate"])
        for label in (0, 2)
    }
    assert drawn == {
        label: {e.texts for e in valid.candidates(texts, names[label])} for label in (0, 2)
    }
    assert drawn[0] != drawn[2]


@pytest.mark.parametrize("texts", PAIRS)
@pytest.mark.parametrize("perturbation", [SWAP, NegationPerturbation()], ids=["swap", "negation"])
def test_edit_and_its_version_have_the_same_verdict(perturbation, texts):
    for edit in perturbation.candidates(texts):
        assert VALIDITY.changes_label(texts, edit) == VALIDITY.changes_label_of(texts, edit.texts)


def test_single_sentence_passes_and_unchanged_pair_does_not():
    assert all(verdicts(SWAP, ("A hot day.",)).values())
    assert VALIDITY.changes_label_of(("A hot day.",), ("A cold day.",))
    assert not VALIDITY.changes_label_of(("A hot day.", "Hot."), ("A hot day.", "Hot."))


def test_filtered_perturbation_draws_exactly_the_passing_edits():
    texts = ("A hot child walks.", "A cold kid walks.")
    valid = FilteredPerturbation(SWAP, VALIDITY)
    assert (valid.name, valid.kind) == ("antonym", "obstinate")
    passing = {edit.texts for edit in valid.candidates(texts)}
    assert passing == {e.texts for e in SWAP.candidates(texts) if VALIDITY.changes_label(texts, e)}
    rng = random.Random(0)
    assert {valid.sample(texts, rng) for _ in range(300)} == passing
    assert valid.sample(("A hot day.", "A day."), rng) is None


def test_filter_that_passes_everything_does_not_change_the_draws():
    class Everything(LabelValidity):
        def passing(self, texts, edits, label=None):
            return [True] * len(edits)

    texts = ("A hot hot child.", "A child walks.")
    valid = FilteredPerturbation(SWAP, Everything({}))
    for seed in range(50):
        same = random.Random(seed), random.Random(seed)
        assert valid.sample(texts, same[0]) == SWAP.sample(texts, same[1])


def test_description_has_the_filter_and_its_table():
    valid = FilteredPerturbation(SWAP, LabelValidity())
    record = valid.describe()
    assert record["perturbation"] == "antonym"
    assert record["label_filter"]["synonyms"] == wordnet_synonyms().fingerprint


def test_pickled_filter_has_the_same_candidates():
    again = pickle.loads(pickle.dumps(FilteredPerturbation(SWAP, VALIDITY)))
    texts = ("A child.", "Some kids.")
    assert again.candidates(texts) == FilteredPerturbation(SWAP, VALIDITY).candidates(texts)


def test_entailment_without_inference_labels_has_no_names():
    assert get_inference_names(("entailment", "not_entailment")) == ()
    assert get_inference_names(("ENTAILMENT", "NEUTRAL")) == ("ENTAILMENT", "NEUTRAL")


def test_the_article_before_a_word_is_no_change_of_its_own():
    """The filter judges draws by their texts and candidates by their words, and both must agree."""
    validity, checked = LabelValidity(), 0
    _, antonym = build_perturbations()
    for kind in (antonym, SisterPerturbation()):
        for row in demo_rows("validation", 100):
            texts = (row["premise"], row["hypothesis"])
            edits = kind.candidates(texts)
            for label in (None, "entailment", "contradiction"):
                judged = validity.passing(texts, edits, label)
                drawn = [validity.changes_label_of(texts, edit.texts, label) for edit in edits]
                assert judged == drawn
            checked += sum(is_fitted(texts, edit) for edit in edits)
    assert checked > 20
    texts = ("An old dog and a cat.", "A cat and an animal.")
    (edit,) = AntonymPerturbation({"old": ("young",)}).candidates(texts)
    assert edit.texts[0] == "A young dog and a cat."
    assert not validity.changes_label_of(
        texts, edit.texts
    )  # although the other sentence has an "a"


def is_fitted(texts, edit):
    """Return whether an edit has also changed the article."""
    before, after = (t[edit.sentence].split() for t in (texts, edit.texts))
    return sum(a != b for a, b in zip(before, after, strict=True)) == 2
