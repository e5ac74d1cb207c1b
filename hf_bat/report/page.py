"""Write HTML pages: an output folder's, and an attack's.

A page needs nothing else: no script, no font, no file, and a content security policy that forbids them.
Its text comes from data and is escaped by the templates.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from statistics import fmean, stdev
from typing import Any

from hf_bat.attack.label_filter import flat_figures
from hf_bat.attack.report import DISCLOSED, disclosure, disclosures
from hf_bat.attack.rows import read_rows
from hf_bat.errors import HfBatError
from hf_bat.files import get_model_title, identity, write_atomically
from hf_bat.report.charts import Point, draw_lines, draw_rates
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
from hf_bat.report.rendering import ENVIRONMENT, format_number, render, select_plain
from hf_bat.summary import labels
from hf_bat.sweep.arguments import without_secrets
from hf_bat.sweep.summary import defence_of
from hf_bat.version import __version__

MAX_EXAMPLES = 40
MAX_PAIRS = 25
MAX_REASON = 150  # characters of an error, which may quote a value of the file

# Key of an attack's report -> (title, note), in the order of the table.
_RATES = {
    "asr": ("attack success rate", "succeeded / attempted"),
    "asr_confident": (
        "attack success rate, confident",
        "prediction kept and its probability higher than before",
    ),
    "attackable": ("attackable", "attempted rows that have an edit to try"),
    "asr_attackable": ("attack success rate of these", "succeeded / rows that have an edit to try"),
    "keep_rate": ("keep rate", "tried edits that keep the prediction"),
    "valid_asr": ("attack success rate, valid", "of edits that likely change the label alone"),
    "valid_asr_confident": ("attack success rate, valid, confident", "of the same edits"),
    "valid_keep_rate": ("keep rate, valid", "of the same edits"),
    "invalid_keep_rate": ("keep rate, invalid", "edits that likely leave the label alone"),
    "accuracy": ("accuracy", "on the rows as they are"),
    "accuracy_under_attack": ("accuracy under attack", "rows right and not fooled"),
}
_FIGURES = {
    "rows": ("rows", "attempted + skipped"),
    "attempted": ("attempted", "succeeded + failed"),
    "skipped": ("skipped", "predicted wrong, or of a label left alone"),
    "succeeded": ("succeeded", ""),
    "failed": ("failed", ""),
    **_RATES,
    "queries": ("queries", ""),
    "queries_per_row": ("queries a row", "mean over the attempted"),
    "words_changed": ("words changed", "mean over the successes"),
    "sentence_similarity": ("sentence similarity", "mean over the successes"),
}
_ALWAYS = ("rows", "asr")
# The files that a training run leaves; they share a column.
_RUN_FILES = ("all_results.json", "eval_results.json", "train_results.json", "result.json")
_COSTS = {
    "train_samples": "training rows",
    "epoch": "epochs",
    "train_loss": "training loss",
    "train_runtime": "training, seconds",
    "eval_samples": "evaluated rows",
}
# Title -> prefix and other names of the logged values that a chart shows.
_TRAINING_CHARTS = {
    "Loss and its components": ("loss_", ("loss",)),
    "Distance of anchor and version": ("distance_", ("fickle_distance", "obstinate_distance")),
    "Rows that had a valid version (share)": ("valid_", ("fickle_valid", "obstinate_valid")),
}
_RUN_PARTS = {
    "arguments": "Arguments",
    "representations": "Representations",
    "tables": "Fingerprints of the tables",
    "environment": "Made with",
}


def write_report(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    also_written: Iterable[str | os.PathLike[str]] = (),
) -> dict[str, Any]:
    """Write the page of an output folder.

    Args:
        folder: Folder that `examples/run_glue_bat.py` or a command of `hf-bat` wrote into:
            `train_results.json`, `eval_results.json`, `trainer_state.json`, `perturbations.json`, any
            number of reports and rows files; or the folder of a sweep, of a reproduction, or of one of
            their runs. Files are known by their content, not by their names. PNG and SVG pictures are
            shown too.
        path: Page to write.
        also_written: Other files that the caller will write, checked like the page. Defaults to none.

    Returns:
        `{"output", "files": names of the files shown, "others": file -> reason why it is not shown}`.

    Raises:
        HfBatError: If there is no such folder or nothing in it to show, or if the page cannot be
            written or would overwrite a file that it shows.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "eval_results.json").write_text('{"eval_accuracy": 0.8}')
        ...     write_report(folder, Path(folder, "report.html"))["files"]
        ['eval_results.json']
    """
    contents = read_folder(Path(folder), Path(path))
    protected = set(map(identity, contents.sources))
    for output in (path, *also_written):
        if identity(output) in protected:
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


def write_attack_page(
    report: Any, path: str | os.PathLike[str], rows: Iterable[Any] | str | Path | None = None
) -> None:
    """Write the page of an attack report.

    Args:
        report: An `AttackReport`, or its `to_dict()`.
        path: Page to write.
        rows: Attacked rows, or the JSON-lines file of them. If `None`, the rows of the `AttackReport`;
            without rows the page has no examples.

    Raises:
        HfBatError: If the rows file cannot be read or the page cannot be written.
    """
    if isinstance(rows, (str, Path)):
        rows = read_rows(rows)
    elif rows is None and not isinstance(report, Mapping):
        rows = [row for attack_rows in report.rows.values() for row in attack_rows]
    _write_page(path, render_attack_page(report, list(rows or ())))


def render_attack_page(report: Any, rows: Sequence[Any] = ()) -> str:
    """Return the page of an attack report; see `write_attack_page`.

    Example:
        >>> page = render_attack_page({"attacks": {"antonym": {"asr": 0.5}}, "model": "<mine>"})
        >>> "50.0 %" in page, "&lt;mine&gt;" in page, "<mine>" in page
        (True, True, False)
    """
    content: Mapping[str, Any] = report if isinstance(report, Mapping) else report.to_dict()
    attacks: Mapping[str, Json] = content.get("attacks", {})
    rows_by_attack = group_by_attack(attacks, rows)
    return render(
        "attack.html",
        title=f"Attack report: {', '.join(rows_by_attack)}",
        pictures={},
        facts=select_plain(content),
        disclosures=disclose(content),
        attacks=attacks,
        rows_by_attack=rows_by_attack,
    )


def group_reasons(skipped: Mapping[str, str]) -> list[tuple[str, str]]:
    """Join the names of files that are not shown for the same reason.

    Args:
        skipped: File -> reason.

    Returns:
        (names, reason), sorted by the first name.

    Example:
        >>> group_reasons({"log.txt": "no kind", "x.json": "no result", "lock": "no kind"})
        [('lock, log.txt', 'no kind'), ('x.json', 'no result')]
    """
    names: dict[str, list[str]] = {}
    for name, reason in sorted(skipped.items()):
        names.setdefault(reason, []).append(name)
    return [(", ".join(group), reason) for reason, group in names.items()]


def _write_page(path: str | os.PathLike[str], page: str) -> None:
    # File names and texts may hold surrogates, which UTF-8 cannot encode.
    write_atomically(path, page.encode("utf-8", "replace"))


def _skip_damaged(contents: Contents) -> None:
    """Leave out files that cannot be rendered. Each is tried alone, because files share sections."""
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
        _render_folder("", contents)
    except DAMAGE as error:
        reason = " ".join(make_printable(f"{type(error).__name__}: {error}").split())
        return f"damaged, or not written by hf_bat ({reason[:MAX_REASON]})"
    return ""


def _render_folder(name: str, contents: Contents) -> str:
    perturbations, runs = contents.select("perturbations"), contents.select("runs")
    described = (*perturbations.values(), *(run["arguments"] for run in runs.values()))
    methods = {str(one["method"]) for one in described if "method" in one}
    reproductions = [
        _describe_reproduction(name, content, contents.pictures)
        for name, content in contents.select("reproductions").items()
    ]
    shown_pictures = {name for one in reproductions for name in one["pictures"]}
    return render(
        "folder.html",
        title=f"Report: {name}",
        facts={
            "folder": name,
            "method": ", ".join(sorted(methods)),
            "version of hf-bat": __version__,
        },
        evaluation=_tabulate_evaluation(contents),
        reproductions=reproductions,
        runs=[_describe_run(name, run) for name, run in runs.items()],
        training=dict(_chart_training(contents)),
        rate_chart=_chart_attack_rates(contents.select("attacks")),
        attack_reports=[
            {
                "name": _strip_ending(name),
                "facts": {key: report.get(key) for key in ("model", "task")},
                "disclosures": _disclose_attacks(report),
                "attacks": report["attacks"],
                "rows_by_attack": group_by_attack(report["attacks"], contents.rows.get(name, ())),
            }
            for name, report in contents.select("attacks").items()
        ],
        contrasts=contents.select("contrasts"),
        comparisons=contents.select("comparisons"),
        certificates=contents.select("certificates"),
        sweeps=[_describe_sweep(*item) for item in contents.select("sweeps").items()],
        perturbations=perturbations,
        pictures=contents.pictures,
        other_pictures=[name for name in contents.pictures if name not in shown_pictures],
        shown=sorted(map(make_printable, contents.shown)),
        skipped=[(make_printable(names), why) for names, why in group_reasons(contents.skipped)],
    )


def _tabulate_evaluation(contents: Contents) -> dict[str, Any]:
    """Return accuracy, attack success rates and training costs, with a column for each run."""
    runs: dict[str, Json] = {}
    notes: dict[str, str] = {}
    for name, content in contents.select("metrics").items():
        run = "this run" if name in _RUN_FILES else _strip_ending(name).removesuffix("/result")
        runs[run] = runs.get(run, {}) | select_metrics(content)
        notes[run] = _name_run(content) if is_run(content) else ""
    titles = {key: title for metrics in runs.values() for key, title in labels(metrics).items()}
    return {
        "runs": notes,
        "disclosures": disclosures(runs.items()),
        "rates": [(t, [metrics.get(k) for metrics in runs.values()]) for k, t in titles.items()],
        "costs": [
            (title, [metrics.get(key) for metrics in runs.values()])
            for key, title in _COSTS.items()
            if any(metrics.get(key) is not None for metrics in runs.values())
        ],
    }


def _describe_reproduction(name: str, content: Json, pictures: Iterable[str]) -> dict[str, Any]:
    """Return an experiment of the paper: our figures next to the paper's, and what differs.

    Args:
        name: File name of the `results.json`; pictures in the same folder belong to it.
        content: What `examples/reproduce/run.py` wrote.
        pictures: Names of all pictures.
    """
    settings = content["settings"]
    metrics = dict.fromkeys(metric for setting in settings for metric in setting["ours"])
    printed = {metric for setting in settings for metric in setting.get("paper_percent") or ()}
    heads: list[str] = []
    for metric in metrics:
        title = labels({metric: 0.0}).get(metric, metric)
        heads += [f"{title}, ours"] + [f"{title}, paper"] * (metric in printed)
    rows = []
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
        rows.append({"names": names, "seeds": len(setting.get("runs") or ()), "figures": figures})
    runs = [run for s in settings for run in s.get("runs") or () if isinstance(run, Mapping)]
    folder = PurePosixPath(name).parent
    return {
        "name": name,
        "title": str(content.get("title", "")),
        "claims": content.get("paper_claims"),
        "heads": heads,
        "settings": rows,
        "differences": {"Ours": f"scale {content.get('scale')}", **_list_differences(runs)},
        "disclosures": _disclose_runs(runs),
        "pictures": [picture for picture in pictures if PurePosixPath(picture).parent == folder],
    }


def _average_percent(shares: Any) -> dict[str, Any] | None:
    """Return mean and standard deviation in percent of a figure over seeds."""
    numbers = [100 * v for v in shares if _is_number(v)] if isinstance(shares, list) else []
    if not numbers:
        return None
    return {"mean": fmean(numbers), "deviation": stdev(numbers) if len(numbers) > 1 else None}


def _read_percent(printed: Any) -> dict[str, Any] | None:
    """Return a figure of the paper: in percent, with or without its standard deviation."""
    numbers = printed if isinstance(printed, list) else [printed]
    if not numbers or not all(map(_is_number, numbers)):
        return None
    return {"mean": numbers[0], "deviation": numbers[1] if len(numbers) > 1 else None}


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


def _describe_run(name: str, content: Json) -> dict[str, Any]:
    # Results of earlier versions may hold a token.
    parts = {
        title: {
            key: ", ".join(map(str, value)) if isinstance(value, list) else value
            for key, value in without_secrets(content[part]).items()
            if not isinstance(value, Mapping)
        }
        for part, title in _RUN_PARTS.items()
        if isinstance(content.get(part), Mapping)
    }
    return {
        "name": name,
        "title": _name_run(content),
        "key": content.get("key"),
        "disclosures": _disclose_runs([content]),
        "chart": _chart_epochs(content.get("epochs")),
        # `None` is a fact too: all rows, for example.
        "parts": {
            title: {key: "none" if value is None else value for key, value in facts.items()}
            for title, facts in parts.items()
            if facts
        },
    }


def _name_run(content: Json) -> str:
    """Return the arguments that tell runs apart best; a run's key is a hash."""
    arguments = content["arguments"]
    seed = f", seed {arguments['seed']}" if "seed" in arguments else ""
    return f"{arguments.get('method', 'normal')}{seed}"


