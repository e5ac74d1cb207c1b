"""Measure the attack engine: time relative to a bare forward pass, time per row, and several ranks.

    python benchmarks/bench_attack.py --model DIR --task snli --data dev.jsonl.gz --rows 200 1000 5000
    python benchmarks/bench_attack.py ... --ranks 2

Without --model, the demo's encoder gets a random head. Its outcomes are meaningless, but its speed is
not. Seconds are processor time of the working thread. With --ranks or on a GPU, they are wall-clock
time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import add_data_arguments, describe_machine, find_model, load_tokenizer, read_clock

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run the measurements given by the flags, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_arguments(parser)
    parser.add_argument("--attacks", nargs="+", default=["antonym", "negation"])
    parser.add_argument("--rows", nargs="+", type=int, default=[100])
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument(
        "--ranks", type=int, default=0, help="compare this many ranks with one instead"
    )
    parser.add_argument("--json", help="write the results here")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    import torch

    torch.set_num_threads(1)
    if args.worker:
        return run_worker(args)
    results = measure_ranks(args) if args.ranks else measure_process(args)
    print(f"{describe_machine(args.device)}, torch {torch.__version__}, {args.dtype}")
    print("| " + " | ".join(results[0]) + " |\n|" + "---|" * len(results[0]))
    for line in results:
        cells = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in line.values()]
        print("| " + " | ".join(cells) + " |")
    if args.json:
        Path(args.json).write_text(
            json.dumps({"machine": describe_machine(args.device), "lines": results}, indent=1)
        )


def load_rows(args: argparse.Namespace, count: int) -> list[dict[str, Any]]:
    """Return the first rows of the file."""
    from hf_bat.tasks import get_task, load_split

    columns = (*get_task(args.task).columns, "label")
    data = [{c: row[c] for c in columns} for row in load_split(args.data)]
    if count > len(data):
        raise SystemExit(f"{args.data} has {len(data)} rows, not {count}")
    return data[:count]


def load(args: argparse.Namespace) -> tuple[Any, Any]:
    """Load the classifier, with a random head if it has none, and its tokenizer."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from hf_bat.tasks import get_task

    torch.manual_seed(0)
    labels = len(get_task(args.task).label_names)
    folder = find_model(args)
    return (
        AutoModelForSequenceClassification.from_pretrained(folder, num_labels=labels),
        load_tokenizer(args),
    )


def measure_process(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure each attack at each number of rows, and a bare forward pass over the same queries."""
    from attack_vs_textattack import make_recorder

    from hf_bat.attack import Attack

    model = make_recorder(*load(args), dtype=args.dtype, max_length=128, device=args.device)
    lines = []
    for name in args.attacks:
        for count in args.rows:
            rows = load_rows(args, count)
            attack = Attack(name, model, task=args.task, max_length=128, progress=False)
            attack.run(rows[:50])
            spent, bare, report = [], [], None
            for _ in range(args.repeats):
                model.keys_seen.clear()
                begun = read_clock(args.device)
                report = attack.run(rows)
                spent.append(read_clock(args.device) - begun)
                bare.append(model.time_bare_forward())
            assert report is not None
            seconds = statistics.median(spent)
            lines.append(
                {
                    "attack": name,
                    "rows": count,
                    "rows a second": count / seconds,
                    "queries": report[name]["queries"],
                    "ms a row": 1000 * seconds / count,
                    "us a query": 1e6 * seconds / report[name]["queries"],
                    "over bare forward": statistics.median(
                        a / b for a, b in zip(spent, bare, strict=True)
                    ),
                }
            )
    return lines


def measure_ranks(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Compare several processes with one in wall-clock time, without their start-up."""
    lines = []
    for name in args.attacks:
        for world in (1, args.ranks):
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder, "seconds")
                command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
                command += [f"--nproc_per_node={world}", __file__, "--worker", str(out), "--data"]
                command += [args.data, "--task", args.task, "--model", find_model(args)]
                command += ["--attacks", name, "--rows", str(args.rows[0])]
                subprocess.run(command, check=True, capture_output=True)
                lines.append({"attack": name, "ranks": world, **json.loads(out.read_text())})
    return lines


def run_worker(args: argparse.Namespace) -> None:
    """Attack the rows on one of several ranks. The first one writes the results."""
    from accelerate import PartialState

    from hf_bat.attack import Attack, TransformersModel

    state = PartialState(cpu=True)
    model = TransformersModel(*load(args), max_length=128, device="cpu")
    rows = load_rows(args, args.rows[0])
    attack = Attack(args.attacks[0], model, task=args.task, max_length=128, progress=False)
    attack.run(rows[:50])
    state.wait_for_everyone()
    begun = time.perf_counter()
    report = attack.run(rows)
    seconds = time.perf_counter() - begun
    if state.is_main_process:
        summary = report[args.attacks[0]]
        answer = {
            "seconds": seconds,
            "succeeded": summary["succeeded"],
            "queries": summary["queries"],
        }
        Path(args.worker).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
