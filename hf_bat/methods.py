"""The training methods: each is one object with its weights, its versions and its loss terms.

`BalancedTrainer` adds a method's terms to the cross-entropy on the anchors. Your own method is a
subclass of `Method`, given as `BalancedTrainer(..., method=MyMethod())`; see docs/howto/own-loss.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from hf_bat.counterfactual.rules import RULES
from hf_bat.errors import HfBatError, check_choice
from hf_bat.losses import (
    exclusion_terms,
    likelihood_terms,
    log_likelihood,
    pairwise_terms,
    triplet_terms,
)
from hf_bat.objective import VERSIONS, Distances, Forward, Term, tile_draws

DEFAULT_METHOD = "normal"
# Options, beside its weights, of a method with obstinate versions.
BALANCED_OPTIONS = (
    "distance",
    "pooling",
    "label_filter",
    "label_judge",
    "obstinate_edits",
    "fickle_edits",
    "num_fickle",
    "num_obstinate",
    "weight_warmup_steps",
    "clean_epochs",
    "exclude_stopwords",
)
# At full weight from the first step, contrastive terms keep a fresh head from learning its task
# (docs/training.md has the figures).
WARMUP = {"weight_warmup_steps": 0.5}
# Margin of the triplet term beside the likelihood terms, whose own margin is in nats.
TRIPLET_MARGIN = 1.0


@dataclass(frozen=True)
class LossSettings:
    """The numbers and choices that a method's terms are computed with.

    Args:
        weights: The method's weights by name.
        distance: `"cosine"`, `"euclidean"` or `"manhattan"`.
        mask: The triplet loss's mask rule, `"paper"` or `"authors"`.
        cross_entropy: Takes logits (P, labels) and labels (P,) and returns the sum over rows, with
            the run's class weights and label smoothing.
    """

    weights: Mapping[str, float]
    distance: str
    mask: str
    cross_entropy: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    @classmethod
    def from_arguments(cls, args: Any) -> LossSettings:
        """Read `BalancedTrainingArguments`, which a hyperparameter search changes between runs."""

        def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            weights = args.class_weights
            # In float32, because half precision loses the digits of a sum over rows.
            return F.cross_entropy(
                logits.float(),
                labels,
                weight=None if weights is None else torch.tensor(weights, device=logits.device),
                reduction="sum",
                label_smoothing=args.label_smoothing_factor,
            )

        weights = {
            **args.get_method().weights,
            **{name: getattr(args, name) for name in WEIGHTS},
        }
        return cls(weights, args.distance, args.mask, cross_entropy)


@dataclass(frozen=True)
class Method:
    """A training method: what it draws for each row, and what it adds to the loss.

    Args:
        name: The name that `BalancedTrainingArguments(method=...)` takes.
        formula: The loss as Markdown, for the model card.
        weights: Weight -> default. Names among the arguments' fields (`alpha`, `beta`,
            `contrastive_weight`, `margin`, ...) can be set there; a weight with another name should be
            a field of the subclass.
        draws: The versions that are drawn for each row, of `"fickle"`, `"obstinate"` and
            `"counterfactual"`.
        options: The training arguments that the method uses; others are refused.
        defaults: Option -> default where the method's differs from the arguments'.
        uses_vectors: Whether the terms need representations. Defaults to `False`.
        perturbs_anchor: Whether a fickle draw replaces the anchor. Defaults to `False`.
        attack_recipe: Recipe with which the model is attacked when an epoch starts; the adversarial
            texts are the fickle versions. If empty, versions are drawn.

    Example:
        >>> get_method("triplet").weights
        {'contrastive_weight': 1.0, 'margin': 1.0}
    """

    name: str = ""
    formula: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    draws: tuple[str, ...] = ("fickle", "obstinate")
    options: tuple[str, ...] = BALANCED_OPTIONS
    defaults: Mapping[str, Any] = field(default_factory=dict)
    uses_vectors: bool = False
    perturbs_anchor: bool = False
    attack_recipe: str = ""

    def terms(self, forward: Forward, settings: LossSettings) -> dict[str, Term]:
        """Return the components that the versions of one micro-batch add to the loss.

        Args:
            forward: The model's outputs for B anchors and their versions; only called with versions.
            settings: Weights and choices.

        Returns:
            Component -> `Term`, under names for the training log that begin with `loss_`; `loss_ce` is
            the trainer's. Each total is a sum over the micro-batch, so that the mean over the
            accumulation window and ranks is exact.
        """
        return {}

    def count(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Count what the terms' means divide by, beside the counts of `hf_bat.objective.count_items`.

        Args:
            batch: A training batch with the method's versions, before the model has seen it. Batches
                of clean epochs and of evaluation have no versions and are not counted.

        Returns:
            Name -> scalar tensor; the same names for every batch.
        """
        return {}

    def needs_vectors(self, weights: Mapping[str, Any]) -> bool:
        """Return whether the terms need representations with these weights."""
        return self.uses_vectors

    def fill_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the method's value of each option and weight that `given` leaves out or has as `None`.

        Example:
            >>> get_method("safer").fill_defaults({})
            {'clean_epochs': 0, 'weight_warmup_steps': 0.0}
        """
        filled: dict[str, Any] = {"clean_epochs": 0, "weight_warmup_steps": 0.0}
        if "label_filter" in self.options:
            filled["label_filter"] = "off"
        filled |= {**self.defaults, **self.weights}
        if given.get("clean_epochs"):
            # The task is learned in the clean epochs.
            filled["weight_warmup_steps"] = 0.0
        return filled

    def list_unused(self, options: Mapping[str, Any]) -> set[str]:
        """Return the other methods' weights and options that this one does not use with these options."""
        known = {name for method in METHODS.values() for name in (*method.options, *method.weights)}
        unused = known - {*self.options, *self.weights}
        # `eval_distances` measures distances for every method.
        return unused - ({"distance", "pooling"} if options.get("eval_distances") else set())

    def check_options(self, args: Any) -> None:
        """Raise an `HfBatError` if two of `BalancedTrainingArguments` contradict each other."""

    def write_formula(self, args: Any) -> str:
        """Return the loss as Markdown for a run's arguments."""
        return self.formula

    @property
    def is_balanced(self) -> bool:
        """Whether the method draws obstinate versions."""
        return "obstinate" in self.draws


