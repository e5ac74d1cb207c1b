"""The collator, which perturbs raw text on the fly and tokenizes the result."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from hf_bat.canonicalize import Canonicalizer
from hf_bat.counterfactual.rules import RULES, RuleSet
from hf_bat.errors import HfBatError
from hf_bat.labels import reconcile_labels
from hf_bat.objective import KINDS
from hf_bat.perturbations.base import Perturbation, Texts
from hf_bat.perturbations.sampler import PerturbationSampler
from hf_bat.perturbations.validity import LabelValidity, get_inference_names
from hf_bat.tasks import Task


class PerturbationCollator:
    """Collator that builds batches of anchors and their fickle and obstinate versions from raw text.

    Its only state is the epoch. Versions are drawn by a `PerturbationSampler`.

    Args:
        tokenizer: The model's tokenizer. It must have a padding token.
        columns: The one or two text columns.
        fickle: Perturbation that draws the fickle versions. If `None`, none are drawn.
        obstinate: Perturbation that draws the obstinate versions. If `None`, none are drawn.
        skipped_labels: Label ids of the model for which no obstinate versions are drawn.
        num_fickle: Number of fickle draws per row, F. Defaults to 1.
        num_obstinate: Number of obstinate draws per row, O. Defaults to 1.
        perturb_anchor: Whether to replace the anchor by its fickle version, as SAFER does. Defaults
            to `False`.
        clean_epochs: Number of initial epochs without perturbations. Defaults to 0.
        max_length: Maximum input length in tokens. If `None`, the tokenizer's limit is used.
        pad_to_multiple_of: Pad lengths to a multiple of this number.
        seed: Seed of the run. Defaults to 0.
        validity: Test for obstinate draws that likely change the label. Adds `obstinate_passes` to
            batches.
        label_names: Names of the labels in the rows, for `validity` and the label filter.
        with_idx: Whether to add the `idx` of the rows. Defaults to `True`.
        canonicalizer: Preprocessing defense that rewrites every text before the tokenizer.
        counterfactual: Rules that draw a labeled pair for each row. Adds `counterfactual_labels`.

    Raises:
        HfBatError: If the padding token is missing, a number of draws is below one, or the fickle
            perturbation for `perturb_anchor` is missing.

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
        counterfactual: RuleSet | None = None,
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
            counterfactual,
        )
        self.counterfactual = counterfactual
        self.perturb_anchor = perturb_anchor
        self.clean_epochs = clean_epochs
        self.max_length = max_length
        self.pad_to_multiple_of = pad_to_multiple_of
        self.validity = validity
        self.with_idx = with_idx
        self.canonicalizer = canonicalizer
        # Shared memory lets persistent workers see the number of the next epoch.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    @classmethod
    def from_arguments(
        cls,
        args: Any,
        task: Task,
        config: Any,
        tokenizer: PreTrainedTokenizerBase,
        perturbations: tuple[Any, Any],
        **changed: Any,
    ) -> PerturbationCollator:
        """Build the collator that draws the versions the method of the arguments needs.

        `config` defines the label ids, `perturbations` are the fickle and the obstinate perturbation,
        and `changed` overrides options.
        """
        method = args.get_method()
        # With a recipe, the trainer replaces the sampler with one that returns adversarial texts.
        drawn = () if method.attack_recipe else method.draws
        by_kind = dict(zip(KINDS, perturbations, strict=True))
        skipped, names = read_labels(task, config)
        # A judge can use the labels of any task.
        filtered = getattr(by_kind["obstinate"], "filtered", None)
        if filtered is None or not filtered.validity.asks_judge:
            names = get_inference_names(names)
        options = {
            **{kind: by_kind[kind] for kind in KINDS if kind in drawn},
            "skipped_labels": skipped,
            "label_names": names,
            "num_fickle": args.num_fickle,
            "num_obstinate": args.num_obstinate,
            "clean_epochs": args.clean_epochs or 0,
            "max_length": args.max_seq_length,
            "pad_to_multiple_of": args.pad_to_multiple_of,
            # `Trainer` does the same for the order of rows.
            "seed": args.seed if args.data_seed is None else args.data_seed,
            "perturb_anchor": method.perturbs_anchor,
            # Marks the obstinate versions that pass the filter. With "prefer", others are
            # also drawn.
            "validity": (
                by_kind["obstinate"].validity if args.label_filter in ("only", "prefer") else None
            ),
        }
        return cls(tokenizer, task.columns, **{**options, **changed})

    @property
    def epoch(self) -> int:
        """Current epoch, counted from 0. The draws depend on it."""
        return int(self._epoch.item())

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0, in this process and in running workers."""
        self._epoch.fill_(epoch)

    def follow(self, other: PerturbationCollator) -> None:
        """Share the epoch counter of another collator."""
        self._epoch = other._epoch

    def clean(self) -> PerturbationCollator:
        """Return a copy of the collator for evaluation and prediction, without perturbations."""
        return PerturbationCollator(
            self.tokenizer,
            self.sampler.columns,
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
            with_idx=False,
            canonicalizer=self.canonicalizer,
        )

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate B rows.

        Args:
            rows: Dicts with the text columns and optionally `label` and `idx`. Perturbing rows requires
                `idx`.

        Returns:
            The tokenizer's outputs for the anchors (B, T), and `labels` and `idx` (B,). In a perturbed
            epoch, also `fickle_input_ids` and the tokenizer's other outputs (B, F, T'), and
            `fickle_mask` (B, F), which is true for valid draws. `obstinate_*` and `counterfactual_*`
            have the same layout, with one draw per row for `counterfactual_*`. With rules, also
            `counterfactual_labels` and `counterfactual_rules` (indices into `RULES`), (B, 1). With
            `validity`, also `obstinate_passes` (B, O). Invalid draws consist of padding.
        """
        anchors = [self.sampler.texts(row) for row in rows]
        versions: dict[str, list[list[Texts | None]]] = {}
        # Read once, because the main process may set the next epoch while a worker collates.
        epoch = self.epoch
        if epoch >= self.clean_epochs:
            self.sampler.prepare(rows)
            for row in rows:
                for kind, draws in self.sampler.draw(row, epoch).items():
                    versions.setdefault(kind, []).append(draws)
        batch: dict[str, torch.Tensor] = {}
        if self.perturb_anchor and versions:
            first = [draws[0] for draws in versions.pop("fickle")]
            anchors = [version or anchor for version, anchor in zip(first, anchors, strict=True)]
            batch["fickle_mask"] = torch.tensor([[version is not None] for version in first])
        encoded = self._tokenize(anchors)
        batch |= encoded
        if "counterfactual" in versions:
            batch |= self._label_counterfactuals(versions)
        for kind, rows_of_draws in versions.items():
            batch |= self._tokenize_draws(kind, rows_of_draws, encoded)
        if all(row.get("label") is not None for row in rows):
            batch["labels"] = torch.tensor([row["label"] for row in rows])
        if self.validity is not None and "obstinate" in versions:
            test, name_label = self.validity.changes_label_of, self.sampler.label_name
            passes = [
                [
                    version is not None and test(anchor, version, name_label(row))
                    for version in draws
                ]
                for row, anchor, draws in zip(rows, anchors, versions["obstinate"], strict=True)
            ]
            batch["obstinate_passes"] = torch.tensor(passes)
        if self.with_idx and all(row.get("idx") is not None for row in rows):
            batch["idx"] = torch.tensor([row["idx"] for row in rows])
        return batch

    def _label_counterfactuals(self, versions: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Replace the labeled pairs by their texts. Return their labels and rules, both (B, 1)."""
        rules, drawn = self.counterfactual, [row[0] for row in versions["counterfactual"]]
        assert rules is not None
        versions["counterfactual"] = [[pair and pair.texts] for pair in drawn]
        names = list(RULES)
        labels = [[rules.labels[pair.label] if pair else 0] for pair in drawn]
        numbers = [[names.index(pair.rule) if pair else 0] for pair in drawn]
        return {
            "counterfactual_labels": torch.tensor(labels),
            "counterfactual_rules": torch.tensor(numbers),
        }

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
        # `return_tensors` is not used, because it takes as long as the tokenization itself.
        return {key: torch.tensor(value) for key, value in encoded.items()}

    def _tokenize_draws(
        self,
        kind: str,
        rows_of_draws: list[list[Texts | None]],
        anchors: dict[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        mask = torch.tensor([[version is not None for version in row] for row in rows_of_draws])
        valid = [version for row in rows_of_draws for version in row if version is not None]
        # Without valid versions, use one column of padding.
        encoded = self._tokenize(valid) if valid else {k: v[:0, :1] for k, v in anchors.items()}
        # The attention mask is padded with 0.
        pads = {
            "input_ids": self.tokenizer.pad_token_id,
            "token_type_ids": self.tokenizer.pad_token_type_id,
        }
        out = {}
        for key, value in encoded.items():
            shape = (*mask.shape, value.shape[-1])
            out[f"{kind}_{key}"] = torch.full(shape, pads.get(key, 0), dtype=value.dtype)
            out[f"{kind}_{key}"][mask] = value
        if kind == "counterfactual":
            # The label is only valid for the full texts.
            limit = self.max_length or self.tokenizer.model_max_length
            mask[mask.clone()] = encoded["attention_mask"].sum(-1) < limit
            return out | {f"{kind}_mask": mask}
        # An edit after the truncation point does not change the tokens, so the version is not
        # valid.
        mask[mask.clone()] = self._find_changed(encoded, anchors, owners=mask.nonzero()[:, 0])
        return out | {f"{kind}_mask": mask}

    def _find_changed(
        self,
        versions: dict[str, torch.Tensor],
        anchors: dict[str, torch.Tensor],
        owners: torch.Tensor,
    ) -> torch.Tensor:
        """Return which versions have different tokens than their anchors."""
        lengths = (inputs["attention_mask"].sum(-1) for inputs in (versions, anchors))
        version_lengths, anchor_lengths = lengths
        # Inputs of equal length can be compared in the columns that both batches have.
        width = min(versions["input_ids"].shape[1], anchors["input_ids"].shape[1])
        shared = slice(-width, None) if self.tokenizer.padding_side == "left" else slice(width)
        same = versions["input_ids"][:, shared] == anchors["input_ids"][owners][:, shared]
        return (version_lengths != anchor_lengths[owners]) | ~same.all(-1)


def read_labels(task: Task, config: Any) -> tuple[frozenset[int], tuple[str, ...]]:
    """Return the label ids for which no obstinate versions are drawn, and the names of all labels.

    The names are for the label filter.
    """
    labels = reconcile_labels(task, config)
    skipped = (labels.read_label(name, "the task") for name in task.skipped_labels)
    names = [name for _, name in sorted(zip(labels.ids, labels.data_names, strict=True))]
    return frozenset(label for label in skipped if label is not None), tuple(names)
