"""Splitting into words and joining them returns any text unchanged."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_bat.perturbations import apply_replacement
from hf_bat.text import (
    detach_punctuation,
    iterate_words,
    join_tokens,
    match_case,
    split_pieces,
    split_tokens,
)

REAL = (
    "A  man,\twearing a 'hat' (red)... runs!",
    "  leading and trailing  ",
    "",
    " ",
    "Él dijo: «¡hola!» 你好。 naïve café 👩‍👩‍👧 don't",
    "non\u00a0breaking\u2003spaces\x1cand\x85controls",
)


@pytest.mark.parametrize("text", REAL)
def test_pieces_join_to_the_text(text):
    assert "".join(split_pieces(text)) == text


@given(st.text())
def test_pieces_and_tokens_of_any_text_join_to_it(text):
    pieces = split_pieces(text)
    assert "".join(pieces) == text
    assert [piece for piece in pieces[::2] if piece] == text.split()
    assert all(piece.isspace() for piece in pieces[1::2])
    tokens, spaces = split_tokens(text)
    assert join_tokens(tokens, spaces) == text
    assert [token for token in tokens if token] == text.split()


@given(st.text())
def test_word_and_mark_join_to_the_token(text):
    for token in text.split():
        word, mark = detach_punctuation(token)
        assert word + mark == token
        assert word and len(mark) <= 1


def test_words_of_real_rows_are_lossless(shared):
    with gzip.open(shared / "data/snli/validation.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file][:2000]
    for row in rows:
        for text in (row["premise"], row["hypothesis"]):
            assert "".join(split_pieces(text)) == text
            assert len(list(iterate_words(text))) == len(text.split())


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ("dog", "hound"),
        ("Dog", "Hound"),
        ("DOG", "HOUND"),
        ("D", "Hound"),
        ("iPhone", "hound"),
        ("McDog", "Hound"),
        ("2", "hound"),
        ("U.S", "HOUND"),
        ("", "hound"),
    ],
)
def test_case_pattern(original, expected):
    assert match_case("hound", original) == expected


@given(st.text(min_size=1), st.integers(min_value=0, max_value=20))
def test_word_replaced_by_itself_changes_nothing(text, position):
    tokens = text.split()
    if position < len(tokens):
        word = detach_punctuation(tokens[position])[0]
        assert apply_replacement(text, position, word) == text


def test_replacement_keeps_spacing_and_mark():
    assert apply_replacement("\tA big,  dog.", 1, "small") == "\tA small,  dog."
    with pytest.raises(IndexError):
        apply_replacement("one", 1, "two")
