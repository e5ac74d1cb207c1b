"""Attacks during training, which add metrics to the evaluations of any `Trainer`."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import accelerate
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import has_length

from hf_bat.attack import Attack, AttackReport, Recipe, get_recipe
from hf_bat.attack.figures import is_attack_metric, list_figures
from hf_bat.attack.models import as_classifier, hash_weights
from hf_bat.canonicalize import Canonicalizer
from hf_bat.collator import PerturbationCollator
from hf_bat.errors import HfBatError
from hf_bat.evaluation.contrast import (
    ContrastReport,
    SuiteReport,
    contrast_model,
    score_suite,
)
from hf_bat.evaluation.suites import read_suite
from hf_bat.metrics.functional import robustness_score
from hf_bat.objective import LossMeter
from hf_bat.streams import is_stream
from hf_bat.tasks import Task, get_task, load_split

logger = logging.getLogger(__name__)


class RobustnessMeter:
    """Attacks a model with a list of recipes and returns the results as metrics.

    Args:
        attacks: Recipes, or names of recipes for `hf_bat.attack.get_recipe`.
        task: Task of the rows, or its name.
        tokenizer: The model's tokenizer.
        max_samples: Maximum number of rows to attack. If `None`, all rows are attacked.
        batch_size: Maximum number of inputs in a forward pass. If `None`, it depends on the device.
        dtype: "float32", or "bfloat16" or "float16" with autocast. Defaults to "float32".
        max_length: Maximum input length in tokens, as in training.
        label_filter: Whether to report the edits that likely change the label separately; see
            `Attack`.
        canonicalizer: Preprocessing defense of the model; see `CanonicalizedModel`.
        row_choice: Which rows `max_samples` selects: "even" (spread over all rows, the default) or
            "first".
        **options: Options for `hf_bat.attack.get_recipe`: `synonyms`, `antonyms`, `encoder`, ...

    Raises:
        HfBatError: If `attacks` is empty, an attack is unknown, or a table cannot be read.
    """

    def __init__(
        self,
        attacks: Sequence[str | Recipe],
        task: str | Task,
        tokenizer: Any,
        max_samples: int | None = None,
        batch_size: int | None = None,
        dtype: str = "float32",
        max_length: int | None = None,
        label_filter: bool = False,
        canonicalizer: Canonicalizer | None = None,
        row_choice: str = "even",
        **options: Any,
    ):
        if not attacks:
            raise HfBatError("name at least one attack, such as 'antonym'")
        # A recipe object has its own splitter or none.
        own = {**options, "splitter": None}
        self.recipes = [
            get_recipe(a, max_length=max_length, **(own if isinstance(a, Recipe) else options))
            for a in attacks
        ]
        self.task = get_task(task)
        self.tokenizer = tokenizer
        self.max_samples, self.row_choice = max_samples, row_choice
        self._model_options: Any = {"dtype": dtype, "canonicalizer": canonicalizer}
        self._attack_options: Any = {"batch_size": batch_size, "label_filter": label_filter}
        #: Reports of the last measurement by short name of the attack.
        self.reports: dict[str, AttackReport] = {}

    def measure(
        self, model: Any, rows: Any, prefix: str = "eval", accuracy: float | None = None
    ) -> dict[str, float]:
        """Attack the model with every recipe. In a distributed run, every rank must call this with all rows.

        Args:
            model: A sequence classifier.
            rows: Raw rows with labels.
            prefix: Prefix of the metrics' names. Defaults to `"eval"`.
            accuracy: Accuracy for the combined score. If `None`, the accuracy on the attacked rows
                is used.

        Returns:
            `{prefix}_{attack}_{figure}` for the figures logged by `hf_bat.attack.figures`, as fractions.
            Rates over zero rows are left out. With both a synonym and an antonym attack, also
            `{prefix}_robustness`, the harmonic mean of accuracy, 1 - synonym ASR and 1 - antonym ASR
            (strict).
        """
        metrics: dict[str, float] = {}
        self.reports = {}
        known: dict[Any, Any] = {}  # predictions on the rows, shared by the attacks
        for recipe in self.recipes:
            length = recipe.max_length
            classifier = as_classifier(model, self.tokenizer, length, **self._model_options)
            attack = Attack(recipe, classifier, task=self.task, **self._attack_options)
            report = attack.run(
                rows, max_samples=self.max_samples, known=known, row_choice=self.row_choice
            )
            self.reports[attack.name] = report
            summary = report[attack.name]
            for figure in list_figures("evaluation"):
                value = figure.read(summary)
                if value is not None and attack.recipe.goal.kind in figure.logged_for:
                    metrics[f"{prefix}_{attack.name}_{figure.name}"] = value
            if accuracy is None:
                accuracy = summary["accuracy"]
        return metrics | _combine_rates(metrics, prefix, accuracy)


class ContrastMeter:
    """Scores a model on a contrast set and returns the results as metrics.

    Args:
        args: `BalancedTrainingArguments` with a `contrast_file`.
        task: Task of rows edited by people. A public suite has its own columns and labels.
        tokenizer: The model's tokenizer.
        config: The model's configuration.
        canonicalizer: Preprocessing defense of the model; see `CanonicalizedModel`.

    Raises:
        HfBatError: If the file cannot be read, or has a label that the model does not have.
    """

    def __init__(
        self,
        args: Any,
        task: Task,
        tokenizer: Any,
        config: Any,
        canonicalizer: Canonicalizer | None = None,
    ):
        self.args, self.task, self.tokenizer = args, task, tokenizer
        self.canonicalizer = canonicalizer
        self._last: tuple[str, dict[str, float]] | None = None
        self.suite = read_suite(args.contrast_file, args.contrast_format, task.columns)
        if self.suite is not None:
            # Checked now rather than after the first epoch.
            self.suite.name_outputs(config)
            return
        self.rows = load_split(args.contrast_file, task=task)
        if "original_idx" not in self.rows.column_names:
            raise HfBatError(
                f"contrast_file {args.contrast_file} is no known suite and has no column 'original_idx'"
            )

    def measure(self, model: Any, prefix: str = "eval") -> dict[str, float]:
        """Score the model. In a distributed run, every rank scores all rows.

        Args:
            model: A sequence classifier.
            prefix: Prefix of the metrics' names. Defaults to `"eval"`.

        Returns:
            `{prefix}_contrast_accuracy` and `{prefix}_contrast_accuracy_{category}`. For rows edited by
            people, the categories are originals and edits, and `{prefix}_contrast_consistency`,
            `_fickle_errors` and `_obstinate_errors` are added.
        """
        # The rows do not depend on the evaluation set, so one pass per model is enough.
        digest = hashlib.sha256()
        hash_weights(digest, model)
        if self._last is None or self._last[0] != digest.hexdigest():
            self._last = digest.hexdigest(), self._score(model)
        return {f"{prefix}_contrast_{name}": rate for name, rate in self._last[1].items()}

    def _score(self, model: Any) -> dict[str, float]:
        args = self.args
        classifier = as_classifier(
            model,
            self.tokenizer,
            args.max_seq_length,
            dtype=args.autocast_dtype,
            canonicalizer=self.canonicalizer,
        )
        options: dict[str, Any] = {"batch_size": args.eval_batch_size}
        if args.disable_tqdm:
            options["progress"] = False
        report: ContrastReport | SuiteReport
        if self.suite is None:
            report = contrast_model(classifier, self.rows, self.task, **options)
        else:
            report = score_suite(classifier, self.suite, **options)
        return report.to_metrics()


def _combine_rates(
    metrics: Mapping[str, float], prefix: str, accuracy: float | None
) -> dict[str, float]:
    """Return the combined score as a metric, or an empty dict if a part of it is missing."""
    rates = (metrics.get(f"{prefix}_{attack}_asr") for attack in ("synonym", "antonym"))
    score = robustness_score(accuracy, *rates)
    return {} if score is None else {f"{prefix}_robustness": score}


class RobustnessCallback(TrainerCallback):
    """Adds attack metrics to every evaluation of a plain `transformers.Trainer`.

    The metrics are available to best-model selection and in the log history. With `trainer`, they are also
    logged to TensorBoard and other trackers. To choose the best model by an attack success rate, set
    `greater_is_better=False`, because plain `TrainingArguments` choose the highest value.

    Args:
        rows: Raw rows with text columns and labels. The Trainer's own rows cannot be used, because
            they are tokenized.
        task: Task of the rows, or its name.
        attacks: See `RobustnessMeter`. Defaults to antonyms and synonyms.
        trainer: The Trainer, if it already exists: `trainer.add_callback(RobustnessCallback(...,
            trainer=trainer))`. If `None`, the metrics are not sent to trackers.
        **options: See `RobustnessMeter`.

    Example:
        >>> callback = RobustnessCallback(rows, "snli", ["antonym"], max_samples=500)  # doctest: +SKIP
        >>> trainer = Trainer(model, args, callbacks=[callback], ...)  # doctest: +SKIP
    """

    def __init__(
        self,
        rows: Any,
        task: str | Task,
        attacks: Sequence[str | Recipe] = ("antonym", "synonym"),
        trainer: Any = None,
        **options: Any,
    ):
        self.rows = rows
        self.task = get_task(task)
        self.attacks = attacks
        self.trainer = trainer
        self.options = options
        self._meter: RobustnessMeter | None = None
        self._last: tuple[str, dict[str, float]] | None = None

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Attack the model and add the results to the evaluation metrics."""
        metrics: dict[str, float] = kwargs["metrics"]
        # Created here, because a callback does not know its Trainer before the first event.
        if self._meter is None:
            options: dict[str, Any] = {"tokenizer": kwargs.get("processing_class")} | self.options
            if options["tokenizer"] is None:
                raise HfBatError(
                    "RobustnessCallback needs the Trainer's processing_class, or tokenizer="
                )
            options = {"batch_size": args.eval_batch_size, **options}
            self._meter = RobustnessMeter(self.attacks, self.task, **options)
        # The attacked rows do not depend on the evaluation set, so one attack per model is enough.
        # Only the accuracy in the combined score differs.
        digest = hashlib.sha256()
        hash_weights(digest, kwargs["model"])
        if self._last is None or self._last[0] != digest.hexdigest():
            self._last = digest.hexdigest(), self._meter.measure(kwargs["model"], self.rows)
        rates = self._last[1]
        rates = rates | _combine_rates(rates, "eval", metrics.get("eval_accuracy"))
        metrics |= rates
        add_missing_metric(metrics, args.metric_for_best_model)
        for name, value in rates.items():
            logger.info("%s = %.4f", name, value)
        if self.trainer is not None:
            self.trainer.log(dict(rates))
            return
        # Trainer logs an evaluation before it runs the callbacks.
        if state.log_history and any(name.endswith("_loss") for name in state.log_history[-1]):
            state.log_history[-1] |= rates


