"""`BalancedTrainingArguments`: `TrainingArguments` with options for Balanced Adversarial Training."""

from __future__ import annotations

import copy
import inspect
import logging
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from transformers import TrainingArguments
from transformers.integrations import is_deepspeed_available

from hf_bat.attack.figures import (
    check_best_metric,
    has_obstinate,
    is_attack_metric,
    is_lower_better,
)
from hf_bat.attack.recipes import Recipe
from hf_bat.canonicalize import Canonicalizer
from hf_bat.collator import PerturbationCollator
from hf_bat.data import ROW_CHOICES
from hf_bat.errors import HfBatError
from hf_bat.losses import DISTANCES, MASKS
from hf_bat.methods import DEFAULT_METHOD, METHODS, WEIGHTS, Method, check_own_method, get_method
from hf_bat.perturbations.base import Perturbation
from hf_bat.perturbations.build import LABEL_FILTERS, check_fickle_edits, check_obstinate_edits
from hf_bat.perturbations.substitution import CASINGS
from hf_bat.perturbations.validity import LabelValidity
from hf_bat.pooling import POOLINGS
from hf_bat.tasks import Task
from hf_bat.text import name_function

logger = logging.getLogger(__name__)

# Option -> its allowed values.
CHOICES: dict[str, tuple[str, ...]] = {
    "distance": DISTANCES,
    "pooling": POOLINGS,
    "mask": MASKS,
    "casing": CASINGS,
    "attack_every": ("eval", "epoch", "end"),
    "label_filter": LABEL_FILTERS,
    "a2t_candidates": ("table", "mlm"),
    "row_choice": ROW_CHOICES,
}
# Option -> its smallest and its largest allowed value.
BOUNDS: dict[str, tuple[float, float]] = {
    "num_fickle": (1, math.inf),
    "num_obstinate": (1, math.inf),
    "clean_epochs": (0, math.inf),
    "attack_interval": (1, math.inf),
    "attack_budget": (1, math.inf),
    "attack_share": (1e-9, 1),
    "weight_warmup_steps": (0, math.inf),
    "max_attack_samples": (1, math.inf),
    "max_seq_length": (4, math.inf),
    "pad_to_multiple_of": (1, math.inf),
    "contrastive_chunk": (1, math.inf),
    "held_out_pairs": (0, 1),
    # numpy does not accept other seeds.
    **dict.fromkeys(("seed", "data_seed"), (0, 2**32 - 1)),
    **dict.fromkeys(WEIGHTS, (0, math.inf)),
}
# Option -> the class of the objects that its list may contain in Python, and the attribute that names one.
OBJECT_OPTIONS: dict[str, tuple[type, str]] = {
    "attacks": (Recipe, "key"),
    "obstinate_edits": (Perturbation, "name"),
    "fickle_edits": (Perturbation, "name"),
}


def copy_help(cls: Any) -> Any:
    """Use the `Args` of a dataclass's docstring as help texts of its fields on the command line."""
    section = inspect.cleandoc(cls.__doc__).split("Args:\n")[1].split("\n\nRaises:")[0]
    texts = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    for name, text in texts:
        # argparse formats help texts with "%".
        plain = " ".join(text.split()).replace("`", "").replace("%", "%%")
        cls.__dataclass_fields__[name].metadata = {"help": plain}
    return cls


