"""Rates, intervals and tests: worked examples, and agreement with their definitions and with scipy."""

import math
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from hf_bat.stats import (
    clip_to_share,
    clopper_pearson,
    format_rate,
    mcnemar,
    percentile_interval,
    rate,
    rate_interval,
    t_interval,
    wilson_interval,
)

COUNTS = st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_wilson_by_hand():
    # z = 1.959964, z^2 = 3.841459. 8 of 10: center (0.8 + 3.841459/20) / (1 + 0.3841459) = 0.716740,
    # reach 1.959964 * sqrt(0.016 + 3.841459/400) / 1.3841459 = 0.226578.
    low, high = wilson_interval(8, 10)
    assert low == pytest.approx(0.716740 - 0.226578, abs=2e-5)
    assert high == pytest.approx(0.716740 + 0.226578, abs=2e-5)
    # None of 10: 0 to z^2 / (10 + z^2).
    assert wilson_interval(0, 10) == (0.0, pytest.approx(3.841459 / 13.841459, abs=1e-6))
    assert wilson_interval(10, 10) == (pytest.approx(10 / 13.841459, abs=1e-6), 1.0)
    assert wilson_interval(0, 0) == (None, None)


@given(COUNTS, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_wilson_ends_solve_the_score_equation(counts, confidence):
    # By definition, the bounds are the rates p for which |k/n - p| is z standard errors of p itself.
    successes, trials = counts
    if not trials:
        assert wilson_interval(0, 0, confidence) == (None, None)
        return
    low, high = wilson_interval(successes, trials, confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    assert 0 <= low <= successes / trials <= high <= 1
    for end in (low, high):
        error = (end * (1 - end) / trials) ** 0.5
        assert abs(successes / trials - end) == pytest.approx(z * error, abs=1e-9)


def test_wilson_agrees_with_scipy():
    for successes, trials in [(0, 1), (1, 1), (3, 7), (180, 187), (1, 5000)]:
        expected = binomtest(successes, trials).proportion_ci(0.95, "wilson")
        assert wilson_interval(successes, trials) == pytest.approx(tuple(expected), abs=1e-12)


def test_a_rate_out_of_nothing_is_none():
    assert rate(0, 0) is None and rate_interval(0, 0) is None
    assert rate(0, 3) == 0 and rate_interval(8, 10) == list(wilson_interval(8, 10))


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


@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_two_sided_binomial_test(only_a, only_b):
    n = only_a + only_b
    chances = [math.comb(n, k) / 2**n for k in range(n + 1)]
    expected = sum(p for p in chances if p <= chances[only_a] * (1 + 1e-9)) if n else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(expected)
    assert mcnemar(only_a, only_b) == mcnemar(only_b, only_a)


def test_intervals_of_runs_and_resamples():
    assert t_interval([0.30, 0.32, 0.34]) == pytest.approx((0.2703, 0.3697), abs=5e-5)
    assert t_interval([0.3]) is None
    assert clip_to_share((-0.05, 0.07)) == (0.0, 0.07)
    assert percentile_interval([0.0, 1.0, float("nan"), 2.0], confidence=0.5) == (0.5, 1.5)
    assert format_rate(0.1234) == "12.3 %"
