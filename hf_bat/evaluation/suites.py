"""Public suites of contrast sets, read in the format published by their authors.

`FORMATS` has one entry per suite, which defines how to recognize its files, read its rows and find their
categories. The formats are described here:

- advglue: https://github.com/AI-secure/adversarial-glue (README, "Data Format", and `dev.json`). The later
  `dev_ann.json` of https://adversarialglue.github.io adds `method` and `data_construction`.
- breaking_nli: https://github.com/BIU-NLP/Breaking_NLI (README, "Fields").
- cad: https://github.com/acmi-lab/counterfactually-augmented-data (README; `NLI/*/*.tsv`,
  `sentiment/*/*.tsv`). These files quote cells that contain a quote, as spreadsheets do.
- hans: https://github.com/tommccoy1/hans (README, "Data"; `evaluate_heur_output.py` treats neutral and
  contradiction as non-entailment).
- med: https://github.com/verypluming/MED (`MED.tsv`; `genre` contains the monotonicity between
colons).
- monli: https://github.com/atticusg/MoNLI (README; the released files lack the two `_lex` fields).
- nli_stress: https://github.com/AbhilashaRavichander/NLI_StressTest (`eval.py` and the scripts that make
  the tests; rows come from MultiNLI 0.9, the combined file has a `source`).
- rules: the output of `hf-bat suite`, or any rows with the columns of a task, `label` and
`category`.
- paws: https://github.com/google-research-datasets/paws (README; `qqp_generate_data.py` writes bytes, which
  Python 3 shows as b'...').
"""

from __future__ import annotations

import ast
import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.files import parse_json, read_bytes
from hf_bat.labels import (
    NO_GOLD,
    UNLABELED,
    check_single_label,
    find_name,
    has_named_labels,
    list_label_names,
)
from hf_bat.reading import detect_tsv_quoting

Row = Mapping[str, Any]

#: Name of the other kind of contrast set, with `original_idx` in its rows.
PAIRS = "pairs"
#: Name of the format that `hf-bat suite` writes.
RULES = "rules"


@dataclass(frozen=True)
class Labels:
    """The labels of a suite.

    Args:
        names: Label names in the order of their integers.
        aliases: Dict of other name, in the data or in a model -> label it is treated as.
        outputs: Labels of the outputs of a model without label names, if they are not `names`.

    Example:
        >>> TWO_WAY.fold("Neutral"), TWO_WAY.fold("entailment"), TWO_WAY.fold("duplicate")
        ('non-entailment', 'entailment', None)
    """

    names: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    def fold(self, name: str) -> str | None:
        """Return the label that a name is treated as, or `None`."""
        known = (*self.names, *self.aliases)
        position = find_name(name, known, "a suite")
        return None if position is None else self.aliases.get(known[position], known[position])

    def list_folded(self, names: Sequence[str]) -> dict[str, str]:
        """Return the names that are treated as labels with other names, and these labels."""
        folded = {name: self.fold(name) for name in names}
        return {
            name: label
            for name, label in folded.items()
            if label is not None and find_name(name, self.names, "a suite") is None
        }


_NLI = Labels(("entailment", "neutral", "contradiction"))
_NEGATIVE = ("neutral", "contradiction")
TWO_WAY = Labels(
    ("entailment", "non-entailment"),
    dict.fromkeys((*_NEGATIVE, "not_entailment"), "non-entailment"),
    outputs=_NLI.names,
)
_SENTIMENT = Labels(("negative", "positive"), {"neg": "negative", "pos": "positive"})
_PARAPHRASE = Labels(
    ("not_paraphrase", "paraphrase"),
    {
        **dict.fromkeys(("not_duplicate", "not_equivalent"), "not_paraphrase"),
        **dict.fromkeys(("duplicate", "equivalent"), "paraphrase"),
    },
)


