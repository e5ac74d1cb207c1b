"""Two kinds of chart as inline SVG: lines over steps, and rates with their intervals.

Plain SVG with text in it: no script, no library, readable in light and dark. Lines differ by dash
pattern and by a label at their end, not by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Point = tuple[float, float]

MAX_POINTS = 300
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 820, 56, 220, 12, 38
_HEIGHT = 270
_DASHES = ("", "7 3", "2 3", "10 3 2 3", "4 2", "12 4", "1 2")  # 7, and 6 colours: no look twice
_LABEL_GAP = 15  # pixels between the labels at the ends of lines
_BAR, _NAME = 22, 320  # height of a bar's row, width of the names' column
_LONGEST_NAME = 48

STYLE = """
svg { width: 100%; max-width: 820px; height: auto; display: block; margin: .5rem 0; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .soft { fill: var(--soft); }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .line { fill: none; stroke-width: 2; }
svg .whisker { stroke: var(--ink); stroke-width: 1.5; }
svg .bar { fill: var(--bar); }
svg .c0 { stroke: #0072b2; } svg .c1 { stroke: #d55e00; } svg .c2 { stroke: #009e73; }
svg .c3 { stroke: #a0457a; } svg .c4 { stroke: #8a6d00; } svg .c5 { stroke: #555; }
@media (prefers-color-scheme: dark) { svg .c0 { stroke: #5cb8f0; } svg .c1 { stroke: #ff9a52; }
  svg .c2 { stroke: #3fd0a5; } svg .c3 { stroke: #e59ac6; } svg .c4 { stroke: #e0c24a; }
  svg .c5 { stroke: #bbb; } }
"""


def line_chart(series: Mapping[str, Sequence[Point]], title: str, x_name: str = "step") -> str:
    """Lines over a common axis.

    Args:
        series: name -> (x, y) in order of x; points that are not finite are left out, and more than
            `MAX_POINTS` are averaged in groups.
        title: what the chart shows, for those who cannot see it.
        x_name: what x is.

    Returns:
        An SVG element; an empty string where there is nothing to draw.

    Example:
        >>> chart = line_chart({"loss": [(1, 0.5), (2, 0.25)]}, "Loss")
        >>> chart.startswith("<svg") and ">loss</text>" in chart, line_chart({}, "Nothing")
        (True, '')
    """
    lines = {name: thin(points) for name, points in series.items()}
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return ""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    x_low, x_high = min(xs), max(xs)
    y_ticks = ticks(min(0.0, *ys), max(ys))
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def place(point: Point) -> Point:
        # All at one x stand at the right end, beside their names.
        across = (point[0] - x_low) / (x_high - x_low) if x_high > x_low else 1.0
        x = _LEFT + across * (_WIDTH - _LEFT - _RIGHT)
        y = _TOP + (y_high - point[1]) / ((y_high - y_low) or 1) * (_HEIGHT - _TOP - _BOTTOM)
        return x, y

    parts = []
    for tick in y_ticks:
        _, y = place((x_low, tick))
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(_text(_LEFT - 6, y + 4, f"{tick:g}", "end", "soft"))
    for tick in ticks(x_low, x_high):
        if x_low <= tick <= x_high:
            x, _ = place((tick, y_low))
            parts.append(_text(x, _HEIGHT - _BOTTOM + 16, f"{tick:g}", "middle", "soft"))
    middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    parts.append(_text(middle, _HEIGHT - 6, x_name, "middle", "soft"))
    ends = _apart([place(points[-1])[1] for points in lines.values()])
    for number, (name, points) in enumerate(lines.items()):
        placed = [place(point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        look = f'class="line c{number % 6}" stroke-dasharray="{_DASHES[number % len(_DASHES)]}"'
        parts.append(f'<polyline {look} points="{path}"/>')
        if len(placed) == 1:  # a line of one point would not be seen
            (x, y) = placed[0]
            parts.append(f'<circle class="line c{number % 6}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        x = _WIDTH - _RIGHT
        y = ends[number]
        start, _ = placed[-1]
        parts.append(
            f'<polyline {look} points="{max(start, x):.1f},{y:.1f} {x + 22},{y:.1f}"/>'
            + _text(x + 28, y + 4, name)
        )
    return _svg(_HEIGHT, title, parts)


def rate_chart(rates: Sequence[tuple[str, float, Sequence[float] | None]], title: str) -> str:
    """Rates as bars from 0 to 100 %, each with its interval.

    Args:
        rates: (name, rate in 0..1, (low, high) or None).
        title: what the chart shows, for those who cannot see it.

    Example:
        >>> ">40.0 %</text>" in rate_chart([("antonym", 0.4, (0.3, 0.5))], "ASR")
        True
    """
    if not rates:
        return ""
    height = _BAR * len(rates) + 26
    span = _WIDTH - _NAME - 70
    parts = []
    for percent in (0, 25, 50, 75, 100):
        x = _NAME + span * percent / 100
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_BAR * len(rates)}"/>'
        )
        parts.append(_text(x, height - 8, f"{percent} %", "middle", "soft"))
    for number, (name, rate, interval) in enumerate(rates):
        top = _BAR * number
        middle = top + _BAR / 2
        parts.append(_text(_NAME - 8, middle + 4, _short(name), "end"))
        parts.append(
            f'<rect class="bar" x="{_NAME}" y="{top + 4}" width="{span * rate:.1f}" height="{_BAR - 8}"/>'
        )
        end = rate
        if interval:
            low, high = (_NAME + span * bound for bound in interval)
            end = max(rate, interval[1])
            parts.append(
                f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}'
                f'M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"/>'
            )
        parts.append(_text(_NAME + span * end + 8, middle + 4, f"{100 * rate:.1f} %"))
    return _svg(height, title, parts)


def thin(points: Sequence[Point]) -> list[Point]:
    """Finite points, at most `MAX_POINTS`: means of neighbours where there are more.

    Example:
        >>> thin([(1, 2.0), (2, float("nan"))]), len(thin([(x, 1.0) for x in range(1000)]))
        ([(1, 2.0)], 250)
    """
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    size = -(-len(finite) // MAX_POINTS) or 1
    groups = [finite[i : i + size] for i in range(0, len(finite), size)]
    if size == 1:
        return finite
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers from at or below `low` to at or above `high`.

    Example:
        >>> ticks(0, 1.7)
        [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    if high <= low:
        high = low + 1
    step = 10 ** math.floor(math.log10((high - low) / wanted))
    step *= next(n for n in (1, 2, 5, 10) if (high - low) / (step * n) <= wanted)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _apart(heights: Sequence[float]) -> list[float]:
    """The heights, moved so far that labels at them do not touch."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    moved = list(heights)
    for before, after in zip(order, order[1:], strict=False):
        moved[after] = max(moved[after], moved[before] + _LABEL_GAP)
    if order and (over := moved[order[-1]] - (_HEIGHT - _BOTTOM)) > 0:
        moved = [height - over for height in moved]
    return moved


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _text(x: float, y: float, text: str, anchor: str = "start", css: str = "") -> str:
    style = f' class="{css}"' if css else ""
    return f'<text{style} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img"><title>{escape(title)}</title>'
        f"{''.join(parts)}</svg>"
    )
