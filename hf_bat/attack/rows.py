"""The rows to attack, and the JSON-lines file that their results are streamed to and read from."""

from __future__ import annotations

import glob
import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from hf_bat.attack.ranks import gather, wait
from hf_bat.attack.result import AttackResult
from hf_bat.data import drop_format, find_labels
from hf_bat.errors import HfBatError
from hf_bat.files import write_atomically
from hf_bat.labels import LabelMap
from hf_bat.perturbations.base import Texts
from hf_bat.tasks import Task

# An `AttackResult`, or the dict of a certificate's row.
Row = TypeVar("Row", bound=Mapping[str, Any])


@dataclass(frozen=True)
class Example:
    """A row to attack.

    Args:
        idx: the row's `idx`, or its number.
        texts: its sentences.
        label: its label as the model numbers it; None where it has none.
        reason: why the row cannot be attacked ("empty text", "broken text", "no label"); None where
            it can.
        number: its label as the task numbers it, whatever the model's order; of its hash.
    """

    idx: int | str
    texts: Texts
    label: int | None
    reason: str | None = None
    number: int | None = None


def read_examples(
    rows: Iterable[Mapping[str, Any]], task: Task, config: Any, limit: int | None = None
) -> list[Example]:
    """Take the rows of a data set as examples; every row becomes one.

    Args:
        rows: a `datasets.Dataset`, or any iterable of dicts with the task's columns.
        task: the task.
        config: the model's configuration, for its labels; None for a callable.
        limit: only the first so many rows, right or wrong.

    Raises:
        HfBatError: a missing column, a label that the model does not have, a repeated `idx`.
    """
    rows = drop_format(rows)
    column, labels = find_labels(rows, task, config)
    numbers = _places(labels, task.label_names or labels.data_names, labels.data_names)
    # With no other names than the model's, only labels given by name mean the same to each model;
    # training numbers such labels by the alphabet.
    alphabetical = (
        {} if labels.declared or task.label_names else _places(labels, sorted(labels.data_names))
    )
    examples: list[Example] = []
    seen: set[int | str] = set()
    for place, row in enumerate(rows):
        if limit is not None and place >= limit:
            break
        where = f"row {place}"
        given = ["" if t is None else str(t) for t in _texts(row, task, where)]
        texts = tuple(text.encode("utf-8", "replace").decode("utf-8") for text in given)
        idx = row.get("idx", place)
        idx = idx if isinstance(idx, (int, str)) else int(idx)
        if idx in seen:
            raise HfBatError(
                f"idx {idx!r} stands more than once; make it unique or drop the column"
            )
        seen.add(idx)
        value = row.get(column)
        label = labels.read_label(value, where)
        reason = "no label" if label is None else None
        if list(texts) != given:
            reason = "broken text"  # half of a surrogate pair: no tokenizer reads that
        if not all(text.strip() for text in texts):
            reason = "empty text"
        of_value = alphabetical if alphabetical and _is_name(value, labels) else numbers
        number = label if label is None else of_value.get(label, label)
        examples.append(Example(idx, texts, label, reason, number))
    return examples


def _places(labels: LabelMap, *orders: Sequence[str]) -> dict[int | None, int]:
    """The model's label -> its name's place, in the first order of names that all are the data's."""
    for names in orders:
        try:
            return {labels.read_label(n, "the task"): place for place, n in enumerate(names)}
        except HfBatError:  # the data set itself has other names than the task
            continue
    return {}


def _is_name(value: object, labels: LabelMap) -> bool:
    return isinstance(value, str) and labels.find_label(value, "the data") is not None


def _texts(row: Mapping[str, Any], task: Task, where: str) -> list[Any]:
    old = {new: name for name, new in task.renames.items()}
    found = []
    for column in task.columns:
        name = column if column in row else old.get(column, column)
        if name not in row:
            raise HfBatError(
                f"{where} has no column {column!r}; it has: {', '.join(map(str, row))}"
            )
        found.append(row[name])
    return found


def fingerprint(examples: Sequence[Example]) -> str:
    """A hash of the rows, whatever their order and that of the model's labels."""
    total = 0
    for e in examples:
        line = json.dumps([e.idx, e.texts, e.number]).encode()
        total += int.from_bytes(hashlib.sha256(line).digest(), "big")
    return hashlib.sha256(str(total).encode()).hexdigest()


