"""Perturbations: the sentences near an input that training samples and attacks search."""

from hf_bat.perturbations.base import Edit, Perturbation, Slot, apply_replacement
from hf_bat.perturbations.sampler import PerturbationSampler
from hf_bat.perturbations.substitution import (
    AntonymPerturbation,
    SubstitutionPerturbation,
    SynonymPerturbation,
)

__all__ = [
    "AntonymPerturbation",
    "Edit",
    "Perturbation",
    "PerturbationSampler",
    "Slot",
    "SubstitutionPerturbation",
    "SynonymPerturbation",
    "apply_replacement",
]
