"""A preprocessing defence: each word is mapped to one representative of all its synonyms.

What the model reads is then the same for an input and for every exchange of synonyms in it, so that a
synonym attack with the same table and casing cannot succeed: by what happens before the model, not by
what the model has learnt. Every report on a model that uses it says so. The few entries that are left
alone (see `Canonicalizer`) are exceptions; the paper's tables and the bundled one have none.

After the robust encodings of Jones, Jia, Raghunathan and Liang (2020), in their plainest form: one
code for each connected component of the table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Literal

from hf_bat.errors import HfBatError
from hf_bat.perturbations.substitution import CASINGS
from hf_bat.text import detach_punctuation, join_tokens, match_case, split_tokens

# Of how a table becomes a mapping; runs with other versions are other runs.
MAPPING_VERSION = 2


class Canonicalizer:
    """Maps each word of a text to the representative of its component of a synonym table.

    A component is all words that the table connects, whichever lists the other. Its representative is
    the word that WordNet's texts have most often (an inflected one as often as its base form), then the
    shortest, then the alphabetically first; a word that has not all of "car", "Car" and "CAR" goes first,
    for the case of another is lost where it stands. Case, spacing and punctuation are kept, words outside
    the table are left alone. A stop word that the table lists is a word like any other: an attack leaves
    only some alone, and puts any of them in.

    Left alone, too, are entries that no token can be told to be: with capitals, white space or a mark at
    their end, or with letters but another first character. Between all others of a component an exchange
    changes nothing: `canonicalizer(text)` is equal for both texts, and `canonicalizer` of it is itself.

    Args:
        table: word -> synonyms, such as a `SubstitutionTable`; None for the bundled lexicon's.
        casing: that of the exchanges, as in `SubstitutionPerturbation`: `"keep"` gives a representative the
            case pattern of its word; `"authors"` leaves it in lower case, as their exchange does.
        leave: words that stay as they are and connect nothing, in lower case.

    Raises:
        HfBatError: it is no table, or an unknown casing.

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
        leave: Iterable[str] = (),
    ):
        if table is None:
            from hf_bat.lexicon import default_synonyms

            table = default_synonyms()
        if not isinstance(table, Mapping):
            raise HfBatError(f"a canonicalizer needs a table of synonyms, got {table!r:.80}")
        if casing not in CASINGS:
            raise HfBatError(f"unknown casing {casing!r}; known: {', '.join(CASINGS)}")
        self.table, self.casing = table, casing
        left = frozenset(leave)
        components = _components(table, lambda word: word not in left and _is_plain(word))
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
            if best is not None and self.casing == "keep":
                best = match_case(best, word)
            known = token if best is None else best + mark
            if len(self._tokens) < 1_000_000:
                self._tokens[token] = known
        return known

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the mapping."""
        mapping: list[Any] = sorted(self.representatives.items())
        if self.casing != "keep":
            mapping = [self.casing, mapping]
        text = json.dumps(mapping, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def describe(self) -> dict[str, Any]:
        """What reports say of the defence, ready for JSON.

        Returns:
            `name`, `fingerprint` (of the mapping), `table` (the table's own), `casing`, how many words are
            in how many components, and the largest component's size: large ones merge words that differ.
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


def early_canonicalizer(table: Mapping[str, Iterable[str]]) -> Canonicalizer:
    """The mapping that versions made of a table which left stop words alone, and words of one letter.

    Models saved by them were trained with it, so that they must be read with it.
    """
    from hf_bat.lexicon import stopwords

    words = {*table, *chain.from_iterable(table.values())}
    return Canonicalizer(table, leave=stopwords("nltk") | {w for w in words if len(_cased(w)) < 2})


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
    cased = _cased(word)
    return (
        (not cased or cased[0] == word[0])
        and word == word.lower() == word.upper().lower()
        and len(word.upper()) == len(word)
        and len(word.split()) == 1
        and word.split()[0] == word
        and not detach_punctuation(word)[1]
    )


def _cased(word: str) -> list[str]:
    """The characters of a word that have an upper and a lower case."""
    return [c for c in word if c.lower() != c.upper()]


def _rank(word: str) -> tuple[int, int, int, str]:
    """Sorts the words of a component, the representative first."""
    # "VERSUS" and "Versus" are both "V" after an exchange: only "v" stands for the three of them alike.
    forms = min(len(_cased(word)), 2)
    from hf_bat.lexicon import load_wordnet

    wordnet = load_wordnet()
    count = sum(sum(wordnet.sense_counts(word, pos)) for pos in "nvar")
    if not count:  # only base forms were counted
        bases = [(base, pos) for pos in "nvar" for base in wordnet.morphy(word, pos)[:1]]
        count = max((sum(wordnet.sense_counts(*one)) for one in bases), default=0)
    return forms, -count, len(word), word
