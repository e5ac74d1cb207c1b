"""What a terminal shows: progress bars, tables, colors, and nothing with `--quiet`.

Bars and colors are written only to terminals, never to a file or a pipe, and colors only if NO_COLOR is
not set (https://no-color.org).
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TypeVar

T = TypeVar("T")
_STYLES = {"bad": "31", "good": "32", "bold": "1"}
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def progress(
    total: int | None, what: str, unit: str, *, show: bool | None = None, **options: Any
) -> Any:
    """Return a progress bar with a rate, on stderr.

    Args:
        total: Number of units, or `None` if unknown.
        what: What is being done, shown in front of the bar.
        unit: Name of a unit, such as "row".
        show: Whether to show the bar. If `None`, only on a terminal.
        **options: Other options of `tqdm`, such as `initial`, `delay` (seconds) or `leave`.

    Returns:
        A `tqdm`, which is a context manager with `update(n)`.

    Example:
        >>> with progress(2, "rows", "row", show=False) as bar:
        ...     bar.update(2)
    """
    from tqdm import tqdm

    disable = None if show is None else not show
    return tqdm(total=total, desc=what, unit=unit, disable=disable, file=sys.stderr, **options)


def counted(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterator[T]:
    """Iterate over items and show a bar after two seconds.

    Args:
        items: The items.
        what: What is being done.
        unit: Name of an item.
        total: Number of items. If `None`, their length if they have one.

    Example:
        >>> list(counted(["a", "b"], "reading", "word"))
        ['a', 'b']
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(total, what, unit, delay=2, leave=False) as bar:
        for item in items:
            yield item
            bar.update()


def on_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal.

    Example:
        >>> on_terminal(io.StringIO())
        False
    """
    return bool(getattr(stream, "isatty", lambda: False)())


def paint(text: str, style: str, stream: Any) -> str:
    """Return a text in a style ("bad", "good" or "bold") if the stream shows colors, else unchanged.

    Example:
        >>> paint("worse", "bad", io.StringIO())
        'worse'
    """
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if has_colors(stream) else text


def has_colors(stream: Any) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return on_terminal(stream)


def align(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return rows of cells as lines of text in columns.

    Args:
        rows: Rows with the same number of cells.
        left: Number of columns to align on the left; the rest are aligned on the right. Defaults to 1.

    Example:
        >>> align([("attack", "rows"), ("antonym", "12")])
        ['attack   rows', 'antonym    12']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


class _Discard(io.TextIOBase):
    """A stream that discards text. It is never closed, because loggers may keep it."""

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def silence() -> Iterator[None]:
    """Hide everything that Python code writes to stdout or stderr, including log lines.

    Example:
        >>> with silence():
        ...     print("not seen")
    """
    nowhere, consoles = _Discard(), (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    # A handler keeps the stream that was stderr when its library was imported.
    handlers = [
        (handler, handler.stream)
        for logger in (logging.root, *logging.root.manager.loggerDict.values())
        for handler in getattr(logger, "handlers", ())  # placeholders have none
        # `logging.lastResort`, which some libraries add, has no own stream: it looks up sys.stderr.
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


def plain_logs() -> None:
    """Remove escapes from all further log lines of this process, unless stderr shows colors.

    transformers reports missing weights in bold, even into a file.

    Example:
        >>> before = logging.getLogRecordFactory()
        >>> plain_logs()
        >>> logging.setLogRecordFactory(before)
    """
    if has_colors(sys.stderr):
        return
    make_record = logging.getLogRecordFactory()

    def make_plain_record(*args: Any, **options: Any) -> logging.LogRecord:
        record = make_record(*args, **options)
        if isinstance(record.msg, str):
            record.msg = _ESCAPE.sub("", record.msg)
        return record

    logging.setLogRecordFactory(make_plain_record)


def hide_library_bars() -> None:
    """Turn off the bars of datasets, transformers and huggingface_hub, which do not check for a terminal."""
    from datasets import disable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bars()
    disable_progress_bar()  # also of huggingface_hub
