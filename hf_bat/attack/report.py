"""Reports of attack results as figures, JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from hf_bat.attack.answers import ABSTAINED, NO_ANSWER
from hf_bat.attack.figures import FIGURES, Figure, Kind, list_figures
from hf_bat.attack.result import AttackResult
from hf_bat.attack.verdict import (
    count_columns,
    find_summary_kind,
    format_bounds,
    judge_report,
    may_keep_label,
)
from hf_bat.console import align, apply_style
from hf_bat.files import dump_json, write_atomically, write_json
from hf_bat.perturbations.validity import LabelValidity
from hf_bat.stats import Share, format_rate
from hf_bat.text import escape_markdown

# Keys in reports and rows that disclose a change of the input or the answers, such as a defense.
DISCLOSED = ("preprocessing_defence", "smoothed")
# Maximum number of word pairs in a summary. The rows contain all pairs.
_PAIRS_LISTED = 100
# A synonym attack with fewer edits per row is weak.
_FEW_EDITS = 5
# Warn if a constraint refuses more than this share of the edits. For the bundled tables, one constraint
# refuses up to a quarter of the edits.
_MOST_EDITS = 0.5
_OTHER_ADVICE = "make a recipe without this constraint, or give a table of other words"
# Columns of the table for readers.
_HEADS = ["attack", "attacked", "succeeded", "ASR", "95 %", "accuracy after"]
_ASR = FIGURES["asr"]
_FILTER_HINT = (
    "Some of these edits need not change the answer; with the label filter (--label-filter) they are "
    "counted separately."
)
# Spreadsheets treat texts that begin with these characters as formulas.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_ADVICE = {
    "part-of-speech": "if the text is not English or the pairs of your table are right, give "
    "--part-of-speech off (part_of_speech='off')",
}


@dataclass
class AttackReport:
    """The results of one or more attacks.

    Args:
        attacks: Mapping from the short name of each attack to its summary; see `summarize` for the figures.
        rows: Mapping from the short name of each attack to its results, one per row.
        about: Other facts, such as the model, versions and the run time.

    Example:
        >>> row = AttackResult(idx=0, attack="antonym", outcome="failed", queries=1)
        >>> report = AttackReport({"antonym": summarize([row], "obstinate", {})}, {"antonym": [row]})
        >>> report["antonym"]["asr"]
        0.0
    """

    attacks: dict[str, dict[str, Any]]
    rows: dict[str, list[AttackResult]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, attack: str) -> dict[str, Any]:
        return self.attacks[attack]

    def __or__(self, other: AttackReport) -> AttackReport:
        """Return a report with the attacks of both reports."""
        cost = {**self.about.get("cost", {}), **other.about.get("cost", {})}
        about = {**self.about, **other.about, "cost": cost}
        return AttackReport({**self.attacks, **other.attacks}, {**self.rows, **other.rows}, about)

    def to_dict(self) -> dict[str, Any]:
        """Return the report without its rows as plain JSON values."""
        return {"attacks": self.attacks, **self.about}

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """Return the figures as metrics for logging, without rates that were not measured.

        Args:
            prefix: Prefix for each name, such as `"eval_"`. Defaults to an empty prefix.

        Returns:
            Mapping from names to rates in [0, 1]: `<attack>_asr`, `<attack>_attackable` and
            `<attack>_keep_rate`. Obstinate attacks also have `<attack>_asr_confident`. With the label filter,
            there are also `<attack>_valid_asr`, ...
        """
        return {
            f"{prefix}{attack}_{figure.name}": figure.read(summary)
            for attack, summary in self.attacks.items()
            for figure in list_figures("metric")
            if figure.read(summary) is not None
        }

    def save_json(self, path: str | Path) -> None:
        """Write `to_dict()` to a JSON file atomically."""
        write_json(path, self.to_dict())

    def save_rows(self, path: str | Path) -> None:
        """Write one JSON line per row and attack atomically."""
        lines = map(dump_json, self._mark_rows())
        write_atomically(path, "".join(f"{line}\n" for line in lines))

    def save_csv(self, path: str | Path) -> None:
        """Write one CSV line per row and attack atomically, with one column per text.

        Texts that a spreadsheet would treat as formulas are prefixed with `'`.
        """
        flat = list(map(_flatten, self._mark_rows()))
        # Rows can have different columns, because fields that do not apply are left out.
        names = list(dict.fromkeys(name for row in flat for name in row))
        write_atomically(path, _format_table(names, flat))

    def _mark_rows(self) -> Iterator[dict[str, Any]]:
        marks = marks_of(self.about)
        return ({**row, **marks} for rows in self.rows.values() for row in rows)

    def export(
        self, path: str | Path, columns: Sequence[str], label_column: str = "label"
    ) -> tuple[int, int]:
        """Write the adversarial inputs for training or labeling, as JSON Lines, CSV or TSV.

        A fickle edit keeps the gold label. An obstinate edit should change it, but the new label is unknown.
        Rows with obstinate edits have the label -1 (empty in CSV and TSV), and the old label is in
        `original_label`. Labels are the model's numbers in JSON Lines, and names in CSV and TSV. Unlike in
        `save_csv`, formulas are not prefixed, because the texts are read again for training.

        Args:
            path: The file. The endings ".csv" and ".tsv" select CSV and TSV.
            columns: Names of the text columns.
            label_column: Name of the label column. Defaults to "label".

        Returns:
            The number of rows, and the number of unlabeled rows.
        """
        delimiter = {".csv": ",", ".tsv": "\t"}.get(Path(path).suffix.lower())
        lines: list[dict[str, Any]] = []
        unlabeled = 0
        for row in (row for rows in self.rows.values() for row in rows):
            if row.perturbed is None:
                continue
            # Only obstinate attacks have a confident outcome.
            is_obstinate = row.outcome_confident is not None
            unlabeled += is_obstinate
            label, none = (row.label, -1) if delimiter is None else (row.label_name, "")
            lines.append(
                dict(zip(columns, row.perturbed, strict=True))
                | {
                    label_column: none if is_obstinate else label,
                    f"original_{label_column}": label,
                    "idx": len(lines),
                    "original_idx": row.idx,
                    "attack": row.attack,
                }
            )
        if delimiter is None:
            content = "".join(f"{dump_json(line)}\n" for line in lines)
        else:
            names = [*columns, label_column, f"original_{label_column}", "idx", "original_idx"]
            content = _format_table([*names, "attack"], lines, delimiter)
        write_atomically(path, content)
        return len(lines), unlabeled

    def to_markdown(self) -> str:
        """Return a table with one line per attack, after the disclosure about the model, if any."""
        has_filter = self._has_filter()
        heads, cells = ["attack"], [[escape_markdown(attack)] for attack in self.attacks]
        for figure in list_figures("table"):
            if figure.edits != "all" and not has_filter:
                continue
            heads += [figure.short] + ["95 %"] * figure.interval
            for line, summary in zip(cells, self.attacks.values(), strict=True):
                line.append(figure.format(figure.read(summary)))
                if figure.interval:
                    bounds = figure.read(summary, "_interval") or ()
                    line.append("–".join(f"{100 * bound:.1f}" for bound in bounds) or "–")
        lines = [f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *cells)]
        if text := disclosure(self.about):
            lines = [escape_markdown(text), "", *lines]
        tables = [(name, summary.get("table")) for name, summary in self.attacks.items()]
        named = [
            escape_markdown(f"- {name}: {name_table(table)}") for name, table in tables if table
        ]
        if named:
            lines += ["", "Tables of replacements:", "", *named]
        return "\n".join(lines)

    def to_text(self, stream: Any = None) -> str:
        """Return a short overview: a table with six columns, and one sentence per attack.

        Args:
            stream: Stream that the text will be printed to. On a terminal, "good" and "bad" are colored.
        """
        if not self.attacks:
            return "no attack was run"
        first = next(iter(self.attacks.values()))
        facts = [f"{first.get('rows')} rows"]
        if first.get("accuracy") is not None:
            facts.append(f"accuracy {format_rate(first['accuracy'])}")
        if f1 := self.about.get("f1"):
            value = "–" if f1["f1"] is None else f"{f1['f1']:.3f}"
            facts.append(f"F1 of {f1['label']} {value}")
        if model := self.about.get("model"):
            facts.insert(0, f"{model} on {self.about.get('task')}")
        lines = [", ".join(facts), ""]
        if text := disclosure(self.about):
            lines.insert(0, text)
        lines += align([_HEADS, *(_make_line(name, one) for name, one in self.attacks.items())])
        lines += [
            "ASR: share of the attacked rows on which the attack succeeds; lower is better.",
            "",
        ]
        for verdict in judge_report(self.attacks, self.about):
            grade = apply_style(f"{verdict.grade:<9}", verdict.grade, stream)
            lines.append(f"{grade}{verdict}")
        kinds = map(find_summary_kind, self.attacks.values())
        is_pair = count_columns(self.about) != 1
        if is_pair and "obstinate" in kinds and not self._has_filter():
            lines.append(f"{'':<9}{_FILTER_HINT}")
        return "\n".join(lines)

    def _has_filter(self) -> bool:
        return any("label_valid" in summary for summary in self.attacks.values())

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        parts = [
            f"{name} ASR {_ASR.format(one.get('asr'))} of {one.get('attempted')} rows"
            for name, one in self.attacks.items()
        ]
        return f"AttackReport({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """Return the table and the verdicts as HTML for notebooks."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in _HEADS)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _make_line(name, one))}</tr>"
            for name, one in self.attacks.items()
        )
        verdicts = "".join(
            f"<p><b>{verdict.grade}</b>: {escape(str(verdict))}</p>"
            for verdict in judge_report(self.attacks, self.about)
        )
        told = escape(disclosure(self.about) or "")
        return f"<p>{told}</p><table><tr>{head}</tr>{body}</table>{verdicts}"


