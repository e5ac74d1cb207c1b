"""Execute the runs of a sweep in parallel, each in its own process. Finished runs are skipped."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from filelock import FileLock, Timeout
from tqdm import tqdm

from hf_bat.console import interrupt, on_terminal
from hf_bat.errors import HfBatError
from hf_bat.files import make_folder, read_json_object, write_json
from hf_bat.sweep.grid import Run
from hf_bat.sweep.key import drop_secrets, identify

MODEL = "model"  # folder of the trained model in the run's folder
LOCK = "lock"  # file locked by the run's worker
# Environment variable of workers with a standard input that is open while the sweep is alive.
_PARENT = "HF_BAT_SWEEP"
_WORKER = "hf_bat.sweep.worker"
_POLL_SECONDS = 0.2
_NEWS_SECONDS = 60.0  # between progress lines that are not on a terminal
Say = Callable[[str], None]


def folder_of(root: Path, key: str) -> Path:
    """Return the folder with the run's configuration, log and result.

    Args:
        root: Folder of the sweep.
        key: Key of the run.

    Example:
        >>> folder_of(Path("sweeps"), "0123456789abcdef").as_posix()
        'sweeps/runs/0123456789abcdef'
    """
    return root / "runs" / key


def finished(root: Path, run: Run) -> dict[str, Any] | None:
    """Return the content of the run's `result.json`, or `None` if the run has not finished.

    Args:
        root: Folder of the sweep.
        run: The run.

    Raises:
        HfBatError: If the file is damaged, or belongs to another run.

    Example:
        >>> finished(Path("sweeps"), Run("0123456789abcdef", {})) is None
        True
    """
    path = folder_of(root, run.key) / "result.json"
    try:
        result = read_json_object(path)
        if result.get("key") != run.key:
            raise ValueError("it is of another run")
        if not isinstance(result.get("metrics"), dict):
            raise ValueError("it has no metrics")
        return result
    except ValueError as error:
        if not path.exists():
            return None
        raise HfBatError(
            f"{path} is not a result of a run ({error}); remove it to make the run again"
        ) from error


def _check_models(runs: Sequence[Run], root: Path) -> None:
    """Check that finished runs have kept their models, if `keep_model` is set."""
    # They are not repeated without the user's consent, because tables may contain their results.
    folders = [
        folder_of(root, run.key)
        for run in runs
        if run.arguments.get("keep_model")
        and not (folder_of(root, run.key) / MODEL).is_dir()
        and finished(root, run) is not None
    ]
    if folders:
        raise HfBatError(
            f"--keep_model: {len(folders)} of {len(runs)} runs finished without keeping the model: "
            f"remove {' '.join(map(str, folders))} to make them again, or omit the flag"
        )


def list_runs(runs: Sequence[Run], root: Path, varied: Sequence[str]) -> str:
    """List each run on one line (key, whether it is finished, the varied arguments), and the number of runs.

    Example:
        >>> print(list_runs([Run("0123456789abcdef", {"seed": 1})], Path("sweeps"), ["seed"]))
        0123456789abcdef  to make   seed=1
        1 of 1 runs to make
    """
    _check_models(runs, root)
    results = {run.key: finished(root, run) for run in runs}
    lines = [
        f"{run.key}  {'finished' if results[run.key] else 'to make '}  {run.label(varied)}"
        for run in runs
    ]
    count = sum(result is None for result in results.values())
    lines.append(f"{count} of {len(runs)} runs to make")
    seconds = [result["seconds"] for result in results.values() if result and "seconds" in result]
    if seconds:
        lines[-1] += f"; a finished run took {tqdm.format_interval(fmean(seconds))} on average"
    return "\n".join(lines)


@dataclass
class _Process:
    run: Run
    popen: subprocess.Popen[
        bytes
    ]  # whose `stdin` closes when this process ends, which ends the worker
    slot: int


def run_all(
    runs: Sequence[Run], root: Path, jobs: int = 1, announce: Say | None = None
) -> list[str]:
    """Execute all unfinished runs, with `jobs` in parallel.

    With several jobs on the CPU, each has one thread. Each job has one GPU. Runs that another process is
    executing are skipped. An interruption, SIGTERM or SIGHUP ends the running processes. The next call
    resumes them from their last checkpoints.

    Args:
        runs: The runs.
        root: Folder of the sweep.
        jobs: Number of parallel processes.
        announce: Function called with each progress line. If `None`, lines are printed to stderr.

    Returns:
        A line for each run that did not finish, with its key, the reason and the path of its log.

    Raises:
        HfBatError: If the folder cannot be written, the system is Windows, or a finished run has not
            kept its model (`keep_model`).
        SystemExit: If SIGTERM or SIGHUP is received.

    Example:
        >>> runs = make_grid(base, {"seed": [1, 2, 3]})  # doctest: +SKIP
        >>> run_all(runs, Path("sweeps/seeds"), jobs=2)  # doctest: +SKIP
        []
    """
    say = announce or (lambda line: print(line, file=sys.stderr, flush=True))
    _check_models(runs, root)
    pending = deque(run for run in runs if finished(root, run) is None)
    if pending and not hasattr(os, "killpg"):
        raise HfBatError(
            "runs of a sweep need process groups, which Windows lacks: use Linux, macOS or WSL, or start "
            "each run with examples/run_glue_bat.py"
        )
    make_folder(root / "runs")
    if len(pending) < len(runs):
        say(f"{len(runs) - len(pending)} of {len(runs)} runs are finished already")
    progress = _ProgressLine(root, list(pending), say, announce is None and on_terminal(sys.stderr))
    running: list[_Process] = []
    failures: dict[str, str] = {}
    with _defer_signals() as signals:
        try:
            while (pending or running) and not signals:
                while pending and len(running) < jobs and not signals:
                    slot = next(i for i in range(jobs) if i not in {p.slot for p in running})
                    process = _start(pending.popleft(), root, slot, jobs, say)
                    if process is not None:
                        running.append(process)
                time.sleep(_POLL_SECONDS)
                for process in [p for p in running if p.popen.poll() is not None]:
                    running.remove(process)
                    _close_input(process)
                    failure = _describe_failure(root, process)
                    if failure:
                        failures[process.run.key] = failure
                        say(failure)
                    progress.done.add(process.run.key)
                    progress.print(len(running), has_news=True)
                if running:
                    progress.print(len(running))
        finally:
            _stop(running)  # before any output, because the terminal may be closed
            progress.close()
    for run in runs:
        if finished(root, run) is None:
            failures.setdefault(run.key, f"run {run.key}: another process is making it")
    return list(failures.values())


@contextmanager
def _defer_signals() -> Iterator[list[int]]:
    """Collect the signals that would end this process immediately, and exit at the end of the block.

    Otherwise, its workers would continue, because they have their own sessions.
    """
    received: list[int] = []
    deferred: dict[int, Any] = {}
    # In Python, only the main thread can handle signals.
    if threading.current_thread() is threading.main_thread():
        # Windows has no SIGHUP.
        numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        handlers = {number: signal.getsignal(number) for number in numbers}
        # Handlers of the caller and ignored signals (`nohup`) are kept.
        deferred = {n: old for n, old in handlers.items() if old in (signal.SIG_DFL, interrupt)}
    for number in deferred:
        signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield received
    finally:
        for number, handler in deferred.items():
            signal.signal(number, handler)
        if received:
            raise SystemExit(128 + received[0])


def _is_locked(folder: Path) -> bool:
    """Return whether a worker of this run is alive."""
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True


def _start(run: Run, root: Path, slot: int, jobs: int, say: Say) -> _Process | None:
    """Start the run unless another process is executing it or has just finished it."""
    folder = folder_of(root, run.key)
    folder.mkdir(exist_ok=True)
    if _is_locked(folder):
        say(f"run {run.key}: another process is making it")
        return None
    if finished(root, run) is not None:
        return None
    arguments = drop_secrets(run.arguments)
    identity = run.identity or identify(arguments)
    config = {"key": run.key, "identity": identity, "arguments": arguments}
    write_json(folder / "config.json", config)
    (folder / "progress.json").unlink(missing_ok=True)
    launcher = list(run.launcher) or [sys.executable]
    if launcher[:2] == ["accelerate", "launch"]:
        # Use the launcher of this environment, which may not be on the PATH.
        launcher[:2] = [sys.executable, "-m", "accelerate.commands.launch"]
    command = [*launcher, "-m", _WORKER, str(folder / "config.json")]
    with open(folder / "log.txt", "ab", buffering=0) as log:  # the process also writes to it
        log.write(f"$ {' '.join(command)}\n".encode())
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_make_environment(run, slot, jobs),
                # Ctrl-C must only reach the workers through this process.
                start_new_session=True,
            )
        except OSError as error:
            raise HfBatError(f"cannot start {command[0]}: {error.strerror}") from error
    return _Process(run, popen, slot)


def _make_environment(run: Run, slot: int, jobs: int) -> dict[str, str]:
    """Build the run's environment, with its threads and GPU and without progress bars in its log."""
    hidden = {f"{name}_DISABLE_PROGRESS_BARS": "1" for name in ("HF_HUB", "HF_DATASETS")}
    environment = hidden | os.environ
    environment |= {"TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1", _PARENT: "1"}
    if run.launcher:
        return environment
    if jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", "1")
    if not run.arguments.get("use_cpu"):
        import torch

        # A single job also uses one GPU. With several, the batch size and the result would change.
        if torch.cuda.is_available():
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            devices = visible.split(",") if visible else range(torch.cuda.device_count())
            environment["CUDA_VISIBLE_DEVICES"] = str(devices[slot % len(devices)])
    return environment


