"""What the tests of sweeps share: a base, and a stand-in for the process that makes a run."""

from hf_bat.sweep import (
    folder_of,
)

BASE = {"model_name_or_path": "some/model", "task_name": "snli", "attacks": ["antonym", "synonym"]}


# Stands in for a training: counts its starts, and does what its seed says the first time.
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
    print("train_run: error: no such thing", file=sys.stderr)
    sys.exit(2)
if seed == 15:
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(60)
rate = 0.3 + 0.01 * seed + 0.1 * config["arguments"].get("alpha", 0)
metrics = {"eval_accuracy": 0.8, "eval_synonym_asr": rate, "eval_antonym_asr_confident": 1 - rate,
           "threads": float(os.environ.get("OMP_NUM_THREADS", 0))}
result = {"key": config["key"], "arguments": config["arguments"], "metrics": metrics, "steps": 10,
          "train": {"train_runtime": 5.0, "resumed": False}, "seconds": 5.0}
(folder / "result.json").write_text(json.dumps(result))
"""


def starts(root, run):
    path = folder_of(root, run.key) / "starts"
    return len(path.read_text()) if path.exists() else 0
