"""Map the values of the label column to the outputs of the model."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError
from hf_bat.reading import EXACT
from hf_bat.tasks import Task, with_label_names

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig

# Values that mean "no label": -1 in test sets on the Hub, -100 for PyTorch losses, and "-" in SNLI
# if annotators disagree.
UNLABELED = (-1, -100)
NO_GOLD = "-"
# Spellings of missing values in text files.
_NULL_WORDS = frozenset(("nan", "<na>", "nat", "null"))


@dataclass(frozen=True)
class LabelMap:
    """The model's label for each label of the data.

    Args:
        model_names: Label names of the model, in the order of its outputs.
        data_names: Names of the integer labels in the data, in order.
        ids: The model's label for each name in `data_names`.
        aliases: The data's own spelling of `data_names`.
        declared: Whether the data declares the names of its integers (`datasets.ClassLabel`). An integer
            is then always a position, even if the names are integers.
    """

    model_names: tuple[str, ...]
    data_names: tuple[str, ...]
    ids: tuple[int, ...]
    aliases: tuple[str, ...] = ()
    declared: bool = False

    def read_label(self, value: object, where: str) -> int | None:
        """Return the model's label for a value of the label column, or `None` for a missing label.

        A value can be a name, digits or an integer. An integer is the position of a name, or a name if all
        names are integers other than 0, 1, ... (such as one to five stars). `None`, "", NaN, -1, -100 and
        "-" mean a missing label. If labels have no names (the model is a function), the value is the label
        itself, and -1 is an error, because it may be a class. Error messages refer to the row as `where`.
        """
        value = unwrap_value(value)
        if is_null(value) or (isinstance(value, str) and not value.strip()):
            return None
        truth = _parse_truth(value)
        if truth is not None:
            return self._read_truth(truth, where)
        if isinstance(value, str):
            label = self.find_label(value, where)
            # "-" is a name if "+" is also a name, and "null" may be a name.
            if label is not None or value.strip() == NO_GOLD or _is_null_word(value):
                return label
        number = self._parse_number(value, where)
        if number in self._integer_names:
            return self._integer_names[number]
        if number == UNLABELED[0] and not self.data_names:
            raise HfBatError(
                f"label {number} in {where} may be a class or mean no label; name the outputs of the "
                "function in order (--label-names, or label_names of the task), or leave the cell empty"
            )
        if number in UNLABELED:
            return None
        names, count = ", ".join(self.data_names), len(self.data_names)
        if self._integer_names:
            raise HfBatError(f"label {number} in {where} is not one of {names}")
        if number < 0 or 0 < count <= number:
            known = f"0..{count - 1} ({names})" if names else "0, 1, ..."
            raise HfBatError(f"label {number} in {where} is out of range {known}")
        return self.ids[number] if names else number

    def _read_truth(self, truth: bool, where: str) -> int | None:
        """Return the model's label for `True` or `False`, by name or as 1 or 0 if the names are numbers."""
        label = self.find_label(str(truth), where)
        if label is not None:
            return label
        if self.data_names and _parse_classes(self.aliases or self.data_names) is None:
            first, *others = self.data_names
            cure = (
                f"0 for {first} and 1 for {others[0]}" if len(others) == 1 else "a name or a number"
            )
            raise HfBatError(
                f"label {truth} in {where} is not one of {', '.join(self.data_names)}; write {cure}"
            )
        return self.read_label(int(truth), where)

    def find_label(self, name: str, where: str) -> int | None:
        """Return the model's label for a name that the data or the model uses, or `None`."""
        # The data's spelling is tried first, because the name may belong to another label in the
        # model.
        for names in (self.aliases, self.data_names):
            position = find_name(name, names, where)
            if position is not None:
                return self.ids[position]
        return find_name(name, self.model_names, where)

    def get_data_name(self, label: int | None) -> str | None:
        """Return the data's name for a label of the model, or `None`."""
        names: dict[int | None, str] = dict(zip(self.ids, self.data_names, strict=True))
        return names.get(label)

    @cached_property
    def _integer_names(self) -> dict[int | None, int]:
        """The model's label for each integer if integers are names, or empty if they are positions."""
        names = self.aliases or self.data_names
        if self.declared or not all(re.fullmatch(r"\s*[+-]?\d+\s*", name) for name in names):
            return {}
        labels: dict[int | None, int] = dict(zip(map(int, names), self.ids, strict=True))
        # Names 0, 1, ... in any order would be ambiguous. By documentation, these integers are
        # positions.
        are_positions = set(labels) == set(range(len(names)))
        return {} if are_positions or len(labels) < len(names) else labels

    def _parse_number(self, value: Any, where: str) -> int:
        """Convert a value of the label column to an integer."""
        number = _parse_class(value) if isinstance(value, str) else value
        if number is None:
            known = (
                f"labels: {', '.join(self.data_names)}"
                if self.data_names
                else (
                    "the model is a function without label names: name its outputs in order (--label-names, "
                    "or label_names of the task)"
                )
            )
            raise HfBatError(f"unknown label {value!r} in {where}; {known}")
        try:
            if int(number) == number:
                return int(number)
        except (TypeError, ValueError, OverflowError) as error:
            raise HfBatError(f"label {value!r:.80} in {where} is not a number or name") from error
        raise HfBatError(f"label {value!r} in {where} is not a class; regression is not supported")


