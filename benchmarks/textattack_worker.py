"""Attack rows with TextAttack 0.3.11 for attack_vs_textattack.py.

This script runs in another interpreter, because TextAttack needs transformers below 5. It does not
import anything from hf_bat that needs transformers. Tables, stop words, parts of speech and negation
edits come from hf_bat. The attacked text, the bookkeeping of transformations, the search, the scoring
of goals and the batches come from TextAttack.
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
    """TextAttack's wrapper with padding to the longest input in the batch."""

    def __call__(self, texts):
        batch = self.tokenizer(
            texts, padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        with torch.no_grad():
            return self.model(**batch).logits


class TableSwap(WordSwap):
    """Swaps from a table. Words are looked up as in hf_bat, as written and then in lower case."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def _get_replacement_words(self, word):
        others = self.table.get(word) or self.table.get(word.lower()) or ()
        return [match_case(new, word) for new in others if new.lower() != word.lower()]


class NegationEdits(Transformation):
    """hf_bat's negation edits, applied by TextAttack."""

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
        edited = []
        for edit in self.perturbation.candidates(texts):
            number = numbers[edit.sentence][edit.position]
            if number is None or number not in indices_to_modify:
                continue
            if edit.replacement:
                edited.append(current_text.replace_word_at_index(number, edit.replacement))
            else:
                edited.append(current_text.delete_word_at_index(number))
        return edited


class SharedSense(Constraint):
    """Constraint that the words before and after have WordNet senses with a common part of speech."""

    def __init__(self, verb_noun_swap):
        super().__init__(compare_against_original=True)
        self.verb_noun_swap, self.wordnet, self.known = verb_noun_swap, load_wordnet(), {}

    def list_senses(self, word):
        if word not in self.known:
            self.known[word] = self.wordnet.parts_of_speech(word)
        return self.known[word]

    def _check_constraint(self, transformed_text, reference_text):
        for i in transformed_text.attack_attrs["newly_modified_indices"]:
            before = self.list_senses(reference_text.words[i])
            after = self.list_senses(transformed_text.words[i])
            swap = self.verb_noun_swap and before & set("nv") and after & set("nv")
            if not (before & after or swap):
                return False
        return True


class Keep(ClassificationGoalFunction):
    """The obstinate goals.

    As in the authors' code, the score is the gold probability, or 0 if the prediction changes. With
    `strict`, the unedited text also scores 0, so any kept prediction is an improvement.
    """

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
    """Scores all candidates of one step at once and returns the best one."""

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


def list_cases(words):
    """Return a stop-word list for case-sensitive lookups."""
    return {form for word in words for form in (word, word.capitalize(), word.upper())}


def build_attack(name, goal, wrapper, arguments):
    if name == "synonym":
        return Attack(
            UntargetedClassification(wrapper, query_budget=2000),
            [
                RepeatModification(),
                StopwordModification(list_cases(stopwords("textfooler"))),
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
            StopwordModification(list_cases(stopwords("nltk"))),
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
    attack = build_attack(arguments.attack, arguments.goal, wrapper, arguments)
    with open(arguments.rows, encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    warm = OrderedDict((c, "A dog is running in the big park.") for c in arguments.columns)
    for label in range(3):
        attack.attack(warm, label)
    results, wall, cpu = [], time.perf_counter(), time.process_time()
    for row in rows:
        texts = OrderedDict((c, row[c]) for c in arguments.columns)
        result = attack.attack(texts, row["label"])
        wrapper.model.eval()  # the gradient ranking leaves it in training mode
        end = result.perturbed_result
        skipped = isinstance(result, SkippedAttackResult)
        outcome = "succeeded" if end.goal_status == Status.SUCCEEDED else "failed"
        results.append(
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
        "rows": results,
    }
    with open(arguments.out, "w", encoding="utf-8") as stream:
        json.dump(answer, stream)


if __name__ == "__main__":
    sys.exit(main())
