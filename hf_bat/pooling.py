"""Get sequence representations and the number of positions for models of all architectures.

The vectors do not depend on the amount and side of the padding.
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

# Names of the head's pooling in configurations. EuroBERT's "late" is the mean of the logits of all
# tokens.
_NAMED = {
    "cls": "cls",
    "bos": "cls",
    "first": "cls",
    "mean": "mean",
    "late": "mean",
    "last": "last",
}
# Decoders without a classifier called `score`, which the other decoders of transformers have.
_OTHER_DECODERS = ("ctrl", "modernbert-decoder")
# Attributes that store the wrapped module: in torch.compile, in parallel wrappers and DeepSpeed, in
# FSDP1 (where `module` is not a submodule), and in activation checkpointing.
_INNER = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# Attribute for the layer's input, which the hook stores.
_KEPT = "_hf_bat_kept_input"

# Model types with position ids that start after the id of the padding token.
_SHIFTED = (
    "camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip


def pool(
    hidden_states: torch.Tensor, attention_mask: torch.Tensor, pooling: str = "cls"
) -> torch.Tensor:
    """Pool token vectors (B, T, H) into vectors (B, H), float32 or float64, independent of padding.

    Args:
        hidden_states: Token vectors, shape (B, T, H).
        attention_mask: Mask that is 1 for tokens and 0 for padding, shape (B, T). The vectors of rows
            with only padding are zero.
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
    """Run a sequence classifier, and return its output and one vector per row, shape (B, H).

    `"cls"`, `"mean"`, `"max"` and `"last"` pool the last hidden layer; see `pool`. `"head_input"` is the
    input of the classifier's last linear layer. If the classifier applies that layer to every token, as
    decoders do, the input at the right-most token that is not padding is used, like in the classifier
    (for EuroBERT, the mean of all tokens). XLNet's head uses the right-most column, so inputs must be
    padded on the left.
    """
    check_choice("pooling", pooling, POOLINGS)
    core = unwrap(model)
    config = getattr(core, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise HfBatError(
            f"{type(core).__name__} is an encoder-decoder, which has no single last "
            "hidden layer; use an encoder or a decoder classifier"
        )
    layer: Any
    if pooling == "head_input":
        layer = find_head(model)
    elif getattr(config, "model_type", "") == "xlnet":
        # In training, its hidden_states[-1] does not include the dropout before the classifier.
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
            f"pooling {pooling!r} does not work with a torch.compile'd model that was already called with "
            "identical arguments; choose another pooling"
        )
    if pooling == "head_input":
        if tokens.dim() == 2:
            return outputs, tokens if tokens.dtype == torch.float64 else tokens.float()
        pooling = _get_own_pooling(core) or "last"
    return outputs, pool(tokens, batch["attention_mask"], pooling)


def _keep_input(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
    # A single function without a closure, because torch.compile recompiles for each new hook object.
    setattr(module, _KEPT, arguments[0])


def _make_compile_see_hooks(model: nn.Module) -> AbstractContextManager[Any]:
    """Make torch.compile check for added and removed hooks, which it does not do by default."""
    layers = _list_wrappers(model)
    if not any(hasattr(layer, "_orig_mod") or layer._compiled_call_impl for layer in layers):
        return nullcontext()
    import torch._dynamo.config

    return torch._dynamo.config.patch(skip_nnmodule_hook_guards=False)


def _list_wrappers(model: nn.Module) -> list[nn.Module]:
    """List the model and all modules it wraps (compiled, parallel, sharded, PEFT), outermost first."""
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
    """Return the Hugging Face model inside torch.compile, DDP, FSDP, DeepSpeed and PEFT wrappers."""
    return _list_wrappers(model)[-1]


def find_head(model: nn.Module) -> nn.Module:
    """Find the last linear layer of a sequence classifier, which outputs the logits.

    This is the last linear layer outside the backbone with one output per label, in order of
    definition. In a PEFT model, it is the active copy or the adapter's layer.
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
    """Yield the linear layers of a module in order of definition, with PEFT layers for wrapped ones."""
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
    """Return the pooling of the last hidden layer in the model's own classification head.

    Decoders need the last token. The first token has not seen any other token and is often the same for
    a row and its versions, so training would learn nothing.
    """
    return _get_own_pooling(unwrap(model)) or "cls"


def is_decoder(model: nn.Module) -> bool:
    """Return whether tokens only attend to the text before them."""
    core = unwrap(model)
    model_type = getattr(getattr(core, "config", None), "model_type", "")
    return hasattr(core, "score") or model_type in _OTHER_DECODERS


def _get_own_pooling(core: nn.Module) -> str | None:
    """Return the pooling of a model's head, or `None` if it is only defined in code."""
    if is_decoder(core):
        return "last"
    # ELECTRA and others also have a `summary_type`, but their classifier does not use it.
    key = "summary_type" if hasattr(core, "sequence_summary") else "classifier_pooling"
    return _NAMED.get(getattr(getattr(core, "config", None), key, None))  # type: ignore[arg-type]


def warn_about_head(model: nn.Module, pooling: str | None) -> None:
    """Warn if the pooling uses only one token, or if an untrained part of the head is frozen.

    PEFT trains and saves only `classifier` and `score` of a sequence classifier. Other parts of a head
    (DeBERTa's pooler, ModernBERT's head, XLNet's summary) keep their random initial weights.
    """
    if pooling == "cls" and is_decoder(model):
        logger.warning(
            "pooling='cls' uses the first token, which sees no other token in a decoder; 'last' "
            "(the default for this model), 'mean' or 'head_input' see the full text"
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
    """Return the maximum input length of a model in tokens, or `None` if it has no position embeddings.

    DeBERTa-v3, XLNet, and rotary models such as ModernBERT and Llama have none. They accept longer
    inputs than stated in their configuration.
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
    """Return the length in tokens from the configuration, whether or not the model enforces it."""
    # XLNet has no limit and uses -1.
    positions = max(0, getattr(config, "max_position_embeddings", None) or 0)
    if config.model_type in _SHIFTED:
        # MPNet has its padding at 1, contrary to its configuration.
        pad = 1 if config.model_type == "mpnet" else config.pad_token_id or 0
        positions -= pad + 1
    return positions if positions > 0 else None


def check_length(config: Any, length: int | None, name: str = "max_length") -> None:
    """Check that the model supports inputs of a given length."""
    limit = get_position_limit(config)
    if length is not None and limit is not None and length > limit:
        raise HfBatError(
            f"{name} {length} is over the model's limit of {limit} tokens; give {limit} or less"
        )
