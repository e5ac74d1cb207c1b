"""`hf-bat lexicon`: build, convert and inspect substitution tables."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.commands import options
from hf_bat.errors import HfBatError
from hf_bat.files import write_json

if TYPE_CHECKING:
    from hf_bat.lexicon import SubstitutionTable, Vocabulary

HELP = "build, convert, inspect and push substitution tables (synonyms, antonyms)"
_EXAMPLES = {
    "build": """\
  hf-bat lexicon build antonyms --output antonyms.json.gz
  hf-bat lexicon build synonyms --vectors counter-fitted-vectors.txt --data train.jsonl.gz \\
      --task snli --output synonyms.json.gz
""",
    "convert": "  hf-bat lexicon convert released_synonyms.pkl --output synonyms.json.gz\n",
    "info": "  hf-bat lexicon info synonyms.json.gz --words car children\n",
    "push": """\
  hf-bat lexicon push synonyms.json.gz OWNER/NAME --private
  hf-bat lexicon info hf://datasets/OWNER/NAME
""",
}
EPILOG = "examples:\n" + "".join(_EXAMPLES.values())
_SAMPLE_SIZE = 5
_TABLE = (
    "a table's file, hf://datasets/OWNER/NAME, or a bundled table: default-synonyms (counterfitted), "
    "wordnet or default-antonyms"
)
# Options that only apply with --vectors.
_VECTOR_OPTIONS = ("procedure", "threshold", "components_removed", "max_size")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command, each with its options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)

    def add_action(name: str, summary: str) -> argparse.ArgumentParser:
        action: argparse.ArgumentParser = actions.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"examples:\n{_EXAMPLES[name]}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        options.add_shared(action, "--json", "--quiet")
        return action

    build = add_action("build", "build a table from WordNet, or synonyms from word vectors")
    build.add_argument("kind", choices=["antonyms", "synonyms"], help="what to build")
    build.add_argument(
        "--output", required=True, type=Path, help="table to write: .json or .json.gz"
    )
    build.add_argument(
        "--wordnet",
        choices=["bundled", "nltk"],
        help="the bundled relations of WordNet (default), or the WordNet downloaded by NLTK",
    )
    vectors = build.add_argument_group("synonyms from word vectors")
    vectors.add_argument("--vectors", type=Path, help="text file of word vectors, may be gzipped")
    vectors.add_argument(
        "--procedure",
        choices=["components", "topk"],
        help="connected components, as in the paper's tables (default), or nearest neighbors",
    )
    vectors.add_argument("--threshold", type=float, help="minimum similarity (default: 0.8)")
    vectors.add_argument(
        "--components_removed",
        "--components-removed",
        type=int,
        help="principal components to remove (default: 8 for components, 0 for topk)",
    )
    vectors.add_argument(
        "--max_size",
        "--max-size",
        type=int,
        help="maximum size of a set, including the word itself (default: 100)",
    )
    words = build.add_argument_group(
        "vocabulary (required with --vectors; default: all words of WordNet)"
    )
    words.add_argument("--data", nargs="+", type=Path, help="data files to take the words from")
    words.add_argument("--task", "--task_name", "--task-name", help="task with their columns")
    words.add_argument("--columns", nargs="+", help="their text columns instead of --task")
    words.add_argument(
        "--min_count",
        "--min-count",
        type=options.parse_count,
        help="minimum number of occurrences of a word in the data (default: 2)",
    )
    words.add_argument(
        "--vocabulary", type=Path, help="file with one word per line instead of --data"
    )
    words.add_argument(
        "--evaluated",
        nargs="+",
        type=Path,
        default=[],
        help="data files for evaluation, to warn if one of them contributes to the vocabulary",
    )

    convert = add_action(
        "convert",
        "convert a pickle (its code is not run) or a plain JSON file to hf_bat's format",
    )
    convert.add_argument("table", type=Path, help="table to read")
    convert.add_argument("--output", required=True, type=Path, help="table to write")

    info = add_action("info", "print what a table contains and how it was made")
    info.add_argument("table", help=_TABLE)
    info.add_argument("--words", nargs="+", default=[], help="words whose replacements to show")

    push = add_action(
        "push",
        "upload a table to a dataset on the Hub (first log in with `hf auth login`)",
    )
    push.add_argument("table", help=_TABLE)
    push.add_argument("repo_id", metavar="OWNER/NAME", help="dataset; created if it does not exist")
    push.add_argument("--private", action="store_true", help="make a new dataset private")


def run(args: argparse.Namespace) -> int:
    """Run the action, print its report and return 0."""
    from hf_bat.lexicon import SubstitutionTable

    options.check_outputs(args, "output", "json")
    if args.action in ("build", "convert"):
        table = _build(args) if args.action == "build" else SubstitutionTable.load(args.table)
        # An empty table perturbs nothing, and training would silently have no effect.
        if not table:
            raise HfBatError("the table would be empty; nothing was written")
        table.save(args.output)
        report = {"output": str(args.output), **_summarize(table)}
    elif args.action == "info":
        report = _describe(args.table, args.words)
    else:
        table = _load(args.table)
        # `None` is the owner's default, but `False` would force a public dataset.
        pushed = table.push_to_hub(args.repo_id, private=args.private or None)
        report = {"pushed": pushed, **_summarize(table)}
    _print_report(report)
    if args.json:
        write_json(args.json, report)
    return 0


def _build(args: argparse.Namespace) -> SubstitutionTable:
    from hf_bat.lexicon import (
        antonyms_from_wordnet,
        load_wordnet,
        synonyms_from_vectors,
        synonyms_from_wordnet,
    )

    keywords = {name: getattr(args, name) for name in _VECTOR_OPTIONS}
    keywords = {name: value for name, value in keywords.items() if value is not None}
    if args.vectors is None and keywords:
        raise HfBatError(f"--{next(iter(keywords))} needs --vectors")
    if args.vectors is not None and args.kind == "antonyms":
        raise HfBatError("--vectors is for synonyms; antonyms are built from WordNet")
    if args.vectors is not None and args.wordnet:
        raise HfBatError("use --vectors or --wordnet, not both")
    vocabulary = _build_vocabulary(args)
    if args.vectors is None:
        build = antonyms_from_wordnet if args.kind == "antonyms" else synonyms_from_wordnet
        table = build(
            vocabulary.words if vocabulary else None, load_wordnet(args.wordnet or "bundled")
        )
        if vocabulary:
            # With this, `leakage_report` can later detect whether the table was built from
            # evaluation rows.
            table.metadata["vocabulary"] = vocabulary.metadata
        return table
    if vocabulary is None:
        raise HfBatError("--vectors needs words: use --data FILE --task NAME, or --vocabulary FILE")
    return synonyms_from_vectors(args.vectors, vocabulary, **keywords)


def _build_vocabulary(args: argparse.Namespace) -> Vocabulary | None:
    from hf_bat.lexicon import Vocabulary, leakage_report, vocabulary_from_splits
    from hf_bat.tasks import get_task, load_split

    if args.data and args.vocabulary:
        raise HfBatError("use --data or --vocabulary, not both")
    if not args.data:
        # These would be ignored.
        for name in ("task", "columns", "min_count", "evaluated"):
            if getattr(args, name):
                raise HfBatError(f"--{name} needs --data")
        return Vocabulary(_read_words(args.vocabulary)) if args.vocabulary else None
    if bool(args.task) == bool(args.columns):
        raise HfBatError("--data needs either --task NAME or --columns COLUMN [COLUMN]")
    columns = args.columns or get_task(args.task).columns
    splits = {_name_split(path, args.data): load_split(path) for path in args.data}
    vocabulary = vocabulary_from_splits(splits, columns, args.min_count or 2)
    evaluated = {_name_split(path, args.evaluated): load_split(path) for path in args.evaluated}
    for line in leakage_report(vocabulary.metadata, evaluated, columns) if evaluated else []:
        print(f"hf-bat: warning: {line}", file=sys.stderr)
    return vocabulary


def _name_split(path: Path, paths: list[Path]) -> str:
    """Return a file name without extensions, with the folder's name if another file has the same name."""
    # Two folders may have a `train.jsonl` each.
    name = path.name.split(".")[0]
    is_unique = sum(other.name.split(".")[0] == name for other in paths) == 1
    return name if is_unique else f"{path.resolve().parent.name}/{name}"


