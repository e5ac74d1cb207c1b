"""Models from other libraries: scikit-learn, pipelines, exported models, decoders with LoRA, --model-from."""

import hashlib
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from attack_helpers import ANTONYMS, SYNONYMS, hashed, made_rows, result
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat import HfBatError, certify
from hf_bat.attack import Attack, CallableModel, SentenceEncoder, TransformersModel
from hf_bat.attack.models import ExportedModel, as_classifier
from hf_bat.attack.similarity import as_encoder
from hf_bat.cli import main
from hf_bat.evaluation.contrast import contrast_model
from hf_bat.tasks import user_task

ROWS = made_rows(30, seed=9)
TEXTS = [text for row in ROWS for text in (row["premise"], row["hypothesis"])]


def attack(model, tokenizer=None, recipe="antonym", task="snli", rows=ROWS, **options):
    made = Attack(
        recipe,
        model,
        tokenizer,
        task,
        antonyms=ANTONYMS,
        synonyms=SYNONYMS,
        progress=False,
        **options,
    )
    return made.run(rows)


# ---- scikit-learn -----------------------------------------------------------------------------


PREMISES = user_task(["premise"], ("entailment", "neutral", "contradiction"))


def fit(labels):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(CountVectorizer(), LogisticRegression())
    return pipeline.fit([row["premise"] for row in ROWS], labels)


def test_a_scikit_learn_pipeline_is_read_by_its_classes():
    names = ("zebra", "apple", "mango")  # classes are in alphabetical order, the task's are not
    task = user_task(["premise"], names)
    model = fit([names[row["label"]] for row in ROWS])
    assert list(model.classes_) == sorted(names)
    accuracy = float(np.mean([
        model.predict([row["premise"]])[0] == names[row["label"]] for row in ROWS
    ]))  # fmt: skip
    report = attack(model, task=task)
    assert report["antonym"]["accuracy"] == pytest.approx(accuracy) and accuracy > 0.5
    # With numbers as classes, it is the same model.
    numbered = attack(fit([row["label"] for row in ROWS]), task=task)
    for key in ("asr", "accuracy", "keep_rate"):
        assert numbered["antonym"][key] == pytest.approx(report["antonym"][key])
    rows = [{**row, "original_idx": None} for row in ROWS]
    assert contrast_model(model, rows, task).accuracy_originals.rate == pytest.approx(accuracy)


def test_classes_that_are_floats_number_the_labels():
    expected = attack(fit([row["label"] for row in ROWS]), task=PREMISES)
    floats = attack(fit([float(row["label"]) for row in ROWS]), task=PREMISES)
    assert result(floats) == result(expected)


def test_refusals_of_scikit_learn_models_name_a_cure_for_them():
    from sklearn.svm import LinearSVC

    two = fit([PREMISES.label_names[row["label"] % 2] for row in ROWS])
    with pytest.raises(HfBatError, match="fit the model") as caught:
        attack(two, task=PREMISES)
    assert "num_labels" not in str(caught.value)
    other = fit([("red", "green", "blue")[row["label"]] for row in ROWS])
    with pytest.raises(HfBatError, match="labels=") as caught:
        attack(other, task=PREMISES)
    assert "id2label" not in str(caught.value)
    with pytest.raises(HfBatError, match="CalibratedClassifierCV"):
        attack(LinearSVC(), task=PREMISES)


# ---- pipelines and exported models ------------------------------------------------------------


@pytest.fixture(scope="module")
def bert():
    model = tiny_model("bert").eval()
    model.config.id2label = {0: "contradiction", 1: "entailment", 2: "neutral"}
    model.config.label2id = {name: i for i, name in model.config.id2label.items()}
    return model, tiny_tokenizer(TEXTS)


