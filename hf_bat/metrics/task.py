"""Metrics of a task, computed with the label ids of the task."""

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
    """Build the `compute_metrics` of a Trainer for a task, a function of logits (B, labels) and labels (B,).

    F1 is computed for label 1 of the task, regardless of its id in the model, or for the label `f1_label`.
    Unlabeled rows are left out.

    Raises:
        HfBatError: If the task has no label `f1_label`.
    """
    # The packaged metrics are not used, because they need `evaluate`.
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
        # Maps the model's labels to the task's. This is computed here, because a trainer may name the
        # labels of a new head after this function is created.
        task_labels = np.argsort(reconcile_labels(task, config).ids)
        gold = np.asarray(prediction.label_ids)
        has_label = gold >= 0
        if not has_label.any():
            return {}
        predictions = task_labels[np.argmax(prediction.predictions, axis=-1)[has_label]]
        references = task_labels[gold[has_label]]
        return {name: float(score(references, predictions)) for name, score in scores.items()}

    return compute
