"""Attacks on a model with the preprocessing defense, and how it is disclosed."""

import csv
import json

import numpy as np
import pytest
from attack_helpers import ANTONYMS, SYNONYMS, hashed, made_rows
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat import HfBatError
from hf_bat.attack import Attack, CallableModel, CanonicalizedModel, TransformersModel
from hf_bat.canonicalize import Canonicalizer
from hf_bat.certificate.smoothing import SmoothedClassifier
from hf_bat.cli import main
from hf_bat.lexicon import SubstitutionTable
from hf_bat.perturbations import SynonymPerturbation
from hf_bat.report.page import render_attack_page
from hf_bat.saved_perturbations import load_canonicalizer, read_defense, save_perturbations

TABLE = SubstitutionTable(SYNONYMS)
CANONICAL = Canonicalizer(TABLE)


def canonical_rows(count):
    """Return rows that the model with the defense mostly classifies correctly."""
    rows = made_rows(count)
    for row in rows:
        pair = CANONICAL(row["premise"]), CANONICAL(row["hypothesis"])
        row["label"] = int(hashed([pair])[0].argmax())
    return rows


def test_a_synonym_attack_with_the_same_table_cannot_succeed_and_the_report_says_why():
    rows = canonical_rows(60)
    defended = CanonicalizedModel(CallableModel(hashed), CANONICAL)
    report = Attack("synonym", defended, synonyms=TABLE).run(rows)
    assert report["synonym"]["attempted"] == 60 and report["synonym"]["candidates"] > 0
    assert report["synonym"]["asr"] == 0.0
    plain = Attack("synonym", hashed, synonyms=TABLE).run(rows)
    assert plain["synonym"]["asr"] > 0.3
    assert report.about["preprocessing_defence"] == CANONICAL.describe()
    assert report.to_dict()["preprocessing_defence"]["table"] == TABLE.fingerprint
    line = f"Preprocessing defense: canonicalize ({CANONICAL.fingerprint[:12]})"
    assert report.to_markdown().startswith(line)
    assert line in render_attack_page(report)
    assert "preprocessing_defence" not in plain.to_dict()
    assert "defence" not in plain.to_markdown() + render_attack_page(plain)


@pytest.mark.parametrize("smoothed_outside", [True, False])
def test_a_smoothed_model_discloses_both_whichever_is_outside(smoothed_outside):
    def smoothed(model):
        return SmoothedClassifier(model, {"child": ["kid"]}, samples=5)

    def canonical(model):
        return CanonicalizedModel(model, CANONICAL)

    model = CallableModel(hashed)
    model = smoothed(canonical(model)) if smoothed_outside else canonical(smoothed(model))
    report = Attack("antonym", model, antonyms=ANTONYMS).run(canonical_rows(5))
    assert report.about["preprocessing_defence"] == CANONICAL.describe()
    assert report.about["smoothed"]["samples"] == 5
    assert report.to_markdown().startswith("Preprocessing defense: canonicalize")


def test_an_antonym_attack_is_that_on_a_function_of_canonical_texts():
    rows = canonical_rows(60)
    defended = CanonicalizedModel(CallableModel(hashed), CANONICAL)

    def by_hand(pairs):
        return hashed([tuple(map(CANONICAL, pair)) for pair in pairs])

    ours = Attack("antonym", defended, antonyms=ANTONYMS).run(rows)
    assert ours.attacks == Attack("antonym", by_hand, antonyms=ANTONYMS).run(rows).attacks


def test_a_transformers_model_behind_it():
    rows = made_rows(6)
    texts = [(row["premise"], row["hypothesis"]) for row in rows]
    tokenizer = tiny_tokenizer([t for pair in texts for t in pair] + list(SYNONYMS))
    model = TransformersModel(tiny_model("bert"), tokenizer, device="cpu", max_length=12)
    defended = CanonicalizedModel(model, CANONICAL)
    canonical = [tuple(map(CANONICAL, pair)) for pair in texts]
    assert defended.keys(texts) == model.keys(canonical)
    assert defended.visible(texts) == model.visible(canonical)
    assert defended.saliency([(texts[0], 1)]) == model.saliency([(canonical[0], 1)])
    assert defended.device == model.device and defended.length(model.keys(texts)[0]) > 0
    with defended.session():
        keys = defended.keys(texts)
        assert np.array_equal(defended.probabilities(keys), model.probabilities(keys))
    assert defended.identity != model.identity
    other = CanonicalizedModel(model, Canonicalizer({"dog": ["hound"]}))
    assert other.identity != defended.identity


# ---- the record saved with a model


