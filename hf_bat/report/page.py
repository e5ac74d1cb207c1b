"""Write the HTML page of an output folder or of an attack.

A page needs nothing else: no script, no font, no file, and a content security policy that forbids them.
Its text comes from data and is escaped by the templates.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from statistics import fmean, stdev
from typing import Any

from hf_bat.attack.figures import Figure, list_figures
from hf_bat.attack.report import AttackReport, disclosures
from hf_bat.errors import HfBatError
from hf_bat.evaluation.summary import name_figures
from hf_bat.files import get_model_title, identify_file, write_atomically
from hf_bat.report.charts import place_lines
from hf_bat.report.files import (
    DAMAGE,
    Contents,
    Json,
    group_by_attack,
    is_run,
    make_printable,
    read_folder,
    select_metrics,
)
from hf_bat.report.rendering import ENVIRONMENT, add_to_templates, format_number, select_plain
from hf_bat.sweep.key import drop_secrets
from hf_bat.sweep.summary import find_defense
from hf_bat.version import __version__

MAX_EXAMPLES = 40
MAX_PAIRS = 25
MAX_REASON = 150  # characters of an error, which may quote a value of the file
ENVIRONMENT.globals |= {"MAX_EXAMPLES": MAX_EXAMPLES, "MAX_PAIRS": MAX_PAIRS}
add_to_templates(disclosures)
add_to_templates(group_by_attack)

# The files that a training run leaves; they share a column.
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
) -> dict[str, Any]:
    """Write the page of an output folder.

    Args:
        folder: Folder that `examples/run_glue_bat.py` or a command of `hf-bat` wrote into, or the folder of
            a sweep, of a reproduction, or of one of their runs. Files are known by their content, not by
            their names. PNG and SVG pictures are shown too.
        path: Page to write.
        also_written: Other files that the caller will write, checked like the page. Defaults to none.

    Returns:
        `{"output", "files": names of the files shown, "others": file -> reason why it is not shown}`.

    Raises:
        HfBatError: If the folder is missing or has nothing to show, or if the page cannot be written or
            would overwrite a file that it shows.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "eval_results.json").write_text('{"eval_accuracy": 0.8}')
        ...     write_report(folder, Path(folder, "report.html"))["files"]
        ['eval_results.json']
    """
    contents = read_folder(Path(folder), Path(path))
    # Files are compared by identity, because a link can give one file two names.
    protected = set(map(identify_file, contents.sources))
    for output in (path, *also_written):
        if identify_file(output) in protected:
            raise HfBatError(f"{output} is a file that the page shows; name another file to write")
    _skip_damaged(contents)
    if not contents.shown:
        name, reason = next(iter(contents.skipped.items()))
        raise HfBatError(f"nothing to show in {folder}: {make_printable(name)}: {reason}")
    _write_page(path, _render_folder(Path(folder).resolve().name, contents))
    return {
        "output": str(path),
        "files": sorted(map(make_printable, contents.shown)),
        "others": {make_printable(name): why for name, why in sorted(contents.skipped.items())},
    }


def write_attack_page(report: AttackReport, path: str | os.PathLike[str]) -> None:
    """Write the page of an attack report.

    Raises:
        HfBatError: If the page cannot be written.
    """
    _write_page(path, render_attack_page(report))


def render_attack_page(report: AttackReport) -> str:
    """Return the page of an attack report.

    Example:
        >>> page = render_attack_page(AttackReport({"antonym": {"asr": 0.5}}, {}, {"model": "<mine>"}))
        >>> "50.0 %" in page, "&lt;mine&gt;" in page, "<mine>" in page
        (True, True, False)
    """
    return ENVIRONMENT.get_template("attack.html").render(
        title=f"Attack report: {', '.join(report.attacks)}",
        pictures={},
        facts=select_plain(report.about),
        about=report.about,
        attacks=report.attacks,
        rows=[row for rows in report.rows.values() for row in rows],
    )


def group_reasons(skipped: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return (names, reason) of files that are not shown, those with the same reason together.

    Example:
        >>> group_reasons({"log.txt": "no kind", "x.json": "no result", "lock": "no kind"})
        [('lock, log.txt', 'no kind'), ('x.json', 'no result')]
    """
    names: dict[str, list[str]] = {}
    for name, reason in sorted(skipped.items()):
        names.setdefault(reason, []).append(make_printable(name))
    return [(", ".join(group), reason) for reason, group in names.items()]


