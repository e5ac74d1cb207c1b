#!/usr/bin/env python
"""Balanced training on your own task. The only difference is the `Task` that describes the data.

    python examples/by_feature/custom_task.py --model_name_or_path bert-base-uncased \\
        --train_file train.csv --columns review --label_column stars --class_names bad fair good \\
        --skipped_labels fair --output_dir out

The data can be csv, tsv, json, jsonl (optionally .gz) or parquet. List classes that an antonym is
unlikely to change in --skipped_labels. Their rows get no obstinate versions.
"""

from __future__ import annotations

import argparse

from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

from hf_bat import BalancedTrainer, BalancedTrainingArguments, Task
from hf_bat.tasks import load_split


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model_name_or_path", required=True, help="a model on the Hub, or a local folder"
    )
    parser.add_argument(
        "--train_file", required=True, help="csv, tsv, json, jsonl (.gz) or parquet"
    )
    parser.add_argument("--columns", nargs="+", required=True, help="one or two text columns")
    parser.add_argument("--label_column", default="label", help="the label column (default: label)")
    parser.add_argument(
        "--class_names",
        nargs="+",
        required=True,
        help="label names in the order of the integer labels",
    )
    parser.add_argument(
        "--skipped_labels", nargs="+", default=[], help="classes without obstinate versions"
    )
    parser.add_argument("--output_dir", required=True, help="folder for the model")
    parser.add_argument(
        "--max_steps",
        type=int,
        default=-1,
        help="stop after this many steps (default: three epochs)",
    )
    return parser.parse_args()


def main() -> None:
    """Describe the task, preview the versions, train and save."""
    options = parse_arguments()
    task = Task(
        name="custom",
        columns=tuple(options.columns),
        label_names=tuple(options.class_names),
        skipped_labels=tuple(options.skipped_labels),
        label_column=options.label_column,
    )
    # The new head is created before the Trainer sets its seed, which is 42 by default.
    set_seed(42)
    trainer = BalancedTrainer(
        model=AutoModelForSequenceClassification.from_pretrained(
            options.model_name_or_path, num_labels=len(task.label_names)
        ),
        args=BalancedTrainingArguments(
            options.output_dir,
            method="pairwise",
            max_steps=options.max_steps,
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=load_split(options.train_file),
        processing_class=AutoTokenizer.from_pretrained(options.model_name_or_path),
        task=task,
    )
    print(trainer.preview(3))
    trainer.train()
    trainer.save_model()
    trainer.save_perturbations(options.output_dir)


if __name__ == "__main__":
    main()
