"""A gradient that is not finite stops the run, even if the loss is finite."""

import pytest
import torch
from training_helpers import logged, made_rows, make_trainer, weights_of

from hf_bat import HfBatError


def poisoned(folder, call=2, value=float("inf"), **options):
    """A trainer with one backward pass that results in a gradient that is not finite."""
    defaults = {"method": "triplet", "num_train_epochs": 1}
    trainer = make_trainer(folder, made_rows(16), **{**defaults, **options})
    calls = []

    def poison(gradient):
        calls.append(1)
        return gradient * value if len(calls) == call else gradient

    trainer.model.classifier.weight.register_hook(poison)
    return trainer


def stopped(trainer):
    """Return the error message of a run that stops."""
    with pytest.raises(HfBatError) as raised:
        trainer.train()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def is_finite(model):
    return all(torch.isfinite(value).all() for value in weights_of(model).values())


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_the_run_stops_before_the_weights_change_and_the_checkpoint_stays(tmp_path, value):
    trainer = poisoned(
        tmp_path, value=value, save_strategy="steps", save_steps=1, save_total_limit=1
    )
    message = stopped(trainer)
    assert "gradient" in message and "step 2" in message
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-1"]
    kept = type(trainer.model).from_pretrained(tmp_path / "checkpoint-1")
    assert is_finite(kept) and is_finite(trainer.model)
    now, then = weights_of(trainer.model), weights_of(kept)
    assert all(torch.equal(now[name], then[name]) for name in then)


@pytest.mark.parametrize("options", [{"max_steps": 2}, {"max_steps": 2, "max_grad_norm": 0.0}])
def test_the_last_step_is_looked_at_too_clipped_or_not(tmp_path, options):
    trainer = poisoned(tmp_path, **options)
    assert "step 2" in stopped(trainer)
    assert is_finite(trainer.model)


def test_a_batch_without_row_ids_is_stopped_too(tmp_path):
    rows = [
        {"input_ids": [2, 5 + i, 3], "attention_mask": [1, 1, 1], "label": i % 3} for i in range(8)
    ]
    options = {"trainer_options": {"task": None, "synonyms": None, "antonyms": None}}
    trainer = make_trainer(tmp_path, rows, num_train_epochs=1, **options)
    trainer.model.classifier.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(HfBatError, match="at step 1"):
        trainer.train()


def test_a_scaler_that_skips_such_steps_is_left_to_it(tmp_path):
    """Simulate fp16, which detects a scale that is too large in this way."""
    trainer = poisoned(tmp_path)
    trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    trainer.train()
    assert not torch.tensor(logged(trainer, "grad_norm")[1]).isfinite()
    assert trainer.accelerator.scaler.get_scale() == 2.0, "it has seen it"
    assert trainer.state.global_step == 4 and is_finite(trainer.model)
