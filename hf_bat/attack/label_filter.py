"""Figures of the edits that likely change the label, apart from those that likely do not.

The filter chooses no edits: an attack tries what its recipe says, notes of each edit whether it
passes, and its report gives both figures from the one pass.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Edit, Texts
from hf_bat.perturbations.validity import LabelValidity
from hf_bat.stats import rate, rate_interval

if TYPE_CHECKING:
    from hf_bat.attack.recipes import Recipe

Row = Mapping[str, Any]
# What of `label_valid` and `label_invalid` goes into tables and logs, as `flat_figures` names it.
FIGURES = (
    "valid_asr",
    "valid_asr_confident",
    "valid_attackable",
    "valid_asr_attackable",
    "valid_keep_rate",
    "invalid_keep_rate",
)
Tried = Sequence[tuple[Edit, bool, bool]]


def choose_filter(wanted: bool | LabelValidity, recipe: Recipe) -> LabelValidity | None:
    """The filter that an attack reports by, None where it has none.

    Args:
        wanted: whether to filter, or the filter; True is that of the bundled lexicon.
        recipe: the attack; a fickle one has no filter, for its edits leave the label alone.

    Raises:
        HfBatError: an obstinate attack whose search does not try every edit.
    """
    if wanted is False or recipe.goal.kind != "obstinate":
        return None
    if recipe.search != "exhaustive":
        raise HfBatError(
            f"the label filter needs every edit tried; {recipe.name} searches by {recipe.search}: "
            "make its search exhaustive or leave the filter out"
        )
    return LabelValidity() if wanted is True else wanted


def filter_hash(validity: LabelValidity) -> str:
    """SHA-256 (hex) of the filter's description: what a rows file with its flags must match."""
    text = json.dumps(validity.describe(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def tried_edits(
    texts: Texts, tried: Tried, validity: LabelValidity | None, label: str | None = None
) -> list[list[Any]]:
    """What a row notes of each edit: word, replacement, whether it kept the prediction, whether it
    raised the gold probability, and with a filter whether it passes, given the label's name."""
    listed = [
        [edit.original, edit.replacement, int(stays), int(rises)] for edit, stays, rises in tried
    ]
    if validity is not None:
        passing = validity.passing(texts, [edit for edit, _, _ in tried], label)
        for entry, passes in zip(listed, passing, strict=True):
            entry.append(int(passes))
    return listed


def label_figures(rows: Sequence[Row], validity: LabelValidity) -> dict[str, dict[str, Any]]:
    """The figures of an attack by whether its edits pass the filter.

    Args:
        rows: the attack's rows, their tried edits flagged.
        validity: the filter.

    Returns:
        `label_valid`: the attack as if it had the passing edits alone: `candidates`, `kept`,
        `keep_rate`, `succeeded`, `asr`, `succeeded_confident`, `asr_confident`, `attackable`,
        `asr_attackable`, with 95 % Wilson intervals as `*_interval`, over the same attempted rows.
        `label_invalid`: of the other edits `candidates`, `kept`, `keep_rate` (there it should be high:
        the label likely stays) and `attackable`, the share of attempted rows that have one.
    """
    attempted = [row["tried"] for row in rows if row["outcome"] != "skipped"]
    passing, others = (
        [[entry for entry in tried if entry[4] == flag] for tried in attempted] for flag in (1, 0)
    )
    valid = {"filter": validity.describe(), **_edits(passing), **_rows(passing)}
    return {"label_valid": valid, "label_invalid": _edits(others)}


def flat_figures(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary's `FIGURES` under one name each; empty without a filter.

    Example:
        >>> flat_figures({"label_valid": {"asr": 0.5}, "label_invalid": {"keep_rate": 0.9}})
        {'valid_asr': 0.5, 'invalid_keep_rate': 0.9}
    """
    return {
        name: part[figure]
        for name in FIGURES
        for side, figure in (name.split("_", 1),)
        for part in (summary.get(f"label_{side}", {}),)
        if figure in part
    }


def outcomes(tried: Sequence[Sequence[Any]]) -> dict[str, str]:
    """A row's outcomes under both definitions as if only the passing edits had been tried."""
    passing = [entry for entry in tried if entry[4]]
    return {
        name: "succeeded" if any(entry[place] for entry in passing) else "failed"
        for name, place in (("outcome_valid", 2), ("outcome_valid_confident", 3))
    }


def _edits(tried: list[list[Any]]) -> dict[str, Any]:
    candidates = sum(map(len, tried))
    kept = sum(entry[2] for entries in tried for entry in entries)
    return {
        "candidates": candidates,
        "kept": kept,
        "keep_rate": rate(kept, candidates),
        "attackable": rate(sum(map(bool, tried)), len(tried)),
    }


def _rows(tried: list[list[Any]]) -> dict[str, Any]:
    strict = sum(any(entry[2] for entry in entries) for entries in tried)
    confident = sum(any(entry[3] for entry in entries) for entries in tried)
    reachable = sum(map(bool, tried))
    figures: dict[str, Any] = {"succeeded": strict, "succeeded_confident": confident}
    for name, part, whole in (
        ("asr", strict, len(tried)),
        ("asr_confident", confident, len(tried)),
        ("asr_attackable", strict, reachable),
    ):
        figures |= {name: rate(part, whole), f"{name}_interval": rate_interval(part, whole)}
    return figures
