"""Faster forward passes with the same answers, up to floating-point rounding.

They are worth the setup because an attack queries one model many times. `pack_linears` casts and packs the
weights once for oneDNN on a CPU. `skip_later_tokens` only computes the last layer for the tokens that the
head uses. Both changes are undone at the end. Unsupported models run unchanged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

logger = logging.getLogger(__name__)

# The packed copy takes memory, so models with more weights (2 GB in float32) are not packed.
_MAX_WEIGHTS = 500_000_000
# Classifiers with a head that only uses the first token. Their last layer must be `encoder.layer[-1]`, with
# an `attention.output` that is called as (attended, residual). After this module, tokens do not interact.
_FIRST_TOKEN_HEADS = (
    "BertForSequenceClassification",
    "CamembertForSequenceClassification",
    "DebertaV2ForSequenceClassification",
    "ElectraForSequenceClassification",
    "RobertaForSequenceClassification",
    "XLMRobertaForSequenceClassification",
)


@contextmanager
def pack_linears(model: nn.Module, dtype: torch.dtype = torch.float32) -> Iterator[int]:
    """Run the float32 linear layers of a model on a CPU through oneDNN, in float32 or bfloat16.

    A layer runs as usual if gradients are enabled or if it does not compute in `dtype`. The weights must not
    change in the meantime. Yields the number of packed layers, which is 0 for large models or if torch or
    the CPU does not support packing.
    """
    layers = [
        module
        for module in model.modules()
        if type(module) is nn.Linear
        and "forward" not in vars(module)  # something else has replaced its forward pass
        and type(module.weight.data) is torch.Tensor  # subclasses may compute differently
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.float32
    ]
    weights = sum(layer.weight.numel() for layer in layers)
    if not layers or weights > _MAX_WEIGHTS or _is_compiled(model) or not can_pack(dtype):
        layers = []
    try:
        for layer in layers:
            vars(layer)["forward"] = _make_packed_forward(layer, dtype)
        yield len(layers)
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


@contextmanager
def skip_later_tokens(model: nn.Module) -> Iterator[bool]:
    """Compute only the first token in the last layer if the classifier only uses this token.

    Yields whether this applies to the model: its class must be in `_FIRST_TOKEN_HEADS`, and it must have two
    or more layers.
    """
    if not _reads_first_token(model):
        yield False
        return
    classifier: Any = model
    handle = classifier.base_model.encoder.layer[-1].attention.output.register_forward_pre_hook(
        lambda module, tensors: tuple(tensor[:, :1] for tensor in tensors)
    )
    try:
        yield True
    finally:
        handle.remove()


def _reads_first_token(model: Any) -> bool:
    kind = type(model)
    if kind.__name__ not in _FIRST_TOKEN_HEADS or not kind.__module__.startswith("transformers."):
        return False
    # Chunked layers require a number of tokens that is divisible by the chunk size, so 1 token fails.
    chunked = getattr(model.config, "chunk_size_feed_forward", 0)
    return len(model.base_model.encoder.layer) > 1 and not chunked


def _is_compiled(model: nn.Module) -> bool:
    # torch.compile would recompile the changed layers.
    return any(
        getattr(module, "_compiled_call_impl", None) is not None for module in model.modules()
    )


def _make_packed_forward(
    layer: nn.Linear, dtype: torch.dtype
) -> Callable[[torch.Tensor], torch.Tensor]:
    weight = _pack(layer.weight.detach().to(dtype))
    bias = None if layer.bias is None else layer.bias.detach().to(dtype)

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        autocast = torch.is_autocast_enabled("cpu")
        computes = torch.get_autocast_dtype("cpu") if autocast else inputs.dtype
        if torch.is_grad_enabled() or computes != dtype or not inputs.numel():
            return nn.functional.linear(inputs, layer.weight, layer.bias)
        return _compute_product(inputs.to(dtype), weight, bias)

    return forward


def _pack(weight: torch.Tensor) -> torch.Tensor:
    # The second argument is the expected number of rows. oneDNN chooses the layout based on it.
    return torch.ops.mkldnn._reorder_linear_weight(weight, 512)


def _compute_product(
    inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")


@cache
def can_pack(dtype: torch.dtype = torch.float32) -> bool:
    """Return whether oneDNN's packed product works on this machine.

    It is tested on a small example, because the interface is internal to torch (it is used by torch.compile)
    and may change.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    if not torch.backends.mkldnn.is_available() or not capability.startswith(("AVX2", "AVX512")):
        return False
    try:
        with torch.no_grad():
            inputs = torch.linspace(-1, 1, 2 * 3 * 8).view(2, 3, 8).to(dtype)
            weight = torch.linspace(-1, 2, 5 * 8).view(5, 8).to(dtype)
            bias = torch.linspace(0, 1, 5).to(dtype)
            product = _compute_product(inputs, _pack(weight), bias)
            expected = nn.functional.linear(inputs, weight, bias)
        # Allow for the rounding of sums of 8 products in any order.
        precision = 8 * torch.finfo(dtype).eps
        works = torch.allclose(product, expected, rtol=precision, atol=precision)
    except (AttributeError, RuntimeError, TypeError) as error:
        logger.info("linear layers are not packed for oneDNN: %s", error)
        return False
    if not works:
        logger.warning("linear layers are not packed for oneDNN: its products are wrong here")
    return works
