"""Where anchors, fickle and obstinate versions lie, and how far apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_bat.console import counted
from hf_bat.errors import HfBatError
from hf_bat.plots.style import HALF, grid, legend_below, look, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS = ("anchor", "fickle", "obstinate")


def tsne(
    panels: Mapping[str, Mapping[str, Any]],
    numbers: Mapping[str, Mapping[str, float | None]] | None = None,
    width: float = HALF,
    perplexity: float = 30.0,
    seed: int = 0,
) -> Figure:
    """Representations of a model a panel, projected to two dimensions (paper, Figure 5).

    A projection shows neighbourhoods, not distances: the numbers beside it are what counts.

    Args:
        panels: title -> `{"anchor": (N, H), "fickle": (N, H), "obstinate": (N, H)}`, arrays or lists,
            as `hf_bat.evaluation.representations.collect` gives them.
        numbers: title -> `{"fickle_distance", "obstinate_distance", "silhouette"}`, as
            `hf_bat.evaluation.representations.separation` gives them.
        width: of the figure, inches.
        perplexity: of t-SNE (van der Maaten and Hinton 2008); lowered for few points.
        seed: of t-SNE.

    Returns:
        The figure, an axis a panel; `save` writes it.

    Raises:
        HfBatError: fewer than 2 rows.

    Example:
        >>> rows = {kind: [[i, j, 0.0] for j in range(4)] for i, kind in enumerate(_KINDS)}
        >>> figure = tsne({"triplet": rows}, {"triplet": {"fickle_distance": 0.05,
        ...               "obstinate_distance": 0.9, "silhouette": 0.5}})
        >>> print(figure.axes[0].get_xlabel())
        d_f 0.05, d_o 0.90
        silhouette 0.50
    """
    with styled():
        columns = min(len(panels), 2 if width < 5 else 4)
        figure, axes = grid(len(panels), width, width / max(columns, 1) + 0.25, columns, extra=0.3)
        shown = counted(panels.items(), "t-SNE", "panel", len(panels))
        for axis, (title, vectors) in zip(axes, shown, strict=True):
            points = _project(vectors, perplexity, seed)
            for number, kind in enumerate(_KINDS):
                x, y = points[kind]
                # The anchors lie below and are larger, for a fickle version often covers its own.
                size = 16 if kind == "anchor" else 4
                axis.scatter(
                    x, y, size, alpha=0.8, linewidths=0, label=kind, rasterized=True, **look(number)
                )
            axis.set_title(title)
            axis.set_xlabel(_numbers_line((numbers or {}).get(title)), fontsize=7)
            axis.set(xticks=[], yticks=[], box_aspect=1)
            axis.grid(False)
            for side in ("top", "right"):
                axis.spines[side].set_visible(True)
        means = "d_f, d_o: mean distance of fickle, obstinate versions" if numbers else None
        legend_below(figure, axes[0], 3, means)
        handles: list[Any] = figure.legends[0].legend_handles
        for handle in handles:
            handle.set_sizes([16])
        return figure


def _project(vectors: Mapping[str, Any], perplexity: float, seed: int) -> dict[str, Any]:
    import numpy as np
    from sklearn.manifold import TSNE

    groups = [np.asarray(vectors[kind], dtype=np.float64) for kind in _KINDS]
    if sum(len(group) for group in groups) < 6:
        raise HfBatError(
            "a projection needs two rows or more with a fickle and an obstinate version"
        )
    stacked = np.concatenate(groups)
    projector = TSNE(
        perplexity=min(perplexity, (len(stacked) - 1) / 3),
        random_state=seed,
        init="pca",
        metric="cosine",
        n_jobs=1,
    )
    flat = projector.fit_transform(stacked)
    ends = np.cumsum([len(group) for group in groups])[:-1]
    return {kind: part.T for kind, part in zip(_KINDS, np.split(flat, ends), strict=True)}


def _numbers_line(numbers: Mapping[str, float | None] | None) -> str:
    if numbers is None:
        return ""
    shown = {
        key: "-" if numbers.get(key) is None else f"{numbers[key]:.2f}"
        for key in ("fickle_distance", "obstinate_distance", "silhouette")
    }
    return (
        f"d_f {shown['fickle_distance']}, d_o {shown['obstinate_distance']}\n"
        f"silhouette {shown['silhouette']}"
    )


def distance_histograms(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    x_label: str = "cosine distance to the anchor",
    width: float = HALF,
    bins: int = 30,
) -> Figure:
    """How far fickle and obstinate versions lie from their anchors, a model a panel.

    Args:
        panels: title -> `{"fickle": distances, "obstinate": distances}`.
        x_label: what the distance is.
        width: of the figure, inches.
        bins: over the common range of all panels.

    Returns:
        The figure, an axis a panel; `save` writes it.

    Example:
        >>> figure = distance_histograms({"normal": {"fickle": [0.1, 0.2], "obstinate": [0.3, 0.2]}})
        >>> len(figure.axes)
        1
    """
    import numpy as np

    with styled():
        figure, axes = grid(len(panels), width, 1.15 if width < 5 else 1.8, extra=0.35, sharex=True)
        everything = [d for kinds in panels.values() for ds in kinds.values() for d in ds]
        edges = np.linspace(0.0, max(everything, default=1.0) or 1.0, bins + 1)
        for axis, (title, kinds) in zip(axes, panels.items(), strict=True):
            for number, kind in enumerate(("fickle", "obstinate"), start=1):
                distances = kinds[kind]
                if not distances:
                    continue
                weights = [100 / len(distances)] * len(distances)
                colour = look(number)["color"]
                axis.hist(distances, edges, weights=weights, color=colour, alpha=0.35)
                axis.hist(
                    distances, edges, weights=weights, color=colour, histtype="step", label=kind
                )
                dashes = (4, 2) if kind == "fickle" else (1, 1.5)
                axis.axvline(float(np.mean(distances)), color=colour, lw=1.0, dashes=dashes)
            axis.set_title(title)
            axis.set_ylabel("% of pairs")
        axes[-1].set_xlabel(x_label)
        legend_below(figure, axes[0], 2)
        return figure
