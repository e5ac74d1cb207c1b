"""Folders and files with brackets and stars in their names are read like any others."""

import json

import torch
from safetensors.torch import save_file

from hf_bat.attack.rows import RowsFile
from hf_bat.checkpoints import find_checkpoint
from hf_bat.report.files import read_folder
from hf_bat.tasks import load_split

ODD = "run [1] *?"


def test_a_data_file_is_no_pattern(tmp_path):
    folder = tmp_path / ODD
    folder.mkdir()
    path = folder / "dev[a].csv"
    path.write_text("text,label\nA dog.,1\n", encoding="utf-8")
    expected = [{"text": "A dog.", "label": 1}]
    assert load_split(path, str(tmp_path / "cache")).to_list() == expected


def test_parts_of_a_rows_file_are_found(tmp_path):
    folder = tmp_path / ODD
    folder.mkdir()
    path = folder / "rows[1].jsonl"
    row = {"attack": "antonym", "idx": 0, "outcome": "failed"}
    (folder / f"{path.name}.rank0").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (folder / "rows1.jsonl.rank0").write_text("another run's\n", encoding="utf-8")
    file = RowsFile(path, "antonym", {})
    assert file.read_finished() == {0: row}
    file.finish([row])
    assert sorted(p.name for p in folder.iterdir()) == ["rows1.jsonl.rank0", path.name]


def test_reports_and_checkpoints_are_found(tmp_path):
    checkpoint = tmp_path / ODD / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    state = {"global_step": 3, "log_history": [{"loss": 1.0, "step": 3}]}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    save_file({"weight": torch.zeros(2)}, checkpoint / "model.safetensors")
    assert find_checkpoint(tmp_path / ODD) == str(checkpoint)
    assert read_folder(tmp_path / ODD).shown == {"checkpoint-3/trainer_state.json"}
