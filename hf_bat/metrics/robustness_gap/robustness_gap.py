"""Robustness gap: how much better a model withstands synonyms than antonyms, and a score of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from hf_bat.metrics.functional import attack_success_rate, check_flags, robustness_score

_DESCRIPTION = """
The robustness gap is the success rate of the obstinate (antonym) attack less that of the fickle
(synonym) attack. Training against one kind alone widens it; 0 is balance, not robustness. The score
`robustness` joins both with accuracy: the harmonic mean of accuracy, 1 - synonym ASR and
1 - antonym ASR.
"""

_KWARGS_DESCRIPTION = """
Args:
    correct (`list` of `int`): 1 where the model classifies the unperturbed example correctly, else 0.
    synonym (`list` of `int`): outcome of the synonym attack on the example: 1 succeeded, 0 failed,
        -1 skipped.
    antonym (`list` of `int`): outcome of the antonym attack, alike (strict definition: the prediction
        is kept).

Returns:
    gap (`float`): antonym_asr - synonym_asr, in -1..1; None where either is.
    robustness (`float`): in 0..1, higher is better; None where a rate is.
    accuracy (`float`): in 0..1; None where there are no examples.
    synonym_asr, antonym_asr (`float`): in 0..1, lower is better; None where all are skipped.

Examples:
    >>> from hf_bat.metrics import load
    >>> gap = load("robustness_gap")
    >>> gap.compute(correct=[1, 1, 1, 1, 0], synonym=[1, 0, 0, 0, -1], antonym=[1, 1, -1, -1, -1])
    {'gap': 0.75, 'robustness': 0.0, 'accuracy': 0.8, 'synonym_asr': 0.25, 'antonym_asr': 1.0}
"""

_CITATION = """
@inproceedings{chen-etal-2022-balanced,
    title = "Balanced Adversarial Training: Balancing Tradeoffs between Fickleness and Obstinacy
             in {NLP} Models",
    author = "Chen, Hannah and Ji, Yangfeng and Evans, David",
    booktitle = "Proceedings of the 2022 Conference on Empirical Methods in Natural Language
                 Processing",
    year = "2022",
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class RobustnessGap(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {name: datasets.Value("int32") for name in ("correct", "synonym", "antonym")}
            ),
        )

    def _compute(
        self, correct: Sequence[int], synonym: Sequence[int], antonym: Sequence[int]
    ) -> dict[str, Any]:
        right = check_flags("correct", correct, allowed=(0, 1))
        accuracy = sum(right) / len(right) if right else None
        synonym_asr = _rate("synonym", synonym)
        antonym_asr = _rate("antonym", antonym)
        gap = None
        if synonym_asr is not None and antonym_asr is not None:
            gap = antonym_asr - synonym_asr
        return {
            "gap": gap,
            "robustness": robustness_score(accuracy, synonym_asr, antonym_asr),
            "accuracy": accuracy,
            "synonym_asr": synonym_asr,
            "antonym_asr": antonym_asr,
        }


def _rate(name: str, outcomes: Sequence[int]) -> float | None:
    flags = check_flags(name, outcomes, allowed=(-1, 0, 1))
    return attack_success_rate(flags.count(1), len(flags) - flags.count(-1))
