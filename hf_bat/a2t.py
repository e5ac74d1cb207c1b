"""A2T (Yoo and Qi 2021): adversarial training with an attack of this package in the loop.

When an epoch starts, a share of the training rows is attacked with the current weights, and the inputs
that fool the model are written to a file. The main process and the data workers read this file, so a
run that resumes inside the epoch trains on exactly the same inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hf_bat.attack import Attack, SentenceSimilarity, get_recipe
from hf_bat.attack.models import as_classifier
from hf_bat.attack.rows import read_rows
from hf_bat.canonicalize import Canonicalizer
from hf_bat.errors import HfBatError
from hf_bat.lexicon.table import TableSource
from hf_bat.perturbations.base import Texts
from hf_bat.perturbations.sampler import DrawSource, PerturbationSampler
from hf_bat.tasks import Task
from hf_bat.training_args import BalancedTrainingArguments

# Stream of the draw that decides whether a row is attacked, far above the streams for versions.
_CHOICE_STREAM = 2**32
#: Folder of adversarial rows inside the output folder. The underscore keeps the texts of training rows
#: private, because `Trainer` does not upload paths that start with an underscore.
ADVERSARIAL = "_adversarial"


@dataclass(frozen=True)
class AttackSchedule:
    """Schedule that selects the training rows to attack and the epochs of the attacks.

    Args:
        clean_epochs: Number of initial epochs without adversarial rows.
        interval: Number of epochs between attacks. Epochs in between use the rows of the last
            attack.
        share: Share of the training rows to attack, whether or not the attack succeeds.
        seed: Seed of the choice of rows.

    Example:
        >>> schedule = AttackSchedule(clean_epochs=1, interval=2, share=0.5, seed=0)
        >>> [schedule.get_attack_epoch(epoch) for epoch in range(5)]
        [None, 1, 1, 3, 3]
        >>> schedule.choose_rows(range(6), 1), schedule.choose_rows(range(6), 3)
        ([3, 4, 5], [0, 3, 4])
    """

    clean_epochs: int
    interval: int
    share: float
    seed: int

    @classmethod
    def from_arguments(cls, args: BalancedTrainingArguments) -> AttackSchedule:
        """Create the schedule from training arguments."""
        seed = args.seed if args.data_seed is None else args.data_seed
        return cls(args.clean_epochs or 0, args.attack_interval, args.attack_share, seed)

    def get_attack_epoch(self, epoch: int) -> int | None:
        """Return the epoch of the attack that made the rows for `epoch`, or `None` for a clean epoch."""
        if epoch < self.clean_epochs:
            return None
        return epoch - (epoch - self.clean_epochs) % self.interval

    def choose_rows(self, ids: Sequence[int], epoch: int) -> list[int]:
        """Choose the rows to attack, a `share` of all rows rounded up. Return sorted positions in `ids`.

        The choice only depends on the seed, the epoch and the ids.
        """
        draws = [DrawSource(self.seed, epoch, idx, _CHOICE_STREAM).random() for idx in ids]
        # The tolerance compensates for rounding errors: 0.07 * 100 is above 7.
        count = math.ceil(self.share * len(ids) - 1e-9)
        return sorted(sorted(range(len(ids)), key=lambda i: (draws[i], i))[:count])


@dataclass(frozen=True)
class AdversarialSampler(PerturbationSampler):
    """Sampler of the adversarial versions that attacks have written to `folder`."""

    folder: Path = Path()
    schedule: AttackSchedule = AttackSchedule(0, 1, 1.0, 0)
    # Epoch of the attack -> versions, only for the last attack. A persistent worker reads the next one
    # itself.
    _versions: dict[int, dict[int | str, Texts]] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def from_arguments(
        cls, args: BalancedTrainingArguments, columns: Sequence[str]
    ) -> AdversarialSampler:
        """Create the run's sampler for rows with these text columns."""
        schedule = AttackSchedule.from_arguments(args)
        return cls(columns, folder=get_adversarial_folder(args), schedule=schedule)

    def draw(self, row: Mapping[str, Any], epoch: int) -> dict[str, list[Texts | None]]:
        """Return the row's adversarial version as `{"fickle": [texts or None]}`, or {} in a clean epoch."""
        attack_epoch = self.schedule.get_attack_epoch(epoch)
        if attack_epoch is None:
            return {}
        if attack_epoch not in self._versions:
            self._versions.clear()
            self._versions[attack_epoch] = {
                result.idx: tuple(result.perturbed)
                for result in read_rows(get_rows_path(self.folder, attack_epoch))
                if result.is_success and result.perturbed
            }
        return {"fickle": [self._versions[attack_epoch].get(row["idx"])]}


