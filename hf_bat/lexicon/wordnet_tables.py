"""Substitution tables from WordNet: antonyms by the paper's rule, synonyms by frequent senses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from hf_bat.console import counted
from hf_bat.errors import HfBatError
from hf_bat.lexicon.inflection import inflections
from hf_bat.lexicon.stoplists import LISTS, stopwords
from hf_bat.lexicon.table import SubstitutionTable
from hf_bat.lexicon.wordnet import BUNDLED, DETACHMENTS, POSITIONS, WordNet, load_wordnet

DEFAULT_ANTONYMS = BUNDLED.with_name("default_antonyms.json.gz")
DEFAULT_SYNONYMS = BUNDLED.with_name("default_synonyms.json.gz")
DEFAULT_SISTERS = BUNDLED.with_name("default_sisters.json.gz")


def antonyms_from_wordnet(
    words: Iterable[str] | None = None, wordnet: WordNet | None = None
) -> SubstitutionTable:
    """Antonyms by the paper's rule: for each synset of the word and each lemma of it, the lemma's first
    antonym, single words only.

    An inflected word is looked up by its base forms and gets the base form's antonyms, as in the
    paper's own tables: "hires" -> "fire".

    Args:
        words: the words to look up, lower-cased; where None, every single word that a look-up can
            lead to an antonym: lemmas, irregular forms, and all regular forms that WordNet's rules
            take back to them. So nothing is missing for text not yet seen, at the price of forms
            that nobody writes ("goodder" is there, beside "better").
        wordnet: where to look; the bundled WordNet where None.

    Returns:
        The table, antonyms in the order of WordNet's senses; words without an antonym are left out. Its
        metadata has WordNet's version and hash, and the options.

    Example:
        >>> table = antonyms_from_wordnet(["hires", "Hated", "dog"])
        >>> dict(table)
        {'hires': ('fire',), 'hated': ('love',)}
    """
    wordnet = wordnet or load_wordnet()
    scope = "given words" if words is not None else "every form that a look-up can reach"
    if words is None:
        words = _words_near_antonyms(wordnet)
    listed = counted(_lower(words), "antonyms", "word")
    table = {word: _antonyms(word, wordnet) for word in listed}
    options: dict[str, object] = {
        "rule": "first antonym of each lemma of each synset",
        "words": scope,
    }
    return SubstitutionTable(table, _metadata("antonyms", wordnet, options))


def synonyms_from_wordnet(
    words: Iterable[str] | None = None,
    wordnet: WordNet | None = None,
    senses: str = "frequent",
    min_share: float = 0.25,
    exclude: Iterable[str] | None = None,
) -> SubstitutionTable:
    """Synonyms by shared senses, inflected as the word is.

    Two words are synonyms here if they share a synset that is a frequent sense of both: of its
    occurrences that WordNet's editors tagged, over all parts of speech, at least `min_share` had that
    sense (for a word never tagged, the first sense of each part of speech counts). A word that was
    tagged gets only words that were tagged in that sense ("kid" for "child", not "nipper"). The most
    frequent shared sense comes first. An inflected word gets its synonyms in the same inflection ("cars" ->
    "automobiles") where that form is certain, and otherwise none.

    Args:
        words: the words to look up, lower-cased; where None, every single-word lemma of WordNet in
            letters a-z, with its inflections.
        wordnet: where to look; the bundled WordNet where None.
        senses: "frequent" (the default), or "all": every shared sense counts.
        min_share: the share that makes a sense frequent, 0 to 1.
        exclude: words that get no synonym and are none; where None, both lists of stop words.

    Returns:
        The table; words without a synonym are left out. Its metadata has WordNet's version and hash, and
        the options.

    Raises:
        HfBatError: an unknown `senses` or a `min_share` out of range.

    Example:
        >>> table = synonyms_from_wordnet(["cars", "the"])
        >>> table["cars"][:2], "the" in table
        (('automobiles', 'motorcars'), False)
    """
    if senses not in ("frequent", "all"):
        raise HfBatError(f"unknown senses {senses!r}; known: frequent, all")
    if not 0 <= min_share <= 1:
        raise HfBatError(f"min_share must be between 0 and 1, got {min_share}")
    wordnet = wordnet or load_wordnet()
    finder = _SynonymFinder(wordnet, min_share if senses == "frequent" else None)
    if words is None:
        words = finder.all_words()
    listed = counted(_lower(words), "synonyms", "word")
    table = {word: finder.synonyms(word) for word in listed}
    options: dict[str, object] = {"senses": senses}
    if senses == "frequent":
        options["min_share"] = min_share
    dropped = frozenset().union(*map(stopwords, LISTS)) if exclude is None else frozenset(exclude)
    options["exclude"] = "stop words: " + ", ".join(LISTS) if exclude is None else sorted(dropped)
    return SubstitutionTable(table, _metadata("synonyms", wordnet, options)).without(dropped)


@lru_cache(maxsize=1)
def default_antonyms() -> SubstitutionTable:
    """The bundled antonyms: `antonyms_from_wordnet()`, prebuilt and shipped.

    Returns:
        The table, loaded once a process.

    Example:
        >>> default_antonyms()["hated"]
        ('love',)
    """
    return SubstitutionTable.load(DEFAULT_ANTONYMS)


@lru_cache(maxsize=1)
def default_synonyms() -> SubstitutionTable:
    """The bundled synonyms: `synonyms_from_wordnet()` without antonyms, prebuilt and shipped.

    Returns:
        The table, loaded once a process.

    Example:
        >>> default_synonyms()["automobile"][:2]
        ('car', 'auto')
    """
    return SubstitutionTable.load(DEFAULT_SYNONYMS)


@lru_cache(maxsize=1)
def default_sisters() -> SubstitutionTable:
    """The bundled sister terms: words of a class that exclude each other, nearest first.

    Colours, animals, fruit, dishes, drinks, materials, vehicles, musical instruments, sports,
    furniture, clothing, parts of the body, nationalities, days, months, rooms and the like; built by
    `scripts/build_sister_table.py` from WordNet's classes.

    Returns:
        The table, loaded once a process.

    Example:
        >>> default_sisters()["violin"][:2]
        ('cello', 'guitar')
    """
    return SubstitutionTable.load(DEFAULT_SISTERS)


def build_default_tables(wordnet: WordNet) -> tuple[SubstitutionTable, SubstitutionTable]:
    """Build the antonyms and synonyms that ship in the package."""
    antonyms = antonyms_from_wordnet(wordnet=wordnet)
    return antonyms, synonyms_from_wordnet(wordnet=wordnet).minus(antonyms)


def _lower(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(word.lower() for word in words if word))


def _metadata(kind: str, wordnet: WordNet, options: dict[str, object]) -> dict[str, object]:
    built = f"WordNet {wordnet.version} ({wordnet.source})"
    sources = {"wordnet": wordnet.sha256}
    return {"kind": kind, "built": built, "sources": sources, "options": options}


def _antonyms(word: str, wordnet: WordNet) -> list[str]:
    found = [
        first
        for synset in wordnet.synsets(word)
        for first, *_ in wordnet.antonyms(synset).values()
        if "_" not in first
    ]
    return [antonym for antonym in dict.fromkeys(found) if antonym.lower() != word]


def _words_near_antonyms(wordnet: WordNet) -> list[str]:
    """Every single word whose look-up reaches a synset that has an antonym."""
    found: dict[str, None] = {}
    for synset in wordnet.synsets_with_antonyms():
        pos = "a" if synset.pos == "s" else synset.pos
        for lemma in synset.lemmas:
            if "_" not in lemma:
                found.update(dict.fromkeys(_forms(lemma.lower(), pos)))
    bases = set(found)
    for pos in POSITIONS:
        for form, listed in wordnet.exceptions[pos].items():
            if "_" not in form and bases.intersection(listed):
                found[form] = None
    return sorted(found)


def _forms(lemma: str, pos: str) -> Iterator[str]:
    """A lemma, and every string that WordNet's rules of detachment take back to it."""
    yield lemma
    for ending, base in DETACHMENTS[pos]:
        if lemma.endswith(base):
            yield lemma[: len(lemma) - len(base)] + ending


