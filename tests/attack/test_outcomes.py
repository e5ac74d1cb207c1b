"""Outcomes and rates of a model without weights, compared with independent calculations."""

import itertools

import pytest
import torch
from attack_helpers import ANTONYMS, SYNONYMS, hashed, made_rows
from tiny_models import tiny_model, tiny_tokenizer

from hf_bat.attack import Attack, NoRepeat, Recipe, StopWords, get_recipe
from hf_bat.attack.goals import get_goal
from hf_bat.attack.models import TransformersModel
from hf_bat.lexicon import stopwords
from hf_bat.perturbations import AntonymPerturbation, SynonymPerturbation

STOP = stopwords("nltk")


def swaps(row, table):
    """Return all single swaps in a generated row (lower case, with a final period), without stop words."""
    for column in ("premise", "hypothesis"):
        tokens = row[column][:-1].split(" ")
        for place, word in enumerate(tokens):
            for new in table.get(word, ()) if word not in STOP else ():
                edited = " ".join([*tokens[:place], new, *tokens[place + 1 :]]) + "."
                texts = {"premise": row["premise"], "hypothesis": row["hypothesis"], column: edited}
                yield (texts["premise"], texts["hypothesis"])


def test_antonym_rates_equal_a_brute_force():
    rows = made_rows(300)
    summary = Attack("antonym", hashed, task="snli", antonyms=ANTONYMS).run(rows)["antonym"]
    attempted = strict = confident = attackable = keep = tried = 0
    for row in rows:
        label = row["label"]
        before = hashed([(row["premise"], row["hypothesis"])])[0]
        if before.argmax() != label or label == 1:
            continue
        attempted += 1
        answers = [hashed([texts])[0] for texts in dict.fromkeys(swaps(row, ANTONYMS))]
        stays = [a.argmax() == label for a in answers]
        attackable += bool(answers)
        tried += len(answers)
        keep += sum(stays)
        strict += any(stays)
        confident += any(
            s and a[label] > before[label] for s, a in zip(stays, answers, strict=True)
        )
    assert 0 < confident < strict < attempted
    assert (summary["attempted"], summary["succeeded"]) == (attempted, strict)
    assert summary["succeeded_confident"] == confident
    assert summary["asr"] == strict / attempted
    assert summary["asr_confident"] == confident / attempted
    assert summary["attackable"] == attackable / attempted
    assert summary["asr_attackable"] == strict / attackable
    assert summary["keep_rate"] == keep / tried
    low, high = summary["asr_interval"]
    assert low < summary["asr"] < high


def test_counts_add_up_overall_per_label_and_per_reason():
    rows = made_rows(200)
    rows[3]["label"] = -1
    rows[4]["label"] = None
    rows[5]["premise"] = "  "
    rows[6]["hypothesis"] = None
    for name in ("antonym", "synonym", "negation"):
        summary = Attack(name, hashed, synonyms=SYNONYMS, antonyms=ANTONYMS).run(rows)[name]
        for part in (summary, *summary["per_label"].values()):
            assert part["attempted"] + part["skipped"] == part["rows"]
            assert part["succeeded"] + part["failed"] == part["attempted"]
        reasons = summary["skipped_reasons"]
        assert summary["rows"] == 200 and sum(reasons.values()) == summary["skipped"]
        assert (reasons["no label"], reasons["empty text"]) == (2, 2)
        labelled = sum(part["rows"] for part in summary["per_label"].values())
        assert labelled == 198
        assert (reasons.get("label skipped", 0) > 0) == (name != "synonym")


def independent_greedy(row, table):
    """A plain version of the synonym attack: deletion ranking, and the best replacement if it helps."""
    label, texts = row["label"], [row["premise"], row["hypothesis"]]

    def gold(texts):
        return hashed([tuple(texts)])[0]

    def with_token(texts, s, i, new):
        tokens = texts[s][:-1].split(" ")
        tokens[i : i + 1] = [new] if new else []
        return [" ".join(tokens) + "." if k == s else t for k, t in enumerate(texts)]

    stop = stopwords("textfooler")
    places = [
        (s, i)
        for s in (0, 1)
        for i, word in enumerate(texts[s][:-1].split(" "))
        if word in table and word not in stop
    ]
    if len(places) > 1:
        drops = {p: gold(with_token(texts, *p, None))[label] for p in places}
        places.sort(key=lambda p: drops[p])  # the lower without it, the more important
    score = gold(texts)[label]
    for s, i in places:
        word = texts[s][:-1].split(" ")[i]
        options = [with_token(texts, s, i, new) for new in table[word]]
        best = min(options, key=lambda t: gold(t)[label])
        if gold(best)[label] < score:
            texts, score = best, gold(best)[label]
            if gold(best).argmax() != label:
                return texts
    return None


