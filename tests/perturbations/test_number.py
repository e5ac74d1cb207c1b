"""Numbers and quantities: supported forms, times, and the label filter."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_bat.attack import Attack, Recipe
from hf_bat.perturbations import (
    FilteredPerturbation,
    LabelValidity,
    NumberPerturbation,
    SisterPerturbation,
)
from hf_bat.perturbations.number import parse_number

NUMBERS = NumberPerturbation()


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
def test_number_becomes_another_in_the_same_form(word, expected):
    assert NUMBERS.replacements(word) == expected


@pytest.mark.parametrize(
    "text",
    ["At 10 am.", "At 10 PM, in it", "At ten a.m. in it", "At 10 p.m.", "At ten o'clock", "At 10 o’clock,",
     "At 12 noon in it",
     "At 10pm.", "At 7 a.m.,"],
)  # fmt: skip
def test_time_of_two_tokens_is_left_alone(text):
    texts = (f"{text} two men", text)
    assert {edit.original for edit in NUMBERS.candidates(texts)} == {"two"}
    drawn = {NUMBERS.sample(texts, random.Random(seed)) for seed in range(20)}
    assert drawn == {(f"{text} {number} men", text) for number in ("three", "four")}


@pytest.mark.parametrize("text", ["10 amps", "Am I 10", "On channel 10, am I", "10 dogs am", "10"])
def test_number_beside_other_words_is_replaced(text):
    assert {edit.original for edit in NUMBERS.candidates((text,))} == {"10"}
    assert NUMBERS.sample((text,), random.Random(0)) is not None


def test_greedy_search_leaves_times_alone():
    recipe = Recipe("own", NUMBERS, "flip", search="greedy", ranking="random")
    attack = Attack(recipe, lambda texts: [[0.1, 0.9] for _ in texts], task="wiki-toxic")
    row = attack.attack_texts("At 10 pm two men", label="toxic")
    assert row["outcome"] == "failed" and row["candidates"] == 2  # two -> three, two -> four


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 99), st.booleans(), st.sampled_from([str.lower, str.title, str.upper]))
def test_words_and_digits_are_read_alike(value, ordinal, case):
    number = parse_number("two" if not ordinal else "second")
    spelt = number.write(value)
    assert parse_number(case(spelt))[:3] == (value, ordinal, True)
    digits = parse_number("2" if not ordinal else "2nd").write(value)
    assert parse_number(digits)[:3] == (value, ordinal, False)


@settings(max_examples=200, deadline=None)
@given(st.text("0123456789,.$%-thndsrwoTWO ", max_size=20))
def test_each_edit_changes_one_word(text):
    edits = NUMBERS.candidates((text, "Two dogs."))
    assert edits == NUMBERS.candidates((text, "Two dogs."))
    for edit in edits:
        before, after = text.split(), edit.texts[0].split()
        differing = sum(a != b for a, b in zip(before, after, strict=True))
        assert differing == (edit.sentence == 0)


def test_number_in_the_other_sentence_passes_the_filter():
    validity = LabelValidity()
    texts = ("2 dogs and five cats.", "Two dogs.")
    passing = FilteredPerturbation(NUMBERS, validity).candidates(texts)
    assert {edit.original for edit in passing} == {"2", "Two"}
    quantity = FilteredPerturbation(NUMBERS, validity).candidates
    assert [e.texts[0] for e in quantity(("Many dogs.", "There are many dogs."))][0] == "Few dogs."
    assert not quantity(("Many dogs.", "There are dogs."))
    sister = FilteredPerturbation(SisterPerturbation(), validity)
    assert {e.original for e in sister.candidates(("A red dog.", "A dog."))} == {"dog"}
