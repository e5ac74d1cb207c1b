"""Rows made ready: columns found, labels reconciled by name, unusable rows dropped with a count."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError
from hf_bat.tasks import Task

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig

logger = logging.getLogger(__name__)

# What stands for no label: the Hub's test sets have -1, torch's losses pass over -100, and SNLI has "-" for
# rows whose annotators did not agree.
UNLABELLED = (-1, -100)
NO_GOLD = "-"


@dataclass(frozen=True)
class LabelMap:
    """How the labels of the data become the labels of the model.

    Args:
        model_names: the model's label names, in the order of its outputs.
        data_names: the names of the data's integer labels, in their order.
        ids: the model's label of each of `data_names`.
    """

    model_names: tuple[str, ...]
    data_names: tuple[str, ...]
    ids: tuple[int, ...]

    def model_label(self, value: object, where: str) -> int | None:
        """The model's label for one value of the label column; None for a missing label.

        Training, attacks, certificates and contrast sets all read their labels by this.

        Args:
            value: an integer, a name, an integer in digits that is no name; None, "", NaN, -1, -100 or "-"
                for a missing one.
            where: the row, for the message.

        Returns:
            The label as the model numbers it: the value's own number where no label has a name, for
            a function says nothing of its labels.

        Raises:
            HfBatError: a value that is no label.

        Example:
            >>> LabelMap(("no", "yes"), ("yes", "no"), (1, 0)).model_label("Yes", "row 0")
            1
            >>> LabelMap((), (), ()).model_label("2", "row 0")
            2
        """
        if value is None or value == "":
            return None
        # A name first: "1" is a number only where no label has that name.
        named = find_name(value, self.data_names, where) if isinstance(value, str) else None
        if named is not None:
            return self.ids[named]
        if isinstance(value, str) and value.strip() == NO_GOLD:
            return None
        number = self._number(value, where)
        if number is None or not self.data_names:
            return number
        if not 0 <= number < len(self.data_names):
            raise HfBatError(
                f"label {number} in {where} is out of range 0..{len(self.data_names) - 1} "
                f"({', '.join(self.data_names)})"
            )
        return self.ids[number]

    def _number(self, value: Any, where: str) -> int | None:
        """The class number that a value of the label column is; None for a missing label."""
        if isinstance(value, str) and not _is_number(value):
            known = (
                f"labels: {', '.join(self.data_names)}" if self.data_names else "none has a name"
            )
            raise HfBatError(f"unknown label {value!r} in {where}; {known}")
        try:
            number = float(value)
            whole = None if math.isnan(number) or number in UNLABELLED else int(number)
        except (TypeError, ValueError, OverflowError) as error:
            raise HfBatError(
                f"label {value!r} in {where} is neither a number nor a name"
            ) from error
        if whole is not None and whole != number:
            raise HfBatError(
                f"label {value!r} in {where} is not a class; regression targets are not supported"
            )
        if whole is not None and whole < 0 and not self.data_names:
            raise HfBatError(f"label {whole} in {where} is no class; classes count from 0")
        return whole

    def data_name(self, label: int | None) -> str | None:
        """The data's name for one of the model's labels; None where it has none."""
        pairs = zip(self.data_names, self.ids, strict=True)
        return next((name for name, own in pairs if own == label), None)


def _is_number(text: str) -> bool:
    """Whether a string is a whole number in digits, as a CSV file with an empty cell has them."""
    return re.fullmatch(r"[+-]?\d+(\.0*)?", text.strip()) is not None


def _meant(names: Sequence[str], known: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What names such as "0" or "LABEL_0" mean, which only number the classes.

    Args:
        names: of labels.
        known: the names of the classes, in the order of their numbers.

    Returns:
        The names of the classes that they number, and the order of the classes: that of `known`. Other
        names as they are, in their own order.
    """
    found = [re.fullmatch(r"(?:label_)?(\d+)", _fold(name)) for name in names]
    numbers = [int(match[1]) for match in found if match]
    if sorted(numbers) != list(range(len(known))) or len(names) != len(known):
        return tuple(names), tuple(names)
    if {_fold(name) for name in names} == {_fold(name) for name in known}:
        return tuple(names), tuple(known)  # names after all
    return tuple(known[number] for number in numbers), tuple(known)


