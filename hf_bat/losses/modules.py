"""The contrastive losses as modules: hyper-parameters beside the functions of `functional`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from hf_bat.losses.functional import pairwise_loss, triplet_loss

CITATION = """\
@inproceedings{chen-etal-2022-balanced,
    title = "Balanced Adversarial Training: Balancing Tradeoffs between Fickleness and Obstinacy
             in {NLP} Models",
    author = "Chen, Hannah and Ji, Yangfeng and Evans, David",
    booktitle = "Proceedings of the 2022 Conference on Empirical Methods in Natural Language
                 Processing",
    year = "2022",
}"""


class _ContrastiveLoss(nn.Module):
    """What the two losses share: a distance, a margin, and where they come from."""

    # The function of `functional`, and those of its hyper-parameters that the module holds.
    _function: Callable[..., torch.Tensor]
    _settings: tuple[str, ...] = ()

    def __init__(self, margin: float, distance: str):
        super().__init__()
        self.margin = margin
        self.distance = distance

    @property
    def citation(self) -> str:
        """BibTeX of the paper that the loss is from."""
        return CITATION

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._settings)

    def forward(
        self,
        anchor: torch.Tensor,
        fickle: torch.Tensor,
        obstinate: torch.Tensor,
        fickle_mask: torch.Tensor,
        obstinate_mask: torch.Tensor,
    ) -> torch.Tensor:
        """The loss of a batch.

        Args:
            anchor: representations of the inputs, (B, H).
            fickle: of their fickle versions, (B, H); what stands in rows without one does not count.
            obstinate: of their obstinate versions, likewise.
            fickle_mask: which rows have a fickle version, (B,), boolean.
            obstinate_mask: which rows have an obstinate one, likewise.

        Returns:
            A scalar in float32 at least, with a gradient; 0 where no row counts.
        """
        return self._function(
            anchor,
            fickle,
            obstinate,
            fickle_mask,
            obstinate_mask,
            **{name: getattr(self, name) for name in self._settings},
        )


class PairwiseLoss(_ContrastiveLoss):
    """`functional.pairwise_loss` with its hyper-parameters (Chen et al. 2022, section 4.1).

    Args:
        alpha: weight of the fickle pairs.
        beta: weight of the obstinate pairs.
        margin: distance from which an obstinate version is far enough.
        distance: `"cosine"`, `"euclidean"` or `"manhattan"`.

    Example:
        >>> loss = PairwiseLoss()
        >>> loss
        PairwiseLoss(alpha=1.0, beta=1.2, margin=1.0, distance='cosine')
        >>> x, valid = torch.eye(2), torch.tensor([True, True])
        >>> loss(x, x, x, valid, valid)
        tensor(1.2000)
    """

    _function = staticmethod(pairwise_loss)
    _settings = ("alpha", "beta", "margin", "distance")

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.2,
        margin: float = 1.0,
        distance: str = "cosine",
    ):
        super().__init__(margin, distance)
        self.alpha = alpha
        self.beta = beta


class TripletLoss(_ContrastiveLoss):
    """`functional.triplet_loss` with its hyper-parameters (Chen et al. 2022, section 4.1).

    The paper's lambda is its weight in the whole objective, and so stays with the caller.

    Args:
        margin: by how much an obstinate version should be farther off than a fickle one.
        mask: `"paper"` or `"authors"`, as in `functional.triplet_terms`.
        distance: `"cosine"`, `"euclidean"` or `"manhattan"`.

    Example:
        >>> loss = TripletLoss(mask="authors")
        >>> loss
        TripletLoss(margin=1.0, mask='authors', distance='cosine')
        >>> x, valid = torch.eye(2), torch.tensor([True, False])
        >>> loss(x, x, x, valid, valid)
        tensor(0.5000)
    """

    _function = staticmethod(triplet_loss)
    _settings = ("margin", "mask", "distance")

    def __init__(self, margin: float = 1.0, mask: str = "paper", distance: str = "cosine"):
        super().__init__(margin, distance)
        self.mask = mask
