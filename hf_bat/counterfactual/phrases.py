"""Parts of a sentence that can be left out: modifiers and trailing phrases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hf_bat.counterfactual.sentence import Sentence
from hf_bat.perturbations import verbs
from hf_bat.perturbations.number import parse_number
from hf_bat.perturbations.verbs import is_negative

# A phrase that begins with one of these can end a sentence and be left out.
_PREPOSITIONS = frozenset((
    "in", "on", "at", "with", "near", "by", "during", "under", "behind", "beside", "through",
    "along", "outside", "inside", "across", "around", "over", "above", "below", "beneath",
    "against", "for", "while", "wearing", "holding", "from", "after", "before",
))  # fmt: skip
# After these words a phrase is needed: "is in the park", "a man and in".
_NEEDS_PHRASE = frozenset((
    *verbs.BE, *verbs.HAVE, *verbs.DO, *verbs.MODALS, "and", "or", "but", "to", "not", "of", "a", "an",
    "the", "who", "which", "that", "as", "up", "out", "down", "off", "right", "just", "very", "made",
    "located", "used", "put", "puts", "putting", "placed", "full", "some", "both", "all", "seen",
    "dressed", "covered", "filled", "next", "away", "back",
))  # fmt: skip
_FINITE = ("VBZ", "VBP", "VBD", "MD")
# Adjectives without which the noun means something else, or that are part of a quantity.
_KEPT_ADJECTIVES = frozenset((
    "fake", "former", "false", "toy", "other", "same", "many", "few", "several", "more", "most",
    "first", "second", "third", "last", "next", "own", "such", "only", "little", "half", "main",
    "dead", "empty", "single", "whole", "few", "much", "less", "least", "various", "different",
))  # fmt: skip
_BEFORE_MODIFIER = frozenset((
    "a", "an", "the", "this", "that", "these", "those", "his", "her", "their", "its", "my", "our",
    "your", "some", "two", "three", "four", "five", "six",
))  # fmt: skip
# With one of these a shorter sentence may say more.
DOWNWARD = frozenset((
    "no", "not", "never", "nobody", "none", "nothing", "without", "few", "every", "all", "each",
    "only", "if", "neither", "nor", "any", "unless",
))  # fmt: skip


class Span(NamedTuple):
    """Words from `start` up to, not including, `stop`, which can be left out."""

    kind: str
    start: int
    stop: int


def is_upward(sentence: Sentence) -> bool:
    """Return whether leaving words out can only make a sentence say less."""
    return not any(word in DOWNWARD or is_negative(word) for word in sentence.words)


def list_phrases(sentence: Sentence) -> Iterator[Span]:
    """Yield the phrases at the end of a sentence that can be left out, the longest first.

    Example:
        >>> sentence = Sentence("A man sits on a bench in the park.")
        >>> [sentence.delete(span.start, span.stop) for span in list_phrases(sentence)]
        ['A man sits.', 'A man sits on a bench.']
    """
    size = len(sentence.words)
    for start in range(2, size - 1):
        if sentence.words[start] not in _PREPOSITIONS or sentence.words[start - 1] in _NEEDS_PHRASE:
            continue
        # A mark inside ends a clause; what comes after it may belong to something else.
        if any(after for _, _, after in sentence.tokens[start : size - 1]):
            continue
        # "the man next to the car in front": a preposition right before belongs to the phrase.
        if sentence.words[start - 1] in _PREPOSITIONS or not sentence.words[start - 1]:
            continue
        if any(tag in _FINITE for tag in sentence.tags[start:]):
            continue
        if any(word in ("and", "or", "but") for word in sentence.words[start:]):
            continue
        if not any(sentence.get_pos(place) == "n" for place in range(start, size)):
            continue
        if any(sentence.get_pos(place) == "n" for place in range(start)):
            yield Span("phrase", start, size)


def list_modifiers(sentence: Sentence) -> Iterator[Span]:
    """Yield the adjectives before a noun, and the adverbs, that can be left out.

    Example:
        >>> sentence = Sentence("A big dog slowly eats a hot dog.")
        >>> [sentence.delete(span.start, span.stop) for span in list_modifiers(sentence)]
        ['A dog slowly eats a hot dog.', 'A big dog eats a hot dog.']
    """
    for place in range(1, len(sentence.words) - 1):
        word = sentence.words[place]
        if sentence.is_name(place) or sentence.tokens[place][2] or word in _KEPT_ADJECTIVES:
            continue
        pos = sentence.get_pos(place)
        before = sentence.words[place - 1]
        is_adjective = (
            pos == "a"
            and (before in _BEFORE_MODIFIER or parse_number(before) is not None)
            and sentence.has_noun_after(place)
            and not sentence.is_in_compound(place)
        )
        if (
            is_adjective
            or pos == "r"
            and word.endswith("ly")
            and sentence.tags[place - 1 : place + 2] != [None] * 3
        ):
            yield Span("modifier", place, place + 1)
