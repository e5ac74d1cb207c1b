"""Substitution tables, which map words to replacements, in files and on the Hub.

A table file is JSON, and it is gzipped if its name ends in `.gz`. It contains a header (format, version, and
metadata with the options and the hashes of the sources) and the replacements of each word. The pickles from
the paper's authors are also supported. They are read with an unpickler that does not allow classes or
functions. On the Hub, a table is a data set with the file, the same words as JSON Lines for
`datasets.load_dataset` and the viewer, and a card.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import pickletools
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from string import Template
from typing import Any, NoReturn

from hf_bat.errors import HfBatError, describe_cause, describe_value
from hf_bat.files import MAX_DOCUMENT_BYTES, parse_json, push_dataset, read_bytes, write_atomically

# A table, a plain mapping, or the path or address of a table.
TableSource = Mapping[str, Iterable[str]] | str | Path
FORMAT = "hf_bat.substitution_table"
VERSION = 1
_PLAIN = "plain word lists without a header"
TABLE_FILE = "table.json.gz"
WORDS_FILE = "words.jsonl.gz"
_CARD = Path(__file__).parents[1] / "templates" / "table_card.md"
# Allow a single slash, because `Path` merges the two slashes of an address.
_ADDRESS = re.compile(
    r"hf:/+datasets/(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/]+))?(?:/(?P<file>.+))?"
)


class SubstitutionTable(Mapping[str, tuple[str, ...]]):
    """Words and their replacements, nearest first.

    A word is never its own replacement, replacements are unique, and words without replacements are not in
    the table. Lookups use the exact key. The tables built by hf_bat contain lower-case words.

    Args:
        mapping: Mapping from words to their replacements, nearest first.
        metadata: Description of how the table was built, as plain JSON values.

    Raises:
        HfBatError: If words or replacements are empty or not strings, or the metadata is not JSON.

    Example:
        >>> table = SubstitutionTable({"big": ["big", "large", "huge", "large"], "a": []})
        >>> table["big"], len(table), "a" in table, table.get("a", ())
        (('large', 'huge'), 1, False, ())
    """

    def __init__(
        self, mapping: Mapping[str, Iterable[str]], metadata: Mapping[str, Any] | None = None
    ) -> None:
        self._words = _clean(mapping)
        # Copy the metadata through JSON, so a table is equal to itself after saving and loading.
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

    # `Mapping` would look up the word and catch a KeyError, which is slow for unknown words.
    def __contains__(self, word: object) -> bool:
        return word in self._words

    def __repr__(self) -> str:
        kind = self.metadata.get("kind", "substitutions")
        return f"SubstitutionTable({len(self)} words, {kind}, {self.fingerprint[:12]})"

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the words with their replacements.

        It depends on the order of the replacements, but not on the order of the words or the metadata.
        """
        if self._fingerprint is None:
            content = json.dumps(sorted(self._words.items()), separators=(",", ":"))
            self._fingerprint = hashlib.sha256(content.encode("ascii")).hexdigest()
        return self._fingerprint

    @property
    def is_plain(self) -> bool:
        """Whether the table is a plain mapping or file of word lists, not built from a lexicon or vectors."""
        return "kind" not in self.metadata and self.metadata.get("built", _PLAIN) == _PLAIN

    def without(self, words: Iterable[str]) -> SubstitutionTable:
        """Return a new table without the given words, both as keys and as replacements.

        Args:
            words: Words with the same spelling as in the table.

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
        """Return a new table without the word pairs of another table.

        This removes antonyms from synonym sets, even if the other table lists the pair in reverse order.

        Args:
            other: A table, or a mapping from words to replacements.

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
        """Write the table as JSON, gzipped if the name ends in `.gz`.

        The file is written atomically. The same content and metadata produce the same bytes.

        Args:
            path: The file. An existing file is replaced.

        Raises:
            HfBatError: If the file cannot be written.
        """
        path = Path(path)
        lines = [f"{json.dumps(word)}: {json.dumps(self._words[word])}" for word in sorted(self)]
        header = {"format": FORMAT, "version": VERSION, "metadata": self.metadata}
        # Write one word per line after the header, so a diff shows which words changed.
        opened = json.dumps(header, indent=1, sort_keys=True)[:-2]
        data = (opened + ',\n "words": {\n' + ",\n".join(lines) + "\n}}\n").encode("ascii")
        if path.suffix == ".gz":
            # Leave out the time, so the same table produces the same bytes.
            data = gzip.compress(data, mtime=0)
        write_atomically(path, data, "the table")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SubstitutionTable:
        """Read a table in any supported format. The format is detected from the content.

        Args:
            path: A table saved by hf_bat (JSON, optionally gzipped), a plain `{word: [words]}` JSON file, a
                pickle from the paper's authors (`{word: {"set": [words], ...}}`), or
                `hf://datasets/OWNER/NAME`, optionally with `@REVISION`, from `push_to_hub`.

        Raises:
            HfBatError: If the file is missing or damaged, has a newer version or another structure, or is a
                pickle with anything except plain containers, strings and numbers.
        """
        if is_hub_address(path):
            path = fetch_table(path)
        path = Path(path)
        try:
            data = read_bytes(path, MAX_DOCUMENT_BYTES)
        except HfBatError as error:
            raise HfBatError(f"cannot read the table {path}: {error}") from error
        # Pickles of protocol 2 and later start with this byte. Older pickles are detected by their name.
        is_pickle = data[:1] == b"\x80" or path.suffix in (".pkl", ".pickle")
        try:
            return _read_pickle(data) if is_pickle else _read_json(data)
        except HfBatError as error:
            raise HfBatError(f"table {path}: {error}") from error

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str = "Substitution table",
    ) -> str:
        """Push the table to a data set on the Hub, with a card that describes how it was built.

        Args:
            repo_id: `OWNER/NAME`. The data set is created if it does not exist.
            private: Whether a new data set is private. If `None`, use the owner's default.
            token: Access token. If `None`, use the token from `hf auth login`.
            revision: Branch to push to. If `None`, use the main branch.
            commit_message: Commit message.

        Returns:
            The address of this exact version, for `load`: `hf://datasets/OWNER/NAME@COMMIT`.

        Raises:
            HfBatError: If the table is empty or the upload failed.

        Example:
            >>> table = SubstitutionTable({"big": ["large"]})
            >>> table.push_to_hub("me/synonyms", private=True)  # doctest: +SKIP
            'hf://datasets/me/synonyms@5a3c...'
        """
        if not self:
            raise HfBatError("the table is empty: nothing was pushed")
        return push_dataset(
            partial(write_dataset, self),
            repo_id,
            "table",
            private=private,
            token=token,
            revision=revision,
            commit_message=commit_message,
        )


