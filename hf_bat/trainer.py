"""`BalancedTrainer`: a `transformers.Trainer` that trains on anchor, fickle and obstinate inputs.

In reading order: what a trainer is made of, rows to batches, the loss, evaluation and logs, what users
call, and the Hub. The mathematics is in `hf_bat.methods` and `hf_bat.objective`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import nn
from transformers import EvalPrediction, Trainer
from transformers.modeling_outputs import SequenceClassifierOutput

import hf_bat.model_card as model_card
from hf_bat.a2t import AdversarialSampler, RowAttacker, get_adversarial_folder
from hf_bat.callbacks import (
    ContrastMeter,
    RobustnessMeter,
    RunCallback,
    add_missing_metric,
    robustness_objective,
    should_attack,
)
from hf_bat.canonicalize import Canonicalizer
from hf_bat.checkpoints import (
    check_checkpoint,
    describe_run,
    explain_failure,
    find_checkpoint,
    start_checkpoint,
    warn_about_differences,
)
from hf_bat.collator import PerturbationCollator
from hf_bat.counterfactual.rules import RuleSet
from hf_bat.data import add_lengths, choose_rows, prepare_dataset
from hf_bat.device import disable_cudnn_attention, get_double_dtype, warn_about_bf16
from hf_bat.errors import HfBatError, describe_cause
from hf_bat.files import get_hub_name
from hf_bat.labels import check_single_label, name_labels, reconcile_labels
from hf_bat.lexicon.table import TableSource
from hf_bat.loading import check_tokenizer, warn_about_half, warn_about_padding
from hf_bat.methods import LossSettings, Method
from hf_bat.metrics.task import build_compute_metrics
from hf_bat.objective import (
    CHUNK_SIZE,
    KINDS,
    FillerBatch,
    Forward,
    LossMeter,
    Term,
    check_finite,
    check_labels,
    check_terms,
    compute_mean_weight,
    count_items,
    count_new_rows,
    drop_repeated_rows,
    mean_over,
    run_forward,
    summarize_distances,
)
from hf_bat.perturbations import Perturbation
from hf_bat.perturbations.validity import get_inference_names
from hf_bat.pooling import check_length, get_default_pooling, warn_about_head
from hf_bat.preview import Preview
from hf_bat.saved_perturbations import collect_tables, save_perturbations
from hf_bat.sources import EditSources
from hf_bat.stats import format_rate
from hf_bat.streams import RowStream, is_stream
from hf_bat.tasks import Task, get_task
from hf_bat.text import Splitter
from hf_bat.training_args import (
    BalancedTrainingArguments,
    check_canonicalizer,
    check_inputs,
    check_perturbations,
)

logger = logging.getLogger(__name__)
# Training rows whose edits a judge of the label filter answers before training.
_JUDGED_ROWS = 200


class BalancedTrainer(Trainer):
    """Drop-in `Trainer` for Balanced Adversarial Training (paper, section 4.1).

    Each training step runs the model once over the anchors and their valid fickle and obstinate
    versions, and adds the method's terms to the cross-entropy on the anchors. Means are taken over the
    whole accumulation window and all ranks, so that 16 x 1, 4 x 4 and two ranks of 8 give the same
    gradient. Evaluation and prediction use unperturbed inputs and return only logits.

    Args:
        model: A single-label sequence classifier. Alternatively, give `model_init`.
        args: `BalancedTrainingArguments`.
        data_collator: A `PerturbationCollator` of yours. If `None`, made from the other arguments.
        train_dataset: Raw rows (`datasets.Dataset`, list of dicts): text columns, label, maybe `idx`. Also
            a stream of them (`load_dataset(..., streaming=True)`), with `max_steps`.
        eval_dataset: Raw rows, or a dict of them.
        processing_class: The tokenizer.
        task: A `Task` or its name. Without it the data must be tokenized, and the method `normal`.
        synonyms: A `SubstitutionTable`, a mapping, the path of one, or "wordnet". Defaults to the bundled
            counter-fitted neighbors; with `canonicalize`, training and defense use "wordnet".
        antonyms: The same for antonyms.
        fickle: A `Perturbation` of yours that draws the fickle versions. If `None`, made from the tables.
        obstinate: The same for obstinate versions; `args.label_filter` applies to it.
        splitter: Function from a text to its words, for languages without spaces between words; see
            `SplitPerturbation`. It applies to the tables, also in `args.attacks`, which then have no
            constraint on English parts of speech.
        label_judge: Decides for `args.label_filter` which obstinate edits likely change the label: an
            inference model, a function (see `hf_bat.attack.JudgedValidity`) or a `LabelValidity`. If `None`,
            the one that `args.label_judge` names, else a rule over words.
        method: A `hf_bat.methods.Method` of yours. If `None`, the one that `args.method` names. With a
            method, `trainer.args` is a copy of `args` that names it, so that `args` can be used again;
            change options of this trainer in `trainer.args`.
        **kwargs: Everything else that `Trainer` takes. Without `compute_metrics`, a trainer with a task
            evaluates the task's metrics, such as accuracy.

    Raises:
        HfBatError: Data, model and options do not fit together.

    Example:
        >>> trainer = BalancedTrainer(
        ...     model=model, args=BalancedTrainingArguments("out", method="triplet"),
        ...     train_dataset=train, eval_dataset=dev, processing_class=tokenizer, task="snli",
        ... )  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
    """

    train_dataset: Any
    eval_dataset: Any
    compute_metrics: Any
    preprocess_logits_for_metrics: Any
    # compute_loss divides by the whole window's counts, so that Trainer must not divide again.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: nn.Module | None = None,
        args: BalancedTrainingArguments | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        *,
        task: str | Task | None = None,
        synonyms: TableSource | None = None,
        antonyms: TableSource | None = None,
        fickle: Perturbation | None = None,
        obstinate: Perturbation | None = None,
        splitter: Splitter | None = None,
        label_judge: Any = None,
        method: Method | None = None,
        **kwargs: Any,
    ):
        args = BalancedTrainingArguments("tmp_trainer") if args is None else args
        if not isinstance(args, BalancedTrainingArguments):
            raise HfBatError(f"args must be BalancedTrainingArguments; got {type(args).__name__}")
        if method is not None:
            args = args.copy_with_method(method)
        if label_judge is not None:
            args = args.copy_with_judge(label_judge)
        self.task = get_task(task) if task is not None else None
        #: Perturbations, rules and defense of the run.
        self.sources = EditSources(args, synonyms, antonyms, fickle, obstinate, splitter)
        self._own_collator = data_collator
        self._eval_rows: dict[str | None, Any] = {}
        tables = any(given is not None for given in (synonyms, antonyms, splitter))
        loss = kwargs.get("compute_loss_func")
        check_inputs(args, self.task, data_collator, processing_class, tables, loss)
        check_perturbations(args, self.task, data_collator, self.sources.own)
        super().__init__(
            model, args, data_collator, train_dataset, eval_dataset, processing_class, **kwargs
        )
        if self._has_default_metrics():
            self.compute_metrics = self._compute_task_metrics
        # The model's own loss may be normalized in any way; compute_loss works on its logits. Before
        # transformers 5.19, which has `loss_is_scaled_for_ga`, only a model that accepts the window's count
        # keeps Trainer from dividing again.
        self.model_accepts_loss_kwargs = not hasattr(Trainer, "loss_is_scaled_for_ga")
        self._check_model()
        #: Figures of the evaluations since training last began, in order. The model card shows them.
        self.evaluations: list[model_card.Evaluation] = []
        # Counts of the current accumulation window over all ranks, by name.
        self._window: dict[str, torch.Tensor] | None = None
        # Several passes pay only on a CPU: a GPU wants large ones, DDP synchronizes in each, and
        # torch.compile compiles each new shape.
        is_alone = args.device.type == "cpu" and args.world_size == 1 and not args.torch_compile
        self._chunk_size = CHUNK_SIZE if is_alone else None
        if args.contrastive_chunk is not None:
            self._check_whole_model("contrastive_chunk=")
        self.steps_per_epoch = 1
        # Mean class weight of the evaluation set. Needed because Trainer weights batch losses by
        # batch size.
        self._mean_class_weight: float | None = None
        self.loss_meter = LossMeter()
        # Number of rows and attack reports of the last `evaluation_loop`, from which `evaluate` makes a
        # section of the card.
        self._last_evaluation: tuple[int, dict[str, Any]] = (0, {})
        # Whether `push_to_hub` has written the card, so that a failure is the upload's.
        self._is_uploading = False
        # Facts that a checkpoint records of the run of the last call of `train`.
        self._run_facts: dict[str, Any] | None = None
        # Whether the next window of training is the first of an epoch.
        self.begins_epoch = False
        if self.task is not None:
            self._complete_config(self.model)
            if not (self.is_fsdp_enabled or self.is_deepspeed_enabled):  # a rank may lack weights
                warn_about_padding(self.model, self.processing_class, args.max_seq_length)
            self.train_dataset = self._prepare_training(train_dataset)
            self.eval_dataset = self._prepare(eval_dataset, "evaluation set")
            self.data_collator = self._own_collator or self._make_collator()
        #: Runs the attacks at evaluation and keeps their last reports; `None` without attacks.
        self.meter = self._make_meter()
        self._contrast_meter = self._make_contrast_meter()
        #: Attacks training rows when an epoch starts; `None` for most methods.
        self.adversary = self.make_adversary()
        self.add_callback(RunCallback(self))

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        # Older versions of transformers have accelerate divide, too.
        self.accelerator.gradient_accumulation_steps = 1

    def _has_default_metrics(self) -> bool:
        """Return whether evaluation has the task's metrics, which need the logits of all rows at once."""
        args = self.args
        is_own = bool(self.compute_metrics or self.preprocess_logits_for_metrics)
        is_whole = args.eval_do_concat_batches and not args.batch_eval_metrics
        return self.task is not None and not is_own and is_whole

    def _compute_task_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        assert self.task is not None
        # Made now, because a hyperparameter search replaces the model.
        return build_compute_metrics(self.task, self.model.config)(prediction)

    def _check_model(self) -> None:
        args, config, collator = self.args, self.model.config, self._own_collator
        check_single_label(config)
        if args.bf16:
            warn_about_bf16(args.device.type, "bf16")
        weights, labels = args.class_weights, config.num_labels
        if weights is not None and len(weights) != labels:
            raise HfBatError(f"class_weights has {len(weights)} values, the model {labels} labels")
        warn_about_head(self.model, args.pooling)
        if self.task is not None:
            # Now, because otherwise the first long row would stop a run.
            check_length(config, args.max_seq_length, "max_seq_length")
            check_tokenizer(self.processing_class, self.model)
        if isinstance(collator, PerturbationCollator):
            check_canonicalizer(collator, self.canonicalizer)
            check_length(config, collator.max_length, "max_length")

    # ---- rows to batches ----------------------------------------------------------------------

    def _prepare_training(self, rows: Any) -> Any:
        """Return training rows as `_prepare` does, or a stream of them."""
        name = "training set"
        if self.task is None or not is_stream(rows):
            return self._prepare(rows, name)
        if isinstance(rows, RowStream):
            return rows
        args, method = self.args, self.args.get_method()
        reads_all = {
            f"method={method.name!r}": bool(method.attack_recipe)
            or "counterfactual" in method.draws,
            f"train_sampling_strategy={args.train_sampling_strategy!r}": (
                args.train_sampling_strategy != "random"
            ),
        }
        for option, needs_all in reads_all.items():
            if needs_all:
                raise HfBatError(
                    f"{option} reads all rows before training, and the {name} is a stream: give a "
                    "datasets.Dataset"
                )
        return RowStream(rows, self.task, self.model.config, name)

    def _prepare(self, rows: Any, name: str, keep_all: bool = False) -> Any:
        """Return rows, or a dict of them, with text columns, `label` as the model numbers it, and `idx`."""
        if self.task is None or rows is None:
            return rows
        if isinstance(rows, dict):
            return {key: self._prepare(part, f"{name} {key!r}") for key, part in rows.items()}
        args = self.args
        dataset = prepare_dataset(rows, self.task, self.model.config, name, keep_all)
        if args.train_sampling_strategy == "random":
            return dataset
        column, limit = args.length_column_name, args.max_seq_length
        return add_lengths(dataset, self.task, self.processing_class, limit, column)

    def call_model_init(self, trial: Any = None) -> nn.Module:
        model = super().call_model_init(trial)
        # The first call comes from Trainer.__init__, before there is a tokenizer.
        if self.task is not None and hasattr(self, "processing_class"):
            self._complete_config(model)
        return model

    def _complete_config(self, model: Any) -> None:
        """Add the task's label names and the padding token (GPT-2 has none) to a model's configuration."""
        assert self.task is not None
        self.task = name_labels(model.config, self.task)
        if model.config.pad_token_id is None:
            model.config.pad_token_id = self.processing_class.pad_token_id

    @property
    def perturbations(self) -> tuple[Any, Any]:
        """The fickle and the obstinate perturbation: yours, or made from the tables and options."""
        return self.sources.perturbations

    @property
    def canonicalizer(self) -> Canonicalizer | None:
        """The preprocessing defense over the words of the synonym table; `None` without one."""
        return self.sources.canonicalizer

    @property
    def rules(self) -> RuleSet:
        """The rules of labeled edits, made from the options and prepared on the training rows."""
        assert self.task is not None
        return self.sources.make_rules(self.task, self.model.config, self.train_dataset or ())

    def used_perturbations(self) -> tuple[Perturbation | RuleSet, ...]:
        """Return what the method draws from: perturbations, and rules."""
        kinds = self.args.get_method().draws
        if self.args.a2t_candidates == "mlm":
            return ()  # a language model's predictions, not a table
        if kinds and self._own_collator is not None:
            return tuple(getattr(self._own_collator.sampler, kind) for kind in kinds)
        return tuple(self._get_perturbation(kind) for kind in kinds)

    def _get_perturbation(self, kind: str) -> Any:
        if kind == "counterfactual":
            return self.rules
        return self.perturbations[KINDS.index(kind)]

    def _make_collator(self, **changed: Any) -> PerturbationCollator:
        """Make the collator that draws what the method needs."""
        args, task, tokenizer = self.args, self.task, self.processing_class
        assert task is not None
        options = {"canonicalizer": self.canonicalizer, **changed}
        if "counterfactual" in args.get_method().draws:
            options.setdefault("counterfactual", self.rules)
        collator = PerturbationCollator.from_arguments(
            args, task, self.model.config, tokenizer, self.perturbations, **options
        )
        if args.get_method().attack_recipe and not changed:
            collator.sampler = AdversarialSampler.from_arguments(args, task.columns)
        return collator

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if self.task is not None:
            wanted = [*self.task.columns, "idx", self.args.length_column_name]
            self._signature_columns += [c for c in wanted if c not in self._signature_columns]

    def get_train_dataloader(self) -> Any:
        # A hyperparameter search may have changed the arguments.
        self.args.check_method()
        if not self.is_deepspeed_enabled:  # which keeps a copy of the weights in float32
            warn_about_half(self.model)
        if self.task is not None:
            check_length(self.model.config, self.args.max_seq_length, "max_seq_length")
        self.sources.check_defense()
        self.train_dataset = self._prepare_training(self.train_dataset)
        if self.task is not None and self._own_collator is None:
            collator = self._make_collator()
            # Another loader of the same run must be in the same epoch.
            collator.follow(self.data_collator)
            self.data_collator = collator
        return self._seed_workers(super().get_train_dataloader())

    def _seed_workers(self, loader: Any) -> Any:
        """Give a loader whose workers persist its own source of their seed.

        Other loaders draw a number from the global generator, which dropout uses, each time that they
        start. `_draw_workers_seed` does so for these, which otherwise draw one only when they first start.
        """
        if self.args.dataloader_persistent_workers:
            getattr(loader, "base_dataloader", loader).generator = torch.Generator()
        return loader

    def _draw_workers_seed(self) -> None:
        if self.args.dataloader_persistent_workers:
            torch.empty((), dtype=torch.int64).random_()

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        key = eval_dataset if isinstance(eval_dataset, str) else None
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        rows = self._prepare(rows if key is None else self.eval_dataset[key], "evaluation set")
        if key is not None:
            self.eval_dataset[key] = rows
        if self._eval_rows.get(key) is not rows:
            # Trainer keeps a loader with persistent workers by key, also if the rows are others.
            getattr(self, "_eval_dataloaders", {}).pop(key or "eval", None)
            self._eval_rows[key] = rows
        return self._seed_workers(super().get_eval_dataloader(key or rows))

    def get_test_dataloader(self, test_dataset: Any) -> Any:
        rows = self._prepare(test_dataset, "prediction set", keep_all=True)
        return self._seed_workers(super().get_test_dataloader(rows))

    def get_perturbed_dataloader(self, rows: Any) -> Any:
        """Return batches of rows, in order, with one fickle and one obstinate draw each."""
        sampler = getattr(self._own_collator, "sampler", None)
        versions = {
            kind: getattr(sampler, kind, None) or self._get_perturbation(kind) for kind in KINDS
        }
        single = {"num_fickle": 1, "num_obstinate": 1, "clean_epochs": 0, "perturb_anchor": False}
        # Labeled pairs have no distance to the anchor.
        versions["counterfactual"] = None
        collator = self._make_collator(**versions, **single)
        loader = self._get_dataloader(
            dataset=self._prepare(rows, "evaluation set"),
            description="Evaluation",
            batch_size=self.args.eval_batch_size,
            sampler_fn=self._get_eval_sampler,
        )
        return _collate_with(loader, collator)

    def _get_dataloader(self, *args: Any, is_training: bool = False, **kwargs: Any) -> Any:
        """Build a loader; only training has the collator that draws."""
        loader = super()._get_dataloader(*args, is_training=is_training, **kwargs)
        if is_training or not isinstance(self.data_collator, PerturbationCollator):
            return loader
        # Trainer knows a single collator.
        return _collate_with(loader, self.data_collator.clean())

    # ---- checkpoints --------------------------------------------------------------------------

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> Any:
        """Train as `Trainer.train` does, from a checkpoint if one is given.

        Args:
            resume_from_checkpoint: A checkpoint's folder, or `True` for the last whole one in
                `args.output_dir`. Checkpoints that are skipped because they are damaged, missing states,
                and a checkpoint of another run (method, seed, data, ...) are named in warnings.
            trial: The trial of a hyperparameter search.
            ignore_keys_for_eval: Outputs of the model that evaluation ignores.

        Raises:
            HfBatError: The checkpoint is damaged, or none is whole; or a checkpoint could not be
                saved.
        """
        checkpoint: str | None = None
        if resume_from_checkpoint is True:
            checkpoint = find_checkpoint(str(self.args.output_dir))
            if checkpoint is None:
                raise HfBatError(
                    f"no checkpoint in {self.args.output_dir} can be resumed from: leave "
                    "resume_from_checkpoint out to start over"
                )
        elif resume_from_checkpoint:
            checkpoint = check_checkpoint(str(resume_from_checkpoint))
        self._run_facts = None
        if checkpoint is not None and self.is_world_process_zero():
            warn_about_differences(checkpoint, self._describe_run())
        self._report_agreement()
        return super().train(checkpoint, trial, ignore_keys_for_eval)

    def _report_agreement(self) -> None:
        """Say how often the judge of the label filter agrees with the rule on some training rows."""
        judge = self._get_judge()
        rows = self.train_dataset
        has_rows = self.task is not None and rows is not None
        if judge is None or not has_rows or not self.is_world_process_zero():
            return
        sampler = self.data_collator.sampler
        if is_stream(rows):
            chosen = list(islice(rows, _JUDGED_ROWS))
        else:
            chosen = rows.select(choose_rows(len(rows), _JUDGED_ROWS, "even"))
        is_inference = bool(get_inference_names(sampler.label_names))
        share = judge.measure_agreement(sampler.list_judged(chosen), is_inference)
        if share.of:
            logger.warning(
                "the label judge %s says the same as the rule of the label filter of %s of %d edits (%d "
                "training rows)",
                judge.name,
                format_rate(share.rate),
                share.of,
                len(chosen),
            )

    def _get_judge(self) -> Any:
        """Return the judge that decides which obstinate versions are drawn; `None` if there is none."""
        return getattr(getattr(self.data_collator, "sampler", None), "judge", None)

    def _describe_run(self) -> dict[str, Any]:
        if self._run_facts is None:
            rows = self._prepare_training(self.train_dataset)
            tables = collect_tables(self.used_perturbations(), self.canonicalizer)
            prints = {name: table.fingerprint for name, table in tables.items()}
            processes = self.accelerator.num_processes
            self._run_facts = describe_run(self.args, rows, prints, processes)
            if judge := self._get_judge():
                # With a hash of its weights.
                self._run_facts["training judge"] = judge.name
        return self._run_facts

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        path = Path(self._get_output_dir(trial=trial), f"checkpoint-{self.state.global_step}")
        with explain_failure(path, remove=self.args.should_save):
            if self.args.should_save:
                start_checkpoint(path, self._describe_run())
            # Another process must not write into a folder that is being emptied.
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)

    # ---- the loss -----------------------------------------------------------------------------

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Take an accumulation window's batches and count what its means divide by, on all ranks."""
        if self.begins_epoch:
            self.begins_epoch = False
            self._draw_workers_seed()
        batches, num_items = super().get_batch_samples(
            drop_repeated_rows(epoch_iterator, self.accelerator), num_batches, device
        )
        if batches and "labels" in batches[0]:
            if self.task is None and self.compute_loss_func is None:
                for batch in batches:
                    if not isinstance(batch, FillerBatch):
                        check_labels(batch, self.model.config.num_labels)
            counts = [self._count(batch) for batch in batches]
            totals = torch.stack([torch.stack(list(count.values())) for count in counts]).sum(0)
            totals = self.accelerator.reduce(totals.to(device), reduction="sum")
            self._window = dict(zip(counts[0], totals.unbind(), strict=True))
        return batches, num_items

    def _count(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        args = self.args
        if isinstance(batch, FillerBatch):
            return {name: 0 * count for name, count in self._count(batch.with_labels()).items()}
        counts, method = count_items(batch, args.mask, args.class_weights), args.get_method()
        # Whether a batch has versions depends only on the epoch, so that all batches of a window, on all
        # ranks, have the same counts.
        if method.draws and all(f"{kind}_mask" in batch for kind in method.draws):
            counts |= {name: count.float() for name, count in method.count(batch).items()}
        return counts

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        # Around the backward pass, too: gradient checkpointing repeats the forward pass in it.
        with disable_cudnn_attention():
            return super().training_step(*args, **kwargs)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the loss of one micro-batch, scaled so that the sum over a window is its mean.

        Args:
            model: The wrapped model.
            inputs: A batch of `PerturbationCollator`, or a tokenized one with `labels`.
            return_outputs: Also return the anchors' logits. Defaults to `False`.
            num_items_in_batch: Passed to `compute_loss_func`, which divides by it.

        Returns:
            The loss, a scalar; with `return_outputs`, also an output with `logits` (B, labels).
        """
        args, method, counts = self.args, self.args.get_method(), self._count(inputs)
        if is_filler := isinstance(inputs, FillerBatch):
            inputs = inputs.with_labels()
        settings = LossSettings.from_arguments(args)
        pooling = None
        if method.needs_vectors(settings.weights):
            pooling = args.pooling or get_default_pooling(model)
        forward = run_forward(
            model,
            inputs,
            self.processing_class,
            pooling,
            # A user's collator may draw versions that the method does not use.
            anchors_only=not method.draws,
            chunk_size=args.contrastive_chunk or self._chunk_size,
            is_cached=args.contrastive_chunk is not None,
            width_multiple=args.pad_to_multiple_of or 1,
        )
        output, labels = SequenceClassifierOutput(logits=forward.logits), inputs["labels"]
        if not model.training and not forward.versions:
            # Trainer weights the loss of a batch by its rows that are not repeated.
            kept = max(count_new_rows(len(labels), self.accelerator), 1)
            labels = labels[:kept]
            forward = Forward(forward.logits[:kept], labels, None, {})
            if num_items_in_batch is not None:
                num_items_in_batch = 0 * num_items_in_batch + kept
            counts = self._count({"labels": labels})
        window, ranks = counts, 1
        if model.training and self._window is not None:
            window, ranks = self._window, self.accelerator.num_processes
        elif self._mean_class_weight is not None:
            rows = torch.tensor(len(forward.logits) * self._mean_class_weight)
            window = {**counts, "rows": rows.to(forward.logits.device)}
        terms = method.terms(forward, settings) if forward.versions else {}
        check_terms(terms, counts)
        loss = torch.zeros((), device=forward.logits.device)
        if self.compute_loss_func is None:
            entropy = settings.cross_entropy(forward.logits, labels)
            terms["loss_ce"] = Term(entropy, "rows", 1.0)
        else:
            loss = self._call_users_loss(forward, num_items_in_batch, model.training)
        clean_steps = getattr(self.data_collator, "clean_epochs", 0) * self.steps_per_epoch
        warmup = args.get_warmup(self.state.global_step, self.state.max_steps, clean_steps)
        for name, term in terms.items():
            if term.weight is not None:
                weight = term.weight * (1.0 if name == "loss_ce" else warmup)
                # The gradients are averaged over ranks afterward, and the counts are of all ranks.
                loss = loss + weight * mean_over(term.total, window[term.over]) * ranks
        if is_filler:
            loss = 0 * loss
        elif model.training:
            sums = {name: term.total for name, term in terms.items()}
            check_finite(loss, "loss", self.state.global_step + 1, sums)
            self.loss_meter.add_batch(terms, counts, inputs)
        return (loss, output) if return_outputs else loss

    def _call_users_loss(self, forward: Forward, num_items: Any, is_training: bool) -> torch.Tensor:
        output = SequenceClassifierOutput(logits=forward.logits)
        loss = self.compute_loss_func(output, forward.labels, num_items_in_batch=num_items)
        if is_training and self.args.average_tokens_across_devices and num_items is not None:
            # `num_items` is of all ranks, and the gradients are averaged over them afterward.
            loss = loss * self.accelerator.num_processes
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        # Trainer measures the norm between clipping and the optimizer's step, and it is the same on all
        # ranks: they stop together, without another pass over the parameters. Before transformers 5.6 it has
        # no such method; `RunCallback` calls `check_gradient` then.
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self.check_gradient(norm)
        return norm

    def check_gradient(self, norm: Any = None) -> None:
        """Stop the run before the optimizer's step if the gradient is not finite.

        Args:
            norm: The gradient's norm on all ranks. If `None`, it is measured.
        """
        scaler = self.accelerator.scaler
        # The scaler of fp16 skips such a step and lowers its scale; DeepSpeed has done its own step.
        if (scaler is not None and scaler.is_enabled()) or self.is_deepspeed_enabled:
            return
        if norm is None:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            # With sharded weights each rank has a part; NaN and infinity are in any sum.
            norm = self.accelerator.reduce(norm.to(self.args.device), reduction="sum")
        check_finite(norm, "gradient", self.state.global_step + 1)

    # ---- evaluation and logs ------------------------------------------------------------------

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Evaluate raw rows as `Trainer.evaluate` does, and keep the figures for the model card.

        The card has one section for each `metric_key_prefix`, the last evaluation under it.
        """
        metrics = super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        rows = self.eval_dataset[rows] if isinstance(rows, str) else rows
        if not isinstance(rows, dict):  # Trainer calls this method for each set of a dict
            data = model_card.describe_data(rows, self.task, metric_key_prefix)
            step, (size, attacks) = self._get_step_of_weights(), self._last_evaluation
            self.evaluations.append(
                model_card.Evaluation(metric_key_prefix, step, size, data, metrics, attacks)
            )
        return metrics

    def evaluation_loop(self, dataloader: Any, description: str, *args: Any, **kwargs: Any) -> Any:
        """Run `Trainer`'s loop; add distances and attack metrics, except to predictions."""
        prefix, rows = kwargs.get("metric_key_prefix", "eval"), dataloader.dataset
        self._draw_workers_seed()
        self._mean_class_weight = compute_mean_weight(rows, self.args.class_weights)
        try:
            with disable_cudnn_attention():
                output = super().evaluation_loop(dataloader, description, *args, **kwargs)
        finally:
            self._mean_class_weight = None
        self._last_evaluation = (output.num_samples, {})
        if description == "Prediction":
            return output
        if self.args.eval_distances:
            distances = self.perturbation_distances(rows)
            output.metrics.update({f"{prefix}_{name}": v for name, v in distances.items()})
        if not should_attack(self.args.attack_every, self.state, self.is_in_train):
            return output
        if self._contrast_meter:
            output.metrics.update(self._contrast_meter.measure(self.model, prefix))
        if self.meter:
            accuracy = output.metrics.get(f"{prefix}_accuracy")
            output.metrics.update(self.meter.measure(self.model, rows, prefix, accuracy))
            self._last_evaluation[1].update({k: r[k] for k, r in self.meter.reports.items()})
            add_missing_metric(output.metrics, self.args.metric_for_best_model)
        return output

    def _make_meter(self) -> RobustnessMeter | None:
        args = self.args
        if not args.attacks or self.task is None:
            return None
        self._check_whole_model("attacks=")
        splitter = self.sources.splitter
        return RobustnessMeter(
            args.get_attacks(),
            self.task,
            self.processing_class,
            max_samples=args.max_attack_samples,
            row_choice=args.row_choice,
            batch_size=args.eval_batch_size,
            dtype=args.autocast_dtype,
            max_length=args.max_seq_length,
            label_filter=args.attack_label_filter,
            canonicalizer=self.canonicalizer,
            synonyms=self.sources.synonyms,
            antonyms=self.sources.antonyms,
            fit_grammar=args.fit_grammar,
            splitter=splitter,
            part_of_speech="lexicon" if splitter is None else "off",
        )

    def _make_contrast_meter(self) -> ContrastMeter | None:
        if self.args.contrast_file is None or self.task is None:
            return None
        self._check_whole_model("contrast_file=")
        config, tokenizer = self.model.config, self.processing_class
        return ContrastMeter(self.args, self.task, tokenizer, config, self.canonicalizer)

    def make_adversary(self) -> RowAttacker | None:
        """Make the attacker of training rows from the current arguments; `None` for most methods."""
        args = self.args
        if not args.get_method().attack_recipe or self.task is None:
            return None
        self._check_whole_model(f"method={args.method!r}")
        synonyms, antonyms = (perturbation.table for perturbation in self.sources.words)
        return RowAttacker(
            args, self.task, self.processing_class, synonyms, antonyms, self.canonicalizer
        )

    def _check_whole_model(self, option: str) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise HfBatError(
                f"{option} runs the whole model on each rank, which FSDP and DeepSpeed do not keep: train "
                "with plain data parallelism, or use `hf-bat attack` or `contrast` on the saved model"
            )

    def perturbation_distances(self, rows: Any) -> dict[str, float]:
        """Measure the mean distance of raw rows to one fickle and one obstinate draw, dropout off.

        Returns:
            `fickle_distance` and `obstinate_distance` (means over rows with a valid draw), `fickle_valid`
            and `obstinate_valid` (the share of such rows), over all ranks.
        """
        model = self.model_wrapped
        was_training = model.training
        model.eval()
        values: dict[str, list[torch.Tensor]] = {kind: [] for kind in KINDS}
        for batch in self.get_perturbed_dataloader(rows):
            with torch.no_grad(), self.accelerator.autocast(), disable_cudnn_attention():
                inputs = self._prepare_inputs(batch)
                pooling = self.args.pooling or get_default_pooling(model)
                forward = run_forward(model, inputs, self.processing_class, pooling)
            for kind in forward.versions:
                distances, mask = forward.measure_distances(kind, self.args.distance)
                distances = distances[:, 0].masked_fill(~mask[:, 0], float("nan"))
                values[kind].append(self.accelerator.gather_for_metrics(distances).cpu())
        model.train(was_training)
        return summarize_distances(values)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means of the loss's components to a training log."""
        if "loss" in logs:
            device = self.args.device

            def sum_over_ranks(totals: torch.Tensor) -> torch.Tensor:
                totals = totals.to(device, get_double_dtype(device))
                return self.accelerator.reduce(totals, reduction="sum").cpu()

            means = self.loss_meter.take_means(gather_object, sum_over_ranks)
            logs = {**logs, **{name: round(value, 6) for name, value in means.items()}}
        super().log(logs, start_time)

    # ---- what users call ----------------------------------------------------------------------

    def preview(self, n: int = 10, rows: Any = None) -> Preview:
        """Show rows with the versions that the first perturbed epoch will draw.

        Args:
            n: Number of rows to show. Defaults to 10.
            rows: Raw rows. If `None`, the training set.

        Returns:
            A `Preview`: `print` it to see the changed words, and the share of rows with each version.
        """
        if self.task is None:
            raise HfBatError("preview needs raw text: give the trainer a task=")
        method = self.args.get_method()
        if method.attack_recipe:
            raise HfBatError(
                f"method={method.name!r} finds its versions when an epoch starts: see "
                f"{get_adversarial_folder(self.args)} then"
            )
        dataset = self.train_dataset if rows is None else self._prepare(rows, "previewed set")
        if is_stream(dataset):
            raise HfBatError("a stream has no rows to choose from: give rows= to preview")
        if dataset is None:
            raise HfBatError("nothing to preview: give rows= or a train_dataset")
        collator = self._own_collator
        if collator is None:
            # A method that draws nothing shows what the tables would give.
            drawn = {} if method.draws else {kind: self._get_perturbation(kind) for kind in KINDS}
            collator = self._make_collator(**drawn)
        if collator.sampler.judge is not None:
            # Judges are slow, so that the shares are over fewer rows.
            dataset = dataset.select(choose_rows(len(dataset), _JUDGED_ROWS, "even"))
            collator.sampler.prepare(dataset)
        names = reconcile_labels(self.task, self.model.config).model_names
        return Preview(dataset, collator.sampler, n, collator.clean_epochs, names)

    def save_perturbations(self, output_dir: str | Path) -> dict[str, str]:
        """Write the tables that the method draws from, with a description and their hashes.

        Args:
            output_dir: Folder of `perturbations.json` and the tables.

        Returns:
            Table name -> fingerprint; empty for a method without tables.
        """
        attack = None if self.adversary is None else self.adversary.recipe
        return save_perturbations(
            output_dir, self.args.method, self.used_perturbations(), self.canonicalizer, attack
        )

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        with explain_failure(Path(output_dir or str(self.args.output_dir))):
            super()._save(output_dir, state_dict)
        # A user who loads the model must know about its defense. Trainer calls this on every rank.
        if self.args.canonicalize and self.args.should_save:
            self.save_perturbations(output_dir or str(self.args.output_dir))

    def hyperparameter_search(
        self,
        hp_space: Any = None,
        compute_objective: Any = None,
        n_trials: int = 20,
        direction: Any = "maximize",
        **kwargs: Any,
    ) -> Any:
        """Search as `Trainer` does, by default for the highest `robustness_objective`.

        Each trial starts from the arguments' options, so that a space may name one method's weights.
        """
        given = self.args.get_given_options()

        def start_trial(trial: Any) -> Any:
            self.args.restore_options(given)
            return hp_space(trial)

        space = start_trial if callable(hp_space) else hp_space
        objective = compute_objective or robustness_objective
        try:
            return super().hyperparameter_search(space, objective, n_trials, direction, **kwargs)
        finally:
            self.args.restore_options(given)
            self.adversary = self.make_adversary()

    # ---- the Hub ------------------------------------------------------------------------------

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write `README.md`: `Trainer`'s card with the method, tables, attacks, limits and citation.

        Its figures come from `evaluate` calls on the weights that the model has now. Arguments are
        `Trainer`'s; `tags` are added to `hf_bat` and the method's name, and a local folder as
        `finetuned_from` is not named.
        """
        if not self.is_world_process_zero():
            return
        facts = model_card.gather_facts(
            self, self._get_step_of_weights(), get_hub_name(finetuned_from)
        )
        own_tags = ["hf_bat", self.args.method]
        if hasattr(self.model, "add_model_tags"):
            self.model.add_model_tags(own_tags)
        given = [tags] if isinstance(tags, str) else list(tags or [])
        tags, tasks = [*own_tags, *given], tasks or "text-classification"
        with model_card.align_logs(self.state):
            super().create_model_card(
                language, license, tags, model_name, facts["base"], tasks, **kwargs
            )
        model_card.finish_card(Path(self.args.output_dir) / "README.md", facts, own_tags)
        # The last step of `push_to_hub` on this machine: what fails after it is the upload.
        self._is_uploading = True

    def _get_step_of_weights(self) -> int:
        """Return the step that the model's weights are from, which may be the best one's."""
        best = self.state.best_global_step
        if self.args.load_best_model_at_end and best and not self.is_in_train:
            return best
        return self.state.global_step

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Create the repository on the Hub, before training if `push_to_hub` is set."""
        try:
            with self._create_private(private):
                super().init_hf_repo(token)
        except Exception as error:  # the Hub's library may use any HTTP library
            name = self.args.hub_model_id or "the repository"
            raise HfBatError(
                f"cannot create {name} on the Hub: {describe_cause(error)}; check the name and "
                "`hf auth whoami`, or leave push_to_hub out and push later"
            ) from error

    @contextmanager
    def _create_private(self, private: bool | None) -> Iterator[None]:
        """Create repositories private or public. Trainer has an argument for it from transformers 5.23 on."""
        before = self.args.hub_private_repo
        self.args.hub_private_repo = before if private is None else private
        try:
            yield
        finally:
            self.args.hub_private_repo = before

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Push the model with its card; if the upload fails, the local model is complete.

        Args:
            commit_message: Message of the commit.
            blocking: Wait for the upload. If `False`, a failure shows in the returned future.
            token: Token with write permission. If `None`, `hub_token` or the one you logged in with.
            revision: Branch to commit to.
            private: Whether a repository that is created here is private.
            **kwargs: Passed to `create_model_card`.
        """
        model_card.warn_local_base(self.model)
        self._is_uploading = False
        try:
            with self._create_private(private):
                return super().push_to_hub(commit_message, blocking, token, revision, **kwargs)
        except HfBatError:
            raise
        except Exception as error:
            if not self._is_uploading:
                raise
            message = model_card.explain_failed_upload
            raise HfBatError(message(error, self.hub_model_id, self.args, revision)) from error


def _collate_with(loader: Any, collator: Any) -> Any:
    """Give a loader another collator before it is first iterated."""
    # accelerate iterates over the loader that it wraps.
    for part in (loader, getattr(loader, "base_dataloader", loader)):
        part.collate_fn = collator
    return loader
