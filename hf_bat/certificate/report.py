"""Reports of certificates, with counts, certified accuracy, JSON and Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_bat.attack.report import disclosure
from hf_bat.files import write_json
from hf_bat.stats import Share
from hf_bat.text import escape_markdown

Row = Mapping[str, Any]
CERTIFIED, NOT_CERTIFIED, ABSTAINED = "certified", "not certified", "abstained"
SKIPPED, NO_LABEL, UNLIMITED = "skipped", "no label", "unlimited"
_OUTCOMES = (CERTIFIED, NOT_CERTIFIED, ABSTAINED)
# Included in all reports, so readers do not assume that the plain model is certified.
STATEMENT = (
    "This certifies the smoothed classifier, the majority vote over random draws from the synonym sets "
    "of the table, never the plain model: of each certified row, at confidence {confidence} per row, no "
    "input that the adversary can make from it with that table changes the smoothed answer."
)


@dataclass(frozen=True)
class CertificateReport:
    """Certificates of rows.

    Args:
        summary: The results; see `summarize`.
        rows: One dict per row, in the given order: `idx`, `outcome`, `original`, `label`, `plain` and
            `predicted` (predictions of the plain and the smoothed model), `certified_label`, `verdicts` and
            `overlap` (Q) by adversary, `p_lower` and `p_upper` (bounds of the probability of a vote for the
            certified label), `votes` by label, `samples` and `queries`. A skipped row has a `reason`
            instead.
        about: Model, task and cost, which are not part of the result.
    """

    summary: dict[str, Any]
    rows: list[dict[str, Any]]
    about: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, figure: str) -> Any:
        return self.summary[figure]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values, without the rows."""
        return {"certificate": self.summary, **self.about}

    def save_json(self, path: str | Path) -> None:
        """Write `to_dict()` to a JSON file, completely or not at all."""
        write_json(path, self.to_dict())

    def to_markdown(self) -> str:
        """Return Markdown with the certified claim, preprocessing defenses, and a table by adversary."""
        summary, defense = self.summary, disclosure(self.about)
        lines = [
            summary["certifies"],
            *(["", escape_markdown(defense)] if defense else []),
            "",
            "| adversary replaces | certified | not certified | abstained | certified accuracy | 95 % |",
            "|---|---:|---:|---:|---:|---|",
        ]
        for name, entry in summary["adversaries"].items():
            counts = " | ".join(str(entry[outcome]) for outcome in _OUTCOMES)
            lines.append(
                f"| {_describe_adversary(name)} | {counts} | {_format_share(entry['accuracy'])} |"
            )
        plain, smoothed = (
            _format_share(summary[f"accuracy_{kind}"]) for kind in ("plain", "smoothed")
        )
        return "\n".join(
            [
                *lines,
                "",
                "| accuracy | | 95 % |",
                "|---|---:|---|",
                f"| plain model | {plain} |",
                f"| smoothed, by votes | {smoothed} |",
                "",
                f"rows {summary['rows']}: attempted {summary['attempted']} "
                f"({summary['unlabelled']} without a label), skipped {summary['skipped']}; "
                f"samples per row {summary['samples_per_row'] or 0:.0f}, queries per row "
                f"{summary['queries_per_row'] or 0:.0f}",
            ]
        )

    def __str__(self) -> str:
        return self.to_markdown()


def summarize(rows: Sequence[Row], adversaries: Sequence[str], confidence: float) -> dict[str, Any]:
    """Summarize certified rows for the given adversaries ("0", "1", ... and "unlimited").

    Counts add up: `rows` = `attempted` + `skipped`, `attempted` = `labelled` + `unlabelled`, and by adversary
    `certified` + `not certified` + `abstained` = `attempted`. Certified accuracy is the share of labeled rows
    that are certified. `accuracy_smoothed` is based on votes, without a bound. A rate over zero rows is
    `None`.
    """
    attempted = [row for row in rows if row["outcome"] != SKIPPED]
    labeled = [row for row in attempted if row["label"] is not None]
    by_adversary: dict[str, dict[str, Any]] = {}
    for name in adversaries:
        counts = Counter(row["verdicts"][name] for row in attempted)
        right = sum(row["verdicts"][name] == CERTIFIED for row in labeled)
        accuracy = Share(right, len(labeled)).to_dict()
        by_adversary[name] = {outcome: counts[outcome] for outcome in _OUTCOMES}
        by_adversary[name]["accuracy"] = accuracy

    def share_right(answer: str) -> dict[str, Any]:
        return Share(sum(row[answer] == row["label"] for row in labeled), len(labeled)).to_dict()

    samples, queries = (sum(row.get(key, 0) for row in rows) for key in ("samples", "queries"))
    reasons = Counter(row["reason"] for row in rows if row["outcome"] == SKIPPED)
    return {
        "certifies": STATEMENT.format(confidence=confidence),
        "confidence": confidence,
        "rows": len(rows),
        "attempted": len(attempted),
        # The spelling of report keys does not change, because other programs read them.
        "labelled": len(labeled),
        "unlabelled": len(attempted) - len(labeled),
        "skipped": len(rows) - len(attempted),
        "skipped_reasons": dict(sorted(reasons.items())),
        "certified_accuracy": by_adversary[UNLIMITED]["accuracy"]["rate"],
        "adversaries": by_adversary,
        "accuracy_plain": share_right("plain"),
        "accuracy_smoothed": share_right("predicted"),
        "samples": samples,
        "samples_per_row": samples / len(attempted) if attempted else None,
        "queries": queries,
        "queries_per_row": queries / len(attempted) if attempted else None,
    }


def _describe_adversary(name: str) -> str:
    if name == UNLIMITED:
        return "any number of words"
    return {"0": "nothing", "1": "at most 1 word"}.get(name, f"at most {name} words")


def _format_share(share: Mapping[str, Any]) -> str:
    if share["rate"] is None:
        return "– | –"
    low, high = share["interval"]
    return f"{100 * share['rate']:.1f} % | {100 * low:.1f}–{100 * high:.1f}"
