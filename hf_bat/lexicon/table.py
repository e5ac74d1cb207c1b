"""A substitution table: each word with the words that may stand in for it.

On disk a table is one JSON file, gzipped where its name ends in `.gz`: a header (format, version,
metadata: how it was built, hashes of its sources, options) and then `word -> replacements`, a word a
line. The tables that the paper's authors released are pickles; those are read too, by an unpickler
that admits no class or function whatsoever.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from hf_bat.errors import HfBatError
from hf_bat.files import write_atomically
from hf_bat.lexicon.hub import fetch_table, is_hub_address

# What may be given where a table is wanted: a table, a plain mapping, or where one is kept.
TableSource = Mapping[str, Iterable[str]] | str | Path
FORMAT = "hf_bat.substitution_table"
VERSION = 1


class SubstitutionTable(Mapping[str, tuple[str, ...]]):
    """Words and their replacements, nearest first.

    A word is never its own replacement, a replacement is listed once, and a word with no replacement
    left is not in the table: the perturbation set of the paper is P(w) = {w} and `table[w]`.
    Look-ups are by exact key; the tables that hf_bat builds hold lower-case words.

    Args:
        mapping: word -> its replacements, nearest first.
        metadata: how the table was made; plain JSON values. It is no part of `fingerprint`.

    Raises:
        HfBatError: a word or replacement is not a string or is empty, or the metadata is not JSON.

    Example:
        >>> table = SubstitutionTable({"big": ["big", "large", "huge", "large"], "a": []})
        >>> table["big"], len(table), "a" in table, table.get("a", ())
        (('large', 'huge'), 1, False, ())
    """

    def __init__(
        self, mapping: Mapping[str, Iterable[str]], metadata: Mapping[str, Any] | None = None
    ) -> None:
        self._words = _checked(mapping)
        try:
            self.metadata: dict[str, Any] = json.loads(json.dumps(dict(metadata or {})))
        except (TypeError, ValueError) as error:
            raise HfBatError(f"a table's metadata must be plain JSON values: {error}") from error
        self._fingerprint: str | None = None

    def __getitem__(self, word: str) -> tuple[str, ...]:
        return self._words[word]

    def __iter__(self) -> Iterator[str]:
        return iter(self._words)

    def __len__(self) -> int:
        return len(self._words)

    def __contains__(self, word: object) -> bool:
        return word in self._words

    def __repr__(self) -> str:
        kind = self.metadata.get("kind", "substitutions")
        return f"SubstitutionTable({len(self)} words, {kind}, {self.fingerprint[:12]})"

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the content: words with their replacements, in the replacements' order.

        The same for any order of the words, file format, compression or metadata.
        """
        if self._fingerprint is None:
            content = json.dumps(sorted(self._words.items()), separators=(",", ":"))
            self._fingerprint = hashlib.sha256(content.encode("ascii")).hexdigest()
        return self._fingerprint

    def without(self, words: Iterable[str]) -> SubstitutionTable:
        """Drop words, both as keys and as replacements.

        Args:
            words: as the table spells them.

        Returns:
            A new table; this one stays.

        Example:
            >>> dict(SubstitutionTable({"do": ["unmake"], "go": ["do", "stop"]}).without(["do"]))
            {'go': ('stop',)}
        """
        dropped = frozenset(words)
        kept = {
            word: [other for other in others if other not in dropped]
            for word, others in self.items()
            if word not in dropped
        }
        return SubstitutionTable(kept, {**self.metadata, "words_dropped": len(dropped)})

    def minus(self, other: Mapping[str, Iterable[str]]) -> SubstitutionTable:
        """Drop from each word's replacements those that another table gives for the same word.

        Cleans antonyms out of synonym sets: an antonym pair is dropped whichever of its two words
        the other table lists.

        Args:
            other: a table, or a mapping of words to replacements.

        Returns:
            A new table; this one stays.

        Example:
            >>> synonyms = SubstitutionTable({"import": ["importing", "export"]})
            >>> dict(synonyms.minus(SubstitutionTable({"export": ["import"]})))
            {'import': ('importing',)}
        """
        kept = {
            word: [
                near
                for near in nears
                if near not in other.get(word, ()) and word not in other.get(near, ())
            ]
            for word, nears in self.items()
        }
        note = {"minus": other.fingerprint} if isinstance(other, SubstitutionTable) else {}
        return SubstitutionTable(kept, {**self.metadata, **note})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as JSON, gzipped where the name ends in `.gz`.

        The file appears whole or not at all, and the same content and metadata give the same bytes.

        Args:
            path: the file; one that is there is replaced.

        Raises:
            HfBatError: the file cannot be written.
        """
        path = Path(path)
        lines = [
            f"{json.dumps(word, ensure_ascii=True)}: {json.dumps(self._words[word])}"
            for word in sorted(self._words)
        ]
        header = json.dumps(
            {"format": FORMAT, "version": VERSION, "metadata": self.metadata},
            indent=1,
            sort_keys=True,
        )
        text = header[:-2] + ',\n "words": {\n' + ",\n".join(lines) + "\n}}\n"
        data = text.encode("ascii")
        if path.suffix == ".gz":
            data = gzip.compress(data, mtime=0)
        write_atomically(path, data, "the table")

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Write the table to a data set of the Hub, with a card that says how it was made.

        Args:
            repo_id: `OWNER/NAME`; made where it does not exist.
            **options: `private` (whether a data set made here is private), `token` (the one logged in
                with where absent), `revision` (a branch), `commit_message`.

        Returns:
            The address of this very version, which `load` reads: `hf://datasets/OWNER/NAME@COMMIT`.

        Raises:
            HfBatError: the table is empty, or the upload failed.

        Example:
            >>> table = SubstitutionTable({"big": ["large"]})
            >>> table.push_to_hub("me/synonyms", private=True)  # doctest: +SKIP
            'hf://datasets/me/synonyms@5a3c...'
        """
        from hf_bat.lexicon.hub import push_table

        return push_table(self, repo_id, **options)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SubstitutionTable:
        """Read a table of any supported kind, told apart by its content.

        Args:
            path: a table saved by hf_bat (JSON, or gzipped JSON), a plain `{word: [words]}` JSON file,
                or a pickle as the paper's authors released them,
                `{word: {"set": [words], "isdivide": 0 or 1}}`; or `hf://datasets/OWNER/NAME`, a data
                set of the Hub that `push_to_hub` wrote, maybe with `@REVISION`.

        Raises:
            HfBatError: the file is missing, damaged, of a newer version, of another structure, or a
                pickle that holds anything but plain containers, strings and numbers.
        """
        if is_hub_address(path):
            return cls.load(fetch_table(path))
        path = Path(path)
        if path.is_dir():
            raise HfBatError(f"a table is one file, and {path} is a directory")
        try:
            data = path.read_bytes()
            if data[:2] == b"\x1f\x8b":
                data = gzip.decompress(data)
        except FileNotFoundError as error:
            raise HfBatError(f"table not found: {path}") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise HfBatError(f"table {path} is a damaged gzip file: {error}") from error
        except OSError as error:
            raise HfBatError(f"cannot read the table {path}: {error.strerror or error}") from error
        try:
            if data[:1] == b"\x80" or path.suffix in (".pkl", ".pickle"):
                return _from_pickle(data)
            return _from_json(data)
        except HfBatError as error:
            raise HfBatError(f"table {path}: {error}") from error