@dataclass(frozen=True)
class Part:
    """Rows with the same structure: text columns, label column and labels."""

    texts: tuple[str, ...]
    label: str
    labels: Labels
    # Whether integers are accepted as labels by position, in addition to names.
    is_numbered: bool = False


@dataclass(frozen=True)
class Format:
    """A published suite.

    Args:
        name: Name for `--format`.
        parts: Dict of name -> part. Parts are the tasks of a suite, or the column sets that a file may
            have.
        recognize: Function that returns whether a file belongs to this suite, given its first row, its path
            and whether it is a table.
        categorize: Function that returns the row's category, given the row and the path of the
            file.
        is_document: Whether a file is a single JSON object of part name -> list of rows.
        is_quoted: Whether cells of a table may be quoted. Otherwise quotes are text.
        clean: Function that cleans a text.
    """

    name: str
    parts: Mapping[str, Part]
    recognize: Callable[[Row, Path, bool], bool]
    categorize: Callable[[Row, Path], str]
    is_document: bool = False
    is_quoted: bool = False
    clean: Callable[[str], str] = str


@dataclass(frozen=True)
class SuiteRow:
    """One row of a suite. `label` is `None` if the row has no label."""

    texts: tuple[str, ...]
    label: str | None
    category: str


@dataclass(frozen=True)
class SuiteRows:
    """The rows of a suite file.

    Args:
        name: Name of the format, with the part if the suite has several tasks: "advglue:sst2".
        path: The file.
        labels: Labels of the suite.
        rows: The rows in the order of the file.
        folded: Dict of label name in the file -> label it is treated as.
    """

    name: str
    path: Path
    labels: Labels
    rows: tuple[SuiteRow, ...]
    folded: Mapping[str, str]

    def name_outputs(self, config: Any, names: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the label names of a model's outputs, and check that they include all labels of the rows.

        Args:
            config: The model's configuration, or `None` for a function.
            names: Label names of the outputs. If empty, the names in the model are used, or those in the
                suite if the model has none.
        """
        outputs = tuple(names) or self.labels.outputs or self.labels.names
        if config is not None:
            check_single_label(config)
            if not names and has_named_labels(config):
                outputs = list_label_names(config)
            elif not names and config.num_labels == len(self.labels.names):
                outputs = self.labels.names
            if len(outputs) != config.num_labels:
                raise HfBatError(
                    f"the model has {config.num_labels} outputs, not {len(outputs)} "
                    f"({', '.join(outputs)}); name them with --label-names"
                )
        known = {self.labels.fold(name) for name in outputs}
        missing = [
            label
            for label in self.labels.names
            if label not in known and any(row.label == label for row in self.rows)
        ]
        if missing:
            raise HfBatError(
                f"label {missing[0]!r} of {self.name} is not one of the model's ({', '.join(outputs)}); "
                "if these are other words for the same, use --label-names"
            )
        return outputs


def read_suite(
    path: str | Path, name: str | None = None, columns: Sequence[str] = ()
) -> SuiteRows | None:
    """Read a file of a public suite, or the output of `hf-bat suite`.

    Args:
        path: The file as published. It may be gzipped.
        name: A name in `FORMATS`, with the task after a colon if the file contains several ("advglue:sst2"),
            or "pairs". If `None`, the format is detected.
        columns: Text columns of your own task, for the output of `hf-bat suite`. Its labels are then those in
            the file. Other formats have their own columns.

    Returns:
        The rows. `None` for "pairs", and for a file of an unknown format if `name` is `None`.

    Raises:
        HfBatError: If the file cannot be read or does not fit its format, if the format is unknown, or
            if several formats match without `name`.

    Example:
        >>> import tempfile
        >>> line = '{"sentence1": "A cat.", "sentence2": "A pet.", "gold_label": "entailment", "depth": 1}'
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "pmonli.jsonl")
        ...     _ = file.write_text(line, encoding="utf-8")
        ...     suite = read_suite(file)
        >>> suite.name, suite.rows[0].label, suite.rows[0].category
        ('monli', 'entailment', 'pmonli')
    """
    path = Path(path)
    format_name, _, part_name = (name or "").partition(":")
    if name is not None and format_name not in (PAIRS, *FORMATS):
        known = ", ".join((PAIRS, *sorted(FORMATS)))
        raise HfBatError(f"unknown format {format_name!r}; known: {known}")
    if format_name == PAIRS:
        return None
    text = _read_text(path, is_optional=name is None)
    suite = FORMATS.get(format_name) if name else _detect_format(text, path, columns)
    if suite is None or text is None:
        return None
    if columns:
        suite = _fit_columns(suite, text, path, columns)
    if part_name and part_name not in suite.parts:
        raise HfBatError(
            f"{suite.name} has no task {part_name!r}; it has: {', '.join(filter(None, suite.parts))}"
        )
    records = _read_records(text, path, suite, part_name)
    if not records.rows:
        raise HfBatError(f"{path} has no rows")
    part = records.part
    rows = tuple(_read_row(row, where, suite, part, path) for where, row in records.rows)
    labeled = zip(rows, records.rows, strict=True)
    names = dict.fromkeys(
        str(raw[part.label]) for row, (_, raw) in labeled if row.label is not None
    )
    folded = {} if part.is_numbered else part.labels.list_folded(tuple(names))
    return SuiteRows(records.name, path, part.labels, rows, folded)


def _read_row(row: Row, where: str, suite: Format, part: Part, path: Path) -> SuiteRow:
    try:
        label = _read_label(row[part.label], part, where)
        # Missing texts are `None` in JSON.
        texts = tuple(suite.clean("" if row[c] is None else str(row[c])) for c in part.texts)
        return SuiteRow(texts, label, _normalize_category(suite.categorize(row, path)))
    except KeyError as error:
        raise HfBatError(f"{where} has no {error.args[0]!r}") from error


@dataclass(frozen=True)
class _Records:
    """Rows of a file, each with its description for error messages."""

    name: str
    part: Part
    rows: list[tuple[str, Row]]


def _read_text(path: Path, is_optional: bool) -> str | None:
    """Return the text of a file. With `is_optional`, return `None` for a binary file."""
    if not path.is_file():
        raise HfBatError(f"data file not found: {path}")
    try:
        text = read_bytes(path).decode("utf-8-sig")  # drops a byte order mark
    except UnicodeDecodeError as error:
        if is_optional:
            return None
        raise HfBatError(f"{path} is not UTF-8 text: {error.reason}") from error
    except HfBatError as error:
        raise HfBatError(f"cannot read {path}: {error}") from error
    if not text.strip():
        raise HfBatError(f"{path} is empty")
    return text


def _fit_columns(suite: Format, text: str, path: Path, columns: Sequence[str]) -> Format:
    """Return the format with the text columns and the labels of an own task, if it is a suite from rules."""
    if suite.name != RULES or any(part.texts == tuple(columns) for part in suite.parts.values()):
        return suite
    labels = [
        str(row["label"]) for _, row in _read_lines(text, path) if row.get("label") is not None
    ]
    part = Part(tuple(columns), "label", Labels(tuple(dict.fromkeys(labels))))
    return replace(suite, parts={"": part})


def _detect_format(text: str | None, path: Path, columns: Sequence[str]) -> Format | None:
    """Return the format that recognizes a file, or `None`."""
    if text is None:
        return None
    is_table = not text.lstrip().startswith("{")
    first = _read_first_row(text, is_table)
    if "original_idx" in first:
        return None
    if columns and not is_table and first.keys() >= {*columns, "label", "category"}:
        return FORMATS[RULES]
    matches = [suite for suite in FORMATS.values() if suite.recognize(first, path, is_table)]
    if len(matches) > 1:
        names = " or ".join(suite.name for suite in matches)
        raise HfBatError(f"{path} may be {names}; name it with --format")
    return matches[0] if matches else None


def _read_first_row(text: str, is_table: bool) -> Row:
    """Return the first row or the full JSON document, or an empty dict if there is none."""
    if is_table:
        header, cells, *_ = (
            line.rstrip("\r").split("\t") for line in [*text.split("\n", 2), ""][:2]
        )
        return dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))
    # A document may have several lines.
    for part in (text.lstrip().split("\n", 1)[0], text):
        try:
            row = parse_json(part)
        except ValueError:
            continue
        return row if isinstance(row, dict) else {}
    return {}


def _read_records(text: str, path: Path, suite: Format, part_name: str) -> _Records:
    if suite.is_document:
        return _read_document(text, path, suite, part_name)
    is_table = not text.lstrip().startswith("{")
    rows = list(_read_table(text, path, suite) if is_table else _read_lines(text, path))
    first = rows[0][1] if rows else {}
    parts = [suite.parts[part_name]] if part_name else list(suite.parts.values())
    # If no part fits, the error lists the columns of the first part.
    fitting = (part for part in parts if {*part.texts, part.label} <= first.keys())
    return _Records(suite.name, next(fitting, parts[0]), rows)


def _read_document(text: str, path: Path, suite: Format, part_name: str) -> _Records:
    try:
        document = parse_json(text)
    except HfBatError as error:
        raise HfBatError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise HfBatError(f"{path} is not one JSON object with a list of rows for each task")
    held = [name for name in suite.parts if name in document]
    if not part_name:
        if len(held) != 1:
            raise HfBatError(
                f"{path} holds {len(held)} tasks of {suite.name} ({', '.join(held)}); choose one: "
                f"--format {suite.name}:{held[0] if held else next(iter(suite.parts))}"
            )
        part_name = held[0]
    rows = document.get(part_name)
    if not isinstance(rows, list):
        raise HfBatError(
            f"{path} has no rows of task {part_name!r}; it holds: {', '.join(document)}"
        )
    named = [(f"{path}, row {i} of {part_name!r}", row) for i, row in enumerate(rows)]
    for where, row in named:
        _check_row(row, where)
    part = suite.parts[part_name]
    return _Records(
        f"{suite.name}:{part_name}", part, [(w, {"task": part_name, **r}) for w, r in named]
    )


def _check_row(row: Any, where: str) -> None:
    if not isinstance(row, dict):
        raise HfBatError(f"{where} is not a JSON object")


def _read_lines(text: str, path: Path) -> Iterator[tuple[str, Row]]:
    # `splitlines` would also split at characters that a text may contain.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = parse_json(line)
        except HfBatError as error:
            raise HfBatError(f"{where}: {error}") from error
        _check_row(row, where)
        yield where, row


def _read_table(text: str, path: Path, suite: Format) -> Iterator[tuple[str, Row]]:
    header: list[str] | None = None
    for number, cells in _split_cells(text, path, suite.is_quoted):
        if not any(cells):
            continue
        where = f"{path}, line {number}"
        if header is None:
            header = cells
            _check_header(header, suite, where)
            continue
        if len(cells) > len(header):
            raise HfBatError(f"{where} has {len(cells)} cells, the header {len(header)}")
        yield where, dict(zip(header, cells, strict=False))


def _check_header(header: Sequence[str], suite: Format, where: str) -> None:
    """Check that a table has the columns of at least one part of a suite."""
    missing = [
        [column for column in (*part.texts, part.label) if column not in header]
        for part in suite.parts.values()
    ]
    nearest = min(missing, key=len)
    if nearest:
        raise HfBatError(f"{where} has no column {nearest[0]!r}; it has: {', '.join(header)}")


def _split_cells(text: str, path: Path, is_quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each line of a table, with the line number."""
    if is_quoted and detect_tsv_quoting(path) == csv.QUOTE_MINIMAL:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
        for cells in reader:
            yield reader.line_num, cells
        return
    for number, line in enumerate(text.split("\n"), 1):
        yield number, line.rstrip("\r").split("\t")


