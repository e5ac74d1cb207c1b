"""Word splitters: edits, attacks and training in a language without spaces between words."""

import json
import random

import pytest
import torch
from tiny_models import tiny_model, tiny_tokenizer
from training_helpers import make_arguments

from hf_bat import BalancedTrainer, Task
from hf_bat.attack import Attack, NoRepeat, PartOfSpeech, Recipe, TransformersModel, get_recipe
from hf_bat.cli import main
from hf_bat.errors import HfBatError
from hf_bat.perturbations import (
    AntonymPerturbation,
    FilteredPerturbation,
    LabelValidity,
    MixedPerturbation,
    NegationPerturbation,
    NumberPerturbation,
    PreferringPerturbation,
    SplitPerturbation,
    SynonymPerturbation,
)
from hf_bat.perturbations.build import filter_edits
from hf_bat.text import mark_words, remove_marks

SYNONYMS = {"高兴": ["快乐", "开心得很"], "天气": ["气候"], "好": ["棒"]}
ANTONYMS = {"热": ["冷"], "高兴": ["难过"], "大": ["小"], "男人": ["女人"]}
WORDS = ["高兴", "快乐", "难过", "天气", "男人", "女人", "今天"]
PAIR = Task(
    "pairs", ("premise", "hypothesis"), label_names=("entailment", "neutral", "contradiction")
)
OPTIONS = {"synonyms": SYNONYMS, "antonyms": ANTONYMS, "part_of_speech": "off"}
ROWS = [
    {"premise": "今天天气很热，男人高兴。", "hypothesis": "男人很高兴。", "label": 0},
    {"premise": "大房子。", "hypothesis": "天气好。", "label": 1},
    {"premise": "男人说：好 天气！", "hypothesis": "天气不热", "label": 2},
    {"premise": "没有。", "hypothesis": "没有。", "label": 0},
]


def split(text):
    """Split into the longest known words and other characters, without punctuation and spaces."""
    words = []
    while text:
        known = next((word for word in WORDS if text.startswith(word)), text[0])
        words.append(known)
        text = text[len(known) :]
    return [word for word in words if word not in "。，：！ "]


def split_otherwise(text):
    """Split an edited text differently from the original."""
    return [text] if "冷" in text else split(text)


def wrap(perturbation, splitter=split):
    return SplitPerturbation(perturbation, splitter)


def test_marks_come_off_again_and_white_space_stays():
    for text in ("今天 天气。", " 热", "", "。", "热  ", "a\x1fb"):
        assert remove_marks(mark_words(text, split)) == text
    assert mark_words("今天 天气。", split).split() == ["今天", "天气", "。"]


def test_every_word_of_the_table_is_an_edit_without_spaces():
    edits = wrap(AntonymPerturbation(ANTONYMS)).candidates(("今天天气很热。", "男人 高兴！"))
    assert [(e.sentence, e.position, e.original, e.texts[e.sentence]) for e in edits] == [
        (0, 3, "热", "今天天气很冷。"),
        (1, 0, "男人", "女人 高兴！"),
        (1, 1, "高兴", "男人 难过！"),
    ]
    assert AntonymPerturbation(ANTONYMS).candidates(("今天天气很热。",)) == []


def test_draws_are_made_of_the_candidates_words():
    fickle = wrap(SynonymPerturbation(SYNONYMS))
    drawn = {fickle.sample(("天气好。",), random.Random(seed)) for seed in range(40)}
    assert drawn == {None, ("气候好。",), ("天气棒。",), ("气候棒。",)}
    swap = wrap(AntonymPerturbation(ANTONYMS))
    versions = {swap.sample(("男人很热",), random.Random(seed)) for seed in range(20)}
    assert versions == {edit.texts for edit in swap.candidates(("男人很热",))}


def test_a_description_names_the_splitter_only_if_there_is_one():
    plain = AntonymPerturbation(ANTONYMS)
    assert wrap(plain).describe() == {**plain.describe(), "splitter": "split"}
    recipes = [get_recipe("antonym", splitter=s, **OPTIONS) for s in (None, split, list)]
    assert len({recipe.hash for recipe in recipes}) == 3
    assert "splitter" not in recipes[0].describe()["perturbation"]


@pytest.mark.parametrize("wrapper", [FilteredPerturbation, PreferringPerturbation])
def test_the_label_filter_reads_the_words_of_the_splitter(wrapper):
    # Without a splitter, each sentence is one word, and no edit would pass.
    swap = AntonymPerturbation(ANTONYMS)
    filtered = wrap(wrapper(swap, LabelValidity({})))
    texts = ("大男人很热。", "男人高兴。")
    if wrapper is FilteredPerturbation:
        assert [e.original for e in filtered.candidates(texts)] == ["男人", "男人"]
    for seed in range(20):
        drawn = filtered.sample_for_label(texts, random.Random(seed), "neutral")
        assert drawn in {("大女人很热。", "男人高兴。"), ("大男人很热。", "女人高兴。")}
        assert filtered.validity.changes_label_of(texts, drawn, "neutral")
    assert not filtered.validity.changes_label_of(texts, ("小男人很热。", "男人高兴。"))
    assert wrap(swap).validity is None
    assert filter_edits(wrap(swap), "only").describe()["splitter"] == "split"


