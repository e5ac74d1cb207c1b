"""What a search may ask of the engine.

A search is a generator: it yields a request and is sent the answer. So it reads as if it asked the
model on the spot, while the engine answers the requests of many rows together.
"""

from __future__ import annotations

from dataclasses import dataclass

from hf_bat.perturbations.base import Perturbation, Texts


@dataclass(frozen=True, slots=True)
class Score:
    """The model's probabilities for inputs; answered by (n, labels) float64, or by fewer rows than
    asked where the row's query budget ends. With `keep`, other attacks on the same rows ask the same."""

    inputs: list[Texts]
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Saliency:
    """How much each word matters by the gradient at its embeddings; answered by one list of floats a
    sentence, one float a white-space token."""

    texts: Texts
    label: int


@dataclass(frozen=True, slots=True)
class Embed:
    """Sentence embeddings of strings by the constraints' encoder; answered by (n, d) unit vectors."""

    encoder: object
    strings: list[str]


@dataclass(frozen=True, slots=True)
class Propose:
    """Edits of an input by a perturbation that asks a model of its own; answered by None when
    `perturbation.candidates(texts)` has them ready."""

    perturbation: Perturbation
    texts: Texts


Request = Score | Saliency | Embed | Propose
