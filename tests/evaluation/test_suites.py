"""Public suites: published formats, odd files, labels, figures, command, page and Trainer keys.

All sentences were written for these tests and are not from a suite.
"""

import argparse
import gzip
import json
from pathlib import Path

import pytest
from tiny_models import tiny_model
from training_helpers import made_rows, make_trainer, tokenizer_for_made_rows

from hf_bat import BalancedTrainingArguments
from hf_bat.commands import contrast as command
from hf_bat.errors import HfBatError
from hf_bat.evaluation.contrast import SuiteReport, evaluate_suite, score_suite
from hf_bat.evaluation.suites import FORMATS, TWO_WAY, SuiteRow, SuiteRows, read_suite
from hf_bat.report.page import write_report
from hf_bat.stats import Share

NLI = ("entailment", "neutral", "contradiction")
MNLI_COLUMNS = [
    "sentence1_binary_parse",
    "sentence2_binary_parse",
    "sentence1_parse",
    "sentence2_parse",
]


def as_lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_table(header, *rows):
    return "".join("\t".join(cells) + "\n" for cells in (header, *rows))


def make_pair(first, second, label, **more):
    return {"sentence1": first, "sentence2": second, "gold_label": label, **more}


def make_hans_row(first, second, label, heuristic):
    return [
        label,
        "( a )",
        "( b )",
        "(ROOT a)",
        "(ROOT b)",
        first,
        second,
        "ex1",
        heuristic,
        "sub",
        "temp1",
    ]


HANS_HEADER = [
    "gold_label", *MNLI_COLUMNS, "sentence1", "sentence2", "pairID", "heuristic", "subcase", "template",
]  # fmt: skip
MED_HEADER = [
    "index", "promptID", "pairID", "genre", *MNLI_COLUMNS, "sentence1", "sentence2",
    *(f"label{number}" for number in range(1, 6)), "gold_label",
]  # fmt: skip


def make_med_row(number, genre, first, second, label):
    return [number, number, number, genre, "", "", "", "", first, second, "", "", "", "", "", label]


ADVGLUE = {
    "sst2": [
        {"idx": 0, "sentence": "A dul film .", "label": 0},
        {"idx": 1, "sentence": "A luvly film .", "label": 1},
    ],
    "qqp": [{"idx": 0, "question1": "Who ran ?", "question2": "Who raan ?", "label": 1}],
    "mnli": [
        {"idx": 0, "premise": "A man sits .", "hypothesis": "A maan sits .", "label": 0, "method": "typo"},
        {"idx": 1, "premise": "A man sits .", "hypothesis": "A man runs .", "label": 2,
         "method": "typo", "data_construction": "Human-crafted"},
    ],
    "mnli-mm": [{"idx": 0, "premise": "It rains .", "hypothesis": "It poors .", "label": 1}],
    "qnli": [{"idx": 0, "question": "Who sat ?", "sentence": "A man sat .", "label": 0}],
    "rte": [{"idx": 0, "sentence1": "A man sat .", "sentence2": "A dog sat .", "label": 1}],
}  # fmt: skip

