"""The result of an attack on one row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple

from hf_bat.errors import HfBatError

Outcome = Literal["succeeded", "failed", "skipped"]
OUTCOMES: tuple[Outcome, ...] = ("succeeded", "failed", "skipped")


class TriedEdit(NamedTuple):
    """One edit that an exhaustive search tried, with flags of 0 and 1."""

    original: str
    replacement: str
    kept: int  # whether the model kept its prediction
    raised: int  # whether it also became more confident in it
    valid: int | None = None  # whether the edit passes the label filter, or `None` without a filter


@dataclass
class AttackResult(Mapping[str, Any]):
    """The result of an attack on one row.

    It is also a read-only mapping with the keys of the rows file: `result["outcome"]`,
    `result.get("reason")`. Fields that are `None` because they do not apply have no key.

    Args:
        idx: The row's `idx`, or its position in the data.
        attack: Short name of the attack.
        outcome: "succeeded", "failed" or "skipped".
        outcome_confident: Outcome under the confident definition (obstinate attacks only).
        reason: Why the row was skipped.
        original: The texts before the attack.
        perturbed: The adversarial texts, or `None` if none were found.
        label: Gold label by the model's number, or `None` if the row has no label.
        label_name: Name of the gold label.
        words: Number of words in the original.
        queries: Number of queries to the model.
        predicted: Predicted label of the original.
        gold_before: Probability of the gold label for the original.
        candidates: Number of edits with a prediction of the model.
        kept: Number of these edits that keep the prediction.
        raised: Number of these edits that also increase the probability of the gold label.
        beyond_cut: Number of edits beyond the maximum input length, which were not tried.
        abstained: Number of edits for which the model abstained.
        exhausted: Whether the search ended because the query budget was used up.
        tried: Every edit that was tried (exhaustive search only).
        rule_agrees: Number of tried edits for which a judge agrees with the rule of `LabelValidity`.
        outcome_valid: Outcome if only edits that pass the label filter are counted.
        outcome_valid_confident: The same outcome under the confident definition.
        edits: The edits of the adversarial texts, with `sentence`, `position`, `original` and `replacement`.
        gold_after: Probability of the gold label for the adversarial texts.
        predicted_after: Predicted label of the adversarial texts.
        words_changed: Number of words that differ between the original and the adversarial texts.
        similarity: Cosine similarity of their sentence embeddings, if the recipe has an encoder.
        listed: Number of single edits of the original, before constraints.
        allowed: Number of these edits that pass all constraints without an encoder.
        refused: Mapping from constraints to the number of these edits that they do not allow.
        marks: Other values in a line of a rows file, such as hashes of the recipe, model and data.

    Example:
        >>> result = AttackResult.from_dict({"idx": 0, "attack": "antonym", "outcome": "failed"})
        >>> result.outcome, result["outcome"], "reason" in result
        ('failed', 'failed', False)
    """

    idx: int | str
    attack: str
    outcome: Outcome
    outcome_confident: Outcome | None = None
    reason: str | None = None
    original: list[str] = field(default_factory=list)
    perturbed: list[str] | None = None
    label: int | None = None
    label_name: str | None = None
    words: int = 0
    queries: int = 0
    predicted: int | None = None
    gold_before: float | None = None
    candidates: int | None = None
    kept: int | None = None
    raised: int | None = None
    beyond_cut: int | None = None
    abstained: int | None = None
    exhausted: bool | None = None
    tried: list[TriedEdit] | None = None
    rule_agrees: int | None = None
    outcome_valid: Outcome | None = None
    outcome_valid_confident: Outcome | None = None
    edits: list[dict[str, Any]] | None = None
    gold_after: float | None = None
    predicted_after: int | None = None
    words_changed: int | None = None
    similarity: float | None = None
    listed: int | None = None
    allowed: int | None = None
    refused: dict[str, int] | None = None
    marks: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> AttackResult:
        """Create a result from a line of a rows file.

        Args:
            row: The parsed line. Keys that are not fields are stored in `marks`.

        Raises:
            HfBatError: If the line has no `idx`, `attack` or `outcome`, or has an unknown outcome.
        """
        # Comparisons accept rows from files and from reports.
        if isinstance(row, AttackResult):
            return row
        missing = [name for name in ("idx", "attack", "outcome") if name not in row]
        if missing:
            raise HfBatError(
                f"a row has no {missing[0]!r}; is it from a rows file of `hf-bat attack`?"
            )
        if row["outcome"] not in OUTCOMES:
            known = ", ".join(OUTCOMES)
            raise HfBatError(
                f"row {row['idx']!r:.40} has outcome {row['outcome']!r:.80}; known: {known}"
            )
        values = {name: row[name] for name in _KEYS if name in row}
        for name, value in values.items():
            # `None` means that the field does not apply.
            if value is not None or name in ("idx", "attack", "original"):
                expected, is_valid = _CHECKS.get(name, _COUNT)
                if not is_valid(value):
                    raise HfBatError(
                        f"row {row['idx']!r:.40}: {name} must be {expected}; got {value!r:.80}"
                    )
        if values.get("tried") is not None:
            values["tried"] = [TriedEdit(*edit) for edit in values["tried"]]
        marks = {name: value for name, value in row.items() if name not in _KEYS}
        return cls(**values, marks=marks)

    @property
    def is_attempted(self) -> bool:
        """Whether the row was attacked, successfully or not."""
        return self.outcome != "skipped"

    @property
    def is_success(self) -> bool:
        """Whether the attack succeeded under the strict definition."""
        return self.outcome == "succeeded"

    @property
    def is_attackable(self) -> bool:
        """Whether the row was attacked and had an edit to try."""
        # If the budget runs out while the words are ranked, there are still edits that could be tried.
        return self.is_attempted and bool(self.candidates or self.abstained or self.exhausted)

    @property
    def is_without_edit(self) -> bool:
        """Whether the row was attacked and is known to have had no edit to try."""
        # Rows that were not written by hf_bat may not have this information.
        has_tried = self.abstained or self.exhausted
        return self.is_attempted and self.candidates == 0 and not has_tried

    def restrict(self, valid: bool) -> AttackResult:
        """Return the result as if only the valid edits (or only the invalid edits) had been tried."""
        if self.tried is None:
            return self
        tried = [edit for edit in self.tried if edit.valid == valid]
        kept, raised = sum(edit.kept for edit in tried), sum(edit.raised for edit in tried)
        return replace(
            self,
            outcome="succeeded" if kept else "failed",
            outcome_confident="succeeded" if raised else "failed",
            tried=tried,
            candidates=len(tried),
            kept=kept,
            raised=raised,
            abstained=None,  # edits without an answer are not marked by the filter
            exhausted=False,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values, in the order of a rows file."""
        return dict(self)

    def __getitem__(self, key: str) -> Any:
        value: Any = getattr(self, key) if key in _KEYS else None
        if value is None and key not in _ALWAYS:
            return self.marks[key]
        if key == "tried":
            # Without a filter, write four values per edit, as before the filter existed.
            return [list(edit) if edit.valid is not None else list(edit[:4]) for edit in value]
        return value

    def __iter__(self) -> Iterator[str]:
        for key in _KEYS:
            if key in _ALWAYS or getattr(self, key) is not None:
                yield key
        yield from self.marks

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_edits(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(edit, Mapping)
        and all(isinstance(edit.get(key), str) for key in ("original", "replacement"))
        for edit in value
    )


