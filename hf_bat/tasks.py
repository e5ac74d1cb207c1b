"""What a task is: its columns, its label names, the labels that an obstinate edit may not touch."""

from __future__ import annotations

import csv
import difflib
import glob
import gzip
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError

if TYPE_CHECKING:
    from datasets import Dataset

_NLI_LABELS = ("entailment", "neutral", "contradiction")
_FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}


@dataclass(frozen=True)
class Task:
    """A classification task over one sentence or a pair.

    Args:
        name: the task's short name.
        columns: the text column, or the two.
        label_names: the label names, in the order of the integer labels; empty to take them from
            the data. Where all are whole numbers, but not those from 0 up, integer labels are these names.
        skipped_labels: names of labels that an obstinate perturbation leaves alone, because an
            antonym is unlikely to change them: neutral for inference, the negative class for
            paraphrase (paper, section 3.2).
        label_column: the column that holds the label.
        metrics: packaged metrics that evaluation reports.
        hub: `(path, configuration)` of the data set on the Hub, None for a user's own.
        splits: the Hub's split names by role: train, validation, test; `validation_mm` for MNLI's
            mismatched set.
        renames: other names under which the Hub has the columns.

    Raises:
        HfBatError: not one or two columns, or a skipped label that is none of the labels.

    Example:
        >>> Task("intent", columns=("utterance",), label_names=("book", "cancel")).is_pair
        False
    """

    name: str
    columns: tuple[str, ...]
    label_names: tuple[str, ...] = ()
    skipped_labels: tuple[str, ...] = ()
    label_column: str = "label"
    metrics: tuple[str, ...] = ("accuracy",)
    hub: tuple[str, str | None] | None = None
    splits: Mapping[str, str] = field(
        default_factory=lambda: {"train": "train", "validation": "validation", "test": "test"}
    )
    renames: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.columns) not in (1, 2):
            raise HfBatError(
                f"task {self.name!r} has {len(self.columns)} text columns; give one or two"
            )
        unknown = [name for name in self.skipped_labels if name not in self.label_names]
        if self.label_names and unknown:
            raise HfBatError(
                f"skipped label {unknown[0]!r} is not a label of task {self.name!r}; "
                f"labels: {', '.join(self.label_names)}"
            )

    @property
    def is_pair(self) -> bool:
        """Whether an input is a pair of sentences."""
        return len(self.columns) == 2


_MNLI = Task(
    "mnli",
    ("premise", "hypothesis"),
    _NLI_LABELS,
    ("neutral",),
    hub=("nyu-mll/glue", "mnli"),
    splits={
        "train": "train",
        "validation": "validation_matched",
        "validation_mm": "validation_mismatched",
        "test": "test_matched",
        "test_mm": "test_mismatched",
    },
)

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _MNLI,
        Task(
            "mrpc",
            ("sentence1", "sentence2"),
            ("not_equivalent", "equivalent"),
            ("not_equivalent",),
            metrics=("accuracy", "f1"),
            hub=("nyu-mll/glue", "mrpc"),
        ),
        Task(
            "qqp",
            ("question1", "question2"),
            ("not_duplicate", "duplicate"),
            ("not_duplicate",),
            metrics=("accuracy", "f1"),
            hub=("nyu-mll/glue", "qqp"),
        ),
        Task(
            "sick",
            ("premise", "hypothesis"),
            _NLI_LABELS,
            ("neutral",),
            hub=("RobZamp/sick", None),
            renames={"sentence_A": "premise", "sentence_B": "hypothesis"},
        ),
        Task(
            "snli",
            ("premise", "hypothesis"),
            _NLI_LABELS,
            ("neutral",),
            hub=("stanfordnlp/snli", None),
        ),
        Task(
            "wiki-toxic",
            ("comment_text",),
            ("non", "toxic"),
            metrics=("accuracy", "f1"),
            hub=("OxAISH-AL-LLM/wiki_toxic", None),
            splits={"train": "train", "validation": "validation", "test": "test"},
        ),
    )
}


