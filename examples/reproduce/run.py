#!/usr/bin/env python
"""Reproduce a table or figure of the paper, at the paper's scale or at a scale for two cores.

    python examples/reproduce/run.py table1 --scale paper --dry_run
    python examples/reproduce/run.py table6 --scale small --train_file snli=train.jsonl.gz \\
        --validation_file snli=dev.jsonl.gz --seeds 1 2 --jobs 2 --output_dir reproduced

`--list` lists all experiments. Flags that `--help` does not list, such as `--max_steps 2` or `--bf16`, are
passed to all training runs unless the experiment varies them. Runs are saved in `runs/` below
`--output_dir`, so experiments do not repeat them. `NAME/` contains `results.json`, `table.md`, `table.tex`
and the figure as `.png` and `.svg`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from experiments import BATCH, EXPERIMENTS, NAMES, SCALES, Experiment, Picture, Setting
from outputs import list_missing, write_outputs

from hf_bat import HfBatError
from hf_bat.attack import get_recipe
from hf_bat.console import hide_output
from hf_bat.demo.compare import find_encoder
from hf_bat.methods import get_method
from hf_bat.sweep import Run, finished, make_run, parse_flags, run_all
from hf_bat.sweep.grid import check_used, drop_unused, split_words
from hf_bat.sweep.schedule import list_runs
from hf_bat.tasks import TASKS

FILES = ("train_file", "validation_file", "validation_mm_file", "synonyms", "antonyms")
SEEDS = [1, 2, 3]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise HfBatError(f"{message} (--help lists the flags)")


def parse_arguments(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Parse the flags of this script and of the training runs."""
    parser = _Parser(
        prog="run.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", help=f"one of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--list", action="store_true", help="list the experiments")
    parser.add_argument("--scale", choices=list(SCALES), default="small", help="default: small")
    parser.add_argument("--output_dir", default="reproduced", help="default: reproduced")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, help="default: 1 2 3")
    parser.add_argument("--methods", nargs="+", help="methods of a table (default: the paper's)")
    parser.add_argument("--model_name_or_path", help="a model to use instead of the scale's")
    for name in FILES:
        parser.add_argument(
            f"--{name}",
            nargs="+",
            default=[],
            metavar="[TASK=]PATH",
            help="for all tasks or one task",
        )
    parser.add_argument("--jobs", type=int, default=1, help="parallel runs (default: 1)")
    parser.add_argument(
        "--processes", type=int, default=1, help="GPUs per run, which share its batch (default: 1)"
    )
    parser.add_argument("--launcher", help="command to start them (default: accelerate launch ...)")
    parser.add_argument(
        "--dry_run", action="store_true", help="list the runs without starting them"
    )
    parser.add_argument("--quiet", action="store_true", help="only print errors")
    args, rest = parser.parse_known_args(argv)
    for name in ("jobs", "processes"):
        if getattr(args, name) < 1:
            raise HfBatError(f"--{name} must be at least 1")
    repeated = [seed for seed in args.seeds if args.seeds.count(seed) > 1]
    if repeated:
        raise HfBatError(f"--seeds names {repeated[0]} twice")
    for name in FILES:
        _check_files(name, getattr(args, name))
    extra = parse_flags(rest) if rest else {}
    if "seed" in extra:
        raise HfBatError(f"--seed would set the seed of all runs; use --seeds {extra['seed']}")
    return args, extra


def _check_files(name: str, words: Sequence[str]) -> None:
    """Check that no task has two files, because one would be ignored."""
    tasks = [task for task, _ in map(_split_file, words)]
    for task in tasks:
        if tasks.count(task) > 1:
            form = f"{task}=PATH" if task else "PATH without TASK="
            raise HfBatError(f"--{name} gives {form} twice; give one file each")


def _split_file(word: str) -> tuple[str | None, str]:
    """Split `[TASK=]PATH`. The task is `None` if the file is for all tasks."""
    task, equals, path = word.partition("=")
    return (task, path) if equals and task in TASKS else (None, word)


@dataclass(frozen=True)
class Planned:
    """A setting with its runs, one per seed."""

    setting: Setting
    runs: tuple[Run, ...]


