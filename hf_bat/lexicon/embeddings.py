"""Synonyms from word vectors: the procedure that made the paper's tables, and the one it describes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hf_bat.console import counted
from hf_bat.errors import HfBatError
from hf_bat.lexicon.table import SubstitutionTable
from hf_bat.lexicon.vectors import read_vectors
from hf_bat.lexicon.vocabulary import Vocabulary

PROCEDURES = ("components", "topk")
_BLOCK = 512
# Similarities are compared after rounding, so that the order in which a product is summed, which
# depends on the size of the blocks, decides neither a threshold nor a tie.
_DECIMALS = 9


def synonyms_from_vectors(
    path: str | os.PathLike[str],
    vocabulary: Vocabulary | Iterable[str],
    procedure: str = "components",
    threshold: float = 0.8,
    components_removed: int | None = None,
    max_size: int = 100,
) -> SubstitutionTable:
    """Build synonyms of a vocabulary from a file of word vectors.

    Args:
        path: a text file of vectors (GloVe, word2vec's text form, counter-fitted), gzipped or not.
        vocabulary: what `vocabulary_from_splits` returns, or just words.
        procedure: "components", which made the tables of the paper (SAFER's; Ye et al. 2020): vectors
            are made unit length, their mean and top principal components are removed, words whose
            dot product (not re-normalised) exceeds the threshold are joined, and a word's set is its
            whole connected component; or "topk", which the paper describes: the nearest words
            with a cosine of at least the threshold.
        threshold: see `procedure`.
        components_removed: how many principal components (and with any, the mean) to remove; where
            None, 8 for "components" and 0 for "topk".
        max_size: the largest set, the word itself counted: 99 replacements where it is 100.

    Returns:
        The table, nearest first; its metadata has the options, the file's hash and the counts of
        words that were missing, repeated or skipped.

    Raises:
        HfBatError: an unknown procedure, an option out of range, or what `read_vectors` raises.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "vectors.txt")
        ...     _ = path.write_text("big 1.0 0.0\\nlarge 0.9 0.1\\nred 0.0 1.0\\n", encoding="utf-8")
        ...     table = synonyms_from_vectors(path, ["big", "large", "red"], procedure="topk")
        >>> dict(table)
        {'big': ('large',), 'large': ('big',)}
    """
    if procedure not in PROCEDURES:
        raise HfBatError(f"unknown procedure {procedure!r}; known: {', '.join(PROCEDURES)}")
    if components_removed is None:
        components_removed = 8 if procedure == "components" else 0
    if components_removed < 0 or max_size < 2:
        raise HfBatError("components_removed must be 0 or more, and max_size 2 or more")
    if not isinstance(vocabulary, Vocabulary):
        vocabulary = Vocabulary(tuple(dict.fromkeys(vocabulary)))
    vectors = read_vectors(path, vocabulary.words)
    matrix = _unit(vectors.matrix)
    if components_removed:
        matrix = remove_components(matrix, components_removed)
        if procedure == "topk":
            matrix = _unit(matrix)
    neighbours = near_components if procedure == "components" else near_topk
    table = {
        vectors.words[row]: [vectors.words[other] for other in others]
        for row, others in neighbours(matrix, threshold, max_size - 1)
    }
    options = {
        "procedure": procedure,
        "threshold": threshold,
        "components_removed": components_removed,
        "max_size": max_size,
    }
    metadata: dict[str, Any] = {
        "kind": "synonyms",
        "built": "word vectors",
        "sources": {Path(path).name: vectors.report.pop("sha256")},
        "options": options,
        "vocabulary": vocabulary.metadata,
        "counts": vectors.report,
    }
    return SubstitutionTable(table, metadata)


def remove_components(matrix: np.ndarray, count: int) -> np.ndarray:
    """Remove the mean and the top principal components ("all but the top", Mu and Viswanath 2018).

    Args:
        matrix: (words, dimensions).
        count: how many components; all of them where there are no more.

    Returns:
        A matrix of the same shape, not re-normalised.
    """
    centred = matrix - matrix.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    top = directions[:, max(0, directions.shape[1] - count) :]
    return centred - (centred @ top) @ top.T


def near_topk(matrix: np.ndarray, threshold: float, limit: int) -> Iterator[tuple[int, np.ndarray]]:
    """Each row's nearest rows by dot product, at least `threshold`, at most `limit` of them.

    Yields:
        `(row, other rows)`, nearest first, equally near ones in their order; rows without any are
        left out.
    """
    for start in _blocks(len(matrix), "finding neighbours"):
        products = matrix[start : start + _BLOCK] @ matrix.T
        for offset, similarities in enumerate(products):
            similarities[start + offset] = -np.inf
            others = np.flatnonzero(similarities >= threshold - 10.0**-_DECIMALS)
            values = np.round(similarities[others], _DECIMALS)
            others, values = others[values >= threshold], values[values >= threshold]
            if len(others):
                yield start + offset, _nearest(others, values, limit)


def near_components(
    matrix: np.ndarray, threshold: float, limit: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Each row's connected component, where rows are joined if their dot product exceeds `threshold`.

    Yields:
        `(row, other rows of its component)`, nearest first, at most `limit` of them; a row that is
        joined to none is left out.
    """
    labels = _component_labels(matrix, threshold)
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
                nearest = _nearest(
                    np.arange(len(members)), similarities, min(limit, len(members) - 1)
                )
                yield int(row), members[nearest]


def _component_labels(matrix: np.ndarray, threshold: float) -> np.ndarray:
    """A label a row, equal for rows of one component: the component's first row."""
    labels = np.arange(len(matrix))
    for start in _blocks(len(matrix), "joining words"):
        products = matrix[start : start + _BLOCK] @ matrix[start:].T  # the rest is its mirror image
        rows, columns = np.nonzero(products > threshold - 10.0**-_DECIMALS)
        joined = np.round(products[rows, columns], _DECIMALS) > threshold
        labels = _join(labels, rows[joined] + start, columns[joined] + start)
    return labels


def _join(labels: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Merge the components at the two ends of each edge: hook the higher label on the lower one,
    follow labels to their ends, and again until no edge joins two."""
    while True:
        low = np.minimum(labels[left], labels[right])
        high = np.maximum(labels[left], labels[right])
        apart = low != high
        if not apart.any():
            return labels
        left, right = left[apart], right[apart]
        np.minimum.at(labels, high[apart], low[apart])
        while not np.array_equal(followed := labels[labels], labels):
            labels = followed


def _nearest(others: np.ndarray, similarities: np.ndarray, limit: int) -> np.ndarray:
    if len(others) > limit:
        least = np.partition(similarities, -limit)[-limit]
        kept = similarities >= least
        others, similarities = others[kept], similarities[kept]
    return others[np.argsort(-similarities, kind="stable")[:limit]]


def _unit(matrix: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return matrix / np.where(lengths > 0, lengths, 1.0)


def _blocks(rows: int, what: str) -> Iterator[int]:
    return counted(range(0, rows, _BLOCK), what, "block")
