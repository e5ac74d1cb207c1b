"""An attack report as one HTML page: tables, and examples with their edits marked.

The page needs nothing else: no script, no font, no picture but those that it holds, and a policy that
forbids them. All text that comes from data is escaped. Edits are told apart by form (struck through,
underlined) and not by colour alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from html import escape
from pathlib import Path
from typing import Any

from hf_bat.attack.label_filter import flat_figures
from hf_bat.attack.report import disclosure
from hf_bat.files import write_atomically
from hf_bat.stats import clip_to_share

Row = Mapping[str, Any]

MAX_EXAMPLES = 40
MAX_PAIRS = 25

# Key of an attack's report -> (its name, an explanation), in the order of the summary.
_RATES = {
    "asr": ("attack success rate", "succeeded / attempted"),
    "asr_confident": (
        "attack success rate, confident",
        "prediction kept and its probability higher than before",
    ),
    "attackable": ("attackable", "attempted rows that have an edit to try"),
    "asr_attackable": ("attack success rate of these", "succeeded / rows that have an edit to try"),
    "keep_rate": ("keep rate", "tried edits that keep the prediction"),
    "valid_asr": ("attack success rate, valid", "of edits that likely change the label alone"),
    "valid_asr_confident": ("attack success rate, valid, confident", "of the same edits"),
    "valid_keep_rate": ("keep rate, valid", "of the same edits"),
    "invalid_keep_rate": ("keep rate, invalid", "edits that likely leave the label alone"),
    "accuracy": ("accuracy", "on the rows as they are"),
    "accuracy_under_attack": ("accuracy under attack", "rows right and not fooled"),
}
_FIGURES = {
    "rows": ("rows", "attempted + skipped"),
    "attempted": ("attempted", "succeeded + failed"),
    "skipped": ("skipped", "predicted wrong, or of a label left alone"),
    "succeeded": ("succeeded", ""),
    "failed": ("failed", ""),
    **_RATES,
    "queries": ("queries", ""),
    "queries_per_row": ("queries a row", "mean over the attempted"),
    "words_changed": ("words changed", "mean over the successes"),
    "sentence_similarity": ("sentence similarity", "mean over the successes"),
}
_ALWAYS = ("rows", "asr")

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #595959; --page: #fff; --panel: #f5f5f2;
  --line: #d4d4d0; --bar: #56a0d3; --del: #9c3a00; --del-back: #fde7d9; --ins: #00508a; --ins-back: #dcedfa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e6; --soft: #a9a9a6; --page: #16181a;
  --panel: #212427; --line: #3a3e42; --bar: #2f6f9f; --del: #ffb38a; --del-back: #4a2412; --ins: #9fd3ff;
  --ins-back: #0f3a5a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.25rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .4rem; }
pre { font-size: .8rem; overflow-x: auto; }
p, summary { margin: .4rem 0; color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
td { white-space: nowrap; }
td.text, td:first-child { white-space: normal; }
td.rate { background: linear-gradient(to right, var(--bar) var(--share), transparent var(--share))
  left bottom / 100% 4px no-repeat; }
small { color: var(--soft); display: block; }
section { min-width: 0; }
.columns { display: flex; flex-wrap: wrap; gap: 0 3rem; }
.example { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; margin: .6rem 0;
  padding: .5rem .9rem; }
.example p { color: var(--ink); margin: .25rem 0; }
.example .facts { color: var(--soft); font-size: .88rem; }
del { color: var(--del); background: var(--del-back); text-decoration: line-through 1px; padding: 0 .15em; }
ins { color: var(--ins); background: var(--ins-back); text-decoration: underline 2px; font-weight: 600;
  text-underline-offset: .15em; padding: 0 .15em; }
@media print { .example { break-inside: avoid; } }
"""


def write_html(
    report: Any, path: str | os.PathLike[str], rows: Iterable[Row] | str | Path | None = None
) -> None:
    """Write an attack report as one self-contained HTML page.

    Args:
        report: an `AttackReport`, or its `to_dict()`.
        path: the file to write.
        rows: the attacked rows, or the JSON-lines file of them; those of the `AttackReport` where
            None. Without rows the page has no examples.

    Raises:
        HfBatError: the rows file cannot be read, or the page cannot be written.
    """
    if isinstance(rows, (str, Path)):
        from hf_bat.evaluation.compare import read_rows

        rows = read_rows(rows)
    elif rows is None and not isinstance(report, Mapping):
        rows = [row for found in report.rows.values() for row in found]
    write_atomically(path, render_html(report, list(rows or ())))


