"""The look that all pictures share, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError
from hf_bat.files import write_atomically
from hf_bat.methods import METHOD_WEIGHTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HALF = 3.3  # inches: one column of a two-column page
FULL = 6.8

# Okabe and Ito (2008), black left to text and baselines, yellow left out: too faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
# One more than colours, so that of 42 lines no two look alike.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
BASELINE = "normal training"
_DASH = (4.0, 2.0)
_SETTINGS: Any = {
    "font.family": "DejaVu Sans",  # it ships with matplotlib, so that all machines draw alike
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.0,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "hf_bat",  # the ids in the file are the same each time
    "savefig.dpi": 200.0,
}


@contextmanager
def styled() -> Iterator[None]:
    """The pictures' settings inside the `with` block; matplotlib's own are back after it.

    Raises:
        HfBatError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise HfBatError('pictures need matplotlib: pip install "hf_bat[plots]"') from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc changes nothing
        matplotlib.rcParams.update(_SETTINGS)
        yield


def grid(
    panels: int,
    width: float,
    panel_height: float,
    columns: int | None = None,
    extra: float = 0.0,
    **options: Any,
) -> tuple[Figure, list[Any]]:
    """A figure of so many panels; one below the other at half width.

    Args:
        panels: how many, at least 1.
        width: of the figure, inches.
        panel_height: inches.
        columns: panels beside one another; by the width where None.
        extra: inches of height for a legend.
        **options: for `Figure.subplots`.

    Returns:
        The figure, and the axes of the panels in order.
    """
    from matplotlib.figure import Figure

    if panels < 1:
        raise HfBatError("nothing to draw: no panel was given")
    columns = columns or min(panels, 1 if width < 5 else 3)
    rows = -(-panels // columns)
    figure = Figure(figsize=(width, rows * panel_height + extra), layout="constrained")
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.05, h_pad=0.05, hspace=0.06)
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for unused in axes[panels:]:
        unused.remove()
    return figure, axes[:panels]


def numbers_of(names: Iterable[str]) -> dict[str, int]:
    """The number of each line or group, in order; a method's is its own.

    So a method looks the same in all pictures, whatever else is in them.

    Example:
        >>> numbers_of(["triplet", "normal", "mine"])
        {'triplet': 4, 'normal': 0, 'mine': 6}
        >>> numbers_of(["antonym ASR", "synonym ASR"])
        {'antonym ASR': 0, 'synonym ASR': 1}
    """
    names = list(dict.fromkeys(names))
    methods = {name: number for number, name in enumerate(METHOD_WEIGHTS)}
    first = len(methods) if any(name in methods for name in names) else 0
    others = [name for name in names if name not in methods]
    return {
        name: methods[name] if name in methods else first + others.index(name) for name in names
    }


def look(number: int) -> dict[str, str]:
    """Colour and marker of the n-th line."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def dashed(axis: Any, value: float, number: int) -> None:
    """A baseline: a dashed horizontal line in the colour of the n-th line."""
    colour = COLOURS[number % len(COLOURS)]
    axis.axhline(value, color=colour, dashes=_DASH, linewidth=1.0, zorder=1.5)


def name_baseline(axis: Any) -> None:
    """Let the legend say what the dashed lines are."""
    axis.plot([], [], color="#444444", dashes=_DASH, linewidth=1.0, label=BASELINE)


def legend_below(figure: Figure, axis: Any, columns: int = 2, note: str | None = None) -> None:
    """One legend for all panels, below them, where it hides nothing; a note stands over it."""
    handles, labels = axis.get_legend_handles_labels()
    # Bars come after lines in matplotlib's order; the baseline belongs behind both.
    entries = sorted(zip(handles, labels, strict=True), key=lambda entry: entry[1] == BASELINE)
    if entries:
        figure.legend(
            *zip(*entries, strict=True),
            loc="outside lower center",
            ncols=min(columns, len(labels)),
            handlelength=2.2,
            columnspacing=1.2,
            title=note,
            title_fontsize=7.0,
        )


def save(figure: Figure, stem: str | Path) -> list[Path]:
    """Write a figure as PNG and as SVG, the same bytes each time.

    Args:
        figure: what a function of `hf_bat.plots` returned.
        stem: the files' path without an ending; its folder is made where missing.

    Returns:
        The two paths.

    Raises:
        HfBatError: they cannot be written.

    Example:
        >>> import tempfile
        >>> from hf_bat.plots import frontier
        >>> points = [{"name": "normal", "fickle": [0.37], "obstinate": [0.57]}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in save(frontier(points), folder + "/picture")]
        ['picture.png', 'picture.svg']
    """
    stem = Path(stem)
    written = []
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with styled():
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                path = stem.with_name(f"{stem.name}.{kind}")
                picture = BytesIO()
                figure.savefig(picture, format=kind, metadata=metadata)
                written.append(write_atomically(path, picture.getvalue(), "the picture"))
    except OSError as error:
        raise HfBatError(f"cannot write the picture {stem}: {error.strerror}") from error
    return written