class RowsFile:
    """Results as JSON lines, from which a killed run goes on.

    Each line says which attack, recipe, model and data it is of, so that a file is never continued by
    another run. Rank r of a run on several ranks writes its own part beside the file; `finish` puts
    the parts together.

    Args:
        path: the file.
        attack: the attack's key; lines of other attacks are left as they are.
        identity: what each of this attack's lines must match, such as `{"recipe": hash}`.
        rank: this process's number.
        world: how many there are.
        replace: take lines of this attack that do not match for out of date, and write over them.
        marks: what each line discloses beside the identity; see `hf_bat.attack.report.marks_of`. Lines
            without them, of earlier versions, get them in the end where they are continued.

    Raises:
        HfBatError: the file has lines of another identity, or is no rows file.
    """

    def __init__(
        self,
        path: str | Path,
        attack: str,
        identity: Mapping[str, str | None],
        rank: int = 0,
        world: int = 1,
        replace: bool = False,
        marks: Mapping[str, Any] | None = None,
    ):
        self.path, self.attack, self.identity = Path(path), attack, dict(identity)
        self.rank, self.world, self.replace = rank, world, replace
        self.marks = dict(marks or {})
        self.part = self.path if world == 1 else Path(f"{self.path}.rank{rank}")
        self._stream: TextIO | None = None
        if not self.path.parent.is_dir():
            raise HfBatError(f"cannot write {self.path}: no folder {self.path.parent}")
        if self.path.is_dir():
            raise HfBatError(f"cannot write {self.path}: it is a folder; name a file")

    def _files(self) -> list[Path]:
        parts = sorted(self.path.parent.glob(f"{glob.escape(self.path.name)}.rank*"))
        return [p for p in (self.path, *parts) if p.is_file()]

    def read_finished(self) -> dict[int | str, dict[str, Any]]:
        """Read the rows of this attack that are done, by idx.

        A line that was cut short by a kill is left out, and so is what `write` adds to each line.
        """
        finished = {}
        for path in self._files():
            for number, line in enumerate(_whole_lines(path), start=1):
                row = _parse(line, path, number)
                if row["attack"] != self.attack:
                    continue
                others = [name for name, value in self.identity.items() if row.get(name) != value]
                if others and not self.replace:
                    name = others[0]
                    raise HfBatError(
                        f"{path}, line {number}: these rows are of another {name} "
                        f"({row.get(name)}, not {self.identity[name]}); give another file or delete it"
                    )
                if not others:
                    finished[row["idx"]] = {
                        name: value
                        for name, value in row.items()
                        if name not in self.identity and name not in self.marks
                    }
        return finished

    @property
    def _marks(self) -> dict[str, Any]:
        """What each row carries of the identity, and what it discloses."""
        identity = {what: own for what, own in self.identity.items() if own is not None}
        return identity | self.marks

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows; they survive the process being killed from here on."""
        if self._stream is None:
            _drop_torn_line(self.part)
            self._stream = open(self.part, "a", encoding="utf-8")  # noqa: SIM115
        for row in rows:
            line = {**row, **self._marks}
            self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Stop writing."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def finish(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put all rows of this attack into the file, in their order, and remove the parts."""
        self.close()
        lines: dict[str, list[str]] = {}  # attack -> its lines, attacks in the order of the file
        for path in self._files():
            for number, line in enumerate(_whole_lines(path), start=1):
                lines.setdefault(_parse(line, path, number)["attack"], []).append(line)
        lines[self.attack] = [
            json.dumps({**row, **self._marks}, ensure_ascii=False) for row in rows
        ]
        text = "".join(f"{line}\n" for part in lines.values() for line in part)
        parts = [path for path in self._files() if path != self.path]
        write_atomically(self.path, text)
        for path in parts:
            path.unlink()


def run_rows(
    examples: Sequence[Example],
    work: Callable[[Sequence[Example], int], Iterator[Sequence[Row]]],
    parse: Callable[[Mapping[str, Any]], Row],
    file: RowsFile | None,
    rank: int,
    world: int,
) -> list[Row]:
    """Do what the file does not hold yet of this rank's share, and bring all ranks' results together.

    Args:
        examples: All rows, on every rank.
        work: Takes rows and the number of rows already done. Yields their results in any order, each
            with the `idx` of its row.
        parse: Makes a result from a line of the file.
        file: Where results are streamed to, or `None`.
        rank: Index of this process.
        world: Number of processes.

    Returns:
        The results of all rows in their order, on every rank.

    Raises:
        BaseException: What `work` raised, after all other ranks were told.
    """
    results: list[Row] = []
    error: Exception | None = None
    try:
        finished = file.read_finished() if file else {}
        share = examples[rank::world]
        results = [parse(finished[e.idx]) for e in share if e.idx in finished]
        for new in work([e for e in share if e.idx not in finished], len(results)):
            results += new
            if file:
                file.write(new)
    except Exception as problem:  # every rank must reach the gathering
        error = problem
    finally:
        if file:
            file.close()
    by_idx = {row["idx"]: row for row in gather(results, error, world)}
    ordered = [by_idx[e.idx] for e in examples]
    if file and rank == 0:
        file.finish(ordered)
    wait(world)  # the next attack reads the file, so it must be whole
    return ordered


def read_rows(path: str | Path) -> list[AttackResult]:
    """Read a rows file of attacks.

    Args:
        path: JSON lines, gzipped if the name ends in ".gz". Lines without `attack` are ignored.

    Raises:
        HfBatError: The file cannot be read, or a line is not the result of an attack.
    """
    rows = read_json_lines(path)
    return [AttackResult.from_dict(row) for row in rows if "attack" in row]


def read_json_lines(path: str | Path) -> list[dict[str, Any]]:
    """Read the objects of a file of JSON lines, gzipped if its name ends in ".gz".

    Raises:
        HfBatError: The file cannot be read, or a line is not a JSON object.
    """
    path = Path(path)
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            rows = [
                (number, json.loads(line)) for number, line in enumerate(lines, 1) if line.strip()
            ]
    except OSError as error:
        raise HfBatError(f"rows file {path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise HfBatError(f"{path} is not JSON lines: {error}") from error
    for number, row in rows:
        if not isinstance(row, dict):
            raise HfBatError(f"{path}, line {number}: not a JSON object")
    return [row for _, row in rows]


def _whole_lines(path: Path) -> list[str]:
    """The lines that were written to their end."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    return text.split("\n")[:-1]


def _parse(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
        row["attack"], row["idx"]
    except (ValueError, KeyError, TypeError) as error:
        raise HfBatError(
            f"{path}, line {number}: not a row of an attack; give another file or delete it"
        ) from error
    return row


def _drop_torn_line(path: Path) -> None:
    if path.is_file():
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            with open(path, "r+b") as stream:
                stream.truncate(data.rfind(b"\n") + 1)
