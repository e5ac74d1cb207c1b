"""The code blocks of README and docs: found, parsed with the real parsers, and run.

A block that cannot be run has a line before its fence that says why:
`<!-- not run: needs the Hub -->`. It is parsed all the same.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from hf_bat.cli import COMMANDS, build_parser, main

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "examples", "docs")
# Fences that show something rather than do something.
SHOWN = ("text", "json", "yaml", "ini", "bibtex")
RUN = ("python", "bash")
_FENCE = re.compile(
    r"^(?:<!-- not run(?P<reason>.*?)-->\n)?```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$",
    re.M | re.S,
)
# Commands whose flags are known here.
_SCRIPT = re.compile(r"examples/[\w/]+\.py$")


@dataclass(frozen=True)
class Block:
    """A fenced block; `reason` says why it is not run, None where it is."""

    page: Path
    line: int
    language: str
    code: str
    reason: str | None

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """README, the examples' pages, and all of docs, sorted."""
    found = []
    for name in PAGES:
        path = ROOT / name
        found += sorted(path.rglob("*.md")) if path.is_dir() else [path]
    return found


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in order."""
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        reason = match["reason"] and match["reason"].removeprefix(":").strip()
        found.append(Block(page, line, match["language"], match["code"], reason))
    assert text.count("\n```") == 2 * len(found), f"{page}: a fence that is not understood"
    return found


def commands(code: str) -> list[list[str]]:
    """The commands of a bash block as words: continued lines joined, loops, variables set before a
    command and comments left out."""
    found = []
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line.strip().removeprefix("do "), comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        if words and words[0] not in ("for", "done", "do"):
            found.append(words)
    return found


def check_flags(words: list[str], where: str) -> bool:
    """Whether the command is one of ours; its flags are parsed by its own parser.

    Words such as `$FILE` or `DIR` stand for values; a command that ends in `...` is cut short and is
    not parsed.
    """
    if "..." in words:
        return False
    if words[0] == "hf-bat":
        chosen = next((word for word in words[1:] if word in COMMANDS), None)
        _parse(lambda: build_parser(chosen).parse_args(words[1:]), where)
        return True
    script = next((word for word in words if _SCRIPT.search(word)), None)
    if script is None:
        return False
    module, flags = load(ROOT / script), words[words.index(script) + 1 :]
    if hasattr(module, "make_parser"):
        _parse(lambda: module.make_parser().parse_args(flags), where)
    else:
        saved, sys.argv = sys.argv, [script, *flags]
        try:
            _parse(module.parse_arguments, where)
        finally:
            sys.argv = saved
    return True


def _parse(parse, where: str) -> None:
    try:
        parse()
    except SystemExit as stop:
        assert not stop.code, f"{where}: flags that the command does not take"


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
        raise AssertionError(
            f"{where}: cannot run {words[0]!r} here; say why not, before the fence"
        )
    assert not status, f"{where}: status {status} of {' '.join(words)}"


def load(script: Path) -> ModuleType:
    """Import a script by its path."""
    spec = importlib.util.spec_from_file_location(f"docs_{script.stem}", script)
    assert spec and spec.loader, script
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(script.parent))  # as for a script that is run: its neighbours
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(script.parent))
    return module
