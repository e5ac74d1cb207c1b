"""`hf-bat contrast`: score a model on a contrast set."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_bat.commands import options
from hf_bat.errors import HfBatError
from hf_bat.files import dump_json, write_atomically, write_json

if TYPE_CHECKING:
    from hf_bat.attack.engine import Classifier
    from hf_bat.evaluation.contrast import ContrastReport, SuiteReport
    from hf_bat.evaluation.suites import SuiteRows

HELP = """\
score a model on rows edited by people (`original_idx` is the `idx` of the original): accuracy on
originals and edits, consistency, fickle errors (label kept, prediction changed) and obstinate errors
(label changed, prediction kept). The task defaults to snli. Public suites are read as published and
scored by category: AdvGLUE, Breaking NLI, counterfactually augmented data, HANS, MED, MoNLI, the NLI
stress tests and PAWS."""
EPILOG = """\
examples:
  hf-bat contrast --model out/triplet --task snli --data contrast.jsonl.gz --json contrast.json
  hf-bat contrast --model out/triplet --data heuristics_evaluation_set.txt --json hans.json
  hf-bat contrast --model out/sst2 --data dev.json --format advglue:sst2
  hf-bat contrast --model out/intents --columns utterance --data suite.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    options.add_shared(parser, *options.MODEL, *options.TASK)
    options.add_shared(
        parser, "--data", help="csv, tsv, json, jsonl or parquet; a public suite as published"
    )
    options.add_shared(parser, *options.DATA[1:])
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="pairs (rows edited by people), advglue:TASK, breaking_nli, cad, hans, med, monli, "
        "nli_stress, paws or rules (output of `hf-bat suite`; default: detected from the file)",
    )
    options.add_shared(parser, *options.EXECUTION, "--canonicalize", "--json")
    parser.add_argument(
        "--rows", metavar="FILE", help="write a JSON line per scored row to this file"
    )


def run(args: argparse.Namespace) -> int:
    """Score the model, print the table and return 0."""
    from hf_bat.attack.report import disclosure, marks_of
    from hf_bat.evaluation.suites import read_suite

    options.check_outputs(args, "json", "rows")
    suite = read_suite(args.data, args.format, args.columns or ()) if args.data else None
    score = _score_pairs(args) if suite is None else _score_suite(args, suite)
    report = score.report
    disclosed = score.model.disclosed()
    if line := disclosure(disclosed):
        print(line, end="\n\n")
    print(report.to_markdown())
    for note in score.notes:
        print(f"\n{note}")
    if report.skipped:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in report.skipped.items())
        print(f"\n{sum(report.skipped.values())} of {report.rows} rows not scored ({reasons})")
    if args.json:
        content = {
            "model": args.model or args.model_from,
            "data": args.data or args.dataset_name,
            **score.content,
            **disclosed,
            **options.locate_rows(args),
        }
        write_json(args.json, content)
    if args.rows:
        # Added to each line, because rows are also read without their report.
        marks = marks_of(disclosed)
        lines = [dump_json({**row, **marks}) for row in report.row_results]
        write_atomically(args.rows, "".join(f"{line}\n" for line in lines))
    options.print_written(args.json, args.rows)
    return 0


@dataclass(frozen=True)
class _Score:
    """A report with its model, the content of its JSON file, and lines below the table."""

    model: Classifier
    report: ContrastReport | SuiteReport
    content: dict[str, Any]
    notes: tuple[str, ...] = ()


def _score_pairs(args: argparse.Namespace) -> _Score:
    from hf_bat.evaluation.contrast import contrast_model

    task = options.load_task(args, default="snli")
    rows = options.load_data(args, task)
    model = options.load_model(args, task, rows)
    report = contrast_model(model, rows, task, batch_size=args.batch_size)
    # A script might treat missing rates as low ones.
    if not report.edits:
        raise HfBatError(
            f"no row of {options.name_data(args, task)} is an edit that can be scored, so nothing is "
            "measured: give each edit the idx of its original in the column original_idx"
        )
    return _Score(model, report, {"task": task.name, "contrast": report.to_dict()})


def _score_suite(args: argparse.Namespace, suite: SuiteRows) -> _Score:
    from hf_bat.evaluation.contrast import score_suite
    from hf_bat.evaluation.suites import RULES

    if args.columns and suite.name != RULES:
        raise HfBatError(
            f"--columns is for rows of your own task; {suite.name} has its own columns: omit it"
        )
    if args.label_column != "label":
        raise HfBatError(
            f"--label-column is for rows that people edited; {suite.name} has its own label column: omit it"
        )
    model, names = options.load_suite_model(args, suite)
    report = score_suite(model, suite, label_names=names, batch_size=args.batch_size)
    note = report.describe_folding()
    return _Score(model, report, {"suite": report.to_dict()}, (note,) if note else ())
