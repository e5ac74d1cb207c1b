"""Program for one run of a sweep: `python -m hf_bat.sweep.worker FOLDER/config.json`.

The run trains, evaluates with the attacks in its arguments, and writes `result.json` last and
atomically, so a folder with this file is finished. A killed run resumes from its last checkpoint.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from filelock import FileLock, Timeout
from transformers import TrainerCallback

from hf_bat.callbacks import drop_missing_metrics, should_attack
from hf_bat.checkpoints import find_checkpoint
from hf_bat.errors import HfBatError
from hf_bat.evaluation.representations import collect, distances, separation
from hf_bat.files import read_json_object, write_json
from hf_bat.finetune import evaluate_sets, exit_with, load_rows, make_trainer
from hf_bat.methods import get_method
from hf_bat.saved_perturbations import collect_tables
from hf_bat.sweep.grid import build_arguments
from hf_bat.sweep.key import SweepArguments, check_unchanged, drop_secrets
from hf_bat.sweep.schedule import LOCK, MODEL, end_with_parent
from hf_bat.tasks import build_task
from hf_bat.trainer import BalancedTrainer
from hf_bat.version import __version__

_CHECKPOINTS = "trainer"  # output folder of the trainer inside the run's folder


class _ProgressCallback(TrainerCallback):
    """Writes the progress of the run every two seconds for the progress line of the sweep."""

    def __init__(self, path: Path):
        self.path = path
        self.written = -float("inf")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        if state.is_world_process_zero and now - self.written > 2:
            self.written = now
            write_json(self.path, {"step": state.global_step, "steps": state.max_steps})


def train_and_measure(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """Execute the run of a `config.json`. Return its result, or `None` in processes after the first."""
    start = time.perf_counter()
    run, training = build_arguments(config["arguments"], str(folder / _CHECKPOINTS))
    task = build_task(vars(run))
    rows = load_rows(run, task, training, ["train", "validation"])
    trainer = make_trainer(run, task, training, rows)
    check_unchanged(config["arguments"], config["identity"])
    trainer.add_callback(_ProgressCallback(folder / "progress.json"))
    checkpoint = find_checkpoint(folder / _CHECKPOINTS)
    trained = trainer.train(resume_from_checkpoint=checkpoint)
    epochs = _list_evaluations(trainer)
    metrics = evaluate_sets(trainer, rows, find_final_evaluation(trainer))
    result = {
        "key": config["key"],
        "arguments": drop_secrets(config["arguments"]),
        "identity": config["identity"],
        "metrics": {name: value for name, value in metrics.items() if name.startswith("eval_")},
        # Without evaluations during training, only the evaluation after training exists.
        "epochs": [drop_missing_metrics(epoch) for epoch in epochs or _list_evaluations(trainer)],
        "train": {**trained.metrics, "resumed": checkpoint is not None},
        "steps": trainer.state.max_steps,
        "rows": {role: len(split) for role, split in rows.items()},
        "processes": training.world_size,
        "seconds": round(time.perf_counter() - start, 1),
        "tables": hash_tables(trainer),
        "environment": describe_environment(trainer),
    }
    if trainer.canonicalizer is not None:
        result["preprocessing_defence"] = trainer.canonicalizer.describe()
    if run.representations:
        result["representations"] = save_representations(trainer, rows["validation"], run, folder)
    if run.keep_model:
        trainer.save_model(str(folder / MODEL))
    return result if trainer.is_world_process_zero() else None


def _list_evaluations(trainer: BalancedTrainer) -> list[dict[str, Any]]:
    """Return the evaluations so far from the log."""
    return [log for log in trainer.state.log_history if "eval_loss" in log]


def find_final_evaluation(trainer: BalancedTrainer) -> dict[str, Any] | None:
    """Return the last evaluation in training if an evaluation after training would be the same."""
    args, logs = trainer.args, _list_evaluations(trainer)
    if not logs or logs[-1]["step"] != trainer.state.global_step or args.load_best_model_at_end:
        return None  # no evaluation, or an evaluation of other weights
    if args.fp16_full_eval or args.bf16_full_eval:
        return None  # the Trainer only converts the weights for evaluations after training
    if args.attacks and not should_attack(args.attack_every, trainer.state, in_training=True):
        return None
    return logs[-1]


def hash_tables(trainer: BalancedTrainer) -> dict[str, str]:
    """Return the fingerprints of the tables used in training or attacks."""
    is_perturbed = get_method(trainer.args.method).draws or trainer.args.attacks
    perturbations = trainer.perturbations if is_perturbed else ()
    tables = collect_tables(perturbations, trainer.canonicalizer)
    return {name: table.fingerprint for name, table in tables.items()}


def save_representations(
    trainer: BalancedTrainer, rows: Any, run: SweepArguments, folder: Path
) -> dict[str, Any] | None:
    """Save the vectors of rows and their versions, and return measures of their separation."""
    try:
        vectors: dict[str, Any] = collect(trainer, rows, run.representations)
    except HfBatError as error:
        # No row has both versions, but the trained model must not be lost.
        return {"error": str(error)}
    if not trainer.is_world_process_zero():
        return None
    path = folder / "representations.npz"
    with open(path, "wb") as file:
        halves = {kind: array.astype(np.float16) for kind, array in vectors.items()}
        np.savez_compressed(file, **halves)
    return {**separation(vectors), "file": path.name, "distances": distances(vectors)}


def describe_environment(trainer: BalancedTrainer) -> dict[str, str]:
    """Return the package versions and the device of the run."""
    device = trainer.args.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "hf_bat": __version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{device.type} ({name})",
    }


def main(argv: list[str]) -> int:
    """Execute the run of a `config.json`. Return exit status 0, or 2 for an error that the user can fix."""
    end_with_parent()
    path = Path(argv[0])
    folder = path.parent
    # The system always releases the lock when this process ends.
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        if os.environ.get("RANK", "0") == "0":
            lock.acquire()
            if (folder / "result.json").exists():
                raise HfBatError("another process has just finished this run")
        result = train_and_measure(folder, read_json_object(path))
        if result is not None:
            write_json(folder / "result.json", result)
            # Deleted only now, because runs killed before this point resume from their checkpoints.
            shutil.rmtree(folder / _CHECKPOINTS, ignore_errors=True)
    except Timeout:
        print("error: another process is making this run", file=sys.stderr)
        return 2
    except HfBatError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        lock.release()
    return 0


if __name__ == "__main__":
    exit_with(partial(main, sys.argv[1:]))
