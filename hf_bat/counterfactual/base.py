"""Rules: each takes a row with a known label and gives pairs whose new label is known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from hf_bat.perturbations.base import RandomSource, Texts

T = TypeVar("T")
# Label of a pair that is neutral or contradicted.
NOT_ENTAILMENT = "not entailment"


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """An edited input whose label a rule knows.

    Args:
        texts: The one or two sentences.
        label: Name of the label; `NOT_ENTAILMENT` if only the label that it does not have is known.
        rule: Name of the rule.
        kind: Kind of the edit, such as `"antonym"`.
        words: The replaced word and the new one, in lower case; empty if the edit replaces no word.
            Pairs of words can be held out of training.
    """

    texts: Texts
    label: str
    rule: str
    kind: str
    words: tuple[str, ...] = ()


class Rule(ABC):
    """Gives labeled pairs for a row. Your own rule needs a name and `list_pairs`.

    Attributes:
        name: Name in options, logs and reports.
        family: The kind of task that it is for: "inference" (labels "entailment", "neutral" and
            "contradiction"), "paraphrase" ("same" and "different"), or "sentence" (the task's labels).
        is_default: Whether it is used unless a run names its rules. Defaults to `True`.
        share: Its weight in a draw unless a run says another. Defaults to 1.0.
        gives_label: Whether its pairs have one label. Pairs of other rules are trained on, but no suite
            or augmented data set has them. Defaults to `True`.

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
        """Yield every labeled pair of a row.

        Args:
            texts: The sentences of the row.
            label: Name of the row's label.
        """

    def prepare(self, rows: Iterable[tuple[Texts, str]]) -> None:  # noqa: B027 (optional to override)
        """Read the rows of a data set before the first draw, if a rule needs words from other rows."""

    def draw(self, texts: Texts, label: str, rng: RandomSource) -> Counterfactual | None:
        """Draw one pair: a label, a kind, then a pair of it, each with equal chances.

        Without these steps the edits with most replacements would be drawn nearly always.
        """
        return draw_evenly(list(self.list_pairs(texts, label)), rng)

    def describe(self) -> dict[str, object]:
        """Return every choice that changes the rule's pairs, ready for JSON."""
        return {"rule": self.name}

    def make(
        self, texts: Texts, label: str, kind: str, words: tuple[str, ...] = ()
    ) -> Counterfactual:
        """Return a pair of this rule."""
        return Counterfactual(texts, label, self.name, kind, words)


def draw_evenly(pairs: Sequence[Counterfactual], rng: RandomSource) -> Counterfactual | None:
    """Draw a label, a kind among the pairs with this label, then a pair."""
    for field in ("label", "kind"):
        values = sorted({getattr(pair, field) for pair in pairs})
        if not values:
            return None
        value = choose(values, rng)
        pairs = [pair for pair in pairs if getattr(pair, field) == value]
    # A word with many replacements counts as often as another.
    olds = sorted({pair.words[:1] for pair in pairs})
    old = choose(olds, rng)
    return choose([pair for pair in pairs if pair.words[:1] == old], rng)


def choose(values: Sequence[T], rng: RandomSource) -> T:
    """Choose one of some values; a `RandomSource` has only `random`."""
    return values[int(rng.random() * len(values))]


def take_weighted(values: list[T], weigh: Callable[[T], float], rng: RandomSource) -> T:
    """Remove one of some values, drawn by weight, and return it."""
    point = rng.random() * sum(map(weigh, values))
    for place, value in enumerate(values):
        point -= weigh(value)
        if point < 0:
            return values.pop(place)
    return values.pop()  # rounding can leave a point above 0
