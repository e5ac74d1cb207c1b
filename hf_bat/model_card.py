"""Model cards: what was trained and how, what attacks found, and what that is not worth.

Text and `model-index` metadata are made from the same figures. Nothing here asks the network, and a
card names no folder of the machine, no host and no token.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from hf_bat import __version__
from hf_bat.attack.report import AttackReport
from hf_bat.tasks import Task
from hf_bat.training_args import METHOD_WEIGHTS, WEIGHTS

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

# What an evaluation reports of the run and not of the model.
_NOT_OF_THE_MODEL = ("loss", "runtime", "per_second", "epoch", "samples", "_time")
_FIGURE_NAMES = {
    "asr": ("attack_success_rate", "attack success rate, strict (lower is better)"),
    "asr_confident": ("attack_success_rate", "attack success rate, confident (lower is better)"),
    "asr_attackable": (
        "attack_success_rate",
        "attack success rate among the attackable rows, strict (lower is better)",
    ),
    "attackable": ("attackable", "share of the attempted rows that the attack can edit"),
    "keep_rate": ("keep_rate", "share of the edits tried that keep the prediction"),
}
_LOSSES = {
    "normal": "`L = CE(x)`: cross-entropy on the rows as they are, without perturbations.",
    "safer": "`L = CE(x_f)`: cross-entropy on a fickle version of each row (SAFER, Ye et al. 2020).",
    "pairwise": "`L = CE(x) + alpha * mean d(x, x_f) + beta * mean max(0, margin - d(x, x_o))`, "
    "each mean over the valid pairs.",
    "triplet": "`L = CE(x) + contrastive_weight * mean max(0, d(x, x_f) + margin - d(x, x_o))`.",
}
_VERSIONS = (
    "`x` is a row, `x_f` its fickle version (words replaced by synonyms: the answer should stay), `x_o` "
    "its obstinate version (one word replaced by an antonym: the answer should change), `d` the {distance} "
    "distance of their representations (pooling: {pooling})."
)


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found of the model.

    Args:
        name: the metrics' prefix, such as `"eval"` or `"eval_mm"`.
        step: the optimizer step whose weights were evaluated.
        rows: how many rows there were.
        data: the data set's `type`, `name` and, where known, `config` and `split`.
        metrics: metric -> value, without the prefix.
        attacks: attack -> its summary, as in `AttackReport.attacks`; empty where none was run.
    """

    name: str
    step: int
    rows: int
    data: Mapping[str, str]
    metrics: Mapping[str, float]
    attacks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def results(self) -> list[EvalResult]:
        """The figures as `model-index` has them; a rate over nothing is left out.

        Example:
            >>> found = Evaluation("eval", 9, 4, {"type": "snli", "name": "snli"}, {"accuracy": 0.75})
            >>> [(result.metric_type, result.metric_value) for result in found.results()]
            [('accuracy', 0.75)]
        """
        from huggingface_hub import EvalResult

        common: dict[str, Any] = {
            "task_type": "text-classification",
            "task_name": "Text Classification",
            **{f"dataset_{key}": value for key, value in self.data.items()},
        }
        results = [
            EvalResult(**common, metric_type=name, metric_value=value, metric_name=name)
            for name, value in self.model_metrics().items()
        ]
        for attack, summary in self.attacks.items():
            for figure, (kind, title) in _FIGURE_NAMES.items():
                if summary.get(figure) is None:
                    continue
                if "asr_confident" not in summary:  # the prediction changes or not: one definition
                    title = title.replace(", strict", "")
                arguments = {
                    "attack": attack,
                    "figure": figure,
                    "recipe": summary["recipe"]["name"],
                    "recipe_hash": summary["recipe"]["hash"],
                    "rows": summary["rows"],
                    "attempted": summary["attempted"],
                }
                if summary.get(f"{figure}_interval"):
                    arguments["interval_95"] = list(summary[f"{figure}_interval"])
                results.append(
                    EvalResult(
                        **common,
                        metric_type=kind,
                        metric_value=summary[figure],
                        metric_name=f"{attack}: {title}",
                        metric_args=arguments,
                    )
                )
        return results

    def model_metrics(self) -> dict[str, float]:
        """The metrics that are of the model and not of an attack."""
        return {
            name: value
            for name, value in self.metrics.items()
            if isinstance(value, (int, float))
            and not any(part in name for part in _NOT_OF_THE_MODEL)
            and not any(name.startswith(f"{attack}_") for attack in self.attacks)
        }


