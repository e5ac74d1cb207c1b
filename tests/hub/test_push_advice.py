"""The advice after a failed upload: same repository, folder and revision, but no private files."""

import re
import shlex
from types import SimpleNamespace

import pytest
from training_helpers import make_trainer
from transformers import trainer as of_transformers

from hf_bat import HfBatError


class FailingHub:
    """A Hub client that creates repositories but fails to upload folders."""

    def __init__(self):
        self.revisions = []

    def create_repo(self, name, **options):
        return SimpleNamespace(repo_id=name)

    def upload_folder(self, revision=None, **options):
        self.revisions.append(revision)
        raise RuntimeError("500 Internal Server Error")


def advice(folder, monkeypatch, hub_revision=None, **push):
    """Return the revision of an upload, and the call and the command recommended by its error."""
    hub = FailingHub()
    if hasattr(of_transformers, "hf_api"):
        monkeypatch.setattr(of_transformers, "hf_api", lambda: hub)
    else:  # before transformers 5.10
        for name in ("create_repo", "upload_folder"):
            monkeypatch.setattr(of_transformers, name, getattr(hub, name))
    trainer = make_trainer(folder, method="normal", hub_model_id="me/m", hub_revision=hub_revision)
    with pytest.raises(HfBatError) as caught:
        trainer.push_to_hub(**push)
    message = str(caught.value)
    assert message.startswith("the upload to me/m failed: ") and "\n" not in message
    (call,) = re.findall(r"again with (trainer\.push_to_hub\(.*?\)), or", message)
    (command,) = re.findall(r"`(hf upload .*)`", message)
    return hub.revisions, call, shlex.split(command)


@pytest.mark.parametrize(
    ("hub_revision", "push", "revision", "call"),
    [
        (None, {}, None, "trainer.push_to_hub()"),
        (None, {"revision": "v2"}, "v2", "trainer.push_to_hub(revision='v2')"),
        # The revision in the arguments is used again anyway.
        ("v3", {}, "v3", "trainer.push_to_hub()"),
        ("v3", {"revision": "v2"}, "v2", "trainer.push_to_hub(revision='v2')"),
        (None, {"revision": "it's $(new)"}, "it's $(new)", "trainer.push_to_hub(revision=\"it's $(new)\")"),
    ],
)  # fmt: skip
def test_the_retry_pushes_to_the_same_revision(
    tmp_path, monkeypatch, hub_revision, push, revision, call
):
    found = advice(tmp_path, monkeypatch, hub_revision, **push)
    words = ["hf", "upload", "me/m", str(tmp_path), ".", "--exclude", "_*",
             "--exclude", "checkpoint-*"]  # fmt: skip
    assert found == ([revision], call, words + ["--revision", revision] * bool(revision))
