"""Summaries of sweeps, with runs grouped over seeds: JSON, a Markdown table and the frontier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from hf_bat.attack.report import disclosures
from hf_bat.evaluation.summary import name_figures
from hf_bat.files import dump_json, make_folder, write_atomically
from hf_bat.stats import clip_to_share, t_interval
from hf_bat.sweep.grid import Run
from hf_bat.text import escape_markdown

_SEEDS = ("seed", "data_seed")
# Default axes of the frontier.
OBSTINATE, FICKLE = "eval_antonym_asr_confident", "eval_synonym_asr"
_NOTE = """
Percent; in brackets the 95 % t-interval of the mean over seeds (none for one seed), clipped to 0 and
100. Lower attack success rates (ASR) are better. So are lower keep rates of obstinate attacks, except for
"invalid" edits, which likely keep the label.
"""


@dataclass(frozen=True)
class Group:
    """Runs that only differ in their seed.

    Attributes:
        name: `name=value` of the arguments that distinguish this group from the others.
        arguments: Arguments of the first run.
        runs: Keys of the runs.
        values: Dict of metric -> one value per run. Runs without the metric are left out.
        defense: Preprocessing defense of the runs, or `None`.

    Example:
        >>> group = Group("method=normal", {"method": "normal"}, ("01", "02"), {"eval_loss": [0.5, 0.75]})
        >>> group.to_dict()["metrics"]["eval_loss"]["mean"]
        0.625
    """

    name: str
    arguments: Mapping[str, Any]
    runs: tuple[str, ...]
    values: Mapping[str, list[float]]
    defense: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the group as JSON values: mean, standard deviation and 95 % t-interval of each metric."""
        metrics = {
            name: {
                "values": values,
                "mean": fmean(values),
                "deviation": stdev(values) if len(values) > 1 else None,
                "t_interval_95": t_interval(values),
            }
            for name, values in self.values.items()
        }
        disclosed = {"preprocessing_defence": self.defense} if self.defense else {}
        return {"name": self.name, "runs": list(self.runs), "metrics": metrics, **disclosed}


def find_defense(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the run's preprocessing defense, or `None`."""
    # Early results only have it in their arguments.
    arguments = result.get("arguments")
    is_asked = isinstance(arguments, Mapping) and arguments.get("canonicalize")
    return result.get("preprocessing_defence") or ({"name": "canonicalize"} if is_asked else None)


def group_runs(
    runs: Sequence[Run], results: Mapping[str, Mapping[str, Any]], varied: Sequence[str]
) -> list[Group]:
    """Group the runs that only differ in their seed.

    Args:
        runs: The runs.
        results: Dict of key -> result. Runs without a result are left out.
        varied: Names of the arguments used to name groups.

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
            rest = {name: v for name, v in run.arguments.items() if name not in _SEEDS}
            members.setdefault(repr(rest), []).append(run)
    names = [name for name in varied if name not in _SEEDS]
    groups = []
    for repeats in members.values():
        values: dict[str, list[float]] = {}
        for run in repeats:
            for name, value in results[run.key]["metrics"].items():
                # Early results have NaN for rates over zero rows.
                if value is not None and math.isfinite(value):
                    values.setdefault(name, []).append(float(value))
        first = repeats[0]
        keys = tuple(run.key for run in repeats)
        defense = find_defense(results[first.key])
        groups.append(Group(first.label(names), first.arguments, keys, values, defense))
    return groups


def markdown(groups: Sequence[Group]) -> str:
    """Format groups as a Markdown table: means in percent and 95 % t-intervals over seeds.

    Args:
        groups: The rows of the table.

    Returns:
        The disclosures of preprocessing defenses, followed by the table with a column for each
        rate.

    Example:
        >>> group = Group("method=normal", {}, ("01",), {"eval_accuracy": [0.75]})
        >>> print(markdown([group]), end="")
        | run | seeds | accuracy |
        |---|---|---|
        | method=normal | 1 | 75.00 |
    """
    titles = _name_columns(groups)
    lines: list[str] = []
    for line in disclosures((g.name, {"preprocessing_defence": g.defense}) for g in groups):
        lines += [escape_markdown(line), ""]
    lines.append("| run | seeds | " + " | ".join(titles.values()) + " |")
    lines.append("|---" * (2 + len(titles)) + "|")
    for group in groups:
        cells = [_format_cell(group.values.get(name, [])) for name in titles]
        lines.append(
            f"| {escape_markdown(group.name)} | {len(group.runs)} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines) + "\n"


def _name_columns(groups: Sequence[Group]) -> dict[str, str]:
    """Return metric -> title of all rates in the groups, in the order of the columns."""
    return name_figures(
        {name: values[0] for group in groups for name, values in group.values.items()}
    )


def _format_cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    mean = f"{100 * fmean(values):.2f}"
    interval = t_interval(values)
    if interval is None:
        return mean
    low, high = clip_to_share(interval)
    return f"{mean} ({100 * low:.2f} to {100 * high:.2f})"


def write_summary(
    root: Path,
    runs: Sequence[Run],
    results: Mapping[str, Mapping[str, Any]],
    varied: Sequence[str],
    obstinate: str = OBSTINATE,
    fickle: str = FICKLE,
) -> list[Path]:
    """Write `sweep.json`, `sweep.md` and, if runs have both rates, `frontier.png` and `frontier.svg`.

    Args:
        root: Folder of the sweep.
        runs: Runs of the sweep.
        results: Dict of key -> result.
        varied: Names of the arguments in the grid.
        obstinate: Metric on the vertical axis of the frontier.
        fickle: Metric on the horizontal axis.

    Returns:
        The paths of the files.

    Raises:
        HfBatError: If a file cannot be written.

    Example:
        >>> import tempfile
        >>> run = Run("01", {"method": "normal"})
        >>> results = {"01": {"metrics": {"eval_accuracy": 0.75}}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in write_summary(Path(folder), [run], results, ["method"])]
        ['sweep.json', 'sweep.md']
    """
    # Imports torch.
    from hf_bat.methods import DEFAULT_METHOD

    groups = group_runs(runs, results, varied)
    content = {
        "varied": list(varied),
        "interval": "95 % t-interval of the mean over seeds; null for one seed",
        "groups": [group.to_dict() for group in groups],
        "runs": [results[run.key] for run in runs if run.key in results],
    }
    make_folder(root)
    written = [
        write_atomically(root / "sweep.json", dump_json(content, indent=1) + "\n"),
        write_atomically(root / "sweep.md", markdown(groups) + _NOTE),
    ]
    points = []
    for group in groups:
        if fickle in group.values and obstinate in group.values:
            method = str(group.arguments.get("method", DEFAULT_METHOD))
            points.append(
                {
                    "name": group.name.removeprefix(f"method={method}").strip() or method,
                    "group": f"{method}, {group.defense['name']}" if group.defense else method,
                    "fickle": group.values[fickle],
                    "obstinate": group.values[obstinate],
                }
            )
    if points:
        # Imports matplotlib.
        from hf_bat.plots import frontier, save

        titles = _name_columns(groups)
        y_label = f"obstinate: {titles.get(obstinate, obstinate)} (%)"
        x_label = f"fickle: {titles.get(fickle, fickle)} (%)"
        written += save(frontier(points, x_label=x_label, y_label=y_label), root / "frontier")
    return written
