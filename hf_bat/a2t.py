"""A2T: adversarial training with this package's own attack in the loop (Yoo and Qi 2021).

As an epoch starts, a share of the training rows is attacked with the weights of that moment, and the
inputs that fool the model are kept in a file. Training reads them from there, in the main process and
in data workers alike, so that a run that resumes inside the epoch trains on the very same inputs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from hf_bat.attack import Attack, Recipe, SentenceSimilarity, get_recipe
from hf_bat.attack.canonical import defended
from hf_bat.canonicalize import Canonicalizer
from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Texts
from hf_bat.perturbations.sampler import DrawSource, PerturbationSampler
from hf_bat.tasks import Task

if TYPE_CHECKING:
    from hf_bat.trainer import BalancedTrainer
    from hf_bat.training_args import BalancedTrainingArguments

# Which of a row's draws decides whether it is attacked: far from those of its versions.
_ATTACKED = 2**32
#: Folder of adversarial rows inside a run's folder. The underscore keeps the texts of training rows private:
#: `Trainer` uploads no path of its output folder that begins with one.
ADVERSARIAL = "_adversarial"


@dataclass(frozen=True)
class AttackSchedule:
    """When training rows are attacked, and which.

    Args:
        clean_epochs: first epochs without adversarial rows.
        interval: epochs from one attack to the next; those between train on the last one's rows.
        share: how much of the training rows is attacked, above 0 and at most 1. It counts the rows
            attacked, not those on which the attack succeeds.
        seed: of the choice of rows.

    Example:
        >>> schedule = AttackSchedule(clean_epochs=1, interval=2, share=0.5, seed=0)
        >>> [schedule.attack_epoch(epoch) for epoch in range(5)]
        [None, 1, 1, 3, 3]
        >>> schedule.choose(range(6), 1), schedule.choose(range(6), 3)
        ([3, 4, 5], [0, 3, 4])
    """

    clean_epochs: int
    interval: int
    share: float
    seed: int

    @classmethod
    def of(cls, args: BalancedTrainingArguments) -> AttackSchedule:
        """The schedule that training arguments describe."""
        seed = args.seed if args.data_seed is None else args.data_seed
        return cls(args.clean_epochs or 0, args.attack_interval, args.attack_share, seed)

    def attack_epoch(self, epoch: int) -> int | None:
        """The epoch, from 0, whose adversarial rows an epoch trains on; None for a clean one."""
        if epoch < self.clean_epochs:
            return None
        return epoch - (epoch - self.clean_epochs) % self.interval

    def choose(self, ids: Sequence[int], epoch: int) -> list[int]:
        """The rows to attack: a function of the seed, the epoch and the rows' numbers alone.

        Args:
            ids: the rows' `idx`.
            epoch: the epoch, from 0.

        Returns:
            Places in `ids`, in order; `share` of them, rounded up.
        """
        drawn = {
            place: DrawSource(self.seed, epoch, idx, _ATTACKED).random()
            for place, idx in enumerate(ids)
        }
        wanted = math.ceil(self.share * len(ids) - 1e-9)
        return sorted(sorted(drawn, key=lambda place: (drawn[place], place))[:wanted])


@dataclass(frozen=True)
class AdversarialSampler(PerturbationSampler):
    """Gives each row the adversarial version that its epoch's attack found, where it found one.

    Args:
        folder: where the attacks' rows are.
        schedule: which attack an epoch's rows come from.
    """

    folder: Path = Path()
    schedule: AttackSchedule = AttackSchedule(0, 1, 1.0, 0)
    # The last attack's versions: a worker that outlives an epoch reads the next one's.
    _read: dict[int, dict[int, Texts]] = field(default_factory=dict, compare=False, repr=False)

    def draw(self, row: Mapping[str, Any], epoch: int) -> dict[str, list[Texts | None]]:
        """A row's adversarial version, as `{"fickle": [texts or None]}`; nothing in a clean epoch."""
        attacked = self.schedule.attack_epoch(epoch)
        if attacked is None:
            return {}
        if attacked not in self._read:
            self._read.clear()
            self._read[attacked] = _versions(read_rows(rows_path(self.folder, attacked)))
        return {"fickle": [self._read[attacked].get(row["idx"])]}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_read": {}}


