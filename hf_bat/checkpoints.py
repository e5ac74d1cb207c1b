"""Checkpoints of a training run: check that they are complete, identify their run, and explain failures."""

from __future__ import annotations

import json
import logging
import re
import shutil
import struct
import traceback
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors import SafetensorError
from transformers import TrainingArguments

from hf_bat.attack.ranks import rank_and_world
from hf_bat.errors import HfBatError
from hf_bat.files import parse_json, read_json, read_json_object, write_json

logger = logging.getLogger(__name__)

#: File in a checkpoint that identifies its run.
RUN_FILE = "hf_bat_run.json"
_STATE = "trainer_state.json"
# Names of weight files. The last two are for adapters.
_WEIGHTS = (
    "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json",
    "pytorch_model.bin.index.json", "adapter_model.safetensors", "adapter_model.bin",
)  # fmt: skip
# Options of `TrainingArguments` that affect the weights. `batch` and `processes` are added to them,
# because other micro-batch sizes give the same gradients.
_OPTIONS = (
    "seed", "data_seed", "num_train_epochs", "max_steps", "learning_rate", "lr_scheduler_type",
    "warmup_steps", "weight_decay", "optim", "max_grad_norm", "label_smoothing_factor", "bf16", "fp16",
    "train_sampling_strategy", "dataloader_drop_last",
)  # fmt: skip
# Options of this package that only affect evaluation.
_EVALUATION = (
    "attacks", "max_attack_samples", "attack_label_filter", "attack_every", "contrast_file",
    "contrast_format", "eval_distances",
)  # fmt: skip
# Prefixes of the names of facts with a hash as value.
_HASHED = ("training", "table")
_ROWS_PER_HASH = 1000
_FEW_BYTES = 1 << 20
_MOST_PROCESSES = 1 << 20


# ---- which checkpoints are whole ----------------------------------------------------------------


def find_checkpoint(folder: str | Path) -> str | None:
    """Find the last complete checkpoint in an output folder. Log a warning for each later one.

    A checkpoint without the state of the optimizer, the scheduler or the random number generators is
    only used if no checkpoint has them. Returns `None` if no checkpoint can be resumed from.
    """
    checkpoints = list_checkpoints(folder)
    damages = {path: find_damage(path) for path in checkpoints}
    usable = [path for path in checkpoints if damages[path] is None]
    chosen = next((path for path in usable if not list_missing(path)), None)
    chosen = chosen or next(iter(usable), None)
    skipped = checkpoints if chosen is None else checkpoints[: checkpoints.index(chosen)]
    next_step = f"the run resumes from {chosen.name}" if chosen else "the run starts over"
    if rank_and_world()[0] == 0:
        for path in skipped:
            reason = damages[path] or f"it has no {', '.join(list_missing(path))}"
            logger.warning("%s is skipped: %s; %s", path, reason, next_step)
    return None if chosen is None else str(chosen)


def check_checkpoint(path: str | Path) -> str:
    """Return a checkpoint to resume from. Raise `HfBatError` if it is damaged."""
    path = Path(path)
    damage = find_damage(path) if path.is_dir() else "there is no such folder"
    if damage is not None:
        others = (other for other in list_checkpoints(path.parent) if other != path)
        whole = next((p for p in others if not find_damage(p) and not list_missing(p)), None)
        advice = f"; resume from {whole}, which is whole" if whole else ""
        raise HfBatError(f"cannot resume from {path}: {damage}{advice}")
    return str(path)


def find_damage(path: Path) -> str | None:
    """Return the reason why training cannot resume from a checkpoint, or `None` if it can.

    Files may be truncated, because a kill or a full disk can interrupt writing anywhere.
    """
    if not (path / _STATE).is_file():
        # Trainer writes it last.
        return f"it has no {_STATE}, so it was not saved completely"
    for file in sorted(path.iterdir()):
        if file.is_file() and _is_cut_short(file):
            return f"{file.name} is cut short or damaged"
    if _is_sharded_state(path):
        return None
    weights = next((path / name for name in _WEIGHTS if (path / name).is_file()), None)
    if weights is None:
        # Several adapters are saved in separate folders.
        named = any((part / name).is_file() for part in path.iterdir() for name in _WEIGHTS)
        return None if named else "it has no weights"
    if weights.name.endswith(".index.json"):
        shards = read_json_object(weights).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(s, str) for s in shards.values()):
            return f"{weights.name} is damaged"
        lost = sorted({shard for shard in shards.values() if not (path / shard).is_file()})
        return f"it has no {lost[0]}" if lost else None
    return None


