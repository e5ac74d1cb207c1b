"""Runs in separate processes: executed once, interrupted, resumed, and shared with other sweeps."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from sweep_helpers import BASE, count_starts

from hf_bat import HfBatError, cli
from hf_bat.sweep import Run, finished, folder_of, make_grid, run_all, schedule
from hf_bat.sweep.schedule import list_runs


def run_quietly(runs, root, **options):
    return run_all(runs, root, announce=lambda line: None, **options)


@pytest.mark.xdist_group("processes")
def test_finished_runs_are_not_made_again_but_killed_ones_are(tmp_path, fake_worker):
    runs = make_grid(BASE, {"seed": [1, 13, 14]})
    lines = []
    failures = run_all(runs, tmp_path / "s", jobs=2, announce=lines.append)
    assert len(failures) == 2
    assert any("broken on purpose" in line and "log.txt" in line for line in failures)
    assert any(line.startswith(f"run {runs[1].key} failed: ended by SIGKILL") for line in failures)
    assert [count_starts(tmp_path / "s", run) for run in runs] == [1, 1, 1]
    assert any("3/3 runs" in line for line in lines)

    failures = run_all(runs, tmp_path / "s", jobs=2, announce=lines.append)
    assert [count_starts(tmp_path / "s", run) for run in runs] == [1, 2, 2]
    assert [line.split()[1] for line in failures] == [runs[2].key]
    assert "1 of 3 runs are finished already" in lines

    result = finished(tmp_path / "s", runs[1])
    assert result["metrics"]["threads"] == 1.0  # several jobs: one thread each
    (folder_of(tmp_path / "s", runs[1].key) / "result.json").write_text("{")
    with pytest.raises(HfBatError, match=r"result\.json"):
        run_all(runs, tmp_path / "s")


def test_result_without_metrics_is_refused(tmp_path):
    run = Run("0123456789abcdef", BASE)
    path = folder_of(tmp_path, run.key) / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"key": run.key}))
    with pytest.raises(HfBatError, match=re.escape(str(path)) + ".*metrics"):
        finished(tmp_path, run)


@pytest.mark.xdist_group("processes")
def test_no_file_holds_a_token(tmp_path, fake_worker):
    run = Run("0123456789abcdef", {**BASE, "seed": 1, "hub_token": "hf_secret"})
    assert run_quietly([run], tmp_path / "s") == []
    files = [path for path in (tmp_path / "s").rglob("*") if path.is_file()]
    assert {"config.json", "result.json"} <= {path.name for path in files}
    assert not any("hf_secret" in path.read_text() for path in files)


@pytest.mark.xdist_group("processes")
def test_finished_run_that_lacks_its_model_is_refused(tmp_path, fake_worker):
    root = tmp_path / "s"
    plain = make_grid(BASE, {"seed": [1, 2]})
    runs = make_grid({**BASE, "keep_model": True}, {"seed": [1, 2, 3]})
    folders = [folder_of(root, run.key) for run in runs]
    assert run_quietly(plain, root) == []
    (folders[1] / "model").mkdir()
    for call in (lambda: list_runs(runs, root, ["seed"]), lambda: run_all(runs, root)):
        with pytest.raises(HfBatError, match=f"1 of 3 runs .*{folders[0]} ") as error:
            call()
        assert "\n" not in str(error.value)
    assert [count_starts(root, run) for run in runs] == [1, 1, 0], "refused before anything is run"
    (folders[1] / "model").rmdir()
    with pytest.raises(HfBatError, match=f"2 of 3 runs .*{folders[0]} {folders[1]} "):
        run_all(runs, root)
    # Without the flag, they are finished. After their folders are removed, they run again.
    assert run_quietly(plain, root) == []
    for folder in folders[:2]:
        shutil.rmtree(folder)
    assert run_quietly(runs, root) == []
    assert [count_starts(root, run) for run in runs] == [1, 1, 1]


@pytest.mark.xdist_group("processes")
def test_run_of_another_process_is_left_to_it(tmp_path, fake_worker):
    runs = make_grid(BASE, {"seed": [1, 2]})
    folder = folder_of(tmp_path, runs[0].key)
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        failures = run_quietly(runs, tmp_path)
    assert failures == [f"run {runs[0].key}: another process is making it"]
    assert [count_starts(tmp_path, run) for run in runs] == [0, 1]
    assert run_quietly(runs, tmp_path) == []


def test_windows_is_refused_before_anything_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.delattr(os, "killpg")
    command = ["sweep", "--base", "--model_name_or_path m --task_name snli --max_steps 1", "--grid"]
    command += ["seed=1,2", "--output_dir", str(tmp_path / "s")]
    assert cli.main([*command, "--dry-run"]) == 0
    assert cli.main(command) == 2
    error = capsys.readouterr().err.strip()
    assert "Windows" in error and "\n" not in error
    assert not (tmp_path / "s").exists()


def test_windows_can_summarize_finished_runs(tmp_path, monkeypatch):
    run = Run("0123456789abcdef", BASE)
    folder_of(tmp_path, run.key).mkdir(parents=True)
    result = {"key": run.key, "metrics": {}}
    (folder_of(tmp_path, run.key) / "result.json").write_text(json.dumps(result))
    monkeypatch.delattr(os, "killpg")
    assert run_quietly([run], tmp_path) == []


def wait_for_pid(root, key):
    """Return the process id of a started worker."""
    path = folder_of(root, key) / "pid"
    deadline = time.monotonic() + 240
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return int(path.read_text())


@pytest.mark.xdist_group("processes")
def test_interruption_ends_the_processes(tmp_path, fake_worker, monkeypatch):
    run = Run("0123456789abcdef", {**BASE, "seed": 15})
    pids = []

    def interrupt(seconds):
        pids.append(wait_for_pid(tmp_path, run.key))
        raise KeyboardInterrupt

    # Patching time.sleep itself would also affect subprocess.
    clock = SimpleNamespace(sleep=interrupt, monotonic=time.monotonic)
    monkeypatch.setattr(schedule, "time", clock)
    with pytest.raises(KeyboardInterrupt):
        run_quietly([run], tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


# Hashing arguments would import torch, which takes most of the test's time.
SIGNALED = """
import pathlib, signal, sys
from hf_bat.sweep import Run, run_all, schedule
schedule._WORKER, schedule.identify = "fake_worker", dict
# Whatever the tests themselves were started under.
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[2] == "nohup" else signal.SIG_DFL)
try:
    run_all([Run("0123456789abcdef", {"seed": int(sys.argv[3]), "use_cpu": True})], pathlib.Path(sys.argv[1]))
