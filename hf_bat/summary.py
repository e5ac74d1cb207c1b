"""The last thing that a run prints: accuracy and attack success rates, beside the baseline's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_bat.attack.figures import is_lower_better, list_figures, parse_metric
from hf_bat.console import align, apply_style
from hf_bat.errors import HfBatError

_FIRST = {"accuracy": "accuracy", "f1": "F1"}
_LAST = {"robustness": "robustness"}


def summary_table(
    metrics: Mapping[str, Any], baseline: Mapping[str, Any] | None = None, stream: Any = None
) -> str:
    """Accuracy, F1 and attack success rates as lines of text, in percent.

    Args:
        metrics: what `BalancedTrainer.evaluate` returns, or an `eval_results.json`: `eval_accuracy`,
            `eval_antonym_asr`, ..., fractions; MNLI's mismatched set's end in `_mm`.
        baseline: another model's; adds its column and the difference in points.
        stream: where the lines will be printed; "better" and "worse" are coloured if it is a terminal.

    Returns:
        The lines; a figure that one of the two lacks is "-". Empty where there is no figure at all.

    Example:
        >>> ours = {"eval_accuracy": 0.768, "eval_antonym_asr": 0.952, "eval_loss": 0.6}
        >>> print(summary_table(ours, {"eval_accuracy": 0.778, "eval_antonym_asr": 0.975}))
                     this model  baseline  difference
        accuracy         76.8 %    77.8 %        -1.0  worse
        antonym ASR      95.2 %    97.5 %        -2.3  better
    """
    found = labels(metrics)
    if not found:
        return ""
    if baseline is None:
        lines = [("", "this model")]
        lines += [(label, _percent(metrics[key])) for key, label in found.items()]
        return "\n".join(align(lines))
    rows, verdicts = [("", "this model", "baseline", "difference")], [""]
    for key, label in found.items():
        ours, theirs = metrics[key], baseline.get(key)
        difference = verdict = "-"
        if _is_number(theirs):
            points = round(100 * (ours - theirs), 1) + 0.0  # no minus zero
            difference = f"{points:+.1f}"
            better = points < 0 if _lower_is_better(key) else points > 0
            verdict = "same" if points == 0 else "better" if better else "worse"
        rows.append((label, _percent(ours), _percent(theirs), difference))
        verdicts.append("" if verdict == "-" else verdict)
    styles = {"better": "good", "worse": "bad"}
    return "\n".join(
        f"{line}  {apply_style(word, styles[word], stream) if word in styles else word}".rstrip()
        for line, word in zip(align(rows), verdicts, strict=True)
    )


def labels(metrics: Mapping[str, Any]) -> dict[str, str]:
    """What to call the figures that a summary shows, accuracy first, each set's together.

    Returns:
        Metric key -> label, of the keys whose value is a number.

    Example:
        >>> labels({"eval_antonym_asr": 0.5, "eval_loss": 1.0, "eval_accuracy_mm": 0.75})
        {'eval_antonym_asr': 'antonym ASR', 'eval_accuracy_mm': 'accuracy (mismatched)'}
    """
    found: dict[str, str] = {}
    for ending, where in (("", ""), ("_mm", " (mismatched)")):
        plain = {
            key.removeprefix("eval_").removesuffix(ending): key
            for key, value in metrics.items()
            if _is_number(value) and key.startswith("eval_") and key.endswith("_mm") == bool(ending)
        }
        chosen = [(name, label) for name, label in _FIRST.items() if name in plain]
        parsed = {name: split for name in plain if (split := parse_metric(name)) is not None}
        for figure in list_figures("summary"):
            chosen += [
                (name, f"{attack.replace('_', ' ')} {figure.short}")
                for name, (attack, its_figure) in parsed.items()
                if its_figure is figure
            ]
        chosen += [(name, label) for name, label in _LAST.items() if name in plain]
        found |= {plain[name]: f"{label}{where}" for name, label in chosen}
    return found


def read_results(path: str | Path) -> dict[str, Any]:
    """The evaluation results of another run.

    Args:
        path: an output folder that holds `eval_results.json`, or such a file.

    Raises:
        HfBatError: there is none, it is no JSON, or has no accuracy and no attack's success rate.
    """
    file = Path(path) / "eval_results.json" if Path(path).is_dir() else Path(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise HfBatError(f"baseline {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise HfBatError(f"baseline {file} is not JSON: {error}") from error
    if not isinstance(content, dict) or not summary_table(content):
        raise HfBatError(f"baseline {file} has no eval_accuracy and no attack success rate")
    return content


def _lower_is_better(key: str) -> bool:
    return is_lower_better(key.removesuffix("_mm"))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _percent(value: Any) -> str:
    return f"{100 * value:.1f} %" if _is_number(value) else "-"
