"""Edits that contradict sentences: antonyms, sister terms, numbers, postures, negations.

The package's perturbations make the edits. This module drops edits that are not fluent or that may leave
the sentence true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from hf_bat.counterfactual.base import choose, take_weighted
from hf_bat.counterfactual.phrases import DETERMINERS, FINITE
from hf_bat.counterfactual.sentence import (
    LEAST_SHARE,
    Sentence,
    is_double_plural,
    list_main_senses,
    may_be_name,
    measure_parts_of_speech,
)
from hf_bat.lexicon import default_sisters, load_wordnet, wordnet_synonyms
from hf_bat.lexicon.wordnet_tables import list_inflections
from hf_bat.perturbations.base import Perturbation, RandomSource, Texts
from hf_bat.perturbations.grammar import inflect_like
from hf_bat.perturbations.negation import NegationPerturbation
from hf_bat.perturbations.number import NumberPerturbation, parse_number
from hf_bat.perturbations.verbs import JOINTS, SUBJECTS, is_negative

# These words are not replaced by antonyms, because they mostly have another sense ("past the house"), or
# because their antonym can be true of the same scene ("walk" and "ride"). As verbs, they are not replaced by
# synonyms either.
_UNSAFE = frozenset((
    "appear", "arrive", "back", "bottom", "close", "come", "common", "concrete", "cover", "day",
    "different", "fair", "few", "fill", "find", "first", "formal", "free", "front", "full",
    "gather", "general", "get", "give", "go", "last", "leave", "left", "like", "little", "local",
    "look", "many", "much", "natural", "net", "new", "open", "other", "part", "particular", "past",
    "present", "private", "public", "real", "ride", "right", "same", "second", "seem", "serve",
    "show", "side", "social", "special", "spread", "take", "top", "walk", "whole", "win", "work",
))  # fmt: skip
# An ordinal is only edited after these words. Otherwise it can be a time or an adverb ("wait a
# second").
_BEFORE_ORDINAL = frozenset((
    "the", "his", "her", "their", "its", "my", "our", "your",
))  # fmt: skip


# A person cannot do two of these things at once, and all of them fit the same sentences ("... on the
# grass").
_POSTURES = (
    "sit", "stand", "lie", "walk", "run", "jump", "swim", "sleep", "dance", "kneel", "crawl",
)  # fmt: skip
_AFTER_POSTURE = frozenset((
    "in", "on", "at", "near", "by", "with", "next", "beside", "behind", "outside", "inside",
    "outdoors", "indoors", "along", "around", "and", "while", "through", "across", "under",
))  # fmt: skip
# Prepositions that are also adverbs, so most of them have adverbs as synonyms.
_ADVERB_PREPOSITIONS = frozenset((
    "above", "across", "along", "around", "behind", "below", "beneath", "beside", "inside", "near",
    "outside", "over", "past", "through", "under",
))  # fmt: skip


class ExclusiveEdit(NamedTuple):
    """An edit that makes the sentence false for the scene in the original sentence.

    Attributes:
        kind: A key of `EXCLUSIVE_EDITS`.
        place: Index of the word.
        old: The word in lower case.
        new: Its replacement in lower case.
        text: The edited sentence.
    """

    kind: str
    place: int
    old: str
    new: str
    text: str


# A function that returns whether an edit of the sentence may be used.
EditTest = Callable[[Sentence, ExclusiveEdit], bool]


def list_antonyms(sentence: Sentence) -> Iterator[ExclusiveEdit]:
    """Yield the edits that replace a noun, verb, adjective or adverb with an antonym of a main sense."""
    for place, word in enumerate(sentence.words):
        pos = sentence.get_pos(place)
        if pos is None or sentence.is_name(place) or sentence.is_in_compound(place):
            continue
        for new in find_antonyms(word, pos):
            if new not in sentence.words:
                yield ExclusiveEdit("antonym", place, word, new, sentence.replace(place, new))


def list_sisters(sentence: Sentence) -> Iterator[ExclusiveEdit]:
    """Yield the edits that replace one word with a sister term: a word of the same class that excludes it."""
    sisters, synonyms = default_sisters(), wordnet_synonyms()
    for place, word in enumerate(sentence.words):
        others = sisters.get(word)
        if not others or sentence.tags[place] or sentence.is_in_compound(place):
            continue
        # "to face that issue" has a verb, but "to church" has not.
        nearby = sentence.words[max(place - 1, 0) : place + 2]
        if nearby[0] == "to" and nearby[-1] in DETERMINERS:
            continue
        is_name = sentence.is_name(place)
        # Nationalities are a class of names. Colors are not a class of names, although "Red" can be a name.
        has_names = all(map(may_be_name, others))
        if is_name != has_names or (is_name and place == 0):
            continue
        for new in others:
            if new not in sentence.words and new not in synonyms.get(word, ()):
                yield ExclusiveEdit("sister", place, word, new, sentence.replace(place, new))


def list_numbers(sentence: Sentence) -> Iterator[ExclusiveEdit]:
    """Yield the edits that change a number."""
    numbers = _load_numbers()
    tokens = sentence.text.split()
    for place, word in enumerate(sentence.words):
        number = parse_number(word)
        if number is None or numbers.is_kept(tokens, place):
            continue
        following = sentence.words[place + 1] if place + 1 < len(sentence.words) else ""
        if number.ordinal and (
            place == 0 or sentence.words[place - 1] not in _BEFORE_ORDINAL or not following
        ):
            continue
        for new in numbers.replacements(word):
            if new not in sentence.words:
                yield ExclusiveEdit("number", place, word, new, sentence.replace(place, new))


def list_negations(sentence: Sentence) -> Iterator[ExclusiveEdit]:
    """Yield the edits that negate a finite verb or remove a negation."""
    for edit in _load_negations().candidates((sentence.text,)):
        words = edit.replacement.lower().split()
        negates = any(map(is_negative, words))
        tag = sentence.tags[edit.position]
        # Only the negation of a finite verb negates the sentence. "A man not wearing a hat" may be
        # another man.
        if negates and tag in ("VB", "VBG", "VBN"):
            continue
        # "A child dressed in blue is here": the first of two finite verbs is a participle.
        if negates and tag == "VBD" and _has_finite_verb_after(sentence, edit.position):
            continue
        old, new = edit.original.lower(), edit.replacement.lower()
        yield ExclusiveEdit("negation", edit.position, old, new, edit.texts[0])


def _has_finite_verb_after(sentence: Sentence, place: int) -> bool:
    """Return whether the clause has a finite verb after this one that no "and" or comma separates."""
    for following in range(place + 1, len(sentence.words)):
        if sentence.tokens[following - 1][2] or sentence.words[following] in JOINTS:
            return False
        if sentence.tags[following] in FINITE:
            return True
    return False


def list_postures(sentence: Sentence) -> Iterator[ExclusiveEdit]:
    """Yield the edits that replace a verb without an object with another posture or motion."""
    for place, word in enumerate(sentence.words):
        if sentence.tags[place] is None or word not in _load_postures():
            continue
        following = (
            "" if sentence.tokens[place][2] else "".join(sentence.words[place + 1 : place + 2])
        )
        # With an object or a particle, the verb means something else ("walks a dog", "sits up").
        if following and following not in _AFTER_POSTURE:
            continue
        for new in _load_postures()[word]:
            if new not in sentence.words:
                yield ExclusiveEdit("posture", place, word, new, sentence.replace(place, new))


EXCLUSIVE_EDITS: dict[str, Callable[[Sentence], Iterator[ExclusiveEdit]]] = {
    "antonym": list_antonyms,
    "sister": list_sisters,
    "number": list_numbers,
    "posture": list_postures,
    "negation": list_negations,
}
# Weight of each kind in draws. Nearly every sentence can be negated, but few sentences have words with
# sister terms. With equal weights, a model would rarely see two colors.
_KIND_WEIGHTS = {"antonym": 4.0, "sister": 8.0, "number": 8.0, "posture": 2.0, "negation": 1.0}


def list_exclusive(sentence: Sentence) -> Iterator[ExclusiveEdit]:
    """Yield the exclusive edits of all kinds."""
    for list_edits in EXCLUSIVE_EDITS.values():
        yield from list_edits(sentence)


def draw_exclusive(
    sentences: Sequence[Sentence],
    rng: RandomSource,
    is_allowed: EditTest | None = None,
) -> tuple[Sentence, ExclusiveEdit] | None:
    """Draw a kind of exclusive edit by its weight, then the sentence and the word, then the edit of the word.

    Args:
        sentences: Sentences. One of them is edited.
        rng: Source of randomness.
        is_allowed: Function that returns whether an edit of the sentence may be drawn. If `None`, all edits
            are allowed.

    Returns:
        The sentence and its edit, or `None` if no edit is possible.
    """
    kinds = list(EXCLUSIVE_EDITS)
    # Only list the edits of the drawn kind. Listing all kinds would take most of the time.
    while kinds:
        kind = take_weighted(kinds, _KIND_WEIGHTS.__getitem__, rng)
        places: dict[tuple[int, int], list[ExclusiveEdit]] = {}
        for i, sentence in enumerate(sentences):
            for edit in EXCLUSIVE_EDITS[kind](sentence):
                if is_allowed is None or is_allowed(sentence, edit):
                    places.setdefault((i, edit.place), []).append(edit)
        if places:
            place = choose(sorted(places), rng)
            return sentences[place[0]], choose(places[place], rng)
    return None


def list_edited_selves(
    text: str, is_allowed: EditTest | None = None
) -> Iterator[tuple[Texts, ExclusiveEdit]]:
    """Yield the sentence with each of its allowed edited selves, in both orders."""
    sentence = Sentence(text)
    for edit in list_exclusive(sentence):
        if is_allowed is None or is_allowed(sentence, edit):
            yield (text, edit.text), edit
            yield (edit.text, text), edit


def draw_edited_self(
    texts: Texts, rng: RandomSource, is_allowed: EditTest | None = None
) -> tuple[Texts, ExclusiveEdit] | None:
    """Draw one sentence and its edited copy, in random order, or `None` if no edit is allowed."""
    drawn = draw_exclusive([Sentence(text) for text in dict.fromkeys(texts)], rng, is_allowed)
    if drawn is None:
        return None
    sentence, edit = drawn
    return _shuffle(sentence.text, edit.text, rng), edit


def list_fickle_selves(text: str, fickle: Perturbation) -> Iterator[tuple[Texts, tuple[str, str]]]:
    """Yield the sentence with each of its fickle selves, in both orders, and the old and new word."""
    for edit in fickle.candidates((text,)):
        version = _fit(text, edit.texts[0])
        if version is not None:
            words = edit.original.lower(), edit.replacement.lower()
            yield (text, version), words
            yield (version, text), words


def draw_fickle_self(texts: Texts, fickle: Perturbation, rng: RandomSource) -> Texts | None:
    """Draw one sentence and its fickle version, in random order, or `None` if no synonym fits.

    Half of the sentences are edited first. Otherwise every pair with a negated sentence would have the label
    of edited selves.
    """
    text = choose(texts, rng)
    if rng.random() < 0.5 and (drawn := draw_exclusive([Sentence(text)], rng)) is not None:
        text = drawn[1].text
    drawn_version = fickle.sample((text,), rng)
    version = None if drawn_version is None else _fit(text, drawn_version[0])
    return None if version is None else _shuffle(text, version, rng)


def _fit(text: str, version: str) -> str | None:
    """Return the fickle version with fitting articles and without words that do not fit, if any are left."""
    sentence, fitted = Sentence(text), Sentence(version)
    if len(sentence.words) != len(fitted.words):
        return version
    for place, (old, new) in enumerate(zip(sentence.words, fitted.words, strict=True)):
        if old != new:
            source = fitted if _is_fitting(sentence, place, new) else sentence
            # `replace` also fits the article.
            fitted = Sentence(fitted.replace(place, source.tokens[place][1]))
    return None if fitted.text == text else fitted.text


def _is_fitting(sentence: Sentence, place: int, synonym: str) -> bool:
    """Return whether a synonym can replace the word in this sentence."""
    wordnet, word = load_wordnet(), sentence.words[place]
    if sentence.is_name(place) or sentence.is_in_compound(place):
        return False
    # The table has "someone" for "person", and adds a plural ending to some plurals ("workses").
    if synonym in SUBJECTS or is_double_plural(synonym):
        return False
    following = "" if sentence.tokens[place][2] else "".join(sentence.words[place + 1 : place + 2])
    # "outdoors" replaces "outside", but not in "outside the house".
    if (
        word in _ADVERB_PREPOSITIONS
        and synonym not in _ADVERB_PREPOSITIONS
        and following in DETERMINERS
    ):
        return False
    if sentence.tags[place]:
        bases, possible = wordnet.morphy(word, "v"), {"v"}
        # "trying" replaces "attempting", but "trying on" has another sense.
        if any(base in _UNSAFE or wordnet.senses(f"{base}_{following}", "v") for base in bases):
            return False
    else:
        shares = measure_parts_of_speech(word)
        possible = {pos for pos, share in shares.items() if share >= LEAST_SHARE}
    # "puffs" only replaces the verb "pants". Words that WordNet does not relate are from another table.
    shared = _list_shared_pos(word, synonym)
    return not (shared and possible) or not shared.isdisjoint(possible)


@lru_cache(maxsize=100_000)
def _list_shared_pos(first: str, second: str) -> frozenset[str]:
    """Return the parts of speech in which two words have a common sense."""
    wordnet = load_wordnet()
    return frozenset(
        pos
        for pos in ("n", "v", "a", "r")
        if set(wordnet.synsets(first, pos)) & set(wordnet.synsets(second, pos))
    )


def _shuffle(first: str, second: str, rng: RandomSource) -> Texts:
    return (first, second) if rng.random() < 0.5 else (second, first)


def get_words(edit: ExclusiveEdit) -> tuple[str, ...]:
    """Return the word pair of an edit, or an empty tuple for a negation."""
    return () if edit.kind == "negation" else (edit.old, edit.new)


@lru_cache(maxsize=100_000)
def find_antonyms(word: str, pos: str) -> tuple[str, ...]:
    """Return the antonyms of the word's main senses, inflected like the word.

    Example:
        >>> find_antonyms("women", "n"), find_antonyms("older", "a"), find_antonyms("red", "n")
        (('men',), ('younger',), ())
    """
    wordnet = load_wordnet()
    antonyms: dict[str, None] = {}
    for base in wordnet.morphy(word, pos):
        if base in _UNSAFE:
            continue
        for sense in list_main_senses(base, pos):
            for lemma, others in wordnet.antonyms(sense).items():
                if lemma.lower() != base:
                    continue
                for other in others:
                    if other.lower() in _UNSAFE or not _is_common(other.lower(), pos):
                        continue
                    antonyms |= dict.fromkeys(inflect_like(word, base, other, pos))
    return tuple(antonyms)


def _is_common(word: str, pos: str) -> bool:
    """Return whether the word occurs in WordNet's tagged texts, often enough as this part of speech."""
    counts = load_wordnet().sense_counts(word, pos)
    if not word.isalpha() or not sum(counts):
        return False
    return pos == "v" or measure_parts_of_speech(word).get(pos, 0) >= LEAST_SHARE


@lru_cache(maxsize=1)
def _load_postures() -> dict[str, tuple[str, ...]]:
    """Map each verb form to the same form of the other posture verbs."""
    wordnet = load_wordnet()
    forms = [list_inflections(verb, "v", wordnet) for verb in _POSTURES]
    others: dict[str, tuple[str, ...]] = {}
    for verb in forms:
        for name, form in verb.items():
            others[form] = tuple(o[name] for o in forms if o is not verb and name in o)
    return others


@lru_cache(maxsize=1)
def _load_numbers() -> NumberPerturbation:
    return NumberPerturbation()


@lru_cache(maxsize=1)
def _load_negations() -> NegationPerturbation:
    return NegationPerturbation()