def _read_label(value: Any, part: Part, where: str) -> str | None:
    """Return the label of a value, or `None` for a missing label."""
    text = "" if value is None else str(value).strip()
    if text in ("", NO_GOLD, *map(str, UNLABELED)):
        return None
    names = part.labels.names
    if part.is_numbered and text.isdecimal():
        label = names[int(text)] if int(text) < len(names) else None
    else:
        label = part.labels.fold(text)
    if label is None:
        known = range(len(names)) if part.is_numbered else (*names, *part.labels.aliases)
        raise HfBatError(f"{where}: label {value!r} is not one of {', '.join(map(str, known))}")
    return label


def _normalize_category(name: str) -> str:
    """Normalize a category to be part of a metric key."""
    return re.sub(r"\W+", "_", name.lower()).strip("_") or "other"


def _has(*columns: str) -> Callable[[Row, Path, bool], bool]:
    """Return a function that tests whether a file has these columns."""
    return lambda row, path, is_table: row.keys() >= {*columns}


_PAIR = ("sentence1", "sentence2")
_MNLI_PART = Part(_PAIR, "gold_label", _NLI)
_TWO_WAY_PART = Part(_PAIR, "gold_label", TWO_WAY)
# Words in the folder and file names of stress tests -> the test.
_STRESS_TESTS = {
    "antonym": "antonym",
    "length_mismatch": "length_mismatch",
    "negation": "negation",
    "quant_hard": "numerical_reasoning",
    "numerical_reasoning": "numerical_reasoning",
    "dev_gram": "spelling_error",
    "spelling_error": "spelling_error",
    "taut": "word_overlap",
    "wordoverlap": "word_overlap",
    "word_overlap": "word_overlap",
}
_CAD_FOLDERS = {
    "all_combined", "combined", "new", "orig", "original", "paired", "revised_combined",
    "revised_hypothesis", "revised_premise",
}  # fmt: skip