def test_the_record_is_written_and_read_back(tmp_path):
    fickle = SynonymPerturbation(TABLE)
    written = save_perturbations(tmp_path, "safer", [fickle], CANONICAL)
    assert written == {"synonyms": TABLE.fingerprint, "canonical": TABLE.fingerprint}
    assert read_defense(tmp_path) == CANONICAL.describe()
    assert load_canonicalizer(tmp_path).fingerprint == CANONICAL.fingerprint
    assert not list(tmp_path.glob(".*"))
    SubstitutionTable({"dog": ["hound"]}).save(tmp_path / "canonical.json.gz")
    with pytest.raises(HfBatError, match="another mapping"):
        load_canonicalizer(tmp_path)
    (tmp_path / "perturbations.json").write_text("[1]")
    with pytest.raises(HfBatError, match=r"perturbations\.json"):
        read_defense(tmp_path)
    (tmp_path / "perturbations.json").write_text('{"method": "normal"}')
    assert read_defense(tmp_path) is None


def test_the_casing_of_the_record_is_read_back(tmp_path):
    save_perturbations(tmp_path, "normal", [], Canonicalizer(TABLE, "authors"))
    assert load_canonicalizer(tmp_path).casing == "authors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a model that records the defense, tables and rows."""
    path = tmp_path_factory.mktemp("canonical")
    # The model is correct on every row, so every row is attacked.
    rows = [{**row, "label": 0} for row in made_rows(20, seed=41)]
    model = tiny_model("bert")
    model.classifier.bias.data[0] += 5
    model.save_pretrained(path / "model")
    tokenizer = tiny_tokenizer([t for r in rows for t in (r["premise"], r["hypothesis"])])
    tokenizer.save_pretrained(path / "model")
    save_perturbations(path / "model", "normal", [], CANONICAL)
    TABLE.save(path / "synonyms.json")
    (path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [{**row, "original_idx": row["idx"] - 1 if row["idx"] % 2 else None} for row in rows]
    (path / "contrast.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    return path


def command(folder, name, *flags):
    return main([name, "--model", str(folder / "model"), "--task", "snli", *map(str, flags)])


def test_the_attack_command_takes_the_models_own_table_and_warns_without_the_flag(
    folder, tmp_path, capsys
):
    flags = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "synonym", "--synonyms"]
    flags += [folder / "synonyms.json", "--json", tmp_path / "out.json"]
    assert command(folder, "attack", *flags, "--label-filter", "--canonicalize") == 0
    shown = capsys.readouterr()
    assert (
        "Preprocessing defense: canonicalize" in shown.out
        and "without --canonicalize" not in shown.err
    )
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["preprocessing_defence"]["fingerprint"] == CANONICAL.fingerprint
    assert report["attacks"]["synonym"]["asr"] in (0.0, None)
    assert "label_valid" in report["attacks"]["antonym"]
    assert "label_valid" not in report["attacks"]["synonym"]
    assert command(folder, "attack", *flags) == 0
    shown = capsys.readouterr()
    assert "was trained with" in shown.err and "--canonicalize" in shown.err
    assert "preprocessing_defence" not in json.loads((tmp_path / "out.json").read_text())


def test_another_table_is_taken_with_a_warning(folder, tmp_path, capsys):
    other = tmp_path / "other.json"
    SubstitutionTable({"dog": ["hound"]}).save(other)
    flags = ["--text", "A dog.", "A hound.", "--attacks", "sister", "--canonicalize", other]
    assert command(folder, "attack", *flags) == 0
    shown = capsys.readouterr()
    assert "was trained with another mapping" in shown.err
    assert shown.out.startswith("Preprocessing defense: canonicalize (")


def test_the_contrast_command_has_the_flag_too(folder, tmp_path, capsys):
    flags = ["--data", folder / "contrast.jsonl", "--json", tmp_path / "out.json"]
    assert command(folder, "contrast", *flags, "--canonicalize") == 0
    assert "Preprocessing defense: canonicalize" in capsys.readouterr().out
    assert "preprocessing_defence" in json.loads((tmp_path / "out.json").read_text())


MARK = {"name": "canonicalize", "fingerprint": CANONICAL.fingerprint}
SAID = f"Preprocessing defense: canonicalize ({CANONICAL.fingerprint[:12]})"
SMOOTHED = "Smoothed classifier: each answer is the vote over 5 draws"


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("canonicalize", [True, False])
def test_one_input_at_the_prompt_discloses_what_was_attacked(
    folder, tmp_path, capsys, canonicalize, smooth
):
    flags = ["--text", "A dog.", "A big hound.", "--attacks", "sister", "antonym"]
    flags += ["--synonyms", folder / "synonyms.json", "--json", tmp_path / "one.json"]
    flags += ["--canonicalize"] * canonicalize + ["--smooth", 5] * smooth
    assert command(folder, "attack", *flags) == 0
    out = capsys.readouterr().out
    assert (SAID in out, SMOOTHED in out) == (canonicalize, smooth)
    rows = json.loads((tmp_path / "one.json").read_text())
    assert [row["attack"] for row in rows] == ["sister", "antonym"], "a list, as it was"
    for row in rows:
        assert row.get("preprocessing_defence") == (CANONICAL.describe() if canonicalize else None)
        assert row.get("smoothed", {}).get("samples") == (5 if smooth else None)


def test_rows_and_csv_say_what_was_attacked_and_a_report_of_rows_alone_shows_it(
    folder, tmp_path, capsys
):
    flags = ["--data", folder / "dev.jsonl", "--attacks", "antonym", "sister", "--max-samples", 6]
    flags += ["--synonyms", folder / "synonyms.json"]
    for name, more in (("plain", []), ("both", ["--canonicalize", "--smooth", 5])):
        (tmp_path / name).mkdir()
        files = ["--rows", tmp_path / name / "r.jsonl", "--csv", tmp_path / f"{name}.csv"]
        assert command(folder, "attack", *flags, *more, *files) == 0
        marked = bool(more)
        out = capsys.readouterr().out
        assert (SAID in out, SMOOTHED in out) == (marked, marked)
        rows = read_lines(tmp_path / name / "r.jsonl")
        assert len(rows) == 12
        with open(tmp_path / f"{name}.csv", newline="") as stream:
            cells = list(csv.DictReader(stream))
        assert len(cells) == 12
        for row, cell in zip(rows, cells, strict=True):
            assert row.get("preprocessing_defence") == (MARK if marked else None)
            assert row.get("smoothed", {}).get("samples") == (5 if marked else None)
            assert json.loads(cell.get("preprocessing_defence", "null")) == (
                MARK if marked else None
            )
            assert json.loads(cell.get("smoothed", "{}")) == row.get("smoothed", {})
        assert main(["report", str(tmp_path / name), "--quiet"]) == 0
        page = (tmp_path / name / "report.html").read_text()
        assert page.count(SAID) == page.count(SMOOTHED) == marked
    # A resumed run results in the same file, also for a file from an earlier version without marks.
    path = tmp_path / "both" / "r.jsonl"
    before = path.read_text()
    earlier = [
        {k: v for k, v in row.items() if k not in ("preprocessing_defence", "smoothed")}
        for row in read_lines(path)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in earlier))
    again = ["--canonicalize", "--smooth", 5, "--rows", path, "--json", tmp_path / "out.json"]
    assert command(folder, "attack", *flags, *again) == 0
    assert path.read_text() == before
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["cost"]["antonym"]["forwards"] == 0
    assert report["preprocessing_defence"] == CANONICAL.describe()


