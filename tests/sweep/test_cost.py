"""What runs cost: steps, sequences of training, evaluation and attacks, and seconds."""

import pytest

from hf_bat.commands.sweep import row_counts
from hf_bat.sweep import make_grid, make_run
from hf_bat.sweep.cost import dry_run, estimate
from hf_bat.sweep.workload import (
    A2T_FOUND,
    A2T_QUERIES,
    QUERIES,
    planned_batches,
    planned_steps,
    work,
)

BASE = {"model_name_or_path": "some/model", "task_name": "snli"}
ATTACKS = {**BASE, "attacks": ["antonym", "synonym", "negation"], "max_attack_samples": 500}


def test_steps_are_counted_as_the_trainer_counts_them(tmp_path):
    assert planned_steps({"max_steps": 7}, None) == 7
    assert planned_steps({}, None) is None
    flags = {
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "gradient_accumulation_steps": 2,
    }
    assert planned_steps(flags, 33) == 10 and planned_steps(flags, 33, processes=2) == 6
    assert "?" in dry_run(make_grid(BASE, {}), tmp_path, {}, [])


def test_no_epoch_costs_an_evaluation_alone():
    rows = {"train": 64, "validation": 30}
    untrained = work({**BASE, "num_train_epochs": 0, "method": "triplet"}, rows)
    assert untrained == work({**BASE, "max_steps": 4}, rows) - 4 * 8 == 10
    # Evaluation steps given as a share of no steps.
    work({**BASE, "num_train_epochs": 0, "eval_strategy": "steps", "eval_steps": 0.5}, rows)


def test_costs_count_every_batch_that_gradients_are_accumulated_over():
    """Four batches of 8 to a step are the work of one batch of 32, and so many times that of one of 8."""
    flags = {**BASE, "num_train_epochs": 2, "per_device_train_batch_size": 8}
    one, four = make_run(flags), make_run({**flags, "gradient_accumulation_steps": 4})
    wide = make_run({**flags, "per_device_train_batch_size": 32})
    rows = {"train": 64}
    assert estimate(one, rows, [], 4.0) == estimate(four, rows, [], 4.0) == 16.0
    assert estimate(wide, rows, [], 4.0) == 16.0
    assert planned_steps(four.arguments, 72) == 6
    assert planned_batches(four.arguments, 72) == planned_batches(one.arguments, 72) == 18
    cut = {**flags, "gradient_accumulation_steps": 4, "max_steps": 5}
    assert planned_batches(cut, 72) == 9 + 4 + 4, "the last step of the first epoch has one batch"
    assert planned_batches(cut, None) == 20
    assert work({**flags, "method": "triplet", "num_fickle": 2}, {"train": 72}) == 18 * 8 * 4


def test_a_clean_epoch_has_no_versions():
    flags = {**BASE, "method": "pairwise", "num_train_epochs": 3, "per_device_train_batch_size": 8}
    assert work(flags, {"train": 80}) == 80 * 3 * 3
    assert work({**flags, "clean_epochs": 1}, {"train": 80}) == 80 * (1 + 3 + 3)


def test_a2t_costs_its_attacks_and_adversarial_rows():
    """It was counted as normal training."""
    flags = {**BASE, "method": "a2t", "num_train_epochs": 4, "attack_share": 0.5}
    attack, found = 40 * (1 + A2T_QUERIES / 3), 40 * A2T_FOUND
    assert work(flags, {"train": 80}) == pytest.approx(4 * 80 + 3 * attack + 3 * found)
    rarely = {**flags, "attack_interval": 2, "clean_epochs": 0}
    assert work(rarely, {"train": 80}) == pytest.approx(4 * 80 + 2 * attack + 4 * found)
    cheap = {**flags, "attack_budget": 3}
    assert work(cheap, {"train": 80}) == pytest.approx(4 * 80 + 3 * 40 * 2 + 3 * found)
    assert work({**flags, "num_train_epochs": 1}, {"train": 80}) == 80


