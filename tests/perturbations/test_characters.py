"""Character edits: candidates compared with their definition, draws, recipes and training."""

import pickle
import random
import unicodedata
from collections import Counter

import pytest
from attack_helpers import hashed, made_rows
from tiny_models import tiny_model, tiny_tokenizer
from transformers import HfArgumentParser

from hf_bat import BalancedTrainer, BalancedTrainingArguments, HfBatError
from hf_bat.attack import Attack, Recipe, get_recipe
from hf_bat.lexicon import load_wordnet, stopwords
from hf_bat.perturbations import (
    AntonymPerturbation,
    CharacterPerturbation,
    MixedPerturbation,
    NumberPerturbation,
    SynonymPerturbation,
    build_fickle,
    build_perturbations,
)
from hf_bat.perturbations.base import Edit, Perturbation
from hf_bat.tasks import user_task

TEXTS = (
    "Two young children are quietly watching, from the OPEN window.",
    "somebody's well-known dog 42nd",
)
ROWS_OF_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def is_near(first, second):
    """Return whether two keys are neighbors; each row of keys is shifted by at most half a key."""
    places = {
        key: (row, column)
        for row, keys in enumerate(ROWS_OF_KEYS)
        for column, key in enumerate(keys)
    }
    (r1, c1), (r2, c2) = places[first.lower()], places[second.lower()]
    return abs(r1 - r2) <= 1 and abs(c1 - c2) <= 1


def check_edit(kind, old, new):
    if kind == "swap":
        assert Counter(new) == Counter(old)
        assert sum(a != b for a, b in zip(old, new, strict=True)) == 2
    elif kind == "drop":
        assert any(old[:i] + old[i + 1 :] == new for i in range(1, len(old) - 1))
    else:
        [(a, b)] = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        if kind == "mistype":
            assert is_near(a, b) and a.isupper() == b.isupper()
        else:
            name = unicodedata.name(b)
            assert name.split()[0] in ("CYRILLIC", "GREEK")
            assert ("CAPITAL" in name) == a.isupper()
    if kind != "look-alike":
        assert (old[0], old[-1]) == (new[0], new[-1])


@pytest.mark.parametrize("kind", ["swap", "drop", "mistype", "look-alike"])
def test_each_candidate_is_an_edit_of_its_kind(kind):
    edits = CharacterPerturbation([kind]).candidates(TEXTS)
    assert len({edit.texts for edit in edits}) == len(edits) > 5
    for edit in edits:
        check_edit(kind, edit.original, edit.replacement)
        assert edit.texts != TEXTS
        before, after = TEXTS[edit.sentence].split(), edit.texts[edit.sentence].split()
        changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
        assert changed == [edit.position]
        # An edit that results in another word changes the meaning.
        assert not load_wordnet().parts_of_speech(edit.replacement) or kind == "look-alike"
    words = {edit.original for edit in edits}
    assert words <= {"young", "children", "quietly", "watching", "OPEN", "window"}
    assert {"children", "window"} <= words
    assert not any(len(word) < 4 or word.lower() in stopwords("nltk") for word in words)


def test_all_swaps_of_a_word_are_listed():
    # Only one swap of inner letters results in a different word.
    words = {edit.replacement for edit in CharacterPerturbation(["swap"]).candidates(("unite",))}
    letters = "unite"
    swaps = {letters[:i] + letters[i + 1] + letters[i] + letters[i + 2 :] for i in (1, 2)}
    assert words == {word for word in swaps if not load_wordnet().parts_of_speech(word)}
    assert CharacterPerturbation(["drop"]).replacements("form's") == ()


def test_draws_edit_a_share_of_the_words_and_at_least_one():
    text = " ".join(["children", "watching", "window"] * 20)
    perturbation = CharacterPerturbation(rate=0.2)
    words = {word: set(perturbation.replacements(word)) for word in set(text.split())}
    changed = []
    for seed in range(100):
        [drawn] = perturbation.sample((text,), random.Random(seed))
        assert [drawn] == list(perturbation.sample((text,), random.Random(seed)))
        pairs = list(zip(text.split(), drawn.split(), strict=True))
        assert all(new == old or new in words[old] for old, new in pairs)
        changed.append(sum(old != new for old, new in pairs))
    assert 0.18 < sum(changed) / 6000 < 0.22
    short = [perturbation.sample(("A window.",), random.Random(seed)) for seed in range(50)]
    assert all(drawn is not None and drawn != ("A window.",) for drawn in short)
    assert perturbation.sample(("It is to be.", "42"), random.Random(0)) is None


