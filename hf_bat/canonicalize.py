"""A preprocessing defense that replaces each word with one representative of all its synonyms.

The model then reads the same text no matter which synonyms are used, so a synonym attack with the
same table and casing cannot succeed, except with a few table entries that cannot be replaced (see
`Canonicalizer`). This robustness comes from the preprocessing and not from the model, which all reports
on defended models point out.

This is the simplest form of the robust encodings of Jones, Jia, Raghunathan and Liang (2020), with one
code for each connected component of the table.
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

# Increase this number if the mapping of a table changes. Sweeps then repeat runs with an older version.
MAPPING_VERSION = 2


class Canonicalizer:
    """Replaces each word of a text with the representative of its component in a synonym table.

    A component is a set of words that the table connects in either direction. Its representative is the
    word that is most frequent in WordNet's texts (inflected words count as their base form), then the
    shortest, then the alphabetically first. Words without three case patterns ("car", "Car", "CAR") are
    preferred, because they cannot show the case of another word. Case, spacing, punctuation and words
    outside the table do not change. Stop words in the table are treated like all other words, because an
    attack may insert them.

    Table entries with capitals, white space, a final punctuation mark, or letters after another first
    character are not replaced, because no token can match them. For all other words of a component,
    exchanging synonyms does not change `canonicalizer(text)`, and `canonicalizer` is idempotent.

    Args:
        table: A table of synonyms, a mapping or the path of a table. If `None`, the bundled WordNet
            synonyms are used.
        casing: Case of the representatives, as in `SubstitutionPerturbation`: `"keep"` (case pattern of
            the replaced word) or `"authors"` (lower case).

    Raises:
        HfBatError: If `table` is not a table, or `casing` is unknown.

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
        # The default synonyms are not used, because vector neighbors connect three quarters of
        # their words, and one word would represent all of them.
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
        """Return the description of the defense for reports, ready for JSON."""
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
    """Return whether the word can be a token of a text and show its case pattern."""
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
    """Return the word's sort key in its component. The smallest word is the representative."""
    # "VERSUS" and "Versus" both become "V" after an exchange, so only "v" can represent all three.
    patterns = min(len(_get_cased(word)), 2)
    wordnet = load_wordnet()
    count = sum(sum(wordnet.sense_counts(word, pos)) for pos in "nvar")
    if not count:  # WordNet counts base forms only
        bases = [(base, pos) for pos in "nvar" for base in wordnet.morphy(word, pos)[:1]]
        count = max((sum(wordnet.sense_counts(*base)) for base in bases), default=0)
    return patterns, -count, len(word), word
