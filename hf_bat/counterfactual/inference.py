"""Rules for natural language inference, with labels that follow logically from the edits.

The labels follow the conventions of SNLI: the premise and the hypothesis describe one scene. For example,
"two dogs" and "three dogs" contradict each other, because both refer to the same dogs.
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
    draw_edited_self,
    draw_exclusive,
    draw_fickle_self,
    get_words,
    list_edited_selves,
    list_exclusive,
    list_fickle_selves,
)
from hf_bat.counterfactual.phrases import DOWNWARD, Span, is_upward, list_modifiers, list_phrases
from hf_bat.counterfactual.sentence import Sentence, list_main_senses
from hf_bat.lexicon import load_wordnet
from hf_bat.perturbations.base import Perturbation, RandomSource, Texts
from hf_bat.perturbations.validity import LabelValidity
from hf_bat.perturbations.verbs import is_negative

ENTAILMENT, NEUTRAL, CONTRADICTION = "entailment", "neutral", "contradiction"
Label = Literal["entailment", "neutral", "contradiction"]


class Swap(Rule):
    """Contradict an entailment: replace one word in one sentence with a word that excludes it.

    If the premise entails "A man sleeps", it contradicts "A woman sleeps", "A man is awake" and "A man
    does not sleep" (alternation in natural logic, MacCartney and Manning 2008; Glockner et al. 2018).
    The same edits of the premise contradict the hypothesis if it mentions the replaced word. The other
    sentence must not contain the new word, because it could describe someone else there.

    Args:
        mentions: Function that returns whether the sentence mentions the word.
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
        """Return a test of whether an edit of one sentence contradicts the other sentence."""
        premise, hypothesis = texts
        forms = {text: self.mentions.list_forms(text) for text in texts}

        def is_allowed(sentence: Sentence, edit: ExclusiveEdit) -> bool:
            if not contradicts(sentence, edit):
                return False
            in_premise = sentence.text == premise
            other = forms[hypothesis if in_premise else premise]
            if edit.kind != "negation" and not other.isdisjoint(self.mentions.list_forms(edit.new)):
                return False
            # Most edits of the premise do not affect the label, because the hypothesis only mentions a few
            # of its words.
            return not in_premise or self.mentions.changes_label_of(
                texts, (edit.text, hypothesis), ENTAILMENT
            )

        return is_allowed


class SelfPair(Rule):
    """Pair one sentence with an edited copy (contradiction) and with a fickle version (entailment).

    The two sentences share nearly all words, so only the edited word can determine the label (Glockner et
    al. 2018). Either sentence may come first. The entailed pairs prevent a model from treating every small
    difference as a contradiction.

    Args:
        fickle: The synonym perturbation.
    """

    name, family = "self_pair", "inference"
    share = 6.0

    def __init__(self, fickle: Perturbation):
        self.fickle = fickle

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        for text in dict.fromkeys(texts):
            for pair, words in list_fickle_selves(text, self.fickle):
                yield self.make(pair, ENTAILMENT, "synonym", words)
            for pair, edit in list_edited_selves(text, contradicts):
                yield self.make(pair, CONTRADICTION, edit.kind, get_words(edit))

    def draw(self, texts: Texts, label: str, rng: RandomSource) -> Counterfactual | None:
        if rng.random() < 0.5 and (drawn := draw_edited_self(texts, rng, contradicts)) is not None:
            pair, edit = drawn
            return self.make(pair, CONTRADICTION, edit.kind, get_words(edit))
        fickle = draw_fickle_self(texts, self.fickle, rng)
        return None if fickle is None else self.make(fickle, ENTAILMENT, "synonym")


class Drop(Rule):
    """Remove a modifier or a trailing phrase from one sentence.

    The sentence entails the shorter one. The reversed pair is neutral. A sentence without a restriction
    says less (monotonicity; MacCartney and Manning 2008). Sentences with a negation or a quantifier such
    as "every" are skipped, because they may say more without the restriction.
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
    """Add a phrase from another row to an entailed hypothesis, which makes it neutral.

    The phrases are taken from the hypotheses of the data set (see `prepare`). The premise must not mention
    any content word of the phrase.
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
                if words[0] in _DETAILS and len(words) <= 6 and _PRONOUNS.isdisjoint(words):
                    cased = [token for _, token, _ in sentence.tokens[span.start : span.stop]]
                    phrases[" ".join(cased)] = None
            if len(phrases) >= _MOST_PHRASES:
                break
        self.phrases = tuple(phrases)

    def list_pairs(self, texts: Texts, label: str) -> Iterator[Counterfactual]:
        if label == ENTAILMENT and self.phrases:
            # Choose a few phrases for each row, depending only on its texts.
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
        added = Sentence(phrase)
        content = [word for place, word in enumerate(added.words) if added.get_pos(place)]
        if any(not known.isdisjoint(self.mentions.find_near(word)) for word in content):
            return
        end = sentence.tokens[-1][2]
        body = hypothesis.rstrip()
        body = body[: len(body) - len(end)] if end else body
        yield self.make((premise, f"{body} {phrase}{end}"), NEUTRAL, phrase.split()[0])


class Unsupported(Rule):
    """Remove a phrase from the premise that an entailed hypothesis needs, which makes it neutral."""

    name, family = "unsupported", "inference"
    # The rule agrees with the human label on 15 of 16 pairs (docs/methods.md). A default rule needs 95 %.
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
            # The phrase was needed if the premise mentions a word of the hypothesis nowhere else.
            if any(near & gone and not near & left for near in content):
                yield self.make((shorter, hypothesis), NEUTRAL, span.kind)


