"""Draw the perturbed versions of rows, depending only on (seed, epoch, idx)."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Perturbation, Texts
from hf_bat.perturbations.validity import JudgedEdits, LabelValidity

# Even streams are fickle and odd streams are obstinate, so more draws of one kind do not change the draws
# of the other kind.
FICKLE, OBSTINATE = 0, 1
# The stream of labeled pairs. It is too large to collide with fickle or obstinate draws.
COUNTERFACTUAL = 2**32
_KEY = struct.Struct("<4Q")
_BLOCK = struct.Struct("<16I")
# Truncate seeds and row numbers to the 64 bits of the key. They may be negative or longer.
_LONG = 2**64 - 1


class PairSource(Protocol):
    """Draws one labeled pair for each row, such as `hf_bat.counterfactual.RuleSet`."""

    def draw(self, texts: Texts, label: int, rng: DrawSource) -> Any: ...


class DrawSource:
    """Source of randomness for one draw, determined only by its arguments.

    It hashes a counter instead of using a generator. Every draw needs its own source, and seeding a
    generator takes as long as perturbing a pair.
    """

    __slots__ = ("_blocks", "_key", "_values")

    def __init__(self, seed: int, epoch: int, idx: int, stream: int):
        self._key = _KEY.pack(seed & _LONG, epoch & _LONG, idx & _LONG, stream & _LONG)
        self._blocks = 0
        self._values: list[int] = []

    def random(self) -> float:
        """Draw a number from [0, 1). It is the same on every machine and Python version."""
        # A hash provides 16 numbers, which is enough for most draws.
        if not self._values:
            block = self._key + self._blocks.to_bytes(8, "little")
            self._values = list(_BLOCK.unpack(blake2b(block).digest()))
            self._blocks += 1
        return self._values.pop() * 2.0**-32


@dataclass(frozen=True)
class PerturbationSampler:
    """Draws the fickle and obstinate versions of rows.

    The sampler has no state. A row's draws only depend on `(seed, epoch, idx)`, so they change in each
    epoch. They do not depend on the number of workers, the world size, the order of batches, or whether the
    run was resumed.

    Args:
        columns: One or two text columns.
        fickle: Perturbation for the fickle versions. If `None`, no fickle versions are drawn.
        obstinate: Perturbation for the obstinate versions. If `None`, no obstinate versions are drawn.
        skipped_labels: Labels without obstinate versions, by their numbers in the rows.
        num_fickle: Number of fickle draws per row. Defaults to 1.
        num_obstinate: Number of obstinate draws per row. Defaults to 1.
        seed: Seed of the run. Defaults to 0.
        label_names: Names of the labels, by the numbers in the rows. They are used by the label filter.
        counterfactual: Rules that draw a labeled pair for each row. If `None`, no labeled pairs are drawn.

    Raises:
        HfBatError: If a number of draws is below 1.

    Example:
        >>> from hf_bat.perturbations import AntonymPerturbation
        >>> sampler = PerturbationSampler(("text",), obstinate=AntonymPerturbation({"hot": ("cold",)}))
        >>> sampler.draw({"text": "A hot day.", "idx": 3}, epoch=0)
        {'obstinate': [('A cold day.',)]}
    """

    columns: Sequence[str]
    fickle: Perturbation | None = None
    obstinate: Perturbation | None = None
    skipped_labels: Collection[int] = frozenset()
    num_fickle: int = 1
    num_obstinate: int = 1
    seed: int = 0
    label_names: Sequence[str] = ()
    counterfactual: PairSource | None = None

    def __post_init__(self) -> None:
        if self.num_fickle < 1 or self.num_obstinate < 1:
            raise HfBatError(
                f"num_fickle and num_obstinate must be at least 1, got {self.num_fickle} and "
                f"{self.num_obstinate}"
            )

    def label_name(self, row: Mapping[str, Any]) -> str | None:
        """Return the name of the row's label, or `None` if the label or the names are unknown."""
        label = row.get("label")
        return None if label is None or not self.label_names else self.label_names[label]

    def texts(self, row: Mapping[str, Any]) -> Texts:
        """Return the row's sentences. Raise `HfBatError` if the row lacks a text column."""
        try:
            return tuple(row[column] for column in self.columns)
        except KeyError as error:
            raise HfBatError(
                f"a row has no column {error}; it has: {', '.join(row)}; perturbations need the raw text, so "
                "keep its columns"
            ) from None

    @property
    def judge(self) -> LabelValidity | None:
        """The label filter of the obstinate versions, or `None` if it does not use a judge."""
        filtered = getattr(self.obstinate, "filtered", None)
        return filtered.validity if filtered is not None and filtered.validity.asks_judge else None

    def list_judged(self, rows: Iterable[Mapping[str, Any]]) -> list[JudgedEdits]:
        """List the unfiltered edits of rows that the judge of the label filter must decide on."""
        edited: Any = self.obstinate
        return [
            (*edited.list_unfiltered(self.texts(row)), self.label_name(row))
            for row in rows
            if row.get("label") not in self.skipped_labels
        ]

    def prepare(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """If the label filter has a judge, query it about several rows before they are drawn."""
        if self.judge is not None:
            self.judge.prepare(self.list_judged(rows))

    def draw(self, row: Mapping[str, Any], epoch: int) -> dict[str, list[Texts | None]]:
        """Draw all perturbed versions of the row for the epoch.

        Args:
            row: A row with the text columns and `idx`. It also needs `label` if labels are skipped.
            epoch: Index of the epoch, starting from 0.

        Returns:
            `{"fickle": [...], "obstinate": [...], "counterfactual": [...]}` with one entry per draw. An
            entry is `None` without a valid version. A key is missing if the sampler was created
            without that perturbation.

        Raises:
            HfBatError: If the row lacks a text column or `idx`.
        """
        texts, idx, seed = self.texts(row), row.get("idx"), self.seed
        if idx is None:
            raise HfBatError("a row has no 'idx', but its draws depend on it: number the rows")
        drawn: dict[str, list[Texts | None]] = {}
        if self.fickle is not None:
            drawn["fickle"] = [
                self.fickle.sample(texts, DrawSource(seed, epoch, idx, 2 * k + FICKLE))
                for k in range(self.num_fickle)
            ]
        if self.obstinate is not None:
            if self.skipped_labels and row.get("label") in self.skipped_labels:
                drawn["obstinate"] = [None] * self.num_obstinate
            else:
                # A perturbation may draw different edits if the label is known.
                sample, name = self.obstinate.sample_for_label, self.label_name(row)
                drawn["obstinate"] = [
                    sample(texts, DrawSource(seed, epoch, idx, 2 * k + OBSTINATE), name)
                    for k in range(self.num_obstinate)
                ]
        if self.counterfactual is not None and row.get("label") is not None:
            source = DrawSource(seed, epoch, idx, COUNTERFACTUAL)
            drawn["counterfactual"] = [self.counterfactual.draw(texts, row["label"], source)]
        return drawn
