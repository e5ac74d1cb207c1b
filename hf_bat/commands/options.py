"""Options that several commands share, and functions that load their task, model, rows and files."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError
from hf_bat.files import check_writable, identify_file, is_model_file, load_object

if TYPE_CHECKING:
    from hf_bat.attack.engine import Classifier
    from hf_bat.evaluation.suites import SuiteRows
    from hf_bat.perturbations import AntonymPerturbation, SynonymPerturbation
    from hf_bat.tasks import Task

# Options and arguments for input files. `--rows` is only an input of `hf-bat compare`.
_INPUTS = (
    "data", "reports", "rows", "table", "synonyms", "antonyms", "toxic_words", "canonicalize", "vectors",
    "vocabulary", "evaluated",
)  # fmt: skip


def parse_count(text: str) -> int:
    """Parse a whole number of at least 1, as an argparse type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1; got {text}")
    return int(text)


def parse_seed(text: str) -> int:
    """Parse a seed that both numpy and torch accept, as an argparse type."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be a seed from 0 to {2**32 - 1}; got {text}")
    return int(text)


# Option -> its keywords for argparse, with its other spellings in `also`.
_SHARED: dict[str, dict[str, Any]] = {
    # `dest` is the name in the arguments of the training script, which `choose_task` reads.
    "--task": {
        "also": ["--task_name"],
        "dest": "task_name",
        "metavar": "TASK",
        "help": "a known task, with its columns and labels",
    },
    "--columns": {"nargs": "+", "help": "one or two text columns, for your own task"},
    "--label-column": {
        "also": ["--label_column"],
        "default": "label",
        "help": "label column, for your own task",
    },
    "--label-names": {
        "also": ["--label_names", "--class_names", "--class-names"],
        "dest": "class_names",
        "metavar": "NAME",
        "nargs": "+",
        "default": [],
        "help": "label names in order, for your own task",
    },
    "--data": {"also": ["--validation_file"], "help": "csv, tsv, json, jsonl or parquet"},
    "--dataset-name": {
        "also": ["--dataset_name"],
        "metavar": "HUB_ID",
        "help": "a data set on the Hub instead of --data (default with --split: the task's)",
    },
    "--dataset-config-name": {
        "also": ["--dataset_config_name"],
        "metavar": "NAME",
        "help": "its configuration",
    },
    "--dataset-revision": {
        "also": ["--dataset_revision"],
        "metavar": "NAME",
        "help": "its branch, tag or commit",
    },
    "--split": {
        "metavar": "NAME",
        "help": "its split (default: the one that the task evaluates)",
    },
    "--token": {"help": "Hub token for private models and data (default: the logged-in user's)"},
    "--revision": {
        "also": ["--model_revision"],
        "metavar": "NAME",
        "help": "branch, tag or commit of --model on the Hub",
    },
    "--trust-remote-code": {
        "also": ["--trust_remote_code"],
        "action": "store_true",
        "help": "run code from the repository of --model",
    },
    "--max-samples": {"type": int, "metavar": "N", "help": "use only N rows; see --row-choice"},
    "--row-choice": {
        "also": ["--row_choice"],
        "default": "even",
        "help": "which rows --max-samples selects: even (default; spread over the file) or first",
    },
    "--model": {"help": "folder or Hub id of a sequence classifier"},
    "--model-from": {
        "metavar": "MODULE:NAME",
        "help": "instead of --model: a function (or an endpoint), a CallableModel, or an object with "
        "predict_proba in a module or a .py file",
    },
    "--tokenizer": {"help": "its tokenizer (default: the model's)"},
    "--max-seq-length": {
        "type": int,
        "help": "maximum tokens, as in training (default: the model's limit)",
    },
    "--batch-size": {"type": int, "help": "inputs per forward pass (default: CPU 32, GPU 256)"},
    "--device": {"help": "cpu, cuda, cuda:1 (default: a GPU if available)"},
    "--dtype": {"default": "float32", "help": "float32 (default), bfloat16 or float16"},
    "--canonicalize": {
        "nargs": "?",
        "const": "",  # without a file, use the table from training
        "metavar": "FILE",
        "help": "rewrite texts with canonical words, a preprocessing defense stated in the report, using "
        "this synonym table (default: the one from training, or the bundled WordNet table)",
    },
    "--synonyms": {
        "metavar": "FILE",
        "help": "table, or wordnet for WordNet's fewer synonyms (default: the bundled counter-fitted "
        "neighbors)",
    },
    "--antonyms": {"metavar": "FILE", "help": "table (default: the bundled lexicon's)"},
    "--splitter": {
        "metavar": "MODULE:NAME",
        "help": "function that splits a text into words, for languages without spaces between words",
    },
    "--casing": {"default": "keep", "help": "case of replacements: keep (default) or authors"},
    "--no-fit-grammar": {
        "also": ("--no_fit_grammar",),
        "dest": "fit_grammar",
        "action": "store_false",
        "help": "leave antonyms as in the table and a/an as in the text, like the paper's code",
    },
    "--seed": {"type": parse_seed, "default": 0, "help": "random seed (default: %(default)s)"},
    "--skipped-labels": {
        "also": ("--skipped_labels",),
        "nargs": "+",
        "default": [],
        "help": "negative label of a paraphrase task that is not built in",
    },
    "--label-flip": {
        "also": ("--label_flip",),
        "nargs": "+",
        "default": [],
        "metavar": "OLD=NEW",
        "help": "single sentences: how an antonym changes the label",
    },
    "--json": {"metavar": "FILE", "help": "write the results and more details as JSON"},
    "--quiet": {
        "action": "store_true",
        # With a default, the parser of `info` would override `hf-bat lexicon --quiet info`.
        "default": argparse.SUPPRESS,
        "help": "print only errors; files are still written",
    },
}
TASK = ("--task", "--columns", "--label-column", "--label-names")
MODEL = ("--model", "--model-from", "--tokenizer", "--revision", "--trust-remote-code")
# Options that the rules of a command need in addition to the task.
RULES = ("--skipped-labels", "--label-flip")
DATA = (
    "--data", "--dataset-name", "--dataset-config-name", "--dataset-revision", "--split", "--token",
)  # fmt: skip
EXECUTION = ("--max-seq-length", "--batch-size", "--device", "--dtype")


def add_shared(parser: Any, *names: str, **changes: Any) -> None:
    """Add options that several commands share. `changes` are keywords that differ in this command."""
    for name in names:
        keywords = {**_SHARED[name], **changes}
        parser.add_argument(name, *keywords.pop("also", ()), **keywords)


def load_task(args: argparse.Namespace, default: str | None = None) -> Task:
    """Return the task given by `--task` or `--columns`, or the default task."""
    from hf_bat.tasks import build_task

    name = args.task_name or (None if args.columns else default)
    return build_task({**vars(args), "task_name": name})


def names_rows(args: argparse.Namespace) -> bool:
    """Return whether the options in `DATA` specify rows."""
    return bool(args.data or args.dataset_name or args.split)


def name_data(args: argparse.Namespace, task: Task) -> str:
    """Return the file or Hub data set given by the options in `DATA`."""
    return str(args.data or args.dataset_name or (task.hub or ("no data",))[0])


def shorten_data(args: argparse.Namespace, task: Task) -> str:
    """Return a name of the rows that can be published, without the folder of a file."""
    return Path(args.data).name if args.data else name_data(args, task)


def load_data(args: argparse.Namespace, task: Task) -> Any:
    """Load the rows given by the options in `DATA`, from a file or the Hub."""
    from hf_bat.tasks import load_hub_split, load_split

    hub = {name: getattr(args, name) for name in ("dataset_name", "split", "dataset_revision")}
    if args.data:
        for name, value in hub.items():
            if value:
                raise HfBatError(f"--{name.replace('_', '-')} is for the Hub, --data is a file")
        return load_split(args.data, task=task)
    if not names_rows(args):
        raise HfBatError("which rows? use --data FILE, or --dataset-name HUB_ID")
    return load_hub_split(task, "validation", args.split, args.dataset_revision, args.token)


def load_rule_tables(
    args: argparse.Namespace,
) -> tuple[SynonymPerturbation | None, AntonymPerturbation | None]:
    """Return the perturbations of `--synonyms` and `--antonyms` for `build_rules`, `None` if not given."""
    from hf_bat.perturbations import build_perturbations

    # Only some commands have the option.
    casing: Any = getattr(args, "casing", "keep")
    synonym, antonym = build_perturbations(args.synonyms, args.antonyms, casing=casing)
    return synonym if args.synonyms else None, antonym if args.antonyms else None


def load_model(args: argparse.Namespace, task: Task, rows: Any) -> Classifier:
    """Load the classifier given by the options, with the defense of `--canonicalize` if it is set.

    Args:
        args: Values of the options in `MODEL`, `EXECUTION` and `--canonicalize`.
        task: The task.
        rows: Rows to classify, which may declare label names.

    Raises:
        HfBatError: If the model or a table cannot be loaded, or the labels do not fit the task.
    """
    from hf_bat.data import find_labels
    from hf_bat.labels import has_named_labels

    model = _load_classifier(args)
    if model.config is not None and task.label_names and not has_named_labels(model.config):
        # Called on all ranks, because it raises an error if the labels do not fit.
        _warn_about_order(model, find_labels(rows, task, model.config)[1].model_names)
    return defend_model(model, args)


def load_suite_model(
    args: argparse.Namespace, suite: SuiteRows
) -> tuple[Classifier, Sequence[str]]:
    """Load the classifier given by the options, and the label names of its outputs in a public suite.

    Args:
        args: As for `load_model`, and the values of `--task`, `--columns` and `--label-names`.
        suite: The suite.

    Raises:
        HfBatError: If the model or a table cannot be loaded, or the model lacks a label of the suite.
    """
    from hf_bat.labels import has_named_labels
    from hf_bat.tasks import get_task

    task_names = get_task(args.task_name).label_names if args.task_name else ()
    model = _load_classifier(args)
    names: Sequence[str] = args.class_names
    has_names = bool(names) or (model.config is not None and has_named_labels(model.config))
    if args.columns and not has_names:
        raise HfBatError(
            f"{model.name} has no label names, and the suite of your own task does not tell their order: "
            "name the model's outputs in order (--label-names)"
        )
    if model.config is not None and not has_names:
        names = suite.name_outputs(model.config, task_names)
        _warn_about_order(model, names)
    return defend_model(model, args), names


def _load_classifier(args: argparse.Namespace) -> Classifier:
    from hf_bat.attack.models import as_classifier
    from hf_bat.attack.ranks import choose_rank_device

    settings = (args.tokenizer, args.max_seq_length)
    # Models with their own code are rejected, without a prompt on the terminal.
    hub = {"trust_remote_code": args.trust_remote_code, "revision": args.revision}
    if args.model_from:
        if args.model:
            raise HfBatError("use either --model or --model-from")
        model = load_object(args.model_from)
        named = args.model_from if inspect.isroutine(model) else None
        return as_classifier(model, *settings, args.device, args.dtype, name=named)
    if not args.model:
        raise HfBatError("which model? use --model FOLDER_OR_HUB_ID or --model-from MODULE:NAME")
    # In a distributed run each process has its own device.
    device = choose_rank_device(args.device)
    hub["token"] = args.token
    return as_classifier(args.model, *settings, device, args.dtype, hub=hub)


def _warn_about_order(model: Classifier, names: Sequence[str]) -> None:
    from hf_bat.attack.ranks import rank_and_world

    if rank_and_world()[0] == 0:
        # The meaning of LABEL_0 is unknown, and a wrong order makes all results wrong.
        order = ", ".join(f"{number} {name}" for number, name in enumerate(names))
        _warn(
            f"{model.name} has no label names; its outputs are read as {order}. If the accuracy is at chance "
            "level or below, name them (id2label) in its config.json"
        )


def defend_model(model: Classifier, args: argparse.Namespace) -> Classifier:
    """Apply the defense of `--canonicalize`, if set. Warn if the model was trained with a different one."""
    from hf_bat.attack.models import CanonicalizedModel
    from hf_bat.canonicalize import Canonicalizer
    from hf_bat.lexicon.bundled import as_synonyms
    from hf_bat.saved_perturbations import load_canonicalizer, match_record, read_defense

    # Only saved models have a record.
    trained = read_defense(args.model) if args.model else None
    if args.canonicalize is None:
        if trained is not None:
            _warn(
                f"{args.model} was trained with the preprocessing defense {trained.get('name')}; without "
                "--canonicalize it reads text that it was not trained on"
            )
        return model
    if trained and not args.canonicalize:
        # Use the saved table, because the bundled one may be a different version.
        return CanonicalizedModel(model, load_canonicalizer(args.model))
    table = as_synonyms(args.canonicalize) if args.canonicalize else None
    canonicalizer = match_record(table, trained) if trained else None
    if canonicalizer is None:
        if trained:
            _warn(f"{args.model} was trained with another mapping than {args.canonicalize} gives")
        canonicalizer = Canonicalizer(table, getattr(args, "casing", "keep"))
    return CanonicalizedModel(model, canonicalizer)


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


def check_outputs(
    args: argparse.Namespace, *names: str, inputs: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Check that the output files of a command can be written and do not replace its inputs.

    `names` are the options for outputs. `inputs` are files that are read without an option.

    Example:
        >>> check_outputs(argparse.Namespace(data="d.jsonl", json="./d.jsonl"), "json")
        Traceback (most recent call last):
        hf_bat.errors.HfBatError: --json ./d.jsonl would overwrite a file that is read; name another file
    """
    protected = {identify_file(path) for path in (*inputs, *_list_inputs(args, names))}
    written: dict[object, str] = {}
    for name in names:
        value = getattr(args, name, None)
        if not value:
            continue
        path, folder = Path(value), Path(value).absolute().parent
        if not folder.is_dir():
            raise HfBatError(f"--{name}: cannot write {value}: no folder {folder}")
        if path.is_dir():
            raise HfBatError(f"--{name} {value} is a folder; name a file")
        # A pipe or a device such as /dev/stdout accepts several outputs, one after the other.
        if path.exists() and not path.is_file():
            continue
        check_writable(path, f"--{name}")
        file = identify_file(path)
        if file in protected:
            raise HfBatError(
                f"--{name} {value} would overwrite a file that is read; name another file"
            )
        if file in written:
            raise HfBatError(
                f"--{written[file]} and --{name} are one file, {value}; use different files"
            )
        written[file] = name


