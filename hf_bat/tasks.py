"""Tasks (columns, label names, labels skipped by obstinate edits), and loading of files and Hub data."""

from __future__ import annotations

import glob
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError, suggest
from hf_bat.files import hash_file, parse_json, read_bytes
from hf_bat.reading import read_table, scan_text

if TYPE_CHECKING:
    from datasets import Dataset

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
    """A classification task over single sentences or sentence pairs.

    Args:
        name: Short name of the task.
        columns: The text column, or both columns for pairs.
        label_names: Label names in the order of the integer labels. If empty, they are taken from the data.
            If all names are integers other than 0, 1, ..., integer labels are names and not
            positions.
        skipped_labels: Names of labels that obstinate perturbations skip, because an antonym is unlikely to
            change them: neutral for inference, and the negative class for paraphrases (paper, section 3.2).
        label_column: The label column. Defaults to "label".
        metrics: Packaged metrics to report in evaluation. Defaults to accuracy.
        hub: `(path, configuration)` of the dataset on the Hub, or `None` for local data.
        splits: Split names on the Hub by role: train, validation and test, with `validation_mm` and
            `test_mm` for MNLI's mismatched sets.
        renames: Dict of column name on the Hub -> column name in the task.

    Raises:
        HfBatError: If there are not one or two columns, or a skipped label is not among the labels.

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


# Columns, label names and skipped labels of natural language inference.
_NLI = ("premise", "hypothesis"), ("entailment", "neutral", "contradiction"), ("neutral",)
_MNLI_SPLITS = {
    "train": "train",
    "validation": "validation_matched",
    "validation_mm": "validation_mismatched",
    "test": "test_matched",
    "test_mm": "test_mismatched",
}
# F1 for tasks with very unbalanced classes.
_METRICS = ("accuracy", "f1")
_TWO_WAY = ("entailment", "not_entailment"), ("not_entailment",)
# Data sets that use their labeled test set for validation.
_NO_VALIDATION = {"train": "train", "validation": "test", "test": "test"}
_LISTED = (
    Task(
        "ag-news",
        ("text",),
        ("World", "Sports", "Business", "Sci/Tech"),
        hub=("fancyzhx/ag_news", None),
        splits=_NO_VALIDATION,
    ),
    Task(
        "anli",
        *_NLI,
        hub=("facebook/anli", None),
        # The third round is the hardest.
        splits={"train": "train_r3", "validation": "dev_r3", "test": "test_r3"},
    ),
    Task("cola", ("sentence",), ("unacceptable", "acceptable"), hub=("nyu-mll/glue", "cola")),
    Task(
        "hans",
        ("premise", "hypothesis"),
        ("entailment", "non-entailment"),
        ("non-entailment",),
        hub=("jhu-cogsci/hans", None),
        splits={"train": "train", "validation": "validation"},
    ),
    Task(
        "imdb",
        ("text",),
        ("neg", "pos"),
        hub=("stanfordnlp/imdb", None),
        splits=_NO_VALIDATION,
    ),
    Task("mnli", *_NLI, hub=("nyu-mll/glue", "mnli"), splits=_MNLI_SPLITS),
    Task(
        "mrpc",
        ("sentence1", "sentence2"),
        ("not_equivalent", "equivalent"),
        ("not_equivalent",),
        metrics=_METRICS,
        hub=("nyu-mll/glue", "mrpc"),
    ),
    Task(
        "paws",
        ("sentence1", "sentence2"),
        ("not_paraphrase", "paraphrase"),
        ("not_paraphrase",),
        metrics=_METRICS,
        hub=("google-research-datasets/paws", "labeled_final"),
    ),
    Task("qnli", ("question", "sentence"), *_TWO_WAY, hub=("nyu-mll/glue", "qnli")),
    Task(
        "qqp",
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        ("not_duplicate",),
        metrics=_METRICS,
        hub=("nyu-mll/glue", "qqp"),
    ),
    Task("rte", ("sentence1", "sentence2"), *_TWO_WAY, hub=("nyu-mll/glue", "rte")),
    Task(
        "sick",
        *_NLI,
        hub=("RobZamp/sick", None),
        renames={"sentence_A": "premise", "sentence_B": "hypothesis"},
    ),
    Task("snli", *_NLI, hub=("stanfordnlp/snli", None)),
    Task("sst2", ("sentence",), ("negative", "positive"), hub=("nyu-mll/glue", "sst2")),
    Task(
        "wiki-toxic",
        ("comment_text",),
        ("non", "toxic"),
        metrics=_METRICS,
        hub=("OxAISH-AL-LLM/wiki_toxic", None),
    ),
)
TASKS: dict[str, Task] = {task.name: task for task in _LISTED}


def get_task(name: str | Task) -> Task:
    """Return the task with the given name.

    Args:
        name: A name in `TASKS` (case is ignored, and `_` is the same as `-`), or a `Task`, which is
            returned.

    Raises:
        HfBatError: If the name is unknown. The message suggests the closest one.

    Example:
        >>> get_task("SNLI").columns
        ('premise', 'hypothesis')
    """
    if isinstance(name, Task):
        return name
    key = str(name).lower().replace("_", "-")  # the Hub has "wiki_toxic"
    if key not in TASKS:
        raise HfBatError(
            f"unknown task {name!r}{suggest(key, TASKS)}; known: {', '.join(TASKS)}; "
            "for your own task give its columns and label names"
        )
    return TASKS[key]


def user_task(
    columns: Sequence[str],
    label_names: Sequence[str] = (),
    skipped_labels: Sequence[str] = (),
    label_column: str = "label",
    name: str = "custom",
) -> Task:
    """Create a task for your own data.

    Args:
        columns: The text column, or both columns for pairs.
        label_names: Label names in the order of the integer labels. If empty, they are taken from the data.
        skipped_labels: Names of labels that obstinate perturbations skip.
        label_column: The label column. Defaults to "label".
        name: Short name of the task. Defaults to "custom".

    Returns:
        The task. Its metric is accuracy.

    Example:
        >>> user_task(["utterance"], ["book", "cancel"]).metrics
        ('accuracy',)
    """
    return Task(
        name, tuple(columns), tuple(label_names), tuple(skipped_labels), label_column=label_column
    )


def with_label_names(task: Task, names: Sequence[str]) -> Task:
    """Return the task with these label names if it has none."""
    return task if task.label_names else replace(task, label_names=tuple(names))


def build_task(arguments: Mapping[str, Any]) -> Task:
    """Build the task specified by the arguments of a command or a training run.

    `arguments` has `task_name`, or `columns` and optionally `label_column`, `class_names` and
    `skipped_labels` for a custom task. `dataset_name` and `dataset_config_name` select another data set on
    the Hub than the task's.
    """
    if bool(arguments.get("task_name")) == bool(arguments.get("columns")):
        raise HfBatError("use either --task or --columns")
    label_column = arguments.get("label_column") or "label"
    own = {name: arguments.get(name) or () for name in ("class_names", "skipped_labels")}
    if arguments.get("task_name") is None:
        task = user_task(
            arguments["columns"], own["class_names"], own["skipped_labels"], label_column
        )
    else:
        task = get_task(arguments["task_name"])
        # They would be ignored.
        for name, value in {"label_column": label_column != "label", **own}.items():
            if value:
                raise HfBatError(f"--{name} is for --columns; task {task.name} has its own")
    if arguments.get("validation_mm_file") and "validation_mm" not in task.splits:
        raise HfBatError(
            f"--validation_mm_file is for the mismatched set of mnli; task {task.name} has none"
        )
    configuration = arguments.get("dataset_config_name")
    if arguments.get("dataset_name"):
        return replace(task, hub=(arguments["dataset_name"], configuration))
    if configuration:
        raise HfBatError(
            "--dataset_config_name is a configuration of --dataset_name: give that too"
        )
    return task


def load_split(path: str | Path, cache_dir: str | None = None, task: Task | None = None) -> Dataset:
    """Load the rows of a local file: csv, tsv, json, jsonl, ndjson (optionally gzipped) or parquet.

    Args:
        path: The file.
        cache_dir: Folder for the converted copy that `datasets` stores. If `None`, its default is
            used.
        task: Task of the rows. In CSV and TSV files, cells in its text columns are not parsed as
            numbers.

    Returns:
        The rows with the columns of the file.

    Raises:
        HfBatError: If the file is missing, unreadable or in an unknown format, or the number of cells in a
            line of a CSV or TSV file differs from the header.

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
    # The suffix of "dev.jsonl.gz" is ".jsonl".
    suffix = Path(path.stem if path.suffix == ".gz" else path.name).suffix.lower()
    if suffix not in _FORMATS:
        raise HfBatError(
            f"cannot tell the format of {path}; known endings: {', '.join(_FORMATS)} (.gz)"
        )
    logger = logging.getLogger("datasets")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # the error below has the same information
    try:
        if suffix in (".csv", ".tsv"):
            from datasets import Dataset

            delimiter = "," if suffix == ".csv" else "\t"
            texts = () if task is None else (*task.columns, *task.renames)
            return Dataset.from_dict(read_table(path, delimiter, texts))
        rows = _load_cached(path, _FORMATS[suffix], cache_dir)
        if _FORMATS[suffix] == "json":
            _check_orientation(rows, path, task)
            rows = _restore_texts(rows, path)
        return rows
    except HfBatError:
        raise
    except Exception as error:  # `datasets` wraps the errors of every parser
        cause = error.__cause__ or error
        reason = (str(cause).splitlines() or ["it contains no rows"])[0]
        raise HfBatError(f"cannot read {path}: {reason}") from error
    finally:
        logger.setLevel(level)


