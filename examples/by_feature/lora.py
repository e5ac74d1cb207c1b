#!/usr/bin/env python
"""Balanced training of a LoRA adapter. The only difference is `get_peft_model` around the model.

    python examples/by_feature/lora.py --model_name_or_path bert-base-uncased \\
        --train_file train.jsonl.gz --validation_file dev.jsonl.gz --output_dir out

Needs `pip install "hf_bat[peft]"`. PEFT only trains and saves a head called `classifier` or `score`.
If the head of a model has more parts, the trainer lists them in a warning. Pass them to
--modules_to_save.
"""

from __future__ import annotations

import argparse

from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

from hf_bat import BalancedTrainer, BalancedTrainingArguments, get_task
from hf_bat.tasks import load_split


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model_name_or_path", required=True, help="a model on the Hub, or a local folder"
    )
    parser.add_argument("--task_name", default="snli", help="the task of the files (default: snli)")
    parser.add_argument(
        "--train_file", required=True, help="csv, tsv, json, jsonl (.gz) or parquet"
    )
    parser.add_argument(
        "--validation_file", required=True, help="rows to evaluate on, in the same formats"
    )
    parser.add_argument("--output_dir", required=True, help="folder for the adapter")
    parser.add_argument("--rank", type=int, default=8, help="rank of the adapter (default: 8)")
    parser.add_argument(
        "--target_modules", nargs="+", help="layers to adapt (default: chosen by PEFT)"
    )
    parser.add_argument("--modules_to_save", nargs="+", help="parts of the head to train and save")
    parser.add_argument(
        "--max_steps",
        type=int,
        default=-1,
        help="stop after this many steps (default: three epochs)",
    )
    return parser.parse_args()


def main() -> None:
    """Train the adapter, evaluate and save it."""
    options = parse_arguments()
    task = get_task(options.task_name)
    # The new head is created before the Trainer sets its seed, which is 42 by default.
    set_seed(42)
    model = AutoModelForSequenceClassification.from_pretrained(
        options.model_name_or_path, num_labels=len(task.label_names)
    )
    model = get_peft_model(
        model,
        LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=options.rank,
            target_modules=options.target_modules,
            modules_to_save=options.modules_to_save,
        ),
    )
    model.print_trainable_parameters()
    trainer = BalancedTrainer(
        model=model,
        args=BalancedTrainingArguments(
            options.output_dir,
            method="triplet",
            learning_rate=5e-4,
            max_steps=options.max_steps,
            save_strategy="no",
            report_to="none",
            eval_distances=True,
        ),
        train_dataset=load_split(options.train_file),
        eval_dataset=load_split(options.validation_file),
        processing_class=AutoTokenizer.from_pretrained(options.model_name_or_path),
        task=task,
    )
    trainer.train()
    print(trainer.evaluate())
    trainer.save_model()


if __name__ == "__main__":
    main()
