"""An output folder as one self-contained HTML page: figures, charts, word pairs, marked examples."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from hf_bat.attack.html import attack_sections, line, number, page, rate, summary, table
from hf_bat.compare import find_rows, read_rows
from hf_bat.errors import HfBatError
from hf_bat.html_charts import STYLE, line_chart, rate_chart
from hf_bat.summary import labels

# Of the model and its tokenizer: nothing to show, and some of them are large.
_SKIPPED = ("config.json", "vocab.json", "map.json", "added_tokens.json", ".index.json")
_CHARTS = (
    ("Loss and its components", "loss", ("loss",)),
    ("Distance of anchor and version", "distance", ("fickle_distance", "obstinate_distance")),
    ("Rows that had a valid version (share)", "valid", ("fickle_valid", "obstinate_valid")),
)


@dataclass
class _Found:
    """What a folder holds, each by its file's name."""

    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    attacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    contrasts: dict[str, dict[str, Any]] = field(default_factory=dict)
    comparisons: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    def files(self) -> list[str]:
        """Names of the files that the page shows, sorted."""
        kinds = (self.metrics, self.histories, self.attacks, self.rows, self.contrasts)
        return sorted({name for kind in (*kinds, self.comparisons, self.tables) for name in kind})


def write_report(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> dict[str, Any]:
    """Write an output folder's page.

    Args:
        folder: what `examples/run_glue_bat.py`, `hf-bat attack`, `contrast` or `compare` wrote into:
            `train_results.json`, `eval_results.json`, `trainer_state.json`, `perturbations.json`,
            reports and rows in any number. They are known by what is in them, not by their names.
        path: the page to write.

    Returns:
        `{"output", "files": those shown, "others": file -> why it is not}`.

    Raises:
        HfBatError: no such folder, no file in it that can be shown, or the page cannot be written.
    """
    found = _collect(Path(folder))
    text = _render(Path(folder), found)
    temporary = Path(f"{os.fspath(path)}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise HfBatError(f"cannot write {path}: {error.strerror or error}") from error
    return {"output": str(path), "files": found.files(), "others": found.others}


def _collect(folder: Path) -> _Found:
    if not folder.is_dir():
        raise HfBatError(f"no such folder: {folder}")
    found = _Found()
    for path in sorted(folder.glob("*.json")):
        if path.name.startswith("tokenizer") or path.name.endswith(_SKIPPED):
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            found.others[path.name] = f"cannot be read ({error})"
            continue
        if not (isinstance(content, dict) and _sort(found, path.name, content)):
            found.others[path.name] = "no result of hf_bat"
    if not found.histories:
        _last_checkpoint(folder, found)
    _find_rows(folder, found)
    if not found.files():
        raise HfBatError(
            f"nothing to show in {folder}: no results of run_glue_bat.py, no report or rows of "
            "`hf-bat attack`, `contrast` or `compare`"
        )
    return found


def _sort(found: _Found, name: str, content: dict[str, Any]) -> bool:
    """Put a file's content where it belongs; False where it belongs nowhere."""
    known = False
    if isinstance(content.get("log_history"), list):
        found.histories[name] = [one for one in content["log_history"] if isinstance(one, dict)]
        known = True
    parts = [content, *(content.get(part) for part in ("train", "eval"))]
    merged = {k: v for one in parts if isinstance(one, dict) for k, v in one.items()}
    if any(key.startswith(("eval_", "train_")) for key in merged) and "global_step" not in content:
        found.metrics[name] = merged
        known = True
    for key, place in (
        ("attacks", found.attacks),
        ("contrast", found.contrasts),
        ("comparisons", found.comparisons),
    ):
        if isinstance(content.get(key), (dict, list)):
            place[name] = content
            known = True
    if "method" in content and ("fickle" in content or len(content) == 1):
        found.tables[name] = content
        known = True
    return known


def _last_checkpoint(folder: Path, found: _Found) -> None:
    """Without a final state, the last checkpoint's."""
    states = {int(p.parent.name[11:]): p for p in folder.glob("checkpoint-*/trainer_state.json")
              if p.parent.name[11:].isdigit()}  # fmt: skip
    if states:
        path = states[max(states)]
        try:
            name = f"{path.parent.name}/{path.name}"
            _sort(found, name, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            found.others[name] = f"cannot be read ({error})"


def _find_rows(folder: Path, found: _Found) -> None:
    """Give each report its rows; of rows without a report, make one."""
    claimed: dict[str, Path] = {}
    for name, report in found.attacks.items():
        try:
            claimed[name] = find_rows(folder / name, report)
        except HfBatError:
            continue
    owners = Counter(path.resolve() for path in claimed.values())
    for name, path in claimed.items():
        if owners[path.resolve()] > 1:
            found.others[path.name] = f"the rows of which report? ({owners[path.resolve()]} fit)"
        else:
            found.rows[name] = _rows(found, path)
    for path in sorted((*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz"))):
        if path.resolve() not in owners and (rows := _rows(found, path)):
            found.attacks[path.name] = {"attacks": _summaries(rows)}
            found.rows[path.name] = rows


def _rows(found: _Found, path: Path) -> list[dict[str, Any]]:
    try:
        rows = [row for row in read_rows(path) if "outcome" in row]
    except HfBatError as error:
        found.others[path.name] = str(error)
        return []
    if not rows:
        found.others[path.name] = "no attacked rows"
    return rows


def _summaries(rows: list[dict[str, Any]]) -> dict[str, Any]:
    from hf_bat.attack.html import rows_by_attack
    from hf_bat.attack.report import summarise

    made = {}
    for name, some in rows_by_attack((), rows).items():
        kind = "obstinate" if "outcome_confident" in some[0] else "fickle"
        try:
            made[name] = summarise(some, kind, {})
        except (KeyError, TypeError, ValueError):  # rows of another hand: shown without figures
            made[name] = {}
    return made


def _render(folder: Path, found: _Found) -> str:
    from hf_bat import __version__

    methods = {str(one["method"]) for one in found.tables.values() if "method" in one}
    facts = {
        "folder": folder.resolve().name,
        "method": ", ".join(sorted(methods)),
        "hf_bat": __version__,
    }
    body = [
        "<h1>Report</h1>",
        line(facts),
        *_figures(found),
        *_training(found),
        *_attacks(found),
        *_contrasts(found),
        *_comparisons(found),
        *_tables(found),
        *_files(found),
    ]
    return page(f"Report: {folder.resolve().name}", body, STYLE)


def _figures(found: _Found) -> Iterator[str]:
    """Accuracy and attack success rates as evaluation left them, and what training cost."""
    merged: dict[str, Any] = {}
    for name, metrics in found.metrics.items():
        if name == "all_results.json" and len(found.metrics) > 1:
            continue  # the others say it
        shown = labels(metrics)
        if shown:
            lines = [f"<tr><td>{label}</td>{rate(metrics[k])}</tr>" for k, label in shown.items()]
            note = "of an attack success rate (ASR), lower is better"
            yield f"<h2>Evaluation</h2><p>{escape(name)}; {note}</p>"
            yield table("<th></th><th>share</th>", lines)
        merged |= metrics
    cost = {
        "rows": merged.get("train_samples"),
        "epochs": merged.get("epoch"),
        "training loss": merged.get("train_loss"),
        "training, seconds": merged.get("train_runtime"),
        "rows evaluated": merged.get("eval_samples"),
    }
    if any(value is not None for value in cost.values()):
        yield line(cost)


def _training(found: _Found) -> Iterator[str]:
    for name, history in found.histories.items():
        charts = []
        for title, ending, first in _CHARTS:
            keys = [k for k in _keys(history) if k in first or k.startswith(f"{ending}_")]
            chart = line_chart({key: _points(history, key) for key in keys}, title)
            charts.append(f"<h3>{title}</h3>{chart}" if chart else "")
        shown = labels({key: 0.0 for key in _keys(history)})
        series = {label: _points(history, key) for key, label in shown.items()}
        if any(len(points) > 1 for points in series.values()):
            title = "Evaluation while training (shares)"
            charts.append(f"<h3>{title}</h3>{line_chart(series, title)}")
        if any(charts):
            yield f"<h2>Training</h2><p>{escape(name)}</p>"
            yield from charts


def _keys(history: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for entry in history for key in entry))


def _points(history: list[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    return [
        (float(entry["step"]), float(entry[key]))
        for entry in history
        if isinstance(entry.get(key), (int, float)) and isinstance(entry.get("step"), (int, float))
    ]


def _attacks(found: _Found) -> Iterator[str]:
    bars: list[tuple[str, float, Any]] = []
    for name, report in found.attacks.items():
        where = "" if len(found.attacks) == 1 else f"{_stem(name)}: "
        for attack, entry in report["attacks"].items():
            for key, ending in (("asr", ""), ("asr_confident", ", confident")):
                if isinstance(entry.get(key), (int, float)):
                    bars.append(
                        (f"{where}{attack}{ending}", entry[key], entry.get(f"{key}_interval"))
                    )
    if bars:
        yield "<h2>Attack success rates</h2><p>with 95 % intervals; lower is better</p>"
        yield rate_chart(bars, "Attack success rates with 95 % intervals")
    for name, report in found.attacks.items():
        facts = {key: report.get(key) for key in ("model", "task")}
        yield f"<h2>{escape(_stem(name))}</h2>{line(facts)}"
        yield summary(report["attacks"])
        yield from attack_sections(report["attacks"], found.rows.get(name, ()))


def _stem(name: str) -> str:
    return name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")


def _contrasts(found: _Found) -> Iterator[str]:
    for name, content in found.contrasts.items():
        shares = {
            k: v for k, v in content["contrast"].items() if isinstance(v, Mapping) and "of" in v
        }
        lines = [
            f"<tr><td>{escape(key.replace('_', ' '))}</td><td>{number(one['count'])}</td>"
            f"<td>{number(one['of'])}</td>{rate(one.get('rate'), one.get('interval'))}</tr>"
            for key, one in shares.items()
        ]
        yield f"<h2>Rows that people edited</h2>{line({'file': name, 'model': content.get('model')})}"
        yield table("<th></th><th>count</th><th>of</th><th>share</th>", lines)


def _comparisons(found: _Found) -> Iterator[str]:
    for content in found.comparisons.values():
        lines = []
        for one in content["comparisons"]:
            low_high = [f"{100 * bound:+.1f}" for bound in one.get("interval") or ()]
            difference = one.get("difference")
            lines.append(
                f"<tr><td>{escape(str(one.get('attack')))}</td>"
                f'<td class="text">{escape(str(one.get("definition")))}</td>'
                f"{rate(one.get('asr_a'))}{rate(one.get('asr_b'))}"
                f"<td>{'-' if difference is None else f'{100 * difference:+.1f}'}"
                f"<small>{' to '.join(low_high)}</small></td><td>{number(one.get('p_value'))}</td></tr>"
            )
        yield f"<h2>Two models</h2>{line({'A': content.get('a'), 'B': content.get('b')})}"
        head = '<th>attack</th><th class="text">success</th><th>A</th><th>B</th>'
        yield table(f"{head}<th>B − A, points</th><th>McNemar p</th>", lines)


def _tables(found: _Found) -> Iterator[str]:
    for name, content in found.tables.items():
        yield f"<h2>Perturbations in training</h2><p>{escape(name)}</p>"
        for kind, described in content.items():
            if isinstance(described, Mapping):
                plain = {
                    k: v for k, v in described.items() if isinstance(v, (str, int, float, bool))
                }
                yield f"<h3>{escape(kind)}</h3>{line(plain)}"


def _files(found: _Found) -> Iterator[str]:
    yield f"<h2>Files</h2><p>shown: {escape(', '.join(found.files()))}</p>"
    for name, why in found.others.items():
        yield f"<p>not shown: {escape(name)}: {escape(why)}</p>"
