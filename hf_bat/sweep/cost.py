"""What runs will cost: an estimate of their seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.sweep.plan import Run
from hf_bat.sweep.schedule import check_models, duration, finished
from hf_bat.sweep.workload import Rows, planned_steps, work

# Arguments that runs must share for the one's seconds a sequence to be the other's.
_ALIKE = (
    "model_name_or_path",
    "method",
    "per_device_train_batch_size",
    "num_fickle",
    "num_obstinate",
)


def estimate(
    run: Run,
    rows: Rows,
    results: Iterable[Mapping[str, Any]],
    seconds_per_step: float | None,
    processes: int = 1,
) -> float | None:
    """Seconds of a run, estimated: training, evaluation and attacks.

    Args:
        run: whose.
        rows: how many it trains on and evaluates, by role; see `hf_bat.sweep.workload.work`.
        results: of finished runs: those of the same model, method, draws and batch size are a measurement.
        seconds_per_step: of a step of normal training on one batch of 32; None where unknown.
        processes: that share the work.

    Returns:
        Seconds; None where nothing is known to go by.
    """
    sequences = work(run.arguments, rows, processes)
    if sequences is None:
        return None
    measured = [
        result["seconds"] / done
        for result in results
        if all(result["arguments"].get(n) == run.arguments.get(n) for n in _ALIKE)
        and not result["train"]["resumed"]
        and (done := _done(result))
    ]
    if measured:
        return sequences * sum(measured) / len(measured)
    return None if seconds_per_step is None else sequences * seconds_per_step / 32


def _done(result: Mapping[str, Any]) -> float | None:
    """The work that each process of a finished run has done."""
    arguments = {**result["arguments"], "max_steps": result["steps"]}
    return work(arguments, result.get("rows", {}), result.get("processes", 1))


def dry_run(
    runs: Sequence[Run],
    root: Path,
    rows: Mapping[str, Rows],
    varied: Sequence[str],
    seconds_per_step: float | None = None,
    processes: int = 1,
) -> str:
    """The list of runs with their estimated cost, as text.

    Args:
        runs: all of them.
        root: the sweep's folder.
        rows: key -> how many rows the run trains on and evaluates, by role.
        varied: the arguments that tell the runs apart.
        seconds_per_step: see `estimate`.
        processes: that share the work of a run.

    Raises:
        HfBatError: `seconds_per_step` is no positive number, or a finished run lacks the model that it is
            to keep.
    """
    if seconds_per_step is not None and not 0 < seconds_per_step < math.inf:
        raise HfBatError(f"--seconds_per_step must be more than 0, not {seconds_per_step:g}")
    check_models(runs, root)
    results = {run.key: finished(root, run) for run in runs}
    known = [result for result in results.values() if result]
    lines, total, unknown, open_runs = [], 0.0, 0, 0
    for run in runs:
        if results[run.key]:
            lines.append(f"{run.key}  finished            {run.label(varied)}")
            continue
        open_runs += 1
        own = rows.get(run.key, {})
        steps = planned_steps(run.arguments, own.get("train"), processes)
        seconds = estimate(run, own, known, seconds_per_step, processes)
        total += seconds or 0.0
        unknown += seconds is None
        cost = "?" if seconds is None else f"~{duration(seconds)}"
        count = "?" if steps is None else str(steps)
        lines.append(f"{run.key}  {count:>7} steps {cost:>9}  {run.label(varied)}")
    lines.append(f"{open_runs} of {len(runs)} runs to make")
    if open_runs and unknown < open_runs:
        lines[-1] += (
            f"; about {duration(total)} one after another (an estimate: the sequences of training, "
            "evaluation and attacks x seconds a sequence)"
        )
        if any(own.get("validation") is None for own in rows.values()):
            lines.append("the rows of the Hub's evaluation sets are unknown, and not counted")
    if unknown:
        lines.append(
            f"for {unknown} the time is unknown until a run like it has finished; or give "
            "--seconds_per_step (of normal training, batch 32)"
        )
    return "\n".join(lines)
