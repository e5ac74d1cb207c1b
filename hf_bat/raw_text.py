"""A Trainer that takes raw rows: labels reconciled, text kept for the collator, evaluation clean."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any, cast

import torch
from torch import nn
from transformers import Trainer

from hf_bat.a2t import AdversarialSampler
from hf_bat.canonicalize import Canonicalizer
from hf_bat.collator import PerturbationCollator
from hf_bat.data import add_column, prepare_dataset
from hf_bat.errors import HfBatError
from hf_bat.labels import check_single_label, has_named_labels, label_map
from hf_bat.lengths import check_length
from hf_bat.lexicon.table import TableSource
from hf_bat.method_checks import check_own_collator
from hf_bat.methods import BALANCED_METHODS
from hf_bat.perturbations import (
    Perturbation,
    SynonymPerturbation,
    build_obstinate,
    build_perturbations,
)
from hf_bat.perturbations.build import DEFAULT_EDITS
from hf_bat.perturbations.validity import inference_names
from hf_bat.tasks import Task, get_task, with_label_names
from hf_bat.training_args import BalancedTrainingArguments

logger = logging.getLogger(__name__)


class RawTextTrainer(Trainer):
    """The half of `BalancedTrainer` that is about data; see there for the arguments."""

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
        **kwargs: Any,
    ):
        if args is None:
            args = BalancedTrainingArguments("tmp_trainer")
        if not isinstance(args, BalancedTrainingArguments):
            raise HfBatError(f"args must be BalancedTrainingArguments; got {type(args).__name__}")
        self.task = get_task(task) if task is not None else None
        self._synonyms, self._antonyms = synonyms, antonyms
        self._own_collator = data_collator
        self._made_perturbations: tuple[Any, tuple[SynonymPerturbation, Perturbation]] | None = None
        # The rows of each evaluation loader that is kept.
        self._loader_rows: dict[str, Any] = {}
        self._check_inputs(args, data_collator, processing_class, kwargs)
        super().__init__(
            model, args, data_collator, train_dataset, eval_dataset, processing_class, **kwargs
        )
        self._defence = self._defence_options()
        self._check_own_defence()
        check_single_label(self.model.config)
        self._check_class_weights()
        if self.task is not None:
            self._check_length()
            self._prepare_everything(train_dataset, eval_dataset)

    def _check_inputs(
        self,
        args: BalancedTrainingArguments,
        collator: Any,
        tokenizer: Any,
        kwargs: Mapping[str, Any],
    ) -> None:
        if self.task is None:
            if args.method != "normal" or self._synonyms is not None or self._antonyms is not None:
                raise HfBatError(
                    f"method={args.method!r} perturbs raw text: give task=, e.g. task='snli'"
                )
            for option, does in (("eval_distances", "perturbs"), ("canonicalize", "rewrites")):
                if getattr(args, option):
                    raise HfBatError(
                        f"{option} {does} raw text: give task=, e.g. task='snli', or leave it out"
                    )
        elif tokenizer is None:
            raise HfBatError(
                "give the tokenizer as processing_class=; the collator tokenises raw text"
            )
        elif collator is not None and not isinstance(collator, PerturbationCollator):
            raise HfBatError(
                f"data_collator must be a PerturbationCollator; got {type(collator).__name__}"
            )
        elif collator is not None and args.canonicalize and collator.canonicalizer is None:
            raise HfBatError(
                "canonicalize would pass your data_collator by: give it a canonicalizer=, or leave one "
                "of them out"
            )
        elif collator is not None and args.method == "a2t":
            raise HfBatError(
                "method='a2t' finds its versions by attack: leave data_collator out, or choose another"
            )
        elif collator is not None:
            check_own_collator(args, collator)
        if kwargs.get("compute_loss_func") is not None and (
            args.class_weights or args.label_smoothing_factor
        ):
            raise HfBatError(
                "compute_loss_func replaces the cross-entropy, so class_weights and "
                "label_smoothing_factor would be ignored: leave one of them out"
            )

    def _check_own_defence(self) -> None:
        """Refuse a user's collator that reads texts otherwise than attacks do and reports say."""
        collator = self._own_collator
        own = collator.canonicalizer if isinstance(collator, PerturbationCollator) else None
        if own is None:
            return
        if not self.args.canonicalize:
            raise HfBatError(
                "your data_collator has a canonicalizer, which attacks would pass by and no report or "
                "saved model disclose: set canonicalize=True, or make the collator without one"
            )
        wanted = cast(Canonicalizer, self.canonicalizer).fingerprint
        if getattr(own, "fingerprint", None) != wanted:
            raise HfBatError(
                "your data_collator has another canonicalizer than canonicalize=True makes of the table of "
                "synonyms= and attacks with: give it "
                "Canonicalizer(build_perturbations(synonyms, antonyms)[0].table), both made with casing and "
                "drop_antonyms_from_synonyms as the arguments have them"
            )

    def _check_class_weights(self) -> None:
        weights, labels = self.args.class_weights, self.model.config.num_labels
        if weights is not None and len(weights) != labels:
            raise HfBatError(
                f"class_weights has {len(weights)} values and the model {labels} labels"
            )

    def _check_length(self) -> None:
        """Refuse a length that the model would only fail at with the first long row."""
        check_length(self.model.config, self.args.max_seq_length, "max_seq_length")
        if self._own_collator is not None:
            wanted = self._own_collator.max_length
            check_length(self.model.config, wanted, "your data_collator's max_length")

    @property
    def _text_task(self) -> Task:
        """The task, where raw text is trained on."""
        assert self.task is not None
        return self.task

    def _prepare_everything(self, train_dataset: Any, eval_dataset: Any) -> None:
        self._name_labels(self.model)
        if train_dataset is not None:
            self.train_dataset = self._prepare(train_dataset, "training set")
        if isinstance(eval_dataset, dict):
            self.eval_dataset = {
                name: self._prepare(rows, f"evaluation set {name!r}")
                for name, rows in eval_dataset.items()
            }
        elif eval_dataset is not None:
            self.eval_dataset = self._prepare(eval_dataset, "evaluation set")
        self._name_padding(self.model)
        self.data_collator = self._own_collator or self._make_collator()

    def call_model_init(self, trial: Any = None) -> nn.Module:
        model = super().call_model_init(trial)
        if self.task is not None:
            self._name_labels(model)
            if hasattr(self, "processing_class"):  # not yet on the first call, inside __init__
                self._name_padding(model)
        return model

    def _name_padding(self, model: nn.Module) -> None:
        """Tell a model that knows no padding token (GPT-2) the tokenizer's."""
        config: Any = model.config
        if config.pad_token_id is None:
            config.pad_token_id = self.processing_class.pad_token_id

    def _name_labels(self, model: nn.Module) -> None:
        """Give a model that only has LABEL_0, LABEL_1, ... the task's label names."""
        config: Any = model.config
        names = self._text_task.label_names
        if names and not has_named_labels(config) and config.num_labels == len(names):
            config.id2label = dict(enumerate(names))
            config.label2id = {name: i for i, name in enumerate(names)}
        elif not names:
            own = [config.id2label[i] for i in range(config.num_labels)]
            self.task = with_label_names(self._text_task, own)

    def _prepare(self, rows: Any, name: str, keep_all: bool = False) -> Any:
        dataset = prepare_dataset(rows, self._text_task, self.model.config, name, keep_all)
        column = self.args.length_column_name
        if self.args.train_sampling_strategy != "random" and column not in dataset.column_names:
            texts = [dataset[c][:] for c in self._text_task.columns]
            ids = self.processing_class(
                *texts, truncation=True, max_length=self.args.max_seq_length
            )
            dataset = add_column(dataset, column, [len(row) for row in ids["input_ids"]])
        return dataset

    @property
    def perturbations(self) -> tuple[SynonymPerturbation, Perturbation]:
        """The fickle and the obstinate perturbation that the tables and options make."""
        args = self.args
        tables = (args.drop_antonyms_from_synonyms, args.exclude_stopwords, args.casing)
        edits = (tuple(args.obstinate_edits or DEFAULT_EDITS), args.label_filter or "off")
        # A hyper-parameter search sets arguments between runs.
        if self._made_perturbations is None or self._made_perturbations[0] != (tables, edits):
            fickle, antonym = build_perturbations(self._synonyms, self._antonyms, *tables)
            made = fickle, build_obstinate(antonym, *edits)
            self._made_perturbations = (tables, edits), made
        return self._made_perturbations[1]

    def _defence_options(self) -> tuple[bool, str] | None:
        """What decides on the mapping of `canonicalizer`, None without one."""
        args = self.args
        return (args.drop_antonyms_from_synonyms, args.casing) if args.canonicalize else None

    @cached_property
    def canonicalizer(self) -> Canonicalizer | None:
        """The preprocessing defence, over the words of the synonym table; None without one."""
        if not self.args.canonicalize:
            return None
        if self.args.method != "normal":
            logger.warning(
                "canonicalize makes a fickle version of a row read like the row itself, so that method=%r "
                "has few valid fickle versions left",
                self.args.method,
            )
        return Canonicalizer(self.perturbations[0].table, self.args.casing)

    def used_perturbations(self) -> tuple[Perturbation, ...]:
        """What the method perturbs with: both kinds, the fickle one alone, or nothing."""
        used = {"normal": 0, "safer": 1, "a2t": 1}.get(self.args.method, 2)
        if self.args.a2t_candidates == "mlm":
            used = 0
        if used and self._own_collator is not None:
            sampler = self._own_collator.sampler
            return tuple(
                one for one in (sampler.fickle, sampler.obstinate)[:used] if one is not None
            )
        return self.perturbations[:used] if used else ()

    def _skipped_labels(self) -> frozenset[int]:
        labels = label_map(self._text_task, self.model.config)
        skipped = (labels.model_label(n, "the task") for n in self._text_task.skipped_labels)
        return frozenset(label for label in skipped if label is not None)

    def _label_names(self) -> list[str]:
        """The task's names of the model's labels, in the model's order; empty but for inference."""
        labels = label_map(self._text_task, self.model.config)
        names = [labels.data_name(label) for label in range(len(labels.model_names))]
        found = [name for name in names if name is not None]
        return list(inference_names(found)) if len(found) == len(names) else []

    def _make_collator(self, **overrides: Any) -> PerturbationCollator:
        args = self.args
        options: dict[str, Any] = {
            "skipped_labels": self._skipped_labels(),
            "num_fickle": args.num_fickle,
            "num_obstinate": args.num_obstinate,
            "clean_epochs": args.clean_epochs or 0,
            "max_length": args.max_seq_length,
            "seed": args.seed if args.data_seed is None else args.data_seed,
            "canonicalizer": self.canonicalizer,
            "label_names": self._label_names(),
        }
        if args.method not in ("normal", "a2t"):
            options["fickle"] = self.perturbations[0]
            options["perturb_anchor"] = args.method == "safer"
        if args.method in BALANCED_METHODS:
            options["obstinate"] = self.perturbations[1]
        if args.method == "likelihood":
            options["validity"] = getattr(self.perturbations[1], "validity", None)
        columns = self._text_task.columns
        collator = PerturbationCollator(self.processing_class, columns, **{**options, **overrides})
        if args.method == "a2t" and not overrides:
            collator.sampler = AdversarialSampler.from_arguments(args, columns)
        return collator

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if self.task is not None:
            wanted = [*self.task.columns, "idx", self.args.length_column_name]
            self._signature_columns += [c for c in wanted if c not in self._signature_columns]

    def get_train_dataloader(self) -> Any:
        self.args.check_method()
        if self.task is not None:
            self._check_length()  # which a hyper-parameter search may have set
        if self._defence_options() != self._defence:
            raise HfBatError(
                "canonicalize, its table (drop_antonyms_from_synonyms) and casing are fixed once the "
                "trainer is made, for evaluation has them too: make another trainer"
            )
        if self.task is not None and self.train_dataset is not None:
            self.train_dataset = self._prepare(self.train_dataset, "training set")
        if self.task is not None and self._own_collator is None:
            # A hyper-parameter search sets arguments between runs. Who looks at a loader during
            # training must not leave the running one behind in its epoch.
            made = self._make_collator()
            made.follow(self.data_collator)
            self.data_collator = made
        loader = super().get_train_dataloader()
        if self.args.dataloader_persistent_workers:
            # Such a loader draws a seed when it first starts, a resumed run's at another step: not
            # from the global generator, which dropout goes on with.
            getattr(loader, "base_dataloader", loader).generator = torch.Generator()
        return loader

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        key = eval_dataset if isinstance(eval_dataset, str) else "eval"
        if isinstance(eval_dataset, str):
            rows = self.eval_dataset[eval_dataset]
        else:
            rows = self.eval_dataset if eval_dataset is None else eval_dataset
        if self.args.dataloader_persistent_workers and self._loader_rows.get(key) is not rows:
            # The Trainer keeps such a loader by its key, whatever rows it is asked for next.
            getattr(self, "_eval_dataloaders", {}).pop(key, None)
            self._loader_rows[key] = rows
        if self.task is not None and rows is not None:
            rows = self._prepare(rows, "evaluation set")
            if isinstance(eval_dataset, str):
                self.eval_dataset[eval_dataset] = self._loader_rows[key] = rows
            else:
                eval_dataset = rows
        with self._unperturbed():
            return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> Any:
        if self.task is not None:
            test_dataset = self._prepare(test_dataset, "prediction set", keep_all=True)
        with self._unperturbed():
            return super().get_test_dataloader(test_dataset)

    def get_perturbed_dataloader(self, rows: Any) -> Any:
        """Batches of rows with one fickle and one obstinate draw each, in order, whatever the method."""
        sampler = getattr(self._own_collator, "sampler", None)
        fickle = getattr(sampler, "fickle", None) or self.perturbations[0]
        obstinate = getattr(sampler, "obstinate", None) or self.perturbations[1]
        collator = self._make_collator(
            fickle=fickle,
            obstinate=obstinate,
            perturb_anchor=False,
            clean_epochs=0,
            num_fickle=1,
            num_obstinate=1,
        )
        with self._collating_with(collator):
            return self._get_dataloader(
                dataset=self._prepare(rows, "evaluation set"),
                description="Evaluation",
                batch_size=self.args.eval_batch_size,
                sampler_fn=self._get_eval_sampler,
            )

    def _unperturbed(self) -> AbstractContextManager[None]:
        collator = self.data_collator
        return self._collating_with(
            collator.clean() if isinstance(collator, PerturbationCollator) else collator
        )

    @contextmanager
    def _collating_with(self, collator: Any) -> Iterator[None]:
        kept, self.data_collator = self.data_collator, collator
        try:
            yield
        finally:
            self.data_collator = kept
