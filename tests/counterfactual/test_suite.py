"""`hf-bat suite` writes labeled pairs that `hf-bat contrast` reads."""

import json

import pytest
from training_helpers import made_rows

from hf_bat.cli import main
from hf_bat.errors import HfBatError
from hf_bat.evaluation.suites import read_suite


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "dev.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made_rows(30)))
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_suite_has_each_rule_and_no_pair_twice(data, tmp_path, capsys):
    out = tmp_path / "suite.jsonl"
    command = ["suite", "--task", "snli", "--data", str(data), "--output", str(out)]
    assert main([*command, "--max-pairs", "2"]) == 0
    rows = read_lines(out)
    assert {"swap", "self_pair", "drop", "generalize"} <= {row["category"] for row in rows}
    # The pairs of this rule do not have a single label.
    assert "opposite" not in {row["category"] for row in rows}
    texts = [(row["premise"], row["hypothesis"]) for row in rows]
    assert len(set(texts)) == len(texts)
    assert f"{len(rows)} pairs from 30 rows" in capsys.readouterr().out
    # The same command writes the same file.
    again = tmp_path / "again.jsonl"
    assert main([*command[:-1], str(again), "--max-pairs", "2"]) == 0
    assert again.read_bytes() == out.read_bytes()


def test_contrast_reads_the_suite_by_category(data, tmp_path):
    out = tmp_path / "suite.jsonl"
    command = ["suite", "--task", "snli", "--data", str(data), "--output", str(out)]
    assert main([*command, "--held-out-pairs", "0.5", "--rules", "self_pair"]) == 0
    suite = read_suite(out)
    rows = read_lines(out)
    assert suite.name.startswith("rules") and len(suite.rows) == len(rows)
    assert [row.label for row in suite.rows] == [row["label"] for row in rows]
    assert len({row.category for row in suite.rows}) >= 2


def test_rows_that_give_no_pair_are_an_error(tmp_path, capsys):
    path = tmp_path / "dev.jsonl"
    path.write_text('{"premise": "Oh.", "hypothesis": "Ah.", "label": 1}\n')
    out = tmp_path / "suite.jsonl"
    command = ["suite", "--task", "snli", "--data", str(path), "--output", str(out)]
    assert main([*command, "--rules", "swap"]) == 2
    assert "no rule gives a pair" in capsys.readouterr().err
    assert not out.exists()


def test_rows_with_a_category_of_the_users_own_are_a_suite(tmp_path):
    path = tmp_path / "mine.jsonl"
    row = {"premise": "A red hat.", "hypothesis": "A blue hat.", "label": 2, "category": "colors"}
    path.write_text(json.dumps(row) + "\n")
    suite = read_suite(path)
    assert (suite.rows[0].label, suite.rows[0].category) == ("contradiction", "colors")
    with pytest.raises(HfBatError, match="unknown format"):
        read_suite(path, "rule")
