"""`hf-bat certify` and `hf-bat attack --smooth`: flags, files and messages."""

import json

import pytest
from certificate_helpers import SENTENCES, TABLE, made_rows
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat import SubstitutionTable
from hf_bat.cli import main
from hf_bat.data import choose_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, a table and rows on disk."""
    path = tmp_path_factory.mktemp("certify")
    tiny_model("bert", num_labels=2).save_pretrained(path / "model")
    texts = [text for pair in SENTENCES for text in pair]
    tiny_tokenizer(texts).save_pretrained(path / "model")
    SubstitutionTable(TABLE).save(path / "synonyms.json")
    rows = made_rows(12)
    (path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def call(command, folder, *flags):
    base = [command, "--model", folder / "model", "--task", "qqp"]
    return main([str(word) for word in (*base, *flags)])


def test_files_and_table(folder, tmp_path, capsys):
    flags = ["--data", folder / "dev.jsonl", "--synonyms", folder / "synonyms.json"]
    flags += ["--max-samples", 8, "--radius", 1, "--confidence", 0.9, "--samples", 100]
    flags += ["--batch-size", 8, "--device", "cpu", "--dtype", "float32", "--seed", 2]
    flags += ["--json", tmp_path / "report.json", "--rows", tmp_path / "rows.jsonl"]
    assert call("certify", folder, *flags) == 0
    said = capsys.readouterr()
    assert "This certifies the smoothed classifier" in said.out
    assert "| at most 1 word |" in said.out and "| any number of words |" in said.out
    assert "written: " in said.err
    report = json.loads((tmp_path / "report.json").read_text())
    certificate = report["certificate"]
    assert certificate["rows"] == 8 == certificate["attempted"] + certificate["skipped"]
    assert certificate["confidence"] == 0.9 and list(certificate["adversaries"]) == [
        "0",
        "1",
        "unlimited",
    ]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").open()]
    assert [row["idx"] for row in rows] == choose_rows(12, 8)
    assert {row["outcome"] for row in rows} <= {"certified", "not certified", "abstained"}
    # A second run reads the rows file and does not query the model.
    assert call("certify", folder, *flags) == 0
    again = json.loads((tmp_path / "report.json").read_text())
    assert again["certificate"] == certificate and again["cost"]["forwards"] == 0


def test_preprocessing_defense_is_used_and_disclosed(tmp_path, capsys):
    words = {"big": ["large", "huge"], "large": ["big", "huge"], "huge": ["big", "large"]}
    tiny_model("bert", num_labels=2).save_pretrained(tmp_path / "model")
    tiny_tokenizer(["big large huge dog"]).save_pretrained(tmp_path / "model")
    SubstitutionTable(words).save(tmp_path / "synonyms.json")
    row = {"question1": "big dog", "question2": "large big dog", "label": 1}
    (tmp_path / "dev.jsonl").write_text(json.dumps(row) + "\n")
    flags = ["--data", tmp_path / "dev.jsonl", "--synonyms", tmp_path / "synonyms.json"]
    flags += ["--samples", 50, "--json", tmp_path / "report.json"]
    assert call("certify", tmp_path, *flags, "--canonicalize", tmp_path / "synonyms.json") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["preprocessing_defence"]["name"] == "canonicalize"
    assert "Preprocessing defense: canonicalize (" in capsys.readouterr().out
    assert report["cost"]["forwards"] == 1, "every draw is the same text to the model"
    assert call("certify", tmp_path, *flags) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert "preprocessing_defence" not in report and report["cost"]["forwards"] > 1


@pytest.mark.parametrize(
    "flags, keyword",
    [
        ([], "--synonyms"),
        (["--synonyms", "absent.json"], "absent.json"),
        (["--synonyms", "TABLE", "--radius", "-1"], "radius"),
        (["--synonyms", "TABLE", "--confidence", "1"], "confidence"),
        (["--synonyms", "TABLE", "--samples", "3"], "3 samples"),
        (["--synonyms", "TABLE", "--casing", "upper"], "upper"),
        (["--synonyms", "TABLE", "--json", "/no/such/folder/r.json"], "/no/such/folder"),
        (["--synonyms", "TABLE", "--columns", "x"], "--columns"),
        (["--synonyms", "TABLE", "--dtype", "int4"], "int4"),
        (["--synonyms", "TABLE", "--max-seq-length", "-5"], "max_length"),
        (["--synonyms", "TABLE", "--json", "/"], "--json"),
    ],
)
def test_bad_input_ends_in_one_line(folder, capsys, flags, keyword):
    flags = [folder / "synonyms.json" if flag == "TABLE" else flag for flag in flags]
    assert call("certify", folder, "--data", folder / "dev.jsonl", *flags) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("hf-bat: error: ") and keyword in last


def test_smoothed_model_is_attacked(folder, tmp_path, capsys):
    flags = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "--smooth", 30]
    flags += ["--max-samples", 5, "--json", tmp_path / "report.json"]
    assert call("attack", folder, *flags) == 2
    assert "--smooth" in capsys.readouterr().err
    assert call("attack", folder, *flags, "--synonyms", folder / "synonyms.json") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["smoothed"]["samples"] == 30 and "smoothed, 30 samples" in report["model"]
