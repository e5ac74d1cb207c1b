"""Word substitutions: synonyms (fickle), antonyms and sister terms (obstinate)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from hf_bat.errors import check_choice
from hf_bat.lexicon import as_table, default_sisters, stopwords
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


class SubstitutionPerturbation(Perturbation):
    """Replaces words by others from a table; the base of the synonym and antonym perturbations.

    Args:
        table: A `SubstitutionTable`, a mapping of words to replacements, or the path of a table. A
            word is looked up unchanged, then in lower case.
        exclude_stopwords: Do not replace function words (NLTK's English list). The authors' training
            replaces them, their attack does not. Defaults to `True`.
        casing: `"keep"` gives a replacement the case pattern of the replaced word; `"authors"` leaves it in
            lower case as the authors' code does, which a cased model can notice. Defaults to `"keep"`.

    Raises:
        HfBatError: If the casing is unknown or the table cannot be read.

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
        check_choice("casing", casing, CASINGS)
        # Also a plain mapping becomes a table, whose fingerprint tells results of two tables apart.
        self.table = as_table(table)
        self.exclude_stopwords = exclude_stopwords
        self.casing = casing
        self._stopwords = stopwords("nltk") if exclude_stopwords else frozenset()
        self._options = Memo(self._list_options)

    def replacements(self, word: str) -> tuple[str, ...]:
        """Return the replacements of a word in its case, nearest first, without the word itself.

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
        # Two replacements may be the same in this case, or differ from the word only in case.
        return tuple(dict.fromkeys(other for other in others if other.lower() != lower))

    def _fit_forms(self, word: str, others: tuple[str, ...]) -> tuple[str, ...]:
        """Return the replacements in the form of the word, which is in lower case; here unchanged."""
        return others

    def _list_options(self, token: str) -> tuple[str, ...]:
        """Return the whole tokens that may replace a token, with its trailing mark."""
        word, mark = detach_punctuation(token)
        return tuple(other + mark for other in self.replacements(word))

    def is_kept(self, tokens: Sequence[str], place: int) -> bool:
        """Return whether the token at index `place` is not replaced because of its neighbors."""
        # For a subclass whose words depend on their context, such as the numbers of times.
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
        """List every input with one word replaced once, in reading order, nearest first."""
        return [edit for slot in self.slots(texts) for edit in self._make_edits(texts, slot)]

    def _make_edits(self, texts: Texts, slot: Slot) -> list[Edit]:
        """Make the edit of each replacement of a slot."""
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
    """The fickle set S_x: every word may be replaced by any word of its synonym set (paper, 2.1).

    A sample draws each word uniformly from its set, the word itself included, so that several words
    change at once. With `casing="authors"` a sample is in lower case throughout.

    Args:
        table: Word -> synonyms, or "wordnet" for the bundled WordNet synonyms.
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
        # Local names and the fast split, because training runs this loop for every token.
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
    """Obstinate sets with one replaced word; the base of `AntonymPerturbation`.

    A sample takes the sentences in random order and changes the first one that has a word to replace:
    one such word drawn uniformly, one of its replacements drawn uniformly.

    Args:
        table: Word -> replacements.
        exclude_stopwords: See `SubstitutionPerturbation`.
        casing: See `SubstitutionPerturbation`.
        fit_grammar: Fit "a" and "an" to the English word that comes after them. `False` leaves the article
            as it is, as the authors' code does. Defaults to `True`.

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
        self.fit_grammar = fit_grammar

    def _make_edits(self, texts: Texts, slot: Slot) -> list[Edit]:
        edits = super()._make_edits(texts, slot)
        if not slot.position or not self.fit_grammar:
            return edits
        i, place = slot.sentence, slot.position - 1
        token = texts[i].split()[place]
        fitted = []
        for edit in edits:
            # An edit stays one of one word: the article before it only follows that word.
            article = self._fit_article(token, edit.replacement)
            if article != token:
                text = apply_replacement(edit.texts[i], place, article)
                edit = replace(edit, texts=replace_sentence(texts, i, text))
            fitted.append(edit)
        return fitted

    def _fit_article(self, token: str, following: str) -> str:
        """Return the token before a replacement, fitted if it is an article."""
        # "a" is also a word of other languages, whose words are not in WordNet: "a ilha".
        fitted = fit_article(token, following) if self.fit_grammar else token
        if fitted == token or is_english(detach_punctuation(following)[0]):
            return fitted
        return token

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        draw, options_of = rng.random, self._options
        # A single sentence needs no draw, and adding one would change the draws of every seed.
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
        """Draw one of some candidates as `sample` draws: a sentence, a word of it, a replacement."""
        for field in ("sentence", "position"):
            places = sorted({getattr(edit, field) for edit in edits})
            if not places:
                return None
            place = places[int(rng.random() * len(places))]
            edits = [edit for edit in edits if getattr(edit, field) == place]
        return super().choose(edits, rng)

    def describe(self) -> dict[str, object]:
        # Without the option, descriptions and hashes stay as they were before it existed.
        return {**super().describe(), **({"fit_grammar": True} if self.fit_grammar else {})}


class AntonymPerturbation(SwapPerturbation):
    """The obstinate set A_x: one word of one sentence is replaced by an antonym (paper, 2.2).

    Args:
        table: Word -> antonyms.
        exclude_stopwords: See `SubstitutionPerturbation`.
        casing: See `SubstitutionPerturbation`.
        fit_grammar: Give a base form of the table the inflection of the replaced word ("women" becomes "men",
            "wins" becomes "loses"), and fit "a" and "an" to the word that comes after them. `False` leaves
            both as they are, as the authors' code does. Defaults to `True`.

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
    """The obstinate set of sister terms: one word is replaced by another of its class that excludes it.

    A red shirt is not blue, a dog is not a cat, a piano is not a drum.

    Args:
        table: Word -> sister terms. If `None`, `hf_bat.lexicon.default_sisters`.
        exclude_stopwords: See `SubstitutionPerturbation`.
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
