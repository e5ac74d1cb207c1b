"""Call a slow, paid or unreliable function, with parallel calls, retries and a cache of the answers."""

from __future__ import annotations

import asyncio
import inspect
import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

from hf_bat.attack.answers import name_columns
from hf_bat.errors import HfBatError, check_integer, describe_cause
from hf_bat.files import parse_json
from hf_bat.perturbations.base import Texts

# Seconds before the first retry, and the maximum delay. The delay doubles with each retry.
FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0
# The endpoint is considered down after this many consecutive calls have failed permanently.
_CALLS_UNTIL_DOWN = 10
_RETRIED_STATUSES = frozenset((408, 409, 425, 429))
# Errors of network libraries that are not an `OSError`: httpx, aiohttp, the OpenAI and Anthropic clients, and
# http.client.
_NETWORK_ERRORS = frozenset((
    "TransportError", "ClientConnectionError", "APIConnectionError", "HTTPException",
))  # fmt: skip
_LINE_START = '{"model": '  # start of each line in a cache
_LOCAL_ERRORS = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)


class AnswerCache:
    """A cache of answers in a JSON Lines file. Each answer is written when it arrives.

    Several processes may write to the same file.

    Args:
        path: The file. It is created if it does not exist.
        model: Name of the model, which is stored in each line. Lines of other models are not changed.

    Raises:
        HfBatError: If the file cannot be read or written, or is not a valid cache.
    """

    def __init__(self, path: str | Path, model: str):
        self.path, self.model = Path(path), model
        self._answers = dict(self._read())
        self._stream: TextIO | None = None

    def _read(self) -> Iterator[tuple[Texts, Any]]:
        try:
            data = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise HfBatError(f"cannot read the cache {self.path}: {error.strerror}") from error
        lines = data.decode("utf-8", "replace").split("\n")
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                entry = parse_json(line)
                model, texts, answer = entry["model"], tuple(entry["input"]), entry["answer"]
                if not all(isinstance(text, str) for text in texts):
                    raise ValueError("an input is not texts")
            except (ValueError, KeyError, TypeError) as error:
                # A killed process can leave an incomplete line. Skip it, and the query will be repeated.
                if line.startswith(_LINE_START[: len(line)]):
                    continue
                raise HfBatError(
                    f"{self.path}, line {number}: not an answer of a model; give another cache file"
                ) from error
            if model == self.model:
                yield texts, answer

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, texts: Texts) -> bool:
        return texts in self._answers

    def __getitem__(self, texts: Texts) -> Any:
        return self._answers[texts]

    def keep(self, texts: Texts, answer: Any) -> None:
        """Store an answer, and write it immediately so it is not lost if the process is killed."""
        self._answers[texts] = answer
        entry = {"model": self.model, "input": list(texts), "answer": answer}
        try:
            if self._stream is None:
                self._stream = self._open()
            # Write each line at once, so lines of several processes are not mixed.
            self._stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self._stream.flush()
        except OSError as error:
            raise HfBatError(f"cannot write the cache {self.path}: {error.strerror}") from error

    def _open(self) -> TextIO:
        is_torn = self.path.is_file() and self.path.read_bytes()[-1:] not in (b"", b"\n")
        stream = open(self.path, "a", encoding="utf-8")  # noqa: SIM115
        if is_torn:
            stream.write("\n")
        return stream


def make_plain(answer: Any) -> Any:
    """Convert a function's answer to plain JSON values."""
    if isinstance(answer, Mapping):
        return {str(name): make_plain(value) for name, value in answer.items()}
    if isinstance(answer, (list, tuple)):
        return [make_plain(value) for value in answer]
    if isinstance(answer, (str, int, float, type(None))):
        # NumPy floats are also instances of `float`.
        return float(answer) if isinstance(answer, float) else answer
    if hasattr(answer, "tolist"):  # an array, a series or a tensor
        return answer.tolist()
    raise HfBatError(
        f"the model's function gave {answer!r:.100} for an input; expected probabilities, a mapping of label "
        "names to scores, the name of a label, or None for a refusal"
    )


