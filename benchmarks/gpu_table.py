"""Print the results of `gpu.sh` in a folder as Markdown tables.

python benchmarks/gpu_table.py OUT
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read(folder: Path, pattern: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and content of the JSON files of a stage."""
    for path in sorted(folder.glob(pattern)):
        yield path.stem, json.loads(path.read_text(encoding="utf-8"))


def list_steps(folder: Path) -> list[str]:
    """Return a table of steps per second, and of each method's time over its tokens."""
    lines = [
        "| model, precision, workers | method | steps a second | time ratio | token ratio | time over "
        "tokens | peak MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, figures in read(folder, "step-*.json"):
        peak = figures["peak_mib"]
        for method, seconds in figures["seconds"].items():
            ratios = figures["over_baseline"].get(method, {})
            cells = [
                f"{ratios[key]:.2f}" if ratios else "-"
                for key in ("time_ratio_of_pairs", "token_ratio", "time_over_tokens")
            ]
            # The methods share a process, so the peak is from the largest one.
            memory = "-" if peak is None else f"{peak:.0f}"
            title = name.removeprefix("step-")
            lines.append(
                f"| {title} | {method} | {1 / seconds:.1f} | {' | '.join(cells)} | {memory} |"
            )
    return lines


def list_busy(folder: Path) -> list[str]:
    """Return a table of steps per second of full runs, and of the utilization of the GPU while in use."""
    lines = ["| run | steps a second | GPU busy |", "|---|---|---|"]
    for path in sorted(folder.glob("busy-*/train_results.json")):
        name = path.parent.name
        figures = json.loads(path.read_text(encoding="utf-8"))
        samples = folder / f"{name}.csv"
        values = (
            [int(v) for v in samples.read_text().split() if v.isdigit()] if samples.exists() else []
        )
        while values and values[-1] == 0:
            values.pop()
        used = values[next((i for i, v in enumerate(values) if v), 0) :]
        busy = f"{statistics.fmean(used):.0f} %" if used else "-"
        lines.append(f"| {name} | {figures['train_steps_per_second']:.1f} | {busy} |")
    return lines


def list_attacks(folder: Path) -> list[str]:
    """Return a table of attacked rows per second, next to a bare forward pass and TextAttack."""
    lines = ["| attack | rows | rows a second | over bare forward |", "|---|---|---|---|"]
    for name, figures in read(folder, "attack-*.json"):
        for line in figures["lines"]:
            title = f"{line['attack']}, {name.removeprefix('attack-')}"
            speed = f"{line['rows a second']:.1f} | {line['over bare forward']:.2f}"
            lines.append(f"| {title} | {line['rows']} | {speed} |")
    for _, figures in read(folder, "textattack.json"):
        lines += ["", "| attack | rows a second | TextAttack | times |", "|---|---|---|---|"]
        for case, one in figures["cases"].items():
            ours, theirs = (
                one["rows_a_second_wall"],
                one["textattack"]["dynamic"]["rows_a_second_wall"],
            )
            lines.append(f"| {case} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.1f} |")
    return lines


def main() -> None:
    """Print the name of the GPU and all tables."""
    folder = Path(sys.argv[1])
    machines = {figures["machine"] for _, figures in read(folder, "*.json") if "machine" in figures}
    parts = [[", ".join(sorted(machines))], list_steps(folder), list_busy(folder)]
    print("\n\n".join("\n".join(part) for part in (*parts, list_attacks(folder))))


if __name__ == "__main__":
    main()
