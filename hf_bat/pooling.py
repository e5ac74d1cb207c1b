"""Read models of all architectures: one vector per sequence, and the number of positions.

The vectors do not depend on the padding of a batch: its amount and side make no difference.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from hf_bat.errors import HfBatError, check_choice

logger = logging.getLogger(__name__)

POOLINGS = ("cls", "mean", "max", "last", "head_input")

# How configurations name the pooling of their head. EuroBERT's "late" is the mean of all tokens' logits.
_NAMED = {
    "cls": "cls",
    "bos": "cls",
    "first": "cls",
    "mean": "mean",
    "late": "mean",
    "last": "last",
}
# Decoders whose classifier is not called `score`, as it is in the other decoders of transformers.
_OTHER_DECODERS = ("ctrl", "modernbert-decoder")
# Attributes in which wrappers keep the wrapped module: torch.compile, the parallel ones and DeepSpeed,
# FSDP1 (whose `module` is not a submodule), activation checkpointing.
_INNER = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# Attribute in which a layer's hook keeps the layer's input.
_KEPT = "_hf_bat_kept_input"

# Model types whose position ids begin after the padding token's id.
_SHIFTED = (
    "camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip


def pool(
    hidden_states: torch.Tensor, attention_mask: torch.Tensor, pooling: str = "cls"
) -> torch.Tensor:
    """Pool token vectors (B, T, H) into vectors (B, H), float32 or float64; padding makes no difference.

    Args:
        hidden_states: Token vectors, shape (B, T, H).
        attention_mask: 1 at tokens and 0 at padding, shape (B, T). A row of only padding gives zeros.
        pooling: `"cls"` (the first token), `"last"` (the right-most token), `"mean"` or `"max"`.
    """
    if attention_mask is None or attention_mask.shape != hidden_states.shape[:2]:
        shape = "none" if attention_mask is None else tuple(attention_mask.shape)
        raise HfBatError(
            f"pooling needs an attention mask of shape {tuple(hidden_states.shape[:2])}, one number "
            f"per token of the hidden states; got {shape}"
        )
    is_token = attention_mask.bool()
    if hidden_states.dtype != torch.float64:
        hidden_states = hidden_states.float()
    if pooling == "mean":
        tokens = hidden_states.masked_fill(~is_token[..., None], 0.0)
        vectors = tokens.sum(1) / is_token.sum(-1, keepdim=True).clamp(min=1)
    elif pooling == "max":
        vectors = hidden_states.masked_fill(~is_token[..., None], float("-inf")).amax(1)
    else:
        marks = is_token.int()
        first, last = marks.argmax(-1), marks.shape[-1] - 1 - marks.flip(-1).argmax(-1)
        vectors = hidden_states[torch.arange(len(marks)), first if pooling == "cls" else last]
    return vectors.masked_fill(~is_token.any(-1, keepdim=True), 0.0)


def run_with_vectors(
    model: nn.Module, batch: Mapping[str, torch.Tensor], pooling: str = "cls"
) -> tuple[Any, torch.Tensor]:
    """Call a sequence classifier and return its output and one vector per row, shape (B, H).

    `"cls"`, `"mean"`, `"max"` and `"last"` pool the last hidden layer, see `pool`; `"head_input"` is the
    input of the classifier's last linear layer. If the classifier applies that layer to every token, as
    decoders do, the input is taken at the right-most token that is not padding, which the classifier uses
    too (EuroBERT: the mean of all). XLNet's head reads the right-most column: pad it left.
    """
    check_choice("pooling", pooling, POOLINGS)
    core = unwrap(model)
    config = getattr(core, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise HfBatError(
            f"{type(core).__name__} is an encoder-decoder, whose sequences have no single last "
            "hidden layer; use an encoder or a decoder classifier"
        )
    layer: Any
    if pooling == "head_input":
        layer = find_head(model)
    elif getattr(config, "model_type", "") == "xlnet":
        # In training, its hidden_states[-1] lacks the dropout that the classifier sees.
        layer = core.sequence_summary
    else:
        outputs = model(**batch, output_hidden_states=True)
        return outputs, pool(outputs.hidden_states[-1], batch["attention_mask"], pooling)
    hook = layer.register_forward_pre_hook(_keep_input)
    try:
        with _make_compile_see_hooks(model):
            outputs = model(**batch, output_hidden_states=False)
    finally:
        hook.remove()
        tokens = layer.__dict__.pop(_KEPT, None)
    if tokens is None:
        raise HfBatError(
            f"pooling {pooling!r} cannot read a torch.compile'd model that was called with identical "
            "arguments before; choose another pooling"
        )
    if pooling == "head_input":
        if tokens.dim() == 2:
            return outputs, tokens if tokens.dtype == torch.float64 else tokens.float()
        pooling = _get_own_pooling(core) or "last"
    return outputs, pool(tokens, batch["attention_mask"], pooling)


def _keep_input(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
    # One function for all models, without a closure: torch.compile recompiles for each new hook object.
    setattr(module, _KEPT, arguments[0])


def _make_compile_see_hooks(model: nn.Module) -> AbstractContextManager[Any]:
    """Make torch.compile check for added and removed hooks, which it does not do by default."""
    layers = _list_wrappers(model)
    if not any(hasattr(layer, "_orig_mod") or layer._compiled_call_impl for layer in layers):
        return nullcontext()
    import torch._dynamo.config

    return torch._dynamo.config.patch(skip_nnmodule_hook_guards=False)


def _list_wrappers(model: nn.Module) -> list[nn.Module]:
    """Return the model and all modules it wraps, outermost first: compiled, parallel, sharded, PEFT."""
    chain = [model]
    while True:
        outer: Any = chain[-1]
        if hasattr(outer, "get_base_model"):
            inner = outer.get_base_model()
        else:
            inner = next((outer._modules[key] for key in _INNER if key in outer._modules), None)
        if inner is None or inner is outer:
            return chain
        chain.append(inner)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the Hugging Face model inside any of torch.compile, DDP, FSDP, DeepSpeed and PEFT."""
    return _list_wrappers(model)[-1]


