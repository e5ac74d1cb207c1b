"""The contrastive losses of Balanced Adversarial Training as pure functions of tensors.

Two levels: `pairwise_loss` and `triplet_loss` take representations and return a mean, for use in any
training loop; `pairwise_terms` and `triplet_terms` take distances and return one term a pair, for a
caller that forms the mean itself, over an accumulation window or over ranks. `likelihood_terms`, of the
package's own method, takes log-likelihoods likewise.

All calculate in float32 at least, inside autocast too. Source of the contrastive ones: Chen, Ji and
Evans (2022), section 4.1.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import torch

from hf_bat.errors import HfBatError

__all__ = [
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
    """Distance of each vector in `a` to the one at the same place in `b`.

    The gradient is finite everywhere: zero where the two vectors are equal, and, for the cosine,
    zero where either is all zeros (its distance to anything is 1 there). NaN stays NaN.

    Args:
        a: (..., H).
        b: (..., H), of `a`'s shape or one that broadcasts to it.
        distance: `"cosine"`, which is 1 - cos, 0 to 2; `"euclidean"`; or `"manhattan"`.

    Returns:
        (...), in float32, or float64 if given that.

    Raises:
        HfBatError: unknown distance.

    Example:
        >>> a, b = torch.tensor([3.0, 4.0]), torch.tensor([4.0, 3.0])
        >>> [round(pair_distance(a, b, name).item(), 4) for name in DISTANCES]
        [0.04, 1.4142, 2.0]
    """
    if distance not in DISTANCES:
        raise HfBatError(f"unknown distance {distance!r}; known: {', '.join(DISTANCES)}")
    with _no_autocast(a):
        a, b = _at_least_float32(a), _at_least_float32(b)
        if distance == "cosine":
            return _cosine_distance(a, b)
        difference = a - b
        if distance == "manhattan":
            return difference.abs().sum(-1)
        return _safe_sqrt(difference.square().sum(-1))


def pairwise_terms(
    fickle_distance: torch.Tensor, obstinate_distance: torch.Tensor, margin: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The pairwise loss's terms, without weights: d(x, x_f) and max(0, m - d(x, x_o)).

    Args:
        fickle_distance: (N,), of anchors to their fickle versions, valid pairs only.
        obstinate_distance: (M,), of anchors to their obstinate versions, valid pairs only.
        margin: m, in the distance's unit.

    Returns:
        Fickle terms (N,) and obstinate terms (M,).

    Example:
        >>> pairwise_terms(torch.tensor([0.2]), torch.tensor([0.25, 1.5]), margin=1.0)
        (tensor([0.2000]), tensor([0.7500, 0.0000]))
    """
    with _no_autocast(fickle_distance):
        obstinate = torch.relu(margin - _at_least_float32(obstinate_distance))
        return _at_least_float32(fickle_distance), obstinate


def triplet_terms(
    fickle_distance: torch.Tensor,
    obstinate_distance: torch.Tensor,
    fickle_mask: torch.Tensor,
    obstinate_mask: torch.Tensor,
    margin: float,
    mask: str = "paper",
) -> tuple[torch.Tensor, torch.Tensor]:
    """The triplet loss's terms: max(0, d(x, x_f) + (m - d(x, x_o))), with what is missing left out.

    Whatever stands where a mask is false and the rule heeds it, be it NaN, reaches neither value nor
    gradient.

    Args:
        fickle_distance: (B,), of anchors to their fickle versions.
        obstinate_distance: (B,), of anchors to their obstinate versions.
        fickle_mask: (B,), true where the fickle version is valid.
        obstinate_mask: (B,), true where the obstinate version is valid.
        margin: m, in the distance's unit.
        mask: `"paper"` leaves out either part where its version is missing, and rows without both
            do not count; `"authors"`, as in the paper's released code, leaves out the obstinate part
            alone, takes the fickle distance as given, and every row counts.

    Returns:
        Terms (B,), zero where not counted; and which of them a mean counts, (B,) bool.

    Raises:
        HfBatError: unknown mask rule.

    Example:
        >>> yes, no = torch.tensor([True, True]), torch.tensor([True, False])
        >>> triplet_terms(torch.tensor([0.2, 0.3]), torch.tensor([0.5, 9.0]), yes, no, margin=1.0)
        (tensor([0.7000, 0.3000]), tensor([True, True]))
    """
    _check_mask_rule(mask)
    fickle_mask, obstinate_mask = fickle_mask.bool(), obstinate_mask.bool()
    with _no_autocast(fickle_distance):
        pull = _at_least_float32(fickle_distance)
        if mask == "paper":
            pull = pull.masked_fill(~fickle_mask, 0.0)
        push = margin - _at_least_float32(obstinate_distance)
        terms = torch.relu(pull + push.masked_fill(~obstinate_mask, 0.0))
    counted = torch.ones_like(fickle_mask) if mask == "authors" else fickle_mask | obstinate_mask
    return terms, counted


