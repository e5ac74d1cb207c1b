"""How many pairs a second are perturbed, and what collating a batch costs; one process, one core.

    python benchmarks/bench_perturbations.py --data $HF_BAT_DATA/snli/train.jsonl.gz

The baseline is the loop that one would write first: split on spaces, look each word up, draw.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

from common import add_data_arguments, load_tokenizer, machine

from hf_bat import PerturbationCollator
from hf_bat.perturbations import PerturbationSampler, build_perturbations
from hf_bat.tasks import get_task, load_split


def plain_loop(rows: list[dict], columns: tuple[str, ...], synonyms: dict, antonyms: dict) -> None:
    """Fickle and obstinate versions by the obvious loop: no case, no marks, no reproducibility."""
    for row in rows:
        texts = [row[column] for column in columns]
        for text in texts:
            " ".join(random.choice([w, *synonyms.get(w, ())]) for w in text.split())
        words = texts[random.randrange(len(texts))].split()
        places = [i for i, word in enumerate(words) if word in antonyms]
        if places:
            place = random.choice(places)
            words[place] = random.choice(antonyms[words[place]])
            " ".join(words)


def pairs_a_second(run: Callable[[int], None], rows: int, repeats: int) -> list[float]:
    """Rates of `repeats` runs after one that is not counted."""
    rates = []
    for repeat in range(repeats + 1):
        start = time.perf_counter()
        run(repeat)
        rates.append(rows / (time.perf_counter() - start))
    return rates[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add_data_arguments(parser)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    task = get_task(args.task)
    rows = list(load_split(args.data))[: args.rows]
    fickle, obstinate = build_perturbations()
    sampler = PerturbationSampler(task.columns, fickle, obstinate)

    def ours(epoch: int) -> None:
        for row in rows:
            sampler.draw(row, epoch)

    tables = dict(fickle.table), dict(obstinate.table)
    found = {
        "perturb, pairs/s": pairs_a_second(ours, len(rows), args.repeats),
        "plain loop, pairs/s": pairs_a_second(
            lambda _: plain_loop(rows, task.columns, *tables), len(rows), args.repeats
        ),
    }
    collator = PerturbationCollator(
        load_tokenizer(args), task.columns, fickle, obstinate, max_length=128, seed=42
    )
    batches = [rows[i : i + 32] for i in range(0, min(len(rows), 6400), 32)]
    for batch in batches[:20]:
        collator(batch)
    times = []
    for batch in batches:
        start = time.perf_counter()
        collator(batch)
        times.append(1000 * (time.perf_counter() - start))
    found["collate 32 pairs three ways, ms"] = times
    print(machine())
    print(f"{'':<34}{'median':>10}{'min':>10}{'max':>10}")
    for name, values in found.items():
        print(
            f"{name:<34}{statistics.median(values):>10.1f}{min(values):>10.1f}{max(values):>10.1f}"
        )
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), **found}, file, indent=2)


if __name__ == "__main__":
    main()
