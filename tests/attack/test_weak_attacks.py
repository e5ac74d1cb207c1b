"""Uninformative attacks: edits per row, warnings, and rates that were not measured."""

import logging
from dataclasses import replace
from statistics import fmean

import pytest
from attack_helpers import SYNONYMS, hashed, made_rows

from hf_bat import Attack, Task
from hf_bat.attack import Recipe, get_recipe
from hf_bat.attack.constraints import Constraint, MaxWords, PartOfSpeech, State
from hf_bat.attack.report import AttackReport, summarize
from hf_bat.attack.result import AttackResult
from hf_bat.callbacks import RobustnessMeter
from hf_bat.evaluation.compare import compare_rows
from hf_bat.model_card import Evaluation
from hf_bat.perturbations import SynonymPerturbation
from hf_bat.report.page import render_attack_page

ROWS = made_rows(30)
GERMAN = [
    {"premise": "Der Hund läuft.", "hypothesis": "Ein Hund rennt schnell.", "label": 0, "idx": 0},
    {"premise": "Das Haus brennt.", "hypothesis": "Das Haus steht.", "label": 0, "idx": 1},
]
GERMAN_SYNONYMS = {"hund": ["köter", "rüde"], "haus": ["gebäude"]}


def always_first(pairs):
    return [[0.8, 0.1, 0.1] for _ in pairs]


def test_edits_are_counted_before_and_after_constraints():
    perturbation = SynonymPerturbation(SYNONYMS, exclude_stopwords=False)
    attack = Attack("synonym", hashed, synonyms=SYNONYMS)
    report = attack.run(ROWS)
    attempted = [row for row in report.rows["synonym"] if row.is_attempted]
    for row in attempted:
        texts = tuple(row.original)
        edits = perturbation.candidates(texts)
        assert row.listed == len(edits)
        refused = row.refused or {}
        assert row.listed == row.allowed + sum(refused.values())
        state = State.of(texts)
        allowed = [
            edit
            for edit in edits
            if all(
                rule.allows_word(state, edit.sentence, edit.position, edit.original)
                and rule.allows(state, state, edit)
                for rule in attack.recipe.constraints
            )
        ]
        assert row.allowed == len(allowed)
    summary = report["synonym"]
    assert summary["edits_per_row"] == pytest.approx(fmean(row.listed for row in attempted))
    assert summary["allowed_per_row"] == pytest.approx(fmean(row.allowed for row in attempted))
    assert "| edits per row | allowed |" in report.to_markdown()
    assert "edits per row, allowed" in render_attack_page(report)


def test_a_table_with_few_edits_gives_a_warning(caplog):
    caplog.set_level(logging.WARNING)
    report = Attack("synonym", hashed, synonyms={"dog": ["hound"]}).run(ROWS)
    [warning] = report["synonym"]["warnings"]
    assert "fewer than 5 a low" in warning and "--synonyms" in warning
    assert [record.getMessage() for record in caplog.records] == [f"synonym: {warning}"]
    assert warning in render_attack_page(report)
    assert report["synonym"]["asr"] is not None


def test_the_antonym_attack_edits_the_stop_words_of_a_plain_table():
    task = Task("lights", ("text",), ("turn_off", "turn_on"))
    rows = [{"text": "Turn the light on.", "label": 1}, {"text": "Lights off!", "label": 0}]

    def answer(texts):
        return [[0.1, 0.9] if "on" in text.split()[-1] else [0.9, 0.1] for text in texts]

    table = {"on": ["off"], "off": ["on"]}
    summary = Attack("antonym", answer, task=task, antonyms=table).run(rows)["antonym"]
    assert summary["attackable"] == 1.0 and summary["refused_edits"] == {}
    assert get_recipe("antonym", antonyms=table).hash != get_recipe("antonym").hash
    # The bundled table also lists these words, but attacks with it keep stop words.
    bundled = Attack("antonym", answer, task=task).run(rows)["antonym"]
    assert bundled["refused_edits"]["stop-words"] >= 2


def test_obstinate_attacks_have_few_edits_by_nature():
    report = Attack("antonym", hashed, antonyms={"hot": ["cold"]}).run(ROWS)
    assert report["antonym"]["edits_per_row"] < 5 and report["antonym"]["warnings"] == []


def test_a_rate_over_no_edit_is_not_measured():
    """English parts of speech allow no edit of German text, which does not mean robustness."""
    report = Attack("synonym", always_first, synonyms=GERMAN_SYNONYMS).run(GERMAN)
    summary = report["synonym"]
    assert summary["attempted"] == 2 and summary["attackable"] == 0
    assert summary["edits_per_row"] == 3 and summary["allowed_per_row"] == 0
    for name in ("asr", "asr_interval", "asr_attackable", "accuracy_under_attack"):
        assert summary[name] is None
    assert summary["per_label"]["entailment"]["asr"] is None
    [warning] = summary["warnings"]
    assert "part-of-speech refuses 6 of 6" in warning and "--part-of-speech off" in warning
    line = report.to_markdown().splitlines()[2].split(" | ")
    assert line[3] == "–"
    assert "synonym_asr" not in report.metrics()
    assert "own table" in report.to_markdown()
    assert warning in render_attack_page(report).replace("&#39;", "'")


