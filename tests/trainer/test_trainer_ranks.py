"""Several processes train, log, evaluate and predict like a single process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rank_cases import CASES, UNEVEN, run_cases, run_defended, run_uneven
from training_helpers import largest_difference, weights_of
from transformers import AutoModelForSequenceClassification

from hf_bat.saved_perturbations import load_canonicalizer

SCRIPT = Path(__file__).parent.parent / "helpers" / "rank_cases.py"


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory):
    return run_cases(tmp_path_factory.mktemp("one"), 1)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
               "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
               "--main_process_port", "0", str(SCRIPT), str(folder)]  # fmt: skip
    # accelerate only starts several processes itself with --multi_gpu (--cpu needs MPI). The script
    # restricts them to the CPU, and therefore to gloo.
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("case", CASES)
def test_two_ranks_are_one(one_rank, two_ranks, case):
    alone, (rank0, rank1) = one_rank[case], (ranks[case] for ranks in two_ranks)
    assert largest_difference(rank0["weights"], rank1["weights"]) == 0
    assert largest_difference(alone["weights"], rank0["weights"]) < 2e-6
    assert alone["adversarial"] == rank0["adversarial"] == rank1["adversarial"]
    if case == "a2t":
        assert alone["adversarial"][0] == ["epoch-0.jsonl", "epoch-1.jsonl"]
        outcomes = [[row[1] for row in rows] for rows in alone["adversarial"][1:]]
        assert all(len(found) == 33 and "succeeded" in found for found in outcomes)
    logs = [[e for e in run["logs"] if "loss" in e] for run in (alone, rank0)]
    assert len(logs[0]) == len(logs[1]) == 6
    for ours, theirs in zip(*logs, strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert theirs[key] == pytest.approx(value, abs=1e-5), key
    other = {"runtime", "samples_per_second", "steps_per_second"}
    for key, value in alone["metrics"].items():
        if key.removeprefix("eval_") not in other:
            assert rank0["metrics"][key] == pytest.approx(value, abs=1e-5), key
    assert rank0["logits"].shape == (11, 3)
    assert torch.allclose(alone["logits"], rank0["logits"], atol=1e-5)


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_a_gradient_that_is_not_finite_on_one_rank_stops_both(two_ranks):
    messages = [ranks["stopped"] for ranks in two_ranks]
    assert all("gradient" in message and "step 2" in message for message in messages)


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_two_ranks_save_one_defended_model(tmp_path, quiet_environment):
    """transformers 5.23 calls the saving hook on every rank, and all ranks write to the same folder."""
    alone = run_defended(tmp_path / "one", 1)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, str(SCRIPT), str(tmp_path), "defended"],
        env=quiet_environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    several = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)]
    assert [ranks["ranks"] for ranks in several] == [2, 2]
    for ranks in several:
        assert largest_difference(alone["weights"], ranks["weights"]) < 2e-6
    folders = ("model", "out/checkpoint-2", "out/checkpoint-4")
    for name in folders:
        here, there = tmp_path / name, tmp_path / "one" / name
        files = [{path.name for path in folder.iterdir()} for folder in (here, there)]
        # A checkpoint contains the random state of each rank.
        of_ranks = {f"rng_state{rank}.pth" for rank in ("", "_0", "_1")}
        assert files[0] - of_ranks == files[1] - of_ranks
        assert {"canonical.json.gz", "perturbations.json"} <= files[0]
        assert load_canonicalizer(here).describe() == load_canonicalizer(there).describe()
        model = AutoModelForSequenceClassification.from_pretrained(here)
        assert all(torch.isfinite(weight).all() for weight in model.parameters())
    assert largest_difference(alone["weights"], weights_of(model)) < 2e-6


@pytest.fixture(scope="module")
def uneven_on_one_rank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uneven")
    return {rows: run_uneven(folder / str(rows), 1, rows) for rows in UNEVEN}


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_any_number_of_ranks_counts_each_row_once(
    uneven_on_one_rank, tmp_path, ranks, quiet_environment
):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc_per_node={ranks}", str(SCRIPT), str(tmp_path), "uneven"]
    done = subprocess.run(
        command, env=quiet_environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    several = torch.load(tmp_path / "rank0.pt", weights_only=False)
    for rows in UNEVEN:
        one, more = uneven_on_one_rank[rows], several[rows]
        assert (one["ranks"], more["ranks"]) == (1, ranks)
        assert largest_difference(one["weights"], more["weights"]) < 2e-6
        assert largest_difference(more["weights"], more["resumed"]) < 1e-7
        assert one["eval_loss"] == pytest.approx(more["eval_loss"], abs=1e-5)
        for ours, theirs in zip(one["logs"], more["logs"], strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)
