"""Find the verbs in a sentence and their forms (Penn tags: VB VBD VBG VBN VBP VBZ MD).

There are two taggers. `tag_with_rules` uses the bundled WordNet with its tag counts and a few context rules.
`tag_with_nltk` uses NLTK's averaged perceptron. Both use the same fixed list of auxiliaries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

from hf_bat.errors import HfBatError, import_extra
from hf_bat.lexicon import load_wordnet
from hf_bat.perturbations.base import Token, normalize_word

Tags = list[str | None]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


BE = {"is": "VBZ", "are": "VBP", "was": "VBD", "were": "VBD", "am": "VBP",
      "be": "VB", "been": "VBN", "being": "VBG"}  # fmt: skip
HAVE = {"has": "VBZ", "have": "VBP", "had": "VBD"}
DO = {"does": "VBZ", "do": "VBP", "did": "VBD"}
MODALS = _set("can could will would shall should may might must ought")
AUXILIARIES = frozenset((*BE, *HAVE, *DO, *MODALS))
SUBJECTS = _set("i you he she it we they there this that these those who someone")
QUESTION_WORDS = _set("what why how when where who which whom")
_NEGATIVES = _set("not never n't cannot")
_PLURAL_SUBJECTS = _set("i you we they who people")
# These words begin or continue a noun phrase, so the next word is not a finite verb.
_OPENERS = _set(
    "a an the this that these those my your his her its our their some any no every each all both "
    "another one two three four five six seven eight nine ten many several few more most other "
    "of in on at by for from with into onto over under through during near behind beside between "
    "against about after before around across along down off up out inside outside beneath above "
    "below towards toward without within upon among per than"
)
# These words begin a clause, which may have another finite verb.
JOINTS = _set(
    "and or but nor so because while when where if that which who what why how whom as until since "
    "although though whether then"
)
_DETERMINERS = _set(
    "a an the my your his her its our their some any no every each another this that"
)
# Irregular forms that are only participles. WordNet's exceptions do not separate them from past forms.
_PARTICIPLES = _set(
    "beaten become begun bitten blown broken chosen done drawn driven drunk eaten fallen flown forgotten "
    "forgiven frozen given gone gotten grown hidden known mistaken proven ridden risen rung seen sewn "
    "shaken shown shrunk sung sunk sworn spoken stolen swollen swum taken thrown torn woken worn woven "
    "written"
)
_SAME_PARTICIPLES = _set("become come run overcome")
# These past forms are also participles. "get" and "forget" have a second participle ("gotten").
_BOTH = _set("got forgot had")
# After these words, 's means "is" or "has". After other words, it is a possessive.
HOSTS = _set("he she it that there here who what where how everyone someone somebody everybody let")
# Maps an ending to its kind of auxiliary.
CLITICS = {"'m": "be", "'re": "be", "'ve": "have", "'ll": "modal", "'d": "modal", "'s": "have"}
# The first tokens of "can't", "won't" and "shan't" in text that is already split into words ("ca n't").
SPLIT_MODALS = {"ca": "can", "wo": "will", "sha": "shall"}
_UNCHANGED = _set("bet burst cast cost cut hit hurt let put quit read set shut split spread")
# Minimum share of verb uses to tag a word as a verb: at the start of sentences, in a position that allows a
# verb, and right after a subject.
_SURE, _LIKELY, _POSSIBLE = 0.9, 0.5, 0.25
# Maps negative forms that are irregular or lack the apostrophe to their auxiliary.
_NEGATIVE_FORMS = {
    **{
        auxiliary + "nt": auxiliary
        for auxiliary in (*BE, *HAVE, *DO, "could", "would", "should", "must")
        if auxiliary not in ("am", "be", "been", "being")
    },
    "cant": "can",
    "wont": "will",
    "can't": "can",
    "won't": "will",
    "cannot": "can",
    "shan't": "shall",
}


def is_negative(word: str) -> bool:
    """Return whether a normalized word negates a verb: not, never, cannot, isn't, dont."""
    return word in _NEGATIVES or word.endswith("n't") or word in _NEGATIVE_FORMS


