"""Runs in processes of their own: never made twice, interrupted, beside other processes."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from sweep_helpers import BASE, starts

from hf_bat import HfBatError, cli
from hf_bat.sweep import (
    Run,
    finished,
    folder_of,
    make_grid,
    run_all,
    schedule,
)
from hf_bat.sweep.schedule import list_runs


@pytest.mark.xdist_group("processes")
def test_a_finished_run_is_never_made_again_and_a_killed_one_is(tmp_path, fake_worker):
    runs = make_grid(BASE, {"seed": [1, 13, 14]})
    said = []
    failures = run_all(runs, tmp_path / "s", jobs=2, announce=said.append)
    assert len(failures) == 2
    assert any("no such thing" in line and "log.txt" in line for line in failures)
    killed = f"run {runs[1].key} failed: ended by SIGKILL, as the system does where memory runs out (log:"
    assert any(line.startswith(killed) for line in failures)
    assert [starts(tmp_path / "s", run) for run in runs] == [1, 1, 1]
    assert any("3/3 runs" in line for line in said)

    failures = run_all(runs, tmp_path / "s", jobs=2, announce=said.append)
    assert [starts(tmp_path / "s", run) for run in runs] == [1, 2, 2]
    assert [line.split()[1] for line in failures] == [runs[2].key]
    assert "1 of 3 runs are finished already" in said

    result = finished(tmp_path / "s", runs[1])
    assert result["metrics"]["threads"] == 1.0  # several jobs: one thread each
    (folder_of(tmp_path / "s", runs[1].key) / "result.json").write_text("{")
    with pytest.raises(HfBatError, match=r"result\.json is no result of a run"):
        run_all(runs, tmp_path / "s")


def test_a_result_without_metrics_is_refused_in_one_line(tmp_path):
    """The table of a reproduction ended in a KeyError."""
    run = make_grid(BASE, {"seed": [1]})[0]
    path = folder_of(tmp_path, run.key) / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"key": run.key}))
    with pytest.raises(HfBatError) as refused:
        finished(tmp_path, run)
    says = f"{path} is no result of a run (it has no metrics); remove it to run again"
    assert str(refused.value) == says


@pytest.mark.xdist_group("processes")
def test_a_token_is_written_nowhere(tmp_path, fake_worker):
    run = Run("0123456789abcdef", {**BASE, "seed": 1, "hub_token": "hf_secret"})
    assert run_all([run], tmp_path / "s", announce=lambda line: None) == []
    files = [path for path in (tmp_path / "s").rglob("*") if path.is_file()]
    assert {"config.json", "result.json"} <= {path.name for path in files}
    assert not any("hf_secret" in path.read_text() for path in files)


@pytest.mark.xdist_group("processes")
def test_a_finished_run_without_the_model_that_is_asked_for_is_named(tmp_path, fake_worker):
    """It was taken for finished, and there was no model."""
    root = tmp_path / "s"
    assert run_all(make_grid(BASE, {"seed": [1, 2]}), root, announce=lambda line: None) == []
    keeping = {**BASE, "keep_model": True}
    runs = make_grid(keeping, {"seed": [1, 2, 3]})
    folders = [folder_of(root, run.key) for run in runs]
    (folders[1] / "model").mkdir()
    says = (
        f"1 of 3 runs is finished and kept no model: remove {folders[0]} to make it again, or leave"
    )
    with pytest.raises(HfBatError, match=re.escape(says)):
        list_runs(runs, root, ["seed"])
    with pytest.raises(HfBatError, match=re.escape(says)) as error:
        run_all(runs, root)
    assert "\n" not in str(error.value)
    assert [starts(root, run) for run in runs] == [1, 1, 0], "before anything is run"
    (folders[1] / "model").rmdir()
    says = (
        f"2 of 3 runs are finished and kept no model: remove {folders[0]} {folders[1]} to make them"
    )
    with pytest.raises(HfBatError, match=re.escape(says)):
        run_all(runs, root)
    # Without the flag they are finished; with their folders gone they are made.
    assert run_all(make_grid(BASE, {"seed": [1, 2]}), root, announce=lambda line: None) == []
    for folder in folders[:2]:
        shutil.rmtree(folder)
    assert run_all(runs, root, announce=lambda line: None) == []
    assert [starts(root, run) for run in runs] == [1, 1, 1]


@pytest.mark.xdist_group("processes")
def test_a_run_that_another_process_makes_is_left_to_it(tmp_path, fake_worker):
    runs = make_grid(BASE, {"seed": [1, 2]})
    folder = folder_of(tmp_path, runs[0].key)
    folder.mkdir(parents=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        failures = run_all(runs, tmp_path, announce=lambda line: None)
    assert failures == [f"run {runs[0].key}: another process is making it"]
    assert [starts(tmp_path, run) for run in runs] == [0, 1]
    assert run_all(runs, tmp_path, announce=lambda line: None) == []


def test_windows_is_refused_in_one_line_before_anything_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    command = ["sweep", "--base", "--model_name_or_path m --task_name snli --max_steps 1", "--grid"]
    command += ["seed=1,2", "--output_dir", str(tmp_path / "s")]
    assert cli.main([*command, "--dry-run"]) == 0
    assert cli.main(command) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("hf-bat: error: runs of a sweep need file locks") and "\n" not in said
    assert not (tmp_path / "s").exists()


def test_finished_runs_are_summed_up_on_windows_too(tmp_path, monkeypatch):
    (run,) = make_grid(BASE, {"seed": [1]})
    folder_of(tmp_path, run.key).mkdir(parents=True)
    result = {"key": run.key, "metrics": {}}
    (folder_of(tmp_path, run.key) / "result.json").write_text(json.dumps(result))
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert run_all([run], tmp_path, announce=lambda line: None) == []


@pytest.mark.xdist_group("processes")
def test_an_interruption_ends_the_running_processes(tmp_path, fake_worker, monkeypatch):
    (run,) = make_grid(BASE, {"seed": [15]})
    pid = folder_of(tmp_path, run.key) / "pid"

    def interrupted(seconds):
        deadline = time.monotonic() + 240
        while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        raise KeyboardInterrupt

    clock = SimpleNamespace(sleep=interrupted, monotonic=time.monotonic)
    monkeypatch.setattr(schedule, "time", clock)  # time.sleep itself is subprocess's too
    with pytest.raises(KeyboardInterrupt):
        run_all([run], tmp_path, announce=lambda line: None)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


SIGNALLED = """
import pathlib, signal, sys
from hf_bat.sweep import make_grid, run_all, schedule
schedule._WORKER = "fake_worker"
# Whatever the tests themselves were started under.
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[2] == "nohup" else signal.SIG_DFL)
runs = make_grid({"model_name_or_path": "m", "task_name": "snli"}, {"seed": [15]})
try:
    run_all(runs, pathlib.Path(sys.argv[1]))
