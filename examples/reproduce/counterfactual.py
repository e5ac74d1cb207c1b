"""Train and measure the runs of the counterfactual study (docs/results/counterfactual/protocol.md).

    python examples/reproduce/counterfactual.py --data $HF_BAT_DATA --encoder MINILM_FOLDER \\
        --output_dir study --seeds 42 --methods normal counterfactual --jobs 2

For each seed, a starting model is trained with the normal method, and all methods continue from it.
Finished steps are not repeated, so an interrupted study continues with the same command. `--dev` measures
on the tuning rows, to choose settings. Without it, the reported rows are used.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hf_bat import get_task  # noqa: E402
from hf_bat.counterfactual import build_rules, make_suite  # noqa: E402
from hf_bat.counterfactual.rules import RULES  # noqa: E402

Row = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """The rows of one task: training rows, rows for choosing settings, and reported rows."""

    train: str
    validation: str
    tuning: slice
    test: slice
    columns: tuple[str, ...] = ("premise", "hypothesis")
    # Category -> file and rows of other suites: `dev_suites` to choose settings, `suites` for the report.
    dev_suites: Mapping[str, tuple[str, slice]] = field(default_factory=dict)
    suites: Mapping[str, tuple[str, slice]] = field(default_factory=dict)
    has_contrast: bool = False
    # Rules with their shares and other flags of the counterfactual runs, the rule of the label flip, and the
    # rules that each run of the ablation drops.
    rules: tuple[str, ...] = (
        "self_pair=6", "swap=12", "opposite=6", "drop=1", "detail=1", "generalize=1",
    )  # fmt: skip
    flags: tuple[str, ...] = ()
    flip_rule: str = "swap"
    ablation: Mapping[str, Sequence[str]] = field(default_factory=lambda: INFERENCE_ABLATION)


INFERENCE_ABLATION = {
    "self_pair": ["self_pair"],
    "swap": ["swap"],
    "opposite": ["opposite"],
    "neutral": ["drop", "detail", "generalize"],
}
LEXICAL = ("lexical_contrast/validation", slice(None))
# docs/results/counterfactual/protocol.md describes the role of each part.
STUDIES = {
    "snli": Study(
        "snli/train",
        "snli/validation",
        tuning=slice(8000, None),
        test=slice(4000, 8000),
        dev_suites={
            "mnli": ("mnli/validation_matched", slice(2000)),
            "sick": ("sick/train", slice(2000)),
            "lexical": LEXICAL,
        },
        suites={
            "mnli": ("mnli/validation_matched", slice(2000, None)),
            "sick": ("sick/test", slice(2000)),
            "lexical": LEXICAL,
        },
        has_contrast=True,
    ),
    "mnli": Study(
        "mnli/train",
        "mnli/validation_matched",
        tuning=slice(2000),
        test=slice(2000, None),
        suites={
            "mismatched": ("mnli/validation_mismatched", slice(None)),
            "snli": ("snli/validation", slice(4000, 6000)),
            "lexical": LEXICAL,
        },
        has_contrast=True,
    ),
    "qqp": Study(
        "qqp/train",
        "qqp/validation",
        tuning=slice(500),
        test=slice(500, None),
        columns=("question1", "question2"),
        dev_suites={"mrpc": ("mrpc/train", slice(None))},
        suites={"mrpc": ("mrpc/validation", slice(None))},
        rules=("duplicate_edit=12", "same_self=3"),
        flags=("--alpha", "0"),
        flip_rule="duplicate_edit",
        ablation={"same_self": ["same_self"]},
    ),
}
# Share of word pairs that counterfactual runs never draw.
HELD_OUT = 0.2
# All runs start from a trained classifier, so the weights do not need a warm-up.
NO_WARMUP = ["--weight_warmup_steps", "0"]
# Training script of a method that is not built in.
SCRIPTS = {"counterfactual_triplet": "by_feature/custom_method.py"}
# Methods of the main tables, in their order, without the ablation.
MAIN = [
    "normal", "label_flip", "safer", "a2t", "pairwise", "triplet", "likelihood", "counterfactual",
]  # fmt: skip


def make_methods(study: Study) -> dict[str, list[str]]:
    """Return the flags of the training script for each method of the study."""
    counterfactual = ["--held_out_pairs", str(HELD_OUT), "--beta", "1", *study.flags, "--rules"]
    methods = {
        "normal": ["--method", "normal"],
        # The obvious baseline: data augmentation with the rule that flips the label.
        "label_flip": ["--method", "counterfactual", "--rules", study.flip_rule, "--alpha", "0",
                       "--beta", "1"],
        "safer": ["--method", "safer"],
        "a2t": ["--method", "a2t", "--clean_epochs", "0"],
        "pairwise": ["--method", "pairwise", "--alpha", "1.2", "--beta", "2.4", *NO_WARMUP],
        "triplet": ["--method", "triplet", *NO_WARMUP],
        "likelihood": ["--method", "likelihood", *NO_WARMUP],
        "counterfactual": ["--method", "counterfactual", *counterfactual, *study.rules],
        # The ablation: the paper's triplet term added, and without some of the rules.
        "counterfactual_triplet": ["--method", "counterfactual_triplet", *counterfactual,
                                   *study.rules, *NO_WARMUP],
    }  # fmt: skip
    for name, dropped in study.ablation.items():
        rules = [rule for rule in study.rules if rule.partition("=")[0] not in dropped]
        methods[f"without_{name}"] = ["--method", "counterfactual", *counterfactual, *rules]
    return methods


def read_rows(path: Path) -> list[Row]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_rows(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def locate_data(options: argparse.Namespace) -> Path:
    return options.output_dir / ("data-dev" if options.dev else "data")


def write_data(options: argparse.Namespace) -> None:
    """Write the training rows, the rows to attack, and a file of suites distinguished by `category`."""
    study, folder = STUDIES[options.task], locate_data(options)
    validation = read_rows(options.data / f"{study.validation}.jsonl.gz")
    tuning = validation[study.tuning]
    test = tuning if options.dev else validation[study.test]
    train = read_rows(options.data / f"{study.train}.jsonl.gz")
    write_rows(folder / "train.jsonl", train[: options.train_rows])
    write_rows(folder / "tune.jsonl", tuning)
    write_rows(folder / "attacked.jsonl", test[: options.attacked_rows])
    suites = [make_suite_row(study, options.task, row) for row in test]
    for category, (file, part) in (study.dev_suites if options.dev else study.suites).items():
        rows = read_rows(options.data / f"{file}.jsonl.gz")[part]
        suites += [make_suite_row(study, category, row) for row in rows]
    task = get_task(options.task)
    chosen = {rule.partition("=")[0] for rule in study.rules}
    # The draws of a suite depend on the order of the rules.
    names = [name for name in RULES if name in chosen]
    rules = build_rules(task, task.label_names, rules=names, held_out=HELD_OUT)
    for pair in make_suite(rules, test[: options.attacked_rows], task, task.label_names):
        row = {**pair, "label": task.label_names.index(pair["label"])}
        suites.append(make_suite_row(study, pair["category"], row))
    write_rows(folder / "suites.jsonl", suites)


def make_suite_row(study: Study, category: str, row: Row) -> Row:
    # MRPC's sentence columns have other names than QQP's question columns.
    names = ("sentence1", "sentence2") if "sentence1" in row else study.columns
    texts = dict(zip(study.columns, (row[name] for name in names), strict=True))
    return {**texts, "label": row["label"], "category": category}


def make_steps(
    options: argparse.Namespace, seed: int, method: str, flags: list[str]
) -> Iterator[tuple[Path, list[str]]]:
    """Yield (output file, command) for each step of one run."""
    out, data = options.output_dir, locate_data(options)
    name = f"{seed}-{method}"
    start = options.encoder if method == "start" else out / "models" / f"{seed}-start"
    python = [sys.executable]
    script = ROOT / "examples" / SCRIPTS.get(method, "run_glue_bat.py")
    train = [
        *python, str(script), "--model_name_or_path", str(start),
        "--task_name", options.task, "--train_file", str(data / "train.jsonl"),
        "--validation_file", str(data / "tune.jsonl"),
        "--num_train_epochs", "2" if method == "start" else "1", "--do_train", "--do_eval",
        "--per_device_train_batch_size", "32", "--learning_rate", options.learning_rate, "--use_cpu",
        "--save_strategy", "no", "--optim", "adamw_torch_fused", "--train_sampling_strategy",
        "group_by_length", "--report_to", "none", "--logging_steps", "50", "--seed", str(seed),
        "--output_dir", str(out / "models" / name), *options.precision, *flags,
    ]  # fmt: skip
    yield out / "models" / name / "eval_results.json", train
    if method == "start":
        return
    model = ["--model", str(out / "models" / name)]
    command = [*python, "-m", "hf_bat.cli"]
    results = out / ("dev" if options.dev else "results")
    results.mkdir(parents=True, exist_ok=True)
    files = {"suites": data / "suites.jsonl"}
    if STUDIES[options.task].has_contrast:
        files["contrast"] = options.data / "snli_contrast/validation.jsonl.gz"
    for kind, file in files.items():
        path = results / f"{name}.{kind}.json"
        task = [] if kind == "suites" else ["--task", "snli"]
        rows = str(path.with_suffix(".rows.jsonl"))
        yield path, [*command, "contrast", *model, *task, "--data", str(file), "--json", str(path),
                     "--rows", rows, "--max-seq-length", "128"]  # fmt: skip
    path = results / f"{name}.attack.json"
    yield path, [
        *command, "attack", *model, "--task", options.task, "--data", str(data / "attacked.jsonl"),
        "--attacks", "antonym", "negation", "synonym", "--label-filter", "--max-seq-length", "128",
        "--json", str(path), "--rows", str(path.with_suffix(".rows.jsonl")),
    ]  # fmt: skip


def run_all(options: argparse.Namespace, seed: int, method: str, flags: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    log = options.output_dir / "logs" / f"{seed}-{method}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    for done, command in make_steps(options, seed, method, flags):
        if done.exists():
            continue
        with log.open("a", encoding="utf-8") as file:
            print(f"$ {shlex.join(command)}", file=file, flush=True)
            status = subprocess.run(command, env=environment, stdout=file, stderr=file).returncode
        if status:
            sys.exit(f"{seed}-{method} failed with status {status}; see {log}")
        rows = done.with_suffix(".rows.jsonl")
        if rows.exists():
            rows.with_suffix(".jsonl.gz").write_bytes(gzip.compress(rows.read_bytes(), mtime=0))
            rows.unlink()
        print(f"{seed}-{method}: {done.name}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--encoder", required=True, help="pretrained encoder")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--task", choices=list(STUDIES), default="snli")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44, 45])
    parser.add_argument("--methods", nargs="*", default=MAIN)
    parser.add_argument("--variant", nargs="+", default=[], metavar="NAME:FLAGS",
                        help='your own method, as "name: --method ... --rules ..."')  # fmt: skip
    parser.add_argument("--dev", action="store_true", help="measure on the tuning rows")
    parser.add_argument("--train_rows", type=int, default=16_000)
    parser.add_argument("--attacked_rows", type=int, default=600)
    parser.add_argument("--learning_rate", default="1e-4")
    parser.add_argument("--precision", nargs="*", default=[], metavar="FLAG", help="e.g. --bf16")
    parser.add_argument("--jobs", type=int, default=1, help="parallel runs, with one thread each")
    options = parser.parse_args()
    options.precision = [f"--{flag.lstrip('-')}" for flag in options.precision]
    methods = make_methods(STUDIES[options.task])
    if unknown := set(options.methods) - set(methods):
        parser.error(f"unknown methods {', '.join(sorted(unknown))}; known: {', '.join(methods)}")
    write_data(options)
    runs = {name: methods[name] for name in options.methods}
    for variant in options.variant:
        name, _, flags = variant.partition(":")
        runs[name] = shlex.split(flags)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(
            pool.map(
                lambda seed: run_all(options, seed, "start", ["--method", "normal"]), options.seeds
            )
        )
        jobs = [(seed, name) for seed in options.seeds for name in runs]
        list(pool.map(lambda job: run_all(options, *job, runs[job[1]]), jobs))


if __name__ == "__main__":
    main()
