"""The names of attack metrics, and which way they are better; no framework is needed to know that."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hf_bat.errors import HfBatError

_FIGURE = re.compile(r"(_valid|_invalid)?(_asr|_asr_confident|_asr_attackable|_keep_rate)$")

# The recipes whose goal is to flip an answer that should stay.
_FICKLE = frozenset({"synonym", "textfooler-wordnet", "a2t", "a2t-mlm"})


def is_lower_better(metric: str | None) -> bool:
    """Whether a metric is a rate of which the lowest is the best: attacks' success, and edits that should
    change the answer but keep it.

    Example:
        >>> [is_lower_better(m) for m in ("eval_antonym_asr", "antonym_asr_confident", "eval_accuracy")]
        [True, True, False]
        >>> is_lower_better("eval_antonym_invalid_keep_rate")  # of edits that likely keep the label
        False
        >>> is_lower_better("eval_synonym_keep_rate")  # and all of these should
        False
    """
    found = None if metric is None else _FIGURE.search(metric)
    if metric is None or found is None:
        return False
    likely_kept = found[1] == "_invalid" or _attack_of(metric) in _FICKLE
    return found[2] != "_keep_rate" or not likely_kept


def is_attack_metric(metric: str | None) -> bool:
    """Whether only attacks give this metric.

    Example:
        >>> [is_attack_metric(m) for m in ("eval_robustness", "eval_antonym_asr", "eval_loss")]
        [True, True, False]
    """
    if metric is None:
        return False
    return metric in ("robustness", "eval_robustness") or _FIGURE.search(metric) is not None


def has_obstinate(attacks: Sequence[str]) -> bool:
    """Whether one of the named attacks is obstinate: its edits should change the answer.

    Example:
        >>> has_obstinate(["paper-synonym", "a2t"]), has_obstinate(["synonym", "antonym"])
        (False, True)
    """
    return any(name.removeprefix("paper-") not in _FICKLE for name in attacks)


def check_best_metric(metric: str | None, when: str, attacks: Sequence[str]) -> None:
    """Refuse to choose the best model by an attack metric that evaluations will not, or not all, have.

    Args:
        metric: `metric_for_best_model`.
        when: `attack_every`.
        attacks: the attacks' names.

    Raises:
        HfBatError: what is missing, in one line.
    """
    if not is_attack_metric(metric):
        return
    bare = str(metric).removeprefix("eval_")
    figure = _FIGURE.search(bare)
    if _attack_of(bare) in _FICKLE and figure and figure[0] not in ("_asr", "_asr_attackable"):
        raise HfBatError(
            f"metric_for_best_model={metric!r}: fickle attacks have success rates alone (_asr); "
            "keep and confident rates, and those of valid edits, are of obstinate ones"
        )
    needed = ("antonym", "synonym") if bare == "robustness" else (_attack_of(bare),)
    keys = {attack.removeprefix("paper-") for attack in attacks}
    if not keys.issuperset(needed):
        raise HfBatError(f"metric_for_best_model={metric!r} needs attacks={list(needed)}")
    if when != "eval":
        raise HfBatError(
            f"metric_for_best_model={metric!r} is needed at each evaluation: set attack_every='eval'"
        )


def _attack_of(metric: str) -> str:
    """The attack of `antonym_asr`, or of an evaluation set's `mismatched_antonym_asr`."""
    return _FIGURE.sub("", metric).rsplit("_", 1)[-1]
