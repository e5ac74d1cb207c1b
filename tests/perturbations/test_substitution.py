"""Synonyms, antonyms and sister terms: which words are drawn, how often, and in which form."""

import collections
import importlib.util
import json
import pickle
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_bat import SubstitutionTable
from hf_bat.lexicon import (
    antonyms_from_wordnet,
    default_antonyms,
    default_sisters,
    default_synonyms,
    load_wordnet,
    wordnet_synonyms,
)
from hf_bat.perturbations import (
    AntonymPerturbation,
    LabelValidity,
    SisterPerturbation,
    SynonymPerturbation,
)

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_sister_table.py"
TABLE = {
    "dog": ("hound", "pup"),
    "big": ("large",),
    "hot": ("cold", "cool"),
    "is": ("isn't",),
    "same": ("SAME", "equal"),
}
VOCABULARY = ["dog", "Dog", "DOG,", "big", "hot.", "is", "tree", "Same", "and", "runs!", "", " "]
texts = st.lists(st.sampled_from(VOCABULARY), max_size=8).map(" ".join)
pairs = st.tuples(texts, texts)


def tokens_of(sentences):
    return [sentence.split() for sentence in sentences]


@given(pairs, st.integers(min_value=0, max_value=10**6))
def test_fickle_draw_takes_each_word_from_its_set(pair, seed):
    fickle = SynonymPerturbation(TABLE)
    drawn = fickle.sample(pair, random.Random(seed))
    if drawn is None:
        return
    assert drawn != pair
    allowed = {(slot.sentence, slot.position): slot.replacements for slot in fickle.slots(pair)}
    for s, (before, after) in enumerate(zip(tokens_of(pair), tokens_of(drawn), strict=True)):
        assert len(before) == len(after)
        for p, (old, new) in enumerate(zip(before, after, strict=True)):
            if old != new:
                mark = old[-1] if old[-1] in ",.!" else ""
                assert new in {replacement + mark for replacement in allowed[s, p]}


@given(pairs, st.integers(min_value=0, max_value=10**6))
def test_obstinate_draw_is_one_of_the_candidates(pair, seed):
    obstinate = AntonymPerturbation(TABLE)
    drawn = obstinate.sample(pair, random.Random(seed))
    candidates = [edit.texts for edit in obstinate.candidates(pair)]
    if drawn is None:
        assert candidates == []
    else:
        assert drawn in candidates
        changed = [
            (old, new)
            for before, after in zip(tokens_of(pair), tokens_of(drawn), strict=True)
            for old, new in zip(before, after, strict=True)
            if old != new
        ]
        assert len(changed) == 1


def test_fickle_draw_is_uniform_over_the_set_with_the_word_itself():
    fickle = SynonymPerturbation({"dog": ("hound", "pup")})
    rng = random.Random(5)
    drawn = collections.Counter(fickle.sample(("dog",), rng) for _ in range(6000))
    assert set(drawn) == {None, ("hound",), ("pup",)}
    for count in drawn.values():  # a third each: 2000, standard deviation 37
        assert abs(count - 2000) < 180


def test_obstinate_draw_takes_either_sentence_then_a_word_then_an_antonym():
    obstinate = AntonymPerturbation({"hot": ("cold",), "dog": ("cat", "fox")})
    rng = random.Random(5)
    drawn = collections.Counter(obstinate.sample(("hot", "hot dog"), rng) for _ in range(8000))
    expected = {
        ("cold", "hot dog"): 4000,
        ("hot", "cold dog"): 2000,
        ("hot", "hot cat"): 1000,
        ("hot", "hot fox"): 1000,
    }
    assert set(drawn) == set(expected)
    for key, count in expected.items():
        assert abs(drawn[key] - count) < 250


def test_second_sentence_is_tried_when_the_first_has_no_word():
    obstinate = AntonymPerturbation({"hot": ("cold",)})
    for seed in range(20):
        assert obstinate.sample(("a tree", "hot"), random.Random(seed)) == ("a tree", "cold")
        assert obstinate.sample(("hot", ""), random.Random(seed)) == ("cold", "")


def test_case_and_punctuation_are_kept():
    obstinate = AntonymPerturbation({"hot": ("cold",)})
    assert obstinate.sample(("HOT,",), random.Random(0)) == ("COLD,",)
    assert obstinate.sample(("Hot!",), random.Random(0)) == ("Cold!",)


def test_authors_casing_lowers_all_of_a_fickle_draw_and_one_word_of_an_obstinate_one():
    fickle = SynonymPerturbation({"dog": ("hound",)}, casing="authors")
    drawn = {fickle.sample(("A Big Dog.",), random.Random(seed)) for seed in range(20)}
    # Lower-casing a text does not count as a perturbation.
    assert drawn == {None, ("a big hound.",)}
    obstinate = AntonymPerturbation({"dog": ("cat",)}, casing="authors")
    assert obstinate.sample(("A Big Dog.",), random.Random(0)) == ("A Big cat.",)


