"""Sweeps: keys, grids, runs that are never made twice, and what they leave."""

import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from terminal import run_on_terminal
from tiny_models import tiny_model
from training_helpers import ANTONYMS, SYNONYMS, made_rows, tokenizer_for_made_rows

from hf_bat import HfBatError, cli
from hf_bat.sweep import (
    finished,
    folder_of,
    group_runs,
    make_grid,
    make_run,
    markdown,
    parse_flags,
    read_grid,
    run_all,
    schedule,
)
from hf_bat.sweep.cost import dry_run, estimate, planned_batches, planned_steps, work
from hf_bat.sweep.train_run import last_whole_checkpoint, train_and_measure

BASE = {"model_name_or_path": "some/model", "task_name": "snli", "attacks": ["antonym", "synonym"]}

# Stands in for a training: counts its starts, and does what its seed says the first time.
WORKER = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1]).parent
config = json.loads((folder / "config.json").read_text())
starts = folder / "starts"
starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
seed, first = config["arguments"]["seed"], len(starts.read_text()) == 1
if seed == 13 and first:
    print("step 3 of 10", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if seed == 14:
    print("train_run: error: no such thing", file=sys.stderr)
    sys.exit(2)
if seed == 15:
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(60)
rate = 0.3 + 0.01 * seed + 0.1 * config["arguments"].get("alpha", 0)
metrics = {"eval_accuracy": 0.8, "eval_synonym_asr": rate, "eval_antonym_asr_confident": 1 - rate,
           "threads": float(os.environ.get("OMP_NUM_THREADS", 0))}
result = {"key": config["key"], "arguments": config["arguments"], "metrics": metrics, "steps": 10,
          "train": {"train_runtime": 5.0, "resumed": False}}
(folder / "result.json").write_text(json.dumps(result))
"""


@pytest.fixture
def fake_worker(tmp_path, monkeypatch):
    (tmp_path / "fake_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(schedule, "_WORKER", "fake_worker")
    monkeypatch.setattr(schedule, "_POLL", 0.02)


def starts(root, run):
    path = folder_of(root, run.key) / "starts"
    return len(path.read_text()) if path.exists() else 0


def test_a_grid_makes_each_run_once():
    runs = make_grid(BASE, read_grid(["method=normal,pairwise", "alpha=0.5,1", "seed=1,2"]))
    assert [run.label(["method", "alpha", "seed"]) for run in runs] == [
        "method=normal seed=1", "method=normal seed=2",
        "method=pairwise alpha=0.5 seed=1", "method=pairwise alpha=0.5 seed=2",
        "method=pairwise alpha=1.0 seed=1", "method=pairwise alpha=1.0 seed=2",
    ]  # fmt: skip
    assert len({run.key for run in runs}) == 6
    assert len(make_grid(BASE, {})) == 1
    assert read_grid(["lambda=0.5,1"]) == {"contrastive_weight": [0.5, 1.0]}


def test_a_key_stands_for_what_the_result_depends_on(tmp_path):
    def key(**more):
        return make_run({**BASE, "method": "pairwise", **more}).key

    plain = key()
    assert plain == key(alpha=1.0, beta=1.2) == key(seed=42) == key(disable_tqdm=True, save_steps=7)
    others = {key(alpha=0.9), key(seed=1), key(learning_rate=1e-4), key(attacks=["antonym"])}
    assert plain not in others and len(others) == 4
    assert make_run(BASE, ["accelerate", "launch"]).key != make_run(BASE).key
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text("{}\n")
    shutil.copy(one, other)
    assert key(train_file=str(one)) == key(train_file=str(other)) != plain
    changed = tmp_path / "changed.jsonl"
    changed.write_text("{} \n")
    assert key(train_file=str(changed)) != key(train_file=str(one))


def test_a_key_minds_when_checkpoints_are_written_where_the_best_one_is_the_result():
    def key(**more):
        return make_run({**BASE, **more}).key

    best = {"load_best_model_at_end": True, "metric_for_best_model": "accuracy"}
    epochs = key(**best, eval_strategy="epoch")
    assert epochs == key(**best, eval_strategy="epoch", save_strategy="epoch", save_steps=7)
    steps = {**best, "eval_strategy": "steps", "eval_steps": 5, "save_strategy": "steps"}
    keys = {
        epochs,
        key(**steps),
        key(**steps, save_steps=5),
        key(**steps, save_steps=10),
        key(**{**best, "save_strategy": "best"}, eval_strategy="epoch"),
        key(**{**best, "metric_for_best_model": "loss"}, eval_strategy="epoch"),
        key(eval_strategy="epoch"),
    }
    assert len(keys) == 7
    assert key(**steps, save_steps=10) == key(**steps, save_steps=10.0, save_total_limit=3)
    assert key(eval_strategy="epoch", save_strategy="steps") == key(eval_strategy="epoch")
    assert key(eval_strategy="steps") != key(eval_strategy="steps", logging_steps=7)
    assert key(**steps) == key(**steps, logging_steps=7)


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        (["alpha"], "not of the form name=value"),
        (["alpha=1,,2"], "not of the form name=value"),
        (["alpha=1,1.0"], "gives a value twice"),
        (["seed=1,01"], "gives a value twice"),
        (["alpha=1", "alpha=2"], "names alpha twice"),
        (["alpha=soft"], "invalid float value: 'soft'"),
        (["alhpa=1"], "unrecognized arguments: --alhpa"),
        (["method=tripelt"], "unknown method 'tripelt'"),
        (["margin=1"], "margin=1.0 does not apply to method='normal'"),
        (["seed=1", "model_name_or_path=x"], "--base and --grid both name model_name_or_path"),
        (
            ["gradient_accumulation_steps=1,0"],
            "--gradient_accumulation_steps must be at least 1, not 0",
        ),
        (["output_dir=x"], "each run has its own folder"),
        (["train_file=nowhere.jsonl"], "--train_file nowhere.jsonl: No such file"),
    ],
)
def test_a_bad_grid_is_one_line(grid, says, capsys, tmp_path):
    words = [word for axis in grid for word in ("--grid", axis)]
    base = "--model_name_or_path m --task snli"
    assert cli.main(["sweep", "--base", base, *words, "--output_dir", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("hf-bat: error: ") and says in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("--task snli", "name no --model_name_or_path"),
        ("--model_name_or_path m", "need either --task_name or --columns"),
        ("--model_name_or_path m --task snil", "did you mean 'snli'"),
        ("--model_name_or_path m --task snli --nonsense 3", "unrecognized arguments: --nonsense"),
    ],
)
def test_bad_flags_of_the_runs_are_one_line(base, says):
    with pytest.raises(HfBatError, match=says):
        make_grid(parse_flags(base), {})


@pytest.mark.xdist_group("processes")
def test_a_finished_run_is_never_made_again_and_a_killed_one_is(tmp_path, fake_worker):
    runs = make_grid(BASE, {"seed": [1, 13, 14]})
    said = []
    failures = run_all(runs, tmp_path / "s", jobs=2, announce=said.append)
    assert len(failures) == 2
    assert any("no such thing" in line and "log.txt" in line for line in failures)
    killed = f"run {runs[1].key} failed: ended by SIGKILL, as the system does where memory runs out (log:"
    assert any(line.startswith(killed) for line in failures)
    assert [starts(tmp_path / "s", run) for run in runs] == [1, 1, 1]
    assert any("3/3 runs" in line for line in said)

    failures = run_all(runs, tmp_path / "s", jobs=2, announce=said.append)
    assert [starts(tmp_path / "s", run) for run in runs] == [1, 2, 2]
    assert [line.split()[1] for line in failures] == [runs[2].key]
    assert "1 of 3 runs are finished already" in said

    result = finished(tmp_path / "s", runs[1])
    assert result["metrics"]["threads"] == 1.0  # several jobs: one thread each
    (folder_of(tmp_path / "s", runs[1].key) / "result.json").write_text("{")
    with pytest.raises(HfBatError, match=r"result\.json is no result of a run"):
        run_all(runs, tmp_path / "s")


@pytest.mark.xdist_group("processes")
def test_a_run_that_another_process_makes_is_left_to_it(tmp_path, fake_worker):
    runs = make_grid(BASE, {"seed": [1, 2]})
    folder = folder_of(tmp_path, runs[0].key)
    folder.mkdir(parents=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        failures = run_all(runs, tmp_path, announce=lambda line: None)
    assert failures == [f"run {runs[0].key}: another process is making it"]
    assert [starts(tmp_path, run) for run in runs] == [0, 1]
    assert run_all(runs, tmp_path, announce=lambda line: None) == []


def test_windows_is_refused_in_one_line_before_anything_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    command = ["sweep", "--base", "--model_name_or_path m --task_name snli --max_steps 1", "--grid"]
    command += ["seed=1,2", "--output_dir", str(tmp_path / "s")]
    assert cli.main([*command, "--dry-run"]) == 0
    assert cli.main(command) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("hf-bat: error: runs of a sweep need file locks") and "\n" not in said
    assert not (tmp_path / "s").exists()


def test_finished_runs_are_summed_up_on_windows_too(tmp_path, monkeypatch):
    (run,) = make_grid(BASE, {"seed": [1]})
    folder_of(tmp_path, run.key).mkdir(parents=True)
    (folder_of(tmp_path, run.key) / "result.json").write_text(json.dumps({"key": run.key}))
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert run_all([run], tmp_path, announce=lambda line: None) == []


@pytest.mark.xdist_group("processes")
def test_an_interruption_ends_the_running_processes(tmp_path, fake_worker, monkeypatch):
    (run,) = make_grid(BASE, {"seed": [15]})
    pid = folder_of(tmp_path, run.key) / "pid"

    def interrupted(seconds):
        deadline = time.monotonic() + 60
        while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        raise KeyboardInterrupt

    clock = SimpleNamespace(sleep=interrupted, monotonic=time.monotonic)
    monkeypatch.setattr(schedule, "time", clock)  # time.sleep itself is subprocess's too
    with pytest.raises(KeyboardInterrupt):
        run_all([run], tmp_path, announce=lambda line: None)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


SIGNALLED = """
import pathlib, signal, sys
from hf_bat.sweep import make_grid, run_all, schedule
schedule._WORKER = "fake_worker"
# Whatever the tests themselves were started under.
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[2] == "nohup" else signal.SIG_DFL)
runs = make_grid({"model_name_or_path": "m", "task_name": "snli"}, {"seed": [15]})
try:
    run_all(runs, pathlib.Path(sys.argv[1]))
