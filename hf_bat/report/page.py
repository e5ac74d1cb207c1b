"""Write the HTML page of an output folder or an attack.

A page is self-contained: it has no scripts, fonts or other files, and a content security policy forbids
them. Its text comes from data and is escaped by the templates.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from math import isclose
from pathlib import Path, PurePosixPath
from statistics import fmean, stdev
from typing import Any

from hf_bat.attack.figures import (
    Figure,
    has_direction,
    is_attack_metric,
    is_lower_better,
    list_figures,
)
from hf_bat.attack.report import AttackReport, disclosures, name_table
from hf_bat.attack.result import AttackResult
from hf_bat.attack.verdict import (
    find_summary_kind,
    format_bounds,
    judge_report,
    name_attack,
)
from hf_bat.errors import HfBatError
from hf_bat.evaluation.summary import name_figures
from hf_bat.files import get_model_title, identify_file, write_atomically
from hf_bat.report.charts import place_lines
from hf_bat.report.files import (
    DAMAGE,
    Contents,
    Json,
    is_run,
    join_contents,
    make_printable,
    read_folder,
    select_metrics,
)
from hf_bat.report.rendering import ENVIRONMENT, add_to_templates, format_number, select_plain
from hf_bat.stats import format_rate, is_number
from hf_bat.sweep.key import drop_secrets
from hf_bat.sweep.summary import find_defense
from hf_bat.version import __version__

MAX_EXAMPLES = 40
MAX_PAIRS = 25
MAX_FIRST = 3  # number of examples of an attack on the first screen
MAX_REASON = 150  # maximum length of an error, which may quote a value of the file
ENVIRONMENT.globals |= {"MAX_EXAMPLES": MAX_EXAMPLES, "MAX_PAIRS": MAX_PAIRS}
for function in (disclosures, format_bounds, judge_report):
    add_to_templates(function)

# The files of a training run share a column.
_RUN_FILES = ("all_results.json", "eval_results.json", "train_results.json", "result.json")
_COSTS = {
    "train_samples": "training rows",
    "epoch": "epochs",
    "train_loss": "training loss",
    "train_runtime": "training, seconds",
    "eval_samples": "evaluated rows",
}


def write_report(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    also_written: Iterable[str | os.PathLike[str]] = (),
    before: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Write the page of an output folder.

    Args:
        folder: Output folder of `examples/run_glue_bat.py` or an `hf-bat` command, or the folder of a
            sweep, a reproduction, or one of their runs. Files are recognized by their content and not by
            their names. PNG and SVG pictures are also shown.
        path: Page to write.
        also_written: Other files that the caller will write, which are checked like the page.
            Defaults to none.
        before: Folder of an earlier run. The page starts with the changes since that run. Defaults
            to none.

    Returns:
        `{"output", "files": names of the files shown, "others": file -> reason why it is not shown}`.

    Raises:
        HfBatError: If the folder is missing or has nothing to show, or if the page cannot be written or
            would overwrite a file it shows.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "eval_results.json").write_text('{"eval_accuracy": 0.8}')
        ...     write_report(folder, Path(folder, "report.html"))["files"]
        ['eval_results.json']
    """
    contents = read_folder(Path(folder), Path(path))
    title = Path(folder).resolve().name
    if before is not None:
        parts = (read_folder(Path(before), Path(path)), contents)
        names = (Path(before).resolve().name, title)
        # Two folders with the same name are distinguished by their paths.
        names = names if len(set(names)) == 2 else ("before", "after")
        contents = join_contents(dict(zip(names, parts, strict=True)))
        title = " and ".join(names)
    # Files are compared by identity, because a file can have two names with a link.
    protected = set(map(identify_file, contents.sources))
    for output in (path, *also_written):
        if identify_file(output) in protected:
            raise HfBatError(f"{output} is a file that the page shows; name another file to write")
    _skip_damaged(contents)
    if not contents.shown:
        name, reason = next(iter(contents.skipped.items()))
        raise HfBatError(f"nothing to show in {folder}: {make_printable(name)}: {reason}")
    _write_page(path, _render_folder(title, contents))
    return {
        "output": str(path),
        "files": sorted(map(make_printable, contents.shown)),
        "others": {make_printable(name): why for name, why in sorted(contents.skipped.items())},
    }


def write_attack_page(report: AttackReport, path: str | os.PathLike[str]) -> None:
    """Write the page of an attack report."""
    _write_page(path, render_attack_page(report))