def list_missing(path: Path) -> list[str]:
    """List the missing states of a checkpoint: optimizer, scheduler and random number generators."""
    if _is_sharded_state(path):
        return []
    missing = [name for name in ("optimizer.pt", "scheduler.pt") if not (path / name).is_file()]
    processes = (read_run(path) or {}).get("processes", 1)
    names = [f"rng_state_{rank}.pth" for rank in range(processes)]
    # Without a record of the run, the number of processes that saved it is unknown.
    if not any(path.glob("rng_state*.pth")):
        missing.append("rng_state.pth")
    elif processes > 1:
        missing += [name for name in names if not (path / name).is_file()]
    return missing


def list_checkpoints(folder: str | Path) -> list[Path]:
    """List the checkpoints in a folder, starting with the last step."""
    steps = {
        path: int(path.name.rpartition("-")[2])
        for path in Path(folder).glob("checkpoint-*")
        if path.is_dir() and re.fullmatch(r"checkpoint-\d+", path.name)
    }
    return sorted(steps, key=lambda path: -steps[path])


def _is_sharded_state(path: Path) -> bool:
    """Return whether FSDP or DeepSpeed saved the checkpoint. They use folders for weights and state."""
    parts = ("pytorch_model_fsdp", "optimizer_", "optimizer.bin", "global_step")
    return any(part.name.startswith(parts) for part in path.iterdir())


def _is_cut_short(file: Path) -> bool:
    try:
        if file.suffix == ".json":
            read_json(file)
        if file.suffix in (".pt", ".pth", ".bin"):
            # torch writes zip archives, which have their directory at the end.
            return not zipfile.is_zipfile(file)
        if file.suffix == ".safetensors":
            return file.stat().st_size != _read_promised_size(file)
    except (OSError, ValueError, KeyError, IndexError, TypeError, struct.error):
        return True
    return False


