"""What an output folder holds that a report can show: files known by their content."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.evaluation.compare import find_rows, read_rows
from hf_bat.files import of_a_model
from hf_bat.report.pictures import is_picture, read_pictures

# A table written for other readers -> the file that it is shown from.
_SOURCES = {"table.md": "results.json", "table.tex": "results.json", "sweep.md": "sweep.json"}
# What of `Found` comes of JSON files, by their names.
_KINDS = (
    "metrics", "histories", "attacks", "contrasts", "comparisons", "certificates", "sweeps", "runs",
    "reproductions", "tables",
)  # fmt: skip
# What a file with values of another kind than hf_bat writes raises where it is read or shown.
DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass
class Found:
    """What a folder holds: file name -> content, by kind.

    Attributes:
        metrics: of `train_results.json`, `eval_results.json` and their like.
        histories: log histories.
        attacks: attack reports.
        rows: attacked rows, under the name of their report.
        contrasts: what `hf-bat contrast --json` wrote.
        comparisons: what `hf-bat compare --json` wrote.
        certificates: what `hf-bat certify --json` wrote.
        sweeps: what `hf-bat sweep` wrote.
        runs: the `result.json` of its runs, or of a reproduction's.
        reproductions: the `results.json` of `examples/reproduce/run.py`.
        pictures: data URIs.
        tables: descriptions of the perturbations used in training.
        shown: names of all these files.
        others: file name -> why it is not among them.
        sources: where the files that are shown, or summed up, lie.
        row_files: name of a report -> that of its rows.
    """

    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    attacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    contrasts: dict[str, dict[str, Any]] = field(default_factory=dict)
    comparisons: dict[str, dict[str, Any]] = field(default_factory=dict)
    certificates: dict[str, dict[str, Any]] = field(default_factory=dict)
    sweeps: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    reproductions: dict[str, dict[str, Any]] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    others: dict[str, str] = field(default_factory=dict)
    sources: list[Path] = field(default_factory=list)
    row_files: dict[str, str] = field(default_factory=dict)

    def part(self, name: str, with_rows: bool = True) -> Found:
        """What one file brings, without the pictures.

        Args:
            name: the file's.
            with_rows: with an attack report's rows too.
        """
        part = Found()
        for kind in (*_KINDS, "rows") if with_rows else _KINDS:
            if name in (files := getattr(self, kind)):
                getattr(part, kind)[name] = files[name]
        return part

    def leave_out(self, name: str, why: str) -> None:
        """Show a file no longer, and say why."""
        for kind in (*_KINDS, "rows"):
            getattr(self, kind).pop(name, None)
        self.shown.discard(name)
        self.others[name] = why


def collect(folder: Path, page: Path | None = None) -> Found:
    """Read a folder.

    Args:
        folder: the folder.
        page: the report that is to be written, which may lie in it.

    Raises:
        HfBatError: there is no such folder, or nothing in it that can be shown.
    """
    if not folder.is_dir():
        raise HfBatError(f"no such folder: {folder}")
    found = Found()
    for path in sorted(folder.glob("*.json")):
        # Nothing to show, and some of them are large.
        if not of_a_model(path.name):
            _read(found, folder, path)
    if not found.histories:
        _last_checkpoint(folder, found)
    _find_rows(folder, found)
    _experiments_and_runs(folder, found)
    files = _files(folder, found, page)
    found.pictures, unfit = read_pictures({n: p for n, p in files.items() if is_picture(p)})
    found.shown |= found.pictures.keys()
    found.sources += filter(is_picture, files.values())
    found.others |= unfit
    for name in files.keys() - found.shown - found.others.keys():
        found.others[name] = _why_not(name, found)
    if not found.shown:
        raise HfBatError(
            f"nothing to show in {folder}: no results of run_glue_bat.py or of examples/reproduce, no "
            "report or rows of `hf-bat attack`, `contrast`, `compare`, `certify` or `sweep`, no picture"
        )
    return found


def readable(name: str) -> str:
    """A file's name as text: names on disk may hold line ends, or be no text at all.

    Example:
        >>> readable("a\\nb.png")
        'a?b.png'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _read(found: Found, folder: Path, path: Path) -> None:
    name = path.relative_to(folder).as_posix()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        found.others[name] = f"cannot be read ({error})"
        return
    if isinstance(content, dict) and _sort(found, name, content):
        found.sources.append(path)
    else:
        found.others[name] = "no result of hf_bat"


