"""Recipes: named combinations of perturbation, goal, search, ranking and constraints."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hf_bat.attack.constraints import Constraint, MaxWords, NoRepeat, PartOfSpeech, StopWords
from hf_bat.attack.goals import Goal, get_goal
from hf_bat.attack.masked_lm import MaskedLMPerturbation
from hf_bat.attack.search import RANKINGS, SEARCHES
from hf_bat.attack.similarity import SentenceSimilarity
from hf_bat.errors import HfBatError
from hf_bat.lexicon import SubstitutionTable, as_table, default_antonyms, default_synonyms
from hf_bat.lexicon.table import TableSource
from hf_bat.perturbations import (
    AntonymPerturbation,
    NegationPerturbation,
    NumberPerturbation,
    SisterPerturbation,
    SynonymPerturbation,
)
from hf_bat.perturbations.base import Perturbation

SEQUENCE_BUDGET = 2000


@dataclass(frozen=True)
class Recipe:
    """An attack but for the model: everything that decides which edits are tried.

    Args:
        name: what to call it in reports.
        perturbation: the set of edits.
        goal: a goal or its name: "flip", "keep-strict", "keep-confident".
        search: "exhaustive" (every single edit), "greedy" (word after word by importance) or "beam".
        ranking: how greedy search orders words: "deletion", "unk", "gradient" or "random".
        constraints: what edits must keep to.
        budget: the most queries a row may cost; None for no bound.
        skip_labels: label names that are left alone; None for the task's where the goal is obstinate,
            and none where it is fickle.
        skip_columns: text columns that are left alone.
        max_length: tokens after which an input is cut; None for the model's limit.
        beam_width: states that beam search keeps.
        key: the short name in metric keys and reports; the perturbation's where empty.

    Raises:
        HfBatError: an unknown goal, search or ranking, or a number below one.

    Example:
        >>> recipe = get_recipe("antonym")
        >>> recipe.search, recipe.goal.name, len(recipe.hash)
        ('exhaustive', 'keep-strict', 64)
    """

    name: str
    perturbation: Perturbation
    goal: Goal
    search: str = "exhaustive"
    ranking: str | None = None
    constraints: tuple[Constraint, ...] = ()
    budget: int | None = None
    skip_labels: tuple[str, ...] | None = None
    skip_columns: tuple[str, ...] = ()
    max_length: int | None = None
    beam_width: int = 4
    key: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "goal", get_goal(self.goal))
        object.__setattr__(self, "constraints", tuple(self.constraints))
        object.__setattr__(self, "skip_columns", tuple(self.skip_columns))
        object.__setattr__(self, "key", self.key or self.perturbation.name)
        if self.search not in SEARCHES:
            raise HfBatError(f"unknown search {self.search!r}; known: {', '.join(SEARCHES)}")
        if self.search == "greedy" and self.ranking not in RANKINGS:
            raise HfBatError(
                f"greedy search needs a ranking of {', '.join(RANKINGS)}; got {self.ranking!r}"
            )
        if self.search != "greedy" and self.ranking is not None:
            raise HfBatError(f"{self.search} search takes no ranking; got {self.ranking!r}")
        for what, value in (("budget", self.budget), ("max_length", self.max_length)):
            if value is not None and value < 1:
                raise HfBatError(f"{what} must be at least 1; got {value}")
        if self.beam_width < 1:
            raise HfBatError(f"beam_width must be at least 1; got {self.beam_width}")

    def describe(self) -> dict[str, Any]:
        """Every choice, ready for JSON; `hash` is of this."""
        return {
            "name": self.name,
            "perturbation": self.perturbation.describe(),
            "goal": self.goal.name,
            "search": self.search,
            **({"ranking": self.ranking} if self.search == "greedy" else {}),
            **({"beam_width": self.beam_width} if self.search == "beam" else {}),
            "constraints": [rule.describe() for rule in self.constraints],
            "budget": self.budget,
            "skip_labels": None if self.skip_labels is None else list(self.skip_labels),
            "skip_columns": list(self.skip_columns),
            "max_length": self.max_length,
        }

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON of `describe()`, tables' fingerprints included."""
        text = json.dumps(self.describe(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.hash[:12]})"]
        for name, value in self.describe().items():
            if name == "name":
                continue
            if name == "constraints":
                lines.append("  constraints:" if value else "  constraints: none")
                lines += [f"    {_plain(rule)}" for rule in value]
            else:
                lines.append(f"  {name}: {_plain(value)}")
        return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        first, *rest = value.items()
        return f"{first[1]} ({', '.join(f'{k}={v}' for k, v in rest)})" if rest else str(first[1])
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


