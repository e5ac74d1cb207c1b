"""Read files with size limits, write them atomically, and name files and models in messages.

All JSON files of hf_bat are read with `parse_json` and `read_json`, and written with `dump_json`.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import math
import os
import re
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import IO, Any, cast

from hf_bat.errors import HfBatError, describe_cause

# Suffixes of model and tokenizer files, except for files whose names begin with "tokenizer".
_MODEL_FILES = (
    "config.json", "vocab.json", "map.json", "added_tokens.json", ".index.json", ".safetensors",
    ".bin", ".pt", ".pth", ".model", "vocab.txt", "merges.txt",
)  # fmt: skip
# Maximum length of a file name in bytes on common file systems.
_MAX_NAME = 255

# A small gzip file can expand to any size. Repetitive rows compress to a fiftieth of their size at
# most.
MAX_EXPANSION = 100
_FREE_BYTES = 64 << 20  # unpacked size that is always accepted
MAX_DOCUMENT_BYTES = 1 << 30
# Maximum nesting of lists and objects. Our files have fewer than 10 levels. Python can parse about
# 1,000, which is more than it can write.
MAX_DEPTH = 100
# A float has at most 309 digits before the decimal point.
_MAX_DIGITS = 300


def read_bytes(path: str | os.PathLike[str], limit: int | None = None) -> bytes:
    """Read a file and unpack it if it is gzipped.

    Args:
        path: The file.
        limit: Maximum size of the content in bytes. By default, files that are not gzipped have no
            limit.

    Raises:
        HfBatError: If the file cannot be read, is a damaged gzip file, expands to more than
            `MAX_EXPANSION` times its size, or is too large. The message only states the reason, because
            callers know the file.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            is_packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            most = limit
            if is_packed:
                unpacked = max(_FREE_BYTES, MAX_EXPANSION * size)
                most = unpacked if limit is None else min(limit, unpacked)
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=file) if is_packed else file)
            data = bytearray()
            # Read in blocks, because reading up to a limit reserves memory for the limit.
            while (most is None or len(data) <= most) and (block := stream.read(1 << 20)):
                data += block
    except (OSError, EOFError, zlib.error, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None)
        raise HfBatError(reason or f"damaged gzip file ({error})") from error
    if most is not None and len(data) > most:
        unpacked_note = f" unpacked, from {size:,} in the gzip file" if is_packed else ""
        raise HfBatError(f"too large: more than {most:,} bytes{unpacked_note}")
    return bytes(data)


def check_gzip(path: str | os.PathLike[str]) -> None:
    """Check that a gzip file is complete and not larger than `read_bytes` allows.

    Raises:
        HfBatError: With the reason only.
    """
    room = max(_FREE_BYTES, MAX_EXPANSION * os.path.getsize(path))
    try:
        with gzip.open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                room -= len(block)
                if room < 0:
                    raise HfBatError(
                        f"too large: the gzip file expands to more than {MAX_EXPANSION} times its size"
                    )
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None)
        raise HfBatError(reason or f"damaged gzip file ({error})") from error


