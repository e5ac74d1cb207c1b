"""Bad calls of `hf_bat.certificate`."""

from bad_calls import BadCall
from certificate_helpers import TABLE, HashedClassifier, made_rows

from hf_bat import AntonymPerturbation, SmoothedClassifier
from hf_bat.attack import CanonicalizedModel
from hf_bat.canonicalize import Canonicalizer
from hf_bat.certificate.certificate import Tally, certify
from hf_bat.certificate.smoothing import Smoothing

MODEL = HashedClassifier(0.9)
SMOOTHED = SmoothedClassifier(MODEL, TABLE)


def bad_certify(name, keyword, model=MODEL, **options):
    """Return the bad call of `certify` with these options."""
    options = {"rows": made_rows(), "task": "qqp", "synonyms": TABLE, "progress": False} | options
    return BadCall(name, lambda _: certify(model, **options), keyword)


CALLS = [
    bad_certify("no table", "synonym table", synonyms=None),
    bad_certify("negative radius", "radius", radius=-1),
    bad_certify("fractional radius", "radius must be an integer", radius=1.0),
    bad_certify("radius as text", "radius must be an integer", radius="2"),
    bad_certify("confidence 0", "confidence", confidence=0),
    bad_certify("confidence 1", "confidence", confidence=1.0),
    bad_certify("confidence NaN", "confidence", confidence=float("nan")),
    bad_certify("confidence in percent", "95", confidence=95),
    bad_certify("confidence as text", "confidence", confidence="0.95"),
    bad_certify("fractional samples", "samples must be an integer", samples=1000.5),
    bad_certify("absent samples", "samples must be an integer", samples=None),
    bad_certify("no samples", "samples", samples=0),
    bad_certify("too few samples", "4 samples", samples=4),
    bad_certify("no rows at most", "max_samples", max_samples=0),
    bad_certify("fractional rows at most", "max_samples must be an integer", max_samples=1.5),
    bad_certify("no rows", "no rows", rows=[]),
    bad_certify("unknown label", "label 5", rows=made_rows(1, label=5)),
    bad_certify("batch of nothing", "batch_size", batch_size=0),
    bad_certify("smoothed twice", "plain classifier", model=SMOOTHED),
    bad_certify(
        "smoothed twice, behind a defense",
        "plain classifier",
        model=CanonicalizedModel(SMOOTHED, Canonicalizer(TABLE)),
    ),
    BadCall(
        "antonyms to smooth over",
        lambda _: Smoothing(AntonymPerturbation({"hot": ("cold",)})),
        "table",
    ),
    BadCall("empty table", lambda _: Smoothing({}), "empty"),
    BadCall("absent table", lambda _: Smoothing("absent.json"), "absent.json"),
    BadCall("no votes", lambda _: SmoothedClassifier(MODEL, TABLE, samples=0), "samples"),
    BadCall(
        "fractional votes",
        lambda _: SmoothedClassifier(MODEL, TABLE, samples=1.5),
        "samples must be an integer",
    ),
    BadCall("gradient of votes", lambda _: SMOOTHED.saliency([(("a1", "b1"), 0)]), "gradient"),
    BadCall("look at another time", lambda _: Tally((32, 64), 0.05).add(1, 1), "look"),
]
