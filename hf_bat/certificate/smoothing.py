"""Randomized smoothing over synonym substitutions (SAFER: Ye, Gong and Liu 2020).

The smoothed classifier answers with the label that a plain one gives most often to random
substitutions of the input: each word is drawn uniformly from P(w), the word and its replacements.
Inputs that differ by substitutions have smoothing distributions that overlap, and by how much bounds
how far their answers can differ.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hf_bat.attack.engine import Counter, Engine
from hf_bat.attack.models import Classifier
from hf_bat.attack.requests import Request, Score
from hf_bat.attack.runner import as_classifier
from hf_bat.errors import HfBatError
from hf_bat.lexicon import as_table
from hf_bat.lexicon.table import TableSource
from hf_bat.perturbations import SynonymPerturbation
from hf_bat.perturbations.base import Texts
from hf_bat.perturbations.sampler import DrawSource

SynonymSource = SynonymPerturbation | TableSource | None


class Smoothing:
    """The distribution that an input is smoothed with, and how those of neighbours overlap.

    P(w) and N(w) are those of the perturbation, so its options (stop words, casing, the trailing mark
    that stays) hold for what is drawn and for what an adversary may do alike. All is reckoned with
    whole white-space tokens as they stand in the text: "Dog." has {"Dog.", "Hound."}. With the casing
    "authors" a text is taken in lower case first, as that perturbation does.

    Args:
        synonyms: a table, a mapping or the path of one, of which every word stands, stop words
            included; or a `SynonymPerturbation` with other options.
        seed: of the draws.

    Raises:
        HfBatError: no table, an empty one, or one that cannot be read.

    Example:
        >>> smoothing = Smoothing({"dog": ["hound"], "hound": ["dog"], "big": ["large"]})
        >>> smoothing.choices("Dog."), smoothing.overlap("Dog.")
        (('Dog.', 'Hound.'), 1.0)
        >>> smoothing.choices("big"), smoothing.choices("large"), smoothing.overlap("big")
        (('big', 'large'), ('large',), 0.5)
        >>> smoothing.quality(("A big dog.",))
        0.5
    """

    def __init__(self, synonyms: SynonymSource, seed: int = 0):
        self.perturbation = synonym_perturbation(synonyms)
        self.seed = seed
        self._choices: dict[str, tuple[str, ...]] = {}
        self._overlaps: dict[str, float] = {}

    def centre(self, texts: Texts) -> Texts:
        """The input as it is where no word is replaced."""
        lower = self.perturbation.casing == "authors"
        return tuple(text.lower() for text in texts) if lower else texts

    def draws(self, texts: Texts, count: int, first: int = 0, purpose: int = 0) -> list[Texts]:
        """Draw from the smoothing distribution of an input.

        Args:
            texts: its sentences.
            count: how many draws.
            first: the number of the first; draws are numbered from 0, and the number, the seed, the
                purpose and the text decide what is drawn, nothing else.
            purpose: draws of different purposes are independent.
        """
        centre = self.centre(texts)
        text = json.dumps(centre).encode("ascii")
        key = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
        sample = self.perturbation.sample
        return [
            sample(centre, DrawSource(self.seed, purpose, key, number)) or centre
            for number in range(first, first + count)
        ]

    def choices(self, token: str) -> tuple[str, ...]:
        """P(w): what is drawn where a white-space token stands, each as likely; itself first."""
        if token not in self._choices:
            (centre,) = self.centre((token,))
            edits = self.perturbation.candidates((centre,))
            self._choices[token] = (centre, *(edit.texts[0] for edit in edits))
        return self._choices[token]

    def overlap(self, token: str) -> float:
        """q_w: how much of P(w) an adversary must leave standing, whatever it puts for w.

        The overlap of two uniform distributions, the sum of the smaller probabilities, is
        |P(w) & P(n)| / max(|P(w)|, |P(n)|). q_w is the least over all n in N(w), the replacements of w;
        1 where there is none. A replacement of several words would shift the words behind it: 0.
        """
        if token not in self._overlaps:
            self._overlaps[token] = self._least_overlap(token)
        return self._overlaps[token]

    def _least_overlap(self, token: str) -> float:
        here = self.choices(token)
        # The adversary edits the text as it stands, and its look-up may find another set than that of
        # the lower case which "authors" draws from: "US" is no "us".
        edits = self.perturbation.candidates((token,))
        replacements = {*here[1:], *(edit.texts[0] for edit in edits)}
        if any(len(word.split()) > 1 for word in (*here, *replacements)):
            return 0.0
        found = [1.0]
        for replacement in replacements:
            there = self.choices(replacement)
            found.append(len({*here} & {*there}) / max(len(here), len(there)))
        return min(found)

    def overlaps(self, texts: Texts) -> list[float]:
        """q_w of every word of an input, the least first."""
        return sorted(self.overlap(token) for text in texts for token in text.split())

    def quality(self, texts: Texts, radius: int | None = None) -> float:
        """Q: at least so much do the smoothing distributions of an input and of any edit of it overlap.

        Words are drawn independently, so overlaps multiply, and 1 - Q bounds the total variation
        distance: by no more can the probability of any label differ.

        Args:
            texts: its sentences.
            radius: the most words that the adversary replaces; all that it can where None.
        """
        return math.prod(self.overlaps(texts)[:radius])

    def describe(self) -> dict[str, Any]:
        """Every choice that changes what is drawn, ready for JSON."""
        return {"smoothing": self.perturbation.describe(), "seed": self.seed}


def synonym_perturbation(
    synonyms: SynonymSource,
    exclude_stopwords: bool = False,
    casing: Literal["keep", "authors"] = "keep",
) -> SynonymPerturbation:
    """What is smoothed over: a perturbation as it is, or that of a table.

    Args:
        synonyms: see `Smoothing`.
        exclude_stopwords: see `SynonymPerturbation`; here stop words stand by default, so that what is
            certified covers what the attack `synonym` tries with the same table.
        casing: see `SynonymPerturbation`.

    Raises:
        HfBatError: no table, an empty one, or one that cannot be read.
    """
    if isinstance(synonyms, SynonymPerturbation):
        return synonyms
    if not isinstance(synonyms, (str, Path, Mapping)):
        raise HfBatError(
            "smoothing and its certificate need a synonym table: give one, or the path of one "
            "(`hf-bat lexicon build` makes one)"
        )
    synonyms = as_table(synonyms)
    if not synonyms:
        raise HfBatError("the synonym table is empty: there is nothing to smooth over")
    return SynonymPerturbation(synonyms, exclude_stopwords, casing)


def check_whole(name: str, value: Any, or_none: bool = False) -> None:
    """Refuse what is no whole number.

    Args:
        name: of the argument.
        value: what was given for it.
        or_none: whether None will do too.

    Raises:
        HfBatError: it is something else.
    """
    if or_none and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise HfBatError(f"{name} must be a whole number; got {value!r}")


class SmoothedClassifier(Classifier):
    """The smoothed version of a classifier, to be attacked or used like any other.

    The probability of a label is its share of the votes: of how many of the samples it is the
    classifier's answer. What is drawn for an input depends on the seed and its text alone, so answers
    depend on no batch and no order. It costs up to `samples` queries an input, fewer where draws agree.

    Args:
        model: a `Classifier`, or anything else that `hf_bat.attack.Attack` takes as a model.
        synonyms: see `Smoothing`.
        samples: draws an input.
        seed: of the draws.
        tokenizer: the model's tokenizer; loaded with a model given by path.
        batch_size: the most samples in a forward pass of the model; see `Engine`.

    Raises:
        HfBatError: no synonym table, samples that are no whole number from 1 on, a model that cannot
            be loaded.

    Example:
        >>> def model(pairs):
        ...     return [[0.9, 0.1] if "hound" in pair[0] else [0.2, 0.8] for pair in pairs]
        >>> smoothed = SmoothedClassifier(model, {"dog": ["hound"]}, samples=1000)
        >>> smoothed.probabilities([("A dog.", "A pet."), ("A cat.", "A pet.")]).round(1).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
    """

    def __init__(
        self,
        model: Any,
        synonyms: SynonymSource,
        samples: int = 100,
        seed: int = 0,
        tokenizer: Any = None,
        batch_size: int | None = None,
    ):
        check_whole("samples", samples)
        if samples < 1:
            raise HfBatError(f"smoothing needs at least 1 sample; got {samples}")
        self.smoothing = Smoothing(synonyms, seed)
        self.inner = as_classifier(model, tokenizer, None, None, "float32")
        self.samples, self.batch_size = int(samples), batch_size
        self.config, self.unk = self.inner.config, self.inner.unk
        self.max_length = self.inner.max_length
        self.preprocessing_defence = self.inner.preprocessing_defence
        self.name = f"{self.inner.name} (smoothed, {samples} samples)"

    @property
    def device(self) -> Any:
        """Where the model is; None for a function."""
        return getattr(self.inner, "device", None)

    def keys(self, inputs: Sequence[Texts]) -> list[Hashable]:
        return list(inputs)

    def length(self, key: Texts) -> int:
        return self.samples * sum(len(text.split()) for text in key)

    def probabilities(self, keys: Sequence[Texts]) -> np.ndarray:
        engine = Engine(self.inner, self.batch_size, in_flight=max(1, len(keys)))
        searches = ((partial(self._votes, number, key), None) for number, key in enumerate(keys))
        shares = dict(found for results in engine.run(searches) for found in results)
        return np.stack([shares[number] for number in range(len(keys))])

    def _votes(
        self, number: int, texts: Texts, counter: Counter
    ) -> Generator[Request, Any, tuple[int, np.ndarray]]:
        answers = yield Score(self.smoothing.draws(texts, self.samples))
        votes = np.bincount(answers.argmax(axis=1), minlength=answers.shape[1])
        return number, votes / self.samples

    @property
    def identity(self) -> str:
        setting = [self.inner.identity, self.smoothing.describe(), self.samples]
        return hashlib.sha256(json.dumps(setting, sort_keys=True).encode()).hexdigest()

    def about(self) -> dict[str, Any]:
        smoothed = {"samples": self.samples, **self.smoothing.describe()}
        return {**self.inner.about(), "smoothed": smoothed}

    def visible(self, inputs: Sequence[Texts]) -> list[tuple[range, ...]]:
        return self.inner.visible(inputs)

    def saliency(self, asked: Sequence[tuple[Texts, int]]) -> list[list[list[float]]]:
        raise HfBatError(
            "a smoothed classifier counts votes and has no gradient; choose the ranking deletion, unk "
            "or random"
        )

    @contextmanager
    def session(self) -> Iterator[None]:
        with self.inner.session():
            yield
