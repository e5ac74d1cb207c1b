"""The engine: results do not depend on batches, order, other rows and ranks; inputs are correct."""

import copy
import hashlib
import random

import numpy as np
import pytest
import torch
from attack_helpers import ANTONYMS, SYNONYMS, hashed, made_rows
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.attack import Attack, CallableModel, Recipe, TransformersModel
from hf_bat.attack.engine import Engine, Score
from hf_bat.attack.models import hash_weights
from hf_bat.perturbations import SynonymPerturbation

ROWS = made_rows(60, seed=7, lengths=(2, 20))


def tiny(arch="bert", **options):
    texts = [row[c] for row in ROWS for c in ("premise", "hypothesis")]
    words = [w for table in (ANTONYMS, SYNONYMS) for others in table.values() for w in others]
    return TransformersModel(tiny_model(arch), tiny_tokenizer([*texts, *words]), **options)


def predicted(model, rows):
    """Return the rows with the labels that a model predicts, so most are attacked."""
    pairs = [(row["premise"], row["hypothesis"]) for row in rows]
    with model.session():
        labels = [model.probabilities(model.keys([p]))[0].argmax() for p in pairs]
    return [{**row, "label": int(label)} for row, label in zip(rows, labels, strict=True)]


def attack(name, model, **options):
    return Attack(name, model, synonyms=SYNONYMS, antonyms=ANTONYMS, skip_labels=(), **options)


@pytest.mark.parametrize("name", ["antonym", "synonym", "negation", "a2t"])
def test_batch_size_and_order_change_nothing(name):
    model = tiny()
    rows = predicted(model, ROWS)
    expected = attack(name, model, batch_size=32).run(rows)
    assert expected[name]["attempted"] > 50
    shuffled = random.Random(0).sample(rows, len(rows))
    for batch_size, given in ((1, rows), (7, rows), (32, shuffled)):
        found = attack(name, model, batch_size=batch_size).run(given)
        by_idx = {row["idx"]: row for row in found.rows[name]}
        assert [row["idx"] for row in found.rows[name]] == [row["idx"] for row in given]
        for row in expected.rows[name]:
            for key, value in by_idx[row["idx"]].items():
                assert (
                    value == pytest.approx(row[key], abs=1e-6)
                    if key.startswith("gold")
                    else (value == row[key])
                )
        figures = {k: v for k, v in found[name].items() if k != "per_pair"}
        assert figures == {k: v for k, v in expected[name].items() if k != "per_pair"}


def test_a_random_ranking_depends_on_seed_and_row_alone():
    recipe = Recipe(
        "random", SynonymPerturbation(SYNONYMS), "flip", "greedy", "random", key="random"
    )  # type: ignore[arg-type]
    rows = made_rows(80, seed=8)
    first = Attack(recipe, hashed, seed=1, batch_size=3).run(rows)
    again = Attack(recipe, hashed, seed=1, batch_size=50).run(rows[::-1])
    other = Attack(recipe, hashed, seed=2).run(rows)
    assert first.rows["random"] == again.rows["random"][::-1]
    assert first.rows["random"] != other.rows["random"]


@pytest.mark.parametrize(
    "arch", ["bert", "roberta", "distilbert", "gpt2", "deberta-v3", "modernbert"]
)
def test_probabilities_are_the_models_own_whatever_the_architecture(arch):
    model = tiny(arch)
    rows = predicted(model, ROWS[:20])
    found = attack("antonym", model).run(rows)
    raw, tokenizer = model.model, model.tokenizer
    for row in found.rows["antonym"][:8]:
        for texts, key in ((row["original"], "gold_before"), (row["perturbed"], "gold_after")):
            if texts is None or row.get(key) is None:
                continue
            batch = tokenizer(*texts, return_tensors="pt", truncation=True)
            with torch.no_grad():
                logits = raw.eval()(**batch).logits[0]
            assert logits.softmax(-1)[row["label"]].item() == pytest.approx(row[key], abs=1e-5)


