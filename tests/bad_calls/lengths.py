"""Bad calls with more tokens than the model has positions."""

from bad_calls import BadCall
from tiny_models import tiny_model, tiny_tokenizer
from training_helpers import made_rows, make_trainer, tokenizer_for_made_rows

from hf_bat import PerturbationCollator, certify
from hf_bat.attack import Attack
from hf_bat.pooling import check_length


def train_with_longer_inputs(folder):
    trainer = make_trainer(folder, made_rows(8), max_seq_length=160)
    trainer.args.max_seq_length = 200  # as a hyper-parameter search sets it
    trainer.train()


def make_trainer_with_collator(folder):
    tokenizer = tokenizer_for_made_rows()
    collator = PerturbationCollator(tokenizer, ("premise", "hypothesis"), max_length=161)
    make_trainer(folder, made_rows(8), trainer_options={"data_collator": collator})


def certify_longer_inputs(_):
    options = {"tokenizer": tiny_tokenizer(), "synonyms": {"man": ["guy"]}, "max_length": 161}
    certify(tiny_model("bert"), made_rows(2), "snli", **options)


CALLS = [
    BadCall("length", lambda _: check_length(tiny_model("roberta").config, 160), "159 or less"),
    BadCall(
        "trainer",
        lambda folder: make_trainer(folder, made_rows(8), max_seq_length=161),
        "max_seq_length 161",
    ),
    BadCall("trainer later", train_with_longer_inputs, "max_seq_length 200"),
    BadCall("collator", make_trainer_with_collator, "max_length 161"),
    BadCall(
        "attack",
        lambda _: Attack("antonym", tiny_model("roberta"), tiny_tokenizer(), max_length=160),
        "max_length 160",
    ),
    BadCall("certificate", certify_longer_inputs, "max_length 161"),
]
