"""The training objective on one micro-batch: what is stacked, what is counted, what is summed.

Everything here is a function of tensors; the Trainer supplies the model and the window's counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from hf_bat.errors import HfBatError
from hf_bat.losses import (
    likelihood_terms,
    log_likelihood,
    pair_distance,
    pairwise_terms,
    triplet_terms,
)

KINDS = ("fickle", "obstinate")
# Denominators of a window's means, in the order in which `count_items` gives them.
CE, FICKLE, OBSTINATE, TRIPLET, CE_FICKLE = range(5)

Batch = Mapping[str, torch.Tensor]


class Part(NamedTuple):
    """One component of the loss: a sum, which denominator it goes over, and its weight.

    A weight of None marks a component that is logged and not trained on.
    """

    total: torch.Tensor
    over: int
    weight: float | None


class Distances(NamedTuple):
    """Distances of anchors to their versions: `values` (B, D), zero where `mask` (B, D) is false."""

    values: torch.Tensor
    mask: torch.Tensor


class Forward(NamedTuple):
    """What a forward pass over anchors and versions gave.

    `logits` (N, labels) and `vectors` (N, H), None where not asked for, are stacked as `stack_versions`
    stacks; `owners` is its second result, empty where there are no versions.
    """

    logits: torch.Tensor
    owners: Mapping[str, torch.Tensor]
    vectors: torch.Tensor | None


def anchor_inputs(batch: Batch) -> dict[str, torch.Tensor]:
    """What the model is fed for the anchors alone: no labels, no `idx`, no perturbed versions."""
    left_out = ("labels", "idx", *(f"{kind}_" for kind in KINDS))
    return {key: value for key, value in batch.items() if not key.startswith(left_out)}


def has_versions(batch: Batch) -> bool:
    """Whether a batch carries perturbed versions to forward beside its anchors."""
    return any(f"{kind}_input_ids" in batch for kind in KINDS)


def stack_versions(
    batch: Batch, pad_values: Mapping[str, int], padding_side: str
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Put the anchors and their valid versions under one another; the rest is not computed.

    Args:
        batch: B anchors, with versions as `PerturbationCollator` emits them.
        pad_values: padding by key; 0 where absent.
        padding_side: `"right"` or `"left"`.

    Returns:
        The model's inputs of N >= B rows, the anchors first, then the valid fickle versions, then
        the obstinate ones; and for each kind present the row (of B) that each version belongs to.
    """
    stacked = {}
    for key, anchors in anchor_inputs(batch).items():
        groups = [anchors]
        for kind in KINDS:
            if f"{kind}_{key}" in batch:
                groups.append(batch[f"{kind}_{key}"][batch[f"{kind}_mask"]])
        width = max(group.shape[1] for group in groups)
        fill = pad_values.get(key, 0)
        stacked[key] = torch.cat([_widen(group, width, fill, padding_side) for group in groups])
    owners = {
        kind: batch[f"{kind}_mask"].nonzero()[:, 0]
        for kind in KINDS
        if f"{kind}_input_ids" in batch
    }
    return stacked, owners


def _widen(rows: torch.Tensor, width: int, fill: int, side: str) -> torch.Tensor:
    missing = width - rows.shape[1]
    if not missing:
        return rows
    room = (missing, 0) if side == "left" else (0, missing)
    return torch.nn.functional.pad(rows, room, value=fill)


def measure_distances(
    representations: torch.Tensor,
    owners: Mapping[str, torch.Tensor],
    batch: Batch,
    distance: str,
) -> dict[str, Distances]:
    """Distances of each anchor to its versions.

    Args:
        representations: (N, H), stacked as `stack_versions` stacks.
        owners: as `stack_versions` gives them.
        batch: the batch that was stacked.
        distance: `"cosine"`, `"euclidean"` or `"manhattan"`.

    Returns:
        For each kind its distances, (B, D) for D draws a row.
    """
    start = len(batch["input_ids"])
    measured = {}
    for kind, rows in owners.items():
        mask = batch[f"{kind}_mask"]
        versions = representations[start : start + len(rows)]
        start += len(rows)
        found = pair_distance(representations[rows], versions, distance)
        values = torch.zeros(mask.shape, dtype=found.dtype, device=found.device)
        measured[kind] = Distances(values.masked_scatter(mask, found), mask)
    return measured


