"""The processes of a distributed run: their ranks, and their exchange of objects."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any, TypeVar

from hf_bat.errors import HfBatError

T = TypeVar("T")


def rank_and_world() -> tuple[int, int]:
    """Return this process's rank and the number of processes; (0, 1) outside a distributed launch."""
    import torch.distributed

    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    running = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not launched and not running:
        return 0, 1
    state = _get_state()
    return state.process_index, state.num_processes


def _get_state() -> Any:
    """Return accelerate's state of this process, which connects it with the others."""
    import torch
    from accelerate import PartialState

    # Otherwise each process that torchrun starts on a CPU would work by itself.
    return PartialState(cpu=not torch.accelerator.is_available())


def choose_rank_device(device: str | None) -> str | None:
    """Return the device; if it is `None` under a distributed launch, the process's own."""
    if device is not None or rank_and_world()[1] == 1:
        return device
    return str(_get_state().device)


def gather(items: list[T], error: BaseException | None = None) -> list[T]:
    """Concatenate the lists of all ranks, in the order of the ranks, on every rank.

    A rank that failed gives its error, so that the others do not wait for it forever: it raises the error
    itself, and every other rank raises an `HfBatError`.
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
    """End this process's part in a distributed run; do nothing outside one.

    A program calls it last, after its work: a process that exits with its group open can abort while Python
    shuts down, because gloo's threads still hold tensors then (pytorch/pytorch#179291). Do not call it after
    an error: other ranks may wait in the middle of their work, and closing a group can wait for them.
    """
    # A command that never needed torch must not wait for its import now.
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        group = distributed.group.WORLD
        distributed.destroy_process_group()
        # A wrapped model holds the group, and a trainer, which is a reference cycle, holds its model.
        gc.collect()
        # Now the group's threads end. Deleting the name releases the group without Python's lock. A wrapped
        # model, if it were the last to release it, would keep the lock while it waits for a thread, which may
        # itself wait for the lock.
        del group
