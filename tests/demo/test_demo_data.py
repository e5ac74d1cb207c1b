"""The bundled sentence pairs: reproducible, balanced, and not predictable from one sentence."""

import gzip
import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from hf_bat.files import read_bytes

SPLITS = ("train", "validation")
FOLDER = Path(__file__).resolve().parents[2] / "hf_bat/demo/data"


def rows_of(split):
    with gzip.open(FOLDER / f"{split}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def splits():
    return {split: rows_of(split) for split in SPLITS}


@pytest.fixture
def generator(repository, monkeypatch):
    """Return the generator script as a module."""
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    path = repository / "scripts/build_demo_data.py"
    spec = importlib.util.spec_from_file_location("build_demo_data", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "build_demo_data", module)
    spec.loader.exec_module(module)
    return module


def test_regenerating_gives_the_same_rows(generator, tmp_path):
    generator.build(tmp_path)
    for split in SPLITS:
        name = f"{split}.jsonl.gz"
        # Python versions compress with other bytes.
        assert read_bytes(tmp_path / name) == read_bytes(FOLDER / name)


def test_rows_are_well_formed_and_labels_balanced(splits):
    for rows in splits.values():
        assert [row["idx"] for row in rows] == list(range(len(rows)))
        assert set(Counter(row["label"] for row in rows).values()) == {len(rows) // 3}
        for row in rows:
            assert set(row) == {"premise", "hypothesis", "label", "idx"}
            for text in (row["premise"], row["hypothesis"]):
                assert text[0].isupper() and text.endswith(".") and "  " not in text


def test_no_pair_occurs_twice(splits):
    pairs = [(row["premise"], row["hypothesis"]) for rows in splits.values() for row in rows]
    assert len(set(pairs)) == len(pairs)


def accuracy_of_one_sentence(splits, column):
    """Return how well words and word pairs of only one sentence predict the label."""
    model = make_pipeline(CountVectorizer(ngram_range=(1, 2)), LogisticRegression(C=0.1))
    train, validation = splits["train"], splits["validation"]
    model.fit([row[column] for row in train], [row["label"] for row in train])
    return model.score([row[column] for row in validation], [row["label"] for row in validation])


def test_half_a_pair_does_not_tell_the_label(splits):
    # Chance is 1/3 with a standard error of 0.019. On SNLI, the hypothesis is enough for about 2/3.
    assert accuracy_of_one_sentence(splits, "hypothesis") < 0.40
    assert accuracy_of_one_sentence(splits, "premise") < 0.53


def test_contradictions_by_a_word_name_antonyms(generator, splits):
    """If the sentences of a contradiction differ in one word of an antonym pair, it is the antonym."""
    words = generator.words
    oppositions = [
        *words.PEOPLE_QUALITIES,
        *words.THING_QUALITIES,
        *words.MANNERS_OPPOSED,
        *words.PEOPLE_OPPOSED,
    ]
    opposite = {a: set(y) for x, y in oppositions for a in x} | {
        b: set(x) for x, y in oppositions for b in y
    }
    seen = 0
    for row in splits["validation"]:
        first, second = (set(row[c].lower().strip(".").split()) for c in ("premise", "hypothesis"))
        clash = any(opposite.get(word, set()) & second for word in first)
        if clash:
            seen += 1
            negated = "not" in second
            assert row["label"] == (0 if negated else 2), row
    assert seen > 100


def test_held_out_oppositions_decide_nothing_in_training(generator, splits):
    words = generator.words

    def clashes(rows, oppositions):
        count = 0
        for row in rows:
            first, second = (row[c].lower().strip(".").split() for c in ("premise", "hypothesis"))
            for x, y in oppositions:
                count += bool(set(x) & set(first) and set(y) & set(second))
                count += bool(set(y) & set(first) and set(x) & set(second))
        return count

    held_out = words.PEOPLE_QUALITIES[1 :: generator.HELD_OUT_EVERY]
    assert clashes(splits["train"], held_out) == 0
    assert clashes(splits["validation"], held_out) >= 5
    assert clashes(splits["train"], words.PEOPLE_QUALITIES) > 50