class _SynonymFinder:
    """Finds a word's synonyms; `min_share` None admits every sense."""

    def __init__(self, wordnet: WordNet, min_share: float | None) -> None:
        self.wordnet = wordnet
        self.min_share = min_share
        self._lemma_senses: dict[str, dict[int, int]] = {}

    def all_words(self) -> list[str]:
        return sorted(
            {
                form
                for pos in POSITIONS
                for lemma in self.wordnet.lemmas(pos)
                if _is_plain(lemma)
                for form in inflections(lemma, pos, self.wordnet).values()
            }
        )

    def synonyms(self, word: str) -> list[str]:
        analyses = [(base, pos) for pos in POSITIONS for base in self.wordnet.morphy(word, pos)]
        counts = self._counts(analyses)
        tagged = any(counts.values())
        admitted = self._admitted(analyses, counts)
        ranked: list[tuple[float, str]] = []
        for base, pos in analyses:
            kinds = [
                kind for kind, form in inflections(base, pos, self.wordnet).items() if form == word
            ]
            for number in self.wordnet.senses(base, pos) if kinds else ():
                if number in admitted:
                    members = self._members(number, pos, kinds, tagged)
                    ranked += [(-counts[number], form) for form in members]
        return list(dict.fromkeys(form for _, form in sorted(ranked, key=lambda pair: pair[0])))

    def _members(self, number: int, pos: str, kinds: list[str], tagged: bool) -> Iterator[str]:
        """The words of a synset that often mean it, in its order, inflected alike."""
        for lemma in self.wordnet.synset(number).lemmas:
            if not _is_plain(lemma) or number not in self._of_lemma(lemma):
                continue
            rare = self.min_share is not None and tagged and not self._of_lemma(lemma)[number]
            if not rare:
                forms = inflections(lemma, pos, self.wordnet)
                yield from (forms[kind] for kind in kinds if kind in forms)

    def _of_lemma(self, lemma: str) -> dict[int, int]:
        """A lemma's admitted synsets, each with how often it was tagged."""
        if lemma not in self._lemma_senses:
            analyses = [(lemma, pos) for pos in POSITIONS]
            counts = self._counts(analyses)
            admitted = self._admitted(analyses, counts)
            self._lemma_senses[lemma] = {number: counts[number] for number in admitted}
        return self._lemma_senses[lemma]

    def _counts(self, analyses: list[tuple[str, str]]) -> dict[int, int]:
        """The synsets of a word's analyses (base form, part of speech), with their tag counts."""
        counts: dict[int, int] = {}
        for base, pos in analyses:
            senses = self.wordnet.senses(base, pos)
            for number, count in zip(senses, self.wordnet.sense_counts(base, pos), strict=True):
                counts[number] = counts.get(number, 0) + count
        return counts

    def _admitted(self, analyses: list[tuple[str, str]], counts: dict[int, int]) -> set[int]:
        """The synsets that a word often means; of a word never tagged, its first senses."""
        if self.min_share is None:
            return set(counts)
        total = sum(counts.values())
        if not total:
            return {n for base, pos in analyses for n in self.wordnet.senses(base, pos)[:1]}
        return {n for n, count in counts.items() if count and count >= self.min_share * total}


def _is_plain(lemma: str) -> bool:
    """Whether a lemma is an ordinary word: lower-case letters a-z, three or more of them."""
    return len(lemma) > 2 and lemma.isascii() and lemma.isalpha() and lemma.islower()
