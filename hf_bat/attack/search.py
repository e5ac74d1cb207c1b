"""Searches: in which order edits are tried, and which are kept.

Each is a generator over `requests`; see there. None knows how the engine batches. What it takes is shown;
`Problem.settle` sees to the strict successes of which it took none.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_bat.attack.goals import kept
from hf_bat.attack.requests import Embed, Propose, Request, Saliency, Score
from hf_bat.attack.similarity import SentenceSimilarity
from hf_bat.attack.state import Place, State
from hf_bat.perturbations.base import Edit, Texts, apply_replacement, replace_sentence
from hf_bat.text import detach_punctuation, split_pieces

if TYPE_CHECKING:
    from hf_bat.attack.recipes import Recipe

Asking = Generator[Request, Any, Any]
RANKINGS = ("deletion", "unk", "gradient", "random")


@dataclass
class Problem:
    """One row under attack, with what the search finds out about it.

    Args:
        texts: its sentences.
        label: its gold label, which the model predicts.
        gold_before: the gold probability on the unedited input.
        recipe: the attack.
        columns: per sentence, whether it may be edited.
        visible: per sentence, which of its white-space tokens the model sees.
        rng: the row's own source of chance.
        unk: what stands for a masked word in the ranking "unk".
    """

    texts: Texts
    label: int
    gold_before: float
    recipe: Recipe
    columns: tuple[bool, ...]
    visible: tuple[range, ...]
    rng: random.Random
    unk: str = "[UNK]"

    found: State | None = None  # the adversarial input, as the recipe's goal has it
    gold_after: float | None = None
    predicted_after: int | None = None
    succeeded: bool = False  # strictly: some edit flipped, or kept, the prediction
    confident: bool = False  # some edit kept the prediction and raised the gold probability
    candidates: int = 0
    kept: int = 0
    raised: int = 0
    beyond_cut: int = 0
    exhausted: bool = False  # the query budget ended the search
    tried: list[tuple[Edit, bool, bool]] = field(default_factory=list)
    # Of an obstinate attack, the best edit that kept the prediction: its score, and what `take` is given.
    best_kept: tuple[float, State, np.ndarray] | None = None

    def __post_init__(self) -> None:
        self.start = State.of(self.texts)
        self.goal = self.recipe.goal

    def score_candidates(self, grown: list[tuple[State, Edit]], remember: bool = False) -> Asking:
        """Ask for states with one more edit each, note what the answers show; (n, labels), n fewer at
        the budget's end."""
        answers = yield Score([edit.texts for _, edit in grown])
        if len(answers) < len(grown):
            self.exhausted = True
        stays = kept(answers, self.label)
        rises = stays & (answers[:, self.label] > self.gold_before)
        self.candidates += len(answers)
        self.kept += int(stays.sum())
        self.raised += int(rises.sum())
        if self.goal.kind == "obstinate":
            self.succeeded |= bool(stays.any())
            self.confident |= bool(rises.any())
            if stays.any():
                self._note_best_kept(grown, answers, stays)
        if remember:
            edits = (edit for _, edit in grown)
            self.tried += zip(edits, stays.tolist(), rises.tolist(), strict=False)
        return answers

    def _note_best_kept(
        self, grown: list[tuple[State, Edit]], answers: np.ndarray, stays: np.ndarray
    ) -> None:
        scores = np.where(stays, self.goal.score(answers, self.label), -np.inf)
        best = int(scores.argmax())
        if self.best_kept is None or scores[best] > self.best_kept[0]:
            state, edit = grown[best]
            self.best_kept = float(scores[best]), state.after(edit), answers[best]

    def settle(self) -> None:
        """At the search's end, give a strict success that came no nearer the goal its adversarial input."""
        if self.found is None and self.best_kept is not None:
            self.take(*self.best_kept[1:])

    def take(self, state: State, answer: np.ndarray) -> None:
        """Note the adversarial input."""
        self.found = state
        self.gold_after = float(answer[self.label])
        self.predicted_after = int(answer.argmax())
        if self.goal.kind == "fickle":
            self.succeeded = True


