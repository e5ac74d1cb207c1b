"""Bars and colors only in terminals, --quiet, and the summary table."""

import argparse
import io
import json
import logging
import shlex
import sys
from contextlib import contextmanager

import pytest
from terminal import Terminal, run_on_terminal
from tiny_models import tiny_model
from training_helpers import ANTONYMS, SYNONYMS, made_rows, tokenizer_for_made_rows

from hf_bat.cli import COMMANDS, build_parser, main
from hf_bat.console import (
    align,
    apply_style,
    has_colors,
    hide_output,
    open_bar,
    strip_log_escapes,
    track,
)


def test_colors_are_for_terminals_and_never_with_no_color(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert has_colors(Terminal()) and not has_colors(io.StringIO())
    assert apply_style("x", "bad", Terminal()) == "\x1b[31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert apply_style("x", "bad", Terminal()) == "x"


def test_bars_have_a_rate_and_are_for_terminals(monkeypatch):
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with open_bar(10, "rows", "row") as bar:
            bar.update(10)
        assert list(track(range(3), "words", "word")) == [0, 1, 2]
        assert ("row/s" in stream.getvalue()) == shown


def test_files_get_lines_of_progress_instead_of_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with open_bar(4, "rows", "row") as bar:
        bar.update(2)
    assert sys.stderr.getvalue() == "", "a short task writes nothing"
    monkeypatch.setattr("hf_bat.console.LOG_SECONDS", 0)
    with open_bar(4, "rows", "row") as bar:
        bar.update(2)
        bar.update(1)
    lines = sys.stderr.getvalue().splitlines()
    assert [line.partition(",")[0] for line in lines if "0 of" not in line] == [
        "rows: 2 of 4 rows (50 %)",
        "rows: 3 of 4 rows (75 %)",
    ]
    with open_bar(4, "rows", "row", show=False) as bar:
        bar.update(4)
    assert sys.stderr.getvalue().splitlines() == lines


@contextmanager
def log_to(stream):
    """Return a logger with a handler for this stream."""
    logger, handler = logging.getLogger("test_console"), logging.StreamHandler(stream)
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


def test_hide_output_includes_log_lines_and_ends(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with open(tmp_path / "log.txt", "w") as file, log_to(sys.stderr) as logger, log_to(file):
        with pytest.raises(ValueError), hide_output():
            logger.warning("inside")
            raise ValueError
        logger.warning("after")
    assert sys.stderr.getvalue() == "after\n"
    assert (tmp_path / "log.txt").read_text() == "inside\nafter\n"


def test_log_lines_have_escapes_only_on_terminals(monkeypatch):
    # An earlier test may have run a command that permanently changes the factory.
    monkeypatch.setattr(logging, "_logRecordFactory", logging.LogRecord)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for stream, shown in ((Terminal(), "\x1b[1mbold\x1b[0m 1\n"), (io.StringIO(), "bold 1\n")):
        monkeypatch.setattr(sys, "stderr", stream)
        strip_log_escapes()
        with log_to(stream) as logger:
            logger.warning("\x1b[1mbold\x1b[0m %d", 1)
        assert stream.getvalue() == shown


@pytest.mark.parametrize("no_color", ["", "1"])
def test_errors_on_a_terminal(no_color, quiet_environment):
    quiet_environment |= {"NO_COLOR": no_color, "TERM": "xterm"}
    words = [sys.executable, "-m", "hf_bat.cli", "compare", "absent.json", "absent.json"]
    status, said = run_on_terminal(words, env=quiet_environment)
    assert status == 2 and "absent.json: No such file" in said
    assert ("\x1b[31merror:\x1b[0m" in said) == (not no_color)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_action_has_quiet(name):
    def parsers(parser):
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for inner in action.choices.values():
                    yield from parsers(inner)

    top = next(a for a in build_parser(name)._actions if isinstance(a, argparse._SubParsersAction))
    for parser in parsers(top.choices[name]):
        assert "--quiet" in parser.format_help()


def test_quiet_comes_before_or_after_an_action():
    parser = build_parser("lexicon")
    for words in (["--quiet", "info", "t"], ["info", "t", "--quiet"]):
        assert parser.parse_args(["lexicon", *words]).quiet


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a model, rows, a table and attack rows."""
    path = tmp_path_factory.mktemp("console")
    tiny_model("bert").save_pretrained(path / "model")
    tokenizer_for_made_rows().save_pretrained(path / "model")
    rows = made_rows(12)
    (path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    edited = [{**row, "original_idx": None if row["idx"] < 6 else row["idx"] - 6} for row in rows]
    (path / "contrast.jsonl").write_text("".join(json.dumps(row) + "\n" for row in edited))
    ANTONYMS.save(path / "antonyms.json")
    SYNONYMS.save(path / "synonyms.json")
    attack = ["attack", "--model", path / "model", "--task", "snli", "--data", path / "dev.jsonl",
              "--attacks", "synonym", "--synonyms", path / "synonyms.json", "--quiet",
              "--json", path / "A.json", "--rows", path / "A.jsonl"]  # fmt: skip
    assert main(list(map(str, attack))) == 0
    return path


# All commands except the demo, which trains for minutes.
QUIET_RUNS = {
    "attack": "attack --model {f}/model --task snli --data {f}/dev.jsonl --attacks antonym --skip-labels "
    "--antonyms {f}/antonyms.json --rows {o}/rows.jsonl --html {o}/a.html --json {o}/a.json",
    "certify": "certify --model {f}/model --task snli --data {f}/dev.jsonl --synonyms {f}/synonyms.json "
    "--samples 20 --json {o}/a.json",
    "compare": "compare {f}/A.json {f}/A.json --resamples 20 --json {o}/a.json",
    "contrast": "contrast --model {f}/model --task snli --data {f}/contrast.jsonl --json {o}/a.json",
    "train": "train --model_name_or_path {f}/model --task snli --train_file {f}/dev.jsonl --max_steps 1 "
    "--synonyms {f}/synonyms.json --antonyms {f}/antonyms.json --use_cpu --report_to none --save_strategy no "
    "--output_dir {o}/out",
    "perturb": "perturb --task snli --data {f}/dev.jsonl --antonyms {f}/antonyms.json --json {o}/a.json",
    "lexicon": "lexicon convert {f}/antonyms.json --output {o}/t.json --json {o}/a.json",
    "suite": "suite --task snli --data {f}/dev.jsonl --output {o}/a.json",
    "augment": "augment --task snli --data {f}/dev.jsonl --edits typo --output-dir {o}/d --json {o}/a.json",
    "report": "report {f} --output {o}/a.html --json {o}/a.json",
    # Its tests cover runs without --dry_run, on a terminal.
    "sweep": "sweep --base '--model_name_or_path {f}/model --task snli' --output_dir {o} --dry_run",
}
TIMED = ("attack", "certify")  # their files contain times


def test_quiet_is_tested_for_every_command():
    assert QUIET_RUNS.keys() == COMMANDS.keys() - {"demo"}


@pytest.mark.parametrize("name", sorted(QUIET_RUNS))
def test_quiet_shows_nothing_and_writes_its_files(name, folder, tmp_path, capfd):
    flags = shlex.split(QUIET_RUNS[name].format(f=folder, o=tmp_path))
    written = [tmp_path / "a.json"] * ("--json" in flags)
    assert main([*flags, "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")
    quiet = [path.read_text() for path in written]
    assert main(flags) == 0
    shown = "".join(capfd.readouterr())
    assert shown and "\x1b" not in shown, "no color or bar in a pipe"
    if name not in TIMED:
        assert [path.read_text() for path in written] == quiet


def test_quiet_still_prints_errors(folder, capfd):
    assert main(["perturb", "--task", "snli", "--data", "absent.jsonl", "--quiet"]) == 2
    out, error = capfd.readouterr()
    assert out == "" and error.startswith("hf-bat: error: ") and "absent.jsonl" in error


def test_columns_are_aligned():
    assert align([("attack", "rows"), ("antonym", "12")]) == ["attack   rows", "antonym    12"]
