"""`hf-bat train`: the same run as with the script, configuration files, and errors before training."""

import json

import pytest

from hf_bat import HfBatError, finetune
from hf_bat.cli import main


def list_flags(folder, output):
    return [
        "--model_name_or_path", str(folder / "model"), "--task", "snli",
        "--train_file", str(folder / "train.jsonl"), "--validation_file", str(folder / "dev.jsonl"),
        "--method", "triplet", "--synonyms", str(folder / "synonyms.json"),
        "--antonyms", str(folder / "antonyms.json"), "--max_train_samples", "16", "--max_steps", "2",
        "--per_device_train_batch_size", "4", "--use_cpu", "--report_to", "none",
        "--save_strategy", "no", "--output_dir", str(output),
    ]  # fmt: skip


def read_metrics(output):
    metrics = json.loads((output / "all_results.json").read_text())
    return {key: value for key, value in metrics.items() if not key.endswith(("time", "second"))}


def test_command_is_the_run_of_the_script(tiny_folder, tmp_path, capsys):
    words = list_flags(tiny_folder, tmp_path / "command")
    words += ["--attacks", "antonym", "synonym"]
    assert main(["train", *words, "--f1_label", "neutral"]) == 0
    printed = capsys.readouterr().out
    assert "training triplet on 16 rows: 2 steps of 4 rows; rows with versions: fickle" in printed
    words = list_flags(tiny_folder, tmp_path / "script")
    words += ["--attacks", "antonym", "synonym", "--do_train", "--do_eval"]
    assert finetune.run(words, finetune.make_parser(), "script") == 0
    metrics = read_metrics(tmp_path / "command")
    assert 0 <= metrics.pop("eval_f1") <= 1
    assert metrics == read_metrics(tmp_path / "script") and "eval_accuracy" in metrics


def test_without_rows_to_evaluate_the_model_is_only_trained(tiny_folder, tmp_path):
    words = list_flags(tiny_folder, tmp_path / "out")
    place = words.index("--validation_file")
    del words[place : place + 2]
    assert main(["train", *words, "--method", "normal", "--quiet"]) == 0
    assert "train_loss" in read_metrics(tmp_path / "out")
    assert "eval_loss" not in read_metrics(tmp_path / "out")


CONFIGURATION = """
model_name_or_path: "-m"
task: snli
output_dir: out
learning_rate: 2e-5
max_steps: -1
bf16: false
greater_is_better:
attacks: [antonym, synonym]
lr_scheduler_kwargs: {num_cycles: 2}
"""


def test_configuration_files_give_flags_that_later_flags_replace(tmp_path):
    yaml, other = tmp_path / "run.yaml", tmp_path / "run.json"
    yaml.write_text(CONFIGURATION)
    values = {"model_name_or_path": "-m", "task": "snli", "output_dir": "out", "max_steps": -1,
              "learning_rate": 2e-5, "bf16": False, "attacks": ["antonym", "synonym"],
              "lr_scheduler_kwargs": {"num_cycles": 2}}  # fmt: skip
    other.write_text(json.dumps(values))
    for path in (yaml, other):
        arguments, args = finetune.parse_arguments(
            [str(path), "--learning_rate", "1e-4", "--seed", "7"], finetune.make_parser()
        )
        assert (arguments.model_name_or_path, arguments.task_name) == ("-m", "snli")
        assert (args.learning_rate, args.seed, args.max_steps) == (1e-4, 7, -1)
        assert args.attacks == ["antonym", "synonym"] and args.bf16 is False
        assert args.lr_scheduler_kwargs == {"num_cycles": 2}


# Nine lines with aliases that expand to 10^8 values.
BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    "text",
    [
        "- a\n", "a: [\n", "1: 2\n", "!!python/object:os.system {}", "[" * 3000, BOMB,
        "a: &a [*a]\n", "output_dir: ''\n",
    ],
)  # fmt: skip
def test_damaged_configurations_are_refused_in_one_line(tmp_path, text, capsys):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(HfBatError):
        finetune.parse_arguments([str(path)], finetune.make_parser())
    try:
        assert main(["train", str(path)]) == 2
    except SystemExit as end:  # argparse
        assert end.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_unknown_names_of_a_configuration_are_refused(tmp_path, capsys):
    path = tmp_path / "run.yaml"
    path.write_text("model_name_or_path: m\noutput_dir: o\nlearning_rat: 1\n")
    with pytest.raises(SystemExit) as end:
        main(["train", str(path)])
    assert end.value.code == 2 and "learning_rat" in capsys.readouterr().err
    assert main(["train", str(tmp_path / "absent.yaml")]) == 2
    assert "absent.yaml: No such file" in capsys.readouterr().err
