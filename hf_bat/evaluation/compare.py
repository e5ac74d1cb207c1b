"""Two models under the same attack: their rows paired, the difference of their success rates.

The pairs are what makes the comparison sharp: the two models saw the same rows, edits and queries'
limits, so only the rows on which they differ tell between them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hf_bat.attack.result import OUTCOMES, AttackResult
from hf_bat.attack.rows import read_rows
from hf_bat.errors import HfBatError
from hf_bat.stats import mcnemar, percentile_interval

DEFINITIONS = {
    "strict": "outcome",
    "confident": "outcome_confident",
    # Of the edits that pass the label filter, where the attack had it.
    "strict, valid": "outcome_valid",
    "confident, valid": "outcome_valid_confident",
}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """One attack under one definition of success, model A against model B.

    Attributes:
        attack: its name.
        definition: "strict" or "confident" (`hf_bat.attack` explains both), ", valid" where only edits
            count that pass the label filter.
        rows: rows that both models were given.
        attempted_a, attempted_b: rows attacked: classified right and of no skipped label.
        asr_a, asr_b: attack success rates, None where nothing was attempted.
        difference: `asr_b - asr_a`; below 0, B is the more robust.
        interval: its paired bootstrap interval (percentiles), None without a difference.
        attempted_by_both: the rows of McNemar's test.
        only_a, only_b: of these, rows on which the attack succeeds against one model alone.
        p_value: McNemar's exact test, two-sided: 1.0 where the models never differ.
    """

    attack: str
    definition: str
    rows: int
    attempted_a: int
    attempted_b: int
    asr_a: float | None
    asr_b: float | None
    difference: float | None
    interval: tuple[float, float] | None
    attempted_by_both: int
    only_a: int
    only_b: int
    p_value: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def compare_outcomes(
    outcomes: Sequence[tuple[str, str]],
    attack: str = "",
    definition: str = "strict",
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare two models on the same rows.

    Args:
        outcomes: for each row (A's outcome, B's), each "succeeded", "failed" or "skipped".
        attack: the attack's name, for the record.
        definition: the definition of success, for the record.
        resamples: bootstrap resamples of the rows.
        confidence: of the interval.
        seed: of the bootstrap.

    Returns:
        The comparison; rates of nothing attempted are None.

    Example:
        >>> pairs = [("succeeded", "failed")] * 30 + [("failed", "failed")] * 70
        >>> found = compare_outcomes(pairs)
        >>> found.asr_a, found.asr_b, found.difference, found.only_a, found.only_b
        (0.3, 0.0, -0.3, 30, 0)
        >>> found.interval[1] < 0
        True
    """
    import numpy as np

    counts = Counter(outcomes)
    cells = [(a, b) for a in OUTCOMES for b in OUTCOMES]
    observed = np.array([[counts[cell] for cell in cells]], dtype=float)
    attempted = [np.array([cell[side] != "skipped" for cell in cells]) for side in (0, 1)]
    succeeded = [np.array([cell[side] == "succeeded" for cell in cells]) for side in (0, 1)]

    def rates(tables: Any) -> list[Any]:
        with np.errstate(invalid="ignore"):
            return [tables @ succeeded[side] / (tables @ attempted[side]) for side in (0, 1)]

    asr_a, asr_b = (None if np.isnan(rate[0]) else float(rate[0]) for rate in rates(observed))
    difference = interval = None
    if asr_a is not None and asr_b is not None:
        difference = asr_b - asr_a
        # Drawing rows with replacement is drawing the nine cells' counts from their multinomial.
        shares = observed[0] / len(outcomes)
        drawn = np.random.default_rng(seed).multinomial(len(outcomes), shares, size=resamples)
        drawn_a, drawn_b = rates(drawn.astype(float))
        interval = percentile_interval(drawn_b - drawn_a, confidence)
    only_a, only_b = counts["succeeded", "failed"], counts["failed", "succeeded"]
    both = only_a + only_b + counts["succeeded", "succeeded"] + counts["failed", "failed"]
    return Comparison(
        attack=attack,
        definition=definition,
        rows=len(outcomes),
        attempted_a=int((observed @ attempted[0])[0]),
        attempted_b=int((observed @ attempted[1])[0]),
        asr_a=asr_a,
        asr_b=asr_b,
        difference=difference,
        interval=interval,
        attempted_by_both=both,
        only_a=only_a,
        only_b=only_b,
        p_value=mcnemar(only_a, only_b) if both else None,
    )


