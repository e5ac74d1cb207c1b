"""The certificate of a smoothed classifier: rows that no substitution can flip (SAFER).

Ye, Gong and Liu, "SAFER: A structure-free approach for certified robustness to adversarial word
substitutions", ACL 2020. With p the probability that the smoothed classifier's vote goes to a label at
the input x, and Q the least overlap of x's smoothing distribution with that of an edited input, the vote
at every edited input goes to that label with a probability of at least p - (1 - Q). Where that is over
one half, no edit changes the smoothed classifier's answer.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from hf_bat.attack.engine import Counter, Engine
from hf_bat.attack.ranks import rank_and_world
from hf_bat.attack.report import marks_of
from hf_bat.attack.requests import Request, Score
from hf_bat.attack.rows import Example, RowsFile, fingerprint, read_examples
from hf_bat.attack.runner import as_classifier
from hf_bat.attack.stream import run_rows
from hf_bat.certificate.bounds import CERTIFIED, Tally, looks
from hf_bat.certificate.report import NO_LABEL, SKIPPED, UNLIMITED, CertificateReport, summarise
from hf_bat.certificate.smoothing import SmoothedClassifier, Smoothing, SynonymSource, check_whole
from hf_bat.console import progress as bar_of
from hf_bat.data import labels_of
from hf_bat.errors import HfBatError
from hf_bat.perturbations.base import Texts
from hf_bat.stats import clopper_pearson
from hf_bat.tasks import Task, get_task
from hf_bat.version import __version__

KEY = "certificate"
# Draws that choose the label to certify where a row has none; they are not used again (Cohen et al. 2019).
_SELECTION_SAMPLES = 100
_SELECTION = 1
# Samples kept in memory at once, of all rows in flight.
_KEPT = 64_000


def certify(
    model: Any,
    rows: Iterable[Mapping[str, Any]],
    task: str | Task = "snli",
    *,
    synonyms: SynonymSource = None,
    radius: int | None = None,
    confidence: float = 0.95,
    samples: int = 2000,
    early_stopping: bool = True,
    seed: int = 0,
    tokenizer: Any = None,
    rows_file: str | Path | None = None,
    max_samples: int | None = None,
    batch_size: int | None = None,
    max_length: int | None = None,
    device: Any = None,
    dtype: str = "float32",
    progress: bool | None = None,
) -> CertificateReport:
    """Certify the smoothed version of a classifier against synonym substitutions.

    Per row, samples of the smoothing distribution give a Clopper-Pearson lower bound of p, the
    probability of the gold label's vote; the row is certified against an adversary where
    `p_lower - (1 - Q) > 0.5`. It says at the chosen confidence, which is per row, that the *smoothed*
    classifier answers with the gold label for every input that the adversary can make. It says nothing
    of the plain classifier.

    Samples are drawn until a row is decided: at looks fixed beforehand (32, 63, 125, ... samples), over
    which the risk 1 - confidence is shared out, so that stopping early does not spoil it; see
    `hf_bat.certificate.bounds.Tally`. A row is "not certified" where the upper bound (of the same
    confidence) shows that more samples would not certify it, and "abstained" where all samples decide
    neither.

    A row without a label is certified for the answer of the smoothed classifier, chosen by 100 samples
    that are not used for the bound; it is left out of accuracies.

    Args:
        model: as `hf_bat.attack.Attack` takes it: a classifier, the folder or Hub id of one, or a
            function from inputs to (n, labels) probabilities.
        rows: a `datasets.Dataset` or dicts with the task's columns and, where they have one, a label.
        task: the rows' task, or its name.
        synonyms: the table that is smoothed over, which is the adversary's too; see `Smoothing`.
        radius: certify against at most 1, 2, ... so many substitutions too; only against any number
            where None. An adversary of 0 is the smoothed prediction itself, always reported.
        confidence: of a row's certificate, in (0, 1).
        samples: the most samples a row.
        early_stopping: False to draw all samples and look once: dearer, with tighter bounds.
        seed: of the draws.
        tokenizer: the model's tokenizer; loaded with a model given by path.
        rows_file: stream results to this JSON-lines file, and go on from it.
        max_samples: only the first so many rows.
        batch_size: the most inputs in a forward pass; 32 on a processor, 256 on a GPU where None.
        max_length: tokens after which an input is cut; the model's limit where None.
        device: where a transformers model runs.
        dtype: "float32", or "bfloat16" or "float16" by autocast.
        progress: show a bar; only on a terminal where None.

    Returns:
        The report: `report["certified_accuracy"]` and the other figures (`CertificateReport.summary`), and a
        dict a row in `report.rows`.

    Raises:
        HfBatError: no synonym table, a negative radius, a confidence outside (0, 1), too few samples to
            certify anything at that confidence, bad rows, a rows file of another run.

    Example:
        >>> def model(pairs):
        ...     return [[0.9, 0.1] if "cat" in pair[0] else [0.2, 0.8] for pair in pairs]
        >>> rows = [
        ...     {"question1": "A dog?", "question2": "A pet?", "label": 1},
        ...     {"question1": "A cat?", "question2": "A pet?", "label": 1},
        ... ]
        >>> table = {"dog": ["hound"], "hound": ["dog"]}
        >>> report = certify(model, rows, "qqp", synonyms=table)
        >>> [row["outcome"] for row in report.rows], report["certified_accuracy"]
        (['certified', 'not certified'], 0.5)
    """
    check_whole("max_samples", max_samples, or_none=True)
    if max_samples is not None and max_samples < 1:
        raise HfBatError(f"max_samples must be at least 1; got {max_samples}")
    setting = Setting(Smoothing(synonyms, seed), radius, confidence, samples, early_stopping)
    classifier = as_classifier(model, tokenizer, max_length, device, dtype)
    behind: Any = classifier
    while behind is not None:  # a defence may stand before it
        if isinstance(behind, SmoothedClassifier):
            raise HfBatError("certify smooths the model itself: give it the plain classifier")
        behind = getattr(behind, "inner", None)
    task = get_task(task)
    examples = read_examples(rows, task, classifier.config, max_samples)
    if not examples:
        raise HfBatError("there are no rows to certify")
    certifier = _Certifier(setting, labels_of(rows, task, classifier.config)[1].model_names)
    rank, world = rank_and_world()
    engine = Engine(classifier, batch_size, in_flight=max(8, _KEPT // setting.samples))
    file = None
    if rows_file is not None:
        identity = {
            "setting": setting.hash[:16],
            "model": classifier.identity[:16],
            "data": fingerprint(examples)[:16],
        }
        marks = marks_of(classifier.disclosed())
        file = RowsFile(rows_file, KEY, identity, rank, world, marks=marks)

    def work(mine: Sequence[Example], already: int) -> Iterator[list[dict[str, Any]]]:
        return certifier.certify(mine, already, engine, False if rank else progress)

    found = run_rows(examples, work, file, rank, world)
    about: dict[str, Any] = {
        "model": classifier.name,
        "task": task.name,
        "hf_bat_version": __version__,
        "cost": engine.meter.of_all_ranks(world),
        **classifier.disclosed(),
    }
    summary = summarise(found, setting.adversaries, setting.confidence)
    return CertificateReport(summary | {"setting": setting.describe()}, found, about)


@dataclass(frozen=True)
class Setting:
    """What a certificate says but for model and rows; see `certify` for the arguments.

    Example:
        >>> setting = Setting(Smoothing({"dog": ["hound"]}), radius=2)
        >>> setting.adversaries, setting.looks[:2]
        (('0', '1', '2', 'unlimited'), (32, 63))
    """

    smoothing: Smoothing
    radius: int | None = None
    confidence: float = 0.95
    samples: int = 2000
    early_stopping: bool = True

    def __post_init__(self) -> None:
        check_whole("samples", self.samples)
        check_whole("radius", self.radius, or_none=True)
        if not isinstance(self.confidence, Real):
            raise HfBatError(f"confidence must be a number; got {self.confidence!r}")
        # Plain numbers, for numpy's cannot be written as JSON.
        object.__setattr__(self, "samples", int(self.samples))
        object.__setattr__(self, "radius", None if self.radius is None else int(self.radius))
        object.__setattr__(self, "confidence", float(self.confidence))
        if self.radius is not None and self.radius < 0:
            raise HfBatError(
                f"radius is a number of substitutions, from 0 on; got {self.radius} "
                "(leave it out for any number)"
            )
        if not 0 < self.confidence < 1:
            raise HfBatError(
                f"confidence must lie between 0 and 1, both exclusive; got {self.confidence}"
            )
        if self.samples < 1:
            raise HfBatError(f"a certificate needs at least 1 sample; got {self.samples}")
        if clopper_pearson(self.samples, self.samples, self.risk / len(self.looks))[0] <= 0.5:
            raise HfBatError(
                f"{self.samples} samples cannot certify any row at confidence {self.confidence}; "
                "give more samples or ask for less confidence"
            )

    @property
    def risk(self) -> float:
        """How often a certificate may be wrong, per row."""
        return 1 - self.confidence

    @property
    def looks(self) -> tuple[int, ...]:
        """After how many samples a row may be decided."""
        return looks(self.samples, self.early_stopping)

    @property
    def adversaries(self) -> tuple[str, ...]:
        """How many words each adversary may replace: "0" to the radius, and "unlimited"."""
        return (*(str(number) for number in range((self.radius or 0) + 1)), UNLIMITED)

    @property
    def asked(self) -> str:
        """The adversary that a row's outcome is about."""
        return UNLIMITED if self.radius is None else str(self.radius)

    def qualities(self, texts: Texts) -> dict[str, float]:
        """Q of an input for each adversary."""
        overlaps = self.smoothing.overlaps(texts)
        return {
            name: math.prod(overlaps if name == UNLIMITED else overlaps[: int(name)])
            for name in self.adversaries
        }

    def describe(self) -> dict[str, Any]:
        """Every choice, ready for JSON."""
        return {
            **self.smoothing.describe(),
            "radius": self.radius,
            "confidence": self.confidence,
            "samples": self.samples,
            "looks": list(self.looks),
        }

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON of `describe()`, the table's fingerprint included."""
        text = json.dumps(self.describe(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


class _Certifier:
    """A setting, ready for rows."""

    def __init__(self, setting: Setting, label_names: Sequence[str]):
        self.setting, self.label_names = setting, label_names

    def certify(
        self, examples: Sequence[Example], already: int, engine: Engine, progress: bool | None
    ) -> Iterator[list[dict[str, Any]]]:
        searches = ((partial(self._row, example), None) for example in examples)
        total = len(examples) + already
        with bar_of(total, "certify", "row", show=progress, initial=already) as bar:
            tried = certified = 0
            for results in engine.run(searches):
                yield results
                tried += sum(row["outcome"] != SKIPPED for row in results)
                certified += sum(row["outcome"] == CERTIFIED for row in results)
                if tried:
                    bar.set_postfix(certified=f"{certified / tried:.3f}", refresh=False)
                bar.update(len(results))

    def _row(self, example: Example, counter: Counter) -> Generator[Request, Any, dict[str, Any]]:
        """Certify one row: the generator that the engine runs."""
        texts, label = example.texts, example.label
        row: dict[str, Any] = {
            "idx": example.idx,
            "attack": KEY,
            "outcome": SKIPPED,
            "reason": example.reason,
            "original": list(texts),
            "label": label,
            "label_name": self._name(label),
            "queries": 0,
        }
        if example.reason not in (None, NO_LABEL):
            return row
        del row["reason"]
        setting, draws = self.setting, self.setting.smoothing.draws
        selecting = draws(texts, _SELECTION_SAMPLES, purpose=_SELECTION) if label is None else []
        answers = yield Score([texts, *selecting])
        plain, labels = int(answers[0].argmax()), answers.shape[1]
        votes = np.zeros(labels, dtype=int)
        certified = label
        if certified is None:
            certified = int(np.bincount(answers[1:].argmax(axis=1)).argmax())
        if not 0 <= certified < labels:
            raise HfBatError(
                f"row {example.idx} has label {label}, and the model gives {labels} "
                "probabilities (labels from 0)"
            )
        qualities = setting.qualities(texts)
        # p_lower - (1 - Q) > 1/2, with what is known before the votes on one side.
        thresholds = {name: 1.5 - quality for name, quality in qualities.items()}
        tally = Tally(setting.looks, setting.risk)
        for look in setting.looks:
            new = look - tally.trials
            answers = yield Score(draws(texts, new, first=tally.trials))
            votes += np.bincount(answers.argmax(axis=1), minlength=labels)
            tally.add(int(votes[certified]) - tally.successes, new)
            if tally.decided(thresholds.values()):
                break
        verdicts = {name: tally.verdict(threshold) for name, threshold in thresholds.items()}
        predicted = int(votes.argmax())
        return row | {
            "outcome": verdicts[setting.asked],
            "queries": counter.queries,
            "plain": plain,
            "predicted": predicted,
            "predicted_name": self._name(predicted),
            "certified_label": certified,
            "verdicts": verdicts,
            "p_lower": tally.low,
            "p_upper": tally.high,
            "overlap": qualities,
            "votes": votes.tolist(),
            "samples": tally.trials,
        }

    def _name(self, label: int | None) -> str | None:
        if label is None:
            return None
        return self.label_names[label] if 0 <= label < len(self.label_names) else str(label)
