"""Attack success rate: on which share of the attacked examples an attack succeeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from hf_bat.errors import HfBatError
from hf_bat.metrics.functional import attack_success_rate, check_flags
from hf_bat.stats import wilson_interval

_DESCRIPTION = """
The attack success rate is the share of the attacked examples on which an attack succeeds. Attacked
are the examples that the model classifies correctly and whose label the attack does not skip; all
others count as skipped, and enter no rate. A fickle attack (synonyms) succeeds by changing the
prediction, an obstinate one (antonyms, negation) by keeping it.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (`list` of `int`): 1 where the attack succeeded, else 0, an example each.
    references (`list` of `int`): 1 where the example was attacked, 0 where it was skipped.
    confidence (`float`): of the interval. Default: 0.95.

Returns:
    asr (`float`): succeeded / attempted, in 0..1; None where nothing was attempted. Lower is better.
    asr_low, asr_high (`float`): Wilson's score interval of it, or None.
    rows, attempted, skipped, succeeded, failed (`int`): counts; attempted + skipped = rows, and
        succeeded + failed = attempted.

Examples:
    >>> from hf_bat.metrics import load
    >>> asr = load("attack_success_rate")
    >>> found = asr.compute(predictions=[1, 0, 1, 1, 0], references=[1, 1, 1, 1, 0])
    >>> found["asr"], found["attempted"], found["skipped"], found["succeeded"], found["failed"]
    (0.75, 4, 1, 3, 1)
    >>> round(found["asr_low"], 4), round(found["asr_high"], 4)
    (0.3006, 0.9544)
    >>> asr.compute(predictions=[0], references=[0])["asr"] is None
    True
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
class AttackSuccessRate(evaluate.Metric):
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
        self, predictions: Sequence[int], references: Sequence[int], confidence: float = 0.95
    ) -> dict[str, Any]:
        success = check_flags("predictions", predictions, allowed=(0, 1))
        attempt = check_flags("references", references, allowed=(0, 1))
        for row, (has_succeeded, was_attacked) in enumerate(zip(success, attempt, strict=True)):
            if has_succeeded and not was_attacked:
                raise HfBatError(
                    f"row {row} is marked as skipped and as succeeded: it cannot be both"
                )
        succeeded, attempted = sum(success), sum(attempt)
        low, high = wilson_interval(succeeded, attempted, confidence)
        return {
            "asr": attack_success_rate(succeeded, attempted),
            "asr_low": low,
            "asr_high": high,
            "rows": len(attempt),
            "attempted": attempted,
            "skipped": len(attempt) - attempted,
            "succeeded": succeeded,
            "failed": attempted - succeeded,
        }
