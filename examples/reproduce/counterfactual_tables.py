"""Print the tables of the counterfactual study (docs/results/counterfactual/protocol.md).

    python examples/reproduce/counterfactual_tables.py --data $HF_BAT_DATA --collect study/results \\
        --outcomes docs/results/counterfactual/snli

`--collect` reads the results of `counterfactual.py` and saves the outcome of each row in one small file per
run, under `--outcomes`. The tables are only computed from these files. `study_tables.py --pages` inserts
them into the pages.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from counterfactual import MAIN

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hf_bat.attack import AttackResult  # noqa: E402
from hf_bat.attack.figures import FIGURES as ATTACK_FIGURES  # noqa: E402
from hf_bat.evaluation.contrast import group_by_original  # noqa: E402
from hf_bat.stats import percentile_interval  # noqa: E402

Row = dict[str, Any]
# Unit -> (part, total). Units are rows, or originals with their edits.
Outcomes = dict[str, tuple[int, int]]
RESAMPLES = 2000
# Figure -> the attack and its rate.
ATTACKS = {
    "antonym strict": ("antonym", "asr"),
    "antonym confident": ("antonym", "asr_confident"),
    "label-changing swaps kept": ("antonym", "valid_keep_rate"),
    "other swaps kept": ("antonym", "invalid_keep_rate"),
    "negation strict": ("negation", "asr"),
    "synonym": ("synonym", "asr"),
}
# Category -> figure. A suite with the name of the study's task contains its reported rows.
SUITES = {"snli": "SNLI", "mnli": "MNLI", "mismatched": "MNLI mismatched", "sick": "SICK",
          "qqp": "QQP", "mrpc": "MRPC"}  # fmt: skip
FIGURES = (
    "accuracy", *SUITES.values(), "lexical contradiction", "lexical entailment", "edits by people",
    "one-word edits", "premise edits", "hypothesis edits", "obstinate errors", "fickle errors",
    *ATTACKS, "seen pairs", "unseen pairs", "rule pairs",
)  # fmt: skip


OVERVIEW = (
    "accuracy", "lexical contradiction", "lexical entailment", "MNLI", "obstinate errors",
    "antonym confident", "label-changing swaps kept", "other swaps kept", "synonym",
)  # fmt: skip
LOWER_IS_BETTER = (
    "obstinate errors", "antonym confident", "label-changing swaps kept", "synonym",
)  # fmt: skip


def read_rows(path: Path) -> Iterator[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def count_suites(rows: Iterable[Row], task: str) -> dict[str, Outcomes]:
    """Return the outcomes of the rows of all suites, which are distinguished by `category`."""
    outcomes: dict[str, Outcomes] = defaultdict(dict)
    for row in rows:
        category, unit, outcome = row["category"], str(row["idx"]), (int(row["correct"]), 1)
        if category == "lexical":
            if row["label"] != "neutral":
                outcomes[f"lexical {row['label']}"][unit] = outcome
        elif category in SUITES:
            outcomes["accuracy" if category == task else SUITES[category]][unit] = outcome
        else:
            outcomes["rule pairs"][unit] = outcome
            part = category.rpartition("_")[2]  # "swap_unseen": word pairs that training never drew
            if part in ("seen", "unseen"):
                outcomes[f"{part} pairs"][unit] = outcome
    return outcomes


def list_kinds(edit: Row, original: Row) -> Iterator[str]:
    """Yield the kinds of an edit by people: the sentence it changes, and whether it changes only one word."""
    changed = [column for column in ("premise", "hypothesis") if edit[column] != original[column]]
    if len(changed) == 1:
        yield f"{changed[0]} edits"
        old, new = original[changed[0]].split(), edit[changed[0]].split()
        if len(old) == len(new) and sum(a != b for a, b in zip(old, new, strict=True)) == 1:
            yield "one-word edits"


def count_contrast(rows: Iterable[Row], texts: dict[int, Row]) -> dict[str, Outcomes]:
    """Return the outcomes of edits by people. A unit is an original, because its edits are similar."""
    outcomes: dict[str, Outcomes] = defaultdict(dict)
    for original_idx, (original, *edits) in group_by_original(rows).items():
        counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for edit in edits:
            kinds = list_kinds(texts[edit["idx"]], texts[original_idx])
            for figure in ("edits by people", *kinds):
                counts[figure][0] += int(edit["correct"])
                counts[figure][1] += 1
            error = "fickle" if edit["label"] == original["label"] else "obstinate"
            counts[f"{error} errors"][0] += int(edit["error"] == error)
            counts[f"{error} errors"][1] += 1
        for figure, (part, whole) in counts.items():
            outcomes[figure][str(original_idx)] = part, whole
    return outcomes


def count_attacks(rows: Iterable[Row]) -> dict[str, Outcomes]:
    """Return the outcomes of the attacked rows."""
    outcomes: dict[str, Outcomes] = defaultdict(dict)
    for row in rows:
        result = AttackResult.from_dict(row)
        for figure, (attack, name) in ATTACKS.items():
            if result.attack == attack:
                part, whole = ATTACK_FIGURES[name].measure_row(result)
                if whole:
                    outcomes[figure][str(result.idx)] = int(part), int(whole)
    return outcomes


def collect(results: Path, data: Path, outcomes: Path, task: str) -> None:
    """Write the outcomes of each run with complete results."""
    texts = {row["idx"]: row for row in read_rows(data / "snli_contrast/validation.jsonl.gz")}
    outcomes.mkdir(parents=True, exist_ok=True)
    for path in sorted(results.glob("*.attack.rows.jsonl.gz")):
        run = path.name.removesuffix(".attack.rows.jsonl.gz")
        counts = count_suites(read_rows(results / f"{run}.suites.rows.jsonl.gz"), task)
        counts |= count_attacks(read_rows(path))
        contrast = results / f"{run}.contrast.rows.jsonl.gz"
        if contrast.exists():
            counts |= count_contrast(read_rows(contrast), texts)
        content = json.dumps(counts, separators=(",", ":")).encode()
        (outcomes / f"{run}.json.gz").write_bytes(gzip.compress(content, mtime=0))


def read_outcomes(folder: Path) -> dict[str, dict[int, dict[str, Outcomes]]]:
    """Return method -> seed -> figure -> outcomes."""
    runs: dict[str, dict[int, dict[str, Outcomes]]] = defaultdict(dict)
    for path in sorted(folder.glob("*.json.gz")):
        seed, _, method = path.name.removesuffix(".json.gz").partition("-")
        with gzip.open(path, "rt", encoding="utf-8") as file:
            runs[method][int(seed)] = json.load(file)
    return runs


def resample(
    runs: dict[int, dict[str, Outcomes]], base: dict[int, dict[str, Outcomes]], figure: str
) -> tuple[list[float], list[float], tuple[float, float] | None]:
    """Compute the rates by seed, the rates of `base`, and the 95 % interval of the mean difference.

    Units and seeds are drawn with replacement, in the same way for both methods.
    """
    seeds = sorted(set(runs) & set(base))
    seeds = [seed for seed in seeds if figure in runs[seed] and figure in base[seed]]
    if not seeds:
        return [], [], None
    units = sorted(set().union(*(side[seed][figure] for seed in seeds for side in (runs, base))))
    counts = np.array(
        [
            [[side[seed][figure].get(unit, (0, 0)) for unit in units] for seed in seeds]
            for side in (runs, base)
        ],
        dtype=float,
    )  # (method, seed, unit, part and total)
    totals = counts.sum(axis=2)
    rates = totals[..., 0] / totals[..., 1]
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(units), np.full(len(units), 1 / len(units)), RESAMPLES)
    drawn = np.einsum("ru,msuk->rmsk", weights.astype(float), counts, optimize=True)
    drawn_rates = drawn[..., 0] / drawn[..., 1]
    by_seed = drawn_rates[:, 0] - drawn_rates[:, 1]
    places = rng.integers(len(seeds), size=(RESAMPLES, len(seeds)))
    differences = np.take_along_axis(by_seed, places, axis=1).mean(axis=1)
    return list(rates[0]), list(rates[1]), percentile_interval(differences, 0.95)


def format_range(rates: Sequence[float]) -> str:
    """Format the mean in percent, with the minimum and maximum over several seeds."""
    mean = f"{100 * float(np.mean(rates)):.1f}"
    return mean if len(rates) < 2 else f"{mean} ({100 * min(rates):.1f} to {100 * max(rates):.1f})"


def list_overview(
    runs: dict[str, dict[int, dict[str, Outcomes]]],
) -> dict[str, dict[str, list[float]]]:
    """Return figure of `OVERVIEW` -> method -> rates by seed, without figures that `normal` does not have."""
    figures = [name for name in OVERVIEW if any(name in run for run in runs["normal"].values())]
    methods = [name for name in MAIN if name in runs]
    return {
        name: {method: resample(runs[method], runs["normal"], name)[0] for method in methods}
        for name in figures
    }


def make_overview(runs: dict[str, dict[int, dict[str, Outcomes]]], methods: Sequence[str]) -> str:
    """Return a table with one line per method and the figures of `OVERVIEW`."""
    figures = list_overview(runs)
    lines = [f"| method | seeds | {' | '.join(figures)} |", "|---" * (len(figures) + 2) + "|"]
    for method in methods:
        cells = [
            format_range(rates[method]) if rates[method] else "–" for rates in figures.values()
        ]
        lines.append(f"| {method} | {len(runs[method])} | {' | '.join(cells)} |")
    units = [
        max(
            sum(whole for _, whole in run.get(name, {}).values()) for run in runs["normal"].values()
        )
        for name in figures
    ]
    counted = " | ".join(f"{number:,}" for number in units)
    return "\n".join([*lines, f"| *counted in a run of normal* | | {counted} |"])


def make_differences(
    runs: dict[str, dict[int, dict[str, Outcomes]]], methods: Sequence[str]
) -> str:
    """Return a table with one line per figure and the difference of each method to the first one."""
    base = runs[methods[0]]
    head = " | ".join(f"{method} ({len(runs[method])})" for method in methods)
    lines = [f"| figure, % | {head} |", "|---" * (len(methods) + 1) + "|"]
    for figure in FIGURES:
        if not any(figure in run for run in base.values()):
            continue
        cells = []
        for method in methods:
            rates, base_rates, interval = resample(runs[method], base, figure)
            if not rates or interval is None:
                cells.append("–")
            elif method == methods[0]:
                cells.append(format_range(rates))
            else:
                difference = 100 * float(np.mean(rates) - np.mean(base_rates))
                low, high = (100 * end for end in interval)
                cells.append(f"{difference:+.1f} ({low:+.1f} to {high:+.1f})")
        lines.append(f"| {figure} | {' | '.join(cells)} |")
    return "\n".join(lines)


def make_tables(folder: Path) -> dict[str, str]:
    """Return the tables for the outcomes of a task, by name."""
    runs = read_outcomes(folder)
    if "normal" not in runs:
        sys.exit(f"{folder} has no run of the normal method to compare with")
    # The other runs are of the ablation.
    methods = [name for name in MAIN if name in runs]
    tables = {
        f"counterfactual-{folder.name}": make_overview(runs, methods),
        f"counterfactual-{folder.name}-differences": make_differences(runs, methods),
    }
    if ablation := sorted(set(runs) - set(methods)):
        seeds = set().union(*(runs[name] for name in ablation))
        whole = {seed: run for seed, run in runs["counterfactual"].items() if seed in seeds}
        tables[f"counterfactual-{folder.name}-ablation"] = make_differences(
            {**runs, "counterfactual": whole}, ["counterfactual", *ablation]
        )
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the data sets, for --collect")
    parser.add_argument("--collect", type=Path, help="folder of results to read")
    parser.add_argument("--task", default="snli", help="task of the study, for --collect")
    parser.add_argument("--outcomes", type=Path, required=True, help="folder of saved outcomes")
    options = parser.parse_args()
    if options.collect:
        if options.data is None:
            parser.error("--collect needs --data")
        collect(options.collect, options.data, options.outcomes, options.task)
    for name, text in make_tables(options.outcomes).items():
        print(f"### {name}\n\n{text}\n")


if __name__ == "__main__":
    main()