def test_evaluations_and_their_attacks_are_counted():
    """Half of the time of a small run was left out of every estimate."""
    rows = {"train": 3200, "validation": 2000}
    flags = {**ATTACKS, "num_train_epochs": 1}
    queries = sum(QUERIES.values())
    once = (2000 + 500 * queries) / 3
    assert work(flags, rows) == pytest.approx(3200 + once)
    both = {**rows, "validation_mm": 300}  # fewer than are attacked
    assert work(flags, both) == pytest.approx(3200 + once + (300 + 300 * queries) / 3)
    every = {**flags, "max_attack_samples": None}
    assert work(every, rows) == pytest.approx(3200 + 2000 * (1 + queries) / 3)
    assert work(every, rows, 2) == pytest.approx(work(every, rows) / 2)
    assert work({**flags, "attacks": ["paper-antonym"]}, rows) == pytest.approx(
        3200 + (2000 + 500 * QUERIES["antonym"]) / 3
    )
    dear = work({**flags, "attacks": ["textfooler-wordnet"]}, rows)
    assert dear == work({**flags, "attacks": ["synonym"]}, rows)


@pytest.mark.parametrize(
    ("changes", "plain", "attacked"),
    [
        ({"eval_strategy": "epoch"}, 0, 3),  # the last epoch's stands for the one after training
        ({"eval_strategy": "epoch", "attack_every": "epoch"}, 0, 3),
        ({"eval_strategy": "epoch", "attack_every": "end"}, 3, 1),
        ({"eval_strategy": "epoch", "load_best_model_at_end": True}, 0, 4),
        ({"eval_strategy": "steps", "eval_steps": 50}, 0, 7),
        ({"eval_strategy": "steps", "eval_steps": 50, "attack_every": "end"}, 6, 1),
        ({"eval_strategy": "steps", "eval_steps": 0.5}, 0, 3),
        ({"eval_strategy": "steps", "logging_steps": 100}, 0, 4),
    ],
)
def test_each_evaluation_of_a_training_is_counted(changes, plain, attacked):
    flags = {**ATTACKS, "num_train_epochs": 3, "per_device_train_batch_size": 32, **changes}
    queries = attacked * 200 * sum(QUERIES.values())  # all rows, fewer than may be attacked
    expected = 300 * 32 + ((plain + attacked) * 200 + queries) / 3
    assert work(flags, {"train": 3200, "validation": 200}) == pytest.approx(expected)


def test_an_attack_that_nothing_is_said_of_has_the_default_number_of_rows():
    from hf_bat import BalancedTrainingArguments
    from hf_bat.sweep import workload

    assert BalancedTrainingArguments("out").max_attack_samples == workload._MAX_ATTACKED


@pytest.mark.parametrize("accumulated", [1, 4])
def test_seconds_are_measured_by_what_a_run_forwarded(accumulated):
    flags = {**BASE, "max_steps": 10, "gradient_accumulation_steps": 4}
    measured = {
        "arguments": {**flags, "gradient_accumulation_steps": accumulated},
        "steps": 10,
        "seconds": 8.0,
        "train": {"resumed": False},
    }
    assert estimate(make_run(flags), {}, [measured], None) == 8.0 * 4 / accumulated
    other = {**measured, "arguments": {**flags, "num_fickle": 3}}
    assert estimate(make_run(flags), {}, [other], None) is None


def test_rows_are_counted_by_role(tmp_path):
    for name, n in (("t", 9), ("v", 7), ("mm", 5)):
        (tmp_path / f"{name}.csv").write_text("premise,hypothesis,label\n" + "A.,B.,0\n" * n)
    files = {"train_file": str(tmp_path / "t.csv"), "validation_file": str(tmp_path / "v.csv")}
    mnli = {**BASE, "task_name": "mnli"}

    def count(hub=None, **arguments):
        run = make_run(arguments)
        return row_counts([run], hub)[run.key]

    assert count(**mnli, **files) == {"train": 9, "validation": 7}
    found = count(**mnli, **files, validation_mm_file=str(tmp_path / "mm.csv"), max_eval_samples=6)
    assert found == {"train": 9, "validation": 6, "validation_mm": 5}
    assert count(**BASE) == {"train": None, "validation": None}
    hub = {"snli": {"train": 50, "validation": 30}}
    assert count(hub, **BASE, max_train_samples=40) == {"train": 40, "validation": 30}
    own = {"model_name_or_path": "m", "columns": ["premise"], "class_names": ["a", "b"], **files}
    assert count(**own) == {"train": 9, "validation": 7}


def test_a_dry_run_says_what_it_counts(tmp_path):
    runs = make_grid({**ATTACKS, "max_steps": 32}, {"seed": [1, 2]})
    text = dry_run(runs, tmp_path, {run.key: {"validation": 2000} for run in runs}, ["seed"], 1.0)
    assert "training, evaluation and attacks" in text and "without" not in text