finally:
    print([signal.getsignal(number).name for number in (signal.SIGTERM, signal.SIGHUP)])
"""


@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize(
    "sent, how, status",
    [
        (["SIGTERM"], "", 143),
        (["SIGHUP"], "", 129),
        (["SIGHUP", "SIGTERM"], "nohup", 143),
    ],
)
def test_a_signal_ends_the_running_processes_too(tmp_path, fake_worker, sent, how, status):
    (run,) = make_grid({"model_name_or_path": "m", "task_name": "snli"}, {"seed": [15]})
    pid = folder_of(tmp_path, run.key) / "pid"
    command = [sys.executable, "-c", SIGNALLED, str(tmp_path), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sweep:
        deadline = time.monotonic() + 60
        while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        for name in sent:
            sweep.send_signal(getattr(signal, name))
            time.sleep(0.5)
        said, _ = sweep.communicate(timeout=60)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), signal.SIGKILL)
    assert sweep.returncode == status
    assert said.strip() == f"['SIG_DFL', '{'SIG_IGN' if how == 'nohup' else 'SIG_DFL'}']"


@pytest.mark.xdist_group("processes")
def test_signals_are_left_alone_outside_the_main_thread(tmp_path, fake_worker):
    runs = make_grid(BASE, {"seed": [1]})
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run_all, runs, tmp_path, announce=lambda line: None).result() == []


@pytest.mark.parametrize("visible, first, second", [(None, "0", "1"), ("5,3", "5", "3")])
def test_a_run_has_one_gpu_however_many_jobs_there_are(monkeypatch, visible, first, second):
    (plain,) = make_grid(BASE, {})
    (launched,) = make_grid(BASE, {}, ("accelerate", "launch"))
    (on_cpu,) = make_grid({**BASE, "use_cpu": True}, {})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)

    def device(run, slot=0, jobs=1):
        return schedule._environment(run, slot, jobs).get("CUDA_VISIBLE_DEVICES")

    assert device(plain) == first
    assert [device(plain, slot, jobs=3) for slot in range(3)] == [first, second, first]
    assert device(launched, jobs=2) == device(on_cpu, jobs=2) == visible


@pytest.mark.xdist_group("processes")
def test_the_command_lists_makes_and_sums_up(tmp_path, fake_worker, capsys):
    pytest.importorskip("matplotlib")
    rows = tmp_path / "train.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in made_rows(64)))
    words = ["sweep", "--base", f"--model_name_or_path m --task snli --train_file {rows}",
             "--grid", "method=normal,pairwise", "--grid", "alpha=0.5,1", "--grid", "seed=1,2",
             "--output_dir", str(tmp_path / "s")]  # fmt: skip
    assert cli.main([*words, "--dry_run"]) == 0
    listed = capsys.readouterr().out
    assert listed.count("24 steps") == 6 and "6 of 6 runs to make" in listed and "unknown" in listed
    assert cli.main([*words, "--dry_run", "--seconds_per_step", "4"]) == 0
    assert "~24 s" in capsys.readouterr().out  # a quarter of batch 32
    assert cli.main([*words, "--dry_run", "--seconds_per_step", "nan"]) == 2
    assert "--seconds_per_step must be more than 0, not nan" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()

    assert cli.main([*words, "--jobs", "2"]) == 0
    table = capsys.readouterr().out
    assert (
        "| method=pairwise alpha=0.5 | 2 | 80.00 (80.00 to 80.00) | 36.50 (30.15 to 42.85)" in table
    )
    content = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert len(content["runs"]) == 6 and "t-interval" in content["interval"]
    (group,) = [g for g in content["groups"] if g["name"] == "method=normal"]
    assert group["metrics"]["eval_synonym_asr"]["values"] == pytest.approx([0.31, 0.32])
    assert {path.name for path in (tmp_path / "s").iterdir()} == {
        "runs", "sweep.json", "sweep.md", "frontier.png", "frontier.svg"
    }  # fmt: skip
    assert "95 % t-interval" in (tmp_path / "s" / "sweep.md").read_text()

    # Other seeds: only those are made; and the finished ones tell what theirs will take.
    assert cli.main([*[w.replace("seed=1,2", "seed=1,2,3") for w in words], "--dry_run"]) == 0
    listed = capsys.readouterr().out
    assert listed.count("finished") == 6 and "3 of 9 runs to make; about 36 s" in listed


COMMAND = """
import sys
from hf_bat import cli
from hf_bat.sweep import schedule
schedule._WORKER = "fake_worker"
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_holds_on_a_terminal(tmp_path, fake_worker, quiet):
    pytest.importorskip("matplotlib")
    words = ["sweep", "--base", "--model_name_or_path m --task snli --seed 1 --max_train_samples 8",
             "--output_dir", str(tmp_path / "s"), *["--quiet"] * quiet]  # fmt: skip
    status, seen = run_on_terminal([sys.executable, "-c", COMMAND, *words])
    assert status == 0 and (tmp_path / "s" / "sweep.md").exists()
    assert seen == "" if quiet else "written: " in seen