def choose_experiment(args: argparse.Namespace) -> Experiment:
    """Return the experiment, restricted to the available models, methods and tasks."""
    if args.name not in EXPERIMENTS:
        raise HfBatError(f"unknown experiment {args.name!r}; known: {', '.join(EXPERIMENTS)}")
    experiment = EXPERIMENTS[args.name]
    settings = experiment.settings
    if args.methods:
        for method in args.methods:
            get_method(method)
        if not experiment.compares_methods:
            raise HfBatError(f"--methods is for tables that compare methods, not {args.name}")
        printed = {(s.model, s.method): s for s in settings}
        pairs = dict.fromkeys((s.task, s.model) for s in settings)
        settings = tuple(
            printed.get((model, method), Setting(task, method, model))
            for task, model in pairs
            for method in args.methods
        )
    if args.model_name_or_path or len(SCALES[args.scale].models) == 1:
        # One model replaces all models of the paper. The numbers of the paper's first model are
        # shown.
        settings = tuple(s for s in settings if s.model == settings[0].model)
    tasks = list(dict.fromkeys(s.task for s in settings))
    available = [task for task in tasks if has_data(args, task)]
    if not available:
        example = f"{tasks[0]}=PATH"
        raise HfBatError(
            f"no data for {' and '.join(tasks)}: use --train_file {example} and --validation_file "
            f"{example}, or --scale paper for the Hub's"
        )
    for task in tasks:
        if task not in available:
            note(f"{task} is left out, because it has no --train_file and --validation_file")
    if experiment.suffix == "_mm" and not all(
        find_file(args, "validation_mm_file", task) or not find_file(args, "validation_file", task)
        for task in available
    ):
        raise HfBatError(f"{args.name} is about the mismatched set: use --validation_mm_file too")
    return replace(experiment, settings=tuple(s for s in settings if s.task in available))


def note(line: str) -> None:
    """Print a message that is not a result."""
    print(line, file=sys.stderr)


def find_file(args: argparse.Namespace, name: str, task: str) -> str | None:
    """Return the file given for a task or for all tasks."""
    files = dict(map(_split_file, getattr(args, name)))
    # A mismatched set given for all tasks is used for tasks that have one.
    for_all = name != "validation_mm_file" or "validation_mm" in TASKS[task].splits
    return files.get(task, files.get(None) if for_all else None)


def has_data(args: argparse.Namespace, task: str) -> bool:
    """Return whether a task has rows, in files or (at the paper's scale) on the Hub."""
    files = [find_file(args, name, task) for name in ("train_file", "validation_file")]
    return all(files) or (args.scale == "paper" and not any(files))


