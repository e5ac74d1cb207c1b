"""Rules for natural language inference: a premise, a hypothesis, and a label that logic gives.

The labels are SNLI's: its sentences describe one scene: "two dogs" and "three dogs" contradict
each other, because both would be about the same dogs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

from hf_bat.counterfactual.base import NOT_ENTAILMENT, Counterfactual, Rule, choose
from hf_bat.counterfactual.edits import (
    EXCLUSIVE_EDITS,
    ExclusiveEdit,
    draw_exclusive,
    get_words,
    list_exclusive,
)
from hf_bat.counterfactual.phrases import DOWNWARD, Span, is_upward, list_modifiers, list_phrases
from hf_bat.counterfactual.sentence import Sentence, list_main_senses, measure_parts_of_speech
from hf_bat.lexicon import load_wordnet
from hf_bat.perturbations.base import Perturbation, RandomSource, Texts
from hf_bat.perturbations.validity import LabelValidity
from hf_bat.perturbations.verbs import is_negative

ENTAILMENT, NEUTRAL, CONTRADICTION = "entailment", "neutral", "contradiction"
Label = Literal["entailment", "neutral", "contradiction"]


class Swap(Rule):
    """Contradict an entailment: replace a word in one sentence with a word that excludes it.

    If the premise entails "A man sleeps", it contradicts "A woman sleeps", "A man is awake", "A man
    does not sleep" (alternation in natural logic, MacCartney and Manning 2008; Glockner et al. 2018).
    The same edits of the premise contradict the hypothesis where it mentions the replaced word. The
    new word must not be in the other sentence, where it could be true of somebody else.

    Args:
        mentions: The test of whether a sentence mentions a word.
    """

    name, family = "swap", "inference"
    share = 12.0

    def __init__(self, mentions: LabelValidity):
        self.mentions = mentions

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        if label != ENTAILMENT:
            return
        premise, hypothesis = map(Sentence, texts)
        is_allowed = self._make_test(texts)
        for sentence in (hypothesis, premise):
            for edit in list_exclusive(sentence):
                if is_allowed(sentence, edit):
                    yield self._build(texts, sentence is premise, edit)

    def draw(self, texts: Texts, label: str, rng: RandomSource) -> Counterfactual | None:
        if label != ENTAILMENT:
            return None
        premise, hypothesis = map(Sentence, texts)
        drawn = draw_exclusive([hypothesis, premise], rng, self._make_test(texts))
        if drawn is None:
            return None
        sentence, edit = drawn
        return self._build(texts, sentence is premise, edit)

    def _build(self, texts: Texts, in_premise: bool, edit: ExclusiveEdit) -> Counterfactual:
        premise, hypothesis = texts
        pair = (edit.text, hypothesis) if in_premise else (premise, edit.text)
        return self.make(pair, CONTRADICTION, edit.kind, get_words(edit))

    def _make_test(self, texts: Texts) -> Callable[[Sentence, ExclusiveEdit], bool]:
        """Return a test of whether an edit of a sentence contradicts the other sentence."""
        premise, hypothesis = texts
        forms = {text: self.mentions.list_forms(text) for text in texts}

        def is_allowed(sentence: Sentence, edit: ExclusiveEdit) -> bool:
            in_premise = sentence.text == premise
            other = forms[hypothesis if in_premise else premise]
            if edit.kind != "negation" and not other.isdisjoint(self.mentions.list_forms(edit.new)):
                return False
            # The hypothesis leaves most of the premise open, so that most edits of it change nothing.
            return not in_premise or self.mentions.changes_label_of(
                texts, (edit.text, hypothesis), ENTAILMENT
            )

        return is_allowed


class SelfPair(Rule):
    """Pair a sentence with an edited self (contradiction) and with a fickle self (entailment).

    The pairs have nearly all words in common, so that only the edited word can decide (Glockner et al.
    2018). Either sentence may come first. The entailed pairs keep a model from reading any small
    difference as a contradiction.

    Args:
        fickle: The synonym perturbation.
        family: `"inference"`, or `"paraphrase"`, where the labels are "different" and "same". Defaults
            to `"inference"`.
    """

    def __init__(
        self, fickle: Perturbation, family: Literal["inference", "paraphrase"] = "inference"
    ):
        self.fickle, self.family = fickle, family
        is_inference = family == "inference"
        self.name = "self_pair" if is_inference else "same_self"
        self.share = 6.0 if is_inference else 3.0
        self._same, self._different = (
            (ENTAILMENT, CONTRADICTION) if is_inference else ("same", "different")
        )

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        for text in dict.fromkeys(texts):
            for edit in self.fickle.candidates((text,)):
                pair = (text, edit.texts[0])
                words: tuple[str, ...] = (edit.original.lower(), edit.replacement.lower())
                yield self.make(pair, self._same, "synonym", words)
                yield self.make(pair[::-1], self._same, "synonym", words)
            for exclusive in list_exclusive(Sentence(text)):
                pair = (text, exclusive.text)
                words = get_words(exclusive)
                yield self.make(pair, self._different, exclusive.kind, words)
                yield self.make(pair[::-1], self._different, exclusive.kind, words)

    def draw(self, texts: Texts, label: str, rng: RandomSource) -> Counterfactual | None:
        if rng.random() < 0.5:
            drawn = draw_exclusive([Sentence(text) for text in dict.fromkeys(texts)], rng)
            if drawn is not None:
                sentence, edit = drawn
                pair = self.make(
                    (sentence.text, edit.text), self._different, edit.kind, get_words(edit)
                )
                return pair if rng.random() < 0.5 else reverse(pair)
        text = choose(texts, rng)
        # The fickle self of an edited sentence too: else each negated sentence would be contradicted.
        if rng.random() < 0.5 and (drawn := draw_exclusive([Sentence(text)], rng)) is not None:
            text = drawn[1].text
        version = self.fickle.sample((text,), rng)
        if version is None:
            return None
        pair = self.make((text, version[0]), self._same, "synonym")
        return pair if rng.random() < 0.5 else reverse(pair)


class Drop(Rule):
    """Pair a sentence with itself without a modifier or trailing phrase: entailment; reversed: neutral.

    Leaving out a restriction makes a sentence say less (monotonicity; MacCartney and Manning 2008).
    Sentences with a negation or a quantifier such as "every" are left out, because there it may say
    more.
    """

    name, family = "drop", "inference"

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        for text in dict.fromkeys(texts):
            sentence = Sentence(text)
            if not is_upward(sentence):
                continue
            for span in list_spans(sentence):
                shorter = sentence.delete(span.start, span.stop)
                yield self.make((text, shorter), ENTAILMENT, span.kind)
                yield self.make((shorter, text), NEUTRAL, span.kind)


class Detail(Rule):
    """Add a phrase from another row to an entailed hypothesis: neutral.

    The premise says nothing about the phrase. Phrases come from the hypotheses of the data set
    (`prepare`); no word of the phrase may be mentioned by the premise.
    """

    name, family = "detail", "inference"
    _ATTEMPTS = 8

    def __init__(self, mentions: LabelValidity):
        self.mentions = mentions
        self.phrases: tuple[str, ...] = ()

    def prepare(self, rows: Iterable[tuple[Texts, str]]) -> None:
        phrases: dict[str, None] = {}
        for texts, _ in rows:
            sentence = Sentence(texts[-1])
            if not is_upward(sentence):
                continue
            for span in list_phrases(sentence):
                words = sentence.words[span.start : span.stop]
                if words[0] in _DETAILS and len(words) <= 6:
                    phrases[" ".join(words)] = None
            if len(phrases) >= _MOST_PHRASES:
                break
        self.phrases = tuple(phrases)

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        if label == ENTAILMENT and self.phrases:
            # A few phrases for each row, which depend only on its texts.
            start = int.from_bytes(
                blake2b("\n".join(texts).encode(), digest_size=8).digest(), "big"
            )
            for attempt in range(self._ATTEMPTS):
                phrase = self.phrases[(start + 7919 * attempt) % len(self.phrases)]
                yield from self._add(texts, phrase)

    def draw(self, texts: Texts, label: str, rng: RandomSource) -> Counterfactual | None:
        if label == ENTAILMENT and self.phrases:
            for _ in range(self._ATTEMPTS):
                for pair in self._add(texts, choose(self.phrases, rng)):
                    return pair
        return None

    def _add(self, texts: Texts, phrase: str) -> Iterator[Counterfactual]:
        premise, hypothesis = texts
        sentence = Sentence(hypothesis)
        if not sentence.words or not is_upward(sentence):
            return
        known = self.mentions.list_forms(premise) | self.mentions.list_forms(hypothesis)
        content = [word for word in Sentence(phrase).words if measure_parts_of_speech(word)]
        if any(not known.isdisjoint(self.mentions.find_near(word)) for word in content):
            return
        end = sentence.tokens[-1][2]
        body = hypothesis.rstrip()
        body = body[: len(body) - len(end)] if end else body
        yield self.make((premise, f"{body} {phrase}{end}"), NEUTRAL, phrase.split()[0])


class Unsupported(Rule):
    """Leave out of the premise the phrase that an entailed hypothesis needs: neutral."""

    name, family = "unsupported", "inference"
    # Right on 15 of 16 pairs that people labeled (docs/methods.md); a default rule needs 95 %.
    is_default = False

    def __init__(self, mentions: LabelValidity):
        self.mentions = mentions

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        if label != ENTAILMENT:
            return
        premise, hypothesis = texts
        sentence, needed = Sentence(premise), Sentence(hypothesis)
        if not (is_upward(sentence) and is_upward(needed)):
            return
        content = [
            self.mentions.find_near(word)
            for place, word in enumerate(needed.words)
            if needed.get_pos(place)
        ]
        for span in list_spans(sentence):
            shorter = sentence.delete(span.start, span.stop)
            left = self.mentions.list_forms(shorter)
            gone = self.mentions.list_forms(" ".join(sentence.words[span.start : span.stop]))
            # Only a word of the hypothesis that the premise mentions nowhere else was needed.
            if any(near & gone and not near & left for near in content):
                yield self.make((shorter, hypothesis), NEUTRAL, span.kind)


class Generalize(Rule):
    """Replace a noun by its hypernym: entailment; by a hyponym, the reverse: neutral.

    A man is a person, so that "A man sleeps" entails "A person sleeps". Under a negation, and behind
    "no", "every", "few" and "without", it is the other way round: "No person sleeps" entails "No man
    sleeps" (Geiger et al. 2020; Yanaka et al. 2019).
    """

    name, family = "generalize", "inference"

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        for text in dict.fromkeys(texts):
            sentence = Sentence(text)
            yield from self._generalize(sentence)
            if is_upward(sentence):
                for edit in EXCLUSIVE_EDITS["negation"](sentence):
                    yield from self._generalize(Sentence(edit.text), negated_at=edit.place)
                    break

    def _generalize(self, sentence: Sentence, negated_at: int = -1) -> Iterator[Counterfactual]:
        for place, word in enumerate(sentence.words):
            if sentence.get_pos(place) != "n" or place <= negated_at or sentence.is_name(place):
                continue
            if sentence.is_in_compound(place) or sentence.has_noun_after(place):
                continue
            scope = find_scope(sentence, place)
            if scope is None:
                continue
            for general in find_categories(word):
                if general in sentence.words:
                    continue
                broader = sentence.replace(place, general)
                pair = (sentence.text, broader) if scope == "up" else (broader, sentence.text)
                kind = f"hypernym_{scope}"
                yield self.make(pair, ENTAILMENT, kind, (word, general))
                yield self.make(pair[::-1], NEUTRAL, kind, (word, general))


class Opposite(Rule):
    """Remove an entailment: replace a word with any antonym in the table, including rare senses.

    "A civilian sleeps" does not follow from "A man sleeps", but it does not contradict it either. Only
    the label that the pair no longer has is known: it is neutral or contradicted. `Swap` has the antonyms
    that surely contradict.

    Args:
        antonyms: The antonym perturbation.
        mentions: The test of whether a sentence mentions a word.
    """

    name, family = "opposite", "inference"
    share, gives_label = 6.0, False

    def __init__(self, antonyms: Perturbation, mentions: LabelValidity):
        self.antonyms, self.mentions = antonyms, mentions

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        if label != ENTAILMENT:
            return
        edits = list(self.antonyms.candidates(texts))
        forms = [self.mentions.list_forms(text) for text in texts]
        for edit, changes in zip(
            edits, self.mentions.passing(texts, edits, ENTAILMENT), strict=True
        ):
            # The other sentence may say the new word of somebody else.
            other = forms[1 - edit.sentence]
            if changes and other.isdisjoint(self.mentions.list_forms(edit.replacement)):
                words = (edit.original.lower(), edit.replacement.lower())
                yield self.make(edit.texts, NOT_ENTAILMENT, "antonym", words)


# Prepositions whose phrase hardly contradicts a scene. Places ("in the park") may.
_DETAILS = ("for", "with", "during", "after", "before", "while", "from")
_QUANTIFIERS = frozenset(("no", "every", "each", "all", "few"))
_UNCLEAR = frozenset((
    "only", "if", "most", "many", "exactly", "any", "unless", "neither", "nor",
))  # fmt: skip
# Nouns that everybody uses for a class of things, with their plurals.
CATEGORIES = {
    "adult": "adults", "animal": "animals", "athlete": "athletes", "bird": "birds", "boat": "boats",
    "book": "books", "building": "buildings", "cat": "cats", "child": "children",
    "computer": "computers", "dog": "dogs", "drink": "drinks", "fish": "fish", "flower": "flowers",
    "fruit": "fruits", "game": "games", "garment": "garments", "insect": "insects",
    "instrument": "instruments", "machine": "machines", "meal": "meals", "musician": "musicians",
    "performer": "performers", "person": "people", "plant": "plants", "relative": "relatives",
    "room": "rooms", "sport": "sports", "tool": "tools", "toy": "toys", "tree": "trees",
    "vehicle": "vehicles", "weapon": "weapons", "worker": "workers",
}  # fmt: skip
_MOST_CATEGORIES = 2
# Enough that a phrase says little; SNLI has them in its first 20,000 rows.
_MOST_PHRASES = 1000


def list_spans(sentence: Sentence) -> Iterator[Span]:
    """Yield the phrases and the modifiers that can be left out."""
    yield from list_phrases(sentence)
    yield from list_modifiers(sentence)


def reverse(pair: Counterfactual) -> Counterfactual:
    """Return a pair the other way round."""
    return Counterfactual(pair.texts[::-1], pair.label, pair.rule, pair.kind, pair.words)


def find_scope(sentence: Sentence, place: int) -> str | None:
    """Return "up" if a noun can be generalized, "down" if only the reverse holds, `None` if unclear."""
    before = sentence.words[:place]
    if any(word in _UNCLEAR for word in sentence.words):
        return None
    negatives = [
        i for i, word in enumerate(sentence.words) if is_negative(word) or word in DOWNWARD
    ]
    if not negatives:
        return "up"
    # Two negations may cancel each other, and one behind the noun has it in its scope or not.
    if len(negatives) > 1 or negatives[0] > place:
        return None
    word = sentence.words[negatives[0]]
    if word in _QUANTIFIERS:
        # Only the noun of the quantifier itself: "every man in a hat sleeps on a bed".
        return "down" if negatives[0] >= len(before) - 2 else None
    return "down"


@lru_cache(maxsize=100_000)
def find_categories(word: str) -> tuple[str, ...]:
    """Return the categories above a noun, nearest first, in its number.

    Example:
        >>> find_categories("men"), find_categories("guitar")
        (('adults', 'people'), ('instrument',))
    """
    wordnet = load_wordnet()
    categories: dict[str, None] = {}
    # "men" is also a separate entry, the workforce.
    irregular = wordnet.exceptions["n"].get(word, ())
    base = next(iter([*irregular, *wordnet.morphy(word, "n")]), word)
    level = list(list_main_senses(base, "n")[:1])
    while level and len(categories) < _MOST_CATEGORIES:
        level = [parent for number in level for parent in wordnet.parents(number)]
        for number in level:
            for lemma in wordnet.synset(number).lemmas[:2]:
                if lemma in CATEGORIES and lemma != base:
                    categories[lemma if base == word else CATEGORIES[lemma]] = None
    return tuple(categories)
