"""`BalancedTrainer`: a `transformers.Trainer` that trains on anchor, fickle and obstinate inputs."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import torch
from transformers import TrainingArguments

from hf_bat.a2t import AdversarialCallback, get_adversarial_folder
from hf_bat.callbacks import (
    RobustnessMeter,
    attacks_now,
    note_missing,
    robustness_objective,
)
from hf_bat.device import disable_cudnn_attention
from hf_bat.errors import HfBatError
from hf_bat.labels import label_map
from hf_bat.objective import (
    KINDS,
    measure_distances,
)
from hf_bat.objective_trainer import ObjectiveTrainer
from hf_bat.preview import Preview
from hf_bat.saved_perturbations import save_perturbations


class BalancedTrainer(ObjectiveTrainer):
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

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        #: Attacks at evaluation, and keeps their last reports; None where none is asked for.
        self.meter = self._make_meter()
        #: Attacks training rows for the method "a2t".
        self.adversary = AdversarialCallback(self)
        self.add_callback(self.adversary)

    # ---- evaluation ---------------------------------------------------------------------------

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
            with torch.no_grad(), self.accelerator.autocast(), disable_cudnn_attention():
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
                f"{get_adversarial_folder(self.args)} then"
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
        """`Trainer.hyperparameter_search`, by default for the largest `robustness_objective`.

        Each trial starts from the arguments as they are now, and they are back when the search ends.
        """
        objective = compute_objective or robustness_objective
        self._before_search = self.args.given_options()
        self._before_trial: dict[str, Any] = {}
        try:
            return super().hyperparameter_search(hp_space, objective, n_trials, direction, **kwargs)
        finally:
            self._end_search()

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> Any:
        """`Trainer.train`; a search's trial starts from the arguments of before the search."""
        if self.hp_search_backend is not None and trial is not None:
            # Before the Trainer seeds and makes the model, which is before it sets the trial's arguments.
            self._restore_arguments()
        return super().train(resume_from_checkpoint, trial, ignore_keys_for_eval)

    def _hp_search_setup(self, trial: Any) -> None:
        """Set a trial's arguments, and note what they were."""
        own = {f.name for f in fields(TrainingArguments) if f.init}
        before = {name: getattr(self.args, name) for name in own}
        try:
            super()._hp_search_setup(trial)
        finally:
            if self.hp_search_backend is not None and trial is not None:
                self._before_trial = {
                    name: value
                    for name, value in before.items()
                    if getattr(self.args, name) is not value
                }
        self.args.check_method()

    def _restore_arguments(self) -> None:
        """Take back what the last trial has set: of transformers' own arguments no others, for a search's
        backend sets some of them for all trials."""
        for name, value in {**self._before_trial, **self._before_search}.items():
            setattr(self.args, name, value)
        self._before_trial = {}

    def _end_search(self) -> None:
        was_set = bool(self._before_trial)
        self._restore_arguments()
        self.args.check_method()
        # What the Trainer has derived from the last trial's; DeepSpeed is set up anew by trials alone.
        self._train_batch_size = self.args.train_batch_size
        if was_set and not self.is_deepspeed_enabled:
            self.create_accelerator_and_postprocess()
