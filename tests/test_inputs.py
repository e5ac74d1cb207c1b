"""Inputs that often cause trouble, created as files or objects, and their outcomes.

`docs/inputs.md` lists the same kinds. Each row of the page is an entry here, and its test checks the outcome.
"""

import csv
import gzip
import io
import json
import logging
import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from tiny_models import tiny_model, tiny_tokenizer
from transformers import BertConfig

from hf_bat import BalancedTrainer, BalancedTrainingArguments, HfBatError
from hf_bat.attack import Attack
from hf_bat.attack.rows import read_examples
from hf_bat.cli import main
from hf_bat.data import choose_rows, prepare_dataset
from hf_bat.evaluation.contrast import contrast_model
from hf_bat.evaluation.reports import read_both
from hf_bat.finetune import FinetuneArguments, expand_configuration, load_rows
from hf_bat.labels import find_label_names
from hf_bat.lexicon import SubstitutionTable
from hf_bat.perturbations import ToxicityPerturbation, build_perturbations
from hf_bat.report.files import read_folder
from hf_bat.tasks import load_split, user_task, with_label_names

TASK = user_task(["text"], ["bad", "good"])
OWN = user_task(["text"])
PAGE = Path(__file__).resolve().parents[1] / "docs" / "inputs.md"


class Kind(NamedTuple):
    """A kind of input: a row of the page and the test of its outcome."""

    group: str
    kind: str
    outcome: str
    check: Callable[[Path], None]


def load(folder: Path, name: str, content: str | bytes, task: Any = TASK) -> datasets.Dataset:
    """Load a file with this content."""
    data = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(data)
    return load_split(folder / name, str(folder / "cache"), task)


