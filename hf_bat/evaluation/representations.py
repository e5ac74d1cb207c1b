"""Representations of rows and their versions in a trained model, and measures of their separation.

Figure 5 of the paper projects the input of the last classification layer for rows, their fickle and
their obstinate versions. This module measures the distances, which a projection only suggests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hf_bat.errors import HfBatError

__all__ = ["collect", "distances", "separation"]

INPUT_KINDS = ("anchor", "fickle", "obstinate")


def collect(
    trainer: Any, rows: Any, max_rows: int = 500, pooling: str = "head_input"
) -> dict[str, np.ndarray]:
    """Collect representations of the first rows with both a fickle and an obstinate version.

    One version of each kind is drawn per row, and dropout is off. Rows with a skipped label have no
    obstinate version and are left out (the paper uses 500 MNLI examples without the neutral class,
    section 4.3).

    Args:
        trainer: A `BalancedTrainer`. With several processes, all must call this function, and each
            one gets the vectors of its share of the rows.
        rows: Raw rows, as for `evaluate`.
        max_rows: Maximum number of rows N, at least 1. Defaults to 500.
        pooling: Kind of representation, as in `BalancedTrainingArguments`. Defaults to "head_input".

    Returns:
        `{"anchor": (N, H), "fickle": (N, H), "obstinate": (N, H)}`, float32, in the same row order.

    Raises:
        HfBatError: If no row has both versions, or `max_rows` is less than 1.

    Example:
        >>> vectors = collect(trainer, rows)  # doctest: +SKIP
        >>> separation(vectors)["silhouette"]  # doctest: +SKIP
        0.41
    """
    import torch

    from hf_bat.device import disable_cudnn_attention
    from hf_bat.objective import run_forward

    if max_rows < 1:
        raise HfBatError(f"max_rows must be at least 1, not {max_rows}")
    parts: dict[str, list[Any]] = {kind: [] for kind in INPUT_KINDS}
    model: Any = trainer.model
    was_training = model.training
    model.eval()
    for batch in trainer.get_perturbed_dataloader(rows):
        with torch.no_grad(), trainer.accelerator.autocast(), disable_cudnn_attention():
            forward: Any = run_forward(model, batch, trainer.processing_class, pooling)
        batch_parts = {"anchor": (forward.vectors, np.arange(len(forward.vectors)))}
        for kind in INPUT_KINDS[1:]:
            version = forward.versions[kind]
            batch_parts[kind] = (version.vectors, version.owners.cpu().numpy())
        # A row may lack one version, and only rows with both are comparable.
        both = np.intersect1d(batch_parts["fickle"][1], batch_parts["obstinate"][1])
        for kind, (vectors, owners) in batch_parts.items():
            parts[kind].append(vectors.float().cpu().numpy()[np.isin(owners, both)])
        if sum(map(len, parts["anchor"])) >= max_rows:
            break
    model.train(was_training)
    vectors_by_kind = {kind: np.concatenate(arrays)[:max_rows] for kind, arrays in parts.items()}
    if not len(vectors_by_kind["anchor"]):
        raise HfBatError("no row has both a fickle and an obstinate version; check the tables")
    return vectors_by_kind


def distances(vectors: Mapping[str, Any]) -> dict[str, list[float]]:
    """Compute the cosine distance (0 to 2) of each anchor to its fickle and its obstinate version.

    Args:
        vectors: Vectors as `collect` returns them.

    Returns:
        `{"fickle": [...], "obstinate": [...]}`, one distance per row.

    Example:
        >>> distances({"anchor": [[1, 0]], "fickle": [[2, 0]], "obstinate": [[0, 1]]})
        {'fickle': [0.0], 'obstinate': [1.0]}
    """
    unit = {}
    for kind in INPUT_KINDS:
        array = np.asarray(vectors[kind], dtype=np.float64)
        # A zero vector has no direction. Its distance to everything is set to 1 instead of NaN.
        unit[kind] = array / np.linalg.norm(array, axis=1, keepdims=True).clip(1e-12)
    return {
        kind: (1 - (unit["anchor"] * unit[kind]).sum(axis=1)).tolist() for kind in INPUT_KINDS[1:]
    }


def separation(vectors: Mapping[str, Any]) -> dict[str, float]:
    """Measure how far the obstinate versions are separated from the other vectors.

    Args:
        vectors: Vectors as `collect` returns them.

    Returns:
        `rows`; `fickle_distance` and `obstinate_distance`, the means of `distances`; `ordered`, the share
        of rows with the obstinate version farther away than the fickle one; and `silhouette` (-1 to 1;
        Rousseeuw 1987) with cosine distance, with anchors and fickle versions in one cluster and
        obstinate versions in the other.

    Example:
        >>> vectors = {"anchor": [[1, 0], [1, 0.1]], "fickle": [[1, 0.1], [1, 0]],
        ...            "obstinate": [[0, 1], [0.1, 1]]}
        >>> figures = separation(vectors)
        >>> [round(figures[name], 2) for name in ("obstinate_distance", "ordered", "silhouette")]
        [0.9, 1.0, 1.0]
    """
    from sklearn.metrics import silhouette_score

    far = distances(vectors)
    # Anchors and fickle versions form one cluster, because they should be classified in the same
    # way.
    stacked = np.concatenate([np.asarray(vectors[kind], dtype=np.float64) for kind in INPUT_KINDS])
    labels = np.repeat([0, 0, 1], len(far["fickle"]))
    return {
        "rows": len(far["fickle"]),
        "fickle_distance": float(np.mean(far["fickle"])),
        "obstinate_distance": float(np.mean(far["obstinate"])),
        "ordered": float(np.mean(np.less(far["fickle"], far["obstinate"]))),
        "silhouette": float(silhouette_score(stacked, labels, metric="cosine")),
    }
