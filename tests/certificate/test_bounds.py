"""Bounds of a probability: exact, and at the stated risk however many looks there are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from hf_bat.certificate.bounds import Tally, clopper_pearson, looks
from hf_bat.errors import HfBatError


@pytest.mark.parametrize("successes, trials", [(1, 10), (5, 10), (10, 10), (90, 100), (1999, 2000)])
@pytest.mark.parametrize("risk", [0.05, 0.001])
def test_clopper_pearson_is_where_the_tail_is_the_risk(successes, trials, risk):
    low, high = clopper_pearson(successes, trials, risk)
    assert binom.sf(successes - 1, trials, low) == pytest.approx(risk, rel=1e-6)
    if successes < trials:
        assert binom.cdf(successes, trials, high) == pytest.approx(risk, rel=1e-6)
    else:
        assert high == 1.0
    assert clopper_pearson(trials - successes, trials, risk) == pytest.approx((1 - high, 1 - low))


def test_no_successes_and_no_trials_bound_nothing():
    assert clopper_pearson(0, 10, 0.05)[0] == 0.0 and clopper_pearson(0, 0, 0.05) == (0.0, 1.0)
    with pytest.raises(HfBatError, match="11 of 10 is no count"):
        clopper_pearson(11, 10, 0.05)


@given(st.integers(1, 100_000))
def test_looks_grow_and_end_at_all_samples(samples):
    found = looks(samples)
    assert found[-1] == samples and looks(samples, early_stopping=False) == (samples,)
    assert found[0] >= min(samples, 32)
    assert all(
        before < after <= 2 * before for before, after in zip(found, found[1:], strict=False)
    )


def chance_of_a_false_bound(looks, risk, p):
    """The exact probability that some look's lower bound lies over p, and that some upper lies under."""
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
    schedule, risk = looks(250), 0.05
    chances = chance_of_a_false_bound(schedule, risk / len(schedule), p)
    assert max(chances) <= risk


def test_looking_often_without_sharing_the_risk_would_break_it():
    assert max(chance_of_a_false_bound(looks(250), 0.05, 0.52)) > 0.05


def test_a_tally_decides_and_never_takes_a_certificate_back():
    tally = Tally(looks(250), 0.05)
    tally.add(32, 32)
    assert tally.verdict(0.5) == "certified" and tally.verdict(0.9) == "abstained"
    assert tally.verdict(1.0) == "not certified"
    assert tally.decided([0.5, 1.2]) and not tally.decided([0.5, 0.9])
    before = tally.low
    tally.add(10, 31)
    assert tally.low == before and tally.verdict(0.5) == "certified"
    with pytest.raises(HfBatError, match="no look"):
        tally.add(1, 1)
