"""Attention whose cost does not depend on whether a batch of that shape was seen before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def without_cudnn_attention() -> Iterator[None]:
    """Keep torch's attention off cuDNN, on whatever device; the kernels that are left give the same.

    On GPUs from Hopper on, torch gives half-precision attention with a padding mask to cuDNN, which
    builds a plan for each (rows, length) it has not seen: a tenth of a second and more. A step with
    versions and an attack's batches hardly ever repeat a shape.

    Source:
        The measurements are in docs/benchmarks/training.md; the same was found of another package on
        a B200 (modelscope/FunASR #3704).

    Example:
        >>> with without_cudnn_attention():
        ...     torch.backends.cuda.cudnn_sdp_enabled()
        False
    """
    was_enabled = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(was_enabled)
