"""The model card, with method, data, attack results and limitations.

Text and `model-index` metadata use the same results. This module does not use the network, and cards
do not contain local folders, host names or tokens.
"""

from __future__ import annotations

import json
import logging
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_bat.attack.figures import Kind, list_figures
from hf_bat.attack.report import AttackReport
from hf_bat.callbacks import drop_missing_metrics
from hf_bat.errors import describe_cause
from hf_bat.files import get_hub_name, shorten_source, write_atomically
from hf_bat.methods import WEIGHTS
from hf_bat.pooling import get_default_pooling
from hf_bat.saved_perturbations import collect_tables
from hf_bat.tasks import Task
from hf_bat.text import escape_markdown, format_code
from hf_bat.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

logger = logging.getLogger(__name__)

# Builders of local files. Data sets from other builders come from the Hub.
_LOCAL_BUILDERS = ("csv", "json", "pandas", "parquet", "text", "generator", "arrow")
# Parts of metric names that describe the run and not the model.
_RUN_METRICS = ("loss", "runtime", "per_second", "epoch", "samples", "_time")


@dataclass(frozen=True)
class Evaluation:
    """The results of one evaluation."""

    name: str  # prefix of the metrics, such as "eval" or "eval_mm"
    step: int  # optimizer step of the evaluated weights
    rows: int
    data: Mapping[str, str]  # see `describe_data`
    metrics: Mapping[str, float]
    # Attack -> its summary, as in `AttackReport.attacks`.
    attacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_results(self) -> list[EvalResult]:
        """Return the results in the format of `model-index`, without rates over zero rows."""
        from huggingface_hub import EvalResult

        common: dict[str, Any] = {
            "task_type": "text-classification",
            "task_name": "Text Classification",
            **{f"dataset_{key}": value for key, value in self.data.items()},
        }
        results = [
            EvalResult(**common, metric_type=name, metric_value=value, metric_name=name)
            for name, value in self.get_model_metrics().items()
            # Contrast metrics are measured on rows of another data set.
            if not name.startswith("contrast_")
        ]
        for attack, summary in self.attacks.items():
            about = {
                "recipe": summary["recipe"]["name"],
                "recipe_hash": summary["recipe"]["hash"],
                "rows": summary["rows"],
                "attempted": summary["attempted"],
            }
            kind: Kind = "obstinate" if "asr_confident" in summary else "fickle"
            for figure in list_figures("card"):
                if figure.read(summary) is None:
                    continue
                notes = [figure.note, "lower is better" if kind in figure.lower_is_better else ""]
                interval = figure.read(summary, "_interval")
                results.append(
                    EvalResult(
                        **common,
                        metric_type=figure.index_type,
                        metric_value=figure.read(summary),
                        metric_name=f"{attack}: {figure.title} ({'; '.join(filter(None, notes))})",
                        metric_args={"attack": attack, "figure": figure.name, **about}
                        | ({"interval_95": list(interval)} if interval else {}),
                    )
                )
        return results

    def get_model_metrics(self) -> dict[str, float]:
        """Return the model's metrics, without the prefix of their names and without attack metrics."""
        prefix = f"{self.name}_"
        of_attacks = tuple(f"{prefix}{attack}_" for attack in self.attacks)
        return {
            key.removeprefix(prefix): value
            for key, value in self.metrics.items()
            if key.startswith(prefix)
            and not key.startswith(of_attacks)
            and not any(part in key.removeprefix(prefix) for part in _RUN_METRICS)
            and isinstance(value, (int, float))
            and math.isfinite(value)
        }


