"""`hf-bat suite` writes labeled pairs that `hf-bat contrast` reads."""

import json

import pytest
from tiny_models import tiny_model, tiny_tokenizer
from training_helpers import made_rows, make_arguments
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_bat.callbacks import ContrastMeter
from hf_bat.cli import main
from hf_bat.errors import HfBatError
from hf_bat.evaluation.suites import read_suite
from hf_bat.tasks import user_task


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "dev.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in made_rows(30)))
    return path


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_suite_has_each_rule_and_no_pair_twice(data, tmp_path, capsys):
    out = tmp_path / "suite.jsonl"
    command = ["suite", "--task", "snli", "--data", str(data), "--output", str(out)]
    assert main([*command, "--max-pairs", "2"]) == 0
    rows = read_lines(out)
    assert {"swap", "self_pair", "drop", "generalize"} <= {row["category"] for row in rows}
    # The pairs of this rule do not have a single label.
    assert "opposite" not in {row["category"] for row in rows}
    texts = [(row["premise"], row["hypothesis"]) for row in rows]
    assert len(set(texts)) == len(texts)
    assert f"{len(rows)} pairs from 30 rows" in capsys.readouterr().out
    # The same command writes the same file.
    again = tmp_path / "again.jsonl"
    assert main([*command[:-1], str(again), "--max-pairs", "2"]) == 0
    assert again.read_bytes() == out.read_bytes()


def test_contrast_reads_the_suite_by_category(data, tmp_path):
    out = tmp_path / "suite.jsonl"
    command = ["suite", "--task", "snli", "--data", str(data), "--output", str(out)]
    assert main([*command, "--held-out-pairs", "0.5", "--rules", "self_pair"]) == 0
    suite = read_suite(out)
    rows = read_lines(out)
    assert suite.name.startswith("rules") and len(suite.rows) == len(rows)
    assert [row.label for row in suite.rows] == [row["label"] for row in rows]
    assert len({row.category for row in suite.rows}) >= 2


def test_rows_that_give_no_pair_are_an_error(tmp_path, capsys):
    path = tmp_path / "dev.jsonl"
    path.write_text('{"premise": "Oh.", "hypothesis": "Ah.", "label": 1}\n')
    out = tmp_path / "suite.jsonl"
    command = ["suite", "--task", "snli", "--data", str(path), "--output", str(out)]
    assert main([*command, "--rules", "swap"]) == 2
    assert "no rule gives a pair" in capsys.readouterr().err
    assert not out.exists()


def test_rows_with_a_category_of_the_users_own_are_a_suite(tmp_path):
    path = tmp_path / "mine.jsonl"
    row = {"premise": "A red hat.", "hypothesis": "A blue hat.", "label": 2, "category": "colors"}
    path.write_text(json.dumps(row) + "\n")
    suite = read_suite(path)
    assert (suite.rows[0].label, suite.rows[0].category) == ("contradiction", "colors")
    with pytest.raises(HfBatError, match="unknown format"):
        read_suite(path, "rule")


LIGHTS = [
    {"utterance": "Turn the light on.", "intent": "turn_on"},
    {"utterance": "Lights off!", "intent": "turn_off"},
    {"utterance": "Play a song.", "intent": "other"},
]
FLIP = ["--label-flip", "turn_on=turn_off", "turn_off=turn_on"]


@pytest.fixture
def lights(tmp_path):
    """Return a folder with the rows of an own task, a table of antonyms, and models."""
    lines = "".join(json.dumps(row) + "\n" for row in LIGHTS)
    (tmp_path / "dev.jsonl").write_text(lines)
    (tmp_path / "pairs.json").write_text('{"on": ["off"], "off": ["on"]}')
    for name, labels in (("model", ["other", "turn_off", "turn_on"]), ("unnamed", None)):
        model = tiny_model("bert", num_labels=3)
        if labels:
            model.config.id2label = dict(enumerate(labels))
        model.save_pretrained(tmp_path / name)
        tiny_tokenizer([row["utterance"] for row in LIGHTS]).save_pretrained(tmp_path / name)
    return tmp_path


def test_a_suite_of_an_own_task_is_scored(lights, capsys):
    data, out, report = lights / "dev.jsonl", lights / "suite.jsonl", lights / "suite.json"
    own = ["--columns", "utterance", "--label-column", "intent", "--data", str(data)]
    tables = ["--antonyms", str(lights / "pairs.json"), "--output", str(out)]
    assert main(["suite", *own, *FLIP, *tables]) == 0
    edited = [(row["utterance"], row["label"]) for row in read_lines(out)]
    assert edited == [("Turn the light off.", "turn_off"), ("Lights on!", "turn_on")]
    contrast = ["contrast", "--columns", "utterance", "--data", str(out)]
    assert main([*contrast, "--model", str(lights / "model"), "--json", str(report)]) == 0
    written = json.loads(report.read_text())["suite"]
    assert written["format"] == "rules" and list(written["categories"]) == ["flip"]
    assert written["scored"] == 2 and set(written["categories"]["flip"]["labels"]) == {
        "turn_off",
        "turn_on",
    }
    # The file does not tell the order of a model's outputs.
    capsys.readouterr()
    assert main([*contrast, "--model", str(lights / "unnamed")]) == 2
    assert "--label-names" in capsys.readouterr().err
    names = ["--label-names", "other", "turn_off", "turn_on"]
    assert main([*contrast, "--model", str(lights / "unnamed"), *names]) == 0
    assert main([*contrast, "--model", str(lights / "model"), "--label-column", "intent"]) == 2


def test_training_evaluates_on_a_suite_of_an_own_task(lights):
    out = lights / "suite.jsonl"
    rows = [{**row, "label": row["intent"], "category": "flip"} for row in LIGHTS]
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = user_task(["utterance"], ["other", "turn_off", "turn_on"], label_column="intent")
    model = AutoModelForSequenceClassification.from_pretrained(lights / "model")
    arguments = make_arguments(lights / "run", contrast_file=str(out), use_cpu=True)
    tokenizer = AutoTokenizer.from_pretrained(lights / "model")
    metrics = ContrastMeter(arguments, task, tokenizer, model.config).measure(model)
    assert set(metrics) == {"eval_contrast_accuracy", "eval_contrast_accuracy_flip"}


def test_a_text_column_with_the_name_of_an_added_column_is_refused(tmp_path, capsys):
    path = tmp_path / "dev.jsonl"
    rows = [{"source": "A good day.", "label": "good"}, {"source": "A bad day.", "label": "bad"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["suite", "--columns", "source", "--data", str(path), "--label-flip", "good=bad"]
    assert main([*command, "--output", str(tmp_path / "suite.jsonl")]) == 2
    assert "'source'" in capsys.readouterr().err


def test_augment_uses_the_antonyms_of_its_rules(lights):
    own = ["--columns", "utterance", "--label-column", "intent"]
    command = ["augment", *own, "--data", str(lights / "dev.jsonl"), *FLIP, "--without-originals"]
    tables = ["--antonyms", str(lights / "pairs.json"), "--output-dir", str(lights / "out")]
    assert main([*command, *tables, "--edits", "typo"]) == 2
    assert main([*command, *tables, "--rules"]) == 0
    rows = read_lines(lights / "out" / "data.jsonl")
    assert {row["utterance"] for row in rows} == {"Turn the light off.", "Lights on!"}
