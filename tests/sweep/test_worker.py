"""A single run of a sweep: training, measurements, result file and resuming."""

import json
import os

import pytest
from filelock import FileLock
from html_page import Page
from tiny_models import tiny_model
from training_helpers import (
    ANTONYMS,
    SYNONYMS,
    made_rows,
    make_trainer,
    tokenizer_for_made_rows,
)

from hf_bat import HfBatError
from hf_bat.checkpoints import find_checkpoint
from hf_bat.report.page import write_report
from hf_bat.sweep import finished, folder_of, make_run, run_all, worker
from hf_bat.sweep.summary import write_summary
from hf_bat.sweep.worker import hash_tables, main, train_and_measure


@pytest.fixture
def tiny_run(tmp_path):
    tiny_model("bert", dropout=0.1).save_pretrained(tmp_path / "model")
    tokenizer_for_made_rows().save_pretrained(tmp_path / "model")
    arguments = {"model_name_or_path": str(tmp_path / "model"), "task_name": "snli", "method": "pairwise",
                 "use_cpu": True, "per_device_train_batch_size": 4, "max_steps": 3, "save_strategy": "steps",
                 "save_steps": 1, "representations": 5, "attacks": ["synonym"], "seed": 3}  # fmt: skip
    for name, table in (("synonyms", SYNONYMS), ("antonyms", ANTONYMS)):
        table.save(tmp_path / f"{name}.json")
        arguments[name] = str(tmp_path / f"{name}.json")
    for name, n, seed in (("train", 16, 0), ("validation", 30, 1)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in made_rows(n, seed)))
        arguments[f"{name}_file"] = str(path)
    return make_run(arguments)


