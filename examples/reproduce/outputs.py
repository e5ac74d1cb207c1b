"""Outputs of an experiment: JSON for each run, a table next to the paper's numbers, and the figure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from math import isfinite
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from experiments import BATCH, NAMES, SYNONYM, Experiment, Number, Picture, Setting

from hf_bat.attack.report import disclosure
from hf_bat.files import get_model_title, make_folder, write_atomically
from hf_bat.methods import DEFAULT_METHOD
from hf_bat.plots import (
    distance_histograms,
    epoch_bars,
    save,
    trade_off_by_epoch,
    tsne,
    value_panels,
)
from hf_bat.sweep.schedule import folder_of
from hf_bat.sweep.summary import find_defense

Result = Mapping[str, Any]
Groups = Sequence[tuple[Setting, Sequence[Result]]]
_LABELS = {
    BATCH: "batch",
    "bert": "BERT",
    "roberta": "RoBERTa",
    "mnli": "MNLI",
    "qqp": "QQP",
    "mrpc": "MRPC",
    "snli": "SNLI",
    "contrastive_weight": "lambda",
}


def write_outputs(
    experiment: Experiment, groups: Groups, root: Path, folder: Path, scale: str
) -> list[Path]:
    """Write `results.json`, `table.md`, `table.tex` and the pictures. Return their paths."""
    content = {
        "title": experiment.title,
        "scale": scale,
        "paper_claims": experiment.claim,
        "settings": [
            {
                "task": setting.task,
                "paper_model": setting.model,
                "method": setting.method,
                "options": dict(setting.options),
                "ours": {m: _collect(results, m + experiment.suffix) for m in experiment.metrics},
                "paper_percent": dict(setting.paper),
                "runs": list(results),
            }
            for setting, results in groups
        ],
    }
    make_folder(folder)
    files = [
        write_atomically(folder / "results.json", json.dumps(content, indent=1) + "\n"),
        write_atomically(folder / "table.md", format_markdown(experiment, groups, scale)),
        write_atomically(folder / "table.tex", format_latex(experiment, groups, scale)),
    ]
    for picture in experiment.pictures:
        for ending, figure in draw(picture, groups, root).items():
            files += save(figure, folder / f"figure{ending}")
    return files


# ---- tables --------------------------------------------------------------------------------------


def _collect(results: Sequence[Result], metric: str) -> list[float]:
    """Return the values of a metric, one per seed, as fractions."""
    values = [result["metrics"].get(metric) for result in results]
    # A rate over zero rows is missing, or NaN in early results.
    return [value for value in values if value is not None and isfinite(value)]


def _format_mean(values: Sequence[float], sign: str) -> str:
    if not values:
        return "-"
    mean = f"{100 * fmean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} {sign} {100 * stdev(values):.2f}"


def _format_printed(number: Number | None, sign: str) -> str:
    if number is None:
        return "-"
    return (
        f"{number[0]:.2f} {sign} {number[1]:.2f}" if isinstance(number, tuple) else f"{number:.2f}"
    )


def _build_rows(
    experiment: Experiment, groups: Groups, sign: str
) -> tuple[list[tuple[str, str]], list[list[str]]]:
    """Build headings (metric, whose) and rows, with our column and the paper's column per metric."""
    heads = [(name, "") for name in ("task", "model", "method", "seeds")]
    shared = {m for m in experiment.metrics if any(m in setting.paper for setting, _ in groups)}
    # The paper's synonym attack has a constraint that ours cannot have, so rates are not comparable.
    shared.discard(SYNONYM)
    printed = {_LABELS[setting.model] for setting, _ in groups}
    paper = f"paper's {printed.pop()}" if len(printed) == 1 else "paper"
    for metric in experiment.metrics:
        heads += [(NAMES[metric], whose) for whose in ("ours", paper)[: 1 + (metric in shared)]]
    rows = []
    for setting, results in groups:
        options = ", ".join(f"{_LABELS.get(n, n)} {v:g}" for n, v in setting.options.items())
        model = _name_model(results[0]) if results else _LABELS[setting.model]
        row = [_LABELS[setting.task], model, setting.method]
        row[2] += f" ({options})" if options else ""
        row.append(str(len(results)))
        for metric in experiment.metrics:
            row.append(_format_mean(_collect(results, metric + experiment.suffix), sign))
            if metric in shared:
                row.append(_format_printed(setting.paper.get(metric), sign))
        rows.append(row)
    return heads, rows


def _name_model(result: Result) -> str:
    """Return the name of the trained model."""
    name = str(result["arguments"]["model_name_or_path"])
    known = {"bert-base-uncased": "BERT", "roberta-base": "RoBERTa"}
    return known.get(name) or get_model_title(name)