def _write_page(path: str | os.PathLike[str], page: str) -> None:
    # File names and texts may hold surrogates, which UTF-8 cannot encode.
    write_atomically(path, page.encode("utf-8", "replace"))


def _skip_damaged(contents: Contents) -> None:
    """Leave out files that cannot be rendered. Each is tried separately, because files share sections."""
    for name, content in sorted(contents.files.items()):
        if reason := _find_damage(Contents({name: content})):
            contents.skip(name, reason)
    for report, rows_name in list(contents.row_files.items()):
        part = Contents({report: contents.files[report]}, {report: contents.rows[report]})
        if reason := _find_damage(part):
            contents.skip(rows_name, reason)


def _find_damage(contents: Contents) -> str:
    """Return why the contents cannot be rendered, or an empty string."""
    try:
        # Rendering tests all that the templates need from a file.
        _render_folder("", contents)
    except DAMAGE as error:
        reason = " ".join(make_printable(f"{type(error).__name__}: {error}").split())
        return f"damaged, or not written by hf_bat ({reason[:MAX_REASON]})"
    return ""


def _render_folder(folder: str, contents: Contents) -> str:
    descriptions = [*contents.select("perturbations").values()]
    descriptions += [run["arguments"] for run in contents.select("runs").values()]
    methods = {str(one["method"]) for one in descriptions if "method" in one}
    reproductions = [
        _describe_reproduction(name, content, contents.pictures)
        for name, content in contents.select("reproductions").items()
    ]
    # A picture of an experiment is shown there and not a second time below.
    shown_pictures = {name for one in reproductions for name in one["pictures"]}
    return ENVIRONMENT.get_template("folder.html").render(
        title=f"Report: {folder}",
        facts={
            "folder": folder,
            "method": ", ".join(sorted(methods)),
            "version of hf-bat": __version__,
        },
        contents=contents,
        evaluation=_describe_evaluation(contents),
        reproductions=reproductions,
        sweeps=[_describe_sweep(*item) for item in contents.select("sweeps").items()],
        pictures=contents.pictures,
        other_pictures=[name for name in contents.pictures if name not in shown_pictures],
        shown=sorted(map(make_printable, contents.shown)),
        skipped=group_reasons(contents.skipped),
    )


def _describe_evaluation(contents: Contents) -> dict[str, Any]:
    """Return accuracy, attack success rates and training costs, with a column for each run."""
    runs: dict[str, Json] = {}
    notes: dict[str, str] = {}
    for name, content in contents.select("metrics").items():
        run = "this run" if name in _RUN_FILES else strip_ending(name).removesuffix("/result")
        # The files of one run repeat and complete each other.
        runs[run] = runs.get(run, {}) | select_metrics(content)
        notes[run] = name_run(content) if is_run(content) else ""
    rates = {
        key: title for metrics in runs.values() for key, title in name_figures(metrics).items()
    }
    lines: list[Json] = [
        {"title": title, "is_rate": key in rates, "cells": [m.get(key) for m in runs.values()]}
        for key, title in (rates | _COSTS).items()
    ]
    return {
        "notes": notes,
        "disclosures": disclosures(runs.items()),
        "lines": [line for line in lines if any(cell is not None for cell in line["cells"])],
    }


