"""Measure the time and peak memory of building synonyms from word vectors, by vocabulary size.

    python benchmarks/bench_synonyms.py --sizes 5000 10000 20000 40000 --json synonyms.json

The vectors are synthetic. Half of the words are random, and half are in groups of near neighbors. Each size
and procedure runs in a new process, so peak memory covers everything from the vector file to the table. At
`--check` words, the table is compared with a brute-force one.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

GROUP = 4


def make_vectors(words: int, dimensions: int) -> np.ndarray:
    """Return random vectors (words, dimensions), with the first half in groups of neighbors."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(words, dimensions)).astype(np.float32)
    grouped = words // 2 // GROUP * GROUP
    centers = np.repeat(rng.normal(size=(grouped // GROUP, dimensions)), GROUP, axis=0)
    matrix[:grouped] = centers + 0.4 * rng.normal(size=(grouped, dimensions))
    return matrix


def write_vectors(path: Path, words: int, dimensions: int) -> None:
    """Write vectors as text."""
    with open(path, "w", encoding="utf-8") as stream:
        for number, row in enumerate(make_vectors(words, dimensions)):
            stream.write(f"w{number} " + " ".join(f"{value:.6f}" for value in row) + "\n")


def search_by_brute_force(
    path: Path, procedure: str, threshold: float = 0.8
) -> dict[str, set[str]]:
    """Return sets of words from one matrix product and a plain search for components."""
    rows = [line.split() for line in path.read_text().splitlines()]
    names = [row[0] for row in rows]
    matrix = np.array([[float(value) for value in row[1:]] for row in rows])
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    if procedure == "topk":
        near = matrix @ matrix.T >= threshold
        groups = [set(np.flatnonzero(row)) for row in near]
    else:
        matrix -= matrix.mean(axis=0)
        _, _, axes = np.linalg.svd(matrix, full_matrices=False)
        matrix -= matrix @ axes[:8].T @ axes[:8]
        near = matrix @ matrix.T > threshold
        groups = []
        for row in range(len(names)):
            component, waiting = {row}, [row]
            while waiting:
                fresh = set(np.flatnonzero(near[waiting.pop()])) - component
                component |= fresh
                waiting.extend(fresh)
            groups.append(component)
    sets = {names[i]: {names[j] for j in others if j != i} for i, others in enumerate(groups)}
    return {name: others for name, others in sets.items() if others}


def run_once(path: Path, words: int, procedure: str, check: bool) -> None:
    """Build one table and print the measurements as JSON."""
    from hf_bat.lexicon import synonyms_from_vectors
    from hf_bat.lexicon.vectors import read_vectors

    vocabulary = [f"w{number}" for number in range(words)]
    start = time.perf_counter()
    read_vectors(path, vocabulary)
    reading = time.perf_counter() - start
    start = time.perf_counter()
    table = synonyms_from_vectors(path, vocabulary, procedure)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {
        "seconds": seconds,
        "reading": reading,
        "peak_mib": peak,
        "words_with_synonyms": len(table),
    }
    if check:
        expected = search_by_brute_force(path, procedure)
        result["equals_brute_force"] = {w: set(others) for w, others in table.items()} == expected
    print(json.dumps(result))


def main() -> int:
    """Measure all sizes, print a table and return 1 if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[5000, 10000, 20000])
    parser.add_argument("--dimensions", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", type=int, default=5000, help="size to compare with brute force")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--one", nargs=4, metavar=("FILE", "WORDS", "PROCEDURE", "CHECK"), help="internal"
    )
    args = parser.parse_args()
    if args.one:
        run_once(Path(args.one[0]), int(args.one[1]), args.one[2], args.one[3] == "True")
        return 0
    results = []
    print(
        f"{'words':>7} {'procedure':>11} {'seconds':>8} {'spread':>13} {'reading':>8} {'MiB':>6} {'exact':>6}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for words in args.sizes:
            path = Path(folder) / f"{words}.txt"
            write_vectors(path, words, args.dimensions)
            for procedure in ("components", "topk"):
                runs = []
                for repeat in range(args.repeats):
                    check = str(words == args.check and repeat == 0)
                    command = [
                        sys.executable,
                        __file__,
                        "--one",
                        str(path),
                        str(words),
                        procedure,
                        check,
                    ]
                    runs.append(json.loads(subprocess.check_output(command)))
                seconds = [run["seconds"] for run in runs]
                row = {
                    "words": words,
                    "procedure": procedure,
                    "seconds_median": statistics.median(seconds),
                    "seconds_all": seconds,
                    "reading_median": statistics.median(run["reading"] for run in runs),
                    "peak_mib": max(run["peak_mib"] for run in runs),
                    "words_with_synonyms": runs[0]["words_with_synonyms"],
                    "equals_brute_force": runs[0].get("equals_brute_force"),
                }
                results.append(row)
                spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
                exact = {True: "yes", False: "NO", None: ""}[row["equals_brute_force"]]
                print(
                    f"{words:>7} {procedure:>11} {row['seconds_median']:>8.1f} {spread:>13} "
                    f"{row['reading_median']:>8.1f} {row['peak_mib']:>6.0f} {exact:>6}",
                    flush=True,
                )
            path.unlink()
    if args.json:
        args.json.write_text(
            json.dumps({"dimensions": args.dimensions, "results": results}, indent=1) + "\n"
        )
    return 0 if all(row["equals_brute_force"] is not False for row in results) else 1


if __name__ == "__main__":
    sys.exit(main())
