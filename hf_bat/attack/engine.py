"""The engine: many rows attacked at once, their queries to the model put together.

Every row's search runs until it asks for something. Then the questions of all rows in flight are
pooled, those that the model would read alike are asked once, sorted by length and answered in full
batches, and every search goes on. What a row is told depends on its own questions alone, so neither
batch size nor order nor company changes an outcome (up to the last bits of floating-point sums).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from hf_bat.attack.models import Classifier
from hf_bat.attack.ranks import gather
from hf_bat.attack.requests import Embed, Propose, Request, Saliency, Score
from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Texts

Result = TypeVar("Result")
BATCH_SIZES = {"cpu": 32, "cuda": 256}
# A batch of long inputs holds fewer of them: at most batch_size times so many tokens.
_TYPICAL_LENGTH = 128


@dataclass
class Meter:
    """What a run cost.

    Attributes:
        queries: what the rows asked for, repetitions within a row left out.
        forwards: inputs that went through the model; repetitions among rows in flight, and what
            another attack asked before, left out too.
        padded_tokens: tokens that went through it, padding included.
        seconds_model: time in the model.
        seconds_encoder: time in sentence encoders.
        seconds: time in all.
    """

    queries: int = 0
    forwards: int = 0
    padded_tokens: int = 0
    seconds_model: float = 0.0
    seconds_encoder: float = 0.0
    seconds: float = 0.0

    def of_all_ranks(self, world: int) -> dict[str, float]:
        """The cost of a distributed run: what the ranks asked for in sum, the longest of their times.

        Every rank must call this, for each waits for the others.

        Args:
            world: how many ranks there are.

        Returns:
            Figure -> value, the same on every rank.
        """
        meters = gather([vars(self)], None, world)
        return {
            name: round((max if name.startswith("seconds") else sum)(m[name] for m in meters), 4)
            for name in vars(self)
        }


@dataclass
class Counter:
    """A row's queries so far; the search's result reads it."""

    queries: int = 0


@dataclass
class _Row(Generic[Result]):
    search: Generator[Request, Any, Result]
    counter: Counter
    budget: int | None
    request: Request | None = None
    answers: dict[Texts, np.ndarray] = field(default_factory=dict)
    answers_by_key: dict[Hashable, np.ndarray] = field(default_factory=dict)


class Engine:
    """Runs searches against a model.

    Args:
        model: the model.
        batch_size: the most inputs in a forward pass (fewer where they are longer than 128 tokens);
            32 on a processor and 256 on a GPU where None.
        in_flight: how many rows are attacked at once; None for eight batches' worth, at least 256.
        known: answers by the model's key, which the engines of one model share: what a search asks to
            keep is put there and not asked again.
    """

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
        self.in_flight = in_flight or max(256, 8 * self.batch_size)
        self.known = {} if known is None else known
        self.meter = Meter()

    def run(
        self,
        searches: Iterable[tuple[Callable[[Counter], Generator[Request, Any, Result]], int | None]],
    ) -> Iterator[list[Result]]:
        """Run searches to their ends.

        Args:
            searches: makers of searches, each with its query budget (None for none); taken as places
                get free.

        Yields:
            The results of the searches that have ended, in no fixed order.
        """
        started = time.perf_counter()
        waiting = iter(searches)
        rows: list[_Row[Result]] = []
        with self.model.session():
            while True:
                done: list[Result] = []
                while len(rows) < self.in_flight and (entry := next(waiting, None)) is not None:
                    counter = Counter()
                    row = _Row(entry[0](counter), counter, entry[1])
                    if self._advance(row, None, done):
                        rows.append(row)
                if done:
                    yield done
                if not rows:
                    break
                answers = self._answer(rows)
                done = []
                pairs = zip(rows, answers, strict=True)
                rows = [row for row, answer in pairs if self._advance(row, answer, done)]
                self.meter.seconds = time.perf_counter() - started
                if done:
                    yield done
        self.meter.seconds = time.perf_counter() - started

    @staticmethod
    def _advance(row: _Row[Result], answer: Any, done: list[Result]) -> bool:
        """Let a search go on; false, with its result noted, when it has ended."""
        try:
            row.request = row.search.send(answer)
            return True
        except StopIteration as end:
            done.append(end.value)
            return False

    def _answer(self, rows: Sequence[_Row[Result]]) -> list[Any]:
        answers: list[Any] = [None] * len(rows)
        scoring = [i for i, row in enumerate(rows) if isinstance(row.request, Score)]
        for i, scores in zip(scoring, self._score([rows[i] for i in scoring]), strict=True):
            answers[i] = scores
        # A row whose budget is spent gets no answer.
        salient = [
            i
            for i, row in enumerate(rows)
            if isinstance(row.request, Saliency)
            and (row.budget is None or row.counter.queries < row.budget)
        ]
        for first in range(0, len(salient), self.batch_size):
            chosen = salient[first : first + self.batch_size]
            requests = [rows[i].request for i in chosen]
            begun = time.perf_counter()
            found = self.model.saliency([(r.texts, r.label) for r in requests])  # type: ignore[union-attr]
            self.meter.seconds_model += time.perf_counter() - begun
            self.meter.forwards += len(chosen)
            self.meter.queries += len(chosen)
            for i, answer in zip(chosen, found, strict=True):
                rows[i].counter.queries += 1
                answers[i] = answer
        self._embed(rows, answers)
        self._propose(rows)
        return answers

    def _score(self, rows: Sequence[_Row[Result]]) -> list[np.ndarray]:
        unknown: dict[Texts, Hashable] = {}
        for row in rows:
            for texts in row.request.inputs:  # type: ignore[union-attr]
                if texts not in row.answers:
                    unknown[texts] = None
        if unknown:
            unknown = dict(zip(unknown, self.model.keys(list(unknown)), strict=True))
        pool: dict[Hashable, Any] = {}
        for row in rows:
            self._charge(row, unknown, pool)
        self._forward(pool)
        for row in rows:
            if row.request.keep:  # type: ignore[union-attr]
                asked = [unknown[texts] for texts in row.request.inputs]  # type: ignore[union-attr]
                self.known.update((key, pool[key]) for key in asked)
        return [self._collect(row, unknown, pool) for row in rows]

    def _charge(self, row: _Row[Result], unknown: dict[Texts, Hashable], pool: dict) -> None:
        """Put a row's new questions into the pool, as far as its budget goes; cut its request there."""
        inputs = row.request.inputs  # type: ignore[union-attr]
        asked: set[Hashable] = set()
        for number, texts in enumerate(inputs):
            if texts in row.answers:
                continue
            key = unknown[texts]
            if key in row.answers_by_key or key in asked:
                continue
            if row.budget is not None and row.counter.queries >= row.budget:
                row.request = Score(inputs[:number])
                break
            row.counter.queries += 1
            self.meter.queries += 1
            asked.add(key)
            pool[key] = self.known.get(key)

    @staticmethod
    def _collect(row: _Row[Result], unknown: dict[Texts, Hashable], pool: dict) -> np.ndarray:
        found = []
        for texts in row.request.inputs:  # type: ignore[union-attr]
            if texts not in row.answers:
                key = unknown[texts]
                if key not in row.answers_by_key:
                    row.answers_by_key[key] = pool[key]
                row.answers[texts] = row.answers_by_key[key]
            found.append(row.answers[texts])
        if found:
            return np.stack(found)
        labels = next((len(answer) for answer in row.answers.values()), 2)
        return np.zeros((0, labels))

    def _forward(self, pool: dict[Hashable, np.ndarray | None]) -> None:
        begun = time.perf_counter()
        # The longest first: if memory does not suffice, it shows at once.
        asked = [key for key, answer in pool.items() if answer is None]
        for batch in self._batches(sorted(asked, key=self.model.length, reverse=True)):
            pool.update(zip(batch, self.model.probabilities(batch), strict=True))
            self.meter.padded_tokens += len(batch) * self.model.length(batch[0])
        self.meter.forwards += len(asked)
        self.meter.seconds_model += time.perf_counter() - begun

    def _batches(self, keys: list[Hashable]) -> Iterator[list[Hashable]]:
        first = 0
        while first < len(keys):
            longest = max(1, self.model.length(keys[first]))
            size = max(1, min(self.batch_size, self.batch_size * _TYPICAL_LENGTH // longest))
            last = min(first + size, len(keys))
            # Once half full, a batch ends where the inputs get shorter: padding them costs more.
            for at in range(first + max(1, size // 2), last):
                if self.model.length(keys[at]) < self.model.length(keys[at - 1]):
                    last = at
                    break
            yield keys[first:last]
            first = last

    @staticmethod
    def _propose(rows: Sequence[_Row[Result]]) -> None:
        by_perturbation: dict[int, list[Propose]] = {}
        for row in rows:
            if isinstance(row.request, Propose):
                by_perturbation.setdefault(id(row.request.perturbation), []).append(row.request)
        for requests in by_perturbation.values():
            requests[0].perturbation.prepare([request.texts for request in requests])

    def _embed(self, rows: Sequence[_Row[Result]], answers: list[Any]) -> None:
        asking = [i for i, row in enumerate(rows) if isinstance(row.request, Embed)]
        by_encoder: dict[int, list[int]] = {}
        for i in asking:
            by_encoder.setdefault(id(rows[i].request.encoder), []).append(i)  # type: ignore[union-attr]
        for chosen in by_encoder.values():
            requests: list[Any] = [rows[i].request for i in chosen]
            strings = list(dict.fromkeys(s for request in requests for s in request.strings))
            begun = time.perf_counter()
            vectors = requests[0].encoder.encode(strings)
            self.meter.seconds_encoder += time.perf_counter() - begun
            at = dict(zip(strings, vectors, strict=True))
            for i, request in zip(chosen, requests, strict=True):
                answers[i] = np.stack([at[s] for s in request.strings])
