"""Synonyms from vectors: both procedures against brute force, and the files they are read from."""

import gzip

import numpy as np
import pytest

from hf_bat.errors import HfBatError
from hf_bat.lexicon import embeddings, synonyms_from_vectors
from hf_bat.lexicon.vectors import read_vectors


def _clustered(words=400, dimensions=20, seed=0):
    """Groups of vectors near each other, chains among them, and repeats for ties."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(words // 8, dimensions))
    matrix = np.repeat(centres, 8, axis=0) + rng.normal(size=(words // 8 * 8, dimensions)) * 0.45
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
    """Other rows by falling similarity, equal ones in their order: plain Python."""
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
    centred = unit - unit.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    for axis in axes[:removed]:
        centred = centred - np.outer(centred @ axis, axis)
    products = centred @ centred.T
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
    monkeypatch.setattr(embeddings, "_BLOCK", block)
    matrix = _clustered()
    words = _write(tmp_path / "v.txt", matrix)
    table = synonyms_from_vectors(tmp_path / "v.txt", words, "topk", 0.8, max_size=max_size)
    assert dict(table) == _named(_brute_topk(matrix, 0.8, max_size))
    assert len(table) > 150
    assert max(map(len, table.values())) == (3 if max_size == 4 else 7)


@pytest.mark.parametrize("block", [64, 512])
@pytest.mark.parametrize(("threshold", "max_size"), [(0.75, 100), (0.6, 10), (0.3, 100)])
def test_components_is_brute_force(tmp_path, monkeypatch, block, threshold, max_size):
    monkeypatch.setattr(embeddings, "_BLOCK", block)
    matrix = _clustered()
    words = _write(tmp_path / "v.txt", matrix)
    table = synonyms_from_vectors(tmp_path / "v.txt", words, "components", threshold, 4, max_size)
    expected, products = _brute_components(matrix, threshold, 4, max_size)
    assert dict(table) == _named(expected)
    assert max(map(len, table.values())) <= max_size - 1
    if threshold == 0.3:  # one giant component, cut to the nearest
        assert max(map(len, table.values())) == 99
    if threshold == 0.75:  # whole components: some members lie below the threshold
        pairs = [(row, other) for row, others in expected.items() for other in others]
        assert any(products[pair] < threshold for pair in pairs)


def test_options_change_the_result_and_are_recorded(tmp_path):
    matrix = _clustered()
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
    matrix = _clustered(80, 6)
    left = embeddings.remove_components(matrix, 2)
    assert np.allclose(left.mean(axis=0), 0)
    before = np.linalg.svd(matrix - matrix.mean(axis=0), compute_uv=False)
    after = np.linalg.svd(left, compute_uv=False)
    assert np.allclose(after[:4], before[2:]) and np.allclose(after[4:], 0)
    assert np.allclose(embeddings.remove_components(matrix, 99), 0)


def test_joining_labels():
    labels = embeddings._join(np.arange(8), np.array([5, 6, 1, 3]), np.array([6, 3, 7, 0]))
    assert labels.tolist() == [0, 1, 2, 0, 4, 0, 0, 1]


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz", "misnamed.vec"])
@pytest.mark.parametrize("header", [False, True])
def test_file_forms(tmp_path, name, header):
    matrix = _clustered(40)
    path = tmp_path / name
    words = _write(path, matrix, header)
    if name == "misnamed.vec":
        path.write_bytes(gzip.compress(path.read_bytes()))
    vectors = read_vectors(path, [*reversed(words), "absent"])
    assert vectors.words == words[::-1]  # the vocabulary's order, not the file's
    assert np.array_equal(vectors.matrix, matrix[::-1])
    assert vectors.report["words_missing"] == 1


def test_untidy_files(tmp_path):
    path = tmp_path / "v.txt"
    path.write_bytes(
        b"dog 1 2\n\ndog 9 9\nnot 0 0\nnan nan 1\nat the 3 4\nat 5 6 \n"
        b"caf\xc3\xa9\t7\t8\r\n. . . 1 2\n\xff 1\n"
    )
    vectors = read_vectors(path, ["dog", "not", "nan", "at", "café", ".", "nowhere"])
    assert vectors.words == ["dog", "at", "café"]
    assert vectors.matrix.tolist() == [[1, 2], [5, 6], [7, 8]]
    counts = {key: value for key, value in vectors.report.items() if key != "sha256"}
    assert counts == {"words_missing": 2, "lines_repeated": 1, "vectors_skipped": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a 1 2\nb 1\n", "line 2: 1 values, expected 2"),
        (b"a 1 2\nb 1 2 3\n", "line 2: 3 values, expected 2"),
        (b"a 1 2\nb 1 x\n", "line 2: not a number"),
        (b"2 3\na 1 2 3\nb 1 2\n", "line 3: 2 values, expected 3"),
        (b"word\n", "line 1"),
        (b"", "none of the vocabulary's 2 words"),
        (b"c 1 2\n", "none of the vocabulary's 2 words"),
        (gzip.compress(b"a 1 2\n" * 99, mtime=0)[:-9], "cannot read"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "v.txt"
    path.write_bytes(content)
    with pytest.raises(HfBatError, match=message) as raised:
        read_vectors(path, ["a", "b"])
    assert "\n" not in str(raised.value)


def test_bad_arguments(tmp_path):
    path = tmp_path / "v.txt"
    words = _write(path, _clustered(40))
    for bad in ({"procedure": "knn"}, {"components_removed": -1}, {"max_size": 1}):
        with pytest.raises(HfBatError, match=next(iter(bad))):
            synonyms_from_vectors(path, words, **bad)
    with pytest.raises(HfBatError, match="empty"):
        synonyms_from_vectors(path, [])
    with pytest.raises(HfBatError, match="not found"):
        synonyms_from_vectors(tmp_path / "none.txt", words)
    with pytest.raises(HfBatError, match="directory"):
        synonyms_from_vectors(tmp_path, words)
