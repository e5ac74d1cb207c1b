"""Pictures of runs: trade-offs, sweeps, frontiers, representations (`pip install "hf_bat[plots]"`).

Each function takes plain data (dicts and lists, as runs write them to JSON; rates as fractions), returns
a `matplotlib.figure.Figure` that no window shows, and leaves matplotlib's settings as they were.
`save` writes it as PNG and SVG. Colours are Okabe and Ito's, told apart by the colour-blind, and lines
differ in their markers too. At `HALF`, the default width, all text is of 7 points or more.
"""

from hf_bat.plots.frontier import frontier
from hf_bat.plots.lines import epoch_bars, trade_off_by_epoch, value_panels
from hf_bat.plots.representations import distance_histograms, tsne
from hf_bat.plots.style import FULL, HALF, save

__all__ = [
    "FULL",
    "HALF",
    "distance_histograms",
    "epoch_bars",
    "frontier",
    "save",
    "trade_off_by_epoch",
    "tsne",
    "value_panels",
]
