"""Negation: examples by verb form, properties for any text, and agreement of the two taggers."""

import pickle
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_bat import HfBatError, NegationPerturbation
from hf_bat.perturbations import apply_replacement
from hf_bat.perturbations.base import split_marks
from hf_bat.perturbations.verbs import (
    get_verb_lemma,
    load_nltk_tagger,
    tag_with_nltk,
    tag_with_rules,
)
from hf_bat.text import split_pieces

# Sentence -> all single negation edits, in reading order.
ADDED = {
    # to be
    "I am here.": ["I am not here."],
    "She is happy.": ["She isn't happy."],
    "We are old friends.": ["We aren't old friends."],
    "It was dark.": ["It wasn't dark."],
    "They were late.": ["They weren't late."],
    "Be quiet.": ["Not be quiet."],
    # simple present and past, regular and irregular
    "He goes home.": ["He doesn't go home."],
    "She flies a kite.": ["She doesn't fly a kite."],
    "He watches television.": ["He doesn't watch television."],
    "They go home.": ["They don't go home."],
    "I like tea.": ["I don't like tea."],
    "He went home.": ["He didn't go home."],
    "She saw a bird.": ["She didn't see a bird."],
    "They hopped over it.": ["They didn't hop over it."],
    "He hoped for rain.": ["He didn't hope for rain."],
    "She found a coin.": ["She didn't find a coin."],
    "He put it down.": ["He didn't put it down."],
    # have and do, as helpers and as main verbs
    "He has a car.": ["He doesn't have a car."],
    "They have children.": ["They don't have children."],
    "We had lunch.": ["We didn't have lunch."],
    "He has eaten it.": ["He hasn't eaten it.", "He has not eaten it."],
    "He does his homework.": ["He doesn't do his homework."],
    "Yes, he does.": ["Yes, he doesn't."],
    "Did he leave?": ["Didn't he leave?", "Did he not leave?"],
    # modals
    "I can do it.": ["I can't do it.", "I can not do it."],
    "You could go.": ["You couldn't go.", "You could not go."],
    "It will rain.": ["It won't rain.", "It will not rain."],
    "We shall see.": ["We shan't see.", "We shall not see."],
    "He should eat.": ["He shouldn't eat.", "He should not eat."],
    "She must leave.": ["She mustn't leave.", "She must not leave."],
    "It may rain.": ["It may not rain.", "It may not rain."],
    "May I go?": ["May I not go?"],
    # contractions, also as separate tokens
    "She's got a dog.": ["She's not got a dog.", "She's not got a dog."],
    "He has got a dog.": ["He hasn't got a dog.", "He has not got a dog."],
    "The man's shaving his beard.": ["The man's not shaving his beard."],
    "The children's dancing is nice.": ["The children's dancing isn't nice."],
    "I've had to clean up.": ["I've not had to clean up.", "I've not had to clean up."],
    "He's had enough.": ["He's not had enough.", "He's not had enough."],
    # Here, 's means "has", but after a noun it is mostly a possessive.
    "The man's lost his dog.": [],
    "The man 's lost his dog .": [],
    "The man's dog ran home.": ["The man's dog didn't run home."],
    "She's lost her keys.": ["She's not lost her keys.", "She's not lost her keys."],
    "She 's lost her keys .": ["She 's not lost her keys .", "She 's not lost her keys ."],
    "You'll like it.": ["You'll not like it.", "You'll not like it."],
    "I've really enjoyed it.": ["I've not really enjoyed it.", "I've really not enjoyed it."],
    "It 's a dog .": ["It 's not a dog ."],
    "Kim 's dog runs .": ["Kim 's dog doesn't run ."],
    "He has never gone .": [],
    # participles and infinitives
    "A man sitting.": ["A man not sitting."],
    "He is riding.": ["He isn't riding.", "He is not riding."],
    "It was written.": ["It wasn't written.", "It was not written."],
    "She wants to sing.": ["She doesn't want to sing.", "She wants to not sing."],
    # contracted hosts
    "I'm here.": ["I'm not here."],
    "They're here.": ["They're not here."],
    "It's here.": ["It's not here."],
    # case, marks and spacing
    "MEN ARE HERE!": ["MEN AREN'T HERE!"],
    '"Goes,"  he  said.': ['"Doesn\'t go,"  he  said.', '"Goes,"  he  didn\'t say.'],
    "He\u2019s here": ["He\u2019s not here"],
    # possible verbs that are nouns, possessives, participles before a noun
    "The dog of the man.": [],
    "A red ball, a wooden bat and a hat.": [],
    "The man's dog.": [],
    "An excited crowd in a crowded street.": [],
}
REMOVED = {
    # tokenized text, as in treebanks
    "He did n't like it .": ["He did like it ."],
    "It is n't funny .": ["It is funny ."],
    "I ca n't believe it .": ["I can believe it ."],
    "Wo n't they go ?": ["Will they go ?"],
    "He is not here.": ["He is here."],
    "He is not, however, here.": ["He is, however, here."],
    "Not all dogs.": ["All dogs."],
    "There are no dogs.": ["There are dogs."],
    "No dogs.": ["Dogs."],
    "It isn't here.": ["It is here."],
    "It can't be.": ["It can be."],
    "It won't be.": ["It will be."],
    "It cannot be.": ["It can be."],
    "WON'T be.": ["WILL be."],
    "He doesn't go.": ["He does go."],
    "I dont know": ["I do know"],
    "CANT be": ["CAN be"],
    "It wont be": ["It will be"],
    "Don't you like it?": ["Do you like it?"],
    "He isn\u2019t here.": ["He is here."],
    # nothing to remove
    "Not only dogs.": [],
    "Whether or not.": [],
    "No, thanks.": [],
    "No longer.": [],
    "No": [],
    "": [],
    "   ": [],
    "🙂 …": [],
}
VOCABULARY = """a the he they dog dogs men is are was can may go goes went gone running not no isn't don't
didn't I'm it's and only or to have has had does do never, quickly red "No Not CAN'T 🙂 ... it's, é
DONT cant"""
# Contractions without their apostrophe.
BARE = ("cant", "wont", "dont", "doesnt", "didnt", "isnt", "arent", "wasnt", "werent", "hasnt",
        "havent", "hadnt", "couldnt", "wouldnt", "shouldnt", "mustnt")  # fmt: skip