def test_duplicates_are_asked_once():
    asked = []

    def model(pairs):
        asked.extend(pairs)
        return hashed(pairs)

    rows = [{**row, "idx": i} for i, row in enumerate([made_rows(1)[0]] * 5)]
    report = Attack("antonym", model, antonyms=ANTONYMS).run(rows)
    assert len(asked) == len(set(asked)) == report.about["cost"]["antonym"]["forwards"]
    queries = [row["queries"] for row in report.rows["antonym"]]
    assert queries == [len(asked)] * 5  # a row's count does not depend on other rows


def test_inputs_that_the_model_reads_alike_cannot_differ():
    model = tiny()
    row = {"premise": "A ☃ dog.", "hypothesis": "The ☃ man.", "label": 0}
    row = predicted(model, [row])[0]
    recipe = Recipe("unknown", SynonymPerturbation({"☃": ["☂", "☀"]}), "keep-confident")  # type: ignore[arg-type]
    found = Attack(recipe, model, skip_labels=()).run([row]).rows["synonym"][0]
    # Every edit replaces [UNK] by [UNK], so it is kept, never more confident, and not queried again.
    assert (found["candidates"], found["kept"], found["raised"], found["queries"]) == (4, 4, 0, 1)


def test_the_gradient_ranking_is_the_gradient():
    model = tiny()
    texts, label = ("A big dog is sleeping.", "The man."), 1
    with model.session():
        weights = model.saliency([(texts, label), (("x", "y z"), 0)])[0]
    batch = model.tokenizer(*texts, return_tensors="pt", return_offsets_mapping=True)
    offsets = batch.pop("offset_mapping")[0].tolist()
    embeddings = model.model.get_input_embeddings()
    vectors = embeddings(batch.pop("input_ids")).detach().requires_grad_(True)
    model.model.eval()
    logits = model.model(inputs_embeds=vectors, **batch).logits
    torch.nn.functional.cross_entropy(logits, torch.tensor([label])).backward()
    sentence = batch.sequence_ids(0) if hasattr(batch, "sequence_ids") else None
    assert sentence is not None
    dog = [
        t for t, (a, b) in enumerate(offsets) if sentence[t] == 0 and a >= 6 and b <= 10 and b > a
    ]
    expected = vectors.grad[0, dog].double().mean(0).abs().sum().item()
    assert weights[0][2] == pytest.approx(expected, rel=1e-4)
    assert [len(sentence) for sentence in weights] == [5, 2]


def test_left_padding_and_training_mode_are_no_trouble():
    rows = predicted(tiny("gpt2"), ROWS[:15])
    plain = tiny("gpt2")
    left = tiny("gpt2")
    left.tokenizer.padding_side = "left"
    left.model.train()
    reports = [attack("synonym", m, ranking="gradient").run(rows) for m in (plain, left)]
    assert [r["outcome"] for r in reports[0].rows["synonym"]] == [
        r["outcome"] for r in reports[1].rows["synonym"]
    ]
    assert left.model.training and torch.is_grad_enabled()


@pytest.mark.parametrize("side", ["right", "left"])
def test_edits_beyond_the_cut_are_counted_and_not_tried(side):
    model = tiny(max_length=16)
    model.tokenizer.truncation_side = side
    row = {"premise": "the dog is in the house", "hypothesis": " ".join(["big"] * 30), "label": 0}
    row = predicted(model, [row])[0]
    found = attack("antonym", model).run([row])
    visible = model.visible([(row["premise"], row["hypothesis"])])[0]
    seen = visible[1]
    assert 0 < len(seen) < 30 and (0 in seen) == (side == "right") == (29 not in seen)
    first = found.rows["antonym"][0]
    assert first["candidates"] == 2 * len(seen) and first["beyond_cut"] == 2 * (30 - len(seen))
    assert found["antonym"]["edits_beyond_cut"] == first["beyond_cut"]
    ids = model.keys([(row["premise"], row["hypothesis"])])[0].ids
    assert len(ids) == 16
    # Edits in the truncated part do not change the model's input, but other edits do.
    tokens = row["hypothesis"].split()
    for place in range(30):
        edited = " ".join([*tokens[:place], "small", *tokens[place + 1 :]])
        same = model.keys([(row["premise"], edited)])[0].ids == ids
        assert same == (place not in seen)


def test_the_side_that_is_cut_is_part_of_a_models_identity():
    left, right = (tiny(max_length=16) for _ in range(2))
    assert left.identity == right.identity
    left.tokenizer.truncation_side = "left"
    assert left.identity != right.identity


