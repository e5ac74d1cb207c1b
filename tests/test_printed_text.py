"""Untrusted texts, labels and names are escaped in terminals, Markdown and spreadsheets."""

import csv
import io
import json
import logging
import sys

import pytest
from attack_report_rows import attack_row
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from terminal import Terminal
from tiny_models import tiny_model, tiny_tokenizer
from training_helpers import made_rows, make_trainer

from hf_bat import BalancedTrainingArguments, SubstitutionTable
from hf_bat.attack.report import AttackReport
from hf_bat.attack.result import AttackResult
from hf_bat.cli import main
from hf_bat.console import apply_style, escape_output, strip_log_escapes
from hf_bat.errors import HfBatError
from hf_bat.finetune import evaluate
from hf_bat.loading import load
from hf_bat.text import escape_controls, escape_markdown, format_code

CLEAR = "\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp\x08"


def is_plain(text):
    return escape_controls(text) == text


# ---- the terminal --------------------------------------------------------------------------------


@given(st.text())
def test_escaped_text_is_printable_and_others_stay(text):
    escaped = escape_controls(text)
    assert is_plain(escaped) and escaped.encode("utf-8") is not None
    if text.isprintable():
        assert escaped == text


@pytest.mark.parametrize("quiet", [True, False])
def test_commands_print_controls_of_rows_as_escapes(tmp_path, capsys, quiet):
    rows = [{"text": f"A big {CLEAR} dog.", "label": 0}, {"text": "A hot day.", "label": 1}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["perturb", "--columns", "text", "--data", str(tmp_path / "rows.jsonl"), "--n", "2"]
    assert main([*words, *["--quiet"] * quiet]) == 0
    out, error = capsys.readouterr()
    assert is_plain(out) and is_plain(error.replace("\r", ""))
    assert (r"\x1b[2J" in out) != quiet


def test_errors_and_file_names_are_escaped(tmp_path, capsys):
    assert main(["lexicon", "info", f"no{CLEAR}.json"]) == 2
    assert is_plain(capsys.readouterr().err)
    SubstitutionTable({"a": ["b"]}, {"built": CLEAR, CLEAR: 1}).save(tmp_path / "t.json")
    assert main(["lexicon", "info", str(tmp_path / "t.json")]) == 0
    out = capsys.readouterr().out
    assert is_plain(out) and r"\x07" in out
    (tmp_path / "eval_results.json").write_text('{"eval_accuracy": 0.5}')
    (tmp_path / f"{CLEAR}.txt").write_text("x")
    assert main(["report", str(tmp_path)]) == 0
    assert is_plain(capsys.readouterr().out)


def test_own_colors_and_bars_are_kept(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out, error = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", error)
    with escape_output():
        print(apply_style("worse", "bad", sys.stdout), "\x1b[35mdata\x1b[2J")
        print("\r\x1b[2K1/3 runs\x1b[A\x1b]0;x\x07", end="", file=sys.stderr)
        assert sys.stdout.isatty() and sys.stderr.isatty()
    assert out.getvalue() == "\x1b[31mworse\x1b[0m \\x1b[35mdata\\x1b[2J\n"
    assert error.getvalue() == "\r\x1b[2K1/3 runs\x1b[A\\x1b]0;x\\x07"


def test_log_lines_are_escaped(monkeypatch):
    monkeypatch.setattr(logging.root.manager, "loggerDict", logging.root.manager.loggerDict)
    monkeypatch.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("test_printed_text")
    logger.addHandler(handler)
    try:
        strip_log_escapes()
        logger.warning("label %s\x1b[1mbold\x1b[0m", CLEAR)
    finally:
        logger.removeHandler(handler)
    assert stream.getvalue().startswith("label \\x1b[2J") and is_plain(stream.getvalue())


# ---- Markdown ------------------------------------------------------------------------------------

HTML = "<img src=x onerror=go()>|`a` [b](http://e.x) *c*\n# d"


def test_markdown_of_others_is_text():
    assert escape_markdown(HTML) == (
        "&lt;img src=x onerror=go()&gt;\\|\\`a\\` \\[b\\](http://e.x) \\*c\\* # d"
    )
    assert format_code("`` a") == "``` `` a ```"
    assert escape_markdown("paper-antonym_2 (0123)") == "paper-antonym_2 (0123)"
    summary = {"table": {"name": HTML, "fingerprint": "f"}}
    report = AttackReport(
        {HTML: summary}, {}, {"preprocessing_defence": {"name": HTML, "fingerprint": "f"}}
    )
    table = report.to_markdown()
    assert "<img" not in table and "\n# d" not in table
    heads, _, line = [line for line in table.splitlines() if line.startswith("|")]
    assert heads.count("|") == line.replace("\\|", "").count("|")


def test_model_card_shows_names_of_others_as_text(tmp_path):
    names = {0: f"<script>{CLEAR}", 1: "a`b|c\n# d", 2: "fine"}
    trainer = make_trainer(tmp_path / "m", made_rows(8), max_steps=1)
    trainer.model.config.id2label = names
    trainer.model.config.label2id = {name: number for number, name in names.items()}
    trainer.create_model_card(finetuned_from="x")
    card = (tmp_path / "m" / "README.md").read_text("utf-8")
    assert is_plain(card) and "`<script>\\x1b[2J" in card and "`` a`b|c # d ``" in card
    assert "\n# d" not in card


# ---- spreadsheets --------------------------------------------------------------------------------


def test_formulas_of_texts_are_neutralized(tmp_path):
    formula = '=HYPERLINK("http://e.x","y")'
    texts = [formula, "+1", "-2+3", "@SUM(A1)", "\t=1", "plain"]
    row = attack_row(0, "failed") | {"original": texts, "label_name": "=1", "gold_before": -0.5}
    result = AttackResult.from_dict(row)
    AttackReport({}, {"antonym": [result]}).save_csv(tmp_path / "rows.csv")
    [read] = csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text(), newline=""))
    columns = [read[f"original_{i}"] for i in range(1, 7)]
    assert columns == [f"'{text}" for text in texts[:5]] + ["plain"]
    assert read["label_name"] == "'=1" and read["gold_before"] == "-0.5"


