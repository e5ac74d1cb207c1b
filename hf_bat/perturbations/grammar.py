"""Inflect a replacement to fit an English sentence: plurals, verb forms, comparatives, and articles."""

from __future__ import annotations

import re
from functools import lru_cache

from hf_bat.lexicon import load_wordnet
from hf_bat.lexicon.wordnet_tables import list_inflections
from hf_bat.perturbations.base import split_marks
from hf_bat.text import match_case

# Words that begin with a vowel letter but a consonant sound: "unicorn", "use", "European" and "one".
# "unimportant" must not match.
_CONSONANT_SOUND = re.compile(
    r"uni(?!n|m(?!od)|d(?!ir))|us[aeu]|ut[eio]|eu|ewe|u-|ubiq|ur[ai]n|uku|ufo|one\b|once\b"
)
# Words and numbers that begin with a vowel sound but not a vowel letter: "hour", "8th", "11", "18", "80".
_VOWEL_SOUND = re.compile(r"hour|honest|honor|honour|heir|8|1[18](?!\d)")
# Modern plurals of words that only have an archaic plural in WordNet's lists.
_MODERN_FORMS = {"brethren": "brothers", "kine": "cows"}


def begins_with_vowel(word: str) -> bool:
    """Return whether the word takes "an".

    Example:
        >>> [begins_with_vowel(word) for word in ("old", "unicorn", "unimportant", "hour", "dog", "11th")]
        [True, False, True, True, False, True]
    """
    word = word.lower()
    if _VOWEL_SOUND.match(word):
        return True
    return word[:1] in tuple("aeiou") and not _CONSONANT_SOUND.match(word)


def fit_article(token: str, following: str) -> str:
    """Return the article ("a" or "an") that fits the next word. Other tokens are returned unchanged.

    Args:
        token: A whitespace token with its punctuation marks.
        following: The next token.

    Example:
        >>> fit_article("A", "old"), fit_article('"an', "young"), fit_article("the", "old")
        ('An', '"a', 'the')
    """
    # Return early. Drawing an edit checks many tokens, and few of them are articles.
    if token[-1:] not in ("a", "A", "n", "N"):
        return token
    before, article, _ = split_marks(token)
    if article.lower() not in ("a", "an"):
        return token
    word = split_marks(following)[1]
    fitted = "an" if begins_with_vowel(word) else "a"
    if not word or fitted == article.lower():
        return token
    # A capital "A" starts a sentence or is part of an all-caps sentence.
    in_capitals = word.isupper() and len(word) > 1
    return before + match_case(fitted, article[:1] + ("X" if in_capitals else "x"))


@lru_cache(maxsize=100_000)
def is_english(word: str) -> bool:
    """Return whether the word or its first part is in WordNet, or the word begins with a digit.

    "a" is also a word in other languages. The next word shows the language: "a ilha" is Portuguese.

    Example:
        >>> [is_english(word) for word in ("islands", "nine-year-old", "9th", "ilha")]
        [True, True, True, False]
    """
    return word[:1].isdigit() or bool(
        load_wordnet().parts_of_speech(re.split("[- ]", word)[0].lower())
    )


@lru_cache(maxsize=100_000)
def inflect_like(word: str, base: str, other: str, pos: str) -> tuple[str, ...]:
    """Return a base form with the same inflections as the word.

    Args:
        word: The word in lower case.
        base: Its base form.
        other: Another base form of the same part of speech.
        pos: "n", "v", "a" or "r".

    Returns:
        The inflected forms. The tuple is empty if an inflection is uncertain, see `list_inflections`.

    Example:
        >>> inflect_like("women", "woman", "man", "n"), inflect_like("hits", "hit", "miss", "v")
        (('men',), ('misses',))
    """
    theirs = _list_forms(other, pos)
    kinds = [kind for kind, form in _list_forms(base, pos).items() if form == word]
    return tuple(theirs[kind] for kind in kinds if kind in theirs)


@lru_cache(maxsize=100_000)
def fit_form(word: str, replacement: str) -> str:
    """Return the word's replacement, inflected like the word if possible.

    The replacement is returned unchanged if the words are not in WordNet or a form is uncertain. Nouns that
    end in "-ness" also do not change, because they have no common plural. If WordNet lists the two words as
    antonyms, the forms of their common part of speech are used.

    Args:
        word: The replaced word in lower case.
        replacement: The replacement in lower case.

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
                # The past form of "take" is uncertain, but "refused" is a good replacement for "took".
                form = _list_forms(replacement, pos).get(_guess_kind(word, pos))
                forms = inflect_like(word, base, replacement, pos) or ((form,) if form else ())
            fitted += forms
            if _are_antonyms(base, replacement, pos):
                opposed += forms
    choices = opposed or fitted
    return replacement if replacement in choices or not choices else choices[0]


def _list_forms(lemma: str, pos: str) -> dict[str, str]:
    """Return the unambiguous inflected forms of a base form by kind, with modern plurals."""
    forms = list_inflections(lemma, pos, load_wordnet())
    return {kind: _MODERN_FORMS.get(form, form) for kind, form in forms.items()}


def _guess_kind(word: str, pos: str) -> str:
    """Return the kind of inflection of an inflected word."""
    endings = {"n": (), "v": ("s", "ing"), "a": ("er", "est"), "r": ("er", "est")}[pos]
    other = {"n": "plural", "v": "past"}.get(pos, "base")
    return next((ending for ending in endings if word.endswith(ending)), other)


def _is_fixed(word: str, pos: str) -> bool:
    """Return whether a word is already inflected ("losings") or has no plural."""
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
