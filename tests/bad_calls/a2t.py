"""Bad calls with `method="a2t"`, and its options with other methods."""

from functools import partial

from bad_calls import BadCall
from training_helpers import made_rows, make_trainer

from hf_bat import BalancedTrainingArguments


def refused(keyword, **options):
    """Return the bad call of `BalancedTrainingArguments` with these options."""
    make = partial(BalancedTrainingArguments, report_to="none", **options)
    return BadCall(", ".join(f"{k}={v}" for k, v in options.items()), make, keyword)


def refused_trainer(name, keyword, trainer_options=None, **options):
    """Return the bad call of `BalancedTrainer` with `method="a2t"`."""

    def call(folder):
        make_trainer(folder, made_rows(4), method="a2t", trainer_options=trainer_options, **options)

    return BadCall(name, call, keyword)


CALLS = [
    refused("attack_share", attack_share=0.1),
    refused("attack_budget", method="safer", attack_budget=9),
    refused("attack_interval", method="triplet", attack_interval=2),
    refused("adversarial_weight", method="triplet", adversarial_weight=1.0),
    refused("encoder", method="safer", encoder="x"),
    refused("mlm_model", method="pairwise", mlm_model="x"),
    refused("attack_share", method="a2t", attack_share=0.0),
    refused("attack_share", method="a2t", attack_share=1.5),
    refused("attack_interval", method="a2t", attack_interval=0),
    refused("attack_budget", method="a2t", attack_budget=0),
    refused("adversarial_weight", method="a2t", adversarial_weight=-1.0),
    refused("glove", method="a2t", a2t_candidates="glove"),
    refused("mlm_model", method="a2t", a2t_candidates="mlm"),
    refused("a2t_candidates", method="a2t", mlm_model="x"),
    refused("alpha", method="a2t", alpha=1.0),
    refused("num_fickle", method="a2t", num_fickle=2),
    refused("exclude_stopwords", method="a2t", exclude_stopwords=False),
    refused("clean_epochs", method="a2t", clean_epochs=-1),
    refused_trainer("no language model", "masked", a2t_candidates="mlm", mlm_model="/absent"),
    refused_trainer("no encoder", "sentence encoder", encoder="/absent"),
    refused_trainer("no task", "task=", {"task": None, "synonyms": None, "antonyms": None}),
]
