"""The tables on the results pages and the leaderboard match the saved runs exactly."""

import csv
import importlib
import io
import json
import re
import subprocess
import sys

import pytest


@pytest.fixture
def script(repository, monkeypatch):
    """Return the module `study_tables`, which imports its neighbors."""
    yield from import_script(repository, monkeypatch, "study_tables")


@pytest.fixture
def leaderboard(repository, monkeypatch):
    """Return the module `leaderboard`."""
    yield from import_script(repository, monkeypatch, "leaderboard")


def import_script(repository, monkeypatch, script):
    monkeypatch.syspath_prepend(str(repository / "examples" / "reproduce"))
    names = ("leaderboard", "study_tables", "counterfactual_tables", "experiments", "outputs")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(script)
    for name in names:
        sys.modules.pop(name, None)


def write_tables(script, folder):
    return "\n\n".join(script.make_tables(script.read(folder)).values())


def list_result_pages(repository):
    docs = repository / "docs"
    pages = sorted((docs / "results").rglob("*.md"))
    pages += [docs / "results.md"]
    return {path: path.read_text(encoding="utf-8") for path in pages}


def list_rows(text):
    return [line for line in text.splitlines() if line.startswith("| ")]


def run_script(repository, *words):
    script = repository / "examples" / "reproduce" / "study_tables.py"
    command = [sys.executable, script, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_results_pages_have_the_printed_tables(script, repository):
    done = run_script(repository, repository / "docs" / "results" / "study")
    assert done.returncode == 0, done.stderr
    tables = {
        name: text.strip()
        for part in done.stdout.split("### ")[1:]
        for name, _, text in [part.partition("\n")]
    }
    shown = set()
    for path, page in list_result_pages(repository).items():
        assert script.fill_page(page, tables) == page, f"{path}: run study_tables.py --pages docs"
        shown |= {match.group(2) for match in script.MARKED.finditer(page)}
    # Every table must be on a page, so no result is left out. The index has one overview.
    assert set(tables) - shown <= {"snli_1000-overview", "qqp-overview"}


def test_no_figure_of_a_method_is_outside_a_marked_table(script, repository):
    methods = "|".join(script.METHODS)
    for path, page in list_result_pages(repository).items():
        if path.name == "findings.md":  # printed by another script with a separate test
            continue
        outside = script.MARKED.sub("", page)
        rows = [row for row in list_rows(outside) if re.match(rf"\| (?:{methods})\b.*\d", row)]
        assert not rows, f"{path}: {rows[0]}"


def test_results_pages_are_short(repository):
    for path, page in list_result_pages(repository).items():
        assert page.count("\n") < 250, path


def test_mean_range_and_sizes_of_made_runs(script):
    def run(rate, attempted, difference):
        antonym = {"rows": 4000, "attempted": attempted, "asr_confident": rate}
        compared = {
            "attack": "antonym",
            "definition": "confident",
            "difference": difference,
            "interval": [difference - 0.02, difference + 0.02],
        }
        return {
            "reports": {"antonym": {"attacks": {"antonym": antonym}}},
            "against_normal": {"antonym": {"comparisons": [compared]}},
        }

    methods = {"triplet": {1: run(0.5, 800, -0.1), 2: run(0.6, 3200, -0.01)}}
    figures = {"antonym confident": script.RATES["antonym confident"]}
    assert list(script.list_means(methods, figures))[2:] == [
        "| triplet | 2 | 55.0 (50.0 to 60.0) |",
        "| *rows or swaps counted in a run* | | 800 or 3,200 |",
    ]
    # The second interval contains 0.
    assert list(script.list_mean_differences(methods))[2:] == [
        "| triplet | 2 | −5.5 (−10.0 to −1.0); 1 of 2 |"
    ]


def test_pages_are_filled_between_their_marks(script):
    page = "a\n<!-- table: one -->\nold\n<!-- end of table -->\nb\n"
    filled = script.fill_page(page, {"one": "| new |"})
    assert filled == "a\n<!-- table: one -->\n\n| new |\n\n<!-- end of table -->\nb\n"
    assert script.fill_page(filled, {"one": "| new |"}) == filled
    with pytest.raises(SystemExit, match="no table 'one'"):
        script.fill_page(page, {})


def test_leaderboard_is_made_from_the_kept_runs(leaderboard, repository):
    results = repository / "docs" / "results"
    text = leaderboard.format_csv(results / "study")
    kept = (results / "leaderboard.csv").read_text(encoding="utf-8")
    assert text == kept, "run python examples/reproduce/leaderboard.py"
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == len(list((results / "study").glob("*.json")))
    (line,) = [row for row in lines if row["study"] == "snli" and row["seed"] == "42"
               and row["method"] == "triplet" and row["role"] == "method"]  # fmt: skip
    # Directly from the report of this run.
    run = json.loads((results / "study" / "snli-42-triplet.json").read_text(encoding="utf-8"))
    antonym = run["reports"]["antonym"]["attacks"]["antonym"]
    assert float(line["antonym_confident"]) == round(
        antonym["succeeded_confident"] / antonym["attempted"], 4
    )
    assert int(line["antonym_confident_rows"]) == antonym["attempted"]
    assert float(line["antonym_confident_low"]) < float(line["antonym_confident"])


def test_leaderboard_of_made_runs(leaderboard, tmp_path):
    (tmp_path / "mnli-1-safer.json").write_text(json.dumps(make_result(0.5, method="safer")))
    trial = {"settings": "triplet, λ 2", "reports": {}, "log_history": [{"step": 500}]}
    (tmp_path / "snli_1000-7-triplet_b.json").write_text(json.dumps(trial))
    first, second = csv.DictReader(io.StringIO(leaderboard.format_csv(tmp_path)))
    assert (first["method"], first["accuracy"], first["steps"]) == ("safer", "0.5", "2")
    assert first["synonym"] == "" and first["role"] == "method"
    # These runs continue after 500 steps.
    assert (second["role"], second["steps"], second["accuracy"]) == ("trial", "1000", "")


def test_pictures_of_the_docs_are_drawn_from_the_kept_runs(script, repository, tmp_path):
    docs = repository / "docs"
    studies = script.list_studies(docs / "results")
    script.draw(script.read(docs / "results" / "study"), studies, tmp_path)
    drawn = {path.name for path in tmp_path.glob("*.png")}
    # The others need representations, which are too large to save.
    others = {path.name for path in (docs / "pictures").iterdir()} - drawn
    assert others == {"tsne-qqp.png", "distances-qqp.png", "figure5-distances.png"}
    assert "MINILM" not in "".join(path.read_text("utf-8") for path in tmp_path.glob("*.svg"))


def test_pictures_of_the_docs_are_small(repository):
    pictures = [*(repository / "docs").rglob("*.png"), *(repository / "docs").rglob("*.svg")]
    assert len(pictures) > 10
    assert all(path.stat().st_size < 200_000 for path in pictures)


def test_tables_of_made_runs(script, tmp_path):
    antonym = {"accuracy": 0.8, "asr": 0.95, "asr_confident": 0.75, "keep_rate": 0.5}
    antonym |= {"label_valid": {"keep_rate": 0.25}, "label_invalid": {"keep_rate": None}}
    reports = {"antonym": {"attacks": {"antonym": antonym}}}
    compared = {
        "comparisons": [
            {
                "attack": "antonym",
                "definition": "confident",
                "difference": -0.05,
                "interval": [-0.08, 0.01],
            }
        ],
        "rates": [
            {"source": "antonym", "figure": "accuracy", "difference": None, "interval": None}
        ],
    }
    run = {"reports": reports, "against_normal": {"antonym": compared}}
    better = {"attack": "antonym", "definition": "confident", "difference": 0.02}
    rival = run | {"against_triplet": {"antonym": {"comparisons": [better]}}}
    for name, content in {
        "qqp-1-normal": {"reports": reports},
        "qqp-2-normal": {"reports": reports},
        "qqp-1-triplet": run,
        "qqp-2-a2t": run,
        "qqp-1-likelihood": rival,
        "qqp-1-notes": {"text": "no run"},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    out = write_tables(script, tmp_path)
    assert (
        "| normal | 80.0 / 80.0 | 95.0 / 95.0 | 75.0 / 75.0 | 50.0 / 50.0 | 25.0 / 25.0 | – / – |"
        in out
    )
    assert "| triplet | 1 | – | −5.0 (−8.0 to +1.0) |" in out
    assert "| triplet | 80.0 | 95.0 |" in out
    # A figure that only exists for the second seed must not be shown for the first.
    assert "| a2t | – / 80.0 | – / 95.0 |" in out
    assert "| method | seed | accuracy | antonym confident |" in out
    assert "| method | against | seed | antonym confident |" in out
    assert "| likelihood | triplet | 1 | +2.0 |" in out
    assert "obstinate errors" not in out


def test_reproduced_runs_are_next_to_the_papers(script, tmp_path):
    metrics = {"eval_accuracy": 0.75, "eval_antonym_asr_confident": 0.5, "eval_accuracy_mm": 0.25}
    run = {
        "metrics": metrics,
        "rows": {"train": 8},
        "steps": 2,
        "arguments": {"model_name_or_path": "m"},
    }
    for name in ("mnli-1-safer", "mnli-1-likelihood"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"settings": name, "run": run}))
    matched, mismatched = (list_rows(t)[1:] for t in write_tables(script, tmp_path).split("\n\n"))
    assert matched[0].startswith("| MNLI | m | safer | 1 | 75.00 | 83.81 ± 0.40 | 50.00 |")
    assert matched[1].startswith("| MNLI | m | likelihood | 1 | 75.00 | - | 50.00 | - |")
    assert mismatched[0].startswith("| MNLI | m | safer | 1 | 25.00 | 83.73 ± 0.12 |")


