"""Files that a command is to write are looked at before its work."""

import pytest

from hf_bat.cli import main

# None of what these name is there: whoever looked for it first would say so.
MODEL = ["--model", "absent", "--data", "absent.jsonl"]
BUILD = ["lexicon", "build", "synonyms", "--vectors", "absent.txt", "--vocabulary", "absent.txt"]
COMMANDS = [
    *((["attack", "--task", "snli", *MODEL], f) for f in ("json", "rows", "csv", "html", "export")),
    (["attack", "--task", "snli", "--model", "absent", "--text", "A dog.", "A cat."], "json"),
    *((["certify", "--task", "snli", "--synonyms", "absent", *MODEL], f) for f in ("json", "rows")),
    *((["contrast", *MODEL], flag) for flag in ("json", "rows")),
    (["compare", "absent-a.json", "absent-b.json"], "json"),
    (["perturb", "--task", "snli", "--data", "absent.jsonl"], "json"),
    *((["report", "absent"], flag) for flag in ("json", "output")),
    (BUILD, "output"),
    ([*BUILD, "--output", "table.json"], "json"),
    (["lexicon", "info", "absent.json"], "json"),
]


@pytest.mark.parametrize(("words", "flag"), COMMANDS)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    words, flag, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, says in (
        ("folder", f"--{flag} folder is a folder; name a file"),
        ("file/out", f"--{flag}: cannot write file/out: no folder {tmp_path / 'file'}"),
        ("no/out", f"--{flag}: cannot write no/out: no folder {tmp_path / 'no'}"),
    ):
        assert main([*words, f"--{flag}", path]) == 2
        assert capsys.readouterr().err == f"hf-bat: error: {says}\n"


@pytest.mark.parametrize("path", ["folder", "file/out"])
def test_the_demo_looks_before_it_trains(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("hf_bat.demo.run_demo", lambda *_, **__: pytest.fail("trained"))
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert main(["demo", "--json", str(tmp_path / path)]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / path) in error and error.count("\n") == 1
