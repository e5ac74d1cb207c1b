"""Runs side by side in processes of their own; what is finished is never run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from hf_bat.console import on_terminal
from hf_bat.errors import HfBatError
from hf_bat.sweep.arguments import without_secrets
from hf_bat.sweep.identity import identity
from hf_bat.sweep.plan import Run

MODEL = "model"  # the folder of a run's model, within the run's
_WORKER = "hf_bat.sweep.train_run"
_POLL = 0.2  # seconds between looks at the running processes
_NEWS = 60.0  # seconds between lines of progress where there is no terminal


def folder_of(root: Path, key: str) -> Path:
    """Where a run's configuration, log and result are.

    Args:
        root: the sweep's folder.
        key: the run's.

    Returns:
        The run's folder, there or not.

    Example:
        >>> folder_of(Path("sweeps"), "0123456789abcdef").as_posix()
        'sweeps/runs/0123456789abcdef'
    """
    return root / "runs" / key


def finished(root: Path, run: Run) -> dict[str, Any] | None:
    """The result of a run.

    Args:
        root: the sweep's folder.
        run: which run.

    Returns:
        What it wrote to `result.json`; None where it has not finished.

    Raises:
        HfBatError: its file is not what a run writes.

    Example:
        >>> finished(Path("sweeps"), Run("0123456789abcdef", {})) is None
        True
    """
    path = folder_of(root, run.key) / "result.json"
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if result["key"] != run.key:
            raise ValueError("it is of another run")
        if not isinstance(result.get("metrics"), dict):
            raise ValueError("it has no metrics")
        return result
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HfBatError(
            f"{path} is no result of a run ({error}); remove it to run again"
        ) from error


def check_models(runs: Sequence[Run], root: Path) -> None:
    """Refuse runs whose model is to be kept, and that finished without keeping it.

    They are not made again by themselves, as no finished run is: their figures may stand in tables.

    Args:
        runs: all of them.
        root: the sweep's folder.

    Raises:
        HfBatError: which they are, and what to do.

    Example:
        >>> check_models([Run("0123456789abcdef", {"keep_model": True})], Path("sweeps"))  # not made yet
    """
    bare = [
        folder_of(root, run.key)
        for run in runs
        if run.arguments.get("keep_model")
        and not (folder_of(root, run.key) / MODEL).is_dir()
        and finished(root, run) is not None
    ]
    if bare:
        are, them = ("is", "it") if len(bare) == 1 else ("are", "them")
        raise HfBatError(
            f"--keep_model: {len(bare)} of {len(runs)} runs {are} finished and kept no model: remove "
            f"{' '.join(map(str, bare))} to make {them} again, or leave the flag out"
        )


def list_runs(runs: Sequence[Run], root: Path, varied: Sequence[str]) -> str:
    """Describe a sweep without running it.

    Args:
        runs: All runs of the sweep.
        root: The sweep's folder.
        varied: Names of the arguments that tell the runs apart.

    Returns:
        A line for each run (key, whether it is finished, the varied arguments) and a last line that
        counts them, with the mean time of the finished ones.

    Raises:
        HfBatError: A finished run lacks the model that `keep_model` asks for.

    Example:
        >>> print(list_runs([Run("0123456789abcdef", {"seed": 1})], Path("sweeps"), ["seed"]))
        0123456789abcdef  to make   seed=1
        1 of 1 runs to make
    """
    check_models(runs, root)
    results = {run.key: finished(root, run) for run in runs}
    lines = [
        f"{run.key}  {'finished' if results[run.key] else 'to make '}  {run.label(varied)}"
        for run in runs
    ]
    seconds = [result["seconds"] for result in results.values() if result and "seconds" in result]
    count = sum(result is None for result in results.values())
    mean = f"; a finished run took {duration(fmean(seconds))} on average" if seconds else ""
    return "\n".join([*lines, f"{count} of {len(runs)} runs to make{mean}"])


@dataclass
class _Process:
    run: Run
    popen: subprocess.Popen[bytes]
    slot: int
    lock: int


def run_all(
    runs: Sequence[Run],
    root: Path,
    jobs: int = 1,
    announce: Callable[[str], None] | None = None,
) -> list[str]:
    """Make all runs that are not finished, `jobs` at a time.

    On the CPU each of several jobs has one thread; with several GPUs each job has one, in turn, also where
    there is one job: with all of them its batch, and so its result, would be another. A run
    that another process is making is left to it. An interruption, SIGTERM or SIGHUP ends the running
    ones, which go on from their last checkpoint the next time.

    Args:
        runs: what is to be finished.
        root: the sweep's folder.
        jobs: processes at a time.
        announce: called with a line on what happens; where None the lines go to stderr, and on a
            terminal the last one is written over.

    Returns:
        A line for each run that did not finish: which, why, and where its log is.

    Raises:
        HfBatError: the folder cannot be written, the system cannot lock runs (Windows), or a finished run
            has not kept the model that it is to keep (`keep_model`).
        SystemExit: SIGTERM or SIGHUP came.

    Example:
        >>> runs = make_grid(base, {"seed": [1, 2, 3]})  # doctest: +SKIP
        >>> run_all(runs, Path("sweeps/seeds"), jobs=2)  # doctest: +SKIP
        []
    """
    say = announce or (lambda line: print(line, file=sys.stderr, flush=True))
    check_models(runs, root)
    pending = deque(run for run in runs if finished(root, run) is None)
    if pending:
        _check_system()
    try:
        (root / "runs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HfBatError(f"cannot write to {root}: {error.strerror}") from error
    if len(pending) < len(runs):
        say(f"{len(runs) - len(pending)} of {len(runs)} runs are finished already")
    terminal = announce is None and on_terminal(sys.stderr)
    progress = _ProgressLine(root, list(pending), say, terminal)
    running: list[_Process] = []
    failures = []
    with _ending_signals() as signals:
        try:
            while (pending or running) and not signals:
                while pending and len(running) < jobs and not signals:
                    slot = next(i for i in range(jobs) if i not in {p.slot for p in running})
                    process = _start(pending.popleft(), root, slot, jobs, say)
                    if process is not None:
                        running.append(process)
                time.sleep(_POLL)
                for process in [p for p in running if p.popen.poll() is not None]:
                    running.remove(process)
                    os.close(process.lock)
                    failure = _failure(root, process)
                    if failure:
                        failures.append(failure)
                        say(failure)
                    progress.ended(process.run, len(running))
                progress.tick(len(running))
        finally:
            _stop(running)  # before anything is said, for the terminal may have gone
            progress.close()
    left = [run for run in runs if finished(root, run) is None]
    named = " ".join(failures)
    failures += [f"run {r.key}: another process is making it" for r in left if r.key not in named]
    return failures


@contextmanager
def _ending_signals() -> Iterator[list[int]]:
    """Note the signals that would end this process on the spot, its workers left running in sessions of
    their own; it ends by the first at the end of the block.

    A handler of the caller's own, and a signal that is ignored (`nohup`), stay as they are. Only the main
    thread may handle signals; elsewhere none is noted.
    """
    noted: list[int] = []
    ours: list[int] = []
    if threading.current_thread() is threading.main_thread():
        # There is no SIGHUP on Windows.
        ends = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        ours = [number for number in ends if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, lambda number, frame: noted.append(number))
    try:
        yield noted
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        if noted:
            raise SystemExit(128 + noted[0])


def _check_system() -> None:
    """Refuse a system without what keeps a run to one process and ends it with all its children."""
    try:
        import fcntl  # noqa: F401
    except ImportError as error:
        raise HfBatError(
            "runs of a sweep need file locks and process groups, which this system has not: use Linux or "
            "macOS (on Windows, WSL), or make each run by itself with examples/run_glue_bat.py"
        ) from error


def _start(
    run: Run, root: Path, slot: int, jobs: int, say: Callable[[str], None]
) -> _Process | None:
    """Start a run unless another process holds it or has just finished it."""
    import fcntl

    folder = folder_of(root, run.key)
    folder.mkdir(exist_ok=True)
    # The worker inherits the lock: it lasts as long as anything works on the run.
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        say(f"run {run.key}: another process is making it; left to that one")
        return None
    if finished(root, run) is not None:
        os.close(lock)
        return None
    arguments = without_secrets(run.arguments)
    config = {"key": run.key, "identity": identity(arguments), "arguments": arguments}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    (folder / "progress.json").unlink(missing_ok=True)
    launcher = [*run.launcher] or [sys.executable]
    if launcher[:2] == ["accelerate", "launch"]:  # this environment's, on the PATH or not
        launcher[:2] = [sys.executable, "-m", "accelerate.commands.launch"]
    command = [*launcher, "-m", _WORKER, str(folder / "config.json")]
    with open(folder / "log.txt", "ab") as log:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
        try:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(run, slot, jobs),
                pass_fds=(lock,),
                start_new_session=True,  # an interruption reaches the workers through us alone
            )
        except OSError as error:
            os.close(lock)
            raise HfBatError(f"cannot start {command[0]}: {error.strerror}") from error
    return _Process(run, popen, slot, lock)


def _environment(run: Run, slot: int, jobs: int) -> dict[str, str]:
    # The libraries' bars are for terminals, and this goes to a file.
    hidden = {f"{name}_DISABLE_PROGRESS_BARS": "1" for name in ("HF_HUB", "HF_DATASETS")}
    environment = hidden | os.environ
    environment |= {"TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
    if run.launcher:
        return environment
    if jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", "1")
    if not run.arguments.get("use_cpu"):
        import torch

        if torch.cuda.is_available():
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            devices = visible.split(",") if visible else range(torch.cuda.device_count())
            environment["CUDA_VISIBLE_DEVICES"] = str(devices[slot % len(devices)])
    return environment


def _failure(root: Path, process: _Process) -> str | None:
    """Why a run that ended has no result."""
    status = process.popen.returncode
    if status == 0 and finished(root, process.run) is not None:
        return None
    log = folder_of(root, process.run.key) / "log.txt"
    if status < 0:  # its last line is but what it was at
        reason = f"ended by {_signal_name(-status)}"
        if -status == signal.SIGKILL:
            reason += ", as the system does where memory runs out"
    else:
        lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines()]
        said = [line for line in lines if line and not line.startswith("$ ")]
        reason = said[-1] if said else f"exit status {status}"
    return f"run {process.run.key} failed: {reason} (log: {log})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # the real-time ones have no names
        return f"signal {number}"


def _stop(running: Sequence[_Process]) -> None:
    """End the workers, launchers' children included."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        for process in running:
            if process.popen.poll() is None:
                os.killpg(process.popen.pid, sent)
        for process in running:
            try:
                process.popen.wait(timeout=10)
            except subprocess.TimeoutExpired:
                continue
    for process in running:
        os.close(process.lock)


