"""Attack many rows at once and batch their requests to the model.

A search is a generator. It yields a request and receives the answer through `send`. The engine runs the
searches of many rows, collects their requests, and queries the model in full batches of inputs with similar
length. Inputs that look the same to the model are only queried once. A row's answers only depend on
its own requests. The batch size, the order and the other rows do not change the results, except for
floating-point rounding.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from hf_bat.attack.answer_log import AnswerLog
from hf_bat.attack.ranks import gather
from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Perturbation, Texts
from hf_bat.text import remove_marks

Result = TypeVar("Result")
BATCH_SIZES = {"cpu": 32, "cuda": 256}
# Batches of long inputs are smaller: they have at most batch_size times this many tokens.
_TYPICAL_LENGTH = 128
# Maximum number of characters in the requests of all rows in flight. Above it, no further row scores its
# edits.
_MAX_HELD = 1 << 25
_UNLIMITED = 1_000_000


@dataclass(frozen=True, slots=True)
class Score:
    """A request for the model's probabilities for n inputs.

    The answer is a float64 array with shape (n, labels). It has fewer rows if the query budget runs out. If
    `keep` is set, the answer is cached for other attacks on the same rows.
    """

    inputs: list[Texts]
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Saliency:
    """A request for the importance of each word, as the gradient of the label's loss at its embeddings.

    The answer has one list per sentence, with one float per whitespace token. It is `None` if the query
    budget is used up.
    """

    texts: Texts
    label: int


@dataclass(frozen=True, slots=True)
class Embed:
    """A request for sentence embeddings from a `SentenceEncoder`. The answer is (n, d) unit vectors."""

    encoder: Any
    strings: list[str]


@dataclass(frozen=True, slots=True)
class Propose:
    """A request to prepare a perturbation with `asks_model` for one input. The answer is `None`."""

    perturbation: Perturbation
    texts: Texts


Request = Score | Saliency | Embed | Propose


class Classifier(ABC):
    """A model that an attack can query; see `hf_bat.attack.models`.

    Attributes:
        config: A transformers configuration, or `None`.
        unk: Text that the model treats as an unknown word.
        name: Name in reports.
        max_length: Maximum input length in tokens, or `None` if it is unlimited or unknown.
        preprocessing_defence: Description of the text preprocessing before the model, or `None`.
        in_flight: Number of rows to attack at once if the model makes its own batches. All requests of
            these rows are then sent in one batch. If `None` (default), the engine chooses both.
    """

    config: Any = None
    unk: str = "[UNK]"
    name: str = "model"
    max_length: int | None = None
    preprocessing_defence: dict[str, Any] | None = None
    in_flight: int | None = None

    @abstractmethod
    def keys(self, inputs: Sequence[Texts]) -> list[Hashable]:
        """Return the part of each input that the model uses. Inputs with equal keys cost one query."""

    @abstractmethod
    def length(self, key: Any) -> int:
        """Return the cost of the input. Inputs of similar length are batched together."""

    @abstractmethod
    def probabilities(self, keys: Sequence[Any]) -> np.ndarray:
        """Return (n, labels) float64 probabilities for n keys, in one forward pass.

        See `hf_bat.attack.answers` for inputs with an abstention or a failed query.
        """

    @property
    @abstractmethod
    def identity(self) -> str:
        """A hash that differs between models and between settings of one model."""

    def name_labels(self, names: Sequence[str]) -> None:  # noqa: B027 (optional to override)
        """Set the label names of the data if the model lacks label names."""

    def about(self) -> dict[str, Any]:
        """Return facts about the model for reports, except its name, in a JSON-serializable form."""
        return {}

    def disclosed(self) -> dict[str, Any]:
        """Return the values that every report must disclose: `preprocessing_defence` and `smoothed`.

        Values that do not apply are left out.
        """
        values = {
            "preprocessing_defence": self.preprocessing_defence,
            "smoothed": self.about().get("smoothed"),
        }
        return {name: value for name, value in values.items() if value is not None}

    def visible(self, inputs: Sequence[Texts]) -> list[tuple[range, ...]]:
        """Return the indices of the whitespace tokens that the model sees, per input and sentence."""
        return [tuple(range(len(text.split())) for text in texts) for texts in inputs]

    def saliency(self, asked: Sequence[tuple[Texts, int]]) -> list[list[list[float]]]:
        """Return the size of the gradient at each whitespace token.

        Args:
            asked: (input, label) pairs.
        """
        raise HfBatError(
            "the gradient ranking needs a transformers model; use the ranking deletion, unk or random "
            "for a callable"
        )

    @contextmanager
    def session(self) -> Iterator[None]:
        """Set up the model for queries and undo it at the end."""
        yield


@dataclass
class Meter:
    """The cost of the run."""

    queries: int = 0  # unique inputs per row
    # Number of inputs that the model processed. An input is counted once if several rows in flight request
    # it, and not at all if its answer is known from another attack.
    forwards: int = 0
    padded_tokens: int = 0  # tokens that the model processed, including padding
    seconds_model: float = 0.0
    seconds_encoder: float = 0.0  # in sentence encoders
    seconds: float = 0.0  # in total

    def sum_over_ranks(self) -> dict[str, float]:
        """Return the cost of a distributed run: the sums of the counts and the maximum of each time.

        All ranks must call this method, because each rank waits for the others.
        """
        meters = gather([vars(self)])
        return {
            name: round((max if name.startswith("seconds") else sum)(m[name] for m in meters), 4)
            for name in vars(self)
        }


@dataclass
class Counter:
    """The number of queries for the row so far. The row's search can read it."""

    queries: int = 0


