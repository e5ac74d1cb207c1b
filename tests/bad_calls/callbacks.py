"""Bad calls with attacks in evaluation."""

from functools import partial

from bad_calls import BadCall
from training_helpers import made_rows, make_trainer
from transformers import TrainerControl, TrainerState, TrainingArguments

from hf_bat import RobustnessCallback
from hf_bat.callbacks import RobustnessMeter, robustness_objective


def refused(keyword, **options):
    """Return the bad call of `BalancedTrainer` with these arguments and two attacks."""
    options = {"attacks": ["antonym", "synonym"]} | options
    name = ", ".join(f"{option}={value}" for option, value in options.items())
    return BadCall(name, partial(make_trainer, rows=made_rows(4), **options), keyword)


def evaluate_without_tokenizer(folder):
    callback = RobustnessCallback(made_rows(2), "snli")
    args = TrainingArguments(str(folder), report_to="none", use_cpu=True)
    callback.on_evaluate(args, TrainerState(), TrainerControl(), metrics={})


CALLS = [
    refused("attacks", attacks=None, metric_for_best_model="eval_antonym_asr"),
    refused("['antonym', 'synonym']", attacks=["antonym"], metric_for_best_model="eval_robustness"),
    refused("['a2t']", attacks=["a2t-mlm"], metric_for_best_model="eval_a2t_asr"),
    refused(
        "['antonym']",
        attacks=["synonym"],
        metric_for_best_model="eval_mm_antonym_valid_keep_rate",
    ),
    refused("keep_rate", metric_for_best_model="eval_synonym_keep_rate"),
    refused("asr_confident", metric_for_best_model="eval_synonym_asr_confident"),
    refused("attack_every", metric_for_best_model="eval_antonym_asr", attack_every="end"),
    refused("never", attack_every="never"),
    refused("max_attack_samples", max_attack_samples=0),
    refused("antonim", attacks=["antonim"]),
    BadCall("no attack", lambda _: RobustnessMeter([], "snli", None), "attack"),
    BadCall("no tokenizer", evaluate_without_tokenizer, "processing_class"),
    BadCall("nothing to maximize", lambda _: robustness_objective({}), "compute_metrics"),
]
