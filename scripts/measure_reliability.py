#!/usr/bin/env python
"""Interrupt trainings and attacks, and count how often the promises of `docs/reliability.md` hold.

    python scripts/measure_reliability.py --trials 2 --write docs/reliability.md

Each trial runs in a separate process (POSIX only), on a CPU, with tiny models and synthetic rows. With
`--write`, the table of the page is replaced. Otherwise it is printed. The exit status is 1 if a promise
did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

for setting in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "OMP_NUM_THREADS"):
    os.environ.setdefault(setting, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

from attack_helpers import ANTONYMS, SYNONYMS, hashed, result  # noqa: E402
from attack_helpers import made_rows as made_inputs  # noqa: E402
from tiny_models import tiny_model  # noqa: E402
from training_helpers import SYNONYMS as TRAINING_SYNONYMS  # noqa: E402
from training_helpers import (  # noqa: E402
    made_rows,
    make_trainer,
    tokenizer_for_made_rows,
    weights_of,
)

from hf_bat import get_task  # noqa: E402
from hf_bat.attack import Attack, CallableModel  # noqa: E402
from hf_bat.checkpoints import find_checkpoint  # noqa: E402
from hf_bat.cli import main as run_cli  # noqa: E402
from hf_bat.labels import name_labels  # noqa: E402

METHODS = ("normal", "safer", "pairwise", "triplet", "likelihood", "counterfactual")
START, END = "<!-- measured -->\n", "<!-- end -->\n"
KILLS = 3  # number of kills before a training may end
BATCH = 4


class Promise(NamedTuple):
    """A line of the table: the trial, the promise, the number of trials and how often the promise held."""

    tried: str
    promise: str
    trials: int
    held: int


# ---- processes ----------------------------------------------------------------------------------


def start(function: Callable[..., None], *given: Any, **environment: str) -> int:
    """Run a function in a child process without output, and return its process id.

    This uses a fork, because importing torch takes longer than a trial.
    """
    child = os.fork()
    if child:
        return child
    status, said = 1, io.StringIO()
    try:
        os.setsid()
        os.environ.update(environment)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            torch.set_num_threads(1)
            function(*given)
        status = 0
    except BaseException:
        if os.environ.get("HF_BAT_SHOW"):
            sys.__stderr__.write(said.getvalue()[-2000:] + traceback.format_exc())  # type: ignore[union-attr]
    finally:
        os._exit(status)


def finish(child: int) -> bool:
    """Wait for a child process and return whether it succeeded."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def kill_after(child: int, seconds: float) -> bool:
    """Kill a child process after the given seconds, and return whether it was still running."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


# ---- trainings ----------------------------------------------------------------------------------


def train(folder: Path, rows: int = 24, resume: bool = False, **options: Any) -> None:
    """Train a tiny model and write its weights next to the output folder."""
    trainer = make_trainer(
        folder,
        made_rows(rows),
        model=tiny_model("bert", dropout=0.1),
        trainer_options={"eval_dataset": made_rows(rows, seed=9)},
        **{"save_strategy": "steps", "save_steps": 1, "save_total_limit": 2, **options},
    )
    trainer.train(resume_from_checkpoint=True if resume else None)
    metrics = trainer.evaluate()
    if trainer.is_world_process_zero():
        torch.save([weights_of(trainer.model), metrics["eval_loss"]], f"{folder}.pt")


def read(folder: Path) -> tuple[dict[str, torch.Tensor], float]:
    """Return the weights and the evaluation loss written by `train`."""
    weights, loss = torch.load(f"{folder}.pt")
    return weights, loss


def differ(folder: Path, other: Path) -> float:
    """Return the largest difference between two trainings in a weight or the evaluation loss."""
    (ours, loss), (theirs, other_loss) = read(folder), read(other)
    return max(abs(loss - other_loss), *((ours[n] - theirs[n]).abs().max().item() for n in ours))


def kill_trainings(folder: Path, trials: int, rng: random.Random) -> Iterator[Promise]:
    """Kill trainings at random times."""
    kills = ended = equal = 0
    for method in METHODS:
        whole = folder / f"{method}-whole"
        begun = time.monotonic()
        assert finish(start(lambda w=whole, m=method: train(w, method=m))), f"{method} fails"
        seconds = time.monotonic() - begun
        for trial in range(trials):
            run = folder / f"{method}-{trial}"
            for _ in range(KILLS):
                resume = find_checkpoint(run) is not None
                child = start(lambda r=run, m=method, a=resume: train(r, method=m, resume=a))
                kills += kill_after(child, rng.uniform(0.2, 0.9) * seconds)
            resume = find_checkpoint(run) is not None
            ended += finish(start(lambda r=run, m=method, a=resume: train(r, method=m, resume=a)))
            equal += Path(f"{run}.pt").exists() and differ(run, whole) == 0
            shutil.rmtree(run)
    tried = f"{trials * len(METHODS)} trainings of {len(METHODS)} methods, killed {kills} times"
    yield Promise(tried, "the next start continues and ends", trials * len(METHODS), ended)
    yield Promise(
        tried, "bit for bit the weights of a run that was not killed", trials * len(METHODS), equal
    )


def damage_checkpoints(folder: Path) -> Iterator[Promise]:
    """Truncate a checkpoint at each of its files, like a kill during saving."""
    whole = folder / "damage-whole"
    assert finish(start(lambda: train(whole, method="triplet")))
    last = Path(find_checkpoint(whole) or "")
    files = sorted(last.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    equal = 0
    for place in range(len(files)):
        for share in (0.0, 0.5):
            run = folder / f"damaged-{place}-{share}"
            shutil.copytree(whole, run)
            for file in files[place + 1 :]:
                (run / last.name / file.name).unlink()
            cut = run / last.name / files[place].name
            cut.write_bytes(cut.read_bytes()[: int(share * cut.stat().st_size)])
            done = finish(start(lambda r=run: train(r, method="triplet", resume=True)))
            equal += done and differ(run, whole) == 0
            shutil.rmtree(run)
    yield Promise(
        f"a last checkpoint cut short in each of its {len(files)} files",
        "resumes from the checkpoint before, bit for bit",
        2 * len(files),
        equal,
    )


def fill_disks(folder: Path) -> Iterator[Promise]:
    """Limit the size of files, like on a disk that gets full."""
    whole = folder / "disk-whole"
    assert finish(start(lambda: train(whole, method="triplet")))
    checkpoint = Path(find_checkpoint(whole) or "")
    largest = max(path.stat().st_size for path in checkpoint.iterdir())
    sizes = [int(share * largest) for share in (0.005, 0.02, 0.1, 0.3, 0.6, 0.99)]
    held = 0
    for size in sizes:
        run = folder / f"disk-{size}"
        # Steps before the disk is full.
        assert finish(start(lambda r=run: train(r, method="triplet", max_steps=3)))

        def fail(run: Path = run, size: int = size) -> None:
            from hf_bat import HfBatError

            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            try:
                train(run, method="triplet", resume=True)
            except HfBatError as error:
                assert "cannot save" in str(error) and "checkpoint-3 is whole" in str(error)
                return
            raise AssertionError("nothing was said")

        said = finish(start(fail))
        resumed = finish(start(lambda r=run: train(r, method="triplet", resume=True)))
        held += said and resumed
    yield Promise(
        f"a disk that gets full while a checkpoint is saved, at {len(sizes)} sizes",
        "one line, the last whole checkpoint stays, and the run continues from it",
        len(sizes),
        held,
    )


def use_workers(folder: Path) -> Iterator[Promise]:
    """Load the rows in the main process, in workers, and in persistent workers."""
    kinds: dict[str, dict[str, Any]] = {
        "none": {},
        "workers": {"dataloader_num_workers": 2},
        "persistent": {"dataloader_num_workers": 2, "dataloader_persistent_workers": True},
    }
    held = 0
    for method in METHODS[::2]:
        for kind, options in kinds.items():
            run = folder / f"workers-{method}-{kind}"
            options = {**options, "eval_strategy": "epoch", "save_strategy": "no"}
            assert finish(start(lambda r=run, m=method, o=options: train(r, method=m, **o)))
            held += kind != "none" and differ(run, folder / f"workers-{method}-none") == 0
    trials = len(METHODS[::2]) * 2
    yield Promise(
        "data workers, also persistent ones, with dropout", "the weights of none", trials, held
    )


def use_ranks(folder: Path) -> Iterator[Promise]:
    """Train on 1 to 4 ranks, with numbers of rows that are not divisible by the ranks."""
    held, sizes, worst = 0, (96, 97, 101), 0.0
    for rows in sizes:
        for ranks in (1, 2, 3, 4):
            run = folder / f"ranks-{rows}-{ranks}"
            with socket.socket() as free:
                free.bind(("localhost", 0))
                port = str(free.getsockname()[1])
            options: dict[str, Any] = {
                "method": "triplet", "per_device_train_batch_size": 12 // ranks, "optim": "sgd",
                "per_device_eval_batch_size": 12 // ranks, "learning_rate": 0.1, "save_strategy": "no",
                "max_steps": 2 * -(-rows // 12), "use_cpu": False,
            }  # fmt: skip

            def train_rank(run: Path = run, rows: int = rows, options: Any = options) -> None:
                # Dropout draws different numbers on each rank.
                trainer = make_trainer(
                    run,
                    made_rows(rows),
                    trainer_options={"eval_dataset": made_rows(rows, seed=9)},
                    **options,
                )
                trainer.train()
                loss = trainer.evaluate()["eval_loss"]
                if trainer.is_world_process_zero():
                    torch.save([weights_of(trainer.model), loss], f"{run}.pt")

            world = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "localhost", "MASTER_PORT": port}
            places = [
                {**world, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)
            ]
            children = [start(train_rank, **(place if ranks > 1 else {})) for place in places]
            ended = all([finish(child) for child in children])
            if ranks > 1:
                difference = differ(run, folder / f"ranks-{rows}-1") if ended else float("inf")
                worst = max(worst, difference)
                held += difference < 1e-5
    yield Promise(
        f"2, 3 and 4 ranks with {', '.join(map(str, sizes))} rows, 12 per step",
        f"weights and `eval_loss` of one rank (largest difference {worst:.0e})",
        3 * len(sizes),
        held,
    )


# ---- attacks ------------------------------------------------------------------------------------


def attack(path: Path | None, log: Path, recipe: str, seconds: float = 0.0) -> None:
    """Attack synthetic rows, and record the queries and the results."""
    with open(log, "a", buffering=1) as asked:

        def model(pairs: list[Any]) -> Any:
            asked.write(json.dumps(pairs) + "\n")
            time.sleep(seconds)
            return hashed(pairs)

        classifier = CallableModel(model, name="hashed")
        options: Any = {"synonyms": SYNONYMS, "antonyms": ANTONYMS, "batch_size": BATCH}
        report = Attack(recipe, classifier, **options).run(made_inputs(60, seed=11), path)
    log.with_suffix(".result").write_text(json.dumps(result(report)))


def kill_attacks(folder: Path, trials: int, rng: random.Random) -> Iterator[Promise]:
    """Kill attacks at random times."""
    equal = few = count = 0
    for recipe in ("synonym", "antonym"):
        whole = folder / f"{recipe}-whole"
        assert finish(start(attack, None, whole, recipe))
        batches = len(whole.read_text().splitlines())
        for trial in range(4 * trials):
            rows, log = folder / f"{recipe}-{trial}.jsonl", folder / f"{recipe}-{trial}"
            child = start(attack, rows, log, recipe, 0.01)
            was_killed = kill_after(child, rng.uniform(0.1, 0.9) * 0.011 * batches)
            before = {tuple(p) for line in log.read_text().splitlines() for p in json.loads(line)}
            log.unlink()
            assert finish(start(attack, rows, log, recipe))
            after = {tuple(p) for line in log.read_text().splitlines() for p in json.loads(line)}
            count += was_killed
            few += was_killed and len(before & after) <= BATCH
            ours, theirs = (p.with_suffix(".result").read_text() for p in (log, whole))
            equal += was_killed and ours == theirs
    yield Promise(f"{count} killed attacks", "the report of one that was not killed", count, equal)
    yield Promise(f"{count} killed attacks", "at most one batch is asked again", count, few)


def fill_attack_disks(folder: Path) -> Iterator[Promise]:
    """Attack on a disk that gets full."""
    held, sizes = 0, (500, 3_000, 10_000, 30_000)
    for size in sizes:
        rows, log = folder / f"full-{size}.jsonl", folder / f"full-{size}"

        def fail(rows: Path = rows, log: Path = log, size: int = size) -> None:
            from hf_bat import HfBatError

            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            try:
                attack(rows, Path(os.devnull), "synonym")
            except HfBatError as error:
                assert rows.name in str(error)
                return
            raise AssertionError("nothing was said")

        said = finish(start(fail))
        held += said and finish(start(attack, rows, log, "synonym"))
    yield Promise(
        f"an attack on a disk that gets full, at {len(sizes)} sizes",
        "one line with the file's name, and the next start continues",
        len(sizes),
        held,
    )


SWEEP = """
import pathlib, sys
from hf_bat.sweep import Run, run_all, schedule
schedule._WORKER, schedule.identify = "fake_worker", dict
run_all([Run("0123456789abcdef", {"seed": 16, "use_cpu": True})], pathlib.Path(sys.argv[1]))
"""


def kill_sweeps(folder: Path, trials: int) -> Iterator[Promise]:
    """Kill sweeps while their runs are executing."""
    from sweep_helpers import WORKER

    (folder / "fake_worker.py").write_text(WORKER)
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}
    held = 0
    for trial in range(trials):
        command = [sys.executable, "-c", SWEEP, str(folder / f"sweep-{trial}")]
        sweep = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        path = folder / f"sweep-{trial}" / "runs" / "0123456789abcdef" / "pid"
        while not (path.exists() and path.read_text()):
            time.sleep(0.02)
        sweep.kill()
        sweep.wait()
        deadline = time.monotonic() + 10
        process = Path("/proc", path.read_text(), "stat")
        while time.monotonic() < deadline:
            if not process.exists() or process.read_text().rpartition(")")[2].split()[0] == "Z":
                held += 1
                break
            time.sleep(0.02)
    yield Promise("a killed sweep", "its runs end with it", trials, held)


# ---- other commands -----------------------------------------------------------------------------


def run_command(words: list[str]) -> None:
    """Run an `hf-bat` command, which must succeed."""
    assert run_cli(words) == 0


def read_outputs(folder: Path) -> dict[str, Any]:
    """Return file -> contents, without parts that differ between two runs of the same command."""
    outputs: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        outputs[path.name] = path.read_text()
        if path.suffix == ".json":
            outputs[path.name] = json.loads(outputs[path.name])
            for key in ("date", "cost"):
                outputs[path.name].pop(key, None)
    return outputs


def kill_commands(folder: Path, trials: int, rng: random.Random) -> Iterator[Promise]:
    """Kill certificates, contrasts and augmentations at random times."""
    model, data, table = folder / "model", folder / "data.jsonl", folder / "synonyms.json"
    bert = tiny_model("bert")
    name_labels(bert.config, get_task("snli"))
    bert.save_pretrained(model)
    tokenizer_for_made_rows().save_pretrained(model)
    data.write_text(
        "".join(json.dumps({**row, "category": "made"}) + "\n" for row in made_rows(400))
    )
    table.write_text(json.dumps({w: list(o) for w, o in TRAINING_SYNONYMS.items()}))
    for name, words in {
        "certify": "certify --model {model} --task snli --data {data} --synonyms {table} --seed 3 "
        "--json {out}/a.json --rows {out}/a.rows.jsonl",
        "contrast": "contrast --model {model} --data {data} --json {out}/a.json --rows {out}/a.rows.jsonl",
        "augment": "augment --task snli --data {data} --edits synonym typo --copies 3 --output-dir {out}",
    }.items():

        def make_words(out: str, words: str = words) -> list[str]:
            (folder / out).mkdir(exist_ok=True)
            paths = {"model": model, "data": data, "table": table, "out": folder / out}
            return words.format(**paths).split()

        began = time.monotonic()
        assert finish(start(run_command, make_words(f"{name}-whole")))
        seconds = time.monotonic() - began
        count = held = 0
        for trial in range(4 * trials):
            again = make_words(f"{name}-{trial}")
            was_killed = kill_after(start(run_command, again), rng.uniform(0.05, 0.95) * seconds)
            same = finish(start(run_command, again)) and (
                read_outputs(folder / f"{name}-{trial}") == read_outputs(folder / f"{name}-whole")
            )
            count, held = count + was_killed, held + (was_killed and same)
        yield Promise(
            f"{count} killed `hf-bat {name}`", "the next start gives the same files", count, held
        )


# ---- the table ----------------------------------------------------------------------------------


def format_table(promises: list[Promise]) -> str:
    """Return the promises as a Markdown table."""
    lines = ["| tried | promise | held |", "|---|---|---|"]
    lines += [f"| {p.tried} | {p.promise} | {p.held} of {p.trials} |" for p in promises]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the trials, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--trials", type=int, default=1, help="trials per kind of kill (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the kill times (default: 0)")
    parser.add_argument("--write", type=Path, help="page with the table to replace")
    args = parser.parse_args()
    rng, promises = random.Random(args.seed), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for measured in (
            kill_attacks(folder, args.trials, rng),
            fill_attack_disks(folder),
            kill_sweeps(folder, args.trials),
            kill_commands(folder, args.trials, rng),
            damage_checkpoints(folder),
            fill_disks(folder),
            use_workers(folder),
            use_ranks(folder),
            kill_trainings(folder, args.trials, rng),
        ):
            for promise in measured:
                promises.append(promise)
                print(
                    f"{promise.held} of {promise.trials}: {promise.tried}: {promise.promise}",
                    flush=True,
                )
    table = format_table(promises)
    if args.write:
        before, _, rest = args.write.read_text("utf-8").partition(START)
        args.write.write_text(f"{before}{START}{table}{END}{rest.partition(END)[2]}", "utf-8")
    else:
        print(table)
    return int(any(promise.held < promise.trials for promise in promises))


if __name__ == "__main__":
    sys.exit(main())
