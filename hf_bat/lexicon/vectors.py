"""Reading word vectors from text files: GloVe, word2vec's text form, counter-fitted; gzipped or not."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from hf_bat.console import progress
from hf_bat.errors import HfBatError

_CHUNK = 1 << 24


class WordVectors(NamedTuple):
    """The vectors of a vocabulary's words.

    Attributes:
        words: those that the file has, in the vocabulary's order.
        matrix: float64, (words, dimensions).
        report: counts: "words_missing" from the file, "lines_repeated" (the first counts) and
            "vectors_skipped" (not finite, or all zero); "sha256" of the file.
    """

    words: list[str]
    matrix: np.ndarray
    report: dict[str, int | str]


def read_vectors(path: str | os.PathLike[str], vocabulary: Iterable[str]) -> WordVectors:
    """Read the vectors of a vocabulary's words.

    A line is a word and its numbers, separated by spaces; a first line of two whole numbers, as
    word2vec writes, is skipped. Words are looked up as they are spelt.

    Args:
        path: the file; gzip is recognised by content.
        vocabulary: the words wanted.

    Raises:
        HfBatError: the file is missing or damaged, a wanted line has another number of values or a
            value that is no number (with its line number), or no wanted word is in it.
    """
    path = Path(path)
    wanted = {word.encode("utf-8", "surrogatepass"): word for word in vocabulary}
    if not wanted:
        raise HfBatError("the vocabulary is empty: there is nothing to look up in the vectors")
    found: dict[str, np.ndarray] = {}
    skipped: set[str] = set()
    repeated = 0
    dimensions = 0
    for number, line in _lines(path):
        if not dimensions:
            dimensions = _dimensions(path, number, line)
            if number == 1 and _is_header(line):
                continue
        word = wanted.get(line.split(None, 1)[0])
        if word is None or _is_longer_entry(line, dimensions):
            continue
        if word in found or word in skipped:
            repeated += 1
            continue
        vector = _parse(path, number, line, dimensions)
        if np.isfinite(vector).all() and vector.any():
            found[word] = vector
        else:
            skipped.add(word)
    if not found:
        raise HfBatError(
            f"none of the vocabulary's {len(wanted)} words has a vector in {path} "
            "(it must be a text file; word2vec's binary form is not read)"
        )
    words = [word for word in wanted.values() if word in found]
    report: dict[str, int | str] = {
        "words_missing": len(wanted) - len(found) - len(skipped),
        "lines_repeated": repeated,
        "vectors_skipped": len(skipped),
        "sha256": _sha256(path),
    }
    return WordVectors(words, np.stack([found[word] for word in words]), report)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines without their ends, blank ones left out; with progress on a terminal."""
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw) if packed else raw)
            size = path.stat().st_size
            with progress(
                size, f"reading {path.name}", "B", unit_scale=True, delay=2, leave=False
            ) as bar:
                for number, line in enumerate(stream, start=1):
                    if number % 10_000 == 0:
                        bar.update(raw.tell() - bar.n)
                    line = line.strip(b" \t\r\n")
                    if line:
                        yield number, line
    except FileNotFoundError as error:
        raise HfBatError(f"vector file not found: {path}") from error
    except IsADirectoryError as error:
        raise HfBatError(f"a vector file is one file, and {path} is a directory") from error
    except (OSError, EOFError) as error:
        raise HfBatError(f"cannot read the vectors {path}: {error}") from error


def _is_header(line: bytes) -> bool:
    parts = line.split()
    return len(parts) == 2 and all(part.isdigit() for part in parts)


def _dimensions(path: Path, number: int, line: bytes) -> int:
    if number == 1 and _is_header(line):
        return int(line.split()[1])
    count = len(line.split()) - 1
    if count < 1:
        raise HfBatError(f"{path}, line {number}: expected a word and its numbers")
    return count


def _is_longer_entry(line: bytes, dimensions: int) -> bool:
    """Whether a line is of an entry with spaces in it ("at the", in some GloVe files)."""
    second = line.rsplit(None, dimensions)[0].split()[1:2]
    return bool(second) and not _is_number(second[0])


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse(path: Path, number: int, line: bytes, dimensions: int) -> np.ndarray:
    try:
        vector = np.array(line.split()[1:], dtype=np.float64)
    except ValueError as error:
        raise HfBatError(
            f"{path}, line {number}: not a number among the values ({error})"
        ) from error
    if len(vector) != dimensions:
        raise HfBatError(f"{path}, line {number}: {len(vector)} values, expected {dimensions}")
    return vector


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
