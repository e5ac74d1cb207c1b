"""Log a model's answers during an attack, in a file next to the rows file.

A row is only written when its search ends, and many rows are searched at once. With the logged answers, an
attack that was killed only has to repeat the queries of its last batch. The file is deleted when the attack
ends.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hf_bat.files import explain_write, parse_json, write_atomically

_DIGEST = 16  # bytes


class AnswerLog:
    """Answers by the model's key, appended to a file batch by batch.

    The first line of the file is JSON with the model's identity and the number of labels. It is followed by
    one record per answer: a hash of the key and the probabilities as float64.

    Args:
        path: The file of this process.
        others: Files from earlier runs. Files of other models are ignored.
        identity: Identity of the model, including everything else that affects its answers.

    Raises:
        HfBatError: If the file cannot be written.
    """

    def __init__(self, path: Path, others: Iterable[Path], identity: str):
        self.path, self.identity = path, identity
        self._known: dict[bytes, np.ndarray] = {}
        self._stream: BinaryIO | None = None
        for other in sorted({*others, path}):
            self._read(other)
        # Fail now if the file cannot be written, before any query is made.
        with explain_write(path), open(path, "ab"):
            pass

    def _read(self, path: Path) -> None:
        try:
            head, _, records = path.read_bytes().partition(b"\n")
            about = parse_json(head)
            identity, labels = about["identity"], int(about["labels"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # the file is missing or its first line is incomplete
        if identity != self.identity or labels < 1:
            return
        shape = np.dtype([("key", f"V{_DIGEST}"), ("answer", "<f8", (labels,))])
        # The last record may be incomplete.
        whole = records[: len(records) // shape.itemsize * shape.itemsize]
        for record in np.frombuffer(whole, shape):
            self._known[bytes(record["key"])] = record["answer"].astype(np.float64)

    def find(self, key: Hashable) -> np.ndarray | None:
        """Return an earlier run's answer for the input, or `None`."""
        return self._known.get(_hash_key(key)) if self._known else None

    def add(self, keys: Sequence[Hashable], answers: np.ndarray) -> None:
        """Write the answers for a batch of inputs, with shape (n, labels)."""
        if self._stream is None:
            about = json.dumps({"identity": self.identity, "labels": answers.shape[1]}).encode()
            kept = [key + _pack(answer) for key, answer in self._known.items()]
            write_atomically(self.path, b"".join([about, b"\n", *kept]))
            # Do not buffer, so a kill does not lose any answers.
            self._stream = open(self.path, "ab", buffering=0)  # noqa: SIM115
        # Skip failed queries, because they will be retried.
        records = b"".join(
            _hash_key(key) + _pack(answer)
            for key, answer in zip(keys, answers, strict=True)
            if np.isfinite(answer).all()
        )
        with explain_write(self.path):
            written = self._stream.write(records)
            if written < len(records):  # the disk is full, so the next call raises an error
                self._stream.write(records[written:])

    def close(self) -> None:
        """Stop writing."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _pack(answer: np.ndarray) -> bytes:
    return np.asarray(answer, dtype="<f8").tobytes()


def _hash_key(key: Hashable) -> bytes:
    return blake2b(repr(key).encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()
