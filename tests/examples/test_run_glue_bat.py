"""The training script, started as by a user."""

import importlib.util
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from tiny_models import tiny_model
from training_helpers import tokenizer_for_made_rows
from transformers import AutoModelForSequenceClassification

from hf_bat import SubstitutionTable, finetune
from hf_bat.report.page import write_report

LAUNCHERS = {
    "python": [],
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
    # With --cpu, accelerate needs MPI for several processes. --multi_gpu starts them itself, and the
    # script's --use_cpu keeps them off GPUs.
    "accelerate": ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
                   "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
                   "--main_process_port", "0"],
}  # fmt: skip


@pytest.fixture(scope="session")
def script(repository):
    return repository / "examples" / "run_glue_bat.py"


@pytest.fixture
def in_process(script, monkeypatch, capsys):
    """Return a function that runs the script in this process: flags -> (exit status, stdout, stderr)."""
    spec = importlib.util.spec_from_file_location("run_glue_bat", script)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "run_glue_bat", module)
    spec.loader.exec_module(module)

    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["run_glue_bat.py", *map(str, flags)])
        capsys.readouterr()
        status = module.run()
        return (status, *capsys.readouterr())

    return run


def flags_for(folder, output, *more, method="triplet"):
    flags = ["--model_name_or_path", folder / "model", "--output_dir", output, "--use_cpu",
             "--report_to", "none", "--disable_tqdm", "true", "--method", method,
             "--per_device_train_batch_size", 4, "--logging_steps", 1, "--save_strategy", "no",
             *more]  # fmt: skip
    if method != "normal":
        flags += ["--synonyms", folder / "synonyms.json"]
    if method in ("pairwise", "triplet"):
        flags += ["--antonyms", folder / "antonyms.json"]
    return [str(flag) for flag in flags]


def snli(folder, *more):
    test = ["--test_file", folder / "test.jsonl"] if "--do_predict" in more else []
    return ["--task_name", "snli", "--train_file", folder / "train.jsonl",
            "--validation_file", folder / "dev.jsonl", *test, *more]  # fmt: skip


def read(path):
    return json.loads(path.read_text())


