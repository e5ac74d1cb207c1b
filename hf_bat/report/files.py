"""Read an output folder: its result files, known by their content, and its pictures."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from xml.parsers import expat

from jinja2 import TemplateError

from hf_bat.attack.figures import Kind
from hf_bat.attack.report import marks_of, summarize
from hf_bat.attack.result import AttackResult
from hf_bat.attack.rows import read_json_lines
from hf_bat.errors import HfBatError
from hf_bat.evaluation.reports import find_rows
from hf_bat.files import is_model_file

Json = dict[str, Any]

MAX_PICTURE_BYTES = 4_000_000
MAX_PICTURES_BYTES = 24_000_000  # of all pictures together
PICTURE_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
# Tables written for other readers -> the file with the same content that the page shows.
_SOURCES = {"table.md": "results.json", "table.tex": "results.json", "sweep.md": "sweep.json"}
# Raised when a file that hf_bat did not write is read or shown.
DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, TemplateError)


def is_run(content: Json) -> bool:
    """Return whether a file is the `result.json` of one run of a sweep or a reproduction."""
    return all(isinstance(content.get(key), dict) for key in ("metrics", "arguments"))


def select_metrics(content: Json) -> Json:
    """Return the evaluation and training figures of a file, named as the Trainer names them."""
    if is_run(content):
        rows = _get_dict(content, "rows")
        counts = {"train_samples": rows.get("train"), "eval_samples": rows.get("validation")}
        return counts | _get_dict(content, "train") | content["metrics"]
    metrics = content | _get_dict(content, "eval") | _get_dict(content, "train")
    is_known = any(key.startswith(("eval_", "train_")) for key in metrics)
    # A trainer's state has such keys too; its figures are in its log history.
    return metrics if is_known and "global_step" not in content else {}


def _get_dict(content: Json, key: str) -> Json:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _has(key: str, kind: type) -> Callable[[Json], bool]:
    return lambda content: isinstance(content.get(key), kind)


def _describes_perturbations(content: Json) -> bool:
    parts = {"fickle", "attack", "preprocessing_defence"}
    return "method" in content and (not parts.isdisjoint(content) or len(content) == 1)


# Kind of result -> whether a file holds one; a file may hold several. Rendering finds what is damaged.
KINDS: dict[str, Callable[[Json], bool]] = {
    "metrics": lambda content: bool(select_metrics(content)),
    "histories": _has("log_history", list),
    "attacks": _has("attacks", dict),
    "contrasts": _has("contrast", dict),
    "comparisons": _has("comparisons", list),
    "certificates": _has("certificate", dict),
    "sweeps": lambda content: "varied" in content and _has("groups", list)(content),
    "runs": is_run,
    "reproductions": lambda content: _has("settings", list)(content) and bool(content["settings"]),
    "perturbations": _describes_perturbations,
}


@dataclass
class Contents:
    """Contents of a folder.

    Args:
        files: Name -> content of the JSON files that the page shows. Attack rows without a report are here
            too, as a report made of them.
        rows: Name of an attack report in `files` -> its rows.
        row_files: Name of an attack report in `files` -> name of its rows file.
        pictures: Name -> data URI.
        skipped: Name of a file that the page does not show -> reason.
        sources: Paths of the files that the page shows or counts; no output may overwrite them.
    """

    files: dict[str, Json] = field(default_factory=dict)
    rows: dict[str, list[AttackResult]] = field(default_factory=dict)
    row_files: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    sources: list[Path] = field(default_factory=list)

    @property
    def shown(self) -> set[str]:
        """Names of the files that the page shows."""
        return {*self.files, *self.row_files.values(), *self.pictures}

    def select(self, kind: str) -> dict[str, Json]:
        """Return name -> content of the files of a kind, a key of `KINDS`."""
        return {name: content for name, content in self.files.items() if KINDS[kind](content)}

    def skip(self, name: str, reason: str) -> None:
        """Leave out a file: a report together with its rows, or rows only."""
        self.files.pop(name, None)
        self.skipped[name] = reason
        # A copy, because entries are removed.
        for report, rows in list(self.row_files.items()):
            if name in (report, rows):
                del self.rows[report], self.row_files[report]
                missing = f"the rows of {make_printable(report)}, which is not shown"
                self.skipped.setdefault(rows, missing)


def read_folder(folder: Path, page: Path | None = None) -> Contents:
    """Read the results in a folder.

    Args:
        folder: Output folder of a run, sweep, reproduction or command.
        page: Report to be written; may be in the folder. If `None`, no file is taken for it.

    Raises:
        HfBatError: If the folder is missing or has nothing to show.
    """
    if not folder.is_dir():
        raise HfBatError(f"no such folder: {folder}")
    contents = Contents()
    # Some files of a model are large, and none of them is a result.
    results = [path for path in sorted(folder.glob("*.json")) if not is_model_file(path.name)]
    _read_results(contents, folder, results)
    # A run that was stopped has no final state, but its checkpoints have one.
    if not contents.select("histories"):
        _read_results(contents, folder, _find_last_state(folder))
    _read_all_rows(contents, folder)
    # A reproduction has a folder for each experiment.
    _read_results(contents, folder, sorted(folder.glob("*/results.json")))
    _read_runs(contents, folder)
    files = _list_files(contents, folder, page)
    pictures = {name: path for name, path in files.items() if is_picture(path)}
    contents.pictures, unfit = read_pictures(pictures)
    contents.skipped |= unfit
    contents.sources += pictures.values()
    for name in files.keys() - contents.shown - contents.skipped.keys():
        contents.skipped[name] = _explain_skip(name, contents.shown)
    if not contents.shown:
        raise HfBatError(
            f"nothing to show in {folder}: no results of run_glue_bat.py or of examples/reproduce, no "
            "report or rows of `hf-bat attack`, `contrast`, `compare`, `certify` or `sweep`, no picture"
        )
    return contents


def make_printable(name: str) -> str:
    """Replace characters of a file name that cannot be printed: line ends, undecodable bytes.

    Example:
        >>> make_printable("a\\nb.png")
        'a?b.png'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def group_by_attack(
    names: Iterable[str], rows: Iterable[AttackResult]
) -> dict[str, list[AttackResult]]:
    """Return attack -> rows, the named attacks first."""
    groups: dict[str, list[AttackResult]] = {name: [] for name in names}
    for row in rows:
        groups.setdefault(str(row.attack), []).append(row)
    return groups


