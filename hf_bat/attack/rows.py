"""The rows to attack, and the JSON Lines file for their results."""

from __future__ import annotations

import collections
import contextlib
import glob
import hashlib
import itertools
import json
import logging
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TextIO, TypeVar

from filelock import FileLock, Timeout

from hf_bat.attack.answer_log import AnswerLog
from hf_bat.attack.answers import NO_ANSWER
from hf_bat.attack.engine import Counter, Engine, Request
from hf_bat.attack.ranks import gather, rank_and_world, wait
from hf_bat.attack.result import AttackResult
from hf_bat.console import open_bar
from hf_bat.data import (
    check_mappings,
    choose_rows,
    describe_missing,
    find_labels,
    list_missing,
    open_rows,
    read_classes,
    read_idx,
    read_text,
)
from hf_bat.errors import HfBatError, check_integer
from hf_bat.files import (
    check_writable,
    dump_json,
    explain_write,
    name_beside,
    parse_json,
    read_json_lines,
    write_atomically,
)
from hf_bat.labels import LabelMap
from hf_bat.perturbations.base import Texts
from hf_bat.tasks import Task

logger = logging.getLogger(__name__)
# An `AttackResult`, or the dict for a row of a certificate.
Row = TypeVar("Row", bound=Mapping[str, Any])


@dataclass(frozen=True)
class Example:
    """A row to attack."""

    idx: int | str  # the row's `idx`, or its position in the data
    texts: Texts
    label: int | None  # the model's number of the label, or `None` if the row has no label
    reason: str | None = None  # why it cannot be attacked: "empty text", "broken text", "no label"
    # The task's number of the label. It does not depend on the model, so the hash of the data is the same for
    # all models.
    number: int | None = None


def read_examples(
    rows: Any,
    task: Task,
    config: Any,
    limit: int | None = None,
    row_choice: str = "even",
) -> list[Example]:
    """Convert the rows of a data set, at most `limit`, to examples.

    `config` is the model's configuration, which defines the labels, or `None` for a function. `row_choice`
    determines which rows are kept with a limit; see `hf_bat.data.choose_rows`.
    """
    if limit is not None and check_integer("max_samples", limit) < 1:
        raise HfBatError(f"max_samples must be at least 1; got {limit}")
    rows = open_rows(rows, task)
    if not hasattr(rows, "__len__") or not hasattr(rows, "__getitem__"):
        # The length of a stream is unknown, so use its first rows.
        rows = list(itertools.islice(rows, limit))
    if not len(rows):
        raise HfBatError("the data set has no rows")
    if isinstance(rows, (list, tuple)):
        check_mappings(rows)
    column, labels = find_labels(rows, task, config)
    columns = getattr(rows, "column_names", None) or {name for row in rows for name in row}
    if column not in columns:
        # Raise an error, because every row would be skipped and a missing rate could be mistaken for a good
        # rate.
        raise HfBatError(
            f"no row has the label column {column!r}; the columns are: {', '.join(map(str, rows[0]))}"
        )
    is_limited = limit is not None and limit < len(rows)
    classes = read_classes(rows, column) if is_limited else []
    chosen = choose_rows(len(rows), limit, row_choice, classes)
    numbers = _number_labels(labels, task.label_names or labels.data_names, labels.data_names)
    # If only the model has label names, the numbers of labels depend on the model, but their names do not.
    # Number the labels alphabetically by name, as in training.
    by_name = (
        {}
        if labels.declared or task.label_names
        else _number_labels(labels, sorted(labels.data_names))
    )
    examples: list[Example] = []
    seen: set[int | str] = set()
    for position in chosen:
        row, where = rows[position], f"row {position}"
        given = [
            read_text(text, c, where)
            for c, text in zip(task.columns, _get_texts(row, task, where), strict=True)
        ]
        texts = tuple(text.encode("utf-8", "replace").decode("utf-8") for text in given)
        idx = read_idx(row["idx"], position) if "idx" in row else position
        if idx in seen:
            raise HfBatError(
                f"idx {idx!r} occurs more than once; make it unique or drop the column"
            )
        seen.add(idx)
        value = row.get(column)
        label = labels.read_label(value, where)
        reason = "no label" if label is None else None
        if list(texts) != given:
            reason = "broken text"  # half of a surrogate pair, which tokenizers do not support
        if not all(text.strip() for text in texts):
            reason = "empty text"
        is_name = isinstance(value, str) and labels.find_label(value, "the data") is not None
        numbering = by_name if by_name and is_name else numbers
        number = None if label is None else numbering.get(label, label)
        examples.append(Example(idx, texts, label, reason, number))
    if len(examples) < len(rows):
        missing = [_name_class(value, labels) for value in list_missing(classes, chosen)]
        _log_choice(examples, len(rows), row_choice, labels, missing)
    return examples


