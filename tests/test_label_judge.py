"""A judge for the label filter in training: a function or an inference model instead of the rule."""

import json
import logging
import math
from collections import Counter

import pytest
from tiny_models import tiny_model
from training_helpers import (
    ANTONYMS,
    SYNONYMS,
    largest_difference,
    made_rows,
    make_arguments,
    make_trainer,
    tokenizer_for_made_rows,
    weights_of,
)

from hf_bat import BalancedTrainer, HfBatError
from hf_bat.attack import CallableModel, InferenceJudge, JudgedValidity
from hf_bat.checkpoints import read_run
from hf_bat.cli import main
from hf_bat.collator import PerturbationCollator
from hf_bat.labels import list_label_names
from hf_bat.perturbations import (
    AntonymPerturbation,
    FilteredPerturbation,
    LabelValidity,
    PerturbationSampler,
    SplitPerturbation,
)

ROWS = made_rows(12, seed=5)
NAMES = ["entailment", "neutral", "contradiction"]


class ByLength:
    """A judge that keeps all questions; an edit changes the label unless it lengthens the text."""

    name = "by-length"

    def __init__(self):
        self.asked = []

    def __call__(self, questions):
        self.asked += questions
        return [self.decide(question.before, question.after) for question in questions]

    @staticmethod
    def decide(before, after):
        return len("".join(after)) <= len("".join(before))


def train(folder, judge, rows=ROWS, resume=None, **options):
    settings = {"method": "triplet", "label_filter": "only", "max_steps": 6, **options}
    trainer = make_trainer(folder, rows, trainer_options={"label_judge": judge}, **settings)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def draw_all(trainer, epochs=3):
    """Return (row, version) of all obstinate draws in some epochs."""
    sampler = trainer.data_collator.sampler
    return [
        (row, version)
        for epoch in range(epochs)
        for row in trainer.train_dataset
        for version in sampler.draw(row, epoch)["obstinate"]
    ]


def test_only_edits_that_pass_the_judge_are_drawn_and_each_is_asked_about_once(tmp_path):
    judge = ByLength()
    trainer = train(tmp_path, judge)
    asked = len(judge.asked)
    assert trainer.state.epoch == 2 and asked > 0
    drawn = draw_all(trainer)
    versions = [(row, version) for row, version in drawn if version is not None]
    assert versions
    for row, version in versions:
        assert ByLength.decide((row["premise"], row["hypothesis"]), version)
    # The second epoch, later draws and the preview do not call the judge again.
    trainer.preview(2)
    assert len(judge.asked) == asked == len(set(judge.asked))
    edits = AntonymPerturbation(ANTONYMS)
    skipped = trainer.data_collator.sampler.skipped_labels
    expected = {
        (edit.texts, NAMES[row["label"]])
        for row in ROWS
        for edit in edits.candidates((row["premise"], row["hypothesis"]))
        if row["label"] not in skipped
    }
    assert {(question.after, question.label) for question in judge.asked} == expected


