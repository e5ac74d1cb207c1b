"""A run resumes from the last complete checkpoint, reports skipped ones, and keeps it on a full disk."""

import json
import logging
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from full_disk import limit_files
from training_helpers import made_rows, make_trainer, weights_of

from hf_bat import HfBatError
from hf_bat.checkpoints import find_checkpoint, find_damage, list_missing, read_run

# The files of a checkpoint in the order they are written.
FILES = (
    "hf_bat_run.json", "config.json", "model.safetensors", "tokenizer_config.json", "tokenizer.json",
    "training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json",
)  # fmt: skip


def make(folder, **options):
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, **options}
    return make_trainer(folder, made_rows(12), **{"method": "triplet", **options})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    trainer = make(tmp_path_factory.mktemp("whole") / "run")
    trainer.train()
    return trainer


@pytest.fixture
def run(trained, tmp_path):
    """Return a copy of the folder of a finished run, with checkpoint-2 and checkpoint-4."""
    return Path(shutil.copytree(trained.args.output_dir, tmp_path / "run"))


def kill_while_saving(checkpoint, stage):
    """Leave the checkpoint as after a kill in the middle of writing file number `stage`."""
    for file in FILES[stage + 1 :]:
        (checkpoint / file).unlink()
    content = (checkpoint / FILES[stage]).read_bytes()
    (checkpoint / FILES[stage]).write_bytes(content[: len(content) // 2])


def same_weights(trainer, other):
    ours, theirs = weights_of(trainer.model), weights_of(other.model)
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_checkpoint_has_the_files_of_this_test(run):
    assert {path.name for path in (run / "checkpoint-4").iterdir()} == set(FILES)
    assert find_checkpoint(run) == str(run / "checkpoint-4")


@pytest.mark.parametrize("stage", range(len(FILES)), ids=FILES)
def test_a_kill_at_any_stage_of_saving_resumes_from_the_checkpoint_before(
    run, trained, stage, caplog
):
    kill_while_saving(run / "checkpoint-4", stage)
    assert find_damage(run / "checkpoint-4")
    with caplog.at_level(logging.WARNING, "hf_bat"):
        trainer = make(run)
        trainer.train(resume_from_checkpoint=True)
    assert same_weights(trainer, trained)
    # If the environment variable CI is set, pytest also captures messages from transformers.
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("hf_bat")]
    assert len(ours) == 1, "nothing else is wrong"
    assert all(part in ours[0] for part in ("is skipped", "checkpoint-4", "checkpoint-2"))
    # The incomplete checkpoint is replaced by a complete one.
    assert find_checkpoint(run) == str(run / "checkpoint-4")


def test_a_damaged_checkpoint_that_is_asked_for_is_refused_with_the_name_of_a_whole_one(run):
    kill_while_saving(run / "checkpoint-4", FILES.index("optimizer.pt"))
    with pytest.raises(HfBatError, match="checkpoint-4.*trainer_state.json.*checkpoint-2"):
        make(run).train(resume_from_checkpoint=str(run / "checkpoint-4"))
    with pytest.raises(HfBatError, match="no such folder"):
        make(run).train(resume_from_checkpoint=str(run / "checkpoint-3"))


@pytest.mark.parametrize(
    "header",
    ["[" * 100_000, "[]", "1", '{"a": []}', '{"a": {"data_offsets": []}}', "{}{}", "\ud800"],
)
def test_weights_with_a_damaged_header_are_damage(header, tmp_path):
    (tmp_path / "trainer_state.json").write_text("{}")
    content = header.encode("utf-8", "surrogatepass")
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(content)) + content)
    assert "model.safetensors" in str(find_damage(tmp_path))


@pytest.mark.parametrize("shards", [[], 1, None, {"a": 1}, {"a": ["b"]}, {"a": "absent"}])
def test_a_damaged_list_of_shards_is_damage(shards, tmp_path):
    (tmp_path / "trainer_state.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert "index.json is damaged" in find_damage(tmp_path) or "absent" in find_damage(tmp_path)


def test_without_a_whole_checkpoint_the_trainer_refuses(run):
    for step in (2, 4):
        kill_while_saving(run / f"checkpoint-{step}", FILES.index("model.safetensors"))
    assert find_checkpoint(run) is None
    with pytest.raises(HfBatError, match="no checkpoint"):
        make(run).train(resume_from_checkpoint=True)


def test_a_damaged_checkpoint_of_a_later_step_costs_no_whole_one(run, monkeypatch):
    """Trainer deletes the checkpoints with the lowest steps if file times cannot decide."""
    monkeypatch.setattr("os.path.getmtime", lambda path: 1.0)
    shutil.copytree(run / "checkpoint-4", run / "checkpoint-9")
    kill_while_saving(run / "checkpoint-9", FILES.index("optimizer.pt"))
    make(run, save_total_limit=1, max_steps=6).train(resume_from_checkpoint=True)
    assert find_checkpoint(run) == str(run / "checkpoint-6")


@pytest.mark.parametrize("lost", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_missing_state_is_named(run, lost, caplog):
    (run / "checkpoint-4" / lost).unlink()
    assert find_checkpoint(run) == str(run / "checkpoint-2"), "an older one has all"
    assert lost in caplog.text
    shutil.rmtree(run / "checkpoint-4")
    (run / "checkpoint-2" / lost).unlink()
    caplog.clear()
    make(run).train(resume_from_checkpoint=True)
    assert lost in caplog.text and "other weights" in caplog.text


def test_checkpoints_with_the_model_only_say_so(tmp_path, caplog):
    make(tmp_path, save_only_model=True).train()
    assert list_missing(tmp_path / "checkpoint-2")
    make(tmp_path, save_only_model=True).train(
        resume_from_checkpoint=str(tmp_path / "checkpoint-2")
    )
    assert "save_only_model" in caplog.text


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"method": "pairwise"}, "method triplet (now pairwise)"),
        ({"seed": 4}, "seed 3 (now 4)"),
        ({"margin": 2.0}, "margin 1.0 (now 2.0)"),
        ({"learning_rate": 1e-4}, "learning_rate 0.001 (now 0.0001)"),
    ],
)
def test_a_checkpoint_of_another_run_is_named(run, options, named, caplog):
    make(run, **options).train(resume_from_checkpoint=str(run / "checkpoint-2"))
    assert f"it differs in {named}; the weights" in caplog.text


