"""Recipes: named combinations of perturbation, goal, search, ranking and constraints.

To add a recipe, add a function with `@_register` here. The decorator also lists the ingredients that the
recipe uses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hf_bat.attack.constraints import Constraint, MaxWords, NoRepeat, PartOfSpeech, StopWords
from hf_bat.attack.goals import Goal, get_goal
from hf_bat.attack.masked_lm import MaskedLMPerturbation
from hf_bat.attack.search import RANKINGS, SEARCHES
from hf_bat.attack.similarity import SentenceSimilarity
from hf_bat.errors import HfBatError, suggest
from hf_bat.lexicon import SubstitutionTable, as_table, default_antonyms, wordnet_synonyms
from hf_bat.lexicon.bundled import as_synonyms
from hf_bat.lexicon.table import TableSource
from hf_bat.perturbations import (
    AntonymPerturbation,
    CharacterPerturbation,
    NegationPerturbation,
    NumberPerturbation,
    SisterPerturbation,
    SynonymPerturbation,
)
from hf_bat.perturbations.base import Perturbation
from hf_bat.perturbations.splitting import split_words
from hf_bat.perturbations.substitution import find_listed_stopwords
from hf_bat.perturbations.toxicity import ToxicityPerturbation
from hf_bat.text import Splitter

# Query budget per row for attacks that change several words.
SEQUENCE_BUDGET = 2000


@dataclass(frozen=True)
class Recipe:
    """All settings of an attack except the model. They determine which edits are tried.

    Args:
        name: Name in reports.
        perturbation: The perturbation that proposes the edits.
        goal: A goal or its name: "flip", "keep-strict", "keep-confident".
        search: "exhaustive" (try every single edit; default), "greedy" (edit words in order of importance) or
            "beam".
        ranking: How greedy search orders the words: "deletion", "unk", "gradient" or "random".
        constraints: Rules for edits. Defaults to an empty tuple.
        budget: Maximum number of queries per row, or `None` (default) for no limit.
        skip_labels: Names of labels to skip. Defaults to the skipped labels of the task for an obstinate
            goal, and to no labels for a fickle goal.
        skip_columns: Text columns that are not edited. By default, all columns are edited.
        max_length: Maximum input length in tokens. Defaults to the model's limit.
        beam_width: Number of states that beam search keeps. Defaults to 4.
        key: Short name in metric keys and reports. Defaults to the name of the perturbation.

    Raises:
        HfBatError: If the goal, search or ranking is unknown, or a number is below 1.

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
    # Not compared, because it does not affect the edits.
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
            raise HfBatError(f"{self.search} search does not use a ranking; got {self.ranking!r}")
        splitter = getattr(self.perturbation, "splitter", None)
        if splitter and any(isinstance(c, PartOfSpeech) for c in self.constraints):
            raise HfBatError(
                "with a splitter, the text is not English, and parts of speech are only known for English: "
                "use --part-of-speech off (part_of_speech='off')"
            )
        for name in ("budget", "max_length", "beam_width"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise HfBatError(f"{name} must be at least 1; got {value}")

    def describe(self) -> dict[str, Any]:
        """Return all settings in a JSON-serializable form. `hash` is computed from it."""
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
        """SHA-256 (hex) of `describe()`, which includes the fingerprints of tables."""
        return hash_description(self.describe())

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.hash[:12]})"]
        for name, value in self.describe().items():
            if name == "name":
                continue
            if name == "constraints":
                lines.append("  constraints:" if value else "  constraints: none")
                lines += [f"    {_format(rule)}" for rule in value]
            else:
                lines.append(f"  {name}: {_format(value)}")
        return "\n".join(lines)