def _describe_reproduction(name: str, content: Json, pictures: Iterable[str]) -> dict[str, Any]:
    """Return an experiment of the paper: our figures next to the paper's, what differs, its pictures."""
    settings = content["settings"]
    metrics = dict.fromkeys(metric for setting in settings for metric in setting["ours"])
    printed = {metric for setting in settings for metric in setting.get("paper_percent") or ()}
    heads: list[str] = []
    lines: list[Json] = []
    for metric in metrics:
        # A metric without a label, such as one of a user, keeps its key.
        title = name_figures({metric: 0.0}).get(metric, metric)
        heads += [f"{title}, ours"] + [f"{title}, paper"] * (metric in printed)
    for setting in settings:
        figures = []
        for metric in metrics:
            figures.append(_average_percent(setting["ours"].get(metric)))
            if metric in printed:
                figures.append(_read_percent((setting.get("paper_percent") or {}).get(metric)))
        options = (setting.get("options") or {}).items()
        varied = ", ".join(f"{key.replace('_', ' ')} {format_number(v)}" for key, v in options)
        method = f"{setting.get('method')}{f' ({varied})' if varied else ''}"
        names = (str(setting.get("task")).upper(), setting.get("paper_model"), method)
        lines.append({"names": names, "seeds": len(setting.get("runs") or ()), "figures": figures})
    runs = [run for s in settings for run in s.get("runs") or () if isinstance(run, Mapping)]
    folder = PurePosixPath(name).parent
    return {
        "name": name,
        "title": str(content.get("title", "")),
        "claims": content.get("paper_claims"),
        "heads": heads,
        "lines": lines,
        "differences": {"Ours": f"scale {content.get('scale')}", **_list_differences(runs)},
        "disclosures": disclose_runs(runs),
        "pictures": [picture for picture in pictures if PurePosixPath(picture).parent == folder],
    }


def _average_percent(shares: Any) -> tuple[float, float | None] | None:
    """Return mean and standard deviation in percent of a figure over seeds."""
    values = [100 * v for v in shares if _is_number(v)] if isinstance(shares, list) else []
    return (fmean(values), stdev(values) if len(values) > 1 else None) if values else None


def _read_percent(printed: Any) -> tuple[float, float | None] | None:
    """Return a figure of the paper: in percent, with its standard deviation if it was printed."""
    values = printed if isinstance(printed, list) else [printed]
    if not values or not all(map(_is_number, values)):
        return None
    return values[0], values[1] if len(values) > 1 else None


