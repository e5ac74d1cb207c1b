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
    rows = arguments.get("per_device_train_batch_size", 8) * processes
    batches = -(-train_rows // rows)
    steps = max(1, math.ceil(batches / arguments.get("gradient_accumulation_steps", 1)))
    return math.ceil(arguments.get("num_train_epochs", 3.0) * steps)


def forwards(arguments: Mapping[str, Any]) -> int:
    """Sequences that a training step forwards for each row: 1, or with the versions 3 or more."""
    if arguments.get("method", "normal") not in BALANCED_METHODS:
        return 1
    return 1 + int(arguments.get("num_fickle", 1)) + int(arguments.get("num_obstinate", 1))


def estimate(
    run: Run,
    steps: int | None,
    results: Iterable[Mapping[str, Any]],
    seconds_per_step: float | None,
) -> float | None:
    """Seconds of training, estimated; evaluation and attacks are not counted.

    Args:
        run: whose.
        steps: its steps.
        results: of finished runs: those of the same model, method and batch size are a measurement.
        seconds_per_step: of a step of normal training at batch 32; None where unknown.

    Returns:
        Seconds; None where nothing is known to go by.
    """
    if steps is None:
        return None
    alike = ("model_name_or_path", "method", "per_device_train_batch_size", "num_obstinate")
    measured = [
        result["train"]["train_runtime"] / result["steps"]
        for result in results
        if all(result["arguments"].get(n) == run.arguments.get(n) for n in alike)
        and not result["train"]["resumed"]
    ]
    if measured:
        return steps * sum(measured) / len(measured)
    if seconds_per_step is None:
        return None
    batch = run.arguments.get("per_device_train_batch_size", 8)
    return steps * seconds_per_step * forwards(run.arguments) * batch / 32


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
        seconds = estimate(run, steps, known, seconds_per_step)
        total += seconds or 0.0
        unknown += seconds is None
        cost = "?" if seconds is None else f"~{duration(seconds)}"
        count = "?" if steps is None else str(steps)
        lines.append(f"{run.key}  {count:>7} steps {cost:>9}  {run.label(varied)}")
    lines.append(f"{open_runs} of {len(runs)} runs to make")
    if open_runs and unknown < open_runs:
        lines[-1] += (
            f"; about {duration(total)} of training one after another (an estimate: steps x"
        )
        lines[-1] += " seconds a step, without evaluation and attacks)"
    if unknown:
        lines.append(
            f"for {unknown} the time is unknown until a run like it has finished; or give "
            "--seconds_per_step (of normal training, batch 32)"
        )
    return "\n".join(lines)
