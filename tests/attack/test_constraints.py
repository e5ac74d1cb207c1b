"""Constraints and recipes: what they allow, how they are printed, and what their hash depends on."""

import re

import numpy as np
import pytest
from attack_helpers import ANTONYMS, SYNONYMS, hashed, made_rows
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.attack import (
    RECIPES,
    Attack,
    EmbeddingDistance,
    MaxWords,
    NoRepeat,
    PartOfSpeech,
    Recipe,
    SentenceEncoder,
    SentenceSimilarity,
    StopWords,
    get_recipe,
)
from hf_bat.attack.constraints import State
from hf_bat.attack.result import count_changed_words
from hf_bat.attack.similarity import cut_window
from hf_bat.perturbations import SynonymPerturbation
from hf_bat.perturbations.base import Edit, apply_replacement

TEXTS = ("The big dog is barking at a cat.", "An animal makes noise.")
START = State.of(TEXTS)


def swap(position, new, state=START, sentence=0):
    old = state.texts[sentence].split()[position].rstrip(".")
    edited = apply_replacement(state.texts[sentence], position, new)
    texts = (edited, *state.texts[1:]) if sentence == 0 else (state.texts[0], edited)
    return Edit(sentence, position, old, new, texts)


def test_stop_words_in_any_case():
    rule = StopWords(["The", "dog"])
    allowed = [rule.allows_word(START, 0, i, w.rstrip(".")) for i, w in enumerate(TEXTS[0].split())]
    assert allowed == [False, True, False, True, True, True, True, True]


@pytest.mark.parametrize(
    "old, new, alike, swapped",
    [
        ("big", "small", True, True),
        ("big", "smallness", False, False),
        ("barking", "yelp", True, True),
        ("barking", "noise", True, True),  # "barking" is also a noun
        ("makes", "creator", True, True),
        ("destroy", "destruction", False, True),
        ("big", "qwzx", False, False),
    ],
)
def test_part_of_speech_by_lexicon(old, new, alike, swapped):
    edit = Edit(0, 0, old, new, (new,))
    state = State.of((old,))
    assert PartOfSpeech().allows(state, state, edit) == alike
    assert PartOfSpeech(verb_noun_swap=True).allows(state, state, edit) == swapped


def test_part_of_speech_by_the_tagger_minds_the_sentence(shared, monkeypatch):
    import nltk.data

    monkeypatch.setattr(nltk.data, "path", [str(shared / "nltk_data")])
    rule, swapping = PartOfSpeech("nltk"), PartOfSpeech("nltk", verb_noun_swap=True)
    state = State.of(("They watch the show every night.",))
    verb = Edit(0, 1, "watch", "see", ("They see the show every night.",))
    noun = Edit(0, 1, "watch", "clock", ("They clock the show every night.",))
    adjective = Edit(0, 3, "show", "large", ("They watch the large every night.",))
    assert rule.allows(state, state, verb)
    assert swapping.allows(state, state, noun)
    assert not rule.allows(state, state, adjective)
    assert not swapping.allows(state, state, adjective)


def test_max_words_counts_over_both_sentences():
    rule = MaxWords(rate=0.17)  # 12 words: two
    once = START.after(swap(1, "large"))
    twice = once.after(swap(2, "hound", once))
    assert rule.allows(START, START, swap(1, "large"))
    assert rule.allows(START, once, swap(2, "hound", once))
    assert not rule.allows(START, twice, swap(3, "was", twice))
    assert rule.allows(START, twice, swap(1, "huge", twice))  # already edited
    assert not NoRepeat().allows_word(twice, 0, 1, "large")
    assert NoRepeat().allows_word(twice, 0, 3, "is")


def test_state_follows_words_through_insertions_and_deletions():
    longer = START.after(swap(3, "was not"))
    assert longer.find((0, 4)) == (0, 5) and longer.find((0, 3)) is None
    assert longer.texts[0].split()[5] == "barking"
    tokens = longer.texts[0].split()
    shorter = longer.after(Edit(0, 1, "big", "", (" ".join([tokens[0], *tokens[2:]]), TEXTS[1])))
    assert shorter.find((0, 4)) == (0, 4) and shorter.texts[0].split()[4] == "barking"
    assert [len(o) for o in shorter.origin] == [len(t.split()) for t in shorter.texts]
    assert count_changed_words(TEXTS, shorter.texts) == 3  # "big" removed, "is" now two words


def test_embedding_distance():
    vectors = {"big": [1, 0], "large": [2, 0.2], "small": [-1, 0], "dog": [0, 1]}
    near = EmbeddingDistance(vectors, min_cosine=0.8)
    assert near.allows(START, START, swap(1, "large"))
    assert not near.allows(START, START, swap(1, "small"))
    assert near.allows(START, START, swap(1, "unheard-of"))
    assert not EmbeddingDistance(vectors, min_cosine=0.8, allow_unknown=False).allows(
        START, START, swap(1, "unheard-of")
    )
    assert not EmbeddingDistance(vectors, max_distance=1.0).allows(START, START, swap(1, "large"))
    assert near.describe() != EmbeddingDistance({**vectors, "dog": [1, 1]}, 0.8).describe()


