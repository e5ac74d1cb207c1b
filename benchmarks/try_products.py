"""Compare ways to compute the linear layers of a classifier on a CPU, by forward time and predictions.

    OMP_NUM_THREADS=1 python benchmarks/try_products.py --model DIR --data dev.jsonl.gz

`plain` is torch's product (MKL), and `packed` is the product of `hf_bat.attack.fast` (oneDNN). The others
round weights to 8 bits by output channel and inputs to 7 bits, which AVX2 can multiply without overflow.
`int8, a scale each batch` works like torch's dynamic quantization, and predictions depend on the other inputs
in the batch. With `int8, a scale each token`, they do not. All ways take turns on the same batches, and
seconds are processor time of the working thread.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from common import add_data_arguments, describe_machine, load_tokenizer
from torch import nn
from transformers import AutoModelForSequenceClassification

from hf_bat.attack.fast import pack_linears, skip_later_tokens
from hf_bat.tasks import get_task, load_split

Product = Callable[[torch.Tensor], torch.Tensor]
_ZERO = 64  # zero point of inputs, which are 1 to 127


def main() -> None:
    """Run the measurements and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_arguments(parser)
    parser.add_argument("--rows", type=int, default=512, help="number of rows to compare")
    parser.add_argument("--timed-rows", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # torch's quantized tensors are deprecated
    torch.set_num_threads(1)
    torch.backends.quantized.engine = "onednn"
    model = AutoModelForSequenceClassification.from_pretrained(args.model).eval()
    batches = make_batches(args)
    spread = batches[:: max(1, len(batches) * args.batch_size // args.timed_rows)]
    ways: dict[str, Callable[[nn.Linear], Product] | None] = {
        "plain": None,
        "packed": None,
        "int8, a scale each batch": quantize_by_batch,
        "int8, a scale each token": quantize_by_token,
    }
    products = {name: make and [make(x) for x in list_layers(model)] for name, make in ways.items()}
    answers, seconds = {}, {name: [] for name in ways}
    with torch.no_grad(), skip_later_tokens(model):
        for name in ways:
            answers[name] = run(model, name, products[name], batches)[1]
        for repeat in range(args.repeats):
            for name in random.Random(repeat).sample(list(ways), len(ways)):
                seconds[name].append(run(model, name, products[name], spread)[0])
    print(
        f"{describe_machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
    )
    print(f"{args.rows} rows, {args.repeats} repeats, batches of {args.batch_size}\n")
    print(
        "| product | plain's time over its (quartiles) | same prediction | probability off, mean |"
    )
    print("|---|---|---:|---:|")
    expected = answers["plain"].double().softmax(1)
    for name in ways:
        ratios = [a / b for a, b in zip(seconds["plain"], seconds[name], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        found = answers[name].double().softmax(1)
        same = (found.argmax(1) == expected.argmax(1)).double().mean().item()
        off = (found - expected).abs().mean().item()
        print(f"| {name} | {middle:.2f} ({low:.2f} to {high:.2f}) | {same:.1%} | {off:.1g} |")


def make_batches(args: argparse.Namespace) -> list[dict[str, torch.Tensor]]:
    """Return padded batches of inputs with similar length."""
    tokenizer, columns = load_tokenizer(args), get_task(args.task).columns
    rows = [[row[column] for column in columns] for row in load_split(args.data)][: args.rows]
    rows.sort(key=lambda texts: len(tokenizer(*texts)["input_ids"]))
    return [
        tokenizer(*map(list, zip(*rows[i : i + args.batch_size], strict=True)), padding=True,
                  return_tensors="pt")
        for i in range(0, len(rows), args.batch_size)
    ]  # fmt: skip


def list_layers(model: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of a model."""
    return [module for module in model.modules() if type(module) is nn.Linear]


def run(
    model: Any, name: str, products: list[Product] | None, batches: list[dict[str, torch.Tensor]]
) -> tuple[float, torch.Tensor]:
    """Return the processor seconds of the batches' forward passes, and the logits."""
    layers = list_layers(model)
    for layer, product in zip(layers, products or [], strict=False):
        vars(layer)["forward"] = product
    try:
        # Layers with their own product are not packed.
        with pack_linears(model) if name == "packed" else torch.no_grad():
            model(**batches[0])
            begun = time.process_time()
            logits = [model(**batch).logits for batch in batches]
            return time.process_time() - begun, torch.cat(logits)
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def round_weights(layer: nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weights of a layer as 8-bit integers, and the scale of each output channel."""
    weight = layer.weight.detach()
    scale = (weight.abs().amax(1) / 127).clamp(min=1e-12)
    return (weight / scale[:, None]).round().to(torch.int8), scale


def quantize_by_batch(layer: nn.Linear) -> Product:
    """Return torch's dynamically quantized product."""
    scale = round_weights(layer)[1].double()
    zeros = torch.zeros(len(scale), dtype=torch.long)
    weight = torch.quantize_per_channel(layer.weight.detach(), scale, zeros, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(weight, layer.bias.detach())
    return lambda inputs: torch.ops.quantized.linear_dynamic(inputs, packed, True)


def quantize_by_token(layer: nn.Linear) -> Product:
    """Return a product that rounds the inputs of each token with a separate scale."""
    weight, scale = round_weights(layer)
    zeros = torch.zeros(len(scale), dtype=torch.int32)
    packed, bias = torch.ops.onednn.qlinear_prepack(weight, None), layer.bias.detach()

    def multiply(inputs: torch.Tensor) -> torch.Tensor:
        least, most = torch.aminmax(inputs, dim=-1, keepdim=True)
        step = torch.maximum(-least, most).clamp_(min=1e-12).mul_(1 / (_ZERO - 1))
        rounded = (inputs / step).add_(_ZERO + 0.5).to(torch.uint8)
        product = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, _ZERO, packed, scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return torch.addcmul(bias, product, step)

    return multiply


if __name__ == "__main__":
    main()
