"""The HTML page: everything escaped, nothing fetched, edits marked so that they can be undone."""

import re

import pytest
from html_page import Page
from hypothesis import given
from hypothesis import strategies as st

from hf_bat.attack.report import AttackReport
from hf_bat.attack.result import AttackResult
from hf_bat.report.page import MAX_EXAMPLES, render_attack_page, write_attack_page
from hf_bat.report.rendering import mark_edits

EVIL = "<script>alert(\"x\")</script><img src=http://e.x/y onerror=go()> & 'q' </style> {{7*7}}"
ALLOWED = frozenset(
    (
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "h3",
        "p",
        "div",
        "section",
        "pre",
    )
    + ("table", "thead", "tbody", "tr", "th", "td", "small", "del", "ins", "details", "summary")
)


def row(idx, outcome="succeeded", before=("A man goes.", "Red."), after=("A man sleeps.", "Red.")):
    return {
        "idx": idx,
        "attack": "antonym",
        "outcome": outcome,
        "label_name": "entailment",
        "original": list(before),
        "perturbed": list(after) if outcome == "succeeded" else None,
        "queries": 3,
    }


def summary(**changes):
    counts = {"rows": 12, "attempted": 10, "skipped": 2, "succeeded": 4, "failed": 6, "asr": 0.4}
    return {
        **counts,
        "asr_interval": [0.17, 0.69],
        "asr_confident": None,
        "per_label": {"entailment": {"attempted": 10, "succeeded": 4, "asr": 0.4}},
        "per_pair": [
            {"original": "goes", "replacement": "sleeps", "tried": 5, "succeeded": 3},
            {"original": "red", "replacement": "", "tried": 5, "succeeded": 1},
        ],
        "recipe": {"name": "paper-antonym", "hash": "abc", "constraints": [{"name": "stopwords"}]},
        **changes,
    }


def test_figures_pairs_and_examples_are_on_the_page():
    page = Page(render_attack_page({"attacks": {"antonym": summary()}, "model": "mine"}, [row(7)]))
    text = page.text
    for piece in (
        "40.0 %",
        "17.0 to 69.0",
        "paper-antonym",
        "sleeps",
        "(nothing)",
        "row: 7",
        "model: mine",
    ):
        assert piece in text
    assert page.tags.count("del") == page.tags.count("ins") == 2 + 1 + 1  # pairs, legend, example


def test_hostile_text_stays_text():
    rows = [
        {**row(EVIL), "label_name": EVIL, "original": [EVIL, ""], "perturbed": [EVIL + " b", EVIL]}
    ]
    pairs = [{"original": EVIL, "replacement": EVIL, "tried": 1, "succeeded": 1}]
    entry = summary(
        per_label={EVIL: {"asr": 0.5}}, per_pair=pairs, recipe={"name": EVIL, "x": [EVIL]}
    )
    source = render_attack_page(
        {"attacks": {EVIL: entry}, "model": EVIL, EVIL: EVIL}, [*rows, {**rows[0], "attack": EVIL}]
    )
    page = Page(source)
    assert set(page.tags) <= ALLOWED
    assert "<script" not in source and "<img" not in source and "onerror=go()>" not in source
    assert source.count("</style>") == 1
    assert page.text.count('alert("x")') > 8


@pytest.mark.parametrize("entry", [summary(), {}, {"asr": None, "rows": 0}])
def test_nothing_outside_the_page_is_needed(entry):
    source = render_attack_page({"attacks": {"antonym": entry}}, [row(0)])
    page = Page(source)
    assert not re.search(r"https?:|url\(|@import|<script|<link", source)
    assert {name for name, _ in page.attributes} <= {
        "lang", "charset", "http-equiv", "content", "name", "class", "style",
    }  # fmt: skip
    assert "default-src 'none'" in source


def test_no_rate_is_shown_over_nothing():
    empty = dict.fromkeys(("asr", "asr_confident", "keep_rate", "accuracy", "asr_interval"))
    source = render_attack_page({"attacks": {"antonym": {"rows": 3, "attempted": 0, **empty}}})
    assert "%</td>" not in source and "<td>-</td>" in source
    assert "No attack was run" in render_attack_page({"attacks": {}})


def test_long_lists_say_how_much_is_shown():
    rows = [row(i) for i in range(MAX_EXAMPLES + 5)] + [row(99, "failed"), row(98, "skipped")]
    source = render_attack_page({"attacks": {"antonym": summary()}}, rows)
    assert f"the first {MAX_EXAMPLES} of {MAX_EXAMPLES + 5}" in source
    assert source.count('class="example"') == MAX_EXAMPLES


words = st.lists(st.sampled_from(["a", "b", "c", "<i>", "&", "not"]), max_size=8).map(" ".join)


@given(words, words)
def test_marks_hold_both_sentences(before, after):
    marked = mark_edits(before, after)
    without = re.sub(r"<del>.*?</del>", " ", marked), re.sub(r"<ins>.*?</ins>", " ", marked)
    for kept, sentence in zip(without, (after, before), strict=True):
        page = Page(kept)
        assert " ".join(page.text.split()) == sentence


def test_write_takes_a_report_its_rows_or_a_rows_file(tmp_path):
    report = AttackReport(
        {"antonym": summary()}, {"antonym": [AttackResult.from_dict(row(0))]}, {"model": "mine"}
    )
    report.save_rows(tmp_path / "rows.jsonl")
    write_attack_page(report, tmp_path / "own.html")
    write_attack_page(report.to_dict(), tmp_path / "list.html", rows=[row(0)])
    write_attack_page(report, tmp_path / "file.html", rows=tmp_path / "rows.jsonl")
    pages = {path.read_text(encoding="utf-8") for path in tmp_path.glob("*.html")}
    assert len(pages) == 1 and "sleeps" in pages.pop()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "file.html", "list.html", "own.html", "rows.jsonl",
    ]  # fmt: skip
