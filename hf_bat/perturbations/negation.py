"""Negation (obstinate): negate one verb, or remove one "not", "no" or "n't"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import hf_bat.perturbations.verbs as verbs
from hf_bat.errors import check_choice
from hf_bat.perturbations.base import (
    Edit,
    Perturbation,
    Texts,
    Token,
    delete_token,
    normalize_word,
    replace_sentence,
    split_marks,
)
from hf_bat.text import detach_punctuation, match_case, split_pieces

_DO_SUPPORT = {"VBD": "didn't", "VBZ": "doesn't", "VBP": "don't"}
# Negative forms that are not the positive form plus "n't".
_IRREGULAR = {"can": "can't", "will": "won't", "shall": "shan't"}
_UNCONTRACTED = ("am", "may", "might", "ought")
_NO_IDIOMS = ("longer", "matter", "doubt", "sooner", "later", "less", "fewer")


class NegationPerturbation(Perturbation):
    """The obstinate set of all single negation edits (paper, appendix A.2).

    An edit negates one verb, with do-support if needed ("goes" -> "doesn't go"), or removes one negation:
    "not" (except in "not only" and "or not"), "no" before a word, or "n't" ("doesn't go" -> "does go", as in
    the authors' attack). Verbs that are already negated do not change. Case, spacing and punctuation are
    kept.

    Args:
        pos: Source of the parts of speech: `"lexicon"` (the bundled WordNet with context rules) or
            `"nltk"` (the averaged perceptron tagger and its data). Defaults to `"lexicon"`.

    Raises:
        HfBatError: If the source is unknown, or if the data for `"nltk"` is missing at its first use.

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
        check_choice("part-of-speech source", pos, ("lexicon", "nltk"))
        self.pos = pos

    def candidates(self, texts: Texts) -> list[Edit]:
        return [
            Edit(number, position, original, new, replace_sentence(texts, number, edited))
            for number, text in enumerate(texts)
            for position, original, new, edited in self._list_edits(text)
        ]

    def describe(self) -> dict[str, object]:
        return {"perturbation": self.name, "pos": self.pos}

    def _list_edits(self, text: str) -> Iterator[tuple[int, str, str, str]]:
        """Yield (position, word, replacement, edited sentence) for each edit of the sentence."""
        pieces = split_pieces(text)
        places = [i for i in range(0, len(pieces), 2) if pieces[i]]
        sentence = _Sentence([split_marks(pieces[i]) for i in places], self.pos)
        for position, place in enumerate(places):
            # The edit's word is only missing one trailing mark. The rules use the word without any marks.
            original, mark = detach_punctuation(pieces[place])
            before, _, after = sentence.tokens[position]
            new = sentence.negate(position)
            if new is None:
                new = sentence.remove_negation(position)
            if new == "":
                edited = "".join(
                    delete_token(sentence.restore_modal(pieces, places, position), place)
                )
                if edited.strip():
                    yield position, original, "", edited
            elif new is not None:
                # Use the same kind of apostrophe as the sentence.
                if "'" not in text and "\u2019" in text:
                    new = new.replace("'", "\u2019")
                token = before + new + after
                edited = "".join([*pieces[:place], token, *pieces[place + 1 :]])
                yield position, original, token[: len(token) - len(mark)], edited


class _Sentence:
    """The words of a sentence and their verb tags."""

    def __init__(self, tokens: list[Token], pos: str):
        self.tokens = tokens
        self.words = [normalize_word(word) for _, word, _ in tokens]
        self.tags = verbs.tag_with_nltk(tokens) if pos == "nltk" else verbs.tag_with_rules(tokens)

    def negate(self, i: int) -> str | None:
        """Return the negated form of word `i`, or `None` if it is not a verb that can be negated."""
        word, cased = self.words[i], self.tokens[i][1]
        if not word or verbs.is_negative(word) or self._is_negated(i):
            return None
        if verbs.find_clitic(self.words, self.tokens, i):
            return cased + _match_capitals(" not", cased)
        if word in verbs.BE and word not in ("be", "been", "being"):
            return self._negate_auxiliary(i)
        if word in verbs.MODALS:
            is_modal = self.tags[i] == "MD" or self._find_next_verb(i)
            return self._negate_auxiliary(i) if is_modal else None
        tag = self._fix_tag(i)
        if tag is None or not tag.startswith("VB"):
            return None
        # Participles and base forms are negated with "not" and without "do": "not sitting", "to not sing".
        if tag not in _DO_SUPPORT:
            return match_case(f"not {cased.lower() if cased[:1].isupper() else cased}", cased)
        if (word in verbs.HAVE or word in verbs.DO) and self._is_auxiliary(i):
            return self._negate_auxiliary(i)
        lemma = word if tag == "VBP" else verbs.get_verb_lemma(word)
        return match_case(f"{_DO_SUPPORT[tag]} {lemma}", cased) if lemma else None

    def remove_negation(self, i: int) -> str | None:
        """Return word `i` without its negation, or `None` if it has no negation.

        An empty string means that the word should be deleted.
        """
        word, (_, cased, after) = self.words[i], self.tokens[i]
        following = self.words[i + 1] if i + 1 < len(self.words) else ""
        if word == "not":
            is_kept = following == "only" and not after
            is_kept = is_kept or (i > 0 and self.words[i - 1] == "or" and not self.tokens[i - 1][2])
            return None if is_kept else ""
        # "No, thanks" and "no longer" do not negate a noun.
        if word == "no":
            return "" if following and not after and following not in _NO_IDIOMS else None
        if word == "n't":  # in text that is already split into words: "did n't"
            return None if i == 0 or self.words[i - 1] == "ai" else ""
        if not verbs.is_negative(word) or word in ("never", "ain't"):
            return None
        positive = verbs.get_auxiliary(word)
        return cased[: len(positive)] if word.startswith(positive) else match_case(positive, cased)

    def restore_modal(
        self, pieces: Sequence[str], places: Sequence[int], position: int
    ) -> list[str]:
        """Return the pieces with "ca" replaced by "can", if the "n't" of "ca n't" will be deleted."""
        restored = list(pieces)
        if position and self.words[position] == "n't":
            before, cased, after = self.tokens[position - 1]
            modal = verbs.SPLIT_MODALS.get(self.words[position - 1])
            if modal:
                restored[places[position - 1]] = before + match_case(modal, cased) + after
        return restored

    def _fix_tag(self, i: int) -> str | None:
        """Return the tag of word `i`, corrected for questions. Taggers treat "go" in "May I go" as finite."""
        is_asked = i >= 2 and self.words[i - 1] in verbs.SUBJECTS
        helper = verbs.get_auxiliary(self.words[i - 2]) if is_asked else ""
        if self.tags[i] == "VBP" and (helper in verbs.MODALS or helper in verbs.DO):
            return "VB"
        if self.tags[i] == "VB" and i == 0 and self.words[0] in ("do", "have"):
            return "VBP"
        return self.tags[i]

    def _negate_auxiliary(self, i: int) -> str | None:
        word, cased = self.words[i], self.tokens[i][1]
        if word in _UNCONTRACTED:
            # "not" cannot follow "may" in "May I go?". The main verb is negated separately.
            is_asked = i + 1 < len(self.words) and self.words[i + 1] in verbs.SUBJECTS
            return None if is_asked else cased + _match_capitals(" not", cased)
        return match_case(_IRREGULAR.get(word, word + "n't"), cased)

    def _is_auxiliary(self, i: int) -> bool:
        """Return whether a form of "have" or "do" is an auxiliary, or replaces a verb at the end."""
        if self.words[i] in verbs.DO:
            is_asked = self._is_first(i) and any("?" in after for _, _, after in self.tokens[i:])
            is_last = i + 1 == len(self.words) or bool(self.tokens[i][2])
            return is_asked or is_last or self._find_next_verb(i) == "VB"
        return self._find_next_verb(i) in ("VBN", "VBD") and not self.tokens[i][2]

    def _is_first(self, i: int) -> bool:
        """Return whether a word is the first word in its clause, ignoring a question word before it."""
        return i == 0 or self.words[i - 1] in verbs.QUESTION_WORDS or bool(self.tokens[i - 1][2])

    def _find_next_verb(self, i: int) -> str | None:
        """Return the tag of the main verb for the auxiliary `i`, skipping a subject and adverbs."""
        opens = self._is_first(i)
        for j in range(i + 1, len(self.words)):
            if self.tags[j]:
                return self.tags[j]
            skipped = opens or self.words[j] in verbs.SUBJECTS or verbs.is_adverb(self.words[j])
            if not skipped or self.tokens[j][2]:
                return None
        return None

    def _is_negated(self, i: int) -> bool:
        following = self.words[i + 1] if i + 1 < len(self.words) and not self.tokens[i][2] else ""
        if following in ("not", "no", "n't", "never"):
            return True
        j = i - 1
        while j >= 0 and (verbs.is_adverb(self.words[j]) or self.words[j] == "to"):
            j -= 1
        if j < 0:
            return False
        word = self.words[j]
        if verbs.is_negative(word):
            return True
        if word in verbs.AUXILIARIES:
            return self._is_negated(j)
        # "Don't you like it?": the subject separates the verb from its negation.
        is_asked = word in verbs.SUBJECTS and j > 0 and self.words[j - 1] != "not"
        return is_asked and verbs.is_negative(self.words[j - 1]) and self.tags[i] is not None


def _match_capitals(ending: str, word: str) -> str:
    # A word is only treated as all caps if it has more than two characters, like "I'M".
    return ending.upper() if len(word) > 2 and word.isupper() else ending
