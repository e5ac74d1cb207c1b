"""The template environment of HTML pages, and functions to format values.

Templates escape all values. Functions in this module return plain text, or `Markup` with escaped
parts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hf_bat.stats import clip_to_share, format_rate
from hf_bat.text import escape_controls

F = TypeVar("F", bound=Callable[..., Any])


def _escape_value(value: Any) -> Any:
    """Escape control characters, such as those that reverse the direction of the text after them."""
    # The type is kept, because `Markup` is already escaped as HTML.
    return type(value)(escape_controls(value)) if isinstance(value, str) else value


# `autoescape`: texts and file names may contain HTML. `StrictUndefined`: a missing value is an error,
# which reveals a damaged file.
ENVIRONMENT = Environment(
    loader=PackageLoader("hf_bat.report"),
    autoescape=True,
    finalize=_escape_value,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def add_to_templates(function: F) -> F:
    """Make a function available in templates under its own name."""
    ENVIRONMENT.globals[function.__name__] = function
    return function


add_to_templates(format_rate)


@add_to_templates
def capitalize_first(text: str) -> str:
    """Capitalize the first letter of a text. Other letters do not change, unlike with `capitalize`."""
    return text[:1].upper() + text[1:]


@add_to_templates
def keep_units(text: str) -> str:
    """Keep percent signs on the same line as their numbers."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


@add_to_templates
def mark_edits(before: str, after: str, context: int | None = None) -> Markup:
    """Mark the words that an edit removed and inserted, as HTML.

    `context` is the number of words to show on each side of an edit. By default, all words are
    shown.
    """
    old, new = before.split(), after.split()
    parts: list[str | Markup] = []
    # `autojunk` would ignore the frequent words of long texts.
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        removed, inserted = " ".join(old[i:j]), " ".join(new[k:m])
        if kind == "equal":
            parts.append(_shorten(old, i, j, context))
            continue
        if removed:
            parts.append(Markup("<del>{}</del>").format(removed))
        if inserted:
            parts.append(Markup("<ins>{}</ins>").format(inserted))
    return Markup(" ").join(parts)


def _shorten(words: Sequence[str], start: int, end: int, context: int | None) -> str:
    """Return unedited words. `context` limits their number next to an edit."""
    part = words[start:end]
    if context is None or len(part) <= 2 * context + 1:
        return " ".join(part)
    if start == 0 and end == len(words):  # a text without edits
        return " ".join([*part[: 2 * context], "…"])
    before = part[:context] if start else []
    after = part[-context:] if end < len(words) else []
    return " ".join([*before, "…", *after])


@add_to_templates
def format_number(value: Any) -> str:
    """Format a value with four digits and thousands separators, and `None` as "-"."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@add_to_templates
def format_interval(interval: Sequence[float]) -> str:
    """Format the interval of a rate in percent. A t-interval can go beyond 0 or 1 and is clipped."""
    return " to ".join(f"{100 * bound:.1f}" for bound in clip_to_share(interval))


@add_to_templates
def format_points(*differences: float | None) -> str:
    """Format differences of rates in percentage points, or the bounds of their interval."""
    return " to ".join("-" if d is None else f"{100 * d:+.1f}" for d in differences)


@add_to_templates
def format_json(value: Any) -> str:
    """Format a value as indented JSON."""
    return json.dumps(value, indent=1, ensure_ascii=False)


@add_to_templates
def join_facts(facts: Mapping[str, Any]) -> str:
    """Join facts on one line, without those that are `None` or empty."""
    return " · ".join(
        f"{str(name).replace('_', ' ')}: {format_number(value)}"
        for name, value in facts.items()
        if value is not None and value != ""
    )


@add_to_templates
def select_plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Select the values that fit on one line: strings, numbers and booleans."""
    return {key: value for key, value in values.items() if isinstance(value, (str, int, float))}