def test_stop_words_are_left_alone_by_default():
    pair = ("It is hot.",)
    assert {e.original for e in SynonymPerturbation(TABLE).candidates(pair)} == {"hot"}
    with_stopwords = SynonymPerturbation(TABLE, exclude_stopwords=False)
    assert {e.original for e in with_stopwords.candidates(pair)} == {"is", "hot"}


def test_antonyms_of_stop_words_are_used_if_a_user_listed_them(tmp_path):
    """Tables built from WordNet contain stop words by accident, tables of plain word lists do not."""
    texts = ("Turn the light on.",)
    plain = {"on": ["off"]}
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps(plain))
    for table in (plain, path, SubstitutionTable.load(path)):
        antonyms = AntonymPerturbation(table)
        assert antonyms.sample(texts, random.Random(0)) == ("Turn the light off.",)
    built = antonyms_from_wordnet(["on"])
    assert "off" in built["on"] and AntonymPerturbation(built).candidates(texts) == []
    assert "off" in default_antonyms()["on"]
    assert AntonymPerturbation(default_antonyms()).replacements("on") == ()
    # The descriptions, which identify runs and recipes, differ because the edits differ.
    same_words = AntonymPerturbation(SubstitutionTable(plain, {"kind": "antonyms"}))
    assert same_words.describe() != AntonymPerturbation(plain).describe()


def test_replacement_that_differs_in_case_only_is_dropped():
    perturbation = SynonymPerturbation(TABLE, exclude_stopwords=False)
    assert perturbation.replacements("Same") == ("Equal",)


@pytest.mark.parametrize("text", ["", " ", "dog", "👩‍👩‍👧 🙂", "你好。", "a\u00a0dog"])
def test_odd_texts_are_perturbed_or_left_alone(text):
    for perturbation in (SynonymPerturbation(TABLE), AntonymPerturbation(TABLE)):
        drawn = perturbation.sample((text, text), random.Random(1))
        assert drawn is None or len(drawn) == 2
        assert bool(perturbation.candidates((text,))) == ("dog" in text)


def test_pickled_perturbation_draws_the_same():
    fickle = SynonymPerturbation(TABLE)
    fickle.sample(("a big dog",), random.Random(0))
    again = pickle.loads(pickle.dumps(fickle))
    for seed in range(10):
        rng, other = random.Random(seed), random.Random(seed)
        assert fickle.sample(("a big dog",), rng) == again.sample(("a big dog",), other)


def test_description_names_the_table_by_its_fingerprint():
    table = SubstitutionTable(TABLE)
    described = AntonymPerturbation(table).describe()
    assert described["table"] == table.fingerprint
    assert described != AntonymPerturbation(table, exclude_stopwords=False).describe()


def test_description_of_a_plain_mapping_has_its_fingerprint():
    """It distinguishes rows files and certificates from different tables."""
    one, other = ({"hot": ("cold",)}, {"big": ("small",)})
    for kind in (SynonymPerturbation, AntonymPerturbation):
        assert kind(one).describe() != kind(other).describe()
        assert kind(one).describe() == kind(SubstitutionTable(one)).describe()
    assert LabelValidity(one).describe() != LabelValidity(other).describe()


@pytest.mark.parametrize(
    ("word", "sister", "other"),
    [("red", "blue", "crimson"), ("Dogs", "Cats", "Poodles"), ("cotton", "silk", "fabric"),
     ("French", "Italian", "European"), ("MONDAY", "TUESDAY", "DAY"), ("guitar", "drum", "violins")],
)  # fmt: skip
def test_sister_terms_exclude_each_other(word, sister, other):
    replacements = SisterPerturbation().replacements(word)
    assert sister in replacements and other not in replacements


def test_bundled_sister_terms_are_not_synonyms_or_hypernyms():
    wordnet, table = load_wordnet(), default_sisters()
    bundled = default_synonyms(), wordnet_synonyms()
    for word, others in table.items():
        for other in others:
            for synonyms in bundled:
                assert other not in synonyms.get(word, ()), (word, other)
            assert word == word.lower() and other == other.lower()
    dog, poodle = (wordnet.senses(word, "n")[0] for word in ("dog", "poodle"))
    assert dog in wordnet.parents(poodle) and "poodle" not in table["dog"]


@pytest.mark.skipif(not SCRIPT.is_file(), reason="the scripts are not in an installed package")
def test_bundled_sister_table_is_up_to_date():
    spec = importlib.util.spec_from_file_location("build_sister_table", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    table, _ = script.build(load_wordnet())
    assert table.fingerprint == default_sisters().fingerprint
    assert table.metadata == default_sisters().metadata
