"""Attacks: how often a classifier is fickle and how often it is obstinate.

Recipes, goals and constraints define which edits are tried. The engine queries the model for many rows at
once, and the report counts the outcomes.
"""

# ruff: noqa: F401 (the imports are for type checkers; at run time, names are loaded when first used)
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_bat.attack.constraints import (
        Constraint,
        EmbeddingDistance,
        MaxWords,
        NoRepeat,
        PartOfSpeech,
        StopWords,
    )
    from hf_bat.attack.functions import CallableModel
    from hf_bat.attack.goals import Flip, Goal, KeepConfident, KeepStrict
    from hf_bat.attack.judge import InferenceJudge, JudgedValidity
    from hf_bat.attack.masked_lm import MaskedLMPerturbation
    from hf_bat.attack.models import CanonicalizedModel, TransformersModel
    from hf_bat.attack.recipes import ALIASES, RECIPES, Recipe, get_recipe
    from hf_bat.attack.report import AttackReport
    from hf_bat.attack.result import AttackResult
    from hf_bat.attack.runner import Attack
    from hf_bat.attack.similarity import SentenceEncoder, SentenceSimilarity

# Maps each module to its public names.
_HOMES = {
    "constraints": [
        "Constraint",
        "EmbeddingDistance",
        "MaxWords",
        "NoRepeat",
        "PartOfSpeech",
        "StopWords",
    ],
    "functions": ["CallableModel"],
    "goals": ["Flip", "Goal", "KeepConfident", "KeepStrict"],
    "judge": ["InferenceJudge", "JudgedValidity"],
    "masked_lm": ["MaskedLMPerturbation"],
    "models": ["CanonicalizedModel", "TransformersModel"],
    "recipes": ["ALIASES", "RECIPES", "Recipe", "get_recipe"],
    "report": ["AttackReport"],
    "result": ["AttackResult"],
    "runner": ["Attack"],
    "similarity": ["SentenceEncoder", "SentenceSimilarity"],
}
__all__ = sorted(name for names in _HOMES.values() for name in names)


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value  # look it up only once
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
