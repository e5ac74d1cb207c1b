"""`hf-bat train`: fine-tune and evaluate a classifier, like `examples/run_glue_bat.py`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

HELP = """\
Fine-tune and evaluate a sentence classifier with Balanced Adversarial Training. The flags are the same as
in transformers' `run_glue.py` and examples/run_glue_bat.py. They may come from a JSON or YAML file if its
path is the first argument. Without --do_train, --do_eval and --do_predict, the model is trained, and
evaluated if there are rows for evaluation."""
EPILOG = """\
examples:
  hf-bat train --model_name_or_path bert-base-uncased --task snli --method triplet --output_dir out
  hf-bat train --model_name_or_path roberta-base --columns text --train_file train.csv \\
      --validation_file dev.csv --method counterfactual --attacks synonym --output_dir out \\
      --label_flip positive=negative negative=positive
  hf-bat train run.yaml --seed 2 --output_dir out-2
The output folder contains the model, its card, the results (see them with `hf-bat report out`) and the
perturbation tables. With `accelerate launch -m hf_bat.cli train`, several processes train together.
"""


def list_parents() -> list[argparse.ArgumentParser]:
    """Return the parser that defines the flags of the command."""
    from hf_bat.finetune import make_parser

    return [make_parser(add_help=False)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Do nothing, because the parent parser has all flags."""


def expand_arguments(argv: Sequence[str]) -> list[str]:
    """Replace a configuration file with its flags."""
    from hf_bat.finetune import expand_configuration

    return expand_configuration(argv)


def run(args: argparse.Namespace) -> int:
    """Train, evaluate and predict as requested, and return 0."""
    from hf_bat.finetune import build_arguments, start

    if not (args.do_train or args.do_eval or args.do_predict):
        args.do_train = True
        # Without a file, the rows of a known task are loaded from the Hub.
        args.do_eval = bool(args.validation_file) or not args.train_file
    start(*build_arguments(vars(args)))
    return 0


def hint_resume(args: argparse.Namespace) -> str:
    """Return a hint on how to continue after an interruption."""
    from hf_bat.finetune import RESUME_HINT

    return RESUME_HINT
