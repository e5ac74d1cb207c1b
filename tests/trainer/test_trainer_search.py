"""Trials of a hyper-parameter search: each starts from the arguments given, and so does what follows."""

from dataclasses import fields

import pytest
import torch
from tiny_models import tiny_model
from training_helpers import SUBSTITUTES, made_rows, make_trainer

from hf_bat import HfBatError

pytest.importorskip("optuna", reason='needs pip install "hf_bat[search]"')


def searched(folder, trials, model_init=lambda: tiny_model("bert"), **options):
    """A trainer, a function that makes the trials (dicts), and the arguments of each step by then."""
    defaults = {"method": "triplet", "max_steps": 1, "eval_strategy": "steps"}
    trainer = make_trainer(
        folder, made_rows(16), **{**defaults, **options},
        trainer_options={
            "model_init": model_init, "eval_dataset": made_rows(4, seed=1), "synonyms": SUBSTITUTES,
            "compute_metrics": lambda _: {"accuracy": trainer.args.learning_rate},
        },
    )  # fmt: skip
    steps = []
    log = trainer.log

    def watch(logs, *args):
        if "loss" in logs:
            steps.append({**vars(trainer.args), "batch": trainer._train_batch_size})
        log(logs, *args)

    trainer.log = watch

    def search():
        def space(trial):
            values = trials[trial.number]
            return {n: trial.suggest_categorical(f"{n} {v}", [v]) for n, v in values.items()}

        return trainer.hyperparameter_search(space, n_trials=len(trials), backend="optuna")

    return trainer, search, steps


def test_a_trial_starts_without_what_the_one_before_set_of_transformers_own_arguments(tmp_path):
    first = {"method": "pairwise", "learning_rate": 0.5, "seed": 7, "data_seed": 5,
             "per_device_train_batch_size": 8, "max_grad_norm": 2.0, "warmup_steps": 1}  # fmt: skip
    states = []

    def model_init():
        states.append(torch.random.get_rng_state())
        return tiny_model("bert")

    trials = [first, {"method": "normal"}, {"method": "normal", "seed": 9}]
    trainer, search, steps = searched(tmp_path, trials, model_init)
    given = vars(trainer.args).copy()
    states.clear()
    search()
    found = [[step[name] for name in first] for step in steps]
    plain = [given[name] for name in first]
    assert plain[1:3] == [1e-3, 3] and given["data_seed"] is None
    assert found[0] == list(first.values())
    assert found[1] == ["normal", *plain[1:]]
    assert found[2] == ["normal", plain[1], 9, *plain[3:]]
    assert [step["batch"] for step in steps] == [8, 4, 4]
    # Whatever seed a trial names or the one before has named, its model is made from the one given.
    assert len(states) == 3 and all(state.equal(states[0]) for state in states)


def test_the_arguments_given_are_back_after_a_search(tmp_path):
    trials = [{"learning_rate": 0.25}, {"method": "likelihood", "learning_rate": 0.5, "seed": 7,
               "data_seed": 6, "per_device_train_batch_size": 8, "alpha": 0.3}]  # fmt: skip
    trainer, search, steps = searched(tmp_path, trials)
    given = {f.name: getattr(trainer.args, f.name) for f in fields(trainer.args)}
    best = search()
    assert (best.run_id, best.objective) == ("1", 0.5)
    assert set(best.hyperparameters.values()) == set(trials[1].values())
    assert {name: getattr(trainer.args, name) for name in given} == given
    # So that the best ones, set over them as transformers shows, are all that a last run has of them.
    trainer.args.learning_rate = 0.125
    trainer.train()
    last = steps[-1]
    assert len(steps) == 3 and (last["method"], last["learning_rate"]) == ("triplet", 0.125)
    assert (last["batch"], last["seed"], last["alpha"]) == (4, 3, None)
    assert trainer.accelerator.dataloader_config.data_seed is None


def test_the_arguments_given_are_back_after_a_search_that_fails(tmp_path):
    trials = [{"learning_rate": 0.5, "method": "pairwise", "contrastive_weight": 2.0}]
    trainer, search, _ = searched(tmp_path, trials)
    with pytest.raises(HfBatError, match="contrastive_weight=2.0 does not apply"):
        search()
    assert (trainer.args.learning_rate, trainer.args.method) == (1e-3, "triplet")
    assert (trainer.args.contrastive_weight, trainer.args.beta) == (1.0, None)


def test_a_run_after_a_search_attacks_as_its_own_method_does(tmp_path):
    trainer, search, _ = searched(tmp_path, [{"method": "normal"}], method="a2t", clean_epochs=0)
    search()
    assert not (tmp_path / "_adversarial").exists()
    trainer.train()
    assert (tmp_path / "_adversarial" / "epoch-0.jsonl").exists()
