"""Word substitutions: synonyms (fickle) and antonyms (obstinate)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from hf_bat.errors import HfBatError
from hf_bat.lexicon.table import TableSource, as_table
from hf_bat.perturbations.base import (
    Edit,
    Perturbation,
    RandomSource,
    Slot,
    Texts,
    apply_replacement,
)
from hf_bat.text import detach_punctuation, join_tokens, match_case, split_tokens

CASINGS = ("keep", "authors")
# Tokens are looked up once and remembered. A corpus of a million distinct tokens is rare; past that
# the memory is worth more than the look-ups.
_MEMO_SIZE = 1_000_000


class _Memo(dict[str, tuple[str, ...]]):
    """token -> the whole tokens that may replace it (case and trailing mark included)."""

    def __init__(self, compute: Callable[[str], tuple[str, ...]]):
        super().__init__()
        self.compute = compute

    def __missing__(self, token: str) -> tuple[str, ...]:
        if len(self) >= _MEMO_SIZE:
            self.clear()
        self[token] = options = self.compute(token)
        return options


class SubstitutionPerturbation(Perturbation):
    """Replaces words by others from a table; the base of the synonym and antonym perturbations.

    Args:
        table: a `SubstitutionTable`, a mapping of words to replacements or a table's file. A word is looked
            up as it stands, then in lower case.
        exclude_stopwords: leave function words (NLTK's English list) alone. The authors' training does
            not, although their attack does: 37 stop words have antonyms in each of their tables.
        casing: `"keep"` gives a replacement the case pattern of the word that it replaces; `"authors"`
            leaves it in lower case as the authors' code does, which for a cased model is a cue.

    Raises:
        HfBatError: an unknown casing.

    Example:
        >>> table = {"hot": ("cold",), "not": ("never",)}
        >>> AntonymPerturbation(table).replacements("not")  # a stop word
        ()
        >>> AntonymPerturbation(table, exclude_stopwords=False, casing="authors").replacements("Not")
        ('never',)
    """

    def __init__(
        self,
        table: TableSource,
        exclude_stopwords: bool = True,
        casing: Literal["keep", "authors"] = "keep",
    ):
        if casing not in CASINGS:
            raise HfBatError(f"unknown casing {casing!r}; known: {', '.join(CASINGS)}")
        # A table has a hash, by which files that hold its results are told from another's.
        self.table = as_table(table)
        self.exclude_stopwords = exclude_stopwords
        self.casing = casing
        self._stopwords: frozenset[str] = frozenset()
        if exclude_stopwords:
            from hf_bat.lexicon import stopwords

            self._stopwords = stopwords("nltk")
        self._options = _Memo(self._replacement_tokens)

    def __getstate__(self) -> dict[str, Any]:
        # What was remembered is cheap to look up again and dear to send to every worker.
        state = self.__dict__.copy()
        del state["_options"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._options = _Memo(self._replacement_tokens)

    def replacements(self, word: str) -> tuple[str, ...]:
        """The words that may stand in a word's place, in its case, nearest first, without itself.

        Example:
            >>> AntonymPerturbation({"hot": ("cold",)}).replacements("Hot")
            ('Cold',)
        """
        lower = word.lower()
        if lower in self._stopwords:
            return ()
        found = self.table.get(word) or self.table.get(lower) or ()
        if self.casing == "keep":
            found = tuple(match_case(replacement, word) for replacement in found)
        return tuple(dict.fromkeys(r for r in found if r.lower() != lower))

    def _replacement_tokens(self, token: str) -> tuple[str, ...]:
        word, mark = detach_punctuation(token)
        return tuple(replacement + mark for replacement in self.replacements(word))

    def leaves(self, tokens: Sequence[str], place: int) -> bool:
        """Whether a word that has replacements is left alone for the words beside it; none is here.

        Args:
            tokens: a sentence's.
            place: which of them.
        """
        return False

    def slots(self, texts: Texts) -> list[Slot]:
        """List the words that can be replaced, in reading order, with all their replacements.

        Example:
            >>> AntonymPerturbation({"hot": ("cold",)}).slots(("A hot day.",))
            [Slot(sentence=0, position=1, original='hot', replacements=('cold',))]
        """
        found = []
        for sentence, text in enumerate(texts):
            tokens = text.split()
            for position, token in enumerate(tokens):
                if self._options[token] and not self.leaves(tokens, position):
                    word = detach_punctuation(token)[0]
                    found.append(Slot(sentence, position, word, self.replacements(word)))
        return found

    def candidates(self, texts: Texts) -> list[Edit]:
        """List every input that replaces one word once, in reading order, nearest first."""
        return [
            Edit(
                slot.sentence,
                slot.position,
                slot.original,
                replacement,
                _with_sentence(
                    texts,
                    slot.sentence,
                    apply_replacement(texts[slot.sentence], slot.position, replacement),
                ),
            )
            for slot in self.slots(texts)
            for replacement in slot.replacements
        ]

    def describe(self) -> dict[str, object]:
        return {
            "perturbation": self.name,
            "table": self.table.fingerprint,
            "exclude_stopwords": self.exclude_stopwords,
            "casing": self.casing,
        }


class SynonymPerturbation(SubstitutionPerturbation):
    """The fickle set S_x: every word may be replaced by any word of its synonym set (paper, 2.1).

    A sample draws each word uniformly from its set, the word itself included, so that several words
    change at once; a sample in which no word changes is None.

    Args:
        table: word -> synonyms; see `SubstitutionPerturbation`.
        exclude_stopwords: see `SubstitutionPerturbation`.
        casing: see `SubstitutionPerturbation`; with "authors" a sample is in lower case throughout.

    Example:
        >>> import random
        >>> fickle = SynonymPerturbation({"dog": ("hound",), "big": ("large", "huge")})
        >>> fickle.sample(("A big dog.", "An animal."), random.Random(1))
        ('A big hound.', 'An animal.')
        >>> fickle.sample(("An animal.",), random.Random(1)) is None
        True
    """

    name = "synonym"
    kind = "fickle"

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        draw, options_of = rng.random, self._options
        lower_all = self.casing == "authors"
        changed = False
        perturbed = []
        for text in texts:
            tokens, spaces = split_tokens(text.lower() if lower_all else text)
            for place, token in enumerate(tokens):
                options = options_of[token]
                if options:
                    choice = int(draw() * (len(options) + 1))
                    if choice:
                        tokens[place] = options[choice - 1]
                        changed = True
            perturbed.append(join_tokens(tokens, spaces))
        return tuple(perturbed) if changed else None


class SwapPerturbation(SubstitutionPerturbation):
    """Obstinate sets in which one word of one sentence is replaced: the base of `AntonymPerturbation`.

    A sample takes the sentences in a random order, the first that has a word to replace is changed:
    one such word drawn uniformly, one of its replacements drawn uniformly.

    Args:
        table: word -> replacements; see `SubstitutionPerturbation`.
        exclude_stopwords: see `SubstitutionPerturbation`.
        casing: see `SubstitutionPerturbation`.

    Example:
        >>> class ColourPerturbation(SwapPerturbation):
        ...     name = "colour"
        >>> swap = ColourPerturbation({"red": ("blue",), "shirt": ("coat",)})
        >>> [edit.texts for edit in swap.candidates(("A red shirt.", "It is red."))]
        [('A blue shirt.', 'It is red.'), ('A red coat.', 'It is red.'), ('A red shirt.', 'It is blue.')]
    """

    kind = "obstinate"

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        draw, options_of = rng.random, self._options
        order = [0] if len(texts) == 1 else ([0, 1] if draw() < 0.5 else [1, 0])
        for sentence in order:
            tokens, spaces = split_tokens(texts[sentence])
            places = [
                place
                for place, token in enumerate(tokens)
                if options_of[token] and not self.leaves(tokens, place)
            ]
            if places:
                place = places[int(draw() * len(places))]
                options = options_of[tokens[place]]
                tokens[place] = options[int(draw() * len(options))]
                return _with_sentence(texts, sentence, join_tokens(tokens, spaces))
        return None

    def choose(self, edits: Sequence[Edit], rng: RandomSource) -> Edit | None:
        """Draw one of some candidates as `sample` draws: a sentence, a word of it, a replacement."""
        sentences = sorted({edit.sentence for edit in edits})
        if not sentences:
            return None
        sentence = sentences[int(rng.random() * len(sentences))]
        places = sorted({edit.position for edit in edits if edit.sentence == sentence})
        place = (sentence, places[int(rng.random() * len(places))])
        found = [edit for edit in edits if (edit.sentence, edit.position) == place]
        return found[int(rng.random() * len(found))]


class AntonymPerturbation(SwapPerturbation):
    """The obstinate set A_x: one word of one sentence is replaced by an antonym (paper, 2.2).

    Args:
        table: word -> antonyms; see `SubstitutionPerturbation`.
        exclude_stopwords: see `SubstitutionPerturbation`.
        casing: see `SubstitutionPerturbation`.

    Example:
        >>> import random
        >>> obstinate = AntonymPerturbation({"hot": ("cold",), "day": ("night",)})
        >>> obstinate.sample(("A hot day.", "It is warm."), random.Random(0))
        ('A hot night.', 'It is warm.')
        >>> [edit.texts[0] for edit in obstinate.candidates(("A hot day.",))]
        ['A cold day.', 'A hot night.']
    """

    name = "antonym"


class SisterPerturbation(SwapPerturbation):
    """One word of one sentence is replaced by a sister term: of the same class, excluding it (obstinate).

    A red shirt is no blue one, a dog no cat, a piano no drum. Classes of the bundled table: see
    `hf_bat.lexicon.default_sisters`.

    Args:
        table: word -> sister terms; the bundled lexicon's where None.
        exclude_stopwords: see `SubstitutionPerturbation`.
        casing: see `SubstitutionPerturbation`.

    Example:
        >>> [edit.texts[0] for edit in SisterPerturbation().candidates(("Summer rain.",))]
        ['Winter rain.', 'Spring rain.', 'Autumn rain.']
    """

    name = "sister"

    def __init__(
        self,
        table: Mapping[str, Any] | None = None,
        exclude_stopwords: bool = True,
        casing: Literal["keep", "authors"] = "keep",
    ):
        if table is None:
            from hf_bat.lexicon import default_sisters

            table = default_sisters()
        super().__init__(table, exclude_stopwords, casing)


def _with_sentence(texts: Texts, sentence: int, text: str) -> Texts:
    return (*texts[:sentence], text, *texts[sentence + 1 :])
