"""Run one training: load rows and a model from arguments, train, and write result files.

`hf-bat train`, `examples/run_glue_bat.py`, sweeps and the demo all use this module for training.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from transformers import HfArgumentParser, TrainerCallback, enable_full_determinism, set_seed

from hf_bat import run_arguments
from hf_bat.attack.ranks import leave
from hf_bat.attack.report import disclosures
from hf_bat.callbacks import drop_missing_metrics
from hf_bat.checkpoints import check_checkpoint, find_checkpoint, list_checkpoints
from hf_bat.console import (
    escape_output,
    get_interrupt_status,
    hide_library_bars,
    hide_output,
    interrupt_on_sigterm,
    on_terminal,
    open_bar,
    strip_log_escapes,
)
from hf_bat.data import (
    choose_rows,
    describe_missing,
    find_label_column,
    list_missing,
    read_classes,
)
from hf_bat.errors import HfBatError, describe_failure
from hf_bat.evaluation.summary import read_results, summary_table
from hf_bat.files import load_object, make_folder, read_json_object, write_atomically
from hf_bat.labels import find_label_names, list_label_names
from hf_bat.lexicon.bundled import SYNONYM_TABLES
from hf_bat.lexicon.table import is_hub_address
from hf_bat.loading import has_head, load, load_trained
from hf_bat.methods import get_method
from hf_bat.metrics.task import build_compute_metrics
from hf_bat.run_arguments import RunArguments, describe
from hf_bat.stats import format_rate
from hf_bat.tasks import Task, build_task, load_hub_split, load_split, with_label_names
from hf_bat.trainer import BalancedTrainer
from hf_bat.training_args import BalancedTrainingArguments

logger = logging.getLogger(__name__)

_MAX_VALUES = 10_000  # in a configuration file, which normally has a few hundred at most
_LIMITS = {
    "train": "max_train_samples",
    "validation": "max_eval_samples",
    "test": "max_predict_samples",
}
# Flags that have no effect without another flag, with advice for the user.
_NEEDS = (
    ("resume_from_checkpoint", "do_train", "; evaluate a checkpoint as --model_name_or_path"),
    ("baseline", "do_eval", ""),
    ("test_file", "do_predict", ""),
    *((f"hub_{name}", "push_to_hub", "") for name in ("token", "private_repo", "revision", "always_push")),
)  # fmt: skip


@dataclass
class FinetuneArguments(RunArguments):
    """A run's arguments from the command line that are not hyperparameters."""

    test_file: str | None = describe("File with rows to predict.")
    test_split_name: str | None = describe("Split to predict. Defaults to the task's.")
    token: str | None = describe(
        "Hub token for private models and data. Defaults to the logged-in user's."
    )
    max_predict_samples: int | None = describe("Predict only N rows.")
    baseline: str | None = describe("Folder or eval_results.json of another run to compare with.")
    f1_label: str | None = describe("Report F1 of this label as eval_f1.")
    quiet: bool = describe("Only print errors.", False)


# ---- the parts of the run ------------------------------------------------------------------------


def load_rows(
    run: RunArguments, task: Task, args: BalancedTrainingArguments, roles: Sequence[str]
) -> dict[str, Any]:
    """Load the rows for roles among "train", "validation" and "test".

    Rows come from the run's files or from the Hub, and their number is limited as requested. MNLI's
    mismatched sets are loaded together with the last two roles, with `_mm` added to the role.
    Returns a dict of role -> rows.
    """
    given, rows = vars(run), {}
    # The main process fills the cache for the other processes.
    with args.main_process_first(desc="loading the data"):
        for role in roles:
            files = {role: given.get(f"{role}_file")}
            mismatched = f"{role}_mm"
            # Custom rows only have a mismatched set if the user passes one.
            if mismatched in task.splits and (given.get(f"{mismatched}_file") or not files[role]):
                files[mismatched] = given.get(f"{mismatched}_file")
            limit = given.get(_LIMITS[role])
            if limit is not None and limit < 1:
                raise HfBatError(f"{_LIMITS[role]} must be at least 1; got {limit}")
            for name, path in files.items():
                if path:
                    split = load_split(path, task=task)
                else:
                    chosen = given.get(f"{name}_split_name"), run.dataset_revision
                    split = load_hub_split(task, name, *chosen, given.get("token"))
                rows[name] = split
                if limit is not None and limit < len(split):
                    column = find_label_column(split, task, None)
                    classes = read_classes(split, column)
                    selected = choose_rows(len(split), limit, args.row_choice, classes)
                    rows[name] = split.select(selected)
                    line = _describe_choice(selected, classes, len(split), name, args)
                    logger.warning("%s", line)
    return rows


