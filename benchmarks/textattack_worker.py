"""Attack rows with TextAttack 0.3.11: the other side of attack_vs_textattack.py, in an interpreter of
its own, because TextAttack needs transformers below 5.

The tables, the stop words, the parts of speech and the negation edits are those of hf_bat (of which
this imports nothing that needs transformers); the attacked text, the transformations' bookkeeping, the
search, the goal's scoring and the model's batches are TextAttack's.
"""

import argparse
import json
import sys
import time
from collections import OrderedDict

import textattack
import torch
import transformers
from textattack import Attack
from textattack.attack_results import SkippedAttackResult
from textattack.constraints import Constraint
from textattack.constraints.pre_transformation import RepeatModification, StopwordModification
from textattack.goal_function_results import GoalFunctionResultStatus as Status
from textattack.goal_functions import ClassificationGoalFunction, UntargetedClassification
from textattack.models.wrappers import HuggingFaceModelWrapper
from textattack.search_methods import GreedyWordSwapWIR, SearchMethod
from textattack.shared.utils import words_from_text
from textattack.transformations import Transformation, WordSwap

from hf_bat.lexicon import SubstitutionTable, load_wordnet, stopwords
from hf_bat.perturbations import NegationPerturbation
from hf_bat.text import match_case


class DynamicPadding(HuggingFaceModelWrapper):
    """TextAttack's wrapper, padding to the longest of the batch and not to the limit."""

    def __call__(self, texts):
        batch = self.tokenizer(
            texts, padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        with torch.no_grad():
            return self.model(**batch).logits


class TableSwap(WordSwap):
    """Swaps by a table, looked up as hf_bat does: as it stands, then lower; in the word's case."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def _get_replacement_words(self, word):
        found = self.table.get(word) or self.table.get(word.lower()) or ()
        return [match_case(new, word) for new in found if new.lower() != word.lower()]


class NegationEdits(Transformation):
    """hf_bat's negation edits, made by TextAttack's own editing of words."""

    def __init__(self):
        self.perturbation = NegationPerturbation()

    def _get_transformations(self, current_text, indices_to_modify):
        texts = tuple(current_text._text_input.values())
        first, numbers = 0, []
        for text in texts:
            places = []
            for token in text.split():
                count = len(words_from_text(token))
                places.append(first if count == 1 else None)
                first += count
            numbers.append(places)
        made = []
        for edit in self.perturbation.candidates(texts):
            number = numbers[edit.sentence][edit.position]
            if number is None or number not in indices_to_modify:
                continue
            if edit.replacement:
                made.append(current_text.replace_word_at_index(number, edit.replacement))
            else:
                made.append(current_text.delete_word_at_index(number))
        return made


class SharedSense(Constraint):
    """Some sense that WordNet has of the word before shares its part of speech with one after."""

    def __init__(self, verb_noun_swap):
        super().__init__(compare_against_original=True)
        self.verb_noun_swap, self.wordnet, self.known = verb_noun_swap, load_wordnet(), {}

    def senses(self, word):
        if word not in self.known:
            self.known[word] = self.wordnet.parts_of_speech(word)
        return self.known[word]

    def _check_constraint(self, transformed_text, reference_text):
        for i in transformed_text.attack_attrs["newly_modified_indices"]:
            one, other = (
                self.senses(reference_text.words[i]),
                self.senses(transformed_text.words[i]),
            )
            swap = self.verb_noun_swap and one & set("nv") and other & set("nv")
            if not (one & other or swap):
                return False
        return True


class Keep(ClassificationGoalFunction):
    """The obstinate goals. The score is the gold probability, 0 when the prediction changes, as the
    paper's authors have it; `strict` scores the unedited text 0 too, so that any kept prediction is an
    improvement and counts."""

    strict = False

    def _is_goal_complete(self, model_output, attacked_text):
        kept = model_output.argmax() == self.ground_truth_output
        if attacked_text is self.initial_attacked_text:
            self.before = model_output[self.ground_truth_output].item()
            return False
        gold = model_output[self.ground_truth_output].item()
        return bool(kept) and (self.strict or gold > self.before)

    def _should_skip(self, model_output, attacked_text):
        return model_output.argmax() != self.ground_truth_output

    def _get_score(self, model_output, attacked_text):
        if attacked_text is self.initial_attacked_text and self.strict:
            return 0.0
        kept = model_output.argmax() == self.ground_truth_output
        return model_output[self.ground_truth_output].item() if kept else 0.0


class KeepStrict(Keep):
    strict = True


class OneStep(SearchMethod):
    """All candidates of one step at once; the best is the result."""

    def perform_search(self, initial_result):
        edited = self.get_transformations(
            initial_result.attacked_text, original_text=initial_result.attacked_text
        )
        if not edited:
            return initial_result
        results, _ = self.get_goal_results(edited)
        done = [r for r in results if r.goal_status == Status.SUCCEEDED]
        return max(done or results, key=lambda r: r.score)

    @property
    def is_black_box(self):
        return True


def cased(words):
    """A stop-word list for a look-up that minds case."""
    return {form for word in words for form in (word, word.capitalize(), word.upper())}


def build(name, goal, wrapper, arguments):
    if name == "synonym":
        return Attack(
            UntargetedClassification(wrapper, query_budget=2000),
            [
                RepeatModification(),
                StopwordModification(cased(stopwords("textfooler"))),
                SharedSense(verb_noun_swap=True),
            ],
            TableSwap(SubstitutionTable.load(arguments.synonyms)),
            GreedyWordSwapWIR("delete"),
        )
    keep = {"strict": KeepStrict, "confident": Keep}[goal](wrapper)
    if name == "negation":
        return Attack(keep, [], NegationEdits(), OneStep())
    return Attack(
        keep,
        [
            RepeatModification(),
            StopwordModification(cased(stopwords("nltk"))),
            textattack.constraints.overlap.MaxWordsPerturbed(1),
            SharedSense(verb_noun_swap=False),
        ],
        TableSwap(SubstitutionTable.load(arguments.antonyms)),
        GreedyWordSwapWIR("gradient"),
    )


def main():
    parser = argparse.ArgumentParser()
    for flag in ("--model", "--rows", "--out", "--attack", "--goal", "--antonyms", "--synonyms"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--padding", choices=["128", "dynamic"], required=True)
    parser.add_argument("--columns", nargs="+", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    load = transformers.AutoModelForSequenceClassification.from_pretrained
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    tokenizer.model_max_length = 128
    kind = DynamicPadding if arguments.padding == "dynamic" else HuggingFaceModelWrapper
    wrapper = kind(load(arguments.model).eval(), tokenizer)
    attack = build(arguments.attack, arguments.goal, wrapper, arguments)
    with open(arguments.rows, encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    warm = OrderedDict((c, "A dog is running in the big park.") for c in arguments.columns)
    for label in range(3):
        attack.attack(warm, label)
    found, wall, cpu = [], time.perf_counter(), time.process_time()
    for row in rows:
        texts = OrderedDict((c, row[c]) for c in arguments.columns)
        result = attack.attack(texts, row["label"])
        wrapper.model.eval()  # the gradient ranking leaves it in training mode
        end = result.perturbed_result
        skipped = isinstance(result, SkippedAttackResult)
        outcome = "succeeded" if end.goal_status == Status.SUCCEEDED else "failed"
        found.append(
            {
                "idx": row["idx"],
                "outcome": "skipped" if skipped else outcome,
                "perturbed": list(end.attacked_text._text_input.values()),
                "queries": result.num_queries,
                "gold_before": result.original_result.raw_output[row["label"]].item(),
                "gold_after": end.raw_output[row["label"]].item(),
            }
        )
    answer = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "textattack": textattack.__version__ if hasattr(textattack, "__version__") else "0.3.11",
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "rows": found,
    }
    with open(arguments.out, "w", encoding="utf-8") as stream:
        json.dump(answer, stream)


if __name__ == "__main__":
    sys.exit(main())