def find_name(name: str, names: Sequence[str], where: str) -> int | None:
    """Find a label's name among others, as it is written or else whatever its case.

    Args:
        name: the name.
        names: those to look among; `-`, `_` and spaces count as one another, as cases do.
        where: the row or the model, for the message.

    Returns:
        Its place; None where it is not among them.

    Raises:
        HfBatError: it is not written like any of them, and is like several but for the case.

    Example:
        >>> find_name("Not equivalent", ["not_equivalent", "equivalent"], "row 0")
        0
    """
    if name in names:
        return list(names).index(name)
    alike = [i for i, other in enumerate(names) if _fold(other) == _fold(name)]
    if len(alike) > 1:
        raise HfBatError(
            f"label {name!r} in {where} may be {' or '.join(repr(names[i]) for i in alike)}; write it as "
            "one of them"
        )
    return alike[0] if alike else None


def _fold(name: str) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


def has_named_labels(config: PretrainedConfig) -> bool:
    """Whether a model knows its labels by name, not as LABEL_0, LABEL_1, ..."""
    return any(str(name) != f"LABEL_{i}" for i, name in config.id2label.items())


def label_map(
    task: Task, config: PretrainedConfig | None, data_names: Sequence[str] | None = None
) -> LabelMap:
    """Reconcile the labels of the data with the model's, by name where both have names.

    Args:
        task: the task; its label names are those of the data where the data has none.
        config: the model's configuration; None where there is no model, then the data's order stands.
        data_names: the names that the data set itself declares for its integers.

    Returns:
        The map. A model without label names takes the data's order. Names that only number the classes,
        such as "0" and "LABEL_0", stand for the classes of those numbers where no class is called so.

    Raises:
        HfBatError: the model is no single-label classifier, or has another number of labels, or
            other names, than the data.

    Example:
        >>> from transformers import BertConfig
        >>> config = BertConfig(id2label={0: "contradiction", 1: "entailment", 2: "neutral"})
        >>> from hf_bat.tasks import get_task
        >>> label_map(get_task("snli"), config).model_label(0, "row 0")
        1
    """
    own = () if config is None else _names_of(config)
    known = task.label_names or own or tuple(f"LABEL_{i}" for i in range(len(data_names or ())))
    if config is None:
        names, order = _meant(data_names or known, known)
        return LabelMap(order, names, _places(names, order))
    check_single_label(config)
    if has_named_labels(config):
        known, _ = _meant(known, own)
    names, order = _meant(data_names or known, known)
    if len(names) != config.num_labels:
        raise HfBatError(
            f"the model has {config.num_labels} labels and the data {len(names)} "
            f"({', '.join(names)}); load the model with num_labels={len(names)}"
        )
    model_names = own if has_named_labels(config) else order
    return LabelMap(model_names, names, _places(names, model_names))


def _places(names: Sequence[str], model_names: Sequence[str]) -> tuple[int, ...]:
    """The place of each of the data's label names among the model's."""
    places: dict[int, str] = {}
    for name in names:
        place = find_name(name, model_names, "the data")
        if place is None:
            raise HfBatError(
                f"label {name!r} of the data is not one of the model's "
                f"({', '.join(model_names)}); rename the labels in model.config.id2label"
            )
        if place in places:
            raise HfBatError(
                f"labels {places[place]!r} and {name!r} of the data would both be the model's "
                f"{model_names[place]!r}; rename one of them"
            )
        places[place] = name
    return tuple(places)


def declared_names(rows: Any, column: str) -> Sequence[str] | None:
    """The label names that a data set itself declares for the integers of a column.

    Args:
        rows: a `datasets.Dataset`, or rows that declare nothing.
        column: the label column.

    Returns:
        The names, in the order of the integers; None where there are none.

    Example:
        >>> declared_names([{"label": 0}], "label") is None
        True
    """
    feature = (getattr(rows, "features", None) or {}).get(column)
    return getattr(feature, "names", None)


def label_names_of(rows: Dataset, task: Task) -> tuple[str, ...]:
    """The label names of rows: the task's own, those that the data set declares, or those that occur.

    Args:
        rows: a data set with the task's label column.
        task: the task.

    Returns:
        Names in the order of the integer labels; in alphabetical order where the labels are strings;
        LABEL_0, LABEL_1, ... where nothing names them. Strings of digits alone count as integers, and
        "-" without "+" as a missing label.

    Raises:
        HfBatError: the task has no label names and the rows have no labels.
    """
    from datasets import ClassLabel

    if task.label_names:
        return task.label_names
    if task.label_column not in rows.column_names:
        raise HfBatError(
            f"the rows have no column {task.label_column!r}; name the labels of your task"
        )
    feature = rows.features[task.label_column]
    if isinstance(feature, ClassLabel):
        return tuple(feature.names)
    return _names_that_occur(rows[task.label_column], task)


