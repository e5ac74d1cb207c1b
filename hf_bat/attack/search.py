"""Searches, which decide the order of the tried edits and which edits are kept.

Each search is a generator of requests to the engine (see `hf_bat.attack.engine`), which batches them. It
works on a `Problem`, which represents the attacked row, and stores the outcome there.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hf_bat.attack.answers import find_answered, find_failed
from hf_bat.attack.constraints import Constraint, Place, State
from hf_bat.attack.engine import Propose, Request, Saliency, Score
from hf_bat.attack.goals import Goal, select_kept
from hf_bat.perturbations.base import (
    Edit,
    Perturbation,
    Texts,
    apply_replacement,
    replace_sentence,
)
from hf_bat.text import detach_punctuation, locate_token

Search = Generator[Request, Any, Any]
RANKINGS = ("deletion", "unk", "gradient", "random")


@dataclass
class Problem:
    """An attacked row and the results of its search."""

    texts: Texts
    label: int  # gold label, which is also the prediction for the unedited input
    gold_before: float  # probability of the gold label for the unedited input
    # See `Recipe` for these fields.
    perturbation: Perturbation
    goal: Goal
    constraints: tuple[Constraint, ...]
    ranking: str | None
    beam_width: int
    columns: tuple[bool, ...]  # whether each text may be edited
    visible: tuple[range, ...]  # the whitespace tokens of each text that the model sees
    rng: random.Random  # one per row, so the random ranking does not depend on other rows
    unk: str = "[UNK]"

    # The adversarial input that reaches the goal, and the model's answer for it.
    state: State | None = None
    answer: np.ndarray | None = None
    # Whether any edit flipped the prediction (fickle) or kept it (obstinate), and whether any edit kept it
    # and also increased the gold probability.
    succeeded: bool = False
    confident: bool = False
    # Number of edits with a prediction, edits that keep the prediction, edits that also increase the gold
    # probability, and edits that the model would not see.
    candidates: int = 0
    kept: int = 0
    raised: int = 0
    beyond_cut: int = 0
    # Number of edited inputs with an abstention, and number of failed queries.
    abstained: int = 0
    failed: int = 0
    # Number of all single edits of the unedited input, and number of allowed single edits.
    listed: int = 0
    allowed: int = 0
    # Number of these edits that each constraint refuses, by its index in `constraints`.
    refused: Counter[int] = field(default_factory=Counter)
    exhausted: bool = False  # whether the search ended because the query budget was used up
    # For exhaustive searches: each edit, whether it kept the prediction, and whether it increased the gold
    # probability.
    tried: list[tuple[Edit, bool, bool]] = field(default_factory=list)
    # For obstinate attacks, the score of the best edit that kept the prediction, and the arguments of `take`.
    best_kept: tuple[float, State, np.ndarray] | None = None

    def __post_init__(self) -> None:
        self.start = State.of(self.texts)
        self._listed: tuple[State | None, dict[Place, list[Edit]]] = None, {}

    def list_edits(self, state: State, place: Place, start_place: Place) -> list[Edit]:
        """List the edits of a word that is now at `place` and was at `start_place` in the unedited texts."""
        # Only list the candidates of a state once. A search visits the words of a state until it keeps an
        # edit, so listing all candidates for each word would take quadratic time.
        if state is not self._listed[0]:
            texts, perturbation = state.texts, self.perturbation
            # Most perturbations can list the edits of one word directly.
            edits = perturbation.edits_at(texts, *place, self.texts, start_place[1])
            if edits is not None:
                return edits
            self.note_candidates(state, perturbation.candidates(texts))
        return self._listed[1].get(place, [])

    def note_candidates(self, state: State, edits: list[Edit]) -> None:
        """Store all candidates of a state by the edited word."""
        by_place: dict[Place, list[Edit]] = {}
        for edit in edits:
            by_place.setdefault((edit.sentence, edit.position), []).append(edit)
        self._listed = state, by_place

    def score_candidates(self, grown: list[tuple[State, Edit]]) -> Search:
        """Query the model for states with one additional edit each, and update the results of the search.

        Returns (n, labels) answers, or fewer than n answers if the budget runs out.
        """
        answers = yield Score([edit.texts for _, edit in grown])
        if len(answers) < len(grown):
            self.exhausted = True
        answered, missing = find_answered(answers), find_failed(answers)
        keeps = select_kept(answers, self.label)
        raises = keeps & (answers[:, self.label] > self.gold_before)
        self.candidates += int(answered.sum())
        self.failed += int(missing.sum())
        self.abstained += int((~answered & ~missing).sum())
        self.kept += int(keeps.sum())
        self.raised += int(raises.sum())
        tried = zip((edit for _, edit in grown), keeps.tolist(), raises.tolist(), strict=False)
        self.tried += [entry for entry, counts in zip(tried, answered, strict=True) if counts]
        if self.goal.kind == "obstinate" and keeps.any():
            self.succeeded = True
            self.confident |= bool(raises.any())
            # Use -inf, because a user's goal may score edits that flip the prediction above 0.
            scores = np.where(keeps, self.judge(answers)[0], -np.inf)
            best = int(scores.argmax())
            if self.best_kept is None or scores[best] > self.best_kept[0]:
                state, edit = grown[best]
                self.best_kept = float(scores[best]), state.after(edit), answers[best]
        return answers

    def judge(self, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the (n,) scores of (n, labels) answers, and (n,) booleans for answers that reach the goal.

        Answers without a prediction have the lowest possible score.
        """
        answered = find_answered(answers)
        # A user's goal may not support answers without a prediction.
        known = np.where(answered[:, None], answers, 1 / answers.shape[1])
        reached = self.goal.reached(known, self.label, self.gold_before)
        return np.where(answered, self.goal.score(known, self.label), -np.inf), answered & reached

    def take(self, state: State, answer: np.ndarray) -> None:
        """Store the adversarial input and the model's answer for it."""
        self.state, self.answer = state, answer
        if self.goal.kind == "fickle":
            self.succeeded = True

    def settle(self) -> None:
        """At the end of a search, store the best edit that kept the prediction, even without the goal."""
        if self.state is None and self.best_kept is not None:
            self.take(*self.best_kept[1:])