# (file, content, requested format, name of the rows, labels, categories)
CASES = {
    "breaking_nli": (
        "dataset.jsonl",
        as_lines(
            make_pair("He eats a plum.", "He eats a pear.", "contradiction", pairID=1,
                      category="fruit & more", annotator_labels=["contradiction"]),
            make_pair("He eats a plum.", "He eats a fruit.", "entailment", pairID=2, category="colors"),
            make_pair("He eats.", "He dines.", "-", pairID=3, category="colors"),
        ),
        "breaking_nli", ["contradiction", "entailment", None], ["fruit_more", "colors", "colors"],
    ),
    "cad nli": (
        "revised_premise/dev.tsv",
        as_table(
            ["sentence1", "sentence2", "gold_label"],
            ["A boy sits inside.", "A boy sits.", "entailment"],
            ["A boy runs.", '"The sign says ""stop""."', "contradiction"],
        ),
        "cad", ["entailment", "contradiction"], ["revised_premise"] * 2,
    ),
    "cad sentiment": (
        "paired/dev_paired.tsv",
        as_table(
            ["Sentiment", "Text", "batch_id"],
            ["Negative", '"A ""film"" to avoid.<br />"', "7"],
            ["Positive", "A film to see.", "7"],
        ),
        "cad", ["negative", "positive"], ["paired"] * 2,
    ),
    "monli": (
        "nmonli_test.jsonl",
        as_lines(
            make_pair("No man owns a pet.", "No man owns a cat.", "entailment", depth=-1,
                      sentence1_lex="pet", sentence2_lex="cat"),
            make_pair("No man owns a cat.", "No man owns a pet.", "neutral", depth=1),
            make_pair("A man owns a cat.", "A man owns a pet.", "entailment", depth=1),
            make_pair("A man owns a pet.", "A man owns a cat.", "neutral", depth=-1),
        ),
        "monli", ["entailment", "non-entailment"] * 2, ["nmonli", "nmonli", "pmonli", "pmonli"],
    ),
    "med": (
        "MED.tsv",
        as_table(
            MED_HEADER,
            make_med_row("1", "paper:GQ:upward_monotone", "A red car left.", "A car left.", "entailment"),
            make_med_row("2", "crowd:downward_monotone:npi", "No car left.", 'No "red car left.', "neutral"),
            make_med_row("3", "paper:unknown", "A car left.", "It left.", "neutral"),
        ),
        "med", ["entailment", "non-entailment", "non-entailment"],
        ["upward_monotone", "downward_monotone", "other"],
    ),
    "hans": (
        "heuristics_evaluation_set.txt",
        as_table(
            HANS_HEADER,
            make_hans_row("A cook saw B .", "B saw A cook .", "non-entailment", "lexical_overlap"),
            make_hans_row("The cook slept .", "The cook slept .", "entailment", "subsequence"),
        ),
        "hans", ["non-entailment", "entailment"], ["lexical_overlap", "subsequence"],
    ),
    "hans lines": (
        "heuristics_evaluation_set.jsonl",
        as_lines(make_pair("The cook sat .", "The cook stood .", "non-entailment", heuristic="constituent")),
        "hans", ["non-entailment"], ["constituent"],
    ),
    "paws": (
        "dev.tsv",
        as_table(
            ["id", "sentence1", "sentence2", "label"],
            ["1", "From A to B .", "From B to A .", "0"],
            ["2", 'He said " no .', "No , he said .", "1"],
        ),
        "paws", ["not_paraphrase", "paraphrase"], ["all", "all"],
    ),
    "rules": (
        "suite.jsonl",
        as_lines(
            {"premise": "A red hat.", "hypothesis": "A blue hat.", "label": 2, "category": "colors"},
            {"premise": "A hat.", "hypothesis": "A cap.", "label": "neutral", "category": "swap:seen"},
        ),
        "rules", ["contradiction", "neutral"], ["colors", "swap_seen"],
    ),
    "paws unlabeled": (
        "train.tsv",
        as_table(["id", "sentence1", "sentence2", "noisy_label"], ["1", "A b .", "B a .", "1"]),
        "paws", ["paraphrase"], ["all"],
    ),
    "nli_stress": (
        "Antonym/multinli_0.9_antonym_mismatched.jsonl",
        as_lines(make_pair("He is tall.", "He is short.", "contradiction", genre="slate")),
        "nli_stress", ["contradiction"], ["antonym_mismatched"],
    ),
    "nli_stress table": (
        "Word_Overlap/multinli_0.9_taut2_matched.txt",
        as_table(
            ["gold_label", *MNLI_COLUMNS, "sentence1", "sentence2", "pairID"],
            ["neutral", "", "", "", "", "He left.", "He left and true is true.", "1"],
        ),
        "nli_stress", ["neutral"], ["word_overlap_matched"],
    ),
    "nli_stress combined": (
        "eval.jsonl",
        as_lines(
            make_pair("He has 3.", "He has more than 2.", "entailment", source="quant_hard"),
            make_pair("He ran.", "He rna.", "neutral", source="dev_gram_functionword_swap_matched"),
            make_pair("He left.", "He went.", "entailment", source="mnli_dev_matched"),
        ),
        "nli_stress", ["entailment", "neutral", "entailment"],
        ["numerical_reasoning", "spelling_error_matched", "mnli_dev_matched"],
    ),
    "advglue one task": (
        "dev.json", json.dumps({"rte": ADVGLUE["rte"]}), "advglue:rte", ["non-entailment"], ["rte"],
    ),
}  # fmt: skip


