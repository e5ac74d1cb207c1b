"""Bad calls of `hf_bat.pooling`."""

import torch
from bad_calls import BadCall
from tiny_models import tiny_model
from torch import nn
from transformers import T5Config, T5ForSequenceClassification

from hf_bat.pooling import POOLINGS, find_head, pool, run_with_vectors

HIDDEN = torch.zeros(1, 2, 3)


BATCH = {"input_ids": torch.ones(1, 2, dtype=torch.long), "attention_mask": torch.ones(1, 2)}


def run_data_parallel(_):
    model = nn.DataParallel(tiny_model("bert"))
    model.device_ids = [0, 1]
    run_with_vectors(model, BATCH, "head_input")


def run_encoder_decoder(pooling):
    config = T5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    run_with_vectors(T5ForSequenceClassification(config), BATCH, pooling)


def find_absent_head(_):
    model = tiny_model("bert")
    model.classifier = nn.Identity()
    find_head(model)


CALLS = [
    BadCall("mask of another shape", lambda _: pool(HIDDEN, torch.ones(1, 4)), "(1, 4)"),
    BadCall("no mask", lambda _: pool(HIDDEN, None), "mask"),
    BadCall(
        "unknown pooling of a model", lambda _: run_with_vectors(None, {}, "head"), "head_input"
    ),
    BadCall("head of DataParallel", run_data_parallel, "torchrun"),
    BadCall("no head", find_absent_head, "head_input"),
    *(
        BadCall(f"encoder-decoder, {p}", lambda _, p=p: run_encoder_decoder(p), "T5ForSeq")
        for p in POOLINGS
    ),
]
