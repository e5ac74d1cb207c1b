"""Run by test_hub in a process of its own: a user who has transformers and peft, and no hf_bat."""

import importlib.abc
import json
import re
import sys


class _NotInstalled(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "hf_bat":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


sys.meta_path.insert(0, _NotInstalled())

import torch  # noqa: E402
from huggingface_hub import hf_hub_download  # noqa: E402
from peft import AutoPeftModelForSequenceClassification  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForSequenceClassification,
    AutoTokenizer,
    pipeline,
)

PAIRS = json.loads(sys.argv[1])


def logits(model, tokenizer):
    texts, pairs = zip(*PAIRS, strict=True)
    batch = tokenizer(list(texts), list(pairs), return_tensors="pt", padding=True)
    with torch.no_grad():
        return model.eval()(**batch).logits.tolist()


found = {}
tokenizer = AutoTokenizer.from_pretrained("tester/balanced")
model = AutoModelForSequenceClassification.from_pretrained("tester/balanced")
found["logits"] = logits(model, tokenizer)
classifier = pipeline("text-classification", model="tester/balanced", device="cpu")
found["pipeline"] = [
    {answer["label"]: answer["score"] for answer in answers}
    for answers in classifier(
        [{"text": text, "text_pair": pair} for text, pair in PAIRS],
        top_k=None,
        function_to_apply="softmax",
    )
]
adapter = AutoPeftModelForSequenceClassification.from_pretrained("tester/adapter", num_labels=3)
found["adapter"] = logits(adapter, AutoTokenizer.from_pretrained("tester/adapter"))
for repo in ("tester/balanced", "tester/adapter"):
    # What the card tells its reader to do.
    with open(hf_hub_download(repo, "README.md"), encoding="utf-8") as card:
        (code,) = re.findall(r"^```python\n(.*?)^```", card.read(), re.M | re.S)
    space = {}
    exec(code, space)
    found[f"card of {repo}"] = space["answer"]
found["hf_bat"] = any(name.split(".")[0] == "hf_bat" for name in sys.modules)
print(json.dumps(found))
