"""Representations: padding does not matter, and the logits are computed from the head input."""

import copy

import pytest
import torch
from tiny_models import ARCHITECTURES, HIDDEN_SIZE, tiny_model
from torch import nn

from hf_bat.errors import HfBatError
from hf_bat.pooling import (
    POOLINGS,
    find_head,
    get_default_pooling,
    is_decoder,
    pool,
    run_with_vectors,
    unwrap,
)

TOKEN_POOLINGS = POOLINGS[:-1]
NAN = float("nan")


def run(model, batch, pooling):
    """Return the vectors and the output of a forward pass."""
    outputs, vectors = run_with_vectors(model, batch, pooling)
    return vectors, outputs


def make_batch(lengths=(7, 4, 5), padding=0, side="right", seed=0):
    """Create rows of random tokens, with `padding` more columns than the longest row needs."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(5, 500, (length,), generator=generator) for length in lengths]
    width = max(lengths) + padding
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    for place, row in enumerate(rows):
        start = width - len(row) if side == "left" else 0
        ids[place, start : start + len(row)] = row
    return {"input_ids": ids, "attention_mask": ids.ne(0).long()}


# ---- pool ---------------------------------------------------------------------------------------


def test_pool_by_hand():
    # Row 1: tokens (1, 6) and (3, 2), then padding. Row 2: padding, then (5, -4) and (-7, 8).
    hidden = torch.tensor([[[1.0, 6], [3, 2], [NAN, NAN]], [[NAN, NAN], [5, -4], [-7, 8]]])
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    assert pool(hidden, mask, "cls").tolist() == [[1, 6], [5, -4]]
    assert pool(hidden, mask, "last").tolist() == [[3, 2], [-7, 8]]
    assert pool(hidden, mask, "mean").tolist() == [[2, 4], [-1, 2]]  # (1+3)/2, (6+2)/2; ...
    assert pool(hidden, mask, "max").tolist() == [[3, 6], [5, 8]]


@pytest.mark.parametrize("pooling", TOKEN_POOLINGS)
def test_pool_ignores_padding_in_value_and_gradient(pooling):
    hidden = torch.randn(2, 4, 3)
    hidden[0, 2:] = NAN
    hidden.requires_grad_()
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    vectors = pool(hidden, mask, pooling)
    assert vectors.isfinite().all()
    (gradient,) = torch.autograd.grad(vectors.square().sum(), hidden)
    assert gradient.isfinite().all()
    assert gradient[0, :2].abs().sum() > 0
    assert gradient[0, 2:].abs().sum() == 0


@pytest.mark.parametrize("pooling", TOKEN_POOLINGS)
def test_pool_of_a_row_that_is_all_padding_is_zero(pooling):
    hidden = torch.full((1, 3, 2), NAN, requires_grad=True)
    vectors = pool(hidden, torch.zeros(1, 3), pooling)
    assert vectors.tolist() == [[0, 0]]
    (gradient,) = torch.autograd.grad(vectors.sum(), hidden)
    assert gradient.tolist() == torch.zeros(1, 3, 2).tolist()


def test_pool_returns_float32_for_half_precision_and_keeps_float64():
    mask = torch.ones(1, 2)
    for given, returned in [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
    ]:
        for pooling in TOKEN_POOLINGS:
            assert pool(torch.ones(1, 2, 3, dtype=given), mask, pooling).dtype == returned
    # A mean in bfloat16 would round 1 + 2^-9 to 1.
    hidden = torch.tensor([[[1.0], [1 + 2**-7]]], dtype=torch.bfloat16)
    assert pool(hidden, mask, "mean").item() == 1 + 2**-8


# ---- every architecture -------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_head_input_times_head_is_the_logits(arch):
    model = tiny_model(arch).eval()
    for side in ("right", "left"):
        vectors, outputs = run(model, make_batch(side=side), "head_input")
        assert vectors.dim() == 2 and len(vectors) == 3
        # Products of (B, H) and (B, T, H) may be summed in different orders.
        torch.testing.assert_close(find_head(model)(vectors), outputs.logits, rtol=1e-5, atol=1e-6)
        assert outputs.hidden_states is None


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("training", [False, True])
def test_hidden_state_poolings_agree_with_the_backbone(arch, training):
    model = tiny_model(arch, dropout=0.3).train(training)
    backbone = getattr(model, model.base_model_prefix)
    seen = []
    hook = backbone.register_forward_hook(lambda *call: seen.append(call[2]))
    batch = make_batch()
    for pooling in TOKEN_POOLINGS:
        vectors, _ = run(model, batch, pooling)
        assert vectors.shape == (3, HIDDEN_SIZE) and vectors.isfinite().all()
        last = seen[-1].last_hidden_state if hasattr(seen[-1], "last_hidden_state") else seen[-1][0]
        assert torch.equal(vectors, pool(last, batch["attention_mask"], pooling))
    hook.remove()


def own_side(arch, pooling):
    """Return the padding side: XLNet's head reads the right-most column, so it needs left padding."""
    return "left" if arch == "xlnet" and pooling == "head_input" else "right"


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_padding_changes_no_representation(arch):
    model = tiny_model(arch).eval()
    for pooling in POOLINGS:
        side = own_side(arch, pooling)
        expected, _ = run(model, make_batch(side=side), pooling)
        wider, _ = run(model, make_batch(padding=5, side=side), pooling)
        torch.testing.assert_close(wider, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("arch", ["xlnet", "llama", "qwen2", "qwen3"])
def test_the_side_of_padding_changes_no_representation(arch):
    # Positions are relative here, so the backbone ignores the side, and so must the pooling.
    model = tiny_model(arch).eval()
    for pooling in POOLINGS if arch != "xlnet" else TOKEN_POOLINGS:
        expected, _ = run(model, make_batch(), pooling)
        left, _ = run(model, make_batch(padding=5, side="left"), pooling)
        torch.testing.assert_close(left, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_gradient_reaches_the_embeddings(arch):
    model = tiny_model(arch).train()
    for pooling in POOLINGS:
        vectors, _ = run(model, make_batch(), pooling)
        weight = model.get_input_embeddings().weight
        (gradient,) = torch.autograd.grad(vectors.square().sum(), weight)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0


# ---- the head's own pooling -----------------------------------------------------------------------

# The module with the head input, and the token that the head of a decoder uses.
HEADS = [
    ("bert", {}, "bert.pooler.dense", "cls"),
    ("modernbert", {"classifier_pooling": "cls"}, "head", "cls"),
    ("modernbert", {"classifier_pooling": "mean"}, "head", "mean"),
    ("eurobert", {"classifier_pooling": "bos"}, "dense", "cls"),
    ("eurobert", {"classifier_pooling": "mean"}, "dense", "mean"),
    ("ctrl", {}, "classifier", "last"),
    ("modernbert-decoder", {}, "head", "last"),
    ("gpt2", {}, "score", "last"),
    ("xlnet", {}, "sequence_summary.summary", "last"),
    ("xlnet", {"summary_type": "first"}, "sequence_summary.summary", "cls"),
]


@pytest.mark.parametrize(("arch", "options", "name", "pooling"), HEADS)
def test_the_default_pooling_is_what_the_head_reads(arch, options, name, pooling):
    model = tiny_model(arch, **options).eval()
    seen = []
    hook = model.get_submodule(name).register_forward_pre_hook(lambda _, given: seen.append(*given))
    # Without padding, because a head may always use the first or the last column.
    vectors, outputs = run(model, make_batch((6, 6, 6)), get_default_pooling(model))
    hook.remove()
    read = seen[0] if seen[0].dim() == 2 else seen[0][:, -1]
    torch.testing.assert_close(vectors, read, rtol=1e-5, atol=1e-6)
    assert get_default_pooling(model) == pooling


@pytest.mark.parametrize(
    ("arch", "options"),
    [("ctrl", {}), ("modernbert-decoder", {}), ("eurobert", {"classifier_pooling": "late"}),
     ("modernbert", {"classifier_pooling": "mean"})],
)  # fmt: skip
def test_head_input_of_unusual_heads(arch, options):
    model = tiny_model(arch, **options).eval()
    vectors, outputs = run(model, make_batch(padding=3), "head_input")
    torch.testing.assert_close(find_head(model)(vectors), outputs.logits, rtol=1e-4, atol=1e-5)


def test_only_decoders_are_decoders():
    for arch in ("gpt2", "llama", "ctrl", "modernbert-decoder"):
        assert is_decoder(nn.DataParallel(tiny_model(arch)))
    for arch in ("bert", "modernbert", "eurobert", "xlnet"):
        assert not is_decoder(tiny_model(arch))


# ---- wrapped models -----------------------------------------------------------------------------


@pytest.fixture
def process_group(tmp_path):
    """Create a process group with a single process."""
    from torch import distributed

    address = f"file://{tmp_path}/group"
    distributed.init_process_group("gloo", init_method=address, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def sharded(model):
    """Imitate the structure of FSDP1 around a model, because real FSDP1 needs a GPU."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    class Sharded(FullyShardedDataParallel):
        def forward(self, **batch):
            return self._fsdp_wrapped_module(**batch)

    wrapper = Sharded.__new__(Sharded)
    nn.Module.__init__(wrapper)
    wrapper._fsdp_wrapped_module = model
    return wrapper


def checkpointed(model):
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    return sharded(checkpoint_wrapper(model))


def parallel(model):
    return nn.parallel.DistributedDataParallel(model)


def compiled_parallel(model):
    return torch.compile(parallel(model), backend="eager")


WRAPPINGS = [sharded, checkpointed, parallel, compiled_parallel]


@pytest.mark.parametrize("wrap", WRAPPINGS)
def test_a_wrapped_model_is_unwrapped_as_accelerate_does(process_group, wrap):
    from accelerate.utils import extract_model_from_parallel

    model = tiny_model("xlnet")
    wrapped = wrap(model)
    assert unwrap(wrapped) is model
    assert extract_model_from_parallel(wrapped, keep_torch_compile=False) is model
    assert find_head(wrapped) is model.logits_proj
    assert get_default_pooling(wrapped) == "last" and not is_decoder(wrapped)


@pytest.mark.parametrize("wrap", [sharded, parallel])
def test_a_wrapped_model_gives_what_the_plain_one_gives(process_group, wrap):
    # There are as many labels as hidden units, and the head is defined before the backbone, so a layer of the
    # backbone could be mistaken for the head.
    model = tiny_model("bert", num_labels=HIDDEN_SIZE).eval()
    model.bert = model._modules.pop("bert")
    expected, _ = run(model, make_batch(), "head_input")
    vectors, outputs = run(wrap(model).eval(), make_batch(), "head_input")
    torch.testing.assert_close(vectors, expected)
    torch.testing.assert_close(model.classifier(vectors), outputs.logits)


def lora(model, **options):
    peft = pytest.importorskip("peft")
    return peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS", r=2, **options))


@pytest.mark.parametrize("arch", ["bert", "roberta", "deberta-v3", "xlnet", "qwen2"])
def test_lora_model_is_read_at_the_head_in_use(arch):
    targets = {"bert": ["query"], "roberta": ["query"], "deberta-v3": ["query_proj"],
               "xlnet": ["ff.layer_1"], "qwen2": ["q_proj"]}[arch]  # fmt: skip
    extra = {"modules_to_save": ["logits_proj"]} if arch == "xlnet" else {}
    model = lora(tiny_model(arch), target_modules=targets, **extra).eval()
    head = find_head(model)
    assert isinstance(head, nn.Linear) and head.weight.requires_grad
    with torch.no_grad():
        head.weight.add_(1.0)  # so the active copy differs from the original
    batch = make_batch(side="left")
    vectors, outputs = run(model, batch, "head_input")
    torch.testing.assert_close(head(vectors), outputs.logits, rtol=1e-5, atol=1e-5)
    with model.disable_adapter():
        original = find_head(model)
        assert original is not head
        vectors, outputs = run(model, batch, "head_input")
        torch.testing.assert_close(original(vectors), outputs.logits, rtol=1e-5, atol=1e-5)
    assert run(model, batch, "mean")[0].shape == (3, HIDDEN_SIZE)


def test_adapter_around_the_head_is_the_head():
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["classifier"])
    model = peft.get_peft_model(tiny_model("bert"), config).eval()
    nn.init.normal_(model.base_model.model.classifier.lora_B["default"].weight)
    head = find_head(model)
    vectors, outputs = run(model, make_batch(), "head_input")
    assert torch.equal(head(vectors), outputs.logits)
    assert not torch.allclose(head.base_layer(vectors), outputs.logits)


def test_gradient_checkpointing_and_autocast():
    model = tiny_model("bert").train()
    expected = {pooling: run(model, make_batch(), pooling)[0] for pooling in POOLINGS}
    model.gradient_checkpointing_enable()
    for pooling in POOLINGS:
        vectors, _ = run(model, make_batch(), pooling)
        torch.testing.assert_close(vectors, expected[pooling])
        vectors.sum().backward()
        with torch.autocast("cpu", torch.bfloat16):
            vectors, _ = run(model, make_batch(), pooling)
        assert vectors.dtype == torch.float32
        torch.testing.assert_close(vectors, expected[pooling], rtol=0.1, atol=0.1)


def compiled_from_outside(model):
    return torch.compile(model, backend="aot_eager", dynamic=True)


def compiled_in_place(model):
    model.compile(backend="eager", dynamic=True)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("compiling", [compiled_from_outside, compiled_in_place])
def test_compiled_model_gives_what_the_plain_one_gives(compiling):
    model = tiny_model("bert").train()
    compiled = compiling(copy.deepcopy(model))
    assert type(unwrap(compiled)) is type(model)
    for seed in (1, 2):
        batch = make_batch(seed=seed)
        compiled(**batch)  # as in training, calls with and without hooks alternate
        results = []
        for version in (compiled, model):
            vectors, outputs = run(version, batch, "head_input")
            weight = version.get_input_embeddings().weight
            results.append((vectors, outputs.logits, *torch.autograd.grad(vectors.sum(), weight)))
        for found, expected in zip(*results, strict=True):
            torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_compiled_model_that_ignores_the_hook_is_an_error_not_a_stale_value():
    compiled = torch.compile(tiny_model("bert"), backend="eager", dynamic=True)
    compiled(**make_batch(), output_hidden_states=False)  # the same call, compiled without a hook
    with pytest.raises(HfBatError, match=r"torch\.compile"):
        run_with_vectors(compiled, make_batch(), "head_input")


# ---- finding the head -----------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_head_is_found_without_being_named(arch):
    model = tiny_model(arch, num_labels=5)
    names = {"xlnet": "logits_proj", "roberta": "classifier.out_proj",
             "electra": "classifier.out_proj"}  # fmt: skip
    names |= {decoder: "score" for decoder in ("gpt2", "llama", "qwen2", "qwen3")}
    head = find_head(model)
    assert head is model.get_submodule(names.get(arch, "classifier"))
    assert find_head(nn.DataParallel(model)) is head


def test_a_failed_pass_leaves_nothing_behind():
    model = tiny_model("bert")
    before = set(find_head(model).__dict__)
    find_head(model).register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_with_vectors(model, make_batch(), "head_input")
    head = find_head(model)
    assert set(head.__dict__) == before and not head._forward_pre_hooks
