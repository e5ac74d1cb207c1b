"""Several obstinate perturbations as one, for training on more than antonyms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Edit, Perturbation, RandomSource, Texts


@dataclass(frozen=True, slots=True)
class _Edit(Edit):
    """An edit that remembers which of the perturbations make it: "second" for "first" is an antonym and the
    next number."""

    sources: tuple[int, ...]


class MixedPerturbation(Perturbation):
    """The union of several obstinate sets.

    A sample takes the perturbations in a random order and draws from the first that has an edit of the
    input: each kind that the input allows is as likely, however many edits it has.

    Args:
        perturbations: at least one, each obstinate.

    Raises:
        HfBatError: none, or a fickle one.

    Example:
        >>> import random
        >>> from hf_bat.perturbations import AntonymPerturbation, NumberPerturbation
        >>> mixed = MixedPerturbation([AntonymPerturbation({"hot": ("cold",)}), NumberPerturbation()])
        >>> mixed.sample(("Two dogs.",), random.Random(0))
        ('Three dogs.',)
        >>> [edit.replacement for edit in mixed.candidates(("Two hot days.",))]
        ['cold', 'Three', 'Four']
    """

    name = "mixed"
    kind = "obstinate"

    def __init__(self, perturbations: Sequence[Perturbation]):
        if not perturbations:
            raise HfBatError("a mixture needs at least one perturbation")
        for one in perturbations:
            if one.kind != "obstinate":
                raise HfBatError(f"a mixture is of obstinate edits, and {one.name} is {one.kind}")
        self.perturbations = tuple(perturbations)

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        """Draw from one of them; see `Perturbation.sample`."""
        waiting = list(self.perturbations)
        while waiting:
            drawn = waiting.pop(int(rng.random() * len(waiting))).sample(texts, rng)
            if drawn is not None:
                return drawn
        return None

    def candidates(self, texts: Texts) -> list[Edit]:
        """List every edit of each in turn, an edited input that two of them give once."""
        found: dict[Texts, Edit] = {}
        sources: dict[Texts, list[int]] = {}
        for source, one in enumerate(self.perturbations):
            for edit in one.candidates(texts):
                found.setdefault(edit.texts, edit)
                sources.setdefault(edit.texts, []).append(source)
        return [_Edit(*_fields(edit), tuple(sources[edit.texts])) for edit in found.values()]

    def choose(self, edits: Sequence[Edit], rng: RandomSource) -> Edit | None:
        """Draw one of some of its candidates: a kind, then as that kind draws."""
        kinds: dict[int, list[Edit]] = {}
        for edit in edits:
            assert isinstance(edit, _Edit)
            for source in edit.sources:
                kinds.setdefault(source, []).append(edit)
        if not kinds:
            return None
        source = sorted(kinds)[int(rng.random() * len(kinds))]
        return self.perturbations[source].choose(kinds[source], rng)

    def describe(self) -> dict[str, object]:
        return {"perturbation": self.name, "of": [one.describe() for one in self.perturbations]}


def _fields(edit: Edit) -> tuple[int, int, str, str, Texts]:
    return edit.sentence, edit.position, edit.original, edit.replacement, edit.texts