class AdversarialRows:
    """Attacks training rows as epochs start, and vouches for what was found when a run resumes.

    Args:
        recipe: the attack.
        schedule: when and which rows.
        folder: where each attack's rows go, as `epoch-N.jsonl`; one that every rank can read.
        task: the rows' task.
        tokenizer: the model's tokenizer; a fast one, for the words are ranked by gradient.
        canonicalizer: the preprocessing defence behind which the model trains, and so is attacked.
        dtype: of the model's answers; see `Attack`.
        **options: what else `Attack` takes: `batch_size`, `progress`.

    Raises:
        HfBatError: a slow tokenizer, a sentence encoder or masked language model that cannot be loaded.
    """

    def __init__(
        self,
        recipe: Recipe,
        schedule: AttackSchedule,
        folder: str | Path,
        task: Task,
        tokenizer: Any,
        canonicalizer: Canonicalizer | None = None,
        dtype: str = "float32",
        **options: Any,
    ):
        if not tokenizer.is_fast:
            raise HfBatError(
                f"method='a2t' ranks words by gradient, which needs a fast tokenizer; "
                f"{type(tokenizer).__name__} is a slow one"
            )
        self.recipe, self.schedule, self.folder = recipe, schedule, Path(folder)
        # Prepared rows number their labels as the model does, in a column of this name.
        self.task = replace(task, label_column="label")
        self.tokenizer, self.canonicalizer = tokenizer, canonicalizer
        self.dtype, self.options = dtype, options
        # What a recipe loads when it is first used is loaded now, not after the clean epochs.
        self._recipe_hash = recipe.hash[:16]
        for rule in recipe.constraints:
            if isinstance(rule, SentenceSimilarity):
                rule.encoder.encode([])

    def start_epoch(self, model: Any, rows: Any, epoch: float) -> dict[str, float]:
        """See to it that an epoch's adversarial rows are there; every rank calls this.

        Args:
            model: the model, as it is now; left as it is.
            rows: the prepared training rows.
            epoch: how far training is: a whole number, or in between where a run resumes there.

        Returns:
            Where rows have been attacked, how it went: `adversarial_attacked` (rows),
            `adversarial_found` (of them, those with an adversarial version) and `adversarial_asr`
            (their share of the rows that the model had right).

        Raises:
            HfBatError: a run resumes inside an epoch whose adversarial rows are gone, or are others'.
        """
        attacked = self.schedule.attack_epoch(int(epoch))
        if attacked is None:
            return {}
        chosen = rows.select(self.schedule.choose(rows["idx"][:], attacked))
        if attacked < epoch:
            self._check(chosen, attacked)
            return {}
        path = rows_path(self.folder, attacked)
        path.parent.mkdir(parents=True, exist_ok=True)
        attack = self._attack(model)
        # Rows of other weights are an earlier run's. Those of these weights are this run's, killed
        # in the middle of the attack or resumed from before it, and are kept.
        summary = attack.run(chosen, path, replace=True)[attack.name]
        found: dict[str, float] = {
            "adversarial_attacked": summary["rows"],
            "adversarial_found": summary["succeeded"],
        }
        if summary["asr"] is not None:
            found["adversarial_asr"] = round(summary["asr"], 6)
        return found

    def _attack(self, model: Any) -> Attack:
        if self.canonicalizer is None:
            return Attack(
                self.recipe, model, self.tokenizer, self.task, dtype=self.dtype, **self.options
            )
        behind = defended(
            model, self.tokenizer, self.canonicalizer, self.recipe.max_length, self.dtype
        )
        return Attack(self.recipe, behind, task=self.task, **self.options)

    def _check(self, chosen: Any, epoch: int) -> None:
        """Refuse a file that the epoch in which training goes on cannot have begun with."""
        path = rows_path(self.folder, epoch)
        found = {row["idx"]: row for row in read_rows(path)}
        texts = zip(chosen["idx"], *(chosen[column] for column in self.task.columns), strict=True)
        whole = {idx: list(sentences) for idx, *sentences in texts}
        of_this_run = (
            {idx: row["original"] for idx, row in found.items()} == whole
            and {row["recipe"] for row in found.values()} == {self._recipe_hash}
            and len({row["model"] for row in found.values()}) == 1
        )
        if not of_this_run:
            raise HfBatError(
                f"cannot go on in the middle of an epoch: {path} is not whole, or of another attack, "
                "seed or training set; resume from the end of an epoch or start anew"
            )


