"""Figures of the edits that likely change the label, apart from those that likely do not.

The filter chooses no edits: an attack tries what its recipe says, notes of each edit whether it
passes, and its report gives both figures from the one pass.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_bat.attack.result import AttackResult, Outcome, TriedEdit
from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Edit, Texts
from hf_bat.perturbations.validity import LabelValidity
from hf_bat.stats import rate, rate_interval

if TYPE_CHECKING:
    from hf_bat.attack.recipes import Recipe

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
) -> list[TriedEdit]:
    """Note each edit that was tried, with a filter also whether it passes, given the label's name."""
    valid: Sequence[int | None] = [None] * len(tried)
    if validity is not None:
        valid = [int(v) for v in validity.passing(texts, [edit for edit, _, _ in tried], label)]
    return [
        TriedEdit(edit.original, edit.replacement, int(kept), int(raised), passes)
        for (edit, kept, raised), passes in zip(tried, valid, strict=True)
    ]


def label_figures(
    rows: Sequence[AttackResult], validity: LabelValidity
) -> dict[str, dict[str, Any]]:
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
    attempted = [row.tried or [] for row in rows if row.outcome != "skipped"]
    passing, others = (
        [[edit for edit in tried if edit.valid == flag] for tried in attempted] for flag in (1, 0)
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


def outcomes(tried: Sequence[TriedEdit]) -> tuple[Outcome, Outcome]:
    """Return both outcomes (strict, confident) as if only the passing edits had been tried."""
    strict = any(edit.kept for edit in tried if edit.valid)
    confident = any(edit.raised for edit in tried if edit.valid)
    return "succeeded" if strict else "failed", "succeeded" if confident else "failed"


def _edits(tried: list[list[TriedEdit]]) -> dict[str, Any]:
    candidates = sum(map(len, tried))
    kept = sum(edit.kept for edits in tried for edit in edits)
    return {
        "candidates": candidates,
        "kept": kept,
        "keep_rate": rate(kept, candidates),
        "attackable": rate(sum(map(bool, tried)), len(tried)),
    }


def _rows(tried: list[list[TriedEdit]]) -> dict[str, Any]:
    strict = sum(any(edit.kept for edit in edits) for edits in tried)
    confident = sum(any(edit.raised for edit in edits) for edits in tried)
    reachable = sum(map(bool, tried))
    figures: dict[str, Any] = {"succeeded": strict, "succeeded_confident": confident}
    for name, part, whole in (
        ("asr", strict, len(tried)),
        ("asr_confident", confident, len(tried)),
        ("asr_attackable", strict, reachable),
    ):
        figures |= {name: rate(part, whole), f"{name}_interval": rate_interval(part, whole)}
    return figures
