"""Attack rates as pure functions of counts, without heavy imports. A rate over zero rows is `None`."""

from __future__ import annotations

from collections.abc import Iterable

from hf_bat.errors import HfBatError
from hf_bat.stats import check_counts, rate


def attack_success_rate(succeeded: int, attempted: int) -> float | None:
    """Compute the share of attacked examples with a successful attack (lower is better).

    Args:
        succeeded: Number of examples with a successful attack.
        attempted: Number of attacked examples, which are classified correctly and have no skipped label.

    Returns:
        A rate in [0, 1], or `None` if nothing was attempted.

    Example:
        >>> attack_success_rate(3, 4), attack_success_rate(0, 0)
        (0.75, None)
    """
    check_counts(succeeded, attempted)
    return rate(succeeded, attempted)


def robustness_score(
    accuracy: float | None, synonym_asr: float | None, antonym_asr: float | None
) -> float | None:
    """Compute the harmonic mean of accuracy, 1 - synonym ASR and 1 - antonym ASR (higher is better).

    The harmonic mean is near 0 if any of the three values is, so a model that gains robustness to one kind
    of edit but loses it to the other gets a low score.

    Args:
        accuracy: Accuracy on unperturbed examples, in [0, 1].
        synonym_asr: Success rate of the fickle attack, in [0, 1].
        antonym_asr: Success rate of the obstinate attack under the strict definition, in [0, 1].

    Returns:
        A score in [0, 1], or `None` if any of the three values is `None`.

    Raises:
        HfBatError: If any of the three values is not in [0, 1].

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
    # The limit of the harmonic mean at 0 is 0.
    return 3 / sum(1 / part for part in parts) if all(parts) else 0.0


def check_flags(name: str, values: Iterable[int], allowed: tuple[int, ...]) -> list[int]:
    """Check a column of flags, one per example, and return them as a list of integers."""
    flags = [int(value) for value in values]
    for row, flag in enumerate(flags):
        if flag not in allowed:
            known = ", ".join(map(str, allowed))
            raise HfBatError(f"{name} must hold {known}; row {row} has {flag}")
    return flags
