"""Bad input is refused in one clear line or counted; it never makes a wrong rate."""

import math

import numpy as np
import pytest
from attack_helpers import ANTONYMS, SYNONYMS, hashed, made_rows
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.attack import Attack, CanonicalizedModel, TransformersModel, get_recipe
from hf_bat.canonicalize import Canonicalizer
from hf_bat.certificate.smoothing import SmoothedClassifier
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
def test_odd_texts_are_counted_every_one(name):
    texts = [t for row in ODD[:5] for t in (row["premise"], row["hypothesis"])]
    model = TransformersModel(tiny_model("bert"), tiny_tokenizer(texts))
    summary = Attack(name, model, synonyms=SYNONYMS, antonyms=ANTONYMS).run(ODD)[name]
    assert summary["rows"] == len(ODD) == summary["attempted"] + summary["skipped"]
    assert summary["skipped_reasons"]["empty text"] == 2
    assert summary["skipped_reasons"]["no label"] == 1
    assert summary["skipped_reasons"]["broken text"] == 1


def test_nothing_to_take_a_rate_of_is_none():
    summary = Attack("antonym", hashed).run(ODD[:2])["antonym"]
    assert summary["attempted"] == 0
    for rate in ("asr", "asr_confident", "attackable", "asr_attackable", "keep_rate", "accuracy"):
        assert summary[rate] is None


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda pairs: [[math.nan, 0.5, 0.5] for _ in pairs], "NaN or infinity for the input"),
        (lambda pairs: [[2.0, -3.0, 0.5] for _ in pairs], "apply a softmax"),
        (lambda pairs: [[0.3, 0.3, 0.3] for _ in pairs], "apply a softmax"),
        (lambda pairs: [0.5 for _ in pairs], "shape"),
        (lambda pairs: [[0.2, 0.3, 0.5]], "shape"),
        (lambda pairs: [["yes", "no", "?"] for _ in pairs], "function failed"),
        (lambda pairs: [[0.5, 0.5] for _ in pairs], "label 2, and the model gives 2"),
    ],
)
def test_a_functions_bad_answers_are_refused(function, message):
    with pytest.raises(HfBatError, match=message) as caught:
        Attack("antonym", function).run(ROWS)
    assert "\n" not in str(caught.value)


def test_a_models_nan_is_refused():
    import torch

    model = tiny_model("bert")
    with torch.no_grad():
        model.classifier.weight.fill_(math.nan)
    with pytest.raises(HfBatError, match="NaN"):
        Attack("antonym", model, tiny_tokenizer()).run(ROWS)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"label": 3}, "label 3 in row 1 is out of range"),
        ({"label": "maybe"}, "unknown label 'maybe' in row 1"),
        ({"idx": 0}, "idx 0 stands more than once"),
    ],
)
def test_bad_rows_are_refused(change, message):
    with pytest.raises(HfBatError, match=message):
        Attack("antonym", hashed).run([ROWS[0], {**ROWS[1], **change}])


@pytest.mark.parametrize(
    "label, message",
    [
        ("yes", "unknown label 'yes' in row 0"),
        (0.5, "label 0.5 in row 0"),
        (-3, "label -3 in row 0"),
        (math.inf, "label inf in row 0"),
        ([0], "label .0. in row 0"),
        ("--1", "unknown label '--1' in row 0"),
        ("\u00b2", "unknown label '\u00b2' in row 0"),
    ],
)
@pytest.mark.parametrize("reader", ["attack", "contrast"])
def test_what_is_no_label_is_one_line_where_no_label_has_a_name(reader, label, message):
    rows = [{"text": "A hot day.", "label": label, "idx": 0, "original_idx": None}]
    task = user_task(["text"])
    with pytest.raises(HfBatError, match=message) as caught:
        if reader == "attack":
            Attack("antonym", hashed, task=task).run(rows)
        else:
            contrast_model(hashed, rows, task)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [["2", "0", "1"], [], ["no", "maybe", "yes"]])
def test_labels_in_digits_are_read_alike_by_attack_and_contrast(names):
    """As a CSV file with an empty cell has them; as names where they are names."""
    texts = {"original_idx": None, "text": "A hot day."}
    rows = [{**texts, "idx": n, "label": str(n)} for n in range(3)]
    task = user_task(["text"], names)
    expected = [names.index(str(n)) if "0" in names else n for n in range(3)]
    attacked = Attack("antonym", hashed, task=task).run(rows).rows["antonym"]
    assert [row["label"] for row in attacked] == expected
    assert [row["label"] for row in contrast_model(hashed, rows, task).row_results] == expected


