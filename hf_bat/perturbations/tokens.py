"""Tokens as edits of whole words need them: marks on both sides apart, deletion that reads well."""

from __future__ import annotations

from collections.abc import Sequence

from hf_bat.text import is_punctuation

Token = tuple[str, str, str]
"""What `core` gives: the marks before a word, the word, the marks after it."""


def core(token: str) -> Token:
    """Split a token into the marks before its word, the word, and the marks after it.

    Example:
        >>> core('"runs,"'), core("...")
        (('"', 'runs', ',"'), ('...', '', ''))
    """
    start, end = 0, len(token)
    while start < end and is_punctuation(token[start]):
        start += 1
    while end > start and is_punctuation(token[end - 1]):
        end -= 1
    return token[:start], token[start:end], token[end:]


def folded(word: str) -> str:
    """Lower case, with the typewriter's apostrophe."""
    return word.lower().replace("\u2019", "'")


def delete_token(pieces: Sequence[str], place: int) -> list[str]:
    """Take one token out of a sentence, with the white space on one side of it.

    Marks before it go to the next token, marks after it to the one before; the word that then begins
    the sentence takes over a capital.

    Args:
        pieces: what `hf_bat.text.split_pieces` gives.
        place: which piece.

    Returns:
        The pieces that are left; `[""]` when nothing is.

    Example:
        >>> delete_token(["No", " ", "dogs", " ", "run."], 0), delete_token(["Why", " ", "not?"], 2)
        (['Dogs', ' ', 'run.'], ['Why?'])
    """
    before, word, after = core(pieces[place])
    kept = list(pieces)
    if place + 2 < len(kept) and kept[place + 2]:
        following = kept[place + 2]
        if word[:1].isupper() and (place == 0 or not word.isupper()):
            lead, body, rest = core(following)
            following = lead + body[:1].upper() + body[1:] + rest
        kept[place + 2] = before + following
        del kept[place : place + 2]
        if after and place >= 2:
            kept[place - 2] += after
    elif place >= 2:
        kept[place - 2] += before + after
        del kept[place - 1 : place + 1]
    else:
        return [""]
    return kept
