"""WordNet 3.0's relations in memory: look-up by inflected form, antonyms, parts of speech.

Everything is a plain list or dict filled at once: there is no reader that opens files later, so an
object may be shared by threads and forked into workers.
"""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hf_bat.errors import HfBatError
from hf_bat.lexicon.wordnet_files import SUFFIXES, VERSION, Relations, read_relations

BUNDLED = Path(__file__).parent / "data" / "wordnet-3.0.json.gz"
POSITIONS = tuple(SUFFIXES)

# WordNet's rules of detachment (morphy(7WN)): a form's ending and what stands there in the base form.
DETACHMENTS: dict[str, tuple[tuple[str, str], ...]] = {
    "n": (
        ("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"),
        ("shes", "sh"), ("men", "man"), ("ies", "y"),
    ),
    "v": (
        ("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"),
        ("ing", ""),
    ),
    "a": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "r": (),
}  # fmt: skip


class Synset(NamedTuple):
    """A set of lemmas that share one sense.

    Attributes:
        number: its place among WordNet's synsets.
        pos: "n", "v", "a", "s" (a satellite adjective) or "r".
        lemmas: their names, as WordNet spells them (`Heaven`, `ice_cream`).

    Example:
        >>> load_wordnet().synsets("automobile")[0].lemmas
        ('car', 'auto', 'automobile', 'machine', 'motorcar')
    """

    number: int
    pos: str
    lemmas: tuple[str, ...]


class WordNet:
    """WordNet's relations, with look-ups as NLTK makes them.

    Args:
        relations: what `read_relations` returns.
        source: where they come from, for the record.

    Example:
        >>> wordnet = load_wordnet()
        >>> wordnet.morphy("children", "n"), sorted(wordnet.parts_of_speech("dogs"))
        (['child'], ['n', 'v'])
        >>> wordnet.antonyms(wordnet.synsets("hired")[0])
        {'hire': ('fire',)}
    """

    def __init__(self, relations: Relations, source: str) -> None:
        self.source = source
        self.version: str = relations["wordnet"]
        self.sha256: str = relations["sha256"]
        self.exceptions: dict[str, dict[str, list[str]]] = relations["exceptions"]
        self._synsets: list[str] = relations["synsets"]
        self._counts: dict[str, dict[str, list[int]]] = relations["counts"]
        self._parents: list[list[int]] = relations["parents"]
        self._index = _index(self._synsets, relations["senses"])
        self._antonyms: dict[int, list[tuple[int, int, int]]] = {}
        for synset, place, target, target_place in relations["antonyms"]:
            self._antonyms.setdefault(synset, []).append((place, target, target_place))
        self._children: dict[int, list[int]] | None = None

    def synset(self, number: int) -> Synset:
        """The synset of a number.

        Args:
            number: its place among all synsets, from 0.
        """
        pos, *lemmas = self._synsets[number].split(" ")
        return Synset(number, pos, tuple(lemmas))

    def lemmas(self, pos: str) -> list[str]:
        """Every lemma (lower case) of a part of speech, in the order of its first synset.

        Args:
            pos: "n", "v", "a" or "r".
        """
        return list(self._index[pos])

    def morphy(self, word: str, pos: str) -> list[str]:
        """The base forms of a word that WordNet has: itself first, then by exception or detachment.

        Args:
            word: a lower-case word.
            pos: "n", "v", "a" or "r".

        Example:
            >>> load_wordnet().morphy("leaves", "n")
            ['leaf', 'leave']
        """
        listed = self.exceptions[pos].get(word)
        if listed is None:
            listed = [
                word[: -len(ending)] + base
                for ending, base in DETACHMENTS[pos]
                if word.endswith(ending)
            ]
        index = self._index[pos]
        return [form for form in dict.fromkeys([word, *listed]) if form in index]

    def senses(self, lemma: str, pos: str) -> list[int]:
        """The numbers of a base form's synsets, most frequent sense first.

        Args:
            lemma: in lower case, not inflected; `_` joins the parts of a collocation.
            pos: "n", "v", "a" or "r".

        Returns:
            Numbers for `synset`; none for a word that WordNet does not have.
        """
        return list(self._index[pos].get(lemma, ()))

    def sense_counts(self, lemma: str, pos: str) -> list[int]:
        """How often each sense of a base form was tagged in WordNet's texts, in sense order.

        Args:
            lemma: in lower case, not inflected; `_` joins the parts of a collocation.
            pos: "n", "v", "a" or "r".

        Returns:
            A count for each of `senses`.
        """
        counts = self._counts[pos].get(lemma, [])
        return counts + [0] * (len(self._index[pos].get(lemma, ())) - len(counts))

    def synsets(self, word: str, pos: str | None = None) -> list[Synset]:
        """The synsets of a word or of its base forms, as `nltk.corpus.wordnet.synsets` orders them.

        Args:
            word: a word in any case, inflected or not; `_` joins the parts of a collocation.
            pos: "n", "v", "a" (satellites included) or "r"; all four, in this order, where None.
        """
        word = word.lower()
        return [
            self.synset(number)
            for one in ((pos,) if pos else POSITIONS)
            for form in self.morphy(word, one)
            for number in self._index[one][form]
        ]

    def antonyms(self, synset: Synset | int) -> dict[str, tuple[str, ...]]:
        """The antonyms of a synset's lemmas, in WordNet's order; lemmas without any are left out.

        Args:
            synset: it, or its number.

        Returns:
            Lemma -> its antonyms' lemmas.
        """
        number = synset if isinstance(synset, int) else synset.number
        found: dict[str, tuple[str, ...]] = {}
        if number in self._antonyms:
            lemmas = self.synset(number).lemmas
            for place, target, target_place in self._antonyms[number]:
                opposite = self.synset(target).lemmas[target_place]
                found[lemmas[place]] = (*found.get(lemmas[place], ()), opposite)
        return found

    def synsets_with_antonyms(self) -> list[Synset]:
        """Every synset one of whose lemmas has an antonym."""
        return [self.synset(number) for number in sorted(self._antonyms)]

    def parts_of_speech(self, word: str) -> frozenset[str]:
        """Which of "n", "v", "a", "r" a word can be, looked up with its inflections.

        Args:
            word: in any case, inflected or not.

        Example:
            >>> sorted(load_wordnet().parts_of_speech("quickly"))
            ['r']
        """
        word = word.lower()
        return frozenset(pos for pos in POSITIONS if self.morphy(word, pos))

    def parents(self, number: int) -> list[int]:
        """The numbers of the synsets right above one: hypernyms, or a satellite's head.

        Args:
            number: of the synset.
        """
        return list(self._parents[number])

    def sisters(self, synset: Synset | int) -> list[Synset]:
        """The synsets that share a parent with this one: co-hyponyms of nouns and verbs, and
        satellites of the same head for adjectives.

        Args:
            synset: it, or its number.

        Example:
            >>> wordnet = load_wordnet()
            >>> "wolf" in {s.lemmas[0] for s in wordnet.sisters(wordnet.synsets("dog", "n")[0])}
            True
        """
        number = synset if isinstance(synset, int) else synset.number
        if self._children is None:
            children: dict[int, list[int]] = {}
            for child, parents in enumerate(self._parents):
                for parent in parents:
                    children.setdefault(parent, []).append(child)
            self._children = children
        found = dict.fromkeys(
            sister for parent in self._parents[number] for sister in self._children.get(parent, ())
        )
        found.pop(number, None)
        return [self.synset(sister) for sister in found]


