"""Word lists: stop words, and the vocabulary of a task by frequency, collected from named splits.

A synonym table is built for a vocabulary. If the vocabulary includes a split that is evaluated later, the
words of the evaluation leak into the table, as in the paper's tables. For this reason, a vocabulary records
its splits, and `leakage_report` compares them with the evaluated splits.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hf_bat.console import track
from hf_bat.errors import HfBatError, check_choice
from hf_bat.text import iterate_words

Rows = Iterable[Mapping[str, Any]]
# The two stop-word lists of the paper's experiments.
STOPWORD_LISTS = ("nltk", "textfooler")


@cache
def stopwords(name: str) -> frozenset[str]:
    """Return a set of stop words, in lower case.

    Args:
        name: `"nltk"`, NLTK's English list of 179 words (used by the antonym attack), or `"textfooler"`,
            the 266 words of TextFooler (Jin et al. 2020; used by the synonym attack).

    Raises:
        HfBatError: If the name is unknown.

    Example:
        >>> len(stopwords("nltk")), len(stopwords("textfooler")), "not" in stopwords("nltk")
        (179, 266, True)
    """
    check_choice("stop-word list", name, STOPWORD_LISTS)
    path = Path(__file__).parent / "data" / f"stopwords_{name}.txt"
    return frozenset(path.read_text(encoding="utf-8").split())


@dataclass(frozen=True)
class Vocabulary:
    """Words, most frequent first, and their sources.

    Attributes:
        words: Lower-case words by decreasing frequency. Equally frequent words are sorted alphabetically.
        min_count: Minimum number of occurrences per word.
        splits: Mapping from the name of each split to {"rows": n, "sha256": hash of its texts}.
    """

    words: tuple[str, ...]
    min_count: int = 1
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def metadata(self) -> dict[str, Any]:
        """The description of this vocabulary in the metadata of a table."""
        # A broken text may contain half of a surrogate pair, which plain UTF-8 cannot encode.
        content = "\n".join(self.words).encode("utf-8", "surrogatepass")
        return {
            "words": len(self.words),
            "sha256": hashlib.sha256(content).hexdigest(),
            "min_count": self.min_count,
            "splits": self.splits,
        }


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Return the number of occurrences of each lower-cased word, without its trailing punctuation mark.

    Args:
        texts: The sentences.

    Example:
        >>> count_words(["A dog.", "a Dog runs"]).most_common(2)
        [('a', 2), ('dog', 2)]
    """
    return Counter(word.lower() for text in texts for word in iterate_words(text))


def vocabulary_from_splits(
    splits: Mapping[str, Rows], columns: Sequence[str], min_count: int = 2
) -> Vocabulary:
    """Collect the words of the named splits.

    Args:
        splits: Mapping from the name of each split to its rows, usually only for "train".
        columns: The text columns. Missing values (`None`) are skipped.
        min_count: Minimum number of occurrences per word in all splits. Defaults to 2, as in the paper's
            tables.

    Returns:
        The frequent words, most frequent first, with the number of rows and the hash of each split.

    Raises:
        HfBatError: If `splits` or `columns` is empty, a row lacks a column, or no word is frequent.

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
        texts = _read_texts(name, rows, columns)
        counts.update(count_words(text for row in texts for text in row))
        sources[name] = {"rows": len(texts), "sha256": _hash(texts)}
    frequent = [(-count, word) for word, count in counts.items() if count >= min_count]
    if not frequent:
        raise HfBatError(f"no word occurs {min_count} times in the splits {', '.join(splits)}")
    return Vocabulary(tuple(word for _, word in sorted(frequent)), min_count, sources)


def leakage_report(
    metadata: Mapping[str, Any],
    evaluated: Mapping[str, Rows] | Iterable[str],
    columns: Sequence[str] = (),
) -> list[str]:
    """List the splits that will be evaluated although they are in the vocabulary of a table.

    Args:
        metadata: The `metadata` of a table or a vocabulary.
        evaluated: Names of the evaluated splits, or a mapping from names to rows. With rows, a split is also
            found if it has another name in the vocabulary.
        columns: The text columns. They are required with rows.

    Returns:
        One line per leak, or a single line if the table does not record its splits.

    Example:
        >>> rows = [{"text": "A dog and a dog."}]
        >>> vocabulary = vocabulary_from_splits({"train": rows, "dev": rows}, ["text"])
        >>> leakage_report(vocabulary.metadata, ["dev"])
        ["split 'dev' will be evaluated and fed the vocabulary"]
    """
    record = metadata.get("vocabulary", metadata)
    used = record.get("splits") if isinstance(record, Mapping) else None
    if not used:
        # The words of the bundled tables do not come from a split.
        if str(metadata.get("built", "")).startswith(("WordNet ", "counter-fitted neighbors ")):
            return []
        return ["the table does not record the splits of its words: a leak cannot be excluded"]
    report = []
    for name in evaluated:
        # The same rows with a different name are also a leak.
        source = name if name in used else None
        if source is None and isinstance(evaluated, Mapping):
            digest = _hash(_read_texts(name, evaluated[name], columns))
            source = next((other for other in used if used[other].get("sha256") == digest), None)
        if source is not None:
            under = "" if source == name else f" under the name {source!r}"
            report.append(f"split {name!r} will be evaluated and fed the vocabulary{under}")
    return report


def _read_texts(name: str, rows: Rows, columns: Sequence[str]) -> list[list[str]]:
    texts: list[list[str]] = []
    for number, row in enumerate(track(rows, f"reading split {name}", "row")):
        for column in columns:
            if column not in row:
                raise HfBatError(
                    f"split {name!r}, row {number}: no column {column!r}; it has: {', '.join(row)}"
                )
        texts.append([row[column] for column in columns if isinstance(row[column], str)])
    return texts


def _hash(texts: list[list[str]]) -> str:
    # Use JSON instead of joined texts, so different rows with the same joined text have different hashes.
    return hashlib.sha256(json.dumps(texts).encode("ascii")).hexdigest()
