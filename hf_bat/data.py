"""Prepare rows: check columns, number labels as the model does, drop unusable rows."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError
from hf_bat.labels import LabelMap, get_declared_names, reconcile_labels
from hf_bat.tasks import Task

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig

logger = logging.getLogger(__name__)


def prepare_dataset(
    rows: Any, task: Task, config: PretrainedConfig | None, name: str, keep_all: bool = False
) -> Dataset:
    """Make rows ready for the collator: text columns, `label` as the model numbers it, `idx`.

    Rows without a label (-1, -100, "-", empty) or with an empty text are dropped, and their number is
    logged under `name`. With `keep_all` (for prediction, which must answer each row) a missing text becomes
    an empty one, and the label column is removed if any label is missing or labels have no names.
    """
    from datasets import ClassLabel

    # Trainer prepares the rows before each evaluation; the mark that is set below makes that cheap.
    if _is_prepared(rows, task, config):
        return rows
    dataset = as_dataset(rows)
    dataset = dataset.rename_columns(
        {old: new for old, new in task.renames.items() if old in dataset.column_names}
    )
    _check_columns(dataset, task, name)
    dataset = _add_idx(dataset, name)
    column = find_label_column(dataset, task, config)
    label_names: tuple[str, ...] = ()
    labels: list[int | None] = [None] * len(dataset)
    if column in dataset.column_names:
        mapped = reconcile_labels(task, config, get_declared_names(dataset, column))
        label_names = mapped.model_names
        if label_names:
            labels = [
                mapped.read_label(value, f"row {i} of the {name}")
                for i, value in enumerate(dataset[column])
            ]
    elif not keep_all:
        raise HfBatError(
            f"the {name} has no column {task.label_column!r}; it has: {', '.join(dataset.column_names)}"
        )
    # `label` may also be another column than the one that the task names.
    old = {column, "label"} & set(dataset.column_names) - {*task.columns}
    dataset = dataset.remove_columns(sorted(old))
    if keep_all:
        dataset = _fill_texts(dataset, task)
    else:
        dataset, labels = _drop_unusable(dataset, labels, task, name)
    if not labels or None in labels:
        return dataset
    dataset = dataset.add_column("label", labels, feature=ClassLabel(names=list(label_names)))
    if not keep_all:
        dataset.prepared_for = (task.columns, task.label_column, dataset.features)
    return dataset


def as_dataset(rows: Any) -> Dataset:
    """Return rows in any form that `prepare_dataset` takes as a `datasets.Dataset`."""
    from datasets import Dataset

    if isinstance(rows, Dataset):
        return drop_format(rows)
    if not hasattr(rows, "__len__") or not hasattr(rows, "__getitem__"):
        raise HfBatError(
            f"{type(rows).__name__} cannot be indexed; perturbations are drawn by row number, "
            "so give a datasets.Dataset or a list of dicts"
        )
    # Not `list(rows)`, because a torch dataset need not be iterable.
    listed = [rows[i] for i in range(len(rows))]
    if not all(isinstance(row, Mapping) for row in listed):
        raise HfBatError("each row must be a dict of columns")
    return Dataset.from_list([dict(row) for row in listed])


def drop_format(rows: Any) -> Any:
    """Return rows with Python values, without the tensors or frames that `set_format` asks for."""
    # A label that is a tensor equals its number but is not found in a set of numbers. "custom" is the
    # format of `set_transform`, which is kept.
    return rows if _get_format(rows) in (None, "custom") else rows.with_format(None)


def _get_format(rows: Any) -> str | None:
    options = getattr(rows, "format", None)
    return options.get("type") if isinstance(options, Mapping) else None


def find_labels(rows: Any, task: Task, config: PretrainedConfig | None) -> tuple[str, LabelMap]:
    """Return the label column of rows in any form, and how the model numbers their labels."""
    column = find_label_column(rows, task, config)
    return column, reconcile_labels(task, config, get_declared_names(rows, column))


def find_label_column(rows: Any, task: Task, config: PretrainedConfig | None) -> str:
    """Return the label column: the task's, or `label` if `prepare_dataset` has replaced that one."""
    features = getattr(rows, "features", None) or {}
    is_replaced = task.label_column not in features and "idx" in features
    return "label" if is_replaced and _match_model(rows, task, config) else task.label_column


