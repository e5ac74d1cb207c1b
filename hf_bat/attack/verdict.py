"""Verdicts, which summarize the figures of an attack in one plain sentence.

They are shown in the terminal, on pages and in notebooks. The limits are conventions of this package that
help readers see where to look: up to 10 % of the rows is good, over 30 % is bad, and a rate with an interval
of more than 40 points is not judged. `docs/attacks.md` explains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hf_bat.attack.figures import Kind, describe_few_edits
from hf_bat.errors import HfBatError
from hf_bat.stats import format_rate, is_number, wilson_interval
from hf_bat.tasks import get_task

if TYPE_CHECKING:
    from hf_bat.attack.recipes import NamedRecipe

Grade = Literal["good", "fair", "bad", "unclear"]

GOOD, BAD = 0.10, 0.30
# A rate from about 20 rows has an interval of this width.
WIDEST = 0.40
# A model is jumpy if more than this share of harmless edits change its prediction. If the interval of the
# share contains the limit, this is unclear.
JUMPY = 0.10
# Attacks with edits that do not necessarily change the label of a single sentence, such as its topic.
_MAY_KEEP_LABEL = ("antonym", "sister", "number", "negation")


@dataclass(frozen=True)
class Verdict:
    """The result of an attack in words.

    Args:
        attack: Short name of the attack.
        title: Name of the attack for readers, such as "Antonyms".
        grade: "good", "fair", "bad", or "unclear" if the figures do not allow a verdict.
        sentence: Description of what happened, with the number of rows.
        rate: The rate in the sentence, in [0, 1], or `None` if it was not measured.
        interval: The 95 % interval of the rate, or `None`.
    """

    attack: str
    title: str
    grade: Grade
    sentence: str
    rate: float | None = None
    interval: tuple[float, float] | None = None

    def __str__(self) -> str:
        return f"{self.title}: {self.sentence}"


def find_summary_kind(summary: Mapping[str, Any]) -> Kind:
    """Return the kind of the attack in a summary."""
    # Only obstinate attacks have a confident definition of success.
    return "obstinate" if "asr_confident" in summary else "fickle"


def may_keep_label(attack: str, columns: int) -> bool:
    """Return whether most edits of an obstinate attack do not necessarily change the row's label."""
    return columns == 1 and attack in _MAY_KEEP_LABEL


def count_columns(about: Mapping[str, Any]) -> int | None:
    """Return the number of text columns of a report's rows, or `None` if it is unknown."""
    columns = about.get("columns")
    if isinstance(columns, list) and columns:
        return len(columns)
    try:
        return len(get_task(str(about.get("task"))).columns)
    except HfBatError:  # a user's task
        return None


def name_attack(attack: str) -> str:
    """Return the name of an attack for readers.

    Example:
        >>> name_attack("antonym"), name_attack("mine")
        ('Antonyms', 'Mine')
    """
    recipe = _find_recipe(attack)
    return recipe.title if recipe else attack[:1].upper() + attack[1:]


def _find_recipe(attack: str) -> NamedRecipe | None:
    # Import recipes only if needed, because they load numpy.
    from hf_bat.attack.recipes import ALIASES, RECIPES

    return RECIPES.get(ALIASES.get(attack, attack))


