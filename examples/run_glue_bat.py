#!/usr/bin/env python
"""Fine-tune and evaluate a sentence classifier with Balanced Adversarial Training.

Flags are named as in transformers' `run_glue.py`. Data come from the Hub or from local files:

    python examples/run_glue_bat.py --model_name_or_path bert-base-uncased --task_name mnli \\
        --method triplet --do_train --do_eval --output_dir out

    accelerate launch examples/run_glue_bat.py --model_name_or_path bert-base-uncased --task_name snli \\
        --train_file train.jsonl.gz --validation_file dev.jsonl.gz --method pairwise \\
        --do_train --do_eval --output_dir out

It leaves in the output folder the model, `train_results.json`, `eval_results.json`,
`all_results.json`, `trainer_state.json`, and the perturbation tables that it used with their hashes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

# What torch warns of outside Python, as DDP does; read when it is imported, before a file of flags is.
if "--quiet" in sys.argv:
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    HfArgumentParser,
    enable_full_determinism,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from hf_bat import BalancedTrainer, BalancedTrainingArguments, HfBatError, Task
from hf_bat.attack.ranks import leave
from hf_bat.attack.report import disclosures
from hf_bat.callbacks import known_rates
from hf_bat.console import hide_library_bars, on_terminal, plain_logs, silence
from hf_bat.files import write_atomically
from hf_bat.labels import label_names_of, names_of
from hf_bat.metrics.of_task import task_metrics
from hf_bat.summary import read_results, summary_table
from hf_bat.tasks import TASKS, load_hub_split, load_split, task_of_arguments, with_label_names

logger = logging.getLogger("run_glue_bat")


@dataclass
class ModelArguments:
    """Which model to fine-tune."""

    model_name_or_path: str = field(metadata={"help": "A model of the Hub, or a folder."})
    config_name: str | None = field(default=None, metadata={"help": "Another configuration."})
    tokenizer_name: str | None = field(default=None, metadata={"help": "Another tokenizer."})
    cache_dir: str | None = field(default=None, metadata={"help": "Where downloads are kept."})
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit."})
    ignore_mismatched_sizes: bool = field(
        default=False,
        metadata={"help": "Load a model whose head has another size, with a new head."},
    )


@dataclass
class DataArguments:
    """What to train and evaluate on, and what to perturb with."""

    task_name: str | None = field(
        default=None,
        metadata={"help": f"One of {', '.join(TASKS)}; or give --columns.", "aliases": ["--task"]},
    )
    columns: list[str] | None = field(
        default=None, metadata={"help": "Your own task: its text column, or the two."}
    )
    label_column: str = field(
        default="label", metadata={"help": "Your own task: its label column."}
    )
    # `--label_names` is taken: TrainingArguments has one, for the names of label columns.
    class_names: list[str] | None = field(
        default=None,
        metadata={"help": "Your own task: label names in the order of its integers."},
    )
    skipped_labels: list[str] | None = field(
        default=None,
        metadata={"help": "Your own task: labels that no obstinate perturbation touches."},
    )
    train_file: str | None = field(
        default=None, metadata={"help": "csv, tsv, json, jsonl (.gz) or parquet; else the Hub's."}
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "The same, to evaluate on.", "aliases": ["--data"]}
    )
    validation_mm_file: str | None = field(
        default=None, metadata={"help": "MNLI's mismatched set; its metrics end in _mm."}
    )
    test_file: str | None = field(default=None, metadata={"help": "The same, to predict."})
    max_train_samples: int | None = field(default=None, metadata={"help": "The first N rows."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "The first N rows."})
    max_predict_samples: int | None = field(default=None, metadata={"help": "The first N rows."})
    synonyms: str | None = field(
        default=None, metadata={"help": "A synonym table; the bundled lexicon's where absent."}
    )
    antonyms: str | None = field(
        default=None, metadata={"help": "An antonym table; the bundled lexicon's where absent."}
    )
    baseline: str | None = field(
        default=None,
        metadata={
            "help": "Another run's folder, or its eval_results.json: the last table shows it beside this."
        },
    )
    quiet: bool = field(default=False, metadata={"help": "Print nothing but errors."})


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Leaves the examples as they are written."""


class _Parser(HfArgumentParser):
    """Says what is wrong in one line, without the list of its two hundred flags."""

    def error(self, message: str) -> NoReturn:
        raise HfBatError(f"{message} (--help lists the flags)")


