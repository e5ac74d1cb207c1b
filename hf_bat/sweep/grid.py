"""Grids of runs: parse flags into arguments, check each combination and compute its key."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.run_arguments import make_parser
from hf_bat.sweep.key import DEFAULTS, SweepArguments, get_defaults, identify
from hf_bat.tasks import build_task

_ALIASES = {"lambda": "contrastive_weight"}
# Arguments that a sweep sets itself, and why the user cannot set them.
_RESERVED = {
    "output_dir": "each run has its own folder",
    "resume_from_checkpoint": "runs resume by themselves",
    "hub_token": "results would contain it; log in with `hf auth login` or set HF_TOKEN",
}
_NO_PUSH = (
    "all runs would push to one repository; use --keep_model, and then push a run's model "
    "with `hf upload OWNER/NAME FOLDER/runs/KEY/model .`"
)
# Argument -> its minimum value, because transformers accepts any number for these.
_LEAST = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "max_train_samples": 1,
    "max_eval_samples": 1,
    "representations": 0,
}


@dataclass(frozen=True)
class Run:
    """A training run with its evaluation.

    Attributes:
        key: 16 hexadecimal digits. Runs that must have equal results have the same key.
        arguments: The given arguments of the run, by name.
        launcher: Command that launches the run, such as `accelerate launch --multi_gpu`. If empty,
            Python is used.
        identity: Content hashed for the key, which is the arguments and the file contents when the run
            was planned.

    Example:
        >>> Run("0123456789abcdef", {"method": "normal", "seed": 1}).label(["method", "seed"])
        'method=normal seed=1'
    """

    key: str
    arguments: Mapping[str, Any]
    launcher: tuple[str, ...] = ()
    identity: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    def label(self, names: Sequence[str]) -> str:
        """Return `name=value` for the arguments with these names in the run, or "the base"."""
        shown = [f"{name}={self.arguments[name]}" for name in names if name in self.arguments]
        return " ".join(shown) or "the base"


# ---- flags ---------------------------------------------------------------------------------------


def parse_flags(words: str | Sequence[str]) -> dict[str, Any]:
    """Parse the run's flags. These are flags of `examples/run_glue_bat.py` that the sweep does not set.

    Args:
        words: The flags, as a single string or as a list of words.

    Returns:
        The given arguments with typed values.

    Raises:
        HfBatError: If a flag is unknown, a value is invalid, or the sweep sets an argument itself.

    Example:
        >>> parse_flags("--task snli --learning_rate 2e-5 --bf16 --attacks antonym synonym")
        {'task_name': 'snli', 'learning_rate': 2e-05, 'bf16': True, 'attacks': ['antonym', 'synonym']}
    """
    words = split_words(words, "the runs' flags") if isinstance(words, str) else list(words)
    arguments = vars(_get_partial_parser().parse_args(words))
    check_reserved(arguments)
    for name in ("do_train", "do_eval"):
        if arguments.get(name) is False:
            raise HfBatError(f"omit --{name} False: every run trains and evaluates")
    return arguments


def split_words(text: str, source: str) -> list[str]:
    """Split words like a shell. `source` is used in the message if a quote is not closed."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise HfBatError(f"{source}: {str(error).lower()}; close or escape the quotes") from error


def check_reserved(names: Iterable[str]) -> None:
    """Check that no argument is set by the sweep itself."""
    for name in names:
        is_push = name == "push_to_hub" or name.startswith("hub_")
        reason = _RESERVED.get(name, _NO_PUSH if is_push else None)
        if reason:
            # The value is left out, because it may be a secret.
            raise HfBatError(f"leave --{name} out of the runs' flags: {reason}")


@lru_cache(maxsize=1)
def _get_partial_parser() -> Any:
    """Return a parser without required flags that only returns the given flags."""
    parser = _make_parser()
    for action in parser._actions:
        action.default, action.required = argparse.SUPPRESS, False
    return parser


def _make_parser() -> Any:
    # Imports torch.
    from hf_bat.training_args import BalancedTrainingArguments

    classes = (SweepArguments, BalancedTrainingArguments)
    return make_parser(*classes, message="the runs' flags: {}", add_help=False, allow_abbrev=False)


def build_arguments(arguments: Mapping[str, Any], output_dir: str) -> tuple[Any, Any]:
    """Create the `SweepArguments` and `BalancedTrainingArguments` of the run."""
    if arguments.get("model_name_or_path") is None:
        raise HfBatError("the runs' flags name no --model_name_or_path")
    build_task(arguments)
    try:
        run, training = _make_parser().parse_dict(
            {**DEFAULTS, **arguments, "output_dir": output_dir}
        )
    # TrainingArguments raises different kinds of errors.
    except (ImportError, OSError, TypeError, ValueError) as error:
        raise HfBatError(f"the runs' flags: {str(error).splitlines()[0]}") from error
    return run, training


