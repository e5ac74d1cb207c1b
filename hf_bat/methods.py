"""The training methods. Each method is an object with its weights, versions and loss terms.

`BalancedTrainer` adds the terms of a method to the cross-entropy on the anchors. To define your own
method, subclass `Method` and pass `BalancedTrainer(..., method=MyMethod())`; see
docs/howto/own-loss.md.
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
# Options of a method with obstinate versions, in addition to its weights.
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
# With contrastive terms at full weight from the first step, a fresh head does not learn its task
# (see the results in docs/training.md).
WARMUP = {"weight_warmup_steps": 0.5}
PAIRWISE_WARMUP = {"weight_warmup_steps": 0.99}  # over all steps; 1 would be one step
# Margin of the triplet term when it is added to the likelihood terms. Their own margin is in nats.
TRIPLET_MARGIN = 1.0


@dataclass(frozen=True)
class LossSettings:
    """The settings used to compute the terms of a method.

    Args:
        weights: Dict of name -> weight.
        distance: `"cosine"`, `"euclidean"` or `"manhattan"`.
        mask: Mask rule of the triplet loss, `"paper"` or `"authors"`.
        cross_entropy: Function of logits (P, labels) and labels (P,) that returns the sum over
            rows, with the run's class weights and label smoothing.
    """

    weights: Mapping[str, float]
    distance: str
    mask: str
    cross_entropy: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    @classmethod
    def from_arguments(cls, args: Any) -> LossSettings:
        """Read the current `BalancedTrainingArguments`. A hyperparameter search changes them between runs."""

        def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            weights = args.class_weights
            # Computed in float32, because a sum over rows loses precision in half precision.
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
    """A training method, which defines the versions to draw for each row and the terms of the loss.

    Args:
        name: Name of the method, as used in `BalancedTrainingArguments(method=...)`.
        formula: The loss in Markdown. It is shown in the model card.
        weights: Dict of weight -> default. A weight named like a training argument (`alpha`, `beta`,
            `contrastive_weight`, `margin`, ...) can be set in the arguments. Weights with other names
            should be fields of the subclass.
        draws: Kinds of versions to draw for each row: `"fickle"`, `"obstinate"` or
            `"counterfactual"`.
        options: Training arguments that the method uses. Changing the others is an error.
        defaults: Dict of option -> default, if the default differs from the default in the
            arguments.
        uses_vectors: Whether the terms need representations. Defaults to `False`.
        perturbs_anchor: Whether the fickle version replaces the anchor. Defaults to `False`.
        attack_recipe: Recipe used to attack the model when an epoch starts. The adversarial texts
            become the fickle versions. If empty, versions are drawn from the perturbations.

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
        """Compute the components that the versions of one micro-batch add to the loss.

        Args:
            forward: The model's outputs for B anchors and their versions. This method is only called
                for batches with versions.
            settings: Weights and other settings.

        Returns:
            Dict of component -> `Term`. The names appear in the training log and should start with
            `loss_`. The name `loss_ce` is reserved for the trainer. Each total is a sum over the
            micro-batch, so the mean over the accumulation window and ranks is exact.
        """
        return {}

    def count(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Compute divisors for the means, in addition to the counts of `hf_bat.objective.count_items`.

        Args:
            batch: A training batch with the method's versions, before the forward pass. Batches in
                clean epochs and in evaluation have no versions and are not counted.

        Returns:
            Dict of name -> scalar tensor, with the same names for every batch.
        """
        return {}

    def needs_vectors(self, weights: Mapping[str, Any]) -> bool:
        """Return whether the terms need representations with these weights."""
        return self.uses_vectors

    def fill_defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the method's defaults for options and weights that are missing or `None` in `given`.

        Example:
            >>> get_method("safer").fill_defaults({})
            {'clean_epochs': 0, 'weight_warmup_steps': 0.0}
        """
        filled: dict[str, Any] = {"clean_epochs": 0, "weight_warmup_steps": 0.0}
        if "label_filter" in self.options:
            filled["label_filter"] = "off"
        filled |= {**self.defaults, **self.weights}
        if given.get("clean_epochs"):
            # The clean epochs already teach the task.
            filled["weight_warmup_steps"] = 0.0
        return filled

    def list_unused(self, options: Mapping[str, Any]) -> set[str]:
        """Return the weights and options of other methods that have no effect with these options."""
        known = {name for method in METHODS.values() for name in (*method.options, *method.weights)}
        unused = known - {*self.options, *self.weights}
        # `eval_distances` measures distances for every method.
        return unused - ({"distance", "pooling"} if options.get("eval_distances") else set())

    def check_options(self, args: Any) -> None:
        """Raise an `HfBatError` if two training arguments contradict each other."""

    def write_formula(self, args: Any) -> str:
        """Return the loss in Markdown for the run's arguments."""
        return self.formula

    @property
    def is_balanced(self) -> bool:
        """Whether the method draws obstinate versions."""
        return "obstinate" in self.draws


@dataclass(frozen=True)
class Pairwise(Method):
    """Pulls fickle versions toward the anchor and pushes obstinate ones away (paper, equation 3)."""

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
    """Keeps obstinate versions farther away than fickle ones by a margin (paper, equation 4)."""

    uses_vectors: bool = True

    def terms(self, forward: Forward, settings: LossSettings) -> dict[str, Term]:
        return build_triplet_terms(forward, settings, settings.weights["margin"])


@dataclass(frozen=True)
class Likelihood(Method):
    """Trains on fickle versions, and makes the label less likely on obstinate ones (hf_bat's own method)."""

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
            # With `label_filter="only"` these two are `None`, because every version passes.
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
            # A limit below the margin that the user chose would be a contradiction.
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
        # This weight turns on the triplet term, which is the only one that measures distances.
        if options.get("contrastive_weight"):
            return unused
        of_triplets = {"mask"} if options.get("eval_distances") else {"distance", "pooling", "mask"}
        return unused | of_triplets

    def write_formula(self, args: Any) -> str:
        if args.label_filter != "prefer":
            return self.formula
        return (
            f"{self.formula[:-1]}; for edits that likely do not change the label, the term is "
            "`max(0, other_margin - drop) + max(0, drop - other_limit)`."
        )


@dataclass(frozen=True)
class AdversarialRows(Method):
    """Trains on the rows and on adversarial versions of them (A2T, Yoo and Qi 2021)."""

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
    """Trains on fickle versions with the row's label, and on labeled edits (hf_bat's own method)."""

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
                # Nothing is logged for a rule without pairs in the batch.
                if len(chosen):
                    terms[f"loss_rule_{name}"] = Term(chosen.sum(), f"rule_{name}", None)
        return terms

    def count(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        rules = batch["counterfactual_rules"][batch["counterfactual_mask"]]
        return {f"rule_{name}": (rules == i).sum() for i, name in enumerate(RULES)}


def measure_version_distances(
    forward: Forward, distance: str
) -> tuple[dict[str, Term], Distances, Distances]:
    """Compute the fickle and obstinate distances, and also return their means as logged components."""
    fickle = forward.measure_distances("fickle", distance)
    obstinate = forward.measure_distances("obstinate", distance)
    terms = {
        "fickle_distance": Term(fickle.values.sum(), "fickle", None),
        "obstinate_distance": Term(obstinate.values.sum(), "obstinate", None),
    }
    return terms, fickle, obstinate


def build_triplet_terms(forward: Forward, settings: LossSettings, margin: float) -> dict[str, Term]:
    """Build the triplet term and the logged distances."""
    # With several draws, each row's t-th triplet uses its t-th fickle and its t-th obstinate draw.
    # The shorter list is repeated.
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
    """Build the cross-entropy term on the fickle versions, with the labels of the anchors."""
    fickle = forward.versions["fickle"]
    assert forward.labels is not None
    total = settings.cross_entropy(fickle.logits, forward.labels[fickle.owners])
    return {"loss_ce_fickle": Term(total, "fickle_rows", weight)}


# Weights of versions that do not pass the label filter. They are only drawn with `"prefer"`.
_OTHER_WEIGHTS = ("other_margin", "other_limit")

# The defaults of `pairwise` and `triplet` are the best values in the paper (appendix C.2).
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
            defaults=PAIRWISE_WARMUP,
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

# Checkpoints and model cards refer to these names, so their meaning must not change.
_BUILT_IN = dict(METHODS)
# Weights that are fields of the training arguments. Custom methods may have others.
WEIGHTS = tuple(dict.fromkeys(name for method in METHODS.values() for name in method.weights))


def get_method(name: str) -> Method:
    """Return the registered method with the given name.

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
        HfBatError: If the method fails `check_own_method`.

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
    """Check that a custom method is a `Method` with a new name and known kinds of versions."""
    if not isinstance(method, Method):
        raise HfBatError(
            f"a method of yours must be an instance of hf_bat.methods.Method; got {method!r} (give the "
            "name of a method to the arguments)"
        )
    if not method.name or _BUILT_IN.get(method.name, method) is not method:
        raise HfBatError(f"method name {method.name!r} is empty or taken; give it another name=")
    for kind in method.draws:
        check_choice("kind of version in draws", kind, VERSIONS)
