"""The files that a command is to write, looked at before its work."""

from __future__ import annotations

import argparse
from pathlib import Path

from hf_bat.errors import HfBatError


def check_outputs(args: argparse.Namespace, *flags: str) -> None:
    """Find out before the work whether its results can be written.

    Args:
        args: the command's.
        flags: those that name a file to write, without their dashes; one that is not given is passed over.

    Raises:
        HfBatError: a folder of that name, or no folder to write the file into.

    Example:
        >>> check_outputs(argparse.Namespace(json="/no/such/folder/x.json", rows=None), "json", "rows")
        Traceback (most recent call last):
        hf_bat.errors.HfBatError: --json: cannot write /no/such/folder/x.json: no folder /no/such/folder
    """
    for flag in flags:
        given = getattr(args, flag)
        if not given:
            continue
        parent = Path(given).absolute().parent
        if not parent.is_dir():
            raise HfBatError(f"--{flag}: cannot write {given}: no folder {parent}")
        if Path(given).is_dir():
            raise HfBatError(f"--{flag} {given} is a folder; name a file")
