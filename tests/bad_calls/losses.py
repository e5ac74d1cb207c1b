"""Bad calls of `hf_bat.losses`."""

import torch
from bad_calls import BadCall

from hf_bat.losses import pair_distance, triplet_loss

X = torch.ones(1, 2)
VALID = torch.tensor([True])

CALLS = [
    BadCall("unknown distance", lambda _: pair_distance(X, X, "hamming"), "hamming"),
    BadCall(
        "unknown mask rule",
        lambda _: triplet_loss(X, X, X, VALID, VALID, mask="mine"),
        "mine",
    ),
]
