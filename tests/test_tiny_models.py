"""The tiny tokenizer that many tests use behaves like a real one."""

import torch
from tiny_models import VOCAB_SIZE, tiny_model, tiny_tokenizer


def test_tokenizer_knows_words_and_falls_back_on_characters():
    tokenizer = tiny_tokenizer(["Two zebras graze."])
    assert tokenizer.tokenize("the zebras xq") == ["the", "zebras", "x", "##q"]
    assert tokenizer("a man", "a dog")["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    assert len(tokenizer) <= VOCAB_SIZE
    assert tokenizer.unk_token_id not in tokenizer('Any ASCII: "text" (1999)!')["input_ids"]


def test_model_is_seeded_and_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = tiny_model("bert"), tiny_model("bert")
    assert torch.equal(before, torch.get_rng_state())
    weights = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
