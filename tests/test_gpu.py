"""Training, attacks and certificates on a GPU have the same results as on a CPU.

These tests are skipped without a GPU. To run them: make test-all PYTEST_ARGS=tests/test_gpu.py
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_models import tiny_model
from training_helpers import (
    ANTONYMS,
    SUBSTITUTES,
    SYNONYMS,
    largest_difference,
    logged,
    made_rows,
    make_trainer,
    tokenizer_for_made_rows,
    weights_of,
)

from hf_bat.attack import Attack
from hf_bat.certificate.certificate import certify

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
    pytest.mark.xdist_group("gpu"),
]
SCRIPT = Path(__file__).parent / "helpers" / "gpu_ranks.py"
CASES = {
    "normal": {"method": "normal", "class_weights": [0.5, 1.0, 3.0]},
    "safer": {"method": "safer"},
    "pairwise": {"method": "pairwise", "num_obstinate": 2},
    "triplet": {"method": "triplet", "pooling": "head_input"},
    "likelihood": {"method": "likelihood", "alpha": 0.7},
    "a2t": {
        "method": "a2t",
        "clean_epochs": 0,
        "attack_share": 0.8,
        "trainer_options": {"synonyms": SUBSTITUTES},
    },
}
RANK_CASES = ("normal", "triplet", "likelihood")
# Entries that each case logs in addition to the loss.
VALID = ("fickle_valid", "obstinate_valid")
DISTANCES = ("fickle_distance", "obstinate_distance")
LOGGED = {
    "normal": {"loss_ce"},
    "safer": {"loss_ce", "fickle_valid"},
    "pairwise": {"loss_ce", "loss_fickle", "loss_obstinate", *DISTANCES, *VALID},
    "triplet": {"loss_ce", "loss_triplet", *DISTANCES, *VALID},
    "likelihood": {"loss_ce", "loss_ce_fickle", "loss_obstinate", "label_drop", *VALID},
    "a2t": {"loss_ce", "loss_ce_fickle", "fickle_valid"},
}


@pytest.fixture(autouse=True)
def _exact_products():
    """Compute products in float32, as on a CPU."""
    was = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = was


def run(folder, gpu, case, **options):
    trainer = make_trainer(
        folder,
        made_rows(16),
        model=tiny_model("bert", seed=3),
        **{
            "num_train_epochs": 2,
            "gradient_accumulation_steps": 2,
            "optim": "sgd",
            "learning_rate": 0.1,
            "use_cpu": not gpu,
            "report_to": "none",
            **CASES[case],
            **options,
        },
    )
    trainer.train()
    assert next(trainer.model.parameters()).device.type == ("cuda" if gpu else "cpu")
    return trainer


def on_cpu(weights):
    return {name: value.float().cpu() for name, value in weights.items()}


@pytest.mark.parametrize("case", CASES)
def test_a_run_ends_where_the_processors_ends(tmp_path, case):
    ours, theirs = (run(tmp_path / str(gpu), gpu, case) for gpu in (True, False))
    weights = [on_cpu(weights_of(trainer.model)) for trainer in (ours, theirs)]
    assert largest_difference(*weights) < 1e-4
    names = {name for components in LOGGED.values() for name in components}
    assert {name for name in names if logged(theirs, name)} == LOGGED[case]
    for key in ("loss", *LOGGED[case]):
        # Distances are a few thousandths here.
        assert logged(ours, key) == pytest.approx(logged(theirs, key), rel=1e-2, abs=1e-5), key


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("case", CASES)
def test_mixed_precision_logs_the_losses_of_float32(tmp_path, case, precision):
    options = {"learning_rate": 0.0, "num_train_epochs": 1}
    mixed = run(tmp_path / "mixed", True, case, **options, **{precision: True})
    exact = run(tmp_path / "exact", True, case, **options)
    assert logged(mixed, "loss") != logged(exact, "loss"), "it computes in half precision"
    for key in ("loss", *LOGGED[case]):
        assert logged(mixed, key) == pytest.approx(logged(exact, key), rel=0.05, abs=0.05), key


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns(tmp_path, precision):
    options = {"num_train_epochs": 12, "optim": "adamw_torch", "learning_rate": 3e-3}
    trainer = run(tmp_path, True, "triplet", **options, **{precision: True})
    losses = logged(trainer, "loss")
    assert all(torch.isfinite(value).all() for value in trainer.model.state_dict().values())
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])


@pytest.mark.parametrize("case", ["triplet", "likelihood"])
def test_resume_with_dropout_is_bit_identical(tmp_path, case):
    options = {
        "save_strategy": "steps",
        "save_steps": 3,
        "num_train_epochs": 3,
        "weight_warmup_steps": 4,
    }

    def trainer():
        return make_trainer(
            tmp_path, made_rows(16), model=tiny_model("bert", dropout=0.1), use_cpu=False,
            gradient_accumulation_steps=2, **options, **CASES[case],
        )  # fmt: skip

    whole = trainer()
    whole.train()
    resumed = trainer()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert logged(resumed, "loss") == logged(whole, "loss")
    assert largest_difference(weights_of(whole.model), weights_of(resumed.model)) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_checkpointing": True},
        {"torch_compile": True},
        {"dataloader_num_workers": 2, "dataloader_pin_memory": True},
        {"optim": "adamw_torch_fused"},
        {"max_grad_norm": 0.0},
    ],
    ids=lambda options: next(iter(options)),
)
def test_settings_of_the_trainer_change_nothing(tmp_path, options):
    base = {"optim": "adamw_torch", "learning_rate": 1e-3, "max_grad_norm": 1e6}
    plain = run(tmp_path / "plain", True, "triplet", **base)
    other = run(tmp_path / "other", True, "triplet", **{**base, **options})
    assert logged(other, "loss") == pytest.approx(logged(plain, "loss"), rel=2e-3)


def test_evaluate_attacks_and_measures_alike(tmp_path):
    figures = []
    for gpu in (True, False):
        trainer = make_trainer(
            tmp_path,
            made_rows(8),
            model=tiny_model("bert", seed=3),
            use_cpu=not gpu,
            attacks=["antonym", "synonym"],
            eval_distances=True,
            trainer_options={"synonyms": SUBSTITUTES},
        )
        found = trainer.evaluate(made_rows(40, seed=9))
        timings = ("second", "runtime", "preparation_time")
        figures.append({k: v for k, v in found.items() if not any(word in k for word in timings)})
    assert figures[0].keys() == figures[1].keys() and figures[0]["eval_synonym_asr"] > 0
    for key, value in figures[1].items():
        assert figures[0][key] == pytest.approx(value, abs=1e-4), key


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_attacks_find_the_same(dtype):
    rows = made_rows(60, seed=9)
    reports = [
        Attack("synonym", tiny_model("bert", seed=3), tokenizer_for_made_rows(), "snli",
               synonyms=SUBSTITUTES, device=device, dtype=dtype).run(rows)
        for device in ("cuda", "cpu")
    ]  # fmt: skip
    outcomes = [[row["outcome"] for row in report.rows["synonym"]] for report in reports]
    assert outcomes[1].count("succeeded") > 3
    different = sum(one != other for one, other in zip(*outcomes, strict=True))
    assert different <= (0 if dtype == "float32" else 3)


def test_certificates_count_the_same_votes():
    rows = made_rows(20, seed=9)
    votes = [
        [
            (row["outcome"], row.get("votes"))
            for row in certify(
                tiny_model("bert", seed=3), rows, "snli", synonyms=SYNONYMS, samples=50,
                tokenizer=tokenizer_for_made_rows(), device=device, progress=False,
            ).rows
        ]
        for device in ("cuda", "cpu")
    ]  # fmt: skip
    assert votes[0] == votes[1]


def test_the_trainers_model_is_attacked_where_it_is(tmp_path):
    trainer = run(tmp_path, True, "normal", num_train_epochs=1)
    attack = Attack("antonym", trainer.model, trainer.processing_class, "snli", antonyms=ANTONYMS)
    attack.run(made_rows(20))
    assert attack.model.device.type == "cuda"


def ranks(folder, processes, *words):
    card = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": card}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc_per_node={processes}", str(SCRIPT), str(folder), *words]
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _, errors = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # including the workers, which would keep the GPU
        raise
    assert process.returncode == 0, errors[-3000:]
    return torch.load(folder / "ends.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("version", [1, 2])
def test_a_sharded_model_trains_as_a_whole_one(tmp_path, version):
    sharded = ranks(tmp_path, 1, "fsdp", str(version))
    assert sharded["wrapped"]
    for case, losses in sharded["losses"].items():
        whole = run(tmp_path / case, True, case, max_steps=4, gradient_accumulation_steps=1)
        assert losses == pytest.approx(logged(whole, "loss"), rel=1e-3), case


@pytest.mark.slow
def test_two_processes_on_a_gpu_train_as_one(tmp_path):
    """The processes share the GPU, so they use gloo, because NCCL needs one GPU per process."""
    both = ranks(tmp_path, 2, "gloo")
    for case, losses in both["losses"].items():
        alone = run(tmp_path / case, True, case, max_steps=4, gradient_accumulation_steps=1)
        assert losses == pytest.approx(logged(alone, "loss"), rel=1e-3), case


def attention_operators(work):
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as found:
        work()
    return {event.key for event in found.key_averages() if "scaled_dot_product" in event.key}


def test_no_step_waits_for_a_plan_of_its_shape(tmp_path):
    """cuDNN needs a tenth of a second to plan each new shape, and every step has a new shape."""
    query = torch.ones(1, 2, 8, 16, device="cuda", dtype=torch.bfloat16)
    mask = torch.ones(1, 1, 8, 8, device="cuda", dtype=torch.bool)
    plain = attention_operators(lambda: F.scaled_dot_product_attention(query, query, query, mask))
    if not any("cudnn" in name for name in plain):
        pytest.skip("this GPU's attention does not go to cuDNN anyway")
    options = {"bf16": True, "method": "triplet", "num_train_epochs": 2, "use_cpu": False}
    trainer = make_trainer(tmp_path, made_rows(16), model=tiny_model("bert", seed=3), **options)
    used = attention_operators(trainer.train)
    assert used and not any("cudnn" in name for name in used)
    attack = Attack("synonym", trainer.model, trainer.processing_class, "snli",
                    synonyms=SUBSTITUTES, dtype="bfloat16")  # fmt: skip
    used = attention_operators(lambda: attack.run(made_rows(20, seed=9)))
    assert used and not any("cudnn" in name for name in used)