class LabelNames:
    """A substitute for a missing transformers configuration, with the label names.

    Args:
        names: Label names in the order of the model's outputs.
    """

    problem_type = None

    def __init__(self, names: Sequence[str]):
        self.id2label = {number: str(name) for number, name in enumerate(names)}
        self.num_labels = len(self.id2label)


def find_name(name: str, names: Sequence[str], where: str) -> int | None:
    """Return the position of the label name among others, or `None` if it is missing.

    Without an exact match, case is ignored, and `-`, `_` and spaces are equivalent.
    """
    if name in names:
        return list(names).index(name)
    matches = [i for i, other in enumerate(names) if _normalize(other) == _normalize(name)]
    if len(matches) > 1:
        options = " or ".join(repr(names[i]) for i in matches)
        raise HfBatError(f"label {name!r} in {where} may be {options}; use the exact name")
    return matches[0] if matches else None


def find_class(name: str, names: Sequence[str], where: str) -> int | None:
    """Return the position of a label by its name, or by its number, such as "1" or "LABEL_1".

    A number is not a position if the names are other numbers, such as 1 to 5 stars.
    """
    position = find_name(name, names, where)
    if position is not None:
        return position
    number = _parse_class(name)
    if number not in range(len(names)):
        return None
    are_numbers = any(_parse_class(other) is not None for other in names)
    return None if are_numbers and _parse_classes(names) is None else number


def _normalize(name: str) -> str:
    return str(name).strip().lower().replace(" ", "_").replace("-", "_")


def _match_all(names: Sequence[str], others: Sequence[str]) -> bool:
    return {_normalize(name) for name in names} == {_normalize(name) for name in others}


def _parse_class(text: str) -> int | None:
    """Return the number in "2", "2.0" (a CSV column with an empty cell) or "LABEL_2", or `None`."""
    match = re.fullmatch(r"(?:label_)?([+-]?\d+)(?:\.0*)?", text.strip().lower())
    return int(match[1]) if match else None


def _parse_classes(names: Sequence[str]) -> list[int] | None:
    """Return the numbers in names such as "0" or "LABEL_0", or `None` if they do not number all classes."""
    parsed = [_parse_class(name) for name in names]
    numbers = [number for number in parsed if number is not None]
    return numbers if sorted(numbers) == list(range(len(names))) else None


def list_label_names(config: PretrainedConfig) -> tuple[str, ...]:
    """Return a model's label names in the order of its outputs."""
    # In a saved configuration, keys are sorted as strings, with "10" before "2".
    return tuple(str(config.id2label[i]) for i in sorted(config.id2label))


def has_named_labels(config: PretrainedConfig) -> bool:
    """Return whether a model's labels have names other than LABEL_0, LABEL_1, ..."""
    return any(str(name) != f"LABEL_{i}" for i, name in config.id2label.items())


def check_single_label(config: PretrainedConfig) -> None:
    """Check that a model has a head for single-label classification."""
    kind = config.problem_type
    if config.num_labels < 2 or kind in ("regression", "multi_label_classification"):
        raise HfBatError(
            f"the model has a {kind or f'{config.num_labels}-output'} head; hf_bat trains single-label "
            "classifiers with at least two labels"
        )