finally:
    print([signal.getsignal(number).name for number in (signal.SIGTERM, signal.SIGHUP)])
"""


@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize(
    "sent, how, status",
    [
        (["SIGTERM"], "", 143),
        (["SIGHUP"], "", 129),
        (["SIGHUP", "SIGTERM"], "nohup", 143),
    ],
)
def test_a_signal_ends_the_running_processes_too(tmp_path, fake_worker, sent, how, status):
    (run,) = make_grid({"model_name_or_path": "m", "task_name": "snli"}, {"seed": [15]})
    pid = folder_of(tmp_path, run.key) / "pid"
    command = [sys.executable, "-c", SIGNALLED, str(tmp_path), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sweep:
        deadline = time.monotonic() + 240
        while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        for name in sent:
            sweep.send_signal(getattr(signal, name))
            time.sleep(0.5)
        said, _ = sweep.communicate(timeout=60)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), signal.SIGKILL)
    assert sweep.returncode == status
    assert said.strip() == f"['SIG_DFL', '{'SIG_IGN' if how == 'nohup' else 'SIG_DFL'}']"


@pytest.mark.xdist_group("processes")
def test_signals_are_left_alone_outside_the_main_thread(tmp_path, fake_worker):
    runs = make_grid(BASE, {"seed": [1]})
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run_all, runs, tmp_path, announce=lambda line: None).result() == []


@pytest.mark.parametrize("visible, first, second", [(None, "0", "1"), ("5,3", "5", "3")])
def test_a_run_has_one_gpu_however_many_jobs_there_are(monkeypatch, visible, first, second):
    (plain,) = make_grid(BASE, {})
    (launched,) = make_grid(BASE, {}, ("accelerate", "launch"))
    (on_cpu,) = make_grid({**BASE, "use_cpu": True}, {})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)

    def device(run, slot=0, jobs=1):
        return schedule._environment(run, slot, jobs).get("CUDA_VISIBLE_DEVICES")

    assert device(plain) == first
    assert [device(plain, slot, jobs=3) for slot in range(3)] == [first, second, first]
    assert device(launched, jobs=2) == device(on_cpu, jobs=2) == visible
