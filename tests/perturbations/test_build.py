"""The perturbations of runs: tables and their options, kinds of obstinate edits, and mixtures."""

import pickle
import random
from collections import Counter

import pytest

from hf_bat import SubstitutionTable
from hf_bat.attack import get_recipe
from hf_bat.perturbations import (
    OBSTINATE_EDITS,
    AntonymPerturbation,
    FilteredPerturbation,
    LabelValidity,
    MixedPerturbation,
    NegationPerturbation,
    NumberPerturbation,
    PreferringPerturbation,
    build_obstinate,
    build_perturbations,
)

ANTONYM = AntonymPerturbation({"hot": ("cold",)})


def test_antonyms_are_removed_from_synonyms_by_default():
    synonyms = SubstitutionTable({"import": ["export", "importation"]})
    antonyms = SubstitutionTable({"import": ["export"]})
    fickle, _ = build_perturbations(synonyms, antonyms)
    assert fickle.replacements("import") == ("importation",)
    fickle, _ = build_perturbations(synonyms, antonyms, drop_antonyms_from_synonyms=False)
    assert fickle.replacements("import") == ("export", "importation")


def test_table_is_a_table_a_mapping_or_a_file(tmp_path):
    words = {"import": ["importation"]}
    SubstitutionTable(words).save(tmp_path / "table.json.gz")
    for source in (SubstitutionTable(words), words, tmp_path / "table.json.gz"):
        fickle, _ = build_perturbations(source, {"hot": ["cold"]})
        assert dict(fickle.table) == {"import": ("importation",)}


def test_kinds_are_in_the_documented_order():
    assert OBSTINATE_EDITS == ("antonym", "negation", "sister", "number")


def test_mixture_draws_each_kind_equally_often():
    mixed = build_obstinate(ANTONYM, OBSTINATE_EDITS)
    texts = ("Two red dogs eat hot soup in ten cold rooms.",)
    kinds = Counter()
    rng = random.Random(0)
    kind_of = {e.texts: part.name for part in mixed.perturbations for e in part.candidates(texts)}
    for _ in range(2000):
        kinds[kind_of[mixed.sample(texts, rng)]] += 1
    assert set(kinds) == set(OBSTINATE_EDITS)
    assert all(400 < count < 600 for count in kinds.values()), kinds
    chosen = Counter()
    for _ in range(2000):
        chosen[kind_of[mixed.choose(mixed.candidates(texts), rng).texts]] += 1
    assert all(400 < count < 600 for count in chosen.values()), chosen
    assert mixed.sample(("Hm.",), rng) is None and mixed.choose([], rng) is None


def test_shared_edit_is_chosen_as_often_as_it_is_drawn():
    """ "Second" is both an antonym of "first" and the next number, and is drawn as both kinds."""
    antonyms = AntonymPerturbation({"first": ("second", "last")})
    mixed = MixedPerturbation([antonyms, NumbersOf("first", "second", "third")])
    texts = ("The first dog.",)
    edits = mixed.candidates(texts)
    assert sorted(edit.replacement for edit in edits) == ["last", "second", "third"]
    rng = random.Random(0)
    drawn = Counter(mixed.sample(texts, rng) for _ in range(4000))
    chosen = Counter(mixed.choose(edits, rng).texts for _ in range(4000))
    assert drawn[("The second dog.",)] / 4000 == pytest.approx(0.5, abs=0.03)
    for texts in drawn:
        assert chosen[texts] / 4000 == pytest.approx(drawn[texts] / 4000, abs=0.04)


class NumbersOf(AntonymPerturbation):
    """Numbers from a table, drawn like antonyms."""

    def __init__(self, word, *others):
        super().__init__({word: others})


def test_mixture_is_filtered_as_a_whole():
    mixed = MixedPerturbation([ANTONYM, NumberPerturbation()])
    texts = ("Two hot days.", "It was hot.")
    rng = random.Random(0)
    for kind in (FilteredPerturbation, PreferringPerturbation):
        wrapped = pickle.loads(pickle.dumps(kind(mixed, LabelValidity())))
        drawn = {wrapped.sample(texts, rng) for _ in range(50)}
        assert drawn == {("Two cold days.", "It was hot."), ("Two hot days.", "It was cold.")}
    edits = mixed.candidates(texts)
    assert len({edit.texts for edit in edits}) == len(edits) == 4
    assert [part["perturbation"] for part in mixed.describe()["of"]] == ["antonym", "number"]


def test_single_kind_is_not_a_mixture_and_shares_the_options():
    _, antonym = build_perturbations(casing="authors", exclude_stopwords=False)
    assert build_obstinate(antonym) is antonym
    assert isinstance(build_obstinate(antonym, ["negation"]), NegationPerturbation)
    sister = build_obstinate(antonym, ["sister"])
    assert (sister.casing, sister.exclude_stopwords) == ("authors", False)


def test_label_filter_by_name():
    assert type(build_obstinate(ANTONYM, label_filter="only")) is FilteredPerturbation
    assert type(build_obstinate(ANTONYM, label_filter="prefer")) is PreferringPerturbation


def test_sister_and_number_have_recipes():
    for name in ("sister", "number"):
        recipe = get_recipe(name)
        assert (recipe.key, recipe.name, recipe.search) == (name, name, "exhaustive")
        assert recipe.goal.kind == "obstinate"
        assert recipe.describe()["perturbation"]["perturbation"] == name
    assert get_recipe("sister").hash != get_recipe("number").hash