def test_a_checkpoint_of_other_rows_is_named_and_of_other_micro_batches_is_not(run, caplog):
    checkpoint = str(run / "checkpoint-2")
    same = make(run, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    same.train(resume_from_checkpoint=checkpoint)
    assert "another run" not in caplog.text
    other = make(run)
    other.train_dataset = other.train_dataset.map(lambda row: {"premise": row["premise"] + " Now."})
    other.train(resume_from_checkpoint=checkpoint)
    assert "it differs in training rows;" in caplog.text
    assert read_run(run / "checkpoint-2")["training rows"] != read_run(run / "checkpoint-4")


@pytest.mark.parametrize("share", [0.012, 0.5, 1.5, 2.09])
def test_a_disk_that_gets_full_keeps_the_last_whole_checkpoint(run, trained, share):
    """The weights, or the optimizer state, which is twice as large, do not fit on the disk."""
    shutil.rmtree(run / "checkpoint-4")
    size = int(share * (run / "checkpoint-2" / "model.safetensors").stat().st_size)
    with limit_files(size), pytest.raises(HfBatError) as caught:
        make(run).train(resume_from_checkpoint=str(run / "checkpoint-2"))
    message = str(caught.value)
    assert "checkpoint-4" in message and "checkpoint-2 is whole" in message and "\n" not in message
    assert [path.name for path in run.glob("checkpoint-*")] == ["checkpoint-2"]
    trainer = make(run)
    trainer.train(resume_from_checkpoint=True)
    assert same_weights(trainer, trained)


def test_a_full_file_system_says_so(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        not mount
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=700k", "tmpfs", disk]).returncode
    ):
        pytest.skip("no permission to mount a small file system")
    try:
        with pytest.raises(HfBatError, match=r"cannot save \S+checkpoint-2: No space left"):
            make(disk / "run").train()
        assert not list((disk / "run").glob("checkpoint-*"))
    finally:
        # Lazily, because the traceback that pytest keeps may still have an open file.
        subprocess.run(["umount", "--lazy", disk], check=True)


TRAIN = """
import sys
from training_helpers import made_rows, make_trainer
trainer = make_trainer(sys.argv[1], made_rows(24), method="triplet", save_strategy="steps",
                       save_steps=1, save_total_limit=2, num_train_epochs=20)
trainer.train(resume_from_checkpoint=len(sys.argv) > 2 or None)
"""


@pytest.mark.slow
def test_killed_again_and_again_a_run_ends_with_the_weights_of_one_that_was_not(
    tmp_path, quiet_environment
):
    import random
    import time

    helpers = Path(__file__).resolve().parents[1] / "helpers"
    quiet_environment["PYTHONPATH"] = f"{helpers}:{Path(__file__).resolve().parents[2]}"
    killed, rng = tmp_path / "killed", random.Random(0)
    for _ in range(4):
        again = ["again"] if find_checkpoint(killed) else []
        child = subprocess.Popen([sys.executable, "-c", TRAIN, killed, *again], env=quiet_environment,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        before, deadline = set(killed.glob("checkpoint-*")), time.monotonic() + 120
        while time.monotonic() < deadline and not set(killed.glob("checkpoint-*")) - before:
            time.sleep(0.01)
        time.sleep(rng.random() / 2)
        child.kill()
        assert child.wait() == -9
        # Only the checkpoint that was being written is lost.
        steps = sorted(int(path.name[11:]) for path in killed.glob("checkpoint-*"))
        whole = find_checkpoint(killed)
        assert len(steps) < 2 or (whole and int(Path(whole).name[11:]) >= steps[-2])
    trainer = make_trainer(killed, made_rows(24), method="triplet", save_strategy="steps",
                           save_steps=1, save_total_limit=2, num_train_epochs=20)  # fmt: skip
    trainer.train(resume_from_checkpoint=True)
    whole = make_trainer(tmp_path / "whole", made_rows(24), method="triplet", num_train_epochs=20)
    whole.train()
    assert same_weights(trainer, whole)
    assert (
        json.loads((Path(find_checkpoint(killed)) / "trainer_state.json").read_text())["epoch"]
        == 20
    )
