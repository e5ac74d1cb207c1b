"""What one run of a sweep is told, beside `BalancedTrainingArguments`."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class RunArguments:
    """Model, data and tables of one run; named as in `examples/run_glue_bat.py`."""

    model_name_or_path: str = field(metadata={"help": "A model of the Hub, or a folder."})
    task_name: str | None = field(
        default=None, metadata={"help": "A known task; or give --columns.", "aliases": ["--task"]}
    )
    columns: list[str] | None = field(
        default=None, metadata={"help": "Your own task: its text column, or the two."}
    )
    label_column: str = field(
        default="label", metadata={"help": "Your own task: its label column."}
    )
    class_names: list[str] | None = field(
        default=None, metadata={"help": "Your own task: label names in the order of its integers."}
    )
    skipped_labels: list[str] | None = field(
        default=None,
        metadata={"help": "Your own task: labels that no obstinate perturbation touches."},
    )
    train_file: str | None = field(default=None, metadata={"help": "Rows; else the Hub's."})
    validation_file: str | None = field(
        default=None, metadata={"help": "Rows to evaluate on.", "aliases": ["--data"]}
    )
    validation_mm_file: str | None = field(
        default=None, metadata={"help": "MNLI's mismatched set; its metrics end in _mm."}
    )
    max_train_samples: int | None = field(default=None, metadata={"help": "The first N rows."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "The first N rows."})
    synonyms: str | None = field(default=None, metadata={"help": "A synonym table."})
    antonyms: str | None = field(default=None, metadata={"help": "An antonym table."})
    representations: int = field(
        default=0, metadata={"help": "Keep the vectors of the first N rows and of their versions."}
    )
    keep_model: bool = field(default=False, metadata={"help": "Keep the trained model."})


# Arguments that name files whose content, not whose name, makes the result.
FILES = ("train_file", "validation_file", "validation_mm_file", "synonyms", "antonyms")
# Those of them that may be on the Hub.
TABLES = ("synonyms", "antonyms")
# Arguments that name models: of those that are folders the content counts likewise.
MODELS = ("model_name_or_path", "encoder", "mlm_model")
# What a run has where nothing else is asked for.
DEFAULTS = {
    # One checkpoint to go on from; it is removed when the run has finished.
    "save_strategy": "epoch",
    "save_total_limit": 1,
    "report_to": "none",
    "disable_tqdm": True,
}
# Never written down, nor sent to a run: whoever reads a result would have it.
SECRETS = ("hub_token",)
# Arguments that change no figure of the result, but for what `material` says. Not among them are
# dataloader_persistent_workers, with which dropout draws otherwise, and save_only_model, after which an
# interrupted run goes on without its optimizer's state.
IMMATERIAL = (
    "dataloader_num_workers",
    "dataloader_pin_memory",
    "dataloader_prefetch_factor",
    "ddp_timeout",
    "disable_tqdm",
    "do_eval",
    "do_predict",
    "do_train",
    "keep_model",
    "log_level",
    "log_level_replica",
    "log_on_each_node",
    "logging_first_step",
    "logging_steps",
    "logging_strategy",
    "project",
    "report_to",
    "run_name",
    "save_steps",
    "save_strategy",
    "save_total_limit",
)


def without_secrets(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that may be written down.

    Args:
        arguments: of a run, or any others.

    Returns:
        Them without tokens.

    Example:
        >>> without_secrets({"seed": 1, "hub_token": "hf_X"})
        {'seed': 1}
    """
    return {name: value for name, value in arguments.items() if name not in SECRETS}


def row_files(arguments: Mapping[str, Any], splits: Container[str]) -> dict[str, str | None]:
    """Role -> the file of its rows, None for those of the Hub.

    Args:
        arguments: of the run.
        splits: the roles that the task has on the Hub.

    Returns:
        The roles `train`, `validation`, and `validation_mm` where there are such rows: a user's own
        validation rows come with the mismatched ones that the user gives, if any.

    Example:
        >>> row_files({"train_file": "t.jsonl", "validation_file": "v.jsonl"}, ["validation_mm"])
        {'train': 't.jsonl', 'validation': 'v.jsonl'}
    """
    names = ("train", "validation", "validation_mm")
    found = {name: arguments.get(f"{name}_file") for name in names}
    given_without = found["validation"] and not found["validation_mm"]
    if "validation_mm" not in splits or given_without:
        del found["validation_mm"]
    return found


def row_limit(arguments: Mapping[str, Any], role: str) -> int | None:
    """How many rows of a role a run takes at most; None for all."""
    limit: int | None = arguments.get(f"max_{'train' if role == 'train' else 'eval'}_samples")
    return limit


def material(arguments: Mapping[str, Any]) -> frozenset[str]:
    """The arguments of `IMMATERIAL` that change a run's result after all.

    Args:
        arguments: of the run, those that were given.

    Returns:
        Their names: when checkpoints are written, where the best one is loaded at the end, when is
        logged, where evaluation goes by that, and data workers, where batches come as they are ready.

    Example:
        >>> sorted(material({"load_best_model_at_end": True, "save_strategy": "steps"}))
        ['save_steps', 'save_strategy']
    """
    found = set()
    if arguments.get("load_best_model_at_end"):
        found.add("save_strategy")
        if arguments.get("save_strategy", DEFAULTS["save_strategy"]) == "steps":
            found.add("save_steps")
    if arguments.get("eval_strategy") == "steps" and not arguments.get("eval_steps"):
        found.add("logging_steps")
    if arguments.get("dataloader_in_order") is False:
        found.add("dataloader_num_workers")
    return frozenset(found)
