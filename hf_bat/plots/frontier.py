"""The frontier between fickleness and obstinacy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_bat.plots.style import HALF, grid, legend_below, look, numbers_of, styled
from hf_bat.stats import t_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def frontier(
    points: Sequence[Mapping[str, Any]],
    x_label: str = "fickle: synonym ASR (%)",
    y_label: str = "obstinate: antonym ASR (%)",
    width: float = HALF,
) -> Figure:
    """Settings by their two attack success rates, best towards the lower left.

    A line joins the settings that no other beats on both rates. Bars are 95 % t-intervals of the mean
    over seeds; with one seed there is none.

    Args:
        points: `{"name", "fickle": a rate a seed, "obstinate": a rate a seed, "group" (whose colour and
            marker it has; the name where absent)}`, rates as fractions.
        x_label: the fickle rate's name.
        y_label: the obstinate rate's name.
        width: of the figure, inches.

    Returns:
        The figure, of one axis; `save` writes it.

    Example:
        >>> figure = frontier([{"name": "normal", "fickle": [0.36, 0.37], "obstinate": [0.57, 0.58]},
        ...                    {"name": "triplet", "fickle": [0.25, 0.26], "obstinate": [0.34, 0.35]}])
        >>> figure.axes[0].get_xlabel()
        'fickle: synonym ASR (%)'
    """
    with styled():
        figure, (axis,) = grid(1, width, 0.8 * width, extra=0.3)
        groups = numbers_of(str(point.get("group", point["name"])) for point in points)
        centres = [(_mean(point["fickle"]), _mean(point["obstinate"])) for point in points]
        best = sorted(c for c in centres if not any(_beats(other, c) for other in centres))
        if len(best) > 1:
            axis.plot(*zip(*best, strict=True), color="#777777", lw=0.9, zorder=1.5)
        labelled: set[str] = set()
        for point, (x, y) in zip(points, centres, strict=True):
            group = str(point.get("group", point["name"]))
            axis.errorbar(
                [x],
                [y],
                xerr=_reach(point["fickle"]),
                yerr=_reach(point["obstinate"]),
                linestyle="none",
                capsize=2,
                elinewidth=0.8,
                label=None if group in labelled else group,
                **look(groups[group]),
            )
            labelled.add(group)
        axis.margins(0.12)
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        joined = "grey: no other is better on both" if len(best) > 1 else None
        legend_below(figure, axis, 3, joined)
        # A setting's name stands beside its point where groups hold several, few enough to read.
        if len(groups) < len(points) <= 12:
            _name_points(figure, axis, [str(point["name"]) for point in points], centres)
        return figure


def _name_points(
    figure: Figure, axis: Any, names: Sequence[str], centres: Sequence[tuple[float, float]]
) -> None:
    """Write names beside points, each where nothing is in its way; one without room is left out."""
    figure.draw_without_rendering()  # settles where the points are
    size = 7.0
    spots = axis.transData.transform(centres) * 72 / figure.dpi
    frame = axis.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
    right, top = 72 * frame.x1, 72 * frame.y1
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in spots]
    for name, centre, (x, y) in zip(names, centres, spots, strict=True):
        width, height = 0.62 * size * len(name), 1.2 * size
        for shift in ((6, 5), (6, -12), (-6 - width, 5), (-6 - width, -12), (6, 16), (6, -24)):
            box = (x + shift[0], y + shift[1], x + shift[0] + width, y + shift[1] + height)
            if box[2] < right and box[3] < top and not any(_overlap(box, t) for t in taken):
                axis.annotate(name, centre, xytext=shift, textcoords="offset points", fontsize=size)
                taken.append(box)
                break


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _mean(rates: Sequence[float]) -> float:
    return 100 * sum(rates) / len(rates)


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether one is nowhere worse and somewhere better."""
    return one != other and one[0] <= other[0] and one[1] <= other[1]


def _reach(rates: Sequence[float]) -> list[list[float]] | None:
    """How far the interval reaches below and above the mean, in points."""
    interval = t_interval(rates)
    if interval is None:
        return None
    mean = sum(rates) / len(rates)
    return [[100 * (mean - interval[0])], [100 * (interval[1] - mean)]]