def refuse(call: Callable[[], Any], *words: str) -> None:
    """Check that a call raises a one-line error with these words."""
    with pytest.raises(HfBatError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@contextmanager
def capture_warnings() -> Iterator[list[str]]:
    """Collect the messages that reading rows logs."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("hf_bat.attack.rows")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


def read_labels(rows: Any, task: Any = TASK, config: Any = None) -> list[int | None]:
    """Return the labels read by attacks and training, which must be the same."""
    examples = read_examples(rows, task, config)
    if all(e.label is not None and e.reason is None for e in examples):
        config = config or BertConfig(num_labels=len(task.label_names))
        prepared = prepare_dataset(rows, task, config, "rows")
        assert prepared["label"][:] == [e.label for e in examples]
    return [e.label for e in examples]


def name_classes(labels: list[Any], column: str = "label") -> tuple[str, ...]:
    """Return the class names that training finds in a column."""
    rows = datasets.Dataset.from_list([{"text": "A.", "label": label} for label in labels])
    return find_label_names(rows, OWN)


def with_labels(*labels: Any) -> list[dict[str, Any]]:
    """Return rows with these labels."""
    return [{"text": f"Text {number}.", "label": label} for number, label in enumerate(labels)]


# ---- CSV and TSV ---------------------------------------------------------------------------------


def check_trailing_comma(folder: Path) -> None:
    for content in ("text,label\nA.,0,\nB.,1,\n", "text,label\nOh, no.,0\nB.,1\n"):
        refuse(lambda c=content: load(folder, "a.csv", c), "a.csv, line 2: 3 cells", "header has 2")
    refuse(lambda: load(folder, "a.tsv", "text\tlabel\nA.\t0\nB.\t1\t\n"), "a.tsv, line 3: 3 cells")


def check_short_line(folder: Path) -> None:
    refuse(lambda: load(folder, "a.csv", "text,label\nA.,0\nB\nc.,1\n"), "line 3: 1 cells")


def check_lone_quote(folder: Path) -> None:
    cases = {
        'text,label\nA.,0\n"B.,1\nC.,0\n': "line 3",
        'text,label\nA.,0\n"B.,1\n"C.",0\n': "line 3",
        'text,label\nA.,0\n"B.,1\nC.",0\nD.,1\n': "line 3",
        'text,label\n"He said "no" to it.",0\n': "line 2",
    }
    for content, where in cases.items():
        refuse(lambda c=content: load(folder, "a.csv", c), f"a.csv, {where}", "quote")


def check_quoted_line_breaks(folder: Path) -> None:
    rows = [["text", "label"], ["Dear all,\nthis is, in short, it.", "0"], ['5" of "rain".', "1"]]
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows(rows)
    assert load(folder, "a.csv", stream.getvalue())["text"][:] == [rows[1][0], rows[2][0]]


def check_numbers_in_texts(folder: Path) -> None:
    rows = load(folder, "a.csv", "text,label\n007,0\n1.50,1\n,1\n2024,0\n")
    assert rows["text"][:] == ["007", "1.50", "", "2024"] and rows["label"][:] == [0, 1, 1, 0]
    # Without a task, numbers are numbers, except for those that would be written differently.
    other = load(folder, "b.csv", "code,count,label\n007,3,0\n008,,1\n", None)
    assert other["code"][:] == ["007", "008"] and other["count"][:] == [3, None]


def check_odd_cell_far_down(folder: Path) -> None:
    lines = [f"Text {n}.,{n},{n % 2}" for n in range(10_500)]
    lines[10_400] = "Text.,many,1"
    rows = load(folder, "a.csv", "\n".join(["text,note,label", *lines]))
    assert rows["note"][10_400] == "many" and rows["note"][3] == "3"
    assert rows["label"][10_400] == 1


def check_semicolons(folder: Path) -> None:
    for mark, words in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        for text in ("Oh, no.", "Oh."):
            content = f"text{mark}label\n{text}{mark}0\n"
            refuse(lambda c=content: load(folder, "a.csv", c), "a.csv", f"separated by {words}")
    refuse(lambda: load(folder, "a.tsv", "text,label\nA.,0\n"), "separated by commas", "as .csv")


def check_excel_line(folder: Path) -> None:
    for line in ("sep=,", "sep=;", "SEP=;"):
        content = f"{line}\r\ntext,label\r\nA.,0\r\n"
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            data = content.encode(encoding)
            refuse(lambda d=data: load(folder, "a.csv", d), "a.csv", line, "remove this line")


def check_repeated_column(folder: Path) -> None:
    refuse(lambda: load(folder, "a.csv", "text,text,label\nA.,B.,0\n"), "'text' twice")


def check_byte_order_mark(folder: Path) -> None:
    table = "text,label\nA “dog”.,0\nB.,1\n"
    lines = '{"text": "A “dog”.", "label": 0}\n{"text": "B.", "label": 1}\n'
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        for name, content in (("a.csv", table), ("a.jsonl", lines)):
            rows = load(folder, name, content.encode(encoding))
            assert rows.column_names == ["text", "label"], (name, encoding)
            assert rows["text"][:] == ["A “dog”.", "B."]


def check_marked_files(folder: Path) -> None:
    def write(name: str, content: str) -> str:
        (folder / name).write_bytes(b"\xef\xbb\xbf" + content.encode())
        return str(folder / name)

    words = write("words.txt", "big\nlarge\nred\n")
    for name, header in (("vectors.txt", ""), ("vectors.vec", "3 2\n")):
        vectors = write(name, header + "big 1.0 0.0\nlarge 0.9 0.1\nred 0.0 1.0\n")
        table = str(folder / "table.json")
        flags = ["lexicon", "build", "synonyms", "--vectors", vectors, "--vocabulary", words]
        assert main([*flags, "--procedure", "topk", "--threshold", "0.8", "--output", table]) == 0
        assert dict(SubstitutionTable.load(table)) == {"big": ("large",), "large": ("big",)}
    antonyms = str(folder / "antonyms.json")
    hot = write("hot.txt", "hot\n")
    assert main(["lexicon", "build", "antonyms", "--vocabulary", hot, "--output", antonyms]) == 0
    assert dict(SubstitutionTable.load(antonyms)) == {"hot": ("cold",)}
    plain = write("plain.json", '{"big": ["large"]}')
    assert dict(SubstitutionTable.load(plain)) == {"big": ("large",)}
    toxic = ToxicityPerturbation(write("toxic.txt", "rude\nvile\n"))
    assert [edit.replacement for edit in toxic.candidates(("You are rude.",))] == [""]
    for name, content in (
        ("a.yaml", "task: snli\nseed: 3\n"),
        ("a.json", '{"task": "snli", "seed": 3}'),
    ):
        assert expand_configuration([write(name, content)]) == ["--task=snli", "--seed=3"]


def check_windows_encoding(folder: Path) -> None:
    for name, content in (
        ("a.csv", "text,label\nA.,1\nA “dog”.,0\n"),
        ("a.jsonl", '{"text": "A.", "label": 1}\n\n{"text": "A “dog”.", "label": 0}\n'),
    ):
        refuse(
            lambda n=name, c=content: load(folder, n, c.encode("cp1252")), name, "UTF-8", "iconv"
        )


def check_other_unicode(folder: Path) -> None:
    for name, content in (
        ("a.csv", "text,label\nA “dog”.,1\n"),
        ("a.jsonl", '{"text": "A “dog”.", "label": 1}\n'),
        ("a.json", '[{"text": "A “dog”.", "label": 1}]'),
    ):
        for encoding in ("utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"):
            data = content.encode(encoding)
            refuse(
                lambda n=name, d=data: load(folder, n, d),
                name, encoding.upper(), f"iconv -f {encoding}",
            )  # fmt: skip


def check_same_time_stamp(folder: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        for label in (0, 1):
            path = folder / name
            if name == "a.parquet":
                datasets.Dataset.from_list(with_labels(label)).to_parquet(path)
            else:
                row = json.dumps({"text": "A.", "label": label})
                path.write_text(f"text,label\nA.,{label}\n" if name == "a.csv" else f"{row}\n")
            os.utime(path, (1_000_000_000, 1_000_000_000))
            rows = load_split(path, str(folder / "cache"))
            assert rows["label"][:] == [label], name


# ---- labels --------------------------------------------------------------------------------------


def check_truth_values(folder: Path) -> None:
    # A model with True as its first label is correct on every row.
    true_first = user_task(["text"], ["True", "False"])
    for yes, no in ((True, False), ("True", "False"), ("true", "FALSE"), (np.True_, np.False_)):
        assert read_labels(with_labels(yes, no), true_first) == [0, 1]
        assert read_labels(with_labels(yes, no), user_task(["text"], ["false", "true"])) == [1, 0]
        assert read_labels(with_labels(yes, no), user_task(["text"], ["0", "1"])) == [1, 0]
        words = "write 0 for bad and 1 for good"
        refuse(lambda y=yes: read_labels(with_labels(y), TASK), "label True in row 0", words)
    rows = load(folder, "a.csv", "text,label\nA.,True\nB.,False\n", OWN)
    assert find_label_names(rows, OWN) == ("False", "True")


def check_negative_class(folder: Path) -> None:
    assert name_classes([-1, 1, 1]) == name_classes(["-1", "1"]) == ("-1", "1")
    refuse(lambda: name_classes([-1, 0, 1]), "-1 0 1 if it is one, and 0 1 if not")
    named = user_task(["text"], ["-1", "0", "1"])
    assert read_labels(with_labels(-1, 0, 1), named) == [0, 1, 2]
    for labels in ((-1, 1), (-1, 0, 1)):
        refuse(
            lambda labels=labels: read_labels(with_labels(*labels), user_task(["text"])),
            "--label-names",
        )


def check_numbers_that_skip(folder: Path) -> None:
    for numbers in ([1, 2, 3, 4], [100, 116, 108], [0, 5]):
        names = tuple(map(str, sorted(numbers)))
        assert name_classes(numbers) == name_classes([str(n) for n in numbers]) == names
        task = with_label_names(OWN, names)
        config = BertConfig(num_labels=len(names))
        expected = [names.index(str(number)) for number in numbers]
        assert read_labels(with_labels(*numbers), task, config) == expected
        assert read_labels(with_labels(*map(float, numbers)), task, config) == expected


def check_empty_label_cell(folder: Path) -> None:
    full = load(folder, "train.csv", "text,label\nA.,1\nB.,2\nC.,3\n", OWN)
    gap = load(folder, "dev.csv", "text,label\nA.,1\nB.,\nC.,2\nD.,3\n", OWN)
    names = find_label_names(full, OWN)
    assert names == find_label_names(gap, OWN) == ("1", "2", "3")
    assert read_labels(gap, with_label_names(OWN, names)) == [0, None, 1, 2]


def check_null_words(folder: Path) -> None:
    for null in (None, math.nan, np.float64("nan"), pd.NA, pd.NaT, "", " ", "nan", "NaN", "<NA>"):
        examples = read_examples(with_labels("good", null), TASK, None)
        assert [e.reason for e in examples] == [None, "no label"], null
    assert name_classes(["yes", "nan", "no", None]) == ("no", "yes")
    assert read_labels(with_labels("null", "set"), user_task(["text"], ["null", "set"])) == [0, 1]


def check_one_class(folder: Path) -> None:
    refuse(lambda: name_classes([3, 3]), "one class only (3)")
    refuse(lambda: name_classes(["yes", "", None]), "one class only (yes)")


def check_names_and_numbers(folder: Path) -> None:
    lines = (
        '{"text": "A.", "label": 1}\n{"text": "B.", "label": "x"}\n{"text": "C.", "label": ""}\n'
    )
    rows = load(folder, "a.jsonl", lines, OWN)
    refuse(lambda: find_label_names(rows, OWN), "1 in row 0 and 'x' in row 1", "alike")
    for mixed in (["yes", "", True], [None, True, 1], [1, 2, 3, "bad"]):
        content = "".join(json.dumps({"text": "A.", "label": label}) + "\n" for label in mixed)
        rows = load(folder, "b.jsonl", content, OWN)
        refuse(lambda r=rows: find_label_names(r, OWN), "alike")
    for given, names in (
        ([0, "1"], ("LABEL_0", "LABEL_1")), ([0, "LABEL_1"], ("LABEL_0", "LABEL_1")),
        (["7", "up"], ("7", "up")), ([-1, "yes", "no"], ("no", "yes")), ([1, "", 2], ("1", "2")),
    ):  # fmt: skip
        content = "".join(json.dumps({"text": "A.", "label": label}) + "\n" for label in given)
        assert find_label_names(load(folder, "c.jsonl", content, OWN), OWN) == names


def check_arrays_as_labels(folder: Path) -> None:
    rows = with_labels(np.array(1), np.array([0]), torch.tensor(1), np.int64(0), 1.0)
    assert read_labels(rows) == [1, 0, 1, 0, 1]  # also in training
    for label in ([0], [0, 1], np.array([0, 1]), {"a": 1}):
        rows = with_labels(label)
        refuse(lambda r=rows: read_examples(r, TASK, None), "row 0", "not a number or name")
        refuse(
            lambda r=rows: prepare_dataset(r, TASK, None, "rows"), "row 0", "not a number or name"
        )


def check_column_labels(folder: Path) -> None:
    rows = [{"text": "A.", "labels": 1}, {"text": "B.", "labels": 0}]
    assert read_labels(rows) == read_labels(datasets.Dataset.from_list(rows)) == [1, 0]


def check_no_label_column(folder: Path) -> None:
    rows = [{"text": "A.", "lable": 1}]
    words = ("label column 'label'", "text, lable")
    refuse(lambda: read_examples(rows, TASK, None), *words)
    refuse(lambda: prepare_dataset(rows, TASK, None, "rows"), "no column 'label'", "lable")


# ---- texts ---------------------------------------------------------------------------------------


def check_missing_texts(folder: Path) -> None:
    for null in (None, math.nan, pd.NA, "  "):
        rows = [{"text": "A.", "label": 0}, {"text": null, "label": 1}]
        assert [e.reason for e in read_examples(rows, TASK, None)] == [None, "empty text"]
        assert len(prepare_dataset(rows, TASK, BertConfig(num_labels=2), "rows")) == 1
        kept = prepare_dataset(rows, TASK, BertConfig(num_labels=2), "rows", keep_all=True)
        assert kept["text"][1].strip() == ""


def check_other_types(folder: Path) -> None:
    for value in (b"A dog.", ["A", "dog."], 7, 7.5, {"en": "A."}):
        rows = [{"text": value, "label": 0}]
        for call in (
            lambda r=rows: read_examples(r, TASK, None),
            lambda r=rows: prepare_dataset(r, TASK, None, "rows"),
            lambda r=rows: prepare_dataset(r, TASK, None, "rows", keep_all=True),
        ):
            refuse(call, "column 'text' in row 0", type(value).__name__, "must be a string")


def check_broken_texts(folder: Path) -> None:
    rows = [{"text": "A.", "label": 0}, {"text": "A \ud83d dog.", "label": 1}]
    assert [e.reason for e in read_examples(rows, TASK, None)] == [None, "broken text"]
    refuse(lambda: prepare_dataset(rows, TASK, None, "rows"), "'text' in row 1", "surrogate")


def check_mixed_types(folder: Path) -> None:
    rows = [{"text": "A.", "label": 0}, {"text": 5, "label": 1}]
    refuse(lambda: read_examples(rows, TASK, None), "row 1", "5 (int)")
    refuse(lambda: prepare_dataset(rows, TASK, None, "rows"), "'text'", "5 (int) in row 1")


# ---- rows ----------------------------------------------------------------------------------------


def check_other_containers(folder: Path) -> None:
    rows = with_labels(1, 0, 1)
    frame = pd.DataFrame(rows, index=[7, 8, 9])
    columns = {"text": [row["text"] for row in rows], "label": [1, 0, 1]}
    for given in (frame, columns, datasets.Dataset.from_list(rows), iter(rows)):
        assert [e.label for e in read_examples(given, TASK, None)] == [1, 0, 1]
    for given in (frame, columns):
        prepared = prepare_dataset(given, TASK, BertConfig(num_labels=2), "rows")
        assert prepared["label"][:] == [1, 0, 1] and prepared["idx"][:] == [0, 1, 2]
    # A missing text results in a column of floats and strings.
    frame.loc[8, "text"] = math.nan
    assert prepare_dataset(frame, TASK, BertConfig(num_labels=2), "rows")["idx"][:] == [0, 2]
    splits = datasets.DatasetDict(train=datasets.Dataset.from_list(rows))
    for call in (
        lambda: read_examples(splits, TASK, None),
        lambda: prepare_dataset(splits, TASK, None, "rows"),
    ):
        refuse(call, "DatasetDict of train", "choose one split")


def check_repeated_in_frames(folder: Path) -> None:
    frame = pd.DataFrame([["A.", 0, 1], ["B.", 1, 0]], columns=["text", "label", "label"])
    arrays = [pa.array(["A.", "B."]), pa.array([0, 1]), pa.array([1, 0])]
    for rows in (frame, pa.Table.from_arrays(arrays, ["text", "label", "label"])):
        refuse(lambda r=rows: read_examples(r, TASK, None), "'label' twice")
        refuse(lambda r=rows: prepare_dataset(r, TASK, None, "rows"), "'label' twice")


def check_no_rows(folder: Path) -> None:
    attack = Attack("synonym", lambda texts: [[0.5, 0.5]] * len(texts), task=TASK)
    path = folder / "dev.csv"
    path.write_text("text,label\nA big dog.,0\nA.,1\n")
    for given in (path, str(path)):
        assert attack.run(given)["synonym"]["rows"] == 2
        assert prepare_dataset(given, TASK, None, "rows")["label"][:] == [0, 1]
    refuse(lambda: attack.run("absent.csv"), "absent.csv")
    for value in (None, 5, Attack):
        refuse(lambda v=value: attack.run(v), "list of dicts", repr(value)[:20])
        refuse(lambda v=value: prepare_dataset(v, TASK, None, "rows"), "list of dicts")
    for rows in ([5], [None], ["A."]):
        refuse(lambda r=rows: attack.run(r), "row 0", "must be a dict")


def check_missing_keys(folder: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": "A."}, {"text": "B.", "label": 1, "note": "x"}]
    assert [e.reason for e in read_examples(rows, TASK, None)] == ["no label", None]
    prepared = prepare_dataset(rows, TASK, None, "rows")
    assert prepared["text"][:] == ["B."] and prepared["label"][:] == [1]
    rows = [{"text": "A.", "label": 0}, {"label": 1}]
    refuse(lambda: read_examples(rows, TASK, None), "row 1", "no column 'text'")
    refuse(lambda: prepare_dataset(rows, TASK, None, "rows"), "row 1", "no column 'text'")


def check_hidden_columns(folder: Path) -> None:
    config = BertConfig(num_labels=2)
    rows = datasets.Dataset.from_list(with_labels(1, 0))
    prepared = prepare_dataset(rows, TASK, config, "rows")
    for whole in (rows, prepared):
        for kind in (None, "torch"):
            hidden = whole.with_format(kind, columns=["text"])
            assert read_labels(hidden) == [1, 0]
            assert prepare_dataset(hidden, TASK, config, "rows")[0]["label"] == 1


def check_large_idx(folder: Path) -> None:
    large = 88888888888888888888
    rows = load(folder, "a.csv", f"text,label,idx\nA.,0,{large}\nB.,1,{large + 1}\nC.,1,2\n")
    assert [e.idx for e in read_examples(rows, TASK, None)] == [str(large), str(large + 1), "2"]
    refuse(lambda: prepare_dataset(rows, TASK, None, "rows"), "'idx'", str(large), "row 0")
    listed = [
        {"text": "A.", "label": 0, "idx": large},
        {"text": "B.", "label": 1, "idx": large + 1},
    ]
    assert [e.idx for e in read_examples(listed, TASK, None)] == [large, large + 1]
    refuse(lambda: prepare_dataset(listed, TASK, None, "rows"), "'idx'", str(large))
    # Floats of this size are not exact.
    for value in (1e20, 10**400):
        single = [{"text": "A.", "label": 0, "idx": value}]
        refuse(lambda r=single: prepare_dataset(r, TASK, None, "rows"), "'idx'")
    refuse(lambda: read_examples([{**single[0], "idx": 1e20}], TASK, None), "row 0 has idx")
    # The largest number of 64 bits is exact.
    rows = load(folder, "b.csv", f"text,label,idx\nA.,0,{2**63 - 1}\nB.,1,{2**63 - 2}\n")
    assert prepare_dataset(rows, TASK, None, "rows")["idx"][:] == [2**63 - 1, 2**63 - 2]


def check_transforms(folder: Path) -> None:
    rows, tokenizer = datasets.Dataset.from_list(with_labels(1, 0)), tiny_tokenizer()
    tokenizing = rows.with_transform(lambda batch: tokenizer(batch["text"]))
    upper = rows.with_transform(lambda b: {**b, "text": [t.upper() for t in b["text"]]})
    for given, first in ((tokenizing, "Text 0."), (upper, "TEXT 0.")):
        assert read_examples(given, TASK, None)[0].texts == (first,)
        prepared = prepare_dataset(given, TASK, BertConfig(num_labels=2), "rows")
        assert prepared["text"][0] == first and prepared["label"][:] == [1, 0]


def check_dates_as_texts(folder: Path) -> None:
    texts = ["2024-01-01", "2024-01-02T10:00:00Z", None, "2024-01-02 10:00:00"]
    rows = [{"day": "2024-05-06", "text": t, "label": n % 2} for n, t in enumerate(texts)]
    lines = "\n\n".join(map(json.dumps, rows))
    for name, content in (
        ("a.jsonl", lines), ("b.json", json.dumps(rows)), ("c.json", json.dumps(rows, indent=2)),
        ("d.jsonl", lines.encode("utf-16")), ("e.jsonl", lines.replace("\n", "\r\n").encode("utf-8-sig")),
        ("f.jsonl.gz", gzip.compress(lines.encode())),
    ):  # fmt: skip
        read = load(folder, name, content)
        assert read.column_names == ["day", "text", "label"], name
        assert read["text"][:] == texts and read["day"][:] == ["2024-05-06"] * 4, name


def check_json_columns(folder: Path) -> None:
    frame = pd.DataFrame({"text": ["A.", "B."], "label": [0, 1]})
    columns = {"text": ["A.", "B."], "label": [0, 1]}
    rows = with_labels(0, 1)
    for number, (content, cure) in enumerate(
        [
            (json.dumps(columns), 'orient="records", lines=True'),
            (json.dumps(columns, indent=1), 'orient="records", lines=True'),
            (frame.to_json(), 'orient="records", lines=True'),
            (frame.to_json(orient="index"), 'orient="records", lines=True'),
            (frame.to_json(orient="split"), 'orient="records", lines=True'),
            (json.dumps({"data": rows}), "its rows are in 'data'"),
            (json.dumps({"version": "1.0", "data": rows}, indent=1), "its rows are in 'data'"),
            (frame.to_json(orient="table"), "its rows are in 'data'"),
        ]
    ):
        refuse(lambda n=number, c=content: load(folder, f"{n}.json", c), f"{number}.json", cure)
    for content in (
        frame.to_json(orient="records", lines=True), frame.to_json(orient="records"),
        '{"text": "A.", "label": 0, "words": ["A"]}',
    ):  # fmt: skip
        assert load(folder, "rows.json", content)["text"][0] == "A."
    # The error is that a column is missing.
    other = '{"sentence": "A.", "label": 0, "words": ["A"]}'
    assert len(load(folder, "rows.json", other)) == 1


def check_fitted_edits(folder: Path) -> None:
    antonym = build_perturbations()[1]
    texts = {edit.texts[0] for edit in antonym.candidates(("A young man sits.",))}
    assert "An old man sits." in texts and "A young woman sits." in texts
    assert antonym.replacements("women") == ("men",) and "loses" in antonym.replacements("wins")


def check_idx(folder: Path) -> None:
    for value in (None, math.nan, 0.5, -math.inf, ""):
        rows = [{"text": "A.", "label": 0, "idx": value}]
        refuse(lambda r=rows: read_examples(r, TASK, None), "row 0 has idx", "drop the column")
        if value != "":
            refuse(lambda r=rows: prepare_dataset(r, TASK, None, "rows"), "'idx'", "in row 0")
    rows = [{"text": "A.", "label": n, "idx": value} for n, value in enumerate((4.0, np.int64(2)))]
    assert [e.idx for e in read_examples(rows, TASK, None)] == [4, 2]
    frame = pd.DataFrame(rows)
    assert prepare_dataset(frame, TASK, BertConfig(num_labels=2), "rows")["idx"][:] == [4, 2]


def check_sorted_file(folder: Path) -> None:
    rows = with_labels(*[0] * 50, *[1] * 50)
    chosen = read_examples(rows, TASK, None, 10)
    assert [e.label for e in chosen] == [0] * 5 + [1] * 5
    assert [e.idx for e in chosen] == list(range(0, 100, 10))
    assert chosen == read_examples(datasets.Dataset.from_list(rows), TASK, None, 10)
    assert [e.idx for e in read_examples(rows, TASK, None, 10, "first")] == list(range(10))
    refuse(lambda: read_examples(rows, TASK, None, 10, "last"), "row_choice 'last'")


def check_alternating_file(folder: Path) -> None:
    rows = with_labels(*[0, 1] * 100)
    chosen = read_examples(rows, TASK, None, 100)
    assert {e.label for e in chosen} == {0, 1} and len(chosen) == 100
    # There is one row in each hundredth of the file.
    assert [e.idx // 2 for e in chosen] == list(range(100))
    # Training and attacks choose the same rows.
    content = "".join(json.dumps({"text": "A.", "label": n % 3}) + "\n" for n in range(180))
    file = load(folder, "train.jsonl", content, OWN)
    three = user_task(["text"], ["a", "b", "c"])
    run = FinetuneArguments("none", train_file=str(folder / "train.jsonl"), max_train_samples=60)
    args = BalancedTrainingArguments(str(folder / "out"), report_to="none", use_cpu=True)
    trained = load_rows(run, three, args, ["train"])["train"]
    assert len(trained) == 60 and {*trained["label"]} == {0, 1, 2}
    assert [e.label for e in read_examples(file, three, None, 60)] == trained["label"][:]
    # If every choice misses a class, the log names it.
    for limit, note in ((1, "of class "), (98, "")):
        with capture_warnings() as lines:
            read_examples(rows, TASK, None, limit)
        assert ("no row is chosen" in lines[0]) == bool(note) and note in lines[0]
    # Missing labels are not a class.
    unlabeled = with_labels(*[0] * 50, *[1] * 50, -1, "-", None)
    assert [e.idx for e in read_examples(unlabeled, TASK, None, 3)] == [0, 34, 68]


# ---- commands ------------------------------------------------------------------------------------


def check_export(folder: Path) -> None:
    task = user_task(["review"], ["bad", "good"], label_column="verdict")
    rows = [{"review": f'A "good", hot day {n}.', "verdict": "good"} for n in range(3)]
    tables = {"synonyms": {"hot": ["warm"]}, "antonyms": {"hot": ["cold"]}}

    def model(texts: list[str]) -> list[list[float]]:
        return [[0.2, 0.8] if "warm" not in text else [0.9, 0.1] for text in texts]

    attacks = [Attack(name, model, task=task, **tables) for name in ("synonym", "antonym")]
    reports = [attack.run(rows) for attack in attacks]
    report = reports[0] | reports[1]
    for name in ("out.csv", "out.tsv"):
        assert report.export(folder / name, task.columns, task.label_column) == (6, 3)
        read = load_split(folder / name, str(folder / "cache"), task)
        assert read.column_names[:2] == ["review", "verdict"]
        assert read["review"][:2] == ['A "good", warm day 0.', 'A "good", warm day 1.']
        assert read["verdict"][:] == ["good"] * 3 + [""] * 3
        assert read["original_verdict"][:] == ["good"] * 6
    # Texts are read again for training, so formulas are not changed as in the files of `save_csv`.
    formula = [{"review": "=HYPERLINK(1) hot", "verdict": "good"}]
    exported = attacks[0].run(formula)
    exported.export(folder / "formula.csv", task.columns, task.label_column)
    exported.save_csv(folder / "rows.csv")
    read = load_split(folder / "formula.csv", str(folder / "cache"), task)
    assert read["review"][:] == ["=HYPERLINK(1) warm"]
    assert "'=HYPERLINK(1) warm" in (folder / "rows.csv").read_text()
    report.export(folder / "out.jsonl", task.columns, task.label_column)
    read = load_split(folder / "out.jsonl", str(folder / "cache"), task)
    assert read["verdict"][:] == [1, 1, 1, -1, -1, -1]


def check_empty_text(folder: Path) -> None:
    model = folder / "model"
    tiny_model("bert").save_pretrained(model)
    tiny_tokenizer().save_pretrained(model)
    out = folder / "out.json"
    words = ["attack", "--model", str(model), "--task", "snli", "--json", str(out), "--text"]
    for texts in (["", ""], ["A dog.", " "]):
        with redirect_stderr(io.StringIO()) as stream:
            assert main([*words, *texts]) == 2
        assert "not attacked (empty text)" in stream.getvalue().splitlines()[-1]
        assert {row["outcome"] for row in json.loads(out.read_text())} == {"skipped"}


def check_swapped_rows(folder: Path) -> None:
    rows = with_labels(*[0, 1] * 4)
    reports, files = [], []
    for name, cut in (("a", 3), ("b", 6)):

        def model(texts: list[str], cut: int = cut) -> list[list[float]]:
            return [[0.9, 0.1] if "Note" in t and t[5] < str(cut) else [0.1, 0.9] for t in texts]

        report = Attack("synonym", model, task=TASK, synonyms={"Text": ["Note"]}).run(rows)
        reports.append(str(folder / f"{name}.json"))
        files.append(str(folder / f"{name}.jsonl"))
        report.save_json(reports[-1])
        report.save_rows(files[-1])
    compared = read_both(reports, files)
    assert compared[3][0] != compared[3][1]
    refuse(lambda: read_both(reports, files[::-1]), "b.jsonl", "a.json", "--rows")
    # The report is newer than the rows next to it.
    (folder / "a.json").write_text((folder / "b.json").read_text())
    refuse(lambda: read_both(reports), "a.jsonl does not belong", "a.json")
    assert "a.jsonl" in read_folder(folder).skipped  # and the page does not show them
    sets = [
        {"idx": 0, "original_idx": None, "text": "A.", "label": 0},
        {"idx": 1, "original_idx": 0, "text": "B.", "label": 1},
    ]
    for name, answer in (("a", [1, 0]), ("b", [0, 1])):
        contrast = contrast_model(lambda texts, a=answer: [a] * len(texts), sets, TASK)
        (folder / f"{name}.json").write_text(json.dumps({"contrast": contrast.to_dict()}))
        lines = map(json.dumps, contrast.row_results)
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    assert read_both(reports)[0] == "contrast"
    refuse(lambda: read_both(reports, files[::-1]), "b.jsonl does not belong", "a.json")


def check_misspelled(folder: Path) -> None:
    for words, hint in (
        (["atack"], "did you mean 'attack'"),
        (["certify", "--modle", "m"], "unknown option --modle (did you mean '--model'"),
        (["lexicon", "buld"], "did you mean 'build'"),
    ):
        with pytest.raises(SystemExit) as exit_, redirect_stderr(io.StringIO()) as stream:
            main(words)
        assert exit_.value.code == 2 and hint in stream.getvalue()
        assert stream.getvalue().count("\n") == 1


def check_late_files(folder: Path) -> None:
    (folder / "rows.csv").write_text("text,label\nA.,0\nB.,1\n")
    base = [
        "attack",
        "--model",
        "/nowhere/at-all",
        "--columns",
        "text",
        "--label-names",
        "bad",
        "good",
    ]
    for words in (["--data", "absent.csv"], ["--data", "rows.csv", "--synonyms", "absent.json"]):
        paths = [str(folder / word) if "." in word else word for word in words]
        with redirect_stderr(io.StringIO()) as stream:
            assert main([*base, *paths]) == 2
        assert "absent" in stream.getvalue() and "nowhere" not in stream.getvalue()


def check_device(folder: Path) -> None:
    if not torch.backends.mps.is_available():
        model = tiny_model("bert")
        refuse(lambda: Attack("antonym", model, tiny_tokenizer(), device="mps"), "mps", "give cpu")


def check_length_column(folder: Path) -> None:
    task = user_task(["length"], ["bad", "good"])
    rows = [{"length": f"Text {n}.", "label": n % 2} for n in range(4)]
    options: dict[str, Any] = {"report_to": "none", "use_cpu": True}
    grouped = {"train_sampling_strategy": "group_by_length"}

    def make(**more: Any) -> BalancedTrainer:
        return BalancedTrainer(
            model=tiny_model("bert", num_labels=2),
            args=BalancedTrainingArguments(str(folder), max_steps=1, **options, **more),
            train_dataset=rows,
            processing_class=tiny_tokenizer(),
            task=task,
        )

    make().train()
    refuse(lambda: make(**grouped), "'length'", "--length_column_name")
    make(**grouped, length_column_name="tokens").train()


KINDS = [
    Kind(group, kind, outcome, check)
    for group, entries in {
        "CSV and TSV files": [
            ("A line with more cells than the header: a trailing comma, a comma outside quotes",
             "error that names the line", check_trailing_comma),
            ("A line with fewer cells than the header", "error that names the line", check_short_line),
            ("An unmatched quote, which would merge rows; a quote inside quotes", "error that names the line",
             check_lone_quote),
            ("Line breaks, commas and quotes inside quoted cells", "read unchanged",
             check_quoted_line_breaks),
            ("Numbers such as 007 in a text column", "remain text; an empty cell is an empty text",
             check_numbers_in_texts),
            ("One odd cell after 10,000 rows of numbers", "the column is text", check_odd_cell_far_down),
            ("Cells separated by semicolons", "error that reports the semicolons", check_semicolons),
            ("Excel's first line `sep=,` or `sep=;`", "error that asks to remove the line", check_excel_line),
            ("Two columns with the same name", "error that names the column", check_repeated_column),
        ],
        "Files": [
            ("A byte-order mark; UTF-16 with a byte-order mark", "read as UTF-8 without the mark",
             check_byte_order_mark),
            ("A byte-order mark in a vocabulary, vectors, a word list, a table or a configuration",
             "read without it", check_marked_files),
            ("Windows-1252 and other encodings than UTF-8", "error that names the line and the fix",
             check_windows_encoding),
            ("UTF-16 without a byte-order mark, UTF-32", "error that names the encoding and the fix",
             check_other_unicode),
            ("A JSON file of columns, also from pandas' `to_json()`; a list of rows inside an object",
             "error that names the fix", check_json_columns),
            ("A file replaced by another file with the same time stamp", "the new rows are read",
             check_same_time_stamp),
        ],
        "Labels": [
            ("True and False", "matched by name in any order; otherwise an error that suggests 1 and 0",
             check_truth_values),
            ("A class -1",
             "a class if the other class is 1; with 0, 1, ..., or for a function without label names, an "
             "error that asks for names",
             check_negative_class),
            ("Numbers that do not start from 0: 1 to 4, 100 to 116",
             "the classes that occur, named by these numbers",
             check_numbers_that_skip),
            ("An empty cell in a label column",
             "a row without a label; the names of the others are unchanged",
             check_empty_label_cell),
            ("NaN, pandas' NA, \"nan\"", "no label, unless a label has this name", check_null_words),
            ("Only one class", "error", check_one_class),
            ("Names and numbers in one column, which is possible in JSON: 1, \"x\"",
             "error that names two rows; digits in quotes are numbers", check_names_and_numbers),
            ("Arrays of one number", "read as the number; for several numbers, an error that names the row",
             check_arrays_as_labels),
            ("A column `labels` instead of `label`", "read", check_column_labels),
            ("No row has the label column", "error that lists the columns", check_no_label_column),
        ],
        "Texts": [
            ("Missing: None, NaN, NA", "treated as an empty text, which is dropped and counted",
             check_missing_texts),
            ("A column of dates in a JSON file", "remain strings", check_dates_as_texts),
            ("Bytes, lists, numbers", "error that names the row", check_other_types),
            ("Strings and numbers in one column", "error that names the row", check_mixed_types),
            ("Half of a character (a surrogate)",
             "skipped and counted by attacks; in training, an error that names the row", check_broken_texts),
            ("\"a young man\", \"women\", \"wins\" in an edit with antonyms or sister terms",
             "[fitted](attacks.md#fitted-edits) to the sentence: \"an old man\", \"men\", \"loses\"",
             check_fitted_edits),
        ],
        "Rows": [
            ("Data frames, dicts of columns, iterators; a `DatasetDict`",
             "read; an error that asks for one split", check_other_containers),
            ("A data frame or Arrow table with two columns of the same name",
             "error that names the column", check_repeated_in_frames),
            ("A path instead of rows; `None`, a number", "the file is read; error that names the value",
             check_no_rows),
            ("Dicts of which some lack a key",
             "a row without a label; without a text, an error that names the row", check_missing_keys),
            ("`with_format(..., columns=[...])`", "all columns are read", check_hidden_columns),
            ("`set_transform`", "its texts are read; a transform that tokenizes is ignored",
             check_transforms),
            ("`idx` that is null, NaN or fractional", "error that names the row", check_idx),
            ("`idx` with more than 64 bits",
             "read exactly in attacks; in training, and as a float, an error that names the row",
             check_large_idx),
            ("The first N rows of a file sorted by class",
             "N rows are spread evenly over the file, and their classes are logged; `--row-choice first` "
             "keeps the first", check_sorted_file),
            ("The first N rows of a file whose classes alternate",
             "if equal distances miss a class, one row from each Nth part of the file; the log names classes "
             "that no row has", check_alternating_file),
        ],
        "Commands": [
            ("`--export out.csv`",
             "CSV with your columns and label names and unchanged texts, even if a spreadsheet reads them as "
             "formulas; JSON lines for other file names", check_export),
            ("`--device mps` on a machine without one", "error", check_device),
            ("A text column called `length`, with rows grouped by length",
             "error that asks for a different name for the length column", check_length_column),
            ("A misspelled command or option", "error that names the nearest one", check_misspelled),
            ("`attack --text` with an empty text", "error after the result, because nothing was attacked",
             check_empty_text),
            ("`compare` with swapped rows files, or with rows that are older than their report",
             "error that names a count that differs", check_swapped_rows),
            ("A data file or table that is missing", "error before the model is loaded", check_late_files),
        ],
    }.items()
    for kind, outcome, check in entries
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.check.__name__.removeprefix("check_"))
def test_kind_of_input(kind, tmp_path):
    kind.check(tmp_path)


def read_page() -> list[tuple[str, str, str]]:
    """Return (group, kind, outcome) for each row in the tables of the page."""
    group, rows = "", []
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            group = line[3:]
        elif line.startswith("| ") and not line.startswith("| Kind of input |"):
            kind, outcome = (cell.strip() for cell in line.strip("|").split(" | "))
            rows.append((group, kind, outcome))
    return rows


def test_page_lists_the_kinds_that_are_tested():
    groups = {kind.group for kind in KINDS}
    ours = [row for row in read_page() if row[0] in groups]
    assert ours == [(k.group, k.kind, k.outcome) for k in KINDS]
    # The sections of other groups contain the names of their tests.
    for section in PAGE.read_text("utf-8").split("\n## ")[1:]:
        if section.splitlines()[0] not in groups:
            [module] = re.findall(r"`(tests/\S+\.py)`", section)
            assert (PAGE.parents[1] / module).is_file()


@pytest.mark.parametrize(("count", "limit"), [(10, 3), (7, 7), (1000, 1), (5, 9), (101, 100)])
def test_chosen_rows_are_spread_evenly(count, limit):
    chosen = list(choose_rows(count, limit))
    assert len(chosen) == len({*chosen}) == min(count, limit) and chosen == sorted(chosen)
    gaps = np.diff(chosen)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


def write_page() -> None:
    """Replace the tables on the page with the tested kinds."""
    head, *sections = PAGE.read_text("utf-8").rstrip().split("\n## ")
    groups = dict.fromkeys(kind.group for kind in KINDS)
    others = [section for section in sections if section.splitlines()[0] not in groups]
    parts = [head.rstrip()]
    for group in groups:
        parts += ["", f"## {group}", "", "| Kind of input | What happens now |", "|---|---|"]
        parts += [f"| {k.kind} | {k.outcome} |" for k in KINDS if k.group == group]
    parts += [f"\n## {section.rstrip()}" for section in others]
    PAGE.write_text("\n".join(parts) + "\n", "utf-8")


if __name__ == "__main__":
    write_page()
