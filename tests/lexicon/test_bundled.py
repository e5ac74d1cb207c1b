"""The bundled synonym tables: how the default table is built, and the names that select a table."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from hf_bat import Attack, HfBatError
from hf_bat.attack import get_recipe
from hf_bat.canonicalize import Canonicalizer
from hf_bat.certificate.smoothing import Smoothing
from hf_bat.commands import lexicon as command
from hf_bat.files import read_bytes
from hf_bat.lexicon import default_antonyms, default_sisters, default_synonyms, wordnet_synonyms
from hf_bat.lexicon.bundled import COUNTERFITTED_SYNONYMS, as_synonyms
from hf_bat.perturbations import SynonymPerturbation, build_perturbations
from hf_bat.perturbations.validity import LabelValidity

ROOT = Path(__file__).parents[2]


def predict(pairs):
    return [[0.9, 0.1] for _ in pairs]


@pytest.fixture(scope="module")
def script():
    """Return the module of the script that writes the table."""
    path = ROOT / "scripts" / "build_counterfitted_table.py"
    if not path.is_file():
        pytest.skip("the scripts are not in an installed package")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_default_table_is_what_the_script_writes(shared, script, tmp_path):
    table = script.build((shared / "lexicons/counterfitted_neighbors.json").read_bytes())
    table.save(tmp_path / "table.json.gz")
    # Python versions compress with other bytes.
    made, shipped = map(read_bytes, (tmp_path / "table.json.gz", COUNTERFITTED_SYNONYMS))
    assert made == shipped


def test_the_script_keeps_plain_words_that_have_neighbors_other_than_antonyms(script):
    assert default_antonyms()["hot"] == ("cold",)
    data = b'{"hot": ["cold", "warm", "caf\\u00e9"], "cold": ["hot"], "it\'s": ["is"], "a b": ["c"], "x": []}'
    table = script.build(data)
    assert dict(table) == {"hot": ("warm",)}
    # "nobody" is not a synonym of "somebody".
    data = b'{"someone": ["nobody", "somebody"], "nobody": ["someone"]}'
    assert dict(script.build(data)) == {"someone": ("somebody",)}
    assert table.metadata["minus"] == default_antonyms().fingerprint
    assert "Robin Jia" in table.metadata["license"]


def test_default_synonyms():
    table = default_synonyms()
    words = {*table, *(other for others in table.values() for other in others)}
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert max(map(len, table.values())) == 8
    for others in (default_antonyms(), default_sisters()):
        assert dict(table) == dict(table.minus(others))


def test_simlex_rates_the_default_synonyms_high(shared):
    lines = (shared / "lexicons/SimLex-999.txt").read_text().splitlines()[1:]
    table = default_synonyms()
    rows = [line.split("\t") for line in lines]
    rated = [
        float(r[3]) for r in rows if r[1] in table.get(r[0], ()) or r[0] in table.get(r[1], ())
    ]
    # Rated from 0 to 10; antonyms are below 3.
    assert len(rated) >= 90 and sum(rated) / len(rated) > 7.9


def test_names_choose_a_bundled_table(tmp_path, monkeypatch):
    assert as_synonyms(None) is as_synonyms("counterfitted") is default_synonyms()
    assert as_synonyms("wordnet") is wordnet_synonyms()
    monkeypatch.chdir(tmp_path)
    wordnet_synonyms().without(["car"]).save("wordnet")
    assert as_synonyms("wordnet") is wordnet_synonyms()
    for path in ("./wordnet", Path("wordnet")):
        assert "car" not in as_synonyms(path) and "auto" in as_synonyms(path)


def test_a_name_serves_wherever_a_synonym_table_is_given():
    table = wordnet_synonyms()
    fickle, _ = build_perturbations("wordnet")
    used = [
        fickle.table,
        SynonymPerturbation("wordnet").table,
        get_recipe("synonym", synonyms="wordnet").perturbation.table,
        Smoothing("wordnet").perturbation.table,
        Canonicalizer("wordnet").table,
        command._load("wordnet"),
    ]
    assert {one.fingerprint for one in used} == {table.fingerprint}


def test_synonyms_are_no_antonyms():
    with pytest.raises(HfBatError, match="cannot read the table wordnet"):
        build_perturbations(antonyms="wordnet")


def test_filter_and_defense_use_wordnet_synonyms():
    fingerprint = wordnet_synonyms().fingerprint
    assert LabelValidity().describe()["synonyms"] == fingerprint
    assert Canonicalizer().table.fingerprint == fingerprint
    assert get_recipe("textfooler-wordnet").perturbation.table.fingerprint == fingerprint
    # The reason is that vector neighbors connect words of all meanings.
    assert Canonicalizer(default_synonyms()).describe()["largest"] > len(default_synonyms()) / 2


@pytest.mark.parametrize(
    ("synonyms", "name"),
    [
        (None, "counter-fitted neighbors (Jia et al. 2019)"),
        ("wordnet", "WordNet 3.0 (bundled)"),
        ({"dog": ["hound"]}, "own table"),
    ],
)
def test_a_report_names_its_table(synonyms, name):
    attack = Attack("synonym", predict, task="qqp", synonyms=synonyms)
    report = attack.run([{"question1": "A dog.", "question2": "A dog runs.", "label": 0}])
    table = report["synonym"]["table"]
    assert table == {"name": name, "fingerprint": as_synonyms(synonyms).fingerprint}
    assert f"- synonym: {name} ({table['fingerprint'][:12]})" in report.to_markdown()
    # A2T tries fewer replacements from the same table.
    assert get_recipe("a2t", synonyms=synonyms).perturbation.table.metadata == (
        attack.recipe.perturbation.table.metadata
    )


def test_a_built_package_has_the_tables_and_their_licenses(tmp_path):
    if not (ROOT / "setup.py").is_file():
        pytest.skip("setup.py is not in an installed package")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert {
        "COUNTERFITTED-LICENSE.txt",
        "counterfitted_synonyms.json.gz",
        "WORDNET-LICENSE.txt",
        "wordnet_synonyms.json.gz",
    } <= {path.name for path in (tmp_path / "hf_bat/lexicon/data").iterdir()}
    text = COUNTERFITTED_SYNONYMS.with_name("COUNTERFITTED-LICENSE.txt").read_text("utf-8")
    assert text.startswith("MIT License\n\nCopyright (c) 2019 Robin Jia\n")
