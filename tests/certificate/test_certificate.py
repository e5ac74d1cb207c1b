"""Certificates: no edit changes a certified row, at the stated rate and for any batch size."""

import json
from fractions import Fraction

import numpy as np
import pytest
from certificate_helpers import (
    SENTENCES,
    TABLE,
    HashedClassifier,
    compute_exact_quality,
    count_edited_words,
    made_rows,
    support,
)
from tiny_models import tiny_model, tiny_tokenizer

import hf_bat
from hf_bat import HfBatError, SmoothedClassifier, SubstitutionTable
from hf_bat.attack import CallableModel, TransformersModel
from hf_bat.certificate.certificate import Setting, Tally, certify
from hf_bat.certificate.smoothing import Smoothing

HALF = Fraction(1, 2)


def certify_rows(model, table=TABLE, rows=None, **options):
    rows = made_rows() if rows is None else rows
    return certify(model, rows, "qqp", synonyms=table, progress=False, **options)


# With exact probabilities


@pytest.mark.parametrize("radius", [1, 2, None])
def test_no_edit_flips_a_row_certified_by_the_exact_p(radius):
    setting = Setting(Smoothing(TABLE), radius=radius)
    certified = narrow = 0
    for seed in range(18):
        model = HashedClassifier((0.8, 0.9, 0.97)[seed % 3], seed)
        for texts in SENTENCES:
            p = model.probability(TABLE, texts)
            quality = setting.compute_qualities(texts)[setting.adversary]
            if not float(p) - (1 - quality) > 0.5:
                continue
            certified += 1
            narrow += quality < 1
            for edited in support(TABLE, texts):
                if radius is None or count_edited_words(texts, edited) <= radius:
                    assert model.probability(TABLE, edited) > HALF
    assert certified > 15 and narrow > 3


# Inputs and their Q. The worst replacement of each word has a set at least as large as the word's.
@pytest.mark.parametrize(
    ("texts", "exact"),
    [
        (("b2 x", "y"), Fraction(3, 4)),
        (("c1 a2 x", "c3 b2."), Fraction(12, 25)),
        (("c3", "c4 a1 y"), Fraction(16, 25)),
        (("a1 b2", "b2 c4"), Fraction(9, 20)),
    ],
)
def test_bound_is_tight_for_unlimited_edits(texts, exact):
    """A classifier that is correct exactly on the support of x has p = 1, and Q after the worst edit."""
    assert Smoothing(TABLE).compute_quality(texts) == pytest.approx(float(exact))
    here = set(support(TABLE, texts))
    kept = []
    for edited in here:
        there = support(TABLE, edited)
        kept.append(Fraction(sum(drawn in here for drawn in there), len(there)))
    assert min(kept) == compute_exact_quality(TABLE, texts) == exact < 1


@pytest.mark.parametrize("texts", SENTENCES[:6])
def test_bound_is_tight_for_one_edit(texts):
    """A classifier that is correct exactly where x is more likely than the edit loses 1 - Q."""
    here = support(TABLE, texts)
    lost = []
    for edited in (other for other in here if count_edited_words(texts, other) <= 1):
        there = support(TABLE, edited)
        share, share_there = Fraction(1, len(here)), Fraction(1, len(there))
        outside = set(there)
        right = [drawn for drawn in here if share > (share_there if drawn in outside else 0)]
        lost.append(share * len(right) - share_there * len(outside & {*right}))
    assert max(lost) == 1 - compute_exact_quality(TABLE, texts, radius=1)


def test_classifier_that_flips_at_the_bound_is_not_certified():
    # q = 1/2: half of the draws for the edited input are outside the support of x.
    table = {"p": ["q"], "q": ["p", "r", "s"]}
    model = type("Outside", (HashedClassifier,), {})(1)
    model.label = lambda texts: int(not {"r", "s"} & set(texts[0].split()))
    assert compute_exact_quality(table, ("p", "x")) == HALF
    assert model.probability(table, ("p", "x")) == 1
    assert model.probability(table, ("q", "x")) == HALF
    row = [{"question1": "p", "question2": "x", "label": 1}]
    report = certify_rows(model, table, row, samples=100_000, early_stopping=False)
    assert report.rows[0]["outcome"] == "not certified" == report.rows[0]["verdicts"]["unlimited"]
    assert report.rows[0]["verdicts"]["0"] == "certified"


# With samples


@pytest.mark.parametrize("early_stopping", [True, False])
def test_sampled_bounds_hold_at_the_stated_rate(early_stopping):
    confidence, wrong, wrong_above, count = 0.8, 0, 0, 0
    for seed in range(60):
        model = HashedClassifier(0.75, seed)
        report = certify_rows(
            model, confidence=confidence, samples=130, seed=seed, early_stopping=early_stopping
        )
        for row in report.rows:
            p = float(model.probability(TABLE, tuple(row["original"])))
            if 0 < p < 1:
                count += 1
                wrong += row["p_lower"] > p
                wrong_above += row["p_upper"] < p
    assert count > 250
    # The stated rate plus three standard deviations of its estimate.
    most = count * 0.2 + 3 * (count * 0.2 * 0.8) ** 0.5
    assert wrong <= most and wrong_above <= most
    if not early_stopping:
        assert wrong > count * 0.05  # the bound is tight