def _sort(found: Found, name: str, content: dict[str, Any]) -> bool:
    """Put a file's content where it belongs; False where it belongs nowhere."""
    known = False
    if isinstance(content.get("log_history"), list):
        found.histories[name] = [one for one in content["log_history"] if isinstance(one, dict)]
        known = True
    parts = [content, *(content.get(part) for part in ("eval", "train"))]
    merged = {k: v for one in parts if isinstance(one, dict) for k, v in one.items()}
    if any(key.startswith(("eval_", "train_")) for key in merged) and "global_step" not in content:
        found.metrics[name] = merged
        known = True
    attacks, contrast = content.get("attacks"), content.get("contrast")
    if isinstance(attacks, dict) and all(isinstance(one, dict) for one in attacks.values()):
        found.attacks[name] = content
        known = True
    if isinstance(contrast, dict):
        found.contrasts[name] = content
        known = True
    comparisons = content.get("comparisons")
    if isinstance(comparisons, list) and all(isinstance(one, dict) for one in comparisons):
        found.comparisons[name] = content
        known = True
    certificate = content.get("certificate")
    if isinstance(certificate, dict) and isinstance(certificate.get("adversaries"), dict):
        found.certificates[name] = content
        known = True
    if isinstance(content.get("groups"), list) and "varied" in content:
        found.sweeps[name] = content
        known = True
    if all(isinstance(content.get(part), dict) for part in ("metrics", "arguments")):
        found.runs[name] = content
        found.metrics[name] = _figures_of_a_run(content)
        known = True
    settings = content.get("settings")
    if isinstance(settings, list) and settings and all(map(_is_setting, settings)):
        found.reproductions[name] = content
        known = True
    described = {"fickle", "attack", "preprocessing_defence"}
    if "method" in content and (described & content.keys() or len(content) == 1):
        found.tables[name] = content
        known = True
    if known:
        found.shown.add(name)
    return known


def _figures_of_a_run(content: dict[str, Any]) -> dict[str, Any]:
    """Its evaluation and its costs, named as the Trainer names them."""
    parts = (content.get(part) for part in ("rows", "train", "metrics"))
    rows, train, metrics = (one if isinstance(one, dict) else {} for one in parts)
    counts = {"train_samples": rows.get("train"), "eval_samples": rows.get("validation")}
    return {**counts, **train, **metrics}


def _is_setting(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("ours"), dict)


def _last_checkpoint(folder: Path, found: Found) -> None:
    """Without a final state, the last checkpoint's."""
    states = {int(p.parent.name[11:]): p for p in folder.glob("checkpoint-*/trainer_state.json")
              if p.parent.name[11:].isdigit()}  # fmt: skip
    if states:
        _read(found, folder, states[max(states)])


def _experiments_and_runs(folder: Path, found: Found) -> None:
    """A reproduction's experiments; runs where no table has them, such as those of a sweep cut short."""
    for path in sorted(folder.glob("*/results.json")):
        _read(found, folder, path)
    for pattern in ("*/result.json", "runs/*/result.json"):
        paths = sorted(folder.glob(pattern))
        if not (found.sweeps or found.reproductions):
            for path in paths:
                _read(found, folder, path)
        elif paths:
            why = "`hf-bat report` on the folder of a run shows it whole"
            found.others[pattern] = f"finished runs ({len(paths)}): {why}"
            found.sources += paths


def _files(folder: Path, found: Found, page: Path | None) -> dict[str, Path]:
    """Name -> path of the files in the folder, and in those of its experiments."""
    folders = dict.fromkeys((folder, *((folder / name).parent for name in found.reproductions)))
    return {
        path.relative_to(folder).as_posix(): path
        for each in folders
        for path in sorted(each.glob("*"))
        if path.is_file()
        and not path.name.startswith(".")
        # A picture is one of the folder's own, which must not become the page.
        and (page is None or is_picture(path) or path.resolve() != page.resolve())
    }


def _why_not(name: str, found: Found) -> str:
    path = PurePosixPath(name)
    if path.name == "config.json" and (path.parent / "result.json").as_posix() in found.shown:
        return "what the run was asked for; its result is shown"
    if of_a_model(path.name):
        return "of a model or its training"
    source = _SOURCES.get(path.name)
    if source and (shown := (path.parent / source).as_posix()) in found.shown:
        return f"the table that is shown of {shown}"
    return "no kind of file that a report shows"


def _find_rows(folder: Path, found: Found) -> None:
    """Give each report its rows; of rows without a report, make one."""
    claimed: dict[str, Path] = {}
    for name, report in found.attacks.items():
        try:
            claimed[name] = find_rows(folder / name, report)
        except (HfBatError, OSError):  # a name that no file can have, too
            continue
    owners = Counter(path.resolve() for path in claimed.values())
    for name, path in claimed.items():
        if owners[path.resolve()] > 1:
            found.others[path.name] = f"the rows of which report? ({owners[path.resolve()]} fit)"
        else:
            found.rows[name] = _rows(found, path)
            found.row_files[name] = path.name
    for path in sorted((*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz"))):
        if path.resolve() not in owners and (rows := _rows(found, path)):
            found.attacks[path.name] = {"attacks": _summaries(rows)}
            found.rows[path.name] = rows
            found.row_files[path.name] = path.name


def _rows(found: Found, path: Path) -> list[dict[str, Any]]:
    try:
        # Rows of a certificate have outcomes too, which are no successes of an attack.
        rows = [row for row in read_rows(path) if "outcome" in row and "verdicts" not in row]
    except HfBatError as error:
        found.others[path.name] = str(error)
        return []
    if rows:
        found.shown.add(path.name)
        found.sources.append(path)
    else:
        found.others[path.name] = "no attacked rows"
    return rows


def _summaries(rows: list[dict[str, Any]]) -> dict[str, Any]:
    from hf_bat.attack.report import marks_of, summarise
    from hf_bat.report.attack import rows_by_attack

    made = {}
    for name, some in rows_by_attack((), rows).items():
        kind = "obstinate" if "outcome_confident" in some[0] else "fickle"
        try:
            made[name] = summarise(some, kind, {})
        except DAMAGE:  # rows of another hand: shown without figures
            made[name] = {}
        made[name] |= marks_of(some[0])  # of each attack: a file may have those of several models
    return made
