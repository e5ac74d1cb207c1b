"""Chunked passes: the same gradient with the memory of one chunk, and few shapes with rounded lengths."""

import pytest
import torch
from tiny_models import tiny_model
from training_helpers import largest_difference, logged, made_rows, make_trainer, weights_of

from hf_bat import HfBatError
from hf_bat.objective import run_forward

ROWS = made_rows(24)


def train(folder, **options):
    # Adam would turn a rounding error in a gradient close to 0 into a full step.
    options = {"optim": "sgd", "learning_rate": 0.1, "max_steps": 3, **options}
    trainer = make_trainer(folder, ROWS, model=tiny_model("bert", seed=3), **options)
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    ("chunk", "options"),
    [(chunk, {"method": "triplet"}) for chunk in (1, 100)]
    + [
        (3, options)
        for options in (
            {"method": "triplet", "pooling": "head_input", "num_obstinate": 2},
            {"method": "likelihood", "gradient_accumulation_steps": 2},
            {"method": "counterfactual"},
            {"method": "normal"},
            {"method": "triplet", "bf16": True},
            {"method": "triplet", "gradient_checkpointing": True},
        )
    ],
)
def test_chunks_train_to_the_same_weights(tmp_path, chunk, options):
    plain = train(tmp_path / "plain", **options)
    chunked = train(tmp_path / "chunked", contrastive_chunk=chunk, **options)
    # In bfloat16, sums over different groups of rows are rounded differently.
    tolerance = 2e-2 if options.get("bf16") else 1e-5
    assert largest_difference(weights_of(plain.model), weights_of(chunked.model)) < tolerance
    assert logged(plain, "loss") == pytest.approx(logged(chunked, "loss"), abs=tolerance)


def compute_gradient(trainer, batch, **options):
    model = trainer.model
    model.zero_grad()
    forward = run_forward(model, batch, trainer.processing_class, "cls", **options)
    versions = forward.versions
    loss = sum(forward.measure_distances(kind).values.pow(2).sum() for kind in versions)
    loss = loss + forward.logits.pow(2).sum() + sum(v.logits.sum() for v in versions.values())
    loss.backward()
    return {name: value.grad.clone() for name, value in model.named_parameters()}


@pytest.fixture
def trainer(tmp_path):
    return make_trainer(tmp_path, ROWS, method="triplet", per_device_train_batch_size=12)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_gradient_of_a_batch_is_the_same(trainer, side, chunk):
    trainer.processing_class.padding_side = side
    batch = next(iter(trainer.get_train_dataloader()))
    plain = compute_gradient(trainer, batch)
    cached = compute_gradient(trainer, batch, chunk_size=chunk, is_cached=True)
    scale = max(value.abs().max().item() for value in plain.values())
    assert largest_difference(plain, cached) < 1e-6 * scale


def test_dropout_of_both_passes_is_the_same(trainer):
    """With different dropout in the second pass, the gradient would not belong to the loss."""
    model = trainer.model
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.3
    model.train()
    batch = next(iter(trainer.get_train_dataloader()))
    options = {"chunk_size": 5, "is_cached": True}
    torch.manual_seed(1)
    cached = compute_gradient(trainer, batch, **options)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    # Chunks without a cache draw the same numbers and keep their graph.
    plain = compute_gradient(trainer, batch, chunk_size=5)
    scale = max(value.abs().max().item() for value in plain.values())
    assert largest_difference(plain, cached) < 1e-6 * scale
    assert torch.equal(state, torch.get_rng_state()), "the next step draws what it would have drawn"


def measure_saved(call):
    """Return the peak number of bytes that autograd keeps for the backward pass."""
    held = {"now": 0, "most": 0}

    class Held:
        def __init__(self, tensor):
            self.tensor, self.size = tensor, tensor.numel() * tensor.element_size()
            held["now"] += self.size
            held["most"] = max(held["most"], held["now"])

        def __del__(self):
            held["now"] -= self.size

    with torch.autograd.graph.saved_tensors_hooks(Held, lambda kept: kept.tensor):
        call()
    return held["most"]


def test_activations_of_a_step_are_those_of_one_chunk(tmp_path):
    batch_size = 12

    def measure(name, **options):
        trainer = make_trainer(
            tmp_path / name, ROWS, per_device_train_batch_size=batch_size, **options
        )
        batch = next(iter(trainer.get_train_dataloader()))
        trainer.model.train()
        return measure_saved(lambda: trainer.compute_loss(trainer.model, batch).backward())

    normal = measure("normal", method="normal")
    triplet = measure("triplet", method="triplet", num_fickle=2, num_obstinate=2)
    options = {"method": "triplet", "num_fickle": 2, "num_obstinate": 2}
    chunked = measure("chunked", contrastive_chunk=batch_size, **options)
    assert triplet > 1.8 * normal
    assert chunked < 1.15 * normal


def test_widths_are_rounded(tmp_path):
    trainer = make_trainer(
        tmp_path, ROWS, method="triplet", pad_to_multiple_of=8, per_device_train_batch_size=12
    )
    widths = set()
    trainer.model.register_forward_pre_hook(
        lambda _, args, kwargs: widths.add(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    for batch in trainer.get_train_dataloader():
        trainer.compute_loss(trainer.model, batch)
    assert widths and all(width % 8 == 0 for width in widths)
    for batch in trainer.get_eval_dataloader(made_rows(5)):
        assert batch["input_ids"].shape[1] % 8 == 0


@pytest.mark.parametrize("name", ["contrastive_chunk", "pad_to_multiple_of"])
def test_values_below_one_are_refused(tmp_path, name):
    with pytest.raises(HfBatError, match=f"{name} must be 1 or more"):
        make_trainer(tmp_path, ROWS, **{name: 0})