def render_attack_page(report: AttackReport) -> str:
    """Return the page of an attack report."""
    return ENVIRONMENT.get_template("attack.html").render(
        title=f"Attack report: {', '.join(report.attacks)}",
        pictures={},
        facts=select_plain(report.about),
        about=report.about,
        attacks=report.attacks,
        rows=report.rows,
    )


def group_reasons(skipped: Mapping[str, str]) -> list[tuple[str, str]]:
    """Group files that are not shown by reason. Return a list of (names, reason)."""
    names: dict[str, list[str]] = {}
    for name, reason in sorted(skipped.items()):
        names.setdefault(reason, []).append(make_printable(name))
    return [(", ".join(group), reason) for reason, group in names.items()]


def _write_page(path: str | os.PathLike[str], page: str) -> None:
    # File names and texts may contain surrogates, which UTF-8 cannot encode.
    write_atomically(path, page.encode("utf-8", "replace"))


def _skip_damaged(contents: Contents) -> None:
    """Leave out files that cannot be rendered. Each is tried separately, because files share sections."""
    parts = [(name, Contents({name: content})) for name, content in sorted(contents.files.items())]
    parts += [
        (name, Contents({report: contents.files[report]}, {report: contents.rows[report]}))
        for report, name in contents.row_files.items()
    ]
    for name, part in parts:
        # The rows of a damaged report were also left out.
        if name not in contents.skipped:
            try:
                _render_folder("", part)
            except DAMAGE as error:
                reason = " ".join(make_printable(f"{type(error).__name__}: {error}").split())
                reason = f"damaged, or not written by hf_bat ({reason[:MAX_REASON]})"
                contents.skip(name, reason)


def _render_folder(folder: str, contents: Contents) -> str:
    descriptions = [*contents.select("perturbations").values()]
    descriptions += [run["arguments"] for run in contents.select("runs").values()]
    methods = {str(part["method"]) for part in descriptions if "method" in part}
    # The pictures of an experiment are shown next to its results and not a second time.
    pictures: dict[str | None, list[str]] = {None: []}
    pictures |= {str(PurePosixPath(name).parent): [] for name in contents.select("reproductions")}
    for name in contents.pictures:
        parent = str(PurePosixPath(name).parent)
        pictures[parent if parent in pictures else None].append(name)
    evaluation = _describe_evaluation(contents)
    return ENVIRONMENT.get_template("folder.html").render(
        title=f"Report: {folder}",
        facts={
            "folder": folder,
            "method": ", ".join(sorted(methods)),
            "version of hf-bat": __version__,
        },
        contents=contents,
        evaluation=evaluation,
        changes=_describe_changes(contents, evaluation),
        pictures=contents.pictures,
        pictures_by_folder=pictures,
        shown=sorted(map(make_printable, contents.shown)),
        skipped=group_reasons(contents.skipped),
    )


def _describe_evaluation(contents: Contents) -> dict[str, Any]:
    """Return accuracy, attack success rates and training costs, with one column per run."""
    runs: dict[str, Json] = {}
    notes: dict[str, str] = {}
    for name, content in contents.select("metrics").items():
        folder, _, file = name.rpartition("/")
        run = (folder or "this run") if file in _RUN_FILES else strip_ending(name)
        # A run's files overlap and complement each other.
        runs[run] = runs.get(run, {}) | select_metrics(content)
        notes[run] = name_run(content) if is_run(content) else ""
    rates = {
        key: title for metrics in runs.values() for key, title in name_figures(metrics).items()
    }
    lines: list[Json] = [
        {
            "key": key,
            "title": title,
            "is_rate": key in rates,
            "cells": [m.get(key) for m in runs.values()],
        }
        for key, title in (rates | _COSTS).items()
    ]
    return {
        "notes": notes,
        "disclosures": disclosures(runs.items()),
        "lines": [line for line in lines if any(cell is not None for cell in line["cells"])],
    }