def judge_attack(attack: str, summary: Mapping[str, Any], columns: int | None = None) -> Verdict:
    """Judge the model based on the summary of an attack.

    Args:
        attack: Short name of the attack.
        summary: The attack's entry in `AttackReport.attacks` or in a report file, which may lack figures.
        columns: Number of text columns. If `None`, inputs are assumed to be pairs.

    Returns:
        The verdict. For an obstinate attack with a label filter, it describes the edits that likely change
        the label, and it also states the share of the other edits that change the prediction.

    Example:
        >>> summary = {"attempted": 100, "succeeded": 4, "asr": 0.04, "asr_interval": [0.016, 0.098]}
        >>> verdict = judge_attack("synonym", summary)
        >>> print(verdict.grade, verdict.sentence)
        good on 4 of 100 rows (4.0 %) the answer changes although words were only replaced by synonyms
    """
    title, recipe = name_attack(attack), _find_recipe(attack)
    edit = recipe.edit if recipe else "the row was edited"
    is_obstinate = find_summary_kind(summary) == "obstinate"
    told = f"the answer {'stays' if is_obstinate else 'changes'} although {edit}"
    rate, interval = summary.get("asr"), summary.get("asr_interval")
    part, whole = summary.get("succeeded"), summary.get("attempted")
    missing = _explain_missing(summary)
    filtered = summary.get("label_valid")
    # The label filter has no second sentence to compare with, so all edits pass it.
    keeps_label = columns is not None and is_obstinate and may_keep_label(attack, columns)
    few_edits = describe_few_edits(summary)
    if is_obstinate and not keeps_label and isinstance(filtered, Mapping) and is_number(rate):
        few_edits = ""  # the rate only counts rows with an edit
        told = "where the answer should change, it does not"
        rate, interval = filtered.get("asr_attackable"), filtered.get("asr_attackable_interval")
        part, whole = filtered.get("succeeded"), _count_attackable(summary, filtered)
        missing = "not measured: no attacked row has an edit that likely changes its label"
    if not is_number(rate) or not isinstance(part, int) or not isinstance(whole, int):
        return Verdict(attack, title, "unclear", missing)
    share = float(rate)  # type: ignore[arg-type]
    bounds = _read_interval(interval)
    sentence = f"on {part:,} of {whole:,} rows ({format_rate(share)}) {told}"
    grade = _grade(share, bounds)
    if few_edits:
        # The attack had nothing to try on most rows, so a low rate is no evidence of robustness.
        grade = "bad" if grade == "bad" else "unclear"
        sentence += f"; {few_edits}"
    if keeps_label:
        grade = "unclear"
        sentence += "; most such edits of a single sentence need not change its label"
    elif is_obstinate and (jumpy := _describe_jumpiness(summary)):
        sentence += f"; {jumpy}"
    return Verdict(attack, title, grade, sentence, share, bounds)


def _count_attackable(summary: Mapping[str, Any], filtered: Mapping[str, Any]) -> int | None:
    """Return the number of attacked rows with an edit that passes the label filter."""
    attempted, share = summary.get("attempted"), filtered.get("attackable")
    if not is_number(attempted) or not is_number(share):
        return None
    return round(attempted * share)  # type: ignore[operator]


def judge_report(
    attacks: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]
) -> list[Verdict]:
    """Judge all attacks of a report, given its summaries and its facts, in order."""
    columns = count_columns(about)
    return [judge_attack(name, summary, columns) for name, summary in attacks.items()]


def format_bounds(interval: tuple[float, float]) -> str:
    """Format the bounds of a rate's interval in percent: "16.7 to 68.7"."""
    return " to ".join(f"{100 * bound:.1f}" for bound in interval)


def _grade(rate: float, interval: tuple[float, float] | None) -> Grade:
    if interval is not None and interval[1] - interval[0] > WIDEST:
        return "unclear"
    return "good" if rate <= GOOD else "fair" if rate <= BAD else "bad"


def _describe_jumpiness(summary: Mapping[str, Any]) -> str:
    """Return a phrase with the share of label-preserving edits that change the prediction."""
    others = summary.get("label_invalid")
    if not isinstance(others, Mapping):
        return ""
    kept, whole = others.get("kept"), others.get("candidates")
    if not isinstance(kept, int) or not isinstance(whole, int) or not 0 <= kept <= whole > 0:
        return ""
    low, high = wilson_interval(whole - kept, whole)
    word = "unclear whether it is jumpy"
    if low is not None and low > JUMPY:
        word = "jumpy"
    elif high is not None and high <= JUMPY:
        word = "not jumpy"
    return f"{format_rate(1 - kept / whole)} of harmless edits change it: {word}"


def _explain_missing(summary: Mapping[str, Any]) -> str:
    """Return a sentence that explains why an attack has no rate."""
    warnings = summary.get("warnings")
    if isinstance(warnings, (list, tuple)) and warnings:
        return f"not measured: {str(warnings[0]).removeprefix('success rate not measured: ')}"
    skipped = summary.get("skipped_reasons")
    reasons = skipped.items() if isinstance(skipped, Mapping) else ()
    listed = ", ".join(f"{reason}: {count}" for reason, count in reasons)
    return f"not measured: no row was attacked{f' ({listed})' if listed else ''}"


def _read_interval(value: Any) -> tuple[float, float] | None:
    """Return the bounds of an interval in a report, which may be missing or damaged."""
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(map(is_number, value)):
        return float(value[0]), float(value[1])
    return None