def _chart_epochs(logs: Any) -> str:
    """Return a chart of several evaluations; the table has all figures of a single one."""
    entries = [log for log in logs if isinstance(log, dict)] if isinstance(logs, list) else []
    first: dict[Any, Json] = {}
    for entry in entries:
        if isinstance(entry.get("epoch"), (int, float)):
            # Earlier runs on MNLI logged the mismatched set as another evaluation of the last epoch.
            first.setdefault(entry["epoch"], entry)
    title = "Evaluation by epoch (shares)"
    return _chart_evaluations(list(first.values()), "epoch", title) if len(first) > 1 else ""


def _chart_training(contents: Contents) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name of each log history with its charts: title -> chart."""
    for name, content in contents.select("histories").items():
        history = [entry for entry in content["log_history"] if isinstance(entry, dict)]
        keys = _list_keys(history)
        charts: dict[str, str] = {}
        for title, (prefix, others) in _TRAINING_CHARTS.items():
            chosen = [key for key in keys if key in others or key.startswith(prefix)]
            charts[title] = draw_lines({k: _list_points(history, k) for k in chosen}, title)
        title = "Evaluation while training (shares)"
        charts[title] = _chart_evaluations(history, "step", title)
        if any(charts.values()):
            yield _strip_ending(name), {title: chart for title, chart in charts.items() if chart}


def _chart_evaluations(history: Sequence[Json], x_name: str, title: str) -> str:
    """Return a chart of evaluation figures, or an empty string if no figure has two points."""
    keys = [key for key in _list_keys(history) if not key.endswith("_keep_rate")]
    series = {
        label: _list_points(history, key, x_name)
        for key, label in labels(dict.fromkeys(keys, 0.0)).items()
    }
    return draw_lines(series, title, x_name) if any(len(p) > 1 for p in series.values()) else ""


def _list_keys(history: Sequence[Json]) -> list[str]:
    return list(dict.fromkeys(key for entry in history for key in entry))


def _list_points(history: Sequence[Json], key: str, x_name: str = "step") -> list[Point]:
    return [
        (float(entry[x_name]), float(entry[key]))
        for entry in history
        if _is_number(entry.get(key)) and _is_number(entry.get(x_name))
    ]


def _chart_attack_rates(reports: Mapping[str, Json]) -> str:
    bars: list[tuple[str, float, Any]] = []
    for name, report in reports.items():
        prefix = "" if len(reports) == 1 else f"{_strip_ending(name)}: "
        for attack, entry in report["attacks"].items():
            for key, ending in (("asr", ""), ("asr_confident", ", confident")):
                if isinstance(entry.get(key), (int, float)):
                    interval = entry.get(f"{key}_interval")
                    bars.append((f"{prefix}{attack}{ending}", entry[key], interval))
    return draw_rates(bars, "Attack success rates with 95 % intervals")


def _describe_sweep(name: str, content: Json) -> dict[str, Any]:
    groups = [group for group in content["groups"] if isinstance(group.get("metrics"), Mapping)]
    titles = labels({key: 0.0 for group in groups for key in group["metrics"]})
    return {
        "name": name,
        "interval": content.get("interval"),
        "disclosures": disclosures((str(group.get("name")), group) for group in groups),
        "heads": list(titles.values()),
        "groups": [
            {
                "name": group.get("name"),
                "seeds": len(group.get("runs", ())),
                "metrics": [group["metrics"].get(key, {}) for key in titles],
            }
            for group in groups
        ],
    }


def disclose(content: Mapping[str, Any]) -> list[str]:
    """Return the disclosure of a preprocessing defence or of smoothing, if there is one."""
    line = disclosure(content)
    return [line] if line else []


def disclose_sides(content: Mapping[str, Any]) -> list[str]:
    """Return the disclosures of the two models of a comparison."""
    keys = {"preprocessing_defences": "preprocessing_defence", "smoothed": "smoothed"}
    return [
        f"{side.upper()}: {line}"
        for side in ("a", "b")
        for line in disclose({one: content.get(key, {}).get(side) for key, one in keys.items()})
    ]


def _disclose_attacks(report: Json) -> list[str]:
    """Return the disclosures of an attack report, or of each attack of a rows file."""
    if not report["attacks"]:
        return disclose(report)
    shared = {name: report[name] for name in DISCLOSED if name in report}
    return disclosures((name, shared | entry) for name, entry in report["attacks"].items())


def _disclose_runs(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the disclosures of the preprocessing defences of runs, each once."""
    lines = {disclosure({"preprocessing_defence": defence_of(run)}) for run in runs}
    return sorted(line for line in lines if line)


