"""The flag `--canonicalize`, which several commands have."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_bat.attack.models import Classifier


def add_canonicalize(parser: Any) -> None:
    """Add the flag to a parser or a group of its arguments."""
    parser.add_argument(
        "--canonicalize",
        nargs="?",
        const="",
        metavar="FILE",
        help="read texts in canonical words, a preprocessing defence that the report discloses; of this "
        "synonym table (default: the one that the model was trained with, else the bundled lexicon's)",
    )


def defended(model: Classifier, args: argparse.Namespace) -> Classifier:
    """The model behind the preprocessing defence that the flag asks for, as it is without the flag.

    Warns on standard error where the model was trained with a defence and the flag is missing or of
    another mapping, for then it reads text that it was not trained on.

    Args:
        model: the model of `args.model`.
        args: with `canonicalize` and `model`.

    Raises:
        HfBatError: a table that cannot be read, or a damaged record beside the model.
    """
    from hf_bat.attack.canonical import CanonicalizedModel
    from hf_bat.canonicalize import Canonicalizer
    from hf_bat.lexicon import SubstitutionTable
    from hf_bat.saved_perturbations import (
        load_canonicalizer,
        match_record,
        read_defense,
    )

    trained = read_defense(args.model)
    if args.canonicalize is None:
        if trained is not None:
            _warn(
                f"{args.model} was trained with the preprocessing defence {trained.get('name')}; without "
                "--canonicalize it reads text that it was not trained on"
            )
        return model
    if trained and not args.canonicalize:
        return CanonicalizedModel(model, load_canonicalizer(args.model))
    table = SubstitutionTable.load(args.canonicalize) if args.canonicalize else None
    canonicalizer = match_record(table, trained) if trained else None
    if canonicalizer is None:
        if trained:
            _warn(f"{args.model} was trained with another mapping than {args.canonicalize} gives")
        # Of an exchange that `hf-bat contrast` has no flag for, for it makes none.
        canonicalizer = Canonicalizer(table, getattr(args, "casing", "keep"))
    return CanonicalizedModel(model, canonicalizer)


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)
