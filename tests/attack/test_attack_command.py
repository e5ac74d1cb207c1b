"""`hf-bat attack`: flags, files, messages."""

import csv
import json

import pytest
from attack_helpers import ANTONYMS, SYNONYMS, made_rows
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.cli import main
from hf_bat.lexicon import SubstitutionTable


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, tables and rows on disk."""
    path = tmp_path_factory.mktemp("attack")
    rows = made_rows(40, seed=41)
    tiny_model("bert").save_pretrained(path / "model")
    tiny_tokenizer([t for r in rows for t in (r["premise"], r["hypothesis"])]).save_pretrained(
        path / "model"
    )
    SubstitutionTable(ANTONYMS).save(path / "antonyms.json")
    SubstitutionTable(SYNONYMS).save(path / "synonyms.json")
    (path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def attack(folder, *flags):
    tables = [
        "--antonyms",
        str(folder / "antonyms.json"),
        "--synonyms",
        str(folder / "synonyms.json"),
    ]
    return main(
        ["attack", "--model", str(folder / "model"), "--task", "snli", *tables, *map(str, flags)]
    )


def test_files_are_as_promised(folder, tmp_path, capsys):
    flags = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "synonym", "negation"]
    flags += ["--max-samples", 30, "--batch-size", 8, "--device", "cpu", "--dtype", "float32"]
    flags += ["--seed", 3, "--skip-labels"]
    for kind in ("json", "rows", "csv", "html", "export"):
        flags += [f"--{kind}", tmp_path / f"out.{kind}"]
    assert attack(folder, *flags) == 0
    table = capsys.readouterr().out
    assert "| antonym | 30 |" in table and "| negation | 30 |" in table
    report = json.loads((tmp_path / "out.json").read_text())
    assert list(report["attacks"]) == ["antonym", "synonym", "negation"]
    for name, summary in report["attacks"].items():
        assert summary["rows"] == 30 == summary["attempted"] + summary["skipped"]
        assert summary["recipe"]["name"].startswith(f"paper-{name}")
    rows = [json.loads(line) for line in (tmp_path / "out.rows").open()]
    assert len(rows) == 90
    for row in rows:
        assert {"idx", "attack", "outcome", "original", "perturbed", "queries"} <= set(row)
        assert ("outcome_confident" in row) == (row["attack"] != "synonym")
        confident = row.get("outcome_confident", row["outcome"])
        assert (confident == "skipped") == (row["outcome"] == "skipped")
    with open(tmp_path / "out.csv", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["outcome"] for line in lines] == [row["outcome"] for row in rows]
    exported = [json.loads(line) for line in (tmp_path / "out.export").open()]
    fooled = [row for row in rows if row["outcome"] == "succeeded"]
    assert len(exported) == len(fooled) > 0
    for line, row in zip(exported, fooled, strict=True):
        assert [line["premise"], line["hypothesis"]] == row["perturbed"]
        assert line["label"] == (row["label"] if row["attack"] == "synonym" else -1)
    assert "<html" in (tmp_path / "out.html").read_text()


def test_the_same_command_again_asks_nothing_and_says_the_same(folder, tmp_path, capsys):
    flags = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "synonym"]
    flags += ["--rows", tmp_path / "rows.jsonl", "--json", tmp_path / "report.json"]
    reports, rows = [], []
    for _ in range(2):
        assert attack(folder, *flags) == 0
        reports.append(json.loads((tmp_path / "report.json").read_text()))
        rows.append((tmp_path / "rows.jsonl").read_bytes())
    assert reports[0]["attacks"] == reports[1]["attacks"] and rows[0] == rows[1]
    assert (
        reports[1]["cost"]["antonym"]["forwards"] == 0 < reports[0]["cost"]["antonym"]["forwards"]
    )


def test_rows_without_labels_are_not_passed_over_in_silence(folder, tmp_path, capsys):
    row = {"premise": "A big dog.", "hypothesis": "A dog."}
    (tmp_path / "dev.jsonl").write_text(json.dumps(row) + "\n")
    assert attack(folder, "--data", tmp_path / "dev.jsonl", "--attacks", "antonym") == 0
    assert "antonym: no row was attacked (no label: 1)" in capsys.readouterr().err


def test_rows_without_labels_among_others_are_counted(folder, tmp_path, capsys):
    labels = [0, -100, 1, -1]
    rows = [{"premise": "A big dog.", "hypothesis": "A dog.", "label": label} for label in labels]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert attack(folder, "--data", tmp_path / "dev.jsonl", "--attacks", "antonym") == 0
    assert "skipped 2 of 4 rows without a label" in capsys.readouterr().err


def test_one_pair_at_the_prompt(folder, tmp_path, capsys):
    flags = [
        "--text",
        "The man is happy in the hot rain.",
        "A dog.",
        "--attacks",
        "antonym",
        "negation",
    ]
    flags += ["--skip-labels", "--json", tmp_path / "one.json", "--print-recipes"]
    assert attack(folder, *flags) == 0
    said = capsys.readouterr().out
    assert "paper-antonym" in said and "candidates" in said
    found = json.loads((tmp_path / "one.json").read_text())
    assert [row["attack"] for row in found] == ["antonym", "negation"]
    assert found[0]["candidates"] == 4  # man -> woman, happy -> sad, hot -> cold and cool


def test_the_order_that_labels_without_names_are_read_in_is_said(folder, tmp_path, capsys):
    flags = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "--max-samples", 2]
    assert attack(folder, *flags) == 0
    assert "0 entailment, 1 neutral, 2 contradiction" in capsys.readouterr().err
    model = tiny_model("bert")
    model.config.id2label = {0: "contradiction", 1: "entailment", 2: "neutral"}
    model.save_pretrained(tmp_path)
    flags += ["--model", tmp_path, "--tokenizer", folder / "model"]
    assert attack(folder, *flags) == 0
    assert "warning" not in capsys.readouterr().err


def test_a_smoothed_model_can_leave_stop_words_alone(folder, tmp_path):
    flags = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "--max-samples", 2]
    found = []
    for more in ([], ["--exclude-stopwords"]):
        out = ["--smooth", 5, *more, "--json", tmp_path / "r.json"]
        assert attack(folder, *flags, *out) == 0
        smoothed = json.loads((tmp_path / "r.json").read_text())["smoothed"]
        found.append(smoothed["smoothing"]["exclude_stopwords"])
    assert found == [False, True]
