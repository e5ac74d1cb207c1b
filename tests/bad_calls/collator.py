"""Bad calls of `PerturbationCollator`."""

from bad_calls import BadCall
from tiny_models import tiny_tokenizer

from hf_bat import AntonymPerturbation, PerturbationCollator, SynonymPerturbation

COLUMNS = ("premise", "hypothesis")
ROW = {"premise": "A.", "hypothesis": "B.", "label": 0, "idx": 0}


def make(tokenizer=None, **options):
    perturbations = {
        "fickle": SynonymPerturbation({"big": ["large"]}),
        "obstinate": AntonymPerturbation({"big": ["small"]}),
    }
    tokenizer = tokenizer or tiny_tokenizer()
    return PerturbationCollator(tokenizer, COLUMNS, **{**perturbations, **options})


def make_without_padding_token(_):
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    make(tokenizer)


def collate_without(column):
    return lambda _: make()([{key: value for key, value in ROW.items() if key != column}])


CALLS = [
    BadCall("no padding token", make_without_padding_token, "padding token"),
    BadCall("no draw", lambda _: make(num_fickle=0), "at least 1"),
    BadCall(
        "nothing for the anchor",
        lambda _: make(fickle=None, perturb_anchor=True),
        "perturb_anchor",
    ),
    BadCall("row without text", collate_without("premise"), "premise"),
    BadCall("row without number", collate_without("idx"), "idx"),
]