def count_items(batch: Batch, mask: str, class_weights: torch.Tensor | None) -> torch.Tensor:
    """The denominators that a micro-batch adds to its window.

    Args:
        batch: a training batch with `labels` (B,).
        mask: triplet's mask rule.
        class_weights: (labels,) or None.

    Returns:
        (5,) on the batch's device: the rows (or the sum of their class weights), the valid fickle
        pairs, the valid obstinate pairs, the triplets that count, and the valid fickle versions (or
        the sum of their class weights).
    """
    labels = batch["labels"]
    counts = torch.zeros(5, device=labels.device)
    weights = torch.ones_like(labels) if class_weights is None else class_weights[labels]
    counts[CE] = weights.sum()
    masks = [batch.get(f"{kind}_mask") for kind in KINDS]
    for place, found in zip((FICKLE, OBSTINATE), masks, strict=True):
        if found is not None:
            counts[place] = found.sum()
    if masks[0] is not None:
        counts[CE_FICKLE] = (weights * masks[0].sum(1)).sum()
    if masks[0] is not None and masks[1] is not None:
        draws = max(masks[0].shape[1], masks[1].shape[1])
        either = _tile(masks[0], draws) | _tile(masks[1], draws)
        counts[TRIPLET] = either.numel() if mask == "authors" else either.sum()
    return counts