def _check_orientation(rows: Dataset, path: Path, task: Task | None) -> None:
    """Check that a JSON file has rows. One object with columns or with a list of rows looks like one row."""
    if len(rows) != 1:
        return
    row = rows[0]
    texts = {*task.columns, *task.renames} & row.keys() if task else set()
    has_text = any(isinstance(row[name], str) for name in texts or row)
    lists = [key for key, value in row.items() if isinstance(value, list)]
    inner = [key for key in lists if row[key] and isinstance(row[key][0], dict)]
    if inner and not (has_text and (texts or task is None)):
        raise HfBatError(
            f"{path}: its rows are in {inner[0]!r}; write only this list, or one row per line (JSON Lines)"
        )
    if has_text or not any(isinstance(value, (list, dict)) for value in row.values()):
        return
    raise HfBatError(
        f"{path}: it holds columns, not rows; write one row per line, with pandas "
        'to_json(path, orient="records", lines=True)'
    )


def _restore_texts(rows: Dataset, path: Path) -> Dataset:
    """Return rows of a JSON file with the original strings in columns that were read as dates."""
    dates = {
        name
        for name, feature in rows.features.items()
        if str(getattr(feature, "dtype", "")).startswith(("timestamp", "date", "time"))
    }
    if not dates:
        return rows
    text = read_bytes(path).decode(scan_text(path).encoding)
    is_list = text.lstrip().startswith("[")
    given = parse_json(text) if is_list else map(parse_json, filter(str.strip, text.split("\n")))
    columns: dict[str, list[Any]] = {name: [] for name in dates}
    for row in given:
        for name, values in columns.items():
            values.append(row.get(name))
    order = rows.column_names
    for name, values in columns.items():
        rows = rows.remove_columns(name).add_column(name, values)
    return rows.select_columns(order)


