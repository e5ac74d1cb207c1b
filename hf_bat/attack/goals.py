"""Goals, which decide whether an edited input is a success of the attack.

A fickle attack tries to change the prediction (`flip`). An obstinate attack changes the meaning and tries to
keep the prediction. There are two definitions of this, and every obstinate attack reports both: `keep-strict`
from the paper, and `keep-confident` from the authors' code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np

from hf_bat.attack.answers import find_answered
from hf_bat.errors import HfBatError


class Goal(ABC):
    """A condition on the model's answer for an edited input.

    Attributes:
        name: Name on the command line and in reports.
        kind: "fickle" or "obstinate".

    Example:
        >>> class Target(Goal):
        ...     name, kind = "label-1", "fickle"
        ...     def score(self, probabilities, label):
        ...         return probabilities[:, 1]
        ...     def reached(self, probabilities, label, gold_before):
        ...         return select_kept(probabilities, 1)
        >>> Target().reached(np.array([[0.4, 0.6]]), label=0, gold_before=0.9).tolist()
        [True]
    """

    name: str
    kind: Literal["fickle", "obstinate"]

    @abstractmethod
    def score(self, probabilities: np.ndarray, label: int) -> np.ndarray:
        """Return how close each answer is to the goal. A search keeps edits that increase this score.

        Args:
            probabilities: Array with shape (n, labels).
            label: Gold label, which is also the model's prediction for the unedited input.

        Returns:
            (n,) scores. Higher scores are closer to the goal.
        """

    @abstractmethod
    def reached(self, probabilities: np.ndarray, label: int, gold_before: float) -> np.ndarray:
        """Return which answers reach the goal.

        Args:
            probabilities: Array with shape (n, labels).
            label: Gold label.
            gold_before: Probability of the gold label for the unedited input.

        Returns:
            (n,) booleans.
        """

    def score_unedited(self, gold_before: float) -> float:
        """Return the score of the unedited input, which the search must exceed."""
        return 1.0 - gold_before if self.kind == "fickle" else gold_before


class Flip(Goal):
    """The prediction changes (untargeted). This is the goal of the synonym attack.

    Example:
        >>> Flip().reached(np.array([[0.4, 0.6], [0.5, 0.5]]), label=0, gold_before=0.9).tolist()
        [True, False]
    """

    name, kind = "flip", "fickle"

    def score(self, probabilities: np.ndarray, label: int) -> np.ndarray:
        return 1.0 - probabilities[:, label]

    def reached(self, probabilities: np.ndarray, label: int, gold_before: float) -> np.ndarray:
        return ~select_kept(probabilities, label)


class KeepStrict(Goal):
    """The prediction does not change, f(x_o) = f(x). This is the paper's definition.

    Example:
        >>> KeepStrict().reached(np.array([[0.6, 0.4], [0.4, 0.6]]), label=0, gold_before=0.9).tolist()
        [True, False]
    """

    name, kind = "keep-strict", "obstinate"

    def score(self, probabilities: np.ndarray, label: int) -> np.ndarray:
        # An edit that flips the prediction is never a step toward keeping it.
        return np.where(select_kept(probabilities, label), probabilities[:, label], 0.0)

    def reached(self, probabilities: np.ndarray, label: int, gold_before: float) -> np.ndarray:
        return select_kept(probabilities, label)


class KeepConfident(KeepStrict):
    """The prediction does not change, and the gold probability is strictly higher than before the edit.

    Example:
        >>> answers = np.array([[0.95, 0.05], [0.6, 0.4]])
        >>> KeepConfident().reached(answers, label=0, gold_before=0.9).tolist()
        [True, False]
    """

    name = "keep-confident"

    def reached(self, probabilities: np.ndarray, label: int, gold_before: float) -> np.ndarray:
        return select_kept(probabilities, label) & (probabilities[:, label] > gold_before)


def select_kept(probabilities: np.ndarray, label: int) -> np.ndarray:
    """Return which of (n, labels) answers predict the label. The lower label wins ties."""
    return find_answered(probabilities) & (probabilities.argmax(axis=1) == label)


GOALS: dict[str, Goal] = {goal.name: goal for goal in (Flip(), KeepStrict(), KeepConfident())}


def get_goal(name: str | Goal) -> Goal:
    """Return the goal with the given name. A `Goal` is returned unchanged."""
    if isinstance(name, Goal):
        return name
    if name not in GOALS:
        raise HfBatError(f"unknown goal {name!r}; known: {', '.join(GOALS)}")
    return GOALS[name]
