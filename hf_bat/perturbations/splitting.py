"""Word splitters for perturbations in languages without spaces between words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Edit, Perturbation, RandomSource, Texts
from hf_bat.perturbations.substitution import SubstitutionPerturbation
from hf_bat.perturbations.validity import FilteredPerturbation
from hf_bat.text import Splitter, mark_words, name_function, remove_marks


class SplitPerturbation(Perturbation):
    """A perturbation for languages such as Chinese, Japanese and Thai. It splits texts with a splitter.

    The inner perturbation receives a text with marks between its words and treats these marks like spaces.
    The marks are removed from its edits, so replacements are inserted without spaces. An attack splits each
    row only once, so edits do not change the boundaries of the other words.

    Args:
        perturbation: Synonyms, antonyms or sister terms from your table. A label filter may wrap it.
        splitter: Function that takes a text and returns its words in order, exactly as they occur in the
            text. All other text, such as punctuation, is treated as words that are never replaced. The
            splitter must always return the same words for a text.

    Raises:
        HfBatError: If the perturbation does not use a table. Other edits only work for English or for
            letters.

    Example:
        >>> from hf_bat.perturbations import AntonymPerturbation
        >>> swap = SplitPerturbation(AntonymPerturbation({"热": ("冷",)}), list)
        >>> [(edit.position, edit.texts) for edit in swap.candidates(("今天很热。",))]
        [(3, ('今天很冷。',))]
    """

    splitter: Splitter

    def __init__(self, perturbation: Perturbation, splitter: Splitter):
        if not callable(splitter):
            raise HfBatError(f"the splitter must be a function; got {type(splitter).__name__}")
        words = perturbation
        if isinstance(words, FilteredPerturbation):
            words = words.perturbation
        # `NumberPerturbation` has an empty table that is not part of its description.
        if not isinstance(words, SubstitutionPerturbation) or "table" not in words.describe():
            raise HfBatError(
                f"a splitter only works with a table of words, and {perturbation.name!r} edits have no "
                "table: leave one of them out"
            )
        self.perturbation, self.splitter = perturbation, splitter
        self.name, self.kind, self.table = perturbation.name, perturbation.kind, words.table

    def mark(self, texts: Texts) -> Texts:
        """Return texts with marks between their words."""
        return tuple(mark_words(text, self.splitter) for text in texts)

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        return _unmark(self.perturbation.sample(self.mark(texts), rng))

    def sample_for_label(
        self, texts: Texts, rng: RandomSource, label_name: str | None
    ) -> Texts | None:
        return _unmark(self.perturbation.sample_for_label(self.mark(texts), rng, label_name))

    def candidates(self, texts: Texts) -> list[Edit]:
        edits = self.perturbation.candidates(self.mark(texts))
        return [replace(edit, texts=tuple(map(remove_marks, edit.texts))) for edit in edits]

    @property
    def filtered(self) -> FilteredPerturbation | None:
        return self.perturbation.filtered

    def list_unfiltered(self, texts: Texts) -> tuple[Texts, list[Edit]]:
        """Return the marked input for the label filter, and all its edits."""
        inner: Any = self.perturbation
        return inner.list_unfiltered(self.mark(texts))

    @property
    def validity(self) -> SplitPerturbation | None:
        """This object if there is a label filter, because it splits the drawn versions before the test."""
        return None if self.filtered is None else self

    def changes_label_of(self, texts: Texts, perturbed: Texts, label: str | None = None) -> bool:
        """Return whether a drawn version passes the label filter; see `LabelValidity`."""
        assert self.filtered is not None
        # Find the edit of the version, because the splitter may split the version differently.
        marked, edits = self.list_unfiltered(texts)
        drawn = [edit for edit in edits if _unmark(edit.texts) == perturbed]
        return any(self.filtered.validity.passing(marked, drawn, label))

    def choose(self, edits: Any, rng: RandomSource) -> Edit | None:
        return self.perturbation.choose(edits, rng)

    def describe(self) -> dict[str, object]:
        return {**self.perturbation.describe(), "splitter": name_function(self.splitter)}


def split_words(perturbation: Perturbation, splitter: Splitter | None) -> Perturbation:
    """Wrap a perturbation with a splitter, or return it unchanged if the splitter is `None`."""
    return perturbation if splitter is None else SplitPerturbation(perturbation, splitter)


def _unmark(texts: Texts | None) -> Texts | None:
    return None if texts is None else tuple(map(remove_marks, texts))
