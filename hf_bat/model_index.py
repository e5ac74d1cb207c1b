"""What evaluations found of a model, as the figures of a model card and as the Hub's `model-index`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hf_bat.attack.label_filter import flat_figures

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

# What an evaluation reports of the run and not of the model.
_NOT_OF_THE_MODEL = ("loss", "runtime", "per_second", "epoch", "samples", "_time")
_LOWER = "(lower is better)"
# Figure of an attack's summary -> the metric's type and name in the index.
_FIGURES = {
    "asr": ("attack_success_rate", f"attack success rate, strict {_LOWER}"),
    "asr_confident": ("attack_success_rate", f"attack success rate, confident {_LOWER}"),
    "asr_attackable": (
        "attack_success_rate",
        f"attack success rate among the attackable rows, strict {_LOWER}",
    ),
    "attackable": ("attackable", "share of the attempted rows that the attack can edit"),
    "keep_rate": ("keep_rate", "share of the edits tried that keep the prediction"),
}
_SIDES = {
    "valid": "edits that likely change the label",
    "invalid": "edits that likely do not change the label",
}


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
            for figure, value in _figures(summary).items():
                kind, title = _kind_and_title(figure, "asr_confident" in summary)
                arguments = {
                    "attack": attack,
                    "figure": figure,
                    "recipe": summary["recipe"]["name"],
                    "recipe_hash": summary["recipe"]["hash"],
                    "rows": summary["rows"],
                    "attempted": summary["attempted"],
                }
                bounds = interval_of(summary, figure)
                if bounds:
                    arguments["interval_95"] = bounds
                results.append(
                    EvalResult(
                        **common,
                        metric_type=kind,
                        metric_value=value,
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
            and math.isfinite(value)
            and not any(part in name for part in _NOT_OF_THE_MODEL)
            and not any(name.startswith(f"{attack}_") for attack in self.attacks)
        }


def _figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """The rates of an attack that are rates of something, those by the label filter included."""
    found = {figure: summary.get(figure) for figure in _FIGURES} | flat_figures(summary)
    return {figure: value for figure, value in found.items() if value is not None}


def _kind_and_title(figure: str, has_two_definitions: bool) -> tuple[str, str]:
    side, bare = "", figure
    if figure.startswith(("valid_", "invalid_")):
        side, bare = figure.split("_", 1)
    kind, title = _FIGURES[bare]
    if not has_two_definitions:
        title = title.replace(", strict", "")
    return kind, f"{title}, {_SIDES[side]}" if side else title


def interval_of(summary: Mapping[str, Any], figure: str) -> list[float] | None:
    """The 95 % interval of one of an attack's rates, where it has one.

    Example:
        >>> interval_of({"asr": 0.5, "asr_interval": [0.1, 0.9]}, "asr")
        [0.1, 0.9]
    """
    if figure.startswith("valid_"):
        summary, figure = summary["label_valid"], figure.removeprefix("valid_")
    bounds = summary.get(f"{figure}_interval")
    return list(bounds) if bounds else None