def write(folder, name, content):
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.mark.parametrize("case", CASES)
def test_format_is_detected_and_read(case, tmp_path):
    name, content, rows_name, labels, categories = CASES[case]
    path = write(tmp_path, name, content)
    suite = read_suite(path)
    assert suite.name == rows_name
    assert [row.label for row in suite.rows] == labels
    assert [row.category for row in suite.rows] == categories
    assert read_suite(path, rows_name.partition(":")[0]) == suite


@pytest.mark.parametrize("case", CASES)
def test_windows_line_ends_a_byte_order_mark_and_gzip_change_nothing(case, tmp_path):
    name, content, *_ = CASES[case]
    suite = read_suite(write(tmp_path, name, content))
    changed = b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode("utf-8")
    assert read_suite(write(tmp_path, name, changed)) == suite
    zipped = read_suite(write(tmp_path, f"{name}.gz", gzip.compress(changed)))
    assert zipped.rows == suite.rows


def test_every_format_has_a_case():
    assert {rows_name.partition(":")[0] for _, _, rows_name, *_ in CASES.values()} == set(FORMATS)


@pytest.mark.parametrize("task", ADVGLUE)
@pytest.mark.parametrize("indent", [None, 2])
def test_tasks_of_advglue(task, indent, tmp_path):
    path = write(tmp_path, "dev.json", json.dumps(ADVGLUE, indent=indent))
    suite = read_suite(path, f"advglue:{task}")
    others = ("idx", "label", "method", "data_construction")
    texts = [
        tuple(value for name, value in row.items() if name not in others) for row in ADVGLUE[task]
    ]
    assert [row.texts for row in suite.rows] == texts
    assert suite.name == f"advglue:{task}"
    with pytest.raises(HfBatError, match="holds 6 tasks of advglue .*--format advglue:sst2"):
        read_suite(path)


def test_categories_of_advglue(tmp_path):
    path = write(tmp_path, "dev.json", json.dumps(ADVGLUE))
    assert [row.category for row in read_suite(path, "advglue:mnli").rows] == [
        "typo",
        "human_crafted",
    ]
    assert [row.category for row in read_suite(path, "advglue:mnli-mm").rows] == ["mnli_mm"]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("b'Why not ?'", "Why not ?"),
        ('b"What\'s up ?"', "What's up ?"),
        ("b'caf\\xc3\\xa9 ?'", "café ?"),
        ("b'only one quote", "b'only one quote"),
        ("b'\\xff'", "b'\\xff'"),
        ("'Why ?'", "'Why ?'"),
    ],
)
def test_bytes_of_paws_qqp_are_unwrapped(cell, text, tmp_path):
    content = as_table(["id", "sentence1", "sentence2", "label"], ["1", cell, "Why ?", "1"])
    assert read_suite(write(tmp_path, "train.tsv", content)).rows[0].texts == (text, "Why ?")


def test_quotes_are_text_where_the_authors_quote_no_cells(tmp_path):
    rows = [
        make_hans_row('" He sat', "He sat", "entailment", "subsequence"),
        make_hans_row("He stood", '"He" stood "', "entailment", "subsequence"),
    ]
    suite = read_suite(write(tmp_path, "hans.txt", as_table(HANS_HEADER, *rows)))
    assert [row.texts for row in suite.rows] == [
        ('" He sat', "He sat"),
        ("He stood", '"He" stood "'),
    ]


def test_cells_of_cad_are_unquoted(tmp_path):
    name, content, *_ = CASES["cad nli"]
    assert read_suite(write(tmp_path, name, content)).rows[1].texts[1] == 'The sign says "stop".'
    # A quote without a closing quote is text.
    header = ["sentence1", "sentence2", "gold_label"]
    rows = [['"A boy', "A boy", "neutral"], ["A girl", "A girl", "entailment"]]
    suite = read_suite(write(tmp_path, "dev.tsv", as_table(header, *rows)))
    assert [row.texts[0] for row in suite.rows] == ['"A boy', "A girl"]


