"""Ranks of the processes in a distributed run, and the exchange of objects between them."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any, TypeVar

from hf_bat.errors import HfBatError

T = TypeVar("T")


def rank_and_world() -> tuple[int, int]:
    """Return the rank of this process and the number of processes, or (0, 1) if not distributed."""
    import torch.distributed

    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    running = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not launched and not running:
        return 0, 1
    state = _get_state()
    return state.process_index, state.num_processes


def _get_state() -> Any:
    """Return accelerate's state for this process. It connects the process with the others."""
    import torch
    from accelerate import PartialState

    # Without `cpu`, the processes that torchrun starts on a CPU would not be connected.
    return PartialState(cpu=not torch.accelerator.is_available())


def choose_rank_device(device: str | None) -> str | None:
    """Return the device, or the device of this process if it is `None` in a distributed run."""
    if device is not None or rank_and_world()[1] == 1:
        return device
    return str(_get_state().device)


def gather(items: list[T], error: BaseException | None = None) -> list[T]:
    """Concatenate the lists of all ranks, in the order of the ranks, on every rank.

    A rank that failed must pass its error, so the other ranks do not wait forever. This rank then raises the
    error itself, and all other ranks raise an `HfBatError`.
    """
    if rank_and_world()[1] == 1:
        if error is not None:
            raise error
        return items
    from accelerate.utils import gather_object

    message = None if error is None else f"{type(error).__name__}: {error}"
    gathered: list[tuple[str | None, list[Any]]] = gather_object([(message, items)])
    if error is not None:
        raise error
    for rank, (failure, _) in enumerate(gathered):
        if failure is not None:
            raise HfBatError(f"the attack failed on rank {rank}: {failure}")
    return [item for _, part in gathered for item in part]


def wait() -> None:
    """Wait until every rank has reached this call."""
    if rank_and_world()[1] > 1:
        _get_state().wait_for_everyone()


def leave() -> None:
    """Leave the process group of a distributed run. Without a process group, do nothing.

    Call this at the end of a program. A process that exits with an open group can abort while Python shuts
    down, because gloo's threads still hold tensors (pytorch/pytorch#179291). Do not call it after an error,
    because closing a group can wait for ranks that are still in the middle of their work.
    """
    # Do not import torch here, because commands that never needed it should not wait for the import.
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        group = distributed.group.WORLD
        distributed.destroy_process_group()
        # A wrapped model refers to the group, and a trainer, which is a reference cycle, refers to its model.
        gc.collect()
        # This ends the group's threads. Deleting the name releases the group without holding Python's lock.
        # If a wrapped model released it last, it would hold the lock while waiting for a thread, and this
        # thread may be waiting for the lock.
        del group