def parse_json(content: str | bytes) -> Any:
    """Parse JSON from an untrusted source.

    Args:
        content: The text, or its UTF-8 bytes.

    Raises:
        HfBatError: If the content is not UTF-8 or not JSON, is nested deeper than `MAX_DEPTH`, or contains
            a number that is too large. The message only states the reason.

    Example:
        >>> parse_json(b'{"a": [1]}')
        {'a': [1]}
        >>> parse_json("[" * 100_000)
        Traceback (most recent call last):
        hf_bat.errors.HfBatError: nested too deep: more than 100 lists or objects inside each other
    """
    try:
        # Some editors start UTF-8 files with a byte-order mark.
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        parsed = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise HfBatError(
            f"not UTF-8 text (byte 0x{byte:02x} at position {error.start}); save it as UTF-8"
        ) from error
    except HfBatError:
        raise
    except ValueError as error:
        raise HfBatError(f"not JSON: {error}") from error
    except RecursionError:
        raise HfBatError(_TOO_DEEP) from None
    nodes = [parsed] if isinstance(parsed, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        if not nodes:
            return parsed
        nodes = [
            part
            for node in nodes
            for part in (node.values() if isinstance(node, dict) else node)
            if isinstance(part, (dict, list))
        ]
    if nodes:
        raise HfBatError(_TOO_DEEP)
    return parsed


def _parse_short_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise HfBatError(f"a number of {len(digits):,} digits")
    return int(digits)


# Created once, because creating a decoder per line would take longer than decoding.
_DECODER = json.JSONDecoder(parse_int=_parse_short_int)
_TOO_DEEP = f"nested too deep: more than {MAX_DEPTH} lists or objects inside each other"


def read_json(path: str | os.PathLike[str], title: str = "") -> Any:
    """Read a JSON file, which may be gzipped, of at most `MAX_DOCUMENT_BYTES`. Messages call it `title`.

    Raises:
        HfBatError: If the file cannot be read, or its content is not valid for `parse_json`.
    """
    try:
        return parse_json(read_bytes(path, MAX_DOCUMENT_BYTES))
    except HfBatError as error:
        raise HfBatError(f"{title} {path}: {error}".lstrip()) from error


def read_json_object(path: str | os.PathLike[str], title: str = "") -> dict[str, Any]:
    """Read a JSON file that contains an object; see `read_json`."""
    content = read_json(path, title)
    if not isinstance(content, dict):
        raise HfBatError(f"{title} {path}: not a JSON object".lstrip())
    return content


def read_json_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the objects of a JSON Lines file, such as the rows of an attack. The file may be gzipped.

    Raises:
        HfBatError: If the file cannot be read, or a line is not valid for `parse_json` or not an
            object.
    """
    try:
        # `splitlines` would also split at other characters that texts may contain.
        lines = read_bytes(path).split(b"\n")
    except HfBatError as error:
        raise HfBatError(f"rows file {path}: {error}") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except HfBatError as error:
            raise HfBatError(f"{path}, line {number}: {error}") from error
        if not isinstance(row, dict):
            raise HfBatError(f"{path}, line {number}: not a JSON object")
        rows.append(row)
    return rows


def dump_json(content: Any, **options: Any) -> str:
    """Return JSON that every reader accepts: `null` for NaN and infinity, escapes for half surrogate pairs.

    `options` are passed to `json.dumps`. By default, other characters than ASCII are not escaped.

    Example:
        >>> dump_json({"loss": float("nan"), "text": "caf\u00e9"})
        '{"loss": null, "text": "caf\u00e9"}'
    """
    options = {"ensure_ascii": False, **options}
    try:
        text = json.dumps(content, allow_nan=False, **options)
    except ValueError:
        text = json.dumps(_replace_nonfinite(content), allow_nan=False, **options)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), **{**options, "ensure_ascii": True})
    return text


def _replace_nonfinite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _replace_nonfinite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace_nonfinite(part) for part in value]
    return value


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create an output folder if it is missing, and check that files can be written in it."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Permissions do not tell: the file system may be read only, or full.
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b" " * 4096)
            file.flush()
        return folder
    except OSError as error:
        raise HfBatError(f"cannot write to output_dir {folder}: {error.strerror}") from error


def check_writable(path: str | os.PathLike[str], title: str | None = None) -> None:
    """Check that `write_atomically` can write a file, before the work that produces its content.

    This writes a few bytes next to the file, because permissions are not enough: the file system may be
    read-only or full.
    """
    path = Path(path)
    with explain_write(path, title):
        if path.is_symlink() or (path.exists() and not path.is_file()):
            # Link targets are written in place. Opening a pipe would wait for its reader.
            target = path.resolve()
            if target.is_file():
                with open(target, "ab"):
                    return
            if target.exists():
                return
            path = target
        os.stat(path.parent)
        with contextlib.suppress(FileNotFoundError):
            os.stat(path)  # a name that is too long
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(b" " * 4096)
            file.flush()


@contextlib.contextmanager
def explain_write(path: str | os.PathLike[str], title: str | None = None) -> Iterator[None]:
    """Raise an `HfBatError` with the file's name if the system cannot write it."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, HfBatError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise HfBatError(f"cannot write {f'{title} ' if title else ''}{path}: {reason}") from error


def name_beside(path: str | os.PathLike[str], suffix: str) -> Path:
    """Return the path of a file with an added suffix. The name is shortened if it is too long.

    Example:
        >>> name_beside("rows.jsonl", ".lock").as_posix()
        'rows.jsonl.lock'
        >>> len(name_beside("a" * 255, ".lock").name)
        255
    """
    path, limit = Path(path), _MAX_NAME - len(suffix)
    name = path.name.encode("utf-8", "surrogateescape")
    if len(name) > limit:
        # Two long names with the same beginning must not share a file.
        digest = hashlib.sha256(name).hexdigest()[:16].encode()
        name = name[: limit - len(digest)] + digest
    return path.with_name(name.decode("utf-8", "ignore") + suffix)


def write_atomically(
    path: str | os.PathLike[str], content: str | bytes, title: str | None = None
) -> Path:
    """Write text (as UTF-8) or bytes completely or not at all. Messages call the file `title`."""
    path = Path(path)
    temporary: Path | None = None
    try:
        with explain_write(path, title):
            data = content.encode("utf-8") if isinstance(content, str) else content
            # Renaming would replace /dev/stdout, a pipe or a link with a file.
            if path.is_symlink() or (path.exists() and not path.is_file()):
                path.write_bytes(data)
                return path
            # The file is in the same folder, because renaming is only atomic within a file system. Its
            # name has the process id, because another process may write the same file.
            temporary = name_beside(path.with_name(f".{path.name}"), f".{os.getpid()}.tmp")
            temporary.write_bytes(data)
            os.replace(temporary, path)
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError, ValueError):
                temporary.unlink(missing_ok=True)
    return path


