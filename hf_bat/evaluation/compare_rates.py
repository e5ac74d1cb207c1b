"""Two models on the same rows: the difference of rates that are not attack success rates.

Accuracy, the share of edits that keep the prediction, and the errors on a contrast set. Each is a
ratio of two sums over rows, so that one bootstrap serves all: rows are drawn with replacement, and
with a row all of its edits, for both models at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hf_bat.attack.rows import read_json_lines
from hf_bat.errors import HfBatError
from hf_bat.evaluation.compare import (
    Row,
    find_both_rows,
    paired_attacks,
    read_json,
)
from hf_bat.stats import percentile_interval

# Of a row and a model: what its figure counts, and out of how many.
Counts = tuple[int, int]


@dataclass(frozen=True)
class RateComparison:
    """One rate, model A against model B.

    Attributes:
        source: the attack's name, or "contrast".
        figure: "accuracy" or "keep rate" (", valid" and ", invalid" by the label filter) of an attack;
            "accuracy, originals", "accuracy, edits", "consistency", "fickle errors" or "obstinate
            errors" of a contrast set.
        rows: rows that both models were given; originals with their edits, for a contrast set.
        rate_a, rate_b: the rates, None out of nothing.
        difference: `rate_b - rate_a`.
        interval: its paired bootstrap interval (percentiles, over rows), None without a difference.

    Example:
        >>> RateComparison("contrast", "consistency", 4, 0.5, None, None, None).to_dict()["rate_a"]
        0.5
    """

    source: str
    figure: str
    rows: int
    rate_a: float | None
    rate_b: float | None
    difference: float | None
    interval: tuple[float, float] | None

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def compare_counts(
    counts: Sequence[tuple[Counts, Counts]],
    source: str = "",
    figure: str = "",
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> RateComparison:
    """Compare a rate of two models, each the sum of a row's counts over the sum of what they are out of.

    Args:
        counts: for each row A's (count, of) and B's.
        source: where the rows are from, for the record.
        figure: what the rate is, for the record.
        resamples: bootstrap resamples of the rows.
        confidence: of the interval.
        seed: of the bootstrap.

    Returns:
        The comparison; rates out of nothing are None.

    Example:
        >>> found = compare_counts([((1, 2), (0, 2))] * 30 + [((2, 2), (2, 2))] * 70)
        >>> found.rate_a, found.rate_b, round(found.difference, 6)
        (0.85, 0.7, -0.15)
        >>> found.interval[1] < 0
        True
    """
    import numpy as np

    # Drawing rows with replacement is drawing from a multinomial how often each distinct row comes.
    flat = np.array([[*a, *b] for a, b in counts], dtype=float).reshape(len(counts), 4)
    distinct, often = np.unique(flat, axis=0, return_counts=True)
    rates: list[float | None] = [
        float(count / of) if of else None for count, of in (flat.sum(0)[:2], flat.sum(0)[2:])
    ]
    difference = interval = None
    if rates[0] is not None and rates[1] is not None:
        difference = rates[1] - rates[0]
        shares = often / len(flat)
        drawn = np.random.default_rng(seed).multinomial(len(flat), shares, size=resamples)
        sums = drawn @ distinct
        with np.errstate(invalid="ignore"):
            found = sums[:, 2] / sums[:, 3] - sums[:, 0] / sums[:, 1]
        interval = percentile_interval(found, confidence)
    return RateComparison(source, figure, len(flat), rates[0], rates[1], difference, interval)


def compare_attack_rates(
    rows_a: Iterable[Row], rows_b: Iterable[Row], resamples: int = 10_000, seed: int = 0
) -> list[RateComparison]:
    """Compare accuracy and keep rates of two models on the rows of the attacks that both have.

    Args:
        rows_a: the first model's rows, as `hf-bat attack --rows` writes them.
        rows_b: the second model's.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Returns:
        For each attack `accuracy`, over the rows with a label, and where its search tried every edit
        `keep rate`, and by the label filter `keep rate, valid` and `keep rate, invalid`.

    Raises:
        HfBatError: as `compare_rows`.

    Example:
        >>> row = {"idx": 0, "attack": "antonym", "outcome": "failed", "label": 1, "predicted": 1}
        >>> other = {**row, "outcome": "skipped", "predicted": 0}
        >>> [(one.figure, one.rate_a, one.rate_b) for one in compare_attack_rates([row], [other])]
        [('accuracy', 1.0, 0.0)]
    """
    found = []
    for attack, ours, theirs in paired_attacks(rows_a, rows_b):
        pairs = [(ours[idx], theirs[idx]) for idx in ours]
        for figure, count in _ATTACK_FIGURES.items():
            counts = [(count(a), count(b)) for a, b in pairs]
            if any(a[1] for a, _ in counts) and any(b[1] for _, b in counts):
                found.append(compare_counts(counts, attack, figure, resamples, seed=seed))
    return found


def compare_contrast(
    rows_a: Iterable[Row], rows_b: Iterable[Row], resamples: int = 10_000, seed: int = 0
) -> list[RateComparison]:
    """Compare two models on a contrast set; what is drawn is an original with all its edits.

    Args:
        rows_a: the first model's rows, as `hf-bat contrast --rows` writes them.
        rows_b: the second model's.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Returns:
        The accuracy of originals and of edits, consistency, fickle and obstinate errors; without those that
        no row counts towards.

    Raises:
        HfBatError: rows of no contrast set, or of another one.

    Example:
        >>> from hf_bat.evaluation.contrast import ContrastRow, evaluate_contrast
        >>> rows = [ContrastRow(0, None, ("A cat.",), 0), ContrastRow(1, 0, ("No cat.",), 1)]
        >>> right = evaluate_contrast(rows, lambda inputs: [0, 1]).row_results
        >>> wrong = evaluate_contrast(rows, lambda inputs: [0, 0]).row_results
        >>> for one in compare_contrast(right, wrong):
        ...     print(one.figure, one.rate_a, one.rate_b)
        accuracy, originals 1.0 1.0
        accuracy, edits 1.0 0.0
        consistency 1.0 0.0
        obstinate errors 0.0 1.0
    """
    sets_a, sets_b = _sets(rows_a, "A"), _sets(rows_b, "B")
    if _shape(sets_a) != _shape(sets_b):
        raise HfBatError("the two models were not given the same contrast rows")
    found = []
    for figure, count in _CONTRAST_FIGURES.items():
        counts = [(count(sets_a[idx]), count(sets_b[idx])) for idx in sets_a]
        if any(a[1] for a, _ in counts):
            found.append(compare_counts(counts, "contrast", figure, resamples, seed=seed))
    return found


def contrast_report_rows(
    path_a: str | Path, path_b: str | Path, rows: tuple[str | Path, str | Path] | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
    """Read the rows of two reports of `hf-bat contrast`; None where the first is no such report.

    Raises:
        HfBatError: a file is missing or unreadable, or only the first is a contrast report.
    """
    paths = (Path(path_a), Path(path_b))
    reports = [read_json(path) for path in paths]
    if "contrast" not in reports[0]:
        return None
    if "contrast" not in reports[1]:
        raise HfBatError(f"{path_a} is a contrast report and {path_b} is none")
    files = rows or find_both_rows(paths, reports)
    first, second = ([row for row in read_json_lines(path) if "idx" in row] for path in files)
    return first, second


def _accuracy(row: Row) -> Counts:
    label = row.get("label")
    if label is None or row.get("predicted") is None:
        return 0, 0
    return int(row["predicted"] == label), 1


def _kept(row: Row, passes: int | None = None) -> Counts:
    """How many of a row's tried edits kept the prediction; with `passes`, of those that pass or not."""
    tried = [] if row["outcome"] == "skipped" else row.get("tried") or []
    if passes is not None:
        tried = [entry for entry in tried if len(entry) > 4 and entry[4] == passes]
    return sum(entry[2] for entry in tried), len(tried)


