"""`hf-bat compare`: two models' attack reports, their rows paired."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hf_bat.commands.outputs import check_outputs
from hf_bat.commands.task import seed
from hf_bat.console import align
from hf_bat.errors import HfBatError
from hf_bat.files import write_json

if TYPE_CHECKING:
    from hf_bat.evaluation.compare import Comparison
    from hf_bat.evaluation.compare_rates import RateComparison

HELP = """\
pair two models' attack rows: the difference of their success rates (B - A) with a paired bootstrap
interval, and McNemar's exact test over the rows that were attacked on both; accuracy and keep rates
likewise; or, of two reports of `hf-bat contrast`, the errors on people's edits"""
EPILOG = """\
examples:
  hf-bat attack --model normal  --task snli --data dev.jsonl --json A.json --rows A.jsonl
  hf-bat attack --model triplet --task snli --data dev.jsonl --json B.json --rows B.jsonl
  hf-bat compare A.json B.json
  hf-bat compare A.contrast.json B.contrast.json   (hf-bat contrast --json ... --rows ...)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument(
        "reports", nargs=2, metavar="REPORT.json", help="two attack (or contrast) reports"
    )
    parser.add_argument(
        "--rows",
        nargs=2,
        metavar=("A.jsonl", "B.jsonl"),
        help="their rows files (default: those that the reports name, or that lie beside them)",
    )
    parser.add_argument(
        "--resamples", type=int, default=10_000, help="bootstrap resamples (default: 10000)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="seed of the bootstrap (default: 0)")
    parser.add_argument("--json", metavar="FILE", help="write the comparisons here")


def run(args: argparse.Namespace) -> int:
    """Print the table; return 0."""
    from hf_bat.attack.report import disclosure
    from hf_bat.evaluation.compare import compare_rows, read_json, report_rows
    from hf_bat.evaluation.compare_rates import (
        compare_attack_rates,
        compare_contrast,
        contrast_report_rows,
    )

    if args.resamples < 1:
        raise HfBatError(f"--resamples must be at least 1, not {args.resamples}")
    check_outputs(args, "json", read=_rows_found(args.reports))
    path_a, path_b = args.reports
    rows = (args.rows[0], args.rows[1]) if args.rows else None
    options = {"resamples": args.resamples, "seed": args.seed}
    contrast = contrast_report_rows(path_a, path_b, rows)
    reports = {"a": read_json(path_a), "b": read_json(path_b)}
    for (name, report), path in zip(reports.items(), args.reports, strict=True):
        print(f"{name.upper()}: {path}")
        if defence := disclosure(report):
            print(f"   {defence}")
    print()
    found = []
    if contrast:
        rates = compare_contrast(*contrast, **options)
    else:
        paired = report_rows(path_a, path_b, rows)
        found, rates = compare_rows(*paired, **options), compare_attack_rates(*paired, **options)
        print(table(found), end="\n\n")
    print(rates_table(rates))
    if args.json:
        content = {
            "a": path_a,
            "b": path_b,
            "resamples": args.resamples,
            "seed": args.seed,
            "comparisons": [one.to_dict() for one in found],
            "rates": [one.to_dict() for one in rates],
        }
        for key, said in (
            ("preprocessing_defences", "preprocessing_defence"),
            ("smoothed", "smoothed"),
        ):
            sides = {side: report[said] for side, report in reports.items() if report.get(said)}
            if sides:
                content[key] = sides
        write_json(args.json, content)
        print(f"written: {args.json}", file=sys.stderr)
    return 0


def _rows_found(paths: list[str]) -> list[Path]:
    """The rows files that reports name or that lie beside them, of those that can be read."""
    from hf_bat.evaluation.compare import find_rows, read_json

    found = []
    for path in paths:
        with contextlib.suppress(HfBatError):
            found.append(find_rows(Path(path), read_json(path)))
    return found


def table(comparisons: list[Comparison]) -> str:
    """The comparisons as text, rates in percent, differences in points."""
    head = (
        "attack",
        "success",
        "rows",
        "ASR A",
        "ASR B",
        "B - A",
        "95 % interval",
        "A/B alone",
        "p",
    )
    lines = [head]
    for one in comparisons:
        lines.append(
            (
                one.attack,
                one.definition,
                str(one.rows),
                _percent(one.asr_a),
                _percent(one.asr_b),
                "-" if one.difference is None else f"{100 * one.difference:+.1f}",
                _interval(one.interval),
                f"{one.only_a}/{one.only_b}",
                "-" if one.p_value is None else f"{one.p_value:.2g}",
            )
        )
    return "\n".join(align(lines, left=2))


def rates_table(comparisons: list[RateComparison]) -> str:
    """The comparisons of other rates as text, rates in percent, differences in points."""
    lines = [("attack", "figure", "rows", "A", "B", "B - A", "95 % interval")]
    for one in comparisons:
        lines.append(
            (
                one.source,
                one.figure,
                str(one.rows),
                _percent(one.rate_a),
                _percent(one.rate_b),
                "-" if one.difference is None else f"{100 * one.difference:+.1f}",
                _interval(one.interval),
            )
        )
    return "\n".join(align(lines, left=2))


def _interval(bounds: tuple[float, float] | None) -> str:
    return "-" if bounds is None else f"{100 * bounds[0]:+.1f} .. {100 * bounds[1]:+.1f}"


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f}"