@dataclass(frozen=True)
class Pairwise(Method):
    """Pull fickle versions toward the anchor, push obstinate ones away (paper, equation 3)."""

    uses_vectors: bool = True

    def terms(self, forward: Forward, settings: LossSettings) -> dict[str, Term]:
        weights = settings.weights
        terms, fickle, obstinate = measure_version_distances(forward, settings.distance)
        pull, push = pairwise_terms(
            fickle.values[fickle.mask], obstinate.values[obstinate.mask], weights["margin"]
        )
        terms["loss_fickle"] = Term(pull.sum(), "fickle", weights["alpha"])
        terms["loss_obstinate"] = Term(push.sum(), "obstinate", weights["beta"])
        return terms


@dataclass(frozen=True)
class Triplet(Method):
    """Keep obstinate versions farther away than fickle ones by a margin (paper, equation 4)."""

    uses_vectors: bool = True

    def terms(self, forward: Forward, settings: LossSettings) -> dict[str, Term]:
        return build_triplet_terms(forward, settings, settings.weights["margin"])


@dataclass(frozen=True)
class Likelihood(Method):
    """Train on fickle versions, and make the label less likely on obstinate ones (this package's method)."""

    def needs_vectors(self, weights: Mapping[str, Any]) -> bool:
        return bool(weights.get("contrastive_weight"))

    def terms(self, forward: Forward, settings: LossSettings) -> dict[str, Term]:
        weights = settings.weights
        terms = build_fickle_entropy(forward, settings, weights["alpha"])
        obstinate = forward.versions["obstinate"]
        assert forward.labels is not None
        labels = forward.labels[obstinate.owners]
        anchor = log_likelihood(forward.logits[obstinate.owners], labels)
        version = log_likelihood(obstinate.logits, labels)
        margin: float | torch.Tensor = weights["margin"]
        limit: float | torch.Tensor = math.inf
        if obstinate.passes is not None:
            # With `label_filter="only"` these two have no value, because every version passes.
            other_margin, other_limit = weights["other_margin"], weights["other_limit"]
            margin = torch.where(obstinate.passes, weights["margin"], other_margin or 0.0)
            other_limit = math.inf if other_limit is None else other_limit
            limit = torch.where(obstinate.passes, math.inf, other_limit)
        losses = likelihood_terms(anchor, version, margin, limit)
        terms["loss_obstinate"] = Term(losses.sum(), "obstinate", weights["beta"])
        terms["label_drop"] = Term((anchor - version).sum(), "obstinate", None)
        if forward.vectors is not None:
            terms |= build_triplet_terms(forward, settings, TRIPLET_MARGIN)
        return terms

    def fill_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        filled = super().fill_defaults(given)
        if (given.get("label_filter") or filled["label_filter"]) != "prefer":
            return {name: v for name, v in filled.items() if name not in _OTHER_WEIGHTS}
        if given.get("other_margin") is not None:
            # A limit below a margin that the user chose would contradict it.
            filled["other_limit"] = max(filled["other_limit"], given["other_margin"])
        return filled

    def check_options(self, args: Any) -> None:
        for name in _OTHER_WEIGHTS:
            if getattr(args, name) is not None and args.label_filter != "prefer":
                raise HfBatError(
                    f"{name}={getattr(args, name)} needs label_filter='prefer'; with "
                    f"{args.label_filter!r} all obstinate versions are treated alike"
                )
        margin, limit = args.other_margin, args.other_limit
        if margin is not None and limit is not None and limit < margin:
            raise HfBatError(
                f"other_limit={limit} is below other_margin={margin}: give a limit of at least the margin"
            )

    def list_unused(self, options: Mapping[str, Any]) -> set[str]:
        unused = super().list_unused(options)
        # Only the triplet term, which this weight turns on, measures distances.
        if options.get("contrastive_weight"):
            return unused
        of_triplets = {"mask"} if options.get("eval_distances") else {"distance", "pooling", "mask"}
        return unused | of_triplets

    def write_formula(self, args: Any) -> str:
        if args.label_filter != "prefer":
            return self.formula
        return (
            f"{self.formula[:-1]}; for edits that likely do not change the label the term is "
            "`max(0, other_margin - drop) + max(0, drop - other_limit)`."
        )


