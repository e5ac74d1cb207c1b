"""Helpers for tests of sweeps: arguments of runs, and a replacement for the worker."""

from hf_bat.sweep import folder_of

BASE = {"model_name_or_path": "some/model", "task_name": "snli", "attacks": ["antonym", "synonym"]}

# The worker counts its starts, and some seeds fail the first time.
WORKER = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1]).parent
config = json.loads((folder / "config.json").read_text())
starts = folder / "starts"
starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
seed, first = config["arguments"]["seed"], len(starts.read_text()) == 1
if seed == 13 and first:
    print("step 3 of 10", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if seed == 14:
    print("error: broken on purpose", file=sys.stderr)
    sys.exit(2)
if seed == 16:
    from hf_bat.sweep.schedule import end_with_parent
    end_with_parent()
if seed in (15, 16):
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(60)
rate = 0.3 + 0.01 * seed + 0.1 * config["arguments"].get("alpha", 0)
metrics = {"eval_accuracy": 0.8, "eval_synonym_asr": rate, "eval_antonym_asr_confident": 1 - rate,
           "threads": float(os.environ.get("OMP_NUM_THREADS", 0))}
result = {"key": config["key"], "arguments": config["arguments"], "metrics": metrics, "steps": 10,
          "train": {"train_runtime": 5.0, "resumed": False}, "seconds": 5.0}
(folder / "result.json").write_text(json.dumps(result))
"""


def count_starts(root, run):
    """Return how often the run's worker was started."""
    path = folder_of(root, run.key) / "starts"
    return len(path.read_text()) if path.exists() else 0
