"""Arguments of a training run that are not hyperparameters: model, task, data and tables."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, NoReturn

from hf_bat.errors import HfBatError, find_wrong_option
from hf_bat.tasks import TASKS


def make_parser(*classes: Any, message: str, **options: Any) -> Any:
    """Create an `HfArgumentParser` for data classes that raises its errors, formatted with `message`."""
    # This import loads torch.
    from transformers import HfArgumentParser

    class Parser(HfArgumentParser):
        # argparse would print the usage with two hundred flags and exit.
        def error(self, text: str) -> NoReturn:
            raise HfBatError(message.format(text))

        def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
            words = sys.argv[1:] if args is None else list(args)
            wrong = find_wrong_option(words, self._option_string_actions, abbreviate=True)
            if wrong is not None:
                self.error(wrong)
            return super().parse_known_args(words, namespace)

    return Parser(classes, **options)


def describe(text: str, default: Any = None, **metadata: Any) -> Any:
    """Return a dataclass field with a help text for its flag, and optionally `aliases`."""
    return field(default=default, metadata={"help": text, **metadata})


@dataclass
class RunArguments:
    """Model, task, data and tables of a training run, named as in transformers' `run_glue.py`."""

    model_name_or_path: str = field(metadata={"help": "A model on the Hub, or a local folder."})
    config_name: str | None = describe("Another configuration.")
    tokenizer_name: str | None = describe("Another tokenizer.")
    cache_dir: str | None = describe("Folder for downloaded models.")
    model_revision: str = describe("Branch, tag or commit on the Hub.", "main")
    trust_remote_code: bool = describe("Run code from the model's repository on the Hub.", False)
    ignore_mismatched_sizes: bool = describe(
        "Replace a head with different labels by a new one.", False
    )
    task_name: str | None = describe(
        f"One of {', '.join(TASKS)}. Use --columns for your own task.", aliases=["--task"]
    )
    columns: list[str] | None = describe("Your own task: one or two text columns.")
    label_column: str = describe("Your own task: label column.", "label")
    # Not `label_names`, because TrainingArguments uses that name for the model inputs with labels.
    class_names: list[str] | None = describe("Your own task: names of labels 0, 1, ...")
    skipped_labels: list[str] | None = describe("Your own task: labels without obstinate versions.")
    train_file: str | None = describe(
        "Training rows: csv, tsv, json, jsonl (.gz) or parquet. Defaults to the Hub data."
    )
    validation_file: str | None = describe("Evaluation rows.", aliases=["--data"])
    validation_mm_file: str | None = describe(
        "MNLI's mismatched evaluation rows. Their metrics end in _mm."
    )
    dataset_name: str | None = describe("A data set on the Hub to use instead of the task's.")
    dataset_config_name: str | None = describe("Its configuration.")
    dataset_revision: str | None = describe("Branch, tag or commit of the data set on the Hub.")
    train_split_name: str | None = describe("Split to train on. Defaults to the task's.")
    validation_split_name: str | None = describe("Split to evaluate. Defaults to the task's.")
    max_train_samples: int | None = describe("Train on N rows only. See --row_choice.")
    max_eval_samples: int | None = describe("Evaluate on N rows only. See --row_choice.")
    synonyms: str | None = describe("A synonym table, or wordnet. Defaults to the bundled one.")
    antonyms: str | None = describe("An antonym table. Defaults to the bundled one.")
    splitter: str | None = describe(
        "MODULE:NAME of a function that splits a text into words, for languages without spaces."
    )
