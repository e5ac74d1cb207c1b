"""The run's perturbations for training and attacks, and the registry of obstinate edits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from hf_bat.errors import HfBatError, check_choice
from hf_bat.lexicon import as_table, default_antonyms
from hf_bat.lexicon.bundled import as_synonyms
from hf_bat.lexicon.table import TableSource
from hf_bat.perturbations.base import Edit, Perturbation, RandomSource, Texts
from hf_bat.perturbations.characters import CharacterPerturbation
from hf_bat.perturbations.negation import NegationPerturbation
from hf_bat.perturbations.number import NumberPerturbation
from hf_bat.perturbations.splitting import SplitPerturbation
from hf_bat.perturbations.substitution import (
    AntonymPerturbation,
    SisterPerturbation,
    SynonymPerturbation,
)
from hf_bat.perturbations.validity import (
    FilteredPerturbation,
    LabelValidity,
    PreferringPerturbation,
)


class EditKind(NamedTuple):
    """A kind of edit that training can draw.

    Attributes:
        summary: Effect of the edit on the input, shown in model cards.
        build: Function that builds the perturbation. It copies the options of the run's antonym or synonym
            perturbation.
    """

    summary: str
    build: Callable[[Any], Perturbation]


# The only list of kinds. To add a perturbation, add a module and an entry here.
EDIT_KINDS = {
    "antonym": EditKind("one word replaced by an antonym", lambda antonym: antonym),
    "negation": EditKind("a negation put in or taken out", lambda _: NegationPerturbation()),
    "sister": EditKind(
        "one word replaced by another of its class that excludes it",
        lambda antonym: SisterPerturbation(
            None, antonym.exclude_stopwords, antonym.casing, antonym.fit_grammar
        ),
    ),
    "number": EditKind(
        "one number changed",
        lambda antonym: NumberPerturbation(antonym.casing, antonym.fit_grammar),
    ),
}
OBSTINATE_EDITS = tuple(EDIT_KINDS)
# The kinds of fickle edits, built from the run's synonym perturbation.
FICKLE_KINDS = {
    "synonym": EditKind("words replaced by synonyms", lambda synonym: synonym),
    "typo": EditKind("words mistyped", lambda _: CharacterPerturbation()),
    "look-alike": EditKind(
        "letters replaced by others that look the same",
        lambda _: CharacterPerturbation(["look-alike"], name="look-alike"),
    ),
}
FICKLE_EDITS = tuple(FICKLE_KINDS)
DEFAULT_EDITS = ("antonym",)
DEFAULT_FICKLE = ("synonym",)
LABEL_FILTERS = ("off", "only", "prefer")


def build_perturbations(
    synonyms: TableSource | None = None,
    antonyms: TableSource | None = None,
    drop_antonyms_from_synonyms: bool = True,
    exclude_stopwords: bool = True,
    casing: Literal["keep", "authors"] = "keep",
    fit_grammar: bool = True,
) -> tuple[SynonymPerturbation, AntonymPerturbation]:
    """Build the fickle and the obstinate perturbation of the paper.

    Args:
        synonyms: A table, a mapping, the path of a table, or "wordnet" for the bundled WordNet synonyms.
            If `None`, use the bundled synonyms (counter-fitted neighbors).
        antonyms: A table, a mapping or the path of a table. If `None`, use the bundled antonyms.
        drop_antonyms_from_synonyms: Whether to remove each word's antonyms from its synonyms. Defaults to
            `True`.
        exclude_stopwords: See `SubstitutionPerturbation`. Defaults to `True`.
        casing: See `SubstitutionPerturbation`. Defaults to `"keep"`.
        fit_grammar: See `AntonymPerturbation`. Defaults to `True`.

    Returns:
        The fickle perturbation (synonyms) and the obstinate one (antonyms).

    Raises:
        HfBatError: If a table cannot be read.

    Example:
        >>> fickle, obstinate = build_perturbations()
        >>> obstinate.replacements("Hot")
        ('Cold',)
    """
    antonym_table = default_antonyms() if antonyms is None else as_table(antonyms)
    synonym_table = as_synonyms(synonyms)
    # The bundled synonyms do not contain the bundled antonyms.
    if drop_antonyms_from_synonyms and not (synonyms is None and antonyms is None):
        synonym_table = synonym_table.minus(antonym_table)
    return (
        SynonymPerturbation(synonym_table, exclude_stopwords, casing),
        AntonymPerturbation(antonym_table, exclude_stopwords, casing, fit_grammar),
    )


def build_fickle(
    synonym: SynonymPerturbation, edits: Sequence[str | Perturbation] = DEFAULT_FICKLE
) -> Perturbation:
    """Build the fickle perturbation for the given kinds of edits.

    Args:
        synonym: The synonym perturbation.
        edits: Kinds of edits: `"synonym"`, `"typo"` (letters swapped, dropped or mistyped),
            `"look-alike"` (letters of other scripts that look the same), or your own fickle
            perturbations. All kinds that are possible for a row are equally likely. Defaults to
            `("synonym",)`.

    Returns:
        The perturbation for a single kind (`synonym` itself for synonyms), or a `MixedPerturbation` for
        several kinds.

    Raises:
        HfBatError: If a kind is unknown or repeated, or `edits` is empty.

    Example:
        >>> synonym, _ = build_perturbations()
        >>> build_fickle(synonym) is synonym, build_fickle(synonym, ["typo"]).name
        (True, 'typo')
    """
    check_fickle_edits(edits)
    return _mix(edits, FICKLE_KINDS, synonym)


def check_fickle_edits(edits: Sequence[str | Perturbation]) -> None:
    """Raise `HfBatError` unless `edits` are known kinds or fickle perturbations with different names."""
    _check_edits("fickle_edits", edits, FICKLE_EDITS)


def build_obstinate(
    antonym: AntonymPerturbation,
    edits: Sequence[str | Perturbation] = DEFAULT_EDITS,
    label_filter: str = "off",
) -> Perturbation:
    """Build the obstinate perturbation for the given kinds of edits.

    Args:
        antonym: The antonym perturbation. Its options also apply to sister terms and numbers.
        edits: Kinds of edits: `"antonym"`, `"negation"`, `"sister"`, `"number"`, or your own obstinate
            perturbations. All kinds that are possible for the row are equally likely. Defaults to
            `("antonym",)`.
        label_filter: `"off"`, `"only"` (only draw edits that are likely to change the label, see
            `LabelValidity`), or `"prefer"` (prefer these edits, but draw any edit if a row has none of
            them). Defaults to `"off"`.

    Returns:
        The perturbation for a single kind (`antonym` itself for antonyms), or a `MixedPerturbation` for
        several kinds. It is wrapped in the label filter if the filter is on.

    Raises:
        HfBatError: If a kind or the filter is unknown, a kind is repeated, or `edits` is empty.

    Example:
        >>> _, antonym = build_perturbations()
        >>> build_obstinate(antonym) is antonym, build_obstinate(antonym, ["number"]).name
        (True, 'number')
        >>> [part.name for part in build_obstinate(antonym, ["antonym", "sister"]).perturbations]
        ['antonym', 'sister']
    """
    check_obstinate_edits(edits)
    check_choice("label_filter", label_filter, LABEL_FILTERS)
    return filter_edits(_mix(edits, EDIT_KINDS, antonym), label_filter)


def _mix(
    edits: Sequence[str | Perturbation], kinds: Mapping[str, EditKind], words: Perturbation
) -> Perturbation:
    parts = [edit if isinstance(edit, Perturbation) else kinds[edit].build(words) for edit in edits]
    # Do not wrap a single kind, because a mixture draws the kind first and has a different description.
    return parts[0] if len(parts) == 1 else MixedPerturbation(parts)


def filter_edits(
    perturbation: Perturbation, label_filter: str, validity: LabelValidity | None = None
) -> Perturbation:
    """Wrap an obstinate perturbation in the label filter, if the filter is on; see `build_obstinate`.

    `validity` is the test that the filter uses. If `None`, use the default rule, `LabelValidity`.
    """
    if label_filter == "off":
        return perturbation
    if isinstance(perturbation, SplitPerturbation):
        # Put the filter inside the splitter, because it needs the splitter's words.
        inner = filter_edits(perturbation.perturbation, label_filter, validity)
        return SplitPerturbation(inner, perturbation.splitter)
    wrapper = FilteredPerturbation if label_filter == "only" else PreferringPerturbation
    return wrapper(perturbation, validity or LabelValidity())


def check_obstinate_edits(edits: Sequence[str | Perturbation]) -> None:
    """Raise `HfBatError` unless `edits` are known kinds or obstinate perturbations with different names."""
    _check_edits("obstinate_edits", edits, OBSTINATE_EDITS)


def _check_edits(name: str, edits: Sequence[str | Perturbation], known: Sequence[str]) -> None:
    names = [edit.name if isinstance(edit, Perturbation) else edit for edit in edits]
    own = {edit.name: edit for edit in edits if isinstance(edit, Perturbation)}
    if isinstance(edits, str) or not edits or not set(names) <= {*known, *own}:
        raise HfBatError(
            f"{name} must be a list of {', '.join(known)} or your own Perturbation objects; got {edits!r}"
        )
    for perturbation in own.values():
        if perturbation.kind != name.removesuffix("_edits"):
            raise HfBatError(
                f"{name} has {perturbation.name!r}, which is a {perturbation.kind} perturbation"
            )
        if perturbation.name in known:
            raise HfBatError(
                f"{name} has your own perturbation with the name of a kind, {perturbation.name!r}: change "
                "its name"
            )
    if len(set(names)) < len(names):
        raise HfBatError(f"{name} repeats a name: {', '.join(names)}")


@dataclass(frozen=True, slots=True)
class _MixedEdit(Edit):
    """An edit with the perturbations that propose it.

    For example, "second" is both an antonym of "first" and the next number.
    """

    sources: tuple[int, ...]


class MixedPerturbation(Perturbation):
    """The union of several fickle or several obstinate sets.

    A sample tries the perturbations in random order and draws from the first perturbation that can edit the
    input. All perturbations that can edit the input are equally likely, regardless of their number of edits.

    Args:
        perturbations: One or more perturbations, either all fickle or all obstinate.

    Raises:
        HfBatError: If `perturbations` is empty or mixes fickle and obstinate perturbations.

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

    def __init__(self, perturbations: Sequence[Perturbation]):
        if not perturbations:
            raise HfBatError("a mixture needs at least one perturbation")
        self.kind = perturbations[0].kind
        for part in perturbations:
            if part.splitter is not None:
                raise HfBatError(
                    f"a mixture cannot have edits with a splitter, such as {part.name!r}"
                )
            if part.kind != self.kind:
                raise HfBatError(
                    f"a mixture has edits of one kind; {perturbations[0].name!r} is {self.kind}, "
                    f"{part.name!r} is {part.kind}"
                )
        self.perturbations = tuple(perturbations)

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        """Draw from one of the perturbations; see `Perturbation.sample`."""
        # Most inputs only allow some of the kinds. For example, an input may have no numbers.
        waiting = list(self.perturbations)
        while waiting:
            drawn = waiting.pop(int(rng.random() * len(waiting))).sample(texts, rng)
            if drawn is not None:
                return drawn
        return None

    def candidates(self, texts: Texts) -> list[Edit]:
        """List the edits of each perturbation in turn, without repetitions."""
        # Two kinds may produce the same text, and an attack should not query the model twice for it.
        edits: dict[Texts, tuple[Edit, list[int]]] = {}
        for source, part in enumerate(self.perturbations):
            for edit in part.candidates(texts):
                edits.setdefault(edit.texts, (edit, []))[1].append(source)
        return [
            _MixedEdit(e.sentence, e.position, e.original, e.replacement, e.texts, tuple(sources))
            for e, sources in edits.values()
        ]

    def choose(self, edits: Sequence[Edit], rng: RandomSource) -> Edit | None:
        """Draw from the given edits: first a kind, then an edit with the `choose` of that kind."""
        kinds: dict[int, list[Edit]] = {}
        for edit in edits:
            # The edits are candidates of this mixture, except for those that the label filter removed.
            assert isinstance(edit, _MixedEdit)
            for source in edit.sources:
                kinds.setdefault(source, []).append(edit)
        if not kinds:
            return None
        source = sorted(kinds)[int(rng.random() * len(kinds))]
        return self.perturbations[source].choose(kinds[source], rng)

    def describe(self) -> dict[str, object]:
        return {"perturbation": self.name, "of": [part.describe() for part in self.perturbations]}
