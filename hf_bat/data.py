"""Rows made ready: columns found, labels as the model numbers them, unusable rows dropped with a count."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError
from hf_bat.labels import LabelMap, declared_names, has_named_labels, label_map, names_of
from hf_bat.tasks import Task

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig

logger = logging.getLogger(__name__)


def as_dataset(rows: Any) -> Dataset:
    """Take rows in any usual form as a `datasets.Dataset`.

    Args:
        rows: a `datasets.Dataset`, a list of dicts, or a map-style torch data set of dicts.

    Raises:
        HfBatError: a streaming data set, or rows that are not dicts.
    """
    from datasets import Dataset

    if isinstance(rows, Dataset):
        return plain(rows)
    if not hasattr(rows, "__len__") or not hasattr(rows, "__getitem__"):
        raise HfBatError(
            f"{type(rows).__name__} cannot be indexed; perturbations are drawn by row number, "
            "so give a datasets.Dataset or a list of dicts"
        )
    listed = [rows[i] for i in range(len(rows))]
    if not all(isinstance(row, Mapping) for row in listed):
        raise HfBatError("each row must be a dict of columns")
    return Dataset.from_list([dict(row) for row in listed])


def plain(rows: Any) -> Any:
    """Rows as Python values: of a data set that gives tensors or frames (`set_format`), one that does not.

    A label that is a tensor is equal to its number and not found in a set of numbers. A transform of the
    user's own (`set_transform`) stays.

    Args:
        rows: in any form.

    Returns:
        The rows, the same ones where they are plain already.

    Example:
        >>> from datasets import Dataset
        >>> rows = Dataset.from_list([{"label": 1}]).with_format("torch")
        >>> plain(rows)[0], plain([{"label": 1}])
        ({'label': 1}, [{'label': 1}])
    """
    made = getattr(rows, "format", None)
    kind = made.get("type") if isinstance(made, Mapping) else None
    return rows if kind in (None, "custom") else rows.with_format(None)


def prepare_dataset(
    rows: Any, task: Task, config: PretrainedConfig | None, name: str, keep_all: bool = False
) -> Dataset:
    """Make rows ready for the collator: text columns, `label` as the model numbers it, `idx`.

    Rows without a label (-1, -100, "-", empty) or with an empty text are dropped, and their number is logged.
    Preparing prepared rows changes nothing.

    Args:
        rows: see `as_dataset`.
        task: the task.
        config: the model's configuration, for its labels; None where there is no model.
        name: what to call the rows in messages, such as `"training set"`.
        keep_all: drop nothing (for prediction, where each row must get its answer); if any label is
            missing or has no name, the label column goes, and a missing text becomes an empty one.

    Returns:
        A `datasets.Dataset` with the task's text columns, `label` and `idx`.

    Raises:
        HfBatError: a missing column, text already tokenised away, a bad label, a repeated `idx`,
            nothing left.
    """
    from datasets import ClassLabel

    dataset = as_dataset(rows)
    dataset = dataset.rename_columns(
        {old: new for old, new in task.renames.items() if old in dataset.column_names}
    )
    _check_columns(dataset, task, name)
    dataset = _with_idx(dataset, name)
    labels: list[int | None] = [None] * len(dataset)
    names: Sequence[str] = ()
    column, mapped = labels_of(dataset, task, config)
    if column in dataset.column_names:
        names = mapped.model_names
        if names:
            labels = [
                mapped.model_label(value, f"row {i} of the {name}")
                for i, value in enumerate(dataset[column])
            ]
        dataset = dataset.remove_columns(column)
    elif not keep_all:
        raise HfBatError(
            f"the {name} has no column {task.label_column!r}; it has: {', '.join(dataset.column_names)}"
        )
    if "label" in dataset.column_names and "label" not in task.columns:
        dataset = dataset.remove_columns("label")  # not the one that the task names
    if keep_all:
        dataset = _fill_texts(dataset, task)
    else:
        dataset, labels = _drop_unusable(dataset, labels, task, name)
    if labels and all(label is not None for label in labels):
        dataset = dataset.add_column("label", labels, feature=ClassLabel(names=list(names)))
    return dataset


def label_column_of(rows: Any, task: Task, config: PretrainedConfig | None) -> str:
    """The column that holds the labels of rows: the task's, or `label` of rows that are prepared.

    Args:
        rows: a `datasets.Dataset`, or rows in any other form, which are never prepared.
        task: the task.
        config: the model's configuration; None where there is no model.

    Returns:
        The column's name; the rows need not have it.

    Example:
        >>> from hf_bat.tasks import user_task
        >>> task = user_task(["text"], label_column="gold")
        >>> label_column_of([{"text": "A dog.", "gold": 0, "label": 1}], task, None)
        'gold'
    """
    names = getattr(rows, "column_names", None) or ()
    declared = task.label_column in names or not is_prepared(rows, task, config)
    return task.label_column if declared else "label"


def labels_of(rows: Any, task: Task, config: PretrainedConfig | None) -> tuple[str, LabelMap]:
    """The column that holds the labels of rows, and how the model numbers them.

    Args:
        rows: a `datasets.Dataset`, or rows in any other form.
        task: the task.
        config: the model's configuration; None where there is no model.

    Returns:
        The column's name, and the map.

    Raises:
        HfBatError: see `label_map`.

    Example:
        >>> from hf_bat.tasks import get_task
        >>> column, labels = labels_of([{"label": 2}], get_task("snli"), None)
        >>> column, labels.data_names[2]
        ('label', 'contradiction')
    """
    column = label_column_of(rows, task, config)
    return column, label_map(task, config, declared_names(rows, column))


def is_prepared(rows: Any, task: Task, config: PretrainedConfig | None) -> bool:
    """Whether rows are already as `prepare_dataset` makes them: numbered, and labelled as the model."""
    features = getattr(rows, "features", None) or {}
    found = getattr(features.get("label"), "names", None)
    if found is None or "idx" not in features:
        return False
    names = label_map(task, config).model_names
    if config is not None and not has_named_labels(config) and names == names_of(config):
        return len(found) == len(names)  # then they have the names that their data declared
    return list(found) == list(names)


def _fill_texts(dataset: Dataset, task: Task) -> Dataset:
    for column in task.columns:
        texts = dataset[column][:]
        if not all(isinstance(text, str) for text in texts):
            filled = ["" if text is None else str(text) for text in texts]
            dataset = dataset.remove_columns(column).add_column(column, filled)
    return dataset


def _check_columns(dataset: Dataset, task: Task, name: str) -> None:
    missing = [column for column in task.columns if column not in dataset.column_names]
    if not missing:
        return
    if "input_ids" in dataset.column_names:
        raise HfBatError(
            f"the {name} is already tokenised and its text ({', '.join(missing)}) is gone; "
            "pass the raw rows, the collator tokenises them"
        )
    raise HfBatError(
        f"the {name} has no column {missing[0]!r}; it has: {', '.join(dataset.column_names)}"
    )


def _with_idx(dataset: Dataset, name: str) -> Dataset:
    if "idx" not in dataset.column_names:
        return dataset.add_column("idx", list(range(len(dataset))))
    values = dataset["idx"][:]
    if not all(isinstance(value, int) and value >= 0 for value in values):
        raise HfBatError(
            f"column 'idx' of the {name} must hold row numbers from 0; drop it to number the rows"
        )
    if len(set(values)) != len(values):
        repeated = next(v for v, n in _count(values) if n > 1)
        raise HfBatError(
            f"idx {repeated} stands more than once in the {name}; "
            "make it unique or drop the column to number the rows"
        )
    return dataset


def _count(values: Iterable[int]) -> list[tuple[int, int]]:
    from collections import Counter

    return Counter(values).most_common(1)


def _drop_unusable(
    dataset: Dataset, labels: list[int | None], task: Task, name: str
) -> tuple[Dataset, list[int | None]]:
    unlabelled = {i for i, label in enumerate(labels) if label is None}
    empty = {
        i
        for column in task.columns
        for i, text in enumerate(dataset[column])
        if not isinstance(text, str) or not text.strip()
    } - unlabelled
    if unlabelled or empty:
        logger.warning(
            "%s: dropped %d of %d rows (%d without a label, %d with an empty text)",
            name,
            len(unlabelled) + len(empty),
            len(dataset),
            len(unlabelled),
            len(empty),
        )
    keep = [i for i in range(len(dataset)) if i not in unlabelled and i not in empty]
    if not keep:
        raise HfBatError(f"the {name} has no usable row (of {len(dataset)})")
    if len(keep) < len(dataset):
        dataset = dataset.select(keep)
    return dataset, [labels[i] for i in keep]
