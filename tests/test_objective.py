"""The objective on a micro-batch compared with loops over rows, with one forward pass per sentence."""

import pytest
import torch
from tiny_models import tiny_model
from training_helpers import ANTONYMS, SYNONYMS, made_rows, tokenizer_for_made_rows

from hf_bat import AntonymPerturbation, PerturbationCollator, SynonymPerturbation
from hf_bat.methods import LossSettings, get_method
from hf_bat.objective import (
    KINDS,
    LossMeter,
    count_items,
    mean_over,
    run_forward,
    stack_versions,
)

DRAWS = [(1, 1), (2, 1), (1, 3), (3, 2)]


def collated(rows, num_fickle=1, num_obstinate=1, side="right"):
    collator = PerturbationCollator(
        tokenizer_for_made_rows(padding_side=side),
        ("premise", "hypothesis"),
        SynonymPerturbation(SYNONYMS),
        AntonymPerturbation(ANTONYMS),
        skipped_labels=[1],
        num_fickle=num_fickle,
        num_obstinate=num_obstinate,
    )
    return collator(rows)


def vector_of(model, ids, mask, types):
    """Return the last hidden state of the first token of a single sequence without padding."""
    keep = mask.bool()
    outputs = model(
        input_ids=ids[keep][None],
        attention_mask=mask[keep][None],
        token_type_ids=types[keep][None],
        output_hidden_states=True,
    )
    return outputs.hidden_states[-1][0, 0]


def cosine_distance(a, b):
    return float(1 - (a @ b) / (a.norm() * b.norm()))


def reference_distances(model, batch):
    """Return kind -> one list per row with the distances of its draws, or None for invalid draws."""
    found = {"fickle": [], "obstinate": []}
    with torch.no_grad():
        for place in range(len(batch["input_ids"])):
            anchor = vector_of(
                model,
                *(batch[key][place] for key in ("input_ids", "attention_mask", "token_type_ids")),
            )
            for kind, rows in found.items():
                distances = []
                for draw, valid in enumerate(batch[f"{kind}_mask"][place].tolist()):
                    keys = ("input_ids", "attention_mask", "token_type_ids")
                    version = [batch[f"{kind}_{key}"][place, draw] for key in keys]
                    distances.append(
                        cosine_distance(anchor, vector_of(model, *version)) if valid else None
                    )
                rows.append(distances)
    return found


def run(model, batch, side="right"):
    """Return the forward pass over a batch and its versions, without a gradient."""
    with torch.no_grad():
        return run_forward(model, batch, tokenizer_for_made_rows(padding_side=side), "cls")


def compute_terms(method, forward, distance="cosine", mask="paper", **weights):
    """Return the terms of a method for a forward pass."""
    return get_method(method).terms(forward, LossSettings(weights, distance, mask, None))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("draws", DRAWS)
def test_one_stacked_forward_gives_the_distances_of_separate_ones(draws, side):
    model = tiny_model("bert").eval()
    batch = collated(made_rows(10), *draws, side=side)
    stacked = stack_versions(batch, tokenizer_for_made_rows(padding_side=side))
    forward = run(model, batch, side)
    distances = {kind: forward.measure_distances(kind) for kind in KINDS}
    reference = reference_distances(model, batch)
    valid = sum(int(batch[f"{kind}_mask"].sum()) for kind in ("fickle", "obstinate"))
    assert len(stacked["input_ids"]) == 10 + valid, "rows without a valid version are not computed"
    assert 0 < valid < 10 * sum(draws)
    if side == "left":
        return check_left(model, batch, distances)
    for kind, rows in reference.items():
        for place, row in enumerate(rows):
            for draw, expected in enumerate(row):
                value = distances[kind].values[place, draw].item()
                assert value == pytest.approx(expected or 0.0, abs=2e-6)
                assert bool(distances[kind].mask[place, draw]) == (expected is not None)