def search_exhaustively(problem: Problem) -> Search:
    """Try every single edit at once, and store the best edit that reaches the goal."""
    edits = yield from list_candidates(problem, problem.texts)
    edits = filter_edits(problem, problem.start, edits)
    edits, _ = yield from filter_similar(problem, problem.start, edits)
    if not edits:
        return
    answers = yield from problem.score_candidates([(problem.start, edit) for edit in edits])
    scores, reached = problem.judge(answers)
    if reached.any():
        best = int(np.where(reached, scores, -np.inf).argmax())
        problem.take(problem.start.after(edits[best]), answers[best])


def search_greedily(problem: Problem) -> Search:
    """Visit the words by importance, and keep the best replacement if it gets closer to the goal."""
    start = problem.start
    edits = yield from list_candidates(problem, problem.texts)
    problem.note_candidates(start, edits)
    edits = filter_edits(problem, start, edits)
    places = list(dict.fromkeys((edit.sentence, edit.position) for edit in edits))
    order = yield from rank_places(problem, places)
    state, score = start, problem.goal.score_unedited(problem.gold_before)
    for place in order:
        # Edits may insert or remove tokens, so the word may have moved or may be gone.
        now = state.find(place)
        if now is None:
            continue
        edits = filter_edits(problem, state, problem.list_edits(state, now, place), count=False)
        edits, similarities = yield from filter_similar(problem, state, edits)
        if not edits:
            continue
        answers = yield from problem.score_candidates([(state, edit) for edit in edits])
        if len(answers):
            scores, reached = problem.judge(answers)
            best = int(scores.argmax())
            # Only keep edits that get closer to the goal, because others would change words needlessly.
            if scores[best] > score:
                if reached[best]:
                    if similarities is not None:
                        # Like TextFooler, choose the most similar edit among those that reach the goal.
                        shown = np.where(reached, similarities[: len(answers)], -np.inf)
                        best = int(shown.argmax())
                    problem.take(state.after(edits[best]), answers[best])
                    return
                state, score = state.after(edits[best]), float(scores[best])
        if problem.exhausted:
            return


def search_beam(problem: Problem) -> Search:
    """Extend the best states with every edit until a state reaches the goal."""
    states, seen, is_first = [problem.start], {problem.texts}, True
    while states and not problem.exhausted:
        grown: list[tuple[State, Edit]] = []
        for state in states:
            edits = yield from list_candidates(problem, state.texts)
            edits = filter_edits(problem, state, edits, count=is_first)
            edits, _ = yield from filter_similar(problem, state, edits)
            # Different orders of the same edits produce the same text, which is only queried once.
            grown += [(state, edit) for edit in edits if edit.texts not in seen]
            seen.update(edit.texts for edit in edits)
        is_first = False
        if not grown:
            return
        answers = yield from problem.score_candidates(grown)
        if not len(answers):
            return
        scores, reached = problem.judge(answers)
        if reached.any():
            best = int(np.where(reached, scores, -np.inf).argmax())
            problem.take(grown[best][0].after(grown[best][1]), answers[best])
            return
        # Use a stable sort, so the earlier of two equal edits is kept on every platform.
        order = np.argsort(-scores, kind="stable")[: problem.beam_width]
        order = order[np.isfinite(scores[order])]
        states = [grown[i][0].after(grown[i][1]) for i in order]


