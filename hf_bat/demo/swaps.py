"""How a classifier's predictions take antonym swaps and synonym draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_bat.console import open_bar
from hf_bat.device import disable_cudnn_attention
from hf_bat.perturbations import Perturbation

Texts = tuple[str, ...]


@torch.inference_mode()
def predict(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    inputs: Sequence[Texts],
    batch_size: int = 128,
    description: str = "predict",
    bf16: bool = False,
) -> np.ndarray:
    """The predicted class of each input.

    Args:
        model: a sequence classifier; it is put into evaluation mode.
        tokenizer: its tokenizer.
        inputs: sentences or pairs.
        batch_size: inputs at once; similar lengths go together, so that little is padding.
        description: what the progress bar says.
        bf16: compute in bfloat16 autocast.

    Returns:
        Integer classes, shape (len(inputs),).
    """
    model.eval()
    order = sorted(range(len(inputs)), key=lambda i: sum(map(len, inputs[i])))
    classes = np.empty(len(inputs), dtype=np.int64)
    with open_bar(len(inputs), description, "input", leave=False) as bar:
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            columns = [list(column) for column in zip(*(inputs[i] for i in chosen), strict=True)]
            batch = tokenizer(*columns, padding=True, truncation=True, return_tensors="pt")
            batch = batch.to(model.device)
            autocast = torch.autocast(model.device.type, torch.bfloat16, enabled=bf16)
            with autocast, disable_cudnn_attention():
                classes[chosen] = model(**batch).logits.argmax(-1).cpu().numpy()
            bar.update(len(chosen))
    return classes


def rate(part: int, whole: int) -> float | None:
    """`part / whole`; None where there is nothing to take a share of."""
    return part / whole if whole else None


def antonym_swaps(
    perturbation: Perturbation,
    inputs: Sequence[Texts],
    labels: np.ndarray,
    predicted: np.ndarray,
    skipped_labels: Sequence[int],
    classify: Any,
) -> dict[str, Any]:
    """Try every single antonym swap; a row is a success if any leaves the prediction unchanged.

    That is the paper's (strict) definition of an obstinate adversarial example. Rows that are
    misclassified, or of a label that antonyms need not change, are skipped.

    Args:
        perturbation: the antonym perturbation; all its candidates are tried.
        inputs: the unperturbed inputs.
        labels: their classes, shape (rows,).
        predicted: the model's classes for them, shape (rows,).
        skipped_labels: classes left alone.
        classify: inputs -> their predicted classes, an array.

    Returns:
        Counts (`rows`, `attempted`, `skipped`, `attackable`, `succeeded`, `failed`, `queries`) and
        shares: `asr` of the attempted rows, `asr_attackable` of those with a candidate, `keep_rate`
        of the single swaps.
    """
    attempted = [
        row
        for row in range(len(inputs))
        if predicted[row] == labels[row] and labels[row] not in skipped_labels
    ]
    candidates = [
        (row, edit.texts) for row in attempted for edit in perturbation.candidates(inputs[row])
    ]
    classes = classify([texts for _, texts in candidates])
    owners = np.array([row for row, _ in candidates], dtype=np.int64)
    kept = classes == predicted[owners] if len(owners) else np.zeros(0, dtype=bool)
    attackable, succeeded = len(set(owners.tolist())), len(set(owners[kept].tolist()))
    return {
        "rows": len(inputs),
        "attempted": len(attempted),
        "skipped": len(inputs) - len(attempted),
        "attackable": attackable,
        "succeeded": succeeded,
        "failed": len(attempted) - succeeded,
        "queries": len(candidates),
        "asr": rate(succeeded, len(attempted)),
        "asr_attackable": rate(succeeded, attackable),
        "keep_rate": rate(int(kept.sum()), len(candidates)),
    }


def synonym_draws(
    perturbation: Perturbation,
    inputs: Sequence[Texts],
    labels: np.ndarray,
    predicted: np.ndarray,
    draws: int,
    seed: int,
    classify: Any,
) -> dict[str, Any]:
    """Redraw every word from its synonyms; how often does the prediction change?

    Random draws, no search: a lower bound of what an attacker finds.

    Args:
        perturbation: the synonym perturbation.
        inputs: the unperturbed inputs.
        labels: their classes, shape (rows,).
        predicted: the model's classes for them, shape (rows,).
        draws: draws for each correctly classified row.
        seed: of the draws, which are then the same for every model (on the same row).
        classify: inputs -> their predicted classes, an array.

    Returns:
        Counts (`attempted` rows, valid `draws`, `flips`) and `flip_rate`, flips over draws.
    """
    attempted = np.flatnonzero(predicted == labels).tolist()
    drawn: list[tuple[int, Texts]] = []
    for row in attempted:
        rng = np.random.default_rng([seed, row])
        samples = (perturbation.sample(inputs[row], rng) for _ in range(draws))
        drawn.extend((row, texts) for texts in samples if texts is not None)
    classes = classify([texts for _, texts in drawn])
    owners = np.array([row for row, _ in drawn], dtype=np.int64)
    flips = int((classes != predicted[owners]).sum()) if drawn else 0
    return {
        "attempted": len(attempted),
        "draws": len(drawn),
        "flips": flips,
        "flip_rate": rate(flips, len(drawn)),
    }