class _ProgressLine:
    """How many runs are done, at what rate, and how long the rest will take at that rate."""

    def __init__(
        self,
        root: Path,
        runs: Sequence[Run],
        say: Callable[[str], None],
        terminal: bool,
    ):
        self.root, self.say = root, say
        self.runs = {run.key: run for run in runs}
        self.over: set[str] = set()
        self.start = time.monotonic()
        self.told = self.start
        self.terminal = terminal

    def ended(self, run: Run, running: int) -> None:
        self.over.add(run.key)
        if not self.terminal:
            self.say(self.line(running))

    def tick(self, running: int) -> None:
        now = time.monotonic()
        if running and now - self.told > (1.0 if self.terminal else _NEWS):
            self.told = now
            if self.terminal:
                print(f"\r\x1b[2K{self.line(running)}", end="", file=sys.stderr, flush=True)
            else:
                self.say(self.line(running))

    def close(self) -> None:
        if self.terminal and self.runs:
            print(file=sys.stderr)

    def line(self, running: int) -> str:
        """Such as `3/12 runs, 2 running, 31 % of the work, 0.4 runs/min, about 22 min left`."""
        done = sum(map(self._share, self.runs)) / len(self.runs)
        elapsed = time.monotonic() - self.start
        parts = [f"{len(self.over)}/{len(self.runs)} runs", f"{running} running"]
        parts.append(f"{100 * done:.0f} % of the work")
        if 0 < done < 1:
            rate = done * len(self.runs) / elapsed * 3600
            parts += [f"{rate:.1f} runs/h", f"about {duration(elapsed * (1 - done) / done)} left"]
        elif done:
            parts.append(f"{duration(elapsed)} in all")
        return ", ".join(parts)

    def _share(self, key: str) -> float:
        if key in self.over:
            return 1.0
        try:
            path = folder_of(self.root, key) / "progress.json"
            noted = json.loads(path.read_text(encoding="utf-8"))
            return float(min(1.0, noted["step"] / noted["steps"]))
        except (OSError, ValueError, KeyError, ZeroDivisionError):
            return 0.0


def duration(seconds: float) -> str:
    """A time in words.

    Example:
        >>> duration(42), duration(400), duration(9000), duration(400_000)
        ('42 s', '7 min', '2.5 h', '4.6 days')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