finally:
    print([signal.getsignal(number).name for number in (signal.SIGTERM, signal.SIGHUP)])
"""


@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize(
    ("sent", "how", "status"),
    [
        (["SIGTERM"], "", 143),
        (["SIGHUP"], "", 129),
        (["SIGHUP", "SIGTERM"], "nohup", 143),
    ],
)
def test_signal_ends_the_processes(tmp_path, fake_worker, sent, how, status):
    command = [sys.executable, "-c", SIGNALED, str(tmp_path), how, "15"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sweep:
        pid = wait_for_pid(tmp_path, "0123456789abcdef")
        for name in sent:
            sweep.send_signal(getattr(signal, name))
            time.sleep(0.5)
        output, _ = sweep.communicate(timeout=60)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    assert sweep.returncode == status
    assert output.strip() == f"['SIG_DFL', '{'SIG_IGN' if how == 'nohup' else 'SIG_DFL'}']"


@pytest.mark.xdist_group("processes")
def test_killing_the_sweep_ends_its_processes(tmp_path, fake_worker):
    """They would hold the locks of their runs, and the next start would skip these runs."""
    command = [sys.executable, "-c", SIGNALED, str(tmp_path), "", "16"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as sweep:
        pid = wait_for_pid(tmp_path, "0123456789abcdef")
        sweep.kill()
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if status == "Z":  # ended, but its status was not collected
            return
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_whose_launcher_gives_it_no_input_goes_on():
    code = (
        "import time; from hf_bat.sweep import schedule; schedule.end_with_parent(); time.sleep(1)"
    )
    environment = {**os.environ, "HF_BAT_SWEEP": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    )
    assert done.returncode == 0


@pytest.mark.xdist_group("processes")
def test_signals_are_left_alone_outside_the_main_thread(tmp_path, fake_worker):
    runs = make_grid(BASE, {"seed": [1]})
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run_quietly, runs, tmp_path).result() == []


@pytest.mark.parametrize(("visible", "first", "second"), [(None, "0", "1"), ("5,3", "5", "3")])
def test_run_has_one_gpu_for_any_number_of_jobs(monkeypatch, visible, first, second):
    plain, launched = Run("0", {}), Run("1", {}, ("accelerate", "launch"))
    on_cpu = Run("2", {"use_cpu": True})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)

    def get_device(run, slot=0, jobs=1):
        return schedule._make_environment(run, slot, jobs).get("CUDA_VISIBLE_DEVICES")

    assert get_device(plain) == first
    assert [get_device(plain, slot, jobs=3) for slot in range(3)] == [first, second, first]
    assert get_device(launched, jobs=2) == get_device(on_cpu, jobs=2) == visible
