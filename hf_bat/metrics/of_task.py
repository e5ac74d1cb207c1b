"""A task's metrics, of the labels as the task numbers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hf_bat.labels import label_map
from hf_bat.metrics import load
from hf_bat.tasks import Task

if TYPE_CHECKING:
    from transformers import EvalPrediction, PretrainedConfig


def task_metrics(
    task: Task, config: PretrainedConfig
) -> Callable[[EvalPrediction], dict[str, float]]:
    """What a Trainer's `compute_metrics` is for a task: accuracy, and for paraphrases F1.

    Args:
        task: the task, which names its metrics.
        config: the model's configuration. A model may number the labels in another order than the task,
            and F1 is of the task's label 1 all the same.

    Returns:
        A function of an `EvalPrediction` with logits (B, labels) and labels (B,).

    Example:
        >>> from transformers import BertConfig, EvalPrediction
        >>> from hf_bat.tasks import get_task
        >>> config = BertConfig(id2label={0: "duplicate", 1: "not_duplicate"})
        >>> compute = task_metrics(get_task("qqp"), config)
        >>> logits, labels = np.array([[2.0, 1.0], [0.0, 1.0]]), np.array([0, 0])
        >>> {name: round(value, 3) for name, value in compute(EvalPrediction(logits, labels)).items()}
        {'accuracy': 0.5, 'f1': 0.667}
    """
    loaded = [load(name) for name in task.metrics]

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        # The model's label -> the task's; asked now, for a trainer gives a new head its names.
        places = np.argsort(label_map(task, config).ids)
        predicted = places[np.argmax(prediction.predictions, axis=-1)]
        references = places[np.asarray(prediction.label_ids)]
        found: dict[str, float] = {}
        for metric in loaded:
            found |= metric.compute(predictions=predicted, references=references)
        return found

    return compute
