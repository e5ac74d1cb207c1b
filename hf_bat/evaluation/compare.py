"""Compare two models on the same rows by attack success rate, accuracy, keep rate or contrast set.

Both models saw the same rows and edits, so rows are paired, and only rows on which the models differ affect
the comparison. Each rate is a ratio of two sums over rows. The bootstrap draws rows for both models at
once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hf_bat.attack.figures import Figure, has_no_edit, list_figures
from hf_bat.attack.result import OUTCOMES, AttackResult
from hf_bat.errors import HfBatError
from hf_bat.evaluation.contrast import FIGURES, group_by_original
from hf_bat.evaluation.reports import read_both
from hf_bat.stats import mcnemar, percentile_interval

Row = Mapping[str, Any]
Counts = tuple[int, int]  # count of a rate in one row, and its total

# Definition of success -> key in the row. "valid" only includes edits that pass the filter.
DEFINITIONS = {
    "strict": "outcome",
    "confident": "outcome_confident",
    "strict, valid": "outcome_valid",
    "confident, valid": "outcome_valid_confident",
}


@dataclass(frozen=True)
class Comparison:
    """Attack success rates of models A and B, for one attack and one definition of success."""

    attack: str
    definition: str  # a key of `DEFINITIONS`
    rows: int  # number of rows given to both models
    # Number of attacked rows, which are predicted correctly and have no skipped label.
    attempted_a: int
    attempted_b: int
    asr_a: float | None
    asr_b: float | None
    difference: float | None  # B minus A, which is negative if B is more robust
    interval: tuple[float, float] | None  # of the difference: percentiles of a paired bootstrap
    attempted_by_both: int  # rows in McNemar's test
    # Number of these rows where the attack only succeeds for A, and only for B.
    only_a: int
    only_b: int
    p_value: float | None  # two-sided, of McNemar's exact test

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class RateComparison:
    """One rate of models A and B.

    Args:
        source: Name of the attack, or "contrast".
        figure: Name of the rate; see `compare_attack_rates` and `compare_contrast`.
        rows: Number of rows given to both models. For a contrast set, the number of originals, each with
            its edits.
        rate_a: Rate of A, or `None` over zero rows.
        rate_b: Rate of B, or `None` over zero rows.
        difference: `rate_b - rate_a`.
        interval: Paired bootstrap interval (percentiles) of the difference, or `None` if it is
            unknown.

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
        """Return the fields as plain JSON values."""
        return asdict(self)


def compare_reports(
    path_a: str | Path,
    path_b: str | Path,
    rows: tuple[str | Path, str | Path] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Comparison]:
    """Compare two attack reports on disk. Their recipes must be the same.

    Args:
        path_a: Report of the first model (JSON).
        path_b: Report of the second model.
        rows: Their rows files. If `None`, the files named in the reports or next to them are used.
        resamples: Number of bootstrap resamples. Defaults to 10,000.
        seed: Seed of the bootstrap. Defaults to 0.

    Returns:
        The same as for `compare_rows`.

    Raises:
        HfBatError: If a file is not an attack report, the recipes differ, or for the reasons of
            `compare_rows`.

    Example:
        >>> [one.difference for one in compare_reports("A.json", "B.json")]  # doctest: +SKIP
        [-0.12, -0.09]
    """
    kind, _, _, (rows_a, rows_b) = read_both((path_a, path_b), rows)
    if kind != "attacks":
        raise HfBatError(f"{path_a} is a contrast report; compare its rows with `compare_contrast`")
    return compare_rows(rows_a, rows_b, resamples, seed)


