"""Vocabularies only contain words from the named splits, and leaks are reported."""

from hf_bat.lexicon import (
    count_words,
    default_synonyms,
    leakage_report,
    synonyms_from_vectors,
    vocabulary_from_splits,
)

TRAIN = [
    {"premise": "A dog runs.", "hypothesis": "A Dog sleeps", "label": 0},
    {"premise": "The dog sleeps!", "hypothesis": None, "label": 1},
]
DEV = [{"premise": "A cat; a cat.", "hypothesis": "cat", "label": 0}]
COLUMNS = ("premise", "hypothesis")


def test_counts():
    assert count_words(["A dog.", "a Dog runs"]) == {"a": 2, "dog": 2, "runs": 1}


def test_only_named_splits():
    vocabulary = vocabulary_from_splits({"train": TRAIN}, COLUMNS)
    assert vocabulary.words == ("dog", "a", "sleeps")
    assert vocabulary.splits["train"]["rows"] == 2
    both = vocabulary_from_splits({"train": TRAIN, "dev": DEV}, COLUMNS, min_count=1)
    assert set(both.words) == {"a", "dog", "sleeps", "runs", "the", "cat"}


def test_leakage():
    only_train = vocabulary_from_splits({"train": TRAIN}, COLUMNS).metadata
    both = vocabulary_from_splits({"train": TRAIN, "test": iter(DEV)}, COLUMNS).metadata
    assert leakage_report(only_train, ["dev"]) == []
    assert leakage_report(only_train, {"dev": DEV}, COLUMNS) == []
    assert "'test' will be evaluated" in leakage_report(both, ["dev", "test"])[0]
    [line] = leakage_report(both, {"dev": DEV}, COLUMNS)  # the same rows with another name
    assert "'dev'" in line and "'test'" in line


def test_leakage_of_tables(tmp_path):
    (tmp_path / "v.txt").write_text("dog 1 0\nsleeps 1 0.01\na 0 1\n")
    vocabulary = vocabulary_from_splits({"train": TRAIN}, COLUMNS)
    table = synonyms_from_vectors(tmp_path / "v.txt", vocabulary, "topk")
    assert dict(table) == {"dog": ("sleeps",), "sleeps": ("dog",)}
    assert leakage_report(table.metadata, ["train"]) and not leakage_report(table.metadata, ["dev"])
    assert leakage_report(default_synonyms().metadata, ["train"]) == []
    unknown = synonyms_from_vectors(tmp_path / "v.txt", ["dog", "sleeps"], "topk")
    assert "cannot be excluded" in leakage_report(unknown.metadata, ["dev"])[0]
