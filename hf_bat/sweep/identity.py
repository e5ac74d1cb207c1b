"""What the result of a run depends on: the arguments that matter, and its files by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from hf_bat.canonicalize import MAPPING_VERSION
from hf_bat.errors import HfBatError
from hf_bat.lexicon.table import fetch_table, is_hub_address
from hf_bat.methods import DEFAULT_METHOD, get_method
from hf_bat.perturbations.build import DEFAULT_EDITS
from hf_bat.perturbations.number import NUMBER_VERSION
from hf_bat.sweep.arguments import (
    DEFAULTS,
    FILES,
    IMMATERIAL,
    MODELS,
    TABLES,
    RunArguments,
    material,
    without_secrets,
)

_MISSING = object()
_EDITS = {"obstinate_edits": list(DEFAULT_EDITS)}


def identity(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a result depends on: the arguments that matter, and hashes in the place of paths.

    Args:
        arguments: of a run.

    Returns:
        A JSON object. Data of the Hub count by the task's name, models of the Hub by theirs, tables of the
        Hub by their content.

    Raises:
        HfBatError: a file is missing, or a table on the Hub cannot be had.
    """
    defaults = {**argument_defaults(), **DEFAULTS}
    counted = material(arguments)
    found = {
        name: value
        for name, value in without_secrets(arguments).items()
        if (name in counted or name not in IMMATERIAL) and value != defaults.get(name, _MISSING)
    }
    for name in counted & found.keys():  # flags make floats of steps, which may be a share of all
        if isinstance(found[name], float) and found[name].is_integer():
            found[name] = int(found[name])
    # An option that is not given and one given its method's default are the same.
    method = get_method(arguments.get("method", DEFAULT_METHOD))
    for name, default in {**_EDITS, **method.fill_defaults(arguments)}.items():
        if name in found and found[name] == default:
            del found[name]
    # Weights stand there, given or not, since before other options had defaults of a method.
    for name, weight in method.weights.items():
        found.setdefault(name, weight)
    if arguments.get("canonicalize"):
        found["canonicalize"] = MAPPING_VERSION
    if "number" in (*(arguments.get("obstinate_edits") or ()), *(arguments.get("attacks") or ())):
        found["number"] = NUMBER_VERSION
    for name in FILES:
        if arguments.get(name) is not None:
            found[name] = {"sha256": _hash_file(_local_file(arguments[name], name), name)}
    for name in MODELS:
        if arguments.get(name) is not None and Path(arguments[name]).is_dir():
            found[name] = {"sha256": _hash_model(Path(arguments[name]), name)}
    return found


@lru_cache(maxsize=1)
def argument_defaults() -> dict[str, Any]:
    """The default of each argument of a run that has one."""
    from hf_bat.training_args import BalancedTrainingArguments

    both = (*fields(RunArguments), *fields(BalancedTrainingArguments))
    return {field.name: field.default for field in both if field.default is not MISSING}


def _local_file(path: str, name: str) -> str:
    """A file that is here; that of a table on the Hub as it is there now."""
    if name not in TABLES or not is_hub_address(path):
        return path
    try:
        return str(fetch_table(path))
    except HfBatError as error:
        raise HfBatError(f"--{name} {path}: {error}") from error


def _hash_file(path: str, name: str) -> str:
    try:
        found = os.stat(path)
        return _hash_content(path, found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise HfBatError(f"--{name} {path}: {error.strerror}") from error


@lru_cache(maxsize=256)
def _hash_content(path: str, size: int, changed: int) -> str:
    """Of a file as it is now; one that was written anew since is read again."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _hash_model(folder: Path, name: str) -> str:
    """Of a model folder's weights, configuration and tokenizer; not of cards or checkpoints in it."""
    endings = (".json", ".txt", ".model", ".safetensors", ".bin")
    files = sorted(p for p in folder.iterdir() if p.suffix in endings and p.is_file())
    if not (folder / "config.json").is_file():
        raise HfBatError(f"--{name} {folder} holds no model: it has no config.json")
    parts = [f"{p.name} {_hash_file(str(p), name)}" for p in files]
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()
