"""F1: the harmonic mean of precision and recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
from sklearn.metrics import f1_score

_DESCRIPTION = """
F1 is the harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN), of one class or averaged
over classes.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (`list` of `int`): predicted labels.
    references (`list` of `int`): gold labels.
    labels (`list` of `int`): classes to average over, unless `average="binary"`. Default: all present.
    pos_label (`int`): the class that `average="binary"` reports. Default: 1.
    average (`str`): `"binary"`, `"micro"`, `"macro"`, `"weighted"`, or None for one value a class.
        Default: `"binary"`.
    sample_weight (`list` of `float`): a weight an example. Default: None, which is 1 each.

Returns:
    f1 (`float`, or `list` of `float` where `average` is None): in 0..1; 0 for a class that neither
        occurs nor is predicted. Higher is better.

Examples:
    >>> from hf_bat.metrics import load
    >>> f1 = load("f1")
    >>> f1.compute(predictions=[0, 0, 1, 1, 0], references=[0, 1, 0, 1, 0])
    {'f1': 0.5}
    >>> f1.compute(predictions=[0, 2, 1, 0, 0, 1], references=[0, 1, 2, 0, 1, 2], average=None)
    {'f1': [0.8, 0.0, 0.0]}
    >>> scores = f1.compute(predictions=[0, 2, 1, 0, 0, 1], references=[0, 1, 2, 0, 1, 2], average="macro")
    >>> round(scores["f1"], 4)
    0.2667
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
class F1(evaluate.Metric):
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
        labels: Sequence[int] | None = None,
        pos_label: int = 1,
        average: str | None = "binary",
        sample_weight: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        value = f1_score(
            references,
            predictions,
            labels=labels,
            pos_label=pos_label,
            average=average,
            sample_weight=sample_weight,
            zero_division=0.0,
        )
        return {"f1": value.tolist() if average is None else float(value)}
