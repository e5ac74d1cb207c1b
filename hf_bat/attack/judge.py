"""Judges: functions or inference models that decide whether an edit changes the label."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from hashlib import blake2b
from operator import eq
from typing import Any, NamedTuple

import numpy as np

from hf_bat.attack.answers import find_answered
from hf_bat.attack.engine import Classifier
from hf_bat.attack.models import as_classifier
from hf_bat.errors import HfBatError
from hf_bat.files import shorten_source
from hf_bat.labels import find_name, list_label_names
from hf_bat.perturbations.base import Edit, Texts
from hf_bat.perturbations.validity import JudgedEdits, LabelValidity
from hf_bat.stats import Share
from hf_bat.text import name_function, remove_marks

_INFERENCE = ("entailment", "neutral", "contradiction")


class Question(NamedTuple):
    """The texts before and after an edit, and the name of the original label if it is known."""

    before: Texts
    after: Texts
    label: str | None


Judge = Callable[[list[Question]], Sequence[Any]]
# Maximum number of answers that a filter caches. They take about 300 MB.
_MAX_KNOWN = 2_000_000


class JudgedValidity(LabelValidity):
    """A label filter that uses a judge instead of the rule. Each question is only asked once.

    Args:
        judge: Function that takes a list of `Question` and returns whether each edit changes the label. It
            can be an `InferenceJudge`, or a function that asks people or a language model.
        name: Name in reports. Defaults to the name of the judge.

    Example:
        >>> from hf_bat.perturbations import AntonymPerturbation
        >>> validity = JudgedValidity(lambda questions: ["cold" in q.after[0] for q in questions], "cold")
        >>> texts = ("A hot big dog.",)
        >>> edits = AntonymPerturbation({"hot": ("cold",), "big": ("small",)}).candidates(texts)
        >>> validity.passing(texts, edits)
        [True, False]
    """

    asks_judge = True

    def __init__(self, judge: Judge, name: str | None = None):
        super().__init__()
        self.judge = judge
        # Use a hash of the question as the key, because the texts of all edits of a data set take gigabytes.
        self._known: dict[bytes, bool] = {}
        self.name = name or name_function(judge)

    def passing(self, texts: Texts, edits: Sequence[Edit], label: str | None = None) -> list[bool]:
        return self._ask([Question(texts, edit.texts, label) for edit in edits])

    def changes_label_of(self, texts: Texts, perturbed: Texts, label: str | None = None) -> bool:
        return self._ask([Question(texts, perturbed, label)])[0]

    def judge_by_rule(
        self, texts: Texts, edits: Sequence[Edit], label: str | None = None
    ) -> list[bool]:
        """Return the results of `LabelValidity` for the same edits."""
        return super().passing(texts, edits, label)

    def prepare(self, items: Sequence[JudgedEdits]) -> None:
        self._ask([Question(texts, e.texts, label) for texts, edits, label in items for e in edits])

    def measure_agreement(self, items: Sequence[JudgedEdits], is_inference: bool) -> Share:
        """Return the share of edits for which the judge agrees with the rule.

        Args:
            items: The edits.
            is_inference: Whether the labels belong to an inference task. If so, the rule uses them.
        """
        self.prepare(items)
        agreed = 0
        for texts, edits, label in items:
            by_rule = self.judge_by_rule(texts, edits, label if is_inference else None)
            agreed += sum(map(eq, self.passing(texts, edits, label), by_rule))
        return Share(agreed, sum(len(edits) for _, edits, _ in items))

    def _ask(self, questions: list[Question]) -> list[bool]:
        # Remove the splitter's marks, because the judge must not see them.
        plain = [
            Question(tuple(map(remove_marks, before)), tuple(map(remove_marks, after)), label)
            for before, after, label in questions
        ]
        keys = [blake2b(json.dumps(q).encode(), digest_size=16).digest() for q in plain]
        answers = {key: self._known[key] for key in keys if key in self._known}
        asked = {key: q for key, q in zip(keys, plain, strict=True) if key not in answers}
        if asked:
            given = list(self.judge(list(asked.values())))
            for answer in given:
                if answer not in (0, 1):
                    raise HfBatError(
                        f"the judge {self.name} answered {answer!r:.80}; return True or False for each "
                        "question"
                    )
            if len(given) != len(asked):
                raise HfBatError(
                    f"the judge {self.name} gave {len(given)} answers to {len(asked)} questions; return one "
                    "for each"
                )
            if len(self._known) > _MAX_KNOWN:
                self._known.clear()
            new = dict(zip(asked, map(bool, given), strict=True))
            self._known |= new
            answers |= new
        return [answers[key] for key in keys]

    def describe(self) -> dict[str, object]:
        return {"filter": "judge", "judge": self.name}


class InferenceJudge:
    """Judges edits with a natural language inference model.

    In an inference task, the label changes if the model does not predict the gold label for the edited pair.
    In other tasks, it changes if the model predicts that an edited sentence contradicts the original
    sentence. If the model abstains, the label is assumed to be unchanged.

    Args:
        model: A classifier with the labels "entailment" and "contradiction". It can be a path, a Hub id, a
            model, or a function, like for `Attack`.
        tokenizer: The model's tokenizer. If `None`, it is loaded from the model's path.
        batch_size: Number of pairs in a forward pass. Defaults to 32.
        device: Device of the model. If `None`, the model is not moved, and a path is loaded on the first GPU.

    Raises:
        HfBatError: If the model cannot be loaded or lacks a required label.

    Example:
        >>> from hf_bat.attack import CallableModel
        >>> def contradict(pairs):
        ...     return ["contradiction" if "cold" in after else "entailment" for _, after in pairs]
        >>> judge = InferenceJudge(CallableModel(contradict, labels=["entailment", "contradiction"]))
        >>> judge([Question(("A hot day.",), ("A cold day.",), "good")])
        [True]
    """

    def __init__(self, model: Any, tokenizer: Any = None, batch_size: int = 32, device: Any = None):
        self.model: Classifier = as_classifier(model, tokenizer, device=device)
        self.batch_size = batch_size
        if self.model.config is None:
            raise HfBatError("a judge needs label names: use CallableModel(function, labels=[...])")
        self._names = list_label_names(self.model.config)
        for name in ("entailment", "contradiction"):
            if find_name(name, self._names, "the judge") is None:
                raise HfBatError(
                    f"{self.model.name} is not an inference model: it has no label {name!r} "
                    f"({', '.join(self._names)})"
                )
        # Shorten the name, because it is saved with models that may be published.
        self.name = f"{shorten_source(self.model.name)} ({self.model.identity[:12]})"

    def __call__(self, questions: Sequence[Question]) -> list[bool]:
        """Return whether each edit changes the label."""
        asked: list[
            tuple[int, Texts, str]
        ] = []  # question, pair, and the label that indicates no change
        for number, (before, after, label) in enumerate(questions):
            gold = find_name(label or "", _INFERENCE, "the gold label")
            if len(after) == 2 and gold is not None:
                asked.append((number, after, _INFERENCE[gold]))
                continue
            pairs = zip(before, after, strict=True)
            asked += [(number, (old, new), "") for old, new in pairs if old != new]
        answers = self._predict([pair for _, pair, _ in asked])
        changed = [False] * len(questions)
        for (number, _, gold_name), answer in zip(asked, answers, strict=True):
            if answer is not None:
                changed[number] |= answer != gold_name if gold_name else answer == "contradiction"
        return changed

    def _predict(self, pairs: list[Texts]) -> list[str | None]:
        """Return the label of each pair, or `None` if the model abstains."""
        if not pairs:
            return []
        with self.model.session():
            keys = self.model.keys(pairs)
            parts = [
                self.model.probabilities(keys[first : first + self.batch_size])
                for first in range(0, len(keys), self.batch_size)
            ]
        answers = np.concatenate(parts)
        names = [self._fold(self._names[label]) for label in answers.argmax(axis=1)]
        answered = find_answered(answers)
        return [name if is_known else None for name, is_known in zip(names, answered, strict=True)]

    def _fold(self, name: str) -> str:
        position = find_name(name, _INFERENCE, "the judge")
        return name if position is None else _INFERENCE[position]


def as_validity(label_filter: Any, device: Any = None) -> LabelValidity:
    """Convert a user's option (`True`, a filter, an inference model, or a function) to a label filter.

    `device` is the device for a model that is loaded here. It defaults to the first GPU.
    """
    if label_filter is True:
        return LabelValidity()
    if isinstance(label_filter, LabelValidity):
        return label_filter
    is_model = isinstance(label_filter, (str, Classifier)) or hasattr(label_filter, "config")
    if not is_model and not callable(label_filter):
        raise HfBatError(
            f"a label judge must be an inference model or a function; got {type(label_filter).__name__}"
        )
    return JudgedValidity(InferenceJudge(label_filter, device=device) if is_model else label_filter)
