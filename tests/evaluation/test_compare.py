"""Comparing two models: worked examples, the bootstrap, reports on disk, and the command."""

import argparse
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.attack import Attack
from hf_bat.commands import compare as command
from hf_bat.errors import HfBatError
from hf_bat.evaluation.compare import (
    compare_attack_rates,
    compare_contrast,
    compare_counts,
    compare_reports,
    compare_rows,
)
from hf_bat.evaluation.contrast import ContrastRow, evaluate_contrast
from hf_bat.report.page import write_report


def row(idx, outcome, confident=None, attack="antonym", original=("A.", "B.")):
    made = {"idx": idx, "attack": attack, "outcome": outcome, "original": list(original)}
    return made if confident is None else {**made, "outcome_confident": confident}


def made_rows(seed, n=400, rate=0.5, skip=0.1, shared_seed=5):
    """Return rows of one model; the hard rows are the same for every seed, so pairs are correlated."""
    hard, own = random.Random(shared_seed), random.Random(seed)
    rows = []
    for idx in range(n):
        ease = 0.7 * hard.random() + 0.3 * own.random()
        outcome = "skipped" if own.random() < skip else "succeeded" if ease < rate else "failed"
        rows.append(row(idx, outcome))
    return rows


def test_worked_numbers():
    pairs = (
        [("succeeded", "succeeded")] * 4
        + [("succeeded", "failed")] * 3
        + [("failed", "succeeded")]
        + [("failed", "failed")] * 2
        + [("skipped", "succeeded")] * 2
        + [("failed", "skipped")] * 2
        + [("skipped", "skipped")] * 6
    )
    rows_a, rows_b = ([row(i, pair[side]) for i, pair in enumerate(pairs)] for side in (0, 1))
    [comparison] = compare_rows(rows_a, rows_b)
    assert (comparison.rows, comparison.attempted_a, comparison.attempted_b) == (20, 12, 12)
    assert (comparison.asr_a, comparison.asr_b) == (7 / 12, 7 / 12)
    assert (comparison.attempted_by_both, comparison.only_a, comparison.only_b) == (10, 3, 1)
    assert comparison.p_value == 0.625


def test_bootstrap_draws_whole_rows():
    rows_a, rows_b = made_rows(1, rate=0.55), made_rows(2, rate=0.4)
    comparison = compare_rows(rows_a, rows_b)[0]
    outcome = np.array([[r["outcome"] for r in rows] for rows in (rows_a, rows_b)])
    rng = np.random.default_rng(7)
    differences = []
    for _ in range(4000):
        chosen = outcome[:, rng.integers(0, outcome.shape[1], outcome.shape[1])]
        asr = (chosen == "succeeded").sum(axis=1) / (chosen != "skipped").sum(axis=1)
        differences.append(asr[1] - asr[0])
    low, high = np.percentile(differences, [2.5, 97.5])
    assert comparison.interval == pytest.approx((low, high), abs=0.006)
    assert comparison.interval[0] < comparison.difference < comparison.interval[1] < 0
    # Pairing helps: the interval would be wider for independent samples.
    variance = sum(
        asr * (1 - asr) / n
        for asr, n in (
            (comparison.asr_a, comparison.attempted_a),
            (comparison.asr_b, comparison.attempted_b),
        )
    )
    assert high - low < 2 * 1.96 * math.sqrt(variance) * 0.85


def test_result_depends_on_the_seed_and_not_on_the_order_of_rows():
    rows_a, rows_b = made_rows(1), made_rows(2, rate=0.4)
    comparisons = compare_rows(rows_a, rows_b)
    assert comparisons == compare_rows(rows_a[::-1], random.Random(0).sample(rows_b, len(rows_b)))
    assert comparisons[0].interval != compare_rows(rows_a, rows_b, seed=1)[0].interval


def test_swapping_the_models_flips_the_signs():
    rows_a, rows_b = made_rows(1), made_rows(2, rate=0.4)
    [forth], [back] = compare_rows(rows_a, rows_b), compare_rows(rows_b, rows_a)
    assert forth.difference == pytest.approx(-back.difference)
    assert (forth.only_a, forth.only_b, forth.p_value) == (back.only_b, back.only_a, back.p_value)


def test_rate_out_of_nothing_is_none():
    rows = [row(0, "skipped"), row(1, "skipped")]
    comparison = compare_rows(rows, rows)[0]
    assert comparison.asr_a is comparison.difference is comparison.interval is None
    assert comparison.p_value is None
    one_sided = compare_rows([row(0, "failed")], [row(0, "skipped")])[0]
    assert (one_sided.asr_a, one_sided.asr_b, one_sided.difference) == (0.0, None, None)


def test_both_definitions_are_compared_if_both_files_have_them():
    rows = [row(0, "succeeded", "failed"), row(1, "failed", "failed")]
    assert [(c.definition, c.asr_a) for c in compare_rows(rows, rows)] == [
        ("strict", 0.5),
        ("confident", 0.0),
    ]


