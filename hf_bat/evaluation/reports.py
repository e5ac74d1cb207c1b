"""Read the reports and rows files written by `hf-bat attack` and `hf-bat contrast`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_bat.attack.figures import FIGURES
from hf_bat.attack.result import AttackResult
from hf_bat.attack.rows import read_rows
from hf_bat.errors import HfBatError
from hf_bat.evaluation.contrast import FIGURES as CONTRAST_FIGURES
from hf_bat.evaluation.contrast import group_by_original
from hf_bat.files import read_json, read_json_lines

Json = dict[str, Any]

REPORT_KEYS = ("attacks", "contrast")
_ROWS_ENDINGS = (".rows.jsonl", ".jsonl", ".rows.jsonl.gz", ".jsonl.gz")


def read_report(path: str | Path) -> Json:
    """Read a JSON report of any command. Return an empty dict if the file contains other JSON."""
    report = read_json(path, "report")
    return report if isinstance(report, dict) else {}


def find_rows(path: Path, report: Mapping[str, Any]) -> Path:
    """Find the rows file of a report, which is named in the report or is next to it."""
    named = report.get("rows_file")
    if named is not None and not isinstance(named, str):
        raise HfBatError(f"{path}: rows_file must be a name; got {named!r:.80}")
    # The name is relative to the report, so both can be moved together.
    candidates = [path.parent / named, Path(named)] if named else []
    candidates += [path.with_suffix(ending) for ending in _ROWS_ENDINGS]
    for candidate in (*candidates, path.parent / "rows.jsonl"):
        if os.path.isfile(candidate):  # False for an invalid file name
            return candidate
    raise HfBatError(
        f"no rows file for {path}; give both with --rows A.jsonl B.jsonl (`hf-bat attack --rows`)"
    )


def read_both(
    paths: Sequence[str | Path], files: Sequence[str | Path] | None = None
) -> tuple[str, list[Json], list[Path], list[Any]]:
    """Read two reports. Return their kind ("attacks" or "contrast"), the reports, rows files and rows."""
    reports, kinds = [read_report(path) for path in paths], []
    for path, report in zip(paths, reports, strict=True):
        kind = next((kind for kind in REPORT_KEYS if isinstance(report.get(kind), dict)), None)
        if kind is None:
            raise HfBatError(
                f"{path} is not a report: it has no 'attacks' (`hf-bat attack --json`) and no "
                "'contrast' (`hf-bat contrast --json`)"
            )
        for name, entry in report[kind].items() if kind == "attacks" else ():
            if not isinstance(entry, dict):
                raise HfBatError(f"{path}: attack {name!r:.40} is not an object; got {entry!r:.80}")
        kinds.append(kind)
    if kinds[0] != kinds[1]:
        raise HfBatError(
            f"{paths[0]} is from `hf-bat {kinds[0].rstrip('s')}`, but {paths[1]} is from "
            f"`hf-bat {kinds[1].rstrip('s')}`; compare two reports of one kind"
        )
    if kinds[0] == "attacks":
        _check_same_recipes(*(report["attacks"] for report in reports))
    rows_files = list(map(Path, files or map(find_rows, map(Path, paths), reports)))
    is_shared = rows_files[0] == rows_files[1]
    # A `rows.jsonl` next to two reports can only belong to one of them.
    if not files and is_shared and Path(paths[0]).resolve() != Path(paths[1]).resolve():
        raise HfBatError(
            f"{rows_files[0]} would be the rows of both {paths[0]} and {paths[1]}; give both files "
            "with --rows A.jsonl B.jsonl"
        )
    rows: list[Any]
    if kinds[0] == "attacks":
        rows = [read_rows(file) for file in rows_files]
    else:
        # A header line has no `idx`.
        rows = [[row for row in read_json_lines(file) if "idx" in row] for file in rows_files]
    for path, report, file, own in zip(paths, reports, rows_files, rows, strict=True):
        check_belonging(path, report, file, own)
    return kinds[0], reports, rows_files, rows


def check_belonging(
    path: str | Path, report: Mapping[str, Any], file: Path, rows: Sequence[Any]
) -> None:
    """Check that the counts in a report are those of its rows.

    Swapped files would swap the models, and a rows file may be older than the report next to it.
    """
    compute = _count_attacks if "attacks" in report else _count_contrast
    for name, stated, counted in compute(report, rows):
        if isinstance(stated, int) and stated != counted:
            raise HfBatError(
                f"{file} does not belong to {path}: {name} is {stated} in the report and {counted} in the "
                "rows; give the rows of each report with --rows A.jsonl B.jsonl"
            )


def _count_attacks(
    report: Mapping[str, Any], rows: Sequence[AttackResult]
) -> Iterator[tuple[str, Any, int]]:
    """Yield the name of each count, its value in the report, and its value in the rows."""
    counts = [figure for figure in FIGURES.values() if figure.kind == "count"]
    for attack, summary in report["attacks"].items():
        own = [row for row in rows if row.attack == attack]
        for figure in counts:
            # Reports of other versions may have fewer counts.
            if figure.edits == "all" and figure.key in summary:
                yield f"{attack}: {figure.key}", summary[figure.key], sum(map(figure.measure, own))


def _count_contrast(
    report: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Any, int]]:
    """Yield the same as `_count_attacks`, for the rates of a contrast set."""
    sets = group_by_original(rows).values()
    for name, count in CONTRAST_FIGURES.items():
        share = report["contrast"].get(name)
        if isinstance(share, Mapping):
            part, whole = map(sum, zip(*map(count, sets), strict=True)) if sets else (0, 0)
            yield f"count of {name}", share.get("count"), part
            yield f"rows of {name}", share.get("of"), whole


def _check_same_recipes(attacks_a: Json, attacks_b: Json) -> None:
    for attack in (name for name in attacks_a if name in attacks_b):
        first, second = attacks_a[attack].get("recipe"), attacks_b[attack].get("recipe")
        if first == second:
            continue
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            keys = [key for key in (*first, *second) if first.get(key) != second.get(key)]
            # The hash also differs, but it is not informative to the user.
            key = next((key for key in keys if key != "hash"), keys[0])
            fault = f"{key}: {json.dumps(first.get(key))} and {json.dumps(second.get(key))}"
        else:
            fault = "one of them has none"
        raise HfBatError(
            f"{attack}: the two reports have different recipes ({fault}); run both models with the "
            "same one"
        )
