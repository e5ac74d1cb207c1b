"""Candidates from a masked language model, which predicts replacements for a masked word (A2T-MLM)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hf_bat.errors import HfBatError
from hf_bat.lexicon import as_table, stopwords
from hf_bat.perturbations.base import (
    Edit,
    Perturbation,
    RandomSource,
    Slot,
    Texts,
    apply_replacement,
    list_edits,
    replace_sentence,
)
from hf_bat.text import detach_punctuation, match_case

# Maximum number of tokens in a forward pass. Each token has scores for the entire vocabulary, which take
# memory.
_MAX_TOKENS = 2048
# Number of inputs with cached predictions. This is more than an attack has in flight.
_REMEMBERED = 8192
# Number of additional predictions, because some predictions are the word itself or its antonyms.
_SPARE = 20


class _Question(NamedTuple):
    """An encoded input with one masked word."""

    texts: Texts
    slot: Slot
    ids: list[int]
    types: list[int] | None
    mask: int  # index of the masked token


class MaskedLMPerturbation(Perturbation):
    """Replaces words with predictions of a masked language model, given the rest of the input.

    Words are only replaced if they consist of letters, and only with complete words that consist of letters.
    Later edits in the same attack use the predictions for the unedited input, so each word costs one forward
    pass.

    Args:
        model: Folder or Hub id of a masked language model.
        top: Maximum number of candidates per word, most likely first. Defaults to 20.
        exclude_stopwords: Whether to keep function words (NLTK's English list). Defaults to `True`.
        casing: `"keep"` (default) applies the case of the replaced word to its candidates. `"authors"` uses
            lower case.
        antonyms: Mapping from words to antonyms that are excluded from the candidates. Without it, the model
            may predict "cold" for "hot".
        device: Device of the model. Defaults to the first GPU, or to the CPU without a GPU.
        max_length: Maximum input length in tokens. Words beyond it have no candidates. Defaults to 256.

    Raises:
        HfBatError: If the model cannot be loaded or its tokenizer has no mask token. The error is raised when
            the perturbation is first used or described.

    Example:
        >>> fickle = MaskedLMPerturbation("bert-base-uncased", top=3)  # doctest: +SKIP
        >>> fickle.slots(("A man is sleeping.", "He rests."))  # doctest: +SKIP
        [Slot(sentence=0, position=1, original='man', replacements=('woman', 'boy', 'girl')), ...]
    """

    name = "masked-lm"
    kind = "fickle"
    asks_model = True

    def __init__(
        self,
        model: str | Path,
        top: int = 20,
        exclude_stopwords: bool = True,
        casing: Literal["keep", "authors"] = "keep",
        antonyms: Mapping[str, Any] | None = None,
        device: Any = None,
        max_length: int = 256,
    ):
        if top < 1:
            raise HfBatError(f"top must be at least 1; got {top}")
        self.path, self.top, self.casing = str(model), top, casing
        self.exclude_stopwords, self.max_length = exclude_stopwords, max_length
        self.antonyms = as_table(antonyms or {})
        self.device = device
        self._stopwords = stopwords("nltk") if exclude_stopwords else frozenset()
        self._slots: OrderedDict[Texts, list[Slot]] = OrderedDict()

    # ---- as a perturbation --------------------------------------------------------------------

    def slots(self, texts: Texts) -> list[Slot]:
        """List the words that can be replaced, in reading order, with their candidates."""
        self.prepare([texts])
        return self._slots[texts]

    def candidates(self, texts: Texts) -> list[Edit]:
        """List every edit that replaces one word, in reading order, most likely replacement first."""
        return [edit for slot in self.slots(texts) for edit in list_edits(texts, slot)]

    def edits_at(
        self, texts: Texts, sentence: int, position: int, start: Texts, start_position: int
    ) -> list[Edit]:
        # Use the predictions for the unedited input. New predictions at each step would cost a forward pass.
        for slot in self.slots(start):
            if (slot.sentence, slot.position) == (sentence, start_position):
                return list_edits(texts, replace(slot, position=position))
        return []

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        """Draw each word uniformly from itself and its candidates. Return `None` if no word changes."""
        drawn = texts
        for slot in self.slots(texts):
            choice = int(rng.random() * (len(slot.replacements) + 1))
            # 0 keeps the word.
            if choice:
                drawn = _replace_word(drawn, slot, slot.replacements[choice - 1])
        return None if drawn == texts else drawn

    def describe(self) -> dict[str, object]:
        return {
            "perturbation": self.name,
            "model": self.identity,
            "top": self.top,
            "exclude_stopwords": self.exclude_stopwords,
            "casing": self.casing,
            "antonyms": self.antonyms.fingerprint,
            "max_length": self.max_length,
        }

    def prepare(self, inputs: Sequence[Texts]) -> None:
        """Query the model for several inputs together. `slots` would query it for each input separately."""
        new = [texts for texts in dict.fromkeys(inputs) if texts not in self._slots]
        for texts in inputs:
            if texts in self._slots:  # recently used, so evicted last
                self._slots.move_to_end(texts)
        slots: dict[Texts, list[Slot]] = {texts: [] for texts in new}
        questions = [question for texts in new for question in self._mask_words(texts)]
        for batch in _split_into_batches(questions):
            for question, words in zip(batch, self._predict(batch), strict=True):
                options = self._filter_words(question.slot.original, words)
                if options:
                    slots[question.texts].append(replace(question.slot, replacements=options))
        for texts, filled in slots.items():
            self._slots[texts] = sorted(filled, key=lambda slot: (slot.sentence, slot.position))
        while len(self._slots) > max(_REMEMBERED, len(inputs)):
            self._slots.popitem(last=False)

    # ---- the model ----------------------------------------------------------------------------

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch

        from hf_bat.attack.models import choose_device
        from hf_bat.loading import check_tokenizer, load, load_trained

        model = load_trained(
            "AutoModelForMaskedLM", self.path, "masked language model", dtype=torch.float32
        )
        tokenizer = load("AutoTokenizer", self.path, "tokenizer of the masked language model")
        if tokenizer.mask_token_id is None or tokenizer.pad_token_id is None:
            raise HfBatError(f"the tokenizer of {self.path} has no mask or no padding token")
        check_tokenizer(tokenizer, model)
        return model.eval().to(self.device or choose_device()), tokenizer

    @cached_property
    def identity(self) -> str:
        """A hash of the model's weights and vocabulary."""
        from hf_bat.attack.models import hash_model

        return hash_model(*self._loaded)

    @cached_property
    def _words(self) -> dict[int, str]:
        """The complete words in the vocabulary, by token."""
        tokenizer = self._loaded[1]
        vocabulary = tokenizer.get_vocab()
        # If tokens include the space before them, tokens without a space continue the previous word.
        # Otherwise (WordPiece), continuations are marked with ##, so they do not only consist of letters.
        spaces = ("\u0120", "\u2581")
        spaced = any(token.startswith(spaces) for token in vocabulary)
        words = {}
        for token, number in vocabulary.items():
            word = token
            if spaced:
                word = tokenizer.decode([number]).strip() if token.startswith(spaces) else ""
            if word.isalpha():
                words[number] = word
        return words

    def _mask_words(self, texts: Texts) -> Iterator[_Question]:
        slots = [
            Slot(sentence, position, word, ())
            for sentence, text in enumerate(texts)
            for position, token in enumerate(text.split())
            if (word := detach_punctuation(token)[0]).isalpha()
            and word.lower() not in self._stopwords
        ]
        if not slots:
            return
        tokenizer = self._loaded[1]
        masked = [_replace_word(texts, slot, tokenizer.mask_token) for slot in slots]
        columns = [list(column) for column in zip(*masked, strict=True)]
        limit = min(self.max_length, tokenizer.model_max_length)
        encoded = tokenizer(*columns, truncation=True, max_length=limit)
        types = encoded.get("token_type_ids") or [None] * len(slots)
        for slot, ids, kinds in zip(slots, encoded["input_ids"], types, strict=True):
            masks = [i for i, number in enumerate(ids) if number == tokenizer.mask_token_id]
            # Without a mask token, the word was truncated. With several, the text itself has mask tokens.
            if len(masks) == 1:
                yield _Question(texts, slot, ids, kinds, masks[0])

    def _predict(self, batch: Sequence[_Question]) -> list[list[str]]:
        """Return the most likely words for each question, most likely first."""
        import torch

        from hf_bat.attack.models import pad_batch

        model, tokenizer = self._loaded
        ids, types = [q.ids for q in batch], [q.types for q in batch]
        # Always pad on the right, because `mask` is an index from the left.
        fed = pad_batch(tokenizer, ids, types, model.device)
        # Disable the autocast of the attacked model's session, because it must not affect this model.
        with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
            scores = model(**fed).logits
            scores = scores[range(len(batch)), [q.mask for q in batch]].float()
        words = self._words
        known = torch.tensor(sorted(words), device=scores.device)
        values, places = scores[:, known].topk(min(self.top + _SPARE, len(known)), dim=-1)
        # Sort equal scores by token id, so the order is the same on every machine.
        return [
            [words[number] for _, number in sorted((-v, n) for v, n in zip(*row, strict=True))]
            for row in zip(values.tolist(), known[places].tolist(), strict=True)
        ]

    def _filter_words(self, word: str, predicted: Sequence[str]) -> tuple[str, ...]:
        lower = word.lower()
        antonyms = self.antonyms.get(word) or self.antonyms.get(lower) or ()
        excluded = {lower, *(antonym.lower() for antonym in antonyms)}
        chosen = dict.fromkeys(p.lower() for p in predicted if p.lower() not in excluded)
        kept = list(chosen)[: self.top]
        return tuple(match_case(k, word) if self.casing == "keep" else k for k in kept)


def _split_into_batches(questions: Sequence[_Question]) -> Iterator[list[_Question]]:
    """Yield batches of questions with similar length."""
    ordered = sorted(questions, key=lambda question: len(question.ids), reverse=True)
    first = 0
    while first < len(ordered):
        size = max(1, _MAX_TOKENS // len(ordered[first].ids))
        yield ordered[first : first + size]
        first += size


def _replace_word(texts: Texts, slot: Slot, word: str) -> Texts:
    text = apply_replacement(texts[slot.sentence], slot.position, word)
    return replace_sentence(texts, slot.sentence, text)
