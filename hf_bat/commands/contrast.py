"""`hf-bat contrast`: score a model on a contrast set."""

from __future__ import annotations

import argparse
import json

from hf_bat.commands import options
from hf_bat.files import write_atomically, write_json

HELP = """\
score a model on rows that people edited (`original_idx` is the `idx` of an edit's original): accuracy on
originals and edits, consistency, fickle errors (label kept, prediction changed) and obstinate errors
(label changed, prediction kept). The task defaults to snli."""
EPILOG = """\
example:
  hf-bat contrast --model out/triplet --task snli --data contrast.jsonl.gz --json contrast.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    options.add_shared(parser, *options.MODEL, *options.TASK, "--data", *options.EXECUTION)
    options.add_shared(parser, "--canonicalize", "--json")
    parser.add_argument(
        "--rows", metavar="FILE", help="write a JSON line per scored row to this file"
    )


def run(args: argparse.Namespace) -> int:
    """Score the model, print the table and return 0."""
    from hf_bat.attack.report import disclosure, marks_of
    from hf_bat.evaluation.contrast import contrast_model
    from hf_bat.tasks import load_split

    task = options.load_task(args, default="snli")
    options.check_outputs(args, "json", "rows")
    rows = load_split(args.data)
    model = options.load_model(args, task, rows)
    report = contrast_model(model, rows, task, batch_size=args.batch_size)
    disclosed = model.disclosed()
    if line := disclosure(disclosed):
        print(line, end="\n\n")
    print(report.to_markdown())
    if report.skipped:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in report.skipped.items())
        print(f"\n{sum(report.skipped.values())} of {report.rows} rows not scored ({reasons})")
    if args.json:
        content = {
            "model": args.model,
            "data": args.data,
            "task": task.name,
            "contrast": report.to_dict(),
            **disclosed,
            **options.locate_rows(args),
        }
        write_json(args.json, content)
    if args.rows:
        # In each line, because rows are also read without their report.
        marks = marks_of(disclosed)
        lines = [json.dumps({**row, **marks}, ensure_ascii=False) for row in report.row_results]
        write_atomically(args.rows, "".join(f"{line}\n" for line in lines))
    options.print_written(args.json, args.rows)
    return 0
