"""The collator: the contents of batches, and draws that only depend on (seed, epoch, idx)."""

import itertools

import pytest
import torch
from tiny_models import tiny_tokenizer
from torch.utils.data import DataLoader
from training_helpers import ANTONYMS, SYNONYMS, made_rows, tokenizer_for_made_rows

from hf_bat import AntonymPerturbation, PerturbationCollator, SynonymPerturbation

COLUMNS = ("premise", "hypothesis")
FICKLE, OBSTINATE = SynonymPerturbation(SYNONYMS), AntonymPerturbation(ANTONYMS)
BOTH = {"fickle": FICKLE, "obstinate": OBSTINATE}


def make(tokenizer=None, **options):
    return PerturbationCollator(
        tokenizer or tokenizer_for_made_rows(), COLUMNS, **{**BOTH, **options}
    )


def row(premise, hypothesis="A man waits.", label=0, idx=0):
    return {"premise": premise, "hypothesis": hypothesis, "label": label, "idx": idx}


def text_of(collator, batch, kind, place, draw=0):
    ids = batch[f"{kind}_input_ids"][place, draw]
    return collator.tokenizer.decode(ids, skip_special_tokens=True)


def test_shapes_of_a_batch_with_several_draws():
    collator = make(num_fickle=3, num_obstinate=2)
    rows = made_rows(5)
    batch = collator(rows)
    anchors = batch["input_ids"]
    assert anchors.shape == batch["attention_mask"].shape == batch["token_type_ids"].shape
    assert anchors.shape[0] == 5
    assert batch["labels"].tolist() == [r["label"] for r in rows]
    assert batch["idx"].tolist() == [r["idx"] for r in rows]
    for kind, draws in (("fickle", 3), ("obstinate", 2)):
        ids = batch[f"{kind}_input_ids"]
        assert ids.shape[:2] == batch[f"{kind}_mask"].shape == (5, draws)
        assert ids.shape == batch[f"{kind}_attention_mask"].shape
        assert ids.shape == batch[f"{kind}_token_type_ids"].shape
        assert batch[f"{kind}_mask"].dtype == torch.bool


def test_padding_is_no_wider_than_the_longest_of_each_group():
    collator = make()
    batch = collator([row("A man waits."), row("The big dog runs fast near a house.")])
    for prefix in ("", "fickle_", "obstinate_"):
        lengths = batch[f"{prefix}attention_mask"].sum(-1)
        assert lengths.max() == batch[f"{prefix}input_ids"].shape[-1]
    wide = make(pad_to_multiple_of=8)([row("The big dog runs fast.")])
    assert wide["input_ids"].shape[-1] % 8 == 0
    assert wide["fickle_input_ids"].shape[-1] % 8 == 0


def test_a_version_is_valid_exactly_where_something_was_drawn():
    collator = make()
    rows = [row("Two girls.", "Waits."), row("It is hot.", "Waits."), row("A big hat.", "Waits.")]
    masks = {"fickle": torch.zeros(3), "obstinate": torch.zeros(3)}
    for epoch in range(20):
        collator.set_epoch(epoch)
        batch = collator(rows)
        for kind, seen in masks.items():
            seen += batch[f"{kind}_mask"][:, 0]
            for place in range(3):
                if not batch[f"{kind}_mask"][place, 0]:
                    assert batch[f"{kind}_attention_mask"][place, 0].sum() == 0
                    assert (batch[f"{kind}_input_ids"][place, 0] == 0).all()
    # "hot" has an antonym but no synonym. "big" has 2 synonyms, so a third of the draws keep it.
    assert masks["fickle"][:2].tolist() == [0, 0] and 8 <= masks["fickle"][2] < 20
    assert masks["obstinate"].tolist() == [0, 20, 20]


def test_valid_versions_are_the_tokens_of_the_drawn_text():
    collator = make(num_fickle=2)
    rows = made_rows(8)
    collator.set_epoch(4)
    batch = collator(rows)
    found = 0
    for place, one in enumerate(rows):
        drawn = collator.sampler.draw(one, 4)
        for kind, versions in drawn.items():
            for draw, version in enumerate(versions):
                if version is None:
                    continue
                expected = collator.tokenizer(*version)["input_ids"]
                ids = batch[f"{kind}_input_ids"][place, draw]
                kept = ids[batch[f"{kind}_attention_mask"][place, draw].bool()].tolist()
                assert kept == expected and batch[f"{kind}_mask"][place, draw]
                found += 1
    assert found > 10


@pytest.mark.parametrize("side", ["right", "left"])
def test_an_edit_beyond_the_cut_is_not_valid(side):
    tokenizer = tokenizer_for_made_rows(padding_side=side)
    late = row("A man is in the house near a house and a house.", "The door is open.")
    early = row("The door is open and a man is in the house near a house.", "Waits.", idx=1)
    collator = make(tokenizer, max_length=10)
    for epoch in range(5):
        collator.set_epoch(epoch)
        batch = collator([late, early, row("Waits.", "A hot sun.", idx=2)])
        assert batch["obstinate_mask"][:, 0].tolist() == [False, True, True]
    assert make(tokenizer)([late])["obstinate_mask"].item()


def test_left_padding_puts_padding_on_the_left_everywhere():
    collator = make(tokenizer_for_made_rows(padding_side="left"))
    batch = collator([row("A big hat."), row("The big dog is walking outside near a house.")])
    for prefix in ("", "fickle_", "obstinate_"):
        mask = batch[f"{prefix}attention_mask"].flatten(0, -2)
        filled = mask[mask.any(-1)]
        assert (filled[:, -1] == 1).all()
        assert (filled.diff(dim=-1) >= 0).all(), "ones after zeros in each row"


