"""Training, evaluation and attacks keep torch's attention off cuDNN, and leave the setting as it was."""

import pytest
import torch
from tiny_models import tiny_model
from training_helpers import ANTONYMS, SUBSTITUTES, made_rows, make_trainer, tokenizer_for_made_rows

from hf_bat.attack import Attack
from hf_bat.attention import without_cudnn_attention

enabled = torch.backends.cuda.cudnn_sdp_enabled


@pytest.fixture(params=[True, False], ids=["on", "off"])
def before(request):
    torch.backends.cuda.enable_cudnn_sdp(request.param)
    yield request.param
    torch.backends.cuda.enable_cudnn_sdp(True)


def watched():
    """A model, and the setting at each pass through its attention."""
    model, seen = tiny_model("bert", seed=3), []
    attention = model.base_model.encoder.layer[0].attention
    attention.register_forward_pre_hook(lambda *_: seen.append(enabled()))
    return model, seen


def test_what_fails_inside_leaves_it_as_it_was(before):
    with pytest.raises(ValueError), without_cudnn_attention():
        assert not enabled()
        raise ValueError
    assert enabled() == before


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}], ids=["plain", "again"])
def test_training(tmp_path, before, options):
    model, seen = watched()
    trainer = make_trainer(tmp_path, made_rows(8), model=model, method="triplet", **options)
    trainer.train()
    passes = 2 if options else 1  # checkpointing runs each forward pass again in the backward one
    assert len(seen) == passes * trainer.state.global_step and not any(seen)
    assert enabled() == before


def test_evaluation_with_attacks_and_distances(tmp_path, before):
    model, seen = watched()
    trainer = make_trainer(
        tmp_path,
        made_rows(8),
        model=model,
        attacks=["antonym", "synonym"],
        eval_distances=True,
        trainer_options={"synonyms": SUBSTITUTES},
    )
    trainer.evaluate(made_rows(12, seed=9))
    assert len(seen) > 4 and not any(seen)
    assert enabled() == before


def test_an_attack(before):
    model, seen = watched()
    attack = Attack("antonym", model, tokenizer_for_made_rows(), "snli", antonyms=ANTONYMS)
    attack.run(made_rows(20, seed=9))
    assert seen and not any(seen)
    assert enabled() == before
