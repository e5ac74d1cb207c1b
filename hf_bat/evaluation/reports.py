"""Read the reports and rows files that `hf-bat attack` and `hf-bat contrast` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_bat.attack.rows import read_json_lines, read_rows
from hf_bat.errors import HfBatError

KINDS = ("attacks", "contrast")
_ROWS_ENDINGS = (".rows.jsonl", ".jsonl", ".rows.jsonl.gz", ".jsonl.gz")


def read_report(path: str | Path) -> dict[str, Any]:
    """Read a JSON report of any command; an empty dict if the file holds other JSON.

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
    # Commands name it relative to the report, so that both can be moved together.
    candidates = [path.parent / str(named), Path(str(named))] if named else []
    candidates += [path.with_suffix(ending) for ending in _ROWS_ENDINGS]
    for candidate in (*candidates, path.parent / "rows.jsonl"):
        if candidate.is_file():
            return candidate
    raise HfBatError(
        f"no rows file for {path}; give both with --rows A.jsonl B.jsonl (`hf-bat attack --rows`)"
    )


def read_both_rows(
    paths: tuple[str | Path, str | Path], rows: tuple[str | Path, str | Path] | None = None
) -> tuple[str, Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    """Read the rows of two reports that can be compared.

    Args:
        paths: The two reports.
        rows: Their rows files. If `None`, the files that the reports name or that lie next to them.

    Returns:
        Kind of the reports, "attacks" or "contrast", and the rows of each.

    Raises:
        HfBatError: If a file is missing or is not a report, or the reports have different kinds or recipes.
    """
    path_a, path_b = map(Path, paths)
    report_a, report_b = read_report(path_a), read_report(path_b)
    kind, kind_b = _get_kind(path_a, report_a), _get_kind(path_b, report_b)
    if kind != kind_b:
        raise HfBatError(
            f"{path_a} is of `hf-bat {kind.rstrip('s')}`, {path_b} of `hf-bat {kind_b.rstrip('s')}`"
        )
    if kind == "attacks":
        _check_same_recipes(report_a["attacks"], report_b["attacks"])
    files = rows or (find_rows(path_a, report_a), find_rows(path_b, report_b))
    # One `rows.jsonl` next to two reports can only belong to one of them.
    if not rows and files[0] == files[1] and path_a.resolve() != path_b.resolve():
        raise HfBatError(
            f"{files[0]} would be the rows of both {path_a} and {path_b}; give both files with "
            "--rows A.jsonl B.jsonl"
        )
    if kind == "attacks":
        return kind, read_rows(files[0]), read_rows(files[1])
    # A header line has no `idx`.
    first, second = ([row for row in read_json_lines(file) if "idx" in row] for file in files)
    return kind, first, second


def _get_kind(path: Path, report: Mapping[str, Any]) -> str:
    for kind in KINDS:
        if isinstance(report.get(kind), dict):
            return kind
    raise HfBatError(
        f"{path} is not a report: it has no 'attacks' (`hf-bat attack --json`) and no 'contrast' "
        "(`hf-bat contrast --json`)"
    )


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
