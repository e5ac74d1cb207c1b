"""Device-specific settings for double precision, bfloat16 and attention kernels."""

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
# File with the CPU features on Linux.
_CPU = Path("/proc/cpuinfo")
# Active uses and the setting before them. These are global to the process, like torch's switch.
_lock = Lock()
_active = 0
_setting_before = True


def get_double_dtype(device: torch.device) -> torch.dtype:
    """Return the device's most precise dtype: float64, or float32 on Apple GPUs."""
    return torch.float32 if device.type in _WITHOUT_DOUBLE else torch.float64


def cast_to_double(tensor: torch.Tensor) -> torch.Tensor:
    """Cast a tensor to the most precise dtype of its device; see `get_double_dtype`."""
    return tensor.to(get_double_dtype(tensor.device))


def has_fast_bf16(device_type: str | None = None) -> bool:
    """Return whether the device computes in bfloat16 natively.

    Args:
        device_type: "cuda", "cpu", ... If `None`, the GPU if available, or the CPU.
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
    """Warn if an option requests bfloat16 on a CPU that emulates it."""
    # Without this file, the CPU features are unknown.
    if device_type == "cpu" and _CPU.exists() and not has_fast_bf16("cpu"):
        # Measured with MiniLM-L6 on a CPU with AVX2 only: 22 s against 1.5 s for a step of 32 pairs.
        logger.warning(
            "%s: this CPU emulates bfloat16, which is more than ten times slower than float32; omit %s",
            option,
            option,
        )


@contextmanager
def disable_cudnn_attention() -> Iterator[None]:
    """Keep torch's attention from using cuDNN. Other kernels give the same results up to rounding.

    On GPUs such as the H100, torch uses cuDNN for half-precision attention. cuDNN builds a plan for each
    new shape (rows, length), which takes a tenth of a second or more, and training steps with versions
    and batches of attacks rarely repeat a shape. If the user has only enabled cuDNN's kernel, it remains
    enabled.

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
            # Uses in several threads may overlap. The last one to end restores the setting.
            if not _active:
                cuda.enable_cudnn_sdp(_setting_before)
