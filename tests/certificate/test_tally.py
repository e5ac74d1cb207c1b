"""Bounds hold at all checks, so the risk does not depend on how often votes are counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from hf_bat.certificate.certificate import Tally, schedule_looks
from hf_bat.stats import clopper_pearson


@given(st.integers(1, 100_000))
def test_looks_grow_and_end_at_all_samples(samples):
    found = schedule_looks(samples)
    assert found[-1] == samples and schedule_looks(samples, early_stopping=False) == (samples,)
    assert found[0] >= min(samples, 32)
    assert all(
        before < after <= 2 * before for before, after in zip(found, found[1:], strict=False)
    )


def compute_risk(looks, risk, p):
    """Return the exact probabilities that any lower bound is above p and that any upper bound is below p."""
    chances = []
    for wrong in (lambda low, high: low > p, lambda low, high: high < p):
        alive, lost, before = np.array([1.0]), 0.0, 0
        for look in looks:
            alive = np.convolve(alive, binom.pmf(range(look - before + 1), look - before, p))
            before = look
            for successes, mass in enumerate(alive):
                if mass > 1e-15 and wrong(*clopper_pearson(successes, look, risk)):
                    lost, alive[successes] = lost + mass, 0.0
        chances.append(lost)
    return chances


@pytest.mark.parametrize("p", [0.3, 0.52, 0.75, 0.97])
def test_stopping_at_any_look_keeps_the_risk(p):
    schedule, risk = schedule_looks(250), 0.05
    chances = compute_risk(schedule, risk / len(schedule), p)
    assert max(chances) <= risk


def test_looking_often_without_dividing_the_risk_breaks_it():
    assert max(compute_risk(schedule_looks(250), 0.05, 0.52)) > 0.05


def test_tally_keeps_its_best_bounds():
    tally = Tally(schedule_looks(250), 0.05)
    tally.add(32, 32)
    assert tally.decide(0.5) == "certified" and tally.decide(0.9) == "abstained"
    assert tally.decide(1.0) == "not certified"
    assert tally.is_decided([0.5, 1.2]) and not tally.is_decided([0.5, 0.9])
    before = tally.low
    tally.add(10, 31)
    assert tally.low == before and tally.decide(0.5) == "certified"
