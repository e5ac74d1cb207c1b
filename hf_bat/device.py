"""Device-specific choices: double precision, and attention kernels."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import torch
from torch.backends import cuda

logger = logging.getLogger(__name__)

# Device types without float64.
_WITHOUT_DOUBLE = ("mps",)
# The features of the CPU, on Linux.
_CPU = Path("/proc/cpuinfo")
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


def has_fast_bf16(device_type: str | None = None) -> bool:
    """Return whether a device computes in bfloat16 natively.

    Args:
        device_type: "cuda", "cpu", ... If `None`, the GPU if there is one, or else the CPU.
    """
    if device_type == "cuda" or (device_type is None and torch.cuda.is_available()):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type not in (None, "cpu"):
        return True
    try:
        flags = _CPU.read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", flags) is not None


def warn_about_bf16(device_type: str, option: str) -> None:
    """Warn if bfloat16 was asked for by an option on a CPU that emulates it."""
    # A system without this file does not say what its CPU can do.
    if device_type == "cpu" and _CPU.exists() and not has_fast_bf16("cpu"):
        # Measured with MiniLM-L6 on a CPU with AVX2 only: 22 s against 1.5 s for a step of 32 pairs.
        logger.warning(
            "%s: this CPU emulates bfloat16, which is more than ten times slower than float32; leave %s "
            "out",
            option,
            option,
        )


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
