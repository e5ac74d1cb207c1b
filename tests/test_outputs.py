"""Output files of `hf-bat report`: which files they may replace. See also `bad_calls/commands.py`."""

import json
import os
import shutil

import pytest

from hf_bat.cli import main


@pytest.mark.parametrize("flag", ["output", "json"])
@pytest.mark.parametrize("name", ["eval_results.json", "rows.jsonl", "runs/a/result.json", "x.svg"])
def test_report_replaces_no_file_that_it_shows(flag, name, tmp_path, capsys):
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
    error = capsys.readouterr().err
    assert str(path) in error and error.count("\n") == 1
    assert path.read_text() == contents[name] and not (tmp_path / "report.html").exists()


def test_pages_are_replaced_and_devices_take_several_outputs(tmp_path, capfd):
    (tmp_path / "eval_results.json").write_text('{"eval_accuracy": 0.5}')
    shutil.copy(tmp_path / "eval_results.json", tmp_path / "page.html")
    for _ in range(2):
        listed = ["--json", str(tmp_path / "list.json")]
        assert (
            main(["report", str(tmp_path), "--output", str(tmp_path / "page.html"), *listed]) == 0
        )
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert main(["report", str(tmp_path), "--output", os.devnull, "--json", os.devnull]) == 0


def test_pipe_may_be_both_outputs(tmp_path):
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
