"""Shared fixtures for tests of the example scripts: a tiny model and files with generated rows."""

import csv
import json

import pytest
from tiny_models import tiny_model
from training_helpers import ANTONYMS, SYNONYMS, made_rows, tokenizer_for_made_rows


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Return a folder with a tiny BERT classifier, two tables, and train, dev, mm and test files."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model("bert", dropout=0.1).save_pretrained(folder / "model")
    tokenizer_for_made_rows().save_pretrained(folder / "model")
    SYNONYMS.save(folder / "synonyms.json")
    ANTONYMS.save(folder / "antonyms.json")
    for name, n, seed in (("train", 40, 0), ("dev", 22, 1), ("mm", 12, 2), ("test", 9, 3)):
        rows = made_rows(n, seed)
        if name == "test":
            rows = [{**row, "label": -1} for row in rows]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines)
    with open(folder / "own.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["utterance", "intent"])
        for row in made_rows(24, 4):
            writer.writerow([row["premise"], ("book", "cancel", "other")[row["label"]]])
    return folder