def test_skipped_rows_of_older_files_have_no_confident_outcome():
    rows = [row(0, "succeeded", "failed"), row(1, "skipped")]
    comparisons = compare_rows(rows, rows)
    assert [(c.definition, c.attempted_a) for c in comparisons] == [("strict", 1), ("confident", 1)]


@pytest.fixture
def reports(tmp_path):
    """Write two reports with the same recipe, one with another, and their rows files."""

    def write(name, rows, recipe):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"attacks": {"antonym": {"recipe": recipe}}}))
        lines = "".join(json.dumps(r) + "\n" for r in rows)
        (tmp_path / f"{name}.jsonl").write_text(lines)
        return path

    recipe = {"name": "paper-antonym", "stopwords": "nltk", "hash": "1"}
    a = write("a", made_rows(1), recipe)
    b = write("b", made_rows(2, rate=0.4), recipe)
    other = write("c", made_rows(2), {**recipe, "stopwords": None, "hash": "2"})
    return a, b, other


def test_reports_on_disk(reports):
    a, b, other = reports
    comparisons = compare_reports(a, b)
    assert comparisons == compare_rows(made_rows(1), made_rows(2, rate=0.4))
    assert comparisons == compare_reports(
        a, b, rows=(a.with_suffix(".jsonl"), b.with_suffix(".jsonl"))
    )
    with pytest.raises(HfBatError, match='stopwords: "nltk" and null'):
        compare_reports(a, other)


def run_command(*argv):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in argv]))


def test_preprocessing_defense_is_disclosed(reports, tmp_path, capsys):
    a, b, _ = reports
    defence = {"name": "canonicalize", "fingerprint": "0a1b2c3d4e5f67"}
    b.write_text(json.dumps({**json.loads(b.read_text()), "preprocessing_defence": defence}))
    assert run_command(a, b, "--json", tmp_path / "out.json") == 0
    head = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert head[0] == f"A: {a}" and head[1] == f"B: {b}"
    assert head[2].strip().startswith("Preprocessing defense: canonicalize (0a1b2c3d4e5f)")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["preprocessing_defences"] == {"b": defence} and "smoothed" not in written


def test_smoothed_model_is_disclosed(reports, tmp_path, capsys):
    a, b, _ = reports
    a.write_text(json.dumps({**json.loads(a.read_text()), "smoothed": {"samples": 30}}))
    assert run_command(a, b, "--json", tmp_path / "compared.json") == 0
    assert "Smoothed classifier: each answer is the vote over 30 draws" in capsys.readouterr().out
    assert json.loads((tmp_path / "compared.json").read_text())["smoothed"] == {
        "a": {"samples": 30}
    }
    write_report(tmp_path, tmp_path / "report.html")
    assert "A: Smoothed classifier: each answer" in (tmp_path / "report.html").read_text()


def test_command(reports, tmp_path, capsys):
    a, b, other = reports
    assert run_command(a, b, "--json", tmp_path / "out.json") == 0
    shown = capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text())["comparisons"][0]
    assert f"{100 * written['difference']:+.1f}" in shown and "antonym" in shown
    assert "Preprocessing defense" not in shown
    # The table has the rows in McNemar's test, not all rows.
    line = next(line for line in shown.splitlines() if line.startswith("antonym")).split()
    assert line[2] == str(written["attempted_by_both"]) != str(written["rows"])
    with pytest.raises(HfBatError, match="recipes"):
        run_command(a, other)


@pytest.mark.parametrize("more", [[], ["--rows", "x.jsonl", "y.jsonl"]])
def test_rows_of_the_reports_are_not_overwritten(reports, more, monkeypatch):
    a, b, _ = reports
    monkeypatch.chdir(a.parent)
    Path("x.jsonl").write_bytes(Path("a.jsonl").read_bytes())
    Path("y.jsonl").write_bytes(Path("b.jsonl").read_bytes())
    with pytest.raises(HfBatError, match="b.jsonl would overwrite a file that is read"):
        run_command(a, b, "--json", "b.jsonl", *more)
    assert Path("b.jsonl").read_bytes() == Path("y.jsonl").read_bytes()


def test_models_with_label_names_of_different_case_are_compared(tmp_path):
    rows = [{"premise": "A hot day.", "hypothesis": "It is hot.", "label": "neutral", "idx": 0}]
    rows += [{"premise": "A hot day.", "hypothesis": "A day.", "label": "entailment", "idx": 1}]
    paths = []
    for turn in (str.lower, str.upper):
        model = tiny_model("bert")
        names = map(turn, ("entailment", "neutral", "contradiction"))
        model.config.id2label = dict(enumerate(names))
        report = Attack("antonym", model, tiny_tokenizer(), "snli", antonyms={"hot": ["cold"]}).run(
            rows
        )
        assert report["antonym"]["recipe"]["skipped_labels"] == ["neutral"]
        paths.append(tmp_path / f"{turn.__name__}.json")
        report.save_json(paths[-1])
        report.save_rows(paths[-1].with_suffix(".jsonl"))
    assert paths[0].read_text() != paths[1].read_text()
    recipes = [json.loads(p.read_text())["attacks"]["antonym"]["recipe"] for p in paths]
    assert recipes[0] == recipes[1]
    rows = [path.with_suffix(".jsonl") for path in paths]
    assert len(compare_reports(*paths, rows)) == 2  # with both definitions