def compare_rows(
    rows_a: Iterable[Row], rows_b: Iterable[Row], resamples: int = 10_000, seed: int = 0
) -> list[Comparison]:
    """Pair two models' attack rows by (attack, idx) and compare each attack that both have.

    Args:
        rows_a: the first model's rows, as `hf-bat attack --rows` writes them.
        rows_b: the second model's.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Returns:
        One comparison an attack and definition, attacks in the order of `rows_a`.

    Raises:
        HfBatError: a row is not as it should be or stands twice, the two have no attack in common, or
            an attack's rows are not the same rows.

    Example:
        >>> first = [{"idx": i, "attack": "antonym", "outcome": "succeeded"} for i in range(10)]
        >>> second = [{**row, "outcome": "failed"} for row in first]
        >>> [one] = compare_rows(first, second)
        >>> one.attack, one.definition, one.difference, one.p_value
        ('antonym', 'strict', -1.0, 0.001953125)
    """
    found = []
    for attack, ours, theirs in paired_attacks(rows_a, rows_b):
        for definition, key in DEFINITIONS.items():
            if not all(any(key in row for row in rows.values()) for rows in (ours, theirs)):
                continue  # one of the two has it not: there is nothing to pair
            pairs = [
                (ours[idx].get(key, "skipped"), theirs[idx].get(key, "skipped")) for idx in ours
            ]
            found.append(compare_outcomes(pairs, attack, definition, resamples, seed=seed))
    return found


def paired_attacks(
    rows_a: Iterable[Row], rows_b: Iterable[Row]
) -> list[tuple[str, dict[Any, Row], dict[Any, Row]]]:
    """The attacks that two models' rows have in common, each with its rows by number.

    Args:
        rows_a: the first model's rows, as `hf-bat attack --rows` writes them.
        rows_b: the second model's.

    Returns:
        (attack, A's rows by idx, B's), in the order of `rows_a`.

    Raises:
        HfBatError: as `compare_rows`.
    """
    first, second = _by_attack(rows_a, "A"), _by_attack(rows_b, "B")
    common = [attack for attack in first if attack in second]
    if not common:
        raise HfBatError(
            f"no attack in common: A has {', '.join(first) or 'no rows'}, "
            f"B has {', '.join(second) or 'no rows'}"
        )
    for attack in common:
        _check_same_rows(attack, first[attack], second[attack])
    return [(attack, first[attack], second[attack]) for attack in common]


def compare_reports(
    path_a: str | Path,
    path_b: str | Path,
    rows: tuple[str | Path, str | Path] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Comparison]:
    """Compare two attack reports on disk, whose recipes must be the same.

    Args:
        path_a: the first model's report (JSON).
        path_b: the second model's.
        rows: their rows files; where None, those that the reports name, or that lie beside them.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Returns:
        One comparison an attack and definition, as `compare_rows`.

    Raises:
        HfBatError: a file is missing or no report, the recipes differ, or as `compare_rows`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, outcome in (("A", "succeeded"), ("B", "failed")):
        ...         row = {"idx": 0, "attack": "antonym", "outcome": outcome}
        ...         _ = Path(folder, f"{name}.json").write_text('{"attacks": {"antonym": {}}}')
        ...         _ = Path(folder, f"{name}.jsonl").write_text(json.dumps(row))
        ...     [one] = compare_reports(Path(folder, "A.json"), Path(folder, "B.json"))
        >>> one.asr_a, one.asr_b
        (1.0, 0.0)
    """
    return compare_rows(*report_rows(path_a, path_b, rows), resamples, seed)


def report_rows(
    path_a: str | Path, path_b: str | Path, rows: tuple[str | Path, str | Path] | None = None
) -> tuple[list[AttackResult], list[AttackResult]]:
    """Read the rows of two attack reports, whose recipes must be the same; see `compare_reports`."""
    paths = (Path(path_a), Path(path_b))
    reports = [read_report(path) for path in paths]
    _check_same_recipes(*reports)
    files = rows or find_both_rows(paths, reports)
    return read_rows(files[0]), read_rows(files[1])


def find_both_rows(
    paths: Sequence[Path], reports: Sequence[Mapping[str, Any]]
) -> tuple[Path, Path]:
    """The rows files of two reports.

    Raises:
        HfBatError: one has none, or one file would serve for both.
    """
    first, second = (find_rows(p, r) for p, r in zip(paths, reports, strict=True))
    if first.resolve() == second.resolve() and paths[0].resolve() != paths[1].resolve():
        raise HfBatError(
            f"{first} would be the rows of both {paths[0]} and {paths[1]}; give both files with "
            "--rows A.jsonl B.jsonl"
        )
    return first, second


