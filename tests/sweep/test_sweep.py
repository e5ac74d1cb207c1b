"""Sweeps: keys, grids, runs that are never made twice, and what they leave."""

import fcntl
import hashlib
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
from html_page import Page
from terminal import run_on_terminal
from tiny_models import tiny_model
from training_helpers import (
    ANTONYMS,
    SYNONYMS,
    made_rows,
    make_trainer,
    tokenizer_for_made_rows,
)

from hf_bat import HfBatError, cli
from hf_bat.canonicalize import MAPPING_VERSION
from hf_bat.html_report import write_report
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
from hf_bat.sweep.plan import identity
from hf_bat.sweep.summary import FICKLE, OBSTINATE, write_summary
from hf_bat.sweep.train_run import last_whole_checkpoint, table_hashes, train_and_measure
from hf_bat.sweep.train_run import main as make_one

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
          "train": {"train_runtime": 5.0, "resumed": False}, "seconds": 5.0}
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


def test_a_grid_leaves_out_for_likelihood_what_its_triplet_term_alone_uses():
    base = {**BASE, "pooling": "mean", "mask": "authors", "distance": "euclidean"}

    def arguments(*axes, **more):
        return [run.arguments for run in make_grid({**base, **more}, read_grid(axes))]

    triplet, likelihood = arguments("method=triplet,likelihood")
    assert all(triplet[name] == base[name] for name in ("pooling", "mask", "distance"))
    assert not {"pooling", "mask", "distance"} & likelihood.keys()
    runs = arguments("method=likelihood", "lambda=0,0.5", "pooling=cls,mean")
    assert [(run["contrastive_weight"], run.get("pooling")) for run in runs] == [
        (0.0, None), (0.5, "cls"), (0.5, "mean")
    ]  # fmt: skip
    (measured,) = arguments("method=likelihood", eval_distances=True)
    assert measured["pooling"] == "mean" and measured["distance"] == "euclidean"
    with pytest.raises(HfBatError, match="is of the triplet term"):
        make_grid({**base, "method": "likelihood"}, read_grid(["seed=1,2"]))


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


def test_a_key_minds_the_content_of_every_local_model(tmp_path):
    def folder(name, content="{}"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "config.json").write_text(content)
        return str(tmp_path / name)

    def key(**more):
        base = {**BASE, "model_name_or_path": folder("model"), "method": "a2t", "seed": 7}
        return make_run({**base, **more}).key

    one, same, other = folder("one"), folder("same"), folder("other", '{"x": 1}')
    mlm = {"a2t_candidates": "mlm"}
    keys = [key(), key(encoder=one), key(encoder=other), key(encoder="some/encoder"),
            key(**mlm, mlm_model=one), key(**mlm, mlm_model=other),
            key(**mlm, mlm_model="some/model")]  # fmt: skip
    assert len({*keys}) == len(keys)
    assert key(encoder=same) == keys[1] and key(**mlm, mlm_model=same) == keys[4]
    folder("same", '{"x": 1}')
    assert key(encoder=same) == keys[2], "as it is now"
    (tmp_path / "empty").mkdir()
    with pytest.raises(HfBatError, match="--encoder .*empty holds no model"):
        key(encoder=str(tmp_path / "empty"))


