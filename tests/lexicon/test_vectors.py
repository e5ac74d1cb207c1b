"""Synonyms from vectors: both procedures compared with brute force, and formats of vector files."""

import gzip

import numpy as np
import pytest

from hf_bat.lexicon import synonyms_from_vectors, vectors


def make_clusters(words=400, dimensions=20, seed=0):
    """Return groups of similar vectors, with chains between groups and repeated vectors for ties."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(words // 8, dimensions))
    matrix = np.repeat(centers, 8, axis=0) + rng.normal(size=(words // 8 * 8, dimensions)) * 0.45
    matrix[5] = matrix[6] = matrix[7] * 2.0
    return rng.permutation(matrix)


def _write(path, matrix, header=False):
    lines = [f"w{i} " + " ".join(map(repr, row.tolist())) for i, row in enumerate(matrix)]
    if header:
        lines.insert(0, f"{len(matrix)} {matrix.shape[1]}")
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return [f"w{i}" for i in range(len(matrix))]


def _unit(matrix):
    return matrix / np.sqrt((matrix**2).sum(axis=1))[:, None]


def _ranked(similarities, among, own):
    """Return the other rows by decreasing similarity, with ties in order, in plain Python."""
    return sorted((i for i in among if i != own), key=lambda i: (-round(similarities[i], 9), i))


def _brute_topk(matrix, threshold, max_size):
    products = _unit(matrix) @ _unit(matrix).T
    table = {}
    for row, similarities in enumerate(products):
        near = [i for i, value in enumerate(similarities) if round(value, 9) >= threshold]
        others = _ranked(similarities, near, row)[: max_size - 1]
        if others:
            table[row] = others
    return table


def _brute_components(matrix, threshold, removed, max_size):
    unit = _unit(matrix)
    centered = unit - unit.mean(axis=0)
    _, _, axes = np.linalg.svd(centered, full_matrices=False)
    for axis in axes[:removed]:
        centered = centered - np.outer(centered @ axis, axis)
    products = centered @ centered.T
    table, left = {}, set(range(len(matrix)))
    while left:
        component, waiting = set(), {min(left)}
        while waiting:
            row = waiting.pop()
            component.add(row)
            joined = {i for i, value in enumerate(products[row]) if round(value, 9) > threshold}
            waiting |= joined - component
        left -= component
        for row in component if len(component) > 1 else ():
            table[row] = _ranked(products[row], component, row)[: max_size - 1]
    return table, products


def _named(table):
    return {f"w{row}": tuple(f"w{i}" for i in others) for row, others in table.items()}


@pytest.mark.parametrize("block", [64, 512])
@pytest.mark.parametrize("max_size", [4, 100])
def test_topk_is_brute_force(tmp_path, monkeypatch, block, max_size):
    monkeypatch.setattr(vectors, "_BLOCK", block)
    matrix = make_clusters()
    words = _write(tmp_path / "v.txt", matrix)
    table = synonyms_from_vectors(tmp_path / "v.txt", words, "topk", 0.8, max_size=max_size)
    assert dict(table) == _named(_brute_topk(matrix, 0.8, max_size))
    assert len(table) > 150
    assert max(map(len, table.values())) == (3 if max_size == 4 else 7)


@pytest.mark.parametrize("block", [64, 512])
@pytest.mark.parametrize(("threshold", "max_size"), [(0.75, 100), (0.6, 10), (0.3, 100)])
def test_components_is_brute_force(tmp_path, monkeypatch, block, threshold, max_size):
    monkeypatch.setattr(vectors, "_BLOCK", block)
    matrix = make_clusters()
    words = _write(tmp_path / "v.txt", matrix)
    table = synonyms_from_vectors(tmp_path / "v.txt", words, "components", threshold, 4, max_size)
    expected, products = _brute_components(matrix, threshold, 4, max_size)
    assert dict(table) == _named(expected)
    assert max(map(len, table.values())) <= max_size - 1
    if threshold == 0.3:  # one giant component, truncated to the nearest words
        assert max(map(len, table.values())) == 99
    if threshold == 0.75:  # complete components: some members are below the threshold
        pairs = [(row, other) for row, others in expected.items() for other in others]
        assert any(products[pair] < threshold for pair in pairs)


def test_options_change_the_result_and_are_recorded(tmp_path):
    matrix = make_clusters()
    words = _write(tmp_path / "v.txt", matrix)
    path = tmp_path / "v.txt"
    plain = synonyms_from_vectors(path, words, "topk")
    removed = synonyms_from_vectors(path, words, "topk", components_removed=3)
    assert plain.metadata["options"]["components_removed"] == 0 and plain != removed
    default = synonyms_from_vectors(path, words)
    assert default.metadata["options"] == {
        "procedure": "components", "threshold": 0.8, "components_removed": 8, "max_size": 100
    }  # fmt: skip
    assert default == synonyms_from_vectors(path, words, "components", 0.8, 8, 100)


def test_all_but_the_top():
    matrix = make_clusters(80, 6)
    left = vectors.remove_components(matrix, 2)
    assert np.allclose(left.mean(axis=0), 0)
    before = np.linalg.svd(matrix - matrix.mean(axis=0), compute_uv=False)
    after = np.linalg.svd(left, compute_uv=False)
    assert np.allclose(after[:4], before[2:]) and np.allclose(after[4:], 0)
    assert np.allclose(vectors.remove_components(matrix, 99), 0)


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz", "misnamed.vec"])
@pytest.mark.parametrize("header", [False, True])
def test_file_forms(tmp_path, name, header):
    matrix = make_clusters(40)
    path = tmp_path / name
    words = _write(path, matrix, header)
    if name == "misnamed.vec":
        path.write_bytes(gzip.compress(path.read_bytes()))
    found, matrix_of_found, counts = vectors.read_vectors(path, [*reversed(words), "absent"])
    assert found == words[::-1]  # the order of the vocabulary, not of the file
    assert np.array_equal(matrix_of_found, matrix[::-1])
    assert counts["words_missing"] == 1


def test_untidy_files(tmp_path):
    path = tmp_path / "v.txt"
    path.write_bytes(
        b"dog 1 2\n\ndog 9 9\nnot 0 0\nnan nan 1\nat the 3 4\nat 5 6 \n"
        b"caf\xc3\xa9\t7\t8\r\n. . . 1 2\n\xff 1\n"
    )
    words, matrix, counts = vectors.read_vectors(
        path, ["dog", "not", "nan", "at", "café", ".", "nowhere"]
    )
    assert words == ["dog", "at", "café"]
    assert matrix.tolist() == [[1, 2], [5, 6], [7, 8]]
    assert counts == {"words_missing": 2, "lines_repeated": 1, "vectors_skipped": 2}