def print_written(*paths: str | os.PathLike[str] | None) -> None:
    """Print the written files on stderr. A path is `None` if its file was not requested."""
    written = ", ".join(str(path) for path in paths if path)
    if written:
        print(f"written: {written}", file=sys.stderr)


def describe_resume(rows_file: str | None) -> str:
    """Return a hint on how to continue an interrupted command with `--rows`."""
    if rows_file:
        return f"the same command continues after the finished rows in {rows_file}"
    return "finished rows are lost; with --rows FILE the same command would continue after them"


def locate_rows(args: argparse.Namespace) -> dict[str, str]:
    """Return the path of `--rows` relative to the report of `--json`, so both can be moved together."""
    return {"rows_file": os.path.relpath(args.rows, Path(args.json).parent)} if args.rows else {}


def _list_inputs(args: argparse.Namespace, outputs: Iterable[str]) -> list[str | Path]:
    """List the input files in the arguments, including the files of a model."""
    # An option may be an output of one command and an input of another.
    values = [getattr(args, name, None) for name in _INPUTS if name not in outputs]
    lists = [value if isinstance(value, (list, tuple)) else [value] for value in values]
    files: list[str | Path] = [path for paths in lists for path in paths if path]
    # `folders` is the argument of `hf-bat report`. These folders may also contain a model.
    for folder in (getattr(args, "model", None), *getattr(args, "folders", ())):
        if folder and Path(folder).is_dir():
            files += [path for path in Path(folder).iterdir() if is_model_file(path.name)]
    return files
