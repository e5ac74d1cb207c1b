"""Comparing two models: McNemar against its definition, the bootstrap against a plain one, refusals."""

import argparse
import json
import math
import random

import numpy as np
import pytest
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.attack import Attack
from hf_bat.commands import compare as command
from hf_bat.errors import HfBatError
from hf_bat.evaluation.compare import compare_outcomes, compare_reports, compare_rows
from hf_bat.report.page import write_report


def row(idx, outcome, confident=None, attack="antonym", original=("A.", "B.")):
    made = {"idx": idx, "attack": attack, "outcome": outcome, "original": list(original)}
    return made if confident is None else {**made, "outcome_confident": confident}


def made_rows(seed, n=400, rate=0.5, skip=0.1, shared_seed=5):
    """Rows of one model; which rows are hard is the same for every seed, so that pairs correlate."""
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
    found = compare_outcomes(pairs)
    assert (found.rows, found.attempted_a, found.attempted_b) == (20, 12, 12)
    assert (found.asr_a, found.asr_b) == (7 / 12, 7 / 12)
    assert (found.attempted_by_both, found.only_a, found.only_b) == (10, 3, 1)
    assert found.p_value == 0.625


def test_the_bootstrap_is_that_of_whole_rows():
    rows_a, rows_b = made_rows(1, rate=0.55), made_rows(2, rate=0.4)
    found = compare_rows(rows_a, rows_b)[0]
    outcome = np.array([[r["outcome"] for r in rows] for rows in (rows_a, rows_b)])
    rng = np.random.default_rng(7)
    differences = []
    for _ in range(4000):
        chosen = outcome[:, rng.integers(0, outcome.shape[1], outcome.shape[1])]
        asr = (chosen == "succeeded").sum(axis=1) / (chosen != "skipped").sum(axis=1)
        differences.append(asr[1] - asr[0])
    low, high = np.percentile(differences, [2.5, 97.5])
    assert found.interval == pytest.approx((low, high), abs=0.006)
    assert found.interval[0] < found.difference < found.interval[1] < 0
    # Pairing pays: as independent samples the interval would be wider.
    variance = sum(
        asr * (1 - asr) / n
        for asr, n in ((found.asr_a, found.attempted_a), (found.asr_b, found.attempted_b))
    )
    assert high - low < 2 * 1.96 * math.sqrt(variance) * 0.85


def test_the_seed_decides_and_the_order_of_rows_does_not():
    rows_a, rows_b = made_rows(1), made_rows(2, rate=0.4)
    found = compare_rows(rows_a, rows_b)
    assert found == compare_rows(rows_a[::-1], random.Random(0).sample(rows_b, len(rows_b)))
    assert found[0].interval != compare_rows(rows_a, rows_b, seed=1)[0].interval


def test_swapping_the_models_turns_the_signs():
    forth, back = (
        compare_rows(*pair)[0] for pair in _both_ways(made_rows(1), made_rows(2, rate=0.4))
    )
    assert forth.difference == pytest.approx(-back.difference)
    assert (forth.only_a, forth.only_b, forth.p_value) == (back.only_b, back.only_a, back.p_value)


def _both_ways(a, b):
    return (a, b), (b, a)


def test_nothing_attempted_gives_null_not_a_rate():
    rows = [row(0, "skipped"), row(1, "skipped")]
    found = compare_rows(rows, rows)[0]
    assert (found.asr_a, found.difference, found.interval, found.p_value) == (None,) * 4
    one_sided = compare_rows([row(0, "failed")], [row(0, "skipped")])[0]
    assert (one_sided.asr_a, one_sided.asr_b, one_sided.difference) == (0.0, None, None)


def test_both_definitions_where_both_files_have_them():
    rows = [row(0, "succeeded", "failed"), row(1, "failed", "failed")]
    assert [(c.definition, c.asr_a) for c in compare_rows(rows, rows)] == [
        ("strict", 0.5),
        ("confident", 0.0),
    ]


