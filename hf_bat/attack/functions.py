"""`CallableModel`, which wraps a local or remote function as a model that can be attacked."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hf_bat.attack.answers import make_abstention, make_failure, name_columns, read_answer
from hf_bat.attack.digest import hash_object
from hf_bat.attack.engine import Classifier
from hf_bat.attack.remote import AnswerCache, RemoteFunction, explain_failure
from hf_bat.errors import HfBatError
from hf_bat.labels import LabelNames, find_name
from hf_bat.perturbations.base import Texts


class CallableModel(Classifier):
    """A model defined by a function, such as a function that calls an HTTP endpoint or a language model.

    The function takes a list of inputs. Each input is a tuple of two texts, or a string for tasks with one
    text. The function returns a (n, labels) array of probabilities, or a list with one answer per input:

    - probabilities in the order of the labels, or a data frame with the label names as columns,
    - a mapping from label names to probabilities or log-probabilities, or a list of
      `{"label": ..., "score": ...}` as returned by a pipeline,
    - a text that names one label, such as `"Entailment."`, or the label's number,
    - `None`, or a text that does not name exactly one label, if the model abstained.

    The function is *remote* if it is async, or if `concurrency` or any of the options after it is set, except
    `on_refusal`. A remote function is called with `inputs_per_call` inputs. Several calls run in parallel.
    Calls that fail with 429, 5xx, a timeout or a broken connection are retried with increasing delays. If a
    query fails permanently, its row is skipped with "no answer" and attacked again when the run is resumed.
    Rows and edits with an abstention are counted separately.

    Args:
        function: The function, sync or async. A call with one input may return its answer without a list.
        name: Name in reports. It also identifies the model: a rows file or a cache can only be resumed by a
            model with the same name, so change the name when the model changes. Defaults to the function's
            name. A rows file then also requires the same code and the same values that the function uses.
        labels: Label names in the order of the probabilities. Defaults to the label names of the task.
        concurrency: Maximum number of parallel calls. Defaults to 8 if the function is remote.
        retries: Maximum number of retries for a failed call. Defaults to 5 if the function is remote.
        timeout: Maximum duration of a call in seconds. Unlimited by default.
        cache: A JSON Lines file. Each answer is written to it when it arrives. Queries with an answer in the
            cache are not repeated.
        max_queries: Maximum number of queried inputs, not counting answers from the cache. Rows that need
            more queries have "no answer". Unlimited by default.
        on_refusal: How to treat an abstention: "abstain" (default), "error" to stop, or the label
            to use as the answer.
        inputs_per_call: Number of inputs in each call of a remote function. Defaults to 1.

    Raises:
        HfBatError: If an option is out of range, or the file is not a valid cache.

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
        self._is_named = bool(name)
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
            # Attack few rows at once, so that finished rows are written while others wait.
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
        # All inputs of a remote function are sent together, regardless of their length.
        return 1 if self._remote is not None else sum(len(text.split()) for text in key)

    def probabilities(self, keys: Sequence[Any]) -> np.ndarray:
        if self._remote is not None:
            return self._read_answers(self._ask(self._remote, keys), keys)
        try:
            answers = _detach(name_columns(self.function([_unwrap(texts) for texts in keys])))
        except HfBatError:
            raise
        except (Exception, SystemExit) as error:
            raise explain_failure(error) from error
        if inspect.isawaitable(answers):
            if inspect.iscoroutine(answers):
                answers.close()
            raise HfBatError(
                "the model's function returned a coroutine: define it with `async def`, or set concurrency="
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
        except Exception as error:  # any object may be converted to an array
            raise explain_failure(error) from error
        return check_probabilities(array, keys, self._names)

    def _ask(self, remote: RemoteFunction, keys: Sequence[Texts]) -> dict[int, Any]:
        """Return the answers by the index of their input. Failed queries are missing."""
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
                rows[number] = check_probabilities(row[None], [keys[number]], self._names)[0]
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
                "one per label"
            )
        self._width = next(iter(widths), self._width)
        labels = self._width or len(self._names)
        if len(rows) < len(keys) and not labels:
            raise HfBatError(
                "the model abstained or failed before its number of labels was known: pass the labels with "
                "CallableModel(function, labels=[...]) or as the task's label names"
            )
        missing = self._make_missing(labels)
        return np.stack([
            rows[i] if i in rows else missing if i in answers else make_failure(labels)
            for i in range(len(keys))
        ])  # fmt: skip

    def _make_missing(self, labels: int) -> np.ndarray:
        """Return the answer that `on_refusal` specifies for an abstention."""
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

    @cached_property
    def _code(self) -> str:
        """A hash of the function, taken before the queries, which may change counters and caches in it."""
        return hash_object(self.function)

    @property
    def identity(self) -> str:
        setting = [f"callable {self.name}"]
        if not self._is_named:
            setting.append(self._code)
        # Only include values that are not the defaults, to keep the hashes of other models unchanged.
        if self.config is not None:
            setting.append(json.dumps(self._names))
        if self.on_refusal != "abstain":
            setting.append(self.on_refusal)
        return hashlib.sha256(" ".join(setting).encode()).hexdigest()


def _unwrap(texts: Texts) -> Any:
    return texts if len(texts) > 1 else texts[0]


def _detach(answers: Any) -> Any:
    """Return tensors as arrays, also if they require gradients or are inside a list."""
    if isinstance(answers, (list, tuple)):
        return [_detach(answer) for answer in answers]
    # NumPy has no bfloat16, and not every device supports float64.
    return answers.detach().cpu().double().numpy() if hasattr(answers, "detach") else answers


def _is_async(function: Any) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004 (inspects the method of an object)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _is_numbers(answer: Any) -> bool:
    """Return whether the answer is an array or a list of numbers, and not of another type."""
    if isinstance(answer, (str, Mapping, int, type(None))):
        return False
    return not (isinstance(answer, (list, tuple)) and any(isinstance(v, Mapping) for v in answer))


def check_probabilities(
    answers: np.ndarray, inputs: Sequence[Any], names: Sequence[str] = ()
) -> np.ndarray:
    """Check that a model returned one distribution (sum 1 within 0.001) per input, and return them.

    Each distribution must have one probability for each of the label names, if they are given.
    """
    if answers.ndim != 2 or len(answers) != len(inputs) or answers.shape[1] < 2:
        raise HfBatError(
            f"the model gave an array of shape {answers.shape} for {len(inputs)} inputs; "
            f"expected ({len(inputs)}, labels) probabilities with two or more labels"
        )
    if names and answers.shape[1] != len(names):
        raise HfBatError(
            f"the model gave {answers.shape[1]} probabilities for an input, but there are {len(names)} "
            f"labels ({', '.join(names)}); return one for each label, or give the task the model's labels"
        )
    finite = np.isfinite(answers).all(axis=1)
    if not finite.all():
        text = inputs[int(np.argmin(finite))]
        raise HfBatError(f"the model gave NaN or infinity for the input {text!r:.200}")
    # The sum can differ slightly from 1 if a function uses float32 or rounds its results.
    wrong = np.abs(answers.sum(axis=1) - 1) > 1e-3
    wrong |= (answers < -1e-6).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise HfBatError(
            f"the model gave {np.round(answers[row], 4).tolist()} for the input {inputs[row]!r:.200}; "
            "expected probabilities for all labels (0..1, sum 1): apply a softmax to logits"
        )
    return answers
