"""Rates, confidence intervals and paired tests. A rate over zero rows is `None`, never 0 or NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

from hf_bat.errors import HfBatError


def is_number(value: Any) -> bool:
    """Return whether a value read from a file is a number, excluding booleans and NaN."""
    # `bool` is a subclass of `int`.
    is_numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_numeric and not math.isnan(value)


def rate(part: int, whole: int) -> float | None:
    """Return a rate in [0, 1], or `None` if `whole` is 0."""
    return part / whole if whole else None


def rate_interval(part: int, whole: int) -> list[float] | None:
    """Return the 95 % Wilson interval of a rate, ready for JSON, or `None` if `whole` is 0."""
    low, high = wilson_interval(part, whole)
    return None if low is None or high is None else [low, high]


def format_rate(share: float) -> str:
    """Format a rate as a percentage: 0.1234 as "12.3 %"."""
    return f"{100 * share:.1f} %"


@dataclass(frozen=True)
class Share:
    """A count out of a total, with its rate and 95 % Wilson interval. Both are `None` if the total is 0."""

    count: int
    of: int

    @property
    def rate(self) -> float | None:
        """The share, in [0, 1]."""
        return rate(self.count, self.of)

    @property
    def interval(self) -> list[float] | None:
        """Wilson's 95 % interval of the share."""
        return rate_interval(self.count, self.of)

    def to_dict(self) -> dict[str, Any]:
        """Return the count, the total, the rate and its interval, ready for JSON."""
        return {"count": self.count, "of": self.of, "rate": self.rate, "interval": self.interval}


def wilson_interval(
    successes: int, trials: int, confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """Compute Wilson's score interval of a rate, which is valid for few trials and for rates near 0 and 1.

    Args:
        successes: Number of successes, from 0 to `trials`.
        trials: Number of trials.
        confidence: Confidence level in (0, 1). Defaults to 0.95.

    Returns:
        Lower and upper end in [0, 1]. Both are `None` without trials.

    Raises:
        HfBatError: If the counts are impossible or `confidence` is out of range.

    Example:
        >>> [round(end, 4) for end in wilson_interval(8, 10)]
        [0.4902, 0.9433]
    """
    check_counts(successes, trials)
    if not 0 < confidence < 1:
        raise HfBatError(f"confidence must lie between 0 and 1, got {confidence}")
    if not trials:
        return None, None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / trials
    center = share + z * z / (2 * trials)
    reach = z * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    scale = 1 + z * z / trials
    # At 0 and 1, the exact end is 0 or 1, and rounding must not go beyond it.
    low = 0.0 if successes == 0 else max(0.0, (center - reach) / scale)
    high = 1.0 if successes == trials else min(1.0, (center + reach) / scale)
    return low, high


def clopper_pearson(successes: int, trials: int, risk: float) -> tuple[float, float]:
    """Compute exact one-sided bounds of a binomial probability (Clopper and Pearson 1934).

    `risk`, in (0, 1), is the probability that the lower bound exceeds the true value, and that the upper
    bound is below it.
    """
    from scipy.stats import beta  # slow to import

    check_counts(successes, trials)
    failures = trials - successes
    low = float(beta.ppf(risk, successes, failures + 1)) if successes else 0.0
    high = float(beta.ppf(1 - risk, successes + 1, failures)) if failures else 1.0
    return low, high


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Compute Student's t-interval of the mean of a few runs, such as runs with several seeds.

    Returns `None` for fewer than two runs, because their spread is unknown.
    """
    from scipy.stats import t

    if len(values) < 2:
        return None
    quantile = float(t.ppf((1 + confidence) / 2, len(values) - 1))
    reach = quantile * stdev(values) / len(values) ** 0.5
    mean = fmean(values)
    return mean - reach, mean + reach


def clip_to_share(interval: Sequence[float]) -> tuple[float, float]:
    """Clip an interval to [0, 1]. The t-interval of a few rates near 0 or 1 can go beyond it."""
    return max(interval[0], 0.0), min(interval[1], 1.0)


def mcnemar(only_a: int, only_b: int) -> float:
    """Compute the two-sided p-value of McNemar's exact test from the pairs where only one model fails.

    This is the probability of a split at least as uneven if each of these pairs were a fair coin
    flip.
    """
    from scipy.stats import binomtest

    total = only_a + only_b  # pairs where both models agree say nothing about their difference
    return float(binomtest(only_a, total, 0.5).pvalue) if total else 1.0


def percentile_interval(resamples: Any, confidence: float) -> tuple[float, float]:
    """Compute the percentile interval of bootstrap resamples, without NaN (rates over zero rows)."""
    import numpy as np

    tail = 100 * (1 - confidence) / 2
    # A resample without attempted rows has no rate.
    low, high = np.nanpercentile(resamples, [tail, 100 - tail])
    return float(low), float(high)


def f1_score(hits: int, false_alarms: int, misses: int) -> float | None:
    """Compute F1 of a class, 2 TP / (2 TP + FP + FN), or `None` without rows and predictions of it."""
    return rate(2 * hits, 2 * hits + false_alarms + misses)


def f1_interval(hits: int, false_alarms: int, misses: int) -> list[float] | None:
    """Compute the 95 % interval of F1, ready for JSON, or `None` without rows of the class.

    F1 is `2 J / (1 + J)`, where `J` is the share of hits among the rows with the class as label or
    prediction. The ends of Wilson's interval of `J` are converted in the same way, which is also valid for
    an F1 of 0 or 1.

    Example:
        >>> [round(end, 2) for end in f1_interval(0, 2, 3)]
        [0.0, 0.61]
    """
    interval = rate_interval(hits, hits + false_alarms + misses)
    return interval and [2 * end / (1 + end) for end in interval]


def check_counts(successes: int, trials: int) -> None:
    """Check that `successes` is a possible number of successes in `trials`."""
    if not 0 <= successes <= trials:
        raise HfBatError(f"successes must lie between 0 and {trials} (the trials); got {successes}")
