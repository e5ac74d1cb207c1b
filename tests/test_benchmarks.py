"""The check in `make bench`, and the tables of `benchmarks/gpu.sh`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def run_all(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import run_all

    return run_all


RECORDED = {"step": 1.0, "attack": 0.5}


@pytest.mark.parametrize(
    ("ratios", "faults"),
    [
        ({"step": 1.0, "attack": 0.5}, 0),
        ({"step": 0.81, "attack": 0.41, "new": 0.1}, 0),
        ({"step": 0.79, "attack": 0.5}, 1),
        ({"step": 0.79, "attack": 0.39}, 2),
        ({"step": 5.0}, 1),  # a ratio that was not measured does not pass
    ],
)
def test_ratio_far_below_its_record_is_a_fault(run_all, ratios, faults):
    assert len(run_all.compare(ratios, RECORDED)) == faults


# Parts of the JSON output of the scripts.
FIGURES = {
    "bench_step.py": {"over_baseline": {"triplet": {"time_over_tokens": 0.8}}},
    "bench_attack.py": {
        "lines": [
            {"attack": "antonym", "over bare forward": 1.25},
            {"attack": "negation", "over bare forward": 2.0},
        ]
    },
    "bench_perturbations.py": {
        "perturb, pairs/s": [1.0, 3.0, 9.0],
        "plain loop, pairs/s": [4.0, 4.0, 4.0],
    },
    "bench_tables.py": {},
    "bench_synonyms.py": {},
}


@pytest.mark.parametrize(("slowdown", "status"), [(1.0, 0), (1.2, 0), (1.3, 1)])
def test_run_fails_if_a_ratio_fell(run_all, monkeypatch, tmp_path, capsys, slowdown, status):
    figures = json.loads(json.dumps(FIGURES))
    monkeypatch.setattr(run_all, "run_benchmark", lambda script, *_: figures[script])
    monkeypatch.setattr(run_all, "RECORDED", tmp_path / "recorded.json")
    monkeypatch.setattr(sys, "argv", ["run_all.py", "--record"])
    assert run_all.main() == 0
    recorded = json.loads((tmp_path / "recorded.json").read_text())["ratios"]
    assert sorted(recorded.values()) == pytest.approx([0.5, 0.75, 0.8, 1.25])
    figures["bench_step.py"]["over_baseline"]["triplet"]["time_over_tokens"] *= slowdown
    monkeypatch.setattr(sys, "argv", ["run_all.py", "--json", str(tmp_path / "bench.json")])
    assert run_all.main() == status
    assert ("triplet step" in capsys.readouterr().err) == bool(status)
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["figures"] == figures and written["ratios"].keys() == recorded.keys()


def test_recorded_ratios_are_those_that_are_measured(run_all):
    measured = {}
    for script, (_, read) in run_all.BENCHMARKS.items():
        assert (FOLDER / script).is_file()
        measured |= read(FIGURES[script])
    recorded = json.loads(run_all.RECORDED.read_text())["ratios"]
    assert recorded.keys() == measured.keys()
    scripts = {path.name for path in FOLDER.glob("bench_*.py")}
    assert scripts == run_all.BENCHMARKS.keys()


def test_table_of_a_gpu_run(tmp_path):
    step = {
        "machine": "Some GPU",
        "peak_mib": 1234.5,
        "seconds": {"normal": 0.05, "triplet": 0.1},
        "over_baseline": {
            "triplet": {"time_ratio_of_pairs": 2.0, "token_ratio": 2.5, "time_over_tokens": 0.8}
        },
    }
    (tmp_path / "step-minilm-bf16-4.json").write_text(json.dumps(step))
    run = tmp_path / "busy-triplet-4"
    run.mkdir()
    (run / "train_results.json").write_text('{"train_steps_per_second": 9.25}')
    # The GPU is idle before the run starts and after it ends.
    (tmp_path / "busy-triplet-4.csv").write_text("0\n0\n80\n0\n100\n0\n0\n")
    line = {"attack": "antonym", "rows": 40, "rows a second": 100.0, "over bare forward": 1.5}
    (tmp_path / "attack-bf16.json").write_text(json.dumps({"machine": "Some GPU", "lines": [line]}))
    command = [sys.executable, str(FOLDER / "gpu_table.py"), str(tmp_path)]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert table.startswith("Some GPU\n")
    for wanted in (
        "| minilm-bf16-4 | triplet | 10.0 | 2.00 | 2.50 | 0.80 | 1234 |",
        "| minilm-bf16-4 | normal | 20.0 | - | - | - | 1234 |",
        "| busy-triplet-4 | 9.2 | 60 % |",
        "| antonym, bf16 | 40 | 100.0 | 1.50 |",
    ):
        assert wanted in table


def test_gpu_script_explains_itself_without_arguments():
    done = subprocess.run(["bash", str(FOLDER / "gpu.sh")], capture_output=True, text=True)
    assert done.returncode == 2 and "--dry" in done.stdout
    subprocess.run(["bash", "-n", str(FOLDER / "gpu.sh")], check=True)
