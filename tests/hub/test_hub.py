"""Push and load over real HTTP, with a simulated Hub and users in separate processes."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from hub_stand_in import TOKEN, HubStandIn
from huggingface_hub import ModelCard
from training_helpers import SYNONYMS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]
HELPERS = Path(__file__).parents[1] / "helpers"
PAIRS = [["A man is sleeping.", "The big dog runs fast."], ["A woman waits.", "Two girls sing."]]
# This is long, because the machine may be busy. Each case takes about 10 seconds.
TIMEOUT = 600


class Session:
    """Return the results of push_case, and the Hub with everything that it pushed."""

    def __init__(self, hub, folder, environment):
        self.hub, self.folder, self.environment = hub, folder, environment
        (folder / "pushed").mkdir()
        self.pushed = json.loads(self.run(HELPERS / "push_case.py", folder / "pushed"))

    def run(self, *command):
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            env={**self.environment, **self.hub.environment(self.folder / "home")},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    import os

    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
    }
    with HubStandIn() as hub:
        yield Session(hub, tmp_path_factory.mktemp("hub"), environment)


def test_a_failed_upload_leaves_the_model_whole_and_says_how_to_retry(session):
    found = session.pushed["push_model"]
    for case, cause in (
        ("refused", "403 Forbidden"),
        ("error", "500 Internal Server Error"),
        ("dropped", "Server disconnected"),
    ):
        message = found[case]
        assert message.startswith("the upload to tester/balanced failed: ") and cause in message
        assert "trainer.push_to_hub()" in message and "\n" not in message
        # Storage addresses are signed, and the signature is a secret.
        assert "secret" not in message and TOKEN not in message
        # The card was written for the upload. All other files are unchanged.
        assert set(found[f"{case}_changed"]) <= {"README.md"}
    assert re.fullmatch(r"[0-9a-f]{40}", found["commit"])


def test_the_pushed_card_is_the_local_one(session):
    files = session.hub.files("tester/balanced")
    card = files["README.md"].decode()
    assert card == session.pushed["push_model"]["card"]
    data = ModelCard(card).data
    recipes = {r.metric_args["recipe_hash"] for r in data.eval_results if r.metric_args}
    assert recipes and all(recipe in card for recipe in recipes)
    assert 'model="tester/balanced"' in card
    assert set(session.pushed["push_model"]["files"]) <= set(files)


@pytest.mark.parametrize("strategy", ["checkpoint", "all_checkpoints"])
def test_texts_of_training_rows_are_never_pushed(session, strategy):
    pushed = session.pushed["push_a2t"][strategy]
    assert {f"_adversarial/epoch-{epoch}.jsonl" for epoch in (0, 1)} <= set(pushed["files"])
    commits = [tree for _, tree in session.hub.repos["models", f"tester/{strategy}"].commits]
    # The empty repository, the model and its checkpoint after each of two epochs, and the final push.
    assert len(commits) >= 6 and "model.safetensors" in commits[-1]
    folder = "last-checkpoint" if strategy == "checkpoint" else "checkpoint-2"
    assert f"{folder}/model.safetensors" in commits[-1]
    assert not [path for tree in commits for path in tree if "adversarial" in path]
    assert len(pushed["texts"]) > 8
    contents = {content for tree in commits for content in tree.values()}
    assert not [text for text in pushed["texts"] if any(text.encode() in c for c in contents)]


def test_no_file_that_was_pushed_holds_the_token(session):
    for repo in session.hub.repos.values():
        for path, content in repo.commits[-1][1].items():
            assert TOKEN.encode() not in content, f"{repo.name}: {path}"


def test_reload_without_hf_bat(session):
    found = json.loads(session.run(HELPERS / "reload_case.py", json.dumps(PAIRS)))
    assert found["hf_bat"] is False
    logits = torch.tensor(session.pushed["push_model"]["logits"])
    torch.testing.assert_close(torch.tensor(found["logits"]), logits)
    names = ("entailment", "neutral", "contradiction")
    scores = [[answer[name] for name in names] for answer in found["pipeline"]]
    torch.testing.assert_close(torch.tensor(scores), logits.softmax(-1))
    adapter = torch.tensor(session.pushed["push_adapter"]["logits"])
    torch.testing.assert_close(torch.tensor(found["adapter"]), adapter)
    for repo in ("balanced", "adapter"):
        answer = found[f"card of tester/{repo}"]
        answer = answer[0] if isinstance(answer, list) else answer
        assert answer["label"] in names


def test_the_card_of_an_adapter_names_its_base(session):
    data = ModelCard(session.pushed["push_adapter"]["card"]).data
    assert data.base_model == "tester/base" and data.library_name == "peft"
    assert {"hf_bat", "pairwise", "lora"} <= set(data.tags)
    assert "adapter_model.safetensors" in session.hub.files("tester/adapter")


def test_tables_are_pushed_as_data_sets(session):
    found = session.pushed["push_table"]
    assert set(found["fingerprints"]) == {SYNONYMS.fingerprint}
    assert re.fullmatch(r"hf://datasets/tester/synonyms@[0-9a-f]{40}", found["pinned"])
    assert {word: tuple(others) for word, others in found["rows"].items()} == dict(SYNONYMS)
    assert found["failed"].startswith("cannot push the table to tester/synonyms: ")
    assert "push again" in found["failed"] and "\n" not in found["failed"]
    assert found["missing"].startswith("cannot fetch the table of tester/none from the Hub: ")
    assert session.hub.repos["datasets", "tester/synonyms"].private
    status, printed = found["command"]
    assert status == 0 and "pushed: hf://datasets/tester/other@" in printed
    card = session.hub.files("tester/other", "datasets")["README.md"].decode()
    metadata = yaml.safe_load(card.split("---")[1])
    assert metadata["configs"] == [{"config_name": "default", "data_files": "words.jsonl.gz"}]
    assert '"kind": "synonyms"' in card


def test_the_script_pushes_and_its_advice_works(session):
    found = session.pushed["push_from_script"]
    assert found["status"] == 2
    (line,) = (line for line in found["said"].splitlines() if "run_glue_bat: error" in line)
    assert "README.md" not in session.hub.files("tester/script")
    (command,) = re.findall(r"`(hf upload .*)`", line)
    hf = Path(sys.executable).with_name("hf")
    session.run(hf, *shlex.split(command)[1:])
    files = session.hub.files("tester/script")
    assert {"README.md", "model.safetensors", "synonyms.json.gz", "eval_results.json"} <= set(files)
    assert not any(path.startswith(("checkpoint-", "_")) for path in files)
    card = ModelCard(files["README.md"].decode())
    written = json.loads(files["eval_results.json"])
    rates = {
        r.metric_args["figure"]: r.metric_value
        for r in card.data.eval_results
        if r.metric_args and r.metric_args["attack"] == "antonym"
    }
    assert rates["asr"] == written["eval_antonym_asr"]
    assert rates["asr_confident"] == written["eval_antonym_asr_confident"]
    assert card.data.base_model == "tester/base"