def test_no_edit_flips_a_row_certified_by_samples():
    certified = 0
    for seed in range(8):
        model = HashedClassifier(0.9, seed)
        for row in certify_rows(model, radius=2, seed=seed).rows:
            texts = tuple(row["original"])
            for name, verdict in row["verdicts"].items():
                if verdict != "certified":
                    continue
                certified += 1
                most = 99 if name == "unlimited" else int(name)
                for edited in support(TABLE, texts):
                    if count_edited_words(texts, edited) <= most:
                        assert model.probability(TABLE, edited) > HALF
    assert certified > 50


def test_early_stopping_agrees_with_all_looks():
    setting = Setting(Smoothing(TABLE, 0), radius=1)
    saved = different = rows = 0
    for seed in range(5):
        model = HashedClassifier(0.8, seed)
        for row in certify_rows(model, radius=1).rows:
            texts = tuple(row["original"])
            labels = np.array(
                [model.label(drawn) for drawn in setting.smoothing.draw(texts, setting.samples)]
            )
            full = Tally(setting.looks, setting.risk)
            for look in setting.looks:
                full.add(int(labels[:look].sum()) - full.successes, look - full.trials)
                if look == row["samples"]:
                    assert (full.low, full.high) == (row["p_lower"], row["p_upper"])
            assert row["p_lower"] <= full.low
            for name, quality in row["overlap"].items():
                verdict = full.decide(1.5 - quality)
                if row["verdicts"][name] == "certified":
                    assert verdict == "certified"
                rows += 1
                different += row["verdicts"][name] != verdict
            saved += setting.samples - row["samples"]
    assert different <= 0.05 * rows  # "not certified" by an upper bound that may be wrong at 0.05
    assert saved > 0.5 * 5 * len(SENTENCES) * setting.samples


def test_verdicts_follow_from_the_bounds():
    for row in certify_rows(HashedClassifier(0.85), radius=2, samples=500).rows:
        assert list(row["verdicts"]) == ["0", "1", "2", "unlimited"] == list(row["overlap"])
        assert row["outcome"] == row["verdicts"]["2"]
        overlaps = list(row["overlap"].values())
        assert overlaps[0] == 1 and overlaps == sorted(overlaps, reverse=True)
        for name, verdict in row["verdicts"].items():
            margin = row["p_lower"] - (1 - row["overlap"][name])
            assert (verdict == "certified") == (margin > 0.5)
        assert sum(row["votes"]) == row["samples"] <= 500
        assert row["queries"] <= min(row["samples"], len(support(TABLE, row["original"]))) + 1
        assert row["predicted"] == int(np.argmax(row["votes"]))


def test_counts_add_up():
    rows = made_rows(10)
    rows[2]["label"] = rows[3]["label"] = None
    rows[4]["question1"] = " "
    rows[5]["question2"] = None
    rows[6]["question1"] = "broken \ud800"
    report = certify_rows(HashedClassifier(0.9), rows=rows, radius=1)
    assert report["rows"] == 10 == report["attempted"] + report["skipped"] == len(report.rows)
    assert report["attempted"] == 7 == report["labelled"] + report["unlabelled"]
    assert report["unlabelled"] == 2
    assert report["skipped_reasons"] == {"broken text": 1, "empty text": 2}
    for found in report["adversaries"].values():
        outcomes = [found[name] for name in ("certified", "not certified", "abstained")]
        assert sum(outcomes) == report["attempted"] and found["accuracy"]["of"] == 5
    assert [row["idx"] for row in report.rows] == list(range(10))
    nothing = certify_rows(HashedClassifier(0.9), rows=rows[4:6])
    assert nothing["certified_accuracy"] is None and "–" in nothing.to_markdown()


def test_row_without_a_label_is_certified_for_the_smoothed_answer():
    rows = made_rows(7, label=None)
    report = certify_rows(HashedClassifier(0.05), rows=rows)
    assert {row["certified_label"] for row in report.rows} == {0}
    assert report["adversaries"]["0"]["certified"] == 7
    assert report["adversaries"]["0"]["accuracy"]["of"] == 0
    # The bounds of labeled and unlabeled rows use the same draws.
    labelled = certify_rows(HashedClassifier(0.05), rows=made_rows(7, label=0))
    for one, other in zip(report.rows, labelled.rows, strict=True):
        assert (one["p_lower"], one["votes"]) == (other["p_lower"], other["votes"])


def test_wrong_answer_is_not_certified():
    report = certify_rows(HashedClassifier(0.05), rows=made_rows(7, label=1))
    assert report["certified_accuracy"] == 0
    assert all(row["outcome"] == "not certified" for row in report.rows)
    assert report["accuracy_smoothed"]["rate"] == 0


