"""WordNet's relations in memory: reading its database, and look-ups by inflected form.

Everything is a plain list or dict that is filled at once: no file is opened later, so an object may be
shared by threads and inherited by forked workers. The bundled relations are the result of
`read_relations`, written by `scripts/build_wordnet_table.py`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hf_bat.errors import HfBatError

BUNDLED = Path(__file__).parent / "data" / "wordnet-3.0.json.gz"
# Version of the layout of the bundled file.
VERSION = 1
SUFFIXES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
POSITIONS = tuple(SUFFIXES)
FILES = (
    *(f"data.{suffix}" for suffix in SUFFIXES.values()),
    *(f"index.{suffix}" for suffix in SUFFIXES.values()),
    *(f"{suffix}.exc" for suffix in SUFFIXES.values()),
    "index.sense",
)
# WordNet's rules of detachment (morphy(7WN)): ending of a form, and its replacement in the base form.
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
        number: Index among WordNet's synsets.
        pos: Part of speech: "n", "v", "a", "s" (a satellite adjective) or "r".
        lemmas: The lemmas as WordNet spells them (`Heaven`, `ice_cream`).

    Example:
        >>> load_wordnet().synsets("automobile")[0].lemmas
        ('car', 'auto', 'automobile', 'machine', 'motorcar')
    """

    number: int
    pos: str
    lemmas: tuple[str, ...]


class WordNet:
    """WordNet's relations, with the look-ups of NLTK.

    A part of speech (`pos`) is "n", "v", "a" or "r". A lemma is a base form in lower case; `_` joins
    the parts of a collocation.

    Args:
        relations: The result of `read_relations`.
        source: Name of the source, for the record.

    Example:
        >>> wordnet = load_wordnet()
        >>> wordnet.morphy("children", "n"), sorted(wordnet.parts_of_speech("dogs"))
        (['child'], ['n', 'v'])
        >>> wordnet.antonyms(wordnet.synsets("hired")[0])
        {'hire': ('fire',)}
    """

    def __init__(self, relations: dict[str, Any], source: str) -> None:
        self.source = source
        self.version: str = relations["wordnet"]
        self.sha256: str = relations["sha256"]
        self.exceptions: dict[str, dict[str, list[str]]] = relations["exceptions"]
        self._synsets: list[str] = relations["synsets"]
        self._counts: dict[str, dict[str, list[int]]] = relations["counts"]
        self._parents: list[list[int]] = relations["parents"]
        # pos -> lemma -> synsets: one sense follows from the synsets, several have an order.
        self._index: dict[str, dict[str, Any]] = {pos: {} for pos in POSITIONS}
        for number, line in enumerate(self._synsets):
            pos, *lemmas = line.lower().split(" ")
            entries = self._index["a" if pos == "s" else pos]
            for lemma in lemmas:
                entries[lemma] = (number,)
        for pos, several in relations["senses"].items():
            self._index[pos].update(several)
        self._antonyms: dict[int, list[tuple[int, int, int]]] = {}
        for number, place, target, target_place in relations["antonyms"]:
            self._antonyms.setdefault(number, []).append((place, target, target_place))

    def synset(self, number: int) -> Synset:
        """Return the synset of a number."""
        pos, *lemmas = self._synsets[number].split(" ")
        return Synset(number, pos, tuple(lemmas))

    def lemmas(self, pos: str) -> list[str]:
        """Return every lemma of a part of speech, in the order of its first synset."""
        return list(self._index[pos])

    def morphy(self, word: str, pos: str) -> list[str]:
        """Return the base forms of a lower-case word: itself first, then by exception or detachment.

        Example:
            >>> load_wordnet().morphy("leaves", "n")
            ['leaf', 'leave']
        """
        forms = self.exceptions[pos].get(word)
        if forms is None:
            forms = [
                word[: -len(ending)] + base
                for ending, base in DETACHMENTS[pos]
                if word.endswith(ending)
            ]
        index = self._index[pos]
        return [form for form in dict.fromkeys([word, *forms]) if form in index]

    def senses(self, lemma: str, pos: str) -> list[int]:
        """Return the numbers of a lemma's synsets, most frequent first; none for an unknown word."""
        return list(self._index[pos].get(lemma, ()))

    def sense_counts(self, lemma: str, pos: str) -> list[int]:
        """Return how often each of a lemma's `senses` was tagged in WordNet's texts."""
        counts = self._counts[pos].get(lemma, [])
        return counts + [0] * (len(self._index[pos].get(lemma, ())) - len(counts))

    def synsets(self, word: str, pos: str | None = None) -> list[Synset]:
        """Return the synsets of a word and its base forms, ordered as `nltk.corpus.wordnet` does.

        Args:
            word: A word in any case, inflected or not.
            pos: Part of speech. If `None`, all four in turn.
        """
        word = word.lower()
        return [
            self.synset(number)
            for part in ((pos,) if pos else POSITIONS)
            for form in self.morphy(word, part)
            for number in self._index[part][form]
        ]

    def antonyms(self, synset: Synset | int) -> dict[str, tuple[str, ...]]:
        """Return lemma -> antonyms of the lemmas of a synset (or its number), in WordNet's order."""
        number = synset if isinstance(synset, int) else synset.number
        antonyms: dict[str, tuple[str, ...]] = {}
        lemmas = self.synset(number).lemmas
        for place, target, target_place in self._antonyms.get(number, ()):
            opposite = self.synset(target).lemmas[target_place]
            antonyms[lemmas[place]] = (*antonyms.get(lemmas[place], ()), opposite)
        return antonyms

    def synsets_with_antonyms(self) -> list[Synset]:
        """Return every synset that has a lemma with an antonym."""
        return [self.synset(number) for number in sorted(self._antonyms)]

    def parts_of_speech(self, word: str) -> frozenset[str]:
        """Return the possible parts of speech of a word in any case, inflected or not.

        Example:
            >>> sorted(load_wordnet().parts_of_speech("quickly"))
            ['r']
        """
        word = word.lower()
        return frozenset(pos for pos in POSITIONS if self.morphy(word, pos))

    def parents(self, number: int) -> list[int]:
        """Return the numbers of the synsets directly above one: hypernyms, or a satellite's head."""
        return list(self._parents[number])


