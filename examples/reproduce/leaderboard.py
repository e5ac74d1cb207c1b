#!/usr/bin/env python
"""Write one CSV line for each saved run, with its settings and its rates with counts and intervals.

    python examples/reproduce/leaderboard.py docs/results/study --output docs/results/leaderboard.csv

An empty cell means not measured. Rates from `run.py` have no counts, because its results do not include
them.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from study_tables import METHODS, Run, read

from hf_bat.files import get_model_title, write_atomically

# Column -> the attack, and the keys of its rate, count and interval in the report.
ATTACKS = {
    "antonym_strict": ("antonym", "asr", "attempted", "asr_interval"),
    "antonym_confident": ("antonym", "asr_confident", "attempted", "asr_confident_interval"),
    "negation_confident": ("negation", "asr_confident", "attempted", "asr_confident_interval"),
    "synonym": ("synonym", "asr", "attempted", "asr_interval"),
}
# Column -> the part of the antonym report with the kept swaps.
SWAPS = {"label_changing_kept": "label_valid", "others_kept": "label_invalid"}
EDITS = {
    "edits_accuracy": "accuracy_edits",
    "edits_obstinate_errors": "obstinate_errors",
}
# Column -> metric in the results of `run.py`.
METRICS = {
    "accuracy": "eval_accuracy",
    "antonym_strict": "eval_antonym_asr",
    "antonym_confident": "eval_antonym_asr_confident",
    "negation_confident": "eval_negation_asr_confident",
    "synonym": "eval_synonym_asr",
}
COLUMNS = [
    "study", "seed", "method", "role", "settings", "model", "training_rows", "steps",
    "rows", "accuracy",
    *(f"{name}{end}" for name in ATTACKS for end in ("", "_rows", "_low", "_high")),
    *(f"{name}{end}" for name in SWAPS for end in ("", "_swaps")),
    *(f"{name}{end}" for name in EDITS for end in ("", "_rows", "_low", "_high")),
]  # fmt: skip


def make_line(study: str, seed: int, name: str, run: Run) -> dict[str, Any]:
    """Return the run's cells by column."""
    method = name.split("_")[0]
    role = "method" if name in METHODS else "part" if "_without_" in name else "trial"
    if study.startswith(("figure", "table")):
        role = "reproduction"
    line: dict[str, Any] = {
        "study": study, "seed": seed, "method": method, "role": role,
        "settings": run.get("settings", name),
    }  # fmt: skip
    result = run.get("run")
    if result:
        line |= {
            "model": get_model_title(str(result["arguments"]["model_name_or_path"])),
            "training_rows": result["rows"]["train"],
            "steps": result["steps"],
        }
        line |= {column: result["metrics"].get(metric) for column, metric in METRICS.items()}
    else:
        line |= _read_training(study, run)
    # Reports on more rows replace the rates measured at the end of the training run.
    return line | _read_reports(run.get("reports") or {})


def _read_training(study: str, run: Run) -> dict[str, Any]:
    steps = run["log_history"][-1]["step"] if run.get("log_history") else None
    continued = 500 if study == "snli_1000" and steps else 0
    return {
        "model": "MiniLM-L6",
        "training_rows": run.get("train", {}).get("train_samples"),
        "steps": steps and steps + continued,
    }


def _read_reports(reports: Mapping[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    attacks = {name: reports[name]["attacks"][name] for name in reports if name != "contrast"}
    if "antonym" in attacks:
        cells |= {"rows": attacks["antonym"]["rows"], "accuracy": attacks["antonym"]["accuracy"]}
        for column, part in SWAPS.items():
            swaps = attacks["antonym"].get(part) or {}
            cells |= {column: swaps.get("keep_rate"), f"{column}_swaps": swaps.get("candidates")}
    for column, (attack, rate, count, interval) in ATTACKS.items():
        if attack in attacks:
            figures = attacks[attack]
            low, high = figures.get(interval) or (None, None)
            cells |= {column: figures.get(rate), f"{column}_rows": figures.get(count)}
            cells |= {f"{column}_low": low, f"{column}_high": high}
    for column, name in EDITS.items():
        if "contrast" in reports:
            entry = reports["contrast"]["contrast"][name]
            low, high = entry["interval"]
            cells |= {column: entry["rate"], f"{column}_rows": entry["of"]}
            cells |= {f"{column}_low": low, f"{column}_high": high}
    return cells


def format_csv(folder: Path) -> str:
    """Return the CSV of all saved runs, in the order of their file names."""
    lines = [
        make_line(study, seed, name, run)
        for study, names in read(folder).items()
        for name, seeds in names.items()
        for seed, run in seeds.items()
    ]
    lines.sort(key=lambda line: (line["study"], line["seed"], line["method"], line["settings"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({column: _format_cell(line.get(column)) for column in COLUMNS})
    return text.getvalue()


def _format_cell(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the flags."""
    parser = argparse.ArgumentParser(description="Write one CSV line for each saved run.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/results/study"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/leaderboard.csv"))
    return parser.parse_args(argv)


def main() -> None:
    """Write the CSV file."""
    args = parse_arguments()
    text = format_csv(args.folder)
    if text.count("\n") < 2:
        sys.exit(f"leaderboard: error: no runs in {args.folder}")
    write_atomically(args.output, text)


if __name__ == "__main__":
    main()
