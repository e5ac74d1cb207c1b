"""Regular English inflection of WordNet's base forms, for replacements that agree with a word.

Only forms that are certain are given: an irregular word's past tense, which may differ from its
participle, has no entry, and neither have nouns in consonant + "o" ("photos", but "heroes").
"""

from __future__ import annotations

import re
from functools import lru_cache

from hf_bat.lexicon.wordnet import WordNet

_SIBILANT = re.compile(r"(s|x|z|ch|sh)$")
_CONSONANT_Y = re.compile(r"[^aeiou]y$")
_CONSONANT_O = re.compile(r"[^aeiou]o$")
_VOWELS = re.compile(r"[aeiouy]+")
# A final consonant that may have to be doubled: "plan", "refer", but "open".
_DOUBLING = re.compile(r"[^aeiou][aeiou][bdfgklmnprtvz]$")
_UNCHANGING = re.compile(r"(burst|cast|cost|hurt|read|thrust)$")


def inflections(lemma: str, pos: str, wordnet: WordNet) -> dict[str, str]:
    """The inflected forms of a base form that are certain.

    Args:
        lemma: a lower-case base form.
        pos: "n", "v", "a" or "r".
        wordnet: whose exception lists give the irregular forms.

    Returns:
        Kind -> form, without those in doubt: "base"; for nouns "plural"; for verbs "s", "past" (also
        the participle) and "ing"; for adjectives "er" and "est".

    Example:
        >>> from hf_bat.lexicon import load_wordnet
        >>> inflections("stop", "v", load_wordnet())
        {'base': 'stop', 's': 'stops', 'past': 'stopped', 'ing': 'stopping'}
        >>> inflections("child", "n", load_wordnet()), inflections("go", "v", load_wordnet())
        ({'base': 'child', 'plural': 'children'}, {'base': 'go', 'ing': 'going'})
    """
    irregular = _irregular_forms(wordnet, pos).get(lemma, ())
    found: dict[str, str | None] = {"base": lemma}
    if pos == "n":
        if lemma.endswith("man"):  # women and firemen, but humans
            found["plural"] = lemma[:-2] + "en" if re.fullmatch(r"(\w*wo)?man", lemma) else None
        else:
            found["plural"] = _only(irregular) if irregular else _add_s(lemma)
    elif pos == "v":
        for kind, ending in (("s", "s"), ("past", "ed"), ("ing", "ing")):
            found[kind] = _verb_form(lemma, ending, irregular)
    elif pos == "a":
        short = len(_VOWELS.findall(lemma.removesuffix("e"))) == 1
        for kind in ("er", "est"):
            listed = [form for form in irregular if form.endswith(kind)]
            regular = _add(lemma, kind) if short and not _DOUBLING.search(lemma) else None
            found[kind] = _only(listed) if irregular else regular
    return {kind: form for kind, form in found.items() if form}


def _verb_form(lemma: str, ending: str, irregular: tuple[str, ...]) -> str | None:
    listed = [form for form in irregular if form.endswith(ending)]
    others = [form for form in irregular if not form.endswith(("s", "ing", ending))]
    if ending == "ed" and (others or _UNCHANGING.search(lemma)):
        return None
    if listed or lemma == "be":
        return _only(listed)
    if ending == "s":
        return _add_s(lemma)
    # The lists give most doubled forms ("stopped"), but not all, and no "opened" beside them.
    return None if _DOUBLING.search(lemma) else _add(lemma, ending)


def _only(forms: list[str] | tuple[str, ...]) -> str | None:
    return forms[0] if len(forms) == 1 else None


def _add_s(lemma: str) -> str | None:
    if _CONSONANT_O.search(lemma):
        return None
    if _SIBILANT.search(lemma):
        return lemma + "es"
    return lemma[:-1] + "ies" if _CONSONANT_Y.search(lemma) else lemma + "s"


def _add(lemma: str, ending: str) -> str:
    if ending == "ing":
        if lemma.endswith("ie"):
            return lemma[:-2] + "ying"
        dropped = lemma.endswith("e") and not lemma.endswith(("ee", "oe", "ye"))
        return (lemma[:-1] if dropped else lemma) + ending
    if lemma.endswith("e"):
        return lemma + ending[1:]
    return lemma[:-1] + "i" + ending if _CONSONANT_Y.search(lemma) else lemma + ending


@lru_cache(maxsize=16)
def _irregular_forms(wordnet: WordNet, pos: str) -> dict[str, tuple[str, ...]]:
    """Base form -> the forms that the exception list gives for it."""
    found: dict[str, tuple[str, ...]] = {}
    for form, bases in wordnet.exceptions[pos].items():
        for base in bases:
            if form != base:
                found[base] = (*found.get(base, ()), form)
    return found