@lru_cache(maxsize=2)
def load_wordnet(source: str = "bundled") -> WordNet:
    """Load WordNet's relations, once per process.

    Args:
        source: `"bundled"`, the WordNet 3.0 relations of this package, or `"nltk"`, the WordNet that
            NLTK has downloaded (its files are read into memory; NLTK's reader is not used). Defaults
            to `"bundled"`.

    Returns:
        The relations with their look-ups, the same object each time.

    Raises:
        HfBatError: If the source is unknown or NLTK's data is missing.

    Example:
        >>> load_wordnet().version
        '3.0'
    """
    if source == "bundled":
        return WordNet(json.loads(gzip.decompress(BUNDLED.read_bytes())), source)
    if source == "nltk":
        return WordNet(read_relations(_find_nltk_wordnet()), source)
    raise HfBatError(f"unknown WordNet source {source!r}; known: bundled, nltk")


def _find_nltk_wordnet() -> Path:
    import nltk.data

    for name in ("corpora/wordnet.zip", "corpora/wordnet"):
        try:
            return Path(str(nltk.data.find(name)))
        except LookupError:
            continue
    raise HfBatError(
        "NLTK's WordNet is not installed: run `python -m nltk.downloader wordnet`, set NLTK_DATA to "
        "its folder, or use the bundled WordNet"
    )


def read_relations(path: str | Path) -> dict[str, Any]:
    """Read the relations that hf_bat uses from WordNet's database files.

    Glosses, frames and the other pointers are left out.

    Args:
        path: A folder or zip file with the `FILES`, at any depth.

    Returns:
        Plain JSON:

        - `version` of this layout, `wordnet` (version of the database, such as "3.0") and `sha256` of
          the files.
        - `synsets`: a string each, `"<pos> <lemma> <lemma> ..."`, nouns, verbs, adjectives, adverbs,
          each in the order of its data file; the index is the synset's number.
        - `senses`: pos -> lemma -> synset numbers in sense order, of lemmas with several senses.
        - `counts`: pos -> lemma -> tag counts in sense order, without trailing zeros, if any is not 0.
        - `antonyms`: `[synset, lemma place, synset, lemma place]` in the order of the file.
        - `parents`: for each synset its hypernyms (nouns and verbs) or heads (satellites).
        - `exceptions`: pos -> irregular form -> base forms.

    Raises:
        HfBatError: If a file is missing or does not have WordNet's format.
    """
    path = Path(path)
    if not path.exists():
        raise HfBatError(f"WordNet database not found: {path}")
    try:
        return _read_relations(read_files(path))
    except (OSError, zipfile.BadZipFile, ValueError, IndexError, KeyError) as error:
        reason = error if isinstance(error, HfBatError) else f"{type(error).__name__}: {error}"
        raise HfBatError(f"{path}: not a WordNet database ({reason})") from error


