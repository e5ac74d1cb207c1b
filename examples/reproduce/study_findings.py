"""Print findings that are not in the tables of the SNLI study, from the saved runs.

python examples/reproduce/study_findings.py docs/results/study
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from study_tables import METHODS as METHODS_WITH_NORMAL

# Without the baseline.
METHODS = METHODS_WITH_NORMAL[1:]
SEEDS = (42, 43, 44, 45)


def read(folder: Path, study: str, seed: int, method: str) -> dict[str, Any] | None:
    path = folder / f"{study}-{seed}-{method}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def print_negations(folder: Path) -> None:
    print(
        "\n**(a) Negations kept with more confidence, against normal training of the same seed**\n"
    )
    print("| steps | method | seed | normal | method | difference (95 % interval) | p |")
    print("|---|---|---|---|---|---|---|")
    for study, steps in (("snli", 500), ("snli_1000", 1000)):
        for method in ("pairwise", "triplet"):
            for seed in SEEDS:
                run = read(folder, study, seed, method)
                for row in (
                    (run or {}).get("against_normal", {}).get("negation", {}).get("comparisons", [])
                ):
                    if row["definition"] == "confident":
                        low, high = (100 * bound for bound in row["interval"])
                        print(
                            f"| {steps:,} | {method} | {seed} | {100 * row['asr_a']:.1f} | "
                            f"{100 * row['asr_b']:.1f} | {100 * row['difference']:+.1f} "
                            f"({low:+.1f} to {high:+.1f}) | {row['p_value']:.0e} |"
                        )


def print_labels(folder: Path) -> None:
    print("\n**(b) Swaps that likely change the label, by the row's label (seed 42, 500 steps)**\n")
    columns = (
        "swaps in entailment rows",
        "in contradiction rows",
        "kept: entailment",
        "kept: contradiction",
    )
    print(f"| method | {' | '.join(columns)} |")
    print("|---|---|---|---|---|")
    for method in METHODS_WITH_NORMAL:
        run = read(folder, "snli", 42, method)
        if run is not None:
            labels = run["reports"]["antonym"]["attacks"]["antonym"]["per_label"]
            entailed, contradicted = (
                labels[name]["label_valid"] for name in ("entailment", "contradiction")
            )
            total = entailed["candidates"] + contradicted["candidates"]
            print(
                f"| {method} | {100 * entailed['candidates'] / total:.1f} % of {total:,} | "
                f"{100 * contradicted['candidates'] / total:.1f} % | "
                f"{100 * entailed['keep_rate']:.1f} % | {100 * contradicted['keep_rate']:.1f} % |"
            )


def print_edits(folder: Path) -> None:
    print(
        "\n**(d) Obstinate errors on rows that people edited, against normal training, in points**\n"
    )
    print("| method | " + " | ".join(map(str, SEEDS)) + " |")
    print("|---" * (len(SEEDS) + 1) + "|")
    more: dict[bool, int] = defaultdict(int)
    for method in METHODS:
        cells = []
        for seed in SEEDS:
            run, cell = read(folder, "snli", seed, method), "–"
            for row in (run or {}).get("against_normal", {}).get("contrast", {}).get("rates", []):
                if row["figure"] == "obstinate errors":
                    cell = f"{100 * row['difference']:+.1f}"
                    more[row["difference"] > 0] += 1
            cells.append(cell)
        print(f"| {method} | " + " | ".join(cells) + " |")
    print(f"\n{more[True]} of {sum(more.values())} method-seeds make more of these errors.")


def main() -> None:
    folder = Path(sys.argv[1])
    print_negations(folder)
    print_labels(folder)
    print_edits(folder)


if __name__ == "__main__":
    main()
