"""Reports: what attacks found, as numbers, JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_bat.attack.label_filter import flat_figures, label_figures
from hf_bat.attack.result import AttackResult
from hf_bat.files import write_atomically, write_json
from hf_bat.perturbations.validity import LabelValidity
from hf_bat.stats import rate, rate_interval

# What a report, and each line of a rows file, says of a model that is not asked as it is.
DISCLOSED = ("preprocessing_defence", "smoothed")
# How many word pairs a summary lists; the rows hold all of them.
_PAIRS_LISTED = 100
_COLUMNS = (
    ("attack", "name"),
    ("rows", "rows"),
    ("attempted", "attempted"),
    ("ASR", "asr"),
    ("95 %", "asr_interval"),
    ("ASR confident", "asr_confident"),
    ("attackable", "attackable"),
    ("ASR attackable", "asr_attackable"),
    ("kept swaps", "keep_rate"),
    ("accuracy", "accuracy"),
    ("under attack", "accuracy_under_attack"),
    ("queries a row", "queries_per_row"),
)
# Beside these where the attack had the label filter.
_VALIDITY_COLUMNS = (
    ("ASR valid", "valid_asr"),
    ("ASR valid, confident", "valid_asr_confident"),
    ("kept valid swaps", "valid_keep_rate"),
    ("kept invalid swaps", "invalid_keep_rate"),
)


@dataclass
class AttackReport:
    """What one attack or several found.

    Args:
        attacks: attack key -> its summary; see `summarise` for the figures.
        rows: Short name of an attack -> its results, one per row.
        about: the model, the versions, the time taken: what does not belong to the result.

    Example:
        >>> row = AttackResult(idx=0, attack="antonym", outcome="failed", queries=1)
        >>> report = AttackReport({"antonym": summarise([row], "obstinate", {})}, {"antonym": [row]})
        >>> report["antonym"]["asr"]
        0.0
    """

    attacks: dict[str, dict[str, Any]]
    rows: dict[str, list[AttackResult]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, attack: str) -> dict[str, Any]:
        return self.attacks[attack]

    def __or__(self, other: AttackReport) -> AttackReport:
        """Both reports' attacks."""
        seconds = {**self.about.get("cost", {}), **other.about.get("cost", {})}
        about = {**self.about, **other.about, "cost": seconds}
        return AttackReport({**self.attacks, **other.attacks}, {**self.rows, **other.rows}, about)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values; the rows are not in it."""
        return {"attacks": self.attacks, **self.about}

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """The figures for a log: `<attack>_asr`, `<attack>_attackable` and `<attack>_keep_rate`, for
        obstinate attacks also `<attack>_asr_confident`, with the label filter `<attack>_valid_asr` and so
        on; a rate over nothing is left out.

        Args:
            prefix: stands before each name, such as `"eval_"`.

        Returns:
            Name -> rate, a fraction.
        """
        figures = ("asr", "asr_confident", "attackable", "keep_rate")
        return {
            f"{prefix}{attack}_{figure}": value
            for attack, summary in self.attacks.items()
            for figure, value in (
                *((figure, summary.get(figure)) for figure in figures),
                *flat_figures(summary).items(),
            )
            if value is not None
        }

    def save_json(self, path: str | Path) -> None:
        """Write `to_dict()` as a JSON file.

        Args:
            path: the file; one that is there is replaced, whole or not at all.

        Raises:
            HfBatError: it cannot be written.
        """
        write_json(path, self.to_dict())

    def save_rows(self, path: str | Path) -> None:
        """Write one JSON line per row and attack.

        Args:
            path: the file; one that is there is replaced, whole or not at all.

        Raises:
            HfBatError: it cannot be written.
        """
        lines = [json.dumps(row, ensure_ascii=False) for row in self._marked_rows()]
        write_atomically(path, "".join(f"{line}\n" for line in lines))

    def save_csv(self, path: str | Path) -> None:
        """Write one CSV line per row and attack, sentences in columns of their own.

        Args:
            path: the file; one that is there is replaced, whole or not at all.

        Raises:
            HfBatError: it cannot be written.
        """
        flat = list(map(_flat, self._marked_rows()))
        names = list(dict.fromkeys(name for row in flat for name in row))
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, names, restval="")
        writer.writeheader()
        writer.writerows(flat)
        write_atomically(path, stream.getvalue())

    def _marked_rows(self) -> Iterator[dict[str, Any]]:
        marks = marks_of(self.about)
        return ({**row, **marks} for rows in self.rows.values() for row in rows)

    def export(self, path: str | Path, columns: Sequence[str]) -> tuple[int, int]:
        """Write the adversarial inputs as JSON lines, to train on or to label.

        A fickle edit keeps the gold label. An obstinate one should change it, and to what is not known:
        those rows have the label -1 and the old one as `original_label`.

        Args:
            path: the file.
            columns: the names of the text columns.

        Returns:
            How many rows were written, and how many of them have no label.
        """
        lines: list[str] = []
        unlabelled = 0
        for rows in self.rows.values():
            for row in rows:
                if row.perturbed is None:
                    continue
                obstinate = row.outcome_confident is not None
                unlabelled += obstinate
                line: dict[str, Any] = dict(zip(columns, row.perturbed, strict=True))
                line |= {
                    "label": -1 if obstinate else row.label,
                    "original_label": row.label,
                    "idx": len(lines),
                    "original_idx": row.idx,
                    "attack": row.attack,
                }
                lines.append(json.dumps(line, ensure_ascii=False))
        write_atomically(path, "".join(f"{line}\n" for line in lines))
        return len(lines), unlabelled

    def to_markdown(self) -> str:
        """A table of one line an attack, under a line that discloses a preprocessing defence or smoothing."""
        filtered = any("label_valid" in summary for summary in self.attacks.values())
        columns = (*_COLUMNS, *(_VALIDITY_COLUMNS if filtered else ()))
        lines = [
            "| " + " | ".join(title for title, _ in columns) + " |",
            "|" + "---|" * len(columns),
        ]
        for name, summary in self.attacks.items():
            known = {**summary, **flat_figures(summary), "name": name}
            cells = [_cell(key, known.get(key)) for _, key in columns]
            lines.append("| " + " | ".join(cells) + " |")
        if defence := disclosure(self.about):
            lines = [defence, "", *lines]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.to_markdown()


def disclosure(about: Mapping[str, Any]) -> str | None:
    """What a report must say of a preprocessing defence or smoothing, in one line; None where there was none.

    Example:
        >>> disclosure({"preprocessing_defence": {"name": "canonicalize", "fingerprint": "0a1b2c3d4e5f67"}})
        'Preprocessing defence: canonicalize (0a1b2c3d4e5f): words are rewritten before the model reads them.'
        >>> disclosure({"smoothed": {"samples": 30}})
        'Smoothed classifier: each answer is the vote over 30 draws of synonyms for the words.'
    """
    said = []
    found = _disclosed(about)
    if defence := found.get("preprocessing_defence"):
        known = str(defence.get("fingerprint") or "")[:12]
        name = f"{defence.get('name')} ({known})" if known else defence.get("name")
        said.append(
            f"Preprocessing defence: {name}: words are rewritten before the model reads them."
        )
    if smoothed := found.get("smoothed"):
        said.append(
            f"Smoothed classifier: each answer is the vote over {smoothed.get('samples')} draws of "
            "synonyms for the words."
        )
    return " ".join(said) or None


def _disclosed(about: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What is disclosed, without what files of another hand have under these names."""
    return {
        name: about[name]
        for name in DISCLOSED
        if isinstance(about.get(name), Mapping) and about[name]
    }


