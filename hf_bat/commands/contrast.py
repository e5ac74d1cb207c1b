"""`hf-bat contrast`: score a model on a contrast set."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from hf_bat.commands.defence import add_canonicalize, defended
from hf_bat.commands.outputs import check_outputs
from hf_bat.commands.task import chosen_task, warn_of_unnamed_labels
from hf_bat.files import write_atomically, write_json

HELP = """\
score a model on rows that people edited (`original_idx` links an edit to its original): accuracy on
originals and edits, consistency, fickle errors (label kept, prediction changed) and obstinate errors
(label changed, prediction kept)"""
EPILOG = """\
example:
  hf-bat contrast --model out/triplet --task snli --data contrast.jsonl.gz --json contrast.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    parser.add_argument("--model", required=True, help="folder or Hub id of a sequence classifier")
    parser.add_argument(
        "--data",
        "--validation_file",
        required=True,
        help="csv, json, jsonl or parquet with the task's columns, idx and original_idx",
    )
    parser.add_argument("--task", "--task_name", help="a known task (default: snli)")
    parser.add_argument("--columns", nargs="+", help="one or two text columns of your own task")
    parser.add_argument(
        "--label-names", "--class_names", nargs="+", default=[], help="label names of your own task"
    )
    parser.add_argument(
        "--label-column", "--label_column", default="label", help="label column of your own task"
    )
    parser.add_argument("--max-seq-length", type=int, help="maximum input length in tokens")
    add_canonicalize(parser)
    parser.add_argument("--batch-size", type=int, help="most inputs in a forward pass")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU if there is one)")
    parser.add_argument("--dtype", default="float32", help="float32 (default), bfloat16 or float16")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    parser.add_argument(
        "--rows", metavar="FILE", help="write a JSON line per scored row to this file"
    )


def run(args: argparse.Namespace) -> int:
    """Score the model, print the table and return 0."""
    from hf_bat.attack.report import disclosure, marks_of
    from hf_bat.attack.runner import as_classifier
    from hf_bat.evaluation.contrast import contrast_model
    from hf_bat.tasks import load_split

    task = chosen_task(args, default="snli")
    check_outputs(args, "json", "rows")
    plain = as_classifier(args.model, None, args.max_seq_length, args.device, args.dtype)
    rows = load_split(args.data)
    warn_of_unnamed_labels(plain, task, rows)
    model = defended(plain, args)
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
        }
        if args.rows:  # relative to the report, so that both can be moved together
            content["rows_file"] = os.path.relpath(args.rows, Path(args.json).parent)
        write_json(args.json, content)
        print(f"written: {args.json}", file=sys.stderr)
    if args.rows:
        marks = marks_of(disclosed)
        lines = [json.dumps({**row, **marks}, ensure_ascii=False) for row in report.row_results]
        write_atomically(args.rows, "".join(f"{line}\n" for line in lines))
        print(f"written: {args.rows}", file=sys.stderr)
    return 0