def find_clitic(words: Sequence[str], tokens: Sequence[Token], i: int) -> str | None:
    """Return the clitic ('m, 're, 've, 'll, 'd or 's) of word `i`, which may be a separate token ("she 's").

    Example:
        >>> from hf_bat.perturbations.base import split_marks
        >>> for text in ("She's lost.", "She 's lost.", "Kim's dog."):
        ...     tokens = [split_marks(token) for token in text.split()]
        ...     words = [word.lower() for _, word, _ in tokens]
        ...     [find_clitic(words, tokens, i) for i in range(len(words))]
        ["'s", None]
        [None, "'s", None]
        [None, None]
    """
    host, mark, ending = words[i].rpartition("'")
    if not mark and tokens[i][0] in ("'", "\u2019") and i and not tokens[i - 1][2]:
        # In a separate token, the apostrophe is a mark before the word.
        host, ending = words[i - 1], words[i]
    clitic = f"'{ending}"
    if not host or clitic not in CLITICS or (clitic == "'s" and host not in HOSTS):
        return None
    return "let's" if host == "let" and clitic == "'s" else clitic


def get_auxiliary(word: str) -> str:
    """Return the auxiliary of a negative form ("isn't" and "isnt" -> "is"), or the word itself."""
    return _NEGATIVE_FORMS.get(word) or word.removesuffix("n't")


@lru_cache(maxsize=100_000)
def get_verb_lemma(word: str) -> str | None:
    """Return the base form of a lower-case verb form, or `None` if WordNet has no such verb.

    Example:
        >>> [get_verb_lemma(word) for word in ("goes", "went", "saw", "hopping", "feed", "blue-ish")]
        ['go', 'go', 'see', 'hop', 'feed', None]
    """
    wordnet = load_wordnet()
    irregular = [
        base
        for base in wordnet.exceptions["v"].get(word, ())
        if base != word and wordnet.senses(base, "v")
    ]
    # "saw" is also a base form, but it is used far more often as the past of "see".
    if irregular and _count_uses(irregular[0], "v") >= _count_uses(word, "v"):
        return irregular[0]
    return next(iter(wordnet.morphy(word, "v")), None)


def is_adverb(word: str) -> bool:
    """Return whether a normalized word is most likely an adverb."""
    return word not in _NEGATIVES and word not in _OPENERS and _read(word)[:2] == ("", "r")


def _count_uses(lemma: str, pos: str) -> int:
    return sum(load_wordnet().sense_counts(lemma, pos))


@cache
def _list_participle_lemmas() -> frozenset[str | None]:
    return frozenset(get_verb_lemma(word) for word in _PARTICIPLES) | _SAME_PARTICIPLES


@lru_cache(maxsize=100_000)
def _read(word: str) -> tuple[str, str, float]:
    """Return (verb form or "", most likely other class, share of verb uses) for an open-class word."""
    wordnet = load_wordnet()
    counts = {
        pos: max((_count_uses(lemma, pos) for lemma in wordnet.morphy(word, pos)), default=-1)
        for pos in "nar"
    }
    other = max(counts, key=lambda pos: counts[pos]) if max(counts.values()) >= 0 else "n"
    lemma = get_verb_lemma(word)
    if lemma is None:
        return "", other, 0.0
    # A count of -1 marks a part of speech that is not possible for the word.
    verb, rest = _count_uses(lemma, "v"), sum(max(count, 0) for count in counts.values())
    # Add 0.1 for smoothing, because many words were never tagged.
    share = 1.0 if max(counts.values()) < 0 else (verb + 0.1) / (verb + rest + 0.2)
    if word == lemma:
        form = "base"
    elif word.endswith("ing"):
        form = "ing"
    elif word.endswith("s") and word not in wordnet.exceptions["v"]:
        form = "s"
    else:
        form = "past"
    return form, other, share


def _is_plural(word: str) -> bool:
    return word == "people" or any(lemma != word for lemma in load_wordnet().morphy(word, "n"))