def exhaustive(problem: Problem) -> Asking:
    """Every single edit at once; the best one that reaches the goal is shown."""
    edits = yield from every_edit(problem, problem.texts)
    edits = admissible(problem, problem.start, edits)
    edits, _ = yield from similar_enough(problem, problem.start, edits)
    if not edits:
        return
    grown = [(problem.start, edit) for edit in edits]
    answers = yield from problem.score_candidates(grown, remember=True)
    reached = problem.goal.reached(answers, problem.label, problem.gold_before)
    if reached.any():
        scores = np.where(reached, problem.goal.score(answers, problem.label), -np.inf)
        best = int(scores.argmax())
        problem.take(problem.start.after(edits[best]), answers[best])


def greedy(problem: Problem) -> Asking:
    """Word after word by importance; at each the best replacement is kept if it comes nearer the goal."""
    start, goal, label = problem.start, problem.goal, problem.label
    listing = Listing(problem, start, (yield from every_edit(problem, problem.texts)))
    edits = admissible(problem, start, listing.edits)
    places = list(dict.fromkeys((edit.sentence, edit.position) for edit in edits))
    order = yield from rank(problem, places)
    state, score = start, _score_before(problem)
    for place in order:
        now = state.place_of(place)
        if now is None:
            continue
        edits = admissible(problem, state, listing.edits_at(state, now, place), count=False)
        edits, similarities = yield from similar_enough(problem, state, edits)
        if not edits:
            continue
        answers = yield from problem.score_candidates([(state, edit) for edit in edits])
        if len(answers):
            scores = goal.score(answers, label)
            best = int(scores.argmax())
            if scores[best] > score:
                reached = goal.reached(answers, label, problem.gold_before)
                if reached[best]:
                    if similarities is not None:
                        shown = np.where(reached, similarities[: len(answers)], -np.inf)
                        best = int(shown.argmax())
                    problem.take(state.after(edits[best]), answers[best])
                    return
                state, score = state.after(edits[best]), float(scores[best])
        if problem.exhausted:
            return


def beam(problem: Problem) -> Asking:
    """The best few states, each extended by every edit, until one reaches the goal."""
    goal, label = problem.goal, problem.label
    states, seen, first = [problem.start], {problem.texts}, True
    while states and not problem.exhausted:
        grown: list[tuple[State, Edit]] = []
        for state in states:
            edits = yield from every_edit(problem, state.texts)
            edits = admissible(problem, state, edits, count=first)
            edits, _ = yield from similar_enough(problem, state, edits)
            grown += [(state, edit) for edit in edits if edit.texts not in seen]
            seen.update(edit.texts for edit in edits)
        first = False
        if not grown:
            return
        answers = yield from problem.score_candidates(grown)
        if not len(answers):
            return
        scores = goal.score(answers, label)
        reached = goal.reached(answers, label, problem.gold_before)
        if reached.any():
            best = int(np.where(reached, scores, -np.inf).argmax())
            problem.take(grown[best][0].after(grown[best][1]), answers[best])
            return
        width = problem.recipe.beam_width
        order = np.argsort(-scores, kind="stable")[:width]
        states = [grown[i][0].after(grown[i][1]) for i in order]


SEARCHES: dict[str, Callable[[Problem], Asking]] = {
    "exhaustive": exhaustive,
    "greedy": greedy,
    "beam": beam,
}


def rank(problem: Problem, places: list[Place]) -> Asking:
    """Order places by importance, the most important first; a lone place needs no question."""
    if len(places) < 2:
        return places
    ranking = problem.recipe.ranking
    if ranking == "random":
        return problem.rng.sample(places, len(places))
    if ranking == "gradient":
        weights = yield Saliency(problem.texts, problem.label)
        if weights is None:
            problem.exhausted = True
            return []
        scores = [weights[sentence][position] for sentence, position in places]
    else:
        put = "" if ranking == "deletion" else problem.unk
        answers = yield Score([_masked(problem.texts, place, put) for place in places])
        if len(answers) < len(places):
            problem.exhausted = True
            return []
        scores = list(problem.goal.score(answers, problem.label))
    order = sorted(range(len(places)), key=lambda i: (-scores[i], i))
    return [places[i] for i in order]


def every_edit(problem: Problem, texts: Texts) -> Asking:
    """Every single edit of an input."""
    perturbation = problem.recipe.perturbation
    if perturbation.asks_model:
        yield Propose(perturbation, texts)
    return perturbation.candidates(texts)


