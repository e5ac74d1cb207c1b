"""`hf-bat attack`: attack a classifier and report how fickle and how obstinate it is."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from datetime import datetime, timezone
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from hf_bat.attack.recipes import RECIPES, get_recipe, list_readers, shorten_name
from hf_bat.commands import options
from hf_bat.console import apply_style
from hf_bat.errors import HfBatError
from hf_bat.files import write_json

if TYPE_CHECKING:
    from hf_bat.attack import Attack, AttackReport
    from hf_bat.attack.engine import Classifier
    from hf_bat.attack.gates import Condition
    from hf_bat.tasks import Task

HELP = "attack a classifier: how often do edits change its prediction, or fail to change it"
EPILOG = """examples:
  hf-bat attack --model ./model --task snli --data dev.jsonl.gz --attacks antonym synonym negation
  hf-bat attack --model ./model --task snli --data dev.jsonl.gz --attacks antonym \\
      --antonyms antonyms.json.gz --max-samples 1000 --json report.json --rows rows.jsonl
  hf-bat attack --model ./model --task snli --attacks antonym --text "A hot day." "It is hot."
  hf-bat attack --model ./model --columns text --data dev.csv --attacks synonym --fail-if "synonym.asr>0.3"
To resume a run that was stopped, start it again with the same --rows file.
The exit status is 1 if a condition of --fail-if is met.
Under `accelerate launch` the processes share the rows.
"""
# Options that only apply to some recipes.
_INGREDIENTS = ("encoder", "mlm_model", "toxic_words")
# Outputs that need the rows of --data. `--json` also works with --text.
_ROW_OUTPUTS = ("rows", "csv", "html", "export")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    data = parser.add_argument_group("what to attack")
    options.add_shared(data, *options.MODEL, *options.TASK)
    options.add_shared(data, *options.DATA)
    data.add_argument("--text", nargs="+", metavar="TEXT", help="attack this one input instead")
    data.add_argument("--label", help="gold label of --text (default: the model's prediction)")
    options.add_shared(data, "--max-samples", "--row-choice")
    attack = parser.add_argument_group("how to attack")
    attack.add_argument(
        "--attacks",
        nargs="+",
        default=["antonym", "synonym"],
        metavar="NAME",
        help=f"{', '.join(map(shorten_name, RECIPES))} (default: antonym synonym)",
    )
    options.add_shared(attack, "--synonyms", "--antonyms", "--casing", "--no-fit-grammar")
    options.add_shared(attack, "--splitter")
    attack.add_argument(
        "--toxic-words",
        metavar="FILE",
        help=f"words for {_name_readers('toxic_words')}, one per line (default: a mild list)",
    )
    attack.add_argument(
        "--encoder",
        metavar="DIR_OR_HUB_ID",
        help=f"sentence encoder for {_name_readers('encoder')}",
    )
    attack.add_argument(
        "--mlm-model",
        metavar="DIR_OR_HUB_ID",
        help=f"masked language model for {_name_readers('mlm_model')}",
    )
    attack.add_argument(
        "--part-of-speech",
        "--part_of_speech",
        default="lexicon",
        help="constraint on parts of speech: lexicon (default), nltk, or off for text that is not English",
    )
    attack.add_argument("--skip-columns", nargs="+", default=[], help="text columns not to edit")
    attack.add_argument(
        "--skip-labels",
        nargs="*",  # an empty list means that all labels are attacked
        metavar="LABEL",
        help="labels that attacks skip (default: --skipped-labels for obstinate attacks)",
    )
    attack.add_argument(
        "--skipped-labels",
        "--skipped_labels",
        nargs="*",
        metavar="LABEL",
        help="labels that obstinate attacks skip, as in training (default: the task's)",
    )
    attack.add_argument(
        "--budget", type=int, help="maximum queries per row (default: the recipe's)"
    )
    attack.add_argument(
        "--label-filter",
        action="store_true",
        help="also report obstinate edits that likely change the label separately",
    )
    attack.add_argument(
        "--label-judge",
        "--label_judge",
        metavar="DIR_OR_HUB_ID",
        help="the same with an inference model instead of the rule; also reports how often both agree",
    )
    attack.add_argument(
        "--smooth",
        type=int,
        metavar="N",
        help="attack the smoothed classifier, which votes over N draws from the sets of --synonyms",
    )
    attack.add_argument(
        "--exclude-stopwords",
        action="store_true",
        help="with --smooth: keep function words (NLTK's list), like `hf-bat certify`",
    )
    options.add_shared(attack, "--seed", "--canonicalize")
    options.add_shared(parser.add_argument_group("how to run"), *options.EXECUTION)
    output = parser.add_argument_group("what to write")
    options.add_shared(output, "--json")
    output.add_argument(
        "--rows", metavar="FILE", help="one JSON line per row and attack; resumes from it"
    )
    output.add_argument("--csv", metavar="FILE", help="the rows as CSV")
    output.add_argument("--html", metavar="FILE", help="a page with the edits marked")
    output.add_argument(
        "--export",
        metavar="FILE",
        help="the adversarial inputs as rows of a dataset: JSON lines, or .csv or .tsv",
    )
    output.add_argument(
        "--f1-label",
        "--f1_label",
        metavar="LABEL",
        help="also report F1 of this label on the unedited rows",
    )
    output.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="CONDITION",
        help='exit with status 1 on a condition such as "synonym.asr>0.3", "accuracy<0.8" or "f1<0.7" '
        "(with --f1-label), or if the figure was not measured; may be repeated",
    )
    output.add_argument("--print-recipes", action="store_true", help="first print each recipe")


def run(args: argparse.Namespace) -> int:
    """Attack, print the table and the verdicts, and write files. Return 1 if a condition is met, else 0."""
    from hf_bat.attack import Attack
    from hf_bat.attack.gates import check_conditions, measure_f1
    from hf_bat.attack.ranks import rank_and_world

    task = _load_task(args)
    _check_options(args)
    # A judge is also a label filter.
    args.label_filter = args.label_filter or bool(args.label_judge)
    conditions = _parse_conditions(args)
    options.check_outputs(args, "json", *_ROW_OUTPUTS)
    rows = options.load_data(args, task) if options.names_rows(args) else []
    keywords = _collect_keywords(args)
    # Done before the model is loaded, because a table may be missing. Duplicate attacks run once.
    recipes = [get_recipe(name, **keywords) for name in dict.fromkeys(args.attacks)]
    model = options.load_model(args, task, rows)
    if args.smooth is not None:
        model = _smooth_model(model, args)
    same: dict[str, Any] = {"label_filter": args.label_filter}
    if args.label_judge:
        from hf_bat.attack.judge import as_validity

        # Shared by all attacks.
        same["label_filter"] = as_validity(args.label_judge)
    attacks = [
        Attack(recipe, model, task=task, batch_size=args.batch_size, seed=args.seed, **same)
        for recipe in recipes
    ]
    if args.label_filter and all(attack.recipe.goal.kind == "fickle" for attack in attacks):
        raise HfBatError("--label-filter needs an obstinate attack, such as antonym, in --attacks")
    for condition in conditions:
        if condition.attack not in (None, *(attack.name for attack in attacks)):
            raise HfBatError(f"--fail-if {condition}: --attacks has no {condition.attack!r}")
    f1_label = _find_label(args, attacks[0], rows)
    # All processes get the full report, and one prints and writes it.
    is_main = rank_and_world()[0] == 0
    if args.print_recipes and is_main:
        print("\n\n".join(str(attack.recipe) for attack in attacks), end="\n\n")
    if args.text:
        _attack_text(attacks, model, args)
        return 0
    # Predictions shared by attacks, because the first query of a row is the same for all.
    known: dict[Any, Any] = {}
    reports = []
    for number, attack in enumerate(attacks, start=1):
        if is_main and len(attacks) > 1:
            print(f"attack {number} of {len(attacks)}: {attack.name}", file=sys.stderr, flush=True)
        reports.append(
            attack.run(rows, args.rows, args.max_samples, known=known, row_choice=args.row_choice)
        )
    report = reduce(or_, reports)
    if f1_label is not None:
        # All attacks have the same predictions on the unedited rows.
        results = report.rows[attacks[0].name]
        report.about["f1"] = measure_f1(results, f1_label, args.f1_label)
    failures = check_conditions(report, conditions)
    report.about |= {
        "data": options.shorten_data(args, task),
        "date": datetime.now(timezone.utc).date().isoformat(),
    }
    if is_main:
        print(report.to_text(sys.stdout))
        _print_skipped(report)
        _write_files(args, report, task)
        for line in failures:
            print(f"{apply_style('failed', 'bad', sys.stderr)}: {line}", file=sys.stderr)
    if not failures:
        _check_attempted(report)
    return int(bool(failures))


def hint_resume(args: argparse.Namespace) -> str:
    """Return a hint on how to continue after an interruption."""
    return options.describe_resume(args.rows)


def _parse_conditions(args: argparse.Namespace) -> list[Condition]:
    from hf_bat.attack.gates import F1, parse_condition

    conditions = [parse_condition(text) for text in args.fail_if]
    if not args.f1_label and any(condition.figure == F1 for condition in conditions):
        raise HfBatError("--fail-if on f1 needs a label: use --f1-label LABEL")
    for condition in conditions:
        if condition.figure.startswith(("valid_", "invalid_")) and not args.label_filter:
            raise HfBatError(f"--fail-if {condition} needs the label filter: add --label-filter")
    return conditions


def _find_label(args: argparse.Namespace, attack: Attack, rows: Any) -> int | None:
    """Return the model's label id for `--f1-label`."""
    from hf_bat.data import find_labels

    if args.f1_label is None:
        return None
    labels = find_labels(rows, attack.task, attack.model.config)[1]
    label = labels.find_label(args.f1_label, "--f1-label")
    if label is None:
        known = ", ".join(labels.data_names or labels.model_names)
        raise HfBatError(
            f"--f1-label: no label {args.f1_label!r}; labels: {known or 'without names'}"
        )
    return label


