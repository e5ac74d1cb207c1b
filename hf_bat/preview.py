"""Show rows and their perturbed versions before training, with the changed words marked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any

from hf_bat.console import track
from hf_bat.perturbations.base import Texts
from hf_bat.perturbations.sampler import PerturbationSampler
from hf_bat.stats import format_rate
from hf_bat.text import detach_punctuation

# Enough for shares that are accurate to half a percent. This takes about a second.
_MAX_ROWS = 20_000
# Pattern of a replacement in the escaped text of a preview.
_MARK = re.compile(r"\[([^\[\]]*) -&gt; ([^\[\]]*)\]")


class Preview:
    """Rows with the versions that training would draw, and the share of rows with each kind of version.

    Args:
        rows: Rows with the sampler's columns, `idx`, and optionally `label`.
        sampler: Sampler that draws the versions.
        n: Number of rows that `str` shows. The shares are over at most 20,000 rows.
        epoch: Epoch to draw versions for, counted from 0. Defaults to 0.
        label_names: Names of integer labels.

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
        self.total = min(len(rows), _MAX_ROWS)
        self.rows: list[dict[str, Any]] = []
        valid: dict[str, int] = {}
        for row in track(islice(rows, self.total), "drawing", "row", self.total):
            draws = sampler.draw(row, epoch)
            for kind, versions in draws.items():
                valid[kind] = valid.get(kind, 0) + any(v is not None for v in versions)
            if len(self.rows) < n:
                shown = {key: row[key] for key in ("idx", "label") if key in row}
                self.rows.append({**shown, "anchor": sampler.texts(row), **draws})
        #: kind -> share of the rows that have at least one valid draw
        self.shares: dict[str, float] = {
            kind: count / self.total for kind, count in valid.items() if self.total
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the displayed rows and the shares, ready for JSON."""
        return {"rows": self.rows, "total": self.total, "shares": self.shares}

    def __repr__(self) -> str:
        shares = ", ".join(f"{kind} {format_rate(share)}" for kind, share in self.shares.items())
        return f"Preview({len(self.rows)} of {self.total} rows; with a version: {shares or 'none'})"

    def _repr_html_(self) -> str:
        """Return the rows as HTML for notebooks, with removed and inserted words marked."""
        # Words are marked after escaping, so the row's text cannot become a tag.
        marked = _MARK.sub(r"<del>\1</del> <ins>\2</ins>", escape(str(self)))
        return f"<pre>{marked}</pre>"

    def __str__(self) -> str:
        lines = []
        for row in self.rows:
            label = row.get("label")
            if isinstance(label, int) and 0 <= label < len(self.label_names):
                label = self.label_names[label]
            lines.append(f"row {row['idx']}" + ("" if label is None else f" ({label})"))
            lines += self._format_version("anchor", row["anchor"], row["anchor"])
            for kind in ("fickle", "obstinate", "counterfactual"):
                # The sampler may draw only one kind.
                for version in row.get(kind, ()):
                    if kind == "counterfactual" and version is not None:
                        lines += self._format_pair(version)
                    else:
                        lines += self._format_version(kind, row["anchor"], version)
        shares = ", ".join(f"{kind} {100 * share:.1f} %" for kind, share in self.shares.items())
        lines.append(
            f"{len(self.rows)} of {self.total} rows shown; rows with a valid draw: {shares or 'none'}"
        )
        return "\n".join(lines)

    def _format_pair(self, pair: Any) -> list[str]:
        # The full pair is shown, because it may pair a sentence with itself.
        width = max(map(len, self.columns))
        texts = zip(self.columns, pair.texts, strict=True)
        return [
            f"  {pair.label} by {pair.rule} ({pair.kind})",
            *(f"  {'':<10} {column:>{width}}: {text}" for column, text in texts),
        ]

    def _format_version(self, kind: str, anchor: Texts, version: Texts | None) -> list[str]:
        if version is None:
            return [f"  {kind:<10} -"]
        width = max(map(len, self.columns))
        return [
            f"  {'' if i else kind:<10} {column:>{width}}: {mark_changes(anchor[i], version[i])}"
            for i, column in enumerate(self.columns)
        ]


def mark_changes(before: str, after: str) -> str:
    """Return the perturbed sentence with each replacement in square brackets.

    Example:
        >>> mark_changes("A hot day.", "A cold day."), mark_changes("It goes.", "It doesn't go.")
        ('A [hot -> cold] day.', "It [goes. -> doesn't go.]")
    """
    old, new = before.split(), after.split()
    parts = []
    # `autojunk` would ignore the frequent words of long texts.
    for tag, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            parts += old[i:j]
        elif j - i == m - k:
            parts += [_mark_word(a, b) for a, b in zip(old[i:j], new[k:m], strict=True)]
        else:
            parts.append(f"[{' '.join(old[i:j])} -> {' '.join(new[k:m])}]")
    return " ".join(parts)


def _mark_word(old: str, new: str) -> str:
    # A final punctuation mark in both words is left outside the brackets.
    (word, mark), (other, other_mark) = detach_punctuation(old), detach_punctuation(new)
    return f"[{word} -> {other}]{mark}" if mark == other_mark else f"[{old} -> {new}]"
