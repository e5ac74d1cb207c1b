"""`hf-bat perturb`: inspect perturbations before training."""

from __future__ import annotations

import argparse

from hf_bat.commands import options
from hf_bat.errors import HfBatError
from hf_bat.files import write_json

HELP = "show rows with the fickle and obstinate versions that training would draw"
EPILOG = """examples:
  hf-bat perturb --task snli --data dev.jsonl.gz --n 10
  hf-bat perturb --columns text --data intents.csv --synonyms mine.json.gz --json out.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    options.add_shared(parser, *options.TASK, *options.DATA, "--synonyms", "--antonyms", "--casing")
    options.add_shared(parser, "--no-fit-grammar", "--splitter")
    parser.add_argument(
        "--skipped-labels",
        "--skipped_labels",
        nargs="+",
        default=[],
        help="labels that obstinate draws skip, for your own task",
    )
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
    # The default of transformers, so training with default arguments has the same draws.
    options.add_shared(parser, "--seed", default=42)
    parser.add_argument("--epoch", type=int, default=0, help="epoch of the draws (default: 0)")
    for kind in ("fickle", "obstinate"):
        parser.add_argument(
            f"--num-{kind}", type=int, default=1, help=f"{kind} draws per row (default: 1)"
        )
    parser.add_argument("--with-stopwords", action="store_true", help="also perturb function words")
    parser.add_argument(
        "--keep-antonyms", action="store_true", help="leave antonyms in the synonym sets"
    )
    parser.add_argument(
        "--n", type=options.parse_count, default=10, help="rows to show (default: 10)"
    )
    options.add_shared(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Print the rows and return 0."""
    from hf_bat.data import find_labels, prepare_dataset
    from hf_bat.perturbations import PerturbationSampler, build_obstinate, build_perturbations
    from hf_bat.perturbations.splitting import split_words
    from hf_bat.perturbations.validity import get_inference_names
    from hf_bat.preview import Preview

    task = options.load_task(args)
    if task.skipped_labels and not task.label_names:
        raise HfBatError("--skipped-labels needs --label-names with all labels in order")
    options.check_outputs(args, "json")
    splitter = options.load_object(args.splitter) if args.splitter else None
    synonym, antonym = build_perturbations(
        args.synonyms,
        args.antonyms,
        drop_antonyms_from_synonyms=not args.keep_antonyms,
        exclude_stopwords=not args.with_stopwords,
        casing=args.casing,
        fit_grammar=args.fit_grammar,
    )
    fickle = split_words(synonym, splitter)
    obstinate = build_obstinate(antonym, args.obstinate_edits, args.label_filter)
    obstinate = split_words(obstinate, splitter)
    data = options.load_data(args, task)
    # Unlabeled rows have no labels, but then the option is not needed.
    if args.label_column != "label" and args.label_column not in data.column_names:
        raise HfBatError(
            f"the rows have no column {args.label_column!r}; they have: {', '.join(data.column_names)}; "
            "correct or omit --label-column"
        )
    # The data may declare the labels in a different order than the task.
    labels = find_labels(data, task, None)[1]
    skipped = [labels.find_label(name, "the task") for name in task.skipped_labels]
    sampler = PerturbationSampler(
        task.columns,
        fickle,
        obstinate,
        # The data may have fewer labels than the task.
        frozenset(label for label in skipped if label is not None),
        args.num_fickle,
        args.num_obstinate,
        args.seed,
        get_inference_names(labels.model_names),
    )
    # `keep_all`, because unlabeled rows can also be perturbed.
    rows = prepare_dataset(data, task, None, f"data {options.name_data(args, task)}", keep_all=True)
    preview = Preview(rows, sampler, args.n, args.epoch, labels.model_names)
    print(preview)
    if args.json:
        write_json(args.json, preview.to_dict())
        options.print_written(args.json)
    return 0