class Exported:
    """A model with the interface of optimum's `ORTModelForSequenceClassification` and no PyTorch weights."""

    def __init__(self, model):
        self._model = [model]
        self.config = model.config

    def __call__(self, input_ids, attention_mask, token_type_ids=None):
        # The graph of an exported model runs on arrays.
        arrays = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        logits = self._model[0](**inputs, token_type_ids=token_type_ids).logits
        return SimpleNamespace(logits=logits.detach().numpy())


@pytest.mark.parametrize("kind", ["pipeline", "exported", "pipeline function"])
@pytest.mark.parametrize("recipe", ["antonym", "synonym"])
def test_other_forms_of_a_model_give_its_report(bert, kind, recipe):
    from transformers import pipeline

    model, tokenizer = bert
    expected = attack(model, tokenizer, recipe)
    made = pipeline("text-classification", model=model, tokenizer=tokenizer)
    if kind == "pipeline":
        report = attack(made, recipe=recipe)
    elif kind == "exported":
        report = attack(Exported(model), tokenizer, recipe)
    else:

        def ask(inputs):
            texts = [{"text": first, "text_pair": second} for first, second in inputs]
            return [made(text, top_k=None) for text in texts]

        report = attack(CallableModel(ask), recipe=recipe)
    for key in ("rows", "asr", "accuracy", "keep_rate", "queries"):
        assert report[recipe][key] == expected[recipe][key]
    if kind != "pipeline function":  # with the task's order of labels
        after = [
            (row["predicted"], row["gold_before"]) for row in expected.rows[recipe]
            if row.get("gold_before") is not None
        ]  # fmt: skip
        assert after == [
            (row["predicted"], pytest.approx(row["gold_before"], abs=1e-6))
            for row in report.rows[recipe] if row.get("gold_before") is not None
        ]  # fmt: skip


def test_the_settings_of_a_pipeline_are_used_or_refused(bert):
    from transformers import TextClassificationPipeline, pipeline

    model, tokenizer = bert
    parts = {"model": model, "tokenizer": tokenizer}
    made = pipeline("text-classification", **parts, max_length=8, truncation=True, top_k=None)
    wrapped = as_classifier(made)
    inputs = [(row["premise"], row["hypothesis"]) for row in ROWS]
    with wrapped.session():
        answers = wrapped.probabilities(wrapped.keys(inputs))
    names = list(model.config.id2label.values())
    scores = [made({"text": first, "text_pair": second}) for first, second in inputs]
    expected = [[next(s["score"] for s in row if s["label"] == n) for n in names] for row in scores]
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    assert as_classifier(made, max_length=6).max_length == 6
    for options in (
        {"function_to_apply": "sigmoid"},
        {"truncation": "only_first", "max_length": 8},
        {"add_special_tokens": False},
    ):
        with pytest.raises(HfBatError, match=next(iter(options))):
            as_classifier(pipeline("text-classification", **parts, **options))

    class Lowercase(TextClassificationPipeline):
        def preprocess(self, inputs, **options):
            return super().preprocess({k: v.lower() for k, v in inputs.items()}, **options)

    with pytest.raises(HfBatError, match="Lowercase"):
        as_classifier(Lowercase(**parts))


def test_a_pipeline_of_the_best_label_alone_is_refused(bert):
    from transformers import pipeline

    made = pipeline("text-classification", model=bert[0], tokenizer=bert[1])
    with pytest.raises(HfBatError, match="all labels"):
        attack(lambda inputs: [made({"text": a, "text_pair": b}) for a, b in inputs])


def test_an_exported_model_has_no_gradient_and_is_told_by_its_file(bert, tmp_path):
    model, tokenizer = bert
    with pytest.raises(HfBatError, match="gradient"):
        attack(Exported(model), tokenizer, "a2t")
    with pytest.raises(HfBatError, match="dtype"):
        as_classifier(Exported(model), tokenizer, dtype="bfloat16")
    identities = []
    for content in (b"first", b"second"):
        exported = Exported(model)
        exported.model_path = tmp_path / "model.onnx"
        exported.model_path.write_bytes(content)
        identities.append(ExportedModel(exported, tokenizer).identity)
    assert identities[0] != identities[1]