def _describe_attacked(results: Sequence[Result]) -> str:
    """Describe the attacked rows: `all`, `the first 500` or `the first 500 or all`."""
    limits = {r["arguments"].get("max_attack_samples", 500) for r in results}
    counts = [f"{limit:,}" for limit in sorted(limits - {None})]
    first = [f"the first {' or '.join(counts)}"] if counts else []
    return " or ".join([*first, *["all"] * (None in limits)])


def _describe_differences(groups: Groups, scale: str) -> list[str]:
    """Describe the differences to know before comparing the runs with the paper's."""
    results = [result for _, of_setting in groups for result in of_setting]
    models = sorted({_name_model(result) for result in results})
    rows = sorted({f"{r['rows']['train']:,}" for r in results})
    steps = sorted({r["steps"] for r in results})
    return [
        f"Ours: scale {scale}, model {', '.join(models)}, {' or '.join(rows)} training rows, "
        f"{' to '.join(f'{s:,}' for s in dict.fromkeys((steps[0], steps[-1])))} steps, attacks on "
        f"{_describe_attacked(results)} rows. Percent, mean ± standard deviation over seeds. ASR is the "
        "attack success rate; lower is better. Antonym and negation ASR follow the `confident` "
        "definition, as in the paper, unless named strict. The paper's synonym rates are left out: its "
        "attack keeps to a sentence similarity by the Universal Sentence Encoder, ours does not.",
        *sorted(
            filter(None, {disclosure({"preprocessing_defence": find_defense(r)}) for r in results})
        ),
    ]


def format_markdown(experiment: Experiment, groups: Groups, scale: str) -> str:
    """Format the table in Markdown, with the paper's claim and the differences between the runs."""
    heads, rows = _build_rows(experiment, groups, "±")
    lines = [f"# {experiment.title}", "", f"The paper: {experiment.claim}", ""]
    names = [", ".join(filter(None, head)) for head in heads]
    lines += ["| " + " | ".join(names) + " |", "|---" * len(heads) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *_describe_differences(groups, scale)]) + "\n"


