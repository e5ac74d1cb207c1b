"""Contrast sets (Gardner et al. 2020), which are rows edited by people with their originals, and suites.

Unlike attacks, people know whether an edit changes the label. If a model has a lower attack success rate
but more errors on a contrast set, it reacts to any change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_bat.attack.answers import explain_missing
from hf_bat.attack.engine import Classifier, Engine, Score
from hf_bat.attack.models import as_classifier
from hf_bat.console import open_bar
from hf_bat.data import find_labels, open_rows, read_text
from hf_bat.errors import HfBatError
from hf_bat.evaluation.suites import SuiteRows
from hf_bat.labels import is_null
from hf_bat.perturbations.base import Texts
from hf_bat.stats import Share
from hf_bat.tasks import Task, get_task

Row = Mapping[str, Any]
# Index of a model output, or the reason why the model did not predict.
Prediction = int | str


@dataclass(frozen=True)
class ContrastRow:
    """One row of a contrast set."""

    idx: int | str
    original_idx: int | str | None  # the edited row, or `None` for an original
    texts: Texts
    label: int | None  # label id of the model, or `None` if the data has no label


@dataclass(frozen=True)
class ContrastReport:
    """Results of a model on a contrast set.

    Args:
        rows: Number of rows; `originals + edits + skipped`.
        originals: Number of scored originals.
        edits: Number of scored edits. Their originals are also scored.
        skipped: Dict of reason -> number of rows not scored: no label, an empty text, an edit of a skipped
            original, or a model that abstained or returned nothing.
        accuracy_originals: Originals with a correct prediction.
        accuracy_edits: Edits with a correct prediction.
        consistency: Originals with edits that are correct together with all their edits.
        fickle_errors: Edits with a different prediction than the original, among edits that keep the
            label.
        obstinate_errors: Edits with the same prediction as the original, among edits that change
            the label.
        row_results: One dict per scored row: `idx`, `original_idx`, `label`, `prediction`, `correct`,
            `error` ("fickle", "obstinate" or `None`), and `text`, a hash of its sentences.

    Example:
        >>> rows = [ContrastRow(0, None, ("A cat.",), 0), ContrastRow(1, 0, ("No cat.",), 1)]
        >>> report = evaluate_contrast(rows, lambda inputs: [0, 1])
        >>> report.consistency.rate, [row["correct"] for row in report.row_results]
        (1.0, [True, True])
    """

    rows: int
    originals: int
    edits: int
    skipped: dict[str, int]
    accuracy_originals: Share
    accuracy_edits: Share
    consistency: Share
    fickle_errors: Share
    obstinate_errors: Share
    row_results: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the results as plain JSON values, without `row_results`."""
        counts = {name: getattr(self, name) for name in ("rows", "originals", "edits", "skipped")}
        return counts | {name: getattr(self, name).to_dict() for name in FIGURES}

    def to_markdown(self) -> str:
        """Return a Markdown table of the results, with rates in percent."""
        lines = ["| | count | of | % | 95 % interval |", "|---|---:|---:|---:|---:|"]
        lines += [_format_row(name.replace("_", " "), getattr(self, name)) for name in FIGURES]
        return "\n".join(lines)

    def to_metrics(self) -> dict[str, float]:
        """Return the rates by name as in an evaluation, including `accuracy` over all scored rows."""
        correct = [row["correct"] for row in self.row_results]
        shares = {"accuracy": Share(sum(correct), len(correct))}
        return _list_rates(shares | {name: getattr(self, name) for name in FIGURES})


