"""Base class of the packaged `evaluate` metrics."""

from __future__ import annotations

import inspect

import datasets
import evaluate

CHEN_2022 = """
@inproceedings{chen-etal-2022-balanced,
    title = "Balanced Adversarial Training: Balancing Tradeoffs between Fickleness and Obstinacy
             in {NLP} Models",
    author = "Chen, Hannah and Ji, Yangfeng and Evans, David",
    booktitle = "Proceedings of the 2022 Conference on Empirical Methods in Natural Language
                 Processing",
    year = "2022",
}
"""
SCIKIT_LEARN = """
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


class PackagedMetric(evaluate.Metric):
    """A metric over columns of integers, with the docstring of its class as description.

    The module of a metric must not import this name, because `evaluate.load` uses the first metric class
    it finds in the module.
    """

    columns: tuple[str, ...] = ("predictions", "references")
    citation: str = CHEN_2022  # overrides a property of evaluate that reads it from `_info`

    def _info(self) -> evaluate.MetricInfo:
        description, _, inputs = (inspect.getdoc(type(self)) or "").partition("\n\n")
        return evaluate.MetricInfo(
            description=description,
            citation=self.citation,
            inputs_description=inputs,
            features=datasets.Features({name: datasets.Value("int32") for name in self.columns}),
        )