@pytest.fixture(scope="module")
def tiny():
    texts = [text for pair in SENTENCES for text in pair]
    return tiny_model("bert", num_labels=2, seed=5), tiny_tokenizer(texts)


def test_rows_do_not_depend_on_batches_or_order(tiny):
    model, tokenizer = tiny
    rows = made_rows(9)
    options = {"samples": 200, "radius": 1, "tokenizer": tokenizer}
    report = certify_rows(model, rows=rows, batch_size=32, **options)
    again = certify_rows(model, rows=rows[::-1], batch_size=3, **options)
    assert len({row["p_lower"] for row in report.rows}) > 3

    def figures(row):
        return {k: v for k, v in row.items() if k != "queries"}

    assert list(map(figures, report.rows)) == list(map(figures, again.rows[::-1]))
    assert certify_rows(model, rows=rows, **options).summary == report.summary
    assert certify_rows(model, rows=rows, seed=1, **options).summary != report.summary


def test_smoothed_classifier_and_certificate_count_the_same_votes(tiny):
    model = TransformersModel(*tiny)
    smoothed = SmoothedClassifier(model, TABLE, samples=200)
    report = certify_rows(model, samples=200, early_stopping=False)
    with smoothed.session():
        shares = smoothed.probabilities(SENTENCES)
    assert (shares * 200).round().astype(int).tolist() == [row["votes"] for row in report.rows]


def test_killed_run_resumes_and_another_is_refused(tmp_path):
    file = tmp_path / "rows.jsonl"
    model = CallableModel(HashedClassifier(0.85), "hashed")
    whole = certify_rows(model, rows_file=file)
    lines = file.read_text().splitlines(keepends=True)
    assert [json.loads(line)["idx"] for line in lines] == list(range(7))
    file.write_text("".join(lines[:3]) + lines[3][:20])
    asked = []

    def counting(inputs):
        asked.extend(inputs)
        return HashedClassifier(0.85)(inputs)

    again = certify_rows(CallableModel(counting, "hashed"), rows_file=file)
    assert again.rows == whole.rows and again.summary == whole.summary
    assert tuple(whole.rows[0]["original"]) not in asked and asked
    assert file.read_text() == "".join(lines)
    for options in ({"seed": 1}, {"confidence": 0.9}, {"radius": 1}, {"table": {"a1": ["a2"]}}):
        with pytest.raises(HfBatError, match="setting"):
            certify_rows(model, rows_file=file, **options)
    with pytest.raises(HfBatError, match="model"):
        certify_rows(CallableModel(counting, "other"), rows_file=file)


def test_numpy_numbers_equal_python_numbers(tmp_path):
    numbers = {"samples": np.int64(200), "radius": np.int64(1), "confidence": np.float32(0.75)}
    reports = [
        certify_rows(HashedClassifier(0.9), rows_file=tmp_path / "rows.jsonl", **given)
        for given in (numbers, {name: value.item() for name, value in numbers.items()})
    ]
    reports[0].save_json(tmp_path / "report.json")
    assert reports[0].summary == reports[1].summary
    smoothed = [SmoothedClassifier(len, TABLE, samples=samples) for samples in (np.int64(7), 7)]
    assert smoothed[0].identity == smoothed[1].identity


def test_report_says_what_it_certifies(tmp_path):
    report = certify_rows(CallableModel(HashedClassifier(0.9), "hashed"), radius=1)
    report.save_json(tmp_path / "report.json")
    saved = json.loads((tmp_path / "report.json").read_text())
    certificate = saved["certificate"]
    for said in (certificate["certifies"], report.to_markdown()):
        assert "certifies the smoothed classifier" in said and "never the plain model" in said
    assert certificate["setting"]["smoothing"]["table"] == SubstitutionTable(TABLE).fingerprint
    assert certificate["setting"]["confidence"] == 0.95 and saved["model"] == "hashed"
    assert (
        certificate["adversaries"]["unlimited"]["accuracy"]["rate"] == report["certified_accuracy"]
    )
    with pytest.raises(HfBatError, match="cannot write"):
        report.save_json(tmp_path / "absent" / "report.json")


def test_public_names():
    assert hf_bat.certify is certify and callable(hf_bat.certify)


def test_real_rows(shared, shared_rows):
    rows = shared_rows("snli/validation.jsonl.gz", 30)
    table = SubstitutionTable.load(
        shared / "lexicons" / "snli_perturbation_constraint_pca0.8_100.pkl"
    )
    tokenizer = tiny_tokenizer(t for r in rows for t in (r["premise"], r["hypothesis"]))
    report = certify(
        tiny_model("bert"), rows, "snli", synonyms=table, samples=60, tokenizer=tokenizer
    )
    assert report["attempted"] + report["skipped"] == 30
    # Sets in these tables are complete components, so the votes decide and substitutions rarely matter.
    assert np.mean([row["overlap"]["unlimited"] == 1 for row in report.rows]) > 0.9
