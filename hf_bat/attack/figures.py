"""The single definition of each figure of an attack, such as its success rate.

`FIGURES` is used by all code that computes or displays a figure: the JSON report, its Markdown table, HTML
pages, the metrics of an evaluation, the model card, run summaries, comparisons of two models and
the choice of the best model. To add a figure, add an entry such as

    Figure("long_rate", "rate", lambda result: (result.words > 20, 1), "rows of more than 20 words",
           shown=("table", "page"))

This module does not import torch or transformers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from hf_bat.attack.result import AttackResult
from hf_bat.errors import HfBatError
from hf_bat.stats import format_rate, is_number, rate, rate_interval

Kind = Literal["fickle", "obstinate"]
Place = Literal["table", "page", "metric", "evaluation", "summary", "card", "compare"]
# With a smaller share of attacked rows with an edit, a low success rate mostly counts rows without one.
_LEAST_ATTACKABLE = 0.5
BOTH: tuple[Kind, ...] = ("fickle", "obstinate")
OBSTINATE: tuple[Kind, ...] = ("obstinate",)


@dataclass(frozen=True)
class Figure:
    """One figure of an attack."""

    name: str  # its key in a report, and the end of its metric key `<attack>_<name>`
    # A sum over rows, a sum of parts divided by a sum of wholes, or a mean over the rows with a value.
    kind: Literal["count", "rate", "mean"]
    # Returns the contribution of one row: a number for a count, (part, whole) for a rate, or a number or
    # `None` for a mean.
    measure: Callable[[AttackResult], Any]
    note: str = ""  # explanation on pages
    title: str = (
        ""  # on pages, in the model index and in comparisons; defaults to `name` with spaces
    )
    short: str = ""  # in Markdown tables and run summaries; defaults to `title`
    # Where it is shown in addition to the JSON report: "table" (Markdown), "page" (HTML), "metric"
    # (`AttackReport.metrics`), "evaluation" (metrics of an evaluation), "summary" (of runs), "card" (model
    # index), "compare" (two models).
    shown: tuple[Place, ...] = ()
    goals: tuple[Kind, ...] = BOTH  # kinds of attacks that have it
    logged_for: tuple[
        Kind, ...
    ] = ()  # kinds of attacks for which an evaluation reports it; defaults to `goals`
    lower_is_better: tuple[Kind, ...] = ()  # kinds of attacks for which a lower value is better
    # The edits that it measures. An attack with no label filter only has figures for all edits.
    edits: Literal["all", "valid", "invalid"] = "all"
    per_label: bool = False  # whether a report also has it for each label
    interval: bool = False  # whether a report also has its 95 % interval, as `<name>_interval`
    # Whether it measures edits instead of rows. It is only used to compare two models if the search tried
    # every edit, because then both models were queried for the same edits.
    per_edit: bool = False
    # Whether the rate measures the effect of edits on the model. If so, it is `None` (not measured) if no
    # attacked row had an edit to try.
    needs_edits: bool = False
    # Whether the rate requires that a probability can increase. If so, it is not measured if all attacked
    # rows have a probability of 1, for example because the model only returns labels.
    needs_probabilities: bool = False
    index_type: str = ""  # metric type in the model index; defaults to `name`

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.name.replace("_", " "))
        object.__setattr__(self, "short", self.short or self.title)
        object.__setattr__(self, "logged_for", self.logged_for or self.goals)
        object.__setattr__(self, "index_type", self.index_type or self.name)

    @property
    def key(self) -> str:
        """The key of the figure in its part of a report.

        Figures for valid or invalid edits are in the parts `label_valid` and `label_invalid`.
        """
        return self.name.removeprefix(f"{self.edits}_")

    def compute(self, results: Sequence[AttackResult]) -> dict[str, Any]:
        """Compute the figure, and its interval if it has one, from all results of an attack.

        The results must be restricted to the figure's edits, see `AttackResult.restrict`. Rates and means
        without any data are `None`.
        """
        values = [self.measure(result) for result in results]
        if self.kind == "count":
            return {self.key: sum(values)}
        if self.kind == "mean":
            values = [value for value in values if value is not None]
            # fsum is exact, so the order of the rows does not matter.
            return {self.key: math.fsum(values) / len(values) if values else None}
        part, whole = sum(part for part, _ in values), sum(whole for _, whole in values)
        if self.needs_edits and has_no_edit(results):
            part = whole = 0
        if self.needs_probabilities and has_only_labels(results):
            part = whole = 0
        interval = {f"{self.key}_interval": rate_interval(part, whole)} if self.interval else {}
        return {self.key: rate(part, whole), **interval}

    def measure_row(self, result: AttackResult) -> Any:
        """Return the row's contribution if only the figure's edits had been tried."""
        return self.measure(
            result if self.edits == "all" else result.restrict(self.edits == "valid")
        )

    def read(self, summary: Mapping[str, Any], ending: str = "") -> Any:
        """Return the figure's value in an entry of `AttackReport.attacks`, or `None`.

        With the ending "_interval", return the figure's 95 % interval.
        """
        part = summary if self.edits == "all" else summary.get(f"label_{self.edits}", {})
        return part.get(f"{self.key}{ending}")

    def format(self, value: Any) -> str:
        """Format a value for a table."""
        if isinstance(value, float):
            return format_rate(value) if self.kind == "rate" else f"{value:.1f}"
        return "–" if value is None else str(value)


def has_no_edit(results: Sequence[AttackResult]) -> bool:
    """Return whether rows were attacked, but none of them had an edit to try."""
    attempted = [result for result in results if result.is_attempted]
    return bool(attempted) and all(result.is_without_edit for result in attempted)


def describe_few_edits(summary: Mapping[str, Any], edits: str = "all") -> str:
    """Describe how many attacked rows have no edit if they are the majority, or return an empty string.

    A row without an edit counts as a failed attack, so a low success rate is then no evidence of robustness.

    Args:
        summary: The attack's entry in `AttackReport.attacks`.
        edits: The edits that count: "all", "valid" or "invalid"; see `Figure`.

    Example:
        >>> describe_few_edits({"attempted": 67, "attackable": 11 / 67})
        '56 of 67 attacked rows have no edit to try'
    """
    name = "attackable" if edits == "all" else f"{edits}_attackable"
    attempted, share = summary.get("attempted"), FIGURES[name].read(summary)
    if not is_number(attempted) or not is_number(share) or share >= _LEAST_ATTACKABLE:
        return ""
    missing = round(attempted * (1 - share))
    effect = {"all": "", "valid": "label-changing ", "invalid": "label-preserving "}[edits]
    return f"{missing:,} of {attempted:,} attacked rows have no {effect}edit to try"


def has_only_labels(results: Sequence[AttackResult]) -> bool:
    """Return whether rows were attacked, and the model assigned a probability of 1 to all their labels."""
    attempted = [result for result in results if result.is_attempted]
    return bool(attempted) and all(result.gold_before == 1 for result in attempted)


def _measure_accuracy(result: AttackResult) -> tuple[int, int]:
    # The model was not queried for rows without predictions, so they are not counted as wrong.
    is_scored = result.predicted is not None and result.label is not None
    return int(is_scored and result.predicted == result.label), int(is_scored)


def _measure_accuracy_under_attack(result: AttackResult) -> tuple[int, int]:
    right, scored = _measure_accuracy(result)
    return right - int(result.is_success), scored


def _restrict(name: str, edits: Literal["valid", "invalid"], **changes: Any) -> Figure:
    """Define a variant of a figure for the edits that pass the label filter, or for the other edits."""
    figure = _ALL_EDITS[name]
    effect = "change" if edits == "valid" else "keep"
    options: dict[str, Any] = {
        "name": f"{edits}_{name}",
        "note": f"of edits that likely {effect} the label",
        "title": f"{figure.title}, {edits}",
        "short": f"{edits} {figure.short}",
        "goals": OBSTINATE,
        "logged_for": OBSTINATE,
        # Edits that keep the label should also keep the prediction.
        "lower_is_better": figure.lower_is_better if edits == "valid" else (),
        "edits": edits,
    }
    return replace(figure, **options, **changes)


# fmt: off
_EVERYWHERE: tuple[Place, ...] = ("table", "page", "metric", "evaluation", "summary", "card")
_ALL_EDITS: dict[str, Figure] = {figure.name: figure for figure in (
    Figure("rows", "count", lambda result: 1, "attempted + skipped",
           shown=("table", "page"), per_label=True),
    Figure("attempted", "count", lambda result: int(result.is_attempted), "succeeded + failed",
           shown=("table", "page"), per_label=True),
    Figure("skipped", "count", lambda result: int(not result.is_attempted),
           "wrong prediction or skipped label", shown=("page",), per_label=True),
    Figure("succeeded", "count", lambda result: int(result.is_success),
           shown=("page",), per_label=True),
    Figure("failed", "count", lambda result: int(result.is_attempted and not result.is_success),
           shown=("page",), per_label=True),
    Figure("asr", "rate", lambda result: (int(result.is_success), int(result.is_attempted)),
           "succeeded / attempted",
           "attack success rate", "ASR", _EVERYWHERE, lower_is_better=BOTH,
           per_label=True, interval=True, needs_edits=True, index_type="attack_success_rate"),
    Figure("succeeded_confident", "count",
           lambda result: int(result.outcome_confident == "succeeded"),
           goals=OBSTINATE, per_label=True),
    Figure("asr_confident", "rate",
           lambda result: (int(result.outcome_confident == "succeeded"), int(result.is_attempted)),
           "prediction kept and its probability higher than before",
           "attack success rate, confident", "ASR, confident", _EVERYWHERE, OBSTINATE,
           lower_is_better=OBSTINATE, per_label=True, interval=True, needs_edits=True,
           needs_probabilities=True, index_type="attack_success_rate"),
    Figure("attackable", "rate",
           lambda result: (int(result.is_attackable), int(result.is_attempted)),
           "attempted rows that have an edit to try",
           shown=("table", "page", "metric", "evaluation", "card"), per_label=True),
    Figure("asr_attackable", "rate",
           lambda result: (int(result.is_success), int(result.is_attackable)),
           "succeeded / attackable rows", "attack success rate of attackable rows",
           "ASR of attackable", ("table", "page", "evaluation", "card"), lower_is_better=BOTH,
           per_label=True, index_type="attack_success_rate"),
    # Evaluations of fickle attacks do not report it, because it is redundant with their success rate.
    Figure("keep_rate", "rate", lambda result: (result.kept or 0, result.candidates or 0),
           "tried edits that keep the prediction", shown=(*_EVERYWHERE, "compare"),
           logged_for=OBSTINATE, lower_is_better=OBSTINATE, per_label=True, per_edit=True),
    Figure("accuracy", "rate", _measure_accuracy, "on the unedited rows",
           shown=("table", "page", "compare")),
    Figure("accuracy_under_attack", "rate", _measure_accuracy_under_attack,
           "rows predicted correctly and not fooled", short="under attack", shown=("table", "page"),
           needs_edits=True),
    Figure("edits_per_row", "mean", lambda result: result.listed,
           "single edits of an attacked row before constraints", "edits per row",
           shown=("table", "page")),
    Figure("allowed_per_row", "mean", lambda result: result.allowed,
           "single edits of an attacked row that the constraints allow, without encoder constraints",
           "edits per row, allowed", "allowed", ("table", "page")),
    Figure("queries", "count", lambda result: result.queries, shown=("page",)),
    Figure("queries_per_row", "mean",
           lambda result: result.queries if result.is_attempted else None,
           "mean over the attempted rows", shown=("table", "page")),
    # Only reported for the valid and invalid edits of the label filter.
    Figure("kept", "count", lambda result: result.kept or 0, goals=()),
    Figure("candidates", "count", lambda result: result.candidates or 0),
    Figure("abstained", "count", lambda result: result.abstained or 0,
           "edits on which the model abstained"),
    Figure("edits_beyond_cut", "count", lambda result: result.beyond_cut or 0),
    Figure("budget_exhausted", "count", lambda result: int(result.exhausted or False)),
    Figure("words_changed", "mean",
           lambda result: result.words_changed if result.is_success else None,
           "mean over the successes", shown=("page",)),
    Figure("words_changed_rate", "mean",
           lambda result: (result.words_changed or 0) / result.words if result.is_success else None),
    Figure("sentence_similarity", "mean",
           lambda result: result.similarity if result.is_success else None,
           "mean over the successes", shown=("page",)),
)}
FIGURES: dict[str, Figure] = _ALL_EDITS | {figure.name: figure for figure in (
    _restrict("candidates", "valid"),
    _restrict("kept", "valid"),
    _restrict("keep_rate", "valid"),
    _restrict("attackable", "valid", shown=("metric", "evaluation", "card")),
    _restrict("succeeded", "valid", shown=()),
    _restrict("succeeded_confident", "valid"),
    _restrict("asr", "valid"),
    _restrict("asr_confident", "valid"),
    _restrict("asr_attackable", "valid", shown=("metric", "evaluation", "card"), interval=True),
    _restrict("candidates", "invalid"),
    _restrict("kept", "invalid"),
    _restrict("keep_rate", "invalid"),
    _restrict("attackable", "invalid", shown=()),
)}
# fmt: on


def list_figures(place: Place) -> list[Figure]:
    """List the figures that are shown in a place; see `Figure`.

    Example:
        >>> [figure.short for figure in list_figures("summary") if figure.edits == "all"]
        ['ASR', 'ASR, confident', 'keep rate']
    """
    return [figure for figure in FIGURES.values() if place in figure.shown]


def parse_metric(metric: str | None) -> tuple[str, Figure] | None:
    """Split a metric key of an attack into its prefix and its figure. Return `None` for other metrics.

    The prefix is the name of the attack, or a data set and the attack.

    Example:
        >>> prefix, figure = parse_metric("eval_antonym_valid_asr")
        >>> prefix, figure.name
        ('antonym', 'valid_asr')
    """
    name = (metric or "").removeprefix("eval_")
    matches = [figure for figure in list_figures("evaluation") if name.endswith(f"_{figure.name}")]
    if not matches:
        return None
    # Use the longest match, because `valid_asr` also ends in `asr`.
    figure = max(matches, key=lambda match: len(match.name))
    return name.removesuffix(f"_{figure.name}"), figure


def find_kind(prefix: str) -> Kind:
    """Return the kind of an attack, given the prefix of its metric keys. Unknown attacks are obstinate."""
    # The recipes need numpy, which `import hf_bat` must not load.
    from hf_bat.attack.recipes import ALIASES, RECIPES

    attack = prefix.rsplit("_", 1)[-1]
    recipe = RECIPES.get(ALIASES.get(attack, attack))
    return "obstinate" if recipe is None else recipe.kind


def is_lower_better(metric: str | None) -> bool:
    """Return whether a metric is an attack metric for which lower values are better.

    Example:
        >>> [is_lower_better(m) for m in ("eval_antonym_asr", "antonym_asr_confident", "eval_accuracy")]
        [True, True, False]
        >>> is_lower_better("eval_antonym_invalid_keep_rate")  # these edits likely keep the label
        False
    """
    parsed = parse_metric(metric)
    return parsed is not None and find_kind(parsed[0]) in parsed[1].lower_is_better


def has_direction(metric: str | None) -> bool:
    """Return whether lower or higher values of a metric are better.

    This is not the case for the share of all single edits that keep the prediction. Edits that change the
    label should change it, and a model that also changes it for other edits is jumpy.

    Example:
        >>> has_direction("eval_antonym_keep_rate"), has_direction("eval_antonym_valid_keep_rate")
        (False, True)
    """
    parsed = parse_metric(metric)
    return parsed is None or parsed[1].name != "keep_rate"


def is_attack_metric(metric: str | None) -> bool:
    """Return whether a metric is only reported by attacks."""
    return metric in ("robustness", "eval_robustness") or parse_metric(metric) is not None


def has_obstinate(attacks: Sequence[str]) -> bool:
    """Return whether any of the named attacks is obstinate (its edits should change the prediction)."""
    return any(find_kind(name) == "obstinate" for name in attacks)


def check_best_metric(metric: str | None, when: str, attacks: Sequence[str]) -> None:
    """Check that each evaluation reports the attack metric that selects the best model.

    Args:
        metric: The option `metric_for_best_model`.
        when: The option `attack_every`.
        attacks: Names of the attacks.
    """
    if not is_attack_metric(metric):
        return
    parsed = parse_metric(metric)
    needed = ["antonym", "synonym"]  # for robustness
    if parsed is not None:
        needed = [parsed[0].rsplit("_", 1)[-1]]
        kind = find_kind(needed[0])
        if kind not in parsed[1].logged_for:
            raise HfBatError(
                f"metric_for_best_model={metric!r}: evaluation does not report {parsed[1].name} of "
                f"{kind} attacks; use {needed[0]}_asr"
            )
    if not {attack.removeprefix("paper-") for attack in attacks}.issuperset(needed):
        raise HfBatError(f"metric_for_best_model={metric!r} needs attacks={needed}")
    if when != "eval":
        raise HfBatError(
            f"metric_for_best_model={metric!r} is needed at each evaluation: set attack_every='eval'"
        )
