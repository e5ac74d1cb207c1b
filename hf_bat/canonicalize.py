"""A preprocessing defense: each word is replaced by one representative of all its synonyms.

The model then reads the same text for an input and for every exchange of synonyms in it, so a synonym
attack with the same table and casing cannot succeed. The reason is the preprocessing, not anything that
the model has learned, and every report on such a model says so. Exceptions are a few table entries that it
cannot replace (see `Canonicalizer`); the paper's tables and the bundled one have none.

After the robust encodings of Jones, Jia, Raghunathan and Liang (2020), in their plainest form: one
code for each connected component of the table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal

from hf_bat.errors import HfBatError
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

    Entries that no token can match also stay unchanged: those with capitals, white space or a final mark,
    and those with letters after another first character. For all other words of a component,
    `canonicalizer(text)` is equal before and after an exchange, and `canonicalizer` is idempotent.

    Args:
        table: Word -> synonyms, such as a `SubstitutionTable`. Defaults to the bundled lexicon.
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
        table: Mapping[str, Iterable[str]] | None = None,
        casing: Literal["keep", "authors"] = "keep",
    ):
        if table is None:
            from hf_bat.lexicon import default_synonyms

            table = default_synonyms()
        if not isinstance(table, Mapping):
            raise HfBatError(f"a canonicalizer needs a table of synonyms, got {table!r:.80}")
        if casing not in CASINGS:
            raise HfBatError(f"unknown casing {casing!r}; known: {', '.join(CASINGS)}")
        self.table, self.casing = table, casing
        components = _connect_words(table, _is_plain)
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
        """Return what reports say about the defense, ready for JSON; `fingerprint` is of the mapping.

        The size of the `largest` component is there because it merges words with different meanings.
        """
        return {
            "name": "canonicalize",
            "fingerprint": self.fingerprint,
            "table": getattr(self.table, "fingerprint", None),
            "casing": self.casing,
            "words": sum(self._sizes),
            "components": len(self._sizes),
            "largest": self._sizes[0] if self._sizes else 0,
        }


def _connect_words(
    table: Mapping[str, Iterable[str]], is_kept: Callable[[str], bool]
) -> list[Collection[str]]:
    """Return the connected components of a table, ignoring words that are not kept."""
    components: dict[str, set[str]] = {}
    for word in filter(is_kept, table):
        for other in filter(is_kept, table[word]):
            pair = [components.setdefault(w, {w}) for w in (word, other)]
            if pair[0] is not pair[1]:
                small, large = sorted(pair, key=len)
                large |= small
                components |= dict.fromkeys(small, large)
    distinct = {id(component): component for component in components.values()}
    return [component for component in distinct.values() if len(component) > 1]


def _is_plain(word: str) -> bool:
    """Tell whether a text can contain the word as a token from which its case pattern can be told."""
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
    from hf_bat.lexicon import load_wordnet

    # "VERSUS" and "Versus" are both "V" after an exchange: only "v" can represent all three.
    patterns = min(len(_get_cased(word)), 2)
    wordnet = load_wordnet()
    count = sum(sum(wordnet.sense_counts(word, pos)) for pos in "nvar")
    if not count:  # WordNet counts base forms only
        bases = [(base, pos) for pos in "nvar" for base in wordnet.morphy(word, pos)[:1]]
        count = max((sum(wordnet.sense_counts(*base)) for base in bases), default=0)
    return patterns, -count, len(word), word
