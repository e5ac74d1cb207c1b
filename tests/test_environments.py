"""Packaging: the lowest allowed versions are tested, and the package works without its extras."""

import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

# Other packages that `make test-low` installs are not part of the package.
EXTRAS = ("metrics", "nltk", "peft", "plots", "search")


@pytest.fixture(scope="module")
def metadata(repository):
    """Return the arguments that setup.py passes to setuptools."""
    text = (repository / "setup.py").read_text("utf-8")
    given = {}
    code = compile(
        text.replace("from setuptools import", "from fake_setuptools import"), "setup.py", "exec"
    )

    class Fake:
        find_packages = staticmethod(lambda **_: [])
        setup = staticmethod(lambda **keywords: given.update(keywords))

    sys.modules["fake_setuptools"] = Fake
    try:
        exec(code, {"__file__": str(repository / "setup.py")})
    finally:
        del sys.modules["fake_setuptools"]
    return given


def read_pins(path):
    pins = {}
    for line in path.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            pins[requirement.name.lower().replace("_", "-")] = requirement
    return pins


def test_the_lowest_versions_are_the_tested_ones(repository, metadata):
    pins = read_pins(repository / "constraints-low.txt")
    needed = [*metadata["install_requires"]]
    needed += [line for extra in EXTRAS for line in metadata["extras_require"][extra]]
    for line in needed:
        requirement = Requirement(line)
        if requirement.name == "torch":
            continue
        (lowest,) = (bound.version for bound in requirement.specifier if bound.operator == ">=")
        (pin,) = pins[requirement.name].specifier
        assert (pin.operator, re.sub(r"(\.0)+$", "", pin.version)) == (
            "==",
            re.sub(r"(\.0)+$", "", lowest),
        )


def test_the_tested_versions_are_allowed(repository, metadata):
    pins = read_pins(repository / "constraints.txt")
    for line in metadata["install_requires"]:
        requirement = Requirement(line)
        (pin,) = pins[requirement.name].specifier
        assert requirement.specifier.contains(pin.version)


CODE = """
import sys
for name in ("evaluate", "nltk", "peft", "matplotlib", "optuna"):
    sys.modules[name] = None  # as if it were not installed
sys.path.insert(0, {helpers!r})
from training_helpers import ANTONYMS, SYNONYMS, made_rows, make_trainer
from hf_bat import Attack, HfBatError, get_task
from hf_bat.lexicon import load_wordnet
from hf_bat.metrics import load
from hf_bat.metrics.task import build_compute_metrics
from hf_bat.perturbations.verbs import load_nltk_tagger
options = {{"method": "triplet", "attacks": ["antonym", "synonym"], "label_filter": "prefer"}}
trainer = make_trainer({folder!r}, made_rows(8), max_steps=1, **options)
trainer.compute_metrics = build_compute_metrics(get_task("snli"), trainer.model.config)
trainer.train()
print(sorted(trainer.evaluate(made_rows(8)))[:3])
for recipe in ("negation", "sister"):
    attack = Attack(recipe, trainer.model, task="snli", tokenizer=trainer.processing_class)
    print(attack.run(made_rows(4)).attacks.keys())
for call in (lambda: load("accuracy"), load_nltk_tagger, lambda: load_wordnet("nltk")):
    try:
        call()
    except HfBatError as error:
        print(error)
"""


def test_the_package_works_without_its_extras(tmp_path, repository, quiet_environment):
    code = CODE.format(helpers=str(repository / "tests/helpers"), folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=quiet_environment,
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for extra in ("metrics", "nltk"):
        assert f'pip install "hf_bat[{extra}]"' in done.stdout
    assert done.stdout.count("pip install") == 3
    assert "eval_accuracy" in done.stdout
