"""Numbers and quantities (obstinate): replace one number in one sentence with another number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from hf_bat.perturbations.base import normalize_word, split_marks
from hf_bat.perturbations.substitution import SwapPerturbation
from hf_bat.text import detach_punctuation, match_case

# Increase this number when the edits of a text change. Recipe hashes and the keys of sweep runs include it.
NUMBER_VERSION = 3
_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_IRREGULAR_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_DIGITS = re.compile(
    r"(?P<before>[^\w.,]{0,2})(?P<whole>\d{1,3}(?:,\d{3})+|\d{1,15})(?P<part>\.\d+)?"
    r"(?P<after>st|nd|rd|th|[^\W\d_]{1,3}|%|\u00b0)?",
    re.IGNORECASE,
)
_TIME_WORDS = ("am", "pm", "a.m", "p.m", "o'clock", "noon", "midnight")
_LARGE = ("hundred", "thousand", "million", "billion")
# Words in the same group replace each other.
_GROUPS = (
    _LARGE, tuple(f"{word}s" for word in _LARGE), ("twice", "thrice"), ("double", "triple"),
    ("duo", "trio", "quartet"), ("more", "less"), ("everyone", "nobody"), ("everything", "nothing"),
)  # fmt: skip
# The other words are only replaced in one direction, because "few" is often part of "a few". "all", "both",
# "most" and "no" are missing, because their replacement depends on their neighbors ("all the dogs", "most
# beautiful").
_QUANTITIES = {
    **{word: tuple(w for w in group if w != word) for group in _GROUPS for word in group},
    "dozen": ("hundred", "thousand"), "dozens": ("hundreds", "thousands"), "many": ("few",),
    "numerous": ("few",), "countless": ("few",), "fewer": ("more",), "everybody": ("nobody",),
    "none": ("all",),
}  # fmt: skip


class NumberPerturbation(SwapPerturbation):
    """The obstinate set of all inputs with one number or quantity changed: two -> three, many -> few.

    Supported numbers are words up to ninety-nine, digits, and ordinals of both. Case, grouping commas,
    decimals, units and compounds ("two-year-old", "$1,500", "30%") are kept. A number n is replaced by
    n + s, n - s (or half of n, if n - s would be less than 2) and, if n is below 1,000, 2 n. The step s is 1,
    or the largest power of ten that divides a round number. "hundred", "thousand", "million" and "billion"
    replace each other, and so do their plurals. A quantity is only replaced if its opposite fits nearly
    everywhere: "many" becomes "few", and "more" and "less" replace each other.

    1 does not change unless it is an ordinal, and no other number becomes 1, because "one" is often a
    pronoun and requires a singular noun. 0, times ("10:30", "10pm", "ten o'clock"), dates and ranges do not
    change either.

    Args:
        casing: See `SubstitutionPerturbation`. Defaults to `"keep"`.
        fit_grammar: See `SwapPerturbation`. Defaults to `True`.

    Example:
        >>> numbers = NumberPerturbation()
        >>> [numbers.replacements(word) for word in ("Two", "20", "3rd", "1,000km", "one", "Many")]
        [('Three', 'Four'), ('30', '10', '40'), ('4th', '2nd', '6th'), ('2,000km', '500km'), (), ('Few',)]
    """

    name = "number"

    def __init__(self, casing: Literal["keep", "authors"] = "keep", fit_grammar: bool = True):
        super().__init__({}, exclude_stopwords=False, casing=casing, fit_grammar=fit_grammar)

    def replacements(self, word: str) -> tuple[str, ...]:
        number = parse_number(word)
        if number is None:
            others, is_spelled = list(_QUANTITIES.get(word.lower(), ())), True
        else:
            values = dict.fromkeys(_list_values(number))
            others = [new for value in values if (new := number.write(value))]
            is_spelled = number.words
        # Digits have no case, and `write` keeps the case of the ending in "3RD".
        keep = self.casing == "keep" and is_spelled
        return tuple(match_case(other, word) if keep else other for other in others)

    def is_kept(self, tokens: Sequence[str], place: int) -> bool:
        """Return whether the word is the number in a time, such as "10" in "10 pm"."""
        word, mark = detach_punctuation(tokens[place])
        following = "".join(tokens[place + 1 : place + 2])
        return not mark and _is_time_word(split_marks(following)[1]) and bool(parse_number(word))

    def describe(self) -> dict[str, Any]:
        # Leave out the options for the table and the stop words, which are not used here.
        described = {"perturbation": self.name, "version": NUMBER_VERSION, **super().describe()}
        return {k: v for k, v in described.items() if k not in ("table", "exclude_stopwords")}


class Number(NamedTuple):
    """The parts of a number word. `write` formats another value in the same way."""

    value: int  # the integer part
    ordinal: bool = False
    words: bool = False  # spelled out
    before: str = ""  # "$"
    grouped: bool = False  # "1,000"
    width: int = 0  # minimum number of digits, if the first digit is 0
    part: str = ""  # decimal point and decimals
    after: str = ""  # "%", "km", "rd"
    rest: str = ""  # rest of a compound: "-year-old"

    def write(self, value: int) -> str | None:
        """Write another value in this form, in lower case.

        Return `None` if the number is spelled out and the value is above ninety-nine.

        Example:
            >>> [parse_number(text).write(12) for text in ("Two", "first", "3rd", "$1,500.50", "5-year-old")]
            ['twelve', 'twelfth', '12th', '$12.50', '12-year-old']
        """
        if self.words:
            spelled = _write_words(value, self.ordinal)
            return None if spelled is None else spelled + self.rest
        digits = f"{value:,}" if self.grouped else str(value).zfill(self.width)
        after = self.after
        if self.ordinal:
            ending = {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
            ending = "th" if value % 100 in (11, 12, 13) else ending
            after = ending.upper() if after.isupper() else ending
        return f"{self.before}{digits}{self.part}{after}{self.rest}"


def parse_number(word: str) -> Number | None:
    """Split a number word into its parts, ignoring case. Return `None` if it is not a number.

    Times, dates and ranges ("10:30", "10pm", "1/2", "3-4") are not treated as numbers.

    Example:
        >>> parse_number("Twenty-one").value, parse_number("2nd").ordinal, parse_number("1,000").value
        (21, True, 1000)
        >>> parse_number("two-story").rest, parse_number("someone"), parse_number("7AM")
        ('-story', None, None)
    """
    parts = word.split("-")
    # Try the longer match first: "twenty-one" before "twenty".
    for size in (2, 1):
        spelled = "-".join(parts[:size]).lower()
        if spelled in _SPELLED:
            value, ordinal = _SPELLED[spelled]
            rest = "".join(f"-{part}" for part in parts[size:])
            return Number(value, ordinal, True, rest=rest) if _is_plain(parts[size:]) else None
    digits = _DIGITS.fullmatch(parts[0])
    if digits is None or not _is_plain(parts[1:]):
        return None
    whole, after = digits["whole"], digits["after"] or ""
    if _is_time_word(after):
        return None
    return Number(
        int(whole.replace(",", "")),
        ordinal=after.lower() in ("st", "nd", "rd", "th"),
        before=digits["before"],
        grouped="," in whole,
        width=len(whole) if whole.startswith("0") else 0,
        part=digits["part"] or "",
        after=after,
        rest=word[len(parts[0]) :],
    )


def _is_plain(rest: Sequence[str]) -> bool:
    """Return whether the rest of a compound consists of words ("-year-old", but not "-4" or "-pm")."""
    return all(part.isalpha() and not _is_time_word(part) for part in rest)


def _is_time_word(word: str) -> bool:
    """Return whether the word, without punctuation marks, indicates that the number before it is a time."""
    return normalize_word(word) in _TIME_WORDS


def _list_values(number: Number) -> list[int]:
    value, least = number.value, 1 if number.ordinal else 2
    if value < least:
        return []
    # 20 -> 30 and 1,500 -> 1,600. Adding one to a round number would hardly change it.
    step = 1
    while value >= 20 and value % (10 * step) == 0:
        step *= 10
    lower = value - step if value - step >= least else value // 2
    values = [value + step, lower, 2 * value if value < 1000 else 0]
    return [other for other in values if other >= least]


def _write_words(value: int, ordinal: bool) -> str | None:
    if not 0 <= value <= 99:
        return None
    tens, unit = divmod(value, 10)
    parts = [_UNITS[value]] if value < 20 else [_TENS[tens - 2], *([_UNITS[unit]] if unit else [])]
    if ordinal:
        last = parts[-1]
        regular = (last[:-1] + "ie" if last[-1] == "y" else last) + "th"
        parts[-1] = _IRREGULAR_ORDINALS.get(last, regular)
    return "-".join(parts)


_SPELLED = {
    _write_words(value, ordinal): (value, ordinal)
    for value in range(100)
    for ordinal in (False, True)
}
