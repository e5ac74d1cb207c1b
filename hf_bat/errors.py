"""`HfBatError`, the exception for invalid user input, and one-line descriptions of other errors."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Collection, Sequence
from importlib import import_module
from numbers import Integral
from typing import Any


class HfBatError(ValueError):
    """Invalid input. The one-line message states the problem, the value and the solution.

    The command line prints it and exits with status 2. Any other exception is a bug.

    Example:
        >>> raise HfBatError("unknown task 'snlii'; known: mnli, snli")
        Traceback (most recent call last):
        hf_bat.errors.HfBatError: unknown task 'snlii'; known: mnli, snli
    """


def suggest(value: object, known: Collection[str]) -> str:
    """Return a hint with the known name closest to a value, or "".

    Example:
        >>> suggest("atack", ["attack", "certify"]), suggest("x", ["attack"])
        (" (did you mean 'attack'?)", '')
    """
    near = difflib.get_close_matches(str(value), known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def find_wrong_option(words: Sequence[str], known: Collection[str], abbreviate: bool) -> str | None:
    """Describe the first word of a command line that is an unknown option or empty.

    Args:
        words: Words of the command line without the command.
        known: All options.
        abbreviate: Whether options may be abbreviated.

    Example:
        >>> find_wrong_option(["--modle", "m"], ["--model", "--data"], False)
        "unknown option --modle (did you mean '--model'?)"
        >>> find_wrong_option(["--data", ""], ["--model", "--data"], False)
        '--data has an empty value; give it one, or leave the option out'
    """
    option = None
    for word in words:
        name, sign, value = word.partition("=")
        if word == "--":
            return None
        # A word with spaces is a value, such as the options for the runs of a sweep.
        is_option = word.startswith("--") and " " not in word
        is_known = name in known or (abbreviate and any(o.startswith(name) for o in known))
        if is_option and not is_known:
            return f"unknown option {name}{suggest(name, known)}"
        option = name if is_option else option
        # Usually an unset shell variable. An empty path would mean the working folder or no output. The
        # texts of inputs may be empty.
        if option != "--text" and (not word or (is_option and sign and not value)):
            if option is None:
                return "an argument is empty; give it a value, or leave it out"
            return f"{option} has an empty value; give it one, or leave the option out"
    return None


def check_choice(name: str, value: object, known: Collection[str]) -> None:
    """Raise an error if the value of an option is unknown."""
    if value not in known:
        hint = suggest(value, known)
        raise HfBatError(f"unknown {name} {value!r}{hint}; known: {', '.join(known)}")


def check_integer(name: str, value: Any) -> int:
    """Return the value of an option as a Python integer. Raise an error if it is not an integer."""
    # NumPy integers are also accepted, but cannot be written as JSON.
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise HfBatError(f"{name} must be an integer; got {value!r}")
    return int(value)


def describe_value(value: object) -> str:
    """Return a short `repr` of an untrusted value.

    The `repr` of lists that share elements can be arbitrarily long, and the `repr` of a large
    integer can fail.

    Example:
        >>> describe_value(["word"] * 100)
        "['word', 'word', 'word', 'word', ...]"
    """
    try:
        return _REPR.repr(value)
    except (ValueError, RecursionError):
        return f"a value of type {type(value).__name__}"


_REPR = reprlib.Repr()
_REPR.maxlevel = 2
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = _REPR.maxset = _REPR.maxfrozenset = 4
_REPR.maxstring = _REPR.maxother = 80


def import_extra(name: str, extra: str) -> Any:
    """Import a module from a package that is only installed with an extra of hf_bat."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise HfBatError(
            f'this needs {package}, which is not installed: pip install "hf_bat[{extra}]"'
        ) from error


def describe_cause(error: BaseException) -> str:
    """Return the root cause of a failed request in one line, without URL queries."""
    server_message = None
    while error.__cause__ is not None:
        server_message = server_message or getattr(error, "server_message", None)
        error = error.__cause__
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    # A signature in the query is secret while it is valid.
    line = re.sub(r"\?[^\s']*", "", line).rstrip(".")
    return f"{line} ({' '.join(server_message.split())})" if server_message else line


def describe_failure(error: Exception) -> str:
    """Return a one-line message for an error that the user can fix, with the file name if known."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