def test_line_separators_inside_json_texts_end_no_line(tmp_path):
    row = json.dumps(make_pair("A\u2028b.", "B.", "neutral", category="c"), ensure_ascii=False)
    assert read_suite(write(tmp_path, "d.jsonl", f"{row}\n\n{row}\n")).rows[1].texts == (
        "A\u2028b.",
        "B.",
    )


def test_other_files_are_no_suites(tmp_path):
    pairs = {**make_pair("A.", "B.", "neutral", category="c"), "original_idx": None}
    for name, content in {
        "pairs.jsonl": as_lines(pairs),
        "rows.jsonl": as_lines({"premise": "A.", "hypothesis": "B.", "label": 0}),
        "rows.csv": "premise,hypothesis,label\nA,B,0\n",
        "rows.parquet": b"PAR1\xff\xfe\x00",
        "list.json": "[1, 2]",
        "broken.json": '{"a": ',
    }.items():
        assert read_suite(write(tmp_path, name, content)) is None
    assert read_suite("absent", "pairs") is None


HEADER = "sentence1\tsentence2\tgold_label\n"
GOOD = json.dumps(make_pair("A.", "B.", "neutral", category="c"))
FAULTS = [
    ("d.jsonl", GOOD, "hanz", "unknown format 'hanz'; known: pairs, advglue"),
    ("Negation/d.tsv", f"{HEADER}A\tB\tneutral\n", None, "d.tsv may be cad or nli_stress; name it with"),
    ("hans.txt", "sentence1\tgold_label\nA\tB\n", "hans", "line 1 has no column 'sentence2'; it has: sent"),
    ("hans.txt", f"{HEADER}A\tB\tentailment\n", "hans", "line 2 has no 'heuristic'"),
    ("hans.txt", f"{HEADER}A\tB\n", "hans", "line 2 has no 'gold_label'"),
    ("hans.txt", f"{HEADER}A\tB\tneutral\tC\n", "hans", "line 2 has 4 cells, the header 3"),
    ("d.jsonl", f"{GOOD}\n" + '{"sentence1": "A."}\n', None, "line 2 has no 'gold_label'"),
    ("d.jsonl", f"{GOOD}\n\n" + '{"sentence1": \n', None, "line 3: not JSON: Expecting value"),
    ("d.jsonl", f"{GOOD}\n[]\n", None, "line 2 is not a JSON object"),
    ("d.jsonl", GOOD.replace("neutral", "maybe"), None, "line 1: label 'maybe' is not one of entailment"),
    ("dev.json", '{\n "rte": [,]}', "advglue", "dev.json: not JSON: .*line 2 column 10"),
    ("dev.json", '{"rte": []}', "advglue:sst2", "no rows of task 'sst2'; it holds: rte"),
    ("dev.json", '{"rte": []}', "advglue:sst", "advglue has no task 'sst'; it has: sst2"),
    ("dev.json", '{"rte": []}', None, "dev.json has no rows"),
    ("dev.json", '{"x": []}', "advglue", "holds 0 tasks of advglue"),
    ("dev.json", '{"rte": [1]}', None, "row 0 of 'rte' is not a JSON object"),
    ("dev.json", '{"rte": [{"label": 0}]}', None, "row 0 of 'rte' has no 'sentence1'"),
    ("dev.json", '{"sst2": [{"sentence": "A.", "label": 2}]}', None, "label 2 is not one of 0, 1"),
    ("empty.jsonl", "", None, "empty.jsonl is empty"),
    ("empty.txt", "\ufeff\r\n", "hans", "empty.txt is empty"),
    ("d.tsv", HEADER, None, "d.tsv has no rows"),
    ("d.tsv", b"sentence1\xff", "cad", "d.tsv is not UTF-8 text"),
    ("d.jsonl.gz", b"\x1f\x8bno", "monli", "cannot read"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "wanted", "message"), FAULTS)
