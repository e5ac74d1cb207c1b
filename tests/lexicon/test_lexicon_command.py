"""`hf-bat lexicon`. Its bad calls are in `bad_calls/commands.py`."""

import argparse
import json
import pickle

import pytest

from hf_bat.commands import lexicon
from hf_bat.errors import HfBatError
from hf_bat.lexicon import SubstitutionTable, default_antonyms


def _run(*arguments):
    parser = argparse.ArgumentParser()
    lexicon.add_arguments(parser)
    return lexicon.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "train.jsonl"
    rows = [{"premise": "The big dog hated cars.", "hypothesis": "A big dog hated cars"}] * 2
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_build_antonyms(tmp_path, data, capsys):
    output = tmp_path / "a.json.gz"
    assert _run("build", "antonyms", "--data", data, "--task", "snli", "--output", output) == 0
    table = SubstitutionTable.load(output)
    assert set(table) == {"big", "hated"}
    assert table["hated"] == default_antonyms()["hated"]
    assert table.metadata["vocabulary"]["splits"]["train"]["rows"] == 2
    assert table.fingerprint in capsys.readouterr().out


def test_build_synonyms_from_vectors(tmp_path, data, capsys):
    (tmp_path / "v.txt").write_text("big 1 0\nhated 1 0.1\ncars 0 1\n")
    output, report = tmp_path / "s.json", tmp_path / "report.json"
    arguments = ["build", "synonyms", "--vectors", tmp_path / "v.txt", "--data", data]
    arguments += ["--columns", "premise", "hypothesis", "--procedure", "topk", "--threshold", "0.9"]
    arguments += ["--min-count", "3", "--evaluated", data, "--output", output, "--json", report]
    assert _run(*arguments) == 0
    table = SubstitutionTable.load(output)
    assert dict(table) == {"big": ("hated",), "hated": ("big",)}
    assert json.loads(report.read_text())["fingerprint"] == table.fingerprint
    assert "will be evaluated and fed the vocabulary" in capsys.readouterr().err


def test_build_from_a_list_of_words(tmp_path):
    (tmp_path / "words.txt").write_text("hires\n\nCar\n")
    output = tmp_path / "t.json"
    assert (
        _run("build", "synonyms", "--vocabulary", tmp_path / "words.txt", "--output", output) == 0
    )
    assert "automobile" in SubstitutionTable.load(output)["car"]


def test_convert_and_info(tmp_path, capsys):
    (tmp_path / "t.pkl").write_bytes(
        pickle.dumps({"hot": {"set": ["hot", "warm", "cold"], "isdivide": 0}})
    )
    assert _run("convert", tmp_path / "t.pkl", "--output", tmp_path / "t.json") == 0
    capsys.readouterr()
    assert _run("info", tmp_path / "t.json", "--words", "hot", "--json", tmp_path / "i.json") == 0
    info = json.loads((tmp_path / "i.json").read_text())
    assert info["words"] == 1 and info["sample"] == {"hot": ["warm", "cold"]}
    assert info["replacements_that_wordnet_calls_antonyms"] == 1
    assert "warm" in capsys.readouterr().out
    assert _run("info", "default-antonyms") == 0
    assert default_antonyms().fingerprint in capsys.readouterr().out


def test_empty_table_is_not_written(tmp_path):
    (tmp_path / "words.txt").write_text("xyzzy\n")
    arguments = ["--vocabulary", tmp_path / "words.txt", "--output", tmp_path / "t.json"]
    with pytest.raises(HfBatError, match="would be empty"):
        _run("build", "antonyms", *arguments)
    assert not (tmp_path / "t.json").exists()