def gather_facts(trainer: Any, step: int, base: str | None) -> dict[str, Any]:
    """Return the variables of the card template, which describe the model and run of a `BalancedTrainer`.

    Only evaluations at `step`, the step of the weights, are included. `base` is the Hub name of the model
    that was fine-tuned, or `None` if unknown or a folder.
    """
    model, args, task = trainer.model, trainer.args, trainer.task
    method = args.get_method()
    folder = Path(args.output_dir).resolve()
    name = args.hub_model_id or folder.name
    train_rows: Any = trainer.train_dataset if trainer.state.global_step > 0 else None
    tables = {}
    if train_rows is not None:
        tables = collect_tables(trainer.used_perturbations(), trainer.canonicalizer)
    edits = trainer.sources.describe_edits()
    id2label = {
        number: str(model.config.id2label[number]) for number in range(model.config.num_labels)
    }
    rows = f"{len(train_rows):,} rows" if hasattr(train_rows, "__len__") else "a stream of rows"
    source = _name_data(describe_data(train_rows, task, "train"))
    return {
        "version": __version__,
        "name": name.split("/")[-1],
        "repo": trainer.hub_model_id or name,
        "base": base,
        "task": task,
        "id2label": id2label,
        "is_adapter": hasattr(model, "peft_config"),
        "trained_on": None if train_rows is None else f"{rows} of {source}",
        "method": args.method,
        "formula": method.write_formula(args),
        "edits": edits["obstinate"] if method.is_balanced else "",
        "fickle_edits": edits["fickle"],
        "distance": args.distance,
        "pooling": args.pooling or get_default_pooling(model),
        # A weight is None if the label filter it needs is off.
        "weights": {
            weight: getattr(args, weight)
            for weight in method.weights
            if getattr(args, weight, None) is not None
        },
        "options": _list_options(args),
        "canonicalize": args.canonicalize,
        "tables": tables,
        "table_files": [f.name for t in tables if (f := folder / f"{t}.json.gz").is_file()],
        # The last evaluation of each set.
        "evaluations": list({e.name: e for e in trainer.evaluations if e.step == step}.values()),
    }


def finish_card(path: Path, facts: Mapping[str, Any], own_tags: Sequence[str]) -> None:
    """Add our text and the facts from `gather_facts` to a card written by `Trainer`.

    The card's metadata, hyperparameters, results and versions are kept.
    """
    from huggingface_hub import ModelCard

    written = ModelCard.load(path, ignore_metadata_errors=True)
    data = written.data
    evaluations: Sequence[Evaluation] = facts["evaluations"]
    name = (data.model_name or facts["name"]).split("/")[-1]
    # Trainer states the base model as it was loaded, which may be a local folder.
    data.base_model = base = facts["base"] or get_hub_name(data.get("base_model"))
    data.tags = list(dict.fromkeys([*(data.tags or []), *own_tags]))
    data.library_name = "peft" if facts["is_adapter"] else "transformers"
    data.pipeline_tag = "text-classification"
    # The index has one entry per data set.
    by_data = {tuple(sorted(e.data.items())): e.to_results() for e in evaluations}
    data.eval_results = [result for results in by_data.values() for result in results] or None
    data.model_name = name if data.eval_results else None  # the name of the index entry
    measures = {result.metric_type for result in data.eval_results or []}
    data.metrics = sorted(measures - {"attackable", "keep_rate"}) or None
    hub_data = {e.data["type"] for e in evaluations if "/" in e.data["type"]}
    data.datasets = sorted(hub_data) or data.datasets
    _, heading, rest = written.text.partition("## Training procedure\n")
    text = _load_template().render(
        {**facts, "name": name, "base": base},
        metadata=data.to_yaml(),
        attacked=any(evaluation.attacks for evaluation in evaluations),
        procedure=(heading + rest.partition("\n## ")[0]).strip(),
    )
    write_atomically(path, re.sub(r"\n{3,}", "\n\n", text), "the model card")