def test_faults_are_one_line(name, content, wanted, message, tmp_path):
    with pytest.raises(HfBatError, match=message) as caught:
        read_suite(write(tmp_path, name, content), wanted)
    assert "\n" not in str(caught.value)


def test_missing_file():
    with pytest.raises(HfBatError, match="data file not found: absent.tsv"):
        read_suite("absent.tsv")


# ---- figures --------------------------------------------------------------------------------------


def make_suite(rows, labels=TWO_WAY, name="hans", folded=None):
    made = tuple(SuiteRow((f"A {i}.", "B."), *row) for i, row in enumerate(rows))
    return SuiteRows(name, Path("suite.txt"), labels, made, folded or {})


def test_worked_numbers():
    suite = make_suite(
        [
            ("entailment", "x"), ("non-entailment", "x"), ("non-entailment", "x"),
            ("entailment", "y"), ("non-entailment", "y"), (None, "y"),
        ]
    )  # fmt: skip
    report = evaluate_suite(suite, lambda inputs: [0, 1, 2, 1, 0], NLI)
    assert report.accuracy == Share(3, 5)
    assert report.categories == {"x": Share(3, 3), "y": Share(0, 2)}
    assert report.labels["x"] == {"entailment": Share(1, 1), "non-entailment": Share(2, 2)}
    assert report.skipped == {"no label": 1}
    assert report.describe_folding() == "labels: neutral and contradiction count as non-entailment"
    assert [row["prediction"] for row in report.row_results][:3] == [
        "entailment", "non-entailment", "non-entailment",
    ]  # fmt: skip
    assert report.to_metrics() == {"accuracy": 0.6, "accuracy_x": 1.0, "accuracy_y": 0.0}
    content = report.to_dict()
    assert json.loads(json.dumps(content)) == content
    assert (content["rows"], content["scored"], content["format"]) == (6, 5, "hans")
    assert content["categories"]["y"]["labels"]["entailment"]["of"] == 1
    assert set(content["accuracy"]) == {"count", "of", "rate", "interval"}
    table = report.to_markdown().splitlines()
    assert table[0].startswith("| hans | correct |")
    assert table[0].endswith("| % entailment | % non-entailment |")
    assert table[2].startswith("| all | 3 | 5 | 60.0 | 23.1 to 88.2 | 50.0 | 66.7 |")
    assert len({line.count("|") for line in table}) == 1


def test_a_category_without_a_label_has_no_rate_for_it():
    suite = make_suite([("non-entailment", "x"), ("entailment", "y")])
    report = evaluate_suite(suite, lambda inputs: [1, 1], NLI)
    assert list(report.labels["x"].items()) == [
        ("entailment", Share(0, 0)),
        ("non-entailment", Share(1, 1)),
    ]
    assert report.to_markdown().splitlines()[3].endswith("| - | 100.0 |")
    assert report.to_dict()["categories"]["x"]["labels"]["entailment"]["rate"] is None


def test_empty_texts_are_counted_and_nothing_to_score_is_an_error():
    rows = (SuiteRow((" ", "B."), "entailment", "x"), SuiteRow(("A.", "B."), None, "x"))
    suite = SuiteRows("hans", Path("suite.txt"), TWO_WAY, rows, {})
    with pytest.raises(HfBatError, match="no row to score .*of 2: .*'empty text': 1"):
        evaluate_suite(suite, lambda inputs: [], NLI)


class Config:
    """The parts of a model's configuration that are used."""

    problem_type = None

    def __init__(self, *names):
        self.id2label, self.num_labels = dict(enumerate(names)), len(names)


def test_outputs_are_named_by_the_model_the_caller_or_the_suite():
    suite = make_suite([("entailment", "x"), ("non-entailment", "x")])
    assert suite.name_outputs(None) == NLI
    assert suite.name_outputs(Config("CONTRADICTION", "ENTAILMENT")) == (
        "CONTRADICTION",
        "ENTAILMENT",
    )
    assert suite.name_outputs(Config("LABEL_0", "LABEL_1", "LABEL_2")) == NLI
    assert suite.name_outputs(Config("LABEL_0", "LABEL_1")) == ("entailment", "non-entailment")
    assert suite.name_outputs(Config("0", "1"), ("neutral", "entailment")) == (
        "neutral",
        "entailment",
    )
    with pytest.raises(HfBatError, match="4 outputs, not 3"):
        suite.name_outputs(Config(*(f"LABEL_{i}" for i in range(4))))
    with pytest.raises(
        HfBatError, match=r"label 'entailment' of hans is not one of the model's \(a, b\)"
    ):
        suite.name_outputs(Config("a", "b"))


