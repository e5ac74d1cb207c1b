"""Tasks, labels and rows: labels by name, unusable rows dropped and counted, files of every format."""

import csv
import gzip
import json
import logging
import os
from dataclasses import replace

import datasets
import pytest
from tiny_models import tiny_tokenizer
from transformers import BertConfig

from hf_bat import HfBatError, get_task
from hf_bat.attack.rows import read_examples
from hf_bat.cli import main
from hf_bat.data import add_lengths, prepare_dataset
from hf_bat.labels import find_label_names, reconcile_labels
from hf_bat.tasks import (
    TASKS,
    load_split,
    user_task,
    with_label_names,
)

NLI = ("entailment", "neutral", "contradiction")


def config_with(names=None, num_labels=3, **options):
    if names is None:
        return BertConfig(num_labels=num_labels, **options)
    return BertConfig(id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)})


def rows_of(labels, **extra):
    return [
        {"premise": f"A dog {i}.", "hypothesis": "A pet.", "label": label, **extra}
        for i, label in enumerate(labels)
    ]


def test_tasks_skip_the_labels_that_an_antonym_is_unlikely_to_change():
    assert {name: task.skipped_labels for name, task in TASKS.items()} == {
        # as in the paper
        "mnli": ("neutral",),
        "snli": ("neutral",),
        "sick": ("neutral",),
        "qqp": ("not_duplicate",),
        "mrpc": ("not_equivalent",),
        "wiki-toxic": (),
        # of the same kinds
        "anli": ("neutral",),
        "hans": ("non-entailment",),
        "paws": ("not_paraphrase",),
        "qnli": ("not_entailment",),
        "rte": ("not_entailment",),
        "ag-news": (),
        "cola": (),
        "imdb": (),
        "sst2": (),
    }
    single = {task.name for task in TASKS.values() if not task.is_pair}
    assert single == {"wiki-toxic", "ag-news", "cola", "imdb", "sst2"}


def test_labels_are_reconciled_by_name():
    model = config_with(["CONTRADICTION", "ENTAILMENT", "NEUTRAL"])
    dataset = prepare_dataset(rows_of([0, 1, 2]), get_task("snli"), model, "rows")
    assert dataset["label"][:] == [1, 2, 0]
    again = prepare_dataset(dataset, get_task("snli"), model, "rows")
    assert again is dataset, "preparing prepared rows must change nothing"


def test_prepared_rows_are_known_until_something_changes():
    task, model = get_task("snli"), config_with()
    dataset = prepare_dataset(rows_of([0, 1, 2, 0]), task, model, "rows")

    def is_kept(rows, config=model, task=task):
        return prepare_dataset(rows, task, config, "rows") is rows

    extended = add_lengths(dataset, task, tiny_tokenizer(), 16, "length")
    assert is_kept(dataset) and is_kept(extended) and is_kept(extended.filter(lambda row: True))
    assert not is_kept(dataset.with_format("torch"))
    assert not is_kept(dataset.map(lambda row: {"premise": "Another."}))
    assert not is_kept(dataset, task=user_task(["hypothesis"], NLI))
    with pytest.raises(HfBatError, match="gold"):
        is_kept(dataset, task=replace(task, label_column="gold", label_names=NLI[::-1]))
    with pytest.raises(HfBatError, match="premise"):
        is_kept(dataset.rename_column("premise", "text"))
    # A model of another order gets its own labels.
    other = prepare_dataset(dataset, task, config_with(NLI[::-1]), "rows")
    assert other["label"][:] == [2, 1, 0, 2]


def test_model_without_names_gets_the_order_of_the_task():
    dataset = prepare_dataset(
        rows_of(["neutral", "Entailment"]), get_task("snli"), config_with(), "rows"
    )
    assert dataset["label"][:] == [1, 0]
    assert dataset.features["label"].names == list(NLI)


