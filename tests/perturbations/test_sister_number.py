"""Obstinate edits beyond antonyms: sister terms, numbers, and mixtures of kinds."""

import importlib.util
import pickle
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_bat import HfBatError
from hf_bat.attack import Attack, Recipe, get_recipe
from hf_bat.lexicon import default_sisters, default_synonyms, load_wordnet
from hf_bat.lexicon.numbers import parse_number
from hf_bat.perturbations import (
    AntonymPerturbation,
    FilteredPerturbation,
    LabelValidity,
    MixedPerturbation,
    NegationPerturbation,
    NumberPerturbation,
    PreferringPerturbation,
    SisterPerturbation,
    SynonymPerturbation,
    build_obstinate,
    build_perturbations,
)

NUMBERS = NumberPerturbation()
ANTONYM = AntonymPerturbation({"hot": ("cold",)})
SCRIPT = Path(__file__).parents[2] / "scripts" / "build_sister_table.py"


# ---- sister terms


@pytest.mark.parametrize(
    ("word", "sister", "other"),
    [("red", "blue", "crimson"), ("Dogs", "Cats", "Poodles"), ("cotton", "silk", "fabric"),
     ("French", "Italian", "European"), ("MONDAY", "TUESDAY", "DAY"), ("guitar", "drum", "violins")],
)  # fmt: skip
def test_sister_terms_are_of_one_class_and_exclude_each_other(word, sister, other):
    found = SisterPerturbation().replacements(word)
    assert sister in found and other not in found


def test_no_bundled_sister_term_contains_or_means_the_other():
    wordnet, table, synonyms = load_wordnet(), default_sisters(), default_synonyms()
    for word, others in table.items():
        for other in others:
            assert other not in synonyms.get(word, ()), (word, other)
            assert word == word.lower() and other == other.lower()
    dog, poodle = (wordnet.senses(word, "n")[0] for word in ("dog", "poodle"))
    assert dog in wordnet.parents(poodle) and "poodle" not in table["dog"]


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the scripts are not in an installed package")
def test_the_bundled_table_is_what_the_script_writes():
    spec = importlib.util.spec_from_file_location("build_sister_table", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    table, _ = script.build(load_wordnet())
    assert table.fingerprint == default_sisters().fingerprint
    assert table.metadata == default_sisters().metadata


# ---- numbers


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("two", ("three", "four")),
        ("Three", ("Four", "Two", "Six")),
        ("TWENTY", ("THIRTY", "TEN", "FORTY")),
        ("twenty-one", ("twenty-two", "twenty", "forty-two")),
        ("First", ("Second",)),
        ("2", ("3", "4")),
        ("10", ("11", "9", "20")),
        ("1990", ("2000", "1980")),
        ("1,000", ("2,000", "500")),
        ("$15", ("$16", "$14", "$30")),
        ("3.5", ("4.5", "2.5", "6.5")),
        ("30%", ("40%", "20%", "60%")),
        ("21st", ("22nd", "20th", "42nd")),
        ("11th", ("12th", "10th", "22nd")),
        ("5km", ("6km", "4km", "10km")),
        ("two-year-old", ("three-year-old", "four-year-old")),
        ("007", ("008", "006", "014")),
        ("hundreds", ("thousands", "millions", "billions")),
        ("twice", ("thrice",)),
        ("Many", ("Few",)),
        ("none", ("all",)),
        ("dozens", ("hundreds", "thousands")),
        ("EVERYONE", ("NOBODY",)),
        ("trio", ("duo", "quartet")),
        *((word, ()) for word in ("one", "1", "0", "zero", "10:30", "1/2", "3-4", "mp3", "4x4", "all", "few",
                                  "someone", "dog", "", "-", "-two", "two-", "99-bottle-", "²",
                                  "10pm", "7am", "7AM", "10Pm", "9.30pm", "7a.m", "7P.M", "10pm-ish", "10-pm",
                                  "ten-am")),
    ],
)  # fmt: skip
def test_a_number_becomes_another_in_the_same_form(word, expected):
    assert NUMBERS.replacements(word) == expected


