"""The label filter in attacks: figures for edits that pass and for all others, from one pass."""

import json

import pytest
from attack_helpers import ANTONYMS, SYNONYMS, hashed, made_rows

from hf_bat import HfBatError
from hf_bat.attack import Attack, Recipe, get_recipe
from hf_bat.callbacks import RobustnessMeter
from hf_bat.evaluation.compare import compare_rows
from hf_bat.perturbations import FilteredPerturbation, LabelValidity

VALIDITY = LabelValidity()


def always(label):
    """Return a model that always predicts the same label."""
    return lambda pairs: [[0.8 if i == label else 0.1 for i in range(3)]] * len(pairs)


class Knowing(FilteredPerturbation):
    """A perturbation with only the edits that pass the filter for a known label."""

    def __init__(self, perturbation, validity, label):
        super().__init__(perturbation, validity)
        self.label = label

    def candidates(self, texts):
        return super().candidates(texts, self.label)


def attacked(rows, recipe="antonym", model=hashed, **options):
    return Attack(recipe, model, antonyms=ANTONYMS, synonyms=SYNONYMS, **options).run(rows)


@pytest.mark.parametrize("name", ["antonym", "negation"])
def test_the_valid_figures_are_those_of_an_attack_with_valid_edits_alone(name):
    rows = made_rows(200)
    plain = attacked(rows, name)[name]
    report = attacked(rows, name, label_filter=True)[name]
    valid, others = report.pop("label_valid"), report.pop("label_invalid")
    by_label = {
        label: (part.pop("label_valid"), part.pop("label_invalid"))
        for label, part in report["per_label"].items()
    }
    assert report == plain, "the filter changes no other figure"
    recipe = get_recipe(name, antonyms=ANTONYMS)
    for number, label in enumerate(("entailment", "neutral", "contradiction")):
        if label == "neutral":
            continue
        narrowed = Recipe(
            "narrowed",
            Knowing(recipe.perturbation, VALIDITY, label),
            recipe.goal,
            constraints=recipe.constraints,
        )
        alone = Attack(narrowed, hashed).run([row for row in rows if row["label"] == number])[name]
        for figure in ("succeeded", "succeeded_confident", "asr", "asr_confident", "attackable",
                       "asr_attackable", "keep_rate", "candidates", "asr_interval",
                       "asr_confident_interval"):  # fmt: skip
            assert by_label[label][0][figure] == alone[figure], (label, figure)
    for figure in ("succeeded", "succeeded_confident", "candidates", "kept"):
        assert valid[figure] == sum(part[figure] for part, _ in by_label.values())
    assert 0 < valid["candidates"] < report["candidates"]
    assert valid["candidates"] + others["candidates"] == report["candidates"]
    assert valid["filter"] == VALIDITY.describe()


def test_rows_say_of_each_edit_whether_it_passes():
    rows = [
        {"premise": "A hot man.", "hypothesis": "It is hot.", "label": 0, "idx": 0},
    ]
    report = attacked(rows, model=lambda pairs: [[0.8, 0.1, 0.1]] * len(pairs), label_filter=True)
    row = report.rows["antonym"][0]
    flags = {(original, new): passes for original, new, _, _, passes in row["tried"]}
    assert flags == {("hot", "cold"): 1, ("hot", "cool"): 1, ("man", "woman"): 0}
    assert (row["outcome_valid"], row["outcome_valid_confident"]) == ("succeeded", "failed")
    label = report["antonym"]["per_label"]["entailment"]
    assert label["label_valid"]["keep_rate"] == label["label_invalid"]["keep_rate"] == 1.0


def test_the_label_in_use_sharpens_the_filter():
    texts = ("A hot man.", "He runs.")  # a word in the premise that is unrelated to the hypothesis
    for label, passes in ((0, 1), (2, 0)):
        attack = Attack("antonym", always(label), antonyms={"runs": ("walks",)}, label_filter=True)
        for given in (label, None):  # None: the prediction is used as the gold label
            assert attack.attack_texts(*texts, label=given)["tried"][0][4] == passes


