"""On devices without float64, nothing uses it, and attacks still return float64."""

import numpy as np
import pytest
import torch
from attack_helpers import ANTONYMS, SYNONYMS
from tiny_models import tiny_model, tiny_tokenizer
from training_helpers import logged, made_rows, make_trainer

from hf_bat import device
from hf_bat.attack import Attack, SentenceEncoder, TransformersModel
from hf_bat.device import cast_to_double, get_double_dtype
from hf_bat.objective import LossMeter

PAIR = ("A hot day.", "The man is sleeping.")


@pytest.fixture
def without_double(monkeypatch):
    """Make the CPU reject float64, like an Apple GPU."""
    to = torch.Tensor.to

    def refusing(self, *given, **named):
        if torch.float64 in (*given, *named.values()):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return to(self, *given, **named)

    monkeypatch.setattr(device, "_WITHOUT_DOUBLE", ("mps", "cpu"))
    monkeypatch.setattr(torch.Tensor, "to", refusing)
    monkeypatch.setattr(torch.Tensor, "double", lambda self: refusing(self, torch.float64))


def test_every_device_but_apples_has_double():
    kinds = {name: get_double_dtype(torch.device(name)) for name in ("cpu", "cuda", "xpu", "mps")}
    assert kinds.pop("mps") == torch.float32
    assert set(kinds.values()) == {torch.float64}
    for dtype in (torch.bfloat16, torch.float32, torch.float64, torch.long):
        assert cast_to_double(torch.ones(2, dtype=dtype)).dtype == torch.float64


def answers():
    model = TransformersModel(tiny_model("bert"), tiny_tokenizer())
    encoder = SentenceEncoder("tiny")
    encoder._loaded = (tiny_model("bert").bert.eval(), tiny_tokenizer())
    with model.session():
        probabilities = model.probabilities(model.keys([PAIR]))
        saliency = model.saliency([(PAIR, 0)])[0]
    return [probabilities, np.concatenate(saliency), encoder.encode(list(PAIR))]


def test_what_an_attack_asks_for(request):
    expected = answers()
    request.getfixturevalue("without_double")
    for found, exact in zip(answers(), expected, strict=True):
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-5)


def test_attacks_and_training_run(without_double, tmp_path):
    options = {"antonyms": ANTONYMS, "synonyms": SYNONYMS}
    Attack("antonym", tiny_model("bert"), tiny_tokenizer(), **options).run(made_rows(4))
    trainer = make_trainer(tmp_path, made_rows(8), method="triplet", max_steps=2)
    trainer.train()
    assert len(logged(trainer, "loss_ce")) == 2


def test_the_meter_of_components(without_double):
    meter = LossMeter()
    meter.add("loss", torch.tensor(3.0), torch.tensor(2.0))
    assert meter.take_means(lambda names: names, lambda totals: totals) == {"loss": 1.5}
