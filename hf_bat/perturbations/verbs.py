"""Which words of a sentence are verbs, and in which form (Penn tags: VB VBD VBG VBN VBP VBZ MD).

Two sources: `LexiconTagger`, the bundled WordNet with its tag counts and a few rules of context, and
`NltkTagger`, NLTK's averaged perceptron. Auxiliaries are a closed list for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

from hf_bat.errors import HfBatError
from hf_bat.perturbations.tokens import Token, folded

Tags = list[str | None]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


BE = {"is": "VBZ", "are": "VBP", "was": "VBD", "were": "VBD", "am": "VBP",
      "be": "VB", "been": "VBN", "being": "VBG"}  # fmt: skip
HAVE = {"has": "VBZ", "have": "VBP", "had": "VBD"}
DO = {"does": "VBZ", "do": "VBP", "did": "VBD"}
MODALS = _set("can could will would shall should may might must ought")
NEGATIVES = _set("not never n't cannot")
SUBJECTS = _set("i you he she it we they there this that these those who someone")
_PLURAL_SUBJECTS = _set("i you we they who people")
# After these a noun phrase goes on, so that what follows is no finite verb.
_OPENERS = _set(
    "a an the this that these those my your his her its our their some any no every each all both "
    "another one two three four five six seven eight nine ten many several few more most other "
    "of in on at by for from with into onto over under through during near behind beside between "
    "against about after before around across along down off up out inside outside beneath above "
    "below towards toward without within upon among per than"
)
# These open a clause: it may have a finite verb of its own.
_JOINTS = _set(
    "and or but nor so because while when where if that which who what why how whom as until since "
    "although though whether then"
)
QUESTION_WORDS = _set("what why how when where who which whom")
_DETERMINERS = _set(
    "a an the my your his her its our their some any no every each another this that"
)
# Irregular forms that are participles only: WordNet's exception list does not tell them from pasts.
_PARTICIPLES = _set(
    "beaten become begun bitten blown broken chosen done drawn driven drunk eaten fallen flown forgotten "
    "forgiven frozen given gone gotten grown hidden known mistaken proven ridden risen rung seen sewn "
    "shaken shown shrunk sung sunk sworn spoken stolen swollen swum taken thrown torn woken worn woven "
    "written"
)
# The share of WordNet's tag counts from which a word passes for a verb: at the start, where it may be one,
# and right after a subject, where one is expected.
_SURE, _LIKELY, _POSSIBLE = 0.9, 0.5, 0.25


class VerbTagger(Protocol):
    """Tags the verbs of a sentence."""

    def tag(self, tokens: Sequence[Token]) -> Tags:
        """Give each token its verb tag, None to what is no verb."""


def is_negative(word: str) -> bool:
    """Whether a word (folded) negates the verb beside it: not, never, cannot, isn't, dont."""
    return word in NEGATIVES or word.endswith("n't") or word in _BARE_NEGATIVES


def auxiliary_of(word: str) -> str:
    """The auxiliary in a negative form ("isn't" and "isnt" -> "is"), or the word itself."""
    return _BARE_NEGATIVES.get(word) or (word[:-3] if word.endswith("n't") else word)


_BARE_NEGATIVES = {
    aux + "nt": aux
    for aux in (*BE, *HAVE, *DO, "could", "would", "should", "must")
    if aux not in ("am", "be", "been", "being")
} | {
    "cant": "can",
    "wont": "will",
    "can't": "can",
    "won't": "will",
    "cannot": "can",
    "shan't": "shall",
}


@lru_cache(maxsize=100_000)
def verb_lemma(word: str) -> str | None:
    """The base form of a lower-case verb form, None where WordNet knows no such verb.

    Example:
        >>> [verb_lemma(word) for word in ("goes", "went", "saw", "hopping", "feed", "blue-ish")]
        ['go', 'go', 'see', 'hop', 'feed', None]
    """
    wordnet = _wordnet()
    bases = [
        b for b in wordnet.exceptions["v"].get(word, ()) if b != word and wordnet.senses(b, "v")
    ]
    if bases and _count(bases[0], "v") >= _count(word, "v"):
        return str(bases[0])
    return next(iter(wordnet.morphy(word, "v")), None)


def _wordnet() -> Any:
    from hf_bat.lexicon import load_wordnet

    return load_wordnet()


def _count(lemma: str, pos: str) -> int:
    return sum(_wordnet().sense_counts(lemma, pos))


def _frequency(word: str, pos: str) -> int:
    return max((_count(lemma, pos) for lemma in _wordnet().morphy(word, pos)), default=-1)


