"""Augmented rows: labels, ids and texts of the copies, files for training, the card and the push."""

import json
from collections import Counter

import pytest
from attack_helpers import made_rows

from hf_bat import HfBatError
from hf_bat.augment import augment_rows
from hf_bat.cli import main
from hf_bat.counterfactual.rules import build_rules
from hf_bat.data import prepare_dataset
from hf_bat.perturbations import AntonymPerturbation, CharacterPerturbation, SynonymPerturbation
from hf_bat.tasks import get_task, load_split, user_task

SNLI = get_task("snli")
SYNONYMS = {"hot": ["warm", "boiling"], "man": ["guy"], "dog": ["hound"], "child": ["kid"]}
PAIRS = [
    ("A tall man is sleeping near the red house.", "A man is asleep.", 0),
    ("Two dogs run in the snow.", "Two dogs are running.", 0),
    ("A woman is eating an apple.", "A woman is swimming.", 2),
    ("A big dog is playing with a child.", "A dog is chasing its owner.", 1),
]
ROWS = [
    {"premise": premise, "hypothesis": hypothesis, "label": label, "idx": 10 * i}
    for i, (premise, hypothesis, label) in enumerate(PAIRS)
]


def group(augmented):
    groups = {}
    for row in augmented.rows:
        source = row["idx"] if row["original_idx"] is None else row["original_idx"]
        groups.setdefault(source, []).append(row)
    return groups


def test_copies_have_the_label_of_their_row_and_texts_of_their_own():
    rows = made_rows(60, seed=6)
    kinds = [SynonymPerturbation(SYNONYMS), CharacterPerturbation()]
    augmented = augment_rows(rows, "snli", kinds, copies=3)
    by_idx = {row["idx"]: row for row in rows}
    ids = augmented.rows["idx"][:]
    assert len(set(ids)) == len(ids)
    groups = group(augmented)
    assert list(groups) == [row["idx"] for row in rows]
    edits = Counter()
    for source, (original, *copies) in groups.items():
        row = by_idx[source]
        assert {name: original[name] for name in row} == row
        assert original["edit"] == "original"
        texts = [(part["premise"], part["hypothesis"]) for part in (original, *copies)]
        assert len(set(texts)) == len(texts)
        assert all(copy["label"] == row["label"] for copy in copies)
        counts = Counter(copy["edit"] for copy in copies)
        assert max(counts.values(), default=0) <= 3
        edits += counts
        words = set(f"{row['premise']} {row['hypothesis']}".replace(".", "").split())
        if words & SYNONYMS.keys():
            assert counts["synonym"] >= 1
        else:
            assert not counts["synonym"]
    assert edits["synonym"] > 100 and edits["typo"] > 150
    # Each row's draws depend on its idx, not on other rows.
    again = augment_rows(rows[20:30], "snli", kinds, copies=3)
    for source, parts in group(again).items():
        assert [p["premise"] for p in parts] == [p["premise"] for p in groups[source]]
    other = augment_rows(rows, "snli", kinds, copies=3, seed=1)
    assert other.rows["premise"][:] != augmented.rows["premise"][:]


