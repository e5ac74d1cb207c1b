"""Arguments of `BalancedTrainer`: those of `TrainingArguments`, and the method's own."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from transformers import TrainingArguments

from hf_bat.errors import HfBatError
from hf_bat.perturbations.build import check_obstinate_edits
from hf_bat.robustness_keys import (
    check_best_metric,
    has_obstinate,
    is_attack_metric,
    is_lower_better,
)

# method -> the weights it takes, with their defaults (the paper's best, appendix C.2).
METHOD_WEIGHTS: dict[str, dict[str, float]] = {
    "normal": {},
    "safer": {},
    "a2t": {"adversarial_weight": 1.0},
    "pairwise": {"alpha": 1.0, "beta": 1.2, "margin": 1.0},
    "triplet": {"contrastive_weight": 1.0, "margin": 1.0},
    "likelihood": {
        "alpha": 1.0,
        "beta": 1.0,
        "margin": 1.0,
        "other_margin": 0.15,
        "other_limit": 0.4,
        "contrastive_weight": 0.0,
    },
}
# Methods whose loss is made of distances, and those that draw obstinate versions at all.
CONTRASTIVE_METHODS = ("pairwise", "triplet")
BALANCED_METHODS = (*CONTRASTIVE_METHODS, "likelihood")
WEIGHTS = (
    "alpha",
    "beta",
    "contrastive_weight",
    "margin",
    "other_margin",
    "other_limit",
    "adversarial_weight",
)
# Of the triplet term beside the likelihood terms, whose own margin is in nats.
TRIPLET_MARGIN = 1.0
_A2T_OPTIONS = (
    "attack_interval",
    "attack_share",
    "attack_budget",
    "a2t_candidates",
    "mlm_model",
    "encoder",
)
# option -> the methods that use it. Given to another method it would be ignored, so it is refused.
OPTION_METHODS: dict[str, tuple[str, ...]] = {
    "distance": BALANCED_METHODS,
    "pooling": BALANCED_METHODS,
    "mask": ("triplet", "likelihood"),
    "label_filter": BALANCED_METHODS,
    "obstinate_edits": BALANCED_METHODS,
    "num_fickle": BALANCED_METHODS,
    "num_obstinate": BALANCED_METHODS,
    "weight_warmup_steps": BALANCED_METHODS,
    "clean_epochs": ("safer", "a2t", *BALANCED_METHODS),
    **dict.fromkeys(_A2T_OPTIONS, ("a2t",)),
    # The attack of A2T leaves them alone whatever one says.
    "exclude_stopwords": tuple(method for method in METHOD_WEIGHTS if method != "a2t"),
}
_CHOICES = {
    "distance": ("cosine", "euclidean", "manhattan"),
    "pooling": ("cls", "mean", "max", "last", "head_input"),
    "mask": ("paper", "authors"),
    "casing": ("keep", "authors"),
    "attack_every": ("eval", "epoch", "end"),
    "label_filter": ("off", "only", "prefer"),
    "a2t_candidates": ("table", "mlm"),
}
# option -> its least value.
_LEAST = {
    "num_fickle": 1,
    "num_obstinate": 1,
    "clean_epochs": 0,
    "attack_interval": 1,
    "attack_budget": 1,
}
# The label filter where none is given: the paper's protocol has none.
DEFAULT_FILTERS = {"likelihood": "prefer"}
# Weights of versions that the label filter does not pass, which it must let be drawn and tell apart.
_OF_OTHERS = ("other_margin", "other_limit")


@dataclass
class BalancedTrainingArguments(TrainingArguments):
    """`TrainingArguments` with the choices of Balanced Adversarial Training.

    A weight that is None takes the method's default; one given to a method that has no such weight
    is an error, and so is an option that the method would ignore.

    Args:
        method: `"normal"` (cross-entropy), `"safer"` (cross-entropy on a fickle draw; Ye et al. 2020),
            `"a2t"` (cross-entropy on adversarial rows too; Yoo and Qi 2021),
            `"pairwise"` or `"triplet"` (Balanced Adversarial Training, paper section 4.1), or
            `"likelihood"` (cross-entropy on the fickle version too, and a hinge that makes the label
            less likely on the obstinate one; this package's own).
        alpha: weight of the fickle versions (pairwise and likelihood; default 1.0).
        beta: weight of the obstinate versions (pairwise 1.2, likelihood 1.0).
        contrastive_weight: the paper's lambda (triplet; default 1.0), and of a triplet term, of margin
            1.0, beside the likelihood terms (default 0.0).
        margin: how far an obstinate version should be (default 1.0): in units of the distance
            (pairwise, triplet) or, in nats, by how much less likely the label should be (likelihood).
        other_margin: likelihood's margin of obstinate versions that the label filter does not pass
            (nats; default 0.15: such an edit should not speak for the label).
        other_limit: the most (nats; default 0.4) by which such a version should lower the label's
            log-probability: the label likely stays.
        label_filter: which obstinate edits are drawn: `"off"` any (the paper's protocol), `"only"` those
            likely to change the label, `"prefer"` those where a row has one and any otherwise; where
            None, `"off"`, for likelihood `"prefer"`.
        distance: `"cosine"` (1 - cos, 0 to 2), `"euclidean"` or `"manhattan"`.
        pooling: the representation: `"cls"`, `"mean"`, `"max"` or `"last"` of the last hidden layer, or
            `"head_input"`, what the final linear layer is fed; where None, `"cls"`, and `"last"` for a
            decoder.
        mask: triplet's mask rule, `"paper"` (both parts masked, mean over rows that have a valid
            version) or `"authors"` (only the obstinate part masked, mean over all rows).
        num_fickle: fickle draws a row.
        num_obstinate: obstinate draws a row.
        clean_epochs: first epochs that train as `normal` (default 1 for a2t and 0 for the others).
        adversarial_weight: weight of the cross-entropy on adversarial rows (a2t; default 1.0).
        attack_interval: epochs from one attack on training rows to the next (a2t).
        attack_share: share of the training rows attacked each time, above 0 and at most 1 (a2t).
        attack_budget: the most queries that the attack may spend on a row (a2t).
        a2t_candidates: what the attack puts in a word's place: `"table"`, the word's nearest synonyms, or
            `"mlm"`, what `mlm_model` predicts there.
        mlm_model: the folder or Hub id of a masked language model (a2t with `"mlm"`).
        encoder: the folder or Hub id of a sentence encoder: the attack keeps to edits of a cosine
            similarity of 0.9 or more (a2t); no such bound where None.
        weight_warmup_steps: optimizer steps after the clean epochs over which the contrastive weights
            rise linearly from 0; below 1, a share of all steps.
        max_seq_length: tokens after which an input is cut; None for the tokenizer's limit.
        exclude_stopwords: no perturbation of function words.
        drop_antonyms_from_synonyms: a word's antonyms are taken out of its synonym set.
        casing: `"keep"` the case of replaced words, or `"authors"` (lower case).
        class_weights: weights of the classes in the cross-entropy, in the model's label order.
        eval_distances: let `evaluate` report the mean distances of fickle and obstinate versions too.
        obstinate_edits: kinds of obstinate edits that are drawn, of `"antonym"`, `"negation"`,
            `"sister"` and `"number"`; where None, antonyms alone (the paper's protocol).
        canonicalize: map each word to the representative of its component of the synonym table before
            the tokenizer, in training and evaluation (`hf_bat.canonicalize`); reports disclose it.
        attacks: attack recipes that `evaluate` runs, such as `["antonym", "synonym"]`; their metrics
            are `eval_antonym_asr`, `eval_antonym_asr_confident`, ..., fractions of which lower is better.
        max_attack_samples: attack the first so many evaluation rows, right or wrong; all where None.
        attack_label_filter: also report obstinate attacks by whether their edits pass the label filter
            (`eval_antonym_valid_keep_rate`, `eval_antonym_invalid_keep_rate`, ...).
        attack_every: `"eval"` (each evaluation), `"epoch"` (those at the end of an epoch) or `"end"`
            (those after training).

    Raises:
        HfBatError: an unknown method or choice, or an option that the method does not have.

    Example:
        >>> args = BalancedTrainingArguments("out", method="triplet", report_to="none")
        >>> args.contrastive_weight, args.margin, args.alpha
        (1.0, 1.0, None)
    """

    method: str = field(
        default="normal",
        metadata={"help": "Training method: normal, safer, a2t, pairwise, triplet or likelihood."},
    )
    alpha: float | None = field(
        default=None,
        metadata={"help": "Pairwise, likelihood: weight of the fickle versions. Default 1.0."},
    )
    beta: float | None = field(
        default=None,
        metadata={
            "help": "Weight of the obstinate versions. Default pairwise 1.2, likelihood 1.0."
        },
    )
    contrastive_weight: float | None = field(
        default=None,
        metadata={
            "help": "Weight of the triplet term (lambda). Default triplet 1.0, likelihood 0.0."
        },
    )
    margin: float | None = field(
        default=None,
        metadata={
            "help": "How far an obstinate version should be. Default 1.0: of the distance (pairwise, "
            "triplet), or nats by which the label should be less likely (likelihood)."
        },
    )
    other_margin: float | None = field(
        default=None,
        metadata={
            "help": "Likelihood: margin (nats) of obstinate versions that the label-validity filter "
            "does not pass. Default 0.15."
        },
    )
    other_limit: float | None = field(
        default=None,
        metadata={
            "help": "Likelihood: the most (nats) by which an obstinate version that the label-validity "
            "filter does not pass should lower the label's log-probability. Default 0.4."
        },
    )
    distance: str = field(
        default="cosine", metadata={"help": "Distance: cosine, euclidean or manhattan."}
    )
    pooling: str | None = field(
        default=None,
        metadata={
            "help": "Representation: cls, mean, max, last or head_input. Default cls; last for a decoder."
        },
    )
    mask: str = field(default="paper", metadata={"help": "Triplet's mask rule: paper or authors."})
    label_filter: str | None = field(
        default=None,
        metadata={
            "help": "Obstinate draws: off (any edit; the paper), only (edits likely to change the label) "
            "or prefer (those where a row has one). Default off, for likelihood prefer."
        },
    )
    num_fickle: int = field(default=1, metadata={"help": "Fickle draws per row."})
    num_obstinate: int = field(default=1, metadata={"help": "Obstinate draws per row."})
    clean_epochs: int | None = field(
        default=None,
        metadata={"help": "First epochs on unperturbed rows alone. Default 1 for a2t, else 0."},
    )
    adversarial_weight: float | None = field(
        default=None,
        metadata={"help": "A2T: weight of the cross-entropy on adversarial rows. Default 1.0."},
    )
    attack_interval: int = field(
        default=1, metadata={"help": "A2T: epochs from one attack on training rows to the next."}
    )
    attack_share: float = field(
        default=0.2, metadata={"help": "A2T: share of the training rows attacked each time."}
    )
    attack_budget: int = field(
        default=200, metadata={"help": "A2T: most queries that the attack may spend on a row."}
    )
    a2t_candidates: str = field(
        default="table",
        metadata={"help": "A2T: candidates from the synonym table, or mlm, a masked LM's."},
    )
    mlm_model: str | None = field(
        default=None, metadata={"help": "A2T with mlm: a folder or Hub id of a masked LM."}
    )
    encoder: str | None = field(
        default=None,
        metadata={"help": "A2T: a sentence encoder, for edits of similarity 0.9 or more alone."},
    )
    weight_warmup_steps: float = field(
        default=0.0,
        metadata={
            "help": "Steps after the clean epochs over which the contrastive weights rise from 0; "
            "below 1, a share of all steps."
        },
    )
    max_seq_length: int | None = field(
        default=128,
        metadata={"help": "Tokens after which an input is cut; longer ones are truncated."},
    )
    exclude_stopwords: bool = field(
        default=True, metadata={"help": "Leave function words unperturbed."}
    )
    drop_antonyms_from_synonyms: bool = field(
        default=True, metadata={"help": "Take a word's antonyms out of its synonym set."}
    )
    casing: str = field(
        default="keep",
        metadata={
            "help": "Case of replacements: keep the replaced word's, or authors' lower case."
        },
    )
    class_weights: list[float] | None = field(
        default=None,
        metadata={"help": "Class weights of the cross-entropy, in the model's label order."},
    )
    eval_distances: bool = field(
        default=False,
        metadata={"help": "Report mean fickle and obstinate distances when evaluating."},
    )

    obstinate_edits: list[str] | None = field(
        default=None,
        metadata={
            "help": "Kinds of obstinate edits: antonym, negation, sister, number. Default antonym; of "
            "several, a draw takes each kind that a row allows as likely."
        },
    )
    canonicalize: bool = field(
        default=False,
        metadata={
            "help": "Preprocessing defence: map each word to its synonyms' representative before the "
            "tokenizer, in training and evaluation."
        },
    )
    attacks: list[str] | None = field(
        default=None,
        metadata={"help": "Attacks that evaluation runs, such as: antonym synonym negation."},
    )
    max_attack_samples: int | None = field(
        default=500,
        metadata={"help": "Attack the first N evaluation rows, right or wrong."},
    )
    attack_label_filter: bool = field(
        default=False,
        metadata={"help": "Report obstinate edits that likely change the label apart too."},
    )
    attack_every: str = field(
        default="eval",
        metadata={
            "help": "Attack at each evaluation (eval), an epoch's (epoch), or after training (end)."
        },
    )

    # Options that `check_method` gave their defaults; an attribute, pickled and copied, and no field.
    _filled: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        if getattr(self, "greater_is_better", None) is None and is_lower_better(
            self.metric_for_best_model
        ):
            # `TrainingArguments` takes all but a loss for better when greater: the worst model.
            self.greater_is_better = False
        super().__post_init__()
        self.check_method()
        self._check_attacks()

    def __getstate__(self) -> dict[str, Any]:
        # The Trainer pickles its arguments beside the model and pushes that file too.
        return {**self.__dict__, "hub_token": None}

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in self._filled:  # a choice from now on
            self.__dict__["_filled"] = self._filled - {name}

    def _fill(self, name: str, value: Any) -> None:
        """Set a default that holds for this method alone."""
        setattr(self, name, value)
        self.__dict__["_filled"] = self._filled | {name}

    def given_options(self) -> dict[str, Any]:
        """The options that `TrainingArguments` does not have, without defaults that a method filled in."""
        own = {f.name for f in fields(self)} - {f.name for f in fields(TrainingArguments)}
        return {name: None if name in self._filled else getattr(self, name) for name in sorted(own)}

    def check_method(self) -> None:
        """Check the method's options against each other and fill in its weights' defaults.

        Done again when training starts, for a hyper-parameter search sets arguments in between: what
        an earlier check filled in is the other method's default then, and no choice of the user's.

        Raises:
            HfBatError: see the class.
        """
        for name in self._filled:
            setattr(self, name, None)
        _check_choice("method", self.method, tuple(METHOD_WEIGHTS))
        for name, known in _CHOICES.items():
            if getattr(self, name) is not None:
                _check_choice(name, getattr(self, name), known)
        if self.clean_epochs is None:
            self._fill("clean_epochs", 1 if self.method == "a2t" else 0)
        if self.method in BALANCED_METHODS and self.label_filter is None:
            self._fill("label_filter", DEFAULT_FILTERS.get(self.method, "off"))
        self._check_weights()
        self._check_options()
        self._check_ranges()
        self._check_a2t()
        if self.method == "likelihood":
            self._check_likelihood()
        for name, default in METHOD_WEIGHTS[self.method].items():
            if getattr(self, name) is None and not (
                name in _OF_OTHERS and self.label_filter != "prefer"
            ):
                self._fill(name, default)

    def _check_weights(self) -> None:
        for name in WEIGHTS:
            value = getattr(self, name)
            if value is None:
                continue
            if name not in METHOD_WEIGHTS[self.method]:
                takers = [m for m, weights in METHOD_WEIGHTS.items() if name in weights]
                raise HfBatError(
                    f"{name}={value} does not apply to method={self.method!r}; "
                    f"it is a weight of {' and '.join(takers)}"
                )
            _check_amount(name, value, may_be_infinite=name == "other_limit")

    def _check_options(self) -> None:
        """Refuse options of other methods that were changed from their defaults."""
        defaults = {f.name: f.default for f in fields(self) if f.default is not MISSING}
        defaults["clean_epochs"] = 0
        for name, methods in OPTION_METHODS.items():
            if name in ("distance", "pooling") and self.eval_distances:
                continue  # then any method uses them
            if self.method not in methods and getattr(self, name) != defaults[name]:
                raise HfBatError(
                    f"{name}={getattr(self, name)} does not apply to method={self.method!r}; "
                    f"it is an option of {', '.join(methods)}"
                )

    def _check_ranges(self) -> None:
        if self.obstinate_edits is not None:
            check_obstinate_edits(self.obstinate_edits)
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise HfBatError(f"{name} must be at least {least}; got {getattr(self, name)}")
        _check_amount("weight_warmup_steps", self.weight_warmup_steps)
        if self.max_seq_length is not None and self.max_seq_length < 4:
            raise HfBatError(f"max_seq_length must be at least 4; got {self.max_seq_length}")
        weights = self.class_weights
        if weights is not None and not (
            sum(weights) > 0 and all(w >= 0 and math.isfinite(w) for w in weights)
        ):
            raise HfBatError(
                f"class_weights must be finite, not negative nor all zero; got {weights}"
            )

    def _check_likelihood(self) -> None:
        for name in _OF_OTHERS:
            if getattr(self, name) is not None and self.label_filter != "prefer":
                raise HfBatError(
                    f"{name}={getattr(self, name)} is for label_filter='prefer'; with "
                    f"{self.label_filter!r} no obstinate version is told from the others"
                )
        if self.label_filter == "prefer":
            defaults = METHOD_WEIGHTS["likelihood"]
            margin, limit = self.other_margin, self.other_limit
            if margin is None:
                margin = defaults["other_margin"]
                self._fill("other_margin", margin)
            if limit is None:
                limit = max(defaults["other_limit"], margin)
                self._fill("other_limit", limit)
            if limit < margin:
                raise HfBatError(
                    f"other_limit={limit} is below other_margin={margin}: an "
                    "obstinate version cannot lower the label by no less than the one and no more than "
                    "the other"
                )
        if self.contrastive_weight or self.eval_distances:
            return
        for name in ("distance", "pooling", "mask"):
            default = next(f.default for f in fields(self) if f.name == name)
            if getattr(self, name) != default:
                raise HfBatError(
                    f"{name}={getattr(self, name)} is of the triplet term, which method='likelihood' has "
                    "with a contrastive_weight above 0"
                )

    def _check_a2t(self) -> None:
        if not 0 < self.attack_share <= 1:
            raise HfBatError(f"attack_share must be above 0 and at most 1; got {self.attack_share}")
        if self.a2t_candidates == "mlm" and self.mlm_model is None:
            raise HfBatError(
                "a2t_candidates='mlm' needs mlm_model, the folder or Hub id of a masked language model"
            )
        if self.a2t_candidates != "mlm" and self.mlm_model is not None:
            raise HfBatError(
                f"mlm_model={self.mlm_model!r} is for a2t_candidates='mlm'; "
                f"got {self.a2t_candidates!r}"
            )

    def _check_attacks(self) -> None:
        if self.attack_label_filter and not self.attacks:
            raise HfBatError("attack_label_filter reports on attacks: give attacks=")
        if self.attack_label_filter and not has_obstinate(self.attacks or ()):
            raise HfBatError(
                "attack_label_filter is for obstinate attacks, such as antonym; none is named"
            )
        if self.max_attack_samples is not None and self.max_attack_samples < 1:
            raise HfBatError(
                f"max_attack_samples must be at least 1; got {self.max_attack_samples}"
            )
        if self.attacks:
            check_best_metric(self.metric_for_best_model, self.attack_every, self.attacks)
        elif is_attack_metric(self.metric_for_best_model):
            raise HfBatError(
                f"metric_for_best_model={self.metric_for_best_model!r} comes from attacks: give attacks="
            )


def _check_choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise HfBatError(f"unknown {name} {value!r}; known: {', '.join(known)}")


def _check_amount(name: str, value: float, may_be_infinite: bool = False) -> None:
    if value < 0:
        raise HfBatError(f"{name} must not be negative; got {value}")
    if math.isnan(value) or (math.isinf(value) and not may_be_infinite):
        raise HfBatError(f"{name} must be a finite number; got {value}")