def tag_with_rules(tokens: Sequence[Token]) -> Tags:
    """Return the verb tag of each token, or `None` for other words, using WordNet and the words before it.

    A noun that can be a verb ("dog", "man", "walks") is only tagged as a verb if the sentence requires one:
    after "to", after a modal or a form of "do", or after a subject without a finite verb.

    Example:
        >>> from hf_bat.perturbations.base import split_marks
        >>> for text in ("The man walks his dogs to school.", "Do dogs like walks?"):
        ...     tag_with_rules([split_marks(token) for token in text.split()])
        [None, None, 'VBZ', None, None, None, None]
        ['VBP', None, 'VB', None]
    """
    tags: Tags = []
    clause = _Clause()
    words = [normalize_word(word) for _, word, _ in tokens]
    for i, (word, (_, _, after)) in enumerate(zip(words, tokens, strict=True)):
        clitic = find_clitic(words, tokens, i)
        if clitic:
            clause.read_clitic(word, clitic)
            tags.append(None)
        elif word.endswith("'s") or (word == "s" and tokens[i][0] in ("'", "\u2019")):
            clause.read_possessive()
            tags.append(None)
        else:
            tags.append(clause.read(word, "" if after else "".join(words[i + 1 : i + 2])))
        if after:
            clause.end()
    return tags


class _Clause:
    """The state of a clause while its words are tagged.

    It stores the class of the last word, whether there is a finite verb, and whether a modal or a form of
    "do" is missing its base form.
    """

    def __init__(self) -> None:
        self.last, self.previous, self.last_tag = "start", "", ""
        self.end()

    def end(self) -> None:
        """Process a punctuation mark. The next words may have another finite verb."""
        self.finite = self.waiting = self.plural = False

    def read_clitic(self, word: str, clitic: str) -> None:
        """Process a word that ends in an auxiliary. "she's" is a subject with a finite verb."""
        self.last, self.previous = CLITICS.get(clitic, "modal"), word
        self.finite, self.waiting, self.plural = True, self.last == "modal", False

    def read_possessive(self) -> None:
        """Process "Kim's". In "Kim's lost her keys", 's means "has", so no past form may follow either."""
        self.last, self.previous = "determiner", "'s"

    def read(self, word: str, following: str) -> str | None:
        """Process the next word and return its verb tag."""
        # Treat "isn't" as "is". Its tag is dropped at the end, because it is already negated.
        tag, kind = self._decide(get_auxiliary(word), following)
        if kind == "subject" and not self.waiting:
            self.finite = self.plural = False
        if word in JOINTS:
            self.plural = word == "and" and self.last == "noun" and not self.finite
            self.finite = self.waiting = False
        if tag in ("VBZ", "VBP", "VBD", "MD"):
            self.finite = True
        if tag == "VB":
            self.waiting = False
        # "Do dogs like walks?": the base form follows the subject.
        if kind in ("do", "modal"):
            self.waiting = True
        # "is slowly walking": skip adverbs and "not" between an auxiliary and its verb.
        if kind != "adverb":
            self.last, self.previous = kind, word
        if tag and tag != "MD":
            self.last_tag = tag
        return None if tag and is_negative(word) else tag

    def _decide(self, word: str, following: str) -> tuple[str | None, str]:
        """Return the verb tag and the class of the word."""
        if not word:
            return None, "start"
        if is_negative(word):
            return None, "adverb"
        if word in MODALS or (word in SPLIT_MODALS and following == "n't"):
            return "MD", "modal"
        if word in BE:
            return BE[word], "be"
        if word in _BOTH and self.last == "have":
            return "VBN", "verb"
        if word in HAVE:
            is_base = word == "have" and (self.waiting or self.last in ("modal", "to"))
            return ("VB" if is_base else HAVE[word]), "have"
        if word in DO:
            return ("VB", "verb") if word == "do" and self.waiting else (DO[word], "do")
        if word == "to":
            return None, "to"
        if word in _OPENERS and not (word in SUBJECTS and following in AUXILIARIES):
            return None, "determiner" if word in _DETERMINERS else "opener"
        if word in SUBJECTS:
            return None, "subject"
        if word in JOINTS:
            return None, "joint"
        form, other, share = _read(word)
        tag = self._choose_tag(word, form, share, following) if form else None
        return tag, "verb" if tag else {"r": "adverb", "a": "adjective"}.get(other, "noun")

    def _choose_tag(self, word: str, form: str, share: float, following: str) -> str | None:
        after_subject = self.last in ("noun", "subject") and not self.finite
        in_phrase = self.last in ("determiner", "opener", "adjective")
        coordinated = self.previous in ("and", "or", "but") and bool(self.last_tag)
        if form == "ing":
            # "The man's shaving his beard" has a verb, but "the man's shaving" has not.
            is_verb = self.previous == "'s" and following in _DETERMINERS
            if self.last in ("determiner", "adjective") and not is_verb:
                return None
            expected = self.last in ("be", "noun", "subject") or coordinated
            return "VBG" if share >= (_POSSIBLE if expected else _LIKELY) else None
        if form == "past":
            if in_phrase:
                return None
            if get_verb_lemma(word) in _list_participle_lemmas() and word not in _PARTICIPLES:
                return "VBD"  # "went" and "rose" are never participles
            # "a ball thrown by him", "has walked", "was seen"
            if word in _PARTICIPLES or self.last in ("have", "be") or following == "by":
                return "VBN"
            # "Dressed in red, ..." and "a man is a boy dressed in red": this cannot be a finite verb.
            if self.last == "start" or self.finite and not coordinated:
                return "VBN"
            return "VBD" if share >= _POSSIBLE else None
        if form == "s":
            if not in_phrase and (share == 1.0 or (self.last == "start" and share >= _SURE)):
                return "VBZ"
            # "dogs" is only a verb after a subject without a verb.
            ready = after_subject or (coordinated and self.last_tag == "VBZ")
            enough = _POSSIBLE if self.last == "subject" else _LIKELY
            return "VBZ" if ready and share >= enough else None
        if self.last in ("do", "modal") and share >= _POSSIBLE:
            return "VB"
        if self.last == "have" and (word in _UNCHANGED or word in _SAME_PARTICIPLES):
            return "VBN"
        if word == "like" and not self.waiting and self.last not in ("to", "subject"):
            return None  # usually a preposition here
        if self.last == "to":
            return "VB" if share >= _LIKELY else None
        if self.waiting and self.last in ("noun", "subject"):
            return "VB" if share >= _POSSIBLE else None
        if coordinated and self.last_tag in ("VB", "VBP") and share >= _LIKELY:
            return self.last_tag
        if not after_subject or share < _LIKELY:
            return None
        # "men walk" has a verb, but "man walk" is a compound noun.
        if self.plural or self.previous in _PLURAL_SUBJECTS:
            return "VBP"
        if self.last == "noun" and _is_plural(self.previous):
            return "VBP"
        # After a singular subject, only past forms that equal the base form are possible: "he put it".
        return "VBD" if word in _UNCHANGED else None


