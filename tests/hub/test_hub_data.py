"""GLUE and SNLI from the Hub: runs without local rows, over real HTTP, in a separate process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_data import GLUE, glue_rows, serve_data, serve_tables, snli_rows
from hub_stand_in import HubStandIn
from training_helpers import ANTONYMS, SYNONYMS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]
HELPERS = Path(__file__).parents[1] / "helpers"
TIMEOUT = 600  # long, because the machine may be busy; it takes about 25 seconds
METHODS = {"normal", "a2t", "safer", "pairwise", "triplet"}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return the output of hub_data_case and its requests to the Hub."""
    folder = tmp_path_factory.mktemp("hub_data")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with HubStandIn() as hub:
        serve_data(hub)
        serve_tables(hub)
        done = subprocess.run(
            [sys.executable, str(HELPERS / "hub_data_case.py"), str(folder)],
            env={**environment, **hub.environment(folder / "home")},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    return {**json.loads(done.stdout), "requests": hub.requests}


def texts(rows):
    """Return rows of a task with two texts as recorded by the case."""
    return [[value for name, value in row.items() if name != "idx"] for row in rows]


def labelled(rows):
    return [row for row in rows if row["label"] != -1]


def test_table_1_reads_mnli_as_the_hub_serves_it(found):
    table, train = found["table1"], glue_rows("mnli", "train")
    assert table["status"] == 0
    assert {note["method"] for note in table["notes"]} == METHODS
    for note in table["notes"]:
        assert note["train"] == texts(train)
        sets = [glue_rows("mnli", f"validation_{kind}") for kind in ("matched", "mismatched")]
        assert note["evaluated"][-2:] == [texts(rows) for rows in sets]
    counts = {"train": 18, "validation": 9, "validation_mm": 7}
    assert [result["rows"] for result in table["results"]] == [counts] * 5
    assert all("eval_accuracy_mm" in result["metrics"] for result in table["results"])
    assert all(f"| MNLI | model | {method} | 1 |" in table["table"] for method in METHODS)


def test_rows_of_snli_without_a_label_are_not_trained_on(found):
    table, train = found["table6"], snli_rows("train")
    assert table["status"] == 0 and len(labelled(train)) == 15 < len(train)
    # The run of normal training was already finished, with tables from the Hub (see the next test).
    assert {note["method"] for note in table["notes"]} == {"safer", "pairwise", "triplet"}
    for note in table["notes"]:
        assert note["train"] == texts(labelled(train))
        # Each of the two steps uses all rows, because the batch size is 32.
        assert sorted(note["labels"]) == sorted(2 * [row["label"] for row in labelled(train)])
    assert all(result["steps"] == 2 for result in table["results"])


def test_a_run_in_a_process_of_its_own_reads_the_hub_too(found):
    table = found["table6 in processes"]
    assert table["status"] == 0 and "| SNLI | model | normal | 1 |" in table["table"]
    (result,), (log,) = table["results"], table["logs"]
    assert result["rows"] == {"train": 20, "validation": 11} and result["steps"] == 2
    assert "training set: dropped 5 of 20 rows (5 without a label" in log
    assert "evaluation set: dropped 3 of 11 rows (3 without a label" in log


def test_tables_of_the_hub_are_those_of_their_files(found):
    """Regression: sweeps and the reproduction looked for a local file with this name."""
    (result,) = found["table6 in processes"]["results"]
    hashes = {"antonyms": ANTONYMS.fingerprint, "synonyms": SYNONYMS.minus(ANTONYMS).fingerprint}
    assert result["tables"] == hashes and "eval_synonym_asr" in result["metrics"]
    fetched = {line for line in found["requests"] if line.endswith("/table.json.gz")}
    assert {line.split("/")[3] for line in fetched} == {"synonyms", "antonyms"}


@pytest.mark.parametrize(
    ("task", "validation", "test"),
    [
        ("mnli", ["validation_matched", "validation_mismatched"], ["test_matched", "test_mismatched"]),
        ("mrpc", ["validation"], ["test"]),
        ("qqp", ["validation"], ["test"]),
    ],
)  # fmt: skip
def test_the_script_reads_glue_from_the_hub(found, task, validation, test):
    script = found[task]
    (note,) = script["notes"]
    assert script["status"] == 0 and note["train"] == texts(glue_rows(task, "train"))
    assert sorted(note["labels"]) == sorted(2 * [row["label"] for row in glue_rows(task, "train")])
    assert note["evaluated"] == [texts(glue_rows(task, split)) for split in validation]
    # The labels of a test set are placeholders and are not used.
    expected = [[[*row[:2], None] for row in texts(glue_rows(task, split))] for split in test]
    assert note["predicted"] == expected
    counts = [GLUE[task][2][split] for split in ["train", *validation]]
    names = ["train_samples", "eval_samples", "eval_samples_mm"][: len(counts)]
    assert [script["written"][name] for name in names] == counts
    assert len(script["files"]) == len(test)


def test_the_configurations_are_those_of_the_tasks(found):
    asked = {line.split("/")[-2] for line in found["requests"] if line.endswith(".parquet")}
    assert asked == {"mnli", "mrpc", "qqp", "plain_text"}
