"""Substitution tables: content, files, the authors' pickles, and malicious pickles."""

import gzip
import json
import os
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_bat.errors import HfBatError
from hf_bat.lexicon import SubstitutionTable
from hf_bat.lexicon.table import FORMAT, VERSION

WORDS = st.text(min_size=1, max_size=6)
MAPPINGS = st.dictionaries(WORDS, st.lists(WORDS, max_size=5), max_size=12)


def test_content():
    table = SubstitutionTable({"big": ["large", "big", "huge", "large"], "a": [], "b": ["b"]})
    assert dict(table) == {"big": ("large", "huge")}
    assert "a" not in table and "b" not in table and table.get("a", ()) == ()
    with pytest.raises(KeyError):
        table["a"]


@given(MAPPINGS)
def test_file_round_trip(tmp_path_factory, mapping):
    table = SubstitutionTable(mapping, {"kind": "synonyms", "options": {"k": 1}})
    folder = tmp_path_factory.mktemp("tables")
    for name in ("t.json", "t.json.gz"):
        table.save(folder / name)
        loaded = SubstitutionTable.load(folder / name)
        assert loaded == table
        assert loaded.metadata == table.metadata
        assert loaded.fingerprint == table.fingerprint
        first = (folder / name).read_bytes()
        loaded.save(folder / name)
        assert (folder / name).read_bytes() == first
    assert sorted(os.listdir(folder)) == ["t.json", "t.json.gz"]  # no temporary file is left


@given(MAPPINGS, st.randoms())
def test_fingerprint_depends_on_the_content_only(mapping, random):
    items = list(mapping.items())
    random.shuffle(items)
    same = SubstitutionTable(dict(items), {"built": "otherwise"})
    assert same.fingerprint == SubstitutionTable(mapping).fingerprint


def test_different_contents_have_different_fingerprints():
    tables = [
        {"a": ["b", "c"]}, {"a": ["c", "b"]}, {"a": ["b"]}, {"b": ["a"]}, {"a": ["bc"]}, {}
    ]  # fmt: skip
    assert len({SubstitutionTable(table).fingerprint for table in tables}) == len(tables)


@given(MAPPINGS, st.sets(WORDS, max_size=4))
def test_without(mapping, dropped):
    table = SubstitutionTable(mapping)
    left = table.without(dropped)
    assert dict(left) == {
        word: kept
        for word, others in table.items()
        if word not in dropped and (kept := tuple(o for o in others if o not in dropped))
    }


def test_minus_drops_antonyms_listed_by_either_word():
    synonyms = SubstitutionTable({"import": ["importing", "export"], "hot": ["cold", "warm"]})
    antonyms = SubstitutionTable({"export": ["import"], "hot": ["cold"]})
    clean = synonyms.minus(antonyms)
    assert dict(clean) == {"import": ("importing",), "hot": ("warm",)}
    assert clean.metadata["minus"] == antonyms.fingerprint


