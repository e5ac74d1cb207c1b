"""See before you train: rows with their perturbed versions, the changed words marked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from hf_bat.console import counted
from hf_bat.perturbations.base import Texts
from hf_bat.perturbations.sampler import PerturbationSampler

# Enough to know a share to half a per cent, and a second's work.
_MOST_ROWS = 20_000


class Preview:
    """Rows beside the versions that training would draw, and the share of rows that have each kind.

    Args:
        rows: rows with the sampler's columns, `idx`, and maybe `label`.
        sampler: what draws.
        n: how many rows `str` shows; the shares are over all rows, or the first 20,000.
        epoch: whose draws.
        label_names: names for integer labels.

    Example:
        >>> from hf_bat.perturbations import AntonymPerturbation
        >>> sampler = PerturbationSampler(("text",), obstinate=AntonymPerturbation({"hot": ("cold",)}))
        >>> print(Preview([{"text": "A hot day.", "idx": 0}], sampler))
        row 0
          anchor     text: A hot day.
          obstinate  text: A [hot -> cold] day.
        1 of 1 rows shown; rows with a valid draw: obstinate 100.0 %
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        sampler: PerturbationSampler,
        n: int = 10,
        epoch: int = 0,
        label_names: Sequence[str] = (),
    ):
        self.columns = tuple(sampler.columns)
        self.label_names = tuple(label_names)
        self.total = min(len(rows), _MOST_ROWS)
        self.rows: list[dict[str, Any]] = []
        valid: dict[str, int] = {}
        for row in counted(islice(rows, self.total), "drawing", "row", self.total):
            drawn = sampler.draw(row, epoch)
            for kind, versions in drawn.items():
                valid[kind] = valid.get(kind, 0) + any(v is not None for v in versions)
            if len(self.rows) < n:
                shown = {key: row[key] for key in ("idx", "label") if key in row}
                self.rows.append({**shown, "anchor": sampler.texts(row), **drawn})
        #: kind -> share of those rows that have at least one valid draw
        self.shares: dict[str, float] = {
            kind: count / self.total for kind, count in valid.items() if self.total
        }

    def to_dict(self) -> dict[str, Any]:
        """The rows shown and the shares, ready for JSON."""
        return {"rows": self.rows, "total": self.total, "shares": self.shares}

    def __str__(self) -> str:
        lines = []
        for row in self.rows:
            lines.append(f"row {row['idx']}{self._label(row)}")
            lines += self._sentences("anchor", row["anchor"], row["anchor"])
            for kind in ("fickle", "obstinate"):
                for version in row.get(kind, ()):
                    if version is None:
                        lines.append(f"  {kind:<10} -")
                    else:
                        lines += self._sentences(kind, row["anchor"], version)
        shares = ", ".join(f"{kind} {100 * share:.1f} %" for kind, share in self.shares.items())
        lines.append(
            f"{len(self.rows)} of {self.total} rows shown; rows with a valid draw: {shares or 'none'}"
        )
        return "\n".join(lines)

    def _label(self, row: Mapping[str, Any]) -> str:
        label = row.get("label")
        if label is None:
            return ""
        named = isinstance(label, int) and 0 <= label < len(self.label_names)
        return f" ({self.label_names[label] if named else label})"

    def _sentences(self, kind: str, anchor: Texts, version: Texts) -> list[str]:
        width = max(map(len, self.columns))
        return [
            f"  {kind if place == 0 else '':<10} {column:>{width}}: {mark_changes(before, after)}"
            for place, (column, before, after) in enumerate(
                zip(self.columns, anchor, version, strict=True)
            )
        ]


def mark_changes(before: str, after: str) -> str:
    """Write a perturbed sentence with what was replaced in square brackets.

    Example:
        >>> mark_changes("A hot day.", "A cold day."), mark_changes("It goes.", "It doesn't go.")
        ('A [hot -> cold] day.', "It [goes. -> doesn't go.]")
    """
    old, new = before.split(), after.split()
    parts = []
    for tag, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            parts += old[i:j]
        elif j - i == m - k:
            parts += [_mark(a, b) for a, b in zip(old[i:j], new[k:m], strict=True)]
        else:
            parts.append(f"[{' '.join(old[i:j])} -> {' '.join(new[k:m])}]")
    return " ".join(parts)


def _mark(old: str, new: str) -> str:
    # A trailing mark that both have stays outside the brackets.
    if len(old) > 1 and len(new) > 1 and old[-1] == new[-1] and not old[-1].isalnum():
        return f"[{old[:-1]} -> {new[:-1]}]{old[-1]}"
    return f"[{old} -> {new}]"
