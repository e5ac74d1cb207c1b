"""Double precision, where the device has it."""

from __future__ import annotations

import torch

# Kinds of devices that refuse float64.
_WITHOUT = ("mps",)


def double_type(device: torch.device) -> torch.dtype:
    """The most precise type of a device: float64, on Apple's GPUs float32.

    Example:
        >>> double_type(torch.device("cpu")), double_type(torch.device("mps"))
        (torch.float64, torch.float32)
    """
    return torch.float32 if device.type in _WITHOUT else torch.float64


def as_double(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor in the most precise type that its device has.

    Args:
        tensor: of any type.

    Returns:
        It in float64, or in float32 on Apple's GPUs (MPS), which have no float64.

    Example:
        >>> as_double(torch.tensor([0.5], dtype=torch.bfloat16)).dtype
        torch.float64
    """
    return tensor.to(double_type(tensor.device))