@copy_help
@dataclass(repr=False)  # the inherited repr hides tokens
class BalancedTrainingArguments(TrainingArguments):
    """`TrainingArguments` with options for Balanced Adversarial Training.

    A weight of `None` uses the method's default. Changing a weight or option that the method does
    not use is an error.

    Args:
        method: Training method: `"normal"` (cross-entropy), `"safer"` (cross-entropy on a fickle draw;
            Ye et al. 2020), `"a2t"` (also cross-entropy on adversarial rows; Yoo and Qi 2021),
            `"pairwise"` or `"triplet"` (Balanced Adversarial Training, paper section 4.1),
            `"likelihood"` (also cross-entropy on the fickle version, and a hinge that makes the label
            less likely on the obstinate one; specific to this package), `"counterfactual"` (also
            cross-entropy on the fickle version and on an edit that a rule has labeled; specific to
            this package), or your own registered method. Defaults to `"normal"`.
        alpha: Weight of the fickle versions (pairwise, likelihood and counterfactual). Defaults to 1.0.
        beta: Weight of the obstinate or labeled versions. Defaults to 1.2 for pairwise, 1.0 for
            likelihood and counterfactual.
        contrastive_weight: Weight of the triplet term (lambda in the paper). Defaults to 1.0 for
            triplet and 0.0 for likelihood. For likelihood, the margin of this term is 1.0.
        margin: Margin for obstinate versions. For pairwise and triplet, the distance to keep from
            the anchor, in units of `distance`. For likelihood, how much less likely the label should
            become, in nats. Defaults to 1.0.
        other_margin: Margin in nats for obstinate versions that do not pass the label filter. These
            edits should not make the label more likely (likelihood). Defaults to 0.15.
        other_limit: Maximum in nats by which these versions should lower the log-probability of the
            label, because the label likely does not change (likelihood). Defaults to 0.4.
        distance: Distance between representations: `"cosine"` (1 - cos, from 0 to 2), `"euclidean"`
            or `"manhattan"`. Defaults to `"cosine"`.
        pooling: Pooling of the last hidden layer into a representation: `"cls"`, `"mean"`, `"max"`,
            `"last"`, or `"head_input"`, the input of the final linear layer. If `None`, the pooling
            of the model's head is used: `"last"` for decoders, the configured pooling for
            ModernBERT, EuroBERT and XLNet, and `"cls"` for other models.
        mask: Mask rule of the triplet loss: `"paper"` (both parts are masked, mean over rows with a
            valid version) or `"authors"` (only the obstinate part is masked, mean over all rows).
            Defaults to `"paper"`.
        label_filter: Which obstinate edits are drawn: `"off"` (any edit, as in the paper), `"only"`
            (edits that likely change the label) or `"prefer"` (edits that likely change the label
            if the row has one, otherwise any edit). Defaults to `"prefer"` for likelihood and
            `"off"` for other methods.
        label_judge: Folder or Hub id of an inference model that decides for `label_filter` which edits
            likely change the label. If `None`, a rule over words decides. `BalancedTrainer` also accepts
            a function.
        num_fickle: Number of fickle draws per row. Defaults to 1.
        num_obstinate: Number of obstinate draws per row. Defaults to 1.
        clean_epochs: Number of initial epochs that train like `normal`. Must be less than
            `num_train_epochs`. Defaults to 1 for a2t and 0 for other methods.
        adversarial_weight: Weight of the cross-entropy on adversarial rows (a2t). Defaults to 1.0.
        attack_interval: Number of epochs between two attacks on training rows (a2t). Defaults to 1.
        attack_share: Share of the training rows to attack each time, above 0 and at most 1 (a2t).
            Defaults to 0.2.
        attack_budget: Maximum number of queries per attacked row (a2t). Defaults to 200.
        a2t_candidates: Replacements that the attack tries: `"table"` (nearest synonyms) or `"mlm"`
            (predictions of `mlm_model`). Defaults to `"table"`.
        mlm_model: Folder or Hub id of a masked language model (a2t with `"mlm"`).
        encoder: Folder or Hub id of a sentence encoder. The attack keeps only edits with a cosine
            similarity of at least 0.9 (a2t). If `None`, similarity is not checked.
        weight_warmup_steps: Number of optimizer steps after the clean epochs during which the weights
            of perturbed versions rise linearly from 0. A value below 1 is a share of all steps.
            Without clean epochs, defaults to 0.5 for triplet and likelihood and 0.99 for pairwise, so a
            short run from a pretrained encoder learns its task first. Defaults to 0 for other methods.
            The paper uses 0.
        max_seq_length: Maximum input length in tokens. Longer inputs are truncated. If `None`, the
            tokenizer's limit is used. Defaults to 128.
        pad_to_multiple_of: Pad each batch to a multiple of this number of tokens. With fewer
            different lengths, kernels are planned and compiled less often, and bfloat16 on a CPU uses less
            memory. If `None`, inputs are padded to the longest one in the batch.
        contrastive_chunk: Number of inputs (rows and their versions) to keep activations for at once.
            With `per_device_train_batch_size`, a training step uses about as much memory as with
            `normal`. The gradient is the same, but each forward pass runs twice (gradient caching; Gao
            et al. 2021). If `None`, all activations are kept.
        exclude_stopwords: Whether to leave function words unperturbed. Words that your own antonym table
            lists as plain words are always perturbed. Defaults to `True`.
        drop_antonyms_from_synonyms: Whether to remove each word's antonyms from its synonyms.
            Defaults to `True`.
        casing: Case of replacements: `"keep"` (same as the replaced word) or `"authors"` (lower
            case). Defaults to `"keep"`.
        fit_grammar: Whether to inflect antonyms, sister terms and numbers so they fit the English sentence,
            in training and in `attacks`: "women" becomes "men" and not "man", and "a young man" becomes "an
            old man". Use `False` for the edits of the paper's code. Defaults to `True`.
        class_weights: Class weights in the cross-entropy, in the label order of the model.
        eval_distances: Whether `evaluate` reports the mean distances of fickle and obstinate
            versions. Defaults to `False`.
        obstinate_edits: Kinds of obstinate edits to draw: `"antonym"`, `"negation"`, `"sister"`,
            `"number"`. `Perturbation` objects also work in Python. If `None`, only antonyms are used, as in
            the paper.
        fickle_edits: Kinds of fickle edits to draw: `"synonym"`, `"typo"` (letters swapped, dropped or
            mistyped), `"look-alike"` (letters of other scripts that look the same). `Perturbation` objects
            also work in Python. If `None`, only synonyms are used, as in the paper.
        rules: Rules that draw labeled edits, as `"name"` or `"name=share"`, such as `["swap",
            "self_pair=3"]` (counterfactual). If `None`, the default rules of the task are used.
        held_out_pairs: Share of word pairs that rules never draw, chosen by hash. Evaluations can then
            report seen and unseen pairs separately (counterfactual). Defaults to 0.
        label_flip: For single sentences, how an antonym edit changes the label, as `"old=new"`, such
            as `["positive=negative", "negative=positive"]`. A dict also works in Python
            (counterfactual).
        canonicalize: Whether to map each word to the representative of its synonym set before
            tokenization, in training and evaluation (`hf_bat.canonicalize`). Reports mention this
            defense. Defaults to `False`.
        attacks: Attack recipes that `evaluate` runs, such as `["antonym", "synonym"]`. `Recipe`
            objects also work in Python. The metrics are `eval_antonym_asr`,
            `eval_antonym_asr_confident`, ..., which are fractions where lower is better.
        max_attack_samples: Number of evaluation rows to attack, whether or not the model classifies
            them correctly. If `None`, all rows are attacked. Defaults to 500.
        row_choice: Which rows to select if their number is limited (by `max_attack_samples`, or on the
            command line by `--max_train_samples` and similar options): `"even"` (spread evenly over all
            rows) or `"first"`, which may select only one class. Defaults to `"even"`.
        attack_label_filter: Whether to also report the obstinate edits that pass the label filter
            and those that do not (`eval_antonym_valid_keep_rate`, `eval_antonym_invalid_keep_rate`,
            ...). Defaults to `False`.
        attack_every: When to run the attacks and score `contrast_file`: `"eval"` (each evaluation),
            `"epoch"` (evaluations at the end of an epoch) or `"end"` (evaluations after training).
            Defaults to `"eval"`.
        contrast_file: Contrast set that `evaluate` scores, made of rows edited by people or of a
            public suite. The metrics are `eval_contrast_accuracy`,
            `eval_contrast_accuracy_<category>`, ...
        contrast_format: Format of `contrast_file`, as in `hf-bat contrast --format`. If `None`, it is
            detected from the file.

    Raises:
        HfBatError: If a value or a combination of values is invalid.

    Example:
        >>> args = BalancedTrainingArguments("out", method="triplet", report_to="none")
        >>> args.contrastive_weight, args.margin, args.alpha
        (1.0, 1.0, None)
    """

    method: str = DEFAULT_METHOD
    alpha: float | None = None
    beta: float | None = None
    contrastive_weight: float | None = None
    margin: float | None = None
    other_margin: float | None = None
    other_limit: float | None = None
    distance: str = "cosine"
    pooling: str | None = None
    mask: str = "paper"
    label_filter: str | None = None
    label_judge: str | None = None
    num_fickle: int = 1
    num_obstinate: int = 1
    clean_epochs: int | None = None
    adversarial_weight: float | None = None
    attack_interval: int = 1
    attack_share: float = 0.2
    attack_budget: int = 200
    a2t_candidates: str = "table"
    mlm_model: str | None = None
    encoder: str | None = None
    weight_warmup_steps: float | None = None
    max_seq_length: int | None = 128
    pad_to_multiple_of: int | None = None
    contrastive_chunk: int | None = None
    exclude_stopwords: bool = True
    drop_antonyms_from_synonyms: bool = True
    casing: str = "keep"
    fit_grammar: bool = True
    class_weights: list[float] | None = None
    eval_distances: bool = False
    # The command line uses these types to parse names; see OBJECT_OPTIONS.
    obstinate_edits: list[str] | None = None
    fickle_edits: list[str] | None = None
    rules: list[str] | None = None
    held_out_pairs: float = 0.0
    label_flip: list[str] | None = None
    canonicalize: bool = False
    attacks: list[str] | None = None
    max_attack_samples: int | None = 500
    row_choice: str = "even"
    attack_label_filter: bool = False
    attack_every: str = "eval"
    contrast_file: str | None = None
    contrast_format: str | None = None

    def __post_init__(self) -> None:
        best = str(self.metric_for_best_model).removeprefix("eval_")
        is_error = best.startswith("contrast_") and best.endswith("_errors")
        if getattr(self, "greater_is_better", None) is None and (is_error or is_lower_better(best)):
            # `TrainingArguments` assumes that greater is better unless the name ends in "loss". It
            # would load the most vulnerable model.
            self.greater_is_better = False
        if self.deepspeed and not is_deepspeed_available():
            raise HfBatError(
                "deepspeed= needs the package deepspeed: pip install deepspeed, or omit the option"
            )
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.accelerator.is_available():
            # Otherwise, processes that torchrun starts on a CPU would train independently.
            self.use_cpu = True
        super().__post_init__()
        self._name_objects()
        self.check_method()
        self._check_attacks()
        self._check_contrast(best)

    # ---- the method ---------------------------------------------------------------------------

    def get_method(self) -> Method:
        """Return the method passed to the trainer, or the registered one named `method`."""
        own: Method | None = self.__dict__.get("_own_method")
        return own if own is not None and own.name == self.method else get_method(self.method)

    def get_entries(self, option: str) -> list[Any]:
        """Return the entries of an option in `OBJECT_OPTIONS` as they were passed: names or objects."""
        own: dict[str, Any] = self.__dict__.get("_own_objects", {}).get(option, {})
        return [own.get(name, name) for name in getattr(self, option) or ()]

    def _name_objects(self) -> None:
        """Replace the objects in `OBJECT_OPTIONS` by their names, because options are saved as JSON."""
        # Not a field, so it does not appear in saved arguments.
        self.__dict__["_own_objects"] = own = {}
        for option, (cls, attribute) in OBJECT_OPTIONS.items():
            entries: Any = getattr(self, option)
            if entries is None:
                continue
            if isinstance(entries, str):
                raise HfBatError(f"{option} must be a list of names; got {entries!r}")
            objects = {getattr(e, attribute): e for e in entries if isinstance(e, cls)}
            names = [getattr(e, attribute) if isinstance(e, cls) else e for e in entries]
            if len(set(names)) < len(names):
                raise HfBatError(
                    f"{option} contains duplicates: {', '.join(names)}; list each name once, and give each "
                    f"{cls.__name__} its own {attribute}="
                )
            own[option] = objects
            setattr(self, option, names)

    def copy_with_method(self, method: Method) -> BalancedTrainingArguments:
        """Return a copy of the arguments that uses a custom method and its defaults."""
        check_own_method(method)
        if self.method not in (DEFAULT_METHOD, method.name):
            raise HfBatError(
                f"method={self.method!r} in the arguments, but {method.name!r} passed to the trainer: use "
                "only one of them"
            )
        # Copied, because other trainers may use the same arguments.
        args = copy.copy(self)
        args.__dict__["_own_method"] = method
        args.method = method.name
        args.check_method()
        return args

    def get_judge(self) -> Any:
        """Return the judge of the label filter: the object passed to the trainer, or the name of a model."""
        return self.__dict__.get("_own_judge", self.label_judge)

    def copy_with_judge(self, judge: Any) -> BalancedTrainingArguments:
        """Return a copy of the arguments that uses a custom judge."""
        if self.label_judge is not None:
            raise HfBatError(
                f"label_judge={self.label_judge!r} in the arguments, but another one passed to the trainer: "
                "use only one of them"
            )
        args = copy.copy(self)
        args.__dict__["_own_judge"] = judge
        is_name = isinstance(judge, (str, os.PathLike))
        args.label_judge = str(judge) if is_name else name_function(judge)
        args.check_method()
        return args

    def check_method(self) -> None:
        """Check the method's options, and fill in the defaults of its weights."""
        # Called again when training starts, because a hyperparameter search may have changed the method.
        # The defaults of the previous method are replaced.
        filled: dict[str, Any] = self.__dict__.get("_filled", {})
        for name, value in filled.items():
            if getattr(self, name) == value:
                setattr(self, name, None)
        if self.class_weights is not None:
            # Tensors and arrays are converted to plain numbers, because the arguments are saved as
            # JSON.
            try:
                self.class_weights = [float(weight) for weight in self.class_weights]
            except (TypeError, ValueError) as error:
                raise HfBatError(
                    f"class_weights must be one number per label; got {self.class_weights!r}"
                ) from error
        if isinstance(self.label_flip, Mapping):
            self.label_flip = [f"{old}={new}" for old, new in self.label_flip.items()]
        method = self.get_method()
        filled = {
            name: value
            for name, value in method.fill_defaults(self.__dict__).items()
            if getattr(self, name, value) is None
        }
        for name, value in filled.items():
            setattr(self, name, value)
        # An attribute and not a field, so it does not appear in saved arguments.
        self.__dict__["_filled"] = filled
        self._check_values()
        self._check_use(method)
        self._check_judge()
        method.check_options(self)

    @property
    def autocast_dtype(self) -> str:
        """Precision of attacks: "bfloat16" or "float16" as in training, otherwise "float32"."""
        return "bfloat16" if self.bf16 else "float16" if self.fp16 else "float32"

    def get_given_options(self) -> dict[str, Any]:
        """Return hf_bat's own options. Options filled in with the method's default are `None`."""
        filled = self.__dict__.get("_filled", {})
        own = self._list_own_fields()
        return {name: None if name in filled else getattr(self, name) for name in sorted(own)}

    def _list_own_fields(self) -> set[str]:
        """Return the names of the options that `TrainingArguments` does not have."""
        return {f.name for f in fields(self)} - {f.name for f in fields(TrainingArguments)}

    def restore_options(self, given: Mapping[str, Any]) -> None:
        """Restore the options returned by `get_given_options`, and fill in the method's defaults."""
        for name, value in given.items():
            setattr(self, name, value)
        self.__dict__["_filled"] = {}
        self.check_method()

    def check_epochs(self, clean_epochs: int, steps_per_epoch: int = 0) -> None:
        """Check that at least one epoch is perturbed. Otherwise the run would train like `normal`."""
        # This is a separate check, because a trainer that only evaluates does not need epochs.
        epochs, steps = self.num_train_epochs, self.max_steps
        if self.get_method().draws and steps <= 0 and 0 < epochs <= clean_epochs:
            raise HfBatError(
                f"num_train_epochs={epochs} ends within clean_epochs={clean_epochs}, so "
                f"method={self.method!r} would never perturb a row: raise num_train_epochs or lower "
                "clean_epochs"
            )
        if 0 < steps <= clean_epochs * steps_per_epoch:
            logger.warning(
                "max_steps=%d ends within clean_epochs=%d (%d steps per epoch): this run never perturbs "
                "a row, although method=%r",
                steps,
                clean_epochs,
                steps_per_epoch,
                self.method,
            )

    def get_warmup(self, step: int, max_steps: int, clean_steps: int) -> float:
        """Return the factor (0..1) for the weights of perturbed versions after `step` optimizer steps."""
        steps = self.weight_warmup_steps
        assert steps is not None  # filled in by check_method
        steps = steps if steps >= 1 else steps * max_steps
        return min(1.0, max(0.0, (step + 1 - clean_steps) / steps)) if steps else 1.0

    # ---- checks -------------------------------------------------------------------------------

    def _check_values(self) -> None:
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in known:
                raise HfBatError(f"unknown {name} {value!r}; known: {', '.join(known)}")
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                bound = f"{least} or more" if most == math.inf else f"from {least} to {most}"
                raise HfBatError(f"{name} must be {bound}; got {value}")
        if self.obstinate_edits is not None:
            check_obstinate_edits(self.get_entries("obstinate_edits"))
        if self.fickle_edits is not None:
            check_fickle_edits(self.get_entries("fickle_edits"))
        if list(self.label_names or ["labels"]) != ["labels"]:
            raise HfBatError(
                f"label_names={self.label_names} is the name of the model input with the labels, which must "
                "be 'labels'; to name the classes, use the task (--class_names)"
            )
        weights = self.class_weights
        if weights is not None and not (sum(weights) > 0 and min(weights) >= 0):
            raise HfBatError(f"class_weights must not be negative or all zero; got {weights}")

    def _check_use(self, method: Method) -> None:
        """Check that the method uses each option that was changed from its default."""
        defaults = {f.name: f.default for f in fields(self)} | {
            "clean_epochs": 0,
            "weight_warmup_steps": 0,
        }
        # The weights of a registered method may be fields of its class instead.
        for name in sorted(method.list_unused(self.__dict__) & self._list_own_fields()):
            value = getattr(self, name)
            if value != defaults[name]:
                users = [m.name for m in METHODS.values() if name in (*m.options, *m.weights)]
                raise HfBatError(
                    f"{name}={value} has no effect with method={self.method!r} and these options; it "
                    f"belongs to {', '.join(users)}"
                )

    def _check_judge(self) -> None:
        if self.label_judge is None:
            return
        if self.label_filter == "off":
            raise HfBatError(
                f"label_judge={self.label_judge!r} needs label_filter='only' or 'prefer'; with 'off', any "
                "edit may be drawn"
            )
        judge = self.get_judge()
        is_rule = isinstance(judge, LabelValidity) and not judge.asks_judge
        if self.dataloader_num_workers and not is_rule:
            raise HfBatError("label_judge runs in the main process: set dataloader_num_workers=0")

    def _check_attacks(self) -> None:
        if self.attack_label_filter and not has_obstinate(self.attacks or ()):
            raise HfBatError(
                "attack_label_filter needs an obstinate attack in attacks=, such as 'antonym'"
            )
        if self.attacks:
            check_best_metric(self.metric_for_best_model, self.attack_every, self.attacks)
        elif is_attack_metric(self.metric_for_best_model):
            raise HfBatError(
                f"metric_for_best_model={self.metric_for_best_model!r} is an attack metric: set attacks="
            )

    def _check_contrast(self, best: str) -> None:
        if self.contrast_format is not None and self.contrast_file is None:
            raise HfBatError("contrast_format has no effect without contrast_file")
        if not best.startswith("contrast_"):
            return
        if self.contrast_file is None:
            raise HfBatError(f"metric_for_best_model={best!r} needs contrast_file")
        if self.attack_every != "eval":
            raise HfBatError(
                f"metric_for_best_model={best!r} is needed at each evaluation: set attack_every='eval'"
            )

    # ---- copies -------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        # The Trainer pickles its arguments next to the model and also pushes that file.
        state = {**self.__dict__, "hub_token": None}
        # Custom classes may not be importable where the file is loaded.
        state.pop("_own_method", None)
        state.pop("_own_judge", None)
        state.pop("_own_objects", None)
        return state

    def __copy__(self) -> BalancedTrainingArguments:
        # Copies do not leave this process, so they keep the token.
        args = object.__new__(type(self))
        args.__dict__.update(self.__dict__)
        return args

    def __deepcopy__(self, memo: dict[int, Any]) -> BalancedTrainingArguments:
        args = object.__new__(type(self))
        memo[id(self)] = args
        args.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return args


