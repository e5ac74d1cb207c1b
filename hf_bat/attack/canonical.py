"""A model behind the preprocessing defence of `hf_bat.canonicalize`, as an attack sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from hf_bat.attack.models import Classifier
from hf_bat.canonicalize import Canonicalizer
from hf_bat.perturbations.base import Texts


def prepare_classifier(
    model: Any,
    tokenizer: Any,
    max_length: int | None = None,
    dtype: str = "float32",
    canonicalizer: Canonicalizer | None = None,
) -> Classifier:
    """Prepare a model in training for an attack, through its preprocessing defense if it has one.

    Args:
        model: A transformers classifier.
        tokenizer: Its tokenizer.
        max_length: Maximum input length in tokens.
        dtype: Precision of the predictions; see `Attack`.
        canonicalizer: The preprocessing defense. Defaults to none.
    """
    from hf_bat.attack.runner import as_classifier

    classifier = as_classifier(model, tokenizer, max_length, None, dtype)
    return classifier if canonicalizer is None else CanonicalizedModel(classifier, canonicalizer)


class CanonicalizedModel(Classifier):
    """A classifier that reads its inputs in canonical words.

    Args:
        model: the classifier behind it.
        canonicalizer: maps a text to canonical words, one word to one.

    Example:
        >>> from hf_bat.attack import CallableModel
        >>> model = CallableModel(lambda pairs: [[0.9, 0.1] for _ in pairs], name="constant")
        >>> defended = CanonicalizedModel(model, Canonicalizer({"auto": ("car",)}))
        >>> defended.keys([("An auto.", "A car.")])
        [('An car.', 'A car.')]
    """

    def __init__(self, model: Classifier, canonicalizer: Canonicalizer):
        self.inner, self.canonicalizer = model, canonicalizer
        self.config, self.unk, self.name = model.config, model.unk, model.name
        self.max_length = model.max_length
        self.preprocessing_defence = canonicalizer.describe()

    @property
    def device(self) -> Any:
        """Where the model is, None where it does not say."""
        return getattr(self.inner, "device", None)

    def _texts(self, inputs: Sequence[Texts]) -> list[Texts]:
        return [tuple(map(self.canonicalizer, texts)) for texts in inputs]

    def keys(self, inputs: Sequence[Texts]) -> list[Hashable]:
        return self.inner.keys(self._texts(inputs))

    def length(self, key: Any) -> int:
        return self.inner.length(key)

    def probabilities(self, keys: Sequence[Any]) -> np.ndarray:
        return self.inner.probabilities(keys)

    def about(self) -> dict[str, Any]:
        return self.inner.about()

    def visible(self, inputs: Sequence[Texts]) -> list[tuple[range, ...]]:
        return self.inner.visible(self._texts(inputs))

    def saliency(self, asked: Sequence[tuple[Texts, int]]) -> list[list[list[float]]]:
        inputs = self._texts([texts for texts, _ in asked])
        return self.inner.saliency(
            [(texts, label) for texts, (_, label) in zip(inputs, asked, strict=True)]
        )

    @contextmanager
    def session(self) -> Iterator[None]:
        with self.inner.session():
            yield

    @property
    def identity(self) -> str:
        """A hash of the model's identity and the mapping."""
        text = f"{self.inner.identity} canonicalize {self.canonicalizer.fingerprint}"
        return hashlib.sha256(text.encode()).hexdigest()
