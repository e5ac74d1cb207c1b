"""A run on several ranks has the same report as on one, and no rank waits for a failed rank."""

import json
import os
import subprocess
import sys

import pytest
import torch
from attack_helpers import ANTONYMS, hashed, made_rows, result

from hf_bat import cli
from hf_bat.attack import Attack
from hf_bat.attack.ranks import leave
from hf_bat.lexicon import SubstitutionTable

HELPERS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "helpers")
PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from attack_helpers import ANTONYMS, hashed, made_rows, result
from hf_bat.attack import Attack, CallableModel
from hf_bat.attack.ranks import leave, rank_and_world
from hf_bat.errors import HfBatError
rank, _ = rank_and_world()  # nothing says that there is no GPU
folder, broken = sys.argv[2], sys.argv[3] == "broken"
def model(pairs):
    if broken and rank == 1:
        return [[float("nan")] * 3 for _ in pairs]
    return hashed(pairs)
if sys.argv[3] != "unnamed":
    model = CallableModel(model, name="model")
report = None
try:
    for name in ("antonym", "negation"):
        found = Attack(name, model, antonyms=ANTONYMS).run(made_rows(41, seed=5), f"{folder}/rows.jsonl")
        report = found if report is None else report | found
    said = [result(report), {n: report.about["cost"][n]["queries"] for n in ("antonym", "negation")}]
except HfBatError as error:
    said = str(error)
with open(f"{folder}/{rank}.json", "w") as file:
    json.dump(said, file)
leave()
"""


def launch(world, folder, mode, environment):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command += [f"--nproc_per_node={world}", program, HELPERS, folder, mode]
    done = subprocess.run(command, env=environment, timeout=240, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_two_ranks_with_uneven_shares_report_as_one_and_resume_each_other(
    tmp_path, quiet_environment
):
    rows = made_rows(41, seed=5)
    one = Attack("antonym", hashed, antonyms=ANTONYMS).run(rows)
    one |= Attack("negation", hashed).run(rows)
    cost = {name: one[name]["queries"] for name in ("antonym", "negation")}
    expected = json.loads(json.dumps(result(one)))
    path = tmp_path / "rows.jsonl"
    # A run on three ranks was killed. Each rank had written a part with an incomplete last line.
    for rank in range(3):
        Attack("antonym", labelled(), antonyms=ANTONYMS).run(rows, path)
        lines = path.read_text().splitlines(keepends=True)
        path.unlink()
        (tmp_path / f"rows.jsonl.rank{rank}").write_text("".join(lines[rank:12:3]) + '{"idx"')
    for reported, asked in launch(2, tmp_path, "sound", quiet_environment):
        assert reported == expected
        # All queries of both ranks. Some of the antonym queries were already answered.
        assert asked["negation"] == cost["negation"] and 0 < asked["antonym"] < cost["antonym"]
    assert [p.name for p in tmp_path.glob("rows.jsonl*")] == ["rows.jsonl"]
    assert len(path.read_text().splitlines()) == 82


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_a_function_that_uses_its_rank_resumes_its_rows(tmp_path, quiet_environment):
    first = launch(2, tmp_path, "unnamed", quiet_environment)
    again = launch(2, tmp_path, "unnamed", quiet_environment)
    assert [reported for reported, _ in first] == [reported for reported, _ in again]
    assert all(asked == {"antonym": 0, "negation": 0} for _, asked in again)


def labelled():
    """Return `hashed` with the same name as the model in the program."""
    from hf_bat.attack import CallableModel

    return CallableModel(hashed, name="model")


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_no_rank_waits_for_one_that_failed(tmp_path, quiet_environment):
    first, second = launch(2, tmp_path, "broken", quiet_environment)
    assert "failed on rank 1" in first and "NaN" in first
    assert "NaN" in second


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="threads cannot be slowed down here")
def test_leaving_does_not_wait_for_a_thread_that_waits_for_the_interpreter(
    tmp_path, quiet_environment
):
    command = [sys.executable, os.path.join(HELPERS, "leave_case.py")]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), tmp_path, "15"], env=quiet_environment, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    try:
        for process in ranks:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors.decode()[-2000:]
    finally:
        for process in ranks:
            process.kill()


@pytest.mark.parametrize("given, closed", [(None, True), (["lexicon"], False)])
def test_the_command_closes_the_group_when_its_work_is_done(tmp_path, monkeypatch, given, closed):
    """Otherwise, gloo's threads can abort the process when Python shuts down."""
    table = tmp_path / "table.json"
    SubstitutionTable({"a": ["b"]}).save(table)
    arguments = ["lexicon", "info", str(table)]
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        monkeypatch.setattr("sys.argv", ["hf-bat", "lexicon", "info", str(tmp_path / "absent")])
        assert cli.main() == 2 and torch.distributed.is_initialized(), "others may be at work"
        monkeypatch.setattr("sys.argv", ["hf-bat", *arguments])
        # If called from Python, the program continues.
        assert cli.main(None if given is None else arguments) == 0
        assert torch.distributed.is_initialized() is not closed
        leave()
        leave()  # and repeating it has no effect
        assert not torch.distributed.is_initialized()
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
