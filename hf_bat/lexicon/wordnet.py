"""WordNet's relations in memory, and lookups by inflected form.

All data is in memory, and no files are opened later. Objects can therefore be shared by threads and inherited
by forked workers. `scripts/build_wordnet_table.py` writes the bundled relations and documents them.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hf_bat.errors import HfBatError, check_choice, import_extra

BUNDLED = Path(__file__).parent / "data" / "wordnet-3.0.json.gz"
SUFFIXES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
POSITIONS = tuple(SUFFIXES)
FILES = (
    *(f"data.{suffix}" for suffix in SUFFIXES.values()),
    *(f"index.{suffix}" for suffix in SUFFIXES.values()),
    *(f"{suffix}.exc" for suffix in SUFFIXES.values()),
    "index.sense",
)
# WordNet's rules of detachment (morphy(7WN)): the ending of a form, and its replacement in the base form.
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
    """A set of lemmas with the same sense.

    Attributes:
        number: Index in WordNet's synsets.
        pos: Part of speech: "n", "v", "a", "s" (a satellite adjective) or "r".
        lemmas: The lemmas in WordNet's spelling (`Heaven`, `ice_cream`).
    """

    number: int
    pos: str
    lemmas: tuple[str, ...]


class WordNet:
    """WordNet's relations, with the same lookups as NLTK.

    A part of speech (`pos`) is "n", "v", "a" or "r". A lemma is a base form in lower case. The parts of a
    collocation are joined with `_`.

    Args:
        relations: The content of the bundled file.
        source: Name of the source, which is recorded in tables.

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
        # Maps each pos and lemma to synsets. The file only stores lemmas with several senses, because only
        # these have an order.
        self._index: dict[str, dict[str, Any]] = {pos: {} for pos in POSITIONS}
        for number, line in enumerate(self._synsets):
            pos, *lemmas = line.lower().split(" ")
            # Satellite adjectives are looked up as adjectives.
            entries = self._index["a" if pos == "s" else pos]
            for lemma in lemmas:
                entries[lemma] = (number,)
        for pos, several in relations["senses"].items():
            self._index[pos].update(several)
        self._antonyms: dict[int, list[tuple[int, int, int]]] = {}
        # Antonyms are relations between lemmas, which are identified by their positions in the synsets.
        for number, place, target, target_place in relations["antonyms"]:
            self._antonyms.setdefault(number, []).append((place, target, target_place))

    def synset(self, number: int) -> Synset:
        """Return the synset with the given number."""
        pos, *lemmas = self._synsets[number].split(" ")
        return Synset(number, pos, tuple(lemmas))

    def lemmas(self, pos: str) -> list[str]:
        """Return all lemmas of a part of speech, ordered by their first synset."""
        return list(self._index[pos])

    def morphy(self, word: str, pos: str) -> list[str]:
        """Return the base forms of a lower-case word: the word itself, then exceptions or detachments.

        Example:
            >>> load_wordnet().morphy("leaves", "n")
            ['leaf', 'leave']
        """
        # Exceptions replace the rules. For example, no rule derives "stop" from "stopped".
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
        """Return the synset numbers of a lemma, most frequent first, or an empty list if unknown."""
        return list(self._index[pos].get(lemma, ()))

    def sense_counts(self, lemma: str, pos: str) -> list[int]:
        """Return how often each sense in `senses` of a lemma was tagged in WordNet's texts."""
        counts = self._counts[pos].get(lemma, [])
        # Trailing zeros are not stored.
        return counts + [0] * (len(self._index[pos].get(lemma, ())) - len(counts))

    def synsets(self, word: str, pos: str | None = None) -> list[Synset]:
        """Return the synsets of a word and its base forms, in the same order as `nltk.corpus.wordnet`.

        Args:
            word: A word in any case, which may be inflected.
            pos: Part of speech. If `None`, use all four in turn.
        """
        word = word.lower()
        return [
            self.synset(number)
            for part in ((pos,) if pos else POSITIONS)
            for form in self.morphy(word, part)
            for number in self._index[part][form]
        ]

    def antonyms(self, synset: Synset | int) -> dict[str, tuple[str, ...]]:
        """Map the lemmas of a synset (or its number) to their antonyms, in WordNet's order."""
        number = synset if isinstance(synset, int) else synset.number
        antonyms: dict[str, tuple[str, ...]] = {}
        lemmas = self.synset(number).lemmas
        for place, target, target_place in self._antonyms.get(number, ()):
            opposite = self.synset(target).lemmas[target_place]
            antonyms[lemmas[place]] = (*antonyms.get(lemmas[place], ()), opposite)
        return antonyms

    def synsets_with_antonyms(self) -> list[Synset]:
        """Return all synsets with a lemma that has an antonym."""
        return [self.synset(number) for number in sorted(self._antonyms)]

    def parts_of_speech(self, word: str) -> frozenset[str]:
        """Return the possible parts of speech of the word, which may be in any case and inflected."""
        word = word.lower()
        return frozenset(pos for pos in POSITIONS if self.morphy(word, pos))

    def parents(self, number: int) -> list[int]:
        """Return the numbers of the synsets directly above a synset: hypernyms, or a satellite's head."""
        return list(self._parents[number])


@lru_cache(maxsize=2)
def load_wordnet(source: str = "bundled") -> WordNet:
    """Return WordNet 3.0's relations, loaded once per process.

    Args:
        source: `"bundled"` uses the relations in this package. `"nltk"` also uses them, but first checks that
            the WordNet downloaded by NLTK is the same version. Defaults to `"bundled"`.

    Raises:
        HfBatError: If the source is unknown, or NLTK's WordNet is missing or has a different version.

    Example:
        >>> load_wordnet().version
        '3.0'
    """
    check_choice("WordNet source", source, ("bundled", "nltk"))
    relations = json.loads(gzip.decompress(BUNDLED.read_bytes()))
    if source == "nltk":
        path = _find_nltk_wordnet()
        if hash_files(read_files(path)) != relations["sha256"]:
            raise HfBatError(
                f"{path} is not WordNet {relations['wordnet']}: use the bundled WordNet"
            )
    return WordNet(relations, source)


def _find_nltk_wordnet() -> Path:
    data = import_extra("nltk.data", "nltk")
    # The downloader stores a zip file, but some packages unpack it.
    for name in ("corpora/wordnet.zip", "corpora/wordnet"):
        try:
            return Path(str(data.find(name)))
        except LookupError:
            continue
    raise HfBatError(
        "NLTK's WordNet is not installed: run `python -m nltk.downloader wordnet`, set NLTK_DATA to "
        "its folder, or use the bundled WordNet"
    )


def read_files(path: Path) -> dict[str, bytes]:
    """Read WordNet's database files with its relations from a folder or a zip file."""
    try:
        if path.is_dir():
            content = {
                file.name: file.read_bytes() for file in path.rglob("*") if file.name in FILES
            }
        else:
            with zipfile.ZipFile(path) as archive:
                # The files may be in a folder inside the zip file.
                names = {Path(name).name: name for name in archive.namelist()}
                content = {file: archive.read(names[file]) for file in FILES if file in names}
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise HfBatError(f"cannot read the WordNet database {path}: {error}") from error
    for file in FILES:
        if file not in content:
            raise HfBatError(f"{path} is not a WordNet database: it has no file {file!r}")
    return content


def hash_files(content: dict[str, bytes]) -> str:
    """Return a single SHA-256 (hex) of all files."""
    # Use the output format of `sha256sum`, so the hash can be checked in a shell.
    hashes = [
        f"{hashlib.sha256(data).hexdigest()}  {file}" for file, data in sorted(content.items())
    ]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
