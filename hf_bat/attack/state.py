"""An input in the middle of an attack: its text so far, its edits, and where its words have gone."""

from __future__ import annotations

from dataclasses import dataclass

from hf_bat.perturbations.base import Edit, Texts

Place = tuple[int, int]  # (sentence, white-space token)


@dataclass(frozen=True)
class State:
    """A text on the way from the original to the adversarial one.

    Places are counted in white-space tokens. An edit may insert or remove tokens; `origin` says for
    each token of the text at hand which token of the original it is, None where an edit put it there.

    Args:
        texts: the sentences as they stand.
        edits: the edits made so far, first to last.
        origin: per sentence, per token, the original's token number or None.
    """

    texts: Texts
    edits: tuple[Edit, ...]
    origin: tuple[tuple[int | None, ...], ...]

    @classmethod
    def of(cls, texts: Texts) -> State:
        """The unedited state."""
        return cls(texts, (), tuple(tuple(range(len(text.split()))) for text in texts))

    def after(self, edit: Edit) -> State:
        """The state after one more edit.

        Example:
            >>> edit = Edit(0, 1, "goes", "doesn't go", ("He doesn't go home.",))
            >>> State.of(("He goes home.",)).after(edit).origin
            ((0, None, None, 2),)
        """
        before = self.origin[edit.sentence]
        grown = len(edit.texts[edit.sentence].split()) - len(before)
        new = max(0, 1 + grown)
        moved = (*before[: edit.position], *[None] * new, *before[edit.position + 1 :])
        length = len(before) + grown
        moved = (*moved, *[None] * length)[:length]
        origin = (*self.origin[: edit.sentence], moved, *self.origin[edit.sentence + 1 :])
        return State(edit.texts, (*self.edits, edit), origin)

    def place_of(self, place: Place) -> Place | None:
        """Where a token of the original now is; None where it has been edited."""
        sentence, position = place
        try:
            return sentence, self.origin[sentence].index(position)
        except ValueError:
            return None

    def is_edited(self, sentence: int, position: int) -> bool:
        """Whether the token now at a place was put there by an edit."""
        return self.origin[sentence][position] is None

    @property
    def words_edited(self) -> int:
        """How many tokens of the text at hand an edit has put there or stands beside."""
        return sum(token is None for sentence in self.origin for token in sentence)