def _make_line(name: str, summary: Mapping[str, Any]) -> list[str]:
    """Return the table cells of an attack, in the order of `_HEADS`."""
    interval = summary.get("asr_interval")
    after = FIGURES["accuracy_under_attack"]
    return [
        name,
        str(summary.get("attempted")),
        str(summary.get("succeeded")),
        _ASR.format(summary.get("asr")),
        format_bounds(interval) if interval else "–",
        after.format(summary.get("accuracy_under_attack")),
    ]


def name_table(table: Mapping[str, Any]) -> str:
    """Return the name of a table from a summary, with the start of its fingerprint.

    Example:
        >>> name_table({"name": "own table", "fingerprint": "0123456789abcdef"})
        'own table (0123456789ab)'
    """
    # Files that were not written by hf_bat may have values of other types.
    return f"{table.get('name')} ({str(table.get('fingerprint'))[:12]})"


def disclosure(about: Mapping[str, Any]) -> str | None:
    """Return a report's disclosure about its model in one line, or `None` if there is nothing to disclose.

    Example:
        >>> disclosure({"smoothed": {"samples": 30}})
        'Smoothed classifier: each answer is the vote over 30 draws of synonyms for the words.'
    """
    sentences = []
    disclosed = _select_disclosed(about)
    if defense := disclosed.get("preprocessing_defence"):
        fingerprint = str(defense.get("fingerprint") or "")[:12]
        name = f"{defense.get('name')} ({fingerprint})" if fingerprint else defense.get("name")
        sentences.append(
            f"Preprocessing defense: {name}: words are rewritten before the model reads them."
        )
    if smoothed := disclosed.get("smoothed"):
        sentences.append(
            f"Smoothed classifier: each answer is the vote over {smoothed.get('samples')} draws of "
            "synonyms for the words."
        )
    return " ".join(sentences) or None


