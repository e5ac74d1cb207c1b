"""The one exception that hf_bat raises for what its user can mend, and what other errors say in one line."""

from __future__ import annotations

import re


class HfBatError(ValueError):
    """Bad input, said in one line: what was wrong, where, and what to do.

    The command line prints it and exits with status 2; anything else that is raised is a bug.

    Example:
        >>> raise HfBatError("unknown task 'snlii'; known: mnli, snli")
        Traceback (most recent call last):
        hf_bat.errors.HfBatError: unknown task 'snlii'; known: mnli, snli
    """


def first_cause(error: BaseException) -> str:
    """The first cause of a failed request in one line, without the parameters of its address.

    Example:
        >>> first_cause(RuntimeError("403 for url 'http://hub/x?signature=1'\\nmore"))
        "403 for url 'http://hub/x'"
    """
    said = None
    while error.__cause__ is not None:
        said = said or getattr(error, "server_message", None)
        error = error.__cause__
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    # What a server signs an address with is a secret for as long as it is valid.
    line = re.sub(r"\?[^\s']*", "", line).rstrip(".")
    return f"{line} ({' '.join(said.split())})" if said else line
