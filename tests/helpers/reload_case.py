"""Run cases of test_hub in a separate process, as a user without hf_bat."""

import importlib.abc
import json
import re
import sys

import torch
from huggingface_hub import hf_hub_download
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline


class _NotInstalled(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "hf_bat":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def logits(model, tokenizer, asked):
    texts, pairs = zip(*asked, strict=True)
    batch = tokenizer(list(texts), list(pairs), return_tensors="pt", padding=True)
    with torch.no_grad():
        return model.eval()(**batch).logits.tolist()


def main(asked):
    found = {}
    tokenizer = AutoTokenizer.from_pretrained("tester/balanced")
    model = AutoModelForSequenceClassification.from_pretrained("tester/balanced")
    found["logits"] = logits(model, tokenizer, asked)
    classifier = pipeline("text-classification", model="tester/balanced", device="cpu")
    found["pipeline"] = [
        {answer["label"]: answer["score"] for answer in answers}
        for answers in classifier(
            [{"text": text, "text_pair": pair} for text, pair in asked],
            top_k=None,
            function_to_apply="softmax",
        )
    ]
    adapter = AutoPeftModelForSequenceClassification.from_pretrained("tester/adapter", num_labels=3)
    found["adapter"] = logits(adapter, AutoTokenizer.from_pretrained("tester/adapter"), asked)
    for repo in ("tester/balanced", "tester/adapter"):
        # The code in the card.
        with open(hf_hub_download(repo, "README.md"), encoding="utf-8") as card:
            (code,) = re.findall(r"^```python\n(.*?)^```", card.read(), re.M | re.S)
        space = {}
        exec(code, space)
        found[f"card of {repo}"] = space["answer"]
    found["hf_bat"] = any(name.split(".")[0] == "hf_bat" for name in sys.modules)
    print(json.dumps(found))


# Doctest collection also imports this file, and hf_bat must remain importable in this case.
if __name__ == "__main__":
    sys.meta_path.insert(0, _NotInstalled())
    main(json.loads(sys.argv[1]))
