"""Randomized smoothing over synonym substitutions (SAFER: Ye, Gong and Liu 2020).

The smoothed classifier returns the label that a plain classifier predicts most often for random
substitutions of the input. Each word w is drawn uniformly from P(w), which contains the word and its
replacements. The smoothing distributions of inputs that differ by substitutions overlap, and the overlap
limits how much their predictions can differ.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hf_bat.attack.answers import find_answered, find_failed, make_abstention, make_failure
from hf_bat.attack.engine import Counter, Engine, Request, Score
from hf_bat.attack.models import WrappedClassifier, as_classifier
from hf_bat.errors import HfBatError, check_integer
from hf_bat.lexicon.bundled import as_synonyms
from hf_bat.lexicon.table import TableSource
from hf_bat.perturbations import SynonymPerturbation
from hf_bat.perturbations.base import Texts
from hf_bat.perturbations.sampler import DrawSource

SynonymSource = SynonymPerturbation | TableSource | None


class Smoothing:
    """The smoothing distributions of inputs, and the overlap of the distributions of neighbors.

    P(w) is the set from which a word is drawn, and N(w) is the set of replacements an adversary can use
    for w. Both come from the same perturbation, so its options (stop words, casing, the final mark that
    is kept) apply to both. Words are full white-space tokens of the text: "Dog." has {"Dog.",
    "Hound."}. With the casing "authors", the text is lowercased first, as that perturbation does.

    Args:
        synonyms: A table, a mapping or the path of a table, used for all words including stop words,
            or a `SynonymPerturbation` with other options.
        seed: Seed of the draws. Defaults to 0.

    Example:
        >>> smoothing = Smoothing({"dog": ["hound"], "hound": ["dog"], "big": ["large"]})
        >>> smoothing.list_choices("large"), smoothing.compute_overlap("big")
        (('large',), 0.5)
    """

    def __init__(self, synonyms: SynonymSource, seed: int = 0):
        self.perturbation = build_perturbation(synonyms)
        self.seed = seed
        self._choices: dict[str, tuple[str, ...]] = {}
        self._overlaps: dict[str, float] = {}

    def uncase(self, texts: Texts) -> Texts:
        """Lowercase the texts if the casing is "authors"."""
        lower = self.perturbation.casing == "authors"
        return tuple(text.lower() for text in texts) if lower else texts

    def draw(self, texts: Texts, count: int, first: int = 0, purpose: int = 0) -> list[Texts]:
        """Draw from the smoothing distribution of the input.

        A draw only depends on its number, which is counted from `first`, the seed, the purpose and the
        texts. Draws for different purposes are independent.
        """
        center = self.uncase(texts)
        # Python's built-in hash of a string differs between processes.
        encoded = json.dumps(center).encode("ascii")
        key = int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")
        sample = self.perturbation.sample
        # `sample` returns None if it changes no word.
        return [
            sample(center, DrawSource(self.seed, purpose, key, number)) or center
            for number in range(first, first + count)
        ]

    def list_choices(self, token: str) -> tuple[str, ...]:
        """Return P(w), the equally likely draws for a white-space token. The token itself is first."""
        if token not in self._choices:
            (center,) = self.uncase((token,))
            edits = self.perturbation.candidates((center,))
            self._choices[token] = (center, *(edit.texts[0] for edit in edits))
        return self._choices[token]

    def compute_overlap(self, token: str) -> float:
        """Compute q_w, the smallest overlap of P(w) with P(n) over all n in N(w), the replacements of w.

        The overlap of two uniform distributions, the sum of the smaller probabilities, is
        |P(w) & P(n)| / max(|P(w)|, |P(n)|). It is 1 for words without replacements.
        """
        if token not in self._overlaps:
            choices = self.list_choices(token)
            # The adversary edits the text as written. With the casing "authors", its set may differ from
            # the set of the lowercase word used for draws: "US" is not "us".
            edits = self.perturbation.candidates((token,))
            replacements = {*choices[1:], *(edit.texts[0] for edit in edits)}
            overlap = 1.0
            for replacement in replacements:
                others = self.list_choices(replacement)
                common = len({*choices} & {*others})
                overlap = min(overlap, common / max(len(choices), len(others)))
            # A replacement with several words shifts the words after it.
            if any(len(word.split()) > 1 for word in (*choices, *replacements)):
                overlap = 0.0
            self._overlaps[token] = overlap
        return self._overlaps[token]

    def compute_quality(self, texts: Texts, radius: int | None = None) -> float:
        """Compute Q, a lower bound of the overlap of the distributions of an input and any edit of it.

        Words are drawn independently, so overlaps are multiplied. 1 - Q bounds the total variation distance
        and therefore the difference in the probability of any label. The adversary replaces at most `radius`
        words.
        """
        overlaps = sorted(self.compute_overlap(token) for text in texts for token in text.split())
        return math.prod(overlaps[:radius])  # the adversary replaces words with the least overlap

    def describe(self) -> dict[str, Any]:
        """Return all settings that affect the draws, ready for JSON."""
        return {"smoothing": self.perturbation.describe(), "seed": self.seed}


def build_perturbation(
    synonyms: SynonymSource,
    exclude_stopwords: bool = False,
    casing: Literal["keep", "authors"] = "keep",
) -> SynonymPerturbation:
    """Return the perturbation to smooth over, and build it from a table if necessary.

    Stop words are included by default, so the certificate covers everything that the attack `synonym`
    tries with the same table.
    """
    if isinstance(synonyms, SynonymPerturbation):
        return synonyms
    if not isinstance(synonyms, (str, Path, Mapping)):
        raise HfBatError("smoothing needs a synonym table; build one with `hf-bat lexicon build`")
    synonyms = as_synonyms(synonyms)
    if not synonyms:
        raise HfBatError("the synonym table is empty: there is nothing to smooth over")
    return SynonymPerturbation(synonyms, exclude_stopwords, casing)


def count_votes(probabilities: np.ndarray) -> np.ndarray:
    """Count the votes for each label in probabilities (n, labels), with abstentions last."""
    labels = probabilities.shape[1]
    votes = np.where(find_answered(probabilities), probabilities.argmax(axis=1), labels)
    return np.bincount(votes, minlength=labels + 1)


def name_vote(vote: int, labels: int) -> int | None:
    """Return the label of an index in `count_votes`, or `None` for abstention."""
    return vote if vote < labels else None


class SmoothedClassifier(WrappedClassifier):
    """The smoothed version of a classifier, which can be attacked or used like other classifiers.

    The probability of a label is its share of the votes, which is the fraction of samples with this
    prediction. An input's samples only depend on the seed and its text, so predictions do not depend
    on the batch or the order. An input takes up to `samples` queries, or fewer if draws coincide.

    Args:
        model: A `Classifier`, or anything else that `hf_bat.attack.Attack` accepts as a model.
        synonyms: A table, a mapping, the path of a table, or a `SynonymPerturbation` with other
            options.
        samples: Number of draws per input. Defaults to 100.
        seed: Seed of the draws. Defaults to 0.
        tokenizer: The model's tokenizer. If `None`, it is loaded from the model's path.
        batch_size: Maximum number of samples per forward pass. If `None`, 32 on a CPU and 256 on a GPU.

    Raises:
        HfBatError: If `samples` is below 1 or not an integer, or the table is missing.

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
        self.samples, self.batch_size = check_integer("samples", samples), batch_size
        if self.samples < 1:
            raise HfBatError(f"samples must be at least 1; got {samples}")
        self.smoothing = Smoothing(synonyms, seed)
        super().__init__(as_classifier(model, tokenizer))
        self.name = f"{self.inner.name} (smoothed, {samples} samples)"

    def keys(self, inputs: Sequence[Texts]) -> list[Hashable]:
        return list(inputs)

    def length(self, key: Texts) -> int:
        return self.samples * sum(len(text.split()) for text in key)

    def probabilities(self, keys: Sequence[Texts]) -> np.ndarray:
        engine = Engine(self.inner, self.batch_size, in_flight=max(1, len(keys)))
        searches = ((partial(self._vote, number, key), None) for number, key in enumerate(keys))
        shares = dict(result for results in engine.run(searches) for result in results)
        return np.stack([shares[number] for number in range(len(keys))])

    def _vote(
        self, number: int, texts: Texts, counter: Counter
    ) -> Generator[Request, Any, tuple[int, np.ndarray]]:
        answers = yield Score(self.smoothing.draw(texts, self.samples))
        labels = answers.shape[1]
        votes = count_votes(answers)
        if find_failed(answers).any():
            return number, make_failure(labels)
        if votes.argmax() == labels:
            return number, make_abstention(labels)
        return number, votes[:-1] / votes[:-1].sum()

    @property
    def identity(self) -> str:
        setting = [self.inner.identity, self.smoothing.describe(), self.samples]
        return hashlib.sha256(json.dumps(setting, sort_keys=True).encode()).hexdigest()

    def about(self) -> dict[str, Any]:
        smoothed = {"samples": self.samples, **self.smoothing.describe()}
        return {**self.inner.about(), "smoothed": smoothed}

    def saliency(self, asked: Sequence[tuple[Texts, int]]) -> list[list[list[float]]]:
        raise HfBatError(
            "a smoothed classifier counts votes and has no gradient; use the ranking deletion, unk or random"
        )
