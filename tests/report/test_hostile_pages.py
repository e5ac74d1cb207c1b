"""Pages of untrusted files: no value becomes HTML, and a browser remains on the page."""

import copy
import json
import random
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from attack_report_rows import attack_row
from html_page import CHROMIUM, Page

from hf_bat.attack.report import AttackReport, summarize
from hf_bat.attack.result import AttackResult
from hf_bat.errors import HfBatError
from hf_bat.report.files import DAMAGE, RESULT_TESTS
from hf_bat.report.page import render_attack_page, write_report
from hf_bat.text import escape_controls

EVIL = "<meta http-equiv=refresh content='0;url={url}'><script>{script}</script>\"'><q>&amp;"
TEXT = EVIL.format(url="http://127.0.0.1/", script="go()")

SHARE = {"count": 3, "of": 4, "rate": 0.75, "interval": [0.3, 0.95]}
DEFENSE = {"name": "canonicalize", "fingerprint": "0a1b2c"}
RUN = {
    "key": "01",
    "arguments": {"method": "safer", "seed": 1, "attacks": ["antonym"], "max_attack_samples": 9},
    "metrics": {"eval_accuracy": 0.5, "eval_antonym_asr": 0.5},
    "epochs": [{"epoch": e, "eval_accuracy": e / 4, "eval_f1": 0.5} for e in (1, 2)],
    "rows": {"train": 8, "validation": 4},
    "tables": {"synonyms": "0123"},
    "environment": {"device": "cpu"},
    "representations": {"separation": 0.5},
    "preprocessing_defence": DEFENSE,
    "steps": 2,
}
SUMMARY = summarize(
    [AttackResult.from_dict(attack_row(i, ("failed", "succeeded")[i % 2])) for i in range(6)],
    "obstinate",
    {"name": "paper-antonym", "hash": "abc", "constraints": [{"name": "stopwords"}]},
)
# Kind of result, as in `RESULT_TESTS` -> an example file.
FILES = {
    "metrics": {"eval_accuracy": 0.75, "eval_antonym_asr": 0.5, "train_loss": 1.5, "epoch": 2.0},
    "histories": {
        "global_step": 4,
        "log_history": [
            {"step": s, "loss": 1 / s, "loss_ce": 1.0, "eval_accuracy": s / 8, "fickle_valid": 0.5}
            for s in (1, 2, 3, 4)
        ],
    },
    "attacks": {
        "model": "m",
        "task": "snli",
        "attacks": {"antonym": {**SUMMARY, "table": {"name": "t", "fingerprint": "f"}}},
        "preprocessing_defence": DEFENSE,
        "smoothed": {"samples": 3},
    },
    "contrasts": {"model": "m", "contrast": {"rows": 5, "consistency": SHARE}},
    "suites": {
        "model": "m",
        "data": "d",
        "suite": {
            "format": "hans",
            "accuracy": SHARE,
            "categories": {"lexical_overlap": SHARE},
            "folded": {"neutral": "non-entailment"},
        },
    },
    "comparisons": {
        "a": "A.json",
        "b": "B.json",
        "comparisons": [
            {"attack": "antonym", "definition": "strict", "asr_a": 0.5, "asr_b": 0.25,
             "difference": -0.25, "interval": [-0.4, -0.1], "p_value": 0.01}
        ],
        "rates": [
            {"source": "antonym", "figure": "keep rate", "rate_a": 0.9, "rate_b": 0.8,
             "difference": -0.1, "interval": [-0.12, -0.08]}
        ],
        "preprocessing_defences": {"b": DEFENSE},
    },
    "certificates": {
        "model": "m",
        "certificate": {
            "certifies": "the classifier",
            "adversaries": {
                "unlimited": {"certified": 3, "not certified": 1, "abstained": 0, "accuracy": SHARE}
            },
        },
    },
    "sweeps": {
        "varied": ["method"],
        "interval": "t",
        "groups": [
            {"name": "method=safer", "runs": ["a"], "preprocessing_defence": DEFENSE,
             "metrics": {"eval_accuracy": {"mean": 0.6, "t_interval_95": [0.5, 0.7]}}}
        ],
    },
    "runs": RUN,
    "reproductions": {
        "title": "Table 1",
        "paper_claims": "x",
        "scale": "small",
        "settings": [
            {"task": "snli", "paper_model": "BERT", "method": "normal", "options": {"alpha": 0.5},
             "ours": {"eval_accuracy": [0.5, 0.6]}, "paper_percent": {"eval_accuracy": [89.0, 0.1]},
             "runs": [RUN]}
        ],
    },
    "perturbations": {
        "method": "triplet",
        "fickle": {"perturbation": "synonym", "table": "abc"},
        "preprocessing_defence": DEFENSE,
    },
}  # fmt: skip
ROWS = [attack_row(i, "succeeded") for i in range(3)]


