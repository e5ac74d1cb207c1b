"""Outcomes compared with TextAttack; needs an interpreter with TextAttack (see attack_vs_textattack.py)."""

import json
import os
import subprocess

import pytest
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.attack import Attack, TransformersModel

COLUMNS = ("premise", "hypothesis")


@pytest.fixture(scope="module")
def textattack_python():
    path = os.environ.get("HF_BAT_TEXTATTACK_PYTHON")
    if not path:
        pytest.skip("set HF_BAT_TEXTATTACK_PYTHON to an interpreter that has textattack 0.3.11")
    return path


@pytest.fixture(scope="module")
def victim(shared_rows, tmp_path_factory):
    """Return the folder of a random classifier, and real rows with its predictions for most of them."""
    folder = tmp_path_factory.mktemp("victim")
    rows = shared_rows("sick/validation.jsonl.gz", 300)
    tokenizer = tiny_tokenizer([row[c] for row in rows for c in COLUMNS])
    model = TransformersModel(tiny_model("bert"), tokenizer, max_length=128)
    model.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with model.session():
        keys = model.keys([tuple(row[c] for c in COLUMNS) for row in rows])
        labels = [int(model.probabilities([key])[0].argmax()) for key in keys]
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        row.update(idx=number, label=(label + (number % 10 == 0)) % 3)
    return folder, rows


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack, goal", [("antonym", "strict"), ("antonym", "confident"), ("negation", "confident"),
                     ("synonym", "flip")],
)  # fmt: skip
def test_outcomes_agree(attack, goal, textattack_python, victim, repository, shared, tmp_path):
    folder, rows = victim
    tables = {
        "antonyms": str(shared / "lexicons/snli_antonym_perturbation_set.pkl"),
        "synonyms": str(shared / "lexicons/snli_perturbation_constraint_pca0.8_100.pkl"),
    }
    given, out = tmp_path / "rows.jsonl", tmp_path / "out.json"
    given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [textattack_python, repository / "benchmarks/textattack_worker.py", "--model", folder]
    command += ["--rows", given, "--out", out, "--attack", attack, "--padding", "dynamic"]
    command += ["--goal", "strict" if goal == "flip" else goal, "--columns", *COLUMNS]
    for name, path in tables.items():
        command += [f"--{name}", path]
    environment = {**os.environ, "PYTHONPATH": str(repository), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(out.read_text())["rows"]
    victim_model = TransformersModel(str(folder), max_length=128, device="cpu")
    ours = Attack(attack, victim_model, task="sick", skip_labels=(), max_length=128, **tables).run(
        rows
    )
    key = "outcome_confident" if goal == "confident" else "outcome"
    agree = [
        row.get(key, row["outcome"]) == other["outcome"]
        for row, other in zip(ours.rows[attack], theirs, strict=True)
    ]
    assert len(agree) == 300 and sum(agree) >= 297
    assert {row["outcome"] for row in theirs} == {"succeeded", "failed", "skipped"}
