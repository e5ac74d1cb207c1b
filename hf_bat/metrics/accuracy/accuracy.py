"""Accuracy: the share of examples with a correct prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.metrics import accuracy_score

from hf_bat.metrics import base


class Accuracy(base.PackagedMetric):
    """Accuracy is the share of examples where the prediction equals the reference label.

    Args:
        predictions (`list` of `int`): Predicted labels.
        references (`list` of `int`): Gold labels.
        normalize (`bool`): Whether to return the share of correct examples instead of their number.
            Defaults to `True`.
        sample_weight (`list` of `float`): One weight per example. Each defaults to 1.

    Returns:
        accuracy (`float`): In [0, 1], or the (weighted) number of correct examples. Higher is better.

    Examples:
        >>> from hf_bat.metrics import load
        >>> accuracy = load("accuracy")
        >>> accuracy.compute(predictions=[0, 2, 1, 3], references=[0, 1, 1, 3])
        {'accuracy': 0.75}
        >>> accuracy.compute(predictions=[0, 2, 1, 3], references=[0, 1, 1, 3], normalize=False)
        {'accuracy': 3.0}
        >>> accuracy.compute(predictions=[0, 1], references=[0, 0], sample_weight=[3.0, 1.0])
        {'accuracy': 0.75}
    """

    citation = base.SCIKIT_LEARN

    def _compute(
        self, predictions: Sequence[int], references: Sequence[int], **options: Any
    ) -> dict[str, Any]:
        # The same type for a share and for a count (`normalize=False`).
        return {"accuracy": float(accuracy_score(references, predictions, **options))}
