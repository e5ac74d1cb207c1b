"""A rows file is only resumed by the same model, which is recognized in another process."""

import os
import subprocess
import sys
import threading

import pytest
import torch
from attack_helpers import ANTONYMS, made_rows
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat import HfBatError
from hf_bat.attack import Attack, TransformersModel
from hf_bat.attack.models import as_classifier
from hf_bat.cli import main

ROWS = made_rows(12, seed=9)
TEXTS = [text for row in ROWS for text in (row["premise"], row["hypothesis"])]


def identify(model, *options):
    return as_classifier(model, *options).identity


def fit(strength):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression(C=strength))
    return pipeline.fit([row["premise"] for row in ROWS], [row["label"] for row in ROWS])


class Constant:
    """A model with a constant answer. A lock cannot be pickled."""

    def __init__(self, share):
        self.share, self.lock = share, threading.Lock()

    def __call__(self, inputs):
        return [[self.share, 1 - self.share, 0.0] for _ in inputs]


def wrap(model):
    return lambda inputs: model.predict_proba([first for first, _ in inputs])


def make_sharing(share=0.7):
    return lambda inputs: [[share, 1 - share, 0.0] for _ in inputs]


PAIRS = {
    "fitted again": lambda: (fit(1.0), fit(0.01)),
    "lambdas": lambda: (lambda _: [[1.0, 0, 0]], lambda _: [[0.9, 0.1, 0]]),
    "objects": lambda: (Constant(0.7), Constant(0.6)),
    "methods": lambda: (Constant(0.7).__call__, Constant(0.6).__call__),
    "closures": lambda: (make_sharing(0.7), make_sharing(0.6)),
    "models in closures": lambda: (wrap(fit(1.0)), wrap(fit(0.01))),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_models_with_the_same_name_have_different_identities(kind):
    first, second = PAIRS[kind]()
    again = PAIRS[kind]()[0]
    assert identify(first) == identify(again) != identify(second)


def test_the_rows_of_a_model_are_refused_after_it_is_fitted_again(tmp_path):
    def attack(model):
        made = Attack("antonym", wrap(model), antonyms=ANTONYMS, progress=False)
        return made.run(ROWS, tmp_path / "rows.jsonl")["antonym"]

    assert attack(fit(1.0)) == attack(fit(1.0))
    with pytest.raises(HfBatError, match="another model"):
        attack(fit(0.01))


VICTIM = """
import numpy as np
from attack_helpers import hashed

POWER = 2

def sharpen(answers):
    return answers ** POWER / (answers ** POWER).sum(axis=1, keepdims=True)

def predict(inputs):
    return sharpen(hashed(inputs))
"""


@pytest.mark.parametrize(
    "change", [("sharpen(hashed(inputs))", "hashed(inputs)"), ("POWER = 2", "POWER = 3"),
               ("answers ** POWER /", "answers ** POWER / 1.0 /")]
)  # fmt: skip
def test_the_rows_of_a_file_are_refused_after_it_is_edited(tmp_path, monkeypatch, capsys, change):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "dev.csv").write_text("premise,hypothesis,label\nA hot day.,It is hot.,0\n")

    def run(text):
        sys.modules.pop("edited_victim", None)
        (tmp_path / "edited_victim.py").write_text(text)
        # A cached module is only compiled again if the time or the size of its file has changed.
        os.utime(tmp_path / "edited_victim.py", (len(text), hash(text) % 10**6))
        words = ["attack", "--model-from", "edited_victim.py:predict", "--task", "snli"]
        return main([*words, "--data", "dev.csv", "--attacks", "synonym", "--rows", "r.jsonl"])

    assert run(VICTIM) in (0, 2)  # 2 if no row was attacked
    before = (tmp_path / "r.jsonl").read_bytes()
    assert run(VICTIM + "\n# A comment\n") in (0, 2)
    assert (tmp_path / "r.jsonl").read_bytes() == before
    capsys.readouterr()
    assert run(VICTIM.replace(*change)) == 2
    assert "another model" in capsys.readouterr().err


IDENTITIES = """
from test_identity import *
words = {"a", "b", "c", "d"}
print(identify(fit(1.0)), identify(Constant(0.7)), identify(wrap(fit(1.0))))
print(identify(lambda inputs: [inputs in {"a", "b", "c", "d"}, words]))
print(identify(tiny_model("bert"), tiny_tokenizer(TEXTS)), identify(add_lora(8), tiny_tokenizer(TEXTS)))
"""


def test_identities_are_equal_in_another_process():
    paths = [os.path.dirname(__file__), *sys.path]
    outputs = [
        subprocess.check_output(
            [sys.executable, "-c", IDENTITIES],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(paths)},
        )
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1] and outputs[0].count(b"\n") == 3


def test_a_client_is_only_known_by_its_type():
    # A lock cannot be pickled.
    first, second = threading.Lock(), threading.Lock()
    assert identify(lambda _: first) == identify(lambda _: second)


def test_a_count_of_queries_does_not_change_the_identity():
    class Counting(Constant):
        calls = 0

        def __call__(self, inputs):
            self.calls += 1
            return super().__call__(inputs)

    model = as_classifier(Counting(0.7))
    before = model.identity
    model.probabilities([("A hot day.", "A day.")])
    assert model.identity == before


def test_queries_do_not_change_the_identity_of_a_function_with_a_pipeline():
    from transformers import pipeline

    made = pipeline(
        "text-classification", model=tiny_model("bert"), tokenizer=tiny_tokenizer(TEXTS)
    )

    def ask(inputs):
        return [made({"text": a, "text_pair": b}, top_k=None) for a, b in inputs]

    before = identify(ask)
    ask([("A hot day.", "A day.")])
    assert identify(ask) == before
    made.model.config.num_attention_heads = 1
    assert identify(ask) != before


# ---- transformers models ----------------------------------------------------------------------


def add_lora(alpha):
    from peft import LoraConfig, TaskType, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(
        TaskType.SEQ_CLS, r=4, lora_alpha=alpha, target_modules=["q_proj", "v_proj"]
    )
    return get_peft_model(tiny_model("qwen3"), config).eval()


def test_the_state_of_adapters_is_part_of_the_identity():
    tokenizer = tiny_tokenizer(TEXTS)
    model = add_lora(8)
    enabled = identify(model, tokenizer)
    assert identify(add_lora(256), tokenizer) != enabled
    with model.disable_adapter():
        assert identify(model, tokenizer) != enabled
    assert identify(model, tokenizer) == enabled
    layer = next(module for module in model.modules() if hasattr(module, "set_scale"))
    layer.set_scale("default", 0.5)
    assert identify(model, tokenizer) != enabled


def test_the_configuration_is_part_of_the_identity(tmp_path):
    model, tokenizer = tiny_model("bert").eval(), tiny_tokenizer(TEXTS)
    before = identify(model, tokenizer)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert TransformersModel(tmp_path, device="cpu").identity == before
    model.config.num_attention_heads = 1
    assert identify(model, tokenizer) != before
