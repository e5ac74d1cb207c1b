"""Contrast sets: rows that people edited, beside the rows they edited (Gardner et al. 2020).

An attack cannot know whether its edits change the label; people do. A lower attack success rate that
comes with more errors here was bought by a model that jumps at any change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError
from hf_bat.stats import Share

if TYPE_CHECKING:
    from hf_bat.tasks import Task

Texts = tuple[str, ...]


@dataclass(frozen=True)
class ContrastRow:
    """One row of a contrast set.

    Args:
        idx: the row's identity.
        original_idx: the identity of the row that people edited; None for an original.
        texts: its sentence or two.
        label: its gold label as the model numbers it; None where the data has none.
    """

    idx: int | str
    original_idx: int | str | None
    texts: Texts
    label: int | None


@dataclass(frozen=True)
class ContrastReport:
    """What a model does on a contrast set.

    Attributes:
        rows: rows given; `originals + edits + skipped`.
        originals: originals scored.
        edits: edits scored, each beside its scored original.
        skipped: reason -> rows not scored: no label, an empty text, an edit of a skipped original.
        accuracy_originals: originals predicted right.
        accuracy_edits: edits predicted right.
        consistency: originals with edits that are right together with all their edits.
        fickle_errors: of the edits that kept the label, those whose prediction is not their original's.
        obstinate_errors: of the edits that changed the label, those whose prediction is.
        row_results: a dict a scored row: idx, original_idx, label, prediction, correct, `error`
            ("fickle", "obstinate" or None), and `text`, a hash of its sentences.

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

    SHARES = (
        "accuracy_originals",
        "accuracy_edits",
        "consistency",
        "fickle_errors",
        "obstinate_errors",
    )

    def to_dict(self) -> dict[str, Any]:
        """The figures, ready for JSON; the rows' results apart, in `row_results`."""
        counts = {name: getattr(self, name) for name in ("rows", "originals", "edits", "skipped")}
        return counts | {name: getattr(self, name).to_dict() for name in self.SHARES}

    def to_markdown(self) -> str:
        """A table of the figures, rates in percent."""
        lines = ["| | count | of | % | 95 % interval |", "|---|---:|---:|---:|---:|"]
        for name in self.SHARES:
            share: Share = getattr(self, name)
            rate = "-" if share.rate is None else f"{100 * share.rate:.1f}"
            bounds = " to ".join(f"{100 * bound:.1f}" for bound in share.interval or ()) or "-"
            lines.append(
                f"| {name.replace('_', ' ')} | {share.count} | {share.of} | {rate} | {bounds} |"
            )
        return "\n".join(lines)


def contrast_rows(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    label_of: Callable[[Any, str], int | None],
    label_column: str = "label",
) -> list[ContrastRow]:
    """Read the rows of a contrast set.

    Args:
        rows: dicts with the text columns, the label column, `original_idx` (empty or null for an
            original) and `idx` (the row's number where absent).
        columns: the text column, or the two.
        label_of: a label column's value and the row's description -> the model's label, None for a
            missing one; such as `hf_bat.labels.LabelMap.model_label`.
        label_column: where the label is.

    Raises:
        HfBatError: a column is missing, an idx stands twice, or an edit's link leads nowhere or to
            another edit.
    """
    found: dict[int | str, ContrastRow] = {}
    for number, row in enumerate(rows):
        missing = [c for c in (*columns, label_column, "original_idx") if c not in row]
        if missing:
            raise HfBatError(
                f"the contrast set has no column {missing[0]!r}; it has: {', '.join(row)}"
            )
        idx = _identity(row.get("idx", number))
        if idx is None or idx in found:
            what = "has no idx" if idx is None else f"repeats idx {idx}"
            raise HfBatError(f"row {number} of the contrast set {what}; each row needs its own")
        texts = tuple("" if row[c] is None else str(row[c]) for c in columns)
        label = label_of(row[label_column], f"row {number} of the contrast set")
        found[idx] = ContrastRow(idx, _identity(row["original_idx"]), texts, label)
    for one in found.values():
        if one.original_idx is None:
            continue
        if one.original_idx not in found:
            raise HfBatError(
                f"row {one.idx} is an edit of row {one.original_idx}, which is not in the contrast set"
            )
        if found[one.original_idx].original_idx is not None:
            raise HfBatError(
                f"row {one.idx} is an edit of row {one.original_idx}, which is itself an edit; "
                "link each edit to its original"
            )
    return list(found.values())


def scored_rows(rows: Sequence[ContrastRow]) -> tuple[list[ContrastRow], dict[str, int]]:
    """Part the rows that can be scored from those that cannot.

    Returns:
        The rows with a label and text, whose original, for an edit, has them too; and how many others
        there are, by reason.
    """
    reasons: dict[int | str, str] = {}
    for row in rows:
        if row.label is None:
            reasons[row.idx] = "no label"
        elif not all(text.strip() for text in row.texts):
            reasons[row.idx] = "empty text"
    for row in rows:
        if row.idx not in reasons and row.original_idx in reasons:
            reasons[row.idx] = "original skipped"
    kept = [row for row in rows if row.idx not in reasons]
    return kept, dict(sorted(Counter(reasons.values()).items()))


