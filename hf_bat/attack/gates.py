"""Gates: conditions such as `synonym.asr>0.3` that make a check of a report fail."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_bat.attack.figures import FIGURES, Figure, describe_few_edits
from hf_bat.attack.report import AttackReport
from hf_bat.attack.result import AttackResult
from hf_bat.errors import HfBatError
from hf_bat.stats import f1_interval, f1_score, rate_interval

_CONDITION = re.compile(r"\s*(?:([\w-]+)\.)?(\w+)\s*(>=|<=|>|<)\s*([-+.\de]+)\s*", re.IGNORECASE)
_OPERATORS = {
    ">": lambda value, limit: value > limit,
    ">=": lambda value, limit: value >= limit,
    "<": lambda value, limit: value < limit,
    "<=": lambda value, limit: value <= limit,
}
F1 = "f1"


@dataclass(frozen=True)
class Condition:
    """A condition that makes a check fail.

    Args:
        attack: Short name of an attack, or `None` for all attacks.
        figure: A name in `FIGURES`, or "f1".
        operator: ">", ">=", "<" or "<=".
        limit: The limit.

    Example:
        >>> parse_condition("synonym.asr > 0.3")
        Condition(attack='synonym', figure='asr', operator='>', limit=0.3)
    """

    attack: str | None
    figure: str
    operator: str
    limit: float

    def __str__(self) -> str:
        prefix = "" if self.attack is None else f"{self.attack}."
        return f"{prefix}{self.figure}{self.operator}{self.limit:g}"

    def holds(self, value: float | None) -> bool:
        """Return whether the check fails for a value. It always fails if the figure was not measured."""
        return value is None or bool(_OPERATORS[self.operator](value, self.limit))


def parse_condition(text: str) -> Condition:
    """Parse a condition such as `synonym.asr>0.3`, `accuracy<0.8` or `f1<0.7`.

    Args:
        text: `[ATTACK.]FIGURE`, one of `>`, `>=`, `<` and `<=`, and a number. Without an attack, the
            condition applies to all attacks.

    Raises:
        HfBatError: If the text is not a condition, or the figure is unknown.
    """
    match = _CONDITION.fullmatch(text)
    try:
        limit = float(match[4]) if match else None
    except ValueError:
        limit = None
    if match is None or limit is None:
        raise HfBatError(
            f"not a condition: {text!r}; write ATTACK.FIGURE, an operator and a number, such as "
            "synonym.asr>0.3"
        )
    attack, name = match[1], match[2].lower()
    if name == F1 and attack is not None:
        raise HfBatError(f"{text!r}: f1 is measured on the unedited rows: leave {attack!r} out")
    if name != F1 and name not in FIGURES:
        near = difflib.get_close_matches(name, [*FIGURES, F1], n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise HfBatError(
            f"{text!r}: unknown figure {name!r}{hint}; known: {', '.join(FIGURES)}, f1"
        )
    is_rate = name == F1 or FIGURES[name].kind == "rate"
    # Such a condition would never be met, for example a limit in percent.
    if limit < 0 or (is_rate and limit > 1):
        known = "a rate from 0 to 1, so write 0.3 for 30 %" if is_rate else "0 or more"
        raise HfBatError(f"{text!r}: the limit {match[4]} is out of range; {name} is {known}")
    return Condition(attack, name, match[3], limit)


def check_conditions(report: AttackReport, conditions: Sequence[Condition]) -> list[str]:
    """Return one line for each condition that makes the check fail, with the figure and its interval.

    The check also fails if a figure was not measured, such as a rate without any rows, or if a success rate
    mostly counts rows without an edit.

    Args:
        report: The report, with its rows.
        conditions: The conditions. Their attacks must be in the report.

    Example:
        >>> from hf_bat.attack.report import summarize
        >>> rows = [AttackResult(i, "synonym", "succeeded", words=1) for i in range(4)]
        >>> report = AttackReport({"synonym": summarize(rows, "fickle", {})}, {"synonym": rows})
        >>> check_conditions(report, [parse_condition("synonym.asr>0.3")])
        ['synonym.asr>0.3: it is 1.0 (95 % interval 0.51 to 1.0)']
        >>> check_conditions(report, [parse_condition("synonym.queries>100")])
        []
    """
    return [line for condition in conditions for line in _check(report, condition)]


def _check(report: AttackReport, condition: Condition) -> list[str]:
    if condition.figure == F1:
        part = report.about.get(F1) or {}
        values = [("", part.get("f1"), part.get("f1_interval"))]
        few_edits = {}
    else:
        names = list(report.attacks) if condition.attack is None else [condition.attack]
        figure = FIGURES[condition.figure]
        values = [(name, *_read(report, name, figure)) for name in names]
        few_edits = {
            name: describe_few_edits(report.attacks[name], figure.edits)
            for name in names
            if figure.needs_edits
        }
    lines: dict[str, list[str]] = {}
    for name, value, interval in values:
        told = "it was not measured" if value is None else f"it is {_format(value)}"
        if interval:
            told += f" (95 % interval {' to '.join(map(_format, interval))})"
        if not condition.holds(value):
            if not few_edits.get(name):
                continue
            told += f", but {few_edits[name]}: attack other rows or give a table of their words"
        lines.setdefault(told, []).append(name)
    # The attacks of one run have the same accuracy.
    is_told = condition.attack is None and condition.figure not in (F1, "accuracy")
    return [
        f"{condition}: {told}{_name_attacks(names) if is_told else ''}"
        for told, names in lines.items()
    ]


def _name_attacks(names: Sequence[str]) -> str:
    return f" for {', '.join(names)}"


def _read(report: AttackReport, attack: str, figure: Figure) -> tuple[Any, Any]:
    """Return the value of a figure and its interval, or `None` if it is missing."""
    value = figure.read(report.attacks[attack])
    interval = figure.read(report.attacks[attack], "_interval")
    # Edits of the same row are not independent, so this interval is not valid for rates of edits.
    if interval is None and value is not None and figure.kind == "rate" and not figure.per_edit:
        measured = [figure.measure_row(row) for row in report.rows.get(attack, ())]
        interval = rate_interval(*map(sum, zip(*measured, strict=True))) if measured else None
    return value, interval


def _format(value: float) -> str:
    return str(round(value, 3)) if isinstance(value, float) else str(value)


def measure_f1(results: Sequence[AttackResult], label: int, name: str) -> dict[str, Any]:
    """Compute the F1 score of a class on the unedited rows of an attack.

    Args:
        results: The results of all rows.
        label: The model's number of the class.
        name: Name of the class in the report.

    Returns:
        `{"label": name, "f1", "f1_interval", "rows"}`: the F1 score in [0, 1], its 95 % interval,
        and the number of rows with a label and a prediction. The score is `None` if no row has the class as
        its label or its prediction.
    """
    pairs = [(r.predicted, r.label) for r in results if None not in (r.predicted, r.label)]
    counts = _count(pairs, label)
    scores = {"f1": f1_score(**counts), "f1_interval": f1_interval(**counts)}
    return {"label": name, **scores, "rows": len(pairs)}


def _count(pairs: Sequence[tuple[Any, Any]], label: int) -> Mapping[str, int]:
    return {
        "hits": sum(p == label == gold for p, gold in pairs),
        "false_alarms": sum(p == label != gold for p, gold in pairs),
        "misses": sum(p != label == gold for p, gold in pairs),
    }
