"""Prepare rows: check columns, number labels as the model does, drop unusable rows."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError, check_choice
from hf_bat.labels import (
    LabelMap,
    get_declared_names,
    is_null,
    list_classes,
    parse_whole,
    reconcile_labels,
    unwrap_value,
)
from hf_bat.tasks import Task, load_split

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig

logger = logging.getLogger(__name__)
# Ways to select rows if their number is limited; see `choose_rows`.
ROW_CHOICES = ("even", "first")
# Number of draws to find rows of every class. Each draw from alternating classes probably has all of them.
_DRAWS = 20
_NAMES_LISTED = 10
# Arrow integers have 64 bits.
_LARGEST = 2**63


def prepare_dataset(
    rows: Any, task: Task, config: PretrainedConfig | None, name: str, keep_all: bool = False
) -> Dataset:
    """Prepare rows for the collator, with text columns, `idx`, and `label` as the model numbers it.

    Unlabeled rows (-1, -100, "-", empty) and rows with an empty text are dropped, and their number is
    logged with `name`. With `keep_all` (for prediction, which needs all rows), missing texts become empty,
    and the label column is removed if any label is missing or labels have no names.
    """
    from datasets import ClassLabel

    # The trainer prepares the rows before each evaluation. The mark that is set below makes this
    # cheap.
    if _is_prepared(rows, task, config):
        return rows
    dataset = as_dataset(rows, task, name)
    dataset = dataset.rename_columns(
        {
            old: new
            for old, new in task.renames.items()
            if old in dataset.column_names and new not in dataset.column_names
        }
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
    # `label` may be a different column than the task's label column.
    old = {column, "label", "labels"} & set(dataset.column_names) - {*task.columns}
    dataset = dataset.remove_columns(sorted(old))
    dataset = _fill_texts(dataset, task, name)
    if not keep_all:
        dataset, labels = _drop_unusable(dataset, labels, task, name)
    if not labels or None in labels:
        return dataset
    dataset = dataset.add_column("label", labels, feature=ClassLabel(names=list(label_names)))
    if not keep_all:
        dataset.prepared_for = (task.columns, task.label_column, dataset.features)
    return dataset


def as_dataset(rows: Any, task: Task, name: str = "rows") -> Dataset:
    """Convert rows in any format accepted by `prepare_dataset` to a `datasets.Dataset`."""
    from datasets import Dataset

    rows = open_rows(rows, task, name)
    if isinstance(rows, Dataset):
        return rows
    if not hasattr(rows, "__len__") or not hasattr(rows, "__getitem__"):
        raise HfBatError(
            f"{type(rows).__name__} cannot be indexed; perturbations are drawn by row number, "
            "so pass a datasets.Dataset or a list of dicts"
        )
    # `list(rows)` is not used, because a torch dataset may not be iterable.
    listed = [rows[i] for i in range(len(rows))]
    check_mappings(listed)
    _check_text_columns(listed, task, name)
    columns = list(dict.fromkeys(column for row in listed for column in row))
    numbers = {task.label_column, "label", "labels", "idx"} - {*task.columns}
    # `from_list` only reads the columns of the first row.
    clean = [
        {column: _clean_value(row.get(column), column in numbers) for column in columns}
        for row in listed
    ]
    try:
        return Dataset.from_list(clean)
    except Exception as error:  # pyarrow has a dozen kinds of errors
        reason = _find_unstorable(clean) or _find_mixed_column(clean) or error
        raise HfBatError(f"{name}: {reason}") from error


def check_mappings(rows: Sequence[Any]) -> None:
    """Check that all rows are dicts of columns."""
    wrong = next((i for i, row in enumerate(rows) if not isinstance(row, Mapping)), None)
    if wrong is not None:
        raise HfBatError(
            f"row {wrong} is {_describe_value(rows[wrong])}; each row must be a dict of columns"
        )


def _check_text_columns(rows: Sequence[Mapping[str, Any]], task: Task, name: str) -> None:
    """Check that each row has the text columns, unless no row has them."""
    old_names = {new: old for old, new in task.renames.items()}
    for column in task.columns:
        lacking = [not row.keys() & {column, old_names.get(column, column)} for row in rows]
        if any(lacking) and not all(lacking):
            at = lacking.index(True)
            raise HfBatError(
                f"row {at} of the {name} has no column {column!r}; it has: {', '.join(map(str, rows[at]))}"
            )


def _clean_value(value: Any, is_number: bool) -> Any:
    # Data frames use NaN for missing texts, but a text column must not contain it.
    if is_null(value):
        return None
    return unwrap_value(value) if is_number else value


def _find_unstorable(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Describe the first value that `datasets` cannot store: a broken text or a large number."""
    for number, row in enumerate(rows):
        for column, value in row.items():
            fault = None
            if isinstance(value, str) and value != value.encode("utf-8", "replace").decode("utf-8"):
                fault = "with half of a character (a surrogate)"
            elif isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
                fault = "which has more than 64 bits"
            if fault is not None:
                return (
                    f"column {column!r} in row {number} holds {value!r:.40}, {fault}; change it or drop the "
                    "row"
                )
    return None


