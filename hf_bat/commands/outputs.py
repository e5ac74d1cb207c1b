"""The files that a command is to write, looked at before its work."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from hf_bat.errors import HfBatError
from hf_bat.files import identify_file, is_model_file

# What the commands read, as their flags and arguments are called. `rows` is read by `hf-bat compare` alone.
_READ = (
    "data", "reports", "rows", "table", "synonyms", "antonyms", "toxic_words", "canonicalize", "vectors",
    "vocabulary", "evaluated",
)  # fmt: skip


def check_outputs(
    args: argparse.Namespace, *flags: str, read: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Find out before the work whether its results can be written, and what they would overwrite.

    Args:
        args: the command's.
        flags: those that name a file to write, without their dashes; one that is not given is passed over.
        read: files that the command reads and its flags do not name.

    Raises:
        HfBatError: a folder of that name, no folder to write the file into, or a file that the command reads,
            that is of a model or that another of the flags names.

    Example:
        >>> check_outputs(argparse.Namespace(json="/no/such/folder/x.json", rows=None), "json", "rows")
        Traceback (most recent call last):
        hf_bat.errors.HfBatError: --json: cannot write /no/such/folder/x.json: no folder /no/such/folder
        >>> check_outputs(argparse.Namespace(data="d.jsonl", json="./d.jsonl"), "json")
        Traceback (most recent call last):
        hf_bat.errors.HfBatError: --json ./d.jsonl would overwrite a file that is read; name another file
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
    kept = {identify_file(path) for path in (*read, *_named(args, flags), *_of_models(args))}
    written: dict[object, str] = {}
    for flag in flags:
        given = getattr(args, flag)
        # A pipe or a device, such as /dev/stdout, takes what it is given one after the other.
        if not given or (Path(given).exists() and not Path(given).is_file()):
            continue
        file = identify_file(given)
        if file in kept:
            raise HfBatError(
                f"--{flag} {given} would overwrite a file that is read; name another file"
            )
        if file in written:
            raise HfBatError(
                f"--{written[file]} and --{flag} are one file, {given}; give each its own"
            )
        written[file] = flag


def _named(args: argparse.Namespace, flags: Iterable[str]) -> list[str | os.PathLike[str]]:
    """The files that the arguments tell a command to read."""
    named = [getattr(args, name, None) for name in _READ if name not in flags]
    lists = (value if isinstance(value, (list, tuple)) else [value] for value in named)
    return [path for paths in lists for path in paths if path]


def _of_models(args: argparse.Namespace) -> list[Path]:
    """The files of a model in the folders that the arguments name: one attacked, one reported on."""
    named = [getattr(args, name, None) for name in ("model", "folder")]
    folders = [Path(one) for one in named if one and Path(one).is_dir()]
    return [path for folder in folders for path in folder.iterdir() if is_model_file(path.name)]