def _log_choice(
    examples: Sequence[Example],
    count: int,
    row_choice: str,
    labels: LabelMap,
    missing: Sequence[str],
) -> None:
    """Log the number of chosen rows per class, because the rows of a file may be sorted by class."""
    names = (name_label(e.label, labels.model_names) or "no label" for e in examples)
    classes = ", ".join(f"{name}: {n}" for name, n in sorted(collections.Counter(names).items()))
    how = "the first ones" if row_choice == "first" else "spread evenly over all"
    if rank_and_world()[0] == 0:
        note = describe_missing(missing)
        _warn_once(f"{len(examples)} of {count} rows are used, {how} ({classes}){note}")


@cache
def _warn_once(message: str) -> None:
    # Only warn once, because all attacks and evaluations in the run use the same rows.
    logger.warning(message)


def name_label(label: int | None, names: Sequence[str]) -> str | None:
    """Return the name of a label of the model, or its number as a string if it has no name."""
    if label is None:
        return None
    return names[label] if 0 <= label < len(names) else str(label)


def _name_class(value: str, labels: LabelMap) -> str:
    """Return the model's name of a class in the data, or the data's if the model has no such class."""
    with contextlib.suppress(HfBatError):
        return name_label(labels.read_label(value, "the data"), labels.model_names) or value
    return value


def _number_labels(labels: LabelMap, *orders: Sequence[str]) -> dict[int | None, int]:
    """Map each label of the model to the position of its name, in the first order with all names."""
    for names in orders:
        try:
            return {labels.read_label(n, "the task"): number for number, n in enumerate(names)}
        except HfBatError:  # the data set uses different names than the task
            continue
    return {}


def _get_texts(row: Mapping[str, Any], task: Task, where: str) -> list[Any]:
    old_names = {new: old for old, new in task.renames.items()}
    texts = []
    for column in task.columns:
        name = column if column in row else old_names.get(column, column)
        if name not in row:
            raise HfBatError(
                f"{where} has no column {column!r}; it has: {', '.join(map(str, row))}"
            )
        texts.append(row[name])
    return texts


def fingerprint(examples: Sequence[Example]) -> str:
    """Return a hash of the rows that does not depend on their order or the order of the model's labels."""
    # A sum of hashes does not depend on the order. With XOR, duplicate rows would cancel out.
    total = 0
    for e in examples:
        line = json.dumps([e.idx, e.texts, e.number]).encode()
        total += int.from_bytes(hashlib.sha256(line).digest(), "big")
    return hashlib.sha256(str(total).encode()).hexdigest()


