"""Summary tables of runs, with and without a baseline."""

import io
import json

import pytest
from terminal import Terminal

from hf_bat import HfBatError
from hf_bat.evaluation.summary import read_results, summary_table

OURS = {
    "eval_accuracy": 0.768, "eval_loss": 0.6, "eval_antonym_asr": 0.952,
    "eval_antonym_asr_confident": 0.788, "eval_synonym_asr": 0.316, "eval_robustness": 0.2,
    "eval_accuracy_mm": 0.7, "epoch": 2.0,
}  # fmt: skip
THEIRS = {
    "eval_accuracy": 0.778, "eval_antonym_asr": 0.975, "eval_antonym_asr_confident": 0.773,
    "eval_synonym_asr": 0.316,
}  # fmt: skip


def test_summary_says_which_is_better():
    lines = summary_table(OURS, THEIRS, io.StringIO()).splitlines()
    assert lines[0].split() == ["this", "model", "baseline", "difference"]
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "accuracy", "antonym ASR", "synonym ASR", "antonym ASR, confident", "robustness",
        "accuracy (mismatched)",
    ]  # fmt: skip
    cells = {line[:23].strip(): line[23:].split() for line in lines}
    assert cells["accuracy"] == ["76.8", "%", "77.8", "%", "-1.0", "worse"]
    assert cells["antonym ASR"][-2:] == ["-2.3", "better"]
    assert cells["synonym ASR"][-2:] == ["+0.0", "same"]
    assert cells["antonym ASR, confident"][-2:] == ["+1.5", "worse"]
    assert cells["robustness"] == ["20.0", "%", "-", "-"]


def test_summary_without_baseline_or_figures():
    assert "76.8 %" in summary_table(OURS) and "baseline" not in summary_table(OURS)
    assert summary_table({"eval_loss": 1.0, "epoch": 1}) == ""


def test_baseline_is_a_folder_or_a_file(tmp_path):
    file = tmp_path / "eval_results.json"
    with pytest.raises(HfBatError, match="eval_results.json"):
        read_results(tmp_path)
    file.write_text("{")
    with pytest.raises(HfBatError, match="JSON"):
        read_results(file)
    file.write_text('{"eval_loss": 1.0}')
    with pytest.raises(HfBatError, match="eval_accuracy"):
        read_results(file)
    file.write_text(json.dumps(THEIRS))
    assert read_results(tmp_path) == read_results(file) == THEIRS


def test_verdicts_are_colored_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mbetter" in summary_table(OURS, THEIRS, Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in summary_table(OURS, THEIRS, Terminal())
