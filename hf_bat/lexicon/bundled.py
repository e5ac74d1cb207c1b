"""The tables in the package, and their names in options."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from hf_bat.lexicon.table import SubstitutionTable, TableSource, as_table
from hf_bat.lexicon.wordnet import BUNDLED

COUNTERFITTED_SYNONYMS = BUNDLED.with_name("counterfitted_synonyms.json.gz")
WORDNET_SYNONYMS = BUNDLED.with_name("wordnet_synonyms.json.gz")
DEFAULT_ANTONYMS = BUNDLED.with_name("default_antonyms.json.gz")
DEFAULT_SISTERS = BUNDLED.with_name("default_sisters.json.gz")


@cache
def default_synonyms() -> SubstitutionTable:
    """Return the bundled synonyms: up to eight neighbors of each word in counter-fitted vectors.

    The neighbors are from Jia et al. (2019), and the vectors are from Mrkšić et al. (2016).
    `scripts/build_counterfitted_table.py` builds the table, without the antonyms and the sister terms of a
    word. The table includes stop words, because perturbations and attacks have their own stop-word lists.

    Example:
        >>> default_synonyms()["movie"][:2]
        ('film', 'filmmaking')
    """
    return SubstitutionTable.load(COUNTERFITTED_SYNONYMS)


@cache
def wordnet_synonyms() -> SubstitutionTable:
    """Return the bundled WordNet synonyms: the result of `synonyms_from_wordnet()` without antonyms.

    There are fewer synonyms than in `default_synonyms`, but they are safer, so an attack with them is weaker.
    All options for synonym tables accept the name "wordnet" for this table.

    Example:
        >>> wordnet_synonyms()["automobile"][:2]
        ('car', 'auto')
    """
    return SubstitutionTable.load(WORDNET_SYNONYMS)


@cache
def default_antonyms() -> SubstitutionTable:
    """Return the bundled antonyms, which are the result of `antonyms_from_wordnet()`.

    The table is only loaded once per process.

    Example:
        >>> default_antonyms()["hated"]
        ('love',)
    """
    return SubstitutionTable.load(DEFAULT_ANTONYMS)


@cache
def default_sisters() -> SubstitutionTable:
    """Return the bundled sister terms, nearest first.

    Sister terms are words in the same class that exclude each other, such as colors, animals, dishes,
    materials, vehicles, sports, clothing, nationalities and months. `scripts/build_sister_table.py` builds
    the table from WordNet's classes.

    Example:
        >>> default_sisters()["violin"][:2]
        ('cello', 'guitar')
    """
    return SubstitutionTable.load(DEFAULT_SISTERS)


# Names of synonym tables. To load a file with the same name, use a path such as "./wordnet".
SYNONYM_TABLES: dict[str, Callable[[], SubstitutionTable]] = {
    "counterfitted": default_synonyms,
    "wordnet": wordnet_synonyms,
}


def as_synonyms(source: TableSource | None) -> SubstitutionTable:
    """Return a synonym table: the default table for `None`, or a bundled table for its name.

    Args:
        source: `None`, `"counterfitted"`, `"wordnet"`, or a source for `as_table`.

    Raises:
        HfBatError: If the source is not a table.

    Example:
        >>> as_synonyms("wordnet") is wordnet_synonyms(), as_synonyms(None) is default_synonyms()
        (True, True)
    """
    if source is None:
        return default_synonyms()
    # A `Path` is always a file, even if it has the name of a table.
    if isinstance(source, str) and source in SYNONYM_TABLES:
        return SYNONYM_TABLES[source]()
    return as_table(source)
