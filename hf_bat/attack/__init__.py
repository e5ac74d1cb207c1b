"""Attacks: how often a classifier is fickle and how often it is obstinate.

Recipes, goals and constraints say which edits are tried; the engine asks the model about many rows at once;
the report counts.
"""

# ruff: noqa: F401 (the imports are for type checkers; at run time names are loaded when first used)
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
    from hf_bat.attack.goals import Flip, Goal, KeepConfident, KeepStrict
    from hf_bat.attack.masked_lm import MaskedLMPerturbation
    from hf_bat.attack.models import CallableModel, CanonicalizedModel, TransformersModel
    from hf_bat.attack.recipes import ALIASES, RECIPES, Recipe, get_recipe
    from hf_bat.attack.report import AttackReport
    from hf_bat.attack.result import AttackResult
    from hf_bat.attack.runner import Attack
    from hf_bat.attack.similarity import SentenceEncoder, SentenceSimilarity

# Public name -> the module of this package that defines it.
_HOMES = {
    "ALIASES": "recipes",
    "Attack": "runner",
    "AttackReport": "report",
    "AttackResult": "result",
    "CallableModel": "models",
    "CanonicalizedModel": "models",
    "Constraint": "constraints",
    "EmbeddingDistance": "constraints",
    "Flip": "goals",
    "Goal": "goals",
    "KeepConfident": "goals",
    "KeepStrict": "goals",
    "MaskedLMPerturbation": "masked_lm",
    "MaxWords": "constraints",
    "NoRepeat": "constraints",
    "PartOfSpeech": "constraints",
    "RECIPES": "recipes",
    "Recipe": "recipes",
    "SentenceEncoder": "similarity",
    "SentenceSimilarity": "similarity",
    "StopWords": "constraints",
    "TransformersModel": "models",
    "get_recipe": "recipes",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
