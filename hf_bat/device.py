"""Device-specific choices: double precision, and attention kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch
from torch.backends import cuda

# Device types without float64.
_WITHOUT_DOUBLE = ("mps",)
# Global to the process, as torch's switch is: active uses, and the setting before them.
_lock = Lock()
_active = 0
_setting_before = True


def get_double_dtype(device: torch.device) -> torch.dtype:
    """Return the most precise dtype of a device: float64, or float32 on Apple's GPUs."""
    return torch.float32 if device.type in _WITHOUT_DOUBLE else torch.float64


def cast_to_double(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in the most precise dtype of its device; see `get_double_dtype`."""
    return tensor.to(get_double_dtype(tensor.device))


@contextmanager
def disable_cudnn_attention() -> Iterator[None]:
    """Keep torch's attention from using cuDNN; the other kernels give equal results up to rounding.

    On GPUs such as the H100, torch gives half-precision attention to cuDNN, which builds a plan for each
    new (rows, length): a tenth of a second or more. Training steps with versions and batches of attacks
    hardly ever repeat a shape. If the user has allowed cuDNN's kernel only, it stays enabled.

    Source:
        The measurements are in docs/benchmarks/training.md; another package measured the same on a B200
        (modelscope/FunASR #3704).
    """
    global _active, _setting_before
    with _lock:
        if not _active:
            _setting_before = cuda.cudnn_sdp_enabled()
            others = (cuda.flash_sdp_enabled, cuda.mem_efficient_sdp_enabled, cuda.math_sdp_enabled)
            cuda.enable_cudnn_sdp(_setting_before and not any(enabled() for enabled in others))
        _active += 1
    try:
        yield
    finally:
        with _lock:
            _active -= 1
            # Uses in several threads may overlap: only the last one to end restores the setting.
            if not _active:
                cuda.enable_cudnn_sdp(_setting_before)
