"""Two ranks in DeepSpeed train like one process without it. Skipped if DeepSpeed is not installed.

`pip install deepspeed` needs torch first: `DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed`. On a
CPU it compiles a C++ extension in the first run.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rank_cases import run_in_deepspeed
from safetensors.torch import load_file
from training_helpers import largest_difference

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
SCRIPT = Path(__file__).parent.parent / "helpers" / "rank_cases.py"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return folder, run_in_deepspeed(folder, 1, 0)


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_two_ranks_in_deepspeed_train_and_resume_as_one_process(
    plain, tmp_path, quiet_environment, stage
):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
         str(SCRIPT), str(tmp_path), "deepspeed", str(stage)],
        env={**quiet_environment, "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)]
    folder, alone = plain
    for method, one in alone.items():
        assert ranks[0][method]["wrapped"] and not one["wrapped"]
        both = ranks[0][method]["logs"]
        for key in ("loss", "loss_ce", "grad_norm"):
            expected = [entry[key] for entry in one["logs"]]
            assert [entry[key] for entry in both] == pytest.approx(expected, rel=1e-4), key
        expected = load_file(folder / method / "whole" / "model.safetensors")
        for name in ("whole", "resumed"):
            trained = load_file(tmp_path / method / name / "model.safetensors")
            assert largest_difference(expected, trained) < 1e-5, (method, name)
