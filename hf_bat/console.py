"""Show progress bars, tables and colors on a terminal, and nothing with `--quiet`.

Bars and colors are only written to terminals, not to files or pipes. Setting NO_COLOR also turns off
colors (https://no-color.org).
"""

from __future__ import annotations

import io
import logging
import math
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NoReturn, TextIO, TypeVar, cast

from hf_bat.text import escape_controls

T = TypeVar("T")
# Seconds between progress lines in a file.
LOG_SECONDS = 60.0
# ANSI codes for red, green and yellow.
_STYLES = {"bad": "31", "good": "32", "fair": "33"}
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def open_bar(
    total: int | None, title: str, unit: str, *, show: bool | None = None, **options: Any
) -> Any:
    """Return a `tqdm` bar with the given `tqdm` options.

    With `show=None`, terminals and notebooks show the bar, and files and pipes get one line per minute.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notebooks without ipywidgets show plain bars
        from tqdm.auto import tqdm

    named = {"total": total, "desc": title, "unit": unit, **options}
    if any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__):
        return tqdm(**named, disable=show is False)
    if show is None and not on_terminal(sys.stderr):
        return _open_log(named)
    return tqdm(**named, disable=not (show or show is None), file=sys.stderr)


def _open_log(options: dict[str, Any]) -> Any:
    """Return a bar that writes lines of text, at most one per `LOG_SECONDS`."""
    from tqdm import tqdm

    class LogBar(tqdm):
        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            self.fp.write(f"{self}\n")
            self.fp.flush()
            return True

        def close(self) -> None:
            self.delay = math.inf  # nothing to clear
            super().close()

    text = "{desc}: {n_fmt} of {total_fmt} {unit}s ({percentage:.0f} %), {elapsed} spent, {remaining} left"
    lines = {"mininterval": LOG_SECONDS, "delay": LOG_SECONDS, "miniters": 1, "leave": False}
    return LogBar(**options | lines, bar_format=text, file=sys.stderr)


def track(items: Iterable[T], title: str, unit: str, total: int | None = None) -> Iterator[T]:
    """Iterate over items with a progress bar that appears after two seconds."""
    yield from open_bar(total, title, unit, iterable=items, delay=2, leave=False)


def on_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal."""
    return bool(getattr(stream, "isatty", lambda: False)())


def apply_style(text: str, style: str, stream: Any) -> str:
    """Apply a style ("good", "fair" or "bad") to a text if the stream shows colors."""
    if style not in _STYLES or not has_colors(stream):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def has_colors(stream: Any) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False  # a dumb terminal shows escape codes as text
    return on_terminal(stream)


def align(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Format rows of cells as aligned lines of text. The first `left` columns are left-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


class _Escaped:
    """Writes to a stream and escapes all control characters that hf_bat did not write itself.

    This is not an `io` stream, because those close the wrapped stream when they are
    garbage-collected.
    """

    def __init__(self, stream: Any, kept: str):
        self.stream = stream
        self._kept = re.compile(f"({kept})")

    def write(self, text: str) -> int:
        # Odd parts are kept.
        parts = self._kept.split(text)
        parts[::2] = map(escape_controls, parts[::2])
        self.stream.write("".join(parts))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        # `fileno`, `isatty`, `encoding` and other attributes come from the stream.
        return getattr(self.stream, name)


@contextmanager
def escape_output() -> Iterator[None]:
    """Escape control characters in texts, labels and file names printed to stdout and stderr.

    A terminal would interpret them. They can clear the screen, hide lines or change the window
    title.
    """
    colors = "|".join(rf"\x1b\[{code}m" for code in (0, *_STYLES.values()))
    out, error = (colors if has_colors(stream) else "(?!)" for stream in (sys.stdout, sys.stderr))
    moves = r"\r|\x1b\[A|\x1b\[2?K"
    with (
        redirect_stdout(cast(TextIO, _Escaped(sys.stdout, out))),
        redirect_stderr(cast(TextIO, _Escaped(sys.stderr, f"{error}|{moves}"))),
    ):
        yield


class _Discard(io.TextIOBase):
    """A stream that discards text. It is never closed, because loggers may keep it."""

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def hide_output() -> Iterator[None]:
    """Hide everything that Python code writes to stdout or stderr, including log lines."""
    nowhere, consoles = _Discard(), [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__]
    # Handlers created before `escape_output` hold the original stream.
    consoles += [console.stream for console in consoles if isinstance(console, _Escaped)]
    # A handler holds the stream that was stderr when its library was imported.
    handlers = [
        (handler, handler.stream)
        for logger in (logging.root, *logging.root.manager.loggerDict.values())
        for handler in getattr(logger, "handlers", ())  # placeholders have none
        # `logging.lastResort`, which some libraries add, has no stream and looks up sys.stderr.
        if isinstance(handler, logging.StreamHandler) and vars(handler).get("stream") in consoles
    ]
    with redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            for handler, _ in handlers:
                handler.setStream(nowhere)
            yield
        finally:
            for handler, stream in handlers:
                handler.setStream(stream)


def strip_log_escapes() -> None:
    """Remove styles and escape control characters in all further log lines of this process.

    transformers reports missing weights in bold, even in a file. Styles are kept if stderr shows
    colors.
    """
    keeps_styles = has_colors(sys.stderr)
    make_record = logging.getLogRecordFactory()

    def make_plain_record(*args: Any, **options: Any) -> logging.LogRecord:
        record = make_record(*args, **options)
        if not isinstance(record.msg, str):
            return record
        parts = re.split(f"({_ESCAPE.pattern})", record.getMessage())
        parts[::2] = map(escape_controls, parts[::2])
        record.msg, record.args = "".join(parts if keeps_styles else parts[::2]), None
        return record

    logging.setLogRecordFactory(make_plain_record)


def hide_library_bars() -> None:
    """Turn off the progress bars of datasets, transformers and huggingface_hub, which ignore the terminal."""
    from datasets import disable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bars()
    disable_progress_bar()  # also of huggingface_hub


def interrupt(number: int, frame: Any = None) -> NoReturn:
    """Handle a signal like Ctrl-C. `get_interrupt_status` returns the exit status."""
    raise KeyboardInterrupt(number)


@contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C, with `finally` blocks and a message, instead of exiting immediately.

    A handler set by the caller is kept. In a distributed run, the default handler is kept as well. A
    process that waits for others does not run Python code, so it would only end when its launcher
    kills it.
    """
    is_main = threading.current_thread() is threading.main_thread()  # others can't set handlers
    is_alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if not is_main or not is_alone or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def get_interrupt_status(error: KeyboardInterrupt) -> int:
    """Return the exit status of an interrupted program as in a shell: 130, or 143 for SIGTERM."""
    return 128 + int(error.args[0] if error.args else signal.SIGINT)
