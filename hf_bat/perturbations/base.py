"""Base classes for perturbations. A perturbation defines a set of sentences near an input.

Training samples from the set, an attack searches it, and a certificate bounds the model's output over it.
All three use the same object, so training and attacks use the same set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from hf_bat.text import Splitter, detach_punctuation, is_punctuation, locate_token

Texts = tuple[str, ...]
# The marks before the word, the word itself, and the marks after it.
Token = tuple[str, str, str]
T = TypeVar("T")


class RandomSource(Protocol):
    """Source of uniform numbers in [0, 1), such as `random.Random` or `numpy.random.Generator`."""

    def random(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Edit:
    """One change to one word of the input.

    Args:
        sentence: Index of the sentence.
        position: Index of the whitespace token in that sentence, or index of the word if a splitter is
            used.
        original: The word before the edit, without its trailing punctuation mark.
        replacement: The new text. It can contain several words, or be empty, if the perturbation inserts
            or removes words.
        texts: The entire input after the edit.
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
        position: Index of the whitespace token in that sentence.
        original: The word without its trailing punctuation mark.
        replacements: One or more words with the same capitalization as the original. The original is not
            included.
    """

    sentence: int
    position: int
    original: str
    replacements: tuple[str, ...]


class Perturbation(ABC):
    """A set of sentences around an input; see `SynonymPerturbation` and `AntonymPerturbation`.

    A subclass must define `name`, `kind`, `candidates` and `describe`. Its methods take `texts` (the input's
    one or two sentences) and `rng` (a source of randomness). The same state of `rng` must return the
    same draw.

    Attributes:
        name: Short name in metric keys and reports, such as `"antonym"`.
        kind: `"fickle"` (the label should survive) or `"obstinate"` (the label should change).
        asks_model: Whether a model proposes the candidates. If so, `prepare` should be called with many
            inputs before their candidates are listed. Defaults to `False`.

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
    # Set by `SplitPerturbation` only. Other perturbations cannot wrap it, because they split at whitespace.
    splitter: Splitter | None = None

    @property
    def filtered(self) -> Any:
        """The perturbation that filters labels (this one or a wrapped one), or `None` without a filter."""
        return None

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        """Draw a perturbed input, by default from the candidates. Return `None` if the list is empty.

        Rows without a valid version are masked out of the contrastive terms.
        """
        edit = self.choose(self.candidates(texts), rng)
        return edit.texts if edit else None

    def sample_for_label(
        self, texts: Texts, rng: RandomSource, label_name: str | None
    ) -> Texts | None:
        """Draw one perturbed input. Override this method if the valid edits depend on the label's name."""
        return self.sample(texts, rng)

    @abstractmethod
    def candidates(self, texts: Texts) -> list[Edit]:
        """List every single edit of the input, in reading order, nearest replacement first."""

    def edits_at(
        self, texts: Texts, sentence: int, position: int, start: Texts, start_position: int
    ) -> list[Edit] | None:
        """List the edits of one word in an input that an attack has already edited.

        Override this method if it is faster than `candidates`. A greedy attack calls `candidates` for each
        new text otherwise.

        Args:
            texts: The sentences of the input as edited so far.
            sentence: Index of the sentence.
            position: Index of the word's whitespace token.
            start: The unedited input.
            start_position: Index of the same token in the sentence of `start`.

        Returns:
            The edits, nearest replacement first, or `None` to use `candidates`.
        """
        return None

    def prepare(self, inputs: Sequence[Texts]) -> None:  # noqa: B027 (optional to override)
        """Prepare the candidates of several inputs together; see `asks_model`."""

    def choose(self, edits: Sequence[Edit], rng: RandomSource) -> Edit | None:
        """Draw from the given edits as `sample` does, or return `None` if the list is empty.

        The default draws uniformly.
        """
        # A `RandomSource` only has `random`, so `rng.choice` is not available.
        return edits[int(rng.random() * len(edits))] if edits else None

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """Return all settings that affect the draws or candidates, in a JSON-serializable form."""


class Memo(dict[str, T]):
    """Cache for the results of a function of one string.

    It is faster than `functools.cache`, because a lookup that hits the cache runs no Python code. A draw
    looks up every token. A pickled memo is empty.
    """

    def __init__(self, compute: Callable[[str], T]):
        super().__init__()
        self.compute = compute

    def __missing__(self, key: str) -> T:
        # Few corpora have more distinct tokens. Above this limit, memory matters more than lookups.
        if len(self) >= 500_000:
            self.clear()
        self[key] = result = self.compute(key)
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        # Recomputing is faster than sending the results to every data worker.
        return Memo, (self.compute,)


def list_edits(texts: Texts, slot: Slot) -> list[Edit]:
    """List the edits that replace one word, with one edit per replacement."""
    i, position = slot.sentence, slot.position
    edited = {new: apply_replacement(texts[i], position, new) for new in slot.replacements}
    return [
        Edit(i, position, slot.original, new, replace_sentence(texts, i, text))
        for new, text in edited.items()
    ]


def apply_replacement(text: str, position: int, replacement: str) -> str:
    """Return the sentence with one word replaced, keeping the spacing and the trailing punctuation mark.

    Args:
        text: A sentence.
        position: Index of the whitespace token.
        replacement: The new word, already in the right case.

    Raises:
        IndexError: If `position` is out of range.

    Example:
        >>> apply_replacement("Two  dogs, running.", 1, "cats")
        'Two  cats, running.'
    """
    pieces, place = locate_token(text, position)
    pieces[place] = replacement + detach_punctuation(pieces[place])[1]
    return "".join(pieces)


def replace_sentence(texts: Texts, sentence: int, text: str) -> Texts:
    """Return the input with the sentence at one index replaced."""
    return (*texts[:sentence], text, *texts[sentence + 1 :])


def split_marks(token: str) -> Token:
    """Split the token into the marks before its word, the word, and the marks after it.

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
    """Return the word in lower case, with curly apostrophes replaced by straight ones."""
    return word.lower().replace("\u2019", "'")


def delete_token(pieces: Sequence[str], place: int) -> list[str]:
    """Delete one token from the result of `split_pieces`, and the whitespace on one side of it.

    The marks before the deleted word move to the next token, and the marks after it move to the previous
    token. If the deleted word was capitalized, the word that replaces it at the start of the sentence is
    capitalized.

    Example:
        >>> delete_token(["No", " ", "dogs", " ", "run."], 0), delete_token(["Why", " ", "not?"], 2)
        (['Dogs', ' ', 'run.'], ['Why?'])
    """
    before, word, after = split_marks(pieces[place])
    kept = list(pieces)
    if place + 2 < len(kept) and kept[place + 2]:
        following = kept[place + 2]
        # In the middle of a text, all-caps words like "NO" are emphasis and do not start sentences.
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