def get_task(name: str | Task) -> Task:
    """Look a task up by its name.

    Args:
        name: a name of `TASKS` (case and `_` for `-` do not matter), or a `Task`, which is returned.

    Returns:
        The task.

    Raises:
        HfBatError: an unknown name; the message names the nearest one.

    Example:
        >>> get_task("SNLI").columns
        ('premise', 'hypothesis')
    """
    if isinstance(name, Task):
        return name
    key = str(name).lower().replace("_", "-")
    if key not in TASKS:
        near = difflib.get_close_matches(key, TASKS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise HfBatError(
            f"unknown task {name!r}{hint}; known: {', '.join(TASKS)}; "
            "for your own, give its columns and label names"
        )
    return TASKS[key]


def user_task(
    columns: Sequence[str],
    label_names: Sequence[str] = (),
    skipped_labels: Sequence[str] = (),
    label_column: str = "label",
    name: str = "custom",
) -> Task:
    """Describe a user's own task; see `Task` for the arguments.

    Args:
        columns: the text column, or the two.
        label_names: the label names, in the order of the integer labels; empty to take them from the data.
            See `Task` for names that are numbers.
        skipped_labels: names of labels that an obstinate perturbation leaves alone.
        label_column: the column that holds the label.
        name: the task's short name.

    Returns:
        The task.

    Raises:
        HfBatError: no text column or more than two, or a skipped label that is no label.

    Example:
        >>> user_task(["utterance"], ["book", "cancel"]).metrics
        ('accuracy',)
    """
    return Task(
        name, tuple(columns), tuple(label_names), tuple(skipped_labels), label_column=label_column
    )


def refuse_own_flags(task: Task, given: Mapping[str, Any]) -> None:
    """Refuse flags that describe a user's own task beside a known one, which would not read them.

    Args:
        task: the known task.
        given: flag -> whether it is given, or its value.

    Raises:
        HfBatError: one is given.

    Example:
        >>> refuse_own_flags(TASKS["snli"], {"--label-names": [], "--skipped-labels": ["neutral"]})
        Traceback (most recent call last):
        hf_bat.errors.HfBatError: --skipped-labels is for --columns; task snli has its own
    """
    for flag, value in given.items():
        if value:
            raise HfBatError(f"{flag} is for --columns; task {task.name} has its own")


def task_of_arguments(arguments: Mapping[str, Any]) -> Task:
    """The task that a training's arguments name or describe.

    Args:
        arguments: `task_name`; or `columns`, and what else of `label_column`, `class_names` and
            `skipped_labels` describes a user's own; `validation_mm_file`, which not every task has.

    Raises:
        HfBatError: an unknown task, or arguments that the task would not read.

    Example:
        >>> task_of_arguments({"columns": ["text"], "label_column": "intent"}).label_column
        'intent'
    """
    own = {name: arguments.get(name) or () for name in ("class_names", "skipped_labels")}
    label_column = arguments.get("label_column") or "label"
    if arguments.get("task_name") is not None:
        task = get_task(arguments["task_name"])
        given = {"label_column": label_column != "label", **own}
        refuse_own_flags(task, {f"--{name}": value for name, value in given.items()})
    else:
        task = user_task(
            arguments["columns"], own["class_names"], own["skipped_labels"], label_column
        )
    if arguments.get("validation_mm_file") and "validation_mm" not in task.splits:
        raise HfBatError(
            f"--validation_mm_file is for the mismatched set of mnli; task {task.name} has none"
        )
    return task


def load_split(path: str | Path, cache_dir: str | None = None) -> Dataset:
    """Read one local data file: csv, tsv, json, jsonl, ndjson or parquet, the text ones gzipped too.

    Args:
        path: the file.
        cache_dir: where `datasets` keeps its converted copy; its own default where None.

    Returns:
        The rows as a `datasets.Dataset`.

    Raises:
        HfBatError: the file is missing, unreadable, or of another kind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "dev.csv")
        ...     _ = path.write_text("text,label\\nA dog.,1\\n", encoding="utf-8")
        ...     rows = load_split(path, cache_dir=folder).to_list()
        >>> rows
        [{'text': 'A dog.', 'label': 1}]
    """
    path = Path(path)
    if not path.is_file():
        raise HfBatError(f"data file not found: {path}")
    suffixes = path.suffixes[:-1] if path.suffix == ".gz" else path.suffixes
    kind = _FORMATS.get(suffixes[-1].lower()) if suffixes else None
    if kind is None:
        raise HfBatError(
            f"cannot tell the format of {path}; known endings: {', '.join(_FORMATS)} (.gz)"
        )
    from datasets import load_dataset

    options: dict[str, Any] = {}
    if kind == "csv":
        # An empty cell is an empty text, to be dropped with a count, not a missing value.
        options["keep_default_na"] = False
    logger = logging.getLogger("datasets")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # it reports what the error below says
    try:
        if suffixes[-1].lower() == ".tsv":
            options |= {"delimiter": "\t", "quoting": _tsv_quoting(path)}
        return load_dataset(
            kind, data_files=glob.escape(str(path)), split="train", cache_dir=cache_dir, **options
        )
    except Exception as error:  # `datasets` wraps every parser's own errors
        cause = error.__cause__ or error
        reason = (str(cause).splitlines() or ["it holds no rows"])[0]
        raise HfBatError(f"cannot read {path}: {reason}") from error
    finally:
        logger.setLevel(level)


def _tsv_quoting(path: Path) -> int:
    """Whether a TSV file quotes its cells, as pandas does, or its quotes are letters, as in GLUE's.

    Were GLUE's read as quoting, a cell that only begins with a quote would swallow the rows up to the next.
    """
    open_text = gzip.open if path.suffix == ".gz" else open
    widths = set()
    with open_text(path, "rt", encoding="utf-8", errors="replace", newline="") as file:
        try:
            for cells in csv.reader(file, delimiter="\t", strict=True):
                if any("\t" in cell and "\n" in cell for cell in cells):
                    return csv.QUOTE_NONE
                widths.add(len(cells))
        except csv.Error:
            return csv.QUOTE_NONE
    return csv.QUOTE_MINIMAL if len(widths - {0}) < 2 else csv.QUOTE_NONE


def load_hub_split(task: Task, role: str, revision: str | None = None) -> Dataset:
    """Load one split of a task from the Hub.

    Args:
        task: a task with a Hub data set.
        role: a key of `task.splits`, such as `"validation_mm"`.
        revision: the data set's revision.

    Raises:
        HfBatError: the task has no Hub data set or split of that role, or it cannot be fetched.
    """
    if task.hub is None:
        raise HfBatError(f"task {task.name!r} names no Hub data set; give local files instead")
    if role not in task.splits:
        raise HfBatError(
            f"task {task.name!r} has no split {role!r}; it has: {', '.join(task.splits)}"
        )
    from datasets import load_dataset

    path, configuration = task.hub
    try:
        return load_dataset(path, configuration, split=task.splits[role], revision=revision)
    except Exception as error:
        raise HfBatError(
            f"cannot load {path} ({task.splits[role]}) from the Hub: {str(error).splitlines()[0]}; "
            "give --train_file and --validation_file to use local files"
        ) from error


def with_label_names(task: Task, names: Sequence[str]) -> Task:
    """The same task with label names taken from the data, where it had none of its own."""
    return task if task.label_names else replace(task, label_names=tuple(names))
