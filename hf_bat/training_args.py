"""Arguments of `BalancedTrainer`: those of `TrainingArguments`, and the method's own."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from transformers import TrainingArguments

from hf_bat.attack.figures import is_lower_better
from hf_bat.errors import HfBatError
from hf_bat.method_checks import check_attacks, check_choices, check_options
from hf_bat.methods import defaults_of


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
            `"head_input"`, what the final linear layer is fed; where None, as the model's own head:
            `"cls"`, `"last"` for a decoder, what the configuration of a ModernBERT, EuroBERT or XLNet names.
        mask: triplet's mask rule, `"paper"` (both parts masked, mean over rows that have a valid
            version) or `"authors"` (only the obstinate part masked, mean over all rows).
        num_fickle: fickle draws a row.
        num_obstinate: obstinate draws a row.
        clean_epochs: first epochs that train as `normal` (default 1 for a2t and 0 for the others); fewer
            than `num_train_epochs`, or training is refused. Where `max_steps` ends a run in them, it warns.
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
            "help": "Representation: cls, mean, max, last or head_input. Default: the model's own head's."
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
        metadata={
            "help": "First epochs on unperturbed rows alone, fewer than num_train_epochs. Default 1 for "
            "a2t, else 0."
        },
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
        check_attacks(self)

    def __getstate__(self) -> dict[str, Any]:
        # The Trainer pickles its arguments beside the model and pushes that file too.
        return {**self.__dict__, "hub_token": None}

    def __copy__(self) -> BalancedTrainingArguments:
        # Copies stay in this process: they keep the token.
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> BalancedTrainingArguments:
        made = object.__new__(type(self))
        memo[id(self)] = made
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made

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
        if self.class_weights is not None:
            # Plain numbers whatever they come in, a tensor or an array: the arguments are written as JSON.
            try:
                self.class_weights = [float(weight) for weight in self.class_weights]
            except (TypeError, ValueError) as error:
                raise HfBatError(
                    f"class_weights must be a number for each label; got {self.class_weights!r}"
                ) from error
        check_choices(self)
        self._fill_defaults()
        check_options(self)

    def _fill_defaults(self) -> None:
        """Give what was left out the method's default."""
        for name, default in defaults_of(self.method, self.__dict__).items():
            if getattr(self, name) is None:
                self._fill(name, default)
