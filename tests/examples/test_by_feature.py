"""All short examples in the folder run and are listed in its README."""

import argparse
import runpy
import subprocess
import sys

import pytest
from transformers import AutoModelForSequenceClassification

from hf_bat import SubstitutionTable

COMMANDS = {
    "lora.py": ["--train_file", "{folder}/train.jsonl", "--validation_file", "{folder}/dev.jsonl",
                "--target_modules", "query", "value"],
    "custom_task.py": ["--train_file", "{folder}/own.csv", "--columns", "utterance",
                       "--label_column", "intent", "--class_names", "book", "cancel", "other",
                       "--skipped_labels", "other"],
    "custom_method.py": ["--method", "counterfactual_triplet", "--task_name", "snli", "--train_file",
                         "{folder}/train.jsonl", "--do_train", "--use_cpu", "--logging_steps", "1"],
    "hyperparameter_search.py": ["--train_file", "{folder}/train.jsonl", "--validation_file",
                                 "{folder}/dev.jsonl", "--trials", "2"],
}  # fmt: skip


def test_the_readme_names_every_example(repository):
    folder = repository / "examples"
    scripts = {path.name for path in (folder / "by_feature").glob("*.py")}
    assert scripts == set(COMMANDS)
    text = (folder / "README.md").read_text()
    assert all(f"by_feature/{name}" in text for name in scripts) and "run_glue_bat.py" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_has_an_example_and_says_what_each_flag_is(name, repository, monkeypatch, capsys):
    path = repository / "examples" / "by_feature" / name
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.setattr(argparse._HelpAction, "__call__", lambda _, parser, *__: found(parser))

    def found(parser):
        assert all(action.help for action in parser._actions)
        parser.print_help()
        parser.exit()

    with pytest.raises(SystemExit):
        runpy.run_path(str(path), run_name="__main__")
    assert f"\n    python examples/by_feature/{name} --model_name" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_runs(tiny_folder, tmp_path, repository, quiet_environment, name):
    flags = [flag.format(folder=tiny_folder) for flag in COMMANDS[name]]
    done = subprocess.run(
        [sys.executable, str(repository / "examples" / "by_feature" / name), *flags,
         "--model_name_or_path", str(tiny_folder / "model"), "--output_dir", str(tmp_path / "out"),
         "--max_steps", "2"],
        capture_output=True, text=True, env=quiet_environment, timeout=180, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    if name == "lora.py":
        assert (tmp_path / "out" / "adapter_config.json").exists()
        assert "eval_obstinate_distance" in done.stdout
    elif name == "custom_task.py":
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
        assert model.config.id2label == {0: "book", 1: "cancel", 2: "other"}
        assert "utterance:" in done.stdout and "->" in done.stdout
        assert len(SubstitutionTable.load(tmp_path / "out" / "antonyms.json.gz")) > 1000
    elif name == "custom_method.py":
        assert "loss_triplet" in done.stdout and "loss_counterfactual" in done.stdout
        assert "max(0, d(x, x_f) + margin" in (tmp_path / "out" / "README.md").read_text()
    else:
        assert "best: 0." in done.stdout and "'contrastive_weight': " in done.stdout