def check_full_run(folder, output, world=1):
    train, evaluation = read(output / "train_results.json"), read(output / "eval_results.json")
    assert train["train_samples"] == 40 and train["train_loss"] > 0
    assert evaluation["eval_samples"] == 22 and 0 <= evaluation["eval_accuracy"] <= 1
    everything = read(output / "all_results.json")
    assert {**train, **evaluation}.items() <= everything.items()
    state = read(output / "trainer_state.json")
    assert state["global_step"] == 40 // (4 * world)
    assert {"loss_ce", "loss_triplet", "fickle_valid"} <= state["log_history"][0].keys()

    described = read(output / "perturbations.json")
    for name, kind in (("synonyms", "fickle"), ("antonyms", "obstinate")):
        table = SubstitutionTable.load(output / f"{name}.json.gz")
        assert table.fingerprint == train[f"{name}_fingerprint"] == described[kind]["table"]
    antonyms = SubstitutionTable.load(folder / "antonyms.json")
    assert train["antonyms_fingerprint"] == antonyms.fingerprint

    lines = (output / "predict_results_snli.txt").read_text().splitlines()
    assert lines[0] == "index\tprediction" and len(lines) == 10
    assert {line.split("\t")[1] for line in lines[1:]} <= {"entailment", "neutral", "contradiction"}
    assert (output / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_train_evaluate_and_predict(tiny_folder, tmp_path, script, quiet_environment, launcher):
    output = tmp_path / "out"
    flags = flags_for(
        tiny_folder, output, *snli(tiny_folder, "--do_train", "--do_eval", "--do_predict"),
        "--num_train_epochs", 1,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, *LAUNCHERS[launcher], str(script), *flags],
        capture_output=True, text=True, env=quiet_environment, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    check_full_run(tiny_folder, output, 1 if launcher == "python" else 2)
    assert done.stdout.count("rows shown; rows with a valid draw") == 1, (
        "one process alone previews"
    )
    # The model works without hf_bat.
    code = (
        "import sys; from transformers import AutoModelForSequenceClassification as A;"
        f"print(A.from_pretrained({str(output)!r}).config.id2label);"
        "assert 'hf_bat' not in sys.modules"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=quiet_environment
    )
    assert loaded.returncode == 0 and "'contradiction'" in loaded.stdout, loaded.stderr[-2000:]


def test_a_single_sentence_task_of_ones_own(tiny_folder, tmp_path, in_process):
    own = ["--columns", "utterance", "--label_column", "intent", "--class_names", "other", "cancel",
           "book", "--skipped_labels", "other", "--train_file", tiny_folder / "own.csv",
           "--validation_file", tiny_folder / "own.csv", "--max_train_samples", 16,
           "--max_eval_samples", 10]  # fmt: skip
    status, out, err = in_process(
        *flags_for(tiny_folder, tmp_path / "a", *own, "--do_train", "--do_eval", "--max_steps", 2)
    )
    assert status == 0, err
    assert read(tmp_path / "a" / "train_results.json")["train_samples"] == 16
    assert read(tmp_path / "a" / "eval_results.json")["eval_samples"] == 10
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "a")
    assert model.config.id2label == {0: "other", 1: "cancel", 2: "book"}
    assert "utterance:" in out

    # Without names, training uses the names in the data, and prediction uses the model's names.
    found = ["--columns", "utterance", "--label_column", "intent"]
    status, _, err = in_process(
        *flags_for(tiny_folder, tmp_path / "b", *found, "--train_file", tiny_folder / "own.csv",
                   "--do_train", "--max_steps", 1, method="normal")
    )  # fmt: skip
    assert status == 0, err
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "b")
    assert model.config.id2label == {0: "book", 1: "cancel", 2: "other"}
    (tmp_path / "new.csv").write_text("utterance\nA man waits.\nA dog sings.\n")
    flags = flags_for(tiny_folder, tmp_path / "c", *found, "--test_file", tmp_path / "new.csv",
                      "--do_predict", method="normal")  # fmt: skip
    flags[1] = str(tmp_path / "a")
    status, _, err = in_process(*flags)
    assert status == 0, err
    lines = (tmp_path / "c" / "predict_results_custom.txt").read_text().splitlines()
    assert len(lines) == 3 and lines[1].split("\t")[1] in ("other", "cancel", "book")


@pytest.mark.parametrize("method", ["likelihood", "triplet"])
def test_antonyms_of_single_sentences_need_a_table(
    tiny_folder, tmp_path, in_process, caplog, method
):
    """One sentence does not show which antonyms change the label. `flags_for` gives triplet a table."""
    flags = flags_for(tiny_folder, tmp_path / "out", "--columns", "utterance", "--label_column",
                      "intent", "--train_file", tiny_folder / "own.csv", "--do_train",
                      "--max_steps", 1, method=method)  # fmt: skip
    assert in_process(*flags)[0] == 0
    assert ("pass --antonyms" in caplog.text) == (method == "likelihood")


def test_labels_in_digits_of_a_file_with_an_empty_cell(tiny_folder, tmp_path, in_process):
    """A single empty cell turns the entire column into text."""
    lines = [f"A dog sings.,{n % 3},other" for n in range(8)] + ["A man waits.,,other"]
    (tmp_path / "own.csv").write_text("\n".join(["utterance,gold,label", *lines]) + "\n")
    own = ["--columns", "utterance", "--label_column", "gold", "--train_file", tmp_path / "own.csv",
           "--validation_file", tmp_path / "own.csv"]  # fmt: skip
    status, _, _ = in_process(
        *flags_for(tiny_folder, tmp_path / "out", *own, "--do_train", "--do_eval", method="normal")
    )
    assert status == 0
    assert read(tmp_path / "out" / "train_results.json")["train_samples"] == 8
    config = read(tmp_path / "out" / "config.json")
    assert len(config["id2label"]) == 3


