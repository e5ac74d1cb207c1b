"""Load models and tokenizers, and check that they fit (words, embeddings, head, padding, precision)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.trainer_utils import get_last_checkpoint

from hf_bat.device import disable_cudnn_attention
from hf_bat.errors import HfBatError
from hf_bat.pooling import unwrap

logger = logging.getLogger(__name__)

# A tokenizer that recognizes words in any of these languages has a vocabulary.
_PROBES = (
    "A man is sleeping near the river.",
    "Человек спит у реки.",
    "一个人在河边睡觉。",
    "男の人が川のそばで眠っている。",
    "한 남자가 강가에서 자고 있다.",
    "رجل ينام قرب النهر",
    "एक आदमी नदी के पास सो रहा है",
)
# Number of vocabulary words to test if a tokenizer does not recognize any of these languages.
_OWN_WORDS = 50
# Inputs of many lengths, because CANINE, which joins four characters, reads padding only after some lengths.
# In models that ignore padding, the logits of a single input and a padded batch differ by 1e-6 of the
# largest logit or less. In other models, they differ by a tenth or more.
_LONG = "The dog is running outside in the rain, and the woman at the window looks at it."
_LENGTHS = (*range(20, 28), len(_LONG))
_NOISE = {torch.bfloat16: 0.1, torch.float16: 0.02}


def load(factory: str, path: str, title: str, **options: Any) -> Any:
    """Load a model or tokenizer.

    `factory` is the name of a transformers class with `from_pretrained`, which receives the options.
    `title` is used in messages. Code from the model's repository only runs if the options allow it.
    """
    import transformers

    folder = Path(path)
    # A Hub id has at most one slash.
    if not folder.exists() and (path.startswith((".", "/", "~")) or path.count("/") > 1):
        raise HfBatError(f"cannot load the {title} {path}: no such folder")
    try:
        # Without a value, transformers prompts on the terminal.
        options = {"trust_remote_code": False, **options}
        return getattr(transformers, factory).from_pretrained(path, **options)
    except Exception as error:  # a damaged file may raise nearly anything
        if isinstance(error, RuntimeError) and _is_adapter(path):
            raise HfBatError(
                f"cannot load the {title} {path}: the adapter's head does not fit its base as configured; "
                "load it with AutoPeftModelForSequenceClassification.from_pretrained(..., num_labels=N), and "
                "give that to Attack, or save it merged: merge_and_unload().save_pretrained(FOLDER)"
            ) from error
        reason = next(iter(str(error).splitlines()), "")
        if folder.is_dir() and not (folder / "config.json").is_file():
            checkpoint = get_last_checkpoint(path)
            if checkpoint is not None:
                reason = f"it only has checkpoints; use one, such as {checkpoint}"
        if not isinstance(error, (OSError, RuntimeError, ValueError)):
            reason = f"{type(error).__name__}: {reason} (a file may be damaged)"
        if "trust_remote_code" in str(error):
            reason = (
                "it needs code from its repository, which is not run; if you trust it, load it with "
                "trust_remote_code=True (--trust_remote_code for a training run)"
            )
        raise HfBatError(f"cannot load the {title} {path}: {reason}") from error


def load_trained(factory: str, path: str, title: str, **options: Any) -> Any:
    """Load a model with `load`, and check that none of its weights are newly initialized.

    If an encoder is loaded as a classifier, transformers adds a head with new random weights each time.
    """
    if _is_adapter(path):
        # transformers reports on the adapter's weights, and old versions fail. The base may have no head.
        model = load(factory, path, title, **options)
        has_own_head = "modules_to_save" in repr([*model.state_dict()])
        missing = [] if has_own_head or has_head(model.config) else ["classifier"]
    else:
        model, info = load(factory, path, title, output_loading_info=True, **options)
        missing = sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})
    if missing:
        raise HfBatError(
            f"{path} is not a trained {title}: it has no weights for "
            f"{_list_some(missing)}, which would be random; train it first, or use another one"
        )
    return model


def has_head(config: Any) -> bool:
    """Return whether a model was saved as a sequence classifier and not only as an encoder."""
    return any("SequenceClassification" in name for name in config.architectures or ())


def _is_adapter(path: str) -> bool:
    return Path(path, "adapter_config.json").is_file()


def _list_some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:2])
    return f"{shown} and {len(names) - 2} more" if len(names) > 2 else shown


# ---- tokenizer and model -------------------------------------------------------------------------


def check_tokenizer(tokenizer: Any, model: Any) -> None:
    """Check that a tokenizer can pad, has a vocabulary, and fits the embeddings of the model.

    Raises:
        HfBatError: If all words are unknown, as in the tokenizer that transformers creates for a folder
            without tokenizer files, if token ids are out of the range of the embeddings, or if the tokenizer
            cannot pad.
    """
    name = tokenizer.name_or_path or type(tokenizer).__name__
    if not _knows_words(tokenizer):
        raise HfBatError(
            f"the tokenizer {name} knows no words, so all texts would look the same: save the model's "
            "tokenizer there (tokenizer.save_pretrained), or specify it (--tokenizer, --tokenizer_name, "
            "tokenizer=)"
        )
    if tokenizer.pad_token_id is None:
        raise HfBatError(
            "the tokenizer has no padding token; set one, e.g. tokenizer.pad_token = tokenizer.eos_token"
        )
    if not isinstance(model, nn.Module):
        return  # the embeddings of an exported model are not accessible
    try:
        embeddings = unwrap(model).get_input_embeddings()  # type: ignore[operator]
    except NotImplementedError:
        # transformers raises this for CANINE, which hashes characters and has no embedding table.
        return
    rows = getattr(embeddings, "num_embeddings", None)
    if rows is None:
        return
    token, number = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if number >= rows:
        raise HfBatError(
            f"the tokenizer {name} has the token {token!r} with the id {number}, but the model only has "
            f"embeddings for 0..{rows - 1}: call model.resize_token_embeddings(len(tokenizer)) and save the "
            "model, or use the model's own tokenizer"
        )


def _knows_words(tokenizer: Any) -> bool:
    """Return whether texts in several languages, or words of the vocabulary, have known tokens."""
    special = set(tokenizer.all_special_ids)

    def has_letters(number: int) -> bool:
        return number not in special and any(map(str.isalpha, tokenizer.decode([number])))

    def is_read(text: str) -> bool:
        return any(map(has_letters, tokenizer(text, add_special_tokens=False)["input_ids"]))

    if any(map(is_read, _PROBES)):
        return True
    own = list(filter(has_letters, tokenizer.get_vocab().values()))[:_OWN_WORDS]
    return any(is_read(tokenizer.decode([number])) for number in own)


def reads_padding(
    compute_logits: Callable[[list[str]], torch.Tensor], dtype: torch.dtype = torch.float32
) -> bool:
    """Return whether the model's logits depend on the padding of the batch.

    This is the case for CANINE, for XLNet with padding on the right, and for models with absolute
    positions with padding on the left.

    Args:
        compute_logits: Function that returns the logits (n, labels) of n texts in one padded batch.
        dtype: Precision of the model's weights.
    """
    texts = [_LONG[:length] for length in _LENGTHS]
    padded = compute_logits(texts).cpu().float()
    alone = torch.cat([compute_logits([text]) for text in texts]).cpu().float()
    noise = _NOISE.get(dtype, 1e-3)
    return bool((alone - padded).abs().max() > noise * padded.abs().max())


def warn_about_padding(model: nn.Module, tokenizer: Any, max_length: int | None = None) -> None:
    """Warn if the outputs of a model to be trained depend on the padding of the batch."""
    # Use `forward`, because calling a compiled model would compile it for each length.
    core = unwrap(model)
    weights = next(core.parameters())

    def compute_logits(texts: list[str]) -> torch.Tensor:
        cut: dict[str, Any] = {"truncation": max_length is not None, "max_length": max_length}
        batch = tokenizer(texts, padding=True, return_tensors="pt", **cut).to(weights.device)
        return core.forward(**batch).logits

    was_training = core.training
    try:
        core.eval()
        with torch.no_grad(), disable_cudnn_attention():
            is_read = reads_padding(compute_logits, weights.dtype)
    finally:
        core.train(was_training)
    if is_read:
        logger.warning(
            "this model's outputs depend on the padding of a batch, so losses and accuracies depend on "
            "which rows share a batch: set the tokenizer's padding_side that the model expects, or evaluate "
            "with per_device_eval_batch_size=1 (`hf-bat attack` only batches inputs of equal length)"
        )


def warn_about_half(model: nn.Module) -> None:
    """Warn if trainable weights are in half precision, which rounds most training steps to zero."""
    half = {
        str(weights.dtype).removeprefix("torch.")
        for weights in model.parameters()
        if weights.requires_grad and weights.dtype in _NOISE
    }
    if half:
        logger.warning(
            "the trainable weights are %s, which rounds most training steps to zero: load the model with "
            "dtype=torch.float32 (bf16=True and fp16=True still compute in half precision)",
            " and ".join(sorted(half)),
        )