def _name_stress_test(name: str) -> str | None:
    """Return the stress test for the name of a file, folder or `source`, or `None`."""
    name = name.lower()
    test = next((test for word, test in _STRESS_TESTS.items() if word in name), None)
    genres = re.search(r"_(?:mis)?matched(?=\.|$)", name)
    return test + genres[0] if test and genres else test


def _is_stress_test(row: Row, path: Path, is_table: bool) -> bool:
    names = (path.name, path.absolute().parent.name)
    return row.keys() >= {*_PAIR, "gold_label"} and (
        "source" in row or any(map(_name_stress_test, names))
    )


def _categorize_stress_test(row: Row, path: Path) -> str:
    if "source" in row:
        return _name_stress_test(str(row["source"])) or str(row["source"])
    return _name_stress_test(path.name) or _name_stress_test(path.absolute().parent.name) or "other"


def _is_cad(row: Row, path: Path, is_table: bool) -> bool:
    is_nli = row.keys() == {*_PAIR, "gold_label"}
    return is_table and (is_nli or row.keys() >= {"Sentiment", "Text"})


def _categorize_cad(row: Row, path: Path) -> str:
    folder = path.absolute().parent.name
    return folder if folder in _CAD_FOLDERS else "other"


def _categorize_med(row: Row, path: Path) -> str:
    parts = str(row["genre"]).split(":")
    return next((part for part in parts if part.endswith("_monotone")), "other")


