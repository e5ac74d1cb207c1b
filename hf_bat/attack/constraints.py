"""Constraints, which decide whether an attack may make an edit, given the current state of the input.

A recipe can have any number of constraints. Most constraints only need the words, and are checked before the
model is queried. `SentenceSimilarity` needs an encoder, which the engine runs for many rows together.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from hf_bat.errors import HfBatError
from hf_bat.lexicon import load_wordnet, stopwords
from hf_bat.perturbations.base import Edit, Texts
from hf_bat.perturbations.verbs import load_nltk_tagger
from hf_bat.text import detach_punctuation

Place = tuple[int, int]  # (sentence, whitespace token)


@dataclass(frozen=True)
class State:
    """An input's state during an attack.

    Args:
        texts: The texts as edited so far.
        edits: The edits so far, in order.
        origin: Indices of each sentence's whitespace tokens in the original, or `None` for tokens that an
            edit replaced or inserted. An edit may insert or remove tokens.
    """

    texts: Texts
    edits: tuple[Edit, ...]
    origin: tuple[tuple[int | None, ...], ...]

    @classmethod
    def of(cls, texts: Texts) -> State:
        """Return the unedited state."""
        return cls(texts, (), tuple(tuple(range(len(text.split()))) for text in texts))

    def after(self, edit: Edit) -> State:
        """Return the state after an additional edit.

        Example:
            >>> edit = Edit(0, 1, "goes", "doesn't go", ("He doesn't go home.",))
            >>> State.of(("He goes home.",)).after(edit).origin
            ((0, None, None, 2),)
        """
        before = self.origin[edit.sentence]
        grown = len(edit.texts[edit.sentence].split()) - len(before)
        # An edit can replace its token with any number of tokens, and can also remove other tokens.
        new = max(0, 1 + grown)
        moved = (*before[: edit.position], *[None] * new, *before[edit.position + 1 :])
        length = len(before) + grown
        moved = (*moved, *[None] * length)[:length]
        origin = (*self.origin[: edit.sentence], moved, *self.origin[edit.sentence + 1 :])
        return State(edit.texts, (*self.edits, edit), origin)

    def find(self, place: Place) -> Place | None:
        """Return the current place of a token of the original, or `None` if it has been edited."""
        sentence, position = place
        try:
            return sentence, self.origin[sentence].index(position)
        except ValueError:
            return None

    def is_edited(self, sentence: int, position: int) -> bool:
        """Return whether the token was replaced or inserted by an edit."""
        return self.origin[sentence][position] is None

    @property
    def words_edited(self) -> int:
        """Number of tokens that were replaced or inserted by edits."""
        return sum(token is None for sentence in self.origin for token in sentence)


class Constraint(ABC):
    """A rule for edits. The default implementation allows everything.

    Attributes:
        encoder: The `SentenceEncoder` that the rule uses, or `None`.

    Example:
        >>> class SameLength(Constraint):
        ...     def allows(self, start, state, edit):
        ...         return len(edit.original) == len(edit.replacement)
        ...     def describe(self):
        ...         return {"constraint": "same-length"}
        >>> state = State.of(("A hot day.",))
        >>> SameLength().allows(state, state, Edit(0, 1, "hot", "cold", ("A cold day.",)))
        False
    """

    encoder: Any = None

    def allows_word(self, state: State, sentence: int, position: int, word: str) -> bool:
        """Return whether the word may be edited at all.

        Args:
            state: The input as edited so far.
            sentence: Index of the sentence.
            position: Index of the whitespace token.
            word: The word at this position, without its trailing mark.
        """
        return True

    def allows(self, start: State, state: State, edit: Edit) -> bool:
        """Return whether an edit may be made.

        Args:
            start: The original input.
            state: The input before the edit.
            edit: The edit.
        """
        return True

    def measure(
        self, start: State, state: State, edits: Sequence[Edit]
    ) -> Generator[Any, Any, tuple[np.ndarray, np.ndarray] | None]:
        """Check edits with a model, which the engine runs for many rows together.

        Args:
            start: The original input.
            state: The input before the edits.
            edits: The n edits that `allows` has accepted.

        Yields:
            Requests to the engine; see `hf_bat.attack.engine`.

        Returns:
            (n,) booleans that are true for allowed edits, and the (n,) similarities of the edits. `None`
            (default) allows all edits.
        """
        return None
        yield

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Return all settings that affect the results, in a JSON-serializable form."""


