"""A custom perturbation that only has candidates is searched as fast as built-in ones."""

import pytest
from attack_helpers import SYNONYMS, hashed, made_rows

from hf_bat.attack import Attack, NoRepeat, Recipe
from hf_bat.perturbations import SynonymPerturbation
from hf_bat.perturbations.base import Perturbation


class Own(Perturbation):
    """Synonym edits that are only available from `candidates`; counts how often they are listed."""

    name, kind = "synonym", "fickle"

    def __init__(self, asks_model=False):
        self.inner, self.asks_model = SynonymPerturbation(SYNONYMS), asks_model
        self.listed, self.prepared = [], []

    def candidates(self, texts):
        self.listed.append(texts)
        return self.inner.candidates(texts)

    def prepare(self, inputs):
        self.prepared.append(list(inputs))

    def describe(self):
        return {"perturbation": self.name}


def attack(perturbation, rows, **options):
    recipe = Recipe("own", perturbation, "flip", "greedy", "deletion", (NoRepeat(),), **options)
    return Attack(recipe, hashed).run(rows).rows["synonym"]


@pytest.mark.parametrize("budget", [None, 9])
def test_candidates_are_listed_once_for_each_text_and_outcomes_are_the_same(budget):
    rows, own = made_rows(80, seed=1, lengths=(10, 20)), Own()
    expected = attack(SynonymPerturbation(SYNONYMS), rows, budget=budget)
    results = attack(own, rows, budget=budget)
    assert results == expected
    attempted = [result for result in results if result.is_attempted]
    # The constructor of `Attack` lists the candidates of an empty input once.
    texts = own.listed[1:]
    assert len(texts) == len(set(texts)) > len(attempted)
    places = sum(len(SynonymPerturbation(SYNONYMS).slots(tuple(r.original))) for r in attempted)
    assert len(texts) < places / 2


def test_a_perturbation_that_asks_a_model_is_prepared_with_many_inputs_at_once():
    rows, own = made_rows(30, seed=2), Own(asks_model=True)
    results = attack(own, rows)
    assert results == attack(SynonymPerturbation(SYNONYMS), rows)
    asked = {tuple(result.original) for result in results if result.is_attempted}
    assert len(own.prepared) == 1 and set(own.prepared[0]) == asked
