"""The words of a task, by frequency, from named splits only; and whether that leaks.

A synonym table is built over a vocabulary. If a split that is evaluated later feeds it, the table
knows which words the evaluation holds: the paper's own tables do. So a vocabulary records its splits,
and `leakage_report` compares them with those to be evaluated.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_bat.console import counted
from hf_bat.errors import HfBatError
from hf_bat.text import words

Rows = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Vocabulary:
    """Words, most frequent first, and where they come from.

    Attributes:
        words: lower-case words by falling frequency, equally frequent ones by the alphabet.
        min_count: how often a word had to occur.
        splits: name of each split read -> {"rows": n, "sha256": of its texts}.

    Example:
        >>> vocabulary = Vocabulary(("dog", "cat"))
        >>> vocabulary.metadata["words"], vocabulary.metadata["splits"]
        (2, {})
    """

    words: tuple[str, ...]
    min_count: int = 1
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, Any]:
        """What a table built over this vocabulary records of it."""
        content = "\n".join(self.words).encode("utf-8", "surrogatepass")
        return {
            "words": len(self.words),
            "sha256": hashlib.sha256(content).hexdigest(),
            "min_count": self.min_count,
            "splits": self.splits,
        }


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Count the lower-cased words of sentences, without their trailing punctuation mark.

    Args:
        texts: the sentences.

    Returns:
        How often each word occurs.

    Example:
        >>> count_words(["A dog.", "a Dog runs"]).most_common(2)
        [('a', 2), ('dog', 2)]
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word.lower() for word in words(text))
    return counts


def vocabulary_from_splits(
    splits: Mapping[str, Rows], columns: Sequence[str], min_count: int = 2
) -> Vocabulary:
    """Collect the words of the named splits, and of no other.

    Args:
        splits: name -> rows; name every split that is read, usually just "train".
        columns: the text columns; a missing value in one (None) is no text.
        min_count: how often a word must occur over all these splits (the paper's tables: 2).

    Returns:
        The frequent words, most frequent first, with the number of rows and the hash of the texts of each
        split.

    Raises:
        HfBatError: no split, a column that a row lacks, or no word that is frequent enough.

    Example:
        >>> rows = [{"premise": "A dog runs.", "hypothesis": "A dog."}]
        >>> vocabulary_from_splits({"train": rows}, ["premise", "hypothesis"]).words
        ('a', 'dog')
    """
    if not splits or not columns:
        raise HfBatError("a vocabulary needs at least one named split and one text column")
    counts: Counter[str] = Counter()
    sources: dict[str, dict[str, Any]] = {}
    for name, rows in splits.items():
        texts, number = _texts(name, rows, columns)
        counts.update(count_words(text for row in texts for text in row))
        sources[name] = {"rows": number, "sha256": _hash(texts)}
    frequent = [(-count, word) for word, count in counts.items() if count >= min_count]
    if not frequent:
        raise HfBatError(f"no word occurs {min_count} times in the splits {', '.join(splits)}")
    return Vocabulary(tuple(word for _, word in sorted(frequent)), min_count, sources)


def leakage_report(
    metadata: Mapping[str, Any],
    evaluated: Mapping[str, Rows] | Iterable[str],
    columns: Sequence[str] = (),
) -> list[str]:
    """Say which splits that will be evaluated fed a table's vocabulary.

    Args:
        metadata: a table's `metadata`, or a vocabulary's.
        evaluated: names of the splits to be evaluated, or name -> rows, which finds a split that
            went in under another name too.
        columns: the text columns; needed with rows.

    Returns:
        One line per leak; an empty list where there is none. A table that does not record its
        splits gives one line that says so, for then nothing can be excluded.

    Example:
        >>> rows = [{"text": "A dog and a dog."}]
        >>> vocabulary = vocabulary_from_splits({"train": rows, "dev": rows}, ["text"])
        >>> leakage_report(vocabulary.metadata, ["dev"])
        ["split 'dev' will be evaluated and fed the vocabulary"]
    """
    record = metadata.get("vocabulary", metadata)
    used = record.get("splits") if isinstance(record, Mapping) else None
    if not used:
        if str(metadata.get("built", "")).startswith("WordNet "):
            return []
        return [
            "the table does not record which splits its words come from: a leak cannot be excluded"
        ]
    with_rows = evaluated if isinstance(evaluated, Mapping) else {}
    report = []
    for name in evaluated:
        same = [used_name for used_name in used if used_name == name]
        if not same and name in with_rows:
            texts, _ = _texts(name, with_rows[name], columns)
            digest = _hash(texts)
            same = [used_name for used_name, entry in used.items() if entry.get("sha256") == digest]
        if same:
            under = "" if same[0] == name else f" under the name {same[0]!r}"
            report.append(f"split {name!r} will be evaluated and fed the vocabulary{under}")
    return report


def _texts(name: str, rows: Rows, columns: Sequence[str]) -> tuple[list[list[str]], int]:
    texts: list[list[str]] = []
    for number, row in enumerate(counted(rows, f"reading split {name}", "row")):
        absent = [column for column in columns if column not in row]
        if absent:
            raise HfBatError(
                f"split {name!r}, row {number}: no column {absent[0]!r}; it has: {', '.join(row)}"
            )
        texts.append([row[column] for column in columns if isinstance(row[column], str)])
    return texts, len(texts)


def _hash(texts: list[list[str]]) -> str:
    return hashlib.sha256(json.dumps(texts).encode("ascii")).hexdigest()
