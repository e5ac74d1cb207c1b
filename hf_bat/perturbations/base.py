"""What a perturbation is: a set of sentences near an input, defined once.

Training *samples* from the set, an attack *searches* it, a certificate *bounds* it. The same object
serves all three, so that what a model is trained on and what it is attacked with can be compared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hf_bat.text import detach_punctuation, split_pieces

Texts = tuple[str, ...]


class RandomSource(Protocol):
    """Anything that draws uniformly from [0, 1): `random.Random`, `numpy.random.Generator`."""

    def random(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Edit:
    """One change to one word of an input.

    Args:
        sentence: which sentence, from 0.
        position: which white-space token of that sentence, from 0.
        original: the word as it stood, without its trailing punctuation mark.
        replacement: what stands there instead; several words, or nothing, where the perturbation
            inserts or removes words.
        texts: the whole input after the edit.

    Example:
        >>> Edit(0, 1, "dog", "cat", ("A cat.",)).texts
        ('A cat.',)
    """

    sentence: int
    position: int
    original: str
    replacement: str
    texts: Texts


@dataclass(frozen=True, slots=True)
class Slot:
    """A word that can be replaced, with all that may stand in its place, nearest first.

    Args:
        sentence: which sentence, from 0.
        position: which white-space token of that sentence, from 0.
        original: the word without its trailing punctuation mark.
        replacements: words in the original's case, never the original itself, at least one.

    Example:
        >>> Slot(0, 1, "dog", ("hound", "pup")).replacements
        ('hound', 'pup')
    """

    sentence: int
    position: int
    original: str
    replacements: tuple[str, ...]


class Perturbation(ABC):
    """A set of sentences around an input; see `SynonymPerturbation` and `AntonymPerturbation`.

    Attributes:
        name: the short name used in metric keys and reports, such as `"antonym"`.
        kind: `"fickle"` (the label should survive) or `"obstinate"` (the label should change).

    Example:
        >>> class Shout(Perturbation):
        ...     name, kind = "shout", "fickle"
        ...     def candidates(self, texts):
        ...         loud = texts[0].upper()
        ...         return [Edit(0, 0, texts[0], loud, (loud, *texts[1:]))] if loud != texts[0] else []
        ...     def sample(self, texts, rng):
        ...         edit = self.choose(self.candidates(texts), rng)
        ...         return edit.texts if edit else None
        ...     def describe(self):
        ...         return {"perturbation": self.name}
        >>> import random
        >>> Shout().sample(("Run!",), random.Random(0)), Shout().sample(("RUN!",), random.Random(0))
        (('RUN!',), None)
    """

    name: str
    kind: Literal["fickle", "obstinate"]

    @abstractmethod
    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        """Draw one perturbed input.

        Args:
            texts: the sentences of the input, one or two.
            rng: the source of chance; the same source state gives the same draw.

        Returns:
            The perturbed sentences, or None when the draw changes no word: then there is no valid
            perturbation and the row is masked out of the contrastive terms.
        """

    def sample_for_label(
        self, texts: Texts, rng: RandomSource, label_name: str | None
    ) -> Texts | None:
        """Draw one perturbed input of a row whose label may be known by name.

        Override it if the name of the label decides what may be drawn, as the label filter does.

        Args:
            texts: The sentences of the input, one or two.
            rng: The source of randomness.
            label_name: The name of the row's label, or `None` if it is unknown.

        Returns:
            What `sample` returns.
        """
        return self.sample(texts, rng)

    @abstractmethod
    def candidates(self, texts: Texts) -> list[Edit]:
        """List every input that one edit makes, in reading order, nearest replacement first.

        Args:
            texts: the sentences of the input, one or two.

        Returns:
            The edits; none where no word can be replaced.
        """

    def choose(self, edits: Sequence[Edit], rng: RandomSource) -> Edit | None:
        """Draw one of some candidates as `sample` would: each as likely, where not said otherwise.

        Args:
            edits: some of what `candidates` gives for one input.
            rng: the source of chance.

        Returns:
            One of them, None where there are none.
        """
        return edits[int(rng.random() * len(edits))] if edits else None

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Every choice that changes what `sample` and `candidates` give, ready for JSON."""


def apply_replacement(text: str, position: int, replacement: str) -> str:
    """Put a replacement in the place of one word, keeping spacing and the trailing mark.

    Args:
        text: a sentence.
        position: which white-space token, from 0.
        replacement: the new word, already in the right case.

    Returns:
        The new sentence.

    Raises:
        IndexError: the sentence has no such token.

    Example:
        >>> apply_replacement("Two  dogs, running.", 1, "cats")
        'Two  cats, running.'
    """
    pieces = split_pieces(text)
    place = 2 * position + (2 if pieces[0] == "" and len(pieces) > 1 else 0)
    pieces[place] = replacement + detach_punctuation(pieces[place])[1]
    return "".join(pieces)
