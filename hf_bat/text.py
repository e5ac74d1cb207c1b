"""Split sentences into words, join them again, and keep the case of replaced words.

A word is a whitespace token without its last punctuation mark, as in the paper's experiments. Everything
else (runs of spaces, tabs, other punctuation) is kept, so joining unchanged words returns the same string.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from hf_bat.errors import HfBatError

_SPACES = re.compile(r"(\s+)")  # the group makes `split` keep the whitespace
# Characters that control a terminal, reverse the direction of text, or cannot be encoded.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKUP = re.compile(r"[&<>|\[\]`*]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ASCII_PUNCTUATION = frozenset(string.punctuation)
# A splitter takes a text and returns its words in order.
Splitter = Callable[[str], Sequence[str]]
# Separates the words of a splitter. Python treats these control characters as whitespace, so all code that
# splits at whitespace also splits here. There are three, because this sequence never occurs in user texts.
WORD_MARK = "\x1f\x1e\x1f"


def escape_controls(text: str) -> str:
    r"""Return a text with its control characters escaped, except line ends and tabs.

    Example:
        >>> escape_controls("a\x1b[2Jb")
        'a\\x1b[2Jb'
    """
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def escape_markdown(text: str) -> str:
    r"""Escape a text as one line of Markdown that displays it verbatim. It is also safe in table cells.

    Example:
        >>> escape_markdown("<img src=x> | `a`")
        '&lt;img src=x&gt; \\| \\`a\\`'
    """
    line = escape_controls(" ".join(text.split()))
    return _MARKUP.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), line)


def format_code(text: str) -> str:
    r"""Return a text as a Markdown code span, which disables all markup.

    Example:
        >>> format_code("label"), format_code("a`b")
        ('`label`', '`` a`b ``')
    """
    line = escape_controls(" ".join(text.split()))
    if "`" not in line:
        return f"`{line}`"
    # The fence must be longer than any run of backticks in the text.
    fence = "`" * (1 + max(map(len, re.findall("`+", line))))
    return f"{fence} {line} {fence}"


def split_pieces(text: str) -> list[str]:
    """Split the sentence into tokens (at even positions) and the whitespace between them."""
    return _SPACES.split(text)


def locate_token(text: str, position: int) -> tuple[list[str], int]:
    """Split the sentence with `split_pieces`, and return the pieces and the index of the token in them."""
    pieces = split_pieces(text)
    # If the sentence begins with whitespace, the first piece is empty and not a token.
    return pieces, 2 * position + (2 if pieces[0] == "" and len(pieces) > 1 else 0)


def split_tokens(text: str) -> tuple[list[str], list[str] | None]:
    """Split the sentence into tokens and the whitespace between them.

    The whitespace is `None` if all tokens are separated by a single space.

    Example:
        >>> split_tokens("A dog."), split_tokens("A  dog.")
        ((['A', 'dog.'], None), (['A', 'dog.'], ['  ']))
    """
    tokens = text.split()
    # Most sentences only have single spaces and do not need a regular expression.
    if tokens == text.split(" "):
        return tokens, None
    pieces = split_pieces(text)
    return pieces[::2], pieces[1::2]


def join_tokens(tokens: list[str], spaces: list[str] | None) -> str:
    """Join tokens and the whitespace between them. This is the inverse of `split_tokens`."""
    if spaces is None:
        return " ".join(tokens)
    pieces = [""] * (len(tokens) + len(spaces))
    pieces[::2], pieces[1::2] = tokens, spaces
    return "".join(pieces)


def mark_words(text: str, splitter: Splitter) -> str:
    """Return a text with marks between the splitter's words, and between words and other text.

    `remove_marks` restores the original text.

    Raises:
        HfBatError: If the splitter does not return the words of the text in order.

    Example:
        >>> mark_words("好天气。", lambda text: ["好", "天气"]).split()
        ['好', '天气', '。']
    """
    words, pieces, end = splitter(text), [], 0
    if isinstance(words, str) or not all(isinstance(word, str) for word in words):
        raise HfBatError(f"the splitter must return a list of words; got {words!r:.80}")
    for word in words:
        start = text.find(word, end)
        if start < 0:
            raise HfBatError(
                f"the splitter's word {word!r} is not in the rest of the text, {text[end:]!r:.80}: return "
                "the words in order, exactly as they occur in the text"
            )
        pieces += [text[end:start], word]
        end = start + len(word)
    return WORD_MARK.join(piece for piece in (*pieces, text[end:]) if piece)


def remove_marks(text: str) -> str:
    """Return a text without the marks of `mark_words`."""
    return text.replace(WORD_MARK, "")


def name_function(function: object) -> str:
    """Return the name of a callable for reports: its `name` attribute, or the name of its definition."""
    own = getattr(function, "name", None) or getattr(function, "__qualname__", None)
    return str(own or type(function).__qualname__)


def is_punctuation(character: str) -> bool:
    """Return whether a character is ASCII punctuation or in any of Unicode's P categories."""
    return character in _ASCII_PUNCTUATION or unicodedata.category(character).startswith("P")


def detach_punctuation(token: str) -> tuple[str, str]:
    """Split the token into its word and at most one trailing punctuation mark.

    A single character is a word even if it is a punctuation mark.

    Example:
        >>> detach_punctuation("runs."), detach_punctuation("runs"), detach_punctuation("what?!")
        (('runs', '.'), ('runs', ''), ('what?', '!'))
    """
    if len(token) > 1 and is_punctuation(token[-1]):
        return token[:-1], token[-1]
    return token, ""


def iterate_words(text: str) -> Iterator[str]:
    """Yield the words of the sentence in order, without their trailing punctuation marks."""
    for token in text.split():
        yield detach_punctuation(token)[0]


def match_case(replacement: str, original: str) -> str:
    """Return a replacement with the case of the original word.

    If the original is in all caps (two letters or more), the replacement is in all caps. If the original is
    capitalized, the replacement is capitalized. Otherwise the replacement does not change.

    Example:
        >>> match_case("hound", "Dog"), match_case("hound", "DOG"), match_case("hound", "dog")
        ('Hound', 'HOUND', 'hound')
    """
    if original.islower() or not original:
        return replacement
    # "I" and "A" are treated as capitalized words, not as all caps.
    if len(original) > 1 and original.isupper():
        return replacement.upper()
    if original[0].isupper():
        return replacement[:1].upper() + replacement[1:]
    return replacement
