"""Training on a stream of rows: the same weights as on the rows themselves, and errors."""

import pytest
import torch
from attack_helpers import made_rows
from datasets import Dataset
from tiny_models import tiny_model, tiny_tokenizer
from torch.utils.data import IterableDataset

from hf_bat import BalancedTrainer, BalancedTrainingArguments, HfBatError
from hf_bat.streams import RowStream
from hf_bat.tasks import get_task, user_task

ROWS = made_rows(24, seed=8)
TASK = user_task(["premise", "hypothesis"], ["entailment", "neutral", "contradiction"])


class Plain(IterableDataset):
    """A torch data set that can only be read in order."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


def make_trainer(folder, rows, **options):
    args = BalancedTrainingArguments(
        str(folder), per_device_train_batch_size=4, max_steps=9, seed=3, use_cpu=True, disable_tqdm=True,
        report_to="none", **{"method": "triplet", "save_strategy": "no", **options},
    )  # fmt: skip
    return BalancedTrainer(
        model=tiny_model("bert"), args=args, train_dataset=rows, eval_dataset=ROWS,
        processing_class=tiny_tokenizer(), task=TASK,
    )  # fmt: skip


class InOrder(BalancedTrainer):
    """Reads rows in order, like a stream."""

    def _get_train_sampler(self, *_):
        return torch.utils.data.SequentialSampler(self.train_dataset)


@pytest.mark.parametrize("kind", ["datasets", "torch", "without idx"])
def test_a_stream_gives_the_weights_of_its_rows(tmp_path, kind):
    # Nine steps of four rows are one and a half passes, so the second epoch has different draws.
    numbered = [{**row, "idx": number} for number, row in enumerate(ROWS)]
    plain = [{k: v for k, v in row.items() if k != "idx"} for row in ROWS]
    stream = {
        "datasets": Dataset.from_list(numbered).to_iterable_dataset(),
        "torch": Plain(numbered),
        "without idx": Plain(plain),
    }[kind]
    streamed = make_trainer(tmp_path / "stream", stream)
    streamed.train()
    other = make_trainer(tmp_path / "rows", numbered)
    other.__class__ = InOrder
    other.train()
    for name, weight in streamed.model.state_dict().items():
        assert torch.equal(weight, other.model.state_dict()[name]), name
    assert streamed.state.global_step == 9
    assert streamed.evaluate()["eval_loss"] == other.evaluate()["eval_loss"]


def test_unusable_rows_are_left_out_and_counted(caplog):
    rows = [{**row} for row in ROWS]
    rows[3]["label"], rows[5]["premise"], rows[6]["hypothesis"] = -1, " ", None
    config = tiny_model("bert").config
    kept = list(RowStream(Plain(rows), TASK, config, "training set"))
    assert [row["idx"] for row in kept] == [i for i in range(24) if i not in (3, 5, 6)]
    assert [row["label"] for row in kept] == [rows[row["idx"]]["label"] for row in kept]
    assert "left out 3 of 24 rows (2 with an empty text, 1 without a label)" in caplog.text


def test_labels_are_numbered_as_the_model_does():
    config = tiny_model("bert").config
    config.id2label = {0: "contradiction", 1: "entailment", 2: "neutral"}
    rows = Dataset.from_list(ROWS).to_iterable_dataset()
    labels = [row["label"] for row in RowStream(rows, get_task("snli"), config, "rows")]
    assert labels == [{0: 1, 1: 2, 2: 0}[row["label"]] for row in ROWS]


@pytest.mark.parametrize(
    ("rows", "options", "word"),
    [
        (ROWS, {"method": "counterfactual"}, "counterfactual"),
        (ROWS, {"method": "a2t", "num_train_epochs": 2}, "a2t"),
        (ROWS, {"train_sampling_strategy": "group_by_length"}, "group_by_length"),
        ([{"premise": "A dog.", "label": 0}], {}, "hypothesis"),
        ([{**ROWS[0], "idx": -4}], {}, "idx"),
        ([], {}, "no rows"),
        ([{k: v for k, v in row.items() if k != "idx"} for row in ROWS],
         {"dataloader_num_workers": 2}, "dataloader_num_workers"),
    ],
)  # fmt: skip
def test_bad_streams_are_refused(tmp_path, rows, options, word):
    with pytest.raises(Exception, match=word) as caught:
        make_trainer(tmp_path, Plain(rows), **options).train()
    # An error in a worker is raised again with its traceback.
    assert isinstance(caught.value, HfBatError) or "HfBatError" in str(caught.value)


def test_a_stream_resumes_in_its_first_pass_only(tmp_path):
    """`Trainer` skips rows of one pass, so later checkpoints would continue with other rows."""
    numbered = [{**row, "idx": number} for number, row in enumerate(ROWS)]
    stream = Dataset.from_list(numbered).to_iterable_dataset()  # six steps per pass
    whole = make_trainer(tmp_path, stream, save_strategy="steps", save_steps=4)
    whole.train()
    early = make_trainer(tmp_path, stream)
    early.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    ours, theirs = early.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    late = make_trainer(tmp_path, stream)
    with pytest.raises(HfBatError, match="step 8"):
        late.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
