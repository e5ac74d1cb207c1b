"""Rates of attacks as pure functions of counts; nothing here imports more than the standard library.

A rate over nothing is None, never 0 and never NaN.
"""

from __future__ import annotations

from collections.abc import Iterable

from hf_bat.errors import HfBatError
from hf_bat.stats import check_counts, rate


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
    check_counts(succeeded, attempted)
    return rate(succeeded, attempted)


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