@pytest.mark.parametrize(
    "names", [("not_duplicate", "duplicate"), ("equivalent", "not_equivalent")]
)
def test_a_paraphrase_model_may_use_its_own_words(names, tmp_path):
    suite = read_suite(write(tmp_path, "dev.tsv", CASES["paws"][1]))
    outputs = suite.name_outputs(Config(*names))
    right = [names.index(name) for name in sorted(names, key=lambda name: "not" not in name)]
    report = evaluate_suite(suite, lambda inputs: right, outputs)
    assert report.accuracy == Share(2, 2)
    assert "counts as paraphrase" in report.describe_folding()


def test_a_function_is_scored(tmp_path):
    name, content, *_ = CASES["hans"]
    suite = read_suite(write(tmp_path, name, content))
    report = score_suite(lambda pairs: [[0.0, 0.0, 1.0] for _ in pairs], suite)
    assert isinstance(report, SuiteReport)
    assert report.categories == {"lexical_overlap": Share(1, 1), "subsequence": Share(0, 1)}
    with pytest.raises(HfBatError, match="4 probabilities"):
        score_suite(lambda pairs: [[0.0, 0.0, 0.0, 1.0] for _ in pairs], suite)


# ---- command and Trainer ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """Return the folder of a tiny classifier with NLI labels in an unusual order."""
    folder = tmp_path_factory.mktemp("model")
    model = tiny_model("bert")
    names = ("contradiction", "entailment", "neutral")
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    model.save_pretrained(folder)
    tokenizer_for_made_rows().save_pretrained(folder)
    return folder


def run_command(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([*map(str, words), "--device", "cpu"]))


def test_command_prints_writes_and_shows_a_suite(model_folder, tmp_path, capsys):
    name, content, *_ = CASES["monli"]
    data = write(tmp_path / "data", name, content + as_lines(make_pair("A.", "B.", "-", depth=1)))
    out = tmp_path / "out"
    out.mkdir()
    files = "--json", out / "monli.json", "--rows", out / "monli.rows.jsonl"
    assert run_command("--model", model_folder, "--data", data, *files) == 0
    shown = capsys.readouterr().out
    assert "labels: neutral and contradiction count as non-entailment" in shown
    assert "1 of 5 rows not scored (no label: 1)" in shown
    report = json.loads((out / "monli.json").read_text())
    assert report["suite"]["format"] == "monli"
    assert "contrast" not in report and "task" not in report
    assert list(report["suite"]["categories"]) == ["nmonli", "pmonli"]
    rows = [json.loads(line) for line in (out / "monli.rows.jsonl").read_text().splitlines()]
    assert sum(row["correct"] for row in rows) == report["suite"]["accuracy"]["count"]
    assert report["rows_file"] == "monli.rows.jsonl"
    write_report(out, out / "page.html")
    page = (out / "page.html").read_text("utf-8")
    assert "Contrast suite monli" in page and "neutral counts as non-entailment" in page


def test_command_refuses_columns_and_labels_that_do_not_fit(model_folder, tmp_path):
    data = write(tmp_path, "dev.tsv", CASES["paws"][1])
    with pytest.raises(
        HfBatError, match="--columns is for rows of your own task; paws has its own"
    ):
        run_command("--model", model_folder, "--data", data, "--columns", "a", "b")
    with pytest.raises(
        HfBatError, match="label 'not_paraphrase' of paws is not one of the model's"
    ):
        run_command("--model", model_folder, "--data", data)
    with pytest.raises(HfBatError, match="the contrast set has no column"):
        run_command("--model", model_folder, "--data", data, "--format", "pairs")


