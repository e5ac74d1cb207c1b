"""Shared helpers for tests of attacks: a model without weights, rows and tables."""

import hashlib

import numpy as np

ANTONYMS = {
    "hot": ["cold", "cool"],
    "big": ["small", "little"],
    "man": ["woman"],
    "open": ["closed", "shut"],
    "happy": ["sad"],
    "black": ["white"],
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
    """Return three probabilities from the hash of each input, so edits have arbitrary fixed effects."""
    rows = []
    for pair in pairs:
        digest = hashlib.sha256("|".join(pair).encode()).digest()
        weights = np.frombuffer(digest[:24], dtype="<u8").astype(float) ** 2
        rows.append(weights / weights.sum())
    return np.array(rows)


def made_rows(count, seed=0, lengths=(3, 12)):
    """Return SNLI-like rows of random words; most labels are the predictions of `hashed`."""
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
    """Return the results in a report, without times and versions."""
    rows = {name: [row.to_dict() for row in rows] for name, rows in report.rows.items()}
    return report.attacks, rows
