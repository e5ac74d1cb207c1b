"""An attacked row has the same JSON keys in the same order from a run and from a file."""

import json

import pytest
from attack_helpers import ANTONYMS, hashed, made_rows

from hf_bat.attack import Attack
from hf_bat.attack.result import AttackResult
from hf_bat.attack.rows import read_rows

START = ["idx", "attack", "outcome", "outcome_confident"]
TEXTS = ["original", "perturbed", "label", "label_name", "words", "queries"]
SEARCH = ["candidates", "kept", "raised", "beyond_cut", "exhausted", "tried"]
VALID = ["outcome_valid", "outcome_valid_confident"]
FOUND = ["edits", "gold_after", "predicted_after", "words_changed"]
COUNTS = ["listed", "allowed", "refused"]
BEFORE = ["predicted", "gold_before"]


def test_the_keys_of_a_row_are_those_that_apply_in_a_fixed_order(tmp_path):
    rows = made_rows(60)
    report = Attack("antonym", hashed, antonyms=ANTONYMS, label_filter=True).run(
        [*rows, {**rows[0], "idx": 60, "label": -1}], tmp_path / "rows.jsonl"
    )
    keys = {
        "succeeded": START + TEXTS + BEFORE + SEARCH + VALID + FOUND + COUNTS,
        "failed": START + TEXTS + BEFORE + SEARCH + VALID + COUNTS,
        "skipped": [*START, "reason", *TEXTS, *BEFORE],
    }
    results = report.rows["antonym"]
    for result in results[:-1]:
        assert list(result.to_dict()) == list(result) == keys[result.outcome]
    assert list(results[-1]) == [*START, "reason", *TEXTS]
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").open()]
    for result, line, read in zip(results, lines, read_rows(tmp_path / "rows.jsonl"), strict=True):
        marks = {name: line[name] for name in ("recipe", "model", "data", "label_filter")}
        assert list(line)[: len(result)] == list(result)
        assert result.to_dict().items() <= line.items() and marks.items() <= read.marks.items()
        assert {**read} == line and {**AttackResult.from_dict(result.to_dict())} == {**result}


def test_a_result_is_read_like_a_line_of_the_file():
    result = AttackResult(0, "antonym", "skipped", reason="no label")
    assert (result["reason"], result.get("predicted"), result["label"]) == ("no label", None, None)
    assert "label" in result and "predicted" not in result
    with pytest.raises(KeyError):
        result["predicted"]