def test_kinds_of_edits_mix():
    synonym, _ = build_perturbations({"window": ["pane"]})
    mixed = build_fickle(synonym, ["synonym", "typo"])
    assert mixed.kind == "fickle"
    drawn = Counter(
        mixed.sample(("a window",), random.Random(seed)) == ("a pane",) for seed in range(200)
    )
    # Half of the draws are synonyms, and half of these keep the word, so a typing error is drawn instead.
    assert 30 < drawn[True] < 70
    with pytest.raises(HfBatError, match="one kind"):
        MixedPerturbation([synonym, NumberPerturbation()])


@pytest.mark.parametrize("name", ["typo", "look-alike"])
def test_recipes_flip_predictions_by_at_most_two_words(name):
    report = Attack(name, hashed, progress=False).run(made_rows(20, seed=4))
    summary = report[name]
    assert summary["succeeded"] > 3
    for row in report.rows[name]:
        if row["outcome"] == "succeeded":
            assert 1 <= row["words_changed"] <= 2
            assert hashed([tuple(row["perturbed"])])[0].argmax() != row["label"]
            for edit in row["edits"]:
                assert edit["replacement"] in get_recipe(name).perturbation.replacements(
                    edit["original"]
                )


# ---- training ---------------------------------------------------------------------------------


class Shout(Perturbation):
    name, kind = "shout", "fickle"

    def candidates(self, texts):
        loud = tuple(text.upper() for text in texts)
        return [Edit(0, 0, texts[0], loud[0], loud)]

    def describe(self):
        return {"perturbation": self.name}


class Whisper(Shout):
    name, kind = "whisper", "obstinate"

    def candidates(self, texts):
        return [Edit(0, 0, texts[0], "psst", ("psst", *texts[1:]))]


def make_trainer(tmp_path, options, **own):
    rows = made_rows(16, seed=1)
    args = BalancedTrainingArguments(
        str(tmp_path / "out"), max_steps=2, per_device_train_batch_size=4, use_cpu=True,
        report_to="none", disable_tqdm=True, save_strategy="no", **options,
    )  # fmt: skip
    task = user_task(["premise", "hypothesis"], ["entailment", "neutral", "contradiction"])
    return BalancedTrainer(
        model=tiny_model("bert"), args=args, train_dataset=rows, eval_dataset=rows,
        processing_class=tiny_tokenizer(), task=task, **own,
    )  # fmt: skip


def draw_versions(trainer):
    sampler = trainer.data_collator.sampler
    return [(row, sampler.draw(row, 0)) for row in trainer.train_dataset]


def test_training_draws_typing_errors(tmp_path):
    trainer = make_trainer(tmp_path, {"method": "triplet", "fickle_edits": ["typo"]})
    perturbation = CharacterPerturbation()
    for row, draws in draw_versions(trainer):
        texts = (row["premise"], row["hypothesis"])
        for before, after in zip(texts, draws["fickle"][0] or texts, strict=True):
            for old, new in zip(before.split(), after.split(), strict=True):
                assert old == new or new.strip(".") in perturbation.replacements(old.strip("."))
    trainer.train()
    trainer.create_model_card()
    assert "its fickle version (words mistyped:" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(HfBatError, match="fickle_edits"):
        BalancedTrainingArguments(str(tmp_path), method="triplet", fickle_edits=["typos"])
    with pytest.raises(HfBatError, match="no effect"):
        BalancedTrainingArguments(str(tmp_path), method="normal", fickle_edits=["typo"])