def mean_over(total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """A sum over what it counts; 0, with a gradient of 0, where that is nothing.

    Args:
        total: the sum, a scalar.
        count: rows, pairs or class weights, a scalar of 0 or more.

    Returns:
        The mean. With label smoothing a row's sum is not 0 where its class weighs nothing, and yet it is
        no part of a mean over no weight.

    Example:
        >>> mean_over(torch.tensor(3.0), torch.tensor(2.0)), mean_over(torch.tensor(3.0), torch.tensor(0.0))
        (tensor(1.5000), tensor(0.))
    """
    return torch.where(count > 0, total, 0 * total) / torch.where(count > 0, count, 1)


def check_labels(batch: Batch, num_labels: int) -> None:
    """Refuse a batch of tokenised rows whose labels are not all classes; raw rows are read before.

    Args:
        batch: with `labels` (B,) and, where it has one, `idx` (B,), which names the rows.
        num_labels: how many the model has.

    Raises:
        HfBatError: a label is none of them, such as -1 and -100 for no label.

    Example:
        >>> check_labels({"labels": torch.tensor([0, 2])}, 3)
    """
    labels = batch["labels"]
    wrong = (labels < 0) | (labels >= num_labels)
    if not bool(wrong.any()):
        return
    place = int(wrong.nonzero()[0])
    row = f"row {int(batch['idx'][place])}" if "idx" in batch else f"row {place} of a batch"
    raise HfBatError(
        f"label {int(labels[place])} of {row} is none of the model's 0..{num_labels - 1}: leave "
        "rows without a label out"
    )


def contrastive_parts(
    method: str,
    weights: Mapping[str, float],
    mask: str,
    distances: Mapping[str, Distances],
) -> dict[str, Part]:
    """The contrastive components of a micro-batch.

    Args:
        method: `"pairwise"` or `"triplet"`.
        weights: `alpha`, `beta`, `margin`; or `contrastive_weight`, `margin`.
        mask: triplet's mask rule.
        distances: of both kinds.

    Returns:
        Component name -> `Part`. With several draws the t-th triplet of a row takes its t-th fickle
        and t-th obstinate draw, the shorter list starting again.
    """
    fickle, obstinate = distances["fickle"], distances["obstinate"]
    margin = weights["margin"]
    parts = {
        "fickle_distance": Part(fickle.values.sum(), FICKLE, None),
        "obstinate_distance": Part(obstinate.values.sum(), OBSTINATE, None),
    }
    if method == "pairwise":
        fickle_terms, obstinate_terms = pairwise_terms(
            fickle.values[fickle.mask], obstinate.values[obstinate.mask], margin
        )
        parts["loss_fickle"] = Part(fickle_terms.sum(), FICKLE, weights["alpha"])
        parts["loss_obstinate"] = Part(obstinate_terms.sum(), OBSTINATE, weights["beta"])
    else:
        draws = max(fickle.mask.shape[1], obstinate.mask.shape[1])
        terms, counted = triplet_terms(
            _tile(fickle.values, draws).flatten(),
            _tile(obstinate.values, draws).flatten(),
            _tile(fickle.mask, draws).flatten(),
            _tile(obstinate.mask, draws).flatten(),
            margin,
            mask,
        )
        parts["loss_triplet"] = Part(terms[counted].sum(), TRIPLET, weights["contrastive_weight"])
    return parts


def likelihood_parts(
    weights: Mapping[str, float],
    forward: Forward,
    batch: Batch,
    cross_entropy: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> dict[str, Part]:
    """The components of the method "likelihood": what each version says of the anchor's label.

    Args:
        weights: `alpha` (fickle), `beta` (obstinate), `margin` (nats, for versions that the
            label-validity filter passes), `other_margin` and `other_limit` (for the others: by how much
            less likely the label should be at least, and at most).
        forward: of the stacked batch.
        batch: the batch that was stacked; `obstinate_passes` (B, D) says which draws the filter passes,
            all where it is absent.
        cross_entropy: logits and labels to a sum over rows.

    Returns:
        `loss_ce_fickle`, `loss_obstinate`, and, not trained on, `label_drop`: by how much an obstinate
        version lowers the label's log-probability.
    """
    logits, owners, _ = forward
    labels, start = batch["labels"], len(batch["input_ids"])
    parts, versions = {}, {}
    for kind, rows in owners.items():
        versions[kind] = logits[start : start + len(rows)]
        start += len(rows)
    if "fickle" in owners:
        total = cross_entropy(versions["fickle"], labels[owners["fickle"]])
        parts["loss_ce_fickle"] = Part(total, CE_FICKLE, weights["alpha"])
    if "obstinate" in owners:
        rows = owners["obstinate"]
        anchor = log_likelihood(logits[rows], labels[rows])
        obstinate = log_likelihood(versions["obstinate"], labels[rows])
        margin: float | torch.Tensor = weights["margin"]
        limit: float | torch.Tensor = math.inf
        if "obstinate_passes" in batch:
            passes = batch["obstinate_passes"][batch["obstinate_mask"]]
            # Without weights of their own (`label_filter="only"`) there are no others.
            other_margin, other_limit = weights["other_margin"], weights["other_limit"]
            margin = torch.where(passes, weights["margin"], other_margin or 0.0)
            limit = torch.where(passes, math.inf, math.inf if other_limit is None else other_limit)
        terms = likelihood_terms(anchor, obstinate, margin, limit)
        parts["loss_obstinate"] = Part(terms.sum(), OBSTINATE, weights["beta"])
        parts["label_drop"] = Part((anchor - obstinate).sum(), OBSTINATE, None)
    return parts


def check_finite(
    loss: torch.Tensor, parts: Mapping[str, Part], forward: Forward, batch: Batch, step: int
) -> None:
    """Stop a run whose loss is no longer a finite number, before the weights are.

    Args:
        loss: the micro-batch's loss, a scalar.
        parts: its components.
        forward: what the model gave.
        batch: the micro-batch; its `idx` (B,), where it has one, names the rows.
        step: the optimizer step, from 1.

    Raises:
        HfBatError: it is not finite; the message has the step, the components and the rows.
    """
    if bool(torch.isfinite(loss)):
        return
    broken = ~torch.isfinite(forward.logits).all(-1)
    guilty = broken[: len(batch["labels"])].clone()
    start = len(guilty)
    for rows in forward.owners.values():
        guilty[rows[broken[start : start + len(rows)]]] = True
        start += len(rows)
    if not guilty.any():
        guilty[:] = True
    names = row_names(batch)
    sums = {name: part.total for name, part in parts.items()}
    raise HfBatError(
        f"the loss is not finite at step {step} (sums over the batch: {_listed_sums(sums)}; rows "
        f"{_listed_rows(names.to(guilty.device)[guilty], 20)}): the run was stopped and the last "
        "checkpoint left as it is; lower the learning rate, or look at these rows"
    )


def check_gradient(
    norm: Any,
    sums: Mapping[str, torch.Tensor],
    rows: Sequence[torch.Tensor],
    step: int,
    process: str = "",
) -> None:
    """Stop a run whose gradient is no longer a finite number, before the weights are.

    The loss may be one all the same: a root or a norm at 0, or too large a sum on the way back.

    Args:
        norm: of the gradient, as the Trainer measures it for its log; None where it does not.
        sums: of the loss's components over the accumulation window, scalars.
        rows: the ids of the window's rows, a tensor a micro-batch.
        step: the optimizer step, from 1.
        process: whose rows these are, where there are several, such as ` of process 0 of 2`.

    Raises:
        HfBatError: it is not finite; the message has the step, the components and the rows.

    Example:
        >>> check_gradient(torch.tensor(0.7), {}, [], 1)
    """
    if norm is None or math.isfinite(norm := float(norm)):
        return
    # Which of the rows it is cannot be told from a sum over them: more are named than for a loss.
    listed = _listed_rows(torch.cat([ids.cpu() for ids in rows]), 256) if rows else "unknown"
    raise HfBatError(
        f"the gradient is not finite at step {step} (its norm {norm:.4g}; sums over the step's batches"
        f"{process}: {_listed_sums(sums)}; rows {listed}): the run was stopped before the weights "
        "changed and the last checkpoint left as it is; lower the learning rate, or look at these rows"
    )


def row_names(batch: Batch) -> torch.Tensor:
    """What a message calls a batch's rows, (B,): their `idx`, their places where there is none."""
    return batch["idx"] if "idx" in batch else torch.arange(len(batch["labels"]))


def _listed_rows(names: torch.Tensor, most: int) -> str:
    return ", ".join(map(str, names[:most].tolist())) + (", ..." if len(names) > most else "")


def _listed_sums(sums: Mapping[str, torch.Tensor]) -> str:
    return ", ".join(f"{name} {total.item():.4g}" for name, total in sums.items()) or "none"


def _tile(values: torch.Tensor, draws: int) -> torch.Tensor:
    """Repeat the columns of (B, D) from the start until there are `draws`."""
    return values[:, torch.arange(draws, device=values.device) % values.shape[1]]