def test_the_case_of_a_label_that_tells_two_apart_is_minded_by_attack_and_contrast():
    texts = {"original_idx": None, "text": "A hot day."}
    rows = [{**texts, "idx": n, "label": name} for n, name in enumerate(["US", "us", "OTHER"])]
    task = user_task(["text"], ["us", "US", "other"])
    attacked = Attack("antonym", hashed, task=task).run(rows).rows["antonym"]
    assert [row["label"] for row in attacked] == [1, 0, 2]
    assert [row["label"] for row in contrast_model(hashed, rows, task).row_results] == [1, 0, 2]


@pytest.mark.parametrize("label", [None, "", -1, "-1", -100, -100.0, "-100", "-", math.nan])
def test_a_missing_label_is_counted_where_no_label_has_a_name(label):
    texts = {"idx": 0, "original_idx": None, "text": "A hot day."}
    rows = [{**texts, "label": "1"}, {**texts, "idx": 1, "label": label}]
    task = user_task(["text"])
    report = Attack("antonym", hashed, task=task).run(rows)
    assert report["antonym"]["skipped_reasons"]["no label"] == 1
    assert report.rows["antonym"][0]["label"] == 1
    assert contrast_model(hashed, rows, task).skipped == {"no label": 1}


def test_labels_go_by_name_where_the_model_has_names():
    model = tiny_model("bert")
    names = ["contradiction", "entailment", "neutral"]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    found = Attack("antonym", model, tiny_tokenizer()).run(ROWS).rows["antonym"]
    for row, ours in zip(ROWS, found, strict=True):
        assert ours["label_name"] == ("entailment", "neutral", "contradiction")[row["label"]]
        assert ours["label"] == names.index(ours["label_name"])
    assert all(row["outcome"] == "skipped" for row in found if row["label_name"] == "neutral")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"recipe": "antonyms"}, "did you mean 'antonym'"),
        ({"ranking": "best"}, "takes no ranking"),
        ({"colour": 1}, "not an option of a recipe"),
        ({"skip_columns": ["premiss"]}, "no column 'premiss'"),
        ({"skip_labels": ["nay"]}, "no label 'nay'"),
        ({"antonyms": "absent.json"}, "absent.json"),
        ({"budget": 0}, "budget must be at least 1"),
        ({"goal": "win"}, "unknown goal 'win'"),
        ({"search": "deep"}, "unknown search 'deep'"),
        ({"part_of_speech": "spacy"}, "unknown part-of-speech source"),
        ({"device": "cpu"}, "device is for transformers models"),
        ({"model": 3}, "not int"),
        ({"recipe": "a2t"}, "the gradient ranking needs a transformers model"),
        ({"recipe": "toxicity"}, "single sentences"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, message):
    arguments = {"recipe": "antonym", "model": hashed, **options}
    with pytest.raises(HfBatError, match=message) as caught:
        Attack(**arguments).run([{**r, "label": int(hashed([(r["premise"], r["hypothesis"])]).argmax())}
                                 for r in made_rows(5)])  # fmt: skip
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"max_length": 8}, {"device": "cpu"}, {"dtype": "bfloat16"}])
@pytest.mark.parametrize("wrapped", [False, True])
def test_options_of_a_model_that_is_set_up_are_refused_in_one_line(options, wrapped):
    model = TransformersModel(tiny_model("bert"), tiny_tokenizer(), max_length=16)
    if wrapped:
        model = CanonicalizedModel(model, Canonicalizer({"auto": ["car"]}))
        model = SmoothedClassifier(model, {"hot": ["warm"]}, samples=2)
    message = f"^{next(iter(options))} is for a model that is not set up yet"
    with pytest.raises(HfBatError, match=message) as caught:
        Attack("antonym", model, **options)
    assert "\n" not in str(caught.value)
    assert Attack("antonym", model, max_length=16).model is model  # its own


def test_missing_tagger_data_is_said(monkeypatch):
    import nltk.data

    from hf_bat.attack import constraints

    constraints._tagger.cache_clear()
    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(HfBatError, match="averaged_perceptron_tagger_eng"):
        get_recipe("antonym", part_of_speech="nltk")
    constraints._tagger.cache_clear()


def test_no_rows_and_no_samples_are_refused():
    with pytest.raises(HfBatError, match="no rows"):
        Attack("antonym", hashed).run([])
    with pytest.raises(HfBatError, match="max_samples"):
        Attack("antonym", hashed).run(ROWS, max_samples=0)


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
