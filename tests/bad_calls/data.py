"""Bad calls of `hf_bat.tasks`, `hf_bat.labels` and `hf_bat.data`."""

import datasets
from bad_calls import BadCall
from transformers import BertConfig

from hf_bat import get_task
from hf_bat.data import prepare_dataset
from hf_bat.labels import find_label_names, reconcile_labels
from hf_bat.tasks import Task, load_hub_split, load_split, user_task

SNLI = get_task("snli")
ROW = {"premise": "A dog.", "hypothesis": "A pet.", "label": 0}
STARS = user_task(["premise"], ["1", "2", "3", "4", "5"])
CASES = user_task(["premise"], ["us", "US", "Other"])


def bad_rows(name, keyword, rows, task=SNLI):
    """Return the bad call of `prepare_dataset` with these rows."""
    config = BertConfig(num_labels=len(task.label_names))
    return BadCall(name, lambda _: prepare_dataset(rows, task, config, "training set"), keyword)


def bad_model(name, keyword, task=SNLI, **options):
    """Return the bad call of `reconcile_labels` with this model."""
    return BadCall(name, lambda _: reconcile_labels(task, BertConfig(**options)), keyword)


def bad_column(name, keyword, *labels):
    """Return the bad call of `find_label_names` with this label column."""
    rows = datasets.Dataset.from_list([{"text": "A.", "label": label} for label in labels])
    return BadCall(name, lambda _: find_label_names(rows, user_task(["text"])), keyword)


def load_bad_file(folder, name, content):
    """Load a file with this content."""
    (folder / name).write_bytes(content)
    return load_split(folder / name, str(folder / "cache"))


CALLS = [
    # Tasks and files
    BadCall("misspelled task", lambda _: get_task("snlii"), "did you mean 'snli'"),
    BadCall("unknown task", lambda _: get_task("xyz"), "mnli, mrpc"),
    BadCall("three columns", lambda _: Task("t", ("a", "b", "c")), "3 text columns"),
    BadCall("unknown skipped label", lambda _: user_task(["a"], ["y", "n"], ["x"]), "'x'"),
    BadCall("absent file", lambda folder: load_split(folder / "none.csv"), "none.csv"),
    BadCall("unknown format", lambda folder: load_bad_file(folder, "a.txt", b"x"), "a.txt"),
    BadCall("no JSON", lambda folder: load_bad_file(folder, "a.jsonl", b"{not"), "a.jsonl"),
    BadCall("no gzip", lambda folder: load_bad_file(folder, "a.tsv.gz", b"no"), "a.tsv.gz"),
    BadCall("no network", lambda _: load_hub_split(SNLI, "train"), "--train_file"),
    BadCall("unknown split", lambda _: load_hub_split(SNLI, "dev"), "'dev'"),
    BadCall("task not on the Hub", lambda _: load_hub_split(user_task(["text"]), "train"), "Hub"),
    BadCall(
        "no label column",
        lambda _: find_label_names(datasets.Dataset.from_list([{"a": "A."}]), user_task(["a"])),
        "--label-column",
    ),
    # Labels of the model
    BadCall(
        "names of a function's outputs",
        lambda _: reconcile_labels(user_task(["a"]), None).read_label("toxic", "row 0"),
        "--label-names",
    ),
    bad_model("other number of labels", "num_labels", num_labels=2),
    bad_model("a forgotten name", "--label-names", task=CASES, id2label=dict(enumerate("abcd"))),
    bad_model("other names", "'entailment'", id2label={0: "yes", 1: "no", 2: "maybe"}),
    bad_model("one label", "single-label", num_labels=1),
    bad_model("many labels at once", "multi_label", problem_type="multi_label_classification"),
    bad_model("regression head", "regression", problem_type="regression"),
    bad_model("two names for one", "'US'", CASES, id2label={0: "Us", 1: "other", 2: "them"}),
    # Label columns
    bad_column("fractions", "label", 0.3),
    bad_column("lists", "label", [0]),
    bad_column("dicts", "label", {"a": 0}),
    bad_column("spellings of one name", "'yes'", "Yes", "yes", "no"),
    bad_column("one class", "one class only (4)", 4, 4),
    bad_column("no class", "no class labels", None, None),
    bad_column("a class -1 or none", "-1 0 1 if it is one, and 0 1 if not", 0, 1, -1),
    bad_column("a class -1 or none, as text", "-1 0 1 if it is one", "0", "1", "-1"),
    # Rows
    bad_rows("label out of range", "label 3 in row 1", [ROW, ROW | {"label": 3}]),
    bad_rows("regression", "0.5", [ROW | {"label": 0.0}, ROW | {"label": 0.5}]),
    bad_rows("unknown label", "'maybe'", [ROW | {"label": "maybe"}]),
    bad_rows("label in digits out of range", "label 3 in row 0", [ROW | {"label": "3"}]),
    bad_rows("not a star", "label 0 in row 0", [ROW], STARS),
    bad_rows("ambiguous case", "'us' or 'US'", [ROW | {"label": "Us"}], CASES),
    bad_rows("repeated idx", "idx 7", [ROW | {"idx": 7}] * 2),
    bad_rows("negative idx", "'idx'", [ROW | {"idx": -3}]),
    bad_rows("no text but tokens", "tokenized", [{"input_ids": [1], "label": 0}]),
    bad_rows("no text column", "'hypothesis'", [{"premise": "A.", "label": 0}]),
    bad_rows("no label column", "'label'", [{"premise": "A.", "hypothesis": "B."}]),
    bad_rows(
        "other label column", "'gold'", [ROW], user_task(["premise"], "ab", label_column="gold")
    ),
    bad_rows("no usable row", "no usable row", [ROW | {"label": -1}]),
    bad_rows("no row", "no usable row", datasets.Dataset.from_list([ROW]).select([])),
    bad_rows("streaming rows", "indexed", iter([])),
    bad_rows("texts instead of dicts", "dict", ["text"]),
]
