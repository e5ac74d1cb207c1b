"""Tiny copies of GLUE and SNLI in the Hub's layout: Parquet files by configuration, listed in the card.

The module also has tables for the generated rows, as written by `push_to_hub`.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hub_stand_in import HubStandIn
from training_helpers import ANTONYMS, SYNONYMS, made_rows

from hf_bat.lexicon.table import write_dataset

NLI = ("entailment", "neutral", "contradiction")
# Configuration -> text columns, label names, and the number of rows in each split.
GLUE: dict[str, tuple[tuple[str, str], tuple[str, ...], dict[str, int]]] = {
    "mnli": (
        ("premise", "hypothesis"),
        NLI,
        {"train": 18, "validation_matched": 9, "validation_mismatched": 7, "test_matched": 5,
         "test_mismatched": 4},
    ),
    "mrpc": (
        ("sentence1", "sentence2"),
        ("not_equivalent", "equivalent"),
        {"train": 14, "validation": 8, "test": 6},
    ),
    "qqp": (
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
        {"train": 16, "validation": 10, "test": 5},
    ),
}  # fmt: skip
SNLI = {"test": 6, "validation": 11, "train": 20}
# One in this many SNLI rows has no gold label, because the annotators did not agree.
SNLI_WITHOUT_GOLD = 4


def glue_rows(configuration: str, split: str) -> list[dict[str, Any]]:
    """Return the rows of a split of the generated GLUE, with its columns and order."""
    columns, names, splits = GLUE[configuration]
    rows = []
    # Each split has a different seed, so rows from a wrong split would be noticed.
    for number, row in enumerate(made_rows(splits[split], seed=10 + list(splits).index(split))):
        label = row["label"] % len(names)
        if split.startswith("test") and configuration != "mrpc":
            label = -1
        # MRPC's row numbers have gaps, because GLUE took the validation rows from the training file.
        idx = number * 3 if configuration == "mrpc" else number
        texts = dict(zip(columns, (row["premise"], row["hypothesis"]), strict=True))
        rows.append({**texts, "label": label, "idx": idx})
    return rows


def snli_rows(split: str) -> list[dict[str, Any]]:
    """Return the rows of a split of the generated SNLI, which have no numbers."""
    rows = made_rows(SNLI[split], seed=20 + list(SNLI).index(split))
    for number, row in enumerate(rows):
        del row["idx"]
        if number % SNLI_WITHOUT_GOLD == 1:
            row["label"] = -1
    return rows


def serve_data(hub: HubStandIn) -> None:
    """Serve both data sets."""
    glue = {
        name: (names, {split: glue_rows(name, split) for split in splits})
        for name, (_, names, splits) in GLUE.items()
    }
    hub.add("nyu-mll/glue", _tree(glue), "datasets")
    snli = {"plain_text": (NLI, {split: snli_rows(split) for split in SNLI})}
    hub.add("stanfordnlp/snli", _tree(snli), "datasets")


def serve_tables(hub: HubStandIn) -> None:
    """Serve the two tables."""
    for name, table in (("tester/synonyms", SYNONYMS), ("tester/antonyms", ANTONYMS)):
        with tempfile.TemporaryDirectory() as folder:
            write_dataset(table, name, Path(folder))
            files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        hub.add(name, files, "datasets")


_Splits = dict[str, list[dict[str, Any]]]


def _tree(configurations: dict[str, tuple[Sequence[str], _Splits]]) -> dict[str, bytes]:
    """Return the files of a data set, including its card."""
    configs, infos, files = [], [], {}
    for name, (label_names, splits) in configurations.items():
        for split, rows in splits.items():
            files[f"{name}/{split}-00000-of-00001.parquet"] = _parquet(rows, label_names)
        configs.append(
            {
                "config_name": name,
                "data_files": [{"split": s, "path": f"{name}/{s}-*"} for s in splits],
            }
        )
        infos.append(_info(name, label_names, splits))
    metadata = yaml.safe_dump({"dataset_info": infos, "configs": configs}, sort_keys=False)
    return {"README.md": f"---\n{metadata}---\n\n# Made rows\n".encode(), **files}


def _info(name: str, label_names: Sequence[str], splits: _Splits) -> dict[str, Any]:
    """Return a configuration's entry in the card, which is verified on loading."""
    first = next(iter(splits.values()))[0]
    label = {"class_label": {"names": {str(i): n for i, n in enumerate(label_names)}}}
    kinds = {"label": label, "idx": "int32"}
    return {
        "config_name": name,
        "features": [{"name": n, "dtype": kinds.get(n, "string")} for n in first],
        "splits": [
            {"name": s, "num_examples": len(rows), "num_bytes": 1} for s, rows in splits.items()
        ],
    }


def _parquet(rows: list[dict[str, Any]], label_names: Sequence[str]) -> bytes:
    from datasets import ClassLabel, Dataset, Features, Value
    from pyarrow import parquet

    kinds = {"label": ClassLabel(names=list(label_names)), "idx": Value("int32")}
    features = Features({name: kinds.get(name, Value("string")) for name in rows[0]})
    buffer = io.BytesIO()
    parquet.write_table(Dataset.from_list(rows, features=features).data.table, buffer)
    return buffer.getvalue()