def collect_arguments(
    setting: Setting, seed: int, args: argparse.Namespace, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Collect the arguments of one run. The user's arguments override all others."""
    scale = SCALES[args.scale]
    model = scale.models.get(setting.model) or next(iter(scale.models.values()))
    arguments: dict[str, Any] = {
        # In the paper, terms have their full weight from the first step.
        "weight_warmup_steps": 0.0,
        **scale.common,
        **scale.methods.get(setting.method, {}),
        **scale.tasks.get(setting.task, {}),
        "model_name_or_path": args.model_name_or_path or model or find_encoder(),
        "task_name": setting.task,
        "method": setting.method,
        **setting.options,
        **extra,
        "seed": seed,
    }
    for name in FILES:
        path = find_file(args, name, setting.task)
        if path is not None:
            arguments[name] = path
    if args.processes > 1:
        if arguments[BATCH] % args.processes:
            raise HfBatError(f"a batch of {arguments[BATCH]} cannot be shared by {args.processes}")
        arguments[BATCH] //= args.processes
    return drop_unused(arguments)


def check_extra(experiment: Experiment, args: argparse.Namespace, extra: Mapping[str, Any]) -> None:
    """Check that no flag overrides the settings of the experiment, which name its rows and lines."""
    for name in extra:
        if name in experiment.varied:
            raise HfBatError(f"--{name} is what {args.name} varies; omit it")
        if name in ("method", "task_name"):
            choose = name == "method" and experiment.compares_methods
            advice = f"use --methods {extra[name]}" if choose else "omit it"
            raise HfBatError(f"--{name} is set by {args.name}; {advice}")
    for picture in experiment.pictures:
        check_picture(picture, args.name, extra)


def check_picture(picture: Picture, name: str, extra: Mapping[str, Any]) -> None:
    """Check before hours of training that the runs will have the data for a picture."""
    if picture.kind == "tsne" and extra.get("representations") == 0:
        raise HfBatError(f"--representations 0: {name} is drawn from them; omit it")
    attacked = [metric for metric in picture.metrics if "_asr" in metric]
    if picture.kind in ("epochs", "bars"):
        if extra.get("eval_strategy") == "no":
            raise HfBatError(f"--eval_strategy no: {name} is drawn by epoch; omit it")
        if attacked and extra.get("attack_every") == "end":
            raise HfBatError(f"--attack_every end: {name} shows attacks by epoch; omit it")
    if "attacks" in extra:
        given = tuple(f"eval_{get_recipe(attack).key}_" for attack in extra["attacks"])
        for metric in attacked:
            if not metric.startswith(given):
                attack = NAMES[metric].removesuffix(" ASR")
                raise HfBatError(f"--attacks lacks {attack}, which {name} shows; add it")


def plan(
    experiment: Experiment, args: argparse.Namespace, extra: Mapping[str, Any]
) -> list[Planned]:
    """Return all settings with their runs, after all checks."""
    check_extra(experiment, args, extra)
    launcher: list[str] = []
    if args.launcher or args.processes > 1:
        words = args.launcher or f"accelerate launch --multi_gpu --num_processes {args.processes}"
        launcher = split_words(words, "--launcher")
    seeds = args.seeds
    if experiment.has_one_seed:
        seeds, others = args.seeds[:1], args.seeds[1:]
        if others and args.seeds != SEEDS:
            listed = ", ".join(map(str, others))
            note(f"{args.name} shows one seed, {seeds[0]}; of --seeds, {listed} is left out")
    arguments = [
        [collect_arguments(setting, seed, args, extra) for seed in seeds]
        for setting in experiment.settings
    ]
    check_used(extra, [of_run for of_setting in arguments for of_run in of_setting])
    return [
        Planned(setting, tuple(make_run(of_run, launcher) for of_run in of_setting))
        for setting, of_setting in zip(experiment.settings, arguments, strict=True)
    ]


def reproduce(args: argparse.Namespace, extra: Mapping[str, Any]) -> None:
    """List, plan or execute the runs of an experiment, and write its outputs."""
    if args.list or args.name is None:
        for name, experiment in EXPERIMENTS.items():
            print(f"{name:<9} {experiment.title}")
        return
    experiment = choose_experiment(args)
    planned = plan(experiment, args, extra)
    root = Path(args.output_dir)
    runs = list({run.key: run for p in planned for run in p.runs}.values())
    if args.dry_run:
        varied = ("task_name", "model_name_or_path", "method", *experiment.varied, "seed")
        print(f"{experiment.title}, scale {args.scale}")
        print(list_runs(runs, root, varied))
        return
    failures = run_all(runs, root, args.jobs)
    results = {run.key: result for run in runs if (result := finished(root, run))}
    missing: list[str] = []
    if results:
        groups = [
            (p.setting, [results[run.key] for run in p.runs if run.key in results]) for p in planned
        ]
        written = write_outputs(experiment, groups, root, root / args.name, args.scale)
        print((root / args.name / "table.md").read_text("utf-8"), end="")
        note(f"written: {', '.join(map(str, written))}")
        missing = list_missing(experiment, groups)
    # A failed run may be the reason for missing data in a picture.
    if failures:
        raise HfBatError(f"{len(failures)} of {len(runs)} runs did not finish; {failures[0]}")
    if missing:
        raise HfBatError(f"the picture of {args.name} lacks {'; '.join(missing)}")


def run(argv: Sequence[str]) -> int:
    """Run the reproduction given by the flags, and return the exit status."""
    try:
        args, extra = parse_arguments(argv)
        with hide_output() if args.quiet else nullcontext():
            reproduce(args, extra)
    except HfBatError as error:
        print(f"reproduce: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("reproduce: interrupted; the same command resumes", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