def test_batches_keep_to_rows_and_tokens():
    class Sized:
        def length(self, key):
            return key

    engine = Engine(Sized(), batch_size=8)  # type: ignore[arg-type]
    keys = sorted([5] * 20 + [200] * 9 + [5000], reverse=True)
    batches = list(engine._split_into_batches(keys))
    assert sum(batches, []) == keys
    assert all(len(b) <= 8 and (len(b) == 1 or len(b) * b[0] <= 8 * 128) for b in batches)


def test_a_searchs_answers_are_its_own_and_in_order():
    def search(counter, word, count):
        texts = [(f"{word} {i}", "x") for i in range(count)]
        answers = yield Score(texts)
        again = yield Score(texts[::-1])
        assert np.array_equal(answers, hashed(texts)) and np.array_equal(again, answers[::-1])
        return word, counter.queries

    from functools import partial

    from hf_bat.attack import CallableModel

    engine = Engine(CallableModel(hashed), batch_size=4, in_flight=3)
    makers = [
        (partial(search, word=w, count=n), None)
        for w, n in zip("abcdefg", range(1, 8), strict=True)
    ]
    found = dict(sum(engine.run(makers), []))
    assert found == {w: n for w, n in zip("abcdefg", range(1, 8), strict=True)}


def test_bfloat16_answers_are_near():
    model, half = tiny(), tiny(dtype="bfloat16")
    pairs = [(row["premise"], row["hypothesis"]) for row in ROWS]
    with model.session():
        exact = model.probabilities(model.keys(pairs))
    with half.session():
        near = half.probabilities(half.keys(pairs))
    assert 0 < np.abs(exact - near).max() < 0.05


def test_attacks_that_share_what_is_known_ask_once_for_the_rows_themselves():
    asked = []

    def counting(pairs):
        asked.extend(pairs)
        return hashed(pairs)

    model, rows, known = CallableModel(counting), made_rows(40, seed=9), {}
    for name in ("antonym", "synonym"):
        alone = attack(name, model).run(rows)
        begun = len(asked)
        shared = attack(name, model).run(rows, known=known)
        assert shared.rows == alone.rows and shared[name] == alone[name]  # also queries
        texts = {(row["premise"], row["hypothesis"]) for row in rows}
        again = sum(pair in texts for pair in asked[begun:])
        assert again == (len(texts) if name == "antonym" else 0)
    assert set(known) == texts


def test_a_batch_ends_where_inputs_get_shorter_once_half_full():
    class Lengths(CallableModel):
        def length(self, key):
            return key

    batches = Engine(Lengths(hashed), batch_size=4)._split_into_batches(
        [9, 9, 9, 8, 8, 7, 7, 7, 7, 7, 3]
    )
    assert list(batches) == [[9, 9, 9], [8, 8], [7, 7, 7, 7], [7, 3]]


def hash_of(model):
    digest = hashlib.sha256()
    hash_weights(digest, model)
    return digest.hexdigest()


def test_the_hash_of_weights_takes_numbers_alone_and_any_precision():
    model = tiny_model("bert")
    # Such as BatchNorm's count of batches, or the scale of a quantised layer.
    model.register_buffer("scale", torch.tensor(0.5))
    model.register_buffer("nothing", torch.empty(0, 3))
    hashes = [hash_of(model), hash_of(copy.deepcopy(model))]
    assert hashes[0] == hashes[1]
    model.scale += 1
    hashes.append(hash_of(model))
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        hashes.append(hash_of(copy.deepcopy(model).to(dtype)))
    assert len(set(hashes)) == len(hashes) - 1


def test_the_hash_of_weights_is_that_of_earlier_versions():
    model, digest = tiny_model("bert"), hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    assert hash_of(model) == digest.hexdigest()


def test_a_model_in_bfloat16_with_a_number_alone_is_attacked(tmp_path):
    model = tiny_model("bert").to(torch.bfloat16)
    model.register_buffer("scale", torch.tensor(0.5))
    attack = Attack("antonym", model, tiny_tokenizer(), antonyms=ANTONYMS)
    report = attack.run(made_rows(6), tmp_path / "rows.jsonl")
    assert report["antonym"]["rows"] == 6