def check_inputs(
    args: BalancedTrainingArguments,
    task: Task | None,
    collator: Any,
    tokenizer: Any,
    has_tables: bool,
    loss_function: Any,
) -> None:
    """Check that the inputs of a trainer fit its arguments. Raw text requires a task."""
    if loss_function is not None and (args.class_weights or args.label_smoothing_factor):
        raise HfBatError(
            "compute_loss_func replaces the cross-entropy, so class_weights and "
            "label_smoothing_factor have no effect: use only one of them"
        )
    if isinstance(collator, PerturbationCollator) or None not in (task, collator):
        _check_collator(collator, args)
    if task is not None and tokenizer is None:
        raise HfBatError("pass the tokenizer as processing_class=")
    if args.canonicalize and args.get_method().draws:
        logger.warning(
            "canonicalize undoes most fickle edits, so method=%r has few valid fickle versions",
            args.method,
        )
    needs_text = {
        f"method={args.method!r}": bool(args.get_method().draws),
        "synonyms=, antonyms= or splitter=": has_tables,
        "eval_distances": args.eval_distances,
        "canonicalize": args.canonicalize,
        "attacks": bool(args.attacks),
        "contrast_file": args.contrast_file is not None,
    }
    for option, is_given in needs_text.items():
        if task is None and is_given:
            raise HfBatError(f"{option} needs raw text: pass task=, for example task='snli'")


