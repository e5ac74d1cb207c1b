"""`hf-bat sweep` and the tables and pictures that it writes."""

import io
import json
import sys

import pytest
from sweep_helpers import BASE
from terminal import Terminal
from training_helpers import made_rows

from hf_bat import cli
from hf_bat.canonicalize import MAPPING_VERSION
from hf_bat.sweep import Run, group_runs, make_grid, markdown, run_all
from hf_bat.sweep.key import identify
from hf_bat.sweep.summary import FICKLE, OBSTINATE, write_summary


@pytest.mark.xdist_group("processes")
def test_command_lists_makes_and_summarizes_runs(tmp_path, fake_worker, capsys):
    pytest.importorskip("matplotlib")
    rows = tmp_path / "train.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in made_rows(64)))
    words = ["sweep", "--base", f"--model_name_or_path m --task snli --train_file {rows}",
             "--grid", "method=normal,pairwise", "--grid", "alpha=0.5,1", "--grid", "seed=1,2",
             "--output_dir", str(tmp_path / "s")]  # fmt: skip
    assert cli.main([*words, "--dry_run"]) == 0
    listed = capsys.readouterr().out
    assert listed.count("  to make  ") == 6 and listed.endswith("\n6 of 6 runs to make\n")
    assert not (tmp_path / "s").exists()

    assert cli.main([*words, "--jobs", "2"]) == 0
    table = capsys.readouterr().out
    assert (
        "| method=pairwise alpha=0.5 | 2 | 80.00 (80.00 to 80.00) | 36.50 (30.15 to 42.85)" in table
    )
    content = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert len(content["runs"]) == 6 and "t-interval" in content["interval"]
    (group,) = [g for g in content["groups"] if g["name"] == "method=normal"]
    assert group["metrics"]["eval_synonym_asr"]["values"] == pytest.approx([0.31, 0.32])
    assert {path.name for path in (tmp_path / "s").iterdir()} == {
        "runs", "sweep.json", "sweep.md", "frontier.png", "frontier.svg"
    }  # fmt: skip
    assert "95 % t-interval" in (tmp_path / "s" / "sweep.md").read_text()

    # A third seed adds three runs.
    assert cli.main([*[w.replace("seed=1,2", "seed=1,2,3") for w in words], "--dry_run"]) == 0
    listed = capsys.readouterr().out
    assert (
        listed.count("  finished  ") == 6
        and "3 of 9 runs to make; a finished run took 00:05" in listed
    )


@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_prints_nothing_on_a_terminal(tmp_path, fake_worker, monkeypatch, capfd, quiet):
    pytest.importorskip("matplotlib")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    words = ["sweep", "--base", "--model_name_or_path m --task snli --seed 1 --max_train_samples 8",
             "--output_dir", str(tmp_path / "s"), *["--quiet"] * quiet]  # fmt: skip
    assert cli.main(words) == 0 and (tmp_path / "s" / "sweep.md").exists()
    seen = terminal.getvalue() + "".join(capfd.readouterr())
    assert seen == "" if quiet else "written: " in seen


