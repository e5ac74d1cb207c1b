"""Toxicity (obstinate, single sentences): insert a toxic word, or remove all toxic words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from hf_bat.errors import HfBatError
from hf_bat.lexicon import load_wordnet, stopwords
from hf_bat.perturbations.base import (
    Edit,
    Perturbation,
    Texts,
    apply_replacement,
    delete_token,
    normalize_word,
    split_marks,
)
from hf_bat.text import detach_punctuation, match_case, split_pieces

# Mild words for tests and demonstrations. Real applications need a different list.
MILD_WORDS = (
    "idiot", "fool", "moron", "loser", "jerk", "clown", "stupid", "dumb", "pathetic", "ridiculous",
    "silly", "stupidly", "foolishly", "suck", "stink",
)  # fmt: skip


class ToxicityPerturbation(Perturbation):
    """The obstinate set for toxicity (paper, Wiki Talk): edits that should change the label.

    If a sentence has no toxic words, each edit replaces one word with a toxic word. The toxic word has the
    most frequent part of speech of the replaced word in WordNet. Function words are not replaced. If a
    sentence has toxic words, the only edit removes all of them. A word is toxic if the word or any of its
    base forms is in the list.

    Args:
        words: The toxic words, or a file with one word per line (`#` starts a comment). Words that are not
            in WordNet are treated as nouns. If `None`, use a mild built-in list.
        max_swaps: Maximum number of toxic words to try for each word, in the order of the list. Defaults to
            50.

    Raises:
        HfBatError: If the file is missing, the list is empty, or an entry has several words.

    Example:
        >>> toxic = ToxicityPerturbation(["idiot", "stupid"])
        >>> [edit.texts[0] for edit in toxic.candidates(("The good editor.",))]
        ['The stupid editor.', 'The good idiot.']
        >>> [edit.texts[0] for edit in toxic.candidates(("Stupid edit, you idiot!",))]
        ['Edit, you!']
    """

    name = "toxicity"
    kind = "obstinate"

    def __init__(self, words: Iterable[str] | str | Path | None = None, max_swaps: int = 50):
        if max_swaps < 1:
            raise HfBatError(f"max_swaps must be at least 1, got {max_swaps}")
        words = MILD_WORDS if words is None else words
        listed = _read_words(words) if isinstance(words, (str, Path)) else words
        self.words = tuple(dict.fromkeys(word.strip().lower() for word in listed))
        if not self.words:
            raise HfBatError("toxic words: the list is empty")
        for word in self.words:
            if len(word.split()) != 1:
                raise HfBatError(f"toxic words: {word!r} is not one word; give one word per line")
        self.max_swaps = max_swaps
        self._listed = frozenset(self.words)
        self._swaps: dict[str, tuple[str, ...]] = {}
        for word in self.words:
            # WordNet does not contain many insults, and most of them are nouns.
            pos = _find_part_of_speech(word) or "n"
            self._swaps[pos] = (*self._swaps.get(pos, ()), word)[:max_swaps]

    def is_toxic(self, word: str) -> bool:
        """Return whether the word or any of its base forms is in the list."""
        return word in self._listed or not self._listed.isdisjoint(_list_base_forms(word))

    def candidates(self, texts: Texts) -> list[Edit]:
        if len(texts) != 1:
            raise HfBatError("the toxicity perturbation is for single sentences, not for pairs")
        pieces = split_pieces(texts[0])
        places = [i for i in range(0, len(pieces), 2) if pieces[i]]
        toxic = [
            place
            for place in places
            if self.is_toxic(normalize_word(split_marks(pieces[place])[1]))
        ]
        if toxic:
            return self._remove(pieces, toxic, places.index(toxic[0]))
        return self._swap(texts[0], [pieces[place] for place in places])

    def describe(self) -> dict[str, object]:
        words = hashlib.sha256("\n".join(self.words).encode("utf-8")).hexdigest()
        return {
            "perturbation": self.name,
            # Only show the built-in list in reports. A user's list may be private.
            "words": list(self.words) if self.words == MILD_WORDS else words,
            "max_swaps": self.max_swaps,
        }

    def _remove(self, pieces: list[str], places: list[int], position: int) -> list[Edit]:
        left = pieces
        # Delete backwards, because each deletion shifts the later places.
        for place in reversed(places):
            left = delete_token(left, place)
        text = "".join(left)
        if not any(split_marks(token)[1] for token in text.split()):
            return []  # every word was toxic
        return [Edit(0, position, detach_punctuation(pieces[places[0]])[0], "", (text,))]

    def _swap(self, text: str, tokens: Sequence[str]) -> list[Edit]:
        edits = []
        for position, token in enumerate(tokens):
            before, word, _ = split_marks(token)
            original = detach_punctuation(token)[0]
            tail = original[len(before) + len(word) :]
            for toxic in self._swaps.get(_find_part_of_speech(normalize_word(word)), ()):
                new = before + match_case(toxic, word) + tail
                edited = apply_replacement(text, position, new)
                edits.append(Edit(0, position, original, new, (edited,)))
        return edits


def _read_words(path: str | Path) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise HfBatError(f"word list {path}: {reason}") from error
    words = [word for line in lines if (word := line.partition("#")[0].strip())]
    if not words:
        raise HfBatError(f"word list {path}: it has no word")
    return words


@lru_cache(maxsize=100_000)
def _list_base_forms(word: str) -> frozenset[str]:
    return frozenset(form for pos in "nv" for form in load_wordnet().morphy(word, pos))


@lru_cache(maxsize=100_000)
def _find_part_of_speech(word: str) -> str:
    """Return the word's most frequent part of speech, or "" for function words and unknown words."""
    if word in stopwords("nltk"):
        return ""
    wordnet = load_wordnet()
    # The order of "navr" breaks ties, for example between forms that were never tagged.
    counts = {
        pos: max(sum(wordnet.sense_counts(form, pos)) for form in forms)
        for pos in "navr"
        if (forms := wordnet.morphy(word, pos))
    }
    return max(counts, key=lambda pos: counts[pos]) if counts else ""
