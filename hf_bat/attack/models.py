"""Models as an attack sees them: inputs in, probabilities out."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Texts


class Classifier(ABC):
    """What the engine needs of a model.

    Attributes:
        config: a transformers configuration, or None.
        unk: what the model reads as an unknown word.
        name: what to call it in reports.
        max_length: tokens after which it cuts an input; None where it cuts none or does not say.
        preprocessing_defence: what is done to a text before the model reads it, as reports disclose
            it; None where nothing is.
    """

    config: Any = None
    unk: str = "[UNK]"
    name: str = "model"
    max_length: int | None = None
    preprocessing_defence: dict[str, Any] | None = None

    @abstractmethod
    def keys(self, inputs: Sequence[Texts]) -> list[Hashable]:
        """What the model sees of each input; inputs with equal keys get one query."""

    @abstractmethod
    def length(self, key: Any) -> int:
        """What an input costs; inputs of near length share a batch."""

    @abstractmethod
    def probabilities(self, keys: Sequence[Any]) -> np.ndarray:
        """(n, labels) float64 for n keys, in one forward pass."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """A hash that tells this model, as it is set up, from others."""

    def about(self) -> dict[str, Any]:
        """What a report must say of this model beside its name, ready for JSON."""
        return {}

    def disclosed(self) -> dict[str, Any]:
        """What every report must say of this model: `preprocessing_defence`, `smoothed`, as far as it is."""
        found = {
            "preprocessing_defence": self.preprocessing_defence,
            "smoothed": self.about().get("smoothed"),
        }
        return {name: value for name, value in found.items() if value is not None}

    def visible(self, inputs: Sequence[Texts]) -> list[tuple[range, ...]]:
        """Per input, per sentence: which of its white-space tokens the model sees."""
        return [tuple(range(len(text.split())) for text in texts) for texts in inputs]

    def saliency(self, asked: Sequence[tuple[Texts, int]]) -> list[list[list[float]]]:
        """Per (input, label), per sentence, per white-space token: its gradient's size."""
        raise HfBatError(
            "the gradient ranking needs a transformers model; for a callable choose the ranking "
            "deletion, unk or random"
        )

    @contextmanager
    def session(self) -> Iterator[None]:
        """What has to hold while queries run."""
        yield


class CallableModel(Classifier):
    """Any function from inputs to probabilities, such as a scikit-learn pipeline's `predict_proba`.

    Args:
        function: takes a list of inputs, each a tuple of two sentences, or a string where the task has
            one, and returns their probabilities, (n, labels).
        name: what to call it; part of what a rows file must match to be resumed.

    Example:
        >>> model = CallableModel(lambda pairs: [[0.9, 0.1] for _ in pairs], name="constant")
        >>> model.probabilities([("A dog.", "A cat.")]).tolist()
        [[0.9, 0.1]]
    """

    def __init__(self, function: Callable[[list[Any]], Any], name: str | None = None):
        self.function = function
        self.name = name or str(getattr(function, "__qualname__", type(function).__qualname__))

    def keys(self, inputs: Sequence[Texts]) -> list[Hashable]:
        return list(inputs)

    def length(self, key: Any) -> int:
        return sum(len(text.split()) for text in key)

    def probabilities(self, keys: Sequence[Any]) -> np.ndarray:
        asked = [texts if len(texts) > 1 else texts[0] for texts in keys]
        try:
            answers = np.asarray(self.function(asked), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise HfBatError(f"the model's function failed: {error}") from error
        return check_probabilities(answers, keys)

    @property
    def identity(self) -> str:
        return hashlib.sha256(f"callable {self.name}".encode()).hexdigest()


def check_probabilities(answers: np.ndarray, inputs: Sequence[Any]) -> np.ndarray:
    """Refuse what is not one distribution an input.

    Raises:
        HfBatError: the wrong number of rows or dimensions, NaN, values outside 0..1 or a sum that is
            not 1 (within 0.001); the message shows the input.
    """
    if answers.ndim != 2 or len(answers) != len(inputs) or answers.shape[1] < 2:
        raise HfBatError(
            f"the model gave an array of shape {answers.shape} for {len(inputs)} inputs; "
            f"expected ({len(inputs)}, labels) probabilities of two labels or more"
        )
    finite = np.isfinite(answers).all(axis=1)
    if not finite.all():
        bad = inputs[int(np.argmin(finite))]
        raise HfBatError(f"the model gave NaN or infinity for the input {bad!r:.200}")
    off = np.abs(answers.sum(axis=1) - 1) > 1e-3
    off |= (answers < -1e-6).any(axis=1)
    if off.any():
        row = int(np.argmax(off))
        raise HfBatError(
            f"the model gave {np.round(answers[row], 4).tolist()} for the input {inputs[row]!r:.200}; "
            "expected probabilities (0..1, sum 1): apply a softmax to logits"
        )
    return answers
