"""Compare the attacks of hf_bat and TextAttack 0.3.11: outcomes row by row, and rows per second.

Both use the same model, rows, tables, stop words, parts of speech and goals, and one thread. TextAttack runs
in another interpreter, because it needs transformers below 5. To create this interpreter:

    python3 -m venv ta && ta/bin/pip install torch==2.13.0 "transformers<5" "datasets<4" nltk flair \\
        lemminflect lru-dict more-itertools pandas scipy terminaltables word2number num2words \\
        editdistance language-tool-python jieba pinyin OpenHowNet pycld2 click bert-score Levenshtein
    ta/bin/pip install --no-deps textattack==0.3.11

    python benchmarks/attack_vs_textattack.py --textattack-python ta/bin/python --model DIR \\
        --task sick --data validation.jsonl.gz --antonyms FILE --synonyms FILE --max-samples 300

Seconds are processor time of the working thread, so other processes on the machine are not included.
`--repeats` runs of each are interleaved, and their medians are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from common import describe_machine, read_clock

HERE = Path(__file__).resolve().parent
CASES = {
    "antonym": "confident",
    "antonym-strict": "strict",
    "negation": "strict",
    "synonym": "strict",
}


def main() -> None:
    """Run all cases and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--textattack-python", required=True, help="an interpreter with textattack")
    parser.add_argument("--model", required=True, help="folder of a classifier")
    parser.add_argument("--task", default="sick")
    parser.add_argument("--data", required=True)
    parser.add_argument("--antonyms", required=True)
    parser.add_argument("--synonyms", required=True)
    parser.add_argument("--max-samples", type=int, default=300)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--paddings", nargs="+", default=["128", "dynamic"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--dtype", default="float32", help="precision of hf_bat")
    parser.add_argument("--json", help="write all results here, including disagreements")
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    import torch

    torch.set_num_threads(1)
    results = {name: compare(name, args) for name in args.cases}
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    facts = {"machine": describe_machine(kind), "torch": torch.__version__, "dtype": args.dtype}
    print(json.dumps(facts))
    print(format_table(results))
    if args.json:
        content = {**facts, "arguments": vars(args), "cases": results}
        Path(args.json).write_text(json.dumps(content, indent=1, ensure_ascii=False))


