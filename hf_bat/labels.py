"""Labels: what the values of a label column mean, and how the model numbers them."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError
from hf_bat.tasks import Task

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig

# What stands for no label: the Hub's test sets have -1, torch's losses pass over -100, and SNLI has "-" for
# rows whose annotators did not agree.
UNLABELLED = (-1, -100)
NO_GOLD = "-"


@dataclass(frozen=True)
class LabelMap:
    """How the labels of the data become the labels of the model.

    Args:
        model_names: the model's label names, in the order of its outputs.
        data_names: the names of the data's integer labels, in the order of these.
        ids: the model's label of each of `data_names`.
        aliases: other names of `data_names`, in their order: what the data itself calls them.
        declared: the data says itself which names its integers have (`datasets.ClassLabel`), so that
            an integer is a place whatever the names.
    """

    model_names: tuple[str, ...]
    data_names: tuple[str, ...]
    ids: tuple[int, ...]
    aliases: tuple[str, ...] = ()
    declared: bool = False

    def model_label(self, value: object, where: str) -> int | None:
        """The model's label for one value of the label column; None for a missing label.

        Training, attacks, certificates and contrast sets all read their labels by this.

        Args:
            value: a name; an integer, the place of a name, or where all names are whole numbers but not
                those from 0 up (one to five stars) a name too; an integer in digits that is no name; or None,
                "", NaN, -1, -100 or "-" for a missing label.
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
        if isinstance(value, str):
            named = self.named(value, where)
            if named is not None:
                return named
            if value.strip() == NO_GOLD:
                return None
        number = self._number(value, where)
        if number is None:
            return None
        if number in self._numbers:
            return self._numbers[number]
        if number in UNLABELLED:
            return None
        if not self.data_names:
            if number < 0:
                raise HfBatError(f"label {number} in {where} is no class; classes count from 0")
            return number
        names = ", ".join(self.data_names)
        if self._numbers:
            raise HfBatError(f"label {number} in {where} is none of {names}")
        if not 0 <= number < len(self.data_names):
            last = len(self.data_names) - 1
            raise HfBatError(f"label {number} in {where} is out of range 0..{last} ({names})")
        return self.ids[number]

    def named(self, name: str, where: str) -> int | None:
        """The model's label of a name of the data's or of the model's; None where it is neither's.

        Raises:
            HfBatError: it may be several, that differ in case alone.
        """
        if name not in self._named:  # each name is looked for once, not for each row
            self._named[name] = self._find(name, where)
        return self._named[name]

    def _find(self, name: str, where: str) -> int | None:
        for names in (self.aliases, self.data_names):
            place = find_name(name, names, where)
            if place is not None:
                return self.ids[place]
        return find_name(name, self.model_names, where)

    @cached_property
    def _named(self) -> dict[str, int | None]:
        return {}

    @cached_property
    def _numbers(self) -> dict[int, int]:
        """The model's label of each integer, where integers are names; empty where they are places."""
        names = self.aliases or self.data_names
        if self.declared or not all(map(_is_whole, names)):
            return {}
        found = dict(zip(map(int, names), self.ids, strict=True))
        # What counts from 0 up in whatever order is taken as documented: for places.
        as_places = sorted(found) == list(range(len(found)))
        return {} if as_places or len(found) < len(names) else found

    def _number(self, value: Any, where: str) -> int | None:
        """The whole number that a value of the label column is; None for NaN."""
        digits = _class_number(value) if isinstance(value, str) else value
        if digits is None:
            known = (
                f"labels: {', '.join(self.data_names)}" if self.data_names else "none has a name"
            )
            raise HfBatError(f"unknown label {value!r} in {where}; {known}")
        try:
            number = float(digits)
            whole = None if math.isnan(number) else int(number)
        except (TypeError, ValueError, OverflowError) as error:
            raise HfBatError(
                f"label {value!r} in {where} is neither a number nor a name"
            ) from error
        if whole is not None and whole != number:
            raise HfBatError(
                f"label {value!r} in {where} is not a class; regression targets are not supported"
            )
        return whole

    def data_name(self, label: int | None) -> str | None:
        """The data's name for one of the model's labels; None where it has none."""
        pairs = zip(self.data_names, self.ids, strict=True)
        return next((name for name, own in pairs if own == label), None)


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", text.strip()) is not None


