"""A Trainer that keeps what its evaluations found, writes the model card, and pushes without loss."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from hf_bat.a2t import ADVERSARIAL
from hf_bat.callbacks import known_rates
from hf_bat.errors import HfBatError, first_cause
from hf_bat.files import write_atomically
from hf_bat.model_card import CardFacts, body, rows_name, section
from hf_bat.model_index import Evaluation
from hf_bat.pooling import default_pooling
from hf_bat.public_names import public_name
from hf_bat.raw_text import RawTextTrainer
from hf_bat.saved_perturbations import tables_of

logger = logging.getLogger(__name__)

# Builders of local files: a data set made by another one came from the Hub.
_LOCAL_BUILDERS = ("csv", "json", "pandas", "parquet", "text", "generator", "arrow")
# In the output folder, but never uploaded: the texts of training rows.
_PRIVATE = f"{ADVERSARIAL}/*"


class HubTrainer(RawTextTrainer):
    """The part of `BalancedTrainer` that is about model cards and the Hub."""

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        """What evaluations found since training last began, in order."""
        return []

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """`Trainer.train`; what was found of the weights before it is forgotten."""
        self.evaluations.clear()
        return super().train(*args, **kwargs)

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """`Trainer.evaluate`; the model card reports what it finds.

        Args:
            eval_dataset: raw rows, a dict of them, or None for the trainer's own.
            ignore_keys: as for `Trainer`.
            metric_key_prefix: what the metrics' names begin with. The card has one section for each
                prefix, the last evaluation under it.
        """
        meter = getattr(self, "meter", None)
        before = meter.reports if meter else None
        metrics = super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(rows, str):
            rows = self.eval_dataset[rows]
        if not isinstance(rows, dict):
            reports = meter.reports if meter and meter.reports is not before else {}
            self._note_evaluation(metrics, rows, metric_key_prefix, reports)
        return metrics

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        output = super().evaluation_loop(*args, **kwargs)
        self._rows_evaluated = output.num_samples  # rows without a label are not among them
        return output

    def _note_evaluation(
        self, metrics: Mapping[str, float], rows: Any, prefix: str, reports: Mapping[str, Any]
    ) -> None:
        attacks = {}
        for report in reports.values():
            for name, summary in report.attacks.items():
                attacks[name] = {k: v for k, v in summary.items() if k != "per_pair"}
        start = f"{prefix}_"
        own = {k[len(start) :]: v for k, v in metrics.items() if k.startswith(start)}
        self.evaluations.append(
            Evaluation(
                prefix,
                self._step_of_weights(),
                self._rows_evaluated,
                self._origin(rows, prefix),
                own,
                attacks,
            )
        )

    def _step_of_weights(self) -> int:
        """The step that the model's weights are of: the best one's where they were loaded again."""
        best = self.state.best_global_step
        if self.args.load_best_model_at_end and best and not self.is_in_train:
            return best
        return self.state.global_step

    def _origin(self, rows: Any, prefix: str) -> dict[str, str]:
        """Where rows are from, as far as can be told: a Hub data set, or rows of a user's own."""
        task = self.task
        builder = getattr(rows, "builder_name", None)
        if task is None or task.hub is None or builder is None or builder in _LOCAL_BUILDERS:
            name = "unknown" if task is None else task.name
            return {"type": name, "name": f"{name} (rows of the user's own)", "split": prefix}
        path, configuration = task.hub
        origin = {"type": path, "name": task.name}
        if configuration is not None:
            origin["config"] = configuration
        return {**origin, "split": str(rows.split or prefix)}

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
    ) -> None:
        """Write `README.md` into the output folder: `Trainer`'s metadata and hyper-parameters, and the
        method, tables, evaluations with both success rates, limits and citation.

        The figures are those of `evaluate` calls on the weights that the model has now.

        Args:
            language: as for `Trainer`, as is all else.
            license: of the model.
            tags: beside `hf_bat` and the method's name.
            model_name: the title.
            finetuned_from: the base model; a folder of this machine is not named.
            tasks: task identifiers of the Hub.
            dataset_tags: data set identifiers of the Hub.
            dataset: data set names.
            dataset_args: data set configurations.
        """
        if not self.is_world_process_zero():
            return
        own_tags = ["hf_bat", self.args.method]
        if hasattr(self.model, "add_model_tags"):
            self.model.add_model_tags(own_tags)
        given = [tags] if isinstance(tags, str) else list(tags or [])
        base = public_name(finetuned_from)
        logged, self.state.log_history = self.state.log_history, _even(self.state.log_history)
        try:
            super().create_model_card(
                language,
                license,
                list(dict.fromkeys([*given, *own_tags])),
                model_name,
                base,
                tasks or "text-classification",
                dataset_tags,
                dataset,
                dataset_args,
            )
        finally:
            self.state.log_history = logged
        self._finish_card(own_tags, base)

    def _finish_card(self, own_tags: list[str], base: str | None) -> None:
        """Put our text and figures into the card that `Trainer` has written."""
        from huggingface_hub import ModelCard

        path = Path(self.args.output_dir) / "README.md"
        written = ModelCard.load(path, ignore_metadata_errors=True)
        data = written.data
        base = base or public_name(data.get("base_model"))
        facts = self._card_facts(base, section(written.text, "Training procedure"), data.model_name)
        data.base_model = base
        data.tags = list(dict.fromkeys([*(data.tags or []), *own_tags]))
        data.library_name = "peft" if facts.is_adapter else "transformers"
        data.pipeline_tag = "text-classification"
        # The last of each set; two of one set would be one entry of the index.
        found = {tuple(sorted(e.data.items())): e.results() for e in facts.evaluations}
        data.eval_results = [result for results in found.values() for result in results] or None
        data.model_name = facts.name if data.eval_results else None  # the index's
        measures = {result.metric_type for result in data.eval_results or []}
        data.metrics = sorted(measures - {"attackable", "keep_rate"}) or None
        hub_data = {e.data["type"] for e in facts.evaluations if "/" in e.data["type"]}
        data.datasets = sorted(hub_data) or data.datasets
        text = f"---\n{data.to_yaml()}\n---\n\n{body(facts)}"
        write_atomically(path, text, "the model card")

    def _card_facts(self, base: str | None, procedure: str, model_name: str | None) -> CardFacts:
        args = self.args
        name = model_name or (args.hub_model_id or Path(args.output_dir).resolve().name)
        step = self._step_of_weights()
        latest = {e.name: e for e in self.evaluations if e.step == step}
        trained = self.state.global_step > 0 and self.train_dataset is not None
        tables = tables_of(self.used_perturbations(), self.canonicalizer) if trained else {}
        folder = Path(args.output_dir)
        config = self.model.config
        return CardFacts(
            name=name.split("/")[-1],
            repo=self.hub_model_id or args.hub_model_id or name,
            base=base,
            args=args,
            pooling=args.pooling or default_pooling(self.model),
            task=self.task,
            label_names=[str(config.id2label[i]) for i in range(config.num_labels)],
            tables=tables,
            trained_on=self._training_rows() if trained else None,
            table_files=[
                f"{name}.json.gz" for name in tables if (folder / f"{name}.json.gz").is_file()
            ],
            evaluations=list(latest.values()),
            procedure=procedure,
            is_adapter=hasattr(self.model, "peft_config"),
        )

    def _training_rows(self) -> str:
        rows = self.train_dataset
        number = f"{len(rows):,} rows" if hasattr(rows, "__len__") else "a stream of rows"
        return f"{number} of {rows_name(self._origin(rows, 'train'))}"

    # ---- the Hub ------------------------------------------------------------------------------

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make the repository on the Hub; done before training where `push_to_hub` is set.

        Raises:
            HfBatError: it cannot be made, in one line.
        """
        try:
            super().init_hf_repo(token, private)
        except Exception as error:  # of the HTTP library, which is the Hub library's choice
            name = self.args.hub_model_id or "the repository"
            raise HfBatError(
                f"cannot create {name} on the Hub: {first_cause(error)}; "
                "check the name and `hf auth whoami`, or leave push_to_hub out and push later"
            ) from error

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """`Trainer.push_to_hub` with the card; a failed upload leaves the local model whole.

        Args:
            commit_message: of the commit.
            blocking: wait for the upload; where False, an upload that fails does so in the future returned.
            token: with write permission; `hub_token` or the one logged in with where None.
            revision: branch to commit to.
            private: whether a repository that is made here is private.
            **kwargs: for `create_model_card`.

        Raises:
            HfBatError: the upload failed: says where the model is and how to try again.
        """
        self._warn_local_base()
        self._uploading = False
        try:
            with _training_texts_left_out():
                return super().push_to_hub(
                    commit_message, blocking, token, revision, private, **kwargs
                )
        except HfBatError:
            raise
        except Exception as error:
            if not self._uploading:
                raise  # a failure on this machine
            repo, folder = self.hub_model_id, self.args.output_dir
            command = (
                f"hf upload {repo} {shlex.quote(folder)} . --exclude 'checkpoint-*' "
                f"--exclude '{_PRIVATE}'"
            )
            branch = self.args.hub_revision if revision is None else revision
            if branch:
                command += f" --revision {shlex.quote(branch)}"
            call = f"trainer.push_to_hub({f'revision={revision!r}' if revision else ''})"
            raise HfBatError(
                f"the upload to {repo} failed: {first_cause(error)}; the model is whole in {folder}: try "
                f"again with {call}, or with `{command}`"
            ) from error

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        with _training_texts_left_out():
            super()._push_from_checkpoint(checkpoint_folder)

    def _finish_current_push(self) -> None:
        # `push_to_hub` calls this between its work on this machine and the upload.
        self._uploading = True
        super()._finish_current_push()

    def _warn_local_base(self) -> None:
        for config in getattr(self.model, "peft_config", {}).values():
            base = config.base_model_name_or_path
            if base and public_name(base) is None:
                logger.warning(
                    "the adapter's base model is a folder of this machine, where others cannot load it: set "
                    "base_model_name_or_path of the adapter's configuration to the base's name on the Hub"
                )


class _Uploader:
    """The Trainer's client of the Hub; its uploads leave out the texts of training rows.

    Args:
        client: a `huggingface_hub.HfApi`.
    """

    def __init__(self, client: Any):
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def upload_folder(self, **options: Any) -> Any:
        """As that of `HfApi`."""
        ignored = [*(options.pop("ignore_patterns", None) or ()), _PRIVATE]
        return self._client.upload_folder(ignore_patterns=ignored, **options)


@contextmanager
def _training_texts_left_out() -> Iterator[None]:
    """While this lasts, the Trainer's uploads, which know no exceptions of ours, leave those texts out."""
    from transformers import trainer

    of_transformers = trainer.hf_api
    trainer.hf_api = lambda: _Uploader(of_transformers())
    try:
        yield
    finally:
        trainer.hf_api = of_transformers


def _even(logs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The log with the same figures in every evaluation, as `Trainer`'s table of them takes for granted.

    Not every evaluation attacks, and a rate may be over nothing: such a figure is a dash.
    """
    evaluations = [log for log in logs if "eval_loss" in log]
    names = dict.fromkeys(name for log in evaluations for name in log)
    return [
        {name: known_rates(log).get(name, "–") for name in names}
        if "eval_loss" in log
        else dict(log)
        for log in logs
    ]
