"""Rows and models on the Hub in flags, with a folder instead of a data set."""

import json
from pathlib import Path

import pytest
from attack_helpers import made_rows

from hf_bat import HfBatError
from hf_bat.cli import main
from hf_bat.counterfactual.rules import read_labels
from hf_bat.finetune import FinetuneArguments, load_rows
from hf_bat.run_arguments import make_parser
from hf_bat.tasks import TASKS, build_task, load_hub_split
from hf_bat.training_args import BalancedTrainingArguments


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = made_rows(30)
    for name, part in (("train", rows[:20]), ("validation", rows[20:26]), ("test", rows[26:])):
        # The second row is an edit of the first one.
        lines = [
            json.dumps({**row, "original_idx": part[0]["idx"] if row is part[1] else None})
            for row in part
        ]
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.jsonl").write_text("\n".join(lines))
    return rows


@pytest.mark.parametrize(
    ("options", "count"), [([], 6), (["--split", "test"], 4), (["--split", "train[:3]"], 3)]
)
@pytest.mark.parametrize("command", ["attack", "contrast"])
def test_commands_read_a_data_set_of_the_hub(data_set, command, options, count):
    words = [
        command,
        "--model-from",
        "attack_helpers:hashed",
        "--task",
        "snli",
        "--dataset-name",
        "./data",
        *options,
    ]
    assert main([*words, "--json", "out.json"]) == 0
    report = json.loads(Path("out.json").read_text())
    if command == "attack":
        assert report["attacks"]["antonym"]["rows"] == count
    else:
        assert report["contrast"]["rows"] == count
        assert report["contrast"]["accuracy_originals"]["of"] == count - 1


def test_perturb_and_suite_read_a_data_set_of_the_hub(data_set, capsys):
    own = ["--dataset_name", "./data", "--split", "train"]
    assert main(["perturb", "--task", "snli", *own, "--n", "2"]) == 0
    assert "2 of 20 rows shown" in capsys.readouterr().out
    assert main(["suite", "--task", "snli", *own, "--output", "suite.jsonl"]) == 0
    assert "from 20 rows" in capsys.readouterr().out


def test_a_run_reads_its_splits_from_a_data_set_of_the_hub(data_set, tmp_path):
    flags = (
        "--model_name_or_path model --task snli --dataset_name ./data --validation_split_name test "
        f"--output_dir {tmp_path / 'out'} --use_cpu --report_to none"
    )
    parser = make_parser(FinetuneArguments, BalancedTrainingArguments, message="{}")
    run, args = parser.parse_args_into_dataclasses(flags.split())
    task = build_task(vars(run))
    rows = load_rows(run, task, args, ["train", "validation"])
    assert [len(part) for part in rows.values()] == [20, 4]
    assert rows["validation"]["premise"][:] == [row["premise"] for row in data_set[26:]]


def test_every_task_names_its_splits_on_the_hub():
    for task in TASKS.values():
        assert {"train", "validation"} <= set(task.splits)
        with pytest.raises(HfBatError, match=task.hub[0]):
            load_hub_split(task, "validation")


def test_rules_read_the_labels_of_each_task_as_its_kind():
    families = {}
    for name, task in TASKS.items():
        try:
            families[name] = read_labels(task, task.label_names)[0]
        except HfBatError:
            families[name] = None
    assert families == {
        **dict.fromkeys(("snli", "mnli", "sick", "anli", "rte", "hans"), "inference"),
        **dict.fromkeys(("qqp", "mrpc", "paws"), "paraphrase"),
        **dict.fromkeys(("sst2", "imdb", "ag-news", "cola", "wiki-toxic"), "sentence"),
        "qnli": None,
    }
