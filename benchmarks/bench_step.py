"""Compare the cost of a training step of two methods in time and tokens.

    python benchmarks/bench_step.py --data $HF_BAT_DATA/snli/train.jsonl.gz --threads 1
    python benchmarks/bench_step.py --data $HF_BAT_DATA/snli/train.jsonl.gz --methods triplet likelihood

A step includes everything between two weight updates: collating, forward and backward pass, clipping
and optimizer. The two methods take turns, so a change in the machine's speed affects both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from functools import partial

import torch
from common import add_data_arguments, describe_machine, find_model, load_tokenizer, read_clock
from transformers import AutoModelForSequenceClassification, set_seed
from transformers.utils import logging as transformers_logging

from hf_bat import BalancedTrainer, BalancedTrainingArguments, get_task
from hf_bat.objective import stack_versions
from hf_bat.tasks import load_split


def read_clock_of(gpu: bool) -> float:
    """Return the clock in seconds. If there is a GPU, wait for its work first."""
    return read_clock("cuda") if gpu else time.perf_counter()


class Stepper:
    """A Trainer that takes single steps with its own methods."""

    def __init__(self, method: str, args: argparse.Namespace, folder: str):
        set_seed(0)
        task = get_task(args.task)
        model = AutoModelForSequenceClassification.from_pretrained(
            find_model(args), num_labels=len(task.label_names)
        )
        training = BalancedTrainingArguments(
            folder,
            method=method,
            per_device_train_batch_size=args.batch_size,
            use_cpu=not args.gpu,
            bf16=args.bf16,
            dataloader_num_workers=args.workers,
            report_to="none",
        )
        rows = load_split(args.data).select(range(args.batch_size * (args.steps + args.warmup)))
        self.trainer = BalancedTrainer(
            model=model,
            args=training,
            train_dataset=rows,
            processing_class=load_tokenizer(args),
            task=task,
        )
        # The time of a single thread does not include other processes of the machine.
        is_single = args.threads == 1 and not args.workers and not args.gpu
        self.read_clock = time.process_time if is_single else partial(read_clock_of, args.gpu)
        self.batches = iter(self.trainer.get_train_dataloader())
        self.optimizer = self.trainer.create_optimizer()
        self.model, self.optimizer = self.trainer.accelerator.prepare(model, self.optimizer)

    def take_step(self) -> tuple[float, int]:
        """Take one step. Return its seconds and its number of tokens without padding."""
        trainer = self.trainer
        start = self.read_clock()
        (batch,), items = trainer.get_batch_samples(self.batches, 1, trainer.args.device)
        trainer.training_step(self.model, batch, items)
        trainer.accelerator.clip_grad_norm_(self.model.parameters(), trainer.args.max_grad_norm)
        self.optimizer.step()
        self.model.zero_grad()
        seconds = self.read_clock() - start
        inputs = stack_versions(batch, trainer.processing_class)
        return seconds, int(inputs["attention_mask"].sum())


def main() -> None:
    """Run the measurements and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    add_data_arguments(parser)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--workers", type=int, default=0, help="number of data workers")
    parser.add_argument("--methods", nargs="+", default=("normal", "triplet"), metavar="METHOD",
                        help="the baseline and others (default: normal triplet)")  # fmt: skip
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers_logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        steppers = {name: Stepper(name, args, folder) for name in args.methods}
        seconds: dict[str, list[float]] = {name: [] for name in steppers}
        tokens = dict.fromkeys(steppers, 0)
        for step in range(args.warmup + args.steps):
            for name, stepper in steppers.items():
                taken, processed = stepper.take_step()
                if step >= args.warmup:
                    seconds[name].append(taken)
                    tokens[name] += processed
    base, *others = args.methods
    compared = {}
    for name in others:
        pairs = [t / n for n, t in zip(seconds[base], seconds[name], strict=True)]
        compared[name] = {
            "time_ratio": sum(seconds[name]) / sum(seconds[base]),
            "time_ratio_of_pairs": statistics.median(pairs),
            "token_ratio": tokens[name] / tokens[base],
        }
        of_pairs, of_tokens = (compared[name][k] for k in ("time_ratio_of_pairs", "token_ratio"))
        compared[name]["time_over_tokens"] = of_pairs / of_tokens
    results = {
        "machine": describe_machine("cuda" if args.gpu else "cpu"),
        "model": find_model(args),
        "workers": args.workers,
        "threads": args.threads,
        "bf16": args.bf16,
        "batch_size": args.batch_size,
        "steps": args.steps,
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "spread": {name: [min(values), max(values)] for name, values in seconds.items()},
        "peak_mib": torch.cuda.max_memory_allocated() / 2**20 if args.gpu else None,
        "over_baseline": compared,
    }
    for name, values in seconds.items():
        print(
            f"{name:<10} {statistics.median(values):.3f} s per step"
            f" ({min(values):.3f} to {max(values):.3f}), {tokens[name]} tokens"
        )
    for name, ratios in compared.items():
        print(
            f"{name} over {base}: time ratio {ratios['time_ratio']:.2f} in all, "
            f"{ratios['time_ratio_of_pairs']:.2f} (median of pairs); token ratio "
            f"{ratios['token_ratio']:.2f}; time over tokens {ratios['time_over_tokens']:.2f}"
        )
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