class Listing:
    """The edits of a text by the word that they edit, listed once for each text.

    A search goes from word to word of the same text until it takes an edit, so listing all candidates at
    each word would take quadratic time.

    Args:
        problem: The row under attack.
        state: Its unedited state.
        edits: All candidates of that state.
    """

    def __init__(self, problem: Problem, state: State, edits: list[Edit]):
        self.problem, self.state, self.edits = problem, state, edits
        self._by_place = _group_by_place(edits)

    def edits_at(self, state: State, place: Place, start_place: Place) -> list[Edit]:
        """Return the edits of one word.

        Args:
            state: The state of the row.
            place: Where the word is in this state.
            start_place: Where it was in the unedited text.
        """
        if state is not self.state:
            perturbation = self.problem.recipe.perturbation
            edits = perturbation.edits_at(state.texts, *place, self.problem.texts, start_place[1])
            if edits is not None:
                return edits
            self.state, self.edits = state, perturbation.candidates(state.texts)
            self._by_place = _group_by_place(self.edits)
        return self._by_place.get(place, [])


def _group_by_place(edits: Iterable[Edit]) -> dict[Place, list[Edit]]:
    by_place: dict[Place, list[Edit]] = {}
    for edit in edits:
        by_place.setdefault((edit.sentence, edit.position), []).append(edit)
    return by_place


def admissible(
    problem: Problem, state: State, edits: Iterable[Edit], count: bool = True
) -> list[Edit]:
    """The edits of words that the model sees, in a column that may be edited, and within the constraints
    that need no encoder. An edited text that two edits give is listed once."""
    constraints = problem.recipe.constraints
    words: dict[Place, bool] = {}
    found: dict[Texts, Edit] = {}
    for edit in edits:
        place = edit.sentence, edit.position
        if place not in words:
            words[place] = problem.columns[edit.sentence] and all(
                rule.allows_word(state, edit.sentence, edit.position, edit.original)
                for rule in constraints
            )
        if not words[place] or edit.texts in found or edit.texts == state.texts:
            continue
        if all(rule.allows(problem.start, state, edit) for rule in constraints):
            origin = state.origin[edit.sentence][edit.position]
            if origin is not None and origin not in problem.visible[edit.sentence]:
                problem.beyond_cut += count
            else:
                found[edit.texts] = edit
    return list(found.values())


def similar_enough(problem: Problem, state: State, edits: list[Edit]) -> Asking:
    """The edits that every sentence encoder finds similar enough, and their least similarity (n,);
    None in its place where no constraint has an encoder."""
    rules = [r for r in problem.recipe.constraints if isinstance(r, SentenceSimilarity)]
    if not rules or not edits:
        return edits, None
    least = np.full(len(edits), np.inf)
    passed = np.ones(len(edits), dtype=bool)
    for rule in rules:
        pairs = [rule.strings(problem.start, state, edit) for edit in edits]
        asked = list(dict.fromkeys(string for pair in pairs if pair for string in pair))
        if not asked:
            continue
        vectors = yield Embed(rule.encoder, asked)
        at = dict(zip(asked, vectors, strict=True))
        for i, pair in enumerate(pairs):
            if pair:
                value = rule.similarity(at[pair[0]], at[pair[1]])
                least[i] = min(least[i], value)
                passed[i] &= value >= rule.threshold
    chosen = np.flatnonzero(passed)
    return [edits[i] for i in chosen], least[chosen]


def _score_before(problem: Problem) -> float:
    """The goal's score of the unedited input, from its gold probability."""
    before = problem.gold_before
    return 1.0 - before if problem.goal.kind == "fickle" else before


def _masked(texts: Texts, place: Place, put: str) -> Texts:
    """The texts with one word masked, or taken out with the space before it."""
    sentence, position = place
    if put:
        return replace_sentence(texts, sentence, apply_replacement(texts[sentence], position, put))
    pieces = split_pieces(texts[sentence])
    at = 2 * position + (2 if pieces[0] == "" and len(pieces) > 1 else 0)
    mark = detach_punctuation(pieces[at])[1]
    if at:
        pieces[at - 1 : at + 1] = [mark]
    else:
        pieces[:2] = [mark]
    return replace_sentence(texts, sentence, "".join(pieces))
