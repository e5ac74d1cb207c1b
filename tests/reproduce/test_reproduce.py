"""The paper's tables and figures: planned, run for two steps, and written."""

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from html_page import Page
from terminal import Terminal
from tiny_models import tiny_model
from training_helpers import ANTONYMS, SYNONYMS, made_rows, tokenizer_for_made_rows

from hf_bat.report.page import write_report
from hf_bat.sweep import schedule

pytest.importorskip("matplotlib", reason='needs pip install "hf_bat[plots]"')

NAMES = [f"table{i}" for i in range(1, 7)] + [f"figure{i}" for i in range(3, 13)]


@pytest.fixture
def script(repository, monkeypatch):
    """Return the module `run` of examples/reproduce, which imports its neighbors."""
    monkeypatch.syspath_prepend(str(repository / "examples" / "reproduce"))
    for name in ("run", "experiments", "outputs"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import run

    yield run
    for name in ("run", "experiments", "outputs"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_has_a_plan_at_the_papers_scale(script, name, capsys, tmp_path):
    assert (
        script.run([name, "--scale", "paper", "--dry_run", "--output_dir", str(tmp_path / "o")])
        == 0
    )
    listed = capsys.readouterr().out
    assert "  to make  " in listed and "bert" in listed and not (tmp_path / "o").exists()


def test_experiments_are_those_of_the_paper(script, capsys):
    assert list(script.EXPERIMENTS) == NAMES
    assert script.run(["--list"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == NAMES


def test_default_settings_are_those_of_the_paper(script, capsys):
    args, extra = script.parse_arguments(["table1", "--scale", "paper"])
    experiment = script.choose_experiment(args)
    safer = next(s for s in experiment.settings if s.method == "safer")
    triplet = next(s for s in experiment.settings if s.method == "triplet" and s.model == "roberta")
    found = script.collect_arguments(safer, 1, args, extra)
    assert (found["num_train_epochs"], found["learning_rate"]) == (15.0, 3e-5)
    found = script.collect_arguments(triplet, 1, args, extra)
    assert found["model_name_or_path"] == "roberta-base" and found["max_attack_samples"] is None
    assert (found["per_device_train_batch_size"], found["learning_rate"]) == (32, 2e-5)


def test_experiments_share_runs(script):
    def keys(name, *more):
        args, extra = script.parse_arguments([name, "--scale", "paper", *more])
        return {
            run.key
            for p in script.plan(script.choose_experiment(args), args, extra)
            for run in p.runs
        }

    assert keys("figure3") < keys("table1") == keys("table3")
    assert keys("figure5") < keys("table1")
    assert len(keys("figure4") & keys("figure3")) == 3  # batch 32
    assert len(keys("table4") & keys("table1")) == 3
    assert len(keys("figure10") & keys("figure12")) == 3  # alpha 1.0, beta 1.2, margin 1.0
    assert keys("figure4") | keys("figure8") == keys("figure9")


def test_several_gpus_share_a_batch(script):
    args, extra = script.parse_arguments(
        ["table4", "--scale", "paper", "--processes", "4", "--bf16", "false"]
    )
    run = script.plan(script.choose_experiment(args), args, extra)[0].runs[0]
    assert run.arguments["per_device_train_batch_size"] == 2
    assert run.launcher == ("accelerate", "launch", "--multi_gpu", "--num_processes", "4")
    assert run.arguments["bf16"] is False


PAPER = ["--scale", "paper", "--dry_run"]
BATCH = "--per_device_train_batch_size"


@pytest.mark.parametrize(
    ("words", "keyword"),
    [
        (["table7"], "'table7'"),
        (["table6"], "--train_file snli=PATH"),
        (["table6", "--train_file", "nowhere.jsonl"], "snli"),
        (["table6", "--train_file", "no.jsonl", "--validation_file", "no.jsonl"], "no.jsonl"),
        (["table6", "--scale", "huge"], "'huge'"),
        (["table6", *PAPER, "--nonsense", "1"], "--nonsense"),
        (["table6", *PAPER, "--jobs", "0"], "--jobs"),
        (["table6", *PAPER, "--processes", "3"], "32"),
        (["table6", *PAPER, "--seeds", "1", "2", "1"], "--seeds"),
        (["table6", *PAPER, "--seed", "3"], "--seeds 3"),
        (["table6", *PAPER, "--hub_token", "hf_X"], "HF_TOKEN"),
        (["table6", "--train_file", "a.jsonl", "snli=b.jsonl", "c.jsonl"], "PATH without TASK="),
        (["table6", "--train_file", "t.jsonl", "--synonyms", "snli=a", "snli=b"], "snli=PATH twice"),
        (["table6", *PAPER, "--launcher", "accelerate 'launch"], "--launcher"),
        (["figure5", *PAPER, "--representations", "0"], "--representations"),
        (["figure9", *PAPER, "--eval_strategy", "no"], "--eval_strategy"),
        (["figure7", *PAPER, "--attack_every", "end"], "--attack_every"),
        (["figure7", *PAPER, "--attacks", "antonym", "synonym"], "negation"),
        (["figure3", *PAPER, "--attacks", "antonym"], "synonym"),
        (["table6", *PAPER, "--methods", "best"], "'best'"),
        (["figure4", *PAPER, "--methods", "normal"], "--methods"),
        (["table3", "--train_file", "t.jsonl", "--validation_file", "v.jsonl"],
         "--validation_mm_file"),
        (["table4", *PAPER, BATCH, "4"], BATCH),
        (["figure9", *PAPER, f"{BATCH}=32"], BATCH),
        (["figure10", *PAPER, "--alpha", "2"], "--alpha"),
        (["figure10", *PAPER, "--beta", "1"], "--beta"),
        (["figure11", *PAPER, "--contrastive_weight", "1"], "--contrastive_weight"),
        (["figure12", *PAPER, "--margin", "0.5"], "--margin"),
        (["table6", *PAPER, "--method", "triplet"], "--methods triplet"),
        (["figure12", *PAPER, "--method", "triplet"], "--method"),
        (["table6", *PAPER, "--task_name", "qqp"], "--task_name"),
        (["table6", *PAPER, "--task", "snli"], "--task_name"),
        # Weights and options that no run uses.
        (["table6", *PAPER, "--methods", "normal", "safer", "--alpha", "3"], "normal, safer"),
        (["table6", *PAPER, "--methods", "normal", "--margin", "-1"], "--margin"),
        (["figure11", *PAPER, "--beta", "2"], "--beta"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(script, words, keyword, capsys, tmp_path):
    assert script.run([*words, "--output_dir", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("reproduce: error: ") and keyword in error
    assert not (tmp_path / "o").exists()


def test_mismatched_rows_for_all_tasks_are_used_only_by_tasks_with_such_a_set(script):
    files = ["--validation_file", "v.jsonl", "--validation_mm_file", "mm.jsonl", "snli=own.jsonl"]
    args, _ = script.parse_arguments(["table1", "--scale", "paper", *files])
    tasks = ("mnli", "qqp", "snli")
    found = [script.find_file(args, "validation_mm_file", task) for task in tasks]
    assert found == ["mm.jsonl", None, "own.jsonl"]  # the sweep rejects the last
    assert [script.find_file(args, "validation_file", task) for task in tasks] == ["v.jsonl"] * 3


def test_figure_of_one_seed_names_the_omitted_seeds(script, capsys):
    def plan(*words):
        assert script.run(["figure5", "--scale", "paper", "--dry_run", *words]) == 0
        return capsys.readouterr().err

    assert "5, 7" in plan("--seeds", "2", "5", "7")
    assert plan("--seeds", "2") == plan() == ""


@pytest.mark.parametrize(
    "words",
    [
        "figure10 --representations 0 --attacks antonym synonym --eval_strategy no",
        "figure9 --attacks antonym --attack_every end",
        "figure7 --representations 0 --attacks negation",
        "table1 --representations 0 --eval_strategy no --attacks antonym",
    ],
)
def test_data_that_no_picture_needs_may_be_omitted(script, words):
    assert script.run([*words.split(), "--scale", "paper", "--dry_run"]) == 0


def test_missing_parts_of_pictures_are_listed_with_the_reason(script):
    experiments = script.EXPERIMENTS
    for experiment in experiments.values():
        assert script.list_missing(experiment, made_results(experiment)) == []
    groups = made_results(experiments["figure5"], seeds=1)
    groups[1][1][0]["representations"] = {"error": "no row has both versions"}
    del groups[2][1][0]["representations"]
    groups[3][1].clear()  # the run did not finish, which is reported elsewhere
    assert script.list_missing(experiments["figure5"], groups) == [
        "safer: no row has both versions",
        "pairwise: its run kept no representations",
    ]
    groups = made_results(experiments["figure7"])
    for _, results in groups:
        for log in (log for result in results for log in result["epochs"]):
            log["eval_negation_asr_confident"] = None
    (missing,) = script.list_missing(experiments["figure7"], groups)
    assert missing.startswith("negation ASR by epoch: ")


def test_missing_part_of_a_picture_is_an_error(script, monkeypatch, capsys, tmp_path):
    from hf_bat.sweep import finished, folder_of

    kept = made_results(script.EXPERIMENTS["figure5"])[0][1][0]

    def make(runs, root, *_):
        for run in runs:
            folder = folder_of(root, run.key)
            folder.mkdir(parents=True)
            result = {**kept, "key": run.key, "representations": {"error": "no versions"}}
            (folder / "result.json").write_text(json.dumps(result))
            assert finished(root, run)
        return []

    monkeypatch.setattr(script, "run_all", make)
    words = ["figure5", "--scale", "paper", "--output_dir", str(tmp_path)]
    assert script.run([*words, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("reproduce: error: ") and "normal: no versions; safer" in error
    assert error.count("\n") == 1 and (tmp_path / "figure5" / "table.md").exists()


def test_launcher_is_split_as_by_a_shell(script):
    words = ["table6", "--scale", "paper", "--launcher", "start --name 'two words'"]
    args, extra = script.parse_arguments(words)
    run = script.plan(script.choose_experiment(args), args, extra)[0].runs[0]
    assert run.launcher == ("start", "--name", "two words")


@pytest.mark.parametrize(
    ("name", "flag", "value"),
    [
        ("table6", "per_device_train_batch_size", 8),  # varies in table4, but not in this table
        ("table6", "margin", 0.5),
        ("figure10", "margin", 0.5),
        ("figure12", "clean_epochs", 2),
        ("figure4", "num_train_epochs", 2.0),
        ("table4", "learning_rate", 3e-5),
        ("table4", "max_train_samples", 20000),
        ("figure9", "max_steps", 2),
        ("table1", "max_attack_samples", 3),
    ],
)
def test_flags_that_an_experiment_does_not_vary_go_to_all_runs(script, name, flag, value):
    def runs(*more):
        args, extra = script.parse_arguments([name, "--scale", "paper", "--seeds", "1", *more])
        return [
            run for p in script.plan(script.choose_experiment(args), args, extra) for run in p.runs
        ]

    plain, changed = runs(), runs(f"--{flag}", str(value))
    # Methods that do not have the weight or option run without it.
    assert {run.arguments.get(flag) for run in changed} in ({value}, {value, None})
    assert len({run.key for run in changed}) == len({run.key for run in plain}) > 1


def test_numbers_are_those_that_the_paper_prints(script, shared):
    papers = list((shared / "paper").glob("*.txt"))
    if not papers:
        pytest.skip("no text of the paper")
    text = papers[0].read_text("utf-8")
    rows = [line for line in text.splitlines() if "\t" in line]
    count = 0
    for name, experiment in script.EXPERIMENTS.items():
        for setting in experiment.settings:
            shown = [
                rf"{n[0]:g}" if isinstance(n, tuple) else f"{n:g}" for n in setting.paper.values()
            ]
            if shown:
                assert any(all(n in row for n in shown) for row in rows), (name, setting)
                count += 1
    assert count > 40


def made_results(experiment, seeds=2):
    """Return results as written by runs, with the vectors of all runs in one folder."""
    rng = np.random.default_rng(0)
    names = ("eval_accuracy", "eval_f1", "eval_antonym_asr", "eval_antonym_asr_confident",
             "eval_synonym_asr", "eval_negation_asr_confident")  # fmt: skip
    groups = []
    for number, setting in enumerate(experiment.settings):
        results = []
        for _ in range(seeds):
            metrics = {name: float(rng.random()) for name in names}
            metrics |= {f"{name}_mm": value for name, value in metrics.items()}
            logs = [
                {"epoch": e, **{n: float(rng.random()) for n in names}} for e in (1.0, 2.0, 3.0)
            ]
            results.append(
                {"key": "made", "metrics": metrics, "epochs": logs if setting.method == "safer" else [],
                 "arguments": {"model_name_or_path": "/models/tiny"}, "rows": {"train": 40},
                 "steps": 10 + number,
                 "representations": {"file": "representations.npz", "fickle_distance": 0.1,
                                     "obstinate_distance": 0.9, "silhouette": 0.5,
                                     "distances": {"fickle": [0.1, 0.2], "obstinate": [0.8, 0.9]}}}
            )  # fmt: skip
        groups.append((setting, results))
    return groups


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_writes_its_tables_and_figures(script, name, tmp_path):
    experiment = script.EXPERIMENTS[name]
    folder = tmp_path / "runs" / "made"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    np.savez(
        folder / "representations.npz",
        **{k: rng.normal(size=(8, 4)) for k in ("anchor", "fickle", "obstinate")},
    )
    groups = made_results(experiment)
    written = script.write_outputs(experiment, groups, tmp_path, tmp_path / name, "small")
    pictures = sorted(path.name for path in written if path.suffix in (".png", ".svg"))
    endings = {"figure5": ["", "-distances"], "figure10": ["-alpha", "-beta"]}.get(name, [""])
    expected = (
        [f"figure{e}.{k}" for e in endings for k in ("png", "svg")] if "figure" in name else []
    )
    assert pictures == sorted(expected)
    assert all(0 < path.stat().st_size < 200_000 for path in written)
    content = json.loads((tmp_path / name / "results.json").read_text())
    assert len(content["settings"]) == len(experiment.settings)
    assert all(len(entry["runs"]) == 2 for entry in content["settings"])
    table = (tmp_path / name / "table.md").read_text()
    assert table.count("\n|") == 2 + len(experiment.settings) and experiment.claim in table
    tex = (tmp_path / name / "table.tex").read_text()
    comment, body = tex.split("\n", 1)
    assert comment.startswith("% needs") and body.replace(r"\%", "").count("%") == 0
    # There are two heading rows, and each row has a cell for every column.
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(lines) == 2 + len(experiment.settings) and r"\toprule" in tex
    columns = len(re.search(r"\\begin\{tabular\}\{(l+r+)\}", tex)[1])
    spans = sum(map(int, re.findall(r"multicolumn\{(\d+)\}", lines[0])))
    assert lines[0].count("&") + 1 - lines[0].count("multicolumn") + spans == columns
    assert {line.count("&") + 1 for line in lines[1:]} == {columns}
    assert rf"\label{{tab:{name}}}" in tex
    if name == "table1":
        assert "| 84.01 ± 0.32 |" in table and r"84.01 $\pm$ 0.32" in tex


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ([None], "attacks on all rows."),
        ([500], "attacks on the first 500 rows."),
        ([10_000, None], "attacks on the first 10,000 or all rows."),
        ([1000, 500, None, 500], "attacks on the first 500 or 1,000 or all rows."),
        ([], "attacks on the first 500 rows."),  # the default in the arguments
    ],
)
def test_table_names_the_attacked_rows(script, limits, words, tmp_path):
    experiment = script.EXPERIMENTS["table6"]
    groups = made_results(experiment)
    assert len(groups) == 4
    for number, limit in enumerate(limits):
        for _, results in groups[number:]:
            for result in results:
                result["arguments"] = {**result["arguments"], "max_attack_samples": limit}
    script.write_outputs(experiment, groups, tmp_path, tmp_path / "o", "small")
    for name in ("table.md", "table.tex"):
        assert words in (tmp_path / "o" / name).read_text()


def test_docstring_of_each_plot_names_the_figures_of_the_paper(script):
    from hf_bat import plots

    functions = {"epochs": plots.trade_off_by_epoch, "bars": plots.epoch_bars,
                 "values": plots.value_panels, "tsne": plots.tsne}  # fmt: skip
    drawn = {kind: set() for kind in functions}
    for name, experiment in script.EXPERIMENTS.items():
        for picture in experiment.pictures:
            drawn[picture.kind].add(int(name.removeprefix("figure")))
    for kind, function in functions.items():
        (found,) = re.findall(r"Figures? ([\d, to and]*\d)", function.__doc__)
        named = set()
        for part in re.split(", | and ", found):
            first, _, last = part.partition(" to ")
            named |= set(range(int(first), int(last or first) + 1))
        assert named == drawn[kind], kind


@pytest.fixture
def reproduced(script, tmp_path):
    """Return a folder with the output of two experiments."""
    for name in ("table2", "figure6"):
        experiment = script.EXPERIMENTS[name]
        groups = made_results(experiment)
        script.write_outputs(experiment, groups, tmp_path, tmp_path / name, "small")
    return tmp_path


def test_report_shows_an_experiment_next_to_the_papers_numbers(reproduced):
    for name, picture in (("table2", []), ("figure6", ["figure.png"])):
        folder = reproduced / name
        done = write_report(folder, folder / "report.html")
        assert done["files"] == sorted(["results.json", *picture])
        assert {"table.md", "table.tex"} <= done["others"].keys()
        source = (folder / "report.html").read_text()
        page = Page(source)
        content = json.loads((folder / "results.json").read_text())
        assert content["title"] in page.text and content["paper_claims"] in page.text
        assert page.tags.count("table") == 1 and page.tags.count("img") == len(picture)
        lines = (folder / "table.md").read_text().splitlines()
        for line in [line for line in lines if line.startswith("| QQP")]:
            cells = [cell.strip().replace(" ±", "<small>±") for cell in line.split("|")[4:-1]]
            row = "".join(
                f"<td>{cell}{'</small>' if 'small' in cell else ''}</td>" for cell in cells
            )
            assert row in source.replace("\n", ""), "the figures of table.md"
        assert "model: tiny" in page.text and "training rows: 40" in page.text
        assert "steps: 10 or 11" in page.text
    alts = [value for name, value in page.attributes if name == "alt"]
    assert alts == [f"{content['title']}: figure.png"]


def test_report_shows_all_experiments_of_a_folder_and_counts_their_runs(reproduced):
    for key in ("a", "b"):
        (reproduced / "runs" / key).mkdir(parents=True)
        (reproduced / "runs" / key / "result.json").write_text("{}")
    done = write_report(reproduced, reproduced / "report.html")
    assert done["files"] == ["figure6/figure.png", "figure6/results.json", "table2/results.json"]
    assert done["others"]["runs/*/result.json"].startswith("finished runs (2)")
    page = Page((reproduced / "report.html").read_text())
    assert page.tags.count("table") == 2 and page.tags.count("img") == 1
    assert "Pictures" not in page.text, "a picture stands with its experiment, once"


def test_report_escapes_the_content_of_a_results_file(reproduced):
    path = reproduced / "table2" / "results.json"
    content = json.loads(path.read_text())
    evil = "<script>alert(1)</script>"
    setting = content["settings"][0]
    setting |= {"task": evil, "method": evil, "paper_model": evil, "options": {evil: evil}}
    setting["ours"][evil] = [evil]
    setting["runs"][0]["arguments"]["model_name_or_path"] = evil
    path.write_text(json.dumps({**content, "title": evil, "scale": evil, "paper_claims": evil}))
    write_report(path.parent, path.parent / "report.html")
    assert "script" not in Page((path.parent / "report.html").read_text()).tags


def test_preprocessing_defense_is_disclosed_below_the_table(script, tmp_path):
    experiment = script.EXPERIMENTS["table6"]
    groups = made_results(experiment)
    script.write_outputs(experiment, groups, tmp_path, tmp_path / "plain", "small")
    assert "Preprocessing" not in (tmp_path / "plain" / "table.md").read_text()
    defence = {"name": "canonicalize", "fingerprint": "0a1b2c3d4e5f67"}
    for _, results in groups:
        for result in results:
            result["preprocessing_defence"] = defence
    script.write_outputs(experiment, groups, tmp_path, tmp_path / "defended", "small")
    line = "Preprocessing defense: canonicalize (0a1b2c3d4e5f)"
    for name in ("table.md", "table.tex"):
        assert (tmp_path / "defended" / name).read_text().count(line) == 1
    write_report(tmp_path / "defended", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count(f"<p>{line}") == 1


def test_commands_of_the_docs_are_valid(script, repository, capsys, tmp_path):
    text = (repository / "docs" / "howto" / "reproduce.md").read_text("utf-8")
    lines = text.replace("\\\n", " ").splitlines()
    commands = [line for line in lines if line.startswith("python examples/reproduce/run.py")]
    assert all(f"run.py {name} " in text for name in NAMES)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in made_rows(4)))
    for command in commands:
        words = [
            re.sub(r"\$.*", str(rows), word) for word in shlex.split(command, comments=True)[2:]
        ]
        assert script.run([*words, "--dry_run", "--model_name_or_path", "m"]) == 0, command
        assert "to make" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_table_and_figure_from_end_to_end(repository, quiet_environment, tmp_path):
    tiny_model("bert").save_pretrained(tmp_path / "model")
    tokenizer_for_made_rows().save_pretrained(tmp_path / "model")
    SYNONYMS.save(tmp_path / "synonyms.json")
    ANTONYMS.save(tmp_path / "antonyms.json")
    for name, n in (("train", 16), ("dev", 24)):
        lines = [json.dumps(row) + "\n" for row in made_rows(n, n)]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))

    def run(name, *more):
        script = repository / "examples" / "reproduce" / "run.py"
        words = [name, "--scale", "paper", "--model_name_or_path", "model", "--seeds", "1", "--use_cpu",
                 "--train_file", "mnli=train.jsonl", "--validation_file", "dev.jsonl", "--max_steps", "2",
                 "--synonyms", "synonyms.json", "--antonyms", "antonyms.json",
                 "--output_dir", "out", *more]  # fmt: skip
        done = subprocess.run(
            [sys.executable, str(script), *words],
            capture_output=True, text=True, env=quiet_environment, cwd=tmp_path, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    done = run("table1", "--methods", "normal", "safer", "--jobs", "2")
    assert "| MNLI | model | safer | 1 |" in done.stdout and "2/2 runs" in done.stderr
    results = sorted((tmp_path / "out" / "runs").glob("*/result.json"))
    times = [path.stat().st_mtime_ns for path in results]
    assert len(results) == 2

    done = run("figure3")
    assert "2 of 2 runs are finished already" in done.stderr
    assert [path.stat().st_mtime_ns for path in results] == times
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 2
    svg = (tmp_path / "out" / "figure3" / "figure.svg").read_text()
    assert "antonym ASR" in svg and (tmp_path / "out" / "table1" / "table.tex").exists()


# This takes longer than the time between two progress lines.
WORKER = """
import json, pathlib, sys, time
time.sleep(1.5)
folder = pathlib.Path(sys.argv[1]).parent
config = json.loads((folder / "config.json").read_text())
result = {**config, "rows": {"train": 4}, "steps": 2, "metrics": {"eval_accuracy": 0.8}}
(folder / "result.json").write_text(json.dumps(result))
"""


@pytest.mark.xdist_group("processes")
@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_prints_nothing_on_a_terminal(script, tmp_path, monkeypatch, capfd, quiet):
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made_rows(4)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(schedule, "_WORKER", "worker")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    words = ["table6", "--methods", "normal", "--seeds", "1", "--model_name_or_path", "m",
             "--train_file", "rows.jsonl", "--validation_file", "rows.jsonl",
             "--output_dir", "o", *["--quiet"] * quiet]  # fmt: skip
    assert script.run(words) == 0 and (tmp_path / "o" / "table6" / "table.md").exists()
    seen = terminal.getvalue() + "".join(capfd.readouterr())
    if quiet:
        assert seen == ""
    else:
        assert all(part in seen for part in ("0/1 runs, 1 running", "| SNLI |", "written: "))


PAIRS = {
    "mnli": ("premise", "hypothesis"),
    "snli": ("premise", "hypothesis"),
    "qqp": ("question1", "question2"),
    "mrpc": ("sentence1", "sentence2"),
}


@pytest.fixture(scope="module")
def tiny_world(tmp_path_factory):
    """Return a folder with a tiny model, tables and rows for each task, and the flags for them."""
    folder = tmp_path_factory.mktemp("reproduce")
    tokenizer_for_made_rows().save_pretrained(folder / "model")
    # Without a head, because the tasks have different labels.
    tiny_model("bert").base_model.save_pretrained(folder / "model")
    SYNONYMS.save(folder / "synonyms.json")
    ANTONYMS.save(folder / "antonyms.json")
    flags = ["--scale", "paper", "--model_name_or_path", folder / "model", "--seeds", "1", "--max_steps", "2",
             "--synonyms", folder / "synonyms.json", "--antonyms", folder / "antonyms.json",
             "--use_cpu", "--max_attack_samples", "3", "--per_device_eval_batch_size", "8",
             "--output_dir", folder / "out"]  # fmt: skip
    files = []
    for task, columns in PAIRS.items():
        rows = [
            dict(zip(columns, (row["premise"], row["hypothesis"]), strict=True))
            | {"label": row["label"] % (3 if "premise" in columns else 2), "idx": number}
            for number, row in enumerate(made_rows(12))
        ]
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        files.append(f"{task}={folder / f'{task}.jsonl'}")
    for name in ("train_file", "validation_file", "validation_mm_file"):
        flags += [f"--{name}", *(files[:1] if name.endswith("mm_file") else files)]
    return folder, list(map(str, flags))


@pytest.mark.slow
@pytest.mark.xdist_group("reproduce")
@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_runs_for_two_steps(script, tiny_world, name, monkeypatch, capsys):
    from hf_bat.sweep import finished, worker
    from hf_bat.sweep.key import identify
    from hf_bat.sweep.schedule import folder_of

    folder, flags = tiny_world

    def run_here(runs, root, *_):
        for run in runs:
            if finished(root, run) is None:
                config = folder_of(root, run.key) / "config.json"
                config.parent.mkdir(parents=True, exist_ok=True)
                content = {"key": run.key, "arguments": run.arguments}
                config.write_text(json.dumps(content | {"identity": identify(run.arguments)}))
                assert worker.main([str(config)]) == 0, capsys.readouterr().err
        return []

    monkeypatch.setattr(script, "run_all", run_here)
    assert script.run([name, *flags]) == 0, capsys.readouterr().err
    out = folder / "out" / name
    content = json.loads((out / "results.json").read_text())
    assert content and (out / "table.tex").exists() and "| task |" in (out / "table.md").read_text()
    for path in (folder / "out" / "runs").glob("*/result.json"):
        # The evaluation on MNLI's mismatched set after training is not a point on any line.
        epochs = [log["epoch"] for log in json.loads(path.read_text())["epochs"]]
        assert epochs and len(set(epochs)) == len(epochs)
    if name.startswith("figure"):
        assert list(out.glob("*.png")) and list(out.glob("*.svg"))


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_run_with_several_processes(repository, quiet_environment, tiny_world):
    folder, flags = tiny_world
    launcher = "accelerate launch --multi_gpu --num_processes 2 --mixed_precision bf16"
    words = ["table6", *flags, "--methods", "triplet", "--processes", "2"]
    words[words.index("--output_dir") + 1] = str(folder / "two")
    done = subprocess.run(
        [sys.executable, str(repository / "examples/reproduce/run.py"), *words, "--launcher", launcher],
        capture_output=True, text=True, env=quiet_environment, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "| SNLI | model | triplet | 1 |" in done.stdout
