"""The number of positions of a model, checked before the first long row fails."""

from __future__ import annotations

from typing import Any

from hf_bat.errors import HfBatError

# Model types whose position ids begin after the padding token's id.
_SHIFTED = (
    "camembert", "data2vec-text", "esm", "ibert", "lilt", "longformer", "luke", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip


def get_position_limit(config: Any) -> int | None:
    """Return the maximum input length of a model in tokens.

    Args:
        config: Configuration of the model.

    Returns:
        The length; `None` if the model has no table of positions (DeBERTa-v3, XLNet, and rotary ones such
        as ModernBERT and Llama, which accept more than the length in their configuration).

    Example:
        >>> from transformers import BertConfig, RobertaConfig
        >>> get_position_limit(BertConfig(max_position_embeddings=512))
        512
        >>> get_position_limit(RobertaConfig(max_position_embeddings=514, pad_token_id=1))
        512
    """
    return None if _has_no_position_table(config) else get_named_limit(config)


def get_named_limit(config: Any) -> int | None:
    """Return the length in tokens that a configuration names, whether or not the model enforces it."""
    # XLNet, which has no limit, says -1.
    positions = max(0, getattr(config, "max_position_embeddings", None) or 0)
    if config.model_type in _SHIFTED:
        # MPNet has its padding at 1 whatever the configuration says.
        pad = 1 if config.model_type == "mpnet" else config.pad_token_id or 0
        positions -= pad + 1
    return positions if positions > 0 else None


def check_length(config: Any, length: int | None, name: str = "max_length") -> None:
    """Raise an error if inputs would be longer than the model has positions for.

    Args:
        config: Configuration of the model.
        length: Maximum input length in tokens; `None` is always valid.
        name: Option that sets it, for the message.

    Raises:
        HfBatError: The length is over the model's limit.

    Example:
        >>> from transformers import BertConfig
        >>> check_length(BertConfig(max_position_embeddings=512), 128)
    """
    limit = get_position_limit(config)
    if length is not None and limit is not None and length > limit:
        raise HfBatError(
            f"{name} {length} is over the model's limit of {limit} tokens; give {limit} or less"
        )


def _has_no_position_table(config: Any) -> bool:
    """Tell whether positions are computed instead of looked up in a table."""
    return bool(
        getattr(config, "alibi", False)  # an option of Falcon
        or getattr(config, "rope_parameters", None)
        or getattr(config, "position_embedding_type", None) == "rotary"  # ESM
        # DeBERTa of both versions, unless it adds absolute positions too.
        or (
            getattr(config, "relative_attention", False)
            and not getattr(config, "position_biased_input", True)
        )
    )
