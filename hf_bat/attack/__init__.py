"""Attacks: how often a classifier is fickle and how often obstinate.

Recipes, goals and constraints say which edits are tried; the engine asks the model about many rows at
once; the report counts.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_bat.attack.canonical import CanonicalizedModel
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
    from hf_bat.attack.models import CallableModel
    from hf_bat.attack.recipes import ALIASES, RECIPES, Recipe, get_recipe
    from hf_bat.attack.report import AttackReport
    from hf_bat.attack.runner import Attack
    from hf_bat.attack.similarity import SentenceEncoder, SentenceSimilarity
    from hf_bat.attack.transformer import TransformersModel

# Public name -> the module of this package that defines it.
_HOMES = {
    "ALIASES": "recipes",
    "Attack": "runner",
    "AttackReport": "report",
    "CallableModel": "models",
    "CanonicalizedModel": "canonical",
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
    "TransformersModel": "transformer",
    "get_recipe": "recipes",
}

__all__ = [
    "ALIASES",
    "RECIPES",
    "Attack",
    "AttackReport",
    "CallableModel",
    "CanonicalizedModel",
    "Constraint",
    "EmbeddingDistance",
    "Flip",
    "Goal",
    "KeepConfident",
    "KeepStrict",
    "MaskedLMPerturbation",
    "MaxWords",
    "NoRepeat",
    "PartOfSpeech",
    "Recipe",
    "SentenceEncoder",
    "SentenceSimilarity",
    "StopWords",
    "TransformersModel",
    "get_recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
