"""A transformers sequence classifier with its tokenizer, as an attack sees it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from hf_bat.attack.fast import first_token_only, packed_linears
from hf_bat.attack.models import Classifier
from hf_bat.device import cast_to_double, disable_cudnn_attention
from hf_bat.errors import HfBatError
from hf_bat.lengths import check_length, get_named_limit
from hf_bat.perturbations.base import Texts

DTYPES = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


class Tokens(NamedTuple):
    """An input as the model reads it."""

    ids: tuple[int, ...]
    types: tuple[int, ...] | None


class TransformersModel(Classifier):
    """A sequence classifier of transformers.

    Args:
        model: the classifier, or the folder or Hub id of one.
        tokenizer: its tokenizer; loaded from where the model is where None.
        max_length: tokens after which an input is cut, as in training; None for the model's limit.
        device: where it runs; where the model is, or the first GPU for a path, where None.
        dtype: "float32", "bfloat16" or "float16"; the latter two by autocast.

    Raises:
        HfBatError: a model or tokenizer that cannot be loaded or do not fit, a head that is not for
            single-label classification, a length over the model's limit, an unknown dtype.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "runs"]
        >>> tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})
        >>> config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
        >>> model = TransformersModel(BertForSequenceClassification(config), tokenizer, max_length=16)
        >>> with model.session():
        ...     model.probabilities(model.keys([("A dog.", "A dog runs.")])).shape
        (1, 2)
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        max_length: int | None = None,
        device: str | torch.device | None = None,
        dtype: str = "float32",
    ):
        from hf_bat.labels import check_single_label

        if dtype not in DTYPES:
            raise HfBatError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
        if isinstance(model, (str, Path)):
            tokenizer = tokenizer or str(model)
            device = device or ("cuda" if torch.cuda.is_available() else "cpu")
            model = load("AutoModelForSequenceClassification", str(model), "model")
        if isinstance(tokenizer, (str, Path)):
            tokenizer = load("AutoTokenizer", str(tokenizer), "tokenizer")
        if tokenizer is None:
            raise HfBatError("give the model's tokenizer")
        self.model: nn.Module = model.module if hasattr(model, "module") else model
        self.tokenizer = tokenizer
        self.config = getattr(self.model, "config", None)
        if self.config is None:
            raise HfBatError(f"{type(model).__name__} is no transformers model: it has no config")
        check_single_label(self.config)
        if tokenizer.pad_token_id is None:
            raise HfBatError(
                "the tokenizer has no padding token; set one, e.g. tokenizer.pad_token = tokenizer.eos_token"
            )
        if device is not None:
            self.model.to(_device(device))
        self.max_length = self._limit(max_length)
        self.dtype = DTYPES[dtype]
        self.unk = tokenizer.unk_token or "[UNK]"
        self.name = str(getattr(self.config, "_name_or_path", "") or type(self.model).__name__)

    def _limit(self, wanted: int | None) -> int | None:
        """The length at which inputs are cut; None where nothing bounds it."""
        if wanted is not None and wanted < 4:
            raise HfBatError(f"max_length must be at least 4; got {wanted}")
        check_length(self.config, wanted)
        known = (self.tokenizer.model_max_length, get_named_limit(self.config))
        return wanted or min((n for n in known if n and n < 1_000_000), default=None)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @contextmanager
    def session(self) -> Iterator[None]:
        """Evaluation mode, no gradients, autocast entered once (it then casts each weight once), and
        the cheaper forward passes of `fast` where they fit."""
        training, pad = self.model.training, self.config.pad_token_id
        try:
            self.model.eval()
            self.config.pad_token_id = self.tokenizer.pad_token_id if pad is None else pad
            with ExitStack() as stack:
                stack.enter_context(torch.no_grad())
                stack.enter_context(disable_cudnn_attention())
                if self.dtype is not None:
                    stack.enter_context(torch.autocast(self.device.type, dtype=self.dtype))
                stack.enter_context(packed_linears(self.model, self.dtype or torch.float32))
                stack.enter_context(first_token_only(self.model))
                yield
        finally:
            self.config.pad_token_id = pad
            self.model.train(training)

    def _encode(self, inputs: Sequence[Texts], **options: Any) -> Any:
        columns = [list(column) for column in zip(*inputs, strict=True)]
        return self.tokenizer(
            *columns,
            truncation=self.max_length is not None,
            max_length=self.max_length,
            return_attention_mask=False,
            **options,
        )

    def keys(self, inputs: Sequence[Texts]) -> list[Hashable]:
        encoded = self._encode(inputs)
        ids = encoded["input_ids"]
        types = encoded.get("token_type_ids") or [None] * len(ids)
        return [
            Tokens(tuple(i), None if t is None else tuple(t))
            for i, t in zip(ids, types, strict=True)
        ]

    def length(self, key: Tokens) -> int:
        return len(key.ids)

    def _padded(self, keys: Sequence[Tokens]) -> dict[str, torch.Tensor]:
        width = max(len(key.ids) for key in keys)
        left = self.tokenizer.padding_side == "left"

        def pad(rows: list[tuple[int, ...]], value: int) -> torch.Tensor:
            filled = [
                [value] * (width - len(row)) + [*row]
                if left
                else [*row] + [value] * (width - len(row))
                for row in rows
            ]
            return torch.tensor(filled, device=self.device)

        batch = {
            "input_ids": pad([key.ids for key in keys], self.tokenizer.pad_token_id),
            "attention_mask": pad([(1,) * len(key.ids) for key in keys], 0),
        }
        if keys[0].types is not None:
            batch["token_type_ids"] = pad(
                [key.types or () for key in keys], self.tokenizer.pad_token_type_id
            )
        return batch

    def probabilities(self, keys: Sequence[Tokens]) -> np.ndarray:
        logits = self.model(**self._padded(keys)).logits
        # In double, so that a gain in confidence of a very sure model is not rounded away.
        answers = _to_numpy(cast_to_double(logits).softmax(dim=-1))
        if not np.isfinite(answers).all():
            bad = keys[int(np.argmin(np.isfinite(answers).all(axis=1)))]
            text = self.tokenizer.decode(bad.ids)
            raise HfBatError(f"the model gave NaN or infinity for the input {text!r:.200}")
        return answers

    def visible(self, inputs: Sequence[Texts]) -> list[tuple[range, ...]]:
        whole = super().visible(inputs)
        if self.max_length is None:
            return whole
        lengths = [len(ids) for ids in self._encode(inputs)["input_ids"]]
        cut = [i for i, length in enumerate(lengths) if length >= self.max_length]
        if cut:
            places = self._word_places([inputs[i] for i in cut])
            for i, sentences in zip(cut, places, strict=True):
                seen = [{word for _, s, word in sentences if s == k} for k in range(len(inputs[i]))]
                whole[i] = tuple(map(self._uncut, whole[i], seen))
        return whole

    def _uncut(self, words: range, seen: set[int]) -> range:
        """The words of a sentence from its whole end to the last seen; in between, a word may have no
        token."""
        if not seen:
            return range(0)
        if self.tokenizer.truncation_side == "left":
            return range(min(seen), len(words))
        return range(max(seen) + 1)

    def _word_places(self, inputs: Sequence[Texts]) -> list[list[tuple[int, int, int]]]:
        """Per input: (token, sentence, white-space token) of each of the model's tokens in a word."""
        if not self.tokenizer.is_fast:
            raise HfBatError(
                f"{type(self.tokenizer).__name__} is a slow tokenizer, which does not say which words "
                "its tokens are of; inputs over the limit and the gradient ranking need a fast one"
            )
        encoded = self._encode(inputs, return_offsets_mapping=True)
        found = []
        for i, texts in enumerate(inputs):
            words = [_word_at_character(text) for text in texts]
            places = []
            pairs = zip(encoded["offset_mapping"][i], encoded.sequence_ids(i), strict=True)
            for token, ((first, last), sentence) in enumerate(pairs):
                if sentence is None:
                    continue
                # A token may begin with the space before its word.
                inside = [w for w in words[sentence][first:last] if w is not None]
                if inside:
                    places.append((token, sentence, inside[0]))
            found.append(places)
        return found

    def saliency(self, asked: Sequence[tuple[Texts, int]]) -> list[list[list[float]]]:
        inputs = [texts for texts, _ in asked]
        batch = self._padded(self.keys(inputs))  # type: ignore[arg-type]
        embedded: list[torch.Tensor] = []

        def hook(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
            embedded.append(output.detach().requires_grad_(True))
            return embedded[-1]

        handle = self.model.get_input_embeddings().register_forward_hook(hook)  # type: ignore[operator]
        try:
            with torch.enable_grad():
                logits = self.model(**batch).logits.float()
                gold = torch.tensor([label for _, label in asked], device=self.device)
                loss = nn.functional.cross_entropy(logits, gold, reduction="sum")
                gradients = _to_numpy(cast_to_double(torch.autograd.grad(loss, embedded[0])[0]))
        finally:
            handle.remove()
        width = gradients.shape[1]
        left = self.tokenizer.padding_side == "left"
        answers = []
        for row, (texts, places) in enumerate(zip(inputs, self._word_places(inputs), strict=True)):
            shift = width - int(batch["attention_mask"][row].sum()) if left else 0
            tokens: dict[tuple[int, int], list[int]] = {}
            for token, sentence, word in places:
                tokens.setdefault((sentence, word), []).append(token + shift)
            answers.append(
                [
                    [
                        float(np.abs(gradients[row, tokens[s, w]].mean(axis=0)).sum())
                        if (s, w) in tokens
                        else 0.0
                        for w in range(len(text.split()))
                    ]
                    for s, text in enumerate(texts)
                ]
            )
        return answers

    @property
    def identity(self) -> str:
        """A hash of the weights of now, the configuration, the tokenizer, the cut and the precision."""
        digest = hashlib.sha256()
        hash_weights(digest, self.model)
        vocabulary = hashlib.sha256(_tokenizing(self.tokenizer).encode())
        setting = [self.config.model_type, self.config.id2label, self.max_length, str(self.dtype)]
        if self.tokenizer.truncation_side == "left":
            setting.append("left")
        digest.update(json.dumps([*setting, vocabulary.hexdigest()], default=str).encode())
        return digest.hexdigest()


def _tokenizing(tokenizer: Any) -> str:
    """All that decides what a tokenizer makes of a text, but for padding and the cut."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        rules = {
            name: value
            for name, value in tokenizer.init_kwargs.items()
            if not name.endswith(("_file", "_path"))  # where it came from is no rule
        }
        return json.dumps(
            [sorted(tokenizer.get_vocab().items()), rules], sort_keys=True, default=str
        )
    rules = json.loads(fast.to_str())
    return json.dumps({**rules, "padding": None, "truncation": None}, sort_keys=True)


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as float64, whatever its device could do."""
    return tensor.cpu().numpy().astype(np.float64, copy=False)


def _word_at_character(text: str) -> list[int | None]:
    """For each character, the number of the white-space token that it is in."""
    found: list[int | None] = []
    word, inside = -1, False
    for character in text:
        if character.isspace():
            inside = False
            found.append(None)
        else:
            word += not inside
            inside = True
            found.append(word)
    return found


def _device(device: str | torch.device) -> torch.device:
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise HfBatError(f"unknown device {device!r}; give cpu, cuda or cuda:N") from error
    if wanted.type == "cuda" and not torch.cuda.is_available():
        raise HfBatError(f"device {device}: this machine has no GPU that torch can use")
    return wanted


def hash_weights(digest: Any, model: nn.Module) -> None:
    """Let every weight of a model enter a hash."""
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        # As bytes, for numpy has no bfloat16; flat, for a number alone cannot be viewed as bytes.
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())


def hash_model(model: nn.Module, tokenizer: Any) -> str:
    """A hash of a model's weights and its tokenizer's vocabulary."""
    digest = hashlib.sha256()
    hash_weights(digest, model)
    digest.update(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    return digest.hexdigest()


def load(factory: str, path: str, what: str, **options: Any) -> Any:
    """`from_pretrained` of a class of transformers; what it raises is said in one line."""
    import transformers

    try:
        return getattr(transformers, factory).from_pretrained(path, **options)
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, RuntimeError) and Path(path, "adapter_config.json").is_file():
            raise HfBatError(
                f"cannot load the {what} {path}: the adapter's head does not fit its base as configured; "
                "load it with AutoPeftModelForSequenceClassification.from_pretrained(..., num_labels=N), and "
                "give that to Attack, or save it merged: merge_and_unload().save_pretrained(FOLDER)"
            ) from error
        raise HfBatError(f"cannot load the {what} {path}: {str(error).splitlines()[0]}") from error
