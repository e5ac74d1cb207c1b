"""Substitution tables from WordNet: antonyms by the paper's rule, synonyms by frequent senses.

Replacements are inflected as the word that they replace. Only certain forms are used: the past tense
of an irregular verb, which may differ from its participle, is left out, and so are the plurals of
nouns in consonant + "o" ("photos", but "heroes").
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
# A final consonant that may need doubling: "plan", "refer", but "open".
_DOUBLING = re.compile(r"[^aeiou][aeiou][bdfgklmnprtvz]$")
# Their past equals the base form, so that WordNet's exceptions do not list it.
_UNCHANGING = ("burst", "cast", "cost", "hurt", "read", "thrust")


def antonyms_from_wordnet(
    words: Iterable[str] | None = None, wordnet: WordNet | None = None
) -> SubstitutionTable:
    """Build antonyms by the paper's rule: the first antonym of each lemma of each synset of a word.

    Only single words are used. An inflected word has the antonyms of its base forms, as in the
    paper's tables: "hires" -> "fire".

    Args:
        words: The words; they are lower-cased. If `None`, every word that a look-up can take to an
            antonym: lemmas, irregular forms, and all regular forms that WordNet's rules take back to
            them, including some that nobody writes ("goodder").
        wordnet: The WordNet. If `None`, the bundled one.

    Returns:
        The table, antonyms in the order of WordNet's senses, without words that have no antonym.

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
    """Build synonyms by shared senses, inflected as the word is.

    Two words are synonyms if they share a synset that is a frequent sense of both: at least
    `min_share` of a word's tagged occurrences in WordNet, over all parts of speech, have that sense. If a
    word was never tagged, the first sense of each part of speech counts. A tagged word only gets words
    that were tagged in that sense ("kid" for "child", not "nipper"). The most frequent shared sense is
    first. An inflected word gets its synonyms in the same inflection ("cars" -> "automobiles") if that
    form is certain.

    Args:
        words: The words; they are lower-cased. If `None`, every single-word lemma of WordNet in
            letters a-z, with its inflections.
        wordnet: The WordNet. If `None`, the bundled one.
        senses: `"frequent"`, or `"all"` to use every shared sense. Defaults to `"frequent"`.
        min_share: Least share of a frequent sense, 0 to 1. Defaults to 0.25.
        exclude: Words to leave out, also as synonyms. If `None`, both lists of stop words.

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
    """Return the certain inflected forms of a lower-case base form by kind.

    Kinds are "base"; for nouns "plural"; for verbs "s", "past" (also the participle) and "ing"; for
    adjectives "er" and "est".

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
    # The exceptions have most doubled forms ("stopped"), but not all, and no "opened" beside them.
    return None if _DOUBLING.search(lemma) else _add(lemma, ending)


def _get_only(forms: Sequence[str]) -> str | None:
    # Two forms ("learned", "learnt") leave it uncertain which is meant.
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
    """Return base form -> irregular forms, from the exception lists."""
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
    """List every single word whose look-up reaches a synset with an antonym."""
    words: set[str] = set()
    for synset in wordnet.synsets_with_antonyms():
        for lemma in synset.lemmas:
            if "_" not in lemma:
                words.add(lemma.lower())
                # Every string that WordNet's rules of detachment take back to the lemma.
                for ending, base in DETACHMENTS["a" if synset.pos == "s" else synset.pos]:
                    if lemma.lower().endswith(base):
                        words.add(lemma.lower().removesuffix(base) + ending)
    # Irregular forms are listed, because no rule leads to their base form.
    irregular = {
        form
        for pos in POSITIONS
        for form, bases in wordnet.exceptions[pos].items()
        if "_" not in form and words.intersection(bases)
    }
    return sorted(words | irregular)


class _SynonymFinder:
    """Finds the synonyms of a word; `min_share` `None` admits every sense."""

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
        # Sorted by the count only, so that equally frequent senses stay in WordNet's order.
        return list(dict.fromkeys(form for _, form in sorted(ranked, key=lambda pair: pair[0])))

    def _list_members(self, number: int, pos: str, kinds: list[str], tagged: int) -> Iterator[str]:
        """Yield the words that often have a sense, in the order of its synset, inflected alike."""
        for lemma in filter(_is_plain, self.wordnet.synset(number).lemmas):
            if lemma not in self._lemma_counts:
                self._lemma_counts[lemma] = self._count_senses([(lemma, pos) for pos in POSITIONS])
            count = self._lemma_counts[lemma].get(number)
            is_rare = self.min_share is not None and tagged and not count
            # A sense that a synonym hardly ever has would be misread: "nipper" for "child".
            if count is not None and not is_rare:
                forms = list_inflections(lemma, pos, self.wordnet)
                yield from (forms[kind] for kind in kinds if kind in forms)

    # An analysis is (base form, part of speech).
    def _count_senses(self, analyses: list[tuple[str, str]]) -> dict[int, int]:
        """Return the tag counts of a word's frequent synsets, or zeros for its first ones."""
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
