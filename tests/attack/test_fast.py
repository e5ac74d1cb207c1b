"""The faster forward pass has the same results for every architecture and does not change the model."""

import pytest
import torch
from tiny_models import ARCHITECTURES, VOCAB_SIZE, tiny_model, tiny_tokenizer
from torch import nn

from hf_bat.attack import TransformersModel, fast

BERT_LIKE = ("bert", "roberta", "electra", "deberta-v2", "deberta-v3")
PAIRS = [("A dog is sleeping.", "A cat."), ("The man is not happy in the rain.", "A big dog runs.")]


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(0)
    mask = torch.ones(3, 9, dtype=torch.long)
    mask[1, 6:] = 0
    return {
        "input_ids": torch.randint(5, VOCAB_SIZE, (3, 9), generator=draw),
        "attention_mask": mask,
    }


@pytest.mark.parametrize("arch", ARCHITECTURES)
@torch.no_grad()
def test_the_answers_are_the_models_own(arch, batch):
    model = tiny_model(arch).eval()
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    expected = model(**batch).logits
    with fast.pack_linears(model) as packed, fast.skip_later_tokens(model) as cut:
        found = model(**batch).logits
    assert torch.allclose(found, expected, atol=2e-5)
    assert cut == (arch in BERT_LIKE)
    if fast.can_pack():
        assert packed == sum(type(module) is nn.Linear for module in model.modules())
    assert torch.equal(model(**batch).logits, expected)  # everything is restored
    assert before == {name: set(vars(module)) for name, module in model.named_modules()}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_session_answers_as_the_model_does(arch):
    raw, tokenizer = tiny_model(arch).eval(), tiny_tokenizer([" ".join(pair) for pair in PAIRS])
    model = TransformersModel(raw, tokenizer, max_length=64)
    for pair in PAIRS:
        with model.session():
            found = model.probabilities(model.keys([pair]))[0]
        with torch.no_grad():
            expected = raw(**tokenizer(*pair, return_tensors="pt")).logits[0].double().softmax(-1)
        assert found == pytest.approx(expected.numpy(), abs=2e-5)


def test_only_the_first_token_reaches_the_last_layers_products(batch):
    model, seen = tiny_model("bert").eval(), []
    for layer in model.base_model.encoder.layer:
        layer.output.register_forward_hook(lambda module, given, out: seen.append(out.shape[1]))
    with fast.skip_later_tokens(model):
        model(**batch)
    assert seen == [9, 1]


def test_gradients_are_the_models_own(batch):
    model = tiny_model("bert").eval()

    def gradient():
        model.zero_grad()
        nn.functional.cross_entropy(model(**batch).logits, torch.tensor([0, 1, 2])).backward()
        return model.get_input_embeddings().weight.grad.clone()

    expected = gradient()
    with fast.pack_linears(model), fast.skip_later_tokens(model):
        assert torch.allclose(gradient(), expected, atol=1e-6)


@torch.no_grad()
def test_models_that_do_not_fit_run_as_they_are(batch, monkeypatch):
    class Pooled(type(tiny_model("bert"))):
        """A custom subclass may read other tokens."""

    model = Pooled(tiny_model("bert").config)
    one_layer = tiny_model("bert")
    del one_layer.base_model.encoder.layer[1]
    for other in (model, one_layer, nn.Linear(3, 3)):
        with fast.skip_later_tokens(other) as cut:
            assert not cut
    with fast.pack_linears(model.to(torch.bfloat16)) as packed:
        assert packed == 0
    monkeypatch.setattr(fast, "_MAX_WEIGHTS", 10)
    with fast.pack_linears(one_layer) as packed:
        assert packed == 0


@torch.no_grad()
def test_a_torch_that_cannot_pack_is_logged_and_not_used(batch, monkeypatch, caplog):
    def gone(weight):
        raise AttributeError("no such operator")

    fast.can_pack.cache_clear()
    monkeypatch.setattr(fast, "_pack", gone)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    try:
        with caplog.at_level("INFO"), fast.pack_linears(tiny_model("bert")) as packed:
            assert packed == 0
    finally:
        fast.can_pack.cache_clear()
    assert "no such operator" in caplog.text


@pytest.mark.skipif(not fast.can_pack(), reason="this torch or processor has no packed product")
def test_autocast_and_empty_batches_take_the_plain_way(monkeypatch):
    layer = nn.Linear(8, 4)
    with fast.pack_linears(layer) as packed, torch.no_grad():
        assert packed == 1
        monkeypatch.setattr(fast, "_compute_product", lambda *_: pytest.fail("packed product used"))
        assert layer(torch.zeros(0, 8)).shape == (0, 4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert layer(torch.ones(2, 8)).dtype == torch.bfloat16
        with torch.enable_grad():
            assert layer(torch.ones(2, 8)).requires_grad


@pytest.mark.skipif(not fast.can_pack(torch.bfloat16), reason="no packed product in bfloat16 here")
@torch.no_grad()
def test_bfloat16_is_what_autocast_gives(batch):
    model = tiny_model("bert").eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = model(**batch).logits
        with fast.pack_linears(model, torch.bfloat16) as packed:
            found = model(**batch).logits
    assert packed and found.dtype == expected.dtype == torch.bfloat16
    assert torch.allclose(found, expected, rtol=0.02, atol=0.02)
