"""The task that a command's flags name or describe."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_bat.attack.models import Classifier
    from hf_bat.tasks import Task


def chosen_task(args: argparse.Namespace, default: str | None = None) -> Task:
    """The task of `--task`, or the user's own of `--columns`.

    Args:
        args: with `task`, `columns`, `label_column`, `label_names` and, where the command has the flag,
            `skipped_labels`.
        default: the task where neither is given.

    Raises:
        HfBatError: both or neither, an unknown task, or flags of a user's own task beside a known one.
    """
    from hf_bat.errors import HfBatError
    from hf_bat.tasks import get_task, refuse_own_flags, user_task

    name = args.task or (None if args.columns else default)
    if bool(name) == bool(args.columns):
        raise HfBatError("give either --task or --columns")
    skipped = getattr(args, "skipped_labels", ())
    if not name:
        return user_task(args.columns, args.label_names, skipped, args.label_column)
    task = get_task(name)
    refuse_own_flags(
        task,
        {
            "--label-column": args.label_column != "label",
            "--label-names": args.label_names,
            "--skipped-labels": skipped,
        },
    )
    return task


def warn_of_unnamed_labels(model: Classifier, task: Task, rows: Any = None) -> None:
    """Say on standard error in which order the labels of a model without label names are read.

    Nothing can tell LABEL_0 of one order from LABEL_0 of another, and in the wrong one every figure is wrong.

    Args:
        model: the model, with its configuration.
        task: the task.
        rows: those to be read, which may declare label names of their own.

    Raises:
        HfBatError: the model has another number of labels, or other names, than the data.
    """
    from hf_bat.attack.ranks import rank_and_world
    from hf_bat.data import labels_of
    from hf_bat.labels import has_named_labels

    if model.config is None or not task.label_names or has_named_labels(model.config):
        return
    # On every rank, for it may raise.
    names = labels_of(rows, task, model.config)[1].model_names
    if rank_and_world()[0] != 0:
        return
    order = ", ".join(f"{i} {name}" for i, name in enumerate(names))
    print(
        f"warning: {model.name} has no label names; its outputs are taken for {order}: if its accuracy is at "
        "chance or below, name them (id2label) in its config.json",
        file=sys.stderr,
    )


def seed(text: str) -> int:
    """The value of a `--seed` flag, as an argparse type: what numpy and torch both take.

    Args:
        text: what was given.

    Returns:
        The seed.

    Raises:
        argparse.ArgumentTypeError: it is no whole number from 0 to 2**32 - 1.

    Example:
        >>> seed("7")
        7
    """
    if not text.strip().isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"a seed is from 0 to {2**32 - 1}; got {text}")
    return int(text)
