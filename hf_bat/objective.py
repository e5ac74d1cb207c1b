"""The training objective for one micro-batch: stack the versions, run the model once, compute means.

`count_items` computes the divisors of the means over an accumulation window. `run_forward` runs the
model on the anchors and their valid versions, a `hf_bat.methods.Method` turns the resulting
`Forward` into `Term`s, and `BalancedTrainer.compute_loss` adds them up with `mean_over`. `LossMeter`
averages the components for the log.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler
from datasets import Dataset
from torch import nn

from hf_bat.device import cast_to_double, get_double_dtype
from hf_bat.errors import HfBatError, check_choice
from hf_bat.losses import pair_distance
from hf_bat.pooling import run_with_vectors

# Number of sequences per pass when the work is split. It is small so that a long sequence pads few
# others.
CHUNK_SIZE = 16
KINDS = ("fickle", "obstinate")
# Counterfactual versions have their own labels, and no distance to the anchor is measured.
VERSIONS = (*KINDS, "counterfactual")

Batch = Mapping[str, torch.Tensor]


class Term(NamedTuple):
    """One component of the loss.

    Args:
        total: Scalar sum over the micro-batch.
        over: Name of the count used as the divisor of the mean, such as `"fickle"`. See
            `count_items`.
        weight: Weight of the mean in the loss. If `None`, the component is only logged.
    """

    total: torch.Tensor
    over: str
    weight: float | None


class Distances(NamedTuple):
    """Distances of anchors to their versions: `values` (B, D), set to zero where `mask` (B, D) is false."""

    values: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class Versions:
    """The model's outputs for the P valid versions of one kind. Each of the B anchors has D draws.

    Args:
        owners: Index of each version's anchor, shape (P,).
        mask: Mask of the valid draws, shape (B, D). The P valid draws are in row-major order.
        logits: Logits, shape (P, labels).
        vectors: Representations, shape (P, H). `None` if the method does not need them.
        passes: Whether each version passes the label filter, shape (P,). `None` without a filter.
        labels: The versions' own labels, shape (P,). The value -1 - k means "any label but k".
            `None` if the versions have the labels of their anchors.
        rules: Indices into `hf_bat.counterfactual.RULES`, shape (P,). `None` without rules.
    """

    owners: torch.Tensor
    mask: torch.Tensor
    logits: torch.Tensor
    vectors: torch.Tensor | None
    passes: torch.Tensor | None
    labels: torch.Tensor | None = None
    rules: torch.Tensor | None = None


@dataclass(frozen=True)
class Forward:
    """The model's outputs for B anchors and their valid versions.

    Args:
        logits: The anchors' logits, shape (B, labels).
        labels: The anchors' labels, shape (B,). `None` for batches without labels.
        vectors: The anchors' representations, shape (B, H). `None` if the method does not need
            them.
        versions: Dict of kind (`"fickle"`, `"obstinate"`) -> `Versions`. Empty in a clean epoch.
    """

    logits: torch.Tensor
    labels: torch.Tensor | None
    vectors: torch.Tensor | None
    versions: Mapping[str, Versions]

    def measure_distances(self, kind: str, distance: str = "cosine") -> Distances:
        """Compute the distances of each anchor to its versions of one kind, with `pair_distance`."""
        versions = self.versions[kind]
        assert self.vectors is not None and versions.vectors is not None
        values = pair_distance(self.vectors[versions.owners], versions.vectors, distance)
        # The mask selects in row-major order, which is also the order of the versions.
        table = torch.zeros(versions.mask.shape, dtype=values.dtype, device=values.device)
        return Distances(table.masked_scatter(versions.mask, values), versions.mask)


class FillerBatch(dict[str, Any]):
    """A batch of one repeated row. Ranks without rows in the step use it.

    It does not contribute to the loss, the gradient or the logged means. Its label is -100.
    """

    def with_labels(self) -> dict[str, Any]:
        """Return the batch with a label that losses can read."""
        return {**self, "labels": torch.zeros_like(self["labels"])}


def drop_repeated_rows(batches: Iterable[Any], accelerator: Accelerator) -> Iterator[Any]:
    """Yield batches without the rows that were repeated to give all ranks the same number of batches."""
    for batch in batches:
        size = len(batch["labels"]) if "labels" in batch else 0
        kept = count_new_rows(size, accelerator)
        if kept == size:
            yield batch
            continue
        cut = {name: values[: max(kept, 1)] for name, values in batch.items()}
        # Trainer does not count rows with this label for a custom loss.
        ignored = torch.full_like(cut["labels"], -100)
        yield cut if kept else FillerBatch({**cut, "labels": ignored})


def count_new_rows(size: int, accelerator: Accelerator) -> int:
    """Count the rows that are not repeated in the batch of `size` rows that was just loaded.

    Repeated rows come last: accelerate fills the last batches of all ranks with rows from the start
    of the data.
    """
    state = accelerator.gradient_state
    if accelerator.num_processes == 1 or not size or not state.end_of_dataloader:
        return size
    sampler = state.active_dataloader.batch_sampler
    # The loader of a resumed run wraps the sampler to skip batches.
    sampler = sampler.batch_sampler if isinstance(sampler, SkipBatchSampler) else sampler
    is_shard = isinstance(sampler, BatchSamplerShard) and sampler.num_processes > 1
    if not is_shard or not sampler.even_batches or sampler.drop_last:
        return size
    rows = len(state.active_dataloader.dataset) % (size * sampler.num_processes)
    return min(max(rows - size * sampler.process_index, 0), size) if rows else size


def select_anchor_inputs(batch: Batch) -> dict[str, torch.Tensor]:
    """Return the model's inputs for the anchors, without labels, `idx` and versions."""
    left_out = ("labels", "idx", *(f"{kind}_" for kind in VERSIONS))
    return {key: value for key, value in batch.items() if not key.startswith(left_out)}