def test_a_version_is_judged_by_its_edit_however_it_is_split():
    filtered = wrap(
        FilteredPerturbation(AntonymPerturbation(ANTONYMS), LabelValidity({})), split_otherwise
    )
    assert filtered.validity.changes_label_of(("今天很热", "热"), ("今天很冷", "热"))


def count_words(inputs):
    """Predict 1 for texts that contain 棒, 气候 or 冷, and 0 for others."""
    changed = [any(w in text for w in ("棒", "气候", "冷")) for text in inputs]
    return [[0.2, 0.8] if is_changed else [0.7, 0.3] for is_changed in changed]


REVIEWS = Task("reviews", ("text",), label_names=("calm", "other"))


@pytest.mark.parametrize("search", ["greedy", "beam", "exhaustive"])
def test_an_attack_edits_words_of_the_splitter_and_the_model_reads_no_marks(search):
    seen = []

    def model(inputs):
        seen.extend(inputs)
        return count_words(inputs)

    ranking = "deletion" if search == "greedy" else None
    recipe = Recipe(
        "own", wrap(SynonymPerturbation(SYNONYMS)), "flip", search, ranking, (NoRepeat(),)
    )
    rows = [{"text": "今天天气很好，高兴。", "label": 0}, {"text": "没有", "label": 0}]
    first, second = Attack(recipe, model, task=REVIEWS, progress=False).run(rows).rows["synonym"]
    assert first.outcome == "succeeded" and second.outcome == "failed"
    assert first.perturbed[0] in {"今天气候很好，高兴。", "今天天气很棒，高兴。"}
    assert (first.words, first.words_changed) == (7, 1)
    assert first.edits[0]["position"] in (1, 3)
    assert not any("\x1f" in text or " " in text for text in seen)


def test_outcomes_are_those_of_the_same_rows_with_spaces_between_the_words():
    spaced_rows = [
        {**row, **{c: " ".join(mark_words(row[c], split).split()) for c in PAIR.columns}}
        for row in ROWS
    ]
    plain_rows = [
        {**row, **{c: row[c].replace(" ", "") for c in PAIR.columns}} for row in spaced_rows
    ]

    def model(pairs):
        texts = ["|".join(pair).replace(" ", "") for pair in pairs]
        votes = [[1 + text.count(c) for c in "热女气"] for text in texts]
        return [[vote / sum(row) for vote in row] for row in votes]

    for name in ("antonym", "synonym"):
        options = {**OPTIONS, "skip_labels": ()}
        attacks = [
            Attack(name, model, task=PAIR, progress=False, splitter=splitter, **options)
            for splitter in (None, split)
        ]
        spaced, ours = (a.run(r) for a, r in zip(attacks, (spaced_rows, plain_rows), strict=True))
        for row, other in zip(ours.rows[name], spaced.rows[name], strict=True):
            assert row.outcome == other.outcome and row.words == other.words
            assert row.edits == other.edits and row.candidates == other.candidates
            if row.perturbed:
                assert row.perturbed == [text.replace(" ", "") for text in other.perturbed]
    assert ours["synonym"]["attempted"] > 0


def test_words_beyond_the_cut_are_not_edited_and_gradients_rank_the_words():
    characters = sorted(set("".join(WORDS) + "很热冷大小好棒开心得气候。"))
    model = TransformersModel(tiny_model("bert", 2), tiny_tokenizer(characters), max_length=8)
    marked = (mark_words("今天天气很热。男人高兴。" * 3, split),)
    # Six tokens, of which the last is in the sixth piece: 今天 天气 很 热.
    assert model.visible([marked]) == [(range(4),)]
    with model.session():
        (weights,) = model.saliency([(marked, 0)])
        answers = model.probabilities(model.keys([("今天天气很热。男人高兴。" * 3,)]))
    assert [bool(w) for w in weights[0][:5]] == [True] * 4 + [False]
    label = int(answers.argmax())
    attack = Attack("antonym", model, task=REVIEWS, splitter=split, skip_labels=(), **OPTIONS)
    (row,) = attack.run([{"text": "今天天气很热。男人高兴。" * 3, "label": label}]).rows["antonym"]
    assert [edit.original for edit in row.tried] == ["热"] and row.beyond_cut > 0