def _categorize_monli(row: Row, path: Path) -> str:
    # Replacing words with more general ones (positive depth) keeps the sentence true in an upward monotone
    # context. Under negation, it is the other direction.
    is_general = not str(row["depth"]).startswith("-")
    is_upward = is_general == (row["gold_label"] == "entailment")
    return "pmonli" if is_upward else "nmonli"


def _strip_bytes(text: str) -> str:
    """Decode the text of a cell that contains a bytes literal. Return other cells unchanged.

    Example:
        >>> _strip_bytes("b'What is caf\\\\xc3\\\\xa9 ?'"), _strip_bytes("b'quote")
        ('What is café ?', "b'quote")
    """
    if not re.fullmatch(r"b(['\"]).*\1", text):
        return text
    try:
        return ast.literal_eval(text).decode("utf-8")
    except (SyntaxError, ValueError):
        return text


def _make_paws_part(label: str) -> Part:
    return Part(_PAIR, label, _PARAPHRASE, is_numbered=True)


def _make_glue_part(labels: Labels, *texts: str) -> Part:
    return Part(texts, "label", labels, is_numbered=True)


_ADVGLUE_TASKS = {
    "sst2": _make_glue_part(_SENTIMENT, "sentence"),
    "qqp": _make_glue_part(_PARAPHRASE, "question1", "question2"),
    "mnli": _make_glue_part(_NLI, "premise", "hypothesis"),
    "mnli-mm": _make_glue_part(_NLI, "premise", "hypothesis"),
    "qnli": _make_glue_part(TWO_WAY, "question", "sentence"),
    "rte": _make_glue_part(TWO_WAY, *_PAIR),
}
_TASK_COLUMNS = (("premise", "hypothesis"), ("question1", "question2"), _PAIR)
_LISTED = (
    Format(
        "advglue",
        _ADVGLUE_TASKS,
        lambda row, path, is_table: bool(row) and row.keys() <= _ADVGLUE_TASKS.keys(),
        lambda row, path: str(row.get("data_construction") or row.get("method") or row["task"]),
        is_document=True,
    ),
    Format(
        "breaking_nli",
        {"": _MNLI_PART},
        _has(*_PAIR, "gold_label", "category"),
        lambda row, path: str(row["category"]),
    ),
    Format(
        "cad",
        {"nli": _MNLI_PART, "sentiment": Part(("Text",), "Sentiment", _SENTIMENT)},
        _is_cad,
        _categorize_cad,
        is_quoted=True,
    ),
    Format(
        "hans",
        {"": _TWO_WAY_PART},
        _has(*_PAIR, "gold_label", "heuristic"),
        lambda row, path: str(row["heuristic"]),
    ),
    Format(
        "med",
        {"": _TWO_WAY_PART},
        lambda row, path, is_table: (
            row.keys() >= {*_PAIR, "gold_label"} and "_monotone" in str(row.get("genre"))
        ),
        _categorize_med,
    ),
    Format("monli", {"": _TWO_WAY_PART}, _has(*_PAIR, "gold_label", "depth"), _categorize_monli),
    Format("nli_stress", {"": _MNLI_PART}, _is_stress_test, _categorize_stress_test),
    Format(
        "paws",
        {"": _make_paws_part("label"), "noisy": _make_paws_part("noisy_label")},
        lambda row, path, is_table: (
            is_table and row.keys() in ({"id", *_PAIR, "label"}, {"id", *_PAIR, "noisy_label"})
        ),
        lambda row, path: "all",
        clean=_strip_bytes,
    ),
    Format(
        RULES,
        {
            "nli": _make_glue_part(_NLI, "premise", "hypothesis"),
            "qqp": _make_glue_part(_PARAPHRASE, "question1", "question2"),
            "mrpc": _make_glue_part(_PARAPHRASE, *_PAIR),
        },
        # This includes other rows with the columns of a task and a category.
        lambda row, path, is_table: (
            "category" in row
            and "label" in row
            and any(row.keys() >= set(columns) for columns in _TASK_COLUMNS)
        ),
        lambda row, path: str(row["category"]),
    ),
)
FORMATS: dict[str, Format] = {suite.name: suite for suite in _LISTED}