class RemoteFunction:
    """Calls a function that takes a list of inputs, with several parallel calls.

    Calls that fail for a temporary reason (429, 5xx, a timeout, a broken connection) are retried with
    increasing delays, but not before the time in `Retry-After`. After any other error, the run stops when the
    current calls have ended.

    Args:
        function: Function that takes a list of inputs and returns a list of answers. It may be async.
        concurrency: Maximum number of parallel calls.
        retries: Maximum number of retries for a call.
        timeout: Maximum duration of a call in seconds, or `None` for no limit. A function that is not async
            continues in the background after the timeout.
        max_queries: Maximum total number of queried inputs, or `None` for no limit.
        inputs_per_call: Number of inputs in each call.
    """

    def __init__(
        self,
        function: Callable[[list[Any]], Any],
        concurrency: int,
        retries: int,
        timeout: float | None,
        max_queries: int | None,
        inputs_per_call: int,
    ):
        self.function, self.timeout = function, timeout
        self.concurrency = check_integer("concurrency", concurrency)
        self.retries = check_integer("retries", retries)
        self.inputs_per_call = check_integer("inputs_per_call", inputs_per_call)
        self.max_queries = (
            None if max_queries is None else check_integer("max_queries", max_queries)
        )
        for name, least in (("concurrency", 1), ("retries", 0), ("inputs_per_call", 1)):
            if getattr(self, name) < least:
                raise HfBatError(f"{name} must be at least {least}; got {getattr(self, name)}")
        if timeout is not None and not timeout > 0:
            raise HfBatError(f"timeout must be above 0 seconds; got {timeout}")
        self.counts = {"answered": 0, "failed": 0, "retries": 0}
        self.is_exhausted = False  # whether `max_queries` prevented a query
        self._fatal: HfBatError | None = None
        self._failed_in_a_row = 0
        self._under_way = 0  # number of inputs in calls that have not ended
        # Do not use the global generator, because other random draws must not depend on failures.
        self._random = random.Random()

    def ask(self, inputs: Sequence[Any], keep: Callable[[int, Any], None]) -> None:
        """Query the function for all inputs, and call `keep(number, answer)` when an answer arrives.

        `keep` is not called for inputs with permanently failed calls, or beyond `max_queries`.

        Raises:
            HfBatError: If the function raised a permanent error, or the endpoint is down.
        """
        self._fatal = None
        # Use another thread, because a notebook already has a running loop. Use the same thread for all
        # calls, because an async client is bound to the loop of its first call.
        future = asyncio.run_coroutine_threadsafe(self._ask_all(inputs, keep), _start_loop())
        try:
            future.result()
        except BaseException:
            future.cancel()
            raise
        if self._fatal is not None:
            self._failed_in_a_row = 0
            raise self._fatal

    async def _ask_all(self, inputs: Sequence[Any], keep: Callable[[int, Any], None]) -> None:
        calls = iter(range(0, len(inputs), self.inputs_per_call))

        async def work() -> None:
            for first in calls:
                if self._fatal is not None:
                    return
                chosen = list(inputs[first : first + self.inputs_per_call])
                answers = await self._call_patiently(chosen)
                try:
                    for number, answer in enumerate(answers or (), start=first):
                        keep(number, answer)
                except HfBatError as error:  # the cache cannot be written
                    self._fatal = error

        workers = min(self.concurrency, -(-len(inputs) // self.inputs_per_call))
        await asyncio.gather(*(work() for _ in range(workers)))

    async def _call_patiently(self, inputs: list[Any]) -> list[Any] | None:
        """Return the answers for the inputs of one call, or `None` if it failed permanently."""
        asked = self.counts["answered"] + self.counts["failed"] + self._under_way
        if self.max_queries is not None and asked + len(inputs) > self.max_queries:
            self.is_exhausted = True
            return None
        self._under_way += len(inputs)
        try:
            return await self._try(inputs)
        finally:
            self._under_way -= len(inputs)

    async def _try(self, inputs: list[Any]) -> list[Any] | None:
        for attempt in range(self.retries + 1):
            try:
                result = await asyncio.wait_for(self._call(inputs), self.timeout)
                answers = _split_answers(result, len(inputs))
            except asyncio.CancelledError as error:
                # The function raised it, or `ask` was interrupted. All workers end in both cases.
                self._fatal = self._fatal or explain_failure(error)
                return None
            except Exception as error:
                if not _may_pass(error):
                    self._fatal = self._fatal or explain_failure(error)
                    return None
                last = error
                if attempt < self.retries and self._fatal is None:
                    self.counts["retries"] += 1
                    await asyncio.sleep(self._choose_delay(attempt, error))
            else:
                self.counts["answered"] += len(inputs)
                self._failed_in_a_row = 0
                return answers
        self.counts["failed"] += len(inputs)
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _CALLS_UNTIL_DOWN:
            self._fatal = self._fatal or HfBatError(
                f"the model's endpoint does not answer: {_CALLS_UNTIL_DOWN} calls in a row failed, each "
                f"{self.retries + 1} times; the last: {_describe(last)}"
            )
        return None

    async def _call(self, inputs: list[Any]) -> Any:
        try:
            if inspect.iscoroutinefunction(self.function):
                return await self.function(inputs)
            result = await _run_in_thread(self.function, inputs)
            return await result if inspect.isawaitable(result) else result
        except (SystemExit, KeyboardInterrupt) as error:
            # These would end the thread of the loop, and `ask` would wait forever.
            raise explain_failure(error) from error

    def _choose_delay(self, attempt: int, error: Exception) -> float:
        delay = FIRST_DELAY * 2**attempt
        # Add jitter, so calls that failed together are not all retried at the same time.
        delay *= 0.5 + 0.5 * self._random.random()
        return min(LONGEST_DELAY, max(delay, _read_retry_after(error)))


@lru_cache(maxsize=1)
def _start_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    # Use a daemon thread, so a call that hangs does not keep the process alive.
    threading.Thread(target=loop.run_forever, name="hf_bat calls", daemon=True).start()
    return loop


async def _run_in_thread(function: Callable[[list[Any]], Any], inputs: list[Any]) -> Any:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(error: BaseException | None, result: Any) -> None:
        if future.done():  # after the timeout
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        try:
            outcome: tuple[BaseException | None, Any] = (None, function(inputs))
        except StopIteration as error:  # cannot be set on a future
            outcome = (RuntimeError(f"StopIteration: {error}"), None)
        except BaseException as error:  # the caller waits for the outcome, also if it is SystemExit
            outcome = (error, None)
        loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, daemon=True).start()
    return await future


def _split_answers(result: Any, count: int) -> list[Any]:
    """Return the answers for the inputs of a call. A call with one input may return only its answer."""
    result = name_columns(result)
    if count == 1 and (result is None or isinstance(result, (str, int, Mapping))):
        return [make_plain(result)]
    plain = make_plain(result)
    if count == 1 and isinstance(plain, list) and len(plain) > 1:
        # A list of scores, or a pipeline's list of `{"label": ..., "score": ...}`.
        return [plain]
    if not isinstance(plain, list) or len(plain) != count:
        given = f"{len(plain)} answers" if isinstance(plain, list) else f"{plain!r:.100}"
        raise HfBatError(
            f"the model's function gave {given} for {count} inputs; return one for each"
        )
    return plain


def _may_pass(error: Exception) -> bool:
    """Return whether a failed call may succeed if it is retried."""
    status = _find_status(error)
    if status is not None:
        return status in _RETRIED_STATUSES or status >= 500
    if isinstance(error, _LOCAL_ERRORS):
        return False
    # Before Python 3.11, `asyncio.TimeoutError` is a different class.
    if isinstance(error, (OSError, EOFError, TimeoutError, asyncio.TimeoutError)):
        return True
    return not _NETWORK_ERRORS.isdisjoint(kind.__name__ for kind in type(error).__mro__)


def _find_status(error: Exception) -> int | None:
    """Return the HTTP status of an error from urllib, requests, httpx, aiohttp or an API client."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and 100 <= status < 600:
                return int(status)
    return None


def _read_retry_after(error: Exception) -> float:
    """Return the seconds in `Retry-After`, or 0 if the header is missing or contains a date."""
    for holder in (error, getattr(error, "response", None)):
        headers = getattr(holder, "headers", None)
        try:
            return max(0.0, float(headers.get("Retry-After", "")))  # type: ignore[union-attr]
        except (AttributeError, TypeError, ValueError):
            continue
    return 0.0


def _describe(error: BaseException) -> str:
    line = describe_cause(error)
    return line if isinstance(error, HfBatError) else f"{type(error).__name__}: {line}"


def explain_failure(error: BaseException) -> HfBatError:
    """Return the one-line error for an error that a model's function raised."""
    if isinstance(error, HfBatError):
        return error
    failure = HfBatError(f"the model's function failed: {_describe(error)}")
    failure.__cause__ = error
    return failure
