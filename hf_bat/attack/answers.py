"""Answers of a model, as rows of probabilities, and parsing of the answers of functions.

A model *abstains* if it declines to answer, such as a language model that refuses. The row of an abstention
is all zeros. A query without an answer (the endpoint failed permanently) has a row of NaN. Neither is a
prediction.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hf_bat.errors import HfBatError
from hf_bat.labels import find_class

# Reasons why a row has no prediction.
ABSTAINED, NO_ANSWER = "abstained", "no answer"
# Words before a label that negate it.
_NEGATIONS = re.compile(
    r"(?:\b(?:no|not|never|neither|nor|without|isn|cannot)\b|n['\u2019]t)\W+(?:an?\W+)?$"
)


def make_abstention(labels: int) -> np.ndarray:
    """Return the row for an abstention, given the number of labels."""
    return np.zeros(labels)


def make_failure(labels: int) -> np.ndarray:
    """Return the row for a query without an answer, given the number of labels."""
    return np.full(labels, np.nan)


def find_answered(probabilities: np.ndarray) -> np.ndarray:
    """Return which of (n, labels) answers are predictions.

    Example:
        >>> find_answered(np.stack([[0.3, 0.7], make_abstention(2), make_failure(2)])).tolist()
        [True, False, False]
    """
    # This comparison is always false for NaN.
    return probabilities.sum(axis=1) > 0.5


def find_failed(probabilities: np.ndarray) -> np.ndarray:
    """Return which of (n, labels) answers are missing because the query failed."""
    return np.isnan(probabilities).any(axis=1)


def explain_missing(answer: np.ndarray) -> str | None:
    """Return why a (labels,) answer is not a prediction ("abstained" or "no answer").

    Return `None` if it is a prediction.
    """
    if find_answered(answer[None])[0]:
        return None
    return NO_ANSWER if find_failed(answer[None])[0] else ABSTAINED


def name_columns(answers: Any) -> Any:
    """Return the rows of a data frame as mappings, because its columns may not be in the order of the labels.

    A data frame with the columns 0, 1, ... is returned as an array, and other values are returned unchanged.
    """
    columns = getattr(answers, "columns", None)
    if columns is None or not hasattr(answers, "to_numpy"):
        return answers
    names, array = list(columns), answers.to_numpy()
    if names == list(range(len(names))):
        return array
    return [dict(zip(names, row, strict=True)) for row in array.tolist()]


def read_answer(answer: Any, names: Sequence[str]) -> np.ndarray | None:
    """Parse a function's answer for one input.

    Args:
        answer: One of the following: probabilities in the order of the labels; a mapping from label names to
            probabilities or log-probabilities; a list of `{"label": ..., "score": ...}` as returned by a
            pipeline; a text with the label's name or number; the label's number; or `None` for a refusal.
        names: Label names in order. They may be empty if `answer` contains probabilities.

    Returns:
        (labels,) probabilities, or `None` if the model abstained. A text that does not name exactly one
        label is also an abstention.

    Raises:
        HfBatError: If the answer has another type or names an unknown label.

    Example:
        >>> names = ("entailment", "not_entailment")
        >>> read_answer("Not entailment.", names).tolist(), read_answer("I cannot tell.", names)
        ([0.0, 1.0], None)
        >>> read_answer({"entailment": -0.105, "not_entailment": -2.303}, names).round(2).tolist()
        [0.9, 0.1]
    """
    if answer is None:
        return None
    if isinstance(answer, str):
        label = find_label_word(answer, _need(names, answer))
        return None if label is None else _one_hot(label, len(names))
    if isinstance(answer, Mapping) and set(answer) == {"label", "score"}:
        answer = [answer]
    if isinstance(answer, Sequence) and answer and all(isinstance(v, Mapping) for v in answer):
        answer = {entry.get("label"): entry.get("score") for entry in answer}
    if isinstance(answer, Mapping):
        return _read_scores(answer, _need(names, answer))
    values = np.asarray(answer)
    if values.ndim == 0 and np.issubdtype(values.dtype, np.integer):
        if not 0 <= int(values) < len(_need(names, answer)):
            raise HfBatError(
                f"the model's function gave label {answer}; labels are 0 to {len(names) - 1}"
            )
        return _one_hot(int(values), len(names))
    try:
        values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise _reject(answer) from error
    if values.ndim != 1:
        raise _reject(answer)
    return values


def _reject(answer: Any) -> HfBatError:
    return HfBatError(
        f"the model's function gave {answer!r:.100} for an input; expected probabilities, a mapping of label "
        "names to scores, the name of a label, or None for a refusal"
    )


def _need(names: Sequence[str], answer: Any) -> Sequence[str]:
    if not names:
        raise HfBatError(
            f"the model's function gave {answer!r:.100}, and the labels have no names: give them, as "
            "CallableModel(function, labels=[...]) or as the task's label names"
        )
    return names


def _one_hot(label: int, labels: int) -> np.ndarray:
    answer = np.zeros(labels)
    answer[label] = 1.0
    return answer


def _read_scores(scores: Mapping[Any, Any], names: Sequence[str]) -> np.ndarray:
    """Parse a mapping from label names to probabilities (sum 1) or log-probabilities (all at most 0)."""
    values: dict[int, list[float]] = {}
    others: dict[Any, float] = {}
    for name, score in scores.items():
        label = find_class(str(name).strip(), names, "the model's answer")
        try:
            if label is None:
                others[name] = float(score)
            else:
                values.setdefault(label, []).append(float(score))
        except (TypeError, ValueError) as error:
            raise _reject(scores) from error
    given = [score for group in values.values() for score in group]
    answer = np.zeros(len(names))
    # Probabilities are never negative. A label with probability 1 has a log-probability of 0.
    are_logs = bool(given) and max([*given, *others.values()]) <= 0
    if others and not are_logs:
        raise HfBatError(
            f"the model's function scored the label {next(iter(others))!r}; labels: {', '.join(names)}"
        )
    if are_logs:
        top = max(given)
        for label, group in values.items():
            answer[label] = math.fsum(math.exp(score - top) for score in group)
        # The rest of the probability belongs to tokens that are not labels.
        return answer / answer.sum()
    for label, group in values.items():
        answer[label] = math.fsum(group)
    return answer


def find_label_word(text: str, names: Sequence[str]) -> int | None:
    """Return the label that a text names, or `None` if it does not name exactly one label.

    The text may be the name of the label (ignoring case, `-`, `_` and spaces), its number, such as "1" or
    "LABEL_1", or a sentence that contains the name. `None` is also returned if there is a "not" before the
    label.

    Example:
        >>> names = ("negative", "positive")
        >>> [find_label_word(text, names) for text in ("Positive.", "It is not positive", "I can't help")]
        [1, None, None]
    """
    label = find_class(text.strip().strip(".!\"'`*"), names, "the model's answer")
    if label is not None:
        return label
    rest, found = text.casefold(), set()
    # Search longer names first, because "not equivalent" contains "equivalent".
    for number in sorted(range(len(names)), key=lambda i: -len(names[i])):
        words = [re.escape(word) for word in re.split(r"[\s_-]+", names[number].casefold().strip())]
        pattern = re.compile(rf"(?<!\w){'[-_ ]+'.join(words)}(?!\w)")
        for match in pattern.finditer(rest):
            if _NEGATIONS.search(rest[: match.start()]):
                return None
            found.add(number)
        rest = pattern.sub(lambda match: "\0" * len(match[0]), rest)
    return found.pop() if len(found) == 1 else None