def read_report(path: str | Path) -> dict[str, Any]:
    """Read an attack report.

    Raises:
        HfBatError: it is missing, no JSON, or has no attacks.
    """
    report = read_json(path)
    if not isinstance(report.get("attacks"), dict):
        raise HfBatError(
            f"{path} is no attack report: it has no 'attacks' (`hf-bat attack --json`)"
        )
    return report


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a report of any command.

    Raises:
        HfBatError: it is missing, or holds no JSON object.
    """
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise HfBatError(f"report {path}: {error.strerror}") from error
    except ValueError as error:
        raise HfBatError(f"report {path} is not JSON: {error}") from error
    return report if isinstance(report, dict) else {}


def find_rows(path: Path, report: Mapping[str, Any]) -> Path:
    """The rows file of a report: the one that it names, or the one beside it.

    Raises:
        HfBatError: there is none.
    """
    named = report.get("rows_file")
    beside = [
        path.with_suffix(end) for end in (".rows.jsonl", ".jsonl", ".rows.jsonl.gz", ".jsonl.gz")
    ]
    tried = [path.parent / str(named), Path(str(named))] if named else []
    for candidate in (*tried, *beside, path.parent / "rows.jsonl"):
        if candidate.is_file():
            return candidate
    raise HfBatError(
        f"no rows file for {path}; give both with --rows A.jsonl B.jsonl (`hf-bat attack --rows`)"
    )


def _by_attack(rows: Iterable[Row], which: str) -> dict[str, dict[Any, Row]]:
    found: dict[str, dict[Any, Row]] = {}
    for row in rows:
        missing = [key for key in ("idx", "attack", "outcome") if key not in row]
        if missing:
            raise HfBatError(f"a row of {which} has no {missing[0]!r}; is it a rows file?")
        if row["outcome"] not in OUTCOMES:
            raise HfBatError(
                f"row {row['idx']} of {which} has outcome {row['outcome']!r}; known: {', '.join(OUTCOMES)}"
            )
        attack = found.setdefault(row["attack"], {})
        if row["idx"] in attack:
            raise HfBatError(f"row {row['idx']} of {which} stands twice under {row['attack']!r}")
        attack[row["idx"]] = row
    return found


def _check_same_rows(attack: str, ours: Mapping[Any, Row], theirs: Mapping[Any, Row]) -> None:
    if ours.keys() != theirs.keys():
        lone = next(idx for idx in (*ours, *theirs) if (idx in ours) != (idx in theirs))
        raise HfBatError(
            f"{attack}: the two models were not given the same rows: A has {len(ours)}, B {len(theirs)}, "
            f"and row {lone} is only in {'A' if lone in ours else 'B'}"
        )
    for idx, row in ours.items():
        if row.get("original") != theirs[idx].get("original"):
            raise HfBatError(f"{attack}: row {idx} has another text in A than in B")
        for what in ("recipe", "data"):  # hashes that rows files carry
            if row.get(what) != theirs[idx].get(what):
                raise HfBatError(
                    f"{attack}: the rows are of different {what} ({row.get(what)} and "
                    f"{theirs[idx].get(what)}); run both models with the same"
                )
        filters = [one.get("label_filter") for one in (row, theirs[idx])]
        if None not in filters and filters[0] != filters[1]:
            raise HfBatError(
                f"{attack}: the rows are of different label filters ({filters[0]} and {filters[1]}): "
                "attack one of the models again"
            )


def _check_same_recipes(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    for attack, ours in first["attacks"].items():
        theirs = second["attacks"].get(attack)
        if theirs is None:
            continue
        recipes = [entry.get("recipe") for entry in (ours, theirs)]
        if recipes[0] != recipes[1]:
            raise HfBatError(
                f"{attack}: the two reports have different recipes ({_difference(*recipes)}); "
                "run both models with the same one"
            )


def _difference(ours: Any, theirs: Any) -> str:
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        return "one of them has none" if ours is None or theirs is None else f"{ours} and {theirs}"
    keys = [k for k in (*ours, *theirs) if ours.get(k) != theirs.get(k)]
    key = next((k for k in keys if k != "hash"), keys[0])
    return f"{key}: {json.dumps(ours.get(key))} and {json.dumps(theirs.get(key))}"
