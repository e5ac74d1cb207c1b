"""Base class for rules. Rules edit rows with known labels and derive the new labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from hf_bat.perturbations.base import RandomSource, Texts

T = TypeVar("T")
# Label of a pair that is either neutral or a contradiction.
NOT_ENTAILMENT = "not entailment"


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """An edited input with the label that a rule derives.

    Args:
        texts: The one or two sentences.
        label: Name of the label. It is `NOT_ENTAILMENT` if the rule can only exclude entailment.
        rule: Name of the rule.
        kind: Kind of the edit, such as `"antonym"`.
        words: The replaced word and the new word, in lower case. It is empty if the edit does not replace
            a word. Word pairs can be held out of training.
    """

    texts: Texts
    label: str
    rule: str
    kind: str
    words: tuple[str, ...] = ()


class Rule(ABC):
    """A rule that makes labeled pairs from rows. A subclass must define a name and `list_pairs`.

    Attributes:
        name: Name in options, logs and reports.
        family: Kind of task the rule supports: "inference" (labels "entailment", "neutral" and
            "contradiction"), "paraphrase" ("same" and "different"), or "sentence" (the task's labels).
        is_default: Whether runs use the rule if they do not list their rules. Defaults to `True`.
        share: Weight of the rule in draws, unless the run sets another weight. Defaults to 1.0.
        gives_label: Whether each pair has exactly one label. If `False`, the pairs are only used for
            training and are left out of suites and augmented data sets. Defaults to `True`.

    Example:
        >>> class Question(Rule):
        ...     name, family = "question", "inference"
        ...     def list_pairs(self, texts, label):
        ...         premise, _ = texts
        ...         yield self.make((premise, f"Is it true that {premise}"), "neutral", "question")
        >>> [pair.texts[1] for pair in Question().list_pairs(("Dogs run.", "A dog runs."), "entailment")]
        ['Is it true that Dogs run.']
    """

    name: str
    family: Literal["inference", "paraphrase", "sentence"]
    is_default: bool = True
    share: float = 1.0
    gives_label: bool = True

    @abstractmethod
    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        """Yield every labeled pair of the row.

        Args:
            texts: The sentences of the row.
            label: Name of the row's label.
        """

    def prepare(self, rows: Iterable[tuple[Texts, str]]) -> None:  # noqa: B027 (optional to override)
        """Read the rows of a data set before the first draw.

        Override this method if the rule needs words from other rows.
        """

    def draw(self, texts: Texts, label: str, rng: RandomSource) -> Counterfactual | None:
        """Draw one pair: first the label, then the kind, then a pair of this kind, each uniformly.

        Without these steps, the draw would nearly always pick the edits with the most replacements.
        """
        return draw_evenly(list(self.list_pairs(texts, label)), rng)

    def describe(self) -> dict[str, object]:
        """Return all settings that affect the rule's pairs, in a JSON-serializable form."""
        return {"rule": self.name}

    def make(
        self, texts: Texts, label: str, kind: str, words: tuple[str, ...] = ()
    ) -> Counterfactual:
        """Create a pair with this rule's name."""
        return Counterfactual(texts, label, self.name, kind, words)


def draw_evenly(pairs: Sequence[Counterfactual], rng: RandomSource) -> Counterfactual | None:
    """Draw the label, then the kind among the pairs with this label, then the pair."""
    for field in ("label", "kind"):
        values = sorted({getattr(pair, field) for pair in pairs})
        if not values:
            return None
        value = choose(values, rng)
        pairs = [pair for pair in pairs if getattr(pair, field) == value]
    # Draw the old word first, because words with many replacements would be drawn more often otherwise.
    olds = sorted({pair.words[:1] for pair in pairs})
    old = choose(olds, rng)
    return choose([pair for pair in pairs if pair.words[:1] == old], rng)


def choose(values: Sequence[T], rng: RandomSource) -> T:
    """Choose a value. A `RandomSource` only has `random`, so `rng.choice` is not available."""
    return values[int(rng.random() * len(values))]


def take_weighted(values: list[T], weigh: Callable[[T], float], rng: RandomSource) -> T:
    """Draw a value by weight, remove it from the list, and return it."""
    point = rng.random() * sum(map(weigh, values))
    for place, value in enumerate(values):
        point -= weigh(value)
        if point < 0:
            return values.pop(place)
    return values.pop()  # `point` can remain above 0 because of rounding
