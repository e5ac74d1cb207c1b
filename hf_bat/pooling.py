"""One vector a sequence: from the last hidden layer, or from what feeds the classifier's last layer.

A `Representation` watches a forward pass of a Hugging Face sequence classifier and then gives the
vectors; what it gives depends neither on how much padding a batch has nor on its side.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from hf_bat.errors import HfBatError

logger = logging.getLogger(__name__)

TOKEN_POOLINGS = ("cls", "mean", "max", "last")
POOLINGS = (*TOKEN_POOLINGS, "head_input")

# What configurations call the way in which a head sums the tokens up. EuroBERT's "late" is the mean of
# every token's logits.
_NAMED = {
    "cls": "cls",
    "bos": "cls",
    "first": "cls",
    "mean": "mean",
    "late": "mean",
    "last": "last",
}
# Decoders whose classifier is not called `score`, as it is in the others of transformers.
_OTHER_DECODERS = ("ctrl", "modernbert-decoder")


def pool(
    hidden_states: torch.Tensor, attention_mask: torch.Tensor, pooling: str = "cls"
) -> torch.Tensor:
    """One vector a row from one vector a token; padding of any amount and side changes nothing.

    Args:
        hidden_states: (B, T, H).
        attention_mask: (B, T), 1 at tokens and 0 at padding.
        pooling: `"cls"`, the first token that is no padding; `"last"`, the right-most such token;
            `"mean"` or `"max"`, over the tokens that are no padding.

    Returns:
        (B, H), in float32, or float64 if given that; zeros for a row that is all padding.

    Raises:
        HfBatError: unknown pooling, or shapes that do not fit.

    Example:
        >>> hidden = torch.tensor([[[9.0], [1.0], [4.0]]])
        >>> mask = torch.tensor([[0, 1, 1]])
        >>> [pool(hidden, mask, name).item() for name in TOKEN_POOLINGS]
        [1.0, 2.5, 4.0, 4.0]
    """
    if pooling not in TOKEN_POOLINGS:
        raise HfBatError(f"unknown pooling {pooling!r}; known: {', '.join(TOKEN_POOLINGS)}")
    if attention_mask is None or attention_mask.shape != hidden_states.shape[:2]:
        given = "none" if attention_mask is None else tuple(attention_mask.shape)
        raise HfBatError(
            f"pooling needs an attention mask of shape {tuple(hidden_states.shape[:2])}, one number "
            f"a token of the hidden states; got {given}"
        )
    is_token = attention_mask.bool()
    is_empty = ~is_token.any(-1, keepdim=True)
    if hidden_states.dtype != torch.float64:
        hidden_states = hidden_states.float()
    if pooling in ("cls", "last"):
        vectors = hidden_states[torch.arange(len(is_token)), _token_index(is_token, pooling)]
    elif pooling == "mean":
        tokens = hidden_states.masked_fill(~is_token[..., None], 0.0)
        vectors = tokens.sum(1) / is_token.sum(-1, keepdim=True).clamp(min=1)
    else:
        vectors = hidden_states.masked_fill(~is_token[..., None], float("-inf")).amax(1)
    return vectors.masked_fill(is_empty, 0.0)


def _token_index(is_token: torch.Tensor, pooling: str) -> torch.Tensor:
    """Where the first or right-most token of each row is: (B,)."""
    marks = is_token.int()
    if pooling == "cls":
        return marks.argmax(-1)
    return marks.shape[-1] - 1 - marks.flip(-1).argmax(-1)


class Representation:
    """What stands for a sequence when distances are measured.

    Args:
        pooling: `"cls"`, `"mean"`, `"max"` or `"last"` of the last hidden layer, as in `pool`; or
            `"head_input"`, what feeds the classifier's last linear layer. A classifier that applies
            that layer to every token, as decoders do, is read at the right-most token that is no
            padding, as it reads itself (EuroBERT: the mean of all). XLNet's head reads the right-most
            column: pad it left.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1,
        ...                     num_attention_heads=2, intermediate_size=8, num_labels=3)
        >>> model = BertForSequenceClassification(config)
        >>> ids = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]])
        >>> representation = Representation("mean")
        >>> with representation.watch(model):
        ...     outputs = model(input_ids=ids, attention_mask=ids.ne(0),
        ...                     output_hidden_states=representation.needs_hidden_states)
        >>> representation(outputs, ids.ne(0)).shape
        torch.Size([2, 8])
    """

    def __init__(self, pooling: str = "cls"):
        if pooling not in POOLINGS:
            raise HfBatError(f"unknown pooling {pooling!r}; known: {', '.join(POOLINGS)}")
        self.pooling = pooling
        self._watched: nn.Module | None = None
        self._head_pooling = "last"
        self._captured: torch.Tensor | None = None

    @property
    def needs_hidden_states(self) -> bool:
        """What to call the model with as `output_hidden_states`; give it even where it is False."""
        return self.pooling != "head_input"

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Stand by while `model`, wrapped or not, is called once inside the `with` block.

        Raises:
            HfBatError: an encoder-decoder; for `head_input` also a model in which no last linear
                layer is found, or one spread over devices by `nn.DataParallel`.
        """
        self._captured = None
        core = unwrap(model)
        if getattr(getattr(core, "config", None), "is_encoder_decoder", False):
            raise HfBatError(
                f"{type(core).__name__} is an encoder-decoder, whose sequences have no one last "
                "hidden layer; use an encoder or a decoder classifier"
            )
        self._head_pooling = _own_pooling(core) or "last"
        self._watched = self._module_to_watch(model, core)
        if self._watched is None:
            yield
            return
        hook = self._watched.register_forward_pre_hook(_keep_input)
        try:
            with _heeding_hooks(model):
                yield
        finally:
            hook.remove()
            self._captured = self._watched.__dict__.pop(_KEPT, None)

    def __call__(self, outputs: Any, attention_mask: torch.Tensor) -> torch.Tensor:
        """The vectors of the forward pass just watched.

        Args:
            outputs: what the model returned.
            attention_mask: (B, T), as the model was given it.

        Returns:
            (B, H), in float32 or float64.

        Raises:
            HfBatError: the pass was not watched, or `output_hidden_states` was not asked for.
        """
        tokens = self._captured if self._watched is not None else _last_hidden_state(outputs)
        if tokens is None:
            raise HfBatError(
                f"pooling {self.pooling!r} saw no forward pass: call the model once inside watch(model), "
                "with output_hidden_states=needs_hidden_states (a torch.compile'd model that was "
                "called with the very same arguments before ignores being watched)"
            )
        if self.pooling != "head_input":
            return pool(tokens, attention_mask, self.pooling)
        if tokens.dim() == 3:
            return pool(tokens, attention_mask, self._head_pooling)
        return tokens if tokens.dtype == torch.float64 else tokens.float()

    def _module_to_watch(self, model: nn.Module, core: nn.Module) -> nn.Module | None:
        if self.pooling == "head_input":
            return find_head(model)
        if getattr(getattr(core, "config", None), "model_type", "") == "xlnet":
            # In training its hidden_states[-1] lacks the dropout that the classifier sees.
            return core.sequence_summary  # type: ignore[return-value]
        return None