def find_head(model: nn.Module) -> nn.Module:
    """Find the last linear layer of a sequence classifier, whose output is the logits.

    It is the last one defined of the linear layers outside the backbone with one output per label. In a
    PEFT model it is the active copy, or the adapter's layer.
    """
    for layer in _list_wrappers(model):
        if isinstance(layer, nn.DataParallel) and len(layer.device_ids) > 1:
            raise HfBatError(
                "head_input cannot be read from nn.DataParallel's copies of a model; launch one "
                "process per device (torchrun, accelerate launch) or choose another pooling"
            )
    core = unwrap(model)
    # Layers of the backbone may have as many outputs as the head.
    backbone = core._modules.get(getattr(core, "base_model_prefix", ""))
    labels = getattr(getattr(core, "config", None), "num_labels", None)
    heads = [h for h in _list_linear(core, backbone) if labels in (None, h.out_features)]
    if not heads:
        raise HfBatError(
            f"{type(core).__name__} has no last linear layer for pooling 'head_input'; "
            "choose another: cls, mean, max or last"
        )
    return heads[-1]


def _list_linear(module: nn.Module, skipped: nn.Module | None) -> Iterator[Any]:
    """Yield the linear layers of a module in order of definition; PEFT's layers instead of wrapped ones."""
    if isinstance(module, nn.Linear) or isinstance(getattr(module, "base_layer", None), nn.Linear):
        yield module
        return
    copies: Any = module._modules.get("modules_to_save")
    if copies is not None and "original_module" in module._modules:
        wrapper: Any = module
        name = next(iter(wrapper.active_adapters), None)
        is_active = not wrapper.disable_adapters and name in copies
        yield from _list_linear(copies[name] if is_active else wrapper.original_module, skipped)
        return
    for child in module.children():
        if child is not skipped:
            yield from _list_linear(child, skipped)


