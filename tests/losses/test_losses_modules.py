"""The modules hand their hyper-parameters to the functions, and hold nothing else."""

import pytest
import torch

from hf_bat.losses import PairwiseLoss, TripletLoss, pairwise_loss, triplet_loss


def given():
    generator = torch.Generator().manual_seed(0)
    vectors = [torch.randn(6, 4, generator=generator) for _ in range(3)]
    return [*vectors, *(torch.rand(2, 6, generator=generator) > 0.4)]


@pytest.mark.parametrize(
    ("module", "function", "options"),
    [
        (PairwiseLoss, pairwise_loss, {}),
        (PairwiseLoss, pairwise_loss, {"alpha": 0.3}),
        (PairwiseLoss, pairwise_loss, {"beta": 0.3, "margin": 2.5, "distance": "euclidean"}),
        (TripletLoss, triplet_loss, {}),
        (TripletLoss, triplet_loss, {"mask": "authors"}),
        (TripletLoss, triplet_loss, {"margin": 2.5, "distance": "manhattan"}),
    ],
)
def test_module_is_its_function(module, function, options):
    loss = module(**options)
    assert torch.equal(loss(*given()), function(*given(), **options))
    assert not loss.state_dict() and not list(loss.parameters())
    for name, value in options.items():
        assert f"{name}={value!r}" in repr(loss)
    assert "Balanced Adversarial Training" in loss.citation
