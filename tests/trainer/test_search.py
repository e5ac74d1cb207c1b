"""Trials of a hyperparameter search: each starts with the original method and options."""

import pytest
from tiny_models import tiny_model
from training_helpers import SUBSTITUTES, made_rows, make_trainer

from hf_bat import HfBatError

pytest.importorskip("optuna", reason='needs pip install "hf_bat[search]"')


def run_search(folder, trials, **options):
    """Return the trainer, the best trial, and the arguments during each trial's only step."""
    defaults = {"method": "triplet", "max_steps": 1, "eval_strategy": "steps"}
    trainer = make_trainer(
        folder, made_rows(16), **{**defaults, **options},
        trainer_options={
            "model_init": lambda: tiny_model("bert"), "eval_dataset": made_rows(4, seed=1),
            "synonyms": SUBSTITUTES,
            "compute_metrics": lambda _: {"accuracy": trainer.args.learning_rate},
        },
    )  # fmt: skip
    steps = []
    log = trainer.log

    def watch(logs, *args):
        if "loss" in logs:
            steps.append(dict(vars(trainer.args)))
        log(logs, *args)

    trainer.log = watch

    def space(trial):
        values = trials[trial.number]
        return {n: trial.suggest_categorical(f"{n} {v}", [v]) for n, v in values.items()}

    try:
        return trainer, trainer.hyperparameter_search(space, n_trials=len(trials)), steps
    except HfBatError as error:
        return trainer, error, steps


def test_each_trial_starts_from_the_given_options(tmp_path):
    trials = [
        {"method": "pairwise", "alpha": 0.5, "learning_rate": 0.25},
        {"learning_rate": 0.5},
        {"method": "likelihood", "learning_rate": 0.125},
    ]
    trainer, best, steps = run_search(tmp_path, trials, margin=0.7)
    assert [(s["method"], s["margin"], s["alpha"], s["beta"]) for s in steps] == [
        ("pairwise", 0.7, 0.5, 1.2),
        ("triplet", 0.7, None, None),
        ("likelihood", 0.7, 1.0, 1.0),
    ]
    # The default objective is the highest robustness, or accuracy.
    assert (best.run_id, best.objective) == ("1", 0.5)
    args = trainer.args
    assert (args.method, args.margin, args.alpha, args.contrastive_weight) == (
        "triplet", 0.7, None, 1.0,
    )  # fmt: skip


def test_a_trial_that_does_not_fit_names_the_option_and_leaves_the_arguments(tmp_path):
    trials = [{"method": "pairwise", "contrastive_weight": 2.0}]
    trainer, error, _ = run_search(tmp_path, trials)
    assert "contrastive_weight=2.0" in str(error)
    assert (trainer.args.method, trainer.args.contrastive_weight) == ("triplet", 1.0)


def test_a_run_after_a_search_attacks_as_its_own_method_does(tmp_path):
    trainer, _, _ = run_search(tmp_path, [{"method": "normal"}], method="a2t", clean_epochs=0)
    assert not list(tmp_path.glob("*adversarial"))
    trainer.train()
    assert len(list(tmp_path.glob("*adversarial/epoch-0.jsonl"))) == 1