def draws_by_row(batches):
    """Return idx -> versions without padding for the batches in one epoch."""
    found = {}
    for batch in batches:
        for place, idx in enumerate(batch["idx"].tolist()):
            found[idx] = {
                kind: [
                    ids[mask.bool()].tolist()
                    for ids, mask in zip(
                        batch[f"{kind}_input_ids"][place],
                        batch[f"{kind}_attention_mask"][place],
                        strict=True,
                    )
                ]
                for kind in ("fickle", "obstinate")
            }
    return found


def test_draws_do_not_depend_on_workers_batch_size_or_order_and_are_fresh_each_epoch():
    rows = made_rows(30)
    options = (
        {"batch_size": 4},
        {"batch_size": 7, "num_workers": 2},
        {"batch_size": 5, "num_workers": 2, "persistent_workers": True, "shuffle": True},
        {"batch_size": 30, "shuffle": True},
    )
    runs = []
    for option in options:
        collator = make(num_fickle=2, seed=11)
        loader = DataLoader(rows, collate_fn=collator, **option)
        epochs = []
        for epoch in range(3):
            collator.set_epoch(epoch)
            epochs.append(draws_by_row(loader))
        runs.append(epochs)
    assert all(run == runs[0] for run in runs[1:])
    assert sorted(runs[0][0]) == list(range(30))
    for one, other in itertools.combinations(runs[0], 2):
        changed = sum(one[idx] != other[idx] for idx in one)
        assert changed > 20, "an epoch must not repeat another's draws"
    two_draws = [d["fickle"][0] != d["fickle"][1] for d in runs[0][0].values()]
    assert sum(two_draws) > 10, "the draws of one row must differ"
    other_seed = make(num_fickle=2, seed=12)
    assert draws_by_row([other_seed(rows)]) != runs[0][0]


def test_skipped_labels_get_no_obstinate_version():
    collator = make(skipped_labels=[1])
    batch = collator([row("It is hot.", label=label, idx=label) for label in (0, 1, 2)])
    assert batch["obstinate_mask"][:, 0].tolist() == [True, False, True]


def test_perturbing_the_anchor_puts_the_fickle_version_in_its_place():
    rows = [row("The big dog sings.", idx=0), row("Two girls.", "Waits.", idx=1)]
    collator = make(fickle=FICKLE, obstinate=None, perturb_anchor=True)
    seen = set()
    for epoch in range(8):
        collator.set_epoch(epoch)
        batch = collator(rows)
        assert not [key for key in batch if key.startswith("fickle_") and key != "fickle_mask"]
        texts = [
            collator.tokenizer.decode(ids, skip_special_tokens=True) for ids in batch["input_ids"]
        ]
        drawn = collator.sampler.draw(rows[0], epoch)["fickle"][0]
        premise, hypothesis = drawn or ("The big dog sings.", "A man waits.")
        assert texts == [f"{premise} {hypothesis}".lower(), "two girls. waits."]
        assert batch["fickle_mask"].tolist() == [[drawn is not None], [False]]
        seen.add(texts[0])
    assert len(seen) > 3


def test_clean_epochs_and_the_clean_collator_have_only_anchors():
    collator = make(clean_epochs=2)
    rows = made_rows(4)
    for epoch in (0, 1):
        collator.set_epoch(epoch)
        batch = collator(rows)
        assert set(batch) == {"input_ids", "token_type_ids", "attention_mask", "labels", "idx"}
    assert "idx" not in collator.clean()(rows)
    collator.set_epoch(2)
    assert "fickle_input_ids" in collator(rows) and "obstinate_input_ids" in collator(rows)
    assert "fickle_input_ids" not in collator.clean()(rows)
    assert "labels" not in collator.clean()([{**rows[0], "label": None}])


def test_a_tokenizer_without_token_types_and_a_single_sentence():
    tokenizer = tiny_tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    collator = PerturbationCollator(tokenizer, ("text",), **BOTH)
    batch = collator([{"text": "It is hot.", "idx": 5}])
    assert set(batch) == {
        *("input_ids", "attention_mask", "idx"),
        *("fickle_input_ids", "fickle_attention_mask", "fickle_mask"),
        *("obstinate_input_ids", "obstinate_attention_mask", "obstinate_mask"),
    }
    assert text_of(collator, batch, "obstinate", 0) == "it is cold."


def test_real_rows_have_valid_versions_that_differ_from_their_anchors(shared_rows):
    from hf_bat.perturbations import build_perturbations

    rows = shared_rows("snli/validation.jsonl.gz", 200)
    for number, one in enumerate(rows):
        one["idx"] = number
    fickle, obstinate = build_perturbations()
    tokenizer = tiny_tokenizer(text for r in rows for text in (r["premise"], r["hypothesis"]))
    collator = PerturbationCollator(tokenizer, COLUMNS, fickle, obstinate, max_length=128)
    batch = collator(rows)
    for kind in ("fickle", "obstinate"):
        valid = batch[f"{kind}_mask"][:, 0]
        assert 0.3 < valid.float().mean() <= 1
        for place in valid.nonzero()[:, 0].tolist():
            version = batch[f"{kind}_input_ids"][place, 0]
            version = version[batch[f"{kind}_attention_mask"][place, 0].bool()]
            anchor = batch["input_ids"][place][batch["attention_mask"][place].bool()]
            assert version.tolist() != anchor.tolist()