def _is_tried(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(edit, (list, tuple))
        and len(edit) in (4, 5)
        and _is_texts(list(edit[:2]))
        and all(flag is None or isinstance(flag, int) for flag in edit[2:])
        for edit in value
    )


def _is_refused(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(n, int) for n in value.values())


def _has_type(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


_OUTCOME = ("one of " + ", ".join(OUTCOMES), lambda value: value in OUTCOMES)
_COUNT = ("a number", _has_type(int, float))
# Maps each field to a description of its valid values and a test for them, because files may not have been
# written by hf_bat. All other fields are numbers.
_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "idx": ("an integer or a string", _has_type(int, str)),
    "attack": ("a string", _has_type(str)),
    "outcome": _OUTCOME,
    "outcome_confident": _OUTCOME,
    "outcome_valid": _OUTCOME,
    "outcome_valid_confident": _OUTCOME,
    "reason": ("a string", _has_type(str)),
    "original": ("a list of texts", _is_texts),
    "perturbed": ("a list of texts", _is_texts),
    "label": ("a number or a string", _has_type(int, float, str)),
    "label_name": ("a string", _has_type(str)),
    "edits": ("a list of edits with 'original' and 'replacement'", _is_edits),
    "tried": ("a list of [original, replacement, kept, raised]", _is_tried),
    "refused": ("counts by constraint", _is_refused),
}


_KEYS = tuple(f.name for f in fields(AttackResult) if f.name != "marks")
# `None` is a regular value in these fields. In all other fields, it means "does not apply".
_ALWAYS = frozenset(
    ["idx", "attack", "outcome", "original", "perturbed", "label", "label_name", "words", "queries"]
)


def count_changed_words(original: Sequence[str], perturbed: Sequence[str]) -> int:
    """Count the whitespace tokens that were replaced, inserted or removed.

    Example:
        >>> count_changed_words(("He goes home.",), ("He doesn't go home.",))
        2
    """
    changed = 0
    for before, after in zip(original, perturbed, strict=True):
        # `autojunk` would ignore frequent words in long texts.
        matcher = SequenceMatcher(None, before.split(), after.split(), autojunk=False)
        for kind, i1, i2, j1, j2 in matcher.get_opcodes():
            if kind != "equal":
                changed += max(i2 - i1, j2 - j1)
    return changed