def compare_rows(
    rows_a: Iterable[Row], rows_b: Iterable[Row], resamples: int = 10_000, seed: int = 0
) -> list[Comparison]:
    """Pair the attack rows of two models by (attack, idx), and compare each attack in both.

    Args:
        rows_a: Rows of the first model, as in `AttackReport.rows` or a rows file of `hf-bat attack`.
        rows_b: Rows of the second model.
        resamples: Number of bootstrap resamples. Defaults to 10,000.
        seed: Seed of the bootstrap. Defaults to 0.

    Returns:
        One comparison per attack and definition, with attacks in the order of `rows_a`.

    Raises:
        HfBatError: If a row is damaged or occurs twice, the models have no attack in common, or the rows
            of an attack are not the same.

    Example:
        >>> first = [{"idx": i, "attack": "antonym", "outcome": "succeeded"} for i in range(10)]
        >>> second = [{**row, "outcome": "failed"} for row in first]
        >>> [comparison] = compare_rows(first, second)
        >>> comparison.attack, comparison.definition, comparison.difference, comparison.p_value
        ('antonym', 'strict', -1.0, 0.001953125)
    """
    return [
        _compare_outcomes(
            list(
                zip(
                    *(_list_outcomes(rows, definition) for rows in zip(*pairs, strict=True)),
                    strict=True,
                )
            ),
            attack,
            definition,
            resamples,
            seed,
        )
        for attack, pairs in _pair_attacks(rows_a, rows_b).items()
        for definition, key in DEFINITIONS.items()
        # A definition that is missing in the rows of one model cannot be paired.
        if any(key in a for a, _ in pairs) and any(key in b for _, b in pairs)
    ]


def compare_attack_rates(
    rows_a: Iterable[Row], rows_b: Iterable[Row], resamples: int = 10_000, seed: int = 0
) -> list[RateComparison]:
    """Compare accuracy and keep rates of two models on the rows of their common attacks.

    Args:
        rows_a: Rows of the first model, as in `AttackReport.rows` or a rows file of `hf-bat attack`.
        rows_b: Rows of the second model.
        resamples: Number of bootstrap resamples. Defaults to 10,000.
        seed: Seed of the bootstrap. Defaults to 0.

    Returns:
        For each attack, "accuracy" over the labeled rows. If the search tried every edit, also
        "keep rate", and with the label filter "keep rate, valid" and "keep rate, invalid".

    Raises:
        HfBatError: For the reasons of `compare_rows`.

    Example:
        >>> row = {"idx": 0, "attack": "antonym", "outcome": "failed", "label": 1, "predicted": 1}
        >>> other = {**row, "outcome": "skipped", "predicted": 0}
        >>> [(pair.figure, pair.rate_a, pair.rate_b) for pair in compare_attack_rates([row], [other])]
        [('accuracy', 1.0, 0.0)]
    """

    def count(figure: Figure, row: AttackResult) -> Counts:
        # A search that stops at a success tries different edits for each model, so edits cannot be
        # compared.
        return (0, 0) if figure.per_edit and row.tried is None else figure.measure_row(row)

    comparisons = []
    for attack, pairs in _pair_attacks(rows_a, rows_b).items():
        for figure in sorted(list_figures("compare"), key=lambda figure: figure.per_edit):
            counts = [(count(figure, a), count(figure, b)) for a, b in pairs]
            comparisons.append(compare_counts(counts, attack, figure.title, resamples, seed=seed))
    return _drop_empty(comparisons)


def compare_contrast(
    rows_a: Iterable[Row], rows_b: Iterable[Row], resamples: int = 10_000, seed: int = 0
) -> list[RateComparison]:
    """Compare two models on a contrast set. The bootstrap draws originals together with all their edits.

    Args:
        rows_a: Rows of the first model, as written by `hf-bat contrast --rows`.
        rows_b: Rows of the second model.
        resamples: Number of bootstrap resamples. Defaults to 10,000.
        seed: Seed of the bootstrap. Defaults to 0.

    Returns:
        Accuracy on originals and edits, consistency, and fickle and obstinate errors. Only rates over
        at least one row are included.

    Raises:
        HfBatError: If the rows are not from the same contrast set.

    Example:
        >>> row = {"idx": 0, "original_idx": None, "label": 1, "correct": True, "error": None}
        >>> [(pair.figure, pair.rate_a, pair.rate_b) for pair in compare_contrast([row], [row])]
        [('accuracy, originals', 1.0, 1.0)]
    """
    sets_a, sets_b = group_by_original(rows_a), group_by_original(rows_b)
    # Labels are not compared, because each model has its own label ids.
    texts_a, texts_b = (
        {idx: [(row["idx"], row.get("text")) for row in rows] for idx, rows in sets.items()}
        for sets in (sets_a, sets_b)
    )
    if texts_a != texts_b:
        raise HfBatError("the two models were not given the same contrast rows")
    comparisons = []
    for name, count in FIGURES.items():
        figure = name.replace("accuracy_", "accuracy, ").replace("_", " ")
        counts = [(count(sets_a[idx]), count(sets_b[idx])) for idx in sets_a]
        comparisons.append(compare_counts(counts, "contrast", figure, resamples, seed=seed))
    return _drop_empty(comparisons)


