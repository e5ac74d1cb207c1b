"""Character edits (fickle): typos and look-alike letters, which do not confuse a human reader.

Readers understand words with swapped, missing or mistyped inner letters, as long as the first and last
letter are unchanged (Rawlinson 1976; Pruthi, Dhingra and Lipton 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.lexicon import load_wordnet, stopwords
from hf_bat.perturbations.base import (
    Edit,
    Memo,
    Perturbation,
    RandomSource,
    Slot,
    Texts,
    list_edits,
)
from hf_bat.text import detach_punctuation, join_tokens, split_tokens

# Increase this number when the edits change. Recipe hashes and the keys of sweep runs include it.
CHARACTERS_VERSION = 1
# The letters next to each letter on a QWERTY keyboard, in alphabetical order.
_NEIGHBORS = {
    "a": "qswz", "b": "ghnv", "c": "dfvx", "d": "cefrsx", "e": "drsw", "f": "cdgrtv", "g": "bfhtvy",
    "h": "bgjnuy", "i": "jkou", "j": "hikmnu", "k": "ijlmo", "l": "kop", "m": "jkn", "n": "bhjm",
    "o": "iklp", "p": "lo", "q": "aw", "r": "deft", "s": "adewxz", "t": "fgry", "u": "hijy",
    "v": "bcfg", "w": "aeqs", "x": "cdsz", "y": "ghtu", "z": "asx",
}  # fmt: skip
# Letters of other scripts that look the same in most fonts (from Unicode's list of confusable characters).
_LOOK_ALIKES = {
    "a": "\u0430", "c": "\u0441", "e": "\u0435", "i": "\u0456", "j": "\u0458", "o": "\u043e",
    "p": "\u0440", "s": "\u0455", "x": "\u0445", "y": "\u0443", "A": "\u0410", "B": "\u0412",
    "C": "\u0421", "E": "\u0415", "H": "\u041d", "I": "\u0406", "J": "\u0408", "K": "\u039a",
    "M": "\u041c", "N": "\u039d", "O": "\u041e", "P": "\u0420", "S": "\u0405", "T": "\u0422",
    "X": "\u0425", "Y": "\u03a5", "Z": "\u0396",
}  # fmt: skip


def swap_letters(word: str) -> list[str]:
    """List the variants of the word with two adjacent inner letters swapped.

    Example:
        >>> swap_letters("horse")
        ['hrose', 'hosre']
    """
    return [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, len(word) - 2)]


def drop_letter(word: str) -> list[str]:
    """List the variants of the word with one inner letter removed.

    Example:
        >>> drop_letter("horse")
        ['hrse', 'hose', 'hore']
    """
    return [word[:i] + word[i + 1 :] for i in range(1, len(word) - 1)]


def mistype_letter(word: str) -> list[str]:
    """List the variants of the word with one inner letter replaced by a neighboring letter on the keyboard.

    Example:
        >>> mistype_letter("Axe")
        ['Ace', 'Ade', 'Ase', 'Aze']
    """
    edited = []
    for i in range(1, len(word) - 1):
        for letter in _NEIGHBORS.get(word[i].lower(), ""):
            edited.append(
                word[:i] + (letter.upper() if word[i].isupper() else letter) + word[i + 1 :]
            )
    return edited


def replace_look_alike(word: str) -> list[str]:
    """List the variants of the word with one letter replaced by a look-alike from another script.

    Example:
        >>> import unicodedata
        >>> [unicodedata.name(word) for word in replace_look_alike("o")]
        ['CYRILLIC SMALL LETTER O']
    """
    return [
        word[:i] + _LOOK_ALIKES[letter] + word[i + 1 :]
        for i, letter in enumerate(word)
        if letter in _LOOK_ALIKES
    ]


CHARACTER_EDITS: dict[str, Callable[[str], list[str]]] = {
    "swap": swap_letters,
    "drop": drop_letter,
    "mistype": mistype_letter,
    "look-alike": replace_look_alike,
}
TYPOS = ("swap", "drop", "mistype")


class CharacterPerturbation(Perturbation):
    """The fickle set of all inputs with typos or look-alike letters in their words.

    A word can be edited if it consists of at least `min_length` letters, has no other characters, and is not
    a function word. Its first and last letter do not change, except for look-alikes. Edits that produce a
    word in the bundled lexicons ("form" for "from") are skipped, because they would change the meaning.

    A sample edits each of these words with probability `rate`, and at least one word. It draws a
    kind that is possible for the word, then one edit of this kind, both uniformly.

    Args:
        edits: Kinds of edits: "swap", "drop", "mistype", "look-alike". Defaults to the first three.
        rate: Probability that a word is edited in a sample. Defaults to 0.1.
        min_length: Minimum number of letters in an edited word. Defaults to 4.
        name: Short name in metric keys and reports. Defaults to "typo".

    Raises:
        HfBatError: If a kind is unknown, `edits` is empty, or a number is out of range.

    Example:
        >>> import random
        >>> typos = CharacterPerturbation()
        >>> typos.sample(("Two horses graze on a meadow.",), random.Random(4))
        ('Two hosres graze on a meadow.',)
        >>> [edit.replacement for edit in CharacterPerturbation(["swap"]).candidates(("A sudden noise.",))]
        ['sduden', 'sudedn', 'niose', 'nosie']
    """

    kind = "fickle"

    def __init__(
        self,
        edits: Sequence[str] = TYPOS,
        rate: float = 0.1,
        min_length: int = 4,
        name: str = "typo",
    ):
        unknown = [edit for edit in edits if edit not in CHARACTER_EDITS]
        if isinstance(edits, str) or not edits or unknown:
            raise HfBatError(
                f"character edits must be a list of {', '.join(CHARACTER_EDITS)}; got {edits!r}"
            )
        if not 0 < rate <= 1:
            raise HfBatError(f"rate must be above 0 and at most 1; got {rate}")
        if min_length < 1:
            raise HfBatError(f"min_length must be at least 1; got {min_length}")
        self.edits, self.rate, self.min_length = tuple(dict.fromkeys(edits)), rate, min_length
        self.name = name
        self._stopwords = stopwords("nltk")
        self._options: Memo[tuple[tuple[str, ...], ...]] = Memo(self._list_kinds)

    def _list_kinds(self, word: str) -> tuple[tuple[str, ...], ...]:
        """List the edits of the word by kind. Kinds without edits are left out."""
        is_edited = word.isalpha() and len(word) >= self.min_length
        if not is_edited or word.lower() in self._stopwords:
            return ()
        kinds = []
        for edit in self.edits:
            words = dict.fromkeys(CHARACTER_EDITS[edit](word))
            if kept := tuple(w for w in words if w != word and not _is_word(w.lower())):
                kinds.append(kept)
        return tuple(kinds)

    def replacements(self, word: str) -> tuple[str, ...]:
        """Return the edits of the word, ordered by kind."""
        return tuple(dict.fromkeys(new for kind in self._options[word] for new in kind))

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        split = [split_tokens(text) for text in texts]
        words = [
            (tokens, place)
            for tokens, _ in split
            for place, token in enumerate(tokens)
            if self._options[detach_punctuation(token)[0]]
        ]
        if not words:
            return None
        chosen = [entry for entry in words if rng.random() < self.rate]
        for tokens, place in chosen or [words[int(rng.random() * len(words))]]:
            word, mark = detach_punctuation(tokens[place])
            kinds = self._options[word]
            kind = kinds[int(rng.random() * len(kinds))]
            tokens[place] = kind[int(rng.random() * len(kind))] + mark
        return tuple(join_tokens(tokens, spaces) for tokens, spaces in split)

    def candidates(self, texts: Texts) -> list[Edit]:
        places = ((s, p) for s, text in enumerate(texts) for p in range(len(text.split())))
        return [edit for place in places for edit in self._list_at(texts, *place)]

    def edits_at(
        self, texts: Texts, sentence: int, position: int, start: Texts, start_position: int
    ) -> list[Edit]:
        return self._list_at(texts, sentence, position)

    def _list_at(self, texts: Texts, sentence: int, position: int) -> list[Edit]:
        word = detach_punctuation(texts[sentence].split()[position])[0]
        return list_edits(texts, Slot(sentence, position, word, self.replacements(word)))

    def describe(self) -> dict[str, Any]:
        return {
            "perturbation": self.name,
            "version": CHARACTERS_VERSION,
            "edits": list(self.edits),
            "rate": self.rate,
            "min_length": self.min_length,
        }


@lru_cache(maxsize=200_000)
def _is_word(word: str) -> bool:
    """Return whether a lower-case word, or its base form, is in the bundled lexicons."""
    return word in stopwords("nltk") or bool(load_wordnet().parts_of_speech(word))
