"""Files that somebody else wrote, damaged or hostile: one line says what is wrong, and memory is bounded."""

import copy
import gzip
import json
import pickle
import random
import struct
import tracemalloc

import pytest
from attack_report_rows import attack_row

from hf_bat.attack.result import AttackResult
from hf_bat.attack.rows import RowsFile, read_rows
from hf_bat.errors import HfBatError, describe_value
from hf_bat.evaluation.compare import compare_rows
from hf_bat.evaluation.reports import find_rows, read_both, read_report
from hf_bat.evaluation.suites import read_suite
from hf_bat.evaluation.summary import read_results
from hf_bat.files import (
    MAX_DEPTH,
    check_gzip,
    dump_json,
    parse_json,
    read_bytes,
    read_json_lines,
    write_json,
)
from hf_bat.lexicon.table import SubstitutionTable
from hf_bat.lexicon.vectors import read_vectors
from hf_bat.saved_perturbations import read_defense
from hf_bat.tasks import load_split


def nest(depth):
    return "[" * depth + "]" * depth


def measure_peak(call):
    """Return the peak of the memory that a call takes in Python's allocator, in MB."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


# ---- the loader ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (nest(MAX_DEPTH + 1), "nested too deep"),
        (nest(100_000), "nested too deep"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested too deep"),
        ('{"a": ' + "1" * 400 + "}", "number of 400 digits"),
        ("1" * 100_000, "number of 100,000 digits"),
        (b'{"a": "caf\xe9"}', "byte 0xe9 at position 10"),
        ('{"a": 1', "not JSON"),
        ("", "not JSON"),
        (b"\xff\xfe{\0}\0", "not UTF-8"),
    ],
)
def test_json_is_refused_in_one_line(content, message):
    with pytest.raises(HfBatError, match=message) as raised:
        parse_json(content)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 200


def test_json_up_to_the_bounds_is_read():
    assert parse_json(nest(MAX_DEPTH)) == json.loads(nest(MAX_DEPTH))
    assert parse_json("1" * 300) == int("1" * 300)
    long_text = "7" * 10_000  # digits in a text are not a number
    assert parse_json(json.dumps([long_text])) == [long_text]
    assert parse_json(b'\xef\xbb\xbf{"a": null}') == {"a": None}


def test_gzip_bomb_is_refused_with_little_memory(tmp_path):
    path = tmp_path / "bomb.json.gz"
    # 400 MB of zeros in 400 kB: members of a gzip file follow each other.
    path.write_bytes(gzip.compress(bytes(1 << 22), 9) * 100)
    assert path.stat().st_size < 500_000

    def read():
        with pytest.raises(HfBatError, match="too large"):
            read_bytes(path)
        with pytest.raises(HfBatError, match="100 times its size"):
            check_gzip(path)

    assert measure_peak(read) < 200
    for load in (SubstitutionTable.load, read_rows, read_report, read_suite):
        with pytest.raises(HfBatError, match="too large"):
            load(path)


def test_gzip_of_one_long_line_is_no_file_of_vectors(tmp_path):
    path = tmp_path / "vectors.txt.gz"
    path.write_bytes(gzip.compress(b"a" * (1 << 26)))

    def read():
        with pytest.raises(HfBatError, match="line 1: longer than 1,048,576 bytes"):
            read_vectors(path, ["a"])

    assert measure_peak(read) < 20


@pytest.mark.parametrize("header", [b"9" * 5000 + b" 3", b"2 " + b"9" * 5000])
def test_header_of_vectors_with_a_huge_number_is_refused(tmp_path, header):
    (tmp_path / "v.txt").write_bytes(header + b"\na 1 2 3\n")
    with pytest.raises(HfBatError):
        read_vectors(tmp_path / "v.txt", ["a"])


@pytest.mark.parametrize("cut", [1, 8, 30])
def test_broken_gzip_is_refused(tmp_path, cut):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(attack_row(0, "failed")).encode())[:-cut])
    for load in (read_rows, SubstitutionTable.load, read_suite, load_split):
        with pytest.raises(HfBatError, match="gzip"):
            load(path)


def test_our_json_has_no_nan_and_no_infinity(tmp_path):
    content = {"loss": float("nan"), "rates": [float("inf"), 0.5], "n": (1, -float("inf"))}
    write_json(tmp_path / "a.json", content)

    def refuse(constant):
        raise AssertionError(constant)

    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert read == {"loss": None, "rates": [None, 0.5], "n": [1, None]}
    result = AttackResult(idx=0, attack="a", outcome="failed", similarity=float("nan"))
    assert json.loads(dump_json(result.to_dict()), parse_constant=refuse)["similarity"] is None


def test_half_of_a_surrogate_pair_is_written_as_an_escape(tmp_path):
    write_json(tmp_path / "a.json", {"text": "a\ud800é"})
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"text": "a\ud800é"}


# ---- pickles -------------------------------------------------------------------------------------


def share_lists(depth):
    """Return a list whose `repr` has 2 ** depth parts, but which is small as a pickle."""
    value = ["a"]
    for _ in range(depth):
        value = [value, value]
    return value


SHARED = [f"s{i}" for i in range(3000)]
BOMBS = {
    "memo": b"\x80\x02}r\xff\xff\xff\x7f.",  # nine bytes, which reserve 32 GB
    "memo as text": b"\x80\x02}p2000000000\n.",
    "array": b"\x80\x05\x96" + struct.pack("<Q", 1 << 34) + b".",
    "repr": pickle.dumps({"a": share_lists(40)}, 4),
    "replacement": pickle.dumps({"a": {"set": [share_lists(40)]}}, 4),
    "word": pickle.dumps({("a",) * 3: {"set": ["b"]}, 10**5000: {"set": ["b"]}}),
    "one list for all words": pickle.dumps({f"w{i}": {"set": SHARED} for i in range(3000)}),
    "depth": b"\x80\x02}X\x01\0\0\0a" + b"]" * 50_000 + b"a" * 49_999 + b"s.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_pickle_bomb_is_refused_with_little_memory(tmp_path, name):
    path = tmp_path / "t.pkl"
    path.write_bytes(BOMBS[name])

    def load():
        with pytest.raises(HfBatError) as raised:
            SubstitutionTable.load(path)
        assert "\n" not in str(raised.value) and len(str(raised.value)) < 600

    assert measure_peak(load) < 20


def test_class_names_of_pickles_are_printed_escaped(tmp_path):
    path = tmp_path / "t.pkl"
    path.write_bytes(b"\x80\x02c\x1b[2Jos\nsys\x07tem\n.")
    with pytest.raises(HfBatError, match="asks for") as raised:
        SubstitutionTable.load(path)
    assert str(raised.value).isprintable()


def test_values_are_described_in_short():
    assert describe_value(share_lists(60)).count("a") < 100
    assert len(describe_value("x" * 10**6)) < 100
    assert describe_value(10**6000) == "a value of type int"


# ---- rows and reports ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"idx": [1]},
        {"idx": None},
        {"idx": {}},
        {"attack": ["antonym"]},
        {"outcome": ["succeeded"]},
        {"outcome": None},
        {"original": "text"},
        {"original": [1]},
        {"perturbed": 3},
        {"edits": ["a"]},
        {"edits": [{"original": 1, "replacement": "b"}]},
        {"tried": [["a"]]},
        {"tried": 3},
        {"tried": [[[], {}, 1, 1]]},
        {"label_name": ["x"]},
        {"queries": "many"},
        {"refused": {"a": "b"}},
        {"outcome_confident": {}},
    ],
)
def test_rows_of_other_types_are_refused_in_one_line(tmp_path, change):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(attack_row(0, "failed") | change) + "\n")
    with pytest.raises(HfBatError, match=next(iter(change))) as raised:
        read_rows(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("key", ["idx", "attack", "outcome"])
def test_rows_without_a_key_are_refused_in_one_line(key):
    row = attack_row(0, "failed")
    del row[key]
    with pytest.raises(HfBatError, match=key):
        AttackResult.from_dict(row)


@pytest.mark.parametrize("line", ["[1]", "null", '{"idx": [1], "attack": "a"}', '{"idx": 1}', "{"])
def test_rows_file_is_not_continued_after_a_foreign_line(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(HfBatError, match="line 1: not a row of an attack"):
        RowsFile(path, "a", {}).read_finished()


# ---- data files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        # These two ended the process.
        ("a.jsonl", b'null\n{"text": "a"}\n', "first line is not a JSON object"),
        ("a.json", b'[null, {"text": "a"}]', "other values than objects"),
        ("a.jsonl", b'{"text": "a"}\n' * 9 + b" null \n", "line 10 is null"),
        ("a.ndjson", b'{"text": "caf\xe9"}\n', r"line 1 is not UTF-8 text \(byte 0xe9\)"),
        ("a.csv", b"text,label\na,1\ncaf\xe9,0\n", r"line 3 is not UTF-8 text \(byte 0xe9\)"),
        ("a.tsv", "text\tlabel\na\t1\n".encode("utf-16-le"), "a.tsv"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "surrogate"),
        ("a.json", b"[1, 2]", "other values than objects"),
    ],
)
def test_data_files_are_refused_in_one_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(HfBatError, match=message) as raised:
        load_split(path, cache_dir=str(tmp_path / "cache"))
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_json_data_in_other_layouts_is_read(tmp_path):
    rows = [{"text": "a", "label": None}, {"text": "null", "label": 1}]
    for name, text in {
        "list.json": json.dumps(rows, indent=1),
        "bom.jsonl": "\ufeff" + "".join(json.dumps(row) + "\n" for row in rows),
        "blank.jsonl": "\n" + "\n\n".join(json.dumps(row) for row in rows),
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert load_split(tmp_path / name, cache_dir=str(tmp_path / "cache")).to_list() == rows


# ---- generated cases -----------------------------------------------------------------------------

VALUES = (
    None, True, 0, -1, 10**299, 1.5, float("nan"), "", "a", "\x1b[2J", "=1+1", "<script>", "\ud800",
    [], {}, [[]], [None], ["a"], [["a", "b", 1, 0]], {"a": 1}, {"name": "x"}, {"": []},
)  # fmt: skip
KEYS = (
    *attack_row(0, "failed"), "attacks", "contrast", "recipe", "format", "version", "words", "metadata",
    "eval_accuracy", "preprocessing_defence", "casing", "rows_file", "hash", "sentence1", "gold_label",
)  # fmt: skip


def make_value(rng, depth=3):
    kind = rng.random()
    if depth and kind < 0.25:
        return {rng.choice(KEYS): make_value(rng, depth - 1) for _ in range(rng.randrange(4))}
    if depth and kind < 0.4:
        return [make_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return copy.deepcopy(rng.choice(VALUES))


def make_document(rng, good):
    """Return JSON of a document with a few values replaced, and maybe with a few bytes of it."""
    document = json.loads(json.dumps(good))
    for _ in range(rng.randrange(3)):
        node = document
        while isinstance(node, (dict, list)) and node:
            key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
            if rng.random() < 0.4 or not isinstance(node[key], (dict, list)):
                node[key] = make_value(rng)
                break
            node = node[key]
    data = bytearray(json.dumps(document).encode())
    for _ in range(rng.choice((0, 0, 0, 1, 3))):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)
    cut = rng.random() < 0.1
    return bytes(data[: rng.randrange(len(data) + 1)] if cut else data)


TABLE = {"format": "hf_bat.substitution_table", "version": 1, "metadata": {}, "words": {"a": ["b"]}}
RECORD = {"method": "triplet", "preprocessing_defence": {"name": "c", "fingerprint": "f"}}
REPORT = {
    "model": "m",
    "attacks": {"antonym": {"asr": 0.5, "recipe": {"name": "r", "hash": "h"}}},
    "rows_file": "rows.jsonl",
}
SUITE = {"sentence1": "A.", "sentence2": "B.", "gold_label": "neutral", "category": "c"}


def compare(folder):
    paths = [folder / "case.json", folder / "good.json"]
    find_rows(paths[0], read_report(paths[0]))
    _, _, _, [ours, theirs] = read_both(paths, [folder / "rows.jsonl"] * 2)
    compare_rows(ours, theirs)


def load_saved(folder):
    (folder / "case.json").replace(folder / "perturbations.json")
    read_defense(folder)


# Name -> a file as it should be, and what reads `case.json` in a folder.
READERS = {
    "table": (TABLE, lambda folder: SubstitutionTable.load(folder / "case.json")),
    "plain table": ({"a": ["b", "c"]}, lambda folder: SubstitutionTable.load(folder / "case.json")),
    "rows": (attack_row(1, "succeeded"), lambda folder: read_rows(folder / "case.json")),
    "lines": (attack_row(1, "failed"), lambda folder: read_json_lines(folder / "case.json")),
    "report": (REPORT, compare),
    "results": ({"eval_accuracy": 0.5}, lambda folder: read_results(folder / "case.json")),
    "record": (RECORD, load_saved),
    "suite": (SUITE, lambda folder: read_suite(folder / "case.json")),
}


def run_generated(folder, count, seed):
    """Read generated documents; each is read, or refused in one line. Return how many were read."""
    rng = random.Random(seed)
    (folder / "good.json").write_text(json.dumps(REPORT))
    rows = [attack_row(i, ("failed", "succeeded")[i % 2]) for i in range(4)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = sorted(READERS)
    read = dict.fromkeys(names, 0)
    for number in range(count):
        name = names[number % len(names)]
        good, load = READERS[name]
        data = make_document(rng, good)
        (folder / "case.json").write_bytes(data)
        try:
            load(folder)
            read[name] += 1
        except HfBatError as error:
            assert "\n" not in str(error) and len(str(error)) < 2000, data
        except Exception as error:
            raise AssertionError((name, data)) from error
    return read


def run_generated_pickles(folder, count, seed):
    rng = random.Random(seed)
    good = pickle.dumps({"a": {"set": ["b", "c"]}, "b": {"set": ["a"]}}, 2)
    read = 0
    for _ in range(count):
        data = bytearray(good if rng.random() < 0.7 else pickle.dumps(make_value(rng), 4))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (folder / "t.pkl").write_bytes(data)
        try:
            SubstitutionTable.load(folder / "t.pkl")
            read += 1
        except HfBatError as error:
            assert "\n" not in str(error) and len(str(error)) < 2000, data
        except Exception as error:
            raise AssertionError(bytes(data)) from error
    return read


def test_some_generated_files_are_read_or_refused_in_one_line(tmp_path):
    read = run_generated(tmp_path, 400, seed=1)
    assert min(read.values()) > 2 and sum(read.values()) < 390
    assert 0 < run_generated_pickles(tmp_path, 200, seed=1) < 190


@pytest.mark.slow
def test_generated_files_are_read_or_refused_in_one_line(tmp_path):
    read = run_generated(tmp_path, 14_000, seed=2)
    assert min(read.values()) > 100 and sum(read.values()) < 13_000
    assert 100 < run_generated_pickles(tmp_path, 4_500, seed=2) < 4_400
