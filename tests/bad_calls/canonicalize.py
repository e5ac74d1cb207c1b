"""Bad calls of `hf_bat.canonicalize` and `hf_bat.saved_perturbations`."""

from bad_calls import BadCall

from hf_bat.canonicalize import Canonicalizer
from hf_bat.saved_perturbations import load_canonicalizer, read_defense


def read_damaged(folder):
    (folder / "perturbations.json").write_text("[1]")
    read_defense(folder)


CALLS = [
    BadCall("path for a table", lambda _: Canonicalizer("synonyms.json"), "table"),
    BadCall("unknown casing", lambda _: Canonicalizer({}, "Keep"), "Keep"),
    BadCall("damaged record", read_damaged, "perturbations.json"),
    BadCall("no table beside the model", load_canonicalizer, "canonical.json.gz"),
]
