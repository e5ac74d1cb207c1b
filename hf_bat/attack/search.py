"""Searches: the order in which edits are tried, and which of them are kept.

Each search is a generator of requests to the engine (see `hf_bat.attack.engine`), which batches them.
It works on a `Problem`, the row under attack, and leaves the outcome there.
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
    """A row under attack, with what its search finds out."""

    texts: Texts
    label: int  # gold, and predicted for the unedited input
    gold_before: float  # probability of the gold label for the unedited input
    # As in `Recipe`.
    perturbation: Perturbation
    goal: Goal
    constraints: tuple[Constraint, ...]
    ranking: str | None
    beam_width: int
    columns: tuple[bool, ...]  # for each text, whether it may be edited
    visible: tuple[range, ...]  # for each text, which of its white-space tokens the model sees
    rng: random.Random  # the row's own, so that the random ranking does not depend on other rows
    unk: str = "[UNK]"

    # The adversarial input that reaches the goal, and the model's answer to it.
    state: State | None = None
    answer: np.ndarray | None = None
    # Whether some edit flipped the prediction (fickle) or kept it (obstinate); and whether some edit kept
    # it and raised the gold probability.
    succeeded: bool = False
    confident: bool = False
    # Numbers of edits: that the model gave a prediction for, that keep the prediction, that also raise the
    # gold probability, and that the model would not see.
    candidates: int = 0
    kept: int = 0
    raised: int = 0
    beyond_cut: int = 0
    # Numbers of edited inputs on which the model abstained, and of questions that failed.
    abstained: int = 0
    failed: int = 0
    # Numbers of single edits of the unedited input: all of them, and those that may be made.
    listed: int = 0
    allowed: int = 0
    # How many of them each constraint refuses, by its place in `constraints`.
    refused: Counter[int] = field(default_factory=Counter)
    exhausted: bool = False  # whether the query budget ended the search
    # For exhaustive searches: each edit, whether it kept the prediction and whether it raised the gold
    # probability.
    tried: list[tuple[Edit, bool, bool]] = field(default_factory=list)
    # For obstinate attacks, the best edit that kept the prediction: its score and the arguments of `take`.
    best_kept: tuple[float, State, np.ndarray] | None = None

    def __post_init__(self) -> None:
        self.start = State.of(self.texts)
        self._listed: tuple[State | None, dict[Place, list[Edit]]] = None, {}

    def list_edits(self, state: State, place: Place, start_place: Place) -> list[Edit]:
        """List the edits of one word, now at `place` and at `start_place` in the unedited texts."""
        # All candidates of a state are listed once. A search goes from word to word of one state until it
        # takes an edit, so listing them at each word would take quadratic time.
        if state is not self._listed[0]:
            texts, perturbation = state.texts, self.perturbation
            # Most perturbations can list the edits of one word without listing all.
            edits = perturbation.edits_at(texts, *place, self.texts, start_place[1])
            if edits is not None:
                return edits
            self.note_candidates(state, perturbation.candidates(texts))
        return self._listed[1].get(place, [])

    def note_candidates(self, state: State, edits: list[Edit]) -> None:
        """Remember all candidates of a state by the word that they edit."""
        by_place: dict[Place, list[Edit]] = {}
        for edit in edits:
            by_place.setdefault((edit.sentence, edit.position), []).append(edit)
        self._listed = state, by_place

    def score_candidates(self, grown: list[tuple[State, Edit]]) -> Search:
        """Ask for states with one more edit each, and note what the answers show.

        Returns the answers, (n, labels); fewer than n at the end of the budget.
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
            # -inf, because edits that flip the prediction may have a score above 0 under a user's goal.
            scores = np.where(keeps, self.judge(answers)[0], -np.inf)
            best = int(scores.argmax())
            if self.best_kept is None or scores[best] > self.best_kept[0]:
                state, edit = grown[best]
                self.best_kept = float(scores[best]), state.after(edit), answers[best]
        return answers

    def judge(self, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the goal's score of (n, labels) answers, and which of them reach it, (n,) each.

        An answer without a prediction is as far from the goal as can be.
        """
        answered = find_answered(answers)
        # A goal of a user's knows nothing of answers without a prediction.
        known = np.where(answered[:, None], answers, 1 / answers.shape[1])
        reached = self.goal.reached(known, self.label, self.gold_before)
        return np.where(answered, self.goal.score(known, self.label), -np.inf), answered & reached

    def take(self, state: State, answer: np.ndarray) -> None:
        """Record the adversarial input and the model's answer to it."""
        self.state, self.answer = state, answer
        if self.goal.kind == "fickle":
            self.succeeded = True

    def settle(self) -> None:
        """At the end of a search, show an edit that kept the prediction even if it missed the goal."""
        if self.state is None and self.best_kept is not None:
            self.take(*self.best_kept[1:])


def search_exhaustively(problem: Problem) -> Search:
    """Try every single edit at once; the best one that reaches the goal is shown."""
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
    """Go from word to word by importance; keep the best replacement if it comes nearer to the goal."""
    start = problem.start
    edits = yield from list_candidates(problem, problem.texts)
    problem.note_candidates(start, edits)
    edits = filter_edits(problem, start, edits)
    places = list(dict.fromkeys((edit.sentence, edit.position) for edit in edits))
    order = yield from rank_places(problem, places)
    state, score = start, problem.goal.score_unedited(problem.gold_before)
    for place in order:
        # Edits may insert or remove tokens, so the word may be elsewhere now, or gone.
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
            # An edit that does not come nearer is not kept, because it would cost words for nothing.
            if scores[best] > score:
                if reached[best]:
                    if similarities is not None:
                        # As TextFooler: the most similar of the edits that reach the goal.
                        shown = np.where(reached, similarities[: len(answers)], -np.inf)
                        best = int(shown.argmax())
                    problem.take(state.after(edits[best]), answers[best])
                    return
                state, score = state.after(edits[best]), float(scores[best])
        if problem.exhausted:
            return


def search_beam(problem: Problem) -> Search:
    """Extend the best few states by every edit until one reaches the goal."""
    states, seen, is_first = [problem.start], {problem.texts}, True
    while states and not problem.exhausted:
        grown: list[tuple[State, Edit]] = []
        for state in states:
            edits = yield from list_candidates(problem, state.texts)
            edits = filter_edits(problem, state, edits, count=is_first)
            edits, _ = yield from filter_similar(problem, state, edits)
            # Two orders of the same edits give one text, which is asked about once.
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
        # Stable, so that the earlier of two equal edits stays, on every platform.
        order = np.argsort(-scores, kind="stable")[: problem.beam_width]
        order = order[np.isfinite(scores[order])]
        states = [grown[i][0].after(grown[i][1]) for i in order]


SEARCHES: dict[str, Callable[[Problem], Search]] = {
    "exhaustive": search_exhaustively,
    "greedy": search_greedily,
    "beam": search_beam,
}


def rank_places(problem: Problem, places: list[Place]) -> Search:
    """Order places by importance, the most important first. A single place needs no question."""
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
    """List every single edit of an input."""
    if problem.perturbation.asks_model:
        yield Propose(problem.perturbation, texts)
    return problem.perturbation.candidates(texts)


def filter_edits(
    problem: Problem, state: State, edits: Iterable[Edit], count: bool = True
) -> list[Edit]:
    """Return the edits that may be made, without those that give the same text as an earlier one.

    They are of words that the model sees, in columns that may be edited, and within the constraints that
    need no encoder. With `count`, the edits and those that may not be made are counted.
    """
    constraints = list(enumerate(problem.constraints))
    # Place -> number of the rule that refuses the word, `None` for no rule.
    refusing: dict[Place, int | None] = {}
    allowed: dict[Texts, Edit] = {}
    for edit in edits:
        problem.listed += count
        if not problem.columns[edit.sentence]:
            continue
        place = edit.sentence, edit.position
        # A word has many edits, so the rules about words are asked once for each.
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
    """Keep the edits that the constraints with an encoder allow.

    Returns them and their lowest similarities, (n,), or `None` instead if no constraint has an encoder.
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
    """Replace one word by a mask, or delete it with the space before it if the mask is empty."""
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
