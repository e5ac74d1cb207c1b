"""Pictures of an output folder inside a page: checked, and held as data, for the page fetches nothing."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from xml.parsers import expat

from hf_bat.errors import HfBatError

MAX_BYTES = 4_000_000  # of one picture
MAX_BYTES_IN_ALL = 24_000_000
# A PNG of the same name as an SVG comes first in the alphabet, and so is the one that is shown.
ENDINGS = {".png": "image/png", ".svg": "image/svg+xml"}
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"

STYLE = """
figure { margin: .8rem 0; }
figure img { max-width: 100%; height: auto; background: #fff; }
figcaption { color: var(--soft); font-size: .88rem; }
"""


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of a picture that a page can hold."""
    return path.suffix.lower() in ENDINGS


def read_pictures(paths: Mapping[str, Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Read pictures, one where a PNG and an SVG have the same name.

    Args:
        paths: name -> file.

    Returns:
        Name -> data URI of those that a page can hold, and name -> why not of the rest.
    """
    shown: dict[str, str] = {}
    others: dict[str, str] = {}
    stems: dict[str, str] = {}
    room = MAX_BYTES_IN_ALL
    for name in sorted(paths, key=lambda name: name.lower()):
        stem = os.path.splitext(name)[0]
        if stem in stems:
            others[name] = f"a picture of this name is shown: {stems[stem]}"
            continue
        try:
            data = _read(paths[name], room)
        except HfBatError as error:
            others[name] = str(error)
            continue
        room -= len(data)
        stems[stem] = name
        kind = ENDINGS[paths[name].suffix.lower()]
        shown[name] = f"data:{kind};base64,{b64encode(data).decode('ascii')}"
    return shown, others


def figures(pictures: Mapping[str, str], names: Iterable[str], about: str) -> str:
    """Pictures with their names below, as HTML.

    A browser runs no script of a picture in `<img>` and fetches nothing for it, whatever an SVG holds.

    Args:
        pictures: name -> data URI.
        names: those wanted.
        about: what they show, for those who cannot see them.

    Example:
        >>> figures({"a.png": "data:,"}, ["a.png"], "rates")
        '<figure><img alt="rates: a.png" src="data:,"><figcaption>a.png</figcaption></figure>'
    """
    return "\n".join(
        f'<figure><img alt="{escape(f"{about}: {name}")}" src="{pictures[name]}">'
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for name in names
    )


def _read(path: Path, room: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise HfBatError(f"too large for the page ({size:,} bytes, at most {MAX_BYTES:,})")
        if size > room:
            raise HfBatError(f"the page holds {MAX_BYTES_IN_ALL:,} bytes of pictures at most")
        data = path.read_bytes()
    except OSError as error:
        raise HfBatError(f"cannot be read ({error.strerror or error})") from error
    if path.suffix.lower() == ".png" and not (data.startswith(_PNG_START) and _PNG_END in data):
        raise HfBatError("no whole PNG picture")
    if path.suffix.lower() == ".svg" and not _is_svg(data):
        raise HfBatError("no whole SVG picture")
    return data


def _is_svg(data: bytes) -> bool:
    """Whether a browser would draw it: XML to its end, of the right kind."""
    kinds: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = lambda kind, _: kinds.append(kind) if not kinds else None
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError, ValueError):
        return False
    return kinds == ["http://www.w3.org/2000/svg svg"]
