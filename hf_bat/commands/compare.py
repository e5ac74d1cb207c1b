"""`hf-bat compare`: compare the attack or contrast reports of two models row by row."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from hf_bat.commands import options
from hf_bat.console import align
from hf_bat.errors import HfBatError
from hf_bat.files import write_json

HELP = """\
pair the attack rows of two models: the difference of their success rates (B - A) with a paired bootstrap
interval, and McNemar's exact test on the rows attacked for both; also accuracy and keep rates; or, for
two reports of `hf-bat contrast`, the errors on edits made by people"""
EPILOG = """\
examples:
  hf-bat attack --model normal  --task snli --data dev.jsonl --json A.json --rows A.jsonl
  hf-bat attack --model triplet --task snli --data dev.jsonl --json B.json --rows B.jsonl
  hf-bat compare A.json B.json
  hf-bat compare A.contrast.json B.contrast.json   (hf-bat contrast --json ... --rows ...)
"""
_DIFFERENCE = ("B - A", "95 % interval")
_OUTCOMES_HEAD = ("attack", "success", "rows", "ASR A", "ASR B", *_DIFFERENCE, "A/B only", "p")
_RATES_HEAD = ("attack", "figure", "rows", "A", "B", *_DIFFERENCE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "reports", nargs=2, metavar="REPORT.json", help="two attack (or contrast) reports"
    )
    parser.add_argument(
        "--rows",
        nargs=2,
        metavar=("A.jsonl", "B.jsonl"),
        help="their rows files (default: those named in the reports or next to them)",
    )
    parser.add_argument(
        "--resamples",
        type=options.parse_count,
        default=10_000,
        help="number of bootstrap resamples (default: 10000)",
    )
    options.add_shared(parser, "--seed", "--json")


def run(args: argparse.Namespace) -> int:
    """Compare two reports, print the tables and return 0."""
    from hf_bat.attack.report import disclosure
    from hf_bat.evaluation.compare import compare_attack_rates, compare_contrast, compare_rows
    from hf_bat.evaluation.reports import find_rows, read_both

    kind, both, files, (rows_a, rows_b) = read_both(args.reports, args.rows)
    for path, report in zip(map(Path, args.reports), both, strict=True):
        # With --rows, a report does not need a rows file next to it.
        with suppress(HfBatError):
            files.append(find_rows(path, report))
    options.check_outputs(args, "json", inputs=files)
    bootstrap = {"resamples": args.resamples, "seed": args.seed}
    reports = dict(zip("ab", both, strict=True))
    for (side, report), path in zip(reports.items(), args.reports, strict=True):
        print(f"{side.upper()}: {path}")
        if line := disclosure(report):
            print(f"   {line}")
    print()
    comparisons = []
    if kind == "contrast":
        rates = compare_contrast(rows_a, rows_b, **bootstrap)
    else:
        comparisons = compare_rows(rows_a, rows_b, **bootstrap)
        rates = compare_attack_rates(rows_a, rows_b, **bootstrap)
        # McNemar's test has no p-value without rows attacked for both models.
        lines = [
            # The rows in the test, because each rate only counts rows attacked for its model.
            (test.attack, test.definition, str(test.attempted_by_both))
            + _format_rates(test, "asr")
            + (
                f"{test.only_a}/{test.only_b}",
                "-" if test.p_value is None else f"{test.p_value:.2g}",
            )
            for test in comparisons
        ]
        print("\n".join(align([_OUTCOMES_HEAD, *lines], left=2)), end="\n\n")
    lines = [
        (pair.source, pair.figure, str(pair.rows), *_format_rates(pair, "rate")) for pair in rates
    ]
    print("\n".join(align([_RATES_HEAD, *lines], left=2)))
    if args.json:
        content = {
            **dict(zip("ab", args.reports, strict=True)),
            **bootstrap,
            "comparisons": [test.to_dict() for test in comparisons],
            "rates": [pair.to_dict() for pair in rates],
        }
        # Only include keys that one side has, as in the reports.
        disclosed = {"preprocessing_defences": "preprocessing_defence", "smoothed": "smoothed"}
        for name, key in disclosed.items():
            sides = {side: report[key] for side, report in reports.items() if report.get(key)}
            if sides:
                content[name] = sides
        write_json(args.json, content)
        options.print_written(args.json)
    return 0


def _format_rates(comparison: Any, name: str) -> tuple[str, ...]:
    """Format both rates in percent, and their difference with its interval in percentage points."""
    rates = [getattr(comparison, f"{name}_{side}") for side in ("a", "b")]
    points = "-" if comparison.difference is None else f"{100 * comparison.difference:+.1f}"
    bounds = " .. ".join(f"{100 * bound:+.1f}" for bound in comparison.interval or ())
    return (
        *("-" if rate is None else f"{100 * rate:.1f}" for rate in rates),
        points,
        bounds or "-",
    )