def test_case_of_a_label_matters_only_if_it_distinguishes_two():
    two = user_task(["premise"], ["us", "US", "Other"])
    dataset = prepare_dataset(rows_of(["us", "US", "other"]), two, config_with(), "rows")
    assert dataset["label"][:] == [0, 1, 2] and dataset.features["label"].names[:2] == ["us", "US"]
    assert reconcile_labels(two, config_with(["Us", "US", "us"][1:] + ["OTHER"])).ids == (1, 0, 2)


def test_digits_are_numbers_unless_a_label_has_that_name():
    digits = rows_of(["0", "2", " 1 ", "1.0"])
    model = config_with(["contradiction", "entailment", "neutral"])
    assert prepare_dataset(digits, get_task("snli"), model, "rows")["label"][:] == [1, 0, 2, 2]
    assert prepare_dataset(digits, get_task("snli"), config_with(), "rows")["label"][:] == [
        0,
        2,
        1,
        1,
    ]
    stars = user_task(["premise"], ["1", "2", "3"])
    dataset = prepare_dataset(rows_of(["1", "3", "2"]), stars, config_with(["3", "2", "1"]), "rows")
    assert dataset["label"][:] == [2, 0, 1]
    assert reconcile_labels(stars, None).read_label("3", "row 0") == 2


@pytest.mark.parametrize("other", [2, "maybe", -1, None])
def test_another_label_column_is_ignored(other):
    task = user_task(["premise", "hypothesis"], NLI, label_column="gold")
    raw = [row | {"gold": n, "label": other} for n, row in enumerate(rows_of([0, 0, 0]))]
    dataset = prepare_dataset(raw, task, config_with(), "rows")
    assert dataset["label"][:] == [0, 1, 2] and "gold" not in dataset.column_names
    assert prepare_dataset(dataset, task, config_with(), "rows")["label"][:] == [0, 1, 2]
    raw[1]["gold"] = None
    kept = prepare_dataset(raw, task, config_with(), "rows", keep_all=True)
    assert len(kept) == 3 and "label" not in kept.column_names
    for row in raw:
        del row["gold"]
    kept = prepare_dataset(raw, task, config_with(), "rows", keep_all=True)
    assert "label" not in kept.column_names


def test_declared_names_that_number_classes_mean_these_classes():
    features = datasets.ClassLabel(names=["2", "0", "1"])
    rows = datasets.Dataset.from_list(rows_of([0, 1, 2])).cast_column("label", features)
    model = config_with(["contradiction", "entailment", "neutral"])
    assert prepare_dataset(rows, get_task("snli"), model, "rows")["label"][:] == [0, 1, 2]
    nameless = user_task(["premise", "hypothesis"])
    for config in (config_with(), model):
        assert prepare_dataset(rows, nameless, config, "rows")["label"][:] == [2, 0, 1]
    assert reconcile_labels(get_task("snli"), None, ["2", "0", "1"]).read_label(0, "row 0") == 2
    stars = reconcile_labels(nameless, config_with(), ["1", "2", "3"])
    assert stars.model_names == ("1", "2", "3"), "1, 2, 3 do not number three classes from 0"


def test_task_whose_names_number_classes_uses_the_models_names():
    model = config_with(["contradiction", "entailment", "neutral"])
    task = user_task(["premise"], ["LABEL_0", "LABEL_1", "LABEL_2"])
    found = prepare_dataset(rows_of(["0", "LABEL_2", "neutral"]), task, model, "rows")
    assert found["label"][:] == [0, 2, 2] and found.features["label"].names[0] == "contradiction"
    assert prepare_dataset(rows_of([1, 2]), task, model, "rows")["label"][:] == [1, 2]


