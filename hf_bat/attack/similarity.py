"""Sentence similarity: a constraint and a figure of the report, by any encoder transformers loads."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, Literal

import numpy as np

from hf_bat.attack.constraints import Constraint
from hf_bat.attack.state import State
from hf_bat.errors import HfBatError
from hf_bat.files import get_hub_name
from hf_bat.perturbations.base import Edit, Texts

METRICS = ("cosine", "angular")


class SentenceEncoder:
    """Embeds strings by the mean of a transformers encoder's last hidden states over real tokens.

    The model is loaded when first used.

    Args:
        path: a folder or Hub id that `AutoModel` loads.
        device: where it runs; the first GPU, else the processor, where None.
        batch_size: strings in a forward pass.

    Raises:
        HfBatError: the model cannot be loaded; raised when it is first used.

    Example:
        >>> encoder = SentenceEncoder("sentence-transformers/all-MiniLM-L6-v2")
        >>> encoder.encode(["A dog.", "A hound."]).shape  # doctest: +SKIP
        (2, 384)
    """

    def __init__(self, path: str, device: str | None = None, batch_size: int = 32):
        self.path, self.device, self.batch_size = str(path), device, batch_size
        self._loaded: tuple[Any, Any] | None = None

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModel, AutoTokenizer

            try:
                tokenizer = AutoTokenizer.from_pretrained(self.path)
                model = AutoModel.from_pretrained(self.path)
            except (OSError, ValueError) as error:
                raise HfBatError(
                    f"cannot load the sentence encoder {self.path}: {str(error).splitlines()[0]}"
                ) from error
            device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
            self._loaded = tokenizer, model.eval().to(device)
        return self._loaded

    @cached_property
    def name(self) -> str:
        """What recipes call it: its name on the Hub, or a hash of a folder's weights and vocabulary."""
        return get_hub_name(self.path) or self._identity()

    def _identity(self) -> str:
        from hf_bat.attack.transformer import hash_model

        tokenizer, model = self._load()
        return hash_model(model, tokenizer)

    def encode(self, strings: list[str]) -> np.ndarray:
        """Embed strings.

        Args:
            strings: n strings.

        Returns:
            (n, d) float64, each row of length one.
        """
        import torch

        from hf_bat.device import cast_to_double

        tokenizer, model = self._load()
        order = sorted(range(len(strings)), key=lambda i: len(strings[i]))
        found: dict[int, np.ndarray] = {}
        for first in range(0, len(order), self.batch_size):
            chosen = order[first : first + self.batch_size]
            batch = tokenizer(
                [strings[i] for i in chosen], padding=True, truncation=True, return_tensors="pt"
            ).to(model.device)
            with torch.no_grad():
                hidden = cast_to_double(model(**batch).last_hidden_state)
            mask = batch["attention_mask"].unsqueeze(-1)
            means = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
            means = torch.nn.functional.normalize(means, dim=-1)
            found.update(zip(chosen, means.cpu().numpy().astype(np.float64), strict=True))
        return np.stack([found[i] for i in range(len(strings))]) if strings else np.zeros((0, 1))


class SentenceSimilarity(Constraint):
    """The sentence stays similar: an encoder's embeddings before and after the edit.

    A threshold means nothing for another encoder, so both are part of the recipe.

    Args:
        encoder: an encoder, or the path or Hub id of one.
        threshold: the least similarity.
        metric: "cosine", or "angular" = 1 - angle / pi.
        window: compare only so many words around the edit; None for the whole input.
        compare: with the "previous" step's text or with the "original".
        skip_shorter: allow every edit of an input with fewer words than the window.

    Raises:
        HfBatError: an unknown metric or comparison, or a window below one.

    Example:
        >>> constraint = SentenceSimilarity("sentence-transformers/all-MiniLM-L6-v2", 0.9, window=3)
        >>> state = State.of(("A big dog runs here.",))
        >>> constraint.strings(state, state, Edit(0, 2, "dog", "hound", ("A big hound runs here.",)))
        ('big dog runs', 'big hound runs')
        >>> constraint.similarity(np.array([1.0, 0.0]), np.array([0.8, 0.6]))
        0.8
    """

    def __init__(
        self,
        encoder: SentenceEncoder | str,
        threshold: float,
        metric: Literal["cosine", "angular"] = "cosine",
        window: int | None = None,
        compare: Literal["previous", "original"] = "previous",
        skip_shorter: bool = True,
    ):
        if metric not in METRICS:
            raise HfBatError(f"unknown similarity {metric!r}; known: {', '.join(METRICS)}")
        if compare not in ("previous", "original"):
            raise HfBatError(f"compare with 'previous' or 'original', not {compare!r}")
        if window is not None and window < 1:
            raise HfBatError(f"the window must be at least one word, not {window}")
        self.encoder = encoder if isinstance(encoder, SentenceEncoder) else SentenceEncoder(encoder)
        self.threshold, self.metric, self.window = threshold, metric, window
        self.compare, self.skip_shorter = compare, skip_shorter

    def strings(self, start: State, state: State, edit: Edit) -> tuple[str, str] | None:
        """The two strings whose similarity decides; None where the edit is allowed without asking."""
        reference = start if self.compare == "original" else state
        if self.window is None:
            return "\n".join(reference.texts), "\n".join(edit.texts)
        words = sum(len(text.split()) for text in reference.texts)
        if words < self.window and self.skip_shorter:
            return None
        where = sum(len(text.split()) for text in reference.texts[: edit.sentence]) + edit.position
        return window(reference.texts, where, self.window), window(edit.texts, where, self.window)

    def similarity(self, one: np.ndarray, other: np.ndarray) -> float:
        """The similarity of two unit vectors."""
        cosine = float(np.clip(one @ other, -1.0, 1.0))
        return cosine if self.metric == "cosine" else 1.0 - math.acos(cosine) / math.pi

    def describe(self) -> dict[str, object]:
        return {
            "constraint": "sentence-similarity",
            "encoder": self.encoder.name,
            "threshold": self.threshold,
            "metric": self.metric,
            "window": self.window,
            "compare": self.compare,
            "skip_shorter": self.skip_shorter,
        }


def window(texts: Texts, center: int, size: int) -> str:
    """The words around one word of the sentences joined, so many in all where there are enough.

    Args:
        texts: the sentences.
        center: which white-space token, counted through all sentences.
        size: how many words.

    Example:
        >>> window(("a b c", "d e f"), 3, 3), window(("a b c", "d e f"), 5, 4)
        ('c d e', 'c d e f')
    """
    tokens = [token for text in texts for token in text.split()]
    first = min(max(0, center - (size - 1) // 2), max(0, len(tokens) - size))
    return " ".join(tokens[first : first + size])
