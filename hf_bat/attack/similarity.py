"""Sentence similarity with any transformers encoder, as a constraint and for the report."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hf_bat.attack.constraints import Constraint, State
from hf_bat.attack.engine import Embed
from hf_bat.errors import HfBatError
from hf_bat.files import get_hub_name
from hf_bat.perturbations.base import Edit, Texts
from hf_bat.text import WORD_MARK

METRICS = ("cosine", "angular")


class SentenceEncoder:
    """Embeds strings with the mean of an encoder's last hidden states over all tokens except padding.

    If the model is a sentence-transformers model and this library is installed, the model is loaded with the
    library and uses its own pooling. The model is loaded when it is first used.

    Args:
        path: Folder or Hub id for `AutoModel`.
        device: Device of the model. Defaults to the first GPU, or to the CPU without a GPU.
        batch_size: Number of strings in a forward pass. Defaults to 32.

    Raises:
        HfBatError: If the model cannot be loaded. The error is raised when it is first used.

    Example:
        >>> encoder = SentenceEncoder("sentence-transformers/all-MiniLM-L6-v2")
        >>> encoder.encode(["A dog.", "A hound."]).shape  # doctest: +SKIP
        (2, 384)
    """

    def __init__(self, path: str, device: str | None = None, batch_size: int = 32):
        self.path, self.device, self.batch_size = str(path), device, batch_size

    @cached_property
    def _own(self) -> EncoderObject | None:
        """The model loaded with sentence-transformers, or `None` if not supported or not installed."""
        if find_spec("sentence_transformers") is None or not _has_modules(self.path):
            return None
        from sentence_transformers import SentenceTransformer

        from hf_bat.attack.models import choose_device

        model = SentenceTransformer(self.path, device=self.device or choose_device())
        return EncoderObject(model, self.batch_size)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch

        from hf_bat.attack.models import choose_device
        from hf_bat.loading import check_tokenizer, load

        tokenizer = load("AutoTokenizer", self.path, "sentence encoder")
        model = load("AutoModel", self.path, "sentence encoder", dtype=torch.float32)
        check_tokenizer(tokenizer, model)
        return model.eval().to(self.device or choose_device()), tokenizer

    @cached_property
    def name(self) -> str:
        """Name in recipes: the Hub id, or a hash of the weights and vocabulary in a folder."""
        from hf_bat.attack.models import hash_model

        return get_hub_name(self.path) or hash_model(*self._loaded)

    def encode(self, strings: list[str]) -> np.ndarray:
        """Embed strings.

        Args:
            strings: n strings.

        Returns:
            (n, d) float64 array. Each row has length one.
        """
        import torch

        from hf_bat.device import cast_to_double

        if self._own is not None:
            return self._own.encode(strings)

        model, tokenizer = self._loaded
        # Batch strings of similar length to reduce padding.
        order = sorted(range(len(strings)), key=lambda i: len(strings[i]))
        vectors: dict[int, np.ndarray] = {}
        for first in range(0, len(order), self.batch_size):
            chosen = order[first : first + self.batch_size]
            batch = tokenizer(
                [strings[i] for i in chosen], padding=True, truncation=True, return_tensors="pt"
            ).to(model.device)
            with torch.no_grad():
                # Compute the mean in double precision, so it does not add rounding errors.
                hidden = cast_to_double(model(**batch).last_hidden_state)
            mask = batch["attention_mask"].unsqueeze(-1)
            means = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
            means = torch.nn.functional.normalize(means, dim=-1)
            vectors.update(zip(chosen, means.cpu().numpy().astype(np.float64), strict=True))
        return np.stack([vectors[i] for i in range(len(strings))]) if strings else np.zeros((0, 1))


class EncoderObject:
    """A user's encoder: a `SentenceTransformer`, or any object with an `encode` method for lists of strings.

    Args:
        encoder: The encoder. Its `encode` method must return n vectors for n strings. They do not have to be
            normalized.
        batch_size: Number of strings in a forward pass of a `SentenceTransformer`. Defaults to 32.

    Raises:
        HfBatError: If `encode` does not return one vector per string.

    Example:
        >>> class Lengths:
        ...     def encode(self, strings):
        ...         return [[len(string), 4.0] for string in strings]
        >>> EncoderObject(Lengths()).encode(["cat"]).tolist()
        [[0.6, 0.8]]
    """

    def __init__(self, encoder: Any, batch_size: int = 32):
        self.encoder, self.batch_size = encoder, batch_size

    @cached_property
    def name(self) -> str:
        """Name in recipes: a hash of a module's weights and vocabulary, or the encoder's name or class."""
        from hf_bat.attack.models import hash_model

        if hasattr(self.encoder, "state_dict") and hasattr(self.encoder, "tokenizer"):
            return hash_model(self.encoder, self.encoder.tokenizer)
        return str(getattr(self.encoder, "name", None) or type(self.encoder).__qualname__)

    def encode(self, strings: list[str]) -> np.ndarray:
        """Embed n strings as a (n, d) float64 array. Each row has length one."""
        options: dict[str, Any] = {}
        if hasattr(self.encoder, "state_dict"):
            # sentence-transformers shows a progress bar for each call if its logger is verbose.
            options = {"batch_size": self.batch_size, "show_progress_bar": False}
        vectors = np.asarray(self.encoder.encode(strings, **options), dtype=np.float64)
        if vectors.ndim != 2 or len(vectors) != len(strings):
            raise HfBatError(
                f"the encoder gave an array of shape {vectors.shape} for {len(strings)} strings; expected "
                f"({len(strings)}, dimensions)"
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths, lengths, 1.0)


def as_encoder(encoder: Any) -> SentenceEncoder | EncoderObject:
    """Return an encoder for a path, a Hub id, or an object with `encode`."""
    if isinstance(encoder, (SentenceEncoder, EncoderObject)):
        return encoder
    # Strings also have a method `encode`.
    is_object = hasattr(encoder, "encode") and not isinstance(encoder, str)
    return EncoderObject(encoder) if is_object else SentenceEncoder(encoder)


def _has_modules(path: str) -> bool:
    """Return whether a model folder or Hub repository is a sentence-transformers model."""
    if Path(path).is_dir():
        return Path(path, "modules.json").is_file()
    from huggingface_hub import hf_hub_download

    # For an invalid id, a missing file or no network, the type of the error depends on the HTTP library.
    with suppress(Exception):
        return bool(hf_hub_download(path, "modules.json"))
    return False


class SentenceSimilarity(Constraint):
    """Requires that the embeddings before and after the edit are similar.

    A threshold is only meaningful for one encoder, so both are part of the recipe.

    Args:
        encoder: Path or Hub id of an encoder, a `SentenceEncoder`, or an object with `encode`, such as a
            `SentenceTransformer`.
        threshold: Minimum similarity.
        metric: "cosine" (default), or "angular" = 1 - angle / pi.
        window: Number of words around the edit to compare, or `None` (default) for the entire input.
        compare: Text to compare with: the text of the "previous" step (default) or the "original".
        skip_shorter: Whether to allow every edit of inputs with fewer words than the window. Defaults to
            `True`.

    Raises:
        HfBatError: If `metric` or `compare` is unknown, or `window` is below 1.

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
        encoder: Any,
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
        self.encoder = as_encoder(encoder)
        self.threshold, self.metric, self.window = threshold, metric, window
        self.compare, self.skip_shorter = compare, skip_shorter

    def strings(self, start: State, state: State, edit: Edit) -> tuple[str, str] | None:
        """Return the two strings to compare, or `None` if the edit is allowed without a comparison."""
        reference = start if self.compare == "original" else state
        if self.window is None:
            return "\n".join(reference.texts), "\n".join(edit.texts)
        words = sum(len(text.split()) for text in reference.texts)
        if words < self.window and self.skip_shorter:
            return None
        before = sum(len(text.split()) for text in reference.texts[: edit.sentence])
        texts = (reference.texts, edit.texts)
        first, second = (cut_window(t, before + edit.position, self.window) for t in texts)
        return first, second

    def similarity(self, first: np.ndarray, second: np.ndarray) -> float:
        """Return the similarity of two unit vectors."""
        # Rounding can produce 1 + 2e-16, which is outside the domain of acos.
        cosine = float(np.clip(first @ second, -1.0, 1.0))
        return cosine if self.metric == "cosine" else 1.0 - math.acos(cosine) / math.pi

    def measure(
        self, start: State, state: State, edits: Sequence[Edit]
    ) -> Generator[Any, Any, tuple[np.ndarray, np.ndarray] | None]:
        pairs = [self.strings(start, state, edit) for edit in edits]
        strings = list(dict.fromkeys(string for pair in pairs if pair for string in pair))
        # Edits that are allowed without a comparison are above every threshold.
        similarities = np.full(len(edits), np.inf)
        if strings:
            vectors = yield Embed(self.encoder, strings)
            by_string = dict(zip(strings, vectors, strict=True))
            for i, pair in enumerate(pairs):
                if pair:
                    similarities[i] = self.similarity(by_string[pair[0]], by_string[pair[1]])
        return similarities >= self.threshold, similarities

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


def cut_window(texts: Texts, center: int, size: int) -> str:
    """Return up to `size` words around the word with index `center` in the joined texts.

    Example:
        >>> cut_window(("a b c", "d e f"), 3, 3), cut_window(("a b c", "d e f"), 5, 4)
        ('c d e', 'c d e f')
    """
    tokens = [token for text in texts for token in text.split()]
    first = min(max(0, center - (size - 1) // 2), max(0, len(tokens) - size))
    # The words of a splitter are joined without spaces.
    is_marked = any(WORD_MARK in text for text in texts)
    return (WORD_MARK if is_marked else " ").join(tokens[first : first + size])
