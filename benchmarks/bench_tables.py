"""Measure the loading time of tables: one with 10,000 words, the bundled ones, and given files.

python benchmarks/bench_tables.py [TABLE ...] --json tables.json
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hf_bat.lexicon import SubstitutionTable, load_wordnet
from hf_bat.lexicon.bundled import COUNTERFITTED_SYNONYMS, DEFAULT_ANTONYMS, WORDNET_SYNONYMS

# As many replacements per word as in the paper's MNLI synonyms.
WORDS, REPLACEMENTS = 10_000, 7


def time_calls(function: Callable[[], Any], repeats: int) -> list[float]:
    """Return the milliseconds of each call."""
    function()  # warms up the file cache
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def time_fresh_process(code: str, repeats: int) -> list[float]:
    """Return the milliseconds of the code in new processes."""
    script = f"import time; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
    return [
        float(subprocess.check_output([sys.executable, "-c", script])) * 1e3 for _ in range(repeats)
    ]


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        made = SubstitutionTable(
            {
                f"word{i}": [f"word{(i * 7 + j) % WORDS}" for j in range(1, REPLACEMENTS + 1)]
                for i in range(WORDS)
            }
        )
        paths = [Path(folder) / "made.json", Path(folder) / "made.json.gz"]
        for path in paths:
            made.save(path)
        for path in [
            *paths,
            DEFAULT_ANTONYMS,
            WORDNET_SYNONYMS,
            COUNTERFITTED_SYNONYMS,
            *args.tables,
        ]:
            table = SubstitutionTable.load(path)
            name = f"{path.name} ({len(table)} words, {sum(map(len, table.values()))} replacements)"
            results[name] = time_calls(lambda path=path: SubstitutionTable.load(path), args.repeats)
        code = f"from hf_bat.lexicon import SubstitutionTable; SubstitutionTable.load({str(paths[0])!r})"
        results["made.json, fresh process, imports included"] = time_fresh_process(code, 5)
    load_wordnet.cache_clear()
    results["load_wordnet('bundled'), fresh process, imports included"] = time_fresh_process(
        "from hf_bat.lexicon import load_wordnet; load_wordnet()", 5
    )
    load = os.getloadavg()[0]
    print(f"load average {load:.1f} on {os.cpu_count()} cores")
    print(f"{'median ms':>10} {'spread':>16}  what")
    for name, times in results.items():
        print(f"{statistics.median(times):>10.1f} {min(times):>7.1f} to {max(times):>5.1f}  {name}")
    if args.json:
        args.json.write_text(
            json.dumps({"load_average": load, "milliseconds": results}, indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