def test_training_draws_from_perturbations_of_ones_own(tmp_path):
    trainer = make_trainer(tmp_path, {"method": "pairwise"}, fickle=Shout(), obstinate=Whisper())
    for row, draws in draw_versions(trainer):
        assert draws["fickle"] == [(row["premise"].upper(), row["hypothesis"].upper())]
        assert draws["obstinate"] == [("psst", row["hypothesis"])]
    assert trainer.train().global_step == 2
    described = [p.describe()["perturbation"] for p in trainer.used_perturbations()]
    assert described == ["shout", "whisper"]
    for own, options, word in (
        ({"fickle": Whisper()}, {"method": "pairwise"}, "fickle Perturbation"),
        ({"obstinate": Whisper()}, {"method": "safer"}, "no effect"),
        ({"fickle": Shout()}, {"method": "triplet", "fickle_edits": ["typo"]}, "fickle_edits"),
        ({"fickle": "typo"}, {"method": "triplet"}, "str"),
        ({}, {"method": "triplet", "obstinate_edits": ["antonym", Shout()]}, "fickle perturbation"),
        ({}, {"method": "triplet", "obstinate_edits": [Whisper(), Whisper()]}, "whisper, whisper"),
        ({}, {"method": "triplet", "fickle_edits": [CharacterPerturbation()]}, "name of a kind"),
        ({}, {"method": "triplet", "fickle_edits": "typo"}, "list"),
        ({}, {"method": "normal", "obstinate_edits": [Whisper()]}, "no effect"),
        (
            {"obstinate": Whisper()},
            {"method": "triplet", "obstinate_edits": [Whisper()]},
            "only one",
        ),
    ):
        with pytest.raises(HfBatError, match=word):
            make_trainer(tmp_path, options, **own)


def test_training_mixes_antonyms_and_a_perturbation_of_ones_own(tmp_path):
    table = {"big": ("small",)}
    mixed = MixedPerturbation([AntonymPerturbation(table), Whisper()])
    trainer = make_trainer(tmp_path, {"method": "triplet"}, obstinate=mixed)
    expected = draw_versions(trainer)
    kinds = Counter(versions["obstinate"][0][0] == "psst" for _, versions in expected)
    assert kinds[True] > 0 and kinds[False] > 0
    assert trainer.train().global_step == 2
    options = {"method": "triplet", "obstinate_edits": ["antonym", Whisper()]}
    trainer = make_trainer(tmp_path, options, antonyms=table)
    assert draw_versions(trainer) == expected
    # Saved arguments have its name.
    assert trainer.args.to_dict()["obstinate_edits"] == ["antonym", "whisper"]
    assert pickle.loads(pickle.dumps(trainer.args)).obstinate_edits == ["antonym", "whisper"]
    assert trainer.train().global_step == 2
    trainer.create_model_card()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "one word replaced by an antonym or edits of `whisper`" in card


def test_evaluation_runs_recipes_of_ones_own(tmp_path):
    words = SynonymPerturbation({"hot": ["warm"], "big": ["large"], "man": ["guy"]})
    recipe = Recipe("mine", words, goal="flip", search="beam", key="mine")
    trainer = make_trainer(tmp_path, {"attacks": ["antonym", recipe, "typo"]})
    metrics = trainer.evaluate()
    assert {"eval_antonym_asr", "eval_mine_asr", "eval_typo_asr"} <= set(metrics)
    expected = Attack(recipe, trainer.model, tiny_tokenizer(), task=trainer.task, progress=False)
    assert metrics["eval_mine_asr"] == expected.run(made_rows(16, seed=1))["mine"]["asr"]
    assert trainer.args.to_dict()["attacks"] == ["antonym", "mine", "typo"]
    trainer.train()
    with pytest.raises(HfBatError, match="mine, mine"):
        BalancedTrainingArguments(str(tmp_path), attacks=[recipe, recipe])


def test_flags_name_edits_and_attacks(tmp_path):
    flags = f"--output_dir {tmp_path} --method triplet --fickle_edits synonym typo --attacks antonym typo"
    [args] = HfArgumentParser(BalancedTrainingArguments).parse_args_into_dataclasses(flags.split())
    assert args.fickle_edits == ["synonym", "typo"]
    assert args.get_entries("attacks") == ["antonym", "typo"]
