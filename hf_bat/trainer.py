"""`BalancedTrainer`: a `transformers.Trainer` that trains on anchor, fickle and obstinate inputs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn
from transformers import TrainerCallback
from transformers.modeling_outputs import SequenceClassifierOutput

from hf_bat.adversarial import AdversarialCallback, adversarial_folder
from hf_bat.collator import PerturbationCollator
from hf_bat.components import ComponentMeter
from hf_bat.errors import HfBatError
from hf_bat.hub_trainer import HubTrainer
from hf_bat.labels import label_map
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
from hf_bat.pooling import Representation, default_pooling, is_decoder, warn_frozen_head
from hf_bat.precision import double_type
from hf_bat.preview import Preview
from hf_bat.robustness import (
    RobustnessMeter,
    attacks_now,
    note_missing,
    robustness_objective,
)
from hf_bat.saved_perturbations import save_perturbations

logger = logging.getLogger(__name__)

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


class BalancedTrainer(HubTrainer):
    """Drop-in `Trainer` for Balanced Adversarial Training (paper, section 4.1).

    Each training step makes one forward pass over the anchors and their valid fickle and obstinate
    versions, and adds the method's contrastive term to the cross-entropy on the anchors. Means are
    taken over the whole accumulation window and all ranks, so that 16 x 1, 4 x 4 and two ranks of 8
    give one gradient. Evaluation and prediction see unperturbed inputs and return logits alone.

    Args:
        model: a single-label sequence classifier; or give `model_init`.
        args: `BalancedTrainingArguments`.
        data_collator: a `PerturbationCollator` of your own; made from the rest where None.
        train_dataset: raw rows (`datasets.Dataset`, list of dicts): text columns, label, maybe `idx`.
        eval_dataset: the same, or a dict of them.
        processing_class: the tokenizer.
        task: a task's name or a `Task`. Without it the data must be tokenised, the method `normal`.
        synonyms: a `SubstitutionTable`, a mapping or the path of one; the bundled lexicon's where None.
        antonyms: likewise.
        **kwargs: all else that `Trainer` takes.

    Raises:
        HfBatError: what the data, the model or the options cannot do together, in one line.

    Example:
        >>> trainer = BalancedTrainer(
        ...     model=model, args=BalancedTrainingArguments("out", method="triplet"),
        ...     train_dataset=train, eval_dataset=dev, processing_class=tokenizer, task="snli",
        ... )  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
    """

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
        self._components = ComponentMeter(COMPONENTS)
        #: Attacks at evaluation, and keeps their last reports; None where none is asked for.
        self.meter = self._make_meter()
        self.add_callback(_EpochCallback(self))
        #: Attacks training rows for the method "a2t".
        self.adversary = AdversarialCallback(self)
        self.add_callback(self.adversary)

    # ---- the loss -----------------------------------------------------------------------------

    def set_initial_training_values(self, *args: Any, **kwargs: Any) -> Any:
        values = super().set_initial_training_values(*args, **kwargs)
        self._steps_per_epoch = values[1]
        return values

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
        representation = Representation(self.args.pooling or default_pooling(model))
        with representation.watch(model):
            outputs = model(**batch, output_hidden_states=representation.needs_hidden_states)
        return Forward(outputs.logits, owners, representation(outputs, batch["attention_mask"]))

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
        done = self.state.global_step + 1 - self.args.clean_epochs * self._steps_per_epoch
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
            totals.to(device, double_type(device)), reduction="sum"
        ).cpu()

    def evaluation_loop(self, dataloader: Any, description: str, *args: Any, **kwargs: Any) -> Any:
        output = super().evaluation_loop(dataloader, description, *args, **kwargs)
        prefix = kwargs.get("metric_key_prefix", "eval")
        if self.args.eval_distances and self.task is not None and description != "Prediction":
            for name, value in self.perturbation_distances(dataloader.dataset).items():
                output.metrics[f"{prefix}_{name}"] = value
        if (
            self.meter is not None
            and description != "Prediction"
            and attacks_now(self.args.attack_every, self.state, self.is_in_train)
        ):
            accuracy = output.metrics.get(f"{prefix}_accuracy")
            rows = dataloader.dataset
            output.metrics.update(self.meter.measure(self.model, rows, prefix, accuracy))
            note_missing(output.metrics, self.args.metric_for_best_model)
        return output

    def _make_meter(self) -> RobustnessMeter | None:
        """What attacks at evaluation, from the arguments; None where no attack is asked for."""
        args = self.args
        if not args.attacks:
            return None
        if self.task is None:
            raise HfBatError("attacks need raw text: give the trainer a task=")
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise HfBatError(
                "attacks at evaluation need the whole model on each rank, which FSDP and DeepSpeed "
                "do not keep: attack the saved model with `hf-bat attack`"
            )
        return RobustnessMeter(
            args.attacks,
            self.task,
            self.processing_class,
            max_samples=args.max_attack_samples,
            batch_size=args.eval_batch_size,
            dtype="bfloat16" if args.bf16 else "float16" if args.fp16 else "float32",
            max_length=args.max_seq_length,
            synonyms=self._synonyms,
            antonyms=self._antonyms,
            label_filter=args.attack_label_filter,
            canonicalizer=self.canonicalizer,
        )

    def perturbation_distances(self, rows: Any) -> dict[str, float]:
        """Mean distance of rows to one fickle and one obstinate draw each, dropout off.

        Args:
            rows: raw rows, as for `evaluate`.

        Returns:
            `fickle_distance`, `obstinate_distance` (means over the rows that have a valid draw) and
            `fickle_valid`, `obstinate_valid` (the share of rows that have one), over all ranks.
        """
        loader = self.get_perturbed_dataloader(rows)
        model = self.model_wrapped
        was_training = model.training
        model.eval()
        found: dict[str, list[torch.Tensor]] = {kind: [] for kind in KINDS}
        for batch in loader:
            with torch.no_grad(), self.accelerator.autocast():
                inputs = self._prepare_inputs(batch)
                forward = self._forward(model, inputs, with_vectors=True)
            if forward.vectors is None:
                continue
            distances = measure_distances(
                forward.vectors, forward.owners, inputs, self.args.distance
            )
            for kind, (values, mask) in distances.items():
                values = values[:, 0].masked_fill(~mask[:, 0], float("nan"))
                found[kind].append(self.accelerator.gather_for_metrics(values).cpu())
        model.train(was_training)
        metrics = {}
        for kind, gathered in found.items():
            values = torch.cat(gathered)
            valid = values[~values.isnan()]
            if len(valid):
                metrics[f"{kind}_distance"] = valid.mean().item()
            metrics[f"{kind}_valid"] = len(valid) / len(values)
        return metrics

    # ---- what a user asks for -----------------------------------------------------------------

    def preview(self, n: int = 10, rows: Any = None) -> Preview:
        """Look at rows with the perturbed versions that the first perturbed epoch will draw.

        Args:
            n: how many rows to show.
            rows: raw rows; the training set where None.

        Returns:
            A `Preview`: `print` it to see the rows, words marked, and the share that has each kind.
        """
        if self.task is None:
            raise HfBatError("preview needs raw text: give the trainer a task=")
        if self.args.method == "a2t":
            raise HfBatError(
                "the versions of method='a2t' are found when an epoch starts, by attack: see "
                f"{adversarial_folder(self.args)} then"
            )
        dataset = self.train_dataset if rows is None else self._prepare(rows, "previewed set")
        if dataset is None:
            raise HfBatError("nothing to preview: give rows= or a train_dataset")
        collator = self._own_collator
        if collator is None:
            # Of "normal", which draws nothing, what the tables would give.
            drawn = (
                self.perturbations if self.args.method == "normal" else self.used_perturbations()
            )
            collator = self._make_collator(
                **dict(zip(("fickle", "obstinate"), drawn, strict=False))
            )
        names = label_map(self.task, self.model.config).model_names
        return Preview(dataset, collator.sampler, n, collator.clean_epochs, names)

    def save_perturbations(self, output_dir: str | Path) -> dict[str, str]:
        """Write the tables that the method uses, and a description with their hashes.

        Args:
            output_dir: where `perturbations.json` and the tables go; see
                `hf_bat.saved_perturbations.save_perturbations`.

        Returns:
            The fingerprint of each table written, by its name; empty for a method without tables.
        """
        attack = self.adversary.rows.recipe if self.adversary.rows is not None else None
        return save_perturbations(
            output_dir, self.args.method, self.used_perturbations(), self.canonicalizer, attack
        )

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.canonicalize:  # whoever loads the model must know of its defence
            self.save_perturbations(output_dir or cast(str, self.args.output_dir))

    def hyperparameter_search(
        self,
        hp_space: Any = None,
        compute_objective: Any = None,
        n_trials: int = 20,
        direction: Any = "maximize",
        **kwargs: Any,
    ) -> Any:
        """`Trainer.hyperparameter_search`, by default for the largest `robustness_objective`."""
        objective = compute_objective or robustness_objective
        self._before_search = self.args.given_options()
        return super().hyperparameter_search(hp_space, objective, n_trials, direction, **kwargs)

    def _hp_search_setup(self, trial: Any) -> None:
        """Set a trial's arguments over those of before the search, not over an earlier trial's."""
        if self.hp_search_backend is not None and trial is not None:
            for name, value in self._before_search.items():
                setattr(self.args, name, value)
        super()._hp_search_setup(trial)
        self.args.check_method()


class _EpochCallback(TrainerCallback):
    """Starts the components' means anew with a run, and tells the collator whose draws to make.

    A run that resumes inside an epoch goes on with that epoch's draws.
    """

    def __init__(self, trainer: BalancedTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # What an earlier run left unlogged is no part of this one.
        self.trainer._components = ComponentMeter(COMPONENTS)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if isinstance(self.trainer.data_collator, PerturbationCollator):
            self.trainer.data_collator.set_epoch(int(state.epoch or 0))
