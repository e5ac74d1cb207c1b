"""Results of runs, seeds taken together, as JSON, Markdown, LaTeX and the frontier."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from hf_bat.attack.report import disclosures
from hf_bat.files import write_atomically
from hf_bat.stats import clip_to_share, t_interval
from hf_bat.summary import labels
from hf_bat.sweep.plan import SEEDS, Run

# The rates that the frontier shows where none is chosen.
OBSTINATE, FICKLE = "eval_antonym_asr_confident", "eval_synonym_asr"


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    Attributes:
        name: `name=value` of what tells this group from the others.
        arguments: of the first run.
        runs: the keys of the runs.
        values: metric -> a figure a seed, those that a run lacks left out.
        defence: the preprocessing defence of the runs; None without one.

    Example:
        >>> group = Group("method=normal", {"method": "normal"}, ("01", "02"), {"eval_loss": [0.5, 0.75]})
        >>> group.to_dict()["metrics"]["eval_loss"]["mean"]
        0.625
    """

    name: str
    arguments: Mapping[str, Any]
    runs: tuple[str, ...]
    values: Mapping[str, list[float]]
    defence: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON, with mean, standard deviation and 95 % t-interval of each metric."""
        metrics = {
            name: {
                "values": values,
                "mean": fmean(values),
                "deviation": stdev(values) if len(values) > 1 else None,
                "t_interval_95": t_interval(values),
            }
            for name, values in self.values.items()
        }
        defence = {"preprocessing_defence": self.defence} if self.defence else {}
        return {"name": self.name, "runs": list(self.runs), "metrics": metrics, **defence}


def defence_of(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The preprocessing defence of a run; None without one.

    Args:
        result: the run's. One of a version that did not record the defence has it in its arguments alone.
    """
    arguments = result.get("arguments")
    asked = isinstance(arguments, Mapping) and arguments.get("canonicalize")
    return result.get("preprocessing_defence") or ({"name": "canonicalize"} if asked else None)


def group_runs(
    runs: Sequence[Run], results: Mapping[str, Mapping[str, Any]], varied: Sequence[str]
) -> list[Group]:
    """Put runs that differ in their seed alone together.

    Args:
        runs: in their order.
        results: key -> result; runs without one are left out.
        varied: the arguments that name a group.

    Returns:
        The groups, in the order of their first runs.

    Example:
        >>> runs = [Run(f"0{seed}", {"method": "normal", "seed": seed}) for seed in (1, 2)]
        >>> results = {"01": {"metrics": {"eval_loss": 0.5}}, "02": {"metrics": {"eval_loss": 0.75}}}
        >>> [(group.name, group.values) for group in group_runs(runs, results, ["method", "seed"])]
        [('method=normal', {'eval_loss': [0.5, 0.75]})]
    """
    members: dict[str, list[Run]] = {}
    for run in runs:
        if run.key in results:
            rest = {name: v for name, v in run.arguments.items() if name not in SEEDS}
            members.setdefault(repr(rest), []).append(run)
    names = [name for name in varied if name not in SEEDS]
    groups = []
    for alike in members.values():
        found = [results[run.key]["metrics"] for run in alike]
        keys = dict.fromkeys(key for metrics in found for key in metrics)
        values = {
            key: [float(metrics[key]) for metrics in found if _is_known(metrics.get(key))]
            for key in keys
        }
        groups.append(
            Group(
                alike[0].label(names),
                alike[0].arguments,
                tuple(run.key for run in alike),
                {key: figures for key, figures in values.items() if figures},
                defence_of(results[alike[0].key]),
            )
        )
    return groups


def _is_known(value: Any) -> bool:
    """Whether there is a figure: none of a rate over nothing, nor the NaN that older results have for it."""
    return value is not None and math.isfinite(value)


