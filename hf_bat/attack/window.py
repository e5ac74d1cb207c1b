"""The part of a long input that an attack edits: the words that the model sees, and some more."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hf_bat.attack.engine import Classifier
from hf_bat.perturbations.base import Texts


@dataclass(frozen=True)
class Window:
    """A part of an input that looks the same to the model as the entire input.

    An edit contains its entire text, so the time and memory for all edits of a text are quadratic in its
    number of words. With a window, they only depend on the model's maximum length.

    Args:
        texts: The part of each sentence.
        visible: The whitespace tokens in each part that the model sees.
        starts: The position of each part's first token in its sentence.
        before: The text before each part.
        after: The text after each part.
    """

    texts: Texts
    visible: tuple[range, ...]
    starts: tuple[int, ...]
    before: Texts
    after: Texts

    @classmethod
    def of(cls, model: Classifier, texts: Texts) -> Window:
        """Return the window of the input. It is the entire input unless it is much too long for the model."""
        visible, reach = model.visible([texts])[0], model.max_length
        # Tokenizers assign an odd token to the pair's longer sentence, so this sentence must also be
        # longer in the window.
        longest = max(texts, key=lambda text: len(text.split())) if len(texts) > 1 else None
        spans = [
            _find_span(text, seen, reach and (4 * reach if text is longest else reach))
            for text, seen in zip(texts, visible, strict=True)
        ]
        parts = tuple(text[s.first : s.last] for text, s in zip(texts, spans, strict=True))
        # If the keys differ, the model also uses the rest of the text, for example to seed its draws.
        if parts == texts or model.keys([parts]) != model.keys([texts]):
            return cls(texts, visible, (0,) * len(texts), ("",) * len(texts), ("",) * len(texts))
        return cls(
            parts,
            tuple(
                range(seen.start - s.start, seen.stop - s.start)
                for seen, s in zip(visible, spans, strict=True)
            ),
            tuple(s.start for s in spans),
            tuple(text[: s.first] for text, s in zip(texts, spans, strict=True)),
            tuple(text[s.last :] for text, s in zip(texts, spans, strict=True)),
        )

    def restore(self, texts: Texts) -> Texts:
        """Return the entire input with the edited parts."""
        parts = zip(self.before, texts, self.after, strict=True)
        return tuple("".join(pieces) for pieces in parts)


@dataclass(frozen=True)
class _Span:
    """A part of the sentence, with its character range and the position of its first token."""

    first: int
    last: int
    start: int


def _find_span(text: str, seen: range, reach: int | None) -> _Span:
    """Return the part of the sentence with the visible words, and all words that edits can make visible."""
    if reach is None:
        return _Span(0, len(text), 0)
    words = [match.span() for match in re.finditer(r"\S+", text)]
    # Each word has at least one token, so `reach` more words always fill the model's maximum length.
    start, stop = max(0, seen.start - reach), min(len(words), seen.stop + reach)
    if stop - start == len(words) or stop <= start:
        return _Span(0, len(text), 0)
    # Leave out the whitespace at the end, because edits of the last word must not change it.
    first = words[start][0] if start else 0
    last = words[stop - 1][1] if stop < len(words) else len(text)
    return _Span(first, last, start)