def test_rows_that_were_skipped_have_no_confident_outcome_in_older_files():
    rows = [row(0, "succeeded", "failed"), row(1, "skipped")]
    found = compare_rows(rows, rows)
    assert [(c.definition, c.attempted_a) for c in found] == [("strict", 1), ("confident", 1)]


@pytest.mark.parametrize(
    ("rows_a", "rows_b", "message"),
    [
        ([row(0, "failed")], [row(1, "failed")], "row 0 is only in A"),
        ([row(0, "failed")], [row(0, "failed"), row(3, "failed")], "row 3 is only in B"),
        ([row(0, "failed")], [row(0, "failed", original=("C.",))], "row 0 has another text"),
        (
            [{**row(0, "failed"), "recipe": "1"}],
            [{**row(0, "failed"), "recipe": "2"}],
            "different recipe",
        ),
        ([row(0, "failed")], [row(0, "failed", attack="synonym")], "no attack in common"),
        ([row(0, "failed")] * 2, [row(0, "failed")], "row 0 of A stands twice"),
        ([row(0, "won")], [row(0, "failed")], "outcome 'won'"),
        ([{"idx": 0, "attack": "antonym"}], [], "no 'outcome'"),
        ([], [], "no attack in common"),
    ],
)
def test_what_cannot_be_paired_is_refused(rows_a, rows_b, message):
    with pytest.raises(HfBatError, match=message):
        compare_rows(rows_a, rows_b)


@pytest.fixture
def reports(tmp_path):
    """Two reports on disk with their rows beside them."""

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
    found = compare_reports(a, b)
    assert found == compare_rows(made_rows(1), made_rows(2, rate=0.4))
    assert found == compare_reports(a, b, rows=(a.with_suffix(".jsonl"), b.with_suffix(".jsonl")))
    with pytest.raises(HfBatError, match='different recipes .stopwords: "nltk" and null'):
        compare_reports(a, other)
    b.with_suffix(".jsonl").unlink()
    with pytest.raises(HfBatError, match="no rows file for .*--rows A.jsonl B.jsonl"):
        compare_reports(a, b)


def test_bad_files(tmp_path, reports):
    a = reports[0]
    for name, content, message in (
        ("list.json", "[]", "no attack report"),
        ("broken.json", "{", "not JSON"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(HfBatError, match=message):
            compare_reports(a, tmp_path / name)
    with pytest.raises(HfBatError, match="No such file"):
        compare_reports(a, tmp_path / "absent.json")
    (tmp_path / "rows.txt").write_text("{}\nnot json\n")
    with pytest.raises(HfBatError, match="not JSON lines"):
        compare_reports(a, a, rows=(tmp_path / "rows.txt",) * 2)


def run_command(*argv):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in argv]))


def test_a_preprocessing_defence_is_disclosed(reports, tmp_path, capsys):
    a, b, _ = reports
    defence = {"name": "canonicalize", "fingerprint": "0a1b2c3d4e5f67"}
    b.write_text(json.dumps({**json.loads(b.read_text()), "preprocessing_defence": defence}))
    assert run_command(a, b, "--json", tmp_path / "out.json") == 0
    head = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert head[0] == f"A: {a}" and head[1] == f"B: {b}"
    assert head[2].strip().startswith("Preprocessing defence: canonicalize (0a1b2c3d4e5f)")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["preprocessing_defences"] == {"b": defence} and "smoothed" not in written


def test_a_smoothed_model_is_disclosed(reports, tmp_path, capsys):
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
    assert "Preprocessing defence" not in shown
    with pytest.raises(HfBatError, match="different recipes"):
        run_command(a, other)
    with pytest.raises(HfBatError, match="--resamples must be at least 1"):
        run_command(a, b, "--resamples", 0)


def test_models_whose_label_names_differ_in_case_alone_are_compared(tmp_path):
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
    assert len(compare_reports(*paths, rows)) == 2  # by both definitions
