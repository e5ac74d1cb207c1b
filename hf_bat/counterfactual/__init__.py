"""Counterfactual pairs: edited rows with labels derived by rules."""

from hf_bat.counterfactual.base import Counterfactual, Rule
from hf_bat.counterfactual.rules import (
    RULES,
    Resources,
    RuleSet,
    build_rules,
    is_held_out,
    register_rule,
)
from hf_bat.counterfactual.suite import make_suite

__all__ = [
    "RULES",
    "Counterfactual",
    "Resources",
    "Rule",
    "RuleSet",
    "build_rules",
    "is_held_out",
    "make_suite",
    "register_rule",
]
