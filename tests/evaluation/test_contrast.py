"""Contrast sets: worked examples, links, bad rows, CSV and JSON, and a recount of real rows."""

import argparse
import csv
import gzip
import json
import random

import pytest
from datasets import Value
from hypothesis import given
from hypothesis import strategies as st

from hf_bat.commands import contrast as command
from hf_bat.data import prepare_dataset
from hf_bat.errors import HfBatError
from hf_bat.evaluation.contrast import (
    ContrastRow,
    contrast_model,
    evaluate_contrast,
    read_contrast_set,
)
from hf_bat.stats import Share
from hf_bat.tasks import user_task


def label_of(value, where):
    return None if value in (-1, None, "", "-1") else int(value)


def read(rows, columns=("text",)):
    return read_contrast_set(rows, columns, label_of)


def made(idx, original, label, text="Words."):
    return {"idx": idx, "original_idx": original, "label": label, "text": text}


def predictor(*labels):
    return lambda inputs: labels


def test_worked_numbers():
    rows = read(
        [
            made(0, None, 0), made(1, 0, 1), made(2, 0, 0), made(3, 0, 2),
            made(4, None, 1), made(5, 4, 1), made(6, 4, 0),
            made(7, None, 2),
        ]
    )  # fmt: skip
    report = evaluate_contrast(rows, predictor(0, 1, 0, 0, 2, 1, 2, 2))
    assert (report.rows, report.originals, report.edits, report.skipped) == (8, 3, 5, {})
    assert report.accuracy_originals == Share(2, 3)
    assert report.accuracy_edits == Share(3, 5)
    assert report.consistency == Share(0, 2)  # the third original has no edit, so it is left out
    assert report.fickle_errors == Share(
        1, 2
    )  # row 5: label kept, prediction 2 -> 1, although now correct
    assert report.obstinate_errors == Share(2, 3)  # rows 3 and 6: label changed, prediction kept
    errors = {result["idx"]: result["error"] for result in report.row_results}
    assert {idx for idx, error in errors.items() if error == "fickle"} == {5}
    assert {idx for idx, error in errors.items() if error == "obstinate"} == {3, 6}


def test_rate_out_of_nothing_is_null():
    report = evaluate_contrast(read([made(0, None, 1)]), predictor(1)).to_dict()
    for name in ("accuracy_edits", "consistency", "fickle_errors", "obstinate_errors"):
        assert report[name] == {"count": 0, "of": 0, "rate": None, "interval": None}
    assert json.loads(json.dumps(report)) == report


def test_rows_that_cannot_be_scored_are_counted():
    rows = read(
        [made(0, None, -1), made(1, 0, 1), made(2, None, 0), made(3, 2, 1, " "), made(4, 2, 1)]
    )
    asked = []
    report = evaluate_contrast(rows, lambda inputs: asked.extend(inputs) or [0, 1])
    assert len(asked) == 2
    assert report.skipped == {"empty text": 1, "no label": 1, "original skipped": 1}
    assert report.rows == report.originals + report.edits + sum(report.skipped.values()) == 5


def test_ids_of_csv_and_json_are_the_same():
    forms = [
        [made(3, None, 0), made(4, 3, 1)],
        [made("3", "", "0"), made("4", "3", "1")],
        [made(3.0, float("nan"), 0), made(4.0, 3.0, 1)],
        [made(" 3 ", " ", 0), made("4", "3.0", 1)],
    ]
    assert all(read(rows) == read(forms[0]) for rows in forms)
    assert [row.idx for row in read([made("a", None, 0), made("b", "a", 1)])] == ["a", "b"]
    numbered = [
        {"original_idx": None, "label": 0, "text": "A."},
        {"original_idx": 0, "label": 0, "text": "B."},
    ]
    assert [row.idx for row in read(numbered)] == [0, 1]


