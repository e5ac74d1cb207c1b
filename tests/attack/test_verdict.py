"""Verdicts of attacks: their counts, their grades, and how they are shown."""

import io
from dataclasses import replace

import pytest
from attack_helpers import made_rows
from terminal import Terminal

from hf_bat.attack import Attack, AttackReport
from hf_bat.attack.gates import check_conditions, parse_condition
from hf_bat.attack.report import summarize
from hf_bat.attack.result import AttackResult
from hf_bat.attack.verdict import judge_attack
from hf_bat.errors import HfBatError
from hf_bat.stats import f1_interval, f1_score


def make_results(attack, succeeded, failed, kind):
    """Return results of an attack with these numbers of rows."""
    outcomes = ["succeeded"] * succeeded + ["failed"] * failed
    one = AttackResult(
        idx=0, attack=attack, outcome="failed", candidates=1, label=0, predicted=0, words=5
    )
    return [
        replace(one, idx=i, outcome=o, outcome_confident=o if kind == "obstinate" else None)
        for i, o in enumerate(outcomes)
    ]


def make_report(attack="synonym", succeeded=4, failed=96, kind="fickle", **about):
    results = make_results(attack, succeeded, failed, kind)
    return AttackReport({attack: summarize(results, kind, {})}, {attack: results}, about)


@pytest.mark.parametrize(
    ("succeeded", "failed", "grade"),
    [(4, 96, "good"), (20, 80, "fair"), (50, 50, "bad"), (0, 3, "unclear"), (0, 0, "unclear")],
)
def test_grade_follows_the_rate_and_needs_rows(succeeded, failed, grade):
    report = make_report(succeeded=succeeded, failed=failed)
    verdict = judge_attack("synonym", report["synonym"])
    assert verdict.grade == grade
    if succeeded + failed:
        assert f"on {succeeded} of {succeeded + failed} rows" in verdict.sentence
    else:
        assert "not measured" in verdict.sentence


def test_label_filter_gives_the_rows_whose_answer_should_change_and_the_jumpiness():
    antonyms = {"hot": ("cold",), "man": ("woman",), "big": ("small",)}
    rows = made_rows(200)
    for label, word in ((0, "not jumpy"), (None, "jumpy")):

        def answer(pairs, label=label):
            # Always the same prediction, or a different one for any edited text.
            texts = {(row["premise"], row["hypothesis"]) for row in rows}
            right = [0.8, 0.1, 0.1]
            return [right if label == 0 or pair in texts else [0.1, 0.1, 0.8] for pair in pairs]

        report = Attack("antonym", answer, antonyms=antonyms, label_filter=True).run(rows)
        summary = report["antonym"]
        tried = [row.tried for row in report.rows["antonym"] if row.is_attempted]
        valid = [[edit for edit in edits if edit.valid] for edits in tried]
        kept = sum(any(edit.kept for edit in edits) for edits in valid)
        verdict = judge_attack("antonym", summary)
        assert f"on {kept} of {sum(map(bool, valid))} rows" in verdict.sentence
        assert kept == (sum(map(bool, valid)) if label == 0 else 0)
        others = [edit for edits in tried for edit in edits if not edit.valid]
        changed = sum(not edit.kept for edit in others) / len(others)
        assert f"{100 * changed:.1f} % of harmless edits change it: {word}" in verdict.sentence


def test_antonyms_of_single_sentences_are_not_judged():
    report = make_report("antonym", 90, 10, "obstinate")
    assert judge_attack("antonym", report["antonym"], columns=2).grade == "bad"
    assert judge_attack("antonym", report["antonym"], columns=1).grade == "unclear"
    attack = Attack("antonym", lambda texts: [[0.9, 0.1]] * len(texts), task="wiki-toxic")
    rows = [{"comment_text": "A hot day.", "label": 0}] * 3
    [warning] = attack.run(rows)["antonym"]["warnings"]
    assert "single sentence" in warning


@pytest.mark.parametrize("summary", [{}, {"asr": "x"}, {"asr": 0.5, "asr_interval": 3},
                                     {"asr": None, "warnings": 4, "skipped_reasons": [1]},
                                     {"asr": 0.5, "asr_confident": 0.5, "label_valid": {}}])  # fmt: skip
def test_damaged_summaries_have_a_verdict(summary):
    assert judge_attack("mine", summary).grade == "unclear"