def _describe_choice(
    chosen: Sequence[int],
    classes: Sequence[str | None],
    count: int,
    name: str,
    args: BalancedTrainingArguments,
) -> str:
    """Describe how many rows of each class a limit selects, because a file may be sorted by class."""
    how = "the first ones" if args.row_choice == "first" else "spread evenly over all"
    line = f"{name}: {len(chosen)} of {count} rows are used, {how}"
    if not classes:
        return line
    counts = Counter(classes[row] or "no label" for row in chosen)
    listed = ", ".join(f"{value}: {number}" for value, number in sorted(counts.items())[:20])
    return f"{line} ({listed}){describe_missing(list_missing(classes, chosen))}"


def make_trainer(
    run: RunArguments, task: Task, args: BalancedTrainingArguments, rows: Mapping[str, Any]
) -> BalancedTrainer:
    """Load the model and tokenizer, and create the run's trainer with rows from `load_rows`.

    If the task has no label names, they are taken from the training rows, a trained head, or the
    evaluation rows, in this order.
    """
    _check_files(run, args)
    splitter = load_object(run.splitter) if run.splitter else None
    name = run.model_name_or_path
    options = {
        "cache_dir": run.cache_dir,
        "revision": run.model_revision,
        "trust_remote_code": run.trust_remote_code,
        "token": vars(run).get("token"),
    }
    config = load("AutoConfig", run.config_name or name, "model", **options)
    task = _name_labels(task, rows, config)
    if task.label_names:
        labels = len(task.label_names)
        if has_head(config) and config.num_labels != labels and not run.ignore_mismatched_sizes:
            raise HfBatError(
                f"{name} has a head for {config.num_labels} labels, but the task has {labels}: add "
                "--ignore_mismatched_sizes for a new head"
            )
        config.num_labels = labels
    # A new head is initialized before the Trainer sets its seed.
    enable_full_determinism(args.seed) if args.full_determinism else set_seed(args.seed)
    tokenizer = load("AutoTokenizer", run.tokenizer_name or name, "tokenizer", **options)
    load_model = load if "train" in rows else load_trained
    model = load_model(
        "AutoModelForSequenceClassification",
        name,
        "model",
        config=config,
        # In half precision most training steps are rounded to zero. `bf16` and `fp16` use autocast
        # instead.
        dtype=torch.float32,
        ignore_mismatched_sizes=run.ignore_mismatched_sizes,
        **options,
    )
    return BalancedTrainer(
        model=model,
        args=args,
        train_dataset=rows.get("train"),
        eval_dataset=rows.get("validation"),
        processing_class=tokenizer,
        compute_metrics=build_compute_metrics(task, model.config),
        task=task,
        synonyms=run.synonyms,
        antonyms=run.antonyms,
        splitter=splitter,
    )


def _check_files(run: RunArguments, args: BalancedTrainingArguments) -> None:
    """Check that files exist before the model is loaded, which can take minutes."""
    for option, value in (
        ("contrast_file", args.contrast_file),
        ("synonyms", run.synonyms),
        ("antonyms", run.antonyms),
    ):
        is_named = value is None or value in SYNONYM_TABLES or is_hub_address(value)
        if not is_named and not Path(str(value)).exists():
            raise HfBatError(f"--{option}: file not found: {value}")


def _name_labels(task: Task, rows: Mapping[str, Any], config: Any) -> Task:
    """Return the task with label names from the task, the training rows, the model or the rows."""
    # Rows that are only scored may lack a class or contain placeholders.
    if "train" not in rows and has_head(config):
        return with_label_names(task, list_label_names(config))
    first = next(iter(rows.values()))
    if task.label_names or ("train" not in rows and task.label_column not in first.column_names):
        return task
    return with_label_names(task, find_label_names(first, task))