def _read_results(contents: Contents, folder: Path, paths: Iterable[Path]) -> None:
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, RecursionError, ValueError) as error:  # RecursionError: nested too deep
            contents.skipped[name] = f"cannot be read ({error})"
            continue
        if isinstance(content, dict) and any(holds(content) for holds in KINDS.values()):
            contents.files[name] = content
            contents.sources.append(path)
        else:
            contents.skipped[name] = "no result of hf_bat"


def _find_last_state(folder: Path) -> list[Path]:
    """Return the trainer state of the last checkpoint, or an empty list."""
    paths = folder.glob("checkpoint-*/trainer_state.json")
    steps = {path: path.parent.name.removeprefix("checkpoint-") for path in paths}
    numbered = {int(step): path for path, step in steps.items() if step.isdecimal()}
    return [numbered[max(numbered)]] if numbered else []


def _read_all_rows(contents: Contents, folder: Path) -> None:
    """Read the rows of each attack report, and make a report of rows without one."""
    claims: dict[str, Path] = {}
    for name, report in contents.select("attacks").items():
        try:
            claims[name] = find_rows(folder / name, report)
        except (HfBatError, OSError):  # OSError: the named file has an impossible name
            continue
    # A file next to two reports belongs to one of them, and nothing tells to which.
    claimed = Counter(path.resolve() for path in claims.values())
    for name, path in claims.items():
        if (count := claimed[path.resolve()]) > 1:
            contents.skipped[path.name] = f"the rows of which report? ({count} fit)"
        else:
            _read_rows(contents, name, path)
    # An attack that was stopped leaves rows without a report.
    for path in sorted((*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz"))):
        if path.resolve() not in claimed:
            _read_rows(contents, path.name, path)
            if path.name in contents.rows:
                contents.files[path.name] = {"attacks": _summarize(contents.rows[path.name])}


def _read_rows(contents: Contents, report: str, path: Path) -> None:
    try:
        # The rows of a certificate have outcomes too, which are not successes of an attack.
        lines = [row for row in read_json_lines(path) if "attack" in row and "outcome" in row]
        rows = [AttackResult.from_dict(row) for row in lines if "verdicts" not in row]
    except HfBatError as error:
        contents.skipped[path.name] = str(error)
        return
    if not rows:
        contents.skipped[path.name] = "no attacked rows"
        return
    contents.rows[report] = rows
    contents.row_files[report] = path.name
    contents.sources.append(path)


def _summarize(rows: list[AttackResult]) -> dict[str, Json]:
    """Return the `attacks` of a report that is made of rows only."""
    summaries: dict[str, Json] = {}
    for attack, attack_rows in group_by_attack((), rows).items():
        kind: Kind = "obstinate" if "outcome_confident" in attack_rows[0] else "fickle"
        try:
            summaries[attack] = summarize(attack_rows, kind, {})
        except DAMAGE:  # rows that hf_bat did not write are shown without figures
            summaries[attack] = {}
        # Each attack has its own disclosure, because a file may hold rows of several models.
        summaries[attack] |= marks_of(attack_rows[0])
    return summaries


def _read_runs(contents: Contents, folder: Path) -> None:
    """Read the runs of a sweep or reproduction without a table; of one with a table, count them."""
    has_table = bool(contents.select("sweeps") or contents.select("reproductions"))
    for pattern in ("*/result.json", "runs/*/result.json"):
        paths = sorted(folder.glob(pattern))
        if not has_table:
            _read_results(contents, folder, paths)
        elif paths:
            contents.skipped[pattern] = (
                f"finished runs ({len(paths)}): `hf-bat report` on the folder of a run shows it whole"
            )
            contents.sources += paths


def _list_files(contents: Contents, folder: Path, page: Path | None) -> dict[str, Path]:
    """Return name -> path of the files in the folder and in the folders of its reproductions."""
    names = contents.select("reproductions")
    # The pictures of an experiment are next to its results.
    folders = dict.fromkeys((folder, *((folder / name).parent for name in names)))
    return {
        path.relative_to(folder).as_posix(): path
        for part in folders
        for path in sorted(part.glob("*"))
        if path.is_file()
        and not path.name.startswith(".")  # temporary files, and those of the system
        # A picture stays listed, so that the page never replaces one.
        and (page is None or is_picture(path) or path.resolve() != page.resolve())
    }


def _explain_skip(name: str, shown: set[str]) -> str:
    path = PurePosixPath(name)
    if path.name == "config.json" and (path.parent / "result.json").as_posix() in shown:
        return "the settings of the run, whose result is shown"
    if is_model_file(path.name):
        return "of a model or its training"
    source = _SOURCES.get(path.name)
    if source and (path.parent / source).as_posix() in shown:
        return f"the table that is shown of {(path.parent / source).as_posix()}"
    return "no kind of file that a report shows"


def is_picture(path: Path) -> bool:
    """Return whether a file has the name of a picture that a page can hold."""
    return path.suffix.lower() in PICTURE_TYPES


def read_pictures(paths: Mapping[str, Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Read pictures into data URIs, because a page fetches nothing.

    A browser runs no script in an `<img>` and fetches nothing for it, whatever an SVG holds.

    Returns:
        Name -> data URI of the pictures to show, and name -> reason of the others.
    """
    uris: dict[str, str] = {}
    skipped: dict[str, str] = {}
    stems: dict[str, str] = {}
    room = MAX_PICTURES_BYTES
    # Sorted, because if a PNG and an SVG have the same stem, only the PNG is shown.
    for name in sorted(paths, key=str.lower):
        path = paths[name]
        stem = name.removesuffix(path.suffix)
        if stem in stems:
            skipped[name] = f"a picture of this name is shown: {stems[stem]}"
            continue
        try:
            data = read_picture(path, room)
        except HfBatError as error:
            skipped[name] = str(error)
            continue
        room -= len(data)
        stems[stem] = name
        encoded = b64encode(data).decode("ascii")
        uris[name] = f"data:{PICTURE_TYPES[path.suffix.lower()]};base64,{encoded}"
    return uris, skipped


def read_picture(path: Path, room: int) -> bytes:
    """Read a PNG or SVG picture, and check that it is whole and fits into `room` bytes."""
    try:
        # Checked before reading, because a folder may hold huge pictures.
        size = path.stat().st_size
        if size > MAX_PICTURE_BYTES:
            limit = f"{size:,} bytes, at most {MAX_PICTURE_BYTES:,}"
            raise HfBatError(f"too large for the page ({limit})")
        if size > room:
            raise HfBatError(f"the page holds {MAX_PICTURES_BYTES:,} bytes of pictures at most")
        data = path.read_bytes()
    except OSError as error:
        raise HfBatError(f"cannot be read ({error.strerror or error})") from error
    kind = path.suffix.lower().removeprefix(".")
    if not (_is_whole_svg(data) if kind == "svg" else _is_whole_png(data)):
        raise HfBatError(f"no whole {kind.upper()} picture")
    return data


def _is_whole_png(data: bytes) -> bool:
    # The second part is the last chunk, which is missing if the file was cut short.
    return data.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND\xaeB`\x82" in data


def _is_whole_svg(data: bytes) -> bool:
    """Return whether a browser would draw the data: complete XML with an SVG element as its root."""
    tags: list[str] = []
    # With namespaces, because browsers do not draw an `<svg>` outside of SVG's.
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = lambda tag, _: tags.append(tag) if not tags else None
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError):
        return False
    return tags == ["http://www.w3.org/2000/svg svg"]