def read_files(path: Path) -> dict[str, bytes]:
    """Return the content of each of the `FILES`, from a folder or zip file.

    Raises:
        HfBatError: If a file is missing.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = {Path(name).name: name for name in archive.namelist()}
            content = {file: archive.read(names[file]) for file in FILES if file in names}
    else:
        paths = {file.name: file for file in path.rglob("*") if file.name in FILES}
        content = {file: paths[file].read_bytes() for file in FILES if file in paths}
    for file in FILES:
        if file not in content:
            raise HfBatError(f"it has no file {file!r}")
    return content


def _read_relations(content: dict[str, bytes]) -> dict[str, Any]:
    texts = {file: data.decode("utf-8") for file, data in content.items()}
    hashes = [
        f"{hashlib.sha256(data).hexdigest()}  {file}" for file, data in sorted(content.items())
    ]
    version = re.search(r"WordNet (\d[\d.]*)", texts["data.adj"])

    def read_lines(file: str) -> Iterator[str]:
        # The license at the top of every file is indented.
        return (line for line in texts[file].split("\n") if line and line[0] != " ")

    synsets: list[str] = []
    numbers: dict[tuple[str, str], int] = {}
    pointers: list[list[str]] = []
    for pos, suffix in SUFFIXES.items():
        for line in read_lines(f"data.{suffix}"):
            fields = line.partition("|")[0].split()
            count = int(fields[3], 16)
            lemmas = [name.partition("(")[0] for name in fields[4 : 4 + 2 * count : 2]]
            numbers[pos, fields[0]] = len(synsets)
            synsets.append(" ".join([fields[2], *lemmas]))
            start = 5 + 2 * count
            pointers.append(fields[start : start + 4 * int(fields[start - 1])])
    antonyms: list[list[int]] = []
    parents: list[list[int]] = []
    for number, fields in enumerate(pointers):
        upward = ("&",) if synsets[number][0] == "s" else ("@", "@i")
        above: list[int] = []
        for place in range(0, len(fields), 4):
            symbol, offset, pos, ends = fields[place : place + 4]
            if symbol == "!":
                target = numbers[pos.replace("s", "a"), offset]
                antonyms.append([number, int(ends[:2], 16) - 1, target, int(ends[2:], 16) - 1])
            elif symbol in upward:
                above.append(numbers[pos.replace("s", "a"), offset])
        parents.append(sorted(above))
    senses: dict[str, dict[str, list[int]]] = {pos: {} for pos in SUFFIXES}
    exceptions: dict[str, dict[str, list[str]]] = {pos: {} for pos in SUFFIXES}
    counts: dict[str, dict[str, list[int]]] = {pos: {} for pos in SUFFIXES}
    for pos, suffix in SUFFIXES.items():
        for line in read_lines(f"index.{suffix}"):
            lemma, _, number_of_senses, *rest = line.split()
            if int(number_of_senses) > 1:
                offsets = rest[-int(number_of_senses) :]
                senses[pos][lemma] = [numbers[pos, offset] for offset in offsets]
        for line in read_lines(f"{suffix}.exc"):
            form, *bases = line.split()
            exceptions[pos][form] = bases
    letters = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
    for line in read_lines("index.sense"):
        key, _, sense, tagged = line.split()
        if tagged != "0":
            lemma, _, rest_of_key = key.partition("%")
            listed = counts[letters[rest_of_key[0]]].setdefault(lemma, [])
            listed.extend([0] * (int(sense) - len(listed)))
            listed[int(sense) - 1] = int(tagged)
    return {
        "version": VERSION,
        "wordnet": version[1] if version else "unknown",
        "synsets": synsets,
        "senses": senses,
        "counts": counts,
        "antonyms": antonyms,
        "parents": parents,
        "exceptions": exceptions,
        "sha256": hashlib.sha256("\n".join(hashes).encode()).hexdigest(),
    }
