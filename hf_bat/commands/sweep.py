"""`hf-bat sweep`: execute a resumable grid of training runs, and plot their frontier."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hf_bat.commands import options
from hf_bat.errors import HfBatError

if TYPE_CHECKING:
    from hf_bat.sweep import Run

HELP = """\
train and evaluate every combination of a grid of arguments, each in its own process. The name of a run
is a hash of its arguments and of the content of its files. A finished run is never repeated, and an
interrupted one resumes from its last checkpoint. At the end: a table (JSON and Markdown) with 95 %
t-intervals over seeds, and the frontier of synonym against antonym attack success rates."""
EPILOG = """\
examples:
  hf-bat sweep --base "--model_name_or_path bert-base-uncased --task snli --method pairwise
      --attacks antonym synonym" \\
    --grid alpha=0.5,1,2 --grid beta=1,1.2 --grid seed=1,2,3 --output_dir sweeps/weights --jobs 2
  hf-bat sweep --base "--model_name_or_path MODEL --task snli --train_file T --validation_file V
      --attacks antonym synonym" \\
    --grid method=normal,safer,triplet --grid lambda=0.5,1 --output_dir sweeps/methods --dry_run

Runs accept the flags of BalancedTrainingArguments, and the flags of examples/run_glue_bat.py for the
model, the task, the training and validation rows and the tables. If the grid varies the method,
weights that a method does not have are left out. To use several GPUs per run:
  --launcher "accelerate launch --multi_gpu --num_processes 4"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--base", required=True, metavar="FLAGS", help="flags of all runs, quoted")
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="NAME=V,V,...",
        help="an argument and its values; repeat the option for more arguments",
    )
    parser.add_argument(
        "--output_dir", "--output-dir", required=True, help="folder of the sweep; runs are in runs/"
    )
    parser.add_argument(
        "--jobs", type=options.parse_count, default=1, help="parallel runs (default: 1)"
    )
    parser.add_argument(
        "--launcher",
        default="",
        metavar="WORDS",
        help="command that launches a run (default: python)",
    )
    parser.add_argument(
        "--dry_run", "--dry-run", action="store_true", help="list the runs without starting them"
    )
    parser.add_argument(
        "--obstinate",
        metavar="METRIC",
        help="obstinate rate of the frontier (default: eval_antonym_asr_confident)",
    )


def run(args: argparse.Namespace) -> int:
    """Execute the runs, write and print the table, and return 0."""
    from hf_bat.sweep import finished, make_grid, markdown, parse_flags, read_grid, run_all
    from hf_bat.sweep.grid import split_words
    from hf_bat.sweep.schedule import list_runs
    from hf_bat.sweep.summary import FICKLE, OBSTINATE, group_runs, write_summary

    base, grid = parse_flags(args.base), read_grid(args.grid)
    for name in grid:
        if name in base:
            raise HfBatError(f"--base and --grid both set {name}")
    runs = make_grid(base, grid, split_words(args.launcher, "--launcher"))
    # Checked before hours of training, because the metric is read at the end.
    if args.obstinate is not None:
        _check_metric(args.obstinate, runs)
    root, varied = Path(args.output_dir), list(grid)
    if args.dry_run:
        print(list_runs(runs, root, varied))
        return 0
    failures = run_all(runs, root, args.jobs)
    results = {r.key: result for r in runs if (result := finished(root, r))}
    # Written even if some runs failed, so the others are not lost.
    if results:
        obstinate = args.obstinate or OBSTINATE
        written = write_summary(root, runs, results, varied, obstinate)
        print(markdown(group_runs(runs, results, varied)), end="")
        if not any(path.stem == "frontier" for path in written):
            print(f"no frontier: no run has both {obstinate} and {FICKLE}", file=sys.stderr)
        options.print_written(*written)
    if failures:
        raise HfBatError(f"{len(failures)} of {len(runs)} runs did not finish; {failures[0]}")
    return 0


def hint_resume(args: argparse.Namespace) -> str:
    """Return a hint on how to continue after an interruption."""
    return "the same command keeps the finished runs and resumes the others from their last checkpoints"


def _check_metric(metric: str, runs: list[Run]) -> None:
    """Check before the runs start that one of their obstinate attacks reports a metric."""
    from hf_bat.attack import get_recipe
    from hf_bat.attack.figures import list_figures

    has_filter = any(run.arguments.get("attack_label_filter") for run in runs)
    figures = [f.name for f in list_figures("evaluation") if has_filter or f.edits == "all"]
    names = dict.fromkeys(n for run in runs for n in run.arguments.get("attacks") or ())
    recipes = [recipe for recipe in map(get_recipe, names) if recipe.goal.kind == "obstinate"]
    known = [f"eval_{recipe.key}_{figure}" for recipe in recipes for figure in figures]
    if metric.removesuffix("_mm") not in known:
        expected = ", ".join(known) or "none, because --attacks names no obstinate attack"
        raise HfBatError(f"--obstinate {metric}: no run will report it; known: {expected}")