def _describe_changes(contents: Contents, evaluation: Json) -> Json:
    """Return the differences between two runs or two attack reports of a folder, if it has two."""
    reports = contents.select("attacks")
    changes: Json = {"before": None, "after": None, "lines": [], "paired": False}
    if len(evaluation["notes"]) == 2:
        changes["before"], changes["after"] = evaluation["notes"]
        for line in evaluation["lines"]:
            if line["is_rate"] and all(map(is_number, line["cells"])):
                before, after = line["cells"]
                metric = line["key"].removesuffix("_mm")
                is_lower = is_lower_better(metric) if has_direction(metric) else None
                change = _describe_change(line["title"], before, after, is_lower)
                # Attack reports have intervals, so their rates come first.
                is_attack = is_attack_metric(metric)
                changes["lines"].append(change | {"is_main": len(reports) != 2 or not is_attack})
    if len(reports) == 2:
        names = list(reports)
        models = [report.get("model") for report in reports.values()]
        titles = names if models[0] == models[1] or None in models else models
        changes["before"], changes["after"] = map(strip_ending, map(str, titles))
        before, after = (report["attacks"] for report in reports.values())
        attacks = [
            line
            for attack in before
            if attack in after
            for line in _compare_attack(attack, before[attack], after[attack])
        ]
        changes["paired"] = _pair_rows(attacks, [contents.rows.get(name, {}) for name in names])
        for line in attacks:
            _grade_change(line)
        changes["lines"] += attacks
    return changes


def _compare_attack(attack: str, before: Json, after: Json) -> list[Json]:
    """Return one line for each figure in both summaries of an attack."""
    kind, lines = find_summary_kind(before), []
    # The most informative rates are the ASR of edits that should change the label and the keep rate
    # of others.
    has_filter = "label_valid" in before and "label_valid" in after
    main = (
        {"valid_asr": "", "invalid_keep_rate": ", harmless edits kept"}
        if has_filter
        else {"asr": ""}
    )
    for figure in list_figures("summary"):
        old, new = figure.read(before), figure.read(after)
        if is_number(old) and is_number(new):
            is_main = figure.name in main
            title = f"{attack} {figure.short}"
            if is_main:
                title = f"{name_attack(attack)}{main[figure.name]}"
            is_lower = kind in figure.lower_is_better
            is_graded = has_direction(f"{attack}_{figure.name}")
            line = _describe_change(title, old, new, is_lower if is_graded else None)
            line |= {"attack": attack, "figure": figure.name, "is_main": is_main}
            for side, part in (("before", before), ("after", after)):
                line[f"{side}_interval"] = figure.read(part, "_interval")
            lines.append(line)
    return lines


def _describe_change(title: str, before: float, after: float, is_lower_better: bool | None) -> Json:
    line = {
        "title": title,
        "before": before,
        "after": after,
        "before_interval": None,
        "after_interval": None,
        "difference": after - before,
        "interval": None,
        "is_lower_better": is_lower_better,
    }
    _grade_change(line)
    return line


def _grade_change(line: Json) -> None:
    """Mark a figure as better or worse, unless the interval of its difference includes 0."""
    points, interval = line["difference"], line["interval"]
    if round(100 * points, 1) == 0:
        line["word"], line["grade"] = "same", "unclear"
    elif interval and interval[0] <= 0 <= interval[1]:
        line["word"], line["grade"] = "no clear difference", "unclear"
    elif line["is_lower_better"] is None:
        line["word"], line["grade"] = "neither better nor worse", "unclear"
    else:
        is_better = (points < 0) == line["is_lower_better"]
        line["word"], line["grade"] = ("better", "good") if is_better else ("worse", "bad")


def _pair_rows(lines: Sequence[Json], rows: Sequence[Mapping[str, list[AttackResult]]]) -> bool:
    """Add paired intervals to the lines of success rates, if both reports have the same rows."""
    # Imported only if needed, because it loads numpy.
    from hf_bat.evaluation.compare import compare_rows

    try:
        before, after = ([row for attack in part.values() for row in attack] for part in rows)
        tests = compare_rows(before, after, resamples=2000) if before and after else []
    except (HfBatError, *DAMAGE):  # rows of other data, or not written by hf_bat
        return False
    names = {"strict": "asr", "confident": "asr_confident", "strict, valid": "valid_asr",
             "confident, valid": "valid_asr_confident"}  # fmt: skip
    found = {(test.attack, names.get(test.definition)): test for test in tests}
    for line in lines:
        test = found.get((line["attack"], line["figure"]))
        # If a report and a rows file have different rows, their differences do not match.
        if (
            test is not None
            and test.difference is not None
            and isclose(test.difference, line["difference"])
        ):
            line["interval"] = test.interval
    return any(line["interval"] for line in lines)


