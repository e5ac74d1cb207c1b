"""Substitution tables from WordNet: antonyms with the paper's rule, and synonyms from frequent senses.

Replacements are inflected like the word they replace. Only unambiguous forms are used. The past tense of an
irregular verb is left out, because it may differ from the participle. The plurals of nouns that end in a
consonant and "o" are also left out ("photos", but "heroes").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from hf_bat.console import track
from hf_bat.errors import HfBatError, check_choice
from hf_bat.lexicon.table import SubstitutionTable
from hf_bat.lexicon.vocabulary import STOPWORD_LISTS, stopwords
from hf_bat.lexicon.wordnet import DETACHMENTS, POSITIONS, WordNet, load_wordnet

_CONSONANT_Y = re.compile(r"[^aeiou]y$")
_CONSONANT_O = re.compile(r"[^aeiou]o$")
_VOWELS = re.compile(r"[aeiouy]+")
# A final consonant that may be doubled ("plan", "refer") or not ("open").
_DOUBLING = re.compile(r"[^aeiou][aeiou][bdfgklmnprtvz]$")
# The past form of these verbs equals the base form, so it is missing from WordNet's exceptions.
_UNCHANGING = ("burst", "cast", "cost", "hurt", "read", "thrust")


def antonyms_from_wordnet(
    words: Iterable[str] | None = None, wordnet: WordNet | None = None
) -> SubstitutionTable:
    """Build antonyms with the paper's rule: the first antonym of each lemma in each synset of the word.

    Only single words are used. An inflected word has the antonyms of its base forms, as in the paper's
    tables: "hires" -> "fire".

    Args:
        words: The words, which are lower-cased. If `None`, use all words with an antonym: lemmas, irregular
            forms, and all regular forms that WordNet's rules map to a lemma. This includes some forms that
            do not exist ("goodder").
        wordnet: The WordNet. If `None`, use the bundled WordNet.

    Returns:
        The table, without words that have no antonym. Antonyms are in the order of WordNet's senses.

    Example:
        >>> table = antonyms_from_wordnet(["hires", "Hated", "dog"])
        >>> dict(table)
        {'hires': ('fire',), 'hated': ('love',)}
    """
    wordnet = wordnet or load_wordnet()
    options = {
        "rule": "first antonym of each lemma of each synset",
        "words": "every form that a look-up can reach" if words is None else "given words",
    }
    listed = _lower(_list_words_near_antonyms(wordnet) if words is None else words)
    table = {
        word: [
            first
            for synset in wordnet.synsets(word)
            for first, *_ in wordnet.antonyms(synset).values()
            if "_" not in first and first.lower() != word
        ]
        for word in track(listed, "antonyms", "word")
    }
    return SubstitutionTable(table, _describe("antonyms", wordnet, options))


def synonyms_from_wordnet(
    words: Iterable[str] | None = None,
    wordnet: WordNet | None = None,
    senses: str = "frequent",
    min_share: float = 0.25,
    exclude: Iterable[str] | None = None,
) -> SubstitutionTable:
    """Build synonyms from shared senses, with the same inflection as the word.

    Two words are synonyms if they share a synset that is a frequent sense of both words. A sense is frequent
    if it has at least `min_share` of the word's tagged occurrences in WordNet, over all parts of speech. If a
    word was never tagged, the first sense of each part of speech is used. A tagged word only has synonyms
    that were tagged with the same sense ("kid" for "child", not "nipper"). Synonyms from the most frequent
    shared sense come first. An inflected word has synonyms with the same inflection ("cars" ->
    "automobiles") if that form is unambiguous.

    Args:
        words: The words, which are lower-cased. If `None`, use all single-word lemmas of WordNet with only
            the letters a-z, and their inflections.
        wordnet: The WordNet. If `None`, use the bundled WordNet.
        senses: `"frequent"`, or `"all"` to use every shared sense. Defaults to `"frequent"`.
        min_share: Minimum share of a frequent sense, from 0 to 1. Defaults to 0.25.
        exclude: Words to leave out, including as synonyms. If `None`, use both stop-word lists.

    Returns:
        The table, without words that have no synonym.

    Raises:
        HfBatError: If `senses` is unknown or `min_share` is out of range.

    Example:
        >>> table = synonyms_from_wordnet(["cars", "the"])
        >>> table["cars"][:2], "the" in table
        (('automobiles', 'motorcars'), False)
    """
    check_choice("senses", senses, ("frequent", "all"))
    if not 0 <= min_share <= 1:
        raise HfBatError(f"min_share must be between 0 and 1, got {min_share}")
    wordnet = wordnet or load_wordnet()
    finder = _SynonymFinder(wordnet, min_share if senses == "frequent" else None)
    listed = _lower(finder.list_words() if words is None else words)
    table = {word: finder.find(word) for word in track(listed, "synonyms", "word")}
    options: dict[str, object] = {"senses": senses}
    if senses == "frequent":
        options["min_share"] = min_share
    if exclude is None:
        dropped = frozenset().union(*map(stopwords, STOPWORD_LISTS))
        options["exclude"] = "stop words: " + ", ".join(STOPWORD_LISTS)
    else:
        dropped = frozenset(exclude)
        options["exclude"] = sorted(dropped)
    return SubstitutionTable(table, _describe("synonyms", wordnet, options)).without(dropped)


def list_inflections(lemma: str, pos: str, wordnet: WordNet) -> dict[str, str]:
    """Return the unambiguous inflected forms of a lower-case base form by kind.

    The kinds are "base", "plural" for nouns, "s", "past" (also the participle) and "ing" for verbs, and "er"
    and "est" for adjectives.

    Example:
        >>> from hf_bat.lexicon import load_wordnet
        >>> list_inflections("stop", "v", load_wordnet())
        {'base': 'stop', 's': 'stops', 'past': 'stopped', 'ing': 'stopping'}
        >>> list_inflections("child", "n", load_wordnet()), list_inflections("go", "v", load_wordnet())
        ({'base': 'child', 'plural': 'children'}, {'base': 'go', 'ing': 'going'})
    """
    irregular = _index_irregular_forms(wordnet, pos).get(lemma, ())
    forms: dict[str, str | None] = {"base": lemma}
    if pos == "n":
        if lemma.endswith("man"):  # women and firemen, but humans
            forms["plural"] = lemma[:-2] + "en" if re.fullmatch(r"(\w*wo)?man", lemma) else None
        else:
            forms["plural"] = _get_only(irregular) if irregular else _add_s(lemma)
    elif pos == "v":
        for kind, ending in (("s", "s"), ("past", "ed"), ("ing", "ing")):
            forms[kind] = _derive_verb_form(lemma, ending, irregular)
    elif pos == "a":
        is_short = len(_VOWELS.findall(lemma.removesuffix("e"))) == 1
        for kind in ("er", "est"):
            listed = [form for form in irregular if form.endswith(kind)]
            regular = _add(lemma, kind) if is_short and not _DOUBLING.search(lemma) else None
            forms[kind] = _get_only(listed) if irregular else regular
    return {kind: form for kind, form in forms.items() if form}


def _derive_verb_form(lemma: str, ending: str, irregular: Sequence[str]) -> str | None:
    listed = [form for form in irregular if form.endswith(ending)]
    # Past forms and participles such as "went" and "gone".
    others = [form for form in irregular if not form.endswith(("s", "ing", ending))]
    if ending == "ed" and (others or lemma.endswith(_UNCHANGING)):
        return None
    if listed or lemma == "be":
        return _get_only(listed)
    if ending == "s":
        return _add_s(lemma)
    # The exceptions list most doubled forms ("stopped"), but not all, and no regular forms like "opened".
    return None if _DOUBLING.search(lemma) else _add(lemma, ending)


def _get_only(forms: Sequence[str]) -> str | None:
    # With two forms ("learned", "learnt"), the correct form is ambiguous.
    return forms[0] if len(forms) == 1 else None


def _add_s(lemma: str) -> str | None:
    if _CONSONANT_O.search(lemma):  # "heroes", but "photos"
        return None
    if lemma.endswith(("s", "x", "z", "ch", "sh")):
        return lemma + "es"
    return lemma[:-1] + "ies" if _CONSONANT_Y.search(lemma) else lemma + "s"


def _add(lemma: str, ending: str) -> str:
    if ending == "ing":
        if lemma.endswith("ie"):  # "lie", "lying"
            return lemma[:-2] + "ying"
        drops_e = lemma.endswith("e") and not lemma.endswith(("ee", "oe", "ye"))
        return (lemma[:-1] if drops_e else lemma) + ending
    if lemma.endswith("e"):
        return lemma + ending[1:]
    return lemma[:-1] + "i" + ending if _CONSONANT_Y.search(lemma) else lemma + ending


@lru_cache(maxsize=16)
def _index_irregular_forms(wordnet: WordNet, pos: str) -> dict[str, tuple[str, ...]]:
    """Map each base form to its irregular forms, from the exception lists."""
    forms: dict[str, tuple[str, ...]] = {}
    for form, bases in wordnet.exceptions[pos].items():
        for base in bases:
            if form != base:
                forms[base] = (*forms.get(base, ()), form)
    return forms


def _lower(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word.lower() for word in words if word))


def _describe(kind: str, wordnet: WordNet, options: Mapping[str, object]) -> dict[str, object]:
    built = f"WordNet {wordnet.version} ({wordnet.source})"
    sources = {"wordnet": wordnet.sha256}
    return {"kind": kind, "built": built, "sources": sources, "options": options}


def _list_words_near_antonyms(wordnet: WordNet) -> list[str]:
    """List all single words with a lookup that finds a synset with an antonym."""
    words: set[str] = set()
    for synset in wordnet.synsets_with_antonyms():
        for lemma in synset.lemmas:
            if "_" not in lemma:
                words.add(lemma.lower())
                # Add all strings that WordNet's rules of detachment map to the lemma.
                for ending, base in DETACHMENTS["a" if synset.pos == "s" else synset.pos]:
                    if lemma.lower().endswith(base):
                        words.add(lemma.lower().removesuffix(base) + ending)
    # Add the irregular forms, because no rule maps them to their base form.
    irregular = {
        form
        for pos in POSITIONS
        for form, bases in wordnet.exceptions[pos].items()
        if "_" not in form and words.intersection(bases)
    }
    return sorted(words | irregular)


class _SynonymFinder:
    """Finds the synonyms of words. If `min_share` is `None`, all senses are used."""

    def __init__(self, wordnet: WordNet, min_share: float | None) -> None:
        self.wordnet = wordnet
        self.min_share = min_share
        self._lemma_counts: dict[str, dict[int, int]] = {}

    def list_words(self) -> list[str]:
        forms = {
            form
            for pos in POSITIONS
            for lemma in self.wordnet.lemmas(pos)
            if _is_plain(lemma)
            for form in list_inflections(lemma, pos, self.wordnet).values()
        }
        return sorted(forms)

    def find(self, word: str) -> list[str]:
        analyses = [(base, pos) for pos in POSITIONS for base in self.wordnet.morphy(word, pos)]
        counts = self._count_senses(analyses)
        ranked: list[tuple[float, str]] = []
        for base, pos in analyses:
            forms = list_inflections(base, pos, self.wordnet)
            kinds = [kind for kind, form in forms.items() if form == word]
            for number in self.wordnet.senses(base, pos) if kinds else ():
                if number in counts:
                    members = self._list_members(number, pos, kinds, counts[number])
                    ranked += [(-counts[number], form) for form in members]
        # Only sort by the count, so equally frequent senses keep WordNet's order.
        return list(dict.fromkeys(form for _, form in sorted(ranked, key=lambda pair: pair[0])))

    def _list_members(self, number: int, pos: str, kinds: list[str], tagged: int) -> Iterator[str]:
        """Yield the words for which a sense is frequent, in synset order, with the same inflection."""
        for lemma in filter(_is_plain, self.wordnet.synset(number).lemmas):
            if lemma not in self._lemma_counts:
                self._lemma_counts[lemma] = self._count_senses([(lemma, pos) for pos in POSITIONS])
            count = self._lemma_counts[lemma].get(number)
            is_rare = self.min_share is not None and tagged and not count
            # If a synonym rarely has this sense, readers would misunderstand it: "nipper" for "child".
            if count is not None and not is_rare:
                forms = list_inflections(lemma, pos, self.wordnet)
                yield from (forms[kind] for kind in kinds if kind in forms)

    # An analysis is (base form, part of speech).
    def _count_senses(self, analyses: list[tuple[str, str]]) -> dict[int, int]:
        """Return tag counts of the word's frequent synsets. Untagged words have zeros for first senses."""
        counts: dict[int, int] = {}
        first: set[int] = set()
        for base, pos in analyses:
            senses = self.wordnet.senses(base, pos)
            first.update(senses[:1])
            for number, count in zip(senses, self.wordnet.sense_counts(base, pos), strict=True):
                counts[number] = counts.get(number, 0) + count
        if self.min_share is None:
            return counts
        least = self.min_share * sum(counts.values())
        if not any(counts.values()):
            return dict.fromkeys(first, 0)
        return {number: count for number, count in counts.items() if count and count >= least}


def _is_plain(lemma: str) -> bool:
    """Return whether a lemma has three or more letters, all of them lower-case a-z."""
    return len(lemma) > 2 and lemma.isascii() and lemma.isalpha() and lemma.islower()