def get_default_pooling(model: nn.Module) -> str:
    """Return the pooling of the last hidden layer that the model's own classification head uses.

    A decoder needs its last token: at the first token it has seen no other, often the same one for a row
    and its versions, and training would learn nothing.
    """
    return _get_own_pooling(unwrap(model)) or "cls"


def is_decoder(model: nn.Module) -> bool:
    """Return whether tokens see only the text before them."""
    core = unwrap(model)
    model_type = getattr(getattr(core, "config", None), "model_type", "")
    return hasattr(core, "score") or model_type in _OTHER_DECODERS


def _get_own_pooling(core: nn.Module) -> str | None:
    """Return how a model's head pools tokens; `None` if only its code says so."""
    if is_decoder(core):
        return "last"
    # ELECTRA and others also have a `summary_type`, which their classifier does not read.
    key = "summary_type" if hasattr(core, "sequence_summary") else "classifier_pooling"
    return _NAMED.get(getattr(getattr(core, "config", None), key, None))  # type: ignore[arg-type]


def warn_about_head(model: nn.Module, pooling: str | None) -> None:
    """Warn of a pooling that sees only one token, and of an untrained part of the head that stays frozen.

    PEFT trains and saves only `classifier` and `score` of a sequence classifier. Other parts of a head
    (DeBERTa's pooler, ModernBERT's head, XLNet's summary) keep their random initial weights.
    """
    if pooling == "cls" and is_decoder(model):
        logger.warning(
            "pooling='cls' takes the first token, which sees no other token in a decoder; 'last' "
            "(the default for this model), 'mean' or 'head_input' see the whole text"
        )
    base = getattr(model, "get_base_model", lambda: None)()
    if base is None:
        return
    frozen = [
        name
        for name, child in base.named_children()
        if name != getattr(base, "base_model_prefix", "")
        and (parameters := list(child.parameters()))
        and not any(parameter.requires_grad for parameter in parameters)
    ]
    if frozen:
        logger.warning(
            "the classification head's %s is frozen and untrained; add modules_to_save=%s to the PEFT config",
            ", ".join(frozen),
            frozen,
        )


def get_position_limit(config: Any) -> int | None:
    """Return the maximum input length of a model in tokens; `None` if it has no table of positions.

    DeBERTa-v3, XLNet, and rotary models such as ModernBERT and Llama have none and accept more than the
    length in their configuration.
    """
    computes_positions = (
        getattr(config, "alibi", False)  # an option of Falcon
        or getattr(config, "rope_parameters", None)
        or getattr(config, "position_embedding_type", None) == "rotary"  # ESM
    )
    # DeBERTa of both versions, unless it also adds absolute positions.
    is_relative = getattr(config, "relative_attention", False) and not getattr(
        config, "position_biased_input", True
    )
    return None if computes_positions or is_relative else get_named_limit(config)


def get_named_limit(config: Any) -> int | None:
    """Return the length in tokens that a configuration names, whether or not the model enforces it."""
    # XLNet, which has no limit, says -1.
    positions = max(0, getattr(config, "max_position_embeddings", None) or 0)
    if config.model_type in _SHIFTED:
        # MPNet has its padding at 1, against its configuration.
        pad = 1 if config.model_type == "mpnet" else config.pad_token_id or 0
        positions -= pad + 1
    return positions if positions > 0 else None


def check_length(config: Any, length: int | None, name: str = "max_length") -> None:
    """Check that the model has positions for inputs of a length."""
    limit = get_position_limit(config)
    if length is not None and limit is not None and length > limit:
        raise HfBatError(
            f"{name} {length} is over the model's limit of {limit} tokens; give {limit} or less"
        )
