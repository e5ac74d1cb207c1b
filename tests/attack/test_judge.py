"""Judges of edits as label filters: functions and inference models, compared with the rule."""

import json

import pytest
from attack_helpers import ANTONYMS, hashed, made_rows
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat import HfBatError
from hf_bat.attack import Attack, CallableModel, InferenceJudge, JudgedValidity
from hf_bat.attack.judge import Question
from hf_bat.attack.rows import read_rows
from hf_bat.cli import main
from hf_bat.perturbations import AntonymPerturbation, FilteredPerturbation, LabelValidity
from hf_bat.tasks import user_task

ROWS = made_rows(40, seed=12)
NAMES = ["entailment", "neutral", "contradiction"]


def attack(label_filter, rows=ROWS, task="snli", **options):
    made = Attack(
        "antonym", hashed, task=task, antonyms=ANTONYMS, label_filter=label_filter, progress=False
    )
    return made.run(rows, **options)


def judge_by_length(questions):
    return [len(question.after[0]) > len(question.before[0]) for question in questions]


def test_a_function_marks_the_edits_and_agrees_with_the_rule_so_often():
    asked = []

    def judge(questions):
        asked.extend(questions)
        return judge_by_length(questions)

    by_judge, by_rule = attack(judge), attack(True)
    assert by_judge["antonym"]["asr"] == by_rule["antonym"]["asr"]
    verdicts = judge_by_length(asked)
    valid = by_judge["antonym"]["label_valid"]
    assert valid["candidates"] == sum(verdicts)
    assert by_judge["antonym"]["label_invalid"]["candidates"] == len(asked) - sum(verdicts)
    # For each row, the results of both filters in the order of the edits.
    pairs = [
        (edit.valid, other.valid)
        for row, row_by_rule in zip(by_judge.rows["antonym"], by_rule.rows["antonym"], strict=True)
        for edit, other in zip(row.tried or (), row_by_rule.tried or (), strict=True)
    ]
    agreement = valid["filter"]["agreement"]
    assert (agreement["count"], agreement["of"]) == (sum(a == b for a, b in pairs), len(pairs))
    assert 0 < agreement["count"] < agreement["of"]
    assert any("judge" in line for line in by_judge["antonym"]["warnings"])
    assert "agreement" not in by_rule["antonym"]["label_valid"]["filter"]
    names = {question.label for question in asked}
    assert names == {"entailment", "contradiction"}  # neutral rows are skipped


def test_a_rows_file_keeps_what_the_judge_said(tmp_path):
    first = attack(judge_by_length, rows_file=tmp_path / "rows.jsonl")
    again = attack(
        JudgedValidity(lambda _: pytest.fail("asked"), "judge_by_length"),
        rows_file=tmp_path / "rows.jsonl",
    )
    assert again.attacks == first.attacks
    assert all(
        row.rule_agrees is not None for row in read_rows(tmp_path / "rows.jsonl") if row.tried
    )
    with pytest.raises(HfBatError, match="label_filter"):
        attack(JudgedValidity(judge_by_length, "another"), rows_file=tmp_path / "rows.jsonl")


def test_an_inference_model_judges_inference_by_the_gold_label():
    judge = InferenceJudge(CallableModel(hashed, "nli", labels=NAMES), batch_size=3)
    questions = [
        Question((row["premise"], row["hypothesis"]), (row["premise"], f"Not {i}."), label)
        for i, row in enumerate(ROWS)
        for label in ("ENTAILMENT", "contradiction")
    ]
    expected = [
        NAMES[hashed([question.after])[0].argmax()] != question.label.lower()
        for question in questions
    ]
    assert judge(questions) == expected
    assert 0 < sum(expected) < len(expected)
    report = attack(CallableModel(hashed, "nli", labels=NAMES))
    assert report["antonym"]["label_valid"]["filter"]["judge"].startswith("nli (")


def test_an_inference_model_judges_other_tasks_by_contradiction():
    asked = []

    def contradicts(pairs):
        asked.extend(pairs)
        return ["contradiction" if "cold" in after else "neutral" for _, after in pairs]

    judge = InferenceJudge(
        CallableModel(contradicts, labels=["neutral", "contradiction", "entailment"])
    )
    texts = ("A hot dog.", "A hot day.")
    questions = [
        Question(texts, ("A cold dog.", "A hot day."), "duplicate"),
        Question(texts, ("A hot dog.", "A warm day."), "duplicate"),
        Question(("A hot day.",), ("A cold day.",), None),
        Question(texts, texts, None),
    ]
    assert judge(questions) == [True, False, True, False]
    # Only the changed sentences, before and after.
    assert asked == [("A hot dog.", "A cold dog."), ("A hot day.", "A warm day."),
                     ("A hot day.", "A cold day.")]  # fmt: skip
    task = user_task(["premise"], ["bad", "fair", "good"])
    valid = attack(judge, task=task)["antonym"]["label_valid"]
    assert valid["candidates"] < attack(True, task=task)["antonym"]["label_valid"]["candidates"]


def test_a_judge_that_abstains_counts_the_label_as_unchanged():
    judge = InferenceJudge(CallableModel(lambda pairs: [None for _ in pairs], labels=NAMES))
    assert judge([Question(("A.", "B."), ("C.", "B."), "entailment")]) == [False]


def test_a_judge_filters_draws_of_training():
    words = AntonymPerturbation({"hot": ("cold",), "big": ("small", "little")})
    judged = FilteredPerturbation(words, JudgedValidity(judge_by_length))
    assert [edit.replacement for edit in judged.candidates(("A big hot dog.",))] == [
        "small", "little", "cold",
    ]  # fmt: skip
    never = FilteredPerturbation(words, JudgedValidity(lambda qs: [False] * len(qs)))
    assert never.candidates(("A big hot dog.",)) == []
    assert never.describe()["label_filter"]["filter"] == "judge"
    assert isinstance(JudgedValidity(judge_by_length), LabelValidity)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: InferenceJudge(tiny_model("bert"), tiny_tokenizer()), "entailment"),
        (lambda: InferenceJudge(hashed), "names"),
        (lambda: attack(lambda questions: [True]), "one for each"),
    ],
)
def test_bad_judges_are_refused(make, word):
    with pytest.raises(HfBatError, match=word):
        make()


def test_the_command_asks_a_judge(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny_model("bert")
    model.config.id2label = dict(enumerate(NAMES))
    model.save_pretrained("nli")
    tiny_tokenizer(
        [text for row in ROWS for text in (row["premise"], row["hypothesis"])]
    ).save_pretrained("nli")
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    words = (
        "attack --model-from attack_helpers:hashed --task snli --data dev.jsonl --attacks antonym"
    )
    assert main([*words.split(), "--label-judge", "nli", "--json", "out.json"]) == 0
    valid = json.loads((tmp_path / "out.json").read_text())["attacks"]["antonym"]["label_valid"]
    assert valid["filter"]["judge"].startswith("nli (")
    assert valid["filter"]["agreement"]["of"] > 0