_ATTACK_FIGURES = {
    "accuracy": _accuracy,
    "keep rate": _kept,
    "keep rate, valid": lambda row: _kept(row, 1),
    "keep rate, invalid": lambda row: _kept(row, 0),
}


def _sets(rows: Iterable[Row], which: str) -> dict[Any, list[Row]]:
    """An original's number -> the original and its edits."""
    sets: dict[Any, list[Row]] = {}
    for row in rows:
        missing = [key for key in ("idx", "original_idx", "label", "correct") if key not in row]
        if missing:
            raise HfBatError(
                f"a row of {which} has no {missing[0]!r}; is it a rows file of `hf-bat contrast`?"
            )
        original = row["idx"] if row["original_idx"] is None else row["original_idx"]
        members = sets.setdefault(original, [])
        members.insert(0 if row["original_idx"] is None else len(members), row)
    return sets


def _shape(sets: Mapping[Any, Sequence[Row]]) -> dict[Any, list[Any]]:
    """What two models' rows have in common: not the labels, whose numbers are the model's."""
    return {idx: [(row["idx"], row.get("text")) for row in rows] for idx, rows in sets.items()}


def _consistent(rows: Sequence[Row]) -> Counts:
    edited = len(rows) > 1  # an original whose edits could not be scored is no set
    return int(edited and all(row["correct"] for row in rows)), int(edited)


def _errors(rows: Sequence[Row], kind: str) -> Counts:
    label = rows[0]["label"]
    edits = [row for row in rows[1:] if (row["label"] == label) == (kind == "fickle")]
    return sum(row["error"] == kind for row in edits), len(edits)


_CONTRAST_FIGURES = {
    "accuracy, originals": lambda rows: (int(rows[0]["correct"]), 1),
    "accuracy, edits": lambda rows: (sum(row["correct"] for row in rows[1:]), len(rows) - 1),
    "consistency": _consistent,
    "fickle errors": lambda rows: _errors(rows, "fickle"),
    "obstinate errors": lambda rows: _errors(rows, "obstinate"),
}
