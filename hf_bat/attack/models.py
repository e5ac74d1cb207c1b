"""Models that an attack can query: functions and transformers classifiers, with or without a defense."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from hf_bat.attack.digest import hash_object, list_tensor
from hf_bat.attack.engine import Classifier
from hf_bat.attack.fast import pack_linears, skip_later_tokens
from hf_bat.attack.functions import CallableModel
from hf_bat.canonicalize import Canonicalizer
from hf_bat.device import cast_to_double, disable_cudnn_attention, warn_about_bf16
from hf_bat.errors import HfBatError
from hf_bat.files import hash_file
from hf_bat.labels import check_single_label, parse_whole
from hf_bat.loading import check_tokenizer, load, load_trained, reads_padding
from hf_bat.perturbations.base import Texts
from hf_bat.pooling import check_length, get_named_limit
from hf_bat.text import remove_marks

logger = logging.getLogger(__name__)

DTYPES = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}
# Settings of models and adapters that do not affect logits, or are part of the identity in another form.
_NEUTRAL_SETTINGS = frozenset((
    "_attn_implementation", "_commit_hash", "_name_or_path", "architectures", "base_model_name_or_path",
    "dtype", "experts_implementation", "id2label", "inference_mode", "label2id", "output_attentions",
    "output_hidden_states", "peft_version", "problem_type", "return_dict", "revision", "torch_dtype",
    "transformers_version", "use_cache",
))  # fmt: skip
# Attributes of PEFT's models and layers.
_ADAPTER_STATES = (
    "_active_adapter", "_adapters_disabled", "_disable_adapters", "merged_adapters", "scaling",
)  # fmt: skip


def as_classifier(
    model: Any,
    tokenizer: Any = None,
    max_length: int | None = None,
    device: Any = None,
    dtype: str = "float32",
    canonicalizer: Canonicalizer | None = None,
    name: str | None = None,
    hub: Mapping[str, Any] | None = None,
) -> Classifier:
    """Wrap a model for the engine.

    Args:
        model: The model. See `Attack` for this and the next four arguments.
        tokenizer: The model's tokenizer.
        max_length: Maximum input length in tokens.
        device: Device of a transformers model.
        dtype: Precision of a transformers model.
        canonicalizer: The model's preprocessing defense, if any.
        name: Name of a function in reports. Defaults to the function's name.
        hub: Options of `from_pretrained` for a path, such as `revision`, `token` and `trust_remote_code`.

    Raises:
        HfBatError: If `model` is not a supported model, or an option does not apply to it.
    """
    classifier: Classifier
    if _is_pipeline(model):
        # Use the parts of the pipeline, because a pipeline tokenizes texts one by one.
        max_length = max_length or _read_pipeline_limit(model)
        model, tokenizer = model.model, tokenizer or model.tokenizer
    is_transformers = isinstance(model, (str, Path)) or hasattr(model, "parameters")
    if is_transformers or (hasattr(model, "config") and not isinstance(model, Classifier)):
        settings = (model, tokenizer, max_length, device, dtype)
        classifier = (
            TransformersModel(*settings, hub) if is_transformers else ExportedModel(*settings)
        )
    else:
        classifier = _wrap_function(model, name)
        options = {
            "device": device is not None,
            # A recipe may set the same limit as the model.
            "max_length": max_length not in (None, classifier.max_length),
            "dtype": dtype != "float32",
        }
        for name, is_given in options.items():
            if is_given:
                raise HfBatError(
                    f"{name} does not apply to {type(classifier).__name__}: remove this option"
                )
    return classifier if canonicalizer is None else CanonicalizedModel(classifier, canonicalizer)


def _is_pipeline(model: Any) -> bool:
    """Return whether a model is a transformers pipeline for text classification."""
    kinds = (kind.__name__ for kind in type(model).__mro__)
    return "TextClassificationPipeline" in kinds or (
        callable(model) and getattr(model, "task", None) == "text-classification"
    )


def _read_pipeline_limit(pipeline: Any) -> int | None:
    """Return the maximum input length of a pipeline, if it has its own.

    Raises:
        HfBatError: If the answers of the pipeline's model differ from those of the pipeline.
    """
    from transformers import TextClassificationPipeline

    cure = "pass a function that calls the pipeline"
    if type(pipeline) is not TextClassificationPipeline:
        raise HfBatError(
            f"the model is a {type(pipeline).__name__}, and an attack would not use its methods; {cure}"
        )
    settings = {**pipeline._preprocess_params, **pipeline._postprocess_params}
    # The number of labels that a pipeline returns and its padding do not change the probabilities.
    for name in ("_legacy", "padding", "return_tensors", "top_k"):
        settings.pop(name, None)
    max_length: int | None = settings.pop("max_length", None)
    truncation = settings.pop("truncation", max_length is not None)
    if truncation not in (True, False, None, "longest_first", "do_not_truncate"):
        settings["truncation"] = truncation
    function = settings.pop("function_to_apply", "softmax")
    if getattr(function, "value", function) != "softmax":
        settings["function_to_apply"] = getattr(function, "value", function)
    if settings:
        given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        raise HfBatError(f"an attack cannot use the pipeline's {given}; remove it, or {cure}")
    return max_length if truncation in (True, "longest_first") else None


def _wrap_function(model: Any, name: str | None) -> Classifier:
    """Wrap a function, or an object with `predict_proba` and labels in `classes_`."""
    if isinstance(model, Classifier):
        return model
    if hasattr(model, "predict_proba"):
        given = getattr(model, "classes_", ())
        # Labels from a column with an empty cell are floats, such as 1.0.
        classes = [str(name if (n := parse_whole(name)) is None else n) for name in given]
        # Numbers from 0 are only positions. Their label names come from the task.
        is_named = classes != [str(number) for number in range(len(classes))]
        name = name or f"{type(model).__module__.split('.')[0]}.{type(model).__qualname__}"
        classifier = CallableModel(model.predict_proba, labels=classes if is_named else None)
    elif callable(model):
        classifier = CallableModel(model)
    elif hasattr(model, "predict"):
        raise HfBatError(
            f"{type(model).__name__} has no predict_proba; in scikit-learn, wrap the classifier in "
            "CalibratedClassifierCV"
        )
    else:
        raise HfBatError(
            "a model must be a transformers classifier, a pipeline, a function, or an object with "
            f"predict_proba, not {type(model).__name__}"
        )
    # Set the name here, because a name that is passed to `CallableModel` identifies the model.
    classifier.name = name or classifier.name
    return classifier


class WrappedClassifier(Classifier):
    """A wrapper around another classifier. By default, all calls are forwarded unchanged."""

    def __init__(self, inner: Classifier):
        self.inner = inner
        self.config, self.unk, self.name = inner.config, inner.unk, inner.name
        self.max_length = inner.max_length
        self.preprocessing_defence = inner.preprocessing_defence
        self.in_flight = inner.in_flight

    @property
    def device(self) -> Any:
        """The device of the model, or `None` for a function."""
        return getattr(self.inner, "device", None)

    def length(self, key: Any) -> int:
        return self.inner.length(key)

    def probabilities(self, keys: Sequence[Any]) -> np.ndarray:
        return self.inner.probabilities(keys)

    def about(self) -> dict[str, Any]:
        return self.inner.about()

    def name_labels(self, names: Sequence[str]) -> None:
        self.inner.name_labels(names)

    def visible(self, inputs: Sequence[Texts]) -> list[tuple[range, ...]]:
        return self.inner.visible(inputs)

    @contextmanager
    def session(self) -> Iterator[None]:
        with self.inner.session():
            yield


class CanonicalizedModel(WrappedClassifier):
    """A classifier with the preprocessing defense, which maps the words of its inputs to canonical words.

    Args:
        model: The classifier to defend.
        canonicalizer: Maps each word of a text to one canonical word.

    Example:
        >>> model = CallableModel(lambda pairs: [[0.9, 0.1] for _ in pairs], name="constant")
        >>> defended = CanonicalizedModel(model, Canonicalizer({"auto": ("car",)}))
        >>> defended.keys([("An auto.", "A car.")])
        [('An car.', 'A car.')]
    """

    def __init__(self, model: Classifier, canonicalizer: Canonicalizer):
        super().__init__(model)
        self.canonicalizer = canonicalizer
        self.preprocessing_defence = canonicalizer.describe()

    def _canonicalize(self, inputs: Sequence[Texts]) -> list[Texts]:
        return [tuple(map(self.canonicalizer, texts)) for texts in inputs]

    def keys(self, inputs: Sequence[Texts]) -> list[Hashable]:
        # Inputs with the same canonical words cost one query.
        return self.inner.keys(self._canonicalize(inputs))

    def visible(self, inputs: Sequence[Texts]) -> list[tuple[range, ...]]:
        return self.inner.visible(self._canonicalize(inputs))

    def saliency(self, asked: Sequence[tuple[Texts, int]]) -> list[list[list[float]]]:
        # Each word is replaced by one word, so the weights belong to the words of the original.
        inputs = self._canonicalize([texts for texts, _ in asked])
        return self.inner.saliency(list(zip(inputs, (label for _, label in asked), strict=True)))

    @property
    def identity(self) -> str:
        text = f"{self.inner.identity} canonicalize {self.canonicalizer.fingerprint}"
        return hashlib.sha256(text.encode()).hexdigest()


class Tokens(NamedTuple):
    """An encoded input for a transformers model."""

    ids: tuple[int, ...]
    types: tuple[int, ...] | None


class TransformersModel(Classifier):
    """A transformers sequence classifier.

    Args:
        model: The classifier, or its folder or Hub id.
        tokenizer: The model's tokenizer. If `None`, it is loaded from the model's path.
        max_length: Maximum input length in tokens, as in training. Defaults to the model's limit.
        device: Device of the model. Defaults to the first GPU for a path, and to the model's current device
            otherwise.
        dtype: "float32" (default), "bfloat16" or "float16". The half-precision types use autocast.
        hub: Options of `from_pretrained` for a path, such as `revision`, `token` and `trust_remote_code`.

    Raises:
        HfBatError: If the model or tokenizer cannot be loaded or they do not match, the head is not for
            single-label classification, `max_length` exceeds the model's limit, or `dtype` is unknown.

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
        hub: Mapping[str, Any] | None = None,
    ):
        if dtype not in DTYPES:
            raise HfBatError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
        if isinstance(model, (str, Path)):
            tokenizer = tokenizer or str(model)
            device = device or choose_device()
            options = {"dtype": _choose_weights(str(model), dtype, hub or {}), **(hub or {})}
            model = load_trained(
                "AutoModelForSequenceClassification", str(model), "model", **options
            )
        if isinstance(tokenizer, (str, Path)):
            tokenizer = load("AutoTokenizer", str(tokenizer), "tokenizer", **hub or {})
        if tokenizer is None:
            raise HfBatError("give the model's tokenizer")
        # Multi-GPU wrappers store the model in `module`, and torch.compile in `_orig_mod`. Compiled code does
        # not support the changes of `session`, and is compiled again for each length of the inputs.
        for name in ("_orig_mod", "module", "_orig_mod"):
            model = getattr(model, name, model)
        self.model: nn.Module = model
        self.tokenizer = tokenizer
        self.config = getattr(self.model, "config", None)
        if self.config is None:
            raise HfBatError(
                f"{type(model).__name__} is not a transformers model: it has no config"
            )
        check_single_label(self.config)
        check_tokenizer(tokenizer, self.model)
        if device is not None:
            self.model.to(_parse_device(device))
        if max_length is not None and max_length < 4:
            raise HfBatError(f"max_length must be at least 4; got {max_length}")
        check_length(self.config, max_length)
        limits = (tokenizer.model_max_length, get_named_limit(self.config))
        # For a tokenizer without a limit, `model_max_length` is a huge number (10 ** 30).
        self.max_length = max_length or min((n for n in limits if n and n < 10**6), default=None)
        self.dtype = DTYPES[dtype]
        if self.dtype == torch.bfloat16:
            warn_about_bf16(self.device.type, f"dtype {dtype}")
        self.unk = tokenizer.unk_token or "[UNK]"
        self.name = str(getattr(self.config, "_name_or_path", "") or type(self.model).__name__)

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    @contextmanager
    def session(self) -> Iterator[None]:
        """Set up evaluation mode, autocast and the faster forward passes of `fast`, and disable gradients.

        Autocast is only entered once, so each weight is only cast once.
        """
        training, pad = self.model.training, self.config.pad_token_id
        try:
            self.model.eval()
            # Decoders need the padding token to find the last token of each input. They reject batches
            # without it.
            self.config.pad_token_id = self.tokenizer.pad_token_id if pad is None else pad
            with ExitStack() as stack:
                # Do not use inference_mode, because `saliency` cannot compute gradients with its tensors.
                stack.enter_context(torch.no_grad())
                stack.enter_context(disable_cudnn_attention())
                if self.dtype is not None:
                    stack.enter_context(torch.autocast(self.device.type, dtype=self.dtype))
                # Pack even if MKL is faster (AVX2), because MKL's last bits do not only depend on the input.
                stack.enter_context(pack_linears(self.model, self.dtype or torch.float32))
                stack.enter_context(skip_later_tokens(self.model))
                yield
        finally:
            self.config.pad_token_id = pad
            self.model.train(training)

    def _encode(self, inputs: Sequence[Texts], **options: Any) -> Any:
        # The inputs of `visible` and `saliency` can contain the marks of a splitter.
        columns = [list(map(remove_marks, column)) for column in zip(*inputs, strict=True)]
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

    def _pad(self, keys: Sequence[Tokens]) -> dict[str, torch.Tensor]:
        ids, types = zip(*keys, strict=True)
        left = self.tokenizer.padding_side == "left"
        return pad_batch(self.tokenizer, ids, types, self.device, left)

    @cached_property
    def _reads_padding(self) -> bool:
        """Whether the answers depend on the padding. If so, each batch has inputs of equal length."""

        def compute_logits(texts: list[str]) -> torch.Tensor:
            keys = self.keys([(text,) for text in texts])
            return self._compute_logits(self._pad(keys))  # type: ignore[arg-type]

        # The forward pass of a model that accelerate has prepared enters its own autocast.
        dtype: torch.dtype = self.dtype or getattr(self.model, "dtype", None) or torch.float32
        with torch.autocast(self.device.type, enabled=False):
            answer = reads_padding(compute_logits, dtype)
        if answer:
            logger.warning(
                "the answers of %s depend on the padding of a batch, so only inputs of equal length are "
                "batched together, which takes longer",
                self.name,
            )
        return answer

    def probabilities(self, keys: Sequence[Tokens]) -> np.ndarray:
        if not self._reads_padding:
            return self._compute_probabilities(keys)
        answers = np.zeros((len(keys), self.config.num_labels))
        for length in {len(key.ids) for key in keys}:
            rows = [row for row, key in enumerate(keys) if len(key.ids) == length]
            answers[rows] = self._compute_probabilities([keys[row] for row in rows])
        return answers

    def _compute_probabilities(self, keys: Sequence[Tokens]) -> np.ndarray:
        logits = self._compute_logits(self._pad(keys))
        # Use double precision. Otherwise, small gains in confidence of a very confident model could be
        # rounded to 0.
        answers = _to_numpy(cast_to_double(logits).softmax(dim=-1))
        finite = np.isfinite(answers).all(axis=1)
        if not finite.all():
            text = self.tokenizer.decode(keys[int(np.argmin(finite))].ids)
            raise HfBatError(f"the model gave NaN or infinity for the input {text!r:.200}")
        return answers

    def _compute_logits(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.model(**batch).logits

    def visible(self, inputs: Sequence[Texts]) -> list[tuple[range, ...]]:
        words = super().visible(inputs)
        if self.max_length is None:
            return words
        lengths = [len(ids) for ids in self._encode(inputs)["input_ids"]]
        # Only inputs that reach the limit can be truncated, so only they need a map from tokens to words.
        cut = [i for i, length in enumerate(lengths) if length >= self.max_length]
        if cut:
            places = self._locate_tokens([inputs[i] for i in cut])
            for i, tokens in zip(cut, places, strict=True):
                seen = [{word for _, s, word in tokens if s == k} for k in range(len(inputs[i]))]
                words[i] = tuple(map(self._cut, words[i], seen))
        return words

    def _cut(self, words: range, seen: set[int]) -> range:
        """Return the words of a sentence that were not truncated, including words without any tokens."""
        if not seen:
            return range(0)
        if self.tokenizer.truncation_side == "left":
            return range(min(seen), len(words))
        return range(max(seen) + 1)

    def _locate_tokens(self, inputs: Sequence[Texts]) -> list[list[tuple[int, int, int]]]:
        """Return a list per input with (token, sentence, whitespace token) for all tokens inside words."""
        if not self.tokenizer.is_fast:
            raise HfBatError(
                f"{type(self.tokenizer).__name__} is a slow tokenizer, which does not map tokens to words; "
                "inputs over max_length and the gradient ranking need a fast tokenizer"
            )
        encoded = self._encode(inputs, return_offsets_mapping=True)
        places = []
        for i, texts in enumerate(inputs):
            words = [_number_words(text) for text in texts]
            located = []
            pairs = zip(encoded["offset_mapping"][i], encoded.sequence_ids(i), strict=True)
            for token, ((first, last), sentence) in enumerate(pairs):
                if sentence is None:
                    continue
                # A token may start with the space before its word.
                inside = [w for w in words[sentence][first:last] if w is not None]
                if inside:
                    located.append((token, sentence, inside[0]))
            places.append(located)
        return places

    def saliency(self, asked: Sequence[tuple[Texts, int]]) -> list[list[list[float]]]:
        if self._reads_padding:
            return [self._compute_saliency([question])[0] for question in asked]
        return self._compute_saliency(asked)

    def _compute_saliency(self, asked: Sequence[tuple[Texts, int]]) -> list[list[list[float]]]:
        inputs = [texts for texts, _ in asked]
        batch = self._pad(self.keys(inputs))  # type: ignore[arg-type]
        embedded: list[torch.Tensor] = []

        def keep_gradient(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
            embedded.append(output.detach().requires_grad_(True))
            return embedded[-1]

        # Use the output of the embeddings, because token ids have no gradient.
        embeddings = self.model.get_input_embeddings()  # type: ignore[operator]
        handle = embeddings.register_forward_hook(keep_gradient)
        try:
            with torch.enable_grad():
                logits = self.model(**batch).logits.float()
                gold = torch.tensor([label for _, label in asked], device=self.device)
                # Use the sum, so gradients do not depend on the batch size.
                loss = nn.functional.cross_entropy(logits, gold, reduction="sum")
                gradients = _to_numpy(cast_to_double(torch.autograd.grad(loss, embedded[0])[0]))
        finally:
            handle.remove()
        left = self.tokenizer.padding_side == "left"
        answers = []
        for row, (texts, places) in enumerate(
            zip(inputs, self._locate_tokens(inputs), strict=True)
        ):
            # The token indices in `places` do not include padding.
            shift = gradients.shape[1] - int(batch["attention_mask"][row].sum()) if left else 0
            tokens: dict[tuple[int, int], list[int]] = {}
            for token, sentence, word in places:
                tokens.setdefault((sentence, word), []).append(token + shift)
            weights = [[0.0] * len(text.split()) for text in texts]
            for (sentence, word), rows in tokens.items():
                # Like TextAttack, rank words by the L1 norm of the mean gradient over their tokens.
                mean = gradients[row, rows].mean(axis=0)
                weights[sentence][word] = float(np.abs(mean).sum())
            answers.append(weights)
        return answers

    @property
    def identity(self) -> str:
        """A hash of the current weights, configuration, tokenizer, `max_length` and precision."""
        digest = hashlib.sha256()
        hash_weights(digest, self.model)
        vocabulary = hashlib.sha256(_describe_tokenizer(self.tokenizer).encode())
        # Hash the settings one by one, because a hash does not cover a value with a part that it cannot see.
        hashes = {name: hash_object(value) for name, value in self._settings.items()}
        setting = [self.config.id2label, self.max_length, str(self.dtype), hashes]
        # Only include this if it is not the default, to keep the hashes of other models unchanged.
        if self.tokenizer.truncation_side == "left":
            setting.append("left")
        digest.update(json.dumps([*setting, vocabulary.hexdigest()], default=str).encode())
        return digest.hexdigest()

    @property
    def _settings(self) -> dict[str, Any]:
        """Everything except the weights that affects the logits: the class, configuration and adapters."""
        config = {
            name: value
            for name, value in self.config.to_dict().items()
            if name not in _NEUTRAL_SETTINGS
        }
        if config.get("pad_token_id") is None:
            config["pad_token_id"] = self.tokenizer.pad_token_id  # as in `session`
        # In a saved configuration, the order differs and integer keys are strings.
        text = json.dumps(config, sort_keys=True, default=str)
        adapters = {
            name: {k: v for k, v in vars(adapter).items() if k not in _NEUTRAL_SETTINGS}
            for name, adapter in (getattr(self.model, "peft_config", None) or {}).items()
        }
        # The adapters that are active, merged or disabled, and their factors, can differ between layers.
        states = {
            f"{name}.{state}": getattr(module, state)
            for name, module in self.model.named_modules()
            for state in _ADAPTER_STATES
            if hasattr(module, state)
        }
        return {"class": type(self.model), "config": text, "adapters": adapters, **states}


class ExportedModel(TransformersModel):
    """A classifier outside of PyTorch with the interface of transformers, such as an ONNX model of optimum.

    Args:
        model: Callable that takes `input_ids`, `attention_mask` and `token_type_ids` (if the tokenizer
            returns them) as tensors and returns an object with `logits`. Its configuration must be in
            `config`.
        tokenizer: The model's tokenizer.
        max_length: Maximum input length in tokens. Defaults to the model's limit.
        device: Device to move the model to, with its method `to`.
        dtype: Must be "float32", because the precision was chosen when the model was exported.

    Raises:
        HfBatError: For the same reasons as `TransformersModel`, or if `dtype` is not "float32".
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        max_length: int | None = None,
        device: str | torch.device | None = None,
        dtype: str = "float32",
    ):
        if dtype != "float32":
            raise HfBatError(f"dtype does not apply to {type(model).__name__}: remove this option")
        super().__init__(model, tokenizer, max_length, device)

    @property
    def device(self) -> torch.device:
        device = getattr(self.model, "device", "cpu")
        return device if isinstance(device, torch.device) else torch.device(str(device))

    @contextmanager
    def session(self) -> Iterator[None]:
        with torch.no_grad():
            yield

    def _compute_logits(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.as_tensor(self.model(**batch).logits)

    def saliency(self, asked: Sequence[tuple[Texts, int]]) -> list[list[list[float]]]:
        return Classifier.saliency(self, asked)

    @property
    def identity(self) -> str:
        """A hash of the configuration, tokenizer, `max_length` and the exported file or object."""
        path = getattr(self.model, "model_path", None)
        is_file = isinstance(path, (str, Path)) and Path(path).is_file()
        vocabulary = hashlib.sha256(_describe_tokenizer(self.tokenizer).encode()).hexdigest()
        setting = [
            self.name,
            hash_file(path) if is_file and path else hash_object(self.model),
            self.config.id2label,
            self.max_length,
            vocabulary,
        ]
        return hashlib.sha256(json.dumps(setting, default=str).encode()).hexdigest()


def pad_batch(
    tokenizer: Any, ids: Sequence[Any], types: Sequence[Any], device: Any, left: bool = False
) -> dict[str, torch.Tensor]:
    """Return inputs as padded tensors. `types` contains the token types of each input, or `None`."""
    # Do not use tokenizer.pad, because it takes twice as long.
    width = max(map(len, ids))

    def pad(rows: Iterable[Sequence[int]], value: int) -> torch.Tensor:
        fills = [(row, [value] * (width - len(row))) for row in rows]
        padded = [[*fill, *row] if left else [*row, *fill] for row, fill in fills]
        return torch.tensor(padded, device=device)

    batch = {
        "input_ids": pad(ids, tokenizer.pad_token_id),
        "attention_mask": pad(([1] * len(row) for row in ids), 0),
    }
    if types[0] is not None:
        batch["token_type_ids"] = pad(types, tokenizer.pad_token_type_id)
    return batch


def _describe_tokenizer(tokenizer: Any) -> str:
    """Return all settings that affect how a tokenizer encodes a text, except padding and truncation."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        rules = {
            name: value
            for name, value in tokenizer.init_kwargs.items()
            if not name.endswith(("_file", "_path"))  # paths do not affect the encoding
        }
        return json.dumps(
            [sorted(tokenizer.get_vocab().items()), rules], sort_keys=True, default=str
        )
    rules = json.loads(fast.to_str())
    return json.dumps({**rules, "padding": None, "truncation": None}, sort_keys=True)


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as a float64 array. Not every device supports float64."""
    return tensor.cpu().numpy().astype(np.float64, copy=False)


def _number_words(text: str) -> list[int | None]:
    """Return the index of the whitespace token for each character, or `None` for spaces, without marks."""
    numbers: list[int | None] = []
    # The last match is the whitespace at the end.
    for number, (space, word) in enumerate(re.findall(r"(\s*)(\S*)", text)):
        numbers += [None] * len(remove_marks(space)) + [number] * len(word)
    return numbers


def _choose_weights(path: str, dtype: str, hub: Mapping[str, Any]) -> torch.dtype:
    """Return the precision for loading a checkpoint: its own precision if it equals `dtype`, or float32."""
    # A checkpoint in a different half precision is loaded in float32, so its weights stay exact until
    # autocast rounds them.
    asked = DTYPES[dtype]
    if asked is None:
        return torch.float32
    return (
        asked
        if getattr(load("AutoConfig", path, "model", **hub), "dtype", None) == asked
        else torch.float32
    )


def choose_device() -> str:
    """Return the default device for a model that is loaded here: the first GPU if available, or the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _parse_device(device: str | torch.device) -> torch.device:
    try:
        parsed = torch.device(device)
    except RuntimeError as error:
        raise HfBatError(f"unknown device {device!r}; give cpu, cuda or cuda:N") from error
    if parsed.type == "cuda" and not torch.cuda.is_available():
        raise HfBatError(f"device {device}: this machine has no GPU that torch can use")
    if parsed.type == "mps" and not torch.backends.mps.is_available():
        raise HfBatError(
            f"device {device}: this machine has no Apple GPU that torch can use; give cpu"
        )
    return parsed


def hash_weights(digest: Any, model: nn.Module) -> None:
    """Update a hash with all weights of a model."""
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} ".encode())
        for part in list_tensor(tensor):
            digest.update(part)


def hash_model(model: nn.Module, tokenizer: Any) -> str:
    """Return a hash of a model's weights and its tokenizer's vocabulary."""
    digest = hashlib.sha256()
    hash_weights(digest, model)
    digest.update(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    return digest.hexdigest()