def test_eleven_classes_in_alphabetical_order():
    """Class 2 is class 2, whether the task has label names (as in run_glue_bat) or not."""
    names = sorted(str(n) for n in range(11))
    rows = datasets.Dataset.from_list(rows_of(list(range(11))))
    rows = rows.cast_column("label", datasets.ClassLabel(names=names))
    words = config_with([f"w{n:02}" for n in range(11)], num_labels=11)
    nameless = user_task(["premise", "hypothesis"])
    named = with_label_names(nameless, find_label_names(rows, nameless))
    expected = [int(name) for name in names]
    for task in (nameless, named):
        assert prepare_dataset(rows, task, words, "rows")["label"][:] == expected
        attacked = read_examples(rows, task, words)
        assert [example.label for example in attacked] == expected
    as_text = rows_of(names)
    assert prepare_dataset(as_text, named, words, "rows")["label"][:] == expected
    own = config_with(names, num_labels=11)  # a new head
    for task in (nameless, named):
        assert prepare_dataset(rows, task, own, "rows")["label"][:] == list(range(11))
        assert prepare_dataset(as_text, task, own, "rows")["label"][:] == list(range(11))
        # Integers are positions, as `to_json` writes them for these rows.
        places = rows_of(list(range(11)))
        assert prepare_dataset(places, task, own, "rows")["label"][:] == list(range(11))


def test_label_may_be_minus_one_if_it_has_a_name():
    task = user_task(["premise", "hypothesis"], ["-1", "0", "1"])
    rows = rows_of([-1, 0, 1, "-1", -100])
    assert prepare_dataset(rows[:3], task, config_with(), "rows")["label"][:] == [0, 1, 2]
    assert [e.label for e in read_examples(rows, task, config_with())] == [0, 1, 2, 0, None]


def test_declared_label_order_is_used():
    features = datasets.ClassLabel(names=["contradiction", "entailment", "neutral"])
    rows = datasets.Dataset.from_list(rows_of([0, 1, 2])).cast_column("label", features)
    dataset = prepare_dataset(rows, get_task("snli"), config_with(NLI), "rows")
    assert dataset["label"][:] == [2, 0, 1]


def test_rows_without_label_or_text_are_dropped_and_counted(caplog):
    rows = rows_of([0, -1, 1, None, 2])
    rows[2]["hypothesis"] = "  "
    rows[4]["premise"] = None
    with caplog.at_level(logging.WARNING, "hf_bat"):
        dataset = prepare_dataset(rows, get_task("snli"), config_with(), "training set")
    assert dataset["idx"][:] == [0]
    assert (
        "training set: dropped 4 of 5 rows (2 without a label, 2 with an empty text)" in caplog.text
    )


@pytest.mark.parametrize(
    "missing", [-100, "-100", "-", "-100.0", "", " ", "nan", "<NA>", float("nan"), None]
)
def test_missing_labels_are_dropped_and_are_not_classes(missing, caplog):
    labels = [str(n) if isinstance(missing, str) else float(n) for n in (0, 1)]
    rows = datasets.Dataset.from_list(rows_of([*labels, missing]))
    task = user_task(["premise", "hypothesis"])
    assert find_label_names(rows, task) == ("LABEL_0", "LABEL_1")
    dataset = prepare_dataset(rows, task, config_with(num_labels=2), "training set")
    assert dataset["label"][:] == [0, 1] and "1 without a label" in caplog.text


def test_minus_is_a_label_next_to_plus():
    rows = datasets.Dataset.from_list(rows_of(["+", "-"]))
    assert find_label_names(rows, user_task(["premise"])) == ("+", "-")
    signs = user_task(["premise"], ["+", "-"])
    assert prepare_dataset(rows, signs, config_with(num_labels=2), "rows")["label"][:] == [0, 1]


def test_prediction_keeps_every_row():
    rows = rows_of([0, -1, 1])
    rows[2]["hypothesis"] = None
    dataset = prepare_dataset(rows, get_task("snli"), config_with(), "test set", keep_all=True)
    assert len(dataset) == 3 and "label" not in dataset.column_names
    assert dataset["hypothesis"][2] == ""


def test_columns_of_the_hub_are_renamed():
    rows = [{"sentence_A": "A.", "sentence_B": "B.", "label": 1}]
    dataset = prepare_dataset(rows, get_task("sick"), config_with(), "rows")
    assert set(dataset.column_names) == {"premise", "hypothesis", "label", "idx"}