def as_table(source: TableSource) -> SubstitutionTable:
    """Return the table for a source. A `SubstitutionTable` is returned unchanged.

    Args:
        source: A `SubstitutionTable`, a plain mapping from words to replacements, or a path or address
            for `SubstitutionTable.load`.

    Raises:
        HfBatError: If the source is not a table.

    Example:
        >>> as_table({"big": ["large"]})["big"]
        ('large',)
    """
    if isinstance(source, SubstitutionTable):
        return source
    if isinstance(source, Mapping):
        return SubstitutionTable(source)
    if isinstance(source, (str, Path)):
        return SubstitutionTable.load(source)
    raise HfBatError(f"expected a table, a mapping or a path, got {type(source).__name__}")


def is_hub_address(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is an address on the Hub ("hf://datasets/me/synonyms")."""
    return str(path).startswith("hf:/")


def fetch_table(address: str | os.PathLike[str]) -> Path:
    """Download a table, or find it in the cache of the Hub library, and return its path.

    The address is `hf://datasets/OWNER/NAME`. Add `@REVISION` for a branch, tag or commit, and `/FILE` for a
    file other than `table.json.gz`.
    """
    parts = _ADDRESS.fullmatch(str(address).rstrip("/"))
    if parts is None:
        raise HfBatError(
            f"expected a table hf://datasets/OWNER/NAME[@REVISION][/FILE], got {str(address)!r}"
        )
    from huggingface_hub import hf_hub_download

    repo, revision, file = parts["repo"], parts["revision"], parts["file"] or TABLE_FILE
    try:
        return Path(hf_hub_download(repo, file, repo_type="dataset", revision=revision))
    except Exception as error:  # the type depends on the HTTP library that the Hub library uses
        raise HfBatError(
            f"cannot fetch the table of {repo} from the Hub: {describe_cause(error)}"
        ) from error


def write_dataset(table: SubstitutionTable, repo: str, folder: Path) -> None:
    """Write the files of a table's data set: the table, its words as JSON Lines, and a card."""
    table.save(folder / TABLE_FILE)
    # The viewer on the Hub supports JSON Lines, but not one large object.
    lines = [
        json.dumps({"word": word, "replacements": table[word]}, ensure_ascii=False) + "\n"
        for word in sorted(table)
    ]
    data = gzip.compress("".join(lines).encode("utf-8"), mtime=0)
    (folder / WORDS_FILE).write_bytes(data)
    card = Template(_CARD.read_text(encoding="utf-8")).substitute(
        repo=repo,
        # Remove other characters, because they can have a meaning in the YAML of the card.
        kind=re.sub(r"[^\w .-]", "?", str(table.metadata.get("kind", "substitutions")))[:60],
        words=f"{len(table):,}",
        replacements=f"{sum(map(len, table.values())):,}",
        fingerprint=table.fingerprint,
        provenance=json.dumps(table.metadata, indent=2, sort_keys=True, ensure_ascii=False),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _clean(mapping: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return the words with replacements, without repetitions and without the word itself."""
    words: dict[str, tuple[str, ...]] = {}
    for word, others in mapping.items():
        # Reject strings, because they are also iterable.
        if not isinstance(others, Iterable) or isinstance(others, str | bytes | Mapping):
            raise HfBatError(
                f"the replacements of {describe_value(word)} must be a list of words, got "
                f"{describe_value(others)}"
            )
        listed = list(others)
        for text in (word, *listed):
            if not isinstance(text, str) or not text:
                raise HfBatError(
                    f"a word must be a non-empty string, got {describe_value(text)} in the entry of "
                    f"{describe_value(word)}"
                )
        unique = tuple(dict.fromkeys(other for other in listed if other != word))
        if unique:
            words[word] = unique
    return words


def _read_json(data: bytes) -> SubstitutionTable:
    content = parse_json(data)
    if not isinstance(content, dict):
        raise HfBatError("expected a JSON object of words and their replacements")
    # In a plain file, "format" can be a word, and its value is a list.
    if not isinstance(content.get("format"), str):
        return SubstitutionTable(content, {"built": _PLAIN})
    if content["format"] != FORMAT:
        raise HfBatError(f"its format is {content['format']!r:.80}, not {FORMAT!r}")
    version = content.get("version")
    if type(version) is not int or version > VERSION:
        raise HfBatError(
            f"it has format version {version!r:.80}, but this hf_bat only supports versions up to {VERSION}: "
            "upgrade it"
        )
    words, metadata = content.get("words"), content.get("metadata", {})
    if not isinstance(words, dict) or not isinstance(metadata, dict):
        raise HfBatError("its header lacks the objects 'words' and 'metadata'")
    return SubstitutionTable(words, metadata)


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler for containers, strings and numbers. It rejects all classes, functions and references."""

    # Every opcode that calls something needs a callable, and these methods are the only way to get one.
    def find_class(self, module: str, name: str) -> NoReturn:
        asked = describe_value(f"{module}.{name}")
        raise HfBatError(f"refused: the pickle asks for {asked}; nothing in it was run")

    def persistent_load(self, identity: Any) -> NoReturn:
        raise HfBatError(
            "refused: the pickle refers to an object outside it; nothing in it was run"
        )


def _check_bounds(data: bytes) -> None:
    """Check the sizes in the opcodes of a pickle, because some opcodes allocate memory before reading."""
    for opcode, argument, _ in pickletools.genops(data):
        # A reader allocates memory for all smaller indices, so nine bytes can allocate gigabytes.
        if opcode.name.endswith("PUT") and int(argument or 0) > len(data):
            raise HfBatError(f"not a readable pickle (entry {argument} of {len(data)} bytes)")


def _read_pickle(data: bytes) -> SubstitutionTable:
    try:
        _check_bounds(data)
        content = _PlainUnpickler(io.BytesIO(data)).load()
    except HfBatError:
        raise
    except Exception as error:  # a damaged pickle may raise nearly anything
        reason = f"{type(error).__name__}: {error}"[:200]
        raise HfBatError(f"not a readable pickle ({reason})") from error
    if not isinstance(content, dict):
        raise HfBatError("expected a pickled dict of words")
    words: dict[str, Iterable[str]] = {}
    room = len(data)
    for word, entry in content.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("set"), list):
            raise HfBatError(
                f"expected {{'set': [words]}} for {describe_value(word)}, got {describe_value(entry)}"
            )
        words[word] = entry["set"]
        # Each word takes at least one byte, unless the entries share a list. Such a list is copied here.
        room -= len(entry["set"])
        if room < 0:
            raise HfBatError(
                f"a pickle of {len(data)} bytes with more than {len(data)} replacements"
            )
    source = {"sha256": hashlib.sha256(data).hexdigest()}
    return SubstitutionTable(words, {"built": "read from a pickle of word sets", "sources": source})
