"""The metrics of a task do not depend on the order of the model's labels."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from transformers import BertConfig, EvalPrediction

from hf_bat import HfBatError, get_task
from hf_bat.metrics.task import build_compute_metrics


@pytest.mark.parametrize("names", [("not_duplicate", "duplicate"), ("duplicate", "not_duplicate")])
def test_f1_is_for_the_tasks_positive_class(names):
    rng = np.random.default_rng(0)
    gold, said = rng.random(200) < 0.2, rng.random(200) < 0.3  # duplicates
    config = BertConfig(id2label=dict(enumerate(names)))
    own = {True: names.index("duplicate"), False: names.index("not_duplicate")}
    logits = np.eye(2)[[own[bool(one)] for one in said]]
    labels = np.array([own[bool(one)] for one in gold])
    found = build_compute_metrics(get_task("qqp"), config)(EvalPrediction(logits, labels))
    assert found["f1"] == pytest.approx(f1_score(gold, said))
    assert found["accuracy"] == pytest.approx(accuracy_score(gold, said))


def test_head_may_get_its_names_later():
    config = BertConfig(num_labels=2)
    compute = build_compute_metrics(get_task("qqp"), config)
    config.id2label = {0: "duplicate", 1: "not_duplicate"}  # as a trainer does
    found = compute(EvalPrediction(np.eye(2), np.array([0, 0])))
    assert found == {"accuracy": 0.5, "f1": pytest.approx(2 / 3)}


def test_f1_of_a_named_label_leaves_out_rows_without_a_label():
    rng = np.random.default_rng(1)
    gold, logits = rng.integers(0, 3, 100), rng.random((100, 3))
    task, config = get_task("snli"), BertConfig(num_labels=3)
    gold[:20] = -100
    found = build_compute_metrics(task, config, "Contradiction")(EvalPrediction(logits, gold))
    said = logits.argmax(-1)
    expected = f1_score(gold[20:], said[20:], labels=[2], average=None)[0]
    assert found["f1"] == pytest.approx(expected)
    assert found["accuracy"] == pytest.approx((gold[20:] == said[20:]).mean())
    nothing = EvalPrediction(logits, np.full(100, -1))
    assert build_compute_metrics(task, config, "neutral")(nothing) == {}
    with pytest.raises(HfBatError, match="entailment, neutral, contradiction"):
        build_compute_metrics(task, config, "toxic")
