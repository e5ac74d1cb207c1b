"""Attacks while training: the metrics that `evaluate` adds, for any Trainer."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback

from hf_bat.attack import Attack, AttackReport, Recipe, get_recipe
from hf_bat.attack.canonical import defended
from hf_bat.attack.figures import is_attack_metric, list_figures
from hf_bat.attack.transformer import hash_weights
from hf_bat.canonicalize import Canonicalizer
from hf_bat.errors import HfBatError
from hf_bat.metrics.functional import robustness_score
from hf_bat.perturbations import LabelValidity
from hf_bat.tasks import Task, get_task

logger = logging.getLogger(__name__)


class RobustnessMeter:
    """Attacks a model with named recipes and gives the outcome as metrics.

    Args:
        attacks: recipes, or names that `hf_bat.attack.get_recipe` knows.
        task: the rows' task or its name.
        tokenizer: the model's tokenizer.
        max_samples: attack the first so many rows, right or wrong; all where None.
        batch_size: the most inputs in a forward pass; by device where None.
        dtype: "float32", or "bfloat16" or "float16" by autocast.
        max_length: tokens after which an input is cut, as in training.
        label_filter: report the edits that likely change the label apart too; see `Attack`.
        canonicalizer: the preprocessing defence that the model has; see `CanonicalizedModel`.
        **options: what else `hf_bat.attack.get_recipe` takes: `synonyms`, `antonyms`, `encoder`, ...

    Raises:
        HfBatError: no attack is named, or one that is not known, or a table cannot be read.
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
        **options: Any,
    ):
        if not attacks:
            raise HfBatError("name at least one attack, such as 'antonym'")
        self.recipes = [get_recipe(name, max_length=max_length, **options) for name in attacks]
        self.task = get_task(task)
        self.tokenizer = tokenizer
        self.max_samples = max_samples
        self.batch_size = batch_size
        self.dtype = dtype
        self.label_filter: bool | LabelValidity = LabelValidity() if label_filter else False
        self.canonicalizer = canonicalizer
        #: The reports of the last measurement, by the attack's short name.
        self.reports: dict[str, AttackReport] = {}

    def measure(
        self, model: Any, rows: Any, prefix: str = "eval", accuracy: float | None = None
    ) -> dict[str, float]:
        """Attack the model with every recipe.

        In a distributed run every rank calls this with all rows.

        Args:
            model: a sequence classifier.
            rows: raw rows, with labels.
            prefix: what the metrics' names begin with.
            accuracy: for the combined score; the accuracy on the attacked rows where None.

        Returns:
            `{prefix}_{attack}_asr`, for obstinate attacks also `_asr_confident` and `_keep_rate`, then
            `_asr_attackable` and `_attackable`, as fractions; a rate over nothing is left out. With the
            label filter also `_valid_asr`, ..., `_valid_keep_rate` and `_invalid_keep_rate`. With
            both a synonym and an antonym attack also `{prefix}_robustness`, the harmonic mean of
            accuracy, 1 - synonym ASR and 1 - antonym ASR (strict).
        """
        metrics: dict[str, float] = {}
        self.reports = {}
        known: dict[Any, Any] = {}
        for recipe in self.recipes:
            attack = Attack(
                recipe,
                self._defended(model, recipe),
                self.tokenizer,
                self.task,
                batch_size=self.batch_size,
                # A defended model has been set up with it.
                dtype=self.dtype if self.canonicalizer is None else "float32",
                label_filter=self.label_filter,
            )
            report = attack.run(rows, max_samples=self.max_samples, known=known)
            self.reports[attack.name] = report
            summary = report[attack.name]
            for figure in list_figures("evaluation"):
                value = figure.read(summary)
                if value is not None and attack.recipe.goal.kind in figure.logged_for:
                    metrics[f"{prefix}_{attack.name}_{figure.name}"] = value
            if accuracy is None:
                accuracy = summary["accuracy"]
        return metrics | _combined(metrics, prefix, accuracy)

    def _defended(self, model: Any, recipe: Recipe) -> Any:
        if self.canonicalizer is None:
            return model
        return defended(model, self.tokenizer, self.canonicalizer, recipe.max_length, self.dtype)


def _combined(
    metrics: Mapping[str, float], prefix: str, accuracy: float | None
) -> dict[str, float]:
    """The combined score, where there is all that it is made of."""
    synonym, antonym = (metrics.get(f"{prefix}_{name}_asr") for name in ("synonym", "antonym"))
    if accuracy is None or synonym is None or antonym is None:
        return {}
    score = robustness_score(accuracy, synonym, antonym)
    return {} if score is None else {f"{prefix}_robustness": score}