def _class_number(text: str) -> int | None:
    """The number in "2", in "2.0" of a CSV file with an empty cell, and in "LABEL_2"; else None."""
    match = re.fullmatch(r"(?:label_)?([+-]?\d+)(?:\.0*)?", text.strip().lower())
    return int(match[1]) if match else None


def _class_numbers(names: Sequence[str]) -> list[int] | None:
    """What names such as "0" or "LABEL_0" number, if they do no more than number all classes."""
    numbers = [_class_number(name) for name in names]
    known = [number for number in numbers if number is not None]
    return known if sorted(known) == list(range(len(names))) else None


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
        config: the model's configuration; None where there is no model.
        data_names: the names that the data set itself declares for its integers.

    Returns:
        The map. A model without label names takes the task's order, or where it has none the data's; with
        no model it is the data's that says what a function's outputs are. Names that only number the
        classes, such as "0" and "LABEL_0", stand for the classes of those numbers where no class is called
        so: the task's, or where it has none the model's.

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
    own: tuple[str, ...] = ()
    if config is not None:
        check_single_label(config)
        own = names_of(config)
    names = tuple(data_names or task.label_names or own)
    if config is not None and len(names) != config.num_labels:
        raise HfBatError(
            f"the model has {config.num_labels} labels and the data {len(names)} "
            f"({', '.join(names)}); load the model with num_labels={len(names)}"
        )
    if config is None:
        own = _order_of_data(task, names)
    elif not has_named_labels(config):
        same = _all_among(names, task.label_names)
        own = task.label_names if same else _order_of_data(task, names)
    # The classes in the order of their numbers.
    classes = own if _class_numbers(task.label_names) else task.label_names or own
    meant = names if _all_among(names, own) else _numbered(names, classes)
    return LabelMap(own, meant, _places(meant, own), names, declared=bool(data_names))


def _order_of_data(task: Task, names: tuple[str, ...]) -> tuple[str, ...]:
    """The order that a model without names takes; names that number classes are no order."""
    numbers = _class_numbers(names)
    if numbers is None:
        return names
    if task.label_names:
        return task.label_names
    return tuple(name for _, name in sorted(zip(numbers, names, strict=True)))


def _all_among(names: Sequence[str], known: Sequence[str]) -> bool:
    return {_fold(name) for name in names} == {_fold(name) for name in known}


def _numbered(names: tuple[str, ...], classes: Sequence[str]) -> tuple[str, ...]:
    """The classes whose numbers the names are; the names as they are where they are no numbers."""
    numbers = _class_numbers(names)
    if numbers is None or len(numbers) != len(classes):
        return names
    return tuple(classes[number] for number in numbers)


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
        Names in the order of the integer labels; in alphabetical order where the labels are strings, and
        in that of the numbers where these are digits; LABEL_0, LABEL_1, ... where nothing names them.
        "-" without "+" counts as a missing label.

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
    if values and all(isinstance(value, str) for value in values):
        return _text_names(values, task)
    numbers = [float(value) for value in values]
    if not all(number.is_integer() for number in numbers) or max(numbers, default=-1) < 0:
        raise none
    return tuple(f"LABEL_{i}" for i in range(int(max(numbers)) + 1))


def _is_missing(value: Any) -> bool:
    """Whether a value of a label column stands for no label, whatever the labels' names."""
    if value is None or value == "" or value != value:
        return True
    return (_class_number(value) if isinstance(value, str) else value) in UNLABELLED


def _text_names(values: Collection[str], task: Task) -> tuple[str, ...]:
    """The names of labels that occur as text: in alphabetical order, digits in that of the numbers."""
    numbers = {_class_number(value) for value in values}
    if None not in numbers:
        ordered = sorted(number for number in numbers if number is not None)
        prefixed = all(value.strip()[0].isalpha() for value in values)
        # Digits that do not count from 0, such as stars from 1 to 5, are names of their own.
        places = prefixed or ordered == list(range(len(ordered)))
        return tuple(f"{'LABEL_' if places else ''}{number}" for number in ordered)
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


def names_of(config: PretrainedConfig) -> tuple[str, ...]:
    """A model's label names, in the order of its outputs."""
    return tuple(str(config.id2label[i]) for i in sorted(config.id2label))
