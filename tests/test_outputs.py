"""Files that a command is to write are looked at before its work."""

import json
import os
import shutil

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


ATTACK = ["attack", "--task", "snli", "--model", "absent", "--data", "d.jsonl"]
SWEEP = "--model_name_or_path absent --task snli --train_file ./sweep.json"
OVERWRITE = [
    ([*ATTACK, "--json", "./d.jsonl"], "--json ./d.jsonl"),
    ([*ATTACK, "--rows", "link"], "--rows link"),
    ([*ATTACK, "--csv", "hard"], "--csv hard"),
    ([*ATTACK, "--synonyms", "t.json", "--export", "t.json"], "--export t.json"),
    ([*ATTACK, "--attacks", "toxicity", "--toxic-words", "t.json", "--html", "t.json"],
     "--html t.json"),
    ([*ATTACK, "--canonicalize", "t.json", "--json", "t.json"], "--json t.json"),
    (["certify", *ATTACK[1:], "--synonyms", "t.json", "--json", "t.json"], "--json t.json"),
    (["certify", *ATTACK[1:], "--synonyms", "t.json", "--rows", "d.jsonl"], "--rows d.jsonl"),
    (["contrast", *ATTACK[1:], "--rows", "d.jsonl"], "--rows d.jsonl"),
    (["compare", "a.json", "b.json", "--json", "b.json"], "--json b.json"),
    (["compare", "a.json", "b.json", "--rows", "r", "d.jsonl", "--json", "r"], "--json r"),
    (["compare", "a.json", "b.json", "--json", "a.jsonl"], "--json a.jsonl"),
    (["perturb", "--task", "snli", "--data", "d.jsonl", "--json", "d.jsonl"], "--json d.jsonl"),
    ([*BUILD, "--output", "absent.txt"], "--output absent.txt"),
    (["lexicon", "build", "synonyms", "--data", "x", "d.jsonl", "--output", "d.jsonl"],
     "--output d.jsonl"),
    (["lexicon", "convert", "t.json", "--output", "t.json"], "--output t.json"),
    (["lexicon", "info", "t.json", "--json", "t.json"], "--json t.json"),
    ([*ATTACK, "--model", "m", "--json", "m/config.json"], "--json m/config.json"),
    (["certify", *ATTACK[1:], "--synonyms", "t.json", "--model", "m", "--rows",
      "m/model.safetensors"], "--rows m/model.safetensors"),
    (["report", "m", "--output", "m/tokenizer.json"], "--output m/tokenizer.json"),
]  # fmt: skip
TWICE = [
    ([*ATTACK, "--json", "z", "--html", "./z"], "--json and --html are one file, ./z"),
    ([*ATTACK, "--rows", "d.csv", "--csv", "d.csv"], "--rows and --csv are one file, d.csv"),
    ([*BUILD, "--output", "z", "--json", "z"], "--output and --json are one file, z"),
    (["report", "out", "--output", "z", "--json", "z"], "--output and --json are one file, z"),
    (["report", "out", "--json", "out/report.html"], "--output and --json are one file"),
]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Inputs of the commands, with links to one of them; returns what they hold."""
    monkeypatch.chdir(tmp_path)
    for name in ("d.jsonl", "t.json", "a.jsonl", "r", "sweep.json"):
        (tmp_path / name).write_text(f"the user's {name}")
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"attacks": {}}')
    for name in ("config.json", "model.safetensors", "tokenizer.json", "eval_results.json"):
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / "m" / name).write_text('{"eval_accuracy": 0.5}')
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("d.jsonl")
    os.link("d.jsonl", "hard")
    return lambda: {p.name: p.read_text() for p in sorted(tmp_path.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(("words", "says"), [*OVERWRITE, *TWICE])
def test_an_output_overwrites_no_input_and_no_other_output(words, says, files, capsys):
    before = files()
    assert main(words) == 2
    error = capsys.readouterr().err
    if "one file" not in says:
        says += " would overwrite a file that is read; name another file\n"
    assert error.startswith(f"hf-bat: error: {says}") and error.count("\n") == 1
    assert files() == before


def test_a_sweep_overwrites_no_file_that_its_runs_read(files, capsys):
    before = files()
    words = ["sweep", "--base", SWEEP, "--grid", "seed=1,2", "--output_dir", "."]
    assert main(words) == 2
    assert "would overwrite ./sweep.json, its --train_file" in capsys.readouterr().err
    assert files() == before


@pytest.mark.parametrize("flag", ["output", "json"])
@pytest.mark.parametrize("name", ["eval_results.json", "rows.jsonl", "runs/a/result.json", "x.svg"])
def test_a_report_replaces_no_file_that_it_shows(flag, name, tmp_path, capsys):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "other.json").write_text('{"eval_accuracy": 0.5}')
    contents = {
        "eval_results.json": json.dumps({"eval_accuracy": 0.5}),
        "rows.jsonl": json.dumps({"idx": 0, "attack": "antonym", "outcome": "failed"}),
        "runs/a/result.json": json.dumps({"metrics": {}, "arguments": {}}),
        "x.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>',
    }
    path.write_text(contents[name])
    assert main(["report", str(tmp_path), f"--{flag}", str(path)]) == 2
    says = f"hf-bat: error: {path} is a file that the page shows; name another file to write\n"
    assert capsys.readouterr().err == says
    assert path.read_text() == contents[name] and not (tmp_path / "report.html").exists()


def test_pages_are_written_anew_and_streams_take_several_outputs(tmp_path, capfd):
    (tmp_path / "eval_results.json").write_text('{"eval_accuracy": 0.5}')
    shutil.copy(tmp_path / "eval_results.json", tmp_path / "page.html")
    for _ in range(2):
        listed = ["--json", str(tmp_path / "list.json")]
        assert (
            main(["report", str(tmp_path), "--output", str(tmp_path / "page.html"), *listed]) == 0
        )
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    words = ["report", str(tmp_path), "--output", os.devnull, "--json", os.devnull]
    assert main(words) == 0


def test_a_pipe_may_be_both_outputs(tmp_path):
    (tmp_path / "eval_results.json").write_text('{"eval_accuracy": 0.5}')
    reader, writer = os.pipe()
    try:
        pipe = f"/dev/fd/{writer}"
        assert main(["report", str(tmp_path), "--output", pipe, "--json", pipe]) == 0
        written = os.read(reader, 1 << 16)
    finally:
        os.close(reader)
        os.close(writer)
    assert written.startswith(b"<!DOCTYPE html>") and written.endswith(b"}\n")
