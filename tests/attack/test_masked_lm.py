"""Candidates from a masked language model: complete words, never the word itself, deterministic."""

import random

import numpy as np
import pytest
import torch
from tiny_models import tiny_masked_lm, tiny_model
from training_helpers import made_rows, tokenizer_for_made_rows
from transformers import BertForMaskedLM, BertTokenizerFast

from hf_bat.attack import Attack, MaskedLMPerturbation, get_recipe
from hf_bat.cli import main

PAIR = ("A man is sleeping.", "The big dog runs fast!")


def save_masked_lm(folder, seed=0):
    """Return a folder with a tiny masked language model and a vocabulary of words, pieces and marks."""
    tiny_masked_lm(seed).save_pretrained(folder)
    tokenizer_for_made_rows().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory):
    return save_masked_lm(tmp_path_factory.mktemp("mlm"))


def make(masked_lm, **options):
    return MaskedLMPerturbation(masked_lm, device="cpu", **options)


def predicted_by_hand(folder, texts, sentence, word):
    """Return all complete words by the model's score for the position of one word."""
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    model = BertForMaskedLM.from_pretrained(folder).eval()
    masked = [t.replace(word, "[MASK]") if s == sentence else t for s, t in enumerate(texts)]
    encoded = tokenizer(*masked, return_tensors="pt")
    place = encoded["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    with torch.no_grad():
        scores = model(**encoded).logits[0, place]
    vocabulary = {number: token for token, number in tokenizer.get_vocab().items()}
    order = [vocabulary[i] for i in scores.argsort(descending=True).tolist() if i in vocabulary]
    return [token for token in order if token.isalpha() and token != word]


def test_candidates_are_the_likeliest_whole_words(masked_lm):
    slots = make(masked_lm).slots(PAIR)
    # "is", "A" and "The" are stop words.
    assert [(s.sentence, s.position, s.original) for s in slots] == [
        (0, 1, "man"), (0, 3, "sleeping"), (1, 1, "big"), (1, 2, "dog"), (1, 3, "runs"), (1, 4, "fast"),
    ]  # fmt: skip
    for slot in slots:
        wanted = predicted_by_hand(masked_lm, PAIR, slot.sentence, slot.original)[:20]
        assert list(slot.replacements) == wanted
        assert all(word.isalpha() and word != slot.original for word in slot.replacements)
    every = make(masked_lm, exclude_stopwords=False, top=3).slots(PAIR)
    assert len(every) == 9 and all(len(slot.replacements) == 3 for slot in every)


def test_edits_keep_case_and_marks_and_leave_the_rest_alone(masked_lm):
    texts = ("Dogs (big) sleep.  FAST", "3 dogs, they're well-known.")
    edits = make(masked_lm).candidates(texts)
    assert {(e.sentence, e.position, e.original) for e in edits} == {
        (0, 0, "Dogs"), (0, 2, "sleep"), (0, 3, "FAST"), (1, 1, "dogs"),
    }  # fmt: skip
    for edit in edits:
        before, after = (t[edit.sentence].split() for t in (texts, edit.texts))
        assert [a for i, a in enumerate(after) if i != edit.position] == [
            b for i, b in enumerate(before) if i != edit.position
        ]
    assert all(e.replacement.istitle() for e in edits if e.original == "Dogs")
    assert all(e.replacement.isupper() for e in edits if e.original == "FAST")
    assert all(e.texts[1].startswith(f"3 {e.replacement}, ") for e in edits if e.sentence == 1)
    plain = make(masked_lm, casing="authors").candidates(texts)
    assert all(e.replacement.islower() for e in plain)


def test_the_same_alone_together_and_again(masked_lm):
    texts = [(row["premise"], row["hypothesis"]) for row in made_rows(30)]
    together, alone = make(masked_lm), make(masked_lm)
    together.prepare(texts)
    for pair in texts:
        assert together.slots(pair) == alone.slots(pair)
    assert together.describe() == alone.describe()


def test_antonyms_are_no_candidates(masked_lm):
    [first] = [s for s in make(masked_lm).slots(PAIR) if s.original == "big"]
    barred = first.replacements[:2]
    perturbation = make(masked_lm, antonyms={"big": barred})
    [second] = [s for s in perturbation.slots(PAIR) if s.original == "big"]
    assert second.replacements[:18] == first.replacements[2:] and len(second.replacements) == 20
    assert perturbation.describe() != make(masked_lm).describe()


def test_nothing_to_replace(masked_lm):
    perturbation = make(masked_lm)
    for texts in (("", ""), ("It is the.", "3 + 4"), ("A [MASK] dog.", "It is.")):
        assert perturbation.candidates(texts) == []
        assert perturbation.sample(texts, random.Random(0)) is None
    long = ("a man " * 200, "The dog.")
    assert all(slot.position < 128 for slot in perturbation.slots(long))


def test_a_sample_is_a_draw_from_the_candidates(masked_lm):
    perturbation = make(masked_lm, top=2)
    slots = {(s.sentence, s.position): s for s in perturbation.slots(PAIR)}
    drawn = [perturbation.sample(PAIR, random.Random(seed)) for seed in range(30)]
    assert drawn == [perturbation.sample(PAIR, random.Random(seed)) for seed in range(30)]
    seen = set()
    for texts in filter(None, drawn):
        for sentence, text in enumerate(texts):
            for position, (old, new) in enumerate(
                zip(PAIR[sentence].split(), text.split(), strict=True)
            ):
                if old != new:
                    word = new.rstrip(".!")
                    assert word in slots[sentence, position].replacements
                    seen.add((sentence, position))
    assert seen == set(slots)


def test_the_attack_is_the_same_for_any_company_and_fools_the_model(masked_lm):
    model, tokenizer = tiny_model("bert", seed=3), tokenizer_for_made_rows()
    rows = made_rows(24)
    logits = [
        model.eval()(**tokenizer(r["premise"], r["hypothesis"], return_tensors="pt")).logits
        for r in rows
    ]
    rows = [{**r, "label": int(scores.argmax())} for r, scores in zip(rows, logits, strict=True)]
    recipe = get_recipe("a2t-mlm", mlm_model=masked_lm, constraints=(), budget=50)
    report = Attack(recipe, model, tokenizer, "snli").run(rows)
    found = report.rows["a2t-mlm"]
    assert report["a2t-mlm"]["succeeded"] > 5
    for row in found:
        if row["outcome"] == "succeeded":
            with torch.no_grad():
                encoded = tokenizer(*row["perturbed"], return_tensors="pt")
                assert int(model.eval()(**encoded).logits.argmax()) != row["label"]
    again = Attack(recipe, model, tokenizer, "snli", batch_size=3)
    backwards = {row["idx"]: row for row in again.run(rows[::-1]).rows["a2t-mlm"]}
    for row in found:
        other = backwards[row["idx"]]
        assert row["perturbed"] == other["perturbed"] and row["queries"] == other["queries"]
        assert np.isclose(row["gold_before"], other["gold_before"])


def test_the_models_identity_is_in_the_recipes_hash(masked_lm, tmp_path):
    one = get_recipe("a2t-mlm", mlm_model=masked_lm)
    assert one.name == "a2t-mlm (no sentence encoder)" and one.key == "a2t-mlm"
    assert one.hash == get_recipe("a2t-mlm", mlm_model=masked_lm).hash
    other = save_masked_lm(tmp_path / "other", seed=1)
    assert one.hash != get_recipe("a2t-mlm", mlm_model=other).hash


def test_the_command_line_takes_it(masked_lm, tmp_path, capsys):
    tiny_model("bert").save_pretrained(tmp_path / "model")
    tokenizer_for_made_rows().save_pretrained(tmp_path / "model")
    flags = ["attack", "--model", str(tmp_path / "model"), "--task", "snli", "--attacks", "a2t-mlm",
             "--text", *PAIR, "--device", "cpu"]  # fmt: skip
    assert main([*flags, "--mlm-model", masked_lm]) == 0
    assert "a2t-mlm: " in capsys.readouterr().out
