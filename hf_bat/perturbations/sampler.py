"""Draws of a row's perturbed versions: a function of (seed, epoch, idx) and nothing else."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Perturbation, Texts

FICKLE, OBSTINATE = 0, 1


def draw_source(seed: int, epoch: int, idx: int, stream: int) -> random.Random:
    """The source of chance for one draw: a function of its arguments and nothing else.

    Args:
        seed: the run's seed, from 0.
        epoch: the epoch, from 0.
        idx: the row's number, from 0.
        stream: which of the row's draws, from 0.

    Returns:
        A generator whose `random()` is the same on every machine and Python version.

    Example:
        >>> draw_source(0, 1, 2, 0).random() == draw_source(0, 1, 2, 0).random()
        True
    """
    return random.Random((((seed << 32 | epoch) << 64) | idx) << 16 | stream)


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

    def __post_init__(self) -> None:
        if self.num_fickle < 1 or self.num_obstinate < 1:
            raise HfBatError(
                f"draws per row must be at least 1; got {self.num_fickle} fickle "
                f"and {self.num_obstinate} obstinate"
            )

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
        """
        texts, idx, seed = self.texts(row), row["idx"], self.seed
        drawn: dict[str, list[Texts | None]] = {}
        if self.fickle is not None:
            drawn["fickle"] = [
                self.fickle.sample(texts, draw_source(seed, epoch, idx, 2 * k + FICKLE))
                for k in range(self.num_fickle)
            ]
        if self.obstinate is not None:
            if self.skipped_labels and row.get("label") in self.skipped_labels:
                drawn["obstinate"] = [None] * self.num_obstinate
            else:
                drawn["obstinate"] = [
                    self.obstinate.sample(texts, draw_source(seed, epoch, idx, 2 * k + OBSTINATE))
                    for k in range(self.num_obstinate)
                ]
        return drawn
