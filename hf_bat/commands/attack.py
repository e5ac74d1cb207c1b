"""`hf-bat attack`: attack a classifier and report how fickle and how obstinate it is."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.commands.defence import add_canonicalize, defended
from hf_bat.commands.outputs import check_outputs
from hf_bat.commands.task import chosen_task, seed, warn_of_unnamed_labels
from hf_bat.errors import HfBatError
from hf_bat.files import write_json

if TYPE_CHECKING:
    from hf_bat.attack.models import Classifier

HELP = "attack a classifier: how often do edits change its prediction, or fail to"
EPILOG = """examples:
  hf-bat attack --model ./model --task snli --data dev.jsonl.gz --attacks antonym synonym negation
  hf-bat attack --model ./model --task snli --data dev.jsonl.gz --attacks antonym \\
      --antonyms antonyms.json.gz --max-samples 1000 --json report.json --rows rows.jsonl
  hf-bat attack --model ./model --task snli --attacks antonym --text "A hot day." "It is hot."
A run that was killed goes on where it was when it is started again with the same --rows file.
Under `accelerate launch` the rows are shared out over the processes.
"""
# Flag -> the attacks that read it.
_USERS = {
    "encoder": ("synonym", "textfooler-wordnet", "a2t", "a2t-mlm"),
    "mlm-model": ("a2t-mlm",),
    "toxic-words": ("toxicity",),
}

# Outputs that only the rows of --data have.
_OF_DATA = ("rows", "csv", "html", "export")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    what = parser.add_argument_group("what to attack")
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
    what.add_argument("--data", "--validation_file", help="csv, tsv, json, jsonl or parquet")
    what.add_argument("--text", nargs="+", metavar="TEXT", help="attack this one input instead")
    what.add_argument("--label", help="the gold label of --text (default: what the model predicts)")
    what.add_argument("--max-samples", type=int, metavar="N", help="only the first N rows")
    how = parser.add_argument_group("how to attack")
    how.add_argument(
        "--attacks",
        nargs="+",
        default=["antonym", "synonym"],
        metavar="NAME",
        help="antonym, synonym, negation, sister, number, toxicity, a2t, a2t-mlm, textfooler-wordnet "
        "(default: antonym synonym)",
    )
    how.add_argument("--synonyms", metavar="FILE", help="a table (default: the bundled lexicon's)")
    how.add_argument("--antonyms", metavar="FILE", help="a table (default: the bundled lexicon's)")
    how.add_argument("--toxic-words", metavar="FILE", help="one a line (default: a mild list)")
    how.add_argument(
        "--encoder", metavar="DIR_OR_HUB_ID", help="sentence encoder of synonym and a2t"
    )
    how.add_argument(
        "--mlm-model", metavar="DIR_OR_HUB_ID", help="masked language model of a2t-mlm"
    )
    how.add_argument("--part-of-speech", default="lexicon", help="lexicon (default) or nltk")
    how.add_argument("--casing", default="keep", help="of replacements: keep (default) or authors")
    how.add_argument("--skip-columns", nargs="+", default=[], help="text columns to leave alone")
    how.add_argument(
        "--skip-labels",
        "--skipped-labels",
        "--skipped_labels",
        nargs="*",
        help="labels to leave alone (default: the task's)",
    )
    how.add_argument("--budget", type=int, help="most queries a row (default: the recipe's)")
    how.add_argument(
        "--label-filter",
        action="store_true",
        help="report obstinate edits that likely change the label apart too",
    )
    add_canonicalize(how)
    how.add_argument(
        "--smooth",
        type=int,
        metavar="N",
        help="attack the smoothed classifier: the vote over N draws from the sets of --synonyms",
    )
    how.add_argument(
        "--exclude-stopwords",
        action="store_true",
        help="of --smooth: leave function words alone (NLTK's list), as `hf-bat certify` does",
    )
    how.add_argument(
        "--seed", type=seed, default=0, help="of random rankings and smoothing (default: 0)"
    )
    run = parser.add_argument_group("how to run")
    run.add_argument("--max-seq-length", type=int, help="cut texts as in training (default: limit)")
    run.add_argument("--batch-size", type=int, help="inputs a forward (default: 32, on a GPU 256)")
    run.add_argument("--device", help="cpu, cuda, cuda:1 (default: a GPU if there is one)")
    run.add_argument("--dtype", default="float32", help="float32 (default), bfloat16 or float16")
    out = parser.add_argument_group("what to write")
    out.add_argument("--json", metavar="FILE", help="the report")
    out.add_argument(
        "--rows", metavar="FILE", help="a JSON line per row and attack; resumes from it"
    )
    out.add_argument("--csv", metavar="FILE", help="the rows as CSV")
    out.add_argument("--html", metavar="FILE", help="a page with the edits marked")
    out.add_argument(
        "--export", metavar="FILE", help="the adversarial inputs as rows of a data set"
    )
    out.add_argument("--print-recipes", action="store_true", help="show each attack in full first")


def run(args: argparse.Namespace) -> int:
    """Attack, print the table, write what was asked for; return 0."""
    from hf_bat.attack import Attack, AttackReport
    from hf_bat.attack.ranks import own_device, rank_and_world
    from hf_bat.attack.report import disclosure
    from hf_bat.attack.transformer import TransformersModel
    from hf_bat.tasks import load_split

    task = chosen_task(args)
    if bool(args.data) == bool(args.text):
        raise HfBatError("give either --data or --text")
    _check_smoothing(args)
    _check_used(args)
    _check_outputs(args)
    rank, _ = rank_and_world()
    options = _options(args)
    model = TransformersModel(
        args.model, args.tokenizer, args.max_seq_length, own_device(args.device), args.dtype
    )
    data = load_split(args.data) if args.data else []
    warn_of_unnamed_labels(model, task, data)
    asked: Classifier = defended(model, args)
    if args.smooth is not None:
        asked = _smoothed(asked, args)
    attacks = [
        Attack(name, asked, task=task, batch_size=args.batch_size, seed=args.seed, **options)
        for name in dict.fromkeys(args.attacks)
    ]
    if args.label_filter and all(attack.recipe.goal.kind == "fickle" for attack in attacks):
        raise HfBatError("--label-filter is for obstinate attacks, such as antonym; none is named")
    if args.print_recipes and rank == 0:
        print("\n\n".join(str(attack.recipe) for attack in attacks), end="\n\n")
    if args.text:
        disclosed = asked.disclosed()
        rows = [
            {**attack.attack_texts(*args.text, label=args.label), **disclosed} for attack in attacks
        ]
        if said := disclosure(disclosed):
            print(said)
        print("\n".join(map(_one, rows)))
        if args.json:
            write_json(args.json, rows)
        return 0
    report: AttackReport | None = None
    known: dict[Any, Any] = {}
    for attack in attacks:
        found = attack.run(data, args.rows, args.max_samples, known=known)
        report = found if report is None else report | found
    assert report is not None
    if rank == 0:
        print(report.to_markdown())
        _say_what_was_not_attacked(report)
        _write(args, report, task.columns)
    return 0


def _check_smoothing(args: argparse.Namespace) -> None:
    if args.smooth is not None and not args.synonyms:
        raise HfBatError("--smooth needs the table that is smoothed over: give --synonyms FILE")
    if args.exclude_stopwords and args.smooth is None:
        raise HfBatError(
            "--exclude-stopwords is of --smooth N; attacks have stop words of their own"
        )


def _smoothed(model: Classifier, args: argparse.Namespace) -> Classifier:
    from hf_bat.certificate.smoothing import SmoothedClassifier, build_perturbation

    words = build_perturbation(args.synonyms, args.exclude_stopwords, args.casing)
    return SmoothedClassifier(model, words, args.smooth, args.seed, batch_size=args.batch_size)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    options = {
        "synonyms": args.synonyms,
        "antonyms": args.antonyms,
        "encoder": args.encoder,
        "part_of_speech": args.part_of_speech,
        "casing": args.casing,
        "toxic_words": args.toxic_words,
        "mlm_model": args.mlm_model,
        "skip_columns": tuple(args.skip_columns),
        "max_length": args.max_seq_length,
    }
    if args.label_filter:
        from hf_bat.perturbations import LabelValidity

        options["label_filter"] = LabelValidity()
    if args.skip_labels is not None:
        options["skip_labels"] = tuple(args.skip_labels)
    if args.budget is not None:
        options["budget"] = args.budget
    return options


def _check_used(args: argparse.Namespace) -> None:
    """Refuse flags that none of the attacks reads."""
    named = {name.removeprefix("paper-") for name in args.attacks}
    for flag, users in _USERS.items():
        if getattr(args, flag.replace("-", "_")) is not None and named.isdisjoint(users):
            raise HfBatError(f"--{flag} is for {' and '.join(users)}; none of them is in --attacks")
    if args.label is not None and args.data:
        raise HfBatError("--label is the label of --text; the rows of --data have their own")


def _say_what_was_not_attacked(report: Any) -> None:
    # Of all attacks alike: a row has a label or it has not.
    summary = next(iter(report.attacks.values()))
    unlabelled = summary["skipped_reasons"].get("no label", 0)
    if unlabelled:
        rows = summary["rows"]
        print(f"{unlabelled} of {rows} rows have no label and were left out", file=sys.stderr)
    for name, summary in report.attacks.items():
        if not summary["attempted"]:
            reasons = ", ".join(f"{why}: {n}" for why, n in summary["skipped_reasons"].items())
            print(f"{name}: no row was attacked ({reasons})", file=sys.stderr)


def _check_outputs(args: argparse.Namespace) -> None:
    """Find out before the work whether its results can be written."""
    check_outputs(args, "json", *_OF_DATA)
    for flag in _OF_DATA:
        if getattr(args, flag) and args.text:
            raise HfBatError(
                f"--{flag} is for --data; --text prints its result (and --json writes it)"
            )


def _write(args: argparse.Namespace, report: Any, columns: tuple[str, ...]) -> None:
    written = []
    if args.json:
        if args.rows:  # as seen from the report, so that both may be moved together
            report.about["rows_file"] = os.path.relpath(args.rows, Path(args.json).parent)
        report.save_json(args.json)
        written.append(args.json)
    if args.rows:
        written.append(args.rows)
    if args.csv:
        report.save_csv(args.csv)
        written.append(args.csv)
    if args.html:
        from hf_bat.report.page import write_attack_page

        write_attack_page(report, args.html)
        written.append(args.html)
    if args.export:
        count, unlabelled = report.export(args.export, columns)
        written.append(args.export)
        if unlabelled:
            print(
                f"{args.export}: {unlabelled} of {count} rows are obstinate: their label is -1, for an "
                "edit that should change the label does not say to which",
                file=sys.stderr,
            )
    if written:
        print(f"written: {', '.join(written)}", file=sys.stderr)


def _one(row: dict[str, Any]) -> str:
    """One attacked input as lines for the terminal."""
    lines = [f"{row['attack']}: {row['outcome']}"]
    if row.get("reason"):
        lines[0] += f" ({row['reason']})"
    if "outcome_confident" in row:
        lines[0] += f" (confident: {row['outcome_confident']})"
    if row.get("gold_before") is not None:
        lines.append(f"  label {row['label_name']}, probability {row['gold_before']:.4f}")
    if row["perturbed"]:
        edits = ", ".join(
            f"{e['original']} -> {e['replacement'] or '(nothing)'}" for e in row["edits"]
        )
        lines += [f"  {edits}: probability {row['gold_after']:.4f}"]
        lines += [f"  {text}" for text in row["perturbed"]]
    lines.append(f"  candidates {row.get('candidates', 0)}, queries {row['queries']}")
    return "\n".join(lines)
