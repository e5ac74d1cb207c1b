"""One run of a sweep, in a process of its own: `python -m hf_bat.sweep.train_run FOLDER/config.json`.

It trains, evaluates with the attacks that its arguments name, and writes `result.json` last of all, by
renaming: a folder that has one is finished. A run that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
    set_seed,
)

from hf_bat.attack.ranks import leave
from hf_bat.callbacks import drop_missing_metrics, should_attack
from hf_bat.console import strip_log_escapes
from hf_bat.errors import HfBatError
from hf_bat.evaluation.representations import collect, distances, separation
from hf_bat.files import write_json
from hf_bat.labels import find_label_names
from hf_bat.metrics.task import build_compute_metrics
from hf_bat.saved_perturbations import collect_tables
from hf_bat.sweep.arguments import RunArguments, row_files, row_limit, without_secrets
from hf_bat.sweep.flags import build_arguments
from hf_bat.sweep.schedule import MODEL
from hf_bat.tasks import Task, build_task, load_hub_split, load_split, with_label_names
from hf_bat.trainer import BalancedTrainer
from hf_bat.version import __version__


def load_rows(run: RunArguments, task: Task) -> dict[str, Any]:
    """Training rows, validation rows, and MNLI's mismatched ones where there are any."""
    rows = {}
    for role, path in row_files(vars(run), task.splits).items():
        split = load_split(path) if path else load_hub_split(task, role)
        limit = row_limit(vars(run), role)
        rows[role] = split if limit is None else split.select(range(min(limit, len(split))))
    return rows