class StopWords(Constraint):
    """Does not allow edits of the words in a list, ignoring case.

    Args:
        words: "nltk" (list of the antonym attack), "textfooler" (list of the synonym attack), or your own
            words.
        allowed: Words of the list that may be edited. Defaults to none.

    Example:
        >>> StopWords("nltk").allows_word(State.of(("The dog.",)), 0, 0, "The")
        False
    """

    def __init__(self, words: str | Iterable[str] = "nltk", allowed: Iterable[str] = ()):
        self.list = words if isinstance(words, str) else sorted({w.lower() for w in words})
        self.allowed = sorted(w.lower() for w in allowed)
        listed = stopwords(words) if isinstance(words, str) else frozenset(self.list)
        self._words = listed.difference(self.allowed)

    def allows_word(self, state: State, sentence: int, position: int, word: str) -> bool:
        return word.lower() not in self._words

    def describe(self) -> dict[str, object]:
        # Left out if empty, to keep the hashes of recipes from before it existed.
        allowed = {"allowed": self.allowed} if self.allowed else {}
        return {"constraint": "stop-words", "list": self.list, **allowed}


class NoRepeat(Constraint):
    """Does not allow editing the same word twice.

    Example:
        >>> state = State.of(("A hot day.",)).after(Edit(0, 1, "hot", "warm", ("A warm day.",)))
        >>> NoRepeat().allows_word(state, 0, 1, "warm"), NoRepeat().allows_word(state, 0, 2, "day")
        (False, True)
    """

    def allows_word(self, state: State, sentence: int, position: int, word: str) -> bool:
        return not state.is_edited(sentence, position)

    def describe(self) -> dict[str, object]:
        return {"constraint": "no-repeat"}


class MaxWords(Constraint):
    """Limits the number of edited words.

    The limit is a number, a share of the input's words, or the larger of the two.

    Args:
        count: Maximum number of edited words. If `rate` is also given, this is the limit for short inputs.
        rate: Maximum share of edited words among the words of all sentences.

    Raises:
        HfBatError: If neither is given, `count` is negative, or `rate` is outside [0, 1].

    Example:
        >>> MaxWords(count=4, rate=0.1).limit(30), MaxWords(count=4, rate=0.1).limit(70)
        (4, 7)
    """

    def __init__(self, count: int | None = None, rate: float | None = None):
        if count is None and rate is None:
            raise HfBatError("MaxWords needs a count, a rate, or both")
        if (count is not None and count < 0) or (rate is not None and not 0 <= rate <= 1):
            raise HfBatError(f"MaxWords: count {count} and rate {rate}; give >= 0 and 0..1")
        self.count, self.rate = count, rate

    def limit(self, words: int) -> int:
        """Return the limit for an input of `words` words."""
        # 0.1 * 70 is slightly below 7 in floating point.
        by_rate = -1 if self.rate is None else math.floor(self.rate * words + 1e-9)
        return max(by_rate, -1 if self.count is None else self.count)

    def allows(self, start: State, state: State, edit: Edit) -> bool:
        # Count a word that is edited twice only once.
        again = state.is_edited(edit.sentence, edit.position)
        words = sum(map(len, start.origin))
        return state.words_edited + (not again) <= self.limit(words)

    def describe(self) -> dict[str, object]:
        return {"constraint": "max-words", "count": self.count, "rate": self.rate}


