"""Rates of attacks as pure functions of counts; nothing here imports more than the standard library.

A rate over nothing is None, never 0 and never NaN.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import NormalDist

from hf_bat.errors import HfBatError


def wilson_interval(
    successes: int, trials: int, confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """Wilson's score interval of a rate; it holds for few trials and for rates near 0 and 1.

    Args:
        successes: from 0 to `trials`.
        trials: how many there were.
        confidence: in 0..1, exclusive.

    Returns:
        Lower and upper end, in 0..1; both None where there were no trials.

    Raises:
        HfBatError: counts that cannot be, or a confidence out of range.

    Example:
        >>> [round(end, 4) for end in wilson_interval(8, 10)]
        [0.4902, 0.9433]
    """
    _check_counts(successes, trials)
    if not 0 < confidence < 1:
        raise HfBatError(f"confidence must lie between 0 and 1, got {confidence}")
    if not trials:
        return None, None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    reach = z * (rate * (1 - rate) / trials + z * z / (4 * trials * trials)) ** 0.5
    scale = 1 + z * z / trials
    # At the ends the exact value is the end itself, and rounding must not step past it.
    low = 0.0 if successes == 0 else max(0.0, (centre - reach) / scale)
    high = 1.0 if successes == trials else min(1.0, (centre + reach) / scale)
    return low, high


def attack_success_rate(succeeded: int, attempted: int) -> float | None:
    """The share of attacked examples on which the attack succeeds (lower is better).

    Args:
        succeeded: examples on which it did.
        attempted: examples attacked: those classified correctly and not skipped for their label.

    Returns:
        A rate in 0..1; None where nothing was attempted.

    Raises:
        HfBatError: counts that cannot be.

    Example:
        >>> attack_success_rate(3, 4), attack_success_rate(0, 0)
        (0.75, None)
    """
    _check_counts(succeeded, attempted)
    return succeeded / attempted if attempted else None


def robustness_score(
    accuracy: float | None, synonym_asr: float | None, antonym_asr: float | None
) -> float | None:
    """The harmonic mean of accuracy, 1 - synonym ASR and 1 - strict antonym ASR (higher is better).

    Being harmonic, it is near 0 as soon as one of the three is: a model that gains robustness to one
    kind of edit by losing that to the other does not score.

    Args:
        accuracy: in 0..1, on unperturbed examples.
        synonym_asr: success rate of the fickle attack, in 0..1.
        antonym_asr: success rate of the obstinate attack under the strict definition, in 0..1.

    Returns:
        A score in 0..1; None where any of the three is None.

    Raises:
        HfBatError: a rate outside 0..1.

    Example:
        >>> robustness_score(0.8, 0.2, 0.6)
        0.6
    """
    if accuracy is None or synonym_asr is None or antonym_asr is None:
        return None
    parts = (accuracy, 1 - synonym_asr, 1 - antonym_asr)
    if not all(0 <= part <= 1 for part in parts):
        raise HfBatError(
            "robustness_score takes fractions in 0..1, got "
            f"accuracy {accuracy}, synonym_asr {synonym_asr}, antonym_asr {antonym_asr}"
        )
    return 3 / sum(1 / part for part in parts) if all(parts) else 0.0


def check_flags(name: str, values: Iterable[int], allowed: tuple[int, ...]) -> list[int]:
    """A column of per-example flags as a list of ints.

    Raises:
        HfBatError: a value that is not one of `allowed`.

    Example:
        >>> check_flags("attempted", [True, 0], (0, 1))
        [1, 0]
    """
    flags = [int(value) for value in values]
    for place, flag in enumerate(flags):
        if flag not in allowed:
            known = ", ".join(map(str, allowed))
            raise HfBatError(f"{name} must hold {known}; row {place} has {flag}")
    return flags


def _check_counts(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials:
        raise HfBatError(
            f"{successes} of {trials} is no count: it must lie between 0 and the number tried"
        )
