"""The losses of Balanced Adversarial Training as pure functions of tensors (paper, section 4.1).

`pairwise_loss` and `triplet_loss` take representations and return a mean, for use in any training loop.
`pairwise_terms`, `triplet_terms` and `likelihood_terms` return one term per pair, so the caller can
compute the mean over an accumulation window or over ranks. All functions compute in float32 or float64,
even inside autocast, because the difference of two close vectors loses precision in half precision.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import torch

from hf_bat.errors import check_choice

__all__ = [
    "exclusion_terms",
    "likelihood_terms",
    "log_likelihood",
    "pair_distance",
    "pairwise_loss",
    "pairwise_terms",
    "triplet_loss",
    "triplet_terms",
]

DISTANCES = ("cosine", "euclidean", "manhattan")
MASKS = ("paper", "authors")


def pair_distance(a: torch.Tensor, b: torch.Tensor, distance: str = "cosine") -> torch.Tensor:
    """Compute the distance of each vector in `a` to the corresponding vector in `b`.

    The gradient is finite everywhere, and zero if the two vectors are equal. With `"cosine"`, a
    vector of zeros has distance 1 to all vectors and a gradient of zero. NaN is propagated.

    Args:
        a: Vectors, shape (..., H).
        b: Vectors, shape (..., H) or a shape that broadcasts to it.
        distance: `"cosine"` (1 - cos, from 0 to 2), `"euclidean"` or `"manhattan"`. Defaults to
            `"cosine"`.

    Returns:
        Distances, shape (...). The type is float32, or float64 for float64 inputs.

    Raises:
        HfBatError: The distance is unknown.

    Example:
        >>> a, b = torch.tensor([3.0, 4.0]), torch.tensor([4.0, 3.0])
        >>> [round(pair_distance(a, b, name).item(), 4) for name in DISTANCES]
        [0.04, 1.4142, 2.0]
    """
    check_choice("distance", distance, DISTANCES)
    with _disable_autocast(a):
        a, b = _raise_precision(a), _raise_precision(b)
        if distance == "cosine":
            return _cosine_distance(a, b)
        # Unlike the square root of a sum, this norm has a gradient of zero at zero.
        return torch.linalg.vector_norm(a - b, ord=1 if distance == "manhattan" else 2, dim=-1)


def pairwise_terms(
    fickle_distance: torch.Tensor, obstinate_distance: torch.Tensor, margin: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the unweighted terms of the pairwise loss: d(x, x_f) and max(0, m - d(x, x_o)).

    Args:
        fickle_distance: Distances of anchors to their fickle versions, valid pairs only, shape (N,).
        obstinate_distance: Distances to their obstinate versions, valid pairs only, shape (M,).
        margin: m, in the distance's unit.

    Returns:
        Fickle terms (N,) and obstinate terms (M,).

    Example:
        >>> pairwise_terms(torch.tensor([0.2]), torch.tensor([0.25, 1.5]), margin=1.0)
        (tensor([0.2000]), tensor([0.7500, 0.0000]))
    """
    with _disable_autocast(fickle_distance):
        obstinate = torch.relu(margin - _raise_precision(obstinate_distance))
        return _raise_precision(fickle_distance), obstinate


