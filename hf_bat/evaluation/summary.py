"""The run's final summary, with accuracy and attack success rates next to a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_bat.attack.figures import has_direction, is_lower_better, list_figures, parse_metric
from hf_bat.console import align, apply_style
from hf_bat.errors import HfBatError
from hf_bat.files import read_json
from hf_bat.stats import format_rate, is_number

# Metrics that are not from attacks, with their titles and positions before and after attack
# metrics.
_OTHERS = {
    "accuracy": ("accuracy", -2),
    "f1": ("F1", -1),
    "robustness": ("robustness", 1000),
    "contrast_accuracy": ("contrast accuracy", 1001),
}
_STYLES = {"better": "good", "worse": "bad"}


def summary_table(
    metrics: Mapping[str, Any], baseline: Mapping[str, Any] | None = None, stream: Any = None
) -> str:
    """Format accuracy, F1 and attack success rates as lines of text, in percent.

    Args:
        metrics: Result of `BalancedTrainer.evaluate`, or the content of an `eval_results.json`, with
            `eval_accuracy`, `eval_antonym_asr`, ... as fractions. The keys of MNLI's mismatched set end in
            `_mm`.
        baseline: Metrics of another model, which add a column and the difference in points.
        stream: Stream to print the lines to. On a terminal, "better" and "worse" are
            colored.

    Returns:
        The lines, with "-" for values that one model lacks. Empty without metrics.

    Example:
        >>> ours = {"eval_accuracy": 0.768, "eval_antonym_asr": 0.952, "eval_loss": 0.6}
        >>> print(summary_table(ours, {"eval_accuracy": 0.778, "eval_antonym_asr": 0.975}))
                     this model  baseline  difference
        accuracy         76.8 %    77.8 %        -1.0  worse
        antonym ASR      95.2 %    97.5 %        -2.3  better
    """
    titles = name_figures(metrics)
    if not titles:
        return ""
    rows, verdicts = [["", "this model", "baseline", "difference"]], [""]
    for key, title in titles.items():
        ours: Any = metrics[key]
        theirs: Any = (baseline or {}).get(key)
        cells, verdict = ["-", "-"], ""
        if is_number(theirs):
            points = round(100 * (ours - theirs), 1) + 0.0  # without a minus sign before zero
            metric = key.removesuffix("_mm")
            is_better = points < 0 if is_lower_better(metric) else points > 0
            verdict = "same" if points == 0 else "better" if is_better else "worse"
            if points and not has_direction(metric):
                verdict = ""
            cells = [format_rate(theirs), f"{points:+.1f}"]
        rows.append([title, format_rate(ours), *cells])
        verdicts.append(verdict)
    if baseline is None:
        return "\n".join(align([row[:2] for row in rows]))
    return "\n".join(
        f"{line}  {apply_style(word, _STYLES[word], stream) if word in _STYLES else word}".rstrip()
        for line, word in zip(align(rows), verdicts, strict=True)
    )


def name_figures(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Choose the metrics of a summary, and give them titles.

    Args:
        metrics: Metrics of an evaluation.

    Returns:
        Dict of metric key -> title, in the order of a summary. Metrics without a number are left
        out.

    Example:
        >>> name_figures({"eval_antonym_asr": 0.5, "eval_loss": 1.0, "eval_accuracy_mm": 0.75})
        {'eval_antonym_asr': 'antonym ASR', 'eval_accuracy_mm': 'accuracy (mismatched)'}
    """
    figures = list_figures("summary")
    ranked = []
    for key, value in metrics.items():
        if not key.startswith("eval_") or not is_number(value):
            continue
        is_mismatched = key.endswith("_mm")
        name = key.removeprefix("eval_").removesuffix("_mm")
        parsed = parse_metric(name)
        if name in _OTHERS:
            title, place = _OTHERS[name]
        elif parsed is not None and parsed[1] in figures:
            title = f"{parsed[0].replace('_', ' ')} {parsed[1].short}"
            place = figures.index(parsed[1])
        else:
            continue
        ranked.append((is_mismatched, place, key, title))
    # Attacks remain in their order.
    ranked.sort(key=lambda entry: entry[:2])
    return {key: f"{title} (mismatched)" if mm else title for mm, _, key, title in ranked}


def read_results(path: str | Path) -> dict[str, Any]:
    """Read the evaluation results of another run.

    Args:
        path: An output folder with an `eval_results.json`, or the file itself.

    Raises:
        HfBatError: If the file is missing or not JSON, or has no metric for a summary.
    """
    file = Path(path) / "eval_results.json" if Path(path).is_dir() else Path(path)
    content = read_json(file, "baseline")
    if not isinstance(content, dict) or not name_figures(content):
        raise HfBatError(f"baseline {file} has no eval_accuracy and no attack success rate")
    return content
