"""The demo: a set of sentence pairs that ships with hf_bat, and a comparison of methods on it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_bat.demo.compare import DemoSettings, run_demo
    from hf_bat.demo.rows import demo_rows

# Public name -> the module that defines it; loaded on first use, for `compare` needs torch.
_HOMES = {
    "DemoSettings": "hf_bat.demo.compare",
    "demo_rows": "hf_bat.demo.rows",
    "run_demo": "hf_bat.demo.compare",
}

__all__ = ["DemoSettings", "demo_rows", "run_demo"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
