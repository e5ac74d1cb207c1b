"""`hf-bat certify`: certify a smoothed classifier against synonym substitutions."""

from __future__ import annotations

import argparse

from hf_bat.commands import options
from hf_bat.errors import HfBatError

HELP = """\
certify the smoothed version of a classifier (SAFER): find the rows where no synonym substitution
changes the majority vote over random substitutions; the plain model is never certified"""
EPILOG = """\
example:
  hf-bat certify --model out/safer --task snli --data dev.jsonl.gz --synonyms synonyms.json.gz \\
      --max-samples 200 --radius 2 --confidence 0.95 --json certificate.json --rows rows.jsonl
To resume a run that was killed, start it again with the same --rows file.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    data = parser.add_argument_group("what to certify")
    options.add_shared(
        data, *options.MODEL, *options.TASK, *options.DATA, "--max-samples", "--row-choice"
    )
    certificate = parser.add_argument_group("how to certify")
    options.add_shared(
        certificate, "--synonyms", help="table to smooth over, such as wordnet (required)"
    )
    certificate.add_argument(
        "--radius",
        type=int,
        metavar="R",
        help="also certify against at most 1 to R substitutions (default: only against any number)",
    )
    certificate.add_argument(
        "--confidence", type=float, default=0.95, help="confidence per row (default: 0.95)"
    )
    certificate.add_argument(
        "--samples", type=int, default=2000, help="maximum samples per row (default: 2000)"
    )
    certificate.add_argument(
        "--no-early-stopping", action="store_true", help="draw all samples and look once"
    )
    certificate.add_argument(
        "--exclude-stopwords", action="store_true", help="keep function words (NLTK's list)"
    )
    options.add_shared(certificate, "--seed", "--casing", "--canonicalize")
    options.add_shared(parser.add_argument_group("how to run"), *options.EXECUTION)
    output = parser.add_argument_group("what to write")
    options.add_shared(output, "--json")
    output.add_argument("--rows", metavar="FILE", help="one JSON line per row; resumes from it")


def run(args: argparse.Namespace) -> int:
    """Certify, print the table, write the requested files, and return 0."""
    from hf_bat.attack.ranks import rank_and_world
    from hf_bat.certificate.certificate import certify
    from hf_bat.certificate.smoothing import build_perturbation

    task = options.load_task(args)
    # Not a required option, because argparse's message would not explain how to get a table.
    if not args.synonyms:
        raise HfBatError(
            "a certificate needs --synonyms FILE; build a table with `hf-bat lexicon build`"
        )
    # Checked now, because a certificate takes thousands of forward passes.
    options.check_outputs(args, "json", "rows")
    rows = options.load_data(args, task)
    synonyms = build_perturbation(args.synonyms, args.exclude_stopwords, args.casing)
    report = certify(
        options.load_model(args, task, rows),
        rows,
        task,
        synonyms=synonyms,
        radius=args.radius,
        confidence=args.confidence,
        samples=args.samples,
        early_stopping=not args.no_early_stopping,
        seed=args.seed,
        rows_file=args.rows,
        max_samples=args.max_samples,
        row_choice=args.row_choice,
        batch_size=args.batch_size,
    )
    if rank_and_world()[0] == 0:  # all ranks have the full report
        print(report.to_markdown())
        if args.json:
            report.save_json(args.json)
        options.print_written(args.json, args.rows)
    if not report["attempted"]:
        # A script might treat a missing rate as a low one.
        reasons = ", ".join(f"{why}: {n}" for why, n in report["skipped_reasons"].items())
        raise HfBatError(f"no row could be certified ({reasons})")
    return 0


def hint_resume(args: argparse.Namespace) -> str:
    """Return a hint on how to continue after an interruption."""
    return options.describe_resume(args.rows)
