"""Build synonyms from word vectors, with the procedure of the paper's tables or of the paper's text.

Vectors are read from text files (GloVe, word2vec's text format or counter-fitted), optionally gzipped.
"""

from __future__ import annotations

import codecs
import gzip
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from hf_bat.console import open_bar, track
from hf_bat.errors import HfBatError, check_choice
from hf_bat.files import hash_file
from hf_bat.lexicon.table import SubstitutionTable
from hf_bat.lexicon.vocabulary import Vocabulary

PROCEDURES = ("components", "topk")
# Number of rows of a product that are in memory at once.
_BLOCK = 512
# Maximum number of bytes per line. 4,096 dimensions with 20 characters each are less than a tenth of it.
_MAX_LINE = 1 << 20
# Round similarities before comparing them. The summation order of a product depends on the block size, which
# must not affect thresholds or ties.
_DECIMALS = 9


def synonyms_from_vectors(
    path: str | os.PathLike[str],
    vocabulary: Vocabulary | Iterable[str],
    procedure: str = "components",
    threshold: float = 0.8,
    components_removed: int | None = None,
    max_size: int = 100,
) -> SubstitutionTable:
    """Build the synonyms of a vocabulary from a file of word vectors.

    Args:
        path: Text file with vectors (GloVe, word2vec's text format, counter-fitted), optionally gzipped.
        vocabulary: The result of `vocabulary_from_splits`, or words.
        procedure: `"components"` is the procedure that built the paper's tables (SAFER's; Ye et al. 2020).
            It normalizes the vectors, removes their mean and top principal components, and connects words
            if their dot product (not normalized again) exceeds the threshold. The set of a word is its
            entire connected component. `"topk"` follows the description in the paper: the nearest words
            with a cosine of at least the threshold. Defaults to `"components"`.
        threshold: See `procedure`. Defaults to 0.8.
        components_removed: Number of principal components to remove. The mean is also removed unless this
            is 0. If `None`, use 8 for `"components"` and 0 for `"topk"`.
        max_size: Maximum size of a set, including the word itself: 100 allows 99 replacements. Defaults to
            100.

    Returns:
        The table, with the nearest replacements first. Its metadata contains the options, the hash of the
        file, and the numbers of missing, repeated and skipped words.

    Raises:
        HfBatError: If the procedure is unknown, an option is out of range, or `read_vectors` raises.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "vectors.txt")
        ...     _ = path.write_text("big 1.0 0.0\\nlarge 0.9 0.1\\nred 0.0 1.0\\n", encoding="utf-8")
        ...     table = synonyms_from_vectors(path, ["big", "large", "red"], procedure="topk")
        >>> dict(table)
        {'big': ('large',), 'large': ('big',)}
    """
    check_choice("procedure", procedure, PROCEDURES)
    if components_removed is None:
        components_removed = 8 if procedure == "components" else 0
    if components_removed < 0 or max_size < 2:
        raise HfBatError(
            f"components_removed must be 0 or more and max_size 2 or more, got {components_removed} "
            f"and {max_size}"
        )
    if not isinstance(vocabulary, Vocabulary):
        vocabulary = Vocabulary(tuple(dict.fromkeys(vocabulary)))
    words, vectors, counts = read_vectors(path, vocabulary.words)
    matrix = _normalize(vectors)
    if components_removed:
        matrix = remove_components(matrix, components_removed)
        # "components" compares dot products of the remaining vectors, like SAFER's code.
        if procedure == "topk":
            matrix = _normalize(matrix)
    find = find_components if procedure == "components" else find_nearest
    table = {
        words[row]: [words[other] for other in others]
        for row, others in find(matrix, threshold, max_size - 1)
    }
    metadata: dict[str, Any] = {
        "kind": "synonyms",
        "built": "word vectors",
        "sources": {Path(path).name: hash_file(path)},
        "options": {
            "procedure": procedure,
            "threshold": threshold,
            "components_removed": components_removed,
            "max_size": max_size,
        },
        "vocabulary": vocabulary.metadata,
        "counts": counts,
    }
    return SubstitutionTable(table, metadata)


def read_vectors(
    path: str | os.PathLike[str], vocabulary: Iterable[str]
) -> tuple[list[str], np.ndarray, dict[str, int]]:
    """Read the vectors for the words in a vocabulary.

    Returns:
        The words that are in the file, in the order of the vocabulary; their vectors, as a float64 array with
        shape (words, dimensions); and a dict with the counts "words_missing" (not in the file),
        "lines_repeated" (only the first line of a word is used) and "vectors_skipped" (not finite, or all
        zero).

    Raises:
        HfBatError: If the file is missing or damaged, contains none of the words, or a line of a word has
            the wrong number of values or a value that is not a number.
    """
    path = Path(path)
    # Read the file as bytes, because decoding every line takes longer than looking up its word.
    wanted = {word.encode("utf-8", "surrogatepass"): word for word in vocabulary}
    if not wanted:
        raise HfBatError("the vocabulary is empty: there is nothing to look up in the vectors")
    vectors: dict[str, np.ndarray] = {}
    skipped: set[str] = set()
    repeated = dimensions = 0
    for number, line in _read_lines(path):
        if not dimensions:
            # word2vec files start with the number of words and the number of dimensions.
            is_header = number == 1 and re.fullmatch(rb"\d{1,12}\s+\d{1,9}", line) is not None
            dimensions = int(line.split()[1]) if is_header else len(line.split()) - 1
            if dimensions < 1:
                raise HfBatError(f"{path}, line {number}: expected a word and its numbers")
            if is_header:
                continue
        word = wanted.get(line.split(None, 1)[0])
        if word is None:
            continue
        parts = line.split()
        try:
            vector = np.array(parts[1:], dtype=np.float64)
        except ValueError as error:
            # In some GloVe files, "at the 0.1 ..." starts with a wanted word, but is a different entry.
            if len(parts) > dimensions + 1:
                continue
            raise HfBatError(f"{path}, line {number}: not a number ({error})") from error
        if len(vector) != dimensions:
            raise HfBatError(f"{path}, line {number}: {len(vector)} values, expected {dimensions}")
        if word in vectors or word in skipped:
            repeated += 1
        elif np.isfinite(vector).all() and vector.any():
            vectors[word] = vector
        else:
            skipped.add(word)
    if not vectors:
        raise HfBatError(
            f"none of the vocabulary's {len(wanted)} words has a vector in {path}: it must be a text "
            "file, not word2vec's binary format"
        )
    words = [word for word in wanted.values() if word in vectors]
    counts = {
        "words_missing": len(wanted) - len(vectors) - len(skipped),
        "lines_repeated": repeated,
        "vectors_skipped": len(skipped),
    }
    return words, np.stack([vectors[word] for word in words]), counts