def read_grid(axes: Sequence[str]) -> dict[str, list[Any]]:
    """Parse the axes of a grid.

    Args:
        axes: Strings of the form `name=value,value,...`. `lambda` means `contrastive_weight`.
            Elements of a list are separated by spaces: `attacks=antonym,antonym synonym`.

    Returns:
        Dict of name -> typed values, in the given order.

    Raises:
        HfBatError: If the form, a name or a value is invalid, or an axis or value is given twice.

    Example:
        >>> read_grid(["alpha=0.5,1", "seed=1,2"])
        {'alpha': [0.5, 1.0], 'seed': [1, 2]}
        >>> read_grid(["obstinate_edits=antonym,antonym negation"])
        {'obstinate_edits': [['antonym'], ['antonym', 'negation']]}
    """
    grid: dict[str, list[Any]] = {}
    lists = {action.dest for action in _get_partial_parser()._actions if action.nargs == "+"}
    for axis in axes:
        name, equals, text = axis.partition("=")
        name = name.strip().removeprefix("--").replace("-", "_")
        name = _ALIASES.get(name, name)
        check_reserved([name])  # before messages that show the axis, which may contain a secret
        values = [value.strip() for value in text.split(",")]
        if not equals or not name or not all(values):
            raise HfBatError(f"--grid {axis!r} is not of the form name=value,value,...")
        if name in grid:
            raise HfBatError(f"--grid names {name} twice")
        try:
            words = [shlex.split(value) if name in lists else [value] for value in values]
            grid[name] = [parse_flags([f"--{name}", *members])[name] for members in words]
        except ValueError as error:  # includes HfBatError
            raise HfBatError(f"--grid {axis!r}: {error}") from error
        if len(set(map(str, grid[name]))) < len(values):
            raise HfBatError(f"--grid {axis!r} gives a value twice")
    return grid


# ---- runs ----------------------------------------------------------------------------------------


def make_grid(
    base: Mapping[str, Any], grid: Mapping[str, Sequence[Any]], launcher: Sequence[str] = ()
) -> list[Run]:
    """Create one run for each combination of the grid's values.

    If the grid varies the method, weights and options are left out for methods that do not have
    them. For example, `method=normal,pairwise` with `alpha=0.5,1` makes three runs.

    Args:
        base: Arguments of all runs.
        grid: Dict of name -> values. If empty, the base is the only run.
        launcher: See `Run`.

    Returns:
        The runs without duplicates. Values of the last name change fastest.

    Raises:
        HfBatError: If a combination is invalid.

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
        combinations = [drop_unused(arguments) for arguments in combinations]
        check_used([*base, *grid], combinations)
    runs: dict[str, Run] = {}
    for arguments in combinations:
        run = make_run(arguments, launcher)
        runs.setdefault(run.key, run)
    return list(runs.values())


def check_used(given: Iterable[str], combinations: Sequence[Mapping[str, Any]]) -> None:
    """Check that each given argument is used by at least one combination after `drop_unused`."""
    methods = dict.fromkeys(arguments["method"] for arguments in combinations)
    for name in given:
        if not any(name in arguments for arguments in combinations):
            raise HfBatError(
                f"--{name} is used by none of these runs (methods: {', '.join(methods)}); omit it"
            )


def drop_unused(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments without the weights and options that the method does not have."""
    # Imports torch.
    from hf_bat.methods import DEFAULT_METHOD, METHODS

    method = METHODS.get(arguments.get("method", DEFAULT_METHOD))
    # make_run raises the error for an unknown method.
    unused = set() if method is None else method.list_unused(arguments)
    return {name: value for name, value in arguments.items() if name not in unused}


def make_run(arguments: Mapping[str, Any], launcher: Sequence[str] = ()) -> Run:
    """Check the arguments of a run and compute its key.

    Args:
        arguments: Arguments of the run. Giving a default value does not change the key, except for
            `pooling`, because its default depends on the model.
        launcher: See `Run`.

    Returns:
        The run.

    Raises:
        HfBatError: If the arguments are incompatible, or a file is missing.

    Example:
        >>> run = make_run({"model_name_or_path": "MODEL", "task_name": "snli"})
        >>> run.key == make_run({**run.arguments, "method": "normal"}).key  # the default
        True
    """
    arguments = dict(sorted(arguments.items()))
    defaults = get_defaults()
    check_reserved(name for name, value in arguments.items() if value != defaults.get(name, value))
    for name, least in _LEAST.items():
        value = arguments.get(name)
        if value is not None and value < least:
            raise HfBatError(f"--{name} must be at least {least}, not {value}")
    _, training = build_arguments(arguments, "checked")
    training.check_epochs(training.clean_epochs)
    identity = identify(arguments)
    content = json.dumps([identity, list(launcher)], sort_keys=True)
    key = hashlib.sha256(content.encode("utf-8")).hexdigest()[:16]
    return Run(key, arguments, tuple(launcher), identity)
