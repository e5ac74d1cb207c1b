"""The sentence pairs of the demo, made by `scripts/build_demo_data.py`."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from typing import Any

from hf_bat.errors import HfBatError

SPLITS = ("train", "validation")


def demo_rows(split: str, limit: int | None = None) -> list[dict[str, Any]]:
    """Read the demo's sentence pairs.

    Args:
        split: `"train"` (4,500 pairs) or `"validation"` (600).
        limit: how many of the first rows; None for all.

    Returns:
        Dicts with `premise`, `hypothesis`, `label` (0 entailment, 1 neutral, 2 contradiction) and
        `idx`.

    Raises:
        HfBatError: an unknown split.

    Example:
        >>> len(demo_rows("validation"))
        600
        >>> sorted(demo_rows("train", limit=1)[0])
        ['hypothesis', 'idx', 'label', 'premise']
    """
    if split not in SPLITS:
        raise HfBatError(f"unknown split {split!r} of the demo's data; known: {', '.join(SPLITS)}")
    packed = (files("hf_bat.demo") / "data" / f"{split}.jsonl.gz").read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").splitlines()
    return [json.loads(line) for line in lines[:limit]]