def make_trainer(run: RunArguments, training: Any) -> tuple[BalancedTrainer, dict[str, Any]]:
    """The trainer of a run, and its rows by role."""
    task = build_task(vars(run))
    with training.main_process_first(desc="loading the data"):
        rows = load_rows(run, task)
    task = with_label_names(task, find_label_names(rows["train"], task))
    set_seed(training.seed)  # of the new head's weights
    try:
        tokenizer = AutoTokenizer.from_pretrained(run.model_name_or_path)
        model = AutoModelForSequenceClassification.from_pretrained(
            run.model_name_or_path, num_labels=len(task.label_names)
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise HfBatError(f"cannot load {run.model_name_or_path}: {reason}") from error
    trainer = BalancedTrainer(
        model=model,
        args=training,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        processing_class=tokenizer,
        compute_metrics=build_compute_metrics(task, model.config),
        task=task,
        synonyms=run.synonyms,
        antonyms=run.antonyms,
    )
    return trainer, rows


class _Progress(TrainerCallback):
    """Notes now and then how far the run is, for whoever waits for it."""

    def __init__(self, path: Path):
        self.path = path
        self.noted = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        if state.is_world_process_zero and (now - self.noted > 2 or not self.noted):
            self.noted = now
            write_json(self.path, {"step": state.global_step, "steps": state.max_steps})


def train_and_measure(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """Train, evaluate, and gather what is to be known of it.

    Args:
        folder: the run's.
        config: `{"key", "arguments", "identity"}`.

    Returns:
        The result; None in a process that is not the first.
    """
    start = time.perf_counter()
    work = folder / "trainer"
    run, training = build_arguments(config["arguments"], str(work))
    trainer, rows = make_trainer(run, training)
    trainer.add_callback(_Progress(folder / "progress.json"))
    checkpoint = last_whole_checkpoint(work)
    trained = trainer.train(resume_from_checkpoint=checkpoint)
    epochs = _evaluations(trainer)
    found: dict[str, Any] = {}
    for role in ("validation", "validation_mm"):
        if role in rows:
            ending = role.removeprefix("validation")
            last = evaluated_last(trainer) if role == "validation" else None
            measured = last or trainer.evaluate(rows[role])
            found |= {f"{name}{ending}": v for name, v in drop_missing_metrics(measured).items()}
        # What follows training is its last epoch, and then another set.
        epochs = epochs or _evaluations(trainer)
    result = {
        "key": config["key"],
        "arguments": without_secrets(config["arguments"]),
        "identity": config["identity"],
        "metrics": {name: value for name, value in found.items() if name.startswith("eval_")},
        "epochs": [drop_missing_metrics(epoch) for epoch in epochs],
        "train": {**trained.metrics, "resumed": checkpoint is not None},
        "steps": trainer.state.max_steps,
        "rows": {role: len(split) for role, split in rows.items()},
        "processes": training.world_size,
        "seconds": round(time.perf_counter() - start, 1),
        "tables": table_hashes(trainer),
        "environment": environment(trainer),
    }
    if trainer.canonicalizer is not None:
        result["preprocessing_defence"] = trainer.canonicalizer.describe()
    if run.representations:
        result["representations"] = represent(trainer, rows["validation"], run, folder)
    if run.keep_model:
        trainer.save_model(str(folder / MODEL))
    return result if trainer.is_world_process_zero() else None


def table_hashes(trainer: BalancedTrainer) -> dict[str, str]:
    """Fingerprints of the tables that trained or attacked; none where nothing was perturbed."""
    is_perturbed = trainer.args.method != "normal" or bool(trainer.args.attacks)
    perturbations = trainer.perturbations if is_perturbed else ()
    tables = collect_tables(perturbations, trainer.canonicalizer)
    return {name: table.fingerprint for name, table in tables.items()}


def represent(trainer: BalancedTrainer, rows: Any, run: RunArguments, folder: Path) -> Any:
    """Keep the vectors beside the result; return the numbers that go into it.

    Where there are none to keep, the reason: a trained model is not lost over it.
    """
    try:
        vectors: dict[str, Any] = collect(trainer, rows, run.representations)
    except HfBatError as error:
        return {"error": str(error)}
    if not trainer.is_world_process_zero():
        return None
    path = folder / "representations.npz"
    with open(path, "wb") as file:
        halves = {kind: array.astype(np.float16) for kind, array in vectors.items()}
        np.savez_compressed(file, **halves)
    return {**separation(vectors), "file": path.name, "distances": distances(vectors)}


def environment(trainer: BalancedTrainer) -> dict[str, str]:
    """What the run was made with."""
    device = trainer.args.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "hf_bat": __version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{device.type} ({name})",
    }


def evaluated_last(trainer: BalancedTrainer) -> dict[str, Any] | None:
    """The evaluation that training ended with, where one after it would measure the same; else None."""
    args, logs = trainer.args, _evaluations(trainer)
    if not logs or logs[-1]["step"] != trainer.state.global_step or args.load_best_model_at_end:
        return None  # none, or of other weights
    if args.fp16_full_eval or args.bf16_full_eval:
        return None  # the Trainer converts the weights for an evaluation after training alone
    if args.attacks and not should_attack(args.attack_every, trainer.state, in_training=True):
        return None
    return logs[-1]


def _evaluations(trainer: BalancedTrainer) -> list[dict[str, Any]]:
    """What evaluation has logged so far."""
    return [log for log in trainer.state.log_history if "eval_loss" in log]


def last_whole_checkpoint(work: Path) -> str | None:
    """The last checkpoint that was written to its end; what was cut short is ignored.

    The Trainer writes a checkpoint's `trainer_state.json` after its weights and its optimizer.
    """
    found = []
    for path in work.glob("checkpoint-*"):
        try:
            state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            found.append((int(state["global_step"]), str(path)))
        except (OSError, ValueError, KeyError):
            shutil.rmtree(path, ignore_errors=True)
    return max(found)[1] if found else None


def main(argv: list[str]) -> int:
    """Make the run that a `config.json` describes; the exit status is 2 where its user can mend it."""
    try:
        path = Path(argv[0])
        config = json.loads(path.read_text(encoding="utf-8"))
        result = train_and_measure(path.parent, config)
        if result is not None:
            write_json(path.parent / "result.json", result)
    except HfBatError as error:
        print(f"train_run: error: {error}", file=sys.stderr)
        return 2
    if result is not None:
        # Only now: a run that is killed before goes on from its checkpoint.
        shutil.rmtree(path.parent / "trainer", ignore_errors=True)
    return 0


if __name__ == "__main__":
    strip_log_escapes()
    status = main(sys.argv[1:])
    if status == 0:
        leave()
    sys.exit(status)