def stack_versions(batch: Batch, tokenizer: Any) -> dict[str, torch.Tensor]:
    """Stack the model's inputs for the anchors and their valid versions."""
    pads = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    stacked = {}
    for key, anchors in select_anchor_inputs(batch).items():
        groups = [anchors]
        for kind in VERSIONS:
            if f"{kind}_{key}" in batch:
                groups.append(batch[f"{kind}_{key}"][batch[f"{kind}_mask"]])
        width = max(group.shape[1] for group in groups)
        fill = pads.get(key, 0)
        stacked[key] = torch.cat(
            [_widen(group, width, fill, tokenizer.padding_side) for group in groups]
        )
    return stacked


def run_forward(
    model: nn.Module,
    batch: Batch,
    tokenizer: Any = None,
    pooling: str | None = None,
    anchors_only: bool = False,
    chunk_size: int | None = None,
    is_cached: bool = False,
    width_multiple: int = 1,
) -> Forward:
    """Run the model on the anchors of a batch and their valid versions.

    Args:
        model: The sequence classifier.
        batch: A batch from the collator.
        tokenizer: The tokenizer, which determines the padding.
        pooling: Pooling of the representations; see `run_with_vectors`. If `None`, representations
            are not computed.
        anchors_only: Whether to leave out the versions. Defaults to `False`.
        chunk_size: Number of sequences per pass. With padding on the right, sequences of similar length
            are put in the same pass. If `None`, all sequences are in one pass.
        is_cached: Whether to keep the activations of only one pass in memory, and repeat each pass in
            the backward pass. Defaults to `False`.
        width_multiple: Round the width of each pass up to a multiple of this number. Defaults to 1.
    """
    labels = batch.get("labels")
    masks = {kind: batch[f"{kind}_mask"] for kind in VERSIONS if f"{kind}_input_ids" in batch}
    if anchors_only or not masks:
        return Forward(model(**select_anchor_inputs(batch)).logits, labels, None, {})
    # Everything runs in one stacked pass. DDP then synchronizes once, and repeated passes of models
    # with buffers would raise an in-place error under DDP.
    inputs = stack_versions(batch, tokenizer)
    owners = [mask.nonzero()[:, 0] for mask in masks.values()]
    sizes = [len(batch["input_ids"]), *map(len, owners)]
    # Some models number positions by column, so columns of left padding must not be removed.
    is_sorted = tokenizer.padding_side != "left"
    if chunk_size is None or not (is_sorted or is_cached):
        all_logits, all_vectors = _run_pass(model, inputs, pooling)
    else:
        chunks, back = _make_chunks(inputs, chunk_size, is_sorted, width_multiple)
        if is_cached and torch.is_grad_enabled() and len(chunks) > 1:
            outputs = _Cached.apply(_needs_gradient(), model, chunks, pooling)
        else:
            outputs = _join([_run_pass(model, chunk, pooling) for chunk in chunks])
        all_logits, all_vectors = (*(part[back] for part in outputs), None)[:2]
    vectors: Sequence[torch.Tensor | None] = [None] * len(sizes)
    if all_vectors is not None:
        vectors = all_vectors.split(sizes)
    # The versions follow the anchors in the order of `VERSIONS`, as they were stacked.
    logits = all_logits.split(sizes)
    versions = {}
    for i, (kind, mask) in enumerate(masks.items()):
        parts = (batch.get(f"{kind}_{part}") for part in ("passes", "labels", "rules"))
        chosen = [None if part is None else part[mask] for part in parts]
        versions[kind] = Versions(owners[i], mask, logits[i + 1], vectors[i + 1], *chosen)
    return Forward(logits[0], labels, vectors[0], versions)


