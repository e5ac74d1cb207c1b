"""Comparing other rates of two models: counts by hand, the bootstrap against a plain one, both reports."""

import json
import random

import numpy as np
import pytest
from test_compare import run_command

from hf_bat.errors import HfBatError
from hf_bat.evaluation.compare_rates import compare_attack_rates, compare_contrast, compare_counts
from hf_bat.evaluation.contrast import ContrastRow, evaluate_contrast

TEXTS = ["A.", "B."]


def attack_row(idx, predicted, outcome, tried=None, label=0):
    row = {"idx": idx, "attack": "antonym", "outcome": outcome, "original": TEXTS, "label": label}
    return {**row, "predicted": predicted, **({} if tried is None else {"tried": tried})}


ROWS_A = [
    attack_row(0, 0, "succeeded", [["a", "b", 1, 0, 1], ["c", "d", 1, 1, 0]]),
    attack_row(1, 0, "failed", [["a", "b", 0, 0, 1]]),
    attack_row(2, 1, "skipped"),
    attack_row(3, 2, "skipped", label=None),
]
ROWS_B = [
    attack_row(0, 0, "failed", [["a", "b", 0, 0, 1], ["c", "d", 0, 0, 0]]),
    attack_row(1, 1, "skipped"),
    attack_row(2, 0, "failed", [["a", "b", 0, 0, 1], ["c", "d", 1, 0, 0]]),
    attack_row(3, 0, "skipped", label=None),
]


def test_worked_numbers():
    found = {one.figure: one for one in compare_attack_rates(ROWS_A, ROWS_B)}
    rates = {figure: (one.rate_a, one.rate_b) for figure, one in found.items()}
    assert rates == {
        "accuracy": (2 / 3, 2 / 3),
        "keep rate": (2 / 3, 1 / 4),
        "keep rate, valid": (1 / 2, 0.0),
        "keep rate, invalid": (1.0, 1 / 2),
    }
    assert found["keep rate, invalid"].difference == -0.5 and found["accuracy"].source == "antonym"


def test_rows_without_tried_edits_give_accuracy_alone():
    plain = [
        [{k: v for k, v in row.items() if k != "tried"} for row in r] for r in (ROWS_A, ROWS_B)
    ]
    assert [one.figure for one in compare_attack_rates(*plain)] == ["accuracy"]


def test_the_bootstrap_is_that_of_whole_rows():
    rng = random.Random(0)
    counts = []
    for _ in range(300):
        of, ease = rng.randint(0, 9), rng.random()
        counts.append(tuple((sum(rng.random() < ease for _ in range(of)), of) for _ in range(2)))
    found = compare_counts(counts, resamples=4000)
    table, draws = np.array(counts), np.random.default_rng(1).integers(0, 300, size=(4000, 300))
    sums = table[draws].sum(1)
    plain = sums[:, 1, 0] / sums[:, 1, 1] - sums[:, 0, 0] / sums[:, 0, 1]
    assert found.interval == pytest.approx(np.percentile(plain, [2.5, 97.5]), abs=0.004)
    swapped = compare_counts([(b, a) for a, b in counts], resamples=4000)
    assert swapped.difference == pytest.approx(-found.difference)
    assert compare_counts([((0, 0), (1, 1))]).interval is None


CONTRAST = [
    ContrastRow(0, None, ("A.", "B."), 0),
    ContrastRow(1, 0, ("A!", "B."), 1),
    ContrastRow(2, 0, ("A?", "B."), 0),
    ContrastRow(3, None, ("C.", "D."), 2),
    ContrastRow(4, 3, ("C!", "D."), 1),
]


@pytest.fixture
def contrasts():
    return [evaluate_contrast(CONTRAST, lambda _, p=p: p) for p in ([0] * 5, [0, 1, 2, 2, 2])]


def test_a_contrast_set_is_counted_as_its_report_counts_it(contrasts):
    found = compare_contrast(*(report.row_results for report in contrasts))
    for one in found:
        for report, rate in zip(contrasts, (one.rate_a, one.rate_b), strict=True):
            assert rate == getattr(report, one.figure.replace(", ", "_").replace(" ", "_")).rate
    assert [one.figure for one in found][-1] == "obstinate errors" and found[0].rows == 2
    assert (found[-1].rate_a, found[-1].rate_b) == (1.0, 0.5)


def test_command_on_contrast_reports(contrasts, tmp_path, capsys):
    paths = []
    for name, report in zip("ab", contrasts, strict=True):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps({"contrast": report.to_dict()}))
        lines = "".join(json.dumps(row) + "\n" for row in report.row_results)
        (tmp_path / f"{name}.rows.jsonl").write_text(lines)
    assert run_command(*paths, "--json", tmp_path / "out.json") == 0
    assert "obstinate errors" in capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["comparisons"] == [] and written["rates"][-1]["difference"] == -0.5
    (tmp_path / "attack.json").write_text('{"attacks": {}}')
    with pytest.raises(HfBatError, match="is a contrast report and .*attack.json is none"):
        run_command(paths[0], tmp_path / "attack.json")


def test_an_original_without_a_scored_edit_is_no_set():
    rows = [*CONTRAST[:3], ContrastRow(5, None, ("E.", "F."), 0)]
    report = evaluate_contrast(rows, lambda inputs: [0, 1, 1, 0][: len(inputs)])
    found = {one.figure: one for one in compare_contrast(report.row_results, report.row_results)}
    assert found["consistency"].rate_a == report.consistency.rate == 0.0


def test_labels_may_be_numbered_by_the_model_and_texts_must_agree(contrasts):
    first, second = ([dict(row) for row in report.row_results] for report in contrasts)
    for row in second:
        row["label"] = 2 - row["label"]
    assert compare_contrast(first, second)
    second[1]["text"] = "another"
    with pytest.raises(HfBatError, match="not given the same contrast rows"):
        compare_contrast(first, second)


def test_one_rows_file_is_not_taken_for_both(contrasts, tmp_path):
    for name, report in zip("ab", contrasts, strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps({"contrast": report.to_dict()}))
    lines = "".join(json.dumps(row) + "\n" for row in contrasts[0].row_results)
    (tmp_path / "rows.jsonl").write_text(lines)
    with pytest.raises(HfBatError, match="would be the rows of both .*a.json and .*b.json"):
        run_command(tmp_path / "a.json", tmp_path / "b.json")


def test_what_cannot_be_paired_is_refused(contrasts):
    first, second = (report.row_results for report in contrasts)
    with pytest.raises(HfBatError, match="not given the same contrast rows"):
        compare_contrast(first, second[:3])
    with pytest.raises(
        HfBatError, match="no 'original_idx'; is it a rows file of `hf-bat contrast`"
    ):
        compare_contrast([{"idx": 0}], second)