@pytest.mark.parametrize("pooling", [None, "mean", "head_input"])
def test_chunks_of_similar_length_change_nothing(pooling):
    model = tiny_model("bert").eval()
    batch = collated(made_rows(10), 2, 1)
    tokenizer = tokenizer_for_made_rows()
    gradients, logits = [], []
    for size in (None, 1, 4, 100):
        model.zero_grad()
        forward = run_forward(model, batch, tokenizer, pooling, chunk_size=size)
        parts = [forward, *forward.versions.values()]
        logits.append(torch.cat([part.logits for part in parts]))
        loss = (logits[-1] ** 2).sum()
        if pooling is not None:
            loss = loss + forward.measure_distances("fickle").values.sum()
        loss.backward()
        gradients.append(
            {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        )
    for other, other_logits in zip(gradients[1:], logits[1:], strict=True):
        assert torch.allclose(other_logits, logits[0], atol=1e-6)
        assert other.keys() == gradients[0].keys()
        assert all(torch.allclose(other[n], gradients[0][n], atol=1e-5) for n in other)


def check_left(model, batch, distances):
    # BERT numbers positions by column, so left padding shifts them. Compare with single rows that have
    # the same padding.
    width = max(batch[key].shape[-1] for key in ("input_ids", "fickle_input_ids"))
    width = max(width, batch["obstinate_input_ids"].shape[-1])

    def vector(prefix, place):
        inputs = {}
        for key in ("input_ids", "attention_mask", "token_type_ids"):
            ids = batch[f"{prefix}{key}"][place]
            inputs[key] = torch.nn.functional.pad(ids, (width - len(ids), 0))[None]
        with torch.no_grad():
            states = model(**inputs, output_hidden_states=True).hidden_states[-1][0]
        return states[int(inputs["attention_mask"][0].argmax())]

    for kind in ("fickle", "obstinate"):
        for place, draw in batch[f"{kind}_mask"].nonzero().tolist():
            expected = cosine_distance(vector("", place), vector(f"{kind}_", (place, draw)))
            assert distances[kind].values[place, draw].item() == pytest.approx(expected, abs=2e-6)


def loop_terms(reference, margin, rule):
    """Return sums and counts of the terms from the paper's formulas, with loops over rows and draws."""
    fickle_sum = fickle_count = obstinate_sum = obstinate_count = 0.0
    triplet_sum = triplet_count = 0.0
    for fickles, obstinates in zip(reference["fickle"], reference["obstinate"], strict=True):
        for value in fickles:
            if value is not None:
                fickle_sum += value
                fickle_count += 1
        for value in obstinates:
            if value is not None:
                obstinate_sum += max(0.0, margin - value)
                obstinate_count += 1
        for t in range(max(len(fickles), len(obstinates))):
            near = fickles[t % len(fickles)]
            far = obstinates[t % len(obstinates)]
            term = (near or 0.0) + (margin - far if far is not None else 0.0)
            if rule == "authors" or near is not None or far is not None:
                triplet_sum += max(0.0, term)
                triplet_count += 1
    return (
        (fickle_sum, fickle_count),
        (obstinate_sum, obstinate_count),
        (triplet_sum, triplet_count),
    )


@pytest.mark.parametrize("draws", DRAWS)
@pytest.mark.parametrize("rule", ["paper", "authors"])
def test_terms_and_counts_are_those_of_loops_over_rows(draws, rule):
    model = tiny_model("bert").eval()
    batch = collated(made_rows(10, seed=4), *draws)
    forward = run(model, batch)
    fickle, obstinate, triplet = loop_terms(reference_distances(model, batch), 0.6, rule)
    counts = count_items(batch, rule)
    assert counts["rows"] == 10
    assert [counts[name].item() for name in (*KINDS, "triplets")] == [
        fickle[1],
        obstinate[1],
        triplet[1],
    ]
    pairwise = compute_terms("pairwise", forward, mask=rule, alpha=0.5, beta=2.0, margin=0.6)
    assert pairwise["loss_fickle"].total.item() == pytest.approx(fickle[0], abs=1e-5)
    assert pairwise["loss_obstinate"].total.item() == pytest.approx(obstinate[0], abs=1e-5)
    assert pairwise["loss_fickle"][1:] == ("fickle", 0.5)
    assert pairwise["loss_obstinate"][1:] == ("obstinate", 2.0)
    terms = compute_terms("triplet", forward, mask=rule, contrastive_weight=3.0, margin=0.6)
    assert terms["loss_triplet"].total.item() == pytest.approx(triplet[0], abs=1e-5)
    assert terms["loss_triplet"][1:] == ("triplets", 3.0)
    assert terms["fickle_distance"].weight is None
    assert terms["fickle_distance"].total.item() == pytest.approx(fickle[0], abs=1e-5)


@pytest.mark.parametrize("method", ["pairwise", "triplet"])
@pytest.mark.parametrize("rule", ["paper", "authors"])
def test_nothing_valid_gives_finite_values_and_a_zero_gradient(method, rule):
    rows = [
        {"premise": "Two girls.", "hypothesis": "Waits.", "label": 0, "idx": i} for i in range(3)
    ]
    batch = collated(rows, num_fickle=2)
    model = tiny_model("bert")
    forward = run_forward(model, batch, tokenizer_for_made_rows(), "cls")
    assert all(len(versions.logits) == 0 for versions in forward.versions.values())
    weights = {"alpha": 1.0, "beta": 1.0, "contrastive_weight": 1.0, "margin": 1.0}
    terms = compute_terms(method, forward, "euclidean", rule, **weights)
    assert all(term.total.item() == 0.0 for term in terms.values())
    (sum(term.total for term in terms.values()) + forward.vectors.sum() * 0).backward()
    for name, value in model.named_parameters():
        assert value.grad is None or (value.grad == 0).all(), name
    counts = count_items(batch, rule)
    # The authors' mean is over all rows, so both draws of each row are included.
    expected = [3, 0, 0, 6 if rule == "authors" else 0, 0]
    assert [count.item() for count in counts.values()] == [*expected, 0, 0]


def test_class_weights_are_summed_over_the_rows():
    batch = {"labels": torch.tensor([0, 2, 2, 1])}
    counts = count_items(batch, "paper", [1.0, 0.25, 2.0])
    assert [count.item() for count in counts.values()] == [5.25, 0, 0, 0, 0, 0, 0]
    assert count_items(batch, "authors")["rows"] == 4


def test_means_divide_by_the_count_and_are_zero_over_nothing():
    assert mean_over(torch.tensor(3.0), torch.tensor(2.0)) == 1.5
    assert mean_over(torch.tensor(3.0), torch.tensor(0.0)) == 0


def test_the_meter_divides_sums_by_counts_and_starts_again():
    meter = LossMeter()
    meter.add("loss_ce", torch.tensor(3.0), torch.tensor(2.0))
    meter.add("loss_ce", torch.tensor(1.0), torch.tensor(2.0))
    assert meter.take_means(lambda names: names, lambda totals: totals) == {"loss_ce": 1.0}
    assert meter.take_means(lambda names: names, lambda totals: totals) == {}
