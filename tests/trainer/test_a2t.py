"""A2T: which rows are attacked, which inputs are used in training, and exact resuming."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_models import tiny_masked_lm, tiny_model
from training_helpers import (
    SUBSTITUTES,
    largest_difference,
    logged,
    made_rows,
    make_trainer,
    tokenizer_for_made_rows,
    weights_of,
)
from transformers import TrainerCallback

from hf_bat import BalancedTrainingArguments, HfBatError, SubstitutionTable
from hf_bat.a2t import (
    AttackSchedule,
    get_adversarial_folder,
    get_rows_path,
)
from hf_bat.attack import Attack
from hf_bat.attack.rows import read_rows
from hf_bat.methods import LossSettings, get_method
from hf_bat.objective import Forward, Versions, count_items
from hf_bat.tasks import user_task

TOKENIZER = tokenizer_for_made_rows()


def predict(model, texts):
    """Return the logits of one input, without dropout."""
    with torch.no_grad():
        return model.eval()(**TOKENIZER(*texts, return_tensors="pt")).logits[0]


@pytest.fixture(scope="module")
def rows():
    """Return rows that the untrained model of seed 3 classifies correctly."""
    model = tiny_model("bert", seed=3)
    return [
        {**row, "label": int(predict(model, (row["premise"], row["hypothesis"])).argmax())}
        for row in made_rows(24)
    ]


def make(folder, rows, dropout=0.0, **options):
    defaults = {
        "method": "a2t",
        "clean_epochs": 0,
        "attack_share": 0.75,
        "num_train_epochs": 3,
    }
    chosen = {"synonyms": SUBSTITUTES, **options.pop("trainer_options", {})}
    options.setdefault("model", tiny_model("bert", seed=3, dropout=dropout))
    return make_trainer(folder, rows, trainer_options=chosen, **{**defaults, **options})


def attack_rows(folder, epoch):
    return read_rows(get_rows_path(folder / "_adversarial", epoch))


def found_in(folder, epoch):
    rows = attack_rows(folder, epoch)
    return {row["idx"]: tuple(row["perturbed"]) for row in rows if row["outcome"] == "succeeded"}


# ---- when, and which rows ---------------------------------------------------------------------


def test_the_attacked_rows_depend_only_on_seed_epoch_and_idx():
    schedule = AttackSchedule(clean_epochs=1, interval=1, share=0.2, seed=5)
    ids = list(range(0, 400, 2))
    chosen = {ids[place] for place in schedule.choose_rows(ids, 1)}
    assert len(chosen) == 40
    shuffled = random.Random(0).sample(ids, len(ids))
    assert {shuffled[place] for place in schedule.choose_rows(shuffled, 1)} == chosen
    others = [schedule.choose_rows(ids, epoch) for epoch in (2, 3)]
    others.append(AttackSchedule(1, 1, 0.2, seed=6).choose_rows(ids, 1))
    for other in others:
        # By chance, 8 of 40 are expected to be the same.
        assert len(other) == 40 and len(chosen & {ids[place] for place in other}) < 20
    assert schedule.choose_rows([7], 1) == [0]
    assert AttackSchedule(0, 1, 1.0, 0).choose_rows(ids, 0) == list(range(200))


def test_epochs_between_attacks_train_on_the_rows_of_the_last_attack():
    epochs = [AttackSchedule(2, 3, 1.0, 0).get_attack_epoch(epoch) for epoch in range(9)]
    assert epochs == [None, None, 2, 2, 2, 5, 5, 5, 8]


def test_clean_epochs_and_intervals_while_training(tmp_path, rows):
    trainer = make(tmp_path, rows, num_train_epochs=4, clean_epochs=1, attack_interval=2)
    seen = []
    collate = trainer.data_collator.__class__.__call__

    class Watching(trainer.data_collator.__class__):
        def __call__(self, rows):
            batch = collate(self, rows)
            seen.append((self.epoch, batch))
            return batch

    made = trainer._make_collator

    def make_watching():
        collator = made()
        collator.__class__ = Watching
        return collator

    trainer._make_collator = make_watching
    trainer.train()
    files = sorted(path.name for path in (tmp_path / "_adversarial").iterdir())
    assert files == ["epoch-1.jsonl", "epoch-3.jsonl"]
    for epoch, batch in seen:
        if epoch == 0:
            assert "fickle_mask" not in batch and "fickle_input_ids" not in batch
            continue
        found = found_in(tmp_path, 1 if epoch < 3 else 3)
        for place, idx in enumerate(batch["idx"].tolist()):
            assert bool(batch["fickle_mask"][place, 0]) == (idx in found)
            if idx in found:
                ids = batch["fickle_input_ids"][place, 0]
                assert ids[ids != 0].tolist() == TOKENIZER(*found[idx])["input_ids"]
    assert len(found_in(tmp_path, 1)) > 5
    assert len(logged(trainer, "adversarial_attacked")) == 2
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert not any("loss_ce_fickle" in entry for entry in steps[:6])
    assert any("loss_ce_fickle" in entry for entry in steps[6:12])


def test_adversarial_rows_fool_the_model_at_the_start_of_the_epoch(tmp_path, rows):
    weights = []

    class Remember(TrainerCallback):
        def on_epoch_begin(self, args, state, control, model=None, **kwargs):
            weights.append(weights_of(model))

    trainer = make(tmp_path, rows, dropout=0.1, learning_rate=2e-4)
    trainer.add_callback(Remember())
    trainer.train()
    model = tiny_model("bert", seed=3)
    for epoch, then in enumerate(weights):
        model.load_state_dict(then)
        found = attack_rows(tmp_path, epoch)
        assert [row["idx"] for row in found] == [
            rows[place]["idx"]
            for place in AttackSchedule(0, 1, 0.75, 3).choose_rows(
                [row["idx"] for row in rows], epoch
            )
        ]
        assert sum(row["outcome"] == "succeeded" for row in found) > 5
        for row in found:
            right = int(predict(model, row["original"]).argmax()) == rows[row["idx"]]["label"]
            assert right == (row["outcome"] != "skipped") and row["queries"] <= 200
            if row["outcome"] == "succeeded":
                assert int(predict(model, row["perturbed"]).argmax()) != rows[row["idx"]]["label"]
                assert 1 <= row["words_changed"] <= 4
        entry = [e for e in trainer.state.log_history if "adversarial_found" in e][epoch]
        assert entry["adversarial_attacked"] == len(found) == 18 and entry["epoch"] == epoch
        assert entry["adversarial_found"] == sum(row["outcome"] == "succeeded" for row in found)


def test_the_model_is_attacked_through_its_preprocessing_defense(tmp_path, rows):
    """Synonyms in the table of the defense are mapped to the same word, so they cannot fool the model."""
    trainer = make(tmp_path, rows, num_train_epochs=1, canonicalize=True)
    trainer.train()
    assert not found_in(tmp_path, 0)
    models = {
        row["model"] for row in read_rows(get_rows_path(get_adversarial_folder(trainer.args), 0))
    }
    bare = make(tmp_path / "bare", rows, num_train_epochs=1)
    bare.train()
    assert found_in(tmp_path / "bare", 0)
    other = read_rows(get_rows_path(get_adversarial_folder(bare.args), 0))
    assert models.isdisjoint(row["model"] for row in other)


def test_an_attack_changes_neither_model_nor_random_numbers(tmp_path, rows):
    trainer = make(tmp_path, rows, dropout=0.1)
    model = trainer.model.train()
    before = weights_of(model)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    found = trainer.adversary.start_epoch(model, trainer.train_dataset, 0.0)
    assert found["adversarial_found"] > 5
    assert model.training and all(p.grad is None for p in model.parameters())
    assert largest_difference(before, weights_of(model)) == 0
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (np.random.get_state()[1].tolist(), random.getstate())


# ---- the loss ---------------------------------------------------------------------------------


def test_the_loss_by_hand():
    # Two rows with label 0; the first has an adversarial version. Probabilities are 1/4 and 3/4.
    log3 = float(np.log(3))
    logits = torch.tensor([[log3, 0.0], [0.0, 0.0], [0.0, log3]])
    batch = {
        "input_ids": torch.zeros(2, 4),
        "labels": torch.tensor([0, 0]),
        "fickle_mask": torch.tensor([[True], [False]]),
    }
    mask = batch["fickle_mask"]
    versions = {"fickle": Versions(torch.tensor([0]), mask, logits[2:], None, None)}
    forward = Forward(logits[:2], batch["labels"], None, versions)

    def cross_entropy(logits, labels):
        return F.cross_entropy(logits, labels, reduction="sum")

    settings = LossSettings({"adversarial_weight": 0.5}, "cosine", "paper", cross_entropy)
    terms = get_method("a2t").terms(forward, settings)
    counts = count_items(batch)
    assert set(terms) == {"loss_ce_fickle"}
    term = terms["loss_ce_fickle"]
    assert term.total.item() == pytest.approx(np.log(4)) and term.weight == 0.5
    assert counts[term.over] == 1 and counts["rows"] == 2


def test_the_first_loss_is_both_cross_entropies(tmp_path, rows):
    model = tiny_model("bert", seed=3)
    trainer = make(
        tmp_path, rows, per_device_train_batch_size=24, max_steps=1, adversarial_weight=0.3
    )
    trainer.train()
    found = found_in(tmp_path, 0)
    assert 5 < len(found) < 18

    def mean(pairs):
        each = [F.cross_entropy(predict(model, t), torch.tensor(y)).item() for t, y in pairs]
        return sum(each) / len(each)

    clean = mean(((row["premise"], row["hypothesis"]), row["label"]) for row in rows)
    adversarial = mean((found[row["idx"]], row["label"]) for row in rows if row["idx"] in found)
    assert logged(trainer, "loss_ce") == [pytest.approx(clean, abs=1e-5)]
    assert logged(trainer, "loss_ce_fickle") == [pytest.approx(adversarial, abs=1e-5)]
    assert logged(trainer, "loss") == [pytest.approx(clean + 0.3 * adversarial, abs=1e-5)]
    assert logged(trainer, "fickle_valid") == [pytest.approx(len(found) / 24, abs=1e-5)]


def test_accumulation_changes_nothing(tmp_path, rows):
    runs = []
    for batch, accumulation in ((16, 1), (4, 4), (8, 2)):
        trainer = make(
            tmp_path / str(batch), rows, per_device_train_batch_size=batch, num_train_epochs=1,
            gradient_accumulation_steps=accumulation, optim="sgd", learning_rate=0.1,
            class_weights=[0.5, 1.0, 2.0],
        )  # fmt: skip
        trainer.train()
        runs.append(trainer)
    whole = runs[0]
    for other in runs[1:]:
        assert largest_difference(weights_of(whole.model), weights_of(other.model)) < 2e-6
        for key in ("loss", "loss_ce", "loss_ce_fickle", "fickle_valid", "adversarial_found"):
            assert logged(other, key) == pytest.approx(logged(whole, key), abs=5e-6), key


# ---- resume -----------------------------------------------------------------------------------


def make_long(folder, rows, dropout=0.1, **options):
    """Start a run of 18 steps, six per epoch, that saves in the middle of the second epoch."""
    return make(
        folder, rows, dropout=dropout, per_device_train_batch_size=2,
        gradient_accumulation_steps=2, lr_scheduler_type="linear", save_strategy="steps",
        save_steps=9, learning_rate=2e-4, **options,
    )  # fmt: skip


def losses(trainer):
    kept = ("step", "loss", "loss_ce", "loss_ce_fickle", "fickle_valid", "grad_norm", "epoch",
            "adversarial_attacked", "adversarial_found", "adversarial_asr")  # fmt: skip
    return [{k: e[k] for k in kept if k in e} for e in trainer.state.log_history]


@pytest.fixture(scope="module")
def long_run(tmp_path_factory, rows):
    """Return a complete run, its folder, and the bytes of its adversarial rows."""
    folder = tmp_path_factory.mktemp("long")
    trainer = make_long(folder, rows)
    trainer.train()
    files = {path.name: path.read_bytes() for path in (folder / "_adversarial").iterdir()}
    assert sorted(files) == ["epoch-0.jsonl", "epoch-1.jsonl", "epoch-2.jsonl"]
    return trainer, folder, files


@pytest.fixture
def restored(long_run):
    """Return the folder of the run with its original files."""
    _, folder, files = long_run
    for name, content in files.items():
        (folder / "_adversarial" / name).write_bytes(content)
    return folder


def resume(folder, rows, **options):
    trainer = make_long(folder, rows, **options)
    trainer.train(resume_from_checkpoint=str(folder / "checkpoint-9"))
    return trainer


def test_resume_inside_an_epoch_is_bit_identical(long_run, restored, rows):
    whole, folder, files = long_run
    # Half of the rows of the next epoch, as after a kill during the attack.
    third = folder / "_adversarial" / "epoch-2.jsonl"
    third.write_bytes(files["epoch-2.jsonl"][: len(files["epoch-2.jsonl"]) // 2])
    resumed = resume(folder, rows)
    # The last entry of the Trainer has times, and the entry of the attack in epoch 1 is not repeated.
    assert losses(resumed)[:-1] == losses(whole)[:-1]
    ours, theirs = weights_of(resumed.model), weights_of(whole.model)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for name, content in files.items():
        assert (folder / "_adversarial" / name).read_bytes() == content


def test_a_resumed_epoch_is_not_attacked_again_with_newer_weights(restored, rows, monkeypatch):
    attacked = []
    run = Attack.run

    def watched(self, rows, path, **options):
        attacked.append(path.name)
        return run(self, rows, path, **options)

    monkeypatch.setattr(Attack, "run", watched)
    resume(restored, rows)
    assert attacked == ["epoch-2.jsonl"]


def test_rows_of_an_earlier_run_are_written_over(restored, rows, long_run):
    stale = make_long(restored, rows, max_steps=1)
    stale.model.load_state_dict(weights_of(tiny_model("bert", seed=1)))
    before = (restored / "_adversarial" / "epoch-0.jsonl").read_bytes()
    stale.train()
    after = attack_rows(restored, 0)
    assert (restored / "_adversarial" / "epoch-0.jsonl").read_bytes() != before
    assert len(after) == 18 and len({row["model"] for row in after}) == 1


def drop_a_line(path):
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])


def change_a_text(path):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["original"][0] += " changed"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    "spoil",
    [lambda path: path.unlink(), drop_a_line, change_a_text, lambda path: path.write_text("{}\n")],
)
def test_rows_that_differ_from_those_at_the_start_of_the_epoch_are_refused(restored, rows, spoil):
    spoil(restored / "_adversarial" / "epoch-1.jsonl")
    with pytest.raises(HfBatError, match=r"resume.*epoch-1\.jsonl"):
        resume(restored, rows)


def test_another_attack_or_choice_of_rows_is_refused_on_resume(restored, rows):
    for options in ({"attack_budget": 20}, {"attack_share": 0.5}, {"data_seed": 9}):
        with pytest.raises(HfBatError, match="resume"):
            resume(restored, rows, **options)


def test_persistent_workers_read_each_epochs_rows(tmp_path, rows):
    runs = []
    for name, options in (
        ("none", {}),
        ("two", {"dataloader_num_workers": 2, "dataloader_persistent_workers": True}),
    ):
        trainer = make(tmp_path / name, rows, learning_rate=2e-4, num_train_epochs=2, **options)
        trainer.train()
        runs.append(trainer)
    assert losses(runs[0])[:-1] == losses(runs[1])[:-1]
    iterator = runs[1].callback_handler.train_dataloader.base_dataloader._iterator
    iterator._shutdown_workers()


# ---- other tests ------------------------------------------------------------------------------


def test_defaults_by_method(tmp_path):
    made = {
        method: BalancedTrainingArguments(str(tmp_path), report_to="none", method=method)
        for method in ("normal", "safer", "a2t", "triplet")
    }
    assert [args.clean_epochs for args in made.values()] == [0, 0, 1, 0]
    for args in made.values():
        args.check_method()  # again, as at the start of training
    zero = BalancedTrainingArguments(str(tmp_path), report_to="none", clean_epochs=0)
    assert zero.clean_epochs == 0
    a2t = made["a2t"]
    found = a2t.attack_interval, a2t.attack_share, a2t.attack_budget, a2t.adversarial_weight
    assert found == (1, 0.2, 200, 1.0)


def test_neither_an_own_collator_nor_a_preview_is_possible(tmp_path, rows):
    trainer = make(tmp_path, rows)
    with pytest.raises(HfBatError, match="data_collator"):
        make(tmp_path, rows, trainer_options={"data_collator": trainer.data_collator})
    with pytest.raises(HfBatError, match="_adversarial"):
        trainer.preview()


def test_only_a_ranking_by_gradient_needs_a_fast_tokenizer(tmp_path, rows):
    tokenizer = tokenizer_for_made_rows()

    class SlowTokenizer(type(tokenizer)):
        is_fast = False

    tokenizer.__class__ = SlowTokenizer
    own = {
        recipe: replace(get_method("a2t"), name=f"by-{recipe}", attack_recipe=recipe)
        for recipe in ("a2t", "paper-synonym")
    }
    with pytest.raises(HfBatError, match="method='by-a2t' needs a fast tokenizer .*SlowTokenizer"):
        make(
            tmp_path, rows, method="normal", clean_epochs=None, attack_share=0.2,
            tokenizer=tokenizer, trainer_options={"method": own["a2t"]},
        )  # fmt: skip
    trainer = make(
        tmp_path, rows, method="normal", clean_epochs=None, attack_share=0.2, num_train_epochs=2,
        tokenizer=tokenizer, trainer_options={"method": own["paper-synonym"]},
    )  # fmt: skip
    trainer.train()
    assert logged(trainer, "adversarial_attacked") == [5]


def test_labels_that_model_and_data_number_differently(tmp_path, rows):
    names = ("entailment", "neutral", "contradiction")
    model = tiny_model("bert", seed=3)
    model.config.id2label = dict(enumerate(("contradiction", "entailment", "neutral")))
    model.config.label2id = {name: i for i, name in model.config.id2label.items()}
    task = user_task(("premise", "hypothesis"), names, (), "gold")
    named = [
        {**{k: v for k, v in row.items() if k != "label"},
         "gold": names.index(model.config.id2label[row["label"]])}
        for row in rows
    ]  # fmt: skip
    trainer = make(tmp_path, named, model=model, trainer_options={"task": task})
    found = trainer.adversary.start_epoch(model, trainer.train_dataset, 0.0)
    assert found["adversarial_asr"] > 0
    for row in attack_rows(tmp_path, 0):
        assert row["label"] == rows[row["idx"]]["label"] and row["outcome"] != "skipped"


def test_table_and_attack_are_saved(tmp_path, rows):
    trainer = make(tmp_path, rows)
    written = trainer.save_perturbations(tmp_path)
    assert list(written) == ["synonyms"]
    table = SubstitutionTable.load(tmp_path / "synonyms.json.gz")
    assert table.fingerprint == written["synonyms"]
    described = json.loads((tmp_path / "perturbations.json").read_text())
    assert described["method"] == "a2t" and described["attack"]["budget"] == 200
    assert described["attack"]["hash"] == trainer.adversary.recipe.hash


def test_candidates_of_a_masked_language_model_and_an_encoder(tmp_path, rows):
    tiny_masked_lm().save_pretrained(tmp_path / "mlm")
    tiny_model("bert").bert.save_pretrained(tmp_path / "encoder")
    for name in ("mlm", "encoder"):
        TOKENIZER.save_pretrained(tmp_path / name)
    trainer = make(
        tmp_path / "out", rows, a2t_candidates="mlm", mlm_model=str(tmp_path / "mlm"), num_train_epochs=1,
        encoder=str(tmp_path / "encoder"),
    )  # fmt: skip
    trainer.train()
    found = attack_rows(tmp_path / "out", 0)
    recipe = trainer.adversary.recipe
    assert recipe.name == "a2t-mlm" and found[0]["attack"] == "a2t-mlm"
    assert {row["recipe"] for row in found} == {recipe.hash[:16]}
    assert all(row["similarity"] >= 0.9 for row in found if row["outcome"] == "succeeded")
    assert trainer.save_perturbations(tmp_path / "out") == {}
