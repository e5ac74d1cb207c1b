"""Synonym and antonym perturbations: what may be drawn, how often, and from which words."""

import collections
import gzip
import json
import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_bat import HfBatError, SubstitutionTable
from hf_bat.perturbations import (
    AntonymPerturbation,
    LabelValidity,
    PerturbationSampler,
    SynonymPerturbation,
    build_perturbations,
)
from hf_bat.perturbations.sampler import DrawSource

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
def test_a_fickle_draw_takes_each_word_from_its_set(pair, seed):
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
def test_an_obstinate_draw_is_one_of_the_candidates(pair, seed):
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


def test_a_fickle_draw_is_uniform_over_the_set_with_the_word_itself():
    fickle = SynonymPerturbation({"dog": ("hound", "pup")})
    rng = random.Random(5)
    drawn = collections.Counter(fickle.sample(("dog",), rng) for _ in range(6000))
    assert set(drawn) == {None, ("hound",), ("pup",)}
    for count in drawn.values():  # each a third: 2000, standard deviation 37
        assert abs(count - 2000) < 180


def test_an_obstinate_draw_takes_either_sentence_then_a_word_then_an_antonym():
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


def test_the_second_sentence_is_tried_when_the_first_has_no_word():
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
    # A text that was only lower-cased is not a perturbed one.
    assert drawn == {None, ("a big hound.",)}
    obstinate = AntonymPerturbation({"dog": ("cat",)}, casing="authors")
    assert obstinate.sample(("A Big Dog.",), random.Random(0)) == ("A Big cat.",)


def test_stop_words_are_left_alone_unless_asked():
    pair = ("It is hot.",)
    assert {e.original for e in AntonymPerturbation(TABLE).candidates(pair)} == {"hot"}
    with_stopwords = AntonymPerturbation(TABLE, exclude_stopwords=False)
    assert {e.original for e in with_stopwords.candidates(pair)} == {"is", "hot"}


def test_a_replacement_that_is_the_word_in_another_case_is_none():
    perturbation = SynonymPerturbation(TABLE, exclude_stopwords=False)
    assert perturbation.replacements("Same") == ("Equal",)


@pytest.mark.parametrize("text", ["", " ", "dog", "👩‍👩‍👧 🙂", "你好。", "a\u00a0dog"])
def test_odd_texts_are_perturbed_or_left_alone(text):
    for perturbation in (SynonymPerturbation(TABLE), AntonymPerturbation(TABLE)):
        drawn = perturbation.sample((text, text), random.Random(1))
        assert drawn is None or len(drawn) == 2
        assert bool(perturbation.candidates((text,))) == ("dog" in text)


def test_unknown_casing_is_refused():
    with pytest.raises(HfBatError, match="unknown casing 'upper'; known: keep, authors"):
        AntonymPerturbation(TABLE, casing="upper")


def test_a_perturbation_survives_pickling_with_the_same_draws():
    fickle = SynonymPerturbation(TABLE)
    fickle.sample(("a big dog",), random.Random(0))
    again = pickle.loads(pickle.dumps(fickle))
    for seed in range(10):
        rng, other = random.Random(seed), random.Random(seed)
        assert fickle.sample(("a big dog",), rng) == again.sample(("a big dog",), other)


def test_the_description_names_the_table_by_its_fingerprint():
    table = SubstitutionTable(TABLE)
    described = AntonymPerturbation(table).describe()
    assert described["table"] == table.fingerprint
    assert described != AntonymPerturbation(table, exclude_stopwords=False).describe()


def test_antonyms_are_taken_out_of_synonyms_unless_asked():
    synonyms = SubstitutionTable({"import": ["export", "importation"]})
    antonyms = SubstitutionTable({"import": ["export"]})
    fickle, _ = build_perturbations(synonyms, antonyms)
    assert fickle.replacements("import") == ("importation",)
    fickle, _ = build_perturbations(synonyms, antonyms, drop_antonyms_from_synonyms=False)
    assert fickle.replacements("import") == ("export", "importation")


def test_a_table_is_a_table_a_mapping_or_a_file(tmp_path):
    words = {"import": ["importation"]}
    SubstitutionTable(words).save(tmp_path / "table.json.gz")
    tables = [
        build_perturbations(source, {"hot": ["cold"]})[0].table
        for source in (SubstitutionTable(words), words, tmp_path / "table.json.gz")
    ]
    assert [dict(table) for table in tables] == [{"import": ("importation",)}] * 3
    with pytest.raises(HfBatError, match="a table, a mapping or a path is wanted; got list"):
        build_perturbations(["import"])


def test_a_draw_depends_on_seed_epoch_idx_and_stream_alone():
    keys = [(s, e, i, k) for s in range(3) for e in range(3) for i in range(3) for k in range(3)]
    values = {key: DrawSource(*key).random() for key in keys}
    assert len(set(values.values())) == len(keys)
    assert values == {key: DrawSource(*key).random() for key in reversed(keys)}
    # A frozen value: runs of other machines and versions must draw the same.
    assert DrawSource(42, 1, 7, 0).random() == 0.9815871485043317


def test_real_rows_get_valid_draws_from_the_bundled_lexicon(shared):
    with gzip.open(shared / "data/snli/validation.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file][:1000]
    fickle, obstinate = build_perturbations()
    sampler = PerturbationSampler(
        ("premise", "hypothesis"), fickle, obstinate, skipped_labels={1}, num_obstinate=2
    )
    valid = collections.Counter()
    for row in rows:
        drawn = sampler.draw(row, epoch=0)
        assert drawn == sampler.draw(row, epoch=0)
        assert len(drawn["obstinate"]) == 2
        if row["label"] == 1:
            assert drawn["obstinate"] == [None, None]
        for kind, versions in drawn.items():
            valid[kind] += versions[0] is not None
            for version in versions:
                assert version is None or version != sampler.texts(row)
    assert valid["fickle"] > 600 and valid["obstinate"] > 600
    fresh = [sampler.draw(row, 0) != sampler.draw(row, 1) for row in rows]
    assert sum(fresh) > 600


def test_a_row_without_its_text_says_so():
    sampler = PerturbationSampler(("premise",), SynonymPerturbation(TABLE))
    with pytest.raises(HfBatError, match="no column 'premise'; it has: input_ids, idx"):
        sampler.draw({"input_ids": [1], "idx": 0}, 0)


def test_plain_mappings_have_hashes_too():
    """Rows files and certificates are told from those of another table by it."""
    one, other = ({"hot": ("cold",)}, {"big": ("small",)})
    for kind in (SynonymPerturbation, AntonymPerturbation):
        assert kind(one).describe() != kind(other).describe()
        assert kind(one).describe() == kind(SubstitutionTable(one)).describe()
    assert LabelValidity(one).describe() != LabelValidity(other).describe()
