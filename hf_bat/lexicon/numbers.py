"""Numbers as English writes them: words to ninety-nine, digits, ordinals, with what stands beside them."""

from __future__ import annotations

import re
from typing import NamedTuple

_UNITS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_IRREGULAR = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_DIGITS = re.compile(
    r"(?P<before>[^\w.,]{0,2})(?P<whole>\d{1,3}(?:,\d{3})+|\d{1,15})(?P<part>\.\d+)?"
    r"(?P<after>st|nd|rd|th|[^\W\d_]{1,3}|%|\u00b0)?",
    re.IGNORECASE,
)
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
# What makes a time of the number before it, without marks around it.
_OF_TIMES = ("am", "pm", "a.m", "p.m", "o'clock", "noon", "midnight")


class Number(NamedTuple):
    """A number word taken apart; `write` puts another value into the same form.

    Attributes:
        value: the whole part.
        ordinal: whether it is "third" rather than "three".
        words: whether it is spelt out.
        before: what stands before the digits ("$").
        grouped: whether the digits are grouped by commas.
        width: the least number of digits, where they begin with 0.
        part: the digits' decimal part, with its point.
        after: what stands right after them ("%", "km").
        rest: the compound's other parts ("-year-old").
    """

    value: int
    ordinal: bool = False
    words: bool = False
    before: str = ""
    grouped: bool = False
    width: int = 0
    part: str = ""
    after: str = ""
    rest: str = ""

    def write(self, value: int) -> str | None:
        """This number with another value in its place, in lower case where spelt out; None where words
        to ninety-nine do not suffice.

        Example:
            >>> [parse_number(text).write(12) for text in ("Two", "first", "3rd", "$1,500.50", "5-year-old")]
            ['twelve', 'twelfth', '12th', '$12.50', '12-year-old']
        """
        if self.words:
            spelt = _spell(value, self.ordinal)
            return None if spelt is None else spelt + self.rest
        digits = f"{value:,}" if self.grouped else str(value).zfill(self.width)
        after = _ending(value, self.after) if self.ordinal else self.after
        return f"{self.before}{digits}{self.part}{after}{self.rest}"


def parse_number(word: str) -> Number | None:
    """Take a number word apart.

    Args:
        word: a word without the punctuation mark after it, in any case.

    Returns:
        The number, None where the word is none: times, dates and ranges ("10:30", "10pm", "1/2", "3-4")
        are not.

    Example:
        >>> parse_number("Twenty-one").value, parse_number("2nd").ordinal, parse_number("1,000").value
        (21, True, 1000)
        >>> parse_number("two-story").rest, parse_number("someone"), parse_number("7AM")
        ('-story', None, None)
    """
    head, *tail = word.split("-")
    for parts in (2, 1):  # "twenty-one" before "twenty"
        spelt = "-".join([head, *tail][:parts]).lower()
        rest = "".join(f"-{part}" for part in [head, *tail][parts:])
        if spelt in _SPELT and parts <= 1 + len(tail):
            value, ordinal = _SPELT[spelt]
            return Number(value, ordinal, words=True, rest=rest) if _is_plain(rest) else None
    found = _DIGITS.fullmatch(head)
    rest = word[len(head) :]
    if found is None or not _is_plain(rest):
        return None
    whole, after = found["whole"], found["after"] or ""
    if is_of_time(after):
        return None
    return Number(
        int(whole.replace(",", "")),
        ordinal=after.lower() in ("st", "nd", "rd", "th"),
        before=found["before"],
        grouped="," in whole,
        width=len(whole) if whole.startswith("0") else 0,
        part=found["part"] or "",
        after=after,
        rest=rest,
    )


def _is_plain(rest: str) -> bool:
    """Whether what follows a number in a compound is words: "-year-old", but not the "-4" of "3-4", nor
    the "-pm" of a time."""
    parts = rest[1:].split("-") if rest else []
    return all(part.isalpha() and not is_of_time(part) for part in parts)


def is_of_time(word: str) -> bool:
    """Whether a word makes a time of the number before it.

    Args:
        word: without the marks around it, in any case.

    Example:
        >>> [is_of_time(word) for word in ("PM", "a.m", "o'clock", "km")]
        [True, True, True, False]
    """
    return word.lower().replace("\u2019", "'") in _OF_TIMES


def _ending(value: int, like: str) -> str:
    ending = "th" if value % 100 in (11, 12, 13) else _ENDINGS.get(value % 10, "th")
    return ending.upper() if like.isupper() else ending


def _spell(value: int, ordinal: bool) -> str | None:
    if not 0 <= value <= 99:
        return None
    tens, unit = divmod(value, 10)
    parts = [_UNITS[value]] if value < 20 else [_TENS[tens - 2], *([_UNITS[unit]] if unit else [])]
    if ordinal:
        last = parts[-1]
        parts[-1] = _IRREGULAR.get(last) or (last[:-1] + "ie" if last[-1] == "y" else last) + "th"
    return "-".join(parts)


_SPELT = {
    spelt: (value, ordinal)
    for value in range(100)
    for ordinal in (False, True)
    for spelt in (_spell(value, ordinal),)
    if spelt is not None
}
