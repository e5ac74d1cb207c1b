"""Bad calls of `hf_bat.evaluation`."""

import json

from bad_calls import BadCall

from hf_bat.evaluation.compare import compare_contrast, compare_reports, compare_rows
from hf_bat.evaluation.contrast import ContrastRow, evaluate_contrast, read_contrast_set
from hf_bat.evaluation.reports import read_report
from hf_bat.evaluation.representations import collect

ROW = {"idx": 0, "attack": "antonym", "outcome": "failed", "original": ["A."]}
ORIGINAL = {"idx": 0, "original_idx": None, "label": 0, "text": "Words."}
SCORED = {"idx": 0, "original_idx": None, "label": 0, "correct": True, "error": None, "text": "1"}


def pair(row_a, row_b):
    """Return a call that compares one row with another."""
    return lambda _: compare_rows([{**ROW, **row_a}], [{**ROW, **row_b}])


def read_set(*rows):
    """Return a call that reads a contrast set with an original and these rows."""
    return lambda _: read_contrast_set(
        [ORIGINAL, *({**ORIGINAL, **row} for row in rows)], ["text"], lambda value, _: value
    )


def compare_files(content):
    """Return a call that compares an attack report with a file of this content."""

    def call(folder):
        (folder / "a.json").write_text(json.dumps({"attacks": {"antonym": {"recipe": {"n": 1}}}}))
        (folder / "a.jsonl").write_text("")
        (folder / "b.json").write_text(content)
        compare_reports(folder / "a.json", folder / "b.json")

    return call


def read_damaged_rows(folder):
    """Compare a report with a rows file that is not JSON lines."""
    (folder / "a.json").write_text('{"attacks": {}}')
    (folder / "a.jsonl").write_text("{}\nnot json\n")
    compare_reports(folder / "a.json", folder / "a.json")


CALLS = [
    BadCall("representations of -1 rows", lambda _: collect(None, [], -1), "max_rows"),
    BadCall("row of A only", pair({"idx": 3}, {}), "row 3 is only in A"),
    BadCall(
        "row of B only",
        lambda _: compare_rows([ROW], [ROW, {**ROW, "idx": 3}]),
        "row 3 is only in B",
    ),
    BadCall("another text", pair({}, {"original": ["C."]}), "another text"),
    BadCall("another recipe", pair({"recipe": "1"}, {"recipe": "2"}), "recipe"),
    BadCall("other data", pair({"data": "1"}, {"data": "2"}), "data"),
    BadCall("another filter", pair({"label_filter": "1"}, {"label_filter": "2"}), "label filter"),
    BadCall("no common attack", pair({}, {"attack": "synonym"}), "synonym"),
    BadCall("no rows", lambda _: compare_rows([], []), "no rows"),
    BadCall("row twice", lambda _: compare_rows([ROW, ROW], [ROW]), "row 0 of A"),
    BadCall("unknown outcome", pair({"outcome": "won"}, {}), "won"),
    BadCall(
        "no outcome", lambda _: compare_rows([{"idx": 0, "attack": "antonym"}], [ROW]), "outcome"
    ),
    BadCall("another recipe of a report", compare_files('{"attacks": {"antonym": {}}}'), "recipes"),
    BadCall("no rows file", compare_files('{"attacks": {}}'), "--rows"),
    BadCall("other JSON", compare_files("[]"), "attacks"),
    BadCall("broken JSON", compare_files("{"), "JSON"),
    BadCall("missing report", lambda folder: read_report(folder / "absent.json"), "absent.json"),
    BadCall("damaged rows file", read_damaged_rows, "a.jsonl, line 2: not JSON"),
    BadCall("other contrast rows", lambda _: compare_contrast([SCORED], []), "contrast rows"),
    BadCall("not contrast rows", lambda _: compare_contrast([{"idx": 0}], []), "original_idx"),
    BadCall("missing original", read_set({"idx": 1, "original_idx": 9}), "row 9"),
    BadCall(
        "edit of an edit",
        read_set({"idx": 1, "original_idx": 0}, {"idx": 2, "original_idx": 1}),
        "itself an edit",
    ),
    BadCall("edit of itself", read_set({"idx": 1, "original_idx": 1}), "itself an edit"),
    BadCall("repeated idx", read_set({}), "repeats idx 0"),
    BadCall("repeated idx in another form", read_set({"idx": "0.0"}), "repeats idx 0"),
    BadCall("empty idx", read_set({"idx": ""}), "no idx"),
    BadCall(
        "no column",
        lambda _: read_contrast_set([{"text": "A.", "label": 0}], ["text"], lambda value, _: value),
        "original_idx",
    ),
    BadCall(
        "nothing to score",
        lambda _: evaluate_contrast([ContrastRow(0, None, ("A.",), None)], lambda _: []),
        "no row to score",
    ),
]