def _load_task(args: argparse.Namespace) -> Task:
    """Return the task with the labels from `--skipped-labels` if given."""
    skipped = args.skipped_labels
    # `load_task` does not accept them for a known task.
    args.skipped_labels = None
    task = options.load_task(args)
    return task if skipped is None else replace(task, skipped_labels=tuple(skipped))


def _check_options(args: argparse.Namespace) -> None:
    """Check that no option would be ignored."""
    if options.names_rows(args) == bool(args.text):
        raise HfBatError("use either --data or --text")
    for name in _ROW_OUTPUTS:
        if args.text and getattr(args, name):
            raise HfBatError(f"--{name} is for --data; --text prints its result, --json writes it")
    if args.max_samples is not None and args.text:
        raise HfBatError("--max-samples is for the rows of --data; --text is one input")
    for name in ("fail_if", "f1_label"):
        if args.text and getattr(args, name):
            option = name.replace("_", "-")
            raise HfBatError(f"--{option} is for the rows of --data; --text is one input")
    if args.label is not None and not args.text:
        raise HfBatError("--label is the label of --text; the rows of --data have their own")
    if args.smooth is not None and not args.synonyms:
        raise HfBatError("--smooth needs the table to smooth over: use --synonyms FILE")
    if args.smooth is not None and args.splitter:
        raise HfBatError("--smooth draws words between spaces: omit --splitter")
    if args.exclude_stopwords and args.smooth is None:
        raise HfBatError("--exclude-stopwords is for --smooth N; attacks have their own stop words")
    # Recipes may be given by full name.
    attacks = set(map(shorten_name, args.attacks))
    for name in _INGREDIENTS:
        if getattr(args, name) is not None and attacks.isdisjoint(list_readers(name)):
            option = name.replace("_", "-")
            raise HfBatError(
                f"--{option} is for {_name_readers(name)}, but --attacks contains none of them"
            )


