"""Word substitutions: synonyms (fickle), antonyms and sister terms (obstinate)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from hf_bat.errors import check_choice
from hf_bat.lexicon import SubstitutionTable, as_table, default_sisters, stopwords
from hf_bat.lexicon.bundled import as_synonyms
from hf_bat.lexicon.table import TableSource
from hf_bat.perturbations.base import (
    Edit,
    Memo,
    Perturbation,
    RandomSource,
    Slot,
    Texts,
    apply_replacement,
    list_edits,
    replace_sentence,
)
from hf_bat.perturbations.grammar import fit_article, fit_form, is_english
from hf_bat.text import detach_punctuation, join_tokens, match_case, split_tokens

CASINGS = ("keep", "authors")


def find_listed_stopwords(table: SubstitutionTable) -> frozenset[str]:
    """Return the stop words that an antonym table replaces, because its author listed them as plain words.

    Tables built from a lexicon also contain stop words ("is", "no"), which nobody chose.

    Example:
        >>> sorted(find_listed_stopwords(as_table({"on": ("off",), "hot": ("cold",)})))
        ['on']
        >>> from hf_bat.lexicon import default_antonyms
        >>> sorted(find_listed_stopwords(default_antonyms()))
        []
    """
    if not table.is_plain:
        return frozenset()
    return stopwords("nltk").intersection(word.lower() for word in table)


class SubstitutionPerturbation(Perturbation):
    """Replaces words with other words from a table. Base class of synonym and antonym perturbations.

    Args:
        table: A `SubstitutionTable`, a mapping from words to replacements, or the path of a table. A
            word is looked up unchanged first, then in lower case.
        exclude_stopwords: Whether to keep function words (NLTK's English list). The authors' training
            replaces them, but their attack does not. Defaults to `True`.
        casing: `"keep"` applies the case pattern of the replaced word to the replacement. `"authors"` uses
            lower case like the authors' code, which a cased model can notice. Defaults to `"keep"`.

    Raises:
        HfBatError: If the casing is unknown or the table cannot be read.

    Example:
        >>> table = {"film": ("movie",), "very": ("really",)}
        >>> SynonymPerturbation(table).replacements("very")  # a stop word
        ()
        >>> SynonymPerturbation(table, exclude_stopwords=False, casing="authors").replacements("Very")
        ('really',)
    """

    def __init__(
        self,
        table: TableSource,
        exclude_stopwords: bool = True,
        casing: Literal["keep", "authors"] = "keep",
    ):
        check_choice("casing", casing, CASINGS)
        # Also convert plain mappings to tables, because fingerprints distinguish the results of different
        # tables.
        self.table = as_table(table)
        self.exclude_stopwords = exclude_stopwords
        self.casing = casing
        self._stopwords = stopwords("nltk") if exclude_stopwords else frozenset()
        self._options = Memo(self._list_options)

    def replacements(self, word: str) -> tuple[str, ...]:
        """Return the word's replacements in the same case, nearest first, without the word itself.

        Example:
            >>> AntonymPerturbation({"hot": ("cold",)}).replacements("Hot")
            ('Cold',)
        """
        lower = word.lower()
        if lower in self._stopwords:
            return ()
        others = self._fit_forms(lower, self.table.get(word) or self.table.get(lower) or ())
        if self.casing == "keep":
            others = tuple(match_case(other, word) for other in others)
        # After matching the case, replacements may be equal to each other or to the word itself.
        return tuple(dict.fromkeys(other for other in others if other.lower() != lower))

    def _fit_forms(self, word: str, others: tuple[str, ...]) -> tuple[str, ...]:
        """Return the replacements, inflected like the lower-case word. The default does not change them."""
        return others

    def _list_options(self, token: str) -> tuple[str, ...]:
        """Return the tokens that may replace the token, including its trailing mark."""
        word, mark = detach_punctuation(token)
        return tuple(other + mark for other in self.replacements(word))

    def is_kept(self, tokens: Sequence[str], place: int) -> bool:
        """Return whether the token at index `place` must not be replaced because of its neighbors."""
        # Subclasses can override this if a replacement depends on the context, as for numbers in times.
        return False

    def slots(self, texts: Texts) -> list[Slot]:
        """List the words that can be replaced, in reading order, with all their replacements.

        Example:
            >>> AntonymPerturbation({"hot": ("cold",)}).slots(("A hot day.",))
            [Slot(sentence=0, position=1, original='hot', replacements=('cold',))]
        """
        slots = []
        for sentence, text in enumerate(texts):
            tokens = text.split()
            for position, token in enumerate(tokens):
                if self._options[token] and not self.is_kept(tokens, position):
                    word = detach_punctuation(token)[0]
                    slots.append(Slot(sentence, position, word, self.replacements(word)))
        return slots

    def candidates(self, texts: Texts) -> list[Edit]:
        """List every edit that replaces one word, in reading order, nearest replacement first."""
        return [edit for slot in self.slots(texts) for edit in self._make_edits(texts, slot)]

    def _make_edits(self, texts: Texts, slot: Slot) -> list[Edit]:
        """Make one edit for each replacement of a slot."""
        return list_edits(texts, slot)

    def edits_at(
        self, texts: Texts, sentence: int, position: int, start: Texts, start_position: int
    ) -> list[Edit]:
        tokens = texts[sentence].split()
        word = detach_punctuation(tokens[position])[0]
        options = () if self.is_kept(tokens, position) else self.replacements(word)
        return self._make_edits(texts, Slot(sentence, position, word, options))

    def describe(self) -> dict[str, object]:
        return {
            "perturbation": self.name,
            "table": self.table.fingerprint,
            "exclude_stopwords": self.exclude_stopwords,
            "casing": self.casing,
        }


class SynonymPerturbation(SubstitutionPerturbation):
    """The fickle set S_x: every word may be replaced with any word in its synonym set (paper, 2.1).

    A sample draws each word uniformly from its set, which includes the word itself, so several words can
    change at once. With `casing="authors"`, the entire sample is in lower case.

    Args:
        table: Table or mapping from words to synonyms, or "wordnet" for the bundled WordNet synonyms.
        exclude_stopwords: See `SubstitutionPerturbation`.
        casing: See `SubstitutionPerturbation`.

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

    def __init__(
        self,
        table: TableSource,
        exclude_stopwords: bool = True,
        casing: Literal["keep", "authors"] = "keep",
    ):
        super().__init__(as_synonyms(table), exclude_stopwords, casing)

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        # Use local names and the fast split, because training runs this loop for every token.
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
                    if choice:  # 0 keeps the word
                        tokens[place] = options[choice - 1]
                        changed = True
            perturbed.append(join_tokens(tokens, spaces))
        return tuple(perturbed) if changed else None


class SwapPerturbation(SubstitutionPerturbation):
    """Obstinate sets with one replaced word. Base class of `AntonymPerturbation`.

    A sample tries the sentences in random order and changes the first sentence with a replaceable word. It
    draws a replaceable word of this sentence uniformly, then its replacement uniformly.

    Args:
        table: Table or mapping from words to replacements.
        exclude_stopwords: See `SubstitutionPerturbation`. Stop words in a table of plain word lists are
            replaced, because its author listed them.
        casing: See `SubstitutionPerturbation`.
        fit_grammar: Whether to adjust "a" and "an" to the English word after them. If `False`, the article
            does not change, like in the authors' code. Defaults to `True`.

    Example:
        >>> class ColorPerturbation(SwapPerturbation):
        ...     name = "color"
        >>> swap = ColorPerturbation({"red": ("blue",), "shirt": ("coat",)})
        >>> [edit.texts for edit in swap.candidates(("A red shirt.", "It is red."))]
        [('A blue shirt.', 'It is red.'), ('A red coat.', 'It is red.'), ('A red shirt.', 'It is blue.')]
    """

    kind = "obstinate"

    def __init__(
        self,
        table: TableSource,
        exclude_stopwords: bool = True,
        casing: Literal["keep", "authors"] = "keep",
        fit_grammar: bool = True,
    ):
        super().__init__(table, exclude_stopwords, casing)
        self.listed_stopwords = self._stopwords & find_listed_stopwords(self.table)
        self._stopwords -= self.listed_stopwords
        self.fit_grammar = fit_grammar

    def _make_edits(self, texts: Texts, slot: Slot) -> list[Edit]:
        edits = super()._make_edits(texts, slot)
        if not slot.position or not self.fit_grammar:
            return edits
        i, place = slot.sentence, slot.position - 1
        token = texts[i].split()[place]
        fitted = []
        for edit in edits:
            # This is still an edit of one word, because the article only depends on that word.
            article = self._fit_article(token, edit.replacement)
            if article != token:
                text = apply_replacement(edit.texts[i], place, article)
                edit = replace(edit, texts=replace_sentence(texts, i, text))
            fitted.append(edit)
        return fitted

    def _fit_article(self, token: str, following: str) -> str:
        """Return the token before a replacement. If it is an article, adjust it to the replacement."""
        # "a" is also a word in other languages, but their words are not in WordNet: "a ilha".
        fitted = fit_article(token, following) if self.fit_grammar else token
        if fitted == token or is_english(detach_punctuation(following)[0]):
            return fitted
        return token

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        draw, options_of = rng.random, self._options
        # Do not draw the order of a single sentence. A draw here would change the results of every seed.
        order = [0] if len(texts) == 1 else ([0, 1] if draw() < 0.5 else [1, 0])
        for sentence in order:
            tokens, spaces = split_tokens(texts[sentence])
            places = [
                place
                for place, token in enumerate(tokens)
                if options_of[token] and not self.is_kept(tokens, place)
            ]
            if places:
                place = places[int(draw() * len(places))]
                options = options_of[tokens[place]]
                new = tokens[place] = options[int(draw() * len(options))]
                if place:
                    tokens[place - 1] = self._fit_article(tokens[place - 1], new)
                return replace_sentence(texts, sentence, join_tokens(tokens, spaces))
        return None

    def choose(self, edits: Sequence[Edit], rng: RandomSource) -> Edit | None:
        """Draw from the given edits as `sample` does: the sentence, then the word, then the replacement."""
        for field in ("sentence", "position"):
            places = sorted({getattr(edit, field) for edit in edits})
            if not places:
                return None
            place = places[int(rng.random() * len(places))]
            edits = [edit for edit in edits if getattr(edit, field) == place]
        return super().choose(edits, rng)

    def describe(self) -> dict[str, object]:
        # Leave these values out if they have no effect, to keep the descriptions and hashes from before
        # they existed.
        described = super().describe()
        if self.fit_grammar:
            described["fit_grammar"] = True
        if self.listed_stopwords:
            described["listed_stopwords"] = sorted(self.listed_stopwords)
        return described


class AntonymPerturbation(SwapPerturbation):
    """The obstinate set A_x: one word in one sentence is replaced with an antonym (paper, 2.2).

    Args:
        table: Table or mapping from words to antonyms.
        exclude_stopwords: See `SwapPerturbation`.
        casing: See `SubstitutionPerturbation`.
        fit_grammar: Whether to inflect the antonyms like the replaced word ("women" becomes "men", "wins"
            becomes "loses") and adjust "a" and "an" to the word after them. If `False`, both do not change,
            like in the authors' code. Defaults to `True`.

    Example:
        >>> import random
        >>> obstinate = AntonymPerturbation({"hot": ("cold",), "day": ("night",)})
        >>> obstinate.sample(("A hot day.", "It is warm."), random.Random(0))
        ('A hot night.', 'It is warm.')
        >>> [edit.texts[0] for edit in obstinate.candidates(("A hot day.",))]
        ['A cold day.', 'A hot night.']
        >>> AntonymPerturbation({"young": ("old",), "women": ("man",)}).candidates(("A young one.",))[0].texts
        ('An old one.',)
    """

    name = "antonym"

    def _fit_forms(self, word: str, others: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(fit_form(word, o) for o in others) if self.fit_grammar else others


class SisterPerturbation(SwapPerturbation):
    """The obstinate set of sister terms: one word is replaced with another word of the same class.

    The two words exclude each other: a red shirt is not blue, a dog is not a cat, a piano is not a drum.

    Args:
        table: Table or mapping from words to sister terms. If `None`, use
            `hf_bat.lexicon.default_sisters`.
        exclude_stopwords: See `SwapPerturbation`.
        casing: See `SubstitutionPerturbation`.
        fit_grammar: See `SwapPerturbation`.

    Example:
        >>> [edit.texts[0] for edit in SisterPerturbation().candidates(("Summer rain.",))]
        ['Winter rain.', 'Spring rain.', 'Autumn rain.']
    """

    name = "sister"

    def __init__(
        self,
        table: TableSource | None = None,
        exclude_stopwords: bool = True,
        casing: Literal["keep", "authors"] = "keep",
        fit_grammar: bool = True,
    ):
        table = default_sisters() if table is None else table
        super().__init__(table, exclude_stopwords, casing, fit_grammar)