@dataclass(frozen=True)
class CardFacts:
    """All that a card says, taken from a trainer by `hf_bat.hub_trainer`.

    Args:
        name: the model's name.
        repo: what a user gives to `from_pretrained`.
        base: the model it was fine-tuned from, or None; never a path.
        args: `BalancedTrainingArguments`.
        pooling: the representation in use.
        task: the task, or None for tokenised data.
        label_names: the model's, in their order.
        trained_rows: rows in the training set; 0 where this run did not train.
        trained_on: where those rows are from, as `Evaluation.data`.
        tables: name -> the perturbation made from it, for the tables that the method uses.
        table_files: files of tables that are beside the model.
        evaluations: of these weights.
        procedure: the Trainer's own section on hyper-parameters and versions.
        is_adapter: whether it is a PEFT adapter.
    """

    name: str
    repo: str
    base: str | None
    args: Any
    pooling: str
    task: Task | None
    label_names: Sequence[str]
    trained_rows: int
    trained_on: Mapping[str, str]
    tables: Mapping[str, Any]
    table_files: Sequence[str]
    evaluations: Sequence[Evaluation]
    procedure: str
    is_adapter: bool = False


def body(facts: CardFacts) -> str:
    """The card's text, without its metadata."""
    return Template(_template("model_card")).substitute(
        version=__version__,
        name=facts.name,
        summary=_summary(facts),
        method=_method(facts),
        tables=_tables(facts),
        evaluation=_evaluation(facts.evaluations),
        usage=_usage(facts),
        limits=_limits(facts),
        procedure=facts.procedure.strip(),
    )


def _template(name: str) -> str:
    path = Path(__file__).parent / "templates" / f"{name}.md"
    return path.read_text(encoding="utf-8")


def public_name(source: str | None) -> str | None:
    """A model's name on the Hub, or None for a folder of this machine.

    Example:
        >>> public_name("google-bert/bert-base-uncased"), public_name("/home/me/bert"), public_name("")
        ('google-bert/bert-base-uncased', None, None)
    """
    if not source or os.path.isdir(source) or os.path.isabs(source):
        return None
    return source if re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", source) else None


