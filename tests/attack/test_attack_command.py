"""`hf-bat attack`: options, files and messages. Invalid calls are in `bad_calls/commands.py`."""

import csv
import json
from pathlib import Path

import pytest
from attack_helpers import ANTONYMS, SYNONYMS, made_rows
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.attack.recipes import RECIPES, NamedRecipe, Recipe
from hf_bat.cli import main
from hf_bat.lexicon import SubstitutionTable
from hf_bat.perturbations import AntonymPerturbation


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a model, tables and rows."""
    path = tmp_path_factory.mktemp("attack")
    rows = made_rows(40, seed=41)
    tiny_model("bert").save_pretrained(path / "model")
    tiny_tokenizer([t for r in rows for t in (r["premise"], r["hypothesis"])]).save_pretrained(
        path / "model"
    )
    SubstitutionTable(ANTONYMS).save(path / "antonyms.json")
    SubstitutionTable(SYNONYMS).save(path / "synonyms.json")
    (path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def attack(folder, *options):
    tables = ["--antonyms", folder / "antonyms.json", "--synonyms", folder / "synonyms.json"]
    words = ["attack", "--model", folder / "model", "--task", "snli", *tables, *options]
    return main([str(word) for word in words])


def test_command_writes_all_its_files(folder, tmp_path, capsys):
    options = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "synonym", "negation"]
    options += ["--max-samples", 30, "--batch-size", 8, "--device", "cpu", "--dtype", "float32"]
    options += ["--seed", 3, "--skip-labels"]
    for kind in ("json", "rows", "csv", "html", "export"):
        options += [f"--{kind}", tmp_path / f"out.{kind}"]
    assert attack(folder, *options) == 0
    printed, progress = capsys.readouterr()
    assert "attack 2 of 3: synonym" in progress
    report = json.loads((tmp_path / "out.json").read_text())
    assert list(report["attacks"]) == ["antonym", "synonym", "negation"]
    cells = {line.split()[0]: line.split() for line in printed.splitlines() if line}
    for name, summary in report["attacks"].items():
        assert cells[name][1:3] == [str(summary["attempted"]), str(summary["succeeded"])]
        assert cells[name][3] == f"{100 * summary['asr']:.1f}"
    for name, summary in report["attacks"].items():
        assert summary["rows"] == 30 == summary["attempted"] + summary["skipped"]
        assert summary["recipe"]["name"].startswith(f"paper-{name}")
    rows = [json.loads(line) for line in (tmp_path / "out.rows").open()]
    assert len(rows) == 90
    for row in rows:
        assert {"idx", "attack", "outcome", "original", "perturbed", "queries"} <= set(row)
        assert ("outcome_confident" in row) == (row["attack"] != "synonym")
        confident = row.get("outcome_confident", row["outcome"])
        assert (confident == "skipped") == (row["outcome"] == "skipped")
    with open(tmp_path / "out.csv", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["outcome"] for line in lines] == [row["outcome"] for row in rows]
    exported = [json.loads(line) for line in (tmp_path / "out.export").open()]
    fooled = [row for row in rows if row["outcome"] == "succeeded"]
    assert len(exported) == len(fooled) > 0
    for line, row in zip(exported, fooled, strict=True):
        assert [line["premise"], line["hypothesis"]] == row["perturbed"]
        assert line["label"] == (row["label"] if row["attack"] == "synonym" else -1)
    assert "<html" in (tmp_path / "out.html").read_text()


def test_command_that_is_repeated_asks_the_model_nothing(folder, tmp_path, capsys):
    options = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "synonym", "--skip-labels"]
    options += ["--rows", tmp_path / "rows.jsonl", "--json", tmp_path / "report.json"]
    reports, rows = [], []
    for _ in range(2):
        assert attack(folder, *options) == 0
        reports.append(json.loads((tmp_path / "report.json").read_text()))
        rows.append((tmp_path / "rows.jsonl").read_bytes())
    assert reports[0]["attacks"] == reports[1]["attacks"] and rows[0] == rows[1]
    assert (
        reports[1]["cost"]["antonym"]["forwards"] == 0 < reports[0]["cost"]["antonym"]["forwards"]
    )


def test_attack_on_no_row_is_reported(folder, tmp_path, capsys):
    """A script that requires a rate below a limit must not accept a missing rate."""
    row = {"premise": "A big dog.", "hypothesis": "A dog.", "label": None}
    (tmp_path / "dev.jsonl").write_text(json.dumps(row) + "\n")
    options = ["--data", tmp_path / "dev.jsonl", "--attacks", "antonym", "--json", tmp_path / "r"]
    assert attack(folder, *options) == 2
    assert "antonym: no row was attacked (no label: 1)" in capsys.readouterr().err
    assert json.loads((tmp_path / "r").read_text())["attacks"]["antonym"]["asr"] is None
    del row["label"]
    (tmp_path / "dev.jsonl").write_text(json.dumps(row) + "\n")
    assert attack(folder, *options) == 2
    assert "no row has the label column 'label'" in capsys.readouterr().err


def test_rows_without_labels_are_counted(folder, tmp_path, capsys):
    labels = [0, -100, 1, -1]
    rows = [{"premise": "A big dog.", "hypothesis": "A dog.", "label": label} for label in labels]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    attack(folder, "--data", tmp_path / "dev.jsonl", "--attacks", "antonym", "--skip-labels")
    assert "skipped 2 of 4 rows without a label" in capsys.readouterr().err


def test_text_of_one_row_is_attacked(folder, tmp_path, capsys):
    options = ["--text", "The man is happy in the hot rain.", "A dog."]
    options += [
        "--attacks",
        "antonym",
        "negation",
        "--skip-labels",
        "--json",
        tmp_path / "one.json",
        "--print-recipes",
    ]
    assert attack(folder, *options) == 0
    printed = capsys.readouterr().out
    assert "paper-antonym" in printed and "candidates" in printed
    results = json.loads((tmp_path / "one.json").read_text())
    assert [row["attack"] for row in results] == ["antonym", "negation"]
    assert results[0]["candidates"] == 4  # man -> woman, happy -> sad, hot -> cold and cool


def test_a_new_recipe_needs_no_change_in_the_command(folder, monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, "words", NamedRecipe(make_words, "obstinate", ("toxic_words",)))
    (folder / "words.txt").write_text("man\n")
    options = ["--attacks", "words", "--toxic-words", folder / "words.txt"]
    assert attack(folder, *options, "--text", "A man.", "A dog.", "--skip-labels") == 0
    assert capsys.readouterr().out.startswith("words: ")
    # The same option with a recipe that does not use it.
    options[1] = "antonym"
    assert attack(folder, *options, "--text", "A man.", "A dog.") == 2
    assert "--toxic-words is for toxicity, words, " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["attack", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert ", words, one per line (default" in shown and "words for toxicity, words," in shown


def make_words(parts):
    table = SubstitutionTable({Path(parts.toxic_words).read_text().strip(): ["woman"]})
    return Recipe("words", AntonymPerturbation(table), "keep-strict", key="words")


def test_order_of_labels_without_names_is_reported(folder, tmp_path, capsys):
    options = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "--skip-labels"]
    assert attack(folder, *options) == 0
    assert "0 entailment, 1 neutral, 2 contradiction" in capsys.readouterr().err
    model = tiny_model("bert")
    model.config.id2label = {0: "contradiction", 1: "entailment", 2: "neutral"}
    model.save_pretrained(tmp_path)
    options += ["--model", tmp_path, "--tokenizer", folder / "model"]
    assert attack(folder, *options) == 0
    assert "warning" not in capsys.readouterr().err


def test_smoothed_model_can_keep_stop_words(folder, tmp_path):
    options = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "--max-samples", 4]
    options += ["--skip-labels"]
    excluded = []
    for more in ([], ["--exclude-stopwords"]):
        out = ["--smooth", 5, *more, "--json", tmp_path / "r.json"]
        assert attack(folder, *options, *out) == 0
        smoothed = json.loads((tmp_path / "r.json").read_text())["smoothed"]
        excluded.append(smoothed["smoothing"]["exclude_stopwords"])
    assert excluded == [False, True]


def test_check_fails_on_a_figure_and_on_one_that_was_not_measured(folder, tmp_path, capsys):
    options = ["--data", folder / "dev.jsonl", "--attacks", "synonym", "--skip-labels"]
    options += ["--rows", tmp_path / "rows.jsonl", "--json", tmp_path / "report.json"]
    assert attack(folder, *options, "--fail-if", "synonym.asr>1") == 0
    assert "failed" not in capsys.readouterr().err
    summary = json.loads((tmp_path / "report.json").read_text())["attacks"]["synonym"]
    low, high = (round(bound, 3) for bound in summary["asr_interval"])
    both = ["--fail-if", "synonym.asr>=0", "--fail-if", "accuracy<0"]
    assert attack(folder, *options, *both) == 1
    [line] = [x for x in capsys.readouterr().err.splitlines() if x.startswith("failed: ")]
    told = f"it is {round(summary['asr'], 3)} (95 % interval {low} to {high})"
    assert line == f"failed: synonym.asr>=0: {told}"
    unlabeled = {"premise": "A big dog.", "hypothesis": "A dog.", "label": None}
    (tmp_path / "dev.jsonl").write_text(json.dumps(unlabeled) + "\n")
    options = ["--data", tmp_path / "dev.jsonl", "--attacks", "synonym", "--fail-if", "asr>0.9"]
    assert attack(folder, *options) == 1
    assert "failed: asr>0.9: it was not measured for synonym" in capsys.readouterr().err


def test_f1_of_a_label_is_that_of_scikit_learn(folder, tmp_path, capsys):
    from sklearn.metrics import f1_score

    options = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "--f1-label", "neutral"]
    options += ["--json", tmp_path / "r.json", "--rows", tmp_path / "rows.jsonl"]
    assert attack(folder, *options, "--fail-if", "f1<=1") == 1
    f1 = json.loads((tmp_path / "r.json").read_text())["f1"]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").open()]
    gold, predicted = zip(*((row["label"], row["predicted"]) for row in rows), strict=True)
    expected = f1_score(gold, predicted, labels=[1], average=None)[0]
    assert f1["f1"] == pytest.approx(expected) and f1["rows"] == 40
    assert f1["f1_interval"][0] <= expected <= f1["f1_interval"][1]
    printed = capsys.readouterr()
    assert f"F1 of neutral {expected:.3f}" in printed.out and "failed: f1<=1" in printed.err


def test_interruption_says_how_to_go_on(folder, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hf_bat.attack.Attack.run", stop)
    options = ["--data", folder / "dev.jsonl", "--attacks", "synonym"]
    assert attack(folder, *options, "--rows", tmp_path / "rows.jsonl") == 130
    assert str(tmp_path / "rows.jsonl") in capsys.readouterr().err.splitlines()[-1]
    assert attack(folder, *options) == 130
    assert "--rows FILE" in capsys.readouterr().err.splitlines()[-1]


def test_skipped_labels_are_of_obstinate_attacks_and_skip_labels_of_all(folder, tmp_path, capsys):
    """In training, skipped labels have no obstinate versions, and attacks must do the same."""
    labels = ["entailment", "neutral", "contradiction"]
    skipped = {}
    for option in ("--skipped-labels", "--skip-labels"):
        out = tmp_path / "report.json"
        options = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "synonym", "--json", out]
        # The model predicts one label for all rows, so no row is left if this label is skipped.
        attack(folder, *options, option, *labels)
        attacks = json.loads(out.read_text())["attacks"]
        skipped[option] = {
            name: summary["skipped_reasons"].get("label skipped", 0)
            for name, summary in attacks.items()
        }
    assert skipped["--skip-labels"]["antonym"] == skipped["--skip-labels"]["synonym"] > 0
    assert skipped["--skipped-labels"] == {**skipped["--skip-labels"], "synonym": 0}
