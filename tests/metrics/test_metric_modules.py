"""The packaged `evaluate` metrics: offline, documented, and equal to independent calculations."""

import os
import re
import subprocess
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest

import hf_bat.metrics
from hf_bat.metrics import METRICS, load, robustness_score, wilson_interval

FOLDER = Path(hf_bat.metrics.__file__).parent

OFFLINE = """
import socket, sys
from pathlib import Path

def refuse(*arguments, **options):
    sys.exit("the network was asked")

socket.socket.connect = socket.getaddrinfo = refuse
import evaluate
from hf_bat.metrics import load
for folder in sys.argv[1:]:
    by_path = evaluate.load(folder)
    by_name = load(Path(folder).name)
    assert by_path.name == by_name.name == Path(folder).name, by_path.name
    names = list(by_path.features)
    values = dict(zip(names, [[1, 0, 1], [1, 1, 1], [1, 1, 1]]))
    assert by_path.compute(**values) == by_name.compute(**values)
"""


@pytest.mark.slow
def test_metrics_load_from_their_folders_without_network(tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    folders = [str(FOLDER / name) for name in METRICS]
    subprocess.run(
        [sys.executable, "-c", OFFLINE, *folders], env=environment, cwd=tmp_path, check=True
    )


@pytest.mark.parametrize("name", METRICS)
def test_metric_is_documented(name):
    metric = load(name)
    for text in (metric.description, metric.citation, metric.inputs_description):
        assert len(text) > 50
    assert ">>> " in metric.inputs_description  # run as a doctest with the module's docstrings
    readme = (FOLDER / name / "README.md").read_text("utf-8")
    assert readme.startswith(f"# {name}\n")
    for feature in metric.features:
        assert f"`{feature}`" in readme


@pytest.mark.parametrize("name", METRICS)
def test_readme_example_runs(name):
    (example,) = re.findall(
        r"```python\n(.+?)```", (FOLDER / name / "README.md").read_text(), re.DOTALL
    )
    exec(compile(example, f"{name}/README.md", "exec"), {})


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_folder_is_packaged(name):
    assert (FOLDER / name / "__init__.py").is_file()  # otherwise setup.py would exclude it
    assert sorted(path.parent.name for path in FOLDER.glob("*/README.md")) == list(METRICS)


def labels(seed, classes=3, size=200):
    return np.random.default_rng(seed).integers(0, classes, (2, size))


def test_accuracy_equals_numpy_and_batches_add_up():
    predictions, references = labels(0)
    metric = load("accuracy")
    for rows in np.array_split(np.arange(200), 7):
        metric.add_batch(predictions=predictions[rows], references=references[rows])
    assert metric.compute() == {"accuracy": pytest.approx((predictions == references).mean())}


def count_f1(predictions, references, label):
    hits = ((predictions == label) & (references == label)).sum()
    return 2 * hits / ((predictions == label).sum() + (references == label).sum())


def test_f1_equals_counting():
    predictions, references = labels(1)
    metric = load("f1")
    given = {"predictions": predictions, "references": references}
    each = [count_f1(predictions, references, label) for label in range(3)]
    shares = [(references == label).mean() for label in range(3)]
    assert metric.compute(**given, average=None) == {"f1": pytest.approx(each)}
    assert metric.compute(**given, average="macro")["f1"] == pytest.approx(np.mean(each))
    weighted = metric.compute(**given, average="weighted")["f1"]
    assert weighted == pytest.approx(np.dot(each, shares))
    accuracy = (predictions == references).mean()
    assert metric.compute(**given, average="micro")["f1"] == pytest.approx(accuracy)
    predictions, references = labels(2, classes=2)
    for label in (0, 1):
        found = metric.compute(predictions=predictions, references=references, pos_label=label)
        assert found == {"f1": pytest.approx(count_f1(predictions, references, label))}
    assert metric.compute(predictions=[0, 0], references=[0, 0]) == {"f1": 0.0}


def test_attack_success_rate_counts_add_up():
    success, attempt = labels(3, classes=2)
    success &= attempt
    found = load("attack_success_rate").compute(predictions=success, references=attempt)
    assert found["rows"] == 200 == found["attempted"] + found["skipped"]
    assert found["attempted"] == attempt.sum() == found["succeeded"] + found["failed"]
    assert found["asr"] == success.sum() / attempt.sum()
    interval = wilson_interval(int(success.sum()), int(attempt.sum()))
    assert (found["asr_low"], found["asr_high"]) == interval
    nothing = load("attack_success_rate").compute(predictions=[0, 0], references=[0, 0])
    assert (nothing["asr"], nothing["asr_low"], nothing["skipped"]) == (None, None, 2)


def test_robustness_gap_by_hand():
    # Accuracy 4/5; synonym 1 of 4; antonym 1 of 2.  3 / (1/0.8 + 1/0.75 + 1/0.5) = 3 / (55/12).
    found = load("robustness_gap").compute(
        correct=[1, 1, 1, 1, 0], synonym=[0, 1, 0, 0, -1], antonym=[1, -1, 0, -1, -1]
    )
    assert found == {
        "gap": 0.25,
        "robustness": pytest.approx(36 / 55),
        "accuracy": 0.8,
        "synonym_asr": 0.25,
        "antonym_asr": 0.5,
    }
    assert found["robustness"] == robustness_score(0.8, 0.25, 0.5)
    found = load("robustness_gap").compute(correct=[1], synonym=[0], antonym=[-1])
    assert found["gap"] is found["robustness"] is found["antonym_asr"] is None
    assert found["synonym_asr"] == 0


def test_metrics_combine_with_evaluate():
    both = evaluate.combine([load("accuracy"), load("f1")])
    assert both.compute(predictions=[0, 1], references=[0, 1]) == {"accuracy": 1.0, "f1": 1.0}
