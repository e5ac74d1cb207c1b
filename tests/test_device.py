"""Training, evaluation and attacks disable cuDNN for torch's attention and restore the setting."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
import torch
from tiny_models import tiny_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from training_helpers import ANTONYMS, SUBSTITUTES, made_rows, make_trainer, tokenizer_for_made_rows

from hf_bat import device
from hf_bat.attack import Attack
from hf_bat.device import disable_cudnn_attention
from hf_bat.evaluation.representations import collect

enabled = torch.backends.cuda.cudnn_sdp_enabled


@pytest.fixture(params=[True, False], ids=["on", "off"])
def before(request):
    found = enabled()
    torch.backends.cuda.enable_cudnn_sdp(request.param)
    yield request.param
    torch.backends.cuda.enable_cudnn_sdp(found)


def watched():
    """Return a model and a list of the settings at each pass through its attention."""
    model, seen = tiny_model("bert", seed=3), []
    attention = model.base_model.encoder.layer[0].attention
    attention.register_forward_pre_hook(lambda *_: seen.append(enabled()))
    return model, seen


def test_an_error_inside_restores_the_setting(before):
    with pytest.raises(ValueError), disable_cudnn_attention():
        assert not enabled()
        raise ValueError
    assert enabled() == before


def test_uses_that_overlap_in_threads_restore_it_when_the_last_one_ends(before):
    with ThreadPoolExecutor(1) as pool, ExitStack() as first:
        first.enter_context(disable_cudnn_attention())
        second = ExitStack()
        pool.submit(second.enter_context, disable_cudnn_attention()).result()
        first.close()
        assert not enabled()
        pool.submit(second.close).result()
    assert enabled() == before


def test_a_user_who_allows_no_other_kernel_keeps_cudnns():
    with sdpa_kernel([SDPBackend.CUDNN_ATTENTION]), disable_cudnn_attention():
        assert enabled()
    with sdpa_kernel([SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH]), disable_cudnn_attention():
        assert not enabled()


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}], ids=["plain", "again"])
def test_training(tmp_path, before, options):
    model, seen = watched()
    trainer = make_trainer(tmp_path, made_rows(8), model=model, method="triplet", **options)
    # A trainer first checks whether padding affects the model.
    assert not any(seen)
    seen.clear()
    trainer.train()
    passes = 2 if options else 1  # checkpointing repeats each forward pass in the backward pass
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


def test_representations(tmp_path, before):
    model, seen = watched()
    trainer = make_trainer(tmp_path, made_rows(8), model=model, method="triplet")
    collect(trainer, made_rows(24))
    assert seen and not any(seen)
    assert enabled() == before


@pytest.mark.parametrize(
    ("features", "is_warned"),
    [("flags: avx2", True), ("flags: avx2 avx512_bf16", False), (None, False)],
)
def test_bf16_on_a_cpu_without_it_is_warned_about(
    tmp_path, monkeypatch, caplog, features, is_warned
):
    path = tmp_path / "cpuinfo"
    if features is not None:
        path.write_text(features)
    monkeypatch.setattr(device, "_CPU", path)
    make_trainer(tmp_path, made_rows(4), bf16=True)
    warnings = [record for record in caplog.records if "bfloat16" in record.message]
    assert len(warnings) == int(is_warned)
