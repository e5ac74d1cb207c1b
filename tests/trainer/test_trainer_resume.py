"""A run that stops within an epoch and resumes has bit-identical results to an uninterrupted run."""

import accelerate
import pytest
import torch
from tiny_models import tiny_model
from training_helpers import made_rows, make_trainer, weights_of

from hf_bat import HfBatError

WORKERS = {
    "0 workers": {},
    "2 workers": {"dataloader_num_workers": 2},
    "persistent workers": {
        "dataloader_num_workers": 2,
        "dataloader_persistent_workers": True,
        "dataloader_prefetch_factor": 2,
    },
}


def make(folder, workers, method="triplet", **options):
    return make_trainer(
        folder,
        made_rows(24),
        model=tiny_model("bert", dropout=0.1),
        method=method,
        gradient_accumulation_steps=2,
        per_device_train_batch_size=2,
        num_train_epochs=3,
        lr_scheduler_type="linear",
        save_strategy="steps",
        save_steps=9,  # of 18, within the second epoch
        **WORKERS[workers],
        **options,
    )


def losses(trainer):
    kept = (
        "step", "loss", "loss_ce", "loss_triplet", "loss_counterfactual", "fickle_valid", "grad_norm",
    )  # fmt: skip
    return [{k: e[k] for k in kept if k in e} for e in trainer.state.log_history if "loss" in e]


def stop_workers(trainer):
    """The garbage collector waits for seconds if it has to stop persistent workers."""
    loader = trainer.callback_handler.train_dataloader
    iterator = getattr(loader, "base_dataloader", loader)._iterator
    if iterator is not None:
        iterator._shutdown_workers()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    trainer = make(tmp_path_factory.mktemp("whole"), "0 workers", weight_warmup_steps=12)
    trainer.train()
    return trainer


@pytest.mark.parametrize("workers", WORKERS)
def test_resume_inside_an_epoch_is_bit_identical(tmp_path, whole, workers):
    first = make(tmp_path, workers, weight_warmup_steps=12)
    first.train()
    # Neither the draws nor dropout depend on the workers.
    assert losses(first) == losses(whole)
    resumed = make(tmp_path, workers, weight_warmup_steps=12)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-9"))
    assert losses(resumed) == losses(first) and len(losses(resumed)) == 18
    ours, theirs = weights_of(resumed.model), weights_of(first.model)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for trainer in (first, resumed):
        stop_workers(trainer)


@pytest.mark.parametrize("evaluates", [False, True])
def test_persistent_workers_give_the_weights_of_none_also_between_evaluations(tmp_path, evaluates):
    """Also resume between two epochs, when the generators are restored before the loader starts."""
    options = {"eval_strategy": "steps", "eval_steps": 3} if evaluates else {}
    trainers = []
    for workers in ("0 workers", "persistent workers"):
        trainer = make(
            tmp_path / workers,
            workers,
            **options,
            trainer_options={"eval_dataset": made_rows(6, seed=5)},
        )
        trainer.args.save_steps = 6
        trainer.state.save_steps = 6
        trainer.train()
        trainers.append(trainer)
    resumed = make(
        tmp_path / "persistent workers",
        "persistent workers",
        **options,
        trainer_options={"eval_dataset": made_rows(6, seed=5)},
    )
    resumed.train(resume_from_checkpoint=str(tmp_path / "persistent workers" / "checkpoint-6"))
    alone = weights_of(trainers[0].model)
    for trainer in (trainers[1], resumed):
        others = weights_of(trainer.model)
        assert all(torch.equal(alone[name], others[name]) for name in alone)
        stop_workers(trainer)


def test_labeled_pairs_resume_bit_identical(tmp_path):
    first = make(tmp_path, "2 workers", method="counterfactual", held_out_pairs=0.2)
    first.train()
    resumed = make(tmp_path, "0 workers", method="counterfactual", held_out_pairs=0.2)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-9"))
    assert losses(resumed) == losses(first)
    assert all("loss_counterfactual" in entry for entry in losses(first))


def test_rows_grouped_by_length_resume_bit_identical(tmp_path):
    """The order of the second epoch does not depend on the random numbers drawn before."""
    options = {"train_sampling_strategy": "group_by_length"}
    first = make(tmp_path, "0 workers", **options)
    first.train()
    resumed = make(tmp_path, "2 workers", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-9"))
    assert losses(resumed) == losses(first)
    ours, theirs = weights_of(resumed.model), weights_of(first.model)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_resume_at_the_end_of_a_clean_epoch_goes_on_with_the_next_ones_draws(tmp_path):
    options = {"clean_epochs": 1, "method": "safer"}
    first = make(tmp_path, "0 workers", **options, max_steps=12)
    first.args.save_steps = 6
    first.state.save_steps = 6
    first.train()
    resumed = make(tmp_path, "0 workers", **options, max_steps=12)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert losses(resumed) == losses(first)
    assert ["fickle_valid" in entry for entry in losses(first)] == [False] * 6 + [True] * 6


def test_an_accelerate_that_skips_other_rows_resumes_only_between_epochs(tmp_path, monkeypatch):
    # With 1.6 the tests above fail.
    for steps, allowed in ((9, False), (6, True)):
        options = {"max_steps": 10, "method": "normal", "report_to": "none"}
        first = make(tmp_path / str(steps), "0 workers", **options)
        first.args.save_steps = first.state.save_steps = steps
        first.train()
        monkeypatch.setattr(accelerate, "__version__", "1.6.0")
        resumed = make(tmp_path / str(steps), "0 workers", **options)
        checkpoint = str(tmp_path / str(steps) / f"checkpoint-{steps}")
        if allowed:
            resumed.train(resume_from_checkpoint=checkpoint)
            assert losses(resumed) == losses(first)
        else:
            with pytest.raises(HfBatError, match="accelerate>=1.7"):
                resumed.train(resume_from_checkpoint=checkpoint)
        monkeypatch.undo()


def test_each_epoch_draws_anew_and_a_second_run_starts_over(tmp_path):
    trainer = make(tmp_path, "0 workers")
    trainer.args.save_strategy = "no"
    seen = []
    collate = trainer.data_collator.__class__.__call__

    class Watching(trainer.data_collator.__class__):
        def __call__(self, rows):
            batch = collate(self, rows)
            for place, idx in enumerate(batch["idx"].tolist()):
                ids = batch["fickle_input_ids"][place, 0]
                seen.append((self.epoch, idx, tuple(ids[ids != 0].tolist())))
            return batch

    made = trainer._make_collator

    def make_watching(**overrides):
        collator = made(**overrides)
        collator.__class__ = Watching
        return collator

    trainer._make_collator = make_watching
    trainer.train()
    first, by_epoch = list(seen), {}
    for epoch, idx, ids in first:
        by_epoch.setdefault(epoch, {})[idx] = ids
    assert sorted(by_epoch) == [0, 1, 2] and all(len(rows) == 24 for rows in by_epoch.values())
    assert sum(by_epoch[0][i] != by_epoch[1][i] for i in range(24)) > 8
    seen.clear()
    trainer.train()
    assert sorted(seen) == sorted(first)
