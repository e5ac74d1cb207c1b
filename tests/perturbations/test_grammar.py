"""Replacements are fitted to the sentence: the number and form of the word, and the article before it."""

import random
from collections import Counter

import pytest

from hf_bat.attack import Attack, get_recipe
from hf_bat.attack.constraints import State
from hf_bat.counterfactual.sentence import Sentence
from hf_bat.perturbations import (
    AntonymPerturbation,
    NumberPerturbation,
    SisterPerturbation,
    build_perturbations,
)
from hf_bat.perturbations.grammar import begins_with_vowel, fit_form
from hf_bat.tasks import Task

WITH_AN = (
    "apple", "hour", "honest", "heir", "old", "unimportant", "unidentified", "unimaginable",
    "uninteresting", "under", "umbrella", "usher", "urban", "utter", "8", "8th",
    "11", "18th", "80", "8-year-old", "11,000", "evening",
)  # fmt: skip
WITH_A = (
    "dog", "unicorn", "uniform", "unique", "unidirectional", "use", "useful", "usual",
    "utensil", "utopia", "European", "ewe", "one", "one-way", "once", "ukulele",
    "uranium", "1", "10", "7th", "110", "1,100", "181", "house",
    "history", "year",
)  # fmt: skip


@pytest.mark.parametrize("word", WITH_AN)
def test_words_with_the_sound_of_a_vowel_take_an(word):
    assert begins_with_vowel(word) and begins_with_vowel(word.upper())
    assert Sentence("It is a big one.").replace(3, word) == f"It is an {word} one."


@pytest.mark.parametrize("word", WITH_A)
def test_other_words_take_a(word):
    assert not begins_with_vowel(word)
    assert Sentence("It is an old one.").replace(3, word) == f"It is a {word} one."


@pytest.mark.parametrize(
    ("word", "replacement", "fitted"),
    [
        ("women", "man", "men"),
        ("sisters", "brother", "brothers"),
        ("brothers", "sister", "sisters"),
        ("wins", "lose", "loses"),
        ("sitting", "stand", "standing"),
        ("opened", "close", "closed"),
        ("took", "refuse", "refused"),
        ("ridden", "walk", "walked"),
        ("taller", "short", "shorter"),
        # The word already has the right form, or its form is ambiguous.
        ("wins", "losings", "losings"),
        ("left", "right", "right"),
        ("walked", "ride", "ride"),
        ("colors", "colorlessness", "colorlessness"),
        ("kinder", "erwachsener", "erwachsener"),
    ],
)
def test_a_base_form_takes_the_inflection_of_the_word_that_it_replaces(word, replacement, fitted):
    assert fit_form(word, replacement) == fitted
    plain = AntonymPerturbation({word: (replacement,)}, fit_grammar=False)
    assert plain.replacements(word) == (replacement,)
    assert AntonymPerturbation({word: (replacement,)}).replacements(word.upper()) == (
        fitted.upper(),
    )


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("A young man.", "An old man."),
        ("He saw an  old,\tman", "He saw a  young,\tman"),
        ('"A young" man', '"An old" man'),
        ("A YOUNG MAN", "AN OLD MAN"),
        ("Vitamin A, young man", "Vitamin A, old man"),
        ("the young man", "the old man"),
        ("Young man", "Old man"),
    ],
)
def test_draws_and_candidates_change_the_article_with_the_word(text, edited):
    swap = AntonymPerturbation({"young": ("old",), "old": ("young",)})
    (edit,) = swap.candidates((text,))
    assert edit.texts == swap.sample((text,), random.Random(0)) == (edited,)
    # The article before the word is not a separate edit.
    assert edit.original.lower() in ("young", "old")
    state = State.of((text,)).after(edit)
    assert state.words_edited == 1 and state.find((0, edit.position)) is None
    assert swap.edits_at((text,), 0, edit.position, (text,), edit.position) == [edit]
    (plain,) = AntonymPerturbation(swap.table, fit_grammar=False).candidates((text,))
    assert [plain.position, plain.replacement] == [edit.position, edit.replacement]
    unfitted = text.split()
    unfitted[edit.position] = edited.split()[edit.position]
    assert plain.texts[0].split() == unfitted


def test_words_of_other_languages_leave_the_article():
    """In Portuguese, "a" is a different article: "a noite", "a ilha"."""
    swap = AntonymPerturbation({"casa": ("ilha",)}, exclude_stopwords=False)
    assert [edit.texts[0] for edit in swap.candidates(("Vi a casa.",))] == ["Vi a ilha."]


def test_edits_that_are_stacked_fit_the_article_each_time():
    swap = AntonymPerturbation({"young": ("old",), "old": ("new",), "man": ("woman",)})
    (first, *_) = swap.candidates(("A young man.",))
    (second,) = swap.edits_at(first.texts, 0, 1, ("A young man.",), 1)
    assert (first.texts, second.texts) == (("An old man.",), ("A new man.",))


def test_an_attack_asks_about_fitted_texts_and_counts_one_edit():
    asked = []

    def answer(texts):
        asked.extend(texts)
        return [[0.9, 0.1] for _ in texts]

    answer.labels = ["0", "1"]
    task = Task("mine", ("text",), ("0", "1"))
    for fit, expected in ((True, "An old man."), (False, "A old man.")):
        asked.clear()
        recipe = get_recipe("antonym", antonyms={"young": ["old"]}, fit_grammar=fit)
        attack = Attack(recipe, answer, task=task, progress=False)
        result = attack.attack_texts("A young man.", label="0")
        assert expected in {str(text[0] if isinstance(text, tuple) else text) for text in asked}
        assert result["edits"] == [
            {"sentence": 0, "position": 1, "original": "young", "replacement": "old"}
        ]
        assert result["words_changed"] == 1 + fit


def count_wrong_articles(rows, perturbation, used):
    """Return the share of edits with an article that the texts do not use before the new word."""
    wrong = total = known = 0
    for row in rows:
        for edit in perturbation.candidates((row["premise"], row["hypothesis"])):
            total += 1
            words = edit.texts[edit.sentence].lower().split()
            article, word = words[edit.position - 1], words[edit.position].strip('.,!?"')
            if edit.position and article in ("a", "an"):
                other = used["a" if article == "an" else "an", word]
                known += other + used[article, word] > 1
                wrong += other > 1 and other > 3 * used[article, word]
    return wrong / total, known / total


@pytest.mark.parametrize("kind", ["antonym", "sister", "number"])
def test_few_edits_of_snli_have_a_wrong_article(shared_rows, kind):
    """The texts show which article each word needs."""
    every = shared_rows("snli/validation.jsonl.gz", 10_000)
    used = Counter(
        (first, second.strip('.,!?"'))
        for row in every
        for text in (row["premise"], row["hypothesis"])
        for first, second in zip(text.lower().split(), text.lower().split()[1:], strict=False)
    )
    before, after = (
        {
            "antonym": build_perturbations(fit_grammar=fit)[1],
            "sister": SisterPerturbation(fit_grammar=fit),
            "number": NumberPerturbation(fit_grammar=fit),
        }[kind]
        for fit in (False, True)
    )
    wrong, known = count_wrong_articles(every[:2000], after, used)
    assert wrong < 0.001
    if kind != "number":  # which rarely follow an article
        share = {"antonym": 0.030, "sister": 0.029}[kind]
        assert known > 0.1
        assert count_wrong_articles(every[:2000], before, used)[0] == pytest.approx(share, abs=5e-4)
