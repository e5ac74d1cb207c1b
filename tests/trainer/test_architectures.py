"""Every architecture takes a training step with every representation."""

import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model
from training_helpers import logged, made_rows, make_trainer, tokenizer_for_made_rows

from hf_bat.objective import KINDS, run_forward
from hf_bat.pooling import POOLINGS, get_default_pooling

TOKEN_TYPES = ("bert", "electra", "albert", "deberta-v2", "deberta-v3", "xlnet")


def tokenizer_of(architecture):
    """Use left padding and token types if the tokenizer of the architecture does."""
    side = "left" if architecture == "xlnet" else "right"
    tokenizer = tokenizer_for_made_rows(padding_side=side)
    if architecture not in TOKEN_TYPES:
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


DECODERS = ("gpt2", "llama", "qwen2", "qwen3")
PAIRS = [(a, p) for a in ARCHITECTURES for p in (*POOLINGS, None)]


@pytest.mark.parametrize("architecture", ["bert", *DECODERS])
def test_a_decoder_is_read_at_its_last_token_unless_asked(tmp_path, caplog, architecture):
    model, tokenizer = tiny_model(architecture), tokenizer_of(architecture)
    assert get_default_pooling(model) == ("last" if architecture in DECODERS else "cls")
    options = {"model": model, "tokenizer": tokenizer, "method": "triplet"}
    make_trainer(tmp_path, made_rows(4), **options)
    assert "pooling" not in caplog.text
    make_trainer(tmp_path, made_rows(4), pooling="cls", **options)
    assert ("pooling=" in caplog.text) == (architecture in DECODERS)


@pytest.mark.parametrize(("architecture", "pooling"), PAIRS)
def test_a_step_of_every_architecture_and_pooling(tmp_path, architecture, pooling):
    method, options = ("triplet", {}) if pooling != "mean" else ("pairwise", {"num_obstinate": 2})
    trainer = make_trainer(
        tmp_path,
        made_rows(8),
        model=tiny_model(architecture),
        tokenizer=tokenizer_of(architecture),
        method=method,
        pooling=pooling,
        per_device_train_batch_size=8,
        max_steps=1,
        **options,
    )
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    model = trainer.model.train()
    forward = run_forward(
        model, inputs, trainer.processing_class, pooling or get_default_pooling(model)
    )
    distances = [forward.measure_distances(kind) for kind in KINDS]
    assert all(mask.any() for _, mask in distances)
    sum(values.sum() for values, _ in distances).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    is_blind = architecture in DECODERS and pooling == "cls"
    assert is_blind or any(gradient.abs().max() > 0 for gradient in gradients)
    model.zero_grad()

    trainer.train()
    assert torch.tensor(logged(trainer, "loss")).isfinite().all()
    assert logged(trainer, "grad_norm")[0] > 0
    if not is_blind:
        assert logged(trainer, "fickle_distance")[0] > 0
        assert logged(trainer, "obstinate_distance")[0] > 0
    output = trainer.predict(made_rows(3))
    assert output.predictions.shape == (3, 3), "logits alone"