def render_html(report: Any, rows: Sequence[Row] = ()) -> str:
    """The page as a string; see `write_html`.

    Example:
        >>> page = render_html({"attacks": {"antonym": {"rows": 2, "asr": 0.5}}, "model": "<mine>"})
        >>> "50.0 %" in page, "&lt;mine&gt;" in page, "<mine>" in page
        (True, True, False)
    """
    content: Mapping[str, Any] = report if isinstance(report, Mapping) else report.to_dict()
    attacks: Mapping[str, Mapping[str, Any]] = content.get("attacks", {})
    facts = {
        k: v for k, v in content.items() if isinstance(v, (str, int, float)) and k != "attacks"
    }
    defence = disclosure(content)
    by_attack = rows_by_attack(attacks, rows)
    body = [
        "<h1>Attack report</h1>",
        line(facts),
        f"<p>{escape(defence)}</p>" if defence else "",
        "<h2>Summary</h2>",
        summary(attacks),
        *attack_sections(attacks, rows),
    ]
    return page(f"Attack report: {', '.join(by_attack)}", body)


def rows_by_attack(names: Iterable[str], rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Each attack's rows, the named attacks first."""
    found: dict[str, list[Row]] = {name: [] for name in names}
    for row in rows:
        found.setdefault(str(row.get("attack", "")), []).append(row)
    return found


def attack_sections(
    attacks: Mapping[str, Mapping[str, Any]], rows: Iterable[Row], where: str = ""
) -> list[str]:
    """A section an attack: its recipe, rates per label, worst word pairs, successes marked.

    Args:
        attacks: attack -> its entry of a report.
        rows: attacked rows.
        where: what stands before each heading.
    """
    by_attack = rows_by_attack(attacks, rows)
    return [_attack_section(f"{where}{n}", attacks.get(n, {}), r) for n, r in by_attack.items()]


def page(title: str, body: Iterable[str], style: str = "", pictures: bool = False) -> str:
    """A page that fetches nothing and runs nothing.

    Args:
        title: plain text.
        body: parts, as HTML.
        style: CSS beside the page's own.
        pictures: whether it holds pictures, as data; else none at all are allowed.
    """
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    policy += "; img-src data:" if pictures else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        f"<style>{_STYLE}{style}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def mark_edits(before: str, after: str) -> str:
    """A sentence with what an edit took out and put in marked, as HTML.

    Example:
        >>> mark_edits("He goes <home>.", "He doesn't go <home>.")
        'He <del>goes</del> <ins>doesn&#x27;t go</ins> &lt;home&gt;.'
    """
    old, new = before.split(), after.split()
    parts = []
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(escape(" ".join(old[i:j])))
            continue
        if i < j:
            parts.append(f"<del>{escape(' '.join(old[i:j]))}</del>")
        if k < m:
            parts.append(f"<ins>{escape(' '.join(new[k:m]))}</ins>")
    return " ".join(parts)


def _attack_section(name: str, entry: Mapping[str, Any], rows: Sequence[Row]) -> str:
    fooled = [row for row in rows if row.get("outcome") == "succeeded" and row.get("perturbed")]
    parts = [f"<h2>{escape(name)}</h2>", _recipe(entry.get("recipe"))]
    parts.append(f'<div class="columns">{_per_label(entry)}{_word_pairs(entry)}</div>')
    if fooled:
        shown = fooled[:MAX_EXAMPLES]
        count = f"the first {len(shown)} of " if len(shown) < len(fooled) else "all "
        parts.append(f"<h3>Successful edits ({count}{len(fooled)})</h3>")
        parts.append(
            "<p><del>struck through</del> was taken out, <ins>underlined</ins> was put in.</p>"
        )
        parts.extend(_example(row) for row in shown)
    return "\n".join(part for part in parts if part)


def summary(attacks: Mapping[str, Mapping[str, Any]]) -> str:
    """All attacks' figures as one table."""
    if not attacks:
        return "<p>No attack was run.</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in attacks)
    attacks = {name: {**entry, **flat_figures(entry)} for name, entry in attacks.items()}
    lines = []
    for key, (name, why) in _FIGURES.items():
        entries = [entry.get(key) for entry in attacks.values()]
        if all(value is None for value in entries) and key not in _ALWAYS:
            continue
        if key in _RATES:
            intervals = [entry.get(f"{key}_interval") for entry in attacks.values()]
            cells = "".join(map(rate, entries, intervals))
        else:
            cells = "".join(f"<td>{number(value)}</td>" for value in entries)
        lines.append(f"<tr><td>{name}<small>{why}</small></td>{cells}</tr>")
    return table(f"<th></th>{head}", lines)


def _per_label(entry: Mapping[str, Any]) -> str:
    lines = [
        f"<tr><td>{escape(str(label))}</td><td>{number(one.get('attempted'))}</td>"
        f"<td>{number(one.get('succeeded'))}</td>{rate(one.get('asr'), one.get('asr_interval'))}"
        f"{rate(one.get('keep_rate'))}</tr>"
        for label, one in (entry.get("per_label") or {}).items()
    ]
    head = "<th>label</th><th>attempted</th><th>succeeded</th><th>ASR</th><th>keep rate</th>"
    return f"<section><h3>Per label</h3>{table(head, lines)}</section>" if lines else ""


def _word_pairs(entry: Mapping[str, Any]) -> str:
    pairs = [pair for pair in entry.get("per_pair") or () if pair["succeeded"]][:MAX_PAIRS]
    lines = [
        f'<tr><td><del>{escape(pair["original"])}</del></td><td class="text"><ins>'
        f"{escape(pair['replacement']) or '(nothing)'}</ins></td>"
        f"<td>{number(pair['succeeded'])}</td><td>{number(pair['tried'])}</td></tr>"
        for pair in pairs
    ]
    head = '<th>word</th><th class="text">replaced by</th><th>successes</th><th>tried</th>'
    return f"<section><h3>Worst word pairs</h3>{table(head, lines)}</section>" if lines else ""


def _example(row: Row) -> str:
    facts = {
        "row": row.get("idx"),
        "label": row.get("label_name", row.get("label")),
        "confident": row.get("outcome_confident"),
        "queries": row.get("queries"),
    }
    before, after = row.get("original") or (), row.get("perturbed") or ()
    sentences = [
        f"<p>{mark_edits(str(old), str(new))}</p>"
        for old, new in zip(_as_texts(before), _as_texts(after), strict=False)
    ]
    return f'<div class="example">{line(facts, "facts")}{"".join(sentences)}</div>'


def _as_texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [str(text) for text in value.values()]
    return [value] if isinstance(value, str) else [str(text) for text in value]


def _recipe(recipe: Any) -> str:
    if not isinstance(recipe, Mapping):
        return ""
    plain = {k: v for k, v in recipe.items() if isinstance(v, (str, int, float))}
    if "hash" in plain:
        plain["hash"] = str(plain["hash"])[:12]
    shown = line({"recipe": plain.pop("name", None), **plain})
    full = escape(json.dumps(recipe, indent=1, ensure_ascii=False))
    return f"{shown}<details><summary>the whole recipe</summary><pre>{full}</pre></details>"


def line(facts: Mapping[str, Any], css: str = "") -> str:
    """Facts as a line of text."""
    shown = [
        f"{escape(key.replace('_', ' '))}: {escape(number(value))}"
        for key, value in facts.items()
        if value is not None and value != ""
    ]
    return f"<p{f' class={css}' if css else ''}>{' · '.join(shown)}</p>" if shown else ""


def rate(value: Any, interval: Sequence[float] | None = None) -> str:
    """A cell of a share, as a percentage with a bar under it and its interval, cut off at 0 and 100."""
    if not isinstance(value, (int, float)):
        return "<td>-</td>"
    bounds = ""
    if interval:
        low, high = clip_to_share(interval)
        bounds = f"<small>{100 * low:.1f} to {100 * high:.1f}</small>"
    return f'<td class="rate" style="--share: {100 * value:.1f}%">{100 * value:.1f} %{bounds}</td>'


def number(value: Any) -> str:
    """A value as text: four digits, thousands apart, "-" for none."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def table(head: str, lines: Sequence[str]) -> str:
    """A table of a head's cells and of rows."""
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
