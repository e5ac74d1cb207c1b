"""A length above the model's positions is an immediate error in training, attacks and certificates."""

import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model, tiny_tokenizer

from hf_bat.attack import Attack
from hf_bat.pooling import check_length, get_position_limit

# Architectures with position embeddings.
TABLES = ("bert", "roberta", "electra", "albert", "distilbert", "gpt2", "deberta")
SHIFTED = {"roberta": 159}  # in tiny_models: position 0 for padding, 1 for the first token


def forward(model, length):
    ids = torch.full((1, length), 7)
    with torch.no_grad():
        model(input_ids=ids, attention_mask=torch.ones_like(ids))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_limit_is_where_the_model_fails(arch):
    model = tiny_model(arch).eval()
    limit = get_position_limit(model.config)
    if arch not in TABLES:
        assert limit is None
        forward(model, 400)
        return
    assert limit == SHIFTED.get(arch, 160)
    forward(model, limit)
    with pytest.raises((IndexError, RuntimeError)):
        forward(model, limit + 1)


@pytest.mark.parametrize(
    "model_type, options, limit",
    [
        ("mpnet", {"max_position_embeddings": 514, "pad_token_id": 3}, 512),
        ("ibert", {"max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ("ctrl", {"n_positions": 256}, 256),
        ("deberta", {"relative_attention": True, "position_biased_input": True}, 512),
        ("falcon", {"alibi": True}, None),
        ("falcon", {"max_position_embeddings": 64}, None),  # rotary
        ("esm", {"max_position_embeddings": 64, "pad_token_id": 1}, 62),
        ("esm", {"position_embedding_type": "rotary"}, None),
        ("bloom", {}, None),
    ],
)
def test_limits_by_configuration(model_type, options, limit):
    from transformers import AutoConfig

    assert get_position_limit(AutoConfig.for_model(model_type, **options)) == limit


def test_a_length_within_the_limit_is_valid():
    config = tiny_model("roberta").config
    check_length(config, 159)
    check_length(config, None)
    check_length(tiny_model("deberta-v3").config, 5000)
    Attack("antonym", tiny_model("deberta-v3"), tiny_tokenizer(), max_length=300)
