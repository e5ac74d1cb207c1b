"""The contrastive losses of Balanced Adversarial Training: pure functions, and thin modules."""

from hf_bat.losses.functional import (
    pair_distance,
    pairwise_loss,
    pairwise_terms,
    triplet_loss,
    triplet_terms,
)
from hf_bat.losses.modules import PairwiseLoss, TripletLoss

__all__ = [
    "PairwiseLoss",
    "TripletLoss",
    "pair_distance",
    "pairwise_loss",
    "pairwise_terms",
    "triplet_loss",
    "triplet_terms",
]
