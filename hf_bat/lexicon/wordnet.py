"""WordNet's relations in memory, and look-ups by inflected form.

Everything is in memory and no file is opened later, so an object may be shared by threads and inherited
by forked workers. `scripts/build_wordnet_table.py` writes the bundled relations and describes them.
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
    """

    number: int
    pos: str
    lemmas: tuple[str, ...]


class WordNet:
    """WordNet's relations, with the look-ups of NLTK.

    A part of speech (`pos`) is "n", "v", "a" or "r". A lemma is a base form in lower case; `_` joins
    the parts of a collocation.

    Args:
        relations: The content of the bundled file.
        source: Name of the source; tables record it.

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
        # pos -> lemma -> synsets. Only lemmas with several senses are stored, because these have an order.
        self._index: dict[str, dict[str, Any]] = {pos: {} for pos in POSITIONS}
        for number, line in enumerate(self._synsets):
            pos, *lemmas = line.lower().split(" ")
            # Satellites are looked up as adjectives.
            entries = self._index["a" if pos == "s" else pos]
            for lemma in lemmas:
                entries[lemma] = (number,)
        for pos, several in relations["senses"].items():
            self._index[pos].update(several)
        self._antonyms: dict[int, list[tuple[int, int, int]]] = {}
        # Antonyms are relations of lemmas, given by their places in the synsets.
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
        # Exceptions replace the rules: no rule takes "stopped" to "stop".
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
        # Trailing zeros are not stored.
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
        """Return the possible parts of speech of a word in any case, inflected or not."""
        word = word.lower()
        return frozenset(pos for pos in POSITIONS if self.morphy(word, pos))

    def parents(self, number: int) -> list[int]:
        """Return the numbers of the synsets directly above one: hypernyms, or a satellite's head."""
        return list(self._parents[number])


@lru_cache(maxsize=2)
def load_wordnet(source: str = "bundled") -> WordNet:
    """Return WordNet 3.0's relations, loaded once per process.

    Args:
        source: `"bundled"`, the relations in this package, or `"nltk"`, the same after a check that NLTK
            has downloaded the WordNet that they come from. Defaults to `"bundled"`.

    Raises:
        HfBatError: If the source is unknown, or NLTK's WordNet is missing or another version.

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
    # The downloader leaves a zip, some packages unpack it.
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
    """Read WordNet's database files that hold its relations, from a folder or zip file."""
    try:
        if path.is_dir():
            content = {
                file.name: file.read_bytes() for file in path.rglob("*") if file.name in FILES
            }
        else:
            with zipfile.ZipFile(path) as archive:
                # The files may be in a folder of the zip.
                names = {Path(name).name: name for name in archive.namelist()}
                content = {file: archive.read(names[file]) for file in FILES if file in names}
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise HfBatError(f"cannot read the WordNet database {path}: {error}") from error
    for file in FILES:
        if file not in content:
            raise HfBatError(f"{path} is not a WordNet database: it has no file {file!r}")
    return content


def hash_files(content: dict[str, bytes]) -> str:
    """Return one SHA-256 (hex) of all files."""
    # As `sha256sum` prints them, so that a shell can check the hash.
    hashes = [
        f"{hashlib.sha256(data).hexdigest()}  {file}" for file, data in sorted(content.items())
    ]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
