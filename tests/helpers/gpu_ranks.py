"""Train on a GPU in several processes or with sharding, for `test_gpu.py`.

python -m torch.distributed.run --nproc_per_node 2 gpu_ranks.py FOLDER gloo
python -m torch.distributed.run --nproc_per_node 1 gpu_ranks.py FOLDER fsdp 2
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from test_gpu import CASES, RANK_CASES
from tiny_models import tiny_model
from training_helpers import logged, made_rows, make_trainer


def options_of(words: list[str]) -> dict[str, Any]:
    if words[0] == "gloo":
        # Accelerate would otherwise put the model of the second process on a second GPU.
        Accelerator.local_process_index = property(lambda _: 0)
        return {"ddp_backend": "gloo"}
    config = {
        "version": int(words[1]),
        "transformer_layer_cls_to_wrap": ["BertLayer"],
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    }
    return {"fsdp": True, "fsdp_config": config}


def main() -> None:
    folder, options = Path(sys.argv[1]), options_of(sys.argv[2:])
    found: dict[str, Any] = {"losses": {}, "wrapped": True}
    for case in RANK_CASES:
        trainer = make_trainer(
            folder,
            made_rows(16),
            model=tiny_model("bert", seed=3),
            use_cpu=False,
            optim="sgd",
            learning_rate=0.1,
            max_steps=4,
            per_device_train_batch_size=4 // int(os.environ["WORLD_SIZE"]),
            **options,
            **CASES[case],
        )
        trainer.train()
        found["losses"][case] = logged(trainer, "loss")
        found["wrapped"] &= trainer.accelerator.distributed_type.name == "FSDP"
    if int(os.environ["RANK"]) == 0:
        torch.save(found, folder / "ends.pt")
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
