"""What an output folder holds that a report can show: files known by their content."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_bat.compare import find_rows, read_rows
from hf_bat.errors import HfBatError

# Of the model and its tokenizer: nothing to show, and some of them are large.
_SKIPPED = ("config.json", "vocab.json", "map.json", "added_tokens.json", ".index.json")


@dataclass
class Found:
    """What a folder holds: file name -> content, by kind.

    Attributes:
        metrics: of `train_results.json`, `eval_results.json` and their like.
        histories: log histories.
        attacks: attack reports.
        rows: attacked rows, under the name of their report.
        contrasts: what `hf-bat contrast --json` wrote.
        comparisons: what `hf-bat compare --json` wrote.
        certificates: what `hf-bat certify --json` wrote.
        sweeps: what `hf-bat sweep` wrote.
        tables: descriptions of the perturbations used in training.
        shown: names of all these files.
        others: file name -> why it is not among them.
    """

    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    attacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    contrasts: dict[str, dict[str, Any]] = field(default_factory=dict)
    comparisons: dict[str, dict[str, Any]] = field(default_factory=dict)
    certificates: dict[str, dict[str, Any]] = field(default_factory=dict)
    sweeps: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    others: dict[str, str] = field(default_factory=dict)


def collect(folder: Path) -> Found:
    """Read a folder.

    Raises:
        HfBatError: there is no such folder, or nothing in it that can be shown.
    """
    if not folder.is_dir():
        raise HfBatError(f"no such folder: {folder}")
    found = Found()
    for path in sorted(folder.glob("*.json")):
        if path.name.startswith("tokenizer") or path.name.endswith(_SKIPPED):
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            found.others[path.name] = f"cannot be read ({error})"
            continue
        if not (isinstance(content, dict) and _sort(found, path.name, content)):
            found.others[path.name] = "no result of hf_bat"
    if not found.histories:
        _last_checkpoint(folder, found)
    _find_rows(folder, found)
    if not found.shown:
        raise HfBatError(
            f"nothing to show in {folder}: no results of run_glue_bat.py, no report or rows of "
            "`hf-bat attack`, `contrast`, `compare`, `certify` or `sweep`"
        )
    return found


def _sort(found: Found, name: str, content: dict[str, Any]) -> bool:
    """Put a file's content where it belongs; False where it belongs nowhere."""
    known = False
    if isinstance(content.get("log_history"), list):
        found.histories[name] = [one for one in content["log_history"] if isinstance(one, dict)]
        known = True
    parts = [content, *(content.get(part) for part in ("eval", "train"))]
    merged = {k: v for one in parts if isinstance(one, dict) for k, v in one.items()}
    if any(key.startswith(("eval_", "train_")) for key in merged) and "global_step" not in content:
        found.metrics[name] = merged
        known = True
    attacks, contrast = content.get("attacks"), content.get("contrast")
    if isinstance(attacks, dict) and all(isinstance(one, dict) for one in attacks.values()):
        found.attacks[name] = content
        known = True
    if isinstance(contrast, dict):
        found.contrasts[name] = content
        known = True
    comparisons = content.get("comparisons")
    if isinstance(comparisons, list) and all(isinstance(one, dict) for one in comparisons):
        found.comparisons[name] = content
        known = True
    certificate = content.get("certificate")
    if isinstance(certificate, dict) and isinstance(certificate.get("adversaries"), dict):
        found.certificates[name] = content
        known = True
    if isinstance(content.get("groups"), list) and "varied" in content:
        found.sweeps[name] = content
        known = True
    described = {"fickle", "attack", "preprocessing_defence"}
    if "method" in content and (described & content.keys() or len(content) == 1):
        found.tables[name] = content
        known = True
    if known:
        found.shown.add(name)
    return known


def _last_checkpoint(folder: Path, found: Found) -> None:
    """Without a final state, the last checkpoint's."""
    states = {int(p.parent.name[11:]): p for p in folder.glob("checkpoint-*/trainer_state.json")
              if p.parent.name[11:].isdigit()}  # fmt: skip
    if not states:
        return
    path = states[max(states)]
    name = f"{path.parent.name}/{path.name}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        found.others[name] = f"cannot be read ({error})"
    else:
        if isinstance(content, dict):
            _sort(found, name, content)


def _find_rows(folder: Path, found: Found) -> None:
    """Give each report its rows; of rows without a report, make one."""
    claimed: dict[str, Path] = {}
    for name, report in found.attacks.items():
        try:
            claimed[name] = find_rows(folder / name, report)
        except HfBatError:
            continue
    owners = Counter(path.resolve() for path in claimed.values())
    for name, path in claimed.items():
        if owners[path.resolve()] > 1:
            found.others[path.name] = f"the rows of which report? ({owners[path.resolve()]} fit)"
        else:
            found.rows[name] = _rows(found, path)
    for path in sorted((*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz"))):
        if path.resolve() not in owners and (rows := _rows(found, path)):
            found.attacks[path.name] = {"attacks": _summaries(rows)}
            found.rows[path.name] = rows


def _rows(found: Found, path: Path) -> list[dict[str, Any]]:
    try:
        # Rows of a certificate have outcomes too, which are no successes of an attack.
        rows = [row for row in read_rows(path) if "outcome" in row and "verdicts" not in row]
    except HfBatError as error:
        found.others[path.name] = str(error)
        return []
    if rows:
        found.shown.add(path.name)
    else:
        found.others[path.name] = "no attacked rows"
    return rows


def _summaries(rows: list[dict[str, Any]]) -> dict[str, Any]:
    from hf_bat.attack.html import rows_by_attack
    from hf_bat.attack.report import summarise

    made = {}
    for name, some in rows_by_attack((), rows).items():
        kind = "obstinate" if "outcome_confident" in some[0] else "fickle"
        try:
            made[name] = summarise(some, kind, {})
        except (KeyError, TypeError, ValueError):  # rows of another hand: shown without figures
            made[name] = {}
    return made
