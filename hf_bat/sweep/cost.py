"""What runs will cost: steps, and an estimate of their seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.methods import BALANCED_METHODS
from hf_bat.sweep.plan import Run
from hf_bat.sweep.schedule import duration, finished

# Arguments that runs must share for the one's seconds a sequence to be the other's.
_ALIKE = (
    "model_name_or_path",
    "method",
    "per_device_train_batch_size",
    "num_fickle",
    "num_obstinate",
)


def planned_steps(
    arguments: Mapping[str, Any], train_rows: int | None, processes: int = 1
) -> int | None:
    """Optimizer steps of a run.

    Args:
        arguments: of the run.
        train_rows: how many rows it trains on; None where unknown.
        processes: that share the work.

    Returns:
        The steps; None where the rows are unknown and `max_steps` is not given.

    Example:
        >>> planned_steps({"num_train_epochs": 3, "per_device_train_batch_size": 32}, 8000)
        750
    """
    if arguments.get("max_steps", -1) > 0:
        return int(arguments["max_steps"])
    if train_rows is None:
        return None
    _, steps = _epoch(arguments, train_rows, processes)
    return math.ceil(arguments.get("num_train_epochs", 3.0) * steps)


def _epoch(arguments: Mapping[str, Any], train_rows: int, processes: int) -> tuple[int, int]:
    """An epoch's batches of each process, and its optimizer steps."""
    batches = -(-train_rows // (arguments.get("per_device_train_batch_size", 8) * processes))
    return batches, max(1, math.ceil(batches / arguments.get("gradient_accumulation_steps", 1)))


def planned_batches(
    arguments: Mapping[str, Any], train_rows: int | None, processes: int = 1
) -> int | None:
    """Batches that each process of a run trains on: as many to a step as gradients are accumulated over.

    Args:
        arguments, train_rows, processes: see `planned_steps`.

    Returns:
        The batches, the last step of an epoch having what is left; None where `planned_steps` is None.

    Example:
        >>> flags = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
        >>> planned_steps(flags, 10), planned_batches(flags, 10)
        (6, 15)
    """
    steps = planned_steps(arguments, train_rows, processes)
    window = int(arguments.get("gradient_accumulation_steps", 1))
    if steps is None or train_rows is None:
        return None if steps is None else steps * window
    batches, steps_an_epoch = _epoch(arguments, train_rows, processes)
    epochs, rest = divmod(steps, steps_an_epoch)
    return epochs * batches + rest * window


def work(arguments: Mapping[str, Any], train_rows: int | None, processes: int = 1) -> int | None:
    """Sequences that each process of a run forwards in training.

    Args:
        arguments: of the run.
        train_rows: how many rows it trains on; None where unknown.
        processes: that share the work.

    Returns:
        The sequences, versions that are not valid counted too; None where the rows are unknown and
        `max_steps` is not given.

    Example:
        >>> flags = {"per_device_train_batch_size": 4, "max_steps": 3}
        >>> work(flags, None), work({**flags, "gradient_accumulation_steps": 2, "method": "triplet"}, None)
        (12, 72)
    """
    batches = planned_batches(arguments, train_rows, processes)
    if batches is None:
        return None
    return batches * int(arguments.get("per_device_train_batch_size", 8)) * forwards(arguments)


def forwards(arguments: Mapping[str, Any]) -> int:
    """Sequences that a training step forwards for each row: 1, or with the versions 3 or more."""
    if arguments.get("method", "normal") not in BALANCED_METHODS:
        return 1
    return 1 + int(arguments.get("num_fickle", 1)) + int(arguments.get("num_obstinate", 1))


def estimate(
    run: Run,
    train_rows: int | None,
    results: Iterable[Mapping[str, Any]],
    seconds_per_step: float | None,
    processes: int = 1,
) -> float | None:
    """Seconds of training, estimated; evaluation and attacks are not counted.

    Args:
        run: whose.
        train_rows: how many rows it trains on; None where unknown.
        results: of finished runs: those of the same model, method, draws and batch size are a measurement.
        seconds_per_step: of a step of normal training on one batch of 32; None where unknown.
        processes: that share the work.

    Returns:
        Seconds; None where nothing is known to go by.
    """
    sequences = work(run.arguments, train_rows, processes)
    if sequences is None:
        return None
    measured = [
        result["train"]["train_runtime"] / done
        for result in results
        if all(result["arguments"].get(n) == run.arguments.get(n) for n in _ALIKE)
        and not result["train"]["resumed"]
        and (done := _done(result))
    ]
    if measured:
        return sequences * sum(measured) / len(measured)
    return None if seconds_per_step is None else sequences * seconds_per_step / 32


def _done(result: Mapping[str, Any]) -> int | None:
    """Sequences that each process of a finished run forwarded in training."""
    arguments = {**result["arguments"], "max_steps": result["steps"]}
    rows = result.get("rows", {}).get("train")
    return work(arguments, rows, result.get("processes", 1))


def dry_run(
    runs: Sequence[Run],
    root: Path,
    train_rows: Mapping[str, int | None],
    varied: Sequence[str],
    seconds_per_step: float | None = None,
    processes: int = 1,
) -> str:
    """The list of runs with their estimated cost, as text.

    Args:
        runs: all of them.
        root: the sweep's folder.
        train_rows: key -> training rows.
        varied: the arguments that tell the runs apart.
        seconds_per_step: see `estimate`.
        processes: that share the work of a run.

    Raises:
        HfBatError: `seconds_per_step` is no positive number.
    """
    if seconds_per_step is not None and not 0 < seconds_per_step < math.inf:
        raise HfBatError(f"--seconds_per_step must be more than 0, not {seconds_per_step:g}")
    results = {run.key: finished(root, run) for run in runs}
    known = [result for result in results.values() if result]
    lines, total, unknown, open_runs = [], 0.0, 0, 0
    for run in runs:
        if results[run.key]:
            lines.append(f"{run.key}  finished            {run.label(varied)}")
            continue
        open_runs += 1
        steps = planned_steps(run.arguments, train_rows.get(run.key), processes)
        seconds = estimate(run, train_rows.get(run.key), known, seconds_per_step, processes)
        total += seconds or 0.0
        unknown += seconds is None
        cost = "?" if seconds is None else f"~{duration(seconds)}"
        count = "?" if steps is None else str(steps)
        lines.append(f"{run.key}  {count:>7} steps {cost:>9}  {run.label(varied)}")
    lines.append(f"{open_runs} of {len(runs)} runs to make")
    if open_runs and unknown < open_runs:
        lines[-1] += (
            f"; about {duration(total)} of training one after another (an estimate: sequences"
        )
        lines[-1] += " x seconds a sequence, without evaluation and attacks)"
    if unknown:
        lines.append(
            f"for {unknown} the time is unknown until a run like it has finished; or give "
            "--seconds_per_step (of normal training, batch 32)"
        )
    return "\n".join(lines)