def _read_words(path: Path) -> tuple[str, ...]:
    try:
        # "sig", because some editors start files with a byte-order mark.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HfBatError(f"cannot read the vocabulary {path}: {error}") from error
    words = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not words:
        raise HfBatError(f"the vocabulary {path} is empty")
    return words


def _summarize(table: SubstitutionTable) -> dict[str, Any]:
    sizes = sorted(len(others) for others in table.values())
    return {
        "words": len(table),
        "replacements": sum(sizes),
        "largest_set": sizes[-1] if sizes else 0,
        "fingerprint": table.fingerprint,
        "metadata": table.metadata,
    }


def _load(name: str) -> SubstitutionTable:
    from hf_bat.lexicon import default_antonyms, default_synonyms
    from hf_bat.lexicon.bundled import as_synonyms

    defaults = {"default-synonyms": default_synonyms, "default-antonyms": default_antonyms}
    return defaults[name]() if name in defaults else as_synonyms(name)


def _describe(name: str, words: list[str]) -> dict[str, Any]:
    """Return a description of a table, with the replacements of the given words."""
    from hf_bat.lexicon import default_antonyms

    table = _load(name)
    # These pairs are the most likely errors of a synonym table, because they turn a fickle edit
    # obstinate.
    without_antonyms = table.minus(default_antonyms())
    shared = sum(map(len, table.values())) - sum(map(len, without_antonyms.values()))
    # Words spread over the alphabet are more representative than the first words.
    step = max(1, len(table) // _SAMPLE_SIZE)
    return {
        "table": name,
        **_summarize(table),
        "replacements_that_wordnet_calls_antonyms": shared,
        "sample": {
            word: list(table.get(word, ()))
            for word in words or sorted(table)[::step][:_SAMPLE_SIZE]
        },
    }


def _print_report(report: dict[str, Any]) -> None:
    for key, value in report.items():
        # Metadata and samples are too long for one line.
        if isinstance(value, dict):
            print(f"{key}:")
            for name, entry in value.items():
                print(f"  {name}: {json.dumps(entry, ensure_ascii=False)}")
        else:
            print(f"{key}: {value}")
