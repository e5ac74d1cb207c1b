"""Plots of runs: trade-offs, sweeps, frontiers and representations (`pip install "hf_bat[plots]"`).

Each function takes plain data (dicts and lists, as in the JSON files of runs, with rates as fractions)
and returns a `matplotlib.figure.Figure`. No window is opened, and matplotlib's settings are not changed.
`save` writes a figure as PNG and SVG. The colors by Okabe and Ito are distinguishable for color-blind
readers, and lines also have different markers. At `HALF`, the default width, all text has at least 7
points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.console import track
from hf_bat.errors import HfBatError
from hf_bat.evaluation.representations import INPUT_KINDS
from hf_bat.files import write_atomically
from hf_bat.methods import METHODS
from hf_bat.stats import t_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "FULL",
    "HALF",
    "distance_histograms",
    "epoch_bars",
    "frontier",
    "method_panels",
    "save",
    "trade_off_by_epoch",
    "tsne",
    "value_panels",
]

Panels = Mapping[str, Mapping[str, Mapping[str, Any]]]

HALF = 3.3  # inches: one column of a two-column page
FULL = 6.8

# Okabe and Ito (2008) without black, which is for text, and yellow, which is too faint on white. Wine and
# olive from Tol (2021) are added so every method has its own color.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255", "#999933")
# One fewer than the colors, so 56 lines all look different.
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# One for each color.
_HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++", "oo", "**")
_BASELINE = "normal training"
_STYLE = Path(__file__).parent / "templates" / "plots.mplstyle"


@contextmanager
def _apply_style() -> Iterator[None]:
    """Use our settings in a `with` block or a decorated function, and then restore matplotlib's."""
    try:
        import matplotlib.style
    except ImportError as error:
        raise HfBatError('pictures need matplotlib: pip install "hf_bat[plots]"') from error
    # after_reset: a user's matplotlibrc must not change the plots.
    with matplotlib.style.context(_STYLE, after_reset=True):
        yield


# ---- metrics over epochs and over values of a hyper-parameter ---------------------------------


def trade_off_by_epoch(
    panels: Panels, y_label: str = "attack success rate (%)", width: float = HALF
) -> Figure:
    """Plot rates at each epoch: mean and standard deviation over seeds (paper, Figures 3, 4, 6, 8 and 9).

    Args:
        panels: Dict of title -> line name -> `{"x": epochs, "values": one list of rates per seed,
            "baseline": rate of normal training (optional, dashed)}`. Rates are fractions, or `None` if
            unknown.
        y_label: Label of the rates.
        width: Width of the figure in inches.

    Returns:
        The figure, one axis per panel; `save` writes it.

    Raises:
        HfBatError: A line does not have one rate for each seed and epoch.

    Example:
        >>> figure = trade_off_by_epoch({"BERT": {
        ...     "antonym": {"x": [1, 2], "values": [[0.5, 0.6], [0.54, 0.62]], "baseline": 0.57}}})
        >>> [axis.get_title() for axis in figure.axes]
        ['BERT']
    """

    def draw(axis: Any, lines: Any, name: str, mean: Any, deviation: Any, look: Any) -> None:
        x = lines[name]["x"]
        axis.plot(x, mean, label=name, markersize=3.0 if len(x) > 8 else 4.0, **look)
        low, high = ([m + s * d for m, d in zip(mean, deviation, strict=True)] for s in (-1, 1))
        axis.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0)

    heights = (1.9 if width < 5 else 2.1, 0.35)
    return _draw_panels(panels, width, heights, "epoch", "band", draw, y_label)