def evaluate_contrast(
    rows: Sequence[ContrastRow], predict: Callable[[list[Texts]], Iterable[int]]
) -> ContrastReport:
    """Score a model on a contrast set.

    Args:
        rows: what `contrast_rows` gives.
        predict: inputs -> predicted labels, asked once for all rows that can be scored.

    Raises:
        HfBatError: no row can be scored, or `predict` gives another number of labels.

    Example:
        >>> rows = [ContrastRow(0, None, ("A cat.",), 0), ContrastRow(1, 0, ("No cat.",), 1)]
        >>> report = evaluate_contrast(rows, lambda inputs: [0] * len(inputs))
        >>> report.obstinate_errors.rate, report.consistency.rate, report.fickle_errors.rate
        (1.0, 0.0, None)
    """
    kept, skipped = scored_rows(rows)
    if not kept:
        raise HfBatError(
            f"the contrast set has no row to score (of {len(rows)}: {skipped or 'none'})"
        )
    predictions = [int(label) for label in predict([row.texts for row in kept])]
    if len(predictions) != len(kept):
        raise HfBatError(f"the model gave {len(predictions)} predictions for {len(kept)} rows")
    scored = {row.idx: row for row in kept}
    predicted = {row.idx: label for row, label in zip(kept, predictions, strict=True)}
    right = {row.idx: predicted[row.idx] == row.label for row in kept}
    originals = [row for row in kept if row.original_idx is None]
    edits = [(row, scored[row.original_idx]) for row in kept if row.original_idx is not None]
    errors: dict[int | str, str] = {}
    sets: dict[int | str, list[bool]] = {}
    label_kept = 0
    for edit, original in edits:
        same_label = edit.label == original.label
        same_prediction = predicted[edit.idx] == predicted[original.idx]
        if same_label != same_prediction:
            errors[edit.idx] = "fickle" if same_label else "obstinate"
        label_kept += same_label
        sets.setdefault(original.idx, [right[original.idx]]).append(right[edit.idx])
    kinds = Counter(errors.values())
    return ContrastReport(
        rows=len(rows),
        originals=len(originals),
        edits=len(edits),
        skipped=skipped,
        accuracy_originals=Share(sum(right[row.idx] for row in originals), len(originals)),
        accuracy_edits=Share(sum(right[edit.idx] for edit, _ in edits), len(edits)),
        consistency=Share(sum(all(members) for members in sets.values()), len(sets)),
        fickle_errors=Share(kinds["fickle"], label_kept),
        obstinate_errors=Share(kinds["obstinate"], len(edits) - label_kept),
        row_results=tuple(
            {
                "idx": row.idx,
                "original_idx": row.original_idx,
                "label": row.label,
                "prediction": predicted[row.idx],
                "correct": right[row.idx],
                "error": errors.get(row.idx),
                "text": hashlib.sha256(json.dumps(row.texts).encode()).hexdigest()[:16],
            }
            for row in kept
        ),
    )


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
    """Score a transformers classifier, or a function, on a contrast set.

    Args:
        model: as `hf_bat.attack.Attack` takes it: a classifier, the folder or Hub id of one, or a function
            from inputs to (n, labels) probabilities.
        rows: a `datasets.Dataset` or dicts, as `contrast_rows` describes them.
        task: the rows' task, or its name.
        tokenizer: the model's; loaded with a model given by path.
        batch_size: the most inputs in a forward pass.
        max_length: tokens after which an input is cut; the model's limit where None.
        device: where a transformers model runs.
        dtype: "float32", or "bfloat16" or "float16" by autocast.
        progress: show a bar; only on a terminal where None.

    Returns:
        The figures, and each scored row's result in `row_results`.

    Raises:
        HfBatError: as `contrast_rows`; labels that the model does not have; a model that cannot be loaded
            or whose answers are no probabilities.

    Example:
        >>> rows = [
        ...     {"idx": 0, "original_idx": None, "premise": "A cat.", "hypothesis": "A pet.", "label": 0},
        ...     {"idx": 1, "original_idx": 0, "premise": "No cat.", "hypothesis": "A pet.", "label": 2},
        ... ]
        >>> report = contrast_model(lambda pairs: [[1, 0, 0] for _ in pairs], rows, "snli")
        >>> report.accuracy_originals.rate, report.obstinate_errors.count
        (1.0, 1)
    """
    from hf_bat.attack.runner import as_classifier
    from hf_bat.data import labels_of, plain
    from hf_bat.tasks import get_task

    task = get_task(task)
    classifier = as_classifier(model, tokenizer, max_length, device, dtype)
    rows = plain(rows)
    column, labels = labels_of(rows, task, classifier.config)
    renamed = ({task.renames.get(name, name): value for name, value in row.items()} for row in rows)
    found = contrast_rows(renamed, task.columns, labels.model_label, column)
    return evaluate_contrast(found, _predictor(classifier, batch_size, progress))


def _predictor(
    classifier: Any, batch_size: int | None, progress: bool | None
) -> Callable[[list[Texts]], list[int]]:
    """Inputs -> labels through the attack's engine: sorted, batched, duplicates asked once."""
    from hf_bat.attack.engine import Engine
    from hf_bat.attack.requests import Score
    from hf_bat.console import progress as progress_bar

    def asking(number: int, texts: Texts) -> Any:
        def search(counter: Any) -> Any:
            answers = yield Score([texts])
            return number, int(answers[0].argmax())

        return search, None

    def predict(inputs: list[Texts]) -> list[int]:
        labels = [0] * len(inputs)
        with progress_bar(len(inputs), "contrast", "row", show=progress) as bar:
            engine = Engine(classifier, batch_size)
            for answers in engine.run(asking(i, texts) for i, texts in enumerate(inputs)):
                for number, label in answers:
                    labels[number] = label
                bar.update(len(answers))
        return labels

    return predict


def _identity(value: Any) -> int | str | None:
    """One form for an identity: CSV and JSON give 3, 3.0 and "3" for the same, and "" or NaN for none.

    Strings never go through floats, which hold 53 bits of an id's 64 and take "12e3", of a hash, for 12000.
    """
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else str(value)
    text = str(value).strip()
    whole = re.fullmatch(r"([+-]?\d+)(\.0*)?", text)
    return int(whole[1]) if whole else text