def _name_readers(ingredient: str) -> str:
    return ", ".join(list_readers(ingredient))


def _collect_keywords(args: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of `get_recipe` that are the same for all attacks."""
    names = "synonyms antonyms encoder part_of_speech casing fit_grammar toxic_words mlm_model"
    keywords = {name: getattr(args, name) for name in names.split()}
    keywords |= {"skip_columns": tuple(args.skip_columns), "max_length": args.max_seq_length}
    keywords["splitter"] = options.load_object(args.splitter) if args.splitter else None
    # Omitted if not given, because `None` is not the default of the recipe.
    if args.skip_labels is not None:
        keywords["skip_labels"] = tuple(args.skip_labels)
    if args.budget is not None:
        keywords["budget"] = args.budget
    return keywords


def _smooth_model(model: Classifier, args: argparse.Namespace) -> Classifier:
    from hf_bat.certificate.smoothing import SmoothedClassifier, build_perturbation

    words = build_perturbation(args.synonyms, args.exclude_stopwords, args.casing)
    return SmoothedClassifier(model, words, args.smooth, args.seed, batch_size=args.batch_size)


def _attack_text(attacks: list[Attack], model: Classifier, args: argparse.Namespace) -> None:
    """Attack the input of `--text` and print the results."""
    from hf_bat.attack.report import disclosure

    disclosed = model.disclosed()
    results = [
        {**attack.attack_texts(*args.text, label=args.label), **disclosed} for attack in attacks
    ]
    if line := disclosure(disclosed):
        print(line)
    print("\n".join(map(_format_result, results)))
    if args.json:
        write_json(args.json, results)
    if all(result["outcome"] == "skipped" for result in results):
        reasons = ", ".join(sorted({str(result["reason"]) for result in results}))
        raise HfBatError(f"the text was not attacked ({reasons})")


def _format_result(result: dict[str, Any]) -> str:
    """Format one attacked input as lines for the terminal."""
    lines = [f"{result['attack']}: {result['outcome']}"]
    if result.get("reason"):
        lines[0] += f" ({result['reason']})"
    if "outcome_confident" in result:
        lines[0] += f" (confident: {result['outcome_confident']})"
    if result.get("gold_before") is not None:
        lines.append(f"  label {result['label_name']}, probability {result['gold_before']:.4f}")
    if result["perturbed"]:
        swaps = [f"{e['original']} -> {e['replacement'] or '(nothing)'}" for e in result["edits"]]
        lines.append(f"  {', '.join(swaps)}: probability {result['gold_after']:.4f}")
        lines += [f"  {text}" for text in result["perturbed"]]
    lines.append(f"  candidates {result.get('candidates', 0)}, queries {result['queries']}")
    return "\n".join(lines)


def _print_skipped(report: AttackReport) -> None:
    # All attacks skip the same rows for a missing label.
    summary = next(iter(report.attacks.values()))
    if unlabeled := summary["skipped_reasons"].get("no label"):
        print(f"skipped {unlabeled} of {summary['rows']} rows without a label", file=sys.stderr)


def _check_attempted(report: AttackReport) -> None:
    """Raise an error if an attack had no rows. A script might treat missing rates as low ones."""
    for name, summary in report.attacks.items():
        if not summary["attempted"]:
            reasons = ", ".join(f"{why}: {n}" for why, n in summary["skipped_reasons"].items())
            raise HfBatError(f"{name}: no row was attacked ({reasons})")


def _write_files(args: argparse.Namespace, report: AttackReport, task: Task) -> None:
    if args.json:
        report.about.update(options.locate_rows(args))
        report.save_json(args.json)
    if args.csv:
        report.save_csv(args.csv)
    if args.html:
        # Only HTML pages need the template engine.
        from hf_bat.report.page import write_attack_page

        write_attack_page(report, args.html)
    if args.export:
        # Column names are not in the report, because it may be read without its data.
        count, unlabeled = report.export(args.export, task.columns, task.label_column)
        if unlabeled:
            print(
                f"{args.export}: {unlabeled} of {count} rows are obstinate and have no label, because the "
                "edit should change the label, but the new label is unknown",
                file=sys.stderr,
            )
    options.print_written(args.json, *(getattr(args, name) for name in _ROW_OUTPUTS))
