"""Read the reports and rows files that `hf-bat attack` and `hf-bat contrast` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_bat.attack.result import AttackResult
from hf_bat.attack.rows import read_json_lines, read_rows
from hf_bat.errors import HfBatError

PathLike = str | Path
_ROWS_ENDINGS = (".rows.jsonl", ".jsonl", ".rows.jsonl.gz", ".jsonl.gz")


def read_report(path: PathLike) -> dict[str, Any]:
    """Read a JSON report of any command.

    Returns:
        The report, or an empty dict if the file holds other JSON.

    Raises:
        HfBatError: If the file is missing or not JSON.
    """
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise HfBatError(f"report {path}: {error.strerror}") from error
    except ValueError as error:
        raise HfBatError(f"report {path} is not JSON: {error}") from error
    return report if isinstance(report, dict) else {}


def find_rows(path: Path, report: Mapping[str, Any]) -> Path:
    """Find the rows file of a report: the one that the report names, or one next to it.

    Raises:
        HfBatError: If there is none.
    """
    named = report.get("rows_file")
    candidates = [path.parent / str(named), Path(str(named))] if named else []
    candidates += [path.with_suffix(ending) for ending in _ROWS_ENDINGS]
    for candidate in (*candidates, path.parent / "rows.jsonl"):
        if candidate.is_file():
            return candidate
    raise HfBatError(
        f"no rows file for {path}; give both with --rows A.jsonl B.jsonl (`hf-bat attack --rows`)"
    )


def read_attack_rows(
    paths: tuple[PathLike, PathLike], rows: tuple[PathLike, PathLike] | None = None
) -> tuple[list[AttackResult], list[AttackResult]]:
    """Read the rows of two attack reports with the same recipes.

    Args:
        paths: The two reports.
        rows: Their rows files. If `None`, the files that the reports name or that lie next to them.

    Raises:
        HfBatError: If a file is missing or is not an attack report, or if the recipes differ.
    """
    reports = [read_report(path) for path in paths]
    for path, report in zip(paths, reports, strict=True):
        if not isinstance(report.get("attacks"), dict):
            raise HfBatError(
                f"{path} is no attack report: it has no 'attacks' (`hf-bat attack --json`)"
            )
    _check_same_recipes(reports[0]["attacks"], reports[1]["attacks"])
    path_a, path_b = rows or _find_both_rows(paths, reports)
    return read_rows(path_a), read_rows(path_b)


def read_contrast_rows(
    paths: tuple[PathLike, PathLike], rows: tuple[PathLike, PathLike] | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
    """Read the rows of two contrast reports.

    Args:
        paths: The two reports.
        rows: Their rows files. If `None`, the files that the reports name or that lie next to them.

    Returns:
        The rows of both, or `None` if the first is not a contrast report.

    Raises:
        HfBatError: If a file is missing or unreadable, or only the first is a contrast report.
    """
    reports = [read_report(path) for path in paths]
    if "contrast" not in reports[0]:
        return None
    if "contrast" not in reports[1]:
        raise HfBatError(f"{paths[0]} is a contrast report and {paths[1]} is none")
    files = rows or _find_both_rows(paths, reports)
    # A header line has no `idx`.
    first, second = ([row for row in read_json_lines(file) if "idx" in row] for file in files)
    return first, second


def _find_both_rows(
    paths: tuple[PathLike, PathLike], reports: list[dict[str, Any]]
) -> tuple[Path, Path]:
    path_a, path_b = map(Path, paths)
    first, second = find_rows(path_a, reports[0]), find_rows(path_b, reports[1])
    if first.resolve() == second.resolve() and path_a.resolve() != path_b.resolve():
        raise HfBatError(
            f"{first} would be the rows of both {path_a} and {path_b}; give both files with "
            "--rows A.jsonl B.jsonl"
        )
    return first, second


def _check_same_recipes(attacks_a: Mapping[str, Any], attacks_b: Mapping[str, Any]) -> None:
    for attack in (name for name in attacks_a if name in attacks_b):
        first, second = attacks_a[attack].get("recipe"), attacks_b[attack].get("recipe")
        if first != second:
            raise HfBatError(
                f"{attack}: the two reports have different recipes ({_find_difference(first, second)}); "
                "run both models with the same one"
            )


def _find_difference(first: Any, second: Any) -> str:
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        missing = first is None or second is None
        return "one of them has none" if missing else f"{first} and {second}"
    keys = [key for key in (*first, *second) if first.get(key) != second.get(key)]
    # The hash differs too, but says nothing to a reader.
    key = next((key for key in keys if key != "hash"), keys[0])
    return f"{key}: {json.dumps(first.get(key))} and {json.dumps(second.get(key))}"