def make_parser() -> HfArgumentParser:
    """The parser of the command line."""
    return _Parser(
        (ModelArguments, DataArguments, BalancedTrainingArguments),
        description=__doc__,
        formatter_class=_Formatter,
    )


def parse_arguments() -> tuple[ModelArguments, DataArguments, BalancedTrainingArguments]:
    """Read the command line, or the one JSON file that it names."""
    parser = make_parser()
    # The Trainer draws its bars into pipes and files too, unless it is told not to.
    defaults = {} if on_terminal(sys.stderr) else {"disable_tqdm": True}
    parser.set_defaults(**defaults)
    try:
        if (path := _json_file()) is not None:
            return parser.parse_dict(defaults | json.loads(path.read_text("utf-8")))
        return parser.parse_args_into_dataclasses()
    except HfBatError:
        raise
    except (OSError, TypeError, ValueError) as error:
        # What the parser and TrainingArguments find wrong, flags that do not exist included.
        raise HfBatError(str(error).splitlines()[0]) from error


def _json_file() -> Path | None:
    """The one JSON file that the command line names in the place of flags."""
    given = sys.argv[1:]
    return Path(given[0]) if len(given) == 1 and given[0].endswith(".json") else None


def _asked_for_quiet() -> bool:
    """Whether to be quiet from the first: TrainingArguments warns while it is parsed."""
    path = _json_file()
    if path is None:
        return "--quiet" in sys.argv and not {"-h", "--help"} & set(sys.argv)
    try:
        return bool(json.loads(path.read_text("utf-8"))["quiet"])
    except (OSError, ValueError, KeyError, TypeError):
        return False  # the parser says what is wrong with the file


def check_used(data: DataArguments, args: BalancedTrainingArguments) -> None:
    """Refuse flags that this script would pass by, or trip over after training."""
    if args.resume_from_checkpoint and not args.do_train:
        raise HfBatError(
            "--resume_from_checkpoint is for --do_train; to evaluate a checkpoint give it as "
            "--model_name_or_path"
        )
    if args.batch_eval_metrics or not args.eval_do_concat_batches:
        flag = "batch_eval_metrics" if args.batch_eval_metrics else "eval_do_concat_batches false"
        raise HfBatError(f"--{flag} is not supported: metrics are of all rows at once")
    if args.prediction_loss_only and (args.do_eval or args.do_predict):
        raise HfBatError(
            "--prediction_loss_only leaves no answers to score or to write; leave it out"
        )
    if data.baseline and not args.do_eval:
        raise HfBatError("--baseline is for --do_eval, whose table shows it; give --do_eval too")
    if data.test_file and not args.do_predict:
        raise HfBatError(
            "--test_file is for --do_predict, which reads it; give --do_predict too, or leave it out"
        )
    for name in ("hub_token", "hub_private_repo", "hub_revision", "hub_always_push"):
        # Older versions of transformers have not all of them.
        if getattr(args, name, None) not in (None, False) and not args.push_to_hub:
            raise HfBatError(f"--{name} is for --push_to_hub; give that too, or leave it out")


def choose_task(data: DataArguments) -> Task:
    """The named task, or the one that the flags describe."""
    if (data.task_name is None) == (data.columns is None):
        raise HfBatError("give either --task_name or --columns")
    return task_of_arguments(vars(data))


def load_rows(task: Task, data: DataArguments, args: BalancedTrainingArguments) -> dict[str, Any]:
    """The rows of each split that the run needs, cut to the asked number."""
    wanted = []
    if args.do_train:
        wanted.append(("train", data.train_file, data.max_train_samples))
    if args.do_eval:
        wanted.append(("validation", data.validation_file, data.max_eval_samples))
        given_locally = data.validation_file and not data.validation_mm_file
        if "validation_mm" in task.splits and not given_locally:
            wanted.append(("validation_mm", data.validation_mm_file, data.max_eval_samples))
    if args.do_predict:
        wanted.append(("test", data.test_file, data.max_predict_samples))
        if "test_mm" in task.splits and not data.test_file:
            wanted.append(("test_mm", None, data.max_predict_samples))
    rows = {}
    with args.main_process_first(desc="loading the data"):
        for role, path, limit in wanted:
            split = load_split(path) if path else load_hub_split(task, role)
            rows[role] = split if limit is None else split.select(range(min(limit, len(split))))
    return rows


