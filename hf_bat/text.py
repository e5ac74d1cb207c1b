"""Split sentences into words, join them again, and keep the case of replaced words.

A word is a white-space token without its last punctuation mark, as in the paper's experiments. Everything
else (runs of spaces, tabs, other punctuation) is kept, so that joining unchanged words returns the same
string.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from hf_bat.errors import HfBatError

_SPACES = re.compile(r"(\s+)")  # a group, so that splitting keeps the white space
# Characters that command a terminal, reverse the direction of text, or cannot be encoded.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKUP = re.compile(r"[&<>|\[\]`*]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ASCII_PUNCTUATION = frozenset(string.punctuation)
# Takes a text and returns its words in order.
Splitter = Callable[[str], Sequence[str]]
# Separates the words of a splitter. Its control characters count as white space, so that all code that splits
# at white space also splits here; three of them, because a text of a user never has these.
WORD_MARK = "\x1f\x1e\x1f"


def escape_controls(text: str) -> str:
    r"""Return a text with control characters as escapes; line ends and tabs are kept.

    Example:
        >>> escape_controls("a\x1b[2Jb")
        'a\\x1b[2Jb'
    """
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def escape_markdown(text: str) -> str:
    r"""Return one line of Markdown that shows a text as it is, also in a cell of a table.

    Example:
        >>> escape_markdown("<img src=x> | `a`")
        '&lt;img src=x&gt; \\| \\`a\\`'
    """
    line = escape_controls(" ".join(text.split()))
    return _MARKUP.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), line)


def format_code(text: str) -> str:
    r"""Return a text as a code span of Markdown, in which no markup works.

    Example:
        >>> format_code("label"), format_code("a`b")
        ('`label`', '`` a`b ``')
    """
    line = escape_controls(" ".join(text.split()))
    if "`" not in line:
        return f"`{line}`"
    # The fence must be longer than each run of backticks inside.
    fence = "`" * (1 + max(map(len, re.findall("`+", line))))
    return f"{fence} {line} {fence}"


def split_pieces(text: str) -> list[str]:
    """Split a sentence into tokens (at even positions) and the white space between them."""
    return _SPACES.split(text)


def locate_token(text: str, position: int) -> tuple[list[str], int]:
    """Split a sentence as `split_pieces` does, and return the index of a token among the pieces."""
    pieces = split_pieces(text)
    # A sentence that begins with white space has an empty first piece, which is not a token.
    return pieces, 2 * position + (2 if pieces[0] == "" and len(pieces) > 1 else 0)


def split_tokens(text: str) -> tuple[list[str], list[str] | None]:
    """Split a sentence into tokens and the white space between them, `None` if it is always one space.

    Example:
        >>> split_tokens("A dog."), split_tokens("A  dog.")
        ((['A', 'dog.'], None), (['A', 'dog.'], ['  ']))
    """
    tokens = text.split()
    # Most sentences have single spaces, for which no regular expression is needed.
    if tokens == text.split(" "):
        return tokens, None
    pieces = split_pieces(text)
    return pieces[::2], pieces[1::2]


def join_tokens(tokens: list[str], spaces: list[str] | None) -> str:
    """Join tokens and the white space between them; the inverse of `split_tokens`."""
    if spaces is None:
        return " ".join(tokens)
    pieces = [""] * (len(tokens) + len(spaces))
    pieces[::2], pieces[1::2] = tokens, spaces
    return "".join(pieces)


def mark_words(text: str, splitter: Splitter) -> str:
    """Return a text with marks between the words of a splitter, and between these and all other text.

    `remove_marks` returns the text again.

    Raises:
        HfBatError: If the splitter does not return words of the text in their order.

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
                "the words as they are in the text, in order"
            )
        pieces += [text[end:start], word]
        end = start + len(word)
    return WORD_MARK.join(piece for piece in (*pieces, text[end:]) if piece)


def remove_marks(text: str) -> str:
    """Return a text without the marks of `mark_words`."""
    return text.replace(WORD_MARK, "")


def name_function(function: object) -> str:
    """Return the name of a function or other callable for reports: its `name`, or of its definition."""
    own = getattr(function, "name", None) or getattr(function, "__qualname__", None)
    return str(own or type(function).__qualname__)


def is_punctuation(character: str) -> bool:
    """Return whether a character is ASCII punctuation or in a Unicode category P."""
    return character in _ASCII_PUNCTUATION or unicodedata.category(character).startswith("P")


def detach_punctuation(token: str) -> tuple[str, str]:
    """Split a token into its word and at most one trailing punctuation mark.

    A single character is a word even if it is a punctuation mark.

    Example:
        >>> detach_punctuation("runs."), detach_punctuation("runs"), detach_punctuation("what?!")
        (('runs', '.'), ('runs', ''), ('what?', '!'))
    """
    if len(token) > 1 and is_punctuation(token[-1]):
        return token[:-1], token[-1]
    return token, ""


def iterate_words(text: str) -> Iterator[str]:
    """Yield the words of a sentence in order, each without its trailing punctuation mark."""
    for token in text.split():
        yield detach_punctuation(token)[0]


def match_case(replacement: str, original: str) -> str:
    """Return a replacement in the case of the word that it replaces.

    A word in capitals (two letters or more) is replaced in capitals, a capitalized word is replaced by a
    capitalized one, and any other replacement is unchanged.

    Example:
        >>> match_case("hound", "Dog"), match_case("hound", "DOG"), match_case("hound", "dog")
        ('Hound', 'HOUND', 'hound')
    """
    if original.islower() or not original:
        return replacement
    # "I" and "A" are capitalized, not in capitals.
    if len(original) > 1 and original.isupper():
        return replacement.upper()
    if original[0].isupper():
        return replacement[:1].upper() + replacement[1:]
    return replacement
