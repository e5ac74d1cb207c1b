"""Flags that describe a task of one's own are refused beside a known one, which would not read them."""

import pytest

from hf_bat import HfBatError
from hf_bat.cli import main
from hf_bat.sweep import make_grid, parse_flags
from hf_bat.tasks import task_of_arguments

# Neither model nor data are there: whoever looked for them first would say so.
FILES = ["--data", "absent.jsonl"]
COMMANDS = {
    "attack": ["attack", "--model", "absent", *FILES],
    "certify": ["certify", "--model", "absent", "--synonyms", "absent", *FILES],
    "contrast": ["contrast", "--model", "absent", *FILES],
    "perturb": ["perturb", *FILES],
}
FLAGS = {"--label-column": ["gold"], "--label-names": ["a", "b"], "--skipped-labels": ["a"]}
HAVE = [
    (name, flag)
    for name in COMMANDS
    for flag in FLAGS
    if name == "perturb" or flag != "--skipped-labels"
]


@pytest.mark.parametrize(("command", "flag"), HAVE)
def test_commands_refuse_them_in_one_line(command, flag, capsys):
    assert main([*COMMANDS[command], "--task", "snli", flag, *FLAGS[flag]]) == 2
    says = f"hf-bat: error: {flag} is for --columns; task snli has its own\n"
    assert capsys.readouterr().err == says


def test_the_task_that_contrast_takes_by_default_refuses_them_too(capsys):
    assert main([*COMMANDS["contrast"], "--label-names", "a", "b"]) == 2
    assert "--label-names is for --columns; task snli has its own" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "flag"), HAVE)
def test_beside_columns_they_are_read(command, flag, capsys):
    own = ["--columns", "text", flag, *FLAGS[flag]]
    if flag == "--skipped-labels":
        own += ["--label-names", "a", "b"]
    assert main([*COMMANDS[command], *own]) == 2
    assert "absent" in capsys.readouterr().err


RUNS = [
    (["--label_column", "gold"], "--label_column is for --columns; task {} has its own"),
    (["--class_names", "a", "b"], "--class_names is for --columns; task {} has its own"),
    (["--skipped_labels", "neutral"], "--skipped_labels is for --columns; task {} has its own"),
    (["--validation_mm_file", "mm.jsonl"],
     "--validation_mm_file is for the mismatched set of mnli; task {} has none"),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "says"), RUNS)
def test_a_sweep_refuses_them_before_it_runs(flags, says, tmp_path, capsys):
    base = " ".join(["--model_name_or_path m --task snli", *flags])
    assert main(["sweep", "--base", base, "--output_dir", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"hf-bat: error: {says.format('snli')}\n"
    assert not (tmp_path / "out").exists()


def test_a_sweep_of_ones_own_task_reads_them():
    base = "--model_name_or_path m --columns text --label_column gold --class_names a b --skipped_labels a"
    (run,) = make_grid(parse_flags(base), {})
    task = task_of_arguments(run.arguments)
    assert (task.label_column, task.label_names) == ("gold", ("a", "b"))
    assert (task.columns, task.skipped_labels) == (("text",), ("a",))
    with pytest.raises(HfBatError, match="task custom has none"):
        make_grid(parse_flags(f"{base} --validation_mm_file mm.jsonl"), {})


SCRIPT = {
    "--label-column": "--label_column",
    "--label-names": "--class_names",
    "--skipped-labels": "--skipped_labels",
}


@pytest.mark.parametrize(("command", "flag"), HAVE)
def test_commands_know_them_by_the_script_s_names_too(command, flag, capsys):
    assert main([*COMMANDS[command], "--task", "snli", SCRIPT[flag], *FLAGS[flag]]) == 2
    assert f"{flag} is for --columns; task snli has its own" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--skip-labels", "--skipped-labels", "--skipped_labels"])
def test_an_attack_takes_the_labels_to_skip_by_each_name(flag, capsys):
    own = ["--columns", "text", "--label-names", "a", "b", flag, "a"]
    assert main([*COMMANDS["attack"], *own]) == 2
    assert "absent" in capsys.readouterr().err