def test_a_run_without_an_encoder_has_the_key_that_it_always_had(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    config = hashlib.sha256(b"{}").hexdigest()
    model = {"sha256": hashlib.sha256(f"config.json {config}".encode()).hexdigest()}
    run = {**BASE, "model_name_or_path": str(tmp_path), "method": "a2t", "seed": 7}
    content = {**run, "model_name_or_path": model, "adversarial_weight": 1.0}
    hub = {**BASE, "encoder": "some/encoder", "method": "a2t"}
    for arguments, known in ((run, content), (hub, {**hub, "adversarial_weight": 1.0})):
        assert identity(arguments) == known
        whole = json.dumps([known, []], sort_keys=True).encode()
        assert make_run(arguments).key == hashlib.sha256(whole).hexdigest()[:16]


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


def test_the_table_shows_of_an_interval_what_a_share_can_be():
    """Of two seeds' 0 % and 1 %, where Student's interval starts at -5.85 %."""
    runs = make_grid(BASE, {"seed": [1, 2]})
    rates = zip(runs, ((0.0, 1.0), (0.01, 0.99)), strict=True)
    found = {
        run.key: {"metrics": {"eval_synonym_asr": low, "eval_accuracy": high}}
        for run, (low, high) in rates
    }
    (group,) = groups = group_runs(runs, found, ["seed"])
    shown = "| the base | 2 | 99.50 (93.15 to 100.00) | 0.50 (0.00 to 6.85) |"
    assert markdown(groups).splitlines()[-1] == shown
    low, high = group.to_dict()["metrics"]["eval_synonym_asr"]["t_interval_95"]
    assert low == pytest.approx(-0.0585, abs=1e-4) and high == pytest.approx(0.0685, abs=1e-4)


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


def test_a_preprocessing_defence_is_disclosed_in_all_that_a_sweep_writes(tmp_path):
    pytest.importorskip("matplotlib")
    runs = make_grid({**BASE, "method": "safer"}, {"canonicalize": [False, True], "seed": [1]})
    rates = {"eval_accuracy": 0.9, FICKLE: 0.0, OBSTINATE: 0.8}
    found = {
        run.key: {"key": run.key, "arguments": dict(run.arguments), "metrics": rates}
        for run in runs
    }
    plain, defended = runs
    # Another way from table to mapping makes another run.
    assert identity(runs[1].arguments)["canonicalize"] == MAPPING_VERSION
    line = "canonicalize=True: Preprocessing defence: canonicalize"
    # Results of before have it in their arguments alone.
    write_summary(tmp_path, runs, found, ["canonicalize", "seed"])
    assert (tmp_path / "sweep.md").read_text().startswith(f"{line}: words are rewritten")
    defence = {"name": "canonicalize", "fingerprint": "0a1b2c3d4e5f67"}
    found[defended.key]["preprocessing_defence"] = defence
    write_summary(tmp_path, runs, found, ["canonicalize", "seed"])
    assert (tmp_path / "sweep.md").read_text().startswith(f"{line} (0a1b2c3d4e5f): words")
    groups = json.loads((tmp_path / "sweep.json").read_text())["groups"]
    assert [group.get("preprocessing_defence") for group in groups] == [None, defence]
    picture = (tmp_path / "frontier.svg").read_text()
    assert ">safer</text>" in picture and ">safer, canonicalize</text>" in picture
    assert cli.main(["report", str(tmp_path), "--quiet"]) == 0
    assert f"<p>{line} (0a1b2c3d4e5f)" in (tmp_path / "report.html").read_text()
    # Where all runs have it, once and without a name.
    write_summary(tmp_path, [defended], found, ["seed"])
    assert (tmp_path / "sweep.md").read_text().startswith("Preprocessing defence: canonicalize (")
    write_summary(tmp_path, [plain], found, ["seed"])
    for name in ("sweep.md", "frontier.svg"):
        assert "canonicalize" not in (tmp_path / name).read_text()


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


def test_a_run_s_result_has_its_preprocessing_defence(tiny_run, tmp_path):
    flags = {"method": "normal", "canonicalize": True, "max_steps": 1, "representations": 0}
    config = {"key": "a", "identity": {}, "arguments": {**tiny_run.arguments, **flags}}
    (tmp_path / "run").mkdir()
    result = train_and_measure(tmp_path / "run", config)
    assert result["preprocessing_defence"]["name"] == "canonicalize"
    assert len(result["preprocessing_defence"]["fingerprint"]) == 64
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))
    write_report(tmp_path / "run", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<p>Preprocessing defence: canonicalize (" in page.split("<h2>Run: ")[1]


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
def test_a_result_has_the_hash_of_every_table(tmp_path, options, names):
    hashes = table_hashes(make_trainer(tmp_path, made_rows(4), **options))
    assert hashes.keys() == names
    known = {"antonyms": ANTONYMS.fingerprint, "synonyms": SYNONYMS.minus(ANTONYMS).fingerprint}
    assert all(hashes[name] == known[name] for name in names & known.keys())


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


def test_a_run_and_its_sweep_have_a_report(tiny_run, tmp_path):
    pytest.importorskip("matplotlib")
    changes = {"eval_strategy": "epoch", "num_train_epochs": 2}
    left_out = ("save_strategy", "save_steps", "max_steps")
    run = make_run({k: v for k, v in tiny_run.arguments.items() if k not in left_out} | changes)
    root = tmp_path / "sweep"
    folder = folder_of(root, run.key)
    folder.mkdir(parents=True)
    config = {"key": run.key, "identity": {}, "arguments": run.arguments}
    (folder / "config.json").write_text(json.dumps(config))
    assert make_one([str(folder / "config.json")]) == 0
    for place in (folder, root):  # no table of the sweep yet: its runs are shown
        done = write_report(place, place / "report.html")
        name = str((folder / "result.json").relative_to(place))
        assert done["files"] == [name]
        page = Page((place / "report.html").read_text())
        assert page.tags.count("table") == 1 and page.tags.count("svg") == 1
        for words in ("training rows16", "evaluated rows30", "epochs2", "Evaluation by epoch", run.key,
                      "method: pairwise", "attacks: synonym", "silhouette: ", "pairwise, seed 3",
                      SYNONYMS.fingerprint, "torch: "):  # fmt: skip
            assert words in page.text, words
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
    """`make(folder, **changes)`: a run of two epochs, each evaluated; its result, and evaluations made."""
    from hf_bat.sweep import train_run

    evaluate, counted = train_run.BalancedTrainer.evaluate, []

    def counting(self, *args, **kwargs):
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

    monkeypatch.setattr(train_run.BalancedTrainer, "evaluate", counting)
    return make


def test_the_last_epoch_is_measured_once(epochs_run, tmp_path, monkeypatch):
    """An evaluation and its attacks were made twice on the same weights and rows: 139 of 777 seconds."""
    from hf_bat.sweep import train_run

    result, evaluations = epochs_run(tmp_path / "once")
    assert evaluations == 2
    # As it was: by an evaluation after training.
    monkeypatch.setattr(train_run, "evaluated_last", lambda trainer: None)
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
def test_an_evaluation_after_training_that_would_tell_more_is_made(
    epochs_run, tmp_path, changes, evaluations
):
    result, made = epochs_run(tmp_path / "run", **changes)
    assert made == evaluations and "eval_synonym_asr" in result["metrics"]