@lru_cache(maxsize=1)
def _participle_lemmas() -> frozenset[str | None]:
    return frozenset(verb_lemma(word) for word in _PARTICIPLES) | _SAME_PARTICIPLES


@lru_cache(maxsize=100_000)
def _reading(word: str) -> tuple[str, str, float]:
    """What an open-class word may be: (verb form or "", class when no verb, share of verb uses)."""
    counts = {pos: _frequency(word, pos) for pos in "nar"}
    other = max(counts, key=lambda pos: counts[pos]) if max(counts.values()) >= 0 else "n"
    lemma = verb_lemma(word)
    if lemma is None:
        return "", other, 0.0
    verb, rest = _count(lemma, "v"), sum(max(count, 0) for count in counts.values())
    nothing_else = max(counts.values()) < 0
    share = 1.0 if nothing_else else (verb + 0.1) / (verb + rest + 0.2)
    if word == lemma:
        form = "base"
    elif word.endswith("ing"):
        form = "ing"
    elif word.endswith("s") and word not in _wordnet().exceptions["v"]:
        form = "s"
    else:
        form = "past"
    return form, other, share


def is_adverb(word: str) -> bool:
    """Whether a word (folded) is an adverb rather than anything else."""
    return word not in NEGATIVES and word not in _OPENERS and _reading(word)[:2] == ("", "r")


def _is_plural(word: str) -> bool:
    return word == "people" or any(lemma != word for lemma in _wordnet().morphy(word, "n"))


class LexiconTagger:
    """Tags by WordNet's forms and tag counts and by the words on the left; needs no other data.

    A noun that is a verb too ("dog", "man", "walks") is a verb only where the sentence expects one:
    after "to", after a modal or a form of "do", or after a subject that has no finite verb yet.

    Example:
        >>> from hf_bat.perturbations.tokens import core
        >>> LexiconTagger().tag([core(token) for token in "The man walks his dogs to school.".split()])
        [None, None, 'VBZ', None, None, None, None]
        >>> LexiconTagger().tag([core(token) for token in "Do dogs like walks?".split()])
        ['VBP', None, 'VB', None]
    """

    def tag(self, tokens: Sequence[Token]) -> Tags:
        tags: Tags = []
        state = _Clause()
        lowered = [folded(word) for _, word, _ in tokens]
        for place, (word, token) in enumerate(zip(lowered, tokens, strict=True)):
            following = lowered[place + 1] if place + 1 < len(lowered) and not token[2] else ""
            tags.append(state.read(word, following))
            if token[2]:
                state.end()
        return tags