def test_result_has_the_preprocessing_defense(tiny_run, tmp_path):
    flags = {"method": "normal", "canonicalize": True, "max_steps": 1, "representations": 0}
    config = {"key": "a", "identity": {}, "arguments": {**tiny_run.arguments, **flags}}
    (tmp_path / "run").mkdir()
    result = train_and_measure(tmp_path / "run", config)
    assert result["preprocessing_defence"]["name"] == "canonicalize"
    assert len(result["preprocessing_defence"]["fingerprint"]) == 64
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))
    write_report(tmp_path / "run", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<p>Preprocessing defense: canonicalize (" in page.split("<summary>Run: ")[1]


def test_run_keeps_its_model_where_the_sweep_looks_for_it(tiny_run, tmp_path):
    arguments = {**tiny_run.arguments, "max_steps": 1, "representations": 0, "keep_model": True}
    run = make_run(arguments)
    folder = folder_of(tmp_path / "s", run.key)
    folder.mkdir(parents=True)
    config = {"key": run.key, "identity": {}, "arguments": run.arguments}
    (folder / "config.json").write_text(json.dumps(config))
    assert main([str(folder / "config.json")]) == 0
    assert (folder / "model" / "model.safetensors").exists()
    assert run_all([run], tmp_path / "s", announce=lambda line: None) == []


def test_killed_run_resumes_and_ends_with_the_same_result(tiny_run, tmp_path, monkeypatch):
    config = {"key": tiny_run.key, "identity": {}, "arguments": tiny_run.arguments}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    expected = train_and_measure(whole, config)

    class Killed(Exception):
        pass

    def kill(self, args, state, control, **kwargs):
        if state.global_step == 2:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(worker._ProgressCallback, "on_step_begin", kill, raising=False)
        with pytest.raises(Killed):
            train_and_measure(cut, config)
    (cut / "trainer" / "checkpoint-9").mkdir()  # incomplete
    result = train_and_measure(cut, config)
    assert result["train"]["resumed"] and not expected["train"]["resumed"]
    for name in ("eval_loss", "eval_accuracy", "eval_synonym_asr"):
        assert result["metrics"][name] == expected["metrics"][name]
    assert result["steps"] == 3 and result["rows"] == {"train": 16, "validation": 30}
    assert result["tables"]["synonyms"] == SYNONYMS.fingerprint
    kept = result["representations"]
    assert kept["rows"] == 5 and len(kept["distances"]["fickle"]) == 5
    assert 0 <= kept["fickle_distance"] <= 2 and (cut / "representations.npz").exists()
    assert find_checkpoint(cut / "trainer").endswith("checkpoint-3")


def test_a_data_file_that_changed_since_the_sweep_was_planned_ends_the_run(tiny_run, tmp_path):
    """Otherwise, the result would have the hash of one file content and the figures of another."""
    data = tmp_path / "dev.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in made_rows(12)))
    run = make_run({**tiny_run.arguments, "validation_file": str(data), "attacks": None})
    config = {"key": run.key, "identity": run.identity, "arguments": run.arguments}
    status = data.stat()
    data.write_text(data.read_text().replace("sleeping", "sitting"))
    os.utime(data, ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "run").mkdir()
    with pytest.raises(HfBatError, match="validation_file .*dev.jsonl has changed"):
        train_and_measure(tmp_path / "run", config)


def test_worker_leaves_a_locked_or_finished_run_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(worker, "train_and_measure", lambda *_: pytest.fail("trained"))
    command = [str(tmp_path / "config.json")]
    with FileLock(tmp_path / "lock"):
        assert main(command) == 2
    assert "another process" in capsys.readouterr().err
    (tmp_path / "result.json").write_text("{}")
    assert main(command) == 2
    assert (tmp_path / "result.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, set()),
        ({"attacks": ["antonym"]}, {"synonyms", "antonyms"}),
        ({"method": "likelihood"}, {"synonyms", "antonyms"}),
        ({"method": "likelihood", "label_filter": "only"}, {"synonyms", "antonyms"}),
        (
            {"method": "triplet", "obstinate_edits": ["antonym", "sister", "number"]},
            {"synonyms", "antonyms", "sisters"},
        ),
        ({"method": "triplet", "obstinate_edits": ["number"]}, {"synonyms"}),
        ({"canonicalize": True}, {"canonical"}),
    ],
)
def test_result_has_the_hash_of_every_table(tmp_path, options, names):
    hashes = hash_tables(make_trainer(tmp_path, made_rows(4), **options))
    assert hashes.keys() == names
    known = {"antonyms": ANTONYMS.fingerprint, "synonyms": SYNONYMS.minus(ANTONYMS).fingerprint}
    assert all(hashes[name] == known[name] for name in names & known.keys())


def test_run_that_loads_the_best_model_is_planned_as_it_is_made(tiny_run, tmp_path):
    changes = {"eval_strategy": "epoch", "load_best_model_at_end": True, "num_train_epochs": 2}
    left_out = ("save_strategy", "save_steps", "max_steps", "representations", "attacks")
    arguments = {k: v for k, v in tiny_run.arguments.items() if k not in left_out} | changes
    run = make_run(arguments)
    config = {"key": run.key, "identity": {}, "arguments": run.arguments}
    (tmp_path / "best").mkdir()
    result = train_and_measure(tmp_path / "best", config)
    assert result["metrics"]["eval_loss"] == min(log["eval_loss"] for log in result["epochs"])
    assert [log["epoch"] for log in result["epochs"]] == [1.0, 2.0]
    with pytest.raises(HfBatError, match="load_best_model_at_end"):
        make_run({**arguments, "eval_strategy": "steps"})


def test_report_shows_a_run_and_its_sweep(tiny_run, tmp_path):
    pytest.importorskip("matplotlib")
    changes = {"eval_strategy": "epoch", "num_train_epochs": 2}
    left_out = ("save_strategy", "save_steps", "max_steps")
    run = make_run({k: v for k, v in tiny_run.arguments.items() if k not in left_out} | changes)
    root = tmp_path / "sweep"
    folder = folder_of(root, run.key)
    folder.mkdir(parents=True)
    config = {"key": run.key, "identity": {}, "arguments": run.arguments}
    (folder / "config.json").write_text(json.dumps(config))
    assert main([str(folder / "config.json")]) == 0
    # The sweep has no table yet, so its runs are shown.
    for place in (folder, root):
        done = write_report(place, place / "report.html")
        name = str((folder / "result.json").relative_to(place))
        assert done["files"] == [name]
        page = Page((place / "report.html").read_text())
        assert page.tags.count("table") == 1 and page.tags.count("svg") == 1
        text = " ".join(page.text.split())
        for words in ("training rows 16", "evaluated rows 30", "epochs 2", "Evaluation by epoch", run.key,
                      "method: pairwise", "attacks: synonym", "silhouette: ", "pairwise, seed 3",
                      SYNONYMS.fingerprint, "torch: "):  # fmt: skip
            assert words in text, words
    result = finished(root, run)
    write_summary(root, [run], {run.key: result}, ["method"], obstinate="eval_accuracy")
    done = write_report(root, root / "report.html")
    assert done["files"] == ["frontier.png", "sweep.json"]
    assert done["others"]["runs/*/result.json"].startswith("finished runs (1)")
    assert "sweep.json" in done["others"]["sweep.md"] and "frontier.svg" in done["others"]
    page = Page((root / "report.html").read_text())
    assert page.tags.count("table") == 1 and page.tags.count("img") == 1
    assert "frontier.png" in page.text and "method=pairwise" in page.text


@pytest.fixture
def epochs_run(tiny_run, monkeypatch):
    """Return a function that runs two epochs and returns the result and the number of evaluations."""
    evaluate, counted = worker.BalancedTrainer.evaluate, []

    def count(self, *args, **kwargs):
        counted.append(self.state.global_step)
        return evaluate(self, *args, **kwargs)

    def make(folder, **changes):
        left_out = ("max_steps", "save_strategy", "save_steps", "representations")
        arguments = {k: v for k, v in tiny_run.arguments.items() if k not in left_out}
        arguments |= {"eval_strategy": "epoch", "num_train_epochs": 2, **changes}
        folder.mkdir()
        counted.clear()
        result = train_and_measure(folder, {"key": "k", "identity": {}, "arguments": arguments})
        return result, len(counted)

    monkeypatch.setattr(worker.BalancedTrainer, "evaluate", count)
    return make


def test_last_epoch_is_evaluated_once(epochs_run, tmp_path, monkeypatch):
    result, evaluations = epochs_run(tmp_path / "once")
    assert evaluations == 2
    monkeypatch.setattr(worker, "find_final_evaluation", lambda trainer: None)
    expected, evaluations = epochs_run(tmp_path / "again")
    assert evaluations == 3
    assert result.keys() == expected.keys()
    assert result["metrics"].keys() == expected["metrics"].keys()
    timed = {"eval_runtime", "eval_samples_per_second", "eval_steps_per_second"}
    for name in result["metrics"].keys() - timed:
        assert result["metrics"][name] == expected["metrics"][name], name
    assert [log["epoch"] for log in result["epochs"]] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("changes", "evaluations"),
    [
        ({"attack_every": "epoch"}, 2),
        ({"attack_every": "end"}, 3),
        ({"attack_every": "epoch", "num_train_epochs": 1.5}, 3),  # the last one did not attack
        ({"load_best_model_at_end": True}, 3),
        ({"bf16_full_eval": True}, 3),
        ({"eval_strategy": "no"}, 1),
    ],
)
def test_run_evaluates_after_training_if_that_measures_more(
    epochs_run, tmp_path, changes, evaluations
):
    result, count = epochs_run(tmp_path / "run", **changes)
    assert count == evaluations and "eval_synonym_asr" in result["metrics"]
