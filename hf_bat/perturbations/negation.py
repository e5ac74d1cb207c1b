"""Negation (obstinate): "not" put to one verb, or one "not", "no" or "n't" taken away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from hf_bat.errors import HfBatError
from hf_bat.perturbations import verbs
from hf_bat.perturbations.base import Edit, Perturbation, RandomSource, Texts
from hf_bat.perturbations.tokens import Token, core, delete_token, folded
from hf_bat.perturbations.verbs import BE, DO, HAVE, MODALS, SUBJECTS, is_negative
from hf_bat.text import detach_punctuation, match_case, split_pieces

SOURCES = ("lexicon", "nltk")
_DO_SUPPORT = {"VBD": "didn't", "VBZ": "doesn't", "VBP": "don't"}
# Negative forms that are not the positive one and "n't".
_IRREGULAR = {"can": "can't", "will": "won't", "shall": "shan't"}
_UNCONTRACTED = frozenset(("am", "may", "might", "ought"))
_HOSTS = frozenset(  # before 's that is "is" or "has", not a possessive
    (
        "he",
        "she",
        "it",
        "that",
        "there",
        "here",
        "who",
        "what",
        "where",
        "how",
        "everyone",
        "someone",
        "somebody",
        "everybody",
    )
)
_CLITICS = ("'m", "'re", "'ve", "'ll", "'d")
_NO_IDIOMS = frozenset(("longer", "matter", "doubt", "sooner", "later", "less", "fewer"))


class NegationPerturbation(Perturbation):
    """The obstinate set of all single negation edits (paper, appendix A.2).

    "not" is put to each verb in turn, with do-support where English wants it ("goes" -> "doesn't go"),
    or one negation is removed: "not" (not that of "not only" or "or not"), a "no" before a word, "n't".
    A verb that is already negated is left alone. Case, spacing and punctuation are kept. Taking "n't"
    from "doesn't go" leaves "does go", as in the authors' attack.

    Args:
        pos: how verbs are found: "lexicon" (the bundled WordNet and rules of context) or "nltk" (the
            averaged perceptron tagger, whose data must be installed).

    Raises:
        HfBatError: an unknown source; or, at the first use of "nltk", its data is not installed.

    Example:
        >>> negation = NegationPerturbation()
        >>> [edit.texts[0] for edit in negation.candidates(("The dog goes home, but it can't sleep.",))]
        ["The dog doesn't go home, but it can't sleep.", 'The dog goes home, but it can sleep.']
        >>> import random
        >>> negation.sample(("A cat is black.",), random.Random(0))
        ("A cat isn't black.",)
    """

    name = "negation"
    kind = "obstinate"

    def __init__(self, pos: Literal["lexicon", "nltk"] = "lexicon"):
        if pos not in SOURCES:
            raise HfBatError(f"unknown part-of-speech source {pos!r}; known: {', '.join(SOURCES)}")
        self.pos = pos
        self._tagger: verbs.VerbTagger | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A tagger's weights are loaded again sooner than sent.
        return {**self.__dict__, "_tagger": None}

    @property
    def tagger(self) -> verbs.VerbTagger:
        """The source of verb tags, loaded when first used."""
        if self._tagger is None:
            self._tagger = verbs.NltkTagger() if self.pos == "nltk" else verbs.LexiconTagger()
        return self._tagger

    def candidates(self, texts: Texts) -> list[Edit]:
        found = []
        for sentence, text in enumerate(texts):
            for position, original, replacement, edited in self._edits(text):
                whole = (*texts[:sentence], edited, *texts[sentence + 1 :])
                found.append(Edit(sentence, position, original, replacement, whole))
        return found

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        """Draw one of the candidates, each as likely; see `Perturbation.sample`."""
        edit = self.choose(self.candidates(texts), rng)
        return edit.texts if edit else None

    def describe(self) -> dict[str, object]:
        return {"perturbation": self.name, "pos": self.pos}

    def _edits(self, text: str) -> Iterator[tuple[int, str, str, str]]:
        """Each edit of one sentence: (position, word, replacement, edited sentence)."""
        pieces = split_pieces(text)
        places = [i for i in range(0, len(pieces), 2) if pieces[i]]
        sentence = _Sentence([core(pieces[i]) for i in places], self.tagger)
        for position, place in enumerate(places):
            original = detach_punctuation(pieces[place])[0]
            before, word, after = sentence.tokens[position]
            new = sentence.negated_form(position)
            if new is None:
                new = sentence.positive_form(position)
            if new == "":
                edited = "".join(delete_token(pieces, place))
                if edited.strip():
                    yield position, original, "", edited
            elif new is not None:
                if "'" not in text and "\u2019" in text:
                    new = new.replace("'", "\u2019")
                token = before + new + after
                edited = "".join([*pieces[:place], token, *pieces[place + 1 :]])
                kept = detach_punctuation(pieces[place])[1]
                yield position, original, token[: len(token) - len(kept)], edited


class _Sentence:
    """A sentence's words with what the rules need to know about each."""

    def __init__(self, tokens: list[Token], tagger: verbs.VerbTagger):
        self.tokens = tokens
        self.words = [folded(word) for _, word, _ in tokens]
        self.tags = tagger.tag(tokens)
        self.negated = [self._is_negated(i) for i in range(len(tokens))]

    def negated_form(self, i: int) -> str | None:
        """What stands for word i when its verb is negated; None where it is no verb to negate."""
        word, cased = self.words[i], self.tokens[i][1]
        if self.negated[i] or is_negative(word) or not word:
            return None
        if (
            word.endswith(_CLITICS)
            or (word.endswith("'s") and word[:-2] in _HOSTS)
            or word == "let's"
        ):
            return cased + _like(" not", cased)
        if word in BE and word not in ("be", "been", "being"):
            return self._auxiliary(i)
        if word in MODALS:
            return self._auxiliary(i) if self.tags[i] == "MD" or self._next_verb(i) else None
        tag = self._tag(i)
        if tag not in ("VB", "VBD", "VBG", "VBN", "VBP", "VBZ"):
            return None
        if tag in _DO_SUPPORT:
            if (word in HAVE or word in DO) and self._is_auxiliary(i):
                return self._auxiliary(i)
            lemma = {**dict.fromkeys(HAVE, "have"), **dict.fromkeys(DO, "do")}.get(word)
            lemma = lemma or (word if tag == "VBP" else verbs.verb_lemma(word))
            return match_case(f"{_DO_SUPPORT[tag]} {lemma}", cased) if lemma else None
        return match_case(f"not {cased.lower() if cased[:1].isupper() else cased}", cased)

    def positive_form(self, i: int) -> str | None:
        """What stands for word i when its negation goes ("" to delete it); None where it has none."""
        word, cased = self.words[i], self.tokens[i][1]
        following = self.words[i + 1] if i + 1 < len(self.words) else ""
        if word == "not":
            kept = following == "only" and not self.tokens[i][2]
            kept = kept or (i > 0 and self.words[i - 1] == "or" and not self.tokens[i - 1][2])
            return None if kept else ""
        if word == "no":
            bare = following and not self.tokens[i][2]
            return "" if bare and following not in _NO_IDIOMS else None
        if not is_negative(word) or word in ("never", "n't", "ain't"):
            return None
        positive = verbs.auxiliary_of(word)
        return cased[: len(positive)] if word.startswith(positive) else match_case(positive, cased)

    def _tag(self, i: int) -> str | None:
        """The tag, mended where a tagger takes "go" of "May I go" for a finite form."""
        asked = i >= 2 and self.words[i - 1] in SUBJECTS
        helper = verbs.auxiliary_of(self.words[i - 2]) if asked else ""
        if self.tags[i] == "VBP" and (helper in MODALS or helper in DO):
            return "VB"
        if self.tags[i] == "VB" and i == 0 and self.words[0] in ("do", "have"):
            return "VBP"
        return self.tags[i]

    def _auxiliary(self, i: int) -> str | None:
        word, cased = self.words[i], self.tokens[i][1]
        if word in _UNCONTRACTED:
            # "May I go?" has no place for "not" beside "may"; its main verb has.
            asked = i + 1 < len(self.words) and self.words[i + 1] in SUBJECTS
            return None if asked else cased + _like(" not", cased)
        return match_case(_IRREGULAR.get(word, word + "n't"), cased)

    def _is_auxiliary(self, i: int) -> bool:
        """Whether a form of "have" or "do" helps another verb (or stands for one, at the end)."""
        if self.words[i] in DO:
            asks = self._opens(i) and any("?" in after for _, _, after in self.tokens[i:])
            ends = i + 1 == len(self.words) or bool(self.tokens[i][2])
            return asks or ends or self._next_verb(i) == "VB"
        return self._next_verb(i) in ("VBN", "VBD") and not self.tokens[i][2]

    def _opens(self, i: int) -> bool:
        """Whether a word stands first in its clause, or next to the question word that does."""
        return i == 0 or self.words[i - 1] in verbs.QUESTION_WORDS or bool(self.tokens[i - 1][2])

    def _next_verb(self, i: int) -> str | None:
        """The tag of the verb that an auxiliary at i helps: the next one, past a subject and adverbs."""
        opened = self._opens(i)
        for j in range(i + 1, len(self.words)):
            if self.tags[j]:
                return self.tags[j]
            plain = (
                not opened and self.words[j] not in SUBJECTS and not verbs.is_adverb(self.words[j])
            )
            if plain or self.tokens[j][2]:
                return None
        return None

    def _is_negated(self, i: int) -> bool:
        if self.words[i + 1 : i + 2] in (["not"], ["no"]) and not self.tokens[i][2]:
            return True
        j = i - 1
        while j >= 0 and (verbs.is_adverb(self.words[j]) or self.words[j] == "to"):
            j -= 1
        if j < 0:
            return False
        if is_negative(self.words[j]):
            return True
        helper = self.words[j] in BE or self.words[j] in HAVE or self.words[j] in DO
        if helper or self.words[j] in MODALS:
            return self._is_negated(j)
        # "Don't you like it?": the subject stands between.
        asked = self.words[j] in SUBJECTS and j > 0 and self.words[j - 1] != "not"
        return asked and is_negative(self.words[j - 1]) and self.tags[i] is not None


def _like(ending: str, word: str) -> str:
    return ending.upper() if len(word) > 2 and word.isupper() else ending