WORDS = st.sampled_from(VOCABULARY.split())
SENTENCES = st.lists(WORDS, max_size=9).map(" ".join)


@pytest.fixture(scope="module")
def negation() -> NegationPerturbation:
    return NegationPerturbation()


@pytest.mark.parametrize("text", [*ADDED, *REMOVED])
def test_worked_examples(negation, text):
    expected = {**ADDED, **REMOVED}[text]
    assert [edit.texts for edit in negation.candidates((text,))] == [(new,) for new in expected]


@settings(max_examples=300, deadline=None)
@given(first=SENTENCES, second=st.one_of(SENTENCES, st.text(max_size=30)))
def test_each_candidate_is_one_edit_of_one_word(first, second):
    negation = NegationPerturbation()
    for edit in negation.candidates((first, second)):
        before, after = (first, second)[edit.sentence], edit.texts[edit.sentence]
        assert edit.texts[1 - edit.sentence] == (first, second)[1 - edit.sentence]
        assert after != before and after.strip()
        tokens, edited = before.split(), after.split()
        if edit.replacement:
            assert apply_replacement(before, edit.position, edit.replacement) == after
            # All other words are unchanged.
            behind = len(tokens) - edit.position - 1
            assert edited[: edit.position] == tokens[: edit.position]
            assert edited[len(edited) - behind :] == tokens[len(tokens) - behind :]
        else:
            assert len(edited) == len(tokens) - 1
        word = edit.original.lower()
        negated = any(n in word for n in ("not", "n't", "no")) or word.strip('",') in BARE
        added = "not" in edit.replacement.lower() or "n't" in edit.replacement.lower()
        assert added != negated or word.strip('",') in ("it's", "i'm")


