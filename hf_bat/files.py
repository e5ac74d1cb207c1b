"""Write files completely or not at all, and name files and models in messages."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from hf_bat.errors import HfBatError

# Ends of the names of a model's and its tokenizer's files, except those that begin with "tokenizer".
_MODEL_FILES = (
    "config.json", "vocab.json", "map.json", "added_tokens.json", ".index.json", ".safetensors",
    ".bin", ".pt", ".pth", ".model", "vocab.txt", "merges.txt",
)  # fmt: skip


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create an output folder if it is missing, and check that files can be written in it."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Permissions do not tell, for example on a file system that is read only.
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise HfBatError(f"cannot write to output_dir {folder}: {error.strerror}") from error


def write_atomically(
    path: str | os.PathLike[str], content: str | bytes, title: str | None = None
) -> Path:
    """Write text (as UTF-8) or bytes completely or not at all; messages call the file `title`."""
    path = Path(path)
    temporary: Path | None = None
    try:
        data = content.encode("utf-8") if isinstance(content, str) else content
        # Renaming would replace /dev/stdout, a pipe or a link by a file.
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(data)
            return path
        # In the same folder, because renaming is atomic only within a file system; with the process
        # id, because another process may write the same file.
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HfBatError(f"cannot write {f'{title} ' if title else ''}{path}: {reason}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError, ValueError):
                temporary.unlink(missing_ok=True)
    return path


def write_json(path: str | os.PathLike[str], content: Any) -> Path:
    """Write an object as indented JSON, completely or not at all; see `write_atomically`."""
    return write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 (hex) of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def identify_file(path: str | os.PathLike[str]) -> object:
    """Return a hashable value that is equal for two paths of the same file, also through links."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # the file is missing
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def is_model_file(name: str) -> bool:
    """Return whether a file with this name belongs to a saved model, its tokenizer or its training."""
    return name.startswith("tokenizer") or name.endswith(_MODEL_FILES)


def get_hub_name(source: str | None) -> str | None:
    """Return a model's name on the Hub, or `None` if it is a folder of this machine."""
    if not source or os.path.isdir(source) or os.path.isabs(source):
        return None
    return source if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", source) else None


def shorten_source(source: str) -> str:
    """Return a name on the Hub as it is, and only the last part of a path."""
    # Others read this: a path may contain the name of a user or of a client.
    return get_hub_name(source) or re.split(r"[\\/]", source.rstrip("\\/"))[-1]


def get_model_title(source: str) -> str:
    """Return the name of a model in tables: `MiniLM-L6` for the packaged encoder, else `shorten_source`."""
    return "MiniLM-L6" if "minilm_l6" in source.lower() else shorten_source(source)
