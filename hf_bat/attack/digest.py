"""Hash functions and other Python objects, to recognize a model in another process.

The hash covers the code of functions and classes, and the values that they use: defaults, closures, globals
and attributes. Installed packages are only identified by the names of their functions and classes. A value
that cannot be pickled, such as a client with an open connection, is only identified by its type. Nothing is
unpickled.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import json
import pickle
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), type(NotImplemented))
_CONTAINERS = (list, tuple, set, frozenset, dict, types.MappingProxyType)
# Attributes that queries change (transformers, torch), or that contain an `id` (scikit-learn).
_VOLATILE = frozenset((
    "_stop_words_id", "call_count", "deprecation_warnings", "training", "warnings_issued",
))  # fmt: skip


class _UnseenError(Exception):
    """An object cannot be pickled."""


def hash_object(value: Any) -> str:
    """Return a hash of an object that is the same in every process.

    Example:
        >>> hash_object([0.5, "a"]) == hash_object([0.5, "a"]), hash_object([0.5]) == hash_object([0.6])
        (True, False)
        >>> hash_object({"a", "b"}) == hash_object({"b", "a"})
        True
    """
    return _hash_parts([_Walk().hash_or_name(value)]).hex()


class _Walk:
    """A walk over an object and everything that it refers to."""

    def __init__(self) -> None:
        # Digests by the id of the object, or `None` if it cannot be pickled. The objects are kept, because an
        # id can be used again after its object is deleted.
        self._digests: dict[int, tuple[Any, bytes | None]] = {}
        self._parents: dict[int, int] = {}  # depth by the id of the object, to recognize cycles

    def hash_or_name(self, value: Any) -> bytes:
        """Return the hash of an object, or its type if it cannot be pickled."""
        try:
            return self.hash(value)
        except _UnseenError:
            return _hash_parts([b"unseen", _name(type(value))])

    def hash(self, value: Any) -> bytes:
        if type(value) in _PLAIN:
            return pickle.dumps(value, protocol=4)
        key = id(value)
        if key in self._parents:
            return f"cycle {len(self._parents) - self._parents[key]}".encode()
        if key not in self._digests:
            self._parents[key] = len(self._parents)
            try:
                digest = _hash_parts(self._list_parts(value))
            except Exception:  # `__reduce_ex__` may raise any error
                digest = None
            finally:
                del self._parents[key]
            self._digests[key] = (value, digest)
        known = self._digests[key][1]
        if known is None:
            raise _UnseenError
        return known

    def _list_parts(self, value: Any) -> Iterator[bytes]:
        yield type(value).__name__.encode()
        if isinstance(value, types.ModuleType):
            yield value.__name__.encode()
        elif isinstance(value, type):
            yield from self._list_class(value)
        elif isinstance(value, types.FunctionType):
            yield from self._list_function(value)
        elif isinstance(value, types.CodeType):
            yield from self._list_code(value)
        elif isinstance(value, types.MethodType):
            yield self.hash(value.__func__)
            yield self.hash_or_name(value.__self__)
        elif isinstance(value, (staticmethod, classmethod)):
            yield self.hash(value.__func__)
        elif isinstance(value, property):
            yield from map(self.hash, (value.fget, value.fset, value.fdel))
        elif isinstance(value, functools.cached_property):
            yield self.hash(value.func)
        elif isinstance(value, functools._lru_cache_wrapper):
            yield self.hash(value.__wrapped__)
        elif type(value) in _CONTAINERS:
            yield from self._list_items(value)
        elif isinstance(value, (np.ndarray, np.generic)):
            yield from self._list_array(np.asarray(value))
        elif isinstance(value, torch.Tensor):
            yield from list_tensor(value)
        elif isinstance(value, Tokenizer):
            # Each query may set the padding and truncation.
            rules = json.loads(value.to_str())
            yield self.hash({**rules, "padding": None, "truncation": None})
        else:
            yield from self._list_state(value)

    def _list_items(self, value: Any) -> Iterable[bytes]:
        if isinstance(value, (list, tuple)):
            return map(self.hash, value)
        if isinstance(value, (set, frozenset)):
            return sorted(map(self.hash, value))  # the order differs between processes
        return (self.hash(part) for item in value.items() for part in item)

    def _list_array(self, array: np.ndarray) -> Iterator[bytes]:
        yield f"{array.dtype} {array.shape}".encode()
        if array.dtype.names:
            # There may be arbitrary bytes between the fields.
            for name in array.dtype.names:
                yield from self._list_array(array[name])
        elif array.dtype.hasobject:
            yield self.hash(array.ravel().tolist())
        else:
            yield array.tobytes()

    def _list_function(self, function: types.FunctionType) -> Iterator[bytes]:
        if not _is_own(function):
            yield _name(function)
            return
        code = function.__code__
        yield self.hash(code)
        yield self.hash(function.__defaults__)
        yield self.hash(function.__kwdefaults__)
        for name, value in vars(function).items():
            yield from (name.encode(), self.hash_or_name(value))
        for cell in function.__closure__ or ():
            try:
                yield self.hash_or_name(cell.cell_contents)
            except ValueError:  # the variable has no value yet
                yield b"empty"
        names = sorted(set(_list_names(code)))
        for name in names:
            if name not in function.__globals__:
                continue
            value = function.__globals__[name]
            yield from (name.encode(), self.hash_or_name(value))
            if isinstance(value, types.ModuleType) and _is_own(value):
                for attribute in names:
                    if attribute in vars(value):
                        yield attribute.encode()
                        yield self.hash_or_name(vars(value)[attribute])

    def _list_code(self, code: types.CodeType) -> Iterator[bytes]:
        yield code.co_code
        yield getattr(code, "co_exceptiontable", b"")  # missing before Python 3.11
        for value in (
            code.co_argcount,
            code.co_posonlyargcount,
            code.co_kwonlyargcount,
            code.co_flags,
            code.co_names,
            code.co_consts,
        ):
            yield self.hash(value)

    def _list_class(self, cls: type) -> Iterator[bytes]:
        yield _name(cls)
        if not _is_own(cls):
            return
        yield from map(self.hash, cls.__bases__)
        for name, value in vars(cls).items():
            # Other values with such names are not written by the user, such as `__doc__` and `__module__`.
            if callable(value) or not name.startswith("__"):
                yield from (name.encode(), self.hash_or_name(value))

    def _list_state(self, value: Any) -> Iterator[bytes]:
        """List the parts that pickle would store."""
        reduce = copyreg.dispatch_table.get(type(value))
        reduced: Any = value.__reduce_ex__(4) if reduce is None else reduce(value)
        if isinstance(reduced, str):
            yield from (_name(type(value)), reduced.encode())
            return
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        yield self.hash(type(value))
        yield self.hash(make)
        yield self.hash(arguments)
        yield self.hash(None if items is None else list(items))
        yield self.hash(None if pairs is None else list(pairs))
        # A state has two dicts if the class has slots.
        for part in state if isinstance(state, tuple) else (state,):
            if type(part) is not dict:
                yield self.hash(part)
                continue
            # Objects of the user may hold a client next to a prompt. The inner state of a client changes,
            # so objects of packages are only hashed if all of their state can be pickled.
            hash_value = self.hash_or_name if _is_own(type(value)) else self.hash
            for name, attribute in part.items():
                if name not in _VOLATILE:
                    yield from (self.hash(name), hash_value(attribute))


def list_tensor(tensor: torch.Tensor) -> Iterator[bytes]:
    """List the shape, type and values of a tensor as bytes."""
    yield f"{tuple(tensor.shape)} {tensor.dtype}".encode()
    # View the tensor as bytes, because numpy has no bfloat16. Flatten it, because a scalar cannot be
    # viewed as bytes.
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    yield flat.view(torch.uint8).numpy().tobytes()


def _hash_parts(parts: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _name(value: Any) -> bytes:
    return f"{value.__module__}.{value.__qualname__}".encode()


def _list_names(code: types.CodeType) -> Iterator[str]:
    """List the names of globals and attributes in the code of a function and of its inner functions."""
    yield from code.co_names
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from _list_names(value)


def _is_own(value: Any) -> bool:
    """Return whether a function, class or module belongs to the user and not to an installed package."""
    name = value.__name__ if isinstance(value, types.ModuleType) else value.__module__
    if name == "__main__":
        return True
    module = sys.modules.get(name)
    path = getattr(module, "__file__", None)
    # Modules that are part of the interpreter have no file.
    if path is None or name.split(".")[0] == "hf_bat":
        return module is None
    return {"site-packages", "dist-packages"}.isdisjoint(Path(path).parts) and not Path(
        path
    ).is_relative_to(sysconfig.get_path("stdlib"))
