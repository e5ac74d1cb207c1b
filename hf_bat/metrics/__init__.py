"""Metrics for `evaluate` that are part of the package, so nothing is downloaded from the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hf_bat.errors import HfBatError, import_extra
from hf_bat.metrics.functional import attack_success_rate, robustness_score
from hf_bat.stats import wilson_interval

METRICS = ("accuracy", "attack_success_rate", "f1", "robustness_gap")

__all__ = ["METRICS", "attack_success_rate", "load", "robustness_score", "wilson_interval"]


def load(name: str, **options: Any) -> Any:
    """Load a packaged metric as an `evaluate.Metric`, like `evaluate.load` with its folder.

    Args:
        name: One of `METRICS`.
        **options: Options of `evaluate.load`. With one process, `keep_in_memory` defaults to `True`, so no
            file is left behind.

    Returns:
        The metric.

    Raises:
        HfBatError: If the name is unknown, or `evaluate` is not installed (`pip install "hf_bat[metrics]"`).

    Example:
        >>> load("accuracy").compute(predictions=[0, 1, 1, 0], references=[0, 1, 0, 0])
        {'accuracy': 0.75}
    """
    if name not in METRICS:
        raise HfBatError(f"unknown metric {name!r}; packaged: {', '.join(METRICS)}")
    evaluate = import_extra("evaluate", "metrics")
    if options.get("num_process", 1) == 1:
        options.setdefault("keep_in_memory", True)
    return evaluate.load(str(Path(__file__).resolve().parent / name), **options)