def describe_data(rows: Any, task: Task | None, split: str) -> dict[str, str]:
    """Return `type`, `name`, `split` and optionally `config` of the data set of the rows.

    Rows that are not from the Hub get the task's name. `split` is used if the rows do not have a split.
    """
    builder = getattr(rows, "builder_name", None)
    if task is None or task.hub is None or builder is None or builder in _LOCAL_BUILDERS:
        name = "unknown" if task is None else task.name
        return {"type": name, "name": f"{name} (rows of the user's own)", "split": split}
    path, configuration = task.hub
    config = {} if configuration is None else {"config": configuration}
    return {"type": path, "name": task.name, **config, "split": str(rows.split or split)}


@contextmanager
def align_logs(state: Any) -> Iterator[None]:
    """Temporarily give all evaluations in a trainer's log the same metrics.

    The results table of `Trainer` requires this, but some evaluations have no attacks, and some
    rates are over zero rows. Missing values become a dash.
    """
    logs = state.log_history
    names = dict.fromkeys(name for log in logs if "eval_loss" in log for name in log)
    state.log_history = [
        {name: drop_missing_metrics(log).get(name, "–") for name in names}
        if "eval_loss" in log
        else log
        for log in logs
    ]
    try:
        yield
    finally:
        state.log_history = logs


def _load_template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "code": lambda value: format_code(str(value)),
        "plain": lambda value: escape_markdown(str(value)),
        # A Python string literal with double quotes.
        "string_literal": lambda text: json.dumps(text),
        "name_data": _name_data,
        "table": lambda attacks: AttackReport(attacks).to_markdown(),
    }
    path = Path(__file__).parent / "templates" / "model_card.md"
    return environment.from_string(path.read_text(encoding="utf-8"))


def _name_data(data: Mapping[str, str]) -> str:
    """Return the name of a data set for the card text. The split is only included for Hub data."""
    # Task names do not contain a slash.
    if "/" not in data["type"]:
        return f"{format_code(data['type'])} (rows of the user's own)"
    configuration = f", {format_code(data['config'])}" if "config" in data else ""
    return f"{format_code(data['type'])}{configuration}, split {format_code(data['split'])}"


def warn_local_base(model: Any) -> None:
    """Warn if others cannot load an adapter because its base model is a local folder."""
    for config in getattr(model, "peft_config", {}).values():
        base = config.base_model_name_or_path
        if base and get_hub_name(base) is None:
            logger.warning(
                "the adapter's base model is a local folder, which others cannot load: set "
                "base_model_name_or_path in the adapter's configuration to its name on the Hub"
            )


def explain_failed_upload(error: Exception, repo: str, args: Any, revision: str | None) -> str:
    """Return the message for a failed upload, with the model's folder and how to try again.

    `revision` is the branch passed to `push_to_hub`, or `None` for the branch in the arguments.
    """
    folder = args.output_dir
    call = f"trainer.push_to_hub({f'revision={revision!r}' if revision else ''})"
    # Paths that start with "_" contain texts of training rows, and `Trainer` never uploads them.
    command = f"hf upload {repo} {shlex.quote(folder)} . --exclude '_*' --exclude 'checkpoint-*'"
    branch = args.hub_revision if revision is None else revision
    if branch:
        command += f" --revision {shlex.quote(branch)}"
    return (
        f"the upload to {repo} failed: {describe_cause(error)}; the model is complete in {folder}: try again "
        f"with {call}, or with `{command}`"
    )


def _list_options(args: Any) -> dict[str, Any]:
    """List the method's options that differ from their defaults. Paths are shortened to the last part."""
    from transformers import TrainingArguments

    left_out = {"method", *WEIGHTS, "attacks", "max_attack_samples", "attack_every"}
    left_out |= {f.name for f in fields(TrainingArguments)}
    method_defaults = args.get_method().fill_defaults({})
    chosen = {}
    for option in fields(args):
        value = getattr(args, option.name)
        defaults = (option.default, method_defaults.get(option.name, option.default))
        if option.name not in left_out and value not in defaults:
            is_text = isinstance(value, (str, Path))
            chosen[option.name] = shorten_source(str(value)) if is_text else value
    return chosen
