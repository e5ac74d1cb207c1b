"""Numbers and quantities (obstinate): one of one sentence is replaced by another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from hf_bat.lexicon.numbers import Number, is_of_time, parse_number
from hf_bat.perturbations.substitution import SwapPerturbation
from hf_bat.perturbations.tokens import core
from hf_bat.text import detach_punctuation, match_case

# Raised where other edits come of the same text: recipes and the keys of sweeps have it.
NUMBER_VERSION = 3
# Not in numbers to ninety-nine, and exchanged for each other.
_LARGE = ("hundred", "thousand", "million", "billion")
_GROUPS = (
    _LARGE,
    tuple(f"{one}s" for one in _LARGE),
    ("twice", "thrice"),
    ("double", "triple"),
    ("duo", "trio", "quartet"),
    ("more", "less"),
    ("everyone", "nobody"),
    ("everything", "nothing"),
)
# Quantities whose opposites do not go back to them. "all", "both", "few", "most", "no" and the like are not
# here: what may stand in their place depends on their neighbours ("all the dogs", "a few", "most beautiful").
_QUANTITIES = {
    **{one: tuple(other for other in group if other != one) for group in _GROUPS for one in group},
    "dozen": ("hundred", "thousand"),
    "dozens": ("hundreds", "thousands"),
    "many": ("few",),
    "numerous": ("few",),
    "countless": ("few",),
    "fewer": ("more",),
    "everybody": ("nobody",),
    "none": ("all",),
}


class NumberPerturbation(SwapPerturbation):
    """The obstinate set of all inputs with one number or quantity changed: two -> three, 2 -> 3, many -> few.

    Digits stay digits and words stay words, ordinals ordinals; case, grouping commas, decimals, units
    and compounds ("two-year-old", "$1,500", "30%") are kept. A number n becomes n + s, n - s (or half of n,
    where that would be under 2) and, under 1,000, 2 n; s is 1, and for a round number the greatest power
    of ten that divides it. "hundred", "thousand", "million" and "billion" stand for each other, as do
    their plurals. Quantities are those whose opposite fits nearly wherever they stand: "many" becomes
    "few" (and not the other way, for there is "a few"); "more" and "less", "everyone" and "nobody", "dozens"
    and "hundreds", "twice" and "thrice" stand for each other.

    1 is left alone unless ordinal, and no other number becomes it, for "one" is a pronoun as often and its
    noun is singular. So are 0, times ("10:30", "10pm", "10 p.m.", "ten o'clock"), dates and ranges.

    Args:
        casing: see `SubstitutionPerturbation`.

    Example:
        >>> numbers = NumberPerturbation()
        >>> [numbers.replacements(word) for word in ("Two", "20", "3rd", "1,000km", "one", "Many")]
        [('Three', 'Four'), ('30', '10', '40'), ('4th', '2nd', '6th'), ('2,000km', '500km'), (), ('Few',)]
    """

    name = "number"

    def __init__(self, casing: Literal["keep", "authors"] = "keep"):
        super().__init__({}, exclude_stopwords=False, casing=casing)

    def replacements(self, word: str) -> tuple[str, ...]:
        lower = word.lower()
        number = parse_number(word)
        if number is not None:
            values = dict.fromkeys(_values(number))
            found = [new for value in values if (new := number.write(value))]
            spelt = number.words
        else:
            found, spelt = list(_QUANTITIES.get(lower, ())), True
        keep = self.casing == "keep" and spelt
        return tuple(match_case(new, word) if keep else new for new in found)

    def leaves(self, tokens: Sequence[str], place: int) -> bool:
        """Whether the word is the number of a time, such as "10" in "10 pm"."""
        word, mark = detach_punctuation(tokens[place])
        following = "".join(tokens[place + 1 : place + 2])
        return not mark and is_of_time(core(following)[1]) and parse_number(word) is not None

    def describe(self) -> dict[str, Any]:
        return {"perturbation": self.name, "version": NUMBER_VERSION, "casing": self.casing}


def _values(number: Number) -> list[int]:
    value = number.value
    least = 1 if number.ordinal else 2
    if value < least:
        return []
    step = 1
    while value >= 20 and value % (10 * step) == 0:
        step *= 10
    lower = value - step if value - step >= least else value // 2
    found = [value + step, lower, 2 * value if value < 1000 else 0]
    return [one for one in found if one >= least]