def test_rows_of_two_models_in_one_file_are_disclosed_by_attack(folder, tmp_path):
    path = tmp_path / "r.jsonl"
    flags = ["--data", folder / "dev.jsonl", "--max-samples", 4, "--rows", path, "--quiet"]
    assert command(folder, "attack", *flags, "--attacks", "antonym", "--canonicalize") == 0
    assert command(folder, "attack", *flags, "--attacks", "sister") == 0
    marks = {row["attack"]: row.get("preprocessing_defence") for row in read_lines(path)}
    assert marks == {"antonym": MARK, "sister": None}
    assert main(["report", str(tmp_path), "--quiet"]) == 0
    page = (tmp_path / "report.html").read_text()
    assert page.count(SAID) == 1 and f"antonym: {SAID}" in page


def test_rows_saved_from_a_report_are_marked_too(tmp_path):
    defended = CanonicalizedModel(CallableModel(hashed), CANONICAL)
    report = Attack("antonym", defended, antonyms=ANTONYMS).run(canonical_rows(3))
    report.save_rows(tmp_path / "r.jsonl")
    assert [row["preprocessing_defence"] for row in read_lines(tmp_path / "r.jsonl")] == [MARK] * 3
    plain = Attack("antonym", hashed, antonyms=ANTONYMS).run(canonical_rows(3))
    plain.save_rows(tmp_path / "r.jsonl")
    assert not any("preprocessing_defence" in row for row in read_lines(tmp_path / "r.jsonl"))


@pytest.mark.parametrize("name", ["contrast", "certify"])
def test_the_rows_of_other_commands_are_marked_too(folder, tmp_path, name):
    flags = ["--data", folder / "contrast.jsonl", "--rows", tmp_path / "r.jsonl", "--quiet"]
    if name == "certify":
        flags += ["--synonyms", folder / "synonyms.json", "--max-samples", 2, "--samples", 100]
    for more, mark in ((["--canonicalize"], MARK), ([], None)):
        (tmp_path / "r.jsonl").unlink(missing_ok=True)
        assert command(folder, name, *flags, *more) == 0
        rows = read_lines(tmp_path / "r.jsonl")
        assert rows and all(row.get("preprocessing_defence") == mark for row in rows)