def check_perturbations(
    args: BalancedTrainingArguments,
    task: Task | None,
    collator: Any,
    own: Mapping[str, Perturbation | None],
) -> None:
    """Check that each custom perturbation has the right kind and is used."""
    draws = args.get_method().draws
    for kind, perturbation in own.items():
        if perturbation is None:
            continue
        if not isinstance(perturbation, Perturbation) or perturbation.kind != kind:
            given = getattr(perturbation, "kind", type(perturbation).__name__)
            raise HfBatError(f"{kind}= must be a {kind} Perturbation; got {given}")
        if task is None or collator is not None or kind not in draws:
            raise HfBatError(
                f"{kind}= has no effect: it needs task=, no data_collator, and a method that draws {kind} "
                f"versions, but the method is {args.method!r}"
            )
        if getattr(args, f"{kind}_edits") is not None:
            raise HfBatError(f"{kind}= replaces {kind}_edits: use only one of them")


def _check_collator(collator: Any, args: BalancedTrainingArguments) -> None:
    """Check that a custom collator fits the arguments and draws the versions the method needs."""
    method = args.get_method()
    if not isinstance(collator, PerturbationCollator):
        raise HfBatError(
            f"data_collator must be a PerturbationCollator; got {type(collator).__name__}"
        )
    if method.attack_recipe:
        raise HfBatError(f"method={method.name!r} makes its own versions: omit data_collator")
    sampler = collator.sampler
    for kind in method.draws:
        if getattr(sampler, kind) is None:
            raise HfBatError(
                f"method={method.name!r} needs {kind} versions: pass {kind}= to your data_collator"
            )
    if method.draws and collator.perturb_anchor != method.perturbs_anchor:
        raise HfBatError(
            f"method={method.name!r} needs perturb_anchor={method.perturbs_anchor} in your data_collator"
        )
    validity = collator.validity or getattr(sampler.obstinate, "validity", None)
    if args.label_filter in ("only", "prefer") and validity is None:
        raise HfBatError(
            f"label_filter={args.label_filter!r} has no effect with a custom data_collator: pass "
            "validity= to the collator or set label_filter='off'"
        )
    # Options that the collator determines must be omitted or have the same value as in the
    # collator.
    decided = {
        "num_fickle": sampler.num_fickle,
        "num_obstinate": sampler.num_obstinate,
        "clean_epochs": collator.clean_epochs,
        "max_seq_length": collator.max_length,
        "pad_to_multiple_of": collator.pad_to_multiple_of,
    }
    tables = (
        "label_judge",
        "obstinate_edits",
        "fickle_edits",
        "exclude_stopwords",
        "drop_antonyms_from_synonyms",
        "casing",
        "fit_grammar",
    )
    given = args.get_given_options()
    for name in (*decided, *tables):
        default = args.__dataclass_fields__[name].default
        if given[name] not in (default, decided.get(name, default)):
            raise HfBatError(
                f"{name}={given[name]} has no effect with a custom data_collator: set it there and omit "
                "it from the arguments"
            )


def check_canonicalizer(
    collator: PerturbationCollator, canonicalizer: Canonicalizer | None
) -> None:
    """Check that a custom collator uses the trainer's canonicalizer, as the attacks do."""
    wanted = getattr(canonicalizer, "fingerprint", None)
    # A custom function has no fingerprint to report, so it never matches.
    if getattr(collator.canonicalizer, "fingerprint", collator.canonicalizer) != wanted:
        raise HfBatError(
            "your data_collator's canonicalizer differs from the one that attacks use: create it with "
            "Canonicalizer(build_perturbations(synonyms, antonyms)[0].table), by default with "
            "synonyms='wordnet', with the arguments' casing and drop_antonyms_from_synonyms; without "
            "canonicalize=True, omit it"
        )