def markdown(groups: Sequence[Group]) -> str:
    """A table of the groups: means in per cent, and 95 % t-intervals over seeds where there are several.

    Above it stands what is to be disclosed of preprocessing defences.

    Args:
        groups: the table's lines.

    Returns:
        Markdown, with a column for each rate that some group has.

    Example:
        >>> group = Group("method=normal", {}, ("01",), {"eval_accuracy": [0.75]})
        >>> print(markdown([group]), end="")
        | run | seeds | accuracy |
        |---|---|---|
        | method=normal | 1 | 75.00 |
    """
    shown = _headings(groups)
    said = disclosures((group.name, {"preprocessing_defence": group.defence}) for group in groups)
    lines = [
        *(text for line in said for text in (line, "")),
        "| run | seeds | " + " | ".join(shown.values()) + " |",
        "|---" * (2 + len(shown)) + "|",
    ]
    for group in groups:
        cells = [_cell(group.values.get(name, [])) for name in shown]
        lines.append(f"| {group.name} | {len(group.runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _headings(groups: Sequence[Group]) -> dict[str, str]:
    """Metric -> its heading, of all that some group has, in the order of the columns."""
    return labels({name: values[0] for group in groups for name, values in group.values.items()})


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    interval = t_interval(values)
    mean = f"{100 * fmean(values):.2f}"
    if interval is None:
        return mean
    low, high = clip_to_share(interval)  # all that is shown are shares
    return f"{mean} ({100 * low:.2f} to {100 * high:.2f})"


def write_summary(
    root: Path,
    runs: Sequence[Run],
    results: Mapping[str, Mapping[str, Any]],
    varied: Sequence[str],
    obstinate: str = OBSTINATE,
    fickle: str = FICKLE,
) -> list[Path]:
    """Write `sweep.json`, `sweep.md` and, where both rates are there, `frontier.png` and `.svg`.

    Args:
        root: the sweep's folder.
        runs: of the sweep.
        results: key -> result.
        varied: the grid's arguments.
        obstinate: the metric of the frontier's vertical axis.
        fickle: of the horizontal one.

    Returns:
        The files.

    Raises:
        HfBatError: a file cannot be written.

    Example:
        >>> import tempfile
        >>> run = Run("01", {"method": "normal"})
        >>> results = {"01": {"metrics": {"eval_accuracy": 0.75}}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in write_summary(Path(folder), [run], results, ["method"])]
        ['sweep.json', 'sweep.md']
    """
    groups = group_runs(runs, results, varied)
    content = {
        "varied": list(varied),
        "interval": "95 % t-interval of the mean over seeds; null for one seed",
        "groups": [group.to_dict() for group in groups],
        "runs": [results[run.key] for run in runs if run.key in results],
    }
    note = (
        "\nPer cent; in brackets the 95 % t-interval of the mean over seeds (none for one seed), cut off "
        "at 0 and 100. Lower attack success rates (ASR) are better, and lower keep rates of obstinate "
        "attacks, but for those called invalid, of edits that likely keep the label.\n"
    )
    written = [
        write_atomically(
            root / "sweep.json", json.dumps(content, indent=1) + "\n", make_folder=True
        ),
        write_atomically(root / "sweep.md", markdown(groups) + note),
    ]
    points = [
        {
            "name": group.name.removeprefix(f"method={method}").strip() or method,
            "group": f"{method}, {group.defence['name']}" if group.defence else method,
            "fickle": group.values[fickle],
            "obstinate": group.values[obstinate],
        }
        for group in groups
        if fickle in group.values and obstinate in group.values
        for method in [str(group.arguments.get("method", "normal"))]
    ]
    if points:
        from hf_bat.plots import frontier, save

        headings = _headings(groups)
        label = f"obstinate: {headings.get(obstinate, obstinate)} (%)"
        x_label = f"fickle: {headings.get(fickle, fickle)} (%)"
        written += save(frontier(points, x_label=x_label, y_label=label), root / "frontier")
    return written