@pytest.mark.parametrize("backend", ["inductor", "eager"])
def test_a_compiled_model_gives_the_report_of_the_model(bert, backend):
    model, tokenizer = bert
    compiled = torch.compile(model, backend=backend)
    assert result(attack(compiled, tokenizer)) == result(attack(model, tokenizer))
    identities = {TransformersModel(each, tokenizer).identity for each in (model, compiled)}
    assert len(identities) == 1


# ---- decoders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_decoder_with_lora_answers_as_without_padding(side):
    from peft import LoraConfig, TaskType, get_peft_model

    base = tiny_model("qwen3")
    config = LoraConfig(TaskType.SEQ_CLS, r=4, target_modules=["q_proj", "v_proj"])
    model = get_peft_model(base, config).eval()
    with torch.no_grad():  # LoRA weights start at zero, which would not change the predictions
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(len(name)))
    tokenizer = tiny_tokenizer(TEXTS, padding_side=side)
    wrapped = TransformersModel(model, tokenizer)
    inputs = [(row["premise"], row["hypothesis"]) for row in ROWS]
    with wrapped.session():
        together = wrapped.probabilities(wrapped.keys(inputs))
        alone = np.concatenate([wrapped.probabilities(wrapped.keys([pair])) for pair in inputs])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    with model.disable_adapter(), wrapped.session():
        assert np.abs(wrapped.probabilities(wrapped.keys(inputs)) - together).max() > 1e-3
    report = attack(model, tokenizer, batch_size=7)
    assert report["antonym"]["rows"] == len(ROWS)
    one_by_one = attack(model, tokenizer, batch_size=1)
    assert report["antonym"]["asr"] == one_by_one["antonym"]["asr"]
    gradients = attack(model, tokenizer, "a2t")
    assert gradients["a2t"]["rows"] == len(ROWS)


# ---- the command line -------------------------------------------------------------------------