def _match_model(rows: Any, task: Task, config: PretrainedConfig | None) -> bool:
    """Return whether the column `label` numbers the labels as the model does."""
    names = get_declared_names(rows, "label")
    return names is not None and tuple(names) == reconcile_labels(task, config, names).model_names


def _is_prepared(rows: Any, task: Task, config: PretrainedConfig | None) -> bool:
    """Return whether `prepare_dataset` has checked these rows for this task and model."""
    mark = getattr(rows, "prepared_for", None)
    # `datasets` copies the mark when it filters rows, which keeps them prepared, but also when it
    # renames, removes or formats columns. That is why the features and the format are compared too.
    return (
        mark is not None
        and mark == (task.columns, task.label_column, rows.features)
        and _get_format(rows) is None
        and _match_model(rows, task, config)
    )


def add_lengths(
    dataset: Dataset, task: Task, tokenizer: Any, limit: int | None, column: str
) -> Dataset:
    """Add the rows' lengths in tokens to a dataset from `prepare_dataset`, which stays prepared."""
    # Without them, `Trainer` would take lengths from `input_ids`, which raw rows do not have.
    if column in dataset.column_names:
        return dataset
    texts = [dataset[c][:] for c in task.columns]
    ids = tokenizer(*texts, truncation=True, max_length=limit)["input_ids"]
    extended = dataset.add_column(column, [len(row) for row in ids])
    if hasattr(dataset, "prepared_for"):  # not after `keep_all`
        extended.prepared_for = (*dataset.prepared_for[:2], extended.features)
    return extended


def _check_columns(dataset: Dataset, task: Task, name: str) -> None:
    missing = [column for column in task.columns if column not in dataset.column_names]
    if missing:
        hint = f"it has: {', '.join(dataset.column_names)}"
        if "input_ids" in dataset.column_names:
            hint = "it is already tokenized; pass the raw rows, which the collator tokenizes"
        raise HfBatError(f"the {name} has no column {missing[0]!r}; {hint}")


def _add_idx(dataset: Dataset, name: str) -> Dataset:
    """Number the rows, whose draws depend on the number, or check the numbers that they have."""
    if "idx" not in dataset.column_names:
        return dataset.add_column("idx", list(range(len(dataset))))
    values = dataset["idx"][:]
    if not all(isinstance(value, int) and value >= 0 for value in values):
        raise HfBatError(
            f"column 'idx' of the {name} must hold row numbers from 0; drop it to number the rows"
        )
    # Rows with the same number would get the same draws.
    if len(set(values)) < len(values):
        repeated = Counter(values).most_common(1)[0][0]
        raise HfBatError(
            f"idx {repeated} is repeated in the {name}; make it unique or drop it to number the rows"
        )
    return dataset


def _fill_texts(dataset: Dataset, task: Task) -> Dataset:
    for column in task.columns:
        texts = dataset[column][:]
        if not all(isinstance(text, str) for text in texts):
            # Prediction must answer these rows, too.
            filled = ["" if text is None else str(text) for text in texts]
            dataset = dataset.remove_columns(column).add_column(column, filled)
    return dataset


def _drop_unusable(
    dataset: Dataset, labels: list[int | None], task: Task, name: str
) -> tuple[Dataset, list[int | None]]:
    unlabeled = {i for i, label in enumerate(labels) if label is None}
    empty = {
        i
        for column in task.columns
        for i, text in enumerate(dataset[column])
        if not isinstance(text, str) or not text.strip()
    } - unlabeled  # a dropped row is counted once
    dropped = unlabeled | empty
    if dropped:
        logger.warning(
            f"{name}: dropped {len(dropped)} of {len(dataset)} rows ({len(unlabeled)} without a label, "
            f"{len(empty)} with an empty text)"
        )
    if len(dropped) == len(dataset):
        raise HfBatError(f"the {name} has no usable row (of {len(dataset)})")
    if not dropped:
        return dataset, labels
    keep = [i for i in range(len(dataset)) if i not in dropped]
    return dataset.select(keep), [labels[i] for i in keep]
