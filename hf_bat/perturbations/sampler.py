"""Draws of a row's perturbed versions: a function of (seed, epoch, idx) and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Perturbation, Texts

FICKLE, OBSTINATE = 0, 1
_KEY = struct.Struct("<4Q")
_BLOCK = struct.Struct("<16I")
_LONG = 2**64 - 1


class DrawSource:
    """The source of chance for one draw: a function of its arguments and nothing else.

    Hashes of a counter rather than a generator with a state of its own, because a source is made for
    every draw, and seeding a generator costs as much as perturbing a pair.

    Args:
        seed: the run's seed.
        epoch: the epoch, from 0.
        idx: the row's number, from 0.
        stream: which of the row's draws, from 0.

    Example:
        >>> DrawSource(0, 1, 2, 0).random() == DrawSource(0, 1, 2, 0).random()
        True
    """

    __slots__ = ("_blocks", "_key", "_values")

    def __init__(self, seed: int, epoch: int, idx: int, stream: int):
        self._key = _KEY.pack(seed & _LONG, epoch & _LONG, idx & _LONG, stream & _LONG)
        self._blocks = 0
        self._values: list[int] = []

    def random(self) -> float:
        """A number drawn uniformly from [0, 1), the same on every machine and Python version."""
        if not self._values:
            block = self._key + self._blocks.to_bytes(8, "little")
            self._values = list(_BLOCK.unpack(blake2b(block).digest()))
            self._blocks += 1
        return self._values.pop() * 2.0**-32


@dataclass(frozen=True)
class PerturbationSampler:
    """Draws the fickle and obstinate versions of rows.

    It keeps no state: what is drawn for a row depends on `(seed, epoch, idx)` alone, so it does not
    depend on the number of workers, the world size, the order of batches or a resume, and is fresh in
    each epoch.

    Args:
        columns: the text column, or the two.
        fickle: what draws the fickle versions; None for none.
        obstinate: what draws the obstinate versions; None for none.
        skipped_labels: labels, as they stand in the rows, of which no obstinate version is drawn.
        num_fickle: fickle draws per row.
        num_obstinate: obstinate draws per row.
        seed: the run's seed.
        label_names: names of the labels, as the rows have them; a label filter makes use of them.

    Raises:
        HfBatError: a number of draws below one.

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

    def __post_init__(self) -> None:
        if self.num_fickle < 1 or self.num_obstinate < 1:
            raise HfBatError(
                f"draws per row must be at least 1; got {self.num_fickle} fickle "
                f"and {self.num_obstinate} obstinate"
            )

    def label_name(self, row: Mapping[str, Any]) -> str | None:
        """The name of a row's label; None where it has none, or none is known."""
        label = row.get("label")
        return None if label is None or not self.label_names else self.label_names[label]

    def texts(self, row: Mapping[str, Any]) -> Texts:
        """A row's sentences.

        Raises:
            HfBatError: the row has lost its text.
        """
        try:
            return tuple(row[column] for column in self.columns)
        except KeyError as error:
            raise HfBatError(
                f"a row has no column {error}; it has: {', '.join(row)}; "
                "perturbing needs the raw text, so keep its columns"
            ) from None

    def draw(self, row: Mapping[str, Any], epoch: int) -> dict[str, list[Texts | None]]:
        """Draw all of a row's perturbed versions for an epoch.

        Args:
            row: the text columns, `idx`, and `label` where labels are skipped.
            epoch: the epoch, from 0.

        Returns:
            `{"fickle": [...], "obstinate": [...]}` with one entry a draw, None where it is not valid;
            a key is absent where there is no such perturbation.

        Raises:
            HfBatError: the row has lost its text or has no `idx`.
        """
        texts, idx, seed = self.texts(row), row.get("idx"), self.seed
        if idx is None:
            raise HfBatError(
                "a row has no 'idx'; draws depend on it, so give each row its own number"
            )
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
                sample, label_name = self.obstinate.sample_for_label, self.label_name(row)
                drawn["obstinate"] = [
                    sample(texts, DrawSource(seed, epoch, idx, 2 * k + OBSTINATE), label_name)
                    for k in range(self.num_obstinate)
                ]
        return drawn
