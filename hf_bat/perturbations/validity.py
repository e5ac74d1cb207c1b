"""Which obstinate edits are likely to change the label: a test on the text alone.

Most swaps of a word for its antonym leave an inference or a paraphrase as it was, for the other
sentence says nothing of the word: "a tall man sleeps" entails "a man sleeps", and so does "a short man
sleeps". An edit is likely to change the label only where the other sentence touches what it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from hf_bat.errors import HfBatError
from hf_bat.lexicon.numbers import parse_number
from hf_bat.lexicon.table import as_table
from hf_bat.perturbations.base import Edit, Perturbation, RandomSource, Texts
from hf_bat.perturbations.tokens import core, folded
from hf_bat.perturbations.verbs import BE, DO, HAVE, MODALS, is_negative

# A corpus of so many distinct words is rare; past that the memory is worth more than the look-ups.
_MEMO_SIZE = 200_000
_AUXILIARIES = frozenset((*BE, *HAVE, *DO, *MODALS))
Family = frozenset[str]
T = TypeVar("T")


class _Memo(dict[str, T]):
    """word -> what is known of it, found once."""

    def __init__(self, compute: Callable[[str], T]):
        super().__init__()
        self.compute = compute

    def __missing__(self, word: str) -> T:
        if len(self) >= _MEMO_SIZE:
            self.clear()
        self[word] = found = self.compute(word)
        return found


class LabelValidity:
    """Tells the obstinate edits that are likely to change the label from those that likely do not.

    A swap passes when the other sentence has the swapped word or the word put in its place: as it
    stands, inflected otherwise, or as a synonym. The word put in counts too because a contradiction
    ("hot", "cold") is undone by it. A word that stands in its own sentence a second time does not count:
    the sentence says before and after the edit what it said of it. A negation passes when the other
    sentence has the verb that is negated; where that is an auxiliary, or where a "not" or "no" comes or
    goes, the next word that is no function word stands for it ("is not *sleeping*", "no *dogs*").

    Where the gold label is known by its name the test is sharper. In an entailment the word put in does
    not count, and every swap in the hypothesis passes: what the premise implies it does not imply of the
    opposite. In a contradiction only the word put in counts: another swap of a contradiction leaves one.

    The test knows no model, holds alike for inference and for paraphrase, and is a
    likelihood: what it lets pass may keep its label, and what it stops may change it. An input of one
    sentence has nothing to compare with: each of its edits passes.

    Args:
        synonyms: word -> words that mean the same, such as a `SubstitutionTable`; None for the bundled
            lexicon's.

    Raises:
        HfBatError: synonyms that are no table.

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

    def __init__(self, synonyms: Mapping[str, Iterable[str]] | None = None):
        if synonyms is not None and not isinstance(synonyms, Mapping):
            raise HfBatError(f"synonyms must be a table of words, got {synonyms!r:.80}")
        if synonyms is None:
            from hf_bat.lexicon import default_synonyms

            synonyms = default_synonyms()
        self.synonyms = as_table(synonyms)
        self._forget()

    def _forget(self) -> None:
        from hf_bat.lexicon import load_wordnet, stopwords

        self._wordnet = load_wordnet()
        self._stopwords = stopwords("nltk") | _AUXILIARIES
        self._plain = _Memo(lambda token: folded(core(token)[1]))
        self._forms = _Memo(self._find_forms)
        self._near = _Memo(self._find_near)

    def __getstate__(self) -> dict[str, Any]:
        # What is remembered, and WordNet, are loaded again sooner than sent to every worker.
        return {"synonyms": self.synonyms}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def changes_label(self, texts: Texts, edit: Edit, label: str | None = None) -> bool:
        """Whether an edit is likely to change the label.

        Args:
            texts: the input before the edit.
            edit: one of an obstinate perturbation's candidates for it.
            label: the name of the input's label; "entailment" and "contradiction" sharpen the test.

        Returns:
            True where the edit passes; always for an input of one sentence.
        """
        return self.passing(texts, [edit], label)[0]

    def passing(self, texts: Texts, edits: Sequence[Edit], label: str | None = None) -> list[bool]:
        """`changes_label` for several edits of one input, which is quicker than one by one."""
        if len(texts) == 1:
            return [True] * len(edits)
        pair = _Sentences(self, texts, label)
        words_of, found = self._words, []
        for edit in edits:
            old, new = words_of(edit.original), words_of(edit.replacement)
            start, end = _difference(old, new)
            old, new = old[start : len(old) - end], new[start : len(new) - end]
            found.append(pair.touched(edit.sentence, edit.position + start, old, new))
        return found

    def changes_label_of(self, texts: Texts, perturbed: Texts, label: str | None = None) -> bool:
        """Whether a drawn version is likely to have another label: `changes_label` without the edit.

        Args:
            texts: the input.
            perturbed: the same input with words of one or more sentences changed.
            label: as in `changes_label`.

        Returns:
            True where a changed sentence passes; always for an input of one sentence. False where no
            word differs.

        Raises:
            HfBatError: another number of sentences.
        """
        if len(texts) != len(perturbed):
            raise HfBatError(
                f"an input of {len(texts)} sentences was perturbed to {len(perturbed)}"
            )
        if len(texts) == 1:
            return True
        pair = _Sentences(self, texts, label)
        for sentence, (before, after) in enumerate(zip(texts, perturbed, strict=True)):
            if before != after:
                words, changed = pair.words(sentence), self._words(after)
                start, end = _difference(words, changed)
                old, new = words[start : len(words) - end], changed[start : len(changed) - end]
                if (old or new) and pair.touched(sentence, start, old, new):
                    return True
        return False

    def describe(self) -> dict[str, object]:
        """Every choice that changes which edits pass, ready for JSON."""
        return {
            "filter": "label_validity",
            "version": 2,
            "synonyms": self.synonyms.fingerprint,
        }

    def _words(self, text: str) -> list[str]:
        """The words of a text, folded, without the marks around them; a token of marks is empty."""
        plain = self._plain
        return [plain[token] for token in text.split()]

    def _content(self, words: Sequence[str]) -> list[str]:
        return [
            word for word in words if word and word not in self._stopwords and not is_negative(word)
        ]

    def _find_forms(self, word: str) -> Family:
        """A word with its base forms, of every part of speech that it can be."""
        word = word.removesuffix("'s")
        if not word:
            return frozenset()
        bases = (base for pos in "nvar" for base in self._wordnet.morphy(word, pos))
        number = parse_number(word)
        # "2" and "two" are forms of each other.
        value = (
            [] if number is None else [repr(number._replace(words=False, grouped=False, width=0))]
        )
        return frozenset((word, *bases, *value))

    def _find_near(self, word: str) -> Family:
        """The forms of a word and of its synonyms, and of those of its base forms."""
        forms = self._forms[word]
        alike = (other for form in forms for other in self.synonyms.get(form, ()))
        return forms.union(*(self._forms[other] for other in alike))


