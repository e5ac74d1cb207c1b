"""From flags and a grid to runs, each with the key that names its folder."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from hf_bat.canonicalize import MAPPING_VERSION
from hf_bat.errors import HfBatError
from hf_bat.lexicon.hub import fetch_table, is_hub_address
from hf_bat.method_checks import check_epochs
from hf_bat.methods import (
    DEFAULT_EDITS,
    METHOD_WEIGHTS,
    OF_TRIPLET_TERM,
    OPTION_METHODS,
    WEIGHTS,
    defaults_of,
)
from hf_bat.perturbations.number import NUMBER_VERSION
from hf_bat.sweep.arguments import (
    DEFAULTS,
    FILES,
    IMMATERIAL,
    MODELS,
    TABLES,
    material,
    without_secrets,
)

SEEDS = ("seed", "data_seed")
_ALIASES = {"lambda": "contrastive_weight"}
# Arguments that a run has of the sweep, and why.
_OWN = {
    "output_dir": "each run has its own folder",
    "resume_from_checkpoint": "runs resume by themselves",
    "hub_token": "it would stand in every result; log in with `hf auth login` or set HF_TOKEN",
}
_NO_PUSH = (
    "all runs would go to one repository; give --keep_model, and push a run's model afterwards with "
    "`hf upload OWNER/NAME FOLDER/runs/KEY/model .`"
)
# Arguments that count rows or batches; transformers takes any number for them.
_COUNTS = (
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "max_train_samples",
    "max_eval_samples",
)


@dataclass(frozen=True)
class Run:
    """One training with its evaluation.

    Attributes:
        key: 16 hexadecimal digits, the same for runs whose results must be the same.
        arguments: of `RunArguments` and `BalancedTrainingArguments`, those that are not the default.
        launcher: the words before the training module, such as `accelerate launch --multi_gpu`.

    Example:
        >>> Run("0123456789abcdef", {"method": "normal", "seed": 1}).label(["method", "seed"])
        'method=normal seed=1'
    """

    key: str
    arguments: Mapping[str, Any]
    launcher: tuple[str, ...] = ()

    def label(self, names: Sequence[str]) -> str:
        """`name=value` of the named arguments that the run has."""
        shown = [f"{n}={self.arguments[n]}" for n in names if n in self.arguments]
        return " ".join(shown) or "the base"


def parse_flags(words: str | Sequence[str]) -> dict[str, Any]:
    """Read flags of a run, as one would give them to `examples/run_glue_bat.py`.

    Args:
        words: one string, split as a shell does, or the words.

    Returns:
        The given arguments alone, typed.

    Raises:
        HfBatError: a flag that does not exist, a value of the wrong type, or what the sweep decides.

    Example:
        >>> parse_flags("--task snli --learning_rate 2e-5 --bf16 --attacks antonym synonym")
        {'task_name': 'snli', 'learning_rate': 2e-05, 'bf16': True, 'attacks': ['antonym', 'synonym']}
    """
    words = split_words(words, "the runs' flags") if isinstance(words, str) else list(words)
    found = dict(vars(_given_parser().parse_args(words)))
    _check_own(found)
    for name in ("do_train", "do_eval"):
        if found.get(name) is False:
            raise HfBatError(f"leave --{name} False out: every run trains and is evaluated")
    order = [word.removeprefix("--").split("=")[0] for word in words]
    return dict(sorted(found.items(), key=lambda item: _place(item[0], order)))


def split_words(text: str, what: str) -> list[str]:
    """Words as a shell splits them.

    Args:
        text: what to split.
        what: names it where its quotes are not closed.

    Returns:
        The words.

    Raises:
        HfBatError: a quotation is not closed.

    Example:
        >>> split_words("launch --name 'two words'", "--launcher")
        ['launch', '--name', 'two words']
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise HfBatError(
            f"{what}: {str(error).lower()}; close the quotes, or escape them"
        ) from error


def _check_own(names: Iterable[str]) -> None:
    """Refuse arguments that are not for runs; their values, which may be secret, are not repeated."""
    for name in names:
        is_push = name == "push_to_hub" or name.startswith("hub_")
        why = _OWN.get(name, _NO_PUSH if is_push else None)
        if why:
            raise HfBatError(f"leave --{name} out of the runs' flags: {why}")


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else -1


@lru_cache(maxsize=1)
def _given_parser() -> Any:
    """A parser whose result holds only what was given."""
    import argparse

    parser = _run_parser()
    for action in parser._actions:
        action.default, action.required = argparse.SUPPRESS, False
    return parser


