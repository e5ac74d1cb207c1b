"""Attack success rate: the share of attacked examples where an attack succeeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.metrics import base
from hf_bat.metrics.functional import attack_success_rate, check_flags
from hf_bat.stats import wilson_interval


class AttackSuccessRate(base.PackagedMetric):
    """The attack success rate is the share of attacked examples where an attack succeeds. An example is
    attacked if the model classifies it correctly and the attack does not skip its label. Other examples
    are skipped and not included in any rate. A fickle attack (synonyms) succeeds if it changes the
    prediction. An obstinate one (antonyms, negation) succeeds if it does not.

    Args:
        predictions (`list` of `int`): 1 if the attack succeeded on the example, otherwise 0.
        references (`list` of `int`): 1 if the example was attacked, 0 if it was skipped.
        confidence (`float`): Confidence level of the interval. Defaults to 0.95.

    Returns:
        asr (`float`): succeeded / attempted, in [0, 1], or `None` if nothing was attempted. Lower is better.
        asr_low, asr_high (`float`): Wilson score interval of `asr`, or `None`. rows, attempted,
        skipped, succeeded, failed (`int`): Counts, with attempted + skipped = rows and succeeded +
        failed = attempted.

    Examples:
        >>> from hf_bat.metrics import load
        >>> asr = load("attack_success_rate")
        >>> result = asr.compute(predictions=[1, 0, 1, 1, 0], references=[1, 1, 1, 1, 0])
        >>> result["asr"], result["attempted"], result["skipped"], result["succeeded"], result["failed"]
        (0.75, 4, 1, 3, 1)
        >>> round(result["asr_low"], 4), round(result["asr_high"], 4)
        (0.3006, 0.9544)
        >>> asr.compute(predictions=[0], references=[0])["asr"] is None
        True
    """

    def _compute(
        self, predictions: Sequence[int], references: Sequence[int], confidence: float = 0.95
    ) -> dict[str, Any]:
        success = check_flags("predictions", predictions, allowed=(0, 1))
        attempt = check_flags("references", references, allowed=(0, 1))
        for row, (has_succeeded, was_attacked) in enumerate(zip(success, attempt, strict=True)):
            # It would be a success but not an attempt, and the rate could exceed 1.
            if has_succeeded and not was_attacked:
                raise HfBatError(f"row {row} is both skipped and succeeded")
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
