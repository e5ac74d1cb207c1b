"""Candidates from a masked language model: what it predicts in a word's place (A2T-MLM)."""

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
)
from hf_bat.text import detach_punctuation, match_case

# Tokens in a forward pass: each gives a score for every word of the vocabulary.
_TOKENS = 2048
# Inputs whose predictions are remembered: more than an attack has in flight.
_REMEMBERED = 8192
# Predictions looked at beyond those asked for: some are the word itself, or its antonyms.
_SPARE = 20


class _Question(NamedTuple):
    """One word masked: where it stands, and the masked input as the model reads it."""

    texts: Texts
    sentence: int
    position: int
    word: str
    ids: list[int]
    types: list[int] | None
    mask: int


class MaskedLMPerturbation(Perturbation):
    """Replaces a word by what a masked language model predicts in its place, the input as context.

    Words of letters alone are replaced, by whole words of letters alone. The predictions are those for
    the unedited input, also for the later edits of one attack: one pass of the model a word.

    Args:
        model: the folder or Hub id of a masked language model.
        top: the most candidates a word, likeliest first.
        exclude_stopwords: leave function words (NLTK's English list) alone.
        casing: `"keep"` gives a candidate the case of the word that it replaces; `"authors"` leaves it
            in lower case.
        antonyms: word -> its antonyms, which are no candidates: a model predicts "cold" for "hot".
        device: where it runs; the first GPU, else the processor, where None.
        max_length: tokens after which an input is cut; a word beyond has no candidates.

    Raises:
        HfBatError: no masked language model there, or a tokenizer without a mask; raised when the model
            is first used or described.

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
        self._stopwords: frozenset[str] = frozenset()
        if exclude_stopwords:
            self._stopwords = stopwords("nltk")
        self._slots: OrderedDict[Texts, list[Slot]] = OrderedDict()

    # ---- as a perturbation --------------------------------------------------------------------

    def slots(self, texts: Texts) -> list[Slot]:
        """List the words that can be replaced, in reading order, with their candidates."""
        self.prepare([texts])
        return self._slots[texts]

    def candidates(self, texts: Texts) -> list[Edit]:
        """List every input with one word replaced once, in reading order, likeliest first."""
        return [edit for slot in self.slots(texts) for edit in list_edits(texts, slot)]

    def edits_at(
        self, texts: Texts, sentence: int, position: int, start: Texts, start_position: int
    ) -> list[Edit]:
        for slot in self.slots(start):
            if (slot.sentence, slot.position) == (sentence, start_position):
                return list_edits(texts, replace(slot, position=position))
        return []

    def sample(self, texts: Texts, rng: RandomSource) -> Texts | None:
        """Draw each word uniformly from itself and its candidates; None where no word changes."""
        drawn = texts
        for slot in self.slots(texts):
            choice = int(rng.random() * (len(slot.replacements) + 1))
            if choice:
                drawn = _edited(drawn, slot, slot.replacements[choice - 1])
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

    # ---- the model ----------------------------------------------------------------------------

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import torch

        from hf_bat.attack.transformer import load

        model, about = load(
            "AutoModelForMaskedLM", self.path, "masked language model", output_loading_info=True
        )
        if about["missing_keys"]:
            raise HfBatError(
                f"{self.path} is no masked language model: it has no weights for "
                f"{sorted(about['missing_keys'])[0]}"
            )
        tokenizer = load("AutoTokenizer", self.path, "tokenizer of the masked language model")
        if tokenizer.mask_token_id is None or tokenizer.pad_token_id is None:
            raise HfBatError(f"the tokenizer of {self.path} has no mask or no padding token")
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return model.eval().to(device), tokenizer

    @cached_property
    def identity(self) -> str:
        """A hash of the model's weights and vocabulary."""
        from hf_bat.attack.transformer import hash_model

        return hash_model(*self._loaded)

    @cached_property
    def _words(self) -> dict[int, str]:
        """The whole words of the vocabulary, by token."""
        tokenizer = self._loaded[1]
        vocabulary = tokenizer.get_vocab()
        # Where tokens carry the space before them, one without is the rest of a word; elsewhere
        # (WordPiece) such a rest is marked with ##.
        spaces = ("\u0120", "\u2581")
        spaced = any(token.startswith(spaces) for token in vocabulary)
        found = {}
        for token, number in vocabulary.items():
            if spaced:
                word = tokenizer.decode([number]).strip() if token.startswith(spaces) else ""
            else:
                word = token
            if word.isalpha():
                found[number] = word
        return found

    def prepare(self, inputs: Sequence[Texts]) -> None:
        """Ask the model about inputs together, so that `slots` need not ask about each by itself."""
        new = [texts for texts in dict.fromkeys(inputs) if texts not in self._slots]
        for texts in inputs:
            if texts in self._slots:
                self._slots.move_to_end(texts)
        found: dict[Texts, list[Slot]] = {texts: [] for texts in new}
        questions = [question for texts in new for question in self._questions(texts)]
        for batch in _batches(questions):
            for question, words in zip(batch, self._predict(batch), strict=True):
                place = question.sentence, question.position
                options = self._admissible(question.word, words)
                if options:
                    found[question.texts].append(Slot(*place, question.word, options))
        for texts, slots in found.items():
            self._slots[texts] = sorted(slots, key=lambda slot: (slot.sentence, slot.position))
        while len(self._slots) > max(_REMEMBERED, len(inputs)):
            self._slots.popitem(last=False)

    def _questions(self, texts: Texts) -> Iterator[_Question]:
        places = [
            (sentence, position, word)
            for sentence, text in enumerate(texts)
            for position, token in enumerate(text.split())
            if (word := detach_punctuation(token)[0]).isalpha()
            and word.lower() not in self._stopwords
        ]
        if not places:
            return
        tokenizer = self._loaded[1]
        limit = min(self.max_length, tokenizer.model_max_length)
        masked = [
            _edited(texts, Slot(sentence, position, word, ()), tokenizer.mask_token)
            for sentence, position, word in places
        ]
        columns = [list(column) for column in zip(*masked, strict=True)]
        encoded = tokenizer(*columns, truncation=True, max_length=limit)
        types = encoded.get("token_type_ids") or [None] * len(places)
        for (sentence, position, word), ids, kinds in zip(
            places, encoded["input_ids"], types, strict=True
        ):
            masks = [i for i, number in enumerate(ids) if number == tokenizer.mask_token_id]
            if len(masks) == 1:  # none: beyond the cut; more: the text itself speaks of masks
                yield _Question(texts, sentence, position, word, ids, kinds, masks[0])

    def _predict(self, batch: Sequence[_Question]) -> list[list[str]]:
        """The words that the model thinks likeliest for each question, likeliest first."""
        import torch

        model, tokenizer = self._loaded
        width = max(len(question.ids) for question in batch)

        def pad(rows: list[list[int]], value: int) -> torch.Tensor:
            filled = [row + [value] * (width - len(row)) for row in rows]
            return torch.tensor(filled, device=model.device)

        fed = {
            "input_ids": pad([q.ids for q in batch], tokenizer.pad_token_id),
            "attention_mask": pad([[1] * len(q.ids) for q in batch], 0),
        }
        if batch[0].types is not None:
            fed["token_type_ids"] = pad([q.types or [] for q in batch], tokenizer.pad_token_type_id)
        words = self._words
        # An attack's session may have autocast on, which is of the model attacked.
        with torch.no_grad(), torch.autocast(model.device.type, enabled=False):
            scores = model(**fed).logits
            scores = scores[range(len(batch)), [q.mask for q in batch]].float()
        known = torch.tensor(sorted(words), device=scores.device)
        scores = scores[:, known]
        count = min(self.top + _SPARE, len(known))
        values, places = scores.topk(count, dim=-1)
        numbers = known[places]
        # Of equal scores the lower token first, on every machine.
        return [
            [words[number] for _, number in sorted((-v, n) for v, n in zip(*row, strict=True))]
            for row in zip(values.tolist(), numbers.tolist(), strict=True)
        ]

    def _admissible(self, word: str, predicted: Sequence[str]) -> tuple[str, ...]:
        lower = word.lower()
        opposites = self.antonyms.get(word) or self.antonyms.get(lower) or ()
        barred = {lower, *(other.lower() for other in opposites)}
        chosen = dict.fromkeys(p.lower() for p in predicted if p.lower() not in barred)
        kept = list(chosen)[: self.top]
        return tuple(match_case(k, word) if self.casing == "keep" else k for k in kept)


def _batches(questions: Sequence[_Question]) -> Iterator[list[_Question]]:
    """Questions of near length together, so many that a batch has `_TOKENS` tokens at most."""
    ordered = sorted(questions, key=lambda question: len(question.ids), reverse=True)
    first = 0
    while first < len(ordered):
        size = max(1, _TOKENS // len(ordered[first].ids))
        yield ordered[first : first + size]
        first += size


def _edited(texts: Texts, slot: Slot, word: str) -> Texts:
    text = apply_replacement(texts[slot.sentence], slot.position, word)
    return (*texts[: slot.sentence], text, *texts[slot.sentence + 1 :])