def _run_pass(
    model: nn.Module, inputs: dict[str, torch.Tensor], pooling: str | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Run the model once. Return the logits and, with a pooling, the representations."""
    if pooling is None:
        return model(**inputs).logits, None
    outputs, vectors = run_with_vectors(model, inputs, pooling)
    return outputs.logits, vectors


def _make_chunks(
    inputs: dict[str, torch.Tensor], size: int, is_sorted: bool, multiple: int
) -> tuple[list[dict[str, torch.Tensor]], torch.Tensor]:
    """Split rows into chunks. Return them with the index that restores the order of the rows.

    With `is_sorted`, rows of similar length share a chunk, and columns that contain only padding
    are cut off.
    """
    lengths = inputs["attention_mask"].sum(1)
    order = lengths.argsort(stable=True) if is_sorted else torch.arange(len(lengths))
    chunks = []
    for rows in order.split(size):
        width = -(-int(lengths[rows[-1]]) // multiple) * multiple if is_sorted else None
        chunks.append({key: values[rows, :width] for key, values in inputs.items()})
    return chunks, order.argsort()


def _join(
    passes: Sequence[tuple[torch.Tensor, torch.Tensor | None]],
) -> tuple[torch.Tensor, ...]:
    """Concatenate the logits of several passes, and their vectors if available."""
    logits, vectors = zip(*passes, strict=True)
    return (torch.cat(logits),) if vectors[0] is None else (torch.cat(logits), torch.cat(vectors))


def _needs_gradient() -> torch.Tensor:
    """Return a scalar that requires a gradient. Some functions have no other input that does."""
    return torch.zeros((), requires_grad=True)


class _Cached(torch.autograd.Function):
    """Logits and vectors of all chunks, computed with the activations of only one chunk in memory.

    The forward pass does not build a graph. The backward pass repeats the forward pass of each chunk
    with the same random numbers, and then propagates the gradient of its outputs.

    Source:
        Gradient caching: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited
        Setup", RepL4NLP 2021.
    """

    @staticmethod
    def forward(ctx: Any, _: torch.Tensor, model: Any, chunks: Any, pooling: str | None) -> Any:
        device = next(iter(chunks[0].values())).device
        ctx.model, ctx.chunks, ctx.pooling, ctx.device = model, chunks, pooling, device
        enabled = torch.is_autocast_enabled(device.type)
        ctx.autocast = (device.type, torch.get_autocast_dtype(device.type), enabled)
        ctx.states, passes = [], []
        for chunk in chunks:
            ctx.states.append(_get_random_states(device))
            passes.append(_run_pass(model, chunk, pooling))
        return _join(passes)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        after = _get_random_states(ctx.device)
        sizes = [len(next(iter(chunk.values()))) for chunk in ctx.chunks]
        by_chunk = zip(*(gradient.split(sizes) for gradient in gradients), strict=True)
        for i, parts in enumerate(by_chunk):
            # DDP synchronizes the gradients only once, after the last chunk.
            is_last = i == len(sizes) - 1
            wait = nullcontext if is_last else getattr(ctx.model, "no_sync", nullcontext)
            _set_random_states(ctx.device, ctx.states[i])
            with wait(), torch.enable_grad(), torch.autocast(*ctx.autocast):
                outputs = _join([_run_pass(ctx.model, ctx.chunks[i], ctx.pooling)])
                torch.autograd.backward(outputs, parts)
        _set_random_states(ctx.device, after)
        return None, None, None, None


def _get_random_states(device: torch.device) -> list[torch.Tensor]:
    states = [torch.get_rng_state()]
    return states + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])


def _set_random_states(device: torch.device, states: Sequence[torch.Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)


def count_items(
    batch: Batch, mask: str = "paper", class_weights: Sequence[float] | None = None
) -> dict[str, torch.Tensor]:
    """Compute the divisors of the means over an accumulation window.

    Returns:
        Dict of name -> scalar: `"rows"` (or the sum of their class weights), `"fickle"` and
        `"obstinate"` (valid pairs), `"triplets"` (triplets that are counted) and `"fickle_rows"`
        (valid fickle versions, or the sum of their class weights).
    """
    labels = batch["labels"]
    weights = torch.ones_like(labels)
    if class_weights is not None:
        weights = torch.tensor(class_weights, device=labels.device)[labels]
    # Each batch has all names, because all ranks must reduce the same counts.
    zero = torch.zeros((), device=labels.device)
    counts = dict.fromkeys(
        ("rows", *KINDS, "triplets", "fickle_rows", "counterfactual", "counterfactual_rows"), zero
    )
    counts["rows"] = weights.sum()
    masks = {kind: batch[f"{kind}_mask"] for kind in KINDS if f"{kind}_mask" in batch}
    counts |= {kind: valid.sum() for kind, valid in masks.items()}
    if "fickle" in masks:
        counts["fickle_rows"] = (weights * masks["fickle"].sum(1)).sum()
    if "counterfactual_mask" in batch:
        mask_c = batch["counterfactual_mask"]
        counts["counterfactual"] = mask_c.sum()
        of_labels = torch.ones_like(mask_c, dtype=weights.dtype)
        if class_weights is not None:
            own = batch["counterfactual_labels"]
            by_label = torch.tensor(class_weights, device=labels.device)[own.clamp(0)]
            # If only the excluded label of a pair is known, its weight is 1.
            of_labels = torch.where(own < 0, 1, by_label)
        counts["counterfactual_rows"] = (of_labels * mask_c).sum()
    if len(masks) == len(KINDS):
        draws = max(valid.shape[1] for valid in masks.values())
        either = tile_draws(masks["fickle"], draws) | tile_draws(masks["obstinate"], draws)
        counts["triplets"] = zero + either.numel() if mask == "authors" else either.sum()
    return {name: count.float() for name, count in counts.items()}


def compute_mean_weight(rows: Any, weights: Sequence[float] | None) -> float | None:
    """Compute the mean class weight of rows; `None` without weights or without readable labels."""
    if weights is None or not isinstance(rows, Dataset):
        return None
    # The collators of transformers accept both names.
    column = next((name for name in ("labels", "label") if name in rows.column_names), None)
    labels = rows.with_format(None)[column][:] if column else []
    if not labels or not all(label in range(len(weights)) for label in labels):
        return None
    return sum(weights[label] for label in labels) / len(labels)


def mean_over(total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Divide a sum by a count. If the count is 0, return 0 with a gradient of 0."""
    # With label smoothing, the sum may differ from 0 even if all class weights are 0.
    return torch.where(count > 0, total, 0 * total) / torch.where(count > 0, count, 1)


def tile_draws(values: torch.Tensor, draws: int) -> torch.Tensor:
    """Repeat the columns of a tensor (B, D) cyclically up to `draws` columns."""
    return values[:, torch.arange(draws, device=values.device) % values.shape[1]]


def check_labels(batch: Batch, num_labels: int) -> None:
    """Check the labels of a tokenized batch. Raw rows are checked when they are prepared."""
    labels = batch["labels"]
    # This includes -100, because the means would count these rows although PyTorch's losses ignore
    # them.
    wrong = labels[(labels < 0) | (labels >= num_labels)]
    if len(wrong):
        raise HfBatError(
            f"label {int(wrong[0])} is not one of the model's labels 0..{num_labels - 1}: "
            "remove rows without a label"
        )


def check_terms(terms: Mapping[str, Term], counts: Collection[str]) -> None:
    """Check that a custom method's terms use known counts and do not reuse the cross-entropy's name."""
    if "loss_ce" in terms:
        raise HfBatError(
            "the method's term 'loss_ce' has the same name as the cross-entropy on the anchors: rename it"
        )
    for name, term in terms.items():
        check_choice(f"count of the term {name!r}:", term.over, counts)


def check_finite(
    value: Any, name: str, step: int, sums: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Stop the run if the loss or the gradient's norm is not finite, before the weights change.

    `step` counts optimizer steps from 1. `sums` are the sums of the loss components over the
    micro-batch.
    """
    if value is None:
        return
    number = value.item() if isinstance(value, torch.Tensor) else float(value)
    if math.isfinite(number):
        return
    parts = "".join(f"; {part} {total.item():.4g}" for part, total in (sums or {}).items())
    raise HfBatError(
        f"the {name} is not finite at step {step} ({number:.4g}{parts}): the run was stopped before the "
        "weights changed, and the last checkpoint is intact; lower the learning rate or look for broken "
        "rows"
    )


class LossMeter:
    """Sums and counts of the loss components since the last log.

    Sums and counts are added up over micro-batches and ranks before they are divided, so batches with
    few valid pairs have little weight. Ranks only communicate in `take_means`.
    """

    def __init__(self) -> None:
        self._totals: dict[str, torch.Tensor] = {}

    def add(self, name: str, total: torch.Tensor, count: torch.Tensor) -> None:
        """Add the scalar sum and count of a micro-batch. Both are detached."""
        pair = torch.stack([cast_to_double(total.detach()), cast_to_double(count.detach())])
        # On devices without float64 (MPS), sums over thousands of rows would lose precision.
        if get_double_dtype(pair.device) != torch.float64:
            pair = pair.cpu()
        start = torch.zeros(2, dtype=torch.float64, device=pair.device)
        self._totals[name] = self._totals.get(name, start) + pair

    def add_batch(self, terms: Mapping[str, Term], counts: Batch, batch: Batch) -> None:
        """Add the components of a micro-batch and its shares of valid draws."""
        for name, term in terms.items():
            self.add(name, term.total, counts[term.over])
        for kind in VERSIONS:
            if f"{kind}_mask" in batch:
                mask = batch[f"{kind}_mask"]
                draws = torch.tensor(float(mask.numel()), device=mask.device)
                self.add(f"{kind}_valid", mask.sum(), draws)

    def take_means(
        self,
        gather_names: Callable[[list[str]], Sequence[str]],
        reduce: Callable[[torch.Tensor], torch.Tensor],
    ) -> dict[str, float]:
        """Return the means over all ranks, and reset the meter.

        Args:
            gather_names: Function that gathers the names of all ranks, in rank order.
            reduce: Function that sums a tensor (components, 2) over ranks. Every rank must call
                both functions.
        """
        totals, self._totals = self._totals, {}
        names = list(dict.fromkeys(gather_names(list(totals))))
        if not names:
            return {}
        # Other ranks may have components that are missing on this rank.
        nothing = torch.zeros(2, dtype=torch.float64)
        table = torch.stack([totals.get(name, nothing).cpu() for name in names])
        return {
            name: total / count
            for name, (total, count) in zip(names, reduce(table).tolist(), strict=True)
            if count
        }


def summarize_distances(drawn: Mapping[str, Sequence[torch.Tensor]]) -> dict[str, float]:
    """Compute the mean distance and the share of valid draws by kind. Invalid draws are NaN."""
    metrics = {}
    for kind, batches in drawn.items():
        distances = torch.cat(list(batches))
        valid = distances[~distances.isnan()]
        if len(valid):
            metrics[f"{kind}_distance"] = valid.mean().item()
        metrics[f"{kind}_valid"] = len(valid) / len(distances)
    return metrics


def _widen(rows: torch.Tensor, width: int, fill: int, side: str) -> torch.Tensor:
    missing = width - rows.shape[1]
    if not missing:
        return rows
    return nn.functional.pad(
        rows, (missing, 0) if side == "left" else (0, missing), value=float(fill)
    )