def test_a_trained_model_says_the_labels_of_rows_that_it_only_scores(
    tiny_folder, tmp_path, in_process
):
    """A test file has placeholders, and a class may be missing in an evaluation file."""
    model = AutoModelForSequenceClassification.from_pretrained(tiny_folder / "model")
    model.config.id2label = {0: "book", 1: "cancel", 2: "other"}
    model.save_pretrained(tmp_path / "model")
    tokenizer_for_made_rows().save_pretrained(tmp_path / "model")
    (tmp_path / "dev.csv").write_text("utterance,intent\nA man waits.,book\nA boy sings.,other\n")
    (tmp_path / "test.csv").write_text("utterance,intent\nA man waits.,-1\nA boy sings.,-1\n")
    base = flags_for(tiny_folder, tmp_path / "out", "--model_name_or_path", tmp_path / "model",
                     "--columns", "utterance", "--label_column", "intent", method="normal")  # fmt: skip
    status, _, err = in_process(*base, "--do_eval", "--validation_file", tmp_path / "dev.csv",
                                "--do_predict", "--test_file", tmp_path / "test.csv")  # fmt: skip
    assert status == 0, err
    assert read(tmp_path / "out" / "eval_results.json")["eval_samples"] == 2
    predicted = (tmp_path / "out" / "predict_results_custom.txt").read_text().splitlines()[1:]
    assert len(predicted) == 2 and all(
        line.split("\t")[1] in ("book", "cancel", "other") for line in predicted
    )
    status, _, err = in_process(*base, "--do_predict", "--test_file", tmp_path / "test.csv")
    assert status == 0, err


def test_the_mismatched_set_of_mnli_has_keys_of_its_own(tiny_folder, tmp_path, in_process):
    status, _, err = in_process(
        *flags_for(tiny_folder, tmp_path, "--task", "mnli", "--data", tiny_folder / "dev.jsonl",
                   "--validation_mm_file", tiny_folder / "mm.jsonl", "--do_eval")
    )  # fmt: skip
    assert status == 0, err
    found = read(tmp_path / "eval_results.json")
    assert (found["eval_samples"], found["eval_samples_mm"]) == (22, 12)
    assert {"eval_accuracy", "eval_accuracy_mm", "eval_loss", "eval_loss_mm"} <= found.keys()


