"""A vocabulary that is small enough to list every draw, edit and prediction."""

import hashlib
import itertools
from fractions import Fraction
from math import prod

# Identical sets (a component), overlapping sets, and words without a set.
TABLE = {
    "a1": ["a2", "a3"],
    "a2": ["a1", "a3"],
    "a3": ["a1", "a2"],
    "b1": ["b2", "b3", "b4"],
    "b2": ["b1", "b3"],
    "b3": ["b2", "b4", "b1"],
    "b4": ["b3", "b1", "b2", "b5"],
    "c1": ["c2", "c3", "c4"],
    "c2": ["c1", "c3", "c4", "c5"],
    "c3": ["c1", "c2", "c4"],
    "c4": ["c1", "c2", "c3"],
    "d1": ["d2"],
}
SENTENCES = [
    ("a1 b1", "c1"),
    ("c1 a2 x", "c3 b2."),
    ("c3", "c4 a1 y"),
    ("d1 a1", "a3"),
    ("x y", "z"),
    ("c1 c2", "c4 z"),
    ("a1 a2 a3.", "C1 x"),
]


def options(table, token):
    """Return P(w) as computed by hand: the word and its set, with its case and punctuation."""
    word, mark = (token[:-1], token[-1]) if token[1:].endswith(".") else (token, "")
    found = table.get(word.lower(), [])
    shape = str.capitalize if word[0].isupper() else str
    return [token, *(shape(other) + mark for other in found)]


_SUPPORTS = {}


def support(table, texts):
    """Return the equally likely draws for the input, which are also all edits available to an adversary."""
    key = (id(table), *texts)
    if key not in _SUPPORTS:
        # Keep a reference to the table, so its id is not reused.
        _SUPPORTS[key] = table, _list_support(table, texts)
    return _SUPPORTS[key][1]


def _list_support(table, texts):
    per_text = [
        [" ".join(drawn) for drawn in itertools.product(*(options(table, t) for t in text.split()))]
        for text in texts
    ]
    return list(itertools.product(*per_text))


def count_edited_words(one, other):
    pairs = zip(" ".join(one).split(), " ".join(other).split(), strict=True)
    return sum(a != b for a, b in pairs)


def compute_exact_quality(table, texts, radius=None):
    """Return Q according to its definition as a fraction: sums of the smaller of two probabilities."""
    least = []
    for token in " ".join(texts).split():
        here = options(table, token)
        found = [Fraction(1)]
        for other in here[1:]:
            there = options(table, other)
            found.append(
                sum(
                    min(Fraction(here.count(s), len(here)), Fraction(there.count(s), len(there)))
                    for s in {*here, *there}
                )
            )
        least.append(min(found))
    return prod(sorted(least)[:radius], start=Fraction(1))


class HashedClassifier:
    """A classifier that predicts label 1 for a share of all inputs, selected by a hash of the text."""

    def __init__(self, share, seed=0):
        self.share, self.seed = share, seed
        self.known = {}

    def label(self, texts):
        found = self.known.get(texts)
        if found is None:
            digest = hashlib.sha256(f"{self.seed}|{'|'.join(texts)}".encode()).digest()
            found = int(int.from_bytes(digest[:4], "big") < self.share * 2**32)
            self.known[texts] = found
        return found

    def __call__(self, inputs):
        return [[0.2, 0.8] if self.label(texts) else [0.7, 0.3] for texts in inputs]

    def probability(self, table, texts, label=1):
        """Return the exact value of p."""
        drawn = support(table, texts)
        return Fraction(sum(self.label(other) == label for other in drawn), len(drawn))


def made_rows(count=7, label=1):
    return [
        {"question1": one, "question2": other, "label": label, "idx": idx}
        for idx, (one, other) in enumerate(itertools.islice(itertools.cycle(SENTENCES), count))
    ]
