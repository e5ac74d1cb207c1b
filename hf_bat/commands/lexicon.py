"""`hf-bat lexicon`: build, convert and look at substitution tables."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.commands.outputs import check_outputs
from hf_bat.errors import HfBatError
from hf_bat.files import write_atomically

if TYPE_CHECKING:
    from hf_bat.lexicon import SubstitutionTable, Vocabulary

HELP = "build, convert, look at and push substitution tables (synonyms, antonyms)"
_EXAMPLES = {
    "build": """\
  hf-bat lexicon build antonyms --output antonyms.json.gz
  hf-bat lexicon build synonyms --vectors counter-fitted-vectors.txt --data train.jsonl.gz \\
      --task snli --output synonyms.json.gz
""",
    "convert": "  hf-bat lexicon convert released_synonyms.pkl --output synonyms.json.gz\n",
    "info": "  hf-bat lexicon info synonyms.json.gz --words car children\n",
    "push": "  hf-bat lexicon push synonyms.json.gz OWNER/NAME --private\n",
}
EPILOG = "examples:\n" + "".join(_EXAMPLES.values())
_SAMPLE = 5
_TABLE = "a table's file, hf://datasets/OWNER/NAME, default-synonyms or default-antonyms"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `hf-bat lexicon`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)

    def add(name: str, summary: str, description: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name,
            help=summary,
            description=description,
            epilog=f"examples:\n{_EXAMPLES[name]}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    build = add(
        "build",
        "build a table from WordNet or word vectors",
        "Build a table from WordNet, or synonyms from a file of word vectors.",
    )
    build.add_argument("kind", choices=["antonyms", "synonyms"], help="what to build")
    build.add_argument(
        "--output", required=True, type=Path, help="table to write: .json or .json.gz"
    )
    build.add_argument(
        "--wordnet",
        choices=["bundled", "nltk"],
        help="which WordNet: the bundled relations (default), or the one that NLTK has downloaded",
    )
    vectors = build.add_argument_group("synonyms from word vectors")
    vectors.add_argument("--vectors", type=Path, help="text file of word vectors, gzipped or not")
    vectors.add_argument(
        "--procedure",
        choices=["components", "topk"],
        help="connected components, which made the paper's tables (default), or nearest neighbours",
    )
    vectors.add_argument("--threshold", type=float, help="least similarity (default: 0.8)")
    vectors.add_argument(
        *_flag("components_removed"),
        type=int,
        help="principal components to remove (default: 8 for components, 0 for topk)",
    )
    vectors.add_argument(
        *_flag("max_size"), type=int, help="largest set, the word itself counted (default: 100)"
    )
    words = build.add_argument_group(
        "vocabulary (needed with --vectors; else all of WordNet's words)"
    )
    words.add_argument("--data", nargs="+", type=Path, help="data files whose words to take")
    words.add_argument(
        "--task", *_flag("task_name"), help="the task whose columns these files have"
    )
    words.add_argument("--columns", nargs="+", help="text columns, instead of --task")
    words.add_argument(
        *_flag("min_count"), type=int, help="how often a word must occur in the data (default: 2)"
    )
    words.add_argument(
        "--vocabulary", type=Path, help="file with one word a line, instead of --data"
    )
    words.add_argument(
        "--evaluated",
        nargs="+",
        type=Path,
        default=[],
        help="data files that will be evaluated: says so if one of them feeds the vocabulary",
    )

    convert = add(
        "convert",
        "rewrite a table (a released pickle, a plain JSON file) in hf_bat's format",
        "Rewrite a table in hf_bat's format: a pickle, of which nothing is run, or a plain JSON file.",
    )
    convert.add_argument("table", type=Path, help="the table to read")
    convert.add_argument("--output", required=True, type=Path, help="table to write")

    info = add("info", "what a table holds", "What a table holds, and how it was made.")
    info.add_argument("table", help=_TABLE)
    info.add_argument("--words", nargs="+", default=[], help="words whose replacements to show")

    push = add(
        "push",
        "write a table to a data set of the Hub",
        "Write a table to a data set of the Hub; `hf auth login` first.\n"
        "It is read from there as hf://datasets/OWNER/NAME.",
    )
    push.add_argument("table", help=_TABLE)
    push.add_argument(
        "repo_id", metavar="OWNER/NAME", help="the data set; made where it is not there"
    )
    push.add_argument("--private", action="store_true", help="make it private if it is made")
    for action in (build, convert, info, push):
        action.add_argument("--json", type=Path, help="write what is printed to this file, as JSON")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; returns the exit status."""
    check_outputs(args, *(["output"] if args.action in ("build", "convert") else []), "json")
    if args.action == "info":
        _report(_info(args.table, args.words), args.json)
        return 0
    if args.action == "push":
        table = _load(args.table)
        pushed = table.push_to_hub(args.repo_id, private=args.private or None)
        _report({"pushed": pushed, **_summary(table)}, args.json)
        return 0
    from hf_bat.lexicon import SubstitutionTable

    table = _build(args) if args.action == "build" else SubstitutionTable.load(args.table)
    if not table:
        raise HfBatError("the table would be empty; nothing was written")
    table.save(args.output)
    _report({"output": str(args.output), **_summary(table)}, args.json)
    return 0