@dataclass(frozen=True)
class AdversarialRows(Method):
    """Train on the rows and on adversarial versions of them (A2T, Yoo and Qi 2021)."""

    def terms(self, forward: Forward, settings: LossSettings) -> dict[str, Term]:
        return build_fickle_entropy(forward, settings, settings.weights["adversarial_weight"])

    def check_options(self, args: Any) -> None:
        if args.a2t_candidates == "mlm" and args.mlm_model is None:
            raise HfBatError(
                "a2t_candidates='mlm' needs mlm_model, the folder or Hub id of a masked language model"
            )
        if args.a2t_candidates != "mlm" and args.mlm_model is not None:
            raise HfBatError(f"mlm_model={args.mlm_model!r} needs a2t_candidates='mlm'")


@dataclass(frozen=True)
class Counterfactual(Method):
    """Train on fickle versions with the row's label, and on labeled edits with theirs (this package's)."""

    def terms(self, forward: Forward, settings: LossSettings) -> dict[str, Term]:
        terms = build_fickle_entropy(forward, settings, settings.weights["alpha"])
        versions = forward.versions["counterfactual"]
        assert versions.labels is not None and versions.rules is not None
        logits, labels = versions.logits, versions.labels
        is_known = labels >= 0
        excluded = exclusion_terms(logits[~is_known], -1 - labels[~is_known])
        total = settings.cross_entropy(logits[is_known], labels[is_known]) + excluded.sum()
        terms["loss_counterfactual"] = Term(total, "counterfactual_rows", settings.weights["beta"])
        with torch.no_grad():
            losses = F.cross_entropy(logits.float(), labels.clamp(0), reduction="none")
            losses[~is_known] = excluded.to(losses.dtype)
            for i, name in enumerate(RULES):
                chosen = losses[versions.rules == i]
                # A batch without pairs of a rule has nothing to log for it.
                if len(chosen):
                    terms[f"loss_rule_{name}"] = Term(chosen.sum(), f"rule_{name}", None)
        return terms

    def count(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        rules = batch["counterfactual_rules"][batch["counterfactual_mask"]]
        return {f"rule_{name}": (rules == i).sum() for i, name in enumerate(RULES)}


def measure_version_distances(
    forward: Forward, distance: str
) -> tuple[dict[str, Term], Distances, Distances]:
    """Return the mean distances as logged components, and the fickle and obstinate distances."""
    fickle = forward.measure_distances("fickle", distance)
    obstinate = forward.measure_distances("obstinate", distance)
    terms = {
        "fickle_distance": Term(fickle.values.sum(), "fickle", None),
        "obstinate_distance": Term(obstinate.values.sum(), "obstinate", None),
    }
    return terms, fickle, obstinate


def build_triplet_terms(forward: Forward, settings: LossSettings, margin: float) -> dict[str, Term]:
    """Return the triplet term and the logged distances."""
    # With several draws, the t-th triplet of a row takes its t-th fickle and its t-th obstinate draw;
    # the shorter list starts again.
    terms, fickle, obstinate = measure_version_distances(forward, settings.distance)
    draws = max(fickle.mask.shape[1], obstinate.mask.shape[1])
    losses, counted = triplet_terms(
        tile_draws(fickle.values, draws).flatten(),
        tile_draws(obstinate.values, draws).flatten(),
        tile_draws(fickle.mask, draws).flatten(),
        tile_draws(obstinate.mask, draws).flatten(),
        margin,
        settings.mask,
    )
    weight = settings.weights["contrastive_weight"]
    terms["loss_triplet"] = Term(losses[counted].sum(), "triplets", weight)
    return terms


def build_fickle_entropy(
    forward: Forward, settings: LossSettings, weight: float
) -> dict[str, Term]:
    """Return the cross-entropy on the fickle versions, with the anchors' labels."""
    fickle = forward.versions["fickle"]
    assert forward.labels is not None
    total = settings.cross_entropy(fickle.logits, forward.labels[fickle.owners])
    return {"loss_ce_fickle": Term(total, "fickle_rows", weight)}


# Weights of versions that do not pass the label filter, which only `"prefer"` draws and tells apart.
_OTHER_WEIGHTS = ("other_margin", "other_limit")

# The defaults of `pairwise` and `triplet` are the paper's best (appendix C.2).
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "normal",
            "`L = CE(x)`: cross-entropy on the rows as they are, without perturbations.",
            draws=(),
            options=("exclude_stopwords",),
        ),
        Method(
            "safer",
            "`L = CE(x_f)`: cross-entropy on a fickle version of each row (SAFER, Ye et al. 2020).",
            draws=("fickle",),
            options=("clean_epochs", "exclude_stopwords", "fickle_edits"),
            perturbs_anchor=True,
        ),
        AdversarialRows(
            "a2t",
            "`L = CE(x) + adversarial_weight * mean CE(x_adv)`, the mean over the rows `x_adv` that an "
            "attack found against the model as it trained (A2T, Yoo and Qi 2021).",
            {"adversarial_weight": 1.0},
            draws=("fickle",),
            options=(
                "clean_epochs",
                "attack_interval",
                "attack_share",
                "attack_budget",
                "a2t_candidates",
                "mlm_model",
                "encoder",
            ),
            defaults={"clean_epochs": 1},
            attack_recipe="a2t",
        ),
        Pairwise(
            "pairwise",
            "`L = CE(x) + alpha * mean d(x, x_f) + beta * mean max(0, margin - d(x, x_o))`, "
            "each mean over the valid pairs.",
            {"alpha": 1.0, "beta": 1.2, "margin": 1.0},
            defaults=WARMUP,
        ),
        Triplet(
            "triplet",
            "`L = CE(x) + contrastive_weight * mean max(0, d(x, x_f) + margin - d(x, x_o))`.",
            {"contrastive_weight": 1.0, "margin": 1.0},
            options=(*BALANCED_OPTIONS, "mask"),
            defaults=WARMUP,
        ),
        Likelihood(
            "likelihood",
            "`L = CE(x) + alpha * mean CE(x_f) + beta * mean max(0, margin - drop) "
            "+ contrastive_weight * mean max(0, d(x, x_f) + 1 - d(x, x_o))`, where "
            "`drop = log p(y|x) - log p(y|x_o)`.",
            {
                "alpha": 1.0,
                "beta": 1.0,
                "margin": 1.0,
                "other_margin": 0.15,
                "other_limit": 0.4,
                "contrastive_weight": 0.0,
            },
            options=(*BALANCED_OPTIONS, "mask"),
            defaults={"label_filter": "prefer", **WARMUP},
        ),
        Counterfactual(
            "counterfactual",
            "`L = CE(x) + alpha * mean CE(x_f) + beta * mean CE(x_c)`, where `x_c` is an edit of the row "
            "whose label a rule knows. Where it only knows that the edit is not entailed, the loss is "
            "`-log(1 - p(entailment))`.",
            {"alpha": 1.0, "beta": 1.0},
            draws=("fickle", "counterfactual"),
            options=(
                "rules",
                "held_out_pairs",
                "label_flip",
                "fickle_edits",
                "num_fickle",
                "weight_warmup_steps",
                "clean_epochs",
                "exclude_stopwords",
            ),
        ),
    )
}

