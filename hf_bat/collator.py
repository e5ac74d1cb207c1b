"""The collator: perturbs raw text on the fly and tokenises what comes out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from hf_bat.canonicalize import Canonicalizer
from hf_bat.errors import HfBatError
from hf_bat.labels import label_map
from hf_bat.perturbations.base import Perturbation, Texts
from hf_bat.perturbations.sampler import PerturbationSampler
from hf_bat.perturbations.validity import LabelValidity, inference_names
from hf_bat.tasks import Task


class PerturbationCollator:
    """Makes training batches of anchors with fickle and obstinate versions from raw text.

    It keeps no state but the epoch: see `PerturbationSampler`, which makes the draws.

    Args:
        tokenizer: the model's tokenizer; must have a padding token.
        columns: the text column, or the two.
        fickle: what draws the fickle versions; None for none.
        obstinate: what draws the obstinate versions; None for none.
        skipped_labels: labels (as the model numbers them) of which no obstinate version is drawn.
        num_fickle: fickle draws per row, F.
        num_obstinate: obstinate draws per row, O.
        perturb_anchor: put the fickle version in the anchor's place, as SAFER trains; then no
            `fickle_input_ids` is emitted.
        clean_epochs: number of first epochs that go unperturbed.
        max_length: tokens after which an input is cut; None for the tokenizer's limit.
        pad_to_multiple_of: pad lengths up to a multiple of this.
        seed: the run's seed.
        validity: tells which obstinate draws are likely to change the label; then `obstinate_passes`
            is emitted.
        label_names: names of the labels, as the rows have them, for `validity` and a label filter.
        with_idx: emit the rows' `idx`, which training names rows by.
        canonicalizer: a preprocessing defence, through which every text goes before the tokenizer.

    Raises:
        HfBatError: no padding token, a count below one, or an anchor to perturb with nothing.

    Example:
        >>> from hf_bat.perturbations import SynonymPerturbation
        >>> collator = PerturbationCollator(
        ...     tokenizer, ("premise", "hypothesis"), fickle=SynonymPerturbation({"dog": ("hound",)})
        ... )  # doctest: +SKIP
        >>> batch = collator([{"premise": "A dog.", "hypothesis": "A pet.", "label": 0, "idx": 7}])
        ... # doctest: +SKIP
        >>> batch["fickle_input_ids"].shape  # (rows, draws, tokens)  # doctest: +SKIP
        torch.Size([1, 1, 8])
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        columns: Sequence[str],
        fickle: Perturbation | None = None,
        obstinate: Perturbation | None = None,
        skipped_labels: Collection[int] = (),
        num_fickle: int = 1,
        num_obstinate: int = 1,
        perturb_anchor: bool = False,
        clean_epochs: int = 0,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        seed: int = 0,
        validity: LabelValidity | None = None,
        label_names: Sequence[str] = (),
        with_idx: bool = True,
        canonicalizer: Canonicalizer | None = None,
    ):
        if tokenizer.pad_token_id is None:
            raise HfBatError(
                "the tokenizer has no padding token; set one, e.g. tokenizer.pad_token = tokenizer.eos_token"
            )
        if perturb_anchor and fickle is None:
            raise HfBatError("perturb_anchor needs a fickle perturbation")
        self.tokenizer = tokenizer
        self.sampler = PerturbationSampler(
            tuple(columns),
            fickle,
            obstinate,
            frozenset(skipped_labels),
            num_fickle,
            num_obstinate,
            seed,
            tuple(label_names),
        )
        self.perturb_anchor = perturb_anchor
        self.clean_epochs = clean_epochs
        self.max_length = max_length
        self.pad_to_multiple_of = pad_to_multiple_of
        self.validity = validity
        self.with_idx = with_idx
        self.canonicalizer = canonicalizer
        # In shared memory: workers that outlive an epoch must see the next one's number.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:
        """The epoch whose draws are made, from 0."""
        return int(self._epoch.item())

    def set_epoch(self, epoch: int) -> None:
        """Move on to an epoch, in this process and in running workers.

        Args:
            epoch: its number, from 0; the draws of a row depend on it.
        """
        self._epoch.fill_(epoch)

    def follow(self, other: PerturbationCollator) -> None:
        """Be in the epoch that another collator is in, from now on.

        Args:
            other: whose epoch counts.
        """
        self._epoch = other._epoch

    def clean(self) -> PerturbationCollator:
        """The same collator without perturbations, for evaluation and prediction."""
        return PerturbationCollator(
            self.tokenizer,
            self.sampler.columns,
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
            with_idx=False,
            canonicalizer=self.canonicalizer,
        )

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate rows of B.

        Args:
            rows: dicts with the text columns, and `label` and `idx` where the data has them (a row
                needs `idx` to be perturbed).

        Returns:
            The tokenizer's outputs (B, T) for the anchors; `labels` (B,); `idx` (B,); and, in a perturbed
            epoch, `fickle_input_ids` (B, F, T') with the tokenizer's other outputs alike, `fickle_mask`
            (B, F) true where the draw is valid, the same for `obstinate_*`, and with a `validity`
            `obstinate_passes` (B, O), true where a valid draw is likely to change the label. A draw
            that is not valid holds padding alone.
        """
        anchors = [self.sampler.texts(row) for row in rows]
        drawn: dict[str, list[list[Texts | None]]] = {}
        epoch = self.epoch
        if epoch >= self.clean_epochs:
            for row in rows:
                for kind, versions in self.sampler.draw(row, epoch).items():
                    drawn.setdefault(kind, []).append(versions)
        batch: dict[str, torch.Tensor] = {}
        if self.perturb_anchor and drawn:
            first = [versions[0] for versions in drawn.pop("fickle")]
            anchors = [version or anchor for version, anchor in zip(first, anchors, strict=True)]
            batch["fickle_mask"] = torch.tensor([[version is not None] for version in first])
        encoded = self._tokenize(anchors)
        batch.update(encoded)
        for kind, table in drawn.items():
            batch.update(self._tokenize_draws(kind, table, encoded))
        if all(row.get("label") is not None for row in rows):
            batch["labels"] = torch.tensor([row["label"] for row in rows])
        if self.validity is not None and "obstinate" in drawn:
            batch["obstinate_passes"] = self._passes(rows, anchors, drawn["obstinate"])
        if self.with_idx and all(row.get("idx") is not None for row in rows):
            batch["idx"] = torch.tensor([row["idx"] for row in rows])
        return batch

    def _passes(
        self,
        rows: Sequence[dict[str, Any]],
        anchors: Sequence[Texts],
        draws: Sequence[Sequence[Texts | None]],
    ) -> torch.Tensor:
        assert self.validity is not None
        changes_label, found = self.validity.changes_label_of, []
        for row, anchor, versions in zip(rows, anchors, draws, strict=True):
            name = self.sampler.label_name(row)
            found.append([v is not None and changes_label(anchor, v, name) for v in versions])
        return torch.tensor(found)

    def _tokenize(self, inputs: Sequence[Texts]) -> dict[str, torch.Tensor]:
        sentences = [list(column) for column in zip(*inputs, strict=True)]
        if self.canonicalizer is not None:
            sentences = [list(map(self.canonicalizer, column)) for column in sentences]
        encoded = self.tokenizer(
            *sentences,
            padding=True,
            truncation=True,
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
        )
        # Made here, for the tokenizer's own `return_tensors` takes as long as tokenising does.
        return {key: torch.tensor(value) for key, value in encoded.items()}

    def _tokenize_draws(
        self, kind: str, draws: list[list[Texts | None]], anchors: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        mask = torch.tensor([[version is not None for version in row] for row in draws])
        valid = [version for row in draws for version in row if version is not None]
        if not valid:
            return {f"{kind}_mask": mask} | {
                f"{kind}_{key}": _padding(key, self.tokenizer, (*mask.shape, 1), value.dtype)
                for key, value in anchors.items()
            }
        encoded = self._tokenize(valid)
        out = {}
        for key, value in encoded.items():
            full = _padding(key, self.tokenizer, (*mask.shape, value.shape[-1]), value.dtype)
            full[mask] = value
            out[f"{kind}_{key}"] = full
        # An edit that lies beyond the cut leaves the tokens as they were: nothing was perturbed.
        mask[mask.clone()] = self._differs(encoded, anchors, mask.nonzero()[:, 0])
        return out | {f"{kind}_mask": mask}

    def _differs(
        self,
        encoded: dict[str, torch.Tensor],
        anchors: dict[str, torch.Tensor],
        owners: torch.Tensor,
    ) -> torch.Tensor:
        same_length = encoded["attention_mask"].sum(-1) == anchors["attention_mask"].sum(-1)[owners]
        # Inputs of one length stand alike in the width that both batches have, on the padded side.
        width = min(encoded["input_ids"].shape[1], anchors["input_ids"].shape[1])
        shared = slice(-width, None) if self.tokenizer.padding_side == "left" else slice(width)
        same = encoded["input_ids"][:, shared] == anchors["input_ids"][owners][:, shared]
        return ~(same_length & same.all(-1))


def read_labels(task: Task, config: Any) -> tuple[frozenset[int], tuple[str, ...]]:
    """Return what drawing depends on among a task's labels, as the model numbers them.

    Args:
        task: The rows' task.
        config: The model's configuration.

    Returns:
        The labels whose rows get no obstinate version, and the names of all labels for the label
        filter (none unless the task is an inference task).
    """
    labels = label_map(task, config)
    skipped = (labels.model_label(name, "the task") for name in task.skipped_labels)
    names = [labels.data_name(label) for label in range(len(labels.model_names))]
    known = [name for name in names if name is not None]
    return (
        frozenset(label for label in skipped if label is not None),
        inference_names(known) if len(known) == len(names) else (),
    )


def _padding(
    key: str, tokenizer: PreTrainedTokenizerBase, shape: tuple[int, ...], dtype: torch.dtype
) -> torch.Tensor:
    values = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    return torch.full(shape, values.get(key, 0), dtype=dtype)
