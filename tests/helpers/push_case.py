"""Run cases of test_hub in a separate process, because the Hub library reads its settings on import.

Pushes models and tables to the simulated Hub, with upload failures, and prints the results as JSON.
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import sys
import time
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "helpers")]

import torch  # noqa: E402
from huggingface_hub import constants  # noqa: E402
from tiny_models import tiny_model  # noqa: E402
from training_helpers import SYNONYMS, made_rows, make_trainer  # noqa: E402
from transformers import TrainerCallback  # noqa: E402

from hf_bat import HfBatError, SubstitutionTable  # noqa: E402
from hf_bat.cli import main as hf_bat_command  # noqa: E402
from hf_bat.perturbations import build_perturbations  # noqa: E402

PAIRS = [("A man is sleeping.", "The big dog runs fast."), ("A woman waits.", "Two girls sing.")]


def fail(request, how, times=1):
    """Make the Hub fail the next requests that match."""
    data = json.dumps({"request": request, "how": how, "times": times}).encode()
    urllib.request.urlopen(f"{constants.ENDPOINT}/_fail", data, timeout=10).close()


def hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def logits(model, tokenizer):
    texts, pairs = zip(*PAIRS, strict=True)
    batch = tokenizer(list(texts), list(pairs), return_tensors="pt", padding=True)
    with torch.no_grad():
        return model.eval()(**batch).logits.tolist()


def message(action):
    try:
        action()
    except HfBatError as error:
        return str(error)
    return None


def push_model(folder):
    trainer = make_trainer(
        folder,
        made_rows(8),
        method="triplet",
        max_steps=1,
        attacks=["antonym", "synonym"],
        hub_model_id="tester/balanced",
        hub_token=os.environ["HF_TOKEN"],
        trainer_options={"eval_dataset": made_rows(16, seed=1)},
    )
    trainer.train()
    trainer.evaluate()
    trainer.save_model()
    trainer.create_model_card()
    before = hashes(folder)
    found = {}
    for name, request, how in (
        ("refused", r"PUT /_lfs/", "403"),
        ("error", r"POST .*/commit/", "500"),
        ("dropped", r"POST .*/commit/", "drop"),
    ):
        fail(request, how)
        found[name] = message(trainer.push_to_hub)
        found[f"{name}_changed"] = [k for k, v in hashes(folder).items() if before.get(k) != v]
    found["commit"] = trainer.push_to_hub().oid
    found["card"] = (Path(folder) / "README.md").read_text("utf-8")
    found["files"] = sorted(hashes(folder))
    found["logits"] = logits(trainer.model, trainer.processing_class)
    return found


class OnePushAtATime(TrainerCallback):
    """Waits for the last upload before each epoch, so no upload contains files of a later epoch."""

    def __init__(self, trainer):
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.trainer._finish_current_push()


def push_a2t(folder):
    """Push the model and each checkpoint during training, on each save and at the end."""
    found = {}
    for strategy in ("checkpoint", "all_checkpoints"):
        out = Path(folder) / strategy
        trainer = make_trainer(
            out,
            made_rows(8),
            method="a2t",
            clean_epochs=0,
            num_train_epochs=2,
            save_strategy="epoch",
            push_to_hub=True,
            hub_strategy=strategy,
            hub_always_push=True,
            hub_model_id=f"tester/{strategy}",
        )
        trainer.add_callback(OnePushAtATime(trainer))
        trainer.train()
        trainer.save_model()
        trainer.push_to_hub()
        texts = {row[column] for row in made_rows(8) for column in ("premise", "hypothesis")}
        for path in out.glob("_adversarial/*"):
            rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            texts |= {
                text for row in rows for text in (*row["original"], *(row["perturbed"] or ()))
            }
        found[strategy] = {"files": sorted(hashes(out)), "texts": sorted(texts)}
    return found


def push_adapter(folder):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    base = tiny_model("bert")
    base.push_to_hub("tester/base")
    base = AutoModelForSequenceClassification.from_pretrained("tester/base")
    config = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"], init_lora_weights=False)
    trainer = make_trainer(
        folder,
        made_rows(8),
        model=get_peft_model(base, config),
        method="pairwise",
        max_steps=1,
        hub_model_id="tester/adapter",
    )
    trainer.train()
    trainer.push_to_hub()
    trainer.processing_class.push_to_hub("tester/base")
    return {
        "logits": logits(trainer.model, trainer.processing_class),
        "card": (Path(folder) / "README.md").read_text("utf-8"),
    }


def push_table(folder):
    from datasets import load_dataset

    fail(r"POST .*/commit/", "500")
    failed = message(lambda: SYNONYMS.push_to_hub("tester/synonyms", private=True))
    pinned = SYNONYMS.push_to_hub("tester/synonyms", private=True)
    table = Path(folder) / "other.json"
    SubstitutionTable({"big": ["large"]}, {"kind": "synonyms"}).save(table)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = hf_bat_command(["lexicon", "push", str(table), "tester/other"])
    fickle, _ = build_perturbations(
        "hf://datasets/tester/synonyms", drop_antonyms_from_synonyms=False
    )
    rows = load_dataset("tester/synonyms", split="train")
    return {
        "failed": failed,
        "pinned": pinned,
        "fingerprints": [
            SYNONYMS.fingerprint,
            SubstitutionTable.load(pinned).fingerprint,
            SubstitutionTable.load(Path("hf://datasets/tester/synonyms")).fingerprint,
            fickle.table.fingerprint,
        ],
        "command": [status, printed.getvalue()],
        "rows": {row["word"]: row["replacements"] for row in rows},
        "missing": message(lambda: SubstitutionTable.load("hf://datasets/tester/none")),
    }


def push_from_script(folder):
    path = REPOSITORY / "examples" / "run_glue_bat.py"
    spec = importlib.util.spec_from_file_location("run_glue_bat", path)
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script
    spec.loader.exec_module(script)
    folder = Path(folder)
    texts = folder / "out" / "_adversarial" / "epoch-0.jsonl"  # as if from an earlier run
    texts.parent.mkdir(parents=True)
    texts.write_text("{}\n")
    for name, seed in (("train", 0), ("dev", 1)):
        lines = [json.dumps(row) + "\n" for row in made_rows(12, seed)]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    sys.argv = ["run_glue_bat.py", "--model_name_or_path", "tester/base", "--columns", "premise",
                "hypothesis", "--class_names", "entailment", "neutral", "contradiction",
                "--train_file", str(folder / "train.jsonl"), "--max_steps", "1", "--use_cpu",
                "--validation_file", str(folder / "dev.jsonl"), "--method", "pairwise",
                "--attacks", "antonym", "--do_train", "--do_eval", "--report_to", "none",
                "--disable_tqdm", "true", "--output_dir", str(folder / "out"),
                "--push_to_hub", "--hub_strategy", "end", "--hub_model_id", "tester/script"]  # fmt: skip
    fail(r"POST .*/commit/", "500")
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = script.run()
    return {"status": status, "said": said.getvalue()}


if __name__ == "__main__":
    out = Path(sys.argv[1])
    found = {}
    for case in (push_model, push_a2t, push_adapter, push_table, push_from_script):
        (out / case.__name__).mkdir()
        with contextlib.redirect_stdout(sys.stderr):
            start = time.process_time()
            found[case.__name__] = case(out / case.__name__)
            print(case.__name__, "took", time.process_time() - start, "s", file=sys.stderr)
    print(json.dumps(found))
