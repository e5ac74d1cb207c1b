"""hf_bat's attacks beside TextAttack 0.3.11's: outcomes row by row, and examples a second.

Same model, rows, tables, stop words, parts of speech and goals, one thread each. TextAttack runs in an
interpreter of its own (it needs transformers below 5). To make one:

    python3 -m venv ta && ta/bin/pip install torch==2.13.0 "transformers<5" "datasets<4" nltk flair \\
        lemminflect lru-dict more-itertools pandas scipy terminaltables word2number num2words \\
        editdistance language-tool-python jieba pinyin OpenHowNet pycld2 click bert-score Levenshtein
    ta/bin/pip install --no-deps textattack==0.3.11

    python benchmarks/attack_vs_textattack.py --textattack-python ta/bin/python --model DIR \\
        --task sick --data validation.jsonl.gz --antonyms FILE --synonyms FILE --max-samples 300

Seconds are processor time of the single thread that works, so that other processes on the machine do
not count; `--repeats` runs of each are interleaved and their medians compared.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CASES = {
    "antonym": "confident",
    "antonym-strict": "strict",
    "negation": "strict",
    "synonym": "strict",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--textattack-python", required=True, help="an interpreter with textattack")
    parser.add_argument("--model", required=True, help="a classifier's folder")
    parser.add_argument("--task", default="sick")
    parser.add_argument("--data", required=True)
    parser.add_argument("--antonyms", required=True)
    parser.add_argument("--synonyms", required=True)
    parser.add_argument("--max-samples", type=int, default=300)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--paddings", nargs="+", default=["128", "dynamic"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--dtype", default="float32", help="of hf_bat's side")
    parser.add_argument("--json", help="write everything here, disagreements included")
    args = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    import torch

    torch.set_num_threads(1)
    sys.path.insert(0, str(HERE))
    from common import machine

    results = {name: compare(name, args) for name in args.cases}
    facts = {"machine": machine(), "torch": torch.__version__, "dtype": args.dtype}
    print(json.dumps(facts))
    print(table(results))
    if args.json:
        content = {**facts, "arguments": vars(args), "cases": results}
        Path(args.json).write_text(json.dumps(content, indent=1, ensure_ascii=False))


def compare(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One attack by both, `repeats` times in turn."""
    from hf_bat.attack import Attack
    from hf_bat.tasks import get_task, load_split

    attack_name, goal = name.split("-")[0], CASES[name]
    task = get_task(args.task)
    rows = [dict(row) for row in load_split(args.data).select(range(args.max_samples))]
    if attack_name != "synonym":  # the rows of a skipped label are no work for either
        skipped = [task.label_names.index(label) for label in task.skipped_labels]
        rows = [row for row in rows if row["label"] not in skipped]
    rows = [{**row, "idx": number} for number, row in enumerate(rows)]
    model = Recorder(args.model, dtype=args.dtype, max_length=128)
    attack = Attack(
        attack_name, model, task=task, antonyms=args.antonyms, synonyms=args.synonyms, goal=goal_of(name),
        max_length=128, progress=False,
    )  # fmt: skip
    attack.run(rows[:20])  # warm
    ours: list[dict[str, Any]] = []
    theirs: dict[str, list[dict[str, Any]]] = {padding: [] for padding in args.paddings}
    for _ in range(args.repeats):
        for padding in args.paddings:
            theirs[padding].append(run_textattack(attack_name, goal, padding, rows, args))
        model.keys_seen.clear()
        begun = time.process_time(), time.perf_counter()
        report = attack.run(rows)
        spent = time.process_time() - begun[0], time.perf_counter() - begun[1]
        ours.append({"cpu_seconds": spent[0], "seconds": spent[1], "bare": model.bare()})
    last = next(iter(theirs.values()))[-1]
    cpu = statistics.median(run["cpu_seconds"] for run in ours)
    return {
        "rows": len(rows),
        "agreement": agreement(report.rows[attack_name], last["rows"], goal),
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


def goal_of(name: str) -> str:
    """hf_bat's goal of a case; its one pass decides both definitions in any case."""
    if name == "synonym":
        return "flip"
    return "keep-strict" if CASES[name] == "strict" else "keep-confident"


def Recorder(model: Any, tokenizer: Any = None, **options: Any) -> Any:  # noqa: N802
    """A model that remembers what went through it, to time a bare forward pass of the same."""
    from hf_bat.attack import TransformersModel

    class Recording(TransformersModel):
        keys_seen: list[Any] = []

        def probabilities(self, keys: Any) -> Any:
            self.keys_seen += keys
            return super().probabilities(keys)

        def bare(self, batch_size: int = 32) -> float:
            """Processor seconds of one sorted, batched pass over what was seen, already tokenised."""
            keys = sorted(dict.fromkeys(self.keys_seen), key=self.length, reverse=True)
            batches = [
                self._padded(keys[i : i + batch_size]) for i in range(0, len(keys), batch_size)
            ]
            with self.session():
                begun = time.process_time()
                for batch in batches:
                    self.model(**batch)
                return time.process_time() - begun

    return Recording(model, tokenizer, **options)


def run_textattack(
    attack: str, goal: str, padding: str, rows: list[dict[str, Any]], args: argparse.Namespace
) -> dict[str, Any]:
    """The worker's answer."""
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


def agreement(ours: list[Any], theirs: list[Any], goal: str) -> dict[str, Any]:
    """How many outcomes agree, and the rows that do not."""
    apart = []
    for one, other in zip(ours, theirs, strict=True):
        # A skipped row has no confident outcome.
        own = (
            one.get("outcome_confident", one["outcome"]) if goal == "confident" else one["outcome"]
        )
        if own != other["outcome"]:
            apart.append({"hf_bat": {**one, "outcome": own}, "textattack": other})
    return {
        "rows": len(ours),
        "agree": len(ours) - len(apart),
        "rate": 1 - len(apart) / len(ours),
        "outcomes": {
            side: {
                kind: sum(row == kind for row in rows)
                for kind in ("succeeded", "failed", "skipped")
            }
            for side, rows in (
                ("textattack", [row["outcome"] for row in theirs]),
                (
                    "hf_bat",
                    [
                        r.get("outcome_confident", r["outcome"])
                        if goal == "confident"
                        else r["outcome"]
                        for r in ours
                    ],
                ),
            )
        },
        "disagreements": apart,
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """The figures as Markdown."""
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
