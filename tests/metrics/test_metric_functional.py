"""Success rate and robustness score: worked examples, and `None` without data."""

import subprocess
import sys

import pytest

from hf_bat.metrics import attack_success_rate, robustness_score


def test_rate_over_nothing_is_none():
    assert attack_success_rate(0, 0) is None
    assert attack_success_rate(0, 3) == 0
    assert attack_success_rate(3, 3) == 1
    assert robustness_score(None, 0.1, 0.1) is None
    assert robustness_score(0.9, None, 0.1) is None
    assert robustness_score(0.9, 0.1, None) is None


def test_robustness_by_hand():
    # 3 / (1/0.5 + 1/0.5 + 1/0.25) = 3/8; it is 0 if any part is 0; three equal parts give their value.
    assert robustness_score(0.5, 0.5, 0.75) == pytest.approx(3 / 8)
    assert robustness_score(0.9, 0.1, 1.0) == 0
    assert robustness_score(0.0, 0.0, 0.0) == 0
    assert robustness_score(0.7, 0.3, 0.3) == pytest.approx(0.7)
    assert robustness_score(1.0, 0.0, 0.0) == 1


def test_functions_import_nothing_heavy():
    code = (
        "import sys, hf_bat.metrics.functional\n"
        "heavy = {'torch', 'transformers', 'evaluate', 'datasets', 'numpy', 'sklearn'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