def format_latex(experiment: Experiment, groups: Groups, scale: str) -> str:
    """Format the table in LaTeX, scaled to the page width, with metrics above ours and the paper's."""
    heads, rows = _build_rows(experiment, groups, r"$\pm$")
    metrics = [(name, len(list(columns))) for name, columns in groupby(heads, key=lambda h: h[0])]
    over, rules, column = [], [], 1
    for name, width in metrics:
        whose = heads[column - 1][1]
        over.append(rf"\multicolumn{{{width}}}{{c}}{{{_escape(name)}}}" if whose else "")
        rules += [rf"\cmidrule(lr){{{column}-{column + width - 1}}}"] if whose else []
        column += width
    lines = [
        r"% needs \usepackage{adjustbox,booktabs}",
        r"\begin{table*}[t]",
        r"\centering\small",
        r"\begin{adjustbox}{max width=\textwidth}",
        rf"\begin{{tabular}}{{llll{'r' * (len(heads) - 4)}}}",
        r"\toprule",
        " & ".join(over) + r" \\",
        "".join(rules),
        " & ".join(_escape(whose or name) for name, whose in heads) + r" \\",
        r"\midrule",
        *(" & ".join(map(_escape, row)) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{adjustbox}",
        rf"\caption{{The paper's {_escape(experiment.title)}, next to ours. "
        + _escape(
            " ".join(_describe_differences(groups, scale)).replace("±", r"$\pm$").replace("`", "")
        )
        + "}",
        rf"\label{{tab:{experiment.title.split(':')[0].replace(' ', '').lower()}}}",
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    for character in "%_&#":
        text = text.replace(character, f"\\{character}")
    return text


# ---- pictures ------------------------------------------------------------------------------------


def draw(picture: Picture, groups: Groups, root: Path) -> dict[str, Any]:
    """Draw the figures of a picture, by suffix of their file names."""
    if picture.kind == "tsne":
        return _draw_representations(groups, root)
    panels: dict[str, dict[str, dict[str, Any]]] = {}
    for metric in picture.metrics:
        for panel, line, entry in _collect_lines(picture, metric, groups):
            panels.setdefault(panel, {})[line] = entry
    if not panels:
        return {}
    if picture.kind == "values":
        percent = {f"{name} (%)": lines for name, lines in panels.items()}
        return {picture.ending: value_panels(percent, picture.label)}
    named = NAMES[picture.metrics[0]] if len(picture.metrics) == 1 else "success rate"
    label = f"{named} (%)"
    function = epoch_bars if picture.kind == "bars" else trade_off_by_epoch
    return {picture.ending: function(panels, label)}


def list_missing(experiment: Experiment, groups: Groups) -> list[str]:
    """List the values that the pictures of an experiment cannot show, with the reasons."""
    missing: list[str] = []
    for picture in experiment.pictures:
        if picture.kind == "tsne":
            for setting, results in groups:
                kept = results[0].get("representations") or {} if results else {"file": ""}
                if "file" not in kept:
                    reason = kept.get("error", "its run kept no representations")
                    missing.append(f"{setting.method}: {reason}")
        # A metric over zero rows is not an error. The picture has no line for it, and the table has
        # "-".
        elif not any(_has_values(picture, metric, groups) for metric in picture.metrics):
            shown = " and ".join(NAMES[metric] for metric in picture.metrics)
            missing.append(f"{shown} by {picture.label or 'epoch'}: no run has a figure")
    return missing


def _has_values(picture: Picture, metric: str, groups: Groups) -> bool:
    entries = [entry for _, _, entry in _collect_lines(picture, metric, groups)]
    return any(value is not None for e in entries for seed in e["values"] for value in seed)


def _collect_lines(
    picture: Picture, metric: str, groups: Groups
) -> list[tuple[str, str, dict[str, Any]]]:
    """Return `(panel, line, data)` of one metric."""
    if picture.kind == "values":
        lines: dict[str, list[tuple[Setting, Sequence[Result]]]] = {}
        for setting, results in groups:
            # With two varied arguments (Figure 10), the other one is constant along each line.
            if picture.x in setting.options and list(setting.options)[-1] == picture.x and results:
                lines.setdefault(setting.method, []).append((setting, results))
        return [
            (NAMES[metric], method, entry)
            for method, members in lines.items()
            if (entry := _collect_values(picture, metric, members))
        ]
    entries = []
    for setting, results in groups:
        # Shown as baseline of the others.
        if setting.method == DEFAULT_METHOD:
            continue
        epochs = [r["epochs"] for r in results if r["epochs"]]
        if not epochs:
            continue
        length = min(map(len, epochs))
        entry = {
            "x": [log["epoch"] for log in epochs[0][:length]],
            "values": [[log.get(metric) for log in logs[:length]] for logs in epochs],
        }
        if picture.baseline:
            entry["baseline"] = _find_baseline(setting, metric, groups)
        entries.append(
            (
                _name(picture.panel, setting, metric, results),
                _name(picture.line, setting, metric, results),
                entry,
            )
        )
    return entries


def _collect_values(picture: Picture, metric: str, members: Groups) -> dict[str, Any] | None:
    """Collect a metric at each value of an argument, with one list per seed."""
    seeds = min(len(results) for _, results in members)
    values = [[rs[i]["metrics"].get(metric) for _, rs in members] for i in range(seeds)]
    if all(value is None for seed in values for value in seed):
        return None
    return {"x": [setting.options[picture.x] for setting, _ in members], "values": values}


def _find_baseline(setting: Setting, metric: str, groups: Groups) -> float | None:
    alike = [
        results
        for other, results in groups
        if (other.task, other.model, other.method) == (setting.task, setting.model, DEFAULT_METHOD)
    ]
    values = _collect(alike[0], metric) if alike else []
    return fmean(values) if values else None


def _name(aspect: str, setting: Setting, metric: str, results: Sequence[Result]) -> str:
    """Return the name of the panel or line (see `Picture`)."""
    if aspect == "metric":
        return NAMES[metric]
    if aspect == "model":  # the trained model, which may replace the paper's
        return _name_model(results[0])
    if aspect not in setting.options:
        value = getattr(setting, aspect)
        return _LABELS.get(value, value)
    return f"{_LABELS.get(aspect, '')} {setting.options[aspect]}".strip()


def _draw_representations(groups: Groups, root: Path) -> dict[str, Any]:
    import numpy as np

    vectors, numbers, distances = {}, {}, {}
    for setting, results in groups:
        kept = results[0].get("representations", {}) if results else {}
        if "file" not in kept:
            continue
        path = folder_of(root, results[0]["key"]) / kept["file"]
        with np.load(path, allow_pickle=False) as file:
            vectors[setting.method] = {kind: file[kind] for kind in file.files}
        numbers[setting.method] = kept
        distances[setting.method] = kept["distances"]
    if not vectors:
        return {}
    return {"": tsne(vectors, numbers), "-distances": distance_histograms(distances)}
