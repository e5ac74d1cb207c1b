"""Run all benchmarks in a short form, write results as JSON, and compare ratios with recorded ones.

    python benchmarks/run_all.py --json bench.json
    python benchmarks/run_all.py --record

A ratio compares two things that take turns on the same machine, so it depends little on the machine.
Higher is better. The run fails (status 1) if a ratio is more than 20 % below its value in `recorded.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import describe_machine

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "recorded.json"
LEAST = 0.8  # minimum share of a recorded ratio

Figures = dict[str, Any]


def read_step(figures: Figures) -> dict[str, float]:
    """Return the share of a triplet step's time that is explained by its tokens."""
    return {
        "triplet step: token ratio over time ratio": 1
        / figures["over_baseline"]["triplet"]["time_over_tokens"]
    }


def read_attack(figures: Figures) -> dict[str, float]:
    """Return the share of a bare forward pass in the time of each attack."""
    return {
        f"{line['attack']} attack: time of a bare forward pass over its time": 1
        / line["over bare forward"]
        for line in figures["lines"]
    }


def read_perturbations(figures: Figures) -> dict[str, float]:
    """Return the speed of the sampler relative to a plain loop."""
    ours, plain = (
        statistics.median(figures[f"{name}, pairs/s"]) for name in ("perturb", "plain loop")
    )
    return {"perturbations: pairs a second over a plain loop's": ours / plain}


# Script -> flags of its short form, and the function that reads the ratios from its JSON.
BENCHMARKS: dict[str, tuple[str, Callable[[Figures], dict[str, float]]]] = {
    "bench_step.py": ("--steps 6 --warmup 1", read_step),
    "bench_attack.py": ("--rows 40 --repeats 3", read_attack),
    "bench_perturbations.py": ("--rows 800 --repeats 5", read_perturbations),
    "bench_tables.py": ("--repeats 3", lambda figures: {}),
    "bench_synonyms.py": ("--sizes 2000 --check 2000 --repeats 1", lambda figures: {}),
}


def run_benchmark(script: str, flags: str, folder: Path) -> Figures:
    """Run a script and return its JSON."""
    out = folder / f"{script}.json"
    print(f"== {script} {flags}", flush=True)
    command = [sys.executable, str(HERE / script), *flags.split(), "--json", str(out)]
    done = subprocess.run(command, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    if done.returncode:
        raise SystemExit(f"{script} failed with status {done.returncode}")
    return json.loads(out.read_text(encoding="utf-8"))


def compare(ratios: dict[str, float], recorded: dict[str, float]) -> list[str]:
    """List each recorded ratio that is missing or more than 20 % too low."""
    faults = []
    for name, wanted in recorded.items():
        ratio = ratios.get(name)
        if ratio is None:
            faults.append(f"{name}: not measured")
        elif ratio < LEAST * wanted:
            faults.append(f"{name}: {ratio:.3f}, recorded {wanted:.3f} ({ratio / wanted - 1:+.0%})")
    return faults


def main() -> int:
    """Run, print and compare. Return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write all results here")
    parser.add_argument("--record", action="store_true", help="write the ratios to recorded.json")
    args = parser.parse_args()
    figures, ratios = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for script, (flags, read) in BENCHMARKS.items():
            figures[script] = run_benchmark(script, flags, Path(folder))
            ratios |= read(figures[script])
    content = {"machine": describe_machine(), "ratios": ratios, "figures": figures}
    if args.json:
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print("\nratios; higher is better")
    recorded = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    wanted = recorded.get("ratios", {})
    for name, ratio in ratios.items():
        print(f"{ratio:7.3f}  recorded {wanted.get(name, float('nan')):7.3f}  {name}")
    if args.record:
        kept = {name: content[name] for name in ("machine", "ratios")}
        RECORDED.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        return 0
    faults = compare(ratios, wanted)
    for fault in faults:
        print(f"slower than recorded: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