def section(text: str, heading: str) -> str:
    """The part of a Markdown text from a second-level heading to the next one; empty where absent.

    Example:
        >>> section("# A\\n\\n## B\\n\\nb\\n\\n## C\\n\\nc\\n", "B")
        '## B\\n\\nb\\n\\n'
    """
    found = re.search(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", text, re.M | re.S)
    return found.group() if found else ""


def _summary(facts: CardFacts) -> str:
    labels = ", ".join(f"`{name}`" for name in facts.label_names)
    if facts.task is None:
        kind = "A text classifier"
    else:
        what = "pairs of texts" if facts.task.is_pair else "texts"
        columns = " and ".join(f"`{column}`" for column in facts.task.columns)
        kind = f"A classifier of {what} ({columns}), task `{facts.task.name}`"
    origin = "a model without a name on the Hub" if facts.base is None else f"`{facts.base}`"
    lines = [f"{kind}, with the labels {labels}. Fine-tuned from {origin}."]
    if facts.is_adapter:
        lines.append(
            "These are the weights of an adapter (PEFT); the base model is loaded with it."
        )
    if not facts.trained_rows:
        lines.append("The run that wrote this card evaluated the model and did not train it.")
    return "\n".join(lines)


def _method(facts: CardFacts) -> str:
    args = facts.args
    if not facts.trained_rows:
        return "Not known: the run that wrote this card did not train the model."
    lines = [
        f"Method `{args.method}` of hf_bat (Balanced Adversarial Training, Chen, Ji and Evans, EMNLP 2022), "
        f"trained on {facts.trained_rows:,} rows of {_rows_name(facts.trained_on)}.",
        "",
        _LOSSES.get(args.method, f"The loss of `{args.method}` is described in hf_bat's docs."),
    ]
    if args.method in ("pairwise", "triplet"):
        lines.append(_VERSIONS.format(distance=args.distance, pooling=facts.pooling))
    weights = [f"- `{name}`: {getattr(args, name)}" for name in METHOD_WEIGHTS[args.method]]
    options = [f"- `{name}`: {value}" for name, value in _chosen_options(args).items()]
    if weights:
        lines += ["", "Weights:", "", *weights]
    if options:
        lines += ["", "Options other than the defaults:", "", *options]
    if facts.tables and facts.task is not None and facts.task.skipped_labels:
        skipped = ", ".join(f"`{name}`" for name in facts.task.skipped_labels)
        lines += ["", f"Rows of these labels get no obstinate version: {skipped}."]
    return "\n".join(lines)


def _rows_name(data: Mapping[str, str]) -> str:
    """A set of rows in words; a split only where it is the Hub's."""
    if "/" not in data["type"]:
        return f"`{data['type']}` (rows of the user's own)"
    configuration = f", `{data['config']}`" if "config" in data else ""
    return f"`{data['type']}`{configuration}, split `{data['split']}`"


def _chosen_options(args: Any) -> dict[str, Any]:
    """The method's own options that are not at their defaults; paths by their last part alone."""
    from transformers import TrainingArguments

    known = {f.name for f in fields(TrainingArguments)}
    left_out = {"method", *WEIGHTS, "attacks", "max_attack_samples", "attack_every"}
    chosen = {}
    for option in fields(args):
        value = getattr(args, option.name)
        if option.name not in known | left_out and value != option.default:
            is_path = isinstance(value, (str, Path)) and os.path.isabs(value)
            chosen[option.name] = Path(value).name if is_path else value
    return chosen


def _tables(facts: CardFacts) -> str:
    if not facts.tables:
        return "None: the method uses no perturbation, or the run did not train."
    lines = [
        "| table | words | SHA-256 of its content | made by |",
        "|---|---|---|---|",
    ]
    notes = []
    for name, perturbation in facts.tables.items():
        table = perturbation.table
        made = str(table.metadata.get("built", "not stated")).replace("|", "\\|")
        lines.append(f"| {name} | {len(table):,} | `{table.fingerprint}` | {made} |")
        if name == "synonyms" and "minus" in table.metadata:
            notes.append("A word's antonyms were taken out of its synonyms before the hash.")
    notes.append("`SubstitutionTable.load(path).fingerprint` of hf_bat gives the same hash.")
    if facts.table_files:
        files = ", ".join(f"`{name}`" for name in facts.table_files)
        notes.append(f"The tables are beside the model: {files}.")
    lines += ["", " ".join(notes)]
    return "\n".join(lines)


def _evaluation(evaluations: Sequence[Evaluation]) -> str:
    if not evaluations:
        return "Not evaluated in the run that wrote this card."
    parts = [_template("protocol").strip()] if any(found.attacks for found in evaluations) else []
    for found in evaluations:
        parts.append(f"### `{found.name}`: {found.rows:,} rows of {_rows_name(found.data)}")
        metrics = found.model_metrics()
        if metrics:
            parts.append("\n".join(f"- {name}: {value:.4f}" for name, value in metrics.items()))
        if not found.attacks:
            parts.append("No attack was run on these rows.")
            continue
        parts.append(AttackReport({k: dict(v) for k, v in found.attacks.items()}).to_markdown())
        parts.append("\n".join(_recipe_line(*attack) for attack in found.attacks.items()))
    return "\n\n".join(parts)


def _recipe_line(attack: str, summary: Mapping[str, Any]) -> str:
    recipe = summary["recipe"]
    line = f"- {attack}: recipe `{recipe['name']}`, SHA-256 `{recipe['hash']}`"
    interval = summary.get("asr_confident_interval")
    if interval:
        low, high = (100 * bound for bound in interval)
        line += f"; confident 95 % interval {low:.1f}–{high:.1f}"
    return line


def _usage(facts: CardFacts) -> str:
    pair = facts.task is not None and facts.task.is_pair
    text = '{"text": "The first text.", "text_pair": "The second."}' if pair else '"A text."'
    if facts.is_adapter:
        code = f"""\
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer, pipeline

repo, labels = "{facts.repo}", {dict(enumerate(facts.label_names))}
model = AutoPeftModelForSequenceClassification.from_pretrained(
    repo, num_labels=len(labels), id2label=labels
)
tokenizer = AutoTokenizer.from_pretrained(repo)
classifier = pipeline("text-classification", model=model.merge_and_unload(), tokenizer=tokenizer)
answer = classifier({text})"""
        needs = "peft and transformers"
    else:
        code = f"""\
from transformers import pipeline

classifier = pipeline("text-classification", model="{facts.repo}")
answer = classifier({text})"""
        needs = "transformers"
    return f"hf_bat is needed for training and attacks, not here: {needs} suffice.\n\n```python\n{code}\n```"


def _limits(facts: CardFacts) -> str:
    lines = []
    if not any(found.attacks for found in facts.evaluations):
        lines.append("- No attack was run on this model: of its robustness nothing is known.")
    if getattr(facts.args, "canonicalize", None):
        lines.append(
            "- **Preprocessing defence**: words were mapped to a representative of their synonym set before "
            "the tokenizer (`canonicalize`). The figures are of the model behind that mapping, which plain "
            "`transformers` does not do."
        )
    return "\n".join(lines)
