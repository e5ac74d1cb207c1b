#!/usr/bin/env python
"""A search over lambda and the margin: the differences are `model_init` and the space that is searched.

    python examples/by_feature/hyperparameter_search.py --model_name_or_path bert-base-uncased \\
        --train_file train.jsonl.gz --validation_file dev.jsonl.gz --trials 20 --output_dir out

Needs `pip install "hf_bat[search]"`. By default the search maximises `eval_robustness` where attacks at
evaluation report it, else accuracy.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_bat import BalancedTrainer, BalancedTrainingArguments, get_task, metrics
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
        "--task_name", default="snli", help="the task that the files are of (default: snli)"
    )
    parser.add_argument(
        "--train_file", required=True, help="csv, tsv, json, jsonl (.gz) or parquet"
    )
    parser.add_argument("--validation_file", required=True, help="the same, to evaluate on")
    parser.add_argument("--output_dir", required=True, help="where the trials go")
    parser.add_argument("--trials", type=int, default=20, help="how many (default: 20)")
    parser.add_argument(
        "--max_steps", type=int, default=-1, help="stop after so many; else three epochs"
    )
    return parser.parse_args()


def space(trial: Any) -> dict[str, Any]:
    """What optuna draws for each trial: names of `BalancedTrainingArguments`."""
    return {
        "contrastive_weight": trial.suggest_float("contrastive_weight", 0.1, 3.0, log=True),
        "margin": trial.suggest_float("margin", 0.2, 1.5),
    }


def main() -> None:
    """Search, and print the best trial."""
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
    best = trainer.hyperparameter_search(space, n_trials=options.trials, backend="optuna")
    print(f"best: {best.objective:.4f} with {best.hyperparameters}")


if __name__ == "__main__":
    main()
