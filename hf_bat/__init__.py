"""Balanced Adversarial Training (Chen, Ji and Evans, EMNLP 2022) for `transformers`.

Public names are loaded on first use, so `import hf_bat` is fast and does not touch the network or
logging.

Example:
    >>> import hf_bat
    >>> "BalancedTrainer" in dir(hf_bat)
    True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hf_bat.version import __version__ as __version__

if TYPE_CHECKING:
    from hf_bat.attack import Attack, AttackReport
    from hf_bat.callbacks import RobustnessCallback
    from hf_bat.certificate.certificate import certify
    from hf_bat.certificate.report import CertificateReport
    from hf_bat.certificate.smoothing import SmoothedClassifier
    from hf_bat.collator import PerturbationCollator
    from hf_bat.errors import HfBatError
    from hf_bat.lexicon import SubstitutionTable
    from hf_bat.perturbations import AntonymPerturbation, NegationPerturbation, SynonymPerturbation
    from hf_bat.tasks import Task, get_task
    from hf_bat.trainer import BalancedTrainer
    from hf_bat.training_args import BalancedTrainingArguments

# Module -> the public names it defines.
_HOMES = {
    "hf_bat.attack": ["Attack", "AttackReport"],
    "hf_bat.callbacks": ["RobustnessCallback"],
    "hf_bat.certificate.certificate": ["certify"],
    "hf_bat.certificate.report": ["CertificateReport"],
    "hf_bat.certificate.smoothing": ["SmoothedClassifier"],
    "hf_bat.collator": ["PerturbationCollator"],
    "hf_bat.errors": ["HfBatError"],
    "hf_bat.lexicon": ["SubstitutionTable"],
    "hf_bat.perturbations": ["AntonymPerturbation", "NegationPerturbation", "SynonymPerturbation"],
    "hf_bat.tasks": ["Task", "get_task"],
    "hf_bat.trainer": ["BalancedTrainer"],
    "hf_bat.training_args": ["BalancedTrainingArguments"],
}

__all__ = [
    "AntonymPerturbation",
    "Attack",
    "AttackReport",
    "BalancedTrainer",
    "BalancedTrainingArguments",
    "CertificateReport",
    "HfBatError",
    "NegationPerturbation",
    "PerturbationCollator",
    "RobustnessCallback",
    "SmoothedClassifier",
    "SubstitutionTable",
    "SynonymPerturbation",
    "Task",
    "certify",
    "get_task",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(module), name)
            globals()[name] = value  # next time, the name is found directly
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
