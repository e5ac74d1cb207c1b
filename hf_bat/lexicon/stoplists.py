"""The two stop-word lists that the paper's experiments use, shipped as plain text."""

from functools import cache
from pathlib import Path

from hf_bat.errors import HfBatError

LISTS = ("nltk", "textfooler")
_DATA = Path(__file__).parent / "data"


@cache
def stopwords(name: str) -> frozenset[str]:
    """A list of stop words, lower case.

    Args:
        name: "nltk", NLTK's English list of 179 words (the antonym attack's), or "textfooler", the 266
            words of TextFooler (Jin et al. 2020; the synonym attack's).

    Returns:
        The words.

    Raises:
        HfBatError: another name.

    Example:
        >>> len(stopwords("nltk")), len(stopwords("textfooler")), "not" in stopwords("nltk")
        (179, 266, True)
    """
    if name not in LISTS:
        raise HfBatError(f"unknown stop-word list {name!r}; known: {', '.join(LISTS)}")
    return frozenset((_DATA / f"stopwords_{name}.txt").read_text(encoding="utf-8").split())