@dataclass(frozen=True)
class SuiteReport:
    """Results of a model on a public suite.

    Args:
        format: Name of the suite's format, such as "hans" or "advglue:sst2".
        rows: Number of rows.
        skipped: Dict of reason -> number of rows not scored: no label, or an empty text.
        folded: Dict of label name in the suite or the model -> label it is treated as.
        accuracy: Scored rows with a correct prediction.
        categories: Dict of category -> its rows with a correct prediction.
        labels: Dict of category -> label -> rows with a correct prediction.
        row_results: One dict per scored row: `idx` (its position in the file), `category`, `label`,
            `prediction`, `correct`, and `text`, a hash of its sentences.

    Example:
        >>> from pathlib import Path
        >>> from hf_bat.evaluation.suites import TWO_WAY, SuiteRow
        >>> rows = (SuiteRow(("A cat.", "A dog."), "non-entailment", "overlap"),)
        >>> suite = SuiteRows("hans", Path("hans.txt"), TWO_WAY, rows, {})
        >>> report = evaluate_suite(suite, lambda inputs: [1], ("entailment", "neutral"))
        >>> report.accuracy.rate, report.folded
        (1.0, {'neutral': 'non-entailment'})
    """

    format: str
    rows: int
    skipped: dict[str, int]
    folded: dict[str, str]
    accuracy: Share
    categories: dict[str, Share]
    labels: dict[str, dict[str, Share]]
    row_results: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the results as plain JSON values, without `row_results`."""
        categories = {
            name: share.to_dict()
            | {"labels": {label: part.to_dict() for label, part in self.labels[name].items()}}
            for name, share in self.categories.items()
        }
        return {
            "format": self.format,
            "rows": self.rows,
            "scored": self.accuracy.of,
            "skipped": self.skipped,
            "folded": self.folded,
            "accuracy": self.accuracy.to_dict(),
            "categories": categories,
        }

    def to_markdown(self) -> str:
        """Return a Markdown table of accuracy by category in percent, with a column for each label."""
        # All categories have the same labels, in the order of the suite.
        parts = list(self.labels.values())
        totals = {label: _add_shares(part[label] for part in parts) for label in parts[0]}
        lines = [
            f"| {self.format} | correct | of | % | 95 % interval | "
            f"{' | '.join(f'% {label}' for label in totals)} |",
            f"|---|{'---:|' * (4 + len(totals))}",
        ]
        shares = {"all": (self.accuracy, totals)} | {
            name: (share, self.labels[name]) for name, share in self.categories.items()
        }
        for name, (share, by_label) in shares.items():
            rates = map(_format_percent, by_label.values())
            lines.append(_format_row(name.replace("_", " "), share, *rates))
        return "\n".join(lines)

    def describe_folding(self) -> str:
        """Describe in one line which labels are treated as others, or return an empty string."""
        names: dict[str, list[str]] = {}
        for name, label in self.folded.items():
            names.setdefault(label, []).append(name)
        groups = (
            f"{' and '.join(group)} {'count' if len(group) > 1 else 'counts'} as {label}"
            for label, group in names.items()
        )
        return f"labels: {'; '.join(groups)}" if names else ""

    def to_metrics(self) -> dict[str, float]:
        """Return the rates by name as in an evaluation."""
        shares = {f"accuracy_{name}": share for name, share in self.categories.items()}
        return _list_rates({"accuracy": self.accuracy, **shares})


def _list_rates(shares: Mapping[str, Share]) -> dict[str, float]:
    """Return the rates by name, without rates over zero rows."""
    return {name: share.rate for name, share in shares.items() if share.rate is not None}


def _add_shares(shares: Iterable[Share]) -> Share:
    listed = list(shares)
    return Share(sum(share.count for share in listed), sum(share.of for share in listed))


def _format_percent(share: Share) -> str:
    return "-" if share.rate is None else f"{100 * share.rate:.1f}"


def _format_row(title: str, share: Share, *more: str) -> str:
    """Return a row of a table: title, count, total, percent, interval, and more cells."""
    bounds = " to ".join(f"{100 * bound:.1f}" for bound in share.interval or ()) or "-"
    cells = (title, str(share.count), str(share.of), _format_percent(share), bounds, *more)
    return f"| {' | '.join(cells)} |"


def read_contrast_set(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    get_label: Callable[[Any, str], int | None],
    label_column: str = "label",
) -> list[ContrastRow]:
    """Read the rows of a contrast set, and check their ids and links.

    `get_label` is called with a value of the label column and a description of the row.
    """
    contrast: dict[int | str, ContrastRow] = {}
    for number, row in enumerate(rows):
        missing = [c for c in (*columns, label_column, "original_idx") if c not in row]
        if missing:
            raise HfBatError(
                f"the contrast set has no column {missing[0]!r}; it has: {', '.join(row)}"
            )
        idx = normalize_id(row.get("idx", number))
        if idx is None or idx in contrast:
            fault = "has no idx" if idx is None else f"repeats idx {idx}"
            raise HfBatError(f"row {number} of the contrast set {fault}; each row needs its own")
        # Missing texts are `None` in JSON and "" in CSV.
        texts = tuple(read_text(row[c], c, f"row {number} of the contrast set") for c in columns)
        label = get_label(row[label_column], f"row {number} of the contrast set")
        contrast[idx] = ContrastRow(idx, normalize_id(row["original_idx"]), texts, label)
    for edit in contrast.values():
        if edit.original_idx is None:
            continue
        original = contrast.get(edit.original_idx)
        if original is None or original.original_idx is not None:
            fault = "not in the contrast set" if original is None else "itself an edit"
            raise HfBatError(
                f"row {edit.idx} is an edit of row {edit.original_idx}, which is {fault}; "
                "link each edit to its original"
            )
    return list(contrast.values())


def evaluate_contrast(
    rows: Sequence[ContrastRow], predict: Callable[[list[Texts]], Iterable[Prediction]]
) -> ContrastReport:
    """Score a model on a contrast set. The model is a function that predicts the labels of texts."""
    reasons: dict[int | str, str] = {}
    for row in rows:
        if row.label is None:
            reasons[row.idx] = "no label"
        elif not all(text.strip() for text in row.texts):
            reasons[row.idx] = "empty text"
    scored = _skip_edits(rows, reasons)
    predictions = dict(
        zip((row.idx for row in scored), predict([row.texts for row in scored]), strict=True)
    )
    reasons |= {idx: reason for idx, reason in predictions.items() if isinstance(reason, str)}
    kept = _skip_edits(rows, reasons)
    skipped = dict(sorted(Counter(reasons.values()).items()))
    if not kept:
        raise HfBatError(
            f"the contrast set has no row to score (of {len(rows)}: {skipped or 'none'})"
        )
    by_idx = {row.idx: (row, int(predictions[row.idx])) for row in kept}
    results = []
    for row, prediction in by_idx.values():
        error = None
        if row.original_idx is not None:
            original, original_prediction = by_idx[row.original_idx]
            same_label = row.label == original.label
            if same_label != (prediction == original_prediction):
                error = "fickle" if same_label else "obstinate"
        results.append(
            {
                "idx": row.idx,
                "original_idx": row.original_idx,
                "label": row.label,
                "prediction": prediction,
                "correct": prediction == row.label,
                "error": error,
                # Comparisons use it to check that both models read the same texts.
                "text": _hash_texts(row.texts),
            }
        )
    sets = group_by_original(results).values()
    shares: Any = {
        name: Share(*map(sum, zip(*map(count, sets), strict=True)))
        for name, count in FIGURES.items()
    }
    return ContrastReport(
        rows=len(rows),
        originals=len(sets),
        edits=len(kept) - len(sets),
        skipped=skipped,
        row_results=tuple(results),
        **shares,
    )


def _skip_edits(rows: Sequence[ContrastRow], reasons: dict[int | str, str]) -> list[ContrastRow]:
    """Also skip the edits of skipped originals, and return the remaining rows."""
    # Done in a second pass, because an edit may come before its original.
    for row in rows:
        if row.idx not in reasons and row.original_idx in reasons:
            reasons[row.idx] = "original skipped"
    return [row for row in rows if row.idx not in reasons]


def _hash_texts(texts: Texts) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def evaluate_suite(
    suite: SuiteRows, predict: Callable[[list[Texts]], Iterable[Prediction]], outputs: Sequence[str]
) -> SuiteReport:
    """Score a model on a public suite. The model is a function that predicts output indices of texts.

    `outputs` are the label names of the outputs. An output with no label in the suite is never correct.
    """
    reasons: dict[int, str] = {}
    for idx, row in enumerate(suite.rows):
        if row.label is None:
            reasons[idx] = "no label"
        elif not all(text.strip() for text in row.texts):
            reasons[idx] = "empty text"
    skipped = dict(sorted(Counter(reasons.values()).items()))
    kept = [(idx, row) for idx, row in enumerate(suite.rows) if idx not in reasons]
    if not kept:
        raise HfBatError(f"{suite.path} has no row to score (of {len(suite.rows)}: {skipped})")
    predictions = list(predict([row.texts for _, row in kept]))
    reasons |= {
        idx: prediction
        for (idx, _), prediction in zip(kept, predictions, strict=True)
        if isinstance(prediction, str)
    }
    skipped = dict(sorted(Counter(reasons.values()).items()))
    names = [suite.labels.fold(name) or name for name in outputs]
    results = []
    for (idx, row), prediction in zip(kept, predictions, strict=True):
        if isinstance(prediction, str):
            continue
        if prediction >= len(names):
            raise HfBatError(
                f"the model has more outputs than {suite.name} has labels ({', '.join(outputs)}); give "
                "label_names="
            )
        results.append(
            {
                "idx": idx,
                "category": row.category,
                "label": row.label,
                "prediction": names[prediction],
                "correct": names[prediction] == row.label,
                "text": _hash_texts(row.texts),
            }
        )
    scored = [row for idx, row in enumerate(suite.rows) if idx not in reasons]
    if not scored:
        raise HfBatError(f"{suite.path} has no row to score (of {len(suite.rows)}: {skipped})")
    categories = sorted({row.category for row in scored})
    labels_of_rows = {row.label for row in scored}
    occurring = [name for name in suite.labels.names if name in labels_of_rows]
    labels = {
        category: {
            label: _count_correct(results, category=category, label=label) for label in occurring
        }
        for category in categories
    }
    return SuiteReport(
        format=suite.name,
        rows=len(suite.rows),
        skipped=skipped,
        folded={**suite.folded, **suite.labels.list_folded(outputs)},
        accuracy=_count_correct(results),
        categories={
            category: _count_correct(results, category=category) for category in categories
        },
        labels=labels,
        row_results=tuple(results),
    )


def _count_correct(results: Iterable[Row], **values: Any) -> Share:
    """Return the share of correct rows among the rows with these values."""
    correct = [row["correct"] for row in results if all(row[key] == values[key] for key in values)]
    return Share(sum(correct), len(correct))


def group_by_original(rows: Iterable[Row]) -> dict[Any, list[Row]]:
    """Group `row_results` by the id of the original. Each group has the original first, then its edits."""
    sets: dict[Any, list[Row]] = {}
    for row in rows:
        missing = [key for key in ("idx", "original_idx", "label", "correct") if key not in row]
        if missing:
            raise HfBatError(
                f"a row has no {missing[0]!r}; is it in a rows file of `hf-bat contrast`?"
            )
        is_original = row["original_idx"] is None
        # Edits may come before their original.
        rows_of_set = sets.setdefault(row["idx"] if is_original else row["original_idx"], [])
        rows_of_set.insert(0 if is_original else len(rows_of_set), row)
    return sets


def _count_errors(rows: Sequence[Row], kind: str) -> tuple[int, int]:
    label = rows[0]["label"]
    edits = [row for row in rows[1:] if (row["label"] == label) == (kind == "fickle")]
    return sum(row["error"] == kind for row in edits), len(edits)


# Rate -> its count and total in a group of `group_by_original`.
FIGURES: dict[str, Callable[[Sequence[Row]], tuple[int, int]]] = {
    "accuracy_originals": lambda rows: (int(rows[0]["correct"]), 1),
    "accuracy_edits": lambda rows: (sum(row["correct"] for row in rows[1:]), len(rows) - 1),
    "consistency": lambda rows: (
        int(len(rows) > 1 and all(row["correct"] for row in rows)),
        int(len(rows) > 1),
    ),
    "fickle_errors": lambda rows: _count_errors(rows, "fickle"),
    "obstinate_errors": lambda rows: _count_errors(rows, "obstinate"),
}


def contrast_model(
    model: Any,
    rows: Iterable[Mapping[str, Any]],
    task: str | Task = "snli",
    tokenizer: Any = None,
    *,
    batch_size: int | None = None,
    max_length: int | None = None,
    device: Any = None,
    dtype: str = "float32",
    progress: bool | None = None,
) -> ContrastReport:
    """Score a transformers classifier or a function on a contrast set.

    Args:
        model: Any model that `hf_bat.attack.Attack` accepts: a classifier, its folder or Hub id, or a
            function from inputs to probabilities of shape (n, labels).
        rows: A `datasets.Dataset` or dicts with the columns of the task, `original_idx` (empty or null for
            an original) and optionally `idx`, which defaults to the row number.
        task: Task of the rows, or its name. Defaults to "snli".
        tokenizer: Tokenizer of the model. If `None`, it is loaded from the path of the model.
        batch_size: Maximum number of inputs per forward pass. If `None`, the engine chooses it.
        max_length: Maximum input length in tokens. If `None`, the limit of the model.
        device: Device of a transformers model. If `None`, a GPU if available.
        dtype: "float32", or "bfloat16" or "float16" for autocast. Defaults to "float32".
        progress: Whether to show a progress bar. If `None`, it is only shown on a terminal.

    Returns:
        The report, with the result of each scored row in `row_results`.

    Raises:
        HfBatError: If the rows are not a contrast set or have labels that the model lacks, or if the
            model cannot be loaded or does not return probabilities.

    Example:
        >>> rows = [
        ...     {"idx": 0, "original_idx": None, "premise": "A cat.", "hypothesis": "A pet.", "label": 0},
        ...     {"idx": 1, "original_idx": 0, "premise": "No cat.", "hypothesis": "A pet.", "label": 2},
        ... ]
        >>> report = contrast_model(lambda pairs: [[1, 0, 0] for _ in pairs], rows, "snli")
        >>> report.accuracy_originals.rate, report.obstinate_errors.count
        (1.0, 1)
    """
    task = get_task(task)
    classifier = as_classifier(model, tokenizer, max_length, device, dtype)
    rows = open_rows(rows, task, "contrast set")
    column, labels = find_labels(rows, task, classifier.config)
    classifier.name_labels(labels.model_names)
    renamed = ({task.renames.get(name, name): value for name, value in row.items()} for row in rows)
    contrast = read_contrast_set(renamed, task.columns, labels.read_label, column)
    return evaluate_contrast(contrast, _make_predictor(classifier, batch_size, progress))


def score_suite(
    model: Any,
    suite: SuiteRows,
    tokenizer: Any = None,
    *,
    label_names: Sequence[str] = (),
    batch_size: int | None = None,
    max_length: int | None = None,
    device: Any = None,
    dtype: str = "float32",
    progress: bool | None = None,
) -> SuiteReport:
    """Score a transformers classifier or a function on a public suite.

    Args:
        model: See `contrast_model`.
        suite: Rows from `hf_bat.evaluation.suites.read_suite`.
        tokenizer: Tokenizer of the model. If `None`, it is loaded from the path of the model.
        label_names: Label names of the model's outputs. If empty, the names in the model are used, or
            those in the suite if the model has none. In a suite with two labels, neutral and contradiction
            are treated as non-entailment.
        batch_size: Maximum number of inputs per forward pass. If `None`, the engine chooses it.
        max_length: Maximum input length in tokens. If `None`, the limit of the model.
        device: Device of a transformers model. If `None`, a GPU if available.
        dtype: "float32", or "bfloat16" or "float16" for autocast. Defaults to "float32".
        progress: Whether to show a progress bar. If `None`, it is only shown on a terminal.

    Returns:
        Accuracy by category and label, and the result of each scored row in `row_results`.

    Raises:
        HfBatError: If the rows have a label that the model lacks or none can be scored, or if the model
            cannot be loaded or does not return probabilities.

    Example:
        >>> suite = read_suite("heuristics_evaluation_set.txt")  # doctest: +SKIP
        >>> score_suite("model", suite).categories["subsequence"].rate  # doctest: +SKIP
        0.64
    """
    classifier = as_classifier(model, tokenizer, max_length, device, dtype)
    outputs = suite.name_outputs(classifier.config, label_names)
    classifier.name_labels(outputs)
    return evaluate_suite(suite, _make_predictor(classifier, batch_size, progress), outputs)


def _make_predictor(
    classifier: Classifier, batch_size: int | None, progress: bool | None
) -> Callable[[Sequence[Texts]], Iterable[Prediction]]:
    """Return a function that predicts the labels of texts."""

    def ask(number: int, texts: Texts) -> Any:
        def search(_: Any) -> Any:
            answers = yield Score([texts])
            return number, explain_missing(answers[0]) or int(answers[0].argmax())

        return search, None

    def predict(inputs: Sequence[Texts]) -> Iterable[Prediction]:
        predictions: dict[int, Prediction] = {}
        # The attack engine sorts and batches inputs, and queries duplicates only once.
        engine = Engine(classifier, batch_size)
        with open_bar(len(inputs), "contrast", "row", show=progress) as bar:
            for answers in engine.run(ask(*item) for item in enumerate(inputs)):
                predictions.update(answers)
                bar.update(len(answers))
        return (predictions[number] for number in range(len(inputs)))

    return predict


def normalize_id(value: Any) -> int | str | None:
    """Normalize the row id, which may be 3, 3.0 or "3" in CSV and JSON. Return `None` for "" and NaN.

    Example:
        >>> normalize_id(3.0), normalize_id(" 3 "), normalize_id("a"), normalize_id("")
        (3, 3, 'a', None)
    """
    if is_null(value) or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else str(value)
    text = str(value).strip()
    # Strings are not parsed as floats, which only keep 53 of 64 bits and read the hash "12e3" as
    # 12000.
    whole = re.fullmatch(r"([+-]?\d+)(\.0*)?", text)
    return int(whole[1]) if whole else text