@dataclass
class _Row(Generic[Result]):
    """A row in flight, with its search, its current request, and its answers so far."""

    search: Generator[Request, Any, Result]
    counter: Counter
    budget: int | None
    request: Any = None  # `None` while the row waits for other rows to finish
    answer: Any = None
    steps: int = 0  # number of requests so far
    size: int = 0  # largest number of characters in a request
    # Answers are stored by text, to skip the tokenizer, and by key, because several texts can have one key.
    answers: dict[Texts, np.ndarray] = field(default_factory=dict)
    answers_by_key: dict[Hashable, np.ndarray] = field(default_factory=dict)

    @property
    def has_budget(self) -> bool:
        return self.budget is None or self.counter.queries < self.budget


class Engine:
    """Runs searches against a model.

    Args:
        model: The model.
        batch_size: Maximum number of inputs in a forward pass. Batches are smaller if the inputs are longer
            than 128 tokens. Defaults to 32 on a CPU and 256 on a GPU.
        in_flight: Number of rows attacked at once. Defaults to eight batches, but at least 256 rows.
        known: Cached answers by the model's key, shared by the engines of one model. Requests are answered
            from this cache if possible. The answers to requests with `keep` are added to it.

    Attributes:
        log: An `AnswerLog` that stores the answers during the search, or `None` without a rows file.
    """

    log: AnswerLog | None = None

    def __init__(
        self,
        model: Classifier,
        batch_size: int | None = None,
        in_flight: int | None = None,
        known: dict[Hashable, np.ndarray] | None = None,
    ):
        if batch_size is not None and batch_size < 1:
            raise HfBatError(f"batch_size must be at least 1; got {batch_size}")
        device = getattr(model, "device", None)
        self.model = model
        self.batch_size = batch_size or BATCH_SIZES.get(getattr(device, "type", "cpu"), 32)
        own_in_flight = getattr(model, "in_flight", None)
        if own_in_flight is not None:
            self.batch_size = _UNLIMITED
        self.in_flight = in_flight or own_in_flight or max(256, 8 * self.batch_size)
        self.known = {} if known is None else known
        self.meter = Meter()

    def run(
        self,
        searches: Iterable[tuple[Callable[[Counter], Generator[Request, Any, Result]], int | None]],
    ) -> Iterator[list[Result]]:
        """Run all searches until they end.

        Args:
            searches: Pairs of a function that starts a search and the query budget of the search. A budget
                of `None` is unlimited.

        Yields:
            Lists of results from searches that have ended, in no fixed order.
        """
        begun = time.perf_counter()
        waiting = iter(searches)
        rows: list[_Row[Result]] = []
        with self.model.session():
            while True:
                ended: list[Result] = []
                rows = self._advance_all(rows, ended)
                # Start new rows before the other rows are answered. This keeps the batches full.
                while len(rows) < self.in_flight and (entry := next(waiting, None)) is not None:
                    counter = Counter()
                    row = _Row(entry[0](counter), counter, entry[1])
                    if self._advance(row, ended):
                        rows.append(row)
                if ended:
                    yield ended
                if not rows:
                    break
                self._answer(rows)
        self.meter.seconds = time.perf_counter() - begun

    def _advance_all(self, rows: Sequence[_Row[Result]], ended: list[Result]) -> list[_Row[Result]]:
        """Send the answers to the searches and return the rows that continue.

        The results of the other rows are added to `ended`.
        """
        held, remaining, is_moving = sum(row.size for row in rows), [], False
        for row in rows:
            if held > _MAX_HELD and row.steps == 1 and is_moving:
                # Scoring all edits of a long text needs much memory, so finish the rows in progress first.
                row.request = None
                remaining.append(row)
                continue
            held -= row.size
            is_moving = True
            if self._advance(row, ended):
                held += row.size
                remaining.append(row)
        return remaining

    @staticmethod
    def _advance(row: _Row[Result], ended: list[Result]) -> bool:
        """Send the answer to a search. If the search ends, add its result to `ended` and return `False`."""
        try:
            row.request = row.search.send(row.answer)
            row.steps += 1
            if isinstance(row.request, Score):
                size = sum(len(text) for texts in row.request.inputs for text in texts)
                row.size = max(row.size, size)
            return True
        except StopIteration as end:
            ended.append(end.value)
            return False

    def _answer(self, rows: Sequence[_Row[Result]]) -> None:
        for request_type, answer in (
            (Score, self._score),
            (Saliency, self._compute_saliency),
            (Embed, self._embed),
            (Propose, self._propose),
        ):
            asking = [row for row in rows if isinstance(row.request, request_type)]
            if asking:
                answer(asking)

    def _score(self, rows: Sequence[_Row[Result]]) -> None:
        unknown: dict[Texts, Hashable] = {}
        for row in rows:
            for texts in row.request.inputs:
                if texts not in row.answers:
                    unknown[texts] = None
        if unknown:
            # Remove the splitter's marks, because the model must not see them.
            plain = [tuple(map(remove_marks, texts)) for texts in unknown]
            unknown = dict(zip(unknown, self.model.keys(plain), strict=True))
        pool: dict[Hashable, Any] = {}
        # Charge all rows before querying the model, and charge each row for shared inputs. A row's cost
        # must not depend on other rows.
        for row in rows:
            self._charge(row, unknown, pool)
        self._forward(pool)
        for row in rows:
            if row.request.keep:
                asked = [unknown[texts] for texts in row.request.inputs]
                # Do not cache failed queries, so that other attacks can retry them.
                self.known.update((k, pool[k]) for k in asked if not np.isnan(pool[k]).any())
            row.answer = self._collect(row, unknown, pool)

    def _charge(self, row: _Row[Result], unknown: dict[Texts, Hashable], pool: dict) -> None:
        """Add the row's new queries to the pool, and shorten its request if the budget runs out."""
        inputs = row.request.inputs
        asked: set[Hashable] = set()
        for number, texts in enumerate(inputs):
            if texts in row.answers:
                continue
            key = unknown[texts]
            if key in row.answers_by_key or key in asked:
                continue
            if not row.has_budget:
                # The shorter answer tells the search that its budget is used up.
                row.request = Score(inputs[:number])
                break
            row.counter.queries += 1
            self.meter.queries += 1
            asked.add(key)
            pool[key] = self.known.get(key)

    @staticmethod
    def _collect(row: _Row[Result], unknown: dict[Texts, Hashable], pool: dict) -> np.ndarray:
        collected = []
        for texts in row.request.inputs:
            if texts not in row.answers:
                key = unknown[texts]
                if key not in row.answers_by_key:
                    row.answers_by_key[key] = pool[key]
                row.answers[texts] = row.answers_by_key[key]
            collected.append(row.answers[texts])
        if collected:
            return np.stack(collected)
        # The number of labels is unknown if the budget runs out before the first answer.
        labels = next((len(answer) for answer in row.answers.values()), 2)
        return np.zeros((0, labels))

    def _forward(self, pool: dict[Hashable, np.ndarray | None]) -> None:
        begun = time.perf_counter()
        if self.log is not None:
            pool.update((k, self.log.find(k)) for k, answer in pool.items() if answer is None)
        keys = [key for key, answer in pool.items() if answer is None]
        # Start with the longest inputs, so running out of memory shows up in the first batch.
        for batch in self._split_into_batches(sorted(keys, key=self.model.length, reverse=True)):
            answers = self.model.probabilities(batch)
            if self.log is not None:
                self.log.add(batch, answers)
            pool.update(zip(batch, answers, strict=True))
            self.meter.padded_tokens += len(batch) * self.model.length(batch[0])
        self.meter.forwards += len(keys)
        self.meter.seconds_model += time.perf_counter() - begun

    def _split_into_batches(self, keys: list[Hashable]) -> Iterator[list[Hashable]]:
        first = 0
        while first < len(keys):
            longest = max(1, self.model.length(keys[first]))
            size = max(1, min(self.batch_size, self.batch_size * _TYPICAL_LENGTH // longest))
            last = min(first + size, len(keys))
            # End a batch that is at least half full when the inputs get shorter, because padding costs more.
            for at in range(first + max(1, size // 2), last):
                if self.model.length(keys[at]) < self.model.length(keys[at - 1]):
                    last = at
                    break
            yield keys[first:last]
            first = last

    def _compute_saliency(self, rows: Sequence[_Row[Result]]) -> None:
        for row in rows:
            row.answer = None
        rows = [row for row in rows if row.has_budget]
        # Gradients are not shared or cached, because each row only requests them once.
        for first in range(0, len(rows), self.batch_size):
            batch = rows[first : first + self.batch_size]
            begun = time.perf_counter()
            answers = self.model.saliency([(row.request.texts, row.request.label) for row in batch])
            self.meter.seconds_model += time.perf_counter() - begun
            self.meter.forwards += len(batch)
            self.meter.queries += len(batch)
            for row, answer in zip(batch, answers, strict=True):
                row.counter.queries += 1
                row.answer = answer

    def _embed(self, rows: Sequence[_Row[Result]]) -> None:
        for asking in _group(rows, lambda request: request.encoder):
            strings = list(dict.fromkeys(s for row in asking for s in row.request.strings))
            begun = time.perf_counter()
            vectors = asking[0].request.encoder.encode(list(map(remove_marks, strings)))
            self.meter.seconds_encoder += time.perf_counter() - begun
            by_string = dict(zip(strings, vectors, strict=True))
            for row in asking:
                row.answer = np.stack([by_string[string] for string in row.request.strings])

    @staticmethod
    def _propose(rows: Sequence[_Row[Result]]) -> None:
        for asking in _group(rows, lambda request: request.perturbation):
            asking[0].request.perturbation.prepare([row.request.texts for row in asking])
            for row in asking:
                row.answer = None


def _group(
    rows: Sequence[_Row[Result]], key: Callable[[Any], object]
) -> Iterable[list[_Row[Result]]]:
    """Group rows with requests to the same object."""
    groups: dict[int, list[_Row[Result]]] = {}
    for row in rows:
        # Group by `id`, because a user's perturbation may not be hashable.
        groups.setdefault(id(key(row.request)), []).append(row)
    return groups.values()
