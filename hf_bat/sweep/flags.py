"""The flags of runs: words and axes of a grid as typed arguments, and the objects made of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

from hf_bat.errors import HfBatError
from hf_bat.sweep.arguments import DEFAULTS, RunArguments

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
    check_own(found)
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


def check_own(names: Iterable[str]) -> None:
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
    from hf_bat.tasks import build_task

    if arguments.get("model_name_or_path") is None:
        raise HfBatError("the runs' flags name no --model_name_or_path")
    if (arguments.get("task_name") is None) == (arguments.get("columns") is None):
        raise HfBatError("the runs' flags need either --task_name or --columns")
    build_task(arguments)
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
        check_own([name])  # first, for what else is refused is shown whole
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