def tabulate_attacks(attacks: Mapping[str, Json]) -> list[dict[str, Any]]:
    """Return the figures of attacks, one line per figure and one cell (value, interval) per attack."""
    entries = [{**entry, **flat_figures(entry)} for entry in attacks.values()]
    return [
        {
            "title": title,
            "note": note,
            "is_rate": key in _RATES,
            "cells": [(entry.get(key), entry.get(f"{key}_interval")) for entry in entries],
        }
        for key, (title, note) in _FIGURES.items()
        if key in _ALWAYS or any(entry.get(key) is not None for entry in entries)
    ]


def shorten_recipe(recipe: Mapping[str, Any]) -> Json:
    """Return the parts of a recipe that fit on one line, with its hash shortened."""
    plain = select_plain(recipe)
    if "hash" in plain:
        plain["hash"] = str(plain["hash"])[:12]
    return {"recipe": plain.pop("name", None), **plain}


def select_successes(rows: Iterable[Any]) -> list[Any]:
    """Return the rows whose attack succeeded."""
    return [row for row in rows if row.get("outcome") == "succeeded" and row.get("perturbed")]


def describe_row(row: Any) -> Json:
    """Return the facts above a marked example."""
    return {
        "row": row.get("idx"),
        "label": row.get("label_name", row.get("label")),
        "confident": row.get("outcome_confident"),
        "queries": row.get("queries"),
    }


def pair_texts(row: Any) -> list[tuple[str, str]]:
    """Return the texts of a row before and after the attack. Rows of users may hold text or a dict."""

    def list_texts(value: Any) -> list[str]:
        if isinstance(value, Mapping):
            return [str(text) for text in value.values()]
        return [value] if isinstance(value, str) else [str(text) for text in value]

    before, after = row.get("original") or (), row.get("perturbed") or ()
    return list(zip(list_texts(before), list_texts(after), strict=False))


def _strip_ending(name: str) -> str:
    return name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


ENVIRONMENT.filters |= {
    function.__name__: function
    for function in (
        describe_row,
        disclose,
        disclose_sides,
        pair_texts,
        select_successes,
        shorten_recipe,
        tabulate_attacks,
    )
}
ENVIRONMENT.globals |= {"MAX_EXAMPLES": MAX_EXAMPLES, "MAX_PAIRS": MAX_PAIRS}
