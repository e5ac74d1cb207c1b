"""What the tests of attacks share: a model without weights, rows, tables."""

import hashlib

import numpy as np

ANTONYMS = {
    "hot": ["cold", "cool"],
    "big": ["small", "little"],
    "man": ["woman"],
    "open": ["closed", "shut"],
    "happy": ["sad"],
    "black": ["white"],
    "is": ["differ"],
}
SYNONYMS = {
    "hot": ["warm", "boiling"],
    "big": ["large", "huge", "giant"],
    "man": ["gentleman", "guy"],
    "child": ["kid", "youngster"],
    "dog": ["hound", "canine"],
    "sleeping": ["dozing", "napping"],
}
WORDS = [
    "a",
    "the",
    "hot",
    "big",
    "man",
    "open",
    "happy",
    "black",
    "is",
    "child",
    "dog",
    "sleeping",
    "in",
    "rain",
    "near",
    "house",
    "blue",
]


def hashed(pairs):
    """Three probabilities from each input's hash: any edit may do anything, the same every time."""
    rows = []
    for pair in pairs:
        digest = hashlib.sha256("|".join(pair).encode()).digest()
        weights = np.frombuffer(digest[:24], dtype="<u8").astype(float) ** 2
        rows.append(weights / weights.sum())
    return np.array(rows)


def made_rows(count, seed=0, lengths=(3, 12)):
    """SNLI-like rows of random words; the label is what `hashed` predicts for most of them."""
    draw = np.random.default_rng(seed)
    rows = []
    for idx in range(count):
        texts = [" ".join(draw.choice(WORDS, draw.integers(*lengths))) + "." for _ in range(2)]
        label = int(hashed([tuple(texts)])[0].argmax())
        if draw.random() < 0.15:
            label = (label + 1) % 3
        rows.append({"premise": texts[0], "hypothesis": texts[1], "label": label, "idx": idx})
    return rows


def result(report):
    """All of a report that is a result: no times, no versions."""
    rows = {name: [row.to_dict() for row in rows] for name, rows in report.rows.items()}
    return report.attacks, rows
