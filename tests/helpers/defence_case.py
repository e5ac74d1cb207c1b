"""Run cases of test_hub_defence in separate processes, because the Hub library reads settings on import.

`push FOLDER` pushes a model that was trained with a preprocessing defense and one that was not, and
`attack COMMANDS` runs `hf-bat` with each list of words and prints the results as JSON.
"""

import contextlib
import io
import json
import sys
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "helpers")]

from huggingface_hub import constants  # noqa: E402

from hf_bat.cli import main  # noqa: E402


def push(folder):
    from training_helpers import SYNONYMS, made_rows, make_trainer

    for name, defended in (("defended", True), ("plain", False)):
        trainer = make_trainer(
            Path(folder) / name, made_rows(8), method="normal", canonicalize=defended, max_steps=1,
            hub_model_id=f"tester/{name}", trainer_options={"synonyms": SYNONYMS},
        )  # fmt: skip
        trainer.train()
        # It predicts entailment, so there are rows to attack.
        trainer.model.classifier.bias.data[0] += 5
        trainer.push_to_hub()


def attack(commands):
    """Run commands of the form `[request that the Hub must fail or None, *words of hf-bat]`."""
    found = []
    for fails, *words in commands:
        if fails:
            data = json.dumps({"request": fails, "how": "500", "times": 1000}).encode()
            urllib.request.urlopen(f"{constants.ENDPOINT}/_fail", data, timeout=10).close()
        said, printed = io.StringIO(), io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
            status = main(words)
        found.append({"status": status, "said": said.getvalue(), "printed": printed.getvalue()})
    return found


if __name__ == "__main__":
    if sys.argv[1] == "push":
        with contextlib.redirect_stdout(sys.stderr):
            push(sys.argv[2])
    else:
        print(json.dumps(attack(json.loads(sys.argv[2]))))