@dataclass(frozen=True)
class Ingredients:
    """What the named recipes are made from; see `get_recipe`."""

    synonyms: SubstitutionTable | None = None
    antonyms: SubstitutionTable | None = None
    encoder: str | None = None
    part_of_speech: str = "lexicon"
    casing: str = "keep"
    toxic_words: str | Path | tuple[str, ...] | None = None
    mlm_model: str | Path | None = None

    def synonym_table(self) -> SubstitutionTable:
        return default_synonyms() if self.synonyms is None else self.synonyms

    def antonym_table(self) -> SubstitutionTable:
        return default_antonyms() if self.antonyms is None else self.antonyms

    def pos(self, verb_noun_swap: bool) -> PartOfSpeech:
        return PartOfSpeech(self.part_of_speech, verb_noun_swap)  # type: ignore[arg-type]

    def similarity(self, threshold: float, **options: Any) -> tuple[Constraint, ...]:
        if self.encoder is None:
            return ()
        return (SentenceSimilarity(self.encoder, threshold, **options),)

    def named(self, name: str) -> str:
        """A recipe's name that says so where its sentence-similarity constraint is off."""
        return name if self.encoder is not None else f"{name} (no sentence encoder)"


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe that `get_recipe` knows by name.

    Args:
        make: Makes it from `Ingredients`.
        kind: "fickle" or "obstinate", the kind of its goal.
    """

    make: Callable[[Ingredients], Recipe]
    kind: Literal["fickle", "obstinate"]


RECIPES: dict[str, NamedRecipe] = {}


def _register(name: str, kind: Literal["fickle", "obstinate"]) -> Callable[[Any], Any]:
    """Make a recipe known by a name."""

    def add(make: Callable[[Ingredients], Recipe]) -> Callable[[Ingredients], Recipe]:
        RECIPES[name] = NamedRecipe(make, kind)
        return make

    return add


def _textfooler(name: str, parts: Ingredients, table: SubstitutionTable) -> Recipe:
    return Recipe(
        parts.named(name),
        SynonymPerturbation(table, exclude_stopwords=False, casing=parts.casing),  # type: ignore[arg-type]
        get_goal("flip"),
        search="greedy",
        ranking="deletion",
        constraints=(
            NoRepeat(),
            StopWords("textfooler"),
            parts.pos(verb_noun_swap=True),
            # Of Universal Sentence Encoder; see the protocol for what it means for another.
            *parts.similarity(0.840845057, metric="angular", window=15, compare="previous"),
        ),
        budget=SEQUENCE_BUDGET,
    )


@_register("paper-synonym", "fickle")
def _paper_synonym(parts: Ingredients) -> Recipe:
    return _textfooler("paper-synonym", parts, parts.synonym_table())


@_register("paper-antonym", "obstinate")
def _paper_antonym(parts: Ingredients) -> Recipe:
    table = parts.antonym_table()
    return Recipe(
        "paper-antonym",
        AntonymPerturbation(table, exclude_stopwords=False, casing=parts.casing),  # type: ignore[arg-type]
        get_goal("keep-strict"),
        constraints=(StopWords("nltk"), parts.pos(verb_noun_swap=False)),
    )


@_register("paper-negation", "obstinate")
def _paper_negation(parts: Ingredients) -> Recipe:
    perturbation = NegationPerturbation(pos=parts.part_of_speech)  # type: ignore[arg-type]
    return Recipe("paper-negation", perturbation, get_goal("keep-strict"))


@_register("paper-toxicity", "obstinate")
def _paper_toxicity(parts: Ingredients) -> Recipe:
    from hf_bat.perturbations.toxicity import ToxicityPerturbation

    perturbation = ToxicityPerturbation(parts.toxic_words)
    return Recipe("paper-toxicity", perturbation, get_goal("keep-strict"))


@_register("sister", "obstinate")
def _sister(parts: Ingredients) -> Recipe:
    perturbation = SisterPerturbation(exclude_stopwords=False, casing=parts.casing)  # type: ignore[arg-type]
    constraints = (StopWords("nltk"), parts.pos(verb_noun_swap=False))
    return Recipe("sister", perturbation, get_goal("keep-strict"), constraints=constraints)


@_register("number", "obstinate")
def _number(parts: Ingredients) -> Recipe:
    perturbation = NumberPerturbation(parts.casing)  # type: ignore[arg-type]
    return Recipe("number", perturbation, get_goal("keep-strict"))


@_register("a2t", "fickle")
def _a2t(parts: Ingredients) -> Recipe:
    table = parts.synonym_table()
    nearest = SubstitutionTable({word: others[:20] for word, others in table.items()})
    perturbation = SynonymPerturbation(nearest, exclude_stopwords=False, casing=parts.casing)  # type: ignore[arg-type]
    return _a2t_with("a2t", parts, perturbation)


@_register("a2t-mlm", "fickle")
def _a2t_mlm(parts: Ingredients) -> Recipe:
    if parts.mlm_model is None:
        raise HfBatError("a2t-mlm needs mlm_model, the folder or Hub id of a masked language model")
    perturbation = MaskedLMPerturbation(
        parts.mlm_model,
        casing=parts.casing,  # type: ignore[arg-type]
        antonyms=parts.antonym_table(),
    )
    return _a2t_with("a2t-mlm", parts, perturbation)


def _a2t_with(name: str, parts: Ingredients, perturbation: Perturbation) -> Recipe:
    return Recipe(
        parts.named(name),
        perturbation,
        get_goal("flip"),
        search="greedy",
        ranking="gradient",
        constraints=(
            NoRepeat(),
            StopWords("nltk"),
            parts.pos(verb_noun_swap=False),
            MaxWords(count=4, rate=0.1),
            *parts.similarity(0.9, metric="cosine", compare="original"),
        ),
        budget=SEQUENCE_BUDGET,
        key=name,
    )


@_register("textfooler-wordnet", "fickle")
def _textfooler_wordnet(parts: Ingredients) -> Recipe:
    recipe = _textfooler("textfooler-wordnet", parts, default_synonyms())
    return replace(recipe, key="textfooler-wordnet")


ALIASES = {name.removeprefix("paper-"): name for name in RECIPES if name.startswith("paper-")}


def get_recipe(
    name: str | Recipe,
    *,
    synonyms: TableSource | None = None,
    antonyms: TableSource | None = None,
    encoder: str | None = None,
    part_of_speech: str = "lexicon",
    casing: str = "keep",
    toxic_words: str | Path | tuple[str, ...] | None = None,
    mlm_model: str | Path | None = None,
    **changes: Any,
) -> Recipe:
    """Make a named recipe.

    Args:
        name: "paper-synonym", "paper-antonym", "paper-negation", "paper-toxicity" (each also without
            "paper-"), "sister", "number", "a2t", "a2t-mlm" or "textfooler-wordnet"; or a `Recipe`, to which
            only `changes` apply.
        synonyms: a table or the path of one; the bundled lexicon's where None.
        antonyms: likewise.
        encoder: the path or Hub id of the sentence encoder of the synonym attacks and of A2T; None
            turns their similarity constraint off, and the recipe's name says so.
        part_of_speech: "lexicon" or "nltk"; see `PartOfSpeech`.
        casing: "keep" or "authors"; see `SubstitutionPerturbation`.
        toxic_words: the toxicity attack's words, or a file of them; a mild built-in list where None.
        mlm_model: the path or Hub id of the masked language model of "a2t-mlm".
        **changes: any other argument of `Recipe`, such as `budget` or `skip_columns`.

    Returns:
        The recipe, with the changes made.

    Raises:
        HfBatError: an unknown name, a table that cannot be read, a bad change.

    Example:
        >>> get_recipe("synonym", synonyms={"dog": ["hound"]}, budget=100).name
        'paper-synonym (no sentence encoder)'
    """
    if isinstance(name, Recipe):
        recipe = name
    else:
        full = ALIASES.get(name, name)
        if full not in RECIPES:
            known = [*ALIASES, *RECIPES]
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise HfBatError(f"unknown attack {name!r}{hint}; known: {', '.join(known)}")
        parts = Ingredients(
            None if synonyms is None else as_table(synonyms),
            None if antonyms is None else as_table(antonyms),
            encoder,
            part_of_speech,
            casing,
            toxic_words,
            mlm_model,
        )
        recipe = RECIPES[full].make(parts)
    try:
        return replace(recipe, **changes)
    except TypeError as error:
        raise HfBatError(f"not an option of a recipe: {error}") from error
