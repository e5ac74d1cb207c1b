"""A killed run resumes and ends with the same report; a file from another attack is rejected."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from attack_helpers import ANTONYMS, SYNONYMS, hashed, made_rows, result
from tiny_models import tiny_model, tiny_tokenizer
from tokenizers.normalizers import Strip
from transformers import AutoTokenizer

from hf_bat.attack import Attack
from hf_bat.attack.models import TransformersModel
from hf_bat.errors import HfBatError
from hf_bat.tasks import user_task

ROWS = made_rows(120, seed=11)

# Runs as a separate program and attacks slowly enough to be killed in the middle.
SLOW = """
import sys, time
sys.path.insert(0, sys.argv[2])
from attack_helpers import SYNONYMS, hashed, made_rows
from hf_bat.attack import Attack, CallableModel
def slow(pairs):
    time.sleep(0.02)
    return hashed(pairs)
attack = Attack("synonym", CallableModel(slow, name="hashed"), synonyms=SYNONYMS, batch_size=4)
import hf_bat.attack.runner as runner
runner.Engine = lambda *given, **options: runner_engine(*given, in_flight=8, **options)
from hf_bat.attack.engine import Engine as runner_engine
attack.run(made_rows(120, seed=11), sys.argv[1])
"""


def attack(**options):
    from hf_bat.attack import CallableModel

    return Attack(
        "synonym", CallableModel(hashed, name="hashed"), synonyms=SYNONYMS, batch_size=4, **options
    )


def test_kill_dash_nine_and_resume(tmp_path, quiet_environment):
    path = tmp_path / "rows.jsonl"
    here = os.path.join(os.path.dirname(os.path.dirname(__file__)), "helpers")
    child = subprocess.Popen([sys.executable, "-c", SLOW, path, here], env=quiet_environment)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= 20:
            break
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    done = path.read_bytes().count(b"\n")
    assert 20 <= done < 120

    asked = []

    def counting(pairs):
        asked.extend(pairs)
        return hashed(pairs)

    from hf_bat.attack import CallableModel

    fresh = attack().run(ROWS)
    resumed = Attack(
        "synonym", CallableModel(counting, name="hashed"), synonyms=SYNONYMS, batch_size=4
    ).run(ROWS, path)
    assert result(resumed) == result(fresh)
    left = [row["queries"] for row in fresh.rows["synonym"]]
    assert len(asked) < sum(left)  # finished rows are not queried again
    assert [json.loads(line)["idx"] for line in path.open()] == list(range(120))


@pytest.mark.parametrize("torn", ['{"idx": 7, "att', '{"idx": 7}', "", "é".encode()[:1]])
def test_a_line_cut_short_is_attacked_again(tmp_path, torn):
    path = tmp_path / "rows.jsonl"
    expected = attack().run(ROWS, path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    kept = b"".join(lines[:50]) + (torn if isinstance(torn, bytes) else torn.encode())
    path.write_bytes(kept)
    assert result(attack().run(ROWS, path)) == result(expected)
    assert path.read_bytes() == whole


def test_a_finished_file_gives_the_report_without_a_query(tmp_path):
    from hf_bat.attack import CallableModel

    path = tmp_path / "rows.jsonl"
    expected = attack().run(ROWS, path)

    def never(pairs):
        raise AssertionError("asked")

    again = Attack("synonym", CallableModel(never, name="hashed"), synonyms=SYNONYMS).run(
        ROWS, path
    )
    assert result(again) == result(expected)


def test_several_attacks_share_a_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    antonym = Attack("antonym", hashed, antonyms=ANTONYMS)
    attack().run(ROWS, path)
    antonym.run(ROWS, path)
    before = path.read_bytes()
    attack().run(ROWS, path)
    assert path.read_bytes() == before
    lines = [json.loads(line) for line in path.open()]
    assert [line["attack"] for line in lines] == ["synonym"] * 120 + ["antonym"] * 120


def test_a_file_of_other_label_names_is_refused(tmp_path):
    """Outcomes depend on the skipped labels of a task and on which label is entailment for the filter."""
    names = ("entailment", "neutral", "contradiction")
    path = tmp_path / "rows.jsonl"

    def antonym(task, **options):
        return Attack("antonym", hashed, antonyms=ANTONYMS, task=task, **options)

    own = user_task(("premise", "hypothesis"), names)
    antonym("snli").run(ROWS, path)
    with pytest.raises(HfBatError, match="another label_reading"):
        antonym(own).run(ROWS, path)
    skipping = user_task(("premise", "hypothesis"), names, ("neutral",))
    assert antonym(skipping).run(ROWS, path)["antonym"]["skipped"] > 0  # the same in another form
    antonym("snli", label_filter=True).run(ROWS, tmp_path / "filtered.jsonl")
    letters = user_task(("premise", "hypothesis"), ("a", "b", "c"), ("b",))
    with pytest.raises(HfBatError, match="another label_reading"):
        antonym(letters, label_filter=True).run(ROWS, tmp_path / "filtered.jsonl")


def test_a_model_that_was_trained_between_is_another(tmp_path):
    model = TransformersModel(tiny_model("bert"), tiny_tokenizer())
    attack = Attack("antonym", model, antonyms=ANTONYMS)
    attack.run(ROWS[:4], tmp_path / "rows.jsonl")
    with torch.no_grad():
        model.model.classifier.bias += 1
    with pytest.raises(HfBatError, match="another model"):
        attack.run(ROWS[:4], tmp_path / "rows.jsonl")


def test_how_a_tokenizer_reads_is_part_of_a_models_identity(tmp_path):
    def identity(tokenizer):
        return TransformersModel(tiny_model("bert"), tokenizer).identity

    tiny_tokenizer().save_pretrained(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    one = AutoTokenizer.from_pretrained(tmp_path / "a")
    other = AutoTokenizer.from_pretrained(tmp_path / "b")
    before = identity(one)
    other(["a", "a b c"], padding=True, truncation=True, max_length=4)  # sets both in place
    assert identity(other) == before
    other.backend_tokenizer.normalizer = Strip()
    assert identity(other) != before


def test_a_file_with_another_maximum_length_is_refused_with_a_hint(tmp_path):
    model, tokenizer = tiny_model("bert"), tiny_tokenizer([row["premise"] for row in ROWS])

    def run(max_length):
        made = Attack("antonym", model, tokenizer, antonyms=ANTONYMS, max_length=max_length)
        return made.run(ROWS[:3], tmp_path / "rows.jsonl")

    run(32)
    with pytest.raises(HfBatError, match="maximum length"):
        run(16)