def test_who_is_told_line_by_line_has_the_terminal_to_himself(tmp_path, fake_worker, monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    said = []
    runs = make_grid(BASE, {"seed": [1]})
    assert run_all(runs, tmp_path, announce=said.append) == []
    assert "1/1 runs" in said[-1] and stream.getvalue() == ""


def test_a_group_has_no_interval_over_one_seed():
    runs = make_grid(BASE, {"seed": [1]})
    groups = group_runs(runs, {runs[0].key: {"metrics": {"eval_accuracy": 0.5}}}, ["seed"])
    assert "| the base | 1 | 50.00 |" in markdown(groups)
    assert groups[0].to_dict()["metrics"]["eval_accuracy"]["t_interval_95"] is None


def test_a_table_has_a_column_for_every_attack():
    rates = {"accuracy": 0.9, "sister_asr": 0.1, "number_asr_confident": 0.2, "toxicity_keep_rate": 0.3,
             "antonym_invalid_keep_rate": 0.4, "sister_asr_mm": 0.5, "loss": 0.6}  # fmt: skip
    runs = make_grid(BASE, {"seed": [1]})
    found = {runs[0].key: {"metrics": {f"eval_{name}": rate for name, rate in rates.items()}}}
    assert markdown(group_runs(runs, found, ["seed"])).splitlines() == [
        "| run | seeds | accuracy | sister ASR | number ASR, confident | toxicity keep rate "
        "| antonym invalid keep rate | sister ASR (mismatched) |",
        "|---|---|---|---|---|---|---|---|",
        "| the base | 1 | 90.00 | 10.00 | 20.00 | 30.00 | 40.00 | 50.00 |",
    ]


def test_a_frontier_metric_that_no_run_has_is_one_line(tmp_path, capsys):
    def say(base, metric):
        base = f"--model_name_or_path m --task snli {base}"
        words = [
            "sweep",
            "--base",
            base,
            "--obstinate",
            metric,
            "--output_dir",
            str(tmp_path / "s"),
        ]
        status = cli.main([*words, "--dry_run"])
        return status, capsys.readouterr().err

    attacks = "--attacks paper-antonym sister synonym"
    for metric in ("foo", "eval_number_asr", "eval_synonym_asr", "eval_antonym_valid_asr"):
        status, error = say(attacks, metric)
        assert status == 2 and error.count("\n") == 1
        assert f"--obstinate {metric}: no run will have it; known: eval_antonym_asr, " in error
        assert "eval_sister_keep_rate" in error
    assert "known: none, for --attacks names no obstinate attack" in say("", "foo")[1]
    assert say(attacks, "eval_sister_asr") == say(attacks, "eval_antonym_asr_mm") == (0, "")
    assert say(f"{attacks} --attack_label_filter", "eval_antonym_valid_asr") == (0, "")


def test_steps_are_counted_as_the_trainer_counts_them(tmp_path):
    assert planned_steps({"max_steps": 7}, None) == 7
    assert planned_steps({}, None) is None
    flags = {
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "gradient_accumulation_steps": 2,
    }
    assert planned_steps(flags, 33) == 10 and planned_steps(flags, 33, processes=2) == 6
    assert "?" in dry_run(make_grid(BASE, {}), tmp_path, {}, [])


def test_costs_count_every_batch_that_gradients_are_accumulated_over(tmp_path):
    """Four batches of 8 to a step are the work of one batch of 32, and so many times that of one of 8."""
    flags = {**BASE, "num_train_epochs": 2, "per_device_train_batch_size": 8}
    one, four = make_run(flags), make_run({**flags, "gradient_accumulation_steps": 4})
    wide = make_run({**flags, "per_device_train_batch_size": 32})
    assert estimate(one, 64, [], 4.0) == estimate(four, 64, [], 4.0) == 16.0
    assert estimate(wide, 64, [], 4.0) == 16.0
    assert planned_steps(four.arguments, 72) == 6
    assert planned_batches(four.arguments, 72) == planned_batches(one.arguments, 72) == 18
    cut = {**flags, "gradient_accumulation_steps": 4, "max_steps": 5}
    assert planned_batches(cut, 72) == 9 + 4 + 4, "the last step of the first epoch has one batch"
    assert planned_batches(cut, None) == 20
    assert work({**flags, "method": "triplet", "num_fickle": 2}, 72) == 18 * 8 * 4


@pytest.mark.parametrize("accumulated", [1, 4])
def test_seconds_are_measured_by_what_a_run_forwarded(accumulated):
    flags = {**BASE, "max_steps": 10, "gradient_accumulation_steps": 4}
    measured = {
        "arguments": {**flags, "gradient_accumulation_steps": accumulated},
        "steps": 10,
        "train": {"train_runtime": 8.0, "resumed": False},
    }
    assert estimate(make_run(flags), None, [measured], None) == 8.0 * 4 / accumulated
    other = {**measured, "arguments": {**flags, "num_fickle": 3}}
    assert estimate(make_run(flags), None, [other], None) is None


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


def test_a_run_cut_short_goes_on_and_ends_as_if_it_had_not_been(tiny_run, tmp_path, monkeypatch):
    from hf_bat.sweep import train_run

    config = {"key": tiny_run.key, "identity": {}, "arguments": tiny_run.arguments}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    expected = train_and_measure(whole, config)

    class Killed(Exception):
        pass

    def stop(self, args, state, control, **kwargs):
        if state.global_step == 2:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(train_run._Progress, "on_step_begin", stop, raising=False)
        with pytest.raises(Killed):
            train_and_measure(cut, config)
    (cut / "trainer" / "checkpoint-9").mkdir()  # cut short while it was written
    result = train_and_measure(cut, config)
    assert result["train"]["resumed"] and not expected["train"]["resumed"]
    for name in ("eval_loss", "eval_accuracy", "eval_synonym_asr"):
        assert result["metrics"][name] == expected["metrics"][name]
    assert result["steps"] == 3 and result["rows"] == {"train": 16, "validation": 30}
    assert result["tables"]["synonyms"] == SYNONYMS.fingerprint
    found = result["representations"]
    assert found["rows"] == 5 and len(found["distances"]["fickle"]) == 5
    assert 0 <= found["fickle_distance"] <= 2 and (cut / "representations.npz").exists()
    assert last_whole_checkpoint(cut / "trainer").endswith("checkpoint-3")


def test_a_run_that_loads_the_best_model_is_planned_as_it_is_made(tiny_run, tmp_path):
    changes = {"eval_strategy": "epoch", "load_best_model_at_end": True, "num_train_epochs": 2}
    left_out = ("save_strategy", "save_steps", "max_steps", "representations", "attacks")
    arguments = {k: v for k, v in tiny_run.arguments.items() if k not in left_out} | changes
    run = make_run(arguments)
    config = {"key": run.key, "identity": {}, "arguments": run.arguments}
    (tmp_path / "best").mkdir()
    result = train_and_measure(tmp_path / "best", config)
    assert result["metrics"]["eval_loss"] == min(log["eval_loss"] for log in result["epochs"])
    assert [log["epoch"] for log in result["epochs"]] == [1.0, 2.0], "each once"
    with pytest.raises(HfBatError, match="load_best_model_at_end"):
        make_run({**arguments, "eval_strategy": "steps"})
