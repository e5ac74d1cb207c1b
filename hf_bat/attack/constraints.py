"""Constraints: which edits an attack may make.

Each is an object of its own and a recipe holds any number of them. What a constraint can decide from
the words is decided before the model is asked; `SentenceSimilarity` needs an encoder, which the engine
runs for many rows together.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal

from hf_bat.attack.state import State
from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Edit
from hf_bat.text import detach_punctuation


class Constraint(ABC):
    """A rule that edits must keep; the default of either question is yes.

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

    def allows_word(self, state: State, sentence: int, position: int, word: str) -> bool:
        """Whether a word may be edited at all.

        Args:
            state: the input as it stands.
            sentence: which sentence, from 0.
            position: which of its white-space tokens, from 0.
            word: the word there, without its trailing mark.
        """
        return True

    def allows(self, start: State, state: State, edit: Edit) -> bool:
        """Whether an edit may be made.

        Args:
            start: the original input.
            state: the input as it stands, before the edit.
            edit: the edit.
        """
        return True

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Every choice that changes an answer, ready for JSON."""


class StopWords(Constraint):
    """Leaves the words of a list alone, in any case.

    Args:
        words: "nltk" (the antonym attack's list), "textfooler" (the synonym attack's), or words.

    Example:
        >>> StopWords("nltk").allows_word(State.of(("The dog.",)), 0, 0, "The")
        False
    """

    def __init__(self, words: str | Iterable[str] = "nltk"):
        from hf_bat.lexicon import stopwords

        self.list = words if isinstance(words, str) else sorted({w.lower() for w in words})
        self._words = stopwords(words) if isinstance(words, str) else frozenset(self.list)

    def allows_word(self, state: State, sentence: int, position: int, word: str) -> bool:
        return word.lower() not in self._words

    def describe(self) -> dict[str, object]:
        return {"constraint": "stop-words", "list": self.list}


class NoRepeat(Constraint):
    """Never edits a word twice.

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
    """Bounds how many words are edited: by a number, by a share of the input's words, or by the larger.

    Args:
        count: at most this many words; with `rate`, the bound for short inputs.
        rate: at most this share of the words of all sentences.

    Raises:
        HfBatError: neither is given, a negative count, or a rate outside 0 to 1.

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
        """The bound for an input of so many words."""
        by_rate = -1 if self.rate is None else math.floor(self.rate * words + 1e-9)
        return max(by_rate, -1 if self.count is None else self.count)

    def allows(self, start: State, state: State, edit: Edit) -> bool:
        again = state.is_edited(edit.sentence, edit.position)
        words = sum(map(len, start.origin))
        return state.words_edited + (not again) <= self.limit(words)

    def describe(self) -> dict[str, object]:
        return {"constraint": "max-words", "count": self.count, "rate": self.rate}


class PartOfSpeech(Constraint):
    """A word keeps its part of speech.

    Args:
        source: "lexicon": some sense that the bundled WordNet has of the one word shares its part of
            speech with some sense of the other (a word that WordNet lacks shares none); "nltk": NLTK's
            tagger gives both the same coarse tag in the sentence, four words either side.
        verb_noun_swap: let verbs stand for nouns and nouns for verbs.

    Raises:
        HfBatError: an unknown source, or the tagger's data is not installed.

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
            _tagger()

    def allows(self, start: State, state: State, edit: Edit) -> bool:
        if self.source == "lexicon":
            before, after = _senses(edit.original), _senses(edit.replacement)
        else:
            before, after = (
                self._tagged(state.texts, edit, edit.original),
                self._tagged(state.texts, edit, edit.replacement),
            )
        if before & after:
            return True
        swap = frozenset("nv")
        return self.verb_noun_swap and bool(before & swap) and bool(after & swap)

    def _tagged(self, texts: tuple[str, ...], edit: Edit, word: str) -> frozenset[str]:
        tokens = [detach_punctuation(token)[0] for token in texts[edit.sentence].split()]
        start = max(0, edit.position - 4)
        window = (
            *tokens[start : edit.position],
            word,
            *tokens[edit.position + 1 : edit.position + 5],
        )
        return frozenset((_tags(window)[edit.position - start],))

    def describe(self) -> dict[str, object]:
        return {
            "constraint": "part-of-speech",
            "source": self.source,
            "verb_noun_swap": self.verb_noun_swap,
        }


class EmbeddingDistance(Constraint):
    """A replacement stays near the word it replaces in a table of word vectors.

    Args:
        vectors: word (lower case) -> its vector.
        min_cosine: the least cosine similarity; None for no bound.
        max_distance: the greatest Euclidean distance; None for no bound.
        allow_unknown: whether an edit with a word that has no vector is allowed.

    Raises:
        HfBatError: neither bound is given.

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
        import numpy as np

        pair = [self.vectors.get(w.lower()) for w in (edit.original, edit.replacement)]
        if pair[0] is None or pair[1] is None:
            return self.allow_unknown
        one, other = (np.asarray(vector, dtype=np.float64) for vector in pair)
        if self.max_distance is not None and np.linalg.norm(one - other) > self.max_distance:
            return False
        if self.min_cosine is None:
            return True
        length = np.linalg.norm(one) * np.linalg.norm(other)
        return bool(length and one @ other / length >= self.min_cosine)

    def describe(self) -> dict[str, object]:
        return {
            "constraint": "embedding-distance",
            "min_cosine": self.min_cosine,
            "max_distance": self.max_distance,
            "allow_unknown": self.allow_unknown,
            "vectors": _vectors_fingerprint(self.vectors),
        }


def _vectors_fingerprint(vectors: Mapping[str, Any]) -> str:
    import hashlib

    import numpy as np

    digest = hashlib.sha256()
    for word in sorted(vectors):
        digest.update(word.encode("utf-8", "surrogatepass") + b"\0")
        digest.update(np.asarray(vectors[word], dtype="<f4").tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=200_000)
def _senses(word: str) -> frozenset[str]:
    from hf_bat.lexicon import load_wordnet

    return load_wordnet().parts_of_speech(word.replace(" ", "_"))


@lru_cache(maxsize=1)
def _tagger() -> Any:
    try:
        from nltk.tag.perceptron import PerceptronTagger

        return PerceptronTagger()
    except ImportError as error:
        raise HfBatError(
            "part of speech by nltk needs NLTK: pip install nltk, or choose the lexicon"
        ) from error
    except LookupError as error:
        raise HfBatError(
            "part of speech by nltk needs the tagger's data: run `python -m nltk.downloader "
            "averaged_perceptron_tagger_eng`, set NLTK_DATA to where it is, or choose the lexicon"
        ) from error


@lru_cache(maxsize=200_000)
def _tags(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_coarse(tag) for _, tag in _tagger().tag([word or "," for word in words]))


def _coarse(tag: str) -> str:
    """A Penn tag as a coarse one: n, v, a, r, or the tag itself."""
    if tag == "MD":
        return "v"
    return {"NN": "n", "VB": "v", "JJ": "a", "RB": "r"}.get(tag[:2], tag)