def test_runs_of_a_figure_are_listed_by_what_it_varies(script, tmp_path):
    for number, (weight, accuracy) in enumerate([(2.0, 0.7), (0.5, 0.9), (0.25, 0.1)]):
        arguments = {"model_name_or_path": "m", "task_name": "mnli", "method": "triplet"}
        arguments["contrastive_weight"] = weight
        run = {
            "metrics": {"eval_accuracy": accuracy},
            "rows": {"train": 8},
            "steps": 2,
            "arguments": arguments | {"attacks": ["antonym"]},
        }
        (tmp_path / f"figure11-1-run{number}.json").write_text(json.dumps({"run": run}))
    rows = list_rows(write_tables(script, tmp_path))[1:]
    # In the order of the figure, which does not include the third weight.
    assert [row.split(" | ")[2:5] for row in rows] == [
        ["triplet (lambda 0.5)", "1", "90.00"],
        ["triplet (lambda 2)", "1", "70.00"],
    ]


def make_result(accuracy, task_name="mnli", **arguments):
    return {
        "run": {
            "metrics": {"eval_accuracy": accuracy},
            "rows": {"train": 8},
            "steps": 2,
            "arguments": {"model_name_or_path": "m", "task_name": task_name, **arguments},
        }
    }


def test_default_of_the_method_counts_if_a_run_leaves_it_out(script, tmp_path):
    for number, given in enumerate([{"margin": 0.3}, {}]):
        run = make_result(0.5 + number / 10, method="pairwise", **given)
        (tmp_path / f"figure12-1-run{number}.json").write_text(json.dumps(run))
    rows = list_rows(write_tables(script, tmp_path))[1:]
    assert [row.split(" | ")[2:5] for row in rows] == [
        ["pairwise (margin 0.3)", "1", "50.00"],
        ["pairwise (margin 1)", "1", "60.00"],
    ]


