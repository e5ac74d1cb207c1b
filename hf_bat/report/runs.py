"""Sections of a page: runs of a sweep or a reproduction, and a reproduction beside the paper's figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import PurePosixPath
from statistics import fmean, stdev
from typing import Any

from hf_bat.attack.report import disclosure
from hf_bat.files import get_model_title
from hf_bat.report.attack import line, number, table
from hf_bat.report.charts import line_chart
from hf_bat.report.pictures import figures
from hf_bat.summary import labels
from hf_bat.sweep.arguments import without_secrets
from hf_bat.sweep.summary import defence_of

Content = Mapping[str, Any]

_PARTS = {
    "arguments": "Arguments",
    "representations": "Representations",
    "tables": "Fingerprints of the tables",
    "environment": "Made with",
}
_NOTE = (
    "Per cent, mean ± standard deviation over seeds. Of an attack success rate (ASR), lower is better; the "
    "paper counts confident successes of antonyms and negations. No sentence encoder constrains our synonym "
    "attack, as one does the paper's."
)


def run_sections(runs: Mapping[str, Content]) -> Iterator[str]:
    """Figures by epoch and arguments of each run.

    Args:
        runs: file -> `result.json`.
    """
    for name, content in runs.items():
        yield f"<h2>Run: {escape(in_short(content))}</h2>"
        yield line({"file": name, "key": content.get("key")})
        yield from _defences([content])
        chart = _by_epoch(content.get("epochs"))
        if chart:
            yield f"<h3>Evaluation by epoch (shares)</h3>{chart}"
        for part, title in _PARTS.items():
            if facts := _facts(content.get(part)):
                yield f"<h3>{title}</h3>{line(facts)}"


def _defences(runs: Iterable[Any]) -> Iterator[str]:
    """What must be said of the preprocessing defences that runs had, each once."""
    found = [{"preprocessing_defence": defence_of(run)} for run in runs if isinstance(run, Mapping)]
    for said in sorted(filter(None, set(map(disclosure, found)))):
        yield f"<p>{escape(said)}</p>"


def in_short(content: Content) -> str:
    """What tells a run from others best, its key being a hash.

    Example:
        >>> in_short({"arguments": {"method": "safer", "seed": 2, "bf16": True}})
        'safer, seed 2'
    """
    arguments = content["arguments"]
    seed = f", seed {arguments['seed']}" if "seed" in arguments else ""
    return f"{arguments.get('method', 'normal')}{seed}"


def _by_epoch(logs: Any) -> str:
    """A chart of several epochs; of one the evaluation table has said all."""
    first: dict[float, Content] = {}
    for log in logs if isinstance(logs, list) else ():
        if isinstance(log, Mapping) and isinstance(log.get("epoch"), (int, float)):
            # Of MNLI, older runs logged the mismatched set as one more evaluation of the last epoch.
            first.setdefault(log["epoch"], log)
    if len(first) < 2:
        return ""
    keys = dict.fromkeys(key for log in first.values() for key in log)
    shown = labels({key: 0.0 for key in keys if not key.endswith("_keep_rate")})
    series = {
        label: [(epoch, log[key]) for epoch, log in first.items() if _is_number(log.get(key))]
        for key, label in shown.items()
    }
    return line_chart(series, "Evaluation by epoch (shares)", "epoch")


def _facts(part: Any) -> dict[str, Any]:
    """What of a part fits a line. An argument that is None says something too: all rows, say."""
    # Results of earlier versions may hold a token.
    found = without_secrets(part).items() if isinstance(part, Mapping) else ()
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list) else _or_none(value)
        for key, value in found
        if not isinstance(value, Mapping)
    }


def _or_none(value: Any) -> Any:
    return "none" if value is None else value


def reproduction_sections(
    reproductions: Mapping[str, Content], pictures: Mapping[str, str]
) -> Iterator[str]:
    """Each experiment's table, ours beside the paper's, what differs, and its pictures.

    Args:
        reproductions: file -> `results.json` of `examples/reproduce/run.py`.
        pictures: name -> data URI; those that lie beside such a file are shown with it.
    """
    for name, content in reproductions.items():
        title = str(content.get("title", ""))
        yield f"<h2>{escape(title)}</h2>{line({'file': name})}"
        yield line({"The paper": content.get("paper_claims")})
        yield _beside_the_papers(content["settings"])
        yield line({"Ours": f"scale {content.get('scale')}", **_what_differs(content["settings"])})
        yield from _defences(run for one in content["settings"] for run in one.get("runs") or ())
        yield f"<p>{_NOTE}</p>"
        yield figures(pictures, beside(name, pictures), title)


def beside(name: str, pictures: Mapping[str, str]) -> list[str]:
    """The pictures in the folder of a file.

    Example:
        >>> beside("figure6/results.json", {"figure6/figure.png": "", "frontier.png": ""})
        ['figure6/figure.png']
    """
    folder = PurePosixPath(name).parent
    return [picture for picture in pictures if PurePosixPath(picture).parent == folder]


def _beside_the_papers(settings: list[Content]) -> str:
    metrics = dict.fromkeys(metric for one in settings for metric in one["ours"])
    printed = {metric for one in settings for metric in one.get("paper_percent") or ()}
    heads = ['<th>task</th><th class="text">paper\'s model</th><th class="text">method</th>']
    heads.append("<th>seeds</th>")
    for metric in metrics:
        label = escape(labels({metric: 0.0}).get(metric, metric))
        heads.append(f"<th>{label}, ours</th>")
        heads.append(f"<th>{label}, paper</th>" if metric in printed else "")
    lines = []
    for one in settings:
        cells = [
            _ours(one["ours"].get(metric))
            + (_papers((one.get("paper_percent") or {}).get(metric)) if metric in printed else "")
            for metric in metrics
        ]
        lines.append(f"<tr>{_named(one)}{''.join(cells)}</tr>")
    return table("".join(heads), lines)


def _named(setting: Content) -> str:
    options = setting.get("options") or {}
    varied = ", ".join(f"{key.replace('_', ' ')} {number(v)}" for key, v in options.items())
    method = f"{setting.get('method')}{f' ({varied})' if varied else ''}"
    names = (str(setting.get("task")).upper(), str(setting.get("paper_model")), method)
    cells = "".join(f'<td class="text">{escape(name)}</td>' for name in names)
    return f"{cells}<td>{len(setting.get('runs') or ())}</td>"


def _ours(values: Any) -> str:
    found = [100 * v for v in values if _is_number(v)] if isinstance(values, list) else []
    if not found:
        return "<td>-</td>"
    return _cell(fmean(found), stdev(found) if len(found) > 1 else None)


def _papers(printed: Any) -> str:
    """A figure of the paper: in per cent, alone or with its deviation."""
    found = printed if isinstance(printed, list) else [printed]
    if not found or not all(map(_is_number, found)):
        return "<td>-</td>"
    return _cell(found[0], found[1] if len(found) > 1 else None)


def _cell(mean: float, deviation: float | None) -> str:
    spread = "" if deviation is None else f"<small>± {deviation:.2f}</small>"
    return f"<td>{mean:.2f}{spread}</td>"


def _what_differs(settings: list[Content]) -> dict[str, str]:
    """Facts of our runs that a reader needs before comparing."""
    runs = [run for one in settings for run in one.get("runs") or () if isinstance(run, Mapping)]
    arguments = [run["arguments"] for run in runs if isinstance(run.get("arguments"), Mapping)]
    rows = [run["rows"].get("train") for run in runs if isinstance(run.get("rows"), Mapping)]
    attacked = [one["max_attack_samples"] for one in arguments if "max_attack_samples" in one]
    found = {
        "model": [get_model_title(str(one.get("model_name_or_path"))) for one in arguments],
        "training rows": [number(count) for count in rows],
        "steps": [number(run.get("steps")) for run in runs],
        "attacked rows": ["all" if n is None else f"the first {number(n)}" for n in attacked],
    }
    return {key: " or ".join(dict.fromkeys(values)) for key, values in found.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
