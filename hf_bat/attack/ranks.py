"""The processes of a distributed run, as far as an attack minds them."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

from hf_bat.errors import HfBatError


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) outside a distributed launch."""
    import torch.distributed

    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    running = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not launched and not running:
        return 0, 1
    from accelerate import PartialState

    state = PartialState()
    return state.process_index, state.num_processes


def own_device(device: str | None) -> str | None:
    """The device given; under a distributed launch, where none is given, the process's own."""
    if device is not None or rank_and_world()[1] == 1:
        return device
    from accelerate import PartialState

    return str(PartialState().device)


def gather(found: list[Any], error: BaseException | None, world: int) -> list[Any]:
    """Put the ranks' lists together, in the order of the ranks, on every rank.

    A rank that failed takes part too, so that no other waits for it in vain.

    Args:
        found: this rank's list; lengths may differ.
        error: what went wrong on this rank, if anything did.
        world: how many ranks there are.

    Raises:
        BaseException: this rank's own error.
        HfBatError: another rank failed.
    """
    if world == 1:
        if error is not None:
            raise error
        return found
    from accelerate.utils import gather_object

    message = None if error is None else f"{type(error).__name__}: {error}"
    everything = gather_object([(message, found)])
    if error is not None:
        raise error
    for rank, (failure, _) in enumerate(everything):
        if failure is not None:
            raise HfBatError(f"the attack failed on rank {rank}: {failure}")
    return [item for _, part in everything for item in part]


def wait(world: int) -> None:
    """Wait until every rank has come here."""
    if world > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def leave() -> None:
    """End this process's part in a distributed run; does nothing outside one.

    Called last by what is started as a program and has done its work: a process that exits with its group
    open can abort while Python shuts down, for gloo's threads still hold tensors then
    (pytorch/pytorch#179291). Not after an error: other ranks may wait in the middle of their work, and
    closing a group can wait for them.
    """
    # Commands that never needed torch are not to wait for its import now.
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        group = distributed.group.WORLD
        distributed.destroy_process_group()
        # A wrapped model holds the group, and a trainer, being a cycle, its model.
        gc.collect()
        # Now its threads end. A name lets go of a group without Python's lock; a wrapped model, were it the
        # last to let go, would keep the lock while it waits for a thread, which may itself wait for the lock.
        del group