def test_part_of_speech_off_lets_a_table_of_another_language_attack():
    for name, words in (("synonym", 3), ("antonym", 2)):
        tables = {"synonyms": GERMAN_SYNONYMS, "antonyms": {"hund": ["katze"]}}
        attack = Attack(name, always_first, part_of_speech="off", skip_labels=(), seed=1, **tables)
        summary = attack.run(GERMAN)[name]
        assert summary["attackable"] > 0 and summary["asr"] is not None
        assert (
            summary["allowed_per_row"] * summary["attempted"] == 2 * words - (name == "antonym") * 2
        )
        assert "part-of-speech" not in str(attack.recipe)


def test_a_constraint_that_refuses_most_edits_of_a_table_gives_a_warning():
    """One German word that is also English results in a rate that does not apply to other words."""
    tables = {"synonyms": {**GERMAN_SYNONYMS, "rennt": ["hand"], "brennt": ["brand"]}}
    rows = [{"premise": "Der Hund gab die Hand.", "hypothesis": "Ein Hund.", "label": 0}]
    tables["synonyms"]["hand"] = ["arm"]
    summary = Attack("synonym", always_first, **tables).run(rows)["synonym"]
    assert summary["asr"] == 0.0 and summary["allowed_per_row"] == 1
    assert "part-of-speech refuses 80 % of the table's edits" in summary["warnings"][0]
    assert "--part-of-speech off" in summary["warnings"][0]


def test_robustness_needs_measured_rates():
    meter = RobustnessMeter(
        ["antonym", "synonym"], "snli", None, synonyms=GERMAN_SYNONYMS, antonyms={"hund": ["katze"]}
    )
    metrics = meter.measure(always_first, GERMAN, accuracy=0.7)
    assert metrics["eval_synonym_attackable"] == 0 and metrics["eval_antonym_attackable"] == 0
    assert not {"eval_synonym_asr", "eval_antonym_asr", "eval_robustness"} & set(metrics)


def test_a_comparison_has_no_rate_of_a_model_that_was_not_measured():
    rows = Attack("synonym", always_first, synonyms=GERMAN_SYNONYMS).run(GERMAN).rows["synonym"]
    measured = [replace(row, candidates=1) for row in rows]
    [one] = compare_rows(measured, rows)
    assert (one.asr_a, one.asr_b, one.difference, one.p_value) == (0.0, None, None, None)
    assert (one.attempted_a, one.attempted_b) == (2, 0)


def test_the_warning_names_the_constraint_that_refuses_most():
    class OneLetter(Constraint):
        def allows(self, start, state, edit):
            return len(edit.replacement) == 1

        def describe(self):
            return {"constraint": "one-letter"}

    perturbation = SynonymPerturbation({"hund": ["rüde", "köter"], "haus": ["gebäude"]})
    rules = (MaxWords(count=4), OneLetter(), PartOfSpeech())
    recipe = Recipe("own", perturbation, "flip", constraints=rules)
    [warning] = Attack(recipe, always_first).run(GERMAN)["synonym"]["warnings"]
    assert "one-letter refuses 6 of 6: make a recipe without this constraint" in warning


def test_texts_without_a_word_of_the_table():
    report = Attack("synonym", always_first, synonyms={"cat": ["feline"]}).run(GERMAN)
    assert report["synonym"]["asr"] is None
    assert "give a table of the rows' language" in report["synonym"]["warnings"][0]


def test_skipped_columns_are_no_constraint():
    columns = ("premise", "hypothesis")
    attack = Attack("synonym", always_first, synonyms=GERMAN_SYNONYMS, skip_columns=columns)
    assert "skipped column" in attack.run(GERMAN)["synonym"]["warnings"][0]


def test_an_exhausted_budget_measures():
    recipe = get_recipe("synonym", synonyms=SYNONYMS, budget=1)
    report = Attack(recipe, hashed).run(ROWS)
    assert report["synonym"]["asr"] == 0 and report["synonym"]["candidates"] == 0


def test_the_index_of_a_card_has_no_unmeasured_rate():
    report = Attack("synonym", always_first, synonyms=GERMAN_SYNONYMS).run(GERMAN)
    card = Evaluation("eval", 1, 2, {"type": "snli", "name": "snli"}, {}, report.attacks)
    assert "asr" not in {result.metric_args["figure"] for result in card.to_results()}


def test_rows_of_earlier_versions_have_no_counts():
    rows = [{"idx": 0, "attack": "synonym", "outcome": "failed", "candidates": 3}]
    summary = summarize([AttackResult.from_dict(row) for row in rows], "fickle", {})
    assert summary["asr"] == 0 and summary["edits_per_row"] is None
    assert "edits per row" in AttackReport({"synonym": summary}).to_markdown()