def as_table(source: TableSource) -> SubstitutionTable:
    """The table that was given, whichever way it was.

    Args:
        source: a `SubstitutionTable`, a plain mapping of words to replacements, or an address that
            `SubstitutionTable.load` takes.

    Returns:
        The table; what was given where it is a `SubstitutionTable`.

    Raises:
        HfBatError: no table can be made or read of it.

    Example:
        >>> as_table({"big": ["large"]})["big"]
        ('large',)
    """
    if isinstance(source, SubstitutionTable):
        return source
    if isinstance(source, Mapping):
        return SubstitutionTable(source)
    if not isinstance(source, (str, Path)):
        raise HfBatError(f"a table, a mapping or a path is wanted; got {type(source).__name__}")
    return SubstitutionTable.load(source)


def _checked(mapping: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    listed = {
        word: others if type(others) is list else _listed(word, others)
        for word, others in mapping.items()
    }
    # All at once, for tables are loaded often; which word is wrong is looked up only if one is.
    plain = set(map(type, chain(listed, *listed.values()))) <= {str}
    if not plain or "" in listed or not all(chain.from_iterable(listed.values())):
        _refuse_other_than_words(listed)
    words: dict[str, tuple[str, ...]] = {}
    for word, others in listed.items():
        unique = dict.fromkeys(others)
        unique.pop(word, None)
        if unique:
            words[word] = tuple(unique)
    return words


def _listed(word: str, others: Iterable[str]) -> list[str]:
    if not isinstance(others, Iterable) or isinstance(others, str | bytes | Mapping):
        raise HfBatError(
            f"the replacements of {word!r:.80} must be a list of words, got {others!r:.80}"
        )
    return list(others)


def _refuse_other_than_words(listed: Mapping[str, list[str]]) -> None:
    for word, others in listed.items():
        if not isinstance(word, str) or not word:
            raise HfBatError(f"a word must be a non-empty string, got {word!r:.80}")
        for other in others:
            if not isinstance(other, str) or not other:
                raise HfBatError(
                    f"a replacement of {word!r:.80} must be a non-empty string, got {other!r:.80}"
                )


def _from_json(data: bytes) -> SubstitutionTable:
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise HfBatError(f"not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise HfBatError("expected a JSON object of words and their replacements")
    if not isinstance(content.get("format"), str):
        return SubstitutionTable(content, {"built": "plain word lists without a header"})
    if content["format"] != FORMAT:
        raise HfBatError(f"its format is {content['format']!r}, not {FORMAT!r}")
    version = content.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise HfBatError(f"its header has no whole-number version, got {version!r:.80}")
    if version > VERSION:
        raise HfBatError(
            f"it has format version {version}, and this hf_bat reads up to {VERSION}; upgrade hf_bat"
        )
    words, metadata = content.get("words"), content.get("metadata", {})
    if not isinstance(words, dict) or not isinstance(metadata, dict):
        raise HfBatError("its header lacks the objects 'words' and 'metadata'")
    return SubstitutionTable(words, metadata)


class _PlainUnpickler(pickle.Unpickler):
    """Reads containers, strings and numbers; whatever names a class or function is refused.

    Every opcode that calls something needs a callable first, and the only ways to get one are these.
    """

    def find_class(self, module: str, name: str) -> NoReturn:
        raise HfBatError(f"refused: the pickle asks for {module}.{name}; nothing of it was run")

    def persistent_load(self, identity: Any) -> NoReturn:
        raise HfBatError(
            "refused: the pickle refers to an object outside it; nothing of it was run"
        )


def _from_pickle(data: bytes) -> SubstitutionTable:
    try:
        content = _PlainUnpickler(io.BytesIO(data)).load()
    except HfBatError:
        raise
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise HfBatError(f"not a readable pickle ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict):
        raise HfBatError("expected a pickled dict of words")
    words: dict[str, Iterable[str]] = {}
    for word, entry in content.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("set"), list):
            raise HfBatError(f"expected {{'set': [words]}} for {word!r:.80}, got {entry!r:.80}")
        words[word] = entry["set"]
    source = {"sha256": hashlib.sha256(data).hexdigest()}
    return SubstitutionTable(words, {"built": "read from a pickle of word sets", "sources": source})
