"""Read the result files and pictures in an output folder. Files are recognized by content."""

from __future__ import annotations

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
from hf_bat.errors import HfBatError
from hf_bat.evaluation.reports import check_belonging, find_rows
from hf_bat.files import is_model_file, parse_json, read_bytes, read_json_lines

Json = dict[str, Any]

# The largest results are attack rows in JSON Lines files.
MAX_RESULT_BYTES = 64_000_000
MAX_PICTURE_BYTES = 4_000_000
MAX_PICTURES_BYTES = 24_000_000  # for all pictures together
PICTURE_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
# Tables for other uses -> the file with the same content that the page shows.
_SOURCES = {"table.md": "results.json", "table.tex": "results.json", "sweep.md": "sweep.json"}
# Errors raised for files that hf_bat did not write.
DAMAGE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, TemplateError)


def is_run(content: Json) -> bool:
    """Return whether a file is the `result.json` of one run of a sweep or a reproduction."""
    return all(isinstance(content.get(key), dict) for key in ("metrics", "arguments"))


def select_metrics(content: Json) -> Json:
    """Return the evaluation and training metrics of a file, with the Trainer's names."""
    rows, evaluation, training = (
        part if isinstance(part, dict) else {}
        for part in map(content.get, ("rows", "eval", "train"))
    )
    if is_run(content):
        counts = {"train_samples": rows.get("train"), "eval_samples": rows.get("validation")}
        return counts | training | content["metrics"]
    metrics = content | evaluation | training
    is_known = any(key.startswith(("eval_", "train_")) for key in metrics)
    # A trainer state also has these keys, but its metrics are in its log history.
    return metrics if is_known and "global_step" not in content else {}


def _has(key: str, kind: type) -> Callable[[Json], bool]:
    return lambda content: isinstance(content.get(key), kind)


def _describes_perturbations(content: Json) -> bool:
    parts = {"fickle", "attack", "preprocessing_defence"}
    return "method" in content and (not parts.isdisjoint(content) or len(content) == 1)


# Kind of result -> whether a file contains it. A file may contain several. Rendering detects damaged
# parts.
RESULT_TESTS: dict[str, Callable[[Json], bool]] = {
    "metrics": lambda content: bool(select_metrics(content)),
    "histories": _has("log_history", list),
    "attacks": _has("attacks", dict),
    "contrasts": _has("contrast", dict),
    "suites": _has("suite", dict),
    "comparisons": _has("comparisons", list),
    "certificates": _has("certificate", dict),
    "sweeps": lambda content: "varied" in content and _has("groups", list)(content),
    "runs": is_run,
    "reproductions": lambda content: _has("settings", list)(content) and bool(content["settings"]),
    "perturbations": _describes_perturbations,
}


@dataclass
class Contents:
    """The results in a folder, and the files without results."""

    # Name -> content of the JSON files that the page shows. Attack rows without a report are included as a
    # report made from them.
    files: dict[str, Json] = field(default_factory=dict)
    # Name of an attack report in `files` -> attack -> rows, and the name of the rows file.
    rows: dict[str, dict[str, list[AttackResult]]] = field(default_factory=dict)
    row_files: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)  # name -> data URI
    # Name -> reason why the page does not show the file.
    skipped: dict[str, str] = field(default_factory=dict)
    # Files that the page shows or counts. Outputs must not overwrite them.
    sources: list[Path] = field(default_factory=list)

    @property
    def shown(self) -> set[str]:
        """Names of the files that the page shows."""
        return {*self.files, *self.row_files.values(), *self.pictures}

    def select(self, kind: str) -> dict[str, Json]:
        """Return name -> content of the files of a given kind, a key of `RESULT_TESTS`."""
        return {
            name: content for name, content in self.files.items() if RESULT_TESTS[kind](content)
        }

    def skip(self, name: str, reason: str) -> None:
        """Leave out a file. If it is a report, its rows are also left out."""
        self.files.pop(name, None)
        self.skipped[name] = reason
        # Iterate over a copy, because entries are removed.
        for report, rows in list(self.row_files.items()):
            if name in (report, rows):
                del self.rows[report], self.row_files[report]
                missing = f"the rows of {make_printable(report)}, which is not shown"
                self.skipped.setdefault(rows, missing)