def _write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"format": FORMAT, "version": VERSION + 1, "new": []},
            f"version {VERSION + 1}.* {VERSION}",
        ),
        ({"format": FORMAT, "version": "1", "words": {}}, "version"),
        ({"format": FORMAT, "version": 1}, "words"),
        ({"format": "other", "version": 1, "words": {}}, "other"),
        ({"a": [1]}, "non-empty string"),
        ([], "JSON object"),
        (b'{"a": ["b"', "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "not JSON"),
        (b"[" * 100_000, "nested too deep"),
        (gzip.compress(b'{"a": ["b"]}', mtime=0)[:-9], "gzip"),
        (b"\x1f\x8bxx", "gzip"),
        (b"\x80\x04", "pickle"),
        (pickle.dumps([1]), "pickled dict"),
        (pickle.dumps({"a": ["b"]}), "set"),
        (pickle.dumps({"a": {"set": "b"}}), "set"),
        (pickle.dumps({"a": {"set": [1]}}), "non-empty string"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, content, message):
    path = _write(tmp_path / "table", content)
    with pytest.raises(HfBatError, match=message) as raised:
        SubstitutionTable.load(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_failed_save_leaves_nothing(tmp_path):
    with pytest.raises(HfBatError, match="cannot write"):
        SubstitutionTable({"a": ["b"]}).save(tmp_path / "no" / "table.json")
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(HfBatError, match="cannot write"):
        SubstitutionTable({"a": ["b"]}).save(tmp_path / "taken.json")
    assert os.listdir(tmp_path) == ["taken.json"]


def test_plain_json_and_pickle(tmp_path):
    plain = SubstitutionTable.load(
        _write(tmp_path / "plain.json", {"a": ["b", "a"], "format": ["x"]})
    )
    assert dict(plain) == {"a": ("b",), "format": ("x",)}
    assert "plain" in plain.metadata["built"]
    content = {"a": {"set": ["a", "c", "b"], "isdivide": 0}, "d": {"set": ["d"], "isdivide": 1}}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        table = SubstitutionTable.load(_write(tmp_path / "t.pkl", pickle.dumps(content, protocol)))
        assert dict(table) == {"a": ("c", "b")}


class _Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class _Persistent(pickle.Pickler):
    def persistent_id(self, obj):
        return "outside" if isinstance(obj, bytes) else None


def _malicious(marker):
    command = f"touch {marker}".encode()
    yield from (pickle.dumps(_Harmful(marker), protocol) for protocol in range(6))
    yield pickle.dumps({"a": {"set": [_Harmful(marker)]}})
    yield b"cos\nsystem\n(S'" + command + b"'\ntR."  # GLOBAL, REDUCE
    yield b"(S'" + command + b"'\nios\nsystem\n."  # INST
    yield b"(cos\nsystem\nS'" + command + b"'\no."  # OBJ
    name = b"\x8c\x05posix\x8c\x06system\x93"  # STACK_GLOBAL
    yield b"\x80\x04" + name + b"\x8c" + bytes([len(command)]) + command + b"\x85R."
    yield b"\x80\x04cbuiltins\neval\n(S'1'\ntR."
    yield b"\x80\x02\x82\x01."  # EXT1, an extension registry's entry
    yield b"\x80\x02ccollections\nOrderedDict\n)\x81."  # NEWOBJ


def test_malicious_pickles_run_nothing(tmp_path):
    marker = tmp_path / "harmed"
    for number, data in enumerate(_malicious(marker)):
        path = _write(tmp_path / f"{number}.pkl", data)
        with pytest.raises(HfBatError, match="pickle") as raised:
            SubstitutionTable.load(path)
        assert "\n" not in str(raised.value)
        assert not marker.exists(), data


def test_malicious_pickles_are_malicious(tmp_path):
    """The standard unpickler runs the first of them, so the test above can fail."""
    marker = tmp_path / "harmed"
    pickle.loads(next(_malicious(marker)))
    assert marker.exists()


def test_harmless_classes_and_persistent_ids_are_refused(tmp_path):
    for content in ({"a": {"set": {"b"}}}, {"a": {"set": [1 + 2j]}}, frozenset()):
        with pytest.raises(HfBatError):
            SubstitutionTable.load(_write(tmp_path / "t.pkl", pickle.dumps(content, 2)))
    with open(tmp_path / "p.pkl", "wb") as stream:
        _Persistent(stream).dump({"a": {"set": [b"x"]}})
    with pytest.raises(HfBatError, match="outside"):
        SubstitutionTable.load(tmp_path / "p.pkl")


@pytest.mark.parametrize(
    ("name", "words"), [("mnli", 10_258), ("qqp", 8_015), ("mrpc", 1_233), ("snli", 4_684)]
)
def test_released_synonyms(shared, tmp_path, name, words):
    path = shared / "lexicons" / f"{name}_perturbation_constraint_pca0.8_100.pkl"
    table = SubstitutionTable.load(path)
    assert len(table) == words
    assert all(word not in others for word, others in table.items())
    raw = pickle.loads(path.read_bytes())  # safe, because the table was loaded above
    assert all(list(table[word]) == [o for o in raw[word]["set"] if o != word] for word in raw)
    table.save(tmp_path / "table.json.gz")
    assert SubstitutionTable.load(tmp_path / "table.json.gz") == table


def test_loading_10_000_words_is_fast(tmp_path):
    table = SubstitutionTable({f"w{i}": [f"w{i + j}" for j in range(1, 6)] for i in range(10_000)})
    table.save(tmp_path / "t.json")
    seconds = []
    for _ in range(5):
        start = time.process_time()
        SubstitutionTable.load(tmp_path / "t.json")
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.15  # on an idle machine the benchmark needs 0.05
