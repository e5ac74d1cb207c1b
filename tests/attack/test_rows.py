"""The hash of rows only depends on the rows, not on the model's order of the labels."""

import hashlib
import json

import pytest
from attack_helpers import ANTONYMS
from datasets import Dataset
from tiny_models import tiny_model, tiny_tokenizer
from transformers import BertConfig

from hf_bat.attack import Attack
from hf_bat.attack.rows import fingerprint, read_examples, read_rows
from hf_bat.evaluation.compare import compare_rows
from hf_bat.tasks import get_task, user_task

NAMES = ("entailment", "neutral", "contradiction")
PERMUTED = ("contradiction", "entailment", "neutral")
ROWS = [
    {"premise": "A hot day.", "hypothesis": "It is hot.", "label": 0},
    {"premise": "A big man.", "hypothesis": "It is hot.", "label": 1},
    {"premise": "A man runs.", "hypothesis": "A woman runs.", "label": 2},
    {"premise": "A man.", "hypothesis": "A dog.", "label": -1},
]


def config(names):
    return BertConfig(id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)})


def hash_for(names, rows=ROWS, task="snli"):
    return fingerprint(read_examples(rows, get_task(task), names and config(names)))


def test_the_hash_does_not_depend_on_the_models_order_of_labels():
    assert hash_for(PERMUTED) == hash_for(NAMES) == hash_for(None)
    assert hash_for([name.upper() for name in PERMUTED]) == hash_for(NAMES)
    # It depends on the rows: a different label, or different label names, is a different row.
    assert hash_for(NAMES, [{**ROWS[0], "label": 1}, *ROWS[1:]]) != hash_for(NAMES)


def test_the_hash_is_that_of_earlier_versions_where_the_orders_are_the_same():
    total = 0
    for idx, row in enumerate(ROWS):
        label = None if row["label"] < 0 else row["label"]
        line = json.dumps([idx, [row["premise"], row["hypothesis"]], label])
        total += int.from_bytes(hashlib.sha256(line.encode()).digest(), "big")
    assert hash_for(NAMES) == hashlib.sha256(str(total).encode()).hexdigest()


def test_prepared_rows_and_raw_ones_have_one_hash():
    from hf_bat.data import prepare_dataset

    raw, task = ROWS[:3], get_task("snli")
    prepared = prepare_dataset(raw, task, config(PERMUTED), "rows")
    assert fingerprint(read_examples(prepared, task, config(PERMUTED))) == hash_for(NAMES, raw)


@pytest.mark.parametrize("task_names", [(), ("book", "cancel", "other")])
def test_labels_given_by_name(task_names):
    task = user_task(["text"], task_names)
    rows = [{"text": f"Text {name}.", "label": name} for name in ("cancel", "book", "other")]
    hashes = {
        hash_for(names, rows, task)
        for names in (("book", "cancel", "other"), ("other", "book", "cancel"))
    }
    assert len(hashes) == 1


def test_numbers_that_only_the_model_names_are_the_models():
    task, rows = user_task(["text"]), [{"text": "Text.", "label": 1}]
    number = read_examples(rows, task, config(("other", "book", "cancel")))[0].number
    assert number == 1


def test_integers_are_names_where_all_names_are_digits():
    task, rows = user_task(["text"], ("1", "2", "3")), [{"text": "Text.", "label": 2}]
    assert read_examples(rows, task, config(("1", "2", "3")))[0].number == 1


def test_rows_of_models_with_permuted_labels_are_compared(tmp_path):
    files = []
    for names in (NAMES, PERMUTED):
        model = tiny_model("bert")
        model.config.id2label, model.config.label2id = (
            config(names).id2label,
            config(names).label2id,
        )
        files.append(tmp_path / f"{names[0]}.jsonl")
        Attack("antonym", model, tiny_tokenizer(), antonyms=ANTONYMS).run(ROWS, files[-1])
    assert compare_rows(*map(read_rows, files))[0].rows == len(ROWS)


@pytest.mark.parametrize("kind", ["torch", "numpy", "pandas"])
def test_the_format_of_a_data_set_changes_nothing(kind):
    rows, task = Dataset.from_list(ROWS), get_task("snli")
    expected = read_examples(rows, task, config(NAMES))
    assert read_examples(rows.with_format(kind), task, config(NAMES)) == expected
