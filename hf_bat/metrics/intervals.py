"""Intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev


def as_share(interval: Sequence[float]) -> tuple[float, float]:
    """An interval as a share can have it: of few runs near an end Student's goes past 0 or 1.

    Example:
        >>> as_share((-0.05, 0.07))
        (0.0, 0.07)
    """
    return max(interval[0], 0.0), min(interval[1], 1.0)


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Student's t-interval of the mean of a few runs, such as those of several seeds.

    Args:
        values: one figure a run.
        confidence: of the interval, in (0, 1).

    Returns:
        Its ends; None for fewer than two runs, whose spread is unknown.

    Example:
        >>> low, high = t_interval([0.30, 0.32, 0.34])
        >>> round(low, 4), round(high, 4), t_interval([0.3])
        (0.2703, 0.3697, None)
    """
    from scipy.stats import t

    if len(values) < 2:
        return None
    quantile = float(t.ppf((1 + confidence) / 2, len(values) - 1))
    reach = quantile * stdev(values) / len(values) ** 0.5
    mean = fmean(values)
    return mean - reach, mean + reach