@pytest.mark.parametrize(
    "text",
    ["At 10 am.", "At 10 PM, in it", "At ten a.m. in it", "At 10 p.m.", "At ten o'clock", "At 10 o’clock,",
     "At 12 noon in it",
     "At 10pm.", "At 7 a.m.,"],
)  # fmt: skip
def test_a_time_is_left_alone_in_two_tokens_too(text):
    texts = (f"{text} two men", text)
    assert {edit.original for edit in NUMBERS.candidates(texts)} == {"two"}
    drawn = {NUMBERS.sample(texts, random.Random(seed)) for seed in range(20)}
    assert drawn == {(f"{text} {number} men", text) for number in ("three", "four")}


@pytest.mark.parametrize("text", ["10 amps", "Am I 10", "On channel 10, am I", "10 dogs am", "10"])
def test_a_number_beside_other_words_than_a_time_s_is_none(text):
    assert {edit.original for edit in NUMBERS.candidates((text,))} == {"10"}
    assert NUMBERS.sample((text,), random.Random(0)) is not None


def test_a_time_is_left_alone_by_a_search_word_by_word():
    recipe = Recipe("mine", NUMBERS, "flip", search="greedy", ranking="random")
    attack = Attack(recipe, lambda texts: [[0.1, 0.9] for _ in texts], task="wiki-toxic")
    row = attack.attack_texts("At 10 pm two men", label="toxic")
    assert row["outcome"] == "failed" and row["candidates"] == 2  # two -> three, two -> four


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 99), st.booleans(), st.sampled_from([str.lower, str.title, str.upper]))
def test_words_and_digits_to_ninety_nine_are_read_alike(value, ordinal, case):
    number = parse_number("two" if not ordinal else "second")
    spelt = number.write(value)
    assert parse_number(case(spelt))[:3] == (value, ordinal, True)
    digits = parse_number("2" if not ordinal else "2nd").write(value)
    assert parse_number(digits)[:3] == (value, ordinal, False)


@settings(max_examples=200, deadline=None)
@given(st.text("0123456789,.$%-thndsrwoTWO ", max_size=20))
def test_any_text_is_edited_in_one_word_or_left_alone(text):
    edits = NUMBERS.candidates((text, "Two dogs."))
    assert edits == NUMBERS.candidates((text, "Two dogs."))
    for edit in edits:
        before, after = text.split(), edit.texts[0].split()
        differing = sum(a != b for a, b in zip(before, after, strict=True))
        assert differing == (edit.sentence == 0)


def test_a_number_that_the_other_sentence_has_passes_the_filter():
    validity = LabelValidity()
    texts = ("2 dogs and five cats.", "Two dogs.")
    passing = FilteredPerturbation(NUMBERS, validity).candidates(texts)
    assert {edit.original for edit in passing} == {"2", "Two"}
    quantity = FilteredPerturbation(NUMBERS, validity).candidates
    assert [e.texts[0] for e in quantity(("Many dogs.", "There are many dogs."))][0] == "Few dogs."
    assert not quantity(("Many dogs.", "There are dogs."))
    sister = FilteredPerturbation(SisterPerturbation(), validity)
    assert {e.original for e in sister.candidates(("A red dog.", "A dog."))} == {"dog"}


# ---- mixtures


def test_a_mixture_draws_each_kind_that_a_row_allows_as_likely():
    mixed = build_obstinate(ANTONYM, ["antonym", "negation", "sister", "number"])
    texts = ("Two red dogs eat hot soup in ten cold rooms.",)
    kinds = Counter()
    rng = random.Random(0)
    of = {e.texts: one.name for one in mixed.perturbations for e in one.candidates(texts)}
    for _ in range(2000):
        kinds[of[mixed.sample(texts, rng)]] += 1
    assert set(kinds) == {"antonym", "negation", "sister", "number"}
    assert all(400 < count < 600 for count in kinds.values()), kinds
    chosen = Counter()
    for _ in range(2000):
        chosen[of[mixed.choose(mixed.candidates(texts), rng).texts]] += 1
    assert all(400 < count < 600 for count in chosen.values()), chosen
    assert mixed.sample(("Hm.",), rng) is None and mixed.choose([], rng) is None


