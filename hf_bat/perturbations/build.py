"""From tables to the two perturbations of the paper, the same way for training and for attacks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hf_bat.lexicon import SubstitutionTable, default_antonyms, default_synonyms
from hf_bat.perturbations.substitution import AntonymPerturbation, SynonymPerturbation

TableSource = SubstitutionTable | str | Path | None


def build_perturbations(
    synonyms: TableSource = None,
    antonyms: TableSource = None,
    drop_antonyms_from_synonyms: bool = True,
    exclude_stopwords: bool = True,
    casing: Literal["keep", "authors"] = "keep",
) -> tuple[SynonymPerturbation, AntonymPerturbation]:
    """Make the fickle and the obstinate perturbation from tables, files or the bundled lexicon.

    Args:
        synonyms: a table, the path of one, or None for the bundled lexicon's.
        antonyms: likewise.
        drop_antonyms_from_synonyms: take a word's antonyms out of its synonym set.
        exclude_stopwords: see `SubstitutionPerturbation`.
        casing: see `SubstitutionPerturbation`.

    Raises:
        HfBatError: a table that cannot be read.

    Example:
        >>> fickle, obstinate = build_perturbations()
        >>> obstinate.replacements("Hot")
        ('Cold',)
    """
    opposites = default_antonyms() if antonyms is None else _load(antonyms)
    alike = default_synonyms() if synonyms is None else _load(synonyms)
    # The bundled synonyms were built without the bundled antonyms.
    if drop_antonyms_from_synonyms and not (synonyms is None and antonyms is None):
        alike = alike.minus(opposites)
    return (
        SynonymPerturbation(alike, exclude_stopwords, casing),
        AntonymPerturbation(opposites, exclude_stopwords, casing),
    )


def _load(source: SubstitutionTable | str | Path) -> SubstitutionTable:
    return source if isinstance(source, SubstitutionTable) else SubstitutionTable.load(source)
