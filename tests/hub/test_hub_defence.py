"""A model with the defense on the Hub: its record is read by id, over real HTTP and offline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_stand_in import HubStandIn
from training_helpers import SYNONYMS, made_rows

from hf_bat.canonicalize import Canonicalizer
from hf_bat.saved_perturbations import load_canonicalizer, read_defense

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]
CASE = Path(__file__).parent.parent / "helpers" / "defence_case.py"
WARNED = "was trained with the preprocessing defense canonicalize"


def run(hub, folder, *words, **changes):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(CASE), *words],
        env={**environment, **hub.environment(folder / changes.pop("home", "home")), **changes},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def command(model, *flags, fails=None):
    return [fails, "attack", "--model", f"tester/{model}", "--task", "snli", "--attacks", "sister",
            "--data", "dev.jsonl", *flags]  # fmt: skip


def reported(path):
    return json.loads(path.read_text()).get("preprocessing_defence")


def test_the_defense_of_a_model_is_known_by_its_id_with_and_without_a_network(tmp_path):
    own = Canonicalizer(SYNONYMS).describe()
    rows = [{**row, "label": 0} for row in made_rows(2)]  # as predicted by the model
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with HubStandIn() as hub:
        run(hub, tmp_path, "push", str(tmp_path))
        assert {"perturbations.json", "canonical.json.gz"} <= set(hub.files("tester/defended"))
        record = "perturbations.json"
        commands = [
            command("defended"),
            command("defended", "--canonicalize", "--json", "own.json"),
            command("plain", "--canonicalize", "--json", "plain.json"),
            command("plain", fails=record),
            command("defended", fails=record),  # from the cache
        ]
        bare, flagged, plain, failing, cached = json.loads(
            run(hub, tmp_path, "attack", json.dumps(commands), home="user")
        )
        assert WARNED in bare["said"] and WARNED in cached["said"]
        for done in (flagged, plain, failing):
            assert done["status"] == 0 and "warning" not in done["said"], done["said"]
        assert "Traceback" not in failing["said"] + cached["said"]
        assert reported(tmp_path / "own.json") == own
        assert reported(tmp_path / "plain.json") == Canonicalizer().describe()
        before = len(hub.requests)
        commands = [
            command("defended", "--canonicalize", "--json", "offline.json"),
            command("plain"),
        ]
        offline = {"HF_HUB_OFFLINE": "1"}
        flagged, plain = json.loads(
            run(hub, tmp_path, "attack", json.dumps(commands), home="user", **offline)
        )
        assert len(hub.requests) == before
        assert flagged["status"] == plain["status"] == 0
        assert "warning" not in flagged["said"] + plain["said"]
        assert reported(tmp_path / "offline.json") == own


@pytest.mark.parametrize("model", ["no/such/id", "./absent", "nobody/never-loaded"])
def test_an_absent_model_counts_as_undefended(model):
    assert read_defense(model) is None
    with pytest.raises(ValueError, match=r"table not found: canonical\.json\.gz of"):
        load_canonicalizer(model)
