"""Fit a replacement to its place in an English sentence: number, verb form, comparison, and a or an."""

from __future__ import annotations

import re
from functools import lru_cache

from hf_bat.lexicon import load_wordnet
from hf_bat.lexicon.wordnet_tables import list_inflections
from hf_bat.perturbations.base import split_marks
from hf_bat.text import match_case

# The sound of a consonant behind a vowel letter: "unicorn", "use", "European", "one", but "unimportant".
_CONSONANT_SOUND = re.compile(
    r"uni(?!n|m(?!od)|d(?!ir))|us[aeu]|ut[eio]|eu|ewe|u-|ubiq|ur[ai]n|uku|ufo|one\b|once\b"
)
# And the reverse: "hour", "8th", "11", "18", "80".
_VOWEL_SOUND = re.compile(r"hour|honest|honor|honour|heir|8|1[18](?!\d)")
# Plurals in use where WordNet's lists only have an old one.
_MODERN_FORMS = {"brethren": "brothers", "kine": "cows"}


def begins_with_vowel(word: str) -> bool:
    """Return whether a word takes "an".

    Example:
        >>> [begins_with_vowel(word) for word in ("old", "unicorn", "unimportant", "hour", "dog", "11th")]
        [True, False, True, True, False, True]
    """
    word = word.lower()
    if _VOWEL_SOUND.match(word):
        return True
    return word[:1] in tuple("aeiou") and not _CONSONANT_SOUND.match(word)


def fit_article(token: str, following: str) -> str:
    """Return a token in the form that the next word asks for if it is an article; other tokens unchanged.

    Args:
        token: A white-space token with its marks.
        following: The token after it.

    Example:
        >>> fit_article("A", "old"), fit_article('"an', "young"), fit_article("the", "old")
        ('An', '"a', 'the')
    """
    # Most tokens are none, and drawing an edit asks about each token before a word.
    if token[-1:] not in ("a", "A", "n", "N"):
        return token
    before, article, _ = split_marks(token)
    if article.lower() not in ("a", "an"):
        return token
    word = split_marks(following)[1]
    fitted = "an" if begins_with_vowel(word) else "a"
    if not word or fitted == article.lower():
        return token
    # "A" is a capital at the start of a sentence and in a sentence in capitals.
    in_capitals = word.isupper() and len(word) > 1
    return before + match_case(fitted, article[:1] + ("X" if in_capitals else "x"))


@lru_cache(maxsize=100_000)
def is_english(word: str) -> bool:
    """Return whether WordNet has a word, or the first part of a compound, or it begins with a digit.

    "a" is also a word of other languages, and the next word tells: "a ilha" is Portuguese.

    Example:
        >>> [is_english(word) for word in ("islands", "nine-year-old", "9th", "ilha")]
        [True, True, True, False]
    """
    return word[:1].isdigit() or bool(
        load_wordnet().parts_of_speech(re.split("[- ]", word)[0].lower())
    )


@lru_cache(maxsize=100_000)
def inflect_like(word: str, base: str, other: str, pos: str) -> tuple[str, ...]:
    """Return a base form in the inflections that a word has.

    Args:
        word: The word in lower case.
        base: Its base form.
        other: Another base form of the same part of speech.
        pos: "n", "v", "a" or "r".

    Returns:
        The forms; none if the inflection of one of them is uncertain. See `list_inflections`.

    Example:
        >>> inflect_like("women", "woman", "man", "n"), inflect_like("hits", "hit", "miss", "v")
        (('men',), ('misses',))
    """
    theirs = _list_forms(other, pos)
    kinds = [kind for kind, form in _list_forms(base, pos).items() if form == word]
    return tuple(theirs[kind] for kind in kinds if kind in theirs)


@lru_cache(maxsize=100_000)
def fit_form(word: str, replacement: str) -> str:
    """Return the replacement of a word, inflected as the word is if it is a base form that can be.

    Words that WordNet does not have, forms that are uncertain and nouns in "-ness", which have no plural
    in use, stay as they are. The part of speech is one in which WordNet calls the two antonyms, if
    there is one.

    Args:
        word: The replaced word in lower case.
        replacement: Its replacement in lower case.

    Example:
        >>> fit_form("women", "man"), fit_form("hires", "fire"), fit_form("older", "young")
        ('men', 'fires', 'younger')
        >>> fit_form("left", "right"), fit_form("took", "refuse"), fit_form("went", "come")
        ('right', 'refused', 'come')
    """
    wordnet = load_wordnet()
    fitted: list[str] = []
    opposed: list[str] = []
    for pos in "nvar":
        if not wordnet.senses(replacement, pos):
            continue
        for base in wordnet.morphy(word, pos):
            if base == word or _is_fixed(replacement, pos):
                forms: tuple[str, ...] = (replacement,)
            else:
                # The past of "take" is uncertain, but "refused" fits the place of "took".
                form = _list_forms(replacement, pos).get(_guess_kind(word, pos))
                forms = inflect_like(word, base, replacement, pos) or ((form,) if form else ())
            fitted += forms
            if _are_antonyms(base, replacement, pos):
                opposed += forms
    choices = opposed or fitted
    return replacement if replacement in choices or not choices else choices[0]


def _list_forms(lemma: str, pos: str) -> dict[str, str]:
    """Return the certain inflected forms of a base form by kind, with plurals that are in use."""
    forms = list_inflections(lemma, pos, load_wordnet())
    return {kind: _MODERN_FORMS.get(form, form) for kind, form in forms.items()}


def _guess_kind(word: str, pos: str) -> str:
    """Return the kind of inflection of an inflected word."""
    endings = {"n": (), "v": ("s", "ing"), "a": ("er", "est"), "r": ("er", "est")}[pos]
    other = {"n": "plural", "v": "past"}.get(pos, "base")
    return next((ending for ending in endings if word.endswith(ending)), other)


def _is_fixed(word: str, pos: str) -> bool:
    """Return whether a replacement should stay as it is: inflected ("losings"), or without a plural."""
    if pos == "n" and re.search("ness$|[^sui]s$", word):
        return True
    return any(base != word for base in load_wordnet().morphy(word, pos))


def _are_antonyms(base: str, other: str, pos: str) -> bool:
    wordnet = load_wordnet()
    return any(
        lemma.lower() == base and other in map(str.lower, others)
        for sense in wordnet.senses(base, pos)
        for lemma, others in wordnet.antonyms(sense).items()
    )