def _run_parser() -> Any:
    from transformers import HfArgumentParser

    from hf_bat.sweep.arguments import RunArguments
    from hf_bat.training_args import BalancedTrainingArguments

    class Parser(HfArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise HfBatError(f"the runs' flags: {message}")

    return Parser((RunArguments, BalancedTrainingArguments), add_help=False, allow_abbrev=False)


def build_arguments(arguments: Mapping[str, Any], output_dir: str) -> tuple[Any, Any]:
    """The two objects that a run works with.

    Args:
        arguments: of a `Run`.
        output_dir: the Trainer's folder.

    Raises:
        HfBatError: arguments that are missing, unknown or do not go together.
    """
    from hf_bat.tasks import task_of_arguments

    if arguments.get("model_name_or_path") is None:
        raise HfBatError("the runs' flags name no --model_name_or_path")
    if (arguments.get("task_name") is None) == (arguments.get("columns") is None):
        raise HfBatError("the runs' flags need either --task_name or --columns")
    task_of_arguments(arguments)
    try:
        run, training = _run_parser().parse_dict(
            {**DEFAULTS, **arguments, "output_dir": output_dir}
        )
    except HfBatError:
        raise
    except (ImportError, OSError, TypeError, ValueError) as error:
        raise HfBatError(f"the runs' flags: {str(error).splitlines()[0]}") from error
    return run, training


def read_grid(axes: Sequence[str]) -> dict[str, list[Any]]:
    """Read the axes of a grid.

    Args:
        axes: `name=value,value,...` each; `lambda` stands for `contrastive_weight`. The members of a list
            stand apart by blanks: `attacks=antonym,antonym synonym`.

    Returns:
        Name -> typed values, in the order given.

    Raises:
        HfBatError: not of that form, an unknown name, a value of the wrong type, or an axis given twice.

    Example:
        >>> read_grid(["alpha=0.5,1", "seed=1,2"])
        {'alpha': [0.5, 1.0], 'seed': [1, 2]}
        >>> read_grid(["obstinate_edits=antonym,antonym negation"])
        {'obstinate_edits': [['antonym'], ['antonym', 'negation']]}
    """
    grid: dict[str, list[Any]] = {}
    for axis in axes:
        name, equals, values = axis.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        name = _ALIASES.get(name, name)
        _check_own([name])  # first, for what else is refused is shown whole
        parts = [value.strip() for value in values.split(",")]
        if not equals or not name or not all(parts):
            raise HfBatError(f"--grid {axis!r} is not of the form name=value,value,...")
        if name in grid:
            raise HfBatError(f"--grid names {name} twice")
        try:
            grid[name] = [
                parse_flags([f"--{name}", *_members(name, value)])[name] for value in parts
            ]
        except (HfBatError, ValueError) as error:
            raise HfBatError(f"--grid {axis!r}: {error}") from error
        if len(set(map(str, grid[name]))) < len(parts):
            raise HfBatError(f"--grid {axis!r} gives a value twice")
    return grid


def _members(name: str, value: str) -> list[str]:
    """The members of a list, split as a shell does; what is no list is one word, with its blanks."""
    lists = {action.dest for action in _given_parser()._actions if action.nargs == "+"}
    return shlex.split(value) if name in lists else [value]


def make_grid(
    base: Mapping[str, Any], grid: Mapping[str, Sequence[Any]], launcher: Sequence[str] = ()
) -> list[Run]:
    """Every combination of the grid's values over the base, each checked and once.

    Where the grid varies the method, a weight or option that a method does not have is left out for
    it: `method=normal,pairwise` with `alpha=0.5,1` makes three runs.

    Args:
        base: arguments of every run.
        grid: name -> values; empty for the base alone.
        launcher: see `Run`.

    Returns:
        The runs, the last name's values changing fastest.

    Raises:
        HfBatError: what cannot be run, before anything is.

    Example:
        >>> runs = make_grid({"model_name_or_path": "MODEL", "task_name": "snli"}, {"seed": [1, 2]})
        >>> [run.label(["seed"]) for run in runs]
        ['seed=1', 'seed=2']
    """
    combinations = [
        {**base, **dict(zip(grid, values, strict=True))}
        for values in itertools.product(*grid.values())
    ]
    if "method" in grid:
        combinations = [fitting(arguments) for arguments in combinations]
        check_taken([*base, *grid], combinations)
    runs: dict[str, Run] = {}
    for arguments in combinations:
        run = make_run(arguments, launcher)
        runs.setdefault(run.key, run)
    return list(runs.values())


def check_taken(given: Iterable[str], fitted: Sequence[Mapping[str, Any]]) -> None:
    """Refuse an argument that `fitting` left in no run.

    Args:
        given: the names that the user gave.
        fitted: each run's arguments, as `fitting` returns them.

    Raises:
        HfBatError: no run's method has an argument of such a name.

    Example:
        >>> check_taken(["alpha"], [{"method": "normal"}, {"method": "pairwise", "alpha": 1.0}])
    """
    methods = dict.fromkeys(arguments.get("method", "normal") for arguments in fitted)
    for name in given:
        if not any(name in arguments for arguments in fitted):
            raise HfBatError(
                f"--{name} is used by none of these runs (methods: {', '.join(methods)}); leave it out"
            )


def fitting(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments without weights and options that their method does not have.

    Example:
        >>> fitting({"method": "normal", "alpha": 1.0, "seed": 1})
        {'method': 'normal', 'seed': 1}
    """
    method = arguments.get("method", "normal")
    weights = METHOD_WEIGHTS.get(method)
    if weights is None:
        return dict(arguments)  # `make_run` says that there is no such method
    foreign = {name for name in WEIGHTS if name not in weights}
    foreign |= {name for name, methods in OPTION_METHODS.items() if method not in methods}
    if method == "likelihood" and not arguments.get("contrastive_weight"):
        foreign |= {*OF_TRIPLET_TERM}
    if arguments.get("eval_distances"):
        foreign -= {"distance", "pooling"}  # which every method is measured by then
    return {name: value for name, value in arguments.items() if name not in foreign}


def make_run(arguments: Mapping[str, Any], launcher: Sequence[str] = ()) -> Run:
    """Check arguments and give them their key.

    Args:
        arguments: of the run, defaults left out or not: they count the same (but for a `pooling`, whose
            default is the model's, which is not loaded here).
        launcher: see `Run`.

    Returns:
        The run, with its key.

    Raises:
        HfBatError: arguments that do not go together, or a file that is not there.

    Example:
        >>> run = make_run({"model_name_or_path": "MODEL", "task_name": "snli"})
        >>> run.key == make_run({**run.arguments, "method": "normal"}).key  # the default
        True
    """
    arguments = dict(sorted(arguments.items()))
    defaults = _defaults()
    _check_own(n for n, value in arguments.items() if value != defaults.get(n, value))
    for name in _COUNTS:
        value = arguments.get(name)
        if value is not None and value < 1:
            raise HfBatError(f"--{name} must be at least 1, not {value}")
    run, training = build_arguments(arguments, "checked")
    if run.representations < 0:
        raise HfBatError(f"--representations must be at least 0, not {run.representations}")
    check_epochs(training, training.clean_epochs)
    content = json.dumps([identity(arguments), list(launcher)], sort_keys=True)
    key = hashlib.sha256(content.encode("utf-8")).hexdigest()[:16]
    return Run(key, arguments, tuple(launcher))


def identity(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a result depends on: the arguments that matter, and hashes in the place of paths.

    Args:
        arguments: of a run.

    Returns:
        A JSON object. Data of the Hub count by the task's name, models of the Hub by theirs, tables of the
        Hub by their content.

    Raises:
        HfBatError: a file is missing, or a table on the Hub cannot be had.
    """
    defaults = {**_defaults(), **DEFAULTS}
    counted = material(arguments)
    found = {
        name: value
        for name, value in without_secrets(arguments).items()
        if (name in counted or name not in IMMATERIAL) and value != defaults.get(name, _MISSING)
    }
    for name in counted & found.keys():  # flags make floats of steps, which may be a share of all
        if isinstance(found[name], float) and found[name].is_integer():
            found[name] = int(found[name])
    # An option that is not given and one given its method's default are the same.
    method = arguments.get("method", "normal")
    for name, default in {**_EDITS, **defaults_of(method, arguments)}.items():
        if name in found and found[name] == default:
            del found[name]
    # Weights stand there, given or not, since before other options had defaults of a method.
    for name, weight in METHOD_WEIGHTS[method].items():
        found.setdefault(name, weight)
    if arguments.get("canonicalize"):
        found["canonicalize"] = MAPPING_VERSION
    if "number" in (*(arguments.get("obstinate_edits") or ()), *(arguments.get("attacks") or ())):
        found["number"] = NUMBER_VERSION
    for name in FILES:
        if arguments.get(name) is not None:
            found[name] = {"sha256": _hash_file(_local_file(arguments[name], name), name)}
    for name in MODELS:
        if arguments.get(name) is not None and Path(arguments[name]).is_dir():
            found[name] = {"sha256": _hash_model(Path(arguments[name]), name)}
    return found


_MISSING = object()
_EDITS = {"obstinate_edits": list(DEFAULT_EDITS)}


@lru_cache(maxsize=1)
def _defaults() -> dict[str, Any]:
    from dataclasses import MISSING, fields

    from hf_bat.sweep.arguments import RunArguments
    from hf_bat.training_args import BalancedTrainingArguments

    both = (*fields(RunArguments), *fields(BalancedTrainingArguments))
    return {field.name: field.default for field in both if field.default is not MISSING}


def _local_file(path: str, name: str) -> str:
    """A file that is here; that of a table on the Hub as it is there now."""
    if name not in TABLES or not is_hub_address(path):
        return path
    try:
        return str(fetch_table(path))
    except HfBatError as error:
        raise HfBatError(f"--{name} {path}: {error}") from error


def _hash_file(path: str, name: str) -> str:
    try:
        found = os.stat(path)
        return _hash_content(path, found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise HfBatError(f"--{name} {path}: {error.strerror}") from error


@lru_cache(maxsize=256)
def _hash_content(path: str, size: int, changed: int) -> str:
    """Of a file as it is now; one that was written anew since is read again."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _hash_model(folder: Path, name: str) -> str:
    """Of a model folder's weights, configuration and tokenizer; not of cards or checkpoints in it."""
    endings = (".json", ".txt", ".model", ".safetensors", ".bin")
    files = sorted(p for p in folder.iterdir() if p.suffix in endings and p.is_file())
    if not (folder / "config.json").is_file():
        raise HfBatError(f"--{name} {folder} holds no model: it has no config.json")
    parts = [f"{p.name} {_hash_file(str(p), name)}" for p in files]
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()
