"""Unusual input is counted and read consistently and never results in a wrong rate."""

import math

import numpy as np
import pytest
from attack_helpers import ANTONYMS, SYNONYMS, hashed, made_rows
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.attack import Attack, TransformersModel, get_recipe
from hf_bat.errors import HfBatError
from hf_bat.evaluation.contrast import contrast_model
from hf_bat.tasks import user_task

ROWS = made_rows(30, seed=21)
ODD = [
    {"premise": "", "hypothesis": "A dog.", "label": 0},
    {"premise": "\t\n", "hypothesis": "A dog.", "label": 0},
    {"premise": "dog", "hypothesis": "big", "label": 0},
    {"premise": "🐕", "hypothesis": "🐈🐈 ☃.", "label": 0},
    {"premise": "Ein großer Hund schläft.", "hypothesis": "狗在睡觉。", "label": 0},
    {"premise": "A\x00 \u202edog\ud800.", "hypothesis": "'' -- ...", "label": 0},
    {"premise": "big " * 3000, "hypothesis": "dog", "label": 0},
    {"premise": "A dog.", "hypothesis": "A dog.", "label": -1},
]


@pytest.mark.parametrize("name", ["antonym", "synonym", "negation", "a2t"])
def test_every_odd_text_is_counted(name):
    texts = [t for row in ODD[:5] for t in (row["premise"], row["hypothesis"])]
    model = TransformersModel(tiny_model("bert"), tiny_tokenizer(texts))
    summary = Attack(name, model, synonyms=SYNONYMS, antonyms=ANTONYMS).run(ODD)[name]
    assert summary["rows"] == len(ODD) == summary["attempted"] + summary["skipped"]
    assert summary["skipped_reasons"]["empty text"] == 2
    assert summary["skipped_reasons"]["no label"] == 1
    assert summary["skipped_reasons"]["broken text"] == 1


def test_a_rate_out_of_nothing_is_none():
    summary = Attack("antonym", hashed).run(ODD[:2])["antonym"]
    assert summary["attempted"] == 0
    for rate in ("asr", "asr_confident", "attackable", "asr_attackable", "keep_rate", "accuracy"):
        assert summary[rate] is None


@pytest.mark.parametrize("names", [["2", "0", "1"], [], ["no", "maybe", "yes"]])
def test_labels_in_digits_are_the_same_for_attack_and_contrast(names):
    """Labels as in a CSV file with an empty cell, or as names."""
    texts = {"original_idx": None, "text": "A hot day."}
    rows = [{**texts, "idx": n, "label": str(n)} for n in range(3)]
    task = user_task(["text"], names)
    expected = [names.index(str(n)) if "0" in names else n for n in range(3)]
    attacked = Attack("antonym", hashed, task=task).run(rows).rows["antonym"]
    assert [row["label"] for row in attacked] == expected
    assert [row["label"] for row in contrast_model(hashed, rows, task).row_results] == expected


def test_labels_that_differ_only_in_case_are_two_labels():
    texts = {"original_idx": None, "text": "A hot day."}
    rows = [{**texts, "idx": n, "label": name} for n, name in enumerate(["US", "us", "OTHER"])]
    task = user_task(["text"], ["us", "US", "other"])
    attacked = Attack("antonym", hashed, task=task).run(rows).rows["antonym"]
    assert [row["label"] for row in attacked] == [1, 0, 2]
    assert [row["label"] for row in contrast_model(hashed, rows, task).row_results] == [1, 0, 2]


@pytest.mark.parametrize("label", [None, "", -100, -100.0, "-100", "-", math.nan])
def test_a_missing_label_is_counted_if_no_label_has_a_name(label):
    texts = {"idx": 0, "original_idx": None, "text": "A hot day."}
    rows = [{**texts, "label": "1"}, {**texts, "idx": 1, "label": label}]
    task = user_task(["text"])
    report = Attack("antonym", hashed, task=task).run(rows)
    assert report["antonym"]["skipped_reasons"]["no label"] == 1
    assert report.rows["antonym"][0]["label"] == 1
    assert contrast_model(hashed, rows, task).skipped == {"no label": 1}


@pytest.mark.parametrize("others", [[1], [0, 1]])
def test_minus_one_may_be_a_class_of_a_function_without_label_names(others):
    task = user_task(["text"], [])
    rows = [{"text": "A big dog.", "label": label} for label in [*others, -1]]
    with pytest.raises(HfBatError, match="label -1 in row .* may be a class or mean no label"):
        Attack("synonym", hashed, task=task).run(rows)


def test_labels_are_matched_by_name_if_the_model_has_names():
    model = tiny_model("bert")
    names = ["contradiction", "entailment", "neutral"]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    found = Attack("antonym", model, tiny_tokenizer()).run(ROWS).rows["antonym"]
    for row, ours in zip(ROWS, found, strict=True):
        assert ours["label_name"] == ("entailment", "neutral", "contradiction")[row["label"]]
        assert ours["label"] == names.index(ours["label_name"])
    assert all(row["outcome"] == "skipped" for row in found if row["label_name"] == "neutral")


def test_a_model_keeps_its_own_maximum_length():
    model = TransformersModel(tiny_model("bert"), tiny_tokenizer(), max_length=16)
    assert Attack("antonym", model, max_length=16).model is model


def test_missing_tagger_data_is_an_error_that_names_it(monkeypatch):
    import nltk.data

    from hf_bat.perturbations.verbs import load_nltk_tagger

    load_nltk_tagger.cache_clear()
    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(HfBatError, match="averaged_perceptron_tagger_eng"):
        get_recipe("antonym", part_of_speech="nltk")
    load_nltk_tagger.cache_clear()


def test_a_scikit_learn_pipeline_can_be_attacked():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = ["a hot day", "a warm day", "a cold night", "a cool night"] * 5
    pipeline = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, [1, 1, 0, 0] * 5)
    task = user_task(["text"], ["cold", "hot"])
    rows = [
        {"text": text, "label": label} for text, label in zip(texts[:4], [1, 1, 0, 0], strict=True)
    ]
    report = Attack(
        "antonym", pipeline.predict_proba, task=task, antonyms={"day": ["night"], "cool": ["warm"]}
    ).run(rows)
    assert report["antonym"]["attempted"] == 4 and report["antonym"]["accuracy"] == 1.0
    swapped = "a hot night"
    stays = bool(pipeline.predict([swapped])[0] == 1)
    assert (report.rows["antonym"][0]["outcome"] == "succeeded") == stays
    assert np.isclose(
        report.rows["antonym"][0]["gold_before"], pipeline.predict_proba(["a hot day"])[0, 1]
    )
