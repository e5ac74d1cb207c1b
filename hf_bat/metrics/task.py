"""Metrics of a task, computed on the labels as the task numbers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hf_bat.labels import reconcile_labels
from hf_bat.metrics import load
from hf_bat.tasks import Task

if TYPE_CHECKING:
    from transformers import EvalPrediction, PretrainedConfig


def build_compute_metrics(
    task: Task, config: PretrainedConfig
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return a Trainer's `compute_metrics` for a task, of logits (B, labels) and labels (B,).

    F1 is for the task's label 1, however the model numbers it.
    """
    metrics = [load(name) for name in task.metrics]

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        # Maps the model's labels to the task's. Computed here, because a trainer may name a new head's
        # labels after this function is made.
        task_labels = np.argsort(reconcile_labels(task, config).ids)
        predictions = task_labels[np.argmax(prediction.predictions, axis=-1)]
        references = task_labels[np.asarray(prediction.label_ids)]
        values: dict[str, float] = {}
        for metric in metrics:
            values |= metric.compute(predictions=predictions, references=references)
        return values

    return compute
