"""A generated attack row in the format of the rows file."""


def attack_row(idx, outcome):
    """Return a row of an antonym attack that replaced "small" by "big" and kept the prediction or did not."""
    fooled = outcome == "succeeded"
    return {
        "idx": idx,
        "attack": "antonym",
        "outcome": outcome,
        "outcome_confident": outcome,
        "original": ["A big dog.", "A dog."],
        "perturbed": ["A small dog.", "A dog."] if fooled else None,
        "edits": [{"original": "big", "replacement": "small"}] if fooled else [],
        "label": 0,
        "label_name": "entailment",
        "words": 5,
        "words_changed": 1,
        "queries": 2,
        "candidates": 1,
        "kept": int(fooled),
        "raised": int(fooled),
        "beyond_cut": 0,
        "exhausted": False,
        "tried": [["big", "small", int(fooled), int(fooled)]],
    }