def _find_mixed_column(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Describe where a column first changes its type."""
    first: dict[str, tuple[int, Any]] = {}
    for number, row in enumerate(rows):
        for column, value in row.items():
            if value is None:
                continue
            at, other = first.setdefault(column, (number, value))
            if type(other) is not type(value):
                return (
                    f"column {column!r} holds {_describe_value(value)} in row {number}, but "
                    f"{_describe_value(other)} in row {at}; give all rows one type"
                )
    return None


def open_rows(rows: Any, task: Task, name: str = "rows") -> Any:
    """Convert rows to a `datasets.Dataset` with Python values, or to dicts.

    Rows may be a pandas or polars data frame, an Arrow table, a dict of columns, or a path for `load_split`.
    """
    texts = {*task.columns, *task.renames}
    if isinstance(rows, (str, Path)):
        return load_split(rows, task=task)
    if not hasattr(rows, "__iter__") and not hasattr(rows, "__getitem__"):
        raise HfBatError(
            f"the {name} must be a datasets.Dataset, a data frame, a list of dicts or a file; got "
            f"{_describe_value(rows)}"
        )
    if isinstance(rows, Mapping):
        if texts & rows.keys():
            return _split_columns(rows, name)
        raise HfBatError(
            f"the {name} is a {type(rows).__name__} of {', '.join(map(str, list(rows)[:5])) or 'nothing'}; "
            "choose one split, or give columns "
            f"{', '.join(task.columns)}"
        )
    if hasattr(rows, "iloc") and hasattr(rows, "to_dict"):  # pandas
        _check_repeated(rows.columns, name)
        return rows.to_dict("records")
    for method in ("to_dicts", "to_pylist"):  # polars, pyarrow
        if hasattr(rows, method):
            _check_repeated(getattr(rows, "column_names", ()), name)
            return getattr(rows, method)()
    if _get_format(rows).get("type") == "custom":
        # Use the rows made by `set_transform`, unless it tokenizes them.
        made = [rows[i] for i in range(len(rows))]
        rows = made if made and texts & made[0].keys() else rows.with_format(None)
    return drop_format(rows)


def _check_repeated(columns: Iterable[Any], name: str) -> None:
    """Check that no column occurs twice, because dicts would only keep the last one."""
    repeated = next((column for column, n in Counter(columns).items() if n > 1), None)
    if repeated is not None:
        raise HfBatError(f"the {name} has column {repeated!r} twice; rename one")


def _split_columns(columns: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1 or any(isinstance(v, str) for v in columns.values()):
        raise HfBatError(
            f"the {name} is a dict whose columns differ in length ({lengths}); give columns of one length, "
            "or a list of dicts"
        )
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def read_text(value: Any, column: str, where: str) -> str:
    """Return the text in a cell, or "" for a missing value.

    Raises:
        HfBatError: If the value has another type. The message refers to the row as `where`.

    Example:
        >>> read_text("A dog.", "text", "row 0"), read_text(float("nan"), "text", "row 1")
        ('A dog.', '')
    """
    if isinstance(value, str):
        return str(value)
    if is_null(value):
        return ""
    raise HfBatError(
        f"column {column!r} in {where} holds {_describe_value(value)}; a text must be a string"
    )


def read_idx(value: Any, position: int) -> int | str:
    """Return the row's `idx`: an integer or a string."""
    value = unwrap_value(value)
    if isinstance(value, str) and value.strip():
        return value
    number = parse_whole(value)
    if number is not None:
        return number
    raise HfBatError(
        f"row {position} has idx {value!r:.40}; give each row a whole number or a string, or drop the column"
    )


def choose_rows(
    count: int,
    limit: int | None,
    row_choice: str = "even",
    classes: Sequence[str | None] = (),
) -> range | list[int]:
    """Select at most `limit` of `count` rows, spread over all rows or from the start.

    Files are often sorted by class, so the first rows may all have the same class. Rows at equal distances
    may also miss a class, for example if the classes alternate. Then one row is drawn from each of `limit`
    equal parts of the rows. The draws are always the same.

    Args:
        count: Number of rows.
        limit: Maximum number of rows. If `None`, all rows are selected.
        row_choice: "even" or "first".
        classes: Class of each row, from `read_classes`. If empty, the rows are at equal distances.

    Example:
        >>> choose_rows(10, 4), choose_rows(10, 4, "first")
        ([0, 2, 5, 7], range(0, 4))
        >>> choose_rows(8, 4, classes=["bad", "good"] * 4)
        [1, 3, 5, 6]
    """
    check_choice("row_choice", row_choice, ROW_CHOICES)
    if limit is None or limit >= count:
        return range(count)
    if row_choice == "first":
        return range(limit)
    starts = [number * count // limit for number in range(limit + 1)]
    best, missing = starts[:-1], list_missing(classes, starts[:-1])
    # Draws that do not add a class are not used, because reports with the default choice can be compared.
    for seed in range(_DRAWS):
        if not missing:
            break
        drawn = [
            start + _draw_number(seed, start) % (end - start) for start, end in pairwise(starts)
        ]
        if len(still := list_missing(classes, drawn)) < len(missing):
            best, missing = drawn, still
    return best


def _draw_number(seed: int, number: int) -> int:
    # Python's own hashes of small numbers keep their order.
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:8], "big")


