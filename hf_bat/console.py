"""What a person sees in a terminal: progress bars, tables, colours, and nothing at all with `--quiet`.

Bars and colours are for terminals: neither is written to a file or a pipe, and colours not where
NO_COLOR is set (https://no-color.org).
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
    """A progress bar with a rate, on stderr.

    Args:
        total: how many units there are.
        what: what is being done; stands before the bar.
        unit: one of what is counted, such as "row".
        show: True or False; on a terminal alone where None.
        **options: anything else that `tqdm` takes, such as `initial`, `delay` (seconds) or `leave`.

    Returns:
        A `tqdm`, which is a context manager with `update(n)`.

    Example:
        >>> with progress(2, "rows", "row", show=False) as bar:
        ...     bar.update(2)
    """
    from tqdm import tqdm

    hidden = None if show is None else not show
    return tqdm(total=total, desc=what, unit=unit, disable=hidden, file=sys.stderr, **options)


def counted(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterator[T]:
    """The items one by one, with a bar once they have taken two seconds.

    Args:
        items: what to go over.
        what: what is being done.
        unit: what an item is.
        total: how many items there are; their length where None, if they have one.

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


def colours(stream: Any) -> bool:
    """Whether to write colours to a stream: a terminal, NO_COLOR not set, not a dumb one.

    Example:
        >>> colours(io.StringIO())
        False
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return on_terminal(stream)


def on_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal, where bars and colours are for somebody.

    Example:
        >>> on_terminal(io.StringIO())
        False
    """
    return bool(getattr(stream, "isatty", lambda: False)())


def paint(text: str, style: str, stream: Any) -> str:
    """A text in a style ("bad", "good" or "bold") where the stream shows colours; else as it is.

    Example:
        >>> paint("worse", "bad", io.StringIO())
        'worse'
    """
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if colours(stream) else text


def align(lines: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of cells as lines of text in columns.

    Args:
        lines: rows of as many cells each.
        left: how many of the first columns are set to the left; the others go to the right.

    Example:
        >>> align([("attack", "rows"), ("antonym", "12")])
        ['attack   rows', 'antonym    12']
    """
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


class _Nowhere(io.TextIOBase):
    """Takes all that is written and is never closed, for loggers may keep hold of it."""

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def silence() -> Iterator[None]:
    """Nothing that Python code writes to stdout or stderr is shown while this lasts, log lines included.

    Example:
        >>> with silence():
        ...     print("not seen")
    """
    nowhere = _Nowhere()
    # A handler holds the stream of the time when its library was imported.
    held = [(handler, handler.stream) for handler in _console_handlers()]
    with redirect_stdout(nowhere), redirect_stderr(nowhere):
        for handler, _ in held:
            handler.setStream(nowhere)
        try:
            yield
        finally:
            for handler, stream in held:
                handler.setStream(stream)


def _console_handlers() -> list[logging.StreamHandler[Any]]:
    """The handlers of all loggers that write to stdout or stderr."""
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    known = logging.root.manager.loggerDict.values()  # names of no logger among them
    loggers = [logging.root, *(one for one in known if isinstance(one, logging.Logger))]
    handlers = [handler for logger in loggers for handler in logger.handlers]
    return [
        handler
        for handler in handlers
        # Logging's handler of last resort has no stream of its own: it asks for stderr each time.
        if isinstance(handler, logging.StreamHandler) and vars(handler).get("stream") in streams
    ]


def plain_logs() -> None:
    """From now on log lines of this process have no escapes, unless stderr shows colours.

    transformers writes its report of missing weights in bold, whatever reads it.

    Example:
        >>> before = logging.getLogRecordFactory()
        >>> plain_logs()
        >>> logging.setLogRecordFactory(before)
    """
    if colours(sys.stderr):
        return
    make = logging.getLogRecordFactory()

    def make_plain(*args: Any, **options: Any) -> logging.LogRecord:
        record = make(*args, **options)
        if isinstance(record.msg, str):
            record.msg = _ESCAPE.sub("", record.msg)
        return record

    logging.setLogRecordFactory(make_plain)


def hide_library_bars() -> None:
    """Turn off the libraries' own bars (of loading, saving, mapping), which know nothing of terminals.

    Example:
        >>> hide_library_bars()
    """
    from datasets import disable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bars()
    disable_progress_bar()  # and huggingface_hub's
