"""Metrics of a task, computed on the labels as the task numbers them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from hf_bat.errors import HfBatError, check_choice
from hf_bat.labels import find_name, list_label_names, reconcile_labels
from hf_bat.tasks import Task

if TYPE_CHECKING:
    from transformers import EvalPrediction, PretrainedConfig

_SCORES = {"accuracy": accuracy_score, "f1": f1_score}


def build_compute_metrics(
    task: Task, config: PretrainedConfig, f1_label: str | None = None
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return a Trainer's `compute_metrics` for a task, of logits (B, labels) and labels (B,).

    F1 is for the task's label 1, however the model numbers it, or for the label that `f1_label` names.
    Rows without a label are left out.

    Raises:
        HfBatError: The task has no label `f1_label`.
    """
    # Not the packaged metrics, which need `evaluate`.
    for name in task.metrics:
        check_choice("metric of a task", name, _SCORES)
    scores: dict[str, Callable[..., float]] = {name: _SCORES[name] for name in task.metrics}
    if f1_label is not None:
        names = task.label_names or list_label_names(config)
        position = find_name(f1_label, names, "f1_label")
        if position is None:
            raise HfBatError(f"f1_label: no label {f1_label!r}; labels: {', '.join(names)}")
        # The mean over one class is its F1.
        scores["f1"] = partial(f1_score, labels=[position], average="macro", zero_division=0.0)

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        # Maps the model's labels to the task's. Computed here, because a trainer may name a new head's
        # labels after this function is made.
        task_labels = np.argsort(reconcile_labels(task, config).ids)
        gold = np.asarray(prediction.label_ids)
        has_label = gold >= 0
        if not has_label.any():
            return {}
        predictions = task_labels[np.argmax(prediction.predictions, axis=-1)[has_label]]
        references = task_labels[gold[has_label]]
        return {name: float(score(references, predictions)) for name, score in scores.items()}

    return compute