@add_to_templates
def describe_reproduction(content: Json) -> dict[str, Any]:
    """Return the columns of an experiment (ours next to the paper's), and the differences in its setup."""
    settings = content["settings"]
    columns: dict[tuple[str, str], str] = {}
    for metric in dict.fromkeys(metric for setting in settings for metric in setting["ours"]):
        # Metrics without labels, such as custom metrics, are shown with their keys.
        title = name_figures({metric: 0.0}).get(metric, metric)
        columns[metric, "ours"] = f"{title}, ours"
        if any(metric in (setting.get("paper_percent") or ()) for setting in settings):
            columns[metric, "paper_percent"] = f"{title}, paper"
    runs = [run for s in settings for run in s.get("runs") or () if isinstance(run, Mapping)]
    arguments = [run["arguments"] for run in runs if isinstance(run.get("arguments"), Mapping)]
    rows = [run["rows"].get("train") for run in runs if isinstance(run.get("rows"), Mapping)]
    limits = [a["max_attack_samples"] for a in arguments if "max_attack_samples" in a]
    facts = {
        "model": [get_model_title(str(a.get("model_name_or_path"))) for a in arguments],
        "training rows": map(format_number, rows),
        "steps": [format_number(run.get("steps")) for run in runs],
        "attacked rows": ["all" if n is None else f"the first {format_number(n)}" for n in limits],
    }
    differences = {name: " or ".join(dict.fromkeys(values)) for name, values in facts.items()}
    return {
        "columns": columns,
        "differences": {"Ours": f"scale {content.get('scale')}", **differences},
        "disclosures": disclose_runs(runs),
    }


@add_to_templates
def read_percent(setting: Json, metric: str, source: str) -> tuple[float, float | None] | None:
    """Return a figure in percent with its standard deviation over seeds.

    Ours are fractions, one for each seed. The paper prints percentages, some with a standard
    deviation.
    """
    figure = (setting.get(source) or {}).get(metric)
    values: list[Any] = figure if isinstance(figure, list) else [figure]
    values = list(filter(is_number, values))
    if not values:
        return None
    if source == "paper_percent":
        return values[0], values[1] if len(values) > 1 else None
    shares = [100 * share for share in values]
    return fmean(shares), stdev(shares) if len(shares) > 1 else None


@add_to_templates
def describe_sweep(content: Json) -> dict[str, Any]:
    """Return the groups of a sweep that have metrics, the titles of the metrics, and disclosures."""
    groups = [group for group in content["groups"] if isinstance(group.get("metrics"), Mapping)]
    return {
        "groups": groups,
        "titles": name_figures({key: 0.0 for group in groups for key in group["metrics"]}),
        "disclosures": disclosures((str(group.get("name")), group) for group in groups),
    }


@add_to_templates
def name_run(content: Json) -> str:
    """Name the run by its most important arguments, because its key is a hash."""
    # Imported only if needed, because it loads torch.
    from hf_bat.methods import DEFAULT_METHOD

    arguments = content["arguments"]
    seed = f", seed {arguments['seed']}" if "seed" in arguments else ""
    return f"{arguments.get('method', DEFAULT_METHOD)}{seed}"


@add_to_templates
def list_facts(part: Any) -> Json:
    """List the values in a part of a run that fit on one line."""
    # Results from earlier versions may contain access tokens.
    values = drop_secrets(part) if isinstance(part, Mapping) else {}
    facts = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    for key, value in facts.items():
        if isinstance(value, list):
            facts[key] = ", ".join(map(str, value))
        elif value is None:  # None is also a fact, such as "all rows"
            facts[key] = "none"
    return facts


@add_to_templates
def chart_training(history: Sequence[Any], *names: str, prefix: str) -> Json:
    """Return a chart of the logged values with one of the names or the prefix."""
    lines = _list_points(history, "step")
    return place_lines({k: v for k, v in lines.items() if k in names or k.startswith(prefix)})


@add_to_templates
def chart_evaluations(history: Any, x_name: str) -> Json:
    """Return a chart of evaluations. It is empty for a single evaluation, which is in the table."""
    lines = _list_points(history if isinstance(history, list) else [], x_name)
    # Keep rates are left out, because they would double the number of lines.
    titles = name_figures({key: 0.0 for key in lines if not key.endswith("_keep_rate")})
    series = {label: lines[key] for key, label in titles.items()}
    return place_lines(series) if any(len(points) > 1 for points in series.values()) else {}


