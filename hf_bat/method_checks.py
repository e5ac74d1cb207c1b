"""Whether the arguments of `BalancedTrainer` fit the method and each other; what does not is one line."""

from __future__ import annotations

import math
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from hf_bat.attack.figures import check_best_metric, has_obstinate, is_attack_metric
from hf_bat.errors import HfBatError
from hf_bat.methods import (
    BALANCED_METHODS,
    CHOICES,
    LEAST,
    METHOD_WEIGHTS,
    OF_OTHERS,
    OF_TRIPLET_TERM,
    OPTION_METHODS,
    WEIGHTS,
)
from hf_bat.perturbations.build import check_obstinate_edits

if TYPE_CHECKING:
    from hf_bat.collator import PerturbationCollator
    from hf_bat.training_args import BalancedTrainingArguments

# What a collator must draw, and the options that say how the trainer's own one perturbs.
_NEEDED = {"safer": ("fickle",), **dict.fromkeys(BALANCED_METHODS, ("fickle", "obstinate"))}
_OF_PERTURBATIONS = (
    "obstinate_edits",
    "exclude_stopwords",
    "drop_antonyms_from_synonyms",
    "casing",
)


def check_choices(args: BalancedTrainingArguments) -> None:
    """Refuse a method, or a value of an option that has a few, that there is not.

    Raises:
        HfBatError: which it is, and what is known.
    """
    _check_choice("method", args.method, tuple(METHOD_WEIGHTS))
    for name, known in CHOICES.items():
        if getattr(args, name) is not None:
            _check_choice(name, getattr(args, name), known)


def check_options(args: BalancedTrainingArguments) -> None:
    """Refuse what the method would ignore, what is out of range, and what contradicts itself.

    Args:
        args: with the method's defaults filled in.

    Raises:
        HfBatError: what does not fit, in one line.
    """
    _check_weights(args)
    _check_own_options(args)
    _check_ranges(args)
    _check_a2t(args)
    if args.method == "likelihood":
        _check_likelihood(args)


def check_attacks(args: BalancedTrainingArguments) -> None:
    """Refuse attacks of evaluation that do not fit the other arguments.

    Raises:
        HfBatError: what does not fit, in one line.
    """
    if args.attack_label_filter and not args.attacks:
        raise HfBatError("attack_label_filter reports on attacks: give attacks=")
    if args.attack_label_filter and not has_obstinate(args.attacks or ()):
        raise HfBatError(
            "attack_label_filter is for obstinate attacks, such as antonym; none is named"
        )
    if args.max_attack_samples is not None and args.max_attack_samples < 1:
        raise HfBatError(f"max_attack_samples must be at least 1; got {args.max_attack_samples}")
    if args.attacks:
        check_best_metric(args.metric_for_best_model, args.attack_every, args.attacks)
    elif is_attack_metric(args.metric_for_best_model):
        raise HfBatError(
            f"metric_for_best_model={args.metric_for_best_model!r} comes from attacks: give attacks="
        )


def check_epochs(args: BalancedTrainingArguments, clean_epochs: int, whose: str = "") -> None:
    """Refuse to train for so few epochs that all are clean: the method would train as `normal` does.

    It is for whoever is about to train: an evaluation needs no epochs. Where `max_steps` is given,
    `num_train_epochs` says nothing.

    Args:
        args: of the run.
        clean_epochs: its first epochs that go unperturbed.
        whose: what sets them where the arguments do not, such as `" of your data_collator"`.

    Raises:
        HfBatError: the run ends inside its clean epochs.
    """
    epochs = args.num_train_epochs
    if args.method != "normal" and args.max_steps <= 0 and 0 < epochs <= clean_epochs:
        raise HfBatError(
            f"num_train_epochs={epochs} ends inside clean_epochs={clean_epochs}{whose}, which would train "
            f"as method='normal' and never as {args.method!r}: raise num_train_epochs above it, or lower "
            "clean_epochs"
        )


def check_own_collator(args: BalancedTrainingArguments, collator: PerturbationCollator) -> None:
    """Refuse a user's collator that does not draw what the method needs, or not as the arguments say.

    Raises:
        HfBatError: what does not fit, in one line.
    """
    sampler, method = collator.sampler, args.method
    for kind in _NEEDED.get(method, ()):
        if getattr(sampler, kind) is None:
            raise HfBatError(
                f"method={method!r} needs {kind} versions: give your data_collator {kind}="
            )
    if method != "normal" and collator.perturb_anchor != (method == "safer"):
        raise HfBatError(
            f"method={method!r} wants perturb_anchor={method == 'safer'} of your data_collator, for "
            "SAFER alone trains on fickle versions in the anchors' place"
        )
    validity = collator.validity or getattr(sampler.obstinate, "validity", None)
    if args.label_filter in ("only", "prefer") and validity is None:
        raise HfBatError(
            f"label_filter={args.label_filter!r} would pass your data_collator by: give it a validity=, or "
            "set label_filter='off'"
        )
    _check_overridden(
        args,
        {
            "num_fickle": sampler.num_fickle,
            "num_obstinate": sampler.num_obstinate,
            "clean_epochs": collator.clean_epochs,
            "max_seq_length": collator.max_length,
        },
    )


