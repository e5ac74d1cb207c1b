"""The training methods: the weights and options that each one takes, and what may be given for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# method -> the weights it takes, with their defaults (the paper's best, appendix C.2).
METHOD_WEIGHTS: dict[str, dict[str, float]] = {
    "normal": {},
    "safer": {},
    "a2t": {"adversarial_weight": 1.0},
    "pairwise": {"alpha": 1.0, "beta": 1.2, "margin": 1.0},
    "triplet": {"contrastive_weight": 1.0, "margin": 1.0},
    "likelihood": {
        "alpha": 1.0,
        "beta": 1.0,
        "margin": 1.0,
        "other_margin": 0.15,
        "other_limit": 0.4,
        "contrastive_weight": 0.0,
    },
}
# Methods whose loss is made of distances, and those that draw obstinate versions at all.
CONTRASTIVE_METHODS = ("pairwise", "triplet")
BALANCED_METHODS = (*CONTRASTIVE_METHODS, "likelihood")
WEIGHTS = (
    "alpha",
    "beta",
    "contrastive_weight",
    "margin",
    "other_margin",
    "other_limit",
    "adversarial_weight",
)
# Of the triplet term beside the likelihood terms, whose own margin is in nats.
TRIPLET_MARGIN = 1.0
# Options that the method "likelihood" has for that term alone.
OF_TRIPLET_TERM = ("distance", "pooling", "mask")
_A2T_OPTIONS = (
    "attack_interval",
    "attack_share",
    "attack_budget",
    "a2t_candidates",
    "mlm_model",
    "encoder",
)
# option -> the methods that use it. Given to another method it would be ignored, so it is refused.
OPTION_METHODS: dict[str, tuple[str, ...]] = {
    "distance": BALANCED_METHODS,
    "pooling": BALANCED_METHODS,
    "mask": ("triplet", "likelihood"),
    "label_filter": BALANCED_METHODS,
    "obstinate_edits": BALANCED_METHODS,
    "num_fickle": BALANCED_METHODS,
    "num_obstinate": BALANCED_METHODS,
    "weight_warmup_steps": BALANCED_METHODS,
    "clean_epochs": ("safer", "a2t", *BALANCED_METHODS),
    **dict.fromkeys(_A2T_OPTIONS, ("a2t",)),
    # The attack of A2T leaves them alone whatever one says.
    "exclude_stopwords": tuple(method for method in METHOD_WEIGHTS if method != "a2t"),
}
CHOICES = {
    "distance": ("cosine", "euclidean", "manhattan"),
    "pooling": ("cls", "mean", "max", "last", "head_input"),
    "mask": ("paper", "authors"),
    "casing": ("keep", "authors"),
    "attack_every": ("eval", "epoch", "end"),
    "label_filter": ("off", "only", "prefer"),
    "a2t_candidates": ("table", "mlm"),
}
# option -> its least value.
LEAST = {
    "num_fickle": 1,
    "num_obstinate": 1,
    "clean_epochs": 0,
    "attack_interval": 1,
    "attack_budget": 1,
}
# The label filter where none is given: the paper's protocol has none.
DEFAULT_FILTERS = {"likelihood": "prefer"}
# Weights of versions that the label filter does not pass, which it must let be drawn and tell apart.
OF_OTHERS = ("other_margin", "other_limit")


def defaults_of(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a method takes for the options that are left out, where that is its own or another option's say.

    Args:
        method: a key of `METHOD_WEIGHTS`.
        given: the options; None stands for one that is left out, as its absence does.

    Returns:
        Option -> what it is where it is left out, the given ones too.

    Example:
        >>> defaults_of("triplet", {})
        {'clean_epochs': 0, 'label_filter': 'off', 'contrastive_weight': 1.0, 'margin': 1.0}
        >>> defaults_of("likelihood", {"other_margin": 0.5})["other_limit"]
        0.5
    """
    found: dict[str, Any] = {"clean_epochs": 1 if method == "a2t" else 0}
    if method in BALANCED_METHODS:
        found["label_filter"] = DEFAULT_FILTERS.get(method, "off")
    weights = dict(METHOD_WEIGHTS[method])
    if (given.get("label_filter") or found.get("label_filter")) != "prefer":
        weights = {name: value for name, value in weights.items() if name not in OF_OTHERS}
    if "other_limit" in weights and given.get("other_margin") is not None:
        # A limit below a margin that was given would contradict it.
        weights["other_limit"] = max(weights["other_limit"], given["other_margin"])
    return found | weights
