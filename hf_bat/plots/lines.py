"""Metrics over epochs and over values of a hyper-parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError
from hf_bat.plots.style import (
    HALF,
    dashed,
    grid,
    legend_below,
    look,
    name_baseline,
    numbers_of,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Line = Mapping[str, Any]
Panels = Mapping[str, Mapping[str, Line]]


def trade_off_by_epoch(
    panels: Panels, y_label: str = "attack success rate (%)", width: float = HALF
) -> Figure:
    """Rates at each epoch: mean and standard deviation over seeds, baselines dashed.

    So are drawn the paper's Figures 3, 4, 6, 8 and 9.

    Args:
        panels: title -> line's name -> `{"x": epochs, "values": a list of rates a seed, "baseline":
            normal training's rate (or absent)}`; rates as fractions, None where there is none.
        y_label: what the rates are.
        width: of the figure, inches.

    Returns:
        The figure, an axis a panel; `save` writes it.

    Raises:
        HfBatError: a line has not one rate for each seed and epoch.

    Example:
        >>> figure = trade_off_by_epoch({"BERT": {
        ...     "antonym": {"x": [1, 2], "values": [[0.5, 0.6], [0.54, 0.62]], "baseline": 0.57},
        ...     "synonym": {"x": [1, 2], "values": [[0.3, 0.1], [0.28, 0.12]], "baseline": 0.37}}})
        >>> [axis.get_title() for axis in figure.axes]
        ['BERT']
    """
    with styled():
        height = 1.9 if width < 5 else 2.1
        figure, axes = grid(len(panels), width, height, extra=0.35)
        numbers = numbers_of(name for lines in panels.values() for name in lines)
        for axis, (title, lines) in zip(axes, panels.items(), strict=True):
            for name, line in lines.items():
                mean, spread = _mean_and_deviation(name, line)
                style = look(numbers[name])
                many = len(line["x"]) > 8
                axis.plot(line["x"], mean, label=name, markersize=3.0 if many else 4.0, **style)
                low, high = _band(mean, spread)
                axis.fill_between(
                    line["x"], low, high, color=style["color"], alpha=0.2, linewidth=0
                )
                if line.get("baseline") is not None:
                    dashed(axis, 100 * line["baseline"], numbers[name])
            axis.set_title(title)
            axis.set_ylabel(y_label)
            _whole_ticks(axis, sorted({x for line in lines.values() for x in line["x"]}))
        for axis in axes if width >= 5 else axes[-1:]:
            axis.set_xlabel("epoch")
        if _has_baseline(panels):
            name_baseline(axes[0])
        legend_below(figure, axes[0], 3, _what_spread_is("band", panels))
        return figure


def value_panels(panels: Panels, x_label: str, width: float = HALF) -> Figure:
    """A metric a panel against the values of a hyper-parameter (paper, Figures 10 to 12).

    Args:
        panels: metric -> line's name -> `{"x": values, "values": a list of rates a seed, "baseline"}`,
            as in `trade_off_by_epoch`. Bars show the standard deviation over seeds.
        x_label: the hyper-parameter.
        width: of the figure, inches.

    Returns:
        The figure, an axis a panel; `save` writes it.

    Raises:
        HfBatError: a line has not one rate for each seed and value.

    Example:
        >>> figure = value_panels({"accuracy (%)": {"triplet": {"x": [0.5, 1.0], "values": [[0.8, 0.7]]}}},
        ...                       "margin")
        >>> figure.axes[0].get_xlabel()
        'margin'
    """
    with styled():
        figure, axes = grid(len(panels), width, 1.45 if width < 5 else 2.1, extra=0.4)
        numbers = numbers_of(name for lines in panels.values() for name in lines)
        for axis, (title, lines) in zip(axes, panels.items(), strict=True):
            for name, line in lines.items():
                mean, spread = _mean_and_deviation(name, line)
                error = [0.0 if s != s else s for s in spread] if any(spread) else None
                axis.errorbar(
                    line["x"],
                    mean,
                    error,
                    capsize=2,
                    elinewidth=0.8,
                    label=name,
                    **look(numbers[name]),
                )
                if line.get("baseline") is not None:
                    dashed(axis, 100 * line["baseline"], numbers[name])
            axis.set_ylabel(title)
            _least_span(axis)
            _value_ticks(axis, sorted({x for line in lines.values() for x in line["x"]}))
        for axis in axes if width >= 5 else axes[-1:]:
            axis.set_xlabel(x_label)
        if _has_baseline(panels):
            name_baseline(axes[0])
        legend_below(figure, axes[0], 3, _what_spread_is("bars", panels))
        return figure


def epoch_bars(panels: Panels, y_label: str, width: float = HALF) -> Figure:
    """Bars at each epoch, side by side for each line; means over seeds (paper, Figure 7).

    Args:
        panels: as in `trade_off_by_epoch`.
        y_label: what the rates are.
        width: of the figure, inches.

    Returns:
        The figure, an axis a panel; `save` writes it.

    Raises:
        HfBatError: a line has not one rate for each seed and epoch.

    Example:
        >>> figure = epoch_bars({"QQP": {"BERT": {"x": [1, 2], "values": [[0.4, 0.5]]}}}, "negation ASR (%)")
        >>> len(figure.axes[0].patches)
        2
    """
    with styled():
        figure, axes = grid(len(panels), width, 1.8, extra=0.35)
        numbers = numbers_of(name for lines in panels.values() for name in lines)
        hatches = ("", "////", "....", "xxxx", "\\\\\\\\", "++++")
        for axis, (title, lines) in zip(axes, panels.items(), strict=True):
            thickness = 0.8 / max(1, len(lines))
            for place, (name, line) in enumerate(lines.items()):
                mean, spread = _mean_and_deviation(name, line)
                shift = (place - (len(lines) - 1) / 2) * thickness
                axis.bar(
                    [x + shift for x in line["x"]],
                    mean,
                    thickness,
                    yerr=spread if any(spread) else None,
                    error_kw={"elinewidth": 0.7, "capsize": 1.5},
                    color=look(numbers[name])["color"],
                    hatch=hatches[numbers[name] % len(hatches)],
                    edgecolor="white",
                    linewidth=0.3,
                    label=name,
                )
                if line.get("baseline") is not None:
                    dashed(axis, 100 * line["baseline"], numbers[name])
            axis.set_title(title)
            axis.set_ylabel(y_label)
            axis.grid(False, axis="x")
            _whole_ticks(axis, sorted({x for line in lines.values() for x in line["x"]}))
        for axis in axes if width >= 5 else axes[-1:]:
            axis.set_xlabel("epoch")
        if _has_baseline(panels):
            name_baseline(axes[0])
        legend_below(figure, axes[0], 3, _what_spread_is("bars", panels))
        return figure


def _has_baseline(panels: Panels) -> bool:
    return any(
        line.get("baseline") is not None for lines in panels.values() for line in lines.values()
    )


def _what_spread_is(drawn: str, panels: Panels) -> str | None:
    """What the legend says of bands or bars; None where each line is of one seed."""
    several = any(len(line["values"]) > 1 for lines in panels.values() for line in lines.values())
    return f"{drawn}: standard deviation over seeds" if several else None


def _least_span(axis: Any, points: float = 10.0) -> None:
    """So many per cent on an axis at least: noise of a few tenths is not to fill it."""
    low, high = axis.get_ylim()
    if high - low < points:
        middle = min(max((low + high) / 2, points / 2), 100 - points / 2)
        axis.set_ylim(middle - points / 2, middle + points / 2)


def _mean_and_deviation(name: str, line: Line) -> tuple[list[float], list[float]]:
    """Mean and standard deviation over seeds at each x, in per cent; 0 for one seed, NaN for none."""
    import numpy as np

    if not line["values"] or any(len(seed) != len(line["x"]) for seed in line["values"]):
        raise HfBatError(
            f"{name!r} has {len(line['x'])} values of x and lists of "
            f"{sorted({len(seed) for seed in line['values']})} rates; give one rate a seed and x"
        )
    means, deviations = [], []
    for rates in zip(*line["values"], strict=True):
        known = [100 * rate for rate in rates if rate is not None]
        means.append(float(np.mean(known)) if known else float("nan"))
        deviations.append(float(np.std(known, ddof=1)) if len(known) > 1 else 0.0)
    return means, deviations


def _band(mean: Sequence[float], spread: Sequence[float]) -> tuple[list[float], list[float]]:
    pairs = list(zip(mean, spread, strict=True))
    return [m - s for m, s in pairs], [m + s for m, s in pairs]


def _whole_ticks(axis: Any, epochs: Sequence[float]) -> None:
    step = -(-len(epochs) // 8)
    axis.set_xticks(epochs[::step])


def _value_ticks(axis: Any, values: Sequence[float]) -> None:
    """A tick at each value; on a scale of powers of two where they double."""
    if len(values) > 2 and values[0] > 0 and values[-1] / values[0] >= 4:
        ratios = {round(b / a, 6) for a, b in zip(values, values[1:], strict=False)}
        if ratios == {2.0}:
            axis.set_xscale("log", base=2)
    shown = values if len(values) <= 9 else values[::2]
    axis.set_xticks(shown, [f"{value:g}" for value in shown])
    axis.minorticks_off()