class RobustnessCallback(TrainerCallback):
    """Adds attack metrics to every evaluation of a plain `transformers.Trainer`.

    The metrics reach best-model selection and the log history; `BalancedTrainingArguments(attacks=[...])`
    also sends them to TensorBoard and the like, which a callback cannot. To choose the best model by an
    attack success rate, set `greater_is_better=False`: plain `TrainingArguments` take the highest.

    Args:
        rows: raw rows with text columns and labels: the Trainer's own are tokenised.
        task: their task or its name.
        attacks: see `RobustnessMeter`, as for all else.
        **options: see `RobustnessMeter`.

    Example:
        >>> callback = RobustnessCallback(rows, "snli", ["antonym"], max_samples=500)  # doctest: +SKIP
        >>> trainer = Trainer(model, args, callbacks=[callback], ...)  # doctest: +SKIP
    """

    def __init__(
        self,
        rows: Any,
        task: str | Task,
        attacks: Sequence[str | Recipe] = ("antonym", "synonym"),
        **options: Any,
    ):
        self.rows = rows
        self.task = get_task(task)
        self.attacks = attacks
        self.options = options
        self._meter: RobustnessMeter | None = None
        self._found: tuple[str, dict[str, float]] | None = None

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Attack the model and put the metrics beside those of the evaluation."""
        metrics: dict[str, float] = kwargs["metrics"]
        if self._meter is None:
            self._meter = self._make_meter(args, kwargs.get("processing_class"))
        # The rows are always the same, so that each of several evaluation sets need not attack anew; the
        # accuracy of each call may differ.
        weights = hashlib.sha256()
        hash_weights(weights, kwargs["model"])
        if self._found is None or self._found[0] != weights.hexdigest():
            self._found = weights.hexdigest(), self._meter.measure(kwargs["model"], self.rows)
        found = self._found[1] | _combined(self._found[1], "eval", metrics.get("eval_accuracy"))
        metrics |= found
        note_missing(metrics, args.metric_for_best_model)
        for name, value in found.items():
            logger.info("%s = %.4f", name, value)
        if state.log_history and any(name.endswith("_loss") for name in state.log_history[-1]):
            state.log_history[-1] |= found

    def _make_meter(self, args: Any, tokenizer: Any) -> RobustnessMeter:
        options = {"batch_size": args.eval_batch_size, "tokenizer": tokenizer, **self.options}
        if options["tokenizer"] is None:
            raise HfBatError(
                "RobustnessCallback needs the Trainer's processing_class, or tokenizer="
            )
        return RobustnessMeter(self.attacks, self.task, **options)


def note_missing(metrics: dict[str, float], wanted: str | None) -> None:
    """Put NaN for an attack metric that picks the best model and is a rate over nothing this time.

    Without it the Trainer would stop on the missing key; NaN is never the best.

    Args:
        metrics: of an evaluation; changed in place.
        wanted: `metric_for_best_model`.
    """
    key = f"eval_{str(wanted).removeprefix('eval_')}"
    # Of several evaluation sets, the one whose metric it is.
    prefixes = [name.removesuffix("loss") for name in metrics if name.endswith("_loss")]
    if is_attack_metric(wanted) and key not in metrics and key.startswith(tuple(prefixes)):
        logger.warning("%s is a rate over nothing: no row could be attacked", key)
        metrics[key] = float("nan")


def known_rates(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics as results keep them: without the NaN that `note_missing` put for a rate over nothing.

    Args:
        metrics: of an evaluation.

    Example:
        >>> known_rates({"eval_loss": 0.5, "eval_antonym_asr": float("nan")})
        {'eval_loss': 0.5}
    """
    return {
        name: value
        for name, value in metrics.items()
        if not (is_attack_metric(name) and isinstance(value, float) and math.isnan(value))
    }


def attacks_now(when: str, state: Any, in_training: bool) -> bool:
    """Whether an evaluation attacks.

    Args:
        when: `"eval"` (always), `"epoch"` (at the end of an epoch, and outside training) or `"end"`
            (outside training alone).
        state: the Trainer's state.
        in_training: whether the evaluation interrupts training.
    """
    if when == "eval" or not in_training:
        return True
    return when == "epoch" and float(state.epoch or 0.0).is_integer()


def robustness_objective(metrics: Mapping[str, float]) -> float:
    """What a hyper-parameter search maximises: `eval_robustness`, or accuracy where that is absent.

    Example:
        >>> robustness_objective({"eval_accuracy": 0.8, "eval_loss": 0.5})
        0.8

    Raises:
        HfBatError: neither metric is there.
    """
    for name in ("eval_robustness", "eval_accuracy"):
        if name in metrics:
            return metrics[name]
    raise HfBatError(
        "nothing to maximise: evaluation reports neither eval_robustness nor eval_accuracy; "
        "give compute_metrics or compute_objective"
    )