def compare(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run an attack with both libraries in turns."""
    from hf_bat.attack import Attack
    from hf_bat.tasks import get_task, load_split

    attack_name, goal = name.split("-")[0], CASES[name]
    task = get_task(args.task)
    rows = [dict(row) for row in load_split(args.data).select(range(args.max_samples))]
    if attack_name != "synonym":  # neither library attacks rows with a skipped label
        skipped = [task.label_names.index(label) for label in task.skipped_labels]
        rows = [row for row in rows if row["label"] not in skipped]
    rows = [{**row, "idx": number} for number, row in enumerate(rows)]
    model = make_recorder(args.model, dtype=args.dtype, max_length=128)
    attack = Attack(
        attack_name, model, task=task, antonyms=args.antonyms, synonyms=args.synonyms, goal=choose_goal(name),
        fit_grammar=False,  # TextAttack only replaces words
        max_length=128, progress=False,
    )  # fmt: skip
    attack.run(rows[:20])  # warm up
    ours: list[dict[str, Any]] = []
    theirs: dict[str, list[dict[str, Any]]] = {padding: [] for padding in args.paddings}
    for _ in range(args.repeats):
        for padding in args.paddings:
            theirs[padding].append(run_textattack(attack_name, goal, padding, rows, args))
        model.keys_seen.clear()
        kind = model.device.type
        begun = read_clock(kind), time.perf_counter()
        report = attack.run(rows)
        spent = read_clock(kind) - begun[0], time.perf_counter() - begun[1]
        ours.append(
            {"cpu_seconds": spent[0], "seconds": spent[1], "bare": model.time_bare_forward()}
        )
    last = next(iter(theirs.values()))[-1]
    cpu = statistics.median(run["cpu_seconds"] for run in ours)
    return {
        "rows": len(rows),
        "agreement": compare_outcomes(report.rows[attack_name], last["rows"], goal),
        "queries": report[attack_name]["queries"],
        "queries_textattack": sum(row["queries"] for row in last["rows"]),
        "summary": {
            k: v for k, v in report[attack_name].items() if k not in ("per_pair", "per_label")
        },
        "rows_a_second": len(rows) / cpu,
        "rows_a_second_wall": len(rows) / statistics.median(run["seconds"] for run in ours),
        "over_bare_forward": statistics.median(run["cpu_seconds"] / run["bare"] for run in ours),
        "textattack": {
            padding: {
                "rows_a_second": len(rows) / statistics.median(run["cpu_seconds"] for run in runs),
                "rows_a_second_wall": len(rows) / statistics.median(run["seconds"] for run in runs),
                "times_faster": statistics.median(run["cpu_seconds"] for run in runs) / cpu,
            }
            for padding, runs in theirs.items()
        },
    }


def choose_goal(name: str) -> str:
    """Return hf_bat's goal for a case. One pass of hf_bat decides both definitions."""
    if name == "synonym":
        return "flip"
    return "keep-strict" if CASES[name] == "strict" else "keep-confident"


def make_recorder(model: Any, tokenizer: Any = None, **options: Any) -> Any:
    """Return a model that records its inputs, to time a bare forward pass over them."""
    from hf_bat.attack import TransformersModel

    class Recording(TransformersModel):
        keys_seen: list[Any] = []

        def probabilities(self, keys: Any) -> Any:
            self.keys_seen += keys
            return super().probabilities(keys)

        def time_bare_forward(self, batch_size: int = 32) -> float:
            """Return the processor seconds of a sorted, batched pass over the tokenized inputs."""
            keys = sorted(dict.fromkeys(self.keys_seen), key=self.length, reverse=True)
            batches = [self._pad(keys[i : i + batch_size]) for i in range(0, len(keys), batch_size)]
            with self.session():
                begun = read_clock(self.device.type)
                for batch in batches:
                    self.model(**batch)
                return read_clock(self.device.type) - begun

    return Recording(model, tokenizer, **options)


def run_textattack(
    attack: str, goal: str, padding: str, rows: list[dict[str, Any]], args: argparse.Namespace
) -> dict[str, Any]:
    """Run the worker and return its output."""
    from hf_bat.tasks import get_task

    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "rows.jsonl"), Path(folder, "out.json")
        given.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "HF_HUB_OFFLINE": "1"}
        # fmt: off
        command = [
            args.textattack_python, HERE / "textattack_worker.py", "--model", args.model, "--rows", given,
            "--out", out, "--attack", attack, "--goal", goal, "--padding", padding,
            "--antonyms", args.antonyms, "--synonyms", args.synonyms,
            "--columns", *get_task(args.task).columns,
        ]
        # fmt: on
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"TextAttack failed:\n{done.stderr[-3000:]}")
        return json.loads(out.read_text(encoding="utf-8"))


def compare_outcomes(ours: list[Any], theirs: list[Any], goal: str) -> dict[str, Any]:
    """Count the outcomes that agree, and list the rows that do not."""
    # A skipped row has no confident outcome.
    name = "outcome_confident" if goal == "confident" else "outcome"
    outcomes = [row.get(name, row["outcome"]) for row in ours]
    disagreements = [
        {"hf_bat": {**row, "outcome": outcome}, "textattack": other}
        for row, outcome, other in zip(ours, outcomes, theirs, strict=True)
        if outcome != other["outcome"]
    ]
    return {
        "rows": len(ours),
        "agree": len(ours) - len(disagreements),
        "rate": 1 - len(disagreements) / len(ours),
        "outcomes": {
            side: {
                kind: sum(row == kind for row in rows)
                for kind in ("succeeded", "failed", "skipped")
            }
            for side, rows in (
                ("textattack", [row["outcome"] for row in theirs]),
                ("hf_bat", outcomes),
            )
        },
        "disagreements": disagreements,
    }


def format_table(results: dict[str, dict[str, Any]]) -> str:
    """Format the results as Markdown."""
    paddings = list(next(iter(results.values()))["textattack"])
    head = [
        "attack",
        "rows",
        "outcomes agree",
        "queries",
        "TextAttack's",
        "rows/s",
        "over bare forward",
    ]
    for padding in paddings:
        head += [f"TextAttack {padding} rows/s", "times faster"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, case in results.items():
        cells = [name, case["rows"], f"{case['agreement']['rate']:.1%}", case["queries"]]
        cells += [case["queries_textattack"], f"{case['rows_a_second']:.1f}"]
        cells += [f"{case['over_bare_forward']:.2f}"]
        for padding in paddings:
            side = case["textattack"][padding]
            cells += [f"{side['rows_a_second']:.2f}", f"{side['times_faster']:.1f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
