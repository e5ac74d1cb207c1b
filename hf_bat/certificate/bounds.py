"""Bounds of an unknown probability from votes that come in a look at a time.

Looking at the votes more than once and stopping when one likes the result would break a confidence
level that was meant for one look. So the looks are fixed beforehand and the risk is shared out over
them: the statements of all looks hold together at the confidence asked for, whenever one stops.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hf_bat.errors import HfBatError
from hf_bat.stats import clopper_pearson

# With so many votes in a row for one label its probability is over 0.85 at 0.95 confidence.
_FIRST_LOOK = 32
CERTIFIED, NOT_CERTIFIED, ABSTAINED = "certified", "not certified", "abstained"


def looks(samples: int, early_stopping: bool = True) -> tuple[int, ...]:
    """After how many samples the votes are looked at: each look at twice as many as the one before.

    Args:
        samples: the most samples; the last look.
        early_stopping: False for one look, at all samples.

    Example:
        >>> looks(2000), looks(2000, early_stopping=False), looks(50)
        ((32, 63, 125, 250, 500, 1000, 2000), (2000,), (50,))
    """
    found = [samples]
    while early_stopping and found[0] > 2 * (_FIRST_LOOK - 1):
        found.insert(0, -(-found[0] // 2))
    return tuple(found)


@dataclass
class Tally:
    """Votes for one label, and bounds of its probability that hold at all looks at once.

    At each look the Clopper-Pearson bounds have the risk `risk / len(looks)`. The probability that any
    of the lower bounds lies over the true value is then at most `risk` (the sum of theirs), so the
    largest of them is a lower bound of that risk too, and one may stop at any look for any reason. The
    same holds for the upper bounds.

    Args:
        looks: after how many samples the votes are looked at, as `looks` gives them.
        risk: 1 - confidence.

    Attributes:
        low: the largest lower bound so far.
        high: the smallest upper bound so far.

    Raises:
        HfBatError: votes that do not end at the next look.

    Example:
        >>> tally = Tally((32, 64), risk=0.05)
        >>> tally.add(31, 32)
        >>> round(tally.low, 3), tally.verdict(0.5), tally.verdict(0.95)
        (0.838, 'certified', 'abstained')
    """

    looks: tuple[int, ...]
    risk: float
    successes: int = 0
    trials: int = 0
    low: float = 0.0
    high: float = 1.0

    def add(self, successes: int, trials: int) -> None:
        """Count the votes between the look before and this one, and move the bounds."""
        self.successes += successes
        self.trials += trials
        if self.trials not in self.looks:
            raise HfBatError(
                f"{self.trials} samples are no look; looks are fixed beforehand: {self.looks}"
            )
        low, high = clopper_pearson(self.successes, self.trials, self.risk / len(self.looks))
        self.low, self.high = max(self.low, low), min(self.high, high)

    def verdict(self, threshold: float) -> str:
        """What the bounds say of `probability > threshold`.

        Returns:
            "certified" where the lower bound is over it, "not certified" where the upper bound is not,
            "abstained" where the votes decide neither.
        """
        if self.low > threshold:
            return CERTIFIED
        return NOT_CERTIFIED if self.high <= threshold else ABSTAINED

    def decided(self, thresholds: Iterable[float]) -> bool:
        """Whether more samples are of no use: no threshold lies between the bounds."""
        return all(self.verdict(threshold) != ABSTAINED for threshold in thresholds)