def _check_overridden(args: BalancedTrainingArguments, has: dict[str, Any]) -> None:
    """Refuse options that a user's collator decides, unless they are left out or say what it `has`."""
    defaults = {f.name: f.default for f in fields(args) if f.default is not MISSING}
    for name, value in args.given_options().items():
        if name not in (*has, *_OF_PERTURBATIONS) or value == defaults[name]:
            continue
        if name not in has or value != has[name]:
            found = f", which has {has[name]}" if name in has else ""
            raise HfBatError(
                f"{name}={value} would pass your data_collator by{found}: make it with that, and leave "
                "it out here"
            )


def _check_weights(args: BalancedTrainingArguments) -> None:
    for name in WEIGHTS:
        value = getattr(args, name)
        if value is None:
            continue
        if name not in METHOD_WEIGHTS[args.method]:
            takers = [m for m, weights in METHOD_WEIGHTS.items() if name in weights]
            raise HfBatError(
                f"{name}={value} does not apply to method={args.method!r}; "
                f"it is a weight of {' and '.join(takers)}"
            )
        _check_amount(name, value, may_be_infinite=name == "other_limit")


def _check_own_options(args: BalancedTrainingArguments) -> None:
    """Refuse options of other methods that were changed from their defaults."""
    defaults = {f.name: f.default for f in fields(args) if f.default is not MISSING}
    defaults["clean_epochs"] = 0
    for name, methods in OPTION_METHODS.items():
        if name in ("distance", "pooling") and args.eval_distances:
            continue  # then any method uses them
        if args.method not in methods and getattr(args, name) != defaults[name]:
            raise HfBatError(
                f"{name}={getattr(args, name)} does not apply to method={args.method!r}; "
                f"it is an option of {', '.join(methods)}"
            )


def _check_ranges(args: BalancedTrainingArguments) -> None:
    if args.obstinate_edits is not None:
        check_obstinate_edits(args.obstinate_edits)
    for name, least in LEAST.items():
        if getattr(args, name) < least:
            raise HfBatError(f"{name} must be at least {least}; got {getattr(args, name)}")
    for name in ("seed", "data_seed"):
        seed = getattr(args, name)
        if seed is not None and not 0 <= seed < 2**32:
            raise HfBatError(f"{name} must be from 0 to {2**32 - 1}; got {seed}")
    if list(args.label_names or ["labels"]) != ["labels"]:
        raise HfBatError(
            f"label_names={args.label_names} names the inputs that hold labels, and here these are "
            "'labels'; the names of your classes are the task's (--class_names)"
        )
    _check_amount("weight_warmup_steps", args.weight_warmup_steps)
    # Two of the Trainer's own that it takes as they are: the one trains to NaN without a word, the
    # other is found out by torch in the first step.
    _check_amount("learning_rate", args.learning_rate)
    if not 0 <= args.label_smoothing_factor <= 1:
        raise HfBatError(
            f"label_smoothing_factor must be between 0 and 1; got {args.label_smoothing_factor}"
        )
    if args.max_seq_length is not None and args.max_seq_length < 4:
        raise HfBatError(f"max_seq_length must be at least 4; got {args.max_seq_length}")
    weights = args.class_weights
    if weights is not None and not (
        sum(weights) > 0 and all(w >= 0 and math.isfinite(w) for w in weights)
    ):
        raise HfBatError(f"class_weights must be finite, not negative nor all zero; got {weights}")


def _check_likelihood(args: BalancedTrainingArguments) -> None:
    for name in OF_OTHERS:
        if getattr(args, name) is not None and args.label_filter != "prefer":
            raise HfBatError(
                f"{name}={getattr(args, name)} is for label_filter='prefer'; with "
                f"{args.label_filter!r} no obstinate version is told from the others"
            )
    margin, limit = args.other_margin, args.other_limit
    if margin is not None and limit is not None and limit < margin:
        raise HfBatError(
            f"other_limit={limit} is below other_margin={margin}: an obstinate version cannot lower the "
            "label by no less than the one and no more than the other"
        )
    if args.contrastive_weight or args.eval_distances:
        return
    for name in OF_TRIPLET_TERM:
        default = next(f.default for f in fields(args) if f.name == name)
        if getattr(args, name) != default:
            raise HfBatError(
                f"{name}={getattr(args, name)} is of the triplet term, which method='likelihood' has "
                "with a contrastive_weight above 0"
            )


def _check_a2t(args: BalancedTrainingArguments) -> None:
    if not 0 < args.attack_share <= 1:
        raise HfBatError(f"attack_share must be above 0 and at most 1; got {args.attack_share}")
    if args.a2t_candidates == "mlm" and args.mlm_model is None:
        raise HfBatError(
            "a2t_candidates='mlm' needs mlm_model, the folder or Hub id of a masked language model"
        )
    if args.a2t_candidates != "mlm" and args.mlm_model is not None:
        raise HfBatError(
            f"mlm_model={args.mlm_model!r} is for a2t_candidates='mlm'; got {args.a2t_candidates!r}"
        )


def _check_choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise HfBatError(f"unknown {name} {value!r}; known: {', '.join(known)}")


def _check_amount(name: str, value: float, may_be_infinite: bool = False) -> None:
    if value < 0:
        raise HfBatError(f"{name} must not be negative; got {value}")
    if math.isnan(value) or (math.isinf(value) and not may_be_infinite):
        raise HfBatError(f"{name} must be a finite number; got {value}")