def write_json(path: str | os.PathLike[str], content: Any) -> Path:
    """Write an object as indented JSON, completely or not at all; see `write_atomically`."""
    return write_atomically(path, dump_json(content, indent=2) + "\n")


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 (hex) of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def identify_file(path: str | os.PathLike[str]) -> object:
    """Return a hashable value that is equal for all paths of the same file, including links."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # the file is missing
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def is_model_file(name: str) -> bool:
    """Return whether a file with this name belongs to a saved model, its tokenizer or its training."""
    return name.startswith("tokenizer") or name.endswith(_MODEL_FILES)


def get_hub_name(source: str | None) -> str | None:
    """Return the Hub name of a model, or `None` if it is a local folder."""
    if not source or os.path.isdir(source) or os.path.isabs(source):
        return None
    return source if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", source) else None


def shorten_source(source: str) -> str:
    """Return a Hub name unchanged, or only the last part of a local path."""
    # The result may be published, and a path may contain the name of a user or a client.
    return get_hub_name(source) or re.split(r"[\\/]", source.rstrip("\\/"))[-1]


def get_model_title(source: str) -> str:
    """Return the name of a model in tables: `MiniLM-L6` for the packaged encoder, or `shorten_source`."""
    return "MiniLM-L6" if "minilm_l6" in source.lower() else shorten_source(source)


def push_dataset(
    write: Callable[[str, Path], object],
    repo_id: str,
    title: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Upload files to a data set on the Hub, which is created if it does not exist.

    Args:
        write: Function of the full name of the data set and an empty folder that writes the files.
        repo_id: `OWNER/NAME`.
        title: Name of the uploaded content in messages.
        private: Whether a new data set is private. If `None`, the owner's default is used.
        token: Access token. If `None`, the token from `hf auth login` is used.
        revision: Branch to write to. If `None`, the main branch is used.
        commit_message: Commit message.

    Returns:
        The address of the uploaded version: `hf://datasets/OWNER/NAME@COMMIT`.

    Raises:
        HfBatError: If the upload fails.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        repo = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            write(repo.repo_id, Path(folder))
            commit = api.upload_folder(
                repo_id=repo.repo_id,
                folder_path=folder,
                repo_type="dataset",
                revision=revision,
                commit_message=commit_message,
            )
    except Exception as error:  # the type depends on the HTTP library
        raise HfBatError(
            f"cannot push the {title} to {repo_id}: {describe_cause(error)}; check the name and `hf auth "
            "whoami`, and push again: uploaded files are not uploaded twice"
        ) from error
    return f"hf://datasets/{repo.repo_id}@{commit.oid}"


def load_object(name: str) -> Any:
    """Import an object given as MODULE:NAME. The module may be a file. The working folder is searched first.

    Example:
        >>> load_object("json:dumps").__name__
        'dumps'
        >>> load_object("json")
        Traceback (most recent call last):
        hf_bat.errors.HfBatError: 'json' is not MODULE:NAME, such as my_model:predict
    """
    module_name, _, attribute = name.rpartition(":")
    if not module_name or not attribute:
        raise HfBatError(f"{name!r} is not MODULE:NAME, such as my_model:predict")
    path = Path(module_name)
    # `python -m` also does this. Installed commands only search installed packages.
    folder = str(path.absolute().parent if path.suffix == ".py" else Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        loaded = import_module(path.stem if path.suffix == ".py" else module_name)
        return reduce(getattr, attribute.split("."), loaded)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise HfBatError(f"cannot load {name}: {' '.join(str(error).split())}") from error
