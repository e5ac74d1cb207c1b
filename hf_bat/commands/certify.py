"""`hf-bat certify`: certify a smoothed classifier against synonym substitutions."""

from __future__ import annotations

import argparse
import sys

from hf_bat.commands.defence import add_canonicalize, defended
from hf_bat.commands.outputs import check_outputs
from hf_bat.commands.task import chosen_task, seed, warn_of_unnamed_labels
from hf_bat.errors import HfBatError

HELP = """\
certify the smoothed version of a classifier (SAFER): find the rows on which no synonym substitution
changes the majority vote over random substitutions; it never certifies the plain model"""
EPILOG = """\
example:
  hf-bat certify --model out/safer --task snli --data dev.jsonl.gz --synonyms synonyms.json.gz \\
      --max-samples 200 --radius 2 --confidence 0.95 --json certificate.json --rows rows.jsonl
To resume a run that was killed, start it again with the same --rows file.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    data = parser.add_argument_group("what to certify")
    data.add_argument("--model", required=True, help="folder or Hub id of a sequence classifier")
    data.add_argument("--tokenizer", help="its tokenizer (default: the model's)")
    data.add_argument("--task", "--task_name", help="a known task: its columns and labels")
    data.add_argument("--columns", nargs="+", help="the text column (or both) of your own task")
    data.add_argument(
        "--label-column", "--label_column", default="label", help="your own task's label column"
    )
    data.add_argument(
        "--label-names", "--class_names", nargs="+", default=[], help="your own task's label names"
    )
    data.add_argument(
        "--data", "--validation_file", required=True, help="csv, tsv, json, jsonl or parquet"
    )
    data.add_argument("--max-samples", type=int, metavar="N", help="use only the first N rows")
    certificate = parser.add_argument_group("how to certify")
    certificate.add_argument("--synonyms", metavar="FILE", help="table to smooth over (required)")
    certificate.add_argument(
        "--radius",
        type=int,
        metavar="R",
        help="also certify against at most 1 to R substitutions (default: any number only)",
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
    certificate.add_argument("--seed", type=seed, default=0, help="seed of the draws (default: 0)")
    certificate.add_argument(
        "--exclude-stopwords", action="store_true", help="keep function words (NLTK's list)"
    )
    certificate.add_argument(
        "--casing", default="keep", help="case of replacements: keep (default) or authors"
    )
    add_canonicalize(certificate)
    execution = parser.add_argument_group("how to run")
    execution.add_argument(
        "--max-seq-length", type=int, help="maximum tokens, as in training (default: model's limit)"
    )
    execution.add_argument(
        "--batch-size", type=int, help="inputs per forward pass (default: CPU 32, GPU 256)"
    )
    execution.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if available)")
    execution.add_argument(
        "--dtype", default="float32", help="float32 (default), bfloat16 or float16"
    )
    output = parser.add_argument_group("what to write")
    output.add_argument("--json", metavar="FILE", help="the report")
    output.add_argument("--rows", metavar="FILE", help="one JSON line per row; resumes from it")


def run(args: argparse.Namespace) -> int:
    """Certify, print the table, write the files asked for and return 0."""
    from hf_bat.attack.ranks import own_device, rank_and_world
    from hf_bat.attack.runner import as_classifier
    from hf_bat.certificate.certificate import certify
    from hf_bat.certificate.smoothing import build_perturbation
    from hf_bat.tasks import load_split

    task = chosen_task(args)
    if not args.synonyms:
        raise HfBatError(
            "a certificate needs --synonyms FILE; build a table with `hf-bat lexicon build`"
        )
    check_outputs(args, "json", "rows")
    rows = load_split(args.data)
    synonyms = build_perturbation(args.synonyms, args.exclude_stopwords, args.casing)
    device = own_device(args.device)
    model = as_classifier(args.model, args.tokenizer, args.max_seq_length, device, args.dtype)
    warn_of_unnamed_labels(model, task, rows)
    report = certify(
        defended(model, args),
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
        batch_size=args.batch_size,
    )
    if rank_and_world()[0] == 0:
        print(report.to_markdown())
        if args.json:
            report.save_json(args.json)
        written = ", ".join(filter(None, (args.json, args.rows)))
        if written:
            print(f"written: {written}", file=sys.stderr)
    return 0