def _select_disclosed(about: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    # Files that were not written by hf_bat may have anything under these names.
    return {
        name: about[name]
        for name in DISCLOSED
        if isinstance(about.get(name), Mapping) and about[name]
    }


def marks_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the disclosures in each line of a rows file: the defense's name and hash, and the smoothing."""
    marks = _select_disclosed(about)
    if defense := marks.get("preprocessing_defence"):
        # Keep the lines short. The other values are in the report.
        marks["preprocessing_defence"] = {
            key: defense[key] for key in ("name", "fingerprint") if key in defense
        }
    return marks


def disclosures(reports: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return the disclosures of named reports about their models, only once if they are all the same.

    Example:
        >>> smoothed = {"smoothed": {"samples": 30}}
        >>> disclosures([("first", smoothed), ("second", smoothed)]) == [disclosure(smoothed)]
        True
        >>> [line[:16] for line in disclosures([("normal", {}), ("safer", smoothed)])]
        ['safer: Smoothed ']
    """
    lines = [(name, disclosure(about)) for name, about in reports]
    if len({line for _, line in lines}) == 1:
        return [line for _, line in lines[:1] if line]
    return [f"{name}: {line}" for name, line in lines if line]


def summarize(
    results: Sequence[AttackResult],
    kind: Kind,
    recipe: Mapping[str, Any],
    validity: LabelValidity | None = None,
) -> dict[str, Any]:
    """Summarize the results of one attack. `validity` is its label filter, if it has one.

    Returns:
        The figures of `hf_bat.attack.figures`: counts (`rows` = `attempted` + `skipped`, `attempted` =
        `succeeded` + `failed`), rates in [0, 1] (`asr` = `succeeded` / `attempted`) and means. They are
        `None` if they were not measured. 95 % Wilson intervals have the suffix `_interval`. The summary also
        has `skipped_reasons`, `refused_edits` (number of single edits that each constraint refuses),
        `per_label`, `per_pair` (tries and successes of each word pair) and `recipe`. With a label filter,
        `label_valid` and `label_invalid` contain the figures as if only these edits had been tried.
    """
    reasons = Counter(result.reason for result in results if not result.is_attempted)
    names = {result.label_name for result in results if result.label_name is not None}
    by_label = {
        name: [result for result in results if result.label_name == name]
        for name in sorted(names, key=str)
    }
    refused: Counter[str] = Counter()
    for result in results:
        refused.update(result.refused or {})
    own = [f for f in FIGURES.values() if f.edits == "all" and kind in f.goals]
    return {
        **_compute([figure for figure in own if figure.per_label], results),
        "skipped_reasons": dict(sorted(reasons.items())),
        "refused_edits": dict(sorted(refused.items())),
        **_compute([figure for figure in own if not figure.per_label], results),
        **_compute_by_validity(results, validity),
        "per_label": {
            name: _compute([figure for figure in own if figure.per_label], part)
            | _compute_by_validity(part, validity)
            for name, part in by_label.items()
        },
        "per_pair": _count_pairs(results, kind),
        "recipe": dict(recipe),
    }


def list_warnings(
    summary: Mapping[str, Any], kind: Kind, attack: str = "", columns: int = 2
) -> list[str]:
    """List the limitations of an attack's figures, each in one line with advice.

    `attack` is the short name of the attack, and `columns` is the number of text columns of its rows.

    Example:
        >>> figures = {"attempted": 9, "asr": 0.1, "edits_per_row": 2.5, "allowed_per_row": 2.0}
        >>> [line] = list_warnings({**figures, "table": {}}, "fickle")
        >>> line.partition(":")[0]
        'its table gives 2.5 edits per row, and constraints allow 2.0'
    """
    edits, allowed = summary["edits_per_row"], summary["allowed_per_row"]
    missing = _list_missing(summary)
    if not summary["attempted"]:
        reasons = ", ".join(f"{why}: {n}" for why, n in summary["skipped_reasons"].items())
        return [*missing, f"no row was attacked, so nothing is measured ({reasons})"]
    if edits is None:
        return missing
    if summary["asr"] is None:
        return [*missing, f"success rate not measured: {_explain_no_edit(summary)}"]
    if kind == "obstinate" and summary.get("asr_confident", 0) is None:
        missing.append(
            "the model returns labels without probabilities: the confident success rate is not measured"
        )
    warnings = []
    for rule, count in summary.get("refused_edits", {}).items():
        share = count / (edits * summary["attempted"]) if edits else 0
        if share > _MOST_EDITS:
            warnings.append(
                f"{rule} refuses {100 * share:.0f} % of the table's edits, so a low success rate may only "
                f"show a weak attack: {_ADVICE.get(rule, _OTHER_ADVICE)}"
            )
    if kind == "fickle" and "table" in summary and allowed < _FEW_EDITS:
        warnings.append(
            f"its table gives {edits:.1f} edits per row, and constraints allow {allowed:.1f}: with fewer "
            f"than {_FEW_EDITS} a low success rate may only show a weak attack; try `synonym` with a "
            "larger table (--synonyms; the default table is English)"
        )
    elif may_keep_label(attack, columns):
        warnings.append(
            f"most {attack} edits of a single sentence need not change its label, so a high success rate may "
            "be right; read the successful edits (--html), or use rows with known labels (`hf-bat suite`)"
        )
    return [*warnings, *missing]


def _list_missing(summary: Mapping[str, Any]) -> list[str]:
    """List a judge's agreement with the rule, and the rows and edits without a prediction, one per line."""
    reasons, lines = summary.get("skipped_reasons", {}), []
    judged = summary.get("label_valid", {}).get("filter", {})
    if agreement := judged.get("agreement"):
        lines.append(
            f"the judge {judged['judge']} agrees with the rule of the label filter on "
            f"{agreement['count']} of {agreement['of']} edits"
        )
    if reasons.get(ABSTAINED) or summary.get("abstained"):
        lines.append(
            f"the model abstained on {reasons.get(ABSTAINED, 0)} of {summary['rows']} rows and on "
            f"{summary.get('abstained', 0)} edits; neither counts as a success or as a prediction"
        )
    if failed := reasons.get(NO_ANSWER):
        lines.append(
            f"{failed} of {summary['rows']} rows have no answer, because calls failed or max_queries was "
            "reached; run again with the same rows file and cache to attack them"
        )
    return lines


def _explain_no_edit(summary: Mapping[str, Any]) -> str:
    refused = summary["refused_edits"]
    if not summary["edits_per_row"]:
        advice = ": give a table of the rows' language" if "table" in summary else ""
        return f"no attacked row has a word to replace{advice}"
    if not refused:
        return "every edit is in a skipped column or beyond the maximum input length"
    rule = max(refused, key=lambda name: refused[name])
    return (
        f"constraints allow no edit of any row; {rule} refuses {refused[rule]} of "
        f"{sum(refused.values())}: {_ADVICE.get(rule, _OTHER_ADVICE)}"
    )


def _compute(figures: Iterable[Figure], results: Sequence[AttackResult]) -> dict[str, Any]:
    return {key: value for figure in figures for key, value in figure.compute(results).items()}


def _compute_by_validity(
    results: Sequence[AttackResult], validity: LabelValidity | None
) -> dict[str, Any]:
    """Compute the figures for the edits that pass the label filter, and for the other edits."""
    if validity is None:
        return {}
    described: dict[str, Any] = validity.describe()
    judged = [result for result in results if result.rule_agrees is not None]
    if judged:
        agreed = sum(result.rule_agrees or 0 for result in judged)
        described["agreement"] = Share(agreed, sum(len(r.tried or ()) for r in judged)).to_dict()
    parts: dict[str, Any] = {"valid": {"filter": described}, "invalid": {}}
    for edits, part in parts.items():
        restricted = [result.restrict(edits == "valid") for result in results]
        part |= _compute([f for f in FIGURES.values() if f.edits == edits], restricted)
    return {f"label_{edits}": part for edits, part in parts.items()}


def _count_pairs(results: Sequence[AttackResult], kind: Kind) -> list[dict[str, Any]]:
    """Count how often each word pair was tried and fooled the model.

    An exhaustive search tries every swap. For other searches, only the swaps of successes are counted.
    """
    tried: Counter[tuple[str, str]] = Counter()
    fooled: Counter[tuple[str, str]] = Counter()
    for row in results:
        for edit in row.tried or ():
            pair = edit.original.lower(), edit.replacement.lower()
            tried[pair] += 1
            fooled[pair] += bool(edit.kept) == (kind == "obstinate")
        if row.tried is None and row.is_success:
            for swap in row.edits or ():
                pair = swap["original"].lower(), swap["replacement"].lower()
                tried[pair] += 1
                fooled[pair] += 1
    # Sort ties by the words, so a report does not depend on the order of its rows.
    order = sorted(tried, key=lambda pair: (-fooled[pair], -tried[pair], pair))
    return [
        {
            "original": pair[0],
            "replacement": pair[1],
            "tried": tried[pair],
            "succeeded": fooled[pair],
        }
        for pair in order[:_PAIRS_LISTED]
    ]


def _flatten(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name in ("original", "perturbed"):
            for number, text in enumerate(value or [], start=1):
                flat[f"{name}_{number}"] = text
        elif name in ("edits", "tried", "refused", *DISCLOSED):
            flat[name] = dump_json(value)
        else:
            flat[name] = value
    # Texts and labels come from the data, and "=HYPERLINK(...)" could link to any site.
    return {
        name: f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
        for name, value in flat.items()
    }


def _format_table(
    names: Sequence[str], rows: Iterable[Mapping[str, Any]], delimiter: str = ","
) -> str:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, names, restval="", delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