def read_classes(rows: Any, column: str) -> list[str | None]:
    """Return the class of each row as a name or number, or `None` for a missing label.

    The list is empty if there is no such column.
    """
    if hasattr(rows, "column_names"):
        values = rows[column][:] if column in rows.column_names else []
    else:
        values = [rows[i].get(column) for i in range(len(rows))]
    return list_classes(values, get_declared_names(rows, column))


def list_missing(classes: Sequence[str | None], chosen: Sequence[int]) -> list[str]:
    """List the classes that no chosen row has."""
    if not classes:
        return []
    missing = {*classes} - {classes[row] for row in chosen}
    return sorted(name for name in missing if name is not None)


def describe_missing(names: Sequence[str]) -> str:
    """Return a note for the log about classes that no chosen row has, or an empty string."""
    if not names:
        return ""
    more = f" and {len(names) - _NAMES_LISTED} more" if len(names) > _NAMES_LISTED else ""
    return f"; no row is chosen of class {', '.join(names[:_NAMES_LISTED])}{more}: allow more rows"


def _describe_value(value: Any) -> str:
    return f"{value!r:.40} ({type(value).__name__})"


def drop_format(rows: Any) -> Any:
    """Return rows with Python values instead of the tensors or frames set by `set_format`."""
    # A label tensor equals its number but is not found in a set of numbers. "custom" is the format of
    # `set_transform`; see `open_rows`. A format may also hide columns.
    options = _get_format(rows)
    if options.get("type") == "custom" or options.get("columns") is None:
        return rows
    is_plain = options["type"] is None and options["columns"] == rows.column_names
    return rows if is_plain else rows.with_format(None)


def _get_format(rows: Any) -> Mapping[str, Any]:
    """Return the options of `set_format`, or an empty dict for rows that have none."""
    options = getattr(rows, "format", None)
    return options if isinstance(options, Mapping) else {}