def triplet_terms(
    fickle_distance: torch.Tensor,
    obstinate_distance: torch.Tensor,
    fickle_mask: torch.Tensor,
    obstinate_mask: torch.Tensor,
    margin: float,
    mask: str = "paper",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the terms of the triplet loss, max(0, d(x, x_f) + (m - d(x, x_o))), without missing parts.

    A masked distance does not affect the value or the gradient, even if it is NaN.

    Args:
        fickle_distance: Distances of anchors to their fickle versions, shape (B,).
        obstinate_distance: Distances to their obstinate versions, shape (B,).
        fickle_mask: True if the fickle version is valid, shape (B,).
        obstinate_mask: True if the obstinate version is valid, shape (B,).
        margin: m, in the distance's unit.
        mask: With `"paper"`, each part is left out if its version is missing, and rows without both
            versions are not counted. With `"authors"`, as in the paper's released code, only the
            obstinate part is left out, and all rows are counted. Defaults to `"paper"`.

    Returns:
        Terms (B,), which are zero for rows that are not counted, and a bool mask (B,) of the
        counted rows.

    Raises:
        HfBatError: The mask rule is unknown.

    Example:
        >>> yes, no = torch.tensor([True, True]), torch.tensor([True, False])
        >>> triplet_terms(torch.tensor([0.2, 0.3]), torch.tensor([0.5, 9.0]), yes, no, margin=1.0)
        (tensor([0.7000, 0.3000]), tensor([True, True]))
    """
    check_choice("mask rule", mask, MASKS)
    fickle_mask, obstinate_mask = fickle_mask.bool(), obstinate_mask.bool()
    with _disable_autocast(fickle_distance):
        # Mask before the sum, because a sum with NaN is NaN.
        pull = _raise_precision(fickle_distance)
        if mask == "paper":
            pull = pull.masked_fill(~fickle_mask, 0.0)
        push = margin - _raise_precision(obstinate_distance)
        terms = torch.relu(pull + push.masked_fill(~obstinate_mask, 0.0))
    counted = torch.ones_like(fickle_mask) if mask == "authors" else fickle_mask | obstinate_mask
    return terms, counted


def log_likelihood(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the log-likelihood log p(y|x) in nats.

    Args:
        logits: Shape (P, labels).
        labels: Shape (P,).

    Returns:
        Shape (P,), float32 or float64.

    Example:
        >>> log_likelihood(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).exp()
        tensor([0.5000])
    """
    with _disable_autocast(logits):
        scores = _raise_precision(logits).log_softmax(-1)
        return scores.gather(-1, labels[:, None])[:, 0]


def exclusion_terms(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute -log(1 - p(y|x)), the cross-entropy on "any label but y".

    Args:
        logits: Shape (P, labels).
        labels: The labels that the inputs do not have, shape (P,).

    Returns:
        Shape (P,), float32 or float64.

    Example:
        >>> exclusion_terms(torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([1])).neg().exp()
        tensor([0.6667])
    """
    with _disable_autocast(logits):
        logits = _raise_precision(logits)
        others = logits.scatter(-1, labels[:, None], -math.inf)
        # The difference stays precise if the label has nearly all of the probability.
        return logits.logsumexp(-1) - others.logsumexp(-1)


def likelihood_terms(
    anchor: torch.Tensor,
    obstinate: torch.Tensor,
    margin: float | torch.Tensor,
    limit: float | torch.Tensor = math.inf,
) -> torch.Tensor:
    """Compute the obstinate terms of the method "likelihood": max(0, m - d) + max(0, d - l).

    d = log p(y|x) - log p(y|x_o) measures how much less likely the anchor's label y is for the obstinate
    version. A term is zero if d is between the margin m and the limit l. The limit is for edits that do
    not change the label, so they are not treated like edits that do.

    Args:
        anchor: log p(y|x) of each pair's anchor, shape (P,).
        obstinate: log p(y|x_o) of its obstinate version, shape (P,).
        margin: m in nats, as a number or as one value per pair (P,).
        limit: l in nats, as a number or as one value per pair (P,). Defaults to infinity.

    Returns:
        Terms (P,), float32 or float64.

    Example:
        >>> likelihood_terms(torch.tensor([-0.25]), torch.tensor([-0.5]), margin=1.0)
        tensor([0.7500])
        >>> likelihood_terms(torch.tensor([-0.25]), torch.tensor([-1.25]), margin=0.125, limit=0.5)
        tensor([0.5000])
    """
    with _disable_autocast(anchor):
        drop = _raise_precision(anchor) - _raise_precision(obstinate)
        return torch.relu(margin - drop) + torch.relu(drop - limit)


def pairwise_loss(
    anchor: torch.Tensor,
    fickle: torch.Tensor,
    obstinate: torch.Tensor,
    fickle_mask: torch.Tensor,
    obstinate_mask: torch.Tensor,
    alpha: float = 1.0,
    beta: float = 1.2,
    margin: float = 1.0,
    distance: str = "cosine",
) -> torch.Tensor:
    """Compute alpha * mean d(x, x_f) + beta * mean max(0, m - d(x, x_o)), each over its valid pairs.

    Without valid pairs, a mean and its gradient are zero.

    Args:
        anchor: Representations of the originals x, shape (B, H).
        fickle: Representations of their fickle versions x_f, shape (B, H).
        obstinate: Representations of their obstinate versions x_o, shape (B, H).
        fickle_mask: True if the fickle version is valid, shape (B,).
        obstinate_mask: True if the obstinate version is valid, shape (B,).
        alpha: Weight of the fickle pairs. Defaults to 1.0.
        beta: Weight of the obstinate pairs. Defaults to 1.2.
        margin: m, in the distance's unit. Defaults to 1.0.
        distance: As in `pair_distance`. Defaults to `"cosine"`.

    Returns:
        A scalar, float32 or float64.

    Raises:
        HfBatError: The distance is unknown.

    Example:
        >>> x, x_f = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])
        >>> valid = torch.tensor([True])
        >>> round(pairwise_loss(x, x_f, x, valid, valid).item(), 4)
        1.24
    """
    fickle_mask, obstinate_mask = fickle_mask.bool(), obstinate_mask.bool()
    fickle_terms, obstinate_terms = pairwise_terms(
        _masked_distance(anchor, fickle, fickle_mask, distance),
        _masked_distance(anchor, obstinate, obstinate_mask, distance),
        margin,
    )
    with _disable_autocast(anchor):
        pull = _mean_where(fickle_terms, fickle_mask)
        return alpha * pull + beta * _mean_where(obstinate_terms, obstinate_mask)


def triplet_loss(
    anchor: torch.Tensor,
    fickle: torch.Tensor,
    obstinate: torch.Tensor,
    fickle_mask: torch.Tensor,
    obstinate_mask: torch.Tensor,
    margin: float = 1.0,
    mask: str = "paper",
    distance: str = "cosine",
) -> torch.Tensor:
    """Compute the mean of max(0, d(x, x_f) + (m - d(x, x_o))) over the counted rows.

    If no row is counted, the loss and its gradient are zero.

    Args:
        anchor: Representations of the originals x, shape (B, H).
        fickle: Representations of their fickle versions x_f, shape (B, H).
        obstinate: Representations of their obstinate versions x_o, shape (B, H).
        fickle_mask: True if the fickle version is valid, shape (B,).
        obstinate_mask: True if the obstinate version is valid, shape (B,).
        margin: m, in the distance's unit. Defaults to 1.0.
        mask: `"paper"` or `"authors"`, as in `triplet_terms`. Defaults to `"paper"`.
        distance: As in `pair_distance`. Defaults to `"cosine"`.

    Returns:
        A scalar, float32 or float64.

    Raises:
        HfBatError: The distance or the mask rule is unknown.

    Example:
        >>> x, x_f = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])
        >>> valid = torch.tensor([True])
        >>> round(triplet_loss(x, x_f, x, valid, valid).item(), 4)
        1.04
    """
    check_choice("mask rule", mask, MASKS)
    fickle_mask, obstinate_mask = fickle_mask.bool(), obstinate_mask.bool()
    # The authors' rule includes the fickle distance even if no word was replaced.
    used = torch.ones_like(fickle_mask) if mask == "authors" else fickle_mask
    terms, counted = triplet_terms(
        _masked_distance(anchor, fickle, used, distance),
        _masked_distance(anchor, obstinate, obstinate_mask, distance),
        fickle_mask,
        obstinate_mask,
        margin,
        mask,
    )
    with _disable_autocast(anchor):
        return _mean_where(terms, counted)


def _masked_distance(
    a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor, distance: str
) -> torch.Tensor:
    # Masking the distance afterward does not work, because the gradient of a masked NaN is NaN.
    hidden = ~mask[:, None]
    return pair_distance(a.masked_fill(hidden, 0.0), b.masked_fill(hidden, 0.0), distance)


def _mean_where(terms: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return terms.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)


def _cosine_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    # Half the squared distance of unit vectors equals 1 - cos. Unlike 1 minus a product of rounded
    # numbers, it is exactly zero for equal vectors.
    (a, a_is_zero), (b, b_is_zero) = _normalize(a), _normalize(b)
    return ((a - b).square().sum(-1) / 2).masked_fill(a_is_zero | b_is_zero, 1.0)


def _normalize(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalize vectors (..., H) to length one. Also return a mask (...) of vectors that are nearly zero."""
    squared = vectors.square().sum(-1, keepdim=True)
    is_zero = squared <= torch.finfo(vectors.dtype).tiny
    return vectors * squared.masked_fill(is_zero, 1.0).rsqrt(), is_zero[..., 0]


def _raise_precision(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _disable_autocast(values: torch.Tensor) -> AbstractContextManager[None]:
    return torch.autocast(values.device.type, enabled=False)