def marks_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """What each line of a rows file discloses: a defence's name and fingerprint, and how it was smoothed.

    Args:
        about: of a report, or what `Classifier.disclosed` gives.

    Example:
        >>> defence = {"name": "canonicalize", "fingerprint": "0a1b", "words": 2000}
        >>> marks_of({"model": "mine", "preprocessing_defence": defence})
        {'preprocessing_defence': {'name': 'canonicalize', 'fingerprint': '0a1b'}}
    """
    marks = _disclosed(about)
    if defence := marks.get("preprocessing_defence"):
        marks["preprocessing_defence"] = {
            key: defence[key] for key in ("name", "fingerprint") if key in defence
        }
    return marks


def disclosures(reports: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """What must be said of the preprocessing defences of several reports, by name; once where all have one.

    Example:
        >>> defended = {"preprocessing_defence": {"name": "canonicalize", "fingerprint": "0a1b2c3d4e5f67"}}
        >>> disclosures([("lambda=1", defended), ("lambda=2", defended)]) == [disclosure(defended)]
        True
        >>> [line[:23] for line in disclosures([("normal", {}), ("safer", defended)])]
        ['safer: Preprocessing de']
    """
    said = [(name, disclosure(about)) for name, about in reports]
    if len({line for _, line in said}) == 1:
        return [line for _, line in said[:1] if line]
    return [f"{name}: {line}" for name, line in said if line]


def summarise(
    rows: Sequence[AttackResult],
    kind: str,
    recipe: Mapping[str, Any],
    validity: LabelValidity | None = None,
) -> dict[str, Any]:
    """Sum rows up.

    Args:
        rows: all results of one attack.
        kind: the goal's: "fickle" or "obstinate".
        recipe: the recipe's description, to be kept with the figures.
        validity: the label filter whose flags the rows' tried edits have.

    Returns:
        Counts (`rows` = `attempted` + `skipped`, `attempted` = `succeeded` + `failed`) and rates in
        0..1, None where there is nothing to take a rate of: `asr` = succeeded / attempted (strict),
        `asr_confident`, `attackable` = share of the attempted rows with a candidate
        (or whose budget ended before one was tried), `asr_attackable`
        the rate among those, `keep_rate` = share of the candidates tried that keep the prediction,
        `accuracy` before and `accuracy_under_attack` over the rows that the model answered; the
        figures per label and per word pair; 95 % Wilson intervals as `*_interval`; with a filter, over
        all and per label, what `label_figures` gives.
    """
    summary: dict[str, Any] = _counts(rows, kind)
    summary["skipped_reasons"] = dict(
        sorted(Counter(row.reason for row in rows if row.outcome == "skipped").items())
    )
    scored = [row for row in rows if row.predicted is not None]
    right = sum(row.predicted == row.label for row in scored)
    summary["accuracy"] = rate(right, len(scored))
    summary["accuracy_under_attack"] = rate(right - summary["succeeded"], len(scored))
    summary["queries"] = sum(row.queries for row in rows)
    attempted = [row for row in rows if row.outcome != "skipped"]
    changed = [row for row in rows if row.outcome == "succeeded" and row.words_changed is not None]
    summary["queries_per_row"] = _mean(row.queries for row in attempted)
    summary["candidates"] = sum(row.candidates or 0 for row in rows)
    summary["edits_beyond_cut"] = sum(row.beyond_cut or 0 for row in rows)
    summary["budget_exhausted"] = sum(bool(row.exhausted) for row in rows)
    summary["words_changed"] = _mean(row.words_changed or 0 for row in changed)
    summary["words_changed_rate"] = _mean((row.words_changed or 0) / row.words for row in changed)
    similar = [row.similarity for row in changed if row.similarity is not None]
    summary["sentence_similarity"] = _mean(similar)
    if validity is not None:
        summary |= label_figures(rows, validity)
    labels = dict.fromkeys(row.label_name for row in rows if row.label_name is not None)
    summary["per_label"] = {}
    for name in sorted(labels, key=str):
        those = [row for row in rows if row.label_name == name]
        figures = {} if validity is None else label_figures(those, validity)
        summary["per_label"][name] = _counts(those, kind) | figures
    summary["per_pair"] = _pairs(rows, kind)
    summary["recipe"] = dict(recipe)
    return summary


def _counts(rows: Sequence[AttackResult], kind: str) -> dict[str, Any]:
    attempted = [row for row in rows if row.outcome != "skipped"]
    succeeded = sum(row.outcome == "succeeded" for row in attempted)
    # A budget that ends while words are ranked leaves edits that could have been tried.
    reachable = [row for row in attempted if row.candidates or row.exhausted]
    found: dict[str, Any] = {
        "rows": len(rows),
        "attempted": len(attempted),
        "skipped": len(rows) - len(attempted),
        "succeeded": succeeded,
        "failed": len(attempted) - succeeded,
        "asr": rate(succeeded, len(attempted)),
        "asr_interval": rate_interval(succeeded, len(attempted)),
    }
    if kind == "obstinate":
        confident = sum(row.outcome_confident == "succeeded" for row in attempted)
        found["succeeded_confident"] = confident
        found["asr_confident"] = rate(confident, len(attempted))
        found["asr_confident_interval"] = rate_interval(confident, len(attempted))
    found["attackable"] = rate(len(reachable), len(attempted))
    found["asr_attackable"] = rate(succeeded, len(reachable))
    tried = sum(row.candidates or 0 for row in reachable)
    found["keep_rate"] = rate(sum(row.kept or 0 for row in reachable), tried)
    return found


def _pairs(rows: Sequence[AttackResult], kind: str) -> list[dict[str, Any]]:
    """Which substitutions fool the model: of each word pair, how often it was tried and what came of it.

    An exhaustive search tries every swap; of the others, only the swaps of successes are counted.
    """
    tried: Counter[tuple[str, str]] = Counter()
    fooled: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row.outcome == "skipped":
            continue
        for edit in row.tried or ():
            pair = edit.original.lower(), edit.replacement.lower()
            tried[pair] += 1
            fooled[pair] += bool(edit.kept) == (kind == "obstinate")
        if row.tried is None and row.outcome == "succeeded":
            for swap in row.edits or ():
                pair = swap["original"].lower(), swap["replacement"].lower()
                tried[pair] += 1
                fooled[pair] += 1
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


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else None


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name in ("original", "perturbed"):
            for number, text in enumerate(value or [], start=1):
                flat[f"{name}_{number}"] = text
        elif name in ("edits", "tried", *DISCLOSED):
            flat[name] = json.dumps(value, ensure_ascii=False)
        else:
            flat[name] = value
    return flat


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return "–".join(f"{100 * bound:.1f}" for bound in value)
    if isinstance(value, float):
        return f"{value:.1f}" if key == "queries_per_row" else f"{100 * value:.1f} %"
    return str(value)