def value_panels(panels: Panels, x_label: str, width: float = HALF) -> Figure:
    """Plot one metric per panel against the values of a hyperparameter (paper, Figures 10 to 12).

    Args:
        panels: Dict of metric -> lines as in `trade_off_by_epoch`, with the values as "x". Bars
            show the standard deviation over seeds.
        x_label: Label of the hyperparameter.
        width: Width of the figure in inches.

    Returns:
        The figure, one axis per panel; `save` writes it.

    Raises:
        HfBatError: A line does not have one rate for each seed and value.

    Example:
        >>> figure = value_panels({"accuracy (%)": {"triplet": {"x": [0.5, 1.0], "values": [[0.8, 0.7]]}}},
        ...                       "margin")
        >>> figure.axes[0].get_xlabel()
        'margin'
    """

    def draw(axis: Any, lines: Any, name: str, mean: Any, deviation: Any, look: Any) -> None:
        # A value without a rate (NaN) gets a bar of zero length.
        error = [0.0 if d != d else d for d in deviation] if any(deviation) else None
        axis.errorbar(lines[name]["x"], mean, error, label=name, capsize=2, elinewidth=0.8, **look)

    heights = (1.45 if width < 5 else 2.1, 0.4)
    return _draw_panels(panels, width, heights, x_label, "bars", draw)


def epoch_bars(panels: Panels, y_label: str, width: float = HALF) -> Figure:
    """Plot means over seeds as bars at each epoch, with one bar per line (paper, Figure 7).

    Args:
        panels: As in `trade_off_by_epoch`.
        y_label: Label of the rates.
        width: Width of the figure in inches.

    Returns:
        The figure, one axis per panel; `save` writes it.

    Raises:
        HfBatError: A line does not have one rate for each seed and epoch.

    Example:
        >>> figure = epoch_bars({"QQP": {"BERT": {"x": [1, 2], "values": [[0.4, 0.5]]}}}, "negation ASR (%)")
        >>> len(figure.axes[0].patches)
        2
    """

    def draw(axis: Any, lines: Any, name: str, mean: Any, deviation: Any, look: Any) -> None:
        thickness = 0.8 / len(lines)
        shift = (list(lines).index(name) - (len(lines) - 1) / 2) * thickness
        axis.bar(
            [x + shift for x in lines[name]["x"]],
            mean,
            thickness,
            yerr=deviation if any(deviation) else None,
            error_kw={"elinewidth": 0.7, "capsize": 1.5},
            color=look["color"],
            hatch=_HATCHES[_COLORS.index(look["color"])],
            edgecolor="white",
            linewidth=0.3,
            label=name,
        )
        axis.grid(False, axis="x")

    return _draw_panels(panels, width, (1.8, 0.35), "epoch", "bars", draw, y_label)


