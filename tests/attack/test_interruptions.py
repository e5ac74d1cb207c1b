"""Answers that an attack has received survive a kill, a full disk and a second run on the same file."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from attack_helpers import ANTONYMS, SYNONYMS, hashed, made_rows, result
from full_disk import limit_files

from hf_bat.attack import Attack, CallableModel
from hf_bat.attack.answer_log import AnswerLog
from hf_bat.attack.rows import RowsFile
from hf_bat.commands.options import check_outputs
from hf_bat.errors import HfBatError
from hf_bat.files import check_writable, name_beside, write_atomically

ROWS = made_rows(60, seed=11)
BATCH = 4
HELPERS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "helpers")
# Records each batch before it answers, slowly enough to be killed.
SLOW = """
import json, sys, time
sys.path.insert(0, sys.argv[3])
from attack_helpers import SYNONYMS, hashed, made_rows
from hf_bat.attack import Attack, CallableModel
asked = open(sys.argv[2], "a", buffering=1)
def slow(pairs):
    asked.write(json.dumps(pairs) + "\\n")
    time.sleep(0.01)
    return hashed(pairs)
attack = Attack("synonym", CallableModel(slow, name="hashed"), synonyms=SYNONYMS, batch_size=4)
attack.run(made_rows(60, seed=11), sys.argv[1])
"""


def make_attack(function=hashed, recipe="synonym", **options):
    model = CallableModel(function, name="hashed")
    return Attack(recipe, model, synonyms=SYNONYMS, antonyms=ANTONYMS, batch_size=BATCH, **options)


class Counting:
    """Records its inputs and fails at call number `fail_at`."""

    def __init__(self, fail_at=None, error=KeyboardInterrupt):
        self.batches, self.fail_at, self.error = [], fail_at, error

    def __call__(self, pairs):
        self.batches.append(pairs)
        if len(self.batches) == self.fail_at:
            raise self.error
        return hashed(pairs)

    @property
    def asked(self):
        return [pair for batch in self.batches for pair in batch]


def list_names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("wanted", [3, 40, 90])
def test_after_a_kill_at_most_one_batch_is_asked_again(tmp_path, quiet_environment, wanted):
    """All rows are in progress: hardly any are finished, but answers for all of them exist."""
    path, log = tmp_path / "rows.jsonl", tmp_path / "asked.jsonl"
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, path, log, HELPERS], env=quiet_environment
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None:
        if log.exists() and log.read_bytes().count(b"\n") >= wanted:
            break
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    paid = {tuple(pair) for line in log.read_text().splitlines() for pair in json.loads(line)}
    counting, whole = Counting(), Counting()
    resumed, fresh = make_attack(counting).run(ROWS, path), make_attack(whole).run(ROWS)
    assert result(resumed) == result(fresh)
    assert len(paid.intersection(counting.asked)) <= BATCH
    assert len(set(counting.asked)) + len(paid) <= len(set(whole.asked)) + BATCH
    assert list_names(tmp_path) == ["asked.jsonl", "rows.jsonl"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(KeyboardInterrupt, KeyboardInterrupt), (RuntimeError("the endpoint is gone"), HfBatError)],
)
def test_an_interruption_in_this_process_keeps_the_answers_and_frees_the_file(
    tmp_path, error, raised
):
    path = tmp_path / "rows.jsonl"
    first = Counting(20, error)
    with pytest.raises(raised):
        make_attack(first).run(ROWS, path)
    second = Counting()
    report = make_attack(second).run(ROWS, path)
    assert result(report) == result(make_attack().run(ROWS))
    assert set(first.asked[:-BATCH]).isdisjoint(second.asked)
    assert report.about["cost"]["synonym"]["forwards"] == len(second.asked)


def test_answers_are_of_one_model_and_any_recipe(tmp_path):
    path = tmp_path / "rows.jsonl"
    with pytest.raises(KeyboardInterrupt):
        make_attack(Counting(30)).run(ROWS, path)
    antonym, alone = Counting(), Counting()
    make_attack(antonym, "antonym").run(ROWS, path)
    make_attack(alone, "antonym").run(ROWS)
    assert len(antonym.asked) < len(alone.asked), "both ask about the unedited rows"
    with pytest.raises(KeyboardInterrupt):
        make_attack(Counting(30)).run(ROWS, path)

    other = Counting()
    model = CallableModel(lambda pairs: other(pairs), name="other")
    Attack("synonym", model, synonyms=SYNONYMS, batch_size=BATCH).run(ROWS, path, replace=True)
    assert set(alone.asked[:BATCH]) <= set(other.asked)


@pytest.mark.parametrize("cut", [0, 1, 30, 60, 61, 97, -1, -39])
def test_a_log_cut_anywhere_gives_only_whole_answers(tmp_path, cut):
    path = tmp_path / "log"
    keys = [("A dog.", str(number)) for number in range(5)]
    answers = np.random.default_rng(0).dirichlet([1, 1, 1], 5)
    log = AnswerLog(path, [], "model")
    log.add(keys[:2], answers[:2])
    log.add([*keys[2:4], "failed"], np.stack([*answers[2:4], [np.nan] * 3]))
    log.close()
    path.write_bytes(path.read_bytes()[: cut if cut else None])
    found = [AnswerLog(path, [], "model").find(key) for key in [*keys, "failed"]]
    known = [answer is not None for answer in found]
    assert known == sorted(known, reverse=True) and not any(known[4:])
    assert sum(known) == 4 if not cut else sum(known) < 4
    for answer, expected in zip(found, answers, strict=False):
        assert answer is None or (answer == expected).all(), "bit for bit"
    assert AnswerLog(path, [], "another model").find(keys[0]) is None


def test_a_second_run_on_the_same_file_is_refused_and_the_first_is_as_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    refused = []

    def function(pairs):
        if not refused:
            with pytest.raises(HfBatError, match="another run is writing") as caught:
                make_attack().run(ROWS, path)
            refused.append(str(caught.value))
        return hashed(pairs)

    report = make_attack(function).run(ROWS, path)
    alone = make_attack().run(ROWS)
    assert "rows.jsonl" in refused[0] and result(report) == result(alone)
    kept = ("queries", "forwards", "padded_tokens")
    costs = [run.about["cost"]["synonym"] for run in (report, alone)]
    assert [costs[0][name] for name in kept] == [costs[1][name] for name in kept]
    assert list_names(tmp_path) == ["rows.jsonl"]


def test_a_disk_that_gets_full_names_the_file_and_the_run_goes_on_later(tmp_path):
    path = tmp_path / "rows.jsonl"
    for size in (6_000, 20_000):
        with limit_files(size), pytest.raises(HfBatError, match=r"cannot write .*rows\.jsonl"):
            make_attack().run(ROWS, path)
    assert result(make_attack().run(ROWS, path)) == result(make_attack().run(ROWS))


def test_names_of_the_longest_length_work(tmp_path):
    path = tmp_path / f"{'ä' * 124}.json"  # 253 bytes
    write_atomically(path, "{}")
    check_writable(path)
    assert path.read_text() == "{}" and list_names(tmp_path) == [path.name]
    rows = tmp_path / ("r" * 255)
    with pytest.raises(KeyboardInterrupt):
        make_attack(Counting(30)).run(ROWS, rows)
    for rank in (0, 11):
        name_beside(rows, f".rank{rank}").write_text("")
    assert len(RowsFile(rows, "synonym", {})._list_parts()) == 2
    assert result(make_attack().run(ROWS, rows)) == result(make_attack().run(ROWS))
    assert list_names(tmp_path) == sorted([path.name, rows.name])


@contextmanager
def mounted(folder, *options):
    """Mount a separate small file system, or skip the test."""
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder]
    if not mount or subprocess.run(command, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no permission to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("kind", ["full", "read only"])
def test_a_disk_that_cannot_be_written_is_found_before_a_question(tmp_path, kind):
    options = ["size=64k"] if kind == "full" else ["ro"]
    with mounted(tmp_path / "disk", *options) as disk:
        if kind == "full":
            (disk / "filling").write_bytes(b" " * 64 * 1024)
        counting = Counting()
        for call in (
            lambda: check_outputs(argparse.Namespace(json=disk / "report.json"), "json"),
            lambda: make_attack(counting).run(ROWS, disk / "rows.jsonl"),
        ):
            with pytest.raises(HfBatError, match="No space left|Read-only"):
                call()
        assert not counting.asked


@pytest.mark.parametrize("name", ["x" * 256, "a/b.json", "link", "folder"])
def test_outputs_that_cannot_be_written_are_found_before_the_work(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "absent" / "target.json")
    with pytest.raises((HfBatError, OSError)) as caught:
        check_outputs(argparse.Namespace(csv=str(tmp_path / name)), "csv")
    assert name.rpartition("/")[0] in str(caught.value)
    assert Path(tmp_path, "link").is_symlink() and list_names(tmp_path) == ["folder", "link"]
