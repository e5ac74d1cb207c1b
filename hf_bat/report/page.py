"""An output folder as one self-contained HTML page: figures, charts, word pairs, marked examples."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from hf_bat.attack.report import DISCLOSED, disclosure, disclosures
from hf_bat.errors import HfBatError
from hf_bat.files import identity, write_atomically
from hf_bat.report import charts, pictures
from hf_bat.report.attack import attack_sections, line, number, page, rate, summary, table
from hf_bat.report.charts import line_chart, rate_chart
from hf_bat.report.files import DAMAGE, Found, collect, readable
from hf_bat.report.pictures import figures
from hf_bat.report.runs import beside, in_short, reproduction_sections, run_sections
from hf_bat.summary import labels

_OF_A_RUN = ("all_results.json", "eval_results.json", "train_results.json", "result.json")
_COSTS = {
    "train_samples": "training rows",
    "epoch": "epochs",
    "train_loss": "training loss",
    "train_runtime": "training, seconds",
    "eval_samples": "evaluated rows",
}
# Of an error, in letters: it may hold a value of the file.
_MOST_SAID = 150
_CHARTS = (
    ("Loss and its components", "loss", ("loss",)),
    ("Distance of anchor and version", "distance", ("fickle_distance", "obstinate_distance")),
    ("Rows that had a valid version (share)", "valid", ("fickle_valid", "obstinate_valid")),
)


def write_report(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    also_written: Iterable[str | os.PathLike[str]] = (),
) -> dict[str, Any]:
    """Write an output folder's page.

    Args:
        folder: what `examples/run_glue_bat.py` or a command of `hf-bat` wrote into:
            `train_results.json`, `eval_results.json`, `trainer_state.json`, `perturbations.json`,
            reports and rows in any number; a sweep's folder, or a reproduction's, or one of a run of
            theirs. They are known by what is in them, not by their names. PNG and SVG pictures are
            shown too.
        path: the page to write.
        also_written: files that the caller will write, refused as the page is where the page shows them.

    Returns:
        `{"output", "files": those shown, "others": file -> why it is not}`.

    Raises:
        HfBatError: no such folder, no file in it that can be shown, or the page cannot be written or
            would overwrite a file that it shows.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "eval_results.json").write_text('{"eval_accuracy": 0.8}')
        ...     write_report(folder, Path(folder, "report.html"))["files"]
        ['eval_results.json']
    """
    found = collect(Path(folder), Path(path))
    kept = set(map(identity, found.sources))
    for output in (path, *also_written):
        if identity(output) in kept:
            raise HfBatError(f"{output} is a file that the page shows; name another file to write")
    _leave_out_damaged(found)
    if not found.shown:
        name, why = next(iter(found.others.items()))
        raise HfBatError(f"nothing to show in {folder}: {readable(name)}: {why}")
    # The name of a file need not be text.
    write_atomically(path, _render(Path(folder), found).encode("utf-8", "replace"))
    return {
        "output": str(path),
        "files": sorted(map(readable, found.shown)),
        "others": {readable(name): why for name, why in sorted(found.others.items())},
    }


def _render(folder: Path, found: Found) -> str:
    from hf_bat.version import __version__

    described = (*found.tables.values(), *(run["arguments"] for run in found.runs.values()))
    methods = {str(one["method"]) for one in described if "method" in one}
    facts = {
        "folder": folder.resolve().name,
        "method": ", ".join(sorted(methods)),
        "version of hf-bat": __version__,
    }
    body = ["<h1>Report</h1>", line(facts), *_sections(found), *_files(found)]
    style = charts.STYLE + pictures.STYLE
    return page(f"Report: {folder.resolve().name}", body, style, pictures=bool(found.pictures))


def _sections(found: Found) -> Iterator[str]:
    yield from _figures(found)
    yield from reproduction_sections(found.reproductions, found.pictures)
    yield from run_sections(found.runs)
    yield from _training(found)
    yield from _attacks(found)
    yield from _contrasts(found)
    yield from _comparisons(found)
    yield from _certificates(found)
    yield from _sweeps(found)
    yield from _pictures(found)
    yield from _tables(found)


def _leave_out_damaged(found: Found) -> None:
    """Leave out files that no page can be made of, each tried alone, for several share a section."""
    for name in sorted(found.shown - found.pictures.keys()):
        if why := _damage(found.part(name, with_rows=False)):
            found.leave_out(name, why)
            # Rows without their report are not shown.
            rows = found.row_files.get(name, name)
            if rows in found.shown:
                found.leave_out(rows, f"the rows of {readable(name)}, which is not shown")
    for name, rows in found.row_files.items():
        if name in found.attacks and (why := _damage(found.part(name))):
            found.leave_out(rows, why)
            found.rows.pop(name, None)


def _damage(found: Found) -> str:
    """Why no page can be made of what was found, "" where one can."""
    try:
        page("", _sections(found))
    except DAMAGE as error:
        said = " ".join(readable(f"{type(error).__name__}: {error}").split())
        return f"damaged, or not written by hf_bat ({said[:_MOST_SAID]})"
    return ""


def _figures(found: Found) -> Iterator[str]:
    """Accuracy and attack success rates as evaluation left them, and what training cost."""
    runs: dict[str, dict[str, Any]] = {}
    notes: dict[str, str] = {}
    for name, metrics in found.metrics.items():
        # What a run leaves in three files is one run.
        run = "this run" if name in _OF_A_RUN else _stem(name).removesuffix("/result")
        runs[run] = {**runs.get(run, {}), **metrics}
        if name in found.runs:
            notes[run] = f"<small>{escape(in_short(found.runs[name]))}</small>"
    named = {run: labels(metrics) for run, metrics in runs.items()}
    keys = {key: label for shown in named.values() for key, label in shown.items()}
    lines = [
        f"<tr><td>{label}</td>{''.join(rate(metrics.get(key)) for metrics in runs.values())}</tr>"
        for key, label in keys.items()
    ]
    for key, label in _COSTS.items():
        values = [metrics.get(key) for metrics in runs.values()]
        if any(value is not None for value in values):
            cells = "".join(f"<td>{escape(number(value))}</td>" for value in values)
            lines.append(f"<tr><td>{label}</td>{cells}</tr>")
    if lines:
        yield "<h2>Evaluation</h2><p>Of an attack success rate (ASR), lower is better.</p>"
        yield from (f"<p>{escape(said)}</p>" for said in disclosures(runs.items()))
        heads = "".join(f"<th>{escape(run)}{notes.get(run, '')}</th>" for run in runs)
        yield table(f"<th></th>{heads}", lines)


def _training(found: Found) -> Iterator[str]:
    for name, history in found.histories.items():
        charts = []
        for title, ending, first in _CHARTS:
            keys = [k for k in _keys(history) if k in first or k.startswith(f"{ending}_")]
            chart = line_chart({key: _points(history, key) for key in keys}, title)
            charts.append(f"<h3>{title}</h3>{chart}" if chart else "")
        keys = [key for key in _keys(history) if not key.endswith("_keep_rate")]
        shown = labels({key: 0.0 for key in keys})
        series = {label: _points(history, key) for key, label in shown.items()}
        if any(len(points) > 1 for points in series.values()):
            title = "Evaluation while training (shares)"
            charts.append(f"<h3>{title}</h3>{line_chart(series, title)}")
        if any(charts):
            yield f"<h2>Training: {escape(_stem(name))}</h2>"
            yield from charts


def _keys(history: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for entry in history for key in entry))


def _points(history: list[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    return [
        (float(entry["step"]), float(entry[key]))
        for entry in history
        if isinstance(entry.get(key), (int, float)) and isinstance(entry.get("step"), (int, float))
    ]


def _attacks(found: Found) -> Iterator[str]:
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
        yield f"<h2>{escape(_stem(name))}</h2>{line(facts)}{_defences(report)}"
        yield summary(report["attacks"])
        where = f"{_stem(name)}: "
        yield from attack_sections(report["attacks"], found.rows.get(name, ()), where)


def _stem(name: str) -> str:
    return name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")


def _defence(content: Mapping[str, Any], side: str = "") -> str:
    found = disclosure(content)
    return f"<p>{escape(side + found)}</p>" if found else ""


def _defences(report: Mapping[str, Any]) -> str:
    """What an attack report discloses, or each attack of a file of rows."""
    if not report["attacks"]:
        return _defence(report)
    of_all = {name: report[name] for name in DISCLOSED if name in report}
    said = disclosures((name, {**of_all, **one}) for name, one in report["attacks"].items())
    return "".join(f"<p>{escape(text)}</p>" for text in said)


def _contrasts(found: Found) -> Iterator[str]:
    for name, content in found.contrasts.items():
        shares = {
            k: v for k, v in content["contrast"].items() if isinstance(v, Mapping) and "of" in v
        }
        lines = [
            f"<tr><td>{escape(key.replace('_', ' '))}</td><td>{number(one['count'])}</td>"
            f"<td>{number(one['of'])}</td>{rate(one.get('rate'), one.get('interval'))}</tr>"
            for key, one in shares.items()
        ]
        facts = {"file": name, "model": content.get("model")}
        yield f"<h2>Rows that people edited</h2>{line(facts)}{_defence(content)}"
        yield table("<th></th><th>count</th><th>of</th><th>share</th>", lines)


def _comparisons(found: Found) -> Iterator[str]:
    for content in found.comparisons.values():
        lines = []
        for one in content["comparisons"]:
            lines.append(
                f"<tr><td>{escape(str(one.get('attack')))}</td>"
                f'<td class="text">{escape(str(one.get("definition")))}</td>'
                f"{rate(one.get('asr_a'))}{rate(one.get('asr_b'))}{_difference(one)}"
                f"<td>{number(one.get('p_value'))}</td></tr>"
            )
        for one in content.get("rates", ()):
            lines.append(
                f"<tr><td>{escape(str(one.get('source')))}</td>"
                f'<td class="text">{escape(str(one.get("figure")))}</td>'
                f"{rate(one.get('rate_a'))}{rate(one.get('rate_b'))}{_difference(one)}<td></td></tr>"
            )
        yield f"<h2>Two models</h2>{line({'A': content.get('a'), 'B': content.get('b')})}"
        defences, smoothed = (
            content.get(key, {}) for key in ("preprocessing_defences", "smoothed")
        )
        for side in ("a", "b"):
            said = {"preprocessing_defence": defences.get(side), "smoothed": smoothed.get(side)}
            yield _defence(said, f"{side.upper()}: ")
        head = '<th>attack</th><th class="text">success or figure</th><th>A</th><th>B</th>'
        yield table(f"{head}<th>B − A, points</th><th>McNemar p</th>", lines)


def _difference(one: Mapping[str, Any]) -> str:
    low_high = [f"{100 * bound:+.1f}" for bound in one.get("interval") or ()]
    difference = one.get("difference")
    shown = "-" if difference is None else f"{100 * difference:+.1f}"
    return f"<td>{shown}<small>{' to '.join(low_high)}</small></td>"


def _certificates(found: Found) -> Iterator[str]:
    for name, content in found.certificates.items():
        certificate = content["certificate"]
        lines = []
        for adversary, one in certificate["adversaries"].items():
            accuracy = one.get("accuracy") or {}
            cells = "".join(
                f"<td>{number(one.get(key))}</td>"
                for key in ("certified", "not certified", "abstained")
            )
            certified = rate(accuracy.get("rate"), accuracy.get("interval"))
            lines.append(f"<tr><td>{escape(adversary)}</td>{cells}{certified}</tr>")
        facts = {"file": name, "model": content.get("model")}
        yield f"<h2>Certificate</h2>{line(facts)}{_defence(content)}"
        yield f"<p>{escape(str(certificate.get('certifies', '')))}</p>"
        head = "<th>words that the adversary may change</th><th>certified</th><th>not</th>"
        yield table(f"{head}<th>abstained</th><th>certified accuracy</th>", lines)


def _sweeps(found: Found) -> Iterator[str]:
    for name, content in found.sweeps.items():
        groups = [one for one in content["groups"] if isinstance(one.get("metrics"), Mapping)]
        shown = labels({key: 0.0 for one in groups for key in one["metrics"]})
        lines = []
        for one in groups:
            cells = "".join(
                rate(metric.get("mean"), metric.get("t_interval_95"))
                for metric in (one["metrics"].get(key, {}) for key in shown)
            )
            seeds = number(len(one.get("runs", ())))
            lines.append(f"<tr><td>{escape(str(one.get('name')))}</td><td>{seeds}</td>{cells}</tr>")
        yield f"<h2>Sweep</h2>{line({'file': name, 'interval': content.get('interval')})}"
        said = disclosures((str(one.get("name")), one) for one in groups)
        yield from (f"<p>{escape(text)}</p>" for text in said)
        heads = "".join(f"<th>{label}</th>" for label in shown.values())
        yield table(f"<th>run</th><th>seeds</th>{heads}", lines)


def _pictures(found: Found) -> Iterator[str]:
    """Those that no experiment has shown."""
    seen = {name for one in found.reproductions for name in beside(one, found.pictures)}
    rest = [name for name in found.pictures if name not in seen]
    if rest:
        yield f"<h2>Pictures</h2>{figures(found.pictures, rest, 'Picture')}"


def _tables(found: Found) -> Iterator[str]:
    for name, content in found.tables.items():
        yield f"<h2>Perturbations in training</h2><p>{escape(name)}</p>"
        for kind, described in content.items():
            if isinstance(described, Mapping):
                plain = {
                    k: v for k, v in described.items() if isinstance(v, (str, int, float, bool))
                }
                yield f"<h3>{escape(kind)}</h3>{line(plain)}"


def _files(found: Found) -> Iterator[str]:
    shown = ", ".join(sorted(map(readable, found.shown)))
    yield f"<h2>Files</h2><p>shown: {escape(shown)}</p>"
    for names, why in unshown(found.others):
        yield f"<p>not shown: {escape(readable(names))}: {escape(why)}</p>"


def unshown(others: Mapping[str, str]) -> list[tuple[str, str]]:
    """Files that are not shown, those of the same reason together.

    Example:
        >>> unshown({"log.txt": "no kind", "x.json": "no result", "lock": "no kind"})
        [('lock, log.txt', 'no kind'), ('x.json', 'no result')]
    """
    names: dict[str, list[str]] = {}
    for name, why in sorted(others.items()):
        names.setdefault(why, []).append(name)
    return [(", ".join(alike), why) for why, alike in names.items()]
