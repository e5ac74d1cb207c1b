"""Substitution tables from wordnets in other languages, loaded with the package `wn`.

`wn` (pip install wn) provides the wordnets of the Open Multilingual Wordnet and others:
https://github.com/goodmami/wn. Only this module needs it.
"""

from __future__ import annotations

from typing import Any

from hf_bat.console import track
from hf_bat.errors import HfBatError
from hf_bat.lexicon.table import SubstitutionTable


def tables_from_wn(wordnet: Any) -> tuple[SubstitutionTable, SubstitutionTable]:
    """Build synonyms and antonyms from a wordnet.

    A word's synonyms are the other words in its synsets, in the order of its senses. The antonyms are
    the words of all senses that the wordnet links as antonyms, in either direction. Only single words are
    used, and they are not inflected. For a language with many inflections, add the inflected forms yourself.

    Args:
        wordnet: A `wn.Wordnet`, such as `wn.Wordnet("odenet:1.4")`.

    Returns:
        The synonyms and the antonyms. A word's antonyms are not included in its synonyms.

    Raises:
        HfBatError: If `wordnet` is not a wordnet, or has no synonyms and antonyms.

    Example:
        >>> import wn  # doctest: +SKIP
        >>> synonyms, antonyms = tables_from_wn(wn.Wordnet("odenet:1.4"))  # doctest: +SKIP
        >>> synonyms.save("synonyms-de.json.gz")  # doctest: +SKIP
    """
    if not hasattr(wordnet, "words"):
        raise HfBatError(
            "the wordnet must be a wn.Wordnet, such as wn.Wordnet('odenet:1.4'), not "
            f"{type(wordnet).__name__}"
        )
    synonyms: dict[str, dict[str, None]] = {}
    antonyms: dict[str, dict[str, None]] = {}
    words = [word for word in wordnet.words() if _is_single(word.lemma())]
    for word in track(words, "reading the wordnet", "word", len(words)):
        lemma = word.lemma()
        near, far = synonyms.setdefault(lemma, {}), antonyms.setdefault(lemma, {})
        for sense in word.senses():
            near |= {other: None for other in sense.synset().lemmas() if _is_single(other)}
            for opposite in sense.get_related("antonym"):
                other = opposite.word().lemma()
                if _is_single(other):
                    far[other] = None
                    # Some wordnets only link one direction.
                    antonyms.setdefault(other, {})[lemma] = None
    lexicons = ", ".join(lexicon.specifier() for lexicon in wordnet.lexicons())
    built = {"built": "wn", "source": lexicons}
    far_table, near_table = (
        SubstitutionTable(
            {word: list(others) for word, others in table.items()}, {"kind": kind, **built}
        )
        for kind, table in (("antonyms", antonyms), ("synonyms", synonyms))
    )
    near_table = near_table.minus(far_table)
    if not near_table and not far_table:
        raise HfBatError(
            f"the wordnet {lexicons or 'without a name'} has no synonyms and no antonyms"
        )
    return near_table, far_table


def _is_single(lemma: str) -> bool:
    return len(lemma.split()) == 1 and "_" not in lemma
