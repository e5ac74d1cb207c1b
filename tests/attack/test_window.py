"""Long inputs: only words that the model can see are edited, and outcomes are the same as for all edits."""

import random

import pytest
from attack_helpers import ANTONYMS, SYNONYMS
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.attack import Attack, TransformersModel
from hf_bat.attack import engine as engine_module
from hf_bat.attack.window import Window

WORDS = sorted(
    {*ANTONYMS, *SYNONYMS, "a", "the", "is", "runs", "goes", "not", "didn't", "she's", "the,"}
)
REACH = 24


def make_rows(count: int, words: int, seed: int = 0) -> list[dict]:
    draw = random.Random(seed)

    def make_text() -> str:
        space = draw.choice([" ", "  ", "\n"])
        return draw.choice(["", " "]) + space.join(draw.choices(WORDS, k=draw.randint(1, words)))

    return [
        {"premise": make_text(), "hypothesis": make_text(), "label": n % 3} for n in range(count)
    ]


def make_model(side: str) -> TransformersModel:
    tokenizer = tiny_tokenizer(WORDS)
    tokenizer.truncation_side = side
    return TransformersModel(tiny_model("bert"), tokenizer, max_length=REACH)


def run(name: str, side: str, rows: list[dict]) -> list[dict]:
    tables = {"synonyms": SYNONYMS, "antonyms": ANTONYMS}
    attack = Attack(name, make_model(side), skip_labels=(), progress=False, **tables)
    return [dict(row) for row in attack.run(rows).rows[name]]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["antonym", "synonym", "negation"])
def test_outcomes_are_those_of_the_whole_text(name, side, monkeypatch):
    rows = make_rows(30, 200)
    ours = run(name, side, rows)

    def keep_all(model, texts):
        empty = ("",) * len(texts)
        return Window(texts, model.visible([texts])[0], (0,) * len(texts), empty, empty)

    monkeypatch.setattr(Window, "of", keep_all)
    whole = run(name, side, rows)
    # Edits that the model cannot see are counted as far as other edits can move them into view.
    counts = ("listed", "beyond_cut", "refused")
    assert [{k: v for k, v in row.items() if k not in counts} for row in ours] == [
        {k: v for k, v in row.items() if k not in counts} for row in whole
    ]
    pairs = list(zip(ours, whole, strict=True))
    assert any(a.get("listed", 0) < b.get("listed", 0) for a, b in pairs), "no window was used"
    assert any((row.get("candidates") or 0) > 3 for row in ours)


def test_window_does_not_grow_with_the_text():
    model = make_model("right")
    sizes = set()
    for words in (400, 4000):
        texts = (" ".join(WORDS * (words // len(WORDS) + 1)), "A dog.")
        window = Window.of(model, texts)
        assert window.restore(window.texts) == texts
        assert window.visible[0] == model.visible([texts])[0][0]
        sizes.add(len(window.texts[0].split()))
    assert len(sizes) == 1 and sizes.pop() <= 5 * REACH


def test_few_long_rows_ask_about_their_edits_at_once(monkeypatch):
    """A row keeps all its edited texts while it is attacked, so other rows wait if these are long."""
    rows = make_rows(20, 20, seed=1)
    expected = run("antonym", "right", rows)
    held = []
    advance = engine_module.Engine._advance_all

    def watch(self, *args):
        remaining = advance(self, *args)
        held.append(sum(row.size for row in remaining if row.steps > 1))
        return remaining

    limit = 1000
    monkeypatch.setattr(engine_module, "_MAX_HELD", limit)
    monkeypatch.setattr(engine_module.Engine, "_advance_all", watch)
    assert run("antonym", "right", rows) == expected
    largest = max(
        len(r["original"][0] + r["original"][1]) * (r.get("listed") or 0) for r in expected
    )
    assert 0 < max(held) <= limit + largest and len(held) > 4
