"""The losses compared with hand-computed numbers and plain numpy, and gradients that are never NaN."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hf_bat.errors import HfBatError
from hf_bat.losses import (
    DISTANCES,
    MASKS,
    exclusion_terms,
    pair_distance,
    pairwise_loss,
    pairwise_terms,
    triplet_loss,
    triplet_terms,
)

NAN, INF = float("nan"), float("inf")


def bools(*values):
    return torch.tensor([bool(value) for value in values])


# Four rows; the cosine distances to the anchor (1, 0), computed by hand:
#   fickle    (1, 0): 1-1 = 0      (3, 4): 1-3/5 = 0.4   (0, 1): 1-0 = 1       (4, 3): 1-4/5 = 0.2
#   obstinate (0, 2): 1-0 = 1      (4, 3): 1-4/5 = 0.2   (3, 4): 1-3/5 = 0.4   (-1, 0): 1+1 = 2
ANCHOR = torch.tensor([[1.0, 0.0]] * 4)
FICKLE = torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0], [4.0, 3.0]])
OBSTINATE = torch.tensor([[0.0, 2.0], [4.0, 3.0], [3.0, 4.0], [-1.0, 0.0]])
FICKLE_DISTANCE = [0.0, 0.4, 1.0, 0.2]
OBSTINATE_DISTANCE = [1.0, 0.2, 0.4, 2.0]


# ---- computed by hand ---------------------------------------------------------------------------


def test_distances_by_hand():
    assert pair_distance(ANCHOR, FICKLE).tolist() == pytest.approx(FICKLE_DISTANCE, abs=1e-6)
    assert pair_distance(ANCHOR, OBSTINATE).tolist() == pytest.approx(OBSTINATE_DISTANCE, abs=1e-6)
    # (1,0)-(3,4) = (-2,-4): sqrt(4+16) = sqrt(20), and 2+4 = 6.
    euclidean = pair_distance(ANCHOR, FICKLE, "euclidean")
    assert euclidean.tolist() == pytest.approx([0, 20**0.5, 2**0.5, 18**0.5])
    assert pair_distance(ANCHOR, FICKLE, "manhattan").tolist() == [0, 6, 2, 6]


def test_exclusion_is_the_entropy_of_the_other_labels():
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 4
    labels = torch.arange(50) % 3
    others = 1 - logits.double().softmax(-1).gather(1, labels[:, None])[:, 0]
    assert torch.allclose(exclusion_terms(logits, labels).double(), -others.log(), atol=1e-5)
    # With two labels, the other one is known.
    two = logits[:, :2]
    entropy = torch.nn.functional.cross_entropy(two, 1 - labels % 2, reduction="none")
    assert torch.allclose(exclusion_terms(two, labels % 2), entropy, atol=1e-5)


def test_exclusion_has_a_gradient_where_the_excluded_label_is_certain():
    logits = torch.tensor([[80.0, -80.0, 0.0]], requires_grad=True)
    terms = exclusion_terms(logits, torch.tensor([0]))
    terms.sum().backward()
    assert terms.item() == pytest.approx(80.0)
    assert logits.grad[0].tolist() == pytest.approx([1.0, 0.0, -1.0])


def test_distance_takes_any_leading_shape():
    a, b = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    for name in DISTANCES:
        nested = pair_distance(a, b, name)
        assert nested.shape == (2, 3, 4)
        flat = pair_distance(a.flatten(0, 2), b.flatten(0, 2), name)
        torch.testing.assert_close(nested.flatten(), flat)


def test_pairwise_by_hand():
    # Valid fickle rows 1, 2, 3: (0 + 0.4 + 1) / 3 = 1.4/3.
    # Valid obstinate rows 1, 2, 4: (max(0, 1-1) + (1-0.2) + max(0, 1-2)) / 3 = 0.8/3.
    # Defaults alpha 1, beta 1.2: 1.4/3 + 1.2 * 0.8/3 = 2.36/3.
    masks = bools(1, 1, 1, 0), bools(1, 1, 0, 1)
    loss = pairwise_loss(ANCHOR, FICKLE, OBSTINATE, *masks)
    assert loss.item() == pytest.approx(2.36 / 3, abs=1e-6)
    # alpha 2, beta 0.5, margin 1.5: 2 * 1.4/3 + 0.5 * (0.5 + 1.3 + 0)/3 = 3.7/3.
    loss = pairwise_loss(ANCHOR, FICKLE, OBSTINATE, *masks, alpha=2.0, beta=0.5, margin=1.5)
    assert loss.item() == pytest.approx(3.7 / 3, abs=1e-6)


def test_pairwise_terms_by_hand():
    fickle, obstinate = pairwise_terms(torch.tensor([0.4]), torch.tensor([0.2, 2.0]), margin=1.0)
    assert fickle.tolist() == pytest.approx([0.4])
    assert obstinate.tolist() == pytest.approx([0.8, 0.0])


def test_triplet_under_the_papers_mask_by_hand():
    # Row 1, both:          max(0, 0   + (1 - 1))   = 0
    # Row 2, both:          max(0, 0.4 + (1 - 0.2)) = 1.2
    # Row 3, only fickle:   max(0, 1)               = 1
    # Row 4, neither: not counted.  Mean: 2.2 / 3.
    masks = bools(1, 1, 1, 0), bools(1, 1, 0, 0)
    loss = triplet_loss(ANCHOR, FICKLE, OBSTINATE, *masks)
    assert loss.item() == pytest.approx(2.2 / 3, abs=1e-6)
    # Rows 1, 2, 3 without their fickle version: 0, max(0, 1 - 0.2) = 0.8, max(0, 1 - 0.4) = 0.6.
    loss = triplet_loss(ANCHOR, FICKLE, OBSTINATE, bools(0, 0, 0, 0), bools(1, 1, 1, 0))
    assert loss.item() == pytest.approx(1.4 / 3, abs=1e-6)


def test_triplet_under_the_authors_mask_by_hand():
    # The fickle part is never masked and all four rows are in the mean:
    # 0 + 0 = 0;  0.4 + 0.8 = 1.2;  1 + masked = 1;  0.2 + masked = 0.2;  mean 2.4 / 4 = 0.6.
    masks = bools(1, 1, 1, 0), bools(1, 1, 0, 0)
    loss = triplet_loss(ANCHOR, FICKLE, OBSTINATE, *masks, mask="authors")
    assert loss.item() == pytest.approx(0.6, abs=1e-6)
    # The fickle mask is not used.
    loss = triplet_loss(ANCHOR, FICKLE, OBSTINATE, bools(0, 0, 0, 0), masks[1], mask="authors")
    assert loss.item() == pytest.approx(0.6, abs=1e-6)
    # Row 4's obstinate version at distance 2 > 0.2 + 1: max(0, 0.2 - 1) = 0; margin 2 gives 0.2 + 0.
    ones = bools(1, 1, 1, 1)
    loss = triplet_loss(ANCHOR[3:], FICKLE[3:], OBSTINATE[3:], ones[3:], ones[3:], mask="authors")
    assert loss.item() == 0
    loss = triplet_loss(ANCHOR[3:], FICKLE[3:], OBSTINATE[3:], ones[3:], ones[3:], margin=2.0)
    assert loss.item() == pytest.approx(0.2, abs=1e-6)


def test_triplet_terms_count():
    distances = torch.tensor([0.3, 0.3, 0.3, 0.3]), torch.tensor([0.5, 0.5, 0.5, 0.5])
    masks = bools(1, 1, 0, 0), bools(1, 0, 1, 0)
    terms, counted = triplet_terms(*distances, *masks, margin=1.0)
    assert terms.tolist() == pytest.approx([0.8, 0.3, 0.5, 0.0])
    assert counted.tolist() == [True, True, True, False]
    terms, counted = triplet_terms(*distances, *masks, margin=1.0, mask="authors")
    assert terms.tolist() == pytest.approx([0.8, 0.3, 0.8, 0.3])
    assert counted.tolist() == [True] * 4


def test_masks_may_be_numbers():
    as_bools = triplet_loss(ANCHOR, FICKLE, OBSTINATE, bools(1, 1, 1, 0), bools(1, 1, 0, 0))
    for dtype in (torch.long, torch.float):
        masks = torch.tensor([1, 1, 1, 0], dtype=dtype), torch.tensor([1, 1, 0, 0], dtype=dtype)
        assert torch.equal(triplet_loss(ANCHOR, FICKLE, OBSTINATE, *masks), as_bools)


# ---- an independent implementation --------------------------------------------------------------


def numpy_distance(a, b, name):
    """Compute each pair directly from the definitions with Python floats."""
    if name == "manhattan":
        return sum(abs(x - y) for x, y in zip(a, b, strict=True))
    if name == "euclidean":
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5
    norms = sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5
    return 1 - sum(x * y for x, y in zip(a, b, strict=True)) / norms if norms else 1.0


def numpy_losses(anchor, fickle, obstinate, fickle_mask, obstinate_mask, margin, name):
    pulls, pushes, paper, authors = [], [], [], []
    for x, f, o, has_f, has_o in zip(
        anchor, fickle, obstinate, fickle_mask, obstinate_mask, strict=True
    ):
        pull, push = numpy_distance(x, f, name), margin - numpy_distance(x, o, name)
        if has_f:
            pulls.append(pull)
        if has_o:
            pushes.append(max(0.0, push))
        if has_f or has_o:
            paper.append(max(0.0, (pull if has_f else 0.0) + (push if has_o else 0.0)))
        authors.append(max(0.0, pull + (push if has_o else 0.0)))

    def mean(values):
        return sum(values) / len(values) if values else 0.0

    return {
        "pairwise": 0.7 * mean(pulls) + 1.2 * mean(pushes),
        "paper": mean(paper),
        "authors": mean(authors),
    }


SIZE = st.shared(st.tuples(st.integers(1, 6), st.integers(1, 5)), key="size")
# On a grid, so equal vectors, parallel vectors and zeros are frequent.
VECTORS = SIZE.flatmap(
    lambda size: arrays.arrays(float, size, elements=st.integers(-8, 8).map(lambda n: n / 4))
)
MASK = SIZE.flatmap(lambda size: arrays.arrays(bool, size[0]))


@settings(max_examples=150, deadline=None)
@given(VECTORS, VECTORS, VECTORS, MASK, MASK, st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_losses_equal_an_independent_implementation(a, f, o, f_mask, o_mask, margin):
    tensors = [torch.tensor(values, requires_grad=True) for values in (a, f, o)]
    masks = torch.tensor(f_mask), torch.tensor(o_mask)
    for name in DISTANCES:
        expected = numpy_losses(a, f, o, f_mask, o_mask, margin, name)
        found = {mask: triplet_loss(*tensors, *masks, margin, mask, name) for mask in MASKS}
        found["pairwise"] = pairwise_loss(*tensors, *masks, 0.7, 1.2, margin, name)
        for loss_name, loss in found.items():
            assert loss.dtype == torch.float64 and loss.shape == ()
            assert loss.item() == pytest.approx(expected[loss_name], abs=1e-9), (name, loss_name)
            for gradient in torch.autograd.grad(loss, tensors, allow_unused=True):
                assert gradient is not None and gradient.isfinite().all()


@settings(max_examples=50, deadline=None)
@given(VECTORS, VECTORS)
def test_distance_properties(a, b):
    a, b = torch.tensor(a), torch.tensor(b)
    for name in DISTANCES:
        there = pair_distance(a, b, name)
        assert torch.equal(there, pair_distance(b, a, name))
        assert (there >= 0).all()
    cosine = pair_distance(a, b)
    assert (cosine <= 2 + 1e-12).all()
    torch.testing.assert_close(pair_distance(3 * a, b), cosine)


def test_a_mean_formed_over_micro_batches_is_the_whole_mean():
    # The purpose of the distance level: sums of terms and counts add up over any split.
    generator = torch.Generator().manual_seed(0)
    fickle, obstinate = torch.rand(2, 12, generator=generator) * 2
    masks = torch.rand(2, 12, generator=generator) > 0.4
    for mask in MASKS:
        terms, counted = triplet_terms(fickle, obstinate, *masks, margin=1.0, mask=mask)
        total = count = 0.0
        for part in range(0, 12, 3):
            rows = slice(part, part + 3)
            some, which = triplet_terms(
                fickle[rows], obstinate[rows], masks[0][rows], masks[1][rows], 1.0, mask
            )
            total, count = total + some.sum(), count + which.sum()
        torch.testing.assert_close(total / count, terms[counted].mean())


# ---- gradients ----------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradients_equal_numerical_ones(distance):
    generator = torch.Generator().manual_seed(3)
    tensors = [
        torch.randn(5, 4, dtype=torch.float64, generator=generator, requires_grad=True)
        for _ in range(3)
    ]
    masks = bools(1, 0, 1, 1, 0), bools(1, 1, 0, 1, 0)
    margin = 1.0 if distance == "cosine" else 4.0
    assert torch.autograd.gradcheck(
        lambda a, b: pair_distance(a, b, distance), (tensors[0], tensors[1])
    )
    assert torch.autograd.gradcheck(
        lambda *given: pairwise_loss(*given, *masks, margin=margin, distance=distance), tensors
    )
    for mask in MASKS:
        assert torch.autograd.gradcheck(
            lambda *given, rule=mask: triplet_loss(
                *given, *masks, margin=margin, mask=rule, distance=distance
            ),
            tensors,
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("distance", DISTANCES)
def test_equal_representations_are_at_distance_zero_with_gradient_zero(distance, dtype):
    a = torch.randn(20, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    b = a.clone().requires_grad_()
    a.requires_grad_()
    found = pair_distance(a, b, distance)
    assert (found == 0).all()
    for gradient in torch.autograd.grad(found.sum(), (a, b)):
        assert (gradient == 0).all()


def test_cosine_of_nearly_equal_vectors_is_exact_where_one_minus_a_product_is_not():
    a = torch.randn(100, 384, generator=torch.Generator().manual_seed(2))
    b = a + 1e-4 * torch.randn(100, 384, generator=torch.Generator().manual_seed(3))
    exact = pair_distance(a.double(), b.double())
    torch.testing.assert_close(pair_distance(a, b).double(), exact, rtol=1e-2, atol=0)
    naive = 1 - torch.cosine_similarity(a, b)
    assert (naive.double() / exact - 1).abs().max() > 1


@pytest.mark.parametrize("distance", DISTANCES)
def test_zero_vectors_have_a_finite_gradient(distance):
    zero = torch.zeros(1, 3, requires_grad=True)
    other = torch.tensor([[1.0, -2.0, 2.0]], requires_grad=True)
    for a, b in [(zero, other), (other, zero), (zero, zero)]:
        found = pair_distance(a, b, distance)
        gradients = torch.autograd.grad(found.sum(), (a, b), allow_unused=True)
        assert all(gradient.isfinite().all() for gradient in gradients)
        if distance == "cosine":
            assert found.item() == 1
            assert all((gradient == 0).all() for gradient in gradients)
    tiny = torch.full((1, 3), 1e-30, requires_grad=True)  # with a square of zero in float32
    (gradient,) = torch.autograd.grad(pair_distance(tiny, other, distance).sum(), tiny)
    assert gradient.isfinite().all()


def test_nan_that_is_not_masked_shows():
    a, b = torch.ones(1, 2), torch.tensor([[1.0, NAN]])
    for name in DISTANCES:
        assert pair_distance(a, b, name).isnan().all()
        assert pairwise_loss(a, b, a, bools(1), bools(0), distance=name).isnan()
        assert triplet_loss(a, b, a, bools(1), bools(0), distance=name).isnan()


# ---- masks --------------------------------------------------------------------------------------


def all_losses(*tensors, masks, distance):
    yield pairwise_loss(*tensors, *masks, distance=distance)
    for mask in MASKS:
        yield triplet_loss(*tensors, *masks, mask=mask, distance=distance)


@pytest.mark.parametrize("distance", DISTANCES)
def test_nothing_valid_gives_zero_still_attached(distance):
    tensors = [torch.randn(3, 4, requires_grad=True) for _ in range(3)]
    none = bools(0, 0, 0)
    losses = list(all_losses(*tensors, masks=(none, none), distance=distance))
    for loss in losses[:2]:  # the authors' rule always uses the fickle distance
        assert loss.item() == 0 and loss.requires_grad
        for gradient in torch.autograd.grad(loss, tensors):
            assert (gradient == 0).all()
    expected = pair_distance(tensors[0], tensors[1], distance).mean()
    torch.testing.assert_close(losses[2], expected)


def test_an_empty_batch_gives_zero():
    tensors = [torch.zeros(0, 4, requires_grad=True) for _ in range(3)]
    none = torch.zeros(0, dtype=torch.bool)
    for loss in all_losses(*tensors, masks=(none, none), distance="cosine"):
        assert loss.item() == 0
        loss.backward()


@pytest.mark.parametrize("rubbish", [NAN, INF, -INF])
@pytest.mark.parametrize("distance", DISTANCES)
def test_what_stands_behind_a_mask_reaches_neither_value_nor_gradient(distance, rubbish):
    generator = torch.Generator().manual_seed(4)
    clean = [torch.randn(4, 3, generator=generator) for _ in range(3)]
    masks = bools(1, 1, 0, 0), bools(1, 0, 1, 0)
    dirty = [tensor.clone() for tensor in clean]
    dirty[0][3] = rubbish  # the anchor of the row without any version
    dirty[1][~masks[0]] = rubbish
    dirty[2][~masks[1]] = rubbish
    authors = [clean[0].clone(), clean[1].clone(), dirty[2].clone()]
    given = {"pairwise": (clean, dirty), "paper": (clean, dirty), "authors": (clean, authors)}
    for name, versions in given.items():
        values, gradients = [], []
        for tensors in versions:
            tensors = [tensor.clone().requires_grad_() for tensor in tensors]
            if name == "pairwise":
                loss = pairwise_loss(*tensors, *masks, distance=distance)
            else:
                loss = triplet_loss(*tensors, *masks, mask=name, distance=distance)
            values.append(loss)
            gradients.append(torch.autograd.grad(loss, tensors))
        assert torch.equal(values[0], values[1]) and values[0].isfinite()
        for before, after in zip(*gradients, strict=True):
            assert torch.equal(before, after) and before.isfinite().all()


@pytest.mark.parametrize("rubbish", [NAN, INF, -INF])
def test_triplet_terms_ignore_what_stands_behind_a_mask(rubbish):
    for mask in MASKS:
        fickle = torch.tensor([0.5, 0.25 if mask == "authors" else rubbish], requires_grad=True)
        obstinate = torch.tensor([rubbish, 0.5], requires_grad=True)
        terms, counted = triplet_terms(fickle, obstinate, bools(1, 0), bools(0, 1), 1.0, mask)
        assert counted.all()
        assert terms.tolist() == [0.5, 0.75 if mask == "authors" else 0.5]
        gradients = torch.autograd.grad(terms.sum(), (fickle, obstinate))
        assert gradients[0].tolist() == [1, 1 if mask == "authors" else 0]
        assert gradients[1].tolist() == [0, -1]


# ---- precision and bad input --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("distance", DISTANCES)
def test_autocast_gives_the_float32_result(distance, dtype):
    generator = torch.Generator().manual_seed(5)
    half = [torch.randn(6, 32, generator=generator).to(dtype) for _ in range(3)]
    full = [tensor.float() for tensor in half]
    masks = bools(1, 1, 0, 1, 1, 0), bools(1, 0, 1, 1, 1, 0)
    expected = list(all_losses(*full, masks=masks, distance=distance))
    for tensors in (half, full):
        with torch.autocast("cpu", dtype):
            found = list(all_losses(*tensors, masks=masks, distance=distance))
        for value, exact in zip(found, expected, strict=True):
            assert value.dtype == torch.float32
            assert torch.equal(value, exact)


def test_autocast_of_the_distance_level():
    half = torch.tensor([0.5, 0.3]).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        terms = [*pairwise_terms(half, half, 1.0)]
        terms.append(triplet_terms(half, half, bools(1, 1), bools(1, 1), 1.001)[0])
    assert [term.dtype for term in terms] == [torch.float32] * 3
    torch.testing.assert_close(terms[2], torch.tensor([1.001, 1.001]))


def test_unknown_names_are_said():
    x, yes = torch.ones(1, 2), bools(1)
    with pytest.raises(HfBatError, match="unknown distance 'l2'; known: cosine, euclidean"):
        pair_distance(x, x, "l2")
    with pytest.raises(HfBatError, match="unknown mask rule 'none'; known: paper, authors"):
        triplet_loss(x, x, x, yes, yes, mask="none")
    with pytest.raises(HfBatError, match="unknown mask rule"):
        triplet_terms(x[0], x[0], yes, yes, 1.0, mask="none")


def test_numpy_reference_is_itself_right():
    rows = [tensor.numpy() for tensor in (ANCHOR, FICKLE, OBSTINATE)]
    masks = np.array([1, 1, 1, 0]), np.array([1, 1, 0, 0])
    found = numpy_losses(*rows, *masks, margin=1.0, name="cosine")
    assert found["paper"] == pytest.approx(2.2 / 3)
    assert found["authors"] == pytest.approx(0.6)