@pytest.mark.parametrize("form", [int, str, lambda idx: f"{idx}.0"])
def test_ids_of_64_bits_stay_apart(form):
    """A float has 53 bits, so the second and the third id would be equal."""
    first, second, third = 2**53, 2**62 + 1, 2**62 + 2
    rows = [
        made(form(first), None, 0),
        made(form(second), None, 1),
        made(form(third), form(second), 0),
    ]
    assert [(row.idx, row.original_idx) for row in read(rows)] == [
        (first, None),
        (second, None),
        (third, second),
    ]


def test_ids_that_look_like_floats_are_names():
    rows = [
        made("12e3", None, 0),
        made("120e2", None, 1),
        made("1.50", "120e2", 1),
        made("inf", "", 1),
    ]
    assert [row.idx for row in read(rows)] == ["12e3", "120e2", "1.50", "inf"]


@pytest.mark.parametrize("name", ["edits.csv", "edits.jsonl"])
def test_ids_of_64_bits_survive_a_file(tmp_path, name):
    from hf_bat.tasks import load_split

    found = [made(2**62 + 1, None, 0), made(2**62 + 2, 2**62 + 1, 1)]
    with open(tmp_path / name, "w", newline="") as file:
        if name.endswith("csv"):
            writer = csv.DictWriter(file, found[0])
            writer.writeheader()
            writer.writerows(found)
        else:
            file.writelines(json.dumps(row) + "\n" for row in found)
    rows = load_split(tmp_path / name, str(tmp_path / "cache"))
    assert [(row.idx, row.original_idx) for row in read(rows)] == [
        (2**62 + 1, None),
        (2**62 + 2, 2**62 + 1),
    ]