# ---- secrets, foreign models and counts ----------------------------------------------------------


def test_arguments_show_no_token(tmp_path):
    args = BalancedTrainingArguments(str(tmp_path), hub_token="hf_secret", method="triplet")
    for shown in (repr(args), str(args), str(args.to_dict()), args.to_json_string()):
        assert "hf_secret" not in shown
    assert "hub_token" in repr(args) and "margin" in repr(args)


@pytest.fixture
def saved_model(tmp_path):
    tiny_model("bert").save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "junk", "dtype"])
def test_damaged_weights_are_one_line(saved_model, damage):
    path = saved_model / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[: len(data) // 2],
            "empty": b"",
            "header": b"\xff" * 8 + data[8:],
            "junk": b"abc" * 100,
            "dtype": data.replace(b'"F32"', b'"F33"'),
        }[damage]
    )
    with pytest.raises(HfBatError, match="cannot load the model") as raised:
        load("AutoModelForSequenceClassification", str(saved_model), "model")
    assert "\n" not in str(raised.value)


def test_code_of_a_repository_is_not_run(saved_model, monkeypatch):
    (saved_model / "evil.py").write_text("open('ran', 'w')\n")
    config = json.loads((saved_model / "config.json").read_text())
    names = {"AutoConfig": "evil.C", "AutoModelForSequenceClassification": "evil.M"}
    changed = config | {"model_type": "evil", "auto_map": names}
    (saved_model / "config.json").write_text(json.dumps(changed))
    monkeypatch.chdir(saved_model)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    with pytest.raises(HfBatError, match="--trust_remote_code"):
        load("AutoModelForSequenceClassification", str(saved_model), "model")
    assert not (saved_model / "ran").exists()


def test_eval_samples_counts_the_rows_that_were_evaluated(tmp_path):
    rows = [*made_rows(10), {**made_rows(1)[0], "idx": 98, "label": -1}]
    rows.append({**made_rows(1)[0], "idx": 99, "premise": " "})
    trainer = make_trainer(tmp_path / "m", made_rows(8), max_steps=1)
    evaluate(trainer, {"validation": Dataset.from_list(rows)})
    results = json.loads((tmp_path / "m" / "eval_results.json").read_text())
    assert results["eval_samples"] == 10