def read_folder(folder: Path, page: Path | None = None) -> Contents:
    """Read the results in the output folder of the run or command. `page` is the report to be written."""
    if not folder.is_dir():
        raise HfBatError(f"no such folder: {folder}")
    contents = Contents()
    # Model files may be large and are never results.
    results = [path for path in sorted(folder.glob("*.json")) if not is_model_file(path.name)]
    _read_results(contents, folder, results)
    # A stopped run has no final state, but its checkpoints have one.
    if not contents.select("histories"):
        states = folder.glob("checkpoint-*/trainer_state.json")
        steps = {path.parent.name.removeprefix("checkpoint-"): path for path in states}
        last = max((step for step in steps if step.isdecimal()), key=int, default=None)
        _read_results(contents, folder, [steps[last]] if last else [])
    _read_all_rows(contents, folder)
    # A reproduction has a folder for each experiment.
    _read_results(contents, folder, sorted(folder.glob("*/results.json")))
    # The runs of a sweep or reproduction are read if their table is missing.
    has_table = contents.select("sweeps") or contents.select("reproductions")
    for pattern in ("*/result.json", "runs/*/result.json"):
        runs = sorted(folder.glob(pattern))
        if not has_table:
            _read_results(contents, folder, runs)
        elif runs:
            contents.skipped[pattern] = (
                f"finished runs ({len(runs)}): `hf-bat report` on the folder of a run shows it whole"
            )
            contents.sources += runs
    files = _list_files(contents, folder, page)
    _read_pictures(contents, {name: path for name, path in files.items() if is_picture(path)})
    for name in files.keys() - contents.shown - contents.skipped.keys():
        contents.skipped[name] = _explain_skip(name, contents.shown)
    if not contents.shown:
        raise HfBatError(
            f"nothing to show in {folder}: no results of run_glue_bat.py or of examples/reproduce, no "
            "report or rows of `hf-bat attack`, `contrast`, `compare`, `certify` or `sweep`, no picture"
        )
    return contents


def join_contents(parts: Mapping[str, Contents]) -> Contents:
    """Join the results of several folders. The name of the folder is added before the file names."""
    joined = Contents()
    for folder, part in parts.items():
        for name in ("files", "rows", "pictures", "skipped"):
            values = getattr(part, name)
            getattr(joined, name).update({f"{folder}/{key}": v for key, v in values.items()})
        for report, rows in part.row_files.items():
            joined.row_files[f"{folder}/{report}"] = f"{folder}/{rows}"
        joined.sources += part.sources
    return joined


