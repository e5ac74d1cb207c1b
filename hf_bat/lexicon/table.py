"""Substitution tables: each word with its replacements, in files and on the Hub.

A table file is JSON, gzipped if its name ends in `.gz`: a header (format, version, metadata with the
options and the hashes of the sources) and `word -> replacements`. The pickles that the paper's authors
released are also read, by an unpickler that admits no class or function. On the Hub a table is a data
set: the file, the same words as JSON lines for `datasets.load_dataset` and the viewer, and a card.
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

# A table, a plain mapping, or a table's path or address.
TableSource = Mapping[str, Iterable[str]] | str | Path
FORMAT = "hf_bat.substitution_table"
VERSION = 1
TABLE_FILE = "table.json.gz"
WORDS_FILE = "words.jsonl.gz"
_CARD = Path(__file__).parents[1] / "templates" / "table_card.md"
# One slash is enough, because `Path` merges the two of an address.
_ADDRESS = re.compile(
    r"hf:/+datasets/(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/]+))?(?:/(?P<file>.+))?"
)


class SubstitutionTable(Mapping[str, tuple[str, ...]]):
    """Words and their replacements, nearest first.

    A word is never its own replacement, a replacement is listed once, and a word without replacements
    is not in the table. Look-ups are by exact key; the tables that hf_bat builds hold lower-case words.

    Args:
        mapping: Word -> its replacements, nearest first.
        metadata: How the table was built, as plain JSON values.

    Raises:
        HfBatError: If a word or replacement is empty or not a string, or the metadata is not JSON.

    Example:
        >>> table = SubstitutionTable({"big": ["big", "large", "huge", "large"], "a": []})
        >>> table["big"], len(table), "a" in table, table.get("a", ())
        (('large', 'huge'), 1, False, ())
    """

    def __init__(
        self, mapping: Mapping[str, Iterable[str]], metadata: Mapping[str, Any] | None = None
    ) -> None:
        self._words = _clean(mapping)
        # A copy through JSON, so that a table that is saved and loaded is equal.
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

    # `Mapping` would look the word up and catch a KeyError, which is slow for unknown words.
    def __contains__(self, word: object) -> bool:
        return word in self._words

    def __repr__(self) -> str:
        kind = self.metadata.get("kind", "substitutions")
        return f"SubstitutionTable({len(self)} words, {kind}, {self.fingerprint[:12]})"

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the words with their replacements.

        The order of the replacements changes it; the order of the words and the metadata do not.
        """
        if self._fingerprint is None:
            content = json.dumps(sorted(self._words.items()), separators=(",", ":"))
            self._fingerprint = hashlib.sha256(content.encode("ascii")).hexdigest()
        return self._fingerprint

    def without(self, words: Iterable[str]) -> SubstitutionTable:
        """Return a new table without some words, both as keys and as replacements.

        Args:
            words: Words as the table spells them.

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
        """Return a new table without the pairs of words that another table has.

        It removes antonyms from synonym sets, also if the other table lists a pair in the reverse order.

        Args:
            other: A table, or a mapping of words to replacements.

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

        The file appears whole or not at all. The same content and metadata give the same bytes.

        Args:
            path: The file; an existing one is replaced.

        Raises:
            HfBatError: If the file cannot be written.
        """
        path = Path(path)
        lines = [f"{json.dumps(word)}: {json.dumps(self._words[word])}" for word in sorted(self)]
        header = {"format": FORMAT, "version": VERSION, "metadata": self.metadata}
        # One word per line after the header, so that a diff shows which words changed.
        opened = json.dumps(header, indent=1, sort_keys=True)[:-2]
        data = (opened + ',\n "words": {\n' + ",\n".join(lines) + "\n}}\n").encode("ascii")
        if path.suffix == ".gz":
            # Without the time of writing the same table gives the same bytes.
            data = gzip.compress(data, mtime=0)
        write_atomically(path, data, "the table")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SubstitutionTable:
        """Read a table of any supported format, recognized by its content.

        Args:
            path: A table saved by hf_bat (JSON, gzipped or not), a plain `{word: [words]}` JSON file,
                a pickle as the paper's authors released them (`{word: {"set": [words], ...}}`), or
                `hf://datasets/OWNER/NAME`, optionally with `@REVISION`, which `push_to_hub` wrote.

        Raises:
            HfBatError: If the file is missing, damaged, of a newer version or of another structure,
                or a pickle holds anything but plain containers, strings and numbers.
        """
        if is_hub_address(path):
            path = fetch_table(path)
        path = Path(path)
        try:
            data = read_bytes(path, MAX_DOCUMENT_BYTES)
        except HfBatError as error:
            raise HfBatError(f"cannot read the table {path}: {error}") from error
        # The mark begins pickles of protocol 2 and later; older ones need the name.
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
        """Write the table to a data set of the Hub, with a card that says how it was built.

        Args:
            repo_id: `OWNER/NAME`; created if it does not exist.
            private: Whether a new data set is private. If `None`, the default of the owner.
            token: Access token. If `None`, the one from `hf auth login`.
            revision: Branch to write to. If `None`, the main branch.
            commit_message: Message of the commit.

        Returns:
            The address of exactly this version, for `load`: `hf://datasets/OWNER/NAME@COMMIT`.

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
    """Return the table of a source; a `SubstitutionTable` is returned itself.

    Args:
        source: A `SubstitutionTable`, a plain mapping of words to replacements, or a path or address
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
    """Return whether a path is an address of the Hub ("hf://datasets/me/synonyms")."""
    return str(path).startswith("hf:/")


def fetch_table(address: str | os.PathLike[str]) -> Path:
    """Download a table, or find it in the cache of the Hub library, and return its path.

    The address is `hf://datasets/OWNER/NAME`, with `@REVISION` for a branch, tag or commit and `/FILE`
    for another file than `table.json.gz`.
    """
    parts = _ADDRESS.fullmatch(str(address).rstrip("/"))
    if parts is None:
        raise HfBatError(
            f"a table on the Hub is hf://datasets/OWNER/NAME[@REVISION][/FILE], got {str(address)!r}"
        )
    from huggingface_hub import hf_hub_download

    repo, revision, file = parts["repo"], parts["revision"], parts["file"] or TABLE_FILE
    try:
        return Path(hf_hub_download(repo, file, repo_type="dataset", revision=revision))
    except Exception as error:  # of the HTTP library, which the Hub library chooses
        raise HfBatError(
            f"cannot fetch the table of {repo} from the Hub: {describe_cause(error)}"
        ) from error


def write_dataset(table: SubstitutionTable, repo: str, folder: Path) -> None:
    """Write the files of a table's data set: the table, its words as JSON lines, and a card."""
    table.save(folder / TABLE_FILE)
    # The viewer of the Hub reads JSON lines, and not one large object.
    lines = [
        json.dumps({"word": word, "replacements": table[word]}, ensure_ascii=False) + "\n"
        for word in sorted(table)
    ]
    data = gzip.compress("".join(lines).encode("utf-8"), mtime=0)
    (folder / WORDS_FILE).write_bytes(data)
    card = Template(_CARD.read_text(encoding="utf-8")).substitute(
        repo=repo,
        # In the YAML of the card, where other characters have meanings.
        kind=re.sub(r"[^\w .-]", "?", str(table.metadata.get("kind", "substitutions")))[:60],
        words=f"{len(table):,}",
        replacements=f"{sum(map(len, table.values())):,}",
        fingerprint=table.fingerprint,
        provenance=json.dumps(table.metadata, indent=2, sort_keys=True, ensure_ascii=False),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _clean(mapping: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return the words that have replacements, these without repetitions and the word itself."""
    words: dict[str, tuple[str, ...]] = {}
    for word, others in mapping.items():
        # A string is also iterable, but its letters are not meant.
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
    # "format" can also be a word of a plain file; its replacements are a list.
    if not isinstance(content.get("format"), str):
        return SubstitutionTable(content, {"built": "plain word lists without a header"})
    if content["format"] != FORMAT:
        raise HfBatError(f"its format is {content['format']!r:.80}, not {FORMAT!r}")
    version = content.get("version")
    if type(version) is not int or version > VERSION:
        raise HfBatError(
            f"it has format version {version!r:.80}, and this hf_bat reads up to {VERSION}: upgrade it"
        )
    words, metadata = content.get("words"), content.get("metadata", {})
    if not isinstance(words, dict) or not isinstance(metadata, dict):
        raise HfBatError("its header lacks the objects 'words' and 'metadata'")
    return SubstitutionTable(words, metadata)


class _PlainUnpickler(pickle.Unpickler):
    """Unpickler of containers, strings and numbers; it refuses every class, function and reference."""

    # Every opcode that calls something needs a callable first, and these are the only ways to get one.
    def find_class(self, module: str, name: str) -> NoReturn:
        asked = describe_value(f"{module}.{name}")
        raise HfBatError(f"refused: the pickle asks for {asked}; nothing in it was run")

    def persistent_load(self, identity: Any) -> NoReturn:
        raise HfBatError(
            "refused: the pickle refers to an object outside it; nothing in it was run"
        )


def _check_bounds(data: bytes) -> None:
    """Check that a pickle holds what its opcodes announce; some reserve memory before they read."""
    for opcode, argument, _ in pickletools.genops(data):
        # A reader makes room for all smaller numbers: nine bytes can ask for gigabytes.
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
        # A word takes a byte at least, unless all entries share one list, which is copied here.
        room -= len(entry["set"])
        if room < 0:
            raise HfBatError(
                f"a pickle of {len(data)} bytes with more than {len(data)} replacements"
            )
    source = {"sha256": hashlib.sha256(data).hexdigest()}
    return SubstitutionTable(words, {"built": "read from a pickle of word sets", "sources": source})