def make_trainer(folder, splitter=split, tables=(SYNONYMS, ANTONYMS), **options):
    texts = [row[column] for row in ROWS for column in PAIR.columns]
    characters = sorted({*"".join((*texts, *WORDS)), *"冷小棒气候开心得"})
    args = make_arguments(folder, **options)
    return BalancedTrainer(
        tiny_model("bert"),
        args,
        train_dataset=ROWS * 2,
        eval_dataset=ROWS,
        processing_class=tiny_tokenizer(characters),
        task=PAIR,
        synonyms=tables[0],
        antonyms=tables[1],
        splitter=splitter,
    )


def test_training_draws_words_of_the_splitter(tmp_path):
    trainer = make_trainer(
        tmp_path, method="likelihood", max_steps=1, attacks=["antonym", "synonym"]
    )
    shares = trainer.preview().shares
    assert shares["fickle"] > 0 and shares["obstinate"] == 0.75
    batch = next(iter(trainer.get_train_dataloader()))
    assert batch["obstinate_passes"].any() and not batch["obstinate_passes"].all()
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    assert any(not torch.equal(before[name], w) for name, w in trainer.model.named_parameters())
    metrics = trainer.evaluate()
    assert metrics["eval_antonym_attackable"] > 0
    trainer.save_perturbations(tmp_path)
    saved = json.loads((tmp_path / "perturbations.json").read_text("utf-8"))
    assert saved["fickle"]["splitter"] == saved["obstinate"]["splitter"] == "split"
    assert (tmp_path / "antonyms.json.gz").is_file()
    assert make_trainer(tmp_path, None, method="triplet").preview().shares["fickle"] == 0


def test_commands_take_a_splitter_by_name(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words_zh.py").write_text(
        "def split(text):\n    return list(text)\n"
        "def model(texts):\n    return [[0.3, 0.7] if '冷' in t else [0.9, 0.1] for t in texts]\n",
        encoding="utf-8",
    )
    (tmp_path / "zh.csv").write_text("text,label\n今天很热。,0\n很好,0\n", encoding="utf-8")
    (tmp_path / "antonyms.json").write_text('{"热": ["冷"]}', encoding="utf-8")
    rows = ["--columns", "text", "--data", "zh.csv", "--antonyms", "antonyms.json"]
    command = ["attack", *rows, "--model-from", "words_zh:model", "--label-names", "0", "1"]
    command += ["--attacks", "antonym", "--skip-labels", "--splitter", "words_zh.py:split"]
    assert main(command) == 2
    assert "--part-of-speech off" in capsys.readouterr().err
    assert main([*command, "--part-of-speech", "off", "--json", "out.json"]) == 0
    (summary,) = json.loads((tmp_path / "out.json").read_text("utf-8"))["attacks"].values()
    assert summary["candidates"] == 1
    assert summary["recipe"]["perturbation"]["splitter"] == "split"
    assert main(["perturb", *rows, "--splitter", "words_zh:split", "--with-stopwords"]) == 0
    assert "[今天很热 -> 今天很冷]。" in capsys.readouterr().out


REFUSED = {
    "a word that is not in the text": lambda: mark_words("天气", lambda text: ["天", "好"]),
    "words in another order": lambda: mark_words("天气", lambda text: ["气", "天"]),
    "a string": lambda: mark_words("天气", lambda text: text),
    "tuples": lambda: mark_words("天气", lambda text: [("天", "n")]),
    "no function": lambda: wrap(AntonymPerturbation(ANTONYMS), "jieba:lcut"),
    "negation": lambda: wrap(NegationPerturbation()),
    "numbers": lambda: wrap(NumberPerturbation()),
    "filter outside": lambda: FilteredPerturbation(
        wrap(AntonymPerturbation(ANTONYMS)), LabelValidity({})
    ),
    "mixture": lambda: MixedPerturbation([wrap(AntonymPerturbation(ANTONYMS))]),
    "a recipe of another kind": lambda: get_recipe("typo", splitter=split),
    "a recipe of one's own": lambda: get_recipe(get_recipe("typo"), splitter=split),
    "parts of speech": lambda: get_recipe("antonym", splitter=split),
    "parts of speech in one's own recipe": lambda: Recipe(
        "own", wrap(AntonymPerturbation(ANTONYMS)), "keep-strict", constraints=(PartOfSpeech(),)
    ),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_work_is_refused_in_one_line(call):
    with pytest.raises(HfBatError) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "a2t"},
        {"method": "counterfactual"},
        {"canonicalize": True},
        {"method": "triplet", "obstinate_edits": ["antonym", "negation"]},
        {"method": "triplet", "obstinate_edits": ["sister"]},
        {"method": "triplet", "fickle_edits": ["synonym", "typo"]},
    ],
)
def test_training_refuses_what_reads_english_or_spaces(options, tmp_path):
    with pytest.raises(HfBatError, match="splitter") as caught:
        make_trainer(tmp_path, **options)
    assert "\n" not in str(caught.value)