# Checkpoints and model cards name these, so that their meaning must not change.
_BUILT_IN = dict(METHODS)
# Weights that are fields of the training arguments; a user's method may have others.
WEIGHTS = tuple(dict.fromkeys(name for method in METHODS.values() for name in method.weights))


def get_method(name: str) -> Method:
    """Return the registered method of a name.

    Args:
        name: The name, such as "triplet".

    Raises:
        HfBatError: If the name is unknown.

    Example:
        >>> get_method("safer").draws
        ('fickle',)
    """
    check_choice("method", name, METHODS)
    return METHODS[name]


def register_method(method: Method) -> Method:
    """Register your own method for `BalancedTrainingArguments(method=name)`.

    Args:
        method: An instance of a `Method` subclass.

    Returns:
        The same method.

    Raises:
        HfBatError: If `check_own_method` refuses the method.

    Example:
        >>> method = register_method(Method(name="mine"))
        >>> get_method("mine") is method
        True
        >>> del METHODS["mine"]
    """
    check_own_method(method)
    METHODS[method.name] = method
    return method


def check_own_method(method: Any) -> None:
    """Check that a user's method is a `Method` with its own name and with known kinds of versions."""
    if not isinstance(method, Method):
        raise HfBatError(
            f"a method of yours must be an instance of hf_bat.methods.Method; got {method!r} (give the "
            "name of a method to the arguments)"
        )
    if not method.name or _BUILT_IN.get(method.name, method) is not method:
        raise HfBatError(f"method name {method.name!r} is empty or taken; give it another name=")
    for kind in method.draws:
        check_choice("kind of version in draws", kind, VERSIONS)