TEXTS = ["A.", "B."]


def attack_row(idx, predicted, outcome, tried=None, label=0):
    row = {"idx": idx, "attack": "antonym", "outcome": outcome, "original": TEXTS, "label": label}
    row["predicted"] = predicted
    if tried is not None:
        row |= {"candidates": len(tried), "kept": sum(edit[2] for edit in tried), "tried": tried}
    return row


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


def test_rates_in_worked_numbers():
    by_figure = {one.figure: one for one in compare_attack_rates(ROWS_A, ROWS_B)}
    rates = {figure: (one.rate_a, one.rate_b) for figure, one in by_figure.items()}
    assert rates == {
        "accuracy": (2 / 3, 2 / 3),
        "keep rate": (2 / 3, 1 / 4),
        "keep rate, valid": (1 / 2, 0.0),
        "keep rate, invalid": (1.0, 1 / 2),
    }
    assert (
        by_figure["keep rate, invalid"].difference == -0.5
        and by_figure["accuracy"].source == "antonym"
    )


def test_a_definition_that_no_edit_measures_has_no_rate():
    rows = [
        {**attack_row(0, 0, "succeeded", [["a", "b", 1, 0, 0]]), "outcome_valid": "failed"},
        {**attack_row(1, 0, "succeeded", [["c", "d", 1, 0, 0]]), "outcome_valid": "failed"},
    ]
    others = [{**rows[0], "tried": [["a", "b", 1, 0, 1]], "outcome_valid": "succeeded"}, rows[1]]
    strict, valid = compare_rows(rows, others)
    assert (strict.definition, strict.asr_a, strict.asr_b) == ("strict", 1.0, 1.0)
    assert (valid.asr_a, valid.asr_b, valid.difference) == (None, 0.5, None)


def test_rows_without_tried_edits_give_only_accuracy():
    plain = [
        [{k: v for k, v in row.items() if k != "tried"} for row in r] for r in (ROWS_A, ROWS_B)
    ]
    assert [one.figure for one in compare_attack_rates(*plain)] == ["accuracy"]


def test_bootstrap_of_counts_draws_whole_rows():
    rng = random.Random(0)
    counts = []
    for _ in range(300):
        of, ease = rng.randint(0, 9), rng.random()
        counts.append(tuple((sum(rng.random() < ease for _ in range(of)), of) for _ in range(2)))
    comparison = compare_counts(counts, resamples=4000)
    table, draws = np.array(counts), np.random.default_rng(1).integers(0, 300, size=(4000, 300))
    sums = table[draws].sum(1)
    plain = sums[:, 1, 0] / sums[:, 1, 1] - sums[:, 0, 0] / sums[:, 0, 1]
    assert comparison.interval == pytest.approx(np.percentile(plain, [2.5, 97.5]), abs=0.004)
    swapped = compare_counts([(b, a) for a, b in counts], resamples=4000)
    assert swapped.difference == pytest.approx(-comparison.difference)
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


def test_figures_of_a_contrast_set_equal_its_report(contrasts):
    comparisons = compare_contrast(*(report.row_results for report in contrasts))
    for one in comparisons:
        for report, rate in zip(contrasts, (one.rate_a, one.rate_b), strict=True):
            assert rate == getattr(report, one.figure.replace(", ", "_").replace(" ", "_")).rate
    assert [one.figure for one in comparisons][-1] == "obstinate errors" and comparisons[
        0
    ].rows == 2
    assert (comparisons[-1].rate_a, comparisons[-1].rate_b) == (1.0, 0.5)


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
    with pytest.raises(HfBatError, match="attack.json"):
        run_command(paths[0], tmp_path / "attack.json")


def test_original_without_a_scored_edit_does_not_count_for_consistency():
    rows = [*CONTRAST[:3], ContrastRow(5, None, ("E.", "F."), 0)]
    report = evaluate_contrast(rows, lambda inputs: [0, 1, 1, 0][: len(inputs)])
    by_figure = {
        one.figure: one for one in compare_contrast(report.row_results, report.row_results)
    }
    assert by_figure["consistency"].rate_a == report.consistency.rate == 0.0


def test_contrast_rows_are_paired_by_text_and_not_by_label_number(contrasts):
    first, second = ([dict(row) for row in report.row_results] for report in contrasts)
    for row in second:
        row["label"] = 2 - row["label"]
    assert compare_contrast(first, second)
    second[1]["text"] = "another"
    with pytest.raises(HfBatError, match="contrast rows"):
        compare_contrast(first, second)


def test_one_rows_file_is_not_taken_for_both(contrasts, tmp_path):
    for name, report in zip("ab", contrasts, strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps({"contrast": report.to_dict()}))
    lines = "".join(json.dumps(row) + "\n" for row in contrasts[0].row_results)
    (tmp_path / "rows.jsonl").write_text(lines)
    with pytest.raises(HfBatError, match="--rows"):
        run_command(tmp_path / "a.json", tmp_path / "b.json")