def log_likelihood(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log p(y|x), in nats.

    Args:
        logits: (P, labels).
        labels: (P,).

    Returns:
        (P,), in float32 or float64.

    Example:
        >>> log_likelihood(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).exp()
        tensor([0.5000])
    """
    with _no_autocast(logits):
        scores = _at_least_float32(logits).log_softmax(-1)
        return scores.gather(-1, labels[:, None])[:, 0]


def likelihood_terms(
    anchor: torch.Tensor,
    obstinate: torch.Tensor,
    margin: float | torch.Tensor,
    limit: float | torch.Tensor = math.inf,
) -> torch.Tensor:
    """The obstinate terms of the method "likelihood": max(0, m - d) + max(0, d - l).

    d = log p(y|x) - log p(y|x_o) is by how much the obstinate version makes the anchor's label y less
    likely. A term is zero where d is between the margin m and the limit l. With m = 0 it asks only that
    the edit does not speak *for* the label; a limit keeps an edit that leaves the label alone from
    being taken for one that changes it.

    Args:
        anchor: (P,), log p(y|x) of each pair's anchor.
        obstinate: (P,), log p(y|x_o) of its obstinate version.
        margin: m, in nats, a number or one for each pair (P,).
        limit: l, likewise.

    Returns:
        Terms (P,), in float32 or float64.

    Example:
        >>> likelihood_terms(torch.tensor([-0.25]), torch.tensor([-0.5]), margin=1.0)
        tensor([0.7500])
        >>> likelihood_terms(torch.tensor([-0.25]), torch.tensor([-1.25]), margin=0.125, limit=0.5)
        tensor([0.5000])
    """
    with _no_autocast(anchor):
        drop = _at_least_float32(anchor) - _at_least_float32(obstinate)
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
    """alpha * mean d(x, x_f) + beta * mean max(0, m - d(x, x_o)), each over its valid pairs.

    A mean over no pair is zero, with a zero gradient.

    Args:
        anchor: (B, H), representations of the originals, x.
        fickle: (B, H), of their fickle versions, x_f.
        obstinate: (B, H), of their obstinate versions, x_o.
        fickle_mask: (B,), true where the fickle version is valid.
        obstinate_mask: (B,), true where the obstinate version is valid.
        alpha: weight of the fickle pairs.
        beta: weight of the obstinate pairs.
        margin: m, in the distance's unit.
        distance: as in `pair_distance`.

    Returns:
        A scalar, in float32 or float64.

    Raises:
        HfBatError: unknown distance.

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
    with _no_autocast(anchor):
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
    """The mean of max(0, d(x, x_f) + (m - d(x, x_o))) over the rows that count.

    Where none counts it is zero, with a zero gradient.

    Args:
        anchor: (B, H), representations of the originals, x.
        fickle: (B, H), of their fickle versions, x_f.
        obstinate: (B, H), of their obstinate versions, x_o.
        fickle_mask: (B,), true where the fickle version is valid.
        obstinate_mask: (B,), true where the obstinate version is valid.
        margin: m, in the distance's unit.
        mask: `"paper"` or `"authors"`, as in `triplet_terms`.
        distance: as in `pair_distance`.

    Returns:
        A scalar, in float32 or float64.

    Raises:
        HfBatError: unknown distance or mask rule.

    Example:
        >>> x, x_f = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])
        >>> valid = torch.tensor([True])
        >>> round(triplet_loss(x, x_f, x, valid, valid).item(), 4)
        1.04
    """
    _check_mask_rule(mask)
    fickle_mask, obstinate_mask = fickle_mask.bool(), obstinate_mask.bool()
    heeded = torch.ones_like(fickle_mask) if mask == "authors" else fickle_mask
    terms, counted = triplet_terms(
        _masked_distance(anchor, fickle, heeded, distance),
        _masked_distance(anchor, obstinate, obstinate_mask, distance),
        fickle_mask,
        obstinate_mask,
        margin,
        mask,
    )
    with _no_autocast(anchor):
        return _mean_where(terms, counted)


def _masked_distance(
    a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor, distance: str
) -> torch.Tensor:
    """`pair_distance` of rows (B, H), those where the mask is false replaced by zeros beforehand.

    Masking the distance afterwards would not do: the gradient of a masked NaN is NaN.
    """
    hidden = ~mask[:, None]
    return pair_distance(a.masked_fill(hidden, 0.0), b.masked_fill(hidden, 0.0), distance)


def _mean_where(terms: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return terms.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)


def _cosine_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    # Half the squared distance of unit vectors is 1 - cos, and exact where the two are equal, which
    # 1 minus a product of rounded numbers is not.
    (a, a_is_zero), (b, b_is_zero) = _unit(a), _unit(b)
    return ((a - b).square().sum(-1) / 2).masked_fill(a_is_zero | b_is_zero, 1.0)


def _unit(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors (..., H) at length one, and which of them (...) were too short to have a direction."""
    squared = vectors.square().sum(-1, keepdim=True)
    is_zero = squared <= torch.finfo(vectors.dtype).tiny
    return vectors * squared.masked_fill(is_zero, 1.0).rsqrt(), is_zero[..., 0]


def _safe_sqrt(values: torch.Tensor) -> torch.Tensor:
    """The square root, with gradient zero at zero rather than infinite."""
    is_zero = values == 0
    return values.masked_fill(is_zero, 1.0).sqrt().masked_fill(is_zero, 0.0)


def _at_least_float32(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _no_autocast(values: torch.Tensor) -> AbstractContextManager[None]:
    return torch.autocast(values.device.type, enabled=False)


def _check_mask_rule(mask: str) -> None:
    if mask not in MASKS:
        raise HfBatError(f"unknown mask rule {mask!r}; known: {', '.join(MASKS)}")
