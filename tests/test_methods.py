"""Methods as objects: custom methods train exactly and are logged and recorded without other changes."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from tiny_models import tiny_model
from training_helpers import (
    ANTONYMS,
    largest_difference,
    logged,
    made_rows,
    make_arguments,
    make_trainer,
    tokenizer_for_made_rows,
    weights_of,
)

from hf_bat import BalancedTrainer, BalancedTrainingArguments, HfBatError
from hf_bat.methods import METHODS, Method, get_method, register_method
from hf_bat.objective import Term


@dataclass(frozen=True)
class InfoNCE(Method):
    """Contrast each fickle version with the other fickle versions in the micro-batch."""

    name: str = "infonce"
    formula: str = "`L = CE(x) + 0.5 InfoNCE(x, x_f)`."
    draws: tuple[str, ...] = ("fickle",)
    uses_vectors: bool = True
    temperature: float = 0.1

    def terms(self, forward, settings):
        fickle = forward.versions["fickle"]
        anchors = F.normalize(forward.vectors[fickle.owners], dim=-1)
        scores = anchors @ F.normalize(fickle.vectors, dim=-1).T / self.temperature
        own = torch.arange(len(scores), device=scores.device)
        total = F.cross_entropy(scores, own, reduction="sum")
        return {"loss_infonce": Term(total, over="fickle", weight=0.5)}


@dataclass(frozen=True)
class Pull(Method):
    """Pull the first fickle version toward the anchor, averaged over rows that have one."""

    name: str = "pull"
    weights: dict = None
    draws: tuple[str, ...] = ("fickle",)
    uses_vectors: bool = True

    def count(self, batch):
        return {"pulled": batch["fickle_mask"].any(1).sum()}

    def terms(self, forward, settings):
        values, mask = forward.measure_distances("fickle", settings.distance)
        return {
            "loss_pull": Term(values[:, 0].sum(), "pulled", settings.weights["alpha"]),
            "share": Term(mask.any(1).sum(), "rows", None),
        }


@pytest.fixture
def registry(monkeypatch):
    """Remove methods that a test registers."""
    for name in InfoNCE().name, Pull().name:
        monkeypatch.setitem(METHODS, name, None)
        del METHODS[name]


def test_the_loss_of_a_users_method_is_its_formula(tmp_path, registry):
    rows = made_rows(12, seed=2)
    register_method(InfoNCE(temperature=0.2))
    trainer = make_trainer(
        tmp_path, rows, method="infonce", max_steps=1,
        per_device_train_batch_size=12, pooling="mean",
    )  # fmt: skip
    model, tokenizer = tiny_model("bert").eval(), trainer.processing_class

    def encode(texts):
        inputs = tokenizer(*texts, return_tensors="pt")
        return model(**inputs, output_hidden_states=True).hidden_states[-1][0].mean(0)

    pairs = []
    for row in rows:
        version = trainer.data_collator.sampler.draw(row, 0)["fickle"][0]
        if version is not None:
            pairs.append((encode((row["premise"], row["hypothesis"])), encode(version)))
    assert 2 < len(pairs) < 12
    expected = 0.0
    for place, (anchor, _) in enumerate(pairs):
        scores = (
            torch.stack([F.cosine_similarity(anchor, other, dim=0) for _, other in pairs]) / 0.2
        )
        expected -= float(scores.log_softmax(0)[place]) / len(pairs)
    trainer.train()
    (logs,) = [log for log in trainer.state.log_history if "loss_infonce" in log]
    assert logs["loss_infonce"] == pytest.approx(expected, abs=1e-4)
    assert logs["loss"] == pytest.approx(logs["loss_ce"] + 0.5 * expected, abs=1e-4)
    assert "fickle_valid" in logs and "obstinate_valid" not in logs


def test_a_users_count_makes_the_gradient_independent_of_accumulation(tmp_path, registry):
    register_method(Pull(weights={"alpha": 2.0}))
    results = []
    for size, steps in ((8, 1), (2, 4)):
        trainer = make_trainer(
            tmp_path, made_rows(16), model=tiny_model("bert"), max_steps=2,
            method="pull", num_fickle=2, optim="sgd",
            per_device_train_batch_size=size, gradient_accumulation_steps=steps,
        )  # fmt: skip
        assert trainer.args.alpha == 2.0, "the method's default is filled in"
        trainer.train()
        results.append((weights_of(trainer.model), logged(trainer, "loss_pull")))
        # Evaluation has no versions to count.
        assert trainer.evaluate(made_rows(4))["eval_loss"] > 0
    assert results[0][1] == pytest.approx(results[1][1], abs=1e-5)
    assert largest_difference(results[0][0], results[1][0]) < 1e-6


def test_a_users_count_is_called_only_for_batches_with_versions(tmp_path, registry):
    register_method(Pull(weights={"alpha": 2.0}))
    trainer = make_trainer(
        tmp_path, made_rows(8), method="pull", num_train_epochs=2, clean_epochs=1,
        gradient_accumulation_steps=2, per_device_train_batch_size=2, eval_strategy="epoch",
        trainer_options={"eval_dataset": made_rows(4)},
    )  # fmt: skip
    trainer.train()
    steps = [log["step"] for log in trainer.state.log_history if "loss_pull" in log]
    assert steps == [3, 4] and len(logged(trainer, "eval_loss")) == 2


@dataclass(frozen=True)
class Push(Method):
    """Train on the logits of the obstinate versions only."""

    name: str = "push"
    draws: tuple[str, ...] = ("obstinate",)

    def terms(self, forward, settings):
        return {"loss_push": Term(forward.versions["obstinate"].logits.sum(), "obstinate", 1.0)}


def test_a_method_of_obstinate_versions_draws_antonyms(tmp_path):
    trainer = make_trainer(tmp_path, made_rows(8), max_steps=1, trainer_options={"method": Push()})
    sampler = trainer.data_collator.sampler
    assert sampler.fickle is None and sampler.obstinate.table == ANTONYMS
    preview = trainer.preview(8)
    assert preview.shares.keys() == {"obstinate"}
    # The figures for the method that draws the same obstinate versions.
    balanced = make_trainer(tmp_path, made_rows(8), method="triplet").preview(8)
    assert preview.shares["obstinate"] == balanced.shares["obstinate"]
    trainer.train()
    assert logged(trainer, "loss_push")
    assert set(trainer.save_perturbations(tmp_path)) == {"antonyms"}


def test_arguments_are_left_as_they_were(tmp_path):
    args = make_arguments(tmp_path, max_steps=1)
    parts = {"model": tiny_model("bert"), "args": args, "train_dataset": made_rows(4)}
    parts |= {"processing_class": tokenizer_for_made_rows(), "task": "snli"}
    own = BalancedTrainer(**parts, method=InfoNCE())
    assert own.args.method == "infonce" and own.args.get_method() == InfoNCE()
    assert args.method == "normal" and args.get_method() is get_method("normal")
    plain = BalancedTrainer(**parts)
    assert plain.args is args
    plain.train()
    assert not logged(plain, "loss_infonce")
    # The copy has the method, and its options may be changed.
    own.args.learning_rate = 0.5
    own.train()
    assert logged(own, "loss_infonce") and own.optimizer.param_groups[0]["lr"] == 0.5
    assert args.learning_rate == 1e-3


def test_weights_of_a_registered_method_do_not_concern_others(tmp_path, registry):
    register_method(Pull(weights={"gamma": 1.0}))
    assert make_arguments(tmp_path, method="triplet").margin == 1.0
    assert make_arguments(tmp_path, method="pull").get_method().weights == {"gamma": 1.0}


def test_a_users_method_is_previewed_recorded_and_resumed(tmp_path):
    own = {"method": InfoNCE()}
    options = {"num_train_epochs": 2, "save_strategy": "epoch"}
    trainer = make_trainer(tmp_path, made_rows(8), trainer_options=own, **options)
    assert trainer.preview(8).shares.keys() == {"fickle"}
    trainer.train()
    assert set(trainer.save_perturbations(tmp_path)) == {"synonyms"}
    trainer.create_model_card()
    card = (tmp_path / "README.md").read_text("utf-8")
    assert "infonce" in card and InfoNCE().formula in card
    resumed = make_trainer(tmp_path, made_rows(8), trainer_options=own, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert largest_difference(weights_of(trainer.model), weights_of(resumed.model)) == 0.0


def test_a_registered_method_is_chosen_by_name(tmp_path, registry):
    with pytest.raises(HfBatError, match="infonce"):
        make_arguments(tmp_path, method="infonce")
    register_method(InfoNCE(temperature=0.5))
    args = make_arguments(tmp_path, method="infonce", weight_warmup_steps=0.5)
    assert args.get_method().temperature == 0.5
    with pytest.raises(HfBatError, match="mask"):
        make_arguments(tmp_path, method="infonce", mask="authors")


def test_every_built_in_method_says_what_it_is():
    for name, method in METHODS.items():
        assert get_method(name) is method and method.name == name
        assert method.formula.startswith("`L = CE(")
        assert set(method.draws) <= {"fickle", "obstinate", "counterfactual"}
        # A method only sets defaults for its own weights and for options that it uses.
        filled = method.fill_defaults({})
        assert filled.keys() - {"clean_epochs", "weight_warmup_steps"} <= {
            *method.weights,
            *method.options,
        }


def test_weights_rise_by_default_where_a_fresh_head_needs_it(tmp_path):
    half = [0.02, 0.5, 1.0, 1.0]
    whole = [1 / 99, 25 / 99, 50 / 99, 1.0]
    rising = {"pairwise": whole, "triplet": half, "likelihood": half}
    for name, method in METHODS.items():
        args = BalancedTrainingArguments(str(tmp_path), method=name, report_to="none")
        factors = [args.get_warmup(step, 100, 0) for step in (0, 24, 49, 99)]
        assert factors == pytest.approx(rising.get(name, [1.0] * 4))
        if "clean_epochs" in method.options:
            clean = BalancedTrainingArguments(
                str(tmp_path), method=name, clean_epochs=1, report_to="none"
            )
            assert clean.get_warmup(10, 100, 10) == 1.0
        # The paper's protocol. It is allowed with every method, so loops over methods can use it.
        paper = BalancedTrainingArguments(
            str(tmp_path), method=name, weight_warmup_steps=0, report_to="none"
        )
        assert paper.get_warmup(0, 100, 0) == 1.0
