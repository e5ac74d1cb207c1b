"""Accuracy: the share of examples whose predicted label is the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
from sklearn.metrics import accuracy_score

_DESCRIPTION = """
Accuracy is the share of examples whose predicted label is the reference label.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (`list` of `int`): predicted labels.
    references (`list` of `int`): gold labels.
    normalize (`bool`): return the share of right examples; otherwise their number. Default: True.
    sample_weight (`list` of `float`): a weight an example. Default: None, which is 1 each.

Returns:
    accuracy (`float`): in 0..1, or the (weighted) number of right examples. Higher is better.

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

_CITATION = """
@article{scikit-learn,
    title = {Scikit-learn: Machine Learning in {P}ython},
    author = {Pedregosa, F. and Varoquaux, G. and Gramfort, A. and Michel, V. and Thirion, B. and
              Grisel, O. and Blondel, M. and Prettenhofer, P. and Weiss, R. and Dubourg, V. and
              Vanderplas, J. and Passos, A. and Cournapeau, D. and Brucher, M. and Perrot, M. and
              Duchesnay, E.},
    journal = {Journal of Machine Learning Research},
    volume = {12},
    pages = {2825--2830},
    year = {2011}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Accuracy(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}
            ),
        )

    def _compute(
        self,
        predictions: Sequence[int],
        references: Sequence[int],
        normalize: bool = True,
        sample_weight: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        value = accuracy_score(
            references, predictions, normalize=normalize, sample_weight=sample_weight
        )
        return {"accuracy": float(value)}
