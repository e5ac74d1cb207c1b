#!/usr/bin/env python
"""A search over lambda and the margin. The only differences are `model_init` and the search space.

    python examples/by_feature/hyperparameter_search.py --model_name_or_path bert-base-uncased \\
        --train_file train.jsonl.gz --validation_file dev.jsonl.gz --trials 20 --output_dir out

Needs `pip install "hf_bat[search]"`. The search maximizes `eval_robustness` if evaluation runs attacks that
report it, and accuracy otherwise.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_bat import BalancedTrainer, BalancedTrainingArguments, get_task, metrics
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
    parser.add_argument("--output_dir", required=True, help="folder for the trials")
    parser.add_argument("--trials", type=int, default=20, help="number of trials (default: 20)")
    parser.add_argument(
        "--max_steps",
        type=int,
        default=-1,
        help="stop after this many steps (default: three epochs)",
    )
    return parser.parse_args()


def suggest_values(trial: Any) -> dict[str, Any]:
    """Draw the values of a trial, with names as in `BalancedTrainingArguments`."""
    return {
        "contrastive_weight": trial.suggest_float("contrastive_weight", 0.1, 3.0, log=True),
        "margin": trial.suggest_float("margin", 0.2, 1.5),
    }


def main() -> None:
    """Run the search and print the best trial."""
    options = parse_arguments()
    task = get_task(options.task_name)
    accuracy = metrics.load("accuracy")
    trainer = BalancedTrainer(
        model_init=lambda: AutoModelForSequenceClassification.from_pretrained(
            options.model_name_or_path, num_labels=len(task.label_names)
        ),
        args=BalancedTrainingArguments(
            options.output_dir,
            method="triplet",
            max_steps=options.max_steps,
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=load_split(options.train_file),
        eval_dataset=load_split(options.validation_file),
        processing_class=AutoTokenizer.from_pretrained(options.model_name_or_path),
        compute_metrics=lambda prediction: accuracy.compute(
            predictions=np.argmax(prediction.predictions, axis=-1), references=prediction.label_ids
        ),
        task=task,
    )
    best = trainer.hyperparameter_search(suggest_values, n_trials=options.trials, backend="optuna")
    print(f"best: {best.objective:.4f} with {best.hyperparameters}")


if __name__ == "__main__":
    main()
