"""The template environment of HTML pages, and how pages write values.

Templates escape every value. Functions here return plain text, or `Markup` that has escaped its parts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hf_bat.stats import clip_to_share

# `StrictUndefined`: a missing value is an error, so that a damaged file is noticed.
ENVIRONMENT = Environment(
    loader=PackageLoader("hf_bat.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: File name in `templates/`.
        **values: Values that the template uses.
    """
    return ENVIRONMENT.get_template(template).render(**values)


def mark_edits(before: str, after: str) -> Markup:
    """Mark the words that an edit removed and inserted.

    Args:
        before: Original text.
        after: Edited text.

    Returns:
        One line of HTML with `<del>` and `<ins>`.

    Example:
        >>> print(mark_edits("He goes <home>.", "He doesn't go <home>."))
        He <del>goes</del> <ins>doesn&#39;t go</ins> &lt;home&gt;.
    """
    old, new = before.split(), after.split()
    parts: list[str | Markup] = []
    for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(" ".join(old[i:j]))
            continue
        if i < j:
            parts.append(Markup("<del>{}</del>").format(" ".join(old[i:j])))
        if k < m:
            parts.append(Markup("<ins>{}</ins>").format(" ".join(new[k:m])))
    return Markup(" ").join(parts)


def format_number(value: Any) -> str:
    """Format a value with four digits and with thousands separated; `None` as "-".

    Example:
        >>> format_number(12345), format_number(0.123456), format_number(None)
        ('12,345', '0.1235', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def format_rate(rate: float) -> str:
    """Format a rate in [0, 1] as a percentage."""
    return f"{100 * rate:.1f} %"


def format_interval(interval: Sequence[float]) -> str:
    """Format the interval of a rate in percent. A t-interval can reach past 0 or 1 and is clipped.

    Example:
        >>> format_interval((-0.05, 0.5))
        '0.0 to 50.0'
    """
    low, high = clip_to_share(interval)
    return f"{100 * low:.1f} to {100 * high:.1f}"


def format_points(difference: float | None) -> str:
    """Format a difference of rates in percentage points, with its sign."""
    return "-" if difference is None else f"{100 * difference:+.1f}"


def format_points_interval(interval: Sequence[float] | None) -> str:
    """Format the interval of a difference of rates in percentage points."""
    return " to ".join(format_points(bound) for bound in interval or ())


def format_json(value: Any) -> str:
    """Format a value as indented JSON."""
    return json.dumps(value, indent=1, ensure_ascii=False)


def join_facts(facts: Mapping[str, Any]) -> str:
    """Write facts on one line, without those that are `None` or empty.

    Example:
        >>> join_facts({"model": "bert", "training_rows": 1000, "task": None})
        'model: bert · training rows: 1,000'
    """
    return " · ".join(
        f"{str(name).replace('_', ' ')}: {format_number(value)}"
        for name, value in facts.items()
        if value is not None and value != ""
    )


def select_plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Select the values that fit on one line: strings, numbers and booleans."""
    return {key: value for key, value in values.items() if isinstance(value, (str, int, float))}


ENVIRONMENT.filters |= {
    function.__name__: function
    for function in (
        format_interval,
        format_json,
        format_number,
        format_points,
        format_points_interval,
        format_rate,
        join_facts,
        select_plain,
    )
}
ENVIRONMENT.globals["mark_edits"] = mark_edits
