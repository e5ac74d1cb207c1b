"""How many tokens a model has positions for, found out before the first long row is."""

from __future__ import annotations

from typing import Any

from hf_bat.errors import HfBatError

# Position numbers of these begin after the padding token's.
_SHIFTED = (
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "lilt",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)


def position_limit(config: Any) -> int | None:
    """The most tokens that a model has positions for.

    Args:
        config: the model's configuration.

    Returns:
        The number; None where the model has no table of positions (DeBERTa-v3, XLNet, rotary ones such as
        ModernBERT and Llama, which run on past the length that they name), or names none.

    Example:
        >>> from transformers import BertConfig, RobertaConfig
        >>> position_limit(BertConfig(max_position_embeddings=512))
        512
        >>> position_limit(RobertaConfig(max_position_embeddings=514, pad_token_id=1))
        512
    """
    return None if _is_relative(config) else named_limit(config)


def named_limit(config: Any) -> int | None:
    """The number of tokens that a model's configuration names, a limit or not; None where it names none."""
    # XLNet, which has no limit, says -1.
    positions = max(0, getattr(config, "max_position_embeddings", None) or 0)
    if config.model_type in _SHIFTED:
        # MPNet has its padding at 1 whatever the configuration says.
        pad = 1 if config.model_type == "mpnet" else config.pad_token_id or 0
        positions -= pad + 1
    return positions if positions > 0 else None


def check_length(config: Any, wanted: int | None, name: str = "max_length") -> None:
    """Refuse to cut texts at more tokens than the model has positions for.

    Args:
        config: the model's configuration.
        wanted: tokens after which an input is cut; None for a limit that nobody chose.
        name: the option, for the message.

    Raises:
        HfBatError: it is over the limit; the message says what is not.

    Example:
        >>> from transformers import BertConfig
        >>> check_length(BertConfig(max_position_embeddings=512), 128)
    """
    limit = position_limit(config)
    if wanted is not None and limit is not None and wanted > limit:
        raise HfBatError(
            f"{name} {wanted} is over the model's limit of {limit} tokens; give {limit} or less"
        )


def _is_relative(config: Any) -> bool:
    """Whether a model whose configuration names a number of positions has no table of them."""
    if getattr(config, "alibi", False):  # Falcon, as an option
        return True
    # Angles are computed for whatever position comes; ESM says so in a word.
    if getattr(config, "rope_parameters", None) or (
        getattr(config, "position_embedding_type", None) == "rotary"
    ):
        return True
    # DeBERTa of either version, where it does not add absolute positions too.
    return bool(
        getattr(config, "relative_attention", False)
        and not getattr(config, "position_biased_input", True)
    )