class RowsFile:
    """Results as JSON Lines, which can be used to resume a killed run.

    Each line contains its attack, recipe, model and data, so a different run cannot continue the file. In a
    distributed run, each rank writes its own part next to the file, and `finish` joins the parts. A lock file
    prevents other runs from writing, and an `AnswerLog` stores the answers for unfinished rows.

    Args:
        path: The file.
        attack: Short name of the attack. Lines of other attacks are not changed.
        identity: Values that each line of this attack must match, such as `{"recipe": hash}`.
        replace: Whether to overwrite lines of this attack that do not match. Defaults to `False`.
        marks: Disclosures in each line, in addition to the identity; see `hf_bat.attack.report.marks_of`.

    Raises:
        HfBatError: If the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        attack: str,
        identity: Mapping[str, str | None],
        replace: bool = False,
        marks: Mapping[str, Any] | None = None,
    ):
        self.path, self.attack, self.identity = Path(path), attack, dict(identity)
        self.replace = replace
        known = {name: value for name, value in self.identity.items() if value is not None}
        self.marks = known | dict(marks or {})
        rank, world = rank_and_world()
        self.part = self.path if world == 1 else name_beside(self.path, f".rank{rank}")
        self._log_path = name_beside(self.path, f".answers{rank}")
        self._log: AnswerLog | None = None
        self._lock: FileLock | None = None
        self._stream: TextIO | None = None
        if not self.path.parent.is_dir():
            raise HfBatError(f"cannot write {self.path}: no folder {self.path.parent}")
        if self.path.is_dir():
            raise HfBatError(f"cannot write {self.path}: it is a folder; name a file")
        check_writable(self.path)

    def _list_beside(self, kind: str) -> list[Path]:
        """List the files of one kind, `rank` or `answers`, for all ranks."""
        # The shortened form of a long name depends on the number of digits.
        numbered = (name_beside(self.path, f".{kind}{'0' * digits}") for digits in range(1, 5))
        stems = {re.sub("0+$", "", path.name) for path in numbered}
        paths = (path for stem in stems for path in self.path.parent.glob(f"{glob.escape(stem)}*"))
        return sorted(p for p in set(paths) if re.search(rf"\.{kind}\d+$", p.name) and p.is_file())

    def _list_parts(self) -> list[Path]:
        return self._list_beside("rank")

    def __enter__(self) -> RowsFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        if self._lock is not None:
            # Delete the file before releasing the lock, while no other process can hold it.
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def lock(self) -> None:
        """Lock the file against other runs until the end of its `with` block.

        Only one rank may call this method.

        Raises:
            HfBatError: If another run is writing the file.
        """
        if self.path.exists() and not self.path.is_file():
            return  # a device or a pipe
        lock = FileLock(name_beside(self.path, ".lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise HfBatError(
                f"{self.path}: another run is writing this file; wait until it has ended or use another file"
            ) from error
        except OSError as error:
            raise HfBatError(f"cannot write {self.path}: {error.strerror}") from error
        self._lock = lock

    def open_answers(self) -> AnswerLog:
        """Open the answer log of this rank, which includes the answers of earlier runs."""
        # Answers only depend on the model, and other recipes can query the same inputs.
        identity = self.identity.get("model") or json.dumps(self.identity, sort_keys=True)
        self._log = AnswerLog(self._log_path, self._list_beside("answers"), identity)
        return self._log

    def _read_lines(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield (location, line, parsed line) for the file and its parts, without incomplete lines."""
        for path in (self.path, *self._list_parts()):
            text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
            # Do not use splitlines, because it also splits at other characters that can occur in texts.
            for number, line in enumerate(text.split("\n")[:-1], start=1):
                where = f"{path}, line {number}"
                try:
                    row = parse_json(line)
                    is_row = isinstance(row["attack"], str) and isinstance(row["idx"], (int, str))
                except (HfBatError, KeyError, TypeError):
                    is_row = False
                if not is_row:
                    raise HfBatError(
                        f"{where}: not a row of an attack; use another file or delete it"
                    )
                yield where, line, row

    def read_finished(self) -> dict[int | str, dict[str, Any]]:
        """Read the finished rows of this attack by idx, without the values that `write` adds to each line."""
        finished = {}
        for where, _, row in self._read_lines():
            if row["attack"] != self.attack:
                continue
            others = [name for name, value in self.identity.items() if row.get(name) != value]
            if others and not self.replace:
                name = others[0]
                # The hash of a recipe does not show which of its options differs.
                options = ", with another maximum length, table or other option"
                raise HfBatError(
                    f"{where}: these rows belong to another {name}{options if name == 'recipe' else ''} "
                    f"({row.get(name)}, not {self.identity[name]}); use another file or delete it"
                )
            if not others:
                finished[row["idx"]] = {
                    name: value
                    for name, value in row.items()
                    if name not in self.identity and name not in self.marks
                }
        return finished

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows and flush them, so they are not lost if the process is killed."""
        with explain_write(self.part):
            if self._stream is None:
                _drop_torn_line(self.part)
                self._stream = open(self.part, "a", encoding="utf-8")  # noqa: SIM115
            self._stream.writelines(f"{self._format(row)}\n" for row in rows)
            self._stream.flush()

    def _format(self, row: Mapping[str, Any]) -> str:
        return dump_json({**row, **self.marks})

    def close(self) -> None:
        """Stop writing."""
        if self._log is not None:
            self._log.close()
        if self._stream is not None:
            # If the disk was full, the buffer still has data, and `write` has already raised the error.
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None

    def finish(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write all rows of this attack to the file in order, and remove the parts."""
        self.close()
        lines: dict[str, list[str]] = {}  # the lines of each attack, in the order of the file
        for _, line, row in self._read_lines():
            lines.setdefault(row["attack"], []).append(line)
        lines[self.attack] = list(map(self._format, rows))
        # List the parts before writing the file and remove them afterwards, so a kill never loses rows.
        parts = [*self._list_parts(), *self._list_beside("answers")]
        text = "".join(f"{line}\n" for attack_lines in lines.values() for line in attack_lines)
        write_atomically(self.path, text)
        for path in parts:
            path.unlink()


