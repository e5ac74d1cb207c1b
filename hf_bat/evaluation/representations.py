"""What a trained model makes of rows and of their versions: vectors, and how they separate.

The paper's Figure 5 projects the representation before the last classification layer, of rows, their
fickle and their obstinate versions; the numbers here say what a projection can only suggest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError

if TYPE_CHECKING:
    import numpy as np

    from hf_bat.trainer import BalancedTrainer

__all__ = ["collect", "distances", "separation"]

KINDS = ("anchor", "fickle", "obstinate")


def collect(
    trainer: BalancedTrainer, rows: Any, max_rows: int = 500, pooling: str = "head_input"
) -> dict[str, np.ndarray]:
    """Representations of the first rows that have both a fickle and an obstinate version.

    One draw of each kind a row, dropout off. Rows of a skipped label have no obstinate version and so
    fall out (the paper: 500 MNLI examples, the neutral class excluded; section 4.3).

    Args:
        trainer: a `BalancedTrainer` with its model, tokenizer, task and tables. Of several processes
            each must call, and gets vectors of its own share of the rows.
        rows: raw rows, as for `evaluate`.
        max_rows: the most rows, N; at least 1.
        pooling: which representation, as in `BalancedTrainingArguments`.

    Returns:
        `{"anchor": (N, H), "fickle": (N, H), "obstinate": (N, H)}`, float32, row by row.

    Raises:
        HfBatError: no row has both versions, or `max_rows` is less than 1.

    Example:
        >>> vectors = collect(trainer, rows)  # doctest: +SKIP
        >>> separation(vectors)["silhouette"]  # doctest: +SKIP
        0.41
    """
    import numpy as np
    import torch

    from hf_bat.attention import without_cudnn_attention
    from hf_bat.objective import stack_versions
    from hf_bat.pooling import Representation

    if max_rows < 1:
        raise HfBatError(f"max_rows must be at least 1, not {max_rows}")
    tokenizer: Any = trainer.processing_class
    pads = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    found: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    model: Any = trainer.model
    was_training = model.training
    model.eval()
    for batch in trainer.get_perturbed_dataloader(rows):
        stacked, owners = stack_versions(batch, pads, tokenizer.padding_side)
        representation = Representation(pooling)
        with (
            torch.no_grad(),
            trainer.accelerator.autocast(),
            without_cudnn_attention(),
            representation.watch(model),
        ):
            outputs = model(**stacked, output_hidden_states=representation.needs_hidden_states)
        vectors = representation(outputs, stacked["attention_mask"]).float().cpu().numpy()
        size = len(batch["input_ids"])
        fickle, obstinate = (owners[kind].cpu().numpy() for kind in KINDS[1:])
        both = np.intersect1d(fickle, obstinate)
        found["anchor"].append(vectors[both])
        found["fickle"].append(vectors[size + np.flatnonzero(np.isin(fickle, both))])
        first = size + len(fickle)
        found["obstinate"].append(vectors[first + np.flatnonzero(np.isin(obstinate, both))])
        if sum(map(len, found["anchor"])) >= max_rows:
            break
    model.train(was_training)
    collected = {kind: np.concatenate(parts)[:max_rows] for kind, parts in found.items()}
    if not len(collected["anchor"]):
        raise HfBatError("no row has both a fickle and an obstinate version; are the tables right?")
    return collected


def distances(vectors: Mapping[str, Any]) -> dict[str, list[float]]:
    """Cosine distance (0 to 2) of each anchor to its fickle and to its obstinate version.

    Args:
        vectors: as `collect` gives them.

    Returns:
        `{"fickle": [...], "obstinate": [...]}`, a distance a row.

    Example:
        >>> distances({"anchor": [[1, 0]], "fickle": [[2, 0]], "obstinate": [[0, 1]]})
        {'fickle': [0.0], 'obstinate': [1.0]}
    """
    import numpy as np

    unit = {}
    for kind in KINDS:
        array = np.asarray(vectors[kind], dtype=np.float64)
        unit[kind] = array / np.linalg.norm(array, axis=1, keepdims=True).clip(1e-12)
    return {
        kind: [float(d) for d in 1 - (unit["anchor"] * unit[kind]).sum(axis=1)]
        for kind in KINDS[1:]
    }


def separation(vectors: Mapping[str, Any]) -> dict[str, float]:
    """How far the obstinate versions stand apart, in numbers.

    Args:
        vectors: as `collect` gives them.

    Returns:
        `rows`; `fickle_distance` and `obstinate_distance`, the means of `distances`; `ordered`, the
        share of rows whose obstinate version lies farther than their fickle one; and `silhouette`
        (-1 to 1; Rousseeuw 1987), cosine, with anchors and fickle versions as one cluster and
        obstinate versions as the other.

    Example:
        >>> vectors = {"anchor": [[1, 0], [1, 0.1]], "fickle": [[1, 0.1], [1, 0]],
        ...            "obstinate": [[0, 1], [0.1, 1]]}
        >>> found = separation(vectors)
        >>> round(found["obstinate_distance"], 2), found["ordered"], round(found["silhouette"], 2)
        (0.9, 1.0, 1.0)
    """
    import numpy as np
    from sklearn.metrics import silhouette_score

    far = distances(vectors)
    stacked = np.concatenate([np.asarray(vectors[kind], dtype=np.float64) for kind in KINDS])
    rows = len(far["fickle"])
    labels = np.repeat([0, 0, 1], rows)
    pairs = zip(far["fickle"], far["obstinate"], strict=True)
    return {
        "rows": rows,
        "fickle_distance": float(np.mean(far["fickle"])),
        "obstinate_distance": float(np.mean(far["obstinate"])),
        "ordered": float(np.mean([d_f < d_o for d_f, d_o in pairs])),
        "silhouette": float(silhouette_score(stacked, labels, metric="cosine")),
    }