class RunCallback(TrainerCallback):
    """Resets the trainer's metrics for each run, sets the collator's epoch, and attacks training rows.

    A run that resumes mid-epoch continues with that epoch's draws.
    """

    def __init__(self, trainer: Any):
        self.trainer = trainer
        self._passes = 0  # over a stream of rows, in this run
        self._first_step = 0  # of this run, above 0 if it resumes

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer = self.trainer
        # Discard the metrics of an earlier run.
        trainer.loss_meter, trainer.evaluations = LossMeter(), []
        self._passes, self._first_step = 0, state.global_step
        if state.is_hyper_param_search:
            trainer.adversary = trainer.make_adversary()
        batches = kwargs["train_dataloader"]
        if has_length(batches):
            trainer.steps_per_epoch = max(1, -(-len(batches) // args.gradient_accumulation_steps))
        _check_resumed_rows(state.global_step % trainer.steps_per_epoch)
        collator = trainer.data_collator
        if isinstance(collator, PerturbationCollator) and args.get_method().draws:
            args.check_epochs(collator.clean_epochs, trainer.steps_per_epoch)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not hasattr(Trainer, "_get_grad_norm"):  # before transformers 5.6
            self.trainer.check_gradient()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trainer, epoch = self.trainer, state.epoch or 0.0
        trainer.begins_epoch = True
        if is_stream(trainer.train_dataset):
            # A stream has no length, so the epoch in the state is a share of all steps.
            if self._passes == 1 and state.global_step == self._first_step > 0:
                raise HfBatError(
                    f"cannot resume at step {self._first_step}: the stream of training rows ends before it, "
                    "and Trainer only skips rows of the first pass; resume from an earlier checkpoint, or "
                    "train on a data set with a length"
                )
            epoch, self._passes = float(self._passes), self._passes + 1
        if isinstance(trainer.data_collator, PerturbationCollator):
            trainer.data_collator.set_epoch(int(epoch))
        seed = args.seed if args.data_seed is None else args.data_seed
        trainer.length_order.manual_seed(seed + int(epoch))
        if trainer.adversary is not None:
            figures = trainer.adversary.start_epoch(trainer.model, trainer.train_dataset, epoch)
            if figures:
                trainer.log(figures)


def _check_resumed_rows(step: int) -> None:
    """Check that a run that resumes after `step` steps of the epoch continues with new rows."""
    # Older versions shuffle with a different seed when the first batches are skipped.
    major, minor = map(int, accelerate.__version__.split(".")[:2])
    if step and (major, minor) < (1, 7):
        raise HfBatError(
            f"accelerate {accelerate.__version__} repeats rows when it resumes inside an epoch: "
            "pip install 'accelerate>=1.7', or resume from a checkpoint at the end of an epoch"
        )


def add_missing_metric(metrics: dict[str, float], wanted: str | None) -> None:
    """Set the attack metric that selects the best model (`wanted`) to NaN if it is a rate over zero rows."""
    # With a missing key, Trainer would stop. NaN is never the best value.
    key = f"eval_{str(wanted).removeprefix('eval_')}"
    # With several evaluation sets, only check the set that the metric belongs to.
    prefixes = [name.removesuffix("loss") for name in metrics if name.endswith("_loss")]
    if is_attack_metric(wanted) and key not in metrics and key.startswith(tuple(prefixes)):
        logger.warning("%s is a rate over nothing: no row could be attacked", key)
        metrics[key] = float("nan")


def drop_missing_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics without the NaN values set by `add_missing_metric`."""
    return {
        name: value
        for name, value in metrics.items()
        if not (is_attack_metric(name) and isinstance(value, float) and math.isnan(value))
    }


def should_attack(when: str, state: Any, in_training: bool) -> bool:
    """Return whether an evaluation during or after training includes attacks; see `attack_every`."""
    if when == "eval" or not in_training:
        return True
    return when == "epoch" and float(state.epoch or 0.0).is_integer()


def robustness_objective(metrics: Mapping[str, float]) -> float:
    """Return the objective of a hyperparameter search: `eval_robustness`, or accuracy if it is missing."""
    for name in ("eval_robustness", "eval_accuracy"):
        if name in metrics:
            return metrics[name]
    raise HfBatError(
        "nothing to maximize: eval_robustness and eval_accuracy are missing; "
        "pass compute_metrics or compute_objective"
    )