def test_what_two_kinds_give_is_chosen_as_it_is_drawn():
    """ "first" becomes "second" as its antonym and as the next number; each kind keeps its share of it."""
    antonyms = AntonymPerturbation({"first": ("second", "last")})
    mixed = MixedPerturbation([antonyms, NumbersOf("first", "second", "third")])
    texts = ("The first dog.",)
    edits = mixed.candidates(texts)
    assert sorted(edit.replacement for edit in edits) == ["last", "second", "third"]
    rng = random.Random(0)
    drawn = Counter(mixed.sample(texts, rng) for _ in range(4000))
    chosen = Counter(mixed.choose(edits, rng).texts for _ in range(4000))
    assert drawn[("The second dog.",)] / 4000 == pytest.approx(0.5, abs=0.03)
    for found in drawn:
        assert chosen[found] / 4000 == pytest.approx(drawn[found] / 4000, abs=0.04)


class NumbersOf(AntonymPerturbation):
    """Numbers as a table gives them, drawn as antonyms are."""

    def __init__(self, word, *others):
        super().__init__({word: others})


def test_a_mixture_is_filtered_as_a_whole():
    mixed = MixedPerturbation([ANTONYM, NUMBERS])
    texts = ("Two hot days.", "It was hot.")
    rng = random.Random(0)
    for kind in (FilteredPerturbation, PreferringPerturbation):
        wrapped = pickle.loads(pickle.dumps(kind(mixed, LabelValidity())))
        drawn = {wrapped.sample(texts, rng) for _ in range(50)}
        assert drawn == {("Two cold days.", "It was hot."), ("Two hot days.", "It was cold.")}
    edits = mixed.candidates(texts)
    assert len({edit.texts for edit in edits}) == len(edits) == 4
    assert [part["perturbation"] for part in mixed.describe()["of"]] == ["antonym", "number"]


def test_one_kind_is_no_mixture_and_options_hold_for_all_kinds():
    _, antonym = build_perturbations(casing="authors", exclude_stopwords=False)
    assert build_obstinate(antonym) is antonym
    assert isinstance(build_obstinate(antonym, ["negation"]), NegationPerturbation)
    sister = build_obstinate(antonym, ["sister"])
    assert (sister.casing, sister.exclude_stopwords) == ("authors", False)


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([], "obstinate_edits is empty"),
        (
            ["antonyms"],
            "unknown obstinate edit 'antonyms'; known: antonym, negation, sister, number",
        ),
        (["number", "number"], "names a kind twice"),
        ("antonym", "must be a list of kinds"),
    ],
)
def test_bad_kinds(edits, message):
    with pytest.raises(HfBatError, match=message):
        build_obstinate(ANTONYM, edits)


def test_the_filter_by_name():
    assert type(build_obstinate(ANTONYM, label_filter="only")) is FilteredPerturbation
    assert type(build_obstinate(ANTONYM, label_filter="prefer")) is PreferringPerturbation
    with pytest.raises(HfBatError, match="unknown label_filter 'valid'; known: off, only, prefer"):
        build_obstinate(ANTONYM, label_filter="valid")


def test_a_mixture_of_nothing_or_of_fickle_edits_is_refused():
    with pytest.raises(HfBatError, match="at least one"):
        MixedPerturbation([])
    with pytest.raises(HfBatError, match="synonym is fickle"):
        MixedPerturbation([SynonymPerturbation({})])


def test_recipes_of_their_own():
    for name in ("sister", "number"):
        recipe = get_recipe(name)
        assert (recipe.key, recipe.name, recipe.search) == (name, name, "exhaustive")
        assert recipe.goal.kind == "obstinate"
        assert recipe.describe()["perturbation"]["perturbation"] == name
    assert get_recipe("sister").hash != get_recipe("number").hash