def test_nothing_is_printed_if_lines_are_announced(tmp_path, fake_worker, monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    lines = []
    runs = make_grid(BASE, {"seed": [1]})
    assert run_all(runs, tmp_path, announce=lines.append) == []
    assert "1/1 runs" in lines[-1] and stream.getvalue() == ""


def test_group_of_one_seed_has_no_interval():
    runs = [Run("1", {"seed": 1})]
    groups = group_runs(runs, {runs[0].key: {"metrics": {"eval_accuracy": 0.5}}}, ["seed"])
    assert "| the base | 1 | 50.00 |" in markdown(groups)
    assert groups[0].to_dict()["metrics"]["eval_accuracy"]["t_interval_95"] is None


def test_nan_of_early_results_is_left_out(tmp_path):
    """Early results had NaN for the metric of the best model if it was a rate without data."""
    runs = [Run("1", {"seed": 1}), Run("2", {"seed": 2})]
    rates = zip(runs, (0.5, float("nan")), strict=True)
    results = {
        run.key: {"metrics": {"eval_accuracy": 0.75, "eval_antonym_asr": rate}, "arguments": {}}
        for run, rate in rates
    }
    write_summary(tmp_path, runs, results, ["seed"])
    (group,) = group_runs(runs, results, ["seed"])
    assert group.values == {"eval_accuracy": [0.75, 0.75], "eval_antonym_asr": [0.5]}
    assert "| the base | 2 | 75.00" in (tmp_path / "sweep.md").read_text()


def test_table_clips_intervals_to_shares():
    """For two seeds with 0 % and 1 %, Student's interval starts at -5.85 %."""
    runs = [Run("1", {"seed": 1}), Run("2", {"seed": 2})]
    rates = zip(runs, ((0.0, 1.0), (0.01, 0.99)), strict=True)
    results = {
        run.key: {"metrics": {"eval_synonym_asr": low, "eval_accuracy": high}}
        for run, (low, high) in rates
    }
    (group,) = groups = group_runs(runs, results, ["seed"])
    row = "| the base | 2 | 99.50 (93.15 to 100.00) | 0.50 (0.00 to 6.85) |"
    assert markdown(groups).splitlines()[-1] == row
    low, high = group.to_dict()["metrics"]["eval_synonym_asr"]["t_interval_95"]
    assert low == pytest.approx(-0.0585, abs=1e-4) and high == pytest.approx(0.0685, abs=1e-4)


def test_table_has_a_column_for_every_attack():
    rates = {"accuracy": 0.9, "sister_asr": 0.1, "number_asr_confident": 0.2, "toxicity_keep_rate": 0.3,
             "antonym_invalid_keep_rate": 0.4, "sister_asr_mm": 0.5, "loss": 0.6}  # fmt: skip
    runs = [Run("1", {"seed": 1})]
    results = {"1": {"metrics": {f"eval_{name}": rate for name, rate in rates.items()}}}
    assert markdown(group_runs(runs, results, ["seed"])).splitlines() == [
        "| run | seeds | accuracy | sister ASR | number ASR, confident | toxicity keep rate "
        "| antonym invalid keep rate | sister ASR (mismatched) |",
        "|---|---|---|---|---|---|---|---|",
        "| the base | 1 | 90.00 | 10.00 | 20.00 | 30.00 | 40.00 | 50.00 |",
    ]


def test_preprocessing_defense_is_disclosed_in_all_files(tmp_path):
    pytest.importorskip("matplotlib")
    runs = make_grid({**BASE, "method": "safer"}, {"canonicalize": [False, True], "seed": [1]})
    rates = {"eval_accuracy": 0.9, FICKLE: 0.0, OBSTINATE: 0.8}
    results = {
        run.key: {"key": run.key, "arguments": dict(run.arguments), "metrics": rates}
        for run in runs
    }
    plain, defended = runs
    # A different rule for creating the mapping from the table results in a different run.
    assert identify(defended.arguments)["canonicalize"] == MAPPING_VERSION
    line = "canonicalize=True: Preprocessing defense: canonicalize"
    # Early results only have it in their arguments.
    write_summary(tmp_path, runs, results, ["canonicalize", "seed"])
    assert (tmp_path / "sweep.md").read_text().startswith(f"{line}: words are rewritten")
    defense = {"name": "canonicalize", "fingerprint": "0a1b2c3d4e5f67"}
    results[defended.key]["preprocessing_defence"] = defense
    write_summary(tmp_path, runs, results, ["canonicalize", "seed"])
    assert (tmp_path / "sweep.md").read_text().startswith(f"{line} (0a1b2c3d4e5f): words")
    groups = json.loads((tmp_path / "sweep.json").read_text())["groups"]
    assert [group.get("preprocessing_defence") for group in groups] == [None, defense]
    picture = (tmp_path / "frontier.svg").read_text()
    assert ">safer</text>" in picture and ">safer, canonicalize</text>" in picture
    assert cli.main(["report", str(tmp_path), "--quiet"]) == 0
    assert f"<p>{line} (0a1b2c3d4e5f)" in (tmp_path / "report.html").read_text()
    # If it applies to all runs, the line has no name.
    write_summary(tmp_path, [defended], results, ["seed"])
    assert (tmp_path / "sweep.md").read_text().startswith("Preprocessing defense: canonicalize (")
    write_summary(tmp_path, [plain], results, ["seed"])
    for name in ("sweep.md", "frontier.svg"):
        assert "canonicalize" not in (tmp_path / name).read_text()


def test_frontier_metric_that_no_run_has_is_refused(tmp_path, capsys):
    def run(flags, metric):
        base = f"--model_name_or_path m --task snli {flags}"
        words = ["--obstinate", metric, "--output_dir", str(tmp_path / "s"), "--dry_run"]
        status = cli.main(["sweep", "--base", base, *words])
        return status, capsys.readouterr().err

    attacks = "--attacks paper-antonym sister synonym"
    for metric in ("foo", "eval_number_asr", "eval_synonym_asr", "eval_antonym_valid_asr"):
        status, error = run(attacks, metric)
        assert status == 2 and error.count("\n") == 1
        assert f"--obstinate {metric}" in error
        assert "eval_antonym_asr" in error and "eval_sister_keep_rate" in error
    assert "--attacks" in run("", "foo")[1]
    assert run(attacks, "eval_sister_asr") == run(attacks, "eval_antonym_asr_mm") == (0, "")
    assert run(f"{attacks} --attack_label_filter", "eval_antonym_valid_asr") == (0, "")
