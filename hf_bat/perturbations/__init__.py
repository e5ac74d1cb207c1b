"""Perturbations: the sentences near an input that training samples and attacks search."""

from hf_bat.perturbations.base import Edit, Perturbation, Slot, apply_replacement
from hf_bat.perturbations.build import build_perturbations
from hf_bat.perturbations.negation import NegationPerturbation
from hf_bat.perturbations.sampler import PerturbationSampler
from hf_bat.perturbations.substitution import (
    AntonymPerturbation,
    SubstitutionPerturbation,
    SynonymPerturbation,
)
from hf_bat.perturbations.toxicity import ToxicityPerturbation
from hf_bat.perturbations.validity import (
    FilteredPerturbation,
    LabelValidity,
    PreferringPerturbation,
)

__all__ = [
    "AntonymPerturbation",
    "Edit",
    "FilteredPerturbation",
    "LabelValidity",
    "NegationPerturbation",
    "Perturbation",
    "PerturbationSampler",
    "PreferringPerturbation",
    "Slot",
    "SubstitutionPerturbation",
    "SynonymPerturbation",
    "ToxicityPerturbation",
    "apply_replacement",
    "build_perturbations",
]