def tag_with_nltk(tokens: Sequence[Token]) -> Tags:
    """Return the verb tag of each token, or `None` for other words, using NLTK's averaged perceptron."""
    # Split marks into separate tokens, as in the tagger's training data.
    parts = [
        [*before, *_split_clitics(word.replace("\u2019", "'")), *after]
        for before, word, after in tokens
    ]
    tagged = iter(load_nltk_tagger().tag([part for split in parts for part in split]))
    tags: Tags = []
    for (before, word, _), split in zip(tokens, parts, strict=True):
        part_tags = [next(tagged)[1] for _ in split]
        tag = part_tags[len(before)] if word else ""
        is_verb = tag == "MD" or tag.startswith("VB")
        tags.append(tag if is_verb and not is_negative(normalize_word(word)) else None)
    return tags


@cache
def load_nltk_tagger() -> Any:
    """Load NLTK's averaged perceptron tagger once per process.

    Raises:
        HfBatError: If NLTK or the tagger's data is not installed.
    """
    perceptron = import_extra("nltk.tag.perceptron", "nltk")
    try:
        return perceptron.PerceptronTagger()
    except LookupError as error:
        raise HfBatError(
            "parts of speech from NLTK need the tagger's data: run `python -m nltk.downloader "
            "averaged_perceptron_tagger_eng`, set NLTK_DATA to its folder, or choose 'lexicon'"
        ) from error


def _split_clitics(word: str) -> Iterator[str]:
    """Split a word as in the tagger's training data: "doesn't" into "does" and "n't"."""
    lower = word.lower()
    for ending in ("n't", "'s", "'m", "'re", "'ve", "'ll", "'d"):
        if lower.endswith(ending) and len(word) > len(ending):
            yield word[: -len(ending)]
            yield word[-len(ending) :]
            return
    if word:
        yield word