def _read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line) for all lines that are not blank, without line ends."""
    try:
        with open(path, "rb") as raw:
            is_gzip = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw) if is_gzip else raw)
            size = path.stat().st_size
            with open_bar(
                size, f"reading {path.name}", "B", unit_scale=True, delay=2, leave=False
            ) as bar:
                lines = iter(partial(stream.readline, _MAX_LINE), b"")
                for number, line in enumerate(lines, start=1):
                    # A small gzip file can contain a single line of any length.
                    if len(line) == _MAX_LINE:
                        raise HfBatError(
                            f"{path}, line {number}: longer than {_MAX_LINE:,} bytes; not word vectors"
                        )
                    # Count compressed bytes, because the size of the text is unknown.
                    if number % 10_000 == 0:
                        bar.update(raw.tell() - bar.n)
                    if number == 1:
                        line = line.removeprefix(codecs.BOM_UTF8)
                    line = line.strip(b" \t\r\n")
                    if line:
                        yield number, line
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise HfBatError(f"cannot read the vectors {path}: {reason}") from error


def remove_components(matrix: np.ndarray, count: int) -> np.ndarray:
    """Remove the mean and the top principal components of vectors (Mu and Viswanath 2018)."""
    centered = matrix - matrix.mean(axis=0)
    _, directions = np.linalg.eigh(centered.T @ centered)
    top = directions[:, max(0, directions.shape[1] - count) :]
    return centered - (centered @ top) @ top.T


def find_nearest(
    matrix: np.ndarray, threshold: float, limit: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (row, neighbors) with at most `limit` neighbors per row, nearest first.

    The dot product of a row and its neighbors is at least `threshold`.
    """
    for start in track(range(0, len(matrix), _BLOCK), "finding neighbors", "block"):
        products = matrix[start : start + _BLOCK] @ matrix.T
        for offset, similarities in enumerate(products):
            similarities[start + offset] = -np.inf  # a word is not its own neighbor
            # Only round products near or above the threshold, because rounding all products is slow.
            others = np.flatnonzero(similarities >= threshold - 10.0**-_DECIMALS)
            values = np.round(similarities[others], _DECIMALS)
            others, values = others[values >= threshold], values[values >= threshold]
            if len(others):
                yield start + offset, _cut(others, values, limit)


def find_components(
    matrix: np.ndarray, threshold: float, limit: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (row, neighbors) with at most `limit` neighbors from the same component, nearest first.

    Two rows are connected if their dot product exceeds `threshold`.
    """
    labels = _label_components(matrix, threshold)
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    for members in np.split(order, starts[1:]):
        if len(members) < 2:
            continue
        for start in range(0, len(members), _BLOCK):
            rows = members[start : start + _BLOCK]
            products = np.round(matrix[rows] @ matrix[members].T, _DECIMALS)
            for offset, (row, similarities) in enumerate(zip(rows, products, strict=True)):
                similarities[start + offset] = -np.inf
                everyone = np.arange(len(members))
                yield int(row), members[_cut(everyone, similarities, min(limit, len(members) - 1))]


def _label_components(matrix: np.ndarray, threshold: float) -> np.ndarray:
    """Return the component number of each row. Components are numbered in the order of their first rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    labels = np.arange(len(matrix))
    for start in track(range(0, len(matrix), _BLOCK), "joining words", "block"):
        # The product is symmetric, so only compute one half.
        products = matrix[start : start + _BLOCK] @ matrix[start:].T
        rows, columns = np.nonzero(products > threshold - 10.0**-_DECIMALS)
        joined = np.round(products[rows, columns], _DECIMALS) > threshold
        edges = labels[rows[joined] + start], labels[columns[joined] + start]
        graph = coo_array((np.ones(len(edges[0]), bool), edges), shape=(len(labels), len(labels)))
        # Connect the rows block by block, because all edges may not fit into memory at once.
        labels = connected_components(graph, directed=False)[1][labels]
    return labels


def _cut(others: np.ndarray, similarities: np.ndarray, limit: int) -> np.ndarray:
    """Return at most `limit` of the rows, sorted by decreasing similarity."""
    if len(others) > limit:
        least = np.partition(similarities, -limit)[-limit]
        kept = similarities >= least
        others, similarities = others[kept], similarities[kept]
    return others[np.argsort(-similarities, kind="stable")[:limit]]


def _normalize(matrix: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    # A zero vector is not changed, so it is not similar to any vector.
    return matrix / np.where(lengths > 0, lengths, 1.0)
