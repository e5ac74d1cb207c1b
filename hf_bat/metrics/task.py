"""Metrics of a task, computed on the labels as the task numbers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from hf_bat.errors import check_choice
from hf_bat.labels import reconcile_labels
from hf_bat.tasks import Task

if TYPE_CHECKING:
    from transformers import EvalPrediction, PretrainedConfig

_SCORES = {"accuracy": accuracy_score, "f1": f1_score}


def build_compute_metrics(
    task: Task, config: PretrainedConfig
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return a Trainer's `compute_metrics` for a task, of logits (B, labels) and labels (B,).

    F1 is for the task's label 1, however the model numbers it.
    """
    # Not the packaged metrics, which need `evaluate`.
    for name in task.metrics:
        check_choice("metric of a task", name, _SCORES)

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        # Maps the model's labels to the task's. Computed here, because a trainer may name a new head's
        # labels after this function is made.
        task_labels = np.argsort(reconcile_labels(task, config).ids)
        predictions = task_labels[np.argmax(prediction.predictions, axis=-1)]
        references = task_labels[np.asarray(prediction.label_ids)]
        return {name: float(_SCORES[name](references, predictions)) for name in task.metrics}

    return compute
