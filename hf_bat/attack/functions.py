"""`CallableModel`: any function from inputs to answers, local or remote, as a model that can be attacked."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hf_bat.attack.answers import make_abstention, make_failure, read_answer
from hf_bat.attack.engine import Classifier
from hf_bat.attack.remote import AnswerCache, RemoteFunction
from hf_bat.errors import HfBatError
from hf_bat.labels import find_name
from hf_bat.perturbations.base import Texts


class LabelNames:
    """The part of a transformers configuration that names labels, for models that have none.

    Args:
        names: Label names in the order of the model's outputs.
    """

    problem_type = None

    def __init__(self, names: Sequence[str]):
        self.id2label = {number: str(name) for number, name in enumerate(names)}
        self.num_labels = len(self.id2label)


class CallableModel(Classifier):
    """Any function from inputs to answers, such as one that asks an HTTP endpoint or a language model.

    The function takes a list of inputs, each a tuple of two texts or, for tasks with one text, a string. It
    returns an array of probabilities, (n, labels), or a list with one answer for each input:

    - probabilities of the labels in their order,
    - a mapping of label names to probabilities or log-probabilities (a pipeline's lists of
      `{"label": ..., "score": ...}` too),
    - a text that names one label, such as `"Entailment."`, or the number of a label,
    - `None`, or a text that names no label or several: the model abstained.

    With any of the options from `concurrency` on, or if the function is async, it is *remote*: it is called
    with `inputs_per_call` inputs, several calls are under way at once, and calls that fail with 429, 5xx, a
    timeout or a broken connection are tried again after a growing delay. A question that fails for good has
    no answer, and its row is skipped as "no answer"; it is attacked again when the run is resumed. Rows and
    edits on which the model abstains are counted by themselves.

    Args:
        function: The function, sync or async. A call with one input may return its answer without a list.
        name: Name in reports. A rows file or a cache can only be resumed by a model of the same name.
            Defaults to the function's name.
        labels: Names of the labels in the order of the probabilities. Defaults to the task's.
        concurrency: Number of calls under way at once. Defaults to 8 if the function is remote.
        retries: How often a failed call is tried again. Defaults to 5 if the function is remote.
        timeout: Seconds that a call may take. Defaults to any time.
        cache: A JSON-lines file. Each answer is written to it when it arrives, and no question whose answer
            it holds is asked again.
        max_queries: Number of inputs that may be asked, not counting answers from the cache. Rows that need
            more have "no answer". Defaults to any number.
        on_refusal: What an abstention counts as: "abstain" (default), "error" to stop, or the name of a
            label.
        inputs_per_call: Number of inputs in a call of a remote function. Defaults to 1.

    Raises:
        HfBatError: An option is out of range, or the cache is not one.

    Example:
        >>> model = CallableModel(lambda pairs: [[0.9, 0.1] for _ in pairs], name="constant")
        >>> model.probabilities([("A dog.", "A cat.")]).tolist()
        [[0.9, 0.1]]
        >>> async def ask(inputs):
        ...     return "no" if "cat" in inputs[0][1] else "I would rather not say."
        >>> model = CallableModel(ask, labels=["yes", "no"])
        >>> model.probabilities([("A dog.", "A cat."), ("A dog.", "A bomb.")]).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """

    def __init__(
        self,
        function: Callable[[list[Any]], Any],
        name: str | None = None,
        *,
        labels: Sequence[str] | None = None,
        concurrency: int | None = None,
        retries: int | None = None,
        timeout: float | None = None,
        cache: str | Path | None = None,
        max_queries: int | None = None,
        on_refusal: str = "abstain",
        inputs_per_call: int | None = None,
    ):
        self.function = function
        self.name = name or str(getattr(function, "__qualname__", type(function).__qualname__))
        self.config = None if labels is None else LabelNames(labels)
        self._names: tuple[str, ...] = tuple(map(str, labels or ()))
        self._width: int | None = None  # number of labels in the function's probabilities
        self.on_refusal = on_refusal
        if labels is not None:
            self.name_labels(self._names)
        options = (concurrency, retries, timeout, cache, max_queries, inputs_per_call)
        self._cache = None if cache is None else AnswerCache(cache, self.name)
        self._remote: RemoteFunction | None = None
        if _is_async(function) or any(option is not None for option in options):
            self._remote = RemoteFunction(
                function,
                8 if concurrency is None else concurrency,
                5 if retries is None else retries,
                timeout,
                max_queries,
                1 if inputs_per_call is None else inputs_per_call,
            )
            # Few rows at once, so that rows end, and are written, while others wait.
            self.in_flight = 2 * self._remote.concurrency * self._remote.inputs_per_call
        self._counts = {"from_cache": 0, "abstained": 0}

    def name_labels(self, names: Sequence[str]) -> None:
        if self.config is None:
            self._names = tuple(names)
        if self.on_refusal in ("abstain", "error") or not self._names:
            return
        if find_name(self.on_refusal, self._names, "on_refusal") is None:
            raise HfBatError(
                f"unknown on_refusal {self.on_refusal!r}; known: abstain, error, {', '.join(self._names)}"
            )

    def keys(self, inputs: Sequence[Texts]) -> list[Hashable]:
        return list(inputs)

    def length(self, key: Any) -> int:
        # A remote function's calls all go out together, whatever their length.
        return 1 if self._remote is not None else sum(len(text.split()) for text in key)

    def probabilities(self, keys: Sequence[Any]) -> np.ndarray:
        if self._remote is not None:
            return self._read_answers(self._ask(self._remote, keys), keys)
        try:
            answers = self.function([_unwrap(texts) for texts in keys])
        except (TypeError, ValueError) as error:
            raise HfBatError(f"the model's function failed: {error}") from error
        if inspect.isawaitable(answers):
            if inspect.iscoroutine(answers):
                answers.close()
            raise HfBatError(
                "the model's function gives a coroutine: define it with `async def`, or give concurrency="
            )
        if isinstance(answers, (list, tuple)) and not all(map(_is_numbers, answers)):
            if len(answers) != len(keys):
                raise HfBatError(
                    f"the model's function gave {len(answers)} answers for {len(keys)} inputs; return one "
                    "for each"
                )
            return self._read_answers(dict(enumerate(answers)), keys)
        try:
            array = np.asarray(answers, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise HfBatError(f"the model's function failed: {error}") from error
        return check_probabilities(array, keys)

    def _ask(self, remote: RemoteFunction, keys: Sequence[Texts]) -> dict[int, Any]:
        """Return the answers by the number of their input; a question that failed has none."""
        cache = self._cache
        known = {i: cache[key] for i, key in enumerate(keys) if cache is not None and key in cache}
        self._counts["from_cache"] += len(known)
        numbers = [i for i in range(len(keys)) if i not in known]

        def keep(place: int, answer: Any) -> None:
            known[numbers[place]] = answer
            if cache is not None:
                cache.keep(keys[numbers[place]], answer)

        if numbers:
            remote.ask([_unwrap(keys[i]) for i in numbers], keep)
        return known

    def _read_answers(self, answers: Mapping[int, Any], keys: Sequence[Texts]) -> np.ndarray:
        rows: dict[int, np.ndarray] = {}
        for number, answer in answers.items():
            row = read_answer(answer, self._names)
            if row is not None:
                rows[number] = check_probabilities(row[None], [keys[number]])[0]
                continue
            self._counts["abstained"] += 1
            if self.on_refusal == "error":
                raise HfBatError(
                    f"the model abstained ({answer!r:.80}) on the input {keys[number]!r:.200}"
                )
        widths = {len(row) for row in rows.values()}
        if self._width is not None:
            widths.add(self._width)
        if len(widths) > 1:
            raise HfBatError(
                f"the model's function gave {' and '.join(map(str, sorted(widths)))} probabilities; expected "
                "one for each label"
            )
        self._width = next(iter(widths), self._width)
        labels = self._width or len(self._names)
        if len(rows) < len(keys) and not labels:
            raise HfBatError(
                "the model abstained or failed before its number of labels is known: give them, as "
                "CallableModel(function, labels=[...]) or as the task's label names"
            )
        missing = self._make_missing(labels)
        return np.stack([
            rows[i] if i in rows else missing if i in answers else make_failure(labels)
            for i in range(len(keys))
        ])  # fmt: skip

    def _make_missing(self, labels: int) -> np.ndarray:
        """Return the answer to which `on_refusal` turns an abstention."""
        answer = make_abstention(labels)
        label = find_name(self.on_refusal, self._names, "on_refusal")
        if label is not None:
            answer[label] = 1.0
        return answer

    def about(self) -> dict[str, Any]:
        if self._remote is None:
            return {}
        calls: dict[str, Any] = {**self._remote.counts, **self._counts}
        if self._remote.is_exhausted:
            calls["max_queries"] = self._remote.max_queries
        return {"calls": calls}

    @property
    def identity(self) -> str:
        setting = [f"callable {self.name}"]
        # Only if they are not the defaults, so that the hash of other models stays the same.
        if self.config is not None:
            setting.append(json.dumps(self._names))
        if self.on_refusal != "abstain":
            setting.append(self.on_refusal)
        return hashlib.sha256(" ".join(setting).encode()).hexdigest()


def _unwrap(texts: Texts) -> Any:
    return texts if len(texts) > 1 else texts[0]


def _is_async(function: Any) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004 (of an object, to look at it)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _is_numbers(answer: Any) -> bool:
    """Return whether an answer is an array or a list of numbers, not one of the other kinds."""
    if isinstance(answer, (str, Mapping, int, type(None))):
        return False
    return not (isinstance(answer, (list, tuple)) and any(isinstance(v, Mapping) for v in answer))


def check_probabilities(answers: np.ndarray, inputs: Sequence[Any]) -> np.ndarray:
    """Check that a model gave one distribution (sum 1 within 0.001) for each input, and return them."""
    if answers.ndim != 2 or len(answers) != len(inputs) or answers.shape[1] < 2:
        raise HfBatError(
            f"the model gave an array of shape {answers.shape} for {len(inputs)} inputs; "
            f"expected ({len(inputs)}, labels) probabilities of two labels or more"
        )
    finite = np.isfinite(answers).all(axis=1)
    if not finite.all():
        text = inputs[int(np.argmin(finite))]
        raise HfBatError(f"the model gave NaN or infinity for the input {text!r:.200}")
    # Functions that compute in float32 or round miss 1 by a little.
    wrong = np.abs(answers.sum(axis=1) - 1) > 1e-3
    wrong |= (answers < -1e-6).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise HfBatError(
            f"the model gave {np.round(answers[row], 4).tolist()} for the input {inputs[row]!r:.200}; "
            "expected probabilities of all labels (0..1, sum 1): apply a softmax to logits"
        )
    return answers