def test_rules_give_the_labels_that_they_know():
    # The rules that list all their pairs.
    rules = build_rules(SNLI, SNLI.label_names, rules=["swap", "drop", "generalize"])
    # A rule without a single label adds no rows.
    more = build_rules(SNLI, SNLI.label_names, rules=["swap", "drop", "generalize", "opposite=50"])
    augmented = augment_rows(ROWS, SNLI, rules=more, copies=4, keep_originals=False)
    assert set(augmented.rows["original_idx"][:]) <= {row["idx"] for row in ROWS}
    assert len(augmented.rows) > 4
    rules.prepare(((row["premise"], row["hypothesis"]), row["label"]) for row in ROWS)
    for row in augmented.rows:
        source = ROWS[row["original_idx"] // 10]
        texts = source["premise"], source["hypothesis"]
        known = {
            (pair.texts, pair.rule, rules.labels[pair.label])
            for pair in rules.list_pairs(texts, source["label"])
        }
        rule = row["edit"].removeprefix("rule:")
        drawn = (row["premise"], row["hypothesis"]), rule, row["label"]
        assert drawn in known


def test_files_are_read_by_training_and_by_datasets(tmp_path):
    from datasets import load_dataset

    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    words = f"augment --task snli --data {path} --edits typo --rules swap drop --copies 2 --seed 5"
    assert main([*words.split(), "--output-dir", str(tmp_path / "out")]) == 0
    read = load_split(tmp_path / "out" / "data.jsonl")
    prepared = prepare_dataset(read, SNLI, None, "augmented")
    expected = augment_rows(
        ROWS, SNLI, [CharacterPerturbation()],
        build_rules(SNLI, SNLI.label_names, rules=["swap", "drop"]), copies=2, seed=5,
    )  # fmt: skip
    for column in ("premise", "hypothesis", "label", "idx"):
        assert prepared[column][:] == expected.rows[column][:]
    loaded = load_dataset(str(tmp_path / "out"), split="train")
    assert loaded["premise"][:] == expected.rows["premise"][:]
    # The same command replaces its own files.
    assert main([*words.split(), "--output-dir", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "4 rows as they were" in card and f"{len(read) - 4} edited copies" in card
    assert str(tmp_path) not in card and "rows.jsonl" in card


def test_own_tasks_have_the_labels_of_their_rows(tmp_path, capsys):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nA happy child.,good\nA sleepy watchman.,bad\n")
    words = f"augment --columns text --data {path} --edits typo --copies 2 --without-originals"
    assert main([*words.split(), "--output-dir", str(tmp_path / "out")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "data.jsonl").open()]
    assert {(row["original_idx"], row["label"]) for row in rows} == {(0, "good"), (1, "bad")}
    assert len(rows) == 4
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["edit", "bad", "good"] and line.split() == ["typo", "2", "2"]


def test_names_of_labels_are_escaped_in_the_card():
    name = "<b>neg</b>|x"
    rows = [{"text": "A sleepy dog.", "label": name}, {"text": "A happy child.", "label": "pos"}]
    augmented = augment_rows(rows, user_task(["text"], [name, "pos"]), [CharacterPerturbation()])
    card = augmented.write_card("me/rows")
    [head] = [line for line in card.splitlines() if line.startswith("| edit |")]
    assert head == r"| edit | &lt;b&gt;neg&lt;/b&gt;\|x | pos |"


def test_rows_are_pushed_with_their_card(monkeypatch):
    pushed = {}

    def push(write, repo_id, title, **options):
        import tempfile
        from pathlib import Path

        with tempfile.TemporaryDirectory() as folder:
            write(repo_id, Path(folder))
            pushed.update({path.name: path.read_text() for path in Path(folder).iterdir()})
        pushed["options"] = options
        return f"hf://datasets/{repo_id}@abc"

    monkeypatch.setattr("hf_bat.augment.push_dataset", push)
    augmented = augment_rows(ROWS, SNLI, [CharacterPerturbation()])
    assert augmented.push_to_hub("me/rows", private=True) == "hf://datasets/me/rows@abc"
    assert 'load_dataset("me/rows"' in pushed["README.md"]
    assert len(pushed["data.jsonl"].splitlines()) == len(augmented.rows)
    assert pushed["options"]["private"] is True


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "nothing to add"),
        ({"perturbations": [AntonymPerturbation({"hot": ["cold"]})]}, "obstinate"),
        ({"perturbations": [CharacterPerturbation()], "copies": 0}, "copies"),
        ({"perturbations": [SynonymPerturbation({"zebra": ["horse"]})]}, "no row has an edit"),
    ],
)
def test_augmenting_nothing_is_an_error(options, word):
    with pytest.raises(HfBatError, match=word):
        augment_rows(ROWS, SNLI, **options)


@pytest.mark.parametrize(
    ("output", "data", "word"),
    [
        ("old", "old/data.jsonl", "overwrite"),  # its own source
        ("project", "rows.jsonl", "did not write"),
        ("data", "rows.jsonl", "did not write"),
        ("rows.jsonl", "rows.jsonl", "File exists"),
        ("rows.jsonl/new", "rows.jsonl", "Not a directory"),
    ],
)
def test_unsuitable_folders_are_refused_before_the_edits(
    output, data, word, tmp_path, monkeypatch, capsys
):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    for name, content in {
        "old/data.jsonl": lines, "old/README.md": "Card.", "project/README.md": "Mine.", "rows.jsonl": lines,
        "data/README.md": "Mine.", "data/data.jsonl": "Mine.",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr(
        "hf_bat.augment.augment_rows", lambda *_, **__: pytest.fail("began to work")
    )
    words = ["augment", "--task", "snli", "--data", tmp_path / data, "--edits", "typo"]
    assert main([*map(str, words), "--output-dir", str(tmp_path / output)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert word in error and output in error
    assert before == {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