def list_places(value, place=()):
    """Yield the path of every value in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in items:
        yield (*place, key)
        if isinstance(part, (dict, list)):
            yield from list_places(part, (*place, key))


def spoil(content, place, kind, text):
    """Return a copy with the text inserted at a path, in one of several forms or as a key."""
    spoiled = copy.deepcopy(content)
    parent = spoiled
    for key in place[:-1]:
        parent = parent[key]
    forms = {"text": text, "list": [text, text], "dict": {text: text}, "number": 10**400}
    if kind != "key":
        parent[place[-1]] = forms[kind]
    elif isinstance(parent, dict):
        parent[text] = parent.pop(place[-1])
    return spoiled


def check_page(source):
    page = Page(source)
    assert not {"script", "q", "form", "base", "link", "a", "iframe"} & set(page.tags)
    # Character set, policy, viewport.
    assert page.tags.count("meta") == 3 and "refresh" not in dict(page.attributes).values()


def write_and_check(folder):
    """Write the page of a folder if anything can be shown, and check it."""
    try:
        write_report(folder, folder / "page.html")
    except HfBatError as error:
        assert "\n" not in str(error)
        return False
    check_page((folder / "page.html").read_text(encoding="utf-8"))
    (folder / "page.html").unlink()
    return True


def test_every_kind_of_file_is_here():
    assert FILES.keys() == RESULT_TESTS.keys()
    for kind, content in FILES.items():
        assert RESULT_TESTS[kind](content), kind


def write_files(folder, files, rows=ROWS):
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "attacks.rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def spoil_everywhere(content, text):
    """Return the content with the text appended to every string and every free key."""
    if isinstance(content, dict):
        return {key: spoil_everywhere(value, text) for key, value in content.items()}
    if isinstance(content, list):
        return [spoil_everywhere(value, text) for value in content]
    return content + text if isinstance(content, str) else content


def list_cases(seed=0):
    """Return (file, path, form) for every path in every file, in random order."""
    cases = [
        (name, place, kind)
        for name, content in {**FILES, "rows": ROWS[0]}.items()
        for place in list_places(content)
        for kind in ("text", "list", "dict", "number", "key")
    ]
    random.Random(seed).shuffle(cases)
    return cases


def run_cases(folder, cases):
    shown = 0
    for name, place, kind in cases:
        for old in folder.glob("*.json*"):
            old.unlink()
        if name == "rows":
            rows = [spoil(ROWS[0], place, kind, TEXT)]
            write_files(folder, {"attacks": FILES["attacks"]}, rows)
        else:
            write_files(folder, {name: spoil(FILES[name], place, kind, TEXT)}, [])
        shown += write_and_check(folder)
    return shown


def test_value_at_some_places_is_text(tmp_path):
    cases = list_cases()[:60]
    assert run_cases(tmp_path, cases) > 30


@pytest.mark.slow
def test_value_at_every_place_is_text(tmp_path):
    cases = list_cases()
    assert len(cases) > 1500
    assert run_cases(tmp_path, cases) > 1000


def test_all_values_at_once_are_text(tmp_path):
    files = {name: spoil_everywhere(content, TEXT) for name, content in FILES.items()}
    write_files(tmp_path, files, [spoil_everywhere(row, TEXT) for row in ROWS])
    write_report(tmp_path, tmp_path / "page.html")
    source = (tmp_path / "page.html").read_text(encoding="utf-8")
    check_page(source)
    assert Page(source).text.count("go()") > 20


def test_values_of_an_attack_page_are_text():
    report = FILES["attacks"]
    for place in list_places(report["attacks"]):
        for kind in ("text", "key"):
            attacks = spoil(report["attacks"], place, kind, TEXT)
            texts = {"original": [TEXT, ""], "perturbed": ["", TEXT], "label_name": TEXT}
            rows = {"antonym": [AttackResult.from_dict(ROWS[0] | texts)]}
            try:
                check_page(render_attack_page(AttackReport(attacks, rows, {"model": TEXT})))
            except DAMAGE:
                continue  # these figures always come from `summarize`, not from a file


def test_values_do_not_reverse_the_text_of_a_page(tmp_path):
    text = "abc\u202edef\u2066 \x1b[2J"
    rows = [row | {"perturbed": [text, ""], "original": ["", text]} for row in ROWS]
    results = {"antonym": [AttackResult.from_dict(row) for row in rows]}
    report = AttackReport(FILES["attacks"]["attacks"], results, {"model": text})
    write_files(tmp_path, {"attacks": FILES["attacks"] | {"model": text}}, rows)
    write_report(tmp_path, tmp_path / "page.html")
    for page in (render_attack_page(report), (tmp_path / "page.html").read_text(encoding="utf-8")):
        assert escape_controls(page) == page
        assert r"abc\u202edef" in page


class _Recorder(BaseHTTPRequestHandler):
    """A server that a malicious page would contact."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"left the page")

    def log_message(self, *_):
        pass


@pytest.mark.xdist_group("processes")
def test_browser_runs_nothing_of_a_foreign_report_and_stays(tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on PATH")
    server = HTTPServer(("127.0.0.1", 0), _Recorder)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    text = (
        EVIL.format(url=url, script="document.title='ran'") + f"<img src={url}i><base href={url}>"
    )
    out = tmp_path / "out"
    out.mkdir()
    files = {name: spoil_everywhere(content, text) for name, content in FILES.items()}
    write_files(out, files, [spoil_everywhere(row, text) for row in ROWS])
    write_report(out, out / "page.html")
    plain = tmp_path / "plain.html"  # the test can fail: a browser leaves this page
    plain.write_text(text)

    def dump(page):
        words = [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000"]
        command = [browser, *CHROMIUM, *words, "--dump-dom", page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout

    try:
        dom = dump(out / "page.html")
        assert "<h1>Report: out</h1>" in dom and "left the page" not in dom
        assert "<title>ran</title>" not in dom and server.asked == []
        dump(plain)
        assert server.asked
    finally:
        server.shutdown()
        server.server_close()


def test_policy_of_a_page_forbids_forms_and_another_base(tmp_path):
    write_files(tmp_path, {"metrics": FILES["metrics"]}, [])
    write_report(tmp_path, tmp_path / "page.html")
    values = [value for name, value in Page((tmp_path / "page.html").read_text()).attributes]
    [policy] = [value for value in values if "default-src" in value]
    assert {"form-action 'none'", "base-uri 'none'"} <= set(policy.split("; "))