@_apply_style()
def _draw_panels(
    panels: Panels,
    width: float,
    heights: tuple[float, float],
    x_label: str,
    spread: str,
    draw: Callable[..., None],
    y_label: str | None = None,
) -> Figure:
    """Draw each line of each panel, the baselines and the legend.

    `heights` are the heights of a panel and of the legend. `draw` is called with (axis, lines,
    name, means, deviations, color and marker). Without `y_label`, the title of each panel is used
    as its label.
    """
    figure, axes = _make_grid(len(panels), width, heights[0], extra=heights[1])
    every_line = [line for lines in panels.values() for line in lines.values()]
    numbers = _number_names(name for lines in panels.values() for name in lines)
    dashed = {"dashes": (4.0, 2.0), "linewidth": 1.0}
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for name, line in lines.items():
            look = _get_look(numbers[name])
            draw(axis, lines, name, *_summarize_seeds(name, line), look)
            if line.get("baseline") is not None:
                axis.axhline(100 * line["baseline"], color=look["color"], zorder=1.5, **dashed)
        ticks = sorted({x for line in lines.values() for x in line["x"]})
        if y_label is not None:
            axis.set(title=title, ylabel=y_label, xticks=ticks[:: -(-len(ticks) // 8)])
        else:
            axis.set_ylabel(title)
            _set_value_ticks(axis, ticks)
    for axis in axes if width >= 5 else axes[-1:]:
        axis.set_xlabel(x_label)
    if any(line.get("baseline") is not None for line in every_line):
        axes[0].plot([], [], color="#444444", label=_BASELINE, **dashed)
    has_seeds = any(len(line["values"]) > 1 for line in every_line)
    _add_legend(figure, axes[0], 3, f"{spread}: standard deviation over seeds" * has_seeds)
    return figure


def _summarize_seeds(name: str, line: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Compute mean (NaN without a rate) and deviation (0 for one seed) over seeds at each x, in percent."""
    import numpy as np

    if not line["values"] or any(len(seed) != len(line["x"]) for seed in line["values"]):
        raise HfBatError(
            f"{name!r} has {len(line['x'])} values of x and lists of "
            f"{sorted({len(seed) for seed in line['values']})} rates; give one rate per seed and x"
        )
    means, deviations = [], []
    for rates in zip(*line["values"], strict=True):
        known = [100 * rate for rate in rates if rate is not None]
        means.append(float(np.mean(known)) if known else float("nan"))
        deviations.append(float(np.std(known, ddof=1)) if len(known) > 1 else 0.0)
    return means, deviations


def _set_value_ticks(axis: Any, values: Sequence[float]) -> None:
    """Set a tick at each value, on a logarithmic axis if each value is twice the previous one."""
    low, high = axis.get_ylim()
    if high - low < 10:  # keep noise of a few tenths of a percent from filling the axis
        middle = min(max((low + high) / 2, 5), 95)
        axis.set_ylim(middle - 5, middle + 5)
    doubles = all(math.isclose(b, 2 * a) for a, b in pairwise(values))
    if len(values) > 2 and values[0] > 0 and doubles:
        axis.set_xscale("log", base=2)
    shown = values if len(values) <= 9 else values[::2]
    axis.set_xticks(shown, [f"{value:g}" for value in shown])
    axis.minorticks_off()


# ---- the frontier -----------------------------------------------------------------------------


@_apply_style()
def frontier(
    points: Sequence[Mapping[str, Any]],
    x_label: str = "fickle: synonym ASR (%)",
    y_label: str = "obstinate: antonym ASR (%)",
    width: float = HALF,
    join: bool = True,
) -> Figure:
    """Plot settings by two rates, as means over seeds with bars.

    A line joins the settings for which no other setting is better on both rates. Bars are 95 %
    t-intervals of the mean over seeds. A single seed has no bar.

    Args:
        points: `{"name", "fickle": one rate per seed, "obstinate": one rate per seed, "group"}`, with
            rates as fractions. Points of the same group share color and marker. The group defaults to the
            name.
        x_label: Label of the fickle rate.
        y_label: Label of the obstinate rate.
        width: Width of the figure in inches.
        join: Whether to draw the line. Use `False` if lower is not better on both axes.

    Returns:
        The figure, with one axis; `save` writes it.

    Example:
        >>> figure = frontier([{"name": "normal", "fickle": [0.36, 0.37], "obstinate": [0.57, 0.58]},
        ...                    {"name": "triplet", "fickle": [0.25, 0.26], "obstinate": [0.34, 0.35]}])
        >>> figure.axes[0].get_xlabel()
        'fickle: synonym ASR (%)'
    """
    figure, (axis,) = _make_grid(1, width, 0.8 * width, extra=0.3)
    groups = [str(point.get("group", point["name"])) for point in points]
    numbers = _number_names(groups)
    centers = [
        tuple(100 * sum(point[kind]) / len(point[kind]) for kind in ("fickle", "obstinate"))
        for point in points
    ]
    best = sorted(
        center
        for center in centers
        if not any(o != center and o[0] <= center[0] and o[1] <= center[1] for o in centers)
    )
    join = join and len(best) > 1
    if join:
        axis.plot(*zip(*best, strict=True), color="#777777", lw=0.9, zorder=1.5)
    for point, group, (x, y) in zip(points, groups, centers, strict=True):
        axis.errorbar(
            [x],
            [y],
            xerr=_get_reach(point["fickle"]),
            yerr=_get_reach(point["obstinate"]),
            linestyle="none",
            capsize=2,
            elinewidth=0.8,
            label=group,
            **_get_look(numbers[group]),
        )
    axis.margins(0.12)
    axis.set(xlabel=x_label, ylabel=y_label)
    _add_legend(figure, axis, 3, "gray: no other is better on both" * join)
    # Points only need names if a group has several points, and there is only room for a few names.
    if len(numbers) < len(points) <= 12:
        _name_points(figure, axis, [str(point["name"]) for point in points], centers)
    return figure


@_apply_style()
def method_panels(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    x_labels: Mapping[str, str],
    width: float = FULL,
) -> Figure:
    """Plot one rate per panel and one line per method: the mean, the lowest and the highest seed.

    A dashed line marks the mean of the first method.

    Args:
        panels: Dict of title -> method -> one rate per seed. Rates are fractions. A method without a rate
            has an empty line.
        x_labels: Dict of title -> label of the rate.
        width: Width of the figure in inches.

    Returns:
        The figure, one axis per panel; `save` writes it.

    Raises:
        HfBatError: If there is no panel.

    Example:
        >>> rates = {"normal": [0.8, 0.81], "triplet": [0.79, 0.82]}
        >>> figure = method_panels({"accuracy": rates}, {"accuracy": "higher is better (%)"})
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['normal', 'triplet']
    """
    names = list(dict.fromkeys(name for rates in panels.values() for name in rates))
    figure, axes = _make_grid(len(panels), width, 0.6 + 0.14 * len(names), sharey=True)
    numbers = _number_names(names)
    for axis, (title, methods) in zip(axes, panels.items(), strict=True):
        means = {name: 100 * sum(rates) / len(rates) for name, rates in methods.items() if rates}
        for name, mean in means.items():
            ends = [mean - 100 * min(methods[name]), 100 * max(methods[name]) - mean]
            axis.errorbar(
                [mean],
                [names.index(name)],
                xerr=[[ends[0]], [ends[1]]],
                linestyle="none",
                capsize=2,
                elinewidth=0.8,
                **_get_look(numbers[name]),
            )
        if names[0] in means:
            axis.axvline(means[names[0]], color="#444444", lw=0.8, dashes=(4.0, 2.0), zorder=1.5)
        axis.set(title=title, xlabel=x_labels[title])
        axis.set_yticks(range(len(names)), names)
        axis.margins(x=0.12)
        axis.grid(False, axis="y")
    axes[0].set_ylim(len(names) - 0.5, -0.5)  # the first method is at the top
    return figure


def _name_points(figure: Figure, axis: Any, names: Sequence[str], centers: Sequence[Any]) -> None:
    """Write names next to points. Names that would overlap something are left out."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # fixes the positions of the points
    # In points, like the offsets of an annotation.
    spots = axis.transData.transform(centers) * 72 / figure.dpi
    frame = axis.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in spots]
    for name, center, (x, y) in zip(names, centers, spots, strict=True):
        width = 0.62 * 7 * len(name)
        for shift in ((6, 5), (6, -12), (-6 - width, 5), (-6 - width, -12), (6, 16), (6, -24)):
            box = Bbox.from_bounds(x + shift[0], y + shift[1], width, 1.2 * 7)
            is_inside = box.x1 < 72 * frame.x1 and box.y1 < 72 * frame.y1
            if is_inside and not box.count_overlaps(taken):
                axis.annotate(name, center, shift, textcoords="offset points", fontsize=7)
                taken.append(box)
                break


def _get_reach(rates: Sequence[float]) -> float | None:
    """Return how far the interval extends from the mean, in percentage points."""
    interval = t_interval(rates)
    return None if interval is None else 50 * (interval[1] - interval[0])


# ---- representations --------------------------------------------------------------------------


@_apply_style()
def tsne(
    panels: Mapping[str, Mapping[str, Any]],
    numbers: Mapping[str, Mapping[str, float | None]] | None = None,
    width: float = HALF,
    perplexity: float = 30.0,
    seed: int = 0,
) -> Figure:
    """Plot the representations of one model per panel, projected to two dimensions (paper, Figure 5).

    A projection shows neighborhoods and not distances, so rely on the numbers next to it.

    Args:
        panels: Dict of title -> result of `hf_bat.evaluation.representations.collect`: `{"anchor":
            (N, H), "fickle": (N, H), "obstinate": (N, H)}`.
        numbers: Dict of title -> result of `hf_bat.evaluation.representations.separation`.
        width: Width of the figure in inches.
        perplexity: Perplexity of t-SNE (van der Maaten and Hinton 2008). It is lowered for few
            points.
        seed: Seed of t-SNE.

    Returns:
        The figure, one axis per panel; `save` writes it.

    Raises:
        HfBatError: If there are fewer than 2 rows.

    Example:
        >>> rows = {kind: [[i, j, 0.0] for j in range(4)] for i, kind in enumerate(INPUT_KINDS)}
        >>> figure = tsne({"triplet": rows}, {"triplet": {"fickle_distance": 0.05,
        ...               "obstinate_distance": 0.9, "silhouette": 0.5}})
        >>> print(figure.axes[0].get_xlabel())
        d_f 0.05, d_o 0.90
        silhouette 0.50
    """
    columns = min(len(panels), 2 if width < 5 else 4)
    height = width / max(columns, 1) + 0.25
    figure, axes = _make_grid(len(panels), width, height, columns, extra=0.3)
    shown = track(panels.items(), "t-SNE", "panel", len(panels))
    for axis, (title, vectors) in zip(axes, shown, strict=True):
        points = _fit_tsne(vectors, perplexity, seed)
        for number, kind in enumerate(INPUT_KINDS):
            # Anchors are drawn first and larger, because a fickle version often covers its anchor.
            size = 16 if kind == "anchor" else 4
            style = {"alpha": 0.8, "linewidths": 0, "rasterized": True, **_get_look(number)}
            axis.scatter(*points[kind], size, label=kind, **style)
        axis.set(title=title, xticks=[], yticks=[], box_aspect=1)
        if numbers and title in numbers:
            keys = ("fickle_distance", "obstinate_distance", "silhouette")
            values = [numbers[title].get(key) for key in keys]
            fickle, obstinate, silhouette = ("-" if v is None else f"{v:.2f}" for v in values)
            label = f"d_f {fickle}, d_o {obstinate}\nsilhouette {silhouette}"
            axis.set_xlabel(label, fontsize=7)
        axis.grid(False)
        axis.spines[["top", "right"]].set_visible(True)
    means = "d_f, d_o: mean distance of fickle, obstinate versions" if numbers else ""
    _add_legend(figure, axes[0], 3, means)
    handles: list[Any] = figure.legends[0].legend_handles
    for handle in handles:
        handle.set_sizes([16])
    return figure


def _fit_tsne(vectors: Mapping[str, Any], perplexity: float, seed: int) -> dict[str, Any]:
    """Compute the two coordinates (2, N) of the vectors of each kind."""
    import numpy as np
    from sklearn.manifold import TSNE

    stacked = np.concatenate([np.asarray(vectors[kind], dtype=np.float64) for kind in INPUT_KINDS])
    if len(stacked) < 6:
        raise HfBatError(
            "a projection needs at least two rows with a fickle and an obstinate version"
        )
    flat = TSNE(
        perplexity=min(perplexity, (len(stacked) - 1) / 3),
        random_state=seed,
        init="pca",
        metric="cosine",
        n_jobs=1,
    ).fit_transform(stacked)
    return {kind: part.T for kind, part in zip(INPUT_KINDS, np.split(flat, 3), strict=True)}


@_apply_style()
def distance_histograms(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    x_label: str = "cosine distance to the anchor",
    width: float = HALF,
    bins: int = 30,
) -> Figure:
    """Plot the distances of fickle and obstinate versions to their anchors, with one model per panel.

    Args:
        panels: Dict of title -> `{"fickle": distances, "obstinate": distances}`.
        x_label: Name of the distance.
        width: Width of the figure in inches.
        bins: Number of bins over the range of all panels.

    Returns:
        The figure, one axis per panel; `save` writes it.

    Example:
        >>> figure = distance_histograms({"normal": {"fickle": [0.1, 0.2], "obstinate": [0.3, 0.2]}})
        >>> len(figure.axes)
        1
    """
    import numpy as np

    height = 1.15 if width < 5 else 1.8
    figure, axes = _make_grid(len(panels), width, height, extra=0.35, sharex=True)
    everything = [d for kinds in panels.values() for ds in kinds.values() for d in ds]
    edges = np.linspace(0.0, max(everything, default=1.0) or 1.0, bins + 1)
    for axis, (title, kinds) in zip(axes, panels.items(), strict=True):
        for number, kind in enumerate(INPUT_KINDS):
            distances = kinds.get(kind)
            if not distances:
                continue
            color = _get_look(number)["color"]
            style = {"weights": [100 / len(distances)] * len(distances), "color": color}
            axis.hist(distances, edges, alpha=0.35, **style)
            axis.hist(distances, edges, histtype="step", label=kind, **style)
            dashes = (4, 2) if kind == "fickle" else (1, 1.5)
            axis.axvline(float(np.mean(distances)), color=color, lw=1.0, dashes=dashes)
        axis.set(title=title, ylabel="% of pairs")
    axes[-1].set_xlabel(x_label)
    _add_legend(figure, axes[0], 2)
    return figure


# ---- the common look, and files ---------------------------------------------------------------


def _make_grid(
    panels: int,
    width: float,
    panel_height: float,
    columns: int | None = None,
    extra: float = 0.0,
    **options: Any,
) -> tuple[Figure, list[Any]]:
    """Create a figure and the axes of its panels, in one column at half width. Sizes are in inches."""
    from matplotlib.figure import Figure

    if panels < 1:
        raise HfBatError("nothing to draw: no panel was given")
    columns = columns or min(panels, 1 if width < 5 else 3)
    rows = -(-panels // columns)
    figure = Figure(figsize=(width, rows * panel_height + extra), layout="constrained")
    # By default, labels of neighboring panels nearly touch.
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.05, h_pad=0.05, hspace=0.06)
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for unused in axes[panels:]:
        unused.remove()
    return figure, axes[:panels]


def _number_names(names: Iterable[str]) -> dict[str, int]:
    """Number lines or groups in order. Methods have fixed numbers, so they look the same everywhere."""
    names = list(dict.fromkeys(names))
    order = list(METHODS) if any(name in METHODS for name in names) else []
    order += [name for name in names if name not in order]
    return {name: order.index(name) for name in names}


def _get_look(number: int) -> dict[str, str]:
    """Return the color and marker of the n-th line."""
    return {"color": _COLORS[number % len(_COLORS)], "marker": _MARKERS[number % len(_MARKERS)]}


def _add_legend(figure: Figure, axis: Any, columns: int, note: str = "") -> None:
    """Add one legend for all panels below them, with an optional note above it."""
    handles, labels = axis.get_legend_handles_labels()
    # One entry per label. matplotlib lists lines before bars, and the baseline must come after both.
    unique = dict(zip(labels, handles, strict=True))
    entries = sorted(unique, key=lambda label: label == _BASELINE)
    if entries:
        figure.legend(
            [unique[label] for label in entries],
            entries,
            loc="outside lower center",
            ncols=min(columns, len(entries)),
            handlelength=2.2,
            columnspacing=1.2,
            title=note or None,
            title_fontsize=7.0,
        )


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Save a figure as PNG and SVG. The bytes are the same each time.

    Args:
        figure: Figure from a function of this module.
        stem: Path of the files without a suffix. Its folder is created if it is missing.

    Returns:
        The two paths.

    Raises:
        HfBatError: If the files cannot be written.

    Example:
        >>> import tempfile
        >>> points = [{"name": "normal", "fickle": [0.37], "obstinate": [0.57]}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in save(frontier(points), folder + "/picture")]
        ['picture.png', 'picture.svg']
    """
    stem = Path(stem)
    with suppress(OSError):  # writing the first picture reports it
        stem.parent.mkdir(parents=True, exist_ok=True)
    written = []
    with _apply_style():
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            picture = BytesIO()
            figure.savefig(picture, format=kind, metadata=metadata)
            path = stem.with_name(f"{stem.name}.{kind}")
            written.append(write_atomically(path, picture.getvalue(), "the picture"))
    return written
