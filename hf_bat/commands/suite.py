"""`hf-bat suite`: create a suite of labeled edits of your rows."""

from __future__ import annotations

import argparse
from collections import Counter

from hf_bat.commands import options
from hf_bat.files import dump_json, write_atomically

HELP = """\
write a suite of labeled pairs made from your rows with the rules of counterfactual training; score models
on it with `hf-bat contrast`"""
EPILOG = """examples:
  hf-bat suite --task snli --data dev.jsonl.gz --output suite.jsonl
  hf-bat suite --task snli --data dev.jsonl.gz --output suite.jsonl --held-out-pairs 0.2
  hf-bat contrast --model out/counterfactual --data suite.jsonl --json suite.json
  hf-bat suite --columns text --data dev.csv --label-flip on=off off=on --antonyms pairs.json \\
      --output suite.jsonl
  hf-bat contrast --model out/lights --columns text --data suite.jsonl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    options.add_shared(parser, *options.TASK, *options.DATA, "--synonyms", "--antonyms")
    options.add_shared(parser, *options.RULES)
    parser.add_argument("--output", required=True, metavar="FILE", help="JSON lines to write")
    parser.add_argument(
        "--rules", nargs="+", metavar="RULE", help="rules (default: the rules for the task)"
    )
    parser.add_argument(
        "--max-pairs",
        "--max_pairs",
        type=options.parse_count,
        default=1,
        help="number of pairs per rule and row (default: 1)",
    )
    parser.add_argument(
        "--held-out-pairs",
        "--held_out_pairs",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="mark word pairs that training with this --held_out_pairs has not seen (default: 0)",
    )
    options.add_shared(parser, "--seed", default=0)


def run(args: argparse.Namespace) -> int:
    """Write the suite, print the number of pairs per rule, and return 0."""
    from hf_bat.counterfactual.rules import build_rules
    from hf_bat.counterfactual.suite import make_suite
    from hf_bat.data import find_labels, prepare_dataset
    from hf_bat.labels import find_label_names
    from hf_bat.tasks import with_label_names

    task = options.load_task(args)
    options.check_outputs(args, "output")
    data = options.load_data(args, task)
    task = with_label_names(task, find_label_names(data, task))
    names = find_labels(data, task, None)[1].model_names
    fickle, antonyms = options.load_rule_tables(args)
    rules = build_rules(
        task, names, fickle, args.rules, args.held_out_pairs, args.label_flip, antonyms
    )
    rows = prepare_dataset(data, task, None, f"data {options.name_data(args, task)}")
    suite = make_suite(rules, rows, task, names, args.max_pairs, args.seed)
    write_atomically(args.output, "".join(f"{dump_json(row)}\n" for row in suite))
    counts = Counter((row["category"], row["label"]) for row in suite)
    width = max((len(category) for category, _ in counts), default=0)
    for (category, label), count in sorted(counts.items()):
        print(f"{category:<{width}}  {label:<14} {count:>6}")
    print(f"{len(suite)} pairs from {len(rows)} rows")
    options.print_written(args.output)
    return 0