class PartOfSpeech(Constraint):
    """Requires that an edit keeps the part of speech of the word.

    Args:
        source: With "lexicon" (default), the two words must share a part of speech among all their senses in
            the bundled WordNet. A word that is not in WordNet has no part of speech. With "nltk", NLTK's
            tagger must assign both words the same coarse tag in the sentence, using four words of context on
            each side.
        verb_noun_swap: Whether verbs and nouns may replace each other. Defaults to `False`.

    Raises:
        HfBatError: If `source` is unknown, or the tagger's data is not installed.

    Example:
        >>> constraint, state = PartOfSpeech(), State.of(("A hot day.",))
        >>> constraint.allows(state, state, Edit(0, 1, "hot", "cold", ("A cold day.",)))
        True
        >>> constraint.allows(state, state, Edit(0, 1, "hot", "sun", ("A sun day.",)))
        False
    """

    def __init__(
        self, source: Literal["lexicon", "nltk"] = "lexicon", verb_noun_swap: bool = False
    ):
        if source not in ("lexicon", "nltk"):
            raise HfBatError(f"unknown part-of-speech source {source!r}; known: lexicon, nltk")
        self.source, self.verb_noun_swap = source, verb_noun_swap
        if source == "nltk":
            load_nltk_tagger()

    def allows(self, start: State, state: State, edit: Edit) -> bool:
        if self.source == "lexicon":
            before, after = _find_senses(edit.original), _find_senses(edit.replacement)
        else:
            before, after = (
                self._tag(state.texts, edit, word) for word in (edit.original, edit.replacement)
            )
        if before & after:
            return True
        swap = frozenset("nv")
        return self.verb_noun_swap and bool(before & swap) and bool(after & swap)

    def _tag(self, texts: Texts, edit: Edit, word: str) -> frozenset[str]:
        tokens = [detach_punctuation(token)[0] for token in texts[edit.sentence].split()]
        start = max(0, edit.position - 4)
        # Four words on each side are enough for the tagger, and few enough for the cache to be useful.
        before, after = tokens[start : edit.position], tokens[edit.position + 1 : edit.position + 5]
        return frozenset((_tag_words((*before, word, *after))[edit.position - start],))

    def describe(self) -> dict[str, object]:
        return {
            "constraint": "part-of-speech",
            "source": self.source,
            "verb_noun_swap": self.verb_noun_swap,
        }


# Attacks on many rows look up the same words and contexts repeatedly.
@lru_cache(maxsize=200_000)
def _find_senses(word: str) -> frozenset[str]:
    return load_wordnet().parts_of_speech(word.replace(" ", "_"))


@lru_cache(maxsize=200_000)
def _tag_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the coarse tag (n, v, a or r) of each word, or its Penn tag."""
    tags = (tag for _, tag in load_nltk_tagger().tag([word or "," for word in words]))
    coarse = {"NN": "n", "VB": "v", "MD": "v", "JJ": "a", "RB": "r"}
    return tuple(coarse.get(tag[:2], tag) for tag in tags)


class EmbeddingDistance(Constraint):
    """Requires that a replacement is close to the original word in an embedding table.

    Args:
        vectors: Mapping from lower-case words to vectors.
        min_cosine: Minimum cosine similarity, or `None` for no limit.
        max_distance: Maximum Euclidean distance, or `None` for no limit.
        allow_unknown: Whether to allow edits with words that have no vector. Defaults to `True`.

    Raises:
        HfBatError: If neither limit is given.

    Example:
        >>> vectors = {"big": [1.0, 0.0], "large": [0.8, 0.6], "red": [0.0, 1.0]}
        >>> constraint, state = EmbeddingDistance(vectors, min_cosine=0.7), State.of(("A big dog.",))
        >>> constraint.allows(state, state, Edit(0, 1, "big", "large", ("A large dog.",)))
        True
        >>> constraint.allows(state, state, Edit(0, 1, "big", "red", ("A red dog.",)))
        False
    """

    def __init__(
        self,
        vectors: Mapping[str, Any],
        min_cosine: float | None = None,
        max_distance: float | None = None,
        allow_unknown: bool = True,
    ):
        if min_cosine is None and max_distance is None:
            raise HfBatError("EmbeddingDistance needs min_cosine, max_distance, or both")
        self.vectors, self.allow_unknown = vectors, allow_unknown
        self.min_cosine, self.max_distance = min_cosine, max_distance

    def allows(self, start: State, state: State, edit: Edit) -> bool:
        pair = [self.vectors.get(w.lower()) for w in (edit.original, edit.replacement)]
        if pair[0] is None or pair[1] is None:
            return self.allow_unknown
        before, after = (np.asarray(vector, dtype=np.float64) for vector in pair)
        if self.max_distance is not None and np.linalg.norm(before - after) > self.max_distance:
            return False
        if self.min_cosine is None:
            return True
        length = np.linalg.norm(before) * np.linalg.norm(after)
        # A zero vector has no direction, so it is not similar to any vector.
        return bool(length and before @ after / length >= self.min_cosine)

    def describe(self) -> dict[str, object]:
        digest = hashlib.sha256()
        for word in sorted(self.vectors):
            # End each word with a byte that no word contains, so no two tables produce the same bytes.
            digest.update(word.encode("utf-8", "surrogatepass") + b"\0")
            digest.update(np.asarray(self.vectors[word], dtype="<f4").tobytes())
        return {
            "constraint": "embedding-distance",
            "min_cosine": self.min_cosine,
            "max_distance": self.max_distance,
            "allow_unknown": self.allow_unknown,
            "vectors": digest.hexdigest(),
        }
