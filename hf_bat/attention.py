"""Attention whose cost does not depend on whether a batch of that shape was seen before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from torch.backends import cuda

# The setting is the process's, and so are these: how many uses are inside, and what it was before them.
_lock = Lock()
_inside = 0
_before = True


@contextmanager
def without_cudnn_attention() -> Iterator[None]:
    """Keep torch's attention off cuDNN; the kernels that are left give the same up to rounding.

    On GPUs such as the H100 torch gives half-precision attention to cuDNN, which builds a plan for each
    (rows, length) it has not seen: a tenth of a second and more. A step with versions and an attack's
    batches hardly ever repeat a shape. Whoever allows no other kernel than cuDNN's keeps it.

    Source:
        The measurements are in docs/benchmarks/training.md; the same was found of another package on
        a B200 (modelscope/FunASR #3704).

    Example:
        >>> import torch
        >>> with without_cudnn_attention():
        ...     torch.backends.cuda.cudnn_sdp_enabled()
        False
    """
    global _inside, _before
    with _lock:
        if not _inside:
            _before = cuda.cudnn_sdp_enabled()
            others = (cuda.flash_sdp_enabled, cuda.mem_efficient_sdp_enabled, cuda.math_sdp_enabled)
            cuda.enable_cudnn_sdp(_before and not any(enabled() for enabled in others))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                cuda.enable_cudnn_sdp(_before)
