"""Addresses of tables on the Hub, and errors without a network. Other tests are in test_hub."""

import pytest

from hf_bat import SubstitutionTable
from hf_bat.cli import main
from hf_bat.lexicon.table import TABLE_FILE, write_dataset


@pytest.mark.parametrize(
    ("address", "repo", "revision", "file"),
    [
        ("hf://datasets/me/words", "me/words", None, "table.json.gz"),
        ("hf://datasets/me/words/", "me/words", None, "table.json.gz"),
        ("hf:/datasets/me/words", "me/words", None, "table.json.gz"),  # as in a Path
        ("hf://datasets/me/words@v1.0", "me/words", "v1.0", "table.json.gz"),
        ("hf://datasets/me/words@ab12/a/b.json", "me/words", "ab12", "a/b.json"),
    ],
)
def test_addresses(monkeypatch, tmp_path, address, repo, revision, file):
    asked = []

    def download(*args, **options):
        asked.append((*args, options["revision"]))
        SubstitutionTable({"big": ["large"]}).save(tmp_path / "table.json.gz")
        return str(tmp_path / "table.json.gz")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert dict(SubstitutionTable.load(address)) == {"big": ("large",)}
    assert asked == [(repo, file, revision)]


def test_without_a_network_the_error_is_one_line(capsys):
    assert main(["lexicon", "info", "hf://datasets/nobody/never-loaded"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("hf-bat: error: cannot fetch the table of nobody/never-loaded")
    assert line.count("\n") == 1
    assert main(["lexicon", "push", "default-antonyms", "me/words"]) == 2
    line = capsys.readouterr().err
    assert (
        line.startswith("hf-bat: error: cannot push the table to me/words")
        and line.count("\n") == 1
    )


def test_a_data_set_has_the_table_and_a_card(tmp_path):
    table = SubstitutionTable({"small": ["tiny"], "big": ["large", "huge"]}, {"kind": "synonyms"})
    write_dataset(table, "me/words", tmp_path)
    assert SubstitutionTable.load(tmp_path / TABLE_FILE).fingerprint == table.fingerprint
    card = (tmp_path / "README.md").read_text("utf-8")
    assert table.fingerprint in card and "2 words with 3 replacements" in card
    assert 'SubstitutionTable.load("hf://datasets/me/words")' in card
