"""Model cards: what was trained and how, what attacks found, and what that is not worth.

Text and `model-index` metadata are made from the same figures. Nothing here asks the network, and a
card names no folder of the machine, no host and no token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from string import Template
from typing import Any

from hf_bat import __version__
from hf_bat.attack.report import AttackReport
from hf_bat.methods import (
    BALANCED_METHODS,
    DEFAULT_EDITS,
    METHOD_WEIGHTS,
    WEIGHTS,
    defaults_of,
)
from hf_bat.model_index import Evaluation, interval_of
from hf_bat.public_names import shortened
from hf_bat.tasks import Task

_LOSSES = {
    "normal": "`L = CE(x)`: cross-entropy on the rows as they are, without perturbations.",
    "safer": "`L = CE(x_f)`: cross-entropy on a fickle version of each row (SAFER, Ye et al. 2020).",
    "a2t": "`L = CE(x) + adversarial_weight * mean CE(x_adv)`, the mean over the rows `x_adv` that an attack "
    "found against the model as it trained (A2T, Yoo and Qi 2021).",
    "pairwise": "`L = CE(x) + alpha * mean d(x, x_f) + beta * mean max(0, margin - d(x, x_o))`, "
    "each mean over the valid pairs.",
    "triplet": "`L = CE(x) + contrastive_weight * mean max(0, d(x, x_f) + margin - d(x, x_o))`.",
    "likelihood": "`L = CE(x) + alpha * mean CE(x_f) + beta * mean max(0, margin - drop) "
    "+ contrastive_weight * mean max(0, d(x, x_f) + 1 - d(x, x_o))`, where "
    "`drop = log p(y|x) - log p(y|x_o)`{others}.",
}
# Of the method likelihood where the label filter tells such edits from the rest.
_OTHERS = (
    "; for edits that likely do not change the label the term is "
    "`max(0, other_margin - drop) + max(0, drop - other_limit)`"
)
_VERSIONS = (
    "`x` is a row, `x_f` its fickle version (words replaced by synonyms: the answer should stay), `x_o` "
    "its obstinate version ({edits}: the answer should change), `d` the {distance} "
    "distance of their representations (pooling: {pooling})."
)
_EDITS = {
    "antonym": "one word replaced by an antonym",
    "negation": "a negation put in or taken out",
    "sister": "one word replaced by another of its class that excludes it",
    "number": "one number changed",
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
        trained_on: how many rows of what; None where this run did not train.
        tables: name -> `SubstitutionTable`, for the tables that the method uses.
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
    trained_on: str | None
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


def section(text: str, heading: str) -> str:
    """The part of a Markdown text from a second-level heading to the next one; empty where absent.

    Example:
        >>> section("# A\\n\\n## B\\n\\nb\\n\\n## C\\n\\nc\\n", "B")
        '## B\\n\\nb\\n\\n'
    """
    found = re.search(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", text, re.M | re.S)
    return found.group() if found else ""


def rows_name(data: Mapping[str, str]) -> str:
    """What `Evaluation.data` says in words; a split only where it is the Hub's.

    Example:
        >>> rows_name({"type": "nyu-mll/glue", "config": "qqp", "split": "validation"})
        '`nyu-mll/glue`, `qqp`, split `validation`'
    """
    if "/" not in data["type"]:
        return f"`{data['type']}` (rows of the user's own)"
    configuration = f", `{data['config']}`" if "config" in data else ""
    return f"`{data['type']}`{configuration}, split `{data['split']}`"


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
    if facts.trained_on is None:
        lines.append("The run that wrote this card evaluated the model and did not train it.")
    return "\n".join(lines)


def _method(facts: CardFacts) -> str:
    args = facts.args
    if facts.trained_on is None:
        return "Not known: the run that wrote this card did not train the model."
    lines = [
        f"Method `{args.method}` of hf_bat (Balanced Adversarial Training, Chen, Ji and Evans, EMNLP 2022), "
        f"trained on {facts.trained_on}.",
        "",
        _loss(args),
    ]
    if args.method in BALANCED_METHODS:
        edits = " or ".join(_EDITS[edit] for edit in args.obstinate_edits or DEFAULT_EDITS)
        lines.append(_VERSIONS.format(edits=edits, distance=args.distance, pooling=facts.pooling))
    weights = [
        f"- `{name}`: {getattr(args, name)}"
        for name in METHOD_WEIGHTS[args.method]
        if getattr(args, name) is not None  # None where the label filter tells no others apart
    ]
    options = [f"- `{name}`: {value}" for name, value in _chosen_options(args).items()]
    if weights:
        lines += ["", "Weights:", "", *weights]
    if options:
        lines += ["", "Options other than the defaults:", "", *options]
    obstinate = args.method in BALANCED_METHODS
    if obstinate and facts.task is not None and facts.task.skipped_labels:
        skipped = ", ".join(f"`{name}`" for name in facts.task.skipped_labels)
        lines += ["", f"Rows of these labels get no obstinate version: {skipped}."]
    return "\n".join(lines)


def _loss(args: Any) -> str:
    loss = _LOSSES.get(args.method, f"The loss of `{args.method}` is described in hf_bat's docs.")
    return loss.format(others=_OTHERS if args.label_filter == "prefer" else "")


def _chosen_options(args: Any) -> dict[str, Any]:
    """The method's own options that are not at their defaults; paths by their last part alone."""
    from transformers import TrainingArguments

    known = {f.name for f in fields(TrainingArguments)}
    left_out = {"method", *WEIGHTS, "attacks", "max_attack_samples", "attack_every"}
    of_method = defaults_of(args.method, {})
    chosen = {}
    for option in fields(args):
        value = getattr(args, option.name)
        defaults = [option.default]
        if option.name in of_method:
            defaults.append(of_method[option.name])
        if option.name not in known | left_out and value not in defaults:
            is_text = isinstance(value, (str, Path))
            chosen[option.name] = shortened(str(value)) if is_text else value
    return chosen


def _tables(facts: CardFacts) -> str:
    if not facts.tables:
        return "None: the method uses no perturbation, or the run did not train."
    lines = [
        "| table | words | SHA-256 of its content | made by |",
        "|---|---|---|---|",
    ]
    notes = []
    for name, table in facts.tables.items():
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
        parts.append(f"### `{found.name}`: {found.rows:,} rows of {rows_name(found.data)}")
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
    bounds = interval_of(summary, "asr_confident")
    if bounds:
        low, high = (100 * bound for bound in bounds)
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
