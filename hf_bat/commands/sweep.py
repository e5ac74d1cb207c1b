"""`hf-bat sweep`: a grid of trainings, resumable and side by side, and the frontier that they draw."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hf_bat.errors import HfBatError
from hf_bat.files import identify_file

if TYPE_CHECKING:
    from hf_bat.sweep import Run

HELP = """\
train and evaluate every combination of a grid of arguments, each in a process of its own. A run is
named by a hash of its arguments and of the content of its files, and a finished one is never run again;
one that was interrupted goes on from its last checkpoint. At the end: a table (JSON and Markdown) with
95 % t-intervals over seeds, and the frontier of synonym against antonym attack success rates."""
EPILOG = """\
examples:
  hf-bat sweep --base "--model_name_or_path bert-base-uncased --task snli --method pairwise
      --attacks antonym synonym" \\
    --grid alpha=0.5,1,2 --grid beta=1,1.2 --grid seed=1,2,3 --output_dir sweeps/weights --jobs 2
  hf-bat sweep --base "--model_name_or_path MODEL --task snli --train_file T --validation_file V
      --attacks antonym synonym" \\
    --grid method=normal,safer,triplet --grid lambda=0.5,1 --output_dir sweeps/methods --dry_run

The runs' flags are those of BalancedTrainingArguments, and of examples/run_glue_bat.py those that name
the model, the task, the training and validation rows and the tables. Where the grid varies the method,
a weight that a method does not have is left out for it. To give every run several GPUs:
  --launcher "accelerate launch --multi_gpu --num_processes 4"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--base", required=True, metavar="FLAGS", help="flags of every run, quoted")
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="NAME=V,V,...",
        help="an argument and its values; give it again for another argument",
    )
    parser.add_argument(
        "--output_dir", "--output-dir", required=True, help="the sweep's folder; runs/ in it"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    parser.add_argument(
        "--launcher", default="", metavar="WORDS", help="what launches a run (default: python)"
    )
    parser.add_argument(
        "--dry_run", "--dry-run", action="store_true", help="list the runs and make none"
    )
    parser.add_argument(
        "--obstinate",
        metavar="METRIC",
        help="the frontier's obstinate rate (default: eval_antonym_asr_confident)",
    )


def run(args: argparse.Namespace) -> int:
    """Make the runs, write and print the table; return 0."""
    from hf_bat.sweep import finished, make_grid, markdown, parse_flags, read_grid, run_all
    from hf_bat.sweep.flags import split_words
    from hf_bat.sweep.schedule import list_runs
    from hf_bat.sweep.summary import FICKLE, OBSTINATE, group_runs, write_summary

    if args.jobs < 1:
        raise HfBatError(f"--jobs must be at least 1, not {args.jobs}")
    base, grid = parse_flags(args.base), read_grid(args.grid)
    twice = [name for name in grid if name in base]
    if twice:
        raise HfBatError(f"--base and --grid both name {twice[0]}")
    runs = make_grid(base, grid, split_words(args.launcher, "--launcher"))
    if args.obstinate is not None:
        check_obstinate(args.obstinate, runs)
    root, varied = Path(args.output_dir), list(grid)
    refuse_to_overwrite(root, runs)
    if args.dry_run:
        print(list_runs(runs, root, varied))
        return 0
    failures = run_all(runs, root, args.jobs)
    results = {r.key: result for r in runs if (result := finished(root, r))}
    if results:
        obstinate = args.obstinate or OBSTINATE
        written = write_summary(root, runs, results, varied, obstinate)
        print(markdown(group_runs(runs, results, varied)), end="")
        if not any(path.stem == "frontier" for path in written):
            print(f"no frontier: no run has both {obstinate} and {FICKLE}", file=sys.stderr)
        print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
    if failures:
        raise HfBatError(f"{len(failures)} of {len(runs)} runs did not finish; {failures[0]}")
    return 0


def check_obstinate(metric: str, runs: list[Run]) -> None:
    """Refuse a metric that no obstinate attack of the runs gives, before anything is run.

    Raises:
        HfBatError: one line that names the metrics that they do give.
    """
    from hf_bat.attack import get_recipe
    from hf_bat.attack.figures import list_figures

    has_filter = any(run.arguments.get("attack_label_filter") for run in runs)
    figures = [f.name for f in list_figures("evaluation") if has_filter or f.edits == "all"]
    names = dict.fromkeys(n for run in runs for n in run.arguments.get("attacks") or ())
    recipes = [recipe for recipe in map(get_recipe, names) if recipe.goal.kind == "obstinate"]
    known = [f"eval_{recipe.key}_{figure}" for recipe in recipes for figure in figures]
    if metric.removesuffix("_mm") not in known:
        given = ", ".join(known) or "none, for --attacks names no obstinate attack"
        raise HfBatError(f"--obstinate {metric}: no run will have it; known: {given}")


def refuse_to_overwrite(root: Path, runs: list[Run]) -> None:
    """Refuse a sweep's folder whose summary would replace a file that the runs read.

    Raises:
        HfBatError: one line that names the file.
    """
    written = ("sweep.json", "sweep.md", "frontier.png", "frontier.svg")
    kept = {identify_file(root / name) for name in written}
    for run in runs:
        for name, value in run.arguments.items():
            if isinstance(value, str) and value and identify_file(value) in kept:
                raise HfBatError(
                    f"the sweep would overwrite {value}, its --{name}; name another --output_dir"
                )
