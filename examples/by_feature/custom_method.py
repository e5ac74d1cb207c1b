#!/usr/bin/env python
"""Train with your own method: `counterfactual` with the paper's triplet term added.

    python examples/by_feature/custom_method.py --model_name_or_path bert-base-uncased \\
        --method counterfactual_triplet --task_name snli --do_train --do_eval --output_dir out

All flags of `run_glue_bat.py` work. A row takes four sequences: the anchor, its fickle and obstinate
versions, and a pair that a rule labels.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from hf_bat import finetune
from hf_bat.methods import (
    Counterfactual,
    LossSettings,
    build_triplet_terms,
    get_method,
    register_method,
)
from hf_bat.objective import Forward, Term


@dataclass(frozen=True)
class CounterfactualTriplet(Counterfactual):
    """Adds the triplet term on representations to the counterfactual terms."""

    # Needed for the distances between representations.
    uses_vectors: bool = True

    def terms(self, forward: Forward, settings: LossSettings) -> dict[str, Term]:
        """Return the terms of both methods."""
        triplet = build_triplet_terms(forward, settings, settings.weights["margin"])
        return super().terms(forward, settings) | triplet


def register() -> None:
    """Register the method, so `--method` accepts its name."""
    counterfactual, triplet = get_method("counterfactual"), get_method("triplet")
    register_method(
        CounterfactualTriplet(
            "counterfactual_triplet",
            f"{counterfactual.formula} To this, `contrastive_weight * mean max(0, d(x, x_f) + margin - "
            "d(x, x_o))` is added.",
            {**counterfactual.weights, **triplet.weights},
            draws=("fickle", "obstinate", "counterfactual"),
            options=tuple({*counterfactual.options, *triplet.options}),
        )
    )


def run() -> int:
    """Train as the command line says and return the exit status."""
    register()
    return finetune.run(sys.argv[1:], finetune.make_parser(__doc__), "custom_method")


if __name__ == "__main__":
    finetune.exit_with(run)
