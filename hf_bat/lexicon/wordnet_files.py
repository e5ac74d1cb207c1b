"""Reads WordNet's own database files into one compact structure of plain lists.

The bundled relations are such a structure, written once by `scripts/build_wordnet_table.py`; the same
reader serves a WordNet that NLTK has downloaded. Glosses, frames and the other pointers are left out.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from hf_bat.errors import HfBatError

VERSION = 1
SUFFIXES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}

Relations: TypeAlias = dict[str, Any]
"""What `read_relations` returns; every part is plain JSON:

- `version`: of this layout; `wordnet`: the WordNet's own, such as "3.0"; `sha256`: of the files read.
- `synsets`: one string each, `"<pos> <lemma> <lemma> ..."`, nouns, verbs, adjectives, adverbs, each in
  the order of its data file; a synset's number is its place here. `pos` is n, v, a, s (satellite) or r.
- `senses`: pos -> lower-case lemma -> synset numbers in sense order, only where there are several
  senses (one sense follows from `synsets`).
- `counts`: pos -> lemma -> tag counts in sense order, without trailing zeros, only where not all zero.
- `antonyms`: `[synset, lemma place, synset, lemma place]` in the file's order.
- `parents`: synset -> its hypernyms (nouns and verbs) or the heads it is similar to (satellites), as a
  list of lists parallel to `synsets`.
- `exceptions`: pos -> irregular form -> base forms.
"""


class _Folder:
    """The database files, from a folder or a zip file that holds them at any depth."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else None
        names = (
            self._zip.namelist() if self._zip else [str(p) for p in path.rglob("*") if p.is_file()]
        )
        self._names = {Path(name).name: name for name in names}
        self._hashes: dict[str, str] = {}

    def read(self, name: str) -> str:
        if name not in self._names:
            raise HfBatError(f"not a WordNet database: it has no file {name!r}")
        path = self._names[name]
        data = self._zip.read(path) if self._zip else Path(path).read_bytes()
        self._hashes[name] = hashlib.sha256(data).hexdigest()
        return data.decode("utf-8")

    def sha256(self) -> str:
        """One hash of all the files read so far."""
        listed = "\n".join(f"{value}  {name}" for name, value in sorted(self._hashes.items()))
        return hashlib.sha256(listed.encode()).hexdigest()

    def lines(self, name: str) -> Iterator[str]:
        # The licence, at the top of every file, is indented.
        return (line for line in self.read(name).split("\n") if line and line[0] != " ")

    def version(self) -> str:
        """The version that the licence in data.adj names."""
        found = re.search(r"WordNet (\d[\d.]*)", self.read("data.adj"))
        return found[1] if found else "unknown"


def read_relations(path: str | Path) -> Relations:
    """Read the relations that hf_bat uses from WordNet's database files.

    Args:
        path: a folder or zip file with `data.*`, `index.*`, `*.exc` and, for the tag counts,
            `index.sense`.

    Returns:
        The structure described at `Relations`.

    Raises:
        HfBatError: a file is missing or not as WordNet's format says.
    """
    path = Path(path)
    if not path.exists():
        raise HfBatError(f"WordNet database not found: {path}")
    try:
        return _read(_Folder(path))
    except (
        OSError,
        UnicodeDecodeError,
        zipfile.BadZipFile,
        ValueError,
        IndexError,
        KeyError,
    ) as error:
        if isinstance(error, HfBatError):
            raise HfBatError(f"{path}: {error}") from error
        raise HfBatError(
            f"{path}: not a WordNet database ({type(error).__name__}: {error})"
        ) from error


def _read(folder: _Folder) -> Relations:
    synsets: list[str] = []
    numbers: dict[tuple[str, str], int] = {}
    pointers: list[list[str]] = []
    for pos, suffix in SUFFIXES.items():
        for line in folder.lines(f"data.{suffix}"):
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
        found: list[int] = []
        for place in range(0, len(fields), 4):
            symbol, offset, pos, ends = fields[place : place + 4]
            if symbol == "!":
                target = numbers[pos.replace("s", "a"), offset]
                antonyms.append([number, int(ends[:2], 16) - 1, target, int(ends[2:], 16) - 1])
            elif symbol in upward:
                found.append(numbers[pos.replace("s", "a"), offset])
        parents.append(sorted(found))
    relations: Relations = {
        "version": VERSION,
        "wordnet": folder.version(),
        "synsets": synsets,
        "senses": _read_senses(folder, numbers),
        "counts": _read_counts(folder),
        "antonyms": antonyms,
        "parents": parents,
        "exceptions": {
            pos: {line.split()[0]: line.split()[1:] for line in folder.lines(f"{suffix}.exc")}
            for pos, suffix in SUFFIXES.items()
        },
    }
    return {**relations, "sha256": folder.sha256()}


def _read_senses(
    folder: _Folder, numbers: dict[tuple[str, str], int]
) -> dict[str, dict[str, list[int]]]:
    senses: dict[str, dict[str, list[int]]] = {}
    for pos, suffix in SUFFIXES.items():
        several = senses.setdefault(pos, {})
        for line in folder.lines(f"index.{suffix}"):
            fields = line.split()
            count = int(fields[2])
            if count > 1:
                several[fields[0]] = [numbers[pos, offset] for offset in fields[-count:]]
    return senses


def _read_counts(folder: _Folder) -> dict[str, dict[str, list[int]]]:
    letters = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
    counts: dict[str, dict[str, list[int]]] = {pos: {} for pos in SUFFIXES}
    for line in folder.lines("index.sense"):
        key, _, sense, count = line.split()
        if count != "0":
            lemma, _, rest = key.partition("%")
            listed = counts[letters[rest[0]]].setdefault(lemma, [])
            listed.extend([0] * (int(sense) - len(listed)))
            listed[int(sense) - 1] = int(count)
    return counts


def read_licence(path: str | Path) -> str:
    """WordNet's licence, which its files carry at their top, without the line numbers.

    Raises:
        HfBatError: there is no such database, or it states no licence.
    """
    text = _Folder(Path(path)).read("data.noun")
    lines = [line.strip().partition(" ") for line in text.split("\n", 60) if line.startswith("  ")]
    if not lines:
        raise HfBatError(f"{path}: data.noun states no licence")
    return "\n".join(line.strip() for _, _, line in lines).strip() + "\n"
