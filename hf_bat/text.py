"""Sentences as words: what a word is, how it is put back, and how its case is kept.

A word is a white-space token with at most one trailing punctuation mark detached, as in the paper's
experiments. Everything else (runs of spaces, tabs, other punctuation) is carried along untouched,
so that a sentence whose words are put back unchanged is the same string.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator

_SPACES = re.compile(r"(\s+)")
_ASCII_PUNCTUATION = frozenset(string.punctuation)


def split_pieces(text: str) -> list[str]:
    """Split a sentence into tokens and the white space between them, losing nothing.

    Args:
        text: any string.

    Returns:
        Tokens at the even places, white space at the odd ones; `"".join` gives `text` back. A token is
        empty only at an end of a text that begins or ends with white space (or is empty).

    Example:
        >>> split_pieces("A  dog runs.")
        ['A', '  ', 'dog', ' ', 'runs.']
    """
    return _SPACES.split(text)


def split_tokens(text: str) -> tuple[list[str], list[str] | None]:
    """Split a sentence into tokens and what stands between them, fast for the usual single spaces.

    Args:
        text: any string.

    Returns:
        The tokens, and the white space between them, None where that is one space each. As in
        `split_pieces`, a token is empty only at an end of the text. `join_tokens` puts them back.

    Example:
        >>> split_tokens("A dog."), split_tokens("A  dog.")
        ((['A', 'dog.'], None), (['A', 'dog.'], ['  ']))
    """
    tokens = text.split()
    if tokens == text.split(" "):
        return tokens, None
    pieces = split_pieces(text)
    return pieces[::2], pieces[1::2]


def join_tokens(tokens: list[str], spaces: list[str] | None) -> str:
    """Put tokens and the white space between them together again; see `split_tokens`."""
    if spaces is None:
        return " ".join(tokens)
    pieces = [""] * (len(tokens) + len(spaces))
    pieces[::2], pieces[1::2] = tokens, spaces
    return "".join(pieces)


def is_punctuation(character: str) -> bool:
    """Whether a character is a punctuation mark: ASCII's, or of a Unicode category P.

    Example:
        >>> is_punctuation("。"), is_punctuation("s")
        (True, False)
    """
    return character in _ASCII_PUNCTUATION or unicodedata.category(character).startswith("P")


def detach_punctuation(token: str) -> tuple[str, str]:
    """Split a token into its word and at most one trailing punctuation mark.

    A token that is a single character is a word even when it is a mark.

    Example:
        >>> detach_punctuation("runs."), detach_punctuation("runs"), detach_punctuation("what?!")
        (('runs', '.'), ('runs', ''), ('what?', '!'))
    """
    if len(token) > 1 and is_punctuation(token[-1]):
        return token[:-1], token[-1]
    return token, ""


def words(text: str) -> Iterator[str]:
    """Yield a sentence's words, in order, each without its trailing punctuation mark.

    Example:
        >>> list(words("Two dogs, running."))
        ['Two', 'dogs', 'running']
    """
    for token in text.split():
        yield detach_punctuation(token)[0]


def match_case(replacement: str, original: str) -> str:
    """Give a replacement the case pattern of the word that it replaces.

    ALL CAPITALS stay all capitals (two letters or more), a Capital stays a capital, and anything else
    leaves the replacement as it is.

    Example:
        >>> match_case("hound", "Dog"), match_case("hound", "DOG"), match_case("hound", "dog")
        ('Hound', 'HOUND', 'hound')
    """
    if original.islower() or not original:
        return replacement
    if len(original) > 1 and original.isupper():
        return replacement.upper()
    if original[0].isupper():
        return replacement[:1].upper() + replacement[1:]
    return replacement