MODULE = """
from attack_helpers import hashed
from hf_bat.attack import CallableModel

NAMES = ("entailment", "neutral", "contradiction")
async def ask(inputs):
    return NAMES[hashed(inputs)[0].argmax()]
class Holder:
    predict = staticmethod(hashed)
remote = CallableModel(hashed, "remote", concurrency=3, cache="answers.jsonl", inputs_per_call=4)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    # Each test has a separate module.
    monkeypatch.delitem(sys.modules, "victim_of_test", raising=False)
    (tmp_path / "victim_of_test.py").write_text(MODULE)
    # The last row is an edit of the first one.
    lines = [
        json.dumps({**row, "original_idx": ROWS[0]["idx"] if row is ROWS[-1] else None})
        for row in ROWS
    ]
    (tmp_path / "dev.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "words.json").write_text(json.dumps({"hot": ["warm"], "warm": ["hot"]}))
    return tmp_path


def run(command, model, *options):
    words = [command, "--model-from", model, "--task", "snli", "--data", "dev.jsonl", *options]
    return main([*words, "--json", "out.json"])


@pytest.mark.parametrize("name", ["victim_of_test:Holder.predict", "victim_of_test.py:remote"])
def test_attack_takes_a_model_from_a_module(module, name):
    assert run("attack", name, "--attacks", "antonym") == 0
    report = json.loads((module / "out.json").read_text())
    expected = Attack("antonym", hashed, progress=False).run(ROWS)["antonym"]
    assert report["attacks"]["antonym"]["asr"] == expected["asr"]
    assert report["attacks"]["antonym"]["queries"] == expected["queries"]
    if name.endswith("remote"):
        assert report["model"] == "remote"
        lines = (module / "answers.jsonl").read_text().splitlines()
        assert len(lines) == report["calls"]["answered"]
    else:
        assert report["model"] == name


def test_contrast_and_certify_take_a_model_from_a_module(module):
    assert run("contrast", "victim_of_test:ask") == 0
    report = json.loads((module / "out.json").read_text())
    right = sum(
        int(hashed([(row["premise"], row["hypothesis"])])[0].argmax() == row["label"])
        for row in ROWS
    )
    shares = report["contrast"]["accuracy_originals"], report["contrast"]["accuracy_edits"]
    assert sum(share["count"] for share in shares) == right
    options = ["--synonyms", "words.json", "--samples", "32", "--max-samples", "4"]
    assert run("certify", "victim_of_test:ask", *options) == 0
    assert json.loads((module / "out.json").read_text())["certificate"]["attempted"] == 4


def test_answers_of_a_module_come_from_its_cache(module):
    assert run("attack", "victim_of_test:remote", "--attacks", "antonym") == 0
    first = json.loads((module / "out.json").read_text())
    before = (module / "answers.jsonl").read_bytes()
    again = CallableModel(
        lambda _: pytest.fail("asked"), "remote", concurrency=3, cache=module / "answers.jsonl"
    )
    report = Attack("antonym", again, progress=False).run(ROWS)
    assert result(report)[0]["antonym"]["asr"] == first["attacks"]["antonym"]["asr"]
    assert (module / "answers.jsonl").read_bytes() == before


# ---- what functions return --------------------------------------------------------------------


def add_column(inputs):
    return np.hstack([0.9 * hashed(inputs), np.full((len(inputs), 1), 0.1)])


async def add_column_later(inputs):
    return add_column(inputs)


@pytest.mark.parametrize("function", [add_column, add_column_later])
def test_as_many_probabilities_as_labels_are_needed(function):
    with pytest.raises(HfBatError, match="4 probabilities"):
        attack(function)
    with pytest.raises(HfBatError, match="2 probabilities"):
        attack(lambda inputs: [[0.5, 0.5] for _ in inputs])
    with pytest.raises(HfBatError, match="4 probabilities"):
        certify(function, ROWS, "snli", synonyms=SYNONYMS, samples=50)
    rows = [{**row, "original_idx": None} for row in ROWS]
    with pytest.raises(HfBatError, match="4 probabilities"):
        contrast_model(function, rows, "snli")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        RuntimeError("x\ny"),
        ZeroDivisionError("x"),
        AttributeError("x"),
        SystemExit("x"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"concurrency": 2}])
def test_any_error_of_a_function_is_one_line(error, options):
    def fail(_):
        raise error

    with pytest.raises(HfBatError) as caught:
        attack(CallableModel(fail, **options))
    message = str(caught.value)
    assert type(error).__name__ in message and "x" in message and "\n" not in message
    assert caught.value.__cause__ is error


def test_an_error_for_the_user_is_not_changed():
    error = HfBatError("give a key")

    def fail(_):
        raise error

    for options in ({}, {"concurrency": 2}):
        with pytest.raises(HfBatError) as caught:
            CallableModel(fail, **options).probabilities([("a", "b")])
        assert caught.value is error and error.__cause__ is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_with_gradients_are_probabilities(dtype):
    model = torch.nn.Linear(1, 3, bias=False).to(dtype)

    def ask(inputs):
        lengths = [[len(first) / 9] for first, _ in inputs]
        return model(torch.tensor(lengths, dtype=dtype)).float().softmax(dim=-1)

    inputs = [("a", "b"), ("a dog", "b")]
    whole = CallableModel(ask).probabilities(inputs)
    np.testing.assert_allclose(whole, ask(inputs).detach().numpy(), atol=1e-6)
    listed = CallableModel(lambda keys: list(ask(keys))).probabilities(inputs)
    np.testing.assert_allclose(listed, whole)


@pytest.mark.parametrize("options", [{}, {"concurrency": 2}, {"inputs_per_call": 2}])
def test_a_data_frame_is_read_by_the_names_of_its_columns(options):
    import pandas as pd

    names = ["entailment", "neutral", "contradiction"]
    inputs = [(row["premise"], row["hypothesis"]) for row in ROWS[:4]]

    def ask(keys, columns):
        frame = pd.DataFrame(hashed(keys), columns=columns)
        return frame[columns[::-1]]

    for columns in (names, ["LABEL_0", "LABEL_1", "LABEL_2"], [0, 1, 2]):
        model = CallableModel(lambda keys, c=columns: ask(keys, c), labels=names, **options)
        np.testing.assert_allclose(model.probabilities(inputs), hashed(inputs))
    plain = CallableModel(lambda keys: pd.DataFrame(hashed(keys)), labels=names, **options)
    np.testing.assert_allclose(plain.probabilities(inputs), hashed(inputs))
    other = CallableModel(lambda keys: ask(keys, [*names[:2], "other"]), labels=names, **options)
    with pytest.raises(HfBatError, match="'other'"):
        other.probabilities(inputs)


@pytest.mark.parametrize(
    ("names", "answer", "label"),
    [
        (("negative", "positive"), "LABEL_1", 1),
        (("negative", "positive"), "1", 1),
        (("negative", "positive"), "label_0.", 0),
        (("negative", "positive"), "2", None),
        (("LABEL_0", "LABEL_1"), "1", 1),
        (("1", "2", "3"), "1", 0),  # the name, not the position
        (("1", "2", "3"), "0", None),
    ],
)
def test_the_number_of_a_label_is_an_answer(names, answer, label):
    model = CallableModel(lambda inputs: [answer for _ in inputs], labels=names)
    [probabilities] = model.probabilities([("a", "b")])
    assert probabilities.tolist() == [float(i == label) for i in range(len(names))]


# ---- sentence encoders ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """Return the folder of a tiny sentence-transformers encoder that uses the first token."""
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    folder = tmp_path_factory.mktemp("encoder")
    tiny_model("bert").bert.save_pretrained(folder / "bert")
    tiny_tokenizer(TEXTS).save_pretrained(folder / "bert")
    words = Transformer(str(folder / "bert"))
    pooling = Pooling(32, pooling_mode="cls")
    SentenceTransformer(modules=[words, pooling], device="cpu").save(str(folder / "whole"))
    return folder


def test_an_encoder_of_sentence_transformers_pools_as_it_says(pooled):
    from sentence_transformers import SentenceTransformer

    strings = ["a hot day", "the big dog is sleeping in the rain", "a"]
    model = SentenceTransformer(str(pooled / "whole"), device="cpu")
    expected = model.encode(strings).astype(float)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    by_path, by_object = SentenceEncoder(pooled / "whole"), as_encoder(model)
    np.testing.assert_allclose(by_path.encode(strings), expected, atol=1e-6)
    np.testing.assert_allclose(by_object.encode(strings), expected, atol=1e-6)
    mean = SentenceEncoder(pooled / "bert").encode(strings)
    assert np.abs(mean - expected).max() > 0.01
    reports = [
        attack(hashed, recipe="synonym", encoder=encoder)["synonym"]
        for encoder in (str(pooled / "whole"), model)
    ]
    assert reports[0]["asr"] == reports[1]["asr"]
    assert reports[0]["sentence_similarity"] == pytest.approx(reports[1]["sentence_similarity"])


def hash_text(text):
    return hashlib.sha256(text.encode()).digest()[0]


def test_anything_with_encode_is_an_encoder():
    class Halves:
        name = "halves"

        def encode(self, strings):
            # Half of all pairs of strings have nothing in common.
            return [[2.0, 0.0] if hash_text(string) % 2 else [0.0, 3.0] for string in strings]

    # Shorter rows fit in the window of the recipe, which allows every edit.
    rows = made_rows(10, seed=2, lengths=(12, 20))
    near = attack(hashed, recipe="synonym", rows=rows, encoder=Halves())["synonym"]
    assert near["recipe"]["constraints"][-1]["encoder"] == "halves"
    assert near["refused_edits"]["sentence-similarity"] > 0
    far = attack(hashed, recipe="synonym", rows=rows)["synonym"]
    assert near["queries"] < far["queries"]
