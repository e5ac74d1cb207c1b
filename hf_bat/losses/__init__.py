"""The losses of balanced training: pure functions, and thin modules."""

from hf_bat.losses.functional import (
    likelihood_terms,
    log_likelihood,
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
    "likelihood_terms",
    "log_likelihood",
    "pair_distance",
    "pairwise_loss",
    "pairwise_terms",
    "triplet_loss",
    "triplet_terms",
]
