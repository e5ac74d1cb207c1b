"""Train the cases of `test_trainer_ranks.py`; also used as a script for several processes.

python -m accelerate.commands.launch --multi_gpu --num_processes 2 rank_cases.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the checkout's own hf_bat

from tiny_models import tiny_model  # noqa: E402
from training_helpers import SUBSTITUTES, made_rows, make_trainer, weights_of  # noqa: E402

from hf_bat import HfBatError  # noqa: E402
from hf_bat.attack.ranks import leave  # noqa: E402


def users_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Return the cross-entropy divided by the number of items in the window, as written by a user."""
    total = torch.nn.functional.cross_entropy(outputs.logits, labels, reduction="sum")
    return total / num_items_in_batch


CASES: dict[str, dict[str, Any]] = {
    "normal": {"method": "normal", "class_weights": [0.5, 1.0, 3.0]},
    "safer": {"method": "safer"},
    "pairwise": {"method": "pairwise", "num_obstinate": 2},
    "triplet": {"method": "triplet", "pooling": "head_input", "weight_warmup_steps": 0.5},
    "chunks": {"method": "triplet", "contrastive_chunk": 3},
    "authors": {"method": "triplet", "mask": "authors", "clean_epochs": 1},
    "likelihood": {"method": "likelihood", "class_weights": [0.5, 1.0, 3.0], "alpha": 0.7},
    "counterfactual": {
        "method": "counterfactual",
        "class_weights": [0.5, 1.0, 3.0],
        "beta": 1.3,
        "clean_epochs": 1,
    },
    "a2t": {
        "method": "a2t",
        "clean_epochs": 0,
        "attack_share": 0.8,
        "model": tiny_model("bert", seed=3),
        "trainer_options": {"synonyms": SUBSTITUTES},
    },
    "own loss": {"method": "triplet", "trainer_options": {"compute_loss_func": users_loss}},
}


# With 12 rows per step, 0, 1 or 5 rows are left over.
UNEVEN = (96, 97, 101)


def adversarial_rows(folder: Path) -> list[list[Any]]:
    """Return what A2T found in each epoch, and the files that it wrote."""
    names = sorted(path.name for path in (folder / "_adversarial").iterdir())
    lines = [(folder / "_adversarial" / name).read_text().splitlines() for name in names]
    rows = [[json.loads(line) for line in part] for part in lines]
    kept = ("idx", "outcome", "perturbed", "queries")
    return [names, *([[row[key] for key in kept] for row in part] for part in rows)]


def run_cases(folder: Path, ranks: int) -> dict[str, Any]:
    """Train each case on 41 rows in 11 micro-batches of 4 rows over all ranks, with windows of 4, 4 and 3.

    The last micro-batch has one row, so the second rank has no row.
    """
    rows = made_rows(41)
    for row in rows[8:20]:
        row["premise"], row["hypothesis"] = "Two girls.", "It waits."
    found = {}
    for name, options in CASES.items():
        trainer = make_trainer(
            folder,
            rows,
            per_device_train_batch_size=4 // ranks,
            per_device_eval_batch_size=3,
            gradient_accumulation_steps=4,
            num_train_epochs=2,
            optim="sgd",
            learning_rate=0.1,
            eval_distances=True,
            **options,
        )
        trainer.train()
        found[name] = {
            "weights": weights_of(trainer.model),
            "logs": trainer.state.log_history,
            "adversarial": adversarial_rows(folder) if name == "a2t" else None,
            "metrics": trainer.evaluate(made_rows(17, seed=9)),
            "logits": torch.tensor(trainer.predict(made_rows(11, seed=8)).predictions),
        }
    return found