def _drop_empty(comparisons: list[RateComparison]) -> list[RateComparison]:
    """Drop the rates that are missing for either model."""
    return [c for c in comparisons if c.rate_a is not None and c.rate_b is not None]


def compare_counts(
    counts: Sequence[tuple[Counts, Counts]],
    source: str = "",
    figure: str = "",
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> RateComparison:
    """Compare a rate of two models, which is the sum of counts over rows divided by the sum of totals.

    Args:
        counts: Tuples (count, total) of A and of B for each row.
        source: Source of the rows, which is only recorded.
        figure: Name of the rate, which is only recorded.
        resamples: Number of bootstrap resamples. Defaults to 10,000.
        confidence: Confidence level of the interval. Defaults to 0.95.
        seed: Seed of the bootstrap. Defaults to 0.

    Returns:
        The comparison. A rate over zero rows is `None`.

    Example:
        >>> comparison = compare_counts([((1, 2), (0, 2))] * 30 + [((2, 2), (2, 2))] * 70)
        >>> comparison.rate_a, comparison.rate_b, round(comparison.difference, 6)
        (0.85, 0.7, -0.15)
        >>> comparison.interval[1] < 0
        True
    """
    table = np.array([[*a, *b] for a, b in counts], dtype=float).reshape(len(counts), 4)
    # Rows with equal counts are interchangeable, and drawing the frequency of each kind is much
    # faster.
    distinct, repeats = np.unique(table, axis=0, return_counts=True)
    sums = _compare_sums(distinct, repeats, resamples, confidence, seed)
    return RateComparison(source, figure, len(counts), *sums)


def _list_outcomes(rows: Sequence[AttackResult], definition: str) -> list[str]:
    """List the outcomes of the rows of a model. They are "skipped" if no edit was measured."""
    key = DEFINITIONS[definition]
    # Without edits that likely change the label, a row says nothing about definitions for these
    # edits.
    measured = [row.restrict(valid=True) for row in rows] if "valid" in key else rows
    if has_no_edit(measured):
        return ["skipped"] * len(rows)
    # Files from earlier versions have no confident outcome for skipped rows.
    return [row.get(key, "skipped") for row in rows]


def _compare_outcomes(
    outcomes: Sequence[tuple[str, str]], attack: str, definition: str, resamples: int, seed: int
) -> Comparison:
    counts = Counter(outcomes)
    # All nine pairs are in a fixed order, because draws with the same seed depend on it.
    pairs = [(a, b) for a in OUTCOMES for b in OUTCOMES]
    table = [[a == "succeeded", a != "skipped", b == "succeeded", b != "skipped"] for a, b in pairs]
    sums = _compare_sums(table, [counts[pair] for pair in pairs], resamples, 0.95, seed)
    only_a, only_b = counts["succeeded", "failed"], counts["failed", "succeeded"]
    both = only_a + only_b + counts["succeeded", "succeeded"] + counts["failed", "failed"]
    return Comparison(
        attack,
        definition,
        len(outcomes),
        sum(a != "skipped" for a, _ in outcomes),
        sum(b != "skipped" for _, b in outcomes),
        *sums,
        attempted_by_both=both,
        only_a=only_a,
        only_b=only_b,
        p_value=mcnemar(only_a, only_b) if both else None,
    )


def _compare_sums(
    table: Any, repeats: Any, resamples: int, confidence: float, seed: int
) -> tuple[float | None, float | None, float | None, tuple[float, float] | None]:
    """Compute the rates of A and B, their difference and its paired bootstrap interval.

    Row k of `table` (K, 4) contains the count and total of A and then of B. It occurs `repeats[k]`
    times.
    """
    table, repeats = np.asarray(table, dtype=float), np.asarray(repeats)
    count_a, total_a, count_b, total_b = repeats @ table
    rate_a = float(count_a / total_a) if total_a else None
    rate_b = float(count_b / total_b) if total_b else None
    if rate_a is None or rate_b is None:
        return rate_a, rate_b, None, None
    # Drawing rows with replacement is the same as drawing the frequency of each distinct row from a
    # multinomial.
    rows = repeats.sum()
    drawn = np.random.default_rng(seed).multinomial(rows, repeats / rows, size=resamples) @ table
    # The rate of a resample without attacked rows is NaN, which the interval leaves out.
    with np.errstate(invalid="ignore"):
        differences = drawn[:, 2] / drawn[:, 3] - drawn[:, 0] / drawn[:, 1]
    return rate_a, rate_b, rate_b - rate_a, percentile_interval(differences, confidence)


def _pair_attacks(
    rows_a: Iterable[Row], rows_b: Iterable[Row]
) -> dict[str, list[tuple[AttackResult, AttackResult]]]:
    """Return attack -> list of (row of A, row of B) for the attacks in both models."""
    first, second = _index_rows(rows_a, "A"), _index_rows(rows_b, "B")
    common = [attack for attack in first if attack in second]
    if not common:
        raise HfBatError(
            f"no attack in common: A has {', '.join(first) or 'no rows'}, "
            f"B has {', '.join(second) or 'no rows'}"
        )
    pairs = {}
    for attack in common:
        _check_same_rows(attack, first[attack], second[attack])
        pairs[attack] = [(row, second[attack][idx]) for idx, row in first[attack].items()]
    return pairs


def _index_rows(rows: Iterable[Row], model: str) -> dict[str, dict[Any, AttackResult]]:
    """Return attack -> idx -> row."""
    attacks: dict[str, dict[Any, AttackResult]] = {}
    for row in rows:
        try:
            result = AttackResult.from_dict(row)
        except HfBatError as error:
            raise HfBatError(f"model {model}: {error}") from error
        indexed = attacks.setdefault(result.attack, {})
        if result.idx in indexed:
            raise HfBatError(f"row {result.idx} of {model} occurs twice under {result.attack!r}")
        indexed[result.idx] = result
    return attacks


def _check_same_rows(
    attack: str, rows_a: Mapping[Any, AttackResult], rows_b: Mapping[Any, AttackResult]
) -> None:
    if rows_a.keys() != rows_b.keys():
        idx = next(idx for idx in (*rows_a, *rows_b) if (idx in rows_a) != (idx in rows_b))
        raise HfBatError(
            f"{attack}: the two models were not given the same rows: A has {len(rows_a)}, B "
            f"{len(rows_b)}, and row {idx} is only in {'A' if idx in rows_a else 'B'}"
        )
    for idx, row in rows_a.items():
        other = rows_b[idx]
        if row.original != other.original:
            raise HfBatError(f"{attack}: row {idx} has another text in A than in B")
        # Hashes stored in rows files. If a file has no label filter, it is compared by the other rates.
        for mark in ("recipe", "data", "label_filter"):
            hashes = row.marks.get(mark), other.marks.get(mark)
            if hashes[0] != hashes[1] and not (mark == "label_filter" and None in hashes):
                raise HfBatError(
                    f"{attack}: the rows are of different {mark.replace('_', ' ')} ({hashes[0]} and "
                    f"{hashes[1]}); attack both models with the same"
                )
