"""The label filter, which selects the obstinate edits that are likely to change the label.

The filter only uses the text. Most antonym edits do not change whether one sentence entails or paraphrases
the other, because the other sentence does not mention the edited word. For example, "a tall man sleeps"
entails "a man sleeps", and so does "a short man sleeps". An edit is only likely to change the label if the
other sentence mentions the edited words.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

from hf_bat.errors import HfBatError
from hf_bat.lexicon import load_wordnet, stopwords
from hf_bat.lexicon.bundled import as_synonyms
from hf_bat.lexicon.table import TableSource
from hf_bat.perturbations.base import (
    Edit,
    Memo,
    Perturbation,
    RandomSource,
    Texts,
    normalize_word,
    split_marks,
)
from hf_bat.perturbations.number import parse_number
from hf_bat.perturbations.verbs import AUXILIARIES, is_negative

# Sentence, index of the first changed word, old words, new words.
_Change = tuple[int, int, list[str], list[str]]
# The texts that the filter uses, their edits, and the name of the label if it is known.
JudgedEdits = tuple[Texts, list[Edit], str | None]


class LabelValidity:
    """Test whether an obstinate edit is likely to change the label.

    A replacement passes if the other sentence contains the old or the new word, an inflected form, or a
    synonym. The new word is included because the edit may undo a contradiction ("hot", "cold"). Words that
    occur twice in the edited sentence are ignored. A negation passes if the other sentence contains the
    negated verb. If the verb is an auxiliary, or if "not" or "no" is added or removed, the next content word
    is used instead ("is not *sleeping*", "no *dogs*").

    The test is more precise if the name of the gold label is known. For an entailment, only the old word is
    used, and every replacement in the hypothesis passes, because the premise does not imply the opposite of
    what it entails. For a contradiction, only the new word is used.

    The test does not use a model and is the same for inference and paraphrase tasks. It can be wrong: an edit
    that passes may keep the label, and an edit that fails may change it. Every edit of a single sentence
    passes, because it cannot be compared with another sentence.

    Args:
        synonyms: A table of synonyms, a mapping, or the path of a table. If `None`, use the bundled
            WordNet synonyms.

    Raises:
        HfBatError: If the table cannot be read.

    Example:
        >>> from hf_bat.perturbations import AntonymPerturbation
        >>> validity = LabelValidity()
        >>> swap = AntonymPerturbation({"tall": ("short",), "men": ("women",), "asleep": ("awake",)})
        >>> texts = ("Tall men are asleep.", "A man is awake.")
        >>> [(edit.replacement, validity.changes_label(texts, edit)) for edit in swap.candidates(texts)]
        [('Short', False), ('women', True), ('awake', True)]
        >>> validity.changes_label_of(("A hot day.", "It's hot."), ("A cold day.", "It's hot."))
        True
        >>> before, after = ("A man runs.", "A man sleeps."), ("A woman runs.", "A man sleeps.")
        >>> [validity.changes_label_of(before, after, label) for label in (None, "contradiction")]
        [True, False]
    """

    # Whether `prepare` should be called with the edits of many inputs before they are drawn.
    asks_judge = False

    def __init__(self, synonyms: TableSource | None = None):
        # Convert to a table, because `describe` needs the fingerprint. Use WordNet instead of the default
        # synonyms, because the hashes of earlier runs include the fingerprint of the WordNet table.
        self.synonyms = as_synonyms("wordnet" if synonyms is None else synonyms)
        self._function_words = stopwords("nltk") | AUXILIARIES
        self._words = Memo(_strip_token)
        self._forms = Memo(_find_forms)
        self._near = Memo(self._find_near)

    def changes_label(self, texts: Texts, edit: Edit, label: str | None = None) -> bool:
        """Return whether an edit is likely to change the label.

        Args:
            texts: The input before the edit.
            edit: A candidate of an obstinate perturbation for this input.
            label: Name of the input's label, or `None` if it is unknown.
        """
        return self.passing(texts, [edit], label)[0]

    def passing(self, texts: Texts, edits: Sequence[Edit], label: str | None = None) -> list[bool]:
        """Run `changes_label` on several edits of one input. This is faster than separate calls."""
        if len(texts) == 1:
            return [True] * len(edits)
        changes = []
        for edit in edits:
            # A negation replaces "goes" with "doesn't go". Only compare the words that differ.
            start, old, new = _find_change(
                self._split(edit.original), self._split(edit.replacement)
            )
            changes.append((edit.sentence, edit.position + start, old, new))
        return self._test(texts, changes, label)

    def changes_label_of(self, texts: Texts, perturbed: Texts, label: str | None = None) -> bool:
        """Return whether a drawn version is likely to have a different label.

        Args:
            texts: The input.
            perturbed: The same input with changed words in one or more sentences.
            label: See `changes_label`.

        Raises:
            HfBatError: If `texts` and `perturbed` have different numbers of sentences.
        """
        if len(texts) != len(perturbed):
            raise HfBatError(f"{len(texts)} sentences were perturbed to {len(perturbed)}")
        if len(texts) == 1:
            return True
        changes = []
        for sentence, (before, after) in enumerate(zip(texts, perturbed, strict=True)):
            start, old, new = _find_change(self._split(before), self._split(after))
            if old or new:
                changes.append((sentence, start, old, new))
        return any(self._test(texts, changes, label))

    def prepare(self, items: Sequence[JudgedEdits]) -> None:
        """Judge the edits of several inputs together; see `JudgedValidity`. Not needed for this rule."""

    def list_forms(self, text: str) -> frozenset[str]:
        """Return the words of a text and their base forms.

        Example:
            >>> sorted(LabelValidity().list_forms("Dogs ran."))
            ['dog', 'dogs', 'ran', 'run']
        """
        return frozenset(form for word in self._split(text) for form in self._forms[word])

    def find_near(self, word: str) -> frozenset[str]:
        """Return the forms of a lower-case word and of its synonyms."""
        return self._near[word]

    def describe(self) -> dict[str, object]:
        """Return all settings that affect which edits pass, in a JSON-serializable form."""
        return {"filter": "label_validity", "version": 2, "synonyms": self.synonyms.fingerprint}

    def _test(self, texts: Texts, changes: Sequence[_Change], label: str | None) -> list[bool]:
        """Return whether the other sentence of the pair mentions each change."""
        sentences = [self._split(text) for text in texts]
        forms = [{form for word in words for form in self._forms[word]} for words in sentences]
        return [
            self._is_mentioned(change, sentences[change[0]], forms[1 - change[0]], label)
            for change in changes
        ]

    def _is_mentioned(
        self, change: _Change, words: list[str], other_forms: set[str], label: str | None
    ) -> bool:
        sentence, start, old, new = change
        end = start + len(old)
        if not (old and new) or any(map(is_negative, (*old, *new))):
            content = self._select_content(old) or self._select_content(words[end:])[:1]
            return any(not other_forms.isdisjoint(self._near[word]) for word in content)
        label = (label or "").lower()
        if label == "entailment" and sentence == 1:
            return True
        # Replacing the old word can undo an entailment, and the new word can undo a contradiction. For
        # other or unknown labels, either word may change the label.
        deciding = {"entailment": old, "contradiction": new}.get(label, [*old, *new])
        # If the word occurs twice in the sentence, the other occurrence still states the same.
        staying = {form for word in (*words[:start], *words[end:]) for form in self._forms[word]}
        return any(
            not other_forms.isdisjoint(self._near[word]) and staying.isdisjoint(self._forms[word])
            for word in deciding
        )

    def _split(self, text: str) -> list[str]:
        """Return the normalized words of a text without marks. A token that only has marks is empty."""
        return [self._words[token] for token in text.split()]

    def _select_content(self, words: Sequence[str]) -> list[str]:
        skipped = self._function_words
        return [word for word in words if word and word not in skipped and not is_negative(word)]

    def _find_near(self, word: str) -> frozenset[str]:
        """Return the forms of a word and the forms of its synonyms."""
        forms = self._forms[word]
        synonyms = (other for form in forms for other in self.synonyms.get(form, ()))
        return forms.union(*(self._forms[other] for other in synonyms))


class FilteredPerturbation(Perturbation):
    """An obstinate perturbation without the edits that are likely to keep the label.

    It has the same name and kind as the inner perturbation, and it draws in the same way.

    Args:
        perturbation: An obstinate perturbation.
        validity: The test that an edit must pass.

    Raises:
        HfBatError: If the perturbation is fickle, because its edits should keep the label.

    Example:
        >>> import random
        >>> from hf_bat.perturbations import AntonymPerturbation
        >>> swap = AntonymPerturbation({"tall": ("short",), "day": ("night",)})
        >>> valid = FilteredPerturbation(swap, LabelValidity())
        >>> valid.sample(("A tall man by day.", "A man in the day."), random.Random(0))
        ('A tall man by day.', 'A man in the night.')
        >>> valid.sample(("A tall man.", "A man."), random.Random(0)) is None
        True
    """

    def __init__(self, perturbation: Perturbation, validity: LabelValidity):
        if perturbation.kind != "obstinate":
            raise HfBatError(
                f"the label filter is for obstinate edits, and {perturbation.name!r} is "
                f"{perturbation.kind}: its edits should keep the label"
            )
        if perturbation.splitter is not None:
            raise HfBatError(
                "the label filter must read the words of the splitter: put it inside, "
                "SplitPerturbation(FilteredPerturbation(...), splitter)"
            )
        self.perturbation, self.validity = perturbation, validity
        self.name, self.kind = perturbation.name, perturbation.kind

    def candidates(self, texts: Texts, label: str | None = None) -> list[Edit]:
        """List the edits that pass. `label` is the name of the input's label, or `None` if unknown."""
        edits = self.perturbation.candidates(texts)
        return list(compress(edits, self.validity.passing(texts, edits, label)))

    @property
    def filtered(self) -> FilteredPerturbation:
        return self

    def list_unfiltered(self, texts: Texts) -> tuple[Texts, list[Edit]]:
        """Return the input that the filter uses, and all its edits."""
        return texts, self.perturbation.candidates(texts)

    def sample_for_label(
        self, texts: Texts, rng: RandomSource, label_name: str | None
    ) -> Texts | None:
        edit = self.choose(self.candidates(texts, label_name), rng)
        return edit.texts if edit else None

    def choose(self, edits: Sequence[Edit], rng: RandomSource) -> Edit | None:
        return self.perturbation.choose(edits, rng)

    def describe(self) -> dict[str, object]:
        return {**self.perturbation.describe(), "label_filter": self.validity.describe()}


