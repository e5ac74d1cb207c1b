"""Goals: when an edited input counts as a success of the attack.

A fickle attack wants another prediction (`flip`). An obstinate attack changes the meaning and wants
the prediction to stay; for that there are two definitions in use, and every obstinate attack reports
both: `keep-strict`, the paper's, and `keep-confident`, what its authors' code counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np

from hf_bat.errors import HfBatError


class Goal(ABC):
    """What an attack wants of the model's answer to an edited input.

    Attributes:
        name: as the command line and reports call it.
        kind: "fickle" or "obstinate".

    Example:
        >>> class Target(Goal):
        ...     name, kind = "label-1", "fickle"
        ...     def score(self, probabilities, label):
        ...         return probabilities[:, 1]
        ...     def reached(self, probabilities, label, gold_before):
        ...         return kept(probabilities, 1)
        >>> Target().reached(np.array([[0.4, 0.6]]), label=0, gold_before=0.9).tolist()
        [True]
    """

    name: str
    kind: Literal["fickle", "obstinate"]

    @abstractmethod
    def score(self, probabilities: np.ndarray, label: int) -> np.ndarray:
        """How near each answer is to the goal; a search keeps what raises it.

        Args:
            probabilities: (n, labels).
            label: the gold label, which the model predicts for the unedited input.

        Returns:
            (n,) scores, higher is nearer.
        """

    @abstractmethod
    def reached(self, probabilities: np.ndarray, label: int, gold_before: float) -> np.ndarray:
        """Which answers fulfil the goal.

        Args:
            probabilities: (n, labels).
            label: the gold label.
            gold_before: its probability on the unedited input.

        Returns:
            (n,) booleans.
        """


class Flip(Goal):
    """The prediction changes (untargeted; the synonym attack's goal).

    Example:
        >>> Flip().reached(np.array([[0.4, 0.6], [0.5, 0.5]]), label=0, gold_before=0.9).tolist()
        [True, False]
    """

    name, kind = "flip", "fickle"

    def score(self, probabilities: np.ndarray, label: int) -> np.ndarray:
        return 1.0 - probabilities[:, label]

    def reached(self, probabilities: np.ndarray, label: int, gold_before: float) -> np.ndarray:
        return ~kept(probabilities, label)


class KeepStrict(Goal):
    """The prediction stays: f(x_o) = f(x), the paper's definition.

    Example:
        >>> KeepStrict().reached(np.array([[0.6, 0.4], [0.4, 0.6]]), label=0, gold_before=0.9).tolist()
        [True, False]
    """

    name, kind = "keep-strict", "obstinate"

    def score(self, probabilities: np.ndarray, label: int) -> np.ndarray:
        return np.where(kept(probabilities, label), probabilities[:, label], 0.0)

    def reached(self, probabilities: np.ndarray, label: int, gold_before: float) -> np.ndarray:
        return kept(probabilities, label)


class KeepConfident(KeepStrict):
    """The prediction stays and the gold probability is strictly higher than before the edit.

    Example:
        >>> answers = np.array([[0.95, 0.05], [0.6, 0.4]])
        >>> KeepConfident().reached(answers, label=0, gold_before=0.9).tolist()
        [True, False]
    """

    name = "keep-confident"

    def reached(self, probabilities: np.ndarray, label: int, gold_before: float) -> np.ndarray:
        return kept(probabilities, label) & (probabilities[:, label] > gold_before)


def kept(probabilities: np.ndarray, label: int) -> np.ndarray:
    """Which of (n, labels) answers predict the label; a tie goes to the lower label."""
    return probabilities.argmax(axis=1) == label


GOALS: dict[str, Goal] = {goal.name: goal for goal in (Flip(), KeepStrict(), KeepConfident())}


def get_goal(name: str | Goal) -> Goal:
    """Look a goal up by its name.

    Raises:
        HfBatError: an unknown name.
    """
    if isinstance(name, Goal):
        return name
    if name not in GOALS:
        raise HfBatError(f"unknown goal {name!r}; known: {', '.join(GOALS)}")
    return GOALS[name]
