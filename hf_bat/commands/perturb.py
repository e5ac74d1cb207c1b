"""`hf-bat perturb`: look at perturbations before training."""

from __future__ import annotations

import argparse
import sys

from hf_bat.commands.outputs import check_outputs
from hf_bat.commands.task import chosen_task, seed
from hf_bat.errors import HfBatError
from hf_bat.files import write_json

HELP = "show rows with the fickle and obstinate versions that training would draw"
EPILOG = """examples:
  hf-bat perturb --task snli --data dev.jsonl.gz --n 10
  hf-bat perturb --columns text --data intents.csv --synonyms mine.json.gz --json out.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--task", "--task_name", help="a known task: its columns and labels")
    parser.add_argument(
        "--columns", nargs="+", help="the text column, or the two, of your own task"
    )
    parser.add_argument(
        "--label-column", "--label_column", default="label", help="your own task's label column"
    )
    parser.add_argument(
        "--label-names", "--class_names", nargs="+", default=[], help="your own task's label names"
    )
    parser.add_argument(
        "--skipped-labels",
        "--skipped_labels",
        nargs="+",
        default=[],
        help="labels that no obstinate draw touches",
    )
    parser.add_argument(
        "--data", "--validation_file", required=True, help="csv, json, jsonl or parquet"
    )
    parser.add_argument("--n", type=int, default=10, help="rows to show (default: 10)")
    parser.add_argument("--synonyms", help="a table (default: the bundled lexicon's)")
    parser.add_argument("--antonyms", help="a table (default: the bundled lexicon's)")
    parser.add_argument(
        "--obstinate-edits",
        nargs="+",
        default=["antonym"],
        metavar="KIND",
        help="antonym (default), negation, sister, number",
    )
    parser.add_argument(
        "--label-filter", default="off", help="obstinate draws: off (default), only or prefer"
    )
    parser.add_argument("--seed", type=seed, default=42, help="as in training (default: 42)")
    parser.add_argument("--epoch", type=int, default=0, help="whose draws (default: 0)")
    parser.add_argument("--num-fickle", type=int, default=1, help="fickle draws a row")
    parser.add_argument("--num-obstinate", type=int, default=1, help="obstinate draws a row")
    parser.add_argument("--casing", default="keep", help="keep (default) or authors")
    parser.add_argument("--with-stopwords", action="store_true", help="perturb function words too")
    parser.add_argument(
        "--keep-antonyms", action="store_true", help="leave antonyms in the synonym sets"
    )
    parser.add_argument("--json", metavar="FILE", help="write the rows shown and the shares here")


def run(args: argparse.Namespace) -> int:
    """Print the rows; return 0."""
    from hf_bat.data import labels_of, prepare_dataset
    from hf_bat.perturbations import PerturbationSampler, build_obstinate, build_perturbations
    from hf_bat.perturbations.validity import inference_names
    from hf_bat.preview import Preview
    from hf_bat.tasks import load_split

    if args.n < 1:
        raise HfBatError(f"--n must be at least 1; got {args.n}")
    task = chosen_task(args)
    check_outputs(args, "json")
    fickle, antonym = build_perturbations(
        args.synonyms,
        args.antonyms,
        drop_antonyms_from_synonyms=not args.keep_antonyms,
        exclude_stopwords=not args.with_stopwords,
        casing=args.casing,
    )
    obstinate = build_obstinate(antonym, args.obstinate_edits, args.label_filter)
    if task.skipped_labels and not task.label_names:
        raise HfBatError(
            "--skipped-labels needs the labels' names and order: give --label-names too"
        )
    data = load_split(args.data)
    # The data may declare the labels in another order than the task has them.
    labels = labels_of(data, task, None)[1]
    skipped = [labels.named(name, "the task") for name in task.skipped_labels]
    sampler = PerturbationSampler(
        task.columns,
        fickle,
        obstinate,
        frozenset(label for label in skipped if label is not None),
        args.num_fickle,
        args.num_obstinate,
        args.seed,
        inference_names(labels.model_names),
    )
    rows = prepare_dataset(data, task, None, f"file {args.data}", keep_all=True)
    preview = Preview(rows, sampler, args.n, args.epoch, labels.model_names)
    print(preview)
    if args.json:
        write_json(args.json, preview.to_dict())
        print(f"written: {args.json}", file=sys.stderr)
    return 0
