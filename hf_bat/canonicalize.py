"""A preprocessing defence: each word is mapped to one representative of all its synonyms.

What the model reads is then the same for an input and for every exchange of synonyms in it, so that a
synonym attack with the same table cannot succeed: by what happens before the model, not by what the
model has learnt. Every report on a model that uses it says so.

After the robust encodings of Jones, Jia, Raghunathan and Liang (2020), in their plainest form: one
code for each connected component of the table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.text import detach_punctuation, join_tokens, match_case, split_tokens


class Canonicalizer:
    """Maps each word of a text to the representative of its component of a synonym table.

    A component is all words that the table connects, whichever lists the other. Its representative is
    the word that WordNet's texts have most often (an inflected one as often as its base form), then the
    shortest, then the alphabetically first.
    Case, spacing and punctuation are kept; stop words and words outside the table are left alone.

    Left alone, too, are entries that are no plain words: with capitals, white space or a mark at their end,
    of one letter, or without upper and lower case. Between all others of a component an exchange
    changes nothing: `canonicalizer(text)` is equal for both texts, and `canonicalizer` of it is itself.

    Args:
        table: word -> synonyms, such as a `SubstitutionTable`; None for the bundled lexicon's.

    Raises:
        HfBatError: it is no table.

    Example:
        >>> canonical = Canonicalizer({"auto": ("car",), "automobile": ("auto",), "kid": ("child",)})
        >>> canonical("Two kids?  A KID in an Automobile, the child's car.")
        "Two kids?  A CHILD in an Car, the child's car."
        >>> canonical("An AUTO!") == canonical("An CAR!")
        True
    """

    def __init__(self, table: Mapping[str, Iterable[str]] | None = None):
        if table is None:
            from hf_bat.lexicon import default_synonyms

            table = default_synonyms()
        if not isinstance(table, Mapping):
            raise HfBatError(f"a canonicalizer needs a table of synonyms, got {table!r:.80}")
        from hf_bat.lexicon import stopwords

        self.table = table
        stop = stopwords("nltk")
        components = _components(table, lambda word: word not in stop and _is_plain(word))
        #: word -> its component's representative; that word, too, for its odd capitals go ("cAr")
        self.representatives = {
            word: best
            for component in components
            for best in (min(component, key=_rank),)
            for word in component
        }
        self._sizes = sorted(map(len, components), reverse=True)
        self._tokens: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """The text in canonical words."""
        tokens, spaces = split_tokens(text)
        return join_tokens([self._canonical(token) for token in tokens], spaces)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tokens": {}}

    def _canonical(self, token: str) -> str:
        known = self._tokens.get(token)
        if known is None:
            word, mark = detach_punctuation(token)
            best = self.representatives.get(word.lower())
            known = token if best is None else match_case(best, word) + mark
            if len(self._tokens) < 1_000_000:
                self._tokens[token] = known
        return known

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the mapping."""
        text = json.dumps(sorted(self.representatives.items()), separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def describe(self) -> dict[str, Any]:
        """What reports say of the defence, ready for JSON.

        Returns:
            `name`, `fingerprint` (of the mapping), `table` (the table's own), how many words are in how
            many components, and the largest component's size: large ones merge words that differ.
        """
        return {
            "name": "canonicalize",
            "fingerprint": self.fingerprint,
            "table": getattr(self.table, "fingerprint", None),
            "words": sum(self._sizes),
            "components": len(self._sizes),
            "largest": self._sizes[0] if self._sizes else 0,
        }


def _components(table: Mapping[str, Iterable[str]], keeps: Any) -> list[list[str]]:
    """The words that the table connects, in groups of two or more; words not kept connect nothing."""
    above: dict[str, str] = {}

    def root(word: str) -> str:
        above.setdefault(word, word)
        while above[word] != word:
            above[word] = above[above[word]]
            word = above[word]
        return word

    for word in table:
        if keeps(word):
            for other in table[word]:
                if keeps(other):
                    above[root(other)] = root(word)
    groups: dict[str, list[str]] = {}
    for word in above:
        groups.setdefault(root(word), []).append(word)
    return [group for group in groups.values() if len(group) > 1]


def _is_plain(word: str) -> bool:
    """Whether a word's case pattern can be told from its text, and a text's token is this word."""
    cased = [c for c in word if c.lower() != c.upper()]
    return (
        len(cased) > 1
        and cased[0] == word[0]
        and word == word.lower() == word.upper().lower()
        and len(word.upper()) == len(word)
        and len(word.split()) == 1
        and word.split()[0] == word
        and not detach_punctuation(word)[1]
    )


def _rank(word: str) -> tuple[int, int, str]:
    """Sorts the words of a component, the representative first."""
    from hf_bat.lexicon import load_wordnet

    wordnet = load_wordnet()
    count = sum(sum(wordnet.sense_counts(word, pos)) for pos in "nvar")
    if not count:  # only base forms were counted
        bases = [(base, pos) for pos in "nvar" for base in wordnet.morphy(word, pos)[:1]]
        count = max((sum(wordnet.sense_counts(*one)) for one in bases), default=0)
    return -count, len(word), word
