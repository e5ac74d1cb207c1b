"""Find the modifiers and trailing phrases of a sentence that can be removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hf_bat.counterfactual.sentence import Sentence
from hf_bat.perturbations import verbs
from hf_bat.perturbations.number import parse_number
from hf_bat.perturbations.verbs import is_negative

# Phrases that begin with these words can be removed from the end of the sentence.
_PREPOSITIONS = frozenset((
    "in", "on", "at", "with", "near", "by", "during", "under", "behind", "beside", "through",
    "along", "outside", "inside", "across", "around", "over", "above", "below", "beneath",
    "against", "for", "while", "wearing", "holding", "from", "after", "before",
))  # fmt: skip
# A phrase after these words cannot be removed: "is in the park", "a man and in".
_NEEDS_PHRASE = frozenset((
    *verbs.BE, *verbs.HAVE, *verbs.DO, *verbs.MODALS, "and", "or", "but", "to", "not", "of", "a", "an",
    "the", "who", "which", "that", "as", "up", "out", "down", "off", "right", "just", "very", "made",
    "located", "used", "put", "puts", "putting", "placed", "full", "some", "both", "all", "seen",
    "dressed", "covered", "filled", "next", "away", "back", "associated", "based", "related",
))  # fmt: skip
FINITE = ("VBZ", "VBP", "VBD", "MD")
# Adjectives that change the meaning of the noun or are part of a quantity.
_KEPT_ADJECTIVES = frozenset((
    "fake", "former", "false", "toy", "other", "same", "many", "few", "several", "more", "most",
    "first", "second", "third", "last", "next", "own", "such", "only", "little", "half", "main",
    "dead", "empty", "single", "whole", "few", "much", "less", "least", "various", "different",
))  # fmt: skip
DETERMINERS = frozenset((
    "a", "an", "the", "this", "that", "these", "those", "his", "her", "their", "its", "my", "our",
    "your", "some", "two", "three", "four", "five", "six",
))  # fmt: skip
# In sentences with these words, removing a phrase may make the statement stronger.
DOWNWARD = frozenset((
    "no", "not", "never", "nobody", "none", "nothing", "without", "few", "every", "all", "each",
    "only", "if", "neither", "nor", "any", "unless",
))  # fmt: skip


class Span(NamedTuple):
    """A removable range of words from `start` (included) to `stop` (excluded)."""

    kind: str
    start: int
    stop: int


def is_upward(sentence: Sentence) -> bool:
    """Return whether removing words can only weaken the sentence's statement."""
    return not any(word in DOWNWARD or is_negative(word) for word in sentence.words)


def list_phrases(sentence: Sentence) -> Iterator[Span]:
    """Yield the removable phrases at the end of the sentence, longest first.

    Example:
        >>> sentence = Sentence("A man sits on a bench in the park.")
        >>> [sentence.delete(span.start, span.stop) for span in list_phrases(sentence)]
        ['A man sits.', 'A man sits on a bench.']
    """
    size = len(sentence.words)
    for start in range(2, size - 1):
        if sentence.words[start] not in _PREPOSITIONS or sentence.words[start - 1] in _NEEDS_PHRASE:
            continue
        # A punctuation mark inside ends a clause, and the rest may belong to something else.
        if any(after for _, _, after in sentence.tokens[start : size - 1]):
            continue
        # "the man next to the car in front": the preposition just before `start` belongs to the phrase.
        if sentence.words[start - 1] in _PREPOSITIONS or not sentence.words[start - 1]:
            continue
        if any(tag in FINITE for tag in sentence.tags[start:]):
            continue
        if any(word in ("and", "or", "but") for word in sentence.words[start:]):
            continue
        if not any(sentence.get_pos(place) == "n" for place in range(start, size)):
            continue
        if any(sentence.get_pos(place) == "n" for place in range(start)):
            yield Span("phrase", start, size)


def list_modifiers(sentence: Sentence) -> Iterator[Span]:
    """Yield the removable adverbs, and the removable adjectives before a noun.

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
            and (before in DETERMINERS or parse_number(before) is not None)
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