def test_label_names_come_from_the_data():
    task = user_task(["text"])
    rows = datasets.Dataset.from_list
    assert find_label_names(
        rows([{"text": "a", "label": "yes"}, {"text": "b", "label": "no"}]), task
    ) == (
        "no",
        "yes",
    )
    for numbers in ((0, 2), (1, 2, 3, 4), (100, 107, 116), (-1, 1), (10, 2)):
        expected = tuple(map(str, sorted(numbers)))
        for kind in (int, float, str):
            # One empty cell must not change the names, so that all files of a task agree.
            for more in ([], [None]):
                labels = [*map(kind, numbers), *more]
                assert find_label_names(rows(rows_of(labels)), task) == expected, (kind, labels)
    for label, names in ((True, ("False", "True")), ("yes", ("no", "yes"))):
        other = False if label is True else "no"
        assert find_label_names(rows(rows_of([label, other])), task) == names
    numbered = rows([{"text": "a", "label": f"LABEL_{n}"} for n in (10, 2)])
    assert find_label_names(numbered, task) == ("LABEL_2", "LABEL_10")
    from_zero = rows([{"text": "a", "label": str(n)} for n in (10, *range(10))])
    assert find_label_names(from_zero, task) == tuple(f"LABEL_{i}" for i in range(11))
    stars = rows([{"text": "a", "label": f"{n}.0"} for n in (3, 1, 2)])
    assert find_label_names(stars, task) == ("1", "2", "3")
    found = prepare_dataset(stars, with_label_names(task, ("1", "2", "3")), None, "rows")
    assert found["label"][:] == [2, 0, 1]


ROWS = [{"premise": "A dog, big.", "hypothesis": 'A "pet".', "label": "neutral"}]


def write(path):
    name = path.name
    opener = gzip.open if name.endswith(".gz") else open
    if ".parquet" in name:
        datasets.Dataset.from_list(ROWS).to_parquet(str(path))
        return
    with opener(path, "wt", newline="", encoding="utf-8") as file:
        if ".jsonl" in name:
            file.writelines(json.dumps(row) + "\n" for row in ROWS)
        elif ".json" in name:
            json.dump(ROWS, file)
        else:
            writer = csv.DictWriter(file, ROWS[0], delimiter="\t" if ".tsv" in name else ",")
            writer.writeheader()
            writer.writerows(ROWS)


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.jsonl.gz", "a.csv.gz", "a.parquet"]
)
def test_files_of_every_format_are_loaded(tmp_path, name):
    write(tmp_path / name)
    assert load_split(tmp_path / name, str(tmp_path / "cache")).to_list() == ROWS


def test_broken_file_is_reported_once(tmp_path, capfd):
    (tmp_path / "bad.jsonl").write_text("{not json")
    capfd.readouterr()
    with pytest.raises(HfBatError):
        load_split(tmp_path / "bad.jsonl", str(tmp_path / "cache"))
    assert "Failed to load" not in "".join(capfd.readouterr())


def test_quotes_in_tsv_are_text_unless_cells_are_quoted(tmp_path):
    """Sentences in GLUE's files begin with a quote; pandas quotes cells that contain one."""
    cache = str(tmp_path / "cache")
    lines = ['"Oh," he said.\tB.\t0', "C.\tD.\t1", '"Well.\tE "F".\t2', "G.\tH.\t0"]
    for name, text in (("a.tsv", lines), ("b.tsv", [lines[1], lines[0]])):
        (tmp_path / name).write_text("\n".join(["premise\thypothesis\tlabel", *text]) + "\n")
        found = load_split(tmp_path / name, cache)
        assert [f"{r['premise']}\t{r['hypothesis']}\t{r['label']}" for r in found] == text
    wide = 'premise\thypothesis\tlabel\n"A\nman."\t"B\tC"\t0\nD.\tE.\t1\n'
    (tmp_path / "e.tsv").write_text(wide)
    assert load_split(tmp_path / "e.tsv", cache)["premise"][:] == ["A\nman.", "D."]
    quoted = 'premise\thypothesis\tlabel\n"He said ""no""."\tB.\t0\n"C."\tD.\t1\n'
    with gzip.open(tmp_path / "c.tsv.gz", "wt") as file:
        file.write(quoted)
    assert load_split(tmp_path / "c.tsv.gz", cache)["premise"][:] == ['He said "no".', "C."]


