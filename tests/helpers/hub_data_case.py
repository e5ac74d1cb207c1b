"""Run cases of test_hub_data in a separate process, because the Hub library reads its settings on import.

The script trains on data sets from the simulated Hub, without local rows, and prints what it read as JSON.
"""

import contextlib
import importlib
import json
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "helpers")]
sys.path[:0] = [str(REPOSITORY / "examples"), str(REPOSITORY / "examples" / "reproduce")]

from tiny_models import tiny_model  # noqa: E402
from training_helpers import ANTONYMS, SYNONYMS, tokenizer_for_made_rows  # noqa: E402

from hf_bat import BalancedTrainer, finetune  # noqa: E402
from hf_bat.sweep import finished, worker  # noqa: E402
from hf_bat.sweep.key import identify  # noqa: E402
from hf_bat.sweep.schedule import folder_of  # noqa: E402

reproduce = importlib.import_module("run")
run_glue_bat = importlib.import_module("run_glue_bat")


class NotingTrainer(BalancedTrainer):
    """Records the rows and labels of training, evaluation and prediction in `notes`."""

    notes: list = []

    def __init__(self, **options):
        super().__init__(**options)
        self.note = {"method": self.args.method, "train": self.texts(self.train_dataset)}
        self.note |= {"labels": [], "evaluated": [], "predicted": []}
        self.notes.append(self.note)

    def texts(self, rows):
        columns = [*self.task.columns, "label"]
        return [[row.get(column) for column in columns] for row in rows]

    def training_step(self, model, inputs, *args, **kwargs):
        self.note["labels"] += inputs["labels"].tolist()
        return super().training_step(model, inputs, *args, **kwargs)

    def evaluate(self, eval_dataset=None, **kwargs):
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        self.note["evaluated"].append(self.texts(rows))
        return super().evaluate(eval_dataset, **kwargs)

    def predict(self, test_dataset, **kwargs):
        self.note["predicted"].append(self.texts(test_dataset))
        return super().predict(test_dataset, **kwargs)


def run_here(runs, root, *_):
    """Perform the unfinished runs in this process."""
    for run in runs:
        if finished(root, run) is None:
            config = folder_of(root, run.key) / "config.json"
            config.parent.mkdir(parents=True)
            content = {"key": run.key, "arguments": run.arguments}
            config.write_text(json.dumps(content | {"identity": identify(run.arguments)}))
            assert worker.main([str(config)]) == 0
    return []


def reproduced(name, flags, out, *more):
    """Run an experiment and return the notes of its runs and their results."""
    NotingTrainer.notes = []
    status = reproduce.run([name, "--scale", "paper", "--seeds", "1", "--max_steps", "2", *more,
                            "--output_dir", str(out / name), *flags])  # fmt: skip
    results = [json.loads(p.read_text()) for p in (out / name).glob("runs/*/result.json")]
    logs = [path.read_text() for path in (out / name).glob("runs/*/log.txt")]
    table = (out / name / name / "table.md").read_text()
    names = ("rows", "steps", "metrics", "tables")
    return {"status": status, "table": table, "notes": NotingTrainer.notes, "logs": logs,
            "results": [{name: result[name] for name in names} for result in results]}  # fmt: skip


def scripted(task, flags, out):
    """Train, evaluate and predict with examples/run_glue_bat.py, and return its notes."""
    NotingTrainer.notes = []
    sys.argv = ["run_glue_bat.py", "--task_name", task, "--do_train", "--do_eval", "--do_predict",
                "--method", "pairwise", "--max_steps", "2", "--per_device_train_batch_size", "32",
                "--attacks", "antonym", "--report_to", "none", "--disable_tqdm", "true",
                "--save_strategy", "no", "--output_dir", str(out / task), *flags]  # fmt: skip
    status = run_glue_bat.run()
    written = json.loads((out / task / "all_results.json").read_text())
    return {"status": status, "notes": NotingTrainer.notes, "written": written,
            "files": sorted(path.name for path in (out / task).glob("predict_results_*"))}  # fmt: skip


def main(out):
    tokenizer_for_made_rows().save_pretrained(out / "model")
    tiny_model("bert").base_model.save_pretrained(out / "model")  # each task creates a head
    SYNONYMS.save(out / "synonyms.json.gz")
    ANTONYMS.save(out / "antonyms.json.gz")
    flags = ["--model_name_or_path", str(out / "model"), "--use_cpu", "--max_attack_samples", "3"]
    # Run one experiment as a user would, in a child process and with tables from the Hub.
    tables = [
        "--synonyms",
        "hf://datasets/tester/synonyms",
        "--antonyms",
        "hf://datasets/tester/antonyms",
    ]
    found = {
        "table6 in processes": reproduced("table6", flags, out, "--methods", "normal", *tables)
    }
    flags += [
        "--synonyms",
        str(out / "synonyms.json.gz"),
        "--antonyms",
        str(out / "antonyms.json.gz"),
    ]
    finetune.BalancedTrainer = NotingTrainer
    reproduce.run_all = run_here
    for name in ("table6", "table1"):
        found[name] = reproduced(name, flags, out)
    for task in ("mnli", "mrpc", "qqp"):
        found[task] = scripted(task, flags, out)
    return found


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        found = main(Path(sys.argv[1]))
    print(json.dumps(found))
