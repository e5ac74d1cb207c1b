"""From tables to the two perturbations of the paper, the same way for training and for attacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from hf_bat.errors import HfBatError
from hf_bat.lexicon import as_table, default_antonyms, default_synonyms
from hf_bat.lexicon.table import TableSource
from hf_bat.methods import DEFAULT_EDITS
from hf_bat.perturbations.base import Perturbation
from hf_bat.perturbations.mixed import MixedPerturbation
from hf_bat.perturbations.negation import NegationPerturbation
from hf_bat.perturbations.number import NumberPerturbation
from hf_bat.perturbations.substitution import (
    AntonymPerturbation,
    SisterPerturbation,
    SynonymPerturbation,
)
from hf_bat.perturbations.validity import (
    FilteredPerturbation,
    LabelValidity,
    PreferringPerturbation,
)

OBSTINATE_EDITS = ("antonym", "negation", "sister", "number")
LABEL_FILTERS = ("off", "only", "prefer")


def build_perturbations(
    synonyms: TableSource | None = None,
    antonyms: TableSource | None = None,
    drop_antonyms_from_synonyms: bool = True,
    exclude_stopwords: bool = True,
    casing: Literal["keep", "authors"] = "keep",
) -> tuple[SynonymPerturbation, AntonymPerturbation]:
    """Make the fickle and the obstinate perturbation from tables, files or the bundled lexicon.

    Args:
        synonyms: a table, a mapping, the path of one, or None for the bundled lexicon's.
        antonyms: likewise.
        drop_antonyms_from_synonyms: take a word's antonyms out of its synonym set.
        exclude_stopwords: see `SubstitutionPerturbation`.
        casing: see `SubstitutionPerturbation`.

    Returns:
        The fickle perturbation (synonyms) and the obstinate one (antonyms).

    Raises:
        HfBatError: a table that cannot be read.

    Example:
        >>> fickle, obstinate = build_perturbations()
        >>> obstinate.replacements("Hot")
        ('Cold',)
    """
    opposites = default_antonyms() if antonyms is None else as_table(antonyms)
    alike = default_synonyms() if synonyms is None else as_table(synonyms)
    # The bundled synonyms were built without the bundled antonyms.
    if drop_antonyms_from_synonyms and not (synonyms is None and antonyms is None):
        alike = alike.minus(opposites)
    return (
        SynonymPerturbation(alike, exclude_stopwords, casing),
        AntonymPerturbation(opposites, exclude_stopwords, casing),
    )


def build_obstinate(
    antonym: AntonymPerturbation,
    edits: Sequence[str] = DEFAULT_EDITS,
    label_filter: str = "off",
) -> Perturbation:
    """Make the obstinate perturbation of the kinds of edits that are asked for.

    Args:
        antonym: the antonym perturbation; its options hold for the sister terms and numbers too.
        edits: kinds among "antonym", "negation", "sister" and "number". Of several, a draw takes each
            that a row allows as likely.
        label_filter: "off"; "only", to draw edits alone that are likely to change the label (see
            `LabelValidity`); or "prefer", to draw any where a row has no such edit.

    Returns:
        `antonym` itself where nothing else is asked for; else the perturbation of the one kind, or a
        `MixedPerturbation` of several; within the filter's wrapper where there is one.

    Raises:
        HfBatError: no kind, an unknown one, or one that stands twice; an unknown filter.

    Example:
        >>> _, antonym = build_perturbations()
        >>> build_obstinate(antonym) is antonym, build_obstinate(antonym, ["number"]).name
        (True, 'number')
        >>> [one.name for one in build_obstinate(antonym, ["antonym", "sister"]).perturbations]
        ['antonym', 'sister']
    """
    check_obstinate_edits(edits)
    makers: dict[str, Callable[[], Perturbation]] = {
        "antonym": lambda: antonym,
        "negation": NegationPerturbation,
        "sister": lambda: SisterPerturbation(None, antonym.exclude_stopwords, antonym.casing),
        "number": lambda: NumberPerturbation(antonym.casing),
    }
    made = [makers[edit]() for edit in edits]
    whole = made[0] if len(made) == 1 else MixedPerturbation(made)
    if label_filter == "off":
        return whole
    if label_filter not in LABEL_FILTERS:
        raise HfBatError(
            f"unknown label_filter {label_filter!r}; known: {', '.join(LABEL_FILTERS)}"
        )
    wrapper = FilteredPerturbation if label_filter == "only" else PreferringPerturbation
    return wrapper(whole, LabelValidity())


def check_obstinate_edits(edits: Sequence[str]) -> None:
    """Refuse kinds of obstinate edits that there are not.

    Raises:
        HfBatError: none, an unknown kind, or one that stands twice.
    """
    if isinstance(edits, str):
        raise HfBatError(f"obstinate_edits must be a list of kinds, got {edits!r}")
    if not edits:
        raise HfBatError(f"obstinate_edits is empty; known: {', '.join(OBSTINATE_EDITS)}")
    for edit in edits:
        if edit not in OBSTINATE_EDITS:
            raise HfBatError(
                f"unknown obstinate edit {edit!r}; known: {', '.join(OBSTINATE_EDITS)}"
            )
    if len(set(edits)) < len(edits):
        raise HfBatError(f"obstinate_edits names a kind twice: {', '.join(edits)}")