class PreferringPerturbation(FilteredPerturbation):
    """An obstinate perturbation that prefers the edits that pass. It draws from all edits if none pass.

    It has the same candidates as the inner perturbation. Only the draws are different.

    Args:
        perturbation: An obstinate perturbation.
        validity: The test that an edit should pass.

    Example:
        >>> import random
        >>> from hf_bat.perturbations import AntonymPerturbation
        >>> swap = AntonymPerturbation({"tall": ("short",), "day": ("night",)})
        >>> preferring = PreferringPerturbation(swap, LabelValidity())
        >>> preferring.sample(("A tall man by day.", "A man in the day."), random.Random(0))
        ('A tall man by day.', 'A man in the night.')
        >>> preferring.sample(("A tall man.", "A man."), random.Random(0))
        ('A short man.', 'A man.')
    """

    def candidates(self, texts: Texts, label: str | None = None) -> list[Edit]:
        return self.perturbation.candidates(texts)

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        return self.sample_for_label(texts, rng, None)

    def sample_for_label(
        self, texts: Texts, rng: RandomSource, label_name: str | None
    ) -> Texts | None:
        edits = self.candidates(texts)
        passing = list(compress(edits, self.validity.passing(texts, edits, label_name)))
        edit = self.choose(passing or edits, rng)
        return edit.texts if edit else None

    def describe(self) -> dict[str, object]:
        return {**super().describe(), "label_filter_use": "prefer"}