def find_labels(rows: Any, task: Task, config: PretrainedConfig | None) -> tuple[str, LabelMap]:
    """Return the label column of rows from `open_rows`, and the mapping to the model's labels.

    Raises:
        HfBatError: If no row has a label column, or the labels of data and model do not match.
    """
    column = find_label_column(rows, task, config)
    return column, reconcile_labels(task, config, get_declared_names(rows, column))


def find_label_column(rows: Any, task: Task, config: PretrainedConfig | None) -> str:
    """Return the label column of the task, or `label` if `prepare_dataset` has replaced it.

    "labels", which some data sets use, is treated like `label`.
    """
    column = task.label_column
    features = getattr(rows, "features", None) or {}
    if column not in features and "idx" in features and _match_model(rows, task, config):
        return "label"
    names = features or (rows[0] if isinstance(rows, list) and rows else {})
    return "labels" if column == "label" and "label" not in names and "labels" in names else column


def _match_model(rows: Any, task: Task, config: PretrainedConfig | None) -> bool:
    """Return whether the column `label` uses the label ids of the model."""
    names = get_declared_names(rows, "label")
    return names is not None and tuple(names) == reconcile_labels(task, config, names).model_names


def _is_prepared(rows: Any, task: Task, config: PretrainedConfig | None) -> bool:
    """Return whether `prepare_dataset` has checked these rows for this task and model."""
    mark = getattr(rows, "prepared_for", None)
    # `datasets` copies the mark when it filters rows, which remain prepared, but also when it
    # renames, removes or formats columns. For this reason, the features and the format are also
    # compared.
    return (
        mark is not None
        and mark == (task.columns, task.label_column, rows.features)
        and _get_format(rows).get("type") is None
        and drop_format(rows) is rows
        and _match_model(rows, task, config)
    )


def add_lengths(
    dataset: Dataset, task: Task, tokenizer: Any, limit: int | None, column: str
) -> Dataset:
    """Add the lengths in tokens to a dataset from `prepare_dataset`, and keep it marked as prepared."""
    # Otherwise, `Trainer` would take lengths from `input_ids`, which raw rows do not have.
    if column in task.columns:
        raise HfBatError(
            f"the text column {column!r} has the same name as the column for lengths; use another "
            "--length_column_name"
        )
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
    """Number the rows, or check their existing numbers. A row's draws depend on its number."""
    if "idx" not in dataset.column_names:
        return dataset.add_column("idx", list(range(len(dataset))))
    given = dataset["idx"][:]
    values = [parse_whole(unwrap_value(value)) for value in given]
    wrong = [i for i, value in enumerate(values) if value is None or not 0 <= value < _LARGEST]
    if wrong:
        # One cell that is not a number makes all cells of a file texts, and it is often the longest.
        at = max(wrong, key=lambda i: len(str(given[i])))
        raise HfBatError(
            f"column 'idx' of the {name} holds {given[at]!r:.40} in row {at}; it must hold row numbers "
            "from 0 to 2**63 - 1; drop it to number the rows"
        )
    if not all(isinstance(value, int) for value in given):
        # A data frame with a missing number has floats.
        dataset = dataset.remove_columns("idx").add_column("idx", values)
    # Rows with the same number would get the same draws.
    if len(set(values)) < len(values):
        repeated = Counter(values).most_common(1)[0][0]
        raise HfBatError(
            f"idx {repeated} is repeated in the {name}; make it unique or drop it to number the rows"
        )
    return dataset


def _fill_texts(dataset: Dataset, task: Task, name: str) -> Dataset:
    """Return the rows with "" for missing texts."""
    for column in task.columns:
        texts = dataset[column][:]
        if not all(isinstance(text, str) for text in texts):
            filled = [
                read_text(text, column, f"row {i} of the {name}") for i, text in enumerate(texts)
            ]
            dataset = dataset.remove_columns(column).add_column(column, filled)
    return dataset


def _drop_unusable(
    dataset: Dataset, labels: list[int | None], task: Task, name: str
) -> tuple[Dataset, list[int | None]]:
    unlabeled = {i for i, label in enumerate(labels) if label is None}
    empty = {
        i for column in task.columns for i, text in enumerate(dataset[column]) if not text.strip()
    } - unlabeled  # count a dropped row only once
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
