"""Bad calls: user mistakes, the errors that they raise, and one word in the message."""

from __future__ import annotations

import atexit
import io
import json
import os
import re
import shlex
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hf_bat import HfBatError


class BadCall(NamedTuple):
    """An entry in a table of bad calls.

    Args:
        name: Description of the mistake, used in the test id.
        call: Function that receives an empty folder and makes the call.
        keyword: Word that the message must contain: the wrong option, column or value.
        error: Type of the raised error.
    """

    name: str
    call: Callable[[Path], Any]
    keyword: str
    error: type[Exception] = HfBatError


class RefusedError(Exception):
    """The last line that a command printed when it rejected its arguments."""


@cache
def save_tiny_model() -> str:
    """Save a tiny classifier with a tokenizer and return its folder."""
    from tiny_models import tiny_model, tiny_tokenizer

    # Keep it until the process ends.
    folder = tempfile.TemporaryDirectory(prefix="hf-bat-test-model-")
    atexit.register(folder.cleanup)
    tiny_model("bert").save_pretrained(folder.name)
    tiny_tokenizer(["a hot day"]).save_pretrained(folder.name)
    return folder.name


def refused_command(words: str, keyword: str) -> BadCall:
    """Return a bad call of an `hf-bat` command that must not change any files.

    Args:
        words: Arguments of `hf-bat`, as in a shell. The working folder contains the files from
            `write_inputs`, and `{model}` is the folder of a tiny classifier.
        keyword: Word that the last line on stderr must contain.
    """

    def call(folder: Path) -> None:
        from hf_bat.cli import main

        write_inputs(folder)
        model = save_tiny_model() if "{model}" in words else ""
        arguments = shlex.split(words.replace("{model}", model))
        files = read_files(folder)
        before, error = Path.cwd(), io.StringIO()
        os.chdir(folder)
        try:
            with redirect_stderr(error):
                status = main(arguments)
        except SystemExit as stop:  # argparse
            status = stop.code
        finally:
            os.chdir(before)
        assert status == 2, error.getvalue()
        assert read_files(folder) == files
        last = error.getvalue().strip().splitlines()[-1]
        assert re.match(r"hf-bat[\w -]*: error: ", last), error.getvalue()
        raise RefusedError(last)

    return BadCall(f"hf-bat {words}", call, keyword, RefusedError)


def write_inputs(folder: Path) -> None:
    """Write rows, a table, attack reports, model files and links for testing the commands."""
    row = {"premise": "A hot day.", "hypothesis": "It is hot.", "label": 0}
    content = {
        "rows.jsonl": json.dumps(row) + "\n",
        "intents.csv": "text,label\nA good day.,good\n",
        "table.json": '{"hot": ["warm"]}',
        "words.txt": "hot\n",
        "a.json": '{"attacks": {}}',
        "b.json": '{"attacks": {}}',
        "a.jsonl": "",
        "out/eval_results.json": '{"eval_accuracy": 0.5}',
        "m/config.json": "{}",
        "m/model.safetensors": "",
        "m/tokenizer.json": "{}",
    }
    for name, text in content.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "link").symlink_to("rows.jsonl")


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files in a folder and its subfolders."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