def test_synonym_attack_equals_an_independent_greedy_search():
    rows = made_rows(150, seed=1, lengths=(2, 5))
    recipe = get_recipe("synonym", synonyms=SYNONYMS)
    recipe = Recipe(  # parts of speech are off, because this test is about the search
        "greedy", recipe.perturbation, recipe.goal, "greedy", "deletion",
        constraints=(NoRepeat(), StopWords("textfooler")),
    )  # fmt: skip
    found = Attack(recipe, hashed).run(rows).rows["synonym"]
    outcomes = {"succeeded": 0, "failed": 0, "skipped": 0}
    for row, ours in zip(rows, found, strict=True):
        outcomes[ours["outcome"]] += 1
        if ours["outcome"] == "skipped":
            assert hashed([(row["premise"], row["hypothesis"])])[0].argmax() != row["label"]
        else:
            assert ours["perturbed"] == independent_greedy(row, SYNONYMS)
    assert min(outcomes.values()) > 5


def test_beam_search_finds_what_any_combination_within_its_width_gives():
    table = {"big": ["large", "huge"], "dog": ["hound"], "hot": ["warm"]}
    recipe = Recipe(
        "beam", SynonymPerturbation(table), get_goal("flip"), "beam",
        constraints=(NoRepeat(),), beam_width=1000,
    )  # fmt: skip
    rows = made_rows(60, seed=2, lengths=(3, 6))
    for row, ours in zip(rows, Attack(recipe, hashed).run(rows).rows["synonym"], strict=True):
        if ours["outcome"] == "skipped":
            continue
        choices = []
        for column in ("premise", "hypothesis"):
            tokens = row[column][:-1].split(" ")
            options = itertools.product(*[[t, *table.get(t, ())] for t in tokens])
            choices.append([" ".join(option) + "." for option in options])
        flips = [p for p in itertools.product(*choices) if hashed([p])[0].argmax() != row["label"]]
        assert (ours["outcome"] == "succeeded") == bool(flips)
        if flips:
            assert tuple(ours["perturbed"]) in flips


def test_the_goal_decides_what_is_shown_and_not_what_is_counted():
    rows = made_rows(200, seed=3)
    strict, confident = (
        Attack("antonym", hashed, antonyms=ANTONYMS, goal=goal).run(rows)
        for goal in ("keep-strict", "keep-confident")
    )
    for key in ("succeeded", "succeeded_confident", "keep_rate", "queries"):
        assert strict["antonym"][key] == confident["antonym"][key]
    for report in (strict, confident):
        for row in report.rows["antonym"]:
            shown = row["perturbed"] is not None
            assert shown == (row["outcome"] == "succeeded")
            if shown:
                assert row["predicted_after"] == row["label"]
                assert (row["gold_after"] > row["gold_before"]) == (
                    row["outcome_confident"] == "succeeded"
                )


@pytest.mark.parametrize("goal", ["keep-strict", "keep-confident"])
@pytest.mark.parametrize("search", ["greedy", "beam"])
@pytest.mark.parametrize("budget", [None, 5])
def test_every_obstinate_success_is_shown_whatever_the_search(search, goal, budget):
    antonyms = {"hot": ["cold"], "big": ["small"], "happy": ["sad"]}

    def unsure(pairs):  # each edit lowers the gold probability, but none changes the prediction
        edited = [sum(w in " ".join(p) for w in ("cold", "small", "sad")) for p in pairs]
        return [[0.1 + 0.1 * n, 0.9 - 0.1 * n] for n in edited]

    rows = [
        {"question1": first, "question2": "Is it so?", "label": 1, "idx": idx}
        for idx, first in enumerate(["It is hot, big and happy.", "A hot day.", "A day."])
    ]
    ranking = "deletion" if search == "greedy" else None
    options = {"goal": goal, "search": search, "ranking": ranking, "budget": budget}
    report = Attack("antonym", unsure, task="qqp", antonyms=antonyms, **options).run(rows)
    several, one, none = report.rows["antonym"]
    assert report["antonym"]["succeeded"] == 2 and report["antonym"]["words_changed"] == 1.0
    for row in (several, one):
        assert row["outcome"] == "succeeded" and row["predicted_after"] == row["label"]
        assert row["outcome_confident"] == "failed" and row["gold_after"] == pytest.approx(0.8)
    assert one["perturbed"][0] == "A cold day."
    assert (none["outcome"], none["perturbed"]) == ("failed", None)