@given(
    st.lists(
        st.tuples(st.integers(-1, 2), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=30
    ),
    st.randoms(use_true_random=False),
)
def test_counts_add_up_and_do_not_depend_on_order(items, rng):
    """Return rows from items (label, prediction, number of the original or 0)."""
    originals = [ContrastRow(n, None, ("w",), 0) for n in range(3)]
    rows = originals + [
        ContrastRow(10 + n, link - 1 if link else None, ("w",), None if label < 0 else label)
        for n, (label, _, link) in enumerate(items)
    ]
    answers = {row.idx: 0 for row in originals} | {10 + n: p for n, (_, p, _) in enumerate(items)}

    def evaluate(ordered):
        kept = [row for row in ordered if row.label is not None]
        return evaluate_contrast(ordered, lambda inputs: [answers[row.idx] for row in kept])

    report = evaluate(rows)
    assert report.rows == report.originals + report.edits + sum(report.skipped.values())
    assert report.fickle_errors.of + report.obstinate_errors.of == report.edits
    assert evaluate(rng.sample(rows, len(rows))).to_dict() == report.to_dict()


def test_real_edits_against_a_recount(shared_rows):
    raw = shared_rows("snli_contrast/validation.jsonl.gz")
    rng = random.Random(0)
    answers = {row["idx"]: rng.randrange(3) for row in raw}
    rows = read_contrast_set(raw, ("premise", "hypothesis"), label_of)
    report = evaluate_contrast(rows, lambda inputs: list(answers.values()))
    gold = {row["idx"]: row["label"] for row in raw}
    edits = [row for row in raw if row["original_idx"] is not None]
    assert (report.rows, report.originals, report.edits) == (1000, 200, 800)
    changed = [row for row in edits if gold[row["original_idx"]] != row["label"]]
    assert report.obstinate_errors == Share(
        sum(answers[row["idx"]] == answers[row["original_idx"]] for row in changed), len(changed)
    )
    assert report.accuracy_edits.count == sum(answers[r["idx"]] == r["label"] for r in edits)
    right = [
        all(answers[r["idx"]] == r["label"] for r in raw if idx in (r["idx"], r["original_idx"]))
        for idx in gold
        if any(r["original_idx"] == idx for r in edits)
    ]
    assert report.consistency == Share(sum(right), len(right))


@pytest.fixture
def model_folder(tmp_path):
    """Return the folder of a tiny random BERT classifier with a different order of labels from the data."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += ["a", "no", "man", "woman", "sits", "runs", "the", "red", "blue", "dog", ".", ","]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    folder = tmp_path / "model"
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(folder)
    import torch

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, id2label={0: "contradiction", 1: "entailment", 2: "neutral"},
        label2id={"contradiction": 0, "entailment": 1, "neutral": 2}, initializer_range=1.0,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


ROWS = [
    {
        "idx": 0,
        "original_idx": None,
        "premise": "a man sits .",
        "hypothesis": "a man .",
        "label": 0,
    },
    {"idx": 1, "original_idx": 0, "premise": "a man runs .", "hypothesis": "a woman .", "label": 2},
    {
        "idx": 2,
        "original_idx": 0,
        "premise": "no man sits, no dog",
        "hypothesis": "a man .",
        "label": 1,
    },
    {
        "idx": 3,
        "original_idx": None,
        "premise": "the red dog",
        "hypothesis": "a blue dog",
        "label": -1,
    },
]


def test_batches_of_a_transformers_model_do_not_change_its_predictions(model_folder):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(model_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    expected = []
    for row in ROWS[:3]:
        with torch.no_grad():
            logits = model(
                **tokenizer(row["premise"], row["hypothesis"], return_tensors="pt")
            ).logits
        expected.append(int(logits.argmax()))
    for batch_size in (1, 2, 32):
        report = contrast_model(model, ROWS, "snli", tokenizer, batch_size=batch_size)
        assert [result["prediction"] for result in report.row_results] == expected
    # 0, 2, 1 in the data are entailment, contradiction, neutral, which are 1, 0, 2 in the model.
    assert [result["label"] for result in report.row_results] == [1, 0, 2]
    assert report.skipped == {"no label": 1}


def run_command(*argv):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in argv]))


def test_command_reads_csv_and_json_lines_alike(model_folder, tmp_path, capsys):
    lines = tmp_path / "set.jsonl.gz"
    with gzip.open(lines, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in ROWS)
    with open(tmp_path / "set.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ROWS[0])
        writer.writeheader()
        writer.writerows(ROWS)
    outputs = []
    for data in (lines, tmp_path / "set.csv"):
        files = tmp_path / f"{data.name}.report.json", tmp_path / f"{data.name}.rows.jsonl"
        status = run_command(
            "--model", model_folder, "--task", "snli", "--data", data, "--device", "cpu",
            "--json", files[0], "--rows", files[1],
        )  # fmt: skip
        assert status == 0
        shown = capsys.readouterr().out
        report = json.loads(files[0].read_text())
        rows = [json.loads(line) for line in files[1].read_text().splitlines()]
        assert "obstinate errors" in shown and "1 of 4 rows not scored (no label: 1)" in shown
        outputs.append((report["contrast"], rows))
    assert outputs[0] == outputs[1]
    assert len(outputs[0][1]) == 3


def test_command_refuses_rows_without_links(model_folder, tmp_path):
    path = tmp_path / "plain.jsonl"
    path.write_text(json.dumps({"premise": "a", "hypothesis": "b", "label": 0}) + "\n")
    with pytest.raises(HfBatError, match="original_idx"):
        run_command("--model", model_folder, "--data", path, "--device", "cpu")
    path.write_text(json.dumps({**ROWS[0], "original_idx": None}) + "\n")
    with pytest.raises(HfBatError, match="nothing is measured"):
        run_command("--model", model_folder, "--data", path, "--device", "cpu")
    with pytest.raises(HfBatError, match="cannot write"):
        run_command("--model", model_folder, "--data", path, "--json", tmp_path / "no" / "x.json")


def test_prepared_rows_are_read():
    """Rows prepared by a trainer have their label in `label`, regardless of the task's label column."""
    task = user_task(["text"], ("no", "yes"), label_column="gold")
    raw = [{"text": "Hot.", "gold": "yes"}, {"text": "Cold.", "gold": "no"}]
    prepared = prepare_dataset(raw, task, None, "rows")
    prepared = prepared.add_column("original_idx", [None, 0], feature=Value("int64"))
    report = contrast_model(lambda texts: [[0.0, 1.0] for _ in texts], prepared, task)
    assert (report.accuracy_originals.rate, report.accuracy_edits.rate) == (1.0, 0.0)