def make_printable(name: str) -> str:
    """Replace unprintable characters in a file name, such as line ends and undecodable bytes."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _read_results(contents: Contents, folder: Path, paths: Iterable[Path]) -> None:
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            content = parse_json(read_bytes(path, MAX_RESULT_BYTES))
        except HfBatError as error:
            contents.skipped[name] = f"cannot be read ({error})"
            continue
        if isinstance(content, dict) and any(holds(content) for holds in RESULT_TESTS.values()):
            contents.files[name] = content
            contents.sources.append(path)
        else:
            contents.skipped[name] = "no result of hf_bat"


def _read_all_rows(contents: Contents, folder: Path) -> None:
    """Read the rows of each attack report, and make a report for rows without one."""
    claims: dict[str, Path] = {}
    for name, report in contents.select("attacks").items():
        try:
            claims[name] = find_rows(folder / name, report)
        except (HfBatError, OSError):  # OSError: the file name is impossible
            continue
    # A file next to two reports may belong to either of them.
    claimed = Counter(path.resolve() for path in claims.values())
    for name, path in claims.items():
        if (count := claimed[path.resolve()]) > 1:
            contents.skipped[path.name] = f"the rows of which report? ({count} fit)"
        else:
            _read_rows(contents, name, path)
    # A stopped attack leaves rows without a report.
    for path in sorted((*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz"))):
        if path.resolve() not in claimed:
            _read_rows(contents, path.name, path)
            if path.name in contents.rows:
                contents.files[path.name] = {"attacks": _summarize(contents.rows[path.name])}


def _read_rows(contents: Contents, report: str, path: Path) -> None:
    try:
        # The rows of a certificate also have outcomes, but these are not attack successes.
        lines = [row for row in read_json_lines(path) if "attack" in row and "outcome" in row]
        rows = [AttackResult.from_dict(row) for row in lines if "verdicts" not in row]
        if not rows:
            raise HfBatError("no attacked rows")
        if report in contents.files:
            check_belonging(report, contents.files[report], path, rows)
    except HfBatError as error:
        contents.skipped[path.name] = str(error)
        return
    groups = contents.rows.setdefault(report, {})
    for row in rows:
        groups.setdefault(str(row.attack), []).append(row)
    contents.row_files[report] = path.name
    contents.sources.append(path)


def _summarize(rows: Mapping[str, list[AttackResult]]) -> dict[str, Json]:
    """Return the `attacks` of a report made from rows only."""
    summaries: dict[str, Json] = {}
    for attack, attack_rows in rows.items():
        kind: Kind = "obstinate" if "outcome_confident" in attack_rows[0] else "fickle"
        try:
            summaries[attack] = summarize(attack_rows, kind, {})
        except DAMAGE:  # rows that hf_bat did not write are shown without statistics
            summaries[attack] = {}
        # Each attack has its own disclosure, because a file may contain rows of several models.
        summaries[attack] |= marks_of(attack_rows[0])
    return summaries


def _list_files(contents: Contents, folder: Path, page: Path | None) -> dict[str, Path]:
    """List name -> path of the files in the folder and in the folders of its reproductions."""
    # Pictures of an experiment are next to its results.
    folders = [folder, *((folder / name).parent for name in contents.select("reproductions"))]
    return {
        path.relative_to(folder).as_posix(): path
        for part in dict.fromkeys(folders)
        for path in sorted(part.glob("*"))
        if path.is_file()
        and not path.name.startswith(".")  # temporary and system files
        # Pictures remain listed, so the page never replaces one.
        and (page is None or is_picture(path) or path.resolve() != page.resolve())
    }


def _explain_skip(name: str, shown: set[str]) -> str:
    path = PurePosixPath(name)
    source = (path.parent / _SOURCES.get(path.name, "")).as_posix()
    if path.name == "config.json" and (path.parent / "result.json").as_posix() in shown:
        return "the settings of the run, whose result is shown"
    if is_model_file(path.name):
        return "of a model or its training"
    if source in shown:
        return f"the table that is shown of {source}"
    return "no kind of file that a report shows"


def is_picture(path: Path) -> bool:
    """Return whether a file name is the name of a picture that a page can contain."""
    return path.suffix.lower() in PICTURE_TYPES


def _read_pictures(contents: Contents, paths: Mapping[str, Path]) -> None:
    """Read pictures as data URIs, because a page does not load anything.

    In an `<img>`, browsers do not run scripts or load anything, even for an SVG.
    """
    contents.sources += paths.values()
    stems: dict[str, str] = {}
    room = MAX_PICTURES_BYTES
    # Sorted, because only the PNG is shown if a PNG and an SVG have the same stem.
    for name in sorted(paths, key=str.lower):
        path = paths[name]
        stem = name.removesuffix(path.suffix)
        try:
            if stem in stems:
                raise HfBatError(f"a picture of this name is shown: {stems[stem]}")
            data = read_picture(path, room)
        except HfBatError as error:
            contents.skipped[name] = str(error)
            continue
        room -= len(data)
        stems[stem] = name
        encoded = b64encode(data).decode("ascii")
        contents.pictures[name] = f"data:{PICTURE_TYPES[path.suffix.lower()]};base64,{encoded}"


def read_picture(path: Path, room: int) -> bytes:
    """Read a PNG or SVG picture, and check that it is complete and fits into `room` bytes."""
    try:
        # Checked before reading, because a folder may contain huge pictures.
        size = path.stat().st_size
        if size > MAX_PICTURE_BYTES:
            limit = f"{size:,} bytes, at most {MAX_PICTURE_BYTES:,}"
            raise HfBatError(f"too large for the page ({limit})")
        if size > room:
            raise HfBatError(f"the page holds {MAX_PICTURES_BYTES:,} bytes of pictures at most")
        data = path.read_bytes()
    except OSError as error:
        raise HfBatError(f"cannot be read ({error.strerror or error})") from error
    if path.suffix.lower() == ".svg":
        if not _is_whole_svg(data):
            raise HfBatError("no whole SVG picture")
    # The second part is the last chunk, which is missing in a truncated file.
    elif not data.startswith(b"\x89PNG\r\n\x1a\n") or b"IEND\xaeB`\x82" not in data:
        raise HfBatError("no whole PNG picture")
    return data


def _is_whole_svg(data: bytes) -> bool:
    """Return whether a browser would draw the data, which must be complete XML with an SVG root element."""
    tags: list[str] = []
    # Namespaces are checked, because browsers only draw an `<svg>` in the SVG namespace.
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = lambda tag, _: tags.append(tag) if not tags else None
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError):
        return False
    return tags == ["http://www.w3.org/2000/svg svg"]
