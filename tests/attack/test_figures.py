"""The registry of figures: each entry is computed and shown everywhere, and defines what is better."""

import subprocess
import sys

import pytest
from attack_helpers import ANTONYMS, SYNONYMS, hashed, made_rows

from hf_bat.attack import Attack
from hf_bat.attack.figures import (
    BOTH,
    FIGURES,
    Figure,
    is_attack_metric,
    is_lower_better,
    list_figures,
    parse_metric,
)
from hf_bat.callbacks import RobustnessMeter
from hf_bat.evaluation.compare import compare_attack_rates
from hf_bat.evaluation.summary import summary_table
from hf_bat.model_card import Evaluation
from hf_bat.report.page import render_attack_page

ROWS = made_rows(40)
TABLES = {"antonyms": ANTONYMS, "synonyms": SYNONYMS}


@pytest.fixture
def long_rate(monkeypatch):
    """Register a custom figure: the share of rows with at least ten words."""
    figure = Figure(
        "long_rate",
        "rate",
        lambda result: (int(result.words >= 10), 1),
        "rows of ten words or more",
        "long rows",
        "long",
        ("table", "page", "metric", "evaluation", "summary", "card", "compare"),
        lower_is_better=BOTH,
        per_label=True,
        interval=True,
    )
    monkeypatch.setitem(FIGURES, figure.name, figure)
    return sum(len(f"{row['premise']} {row['hypothesis']}".split()) >= 10 for row in ROWS) / 40


def test_a_new_figure_is_computed_and_shown_everywhere(long_rate):
    report = Attack("antonym", hashed, **TABLES).run(ROWS)
    summary = report["antonym"]
    assert summary["long_rate"] == long_rate and len(summary["long_rate_interval"]) == 2
    assert all("long_rate" in part for part in summary["per_label"].values())
    percent = f"{100 * long_rate:.1f} %"
    assert "| long |" in report.to_markdown() and percent in report.to_markdown()
    page = render_attack_page(report)
    assert all(text in page for text in ("long rows", "rows of ten words or more", percent))
    assert report.metrics("eval_")["eval_antonym_long_rate"] == long_rate
    metrics = RobustnessMeter(["antonym"], "snli", None, **TABLES).measure(hashed, ROWS)
    assert metrics["eval_antonym_long_rate"] == long_rate
    lines = summary_table(metrics, {"eval_antonym_long_rate": 1.0}).splitlines()
    line = next(line for line in lines if line.startswith("antonym long"))
    assert percent in line and line.endswith("better")
    card = Evaluation("eval", 1, 40, {"type": "snli", "name": "snli"}, {}, report.attacks)
    [result] = [r for r in card.to_results() if r.metric_args["figure"] == "long_rate"]
    assert (result.metric_type, result.metric_value) == ("long_rate", long_rate)
    assert "lower is better" in result.metric_name and result.metric_args["interval_95"]
    rows = report.rows["antonym"]
    compared = {one.figure: one.rate_a for one in compare_attack_rates(rows, rows)}
    assert compared["long rows"] == long_rate
    assert is_lower_better("eval_antonym_long_rate") and is_attack_metric("antonym_long_rate")


def test_without_the_entry_nothing_knows_the_figure():
    assert "long_rate" not in Attack("antonym", hashed, **TABLES).run(ROWS)["antonym"]
    assert not is_attack_metric("eval_antonym_long_rate")


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("eval_antonym_keep_rate", True),
        ("eval_antonym_valid_keep_rate", True),
        ("eval_antonym_invalid_keep_rate", False),
        ("eval_antonym_invalid_asr", True),
        ("eval_synonym_asr_attackable", True),
        ("eval_synonym_keep_rate", False),
        ("eval_a2t-mlm_keep_rate", False),
        ("mismatched_synonym_keep_rate", False),
        ("eval_mismatched_sister_keep_rate", True),
    ],
)
def test_a_kept_prediction_is_good_if_edits_should_keep_it(metric, lower):
    assert is_attack_metric(metric) and is_lower_better(metric) is lower


def test_the_longest_name_of_a_figure_is_the_one_meant():
    for figure in list_figures("evaluation"):
        assert parse_metric(f"eval_mm_antonym_{figure.name}") == ("mm_antonym", figure)
    assert parse_metric("eval_loss") is parse_metric(None) is None


def test_the_registry_needs_no_heavy_library():
    program = "import sys, hf_bat.attack.figures; print({'torch', 'transformers', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