def reconcile_labels(
    task: Task, config: PretrainedConfig | None, data_names: Sequence[str] | None = None
) -> LabelMap:
    """Map the labels of the data to the labels of the model, by name if both have names.

    For a model without label names (or a function, `config=None`), labels are in the order of the task's
    names, or of the data's names if the task has none. Names that only number the classes, such as "0" and
    "LABEL_0", refer to the classes with those numbers, unless a class has that name. `data_names` are the
    names that the dataset declares for its integers.
    """
    model_names: tuple[str, ...] = ()
    if config is not None:
        check_single_label(config)
        model_names = list_label_names(config)
    names = tuple(data_names or task.label_names or model_names)
    is_function = isinstance(config, LabelNames)
    if config is not None and len(names) != config.num_labels:
        source = "data" if data_names else "task"
        if is_function:
            cure = "fit the model on rows of all labels, or give CallableModel the labels of its outputs"
        else:
            cure = f"load the model with num_labels={len(names)}"
        if not data_names and len(names) < config.num_labels:
            cure = f"name all labels of the model in order (--label-names), or {cure}"
        raise HfBatError(
            f"the model has {config.num_labels} labels ({', '.join(model_names)}) and the {source} "
            f"{len(names)} ({', '.join(names)}); {cure}"
        )
    numbers = _parse_classes(names)
    if config is None or not has_named_labels(config):
        if config is not None and _match_all(names, task.label_names):
            model_names = task.label_names
        elif numbers is None:
            model_names = names
        else:  # numbered names do not determine the order in the model
            in_order = sorted(zip(numbers, names, strict=True))
            model_names = task.label_names or tuple(name for _, name in in_order)
    # The task's names are not informative if they only number the classes.
    classes = model_names if _parse_classes(task.label_names) else task.label_names or model_names
    meanings = names
    if numbers and len(numbers) == len(classes) and not _match_all(names, model_names):
        meanings = tuple(classes[number] for number in numbers)
    positions: list[int] = []
    for name in meanings:
        position = find_name(name, model_names, "the data")
        if position is None:
            place = "CallableModel(..., labels=[...])" if is_function else "model.config.id2label"
            raise HfBatError(
                f"label {name!r} of the data is not one of the model's ({', '.join(model_names)}); "
                f"rename the labels in {place}"
            )
        if position in positions:
            raise HfBatError(
                f"labels {meanings[positions.index(position)]!r} and {name!r} of the data both match "
                f"the model's {model_names[position]!r}; rename one of them"
            )
        positions.append(position)
    return LabelMap(model_names, meanings, tuple(positions), names, declared=bool(data_names))


def get_declared_names(rows: Any, column: str) -> Sequence[str] | None:
    """Return the names that a `datasets.Dataset` declares for the integers of a column, or `None`."""
    feature = (getattr(rows, "features", None) or {}).get(column)
    return getattr(feature, "names", None)


def find_label_names(rows: Dataset, task: Task) -> tuple[str, ...]:
    """Find the label names of rows, from the task, the dataset's declaration or the values.

    If the values are the numbers 0, 1, ..., the names are LABEL_0, LABEL_1, ... Other numbers are used as
    names, in numerical order. Strings are sorted alphabetically. "-" without "+" is a missing label, and
    so is -1 unless the other number is 1.

    Raises:
        HfBatError: If there are fewer than two classes or labels of several types, or if -1 may be a class
            or a missing label.
    """
    if task.label_names:
        return task.label_names
    column = task.label_column
    if column not in rows.column_names:
        raise HfBatError(
            f"the rows have no column {column!r}; they have: {', '.join(rows.column_names)}; name the label "
            "column (--label-column)"
        )
    declared = get_declared_names(rows, column)
    if declared is not None:
        return tuple(declared)
    given = rows[column][:]
    _check_types(given, column)
    # Use strings. A file with an empty cell has strings instead of numbers and should give the same names.
    values = {_spell_label(value, column) for value in given} - {None}
    names = _sort_names({value for value in values if value is not None}, column)
    if not names:
        raise HfBatError(f"column {column!r} has no class labels; set the label names of your task")
    if len(names) == 1:
        raise HfBatError(
            f"column {column!r} has one class only ({names[0].removeprefix('LABEL_')}), and a classifier "
            "needs two; give rows of all classes, or your task label names"
        )
    return names


def list_classes(values: Sequence[Any], names: Sequence[str] | None = None) -> list[str | None]:
    """Return the class of each value of a label column as a string, or `None` for a missing label.

    `names` are the declared names of the integers. Invalid values are treated as classes of their own.

    Example:
        >>> list_classes([0, 1, -1, None, "2"]), list_classes([1, 0], ["bad", "good"])
        (['0', '1', None, None, '2'], ['good', 'bad'])
    """
    spelled: list[str | None] = []
    for value in map(unwrap_value, values):
        number = parse_whole(value)
        if number is not None:
            is_named = names is not None and 0 <= number < len(names)
            spelled.append(names[number] if names and is_named else str(number))
        elif is_null(value) or (isinstance(value, str) and _is_empty(value)):
            spelled.append(None)
        else:
            spelled.append(str(value).strip())
    occurring = {*spelled} - {None}
    unlabeled = {str(UNLABELED[1])}
    if "+" not in occurring:
        unlabeled.add(NO_GOLD)
    if occurring - unlabeled != {"-1", "1"}:
        unlabeled.add(str(UNLABELED[0]))
    return [None if value in unlabeled else value for value in spelled]


def _is_empty(text: str) -> bool:
    return not text.strip() or _is_null_word(text)