def test_arguments_from_a_file_and_bf16(tiny_folder, tmp_path, in_process):
    arguments = {
        "model_name_or_path": str(tiny_folder / "model"),
        "output_dir": str(tmp_path / "out"),
        "task_name": "snli",
        "train_file": str(tiny_folder / "train.jsonl"),
        "method": "pairwise",
        "beta": 0.7,
        "weight_warmup_steps": 0,
        "pooling": "mean",
        "do_train": True,
        "bf16": True,
        "use_cpu": True,
        "max_steps": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
    }
    path = tmp_path / "arguments.json"
    path.write_text(json.dumps(arguments))
    status, _, err = in_process(path)
    assert status == 0, err
    logs = read(tmp_path / "out" / "trainer_state.json")["log_history"]
    expected = logs[0]["loss_ce"] + logs[0]["loss_fickle"] + 0.7 * logs[0]["loss_obstinate"]
    assert logs[0]["loss"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(
    tiny_folder, tmp_path, script, in_process, quiet_environment
):
    def flags(output):
        made = flags_for(
            tiny_folder, output, *snli(tiny_folder, "--do_train"), "--num_train_epochs", 3,
            "--save_steps", 5, "--dataloader_num_workers", 1,
        )  # fmt: skip
        made[made.index("--save_strategy") + 1] = "steps"
        return made

    killed = tmp_path / "killed"
    # Slowed down, so there is time to kill it between two steps.
    code = (
        "import runpy, sys, time, transformers.trainer as t\n"
        "step = t.Trainer.training_step\n"
        "t.Trainer.training_step = lambda *a, **k: (time.sleep(0.3), step(*a, **k))[1]\n"
        f"sys.argv = [{str(script)!r}, *sys.argv[1:]]\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *flags(killed)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=quiet_environment,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (killed / "checkpoint-10" / "trainer_state.json").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "train_results.json").exists()

    status, _, err = in_process(*flags(killed))
    assert status == 2 and "already holds checkpoint-" in err.splitlines()[-1]
    status, _, err = in_process(*flags(killed), "--resume_from_checkpoint", "last")
    assert status == 0, err
    status, _, err = in_process(*flags(tmp_path / "whole"))
    assert status == 0, err
    ours, theirs = (
        AutoModelForSequenceClassification.from_pretrained(tmp_path / name).state_dict()
        for name in ("killed", "whole")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    losses = [
        [e["loss"] for e in read(tmp_path / n / "trainer_state.json")["log_history"] if "loss" in e]
        for n in ("killed", "whole")
    ]
    assert losses[0] == losses[1] and len(losses[0]) == 30


BAD = {
    "nothing to do": ([], "--do_train"),
    "task": (["--task_name", "snlii", "--do_eval"], "did you mean 'snli'?"),
    "no task": (["--do_eval"], "--columns"),
    "method": (["--do_eval", "--method", "tripplet"], "'tripplet'"),
    "flag": (["--do_eval", "--marjin", "1"], "--marjin"),
    "value": (["--do_eval", "--margin", "wide"], "'wide'"),
    "misspelled": (["--do_eval", "--taks_name", "snli"], "did you mean '--task_name'"),
    "contrast set": (["--task_name", "snli", "--do_eval", "--validation_file", "{folder}/dev.jsonl",
                      "--model_name_or_path", "/nowhere", "--contrast_file", "no.jsonl"], "no.jsonl"),
    "weight": (["--do_eval", "--alpha", "2"], "alpha"),
    "file": (["--task_name", "snli", "--do_train", "--train_file", "no.jsonl"], "no.jsonl"),
    "format": (["--task_name", "snli", "--do_train", "--train_file", "{folder}/model"], "/model"),
    "column": (["--columns", "sentence", "--do_train", "--train_file", "{folder}/train.jsonl"],
               "'sentence'"),
    "labels": (["--columns", "premise", "--class_names", "yes", "no", "maybe", "--label_column",
                "idx", "--do_train", "--train_file", "{folder}/train.jsonl"],
               "label 3 in row 3 of the training set"),
    "table": (["--task_name", "snli", "--do_train", "--train_file", "{folder}/train.jsonl",
               "--synonyms", "no.json"], "no.json"),
    "model": (["--task_name", "snli", "--do_eval", "--validation_file", "{folder}/dev.jsonl",
               "--model_name_or_path", "/nowhere"], "/nowhere"),
    "head": (["--task_name", "mrpc", "--do_eval", "--validation_file", "{folder}/pairs.jsonl"],
             "--ignore_mismatched_sizes"),
    "checkpoint": (["--task_name", "snli", "--do_train", "--train_file", "{folder}/train.jsonl",
                    "--resume_from_checkpoint", "/nowhere"], "/nowhere"),
    "output": (["--task_name", "snli", "--do_train", "--train_file", "{folder}/train.jsonl",
                "--output_dir", "{folder}/train.jsonl/out"], "output_dir"),
    "own names": (["--task_name", "snli", "--do_eval", "--class_names", "a", "b"], "--class_names"),
    "own labels": (["--task_name", "snli", "--do_eval", "--skipped_labels", "neutral"],
                   "--skipped_labels"),
    "own column": (["--task_name", "snli", "--do_eval", "--label_column", "gold"], "--label_column"),
    "mismatched": (["--task_name", "snli", "--do_eval", "--validation_mm_file", "mm.jsonl"],
                   "--validation_mm_file"),
    "baseline": (["--task_name", "snli", "--do_train", "--train_file", "{folder}/train.jsonl",
                  "--baseline", "{folder}"], "--do_eval"),
    "test": (["--task_name", "snli", "--do_eval", "--test_file", "nosuch.jsonl"], "--do_predict"),
    "token": (["--task_name", "snli", "--do_eval", "--hub_token", "made-up"], "--push_to_hub"),
    "private": (["--task_name", "snli", "--do_eval", "--hub_private_repo", "true"],
                "--push_to_hub"),
    "resume": (["--task_name", "snli", "--do_eval", "--resume_from_checkpoint", "last"],
               "--model_name_or_path"),
    "batches": (["--task_name", "snli", "--do_eval", "--batch_eval_metrics", "true"],
                "--batch_eval_metrics"),
    "apart": (["--task_name", "snli", "--do_eval", "--eval_do_concat_batches", "false"],
              "--eval_do_concat_batches"),
    "losses": (["--task_name", "snli", "--do_predict", "--prediction_loss_only", "true"],
               "--prediction_loss_only"),
    "names": (["--task_name", "snli", "--do_eval", "--label_names", "yes", "no"], "--class_names"),
    "empty": (["--task_name", "snli", "--do_eval", "--validation_file", "{folder}/empty.jsonl"],
              "empty.jsonl"),
    "no training rows": (["--task_name", "snli", "--do_train", "--train_file",
                          "{folder}/train.jsonl", "--max_train_samples", "0"], "max_train_samples"),
    "one class": (["--task_name", "snli", "--do_train", "--train_file", "{folder}/train.jsonl",
                   "--max_train_samples", "1"], "all classes"),
    "no evaluation rows": (["--task_name", "snli", "--do_eval", "--validation_file",
                            "{folder}/dev.jsonl", "--max_eval_samples", "-1"], "max_eval_samples"),
    "no predictions": (["--task_name", "snli", "--do_predict", "--test_file",
                        "{folder}/test.jsonl", "--max_predict_samples", "0"],
                       "max_predict_samples"),
    "no hub": (["--task_name", "snli", "--do_train"], "--train_file"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_status_2(tiny_folder, tmp_path, in_process, case):
    flags, keyword = BAD[case]
    (tiny_folder / "pairs.jsonl").write_text(
        json.dumps({"sentence1": "A.", "sentence2": "B.", "label": 1}) + "\n"
    )
    (tiny_folder / "empty.jsonl").write_text("")
    given = [flag.format(folder=tiny_folder) for flag in flags]
    status, _, err = in_process(*flags_for(tiny_folder, tmp_path / "out"), *given)
    lines = [line for line in err.splitlines() if line.startswith("run_glue_bat: error: ")]
    assert status == 2 and len(lines) == 1, err
    assert keyword in lines[0]
    assert "Traceback" not in err
    assert not list((tmp_path / "out").rglob("*")), "nothing half-written"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_an_interrupted_run_says_in_one_line_how_to_resume(
    tiny_folder, tmp_path, in_process, monkeypatch, quiet, number
):
    def interrupt(*_):
        os.kill(os.getpid(), number)
        time.sleep(60)

    monkeypatch.setattr(finetune, "train", interrupt)
    train = ["--train_file", str(tiny_folder / "train.jsonl"), "--task_name", "snli", "--do_train"]
    status, _, err = in_process(*flags_for(tiny_folder, tmp_path / "out"), *train, *quiet)
    assert status == 128 + number
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    last = err.splitlines()[-1]
    assert "interrupted" in last and "--resume_from_checkpoint last" in last
    assert not quiet or err.count("\n") == 1


@pytest.mark.slow
def test_bad_input_ends_the_process_with_status_2_and_one_line(
    tiny_folder, tmp_path, script, quiet_environment
):
    flags = flags_for(tiny_folder, tmp_path / "out", "--task_name", "snlii", "--do_train")
    done = subprocess.run(
        [sys.executable, str(script), *flags], capture_output=True, text=True, env=quiet_environment
    )
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("run_glue_bat: error: ") and "did you mean 'snli'?" in line


def test_the_last_table_is_beside_the_baselines(tiny_folder, tmp_path, in_process):
    def evaluated(name, *more):
        flags = flags_for(tiny_folder, tmp_path / name, *snli(tiny_folder, "--do_eval"),
                          "--attacks", "synonym", *more,
                          method="normal")  # fmt: skip
        return in_process(*flags)

    status, out, _ = evaluated("a")
    assert status == 0 and "this model" in out and "synonym ASR" in out and "baseline" not in out
    status, out, _ = evaluated("b", "--baseline", tmp_path / "a")
    assert status == 0 and "baseline  difference" in out and "\x1b" not in out
    assert "+0.0  same" in out
    status, out, error = evaluated("c", "--baseline", tmp_path / "absent")
    assert (status, out) == (2, "") and error.count("\n") == 1 and "baseline" in error
    assert not (tmp_path / "c").exists(), "refused before the work"


def test_a_preprocessing_defence_stands_below_the_last_table(tiny_folder, tmp_path, in_process):
    flags = flags_for(tiny_folder, tmp_path / "out", *snli(tiny_folder, "--do_eval"),
                      "--canonicalize", method="normal")  # fmt: skip
    status, out, _ = in_process(*flags)
    assert status == 0
    assert out.rstrip().splitlines()[-1].startswith("Preprocessing defense: canonicalize (")
    for name in ("eval_results.json", "all_results.json"):
        written = read(tmp_path / "out" / name)
        assert written["preprocessing_defence"]["name"] == "canonicalize"
        assert written["eval_accuracy"] is not None
    write_report(tmp_path / "out", tmp_path / "page.html")
    assert "<p>Preprocessing defense: canonicalize (" in (tmp_path / "page.html").read_text()
    # A run without it in the same folder removes the line, also from all_results.json.
    shutil.copytree(tmp_path / "out", tmp_path / "again")
    flags = flags_for(
        tiny_folder, tmp_path / "again", *snli(tiny_folder, "--do_eval"), method="normal"
    )
    status, out, _ = in_process(*flags)
    assert status == 0 and "Preprocessing defense" not in out
    for name in ("eval_results.json", "all_results.json"):
        assert read(tmp_path / "again" / name)["preprocessing_defence"] is None
    (tmp_path / "again" / "perturbations.json").unlink(missing_ok=True)
    write_report(tmp_path / "again", tmp_path / "page.html")
    assert "Preprocessing defense" not in (tmp_path / "page.html").read_text()
    # With a baseline, both are listed by name.
    flags = flags_for(tiny_folder, tmp_path / "b", *snli(tiny_folder, "--do_eval"),
                      "--baseline", tmp_path / "out", method="normal")  # fmt: skip
    status, out, _ = in_process(*flags)
    assert status == 0 and "this model: " not in out
    assert out.rstrip().splitlines()[-1].startswith("baseline: Preprocessing defense: canonicalize")
    assert "preprocessing_defence" not in read(tmp_path / "b" / "eval_results.json")


def test_quiet_prints_nothing_and_writes_all(tiny_folder, tmp_path, in_process):
    flags = flags_for(tiny_folder, tmp_path / "out", *snli(tiny_folder, "--do_eval"),
                      "--quiet", method="normal")  # fmt: skip
    status, out, err = in_process(*flags)
    assert (status, out, err) == (0, "", "")
    assert "eval_accuracy" in read(tmp_path / "out" / "eval_results.json")
    status, out, err = in_process(*flags, "--validation_file", "absent.jsonl")
    assert (status, out) == (2, "")
    assert err == "run_glue_bat: error: data file not found: absent.jsonl\n"


@pytest.fixture(scope="session")
def encoder(tiny_folder):
    """Return an encoder without a head, for which transformers logs a report in bold."""
    path = tiny_folder / "encoder"
    tiny_model("bert").bert.save_pretrained(path)
    tokenizer_for_made_rows().save_pretrained(path)
    return path


@pytest.fixture
def own_process(tiny_folder, encoder, tmp_path, script, quiet_environment):
    """Return a function that trains an encoder without a head, with pipes for both streams."""

    def run(*more, launcher="python"):
        flags = flags_for(tiny_folder, tmp_path / "out", *snli(tiny_folder, "--do_train"),
                          "--model_name_or_path", encoder, "--max_steps", 2, method="safer")  # fmt: skip
        place = flags.index("--disable_tqdm")
        del flags[place : place + 2]
        return subprocess.run(
            [sys.executable, *LAUNCHERS[launcher], str(script), *flags, *more],
            capture_output=True, text=True, env=quiet_environment, timeout=180,
        )  # fmt: skip

    return run


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_the_seed_is_of_the_new_head_too(own_process, tmp_path):
    """Use separate processes, because tests in one process share their random state."""
    losses = []
    for _ in range(2):
        done = own_process("--quiet", "--seed", "7")
        assert done.returncode == 0, done.stderr
        log = read(tmp_path / "out" / "trainer_state.json")["log_history"]
        losses.append([entry["loss"] for entry in log if "loss" in entry])
        shutil.rmtree(tmp_path / "out")
    assert losses[0] == losses[1] and len(losses[0]) == 2


# This includes output that libraries bound to stderr when they were imported, messages about flags, and
# torch's own warnings (DDP warns about parameters).
@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("launcher", ["python", "accelerate"])
def test_quiet_prints_nothing_in_a_process_of_its_own(own_process, launcher):
    flags = ("--gradient_checkpointing", "true") if launcher == "python" else ()
    done = own_process("--quiet", *flags, launcher=launcher)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("flags", [(), ("--disable_tqdm", "false")])
def test_pipes_get_no_bars_that_are_not_asked_for_and_no_escapes(own_process, flags):
    done = own_process(*flags)
    assert done.returncode == 0, done.stderr
    assert "LOAD REPORT" in done.stderr and "\x1b" not in done.stdout + done.stderr
    for bar in ("2/2 [", "model shards: 100%"):
        assert (bar in done.stderr) == bool(flags)


def test_bars_are_for_terminals_unless_flags_say_otherwise(monkeypatch, tmp_path):
    # The Trainer shows no bars if an earlier test has raised the log level.
    monkeypatch.setattr(logging.getLogger("transformers"), "level", logging.WARNING)
    logging.getLogger("transformers.training_args").manager._clear_cache()
    flags = ["--model_name_or_path", "m", "--output_dir", str(tmp_path)]
    file = tmp_path / "flags.json"
    file.write_text(json.dumps({"model_name_or_path": "m", "output_dir": str(tmp_path)}))
    for terminal in (True, False):
        monkeypatch.setattr(finetune, "on_terminal", lambda stream, answer=terminal: answer)
        for given in (flags, [str(file)]):
            _, args = finetune.parse_arguments(given, finetune.make_parser())
            assert args.disable_tqdm is not terminal
        for value in ("true", "false"):
            given = [*flags, "--disable_tqdm", value]
            _, args = finetune.parse_arguments(given, finetune.make_parser())
            assert args.disable_tqdm is (value == "true")


def test_the_help_has_examples(in_process, capsys):
    with pytest.raises(SystemExit):
        in_process("--help")
    shown = capsys.readouterr().out
    assert "\n    accelerate launch examples/run_glue_bat.py --model_name_or_path" in shown
