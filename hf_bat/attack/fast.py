"""The same forward pass for less work: what many queries to one model make worth preparing.

`packed_linears` multiplies on a processor by weights cast and laid out once for oneDNN;
`first_token_only` leaves out of the last layer what the head does not read. Both give the model's own
answers up to the last bits of floating-point sums, and both are undone at the end. A model that they
do not fit runs as it is.
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

# The packed copy takes memory: none is made of models with more weights (2 GB in float32).
_MOST_WEIGHTS = 500_000_000
# Classifiers whose head reads the first token alone, and whose last layer is `encoder.layer[-1]` with
# an `attention.output` called as (attended, residual); after it, no token sees another.
_FIRST_TOKEN_HEADS = (
    "BertForSequenceClassification",
    "CamembertForSequenceClassification",
    "DebertaV2ForSequenceClassification",
    "ElectraForSequenceClassification",
    "RobertaForSequenceClassification",
    "XLMRobertaForSequenceClassification",
)


@contextmanager
def packed_linears(model: nn.Module, dtype: torch.dtype = torch.float32) -> Iterator[int]:
    """Within, the model's float32 linear layers on the processor run through oneDNN.

    A layer goes its own way where gradients are on, and where it would not compute in `dtype`. The
    layers' weights must not change within.

    Args:
        model: any model; only plain `nn.Linear` layers of it are touched.
        dtype: what they compute in: float32 without autocast, bfloat16 under it.

    Yields:
        How many layers are packed; 0 where this torch or processor cannot, or the model is large.
    """
    layers = [
        module
        for module in model.modules()
        if type(module) is nn.Linear
        and "forward" not in vars(module)
        and type(module.weight.data) is torch.Tensor  # a subclass computes in its own way
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.float32
    ]
    weights = sum(layer.weight.numel() for layer in layers)
    if not layers or weights > _MOST_WEIGHTS or _is_compiled(model) or not can_pack(dtype):
        layers = []
    try:
        for layer in layers:
            vars(layer)["forward"] = _packed_forward(layer, dtype)
        yield len(layers)
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


@contextmanager
def first_token_only(model: nn.Module) -> Iterator[bool]:
    """Within, the last layer of a classifier that reads the first token computes that token alone.

    Args:
        model: any model; only transformers' own classes of BERT's kind, of two layers or more, are
            touched.

    Yields:
        Whether it is one.
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
    chunked = getattr(model.config, "chunk_size_feed_forward", 0)
    return len(model.base_model.encoder.layer) > 1 and not chunked


def _is_compiled(model: nn.Module) -> bool:
    """Whether torch.compile has been at it, which would compile again for changed layers."""
    return any(
        getattr(module, "_compiled_call_impl", None) is not None for module in model.modules()
    )


def _packed_forward(layer: nn.Linear, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    weight = _pack(layer.weight.detach().to(dtype))
    bias = None if layer.bias is None else layer.bias.detach().to(dtype)

    def forward(given: torch.Tensor) -> torch.Tensor:
        autocast = torch.is_autocast_enabled("cpu")
        computes = torch.get_autocast_dtype("cpu") if autocast else given.dtype
        if torch.is_grad_enabled() or computes != dtype or not given.numel():
            return nn.functional.linear(given, layer.weight, layer.bias)
        return _multiply(given.to(dtype), weight, bias)

    return forward


def _pack(weight: torch.Tensor) -> torch.Tensor:
    # The second argument is the number of rows to expect, which oneDNN chooses the layout for.
    return torch.ops.mkldnn._reorder_linear_weight(weight, 512)


def _multiply(given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(given, weight, bias, "none", [], "")


@cache
def can_pack(dtype: torch.dtype = torch.float32) -> bool:
    """Whether oneDNN's packed product works here; tried on a small case, as its interface is torch's
    own (torch.compile uses it) and may change."""
    capability = torch.backends.cpu.get_cpu_capability()
    if not torch.backends.mkldnn.is_available() or not capability.startswith(("AVX2", "AVX512")):
        return False
    try:
        with torch.no_grad():
            given = torch.linspace(-1, 1, 2 * 3 * 8).view(2, 3, 8).to(dtype)
            weight = torch.linspace(-1, 2, 5 * 8).view(5, 8).to(dtype)
            bias = torch.linspace(0, 1, 5).to(dtype)
            found = _multiply(given, _pack(weight), bias)
            expected = nn.functional.linear(given, weight, bias)
        precision = 8 * torch.finfo(dtype).eps
        works = torch.allclose(found, expected, rtol=precision, atol=precision)
    except (AttributeError, RuntimeError, TypeError) as error:
        logger.info("linear layers are not packed for oneDNN: %s", error)
        return False
    if not works:
        logger.warning("linear layers are not packed for oneDNN: its products are wrong here")
    return works
