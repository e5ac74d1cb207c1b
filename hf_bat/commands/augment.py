"""`hf-bat augment`: create a data set of rows with edited copies."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hf_bat.commands import options
from hf_bat.errors import HfBatError
from hf_bat.files import make_folder, write_json

HELP = """\
write a data set, with a card, of your rows and edited copies with known labels: edits that keep the label
(synonyms, typing errors), and edits that get a new label from a rule of counterfactual training"""
EPILOG = """examples:
  hf-bat augment --task snli --data train.jsonl --edits synonym typo --output-dir augmented
  hf-bat augment --columns text --data train.csv --edits synonym --copies 3 --output-dir augmented
  hf-bat augment --task snli --data train.jsonl --rules --output-dir augmented --push me/snli-augmented
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    from hf_bat.perturbations.build import FICKLE_EDITS

    options.add_shared(parser, *options.TASK, *options.DATA, "--synonyms", "--antonyms", "--casing")
    options.add_shared(parser, *options.RULES)
    parser.add_argument(
        "--edits",
        nargs="+",
        default=[],
        metavar="KIND",
        help=f"edits that keep the label: {', '.join(FICKLE_EDITS)}",
    )
    parser.add_argument(
        "--rules",
        nargs="*",
        metavar="RULE",
        help="also use rules, which know the label (without names: the default rules of the task)",
    )
    parser.add_argument(
        "--copies",
        type=options.parse_count,
        default=1,
        help="maximum copies of a row per kind of edit, and for the rules (default: 1)",
    )
    parser.add_argument("--without-originals", action="store_true", help="write only the copies")
    options.add_shared(parser, "--seed")
    parser.add_argument(
        "--output-dir",
        "--output_dir",
        required=True,
        metavar="DIR",
        help="folder for data.jsonl and its card",
    )
    parser.add_argument("--push", metavar="OWNER/NAME", help="also push it to the Hub")
    parser.add_argument("--private", action="store_true", help="make a new data set private")
    options.add_shared(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Write the rows, print the number of rows per edit, and return 0."""
    from hf_bat.augment import augment_rows
    from hf_bat.console import align
    from hf_bat.data import find_labels
    from hf_bat.labels import find_label_names
    from hf_bat.perturbations.build import FICKLE_KINDS, build_perturbations, check_fickle_edits
    from hf_bat.tasks import with_label_names

    task = options.load_task(args)
    if not args.edits and args.rules is None:
        raise HfBatError("nothing to add: use --edits, --rules, or both")
    if args.private and not args.push:
        raise HfBatError("--private is for --push OWNER/NAME")
    if args.antonyms and args.rules is None:
        raise HfBatError("--antonyms is for the rules: add --rules")
    if args.edits:
        check_fickle_edits(args.edits)
    options.check_outputs(args, "json")
    if Path(args.output_dir).is_dir():
        _check_folder(Path(args.output_dir), args)
    data = options.load_data(args, task)
    task = with_label_names(task, find_label_names(data, task))
    synonym, _ = build_perturbations(args.synonyms, casing=args.casing)
    rules: Any = None
    if args.rules is not None:
        from hf_bat.counterfactual.rules import build_rules

        names = find_labels(data, task, None)[1].model_names
        fickle, antonyms = options.load_rule_tables(args)
        rules = build_rules(task, names, fickle, args.rules or None, 0.0, args.label_flip, antonyms)
    # Checked before the edits, which may take minutes.
    make_folder(args.output_dir)
    augmented = augment_rows(
        data,
        task,
        [FICKLE_KINDS[edit].build(synonym) for edit in args.edits],
        rules,
        copies=args.copies,
        keep_originals=not args.without_originals,
        seed=args.seed,
    )
    augmented.about["data"] = options.shorten_data(args, task)
    counts = augmented.count()
    names = augmented.rows.features["label"].names
    lines = [("edit", *names), *((e, *(str(n[name]) for name in names)) for e, n in counts.items())]
    print("\n".join(align(lines)))
    files = augmented.save(args.output_dir, *([args.push] if args.push else []))
    if args.json:
        totals = {edit: dict(by_label) for edit, by_label in counts.items()}
        write_json(args.json, {"rows": len(augmented.rows), "counts": totals, **augmented.about})
    options.print_written(*files, args.json)
    if args.push:
        address = augmented.push_to_hub(args.push, private=args.private or None, token=args.token)
        print(f"pushed: {address}")
    return 0


def _check_folder(folder: Path, args: argparse.Namespace) -> None:
    """Check that the data set does not replace its source or files that this command did not write."""
    from hf_bat.augment import ROWS_FILE, is_augmented

    options.check_outputs(
        argparse.Namespace(**vars(args), **{"output-dir": folder / ROWS_FILE}), "output-dir"
    )
    if any(folder.iterdir()) and not is_augmented(folder):
        raise HfBatError(
            f"--output-dir {folder} holds files that `hf-bat augment` did not write; use an empty or a new "
            "folder"
        )
