"""The loss of a training step, its gradient's guard and its components: what trains, of `BalancedTrainer`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from torch import nn
from transformers import TrainerCallback
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_bat.collator import PerturbationCollator
from hf_bat.components import ComponentMeter
from hf_bat.device import disable_cudnn_attention, get_double_dtype
from hf_bat.hub_trainer import HubTrainer
from hf_bat.method_checks import check_epochs
from hf_bat.methods import CONTRASTIVE_METHODS, TRIPLET_MARGIN, WEIGHTS
from hf_bat.objective import (
    CE,
    KINDS,
    Forward,
    Part,
    anchor_inputs,
    check_finite,
    check_gradient,
    check_labels,
    contrastive_parts,
    count_items,
    has_versions,
    likelihood_parts,
    mean_over,
    measure_distances,
    row_names,
    stack_versions,
)
from hf_bat.pooling import default_pooling, is_decoder, run_with_vectors, warn_frozen_head

# Warnings are said in the name of the trainer that users know.
logger = logging.getLogger("hf_bat.trainer")

# What a training log may hold beside the Trainer's own `loss`.
COMPONENTS = (
    "loss_ce",
    "loss_ce_fickle",
    "loss_fickle",
    "loss_obstinate",
    "loss_triplet",
    "fickle_distance",
    "obstinate_distance",
    "label_drop",
    "fickle_valid",
    "obstinate_valid",
)


class ObjectiveTrainer(HubTrainer):
    """The part of `BalancedTrainer` that trains; for its arguments see there."""

    # compute_loss normalises over the whole window, so that the Trainer must not divide again.
    loss_is_scaled_for_ga = True

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # The loss is computed here, from logits; the model's own would be of unknown normalisation.
        self.model_accepts_loss_kwargs = False
        if self.args.pooling == "cls" and is_decoder(self.model):
            logger.warning(
                "pooling='cls' is the first token, which in a decoder sees none of the text after it; "
                "'last' (the default here), 'mean' or 'head_input' see all of it"
            )
        warn_frozen_head(self.model)
        self._window: torch.Tensor | None = None
        # What `check_gradient` names: the window's rows, and its sums so far of the loss's components.
        self._window_rows: list[torch.Tensor] = []
        self._window_sums: dict[str, torch.Tensor] = {}
        self._steps_per_epoch = 1
        # Of the rows under evaluation, of which the Trainer averages the batches' losses by their sizes.
        self._mean_class_weight: float | None = None
        self._components = ComponentMeter(COMPONENTS)
        self.add_callback(_EpochCallback(self))

    # ---- the loss -----------------------------------------------------------------------------

    def set_initial_training_values(self, *args: Any, **kwargs: Any) -> Any:
        values = super().set_initial_training_values(*args, **kwargs)
        self._steps_per_epoch, max_steps = values[1], values[-1]
        self._check_clean_epochs(max_steps)
        return values

    def _check_clean_epochs(self, max_steps: int) -> None:
        """Refuse a run whose epochs are all clean; warn of one that `max_steps` cuts short in them.

        A run that resumes counts from its start, and a warm-up of the weights is above 0 from its first
        step: neither makes a clean run of one that has a perturbed epoch.
        """
        args, collator = self.args, self.data_collator
        if args.method == "normal" or not isinstance(collator, PerturbationCollator):
            return
        clean = collator.clean_epochs
        check_epochs(
            args, clean, " of your data_collator" if collator is self._own_collator else ""
        )
        if 0 < max_steps <= clean * self._steps_per_epoch:
            logger.warning(
                "max_steps=%d ends inside clean_epochs=%d (%d steps an epoch): this run trains as "
                "method='normal', and never as %r",
                max_steps,
                clean,
                self._steps_per_epoch,
                args.method,
            )

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Take an accumulation window's batches and count what its means divide by, on all ranks."""
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if batches and "labels" in batches[0]:
            if self.task is None and self.compute_loss_func is None:
                for batch in batches:
                    check_labels(batch, self.model.config.num_labels)
            counts = torch.stack([self._count(batch) for batch in batches]).sum(0)
            self._window = self.accelerator.reduce(counts.to(device), reduction="sum")
            self._window_rows, self._window_sums = [row_names(batch) for batch in batches], {}
        return batches, num_items

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The Trainer's; attention on a GPU costs the same for each shape of a batch."""
        # Around the backward pass too: gradient checkpointing runs the forward one again in it.
        with disable_cudnn_attention():
            return super().training_step(*args, **kwargs)

    def _count(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return count_items(batch, self.args.mask, self._class_weights(batch["labels"].device))

    def _class_weights(self, device: torch.device) -> torch.Tensor | None:
        weights = self.args.class_weights
        return (
            None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)
        )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The loss of one micro-batch, scaled so that a window's sum over micro-batches is its mean.

        Args:
            model: the wrapped model.
            inputs: a batch of `PerturbationCollator`, or a tokenised one with `labels`.
            return_outputs: return the anchors' logits too.
            num_items_in_batch: handed to `compute_loss_func`, which divides by it.

        Returns:
            The loss, a scalar; with `return_outputs`, also an output with `logits` (B, labels).
        """
        counts = self._count(inputs)
        forward = self._forward(model, inputs, self._measures_distances)
        logits = forward.logits[: len(inputs["input_ids"])]
        window, ranks = counts, 1
        if model.training and self._window is not None:
            window, ranks = self._window.to(logits.device), self.accelerator.num_processes
        elif self._mean_class_weight is not None:
            window = counts.clone()
            window[CE] = len(logits) * self._mean_class_weight
        parts = self._version_parts(forward, inputs)
        loss = torch.zeros((), device=logits.device)
        if self.compute_loss_func is None:
            parts["loss_ce"] = Part(self._cross_entropy(logits, inputs["labels"]), CE, 1.0)
        else:
            loss = self._users_loss(logits, inputs["labels"], num_items_in_batch)
        scale = self._version_scale()
        for name, part in parts.items():
            if part.weight is not None:
                weight = part.weight * (1.0 if name == "loss_ce" else scale)
                loss = loss + weight * mean_over(part.total, window[part.over]) * ranks
        if model.training:
            check_finite(loss, parts, forward, inputs, self.state.global_step + 1)
            self._note_components(parts, counts, inputs)
        return (loss, SequenceClassifierOutput(logits=logits)) if return_outputs else loss

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """The Trainer's; a loss with class weights is that of all rows, whatever the batch size."""
        self._mean_class_weight = self._class_weight_of(dataloader.dataset)
        try:
            with disable_cudnn_attention():
                return super().evaluation_loop(dataloader, *args, **kwargs)
        finally:
            self._mean_class_weight = None

    def _class_weight_of(self, rows: Any) -> float | None:
        """The mean class weight of rows; None without weights, or where the labels cannot be looked up."""
        weights = self.args.class_weights
        if weights is None or not isinstance(rows, Dataset):
            return None
        column = next((name for name in ("labels", "label") if name in rows.column_names), None)
        labels = () if column is None else rows.with_format(None)[column]
        found = [weights[label] for label in labels if label in range(len(weights))]
        return sum(found) / len(found) if found and len(found) == len(labels) else None

    @property
    def _measures_distances(self) -> bool:
        """Whether the loss needs representations."""
        return self.args.method in CONTRASTIVE_METHODS or bool(self.args.contrastive_weight)

    def _forward(
        self, model: nn.Module, inputs: Mapping[str, torch.Tensor], with_vectors: bool
    ) -> Forward:
        """One forward pass over the anchors and, where there are any, their valid versions."""
        # Of "normal" they can only come from a user's collator.
        if not has_versions(inputs) or (self.args.method == "normal" and not with_vectors):
            return Forward(model(**anchor_inputs(inputs)).logits, {}, None)
        tokenizer = self.processing_class
        pads = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
        batch, owners = stack_versions(inputs, pads, tokenizer.padding_side)
        if not with_vectors:
            return Forward(model(**batch).logits, owners, None)
        pooling = self.args.pooling or default_pooling(model)
        outputs, vectors = run_with_vectors(model, batch, pooling)
        return Forward(outputs.logits, owners, vectors)

    def _version_parts(
        self, forward: Forward, inputs: Mapping[str, torch.Tensor]
    ) -> dict[str, Part]:
        """The components of the loss that the perturbed versions give."""
        parts: dict[str, Part] = {}
        if not forward.owners:
            return parts
        method, weights = self.args.method, {name: getattr(self.args, name) for name in WEIGHTS}
        if method == "a2t":  # whose adversarial rows are fickle versions
            weights["alpha"] = weights["adversarial_weight"]
        if method in ("a2t", "likelihood"):
            parts |= likelihood_parts(weights, forward, inputs, self._cross_entropy)
            method, weights["margin"] = "triplet", TRIPLET_MARGIN
        if forward.vectors is not None:
            distances = measure_distances(
                forward.vectors, forward.owners, inputs, self.args.distance
            )
            parts |= contrastive_parts(method, weights, self.args.mask, distances)
        return parts

    def _cross_entropy(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(
            logits.float(),
            labels,
            weight=self._class_weights(logits.device),
            reduction="sum",
            label_smoothing=self.args.label_smoothing_factor,
        )

    def _users_loss(
        self, logits: torch.Tensor, labels: torch.Tensor, num_items: Any
    ) -> torch.Tensor:
        outputs = SequenceClassifierOutput(logits=logits)
        loss = self.compute_loss_func(outputs, labels, num_items_in_batch=num_items)
        if self.args.average_tokens_across_devices and num_items is not None:
            # The count is of all ranks, and the gradients are averaged over them afterwards.
            loss = loss * self.accelerator.num_processes
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """What the Trainer logs as `grad_norm`; the run stops here where that is no finite number.

        It is called after clipping and before the optimizer's step, with a norm that is the same on all
        ranks: they stop together, and no pass over the parameters is needed.
        """
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if not self._skips_bad_steps:
            ranks = self.accelerator.num_processes
            process = f" of process {self.args.process_index} of {ranks}" if ranks > 1 else ""
            step = self.state.global_step + 1
            check_gradient(norm, self._window_sums, self._window_rows, step, process)
        return norm

    @property
    def _skips_bad_steps(self) -> bool:
        """Whether a gradient that is not finite is looked after: fp16's scaler skips the step and lowers
        its scale, and DeepSpeed has made or skipped the step by itself when its norm is read."""
        scaler = self.accelerator.scaler
        return self.is_deepspeed_enabled or (scaler is not None and scaler.is_enabled())

    def _version_scale(self) -> float:
        """Where the warm-up of the weights of perturbed versions stands, 0..1."""
        steps = self.args.weight_warmup_steps
        if steps < 1:
            steps = steps * self.state.max_steps
        if steps == 0:
            return 1.0
        clean = getattr(self.data_collator, "clean_epochs", 0)
        done = self.state.global_step + 1 - clean * self._steps_per_epoch
        return min(1.0, max(0.0, done / steps))

    # ---- logs and metrics ---------------------------------------------------------------------

    def _note_components(
        self, parts: Mapping[str, Part], counts: torch.Tensor, inputs: Mapping[str, torch.Tensor]
    ) -> None:
        for name, part in parts.items():
            self._components.add(name, part.total, counts[part.over])
            self._window_sums[name] = self._window_sums.get(name, 0.0) + part.total.detach()
        for kind in KINDS:
            mask = inputs.get(f"{kind}_mask")
            if mask is not None:
                drawn = torch.tensor(float(mask.numel()), device=mask.device)
                self._components.add(f"{kind}_valid", mask.sum(), drawn)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the components' means to a training log; all else is left as it is."""
        if "loss" in logs:
            means = self._components.means(self._sum_over_ranks)
            logs = {**logs, **{name: round(value, 6) for name, value in means.items()}}
        super().log(logs, start_time)

    def _sum_over_ranks(self, totals: torch.Tensor) -> torch.Tensor:
        device = self.args.device
        return self.accelerator.reduce(
            totals.to(device, get_double_dtype(device)), reduction="sum"
        ).cpu()


class _EpochCallback(TrainerCallback):
    """Starts the components' means anew with a run, and tells the collator whose draws to make.

    A run that resumes inside an epoch goes on with that epoch's draws.
    """

    def __init__(self, trainer: ObjectiveTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # What an earlier run left unlogged is no part of this one.
        self.trainer._components = ComponentMeter(COMPONENTS)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if isinstance(self.trainer.data_collator, PerturbationCollator):
            self.trainer.data_collator.set_epoch(int(state.epoch or 0))
