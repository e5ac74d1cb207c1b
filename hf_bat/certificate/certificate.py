"""Certify rows where no synonym substitution changes the prediction of a smoothed classifier (SAFER).

Ye, Gong and Liu, "SAFER: A structure-free approach for certified robustness to adversarial word
substitutions", ACL 2020. Let p be the probability that the smoothed classifier votes for a label at the
input x, and Q the smallest overlap of the smoothing distributions of x and any edited input. At each
edited input, the probability of a vote for that label is at least p - (1 - Q). If this exceeds one
half, no edit changes the prediction of the smoothed classifier.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from hf_bat.attack.answers import NO_ANSWER, find_failed
from hf_bat.attack.engine import Counter, Engine, Request, Score
from hf_bat.attack.models import as_classifier
from hf_bat.attack.recipes import hash_description
from hf_bat.attack.report import marks_of
from hf_bat.attack.rows import (
    Example,
    RowsFile,
    fingerprint,
    name_label,
    read_examples,
    run_rows,
)
from hf_bat.certificate.report import (
    ABSTAINED,
    CERTIFIED,
    NO_LABEL,
    NOT_CERTIFIED,
    SKIPPED,
    UNLIMITED,
    CertificateReport,
    summarize,
)
from hf_bat.certificate.smoothing import (
    SmoothedClassifier,
    Smoothing,
    SynonymSource,
    count_votes,
    name_vote,
)
from hf_bat.data import find_labels, open_rows
from hf_bat.errors import HfBatError, check_integer
from hf_bat.perturbations.base import Texts
from hf_bat.stats import clopper_pearson
from hf_bat.tasks import Task, get_task
from hf_bat.version import __version__

KEY = "certificate"
# With 32 of 32 votes, the probability is above 0.85 at a confidence of 0.95.
_FIRST_LOOK = 32
# Number of draws to choose the label of an unlabeled row. Using the same draws for the certificate
# would be biased (Cohen, Rosenfeld and Kolter 2019), so they come from a separate stream.
_SELECTION_SAMPLES = 100
_SELECTION = 1
# Limits the memory for samples of all rows in flight.
_SAMPLES_IN_FLIGHT = 64_000


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
    row_choice: str = "even",
    batch_size: int | None = None,
    max_length: int | None = None,
    device: Any = None,
    dtype: str = "float32",
    progress: bool | None = None,
) -> CertificateReport:
    """Certify the smoothed version of a classifier against synonym substitutions.

    For each row, samples from the smoothing distribution yield a Clopper-Pearson lower bound of p, the
    probability of a vote for the gold label. The row is certified against an adversary if `p_lower - (1 -
    Q) > 0.5`. At the given confidence (per row), the *smoothed* classifier then predicts the gold label
    for all inputs that the adversary can make. The certificate does not apply to the plain classifier.

    Samples are drawn until a row is decided, which is checked at the looks set in advance by
    `schedule_looks`. A row is "not certified" if the upper bound shows that more samples would not certify
    it, and "abstained" if all samples are not enough to decide.

    A row without a label is certified for the prediction of the smoothed classifier, which is determined
    with 100 separate samples. It is not included in accuracies.

    Args:
        model: A classifier, its folder or Hub id, or a function; see `hf_bat.attack.Attack`.
        rows: A `datasets.Dataset` or dicts with the task's columns and an optional label.
        task: Task of the rows, or its name. Defaults to "snli".
        synonyms: Table to smooth over, which the adversary also uses; see `Smoothing`.
        radius: Also certify against adversaries that replace at most 1, ..., `radius` words. If `None`, only
            certify against any number of words.
        confidence: Confidence of each row's certificate, in (0, 1). Defaults to 0.95.
        samples: Maximum number of samples per row. Defaults to 2000.
        early_stopping: If `False`, draw all samples and look once, which is slower but has tighter
            bounds.
        seed: Seed of the draws. Defaults to 0.
        tokenizer: The model's tokenizer. If `None`, it is loaded from the model's path.
        rows_file: JSON Lines file to write results to, and to resume from.
        max_samples: Maximum number of rows. If `None`, all rows.
        row_choice: Which rows `max_samples` selects: "even" (spread evenly over all rows) or
            "first". Defaults to "even".
        batch_size: Maximum number of inputs per forward pass. If `None`, 32 on a CPU and 256 on a GPU.
        max_length: Maximum input length in tokens. If `None`, the model's limit.
        device: Device of a transformers model.
        dtype: "float32" (default), or "bfloat16" or "float16" for autocast.
        progress: Whether to show a progress bar. If `None`, only on a terminal.

    Returns:
        The report, with values such as `report["certified_accuracy"]` and one dict per row in `report.rows`.

    Raises:
        HfBatError: If the table, options, rows or rows file are invalid, or `samples` are too few
            to certify rows.

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
    if not isinstance(confidence, Real):
        raise HfBatError(f"confidence must be a number; got {confidence!r}")
    setting = Setting(
        Smoothing(synonyms, seed),
        None if radius is None else check_integer("radius", radius),
        float(confidence),
        check_integer("samples", samples),
        early_stopping,
    )
    classifier = as_classifier(model, tokenizer, max_length, device, dtype)
    layer: Any = classifier
    while layer is not None:  # a preprocessing defense wraps the model it defends
        if isinstance(layer, SmoothedClassifier):
            raise HfBatError("certify smooths the model itself; pass the plain classifier")
        layer = getattr(layer, "inner", None)
    task = get_task(task)
    rows = open_rows(rows, task)
    examples = read_examples(rows, task, classifier.config, max_samples, row_choice)
    label_names = find_labels(rows, task, classifier.config)[1].model_names
    classifier.name_labels(label_names)
    # Rows in flight share batches. The limit keeps the memory for their samples constant.
    engine = Engine(classifier, batch_size, in_flight=max(8, _SAMPLES_IN_FLIGHT // setting.samples))
    file = None
    if rows_file is not None:
        # Rows files are only resumed by runs with the same values of these three.
        identity = {
            "setting": setting.hash[:16],
            "model": classifier.identity[:16],
            "data": fingerprint(examples)[:16],
        }
        marks = marks_of(classifier.disclosed())
        file = RowsFile(rows_file, KEY, identity, marks=marks)
    results = run_rows(
        examples,
        engine,
        partial(_certify_row, setting, label_names),
        dict[str, Any],
        file,
        "certify",
        CERTIFIED,
        progress=progress,
    )
    about: dict[str, Any] = {
        "model": classifier.name,
        "task": task.name,
        "hf_bat_version": __version__,
        "cost": engine.meter.sum_over_ranks(),
        **classifier.disclosed(),
    }
    summary = summarize(results, setting.adversaries, setting.confidence)
    return CertificateReport(summary | {"setting": setting.describe()}, results, about)


@dataclass(frozen=True)
class Setting:
    """All settings of a certificate except the model and the rows; see `certify`."""

    smoothing: Smoothing
    radius: int | None = None
    confidence: float = 0.95
    samples: int = 2000
    early_stopping: bool = True

    def __post_init__(self) -> None:
        if self.radius is not None and self.radius < 0:
            raise HfBatError(
                f"radius must be at least 0 substitutions; got {self.radius} (omit it for any number)"
            )
        if not 0 < self.confidence < 1:
            raise HfBatError(f"confidence must lie between 0 and 1; got {self.confidence}")
        if self.samples < 1:
            raise HfBatError(f"samples must be at least 1; got {self.samples}")
        if clopper_pearson(self.samples, self.samples, self.risk / len(self.looks))[0] <= 0.5:
            raise HfBatError(
                f"{self.samples} samples cannot certify any row at confidence {self.confidence}; "
                "raise samples or lower confidence"
            )

    @property
    def risk(self) -> float:
        """Maximum probability that the certificate of a row is wrong."""
        return 1 - self.confidence

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of samples after which rows may be decided."""
        return schedule_looks(self.samples, self.early_stopping)

    @property
    def adversaries(self) -> tuple[str, ...]:
        """Adversaries by the number of words they may replace: "0" to the radius, and "unlimited"."""
        return (*(str(number) for number in range((self.radius or 0) + 1)), UNLIMITED)

    @property
    def adversary(self) -> str:
        """The adversary that decides the row's outcome."""
        return UNLIMITED if self.radius is None else str(self.radius)

    def compute_qualities(self, texts: Texts) -> dict[str, float]:
        """Compute the input's Q for each adversary."""
        compute = self.smoothing.compute_quality
        return {
            name: compute(texts, None if name == UNLIMITED else int(name))
            for name in self.adversaries
        }

    def describe(self) -> dict[str, Any]:
        """Return all settings, ready for JSON."""
        return {
            **self.smoothing.describe(),
            "radius": self.radius,
            "confidence": self.confidence,
            "samples": self.samples,
            "looks": list(self.looks),
        }

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of `describe()`, with the fingerprint of the table."""
        return hash_description(self.describe())


def _certify_row(
    setting: Setting, label_names: Sequence[str], example: Example, counter: Counter
) -> Generator[Request, Any, dict[str, Any]]:
    """Certify one row. The engine runs this generator and executes its queries in batches."""
    texts, label = example.texts, example.label
    row: dict[str, Any] = {
        "idx": example.idx,
        "attack": KEY,
        "outcome": SKIPPED,
        "reason": example.reason,
        "original": list(texts),
        "label": label,
        "label_name": name_label(label, label_names),
        "queries": 0,
    }
    if example.reason not in (None, NO_LABEL):  # the text is empty or broken
        return row
    del row["reason"]
    draw = setting.smoothing.draw
    selection = draw(texts, _SELECTION_SAMPLES, purpose=_SELECTION) if label is None else []
    # A single request for both, because draws that equal the text need no further query.
    probabilities = yield Score([texts, *selection])
    num_labels = probabilities.shape[1]
    plain = name_vote(int(count_votes(probabilities[:1]).argmax()), num_labels)
    certified = label
    if certified is None:  # by a majority vote
        certified = name_vote(int(count_votes(probabilities[1:]).argmax()), num_labels)
    # Samples without an answer are not counted, and an abstention cannot be certified.
    if find_failed(probabilities).any() or certified is None:
        reason = ABSTAINED if certified is None else NO_ANSWER
        return row | {"reason": reason, "queries": counter.queries}
    if not 0 <= certified < num_labels:  # the labels of a function are only checked here
        raise HfBatError(
            f"row {example.idx} has label {label}, but the model returns {num_labels} probabilities "
            "(labels count from 0)"
        )
    qualities = setting.compute_qualities(texts)
    # p_lower - (1 - Q) > 1/2, solved for p_lower.
    thresholds = {name: 1.5 - quality for name, quality in qualities.items()}
    votes = np.zeros(num_labels + 1, dtype=int)
    tally = Tally(setting.looks, setting.risk)
    for look in setting.looks:
        new = look - tally.trials
        probabilities = yield Score(draw(texts, new, first=tally.trials))
        if find_failed(probabilities).any():
            return row | {"reason": NO_ANSWER, "queries": counter.queries}
        votes += count_votes(probabilities)
        tally.add(int(votes[certified]) - tally.successes, new)
        if tally.is_decided(thresholds.values()):
            break
    verdicts = {name: tally.decide(threshold) for name, threshold in thresholds.items()}
    predicted = name_vote(int(votes.argmax()), num_labels)
    # An abstention is not a vote for any label, so it can only weaken a certificate.
    abstentions = {"abstentions": int(votes[-1])} if votes[-1] else {}
    return row | {
        "outcome": verdicts[setting.adversary],
        "queries": counter.queries,
        "plain": plain,
        "predicted": predicted,
        "predicted_name": name_label(predicted, label_names),
        "certified_label": certified,
        "verdicts": verdicts,
        "p_lower": tally.low,
        "p_upper": tally.high,
        "overlap": qualities,
        "votes": votes[:-1].tolist(),
        **abstentions,
        "samples": tally.trials,
    }


def schedule_looks(samples: int, early_stopping: bool = True) -> tuple[int, ...]:
    """Return the numbers of samples after which votes are counted. Each is about twice the previous one.

    Counting repeatedly and stopping at a favorable result would invalidate a confidence level for a single
    look. For this reason, the looks are fixed in advance and `Tally` divides the risk among them. The last
    look is after all samples. Without `early_stopping`, it is the only one.
    """
    looks = [samples]
    while early_stopping and looks[0] > 2 * (_FIRST_LOOK - 1):
        looks.insert(0, -(-looks[0] // 2))  # divide by 2 and round up
    return tuple(looks)


@dataclass
class Tally:
    """Votes for one label, and bounds of its probability that are valid at all looks simultaneously.

    The Clopper-Pearson bounds of each look have the risk `risk / len(looks)`. The probability that any lower
    bound exceeds the true value is then at most `risk`. The largest of them is therefore a lower bound with
    that risk, and it is valid to stop at any look for any reason. The same is true for the upper bounds.
    """

    looks: tuple[int, ...]
    risk: float
    successes: int = 0
    trials: int = 0
    low: float = 0.0
    high: float = 1.0

    def add(self, successes: int, trials: int) -> None:
        """Add the votes since the last look (for the label, and in total), and tighten the bounds."""
        self.successes += successes
        self.trials += trials
        # The bounds are only valid without looks at other times.
        if self.trials not in self.looks:
            raise HfBatError(f"no look after {self.trials} samples; looks are fixed: {self.looks}")
        low, high = clopper_pearson(self.successes, self.trials, self.risk / len(self.looks))
        self.low, self.high = max(self.low, low), min(self.high, high)

    def decide(self, threshold: float) -> str:
        """Decide whether the probability exceeds a threshold: "certified", "not certified" or "abstained"."""
        if self.low > threshold:
            return CERTIFIED
        return NOT_CERTIFIED if self.high <= threshold else ABSTAINED

    def is_decided(self, thresholds: Iterable[float]) -> bool:
        """Return whether no threshold is between the bounds, so more samples are not needed."""
        return all(self.decide(threshold) != ABSTAINED for threshold in thresholds)