def run_uneven(folder: Path, ranks: int, rows: int) -> dict[str, Any]:
    """Train and evaluate with 12 rows per step over all ranks, as if started by `torchrun` on a CPU."""
    trainer = make_trainer(
        folder,
        made_rows(rows),
        method="triplet",
        class_weights=[0.5, 1.0, 3.0],
        per_device_train_batch_size=12 // ranks,
        per_device_eval_batch_size=12 // ranks,
        num_train_epochs=2,
        optim="sgd",
        learning_rate=0.1,
        use_cpu=False,
        save_strategy="steps",
        save_steps=rows // 12,
    )
    trainer.train()
    kept = ("loss", "loss_ce", "loss_triplet", "fickle_valid", "grad_norm")
    logs = [{k: e[k] for k in kept} for e in trainer.state.log_history if "loss" in e]
    metrics = trainer.evaluate(made_rows(rows, seed=9))
    weights = weights_of(trainer.model)
    # One step before the end of the first epoch, so the resumed loader has to skip batches.
    trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{rows // 12}"))
    return {
        "weights": weights,
        "resumed": weights_of(trainer.model),
        "logs": logs,
        "eval_loss": metrics["eval_loss"],
        "ranks": trainer.accelerator.num_processes,
    }


def run_defended(folder: Path, ranks: int) -> dict[str, Any]:
    """Train four steps with the preprocessing defense, and save two checkpoints and a model."""
    trainer = make_trainer(
        folder / "out",
        made_rows(16),
        method="safer",
        canonicalize=True,
        clean_epochs=0,
        per_device_train_batch_size=4 // ranks,
        max_steps=4,
        optim="sgd",
        learning_rate=0.1,
        use_cpu=ranks == 1,
        save_strategy="steps",
        save_steps=2,
    )
    trainer.train()
    trainer.save_model(str(folder / "model"))
    return {"weights": weights_of(trainer.model), "ranks": trainer.accelerator.num_processes}


def run_in_deepspeed(folder: Path, ranks: int, stage: int) -> dict[str, Any]:
    """Train in DeepSpeed, or plainly with stage 0; then resume from the middle of the first epoch."""
    config = {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_optimization": {"stage": stage, "stage3_gather_16bit_weights_on_model_save": True},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    # Built first, because transformers splits models as it builds them once it knows of stage 3.
    models = [tiny_model("bert") for _ in range(4)]
    results = {}
    for method in ("triplet", "counterfactual"):
        options = {
            "method": method,
            "deepspeed": config if stage else None,
            "per_device_train_batch_size": 4 // ranks,
            "gradient_accumulation_steps": 4,
            "num_train_epochs": 2,
            "optim": "sgd",
            "learning_rate": 0.1,
            "use_cpu": stage == 0,
            "save_strategy": "steps",
            "save_steps": 2,
        }
        trainer = make_trainer(folder / method, made_rows(41), model=models.pop(), **options)
        trainer.train()
        trainer.save_model(str(folder / method / "whole"))
        logs = [entry for entry in trainer.state.log_history if "loss" in entry]
        # accelerate wraps a model in DeepSpeed once.
        resumed = make_trainer(folder / method, made_rows(41), model=models.pop(), **options)
        resumed.train(resume_from_checkpoint=str(folder / method / "checkpoint-2"))
        resumed.save_model(str(folder / method / "resumed"))
        results[method] = {"logs": logs, "wrapped": trainer.is_deepspeed_enabled}
    return results


def stopping_message(folder: Path, rank: int) -> str:
    """Return the error of a rank if the gradient is infinite in the last rank's second backward pass."""
    trainer = make_trainer(folder, made_rows(16), method="triplet", per_device_train_batch_size=2)
    calls = []

    def poison(gradient: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return gradient * float("inf") if rank == 1 and len(calls) == 2 else gradient

    trainer.model.classifier.weight.register_hook(poison)
    try:
        trainer.train()
    except HfBatError as error:
        return str(error)
    return "not stopped"


if __name__ == "__main__":
    import os

    torch.set_num_threads(1)
    output = Path(sys.argv[1])
    if sys.argv[2:] == ["uneven"]:
        world = int(os.environ["WORLD_SIZE"])
        results = {rows: run_uneven(output / str(rows), world, rows) for rows in UNEVEN}
    elif sys.argv[2:] == ["defended"]:
        results = run_defended(output, int(os.environ["WORLD_SIZE"]))
    elif sys.argv[2:3] == ["deepspeed"]:
        results = run_in_deepspeed(output, int(os.environ["WORLD_SIZE"]), int(sys.argv[3]))
    else:
        results = run_cases(output, int(os.environ["WORLD_SIZE"]))
        results["stopped"] = stopping_message(output, int(os.environ["RANK"]))
    torch.save(results, output / f"rank{os.environ['RANK']}.pt")
    leave()
    if sys.argv[2:3] == ["deepspeed"]:
        sys.exit()  # DeepSpeed keeps process groups of its own
    # This thread aborts the rank when Python shuts down: "terminate called without an active exception".
    alive = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    assert not [name for name in alive if "gloo" in name], alive
