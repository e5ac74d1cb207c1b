#!/usr/bin/env python
"""Fine-tune and evaluate a sentence classifier with Balanced Adversarial Training.

Flags are named as in transformers' `run_glue.py`. Data come from the Hub or from local files:

    python examples/run_glue_bat.py --model_name_or_path bert-base-uncased --task_name mnli \\
        --method triplet --do_train --do_eval --output_dir out

    accelerate launch examples/run_glue_bat.py --model_name_or_path bert-base-uncased --task_name snli \\
        --train_file train.jsonl.gz --validation_file dev.jsonl.gz --method pairwise \\
        --do_train --do_eval --output_dir out

The output folder gets the model, `train_results.json`, `eval_results.json`, `all_results.json`,
`trainer_state.json`, and the perturbation tables that were used, with their hashes. Each step of the
run is a function of `hf_bat.finetune`.
"""

from __future__ import annotations

import os
import sys

# torch reads this when it is imported; its C++ code prints warnings that Python cannot catch.
if "--quiet" in sys.argv:
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

from transformers import HfArgumentParser

from hf_bat import finetune


def make_parser() -> HfArgumentParser:
    """Create the parser of the command line."""
    return finetune.make_parser(__doc__)


def run() -> int:
    """Make the run that the command line asks for and return the exit status."""
    return finetune.run(sys.argv[1:], make_parser(), "run_glue_bat")


if __name__ == "__main__":
    finetune.exit_with(run)
