"""The two stop-word lists of the paper's experiments, shipped as plain text."""

from functools import cache
from pathlib import Path

from hf_bat.errors import HfBatError

LISTS = ("nltk", "textfooler")


@cache
def stopwords(name: str) -> frozenset[str]:
    """Return a list of stop words, in lower case.

    Args:
        name: `"nltk"`, NLTK's English list of 179 words (of the antonym attack), or `"textfooler"`,
            the 266 words of TextFooler (Jin et al. 2020; of the synonym attack).

    Returns:
        The words.

    Raises:
        HfBatError: If the name is unknown.

    Example:
        >>> len(stopwords("nltk")), len(stopwords("textfooler")), "not" in stopwords("nltk")
        (179, 266, True)
    """
    if name not in LISTS:
        raise HfBatError(f"unknown stop-word list {name!r}; known: {', '.join(LISTS)}")
    path = Path(__file__).parent / "data" / f"stopwords_{name}.txt"
    return frozenset(path.read_text(encoding="utf-8").split())
