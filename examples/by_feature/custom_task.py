#!/usr/bin/env python
"""Balanced training on a task of your own: the one difference is the `Task` that describes the data.

    python examples/by_feature/custom_task.py --model_name_or_path bert-base-uncased \\
        --train_file train.csv --columns review --label_column stars --class_names bad fair good \\
        --skipped_labels fair --output_dir out

Reads csv, tsv, json, jsonl (each also .gz) and parquet. A class among --skipped_labels gets no obstinate
version, because an antonym is unlikely to change such a label.
"""

from __future__ import annotations

import argparse

from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

from hf_bat import BalancedTrainer, BalancedTrainingArguments, Task
from hf_bat.tasks import load_split


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model_name_or_path", required=True, help="a model of the Hub, or a folder"
    )
    parser.add_argument(
        "--train_file", required=True, help="csv, tsv, json, jsonl (.gz) or parquet"
    )
    parser.add_argument("--columns", nargs="+", required=True, help="the text column, or the two")
    parser.add_argument("--label_column", default="label", help="its name (default: label)")
    parser.add_argument("--class_names", nargs="+", required=True, help="in the labels' order")
    parser.add_argument(
        "--skipped_labels", nargs="+", default=[], help="classes without obstinate versions"
    )
    parser.add_argument("--output_dir", required=True, help="where the model goes")
    parser.add_argument(
        "--max_steps", type=int, default=-1, help="stop after so many; else three epochs"
    )
    return parser.parse_args()


def main() -> None:
    """Describe the task, look at what will be drawn, train, save."""
    options = parse_arguments()
    task = Task(
        name="custom",
        columns=tuple(options.columns),
        label_names=tuple(options.class_names),
        skipped_labels=tuple(options.skipped_labels),
        label_column=options.label_column,
    )
    set_seed(42)  # of the new head's weights: the arguments' default
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