class RowAttacker:
    """Attacks training rows at the start of epochs, and checks the attacked rows when training resumes.

    Args:
        args: Training arguments, which determine recipe, schedule and folder. All ranks must be
            able to read the output folder.
        task: Task of the training rows.
        tokenizer: The model's tokenizer. It must be a fast one if the recipe ranks words by
            gradient.
        synonyms: Table of candidates.
        antonyms: Table of words that a masked language model must not insert.
        canonicalizer: Preprocessing defense of the model, which is also used during attacks.
    """

    def __init__(
        self,
        args: BalancedTrainingArguments,
        task: Task,
        tokenizer: Any,
        synonyms: TableSource,
        antonyms: TableSource,
        canonicalizer: Canonicalizer | None = None,
    ):
        self.recipe = get_recipe(
            args.get_method().attack_recipe + ("-mlm" if args.a2t_candidates == "mlm" else ""),
            synonyms=synonyms,
            antonyms=antonyms if args.drop_antonyms_from_synonyms else {},
            encoder=args.encoder,
            casing=args.casing,
            budget=args.attack_budget,
            max_length=args.max_seq_length,
            mlm_model=args.mlm_model,
        )
        if self.recipe.ranking == "gradient" and not tokenizer.is_fast:
            raise HfBatError(
                f"method={args.method!r} needs a fast tokenizer to rank words by gradient; "
                f"{type(tokenizer).__name__} is a slow one"
            )
        self.args, self.schedule = args, AttackSchedule.from_arguments(args)
        # Prepared rows have the model's label ids in a column with this name.
        self.task = replace(task, label_column="label")
        self.tokenizer = tokenizer
        self._model_options: Any = {"dtype": args.autocast_dtype, "canonicalizer": canonicalizer}
        # Load all models of the recipe now, so errors do not first appear after the clean epochs.
        self._recipe_hash = self.recipe.hash[:16]
        for rule in self.recipe.constraints:
            if isinstance(rule, SentenceSimilarity):
                rule.encoder.encode([])

    def start_epoch(self, model: Any, rows: Any, epoch: float) -> dict[str, float]:
        """Make sure that the adversarial rows of the epoch exist. All ranks must call this method.

        Args:
            model: The model with its current weights. It is not changed.
            rows: Prepared training rows.
            epoch: Training progress in epochs. It is a fraction if training resumes mid-epoch.

        Returns:
            Results of the attack: `adversarial_attacked` (rows), `adversarial_found` (rows with an
            adversarial version) and `adversarial_asr` (their share among the rows that the model
            classified correctly). Empty if no attack was needed.
        """
        attack_epoch = self.schedule.get_attack_epoch(int(epoch))
        if attack_epoch is None:
            return {}
        chosen = rows.select(self.schedule.choose_rows(rows["idx"][:], attack_epoch))
        path = get_rows_path(get_adversarial_folder(self.args), attack_epoch)
        if attack_epoch < epoch:
            self._check_rows(chosen, path)
            return {}
        path.parent.mkdir(parents=True, exist_ok=True)
        length = self.args.max_seq_length
        classifier = as_classifier(model, self.tokenizer, length, **self._model_options)
        attack = Attack(
            self.recipe,
            classifier,
            task=self.task,
            batch_size=self.args.eval_batch_size,
            progress=False if self.args.disable_tqdm else None,
        )
        # replace=True: rows from other weights come from an earlier run. Rows from the same weights come
        # from this run, if it was killed during the attack or resumed from an earlier step, and are kept.
        summary = attack.run(chosen, path, replace=True)[attack.name]
        figures: dict[str, float] = {
            "adversarial_attacked": summary["rows"],
            "adversarial_found": summary["succeeded"],
        }
        if summary["asr"] is not None:
            figures["adversarial_asr"] = round(summary["asr"], 6)
        return figures

    def _check_rows(self, chosen: Any, path: Path) -> None:
        """Check that the file is from the attack at the start of the epoch."""
        try:
            attacked = read_rows(path)
        except HfBatError:  # the message below has more advice
            attacked = []
        texts = zip(chosen["idx"], *(chosen[column] for column in self.task.columns), strict=True)
        if not (
            {row.idx: row.original for row in attacked} == {i: list(t) for i, *t in texts}
            and {row.get("recipe") for row in attacked} == {self._recipe_hash}
            and len({row.get("model") for row in attacked}) == 1
        ):
            raise HfBatError(
                f"cannot resume inside an epoch: {path} is missing, incomplete, or from another attack, seed "
                "or training set; restore it, resume from the end of an epoch or start a new run"
            )


def get_adversarial_folder(args: BalancedTrainingArguments) -> Path:
    """Return the run's folder for adversarial rows."""
    return Path(args.output_dir) / ADVERSARIAL


def get_rows_path(folder: Path, epoch: int) -> Path:
    """Return the file of the attack at the start of the epoch, counted from 0."""
    return folder / f"epoch-{epoch}.jsonl"
