"""Toxicity: swaps by part of speech, removal of all toxic words, and custom lists."""

import random

import pytest

from hf_bat.perturbations import ToxicityPerturbation


def texts_of(perturbation, text):
    return [edit.texts[0] for edit in perturbation.candidates((text,))]


def test_swaps_are_of_the_same_part_of_speech_and_keep_case_and_marks():
    toxic = ToxicityPerturbation(["idiot", "stupid", "stupidly", "fool"])
    assert texts_of(toxic, 'The  "Editor," clearly tall.') == [
        'The  "Idiot," clearly tall.',
        'The  "Fool," clearly tall.',
        'The  "Editor," stupidly tall.',
        'The  "Editor," clearly stupid.',
    ]


def test_toxic_sentence_only_loses_its_toxic_words():
    toxic = ToxicityPerturbation()
    edits = toxic.candidates(("You IDIOTS wrote a stupid, dumb page.",))
    assert [edit.texts for edit in edits] == [("You wrote a, page.",)]
    assert (edits[0].position, edits[0].original, edits[0].replacement) == (1, "IDIOTS", "")


@pytest.mark.parametrize("text", ["", " ", "Idiot!", "stupid idiot", "🙂", "the of and", "xqzzt"])
def test_nothing_to_perturb(text):
    assert texts_of(ToxicityPerturbation(), text) == []
    assert ToxicityPerturbation().sample((text,), random.Random(0)) is None


def test_samples_are_candidates():
    toxic = ToxicityPerturbation()
    rng = random.Random(3)
    drawn = {toxic.sample(("A good editor writes pages.",), rng) for _ in range(400)}
    assert drawn == {edit.texts for edit in toxic.candidates(("A good editor writes pages.",))}


def test_users_file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# mild\nNumpty\n\ntwit  # British\n", encoding="utf-8")
    toxic = ToxicityPerturbation(path)
    assert toxic.words == ("numpty", "twit")
    assert texts_of(toxic, "The twits left.") == ["The left."]
    assert texts_of(toxic, "The editor.") == ["The numpty.", "The twit."]
    assert texts_of(ToxicityPerturbation(path, max_swaps=1), "The editor.") == ["The numpty."]
    # A hash, because the list must not appear in reports.
    assert isinstance(toxic.describe()["words"], str)
