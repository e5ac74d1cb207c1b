"""Training rows from a stream, such as `load_dataset(..., streaming=True)`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from hf_bat.data import find_label_column, read_idx, read_text
from hf_bat.errors import HfBatError
from hf_bat.labels import get_declared_names, reconcile_labels
from hf_bat.tasks import Task

logger = logging.getLogger(__name__)


def is_stream(rows: Any) -> bool:
    """Return whether rows can only be read sequentially.

    Example:
        >>> is_stream([{"text": "A dog."}]), is_stream(iter([]))
        (False, True)
    """
    return hasattr(rows, "__iter__") and not hasattr(rows, "__len__")


class RowStream(IterableDataset):
    """A stream of rows that are prepared for the collator, as `prepare_dataset` does for indexable rows.

    A row without `idx` is numbered by its position in the stream, so a resumed run has the same draws. Rows
    without a label or with an empty text are skipped and counted in a warning after each pass.

    Args:
        rows: An iterable data set of `datasets` or torch with dicts as rows.
        task: The task.
        config: The model's configuration.
        name: Name of the rows in messages.

    Raises:
        HfBatError: If rows lack a column, or have labels that the model lacks. Raised when rows are
            read.

    Example:
        >>> from datasets import Dataset
        >>> from transformers import PretrainedConfig
        >>> rows = Dataset.from_dict({"text": ["A dog.", "", "A cat."], "label": ["good", "bad", "bad"]})
        >>> config = PretrainedConfig(id2label={0: "bad", 1: "good"})
        >>> stream = RowStream(rows.to_iterable_dataset(), Task("mood", ("text",)), config, "rows")
        >>> list(stream)
        [{'text': 'A dog.', 'label': 1, 'idx': 0}, {'text': 'A cat.', 'label': 0, 'idx': 2}]
    """

    def __init__(self, rows: Any, task: Task, config: Any, name: str):
        self.rows, self.task, self.name = rows, task, name
        self.column = find_label_column(rows, task, config)
        self.labels = reconcile_labels(task, config, get_declared_names(rows, self.column))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the rows. A shuffled stream of `datasets` changes its order with the epoch."""
        if hasattr(self.rows, "set_epoch"):
            self.rows.set_epoch(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        dropped: Counter[str] = Counter()
        count = 0
        for position, row in enumerate(self.rows):
            where = f"row {position} of the {self.name}"
            if not isinstance(row, Mapping):
                raise HfBatError(f"{where} is not a dict of columns")
            if row.get("idx") is None and get_worker_info() is not None:
                # Each worker would count from 0, and rows with the same number have the same draws.
                raise HfBatError(
                    f"the {self.name} has no column 'idx', and is read by several workers: number the rows, "
                    "or set dataloader_num_workers=0"
                )
            count += 1
            prepared, reason = self._prepare(row, position, where)
            if reason is None:
                yield prepared
            else:
                dropped[reason] += 1
        if not count:
            raise HfBatError(f"the {self.name} has no rows")
        if dropped:
            reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(dropped.items()))
            logger.warning(
                "%s: left out %d of %d rows (%s)", self.name, dropped.total(), count, reasons
            )

    def _prepare(
        self, row: Mapping[str, Any], position: int, where: str
    ) -> tuple[dict[str, Any], str | None]:
        """Return the row for the collator, and the reason if it must be skipped."""
        old_names = {new: old for old, new in self.task.renames.items()}
        prepared: dict[str, Any] = {}
        for column in self.task.columns:
            given = column if column in row else old_names.get(column, column)
            if given not in row:
                raise HfBatError(f"{where} has no column {column!r}; it has: {', '.join(row)}")
            prepared[column] = read_text(row[given], column, where)
        if self.column not in row:
            raise HfBatError(f"{where} has no column {self.column!r}; it has: {', '.join(row)}")
        label = self.labels.read_label(row[self.column], where)
        idx = read_idx(position if row.get("idx") is None else row["idx"], position)
        if not isinstance(idx, int) or idx < 0:
            raise HfBatError(f"{where} has idx {idx!r:.40}; it must be a row number from 0")
        if label is None:
            return prepared, "without a label"
        if not all(prepared[column].strip() for column in self.task.columns):
            return prepared, "with an empty text"
        return {**prepared, "label": label, "idx": idx}, None