def test_word_pairs_say_which_swaps_fool_the_model():
    def gullible(pairs):
        # It notices every swap except "cold" for "hot".
        return [
            [0.8, 0.1, 0.1] if "hot" in " ".join(p) or "cold" in " ".join(p) else [0.1, 0.8, 0.1]
            for p in pairs
        ]

    rows = [
        {"premise": "A hot day.", "hypothesis": "It is hot.", "label": 0, "idx": i} for i in (0, 1)
    ]
    report = Attack("antonym", gullible, antonyms={"hot": ["cold"], "day": ["night"]}).run(rows)
    pairs = {(p["original"], p["replacement"]): p for p in report["antonym"]["per_pair"]}
    assert pairs["hot", "cold"] == {
        "original": "hot", "replacement": "cold", "tried": 4, "succeeded": 4,
    }  # fmt: skip
    assert pairs["day", "night"]["succeeded"] == 2  # "hot" is still there


@pytest.mark.parametrize("ranking", ["deletion", "gradient"])
def test_a_budget_that_ends_in_the_ranking_leaves_the_row_attackable(ranking):
    rows = [{"premise": "A big dog.", "hypothesis": "A big cat.", "label": 0, "idx": 0}]
    table = {"big": ["large"], "dog": ["hound"], "cat": ["kitten"]}
    model = TransformersModel(tiny_model("bert"), tiny_tokenizer(["a big dog cat large"]))
    with torch.no_grad():
        answers = model.probabilities(model.keys([("A big dog.", "A big cat.")]))
    rows[0]["label"] = int(answers[0].argmax())
    recipe = Recipe("tight", SynonymPerturbation(table), "flip", "greedy", ranking, budget=1)
    (row,) = (report := Attack(recipe, model).run(rows)).rows["synonym"]
    assert (row["queries"], row["candidates"], row["exhausted"]) == (1, 0, True)
    assert report["synonym"]["attackable"] == 1.0 and report["synonym"]["asr_attackable"] == 0.0


@pytest.mark.parametrize("search", ["greedy", "beam"])
def test_a_query_budget_is_kept_and_reported(search):
    rows = made_rows(80, seed=4)
    for budget in (1, 2, 5, 9):
        recipe = Recipe(
            "tight", SynonymPerturbation(SYNONYMS), get_goal("flip"), search,
            "deletion" if search == "greedy" else None, (NoRepeat(),), budget=budget,
        )  # fmt: skip
        report = Attack(recipe, hashed).run(rows)
        queries = [row["queries"] for row in report.rows["synonym"]]
        assert max(queries) <= budget
        exhausted = [row for row in report.rows["synonym"] if row.get("exhausted")]
        assert report["synonym"]["budget_exhausted"] == len(exhausted) > 0
        assert all(row["queries"] == budget for row in exhausted)


def test_columns_and_labels_can_be_left_alone():
    rows = made_rows(120, seed=5)
    report = Attack(
        "antonym", hashed, antonyms=ANTONYMS, skip_columns=["premise"], skip_labels=["entailment"]
    ).run(rows)
    for row in report.rows["antonym"]:
        assert all(edit["sentence"] == 1 for edit in row.get("edits", ()))
        assert row["outcome"] == "skipped" or row["label"] != 0
    assert report["antonym"]["per_label"]["neutral"]["attempted"] > 0


def test_a_multi_word_replacement_moves_the_words_after_it():
    table = {"dog": ["little hairy hound"], "house": ["place to live"], "rain": ["wet weather"]}
    recipe = Recipe(
        "long", SynonymPerturbation(table), get_goal("flip"), "greedy", "deletion", (NoRepeat(),)
    )

    def stubborn(pairs):  # less confident with each word, changes after all three
        left = [sum(w in p[0].split() for w in table) for p in pairs]
        return [[0.2 + 0.2 * n, 0.8 - 0.2 * n, 0.0] for n in left]

    row = {"premise": "dog in rain near house now", "hypothesis": "A b.", "label": 0}
    found = Attack(recipe, stubborn).run([row]).rows["synonym"][0]
    assert found["perturbed"][0].split()[-1] == "now"
    assert found["outcome"] == "succeeded" and len(found["edits"]) >= 2
    for edit in found["edits"]:
        assert edit["replacement"] in found["perturbed"][0]


def test_words_without_candidates_and_antonyms_cost_no_ranking():
    asked = []

    def model(pairs):
        asked.extend(pairs)
        return [[0.9, 0.1, 0.0]] * len(pairs)

    one = {"premise": "The dog of the house.", "hypothesis": "Green ideas.", "label": 0}
    Attack("synonym", model, synonyms={"dog": ["hound"]}, part_of_speech="lexicon").run([one])
    assert sorted(asked) == [
        ("The dog of the house.", "Green ideas."),
        ("The hound of the house.", "Green ideas."),
    ]
    asked.clear()
    perturbation = AntonymPerturbation({"dog": ["cat"], "ideas": ["facts"]})
    Attack(Recipe("two", perturbation, get_goal("keep-strict")), model).run([one])
    assert len(asked) == len(set(asked)) == 3