def get_inference_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of a task's labels, or an empty tuple if it is not an inference task."""
    # Checking for "entailment" is not enough, because QNLI uses it for questions, not for premises.
    known = {"contradiction", "neutral"} & {str(name).lower() for name in names}
    return tuple(names) if known else ()


def _strip_token(token: str) -> str:
    return normalize_word(split_marks(token)[1])


def _find_forms(word: str) -> frozenset[str]:
    """Return the word with its base forms for every part of speech."""
    # "the dog's" mentions the dog.
    word = word.removesuffix("'s")
    if not word:
        return frozenset()
    forms = [word, *(base for pos in "nvar" for base in load_wordnet().morphy(word, pos))]
    number = parse_number(word)
    if number is not None:  # "2" and "two" share this form
        forms.append(repr(number._replace(words=False, grouped=False, width=0)))
    return frozenset(forms)


def _find_change(before: list[str], after: list[str]) -> tuple[int, list[str], list[str]]:
    """Return the index of the first difference between two sentences, and the differing words of each."""
    shortest = min(len(before), len(after))
    start = 0
    while start < shortest and before[start] == after[start]:
        start += 1
    # "a young man", "an old man": ignore the article, because it depends on the next word.
    pair = {*before[start : start + 1], *after[start : start + 1]}
    if pair == {"a", "an"} and start + 1 < shortest and before[start + 1] != after[start + 1]:
        start += 1
    end = 0
    while end < shortest - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return start, before[start : len(before) - end], after[start : len(after) - end]