def unwrap_value(value: Any) -> Any:
    """Convert a numpy or torch number to a Python value. Return other values unchanged."""
    # A label column may contain arrays with one number.
    if not isinstance(value, (str, bytes)) and getattr(value, "size", None) == 1:
        return value.item()
    return value.item() if getattr(value, "shape", None) == () else value


def is_null(value: Any) -> bool:
    """Return whether a value means "missing": `None`, NaN, or pandas' NA or NaT."""
    # Compared by name, so pandas does not have to be loaded.
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Real) and bool(value != value)


def parse_whole(value: Any) -> int | None:
    """Return a whole number, or a float such as 3.0, as a Python integer. Return `None` for others.

    Larger floats are not exact, so two different numbers in a file may be the same float.
    """
    if isinstance(value, Integral):
        return None if isinstance(value, bool) else int(value)
    number = float(value) if isinstance(value, Real) else math.nan
    return int(number) if number.is_integer() and abs(number) < EXACT else None


def _is_null_word(text: str) -> bool:
    return text.strip().lower() in _NULL_WORDS


def _parse_truth(value: Any) -> bool | None:
    """Return the bool of `True`, numpy's `True` or "true", or `None` for other values."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _spell_label(value: Any, column: str) -> str | None:
    """Return a value of the label column as a name, or `None` if it always means "no label"."""
    value = unwrap_value(value)
    if is_null(value):
        return None
    if isinstance(value, str):
        return None if _is_empty(value) else value
    if isinstance(value, bool):
        return str(value)
    number = parse_whole(value)
    if number is not None:
        return str(number)
    raise HfBatError(
        f"column {column!r} has no class labels, but {value!r:.60}; write the name or number of one class in "
        "each row"
    )


def _check_types(values: Sequence[Any], column: str) -> None:
    """Check that the label column does not mix words, numbers and booleans, which JSON files can do."""
    first: dict[str, tuple[int, Any]] = {}
    for row, value in enumerate(map(unwrap_value, values)):
        if _spell_label(value, column) in (None, NO_GOLD, *map(str, UNLABELED)):
            continue
        # Digits in quotes are numbers, but a file with only words may use "1" as a name.
        kind = "truth" if _parse_truth(value) is not None else "number"
        if isinstance(value, str) and kind == "number" and _parse_class(value) is None:
            kind = "word"
        first.setdefault(kind, (row, value))
    if len(first) > 1 and any(not isinstance(value, str) for _, value in first.values()):
        (row, value), (other_row, other), *_ = first.values()
        raise HfBatError(
            f"column {column!r} holds {value!r:.60} in row {row} and {other!r:.60} in row {other_row}; write "
            "the labels of all rows alike, as names or as numbers"
        )


def _sort_names(values: Collection[str], column: str) -> tuple[str, ...]:
    """Sort label names alphabetically, or numerically if they are digits."""
    numbers: dict[int, str] = {}
    names = set()
    for value in values:
        number = _parse_class(value)
        if number is None:
            names.add(value)
        elif number != UNLABELED[1]:
            numbers[number] = value
    if "+" not in names:  # with "+", "-" is a label
        names.discard(NO_GOLD)
    if not names:
        return _name_numbers(numbers, column)
    # Next to words, -1 means a missing label.
    names |= {value for number, value in numbers.items() if number not in UNLABELED}
    ordered = sorted(names)
    by_fold: dict[str, str] = {}
    for name in ordered:
        other = by_fold.setdefault(_normalize(name), name)
        if other != name:
            raise HfBatError(
                f"labels {other!r} and {name!r} of column {column!r} may be the same; use one spelling "
                "or set the label names of your task"
            )
    return tuple(ordered)


def _name_numbers(numbers: dict[int, str], column: str) -> tuple[str, ...]:
    """Return the names of classes that are numbers."""
    prefixed = any(value.strip()[:1].isalpha() for value in numbers.values())
    if -1 in numbers and set(numbers) != {-1, 1}:
        others = " ".join(str(number) for number in sorted(numbers) if number >= 0)
        raise HfBatError(
            f"-1 in column {column!r} may be a class or mean no label; set the label names of your task: "
            f"-1 {others} if it is one, and {others} if not"
        )
    # Numbers that do not start at 0, such as 1 to 5 stars, are used as names.
    are_positions = prefixed or sorted(numbers) == list(range(len(numbers)))
    return tuple(f"{'LABEL_' if are_positions else ''}{number}" for number in sorted(numbers))


def name_labels(config: Any, task: Task) -> Task:
    """Copy the label names of the task to a model that only has LABEL_0, ..., or from the model to the task.

    The configuration is changed in place. The task is returned.
    """
    names = task.label_names
    if not has_named_labels(config) and config.num_labels == len(names):
        config.id2label = dict(enumerate(names))
        config.label2id = {name: i for i, name in enumerate(names)}
    return with_label_names(task, list_label_names(config))
