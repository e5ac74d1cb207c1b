"""Robustness gap: how much more robust a model is to synonyms than to antonyms, and a combined score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hf_bat.metrics import base
from hf_bat.metrics.functional import attack_success_rate, check_flags, robustness_score
from hf_bat.stats import rate


class RobustnessGap(base.PackagedMetric):
    """The robustness gap is the success rate of the obstinate (antonym) attack minus the success rate of
    the fickle (synonym) attack. Training against only one kind of edit widens the gap. A gap of 0 means
    balance, not robustness. The score `robustness` combines both rates with accuracy. It is the harmonic
    mean of accuracy, 1 - synonym ASR and 1 - antonym ASR.

    Args:
        correct (`list` of `int`): 1 if the model classifies the unperturbed example correctly,
            otherwise 0.
        synonym (`list` of `int`): Outcome of the synonym attack on the example: 1 for success, 0 for
            failure, -1 if skipped.
        antonym (`list` of `int`): Outcome of the antonym attack with the same codes (strict definition:
            the prediction is kept).

    Returns:
        gap (`float`): antonym_asr - synonym_asr, in [-1, 1], or `None` if either is `None`.
        robustness (`float`): In [0, 1], or `None` if a rate is `None`. Higher is better.
        accuracy (`float`): In [0, 1], or `None` without examples.
        synonym_asr, antonym_asr (`float`): In [0, 1], or `None` if all examples are skipped. Lower is
        better.

    Examples:
        >>> from hf_bat.metrics import load
        >>> gap = load("robustness_gap")
        >>> gap.compute(correct=[1, 1, 1, 1, 0], synonym=[1, 0, 0, 0, -1], antonym=[1, 1, -1, -1, -1])
        {'gap': 0.75, 'robustness': 0.0, 'accuracy': 0.8, 'synonym_asr': 0.25, 'antonym_asr': 1.0}
    """

    columns = ("correct", "synonym", "antonym")

    def _compute(
        self, correct: Sequence[int], synonym: Sequence[int], antonym: Sequence[int]
    ) -> dict[str, Any]:
        accuracy = rate(sum(check_flags("correct", correct, allowed=(0, 1))), len(correct))
        synonym_asr, antonym_asr = (
            attack_success_rate(flags.count(1), len(flags) - flags.count(-1))
            for name, outcomes in (("synonym", synonym), ("antonym", antonym))
            for flags in (check_flags(name, outcomes, allowed=(-1, 0, 1)),)
        )
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