def load_config(model: ModelArguments) -> Any:
    """The model's configuration."""
    name = model.config_name or model.model_name_or_path
    try:
        return AutoConfig.from_pretrained(
            name, cache_dir=model.cache_dir, revision=model.model_revision
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise HfBatError(f"cannot load {name}: {str(error).splitlines()[0]}") from error


def named_task(task: Task, rows: Any, config: Any, trains: bool) -> Task:
    """The task with label names: its own, a trained head's, or those of the rows that are trained on.

    What rows to evaluate or predict hold is often not all classes, or placeholders.
    """
    if task.label_names:
        return task
    if not trains and _has_head(config):
        return with_label_names(task, names_of(config))
    if not trains and task.label_column not in rows.column_names:
        return task
    return with_label_names(task, label_names_of(rows, task))


def load_model(model: ModelArguments, config: Any, task: Task) -> tuple[Any, Any]:
    """The tokenizer, and the model with a head for the task's labels."""
    options = {"cache_dir": model.cache_dir, "revision": model.model_revision}
    name = model.model_name_or_path
    if task.label_names:
        if not model.ignore_mismatched_sizes:
            _check_head(name, config, len(task.label_names))
        config.num_labels = len(task.label_names)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model.tokenizer_name or name, **options)
        classifier = AutoModelForSequenceClassification.from_pretrained(
            name,
            config=config,
            ignore_mismatched_sizes=model.ignore_mismatched_sizes,
            **options,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise HfBatError(f"cannot load {name}: {str(error).splitlines()[0]}") from error
    return tokenizer, classifier


def _check_head(name: str, config: Any, labels: int) -> None:
    """Refuse a trained head of another number of labels, which transformers reports in a page."""
    if _has_head(config) and config.num_labels != labels:
        raise HfBatError(
            f"{name} has a head for {config.num_labels} labels and the task {labels}: add "
            "--ignore_mismatched_sizes for a new head"
        )


def _has_head(config: Any) -> bool:
    """Whether the model has been a classifier, and not an encoder whose head is new."""
    return any("SequenceClassification" in one for one in config.architectures or ())


def check_output_dir(args: BalancedTrainingArguments) -> str | None:
    """Make sure that the output folder can be written, before anything long; find what to resume.

    Returns:
        The checkpoint to resume from, or None to start afresh.
    """
    folder = Path(args.output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise HfBatError(f"cannot write to output_dir {folder}: {error.strerror}") from error
    last = get_last_checkpoint(str(folder))
    asked = args.resume_from_checkpoint
    if asked in ("last", "true", "True", True):
        return last
    if asked:
        if not Path(asked).is_dir():
            raise HfBatError(f"checkpoint not found: {asked}")
        return asked
    if args.do_train and last is not None:
        raise HfBatError(
            f"{folder} already holds {Path(last).name}: add --resume_from_checkpoint last to go on "
            "from it, or choose another --output_dir"
        )
    return None


def train(trainer: BalancedTrainer, checkpoint: str | None) -> None:
    """Train, and leave the model, the tables, the metrics and the state in the output folder."""
    result = trainer.train(resume_from_checkpoint=checkpoint)
    # Not pushed yet, which save_model would do: the evaluation belongs into the model card.
    trainer.save_model(_internal_call=True)
    found = {**result.metrics, "train_samples": len(trainer.train_dataset)}
    if trainer.is_world_process_zero():
        for name, fingerprint in trainer.save_perturbations(trainer.args.output_dir).items():
            found[f"{name}_fingerprint"] = fingerprint
    trainer.log_metrics("train", found)
    trainer.save_metrics("train", found)
    trainer.save_state()


def evaluate(
    trainer: BalancedTrainer, rows: dict[str, Any], baseline: dict[str, Any] | None
) -> None:
    """Evaluate on each set and print accuracy and attack success rates, beside the baseline's.

    Keys of the mismatched set end in `_mm`.
    """
    combined: dict[str, Any] = {}
    for role in ("validation", "validation_mm"):
        if role in rows:
            ending = role.removeprefix("validation")
            # A prefix of its own, so that the model card has both sets.
            prefix = f"eval{ending}"
            found = known_rates(trainer.evaluate(rows[role], metric_key_prefix=prefix))
            found[f"{prefix}_samples"] = len(rows[role])
            combined |= {
                f"{key.replace(prefix, 'eval', 1)}{ending}": value for key, value in found.items()
            }
    trainer.log_metrics("eval", combined)
    # None takes the place of what an earlier run left in all_results.json.
    defence = trainer.canonicalizer.describe() if trainer.canonicalizer is not None else None
    if defence is not None or _said_before(trainer.args.output_dir):
        combined["preprocessing_defence"] = defence
    trainer.save_metrics("eval", combined)
    if trainer.is_world_process_zero():
        print(f"\n{summary_table(combined, baseline, sys.stdout)}\n", flush=True)
        named = {"this model": combined, **({"baseline": baseline} if baseline else {})}
        for said in disclosures(named.items()):
            print(said)


def _said_before(folder: str | Path) -> bool:
    """Whether results in the folder disclose a preprocessing defence."""
    try:
        found = json.loads(Path(folder, "all_results.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("preprocessing_defence") is not None


def predict(trainer: BalancedTrainer, rows: dict[str, Any], task: Task) -> None:
    """Write a file of predicted label names for each test set, one line a row."""
    for role in ("test", "test_mm"):
        if role not in rows:
            continue
        # What labels a test set has are often placeholders.
        unlabelled = rows[role]
        placeholders = {task.label_column, "label"} - set(task.columns)
        unlabelled = unlabelled.remove_columns(
            [column for column in unlabelled.column_names if column in placeholders]
        )
        logits = trainer.predict(unlabelled, metric_key_prefix="predict").predictions
        if trainer.is_world_process_zero():
            ending = role.removeprefix("test")
            path = Path(trainer.args.output_dir) / f"predict_results_{task.name}{ending}.txt"
            names = trainer.model.config.id2label
            lines = [f"{i}\t{names[int(label)]}" for i, label in enumerate(logits.argmax(-1))]
            write_atomically(path, "\n".join(["index\tprediction", *lines]) + "\n")
            logger.info("%d predictions written: %s", len(lines), path)


def main() -> None:
    """Run what the flags ask for."""
    with silence() if _asked_for_quiet() else nullcontext():
        model_args, data, args = parse_arguments()
    with silence() if data.quiet else nullcontext():
        work(model_args, data, args)


def work(model_args: ModelArguments, data: DataArguments, args: BalancedTrainingArguments) -> None:
    """Train, evaluate and predict."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        level=logging.INFO if args.should_log else logging.WARNING,
    )
    if args.disable_tqdm and not on_terminal(sys.stderr):
        hide_library_bars()
    if not (args.do_train or args.do_eval or args.do_predict):
        raise HfBatError("nothing to do: give --do_train, --do_eval or --do_predict")
    check_used(data, args)
    task = choose_task(data)
    baseline = read_results(data.baseline) if data.baseline else None
    checkpoint = check_output_dir(args)
    rows = load_rows(task, data, args)
    config = load_config(model_args)
    task = named_task(task, next(iter(rows.values())), config, args.do_train)
    # Of the new head's weights, which are drawn before the Trainer sets it.
    enable_full_determinism(args.seed) if args.full_determinism else set_seed(args.seed)
    tokenizer, model = load_model(model_args, config, task)
    trainer = BalancedTrainer(
        model=model,
        args=args,
        train_dataset=rows.get("train"),
        eval_dataset=rows.get("validation"),
        processing_class=tokenizer,
        compute_metrics=task_metrics(task, model.config),
        task=task,
        synonyms=data.synonyms,
        antonyms=data.antonyms,
    )
    if args.do_train:
        if args.method not in ("normal", "a2t") and trainer.is_world_process_zero():
            print(trainer.preview(3), flush=True)
        train(trainer, checkpoint)
    if args.do_eval:
        evaluate(trainer, rows, baseline)
    if args.do_predict:
        predict(trainer, rows, task)
    card = {
        "finetuned_from": model_args.model_name_or_path,
        "tasks": "text-classification",
        "dataset": data.task_name,
    }
    if args.push_to_hub:
        trainer.push_to_hub(**card)
    else:
        trainer.create_model_card(**card)


def run() -> int:
    """Run `main`; what its user can mend is said in one line.

    Returns:
        The exit status.
    """
    try:
        main()
    except HfBatError as error:
        print(f"run_glue_bat: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "run_glue_bat: interrupted; where a checkpoint is saved, the same command with "
            "--resume_from_checkpoint last goes on from it",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    plain_logs()
    status = run()
    if status == 0:
        leave()
    sys.exit(status)
