"""From flags and a grid to runs, each with the key that names its folder."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.methods import DEFAULT_METHOD, METHODS
from hf_bat.sweep.flags import build_arguments, check_own
from hf_bat.sweep.identity import argument_defaults, identity

SEEDS = ("seed", "data_seed")
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
    method = METHODS.get(arguments.get("method", DEFAULT_METHOD))
    if method is None:
        return dict(arguments)  # `make_run` says that there is no such method
    unused = method.list_unused(arguments)
    return {name: value for name, value in arguments.items() if name not in unused}


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
    defaults = argument_defaults()
    check_own(n for n, value in arguments.items() if value != defaults.get(n, value))
    for name in _COUNTS:
        value = arguments.get(name)
        if value is not None and value < 1:
            raise HfBatError(f"--{name} must be at least 1, not {value}")
    run, training = build_arguments(arguments, "checked")
    if run.representations < 0:
        raise HfBatError(f"--representations must be at least 0, not {run.representations}")
    training.check_epochs(training.clean_epochs)
    content = json.dumps([identity(arguments), list(launcher)], sort_keys=True)
    key = hashlib.sha256(content.encode("utf-8")).hexdigest()[:16]
    return Run(key, arguments, tuple(launcher))