def _describe_failure(root: Path, process: _Process) -> str | None:
    """Return why a process has no result, or `None` if it has one or another process executes the run."""
    status, folder = process.popen.returncode, folder_of(root, process.run.key)
    if finished(root, process.run) is not None or _is_locked(folder):
        return None
    log = folder / "log.txt"
    if status < 0:  # the last line of the log is unrelated
        # Real-time signals have no names.
        names = {number.value: number.name for number in signal.Signals}
        reason = f"ended by {names.get(-status, f'signal {-status}')}"
        if -status == signal.SIGKILL:
            reason += ", perhaps because memory ran out"
    else:
        lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines()]
        output = [line for line in lines if line and not line.startswith("$ ")]
        reason = output[-1] if output else f"exit status {status}"
    return f"run {process.run.key} failed: {reason} (log: {log})"


def _stop(running: Sequence[_Process]) -> None:
    """End the processes and all their children, because launchers have children."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in running:
            if process.popen.poll() is None:
                os.killpg(process.popen.pid, number)
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.popen.wait(timeout=10)
    for process in running:
        _close_input(process)


def _close_input(process: _Process) -> None:
    assert process.popen.stdin is not None
    process.popen.stdin.close()


def end_with_parent() -> None:
    """End this process and its data workers when the sweep that started it ends, even by SIGKILL.

    The sweep holds the other end of the standard input and writes nothing to it.
    """

    def wait() -> None:
        os.read(0, 1)  # returns at the end of the pipe
        # The last checkpoint is complete, and a run that waits for others does not react to
        # SIGTERM.
        os.killpg(0, signal.SIGKILL)

    # Launchers such as mpirun give some ranks a different input, which is empty from the start.
    if os.environ.get(_PARENT) and stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=wait, daemon=True).start()


class _ProgressLine:
    """Prints the number of finished runs and the estimated remaining time."""

    def __init__(self, root: Path, runs: Sequence[Run], say: Say, is_terminal: bool):
        self.root, self.say, self.is_terminal = root, say, is_terminal
        self.keys = [run.key for run in runs]
        self.done: set[str] = set()
        self.start = self.printed = time.monotonic()

    def print(self, running: int, has_news: bool = False) -> None:
        """Print the line if there is news or the last line is old."""
        now = time.monotonic()
        if self.is_terminal and now - self.printed > 1.0:
            print(f"\r\x1b[2K{self.format(running)}", end="", file=sys.stderr, flush=True)
        elif not self.is_terminal and (has_news or now - self.printed > _NEWS_SECONDS):
            self.say(self.format(running))
        else:
            return
        self.printed = now

    def close(self) -> None:
        if self.is_terminal and self.keys:
            print(file=sys.stderr)

    def format(self, running: int) -> str:
        """Return a progress line such as `3/12 runs, 2 running, 31 % done, about 22:10 left`."""
        share = sum(map(self._read_share, self.keys)) / len(self.keys)
        left = ""
        if 0 < share < 1:
            seconds = (time.monotonic() - self.start) * (1 - share) / share
            left = f", about {tqdm.format_interval(seconds)} left"
        done = (
            f"{len(self.done)}/{len(self.keys)} runs, {running} running, {100 * share:.0f} % done"
        )
        return done + left

    def _read_share(self, key: str) -> float:
        """Return the completed share of the run, from 0 to 1."""
        if key in self.done:
            return 1.0
        try:
            progress = read_json_object(folder_of(self.root, key) / "progress.json")
            return float(min(1.0, progress["step"] / progress["steps"]))
        except (ValueError, KeyError, TypeError, ZeroDivisionError):
            return 0.0
