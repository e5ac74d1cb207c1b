"""`BalancedTrainer`: a `transformers.Trainer` that trains on anchor, fickle and obstinate inputs.

The class is divided into sections: setup, data loading, checkpoints, the loss, evaluation and logging,
methods for users, and the Hub. The math is in `hf_bat.methods` and `hf_bat.objective`.
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
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import has_length

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
# Number of training rows whose edits the judge of the label filter checks before training.
_JUDGED_ROWS = 200


class BalancedTrainer(Trainer):
    """Drop-in `Trainer` for Balanced Adversarial Training (paper, section 4.1).

    Each training step runs the model once over the anchors and their valid fickle and obstinate
    versions, and adds the method's terms to the cross-entropy on the anchors. Means are taken over the
    full accumulation window and all ranks, so 16 x 1, 4 x 4 and two ranks of 8 give the same gradient.
    Evaluation and prediction use unperturbed inputs and return only logits.

    Args:
        model: A single-label sequence classifier. You can pass `model_init` instead.
        args: `BalancedTrainingArguments`.
        data_collator: Your own `PerturbationCollator`. If `None`, one is built from the other
            arguments.
        train_dataset: Raw rows (`datasets.Dataset` or list of dicts) with text columns, a label and
            optionally `idx`. Streams (`load_dataset(..., streaming=True)`) are also supported and require
            `max_steps`.
        eval_dataset: Raw rows, or a dict of them.
        processing_class: The tokenizer.
        task: A `Task` or its name. Without a task, the data must be tokenized and the method must
            be `normal`.
        synonyms: A `SubstitutionTable`, a mapping, the path of a table, or "wordnet". Defaults to the
            bundled counter-fitted neighbors. With `canonicalize`, training and defense use "wordnet" by
            default.
        antonyms: Table of antonyms, in the same formats.
        fickle: Your own `Perturbation` for the fickle versions. If `None`, one is built from the tables.
        obstinate: Your own `Perturbation` for the obstinate versions. `args.label_filter` applies
            to it.
        splitter: Function that splits a text into words. Use it for languages without spaces between
            words. See `SplitPerturbation`. It is used with the tables, including in `args.attacks`, which
            then do not check English parts of speech.
        label_judge: Decides for `args.label_filter` which obstinate edits likely change the label: an
            inference model, a function (see `hf_bat.attack.JudgedValidity`) or a `LabelValidity`. If `None`,
            the model named in `args.label_judge` is used, or a rule over words if that is not set either.
        method: Your own `hf_bat.methods.Method`. If `None`, the method named in `args.method` is used.
            If you pass a method, the trainer works on a copy of `args`, so `args` can be reused.
            Change the options of this trainer in `trainer.args`.
        **kwargs: Other arguments of `Trainer`. Without `compute_metrics`, a trainer with a task
            computes the task's metrics, such as accuracy.

    Raises:
        HfBatError: If the data, the model and the options are incompatible.

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
    # compute_loss divides by the counts of the full window, so Trainer must not divide again.
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
        #: The run's perturbations, rules and defense.
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
        # compute_loss works on the logits, because models normalize their own loss in different ways.
        # Before transformers 5.19, which added `loss_is_scaled_for_ga`, Trainer skips its own division only
        # for models that accept the window's count.
        self.model_accepts_loss_kwargs = not hasattr(Trainer, "loss_is_scaled_for_ga")
        self._check_model()
        #: Results of the evaluations since training last began, in order. The model card shows them.
        self.evaluations: list[model_card.Evaluation] = []
        # Counts of the current accumulation window over all ranks, by name.
        self._window: dict[str, torch.Tensor] | None = None
        # Several small passes are faster only on a CPU. A GPU needs large passes, DDP synchronizes
        # in each one, and torch.compile compiles each new shape.
        is_alone = args.device.type == "cpu" and args.world_size == 1 and not args.torch_compile
        self._chunk_size = CHUNK_SIZE if is_alone else None
        if args.contrastive_chunk is not None:
            self._check_whole_model("contrastive_chunk=")
        self.steps_per_epoch = 1
        # Mean class weight of the evaluation set. Needed because Trainer weights batch losses by
        # batch size.
        self._mean_class_weight: float | None = None
        self.loss_meter = LossMeter()
        # Number of rows and attack reports of the last `evaluation_loop`. `evaluate` turns them into a
        # section of the card.
        self._last_evaluation: tuple[int, dict[str, Any]] = (0, {})
        # Whether `push_to_hub` has already written the card. A later failure comes from the upload.
        self._is_uploading = False
        # Facts about the last call of `train`, saved with each checkpoint.
        self._run_facts: dict[str, Any] | None = None
        # Whether the next training window is the first of its epoch.
        self.begins_epoch = False
        # Order of rows grouped by length. `RunCallback` seeds it for each epoch.
        self.length_order = torch.Generator()
        if self.task is not None:
            self._complete_config(self.model)
            if not (self.is_fsdp_enabled or self.is_deepspeed_enabled):  # a rank may lack weights
                warn_about_padding(self.model, self.processing_class, args.max_seq_length)
            self.train_dataset = self._prepare_training(train_dataset)
            self.eval_dataset = self._prepare(eval_dataset, "evaluation set")
            self.data_collator = self._own_collator or self._make_collator()
        #: Runs the attacks during evaluation and stores their last reports. `None` without attacks.
        self.meter = self._make_meter()
        self._contrast_meter = self._make_contrast_meter()
        #: Attacks training rows at the start of epochs. `None` for most methods.
        self.adversary = self.make_adversary()
        self.add_callback(RunCallback(self))

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        # Older versions of transformers also let accelerate divide the loss.
        self.accelerator.gradient_accumulation_steps = 1

    def _has_default_metrics(self) -> bool:
        """Return whether to compute the task's metrics, which need the logits of all rows at once."""
        args = self.args
        is_own = bool(self.compute_metrics or self.preprocess_logits_for_metrics)
        is_whole = args.eval_do_concat_batches and not args.batch_eval_metrics
        return self.task is not None and not is_own and is_whole

    def _compute_task_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        assert self.task is not None
        # Built on each call, because a hyperparameter search replaces the model.
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
            # Checked early. Otherwise the first long row would stop the run.
            check_length(config, args.max_seq_length, "max_seq_length")
            check_tokenizer(self.processing_class, self.model)
        if isinstance(collator, PerturbationCollator):
            check_canonicalizer(collator, self.canonicalizer)
            check_length(config, collator.max_length, "max_length")

    # ---- rows to batches ----------------------------------------------------------------------

    def _prepare_training(self, rows: Any) -> Any:
        """Prepare training rows with `_prepare`, or wrap a stream."""
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
        """Return rows, or a dict of rows, with text columns, `idx`, and `label` as the model numbers it."""
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
        # The first call comes from Trainer.__init__, before the tokenizer is set.
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
        """The fickle and the obstinate perturbation, either your own or built from tables and options."""
        return self.sources.perturbations

    @property
    def canonicalizer(self) -> Canonicalizer | None:
        """The preprocessing defense based on the synonym table, or `None` if it is off."""
        return self.sources.canonicalizer

    @property
    def rules(self) -> RuleSet:
        """The rules for labeled edits, built from the options and prepared on the training rows."""
        assert self.task is not None
        return self.sources.make_rules(self.task, self.model.config, self.train_dataset or ())

    def used_perturbations(self) -> tuple[Perturbation | RuleSet, ...]:
        """Return the perturbations and rules that the method draws from."""
        kinds = self.args.get_method().draws
        if self.args.a2t_candidates == "mlm":
            return ()  # predictions of a language model instead of a table
        if kinds and self._own_collator is not None:
            return tuple(getattr(self._own_collator.sampler, kind) for kind in kinds)
        return tuple(self._get_perturbation(kind) for kind in kinds)

    def _get_perturbation(self, kind: str) -> Any:
        if kind == "counterfactual":
            return self.rules
        return self.perturbations[KINDS.index(kind)]

    def _make_collator(self, **changed: Any) -> PerturbationCollator:
        """Build the collator that draws the versions the method needs."""
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
        if not self.is_deepspeed_enabled:  # DeepSpeed keeps a float32 copy of the weights
            warn_about_half(self.model)
        if self.task is not None:
            check_length(self.model.config, self.args.max_seq_length, "max_seq_length")
        self.sources.check_defense()
        self.train_dataset = self._prepare_training(self.train_dataset)
        if self.task is not None and self._own_collator is None:
            collator = self._make_collator()
            # All of the run's loaders must be in the same epoch.
            collator.follow(self.data_collator)
            self.data_collator = collator
        loader = self._seed_workers(super().get_train_dataloader())
        if has_length(loader) and not len(loader):
            raise HfBatError(
                f"the training set's {len(self.train_dataset)} rows do not fill a batch of "
                f"{self._train_batch_size}, and dataloader_drop_last leaves them out: use smaller batches or "
                "more rows"
            )
        return loader

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        sampler = super()._get_train_sampler(train_dataset)
        if isinstance(sampler, LengthGroupedSampler):
            # `Trainer` takes the order from the global generator, whose state is unknown to a resumed run.
            sampler.generator = self.length_order
        return sampler

    def _seed_workers(self, loader: Any) -> Any:
        """Give a loader with persistent workers its own generator for the seeds of the workers.

        Other loaders draw a number from the global generator, which dropout also uses, each time they
        start. Loaders with persistent workers would draw only when they first start, so
        `_draw_workers_seed` draws for them.
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
            # Trainer caches a loader with persistent workers by key, even if the rows have changed.
            getattr(self, "_eval_dataloaders", {}).pop(key or "eval", None)
            self._eval_rows[key] = rows
        return self._seed_workers(super().get_eval_dataloader(key or rows))

    def get_test_dataloader(self, test_dataset: Any) -> Any:
        rows = self._prepare(test_dataset, "prediction set", keep_all=True)
        return self._seed_workers(super().get_test_dataloader(rows))

    def get_perturbed_dataloader(self, rows: Any) -> Any:
        """Return a loader of the rows, in order, with one fickle and one obstinate draw per row."""
        sampler = getattr(self._own_collator, "sampler", None)
        versions = {
            kind: getattr(sampler, kind, None) or self._get_perturbation(kind) for kind in KINDS
        }
        single = {"num_fickle": 1, "num_obstinate": 1, "clean_epochs": 0, "perturb_anchor": False}
        # Distances to the anchor are not defined for labeled pairs.
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
        """Build a loader. Only training loaders use the collator that draws versions."""
        loader = super()._get_dataloader(*args, is_training=is_training, **kwargs)
        if is_training or not isinstance(self.data_collator, PerturbationCollator):
            return loader
        # Trainer supports only one collator.
        return _collate_with(loader, self.data_collator.clean())

    # ---- checkpoints --------------------------------------------------------------------------

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> Any:
        """Train like `Trainer.train`, starting from a checkpoint if one is given.

        Args:
            resume_from_checkpoint: Folder of a checkpoint, or `True` for the last complete checkpoint in
                `args.output_dir`. A warning is logged for damaged checkpoints that are skipped, for
                missing states, and for a checkpoint from a different run (method, seed, data, ...).
            trial: The trial of a hyperparameter search.
            ignore_keys_for_eval: Model outputs to ignore in evaluation.

        Raises:
            HfBatError: If the checkpoint is damaged, if no complete checkpoint exists, or if a
                checkpoint cannot be saved.
        """
        checkpoint: str | None = None
        if resume_from_checkpoint is True:
            checkpoint = find_checkpoint(str(self.args.output_dir))
            if checkpoint is None:
                raise HfBatError(
                    f"no checkpoint in {self.args.output_dir} can be resumed from: omit "
                    "resume_from_checkpoint to start over"
                )
        elif resume_from_checkpoint:
            checkpoint = check_checkpoint(str(resume_from_checkpoint))
        self._run_facts = None
        if checkpoint is not None and self.is_world_process_zero():
            warn_about_differences(checkpoint, self._describe_run())
        self._report_agreement()
        return super().train(checkpoint, trial, ignore_keys_for_eval)

    def _report_agreement(self) -> None:
        """Log how often the judge of the label filter agrees with the rule on a sample of training rows."""
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
                "the label judge %s agrees with the rule of the label filter on %s of %d edits (%d "
                "training rows)",
                judge.name,
                format_rate(share.rate),
                share.of,
                len(chosen),
            )

    def _get_judge(self) -> Any:
        """Return the judge that decides which obstinate versions are drawn, or `None`."""
        return getattr(getattr(self.data_collator, "sampler", None), "judge", None)

    def _describe_run(self) -> dict[str, Any]:
        if self._run_facts is None:
            rows = self._prepare_training(self.train_dataset)
            tables = collect_tables(self.used_perturbations(), self.canonicalizer)
            prints = {name: table.fingerprint for name, table in tables.items()}
            processes = self.accelerator.num_processes
            self._run_facts = describe_run(self.args, rows, prints, processes)
            if judge := self._get_judge():
                # The name includes a hash of the judge's weights.
                self._run_facts["training judge"] = judge.name
        return self._run_facts

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        path = Path(self._get_output_dir(trial=trial), f"checkpoint-{self.state.global_step}")
        with explain_failure(path, remove=self.args.should_save):
            if self.args.should_save:
                start_checkpoint(path, self._describe_run())
            # Other processes must not write to the folder while it is being emptied.
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)

    # ---- the loss -----------------------------------------------------------------------------

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Fetch the batches of an accumulation window and count the items of its means on all ranks."""
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
        # Whether a batch has versions depends only on the epoch. All batches of a window, on all ranks,
        # therefore have the same counts.
        if method.draws and all(f"{kind}_mask" in batch for kind in method.draws):
            counts |= {name: count.float() for name, count in method.count(batch).items()}
        return counts

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        # This includes the backward pass, because gradient checkpointing repeats the forward pass
        # there.
        with disable_cudnn_attention():
            return super().training_step(*args, **kwargs)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Compute the loss of one micro-batch, scaled so that the losses of a window add up to its mean.

        Args:
            model: The wrapped model.
            inputs: A batch from `PerturbationCollator`, or a tokenized batch with `labels`.
            return_outputs: Also return the anchors' logits. Defaults to `False`.
            num_items_in_batch: Divisor that is passed to `compute_loss_func`.

        Returns:
            The scalar loss. With `return_outputs`, also an output with `logits` (B, labels).
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
            # A custom collator may draw versions that the method does not use.
            anchors_only=not method.draws,
            chunk_size=args.contrastive_chunk or self._chunk_size,
            is_cached=args.contrastive_chunk is not None,
            width_multiple=args.pad_to_multiple_of or 1,
        )
        output, labels = SequenceClassifierOutput(logits=forward.logits), inputs["labels"]
        if not model.training and not forward.versions:
            # Trainer weights each batch's loss by the number of its rows that are not repeated.
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
                # Gradients are averaged over ranks afterward, but the counts already cover all
                # ranks.
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
            # `num_items` covers all ranks, and the gradients are averaged over ranks afterward.
            loss = loss * self.accelerator.num_processes
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        # Trainer measures the norm between clipping and the optimizer step. The norm is the same on all
        # ranks, so they stop together without another pass over the parameters. Trainer has this method
        # since transformers 5.6. For older versions, `RunCallback` calls `check_gradient`.
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self.check_gradient(norm)
        return norm

    def check_gradient(self, norm: Any = None) -> None:
        """Stop the run before the optimizer step if the gradient is not finite.

        Args:
            norm: Gradient norm over all ranks. If `None`, it is computed.
        """
        scaler = self.accelerator.scaler
        # The fp16 scaler skips these steps and lowers its scale. DeepSpeed has already taken its
        # step.
        if (scaler is not None and scaler.is_enabled()) or self.is_deepspeed_enabled:
            return
        if norm is None:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            # With sharded weights each rank has a part of the norm. NaN and infinity survive the
            # sum.
            norm = self.accelerator.reduce(norm.to(self.args.device), reduction="sum")
        check_finite(norm, "gradient", self.state.global_step + 1)

    # ---- evaluation and logs ------------------------------------------------------------------

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Evaluate raw rows like `Trainer.evaluate`, and store the results for the model card.

        The card has one section per `metric_key_prefix`, with the last evaluation that used the
        prefix.
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
        """Run `Trainer.evaluation_loop`, and add distances and attack metrics except in prediction."""
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
            args.get_entries("attacks"),
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
        """Build the attacker of training rows from the current arguments; `None` for most methods."""
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
                f"{option} needs the full model on each rank, which FSDP and DeepSpeed do not keep: train "
                "with plain data parallelism, or use `hf-bat attack` or `contrast` on the saved model"
            )

    def perturbation_distances(self, rows: Any) -> dict[str, float]:
        """Measure the mean distance of raw rows to one fickle and one obstinate draw, without dropout.

        Returns:
            `fickle_distance` and `obstinate_distance` (means over rows with a valid draw), and
            `fickle_valid` and `obstinate_valid` (the share of rows with a valid draw), over all ranks.
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
        """Log training values, with the means of the loss components added."""
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
            A `Preview`. Print it to see the changed words and the share of rows that have each
            version.
        """
        if self.task is None:
            raise HfBatError("preview needs raw text: pass task= to the trainer")
        method = self.args.get_method()
        if method.attack_recipe:
            raise HfBatError(
                f"method={method.name!r} creates its versions when an epoch starts: look at "
                f"{get_adversarial_folder(self.args)} during training"
            )
        dataset = self.train_dataset if rows is None else self._prepare(rows, "previewed set")
        if is_stream(dataset):
            raise HfBatError("a stream cannot be sampled for a preview: pass rows= to preview")
        if dataset is None:
            raise HfBatError("nothing to preview: pass rows= or a train_dataset")
        collator = self._own_collator
        if collator is None:
            # For a method without versions, the preview shows draws from the tables.
            drawn = {} if method.draws else {kind: self._get_perturbation(kind) for kind in KINDS}
            collator = self._make_collator(**drawn)
        if collator.sampler.judge is not None:
            # Judges are slow, so the shares are computed over fewer rows.
            dataset = dataset.select(choose_rows(len(dataset), _JUDGED_ROWS, "even"))
            collator.sampler.prepare(dataset)
        names = reconcile_labels(self.task, self.model.config).model_names
        return Preview(dataset, collator.sampler, n, collator.clean_epochs, names)

    def save_perturbations(self, output_dir: str | Path) -> dict[str, str]:
        """Save the tables that the method draws from, with a description and their hashes.

        Args:
            output_dir: Folder where `perturbations.json` and the tables are saved.

        Returns:
            Dict of table name -> fingerprint. Empty for a method without tables.
        """
        attack = None if self.adversary is None else self.adversary.recipe
        return save_perturbations(
            output_dir, self.args.method, self.used_perturbations(), self.canonicalizer, attack
        )

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        with explain_failure(Path(output_dir or str(self.args.output_dir))):
            super()._save(output_dir, state_dict)
        # Whoever loads the model needs to know about its defense. Trainer calls `_save` on every
        # rank.
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
        """Run the search of `Trainer`, by default for the highest `robustness_objective`.

        Each trial starts from the options in the arguments, so a space may set the weights of a
        single method.
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
        """Write `README.md`, the card of `Trainer` with the method, tables, attacks, limits and citation.

        The results come from `evaluate` calls on the current weights of the model. The arguments
        are the same as in `Trainer`. The tags `hf_bat` and the method name are always added to
        `tags`, and a local folder given as `finetuned_from` is left out of the card.
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
        # This is the last local step of `push_to_hub`. Later failures come from the upload.
        self._is_uploading = True

    def _get_step_of_weights(self) -> int:
        """Return the step of the model's current weights, which may be the best step."""
        best = self.state.best_global_step
        if self.args.load_best_model_at_end and best and not self.is_in_train:
            return best
        return self.state.global_step

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Create the repository on the Hub. With `push_to_hub` set, this runs before training."""
        try:
            with self._create_private(private):
                super().init_hf_repo(token)
        except Exception as error:  # huggingface_hub may use any HTTP library
            name = self.args.hub_model_id or "the repository"
            raise HfBatError(
                f"cannot create {name} on the Hub: {describe_cause(error)}; check the name and "
                "`hf auth whoami`, or omit push_to_hub and push later"
            ) from error

    @contextmanager
    def _create_private(self, private: bool | None) -> Iterator[None]:
        """Create repositories as private or public. Trainer supports this itself since transformers 5.23."""
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
        """Push the model with its card. If the upload fails, the local copy of the model is complete.

        Args:
            commit_message: Commit message.
            blocking: Whether to wait for the upload. If `False`, the returned future reports
                failures.
            token: Token with write permission. If `None`, `hub_token` or the token you logged in
                with is used.
            revision: Branch to commit to.
            private: Whether a newly created repository is private.
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
    """Replace the collator of a loader that has not been iterated yet."""
    # accelerate iterates over the wrapped loader.
    for part in (loader, getattr(loader, "base_dataloader", loader)):
        part.collate_fn = collator
    return loader
