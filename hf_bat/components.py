"""Running means of the loss's components, right over accumulation windows and ranks."""

from __future__ import annotations

from collections.abc import Callable

import torch

from hf_bat.device import cast_to_double, get_double_dtype


class ComponentMeter:
    """Sums and counts per component since the last log; no collective until they are read.

    A component's mean is its sum over its count, each summed over micro-batches and ranks first, so
    that a batch with few valid pairs weighs as few.

    Example:
        >>> meter = ComponentMeter(("loss_ce",))
        >>> meter.add("loss_ce", torch.tensor(3.0), torch.tensor(2.0))
        >>> meter.add("loss_ce", torch.tensor(1.0), torch.tensor(2.0))
        >>> meter.means(lambda totals: totals)
        {'loss_ce': 1.0}
    """

    def __init__(self, names: tuple[str, ...]):
        self.names = names
        self._totals: torch.Tensor | None = None

    def add(self, name: str, total: torch.Tensor, count: torch.Tensor) -> None:
        """Add a micro-batch's sum and count, both scalars; they are detached."""
        if self._totals is None:
            self._totals = torch.zeros(len(self.names), 2, dtype=torch.float64, device="cpu")
            if get_double_dtype(total.device) == torch.float64:
                self._totals = self._totals.to(total.device)
        pair = torch.stack([cast_to_double(total.detach()), cast_to_double(count.detach())])
        self._totals[self.names.index(name)] += pair.to(self._totals.device)

    def means(self, reduce: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
        """Reduce over ranks once, return the means of what was counted, and start again.

        Args:
            reduce: sums a tensor over ranks; each rank must call this at the same time.
        """
        totals = self._totals
        if totals is None:
            totals = torch.zeros(len(self.names), 2, dtype=torch.float64)
        self._totals = None
        sums = reduce(totals).tolist()
        return {
            name: total / count
            for name, (total, count) in zip(self.names, sums, strict=True)
            if count
        }