def _load_cached(path: Path, file_format: str, cache_dir: str | None) -> Dataset:
    """Load a JSON or Parquet file through the cache of `datasets`."""
    from datasets import load_dataset

    options: dict[str, Any] = {}
    if file_format == "json":
        scan = scan_text(path, is_json=True)
        digest, options["encoding"] = scan.sha256, scan.encoding
    else:
        digest = hash_file(path)
    # `datasets` identifies files by name and time, so the cached copy is named by content instead. A path
    # may contain characters that `datasets` would interpret as a pattern.
    files = glob.escape(str(path))
    return load_dataset(
        file_format,
        f"content-{digest[:16]}",
        data_files=files,
        split="train",
        cache_dir=cache_dir,
        **options,
    )


def load_hub_split(
    task: Task,
    role: str,
    split: str | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> Dataset:
    """Load rows of a task from the Hub.

    Args:
        task: The task.
        role: A key of `task.splits`.
        split: Name of the split. Defaults to the task's split for the role.
        revision: Branch, tag or commit of the data set. Defaults to the main branch.
        token: Hub token for private data. Defaults to the logged-in user's.

    Raises:
        HfBatError: If the task has no data set, or it cannot be loaded.
    """
    if task.hub is None:
        raise HfBatError(
            f"task {task.name!r} has no dataset on the Hub; use local files or --dataset_name"
        )
    if split is None and role not in task.splits:
        raise HfBatError(
            f"task {task.name!r} has no split {role!r}; it has: {', '.join(task.splits)}"
        )
    from datasets import load_dataset

    path, configuration = task.hub
    split = split or task.splits[role]
    try:
        return load_dataset(path, configuration, split=split, revision=revision, token=token)
    except Exception as error:  # many kinds: no network, no access, no such dataset
        raise HfBatError(
            f"cannot load {path} ({split}) from the Hub: {str(error).splitlines()[0]}; "
            "use --train_file and --validation_file, or --data, for local files"
        ) from error