# One function for all, which keeps the input on the watched module: torch.compile compiles anew for
# each new function or object that it finds in a hook.
_KEPT = "_hf_bat_kept_input"


def _keep_input(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
    setattr(module, _KEPT, arguments[0])


def _heeding_hooks(model: nn.Module) -> AbstractContextManager[Any]:
    """Have torch.compile notice that a hook has come or gone; by default it does not look."""
    layers = _wrappers(model)
    if not any(hasattr(layer, "_orig_mod") or layer._compiled_call_impl for layer in layers):
        return nullcontext()
    import torch._dynamo.config

    return torch._dynamo.config.patch(skip_nnmodule_hook_guards=False)


def _last_hidden_state(outputs: Any) -> torch.Tensor | None:
    states = getattr(outputs, "hidden_states", None)
    return None if states is None else states[-1]


# What wrappers call the module in them: torch.compile, the parallel ones and DeepSpeed, FSDP1 (whose
# `module` is no submodule), activation checkpointing.
_INNER = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


def _wrappers(model: nn.Module) -> list[nn.Module]:
    """The model and what it wraps, outermost first: compiled, parallel, sharded, PEFT."""
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
    """The Hugging Face model inside any of torch.compile, DDP, FSDP, DeepSpeed and PEFT."""
    return _wrappers(model)[-1]


def find_head(model: nn.Module) -> nn.Module:
    """The last linear layer of a sequence classifier: the one that gives the logits.

    It is the last of the linear layers outside the backbone, by order of definition, with as many
    outputs as there are labels. In a PEFT model it is the copy in use, or the adapter's layer.

    Args:
        model: a classifier of `transformers`, wrapped or not.

    Returns:
        An `nn.Linear`, or PEFT's layer around one.

    Raises:
        HfBatError: there is none, or the model is an `nn.DataParallel` over several devices.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1,
        ...                     num_attention_heads=2, intermediate_size=8, num_labels=3)
        >>> find_head(BertForSequenceClassification(config))
        Linear(in_features=8, out_features=3, bias=True)
    """
    for layer in _wrappers(model):
        if isinstance(layer, nn.DataParallel) and len(layer.device_ids) > 1:
            raise HfBatError(
                "head_input cannot be read from nn.DataParallel's copies of a model; launch one "
                "process a device (torchrun, accelerate launch) or choose another pooling"
            )
    core = unwrap(model)
    backbone = core._modules.get(getattr(core, "base_model_prefix", ""))
    labels = getattr(getattr(core, "config", None), "num_labels", None)
    found = [
        layer
        for layer in _linear_layers(core, backbone)
        if labels is None or layer.out_features == labels
    ]
    if not found:
        raise HfBatError(
            f"no last linear layer found in {type(core).__name__} for pooling 'head_input'; "
            "choose another: cls, mean, max or last"
        )
    return found[-1]


def _linear_layers(module: nn.Module, skipped: nn.Module | None) -> Iterator[Any]:
    """Linear layers below a module, in order of definition, PEFT's layer rather than the one in it."""
    if isinstance(module, nn.Linear) or isinstance(getattr(module, "base_layer", None), nn.Linear):
        yield module
        return
    copies: Any = module._modules.get("modules_to_save")
    if copies is not None and "original_module" in module._modules:
        active: Any = module
        name = next(iter(active.active_adapters), None)
        in_use = not active.disable_adapters and name in copies
        yield from _linear_layers(copies[name] if in_use else active.original_module, skipped)
        return
    for child in module.children():
        if child is not skipped:
            yield from _linear_layers(child, skipped)


def default_pooling(model: nn.Module) -> str:
    """The pooling of the last hidden layer that the model's own classification head uses.

    At its first token a decoder sees that token alone: often the same for a row and its versions, so
    that nothing would be learnt.

    Args:
        model: a classifier of `transformers`, wrapped or not.

    Returns:
        `"last"` for a decoder, what the configuration names for those that have a choice (ModernBERT,
        EuroBERT, XLNet), and `"cls"` for all others.

    Example:
        >>> from transformers import GPT2Config, GPT2ForSequenceClassification
        >>> config = GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
        >>> default_pooling(GPT2ForSequenceClassification(config))
        'last'
    """
    return _own_pooling(unwrap(model)) or "cls"


def is_decoder(model: nn.Module) -> bool:
    """Whether a token sees none of the text after it."""
    core = unwrap(model)
    model_type = getattr(getattr(core, "config", None), "model_type", "")
    return hasattr(core, "score") or model_type in _OTHER_DECODERS


def _own_pooling(core: nn.Module) -> str | None:
    """How a model's head sums up the tokens; None where nothing but its code says so."""
    if is_decoder(core):
        return "last"
    # ELECTRA and others have a `summary_type` too that their classifier does not read.
    key = "summary_type" if hasattr(core, "sequence_summary") else "classifier_pooling"
    return _NAMED.get(getattr(getattr(core, "config", None), key, None))  # type: ignore[arg-type]


def warn_frozen_head(model: nn.Module) -> None:
    """Warn when a PEFT model leaves an untrained part of its classification head frozen.

    PEFT trains and saves only `classifier` and `score` of a sequence classifier; other parts of a head
    (DeBERTa's pooler, ModernBERT's head, XLNet's summary) start untrained and stay so.
    """
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
