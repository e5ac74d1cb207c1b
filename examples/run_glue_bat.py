#!/usr/bin/env python
"""Fine-tune and evaluate a sentence classifier with Balanced Adversarial Training.

Flags have the same names as in transformers' `run_glue.py`. Data is loaded from the Hub or from
local files:

    python examples/run_glue_bat.py --model_name_or_path bert-base-uncased --task_name mnli \\
        --method triplet --do_train --do_eval --output_dir out

    accelerate launch examples/run_glue_bat.py --model_name_or_path bert-base-uncased --task_name snli \\
        --train_file train.jsonl.gz --validation_file dev.jsonl.gz --method pairwise \\
        --do_train --do_eval --output_dir out

The output folder contains the model, `train_results.json`, `eval_results.json`, `all_results.json`,
`trainer_state.json`, and the perturbation tables with their hashes. Each step of the run is a
function in `hf_bat.finetune`.
"""

from __future__ import annotations

import os
import sys

# torch reads this on import. Its C++ code prints warnings that Python cannot catch.
if "--quiet" in sys.argv:
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

from transformers import HfArgumentParser

from hf_bat import finetune


def make_parser() -> HfArgumentParser:
    """Create the command-line parser."""
    return finetune.make_parser(__doc__)


def run() -> int:
    """Run the training given by the command line, and return the exit status."""
    return finetune.run(sys.argv[1:], make_parser(), "run_glue_bat")


if __name__ == "__main__":
    finetune.exit_with(run)