def _list_differences(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the facts of our runs that a reader needs before comparing them with the paper's."""
    arguments = [run["arguments"] for run in runs if isinstance(run.get("arguments"), Mapping)]
    rows = [run["rows"].get("train") for run in runs if isinstance(run.get("rows"), Mapping)]
    limits = [one["max_attack_samples"] for one in arguments if "max_attack_samples" in one]
    facts = {
        "model": [get_model_title(str(one.get("model_name_or_path"))) for one in arguments],
        "training rows": map(format_number, rows),
        "steps": [format_number(run.get("steps")) for run in runs],
        "attacked rows": ["all" if n is None else f"the first {format_number(n)}" for n in limits],
    }
    return {name: " or ".join(dict.fromkeys(values)) for name, values in facts.items()}


def _describe_sweep(name: str, content: Json) -> dict[str, Any]:
    groups = [group for group in content["groups"] if isinstance(group.get("metrics"), Mapping)]
    titles = name_figures({key: 0.0 for group in groups for key in group["metrics"]})
    return {
        "facts": {"file": name, "interval": content.get("interval")},
        "disclosures": disclosures((str(group.get("name")), group) for group in groups),
        "heads": list(titles.values()),
        "lines": [
            {
                "names": (group.get("name"), len(group.get("runs", ()))),
                "metrics": [group["metrics"].get(key, {}) for key in titles],
            }
            for group in groups
        ],
    }


@add_to_templates
def name_run(content: Json) -> str:
    """Return the arguments that tell runs apart best; a run's key is a hash."""
    arguments = content["arguments"]
    seed = f", seed {arguments['seed']}" if "seed" in arguments else ""
    if "method" in arguments:
        return f"{arguments['method']}{seed}"
    # Imported if needed, because it loads torch.
    from hf_bat.methods import DEFAULT_METHOD

    return f"{DEFAULT_METHOD}{seed}"


@add_to_templates
def list_facts(part: Any) -> Json:
    """Return the values of a part of a run that fit on one line."""
    # Results of earlier versions may hold a token.
    values = drop_secrets(part) if isinstance(part, Mapping) else {}
    facts = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    for key, value in facts.items():
        if isinstance(value, list):
            facts[key] = ", ".join(map(str, value))
        elif value is None:  # a fact too: all rows, for example
            facts[key] = "none"
    return facts


@add_to_templates
def chart_training(history: Sequence[Any]) -> dict[str, Json]:
    """Return title -> chart of the logged values of a training run."""
    charts: dict[str, Json] = {}
    for title, prefix, names in (
        ("Loss and its components", "loss_", ("loss",)),
        ("Distance of anchor and version", "distance_", ("fickle_distance", "obstinate_distance")),
        ("Rows that had a valid version (share)", "valid_", ("fickle_valid", "obstinate_valid")),
    ):
        lines = _list_points(history, "step")
        chosen = {k: v for k, v in lines.items() if k in names or k.startswith(prefix)}
        charts[title] = place_lines(chosen)
    charts["Evaluation while training (shares)"] = chart_evaluations(history, "step")
    return {title: chart for title, chart in charts.items() if chart}


@add_to_templates
def chart_evaluations(history: Any, x_name: str) -> Json:
    """Return a chart of evaluations; empty for a single one, whose figures are in the table."""
    lines = _list_points(history if isinstance(history, list) else [], x_name)
    # Without keep rates, which would double the number of lines.
    titles = name_figures({key: 0.0 for key in lines if not key.endswith("_keep_rate")})
    series = {label: lines[key] for key, label in titles.items()}
    is_line = any(len(points) > 1 for points in series.values())
    return place_lines(series) if is_line else {}


def _list_points(history: Sequence[Any], x_name: str) -> dict[str, list[tuple[float, float]]]:
    """Return name -> points of the logged numbers."""
    lines: dict[str, dict[float, float]] = {}
    for entry in history:
        if isinstance(entry, Mapping) and _is_number(entry.get(x_name)):
            for key, value in entry.items():
                if _is_number(value):
                    # Earlier runs on MNLI logged the mismatched set as a second evaluation.
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
                if _is_number(rate := entry.get(key)):
                    bars.append((f"{prefix}{attack}{ending}", rate, entry.get(f"{key}_interval")))
    return bars


@add_to_templates
def tabulate_attacks(attacks: Mapping[str, Json]) -> list[tuple[Figure, list[Any]]]:
    """Return the figures of attacks, each with one cell (value, interval) per attack."""
    lines = []
    for figure in list_figures("page"):
        cells = [(figure.read(one), figure.read(one, "_interval")) for one in attacks.values()]
        # Without rows these figures say so, and why the rate is missing.
        if figure.name in ("rows", "asr") or any(value is not None for value, _ in cells):
            lines.append((figure, cells))
    return lines


@add_to_templates
def describe_recipe(recipe: Mapping[str, Any]) -> Json:
    """Return the parts of a recipe that fit on one line, with its hash shortened."""
    plain = select_plain(recipe)
    # The whole hash is in the recipe's details.
    if "hash" in plain:
        plain["hash"] = str(plain["hash"])[:12]
    return {"recipe": plain.pop("name", None), **plain}


@add_to_templates
def disclose_sides(content: Json) -> list[str]:
    """Return the disclosures of the two models of a comparison."""
    keys = {"preprocessing_defence": "preprocessing_defences", "smoothed": "smoothed"}
    return disclosures(
        (side.upper(), {key: content.get(name, {}).get(side) for key, name in keys.items()})
        for side in ("a", "b")
    )


@add_to_templates
def disclose_attacks(report: Json) -> list[str]:
    """Return the disclosures of an attack report, or of each attack of a rows file."""
    # An attack's own disclosure has priority, because a rows file may hold several models.
    entries = report["attacks"] or {"": {}}
    return disclosures((name, report | entry) for name, entry in entries.items())


@add_to_templates
def disclose_runs(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the disclosures of the preprocessing defenses of runs, each once."""
    defenses = [("", {"preprocessing_defence": find_defense(run)}) for run in runs]
    return sorted({line for defense in defenses for line in disclosures([defense])})


@add_to_templates
def strip_ending(name: str) -> str:
    """Return the name of a result file without its ending."""
    return name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")


def _is_number(value: Any) -> bool:
    # `bool` is a subclass of `int`.
    return isinstance(value, (int, float)) and not isinstance(value, bool)