def _list_points(history: Sequence[Any], x_name: str) -> dict[str, list[tuple[float, float]]]:
    """Return name -> points of the logged numbers."""
    lines: dict[str, dict[float, float]] = {}
    for entry in history:
        if isinstance(entry, Mapping) and is_number(entry.get(x_name)):
            for key, value in entry.items():
                if is_number(value):
                    # Earlier versions logged the mismatched set of MNLI as a second evaluation.
                    lines.setdefault(key, {}).setdefault(float(entry[x_name]), float(value))
    return {key: list(points.items()) for key, points in lines.items()}


@add_to_templates
def list_attack_rates(reports: Mapping[str, Json]) -> list[tuple[str, float, Any]]:
    """Return (name, rate, interval) of the success rates of all attacks."""
    bars: list[tuple[str, float, Any]] = []
    for name, report in reports.items():
        prefix = "" if len(reports) == 1 else f"{strip_ending(name)}: "
        for attack, entry in report["attacks"].items():
            for key, ending in (("asr", ""), ("asr_confident", ", confident")):
                if is_number(rate := entry.get(key)):
                    bars.append((f"{prefix}{attack}{ending}", rate, entry.get(f"{key}_interval")))
    return bars


@add_to_templates
def describe_data(attacks: Mapping[str, Json], about: Mapping[str, Any]) -> Json:
    """Describe the subject of an attack report: data, date, rows and accuracy."""
    first: Mapping[str, Any] = next(iter(attacks.values()), {})
    accuracy, f1 = first.get("accuracy"), about.get("f1")
    facts: Json = {name: about.get(name) for name in ("task", "data", "date")}
    facts["rows"] = first.get("rows")
    facts["accuracy"] = format_rate(accuracy) if is_number(accuracy) else None  # type: ignore[arg-type]
    if isinstance(f1, Mapping):
        facts[f"F1 of {f1.get('label')}"] = f1.get("f1")
    return facts


@add_to_templates
def choose_examples(rows: Sequence[AttackResult]) -> list[AttackResult]:
    """Choose a few illustrative successful edits, which change few words and are likely valid."""
    successes = [row for row in rows if row.is_success and row.perturbed]
    # Sorting is stable, so equal rows remain in order.
    successes.sort(key=lambda row: (not _has_valid_edit(row), row.words_changed or 0))
    return successes[:MAX_FIRST]


def _has_valid_edit(row: AttackResult) -> bool:
    """Return whether the displayed edit passes the label filter, if there is one."""
    edits = {(edit["original"], edit["replacement"]) for edit in row.edits or ()}
    return any(t.valid and (t.original, t.replacement) in edits for t in row.tried or ())


@add_to_templates
def tabulate_attacks(attacks: Mapping[str, Json]) -> list[tuple[Figure, list[Any]]]:
    """Return the figures of attacks, with one cell (value, interval) per attack."""
    lines = []
    for figure in list_figures("page"):
        cells = [
            (figure.read(results), figure.read(results, "_interval"))
            for results in attacks.values()
        ]
        # Without attacked rows, these figures show why the rate is missing.
        if figure.name in ("rows", "asr") or any(value is not None for value, _ in cells):
            lines.append((figure, cells))
    return lines


@add_to_templates
def describe_recipe(recipe: Mapping[str, Any], table: Any = None) -> Json:
    """Return the parts of a recipe that fit on one line, the start of its hash, and its table name."""
    plain = select_plain(recipe)
    if "hash" in plain:
        plain["hash"] = str(plain["hash"])[:12]
    named = {"table": name_table(table)} if isinstance(table, Mapping) else {}
    return {"recipe": plain.pop("name", None), **named, **plain}


@add_to_templates
def disclose_attacks(report: Json) -> list[str]:
    """Return the disclosures of an attack report, or of each attack of a rows file."""
    # An attack's own disclosure has priority, because a rows file may hold several models.
    entries = report["attacks"] or {"": {}}
    return disclosures((name, report | entry) for name, entry in entries.items())


@add_to_templates
def disclose_runs(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the disclosures of the preprocessing defenses of runs, without duplicates."""
    defenses = [("", {"preprocessing_defence": find_defense(run)}) for run in runs]
    return sorted({line for defense in defenses for line in disclosures([defense])})


@add_to_templates
def strip_ending(name: str) -> str:
    """Return the name of a result file without its suffix."""
    return name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")
