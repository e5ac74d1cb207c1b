"""Trains the cases of `test_trainer_ranks.py`; also a script, for several processes.

python -m accelerate.commands.launch --multi_gpu --num_processes 2 rank_cases.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from training_helpers import made_rows, make_trainer, weights_of  # noqa: E402


def users_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Cross-entropy as a user writes it, divided by the window's number of items."""
    total = torch.nn.functional.cross_entropy(outputs.logits, labels, reduction="sum")
    return total / num_items_in_batch


CASES: dict[str, dict[str, Any]] = {
    "normal": {"method": "normal", "class_weights": [0.5, 1.0, 3.0]},
    "safer": {"method": "safer"},
    "pairwise": {"method": "pairwise", "num_obstinate": 2},
    "triplet": {"method": "triplet", "pooling": "head_input", "weight_warmup_steps": 0.5},
    "authors": {"method": "triplet", "mask": "authors", "clean_epochs": 1},
    "likelihood": {"method": "likelihood", "class_weights": [0.5, 1.0, 3.0], "alpha": 0.7},
    "own loss": {"method": "triplet", "trainer_options": {"compute_loss_func": users_loss}},
}


def run_cases(folder: Path, ranks: int) -> dict[str, Any]:
    """Train each case on 40 rows, 4 rows a micro-batch over all ranks: 10, so that 4+4+2 a window."""
    rows = made_rows(40)
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
            "metrics": trainer.evaluate(made_rows(17, seed=9)),
            "logits": torch.tensor(trainer.predict(made_rows(11, seed=8)).predictions),
        }
    return found


if __name__ == "__main__":
    import os

    torch.set_num_threads(1)
    output = Path(sys.argv[1])
    results = run_cases(output, int(os.environ["WORLD_SIZE"]))
    torch.save(results, output / f"rank{os.environ['RANK']}.pt")
    torch.distributed.destroy_process_group()
