"""The part of a long input that an attack edits: the words that the model reads, and some more."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hf_bat.attack.engine import Classifier
from hf_bat.perturbations.base import Texts


@dataclass(frozen=True)
class Window:
    """A part of an input, of which a model reads the same as of the whole input.

    An edit holds its whole text, so that the edits of a text of n words take time and memory in proportion to
    its square. With a window they depend only on the model's maximum length.

    Args:
        texts: The part of each sentence.
        visible: For each part, which of its white-space tokens the model reads.
        starts: For each part, the position of its first token in the sentence.
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
        """Return the window of an input: all of it, unless it is much longer than the model reads."""
        visible, reach = model.visible([texts])[0], model.max_length
        # Tokenizers give an odd token to the longer sentence of a pair, which must stay the longer one.
        longest = max(texts, key=lambda text: len(text.split())) if len(texts) > 1 else None
        spans = [
            _find_span(text, seen, reach and (4 * reach if text is longest else reach))
            for text, seen in zip(texts, visible, strict=True)
        ]
        parts = tuple(text[s.first : s.last] for text, s in zip(texts, spans, strict=True))
        # The key is what the model reads; it differs if a model draws by the whole text, for example.
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
        """Return the whole input with edited parts."""
        parts = zip(self.before, texts, self.after, strict=True)
        return tuple("".join(pieces) for pieces in parts)


@dataclass(frozen=True)
class _Span:
    """A part of a sentence: its first character, the one after its last, and its first token's position."""

    first: int
    last: int
    start: int


def _find_span(text: str, seen: range, reach: int | None) -> _Span:
    """Return the part of a sentence with the words that are seen, and as many more as edits can bring in."""
    if reach is None:
        return _Span(0, len(text), 0)
    words = [match.span() for match in re.finditer(r"\S+", text)]
    # A word has a token or more, so that after any edits `reach` words more fill the model's maximum length.
    start, stop = max(0, seen.start - reach), min(len(words), seen.stop + reach)
    if stop - start == len(words) or stop <= start:
        return _Span(0, len(text), 0)
    # Without the white space at its end: an edit of the last word must not touch it.
    first = words[start][0] if start else 0
    last = words[stop - 1][1] if stop < len(words) else len(text)
    return _Span(first, last, start)
