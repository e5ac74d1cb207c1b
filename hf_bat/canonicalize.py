"""A preprocessing defense: each word is replaced by one representative of all its synonyms.

The model then reads the same text for an input and for every exchange of synonyms in it, so a synonym
attack with the same table and casing cannot succeed, except with a few table entries that cannot be
replaced (see `Canonicalizer`). The reason is the preprocessing, not anything that the model has learned,
and every report on such a model says so.

This is the simplest form of the robust encodings of Jones, Jia, Raghunathan and Liang (2020): one code
for each connected component of the table.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from hf_bat.errors import check_choice
from hf_bat.lexicon import SubstitutionTable, load_wordnet
from hf_bat.lexicon.bundled import as_synonyms
from hf_bat.lexicon.table import TableSource
from hf_bat.perturbations.base import Memo
from hf_bat.perturbations.substitution import CASINGS
from hf_bat.text import detach_punctuation, join_tokens, match_case, split_tokens

# Changes when a table gives another mapping: finished runs of sweeps with another version do not count.
MAPPING_VERSION = 2


class Canonicalizer:
    """Replaces each word of a text by the representative of its component of a synonym table.

    A component is a set of words that the table connects, in either direction. Its representative is the
    word that is most frequent in WordNet's texts (inflected words count as their base form), then the
    shortest, then the alphabetically first. Words without three case patterns ("car", "Car", "CAR") come
    first, because they cannot show the case of another word. Case, spacing and punctuation are kept;
    words outside the table stay. Stop words in the table are treated like all other words,
    because an attack may put them in.

    Entries with capitals, white space, a final mark, or letters after another first character stay, because
    no token can match them. For all other words of a component, `canonicalizer(text)` is equal before and
    after an exchange, and `canonicalizer` is idempotent.

    Args:
        table: A table of synonyms, a mapping or a table's path. If `None`, the bundled WordNet
            synonyms.
        casing: Casing of the exchanges, as in `SubstitutionPerturbation`. `"keep"` gives a representative
            the case pattern of the word; `"authors"` leaves it in lower case.

    Raises:
        HfBatError: `table` is not a table, or `casing` is unknown.

    Example:
        >>> canonical = Canonicalizer({"auto": ("car",), "automobile": ("auto",), "kid": ("child",)})
        >>> canonical("Two kids?  A KID in an Automobile, the child's car.")
        "Two kids?  A CHILD in an Car, the child's car."
        >>> canonical("An AUTO!") == canonical("An CAR!")
        True
    """

    def __init__(
        self,
        table: TableSource | None = None,
        casing: Literal["keep", "authors"] = "keep",
    ):
        check_choice("casing", casing, CASINGS)
        # Not the default synonyms: neighbors in vectors connect three quarters of their words, and
        # one word would represent them all.
        self.table = as_synonyms("wordnet" if table is None else table)
        self.casing = casing
        components = _connect_words(self.table)
        #: word -> representative of its component. Representatives map to themselves, because odd
        #: capitals ("cAr") are not kept.
        self.representatives: dict[str, str] = {}
        for component in components:
            self.representatives |= dict.fromkeys(component, min(component, key=_rank_word))
        self._sizes = sorted(map(len, components), reverse=True)
        self._tokens = Memo(self._replace_token)

    def __call__(self, text: str) -> str:
        """Return the text with each word replaced by its representative."""
        tokens, spaces = split_tokens(text)
        return join_tokens([self._tokens[token] for token in tokens], spaces)

    def _replace_token(self, token: str) -> str:
        word, mark = detach_punctuation(token)
        best = self.representatives.get(word.lower())
        if best is not None and self.casing == "keep":
            best = match_case(best, word)
        return token if best is None else best + mark

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the mapping."""
        mapping: list[Any] = sorted(self.representatives.items())
        if self.casing != "keep":
            mapping = [self.casing, mapping]
        text = json.dumps(mapping, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return what reports say about the defense, ready for JSON."""
        return {
            "name": "canonicalize",
            "fingerprint": self.fingerprint,
            "table": self.table.fingerprint,
            "casing": self.casing,
            "words": sum(self._sizes),
            "components": len(self._sizes),
            # A large component merges words with different meanings.
            "largest": self._sizes[0] if self._sizes else 0,
        }


def _connect_words(table: SubstitutionTable) -> list[set[str]]:
    """Return the connected components of a table's plain words."""
    from scipy.cluster.hierarchy import DisjointSet

    components = DisjointSet()
    for word in filter(_is_plain, table):
        for other in filter(_is_plain, table[word]):
            components.add(word)
            components.add(other)
            components.merge(word, other)
    return [component for component in components.subsets() if len(component) > 1]


def _is_plain(word: str) -> bool:
    """Return whether a text can have the word as a token that shows its case pattern."""
    cased = _get_cased(word)
    return (
        (not cased or cased[0] == word[0])
        and word == word.lower() == word.upper().lower()
        and len(word.upper()) == len(word)
        and word.split() == [word]
        and not detach_punctuation(word)[1]
    )


def _get_cased(word: str) -> list[str]:
    """Return the characters of a word that have an upper and a lower case."""
    return [c for c in word if c.lower() != c.upper()]


def _rank_word(word: str) -> tuple[int, int, int, str]:
    """Return the sort key of a word in its component; the smallest is the representative."""
    # "VERSUS" and "Versus" are both "V" after an exchange: only "v" can represent all three.
    patterns = min(len(_get_cased(word)), 2)
    wordnet = load_wordnet()
    count = sum(sum(wordnet.sense_counts(word, pos)) for pos in "nvar")
    if not count:  # WordNet counts base forms only
        bases = [(base, pos) for pos in "nvar" for base in wordnet.morphy(word, pos)[:1]]
        count = max((sum(wordnet.sense_counts(*base)) for base in bases), default=0)
    return patterns, -count, len(word), word
