"""Balanced Adversarial Training (Chen, Ji and Evans, EMNLP 2022) for `transformers`.

Public names are loaded when they are first used, so that `import hf_bat` is quick, reaches no
network and changes no logging.

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

# Public name -> the module that defines it.
_HOMES = {
    "AntonymPerturbation": "hf_bat.perturbations",
    "Attack": "hf_bat.attack",
    "AttackReport": "hf_bat.attack",
    "BalancedTrainer": "hf_bat.trainer",
    "BalancedTrainingArguments": "hf_bat.training_args",
    "CertificateReport": "hf_bat.certificate.report",
    "HfBatError": "hf_bat.errors",
    "NegationPerturbation": "hf_bat.perturbations",
    "PerturbationCollator": "hf_bat.collator",
    "RobustnessCallback": "hf_bat.callbacks",
    "SmoothedClassifier": "hf_bat.certificate.smoothing",
    "SubstitutionTable": "hf_bat.lexicon",
    "SynonymPerturbation": "hf_bat.perturbations",
    "Task": "hf_bat.tasks",
    "certify": "hf_bat.certificate.certificate",
    "get_task": "hf_bat.tasks",
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
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