SEARCHES: dict[str, Callable[[Problem], Search]] = {
    "exhaustive": search_exhaustively,
    "greedy": search_greedily,
    "beam": search_beam,
}


def rank_places(problem: Problem, places: list[Place]) -> Search:
    """Order places by importance, most important first. A single place does not need a query."""
    if len(places) < 2:
        return places
    if problem.ranking == "random":
        return problem.rng.sample(places, len(places))
    if problem.ranking == "gradient":
        weights = yield Saliency(problem.texts, problem.label)
        if weights is None:
            problem.exhausted = True
            return []
        scores = [weights[sentence][position] for sentence, position in places]
    else:
        mask = "" if problem.ranking == "deletion" else problem.unk
        answers = yield Score([_mask_word(problem.texts, place, mask) for place in places])
        if len(answers) < len(places):
            problem.exhausted = True
            return []
        problem.failed += int(find_failed(answers).sum())
        scores = list(problem.judge(answers)[0])
    # Equal scores keep the reading order.
    order = sorted(range(len(places)), key=lambda i: -scores[i])
    return [places[i] for i in order]


def list_candidates(problem: Problem, texts: Texts) -> Search:
    """List every single edit of the input."""
    if problem.perturbation.asks_model:
        yield Propose(problem.perturbation, texts)
    return problem.perturbation.candidates(texts)


def filter_edits(
    problem: Problem, state: State, edits: Iterable[Edit], count: bool = True
) -> list[Edit]:
    """Return the allowed edits, without edits that produce the same text as an earlier edit.

    An edit is allowed if the model sees the word, the column may be edited, and all constraints without an
    encoder allow it. If `count` is set, the listed, allowed and refused edits are counted.
    """
    constraints = list(enumerate(problem.constraints))
    # Maps each place to the index of the rule that refuses its word, or `None`.
    refusing: dict[Place, int | None] = {}
    allowed: dict[Texts, Edit] = {}
    for edit in edits:
        problem.listed += count
        if not problem.columns[edit.sentence]:
            continue
        place = edit.sentence, edit.position
        # Check the rules for words only once per word, because a word has many edits.
        if place not in refusing:
            refusing[place] = next(
                (
                    n
                    for n, rule in constraints
                    if not rule.allows_word(state, *place, edit.original)
                ),
                None,
            )
        if edit.texts in allowed or edit.texts == state.texts:
            continue
        number = refusing[place]
        if number is None:
            number = next(
                (n for n, rule in constraints if not rule.allows(problem.start, state, edit)), None
            )
        if number is not None:
            problem.refused[number] += count
            continue
        origin = state.origin[edit.sentence][edit.position]
        if origin is not None and origin not in problem.visible[edit.sentence]:
            problem.beyond_cut += count
        else:
            allowed[edit.texts] = edit
            problem.allowed += count
    return list(allowed.values())


def filter_similar(problem: Problem, state: State, edits: list[Edit]) -> Search:
    """Keep the edits that are allowed by the constraints with an encoder.

    Returns the edits and their (n,) lowest similarities. The similarities are `None` if no constraint has an
    encoder.
    """
    allowed, similarity = np.ones(len(edits), dtype=bool), None
    for number, rule in enumerate(problem.constraints if edits else ()):
        measured = yield from rule.measure(problem.start, state, edits)
        if measured is not None:
            if state is problem.start:
                problem.refused[number] += int((allowed & ~measured[0]).sum())
            allowed &= measured[0]
            similarity = measured[1] if similarity is None else np.minimum(similarity, measured[1])
    if similarity is None:
        return edits, None
    chosen = np.flatnonzero(allowed)
    return [edits[i] for i in chosen], similarity[chosen]


def _mask_word(texts: Texts, place: Place, mask: str) -> Texts:
    """Replace one word with a mask. If the mask is empty, delete the word and the space before it."""
    sentence, position = place
    if mask:
        return replace_sentence(texts, sentence, apply_replacement(texts[sentence], position, mask))
    pieces, index = locate_token(texts[sentence], position)
    mark = detach_punctuation(pieces[index])[1]
    if index:
        pieces[index - 1 : index + 1] = [mark]
    else:
        pieces[:2] = [mark]
    return replace_sentence(texts, sentence, "".join(pieces))
