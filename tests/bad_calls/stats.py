"""Bad calls of `hf_bat.stats` and `hf_bat.metrics`."""

from bad_calls import BadCall

from hf_bat.metrics import attack_success_rate, load, robustness_score
from hf_bat.stats import clopper_pearson, wilson_interval


def compute(name, **columns):
    """Return a function that computes a packaged metric."""
    return lambda _: load(name).compute(**columns)


CALLS = [
    BadCall("more successes than trials", lambda _: wilson_interval(3, 2), "3"),
    BadCall("negative successes", lambda _: wilson_interval(-1, 2), "-1"),
    BadCall("confidence of 1", lambda _: wilson_interval(1, 2, confidence=1.0), "confidence"),
    BadCall("confidence in percent", lambda _: wilson_interval(1, 2, confidence=95), "confidence"),
    BadCall("bounds of impossible counts", lambda _: clopper_pearson(11, 10, 0.05), "11"),
    BadCall("rate of impossible counts", lambda _: attack_success_rate(3, 2), "3"),
    BadCall("accuracy in percent", lambda _: robustness_score(84.0, 0.1, 0.1), "84.0"),
    BadCall("success rate above 1", lambda _: robustness_score(0.9, 1.1, 0.1), "1.1"),
    BadCall("unknown metric", lambda _: load("bleu"), "'bleu'"),
    BadCall(
        "skipped and succeeded",
        compute("attack_success_rate", predictions=[1], references=[0]),
        "row 0",
    ),
    BadCall(
        "success of 2",
        compute("attack_success_rate", predictions=[2], references=[1]),
        "row 0 has 2",
    ),
    BadCall(
        "outcome of 7",
        compute("robustness_gap", correct=[1, 1], synonym=[0, 7], antonym=[0, 0]),
        "synonym must hold -1, 0, 1; row 1",
    ),
]