def _flag(name: str) -> list[str]:
    """`--min_count` and `--min-count` are the same."""
    return [f"--{name}", f"--{name.replace('_', '-')}"]


def _build(args: argparse.Namespace) -> SubstitutionTable:
    from hf_bat.lexicon import (
        antonyms_from_wordnet,
        load_wordnet,
        synonyms_from_vectors,
        synonyms_from_wordnet,
    )

    names = ("procedure", "threshold", "components_removed", "max_size")
    options = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.vectors is None:
        if options:
            raise HfBatError(f"--{next(iter(options))} needs --vectors")
        vocabulary = _vocabulary(args)
        words = vocabulary.words if vocabulary else None
        wordnet = load_wordnet(args.wordnet or "bundled")
        build = antonyms_from_wordnet if args.kind == "antonyms" else synonyms_from_wordnet
        table = build(words, wordnet)
        if vocabulary:
            table.metadata["vocabulary"] = vocabulary.metadata
        return table
    if args.kind == "antonyms":
        raise HfBatError("antonyms are built from WordNet: leave --vectors out")
    if args.wordnet:
        raise HfBatError("give --vectors or --wordnet, not both")
    vocabulary = _vocabulary(args)
    if vocabulary is None:
        raise HfBatError(
            "synonyms from vectors need words: give --data FILE --task NAME, or --vocabulary"
        )
    return synonyms_from_vectors(args.vectors, vocabulary, **options)


def _vocabulary(args: argparse.Namespace) -> Vocabulary | None:
    from hf_bat.lexicon import Vocabulary, leakage_report, vocabulary_from_splits
    from hf_bat.tasks import get_task, load_split

    if args.data and args.vocabulary:
        raise HfBatError("give --data or --vocabulary, not both")
    if not args.data:
        unused = [
            f"--{n}" for n in ("task", "columns", "min_count", "evaluated") if getattr(args, n)
        ]
        if unused:
            raise HfBatError(f"{unused[0]} needs --data")
        return Vocabulary(_read_words(args.vocabulary)) if args.vocabulary else None
    if bool(args.task) == bool(args.columns):
        raise HfBatError("--data needs --task NAME or --columns COLUMN [COLUMN], one of the two")
    columns = args.columns or get_task(args.task).columns
    min_count = 2 if args.min_count is None else args.min_count
    if min_count < 1:
        raise HfBatError(f"--min_count must be 1 or more, got {min_count}")
    splits = {_split_name(path, args.data): load_split(path) for path in args.data}
    vocabulary = vocabulary_from_splits(splits, columns, min_count)
    evaluated = {_split_name(path, args.evaluated): load_split(path) for path in args.evaluated}
    for line in leakage_report(vocabulary.metadata, evaluated, columns) if evaluated else []:
        print(f"hf-bat: warning: {line}", file=sys.stderr)
    return vocabulary


def _split_name(path: Path, among: list[Path]) -> str:
    """A file's name without its endings; its folder goes before it where two names are the same."""
    name = path.name.split(".")[0]
    same = [other for other in among if other.name.split(".")[0] == name]
    return name if len(same) == 1 else f"{path.resolve().parent.name}/{name}"


def _read_words(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HfBatError(f"cannot read the vocabulary {path}: {error}") from error
    words = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not words:
        raise HfBatError(f"the vocabulary {path} is empty")
    return words


def _summary(table: SubstitutionTable) -> dict[str, Any]:
    sizes = sorted(len(others) for others in table.values())
    return {
        "words": len(table),
        "replacements": sum(sizes),
        "largest_set": sizes[-1] if sizes else 0,
        "fingerprint": table.fingerprint,
        "metadata": table.metadata,
    }


def _load(name: str) -> SubstitutionTable:
    from hf_bat.lexicon import SubstitutionTable, default_antonyms, default_synonyms

    defaults = {"default-synonyms": default_synonyms, "default-antonyms": default_antonyms}
    return defaults[name]() if name in defaults else SubstitutionTable.load(name)


def _info(name: str, words: list[str]) -> dict[str, Any]:
    from hf_bat.lexicon import default_antonyms

    table, antonyms = _load(name), default_antonyms()
    shared = sum(len(others) for others in table.values()) - sum(
        len(others) for others in table.minus(antonyms).values()
    )
    step = max(1, len(table) // _SAMPLE)
    shown = words or sorted(table)[::step][:_SAMPLE]
    return {
        "table": name,
        **_summary(table),
        "replacements_that_wordnet_calls_antonyms": shared,
        "sample": {word: list(table.get(word, ())) for word in shown},
    }


def _report(content: dict[str, Any], path: Path | None) -> None:
    for key, value in content.items():
        if isinstance(value, dict):
            print(f"{key}:")
            for name, entry in value.items():
                print(f"  {name}: {json.dumps(entry, ensure_ascii=False)}")
        else:
            print(f"{key}: {value}")
    if path is not None:
        write_atomically(path, json.dumps(content, indent=1) + "\n")
