"""Repeatedly leave a group of two ranks whose threads are slow to release tensors.

Run this script once per rank. The arguments are the rank, a folder for the rendezvous and the repeats.
"""

import gc
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.nn  # defaults of its functions would keep the first group alive otherwise
from torch.nn.parallel import DistributedDataParallel

from hf_bat.attack.ranks import leave

THREADS = Path("/proc/self/task")


def names() -> dict[str, str]:
    return {thread.name: (thread / "comm").read_text().strip() for thread in THREADS.iterdir()}


def train(rank: int) -> None:
    """Create a wrapped model in a reference cycle, as in a trainer, and gather objects at the end."""
    trainer = {"model": DistributedDataParallel(torch.nn.Linear(2, 1))}
    trainer["itself"] = trainer
    trainer["model"](torch.ones(1, 2)).sum().backward()
    dist.all_gather_object([None, None], rank)


def main(rank: int, folder: str, rounds: int) -> None:
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # both ranks on one core
    gc.freeze()  # so garbage collection does not give the threads time to continue
    for number in range(rounds):
        before = names()
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/{number}", rank=rank, world_size=2
        )
        assert "gloo_tcp_loop" in names().values()
        for thread in names().keys() - before.keys():
            os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))
        train(rank)
        leave()
        assert not dist.is_initialized() and "gloo_tcp_loop" not in names().values()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
