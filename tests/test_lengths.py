"""A length over the model's positions is refused before anything runs, by trainer, attack and certificate."""

import pytest
import torch
from tiny_models import ARCHITECTURES, tiny_model, tiny_tokenizer
from training_helpers import made_rows, make_arguments, tokenizer_for_made_rows

from hf_bat import BalancedTrainer, PerturbationCollator, certify
from hf_bat.attack import Attack
from hf_bat.errors import HfBatError
from hf_bat.lengths import check_length, get_position_limit

# Arches without a table of positions, the rotary ones among them.
TABLES = ("bert", "roberta", "electra", "albert", "distilbert", "gpt2", "deberta")
SHIFTED = {"roberta": 159}  # positions 0 is the padding's in tiny_models, and 1 the first token's


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


def test_check_length_says_what_to_do():
    config = tiny_model("roberta").config
    check_length(config, 159)
    check_length(config, None)
    with pytest.raises(
        HfBatError, match="^max_length 160 is over .* 159 tokens; give 159 or less$"
    ):
        check_length(config, 160)
    check_length(tiny_model("deberta-v3").config, 5000)


def trainer_of(folder, collator=None, **options):
    return BalancedTrainer(
        tiny_model("bert"), make_arguments(folder, **options), collator, made_rows(8),
        processing_class=tokenizer_for_made_rows(), task="snli",
    )  # fmt: skip


def test_the_trainer_refuses_it_before_training(tmp_path):
    with pytest.raises(HfBatError, match="^max_seq_length 161 is over the model's limit of 160"):
        trainer_of(tmp_path, max_seq_length=161)
    collator = PerturbationCollator(
        tokenizer_for_made_rows(), ("premise", "hypothesis"), max_length=161
    )
    with pytest.raises(HfBatError, match="^your data_collator's max_length 161 is over"):
        trainer_of(tmp_path, collator)
    trainer = trainer_of(tmp_path, max_seq_length=160)
    trainer.args.max_seq_length = 200  # as a hyper-parameter search sets it
    with pytest.raises(HfBatError, match="^max_seq_length 200 is over"):
        trainer.train()


def test_attack_and_certificate_refuse_it():
    rows, synonyms = made_rows(2), {"man": ["guy"]}
    with pytest.raises(HfBatError, match="^max_length 160 is over the model's limit of 159"):
        Attack("antonym", tiny_model("roberta"), tiny_tokenizer(), max_length=160)
    with pytest.raises(HfBatError, match="^max_length 161 is over the model's limit of 160"):
        certify(
            tiny_model("bert"),
            rows,
            "snli",
            tokenizer=tiny_tokenizer(),
            synonyms=synonyms,
            max_length=161,
        )
    Attack("antonym", tiny_model("deberta-v3"), tiny_tokenizer(), max_length=300)
