"""The counterfactual study: how rows are used and how the tables are computed."""

import argparse
import gzip
import importlib
import json
import sys

import numpy as np
import pytest


@pytest.fixture(scope="module")
def scripts(request):
    folder = request.config.rootpath / "examples/reproduce"
    sys.path.insert(0, str(folder))
    yield tuple(map(importlib.import_module, ("counterfactual", "counterfactual_tables")))
    sys.path.remove(str(folder))


def read_texts(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return rows, {tuple(value for value in row.values() if isinstance(value, str)) for row in rows}


def write_parts(scripts, shared, folder, task, is_dev):
    study, _ = scripts
    options = argparse.Namespace(
        task=task, data=shared / "data", output_dir=folder, dev=is_dev, train_rows=300,
        attacked_rows=20,
    )  # fmt: skip
    study.write_data(options)
    return study.locate_data(options)


@pytest.mark.parametrize("task", ["snli", "mnli", "qqp"])
def test_reported_rows_choose_nothing(scripts, shared, tmp_path, task):
    reported = write_parts(scripts, shared, tmp_path, task, is_dev=False)
    dev = write_parts(scripts, shared, tmp_path, task, is_dev=True)
    tested, texts = read_texts(reported / "attacked.jsonl")
    assert len(tested) == 20
    for folder, file in ((reported, "train"), (reported, "tune"), (dev, "attacked")):
        assert texts.isdisjoint(read_texts(folder / f"{file}.jsonl")[1])
    suites, _ = read_texts(reported / "suites.jsonl")
    dev_suites, _ = read_texts(dev / "suites.jsonl")
    columns = [name for name in suites[0] if name not in ("label", "category")]
    for category in {row["category"] for row in suites} - {"lexical"}:
        if ":" in category or category not in ("snli", "mnli", "sick", "qqp"):
            continue
        sides = [
            {tuple(row[c] for c in columns) for row in rows if row["category"] == category}
            for rows in (suites, dev_suites)
        ]
        # Two rows of a data set may contain the same sentences.
        assert len(sides[0] & sides[1]) <= len(sides[0]) / 100
    assert any(row["category"].endswith(":unseen") for row in suites)


def test_outcomes_of_suites_are_told_apart(scripts):
    _, tables = scripts
    rows = [
        {"idx": 0, "category": "snli", "label": "neutral", "correct": True},
        {"idx": 1, "category": "mnli", "label": "neutral", "correct": False},
        {"idx": 2, "category": "lexical", "label": "contradiction", "correct": True},
        {"idx": 3, "category": "lexical", "label": "neutral", "correct": True},
        {"idx": 4, "category": "self_pair_unseen", "label": "contradiction", "correct": False},
        {"idx": 5, "category": "self_pair", "label": "entailment", "correct": True},
    ]
    assert tables.count_suites(rows, "snli") == {
        "accuracy": {"0": (1, 1)},
        "MNLI": {"1": (0, 1)},
        "lexical contradiction": {"2": (1, 1)},
        "unseen pairs": {"4": (0, 1)},
        "rule pairs": {"4": (0, 1), "5": (1, 1)},
    }


def test_edits_by_people_count_by_original(scripts):
    _, tables = scripts
    texts = {
        0: {"premise": "A man runs.", "hypothesis": "He runs."},
        1: {"premise": "A man sleeps.", "hypothesis": "He runs."},
        2: {"premise": "A man runs.", "hypothesis": "He runs fast and far."},
        3: {"premise": "A man runs home.", "hypothesis": "He runs."},
    }
    rows = [
        {"idx": i, "original_idx": None if i == 0 else 0, "label": label, "correct": correct,
         "error": error}
        for i, label, correct, error in (
            (0, 0, True, None), (1, 2, False, "obstinate"), (2, 1, True, None), (3, 0, True, None),
        )
    ]  # fmt: skip
    assert tables.count_contrast(rows, texts) == {
        "edits by people": {"0": (2, 3)},
        "premise edits": {"0": (1, 2)},
        "one-word edits": {"0": (0, 1)},
        "hypothesis edits": {"0": (1, 1)},
        "obstinate errors": {"0": (1, 2)},
        "fickle errors": {"0": (0, 1)},
    }


def make_runs(right):
    """Return seed -> figure -> outcomes for an array of correct predictions by seed and row."""
    return {
        seed: {"accuracy": {str(i): (int(value), 1) for i, value in enumerate(row)}}
        for seed, row in enumerate(right)
    }


def test_interval_of_a_difference_is_that_of_paired_rows(scripts):
    _, tables = scripts
    rng = np.random.default_rng(5)
    base = rng.random((1, 400)) < 0.7
    flips = rng.random((1, 400)) < 0.1
    method = base ^ flips
    rates, base_rates, (low, high) = tables.resample(make_runs(method), make_runs(base), "accuracy")
    difference = method.mean() - base.mean()
    assert rates[0] - base_rates[0] == pytest.approx(difference)
    # One seed: the standard error of the mean of paired differences.
    error = (method.astype(int) - base.astype(int)).std() / 400**0.5
    assert low == pytest.approx(difference - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(difference + 1.96 * error, abs=0.2 * error)


def test_interval_counts_the_spread_of_seeds(scripts):
    _, tables = scripts
    base = np.zeros((2, 50), bool)
    method = np.stack([np.zeros(50, bool), np.ones(50, bool)])
    rates, _, interval = tables.resample(make_runs(method), make_runs(base), "accuracy")
    # Both seeds, the first one twice, or the second one twice.
    assert rates == [0, 1] and interval == (0, 1)


def write_outcomes(folder, runs):
    folder.mkdir()
    for name, outcomes in runs.items():
        content = gzip.compress(json.dumps(outcomes).encode())
        (folder / f"{name}.json.gz").write_bytes(content)
    return folder


def test_tables_of_kept_outcomes(scripts, tmp_path):
    _, tables = scripts
    made = {
        "1-normal": {"accuracy": {"0": [1, 1], "1": [0, 1]}, "synonym": {"0": [1, 1], "1": [1, 1]}},
        "2-normal": {"accuracy": {"0": [1, 1], "1": [1, 1]}, "synonym": {"0": [0, 1], "1": [0, 1]}},
        "1-triplet": {"accuracy": {"0": [0, 1], "1": [0, 1]}},
    }
    made_tables = tables.make_tables(write_outcomes(tmp_path / "snli", made))
    assert made_tables["counterfactual-snli"].splitlines()[2:] == [
        "| normal | 2 | 75.0 (50.0 to 100.0) | 50.0 (0.0 to 100.0) |",
        "| triplet | 1 | 0.0 | – |",
        "| *counted in a run of normal* | | 2 | 2 |",
    ]
    assert tables.list_overview(tables.read_outcomes(tmp_path / "snli")) == {
        "accuracy": {"normal": [0.5, 1.0], "triplet": [0.0]},
        "synonym": {"normal": [1.0, 0.0], "triplet": []},
    }
    differences = made_tables["counterfactual-snli-differences"].splitlines()
    # One seed is in both methods: 0 of 2 rows against 1 of 2.
    assert differences[2].startswith("| accuracy | 75.0 (50.0 to 100.0) | -50.0 (")
    assert differences[3] == "| synonym | 50.0 (0.0 to 100.0) | – |"


def test_the_ablation_is_compared_with_the_full_method_at_its_seeds(scripts, tmp_path):
    _, tables = scripts
    right, wrong = (
        {"accuracy": {"0": [1, 1], "1": [1, 1]}},
        {"accuracy": {"0": [0, 1], "1": [1, 1]}},
    )
    made = {"1-normal": wrong, "1-counterfactual": right, "2-counterfactual": wrong,
            "1-without_swap": wrong}  # fmt: skip
    made_tables = tables.make_tables(write_outcomes(tmp_path / "snli", made))
    assert "without_swap" not in made_tables["counterfactual-snli-differences"]
    head, _, accuracy = made_tables["counterfactual-snli-ablation"].splitlines()
    assert head == "| figure, % | counterfactual (1) | without_swap (1) |"
    assert accuracy.startswith("| accuracy | 100.0 | -50.0 (")
