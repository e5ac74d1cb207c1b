"""Base classes of perturbations, which define sets of sentences near an input.

Training samples from a set, an attack searches it, and a certificate bounds it. All three use the same
object, so training and attacks use the same set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from hf_bat.text import Splitter, detach_punctuation, is_punctuation, locate_token

Texts = tuple[str, ...]
# Marks before a word, the word, marks after it.
Token = tuple[str, str, str]
T = TypeVar("T")


class RandomSource(Protocol):
    """Source of uniform numbers in [0, 1): `random.Random`, `numpy.random.Generator`."""

    def random(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Edit:
    """One change to one word of an input.

    Args:
        sentence: Index of the sentence.
        position: Index of the white-space token in that sentence; with a splitter, of the word.
        original: The word before the edit, without its trailing punctuation mark.
        replacement: The new text; several words, or none, if the perturbation inserts or removes words.
        texts: The whole input after the edit.
    """

    sentence: int
    position: int
    original: str
    replacement: str
    texts: Texts


@dataclass(frozen=True, slots=True)
class Slot:
    """A word that can be replaced, with all its replacements, nearest first.

    Args:
        sentence: Index of the sentence.
        position: Index of the white-space token in that sentence.
        original: The word without its trailing punctuation mark.
        replacements: At least one word, in the case of the original, never the original.
    """

    sentence: int
    position: int
    original: str
    replacements: tuple[str, ...]


class Perturbation(ABC):
    """A set of sentences around an input; see `SynonymPerturbation` and `AntonymPerturbation`.

    A subclass needs `name`, `kind`, `candidates` and `describe`. Its methods take `texts`, the one or two
    sentences of an input, and `rng`, a source of randomness: the same state gives the same draw.

    Attributes:
        name: Short name in metric keys and reports, such as `"antonym"`.
        kind: `"fickle"` (the label should survive) or `"obstinate"` (the label should change).
        asks_model: Whether `prepare` should be called with many inputs before their candidates are listed,
            because a model proposes them. Defaults to `False`.

    Example:
        >>> class Shout(Perturbation):
        ...     name, kind = "shout", "fickle"
        ...     def candidates(self, texts):
        ...         loud = texts[0].upper()
        ...         return [Edit(0, 0, texts[0], loud, (loud, *texts[1:]))] if loud != texts[0] else []
        ...     def describe(self):
        ...         return {"perturbation": self.name}
        >>> import random
        >>> Shout().sample(("Run!",), random.Random(0)), Shout().sample(("RUN!",), random.Random(0))
        (('RUN!',), None)
    """

    name: str
    kind: Literal["fickle", "obstinate"]
    asks_model: bool = False
    # Of `SplitPerturbation`. Other perturbations cannot be around it, because they split at white space.
    splitter: Splitter | None = None

    @property
    def filtered(self) -> Any:
        """The perturbation with the label filter, this one or one inside it; `None` without a filter."""
        return None

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        """Draw one perturbed input, by default one of the candidates, or `None` if no word changes.

        Rows without a valid version are masked out of the contrastive terms.
        """
        edit = self.choose(self.candidates(texts), rng)
        return edit.texts if edit else None

    def sample_for_label(
        self, texts: Texts, rng: RandomSource, label_name: str | None
    ) -> Texts | None:
        """Draw one perturbed input of a row; override it if its label's name decides which edits count."""
        return self.sample(texts, rng)

    @abstractmethod
    def candidates(self, texts: Texts) -> list[Edit]:
        """List every single edit of an input, in reading order, nearest replacement first."""

    def edits_at(
        self, texts: Texts, sentence: int, position: int, start: Texts, start_position: int
    ) -> list[Edit] | None:
        """List the edits of one word of an input that an attack has edited before.

        Override it if that is faster than `candidates`, which a greedy attack otherwise calls once for each
        text that it comes to.

        Args:
            texts: The sentences of the input as edited so far.
            sentence: Index of the sentence.
            position: Index of the word's white-space token.
            start: The unedited input.
            start_position: Index of the same token in the sentence of `start`.

        Returns:
            The edits, nearest replacement first, or `None` to use `candidates`.
        """
        return None

    def prepare(self, inputs: Sequence[Texts]) -> None:  # noqa: B027 (optional to override)
        """Prepare the candidates of several inputs together; see `asks_model`."""

    def choose(self, edits: Sequence[Edit], rng: RandomSource) -> Edit | None:
        """Draw one of some candidates as `sample` draws, by default uniformly; `None` if there are none."""
        # Not `rng.choice`, because a `RandomSource` has only `random`.
        return edits[int(rng.random() * len(edits))] if edits else None

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Return every choice that changes the draws or candidates, ready for JSON."""


class Memo(dict[str, T]):
    """Results of a function of one string, computed once each.

    Faster than `functools.cache`, because a look-up that succeeds runs no Python code, and every token
    of a draw is looked up. A pickled memo is empty.
    """

    def __init__(self, compute: Callable[[str], T]):
        super().__init__()
        self.compute = compute

    def __missing__(self, key: str) -> T:
        # Few corpora have more distinct tokens; beyond that the memory matters more than the look-ups.
        if len(self) >= 500_000:
            self.clear()
        self[key] = result = self.compute(key)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        # Computing again is faster than sending the results to every data worker.
        return Memo, (self.compute,)


def list_edits(texts: Texts, slot: Slot) -> list[Edit]:
    """List the edits that replace one word, one for each of its replacements."""
    i, position = slot.sentence, slot.position
    edited = {new: apply_replacement(texts[i], position, new) for new in slot.replacements}
    return [
        Edit(i, position, slot.original, new, replace_sentence(texts, i, text))
        for new, text in edited.items()
    ]


def apply_replacement(text: str, position: int, replacement: str) -> str:
    """Return a sentence with one word replaced; spacing and the trailing punctuation mark are kept.

    Args:
        text: A sentence.
        position: Index of the white-space token.
        replacement: The new word, already in the right case.

    Raises:
        IndexError: If the sentence has no such token.

    Example:
        >>> apply_replacement("Two  dogs, running.", 1, "cats")
        'Two  cats, running.'
    """
    pieces, place = locate_token(text, position)
    pieces[place] = replacement + detach_punctuation(pieces[place])[1]
    return "".join(pieces)


def replace_sentence(texts: Texts, sentence: int, text: str) -> Texts:
    """Return an input with another sentence at one index."""
    return (*texts[:sentence], text, *texts[sentence + 1 :])


def split_marks(token: str) -> Token:
    """Split a token into the marks before its word, the word, and the marks after it.

    Example:
        >>> split_marks('"runs,"'), split_marks("...")
        (('"', 'runs', ',"'), ('...', '', ''))
    """
    start, end = 0, len(token)
    while start < end and is_punctuation(token[start]):
        start += 1
    while end > start and is_punctuation(token[end - 1]):
        end -= 1
    return token[:start], token[start:end], token[end:]


def normalize_word(word: str) -> str:
    """Return a word in lower case, with the typewriter's apostrophe."""
    return word.lower().replace("\u2019", "'")


def delete_token(pieces: Sequence[str], place: int) -> list[str]:
    """Delete one token from the result of `split_pieces`, with the white space on one side of it.

    The next token receives the marks before the deleted word, the previous token the marks after it.
    The word that then begins the sentence receives its capital.

    Example:
        >>> delete_token(["No", " ", "dogs", " ", "run."], 0), delete_token(["Why", " ", "not?"], 2)
        (['Dogs', ' ', 'run.'], ['Why?'])
    """
    before, word, after = split_marks(pieces[place])
    kept = list(pieces)
    if place + 2 < len(kept) and kept[place + 2]:
        following = kept[place + 2]
        # "NO dogs": capitals in the middle are emphasis, not the start of a sentence.
        if word[:1].isupper() and (place == 0 or not word.isupper()):
            lead, body, rest = split_marks(following)
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
