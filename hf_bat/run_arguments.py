"""Arguments of a training run that are not hyperparameters: model, task, data and tables."""

from __future__ import annotations

from dataclasses import dataclass, field

from hf_bat.tasks import TASKS


@dataclass
class RunArguments:
    """Model, task, data and tables of a training run.

    `hf_bat.training_args.BalancedTrainingArguments` has the rest. The names are those of
    transformers' `run_glue.py` where it has the argument too.
    """

    model_name_or_path: str = field(metadata={"help": "A model on the Hub, or its folder."})
    config_name: str | None = field(
        default=None, metadata={"help": "Load the configuration from here instead."}
    )
    tokenizer_name: str | None = field(
        default=None, metadata={"help": "Load the tokenizer from here instead."}
    )
    cache_dir: str | None = field(default=None, metadata={"help": "Folder for downloaded models."})
    model_revision: str = field(
        default="main", metadata={"help": "Branch, tag or commit of the model on the Hub."}
    )
    ignore_mismatched_sizes: bool = field(
        default=False,
        metadata={"help": "Replace a head that has another number of labels by a new one."},
    )
    task_name: str | None = field(
        default=None,
        metadata={
            "help": f"One of {', '.join(TASKS)}. For your own task give --columns.",
            "aliases": ["--task"],
        },
    )
    columns: list[str] | None = field(
        default=None, metadata={"help": "Your own task: its text column, or its two."}
    )
    label_column: str = field(
        default="label", metadata={"help": "Your own task: its label column."}
    )
    # Not `label_names`: TrainingArguments uses that name for the inputs that hold labels.
    class_names: list[str] | None = field(
        default=None,
        metadata={"help": "Your own task: label names in the order of the integer labels."},
    )
    skipped_labels: list[str] | None = field(
        default=None,
        metadata={"help": "Your own task: labels without obstinate versions."},
    )
    train_file: str | None = field(
        default=None,
        metadata={
            "help": "Training rows: csv, tsv, json, jsonl (.gz) or parquet. Defaults to the task's "
            "data on the Hub."
        },
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "Evaluation rows, likewise.", "aliases": ["--data"]}
    )
    validation_mm_file: str | None = field(
        default=None,
        metadata={"help": "MNLI's mismatched evaluation rows. Their metrics end in _mm."},
    )
    max_train_samples: int | None = field(
        default=None, metadata={"help": "Train on the first N rows only."}
    )
    max_eval_samples: int | None = field(
        default=None, metadata={"help": "Evaluate on the first N rows only."}
    )
    synonyms: str | None = field(
        default=None, metadata={"help": "A synonym table. Defaults to the bundled one."}
    )
    antonyms: str | None = field(
        default=None, metadata={"help": "An antonym table. Defaults to the bundled one."}
    )
