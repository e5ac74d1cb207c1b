"""What certificates add up to: counts, certified accuracy, JSON and Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_bat.certificate.bounds import ABSTAINED, CERTIFIED, NOT_CERTIFIED
from hf_bat.files import write_atomically
from hf_bat.stats import Share

Row = Mapping[str, Any]
SKIPPED, NO_LABEL, UNLIMITED = "skipped", "no label", "unlimited"
_OUTCOMES = (CERTIFIED, NOT_CERTIFIED, ABSTAINED)
STATEMENT = (
    "This certifies the smoothed classifier, the majority vote over random draws from the synonym sets "
    "of the table, never the plain model: of each certified row, at confidence {confidence} per row, no "
    "input that the adversary can make from it with that table changes the smoothed answer."
)


@dataclass(frozen=True)
class CertificateReport:
    """Certificates of rows.

    Args:
        summary: the figures; see `summarise`.
        rows: a dict a row, in the order given: `idx`, `outcome`, `original`, `label`, `plain` and `predicted`
            (the plain and the smoothed answer), `certified_label`, `verdicts` and `overlap` (Q) by
            adversary, `p_lower` and `p_upper` (bounds of the probability of the certified label's vote),
            `votes` by label, `samples`, `queries`; a skipped row has a `reason` instead.
        about: the model, the task, the cost: what does not belong to the result.

    Example:
        >>> skipped = {"idx": 0, "outcome": "skipped", "reason": "empty text", "queries": 0}
        >>> report = CertificateReport(summarise([skipped], ("0", "unlimited"), 0.95), [skipped])
        >>> report["rows"], report["skipped_reasons"], report["certified_accuracy"]
        (1, {'empty text': 1}, None)
    """

    summary: dict[str, Any]
    rows: list[dict[str, Any]]
    about: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, figure: str) -> Any:
        return self.summary[figure]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values; the rows are not in it."""
        return {"certificate": self.summary, **self.about}

    def save_json(self, path: str | Path) -> None:
        """Write `to_dict()` as a JSON file, whole or not at all.

        Raises:
            HfBatError: the file cannot be written.
        """
        write_atomically(path, json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n")

    def to_markdown(self) -> str:
        """What is certified, a line that discloses a preprocessing defence, and a table of one line an
        adversary."""
        from hf_bat.attack.report import disclosure

        summary, defence = self.summary, disclosure(self.about)
        lines = [
            summary["certifies"],
            *(["", defence] if defence else []),
            "",
            "| adversary replaces | certified | not certified | abstained | certified accuracy | 95 % |",
            "|---|---:|---:|---:|---:|---|",
        ]
        for name, found in summary["adversaries"].items():
            counts = " | ".join(str(found[outcome]) for outcome in _OUTCOMES)
            lines.append(f"| {_adversary(name)} | {counts} | {_percent(found['accuracy'])} |")
        plain, smoothed = (_percent(summary[f"accuracy_{kind}"]) for kind in ("plain", "smoothed"))
        lines += ["", "| accuracy | | 95 % |", "|---|---:|---|"]
        lines += [f"| plain model | {plain} |", f"| smoothed, by votes | {smoothed} |", ""]
        lines.append(
            f"rows {summary['rows']}: attempted {summary['attempted']} "
            f"({summary['unlabelled']} without a label), skipped {summary['skipped']}; "
            f"samples a row {summary['samples_per_row'] or 0:.0f}, queries a row "
            f"{summary['queries_per_row'] or 0:.0f}"
        )
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.to_markdown()


def summarise(rows: Sequence[Row], adversaries: Sequence[str], confidence: float) -> dict[str, Any]:
    """Sum rows up.

    Args:
        rows: all rows, as `CertificateReport` has them.
        adversaries: names of the adversaries: "0", "1", ... and "unlimited".
        confidence: of a row's certificate.

    Returns:
        Counts (`rows` = `attempted` + `skipped`, `attempted` = `labelled` + `unlabelled`), under
        `adversaries` for each of them `certified` + `not certified` + `abstained` = `attempted`, and the
        certified accuracy (`accuracy`: of the labelled rows, the certified ones, with a Wilson interval);
        `certified_accuracy` against any number of substitutions; `accuracy_plain` and
        `accuracy_smoothed` (by votes, without a bound). A rate over nothing is None.
    """
    attempted = [row for row in rows if row["outcome"] != SKIPPED]
    labelled = [row for row in attempted if row["label"] is not None]
    found: dict[str, dict[str, Any]] = {}
    for name in adversaries:
        counts = Counter(row["verdicts"][name] for row in attempted)
        right = sum(row["verdicts"][name] == CERTIFIED for row in labelled)
        share = Share(right, len(labelled)).to_dict()
        found[name] = {outcome: counts[outcome] for outcome in _OUTCOMES} | {"accuracy": share}
    samples, queries = (sum(row.get(what, 0) for row in rows) for what in ("samples", "queries"))
    return {
        "certifies": STATEMENT.format(confidence=confidence),
        "confidence": confidence,
        "rows": len(rows),
        "attempted": len(attempted),
        "labelled": len(labelled),
        "unlabelled": len(attempted) - len(labelled),
        "skipped": len(rows) - len(attempted),
        "skipped_reasons": dict(
            sorted(Counter(row["reason"] for row in rows if row["outcome"] == SKIPPED).items())
        ),
        "certified_accuracy": found[UNLIMITED]["accuracy"]["rate"],
        "adversaries": found,
        **{
            f"accuracy_{kind}": Share(
                sum(row[answer] == row["label"] for row in labelled), len(labelled)
            ).to_dict()
            for kind, answer in (("plain", "plain"), ("smoothed", "predicted"))
        },
        "samples": samples,
        "samples_per_row": samples / len(attempted) if attempted else None,
        "queries": queries,
        "queries_per_row": queries / len(attempted) if attempted else None,
    }


def _adversary(name: str) -> str:
    if name == UNLIMITED:
        return "any number of words"
    return {"0": "nothing", "1": "at most 1 word"}.get(name, f"at most {name} words")


def _percent(share: Mapping[str, Any]) -> str:
    if share["rate"] is None:
        return "– | –"
    low, high = share["interval"]
    return f"{100 * share['rate']:.1f} % | {100 * low:.1f}–{100 * high:.1f}"