def hash_description(description: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of a description."""
    # Use a fixed format without spaces and with sorted keys, so equal descriptions have equal hashes.
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _format(value: Any) -> str:
    if isinstance(value, dict):
        first, *rest = value.items()
        return f"{first[1]} ({', '.join(f'{k}={v}' for k, v in rest)})" if rest else str(first[1])
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


@dataclass(frozen=True)
class Ingredients:
    """The arguments of `get_recipe` that named recipes are built from."""

    synonyms: SubstitutionTable | None = None
    antonyms: SubstitutionTable | None = None
    encoder: Any = None
    part_of_speech: Any = "lexicon"
    casing: Any = "keep"
    fit_grammar: bool = True
    toxic_words: str | Path | tuple[str, ...] | None = None
    mlm_model: str | Path | None = None
    splitter: Splitter | None = None

    def get_synonyms(self) -> SubstitutionTable:
        return as_synonyms(self.synonyms)

    def get_antonyms(self) -> SubstitutionTable:
        return default_antonyms() if self.antonyms is None else self.antonyms

    def limit_similarity(self, threshold: float, **options: Any) -> tuple[Constraint, ...]:
        """Return the similarity constraint, or an empty tuple without an encoder."""
        if self.encoder is None:
            return ()
        return (SentenceSimilarity(self.encoder, threshold, **options),)

    def limit_part_of_speech(self, **options: Any) -> tuple[Constraint, ...]:
        """Return the part-of-speech constraint, or an empty tuple if it is off."""
        return (
            () if self.part_of_speech == "off" else (PartOfSpeech(self.part_of_speech, **options),)
        )

    def complete_name(self, name: str) -> str:
        """Return the name of a recipe, with a note if its similarity constraint is off."""
        return name if self.encoder is not None else f"{name} (no sentence encoder)"


Maker = Callable[[Ingredients], Recipe]


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe that `get_recipe` can return by name.

    Args:
        make: Function that makes the recipe.
        kind: "fickle" or "obstinate".
        reads: The ingredients it uses among "synonyms", "encoder", "toxic_words", "mlm_model" and "splitter".
        title: Name for readers.
        edit: Description of the edit for readers.
    """

    make: Maker
    kind: Literal["fickle", "obstinate"]
    reads: tuple[str, ...]
    title: str = "Edits"
    edit: str = "the row was edited"


RECIPES: dict[str, NamedRecipe] = {}
_SYNONYMS = "words were only replaced by synonyms"


def _register(
    name: str, kind: Literal["fickle", "obstinate"], *reads: str, title: str, edit: str
) -> Callable[[Maker], Maker]:
    def add(make: Maker) -> Maker:
        RECIPES[name] = NamedRecipe(make, kind, reads, title, edit)
        return make

    return add


@_register(
    "paper-synonym", "fickle", "synonyms", "encoder", "splitter", title="Synonyms", edit=_SYNONYMS
)
def _make_synonym(parts: Ingredients) -> Recipe:
    return _make_textfooler("paper-synonym", parts, parts.get_synonyms())


def _make_textfooler(name: str, parts: Ingredients, table: SubstitutionTable) -> Recipe:
    return Recipe(
        parts.complete_name(name),
        split_words(SynonymPerturbation(table, False, parts.casing), parts.splitter),
        get_goal("flip"),
        search="greedy",
        ranking="deletion",
        constraints=(
            NoRepeat(),
            StopWords("textfooler"),
            *parts.limit_part_of_speech(verb_noun_swap=True),
            # Chosen for the Universal Sentence Encoder. For other encoders, see docs/paper-and-code.md.
            *parts.limit_similarity(0.840845057, metric="angular", window=15, compare="previous"),
        ),
        budget=SEQUENCE_BUDGET,
    )


@_register(
    "paper-antonym",
    "obstinate",
    "splitter",
    title="Antonyms",
    edit="a word was replaced by its opposite",
)
def _make_antonym(parts: Ingredients) -> Recipe:
    table = parts.get_antonyms()
    antonyms = AntonymPerturbation(table, False, parts.casing, parts.fit_grammar)
    perturbation = split_words(antonyms, parts.splitter)
    stop_words = StopWords("nltk", allowed=find_listed_stopwords(table))
    constraints = (stop_words, *parts.limit_part_of_speech())
    return Recipe("paper-antonym", perturbation, get_goal("keep-strict"), constraints=constraints)


@_register("paper-negation", "obstinate", title="Negation", edit="a verb was negated")
def _make_negation(parts: Ingredients) -> Recipe:
    # Negation only supports English, and it needs parts of speech to find the verbs.
    source: Any = "lexicon" if parts.part_of_speech == "off" else parts.part_of_speech
    perturbation = NegationPerturbation(source)
    return Recipe("paper-negation", perturbation, get_goal("keep-strict"))


@_register(
    "paper-toxicity",
    "obstinate",
    "toxic_words",
    title="Toxic words",
    edit="a toxic word was inserted",
)
def _make_toxicity(parts: Ingredients) -> Recipe:
    perturbation = ToxicityPerturbation(parts.toxic_words)
    return Recipe("paper-toxicity", perturbation, get_goal("keep-strict"))


@_register(
    "sister", "obstinate", title="Sister words", edit="a word was replaced by another of its kind"
)
def _make_sister(parts: Ingredients) -> Recipe:
    perturbation = SisterPerturbation(None, False, parts.casing, parts.fit_grammar)
    constraints = (StopWords("nltk"), *parts.limit_part_of_speech())
    return Recipe("sister", perturbation, get_goal("keep-strict"), constraints=constraints)


@_register("number", "obstinate", title="Numbers", edit="a number or a quantity was changed")
def _make_number(parts: Ingredients) -> Recipe:
    perturbation = NumberPerturbation(parts.casing, parts.fit_grammar)
    return Recipe("number", perturbation, get_goal("keep-strict"))


@_register(
    "a2t", "fickle", "synonyms", "encoder", "splitter", title="Synonyms (A2T)", edit=_SYNONYMS
)
def _make_a2t(parts: Ingredients) -> Recipe:
    # A2T tries the 20 nearest synonyms. Tables list the nearest synonyms first.
    table = parts.get_synonyms()
    nearest = {word: synonyms[:20] for word, synonyms in table.items()}
    perturbation = SynonymPerturbation(
        SubstitutionTable(nearest, table.metadata), exclude_stopwords=False, casing=parts.casing
    )
    return _make_a2t_with("a2t", parts, split_words(perturbation, parts.splitter))


@_register(
    "a2t-mlm",
    "fickle",
    "encoder",
    "mlm_model",
    title="A language model's words",
    edit="words were only replaced by likely ones",
)
def _make_a2t_mlm(parts: Ingredients) -> Recipe:
    if parts.mlm_model is None:
        raise HfBatError("a2t-mlm needs mlm_model, the folder or Hub id of a masked language model")
    perturbation = MaskedLMPerturbation(
        parts.mlm_model, casing=parts.casing, antonyms=parts.get_antonyms()
    )
    return _make_a2t_with("a2t-mlm", parts, perturbation)


def _make_a2t_with(name: str, parts: Ingredients, perturbation: Perturbation) -> Recipe:
    return Recipe(
        parts.complete_name(name),
        perturbation,
        get_goal("flip"),
        search="greedy",
        ranking="gradient",
        constraints=(
            NoRepeat(),
            StopWords("nltk"),
            *parts.limit_part_of_speech(),
            MaxWords(count=4, rate=0.1),
            *parts.limit_similarity(0.9, metric="cosine", compare="original"),
        ),
        budget=SEQUENCE_BUDGET,
        key=name,
    )


@_register("textfooler-wordnet", "fickle", "encoder", title="Synonyms (WordNet)", edit=_SYNONYMS)
def _make_textfooler_wordnet(parts: Ingredients) -> Recipe:
    recipe = _make_textfooler("textfooler-wordnet", parts, wordnet_synonyms())
    return replace(recipe, key="textfooler-wordnet")


@_register("typo", "fickle", title="Typing errors", edit="a few words were only mistyped")
def _make_typo(parts: Ingredients) -> Recipe:
    return _make_characters(CharacterPerturbation())


@_register("look-alike", "fickle", title="Look-alike letters", edit="letters only changed script")
def _make_look_alike(parts: Ingredients) -> Recipe:
    return _make_characters(CharacterPerturbation(["look-alike"], name="look-alike"))


def _make_characters(perturbation: CharacterPerturbation) -> Recipe:
    return Recipe(
        perturbation.name,
        perturbation,
        get_goal("flip"),
        search="greedy",
        ranking="deletion",
        # Readers still understand sentences with two mistyped words (Pruthi et al. 2019).
        constraints=(NoRepeat(), MaxWords(count=2)),
        budget=SEQUENCE_BUDGET,
    )


ALIASES = {name.removeprefix("paper-"): name for name in RECIPES if name.startswith("paper-")}


def shorten_name(name: str) -> str:
    """Return a recipe's name without "paper-"."""
    return name.removeprefix("paper-")


def list_readers(ingredient: str) -> list[str]:
    """List the short names of the recipes that use an ingredient; see `NamedRecipe`."""
    return [shorten_name(name) for name, recipe in RECIPES.items() if ingredient in recipe.reads]


def get_recipe(
    name: str | Recipe,
    *,
    synonyms: TableSource | None = None,
    antonyms: TableSource | None = None,
    encoder: Any = None,
    part_of_speech: str = "lexicon",
    casing: str = "keep",
    fit_grammar: bool = True,
    toxic_words: str | Path | tuple[str, ...] | None = None,
    mlm_model: str | Path | None = None,
    splitter: Splitter | None = None,
    **changes: Any,
) -> Recipe:
    """Make a named recipe.

    Args:
        name: "paper-synonym", "paper-antonym", "paper-negation", "paper-toxicity" (each also without
            "paper-"), "sister", "number", "a2t", "a2t-mlm", "textfooler-wordnet", "typo" or "look-alike". If
            it is a `Recipe`, only `changes` are applied.
        synonyms: A table, its path, or "wordnet". Defaults to the bundled counter-fitted neighbors.
        antonyms: A table or its path. Defaults to the bundled lexicon.
        encoder: Sentence encoder for the synonym attacks and A2T: a path, a Hub id, or an object with
            `encode`, such as a `SentenceTransformer`. `None` (default) turns off their similarity
            constraint, and this is noted in the name of the recipe.
        part_of_speech: "lexicon" (default) or "nltk", see `PartOfSpeech`. Both only support English. "off"
            removes this constraint.
        casing: "keep" (default) or "authors"; see `SubstitutionPerturbation`.
        fit_grammar: Whether to fit antonyms, sister terms and numbers to the sentence; see
            `AntonymPerturbation`. `False` returns the recipes and hashes of the paper's edits. Defaults to
            `True`.
        toxic_words: Words for the toxicity attack, or a file with them. Defaults to a mild built-in list.
        mlm_model: Path or Hub id of the masked language model for "a2t-mlm".
        splitter: Function that splits texts into words. Use it for languages without spaces between words;
            see `SplitPerturbation`. Supported by "synonym", "antonym" and "a2t", with `part_of_speech="off"`.
        **changes: Any other argument of `Recipe`, such as `budget` or `skip_columns`.

    Returns:
        The recipe with the changes.

    Raises:
        HfBatError: If the name is unknown, a table cannot be read, or a change is not supported.

    Example:
        >>> get_recipe("synonym", synonyms={"dog": ["hound"]}, budget=100).name
        'paper-synonym (no sentence encoder)'
    """
    if isinstance(name, Recipe):
        if splitter is not None:
            raise HfBatError(
                f"the recipe {name.name!r} has its own perturbation: add the splitter to it with "
                "SplitPerturbation(perturbation, splitter)"
            )
        recipe = name
    else:
        if not isinstance(name, str):
            raise HfBatError(
                f"an attack is a name or a Recipe; got {name!r:.80}; create one Attack per name"
            )
        full_name = ALIASES.get(name, name)
        if full_name not in RECIPES:
            known = [*ALIASES, *RECIPES]
            hint = suggest(name, known)
            raise HfBatError(f"unknown attack {name!r}{hint}; known: {', '.join(known)}")
        if splitter is not None and "splitter" not in RECIPES[full_name].reads:
            raise HfBatError(
                f"the attack {shorten_name(full_name)!r} does not use a splitter; these attacks do: "
                f"{', '.join(list_readers('splitter'))}"
            )
        # Read all tables even if the recipe does not use them, so a wrong path is always an error.
        parts = Ingredients(
            None if synonyms is None else as_synonyms(synonyms),
            None if antonyms is None else as_table(antonyms),
            encoder,
            part_of_speech,
            casing,
            fit_grammar,
            toxic_words,
            mlm_model,
            splitter,
        )
        recipe = RECIPES[full_name].make(parts)
    try:
        return replace(recipe, **changes)
    except TypeError as error:
        raise HfBatError(f"not an option of a recipe: {error}") from error