def test_text_has_six_columns_and_colors_on_terminals_only(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    report = make_report(model="m", task="snli")
    text = report.to_text(io.StringIO())
    head, line = text.splitlines()[2:4]
    assert head.startswith("attack") and line.split()[:4] == ["synonym", "100", "4", "4.0"]
    assert "\x1b" not in text and "\x1b[32mgood" in report.to_text(Terminal())


def test_reports_are_short_in_notebooks_and_escape_foreign_text():
    evil = "<script>"
    report = make_report(evil, model=evil)
    assert len(repr(report)) < 200
    assert "ASR 4.0 % of 100 rows" in repr(report)
    assert evil not in report._repr_html_() and "4.0 %" in report._repr_html_()
    assert "no attack" in str(AttackReport({}))


def test_conditions_have_the_intervals_of_their_rates():
    report = make_report(succeeded=1, failed=3)
    [line] = check_conditions(report, [parse_condition("synonym.asr > 0.2")])
    # Wilson's interval of 1 out of 4.
    assert line == "synonym.asr>0.2: it is 0.25 (95 % interval 0.046 to 0.699)"
    assert not check_conditions(report, [parse_condition("asr>0.25"), parse_condition("asr<.25")])
    [line] = check_conditions(report, [parse_condition("accuracy>=1")])
    assert line == "accuracy>=1: it is 1.0 (95 % interval 0.51 to 1.0)"
    assert check_conditions(report, [parse_condition("f1<0.1")]) == ["f1<0.1: it was not measured"]


def test_f1_is_a_harmonic_mean_and_its_interval_shrinks():
    hits, false_alarms, misses = 30, 10, 20
    precision, recall = hits / (hits + false_alarms), hits / (hits + misses)
    f1 = f1_score(hits, false_alarms, misses)
    assert f1 == pytest.approx(2 * precision * recall / (precision + recall))
    low, high = f1_interval(hits, false_alarms, misses)
    lower, higher = f1_interval(100 * hits, 100 * false_alarms, 100 * misses)
    assert low < lower < f1 < higher < high
    # A tenth as wide, because there are a hundred times as many rows.
    assert (higher - lower) / (high - low) == pytest.approx(0.1, rel=0.15)
    assert f1_score(0, 0, 0) is None and f1_interval(0, 0, 0) is None
    assert f1_interval(0, 2, 3)[1] > 0.3 and f1_interval(5, 0, 0)[0] < 0.9


@pytest.mark.parametrize("text", ["asr>30", "synonym.asr>=1.5", "f1<70", "asr<-0.1", "queries<-1"])
def test_limits_that_a_figure_cannot_pass_are_refused(text):
    with pytest.raises(HfBatError, match="out of range"):
        parse_condition(text)


def make_mostly_unedited(succeeded):
    """Return an antonym report of 67 attacked rows, of which 11 have an edit."""
    results = [
        replace(row, candidates=int(i < 11))
        for i, row in enumerate(make_results("antonym", succeeded, 67 - succeeded, "obstinate"))
    ]
    return AttackReport({"antonym": summarize(results, "obstinate", {})}, {"antonym": results}, {})


def test_a_low_rate_over_rows_without_an_edit_is_neither_good_nor_a_pass():
    report = make_mostly_unedited(succeeded=0)
    assert report["antonym"]["asr"] == 0.0
    verdict = judge_attack("antonym", report["antonym"])
    assert verdict.grade == "unclear" and "56 of 67 attacked rows" in verdict.sentence
    [line] = check_conditions(report, [parse_condition("antonym.asr>0.3")])
    assert "it is 0.0" in line and "56 of 67 attacked rows" in line
    # These figures do not count the rows without an edit as failed attacks.
    for text in ("antonym.asr_attackable>0.3", "accuracy<0.8"):
        assert check_conditions(report, [parse_condition(text)]) == []


@pytest.mark.parametrize(
    ("changed", "edits", "word"),
    [(4, 20, "unclear"), (0, 5, "unclear"), (40, 100, ": jumpy"), (0, 100, ": not jumpy")],
)
def test_jumpiness_needs_enough_edits(changed, edits, word):
    others = {"candidates": edits, "kept": edits - changed, "keep_rate": 1 - changed / edits}
    valid = {"asr_attackable": 0.0, "succeeded": 0, "attackable": 1.0}
    summary = {"asr": 0.0, "asr_confident": 0.0, "attempted": 90, "succeeded": 0}
    verdict = judge_attack("antonym", {**summary, "label_valid": valid, "label_invalid": others})
    assert word in verdict.sentence.split(";")[1]


def test_the_label_filter_does_not_contradict_the_verdict_on_single_sentences():
    valid = {"asr_attackable": 1.0, "succeeded": 4, "attackable": 1.0}
    summary = {"asr": 1.0, "asr_confident": 0.0, "attempted": 4, "succeeded": 4}
    summary |= {"label_valid": valid, "label_invalid": {}}
    assert "should change" in judge_attack("antonym", summary, columns=2).sentence
    assert "should change" not in judge_attack("antonym", summary, columns=1).sentence
