"""Read the reports and rows files that `hf-bat attack` and `hf-bat contrast` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_bat.attack.rows import read_json_lines, read_rows
from hf_bat.errors import HfBatError

Json = dict[str, Any]

KINDS = ("attacks", "contrast")
_ROWS_ENDINGS = (".rows.jsonl", ".jsonl", ".rows.jsonl.gz", ".jsonl.gz")


def read_report(path: str | Path) -> Json:
    """Read a JSON report of any command; an empty dict if the file holds other JSON."""
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise HfBatError(f"report {path}: {error.strerror}") from error
    except ValueError as error:
        raise HfBatError(f"report {path} is not JSON: {error}") from error
    return report if isinstance(report, dict) else {}


def find_rows(path: Path, report: Mapping[str, Any]) -> Path:
    """Find the rows file of a report: the one that the report names, or one next to it."""
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


def read_both(
    paths: Sequence[str | Path], files: Sequence[str | Path] | None = None
) -> tuple[str, list[Json], list[Path], list[Any]]:
    """Return the kind of two reports, "attacks" or "contrast", the reports, their rows files and rows."""
    reports = [read_report(path) for path in paths]
    kinds = []
    for path, report in zip(paths, reports, strict=True):
        kinds += [kind for kind in KINDS if isinstance(report.get(kind), dict)][:1] or [""]
        if not kinds[-1]:
            raise HfBatError(
                f"{path} is not a report: it has no 'attacks' (`hf-bat attack --json`) and no "
                "'contrast' (`hf-bat contrast --json`)"
            )
    if kinds[0] != kinds[1]:
        first, second = (
            f"{path} is of `hf-bat {kind.rstrip('s')}`"
            for path, kind in zip(paths, kinds, strict=True)
        )
        raise HfBatError(f"{first}, and {second}; compare two of one kind")
    if kinds[0] == "attacks":
        _check_same_recipes(*(report["attacks"] for report in reports))
    found = list(map(Path, files or map(find_rows, map(Path, paths), reports)))
    # One `rows.jsonl` next to two reports can only belong to one of them.
    if not files and found[0] == found[1] and Path(paths[0]).resolve() != Path(paths[1]).resolve():
        raise HfBatError(
            f"{found[0]} would be the rows of both {paths[0]} and {paths[1]}; give both files with "
            "--rows A.jsonl B.jsonl"
        )
    if kinds[0] == "attacks":
        return kinds[0], reports, found, [read_rows(file) for file in found]
    # A header line has no `idx`.
    rows = [[row for row in read_json_lines(file) if "idx" in row] for file in found]
    return kinds[0], reports, found, rows


def _check_same_recipes(attacks_a: Json, attacks_b: Json) -> None:
    for attack in (name for name in attacks_a if name in attacks_b):
        first, second = attacks_a[attack].get("recipe"), attacks_b[attack].get("recipe")
        if first == second:
            continue
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            keys = [key for key in (*first, *second) if first.get(key) != second.get(key)]
            # The hash differs too, but says nothing to a reader.
            key = next((key for key in keys if key != "hash"), keys[0])
            fault = f"{key}: {json.dumps(first.get(key))} and {json.dumps(second.get(key))}"
        else:
            fault = "one of them has none"
        raise HfBatError(
            f"{attack}: the two reports have different recipes ({fault}); run both models with the "
            "same one"
        )