def test_labels_that_a_data_set_declares_in_another_order():
    from datasets import ClassLabel, Dataset, Features, Value

    names = ["contradiction", "entailment", "neutral"]
    features = Features(
        {
            "premise": Value("string"),
            "hypothesis": Value("string"),
            "label": ClassLabel(names=names),
        }
    )
    columns = {"premise": ["A hot man."] * 3, "hypothesis": ["He runs."] * 3, "label": [0, 1, 2]}
    rows = Dataset.from_dict(columns, features=features)
    for label, passes in ((0, 0), (1, 1), (2, None)):
        attack = Attack("antonym", always(label), antonyms={"runs": ("walks",)}, label_filter=True)
        found = attack.run(rows).rows["antonym"]
        assert [row["label_name"] for row in found] == names
        if passes is None:
            assert found[label]["reason"] == "label skipped"
        else:
            assert found[label]["tried"][0][4] == passes


def test_an_attack_keeps_nothing_of_the_rows_that_it_ran():
    from datasets import ClassLabel, Dataset

    attack = Attack("antonym", always(0), antonyms=ANTONYMS, label_filter=True)
    before = attack.attack_texts("A hot man.", "It is hot.", label=0)
    names = ["contradiction", "entailment", "neutral"]
    rows = Dataset.from_list([{"premise": "A hot man.", "hypothesis": "It is hot.", "label": 1}])
    report = attack.run(rows.cast_column("label", ClassLabel(names=names)))
    assert report.rows["antonym"][0].label_name == "entailment" != before.reason
    assert attack.attack_texts("A hot man.", "It is hot.", label=0) == before


def test_nothing_attempted_gives_no_rates():
    rows = [{"premise": "A hot man.", "hypothesis": "It is hot.", "label": 1, "idx": 0}]
    valid = attacked(rows, label_filter=True)["antonym"]["label_valid"]
    assert (valid["candidates"], valid["asr"], valid["keep_rate"]) == (0, None, None)


def test_metrics_and_tables_have_the_figures_only_if_asked(tmp_path):
    rows = made_rows(60)
    report = attacked(rows, label_filter=VALIDITY)
    metrics = report.metrics("eval_")
    assert metrics["eval_antonym_valid_keep_rate"] == report["antonym"]["label_valid"]["keep_rate"]
    assert "invalid keep rate" in report.to_markdown()
    plain = attacked(rows)
    assert "valid" not in plain.to_markdown() and "valid" not in "".join(plain.metrics())
    assert not any("outcome_valid" in row for row in plain.rows["antonym"])
    report.save_csv(tmp_path / "rows.csv")
    assert "outcome_valid" in (tmp_path / "rows.csv").read_text().splitlines()[0]
    from hf_bat.report.page import write_attack_page

    write_attack_page(report, tmp_path / "report.html")
    assert "edits that likely keep the label" in (tmp_path / "report.html").read_text()


def test_evaluation_reports_them_if_asked():
    rows = made_rows(40)
    for asked in (False, True):
        meter = RobustnessMeter(
            ["antonym", "synonym"], "snli", None, label_filter=asked, antonyms=ANTONYMS
        )
        metrics = meter.measure(hashed, rows)
        assert ("eval_antonym_valid_keep_rate" in metrics) is asked
        assert not any("synonym_valid" in name for name in metrics)


def test_a_rows_file_is_continued_with_the_same_filter(tmp_path):
    rows, path = made_rows(40), tmp_path / "rows.jsonl"
    whole = Attack("antonym", hashed, antonyms=ANTONYMS, label_filter=True).run(rows, path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:15]))
    again = Attack("antonym", hashed, antonyms=ANTONYMS, label_filter=True).run(rows, path)
    assert again.attacks == whole.attacks and again.rows == whole.rows
    assert json.loads(path.read_text().splitlines()[0])["label_filter"]


def test_two_models_are_compared_on_valid_edits_too():
    rows = made_rows(80)
    reports = [attacked(rows, label_filter=True), attacked(rows, label_filter=True)]
    found = compare_rows(*(report.rows["antonym"] for report in reports))
    assert [one.definition for one in found] == [
        "strict", "confident", "strict, valid", "confident, valid"
    ]  # fmt: skip
    plain = attacked(rows).rows["antonym"]
    alone = compare_rows(reports[0].rows["antonym"], plain)
    assert [one.definition for one in alone] == ["strict", "confident"], "one has no flags to pair"
    marked = [[{**row, "label_filter": mark} for row in plain] for mark in "ab"]
    with pytest.raises(HfBatError, match="label filter"):
        compare_rows(*marked)
    valid = reports[0]["antonym"]["label_valid"]
    assert [found[2].asr_a, found[3].asr_a] == [valid["asr"], valid["asr_confident"]]