class Letters(SentenceEncoder):
    """An encoder without weights that counts letters."""

    def __init__(self):
        super().__init__("letters")
        self.asked = []

    def encode(self, strings):
        self.asked.append(list(strings))
        counts = np.array(
            [[s.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for s in strings]
        )
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_windows():
    rule = SentenceSimilarity(Letters(), 0.8, window=5)
    assert rule.strings(START, START, swap(2, "hound")) == (
        "The big dog is barking",
        "The big hound is barking",
    )
    assert (
        rule.strings(START, START, swap(3, "noises.", sentence=1))[0]
        == "cat. An animal makes noise."
    )
    assert SentenceSimilarity(Letters(), 0.8, window=13).strings(START, START, swap(1, "x")) is None
    eager = SentenceSimilarity(Letters(), 0.8, window=13, skip_shorter=False)
    assert eager.strings(START, START, swap(1, "x")) == (
        " ".join(TEXTS),
        " ".join(TEXTS).replace("big", "x"),
    )
    for center in range(12):
        for size in range(1, 12):
            found = cut_window(TEXTS, center, size).split()
            assert len(found) == size and " ".join(TEXTS).split()[center] in found


def test_sentence_similarity_removes_what_is_too_far_and_chooses_the_nearest():
    encoder = Letters()
    rows = made_rows(80, seed=31)
    free = Recipe("free", SynonymPerturbation(SYNONYMS), "flip", "greedy", "deletion")  # type: ignore[arg-type]
    rule = SentenceSimilarity(encoder, 0.97)
    bound = Recipe("bound", SynonymPerturbation(SYNONYMS), "flip", "greedy", "deletion", (rule,))  # type: ignore[arg-type]
    loose = Attack(free, hashed).run(rows)["synonym"]
    report = Attack(bound, hashed).run(rows)
    assert 0 < report["synonym"]["succeeded"] < loose["succeeded"]
    assert report["synonym"]["sentence_similarity"] > 0.9
    for row in report.rows["synonym"]:
        if row["outcome"] == "succeeded" and len(row["edits"]) == 1:
            one, other = Letters().encode(["\n".join(row["original"]), "\n".join(row["perturbed"])])
            assert one @ other >= 0.97
            assert row["similarity"] == pytest.approx(one @ other)
    assert all(len(strings) == len(set(strings)) for strings in encoder.asked)


def test_angular_similarity():
    rule = SentenceSimilarity(Letters(), 0.8, metric="angular")
    assert rule.similarity(np.array([1.0, 0]), np.array([0, 1.0])) == pytest.approx(0.5)
    assert rule.similarity(np.array([1.0, 0]), np.array([1.0, 0])) == 1.0


def test_a_transformers_encoder_means_over_real_tokens(minilm):
    import torch
    from transformers import AutoModel, AutoTokenizer

    strings = ["A man is running.", "A dog sleeps in the house near the river.", "Hi"]
    found = SentenceEncoder(minilm, batch_size=2).encode(strings)
    tokenizer, model = (
        AutoTokenizer.from_pretrained(minilm),
        AutoModel.from_pretrained(minilm).eval(),
    )
    for string, vector in zip(strings, found, strict=True):
        with torch.no_grad():
            hidden = model(**tokenizer(string, return_tensors="pt")).last_hidden_state[0]
        mean = hidden.mean(0).double().numpy()
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_an_encoder_is_called_by_what_it_is_not_by_where_it_lies(tmp_path, monkeypatch):
    """One encoder in two folders resulted in two recipes, and its path was saved with them."""
    (tmp_path / "owner").mkdir()
    folders = [str(tmp_path / "a"), str(tmp_path / "owner" / "b"), "owner/b"]
    for folder in folders[:2]:
        tiny_model("bert").bert.save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
    monkeypatch.chdir(tmp_path)
    names = [SentenceSimilarity(folder, 0.9).describe()["encoder"] for folder in folders]
    assert len(set(names)) == 1 and re.fullmatch("[0-9a-f]{64}", names[0])
    tiny_model("bert", seed=1).bert.save_pretrained(tmp_path / "c")
    tiny_tokenizer().save_pretrained(tmp_path / "c")
    assert SentenceSimilarity(str(tmp_path / "c"), 0.9).describe()["encoder"] != names[0]
    # A Hub name is sufficient, and nothing is loaded for it.
    assert SentenceSimilarity("owner/other", 0.9).describe()["encoder"] == "owner/other"


@pytest.mark.parametrize("name", sorted(set(RECIPES) - {"a2t-mlm"}))  # this one needs a model
def test_recipes_print_and_hash(name):
    recipe = get_recipe(name)
    assert re.fullmatch("[0-9a-f]{64}", recipe.hash)
    assert recipe.hash == get_recipe(name).hash and recipe.hash[:12] in str(recipe)
    changes = [
        {"budget": 17},
        {"max_length": 64},
        {"skip_labels": ("neutral",)},
        {"constraints": ()},
    ]
    changes += [{"skip_columns": ("premise",)}]
    hashes = {
        get_recipe(name, **change).hash for change in changes if change != {"constraints": ()}
    }
    assert recipe.hash not in hashes and len(hashes) == 4


def test_the_tables_and_the_encoder_are_part_of_a_recipe():
    plain = get_recipe("synonym", synonyms=SYNONYMS)
    assert plain.hash == get_recipe("synonym", synonyms=dict(reversed(SYNONYMS.items()))).hash
    assert plain.hash != get_recipe("synonym", synonyms={**SYNONYMS, "x": ["y"]}).hash
    with_encoder = get_recipe("synonym", synonyms=SYNONYMS, encoder="some/encoder")
    assert "no sentence encoder" in plain.name and "no sentence encoder" not in with_encoder.name
    assert plain.hash != with_encoder.hash
    assert get_recipe("antonym", antonyms=ANTONYMS).key == "antonym"


def test_the_a2t_recipe_keeps_to_its_bound_of_words():
    recipe = get_recipe("a2t", synonyms=SYNONYMS, ranking="deletion")
    report = Attack(recipe, hashed).run(made_rows(60, seed=3, lengths=(20, 40)))
    changed = [row["words_changed"] for row in report.rows["a2t"] if row["outcome"] == "succeeded"]
    assert changed and max(changed) <= 7