def test_model_without_names_ignores_the_declared_order():
    features = datasets.ClassLabel(names=["contradiction", "entailment", "neutral"])
    rows = datasets.Dataset.from_list(rows_of([0, 1, 2])).cast_column("label", features)
    dataset = prepare_dataset(rows, get_task("snli"), config_with(), "rows")
    assert dataset["label"][:] == [2, 0, 1]
    assert [e.label for e in read_examples(rows, get_task("snli"), config_with())] == [2, 0, 1]


def test_perturb_uses_declared_labels(tmp_path, capsys):
    features = datasets.ClassLabel(names=["contradiction", "entailment", "neutral"])
    texts = {"premise": "A hot day.", "hypothesis": "It is hot."}
    rows = datasets.Dataset.from_list([{**texts, "label": label} for label in range(3)])
    rows.cast_column("label", features).to_parquet(tmp_path / "rows.parquet")
    out = tmp_path / "out.json"
    flags = ["--task", "snli", "--data", str(tmp_path / "rows.parquet"), "--json", str(out)]
    assert main(["perturb", *flags]) == 0
    shown = json.loads(out.read_text())["rows"]
    assert [row["obstinate"] != [None] for row in shown] == [True, True, False], shown


def test_a_file_whose_content_changed_but_not_its_time_is_read_again(tmp_path):
    """`datasets` tells files by path and time, which `rsync` and `cp -p` keep."""
    path, cache = tmp_path / "a.jsonl", str(tmp_path / "cache")
    for text in ("one", "two"):
        path.write_text(json.dumps({"text": text}) + "\n")
        os.utime(path, (1, 1))
        assert load_split(path, cache)["text"][:] == [text]


def test_empty_csv_cell_is_an_empty_text(tmp_path):
    (tmp_path / "a.csv").write_text("premise,hypothesis,label\nA.,,0\nNone,B.,1\n")
    rows = load_split(tmp_path / "a.csv", str(tmp_path / "cache"))
    dataset = prepare_dataset(rows, get_task("snli"), config_with(), "rows")
    assert dataset["premise"][:] == ["None"]


def test_real_rows_are_prepared(shared):
    task = get_task("mrpc")
    rows = load_split(shared / "data/mrpc/validation.jsonl.gz")
    dataset = prepare_dataset(rows, task, config_with(num_labels=2), "validation set")
    assert len(dataset) == 1725 and set(dataset["label"]) == {0, 1}


STARS = ("1", "2", "3", "4", "5")


def test_stars_are_names_unless_the_dataset_declares_positions(tmp_path):
    """If 1 to 5 were positions, each star would be shifted by one and the fifth out of range."""
    task = user_task(["text"], STARS)
    rows = [{"text": f"Text {star}.", "label": star} for star in (1, 5, 3)]
    assert prepare_dataset(rows, task, None, "rows")["label"] == [0, 4, 2]
    as_text = [{**row, "label": str(row["label"])} for row in rows]
    assert prepare_dataset(as_text, task, None, "rows")["label"] == [0, 4, 2]
    places = datasets.Dataset.from_list([{**row, "label": row["label"] - 1} for row in rows])
    declared = places.cast_column("label", datasets.ClassLabel(names=list(STARS)))
    prepared = prepare_dataset(declared, task, None, "rows")
    assert prepared["label"] == [0, 4, 2]
    assert prepare_dataset(prepared, task, None, "rows")["label"] == [0, 4, 2]


def test_names_that_count_from_zero_are_positions():
    task = user_task(["text"], ("0", "1"))
    rows = [{"text": "One.", "label": 1}, {"text": "None.", "label": 0}]
    assert prepare_dataset(rows, task, None, "rows")["label"] == [1, 0]