def _names_that_occur(found: Sequence[Any], task: Task) -> tuple[str, ...]:
    """Label names from the values of a label column that declares none; see `label_names_of`."""
    none = HfBatError(
        f"column {task.label_column!r} holds no class labels; name the labels of your task"
    )
    if any(isinstance(value, (list, dict)) for value in found):
        raise none
    values = {value for value in found if not _is_missing(value)}
    if NO_GOLD in values and "+" not in values:
        values.remove(NO_GOLD)
    if all(isinstance(value, str) for value in values):
        numbered = [re.fullmatch(r"label_(\d+)", _fold(value)) for value in values]
        if values and all(numbered):  # in the order of their numbers, not of the alphabet
            values = {match[1] for match in numbered if match}
        if not all(map(_is_number, values)):
            return _text_names(values, task)
    numbers = [float(value) for value in values]
    if not all(number.is_integer() for number in numbers) or max(numbers, default=-1) < 0:
        raise none
    return tuple(f"LABEL_{i}" for i in range(int(max(numbers)) + 1))


def _is_missing(value: Any) -> bool:
    """Whether a value of a label column stands for no label, whatever the labels' names."""
    if value is None or value == "" or value != value:
        return True
    if isinstance(value, str):
        return _is_number(value) and float(value) in UNLABELLED
    return value in UNLABELLED


def _text_names(values: Iterable[str], task: Task) -> tuple[str, ...]:
    """The names of labels that occur as text, in alphabetical order."""
    names = sorted(values)
    folded: dict[str, str] = {}
    for name in names:
        other = folded.setdefault(_fold(name), name)
        if other != name:
            raise HfBatError(
                f"labels {other!r} and {name!r} of column {task.label_column!r} may be one: write them "
                "alike, or name the labels of your task"
            )
    return tuple(names)


def check_single_label(config: PretrainedConfig) -> None:
    """Refuse a head that is not for single-label classification."""
    if config.num_labels < 2 or config.problem_type in (
        "regression",
        "multi_label_classification",
    ):
        kind = config.problem_type or f"{config.num_labels}-output"
        raise HfBatError(
            f"the model has a {kind} head; hf_bat trains single-label classifiers of two or more labels"
        )


def _names_of(config: PretrainedConfig) -> tuple[str, ...]:
    return tuple(str(config.id2label[i]) for i in sorted(config.id2label))


def as_dataset(rows: Any) -> Dataset:
    """Take rows in any usual form as a `datasets.Dataset`.

    Args:
        rows: a `datasets.Dataset`, a list of dicts, or a map-style torch data set of dicts.

    Raises:
        HfBatError: a streaming data set, or rows that are not dicts.
    """
    from datasets import Dataset

    if isinstance(rows, Dataset):
        return rows
    if not hasattr(rows, "__len__") or not hasattr(rows, "__getitem__"):
        raise HfBatError(
            f"{type(rows).__name__} cannot be indexed; perturbations are drawn by row number, "
            "so give a datasets.Dataset or a list of dicts"
        )
    listed = [rows[i] for i in range(len(rows))]
    if not all(isinstance(row, Mapping) for row in listed):
        raise HfBatError("each row must be a dict of columns")
    return Dataset.from_list([dict(row) for row in listed])


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
    column = label_column_of(dataset, task, config)
    if column in dataset.column_names:
        feature = dataset.features[column]
        mapped = label_map(task, config, feature.names if isinstance(feature, ClassLabel) else None)
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


def is_prepared(rows: Any, task: Task, config: PretrainedConfig | None) -> bool:
    """Whether rows are already as `prepare_dataset` makes them: numbered, and labelled as the model."""
    features = getattr(rows, "features", None) or {}
    found = getattr(features.get("label"), "names", None)
    if found is None or "idx" not in features:
        return False
    names = label_map(task, config).model_names
    if config is not None and not has_named_labels(config) and names == _names_of(config):
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