def evaluate_sets(
    trainer: BalancedTrainer, rows: Mapping[str, Any], known: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Evaluate the validation set (`eval_*`) and the mismatched one (`eval_*_mm`), and return the metrics.

    Rates over zero rows are left out. `known` are the metrics of the validation set if they were just
    measured.
    """
    combined: dict[str, Any] = {}
    for suffix in ("", "_mm"):
        if f"validation{suffix}" in rows:
            # With a different prefix for each set, the model card has a section for each.
            prefix = f"eval{suffix}"
            metrics = None if suffix else known
            if metrics is None:
                metrics = trainer.evaluate(rows[f"validation{suffix}"], metric_key_prefix=prefix)
            for name, value in drop_missing_metrics(metrics).items():
                combined[f"{name.replace(prefix, 'eval', 1)}{suffix}"] = value
    return combined


# ---- a whole run from the command line -----------------------------------------------------------


def finetune(arguments: FinetuneArguments, args: BalancedTrainingArguments) -> BalancedTrainer:
    """Run the parts selected by `do_train`, `do_eval` and `do_predict`.

    The results are saved in `output_dir`: the model, `train_results.json`, `eval_results.json`,
    `all_results.json`, `trainer_state.json`, the perturbation tables with their hashes,
    `predict_results_<task>.txt` and a model card.
    """
    if not (args.do_train or args.do_eval or args.do_predict):
        raise HfBatError("nothing to do: use --do_train, --do_eval or --do_predict")
    _check_used(arguments, args)
    task = build_task(vars(arguments))
    baseline = read_results(arguments.baseline) if arguments.baseline else None
    checkpoint = _prepare_output_dir(args)
    asked = {"train": args.do_train, "validation": args.do_eval, "test": args.do_predict}
    rows = load_rows(arguments, task, args, [role for role, is_asked in asked.items() if is_asked])
    trainer = make_trainer(arguments, task, args, rows)
    if arguments.f1_label is not None:
        assert trainer.task is not None
        config = trainer.model.config
        trainer.compute_metrics = build_compute_metrics(trainer.task, config, arguments.f1_label)
    if args.do_train:
        _check_classes(trainer)
        method, shares = get_method(args.method), {}
        if "obstinate" in method.draws and not task.is_pair and arguments.antonyms is None:
            logger.warning(
                "%s treats every antonym of the bundled table as a change of the label, and single sentences "
                "do not show whether it is: pass --antonyms with pairs that distinguish your labels",
                args.method,
            )
        # With an attack, versions are only found when an epoch starts.
        if method.draws and not method.attack_recipe and trainer.is_world_process_zero():
            preview = trainer.preview(3)
            print(preview, flush=True)
            shares = preview.shares
        trainer.add_callback(_ProgressLines(trainer, shares))
        train(trainer, checkpoint)
    if args.do_eval:
        evaluate(trainer, rows, baseline)
    if args.do_predict:
        predict(trainer, rows, task)
    write_card = trainer.push_to_hub if args.push_to_hub else trainer.create_model_card
    write_card(finetuned_from=arguments.model_name_or_path, dataset=arguments.task_name)
    return trainer


def _check_classes(trainer: BalancedTrainer) -> None:
    """Check that the training rows have at least two classes. A stream is not checked."""
    rows = trainer.train_dataset
    classes = set(rows["label"]) if hasattr(rows, "__len__") else set()
    if len(classes) == 1:
        name = trainer.model.config.id2label[classes.pop()]
        raise HfBatError(
            f"all {len(rows)} training rows have the label {name!r}, and a classifier needs two; give rows "
            "of all classes"
        )


class _ProgressLines(TrainerCallback):
    """Prints a one-line summary of the training, and one line per minute without a progress bar."""

    def __init__(self, trainer: BalancedTrainer, shares: Mapping[str, float]):
        self.trainer, self.shares = trainer, shares
        self._bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        dataset, epochs = self.trainer.train_dataset, float(args.num_train_epochs)
        # A stream has no length.
        rows = f"{len(dataset):,}" if hasattr(dataset, "__len__") else "streamed"
        batch = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        length = ""
        if args.max_steps <= 0:
            length = f"{epochs:g} {'epoch' if epochs == 1 else 'epochs'}, "
        line = f"training {args.method} on {rows} rows: {length}{state.max_steps:,} steps of {batch} rows"
        versions = ", ".join(f"{kind} {format_rate(share)}" for kind, share in self.shares.items())
        print(f"{line}; rows with versions: {versions}" if versions else line, flush=True)
        if args.disable_tqdm:
            self._bar = open_bar(state.max_steps, "training", "step", initial=state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._bar is not None:
            self._bar.close()


def _check_used(arguments: FinetuneArguments, args: BalancedTrainingArguments) -> None:
    """Check for flags that the run would ignore, or fail on after training."""
    given = {**vars(args), **vars(arguments)}
    for name, needed, advice in _NEEDS:
        if given.get(name) not in (None, False) and not given[needed]:
            raise HfBatError(f"--{name} needs --{needed}: add it, or leave --{name} out{advice}")
    if args.batch_eval_metrics or not args.eval_do_concat_batches:
        flag = "batch_eval_metrics" if args.batch_eval_metrics else "eval_do_concat_batches false"
        raise HfBatError(f"--{flag} is not supported: metrics are computed on all rows at once")
    if args.prediction_loss_only and (args.do_eval or args.do_predict):
        raise HfBatError("--prediction_loss_only leaves no predictions to score or write; omit it")


def _prepare_output_dir(args: BalancedTrainingArguments) -> str | None:
    """Check that the output folder is writable. Return the checkpoint to resume from, if any."""
    folder = make_folder(str(args.output_dir))
    asked: Any = args.resume_from_checkpoint
    if asked in ("last", "true", "True", True):
        return find_checkpoint(folder)
    if asked:
        return check_checkpoint(asked)
    if args.do_train and (checkpoints := list_checkpoints(folder)):
        raise HfBatError(
            f"{folder} already holds {checkpoints[0].name}: add --resume_from_checkpoint last to continue "
            "from it, or choose another --output_dir"
        )
    return None


def train(trainer: BalancedTrainer, checkpoint: str | None) -> None:
    """Train, optionally from a checkpoint, and save the model, tables, metrics and state."""
    result = trainer.train(resume_from_checkpoint=checkpoint)
    # `_internal_call` keeps save_model from pushing, because the card does not have the evaluation
    # yet.
    trainer.save_model(_internal_call=True)
    metrics = {**result.metrics, "train_samples": len(trainer.train_dataset)}
    if trainer.is_world_process_zero():
        for name, fingerprint in trainer.save_perturbations(trainer.args.output_dir).items():
            metrics[f"{name}_fingerprint"] = fingerprint
    trainer.log_metrics("train", metrics)
    trainer.save_metrics("train", metrics)
    trainer.save_state()


def evaluate(
    trainer: BalancedTrainer, rows: Mapping[str, Any], baseline: Mapping[str, Any] | None = None
) -> None:
    """Evaluate and save the metrics, and compare them with the metrics of another run if one is given."""
    metrics = evaluate_sets(trainer, rows)
    for suffix in ("", "_mm"):
        if f"validation{suffix}" in rows:
            # Unlabeled rows and rows with an empty text are not evaluated.
            evaluations = [e for e in trainer.evaluations if e.name == f"eval{suffix}"]
            metrics[f"eval_samples{suffix}"] = evaluations[-1].rows
    trainer.log_metrics("eval", metrics)
    defense = trainer.canonicalizer.describe() if trainer.canonicalizer is not None else None
    # save_metrics updates all_results.json, so the key of an earlier run has to be overwritten.
    if defense is not None or _has_saved_defense(trainer.args.output_dir):
        metrics["preprocessing_defence"] = defense
    trainer.save_metrics("eval", metrics)
    if trainer.is_world_process_zero():
        print(f"\n{summary_table(metrics, baseline, sys.stdout)}\n", flush=True)
        named = {"this model": metrics, **({"baseline": baseline} if baseline else {})}
        for line in disclosures(named.items()):
            print(line)


def _has_saved_defense(folder: str | None) -> bool:
    """Return whether the results in the folder mention a preprocessing defense."""
    try:
        results = read_json_object(Path(str(folder), "all_results.json"))
        return results.get("preprocessing_defence") is not None
    except HfBatError:
        return False


def predict(trainer: BalancedTrainer, rows: Mapping[str, Any], task: Task) -> None:
    """Write the predicted label names of each test set, with one line per row."""
    for suffix in ("", "_mm"):
        if f"test{suffix}" not in rows:
            continue
        unlabeled = rows[f"test{suffix}"]
        # The labels of a test set are often placeholders.
        placeholders = {task.label_column, "label"} - set(task.columns)
        unlabeled = unlabeled.remove_columns(
            [column for column in unlabeled.column_names if column in placeholders]
        )
        logits = trainer.predict(unlabeled, metric_key_prefix="predict").predictions
        if trainer.is_world_process_zero():
            path = Path(str(trainer.args.output_dir), f"predict_results_{task.name}{suffix}.txt")
            names = trainer.model.config.id2label
            lines = [f"{i}\t{names[int(label)]}" for i, label in enumerate(logits.argmax(-1))]
            write_atomically(path, "\n".join(["index\tprediction", *lines]) + "\n")
            logger.info("%d predictions written: %s", len(lines), path)


# ---- the command line ----------------------------------------------------------------------------


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults and keeps the line breaks of the description."""


def make_parser(description: str | None = None, add_help: bool = True) -> HfArgumentParser:
    """Create the parser of `FinetuneArguments` and `BalancedTrainingArguments`."""
    parser = run_arguments.make_parser(
        FinetuneArguments,
        BalancedTrainingArguments,
        message="{} (--help lists the flags)",
        description=description,
        formatter_class=_Formatter,
        add_help=add_help,
    )
    if not on_terminal(sys.stderr):
        # By default, the Trainer also writes progress bars to files.
        parser.set_defaults(disable_tqdm=True)
    return parser


def expand_configuration(argv: Sequence[str]) -> list[str]:
    """Replace a configuration file in front of flags with the flags it contains.

    Args:
        argv: Flags, optionally after the path of a JSON or YAML file (`.json`, `.yaml`, `.yml`). The
            file maps flag names to values, and a list means several values. Flags after the file have
            priority.

    Raises:
        HfBatError: If the file is missing or not a mapping.
    """
    if not argv or not argv[0].endswith((".json", ".yaml", ".yml")):
        return list(argv)
    flags: list[str] = []
    for name, value in _read_configuration(argv[0]).items():
        values = value if isinstance(value, list) else [value]
        if value is None:
            continue
        if any(isinstance(item, dict) for item in values):
            values = [json.dumps(value)]
        # Joined into one word, because a value may start with a dash.
        flags += [f"--{name}={values[0]}"] if len(values) == 1 else [f"--{name}", *map(str, values)]
    return [*flags, *argv[1:]]


def _read_configuration(path: str) -> dict[str, Any]:
    if path.endswith(".json"):
        return read_json_object(path)
    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        raise HfBatError(f"{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise HfBatError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise HfBatError(f"{path} must map names of flags to values")
    _check_size(content, path)
    return content


def _check_size(content: dict[str, Any], path: str) -> None:
    """Check that the aliases of a YAML file, which may be nested, do not make it too large."""
    nodes: list[Any] = [content]
    count = 0
    while nodes:
        node = nodes.pop()
        count += 1
        if count > _MAX_VALUES:
            raise HfBatError(
                f"{path} has more than {_MAX_VALUES:,} values, aliases counted in full"
            )
        if isinstance(node, (dict, list)):
            nodes += node.values() if isinstance(node, dict) else node


def parse_arguments(
    argv: Sequence[str], parser: HfArgumentParser
) -> tuple[FinetuneArguments, BalancedTrainingArguments]:
    """Parse flags, optionally after a configuration file; see `expand_configuration`."""
    try:
        return parser.parse_args_into_dataclasses(expand_configuration(argv))
    except (OSError, TypeError, ValueError) as error:
        # Raised by the parser and by TrainingArguments, including for unknown flags.
        raise HfBatError(str(error).splitlines()[0]) from error


def run(argv: Sequence[str], parser: HfArgumentParser, program: str) -> int:
    """Run the training described by flags. Return the exit status: 0, or 2 for bad input.

    The status is 130 if the run was interrupted, or 143 if by SIGTERM. Messages have one line, which
    starts with the name of the `program`.
    """
    try:
        # TrainingArguments logs warnings during parsing.
        with hide_output() if "--quiet" in argv else nullcontext():
            arguments, args = parse_arguments(argv, parser)
        with interrupt_on_sigterm(), hide_output() if arguments.quiet else nullcontext():
            start(arguments, args)
    except (HfBatError, OSError) as error:
        print(f"{program}: error: {describe_failure(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        print(f"{program}: interrupted; {RESUME_HINT}", file=sys.stderr)
        return get_interrupt_status(interruption)
    return 0


RESUME_HINT = (
    "if a checkpoint was saved, the same command with --resume_from_checkpoint last continues "
    "from it"
)


def build_arguments(
    values: Mapping[str, Any],
) -> tuple[FinetuneArguments, BalancedTrainingArguments]:
    """Build the run's arguments from a dict of flag values."""
    parts = [
        {field.name: values[field.name] for field in fields(kind) if field.name in values}
        for kind in (FinetuneArguments, BalancedTrainingArguments)
    ]
    try:
        return FinetuneArguments(**parts[0]), BalancedTrainingArguments(**parts[1])
    except (TypeError, ValueError) as error:
        # Raised by TrainingArguments.
        raise HfBatError(str(error).splitlines()[0]) from error


def start(arguments: FinetuneArguments, args: BalancedTrainingArguments) -> None:
    """Run the training and log to the console."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        level=logging.INFO if args.should_log else logging.WARNING,
    )
    if args.disable_tqdm and not on_terminal(sys.stderr):
        hide_library_bars()
    finetune(arguments, args)


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Run the main function of a training program, and exit with its status."""
    strip_log_escapes()
    with escape_output():
        status = main()
    if status == 0:
        leave()
    sys.exit(status)
