"""`hf-bat certify`: rows on which no synonym substitution flips the smoothed classifier."""

from __future__ import annotations

import argparse
import sys

from hf_bat.commands.defence import add_canonicalize, defended
from hf_bat.commands.outputs import check_outputs
from hf_bat.commands.task import chosen_task, seed, warn_of_unnamed_labels
from hf_bat.errors import HfBatError

HELP = """\
certify the smoothed version of a classifier (SAFER): on which rows does no synonym substitution change
the majority vote over random substitutions; the certificate is never of the plain model"""
EPILOG = """\
example:
  hf-bat certify --model out/safer --task snli --data dev.jsonl.gz --synonyms synonyms.json.gz \\
      --max-samples 200 --radius 2 --confidence 0.95 --json certificate.json --rows rows.jsonl
A run that was killed goes on where it was when it is started again with the same --rows file.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    what = parser.add_argument_group("what to certify")
    what.add_argument("--model", required=True, help="a folder or Hub id of a sequence classifier")
    what.add_argument("--tokenizer", help="its tokenizer (default: the model's)")
    what.add_argument("--task", "--task_name", help="a known task: its columns and labels")
    what.add_argument("--columns", nargs="+", help="the text column, or the two, of your own task")
    what.add_argument(
        "--label-column", "--label_column", default="label", help="your own task's label column"
    )
    what.add_argument(
        "--label-names", "--class_names", nargs="+", default=[], help="your own task's label names"
    )
    what.add_argument(
        "--data", "--validation_file", required=True, help="csv, tsv, json, jsonl or parquet"
    )
    what.add_argument("--max-samples", type=int, metavar="N", help="only the first N rows")
    how = parser.add_argument_group("how to certify")
    how.add_argument("--synonyms", metavar="FILE", help="the table that is smoothed over (needed)")
    how.add_argument(
        "--radius",
        type=int,
        metavar="R",
        help="also against at most 1 to R substitutions (default: any number only)",
    )
    how.add_argument(
        "--confidence", type=float, default=0.95, help="of a row's certificate (default: 0.95)"
    )
    how.add_argument("--samples", type=int, default=2000, help="at most, a row (default: 2000)")
    how.add_argument(
        "--no-early-stopping", action="store_true", help="draw all samples and look once"
    )
    how.add_argument("--seed", type=seed, default=0, help="of the draws (default: 0)")
    how.add_argument(
        "--exclude-stopwords", action="store_true", help="leave function words alone (NLTK's list)"
    )
    how.add_argument("--casing", default="keep", help="of replacements: keep (default) or authors")
    add_canonicalize(how)
    run = parser.add_argument_group("how to run")
    run.add_argument("--max-seq-length", type=int, help="cut texts as in training (default: limit)")
    run.add_argument("--batch-size", type=int, help="inputs a forward (default: 32, on a GPU 256)")
    run.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    run.add_argument("--dtype", default="float32", help="float32 (default), bfloat16 or float16")
    out = parser.add_argument_group("what to write")
    out.add_argument("--json", metavar="FILE", help="the report")
    out.add_argument("--rows", metavar="FILE", help="a JSON line per row; resumes from it")


def run(args: argparse.Namespace) -> int:
    """Certify, print the table, write what was asked for; return 0."""
    from hf_bat.attack.ranks import own_device, rank_and_world
    from hf_bat.attack.runner import as_classifier
    from hf_bat.certificate.certificate import certify
    from hf_bat.certificate.smoothing import synonym_perturbation
    from hf_bat.tasks import load_split

    task = chosen_task(args)
    if not args.synonyms:
        raise HfBatError(
            "a certificate needs a synonym table: give --synonyms FILE (`hf-bat lexicon build` makes one)"
        )
    check_outputs(args, "json", "rows")
    rows = load_split(args.data)
    synonyms = synonym_perturbation(args.synonyms, args.exclude_stopwords, args.casing)
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
