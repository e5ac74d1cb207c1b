"""The page of an attack: all values escaped, no requests, and marked edits that can be undone."""

import re
from dataclasses import replace

import pytest
from html_page import Page
from hypothesis import given
from hypothesis import strategies as st

from hf_bat.attack.report import AttackReport
from hf_bat.attack.result import AttackResult
from hf_bat.report.page import MAX_EXAMPLES, MAX_FIRST, render_attack_page, write_attack_page
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
    + (
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "small",
        "del",
        "ins",
        "details",
        "summary",
        "span",
    )
)


def make_result(idx, outcome="succeeded", **changes):
    """Return the result of an antonym attack on one row."""
    perturbed = ["A man sleeps.", "Red."] if outcome == "succeeded" else None
    result = AttackResult(
        idx=idx,
        attack="antonym",
        outcome=outcome,
        label_name="entailment",
        original=["A man goes.", "Red."],
        perturbed=perturbed,
        queries=3,
    )
    return replace(result, **changes)


def render(attacks, rows=(), **about):
    """Return the HTML page of a report."""
    return render_attack_page(AttackReport(attacks, {"antonym": list(rows)}, about))


def make_summary(**changes):
    """Return the entry of an attack in a report."""
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


def test_page_shows_figures_pairs_and_examples():
    page = Page(render({"antonym": make_summary()}, [make_result(7)], model="mine"))
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
    assert (
        page.tags.count("del") == page.tags.count("ins") == 2 + 1 + 2
    )  # pairs, legend, example twice


def test_hostile_text_stays_text():
    texts = {"original": [EVIL, ""], "perturbed": [EVIL + " b", EVIL]}
    row = make_result(EVIL, label_name=EVIL, **texts)
    pairs = [{"original": EVIL, "replacement": EVIL, "tried": 1, "succeeded": 1}]
    entry = make_summary(
        per_label={EVIL: {"asr": 0.5}}, per_pair=pairs, recipe={"name": EVIL, "x": [EVIL]}
    )
    source = render({EVIL: entry}, [row, replace(row, attack=EVIL)], **{"model": EVIL, EVIL: EVIL})
    page = Page(source)
    assert set(page.tags) <= ALLOWED
    assert "<script" not in source and "<img" not in source and "onerror=go()>" not in source
    assert source.count("</style>") == 1
    assert page.text.count('alert("x")') > 8


@pytest.mark.parametrize("entry", [make_summary(), {}, {"asr": None, "rows": 0}])
def test_page_needs_nothing_else(entry):
    source = render({"antonym": entry}, [make_result(0)])
    page = Page(source)
    assert not re.search(r"https?:|url\(|@import|<script|<link", source)
    assert {name for name, _ in page.attributes} <= {
        "lang", "charset", "http-equiv", "content", "name", "class", "style",
    }  # fmt: skip
    assert "default-src 'none'" in source


def test_rate_out_of_nothing_is_a_dash():
    empty = dict.fromkeys(("asr", "asr_confident", "keep_rate", "accuracy", "asr_interval"))
    source = render({"antonym": {"rows": 3, "attempted": 0, **empty}})
    assert "%</td>" not in source and "<td>-</td>" in source
    assert "No attack was run" in render({})


def test_long_lists_say_how_much_is_shown():
    rows = [make_result(i) for i in range(MAX_EXAMPLES + 5)]
    rows += [make_result(99, "failed"), make_result(98, "skipped")]
    source = render({"antonym": make_summary()}, rows)
    assert f"the first {MAX_EXAMPLES} of {MAX_EXAMPLES + 5}" in source
    first, _, rest = source.partition("All figures")
    assert first.count('class="example"') == MAX_FIRST
    assert rest.count('class="example"') == MAX_EXAMPLES


words = st.lists(st.sampled_from(["a", "b", "c", "<i>", "&", "not"]), max_size=8).map(" ".join)


def test_marks_of_an_edit():
    marked = mark_edits("He goes <home>.", "He doesn't go <home>.")
    assert marked == "He <del>goes</del> <ins>doesn&#39;t go</ins> &lt;home&gt;."


@given(words, words)
def test_marks_hold_both_sentences(before, after):
    marked = mark_edits(before, after)
    without = re.sub(r"<del>.*?</del>", " ", marked), re.sub(r"<ins>.*?</ins>", " ", marked)
    for kept, sentence in zip(without, (after, before), strict=True):
        page = Page(kept)
        assert " ".join(page.text.split()) == sentence


def test_page_is_written_whole(tmp_path):
    report = AttackReport({"antonym": make_summary()}, {"antonym": [make_result(0)]})
    write_attack_page(report, tmp_path / "page.html")
    assert "sleeps" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_first_screen_has_the_verdict_and_the_confidence():
    row = make_result(3, gold_before=0.912, gold_after=0.934)
    about = {"model": "mine", "data": "dev.csv", "date": "2026-01-02", "task": "snli"}
    first = render({"antonym": make_summary()}, [row], **about).partition("All figures")[0]
    text = Page(first + "</summary></details></body></html>").text.replace("\xa0", " ")
    for piece in ("mine", "dev.csv", "2026-01-02", "rows: 12", "Antonyms: unclear", "17.0 to 69.0",
                  "confidence in entailment: 91.2 % → 93.4 %"):  # fmt: skip
        assert piece in text


def test_long_texts_show_the_words_around_an_edit():
    words = [f"w{i}" for i in range(100)]
    after = [*words[:50], "new", *words[51:]]
    told = str(mark_edits(" ".join(words), " ".join(after), 3))
    assert told == "… w47 w48 w49 <del>w50</del> <ins>new</ins> w51 w52 w53 …"
    assert str(mark_edits(" ".join(words), " ".join(words), 3)) == "w0 w1 w2 w3 w4 w5 …"
    assert str(mark_edits("a b c", "a x c", 3)) == "a <del>b</del> <ins>x</ins> c"
