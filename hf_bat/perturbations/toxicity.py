"""Toxicity (obstinate, single sentences): a toxic word swapped in, or all toxic words taken out."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Edit, Perturbation, RandomSource, Texts, apply_replacement
from hf_bat.perturbations.tokens import core, delete_token, folded
from hf_bat.text import detach_punctuation, match_case, split_pieces

# Mild on purpose: for tests and demonstrations. Real work gives its own list.
MILD_WORDS = (
    "idiot", "fool", "moron", "loser", "jerk", "clown",
    "stupid", "dumb", "pathetic", "ridiculous", "silly",
    "stupidly", "foolishly",
    "suck", "stink",
)  # fmt: skip


class ToxicityPerturbation(Perturbation):
    """The obstinate set for toxicity (paper, Wiki Talk): edits that should change the label.

    A sentence without a toxic word has each of its words swapped for toxic words of the same part of
    speech (each word's most frequent one in WordNet; function words are left alone). A sentence with
    toxic words has one edit: all of them removed. A word is toxic if it, or a base form of it, is in
    the list.

    Args:
        words: the toxic words, or a file of them, one a line (`#` begins a comment); a mild built-in
            list where None. A word that WordNet does not know counts as a noun.
        max_swaps: how many toxic words are tried in a word's place at most, in the list's order.

    Raises:
        HfBatError: the file is missing, or the list is empty or has an entry of several words.

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
            raise HfBatError(f"max_swaps must be at least 1, not {max_swaps}")
        if words is None:
            words = MILD_WORDS
        listed = read_words(words) if isinstance(words, (str, Path)) else words
        self.words = tuple(dict.fromkeys(word.strip().lower() for word in listed))
        several = next((word for word in self.words if len(word.split()) != 1), None)
        if several is not None or not self.words:
            what = f"{several!r} is not one word" if self.words else "the list is empty"
            raise HfBatError(f"toxic words: {what}; give one word a line")
        self.max_swaps = max_swaps
        self._listed = frozenset(self.words)
        self._swaps: dict[str, tuple[str, ...]] = {}
        for word in self.words:
            pos = _main_part_of_speech(word) or "n"
            self._swaps[pos] = (*self._swaps.get(pos, ()), word)[:max_swaps]

    def is_toxic(self, word: str) -> bool:
        """Whether a word, or a base form of it, is in the list."""
        return word in self._listed or not self._listed.isdisjoint(_base_forms(word))

    def candidates(self, texts: Texts) -> list[Edit]:
        if len(texts) != 1:
            raise HfBatError("the toxicity perturbation is for single sentences, not for pairs")
        pieces = split_pieces(texts[0])
        places = [i for i in range(0, len(pieces), 2) if pieces[i]]
        found = [
            (position, place)
            for position, place in enumerate(places)
            if self.is_toxic(folded(core(pieces[place])[1]))
        ]
        return self._removal(pieces, found) if found else self._swaps_of(texts[0], pieces, places)

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        """Draw one of the candidates, each as likely; see `Perturbation.sample`."""
        found = self.candidates(texts)
        return found[int(rng.random() * len(found))].texts if found else None

    def describe(self) -> dict[str, object]:
        return {
            "perturbation": self.name,
            "words": list(self.words) if self.words == MILD_WORDS else _fingerprint(self.words),
            "max_swaps": self.max_swaps,
        }

    def _removal(self, pieces: list[str], found: list[tuple[int, int]]) -> list[Edit]:
        position, place = found[0]
        left = pieces
        for _, toxic in reversed(found):
            left = delete_token(left, toxic)
        text = "".join(left)
        if not any(core(token)[1] for token in text.split()):
            return []  # nothing but toxic words: no sentence is left
        return [Edit(0, position, detach_punctuation(pieces[place])[0], "", (text,))]

    def _swaps_of(self, text: str, pieces: list[str], places: list[int]) -> list[Edit]:
        edits = []
        for position, place in enumerate(places):
            before, word, _ = core(pieces[place])
            original = detach_punctuation(pieces[place])[0]
            tail = original[len(before) + len(word) :]
            for toxic in self._swaps.get(_main_part_of_speech(folded(word)), ()):
                new = before + match_case(toxic, word) + tail
                edited = apply_replacement(text, position, new)
                edits.append(Edit(0, position, original, new, (edited,)))
        return edits


def read_words(path: str | Path) -> list[str]:
    """Read a word list: one word a line, `#` begins a comment.

    Raises:
        HfBatError: the file cannot be read as UTF-8 text, or has no word.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise HfBatError(f"word list {path}: {reason}") from error
    found = [word for line in lines if (word := line.partition("#")[0].strip())]
    if not found:
        raise HfBatError(f"word list {path}: it has no word")
    return found


@lru_cache(maxsize=100_000)
def _base_forms(word: str) -> frozenset[str]:
    from hf_bat.lexicon import load_wordnet

    wordnet = load_wordnet()
    return frozenset(form for pos in "nv" for form in wordnet.morphy(word, pos))


@lru_cache(maxsize=100_000)
def _main_part_of_speech(word: str) -> str:
    """The part of speech that a word has most often; "" for function and unknown words."""
    from hf_bat.lexicon import load_wordnet, stopwords

    if word in stopwords("nltk"):
        return ""
    wordnet = load_wordnet()
    counts = {
        pos: max(sum(wordnet.sense_counts(form, pos)) for form in forms)
        for pos in "navr"
        if (forms := wordnet.morphy(word, pos))
    }
    return max(counts, key=lambda pos: counts[pos]) if counts else ""


def _fingerprint(words: Iterable[str]) -> str:
    import hashlib

    return hashlib.sha256("\n".join(words).encode("utf-8")).hexdigest()