def _index(
    synsets: list[str], senses: dict[str, dict[str, list[int]]]
) -> dict[str, dict[str, Any]]:
    """pos -> lemma -> synset numbers: one sense from the synsets, several as the file orders them."""
    index: dict[str, dict[str, Any]] = {pos: {} for pos in POSITIONS}
    for number, line in enumerate(synsets):
        pos, *lemmas = line.lower().split(" ")
        entries = index["a" if pos == "s" else pos]
        for lemma in lemmas:
            entries[lemma] = (number,)
    for pos, several in senses.items():
        index[pos].update(several)
    return index


@lru_cache(maxsize=2)
def load_wordnet(source: str = "bundled") -> WordNet:
    """Load WordNet's relations, once a process.

    Args:
        source: "bundled", the WordNet 3.0 relations that ship with hf_bat, or "nltk", the WordNet that
            NLTK has downloaded (read from its files into memory; NLTK's own reader is not used).

    Returns:
        The relations, with their look-ups; the same object each time.

    Raises:
        HfBatError: an unknown source, or NLTK's data is not there.

    Example:
        >>> load_wordnet().version
        '3.0'
    """
    if source == "bundled":
        relations = json.loads(gzip.decompress(BUNDLED.read_bytes()))
        if relations["version"] != VERSION:
            raise HfBatError(
                f"{BUNDLED.name} has layout {relations['version']}, expected {VERSION}"
            )
        return WordNet(relations, source)
    if source == "nltk":
        return WordNet(read_relations(_find_nltk_wordnet()), source)
    raise HfBatError(f"unknown WordNet source {source!r}; known: bundled, nltk")


def _find_nltk_wordnet() -> Path:
    try:
        import nltk.data
    except ImportError as error:
        raise HfBatError(
            "NLTK is not installed: pip install nltk, or use the bundled WordNet"
        ) from error
    for name in ("corpora/wordnet.zip", "corpora/wordnet"):
        try:
            return Path(str(nltk.data.find(name)))
        except LookupError:
            continue
    raise HfBatError(
        "NLTK's WordNet is not installed: run `python -m nltk.downloader wordnet`, set NLTK_DATA to "
        "where it is, or use the bundled WordNet"
    )