def _read_promised_size(file: Path) -> int:
    """Return the file size in bytes according to the header of a safetensors file."""
    with open(file, "rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        # A damaged length must not use all memory.
        if length > file.stat().st_size:
            raise ValueError("the header is cut short")
        header = parse_json(stream.read(length))
    if not isinstance(header, dict):
        raise ValueError("the header does not list tensors")
    ends = (entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    return 8 + length + max(ends, default=0)


# ---- which run a checkpoint is of ---------------------------------------------------------------


def describe_run(args: Any, rows: Any, tables: Mapping[str, str], processes: int) -> dict[str, Any]:
    """Describe what determines the run's weights: options, a hash of the rows, and table fingerprints.

    Args:
        args: `BalancedTrainingArguments`.
        rows: The training rows.
        tables: Dict of table name -> fingerprint.
        processes: Number of processes.
    """
    own = {field.name for field in fields(args)} - {
        field.name for field in fields(TrainingArguments)
    }
    names = ["method", *_OPTIONS, *sorted(own - {"method", *_EVALUATION})]
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * processes
    facts = {
        **{name: getattr(args, name, None) for name in names},
        "batch": batch,
        "processes": processes,
        f"{_HASHED[0]} rows": _hash_rows(rows),
        **{f"{_HASHED[1]} of {name}": fingerprint for name, fingerprint in tables.items()},
    }
    # Convert the values to the form in which they are read back.
    facts_read: dict[str, Any] = json.loads(json.dumps(facts, default=str))
    return facts_read


def _hash_rows(rows: Any) -> str | None:
    """Return a hash of the rows in order, or `None` if they are not a `Dataset`."""
    if not isinstance(rows, Dataset):
        return None
    digest = sha256()
    for batch in rows.with_format(None).iter(_ROWS_PER_HASH):
        digest.update(json.dumps(batch, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def read_run(path: Path) -> dict[str, Any] | None:
    """Return what `start_checkpoint` wrote to a checkpoint, or `None` if it is missing or damaged."""
    try:
        facts = read_json_object(path / RUN_FILE)
    except HfBatError:
        return None
    processes = facts.get("processes")
    return facts if isinstance(processes, int) and 1 <= processes < _MOST_PROCESSES else None


def warn_about_differences(checkpoint: str, facts: Mapping[str, Any]) -> None:
    """Warn if a resumed run will not reproduce an uninterrupted run.

    This happens if the checkpoint lacks a state, or if its run has a different
    `describe_run`.
    """
    path = Path(checkpoint)
    if missing := list_missing(path):
        logger.warning(
            "%s has no %s (was it saved with save_only_model?): the run continues from its weights, and "
            "ends with other weights than an uninterrupted run",
            path,
            ", ".join(missing),
        )
    saved = read_run(path)
    if saved is None:
        return
    # An option that only one version or method has adds no information.
    compared = {name: value for name, value in facts.items() if name in saved}
    if saved.get("method") != facts["method"]:
        compared = {n: v for n, v in compared.items() if None not in (v, saved[n])}
    changed = [
        name if name.startswith(_HASHED) else f"{name} {saved[name]} (now {value})"
        for name, value in compared.items()
        if saved[name] != value
    ]
    if changed:
        logger.warning(
            "%s is from another run: it differs in %s; the weights will match neither run",
            path,
            ", ".join(changed),
        )


# ---- saving --------------------------------------------------------------------------------------


def start_checkpoint(path: Path, facts: Mapping[str, Any]) -> None:
    """Create the folder of a checkpoint and first write the file that identifies its run.

    Damaged checkpoints in the same folder are deleted.
    """
    # Files that an interrupted run left for this step must not become part of the new checkpoint.
    shutil.rmtree(path, ignore_errors=True)
    for other in list_checkpoints(path.parent):
        # Trainer may count them when it deletes old checkpoints, and delete complete ones of earlier
        # steps.
        if find_damage(other):
            shutil.rmtree(other, ignore_errors=True)
    path.mkdir(parents=True)
    write_json(path / RUN_FILE, facts)


@contextmanager
def explain_failure(path: Path, remove: bool = False) -> Iterator[None]:
    """Raise an `HfBatError` if a folder cannot be written. With `remove`, delete the partial folder."""
    try:
        yield
    except (HfBatError, OSError, SafetensorError, RuntimeError) as error:
        reason = _describe_write_error(error, path)
        # An upload may fail after everything was written.
        is_written = remove and path.is_dir() and find_damage(path) is None
        if reason is None or is_written:
            raise
        message = reason if isinstance(error, HfBatError) else f"cannot save {path}: {reason}"
        raise HfBatError(message + (_abandon(path) if remove else "")) from error


def _abandon(path: Path) -> str:
    """Delete a checkpoint that could not be saved. Return a note about the last remaining one."""
    shutil.rmtree(path, ignore_errors=True)
    last = next((p for p in list_checkpoints(path.parent) if find_damage(p) is None), None)
    if last is None:
        return "; no checkpoint was saved before"
    return f"; {last.name} is whole: make room and resume from it"


def _describe_write_error(error: Exception, path: Path) -> str | None:
    """Return the reason why files could not be written, or `None` for other kinds of errors."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    text = (str(error).splitlines() or [""])[0]
    if isinstance(error, (HfBatError, SafetensorError)):
        return text
    # torch's file writer reports write errors in several ways, but not their reason.
    frames = traceback.extract_tb(error.__traceback__)
    if not any(frame.filename == torch.serialization.__file__ for frame in frames):
        return None
    free = shutil.disk_usage(_find_existing(path)).free
    return (
        "No space left on device"
        if free < _FEW_BYTES
        else f"the file could not be written ({text})"
    )


def _find_existing(path: Path) -> Path:
    parents: Iterable[Path] = (path, *path.absolute().parents)
    return next(part for part in parents if part.exists())