class _Sentences:
    """An input's words and, for each sentence, the forms of all words of the other ones."""

    def __init__(self, validity: LabelValidity, texts: Texts, label: str | None):
        self.validity, self.texts = validity, texts
        self.label = None if label is None else label.lower()
        self._split: dict[int, list[str]] = {}
        self._others: dict[int, set[str]] = {}

    def words(self, sentence: int) -> list[str]:
        if sentence not in self._split:
            self._split[sentence] = self.validity._words(self.texts[sentence])
        return self._split[sentence]

    def others(self, sentence: int) -> set[str]:
        if sentence not in self._others:
            forms = self.validity._forms
            rest = (number for number in range(len(self.texts)) if number != sentence)
            self._others[sentence] = {
                form for number in rest for word in self.words(number) for form in forms[word]
            }
        return self._others[sentence]

    def touched(self, sentence: int, start: int, old: list[str], new: list[str]) -> bool:
        """Whether the other sentences touch the change of `old`, which stands at `start`, into `new`."""
        words, end = self.words(sentence), start + len(old)
        if not (old and new) or any(map(is_negative, (*old, *new))):
            content = self.validity._content
            return bool(self._known(sentence, content(old) or content(words[end:])[:1]))
        if self.label == "entailment" and sentence == len(self.texts) - 1:
            return True
        touching = self._known(sentence, self._counting(old, new))
        forms = self.validity._forms
        staying = {form for word in (*words[:start], *words[end:]) for form in forms[word]}
        return any(staying.isdisjoint(forms[word]) for word in touching)

    def _counting(self, old: list[str], new: list[str]) -> list[str]:
        """The words of a swap that decide: a wrong premise undoes what an entailment says, a word put
        in what a contradiction denies; with another label or none either word may."""
        if self.label == "entailment":
            return old
        if self.label == "contradiction":
            return new
        return [*old, *new]

    def _known(self, sentence: int, words: Sequence[str]) -> list[str]:
        """Those of the words that the other sentences have, or have a synonym of."""
        others, near = self.others(sentence), self.validity._near
        return [word for word in words if not others.isdisjoint(near[word])]


