"""Make a suite of labeled pairs from rows, with the run's rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hf_bat.console import track
from hf_bat.counterfactual.rules import RuleSet
from hf_bat.errors import HfBatError
from hf_bat.perturbations.sampler import DrawSource
from hf_bat.tasks import Task

# A rule that draws the same pair again probably has no other pair.
_ATTEMPTS = 3
_OWN_COLUMNS = ("label", "category", "kind", "words", "source")


def make_suite(
    rules: RuleSet,
    rows: Iterable[Mapping[str, Any]],
    task: Task,
    label_names: Sequence[str],
    max_pairs: int = 1,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Draw labeled pairs from rows.

    Args:
        rules: The rules. If a share of word pairs is held out, the category distinguishes seen and unseen
            pairs.
        rows: Rows with the task's columns, `label` and `idx`.
        task: The task.
        label_names: Names of the labels by number.
        max_pairs: Maximum number of pairs per rule and row. Defaults to 1.
        seed: Seed of the draws. Defaults to 0.

    Returns:
        Rows with the task's columns, `label` (its name), `category` (the rule, and whether the pair is seen
        or unseen), `kind`, `words` and `source` (the `idx` of the row). Pairs are unique.

    Raises:
        HfBatError: If no rule returns pairs with exactly one label.

    Example:
        >>> from hf_bat import get_task
        >>> from hf_bat.counterfactual.rules import build_rules
        >>> snli = get_task("snli")
        >>> rules = build_rules(snli, snli.label_names, rules=["drop"])
        >>> row = {"premise": "A big dog.", "hypothesis": "A dog.", "label": 0, "idx": 7}
        >>> suite = make_suite(rules, [row], snli, snli.label_names)
        >>> suite[0]["category"], suite[0]["label"], suite[0]["hypothesis"]
        ('drop', 'entailment', 'A dog.')
    """
    # Otherwise, they would replace the texts.
    for column in task.columns:
        if column in _OWN_COLUMNS:
            raise HfBatError(
                f"text column {column!r} has the name of a column that a suite adds "
                f"({', '.join(_OWN_COLUMNS)}): rename it"
            )
    rows = list(rows)
    rules.prepare((tuple(row[c] for c in task.columns), row["label"]) for row in rows)
    pairs: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in track(rows, "making pairs", "row", len(rows)):
        texts = tuple(row[column] for column in task.columns)
        for number, rule in enumerate(rules.rules):
            if not rule.gives_label:
                continue
            wanted = len(pairs) + max_pairs
            for attempt in range(_ATTEMPTS * max_pairs):
                source = DrawSource(seed, number, row["idx"], attempt)
                pair = rule.draw(texts, rules.names[row["label"]] or "", source)
                if pair is None or len(pairs) == wanted:
                    break
                if pair.label not in rules.labels:
                    continue
                category = pair.rule
                if rules.held_out and pair.words:
                    category += ":unseen" if rules.is_held_out(pair) else ":seen"
                pairs.setdefault(
                    pair.texts,
                    {
                        **dict(zip(task.columns, pair.texts, strict=True)),
                        "label": label_names[rules.labels[pair.label]],
                        "category": category,
                        "kind": pair.kind,
                        "words": list(pair.words),
                        "source": row["idx"],
                    },
                )
    if not pairs:
        raise HfBatError(f"no rule gives a pair for these rows; rules: {', '.join(rules.shares)}")
    return list(pairs.values())
