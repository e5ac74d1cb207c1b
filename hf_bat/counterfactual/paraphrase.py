"""Rules for paraphrases and for single sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hf_bat.counterfactual.base import Counterfactual, Rule
from hf_bat.counterfactual.edits import (
    EXCLUSIVE_EDITS,
    draw_edited_self,
    draw_fickle_self,
    get_words,
    list_edited_selves,
    list_exclusive,
    list_fickle_selves,
)
from hf_bat.counterfactual.sentence import Sentence
from hf_bat.perturbations.base import Perturbation, RandomSource, Texts

SAME, DIFFERENT = "same", "different"
# The words on either side of these words have different roles: "from Rome to Paris", "cats chase dogs".
_RELATIONS = frozenset((
    "from", "to", "into", "over", "than", "for", "by", "of", "in", "on", "before", "after",
    "under", "above", "against",
))  # fmt: skip
# With these words, both orders have the same meaning.
_SYMMETRIC = frozenset((
    "and", "or", "nor", "between", "versus", "vs", "meet", "marry", "equal", "match", "differ",
    "compare", "talk", "speak", "argue", "with",
))  # fmt: skip


class SameSelf(Rule):
    """Pair one sentence with its fickle version (same).

    Args:
        fickle: The synonym perturbation.
    """

    name, family = "same_self", "paraphrase"
    share = 3.0

    def __init__(self, fickle: Perturbation):
        self.fickle = fickle

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        for text in dict.fromkeys(texts):
            for pair, words in list_fickle_selves(text, self.fickle):
                yield self.make(pair, SAME, "synonym", words)

    def draw(self, texts: Texts, label: str, rng: RandomSource) -> Counterfactual | None:
        pair = draw_fickle_self(texts, self.fickle, rng)
        return None if pair is None else self.make(pair, SAME, "synonym")


class EditedSelf(Rule):
    """Pair one sentence with its edited copy (different)."""

    name, family = "edited_self", "paraphrase"
    # On QQP, models learn to spot pairs with equal words instead (docs/results/counterfactual/protocol.md).
    is_default = False

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        for text in dict.fromkeys(texts):
            for pair, edit in list_edited_selves(text):
                yield self.make(pair, DIFFERENT, edit.kind, get_words(edit))

    def draw(self, texts: Texts, label: str, rng: RandomSource) -> Counterfactual | None:
        drawn = draw_edited_self(texts, rng)
        if drawn is None:
            return None
        pair, edit = drawn
        return self.make(pair, DIFFERENT, edit.kind, get_words(edit))


class DuplicateEdit(Rule):
    """Edit a word in one sentence of a duplicate (different).

    "How do I gain weight?" and "What is a way to gain weight?" are duplicates. With "lose" in only one,
    they are not.

    Args:
        is_aligned: Whether only words that occur in both sentences are edited. The rule's name is then
            "aligned_edit" instead of "duplicate_edit".
    """

    family = "paraphrase"
    share = 12.0

    def __init__(self, is_aligned: bool):
        self.is_aligned = is_aligned
        self.name = "aligned_edit" if is_aligned else "duplicate_edit"
        self.is_default = not is_aligned  # "duplicate_edit" has all pairs of "aligned_edit"

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        if label != SAME:
            return
        for edited in (0, 1):
            other = Sentence(texts[1 - edited])
            for edit in list_exclusive(Sentence(texts[edited])):
                if edit.kind == "negation" or edit.new in other.words:
                    continue
                if self.is_aligned and edit.old not in other.words:
                    continue
                pair = (edit.text, texts[1]) if edited == 0 else (texts[0], edit.text)
                yield self.make(pair, DIFFERENT, edit.kind, get_words(edit))


class Exchange(Rule):
    """Swap two names or nouns around a preposition or a verb (different; Zhang et al. 2019, PAWS).

    "Flights from Rome to Paris" are not "flights from Paris to Rome". Words joined by "and", "between"
    or a symmetric verb are not swapped, because both orders have the same meaning.
    """

    name, family = "exchange", "paraphrase"
    # People labeled too few of its pairs to measure it (docs/methods.md).
    is_default = False

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        for text in dict.fromkeys(texts):
            for first, second, exchanged in list_exchanges(Sentence(text)):
                pair = (text, exchanged)
                yield self.make(pair, DIFFERENT, "exchange", (first, second))
                yield self.make(pair[::-1], DIFFERENT, "exchange", (first, second))


class Flip(Rule):
    """Replace one word with an antonym. The user declares the new label.

    Args:
        labels: Mapping from each label to the label after an antonym edit. Rows with other labels have no
            pairs.
        antonyms: The antonym perturbation with the user's table. If `None`, use WordNet's antonyms of each
            word's main senses.
    """

    name, family = "flip", "sentence"

    def __init__(self, labels: Mapping[str, str], antonyms: Perturbation | None = None):
        self.labels, self.antonyms = dict(labels), antonyms

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        if label not in self.labels:
            return
        if self.antonyms is not None:
            for swap in self.antonyms.candidates(texts):
                words = swap.original.lower(), swap.replacement.lower()
                yield self.make(swap.texts, self.labels[label], "antonym", words)
            return
        for edit in EXCLUSIVE_EDITS["antonym"](Sentence(texts[0])):
            yield self.make((edit.text,), self.labels[label], edit.kind, get_words(edit))

    def describe(self) -> dict[str, object]:
        own = {} if self.antonyms is None else {"antonyms": self.antonyms.describe()}
        return {**super().describe(), **own}


def list_exchanges(sentence: Sentence) -> Iterator[tuple[str, str, str]]:
    """Yield (word, word, sentence) for each pair of names or nouns that can be swapped.

    Example:
        >>> [text for _, _, text in list_exchanges(Sentence("Is there a train from Rome to Paris?"))]
        ['Is there a train from Paris to Rome?']
    """
    if any(word in _SYMMETRIC for word in sentence.words):
        return
    places = [place for place in range(len(sentence.words)) if _can_move(sentence, place)]
    for first, second in zip(places, places[1:], strict=False):
        between = range(first + 1, second)
        relations = [
            place
            for place in between
            if sentence.words[place] in _RELATIONS
            or (sentence.tags[place] or "VBG") in ("VBZ", "VBP", "VBD")
        ]
        same_kind = sentence.is_name(first) == sentence.is_name(second)
        if len(relations) != 1 or not same_kind or len(between) > 3:
            continue
        if any(sentence.tokens[place][2] for place in range(first, second)):
            continue
        yield sentence.words[first], sentence.words[second], sentence.exchange(first, second)


def _can_move(sentence: Sentence, place: int) -> bool:
    if sentence.is_in_compound(place) or sentence.has_noun_after(place):
        return False
    is_name = place > 0 and sentence.tokens[place][1][:1].isupper() and sentence.words[place] != "i"
    return is_name or sentence.get_pos(place) == "n"
