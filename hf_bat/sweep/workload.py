"""How much a run computes: optimizer steps, and sequences in training, evaluation and attacks.

The unit of work is a sequence that is trained on, which is one forward and one backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hf_bat.methods import BALANCED_METHODS, defaults_of

# Role -> rows, None where unknown: "train", "validation", "validation_mm".
Rows = Mapping[str, "int | None"]

#: The work of a forward pass alone: a backward pass costs about two of them.
FORWARD = 1 / 3
#: Queries that an attack makes for each row, the rows that it skips counted too: means over the reports of
#: docs/results/study (SNLI and QQP, 56 models; 4.0 to 5.9, 2.8 to 3.1 and 16.6 to 20.0).
QUERIES = {"antonym": 5, "negation": 3, "synonym": 18}
#: The same of A2T's attack on training rows: the mean of the 3,200 attacked in a run of A2T on SNLI.
A2T_QUERIES = 12
#: The attacked rows that it fools: 0.28 in docs/results/study/snli-42-a2t.json, 0.25 and 0.13 on QQP.
A2T_FOUND = 0.2
_MAX_ATTACKED = 500  # the default of max_attack_samples


def planned_steps(
    arguments: Mapping[str, Any], train_rows: int | None, processes: int = 1
) -> int | None:
    """Optimizer steps of a run.

    Args:
        arguments: of the run.
        train_rows: how many rows it trains on; None where unknown.
        processes: that share the work.

    Returns:
        The steps; None where the rows are unknown and `max_steps` is not given.

    Example:
        >>> planned_steps({"num_train_epochs": 3, "per_device_train_batch_size": 32}, 8000)
        750
    """
    if arguments.get("max_steps", -1) > 0:
        return int(arguments["max_steps"])
    if train_rows is None:
        return None
    _, steps = _epoch(arguments, train_rows, processes)
    return math.ceil(arguments.get("num_train_epochs", 3.0) * steps)


def _epoch(arguments: Mapping[str, Any], train_rows: int, processes: int) -> tuple[int, int]:
    """An epoch's batches of each process, and its optimizer steps."""
    batches = -(-train_rows // (arguments.get("per_device_train_batch_size", 8) * processes))
    return batches, max(1, math.ceil(batches / arguments.get("gradient_accumulation_steps", 1)))


def planned_batches(
    arguments: Mapping[str, Any], train_rows: int | None, processes: int = 1
) -> int | None:
    """Batches that each process of a run trains on: as many to a step as gradients are accumulated over.

    Args:
        arguments, train_rows, processes: see `planned_steps`.

    Returns:
        The batches, the last step of an epoch having what is left; None where `planned_steps` is None.

    Example:
        >>> flags = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}
        >>> planned_steps(flags, 10), planned_batches(flags, 10)
        (6, 15)
    """
    steps = planned_steps(arguments, train_rows, processes)
    window = int(arguments.get("gradient_accumulation_steps", 1))
    if steps is None or train_rows is None:
        return None if steps is None else steps * window
    batches, steps_an_epoch = _epoch(arguments, train_rows, processes)
    epochs, rest = divmod(steps, steps_an_epoch)
    return epochs * batches + rest * window


def work(arguments: Mapping[str, Any], rows: Rows, processes: int = 1) -> float | None:
    """What each process of a run computes, in sequences trained on.

    Args:
        arguments: of the run.
        rows: how many rows it trains on and evaluates, by role. Where those of training are unknown,
            `max_steps` is taken for one epoch; where those of an evaluation are, its attacks
            alone are counted, as far as `max_attack_samples` bounds them.
        processes: that share the work.

    Returns:
        The sequences, versions that are not valid counted too; None where the training rows are
        unknown and `max_steps` is not given.

    Example:
        >>> flags = {"per_device_train_batch_size": 4, "max_steps": 3}
        >>> work(flags, {}), work({**flags, "method": "triplet"}, {}), work(flags, {"validation": 30})
        (12.0, 36.0, 22.0)
    """
    train_rows = rows.get("train")
    steps = planned_steps(arguments, train_rows, processes)
    batches = planned_batches(arguments, train_rows, processes)
    if steps is None or batches is None:
        return None
    epochs = 1.0
    if train_rows is not None:
        epochs = steps / _epoch(arguments, train_rows, processes)[1]
    sequences = batches * int(arguments.get("per_device_train_batch_size", 8))
    training = _training(arguments, sequences, epochs)
    return training + _evaluation(arguments, rows, steps, epochs) / processes


def _training(arguments: Mapping[str, Any], sequences: int, epochs: float) -> float:
    """Work of training on so many unperturbed sequences over so many epochs."""
    method = arguments.get("method", "normal")
    clean_epochs = arguments.get("clean_epochs")
    if clean_epochs is None:
        clean_epochs = defaults_of(method, arguments)["clean_epochs"]
    perturbed = max(0.0, epochs - clean_epochs)  # epochs
    rows = sequences / epochs if epochs else 0.0  # no epoch: the model as it came is measured
    if method in BALANCED_METHODS:
        versions = arguments.get("num_fickle", 1) + arguments.get("num_obstinate", 1)
        return sequences + rows * perturbed * versions
    if method == "a2t":
        return sequences + rows * _adversarial(arguments, perturbed)
    return float(sequences)


def _adversarial(arguments: Mapping[str, Any], perturbed: float) -> float:
    """Work of A2T's attacks and of their rows in so many epochs, for each training row."""
    attacks = math.ceil(math.ceil(perturbed) / arguments.get("attack_interval", 1))
    queries = min(A2T_QUERIES, arguments.get("attack_budget", A2T_QUERIES))
    # One forward and backward pass ranks the words.
    an_attack = 1 + FORWARD * queries
    share: float = arguments.get("attack_share", 0.2)
    return share * (attacks * an_attack + perturbed * A2T_FOUND)


def _evaluation(arguments: Mapping[str, Any], rows: Rows, steps: int, epochs: float) -> float:
    """Work of all evaluations and their attacks, in training and after it."""
    plain, attacked = _in_training(arguments, steps, epochs)
    best = arguments.get("load_best_model_at_end", False)
    if not (attacked and arguments.get("eval_strategy") == "epoch") or best:
        attacked += 1  # after training; else the last epoch's evaluation stands for it
    validation, mismatched = rows.get("validation") or 0, rows.get("validation_mm") or 0
    inputs = (plain + attacked) * validation + mismatched
    queries = attacked * _queries(arguments, rows.get("validation"))
    if "validation_mm" in rows:
        queries += _queries(arguments, rows["validation_mm"])
    return FORWARD * (inputs + queries)


def _in_training(arguments: Mapping[str, Any], steps: int, epochs: float) -> tuple[int, int]:
    """Evaluations while a run trains: those without attacks, and those with."""
    strategy, when = arguments.get("eval_strategy", "no"), arguments.get("attack_every", "eval")
    if strategy == "epoch":
        times = math.ceil(epochs)
        return (times, 0) if when == "end" else (0, times)
    if strategy != "steps":
        return 0, 0
    every = arguments.get("eval_steps") or arguments.get("logging_steps", 500)
    times = int(steps // (every if every >= 1 else max(1, math.ceil(every * steps))))
    return (0, times) if when == "eval" else (times, 0)


def _queries(arguments: Mapping[str, Any], rows: int | None) -> int:
    """Queries that the attacks of one evaluation make."""
    limits = [arguments.get("max_attack_samples", _MAX_ATTACKED), rows]
    attacked = min((limit for limit in limits if limit is not None), default=0)
    names = [name.removeprefix("paper-") for name in arguments.get("attacks") or ()]
    # What is not measured is taken to be as dear as the dearest.
    return attacked * sum(QUERIES.get(name, max(QUERIES.values())) for name in names)
