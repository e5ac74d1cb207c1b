"""Find the code blocks in README and docs, parse them with the real parsers, and run them.

If a block cannot be run, the line before its fence states the reason:
`<!-- not run: needs the Hub -->`. It is still parsed.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from hf_bat import HfBatError
from hf_bat.cli import COMMANDS, build_parser, main
from hf_bat.sweep import parse_flags, read_grid

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "examples", "docs")
# Languages of blocks that only show something.
SHOWN = ("text", "json", "yaml", "ini", "bibtex")
RUN = ("python", "bash")
_FENCE = re.compile(
    r"^(?:<!-- not run(?P<reason>.*?)-->\n)?```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$",
    re.M | re.S,
)
# Scripts whose flags are checked, and the commands that may launch them.
_SCRIPT = re.compile(r"(examples|benchmarks|scripts)/[\w/]+\.py$")
_LAUNCHERS = ("accelerate", "python", "torchrun")
_LEFT_OUT = {"...", "$@"}
# Matches words of our commands only.
_OURS = re.compile(rf"\bhf-bat\b|\bhf_bat\.\w|{_SCRIPT.pattern}")


@dataclass(frozen=True)
class Block:
    """A fenced block with the `reason` if it is not run."""

    page: Path
    line: int
    language: str
    code: str
    reason: str | None

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def list_pages() -> list[Path]:
    """Return README, the pages of the examples and all pages in docs, sorted."""
    pages = []
    for name in PAGES:
        path = ROOT / name
        pages += sorted(path.rglob("*.md")) if path.is_dir() else [path]
    return pages


def list_blocks(page: Path) -> list[Block]:
    """Return the blocks on a page in order."""
    text = page.read_text("utf-8")
    blocks = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        reason = match["reason"] and match["reason"].removeprefix(":").strip()
        blocks.append(Block(page, line, match["language"], match["code"], reason))
    assert text.count("\n```") == 2 * len(blocks), f"{page}: a fence is not closed"
    return blocks


def list_commands(code: str) -> list[list[str]]:
    """Return the commands in a bash block as lists of words.

    Continued lines are joined. Loops, comments, and variables set before a command are left out.
    """
    commands = []
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line.strip().removeprefix("do "), comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        if words and words[0] not in ("for", "done", "do"):
            commands.append(words)
    return commands


def check_flags(words: list[str], where: str) -> bool:
    """Return whether a command is ours, and check its flags with its parser if so.

    Words such as `$FILE` or `DIR` are values, and `...` and `$@` stand for omitted flags.
    """
    parse = _get_parser(words)
    if parse is None:
        ours = [word for word in words if _OURS.search(word)]
        assert not ours, f"{where}: {ours[0]} in a command that is not understood"
        return False
    with _require_nothing() if _LEFT_OUT & {*words} else nullcontext():
        try:
            parse()
        except SystemExit as stop:
            assert not stop.code, f"{where}: flags that the command does not take"
        except HfBatError as error:
            raise AssertionError(f"{where}: {error}") from error
    return True


def _get_parser(words: list[str]) -> Callable[[], object] | None:
    """Return a function that parses the flags of our commands, or `None` for other commands."""
    words = [word for word in words if word not in _LEFT_OUT]
    if words[0] == "hf-bat":
        return partial(_parse_cli, words[1:])
    if "hf_bat.cli" in words and words[words.index("hf_bat.cli") - 1] == "-m":
        return partial(_parse_cli, words[words.index("hf_bat.cli") + 1 :])
    place = next((i for i, word in enumerate(words) if _SCRIPT.match(word)), None)
    if place is None or words[0] not in _LAUNCHERS:
        return None
    return partial(_parse_script, words[place], words[place + 1 :])


def _parse_cli(flags: list[str]) -> None:
    chosen = next((word for word in flags if word in COMMANDS), None)
    is_configured = chosen == "train" and flags[1].endswith((".json", ".yaml"))
    with _require_nothing() if is_configured else nullcontext():
        args = build_parser(chosen).parse_args([chosen, *flags[2:]] if is_configured else flags)
    if chosen == "sweep":  # its flags include the flags of runs
        parse_flags(args.base)
        read_grid(args.grid)


class _ParsedError(Exception):
    """Ends a script after it has parsed its flags."""


def _parse_script(script: str, flags: list[str]) -> None:
    module = load(ROOT / script)
    if hasattr(module, "make_parser"):
        module.make_parser().parse_args(flags)
        return
    parse = argparse.ArgumentParser.parse_args

    def parse_and_end(*args, **options):
        parse(*args, **options)
        raise _ParsedError

    with pytest.MonkeyPatch.context() as patch, suppress(_ParsedError):
        patch.setattr(sys, "argv", [script, *flags])
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
        start = module.parse_arguments if hasattr(module, "parse_arguments") else module.main
        start()


@contextmanager
def _require_nothing() -> Iterator[None]:
    parse = argparse.ArgumentParser.parse_known_args

    def parse_without_required(self, *args, **options):
        for action in self._actions:
            action.required = False
        return parse(self, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", parse_without_required)
        yield


def run_command(words: list[str], where: str) -> None:
    """Run `hf-bat ...` or `python examples/x.py ...` in this process."""
    if words[0] == "hf-bat":
        status = main(words[1:])
    elif words[0] == "python" and _SCRIPT.search(words[1]):
        module = load(ROOT / words[1])
        saved, sys.argv = sys.argv, words[1:]
        try:
            status = module.run() if hasattr(module, "run") else module.main()
        finally:
            sys.argv = saved
    else:
        raise AssertionError(f"{where}: cannot run {words[0]!r} here; say why not before the fence")
    assert not status, f"{where}: status {status} of {' '.join(words)}"


def load(script: Path) -> ModuleType:
    """Import a script from a path."""
    spec = importlib.util.spec_from_file_location(f"docs_{script.stem}", script)
    assert spec and spec.loader, script
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # needed by dataclasses, which look up their module
    sys.path.insert(0, str(script.parent))  # as Python does for a script
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(script.parent))
    return module
