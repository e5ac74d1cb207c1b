"""Split sentences into words with parts of speech for the rules, and edit them grammatically."""

from __future__ import annotations

from functools import cached_property, lru_cache

from hf_bat.lexicon import load_wordnet, stopwords
from hf_bat.perturbations import verbs
from hf_bat.perturbations.base import delete_token, normalize_word, split_marks
from hf_bat.perturbations.grammar import fit_article
from hf_bat.text import match_case, split_pieces

# Ignore a part of speech if it makes up less than this share of the word's uses.
LEAST_SHARE = 0.2
# WordNet has entries for "young man" and "old lady", although they are not fixed expressions.
_PEOPLE = frozenset((
    "man", "woman", "boy", "girl", "lady", "person", "people", "men", "women", "boys", "girls",
    "ladies",
))  # fmt: skip


class Sentence:
    """A sentence with its tokens, its normalized words, and the part of speech of each word.

    Args:
        text: The sentence.

    Example:
        >>> sentence = Sentence("A big dog runs.")
        >>> [sentence.get_pos(place) for place in range(4)]
        [None, 'a', 'n', 'v']
        >>> sentence.replace(1, "old"), sentence.delete(1, 2)
        ('An old dog runs.', 'A dog runs.')
    """

    def __init__(self, text: str):
        self.text = text
        self._pieces = split_pieces(text)
        self._places = [i for i in range(0, len(self._pieces), 2) if self._pieces[i]]
        self.tokens = [split_marks(self._pieces[i]) for i in self._places]
        self.words = [normalize_word(word) for _, word, _ in self.tokens]

    @cached_property
    def tags(self) -> list[str | None]:
        """The verb tag of each word, or `None` if the word is not a verb."""
        return verbs.tag_with_rules(self.tokens)

    def get_pos(self, place: int) -> str | None:
        """Return the word's part of speech ("n", "v", "a", "r"), or `None` for a function word."""
        word = self.words[place]
        if not word or is_function_word(word):
            return None
        if self.tags[place]:
            return "v"
        shares = measure_parts_of_speech(word)
        if not shares:
            return None
        # A word before a noun is likely an adjective: "a light shirt", "the young man".
        if shares.get("a", 0) >= LEAST_SHARE and self.has_noun_after(place):
            return "a"
        return max(shares, key=lambda pos: shares[pos])

    def has_noun_after(self, place: int) -> bool:
        """Return whether the next word, in the same phrase, can be a noun."""
        if place + 1 >= len(self.words) or self.tokens[place][2] or self.tags[place + 1]:
            return False
        following = self.words[place + 1]
        if not following or is_function_word(following):
            return False
        return measure_parts_of_speech(following).get("n", 0) >= LEAST_SHARE

    def is_in_compound(self, place: int) -> bool:
        """Return whether a word and a neighbor form a WordNet collocation ("hot dog")."""
        return any(
            is_collocation(self.words[first], self.words[first + 1])
            for first in (place - 1, place)
            if first >= 0 and first + 1 < len(self.words) and not self.tokens[first][2]
            if self.words[first + 1] not in _PEOPLE
        )

    def is_name(self, place: int) -> bool:
        """Return whether a word is capitalized like a name, or may be a name at the sentence start."""
        cased = self.tokens[place][1]
        if not cased[:1].isupper():
            return False
        if place and not self.tokens[place - 1][2].endswith((".", "!", "?")):
            return True
        return may_be_name(self.words[place])

    def replace(self, place: int, new: str) -> str:
        """Return the sentence with one word replaced, adjusting the new word's case and the article."""
        before, old, after = self.tokens[place]
        pieces = list(self._pieces)
        pieces[self._places[place]] = before + match_case(new, old) + after
        if place:
            article = self._places[place - 1]
            pieces[article] = fit_article(pieces[article], new)
        return "".join(pieces)

    def exchange(self, first: int, second: int) -> str:
        """Return the sentence with two words swapped."""
        swapped = Sentence(self.replace(first, self.tokens[second][1]))
        return swapped.replace(second, self.tokens[first][1])

    def delete(self, start: int, stop: int) -> str:
        """Return the sentence without the words from `start` (included) to `stop` (excluded)."""
        pieces, spot = list(self._pieces), self._places[start]
        for _ in range(start, stop):
            pieces = delete_token(pieces, spot)
        if start and stop < len(self.words):
            article = self._places[start - 1]
            pieces[article] = fit_article(pieces[article], self.tokens[stop][1])
        return "".join(pieces).rstrip()


@lru_cache(maxsize=100_000)
def measure_parts_of_speech(word: str) -> dict[str, float]:
    """Return the share of each part of speech in the word's tagged uses.

    Verbs are excluded, because the tagger finds them.

    Example:
        >>> measure_parts_of_speech("dogs")
        {'n': 1.0}
    """
    wordnet = load_wordnet()
    counts = {}
    for pos in ("n", "a", "r"):
        bases = wordnet.morphy(word, pos)
        if bases:
            # Add 0.5 for smoothing, because many words were never tagged.
            counts[pos] = 0.5 + max(sum(wordnet.sense_counts(base, pos)) for base in bases)
    total = sum(counts.values())
    return {pos: count / total for pos, count in counts.items()}


@lru_cache(maxsize=100_000)
def list_main_senses(lemma: str, pos: str, least_share: float = LEAST_SHARE) -> tuple[int, ...]:
    """Return the first sense of a lemma and all senses with a large share of its uses."""
    wordnet = load_wordnet()
    senses, counts = wordnet.senses(lemma, pos), wordnet.sense_counts(lemma, pos)
    total = sum(counts) or 1
    return tuple(
        sense
        for rank, (sense, count) in enumerate(zip(senses, counts, strict=True))
        if rank == 0 or count / total >= least_share
    )


@lru_cache(maxsize=100_000)
def is_double_plural(word: str) -> bool:
    """Return whether a word adds a plural ending to a plural, or to a science.

    Example:
        >>> [is_double_plural(word) for word in ("workses", "acousticses", "glasses", "corpses")]
        [True, True, False, False]
    """
    wordnet = load_wordnet()
    bases = wordnet.morphy(word, "n")
    return bool(bases) and all(
        base != word
        and (base.endswith("ics") or any(other != base for other in wordnet.morphy(base, "n")))
        for base in bases
    )


@lru_cache(maxsize=100_000)
def is_collocation(first: str, second: str) -> bool:
    """Return whether two words form a WordNet entry. The second word may be inflected."""
    wordnet = load_wordnet()
    return any(
        wordnet.senses(f"{first}_{base}", pos)
        for pos in ("n", "a", "v", "r")
        for base in {second, *wordnet.morphy(second, pos)}
    )


@lru_cache(maxsize=100_000)
def may_be_name(word: str) -> bool:
    """Return whether WordNet spells a sense of a lower-case word with a capital: Turkey, Polish."""
    wordnet = load_wordnet()
    return any(
        lemma[:1].isupper() and lemma.lower() == word
        for synset in wordnet.synsets(word)
        for lemma in synset.lemmas
    )


def is_function_word(word: str) -> bool:
    """Return whether a word is in one of the two lists of stop words."""
    # TextFooler's list has all prepositions, and NLTK's list only has some of them.
    return word in stopwords("textfooler") or word in stopwords("nltk")