def inference_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names of a task's labels where they are those of inference; else none.

    A label called "entailment" need not be about a premise and a hypothesis (QNLI's is about a question).
    So the names sharpen the test only where contradiction or neutral is among them.

    Example:
        >>> inference_names(["entailment", "neutral"]), inference_names(["entailment", "not_entailment"])
        (('entailment', 'neutral'), ())
    """
    known = {"contradiction", "neutral"} & {str(name).lower() for name in names}
    return tuple(names) if known else ()


class FilteredPerturbation(Perturbation):
    """An obstinate perturbation without the edits that likely leave the label as it is.

    It has the name and the kind of the perturbation that it narrows, and draws as that one does.

    Args:
        perturbation: an obstinate perturbation.
        validity: the test that an edit must pass.

    Raises:
        HfBatError: a fickle perturbation: it is to leave the label alone.

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
                f"the label filter is for obstinate edits, and {perturbation.name} is "
                f"{perturbation.kind}: its edits leave the label alone"
            )
        self.perturbation, self.validity = perturbation, validity
        self.name, self.kind = perturbation.name, perturbation.kind

    def candidates(self, texts: Texts, label: str | None = None) -> list[Edit]:
        """The edits that pass; `label` is the name of the input's label where it is known."""
        edits = self.perturbation.candidates(texts)
        passing = self.validity.passing(texts, edits, label)
        return [edit for edit, passes in zip(edits, passing, strict=True) if passes]

    def sample(self, texts: Texts, rng: RandomSource, label: str | None = None) -> Texts | None:
        """Draw from the edits that pass; see `Perturbation.sample`."""
        edit = self.perturbation.choose(self.candidates(texts, label), rng)
        return edit.texts if edit else None

    def sample_for_label(
        self, texts: Texts, rng: RandomSource, label_name: str | None
    ) -> Texts | None:
        return self.sample(texts, rng, label_name)

    def choose(self, edits: Sequence[Edit], rng: RandomSource) -> Edit | None:
        return self.perturbation.choose(edits, rng)

    def describe(self) -> dict[str, object]:
        return {**self.perturbation.describe(), "label_filter": self.validity.describe()}


class PreferringPerturbation(FilteredPerturbation):
    """An obstinate perturbation that draws an edit that passes where there is one, else any.

    Its candidates are all of the inner perturbation's: only the draws differ.

    Args:
        perturbation: an obstinate perturbation.
        validity: the test that an edit should pass.

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

    def sample(self, texts: Texts, rng: RandomSource, label: str | None = None) -> Texts | None:
        """Draw from the edits that pass, or from all; see `Perturbation.sample`."""
        edits = self.candidates(texts)
        passing = self.validity.passing(texts, edits, label)
        chosen = [edit for edit, passes in zip(edits, passing, strict=True) if passes] or edits
        edit = self.choose(chosen, rng)
        return edit.texts if edit else None

    def describe(self) -> dict[str, object]:
        return {**super().describe(), "label_filter_use": "prefer"}


def _difference(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    """How many words two sentences share at the start, and then at the end."""
    shortest = min(len(before), len(after))
    start = 0
    while start < shortest and before[start] == after[start]:
        start += 1
    end = 0
    while end < shortest - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return start, end