def test_command_names_unnamed_outputs(tmp_path, capsys):
    tiny_model("bert").save_pretrained(tmp_path / "model")
    tokenizer_for_made_rows().save_pretrained(tmp_path / "model")
    data = write(tmp_path, *CASES["hans"][:2])
    assert run_command("--model", tmp_path / "model", "--data", data) == 0
    assert "0 entailment, 1 neutral, 2 contradiction" in capsys.readouterr().err
    names = ("--label-names", "contradiction", "neutral", "entailment")
    assert run_command("--model", tmp_path / "model", "--data", data, *names) == 0
    assert "has no label names" not in capsys.readouterr().err


def evaluate_with(folder, **options):
    trainer = make_trainer(
        folder, made_rows(8), method="normal", trainer_options={"eval_dataset": made_rows(8, seed=1)},
        **options,
    )  # fmt: skip
    return trainer, trainer.evaluate()


def test_evaluate_reports_a_suite(tmp_path):
    data = write(tmp_path, *CASES["hans"][:2])
    trainer, metrics = evaluate_with(tmp_path / "out", contrast_file=str(data))
    rates = {name: value for name, value in metrics.items() if "contrast" in name}
    assert set(rates) == {
        "eval_contrast_accuracy",
        "eval_contrast_accuracy_lexical_overlap",
        "eval_contrast_accuracy_subsequence",
    }
    expected = score_suite(trainer.model, read_suite(data), trainer.processing_class)
    assert rates["eval_contrast_accuracy"] == expected.accuracy.rate
    assert not any("contrast" in name for name in trainer.predict(made_rows(4)).metrics)
    results = trainer.evaluations[-1].to_results()
    assert not any("contrast" in result.metric_type for result in results)
    named = trainer.evaluate({"one": made_rows(4), "two": made_rows(4, seed=2)})
    assert named["eval_one_contrast_accuracy"] == named["eval_two_contrast_accuracy"]


def test_evaluate_reports_rows_that_people_edited(tmp_path):
    rows = [
        {**row, "original_idx": None if row["idx"] < 4 else row["idx"] % 4}
        for row in made_rows(12, 2)
    ]
    data = write(tmp_path, "contrast.jsonl", as_lines(*rows))
    _, metrics = evaluate_with(tmp_path / "out", contrast_file=str(data), contrast_format="pairs")
    names = {name.removeprefix("eval_contrast_") for name in metrics if "contrast" in name}
    assert {"accuracy", "accuracy_originals", "accuracy_edits", "consistency"} <= names
    whole = 12 * metrics["eval_contrast_accuracy"]
    parts = (
        4 * metrics["eval_contrast_accuracy_originals"]
        + 8 * metrics["eval_contrast_accuracy_edits"]
    )
    assert whole == pytest.approx(parts)


def test_a_contrast_file_is_checked_before_training(tmp_path):
    plain = write(tmp_path, "rows.jsonl", as_lines(*made_rows(4)))
    paws = write(tmp_path, "dev.tsv", CASES["paws"][1])
    with pytest.raises(HfBatError, match="no known suite and has no column 'original_idx'"):
        evaluate_with(tmp_path / "out", contrast_file=str(plain))
    with pytest.raises(HfBatError, match="label 'not_paraphrase' of paws"):
        evaluate_with(tmp_path / "out", contrast_file=str(paws))


def test_arguments_of_a_contrast_file():
    def make_arguments(**options):
        return BalancedTrainingArguments("out", report_to="none", **options)

    with pytest.raises(HfBatError, match="contrast_format has no effect"):
        make_arguments(contrast_format="hans")
    with pytest.raises(HfBatError, match="needs contrast_file"):
        make_arguments(metric_for_best_model="contrast_accuracy")
    with pytest.raises(HfBatError, match="attack_every='eval'"):
        make_arguments(
            metric_for_best_model="eval_contrast_accuracy", contrast_file="x", attack_every="end"
        )
    best = {name: make_arguments(metric_for_best_model=name, contrast_file="x").greater_is_better
            for name in ("eval_contrast_accuracy", "contrast_fickle_errors")}  # fmt: skip
    assert best == {"eval_contrast_accuracy": True, "contrast_fickle_errors": False}
