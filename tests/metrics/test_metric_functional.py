"""Rates of attacks: worked numbers, an independent interval, nothing over nothing."""

import subprocess
import sys
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_bat.errors import HfBatError
from hf_bat.metrics import attack_success_rate, robustness_score, wilson_interval

COUNTS = st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_wilson_by_hand():
    # z = 1.959964, z^2 = 3.841459. 8 of 10: centre (0.8 + 3.841459/20) / (1 + 0.3841459) = 0.716740,
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
    # By definition the ends are the rates p at which |k/n - p| is z standard errors of p itself.
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
    stats = pytest.importorskip("scipy.stats")
    for successes, trials in [(0, 1), (1, 1), (3, 7), (180, 187), (1, 5000)]:
        expected = stats.binomtest(successes, trials).proportion_ci(0.95, "wilson")
        assert wilson_interval(successes, trials) == pytest.approx(tuple(expected), abs=1e-12)


def test_rate_over_nothing_is_none():
    assert attack_success_rate(0, 0) is None
    assert attack_success_rate(0, 3) == 0
    assert attack_success_rate(3, 3) == 1
    assert robustness_score(None, 0.1, 0.1) is None
    assert robustness_score(0.9, None, 0.1) is None
    assert robustness_score(0.9, 0.1, None) is None


def test_robustness_by_hand():
    # 3 / (1/0.5 + 1/0.5 + 1/0.25) = 3/8; any part at 0 makes it 0; three alike give that value.
    assert robustness_score(0.5, 0.5, 0.75) == pytest.approx(3 / 8)
    assert robustness_score(0.9, 0.1, 1.0) == 0
    assert robustness_score(0.0, 0.0, 0.0) == 0
    assert robustness_score(0.7, 0.3, 0.3) == pytest.approx(0.7)
    assert robustness_score(1.0, 0.0, 0.0) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson_interval(3, 2),
        lambda: wilson_interval(-1, 2),
        lambda: attack_success_rate(3, 2),
        lambda: wilson_interval(1, 2, confidence=1.0),
        lambda: wilson_interval(1, 2, confidence=95),
        lambda: robustness_score(84.0, 0.1, 0.1),
        lambda: robustness_score(0.9, 1.1, 0.1),
    ],
)
def test_impossible_numbers_are_refused(call):
    with pytest.raises(HfBatError):
        call()


def test_functions_import_nothing_heavy():
    code = (
        "import sys, hf_bat.metrics.functional\n"
        "heavy = {'torch', 'transformers', 'evaluate', 'datasets', 'numpy', 'sklearn'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