class Generalize(Rule):
    """Replace a noun with its hypernym (entailment). The reversed pair is neutral.

    A man is a person, so "A man sleeps" entails "A person sleeps". The direction changes under a negation
    and after "no", "every", "few" and "without": "No person sleeps" entails "No man sleeps" (Geiger et
    al. 2020; Yanaka et al. 2019).
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
            # "patients' problems" and "Professor Smith" have no category.
            after = sentence.tokens[place][2]
            following = "".join(token for _, token, _ in sentence.tokens[place + 1 : place + 2])
            if after[:1] in ("'", "\u2019") or (not after and following[:1].isupper()):
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
    """Remove an entailment: replace one word with any antonym in the table, including rare senses.

    "A civilian sleeps" does not follow from "A man sleeps", but it does not contradict it either. The pair
    is either neutral or a contradiction, so it is only labeled "not entailment". `Swap` uses the antonyms
    that certainly contradict.

    Args:
        antonyms: The antonym perturbation.
        mentions: Function that returns whether the sentence mentions the word.
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
            # The other sentence may use the new word to describe someone else.
            other = forms[1 - edit.sentence]
            if changes and other.isdisjoint(self.mentions.list_forms(edit.replacement)):
                words = (edit.original.lower(), edit.replacement.lower())
                yield self.make(edit.texts, NOT_ENTAILMENT, "antonym", words)


# Phrases with these prepositions rarely contradict a scene and fit most sentences. Places ("in the park")
# may contradict it, and "from the table" needs a motion.
_DETAILS = ("for", "with", "during", "after", "before", "while")
# A pronoun in a phrase refers to someone in the phrase's own row.
_PRONOUNS = frozenset((
    "he", "she", "it", "they", "him", "her", "them", "his", "hers", "its", "their", "theirs", "himself",
    "herself", "itself", "themselves", "i", "me", "my", "you", "your", "we", "us", "our", "this", "that",
    "these", "those", "other", "others", "another",
))  # fmt: skip
_QUANTIFIERS = frozenset(("no", "every", "each", "all", "few"))
# A sentence does not state what follows one of these words.
_UNCERTAIN = frozenset(("if", "unless", "whether", "may", "might", "maybe", "perhaps"))
_NEGATIVES = frozenset(("no", "nobody", "none", "nothing", "without", "neither", "nor"))
_UNCLEAR = frozenset((
    "only", "if", "most", "many", "exactly", "any", "unless", "neither", "nor",
))  # fmt: skip
# Common nouns for a class of things, with their plurals.
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
# In these categories, the noun has the main sense of another word.
_CATEGORY_SENSES = {"drink": "beverage", "instrument": "musical_instrument"}
_MOST_CATEGORIES = 2
# With this many phrases, a phrase reveals little about the label. The first 20,000 rows of SNLI contain
# enough phrases.
_MOST_PHRASES = 1000


def list_spans(sentence: Sentence) -> Iterator[Span]:
    """Yield the phrases and modifiers that can be removed."""
    yield from list_phrases(sentence)
    yield from list_modifiers(sentence)


def contradicts(sentence: Sentence, edit: ExclusiveEdit) -> bool:
    """Return whether an exclusive edit contradicts the sentence.

    "If it rains" does not contradict "if it does not rain", and a man who "is not sitting" may also be "not
    standing". As in SNLI, the sentences describe one scene, so "a man is not sitting" contradicts "a woman
    is not sitting".

    Example:
        >>> from hf_bat.counterfactual.edits import list_exclusive
        >>> for text in ("A man sits.", "A man does not sit.", "Perhaps a man sits."):
        ...     sentence = Sentence(text)
        ...     sorted({edit.kind for edit in list_exclusive(sentence) if contradicts(sentence, edit)})
        ['antonym', 'negation', 'posture']
        ['antonym', 'negation']
        []
    """
    before = sentence.words[: edit.place + 1]
    if not _UNCERTAIN.isdisjoint(before) or sentence.text.rstrip().endswith("?"):
        return False
    return edit.kind == "negation" or not any(
        is_negative(word) or word in _NEGATIVES for word in before
    )


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
    # Two negations may cancel each other, and a negation after the noun may or may not apply to it.
    if len(negatives) > 1 or negatives[0] > place:
        return None
    word = sentence.words[negatives[0]]
    if word in _QUANTIFIERS:
        # The quantifier only applies to its own noun: "every man in a hat sleeps on a bed".
        return "down" if negatives[0] >= len(before) - 2 else None
    return "down"


@lru_cache(maxsize=100_000)
def find_categories(word: str) -> tuple[str, ...]:
    """Return the categories above a noun, nearest first, in the same number (singular or plural).

    Example:
        >>> find_categories("men"), find_categories("guitar")
        (('adults', 'people'), ('instrument',))
    """
    wordnet = load_wordnet()
    categories: dict[str, None] = {}
    # WordNet also has a separate entry for "men", the workforce.
    irregular = wordnet.exceptions["n"].get(word, ())
    base = next(iter([*irregular, *wordnet.morphy(word, "n")]), word)
    level = list(list_main_senses(base, "n")[:1])
    while level and len(categories) < _MOST_CATEGORIES:
        level = [parent for number in level for parent in wordnet.parents(number)]
        for number in level:
            for lemma in wordnet.synset(number).lemmas[:2]:
                # WordNet's parent of "seat" is "room" in the sense of space.
                meant = list_main_senses(_CATEGORY_SENSES.get(lemma, lemma), "n")
                if lemma in CATEGORIES and lemma != base and number in meant:
                    categories[lemma if base == word else CATEGORIES[lemma]] = None
    return tuple(categories)
