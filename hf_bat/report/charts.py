"""Compute the layout of charts, which `templates/charts.html` draws as plain SVG.

Lines differ by dash pattern and by the name at their end, and not only by color.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Point = tuple[float, float]

MAX_POINTS = 300
MAX_STEPS = 5  # between the ticks of an axis
# The plot area in a line chart of 820 by 270 pixels. Names are to the right of it.
LEFT, RIGHT, TOP, BOTTOM = 56, 600, 12, 232
NAME_GAP = 15  # minimum distance between names, in pixels


def place_lines(series: Mapping[str, Sequence[Point]]) -> dict[str, Any]:
    """Place lines of points (x, y), sorted by x, and their ticks in a chart. Return {} without points.

    Returns `x_ticks` and `y_ticks` as (pixel, value), and `lines` as (name, points, y of the name).
    """
    thinned = {name: thin_points(points) for name, points in series.items()}
    lines = {name: points for name, points in thinned.items() if points}
    if not lines:
        return {}
    xs, ys = zip(*(point for points in lines.values() for point in points), strict=True)
    # The y axis includes 0, so small differences look small.
    y_ticks = choose_ticks(min(0.0, *ys), max(ys))

    def scale_x(x: float) -> float:
        # A single x is drawn at the right end, next to the names.
        share = (x - min(xs)) / (max(xs) - min(xs)) if max(xs) > min(xs) else 1.0
        return LEFT + share * (RIGHT - LEFT)

    def scale_y(y: float) -> float:
        return TOP + (y_ticks[-1] - y) / (y_ticks[-1] - y_ticks[0]) * (BOTTOM - TOP)

    placed = [[(scale_x(x), scale_y(y)) for x, y in points] for points in lines.values()]
    name_ys = spread_names([points[-1][1] for points in placed])
    return {
        "x_ticks": [
            (scale_x(x), x) for x in choose_ticks(min(xs), max(xs)) if min(xs) <= x <= max(xs)
        ],
        "y_ticks": [(scale_y(y), y) for y in y_ticks],
        "lines": list(zip(lines, placed, name_ys, strict=True)),
    }


def thin_points(points: Sequence[Point]) -> list[Point]:
    """Return the finite points. If there are more than `MAX_POINTS`, average groups of neighbors."""
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    size = math.ceil(len(finite) / MAX_POINTS)
    if size <= 1:
        return finite
    groups = [finite[i : i + size] for i in range(0, len(finite), size)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def choose_ticks(low: float, high: float) -> list[float]:
    """Choose a few round numbers that cover the range from `low` to `high`."""
    if high <= low:  # a constant line also needs an axis
        high = low + 1
    step = 10 ** math.floor(math.log10((high - low) / MAX_STEPS))
    step *= next(n for n in (1, 2, 5, 10) if (high - low) / (step * n) <= MAX_STEPS)
    first, last = math.floor(low / step), math.ceil(high / step)
    # Rounded, because 3 * 0.1 is not exactly 0.3 in binary.
    return [round(number * step, 10) for number in range(first, last + 1)]


def spread_names(heights: Sequence[float]) -> list[float]:
    """Move the y positions of names apart so they do not overlap. Their order is kept."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    spread = list(heights)
    for above, below in zip(order, order[1:], strict=False):
        spread[below] = max(spread[below], spread[above] + NAME_GAP)
    # Move all names up together if the lowest is below the plot.
    overflow = max(0.0, max(spread) - BOTTOM)
    return [height - overflow for height in spread]
