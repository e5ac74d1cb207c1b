"""A bad call: something a user may get wrong, the error it raises, and one word of the message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hf_bat import HfBatError


class BadCall(NamedTuple):
    """One line of a table of bad calls.

    Args:
        name: What is wrong, for the test's id.
        call: Takes an empty folder and makes the call.
        keyword: A word that the message must hold: the option, column or value at fault.
        error: What is raised.
    """

    name: str
    call: Callable[[Path], Any]
    keyword: str
    error: type[Exception] = HfBatError