def test_runs_of_a_varied_table_are_next_to_the_papers(script, tmp_path):
    run = make_result(0.5, method="triplet", per_device_train_batch_size=8)
    (tmp_path / "table4-1-run.json").write_text(json.dumps(run))
    (row,) = list_rows(write_tables(script, tmp_path))[1:]
    assert row.startswith("| MNLI | m | triplet (batch 8) | 1 | 50.00 | 84.45 |")


def test_figure_of_two_tasks_has_a_row_for_each(script, tmp_path):
    for task, accuracy in (("qqp", 0.5), ("mnli", 0.75)):
        run = make_result(accuracy, task, method="safer")
        (tmp_path / f"figure7-1-safer_{task}.json").write_text(json.dumps(run))
    rows = list_rows(write_tables(script, tmp_path))[1:]
    assert [row.split(" | ")[:5] for row in rows] == [
        ["| MNLI", "m", "safer", "1", "75.00"],
        ["| QQP", "m", "safer", "1", "50.00"],
    ]


def test_runs_without_a_part_are_listed_below_the_whole_method(script, tmp_path):
    def run(settings, rate):
        antonym = {"accuracy": rate, "label_valid": {}, "label_invalid": {}}
        return {
            "settings": settings,
            "tuning_rows": {"eval_accuracy": rate},
            "reports": {"antonym": {"attacks": {"antonym": antonym}}},
        }

    for name, content in {
        "snli-42-likelihood": run("whole", 0.8),
        "snli-43-likelihood": run("whole again", 0.7),
        "snli-42-likelihood_without_filter": run("filter off", 0.6),
        "snli-42-likelihood_b": run("a trial", 0.5),
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    out = write_tables(script, tmp_path)
    tables = script.make_tables(script.read(tmp_path))
    trials, ablation, tuning = (
        [line.split(" |")[0] for line in tables[f"snli-{name}"].splitlines()[2:]]
        for name in ("trials", "parts", "tuning")
    )
    assert trials == ["| a trial"]
    assert ablation == ["| whole", "| filter off"]
    assert tuning == ["| 42", "| 42", "| 43"] and out.count("filter off") == 1


def test_empty_folder_is_refused_in_one_line(repository, tmp_path):
    done = run_script(repository, tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("study_tables: error: no runs in")
