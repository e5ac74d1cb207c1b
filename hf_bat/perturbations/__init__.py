"""Perturbations: sets of sentences near inputs, used in training and attacks."""

from hf_bat.perturbations.base import Edit, Perturbation, Slot, apply_replacement
from hf_bat.perturbations.build import (
    FICKLE_EDITS,
    OBSTINATE_EDITS,
    MixedPerturbation,
    build_fickle,
    build_obstinate,
    build_perturbations,
)
from hf_bat.perturbations.characters import CharacterPerturbation
from hf_bat.perturbations.negation import NegationPerturbation
from hf_bat.perturbations.number import NumberPerturbation
from hf_bat.perturbations.sampler import PerturbationSampler
from hf_bat.perturbations.splitting import SplitPerturbation
from hf_bat.perturbations.substitution import (
    AntonymPerturbation,
    SisterPerturbation,
    SubstitutionPerturbation,
    SwapPerturbation,
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
    "CharacterPerturbation",
    "Edit",
    "FICKLE_EDITS",
    "FilteredPerturbation",
    "LabelValidity",
    "MixedPerturbation",
    "NegationPerturbation",
    "NumberPerturbation",
    "OBSTINATE_EDITS",
    "Perturbation",
    "PerturbationSampler",
    "PreferringPerturbation",
    "SisterPerturbation",
    "Slot",
    "SplitPerturbation",
    "SubstitutionPerturbation",
    "SwapPerturbation",
    "SynonymPerturbation",
    "ToxicityPerturbation",
    "apply_replacement",
    "build_fickle",
    "build_obstinate",
    "build_perturbations",
]
