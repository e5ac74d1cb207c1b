"""Measure perturbed pairs per second and the time to collate a batch, on one core.

    python benchmarks/bench_perturbations.py --data $HF_BAT_DATA/snli/train.jsonl.gz

Seconds are processor time. The baseline is a plain loop that splits at spaces, looks up each word and
draws.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

from common import add_data_arguments, describe_machine, load_tokenizer

from hf_bat import PerturbationCollator
from hf_bat.perturbations import PerturbationSampler, build_perturbations
from hf_bat.tasks import get_task, load_split


def perturb_plainly(
    rows: list[dict], columns: tuple[str, ...], synonyms: dict, antonyms: dict
) -> None:
    """Draw versions, ignoring case, punctuation and reproducibility."""
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


def measure_rates(run: Callable[[int], None], rows: int, repeats: int) -> list[float]:
    """Return the rows per second of each run, after a warm-up run."""
    rates = []
    for repeat in range(repeats + 1):
        start = time.process_time()
        run(repeat)
        rates.append(rows / (time.process_time() - start))
    return rates[1:]


def main() -> None:
    """Measure and print a table."""
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

    def draw_versions(epoch: int) -> None:
        for row in rows:
            sampler.draw(row, epoch)

    tables = dict(fickle.table), dict(obstinate.table)
    results = {
        "perturb, pairs/s": measure_rates(draw_versions, len(rows), args.repeats),
        "plain loop, pairs/s": measure_rates(
            lambda _: perturb_plainly(rows, task.columns, *tables), len(rows), args.repeats
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
        start = time.process_time()
        collator(batch)
        times.append(1000 * (time.process_time() - start))
    results["collate 32 pairs three ways, ms"] = times
    print(describe_machine())
    print(f"{'':<34}{'median':>10}{'min':>10}{'max':>10}")
    for name, values in results.items():
        print(
            f"{name:<34}{statistics.median(values):>10.1f}{min(values):>10.1f}{max(values):>10.1f}"
        )
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"machine": describe_machine(), **results}, file, indent=2)


if __name__ == "__main__":
    main()