def test_the_judge_is_asked_about_the_rows_of_a_batch_together(tmp_path):
    sizes = []

    def judge(questions):
        sizes.append(len(questions))
        return [True for _ in questions]

    trainer = make_trainer(
        tmp_path,
        ROWS,
        trainer_options={"label_judge": judge},
        method="likelihood",
        per_device_train_batch_size=12,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    assert len(sizes) == 1
    assert batch["obstinate_passes"].equal(batch["obstinate_mask"])


def test_prefer_draws_any_edit_of_a_row_where_none_passes(tmp_path):
    rejecting = lambda questions: [False for _ in questions]  # noqa: E731
    plain = train(tmp_path, None, label_filter="off", max_steps=1)
    prefers = train(tmp_path, rejecting, label_filter="prefer", max_steps=1)
    refuses = train(tmp_path, rejecting, label_filter="only", max_steps=1)
    has_version = [version is not None for _, version in draw_all(plain)]
    assert [version is not None for _, version in draw_all(prefers)] == has_version
    assert any(has_version) and all(version is None for _, version in draw_all(refuses))


def test_agreement_with_the_rule_is_reported_once_in_a_line(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        trainer = train(tmp_path, ByLength())
    (line,) = [r.getMessage() for r in caplog.records if "by-length" in r.getMessage()]
    rule, agreed, total = LabelValidity(), 0, 0
    for texts, edits, label in trainer.data_collator.sampler.list_judged(trainer.train_dataset):
        by_rule = rule.passing(texts, edits, label)
        by_judge = [ByLength.decide(texts, edit.texts) for edit in edits]
        agreed += sum(map(bool.__eq__, by_rule, by_judge))
        total += len(edits)
    assert 0 < agreed < total
    assert f"{100 * agreed / total:.1f} % of {total} edits" in line and "\n" not in line
    caplog.clear()
    # The rule with other synonyms is not a judge and also works in data workers.
    with caplog.at_level(logging.WARNING):
        train(tmp_path, LabelValidity({"big": ["large"]}), dataloader_num_workers=1)
    assert not any("judge" in record.getMessage() for record in caplog.records)


def test_a_resumed_run_ends_with_the_same_weights_and_knows_its_judge(tmp_path, caplog):
    options = {"save_strategy": "steps", "save_steps": 3}
    whole = train(tmp_path / "whole", ByLength(), **options)
    checkpoint = tmp_path / "whole" / "checkpoint-3"
    facts = read_run(checkpoint)
    assert facts["label_judge"] == facts["training judge"] == "by-length"
    resumed = train(tmp_path / "resumed", ByLength(), resume=str(checkpoint))
    assert largest_difference(weights_of(whole.model), weights_of(resumed.model)) == 0.0
    caplog.clear()
    train(tmp_path / "other", lambda q: [True for _ in q], resume=str(checkpoint))
    assert any("training judge" in record.getMessage() for record in caplog.records)


def test_judges_of_tasks_without_inference_know_the_labels(tmp_path):
    judge = ByLength()
    rows = [
        {"question1": row["premise"], "question2": row["hypothesis"], "label": 1, "idx": i}
        for i, row in enumerate(ROWS)
    ]
    trainer = make_trainer(
        tmp_path,
        rows,
        model=tiny_model("bert", 2),
        trainer_options={"label_judge": judge, "task": "qqp"},
        method="triplet",
        label_filter="only",
    )
    trainer.preview(1)
    assert {question.label for question in judge.asked} == {"duplicate"}


def test_the_words_of_a_splitter_are_judged_without_marks():
    asked = []

    def judge(questions):
        asked.extend(questions)
        return ["女" in question.after[0] for question in questions]

    swap = AntonymPerturbation({"热": ["冷"], "男": ["女"]})
    filtered = SplitPerturbation(FilteredPerturbation(swap, JudgedValidity(judge)), list)
    sampler = PerturbationSampler(("text",), obstinate=filtered)
    rows = [{"text": "男人很热", "idx": 0}]
    sampler.prepare(rows)
    assert [question.after for question in asked] == [("女人很热",), ("男人很冷",)]
    assert sampler.draw(rows[0], 0) == {"obstinate": [("女人很热",)]}
    assert filtered.validity.changes_label_of(("男人很热",), ("女人很热",))
    assert len(asked) == 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with an inference model as the judge, a model, rows and tables."""
    path = tmp_path_factory.mktemp("judge")
    for name, seed in (("nli", 1), ("model", 0)):
        model = tiny_model("bert", seed=seed)
        model.config.id2label = dict(enumerate(NAMES))
        model.config.label2id = {label: number for number, label in enumerate(NAMES)}
        model.save_pretrained(path / name)
        tokenizer_for_made_rows().save_pretrained(path / name)
    lines = [json.dumps({**row, "label": NAMES[row["label"]]}) for row in ROWS]
    (path / "rows.jsonl").write_text("\n".join(lines), "utf-8")
    SYNONYMS.save(path / "synonyms.json")
    ANTONYMS.save(path / "antonyms.json")
    return path


def test_the_command_line_names_a_judge_in_training_as_in_attacks(folder, tmp_path, capsys):
    tables = ["--synonyms", folder / "synonyms.json", "--antonyms", folder / "antonyms.json"]
    judged = ["--task", "snli", "--label_judge", folder / "nli", *tables]
    command = ["train", "--model_name_or_path", folder / "model", "--train_file"]
    command += [folder / "rows.jsonl", "--method", "triplet", "--label_filter", "prefer"]
    command += ["--max_steps", 1, "--output_dir", tmp_path / "out", "--report_to", "none"]
    command += ["--use_cpu", *judged]
    assert main([str(word) for word in command]) == 0
    saved = json.loads((tmp_path / "out" / "perturbations.json").read_text("utf-8"))
    described = saved["obstinate"]["label_filter"]
    assert described["filter"] == "judge" and described["judge"].startswith("nli (")
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "- `label_judge`: nli\n" in card
    assert str(folder) not in card + json.dumps(saved)
    capsys.readouterr()
    attack = ["attack", "--model", folder / "model", "--data", folder / "rows.jsonl", "--attacks"]
    attack += ["antonym", "--skip-labels", "--json", tmp_path / "report.json", *judged]
    assert main([str(word) for word in attack]) == 0
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert report["attacks"]["antonym"]["label_valid"]["filter"]["judge"] == described["judge"]


def test_an_inference_model_judges_with_the_gold_label(folder, tmp_path):
    trainer = make_trainer(
        tmp_path, ROWS, method="triplet", label_filter="only", label_judge=str(folder / "nli")
    )
    judge = trainer.data_collator.sampler.judge.judge
    for row, version in draw_all(trainer):
        if version is not None:
            probabilities = judge.model.probabilities
            with judge.model.session():
                answer = int(probabilities(judge.model.keys([version])).argmax())
            assert list_label_names(judge.model.config)[answer] != NAMES[row["label"]]
    counts = Counter(version is None for _, version in draw_all(trainer))
    assert counts[False] > 0


REFUSED = {
    "no obstinate versions": ({"method": "safer"}, ByLength(), "label_judge"),
    "normal": ({"method": "normal"}, ByLength(), "label_judge"),
    "filter off": ({"method": "triplet"}, ByLength(), "label_filter"),
    "workers": ({"dataloader_num_workers": 2}, ByLength(), "dataloader_num_workers"),
    "two judges": ({"label_judge": "some/model"}, ByLength(), "label_judge"),
    "no judge": ({}, 7, "int"),
    "unnamed labels": ({}, InferenceJudge, "names"),
    "no model there": ({"label_judge": "./no-such-folder"}, None, "no-such-folder"),
}


@pytest.mark.parametrize(("options", "judge", "word"), REFUSED.values(), ids=list(REFUSED))
def test_what_has_no_meaning_is_refused_in_one_line(options, judge, word, tmp_path):
    settings = {"method": "triplet", "label_filter": "only", **options}
    if options.get("method"):
        settings.pop("label_filter")
    with pytest.raises(HfBatError, match=word) as caught:
        if judge is InferenceJudge:
            judge = InferenceJudge(CallableModel(lambda pairs: [[0.5, 0.5] for _ in pairs]))
        make_trainer(tmp_path, ROWS, trainer_options={"label_judge": judge}, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answer", ["no", "yes", math.nan, None, 2])
def test_only_true_and_false_are_answers_of_a_judge(answer):
    validity = JudgedValidity(lambda questions: [answer for _ in questions], "words")
    edits = AntonymPerturbation({"hot": ("cold",)}).candidates(("A hot dog.",))
    with pytest.raises(HfBatError, match="the judge words answered .* return True or False"):
        validity.passing(("A hot dog.",), edits)


def test_a_collator_of_ones_own_has_its_own_judge(tmp_path):
    tokenizer = tokenizer_for_made_rows()
    validity = JudgedValidity(ByLength())
    collator = PerturbationCollator(
        tokenizer,
        ("premise", "hypothesis"),
        fickle=None,
        obstinate=FilteredPerturbation(AntonymPerturbation(ANTONYMS), validity),
    )
    with pytest.raises(HfBatError, match="data_collator"):
        BalancedTrainer(
            tiny_model("bert"),
            make_arguments(tmp_path, method="likelihood", label_filter="only"),
            collator,
            ROWS,
            processing_class=tokenizer,
            task="snli",
            label_judge=ByLength(),
        )
