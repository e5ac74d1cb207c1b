"""Rates of counts, with their intervals."""

from __future__ import annotations


def rate(part: int, whole: int) -> float | None:
    """A share in 0..1, None of nothing."""
    return part / whole if whole else None


def interval(part: int, whole: int) -> list[float] | None:
    """Its 95 % Wilson interval, ready for JSON; None of nothing."""
    from hf_bat.metrics.functional import wilson_interval

    low, high = wilson_interval(part, whole)
    return None if low is None or high is None else [low, high]