class AdversarialCallback(TrainerCallback):
    """Attacks a `BalancedTrainer`'s training rows when its epochs start; idle but for `method="a2t"`.

    Args:
        trainer: the trainer.

    Raises:
        HfBatError: see `AdversarialRows`; or the model is split over ranks.
    """

    def __init__(self, trainer: BalancedTrainer):
        self.trainer = trainer
        #: What attacks; None for another method.
        self.rows = self._make_rows()
        self._of_trial = False

    def _make_rows(self) -> AdversarialRows | None:
        trainer, args = self.trainer, self.trainer.args
        if args.method != "a2t" or trainer.task is None:
            return None
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            raise HfBatError(
                "method='a2t' attacks with the whole model on each rank, which FSDP and DeepSpeed do "
                "not keep: train on one device or with plain data parallelism"
            )
        tables: Any = trainer.perturbations
        synonyms, antonyms = (perturbation.table for perturbation in tables)
        mlm = args.a2t_candidates == "mlm"
        recipe = get_recipe(
            "a2t-mlm" if mlm else "a2t",
            synonyms=synonyms,
            antonyms=antonyms if args.drop_antonyms_from_synonyms else {},
            encoder=args.encoder,
            casing=args.casing,
            budget=args.attack_budget,
            max_length=args.max_seq_length,
            mlm_model=args.mlm_model,
        )
        return AdversarialRows(
            recipe,
            AttackSchedule.of(args),
            adversarial_folder(args),
            trainer.task,
            trainer.processing_class,
            trainer.canonicalizer,
            batch_size=args.eval_batch_size,
            dtype="bfloat16" if args.bf16 else "float16" if args.fp16 else "float32",
            progress=False if args.disable_tqdm else None,
        )

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Mind what a hyper-parameter search has set, and after it that no trial's arguments hold."""
        if state.is_hyper_param_search or self._of_trial:
            self.rows = self._make_rows()
        self._of_trial = state.is_hyper_param_search

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Attack, and log how it went."""
        if self.rows is not None:
            trainer = self.trainer
            found = self.rows.start_epoch(trainer.model, trainer.train_dataset, state.epoch or 0.0)
            if found:
                trainer.log(found)


def adversarial_folder(args: BalancedTrainingArguments) -> Path:
    """Where a run keeps its adversarial rows."""
    return Path(args.output_dir) / ADVERSARIAL


def rows_path(folder: Path, epoch: int) -> Path:
    """The file of the attack that an epoch, from 0, started with."""
    return folder / f"epoch-{epoch}.jsonl"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of an attack on training rows.

    Raises:
        HfBatError: the file is not there, or is no rows file.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        return [row for row in rows if row["recipe"] and row["model"] and row["original"]]
    except OSError as error:
        raise HfBatError(
            f"the adversarial rows that this epoch trains on are not at {path}: put the file back, "
            "resume from the end of an epoch or start anew"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise HfBatError(f"{path} holds no rows of an attack: start anew") from error


def _versions(rows: Sequence[Mapping[str, Any]]) -> dict[int, Texts]:
    return {row["idx"]: tuple(row["perturbed"]) for row in rows if row["outcome"] == "succeeded"}