@settings(max_examples=200, deadline=None)
@given(text=SENTENCES)
def test_removing_the_added_not_restores_the_sentence(text):
    negation = NegationPerturbation()
    for edit in negation.candidates((text,)):
        words = edit.replacement.lower().replace("n't", " not").split()
        if not edit.replacement or "not" not in words:
            continue
        if "not only" in edit.texts[0].lower() or "or not" in edit.texts[0].lower():
            continue  # this kind of "not" is never removed
        supported = split_marks(words[0])[1] in ("do", "does", "did") and len(words) > 2
        undone = {
            again.texts[0].lower()
            for again in negation.candidates(edit.texts)
            if edit.position <= again.position <= edit.position + 1
        }
        if not supported:
            assert text.lower() in undone
        else:
            # "goes" -> "doesn't go" -> "does go": the verb is the same, but the auxiliary remains.
            verb = split_marks(edit.original)[1].lower()
            helper, lemma = split_marks(words[0])[1], split_marks(words[-1])[1]
            assert lemma in (verb, get_verb_lemma(verb), "have", "do")
            plain = [f"{helper} {lemma}" in sentence for sentence in undone]
            assert any(plain)


def test_samples_are_uniform_over_the_candidates_and_repeat_with_the_seed(negation):
    texts = ("He can run.", "She is not here.")
    expected = {edit.texts for edit in negation.candidates(texts)}
    assert len(expected) == 3
    rng = random.Random(0)
    drawn = [negation.sample(texts, rng) for _ in range(3000)]
    assert set(drawn) == expected
    assert all(850 < drawn.count(texts) < 1150 for texts in expected)
    again = random.Random(0)
    assert drawn[:20] == [negation.sample(texts, again) for _ in range(20)]
    assert negation.sample(("A dog.", ""), rng) is None


def test_edits_of_real_pairs_keep_the_other_words(negation, shared_rows):
    rows = shared_rows("snli/validation.jsonl.gz", 300)
    edited = 0
    for row in rows:
        texts = (row["premise"], row["hypothesis"])
        for edit in negation.candidates(texts):
            pieces = split_pieces(texts[edit.sentence].strip())
            kept = [piece for place, piece in enumerate(pieces) if place != 2 * edit.position]
            edited += 1
            if edit.replacement:
                spaces = [p for p in split_pieces(edit.texts[edit.sentence].strip()) if p.strip()]
                assert [p for p in kept if p.strip()] == (
                    spaces[: edit.position]
                    + spaces[len(spaces) - (len(kept) // 2 - edit.position) :]
                    if edit.position < len(kept) // 2
                    else spaces[: edit.position]
                )
    assert edited > 600  # nearly every caption has a verb


def test_two_taggers_agree_on_real_sentences(shared, shared_rows, monkeypatch):
    data = pytest.importorskip("nltk.data")
    monkeypatch.setattr(data, "path", [str(shared / "nltk_data")])
    both = only_lexicon = only_nltk = same = 0
    for row in shared_rows("snli/validation.jsonl.gz", 500):
        for text in (row["premise"], row["hypothesis"]):
            tokens = [split_marks(token) for token in text.split()]
            for ours, theirs in zip(tag_with_rules(tokens), tag_with_nltk(tokens), strict=True):
                both += bool(ours and theirs)
                same += bool(ours) and ours == theirs
                only_lexicon += bool(ours and not theirs)
                only_nltk += bool(theirs and not ours)
    assert both / (both + only_lexicon) > 0.9
    assert both / (both + only_nltk) > 0.9
    assert same / both > 0.95


def test_nltk_tags_in_context(shared, monkeypatch):
    data = pytest.importorskip("nltk.data")
    monkeypatch.setattr(data, "path", [str(shared / "nltk_data")])
    negation = NegationPerturbation(pos="nltk")
    assert [edit.texts[0] for edit in negation.candidates(("The man walks his dog.",))] == [
        "The man doesn't walk his dog."
    ]
    assert negation.describe() == {"perturbation": "negation", "pos": "nltk"}


def test_missing_tagger_data_names_the_download(monkeypatch, tmp_path: Path):
    data = pytest.importorskip("nltk.data")
    monkeypatch.setattr(data, "path", [str(tmp_path)])
    load_nltk_tagger.cache_clear()
    with pytest.raises(HfBatError, match="averaged_perceptron_tagger_eng"):
        NegationPerturbation(pos="nltk").candidates(("He goes.",))


def test_pickled_perturbation_has_the_same_candidates(negation):
    copy = pickle.loads(pickle.dumps(negation))
    assert copy.candidates(("He goes.",)) == negation.candidates(("He goes.",))
