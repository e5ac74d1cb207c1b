"""Tiny random classifiers for every supported architecture and a tokenizer, created without a network."""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertTokenizerFast,
)

VOCAB_SIZE = 1000
HIDDEN_SIZE = 32
_ENCODER = {"hidden_size": HIDDEN_SIZE, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 64, "max_position_embeddings": 160}  # fmt: skip
_DEBERTA = {**_ENCODER, "relative_attention": True, "max_relative_positions": 32,
            "position_biased_input": False, "pos_att_type": ["p2c", "c2p"]}  # fmt: skip
_DECODER = {**_ENCODER, "num_key_value_heads": 1}

# Architecture -> model type in transformers, and the settings that make it tiny.
_SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", _ENCODER),
    "roberta": ("roberta", _ENCODER),
    "electra": ("electra", {**_ENCODER, "embedding_size": 16}),
    "albert": ("albert", {**_ENCODER, "embedding_size": 16}),
    "distilbert": ("distilbert", {"dim": HIDDEN_SIZE, "n_layers": 2, "n_heads": 2,
                                  "hidden_dim": 64, "max_position_embeddings": 160}),
    "deberta-v2": ("deberta-v2", _DEBERTA),
    "deberta-v3": ("deberta-v2", {**_DEBERTA, "share_att_key": True, "position_buckets": 16,
                                  "norm_rel_ebd": "layer_norm"}),
    "modernbert": ("modernbert", {**_ENCODER, "global_attn_every_n_layers": 2,
                                  "local_attention": 16}),
    "xlnet": ("xlnet", {"d_model": HIDDEN_SIZE, "n_layer": 2, "n_head": 2, "d_inner": 64}),
    "gpt2": ("gpt2", {"n_embd": HIDDEN_SIZE, "n_layer": 2, "n_head": 2, "n_positions": 160}),
    "llama": ("llama", _DECODER),
    "qwen2": ("qwen2", _DECODER),
    "qwen3": ("qwen3", {**_DECODER, "head_dim": 16}),
}  # fmt: skip
ARCHITECTURES = tuple(_SHAPES)
# Other architectures with special heads.
_SHAPES |= {
    "ctrl": ("ctrl", {"n_embd": HIDDEN_SIZE, "n_layer": 2, "n_head": 2, "dff": 64,
                      "n_positions": 160}),
    "modernbert-decoder": ("modernbert-decoder", {**_ENCODER, "local_attention": 16}),
    "eurobert": ("eurobert", _DECODER),
}  # fmt: skip


def tiny_model(
    arch: str, num_labels: int = 3, dropout: float = 0.0, seed: int = 0, **options: Any
) -> Any:
    """Return a sequence classifier with 2 layers, 32 hidden units and random weights.

    Args:
        arch: One of `ARCHITECTURES`, or "ctrl", "modernbert-decoder" or "eurobert".
        num_labels: Number of labels.
        dropout: Value for all dropout rates.
        seed: Seed of the weights. The global random state is not changed.
        **options: Further options of the configuration.
    """
    model_type, shape = _SHAPES[arch]
    if model_type not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {model_type}")
    config = AutoConfig.for_model(
        model_type,
        num_labels=num_labels,
        initializer_range=0.2,  # larger than the default, so logits differ between inputs
        **{"vocab_size": VOCAB_SIZE, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3,
           "cls_token_id": 2, "sep_token_id": 3, **shape, **options},
    )  # fmt: skip
    for name, value in config.to_dict().items():
        is_dropout = "drop" in name and isinstance(value, (int, float))
        if is_dropout and not isinstance(value, bool):
            setattr(config, name, dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForSequenceClassification.from_config(config)


def tiny_masked_lm(seed: int = 0) -> Any:
    """Return a BERT masked language model with 1 layer, 32 hidden units and random weights."""
    config = AutoConfig.for_model("bert", vocab_size=VOCAB_SIZE, initializer_range=0.3,
                                  **{**_ENCODER, "num_hidden_layers": 1})  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForMaskedLM.from_config(config)


_WORDS = (
    "a the man woman child dog cat is are was not no in on at of and to with playing sleeping running "
    "standing sitting hot cold happy sad big large small little old young open closed good bad "
    "outside inside people girl boy eating walking rain snow day night black white fast slow"
)


def tiny_tokenizer(texts: Iterable[str] = (), padding_side: str = "right") -> Any:
    """Return a real fast WordPiece tokenizer with a vocabulary of at most `VOCAB_SIZE` pieces.

    The vocabulary contains all ASCII characters, so any ASCII text can be split; others are unknown.

    Args:
        texts: Texts with words to add to the vocabulary, lower-cased and in order, while there is room.
        padding_side: `"right"` or `"left"`.
    """
    characters = string.digits + string.ascii_lowercase + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]
    pieces += [f"##{character}" for character in characters]
    words = [word.strip(string.punctuation) for text in texts for word in text.lower().split()]
    pieces = list(dict.fromkeys([*pieces, *_WORDS.split(), *filter(None, words)]))[:VOCAB_SIZE]
    return BertTokenizerFast(
        vocab={piece: number for number, piece in enumerate(pieces)},
        do_lower_case=True,  # the default in some versions
        model_max_length=128,
        padding_side=padding_side,
    )