def _drop_torn_line(path: Path) -> None:
    data = path.read_bytes() if path.is_file() else b""
    if data and not data.endswith(b"\n"):
        with open(path, "r+b") as stream:
            stream.truncate(data.rfind(b"\n") + 1)


def run_rows(
    examples: Sequence[Example],
    engine: Engine,
    search: Callable[[Example, Counter], Generator[Request, Any, Row]],
    parse: Callable[[Mapping[str, Any]], Row],
    file: RowsFile | None,
    name: str,
    success: str,
    budget: int | None = None,
    progress: bool | None = None,
) -> list[Row]:
    """Search the unfinished rows in this rank's share, and gather the results of all ranks.

    `search` makes the row's search. The result must have the row's `idx` and an `outcome`. `parse` makes a
    result from a line of the file. A progress bar shows `name` and the share of rows with the outcome
    `success`. Every rank receives all rows and returns all results, in the order of the rows.
    """
    rank, world = rank_and_world()
    results: list[Row] = []
    error: Exception | None = None
    with file or contextlib.nullcontext():
        if file:
            _lock_for_all(file, rank)
        try:
            if file:
                engine.log = file.open_answers()
            finished = file.read_finished() if file else {}
            # Repeat rows with failed queries.
            finished = {i: row for i, row in finished.items() if row.get("reason") != NO_ANSWER}
            share = examples[rank::world]
            results = [parse(finished[e.idx]) for e in share if e.idx in finished]
            outcomes: collections.Counter[str] = collections.Counter()
            searches = ((partial(search, e), budget) for e in share if e.idx not in finished)
            show = False if rank else progress  # only show one bar for all ranks
            with open_bar(len(share), name, "row", show=show, initial=len(results)) as bar:
                for new in engine.run(searches):
                    results += new
                    if file:
                        file.write(new)
                    outcomes.update(row["outcome"] for row in new)
                    if attempted := outcomes.total() - outcomes["skipped"]:
                        share_won = outcomes[success] / attempted
                        bar.set_postfix({success: f"{share_won:.3f}"}, refresh=False)
                    bar.update(len(new))
        except Exception as problem:  # every rank must reach `gather`
            error = problem
        finally:
            if file:
                file.close()
        by_idx = {row["idx"]: row for row in gather(results, error)}
        ordered = [by_idx[e.idx] for e in examples]
        if file and rank == 0:
            file.finish(ordered)
    wait()  # the next attack reads the file, so it must be complete
    return ordered


def _lock_for_all(file: RowsFile, rank: int) -> None:
    """Lock a file on the first rank. All ranks raise an error if it is already locked."""
    error: Exception | None = None
    try:
        if rank == 0:
            file.lock()
    except HfBatError as problem:
        error = problem
    gather([], error)


def read_rows(path: str | Path) -> list[AttackResult]:
    """Read a rows file of attacks. Lines without `attack` are ignored."""
    return [AttackResult.from_dict(row) for row in read_json_lines(path) if "attack" in row]
