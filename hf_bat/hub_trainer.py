"""A Trainer that keeps what its evaluations found, writes the model card, and pushes without loss."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from hf_bat.errors import HfBatError, first_cause
from hf_bat.files import get_hub_name
from hf_bat.model_card import Evaluation, describe_data, even_out_logs, finish_card, gather_facts
from hf_bat.raw_text import RawTextTrainer
from hf_bat.saved_perturbations import collect_tables

logger = logging.getLogger(__name__)


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
        evaluation = Evaluation.from_metrics(
            metrics,
            reports.values(),
            name=prefix,
            step=self._step_of_weights(),
            rows=self._rows_evaluated,
            data=describe_data(rows, self.task, prefix),
        )
        self.evaluations.append(evaluation)

    def _step_of_weights(self) -> int:
        """The step that the model's weights are of: the best one's where they were loaded again."""
        best = self.state.best_global_step
        if self.args.load_best_model_at_end and best and not self.is_in_train:
            return best
        return self.state.global_step

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
        base = get_hub_name(finetuned_from)
        # Trainer's table of results needs the same columns in each evaluation.
        log_history = self.state.log_history
        self.state.log_history = even_out_logs(log_history)
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
            self.state.log_history = log_history
        has_trained = self.state.global_step > 0 and self.train_dataset is not None
        facts = gather_facts(
            self.model,
            self.args,
            self.task,
            train_rows=self.train_dataset if has_trained else None,
            tables=collect_tables(self.used_perturbations(), self.canonicalizer)
            if has_trained
            else {},
            evaluations=self.evaluations,
            step=self._step_of_weights(),
            repo=self.hub_model_id,
            base=base,
        )
        finish_card(Path(self.args.output_dir) / "README.md", facts, own_tags)
        self._is_card_written = True

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
        self._is_card_written = False
        try:
            return super().push_to_hub(commit_message, blocking, token, revision, private, **kwargs)
        except Exception as error:
            # The card is written last before the upload: an earlier failure has nothing to do with the Hub.
            if isinstance(error, HfBatError) or not self._is_card_written:
                raise
            repo, folder = self.hub_model_id, self.args.output_dir
            # What Trainer leaves out of its upload: `_adversarial` has texts of training rows.
            command = (
                f"hf upload {repo} {shlex.quote(folder)} . --exclude '_*' --exclude 'checkpoint-*'"
            )
            branch = self.args.hub_revision if revision is None else revision
            if branch:
                command += f" --revision {shlex.quote(branch)}"
            call = f"trainer.push_to_hub({f'revision={revision!r}' if revision else ''})"
            raise HfBatError(
                f"the upload to {repo} failed: {first_cause(error)}; the model is whole in {folder}: try "
                f"again with {call}, or with `{command}`"
            ) from error

    def _warn_local_base(self) -> None:
        for config in getattr(self.model, "peft_config", {}).values():
            base = config.base_model_name_or_path
            if base and get_hub_name(base) is None:
                logger.warning(
                    "the adapter's base model is a folder of this machine, where others cannot load it: set "
                    "base_model_name_or_path of the adapter's configuration to the base's name on the Hub"
                )