class _Clause:
    """What has been read of a clause: the class of the last word, whether it has its finite verb, and
    whether a modal or a form of "do" still waits for its base form."""

    def __init__(self) -> None:
        self.last, self.previous, self.last_tag = "start", "", ""
        self.finite = self.waiting = self.plural = False

    def end(self) -> None:
        """A mark has been read: what follows may have a finite verb of its own."""
        self.finite = self.waiting = self.plural = False

    def read(self, word: str, following: str) -> str | None:
        tag, kind = self._decide(auxiliary_of(word), following)
        if kind == "subject" and not self.waiting:
            self.finite = self.plural = False
        if word in _JOINTS:
            self.plural = word == "and" and self.last == "noun" and not self.finite
            self.finite = self.waiting = False
        if tag in ("VBZ", "VBP", "VBD", "MD"):
            self.finite = True
        if tag == "VB":
            self.waiting = False
        if kind in ("do", "modal"):
            self.waiting = True
        if (
            kind != "adverb"
        ):  # "is slowly walking": adverbs and "not" do not part a verb from its helper
            self.last, self.previous = kind, word
        if tag and tag != "MD":
            self.last_tag = tag
        return None if tag and is_negative(word) else tag

    def _decide(self, word: str, following: str) -> tuple[str | None, str]:
        if not word:
            return None, "start"
        if is_negative(word):
            return None, "adverb"
        if word in MODALS:
            return "MD", "modal"
        if word in BE:
            return BE[word], "be"
        if word in HAVE:
            base = word == "have" and (self.waiting or self.last in ("modal", "to"))
            return ("VB" if base else HAVE[word]), "have"
        if word in DO:
            base = word == "do" and self.waiting
            return ("VB", "verb") if base else (DO[word], "do")
        if word == "to":
            return None, "to"
        if word in _OPENERS and not (word in SUBJECTS and self._subject_next(following)):
            return None, "determiner" if word in _DETERMINERS else "opener"
        if word in SUBJECTS:
            return None, "subject"
        if word in _JOINTS:
            return None, "joint"
        form, other, share = _reading(word)
        tag = self._open_class(word, form, share, following) if form else None
        if tag:
            return tag, "verb"
        return None, {"r": "adverb", "a": "adjective"}.get(other, "noun")

    @staticmethod
    def _subject_next(following: str) -> bool:
        return following in BE or following in MODALS or following in HAVE or following in DO

    def _open_class(self, word: str, form: str, share: float, following: str) -> str | None:
        after_subject = self.last in ("noun", "subject") and not self.finite
        in_phrase = self.last in ("determiner", "opener", "adjective")
        coordinated = self.previous in ("and", "or", "but") and bool(self.last_tag)
        if form == "ing":
            if self.last in ("determiner", "adjective"):
                return None
            expected = self.last in ("be", "noun", "subject") or coordinated
            return "VBG" if share >= (_POSSIBLE if expected else _LIKELY) else None
        if form == "past":
            if in_phrase:
                return None
            if verb_lemma(word) in _participle_lemmas() and word not in _PARTICIPLES:
                return "VBD"  # "went", "rose": never a participle
            if word in _PARTICIPLES or self.last in ("have", "be") or following == "by":
                return "VBN"
            if self.last == "start" or self.finite and not coordinated:
                return "VBN"
            return "VBD" if share >= _POSSIBLE else None
        if form == "s":
            if not in_phrase and (share == 1.0 or (self.last == "start" and share >= _SURE)):
                return "VBZ"
            ready = after_subject or (coordinated and self.last_tag == "VBZ")
            enough = _POSSIBLE if self.last == "subject" else _LIKELY
            return "VBZ" if ready and share >= enough else None
        return self._base_form(word, share, following, after_subject, coordinated)

    def _base_form(
        self, word: str, share: float, following: str, after_subject: bool, coordinated: bool
    ) -> str | None:
        if self.last in ("do", "modal") and share >= _POSSIBLE:
            return "VB"
        if self.last == "have" and (word in _UNCHANGED or word in _SAME_PARTICIPLES):
            return "VBN"
        if word == "like" and not self.waiting and self.last not in ("to", "subject"):
            return None  # elsewhere a preposition far more often
        if self.last == "to":
            return "VB" if share >= _LIKELY else None
        if self.waiting and self.last in ("noun", "subject"):
            return "VB" if share >= _POSSIBLE else None
        if coordinated and self.last_tag in ("VB", "VBP") and share >= _LIKELY:
            return self.last_tag
        if after_subject and share >= _LIKELY:
            plural = (
                self.plural
                or self.previous in _PLURAL_SUBJECTS
                or (self.last == "noun" and _is_plural(self.previous))
            )
            # After a singular subject only a past that equals its base form can stand: "he put it".
            return "VBP" if plural else "VBD" if word in _UNCHANGED else None
        return None


_SAME_PARTICIPLES = _set("become come run overcome")
_UNCHANGED = _set("bet burst cast cost cut hit hurt let put quit read set shut split spread")


class NltkTagger:
    """Tags by NLTK's averaged perceptron, which sees the whole sentence.

    Raises:
        HfBatError: NLTK or its data is not installed.
    """

    def __init__(self) -> None:
        try:
            from nltk.tag.perceptron import PerceptronTagger

            self._tagger = PerceptronTagger()
        except ImportError as error:
            raise HfBatError(
                'pos="nltk" needs NLTK: pip install nltk, or use pos="lexicon"'
            ) from error
        except LookupError as error:
            raise HfBatError(
                'pos="nltk" needs the tagger\'s data: run `python -m nltk.downloader '
                'averaged_perceptron_tagger_eng` or set NLTK_DATA to where it is, or use pos="lexicon"'
            ) from error

    def tag(self, tokens: Sequence[Token]) -> Tags:
        parts = [
            [*before, *_clitics(word.replace("\u2019", "'")), *after]
            for before, word, after in tokens
        ]
        tagged = iter(self._tagger.tag([part for split in parts for part in split]))
        tags: Tags = []
        for (before, word, _), split in zip(tokens, parts, strict=True):
            found = [next(tagged)[1] for _ in split]
            tag = found[len(before)] if word else ""
            verb = tag == "MD" or tag.startswith("VB")
            tags.append(tag if verb and not is_negative(folded(word)) else None)
        return tags


def _clitics(word: str) -> Iterator[str]:
    """A word as the tagger's training text has it: "doesn't" is "does" and "n't"."""
    lower = word.lower()
    for ending in ("n't", "'s", "'m", "'re", "'ve", "'ll", "'d"):
        if lower.endswith(ending) and len(word) > len(ending):
            yield word[: -len(ending)]
            yield word[-len(ending) :]
            return
    if word:
        yield word
