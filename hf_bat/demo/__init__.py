"""The demo: sentence pairs that ship with hf_bat, and a comparison of training methods on them."""

from __future__ import annotations

import gzip
import json
from importlib import import_module
from importlib.resources import files
from typing import Any

from hf_bat.errors import HfBatError

__all__ = ["DemoSettings", "demo_rows", "run_demo"]

_SPLITS = ("train", "validation")


def demo_rows(split: str, limit: int | None = None) -> list[dict[str, Any]]:
    """Read the demo's sentence pairs, which `scripts/build_demo_data.py` generates.

    Args:
        split: `"train"` (4,500 pairs) or `"validation"` (600).
        limit: Number of rows, the first ones. If `None`, all.

    Returns:
        Dicts with `premise`, `hypothesis`, `label` (0 entailment, 1 neutral, 2 contradiction) and
        `idx`.

    Raises:
        HfBatError: The split is unknown.

    Example:
        >>> len(demo_rows("validation"))
        600
        >>> sorted(demo_rows("train", limit=1)[0])
        ['hypothesis', 'idx', 'label', 'premise']
    """
    if split not in _SPLITS:
        raise HfBatError(f"unknown split {split!r} of the demo; known: {', '.join(_SPLITS)}")
    packed = (files("hf_bat.demo") / "data" / f"{split}.jsonl.gz").read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").splitlines()
    return [json.loads(line) for line in lines[:limit]]


def __getattr__(name: str) -> Any:
    # Loaded on first use, because it imports torch.
    if name in __all__:
        return getattr(import_module("hf_bat.demo.compare"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
