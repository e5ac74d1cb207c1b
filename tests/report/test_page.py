"""`hf-bat report`: which files it recognizes, what the page shows, and whether a browser opens it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from attack_report_rows import attack_row
from html_page import CHROMIUM, Page

from hf_bat.attack.report import AttackReport, summarize
from hf_bat.attack.result import AttackResult
from hf_bat.cli import main
from hf_bat.report import page as page_module
from hf_bat.report.charts import MAX_POINTS, choose_ticks, place_lines, thin_points
from hf_bat.report.page import write_report
from hf_bat.report.rendering import ENVIRONMENT, format_number, join_facts

EVIL = "<script>alert('x')</script>"


def write(path, content):
    path.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    """Return a folder with the results of every command, and files that are not results."""
    out = tmp_path / "out"
    out.mkdir()
    write(out / "train_results.json", {"epoch": 2.0, "train_loss": 1.5, "train_samples": 80})
    evaluation = {"eval_accuracy": 0.75, "eval_antonym_asr": 0.5, "eval_samples": 40}
    write(out / "eval_results.json", evaluation)
    history = [
        {"step": s, "loss": 2 - s / 50, "loss_ce": 1.0, "loss_triplet": 1 - s / 50,
         "fickle_distance": 0.1, "obstinate_distance": s / 40, "fickle_valid": 0.9}
        for s in range(1, 41)
    ]  # fmt: skip
    history += [{"step": s, "eval_accuracy": s / 50, "eval_antonym_asr": 0.5} for s in (20, 40)]
    write(out / "trainer_state.json", {"global_step": 40, "log_history": history})
    fickle = {"perturbation": "synonym", "table": "abc123", "exclude_stopwords": True}
    write(out / "perturbations.json", {"method": "triplet", "fickle": fickle})
    rows = [attack_row(i, "succeeded" if i % 2 else "failed") for i in range(10)]
    rows[1]["original"][1] = EVIL
    rows[1]["perturbed"][1] = EVIL
    results = [AttackResult.from_dict(row) for row in rows]
    summary = summarize(results, "obstinate", {"name": "paper-antonym"})
    report = AttackReport({"antonym": summary}, {"antonym": results}, {"model": EVIL})
    report.save_json(out / "attack.json")
    report.save_rows(out / "attack.rows.jsonl")
    share = {"count": 3, "of": 4, "rate": 0.75, "interval": [0.3, 0.95]}
    write(out / "contrast.json", {"model": "m", "contrast": {"rows": 5, "consistency": share}})
    one = {"attack": "antonym", "definition": "strict", "asr_a": 0.5, "asr_b": 0.25,
           "difference": -0.25, "interval": [-0.4, -0.1], "p_value": 0.01}  # fmt: skip
    keeps = {"source": "antonym", "figure": "keep rate, invalid", "rate_a": 0.9, "rate_b": 0.8,
             "difference": -0.1, "interval": [-0.12, -0.08]}  # fmt: skip
    compared = {"a": "A.json", "b": "B.json", "comparisons": [one], "rates": [keeps]}
    write(out / "compare.json", compared)
    adversary = {"certified": 3, "not certified": 1, "abstained": 0, "accuracy": share}
    certificate = {"certifies": "the smoothed classifier", "adversaries": {"unlimited": adversary}}
    write(out / "certificate.json", {"model": "m", "certificate": certificate})
    metrics = {"eval_accuracy": {"mean": 0.625, "t_interval_95": [-0.5, 0.7]}}
    group = {"name": "method=safer", "runs": ["a", "b"], "metrics": metrics}
    row = {"idx": 0, "attack": "certificate", "outcome": "certified", "verdicts": {}}
    (out / "certificate.rows.jsonl").write_text(json.dumps(row) + "\n")
    write(out / "sweep.json", {"varied": ["method"], "interval": "t", "groups": [group]})
    write(out / "config.json", {"eval_anything": 1})
    write(out / "other.json", {"what": "ever"})
    (out / "broken.json").write_text("{")
    (out / "dev.jsonl").write_text('{"premise": "A dog."}\n')
    return out


def test_page_shows_all_results_of_the_folder(folder, capsys):
    listed = folder / "listed.json"
    assert main(["report", str(folder), "--json", str(folder.parent / "listed.json")]) == 0
    assert not listed.exists()
    told = json.loads((folder.parent / "listed.json").read_text())
    assert set(told["files"]) == {
        "train_results.json", "eval_results.json", "trainer_state.json", "perturbations.json",
        "attack.json", "attack.rows.jsonl", "contrast.json", "compare.json", "certificate.json",
        "sweep.json",
    }  # fmt: skip
    assert set(told["others"]) == {
        "other.json", "broken.json", "dev.jsonl", "certificate.rows.jsonl", "config.json",
    }  # fmt: skip
    assert "not shown: broken.json" in capsys.readouterr().out
    source = (folder / "report.html").read_text()
    page = Page(source)
    text = page.text
    assert "75.0 %" in text and "training loss" in text  # evaluation
    for name in ("loss_ce", "loss_triplet", "obstinate_distance"):
        assert f">{name}</text>" in source
    assert page.tags.count("svg") == 5, "three of the training log, one of evaluation, the rates"
    assert "Worst word pairs" in text and "Successful edits (all 5)" in text
    assert "<del>big</del>" in source and "<ins>small</ins>" in source
    assert "keep rate, invalid" in text and "-12.0 to -8.0" in text
    assert "the smoothed classifier" in text and "unlimited" in text
    assert "method=safer" in text and "62.5 %<small>0.0 to 70.0<" in source
    assert "consistency" in text and "McNemar" in text and "−" in text and "abc123" in text


def test_preprocessing_defense_is_disclosed_in_every_section(folder):
    defence = {"name": "canonicalize", "fingerprint": "0a1b2c3d4e5f67"}
    for name in ("attack.json", "contrast.json", "certificate.json", "compare.json"):
        write_report(folder, folder / "report.html")
        before = (folder / "report.html").read_text().count("Preprocessing defense: canonicalize")
        content = json.loads((folder / name).read_text())
        key, found = ("preprocessing_defences", {"b": defence}) if name == "compare.json" else (
            "preprocessing_defence", defence)  # fmt: skip
        write(folder / name, {**content, key: found})
        write_report(folder, folder / "report.html")
        after = (folder / "report.html").read_text()
        assert after.count("Preprocessing defense: canonicalize (0a1b2c3d4e5f)") == before + 1, name
    assert "B: Preprocessing defense" in after


def test_page_shows_no_token_of_an_earlier_result(tmp_path):
    arguments = {"method": "safer", "seed": 1, "hub_token": "hf_secret"}
    run = {"key": "01", "arguments": arguments, "metrics": {"eval_accuracy": 0.5}, "steps": 2}
    write(tmp_path / "result.json", run)
    write_report(tmp_path, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "safer, seed 1" in page and "hf_secret" not in page


def test_page_is_self_contained_and_escaped(folder):
    assert main(["report", str(folder), "--quiet"]) == 0
    source = (folder / "report.html").read_text()
    page = Page(source)
    assert {"script", "link", "img", "iframe", "a"}.isdisjoint(page.tags)
    assert EVIL in page.text and EVIL not in source
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "href")}
    assert not re.search(r"url\(|@import|https?://", source)
    assert "prefers-color-scheme: dark" in source and "default-src 'none'" in source
    assert "img-src" not in source, "without pictures none are allowed"


def test_numbers_and_facts_are_written_for_readers():
    assert [format_number(n) for n in (12345, 0.123456, None)] == ["12,345", "0.1235", "-"]
    facts = {"model": "bert", "training_rows": 1000, "task": None}
    assert join_facts(facts) == "model: bert · training rows: 1,000"


def test_templates_escape_every_value():
    assert ENVIRONMENT.autoescape is True
    for path in Path(page_module.__file__).parent.glob("templates/*"):
        source = path.read_text()
        assert not re.search(r"\|\s*safe|autoescape|Markup", source), path


def test_rows_without_a_report_and_the_state_of_the_last_checkpoint_are_shown(tmp_path):
    for step in (9, 10):
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        entries = [{"step": s, "loss": 1.0} for s in range(1, step)]
        write(checkpoint / "trainer_state.json", {"global_step": step, "log_history": entries})
    rows = [attack_row(i, "succeeded") for i in range(3)]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["report", str(tmp_path), "--output", str(tmp_path / "page.html"), "--quiet"]) == 0
    text = Page((tmp_path / "page.html").read_text()).text
    assert "checkpoint-10/trainer_state" in text and "checkpoint-9" not in text
    assert "Successful edits (all 3)" in text and "100.0 %" in text


def test_unknown_disclosures_of_rows_are_ignored(tmp_path):
    rows = [{**attack_row(0, "succeeded"), "preprocessing_defence": "mine", "smoothed": True}]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["report", str(tmp_path), "--quiet"]) == 0
    page = (tmp_path / "report.html").read_text().lower()
    assert "preprocessing def" not in page and "smoothed" not in page


def test_rows_that_two_reports_claim_are_not_shown(tmp_path):
    rows = [AttackResult.from_dict(attack_row(0, "succeeded"))]
    report = AttackReport({"antonym": summarize(rows, "obstinate", {})}, {"antonym": rows})
    for name in ("a.json", "b.json"):
        report.save_json(tmp_path / name)
    report.save_rows(tmp_path / "rows.jsonl")
    listed = tmp_path.parent / f"{tmp_path.name}.listed"
    assert main(["report", str(tmp_path), "--json", str(listed), "--quiet"]) == 0
    assert "2 fit" in json.loads(listed.read_text())["others"]["rows.jsonl"]
    assert "Successful edits" not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("content", [None, "{}", '{"attacks": []}', "[1]", "no json"])
def test_nothing_to_show_is_one_line_and_status_2(tmp_path, content, capsys):
    if content is not None:
        (tmp_path / "some.json").write_text(content)
    assert main(["report", str(tmp_path)]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1 and "nothing to show" in error
    assert not (tmp_path / "report.html").exists()
    assert main(["report", str(tmp_path / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err


DAMAGED = {
    "attack.json": {"attacks": {"antonym": {"per_pair": [{"a": 1}]}}},
    "certificate.json": {"certificate": {"adversaries": {"x": 3}}},
    "contrast.json": {"contrast": {"consistency": {"of": 4}}},
    "compare.json": {"comparisons": [{"difference": "x"}]},
    "sweep.json": {"varied": [], "groups": [3]},
    "results.json": {"settings": [{"ours": {}, "options": 3}]},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_file_is_named_and_the_others_are_shown(name, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    write(out / name, DAMAGED[name])
    assert main(["report", str(out)]) == 2
    text = capsys.readouterr().err
    says = f"nothing to show in {out}: {name}: damaged, or not written by hf_bat ("
    assert text.startswith(f"hf-bat: error: {says}") and text.count("\n") == 1
    write(out / "train_results.json", {"train_loss": 1.5})
    assert main(["report", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"shown: train_results.json\nnot shown: {name}: damaged, or not written by" in printed
    page = (out / "report.html").read_text()
    assert f"not shown: {name}: damaged" in page and "training loss" in page


def make_run(folder, name, successes, accuracy):
    out = folder / name
    out.mkdir()
    outcomes = ["succeeded"] * successes + ["failed"] * (40 - successes)
    results = [AttackResult.from_dict(attack_row(i, o)) for i, o in enumerate(outcomes)]
    summary = summarize(results, "obstinate", {"name": "paper-antonym"})
    report = AttackReport({"antonym": summary}, {"antonym": results}, {"model": f"runs/{name}"})
    report.save_json(out / "attack.json")
    report.save_rows(out / "attack.rows.jsonl")
    write(out / "eval_results.json", {"eval_accuracy": accuracy, "eval_antonym_asr": 0.5})
    return out


@pytest.mark.parametrize(
    ("after", "word"), [(4, "better"), (28, "no clear difference"), (40, "worse")]
)
def test_two_runs_begin_with_what_has_changed(tmp_path, after, word):
    old, new = make_run(tmp_path, "old", 30, 0.8), make_run(tmp_path, "new", after, 0.7)
    assert main(["report", str(old), str(new), "--quiet"]) == 0
    text = Page((new / "report.html").read_text()).text.replace("\xa0", " ")
    first = text.partition("All differences")[0]
    assert f"Antonyms: {word}" in first and f"75.0 % → {2.5 * after:.1f} %" in first
    assert "Accuracy: worse" in first and "80.0 % → 70.0 %" in first
    assert "before: runs/old · after: runs/new" in first
    assert main(["report", str(old), str(new), str(new)]) == 2


def test_damaged_rows_leave_their_report_shown(folder, capsys):
    row = attack_row(0, "succeeded") | {"perturbed": 3}
    (folder / "attack.rows.jsonl").write_text(json.dumps(row) + "\n")
    assert main(["report", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "not shown: attack.rows.jsonl: row 0: perturbed must be a list of texts" in printed
    assert "attack.json" in printed.splitlines()[0]
    (folder / "attack.rows.jsonl").write_text(json.dumps(attack_row(0, "succeeded")) + "\n")
    write(folder / "attack.json", DAMAGED["attack.json"])
    assert main(["report", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "not shown: attack.json: damaged, or not written by hf_bat (" in printed
    assert "not shown: attack.rows.jsonl: the rows of attack.json, which is not shown" in printed


def test_unwritable_page_is_one_line(folder, capsys):
    assert main(["report", str(folder), "--output", str(folder / "no" / "page.html")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_charts_leave_out_infinite_points_and_average_long_series():
    charts = ENVIRONMENT.get_template("charts.html").module
    assert place_lines({"loss": [(1, float("nan"))]}) == {}
    assert len(thin_points([(x, float(x)) for x in range(10_001)])) <= MAX_POINTS
    points = place_lines({"loss": [(5, 1.0)], EVIL: [(5, 2.0), (5, float("inf"))]})
    source = str(charts.line_chart(points, EVIL))
    assert source.count("<circle") == 2  # one log entry: a line of one point is invisible
    assert "nan" not in source.lower() and "inf" not in source and EVIL not in source
    assert Page(source).text.count(EVIL) == 2
    line = place_lines({"loss": [(5, 1.0), (6, 0.5)]})
    assert "<circle" not in charts.line_chart(line, "Loss")
    rates = [(EVIL * 10, 0.0, None), ("b", 1.0, (0.9, 1.0))]
    source = str(charts.rate_chart(rates, EVIL))
    assert Page(source).tags[0] == "svg" and EVIL not in source
    assert Page(source).text.count(EVIL) == 2  # the title and the visible part of the name
    assert choose_ticks(0, 1.7) == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert place_lines({"loss": [(1, 0.0), (2, 1.0)]})["lines"] == [
        ("loss", [(56.0, 232.0), (600.0, 12.0)], 12.0)
    ]
    for low, high in ((0, 1e-6), (-3, 7), (1e4, 36_000), (0.5, 0.5)):
        ticks = choose_ticks(low, high)
        assert ticks[0] <= low and ticks[-1] >= high and 2 <= len(ticks) <= 8


@pytest.mark.xdist_group("processes")
def test_browser_opens_the_page(folder, tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on PATH")
    assert main(["report", str(folder), "--quiet"]) == 0
    page = (folder / "report.html").as_uri()
    common = [browser, *CHROMIUM, f"--user-data-dir={tmp_path / 'profile'}"]
    shown = subprocess.run(
        [*common, "--dump-dom", page], capture_output=True, text=True, timeout=120
    )
    assert "Worst word pairs" in shown.stdout and "<svg" in shown.stdout
    picture = tmp_path / "page.png"
    size = "--window-size=900,1600"
    subprocess.run(
        [*common, f"--screenshot={picture}", size, page], capture_output=True, timeout=120
    )
    assert picture.read_bytes()[:4] == b"\x89PNG" and picture.stat().st_size > 20_000
