"""F1: the harmonic mean of precision and recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.metrics import f1_score

from hf_bat.metrics import base


class F1(base.PackagedMetric):
    """F1 is the harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN), of one or several classes.

    Args:
        predictions (`list` of `int`): Predicted labels.
        references (`list` of `int`): Gold labels.
        labels (`list` of `int`): Classes to average over, unless `average="binary"`. Defaults to all
            classes that occur.
        pos_label (`int`): The class that `average="binary"` reports. Defaults to 1.
        average (`str`): `"binary"`, `"micro"`, `"macro"`, `"weighted"`, or `None` for one value per class.
            Defaults to `"binary"`.
        sample_weight (`list` of `float`): One weight per example. Each defaults to 1.

    Returns:
        f1 (`float`, or `list` of `float` if `average` is `None`): In [0, 1], and 0 for a class that
            does not occur and is not predicted. Higher is better.

    Examples:
        >>> from hf_bat.metrics import load
        >>> f1 = load("f1")
        >>> f1.compute(predictions=[0, 0, 1, 1, 0], references=[0, 1, 0, 1, 0])
        {'f1': 0.5}
        >>> f1.compute(predictions=[0, 2, 1, 0, 0, 1], references=[0, 1, 2, 0, 1, 2], average=None)
        {'f1': [0.8, 0.0, 0.0]}
        >>> predictions, references = [0, 2, 1, 0, 0, 1], [0, 1, 2, 0, 1, 2]
        >>> scores = f1.compute(predictions=predictions, references=references, average="macro")
        >>> round(scores["f1"], 4)
        0.2667
    """

    citation = base.SCIKIT_LEARN

    def _compute(
        self, predictions: Sequence[int], references: Sequence[int], **options: Any
    ) -> dict[str, Any]:
        # scikit-learn's default is also 0, but with a warning for each class missing in a small
        # set.
        value = f1_score(references, predictions, zero_division=0.0, **options)
        # With `average=None`, this is an array with one value per class.
        return {"f1": float(value) if isinstance(value, float) else value.tolist()}
